//! What systemd is told of a container: linux.resources as properties of its scope, so that systemd, which writes its
//! own idea of a scope to the kernel again (at daemon-reload, say), has ours; and annotations that are properties. Pure.
//!
//! All that is written to files ([`super::resources`]) is written there also with systemd, so a limit that it has no
//! property for is kept as well, and an exact one where a property is coarser.

use std::collections::BTreeMap;

use super::devices::{self, Kind, Rule};
use super::resources::Write;
use crate::error::{Error, Fault, Result};
use crate::spec::annotations::SYSTEMD_PROPERTY as PREFIX;
use crate::systemd::{Properties, Value};

/// systemd's word for no limit.
const INFINITY: u64 = u64::MAX;
/// An idle cgroup as a weight of 0, and the version that has it.
pub const IDLE_SINCE: u32 = 252;

/// The properties for these writes; for some files there is none. `version` is systemd's.
pub fn of_writes(writes: &[Write], version: u32) -> Properties {
    let mut found: Properties = vec![];
    let mut quota = None;
    for write in writes {
        match (write.file.as_str(), write.value.trim()) {
            ("cpu.max", value) => quota = Some(value),
            ("cpu.idle", "1") if version >= IDLE_SINCE => found.push(("CPUWeight".into(), Value::U64(0))),
            ("cpu.idle", "0") => found.push(("CPUWeight".into(), Value::U64(INFINITY))), // what it was without it
            ("io.bfq.weight", _) => found.extend(write.or.as_ref().and_then(|(_, value)| io_weight(value))),
            ("io.weight", value) => found.extend(io_weight(value)),
            ("io.max", value) => found.extend(io_max(value)),
            (file, value) => found.extend(simple(file, value)),
        }
    }
    // The burst goes around the quota, so that one is written once or twice.
    found.extend(quota.into_iter().flat_map(cpu_quota));
    found
}

fn property(name: &str, value: Value) -> (String, Value) {
    (name.into(), value)
}

fn number(value: &str) -> Option<u64> {
    match value {
        "max" => Some(INFINITY),
        value => value.parse().ok(),
    }
}

fn simple(file: &str, value: &str) -> Option<(String, Value)> {
    let name = match file {
        "memory.max" => "MemoryMax",
        "memory.high" => "MemoryHigh",
        "memory.low" => "MemoryLow",
        "memory.min" => "MemoryMin",
        "memory.swap.max" => "MemorySwapMax",
        "memory.zswap.max" => "MemoryZSwapMax",
        "pids.max" => "TasksMax",
        "cpu.weight" => "CPUWeight",
        "cpuset.cpus" => return Some(property("AllowedCPUs", Value::bytes(&mask(value)?))),
        "cpuset.mems" => return Some(property("AllowedMemoryNodes", Value::bytes(&mask(value)?))),
        _ => return None,
    };
    Some(property(name, Value::U64(number(value)?)))
}

/// A list such as `0-3,7` (cpuset(7)) as bits, the lowest first.
fn mask(list: &str) -> Option<Vec<u8>> {
    const MOST: usize = 8192;
    let mut bits: Vec<u8> = vec![];
    for part in list.split(',').map(str::trim).filter(|part| !part.is_empty()) {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let (first, last): (usize, usize) = (first.trim().parse().ok()?, last.trim().parse().ok()?);
        if first > last || last >= MOST {
            return None;
        }
        bits.resize(bits.len().max(last / 8 + 1), 0);
        (first..=last).for_each(|n| bits[n / 8] |= 1 << (n % 8));
    }
    Some(bits) // none is no limit
}

/// `QUOTA PERIOD` in microseconds. systemd keeps a quota in whole percents of a CPU, so it is told the next one up; the
/// file has it exactly.
fn cpu_quota(value: &str) -> Properties {
    const PERCENT: u64 = 10_000; // of a second, in microseconds
    const SECOND: u64 = 1_000_000;
    let mut words = value.split_whitespace();
    let quota = words.next().and_then(number);
    let period: Option<u64> = words.next().and_then(|period| period.parse().ok());
    let mut found = vec![];
    if let Some(period) = period {
        found.push(property("CPUQuotaPeriodUSec", Value::U64(period)));
    }
    let per_second = match (quota, period.unwrap_or(100_000)) {
        (None, _) | (_, 0) => return found,
        (Some(INFINITY), _) => INFINITY,
        (Some(quota), period) => {
            let exact = u128::from(quota) * u128::from(SECOND) / u128::from(period);
            u64::try_from(exact)
                .ok()
                .and_then(|exact| exact.checked_next_multiple_of(PERCENT))
                .unwrap_or(INFINITY)
        }
    };
    found.push(property("CPUQuotaPerSecUSec", Value::U64(per_second)));
    found
}

/// `/dev/block/8:0` for `8:0`; systemd looks the device up.
fn device_value(device: &str, n: u64) -> Value {
    let pair = Value::Struct(vec![Value::text(format!("/dev/block/{device}")), Value::U64(n)]);
    Value::Array("(st)".into(), vec![pair])
}

