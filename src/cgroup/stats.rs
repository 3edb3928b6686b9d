//! What a cgroup has used so far (the kernel's cgroup-v2.rst). Named and ordered as `runc events` prints it; a file that
//! isn't there, since its controller isn't, leaves its numbers at zero.

use std::collections::BTreeMap;

use serde::{Serialize, Serializer};

use super::{Cgroup, files};
use crate::rdt::stats::IntelRdt;

#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Stats {
    pub cpu: Cpu,
    pub cpuset: Cpuset,
    pub memory: Memory,
    pub pids: Pids,
    pub blkio: Blkio,
    /// By the size of pages, as in the file's name: `2MB`.
    pub hugetlb: BTreeMap<String, Hugetlb>,
    /// Empty, since resctrl is no cgroup, unless the caller knows more.
    pub intel_rdt: IntelRdt,
    /// Not counted by cgroups; always null, as with runc.
    pub network_interfaces: Option<()>,
}

/// cpu.stat and cpu.pressure.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Cpu {
    pub usage: CpuUsage,
    pub throttling: Throttling,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub psi: Option<Psi>,
}

/// Nanoseconds.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct CpuUsage {
    #[serde(skip_serializing_if = "is_zero")]
    pub total: u64,
    pub kernel: u64,
    pub user: u64,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Throttling {
    #[serde(skip_serializing_if = "is_zero")]
    pub periods: u64,
    #[serde(skip_serializing_if = "is_zero")]
    pub throttled_periods: u64,
    /// Nanoseconds.
    #[serde(skip_serializing_if = "is_zero")]
    pub throttled_time: u64,
}

/// What v1 told of cpusets; v2 has nothing of it.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Cpuset {
    pub cpu_exclusive: u64,
    pub mem_hardwall: u64,
    pub mem_exclusive: u64,
    pub memory_migrate: u64,
    pub memory_spread_page: u64,
    pub memory_spread_slab: u64,
    pub memory_pressure: u64,
    pub sched_load_balance: u64,
    pub sched_relax_domain_level: i64,
}

/// memory.* in bytes.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Memory {
    #[serde(skip_serializing_if = "is_zero")]
    pub cache: u64,
    pub usage: Usage,
    /// Memory and swap together, as v1 counted them.
    pub swap: Usage,
    /// Not limited by itself in v2.
    pub kernel: Usage,
    #[serde(rename = "kernelTCP")]
    pub kernel_tcp: Usage,
    /// memory.stat.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub raw: BTreeMap<String, u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub psi: Option<Psi>,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Usage {
    /// The largest number if there is none.
    pub limit: u64,
    #[serde(skip_serializing_if = "is_zero")]
    pub usage: u64,
    #[serde(skip_serializing_if = "is_zero")]
    pub max: u64,
    pub failcnt: u64,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Pids {
    #[serde(skip_serializing_if = "is_zero")]
    pub current: u64,
    /// 0 if there is none.
    #[serde(skip_serializing_if = "is_zero")]
    pub limit: u64,
}

