//! config.md#mounts: file systems, binds, and every option that the specification says a runtime must support.

use std::fs;
use std::path::{Path, PathBuf};

use nix::mount::{MsFlags, mount};
use serde_json::json;
use spec_tests::*;

/// A directory of the host, with a file, a directory, and a tmpfs mounted on that with these flags.
fn host_tree(lab: &Lab, flags: MsFlags) -> PathBuf {
    let dir = lab.dir().join("tree");
    fs::create_dir_all(dir.join("sub")).unwrap();
    fs::write(dir.join("file"), "of the host").unwrap();
    bind(&dir, &dir, flags);
    mount(Some("sub"), &dir.join("sub"), Some("tmpfs"), flags, None::<&str>).unwrap();
    fs::write(dir.join("sub/deep"), "deep").unwrap();
    dir
}

fn bind(from: &Path, to: &Path, flags: MsFlags) {
    mount(Some(from), to, None::<&str>, MsFlags::MS_BIND, None::<&str>).unwrap();
    if !flags.is_empty() {
        let again = MsFlags::MS_BIND | MsFlags::MS_REMOUNT | flags;
        mount(None::<&str>, to, None::<&str>, again, None::<&str>).unwrap();
    }
}

fn unmount(dir: &Path) {
    nix::mount::umount2(dir, nix::mount::MntFlags::MNT_DETACH).unwrap();
}

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
        let b = types
            .iter()
            .fold(lab.bundle(), |b, (at, kind)| b.mount(at, kind, kind, &[]));
        let seen = b.ask(["mounts"]);
        for (at, kind) in types.iter().chain([&("/proc", "proc")]) {
            assert_eq!(seen.mount(at).unwrap_or_else(|| panic!("{at}")).0["type"], *kind);
        }
    });
}

#[test]
fn the_source_of_a_mount_is_shown() {
    obeys("config.md#mounts", |lab| {
        let seen = lab
            .bundle()
            .mount("/new", "tmpfs", "my-source", &[])
            .ask(["mounts"]);
        assert_eq!(seen.mount("/new").unwrap().0["source"], "my-source");
    });
}

#[test]
fn options_of_the_mount_are_set() {
    obeys("config.md#linux-mount-options", |lab| {
        let options = [
            "ro",
            "nosuid",
            "nodev",
            "noexec",
            "noatime",
            "nodiratime",
            "relatime",
            "sync",
            "dirsync",
        ];
        for option in options {
            let seen = lab
                .bundle()
                .mount("/new", "tmpfs", "tmpfs", &[option])
                .ask(["mounts"]);
            assert!(
                seen.mount("/new").unwrap().has(option),
                "{option}: {:?}",
                seen.mount("/new")
            );
        }
        let seen = lab
            .bundle()
            .mount("/new", "tmpfs", "tmpfs", &["strictatime"])
            .ask(["mounts"]);
        assert!(!seen.mount("/new").unwrap().has("relatime"), "strictatime");
    });
}

#[test]
fn lazytime_is_set() {
    obeys("config.md#linux-mount-options", |lab| {
        let seen = lab
            .bundle()
            .mount("/new", "tmpfs", "tmpfs", &["lazytime"])
            .ask(["mounts"]);
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
            let seen = lab
                .bundle()
                .mount("/new", "tmpfs", "tmpfs", &[option, opposite])
                .ask(["mounts"]);
            assert!(!seen.mount("/new").unwrap().has(option), "{option},{opposite}");
        }
    });
}

#[test]
fn options_without_a_visible_effect_are_taken() {
    obeys("config.md#linux-mount-options", |lab| {
        for option in ["defaults", "norelatime", "nostrictatime"] {
            lab.bundle()
                .mount("/new", "tmpfs", "tmpfs", &[option])
                .args(["true"])
                .run()
                .ok();
        }
    });
}

#[test]
fn options_that_came_with_version_1_1_are_taken() {
    obeys("config.md#linux-mount-options", |lab| {
        for option in [
            "silent",
            "loud",
            "iversion",
            "noiversion",
            "lazytime",
            "nolazytime",
        ] {
            lab.bundle()
                .mount("/new", "tmpfs", "tmpfs", &[option])
                .args(["true"])
                .run()
                .ok();
        }
    });
}

#[test]
fn nosymfollow_is_set() {
    obeys("config.md#linux-mount-options", |lab| {
        let seen = lab
            .bundle()
            .mount("/new", "tmpfs", "tmpfs", &["nosymfollow"])
            .ask(["mounts"]);
        assert!(seen.mount("/new").unwrap().has("nosymfollow"));
        let seen = lab
            .bundle()
            .mount("/new", "tmpfs", "tmpfs", &["nosymfollow", "symfollow"])
            .ask(["mounts"]);
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
        assert_eq!(
            json!([stat["mode"], stat["uid"], stat["gid"]]),
            json!(["1755", 7, 8])
        );
    });
}

