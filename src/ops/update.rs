//! `update`: other limits for a container that runs.
//!
//! What is given is laid over what the container has: config.json, or what the last update has left. So a limit on swap
//! can be changed without naming that on memory, of which the kernel must know both.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use oci_spec::runtime::LinuxResources;
use serde_json::{Map, Value};

use crate::cgroup::Cgroup;
use crate::cli::Update;
use crate::error::{Doing, Error, Kind, Result};
use crate::ops::pause;
use crate::state::{Container, ContainerId, Status, Store};
use crate::{log, rdt, spec};

/// Resources as JSON that are larger are none.
const MAX_SIZE: u64 = 1 << 20;

/// `rrunc update`.
pub fn update(root: &Path, args: &Update) -> Result<()> {
    for name in &args.ignored {
        log::warning(&format!(
            "--{name}: the kernel's memory isn't limited by itself in cgroup v2: ignored"
        ));
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
    let (old, new) = (spec::resources(&before)?, spec::resources(&merged)?);
    let cgroup = pause::cgroup(&container)?;
    if let Err(error) = apply(&cgroup, &new, &given) {
        // What could be set is taken back; what can't be was refused before as well.
        let _ = apply(&cgroup, &old, &given);
        return Err(error);
    }
    container.write_resources(merged.to_string().as_bytes())?;
    match (&container.record()?.rdt, args.rdt.is_empty()) {
        (_, true) => Ok(()),
        (Some(group), _) => rdt::limit(group, &args.rdt),
        (None, _) => {
            let text = "--l3-cache-schema, --mem-bw-schema: the container has no class of service";
            Err(Error::new(Kind::Unsupported, text).hint("give it one with linux.intelRdt"))
        }
    }
}

fn apply(cgroup: &Cgroup, resources: &LinuxResources, given: &Value) -> Result<()> {
    cgroup.limit(resources)?;
    match given.get("devices") {
        Some(_) => cgroup.limit_devices(Some(resources)),
        None => Ok(()),
    }
}

/// The resources that the container has, as JSON.
fn in_force(container: &Container) -> Result<Value> {
    if let Some(updated) = container.resources()? {
        return serde_json::from_slice(&updated)
            .map_err(|error| Error::new(Kind::Kernel, format!("the container's resources: {error}")));
    }
    let config = spec::parse(&container.config()?)?;
    let resources = config
        .oci
        .linux()
        .as_ref()
        .and_then(|linux| linux.resources().as_ref());
    serde_json::to_value(resources.cloned().unwrap_or_default())
        .map_err(|error| Error::new(Kind::Kernel, format!("the resources of config.json: {error}")))
}

/// `-` is standard input.
fn read(path: &Path) -> Result<Value> {
    let doing = || format!("read the resources {}", path.display());
    let mut bytes = Vec::new();
    match path == Path::new("-") {
        true => io::stdin()
            .lock()
            .take(MAX_SIZE)
            .read_to_end(&mut bytes)
            .doing(doing)?,
        false => File::open(path)
            .doing(doing)?
            .take(MAX_SIZE)
            .read_to_end(&mut bytes)
            .doing(doing)?,
    };
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
        lay_over(
            &mut below,
            json!({"memory": {"limit": 3}, "devices": [4], "pids": {"limit": 5}}),
        );
        let expected = json!({"memory": {"limit": 3, "swap": 2}, "devices": [4], "pids": {"limit": 5}});
        assert_eq!(below, expected);
    }
}
