//! What the limits of a cgroup do to what runs in it: for root and for a user of the machine, each with the runtime's own
//! cgroups and with systemd's. Needs systemd and all controllers in v2, as in integration/vm.

use std::fs;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use spec_tests::*;

/// Who calls the runtime, and who makes the cgroup.
#[derive(Clone, Copy, PartialEq)]
enum Way {
    Root,
    Systemd,
    User,
    UserSystemd,
}

impl Way {
    fn set_up(self, lab: &Lab) {
        needs(machine::systemd(), "systemd, and cgroup v2 alone");
        if matches!(self, Way::User | Way::UserSystemd) {
            lab.become_session_user();
        }
        lab.let_systemd(matches!(self, Way::Systemd | Way::UserSystemd));
    }
}

/// A test of each name for each way in which a container can have a cgroup with that controller.
macro_rules! each_way {
    ($($test:ident: $section:literal $($name:ident $way:ident),+;)*) => { $(
        mod $test {
            use super::Way;
            $(
                #[test]
                fn $name() {
                    spec_tests::obeys(concat!("config-linux.md#", $section), |lab| {
                        Way::$way.set_up(lab);
                        super::$test(lab);
                    });
                }
            )+
        }
    )* };
    ($($test:ident: $section:literal;)*) => {
        each_way! { $($test: $section root Root, systemd Systemd, user User, user_systemd UserSystemd;)* }
    };
}

each_way! {
    too_much_memory_ends_it: "memory";
    an_oom_kill_is_told: "memory";
    too_little_memory_to_start: "memory";
    a_fork_bomb_is_stopped: "pids";
    cpu_time_is_throttled: "cpu";
    cpus_are_pinned: "cpu";
    writing_is_slowed: "block-io";
}

// Huge pages aren't delegated to users, nor may they load a device program.
each_way! {
    huge_pages_run_out: "huge-page-limits" root Root, systemd Systemd;
    devices_are_refused: "allowed-device-list" root Root, systemd Systemd;
}

fn controller(lab: &Lab, name: &str) {
    let there = match lab.user() {
        Some(id) => machine::delegates(name, id),
        None => machine::controller(name),
    };
    needs(there, &format!("the {name} controller"));
}

/// A shell that runs a script, with one of linux.resources.
fn shell<'a>(lab: &'a Lab, script: &str, pointer: &str, value: Value) -> Bundle<'a> {
    let bundle = lab.bundle().args(["sh", "-c", script]);
    bundle.set(&format!("/linux/resources/{pointer}"), value)
}

/// The number after a word in a file of the container's cgroup.
fn count(c: &Container, file: &str, word: &str) -> u64 {
    let text = fs::read_to_string(c.cgroup().join(file)).expect("a file of the cgroup");
    let mut lines = text.lines().filter_map(|line| line.strip_prefix(word)?.strip_prefix(' '));
    lines.next().and_then(|n| n.parse().ok()).unwrap_or_else(|| panic!("no {word} in {file}: {text}"))
}

fn too_much_memory_ends_it(lab: &Lab) {
    controller(lab, "memory");
    let limit = json!({ "limit": 32 << 20, "swap": 32 << 20 });
    let greedy = |limit| shell(lab, "x=x; while [ ${#x} -lt 20000000 ]; do x=$x$x; done", "memory", limit);
    greedy(limit).run().exits(137);
    greedy(json!({ "limit": 1 << 30, "swap": 1 << 30 })).run().ok();
}

fn an_oom_kill_is_told(lab: &Lab) {
    controller(lab, "memory");
    let script = "while [ ! -e /go ]; do sleep 0.1; done; x=x; while :; do x=$x$x; done";
    let c = shell(lab, script, "memory", json!({ "limit": 32 << 20, "swap": 32 << 20 })).start();
    let events = lab.command(["events", "--interval", "1s", &c.id]).spawn();
    eventually("statistics", || events.stdout().contains("\"stats\"").then_some(()));
    assert!(!events.stdout().contains("\"oom\""));
    fs::write(c.bundle.path("/go"), "").expect("a file");
    c.wait_for("stopped");
    let told = events.wait().ok().stdout();
    assert!(told.contains("{\"type\":\"oom\""), "{told}");
}

fn too_little_memory_to_start(lab: &Lab) {
    controller(lab, "memory");
    let b = shell(lab, "true", "memory", json!({ "limit": 4096, "swap": 4096 }));
    b.container().create(&[]).fails_saying(&["memory limit", "memory.limit"]);
}

