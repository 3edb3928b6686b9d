//! What is remembered of a container: facts that can't change any more, and the JSON made of them.
//! Its status isn't among them (see [`Container::status`](super::Container::status)).

use std::collections::BTreeMap;
use std::fmt;

use oci_spec::runtime::Hook;
use serde::{Deserialize, Serialize};

use crate::cgroup::Unit;
use crate::rdt::Group;
use crate::sys::{Pid, Uid};

/// The newest layout of [`Record`] that this version reads and the one it writes.
pub const VERSION: u32 = 1;

/// The content of state.json. Unknown fields are ignored, missing ones take their default, so that an
/// upgraded rrunc reads what an older one wrote.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Record {
    /// The layout of this file, see [`VERSION`].
    pub version: u32,
    pub oci_version: String,
    pub id: String,
    /// Absolute path of the bundle.
    pub bundle: String,
    /// Absolute path of the root filesystem on the host.
    pub rootfs: String,
    /// When `create` was called, as [`now`] writes it.
    pub created: String,
    pub annotations: BTreeMap<String, String>,
    /// Who called `create` (effective uid).
    pub owner: Option<Uid>,
    /// The init process; `None` until there is one.
    pub pid: Option<Pid>,
    /// When the init process started, in clock ticks since boot (proc(5), /proc/PID/stat field 22).
    pub start_time: u64,
    /// /proc/sys/kernel/random/boot_id at that time: a pid means nothing after a reboot.
    pub boot_id: String,
    /// Relative to the cgroup2 mount; `None` if the container has no cgroup of its own.
    pub cgroup: Option<String>,
    /// The inode of that cgroup, which no other has until the next boot; 0: an older rrunc did not ask.
    pub cgroup_inode: u64,
    /// The cgroup was made for this container, or for an earlier one that was in it.
    pub cgroup_made: bool,
    /// systemd's scope that the cgroup belongs to, if systemd manages it.
    pub unit: Option<Unit>,
    /// False if other processes of the container outlive its init.
    pub private_pid_namespace: bool,
    pub terminal: bool,
    /// Where its processes are in resctrl (linux.intelRdt).
    pub rdt: Option<Group>,
    /// The container has the session keyring of whoever made it (--no-new-keyring).
    pub no_new_keyring: bool,
    /// What its own is called otherwise, which is how `exec` gets in: a secret.
    pub session_keyring: Option<String>,
    /// Whether config.json has a `process`, without which there is nothing to start.
    pub has_process: bool,
    /// Whom its seccomp filter notifies.
    pub seccomp_listener: Option<SeccompListener>,
    pub poststart: Vec<Hook>,
    pub poststop: Vec<Hook>,
}

/// linux.seccomp.listenerPath and listenerMetadata.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct SeccompListener {
    pub path: String,
    pub metadata: Option<String>,
}

/// Where in its life a container is (config.md of the spec, "State", and runc's `paused`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    Creating,
    Created,
    Running,
    Paused,
    Stopped,
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Status::Creating => "creating",
            Status::Created => "created",
            Status::Running => "running",
            Status::Paused => "paused",
            Status::Stopped => "stopped",
        })
    }
}

/// What `state` and `list` print, with runc's keys in runc's order.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Report<'a> {
    oci_version: &'a str,
    id: &'a str,
    pid: Pid,
    status: String,
    bundle: &'a str,
    rootfs: &'a str,
    created: &'a str,
    /// As crun has it.
    #[serde(rename = "systemd-scope", skip_serializing_if = "Option::is_none")]
    systemd_scope: Option<&'a str>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    annotations: &'a BTreeMap<String, String>,
    owner: &'a str,
}

/// What a hook gets on its standard input (runtime.md of the spec, "State").
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct HookState<'a> {
    oci_version: &'a str,
    id: &'a str,
    status: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pid: Option<Pid>,
    bundle: &'a str,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    annotations: &'a BTreeMap<String, String>,
}

/// What the seccomp agent gets beside the listener (config-linux.md of the spec, "The Container Process State").
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ProcessState<'a> {
    oci_version: &'a str,
    fds: [&'a str; 1],
    pid: Pid,
    #[serde(skip_serializing_if = "Option::is_none")]
    metadata: Option<&'a str>,
    state: HookState<'a>,
}

impl Record {
    /// One container as `state` and `list -f json` show it. A stopped one has pid 0. `owner` is a user's
    /// name in `list`, and empty in `state` (as with runc).
    pub fn report<'a>(&'a self, status: Status, owner: &'a str) -> Report<'a> {
        Report {
            oci_version: &self.oci_version,
            id: &self.id,
            pid: self.shown_pid(status),
            status: status.to_string(),
            bundle: &self.bundle,
            rootfs: &self.rootfs,
            created: &self.created,
            systemd_scope: self.unit.as_ref().map(|unit| unit.name.as_str()),
            annotations: &self.annotations,
            owner,
        }
    }

    /// Whether this container was made after `other`, which once was in the same cgroup. One without an init is being made.
    pub fn is_later_than(&self, other: &Record) -> bool {
        // The clock may have been set; the time since boot only grows, but is coarse.
        let age = |record: &Record| match record.pid {
            Some(_) => (record.start_time, seconds_and_decimals(&record.created)),
            None => (u64::MAX, seconds_and_decimals(&record.created)),
        };
        age(self) > age(other)
    }

    /// The init's pid as it is shown: 0 if there is none (any more).
    pub fn shown_pid(&self, status: Status) -> Pid {
        self.pid.filter(|_| status != Status::Stopped).unwrap_or(Pid(0))
    }

