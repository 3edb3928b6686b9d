//! `pause` and `resume`: the container's cgroup is frozen, and with it every process below it.

use std::path::Path;

use crate::cgroup::Cgroup;
use crate::error::{Error, Kind, Result};
use crate::state::{Container, ContainerId, Status, Store};

/// `rrunc pause`.
pub fn pause(root: &Path, id: &str) -> Result<()> {
    let mut container = locked(root, id)?;
    match container.status()? {
        Status::Running | Status::Created => cgroup(&container)?.freeze(),
        status => Err(Error::new(Kind::WrongStatus, "container not running").hint(format!("it is {status}"))),
    }
}

/// `rrunc resume`.
pub fn resume(root: &Path, id: &str) -> Result<()> {
    let mut container = locked(root, id)?;
    match container.status()? {
        Status::Paused => cgroup(&container)?.thaw(),
        status => Err(Error::new(Kind::WrongStatus, "container not paused").hint(format!("it is {status}"))),
    }
}

fn locked(root: &Path, id: &str) -> Result<Container> {
    let mut container = Store::open(root)?.load(&ContainerId::new(id)?)?;
    container.lock()?;
    Ok(container)
}

/// A container without a cgroup of its own can't be told from its caller.
pub fn cgroup(container: &Container) -> Result<Cgroup> {
    container.cgroup()?.ok_or_else(|| {
        let text = "cgroup not exist: the container has no cgroup of its own";
        Error::new(Kind::Unsupported, text).hint("give it one with linux.cgroupsPath")
    })
}
