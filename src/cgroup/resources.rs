//! linux.resources as writes to the files of a v2 cgroup (config-linux.md, Control groups; cgroup-v2.rst).
//! Pure: what is written, in which order, and on whose behalf.
//!
//! What v2 has no file for is left out as runc does (memory.kernel, kernelTCP, swappiness, disableOOMKiller,
//! blockIO.leafWeight, network), except where the container would then run without a limit that it counts on.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;

use oci_spec::runtime::{LinuxBlockIo, LinuxCpu, LinuxMemory, LinuxResources, LinuxThrottleDevice};

use crate::error::{Error, Fault, Kind, Result};

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
    /// The kernel may find it invalid before the next write is done; it comes again after that.
    pub again: bool,
}

impl Write {
    fn new(field: impl AsRef<str>, asked: impl ToString, file: &str, value: impl ToString) -> Write {
        Write {
            field: format!("linux.resources.{}", field.as_ref()),
            asked: asked.to_string(),
            file: file.into(),
            value: value.to_string(),
            asks_nothing: false,
            or: None,
            again: false,
        }
    }

    /// A limit where -1 means none.
    fn limit(field: impl AsRef<str>, asked: i64, file: &str) -> Write {
        let value = match asked {
            ..0 => "max".to_string(),
            limit => limit.to_string(),
        };
        Write::new(field, asked, file, value).asking_nothing(asked < 0)
    }

    fn asking_nothing(self, asks_nothing: bool) -> Write {
        Write { asks_nothing, ..self }
    }

    fn or(self, file: &str, value: impl ToString) -> Write {
        Write { or: Some((file.into(), value.to_string())), ..self }
    }
}

/// The writes found so far, and what is wrong.
#[derive(Default)]
struct Found {
    writes: Vec<Write>,
    faults: Vec<Fault>,
}

impl Found {
    fn fault(&mut self, field: impl AsRef<str>, text: String) {
        self.faults.push(fault(field.as_ref(), text));
    }
}

/// Every write that `resources` asks for, or all that is wrong with it.
pub fn writes(resources: &LinuxResources) -> Result<Vec<Write>> {
    let mut found = Found::default();
    if let Some(pids) = resources.pids() {
        // A cgroup with a process in it behaves alike with 0 and 1; but with 0 none could be born into it.
        let limit = Write::limit("pids.limit", pids.limit(), "pids.max");
        found.writes.push(match pids.limit() {
            0 => Write { value: "1".into(), ..limit },
            _ => limit,
        });
    }
    if let Some(given) = resources.memory() {
        memory(given, &mut found);
    }
    if let Some(given) = resources.block_io() {
        block_io(given, &mut found);
    }
    if let Some(given) = resources.cpu() {
        cpu(given, &mut found);
    }
    for (i, limit) in resources.hugepage_limits().iter().flatten().enumerate() {
        let (field, size) = (format!("hugepageLimits[{i}].limit"), limit.page_size());
        let file = |kind: &str| format!("hugetlb.{size}.{kind}");
        found.writes.push(Write::limit(&field, limit.limit(), &file("max")));
        // Only since Linux 5.7, and the other one limits too.
        let reserved = Write::limit(&field, limit.limit(), &file("rsvd.max"));
        found.writes.push(reserved.asking_nothing(true));
    }
    for (device, limits) in resources.rdma().iter().flatten().collect::<BTreeMap<_, _>>() {
        let part = |name: &str, n: Option<u32>| n.map(|n| format!(" {name}={n}")).unwrap_or_default();
        let value = part("hca_handle", limits.hca_handles()) + &part("hca_object", limits.hca_objects());
        if !value.is_empty() {
            let line = format!("{device}{value}");
            found.writes.push(Write::new(format!("rdma[{device}]"), value.trim(), "rdma.max", line));
        }
    }
    unified(resources, &mut found);
    match found.faults.is_empty() {
        true => Ok(found.writes),
        false => Err(Error::invalid("config.json", found.faults)),
    }
}

