//! config.md#mounts: file systems, and every option that the specification says a runtime must support.

use std::fs;

use serde_json::json;
use spec_tests::*;

#[test]
fn kernel_file_systems_are_mounted() {
    obeys("config.md#mounts", |lab| {
        let types = [
            ("/sys", "sysfs"),
            ("/dev", "tmpfs"),
            ("/dev/pts", "devpts"),
            ("/dev/mqueue", "mqueue"),
            ("/new", "tmpfs"),
        ];
        let b = types.iter().fold(lab.bundle(), |b, (at, kind)| b.mount(at, kind, kind, &[]));
        let seen = b.ask(["mounts"]);
        for (at, kind) in types.iter().chain([&("/proc", "proc")]) {
            assert_eq!(seen.mount(at).unwrap_or_else(|| panic!("{at}")).0["type"], *kind);
        }
    });
}

#[test]
fn the_source_of_a_mount_is_shown() {
    obeys("config.md#mounts", |lab| {
        let seen = lab.bundle().mount("/new", "tmpfs", "my-source", &[]).ask(["mounts"]);
        assert_eq!(seen.mount("/new").unwrap().0["source"], "my-source");
    });
}

#[test]
fn options_of_the_mount_are_set() {
    obeys("config.md#linux-mount-options", |lab| {
        let options =
            ["ro", "nosuid", "nodev", "noexec", "noatime", "nodiratime", "relatime", "sync", "dirsync"];
        for option in options {
            let seen = lab.bundle().mount("/new", "tmpfs", "tmpfs", &[option]).ask(["mounts"]);
            assert!(seen.mount("/new").unwrap().has(option), "{option}: {:?}", seen.mount("/new"));
        }
        let seen = lab.bundle().mount("/new", "tmpfs", "tmpfs", &["strictatime"]).ask(["mounts"]);
        assert!(!seen.mount("/new").unwrap().has("relatime"), "strictatime");
    });
}

#[test]
fn lazytime_is_set() {
    obeys("config.md#linux-mount-options", |lab| {
        let seen = lab.bundle().mount("/new", "tmpfs", "tmpfs", &["lazytime"]).ask(["mounts"]);
        assert!(seen.mount("/new").unwrap().has("lazytime"));
    });
}

#[test]
fn an_option_is_undone_by_its_opposite() {
    obeys("config.md#linux-mount-options", |lab| {
        let pairs = [
            ("ro", "rw"),
            ("nosuid", "suid"),
            ("nodev", "dev"),
            ("noexec", "exec"),
            ("noatime", "atime"),
            ("nodiratime", "diratime"),
            ("sync", "async"),
        ];
        for (option, opposite) in pairs {
            let seen = lab.bundle().mount("/new", "tmpfs", "tmpfs", &[option, opposite]).ask(["mounts"]);
            assert!(!seen.mount("/new").unwrap().has(option), "{option},{opposite}");
        }
    });
}

#[test]
fn options_without_a_visible_effect_are_taken() {
    obeys("config.md#linux-mount-options", |lab| {
        for option in ["defaults", "norelatime", "nostrictatime"] {
            lab.bundle().mount("/new", "tmpfs", "tmpfs", &[option]).args(["true"]).run().ok();
        }
    });
}

#[test]
fn options_that_came_with_version_1_1_are_taken() {
    obeys("config.md#linux-mount-options", |lab| {
        for option in ["silent", "loud", "iversion", "noiversion", "lazytime", "nolazytime"] {
            lab.bundle().mount("/new", "tmpfs", "tmpfs", &[option]).args(["true"]).run().ok();
        }
    });
}

#[test]
fn nosymfollow_is_set() {
    obeys("config.md#linux-mount-options", |lab| {
        let seen = lab.bundle().mount("/new", "tmpfs", "tmpfs", &["nosymfollow"]).ask(["mounts"]);
        assert!(seen.mount("/new").unwrap().has("nosymfollow"));
        let seen =
            lab.bundle().mount("/new", "tmpfs", "tmpfs", &["nosymfollow", "symfollow"]).ask(["mounts"]);
        assert!(!seen.mount("/new").unwrap().has("nosymfollow"));
    });
}

#[test]
fn options_of_the_file_system_are_passed_on() {
    obeys("config.md#mounts", |lab| {
        let options = ["nosuid", "size=64k", "mode=1755", "uid=7", "gid=8"];
        let b = lab.bundle().mount("/new", "tmpfs", "tmpfs", &options);
        let seen = b.ask(["mounts", "stat /new"]);
        let mount = seen.mount("/new").unwrap();
        assert!(mount.has("size=64k") && mount.has("nosuid"), "{mount:?}");
        let stat = &seen["stat /new"];
        assert_eq!(json!([stat["mode"], stat["uid"], stat["gid"]]), json!(["1755", 7, 8]));
    });
}

#[test]
fn an_option_that_the_file_system_refuses_fails_the_create() {
    obeys("config.md#mounts", |lab| {
        lab.bundle().mount("/new", "tmpfs", "tmpfs", &["nosuchoption"]).container().create(&[]).fails();
        lab.bundle().mount("/new", "tmpfs", "tmpfs", &["mode=nonsense"]).container().create(&[]).fails();
        lab.bundle()
            .mount("/new", "nosuchfs", "none", &[])
            .container()
            .create(&[])
            .fails_saying(&["no such device"]);
    });
}

