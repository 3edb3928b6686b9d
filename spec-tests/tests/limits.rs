//! Limits that `update` has set hold for what runs already. Needs the controllers, so most of it runs in a virtual
//! machine or on a host with nothing but cgroup v2.

use std::fs;
use std::os::linux::fs::MetadataExt;
use std::path::Path;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use spec_tests::*;

fn controller(name: &str) {
    needs(machine::controller(name), &format!("the {name} controller"));
}

fn update(c: &Container, options: &[&str]) -> Ran {
    let line = ["update"].iter().chain(options).copied().chain([c.id.as_str()]);
    c.lab().run(line)
}

fn update_by_file(c: &Container, resources: &Value) -> Ran {
    let file = c.lab().dir().join("resources.json");
    fs::write(&file, resources.to_string()).unwrap();
    update(c, &["--resources", file.to_str().unwrap()])
}

fn value(c: &Container, file: &str) -> String {
    value_in(&c.cgroup(), file)
}

/// For a container that may have ended meanwhile.
fn value_in(cgroup: &Path, file: &str) -> String {
    let path = cgroup.join(file);
    let text = fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    text.trim().to_string()
}

fn shell<'a>(lab: &'a Lab, script: &str) -> Container<'a> {
    lab.bundle().args(["sh", "-c", script]).start()
}

#[test]
fn a_limit_of_processes_stops_a_fork() {
    obeys("config-linux.md#pids", |lab| {
        controller("pids");
        let c = shell(lab, "while [ ! -e /go ]; do :; done; true & wait; echo done > /out; exec sleep 1000");
        let cgroup = c.cgroup();
        update(&c, &["--pids-limit", "1"]).ok();
        fs::write(c.bundle.path("/go"), "").unwrap();
        eventually("a fork that fails", || {
            let events = value_in(&cgroup, "pids.events");
            events.lines().any(|line| line.starts_with("max ") && line != "max 0").then_some(())
        });
        assert!(!c.bundle.path("/out").exists());
    });
}

/// Before version 1.3 a limit of 0 was none, and engines write it so; since then it is a limit.
#[test]
fn no_processes_at_all() {
    obeys("config-linux.md#pids", |lab| {
        controller("pids");
        let limited = |version: &str| {
            let b = lab.bundle().set("/ociVersion", version).phrases(["sleep"]);
            b.set("/linux/resources/pids/limit", 0)
        };
        assert_eq!(value(&limited("1.0.2").create(), "pids.max"), "max");
        let c = limited("1.3.0").create();
        // 1 is as much with the container's own process there, and all that systemd can be told.
        assert!(["0", "1"].contains(&value(&c, "pids.max").as_str()));
        c.start().ok();
        lab.run(["exec", &c.id, "/bin/true"]).fails();
    });
}

#[test]
fn a_quota_throttles() {
    obeys("config-linux.md#cpu", |lab| {
        controller("cpu");
        let c = shell(lab, "while :; do :; done");
        let throttled = || {
            let stats = lab.run(["events", "--stats", &c.id]).ok().json();
            stats["data"]["cpu"]["throttling"]["throttledPeriods"].as_u64().unwrap_or(0)
        };
        assert_eq!(throttled(), 0);
        update(&c, &["--cpu-period", "20000", "--cpu-quota", "2000"]).ok();
        eventually("throttled periods", || (throttled() > 5).then_some(()));
        // A tenth, whatever the machine's load; a whole one it would be without the limit.
        let usage = || {
            let stat = value(&c, "cpu.stat");
            let line = stat.lines().find_map(|line| line.strip_prefix("usage_usec ")).unwrap();
            Duration::from_micros(line.parse().unwrap())
        };
        let (began, before) = (Instant::now(), usage());
        eventually("ten periods more", || (began.elapsed() > Duration::from_millis(1000)).then_some(()));
        let used = usage() - before;
        assert!(used < began.elapsed() / 4, "{used:?} in {:?}", began.elapsed());
    });
}

#[test]
fn cpus_are_pinned() {
    obeys("config-linux.md#cpu", |lab| {
        controller("cpuset");
        let c = lab.bundle().phrases(["sleep"]).start();
        let allowed = |what: &str| {
            let status = fs::read_to_string(format!("/proc/{}/status", c.pid())).unwrap();
            let line = status.lines().find_map(|line| line.strip_prefix(what)).unwrap();
            line.trim().to_string()
        };
        update(&c, &["--cpuset-cpus", "0", "--cpuset-mems", "0"]).ok();
        assert_eq!(allowed("Cpus_allowed_list:"), "0");
        assert_eq!(allowed("Mems_allowed_list:"), "0");
        update(&c, &["--cpuset-cpus", "4095"]).fails();
        assert_eq!(allowed("Cpus_allowed_list:"), "0");
    });
}

