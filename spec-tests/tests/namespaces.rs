//! config-linux.md#namespaces: new, inherited, or joined by path; id mappings and time offsets.

use std::fs;
use std::process::{Child, Command};

use serde_json::json;
use spec_tests::*;

/// Types of namespaces, in the specification's words and in those of /proc/self/ns.
const TYPES: [(&str, &str); 6] = [
    ("pid", "pid"),
    ("network", "net"),
    ("ipc", "ipc"),
    ("uts", "uts"),
    ("mount", "mnt"),
    ("cgroup", "cgroup"),
];

/// A process on the host in namespaces of its own. Killed when dropped.
struct Holder(Child);

impl Holder {
    /// `flags` are those of unshare(1).
    fn new(flags: &[&str]) -> Holder {
        let child = Command::new("unshare").args(flags).args(["sleep", "600"]).spawn().expect("unshare(1)");
        let holder = Holder(child);
        eventually("the holder sleeps", || {
            let name = fs::read_to_string(format!("/proc/{}/comm", holder.0.id())).ok()?;
            (name.trim() == "sleep").then_some(())
        });
        holder
    }

    fn path(&self, kind: &str) -> String {
        format!("/proc/{}/ns/{kind}", self.0.id())
    }

    fn id(&self, kind: &str) -> String {
        link(&self.path(kind))
    }
}

