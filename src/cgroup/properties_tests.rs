use oci_spec::runtime::{LinuxDeviceCgroup, LinuxResources};
use serde_json::{Value as Json, json};

use super::*;
use crate::cgroup::resources;

fn resources(json: Json) -> LinuxResources {
    serde_json::from_value(json).unwrap()
}

fn devices_of(device: &str, n: u64) -> Value {
    Value::Array("(st)".into(), vec![Value::Struct(vec![Value::text(device), Value::U64(n)])])
}

#[test]
fn resources_as_properties() {
    let check = |given: Json, expected: &[(&str, Value)]| {
        let writes = resources::writes(&resources(given.clone())).unwrap();
        let expected: Properties = expected.iter().map(|(k, v)| (k.to_string(), v.clone())).collect();
        assert_eq!(of_writes(&writes, 257), expected, "{given}");
    };
    let u64 = Value::U64;
    check(
        json!({ "memory": { "limit": 100, "swap": 150, "reservation": 50 } }),
        &[("MemorySwapMax", u64(50)), ("MemoryMax", u64(100)), ("MemoryLow", u64(50))],
    );
    check(
        json!({ "memory": { "limit": -1 } }),
        &[("MemorySwapMax", u64(INFINITY)), ("MemoryMax", u64(INFINITY))],
    );
    check(json!({ "pids": { "limit": 0 } }), &[("TasksMax", u64(1))]);
    check(json!({ "pids": { "limit": -1 } }), &[("TasksMax", u64(INFINITY))]);
    check(json!({ "cpu": { "shares": 1024 } }), &[("CPUWeight", u64(100))]);
    check(json!({ "cpu": { "idle": 1 } }), &[("CPUWeight", u64(0))]);
    check(
        json!({ "cpu": { "idle": 0, "shares": 2 } }),
        &[("CPUWeight", u64(INFINITY)), ("CPUWeight", u64(1))],
    );
    check(
        json!({ "cpu": { "quota": 33_333, "period": 100_000, "burst": 5 } }),
        &[("CPUQuotaPeriodUSec", u64(100_000)), ("CPUQuotaPerSecUSec", u64(340_000))],
    );
    check(json!({ "cpu": { "quota": 50_000 } }), &[("CPUQuotaPerSecUSec", u64(500_000))]);
    check(json!({ "cpu": { "quota": -1 } }), &[("CPUQuotaPerSecUSec", u64(INFINITY))]);
    check(
        json!({ "cpu": { "cpus": "0-1,9", "mems": "0" } }),
        &[("AllowedCPUs", Value::bytes(&[3, 2])), ("AllowedMemoryNodes", Value::bytes(&[1]))],
    );
    check(
        json!({ "blockIO": {
            "weight": 500,
            "weightDevice": [{ "major": 8, "minor": 0, "weight": 10 }],
            "throttleReadBpsDevice": [{ "major": 8, "minor": 16, "rate": 7 }],
            "throttleWriteIOPSDevice": [{ "major": 8, "minor": 16, "rate": 0 }],
        } }),
        &[
            ("IOWeight", u64(4950)),
            ("IODeviceWeight", devices_of("/dev/block/8:0", 1)),
            ("IOReadBandwidthMax", devices_of("/dev/block/8:16", 7)),
            ("IOWriteIOPSMax", devices_of("/dev/block/8:16", INFINITY)),
        ],
    );
    check(
        json!({ "unified": { "memory.high": "70", "memory.min": "max", "io.max": "8:0 rbps=1 wiops=2", "misc.max": "a 1" } }),
        &[
            ("IOReadBandwidthMax", devices_of("/dev/block/8:0", 1)),
            ("IOWriteIOPSMax", devices_of("/dev/block/8:0", 2)),
            ("MemoryHigh", u64(70)),
            ("MemoryMin", u64(INFINITY)),
        ],
    );
    check(json!({ "hugepageLimits": [{ "pageSize": "2MB", "limit": 4 }] }), &[]);
}

