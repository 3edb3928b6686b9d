//! What is written for which limits: JSON of linux.resources on the left, files and values on the right.

use super::*;

fn parse(json: &str) -> LinuxResources {
    serde_json::from_str(json).expect(json)
}

fn check(json: &str, expected: &[(&str, &str)]) {
    let found = writes(&parse(json)).expect(json);
    let found: Vec<_> = found.iter().map(|w| (w.file.as_str(), w.value.as_str())).collect();
    assert_eq!(found, expected, "{json}");
}

fn refuse(json: &str, path: &str, part: &str) {
    let error = writes(&parse(json)).expect_err(json);
    assert!(error.faults.iter().any(|fault| fault.path == path && fault.text.contains(part)), "{error}");
}

#[test]
fn weights_meet_at_the_ends_and_the_default() {
    for (shares, expected) in
        [(1, 1), (2, 1), (3, 2), (512, 59), (3333, 256), (1024, 100), (262_144, 10_000), (300_000, 10_000)]
    {
        assert_eq!(weight(shares), expected, "{shares}");
    }
    assert!((3..262_144).step_by(997).all(|s| weight(s) <= weight(s + 1)));
}

#[test]
fn memory_and_swap() {
    let memory = |json: &str, expected: &[(&str, &str)]| check(&format!(r#"{{"memory":{json}}}"#), expected);
    memory(r#"{"limit":1000}"#, &[("memory.max", "1000")]);
    memory(r#"{"limit":1000,"swap":3000}"#, &[("memory.swap.max", "2000"), ("memory.max", "1000")]);
    memory(r#"{"limit":1000,"swap":1000}"#, &[("memory.swap.max", "0"), ("memory.max", "1000")]);
    memory(r#"{"limit":1000,"swap":-1}"#, &[("memory.swap.max", "max"), ("memory.max", "1000")]);
    memory(r#"{"limit":-1}"#, &[("memory.swap.max", "max"), ("memory.max", "max")]);
    memory(r#"{"limit":-1,"swap":3000}"#, &[("memory.swap.max", "3000"), ("memory.max", "max")]);
    memory(r#"{"swap":-1}"#, &[("memory.swap.max", "max")]);
    memory(r#"{"reservation":5,"kernel":7,"swappiness":3}"#, &[("memory.low", "5")]);
    memory(r#"{"limit":0,"swap":0,"reservation":0}"#, &[]);
    let refuse = |json: &str, field: &str, part: &str| {
        refuse(&format!(r#"{{"memory":{json}}}"#), &format!("linux.resources.memory.{field}"), part);
    };
    refuse(r#"{"limit":1000,"swap":500}"#, "swap", "memory+swap limit should be >= memory limit");
    refuse(r#"{"swap":500}"#, "swap", "unable to set swap limit without memory limit");
    refuse(r#"{"limit":-2}"#, "limit", "-1 is no limit");
}

#[test]
fn usage_is_checked_against_new_limits() {
    let check = |json: &str, usage, expected: &[&str]| {
        let resources = parse(json);
        let memory = resources.memory().as_ref().expect(json);
        let texts: Vec<_> = exceeded(memory, usage).into_iter().map(|fault| fault.text).collect();
        assert_eq!(texts, expected, "{json}");
    };
    let both = r#"{"memory":{"limit":10,"swap":20}}"#;
    check(both, 9, &[]);
    check(both, 10, &["rejecting memory limit 10 <= usage 10"]);
    let texts = ["rejecting memory+swap limit 20 <= usage 30", "rejecting memory limit 10 <= usage 30"];
    check(both, 30, &texts);
    check(r#"{"memory":{"limit":-1,"swap":0}}"#, 30, &[]);
}

#[test]
fn cpu() {
    let cpu = |json: &str, expected: &[(&str, &str)]| check(&format!(r#"{{"cpu":{json}}}"#), expected);
    cpu(r#"{"shares":1024}"#, &[("cpu.weight", "100")]);
    cpu(r#"{"shares":0,"quota":0,"period":0,"realtimeRuntime":0,"cpus":""}"#, &[]);
    cpu(r#"{"quota":50000,"period":200000}"#, &[("cpu.max", "50000 200000")]);
    cpu(r#"{"quota":50000}"#, &[("cpu.max", "50000")]);
    cpu(r#"{"quota":-1}"#, &[("cpu.max", "max")]);
    cpu(r#"{"period":5000}"#, &[("cpu.max", "max 5000")]);
    cpu(r#"{"quota":-1,"period":5000}"#, &[("cpu.max", "max 5000")]);
    cpu(r#"{"burst":10}"#, &[("cpu.max.burst", "10")]);
    cpu(r#"{"idle":0,"shares":2}"#, &[("cpu.idle", "0"), ("cpu.weight", "1")]);
    cpu(r#"{"idle":1,"shares":2}"#, &[("cpu.idle", "1")]);
    cpu(r#"{"cpus":"0-1","mems":"0"}"#, &[("cpuset.cpus", "0-1"), ("cpuset.mems", "0")]);
    refuse(r#"{"cpu":{"realtimeRuntime":5}}"#, "linux.resources.cpu.realtimeRuntime", "no realtime");
    refuse(r#"{"cpu":{"realtimePeriod":5}}"#, "linux.resources.cpu.realtimePeriod", "no realtime");
}

#[test]
fn a_burst_is_tried_on_both_sides_of_the_quota() {
    let found = writes(&parse(r#"{"cpu":{"quota":50000,"burst":10}}"#)).expect("writes");
    let found: Vec<_> = found.iter().map(|w| (w.file.as_str(), w.again)).collect();
    assert_eq!(found, [("cpu.max.burst", true), ("cpu.max", false), ("cpu.max.burst", false)]);
}

#[test]
fn block_io() {
    let devices = r#"{"blockIO":{"weight":0,"leafWeight":9,
        "throttleReadBpsDevice":[{"major":8,"minor":0,"rate":9}],
        "throttleWriteIOPSDevice":[{"major":8,"minor":1,"rate":0}]}}"#;
    check(devices, &[("io.max", "8:0 rbps=9"), ("io.max", "8:1 wiops=max")]);
    let weights = |json: &str, expected: [&str; 2]| {
        let found = writes(&parse(json)).expect(json);
        let (file, value) = found[0].or.as_ref().expect("a second file");
        let found = [&found[0].file, &found[0].value, file, value].map(String::as_str);
        assert_eq!(found, ["io.bfq.weight", expected[0], "io.weight", expected[1]], "{json}");
    };
    weights(r#"{"blockIO":{"weight":10}}"#, ["10", "1"]);
    weights(r#"{"blockIO":{"weight":750}}"#, ["750", "7475"]);
    weights(r#"{"blockIO":{"weight":1000}}"#, ["1000", "10000"]);
    let device = r#"{"blockIO":{"weightDevice":[{"major":8,"minor":0,"weight":500}]}}"#;
    weights(device, ["8:0 500", "8:0 4950"]);
    refuse(r#"{"blockIO":{"weight":5}}"#, "linux.resources.blockIO.weight", "not from 10 to 1000");
}

#[test]
fn the_rest() {
    check(r#"{"pids":{"limit":-1}}"#, &[("pids.max", "max")]);
    check(r#"{"pids":{"limit":0}}"#, &[("pids.max", "1")]);
    check(r#"{"pids":{"limit":7}}"#, &[("pids.max", "7")]);
    let huge = r#"{"hugepageLimits":[{"pageSize":"2MB","limit":5}]}"#;
    check(huge, &[("hugetlb.2MB.max", "5"), ("hugetlb.2MB.rsvd.max", "5")]);
    let rdma = r#"{"rdma":{"mlx":{"hcaHandles":3,"hcaObjects":4},"none":{}}}"#;
    check(rdma, &[("rdma.max", "mlx hca_handle=3 hca_object=4")]);
    check(r#"{"network":{"classID":1,"priorities":[{"name":"lo","priority":1}]}}"#, &[]);
    let unified = r#"{"cpu":{"shares":2},"unified":{"io.max":"8:0 rbps=1\n8:1 rbps=2","cpu.weight":"7"}}"#;
    let lines =
        [("cpu.weight", "1"), ("cpu.weight", "7"), ("io.max", "8:0 rbps=1"), ("io.max", "8:1 rbps=2")];
    check(unified, &lines);
    for key in ["../memory.max", "memory", ".."] {
        let json = format!(r#"{{"unified":{{"{key}":"1"}}}}"#);
        refuse(&json, &format!("linux.resources.unified[{key}]"), "not the name");
    }
}

#[test]
fn what_asks_for_nothing() {
    let check = |json: &str, expected| assert_eq!(needs_nothing(&parse(json)), expected, "{json}");
    check("{}", true);
    check(r#"{"devices":[{"allow":false}]}"#, true);
    check(r#"{"memory":{"limit":-1,"swap":-1,"reservation":-1}}"#, true);
    check(r#"{"memory":{"limit":1,"swap":1}}"#, false);
    check(r#"{"pids":{"limit":-1},"cpu":{"shares":1024,"quota":-1,"period":100000}}"#, true);
    check(r#"{"pids":{"limit":0}}"#, false);
    check(r#"{"cpu":{"shares":512}}"#, false);
    check(r#"{"cpu":{"cpus":"0"}}"#, false);
    check(r#"{"hugepageLimits":[{"pageSize":"2MB","limit":-1}]}"#, true);
    check(r#"{"unified":{"memory.high":"max"}}"#, false);
}

#[test]
fn what_the_files_hold_is_brought_back() {
    let files = [
        ("memory.max", "max\n"),
        ("cpuset.cpus", "\n"),
        ("io.max", "8:0 rbps=5 wbps=max\n8:16 rbps=max wbps=6\n"),
        ("io.weight", "default 100\n"),
        ("cpu.idle", "0\n"),
        ("cpu.weight", "39\n"),
    ];
    let json = r#"{
        "memory": {"limit": 1, "swap": 2},
        "cpu": {"cpus": "0", "idle": 1},
        "blockIO": {"weight": 10, "throttleReadBpsDevice": [{"major": 8, "minor": 32, "rate": 1}]}}"#;
    let read = |file: &str| {
        let found = files.iter().find(|(name, _)| *name == file)?;
        Some(found.1.to_string())
    };
    let back = undoing(&writes(&serde_json::from_str(json).unwrap()).unwrap(), read);
    let back: Vec<_> = back.iter().map(|write| (write.file.as_str(), write.value.as_str())).collect();
    let expected = [
        ("memory.max", "max"),
        ("io.weight", "default 100"),
        ("io.max", "8:32 rbps=max"),
        ("io.max", "8:0 rbps=5 wbps=max"),
        ("io.max", "8:16 rbps=max wbps=6"),
        ("cpu.idle", "0"),
        ("cpu.weight", "39"),
        ("cpuset.cpus", "\n"),
    ];
    assert_eq!(back, expected);
}
