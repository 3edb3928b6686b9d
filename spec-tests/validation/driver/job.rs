//! Runs one program on one runtime: in a sandbox of its own, for a bounded time, leaving nothing behind.

use std::fs::{self, File};
use std::io::{self, ErrorKind};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use crate::programs::Program;
use crate::tap::Report;
use crate::verdict::{End, Result};

/// The slowest waits three times for 10 seconds.
const TIMEOUT: Duration = Duration::from_secs(90);
/// What was killed is gone after that.
const REMOVAL: Duration = Duration::from_secs(10);
/// The programs' own idea of the search path doesn't matter; that all runtimes have the same one does.
const SEARCH_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
/// How often a program that depends on a race may try to win it.
const TRIES: usize = 10;

pub struct Place {
    /// Starts a command in namespaces of its own.
    pub sandbox: PathBuf,
    /// The built programs, and what they expect beside them.
    pub programs: PathBuf,
    /// A cgroup (v2) for the cgroups of the sandboxes.
    pub cgroup: PathBuf,
}

/// Runs `program` with the runtime at `runtime`; `output` with the extensions out and err gets what it prints.
pub fn run(place: &Place, program: &Program, runtime: &Path, output: &Path) -> io::Result<Result> {
    let mut tries = if program.race { TRIES } else { 1 };
    loop {
        let result = try_once(place, program, runtime, output)?;
        tries -= 1;
        if tries == 0 || result.failure(program).is_none() {
            return Ok(result);
        }
    }
}

fn try_once(place: &Place, program: &Program, runtime: &Path, output: &Path) -> io::Result<Result> {
    let id = output.iter().rev().take(2).map(|part| part.to_string_lossy()).collect::<Vec<_>>().join("@");
    let cgroup = place.cgroup.join(id.replace(' ', "-"));
    fs::create_dir(&cgroup)?;
    let stdout = output.with_extension("out");
    let mut child = Command::new(&place.sandbox)
        .arg(&cgroup)
        .arg(place.programs.join(&program.name))
        .current_dir(&place.programs)
        .env_clear()
        .env("PATH", SEARCH_PATH)
        .env("RUNTIME", runtime)
        .stdin(Stdio::null())
        .stdout(File::create(&stdout)?)
        .stderr(File::create(output.with_extension("err"))?)
        .spawn()?;
    let end = wait(&mut child)?;
    remove_cgroup(&cgroup)?;
    let text = fs::read(&stdout)?;
    Ok(Result { report: Report::read(&String::from_utf8_lossy(&text)), end })
}

fn wait(child: &mut Child) -> io::Result<End> {
    let deadline = Instant::now() + TIMEOUT;
    loop {
        if let Some(status) = child.try_wait()? {
            let signal = || End::Signal(status.signal().unwrap_or(0));
            return Ok(status.code().map_or_else(signal, End::Exit));
        }
        if Instant::now() > deadline {
            child.kill()?;
            child.wait()?;
            return Ok(End::TimedOut);
        }
        sleep(Duration::from_millis(10));
    }
}

/// Kills what is still in the cgroup, and removes it with those below it.
fn remove_cgroup(cgroup: &Path) -> io::Result<()> {
    let deadline = Instant::now() + REMOVAL;
    fs::write(cgroup.join("cgroup.kill"), "1")?;
    loop {
        match remove_tree(cgroup) {
            Err(e) if e.kind() == ErrorKind::ResourceBusy && Instant::now() < deadline => {
                sleep(Duration::from_millis(10));
            }
            done => return done,
        }
    }
}

/// Directories only: the files of a cgroup aren't removed, they go with it.
fn remove_tree(cgroup: &Path) -> io::Result<()> {
    for entry in fs::read_dir(cgroup)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            remove_tree(&entry.path())?;
        }
    }
    fs::remove_dir(cgroup)
}
