//! What is remembered of a container: facts that can't change any more, and the JSON made of them.
//! Its status isn't among them (see [`Container::status`](super::Container::status)).

use std::collections::BTreeMap;
use std::fmt;
use std::time::SystemTime;

use oci_spec::runtime::Hook;
use serde::{Deserialize, Serialize};

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
    /// False if other processes of the container outlive its init.
    pub private_pid_namespace: bool,
    pub terminal: bool,
    /// Whether config.json has a `process`, without which there is nothing to start.
    pub has_process: bool,
    pub poststart: Vec<Hook>,
    pub poststop: Vec<Hook>,
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

impl Record {
    /// One container as `state` and `list -f json` show it. A stopped one has pid 0. `owner` is a user's
    /// name in `list`, and empty in `state` (as with runc).
    pub fn report<'a>(&'a self, status: Status, owner: &'a str) -> Report<'a> {
        Report {
            oci_version: &self.oci_version,
            id: &self.id,
            pid: self.pid.filter(|_| status != Status::Stopped).unwrap_or(Pid(0)),
            status: status.to_string(),
            bundle: &self.bundle,
            rootfs: &self.rootfs,
            created: &self.created,
            annotations: &self.annotations,
            owner,
        }
    }

    /// The output of `state`: indented by two spaces, without a newline at the end.
    pub fn state_json(&self, status: Status) -> String {
        serde_json::to_string_pretty(&self.report(status, "")).unwrap_or_default() // strings and maps of strings can't fail
    }

    /// The state for hooks, in one line. `paused` is no word of the spec, hence `running` there.
    pub fn hook_state(&self, status: Status) -> String {
        let told = if status == Status::Paused {
            Status::Running
        } else {
            status
        };
        let state = HookState {
            oci_version: &self.oci_version,
            id: &self.id,
            status: told.to_string(),
            pid: self.pid.filter(|_| status != Status::Stopped),
            bundle: &self.bundle,
            annotations: &self.annotations,
        };
        serde_json::to_string(&state).unwrap_or_default() // as above
    }
}

/// The current time in UTC as RFC 3339 has it, with as many decimals as needed (0 to 9).
pub fn now() -> String {
    let since = SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap_or_default(); // a clock before 1970 counts as 1970
    rfc3339(since.as_secs(), since.subsec_nanos())
}

fn rfc3339(seconds: u64, nanos: u32) -> String {
    let (days, second) = (seconds / 86_400, seconds % 86_400);
    let (year, month, day) = date(days);
    let (h, m, s) = (second / 3600, second / 60 % 60, second % 60);
    let mut text = format!("{year:04}-{month:02}-{day:02}T{h:02}:{m:02}:{s:02}");
    if nanos > 0 {
        text.push_str(format!(".{nanos:09}").trim_end_matches('0'));
    }
    text.push('Z');
    text
}

/// The Gregorian date `days` after 1970-01-01. Years are counted from March, so that the leap day is the
/// last of a year; 719,468 days lie between 0000-03-01 and 1970-01-01, 146,097 in 400 years.
fn date(days: u64) -> (u64, u64, u64) {
    let days = days + 719_468;
    let (era, day) = (days / 146_097, days % 146_097);
    let year = (day - day / 1_460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day + 2) / 153; // 0 is March; five months from there have 153 days
    let (day, month) = (
        day - (153 * month + 2) / 5 + 1,
        if month < 10 { month + 3 } else { month - 9 },
    );
    (era * 400 + year + u64::from(month <= 2), month, day)
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
        let stopped = record.state_json(Status::Stopped);
        assert!(
            stopped.contains("\"pid\": 0,\n  \"status\": \"stopped\""),
            "{stopped}"
        );
        assert!(!stopped.contains("annotations"), "{stopped}");
    }

    #[test]
    fn state_for_hooks() {
        let check = |status, expected: &str| assert_eq!(record().hook_state(status), expected);
        check(
            Status::Creating,
            r#"{"ociVersion":"1.3.0","id":"web1","status":"creating","pid":42,"bundle":"/b"}"#,
        );
        check(
            Status::Stopped,
            r#"{"ociVersion":"1.3.0","id":"web1","status":"stopped","bundle":"/b"}"#,
        );
    }

    #[test]
    fn other_versions_of_the_record() {
        let older: Record = serde_json::from_str(r#"{"version":1,"id":"a","new":{"x":1}}"#).unwrap();
        assert_eq!(
            older,
            Record {
                version: 1,
                id: "a".into(),
                ..Record::default()
            }
        );
        let record = record();
        let again: Record = serde_json::from_slice(&serde_json::to_vec(&record).unwrap()).unwrap();
        assert_eq!(again, record);
    }

    #[test]
    fn times() {
        let check = |seconds, nanos, expected| assert_eq!(rfc3339(seconds, nanos), expected);
        check(0, 0, "1970-01-01T00:00:00Z");
        check(951_782_399, 0, "2000-02-28T23:59:59Z");
        check(951_782_400, 1, "2000-02-29T00:00:00.000000001Z");
        check(951_868_800, 0, "2000-03-01T00:00:00Z");
        check(1_795_422_166, 464_911_730, "2026-11-23T08:22:46.46491173Z");
        check(4_107_542_400, 0, "2100-03-01T00:00:00Z");
        check(1_735_689_599, 500_000_000, "2024-12-31T23:59:59.5Z");
    }
}
