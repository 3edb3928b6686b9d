//! linux.resources as writes to the files of a v2 cgroup (config-linux.md, Control groups; cgroup-v2.rst).
//! Pure: what is written, in which order, and on whose behalf.
//!
//! What v2 has no file for is left out as runc does (memory.kernel, kernelTCP, swappiness, disableOOMKiller,
//! blockIO.leafWeight, network), except where the container would then run without a limit that it counts on.

use std::collections::BTreeMap;

use oci_spec::runtime::{LinuxBlockIo, LinuxCpu, LinuxMemory, LinuxResources, LinuxThrottleDevice};

use crate::error::{Error, Fault, Result};

/// The kernel's own period of cpu.max, in microseconds.
const PERIOD: u64 = 100_000;

/// One value for one file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Write {
    /// The field that asks for it, and what it says there.
    pub field: String,
    pub asked: String,
    pub file: String,
    pub value: String,
    /// It limits nothing, so a host without the file does as it is told.
    pub asks_nothing: bool,
    /// Where the first file doesn't exist: another file that does the same, with its value.
    pub or: Option<(String, String)>,
}

impl Write {
    fn new(field: &str, asked: impl ToString, file: &str, value: impl ToString) -> Write {
        Write {
            field: format!("linux.resources.{field}"),
            asked: asked.to_string(),
            file: file.into(),
            value: value.to_string(),
            asks_nothing: false,
            or: None,
        }
    }

    /// A limit where -1 means none.
    fn limit(field: &str, asked: i64, file: &str) -> Write {
        let value = if asked < 0 {
            "max".to_string()
        } else {
            asked.to_string()
        };
        Write {
            asks_nothing: asked < 0,
            ..Write::new(field, asked, file, value)
        }
    }
}

/// Every write that `resources` asks for, or all that is wrong with it.
pub fn writes(resources: &LinuxResources) -> Result<Vec<Write>> {
    let mut found = Vec::new();
    let mut faults = Vec::new();
    if let Some(pids) = resources.pids() {
        found.push(Write::limit("pids.limit", pids.limit(), "pids.max"));
    }
    if let Some(memory) = resources.memory() {
        memory_writes(memory, &mut found, &mut faults);
    }
    if let Some(block_io) = resources.block_io() {
        block_io_writes(block_io, &mut found);
    }
    if let Some(cpu) = resources.cpu() {
        cpu_writes(cpu, &mut found, &mut faults);
    }
    for (i, limit) in resources.hugepage_limits().iter().flatten().enumerate() {
        let (field, size) = (format!("hugepageLimits[{i}].limit"), limit.page_size());
        found.push(Write::limit(
            &field,
            limit.limit(),
            &format!("hugetlb.{size}.max"),
        ));
        let reserved = Write::limit(&field, limit.limit(), &format!("hugetlb.{size}.rsvd.max"));
        found.push(Write {
            asks_nothing: true,
            ..reserved
        }); // only since Linux 5.7, and the other one limits too
    }
    for (device, limits) in resources.rdma().iter().flatten().collect::<BTreeMap<_, _>>() {
        let part = |name: &str, n: Option<u32>| n.map(|n| format!(" {name}={n}")).unwrap_or_default();
        let value = part("hca_handle", limits.hca_handles()) + &part("hca_object", limits.hca_objects());
        found.push(Write::new(
            &format!("rdma[{device}]"),
            value.trim(),
            "rdma.max",
            format!("{device}{value}"),
        ));
    }
    unified_writes(resources, &mut found, &mut faults);
    if faults.is_empty() {
        Ok(found)
    } else {
        Err(Error::invalid("config.json", faults))
    }
}

fn fault(field: &str, text: String) -> Fault {
    Fault {
        path: format!("linux.resources.{field}"),
        text,
    }
}

