//! config.md#mounts: binds of the host's files and directories, recursive options, propagation.

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
fn a_directory_is_bound() {
    obeys("config.md#mounts", |lab| {
        let tree = host_tree(lab, MsFlags::empty());
        let from = tree.to_str().unwrap();
        for (kind, option, deep) in
            [("", "bind", "ENOENT"), ("", "rbind", "deep"), ("none", "bind", "ENOENT")]
        {
            let b = lab.bundle().mount("/new", kind, from, &[option]);
            let seen = b.ask(["read /new/file", "read /new/sub/deep", "write /new/file of the host"]);
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
        let seen = b.ask(["read /there", "write /there x", "read /made/for/it", "stat /made/for/it"]);
        assert_eq!((&seen["read /there"], &seen["write /there x"]), (&json!("of the host"), &json!("EROFS")));
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
        let seen = lab.bundle().mount("/new", "bind", tree.to_str().unwrap(), &options).ask(["mounts"]);
        let (top, sub) = (seen.mount("/new").unwrap(), seen.mount("/new/sub").unwrap());
        for option in &options[1..] {
            assert!(top.has(option), "{option}: {top:?}");
            assert!(!sub.has(option), "{option} is not recursive: {sub:?}");
        }
        fs::write(tree.join("file"), "still writable on the host").unwrap();
        unmount(&tree);
    });
}

/// mount(2), MS_REMOUNT | MS_BIND: of the mount, not of the file system, which is the host's.
#[test]
fn a_remount_of_a_bind_changes_the_bind_alone() {
    obeys("config.md#linux-mount-options", |lab| {
        let tree = host_tree(lab, MsFlags::empty());
        let host = tree.join("sub");
        let from = host.to_str().unwrap();
        let seen = lab
            .bundle()
            .mount("/new", "bind", from, &["bind", "nosuid"])
            .mount("/new", "bind", from, &["bind", "remount", "ro", "nosuid"])
            .ask(["mounts", "write /new/deep x"]);
        assert_eq!(seen["write /new/deep x"], "EROFS");
        assert!(seen.mount("/new").unwrap().has("nosuid"));
        fs::write(host.join("deep"), "still writable on the host").unwrap();
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
                assert!(seen.mount(at).unwrap().has(flag), "{option} at {at}: {:?}", seen.mount(at));
            }
        }
        unmount(&tree);
    });
}

/// Each option of a bind clears a flag that the whole tree has on the host.
fn assert_cleared(lab: &Lab, cases: &[(&str, &str)]) {
    let all =
        [MsFlags::MS_RDONLY, MsFlags::MS_NOSUID, MsFlags::MS_NODEV, MsFlags::MS_NOEXEC, MsFlags::MS_NOATIME];
    let all = all.into_iter().fold(MsFlags::MS_NODIRATIME, |a, b| a | b);
    let tree = host_tree(lab, MsFlags::empty());
    for path in [tree.clone(), tree.join("sub")] {
        let again = MsFlags::MS_BIND | MsFlags::MS_REMOUNT | all;
        // Busy while a fork of another test holds a file open that was just written there.
        spec_tests::eventually("the mount to be read-only", || {
            match mount(None::<&str>, &path, None::<&str>, again, None::<&str>) {
                Err(nix::errno::Errno::EBUSY) => None,
                done => {
                    done.unwrap();
                    Some(())
                }
            }
        });
    }
    for (option, flag) in cases {
        let seen =
            lab.bundle().mount("/new", "bind", tree.to_str().unwrap(), &["rbind", option]).ask(["mounts"]);
        for at in ["/new", "/new/sub"] {
            assert!(!seen.mount(at).unwrap().has(flag), "{option} at {at}: {:?}", seen.mount(at));
        }
    }
    unmount(&tree);
}

#[test]
fn recursive_options_are_cleared_on_the_whole_tree() {
    obeys("config.md#linux-mount-options", |lab| {
        assert_cleared(lab, &[("rrw", "ro"), ("rsuid", "nosuid"), ("rdev", "nodev"), ("rexec", "noexec")]);
    });
}