#[test]
fn mounts_are_made_in_the_order_of_the_list() {
    obeys("config.md#mounts", |lab| {
        let (one, two) = (lab.dir().join("one"), lab.dir().join("two"));
        for (dir, text) in [(&one, "one"), (&two, "two")] {
            fs::create_dir_all(dir.join("sub")).unwrap();
            fs::write(dir.join("file"), text).unwrap();
        }
        let b = lab.bundle().mount("/new", "bind", one.to_str().unwrap(), &["bind"]);
        let b = b.mount("/new/sub", "bind", two.to_str().unwrap(), &["bind"]);
        let b = b.mount("/over", "bind", one.to_str().unwrap(), &["bind"]);
        let b = b.mount("/over", "bind", two.to_str().unwrap(), &["bind"]);
        let seen = b.ask(["read /new/file", "read /new/sub/file", "read /over/file"]);
        assert_eq!(seen["read /new/file"], "one");
        assert_eq!(seen["read /new/sub/file"], "two");
        assert_eq!(seen["read /over/file"], "two");
    });
}

#[test]
fn a_relative_destination_is_relative_to_the_root() {
    obeys("config.md#mounts", |lab| {
        let seen =
            lab.bundle().set("/process/cwd", "/tmp").mount("new/dir", "tmpfs", "tmpfs", &[]).ask(["mounts"]);
        assert!(seen.mount("/new/dir").is_some());
    });
}

#[test]
fn a_destination_is_looked_up_in_the_root() {
    obeys("config.md#mounts", |lab| {
        let b = lab.bundle().directory("/real");
        std::os::unix::fs::symlink("/real", b.path("/absolute")).unwrap();
        std::os::unix::fs::symlink("../../../../../../../real", b.path("/dots")).unwrap();
        let b = b.mount("/absolute/one", "tmpfs", "tmpfs", &[]).mount("/dots/two", "tmpfs", "tmpfs", &[]);
        let b = b.mount("/../../three", "tmpfs", "tmpfs", &[]);
        let seen = b.ask(["mounts"]);
        for at in ["/real/one", "/real/two", "/three"] {
            assert!(seen.mount(at).is_some(), "{at}");
        }
        assert!(!fs::exists("/real").unwrap() && !fs::exists("/three").unwrap());
    });
}

#[test]
fn proc_is_not_mounted_through_a_symlink() {
    obeys("config.md#mounts", |lab| {
        let b = lab.bundle().directory("/elsewhere");
        fs::remove_dir(b.path("/proc")).unwrap();
        std::os::unix::fs::symlink("elsewhere", b.path("/proc")).unwrap();
        b.container().create(&[]).fails();
    });
}

#[test]
fn a_mount_is_changed_by_remount() {
    obeys("config.md#linux-mount-options", |lab| {
        let b = lab.bundle().mount("/new", "tmpfs", "tmpfs", &["nosuid"]);
        let seen =
            b.mount("/new", "tmpfs", "tmpfs", &["remount", "ro", "nosuid"]).ask(["mounts", "create /new/x"]);
        assert_eq!(seen["create /new/x"], "EROFS");
    });
}

#[test]
fn tmpcopyup_keeps_what_was_there() {
    obeys("config.md#linux-mount-options", |lab| {
        let b = lab.bundle().file("/etc/app/config", "kept").mode("/etc/app/config", 0o640);
        std::os::unix::fs::symlink("config", b.path("/etc/app/link")).unwrap();
        let file = b.path("/etc/app/config");
        let b = b.mount("/etc/app", "tmpfs", "tmpfs", &["tmpcopyup", "mode=700"]);
        let asks = [
            "read /etc/app/config",
            "stat /etc/app/config",
            "readlink /etc/app/link",
            "write /etc/app/config new",
            "stat /etc/app",
        ];
        let seen = b.ask(asks);
        assert_eq!(seen[asks[0]], "kept");
        assert_eq!(seen[asks[1]]["mode"], "0640");
        assert_eq!(seen[asks[2]], "config");
        assert_eq!(seen[asks[3]], "ok");
        assert_eq!(seen[asks[4]]["mode"], "0700", "the option's, not that of what is covered");
        assert_eq!(fs::read_to_string(file).unwrap(), "kept", "the image is not written");
    });
}

#[test]
fn noexec_and_nodev_mean_it() {
    obeys("config.md#linux-mount-options", |lab| {
        let dir = lab.dir().join("tools");
        fs::create_dir(&dir).unwrap();
        let b = lab.bundle();
        copy_programs(&[&b.path("/bin/true")], &dir);
        let from = dir.to_str().unwrap();
        let b =
            lab.bundle().mount("/x", "bind", from, &["bind"]).mount("/nx", "bind", from, &["bind", "noexec"]);
        let seen = b.ask(["spawn /x/true", "spawn /nx/true"]);
        assert_eq!((&seen["spawn /x/true"], &seen["spawn /nx/true"]), (&json!(0), &json!("EACCES")));
    });
}