/// v2 counts swap by itself, the configuration memory and swap together.
fn memory_writes(memory: &LinuxMemory, found: &mut Vec<Write>, faults: &mut Vec<Fault>) {
    let limit = memory.limit().filter(|limit| *limit != 0);
    match (limit, memory.swap()) {
        (Some(-1), None | Some(0)) => {
            let swap = Write::new("memory.limit", -1, "memory.swap.max", "max");
            found.push(Write {
                asks_nothing: true,
                ..swap
            });
        }
        (_, None | Some(0)) => {}
        (_, Some(swap)) if swap < 0 => found.push(Write::limit("memory.swap", swap, "memory.swap.max")),
        (None, Some(swap)) => {
            faults.push(fault(
                "memory.swap",
                format!("{swap}: unable to set swap limit without memory limit"),
            ));
        }
        (Some(limit), Some(swap)) if limit < 0 || swap < limit => {
            let text = format!("{swap}: memory+swap limit should be >= memory limit, which is {limit}");
            faults.push(fault("memory.swap", text));
        }
        (Some(limit), Some(swap)) => {
            let only = Write::new("memory.swap", swap, "memory.swap.max", swap - limit);
            // Without swap accounting there is no file; then no swap beyond the limit is what there is.
            found.push(Write {
                asks_nothing: swap == limit,
                ..only
            });
        }
    }
    if let Some(limit) = limit {
        found.push(Write::limit("memory.limit", limit, "memory.max"));
    }
    if let Some(reservation) = memory.reservation().filter(|reservation| *reservation != 0) {
        found.push(Write::limit("memory.reservation", reservation, "memory.low"));
    }
}

fn cpu_writes(cpu: &LinuxCpu, found: &mut Vec<Write>, faults: &mut Vec<Fault>) {
    if let Some(shares) = cpu.shares().filter(|shares| *shares != 0) {
        found.push(Write::new("cpu.shares", shares, "cpu.weight", weight(shares)));
    }
    if let Some(idle) = cpu.idle() {
        found.push(Write {
            asks_nothing: idle == 0,
            ..Write::new("cpu.idle", idle, "cpu.idle", idle)
        });
    }
    let (quota, period) = (cpu.quota().filter(|q| *q != 0), cpu.period().filter(|p| *p != 0));
    if quota.is_some() || period.is_some() {
        let none = quota.is_none_or(|quota| quota < 0);
        let value = if none {
            "max".into()
        } else {
            quota.unwrap_or_default().to_string()
        };
        let (field, asked) = match quota {
            Some(quota) => ("cpu.quota", quota.to_string()),
            None => ("cpu.period", period.unwrap_or_default().to_string()),
        };
        let value = format!("{value} {}", period.unwrap_or(PERIOD));
        found.push(Write {
            asks_nothing: none,
            ..Write::new(field, asked, "cpu.max", value)
        });
    }
    if let Some(burst) = cpu.burst() {
        // After the quota, which it may not exceed.
        found.push(Write {
            asks_nothing: burst == 0,
            ..Write::new("cpu.burst", burst, "cpu.max.burst", burst)
        });
    }
    for (field, asked) in [
        ("cpu.realtimeRuntime", cpu.realtime_runtime().filter(|n| *n != 0)),
        (
            "cpu.realtimePeriod",
            cpu.realtime_period().filter(|n| *n != 0).map(|n| n as i64),
        ),
    ] {
        if let Some(asked) = asked {
            faults.push(fault(field, format!("{asked}: cgroup v2 has no realtime limits")));
        }
    }
    for (field, file, set) in [
        ("cpu.cpus", "cpuset.cpus", cpu.cpus()),
        ("cpu.mems", "cpuset.mems", cpu.mems()),
    ] {
        if let Some(set) = set.as_ref().filter(|set| !set.is_empty()) {
            found.push(Write::new(field, set, file, set));
        }
    }
}

/// CPU shares (2 to 262144, 1024 is the default) as a v2 weight (1 to 10000, 100 is the default), so that the
/// ends and the defaults meet: 10^((l² + 125·l) / 612 − 7/34) with l = log2(shares), rounded up.
pub fn weight(shares: u64) -> u64 {
    match shares {
        0..=2 => 1,
        262_144.. => 10_000,
        shares => {
            let l = (shares as f64).log2();
            let exponent = (l * l + 125.0 * l) / 612.0 - 7.0 / 34.0;
            10f64.powf(exponent).ceil() as u64
        }
    }
}