#[test]
fn an_option_that_the_file_system_refuses_fails_the_create() {
    obeys("config.md#mounts", |lab| {
        lab.bundle()
            .mount("/new", "tmpfs", "tmpfs", &["nosuchoption"])
            .container()
            .create(&[])
            .fails();
        lab.bundle()
            .mount("/new", "tmpfs", "tmpfs", &["mode=nonsense"])
            .container()
            .create(&[])
            .fails();
        lab.bundle()
            .mount("/new", "nosuchfs", "none", &[])
            .container()
            .create(&[])
            .fails_saying(&["no such device"]);
    });
}

#[test]
fn a_directory_is_bound() {
    obeys("config.md#mounts", |lab| {
        let tree = host_tree(lab, MsFlags::empty());
        let from = tree.to_str().unwrap();
        for (kind, option, deep) in [
            ("", "bind", "ENOENT"),
            ("", "rbind", "deep"),
            ("none", "bind", "ENOENT"),
        ] {
            let b = lab.bundle().mount("/new", kind, from, &[option]);
            let seen = b.ask([
                "read /new/file",
                "read /new/sub/deep",
                "write /new/file of the host",
            ]);
            assert_eq!(
                (&seen["read /new/file"], &seen["read /new/sub/deep"]),
                (&json!("of the host"), &json!(deep))
            );
            assert_eq!(seen["write /new/file of the host"], "ok");
        }
        unmount(&tree);
    });
}

#[test]
fn a_file_is_bound() {
    obeys("config.md#mounts", |lab| {
        let file = lab.dir().join("file");
        fs::write(&file, "of the host").unwrap();
        let b = lab.bundle().file("/there", "covered");
        let b = b.mount("/there", "bind", file.to_str().unwrap(), &["bind", "ro"]);
        let b = b.mount("/made/for/it", "bind", file.to_str().unwrap(), &["bind"]);
        let seen = b.ask([
            "read /there",
            "write /there x",
            "read /made/for/it",
            "stat /made/for/it",
        ]);
        assert_eq!(
            (&seen["read /there"], &seen["write /there x"]),
            (&json!("of the host"), &json!("EROFS"))
        );
        assert_eq!(
            (&seen["read /made/for/it"], &seen["stat /made/for/it"]["type"]),
            (&json!("of the host"), &json!("file"))
        );
    });
}

#[test]
fn a_relative_source_is_relative_to_the_bundle() {
    obeys("config.md#mounts", |lab| {
        let b = lab.bundle();
        fs::write(b.dir().join("beside"), "the rootfs").unwrap();
        let b = b.mount("/new", "bind", "beside", &["bind"]);
        assert_eq!(b.ask(["read /new"])["read /new"], "the rootfs");
    });
}

#[test]
fn a_missing_source_is_refused() {
    obeys("config.md#mounts", |lab| {
        let b = lab.bundle().mount("/new", "bind", "/no/such/source", &["bind"]);
        b.container().create(&[]).fails_saying(&["/no/such/source"]);
    });
}

#[test]
fn options_of_a_bind_are_of_the_bind_alone() {
    obeys("config.md#linux-mount-options", |lab| {
        let tree = host_tree(lab, MsFlags::empty());
        let options = ["rbind", "ro", "nosuid", "nodev", "noexec", "noatime"];
        let seen = lab
            .bundle()
            .mount("/new", "bind", tree.to_str().unwrap(), &options)
            .ask(["mounts"]);
        let (top, sub) = (seen.mount("/new").unwrap(), seen.mount("/new/sub").unwrap());
        for option in &options[1..] {
            assert!(top.has(option), "{option}: {top:?}");
            assert!(!sub.has(option), "{option} is not recursive: {sub:?}");
        }
        fs::write(tree.join("file"), "still writable on the host").unwrap();
        unmount(&tree);
    });
}

#[test]
fn recursive_options_are_set_on_the_whole_tree() {
    obeys("config.md#linux-mount-options", |lab| {
        let tree = host_tree(lab, MsFlags::empty());
        for (option, flag) in [
            ("rro", "ro"),
            ("rnosuid", "nosuid"),
            ("rnodev", "nodev"),
            ("rnoexec", "noexec"),
            ("rnoatime", "noatime"),
            ("rnodiratime", "nodiratime"),
            ("rrelatime", "relatime"),
        ] {
            let seen = lab
                .bundle()
                .mount("/new", "bind", tree.to_str().unwrap(), &["rbind", option])
                .ask(["mounts"]);
            for at in ["/new", "/new/sub"] {
                assert!(
                    seen.mount(at).unwrap().has(flag),
                    "{option} at {at}: {:?}",
                    seen.mount(at)
                );
            }
        }
        unmount(&tree);
    });
}

