//! A whole distribution as root file system.

use std::path::{Path, PathBuf};

use serde_json::json;
use spec_tests::{obeys, skip};

/// Made by `spec-tests/debian-root`, which prints where it is. In here, without a network, it can only find it.
fn debian() -> PathBuf {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("debian-root");
    let made = std::process::Command::new(&script).output().expect("run debian-root");
    if !made.status.success() {
        skip!("run spec-tests/debian-root first: {}", String::from_utf8_lossy(&made.stderr));
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
