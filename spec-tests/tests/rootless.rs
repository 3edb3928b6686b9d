//! Containers that are made without root's rights: by a user who has no capability, and by the root of a user namespace.

use std::fs;
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::Path;

use serde_json::{Value, json};
use spec_tests::user::{SUBORDINATE, UID, give};
use spec_tests::*;

const NAMESPACES: &str = "config-linux.md#user-namespace-mappings";
const MOUNTS: &str = "config.md#mounts";
const CGROUPS: &str = "config-linux.md#control-groups";
const LIFE: &str = "runtime.md#lifecycle";

/// Root is the user, the next 1000 ids are subordinate ones.
fn with_subordinates(bundle: Bundle) -> Bundle {
    let map = json!([
        { "containerID": 0, "hostID": UID, "size": 1 },
        { "containerID": 1, "hostID": SUBORDINATE, "size": 1000 },
    ]);
    bundle.set("/linux/uidMappings", map.clone()).set("/linux/gidMappings", map)
}

/// The lines of a map in /proc, each as its numbers.
fn map(text: &Value) -> Vec<Vec<u32>> {
    let lines = text.as_str().unwrap_or_default().lines();
    let numbers = |line: &str| line.split_whitespace().flat_map(str::parse).collect();
    lines.map(numbers).collect()
}

#[test]
fn the_written_configuration_runs() {
    obeys(LIFE, |lab| {
        lab.become_user();
        let bundle = lab.bundle().args(["true"]);
        bundle.write();
        let config = bundle.dir().join("config.json");
        fs::remove_file(&config).expect("remove");
        lab.command(["spec", "--rootless"]).cwd(bundle.dir()).run().ok();
        let mut written: Value =
            serde_json::from_slice(&fs::read(&config).expect("config.json")).expect("JSON");
        written["process"]["terminal"] = json!(false);
        written["process"]["args"] = json!(["/bin/inside", "ids", "mounts", "open /dev/null rw"]);
        let mut bundle = bundle;
        bundle.config = written;
        let inside = Inside::parse(&bundle.run().ok().stdout());
        assert_eq!((&inside["ids"]["uid"], &inside["ids"]["gid"]), (&json!(0), &json!(0)));
        for (at, kind) in
            [("/proc", "proc"), ("/dev/pts", "devpts"), ("/dev/mqueue", "mqueue"), ("/sys", "sysfs")]
        {
            let mounts = inside["mounts"].as_array().expect("mounts");
            assert!(mounts.iter().any(|m| m["at"] == at && m["type"] == kind), "{kind} on {at}: {mounts:?}");
        }
        assert!(inside.mount("/sys").is_some_and(|m| m.has("ro")));
    });
}

#[test]
fn create_start_kill_delete() {
    obeys(LIFE, |lab| {
        lab.become_user();
        let container = lab.bundle().args(["sleep", "600"]).create();
        assert_eq!(container.status(), "created");
        container.start().ok();
        assert_eq!(container.status(), "running");
        let list = lab.run(["list", "-q"]).ok().stdout();
        assert_eq!(list.trim(), container.id);
        let uid = fs::metadata(format!("/proc/{}", container.pid())).expect("the process");
        assert_eq!(std::os::unix::fs::MetadataExt::uid(&uid), UID);
        container.kill(&["KILL"]).ok();
        container.wait_for("stopped");
        container.delete(&[]).ok();
        lab.run(["state", &container.id]).fails();
    });
}

#[test]
fn exec_enters_it() {
    obeys(LIFE, |lab| {
        lab.become_user();
        let container = lab.bundle().args(["sleep", "600"]).start();
        let ran = lab.run(["exec", &container.id, "/bin/inside", "ids", "ns", "pid"]).ok();
        let inside = Inside::parse(&ran.stdout());
        assert_eq!(inside["ids"]["uid"], 0);
        let own =
            |kind: &str| fs::read_link(format!("/proc/{}/ns/{kind}", container.pid())).expect("a namespace");
        for kind in ["user", "mnt", "pid", "net", "ipc", "uts"] {
            assert_eq!(inside["ns"][kind].as_str(), own(kind).to_str(), "{kind}");
        }
        assert_ne!(inside["pid"], 1);
    });
}