/// Each option of a bind clears a flag that the whole tree has on the host.
fn assert_cleared(lab: &Lab, cases: &[(&str, &str)]) {
    let all = [
        MsFlags::MS_RDONLY,
        MsFlags::MS_NOSUID,
        MsFlags::MS_NODEV,
        MsFlags::MS_NOEXEC,
        MsFlags::MS_NOATIME,
    ];
    let all = all.into_iter().fold(MsFlags::MS_NODIRATIME, |a, b| a | b);
    let tree = host_tree(lab, MsFlags::empty());
    for path in [tree.clone(), tree.join("sub")] {
        let again = MsFlags::MS_BIND | MsFlags::MS_REMOUNT | all;
        mount(None::<&str>, &path, None::<&str>, again, None::<&str>).unwrap();
    }
    for (option, flag) in cases {
        let seen = lab
            .bundle()
            .mount("/new", "bind", tree.to_str().unwrap(), &["rbind", option])
            .ask(["mounts"]);
        for at in ["/new", "/new/sub"] {
            assert!(
                !seen.mount(at).unwrap().has(flag),
                "{option} at {at}: {:?}",
                seen.mount(at)
            );
        }
    }
    unmount(&tree);
}

#[test]
fn recursive_options_are_cleared_on_the_whole_tree() {
    obeys("config.md#linux-mount-options", |lab| {
        assert_cleared(
            lab,
            &[
                ("rrw", "ro"),
                ("rsuid", "nosuid"),
                ("rdev", "nodev"),
                ("rexec", "noexec"),
            ],
        );
    });
}

#[test]
fn recursive_times_are_cleared_on_the_whole_tree() {
    obeys("config.md#linux-mount-options", |lab| {
        assert_cleared(
            lab,
            &[
                ("rdiratime", "nodiratime"),
                ("rrelatime", "noatime"),
                ("rstrictatime", "noatime"),
            ],
        );
    });
}

#[test]
fn ratime_is_the_opposite_of_rnoatime() {
    obeys("config.md#linux-mount-options", |lab| {
        assert_cleared(lab, &[("ratime", "noatime")]);
    });
}

#[test]
fn rnosymfollow_is_recursive() {
    obeys("config.md#linux-mount-options", |lab| {
        let tree = host_tree(lab, MsFlags::empty());
        let b = lab
            .bundle()
            .mount("/new", "bind", tree.to_str().unwrap(), &["rbind", "rnosymfollow"]);
        let seen = b.ask(["mounts"]);
        assert!(
            seen.mount("/new").unwrap().has("nosymfollow")
                && seen.mount("/new/sub").unwrap().has("nosymfollow")
        );
        unmount(&tree);
    });
}

#[test]
fn a_readonly_bind_keeps_what_the_source_has() {
    obeys("config.md#linux-mount-options", |lab| {
        let tree = host_tree(lab, MsFlags::MS_NOSUID | MsFlags::MS_NODEV);
        let b = lab.bundle().user_namespace(300_000).mount(
            "/new",
            "bind",
            tree.to_str().unwrap(),
            &["rbind", "ro"],
        );
        let seen = b.ask(["mounts"]);
        let mount = seen.mount("/new").unwrap();
        for option in ["ro", "nosuid", "nodev"] {
            assert!(mount.has(option), "{option}: {mount:?}");
        }
        unmount(&tree);
    });
}

#[test]
fn propagation_of_a_mount_is_set() {
    obeys("config.md#linux-mount-options", |lab| {
        let tree = host_tree(lab, MsFlags::empty());
        for path in [tree.clone(), tree.join("sub")] {
            mount(
                None::<&str>,
                &path,
                None::<&str>,
                MsFlags::MS_SHARED,
                None::<&str>,
            )
            .unwrap();
        }
        type Case<'a> = (&'a str, &'a [&'a str], Option<&'a [&'a str]>);
        let cases: [Case; 8] = [
            ("private", &[], None),
            ("rprivate", &[], Some(&[])),
            ("slave", &["master"], None),
            ("rslave", &["master"], Some(&["master"])),
            ("shared", &["shared"], None),
            ("rshared", &["shared"], Some(&["shared"])),
            ("unbindable", &["unbindable"], None),
            ("runbindable", &["unbindable"], Some(&["unbindable"])),
        ];
        for (option, top, sub) in cases {
            let seen = lab
                .bundle()
                .mount("/new", "bind", tree.to_str().unwrap(), &["rbind", option])
                .ask(["mounts"]);
            let of = |at: &str| {
                seen.mount(at)
                    .unwrap()
                    .propagation()
                    .iter()
                    .map(|p| p.to_string())
                    .collect::<Vec<_>>()
            };
            // A shared mount that is a slave of the host's too says both.
            let has = |list: &[String], expected: &[&str]| match expected {
                ["shared"] => list.iter().any(|p| p == "shared"),
                expected => list == expected,
            };
            assert!(has(&of("/new"), top), "{option}: {:?}", of("/new"));
            if let Some(sub) = sub {
                assert!(has(&of("/new/sub"), sub), "{option}, below: {:?}", of("/new/sub"));
            }
        }
        unmount(&tree);
    });
}