/// `WEIGHT`, `default WEIGHT` or `MAJOR:MINOR WEIGHT`.
fn io_weight(value: &str) -> Option<(String, Value)> {
    let (who, weight) = value.split_once(' ').unwrap_or(("default", value));
    let weight = number(weight)?;
    Some(match who {
        "default" => property("IOWeight", Value::U64(weight)),
        device => property("IODeviceWeight", device_value(device, weight)),
    })
}

/// `MAJOR:MINOR KEY=N KEY=N`.
fn io_max(value: &str) -> Properties {
    let mut words = value.split_whitespace();
    let device = words.next().unwrap_or_default();
    let limits = words.filter_map(|word| {
        let (key, n) = word.split_once('=')?;
        let name = match key {
            "rbps" => "IOReadBandwidthMax",
            "wbps" => "IOWriteBandwidthMax",
            "riops" => "IOReadIOPSMax",
            "wiops" => "IOWriteIOPSMax",
            _ => return None,
        };
        Some(property(name, device_value(device, number(n)?)))
    });
    limits.collect()
}

/// The device rules for systemd. An access must be allowed by its program and by ours; so its list, which has no
/// refusals and no order, may allow too much, never too little.
pub fn of_devices(rules: &[Rule]) -> Properties {
    let mut all = vec![];
    if !devices::allow_all(rules) {
        let last = rules.iter().rposition(|rule| !rule.allow && rule.is_for_all());
        let rules = &rules[last.map_or(0, |last| last + 1)..];
        rules.iter().filter(|rule| rule.allow).for_each(|rule| allow(rule, &mut all));
    }
    let policy = if all.is_empty() { "auto" } else { "strict" };
    let list = |rows| property("DeviceAllow", Value::Array("(ss)".into(), rows));
    let mut found = vec![property("DevicePolicy", Value::text(policy)), list(vec![])];
    if !all.is_empty() {
        found.push(list(all));
    }
    found
}

fn allow(rule: &Rule, found: &mut Vec<Value>) {
    let letters = [(devices::READ, 'r'), (devices::WRITE, 'w'), (devices::MKNOD, 'm')];
    let access: String = letters.iter().filter(|(bit, _)| rule.access & bit != 0).map(|(_, c)| *c).collect();
    if access.is_empty() {
        return;
    }
    for (kind, name) in [(Kind::Char, "char"), (Kind::Block, "block")] {
        if rule.kind.is_some_and(|only| only != kind) {
            continue;
        }
        let device = match (rule.major, rule.minor) {
            (Some(major), Some(minor)) => format!("/dev/{name}/{major}:{minor}"),
            (Some(major), None) => format!("{name}-{major}"),
            (None, _) => format!("{name}-*"),
        };
        found.push(Value::Struct(vec![Value::text(device), Value::text(access.as_str())]));
    }
}

/// The properties among the annotations, in the order of their names.
pub fn of_annotations<'a>(annotations: impl Iterator<Item = (&'a String, &'a String)>) -> Result<Properties> {
    let mut faults = vec![];
    let mut found = vec![];
    for (key, text) in annotations.collect::<BTreeMap<_, _>>() {
        let Some(name) = key.strip_prefix(PREFIX) else {
            continue;
        };
        match of_annotation(name, text) {
            Ok(property) => found.push(property),
            Err(text) => faults.push(Fault { path: format!("annotations[{key}]"), text }),
        }
    }
    match faults.is_empty() {
        true => Ok(found),
        false => Err(Error::invalid("config.json", faults)
            .hint("a value is written as for busctl: true, 5, uint64 5, 'text', ['a', 'b']")),
    }
}

/// systemd writes times in seconds in its files and in microseconds here, with names to match.
fn of_annotation(name: &str, text: &str) -> Result<(String, Value), String> {
    if name.len() < 3 || !name.chars().all(|c| c.is_ascii_alphabetic()) {
        return Err(format!(
            "{name:?} is not the name of a property: three letters or more, and nothing else"
        ));
    }
    let value = Value::parse(text).map_err(|error| format!("{text:?}: {error}"))?;
    match name.strip_suffix("Sec").filter(|_| !name.ends_with("USec")) {
        Some(stem) => {
            Ok((format!("{stem}USec"), microseconds(value).ok_or(format!("{text:?} is no time in seconds"))?))
        }
        None => Ok((name.into(), value)),
    }
}

fn microseconds(seconds: Value) -> Option<Value> {
    const SECOND: u64 = 1_000_000;
    let whole = match seconds {
        Value::Byte(n) => u64::from(n),
        Value::I16(n) => n.try_into().ok()?,
        Value::U16(n) => n.into(),
        Value::I32(n) => n.try_into().ok()?,
        Value::U32(n) => n.into(),
        Value::I64(n) => n.try_into().ok()?,
        Value::U64(n) => n,
        Value::Double(n) if n >= 0.0 && n < u64::MAX as f64 / 1e6 => {
            return Some(Value::U64((n * 1e6) as u64));
        }
        _ => return None,
    };
    Some(Value::U64(whole.checked_mul(SECOND)?))
}

#[cfg(test)]
#[path = "properties_tests.rs"]
mod tests;