#[test]
fn a_single_id_takes_no_helper() {
    obeys(NAMESPACES, |lab| {
        lab.become_user();
        let bundle = lab.bundle().phrases([
            "read /proc/self/uid_map",
            "read /proc/self/gid_map",
            "read /proc/self/setgroups",
        ]);
        let container = bundle.container();
        let ran = container.command("run", &[]).env("PATH", "/nowhere").run().ok();
        let inside = Inside::parse(&ran.stdout());
        let maps = inside.all("read /proc/self/uid_map").iter().chain(inside.all("read /proc/self/gid_map"));
        for found in maps {
            assert_eq!(map(found), [[0, UID, 1]]);
        }
        assert_eq!(inside["read /proc/self/setgroups"], "deny\n");
    });
}

#[test]
fn more_ids_come_from_newuidmap() {
    obeys(NAMESPACES, |lab| {
        lab.become_user();
        let bundle = with_subordinates(lab.bundle()).set("/process/user", json!({ "uid": 500, "gid": 400 }));
        let inside = bundle.ask(["read /proc/self/uid_map", "read /proc/self/gid_map", "ids"]);
        for file in ["uid_map", "gid_map"] {
            let found = map(&inside[format!("read /proc/self/{file}").as_str()]);
            assert_eq!(found, [[0, UID, 1], [1, SUBORDINATE, 1000]], "{file}");
        }
        assert_eq!(inside["ids"]["uid"], 500);
    });
}

#[test]
fn additional_groups_are_subordinate_ones() {
    obeys("config.md#posix-platform-user", |lab| {
        lab.become_user();
        let user = json!({ "uid": 0, "gid": 0, "additionalGids": [7] });
        let inside = with_subordinates(lab.bundle()).set("/process/user", user).ask(["ids"]);
        assert_eq!(inside["ids"]["groups"], json!([7]));
    });
}

#[test]
fn a_range_of_others_is_refused() {
    obeys(NAMESPACES, |lab| {
        lab.become_user();
        let map = json!([
            { "containerID": 0, "hostID": UID, "size": 1 },
            { "containerID": 1, "hostID": SUBORDINATE - 5, "size": 10 },
        ]);
        let bundle = lab.bundle().set("/linux/uidMappings", map);
        bundle.run().fails_saying(&["newuidmap"]);
    });
}

#[test]
fn without_newuidmap_there_is_one_id_only() {
    obeys(NAMESPACES, |lab| {
        lab.become_user();
        let container = with_subordinates(lab.bundle()).container();
        let ran = container.command("run", &[]).env("PATH", "/nowhere").run();
        ran.fails_saying(&["newuidmap", "uid_map", "mapping"]);
    });
}

#[test]
fn a_user_namespace_is_needed() {
    obeys(NAMESPACES, |lab| {
        lab.become_user();
        let bundle = lab.bundle().without_namespace("user");
        let bundle = bundle.without("/linux/uidMappings").without("/linux/gidMappings");
        bundle.run().fails_saying(&["user namespaces", "permission denied", "not permitted"]);
    });
}

#[test]
fn all_capabilities_can_be_granted() {
    obeys("config.md#linux-process", |lab| {
        lab.become_user();
        let inside = lab.bundle().caps(&["CAP_SYS_ADMIN", "CAP_NET_RAW", "CAP_SYS_RESOURCE"]).ask(["caps"]);
        let expected = ["CAP_NET_RAW", "CAP_SYS_ADMIN", "CAP_SYS_RESOURCE"].into_iter().collect();
        for set in ["CapEff", "CapPrm", "CapBnd"] {
            assert_eq!(inside.caps(set), expected, "{set}");
        }
    });
}

#[test]
fn default_devices_work() {
    obeys("config-linux.md#default-devices", |lab| {
        lab.become_user();
        let bundle = lab.bundle().mount("/dev", "tmpfs", "tmpfs", &["nosuid", "mode=755"]);
        let inside =
            bundle.ask(["write /dev/null x", "open /dev/zero r", "write /dev/full x", "stat /dev/urandom"]);
        assert_eq!(inside["write /dev/null x"], "ok");
        assert_eq!(inside["open /dev/zero r"], "ok");
        assert_eq!(inside["write /dev/full x"], "ENOSPC");
        assert_eq!(inside["stat /dev/urandom"]["type"], "c");
    });
}

