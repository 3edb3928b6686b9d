//! Each rule has tests beside it: what it takes and what it refuses. Here is what they share, and the rules of
//! the top level.

use serde_json::{Value, json};

use crate::error::Fault;
use crate::spec::parse;

/// A container with every namespace, to which the rules have nothing to say.
pub fn base() -> Value {
    json!({
        "ociVersion": "1.3.0",
        "root": {"path": "rootfs"},
        "process": {"user": {"uid": 0, "gid": 0}, "args": ["sh"], "env": ["A=1"], "cwd": "/"},
        "mounts": [{"destination": "/proc", "type": "proc"}],
        "linux": {
            "namespaces": [
                {"type": "mount"}, {"type": "pid"}, {"type": "uts"}, {"type": "ipc"}, {"type": "network"},
                {"type": "user"}, {"type": "time"}, {"type": "cgroup"}
            ],
            "uidMappings": [{"containerID": 0, "hostID": 1000, "size": 2000}],
            "gidMappings": [{"containerID": 0, "hostID": 1000, "size": 2000}]
        }
    })
}

/// The base with `value` at `place` ("/process/cwd"); null takes away what is there.
fn with(changes: &[(&str, Value)]) -> Value {
    let mut document = base();
    for (place, value) in changes {
        let (parent, key) = place.rsplit_once('/').unwrap();
        let parent = document.pointer_mut(parent).unwrap();
        match parent {
            Value::Array(items) => items[key.parse::<usize>().unwrap()] = value.clone(),
            parent => parent[key] = value.clone(),
        }
    }
    document
}

pub fn read(changes: &[(&str, Value)]) -> (Vec<Fault>, Vec<String>) {
    match parse(with(changes).to_string().as_bytes()) {
        Ok(spec) => (vec![], spec.warnings),
        Err(error) => (error.faults, vec![]),
    }
}

pub fn good(place: &str, value: Value) {
    assert_eq!(read(&[(place, value.clone())]), (vec![], vec![]), "{place} = {value}");
}

/// Refused with one fault, at `path`, that says `text`.
pub fn bad(place: &str, value: Value, path: &str, text: &str) {
    bad_all(&[(place, value)], path, text);
}

pub fn bad_all(changes: &[(&str, Value)], path: &str, text: &str) {
    let (faults, _) = read(changes);
    let found: Vec<_> = faults.iter().map(|fault| fault.path.as_str()).collect();
    assert_eq!(found, [path], "{changes:?}: {faults:?}");
    assert!(faults[0].text.contains(text), "{}", faults[0]);
}

pub fn warned(changes: &[(&str, Value)], text: &str) {
    let (faults, warnings) = read(changes);
    assert_eq!(faults, [], "{changes:?}");
    assert!(matches!(&warnings[..], [warning] if warning.contains(text)), "{warnings:?}");
}

#[test]
fn the_base() {
    assert_eq!(read(&[]), (vec![], vec![]));
}

#[test]
fn version() {
    for version in ["1.0.0", "1.0.2-dev", "1.1.0-rc.3+dev", "1.3.0+build-7"] {
        good("/ociVersion", json!(version));
    }
    warned(&[("/ociVersion", json!("1.4.0"))], "newer than 1.3");
    for version in
        ["1.0", "1", "v1.0.0", "1.0.0.0", "01.0.0", "1.0.x", "1.0.0-", "1.0.0-a..b", "1.+1.0", " 1.0.0"]
    {
        bad("/ociVersion", json!(version), "ociVersion", "is not a version");
    }
    bad("/ociVersion", json!(null), "ociVersion", "is missing");
    bad("/ociVersion", json!("2.0.0"), "ociVersion", "is not supported");
    bad("/ociVersion", json!("0.6.0"), "ociVersion", "is not supported");
}

#[test]
fn root() {
    good("/root", json!({"path": "/a", "readonly": true}));
    bad("/root", json!(null), "root", "is missing");
    bad("/root", json!({}), "root.path", "is missing");
    bad("/root/path", json!("a\u{0}b"), "root.path", "NUL");
}

#[test]
fn host_names() {
    let no_uts = ("/linux/namespaces/2", json!({"type": "pid", "path": ""}));
    for name in ["hostname", "domainname"] {
        let place = format!("/{name}");
        good(&place, json!("x".repeat(64)));
        good(&place, json!(""));
        bad(&place, json!("x".repeat(65)), name, "has 65 bytes");
        bad(&place, json!("a\u{0}"), name, "NUL");
        let namespaces = json!([{"type": "mount"}]);
        let (faults, _) = read(&[(&place, json!("a")), ("/linux", json!({"namespaces": namespaces}))]);
        assert_eq!(faults.len(), 1);
        assert!(faults[0].to_string().starts_with(&format!("{name}: \"a\" needs a \"uts\" namespace")));
    }
    bad_all(&[no_uts], "linux.namespaces[2].type", "linux.namespaces[1]");
}

#[test]
fn annotations() {
    good("/annotations", json!({"a": ""}));
    bad("/annotations", json!({"": "a"}), "annotations", "empty key");
}