/// What brings back what the files hold now that `writes` would change. `read` gives the content of a file that is there.
pub fn undoing(writes: &[Write], read: impl Fn(&str) -> Option<String>) -> Vec<Write> {
    let mut found = vec![];
    for write in writes {
        let files = [Some(&write.file), write.or.as_ref().map(|(file, _)| file)];
        let Some((file, held)) = files.into_iter().flatten().find_map(|file| Some((file, read(file)?)))
        else {
            continue;
        };
        let again =
            |value: &str| Write { file: file.clone(), value: value.into(), or: None, ..write.clone() };
        // A device without a limit isn't listed.
        found.extend(without(file, &write.value).map(|value| again(&value)));
        match held.trim() {
            "" => found.push(again("\n")), // nothing written is no write
            held => found.extend(held.lines().map(again)),
        }
        // The weight goes when a cgroup becomes idle, and isn't what it was when that ends.
        if let ("cpu.idle", Some(weight)) = (file.as_str(), read("cpu.weight")) {
            let weight = weight.trim().to_string();
            found.push(Write { file: "cpu.weight".into(), ..again(&weight) });
        }
    }
    found
}

/// Of a value for a device, `MAJOR:MINOR ...`, the one that takes its limits away.
fn without(file: &str, value: &str) -> Option<String> {
    let (device, limits) = value.split_once(' ').filter(|(device, _)| device.contains(':'))?;
    let max = |limit: &str| Some(format!(" {}=max", limit.split_once('=')?.0));
    match file {
        "io.max" => Some(device.to_string() + &limits.split(' ').filter_map(max).collect::<String>()),
        "io.weight" | "io.bfq.weight" => Some(format!("{device} default")),
        _ => None,
    }
}

/// Whether `resources` (device rules aside) can be had without any controller.
pub fn needs_nothing(resources: &LinuxResources) -> bool {
    writes(resources).is_ok_and(|writes| writes.iter().all(|write| write.asks_nothing))
}

/// Whether a container can do without a cgroup, as with `--cgroup-manager disabled`: limits can't be had so. Rules for
/// devices are part of every configuration, so they are no reason.
pub fn check_none(resources: Option<&LinuxResources>) -> Result<()> {
    let writes = resources.map_or(Ok(vec![]), writes)?;
    let limits = writes.into_iter().filter(|write| !write.asks_nothing);
    let faults: Vec<_> = limits
        .map(|write| Fault {
            path: write.field,
            text: format!("{} can't be set without a cgroup", write.asked),
        })
        .collect();
    if faults.is_empty() {
        return Ok(());
    }
    let error = Error::new(Kind::Unsupported, "--cgroup-manager disabled");
    Err(error.with_faults(faults).hint("leave the limits away, or let systemd or cgroupfs manage cgroups"))
}

fn fault(field: &str, text: String) -> Fault {
    Fault { path: format!("linux.resources.{field}"), text }
}

/// v2 counts swap by itself, the configuration memory and swap together.
fn memory(memory: &LinuxMemory, found: &mut Found) {
    let before = found.faults.len();
    let mut take = |field: &str, value: Option<i64>| {
        if let Some(value) = value.filter(|value| *value < -1) {
            found.fault(format!("memory.{field}"), format!("{value} is no size; -1 is no limit"));
        }
        value.filter(|value| *value != 0) // 0 is unset
    };
    let limit = take("limit", memory.limit());
    let reservation = take("reservation", memory.reservation());
    let swap = take("swap", memory.swap());
    if found.faults.len() > before {
        return;
    }
    let file = "memory.swap.max";
    match (limit, swap) {
        // As v1 had it: no limit on memory is none on swap.
        (Some(-1), None) => found.writes.push(Write::limit("memory.limit", -1, file)),
        (_, None) => {}
        (_, Some(-1)) => found.writes.push(Write::limit("memory.swap", -1, file)),
        (Some(-1), Some(swap)) => found.writes.push(Write::limit("memory.swap", swap, file)),
        (None, Some(swap)) => {
            let text = format!("{swap}: unable to set swap limit without memory limit");
            found.fault("memory.swap", text);
        }
        (Some(limit), Some(swap)) if swap < limit => {
            let text = format!("{swap}: memory+swap limit should be >= memory limit, which is {limit}");
            found.fault("memory.swap", text);
        }
        (Some(limit), Some(swap)) => {
            // Without swap accounting there is no file, and nothing to forbid either.
            let only = Write::new("memory.swap", swap, file, swap - limit);
            found.writes.push(only.asking_nothing(swap == limit));
        }
    }
    if let Some(limit) = limit {
        found.writes.push(Write::limit("memory.limit", limit, "memory.max"));
    }
    if let Some(reservation) = reservation {
        let low = Write::limit("memory.reservation", reservation, "memory.low");
        found.writes.push(low);
    }
}

