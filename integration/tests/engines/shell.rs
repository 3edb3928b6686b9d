//! Command lines as users type them, with what they print and how they end.

use std::cell::RefCell;
use std::io::Write;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::process::{Command, Output, Stdio};
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{PoisonError, RwLock};
use std::time::{Duration, Instant};

/// Longer takes only what hangs.
const LIMIT: &str = "120";

/// A program that counts for as long as it may, for [`Shell::goes_on`].
pub const COUNT: &str = "sh -c 'while :; do echo $((i+=1)) >/tmp/count; sleep 0.05; done'";

/// A test's command lines so far.
pub struct Shell {
    transcript: RefCell<String>,
    /// A word for the names of this test's own things.
    pub name: String,
}

/// How a command line ended.
pub struct Ran {
    line: String,
    pub code: i32,
    pub out: String,
    pub err: String,
}

/// Whether the engine has lost the output of a container. conmon looks for its container's end before it first looks at
/// who attaches (seen with 2.1.12 and any runtime): who is held up between the two loses what a short one printed. Docker
/// with containerd's own shim loses some too (26.1.5, with runc: one of 120 on a machine that had twice the work it
/// could do). So it may happen once in a suite, and no more, lest it hides a loss of ours; never with our shim.
static OUTPUT_LOST: AtomicBool = AtomicBool::new(false);

/// Held by every test, and by those that stop what others need, alone.
static ENGINE: RwLock<()> = RwLock::new(());

/// Runs a test; if it fails, what was run and printed is shown.
pub fn user<F: FnOnce(&Shell)>(test: F) {
    let _shared = ENGINE.read().unwrap_or_else(PoisonError::into_inner);
    run(test);
}

/// Runs a test that the others don't survive.
pub fn alone<F: FnOnce(&Shell)>(test: F) {
    let _mine = ENGINE.write().unwrap_or_else(PoisonError::into_inner);
    run(test);
}

fn run<F: FnOnce(&Shell)>(test: F) {
    let path = std::any::type_name::<F>().trim_end_matches("::{{closure}}");
    let path = path.split_once("::").map_or(path, |(_crate, rest)| rest);
    let name = path.rsplit("::").next().unwrap_or(path).replace('_', "-");
    assert!(
        std::env::var_os("ENGINE_RUNTIME").is_some(),
        "these tests run within integration/engines/suite: make engines, make test-vm"
    );
    let shell = Shell::named(&name);
    let result = catch_unwind(AssertUnwindSafe(|| test(&shell)));
    if let Some(Skipped(why)) = result.as_ref().err().and_then(|payload| payload.downcast_ref()) {
        // Past the capture of what tests print, so that it is seen.
        let _ = writeln!(std::io::stderr(), "skipped {path}: {why}");
        return;
    }
    if let Err(payload) = result {
        println!("{}", shell.transcript.borrow());
        resume_unwind(payload);
    }
}

/// The payload of a test that ended early, with why.
struct Skipped(String);

/// Skips the test if the machine can't do what it needs; but it fails where the machine is said to be WHOLE.
pub fn needs(can: bool, what: &str) {
    if !can {
        assert!(std::env::var("WHOLE").as_deref() != Ok("1"), "this machine lacks {what}");
        resume_unwind(Box::new(Skipped(format!("this machine lacks {what}"))));
    }
}

/// Skips the test if it isn't about who runs it, or on what.
pub fn only_for(is: bool, what: &str) {
    if !is {
        resume_unwind(Box::new(Skipped(format!("it is for {what}"))));
    }
}

/// The runtime that the engine was told to use; `shim` is rrunc below our shim.
pub fn runtime() -> String {
    std::env::var("ENGINE_RUNTIME").unwrap_or_default()
}

/// Whether our shim is above the runtime.
pub fn is_ours() -> bool {
    runtime() == "shim"
}

/// Whether limits can be set, their controllers being in cgroup v2.
pub fn has_controllers() -> bool {
    let there = std::fs::read_to_string("/sys/fs/cgroup/cgroup.controllers").unwrap_or_default();
    let has = |name| there.split_whitespace().any(|there| there == name);
    ["memory", "cpu", "pids"].into_iter().all(has)
}

/// Skips the test if limits cannot be set.
pub fn needs_controllers() {
    needs(has_controllers(), "the controllers memory, cpu and pids");
}

/// Skips the test where no engine confines containers with AppArmor.
pub fn needs_apparmor() {
    let enabled = std::fs::read_to_string("/sys/module/apparmor/parameters/enabled");
    needs(enabled.is_ok_and(|enabled| enabled.starts_with('Y')), "AppArmor");
}

/// What every engine's profile denies, whatever the capabilities: to mount. Prints the profile, and how it went.
pub const MOUNTS: &str = "sh -c 'cut -d\" \" -f1 /proc/self/attr/current; mkdir -p /x; \
    if mount -t tmpfs none /x 2>/dev/null; then umount /x; echo may; else echo denied; fi'";

/// Whether systemd runs this machine (sd_booted(3)).
pub fn has_systemd() -> bool {
    std::path::Path::new("/run/systemd/system").exists()
}