/// io.stat and io.pressure.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Blkio {
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub io_service_bytes_recursive: Vec<BlkioEntry>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub io_serviced_recursive: Vec<BlkioEntry>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub psi: Option<Psi>,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct BlkioEntry {
    #[serde(skip_serializing_if = "is_zero")]
    pub major: u64,
    #[serde(skip_serializing_if = "is_zero")]
    pub minor: u64,
    pub op: &'static str,
    #[serde(skip_serializing_if = "is_zero")]
    pub value: u64,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Hugetlb {
    #[serde(skip_serializing_if = "is_zero")]
    pub usage: u64,
    /// Not kept by v2.
    #[serde(skip_serializing_if = "is_zero")]
    pub max: u64,
    pub failcnt: u64,
}

/// Pressure stall information (the kernel's psi.rst).
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Psi {
    pub some: Pressure,
    pub full: Pressure,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Pressure {
    /// Percent of the last 10 s, minute, 5 minutes.
    #[serde(serialize_with = "as_go_does")]
    pub avg10: f64,
    #[serde(serialize_with = "as_go_does")]
    pub avg60: f64,
    #[serde(serialize_with = "as_go_does")]
    pub avg300: f64,
    /// Microseconds.
    pub total: u64,
}

#[allow(clippy::trivially_copy_pass_by_ref)] // serde wants a reference
fn is_zero(number: &u64) -> bool {
    *number == 0
}

/// Without a fraction that is zero.
#[allow(clippy::trivially_copy_pass_by_ref, clippy::float_cmp)] // as above; and it is whole or it isn't
fn as_go_does<S: Serializer>(number: &f64, to: S) -> Result<S::Ok, S::Error> {
    match number.fract() == 0.0 {
        true => to.serialize_u64(*number as u64),
        false => to.serialize_f64(*number),
    }
}

impl Cgroup {
    pub fn stats(&self) -> Stats {
        let read = |file: &str| files::read(self.fd(), file).unwrap_or_default();
        let mut stats = of(&read);
        if stats.pids.current == 0 {
            // Without the controller they can still be counted.
            stats.pids.current = self.pids().map_or(0, |pids| pids.len() as u64);
        }
        stats
    }
}

/// What the files of a cgroup say; `read` gives the text of one, empty if it can't be read.
pub fn of(read: &dyn Fn(&str) -> String) -> Stats {
    let files = Files(read);
    Stats {
        cpu: cpu(&files),
        memory: memory(&files),
        pids: Pids {
            current: files.number("pids.current").unwrap_or(0),
            limit: files.number("pids.max").unwrap_or(0),
        },
        blkio: blkio(&files.text("io.stat"), files.psi("io.pressure")),
        hugetlb: hugetlb(&files, page_sizes()),
        ..Stats::default()
    }
}

struct Files<'a>(&'a dyn Fn(&str) -> String);

impl Files<'_> {
    fn text(&self, file: &str) -> String {
        self.0(file)
    }

    /// `None` for `max` too.
    fn number(&self, file: &str) -> Option<u64> {
        self.text(file).trim().parse().ok()
    }

    fn psi(&self, file: &str) -> Option<Psi> {
        let text = self.text(file);
        (!text.is_empty()).then(|| psi(&text))
    }
}

/// Lines of a key and a number.
fn keyed(text: &str) -> BTreeMap<String, u64> {
    let pair = |line: &str| {
        let (key, value) = line.split_once(' ')?;
        Some((key.to_string(), value.parse().ok()?))
    };
    text.lines().filter_map(pair).collect()
}

fn cpu(files: &Files) -> Cpu {
    let stat = keyed(&files.text("cpu.stat"));
    let number = |key: &str| stat.get(key).copied().unwrap_or(0);
    let nanoseconds = |key: &str| number(key).saturating_mul(1000);
    Cpu {
        usage: CpuUsage {
            total: nanoseconds("usage_usec"),
            kernel: nanoseconds("system_usec"),
            user: nanoseconds("user_usec"),
        },
        throttling: Throttling {
            periods: number("nr_periods"),
            throttled_periods: number("nr_throttled"),
            throttled_time: nanoseconds("throttled_usec"),
        },
        psi: files.psi("cpu.pressure"),
    }
}

fn memory(files: &Files) -> Memory {
    let raw = keyed(&files.text("memory.stat"));
    let usage = |module: &str| {
        let limit = files.text(&format!("{module}.max"));
        Usage {
            limit: match limit.trim() {
                "" => 0, // not counted
                limit => limit.parse().unwrap_or(u64::MAX),
            },
            usage: files.number(&format!("{module}.current")).unwrap_or(0),
            max: files.number(&format!("{module}.peak")).unwrap_or(0),
            failcnt: 0,
        }
    };
    let (memory, swap) = (usage("memory"), usage("memory.swap"));
    Memory {
        cache: raw.get("file").copied().unwrap_or(0),
        swap: Usage {
            limit: swap.limit.saturating_add(memory.limit),
            usage: swap.usage.saturating_add(memory.usage),
            max: 0, // the largest sum isn't known, only the largest of each
            failcnt: 0,
        },
        usage: memory,
        raw,
        psi: files.psi("memory.pressure"),
        ..Memory::default()
    }
}

