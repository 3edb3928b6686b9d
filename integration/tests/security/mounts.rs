//! A root file system that tries to have mounts, devices and masks land elsewhere.

use std::fs;
use std::os::unix::fs::symlink;

use integration::{Host, unharmed};
use spec_tests::{Bundle, FdSocket};

/// Replaces whatever is at `inside` by a symlink.
fn link<'a>(bundle: Bundle<'a>, inside: &str, target: &str) -> Bundle<'a> {
    let path = bundle.path(inside);
    let _ = fs::remove_dir_all(&path).or_else(|_| fs::remove_file(&path)); // there may be nothing
    fs::create_dir_all(path.parent().expect("a parent")).expect("a directory");
    symlink(target, path).expect("a symlink");
    bundle
}

/// CVE-2019-19921, CVE-2023-27561, CVE-2023-28642: programs and labels trust what is at /proc and /sys.
#[test]
fn proc_and_sys_need_ordinary_directories() {
    unharmed("CVE-2023-28642", |lab| {
        for (at, kind) in [("/proc", "proc"), ("/sys", "sysfs")] {
            let bundle = || match kind {
                "proc" => lab.bundle(),
                _ => lab.bundle().mount(at, kind, kind, &[]),
            };
            for target in ["tmp", "/tmp", "../tmp", "nowhere"] {
                let run = link(bundle(), at, target).run();
                run.fails_saying(&[
                    "must be mounted on an ordinary directory",
                    "must be mounted on ordinary directory",
                    "not a directory",
                ]);
            }
            let bundle = bundle();
            fs::remove_dir(bundle.path(at)).expect("remove");
            bundle.file(at, "").run().fails_saying(&["directory"]);
        }
    });
}

/// CVE-2026-41579 (runc), CVE-2026-47766 (crun): devices and links made through the image's /dev.
#[test]
fn a_dev_that_is_a_symlink_stays_in_the_root() {
    unharmed("CVE-2026-41579", |lab| {
        let host = Host::new(lab.dir(), &["ptmx", "null", "full", "pts/", "shm/"]);
        let up = format!("{}{}", "../".repeat(12), &host.path("")[1..]);
        for target in [host.path(""), up] {
            let c = link(lab.bundle(), "/dev", &target).container();
            c.run(&[]); // it may fail, or make the directory in its root
            host.assert_untouched();
            c.delete(&["--force"]);
        }
    });
}

/// CVE-2025-31133, CVE-2025-52565, CVE-2026-88264, CVE-2026-88265: device files that are symlinks to the host's.
#[test]
fn devices_that_are_symlinks_reach_no_host_file() {
    unharmed("CVE-2025-52565", |lab| {
        let host = Host::new(lab.dir(), &["victim", "dir/inside"]);
        let socket = FdSocket::listen(lab.dir().join("console"));
        for name in [
            "null", "zero", "tty", "console", "ptmx", "pts", "fd", "stdin", "core",
        ] {
            for target in ["victim", "dir", "absent"].map(|name| host.path(name)) {
                let hostile = || link(lab.bundle(), &format!("/dev/{name}"), &target);
                hostile().args(["sh", "-c", "echo x > /dev/null"]).run();
                host.assert_untouched();
                let c = hostile()
                    .mount("/dev/pts", "devpts", "devpts", &["newinstance", "ptmxmode=0666"])
                    .set("/process/terminal", true)
                    .container();
                c.run(&["--detach", "--console-socket", socket.path()]);
                host.assert_untouched();
            }
        }
    });
}