    /// The output of `state`: indented by two spaces, without a newline at the end.
    pub fn state_json(&self, status: Status) -> String {
        serde_json::to_string_pretty(&self.report(status, "")).unwrap_or_default() // strings and maps of strings can't fail
    }

    /// The state for hooks, in one line.
    pub fn hook_state(&self, status: Status) -> String {
        serde_json::to_string(&self.spec_state(status)).unwrap_or_default() // as above
    }

    /// What the seccomp agent is told of a process, `pid` of the host, whose filter's listener it gets.
    pub fn process_state(&self, pid: Pid, listener: &SeccompListener, status: Status) -> String {
        let state = ProcessState {
            oci_version: &self.oci_version,
            fds: ["seccompFd"],
            pid,
            metadata: listener.metadata.as_deref(),
            state: self.spec_state(status),
        };
        serde_json::to_string(&state).unwrap_or_default() // as above
    }

    /// `paused` is no word of the spec, hence `running` there.
    fn spec_state(&self, status: Status) -> HookState<'_> {
        let told = if status == Status::Paused { Status::Running } else { status };
        HookState {
            oci_version: &self.oci_version,
            id: &self.id,
            status: told.to_string(),
            pid: self.pid.filter(|_| status != Status::Stopped),
            bundle: &self.bundle,
            annotations: &self.annotations,
        }
    }
}

/// Two times as [`now`](super::now) writes them compare like this, though each has as many decimals as it needs.
fn seconds_and_decimals(time: &str) -> (String, String) {
    let (seconds, decimals) =
        time.trim_end_matches('Z').split_once('.').unwrap_or((time.trim_end_matches('Z'), ""));
    (seconds.into(), decimals.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record() -> Record {
        Record {
            oci_version: "1.3.0".into(),
            id: "web1".into(),
            bundle: "/b".into(),
            rootfs: "/b/rootfs".into(),
            created: "2026-11-23T08:22:46.5Z".into(),
            pid: Some(Pid(42)),
            ..Record::default()
        }
    }

    #[test]
    fn state_as_runc_prints_it() {
        let mut record = record();
        record.annotations = [("b", "2"), ("a", "1")].map(|(k, v)| (k.into(), v.into())).into();
        let expected = r#"{
  "ociVersion": "1.3.0",
  "id": "web1",
  "pid": 42,
  "status": "running",
  "bundle": "/b",
  "rootfs": "/b/rootfs",
  "created": "2026-11-23T08:22:46.5Z",
  "annotations": {
    "a": "1",
    "b": "2"
  },
  "owner": ""
}"#;
        assert_eq!(record.state_json(Status::Running), expected);
        record.annotations.clear();
        record.unit = Some(Unit { name: "a-b.scope".into(), ..Unit::default() });
        let stopped = record.state_json(Status::Stopped);
        assert!(stopped.contains("\n  \"systemd-scope\": \"a-b.scope\",\n"), "{stopped}");
        assert!(stopped.contains("\"pid\": 0,\n  \"status\": \"stopped\""), "{stopped}");
        assert!(!stopped.contains("annotations"), "{stopped}");
    }

    #[test]
    fn state_for_hooks() {
        let check = |status, expected: &str| assert_eq!(record().hook_state(status), expected);
        check(
            Status::Creating,
            r#"{"ociVersion":"1.3.0","id":"web1","status":"creating","pid":42,"bundle":"/b"}"#,
        );
        check(Status::Stopped, r#"{"ociVersion":"1.3.0","id":"web1","status":"stopped","bundle":"/b"}"#);
    }

    #[test]
    fn state_for_the_seccomp_agent() {
        let mut listener = SeccompListener { path: "/agent".into(), metadata: Some("m".into()) };
        let check = |listener: &SeccompListener, metadata: &str| {
            let expected = format!(
                r#"{{"ociVersion":"1.3.0","fds":["seccompFd"],"pid":43,{metadata}"state":{{"ociVersion":"1.3.0","id":"web1","status":"running","pid":42,"bundle":"/b"}}}}"#
            );
            assert_eq!(record().process_state(Pid(43), listener, Status::Running), expected);
        };
        check(&listener, r#""metadata":"m","#);
        listener.metadata = None;
        check(&listener, "");
    }

    #[test]
    fn later_containers() {
        let made = |start_time, created: &str| Record { start_time, created: created.into(), ..record() };
        let check = |a: &Record, b: &Record| {
            assert!(b.is_later_than(a) && !a.is_later_than(b), "{} {}", a.created, b.created)
        };
        check(&made(1, "2026-11-23T08:22:46.5Z"), &made(2, "2026-11-23T08:22:46.4Z"));
        check(&made(1, "2026-11-23T08:22:46.5Z"), &made(1, "2026-11-23T08:22:46.51Z"));
        check(&made(1, "2026-11-23T08:22:46Z"), &made(1, "2026-11-23T08:22:46.01Z"));
        let early = Record { pid: None, ..made(0, "2026-11-23T08:22:40Z") };
        check(&made(1, "2026-11-23T08:22:46Z"), &early);
    }

    #[test]
    fn other_versions_of_the_record() {
        let older: Record = serde_json::from_str(r#"{"version":1,"id":"a","new":{"x":1}}"#).unwrap();
        assert_eq!(older, Record { version: 1, id: "a".into(), ..Record::default() });
        let record = record();
        let again: Record = serde_json::from_slice(&serde_json::to_vec(&record).unwrap()).unwrap();
        assert_eq!(again, record);
    }
}