fn a_fork_bomb_is_stopped(lab: &Lab) {
    controller(lab, "pids");
    let script = "bomb() { bomb & bomb & wait; }; bomb & exec inside sleep";
    let c = shell(lab, script, "pids/limit", json!(20)).start();
    eventually("a fork that fails", || (count(&c, "pids.events", "max") > 5).then_some(()));
    let most = fs::read_to_string(c.cgroup().join("pids.peak")).expect("pids.peak");
    assert_eq!(most.trim(), "20");
}

fn cpu_time_is_throttled(lab: &Lab) {
    controller(lab, "cpu");
    let limit = json!({ "quota": 5000, "period": 50_000 });
    let c = shell(lab, "while :; do :; done", "cpu", limit).start();
    let throttled = || count(&c, "cpu.stat", "nr_throttled");
    let used = || Duration::from_micros(count(&c, "cpu.stat", "usage_usec"));
    eventually("a throttled period", || (throttled() > 0).then_some(()));
    let (began, before, periods) = (Instant::now(), used(), throttled());
    eventually("twenty more", || (throttled() > periods + 20).then_some(()));
    let (used, elapsed) = (used() - before, began.elapsed());
    // A tenth, whatever else the machine does.
    assert!(used < elapsed / 4, "{used:?} in {elapsed:?}");
}

fn cpus_are_pinned(lab: &Lab) {
    controller(lab, "cpuset");
    let all = fs::read_to_string("/sys/fs/cgroup/cpuset.cpus.effective").expect("a list of CPUs");
    let last = all.trim().rsplit(['-', ',']).next().expect("a CPU");
    needs(last != "0", "a second CPU");
    let b = lab.bundle().set("/linux/resources/cpu", json!({ "cpus": last, "mems": "0" }));
    let seen = b.ask(["status Cpus_allowed_list", "status Mems_allowed_list"]);
    assert_eq!(seen["status Cpus_allowed_list"], last);
    assert_eq!(seen["status Mems_allowed_list"], "0");
}

fn writing_is_slowed(lab: &Lab) {
    controller(lab, "io");
    let disk = machine::disk(lab.dir());
    needs(disk.is_some(), "a temporary directory on a disk");
    let (major, minor) = disk.unwrap_or_default();
    let took = |rate: u64| {
        let limit = json!([{ "major": major, "minor": minor, "rate": rate }]);
        let script = "cat /proc/uptime; busybox dd if=/in of=/out bs=64k conv=fsync; cat /proc/uptime";
        let b = shell(lab, script, "blockIO/throttleWriteBpsDevice", limit);
        let out = b.file("/in", &"x".repeat(1 << 20)).run().ok().stdout();
        let uptime = |line: &str| line.split(' ').next()?.parse::<f64>().ok();
        let uptimes: Vec<_> = out.lines().filter_map(uptime).collect();
        uptimes[1] - uptimes[0]
    };
    // A megabyte in eight seconds, but for what may be written at once; an emulated machine takes some for itself.
    let (slow, fast) = (took(128 << 10), took(1 << 30));
    assert!(slow - fast > 2.0, "{slow} s, and with a high limit {fast} s");
}

fn huge_pages_run_out(lab: &Lab) {
    controller(lab, "hugetlb");
    let free = fs::read_to_string("/sys/kernel/mm/hugepages/hugepages-2048kB/free_hugepages");
    needs(free.is_ok_and(|n| n.trim().parse().unwrap_or(0) >= 4), "huge pages (vm.nr_hugepages)");
    let took = |mib: u64| {
        let limit = json!([{ "pageSize": "2MB", "limit": 4 << 20 }]);
        let script = format!("busybox fallocate -l {} /huge/file", mib << 20);
        let b = shell(lab, &script, "hugepageLimits", limit);
        b.directory("/huge").mount("/huge", "hugetlbfs", "hugetlbfs", &["pagesize=2M"]).run().code()
    };
    assert_eq!(took(4), 0);
    assert_ne!(took(6), 0);
}

/// Any node may be made, as all engines have it; but only some may be opened.
fn devices_are_refused(lab: &Lab) {
    needs(fs::exists("/sys/class/misc/fuse").unwrap_or(false), "a device that anybody may open");
    let rules = json!([
        { "allow": false, "access": "rwm" },
        { "allow": true, "type": "c", "major": 10, "minor": 229, "access": "r" },
    ]);
    let b = lab.bundle().caps(&ALL_CAPS).set("/linux/resources/devices", rules);
    let seen = b.ask([
        "mknod /bin/fuse c 10 229",
        "mknod /bin/kmsg c 1 11",
        "open /bin/fuse r",
        "open /bin/fuse w",
        "open /bin/kmsg r",
    ]);
    assert_eq!(seen["open /bin/fuse r"], "ok");
    assert_eq!(seen["open /bin/fuse w"], "EPERM");
    assert_eq!(seen["open /bin/kmsg r"], "EPERM");
}
