//! config-linux.md#control-groups: where the container is, what limits it, and what it sees of that. Version 2 only.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use spec_tests::*;

fn sleeper(lab: &Lab) -> Bundle<'_> {
    lab.bundle().phrases(["sleep"])
}

/// A limit is written to a file of the cgroup, where the controller is there; else the create fails. What sets no
/// limit may succeed without the controller.
#[track_caller]
fn limit(lab: &Lab, controller: &str, pointer: &str, value: Value, file: &str, expected: &str) {
    let b = sleeper(lab).set(&format!("/linux/resources/{pointer}"), value);
    if !machine::controller(controller) {
        if !expected.starts_with("max") {
            b.container().create(&[]).fails();
        }
        return;
    }
    let c = b.create();
    let path = c.cgroup().join(file);
    assert_eq!(fs::read_to_string(&path).expect("a limit").trim(), expected, "{pointer} in {file}");
}

fn is_a_path() {
    needs(!machine::by_systemd(), "cgroupsPath to be a path, and with systemd it is none");
}

#[test]
fn a_container_has_a_cgroup_of_its_own() {
    obeys("config-linux.md#cgroups-path", |lab| {
        let (a, b) = (sleeper(lab).create(), sleeper(lab).create());
        assert_ne!(a.cgroup(), b.cgroup());
        assert_ne!(a.cgroup(), lab.cgroups(), "not the root");
        let procs = fs::read_to_string(a.cgroup().join("cgroup.procs")).unwrap();
        assert_eq!(procs.trim(), a.pid().to_string());
    });
}

#[test]
fn an_absolute_path_is_below_the_mount_point() {
    obeys("config-linux.md#cgroups-path", |lab| {
        is_a_path();
        let name = lab.fresh("absolute");
        let c = sleeper(lab).set("/linux/cgroupsPath", format!("/{name}")).create();
        assert_eq!(c.cgroup(), lab.cgroups().join(&name));
        c.delete(&["--force"]).ok();
        assert!(!lab.cgroups().join(&name).exists(), "it is removed");
    });
}

#[test]
fn a_path_is_made_with_its_parents() {
    obeys("config-linux.md#cgroups-path", |lab| {
        is_a_path();
        let top = lab.cgroups().join(lab.fresh("top"));
        fs::create_dir(&top).unwrap();
        let path = format!("/{}/middle/leaf", top.file_name().unwrap().to_str().unwrap());
        let c = sleeper(lab).set("/linux/cgroupsPath", path).create();
        assert_eq!(c.cgroup(), top.join("middle/leaf"));
        c.delete(&["--force"]).ok();
        assert!(!top.join("middle/leaf").exists());
        let _ = fs::remove_dir(top.join("middle"));
        fs::remove_dir(&top).unwrap();
    });
}

#[test]
fn a_relative_path_is_at_the_same_place_each_time() {
    obeys("config-linux.md#cgroups-path", |lab| {
        is_a_path();
        let name = lab.fresh("relative");
        let place = || sleeper(lab).set("/linux/cgroupsPath", name.as_str()).create().cgroup();
        let first = place();
        assert!(first.ends_with(&name) && first.starts_with(lab.cgroups()), "{}", first.display());
        assert_eq!(place(), first);
    });
}

#[test]
fn a_path_cannot_leave_the_mount_point() {
    obeys("config-linux.md#cgroups-path", |lab| {
        is_a_path();
        let name = lab.fresh("dots");
        let c = sleeper(lab).set("/linux/cgroupsPath", format!("/../../../../{name}")).container();
        if c.create(&[]).code() == 0 {
            assert_eq!(c.cgroup(), lab.cgroups().join(&name));
        }
        // Nothing but a cgroup file system would refuse to have this removed.
        let outside = fs::remove_dir(Path::new("/").join(&name));
        assert!(outside.is_err(), "it made /{name}");
    });
}

#[test]
fn memory_limits_are_set() {
    obeys("config-linux.md#memory", |lab| {
        let mib = 1 << 20;
        limit(lab, "memory", "memory/limit", json!(64 * mib), "memory.max", "67108864");
        limit(lab, "memory", "memory/limit", json!(-1), "memory.max", "max");
        limit(lab, "memory", "memory/reservation", json!(32 * mib), "memory.low", "33554432");
        let both = json!({ "limit": 64 * mib, "swap": 96 * mib });
        limit(lab, "memory", "memory", both, "memory.swap.max", "33554432");
    });
}

