//! An invocation of the runtime: bounded in time, and written into the transcript.

use std::fs::{self, File};
use std::os::fd::OwnedFd;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;

use crate::lab::{Lab, runtime};

/// Longer than any test needs on a loaded or emulated machine; who reaches it hangs.
const LIMIT: Duration = Duration::from_secs(120);

pub struct Command<'a> {
    lab: &'a Lab,
    /// What a shell has to do before it executes the runtime, such as opening fd 3.
    shell: Option<String>,
    global: Vec<String>,
    args: Vec<String>,
    env: Vec<(String, String)>,
    stdio: Option<OwnedFd>,
    cwd: Option<PathBuf>,
}

impl<'a> Command<'a> {
    pub(crate) fn new<S: Into<String>>(lab: &'a Lab, args: impl IntoIterator<Item = S>) -> Command<'a> {
        let mut global = vec!["--root".into(), lab.root().to_string_lossy().into_owned()];
        global.extend(lab.by_systemd().then(|| "--systemd-cgroup".into()));
        Command {
            lab,
            shell: None,
            global,
            args: args.into_iter().map(Into::into).collect(),
            env: Vec::new(),
            stdio: None,
            cwd: None,
        }
    }

    /// A global option, before the command's name.
    pub fn global(mut self, option: &str) -> Self {
        self.global.push(option.into());
        self
    }

    /// The runtime has to find its state directory itself.
    pub fn default_root(mut self) -> Self {
        self.global.drain(..2);
        self
    }

    pub fn env(mut self, key: &str, value: &str) -> Self {
        self.env.push((key.into(), value.into()));
        self
    }

    /// All three of stdin, stdout and stderr, for instance a terminal. Nothing is captured then.
    pub fn stdio(mut self, fd: OwnedFd) -> Self {
        self.stdio = Some(fd);
        self
    }

    pub fn cwd(mut self, dir: impl AsRef<Path>) -> Self {
        self.cwd = Some(dir.as_ref().into());
        self
    }

    /// The runtime is executed by this program with these arguments, such as `setpriv --groups 5`.
    pub fn through(mut self, program: &str) -> Self {
        self.shell = Some(format!("exec {program} \"$0\" \"$@\""));
        self
    }

    /// The runtime is executed by a shell with these redirections, such as `3</dev/null`, and with the LISTEN_PID
    /// that sd_listen_fds(3) asks for, in case the test sets LISTEN_FDS.
    pub fn redirect(mut self, redirections: &str) -> Self {
        self.shell = Some(format!("LISTEN_PID=$$ exec \"$0\" \"$@\" {redirections}"));
        self
    }

    /// Runs it to its end.
    pub fn run(self) -> Ran {
        self.spawn().wait()
    }

    /// Starts it. Output goes to files, since a container that inherits a pipe would hold it open.
    pub fn spawn(self) -> Running<'a> {
        let (mut words, path) = self.lab.caller();
        words.push(path.to_string_lossy().into_owned());
        let (program, words) = words.split_first().expect("the runtime");
        let stem = self.lab.dir().join(self.lab.fresh("out"));
        let (out, err) = (stem.with_extension("out"), stem.with_extension("err"));
        let mut command = match &self.shell {
            None => std::process::Command::new(program),
            Some(script) => {
                let mut sh = std::process::Command::new("/bin/sh");
                sh.arg("-c").arg(script).arg(program);
                sh
            }
        };
        command.args(words).args(&self.global).args(&self.args).envs(self.env.iter().map(|(k, v)| (k, v)));
        if self.lab.is_user() && !self.env.iter().any(|(key, _)| key == "XDG_RUNTIME_DIR") {
            command.env("XDG_RUNTIME_DIR", self.lab.dir().join("run"));
        }
        if let Some(cwd) = &self.cwd {
            command.current_dir(cwd);
        }
        if let Some(fd) = self.stdio {
            let copy = || Stdio::from(fd.try_clone().expect("dup"));
            command.stdin(copy()).stdout(copy()).stderr(copy());
        } else {
            let file = |path: &PathBuf| File::create(path).expect("an output file");
            command.stdin(Stdio::null()).stdout(file(&out)).stderr(file(&err));
        }
        let child = command.spawn().unwrap_or_else(|e| panic!("{program}: {e}"));
        let line = format!("$ {} {}", runtime().name, self.args.join(" "));
        Running { lab: self.lab, line, child: Some(child), out, err }
    }
}

