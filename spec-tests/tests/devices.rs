//! config-linux.md#devices and #allowed-device-list.

use serde_json::{Value, json};
use spec_tests::*;

const DEFAULT: [(&str, u32, u32); 6] = [
    ("/dev/null", 1, 3),
    ("/dev/zero", 1, 5),
    ("/dev/full", 1, 7),
    ("/dev/random", 1, 8),
    ("/dev/urandom", 1, 9),
    ("/dev/tty", 5, 0),
];

fn with_dev(b: Bundle) -> Bundle {
    let b = b.mount("/dev", "tmpfs", "tmpfs", &["nosuid", "mode=755"]);
    b.mount("/dev/pts", "devpts", "devpts", &["newinstance", "ptmxmode=0666", "mode=0620", "gid=5"])
}

fn rules(b: Bundle, rules: Value) -> Bundle {
    b.set("/linux/resources/devices", rules)
}

#[test]
fn default_devices_are_there_and_work() {
    obeys("config-linux.md#default-devices", |lab| {
        let asks: Vec<String> = DEFAULT.iter().map(|(path, _, _)| format!("stat {path}")).collect();
        let more = ["open /dev/null rw", "open /dev/zero r", "open /dev/urandom r", "read /dev/null"];
        let seen = with_dev(lab.bundle()).ask(asks.iter().map(String::as_str).chain(more));
        for (path, major, minor) in DEFAULT {
            let stat = &seen[format!("stat {path}").as_str()];
            assert_eq!(stat["type"], "c", "{path}");
            assert_eq!((&stat["major"], &stat["minor"]), (&json!(major), &json!(minor)), "{path}");
            assert_eq!(stat["mode"], "0666", "{path}");
            assert_eq!((&stat["uid"], &stat["gid"]), (&json!(0), &json!(0)), "{path}");
        }
        for ask in &more[..3] {
            assert_eq!(seen[*ask], "ok", "{ask}");
        }
    });
}

#[test]
fn default_symlinks_are_there() {
    obeys("runtime-linux.md#dev-symbolic-links", |lab| {
        let links = [
            ("/dev/fd", "/proc/self/fd"),
            ("/dev/stdin", "/proc/self/fd/0"),
            ("/dev/stdout", "/proc/self/fd/1"),
            ("/dev/stderr", "/proc/self/fd/2"),
        ];
        let asks = links.map(|(path, _)| format!("readlink {path}"));
        let seen = with_dev(lab.bundle()).ask(asks.iter().map(String::as_str).chain(["readlink /dev/ptmx"]));
        for ((path, target), ask) in links.iter().zip(&asks) {
            assert_eq!(seen[ask.as_str()], *target, "{path}");
        }
        let ptmx = seen["readlink /dev/ptmx"].as_str().unwrap();
        assert!(["pts/ptmx", "/dev/pts/ptmx"].contains(&ptmx), "{ptmx}");
    });
}

#[test]
fn a_new_terminal_can_be_opened() {
    obeys("config-linux.md#default-devices", |lab| {
        let seen = with_dev(lab.bundle()).ask(["open /dev/ptmx rw", "open /dev/pts/ptmx rw"]);
        assert_eq!(seen["open /dev/ptmx rw"], "ok");
    });
}

