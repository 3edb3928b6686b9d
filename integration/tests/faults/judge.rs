//! One point, and whether what was promised holds there.
//!
//! After a kill: `state` and `list` answer, `delete --force` succeeds or says that there is nothing, the world is as it
//! was, and the same id runs again with the same isolation. After an errno: the command failed with one line that names
//! call and errno, and nothing is left; or it succeeded, and the isolation is that of the unfaulted command. **No failure
//! weakens isolation.**

use std::collections::BTreeMap;
use std::time::Duration;

use nix::errno::Errno;

use crate::sight::difference;
use crate::trace::{Fault, Point, Role, Traced, waiting_in};
use crate::world::{Ran, World};

/// Calls that Linux never fails with the arguments that a runtime gives.
const NEVER: &[&str] = &[
    "arch_prctl",
    "exit",
    "exit_group",
    "getegid",
    "geteuid",
    "getgid",
    "getpid",
    "getppid",
    "gettid",
    "getuid",
    "rseq",
    "rt_sigaction",
    "rt_sigprocmask",
    "rt_sigreturn",
    "sched_yield",
    "set_robust_list",
    "set_tid_address",
    "sigaltstack",
    "umask",
];

/// Where the C library and the language abort if they have no memory or can't begin: nobody can do anything about it.
const START: &[&str] =
    &["brk", "mmap", "mprotect", "mremap", "munmap", "poll", "sched_getaffinity", "prlimit64", "readlink"];

/// A line may name another of the family: which of them the C library or the standard library makes is theirs to say.
const FAMILIES: &[&[&str]] = &[
    &["open", "openat", "openat2"],
    &["mkdir", "mkdirat"],
    &["rename", "renameat", "renameat2"],
    &["unlink", "unlinkat", "rmdir"],
    &["fstat", "lstat", "newfstatat", "stat", "statx"],
    &["fstatfs", "statfs"],
    &["readlink", "readlinkat"],
    &["symlink", "symlinkat"],
    &["chmod", "fchmod", "fchmodat"],
    &["chown", "fchown", "fchownat"],
    &["wait4", "waitid"],
    &["clone", "clone3", "fork", "vfork"],
    &["landlock", "landlock_add_rule", "landlock_create_ruleset", "landlock_restrict_self"],
    &["dup", "dup2", "dup3", "fcntl"],
    &["poll", "ppoll"],
    &["recvfrom", "recvmsg"],
    &["sendmsg", "sendto"],
];

/// Of what looks for the program, a line says `exec`, in the words that engines know.
const EXEC: &[&str] = &["execve", "faccessat2", "newfstatat", "openat2"];

/// What doesn't hold yet: commands, role, calls (none is any), and what is said of it.
type Known = (&'static [&'static str], Role, &'static [&'static str], &'static str);
const MAKE: &[&str] = &["create", "run", "run-d"];
const KNOWN: &[Known] = &[
    // Without a cgroup nobody knows of an init whose parent was killed before it wrote its pid down; it ends at its next
    // halt, and under load that takes a while.
    (MAKE, Role::Parent, &[], "left after delete --force: left: process"),
    // A process that fails to wait for its start ends before it has anybody to tell why: it isn't started.
    (&["start"], Role::Init, &["accept4"], "isn't named"),
    (&["create"], Role::Init, &["accept4"], "exit 0, but it is Ok(\"stopped\"), not created"),
    // Who may make no node of the container's own masks with an empty file and binds the host's node, read-only.
    (MAKE, Role::Parent, &["mknodat"], "exit 0, WEAKER OR OTHER: -mount"),
];

/// How long a process may take to notice the end of another.
const SOON: Duration = Duration::from_millis(300);
const LONG: Duration = Duration::from_secs(3);

pub struct Verdict {
    pub hit: String,
    /// In a word: how the command ended.
    pub outcome: String,
    pub said: String,
    pub wrong: Vec<String>,
}

pub struct Judge<'a> {
    world: World<'a>,
    /// The facts of unfaulted commands.
    expected: BTreeMap<String, Vec<String>>,
    again: Vec<String>,
}

impl<'a> Judge<'a> {
    pub fn new(mut world: World<'a>) -> Judge<'a> {
        world.begin();
        let ran = world.run_again();
        let again =
            world.facts(&ran.stdout).unwrap_or_else(|why| panic!("{why}: {} {:?}", ran.told(), ran.stdout));
        Judge { world, expected: BTreeMap::new(), again }
    }

    pub fn world(&self) -> &World<'a> {
        &self.world
    }