#[test]
fn a_bind_may_lie_where_only_the_user_gets() {
    obeys(MOUNTS, |lab| {
        lab.become_user();
        let home = lab.dir().join("home");
        fs::create_dir_all(home.join("data")).expect("a directory");
        fs::write(home.join("data/file"), "here").expect("a file");
        fs::set_permissions(home.join("data/file"), fs::Permissions::from_mode(0o666)).expect("chmod");
        give(&home, UID);
        fs::set_permissions(&home, fs::Permissions::from_mode(0o700)).expect("chmod");
        // The container's root is none of the ids that get through.
        let map = json!([{ "containerID": 0, "hostID": SUBORDINATE, "size": 1000 }]);
        let source = home.join("data").to_string_lossy().into_owned();
        let bundle = lab.bundle().mount("/tmp", "", &source, &["bind", "ro"]);
        let bundle = bundle.set("/linux/uidMappings", map.clone()).set("/linux/gidMappings", map);
        let bundle = bundle.mount("/dev", "tmpfs", "tmpfs", &["nosuid"]);
        let inside = bundle.ask(["read /tmp/file", "write /tmp/file x"]);
        assert_eq!(inside["read /tmp/file"], "here");
        assert_eq!(inside["write /tmp/file x"], "EROFS");
    });
}

#[test]
fn a_bind_keeps_what_the_host_has_locked() {
    obeys(MOUNTS, |lab| {
        lab.become_user();
        let source = lab.dir().join("locked");
        fs::create_dir(&source).expect("a directory");
        let at = source.to_string_lossy().into_owned();
        let mount = std::process::Command::new("mount")
            .args(["-t", "tmpfs", "-o", "nosuid,nodev,noexec,ro", "tmpfs", &at])
            .status();
        assert!(mount.is_ok_and(|s| s.success()), "mount a tmpfs");
        let inside = lab.bundle().mount("/tmp", "", &at, &["rbind", "nosuid"]).ask(["mounts"]);
        let refused = lab.bundle().mount("/tmp", "", &at, &["rbind", "rw", "exec"]).run();
        let found = inside.mount("/tmp").expect("a mount");
        let umount = std::process::Command::new("umount").arg(&at).status();
        assert!(umount.is_ok_and(|s| s.success()), "unmount it");
        for option in ["nosuid", "nodev", "noexec", "ro"] {
            assert!(found.has(option), "{option} of {found:?}");
        }
        refused.fails_saying(&["operation not permitted"]);
    });
}

#[test]
fn sysfs_goes_with_a_network_of_its_own() {
    obeys(MOUNTS, |lab| {
        lab.become_user();
        let sysfs = |bundle: Bundle| {
            bundle.mount("/sys", "sysfs", "sysfs", &["nosuid", "noexec", "nodev", "ro"]).run().code()
        };
        assert_eq!(sysfs(lab.bundle().args(["true"])), 0);
        let bound = lab.bundle().without_namespace("network").mount("/sys", "none", "/sys", &["rbind", "ro"]);
        assert!(bound.ask(["mounts"]).mount("/sys").is_some());
    });
}

#[test]
fn without_a_cgroup_namespace_cgroups_are_not_writable() {
    obeys("config-linux.md#cgroup-ownership", |lab| {
        lab.become_user();
        let bundle = lab.bundle().without_namespace("cgroup");
        let bundle = bundle.mount("/sys", "none", "/sys", &["rbind", "ro"]);
        let bundle = bundle.mount(
            "/sys/fs/cgroup",
            "cgroup",
            "cgroup",
            &["nosuid", "noexec", "nodev", "relatime", "ro"],
        );
        let inside = bundle.ask(["mkdir /sys/fs/cgroup/new", "mounts"]);
        assert_eq!(inside["mkdir /sys/fs/cgroup/new"], "EROFS");
        assert!(inside.mount("/sys/fs/cgroup").is_some_and(|m| m.has("ro")));
    });
}

#[test]
fn no_limit_needs_no_cgroup() {
    obeys(CGROUPS, |lab| {
        lab.become_user();
        let container = lab.bundle().args(["sleep", "600"]).start();
        container.kill(&["KILL"]).ok();
        container.wait_for("stopped");
        container.delete(&[]).ok();
    });
}

#[test]
fn a_limit_that_cannot_be_set_is_an_error() {
    obeys(CGROUPS, |lab| {
        lab.become_user();
        let bundle = lab.bundle().args(["true"]).set("/linux/resources/pids/limit", 20);
        bundle.run().fails_saying(&["cgroup"]);
    });
}

