//! config.md#root and its Linux companions: readonly, propagation, masked and readonly paths.

use serde_json::json;
use spec_tests::*;

#[test]
fn the_root_is_the_bundles() {
    obeys("config.md#root", |lab| {
        let seen = lab.bundle().file("/mark", "here").ask(["read /mark", "ls /", "create /new"]);
        assert_eq!((&seen["read /mark"], &seen["create /new"]), (&json!("here"), &json!("ok")));
        let names: Vec<_> = seen["ls /"].as_array().unwrap().iter().filter(|n| **n != "mark").collect();
        assert_eq!(names, ["bin", "dev", "etc", "proc", "sys", "tmp"]);
    });
}

#[test]
fn the_root_may_be_an_absolute_path() {
    obeys("config.md#root", |lab| {
        let b = lab.bundle().file("/mark", "here");
        let path = b.rootfs();
        assert_eq!(b.set("/root/path", json!(path)).ask(["read /mark"])["read /mark"], "here");
    });
}

#[test]
fn a_missing_root_is_refused() {
    obeys("config.md#root", |lab| {
        lab.bundle().set("/root/path", "nosuch").run().fails_saying(&["no such file"]);
        lab.bundle().set("/root/path", "").run().fails();
        lab.bundle().set("/root/path", "config.json").run().fails();
    });
}

#[test]
fn a_readonly_root_cannot_be_written() {
    obeys("config.md#root", |lab| {
        let b = lab.bundle().set("/root/readonly", true).mount("/tmp", "tmpfs", "tmpfs", &[]);
        let seen = b.ask(["create /new", "create /etc/new", "create /tmp/new", "mounts"]);
        assert_eq!((&seen["create /new"], &seen["create /etc/new"]), (&json!("EROFS"), &json!("EROFS")));
        assert_eq!(seen["create /tmp/new"], "ok", "mounts in it keep their own options");
        assert!(seen.mount("/").unwrap().has("ro"));
    });
}

#[test]
fn a_readonly_root_gets_its_mount_points() {
    obeys("config.md#root", |lab| {
        let b = lab.bundle().set("/root/readonly", true).mount("/made/for/it", "tmpfs", "tmpfs", &[]);
        assert!(b.ask(["mounts"]).mount("/made/for/it").is_some());
    });
}

#[test]
fn the_hosts_mounts_are_not_seen() {
    obeys("config.md#root", |lab| {
        let seen = lab.bundle().ask(["mounts"]);
        let at: Vec<&str> =
            seen["mounts"].as_array().unwrap().iter().filter_map(|m| m["at"].as_str()).collect();
        let ours = |at: &&str| *at == "/" || ["/proc", "/dev"].iter().any(|p| at.starts_with(p));
        assert!(at.iter().all(ours), "{at:?}");
    });
}

#[test]
fn no_pivot_gives_the_same_view() {
    obeys("config.md#root", |lab| {
        let c = lab.bundle().file("/mark", "here").phrases(["read /mark", "cwd", "create /new"]).container();
        let seen = Inside::parse(&c.run(&["--no-pivot"]).ok().stdout());
        assert_eq!((&seen["read /mark"], &seen["cwd"]), (&json!("here"), &json!("/")));
    });
}

#[test]
fn rootfs_propagation_is_what_the_config_says() {
    obeys("config-linux.md#rootfs-mount-propagation", |lab| {
        let cases = [
            ("shared", &["shared"][..]),
            ("rshared", &["shared"]),
            ("slave", &["master"]),
            ("rslave", &["master"]),
            ("private", &[]),
            ("rprivate", &[]),
            ("unbindable", &["unbindable"]),
            ("runbindable", &["unbindable"]),
        ];
        for (word, expected) in cases {
            let seen = lab.bundle().set("/linux/rootfsPropagation", word).ask(["mounts"]);
            let root = seen.mount("/").expect("a root");
            // A slave of a private mount has no master.
            let expected = if expected == ["master"] { &[][..] } else { expected };
            assert_eq!(root.propagation(), expected, "{word}");
        }
    });
}

#[test]
fn an_unknown_rootfs_propagation_is_refused() {
    obeys("config-linux.md#rootfs-mount-propagation", |lab| {
        lab.bundle().set("/linux/rootfsPropagation", "nosuch").run().fails();
    });
}

#[test]
fn masked_paths_have_nothing_to_read() {
    obeys("config-linux.md#masked-paths", |lab| {
        let b = lab.bundle().file("/secret", "s").file("/secrets/key", "s");
        let b = b.set("/linux/maskedPaths", ["/secret", "/secrets", "/proc/version", "/no/such/path"]);
        let seen = b.ask([
            "read /secret",
            "ls /secrets",
            "create /secrets/new",
            "stat /secret",
            "read /proc/version",
        ]);
        assert_eq!((&seen["read /secret"], &seen["ls /secrets"]), (&json!(""), &json!([])));
        assert_eq!(seen["create /secrets/new"], "EROFS");
        let stat = &seen["stat /secret"];
        assert_eq!([&stat["type"], &stat["major"], &stat["minor"]], [&json!("c"), &json!(1), &json!(3)]);
        assert_eq!(seen["read /proc/version"], "");
    });
}

#[test]
fn readonly_paths_cannot_be_written() {
    obeys("config-linux.md#readonly-paths", |lab| {
        let b = lab.bundle().file("/config", "c").file("/configs/one", "c");
        let b = b.set("/linux/readonlyPaths", ["/config", "/configs", "/proc/sys", "/no/such/path"]);
        let seen = b.ask([
            "read /config",
            "write /config x",
            "write /configs/one x",
            "create /configs/new",
            "write /proc/sys/kernel/shmmni 7",
            "create /elsewhere",
        ]);
        assert_eq!(seen["read /config"], "c");
        for ask in [
            "write /config x",
            "write /configs/one x",
            "create /configs/new",
            "write /proc/sys/kernel/shmmni 7",
        ] {
            assert_eq!(seen[ask], "EROFS", "{ask}");
        }
        assert_eq!(seen["create /elsewhere"], "ok");
    });
}

#[test]
fn readonly_paths_keep_the_options_of_their_mount() {
    obeys("config-linux.md#readonly-paths", |lab| {
        let b = lab.bundle().mount("/data", "tmpfs", "tmpfs", &["nosuid", "nodev", "noexec"]);
        let seen = b.set("/linux/readonlyPaths", ["/data"]).ask(["mounts"]);
        let mount = seen.mount("/data").unwrap();
        for option in ["ro", "nosuid", "nodev", "noexec"] {
            assert!(mount.has(option), "{option}: {mount:?}");
        }
    });
}

#[test]
fn masked_and_readonly_paths_need_a_mount_namespace() {
    obeys("config-linux.md#masked-paths", |lab| {
        for list in ["maskedPaths", "readonlyPaths"] {
            let b = lab.bundle().without_namespace("mount").set("/mounts", json!([]));
            b.set(&format!("/linux/{list}"), ["/etc"]).run().fails();
        }
    });
}