/// Whether an ordinary user runs the tests.
pub fn is_rootless() -> bool {
    !nix::unistd::geteuid().is_root()
}

impl Shell {
    /// For a thread of a test's, or for what the test names otherwise.
    pub fn named(name: &str) -> Shell {
        Shell { transcript: RefCell::default(), name: name.into() }
    }

    /// Runs a line. `@` stands for the test's own name, that of its container.
    pub fn run(&self, line: &str) -> Ran {
        let line = line.replace('@', &self.name);
        let ran = self.once(line.clone());
        if !ran.may_have_lost_output() || OUTPUT_LOST.load(Relaxed) {
            return ran;
        }
        let again = self.once(line);
        if again.out.is_empty() || OUTPUT_LOST.swap(true, Relaxed) {
            return ran;
        }
        let _ = writeln!(std::io::stderr(), "the engine lost the output of: {}", ran.line);
        again
    }

    fn once(&self, line: String) -> Ran {
        let output = Command::new("timeout")
            .args(["--kill-after=5", LIMIT, "sh", "-c", &line])
            .stdin(Stdio::null())
            .output()
            .expect("a shell");
        let ran = Ran::new(line, &output);
        let mut transcript = self.transcript.borrow_mut();
        *transcript += &format!("$ {}\n{}{}=> {}\n", ran.line, ran.out, ran.err, ran.code);
        ran
    }

    /// Runs a line that must succeed: what it prints, without the newline at the end.
    pub fn ok(&self, line: &str) -> String {
        let ran = self.run(line);
        assert_eq!(ran.code, 0, "{} failed: {}", ran.line, ran.err);
        ran.out.trim_end().to_string()
    }

    /// Runs a line until what it prints has what is expected as whole lines: `healthy` isn't found in `unhealthy`.
    pub fn until(&self, line: &str, expected: &str) {
        let end = Instant::now() + Duration::from_secs(300);
        loop {
            let ran = self.run(line);
            if format!("\n{}\n", ran.out).contains(&format!("\n{expected}\n")) {
                return;
            }
            assert!(Instant::now() < end, "{line}: no {expected:?} for five minutes: {}", ran.out);
            std::thread::sleep(Duration::from_millis(50));
        }
    }
}

/// What a process does that is a container's first and runs [`COUNT`].
impl Shell {
    fn count(&self, pid: &str) -> String {
        self.run(&format!("cat /proc/{pid}/root/tmp/count")).out
    }

    /// It counts further.
    pub fn goes_on(&self, pid: &str) {
        let before = self.count(pid);
        let line = format!("test \"$(cat /proc/{pid}/root/tmp/count)\" != \"{}\" && echo on", before.trim());
        self.until(&line, "on");
    }

    /// It doesn't, for a second in which it would.
    #[track_caller]
    pub fn stands_still(&self, pid: &str) {
        let before = self.count(pid);
        std::thread::sleep(Duration::from_secs(1));
        assert_eq!(self.count(pid), before);
    }

    /// It is the runtime of this suite that knows a container, by its state directory.
    #[track_caller]
    pub fn is_known(&self, options: &str, id: &str) {
        let runtime = if is_ours() { "rrunc".into() } else { runtime() };
        self.run(&format!("{runtime} {options} state {id} | jq -r .status")).prints("running");
    }
}

impl Ran {
    fn new(line: String, output: &Output) -> Ran {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        Ran {
            line,
            code: output.status.code().unwrap_or(-1),
            out: text(&output.stdout),
            err: text(&output.stderr),
        }
    }

    /// A container that its engine attached to at its start, with nothing printed, which can be run again.
    fn may_have_lost_output(&self) -> bool {
        let attaches = ["podman run --rm ", "podman start -a ", "docker run --rm "];
        let attached = attaches.iter().any(|start| self.line.starts_with(start));
        attached && !is_ours() && self.out.is_empty() && self.err.is_empty()
    }

    #[track_caller]
    pub fn ends_with(self, code: i32) -> Ran {
        assert_eq!(self.code, code, "{}: {}{}", self.line, self.out, self.err);
        self
    }

    /// Prints this exactly, but for blanks around it.
    #[track_caller]
    pub fn prints(self, expected: &str) -> Ran {
        assert_eq!(self.out.replace('\r', "").trim(), expected.trim(), "{}: {}", self.line, self.err);
        self
    }

    /// Fails, and says this somewhere.
    #[track_caller]
    pub fn complains_or_prints(self, text: &str) -> Ran {
        let said = self.out.contains(text) || self.err.contains(text);
        assert!(self.code != 0 && said, "{} => {}: {}{}", self.line, self.code, self.out, self.err);
        self
    }

    /// Has one of these in what it complains, in any case.
    #[track_caller]
    pub fn complains(self, any: &[&str]) -> Ran {
        let said = self.err.to_lowercase();
        let found = any.iter().any(|text| said.contains(&text.to_lowercase()));
        assert!(found, "{}: none of {any:?} in {}", self.line, self.err);
        self
    }
}