#[test]
fn configured_devices_are_made() {
    obeys("config-linux.md#devices", |lab| {
        let devices = json!([
            { "path": "/dev/one", "type": "c", "major": 1, "minor": 3, "fileMode": 0o640, "uid": 7, "gid": 8 },
            { "path": "/dev/block", "type": "b", "major": 7, "minor": 200, "fileMode": 0o600 },
            { "path": "/dev/deep/pipe", "type": "p", "fileMode": 0o622 },
            { "path": "/dev/unbuffered", "type": "u", "major": 1, "minor": 5 },
        ]);
        let asks = ["stat /dev/one", "stat /dev/block", "stat /dev/deep/pipe", "stat /dev/unbuffered"];
        let seen = with_dev(lab.bundle()).set("/linux/devices", devices).ask(asks);
        let is = |ask: &str, kind: &str, numbers: (u32, u32), mode: &str, ids: (u32, u32)| {
            let s = &seen[ask];
            let expected = json!([kind, numbers.0, numbers.1, mode, ids.0, ids.1]);
            assert_eq!(
                json!([s["type"], s["major"], s["minor"], s["mode"], s["uid"], s["gid"]]),
                expected,
                "{ask}"
            );
        };
        is("stat /dev/one", "c", (1, 3), "0640", (7, 8));
        is("stat /dev/block", "b", (7, 200), "0600", (0, 0));
        is("stat /dev/deep/pipe", "p", (0, 0), "0622", (0, 0));
        assert_eq!(seen["stat /dev/unbuffered"]["type"], "c");
    });
}

#[test]
fn a_file_mode_may_have_the_type_in_it() {
    obeys("config-linux.md#devices", |lab| {
        // Engines copy st_mode from a device of the host.
        let device =
            json!([{ "path": "/dev/one", "type": "c", "major": 1, "minor": 3, "fileMode": 0o20_640 }]);
        let seen = with_dev(lab.bundle()).set("/linux/devices", device).ask(["stat /dev/one"]);
        let stat = &seen["stat /dev/one"];
        assert_eq!((&stat["type"], &stat["mode"]), (&json!("c"), &json!("0640")));
    });
}

#[test]
fn a_configured_device_may_replace_a_default_one() {
    obeys("config-linux.md#devices", |lab| {
        let device = json!([{ "path": "/dev/null", "type": "c", "major": 1, "minor": 3, "fileMode": 0o600, "uid": 9 }]);
        let seen = with_dev(lab.bundle()).set("/linux/devices", device).ask(["stat /dev/null"]);
        let stat = &seen["stat /dev/null"];
        assert_eq!((&stat["mode"], &stat["uid"]), (&json!("0600"), &json!(9)));
    });
}

#[test]
fn a_wrong_device_is_refused() {
    obeys("config-linux.md#devices", |lab| {
        let wrong = [
            json!({ "path": "/dev/x", "type": "x", "major": 1, "minor": 3 }),
            json!({ "path": "/dev/x", "major": 1, "minor": 3 }),
        ];
        for device in wrong {
            with_dev(lab.bundle()).set("/linux/devices", json!([device])).run().fails();
        }
    });
}

/// What opening gives for /dev/null, for a character device and for a block device. No driver has the numbers of the
/// last two (501:7), so ENXIO means allowed.
fn opened(b: Bundle) -> [String; 3] {
    let devices = json!([
        { "path": "/dev/char", "type": "c", "major": 501, "minor": 7 },
        { "path": "/dev/block", "type": "b", "major": 501, "minor": 7 },
    ]);
    let asks = ["open /dev/null r", "open /dev/char r", "open /dev/block r"];
    let seen = with_dev(b).set("/linux/devices", devices).ask(asks);
    asks.map(|ask| seen[ask].as_str().expect("a word").to_owned())
}

#[test]
fn devices_are_denied_but_for_the_default_ones() {
    obeys("config-linux.md#allowed-device-list", |lab| {
        let deny = json!([{ "allow": false, "access": "rwm" }]);
        assert_eq!(opened(rules(lab.bundle(), deny)), ["ok", "EPERM", "EPERM"]);
    });
}

#[test]
fn an_allowed_device_can_be_used() {
    obeys("config-linux.md#allowed-device-list", |lab| {
        let rule = |kind| {
            json!([
                { "allow": false, "access": "rwm" },
                { "allow": true, "type": kind, "major": 501, "minor": 7, "access": "rwm" },
            ])
        };
        assert_eq!(opened(rules(lab.bundle(), rule("c"))), ["ok", "ENXIO", "EPERM"]);
        assert_eq!(opened(rules(lab.bundle(), rule("b"))), ["ok", "EPERM", "ENXIO"]);
    });
}