#[test]
fn recursive_times_are_cleared_on_the_whole_tree() {
    obeys("config.md#linux-mount-options", |lab| {
        assert_cleared(
            lab,
            &[("rdiratime", "nodiratime"), ("rrelatime", "noatime"), ("rstrictatime", "noatime")],
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
        let b = lab.bundle().mount("/new", "bind", tree.to_str().unwrap(), &["rbind", "rnosymfollow"]);
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
            mount(None::<&str>, &path, None::<&str>, MsFlags::MS_SHARED, None::<&str>).unwrap();
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
                seen.mount(at).unwrap().propagation().iter().map(|p| p.to_string()).collect::<Vec<_>>()
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
        mount(None::<&str>, &tree, None::<&str>, MsFlags::MS_SHARED, None::<&str>).unwrap();
        fs::create_dir(tree.join("later")).unwrap();
        let asks = [
            "to /tmp/out",
            "block SIGTERM",
            "await SIGTERM",
            "read /slave/later/mark",
            "read /private/later/mark",
        ];
        let b = lab.bundle().mount("/slave", "bind", tree.to_str().unwrap(), &["rbind", "rslave"]);
        let b = b.mount("/private", "bind", tree.to_str().unwrap(), &["rbind", "rprivate"]);
        let c = b.phrases(asks).start();
        c.wait_for_answer("/tmp/out", "block SIGTERM");
        mount(Some("later"), &tree.join("later"), Some("tmpfs"), MsFlags::empty(), None::<&str>).unwrap();
        fs::write(tree.join("later/mark"), "seen").unwrap();
        c.kill(&[]).ok();
        let seen = c.wait_for_answer("/tmp/out", asks[4]);
        assert_eq!((&seen[asks[3]], &seen[asks[4]]), (&json!("seen"), &json!("ENOENT")));
        unmount(&tree);
    });
}

/// A symlink of the host to `text`, and one of the container to /elsewhere.
fn links<'l>(lab: &'l Lab, text: &str) -> (PathBuf, Bundle<'l>) {
    let link = lab.dir().join("link");
    std::os::unix::fs::symlink(text, &link).unwrap();
    let b = lab.bundle();
    std::os::unix::fs::symlink("/elsewhere", b.path("/inside")).unwrap();
    (link, b)
}

#[test]
fn a_symlink_may_be_copied() {
    obeys("crun(1), copy-symlink", |lab| {
        let (link, b) = links(lab, "/some/where");
        let from = link.to_str().unwrap();
        let options = ["bind", "ro", "copy-symlink"];
        // It may be there already, as at a container's second start.
        std::os::unix::fs::symlink("/some/where", b.path("/same")).unwrap();
        let b = b.mount("/new/deep", "bind", from, &options);
        let b = b.mount("/same", "bind", from, &options);
        let seen = b.ask(["readlink /new/deep", "readlink /same"]);
        for at in ["readlink /new/deep", "readlink /same"] {
            assert_eq!(seen[at], "/some/where", "{at}");
        }
    });
}

#[test]
fn a_copied_symlink_replaces_nothing() {
    obeys("crun(1), copy-symlink", |lab| {
        let (link, b) = links(lab, "/some/where");
        let inside = b.path("/inside");
        let b = b.mount("/inside", "bind", link.to_str().unwrap(), &["bind", "copy-symlink"]);
        b.container().create(&[]).fails();
        assert_eq!(fs::read_link(inside).unwrap(), Path::new("/elsewhere"));
    });
}

#[test]
fn what_is_no_symlink_is_bound_instead_of_copied() {
    obeys("crun(1), copy-symlink", |lab| {
        let file = lab.dir().join("file");
        fs::write(&file, "of the host").unwrap();
        let from = file.to_str().unwrap();
        let b = lab.bundle().mount("/new", "bind", from, &["bind", "copy-symlink"]);
        let seen = b.ask(["read /new", "mounts"]);
        assert_eq!(seen["read /new"], "of the host");
        assert!(seen.mount("/new").is_some());
    });
}

#[test]
fn a_mount_may_cover_a_symlink() {
    obeys("crun(1), dest-nofollow", |lab| {
        let file = lab.dir().join("file");
        fs::write(&file, "of the host").unwrap();
        let (_, b) = links(lab, "/nowhere");
        let from = file.to_str().unwrap();
        let seen = b.mount("/inside", "bind", from, &["bind", "dest-nofollow"]).ask([
            "read /inside",
            "read /elsewhere",
            "mounts",
        ]);
        assert_eq!(seen["read /inside"], "of the host");
        assert_eq!(seen["read /elsewhere"], "ENOENT");
        assert!(seen.mount("/inside").is_some() && seen.mount("/elsewhere").is_none());
    });
}

#[test]
fn a_symlink_may_be_bound_itself() {
    obeys("crun(1), src-nofollow", |lab| {
        let (link, b) = links(lab, "/some/where");
        let from = link.to_str().unwrap();
        let options = ["bind", "src-nofollow", "dest-nofollow"];
        let seen = b.mount("/inside", "bind", from, &options).ask(["readlink /inside", "read /elsewhere"]);
        assert_eq!(seen["readlink /inside"], "/some/where");
        assert_eq!(seen["read /elsewhere"], "ENOENT");
    });
}