    /// Carries the command out unharmed: how many calls parent and init make.
    pub fn count(&mut self, command: &str, role: Role) -> Result<usize, String> {
        let waiting = self.world.before(command).filter(|_| role == Role::Init);
        let none = Point { role, number: 0, fault: Fault::Kill };
        let (traced, ran, seen) = self.world.traced(command, none, waiting);
        if !ran.succeeded() {
            return Err(format!("it can't be done unharmed: {}", ran.told()));
        }
        let facts = self.world.outcome(command, &ran, seen).map_err(|why| format!("unharmed, but {why}"))?;
        if std::env::var_os("SHOW").is_some() {
            eprintln!("{command}\n  {}", facts.join("\n  "));
        }
        match self.expected.get(command) {
            None => drop(self.expected.insert(command.into(), facts)),
            Some(before) if *before == facts => {}
            Some(before) => return Err(format!("its facts change: {}", difference(before, &facts))),
        }
        self.world.clean();
        Ok(traced.counts[role as usize])
    }

    /// `None` if there is nothing to judge: the command made fewer calls this time, or the call can't fail.
    pub fn at(&self, command: &str, point: Point) -> Option<Verdict> {
        let waiting = self.world.before(command).filter(|_| point.role == Role::Init);
        let before = self.world.census();
        let (traced, ran, seen) = self.world.traced(command, point, waiting);
        let Some(hit) = traced.hit.clone() else {
            self.world.clean();
            return None;
        };
        let mut verdict =
            Verdict { hit: hit.text, outcome: String::new(), said: ran.stderr.trim().into(), wrong: vec![] };
        verdict.wrong.extend(traced.hung.iter().map(|what| format!("hangs: {what}")));
        match point.fault {
            Fault::Kill => self.after_kill(command, point.role, &ran, &mut verdict),
            Fault::Errno(_) if NEVER.contains(&hit.call.as_str()) => {
                self.world.clean();
                return None;
            }
            Fault::Errno(errno) => {
                let doomed = is_doomed(&traced, &ran.stderr);
                match (traced.code, doomed) {
                    (_, true) => self.after_kill(command, Role::Parent, &ran, &mut verdict),
                    (0, _) => self.after_success(command, &ran, seen, &before, &mut verdict),
                    _ => self.after_failure(command, &traced, errno, &ran, &before, &mut verdict),
                }
                if doomed {
                    verdict.outcome = "abort of the library".into();
                }
            }
        }
        if !verdict.wrong.is_empty() {
            self.world.clean();
        }
        verdict.wrong.retain(|what| !is_known(command, point.role, &hit.call, what));
        Some(verdict)
    }

    fn after_kill(&self, command: &str, role: Role, ran: &Ran, verdict: &mut Verdict) {
        let world = &self.world;
        let wrong = &mut verdict.wrong;
        if role == Role::Init && ran.succeeded() && command != "create" {
            wrong.push("exit 0, though the init was killed".into());
        }
        if role == Role::Init && !ran.succeeded() && ran.stderr.trim().is_empty() {
            wrong.push(format!("{} without a word", ran.told()));
        }
        match world.status() {
            Ok(status) => verdict.outcome = format!("then {status}"),
            Err(why) => wrong.push(format!("state: {why}")),
        }
        let list = world.call(&["list", "--format", "json"]);
        if !list.succeeded() || serde_json::from_str::<serde_json::Value>(&list.stdout).is_err() {
            wrong.push(format!("list: {} {:?}", list.told(), list.stdout));
        }
        self.delete(wrong);
        let again = world.run_again();
        match (again.succeeded(), world.facts(&again.stdout)) {
            (true, Ok(facts)) if facts == self.again => {}
            (true, Ok(facts)) => {
                wrong.push(format!("run of the same id DIFFERS: {}", difference(&self.again, &facts)))
            }
            (_, facts) => wrong.push(format!("run of the same id: {} {:?}", again.told(), facts.err())),
        }
        let left = world.left(None, LONG);
        if !left.is_empty() {
            wrong.push(format!("left after the next run: {left}"));
        }
    }

    fn delete(&self, wrong: &mut Vec<String>) {
        let deleted = self.world.call(&["delete", "--force", &self.world.id]);
        if !deleted.succeeded() && !deleted.says_none() {
            wrong.push(format!("delete --force: {}", deleted.told()));
        }
        let left = self.world.left(None, LONG);
        if !left.is_empty() {
            wrong.push(format!("left after delete --force: {left}; {}", waiting_in().join(", ")));
            self.world.clean();
        }
    }