/// What memory.checkBeforeUpdate asks for: a fault for each limit that `usage` (bytes) has reached.
pub fn exceeded(memory: &LinuxMemory, usage: u64) -> Vec<Fault> {
    let limits = [("memory.swap", "memory+swap", memory.swap()), ("memory.limit", "memory", memory.limit())];
    let reached = |limit: i64| limit > 0 && limit.unsigned_abs() <= usage;
    limits
        .into_iter()
        .filter_map(|(field, name, limit)| Some((field, name, limit.filter(|limit| reached(*limit))?)))
        .map(|(field, name, limit)| fault(field, format!("rejecting {name} limit {limit} <= usage {usage}")))
        .collect()
}

fn cpu(cpu: &LinuxCpu, found: &mut Found) {
    if let Some(idle) = cpu.idle() {
        let write = Write::new("cpu.idle", idle, "cpu.idle", idle);
        found.writes.push(write.asking_nothing(idle == 0));
    }
    // An idle cgroup has the least weight of all, and the kernel refuses another.
    if let Some(shares) = cpu.shares().filter(|n| *n != 0 && cpu.idle() != Some(1)) {
        let write = Write::new("cpu.shares", shares, "cpu.weight", weight(shares));
        found.writes.push(write.asking_nothing(shares == DEFAULT_SHARES));
    }
    let (quota, period) = (cpu.quota().filter(|n| *n != 0), cpu.period().filter(|n| *n != 0));
    let burst = cpu.burst().map(|burst| {
        let write = Write::new("cpu.burst", burst, "cpu.max.burst", burst);
        write.asking_nothing(burst == 0)
    });
    let value = match (quota.map(|quota| u64::try_from(quota).ok()), period) {
        (None, None) => None,
        (Some(Some(quota)), Some(period)) => Some(format!("{quota} {period}")),
        (Some(Some(quota)), None) => Some(quota.to_string()),
        (Some(None), None) => Some("max".to_string()),
        (_, Some(period)) => Some(format!("max {period}")),
    };
    if let Some(value) = value {
        // Of two that are set already the burst may not exceed the quota at any time, whichever way both change.
        found.writes.extend(burst.clone().map(|burst| Write { again: true, ..burst }));
        let (field, asked) = match quota {
            Some(quota) => ("cpu.quota", quota.to_string()),
            None => ("cpu.period", period.unwrap_or_default().to_string()),
        };
        let write = Write::new(field, asked, "cpu.max", value);
        found.writes.push(write.asking_nothing(quota.is_none_or(|quota| quota < 0)));
    }
    found.writes.extend(burst);
    let period = cpu.realtime_period().map(|n| n.to_string());
    let runtime = cpu.realtime_runtime().map(|n| n.to_string());
    for (field, asked) in [("cpu.realtimeRuntime", runtime), ("cpu.realtimePeriod", period)] {
        if let Some(asked) = asked.filter(|asked| asked != "0") {
            found.fault(field, format!("{asked}: cgroup v2 has no realtime limits"));
        }
    }
    for (field, file, set) in
        [("cpu.cpus", "cpuset.cpus", cpu.cpus()), ("cpu.mems", "cpuset.mems", cpu.mems())]
    {
        if let Some(set) = set.as_ref().filter(|set| !set.is_empty()) {
            found.writes.push(Write::new(field, set, file, set));
        }
    }
}

