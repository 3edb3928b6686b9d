//! Bundles with a fault each, in a directory of their own.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use serde_json::{Value, json};

use super::*;
use crate::spec::default::default_config;

/// A bundle with a root that has a program, the default config, and these values at these places of it.
struct Bundled(PathBuf);

impl Bundled {
    fn new(name: &str, edits: &[(&str, Value)]) -> Bundled {
        let dir = std::env::temp_dir().join(format!("rrunc-check-{name}-{}", std::process::id()));
        fs::create_dir_all(dir.join("rootfs/bin")).unwrap();
        let program = dir.join("rootfs/bin/sh");
        fs::write(&program, "").unwrap();
        fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
        fs::write(dir.join("rootfs/bin/plain"), "").unwrap();
        let mut config: Value = serde_json::from_str(&default_config(None)).unwrap();
        for (path, value) in edits {
            let (parent, name) = path.rsplit_once('/').unwrap();
            config.pointer_mut(parent).unwrap()[name] = value.clone();
        }
        fs::write(dir.join("config.json"), config.to_string()).unwrap();
        Bundled(dir)
    }
}

impl Drop for Bundled {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0); // a leftover in /tmp is seen
    }
}

/// The faults, as `against path: text`.
fn faults(name: &str, edits: &[(&str, Value)]) -> Vec<String> {
    let bundle = Bundled::new(name, edits);
    let report = examine(CgroupManager::Cgroupfs, Some(&bundle.0), None).unwrap();
    let line = |f: &Finding| format!("{:?} {}: {}", f.against, f.path, f.text);
    report.faults.iter().map(line).collect()
}

#[track_caller]
fn check(name: &str, edits: &[(&str, Value)], expected: &[&str]) {
    let found = faults(name, edits);
    assert_eq!(found.len(), expected.len(), "{found:#?}");
    for (found, expected) in found.iter().zip(expected) {
        assert!(found.contains(expected), "{found} has no {expected:?}");
    }
}

#[test]
fn the_default_has_no_fault() {
    check("default", &[], &[]);
}

#[test]
fn faults_of_the_spec_and_of_the_host_come_together() {
    let bind = json!([{"destination": "/d", "type": "bind", "source": "/nowhere", "options": ["bind"]}]);
    let edits = [
        ("/process/cwd", json!("app")),
        ("/process/terminal", json!(7)),
        ("/root/path", json!("nowhere")),
        ("/mounts", bind),
    ];
    let expected = [
        "Spec process.terminal: is 7",
        "Spec process.cwd: \"app\" must be",
        "Host root.path: open ",
        "Host mounts[0].source: open /nowhere: openat2: no such file",
    ];
    check("both", &edits, &expected);
}

#[test]
fn the_host_is_asked_for_what_it_lacks() {
    check(
        "sysctl",
        &[("/linux/sysctl", json!({"net.ipv4.nothing": "1"}))],
        &["Host linux.sysctl[net.ipv4.nothing]: this kernel has no /proc/sys/net/ipv4/nothing"],
    );
    check(
        "hook",
        &[(
            "/hooks",
            json!({"poststop": [{"path": "/nowhere"}], "startContainer": [{"path": "/of-the-container"}]}),
        )],
        &["Host hooks.poststop[0].path: open /nowhere: statx: no such file"],
    );
    if crate::rdt::root().is_err() {
        check(
            "rdt",
            &[("/linux/intelRdt", json!({"l3CacheSchema": "L3:0=f"}))],
            &["Host linux.intelRdt: no resctrl is mounted here (mount -t resctrl"],
        );
    }
    let namespaces =
        json!([{"type": "mount"}, {"type": "pid"}, {"type": "network", "path": "/etc/hostname"}]);
    check(
        "namespace",
        &[("/linux/namespaces", namespaces), ("/hostname", json!(""))],
        &["Host linux.namespaces[2].path: /etc/hostname is not a namespace"],
    );
}

#[test]
fn the_program_is_looked_for_in_the_root() {
    let args = |name: &str| [("/process/args", json!([name]))];
    check("found", &args("/bin/sh"), &[]);
    check(
        "missing",
        &args("nope"),
        &["Host process.args[0]: exec: \"nope\": executable file not found in $PATH"],
    );
    check("mode", &args("/bin/plain"), &["Host process.args[0]: exec: \"/bin/plain\": permission denied"]);
    check("directory", &args("/bin"), &["Host process.args[0]: exec: \"/bin\": is a directory"]);
    // A mount may bring it.
    check("mounted", &args("/dev/shm/x"), &[]);
}

#[test]
fn what_is_no_json_is_told_alone() {
    let bundle = Bundled::new("json", &[]);
    fs::write(bundle.0.join("config.json"), "{\n  nonsense").unwrap();
    let report = examine(CgroupManager::Cgroupfs, Some(&bundle.0), None).unwrap();
    assert_eq!(report.faults.len(), 1, "{report}");
    assert!(report.to_string().contains("line 2, column"), "{report}");

    fs::remove_file(bundle.0.join("config.json")).unwrap();
    let error = examine(CgroupManager::Cgroupfs, Some(&bundle.0), None).unwrap_err();
    assert!(error.to_string().contains("config.json not found"), "{error}");
}

#[test]
fn as_text_and_as_json() {
    let bundle = Bundled::new("output", &[("/process/cwd", json!("app"))]);
    let mut text = vec![];
    assert_eq!(check_status(&bundle, Format::Text, &mut text), 1);
    assert!(String::from_utf8(text).unwrap().starts_with("process.cwd: \"app\" must be"));
    let mut text = vec![];
    assert_eq!(check_status(&bundle, Format::Json, &mut text), 1);
    let report: Value = serde_json::from_slice(&text).unwrap();
    assert_eq!(report["faults"][0]["path"], "process.cwd");
    assert_eq!(report["faults"][0]["against"], "spec");
    assert_eq!(report["warnings"], json!([]));
}

#[test]
fn a_finding_is_one_line() {
    let bundle = Bundled::new("line", &[("/linux/sysctl", json!({"a\u{1b}]0;\n.b": "1"}))]);
    let mut text = vec![];
    assert_eq!(check_status(&bundle, Format::Text, &mut text), 1);
    let text = String::from_utf8(text).unwrap();
    assert!(text.contains("linux.sysctl[a\\u001b]0;\\n.b]: "), "{text}");
    assert!(!text.contains('\u{1b}'), "{text}");
}

fn check_status(bundle: &Bundled, format: Format, out: &mut Vec<u8>) -> i32 {
    super::check(CgroupManager::Cgroupfs, Some(&bundle.0), format, out).unwrap()
}

/// The path of a cgroup means something else to each who makes cgroups.
#[test]
fn who_makes_the_cgroup_is_asked() {
    let bundle = Bundled::new("manager", &[("/linux/cgroupsPath", json!("no-scope"))]);
    let of = |manager| examine(manager, Some(&bundle.0), None).unwrap().faults;
    let is_about_the_path = |finding: &Finding| finding.path == "linux.cgroupsPath";
    assert!(of(CgroupManager::Systemd).iter().any(is_about_the_path));
    assert_eq!(of(CgroupManager::Cgroupfs), []);
    assert_eq!(of(CgroupManager::Disabled), []);
}

#[test]
fn fields_that_hold_each_other() {
    for (one, other, expected) in [
        ("a.b", "a.b", true),
        ("a.b", "a", true),
        ("a", "a[0].c", true),
        ("a.b", "a.bc", false),
        ("", "a", true),
    ] {
        assert_eq!(overlaps(one, other), expected, "{one} {other}");
    }
}