    fn after_success(
        &self,
        command: &str,
        ran: &Ran,
        seen: Option<Vec<String>>,
        before: &integration::Census,
        verdict: &mut Verdict,
    ) {
        let call = verdict.hit.split('(').next().unwrap_or_default();
        verdict.outcome = "success".into();
        let wrong = &mut verdict.wrong;
        match self.world.outcome(command, ran, seen) {
            Ok(facts) if facts == self.expected[command] => {}
            // Told by a warning: a passwd file that can't be read takes nothing from the isolation.
            Ok(facts)
                if ran.stderr.contains("warning: HOME is /")
                    && only_home(&self.expected[command], &facts) => {}
            Ok(facts) => {
                wrong.push(format!(
                    "exit 0, WEAKER OR OTHER: {}",
                    difference(&self.expected[command], &facts)
                ));
            }
            Err(why) => wrong.push(format!("exit 0, but {why}")),
        }
        match command {
            "create" | "run-d" | "start" => self.delete(wrong),
            "kill" => {}
            // The program's status is the command's: that it could not be cleaned up is a warning.
            "run" if names(&ran.stderr, call) => self.delete(wrong),
            "run" | "delete" | "delete-f" => self.nothing_left(None, wrong),
            _ => self.nothing_left(Some(before), wrong),
        }
    }

    fn nothing_left(&self, before: Option<&integration::Census>, wrong: &mut Vec<String>) {
        let left = self.world.left(before, SOON);
        if !left.is_empty() {
            wrong.push(format!("left: {left}"));
        }
    }

    fn after_failure(
        &self,
        command: &str,
        traced: &Traced,
        errno: Errno,
        ran: &Ran,
        before: &integration::Census,
        verdict: &mut Verdict,
    ) {
        verdict.outcome = "failure".into();
        let wrong = &mut verdict.wrong;
        let call = traced.hit.as_ref().map_or("", |hit| hit.call.as_str());
        if traced.code < 0 && traced.hung.is_empty() {
            wrong.push(format!("ended by signal {}: {:?}", -traced.code, ran.stderr.trim()));
        }
        let lines: Vec<_> =
            ran.stderr.lines().filter(|l| !l.trim().is_empty() && !l.contains("warning")).collect();
        match lines.as_slice() {
            [line] => {
                if !line.to_lowercase().contains(&errno.desc().to_lowercase()) {
                    wrong.push(format!("{errno:?} isn't named: {line}"));
                }
                if !names(line, call) {
                    wrong.push(format!("{call} isn't named: {line}"));
                }
            }
            [] => wrong.push(format!("{} without a word", ran.told())),
            _ => wrong.push(format!("more than one line: {:?}", ran.stderr)),
        }
        let status = self.world.status();
        if let Err(why) = &status {
            wrong.push(format!("state: {why}"));
        }
        match command {
            "create" | "run" | "run-d" => self.nothing_left(None, wrong),
            "delete" | "delete-f" if status == Ok("none".into()) => self.nothing_left(None, wrong),
            "kill" | "delete" | "delete-f" | "start" => {}
            _ => self.nothing_left(Some(before), wrong),
        }
        if ["create", "start", "run", "run-d", "delete", "delete-f"].contains(&command) || !wrong.is_empty() {
            self.delete(wrong);
        }
    }
}

fn only_home(expected: &[String], facts: &[String]) -> bool {
    let same =
        |facts: &[String]| facts.iter().filter(|f| !f.starts_with("env HOME:")).cloned().collect::<Vec<_>>();
    same(expected) == same(facts)
}

fn is_known(command: &str, role: Role, call: &str, what: &str) -> bool {
    KNOWN.iter().any(|(of, by, calls, text)| {
        of.contains(&command)
            && *by == role
            && (calls.is_empty() || calls.contains(&call))
            && what.contains(text)
    })
}

/// Whether it was the C library, its loader or the standard library that gave up: that is judged as a kill.
fn is_doomed(traced: &Traced, said: &str) -> bool {
    let call = traced.hit.as_ref().map_or("", |hit| hit.call.as_str());
    let loader = traced.code == 127 && said.contains("error while loading shared libraries");
    // Of its own pipe to a child, whose read can't fail.
    let assertion = said.contains("/library/std/") && said.contains("panicked");
    traced.code < 0 && START.contains(&call) || loader || traced.code < 0 && assertion
}

/// Whether the line says which call failed.
fn names(line: &str, call: &str) -> bool {
    let family = FAMILIES.iter().find(|f| f.contains(&call)).copied().unwrap_or(&[]);
    let exec = EXEC.contains(&call)
        && (line.contains("exec: \"/bin/inside\":") || line.contains("exec /bin/inside:"));
    exec || has_word(line, call) || family.iter().any(|name| has_word(line, name))
}

/// The name on its own, not as a part of another.
fn has_word(line: &str, name: &str) -> bool {
    let is_part = |c: Option<char>| c.is_some_and(|c| c.is_alphanumeric() || c == '_');
    line.match_indices(name).any(|(at, _)| {
        !is_part(line[..at].chars().next_back()) && !is_part(line[at + name.len()..].chars().next())
    })
}
