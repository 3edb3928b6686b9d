//! A root file system that tries to have mounts, devices and masks land elsewhere.

use std::fs;
use std::os::unix::fs::symlink;
use std::process::Command;

use integration::{Host, unharmed};
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use serde_json::json;
use spec_tests::{Bundle, FdSocket, Inside};

/// Replaces whatever is at `inside` by a symlink.
fn link<'a>(bundle: Bundle<'a>, inside: &str, target: &str) -> Bundle<'a> {
    let path = bundle.path(inside);
    let _ = fs::remove_dir_all(&path).or_else(|_| fs::remove_file(&path)); // there may be nothing
    fs::create_dir_all(path.parent().expect("a parent")).expect("a directory");
    symlink(target, path).expect("a symlink");
    bundle
}

/// CVE-2019-19921, CVE-2023-27561, CVE-2023-28642, CVE-2025-54867: programs and labels trust what is at /proc and /sys.
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
/// crun 1.8.1 and runc 1.1.5 make them on the host.
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
/// crun 1.8.1 makes the missing one and gives it to the container's user.
#[test]
fn devices_that_are_symlinks_reach_no_host_file() {
    unharmed("CVE-2025-52565", |lab| {
        let host = Host::new(lab.dir(), &["victim", "dir/inside"]);
        let socket = FdSocket::listen(lab.dir().join("console"));
        for name in ["null", "zero", "tty", "console", "ptmx", "pts", "fd", "stdin", "core"] {
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

/// CVE-2025-31133, CVE-2025-62161: a masked file is covered by the host's null device, not by the image's.
#[test]
fn a_mask_is_not_made_of_the_images_null() {
    unharmed("CVE-2025-31133", |lab| {
        let host = Host::new(lab.dir(), &["victim"]);
        for null in [host.path("victim"), "/proc/sys/kernel/hostname".into(), "/secret".into()] {
            let bundle =
                link(lab.bundle(), "/dev/null", &null).file("/secret", "secret").file("/masked", "secret");
            let c = bundle
                .set("/linux/maskedPaths", json!(["/masked", "/proc/kcore"]))
                .args(["cat", "/masked", "/proc/kcore"])
                .container();
            assert_eq!(c.run(&[]).stdout(), "", "masked files read as empty, or nothing runs");
            host.assert_untouched();
        }
        // An ordinary file in its place isn't used either.
        let bundle = lab.bundle().file("/dev/null", "fake").file("/masked", "secret");
        let ran = bundle.set("/linux/maskedPaths", json!(["/masked"])).args(["cat", "/masked"]).run();
        assert_eq!(ran.stdout(), "");
    });
}

/// CVE-2019-18837 and many since: where a mount lands, and what is made for it, is inside the root.
#[test]
fn mount_points_that_are_symlinks_stay_in_the_root() {
    unharmed("CVE-2021-30465", |lab| {
        let host = Host::new(lab.dir(), &["dir/", "file"]);
        let source = host.path("file");
        let up = |name: &str| format!("{}{}", "../".repeat(16), &host.path(name)[1..]);
        for target in
            [host.path("dir"), up("dir"), host.path("dir/absent"), up("absent"), "/proc/1/root".into()]
        {
            for at in ["/mnt", "/mnt/below", "/mnt/below/deeper"] {
                let hostile = || link(lab.bundle(), "/mnt", &target);
                hostile().mount(at, "tmpfs", "tmpfs", &[]).run();
                host.assert_untouched();
                hostile().mount(at, "", &source, &["bind"]).run();
                host.assert_untouched();
                hostile()
                    .set("/linux/devices", json!([{ "path": at, "type": "c", "major": 1, "minor": 3 }]))
                    .run();
                host.assert_untouched();
                hostile().set("/process/cwd", at).run();
                host.assert_untouched();
            }
        }
    });
}

/// A mount whose destination leads out by `..` lands below the root, and is seen there.
#[test]
fn dots_in_a_destination_stop_at_the_root() {
    unharmed("CVE-2021-30465", |lab| {
        let host = Host::new(lab.dir(), &["dir/"]);
        let at = format!("/tmp/{}{}", "../".repeat(16), &host.path("dir")[1..]);
        let seen = lab.bundle().mount(&at, "tmpfs", "tmpfs", &[]).ask(["mounts"]);
        host.assert_untouched();
        assert!(seen.mount(&host.path("dir")).is_some(), "the mount isn't in the container");
    });
}

/// CVE-2019-16884, CVE-2025-52881: what is written through /proc must reach the kernel.
/// crun 1.8.1 and runc 1.1.5 take some of these mounts.
#[test]
fn proc_is_covered_by_nothing() {
    unharmed("CVE-2019-16884", |lab| {
        let host = Host::new(lab.dir(), &["attr/exec", "attr/current"]);
        let source = host.path("attr");
        for at in [
            "/proc",
            "/proc/self/attr",
            "/proc/thread-self/attr",
            "/proc/1/attr",
            "/proc/sys",
            "/proc/sys/kernel",
            "/tmp/../proc/self",
        ] {
            lab.bundle().mount(at, "", &source, &["bind"]).run().fails();
            lab.bundle().mount(at, "tmpfs", "tmpfs", &[]).run().fails();
        }
        // Nor through a symlink of the image that leads there.
        link(lab.bundle(), "/alias", "/proc/self/attr").mount("/alias", "", &source, &["bind"]).run().fails();
        host.assert_untouched();
    });
}

/// CVE-2026-115521: what makes the root read-only doesn't go through the container's own /proc.
#[test]
fn a_read_only_root_is_one_whatever_its_proc() {
    unharmed("CVE-2026-115521", |lab| {
        for mounts in [true, false] {
            let mut bundle = lab.bundle().set("/root/readonly", true);
            if !mounts {
                bundle = bundle.set("/mounts", json!([])).file("/proc/self/mountinfo", "");
                for n in 0..32 {
                    bundle = link(bundle, &format!("/proc/self/fd/{n}"), "/tmp");
                }
            }
            let seen = bundle.ask(["create /new", "create /tmp/new"]);
            assert_eq!((&seen["create /new"], &seen["create /tmp/new"]), (&json!("EROFS"), &json!("EROFS")));
        }
    });
}

/// Without pivot_root the old root stays in the mount namespace, but its /proc and /sys must not.
#[test]
fn no_pivot_hides_the_hosts_proc_and_sys() {
    unharmed("runc's no_pivot test", |lab| {
        let bundle =
            lab.bundle().caps(&["CAP_SYS_ADMIN", "CAP_SYS_CHROOT"]).phrases(["mounts", "ls /proc/1/root"]);
        let ran = bundle.container().run(&["--no-pivot"]).ok();
        let seen = Inside::parse(&ran.stdout());
        let all: Vec<_> =
            seen["mounts"].as_array().expect("mounts").iter().filter(|m| m["at"] != "/proc").collect();
        let kernel: Vec<_> = all.iter().filter(|m| m["type"] == "proc" || m["type"] == "sysfs").collect();
        assert!(kernel.is_empty(), "{kernel:?}");
    });
}

/// The same wherever they are mounted: who gets at the old root finds none of them. runc 1.1.5 leaves a bind of a
/// part of one, crun 1.8.1 all but those at /proc and /sys.
#[test]
fn no_pivot_leaves_no_procfs_or_sysfs_of_the_host() {
    unharmed("CVE-2023-25809", |lab| {
        let host = |name: &str| lab.dir().join("host").join(name).to_string_lossy().into_owned();
        let mut mounted = vec![];
        for (name, kind, flags) in [
            ("a proc", Some("proc"), MsFlags::empty()),
            ("sys", Some("sysfs"), MsFlags::empty()),
            ("bound", None, MsFlags::MS_BIND),
        ] {
            fs::create_dir_all(host(name)).expect("a directory");
            mount(Some("/proc/sys"), host(name).as_str(), kind, flags, None::<&str>).expect("mount");
            mounted.push(Unmount(host(name)));
        }
        let c = lab.bundle().container();
        c.create(&["--no-pivot"]).ok();
        let pid = c.pid().to_string();
        let enter = |program: &[&str]| {
            let output = Command::new("nsenter").args(["-m", "-t", &pid]).args(program).output();
            output.expect("nsenter(1)")
        };
        // By root of the host: the container's own root goes, and all others enter the old one.
        assert!(enter(&["/bin/busybox", "umount", "-l", "/"]).status.success());
        for directory in
            ["a proc", "sys", "bound"].map(host).into_iter().chain(["/proc".into(), "/sys".into()])
        {
            let found = enter(&["ls", &directory]);
            assert!(found.status.success(), "{found:?}");
            assert_eq!(String::from_utf8_lossy(&found.stdout), "", "{directory}");
        }
    });
}

/// Of what a test has mounted, also when it fails.
struct Unmount(String);

impl Drop for Unmount {
    fn drop(&mut self) {
        let _ = umount2(self.0.as_str(), MntFlags::MNT_DETACH);
    }
}

/// Whatever step a create fails in, the census of [`unharmed`] finds the machine as it was.
#[test]
fn a_failed_create_leaves_nothing() {
    unharmed("a failed create", |lab| {
        let fails = |edit: &dyn for<'a> Fn(Bundle<'a>) -> Bundle<'a>| {
            create_fails(edit(lab.bundle()));
            let shared = lab.bundle().mount("/mnt", "tmpfs", "tmpfs", &["rshared"]);
            create_fails(edit(shared.set("/linux/rootfsPropagation", "rshared")));
        };
        fails(&|b| b.args(["/nosuch"]));
        fails(&|b| b.set("/process/cwd", "/bin/sh"));
        fails(&|b| b.mount("/mnt/a", "tmpfs", "tmpfs", &["mode=nonsense"]));
        fails(&|b| b.mount("/mnt/a", "nosuchfs", "x", &[]));
        fails(&|b| b.mount("/bin/sh/a", "tmpfs", "tmpfs", &[]));
        fails(&|b| b.hook("createRuntime", ["exit 1"]));
        fails(&|b| b.hook("createContainer", ["exit 1"]));
        fails(&|b| b.set("/linux/resources/unified", json!({ "no.such": "1" })));
    });
}

fn create_fails(bundle: Bundle) {
    let c = bundle.container();
    c.create(&[]).fails();
    c.run(&[]).fails();
}
