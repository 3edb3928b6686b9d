//! Fields whose failure comes late, or costs the host something: what is said, and that nothing is left behind.

use integration::unharmed;
use serde_json::json;
use spec_tests::{Agent, Bundle, MKDIR};

#[test]
fn a_filter_that_lets_nothing_out_is_told_of() {
    unharmed("SCMP_ACT_NOTIFY", |lab| {
        let path = lab.dir().join("agent.sock");
        let check = |silenced: &[&str], text: &str| {
            let _agent = Agent::listen(&path, &[], 0);
            let profile = json!({ "defaultAction": "SCMP_ACT_ALLOW", "listenerPath": path, "syscalls": [
                { "names": ["mkdir"], "action": "SCMP_ACT_NOTIFY" },
                { "names": silenced, "action": "SCMP_ACT_ERRNO" },
            ]});
            let container = lab.bundle().set("/linux/seccomp", profile).phrases(["print ran"]).container();
            let ran = container
                .run(&[])
                .fails_saying(&["with SCMP_ACT_NOTIFY, linux.seccomp must allow write and read"]);
            assert!(ran.stderr().contains(text), "{silenced:?}: {}", ran.stderr());
            assert!(!ran.stdout().contains("ran"), "{silenced:?}");
            std::fs::remove_file(&path).unwrap();
        };
        check(&["write"], "hand over its listener (step ");
        check(&["write"], "write: operation not permitted");
        check(&["read"], "read: operation not permitted");
        check(&["write", "sendmsg"], "before its listener was handed over");
    });
}

#[test]
fn a_container_waits_for_its_agent() {
    unharmed("SCMP_ACT_NOTIFY", |lab| {
        let path = lab.dir().join("agent.sock");
        let profile = json!({ "defaultAction": "SCMP_ACT_ALLOW", "listenerPath": path, "syscalls": [
            { "names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_NOTIFY" },
        ]});
        drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
        let bundle = lab.bundle().set("/linux/seccomp", profile);
        let container = bundle.phrases(["to /tmp/out", "mkdir /tmp/new"]).create();
        container.start().fails_saying(&["connection refused (the seccomp agent must listen there"]);
        assert_eq!(container.status(), "created");
        std::fs::remove_file(&path).unwrap();
        let agent = Agent::listen(&path, MKDIR, libc::EXDEV);
        container.start().ok();
        let answers = container.wait_for_answer("/tmp/out", "mkdir /tmp/new");
        assert_eq!(answers["mkdir /tmp/new"], "EXDEV");
        agent.told();
    });
}

#[test]
fn a_file_system_that_cannot_be_id_mapped_is_named() {
    unharmed("id-mapped mounts", |lab| {
        let map = json!([{ "containerID": 0, "hostID": 1000, "size": 10 }]);
        let check = |b: Bundle, maps: &serde_json::Value| {
            let mount = json!({ "destination": "/new", "source": "/proc/self", "options": ["bind", "idmap"],
                "uidMappings": maps, "gidMappings": maps });
            let ran = b.set("/mounts/-", mount).container().create(&[]);
            ran.fails_saying(&[
                "mounts[1]: id-map the mount of /proc/self: mount_setattr: invalid argument \
                                (a file system there can't be id-mapped)",
            ]);
        };
        check(lab.bundle(), &map);
        check(lab.bundle().user_namespace(300_000), &map);
        check(lab.bundle().user_namespace(300_000), &json!([]));
    });
}

/// ip(8) in the test's own network namespace, with these words.
fn ip(words: &str) -> String {
    let out = std::process::Command::new("ip").args(words.split(' ')).output().expect("ip");
    assert!(out.status.success(), "ip {words}: {}", String::from_utf8_lossy(&out.stderr));
    String::from_utf8_lossy(&out.stdout).into_owned()
}

#[test]
fn network_devices_return_from_a_container_that_fails() {
    unharmed("netDevices", |lab| {
        for words in [
            "link add lent type veth peer name end",
            "link add idle type veth peer name other",
            "link set lent up",
            "address add 10.1.2.3/24 broadcast 10.1.2.255 dev lent",
            "address add 2001:db8::3/64 nodad dev lent",
            "address add 10.3.3.3/32 dev idle",
        ] {
            ip(words);
        }
        let state = || {
            // Without numbers, which the kernel gives anew, and the link-local address that it makes when a device is up.
            let mut lines: Vec<String> = ip("-oneline address show")
                .lines()
                .filter_map(|line| line.split_once(": ").map(|(_, rest)| rest.to_owned()))
                .filter(|line| !line.contains("fe80:"))
                .collect();
            lines.sort();
            let is_up = |name: &str| ip(&format!("link show {name}")).contains(",UP");
            (lines, is_up("lent"), is_up("idle"))
        };
        let before = state();
        assert!(before.1 && !before.2, "{before:?}");
        let bundle =
            || lab.bundle().set("/linux/netDevices", json!({ "lent": { "name": "eth0" }, "idle": {} }));
        let fails = |b: Bundle, text: &str| {
            b.container().create(&[]).fails_saying(&[text]);
            assert_eq!(state(), before, "{text}");
        };
        fails(bundle().hook("createRuntime", ["exit 1"]), "createRuntime");
        fails(bundle().args(["no-such-program"]), "no-such-program");
        fails(
            bundle().set("/linux/netDevices/nothing", json!({})),
            "linux.netDevices[nothing]: link not found for interface nothing on runtime namespace",
        );
        fails(
            bundle().set("/linux/netDevices/end", json!({ "name": "lo" })),
            "linux.netDevices[end]: move it into the container as lo: RTM_NEWLINK: file exists \
             (the container has a device of this name already)",
        );
        fails(
            lab.bundle().set("/linux/netDevices", json!({ "lent": { "name": "lo" } })),
            "linux.netDevices[lent]: move it into the container as lo: RTM_NEWLINK: file exists",
        );
        let own = format!("/proc/{}/task/{}/ns/net", std::process::id(), nix::unistd::gettid());
        fails(
            bundle().namespace("network", Some(&own)),
            "linux.netDevices: unable to move network devices without a private NET namespace",
        );
    });
}

