//! `update`: other limits for a container that runs.
//!
//! What is given is laid over what the container has: config.json, or what the last update has left. So a limit on swap
//! can be changed without naming that on memory, of which the kernel must know both.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use oci_spec::runtime::LinuxIntelRdt;
use serde_json::{Map, Value};

use crate::cgroup::Cgroup;
use crate::cli::Update;
use crate::error::{Doing, Error, Kind, Result};
use crate::ops::pause;
use crate::state::{Container, ContainerId, Status, Store};
use crate::sys::{Call, Errno, Named, files};
use crate::{log, rdt, spec};

/// Resources as JSON that are larger are none.
const MAX_SIZE: u64 = 1 << 20;

/// `rrunc update`.
pub fn update(root: &Path, args: &Update) -> Result<()> {
    for name in &args.ignored {
        log::warning(&format!("--{name}: the kernel's memory isn't limited by itself in cgroup v2: ignored"));
    }
    let mut container = Store::open(root)?.load(&ContainerId::new(&args.id)?)?;
    container.lock()?;
    if container.status()? == Status::Stopped {
        return Err(Error::new(Kind::WrongStatus, "container not running"));
    }
    let (given, source) = match &args.resources {
        Some(path) => (read(path)?, path.display().to_string()),
        None => (Value::Object(args.limits.clone()), "the command line".to_string()),
    };
    let given = spec::fit_resources(given, &source)?;
    let before = in_force(&container)?;
    let mut merged = before.clone();
    lay_over(&mut merged, given.clone());
    follow(&mut merged, &given);
    let (old, new) = (spec::resources(&before)?, spec::resources(&merged)?);
    let cgroup = pause::cgroup(&container)?;
    cgroup.check_usage(&spec::resources(&given)?)?;
    let mut record = container.record()?.clone();
    let rdt = match (&record.rdt, args.rdt.is_empty()) {
        (None, false) => Some(rdt::make(&LinuxIntelRdt::default(), &args.id, &rdt::root()?)?),
        _ => None,
    };
    let group = rdt.as_ref().map(rdt::New::group).or(record.rdt.as_ref());

    let held = cgroup.held(&new)?;
    let devices = given.get("devices");
    let mut done = cgroup.limit(&new);
    if devices.is_some() {
        done = done.and_then(|()| cgroup.limit_devices(Some(&new)));
    }
    if let Some(group) = group {
        done = done.and_then(|()| rdt::limit(group, &args.rdt));
    }
    if let Err(error) = done {
        cgroup.bring_back(&held);
        if devices.is_some() {
            let _ = cgroup.limit_devices(Some(&old)); // what can't be was refused before as well
        }
        return Err(error);
    }
    if let Some(rdt) = rdt {
        enter(rdt.group(), &cgroup)?;
        record.rdt = Some(rdt.group().clone());
        container.write_record(&record)?;
        rdt.keep();
    }
    container.write_resources(merged.to_string().as_bytes())
}

/// What follows from the limits that are given for others that aren't.
fn follow(merged: &mut Value, given: &Value) {
    let number = |value: &Value, field: &str| value.pointer(field).and_then(Value::as_i64);
    let shares = number(given, "/cpu/shares").is_some_and(|shares| shares != 0);
    match (shares, number(given, "/cpu/idle")) {
        // Else it would stay idle, which is the least share of all.
        (true, None) if number(merged, "/cpu/idle") == Some(1) => merged["cpu"]["idle"] = 0.into(),
        (true, Some(1)) => {
            log::warning("cpu.shares: unable to apply both shares and cpu.idle, ignoring the shares")
        }
        _ => {}
    }
    // No limit on memory is none on swap, as in config.json.
    if number(given, "/memory/limit") == Some(-1) && number(given, "/memory/swap").is_none() {
        if let Some(memory) = merged.get_mut("memory").and_then(Value::as_object_mut) {
            memory.remove("swap");
        }
    }
}

/// Puts the container's processes into a class of service; the children that they make follow them.
fn enter(group: &rdt::Group, cgroup: &Cgroup) -> Result<()> {
    for pid in cgroup.pids()? {
        match rdt::add(group, pid) {
            Err(error) if error.fail.is_some_and(|fail| fail.errno == Errno::ESRCH) => {} // it has ended
            added => added?,
        }
    }
    Ok(())
}