#[test]
fn cpu_limits_are_set() {
    obeys("config-linux.md#cpu", |lab| {
        limit(lab, "cpu", "cpu", json!({ "quota": 50_000, "period": 200_000 }), "cpu.max", "50000 200000");
        limit(lab, "cpu", "cpu", json!({ "quota": -1 }), "cpu.max", "max 100000");
        limit(lab, "cpu", "cpu", json!({ "quota": 20_000 }), "cpu.max", "20000 100000");
    });
}

#[test]
fn cpu_shares_become_a_weight() {
    obeys("config-linux.md#cpu", |lab| {
        for (shares, weight) in [(2, "1"), (262_144, "10000"), (2048, "174")] {
            limit(lab, "cpu", "cpu/shares", json!(shares), "cpu.weight", weight);
        }
    });
}

#[test]
fn cpu_idle_and_burst_are_set() {
    obeys("config-linux.md#cpu", |lab| {
        limit(lab, "cpu", "cpu/idle", json!(1), "cpu.idle", "1");
        let burst = json!({ "quota": 50_000, "period": 100_000, "burst": 10_000 });
        limit(lab, "cpu", "cpu", burst, "cpu.max.burst", "10000");
    });
}

#[test]
fn cpus_and_memory_nodes_are_set() {
    obeys("config-linux.md#cpu", |lab| {
        limit(lab, "cpuset", "cpu/cpus", json!("0"), "cpuset.cpus", "0");
        limit(lab, "cpuset", "cpu/mems", json!("0"), "cpuset.mems", "0");
    });
}

#[test]
fn the_number_of_processes_is_limited() {
    obeys("config-linux.md#pids", |lab| {
        limit(lab, "pids", "pids/limit", json!(17), "pids.max", "17");
        limit(lab, "pids", "pids/limit", json!(-1), "pids.max", "max");
    });
}

#[test]
fn block_io_limits_are_set() {
    obeys("config-linux.md#block-io", |lab| {
        limit(lab, "io", "blockIO/weight", json!(500), "io.weight", "default 4950");
    });
}

fn huge_pages(lab: &Lab, file: &str) {
    needs(fs::exists("/sys/kernel/mm/hugepages/hugepages-2048kB").unwrap(), "huge pages of 2 MiB");
    let list = json!([{ "pageSize": "2MB", "limit": 4_194_304 }]);
    limit(lab, "hugetlb", "hugepageLimits", list, file, "4194304");
}

#[test]
fn huge_pages_are_limited() {
    obeys("config-linux.md#huge-page-limits", |lab| huge_pages(lab, "hugetlb.2MB.max"));
}

#[test]
fn reservations_of_huge_pages_are_limited() {
    obeys("config-linux.md#huge-page-limits", |lab| huge_pages(lab, "hugetlb.2MB.rsvd.max"));
}

#[test]
fn a_page_size_that_is_none_is_refused() {
    obeys("config-linux.md#huge-page-limits", |lab| {
        let list = json!([{ "pageSize": "3MB", "limit": 4_194_304 }]);
        sleeper(lab).set("/linux/resources/hugepageLimits", list).container().create(&[]).fails();
    });
}

#[test]
fn unified_files_are_written() {
    obeys("config-linux.md#unified", |lab| {
        // Files that every cgroup has, whatever the controllers.
        let unified = json!({ "cgroup.max.descendants": "5", "cgroup.max.depth": "3" });
        let c = sleeper(lab).set("/linux/resources/unified", unified).create();
        let read = |file: &str| fs::read_to_string(c.cgroup().join(file)).unwrap();
        assert_eq!(
            (read("cgroup.max.descendants").as_str(), read("cgroup.max.depth").as_str()),
            ("5\n", "3\n")
        );
    });
}

#[test]
fn a_unified_file_that_cannot_be_written_fails_the_create() {
    obeys("config-linux.md#unified", |lab| {
        for (key, value) in [("nosuch.file", "1"), ("cgroup.max.depth", "nonsense"), ("memory.nosuch", "1")] {
            let b = sleeper(lab).set(&format!("/linux/resources/unified/{key}"), value);
            b.container().create(&[]).fails_saying(&[key.split('.').next().unwrap()]);
        }
    });
}

#[test]
fn a_unified_file_is_one_of_the_cgroup_itself() {
    obeys("config-linux.md#unified", |lab| {
        let other = lab.cgroups().join(lab.fresh("other"));
        fs::create_dir(&other).unwrap();
        let name = other.file_name().unwrap().to_str().unwrap();
        let key = format!("../{name}/cgroup.max.depth");
        sleeper(lab).set("/linux/resources/unified", json!({ key: "3" })).container().create(&[]).fails();
        let depth = fs::read_to_string(other.join("cgroup.max.depth")).unwrap();
        fs::remove_dir(&other).unwrap();
        assert_eq!(depth, "max\n");
    });
}