#[test]
fn mounts_that_cannot_be_added_are_named() {
    unharmed("mounts add", |lab| {
        let container = lab.bundle().phrases(["sleep"]).start();
        let file = lab.dir().join("list.json");
        let refused = |action: &str, list: serde_json::Value, text: &str| {
            std::fs::write(&file, list.to_string()).unwrap();
            let ran = lab.run(["mounts", action, &container.id, file.to_str().unwrap()]);
            let said = format!("rrunc: mounts {action} {}: {text}", container.id);
            ran.fails_saying(&[&said.replace("LIST", file.to_str().unwrap())]);
        };
        let tmpfs = |path: &str, options: &[&str]| json!({ "destination": path, "type": "tmpfs", "options": options });
        refused("add", json!([{ "destination": "a" }, {}]), "LIST: mounts[1].destination: is missing");
        refused(
            "add",
            json!([tmpfs("/", &[]), tmpfs("/tmp", &["tmpcopyup"])]),
            "LIST: mounts[0].destination: is the container's root, which stays; \
             mounts[1].options: \"tmpcopyup\" is for config.json only: the container runs already",
        );
        let bind = json!({ "destination": "/new", "source": "/no/such/file", "options": ["bind"] });
        refused("add", json!([tmpfs("/tmp", &[]), bind]), "mounts[1].source: open /no/such/file: openat2: ");
        refused(
            "add",
            json!([tmpfs("/tmp", &[]), tmpfs("/new", &["size=zz"])]),
            "mounts[1]: make a tmpfs size=zz source=tmpfs (step 6 of 9): fsconfig: invalid argument \
             (the file system refuses one of the options)",
        );
        refused(
            "add",
            json!([tmpfs("/tmp", &[]), tmpfs("/etc/passwd", &[])]),
            "mounts[1]: bind the new tmpfs on /etc/passwd (step 8 of 9): move_mount: invalid argument \
             (a file can't be mounted on a directory, nor a directory on a file)",
        );
        refused(
            "remove",
            json!([tmpfs("/proc", &[]), tmpfs("/tmp", &[])]),
            "mounts[1]: find the mount on /tmp (step 6 of 9): umount2: invalid argument (nothing is mounted there)",
        );
        container.delete(&["--force"]).ok();
        refused("add", json!([tmpfs("/tmp", &[])]), "container does not exist");
    });
}

#[test]
fn an_update_that_fails_changes_nothing() {
    unharmed("update", |lab| {
        let container = lab.bundle().phrases(["sleep"]).start();
        let file = lab.dir().join("resources.json");
        let depth = container.cgroup().join("cgroup.max.depth");
        let update = |options: &[&str], depth: &str| {
            let limits = json!({ "unified": { "cgroup.max.depth": depth, "cgroup.max.descendants": "9" } });
            std::fs::write(&file, limits.to_string()).unwrap();
            let line = ["update", "--resources", file.to_str().unwrap()];
            lab.run(line.iter().chain(options).chain(&[container.id.as_str()]).copied())
        };
        let check = |expected: &str| assert_eq!(std::fs::read_to_string(&depth).unwrap().trim(), expected);
        check("max");
        // Nobody has set it before.
        std::fs::write(&file, r#"{"unified": {"cgroup.max.depth": "7", "cgroup.max.descendants": "x"}}"#)
            .unwrap();
        lab.run(["update", "-r", file.to_str().unwrap(), &container.id])
            .fails_saying(&["linux.resources.unified[cgroup.max.descendants] = \"x\": write"]);
        check("max");
        if !std::path::Path::new("/sys/fs/resctrl/schemata").exists() {
            update(&["--l3-cache-schema", "L3:0=1"], "6").fails_saying(&["no resctrl is mounted here"]);
            check("max");
        }
        update(&[], "5").ok();
        check("5");
    });
}

/// As a file of the largest size can have them: rrunc 0.1.0 took 9 s and 920 MB to fail.
#[test]
fn more_mounts_than_there_can_be_are_refused_at_once() {
    unharmed("config.md#mounts", |lab| {
        let many = |n: usize| serde_json::Value::Array(vec![json!({"destination": "/a"}); n]);
        let c = lab.bundle().set("/mounts", many(300_000)).container();
        let begun = std::time::Instant::now();
        let ran = c.create(&[]).fails_saying(&["mounts: has 300000 entries, 32768 are the most"]);
        // A debug build on a busy machine; what it took was spent on each of the entries.
        assert!(begun.elapsed() < std::time::Duration::from_secs(60), "it took {:?}", begun.elapsed());
        assert!(ran.stderr().len() < 500, "{}", ran.stderr());
    });
}