/// The resources that the container has, as JSON.
fn in_force(container: &Container) -> Result<Value> {
    if let Some(updated) = container.resources()? {
        return serde_json::from_slice(&updated)
            .map_err(|error| Error::new(Kind::Kernel, format!("the container's resources: {error}")));
    }
    let config = spec::parse(&container.config()?)?;
    let resources = config.oci.linux().as_ref().and_then(|linux| linux.resources().as_ref());
    serde_json::to_value(resources.cloned().unwrap_or_default())
        .map_err(|error| Error::new(Kind::Kernel, format!("the resources of config.json: {error}")))
}

/// `-` is standard input.
fn read(path: &Path) -> Result<Value> {
    let doing = || format!("read the resources {}", path.display());
    let bytes = match path == Path::new("-") {
        true => files::rest(io::stdin().lock().take(MAX_SIZE)),
        false => File::open(path).call(Call::Openat).and_then(|file| files::rest(file.take(MAX_SIZE))),
    };
    let bytes = bytes.doing(doing)?;
    spec::parse_json(&bytes, &path.display().to_string())
}

/// Objects are merged, everything else is replaced.
fn lay_over(below: &mut Value, above: Value) {
    match (below, above) {
        (Value::Object(below), Value::Object(above)) => {
            for (key, value) in above {
                lay_over(below.entry(key).or_insert(Value::Object(Map::new())), value);
            }
        }
        (below, above) => *below = above,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn objects_are_merged_and_lists_replaced() {
        let mut below = json!({"memory": {"limit": 1, "swap": 2}, "devices": [1, 2]});
        lay_over(&mut below, json!({"memory": {"limit": 3}, "devices": [4], "pids": {"limit": 5}}));
        let expected = json!({"memory": {"limit": 3, "swap": 2}, "devices": [4], "pids": {"limit": 5}});
        assert_eq!(below, expected);
    }

    /// What config.json may not say, the file of an update may not say either.
    #[test]
    fn the_rules_of_config_json_hold() {
        let check = |given: Value, path: &str| {
            let given = spec::fit_resources(given, "r.json").expect("of the right types");
            let error = spec::resources(&given).expect_err(path).to_string();
            assert!(error.contains(&format!("linux.resources.{path}: ")), "{error}");
        };
        let pages = json!([{"pageSize": "2/../1MB", "limit": 1}]);
        check(json!({ "hugepageLimits": pages }), "hugepageLimits[0].pageSize");
        check(json!({"cpu": {"cpus": "0\n1"}}), "cpu.cpus");
        check(json!({"unified": {"a/b.c": "1"}}), "unified[a/b.c]");
        check(json!({"devices": [{"allow": true, "access": "x"}]}), "devices[0].access");
    }

    #[test]
    fn what_is_given_says_of_what_is_not() {
        let check = |before: Value, given: Value, expected: Value| {
            let mut merged = before;
            lay_over(&mut merged, given.clone());
            follow(&mut merged, &given);
            assert_eq!(merged, expected, "{given}");
        };
        let idle = || json!({"cpu": {"idle": 1, "shares": 5}});
        check(idle(), json!({"cpu": {"shares": 512}}), json!({"cpu": {"idle": 0, "shares": 512}}));
        check(idle(), json!({"cpu": {"shares": 0}}), json!({"cpu": {"idle": 1, "shares": 0}}));
        check(idle(), json!({"cpu": {"shares": 512, "idle": 1}}), json!({"cpu": {"idle": 1, "shares": 512}}));
        let swap = || json!({"memory": {"limit": 64, "swap": 96}});
        check(swap(), json!({"memory": {"limit": -1}}), json!({"memory": {"limit": -1}}));
        check(
            swap(),
            json!({"memory": {"limit": -1, "swap": 100}}),
            json!({"memory": {"limit": -1, "swap": 100}}),
        );
        check(swap(), json!({"memory": {"limit": 80}}), json!({"memory": {"limit": 80, "swap": 96}}));
    }
}