/// A runtime that runs. Killed if dropped.
pub struct Running<'a> {
    lab: &'a Lab,
    line: String,
    child: Option<Child>,
    out: PathBuf,
    err: PathBuf,
}

impl Running<'_> {
    pub fn pid(&self) -> i32 {
        self.child.as_ref().map_or(0, |c| c.id() as i32)
    }

    pub fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(self.pid()), signal).expect("signal the runtime");
    }

    /// What was written to stdout so far.
    pub fn stdout(&self) -> String {
        read(&self.out)
    }

    pub fn is_over(&mut self) -> bool {
        self.child.as_mut().is_none_or(|c| c.try_wait().expect("wait").is_some())
    }

    pub fn wait(mut self) -> Ran {
        let mut child = self.child.take().expect("not waited for");
        let status = wait(&mut child);
        let ran = Ran { line: self.line.clone(), status, out: self.out.clone(), err: self.err.clone() };
        self.lab.note(&ran.to_string());
        assert!(status.is_some(), "not over after {LIMIT:?}: {}", self.line);
        ran
    }
}

impl Drop for Running<'_> {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// None, and killed, if it takes longer than [`LIMIT`].
fn wait(child: &mut Child) -> Option<ExitStatus> {
    let end = Instant::now() + LIMIT;
    while Instant::now() < end {
        if let Some(status) = child.try_wait().expect("wait") {
            return Some(status);
        }
        std::thread::sleep(Duration::from_millis(2));
    }
    let _ = child.kill();
    let _ = child.wait();
    None
}

/// A runtime that ran. What it wrote is read from the files when asked, since its container may still write.
pub struct Ran {
    line: String,
    status: Option<ExitStatus>,
    out: PathBuf,
    err: PathBuf,
}

impl Ran {
    /// The exit code, or -N if signal N killed the runtime itself.
    pub fn code(&self) -> i32 {
        self.status.map_or(-9, |s| s.code().unwrap_or_else(|| -s.signal().unwrap_or(0)))
    }

    pub fn stdout(&self) -> String {
        read(&self.out)
    }

    pub fn stderr(&self) -> String {
        read(&self.err)
    }

    /// Stdout as one JSON document.
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.stdout())
            .unwrap_or_else(|e| panic!("{}: stdout isn't JSON: {e}", self.line))
    }

    /// # Panics
    /// If it failed.
    #[track_caller]
    pub fn ok(self) -> Ran {
        assert_eq!(self.code(), 0, "{} failed: {}", self.line, self.stderr());
        self
    }

    /// # Panics
    /// If it succeeded, was killed by a signal, or says nothing.
    #[track_caller]
    pub fn fails(self) -> Ran {
        assert!(self.code() > 0, "{} must fail, but ended with {}", self.line, self.code());
        assert_ne!(self.stderr().trim(), "", "{} fails without a word", self.line);
        self
    }

    /// It fails, and what it says contains at least one of these, in any case of letters.
    #[track_caller]
    pub fn fails_saying(self, any: &[&str]) -> Ran {
        let ran = self.fails();
        let said = ran.stderr().to_lowercase();
        assert!(
            any.iter().any(|a| said.contains(&a.to_lowercase())),
            "{:?} says none of {any:?}",
            ran.stderr()
        );
        ran
    }

    #[track_caller]
    pub fn exits(self, code: i32) -> Ran {
        assert_eq!(self.code(), code, "exit code of {}: {}", self.line, self.stderr());
        self
    }
}

impl std::fmt::Display for Ran {
    fn fmt(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
        let code = self.status.map_or("no end".to_owned(), |_| self.code().to_string());
        write!(f, "{}\n  exit: {code}", self.line)?;
        for (name, text) in [("stdout", self.stdout()), ("stderr", self.stderr())] {
            for line in text.lines() {
                write!(f, "\n  {name}: {line}")?;
            }
        }
        Ok(())
    }
}

fn read(path: &Path) -> String {
    fs::read(path).map(|b| String::from_utf8_lossy(&b).into_owned()).unwrap_or_default()
}