/// Lines such as `8:0 rbytes=1 wbytes=2 rios=3 wios=4 dbytes=5 dios=6`.
fn blkio(stat: &str, psi: Option<Psi>) -> Blkio {
    let mut found = Blkio { psi, ..Blkio::default() };
    for line in stat.lines() {
        let mut words = line.split(' ');
        let device = words.next().and_then(|device| device.split_once(':'));
        let Some((Ok(major), Ok(minor))) = device.map(|(major, minor)| (major.parse(), minor.parse())) else {
            continue;
        };
        for (key, value) in words.filter_map(|word| word.split_once('=')) {
            let (list, op) = match key {
                "rbytes" => (&mut found.io_service_bytes_recursive, "Read"),
                "wbytes" => (&mut found.io_service_bytes_recursive, "Write"),
                "dbytes" => (&mut found.io_service_bytes_recursive, "Discard"),
                "rios" => (&mut found.io_serviced_recursive, "Read"),
                "wios" => (&mut found.io_serviced_recursive, "Write"),
                "dios" => (&mut found.io_serviced_recursive, "Discard"),
                _ => continue,
            };
            let value = value.parse().unwrap_or(0);
            list.push(BlkioEntry { major, minor, op, value });
        }
    }
    found
}

/// The sizes of huge pages that this kernel has.
fn page_sizes() -> Vec<String> {
    let entries = std::fs::read_dir("/sys/kernel/mm/hugepages");
    let names = entries.into_iter().flatten().flatten().map(|entry| entry.file_name());
    names.filter_map(|name| page_size(name.to_str()?)).collect()
}

fn hugetlb(files: &Files, sizes: Vec<String>) -> BTreeMap<String, Hugetlb> {
    let mut found = BTreeMap::new();
    for size in sizes {
        // What is reserved is charged earlier than what is touched; counted since Linux 5.7.
        let counted = ["rsvd.current", "current"]
            .iter()
            .find_map(|file| files.number(&format!("hugetlb.{size}.{file}")));
        let Some(usage) = counted else { continue };
        let events = keyed(&files.text(&format!("hugetlb.{size}.events")));
        let failcnt = events.get("max").copied().unwrap_or(0);
        found.insert(size, Hugetlb { usage, max: 0, failcnt });
    }
    found
}

/// `hugepages-2048kB` is `2MB` in the names of cgroups' files.
fn page_size(directory: &str) -> Option<String> {
    let kilobytes: u64 = directory.strip_prefix("hugepages-")?.strip_suffix("kB")?.parse().ok()?;
    Some(match kilobytes {
        kb if kb % (1 << 20) == 0 => format!("{}GB", kb >> 20),
        kb if kb % (1 << 10) == 0 => format!("{}MB", kb >> 10),
        kb => format!("{kb}KB"),
    })
}

/// Lines such as `some avg10=0.00 avg60=0.00 avg300=0.00 total=0`.
fn psi(text: &str) -> Psi {
    let pressure = |kind: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(kind)).unwrap_or_default();
        let value = |key: &str| {
            let mut words = line.split(' ').filter_map(|word| word.split_once('='));
            words.find_map(|(name, value)| (name == key).then_some(value)).unwrap_or("0")
        };
        let average = |key: &str| value(key).parse().ok().filter(|n: &f64| n.is_finite()).unwrap_or(0.0);
        Pressure {
            avg10: average("avg10"),
            avg60: average("avg60"),
            avg300: average("avg300"),
            total: value("total").parse().unwrap_or(0),
        }
    };
    Psi { some: pressure("some"), full: pressure("full") }
}

#[cfg(test)]
#[path = "stats_tests.rs"]
mod tests;
