//! Hooks that run on the host: prestart, createRuntime, poststart, poststop (config.md of the spec,
//! "POSIX-platform Hooks"). Those that run in the container are `init`'s.
//!
//! A hook gets the container's state on its standard input, its own environment and nothing of ours, and
//! the bundle as working directory. Of what it prints the end is kept for the error message.

use std::ffi::CString;
use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::time::{Duration, Instant};

use oci_spec::runtime::Hook;

use crate::error::{Doing, Error, Kind, Result};
use crate::spec::annotations::{HOOKS_STDERR, HOOKS_STDOUT};
use crate::state::Record;
use crate::sys::exec::{self, CArray, Program};
use crate::sys::process::{self, Exit, Signal, Watch};
use crate::sys::{Call, Errno, Fail, Named, Pid, c_path, fs, signals};

/// How many bytes of each of a hook's outputs are kept: the end says why it failed.
const KEPT: usize = 2048;
/// A pipe's default capacity (pipe(7)): what a hook that has ended can have left unread.
const PIPE: usize = 65_536;

/// Where hooks run, and where what they print goes.
pub struct Place<'a> {
    pub bundle: &'a Path,
    /// Files of the annotations run.oci.hooks.stdout and .stderr.
    pub stdout: Option<&'a Path>,
    pub stderr: Option<&'a Path>,
}