#[test]
fn a_cgroup_that_cannot_be_made_is_an_error() {
    obeys(CGROUPS, |lab| {
        lab.become_user();
        let path = format!("/{}/not-mine", lab.tag());
        lab.bundle()
            .args(["true"])
            .set("/linux/cgroupsPath", path)
            .run()
            .fails_saying(&["permission denied"]);
    });
}

/// As systemd delegates: a directory of the user's own, with the caller in a leaf of it.
fn with_delegated_cgroup(lab: &Lab, test: impl FnOnce(&Path, &Path)) {
    lab.become_user();
    let top = lab.cgroups().join(lab.fresh("delegated"));
    let leaf = top.join("caller");
    fs::create_dir_all(&leaf).expect("a cgroup");
    for dir in [&top, &leaf] {
        for file in ["", "cgroup.procs", "cgroup.subtree_control", "cgroup.threads"] {
            chown(dir.join(file), Some(UID), Some(UID)).expect("chown");
        }
    }
    lab.enter_cgroup(&leaf);
    test(&top, &leaf);
    let is_empty =
        || fs::read_to_string(leaf.join("cgroup.procs")).is_ok_and(|text| text.is_empty()).then_some(());
    eventually("the caller's cgroup is empty", is_empty);
    fs::remove_dir(&leaf).and_then(|()| fs::remove_dir(&top)).expect("remove");
}

#[test]
fn a_delegated_cgroup_is_used() {
    obeys(CGROUPS, |lab| {
        with_delegated_cgroup(lab, |top, leaf| {
            let container = lab.bundle().args(["sleep", "600"]).start();
            let cgroup = container.cgroup();
            assert!(cgroup.starts_with(top) && cgroup != leaf, "{cgroup:?}");
            container.delete(&["--force"]).ok();
            assert!(!cgroup.exists(), "{cgroup:?} is left");
        });
    });
}

/// See `cgroup`: as when the user's service manager has ended a service and starts it again.
#[test]
fn from_a_delegated_cgroup_that_was_once_killed() {
    obeys(CGROUPS, |lab| {
        with_delegated_cgroup(lab, |_, leaf| {
            fs::write(leaf.join("cgroup.kill"), "1").expect("cgroup.kill (Linux 5.14)");
            let container = lab.bundle().args(["sleep", "600"]).start();
            assert_ne!(container.cgroup(), leaf);
            assert_eq!(lab.run(["exec", &container.id, "echo", "hello"]).ok().stdout(), "hello\n");
            container.delete(&["--force"]).ok();
        });
    });
}

#[test]
fn the_oom_score_can_be_raised_alone() {
    obeys("config.md#linux-process", |lab| {
        lab.become_user();
        let bundle = |adj: i32| lab.bundle().set("/process/oomScoreAdj", adj);
        let inside = bundle(700).ask(["read /proc/self/oom_score_adj"]);
        assert_eq!(inside["read /proc/self/oom_score_adj"], "700\n");
        bundle(-999).args(["true"]).run().fails_saying(&["oom_score_adj"]);
    });
}

#[test]
fn hooks_run_as_the_user() {
    obeys("config.md#posix-platform-hooks", |lab| {
        lab.become_user();
        let answers = lab.dir().join("run/hook");
        let to = format!("to {}", answers.display());
        lab.bundle().hook("createRuntime", ["stdin", to.as_str(), "ids"]).args(["true"]).run().ok();
        let inside = Inside::parse(&fs::read_to_string(&answers).expect("the hook's answers"));
        assert_eq!(inside["ids"]["uid"], UID);
    });
}

#[test]
fn state_is_kept_in_the_runtime_directory() {
    obeys(LIFE, |lab| {
        lab.become_user();
        let bundle = lab.bundle().args(["sleep", "600"]);
        bundle.write();
        let id = lab.fresh("c");
        let dir = bundle.dir().to_string_lossy().into_owned();
        lab.command(["create", "--bundle", &dir, &id]).default_root().run().ok();
        let found: Vec<_> = fs::read_dir(lab.dir().join("run")).expect("run").flatten().collect();
        let own = found.iter().find(|entry| entry.path().join(&id).is_dir());
        let mode = own.map(|entry| entry.metadata().expect("metadata").permissions().mode() & 0o7777);
        lab.command(["delete", "--force", &id]).default_root().run().ok();
        assert_eq!(mode, Some(0o1700));
    });
}