#[test]
fn with_a_cgroup_namespace_the_own_cgroup_is_the_root() {
    obeys("config-linux.md#namespaces", |lab| {
        let v2 = |seen: &Inside| {
            let lines = seen["cgroup"].as_array().unwrap();
            lines.iter().filter_map(|l| l.as_str()?.strip_prefix("0::").map(str::to_owned)).next().unwrap()
        };
        assert_eq!(v2(&lab.bundle().ask(["cgroup"])), "/");
        assert_ne!(v2(&lab.bundle().without_namespace("cgroup").ask(["cgroup"])), "/");
    });
}

#[test]
fn a_cgroup_mount_shows_the_own_cgroup() {
    obeys("config-linux.md#control-groups", |lab| {
        let b = lab.bundle().mount("/sys", "sysfs", "sysfs", &["ro"]);
        let b = b.mount("/sys/fs/cgroup", "cgroup", "cgroup", &["nosuid", "noexec", "nodev"]);
        let seen = b.ask(["mounts", "read /sys/fs/cgroup/cgroup.procs", "mkdir /sys/fs/cgroup/sub"]);
        assert_eq!(seen.mount("/sys/fs/cgroup").unwrap().0["type"], "cgroup2");
        assert_eq!(seen["read /sys/fs/cgroup/cgroup.procs"], "1\n");
        assert_eq!(seen["mkdir /sys/fs/cgroup/sub"], "ok");
    });
}

#[test]
fn a_readonly_cgroup_mount_cannot_be_written() {
    obeys("config-linux.md#control-groups", |lab| {
        let mkdir = "mkdir /sys/fs/cgroup/sub";
        for b in [lab.bundle(), lab.bundle().without_namespace("cgroup")] {
            let b = b.mount("/sys", "sysfs", "sysfs", &["ro"]).mount(
                "/sys/fs/cgroup",
                "cgroup",
                "cgroup",
                &["ro"],
            );
            let seen = b.ask(["mounts", mkdir]);
            assert_eq!(seen.mount("/sys/fs/cgroup").unwrap().0["type"], "cgroup2");
            assert_eq!(seen[mkdir], "EROFS");
        }
    });
}

#[test]
fn a_writable_cgroup_belongs_to_the_containers_user() {
    obeys("config-linux.md#cgroup-ownership", |lab| {
        let owner = |c: &Container, file: &str| fs::metadata(c.cgroup().join(file)).unwrap().uid();
        for uid in [0, 1000] {
            let c = writable(sleeper(lab).user_namespace(300_000), uid).create();
            let expected = 300_000 + uid;
            for file in ["", "cgroup.procs", "cgroup.subtree_control"] {
                assert_eq!(owner(&c, file), expected, "{file}");
            }
            let given = delegates("cgroup.kill");
            assert_eq!(owner(&c, "cgroup.kill"), if given { expected } else { 0 });
        }
        let c = writable(sleeper(lab), 1000).create();
        assert_eq!(owner(&c, "cgroup.procs"), 1000, "without a user namespace");
        let c = sleeper(lab).user_namespace(300_000).create();
        assert_eq!(owner(&c, ""), 0, "only if it is mounted writably");
    });
}

#[test]
fn a_writable_cgroup_belongs_to_the_user_of_a_joined_namespace() {
    obeys("config-linux.md#cgroup-ownership", |lab| {
        let first = sleeper(lab).user_namespace(300_000).create();
        let path = format!("/proc/{}/ns/user", first.pid());
        let b = sleeper(lab).user_namespace(300_000).namespace("user", Some(&path));
        let c = writable(b, 1000).create();
        let owner = fs::metadata(c.cgroup().join("cgroup.procs")).unwrap().uid();
        assert_eq!(owner, 301_000);
    });
}

