//! What isolates a container, as a list of facts: what its process sees, and what the host does. Facts that differ
//! from run to run (inodes, numbers of mounts) are left out; a namespace is the container's own or the host's.

use std::collections::BTreeSet;
use std::fs;

use serde_json::{Value, json};
use spec_tests::Inside;

/// What the helper is asked. The last ones try what is forbidden.
#[rustfmt::skip]
pub const PHRASES: &[&str] = &[
    "ids", "umask", "caps", "rlimits", "personality", "hostname", "domainname", "ns", "fds", "mounts", "cgroup", "env",
    "cwd", "interfaces", "status NoNewPrivs", "status Seccomp", "status Seccomp_filters", "status SigBlk",
    "status SigIgn", "status SigCgt", "status Speculation_Store_Bypass", "status THP_enabled", "status NSsid", "pid",
    "read /proc/self/oom_score_adj", "read /proc/self/uid_map", "read /proc/self/gid_map", "read /proc/self/setgroups",
    "read /proc/self/timens_offsets", "read /proc/sys/net/ipv4/ip_unprivileged_port_start",
    "read /proc/sys/kernel/shm_rmid_forced", "read /proc/sys/kernel/domainname",
    "syscall keyctl 0 -3 0", "syscall getpriority 0 0", "syscall sched_getscheduler 0", "syscall ioprio_get 1 0",
    "syscall prctl 2", "syscall prctl 3", "syscall prctl 27", "syscall prctl 37", // death signal, dumpable, securebits, subreaper
    "ls /dev", "stat /dev/null", "stat /dev/zero", "stat /dev/ptmx", "stat /dev/pts", "stat /data", "ls /proc/acpi",
    "read /proc/keys", "read /proc/timer_list", "ls /sys/firmware", "read /ro/file",
    "open /dev/zero r", "open /dev/forbidden r", "create /ro/made", "create /made", "open /proc/sysrq-trigger w",
    "mkdir /sys/fs/cgroup/made", "syscall bpf 0 0 0", "syscall unshare 0x10000000",
];

/// The last phrase: all before it are answered.
pub const END: &str = "print END";

/// What the host has, against which the container's is held.
pub struct Host {
    /// Targets of /proc/self/ns.
    pub namespaces: BTreeSet<String>,
    /// Its answer to "syscall keyctl 0 -3 0".
    pub keyring: Value,
}

impl Host {
    pub fn namespaces() -> BTreeSet<String> {
        let entries = fs::read_dir("/proc/thread-self/ns").expect("namespaces").flatten();
        entries
            .map(|e| fs::read_link(e.path()).expect("a namespace").to_string_lossy().into_owned())
            .collect()
    }

    /// The helper's answers as facts, sorted; none if it did not come to its end.
    pub fn facts(&self, text: &str) -> Option<Vec<String>> {
        let inside = Inside::parse(text);
        inside.has(END).then(|| {
            let pid = inside["pid"].to_string();
            let answer = |phrase: &&str| match inside.all(phrase) {
                [] => vec![],
                [answer, ..] => self.lines(phrase, answer, &pid),
            };
            PHRASES.iter().flat_map(answer).collect()
        })
    }

    fn lines(&self, phrase: &str, answer: &Value, pid: &str) -> Vec<String> {
        let one = |answer: &Value| vec![format!("{phrase}: {answer}")];
        match (phrase, answer) {
            ("ns", Value::Object(all)) => {
                let whose = |v: &Value| match v.as_str().is_some_and(|v| self.namespaces.contains(v)) {
                    true => "the host's",
                    false => "own",
                };
                all.iter().map(|(name, v)| format!("namespace {name}: {}", whose(v))).collect()
            }
            ("status NSsid", Value::String(session)) => vec![format!("leads a session: {}", *session == pid)],
            ("pid", _) => vec![],
            ("fds", Value::Object(all)) => {
                all.iter().map(|(fd, to)| format!("fd {fd}: {}", unnumbered(to))).collect()
            }
            ("mounts", Value::Array(all)) => all.iter().map(mount).collect(),
            ("syscall keyctl 0 -3 0", Value::Number(_)) => match *answer == self.keyring {
                true => vec!["keyring: the host's".into()],
                false => vec!["keyring: own".into()],
            },
            (_, Value::Object(all)) => {
                let stable =
                    all.iter().filter(|(key, _)| !["inode", "device", "size"].contains(&key.as_str()));
                stable.map(|(key, value)| format!("{phrase} {key}: {value}")).collect()
            }
            _ => one(answer),
        }
    }
}

fn mount(m: &Value) -> String {
    let propagation = m["propagation"].as_array().into_iter().flatten().filter_map(Value::as_str);
    let propagation: Vec<_> = propagation.map(|p| p.split(':').next().unwrap_or(p)).collect();
    let rest = ["root", "options", "type", "source", "super"].map(|key| m[key].to_string());
    format!("mount {} {} {}", m["at"], rest.join(" "), json!(propagation))
}

/// `pipe:[123]` and `/proc/45/fd` without their numbers.
fn unnumbered(target: &Value) -> String {
    let text = target.as_str().unwrap_or_default();
    let text = text.split('[').next().unwrap_or_default();
    let parts = text.split('/').map(|part| if part.parse::<u32>().is_ok() { "N" } else { part });
    parts.collect::<Vec<_>>().join("/")
}

/// What is in one list only: `-` is missing, `+` is new.
pub fn difference(expected: &[String], found: &[String]) -> String {
    let missing = expected.iter().filter(|x| !found.contains(x)).map(|x| format!("-{x}"));
    let new = found.iter().filter(|x| !expected.contains(x)).map(|x| format!("+{x}"));
    missing.chain(new).collect::<Vec<_>>().join(" | ")
}