#[test]
fn without_a_runtime_directory_root_must_be_given() {
    obeys(LIFE, |lab| {
        lab.become_user();
        let bundle = lab.bundle().args(["true"]);
        bundle.write();
        let (dir, id) = (bundle.dir().to_string_lossy().into_owned(), lab.fresh("c"));
        let command = lab.command(["run", "--bundle", &dir, &id]).default_root();
        command.env("XDG_RUNTIME_DIR", "").run().fails_saying(&["permission denied"]);
    });
}

#[test]
fn namespaces_of_another_container_are_joined() {
    obeys("config-linux.md#namespaces", |lab| {
        lab.become_user();
        let first = lab.bundle().args(["sleep", "600"]).start();
        let path = |kind: &str| format!("/proc/{}/ns/{kind}", first.pid());
        let second = lab.bundle().without("/linux/uidMappings").without("/linux/gidMappings");
        let kinds = [("user", "user"), ("network", "net"), ("ipc", "ipc"), ("uts", "uts")];
        let second = kinds.iter().fold(second, |b, (kind, file)| b.namespace(kind, Some(&path(file))));
        let inside = second.ask(["ns", "ids"]);
        for (_, file) in kinds {
            let own = fs::read_link(path(file)).expect("a namespace");
            assert_eq!(inside["ns"][file].as_str(), own.to_str(), "{file}");
        }
        assert_eq!(inside["ids"]["uid"], 0);
    });
}

#[test]
fn the_root_of_a_user_namespace_makes_containers() {
    obeys("config-linux.md#user-namespace-mappings", |lab| {
        // The second one is below the first.
        for mounts in [false, true] {
            lab.enter_user_namespace(mounts);
            let bundle = || {
                lab.bundle().mount("/dev", "tmpfs", "tmpfs", &["nosuid"]).mount(
                    "/tmp",
                    "",
                    "/etc",
                    &["rbind", "ro"],
                )
            };
            let ask = ["write /dev/null x", "ids", "mounts", "read /proc/self/uid_map"];
            let same = bundle().ask(ask);
            let nested = bundle().single_user(0).ask(ask);
            for inside in [&same, &nested] {
                assert_eq!(inside["write /dev/null x"], "ok");
                assert_eq!(inside["ids"]["uid"], 0);
                assert!(inside.mount("/tmp").is_some_and(|m| m.has("ro")));
            }
        }
    });
}

#[test]
fn the_root_of_a_user_namespace_joins_and_executes() {
    obeys(LIFE, |lab| {
        lab.enter_user_namespace(true);
        let first = lab.bundle().args(["sleep", "600"]).start();
        let pid = first.pid();
        let ran = lab.run(["exec", &first.id, "/bin/inside", "ns"]).ok();
        let inside = Inside::parse(&ran.stdout());
        let own = |kind: &str| fs::read_link(format!("/proc/{pid}/ns/{kind}")).expect("a namespace");
        assert_eq!(inside["ns"]["pid"].as_str(), own("pid").to_str());
    });
}

#[test]
fn nothing_is_left_of_a_failed_create() {
    obeys(LIFE, |lab| {
        lab.become_user();
        let bundle = lab.bundle().mount("/tmp", "", "/nowhere/at/all", &["bind"]);
        bundle.container().create(&[]).fails();
        let bundle = lab.bundle().mount("/tmp", "tmpfs", "tmpfs", &["size=zz"]);
        bundle.container().create(&[]).fails();
        assert!(is_empty(&lab.root()));
    });
}

fn is_empty(dir: &Path) -> bool {
    let names = fs::read_dir(dir).expect("a directory").flatten().map(|e| e.file_name());
    names.filter(|name| !name.to_string_lossy().starts_with('.')).count() == 0
}

/// The machine's own is as good: its root isn't mapped, so nobody in there can change its mode, owner or times.
#[test]
fn a_masked_file_is_a_null_device() {
    obeys("config-linux.md#masked-paths", |lab| {
        lab.become_user();
        let b = with_subordinates(lab.bundle()).caps(&ALL_CAPS).set("/linux/maskedPaths", ["/proc/version"]);
        let seen = b.ask(["read /proc/version", "stat /proc/version", "chmod 0600 /proc/version"]);
        assert_eq!(seen["read /proc/version"], "");
        let stat = &seen["stat /proc/version"];
        assert_eq!([&stat["type"], &stat["major"], &stat["minor"]], [&json!("c"), &json!(1), &json!(3)]);
        let changed = &seen["chmod 0600 /proc/version"];
        assert!(changed == "EROFS" || changed == "EPERM", "{changed}");
    });
}