#[test]
fn a_slave_sees_what_the_host_mounts_later() {
    obeys("config.md#linux-mount-options", |lab| {
        let tree = host_tree(lab, MsFlags::empty());
        mount(
            None::<&str>,
            &tree,
            None::<&str>,
            MsFlags::MS_SHARED,
            None::<&str>,
        )
        .unwrap();
        fs::create_dir(tree.join("later")).unwrap();
        let asks = [
            "to /tmp/out",
            "block SIGTERM",
            "await SIGTERM",
            "read /slave/later/mark",
            "read /private/later/mark",
        ];
        let b = lab
            .bundle()
            .mount("/slave", "bind", tree.to_str().unwrap(), &["rbind", "rslave"]);
        let b = b.mount("/private", "bind", tree.to_str().unwrap(), &["rbind", "rprivate"]);
        let c = b.phrases(asks).start();
        c.wait_for_answer("/tmp/out", "block SIGTERM");
        mount(
            Some("later"),
            &tree.join("later"),
            Some("tmpfs"),
            MsFlags::empty(),
            None::<&str>,
        )
        .unwrap();
        fs::write(tree.join("later/mark"), "seen").unwrap();
        c.kill(&[]).ok();
        let seen = c.wait_for_answer("/tmp/out", asks[4]);
        assert_eq!(
            (&seen[asks[3]], &seen[asks[4]]),
            (&json!("seen"), &json!("ENOENT"))
        );
        unmount(&tree);
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
        let b = lab
            .bundle()
            .mount("/new", "bind", one.to_str().unwrap(), &["bind"]);
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
        let seen = lab
            .bundle()
            .set("/process/cwd", "/tmp")
            .mount("new/dir", "tmpfs", "tmpfs", &[])
            .ask(["mounts"]);
        assert!(seen.mount("/new/dir").is_some());
    });
}

#[test]
fn a_destination_is_looked_up_in_the_root() {
    obeys("config.md#mounts", |lab| {
        let b = lab.bundle().directory("/real");
        std::os::unix::fs::symlink("/real", b.path("/absolute")).unwrap();
        std::os::unix::fs::symlink("../../../../../../../real", b.path("/dots")).unwrap();
        let b = b
            .mount("/absolute/one", "tmpfs", "tmpfs", &[])
            .mount("/dots/two", "tmpfs", "tmpfs", &[]);
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
        let seen = b
            .mount("/new", "tmpfs", "tmpfs", &["remount", "ro", "nosuid"])
            .ask(["mounts", "create /new/x"]);
        assert_eq!(seen["create /new/x"], "EROFS");
    });
}

#[test]
fn tmpcopyup_keeps_what_was_there() {
    obeys("config.md#linux-mount-options", |lab| {
        let b = lab
            .bundle()
            .file("/etc/app/config", "kept")
            .mode("/etc/app/config", 0o640);
        std::os::unix::fs::symlink("config", b.path("/etc/app/link")).unwrap();
        let file = b.path("/etc/app/config");
        let b = b.mount("/etc/app", "tmpfs", "tmpfs", &["tmpcopyup", "mode=700"]);
        let asks = [
            "read /etc/app/config",
            "stat /etc/app/config",
            "readlink /etc/app/link",
            "write /etc/app/config new",
        ];
        let seen = b.ask(asks);
        assert_eq!(seen[asks[0]], "kept");
        assert_eq!(seen[asks[1]]["mode"], "0640");
        assert_eq!(seen[asks[2]], "config");
        assert_eq!(seen[asks[3]], "ok");
        assert_eq!(
            fs::read_to_string(file).unwrap(),
            "kept",
            "the image is not written"
        );
    });
}

#[test]
fn noexec_and_nodev_mean_it() {
    obeys("config.md#linux-mount-options", |lab| {
        let dir = lab.dir().join("tools");
        fs::create_dir(&dir).unwrap();
        fs::copy("/bin/busybox", dir.join("true")).unwrap();
        let from = dir.to_str().unwrap();
        let b =
            lab.bundle()
                .mount("/x", "bind", from, &["bind"])
                .mount("/nx", "bind", from, &["bind", "noexec"]);
        let seen = b.ask(["spawn /x/true", "spawn /nx/true"]);
        assert_eq!(
            (&seen["spawn /x/true"], &seen["spawn /nx/true"]),
            (&json!(0), &json!("EACCES"))
        );
    });
}