fn block_io_writes(block_io: &LinuxBlockIo, found: &mut Vec<Write>) {
    if let Some(weight) = block_io.weight().filter(|weight| *weight != 0) {
        // bfq takes the number as it is (10 to 1000), the io controller its own (1 to 10000).
        let scaled = 1 + (u64::from(weight).max(10) - 10) * 9999 / 990;
        let write = Write::new("blockIO.weight", weight, "io.bfq.weight", weight);
        found.push(Write {
            or: Some(("io.weight".into(), scaled.to_string())),
            ..write
        });
    }
    for (i, device) in block_io.weight_device().iter().flatten().enumerate() {
        if let Some(weight) = device.weight() {
            let value = format!("{}:{} {weight}", device.major(), device.minor());
            found.push(Write::new(
                &format!("blockIO.weightDevice[{i}].weight"),
                weight,
                "io.bfq.weight",
                value,
            ));
        }
    }
    let throttles: [(&str, &str, &Option<Vec<LinuxThrottleDevice>>); 4] = [
        (
            "throttleReadBpsDevice",
            "rbps",
            block_io.throttle_read_bps_device(),
        ),
        (
            "throttleWriteBpsDevice",
            "wbps",
            block_io.throttle_write_bps_device(),
        ),
        (
            "throttleReadIOPSDevice",
            "riops",
            block_io.throttle_read_iops_device(),
        ),
        (
            "throttleWriteIOPSDevice",
            "wiops",
            block_io.throttle_write_iops_device(),
        ),
    ];
    for (field, key, devices) in throttles {
        for (i, device) in devices.iter().flatten().enumerate() {
            let rate = if device.rate() == 0 {
                "max".into()
            } else {
                device.rate().to_string()
            };
            let value = format!("{}:{} {key}={rate}", device.major(), device.minor());
            let write = Write::new(
                &format!("blockIO.{field}[{i}].rate"),
                device.rate(),
                "io.max",
                value,
            );
            found.push(Write {
                asks_nothing: device.rate() == 0,
                ..write
            });
        }
    }
}

