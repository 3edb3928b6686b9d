//! `update` and `events`, as runc has them.

use std::fs;

use serde_json::{Value, json};
use spec_tests::*;

const SECTION: &str = "runtime.md#operations";

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
    let path = c.cgroup().join(file);
    fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display())).trim().to_string()
}

#[test]
fn resources_come_from_a_file_or_from_standard_input() {
    obeys("config-linux.md#huge-page-limits", |lab| {
        needs(machine::controller("hugetlb"), "the hugetlb controller");
        let c = lab.bundle().phrases(["sleep"]).start();
        let limit = |n: u64| json!({"hugepageLimits": [{"pageSize": "2MB", "limit": n}]});
        update_by_file(&c, &limit(4 << 20)).ok();
        assert_eq!(value(&c, "hugetlb.2MB.max"), (4 << 20).to_string());
        let file = lab.dir().join("input");
        fs::write(&file, limit(2 << 20).to_string()).unwrap();
        let command = lab.command(["update", "-r", "-", &c.id]);
        command.redirect(&format!("<{}", file.display())).run().ok();
        assert_eq!(value(&c, "hugetlb.2MB.max"), (2 << 20).to_string());
    });
}

#[test]
fn devices_are_allowed_and_denied() {
    obeys("config-linux.md#allowed-device-list", |lab| {
        let (deny, fuse) = (
            json!({"allow": false, "access": "rwm"}),
            json!({"path": "/dev/f", "type": "c", "major": 10, "minor": 229, "fileMode": 0o666}),
        );
        let b = lab.bundle().set("/linux/devices", json!([fuse]));
        let c = b.set("/linux/resources/devices", json!([deny])).phrases(["sleep"]).start();
        let open = || {
            let ran = lab.run(["exec", &c.id, "/bin/inside", "open /dev/f r"]).ok();
            Inside::parse(&ran.stdout())["open /dev/f r"].clone()
        };
        assert_eq!(open(), "EPERM");
        let allow = json!({"allow": true, "type": "c", "major": 10, "minor": 229, "access": "r"});
        update_by_file(&c, &json!({"devices": [deny, allow]})).ok();
        assert_eq!(open(), "ok");
        update_by_file(&c, &json!({"devices": [deny]})).ok();
        assert_eq!(open(), "EPERM");
    });
}

#[test]
fn limits_are_options_too() {
    obeys(SECTION, |lab| {
        for controller in ["memory", "cpu", "cpuset", "pids"] {
            needs(machine::controller(controller), &format!("the {controller} controller"));
        }
        let c = lab.bundle().phrases(["sleep"]).start();
        let megabyte = 1 << 20;
        update(&c, &["--memory", "64m", "--memory-swap", "96m", "--memory-reservation", "32m"]).ok();
        assert_eq!(value(&c, "memory.max"), (64 * megabyte).to_string());
        assert_eq!(value(&c, "memory.swap.max"), (32 * megabyte).to_string());
        assert_eq!(value(&c, "memory.low"), (32 * megabyte).to_string());
        // The sum stays what it was.
        update(&c, &["--memory", "80m"]).ok();
        assert_eq!(value(&c, "memory.swap.max"), (16 * megabyte).to_string());
        update(&c, &["--pids-limit", "20"]).ok();
        assert_eq!(value(&c, "pids.max"), "20");
        update(&c, &["--pids-limit", "-1"]).ok();
        assert_eq!(value(&c, "pids.max"), "max");
        update(&c, &["--cpu-period", "50000", "--cpu-quota", "25000"]).ok();
        assert_eq!(value(&c, "cpu.max"), "25000 50000");
        update(&c, &["--cpu-quota", "-1"]).ok();
        assert_eq!(value(&c, "cpu.max"), "max 50000");
        update(&c, &["--cpu-share", "1024"]).ok();
        assert!(["100", "39"].contains(&value(&c, "cpu.weight").as_str()));
        update(&c, &["--cpuset-cpus", "0"]).ok();
        assert_eq!(value(&c, "cpuset.cpus"), "0");
        update(&c, &["--memory-swap", "1m"]).fails();
        assert_eq!(value(&c, "memory.max"), (80 * megabyte).to_string());
    });
}

#[test]
fn shares_end_idleness() {
    obeys(SECTION, |lab| {
        needs(machine::controller("cpu"), "the cpu controller");
        let b = lab.bundle().set("/linux/resources/cpu/idle", 1);
        let c = b.phrases(["sleep"]).start();
        assert_eq!(value(&c, "cpu.idle"), "1");
        update(&c, &["--cpu-share", "1024"]).ok();
        assert_eq!(value(&c, "cpu.idle"), "0");
        assert!(["100", "39"].contains(&value(&c, "cpu.weight").as_str()));
    });
}

