//! Real inputs: configurations as engines write them, and a whole distribution as root file system.

use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use spec_tests::{Bundle, Lab, obeys, skip};

/// The configuration of an engine, with the bundle's root file system, sources for its bind mounts, and without
/// the hooks that are programs of that engine.
fn from_engine<'a>(lab: &'a Lab, name: &str) -> Bundle<'a> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata").join(name);
    let text = std::fs::read_to_string(path).expect("testdata");
    let mut bundle = lab.bundle();
    let (root, cgroup) = (
        bundle.config["root"]["path"].clone(),
        bundle.config["linux"]["cgroupsPath"].clone(),
    );
    bundle.config = serde_json::from_str(&text).expect("JSON");
    bundle.config["root"]["path"] = root;
    bundle.config["linux"]["cgroupsPath"] = cgroup;
    bundle.config.as_object_mut().expect("an object").remove("hooks");
    let dir = bundle.dir().to_path_buf();
    for mount in bundle.config["mounts"].as_array_mut().expect("mounts") {
        if mount["type"] == "bind" {
            let destination = mount["destination"].as_str().expect("a destination");
            let source = dir.join(destination.trim_matches('/').replace('/', "-"));
            match destination {
                "/dev/shm" => std::fs::create_dir(&source).expect("a directory"),
                _ => std::fs::write(&source, format!("{destination} of the engine\n")).expect("a file"),
            }
            mount["source"] = json!(source);
        }
    }
    bundle
}

fn runs_as_the_engine_meant(name: &str) {
    obeys("config.md", |lab| {
        let bundle = from_engine(lab, name);
        let wanted = bundle.config.clone();
        let reboot = "syscall reboot 0 0 0 0";
        let seen = bundle.ask([
            "caps",
            "status Seccomp",
            "read /etc/hostname",
            "mounts",
            "ids",
            "hostname",
            "fds",
            reboot,
        ]);
        assert_eq!(seen["status Seccomp"], "2");
        assert_eq!(seen["read /etc/hostname"], "/etc/hostname of the engine\n");
        assert_eq!(seen["hostname"], wanted["hostname"]);
        assert_eq!(
            seen[reboot], "EPERM",
            "the profile or the capabilities allow reboot(2)"
        );
        for mount in wanted["mounts"].as_array().expect("mounts") {
            let at = mount["destination"].as_str().expect("a destination");
            assert!(seen.mount(at).is_some(), "nothing is mounted on {at}");
        }
        let listed = |set: &str| {
            let names = wanted["process"]["capabilities"][set]
                .as_array()
                .expect("capabilities");
            names.iter().filter_map(Value::as_str).collect::<Vec<_>>()
        };
        assert!(
            seen.caps("CapEff")
                .iter()
                .all(|cap| listed("effective").contains(cap))
        );
        assert!(seen.caps("CapEff").contains("CAP_CHOWN"));
        assert_eq!(seen.caps("CapInh").len(), 0);
    });
}

#[test]
fn a_configuration_of_docker() {
    runs_as_the_engine_meant("docker.json");
}

#[test]
fn a_configuration_of_podman() {
    runs_as_the_engine_meant("podman.json");
}

/// Made by `spec-tests/debian-root`, which prints where it is.
fn debian() -> PathBuf {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("debian-root");
    let made = std::process::Command::new(&script)
        .output()
        .expect("run debian-root");
    if !made.status.success() {
        skip!(
            "debian-root failed (apt-get install mmdebstrap): {}",
            String::from_utf8_lossy(&made.stderr)
        );
    }
    PathBuf::from(String::from_utf8_lossy(&made.stdout).trim())
}

#[test]
fn a_whole_debian_runs_its_programs() {
    obeys("config.md#root", |lab| {
        let root = debian();
        let script = "set -e
            apt-get --version | head -n 1
            perl -e 'print \"perl \", 6 * 7, \"\\n\"'
            bash -c 'echo bash ${BASH_VERSINFO[0]}'
            ls /proc/self/ns | wc -l
            touch /tmp/file && echo tmp is writable
            touch /file 2>/dev/null || echo the root is read-only";
        let ran = lab
            .bundle()
            .set("/root", json!({ "path": root, "readonly": true }))
            .set("/process/env", json!(["PATH=/usr/sbin:/usr/bin:/sbin:/bin"]))
            .mount("/tmp", "tmpfs", "tmpfs", &["nosuid", "nodev"])
            .mount("/dev", "tmpfs", "tmpfs", &["nosuid", "mode=755"])
            .args(["sh", "-c", script])
            .run()
            .ok();
        let out = ran.stdout();
        let lines: Vec<_> = out.lines().collect();
        assert!(lines[0].starts_with("apt "), "{lines:?}");
        assert_eq!(lines[1], "perl 42");
        assert!(lines[2].starts_with("bash "), "{lines:?}");
        assert_eq!(lines[4..], ["tmp is writable", "the root is read-only"]);
    });
}