/// Files by their own names, after all else. A value of several lines is written line by line, as the kernel
/// takes them.
fn unified_writes(resources: &LinuxResources, found: &mut Vec<Write>, faults: &mut Vec<Fault>) {
    for (file, value) in resources.unified().iter().flatten().collect::<BTreeMap<_, _>>() {
        let field = format!("unified[{file}]");
        if file.contains('/') || !file.contains('.') || file.contains('\0') {
            faults.push(fault(
                &field,
                format!("{file:?} is not the name of a file of a cgroup"),
            ));
            continue;
        }
        for line in value.lines().filter(|line| !line.is_empty()) {
            found.push(Write::new(&field, format!("{value:?}"), file, line));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(json: &str, expected: &[(&str, &str)]) {
        let resources = serde_json::from_str(json).expect(json);
        let found = writes(&resources).expect(json);
        let found: Vec<_> = found
            .iter()
            .map(|w| (w.file.as_str(), w.value.as_str()))
            .collect();
        assert_eq!(found, expected, "{json}");
    }

    fn refuse(json: &str, path: &str, part: &str) {
        let resources = serde_json::from_str(json).expect(json);
        let text = writes(&resources).expect_err(json).to_string();
        assert!(text.contains(path) && text.contains(part), "{text}");
    }

    #[test]
    fn weights_meet_at_the_ends_and_the_default() {
        for (shares, expected) in [(1, 1), (2, 1), (1024, 100), (262_144, 10_000), (300_000, 10_000)] {
            assert_eq!(weight(shares), expected, "{shares}");
        }
        assert!((3..262_144).step_by(997).all(|s| weight(s) <= weight(s + 1)));
    }

    #[test]
    fn memory_and_swap() {
        check(r#"{"memory":{"limit":1000}}"#, &[("memory.max", "1000")]);
        check(
            r#"{"memory":{"limit":1000,"swap":3000}}"#,
            &[("memory.swap.max", "2000"), ("memory.max", "1000")],
        );
        check(
            r#"{"memory":{"limit":1000,"swap":1000}}"#,
            &[("memory.swap.max", "0"), ("memory.max", "1000")],
        );
        check(
            r#"{"memory":{"limit":1000,"swap":-1}}"#,
            &[("memory.swap.max", "max"), ("memory.max", "1000")],
        );
        check(
            r#"{"memory":{"limit":-1}}"#,
            &[("memory.swap.max", "max"), ("memory.max", "max")],
        );
        check(
            r#"{"memory":{"reservation":5,"kernel":7,"swappiness":3}}"#,
            &[("memory.low", "5")],
        );
        check(r#"{"memory":{"limit":0,"swap":0}}"#, &[]);
        refuse(
            r#"{"memory":{"limit":1000,"swap":500}}"#,
            "linux.resources.memory.swap",
            "should be >= memory limit",
        );
        refuse(
            r#"{"memory":{"swap":500}}"#,
            "linux.resources.memory.swap",
            "without memory limit",
        );
    }

    #[test]
    fn cpu() {
        check(r#"{"cpu":{"shares":1024}}"#, &[("cpu.weight", "100")]);
        check(
            r#"{"cpu":{"quota":50000,"period":200000,"burst":10}}"#,
            &[("cpu.max", "50000 200000"), ("cpu.max.burst", "10")],
        );
        check(r#"{"cpu":{"quota":-1}}"#, &[("cpu.max", "max 100000")]);
        check(r#"{"cpu":{"period":5000}}"#, &[("cpu.max", "max 5000")]);
        check(
            r#"{"cpu":{"idle":1,"cpus":"0-1","mems":"0"}}"#,
            &[("cpu.idle", "1"), ("cpuset.cpus", "0-1"), ("cpuset.mems", "0")],
        );
        refuse(
            r#"{"cpu":{"realtimeRuntime":5}}"#,
            "linux.resources.cpu.realtimeRuntime",
            "no realtime",
        );
    }

    #[test]
    fn the_rest() {
        check(r#"{"pids":{"limit":-1}}"#, &[("pids.max", "max")]);
        check(r#"{"pids":{"limit":0}}"#, &[("pids.max", "0")]);
        check(
            r#"{"blockIO":{"weight":10,"throttleReadBpsDevice":[{"major":8,"minor":0,"rate":9}]}}"#,
            &[("io.bfq.weight", "10"), ("io.max", "8:0 rbps=9")],
        );
        check(
            r#"{"hugepageLimits":[{"pageSize":"2MB","limit":5}]}"#,
            &[("hugetlb.2MB.max", "5"), ("hugetlb.2MB.rsvd.max", "5")],
        );
        check(
            r#"{"rdma":{"mlx":{"hcaHandles":3,"hcaObjects":4}}}"#,
            &[("rdma.max", "mlx hca_handle=3 hca_object=4")],
        );
        check(
            r#"{"unified":{"io.max":"8:0 rbps=1\n8:1 rbps=2","cpu.weight":"7"}}"#,
            &[
                ("cpu.weight", "7"),
                ("io.max", "8:0 rbps=1"),
                ("io.max", "8:1 rbps=2"),
            ],
        );
        refuse(
            r#"{"unified":{"../memory.max":"1"}}"#,
            "linux.resources.unified[../memory.max]",
            "not the name",
        );
    }

    #[test]
    fn io_weight_covers_its_range() {
        let io = |weight: u16| {
            let mut found = vec![];
            let block_io = serde_json::from_str(&format!(r#"{{"weight":{weight}}}"#)).expect("block io");
            block_io_writes(&block_io, &mut found);
            found.remove(0).or.expect("io.weight").1
        };
        assert_eq!(
            (io(10).as_str(), io(1000).as_str(), io(500).as_str()),
            ("1", "10000", "4950")
        );
    }
}
