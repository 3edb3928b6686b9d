//! Each rule with what it takes and what it refuses.

use serde_json::{Value, json};

use crate::error::Fault;
use crate::spec::parse;

/// A container with every namespace, to which the rules have nothing to say.
fn base() -> Value {
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

fn read(changes: &[(&str, Value)]) -> (Vec<Fault>, Vec<String>) {
    match parse(with(changes).to_string().as_bytes()) {
        Ok(spec) => (vec![], spec.warnings),
        Err(error) => (error.faults, vec![]),
    }
}

fn good(place: &str, value: Value) {
    assert_eq!(
        read(&[(place, value.clone())]),
        (vec![], vec![]),
        "{place} = {value}"
    );
}

/// Refused with one fault, at `path`, that says `text`.
fn bad(place: &str, value: Value, path: &str, text: &str) {
    bad_all(&[(place, value)], path, text);
}

fn bad_all(changes: &[(&str, Value)], path: &str, text: &str) {
    let (faults, _) = read(changes);
    let found: Vec<_> = faults.iter().map(|fault| fault.path.as_str()).collect();
    assert_eq!(found, [path], "{changes:?}: {faults:?}");
    assert!(faults[0].text.contains(text), "{}", faults[0]);
}

fn warned(changes: &[(&str, Value)], text: &str) {
    let (faults, warnings) = read(changes);
    assert_eq!(faults, [], "{changes:?}");
    assert!(
        matches!(&warnings[..], [warning] if warning.contains(text)),
        "{warnings:?}"
    );
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
    for version in [
        "1.0",
        "1",
        "v1.0.0",
        "1.0.0.0",
        "01.0.0",
        "1.0.x",
        "1.0.0-",
        "1.0.0-a..b",
        "1.+1.0",
        " 1.0.0",
    ] {
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
fn program() {
    good("/process", json!(null)); // create is allowed, start fails
    bad(
        "/process/args",
        json!(null),
        "process.args",
        "args must not be empty",
    );
    bad(
        "/process/args",
        json!([]),
        "process.args",
        "args must not be empty",
    );
    bad(
        "/process/args",
        json!(["", "a"]),
        "process.args[0]",
        "executable path is empty",
    );
    good("/process/args", json!(["sh", ""]));
    bad("/process/args", json!(["sh", "a\u{0}"]), "process.args[1]", "NUL");
}

#[test]
fn directory() {
    bad(
        "/process/cwd",
        json!("tmp"),
        "process.cwd",
        "\"tmp\" must be an absolute path",
    );
    bad("/process/cwd", json!(""), "process.cwd", "absolute");
    bad("/process/cwd", json!("/a\u{0}"), "process.cwd", "NUL");
}

#[test]
fn environment() {
    good("/process/env", json!(["A=", "B=x=y", "lower.case-1= "]));
    bad(
        "/process/env",
        json!(["A=1", "secret"]),
        "process.env[1]",
        "has no \"=\"",
    );
    bad("/process/env", json!(["=1"]), "process.env[0]", "has no name");
    bad("/process/env", json!(["A=\u{0}"]), "process.env[0]", "NUL");
    let (faults, _) = read(&[("/process/env", json!(["secret"]))]);
    assert!(!faults[0].text.contains("secret"), "values are not shown");
}

#[test]
fn user() {
    good(
        "/process/user",
        json!({"uid": 1000, "gid": 1999, "umask": 0o777, "additionalGids": [1, 2]}),
    );
    let no_id = json!(4_294_967_295_u32);
    bad("/process/user/uid", no_id.clone(), "process.user.uid", "no id");
    bad("/process/user/gid", no_id.clone(), "process.user.gid", "no id");
    bad(
        "/process/user/additionalGids",
        json!([1, no_id]),
        "process.user.additionalGids[1]",
        "no id",
    );
    bad(
        "/process/user/umask",
        json!(0o1000),
        "process.user.umask",
        "more than 511",
    );
    bad(
        "/process/user/uid",
        json!(2000),
        "process.user.uid",
        "is not mapped by linux.uidMappings",
    );
    bad(
        "/process/user/additionalGids",
        json!([9999]),
        "process.user.additionalGids[0]",
        "is not mapped",
    );
    let joined = json!({"type": "user", "path": "/proc/1/ns/user"});
    assert_eq!(
        read(&[
            ("/process/user/uid", json!(2000)),
            ("/linux/namespaces/5", joined)
        ]),
        (vec![], vec![])
    );
}

#[test]
fn capabilities() {
    good(
        "/process/capabilities",
        json!({"effective": ["CAP_KILL"], "permitted": ["CAP_KILL"]}),
    );
    bad(
        "/process/capabilities",
        json!({"effective": ["CAP_SYS_ADMIN", "CAP_KILL", "CAP_CHOWN"], "permitted": ["CAP_KILL"]}),
        "process.capabilities.effective",
        "CAP_CHOWN, CAP_SYS_ADMIN must also be in permitted",
    );
    let ambient = |inheritable: &[&str]| json!({"ambient": ["CAP_KILL"], "permitted": ["CAP_KILL"], "inheritable": inheritable});
    good("/process/capabilities", ambient(&["CAP_KILL"]));
    warned(
        &[("/process/capabilities", ambient(&[]))],
        "CAP_KILL can't be raised without being in inheritable",
    );
}

#[test]
fn rlimits() {
    let limit = |kind: &str, soft: u64, hard: u64| json!({"type": kind, "soft": soft, "hard": hard});
    good(
        "/process/rlimits",
        json!([limit("RLIMIT_CPU", 1, 1), limit("RLIMIT_AS", 0, u64::MAX)]),
    );
    bad(
        "/process/rlimits",
        json!([limit("RLIMIT_CPU", 1, 1), limit("RLIMIT_CPU", 1, 1)]),
        "process.rlimits[1].type",
        "\"RLIMIT_CPU\" is there twice",
    );
    bad(
        "/process/rlimits",
        json!([limit("RLIMIT_CPU", 2, 1)]),
        "process.rlimits[0].soft",
        "2 is more than hard, 1",
    );
    bad(
        "/process/rlimits",
        json!([limit("CPU", 1, 1)]),
        "process.rlimits[0].type",
        "expected one of",
    );
}

#[test]
fn scores_labels_console() {
    good("/process/oomScoreAdj", json!(-1000));
    bad(
        "/process/oomScoreAdj",
        json!(1001),
        "process.oomScoreAdj",
        "from -1000 to 1000",
    );
    good("/process/apparmorProfile", json!(""));
    bad(
        "/process/apparmorProfile",
        json!("a\nb"),
        "process.apparmorProfile",
        "line break",
    );
    bad(
        "/process/selinuxLabel",
        json!("a\u{0}b"),
        "process.selinuxLabel",
        "NUL",
    );
    let size = json!({"height": 65536, "width": 80});
    good("/process/consoleSize", size.clone());
    bad_all(
        &[("/process/consoleSize", size), ("/process/terminal", json!(true))],
        "process.consoleSize.height",
        "more than 65535",
    );
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
        let (faults, _) = read(&[
            (&place, json!("a")),
            ("/linux", json!({"namespaces": namespaces})),
        ]);
        assert_eq!(faults.len(), 1);
        assert!(
            faults[0]
                .to_string()
                .starts_with(&format!("{name}: \"a\" needs a \"uts\" namespace"))
        );
    }
    bad_all(&[no_uts], "linux.namespaces[2].type", "linux.namespaces[1]");
}

#[test]
fn hooks() {
    let one = |hook: Value| json!({"poststop": [{"path": "/a"}, hook]});
    good(
        "/hooks",
        one(json!({"path": "/b", "timeout": 1, "args": [], "env": []})),
    );
    bad(
        "/hooks",
        one(json!({"path": "b"})),
        "hooks.poststop[1].path",
        "\"b\" is not absolute",
    );
    bad(
        "/hooks",
        one(json!({"path": ""})),
        "hooks.poststop[1].path",
        "not absolute",
    );
    bad("/hooks", one(json!({})), "hooks.poststop[1].path", "is missing");
    bad(
        "/hooks",
        one(json!({"path": "/b", "timeout": 0})),
        "hooks.poststop[1].timeout",
        "greater than zero",
    );
    bad(
        "/hooks",
        one(json!({"path": "/b", "args": ["\u{0}"]})),
        "hooks.poststop[1].args[0]",
        "NUL",
    );
    bad(
        "/hooks",
        one(json!({"path": "/b", "env": ["\u{0}"]})),
        "hooks.poststop[1].env[0]",
        "NUL",
    );
}

#[test]
fn mounts() {
    let place = "/mounts";
    let one = |mount: Value| json!([{"destination": "/a", "type": "tmpfs"}, mount]);
    let options = |kind: &str, options: &[&str]| {
        one(json!({"destination": "/b", "type": kind, "source": "/s", "options": options}))
    };
    good(
        place,
        options("tmpfs", &["ro", "mode=755", "tmpcopyup", "rslave"]),
    );
    good(place, options("none", &["rbind", "rro", "private"]));
    good(
        place,
        one(json!({"destination": "/b", "options": ["remount", "ro"]})),
    );
    bad(
        place,
        one(json!({"destination": "", "type": "proc"})),
        "mounts[1].destination",
        "is empty",
    );
    bad(
        place,
        one(json!({"destination": "/\u{0}", "type": "proc"})),
        "mounts[1].destination",
        "NUL",
    );
    warned(
        &[(place, one(json!({"destination": "b", "type": "proc"})))],
        "is not absolute",
    );
    bad(
        place,
        one(json!({"destination": "/b"})),
        "mounts[1].type",
        "is missing",
    );
    bad(
        place,
        one(json!({"destination": "/b", "type": "\u{0}"})),
        "mounts[1].type",
        "NUL",
    );
    bad(
        place,
        one(json!({"destination": "/b", "options": ["bind"]})),
        "mounts[1].source",
        "is missing",
    );
    bad(
        place,
        one(json!({"destination": "/b", "type": "bind"})),
        "mounts[1].source",
        "is missing",
    );
    bad(
        place,
        one(json!({"destination": "/b", "type": "bind", "source": "\u{0}"})),
        "mounts[1].source",
        "NUL",
    );
    bad(
        place,
        options("tmpfs", &["ro", ""]),
        "mounts[1].options[1]",
        "is empty",
    );
    bad(
        place,
        options("tmpfs", &["a=\u{0}"]),
        "mounts[1].options[0]",
        "NUL",
    );
    bad(
        place,
        options("tmpfs", &["nosuid,mode=1"]),
        "mounts[1].options[0]",
        "one string per option",
    );
    good(place, options("overlay", &["lowerdir=/a:/b,c"]));
    bad(
        place,
        options("none", &["bind", "src-nofollow"]),
        "mounts[1].options[1]",
        "not an option of the spec",
    );
    bad(
        place,
        options("tmpfs", &[&"x".repeat(4096)]),
        "mounts[1].options",
        "the kernel takes 4095",
    );
    warned(
        &[(place, options("none", &["bind", "nosiud"]))],
        "mounts[1].options[1]: \"nosiud\" is not an option",
    );
    warned(&[(place, options("proc", &["tmpcopyup"]))], "tmpfs only");
    bad(
        place,
        options("none", &["bind", "ridmap"]),
        "mounts[1].options[1]",
        "not supported yet",
    );
    let mapping = json!([{"containerID": 0, "hostID": 0, "size": 1}]);
    let mapped = json!({"destination": "/b", "source": "/s", "options": ["bind"],
        "uidMappings": mapping, "gidMappings": mapping});
    bad(place, one(mapped), "mounts[1].uidMappings", "not supported yet");
    let half =
        json!({"destination": "/b", "source": "/s", "options": ["idmap", "bind"], "uidMappings": mapping});
    let (faults, _) = read(&[(place, one(half))]);
    let found: Vec<_> = faults.iter().map(|fault| fault.path.as_str()).collect();
    assert_eq!(found, ["mounts[1].gidMappings", "mounts[1].options[0]"]);
}

#[test]
fn annotations() {
    good("/annotations", json!({"a": ""}));
    bad("/annotations", json!({"": "a"}), "annotations", "empty key");
}

#[test]
fn namespaces() {
    good(
        "/linux/namespaces/1",
        json!({"type": "pid", "path": "/proc/1/ns/pid"}),
    );
    bad(
        "/linux/namespaces/1",
        json!({"type": "pid", "path": "proc/1"}),
        "linux.namespaces[1].path",
        "is not absolute",
    );
    bad(
        "/linux/namespaces/1",
        json!({"type": "pid", "path": "/\u{0}"}),
        "linux.namespaces[1].path",
        "NUL",
    );
    bad(
        "/linux/namespaces/1",
        json!({"type": "mount"}),
        "linux.namespaces[1].type",
        "linux.namespaces[0]",
    );
    bad(
        "/linux/namespaces/1",
        json!({"type": ""}),
        "linux.namespaces[1].type",
        "is missing",
    );
}

#[test]
fn id_mappings() {
    let map = |c: u32, h: u32, size: u32| json!({"containerID": c, "hostID": h, "size": size});
    let place = "/linux/uidMappings";
    good(
        place,
        json!([map(0, 1000, 10), map(10, 0, 1000), map(1010, u32::MAX - 5, 5)]),
    );
    bad(place, json!([]), "linux.uidMappings", "is missing");
    bad(place, json!(null), "linux.uidMappings", "is missing");
    bad(
        place,
        json!([map(0, 5, 9), map(9, 20, 0)]),
        "linux.uidMappings[1].size",
        "is 0",
    );
    bad(
        place,
        json!([map(0, 5, 9), map(8, 20, 1)]),
        "linux.uidMappings[1].containerID",
        "overlaps",
    );
    bad(
        place,
        json!([map(0, 5, 9), map(9, 4, 2)]),
        "linux.uidMappings[1].hostID",
        "overlaps",
    );
    bad(
        place,
        json!([map(0, u32::MAX - 5, 6)]),
        "linux.uidMappings[0].size",
        "beyond the last id",
    );
    let many: Vec<_> = (0..341).map(|n| map(n, n, 1)).collect();
    bad(place, json!(many), "linux.uidMappings", "341 entries");
    let shifted = &[(place, json!([map(1, 1, 9)])), ("/process/user/uid", json!(1))];
    bad_all(shifted, "linux.uidMappings", "no entry has containerID 0");
    let joined = (
        "/linux/namespaces/5",
        json!({"type": "user", "path": "/proc/1/ns/user"}),
    );
    let none = [joined, (place, json!(null)), ("/linux/gidMappings", json!(null))];
    assert_eq!(read(&none), (vec![], vec![]));
    let (faults, _) = read(&[("/linux/namespaces", json!([{"type": "mount"}]))]);
    assert_eq!(faults.len(), 2, "{faults:?}");
    assert!(
        faults[0]
            .to_string()
            .contains("linux.uidMappings: needs a \"user\" namespace")
    );
}

#[test]
fn time_offsets() {
    let place = "/linux/timeOffsets";
    good(
        place,
        json!({"monotonic": {"secs": -1}, "boottime": {"nanosecs": 999_999_999}}),
    );
    bad(
        place,
        json!({"realtime": {"secs": 1}}),
        "linux.timeOffsets[realtime]",
        "is not a clock",
    );
    bad(
        place,
        json!({"monotonic": {"nanosecs": 1_000_000_000}}),
        "linux.timeOffsets[monotonic].nanosecs",
        "is not less than a second",
    );
    let offsets = (place, json!({"monotonic": {"secs": 1}}));
    let joined = (
        "/linux/namespaces/6",
        json!({"type": "time", "path": "/proc/1/ns/time"}),
    );
    bad_all(
        &[offsets.clone(), joined],
        "linux.timeOffsets",
        "needs a new time namespace",
    );
    let mut linux = base()["linux"].clone();
    linux["namespaces"].as_array_mut().unwrap().remove(6);
    bad_all(
        &[("/linux", linux), offsets],
        "linux.timeOffsets",
        "needs a \"time\" namespace",
    );
}

#[test]
fn devices() {
    let place = "/linux/devices";
    let one = |device: Value| json!([{"path": "/dev/a", "type": "p"}, device]);
    good(
        place,
        one(json!({"path": "/dev/b", "type": "c", "major": 4095, "minor": 1_048_575, "fileMode": 0o20666})),
    );
    good(place, one(json!({"path": "/b", "type": "p", "uid": 0, "gid": 1})));
    let numbers =
        |major: i64, minor: i64| one(json!({"path": "/b", "type": "b", "major": major, "minor": minor}));
    bad(place, numbers(0, 0), "linux.devices[1].major", "are missing");
    bad(
        place,
        numbers(4096, 0),
        "linux.devices[1].major",
        "from 0 to 4095",
    );
    bad(
        place,
        numbers(1, -1),
        "linux.devices[1].minor",
        "from 0 to 1048575",
    );
    bad(
        place,
        one(json!({"path": "/b", "type": "a"})),
        "linux.devices[1].type",
        "is not a device",
    );
    bad(
        place,
        one(json!({"path": "/b", "type": "x"})),
        "linux.devices[1].type",
        "expected one of",
    );
    bad(
        place,
        one(json!({"path": "b", "type": "p"})),
        "linux.devices[1].path",
        "absolute",
    );
    bad(
        place,
        one(json!({"path": "/b/", "type": "p"})),
        "linux.devices[1].path",
        "absolute",
    );
    bad(
        place,
        one(json!({"path": "/\u{0}", "type": "p"})),
        "linux.devices[1].path",
        "NUL",
    );
    bad(
        place,
        one(json!({"path": "/dev/a", "type": "p"})),
        "linux.devices[1].path",
        "linux.devices[0]",
    );
    bad(
        place,
        one(json!({"path": "/b", "type": "p", "fileMode": 0o200_000})),
        "linux.devices[1].fileMode",
        "mode",
    );
    bad(
        place,
        one(json!({"path": "/b", "type": "p", "uid": u32::MAX})),
        "linux.devices[1].uid",
        "no id",
    );
}

#[test]
fn restricted_paths() {
    for field in ["maskedPaths", "readonlyPaths"] {
        let (place, path) = (format!("/linux/{field}"), format!("linux.{field}"));
        good(&place, json!(["/proc/a", "/b"]));
        bad(
            &place,
            json!(["/a", "proc/a"]),
            &format!("{path}[1]"),
            "not absolute",
        );
        bad(&place, json!(["/a\u{0}"]), &format!("{path}[0]"), "NUL");
        let host = json!({"namespaces": [{"type": "pid"}], field: ["/a"]});
        bad("/linux", host, &path, "needs a \"mount\" namespace");
    }
}

#[test]
fn single_fields_of_linux() {
    for value in ["", "shared", "rslave", "private", "runbindable"] {
        good("/linux/rootfsPropagation", json!(value));
    }
    bad(
        "/linux/rootfsPropagation",
        json!("rrslave"),
        "linux.rootfsPropagation",
        "expected",
    );
    good("/linux/mountLabel", json!("a:b:c:s0"));
    bad("/linux/mountLabel", json!("a\",b"), "linux.mountLabel", "quote");
    good("/linux/personality", json!({"domain": "LINUX32", "flags": []}));
    bad(
        "/linux/personality",
        json!({"domain": "LINUX", "flags": ["a"]}),
        "linux.personality.flags",
        "no flags",
    );
    bad(
        "/linux/personality",
        json!({}),
        "linux.personality.domain",
        "is missing",
    );
    good("/linux/cgroupsPath", json!("a/..b/system.slice:x:y"));
    bad(
        "/linux/cgroupsPath",
        json!("/a/../b"),
        "linux.cgroupsPath",
        "\"..\"",
    );
    bad("/linux/cgroupsPath", json!("a\u{0}"), "linux.cgroupsPath", "NUL");
}

#[test]
fn sysctls() {
    let set = |key: &str, value: &str| json!({key: value});
    let place = "/linux/sysctl";
    for key in [
        "kernel.shmmax",
        "kernel/sem",
        "fs.mqueue.msg_max",
        "net.ipv4.ip_forward",
        "net/ipv4/conf/eth0.100/rp_filter",
        "user.max_user_namespaces",
        "kernel.hostname",
        "kernel.domainname",
    ] {
        good(place, set(key, "1 2"));
    }
    let path = |key: &str| format!("linux.sysctl[{key}]");
    for key in [
        "kernel.core_pattern",
        "kernel/sysrq",
        "vm.swappiness",
        "kernel.shm",
        "net",
        "fs/file-max",
    ] {
        bad(
            place,
            set(key, "1"),
            &path(key),
            "is not in a namespace of its own",
        );
    }
    for key in [
        "net..a",
        "net.",
        "net.ipv4.//.x",
        "net/../kernel/core_pattern",
        "net/./x",
        "",
        "net.a\u{0}",
    ] {
        bad(place, set(key, "1"), &path(key), "is not the name of a sysctl");
    }
    for value in ["1\n2", "1\u{0}"] {
        bad(
            place,
            set("kernel.sem", value),
            &path("kernel.sem"),
            "its value holds",
        );
    }
    bad(
        place,
        json!({"kernel.sem": "1", "kernel/sem": "2"}),
        &path("kernel/sem"),
        "is the same as",
    );
    let hostname = ("/hostname", json!("a"));
    bad_all(
        &[hostname, (place, set("kernel.hostname", "b"))],
        &path("kernel.hostname"),
        "contradicts",
    );
    for (key, namespace) in [
        ("kernel.msgmax", "ipc"),
        ("net.core.somaxconn", "network"),
        ("kernel.domainname", "uts"),
        ("user.max_net_namespaces", "user"),
    ] {
        let host = json!({"namespaces": [{"type": "mount"}], "sysctl": {key: "1"}});
        bad(
            "/linux",
            host,
            &path(key),
            &format!("needs a {namespace:?} namespace"),
        );
    }
}

#[test]
fn resources() {
    let place = "/linux/resources";
    let rule = |rule: Value| json!({"devices": [{"allow": false, "access": "rwm"}, rule]});
    good(
        place,
        rule(json!({"allow": true, "type": "c", "major": -1, "minor": 5, "access": "rw"})),
    );
    good(place, rule(json!({"allow": true, "type": ""})));
    bad(
        place,
        rule(json!({"access": "rx"})),
        "linux.resources.devices[1].access",
        "expected letters",
    );
    bad(
        place,
        rule(json!({"type": "p"})),
        "linux.resources.devices[1].type",
        "expected",
    );
    bad(
        place,
        rule(json!({"major": -2})),
        "linux.resources.devices[1].major",
        "is not from 0",
    );
    good(place, json!({"cpu": {"cpus": "0-3,7", "mems": ""}}));
    bad(
        place,
        json!({"cpu": {"cpus": "0;1"}}),
        "linux.resources.cpu.cpus",
        "expected numbers",
    );
    let pages = |size: &str| json!({"hugepageLimits": [{"pageSize": size, "limit": 1}]});
    good(place, pages("64KB"));
    for size in ["2M", "MB", "0MB", "-1GB", "2mb", ""] {
        bad(
            place,
            pages(size),
            "linux.resources.hugepageLimits[0].pageSize",
            "expected a number and its unit",
        );
    }
    good(place, json!({"unified": {"memory.high": "1\n2"}}));
    for key in ["../cgroup.procs", "", ".."] {
        bad(
            place,
            json!({"unified": {key: "1"}}),
            &format!("linux.resources.unified[{key}]"),
            "not the name",
        );
    }
    bad(
        place,
        json!({"unified": {"a": "\u{0}"}}),
        "linux.resources.unified[a]",
        "NUL",
    );
}

#[test]
fn not_supported_yet() {
    let yet = "not supported yet";
    bad(
        "/process/scheduler",
        json!({"policy": "SCHED_IDLE"}),
        "process.scheduler",
        yet,
    );
    bad(
        "/process/ioPriority",
        json!({"class": "IOPRIO_CLASS_BE"}),
        "process.ioPriority",
        yet,
    );
    good("/process/execCPUAffinity", json!({"initial": "0", "final": "1"})); // for exec
    bad("/linux/netDevices", json!({"eth0": {}}), "linux.netDevices", yet);
    good("/linux/netDevices", json!({}));
    bad(
        "/linux/memoryPolicy",
        json!({"mode": "MPOL_LOCAL"}),
        "linux.memoryPolicy",
        yet,
    );
    bad("/linux/intelRdt", json!({}), "linux.intelRdt", yet);
    let seccomp = |default: &str, action: &str, path: &str| json!({"defaultAction": default, "listenerPath": path, "syscalls": [{"names": ["a"], "action": action}]});
    let (allow, notify) = ("SCMP_ACT_ALLOW", "SCMP_ACT_NOTIFY");
    good("/linux/seccomp", seccomp(allow, allow, ""));
    bad(
        "/linux/seccomp",
        seccomp(notify, allow, ""),
        "linux.seccomp.defaultAction",
        yet,
    );
    bad(
        "/linux/seccomp",
        seccomp(allow, notify, ""),
        "linux.seccomp.syscalls[0].action",
        yet,
    );
    bad(
        "/linux/seccomp",
        seccomp(allow, allow, "/a"),
        "linux.seccomp.listenerPath",
        yet,
    );
}