#[test]
fn access_is_read_and_write_apart() {
    obeys("config-linux.md#allowed-device-list", |lab| {
        for (access, read, write) in
            [("r", "ENXIO", "EPERM"), ("w", "EPERM", "ENXIO"), ("rw", "ENXIO", "ENXIO")]
        {
            let list = json!([
                { "allow": false, "access": "rwm" },
                { "allow": true, "type": "c", "major": 501, "minor": 7, "access": access },
            ]);
            let device =
                json!([{ "path": "/dev/k", "type": "c", "major": 501, "minor": 7, "fileMode": 0o666 }]);
            let b = rules(with_dev(lab.bundle()), list).set("/linux/devices", device);
            let seen = b.ask(["open /dev/k r", "open /dev/k w"]);
            assert_eq!(
                (&seen["open /dev/k r"], &seen["open /dev/k w"]),
                (&json!(read), &json!(write)),
                "{access}"
            );
        }
    });
}

#[test]
fn of_several_rules_the_last_that_matches_counts() {
    obeys("config-linux.md#allowed-device-list", |lab| {
        let allow = json!({ "allow": true, "type": "c", "major": 501, "minor": 7, "access": "rwm" });
        let deny = json!({ "allow": false, "type": "c", "major": 501, "minor": 7, "access": "rwm" });
        let all = json!({ "allow": false, "access": "rwm" });
        let open = |list: Value| opened(rules(lab.bundle(), list))[1].clone();
        assert_eq!(open(json!([all, deny, allow])), "ENXIO");
        assert_eq!(open(json!([all, allow, deny])), "EPERM");
        assert_eq!(open(json!([allow, all])), "EPERM");
    });
}

#[test]
fn a_rule_without_a_number_is_for_all_of_them() {
    obeys("config-linux.md#allowed-device-list", |lab| {
        let list = json!([
            { "allow": false, "access": "rwm" },
            { "allow": true, "type": "c", "major": 501, "access": "rwm" },
        ]);
        assert_eq!(opened(rules(lab.bundle(), list)), ["ok", "ENXIO", "EPERM"]);
        let list = json!([{ "allow": false, "access": "rwm" }, { "allow": true, "access": "rwm" }]);
        assert_eq!(opened(rules(lab.bundle(), list)), ["ok", "ENXIO", "ENXIO"]);
    });
}

#[test]
fn mknod_is_denied_without_the_capability() {
    obeys("config-linux.md#allowed-device-list", |lab| {
        let seen =
            rules(lab.bundle(), json!([{ "allow": true, "access": "rwm" }])).ask(["mknod /tmp/a c 1 3"]);
        assert_eq!(seen["mknod /tmp/a c 1 3"], "EPERM");
    });
}

#[test]
fn what_is_mounted_on_a_node_of_the_host_stays_inside() {
    obeys("config-linux.md#default-devices", |lab| {
        use nix::mount::{MsFlags, mount};
        // As systemd has it; the lab's own /dev is seen by nobody else.
        mount(None::<&str>, "/dev", None::<&str>, MsFlags::MS_SHARED, None::<&str>).expect("share /dev");
        let b = lab.bundle().user_namespace(300_000).caps(&["CAP_SYS_ADMIN"]);
        let b = b.mount("/dev", "tmpfs", "tmpfs", &["mode=755"]);
        let script = "busybox mount -o bind /etc/passwd /dev/full && head -c 4 /dev/full && sleep 100";
        let c = b.args(["busybox", "sh", "-c", script]).container();
        let running = c.command("run", &[]).spawn();
        eventually("the mount inside", || (running.stdout() == "root").then_some(()));
        let full = std::fs::metadata("/dev/full").expect("a device");
        assert!(std::os::unix::fs::FileTypeExt::is_char_device(&full.file_type()));
        c.kill(&["KILL"]).ok();
        running.wait();
    });
}