impl Drop for Holder {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn link(path: &str) -> String {
    fs::read_link(path).unwrap_or_else(|e| panic!("{path}: {e}")).to_string_lossy().into_owned()
}

fn own(kind: &str) -> String {
    link(&format!("/proc/thread-self/ns/{kind}"))
}

#[test]
fn a_listed_namespace_is_new() {
    obeys("config-linux.md#namespaces", |lab| {
        let seen = lab.bundle().ask(["ns"]);
        for (_, kind) in TYPES {
            assert_ne!(seen["ns"][kind], own(kind), "{kind}");
        }
        assert_eq!(seen["ns"]["user"], own("user"), "one that isn't listed is the runtime's");
    });
}

#[test]
fn a_namespace_that_is_not_listed_is_the_runtimes() {
    obeys("config-linux.md#namespaces", |lab| {
        for (name, kind) in TYPES.into_iter().filter(|(name, _)| *name != "mount") {
            let seen = lab.bundle().without_namespace(name).ask(["ns"]);
            assert_eq!(seen["ns"][kind], own(kind), "{kind}");
        }
    });
}

#[test]
fn a_namespace_with_a_path_is_joined() {
    obeys("config-linux.md#namespaces", |lab| {
        let holder = Holder::new(&["--net", "--ipc", "--uts"]);
        for (name, kind) in [("network", "net"), ("ipc", "ipc"), ("uts", "uts")] {
            let seen = lab.bundle().namespace(name, Some(&holder.path(kind))).ask(["ns"]);
            assert_eq!(seen["ns"][kind], holder.id(kind), "{kind}");
        }
    });
}

#[test]
fn a_bind_mounted_namespace_is_joined() {
    obeys("config-linux.md#namespaces", |lab| {
        let holder = Holder::new(&["--net"]);
        let file = lab.dir().join("netns");
        fs::write(&file, "").unwrap();
        let flags = nix::mount::MsFlags::MS_BIND;
        nix::mount::mount(Some(&*holder.path("net")), &file, None::<&str>, flags, None::<&str>).unwrap();
        let seen = lab.bundle().namespace("network", file.to_str()).ask(["ns"]);
        assert_eq!(seen["ns"]["net"], holder.id("net"));
        nix::mount::umount(&file).unwrap();
    });
}

#[test]
fn a_pid_namespace_is_joined() {
    obeys("config-linux.md#namespaces", |lab| {
        let holder = lab.bundle().phrases(["sleep"]).start();
        let path = format!("/proc/{}/ns/pid", holder.pid());
        let seen = lab.bundle().namespace("pid", Some(&path)).ask(["ns", "pid"]);
        assert_eq!(seen["ns"]["pid"], link(&path));
        assert_ne!(seen["pid"], 1);
    });
}

#[test]
fn a_mount_namespace_is_joined() {
    obeys("config-linux.md#namespaces", |lab| {
        // A mount namespace that shares nothing with this one, so that the runtime's mounts stay in it.
        let holder = Holder::new(&["--mount", "--propagation", "private"]);
        let seen = lab.bundle().namespace("mount", Some(&holder.path("mnt"))).ask(["ns", "cwd"]);
        assert_eq!(seen["ns"]["mnt"], holder.id("mnt"));
    });
}

#[test]
fn a_cgroup_namespace_is_joined() {
    obeys("config-linux.md#namespaces", |lab| {
        let holder = Holder::new(&["--cgroup"]);
        let seen = lab.bundle().namespace("cgroup", Some(&holder.path("cgroup"))).ask(["ns"]);
        assert_eq!(seen["ns"]["cgroup"], holder.id("cgroup"));
    });
}

#[test]
fn a_user_namespace_is_joined() {
    obeys("config-linux.md#namespaces", |lab| {
        let first = lab.bundle().user_namespace(200_000).phrases(["sleep"]).start();
        let path = format!("/proc/{}/ns/user", first.pid());
        let b = lab.bundle().user_namespace(200_000).namespace("user", Some(&path));
        let seen = b.without("/linux/uidMappings").without("/linux/gidMappings").ask(["ns", "ids"]);
        assert_eq!(seen["ns"]["user"], link(&path));
        assert_eq!(seen["ids"]["uid"], 0);
    });
}

/// A pod with a user namespace and a shared pid namespace: its processes have a number in there too, by which nobody on the
/// host may know them, since there it is a stranger's.
#[test]
fn in_a_joined_user_and_pid_namespace_the_pid_is_still_the_runtimes() {
    obeys("runtime.md#state", |lab| {
        let first = lab.bundle().user_namespace(200_000).phrases(["sleep"]).start();
        let path = |kind: &str| format!("/proc/{}/ns/{kind}", first.pid());
        let b = lab.bundle().user_namespace(200_000).namespace("user", Some(&path("user")));
        let b = b.namespace("pid", Some(&path("pid"))).without("/linux/uidMappings");
        let b = b.without("/linux/gidMappings").file("/etc/own", lab.tag()).phrases(["sleep"]);
        let (pid_file, hook) = (lab.dir().join("pid"), lab.dir().join("hook"));
        let to_hook = format!("to {}", hook.display());
        let c = b.hook("createRuntime", [to_hook.as_str(), "stdin"]).container();
        c.create(&["--pid-file", &pid_file.to_string_lossy()]).ok();
        let pid = c.pid();
        assert_eq!(fs::read_to_string(&pid_file).unwrap(), pid.to_string());
        let told = Inside::parse(&fs::read_to_string(&hook).unwrap());
        let told: serde_json::Value = serde_json::from_str(told["stdin"].as_str().unwrap()).unwrap();
        assert_eq!(told["pid"], pid);
        let is_it = |pid: i32| {
            assert_eq!(link(&format!("/proc/{pid}/ns/pid")), link(&path("pid")));
            assert_eq!(fs::read_to_string(format!("/proc/{pid}/root/etc/own")).unwrap(), lab.tag());
        };
        is_it(pid);
        c.start().ok();
        let args = ["exec", "--detach", "--pid-file", &pid_file.to_string_lossy(), &c.id, "sleep", "600"];
        lab.run(args).ok();
        is_it(fs::read_to_string(&pid_file).unwrap().parse().unwrap());
        c.kill(&["KILL"]).ok();
        c.wait_for("stopped");
        assert_eq!(first.status(), "running", "whose pid namespace it is");
    });
}

#[test]
fn a_path_that_is_no_namespace_is_refused() {
    obeys("config-linux.md#namespaces", |lab| {
        let net = own("net");
        for path in ["/no/such/path", "/etc/passwd", "/proc/self/ns/uts", "relative/path"] {
            lab.bundle().namespace("network", Some(path)).run().fails();
        }
        assert_eq!(own("net"), net);
    });
}

#[test]
fn a_type_that_is_unknown_or_listed_twice_is_refused() {
    obeys("config-linux.md#namespaces", |lab| {
        lab.bundle().set("/linux/namespaces/-", json!({ "type": "nosuch" })).run().fails_saying(&["nosuch"]);
        lab.bundle()
            .set("/linux/namespaces/-", json!({ "type": "uts" }))
            .run()
            .fails_saying(&["uts", "duplicate"]);
    });
}

#[test]
fn the_first_process_of_a_pid_namespace_is_the_program() {
    obeys("config-linux.md#namespaces", |lab| {
        let seen = lab.bundle().ask(["pid", "ls /proc"]);
        assert_eq!(seen["pid"], 1);
        let names = seen["ls /proc"].as_array().unwrap().iter().filter_map(|n| n.as_str());
        let pids: Vec<&str> = names.filter(|n| n.bytes().all(|b| b.is_ascii_digit())).collect();
        assert_eq!(pids, ["1"], "nothing else is in it");
    });
}

#[test]
fn a_new_network_namespace_has_loopback_only() {
    obeys("config-linux.md#namespaces", |lab| {
        let b = lab.bundle().mount("/sys", "sysfs", "sysfs", &["ro"]);
        assert_eq!(b.ask(["interfaces"])["interfaces"], json!(["lo"]));
    });
}

#[test]
fn ids_of_a_user_namespace_are_mapped() {
    obeys("config-linux.md#user-namespace-mappings", |lab| {
        let b = lab.bundle().user_namespace(300_000).set("/process/user", json!({ "uid": 7, "gid": 8 }));
        let c = b.phrases(["to /tmp/out", "ids", "ns", "read /proc/self/uid_map", "sleep"]);
        let c = c.mode("/tmp", 0o777).start();
        let seen = c.wait_for_answer("/tmp/out", "read /proc/self/uid_map");
        assert_eq!((&seen["ids"]["uid"], &seen["ids"]["gid"]), (&json!(7), &json!(8)));
        assert_ne!(seen["ns"]["user"], own("user"));
        let map = seen["read /proc/self/uid_map"].as_str().unwrap().split_whitespace();
        assert_eq!(map.collect::<Vec<_>>(), ["0", "300000", "65536"]);
        let status = fs::read_to_string(format!("/proc/{}/status", c.pid())).unwrap();
        assert!(status.contains("\nUid:\t300007\t") && status.contains("\nGid:\t300008\t"), "{status}");
    });
}

#[test]
fn several_mappings_are_all_used() {
    obeys("config-linux.md#user-namespace-mappings", |lab| {
        let map = json!([
            { "containerID": 0, "hostID": 300_000, "size": 10 },
            { "containerID": 1000, "hostID": 400_000, "size": 1 },
        ]);
        let b = lab.bundle().user_namespace(300_000).set("/linux/uidMappings", map.clone());
        let ask = "read /proc/self/uid_map";
        let seen = b.set("/linux/gidMappings", map).set("/process/user/uid", 1000).ask([ask, "ids"]);
        assert_eq!(seen["ids"]["uid"], 1000);
        let lines: Vec<Vec<&str>> =
            seen[ask].as_str().unwrap().lines().map(|l| l.split_whitespace().collect()).collect();
        assert_eq!(lines, [["0", "300000", "10"], ["1000", "400000", "1"]]);
    });
}

#[test]
fn a_user_namespace_without_mappings_is_refused() {
    obeys("config-linux.md#user-namespace-mappings", |lab| {
        let b =
            lab.bundle().user_namespace(300_000).without("/linux/uidMappings").without("/linux/gidMappings");
        b.run().fails();
    });
}

#[test]
fn all_kinds_of_file_systems_can_be_mounted_in_a_user_namespace() {
    obeys("config-linux.md#user-namespace-mappings", |lab| {
        let b = lab.bundle().user_namespace(300_000).mount("/sys", "sysfs", "sysfs", &["ro", "nosuid"]);
        let b =
            b.mount("/dev", "tmpfs", "tmpfs", &["mode=755"]).mount("/dev/mqueue", "mqueue", "mqueue", &[]);
        let b = b.mount("/dev/pts", "devpts", "devpts", &["newinstance", "ptmxmode=0666", "mode=0620"]);
        let seen = b.ask(["mounts", "stat /dev/null", "open /dev/null rw"]);
        for at in ["/proc", "/sys", "/dev", "/dev/mqueue", "/dev/pts"] {
            assert!(seen.mount(at).is_some(), "{at}");
        }
        assert_eq!(seen["open /dev/null rw"], "ok");
    });
}

#[test]
fn a_time_namespace_has_its_offsets() {
    obeys("config-linux.md#offset-for-time-namespace", |lab| {
        let offsets =
            json!({ "boottime": { "secs": 1_000_000 }, "monotonic": { "secs": 2_000_000, "nanosecs": 5 } });
        let host = lab.bundle().ask(["clock"])["clock"].clone();
        let seen =
            lab.bundle().namespace("time", None).set("/linux/timeOffsets", offsets).ask(["clock", "ns"]);
        let ahead = |clock: &str| seen["clock"][clock].as_i64().unwrap() - host[clock].as_i64().unwrap();
        assert!((1_000_000..1_000_600).contains(&ahead("boottime")), "{}", ahead("boottime"));
        assert!((2_000_000..2_000_600).contains(&ahead("monotonic")), "{}", ahead("monotonic"));
        assert_ne!(seen["ns"]["time"], own("time"));
    });
}

#[test]
fn a_time_namespace_is_joined() {
    obeys("config-linux.md#namespaces", |lab| {
        let holder = Holder::new(&["--time", "--boottime", "5000000"]);
        let path = holder.path("time_for_children");
        let seen = lab.bundle().namespace("time", Some(&path)).ask(["clock", "ns"]);
        assert_eq!(seen["ns"]["time"], link(&path));
        assert!(seen["clock"]["boottime"].as_i64().unwrap() > 5_000_000);
    });
}

#[test]
fn time_offsets_need_a_time_namespace() {
    obeys("config-linux.md#offset-for-time-namespace", |lab| {
        lab.bundle().set("/linux/timeOffsets", json!({ "boottime": { "secs": 1 } })).run().fails();
    });
}

#[test]
fn the_hostname_is_set() {
    obeys("config.md#hostname", |lab| {
        let seen = lab.bundle().set("/hostname", "spec-host").ask(["hostname"]);
        assert_eq!(seen["hostname"], "spec-host");
    });
}

#[test]
fn the_domainname_is_set() {
    obeys("config.md#domainname", |lab| {
        let seen = lab.bundle().set("/domainname", "spec.example").ask(["domainname"]);
        assert_eq!(seen["domainname"], "spec.example");
    });
}

#[test]
fn a_hostname_needs_a_uts_namespace_of_its_own() {
    obeys("config.md#hostname", |lab| {
        lab.bundle().without_namespace("uts").set("/hostname", "spec-host").run().fails_saying(&["uts"]);
        assert_ne!(nix::unistd::gethostname().unwrap(), "spec-host", "the runtime's own was changed");
    });
}
