//! Hooks that run on the host: prestart, createRuntime, poststart, poststop (config.md of the spec,
//! "POSIX-platform Hooks"). Those that run in the container are `init`'s.
//!
//! A hook gets the container's state on its standard input, its own environment and nothing of ours, and
//! the bundle as working directory. Of what it prints the end is kept for the error message.

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::AsFd;
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use oci_spec::runtime::Hook;

use crate::error::{Doing, Error, Kind, Result};
use crate::spec::annotations::{HOOKS_STDERR, HOOKS_STDOUT};
use crate::state::Record;
use crate::sys::process::{self, Signal, Watch};
use crate::sys::{Call, Errno, Fail, Named, Pid, fs, signals};

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

    let mut command = command(hook, place.bundle);
    command
        .stdin(stdin)
        .stdout(output_to(place.stdout, HOOKS_STDOUT)?)
        .stderr(output_to(place.stderr, HOOKS_STDERR)?);
    let mut child = command.spawn().map_err(|error| {
        let errno = error.raw_os_error().map_or(Errno::UnknownErrno, Errno::from_raw);
        failed(format!("start {}", hook.path().display())).with_fail(Fail::new(Call::Exec, errno))
    })?;
    let timeout = hook.timeout().and_then(|seconds| u64::try_from(seconds).ok()).map(Duration::from_secs);
    let mut output = Output { stdout: Tail::default(), stderr: Tail::default() };
    let ended = converse(&mut child, &mut output, timeout);
    if !matches!(ended, Ok(true)) {
        let group = Pid(-(child.id() as i32)); // it leads one of its own, see command()
        let _ = process::kill(group, Signal::KILL); // unreaped, so its id is still taken: at worst all have ended
    }
    let status = child.wait().call(Call::Waitid).doing(|| "wait for a hook".into())?;
    match ended? {
        false => {
            let seconds = timeout.unwrap_or_default().as_secs_f64();
            Err(failed(format!("timed out: it ran past specified timeout of {seconds:.1}s, {output}")))
        }
        true if status.success() => Ok(()),
        true => Err(failed(format!("{}, {output}", describe(status)))),
    }
}

/// A file that an annotation names, made if it is missing; else a pipe to us.
fn output_to(file: Option<&Path>, annotation: &str) -> Result<Stdio> {
    let Some(path) = file else {
        return Ok(Stdio::piped());
    };
    let file = File::options().append(true).create(true).mode(0o600).open(path);
    file.call(Call::Openat)
        .map(Stdio::from)
        .doing(|| format!("annotations[{annotation}]: open {}", path.display()))
}

fn command(hook: &Hook, bundle: &Path) -> Command {
    let mut command = Command::new(hook.path());
    if let Some((name, rest)) = hook.args().as_deref().and_then(<[String]>::split_first) {
        command.arg0(name).args(rest);
    }
    command.env_clear();
    for variable in hook.env().iter().flatten() {
        let (name, value) = variable.split_once('=').unwrap_or((variable, ""));
        command.env(name, value);
    }
    // At poststop the bundle may be gone.
    command.current_dir(if bundle.is_dir() { bundle } else { Path::new("/") });
    signals::unblock_in_child(&mut command); // poststart hooks run while we collect signals for the container
    command.process_group(0); // so that a timeout also ends what the hook has started
    command
}

/// Reads what the hook prints until it has ended; false if it hasn't within `timeout`. What it started may
/// go on and keep its outputs open: that isn't waited for.
fn converse(child: &mut Child, output: &mut Output, timeout: Option<Duration>) -> Result<bool> {
    let doing = || "wait for a hook".to_owned();
    let pidfd = process::pidfd_open(Pid(child.id() as i32)).doing(doing)?;
    let (mut stdout, mut stderr) = (child.stdout.take(), child.stderr.take());
    let deadline = timeout.and_then(|timeout| Instant::now().checked_add(timeout));
    let mut left_unread = PIPE * 2;
    loop {
        let ended = process::ended(pidfd.as_fd(), Some(Duration::ZERO)).doing(doing)?;
        let left = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
        if !ended && left.is_some_and(|left| left.is_zero()) {
            return Ok(false);
        }
        let mut watched = [
            Watch::input((!ended).then_some(pidfd.as_fd())),
            Watch::input(stdout.as_ref().map(AsFd::as_fd)),
            Watch::input(stderr.as_ref().map(AsFd::as_fd)),
        ];
        let limit = if ended { Some(Duration::ZERO) } else { left };
        if process::poll(&mut watched, limit).doing(doing)? == 0 && ended {
            return Ok(true);
        }
        let [_, out_ready, err_ready] = watched.map(|watch| watch.ready());
        let mut read = 0;
        if out_ready {
            read += output.stdout.take_from(&mut stdout);
        }
        if err_ready {
            read += output.stderr.take_from(&mut stderr);
        }
        if ended {
            left_unread = left_unread.saturating_sub(read);
            if left_unread == 0 {
                return Ok(true);
            }
        }
    }
}

fn describe(status: ExitStatus) -> String {
    match (status.code(), status.signal()) {
        (Some(code), _) => format!("exit status {code}"),
        (None, Some(signal)) => format!("signal: {}", Signal(signal)),
        (None, None) => status.to_string(),
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

/// The end of what came out of a pipe.
#[derive(Default)]
struct Tail(Vec<u8>);

impl Tail {
    /// One read, and how many bytes it gave; at the end of the pipe or after an error it is closed.
    fn take_from<R: Read>(&mut self, pipe: &mut Option<R>) -> usize {
        let mut buffer = [0; 4096];
        let read = match pipe.as_mut().map(|pipe| pipe.read(&mut buffer)) {
            Some(Ok(read)) if read > 0 => read,
            _ => {
                *pipe = None;
                return 0;
            }
        };
        self.0.extend_from_slice(&buffer[..read]);
        let surplus = self.0.len().saturating_sub(KEPT);
        self.0.drain(..surplus);
        read
    }

    /// As one line without control characters: it goes into an error message.
    fn text(&self) -> String {
        let text = String::from_utf8_lossy(&self.0);
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
