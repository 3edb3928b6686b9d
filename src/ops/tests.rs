//! The commands that only look or clean up, on containers whose "init" is a plain process.

use std::fs;
use std::path::Path;

use super::delete::delete;
use super::kill::kill;
use super::state::state;
use crate::error::Kind;
use crate::state::tests::{Cat, Root, fails, id};
use crate::state::{Record, Status};
use crate::sys::Signal;

/// A container `a` with this record.
fn committed(root: &Root, record: &Record) {
    root.store().reserve(&id("a")).unwrap().commit(record).unwrap();
}

fn status(root: &Path) -> String {
    let mut out = vec![];
    state(root, "a", &mut out).unwrap();
    let json: serde_json::Value = serde_json::from_slice(&out).unwrap();
    format!("{} {}", json["status"].as_str().unwrap(), json["pid"])
}

#[test]
fn running_then_killed_then_deleted() {
    let (root, cat) = (Root::new(), Cat::new());
    let record = Record { private_pid_namespace: true, ..cat.record() };
    committed(&root, &record);
    assert_eq!(status(&root.0), format!("running {}", record.pid.unwrap()));
    fails(
        delete(&root.0, "a", false),
        Kind::WrongStatus,
        "cannot delete container a that is not stopped: running",
    );
    kill(&root.0, "a", Signal(0), false).unwrap();
    kill(&root.0, "a", Signal::TERM, false).unwrap();
    let mut container = root.store().load(&id("a")).unwrap();
    while container.status().unwrap() != Status::Stopped {
        std::thread::yield_now();
    }
    assert_eq!(status(&root.0), "stopped 0");
    fails(kill(&root.0, "a", Signal::TERM, false), Kind::WrongStatus, "container not running");
    kill(&root.0, "a", Signal::KILL, true).unwrap();
    delete(&root.0, "a", false).unwrap();
    fails(delete(&root.0, "a", false), Kind::NotFound, "container does not exist: a");
    delete(&root.0, "a", true).unwrap();
    assert_eq!(fs::read_dir(&root.0).unwrap().count(), 0);
}

#[test]
fn force_kills_and_poststop_runs_last() {
    let (root, cat) = (Root::new(), Cat::new());
    let seen = root.0.join("seen");
    let hook = |script: String| serde_json::json!({"path": "/bin/sh", "args": ["sh", "-c", script]});
    let hooks = serde_json::json!([hook("exit 1".into()), hook(format!("cat > {}", seen.display()))]);
    let record =
        Record { poststop: serde_json::from_value(hooks).unwrap(), bundle: "/".into(), ..cat.record() };
    committed(&root, &record);
    delete(&root.0, "a", true).unwrap();
    assert!(record.init().unwrap().is_none());
    assert!(fs::read_to_string(&seen).unwrap().contains(r#""status":"stopped","bundle""#));
    fails(root.store().load(&id("a")).map(drop), Kind::NotFound, "a");
}

#[test]
fn another_process_with_the_pid_is_left_alone() {
    let (root, cat) = (Root::new(), Cat::new());
    let record = cat.record();
    committed(&root, &Record { start_time: record.start_time + 1, ..record.clone() });
    assert_eq!(status(&root.0), "stopped 0");
    fails(kill(&root.0, "a", Signal::KILL, false), Kind::WrongStatus, "container not running");
    delete(&root.0, "a", true).unwrap();
    assert!(record.init().unwrap().is_some());
}

#[test]
fn what_a_crash_leaves() {
    let root = Root::new();
    let check = |json: Option<&str>, text: &str| {
        fs::create_dir_all(root.0.join("a")).unwrap();
        json.into_iter().for_each(|json| fs::write(root.0.join("a/state.json"), json).unwrap());
        let error = kill(&root.0, "a", Signal::KILL, false).unwrap_err().to_string();
        assert!(error.contains(text), "{error}");
        delete(&root.0, "a", true).unwrap();
        assert!(!root.0.join("a").exists());
    };
    check(None, "container does not exist: a");
    check(Some("{"), "EOF");
    check(Some(r#"{"version":1,"id":"a"}"#), "container not running");
    fails(delete(&root.0, "a/b", true), Kind::Usage, "invalid container ID format");
    fails(kill(&root.0, "b", Signal::TERM, true), Kind::NotFound, "container does not exist: b");
}