impl<'a> Place<'a> {
    pub fn of(record: &'a Record) -> Place<'a> {
        let file = |key| record.annotations.get(key).filter(|path| !path.is_empty()).map(Path::new);
        Place { bundle: Path::new(&record.bundle), stdout: file(HOOKS_STDOUT), stderr: file(HOOKS_STDERR) }
    }
}

/// Runs `hooks` one after the other until one fails. `point` is their name in config.json, `state` the JSON
/// for their standard input (see [`Record::hook_state`](crate::state::Record::hook_state)).
pub fn run(point: &str, hooks: &[Hook], state: &str, place: &Place) -> Result<()> {
    let mut hooks = hooks.iter().enumerate();
    hooks.try_for_each(|(index, hook)| run_one(point, index, hook, state, place))
}

/// Runs all of `hooks` whatever happens, and gives the errors of those that failed: what the spec wants of
/// poststop.
pub fn run_all(point: &str, hooks: &[Hook], state: &str, place: &Place) -> Vec<Error> {
    let hooks = hooks.iter().enumerate();
    hooks.filter_map(|(index, hook)| run_one(point, index, hook, state, place).err()).collect()
}

fn run_one(point: &str, index: usize, hook: &Hook, state: &str, place: &Place) -> Result<()> {
    let failed = |what: String| {
        let text = format!("error running {point} hook #{index}: {what}");
        Error::new(Kind::Hook, text).context(format!("hooks.{point}[{index}]: {}", hook.path().display()))
    };
    // What our caller let us inherit is not for hooks. All that we open ourselves is close-on-exec anyway.
    fs::cloexec_from(3).doing(|| "mark fds close-on-exec".into())?;
    signals::default_sigchld().doing(|| "keep the status of hooks".into())?; // our caller may ignore it
    let stdin = fs::memfd(c"hook state").doing(|| "make a file for the state".into())?;
    let mut stdin = File::from(stdin);
    stdin.write_all(state.as_bytes()).call(Call::Write).doing(|| "write the state for a hook".into())?;
    fs::rewind(stdin.as_fd()).doing(|| "rewind the state for a hook".into())?;

    let (out, stdout) = output_to(place.stdout, HOOKS_STDOUT)?;
    let (err, stderr) = output_to(place.stderr, HOOKS_STDERR)?;
    let stdio = [stdin.as_fd(), stdout.as_fd(), stderr.as_fd()];
    let (pid, pidfd) = start(hook, place.bundle, stdio)
        .map_err(|fail| failed(format!("start {}", hook.path().display())).with_fail(fail))?;
    drop((stdin, stdout, stderr));
    let timeout = hook.timeout().and_then(|seconds| u64::try_from(seconds).ok()).map(Duration::from_secs);
    let mut output = Output { stdout: Tail::from(out), stderr: Tail::from(err) };
    let ended = converse(pidfd.as_fd(), &mut output, timeout);
    if !matches!(ended, Ok(true)) {
        // It leads a group of its own, so that a timeout also ends what it has started; unreaped, its id is still taken:
        // at worst all have ended.
        let _ = process::kill(Pid(-pid.0), Signal::KILL);
    }
    let status = process::reap(pidfd.as_fd()).doing(|| "wait for a hook".into())?;
    match ended? {
        false => {
            let seconds = timeout.unwrap_or_default().as_secs_f64();
            Err(failed(format!("timed out: it ran past specified timeout of {seconds:.1}s, {output}")))
        }
        true if status == Exit::Status(0) => Ok(()),
        true => Err(failed(format!("{}, {output}", describe(status)))),
    }
}

/// A file that an annotation names, made if it is missing; else a pipe, with the end that is ours.
fn output_to(file: Option<&Path>, annotation: &str) -> Result<(Option<File>, OwnedFd)> {
    let Some(path) = file else {
        let (ours, theirs) = fs::pipe().doing(|| "make a pipe for a hook".into())?;
        return Ok((Some(ours.into()), theirs));
    };
    let file = File::options().append(true).create(true).mode(0o600).open(path).call(Call::Openat);
    let file = file.doing(|| format!("annotations[{annotation}]: open {}", path.display()))?;
    Ok((None, file.into()))
}

fn start(hook: &Hook, bundle: &Path, stdio: [BorrowedFd; 3]) -> Result<(Pid, OwnedFd), Fail> {
    // Checked in config.json: a NUL is in none of them.
    let c_string = |text: &str| CString::new(text).map_err(|_| Fail::new(Call::Exec, Errno::EINVAL));
    let array = |texts: &[String]| texts.iter().map(|text| c_string(text)).collect::<Result<_, _>>();
    let path = c_path(hook.path())?;
    let argv = match hook.args().as_deref() {
        Some(args) if !args.is_empty() => array(args)?,
        _ => vec![path.clone()],
    };
    let envp = array(hook.env().as_deref().unwrap_or_default())?;
    // At poststop the bundle may be gone.
    let directory = c_path(if bundle.is_dir() { bundle } else { Path::new("/") })?;
    let (argv, envp) = (CArray::new(argv), CArray::new(envp));
    let program = Program { path: &path, argv: &argv, envp: &envp, directory: &directory, stdio };
    exec::spawn(&program)
}

/// Reads what the hook prints until it has ended; false if it hasn't within `timeout`. What it started may
/// go on and keep its outputs open: that isn't waited for.
fn converse(pidfd: BorrowedFd, output: &mut Output, timeout: Option<Duration>) -> Result<bool> {
    let doing = || "wait for a hook".to_owned();
    let deadline = timeout.and_then(|timeout| Instant::now().checked_add(timeout));
    let mut left_unread = PIPE * 2;
    loop {
        let ended = process::ended(pidfd, Some(Duration::ZERO)).doing(doing)?;
        let left = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
        if !ended && left.is_some_and(|left| left.is_zero()) {
            return Ok(false);
        }
        let mut watched = [
            Watch::input((!ended).then_some(pidfd)),
            Watch::input(output.stdout.pipe()),
            Watch::input(output.stderr.pipe()),
        ];
        let limit = if ended { Some(Duration::ZERO) } else { left };
        if process::poll(&mut watched, limit).doing(doing)? == 0 && ended {
            return Ok(true);
        }
        let [_, out_ready, err_ready] = watched.map(|watch| watch.ready());
        let mut read = 0;
        if out_ready {
            read += output.stdout.take();
        }
        if err_ready {
            read += output.stderr.take();
        }
        if ended {
            left_unread = left_unread.saturating_sub(read);
            if left_unread == 0 {
                return Ok(true);
            }
        }
    }
}

fn describe(status: Exit) -> String {
    match status {
        Exit::Status(code) => format!("exit status {code}"),
        Exit::Signal(signal) => format!("signal: {signal}"),
    }
}

struct Output {
    stdout: Tail,
    stderr: Tail,
}

impl std::fmt::Display for Output {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "stdout: {}, stderr: {}", self.stdout.text(), self.stderr.text())
    }
}

