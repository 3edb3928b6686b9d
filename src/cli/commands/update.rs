//! `update`: an option for each limit that runc names, and what it is in linux.resources.

use clap::ArgMatches;
use serde_json::{Map, Value};

use super::Row;
use crate::cli::arg::{ask, id, option, path, take};
use crate::cli::{Command, Update};

/// How the value of an option is read.
#[derive(Clone, Copy)]
enum Reads {
    /// Bytes, with a unit or without, or -1.
    Size,
    Number,
    Text,
}

use Reads::*;

/// Option, field of linux.resources, how it is read, value's name, help.
const LIMITS: [(&str, &str, Reads, &str, &str); 14] = [
    ("blkio-weight", "blockIO.weight", Number, "N", "Weight of its block I/O, 10 to 1000"),
    ("cpu-period", "cpu.period", Number, "US", "Length of a period for --cpu-quota, in microseconds"),
    ("cpu-quota", "cpu.quota", Number, "US", "CPU time in each period, in microseconds; -1: no limit"),
    ("cpu-burst", "cpu.burst", Number, "US", "What may be saved up of the quota, in microseconds"),
    ("cpu-share", "cpu.shares", Number, "N", "Weight against other containers"),
    ("cpu-rt-period", "cpu.realtimePeriod", Number, "US", "Not to be had in cgroup v2"),
    ("cpu-rt-runtime", "cpu.realtimeRuntime", Number, "US", "Not to be had in cgroup v2"),
    ("cpu-idle", "cpu.idle", Number, "0|1", "Run only when nobody else wants to"),
    ("cpuset-cpus", "cpu.cpus", Text, "LIST", "CPUs to run on, such as 0-3,7"),
    ("cpuset-mems", "cpu.mems", Text, "LIST", "Memory nodes to use"),
    ("memory", "memory.limit", Size, "BYTES", "Limit of memory, such as 512m; -1: none"),
    (
        "memory-reservation",
        "memory.reservation",
        Size,
        "BYTES",
        "Memory that is left to it if there is enough",
    ),
    ("memory-swap", "memory.swap", Size, "BYTES", "Limit of memory and swap together; -1: none"),
    ("pids-limit", "pids.limit", Number, "N", "Limit of processes; -1: none"),
];

/// Of linux.intelRdt, and how its lines begin.
const RDT: [(&str, &str); 2] = [("l3-cache-schema", "L3"), ("mem-bw-schema", "MB:")];

/// Those of cgroup v1 that runc still takes.
const IGNORED: [&str; 2] = ["kernel-memory", "kernel-memory-tcp"];

pub const UPDATE: Row = Row {
    name: "update",
    about: "Set other limits for a running container",
    args: || {
        let mut args = vec![path(
            "resources",
            Some('r'),
            "FILE",
            "Read them from this file as linux.resources, - for standard input; other options don't count then",
        )];
        for (name, _, reads, value, help) in LIMITS {
            let limit = option(name, None, value, help).allow_hyphen_values(true);
            args.push(match reads {
                Size => limit.value_parser(size),
                Number => limit.value_parser(number),
                Text => limit.value_parser(|text: &str| Ok::<Value, &str>(text.into())),
            });
        }
        let [cache, memory] = RDT.map(|(name, _)| option(name, None, "LINE", "A line of linux.intelRdt"));
        args.extend([cache.value_parser(of_cache), memory.value_parser(of_memory)]);
        args.extend(IGNORED.map(|name| option(name, None, "BYTES", "Ignored").hide(true)));
        args.push(id());
        args
    },
    ends_flags: false,
    enters: false,
    read: |m| {
        ask(Command::Update(Box::new(Update {
            resources: m.remove_one("resources"),
            limits: limits(m),
            rdt: rdt(m),
            ignored: given(m),
            id: take(m, "id"),
        })))
    },
};

fn limits(m: &mut ArgMatches) -> Map<String, Value> {
    let mut limits = Map::new();
    for (name, field, ..) in LIMITS {
        if let (Some(value), Some((object, key))) = (m.remove_one::<Value>(name), field.split_once('.')) {
            let object = limits.entry(object).or_insert_with(|| Map::new().into());
            object[key] = value;
        }
    }
    limits
}

fn rdt(m: &mut ArgMatches) -> Vec<String> {
    let lines = RDT.into_iter().filter_map(|(name, _)| m.remove_one::<String>(name));
    lines.collect()
}

/// linux.intelRdt.l3CacheSchema, by the rule of config.json.
fn of_cache(line: &str) -> Result<String, &'static str> {
    let fits = line.starts_with(RDT[0].1) && !line.contains('\n');
    fits.then(|| line.to_string()).ok_or("one line that begins with L3, such as L3:0=f")
}

/// linux.intelRdt.memBwSchema.
fn of_memory(line: &str) -> Result<String, &'static str> {
    let fits = line.starts_with(RDT[1].1) && !line.contains('\n');
    fits.then(|| line.to_string()).ok_or("one line that begins with MB:, such as MB:0=20")
}

/// The option for a line of [`Update::rdt`].
pub fn rdt_flag(line: &str) -> &'static str {
    let memory = RDT.iter().find(|(_, begin)| line.starts_with(begin));
    memory.map_or(RDT[0].0, |(name, _)| name)
}

fn given(m: &mut ArgMatches) -> Vec<String> {
    let given = IGNORED.into_iter().filter(|name| m.remove_one::<String>(name).is_some());
    given.map(str::to_string).collect()
}

/// The options that gave these limits, and their values.
pub fn flags(limits: &Map<String, Value>) -> Vec<(&'static str, String)> {
    let value = |field: &str| {
        let (object, key) = field.split_once('.')?;
        let value = limits.get(object)?.get(key)?;
        Some(value.as_str().map_or_else(|| value.to_string(), str::to_string))
    };
    let flags = LIMITS.iter().filter_map(|(name, field, ..)| Some((*name, value(field)?)));
    flags.collect()
}

fn number(text: &str) -> Result<Value, &'static str> {
    text.parse::<i64>().map(Value::from).map_err(|_| "a whole number")
}

/// As Docker writes sizes: b, k, m, g, t, p for powers of 1024, in either case, with or without a b or ib after it.
fn size(text: &str) -> Result<Value, &'static str> {
    const EXPECTED: &str = "bytes, such as 1000, 64k, 512m, 1.5g, or -1 for no limit";
    if text == "-1" {
        return Ok((-1).into());
    }
    let digits = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let unit = unit.trim_start().to_lowercase();
    let unit = unit.strip_suffix("ib").or(unit.strip_suffix('b')).unwrap_or(&unit);
    let shift = match unit {
        "" => 0,
        "k" => 10,
        "m" => 20,
        "g" => 30,
        "t" => 40,
        "p" => 50,
        _ => return Err(EXPECTED),
    };
    let number: f64 = number.parse().map_err(|_| EXPECTED)?;
    let bytes = number * (1u64 << shift) as f64;
    match bytes < i64::MAX as f64 {
        true => Ok((bytes as i64).into()),
        false => Err(EXPECTED),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes() {
        for (text, bytes) in [
            ("-1", -1),
            ("1000", 1000),
            ("64k", 65536),
            ("1.5g", 1_610_612_736),
            ("2MiB", 2 << 20),
            ("3 mb", 3 << 20),
        ] {
            assert_eq!(size(text), Ok(bytes.into()), "{text}");
        }
        for text in ["", "x", "1x", "-2", "99999999p", "m", "1kk"] {
            assert!(size(text).is_err(), "{text}");
        }
    }
}