#[test]
fn idle_needs_a_systemd_that_knows_it() {
    let writes = resources::writes(&resources(json!({ "cpu": { "idle": 1 } }))).unwrap();
    assert_eq!(of_writes(&writes, 251), []);
}

#[test]
fn device_rules_as_properties() {
    let check = |given: Json, policy: &str, expected: &[(&str, &str)]| {
        let given: Vec<LinuxDeviceCgroup> = serde_json::from_value(given).unwrap();
        let found = of_devices(&devices::rules(&given).unwrap());
        assert_eq!(found[0].1, Value::text(policy));
        assert_eq!(found[1].1, Value::Array("(ss)".into(), vec![]), "what was there before goes first");
        let rows = match found.get(2) {
            Some((_, Value::Array(_, rows))) => rows.clone(),
            _ => vec![],
        };
        let pair = |(a, b): &(&str, &str)| Value::Struct(vec![Value::text(*a), Value::text(*b)]);
        let without_default = rows.len().saturating_sub(10);
        assert_eq!(rows[..without_default], expected.iter().map(pair).collect::<Vec<_>>());
        if policy == "strict" {
            let default = ["char-*", "block-*", "/dev/char/1:3", "/dev/char/1:5", "/dev/char/1:7"];
            for (row, device) in rows[without_default..].iter().zip(default) {
                assert_eq!(*row, pair(&(device, if device.ends_with('*') { "m" } else { "rwm" })));
            }
            assert_eq!(rows.last(), Some(&pair(&("char-136", "rwm"))));
        }
    };
    let deny_all = json!({ "allow": false, "access": "rwm" });
    check(json!([deny_all]), "strict", &[]);
    check(json!([{ "allow": true, "access": "rwm" }]), "auto", &[]);
    check(
        json!([
            { "allow": true, "type": "b", "major": 1, "minor": 1, "access": "r" },
            deny_all,
            { "allow": true, "type": "c", "major": 10, "minor": 200, "access": "rw" },
            { "allow": true, "type": "b", "major": 8, "access": "r" },
            { "allow": false, "type": "b", "major": 8, "minor": 3, "access": "r" },
            { "allow": true, "minor": 5, "access": "w" },
        ]),
        "strict",
        &[("/dev/char/10:200", "rw"), ("block-8", "r"), ("char-*", "w"), ("block-*", "w")],
    );
}

#[test]
fn annotations_as_properties() {
    let parse = |key: &str, text: &str| {
        let annotations = BTreeMap::from([(key.to_string(), text.to_string())]);
        of_annotations(annotations.iter())
    };
    let check = |key: &str, text: &str, name: &str, value| {
        assert_eq!(
            parse(&format!("{PREFIX}{key}"), text).unwrap(),
            [(name.to_string(), value)],
            "{key} {text}"
        );
    };
    check("TimeoutStopUSec", "uint64 123456789", "TimeoutStopUSec", Value::U64(123_456_789));
    check("TimeoutStopSec", "5", "TimeoutStopUSec", Value::U64(5_000_000));
    check("TimeoutStopSec", "1.5", "TimeoutStopUSec", Value::U64(1_500_000));
    check("CollectMode", "'inactive-or-failed'", "CollectMode", Value::text("inactive-or-failed"));
    check("DefaultDependencies", "true", "DefaultDependencies", Value::Bool(true));
    let units = Value::Array("s".into(), vec![Value::text("a.service")]);
    check("After", "['a.service']", "After", units);
    assert_eq!(parse("org.example", "5").unwrap(), []);

    let refused = |key: &str, text: &str, said: &str| {
        let error = parse(&format!("{PREFIX}{key}"), text).unwrap_err().to_string();
        assert!(error.contains(&format!("annotations[{PREFIX}{key}]: ")) && error.contains(said), "{error}");
    };
    refused("After", "a.service", "is no value");
    refused("A b", "5", "not the name of a property");
    refused("TimeoutStopSec", "'5'", "no time in seconds");
    refused("TimeoutStopSec", "-5", "no time in seconds");
}