/// A pipe, and the end of what came out of it.
struct Tail {
    pipe: Option<File>,
    text: Vec<u8>,
}

impl Tail {
    fn from(pipe: Option<File>) -> Tail {
        Tail { pipe, text: vec![] }
    }

    fn pipe(&self) -> Option<BorrowedFd<'_>> {
        self.pipe.as_ref().map(AsFd::as_fd)
    }

    /// One read, and how many bytes it gave; at the end of the pipe or after an error it is closed.
    fn take(&mut self) -> usize {
        let mut buffer = [0; 4096];
        let read = match self.pipe.as_mut().map(|pipe| pipe.read(&mut buffer)) {
            Some(Ok(read)) if read > 0 => read,
            _ => {
                self.pipe = None;
                return 0;
            }
        };
        self.text.extend_from_slice(&buffer[..read]);
        let surplus = self.text.len().saturating_sub(KEPT);
        self.text.drain(..surplus);
        read
    }

    /// As one line without control characters: it goes into an error message.
    fn text(&self) -> String {
        let text = String::from_utf8_lossy(&self.text);
        let escape = |c: char| {
            if c.is_control() { c.escape_default().to_string() } else { c.to_string() }
        };
        text.trim().chars().map(escape).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str) -> Hook {
        hook(serde_json::json!({"path": "/bin/sh", "args": ["sh", "-c", script]}))
    }

    fn hook(json: serde_json::Value) -> Hook {
        serde_json::from_value(json).unwrap()
    }

    fn place(bundle: &str) -> Place<'_> {
        Place { bundle: Path::new(bundle), stdout: None, stderr: None }
    }

    fn run_in_tmp(hooks: &[Hook], state: &str) -> Result<()> {
        run("createRuntime", hooks, state, &place("/tmp"))
    }

    /// What one hook prints, taken from its failure.
    fn printed(script: &str, state: &str) -> String {
        let text = fails(&[shell(&format!("{script}; exit 1"))], state);
        text.split("stdout: ").nth(1).unwrap().split(", stderr: ").next().unwrap().to_owned()
    }

    fn fails(hooks: &[Hook], state: &str) -> String {
        let error = run_in_tmp(hooks, state).unwrap_err();
        assert_eq!(error.kind, Kind::Hook);
        error.to_string()
    }

    #[test]
    fn success_and_failure() {
        run_in_tmp(&[], "{}").unwrap();
        run_in_tmp(&[shell("exit 0"), shell("cat")], "{}").unwrap();
        let check = |script, expected: &str| {
            let text = fails(&[shell("true"), shell(script)], "{}");
            assert_eq!(
                text,
                format!("hooks.createRuntime[1]: /bin/sh: error running createRuntime hook #1: {expected}")
            );
        };
        check("exit 3", "exit status 3, stdout: , stderr: ");
        check("echo out; echo err >&2; exit 1", "exit status 1, stdout: out, stderr: err");
        check("printf 'a\\nb\\033[1m'; kill -9 $$", "signal: SIGKILL, stdout: a\\nb\\u{1b}[1m, stderr: ");
    }

    #[test]
    fn not_there() {
        let text = fails(&[hook(serde_json::json!({"path": "/nowhere/hook"}))], "{}");
        assert!(text.ends_with("start /nowhere/hook: execve: no such file or directory"), "{text}");
    }

    #[test]
    fn what_a_hook_sees() {
        assert_eq!(printed("cat", "{\"id\":\"a\"}"), "{\"id\":\"a\"}");
        assert_eq!(printed("pwd", ""), "/tmp");
        assert_eq!(printed("ls /proc/self/fd | tr '\\n' ' '", ""), "0 1 2 3"); // 3 is ls's own
        let env = printed("tr '\\0' '\\n' < /proc/$$/environ", "");
        assert_eq!(env, "");
        let with_env = hook(serde_json::json!({
            "path": "/bin/sh", "args": ["name", "-c", "tr '\\0' ' ' < /proc/$$/environ; echo $0; exit 1"],
            "env": ["A=1", "B=2=3"],
        }));
        let text = fails(&[with_env], "");
        assert!(text.contains("stdout: A=1 B=2=3 name,"), "{text}");
        let no_args = hook(serde_json::json!({"path": "/bin/true", "args": []}));
        run_in_tmp(&[no_args], "").unwrap();
        let _blocked = signals::Signals::block().unwrap();
        let blocked = printed("grep SigBlk /proc/self/status", "");
        assert_eq!(blocked.trim_start_matches("SigBlk:\\t"), "0000000000000000");
    }

    #[test]
    fn gone_bundle() {
        run("poststop", &[shell("test $(pwd) = /")], "{}", &place("/nowhere")).unwrap();
    }

    #[test]
    fn large_state_large_output() {
        let state = "x".repeat(4 << 20);
        run_in_tmp(&[shell("exit 0")], &state).unwrap();
        assert_eq!(printed("wc -c", &state), state.len().to_string());
        let text = printed("cat; echo END", &state);
        assert!(text.ends_with("xxx\\nEND") || text.ends_with("xxxEND"), "{}", &text[text.len() - 20..]);
        assert!(text.len() <= KEPT + 8);
    }

    #[test]
    fn timeout_ends_the_whole_group() {
        let file = std::env::temp_dir().join(format!("rrunc-state-hook-{}", std::process::id()));
        let script = format!("sleep 1000 & echo $! > {}; echo waiting; wait", file.display());
        let flood = hook(serde_json::json!({"path": "/bin/sh", "args": ["sh", "-c", "yes"], "timeout": 1,
            "env": ["PATH=/usr/bin:/bin"]}));
        assert!(fails(&[flood], "{}").contains("timed out"));
        let slow = hook(serde_json::json!({"path": "/bin/sh", "args": ["sh", "-c", script], "timeout": 1,
            "env": ["PATH=/usr/bin:/bin"]}));
        let begun = Instant::now();
        let text = fails(&[slow], "{}");
        assert!(begun.elapsed() < Duration::from_secs(20));
        assert!(text.contains("timed out: it ran past specified timeout of 1.0s, stdout: waiting"), "{text}");
        let sleeper = std::fs::read_to_string(&file).unwrap();
        std::fs::remove_file(&file).unwrap();
        let sleeper = Pid(sleeper.trim().parse().unwrap());
        if let Ok(pidfd) = process::pidfd_open(sleeper) {
            assert!(process::ended(pidfd.as_fd(), Some(Duration::from_secs(10))).unwrap());
        }
    }

    #[test]
    fn what_a_hook_leaves_running_is_not_waited_for() {
        let begun = Instant::now();
        run_in_tmp(&[shell("sleep 4 &")], "{}").unwrap();
        run_in_tmp(&[shell("while :; do echo y; done & sleep 0.2; kill -9 0")], "{}").unwrap_err();
        assert!(begun.elapsed() < Duration::from_secs(3));
    }

    #[test]
    fn poststop_goes_on() {
        let errors =
            run_all("poststop", &[shell("exit 1"), shell("exit 0"), shell("exit 2")], "{}", &place("/"));
        let text: Vec<_> = errors.iter().map(|error| error.to_string()).collect();
        assert_eq!(text.len(), 2);
        assert!(text[1].contains("hooks.poststop[2]") && text[1].contains("exit status 2"), "{text:?}");
    }
}