/// The kernel's own weight of 100, as shares.
const DEFAULT_SHARES: u64 = 1024;

/// CPU shares (2 to 262144, 1024 is the default) as a v2 weight (1 to 10000, 100 is the default), so that the
/// ends and the defaults meet: 10^((l² + 125·l) / 612 − 7/34) with l = log2(shares), rounded up. Here 7/34 is
/// 126/612, so that these points come out exactly.
pub fn weight(shares: u64) -> u64 {
    match shares {
        0..=2 => 1,
        262_144.. => 10_000,
        shares => {
            let l = (shares as f64).log2();
            10f64.powf((l * l + 125.0 * l - 126.0) / 612.0).ceil() as u64
        }
    }
}

/// Of blockIO.weight and weightDevice (config-linux.md, Block IO).
const WEIGHTS: RangeInclusive<u16> = 10..=1000;

/// bfq takes a weight as it is, the io controller's own (1 to 10000) is spread over the same range.
fn io_weight(weight: u16) -> u64 {
    1 + (u64::from(weight) - 10) * 9999 / 990
}

fn block_io(block_io: &LinuxBlockIo, found: &mut Found) {
    let whole = block_io.weight().map(|weight| ("blockIO.weight".into(), String::new(), weight));
    let devices = block_io.weight_device().iter().flatten().enumerate().filter_map(|(i, device)| {
        let field = format!("blockIO.weightDevice[{i}].weight");
        Some((field, format!("{}:{} ", device.major(), device.minor()), device.weight()?))
    });
    for (field, device, weight) in whole.into_iter().chain(devices) {
        match weight {
            0 => {} // unset
            weight if WEIGHTS.contains(&weight) => {
                let write = Write::new(field, weight, "io.bfq.weight", format!("{device}{weight}"));
                let scaled = format!("{device}{}", io_weight(weight));
                found.writes.push(write.or("io.weight", scaled));
            }
            _ => {
                let text = format!("{weight} is not from {} to {}", WEIGHTS.start(), WEIGHTS.end());
                found.fault(field, text);
            }
        }
    }
    let throttles: [(&str, &str, &Option<Vec<LinuxThrottleDevice>>); 4] = [
        ("throttleReadBpsDevice", "rbps", block_io.throttle_read_bps_device()),
        ("throttleWriteBpsDevice", "wbps", block_io.throttle_write_bps_device()),
        ("throttleReadIOPSDevice", "riops", block_io.throttle_read_iops_device()),
        ("throttleWriteIOPSDevice", "wiops", block_io.throttle_write_iops_device()),
    ];
    for (field, key, devices) in throttles {
        for (i, device) in devices.iter().flatten().enumerate() {
            let (field, rate) = (format!("blockIO.{field}[{i}].rate"), device.rate());
            let value = match rate {
                0 => "max".to_string(),
                rate => rate.to_string(),
            };
            let value = format!("{}:{} {key}={value}", device.major(), device.minor());
            found.writes.push(Write::new(field, rate, "io.max", value).asking_nothing(rate == 0));
        }
    }
}

/// Files by their own names, after all else. A value of several lines is written line by line, as the kernel
/// takes them.
fn unified(resources: &LinuxResources, found: &mut Found) {
    for (file, value) in resources.unified().iter().flatten().collect::<BTreeMap<_, _>>() {
        let field = format!("unified[{file}]");
        if file.contains(['/', '\0']) || !file.contains('.') || file == "." || file == ".." {
            found.fault(field, format!("{file:?} is not the name of a file of a cgroup"));
            continue;
        }
        for line in value.lines().filter(|line| !line.is_empty()) {
            found.writes.push(Write::new(&field, format!("{value:?}"), file, line));
        }
    }
}

#[cfg(test)]
#[path = "resources_tests.rs"]
mod tests;