#[test]
fn memory_that_is_too_much_is_taken_back() {
    obeys("config-linux.md#memory", |lab| {
        controller("memory");
        let c = shell(
            lab,
            "x=0123456789abcdef; i=0; while [ $i -lt 16 ]; do x=$x$x; i=$((i+1)); [ $i -lt 16 ] || break; done; \
             echo > /out; while :; do sleep 1000; done",
        );
        eventually("a megabyte in use", || c.bundle.path("/out").exists().then_some(()));
        let cgroup = c.cgroup();
        update(&c, &["--memory", "512k", "--memory-swap", "512k"]);
        eventually("the end of what uses more", || {
            let events = value_in(&cgroup, "memory.events");
            events.lines().any(|line| line.starts_with("oom_kill ") && line != "oom_kill 0").then_some(())
        });
    });
}

/// Major and minor of the whole disk that a file is on.
fn disk(file: &Path) -> Option<(u64, u64)> {
    let dev = fs::metadata(file).ok()?.st_dev();
    let device = (nix::sys::stat::major(dev), nix::sys::stat::minor(dev));
    let sys = format!("/sys/dev/block/{}:{}", device.0, device.1);
    (fs::exists(&sys).ok()? && !fs::exists(sys + "/partition").ok()?).then_some(device)
}

#[test]
fn writing_is_slowed() {
    obeys("config-linux.md#block-io", |lab| {
        controller("io");
        let c = shell(
            lab,
            "while [ ! -e /go ]; do :; done; busybox dd if=/dev/zero of=/big bs=256k count=8 oflag=direct && \
             echo > /out; exec sleep 1000",
        );
        let device = disk(c.bundle.dir());
        needs(device.is_some(), "a temporary directory on a whole disk");
        let (major, minor) = device.unwrap();
        let rate = |field: &str, rate: u64| {
            update_by_file(
                &c,
                &json!({"blockIO": {field: [{"major": major, "minor": minor, "rate": rate}]}}),
            )
            .ok();
        };
        rate("throttleReadBpsDevice", 4 << 20);
        rate("throttleReadIOPSDevice", 400);
        rate("throttleWriteIOPSDevice", 300);
        rate("throttleWriteBpsDevice", 1 << 20);
        let expected = format!("{major}:{minor} rbps=4194304 wbps=1048576 riops=400 wiops=300");
        assert_eq!(value(&c, "io.max"), expected);
        let began = Instant::now();
        fs::write(c.bundle.path("/go"), "").unwrap();
        eventually("two megabytes", || c.bundle.path("/out").exists().then_some(()));
        assert!(began.elapsed() > Duration::from_millis(1200), "{:?}", began.elapsed());
    });
}

#[test]
fn the_other_options_are_written() {
    obeys("runtime.md#operations", |lab| {
        ["cpu", "io", "memory"].into_iter().for_each(controller);
        let c = lab.bundle().phrases(["sleep"]).start();
        update(&c, &["--blkio-weight", "500"]).ok();
        assert_eq!(value(&c, "io.weight"), "default 4950");
        update(&c, &["--cpu-quota", "50000", "--cpu-burst", "10000"]).ok();
        assert_eq!(
            (value(&c, "cpu.max").as_str(), value(&c, "cpu.max.burst").as_str()),
            ("50000 100000", "10000")
        );
        // Both get smaller, and larger again: in either order one of them is more than the other for a while.
        for (quota, burst) in [("5000", "4000"), ("80000", "70000")] {
            update(&c, &["--cpu-quota", quota, "--cpu-burst", burst]).ok();
            assert_eq!(value(&c, "cpu.max.burst"), burst);
        }
        update(&c, &["--cpu-share", "2048"]).ok();
        let weight = value(&c, "cpu.weight");
        update(&c, &["--cpu-idle", "1"]).ok();
        assert_eq!(value(&c, "cpu.idle"), "1");
        update(&c, &["--cpu-idle", "0"]).ok();
        assert_eq!((value(&c, "cpu.idle"), value(&c, "cpu.weight")), ("0".into(), weight));
        update(&c, &["--memory", "64m"]).ok();
        update(&c, &["--memory", "-1", "--memory-swap", "-1"]).ok();
        assert_eq!(value(&c, "memory.max"), "max");
        assert_eq!(value(&c, "memory.swap.max"), "max");
    });
}

#[test]
fn realtime_limits_are_refused() {
    obeys("config-linux.md#cpu", |lab| {
        let c = lab.bundle().phrases(["sleep"]).start();
        for option in ["--cpu-rt-period", "--cpu-rt-runtime"] {
            update(&c, &[option, "5000"]).fails_saying(&["realtime", "real-time"]);
        }
    });
}

#[test]
fn limits_of_the_kernels_memory_are_passed_over() {
    obeys("config-linux.md#memory", |lab| {
        let c = lab.bundle().phrases(["sleep"]).start();
        for option in ["--kernel-memory", "--kernel-memory-tcp"] {
            let ran = update(&c, &[option, "5m"]).ok();
            assert!(ran.stderr().to_lowercase().contains("ignored"), "{ran}");
        }
    });
}