#[test]
fn without_a_limit_on_memory_there_is_none_on_swap() {
    obeys("config-linux.md#memory", |lab| {
        needs(machine::controller("memory"), "the memory controller");
        let c = lab.bundle().phrases(["sleep"]).start();
        update(&c, &["--memory", "64m", "--memory-swap", "96m"]).ok();
        update(&c, &["--memory", "-1"]).ok();
        assert_eq!(value(&c, "memory.max"), "max");
        assert_eq!(value(&c, "memory.swap.max"), "max");
    });
}

#[test]
fn an_update_that_fails_leaves_the_limits() {
    obeys(SECTION, |lab| {
        for controller in ["memory", "cpuset"] {
            needs(machine::controller(controller), &format!("the {controller} controller"));
        }
        let c = lab.bundle().phrases(["sleep"]).start();
        update(&c, &["--memory", "64m", "--cpuset-cpus", "4095"]).fails();
        assert_eq!(value(&c, "memory.max"), "max");
        update(&c, &["--pids-limit", "20"]).ok();
        assert_eq!(value(&c, "memory.max"), "max");
    });
}

#[test]
fn a_limit_that_is_reached_is_refused_if_asked() {
    obeys("config-linux.md#memory", |lab| {
        needs(machine::controller("memory"), "the memory controller");
        let c = lab.bundle().phrases(["sleep"]).start();
        let ran = update_by_file(&c, &json!({"memory": {"limit": 4096, "checkBeforeUpdate": true}}));
        ran.fails_saying(&["rejecting memory limit", "current usage"]);
        c.wait_for("running");
    });
}

#[test]
fn wrong_values_are_refused() {
    obeys(SECTION, |lab| {
        let c = lab.bundle().phrases(["sleep"]).start();
        for options in
            [["--memory", "100x"], ["--cpu-quota", "abc"], ["--pids-limit", "many"], ["-r", "/no/such/file"]]
        {
            update(&c, &options).fails();
        }
        let file = lab.dir().join("broken.json");
        fs::write(&file, "{").unwrap();
        update(&c, &["-r", file.to_str().unwrap()]).fails();
        update_by_file(&c, &json!({"memory": {"limit": "5"}})).fails();
        assert_eq!(c.status(), "running");
        lab.run(["update", "--pids-limit", "5", "no-such"]).fails_saying(&["does not exist"]);
        c.kill(&["KILL"]).ok();
        c.wait_for("stopped");
        update(&c, &["--pids-limit", "5"]).fails_saying(&["not running"]);
    });
}

#[test]
fn statistics_have_runcs_keys_in_runcs_order() {
    obeys(SECTION, |lab| {
        let c = lab.bundle().phrases(["sleep"]).start();
        let line = lab.run(["events", "--stats", &c.id]).ok().stdout();
        assert!(
            line.starts_with(&format!(r#"{{"type":"stats","id":"{}","data":{{"cpu":{{"usage":{{"#, c.id)),
            "{line}"
        );
        let keys = ["cpu", "cpuset", "memory", "pids", "blkio", "hugetlb", "intel_rdt", "network_interfaces"];
        let places: Vec<_> = keys.iter().map(|key| line.find(&format!("\"{key}\":")).expect(key)).collect();
        assert!(places.is_sorted(), "{line}");
        let stats: Value = serde_json::from_str(&line).expect("one line of JSON");
        let data = &stats["data"];
        assert!(data["cpu"]["usage"]["total"].as_u64() > Some(0), "{line}");
        assert_eq!(data["pids"]["current"], 1);
        for module in ["usage", "swap", "kernel", "kernelTCP"] {
            assert!(data["memory"][module]["limit"].is_u64(), "{module}: {line}");
        }
    });
}

#[test]
fn an_oom_kill_is_an_event() {
    obeys(SECTION, |lab| {
        needs(machine::controller("memory"), "the memory controller");
        let b = lab.bundle().set("/linux/resources/memory", json!({"limit": 16 << 20, "swap": 16 << 20}));
        let c = b.phrases(["sleep"]).start();
        let events = lab.command(["events", "--interval", "1s", &c.id]).spawn();
        eventually("statistics", || events.stdout().contains("\"stats\"").then_some(()));
        lab.run(["exec", &c.id, "sh", "-c", "x=x; while :; do x=$x$x; done"]).exits(137);
        eventually("the event", || events.stdout().contains("{\"type\":\"oom\"").then_some(()));
        c.kill(&["KILL"]).ok();
        events.wait().ok();
    });
}

#[test]
fn events_of_what_does_not_run_are_refused() {
    obeys(SECTION, |lab| {
        let c = lab.bundle().phrases(["exit 0"]).start();
        c.wait_for("stopped");
        lab.run(["events", "--stats", &c.id]).fails_saying(&["not running"]);
        lab.run(["events", "no-such"]).fails_saying(&["does not exist"]);
        for interval in ["0", "5", "x", "-1s"] {
            lab.run(["events", "--interval", interval, &c.id]).fails();
        }
    });
}
