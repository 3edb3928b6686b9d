//! Whole configurations as engines write them (`testdata`), with nothing changed but what is of another machine: the root
//! file system, sources of binds, the cgroup's place, and the program of a hook.

use std::fs;

use serde_json::{Value, json};
use spec_tests::*;

const DOCKER: &str = include_str!("../testdata/docker.json");
const PODMAN: &str = include_str!("../testdata/podman.json");

/// The engine's config on a root file system of ours.
fn adapted<'a>(lab: &'a Lab, text: &str) -> Bundle<'a> {
    let mut b = lab.bundle();
    let mut config: Value = serde_json::from_str(text).expect("JSON");
    config["root"]["path"] = json!(b.rootfs());
    config["linux"]["cgroupsPath"] = json!(format!("/{}", lab.fresh("engine")));
    for mount in config["mounts"].as_array_mut().expect("mounts") {
        if mount["type"] == "bind" {
            let source = lab.dir().join(lab.fresh("source"));
            match mount["destination"].as_str() {
                Some("/dev/shm") => fs::create_dir(&source).unwrap(),
                _ => fs::write(&source, "of the engine").unwrap(),
            }
            mount["source"] = json!(source);
        }
    }
    if let Some(hook) = config.pointer_mut("/hooks/prestart/0") {
        let log = format!("to {}", lab.dir().join("hook").display());
        *hook = json!({ "path": b.path("/bin/inside"), "args": ["libnetwork-setkey", "stdin", log, "ns"] });
    }
    let path = config["process"]["env"].as_array().expect("env").iter().filter_map(Value::as_str);
    assert!(path.clone().any(|v| v.starts_with("PATH=") && v.ends_with("/bin")), "the helper is found");
    b.config = config;
    b
}

/// What both engines' defaults mean, seen from inside.
fn assert_confined(b: Bundle) -> Inside {
    let masked = ["read /proc/timer_list", "ls /proc/acpi"];
    let readonly = ["write /proc/sys/kernel/shmmni 1", "mkdir /sys/fs/cgroup/x"];
    let more = ["status Seccomp", "caps", "mounts", "read /etc/hostname", "pid", "open /dev/kmsg r"];
    let unmounted = "syscall umount2 /proc 0";
    let asks = masked.into_iter().chain(readonly).chain(more).chain([unmounted]);
    let seen = b.ask(asks);
    assert!(["", "ENOENT"].contains(&seen[masked[0]].as_str().unwrap()), "{}", seen[masked[0]]);
    assert!(seen[masked[1]] == json!([]) || seen[masked[1]] == "ENOENT", "{}", seen[masked[1]]);
    for ask in readonly {
        assert_eq!(seen[ask], "EROFS", "{ask}");
    }
    assert_eq!((&seen["status Seccomp"], &seen["pid"]), (&json!("2"), &json!(1)));
    assert_eq!(seen["read /etc/hostname"], "of the engine");
    assert_eq!(seen[unmounted], "EPERM");
    assert!(!seen.caps("CapEff").contains("CAP_SYS_ADMIN") && seen.caps("CapEff").contains("CAP_CHOWN"));
    assert!(seen.mount("/sys").unwrap().has("ro") && seen.mount("/dev/mqueue").is_some());
    seen
}

#[test]
fn a_config_of_docker_runs() {
    obeys("config.md", |lab| {
        let seen = assert_confined(adapted(lab, DOCKER));
        assert_eq!(seen["open /dev/kmsg r"], "ENOENT");
        let hook = Inside::parse(&fs::read_to_string(lab.dir().join("hook")).expect("the hook ran"));
        assert!(hook.has("ns"));
    });
}

#[test]
fn a_config_of_podman_runs() {
    obeys("config.md", |lab| {
        assert_confined(adapted(lab, PODMAN));
    });
}