/// With the cgroup mounted, and as this user.
fn writable(bundle: Bundle<'_>, uid: u32) -> Bundle<'_> {
    bundle
        .mount("/sys", "sysfs", "sysfs", &["ro"])
        .mount("/sys/fs/cgroup", "cgroup", "cgroup", &["rw"])
        .set("/process/user/uid", uid)
}

/// Whether the kernel says that a file is given away with a cgroup.
fn delegates(file: &str) -> bool {
    fs::read_to_string("/sys/kernel/cgroup/delegate").is_ok_and(|list| list.lines().any(|l| l == file))
}

/// A cgroup of which once all were killed, with who comes to be in it: so it is for what a service manager starts again.
struct Killed(PathBuf);

impl Killed {
    fn new(lab: &Lab) -> Killed {
        // Not the hierarchy's root above it, which may not be the caller's.
        let caller = lab.cgroups().join(lab.fresh("killed")).join("caller");
        fs::create_dir_all(&caller).expect("a cgroup");
        let killed = Killed(caller);
        needs(killed.0.join("cgroup.kill").exists(), "cgroup.kill (Linux 5.14)");
        fs::write(killed.0.join("cgroup.kill"), "1").expect("kill nobody");
        killed
    }

    /// The command from in there.
    fn call<'a>(&self, command: Command<'a>) -> Command<'a> {
        let procs = self.0.join("cgroup.procs");
        command.through(&format!("sh -c 'echo $$ >{} && exec \"$0\" \"$@\"'", procs.display()))
    }
}

impl Drop for Killed {
    fn drop(&mut self) {
        let gone = |dir: &Path| {
            eventually("a cgroup is empty", || (fs::remove_dir(dir).is_ok() || !dir.exists()).then_some(()))
        };
        gone(&self.0);
        gone(self.0.parent().expect("its parent"));
    }
}

#[test]
fn who_is_in_a_cgroup_that_was_once_killed_makes_containers() {
    obeys("config-linux.md#cgroups-path", |lab| {
        let killed = Killed::new(lab);
        let ask = lab.bundle().phrases(["cgroup", "pid"]).container();
        let seen = killed.call(ask.command("run", &[])).run().ok();
        assert_eq!(Inside::parse(&seen.stdout())["pid"], 1);
        if machine::controller("pids") {
            let alone = lab.bundle().set("/linux/resources/pids/limit", 1).args(["sleep", "600"]).container();
            killed.call(alone.command("create", &[])).run().ok();
            alone.start().ok();
            killed.call(lab.command(["exec", &alone.id, "true"])).run().fails();
        }

        let c = sleeper(lab).container();
        killed.call(c.command("create", &[])).run().ok();
        assert_ne!(c.cgroup(), killed.0, "it has its own");
        assert_eq!(
            fs::read_to_string(c.cgroup().join("cgroup.procs")).unwrap().trim(),
            c.pid().to_string(),
            "and nobody else is in there"
        );
        c.start().ok();
        let echo = lab.command(["exec", &c.id, "echo", "hello"]);
        assert_eq!(killed.call(echo).run().ok().stdout(), "hello\n");
        let false_ = lab.command(["exec", &c.id, "false"]);
        assert_eq!(killed.call(false_).run().code(), 1);
        // Whoever is killed for another reason isn't tried again for ever.
        c.kill(&["KILL"]).ok();
        c.wait_for("stopped");
        killed.call(lab.command(["exec", &c.id, "true"])).run().fails();
    });
}

/// The other way round: the container's cgroup is one that was there before, and whose processes were killed.
#[test]
fn a_cgroup_that_was_once_killed_takes_a_container() {
    obeys("config-linux.md#cgroups-path", |lab| {
        is_a_path();
        let killed = Killed::new(lab);
        let path = killed.0.strip_prefix(lab.cgroups()).expect("below");
        let path = format!("/{}", path.display());
        let c = lab.bundle().set("/linux/cgroupsPath", path).phrases(["sleep"]).create();
        assert_eq!(c.cgroup(), killed.0);
        c.start().ok();
        assert_eq!(lab.run(["exec", &c.id, "echo", "hello"]).ok().stdout(), "hello\n");
    });
}

#[test]
fn in_a_user_namespace_from_a_cgroup_that_was_once_killed() {
    obeys("config-linux.md#user-namespace-mappings", |lab| {
        let killed = Killed::new(lab);
        let c = sleeper(lab).user_namespace(300_000).container();
        killed.call(c.command("create", &[])).run().ok();
        let path = |kind: &str| format!("/proc/{}/ns/{kind}", c.pid());
        let b = sleeper(lab).user_namespace(300_000).namespace("user", Some(&path("user")));
        let b = b.namespace("pid", Some(&path("pid"))).without("/linux/uidMappings");
        let joined = b.without("/linux/gidMappings").container();
        killed.call(joined.command("create", &[])).run().ok();
        joined.start().ok();
        let procs = fs::read_to_string(joined.cgroup().join("cgroup.procs")).unwrap();
        assert_eq!(procs.trim(), joined.pid().to_string());
        let echo = lab.command(["exec", &joined.id, "echo", "hello"]);
        assert_eq!(killed.call(echo).run().ok().stdout(), "hello\n");
    });
}
