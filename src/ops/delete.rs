//! `delete`: ends what still runs and removes cgroup and state. Everything tolerates "already gone", so
//! cleaning up after a crash, a reboot or a killed `create` is the same code. The directory goes last: until
//! then a delete that fails can be repeated.

use std::path::Path;

use super::end;
use crate::cgroup::{Cgroup, Hierarchy};
use crate::error::{Error, Kind, Result};
use crate::state::{Container, ContainerId, Record, Status, Store};
use crate::{hooks, log, rdt};

/// `rrunc delete`. What runs is deleted only with `force`, what waits for `start` always. With `force` it is
/// no error if the container doesn't exist or its record can't be read.
pub fn delete(root: &Path, id: &str, force: bool) -> Result<()> {
    let gone = |error: &Error| force && error.kind == Kind::NotFound;
    let mut container = match Store::open(root)?.load(&ContainerId::new(id)?) {
        Err(error) if gone(&error) => return Ok(()),
        container => container?,
    };
    match container.lock() {
        Err(error) if gone(&error) => return Ok(()),
        locked => locked?,
    }
    if !force {
        let status = container.status()?;
        if !matches!(status, Status::Stopped | Status::Created) {
            let text = format!("cannot delete container {id} that is not stopped: {status}");
            let error = Error::new(Kind::WrongStatus, text);
            return Err(error.hint(format!("rrunc delete --force {id} kills it first")));
        }
    }
    destroy(container)
}

/// Ends the container, whatever its status, and removes all that is left of it.
pub fn destroy(mut container: Container) -> Result<()> {
    match container.lock() {
        Err(error) if error.kind == Kind::NotFound => return Ok(()), // somebody else was quicker
        locked => locked?,
    }
    let record = match container.record() {
        Ok(record) => Some(record.clone()),
        Err(error) if error.kind == Kind::NotFound => None, // create was killed before it made a process
        Err(error) => {
            log::warning(&format!(
                "{error}: its processes are unknown, only its directory and a cgroup without any are removed"
            ));
            None
        }
    };
    if let Some(record) = &record {
        end(&container, record)?;
        poststop(record);
    }
    if record.is_none() {
        remove_planned(&container)?;
    }
    container.remove()
}

/// Runs the poststop hooks of a container that is gone. runtime.md, "Lifecycle": one that fails is told of, no more.
pub fn poststop(record: &Record) {
    let state = record.hook_state(Status::Stopped);
    let failed = hooks::run_all("poststop", &record.poststop, &state, &hooks::Place::of(record));
    failed.iter().for_each(|error| log::warning(&error.to_string()));
}

/// The cgroup of which nobody knows whether it became the container's: gone if nobody is in it.
fn remove_planned(container: &Container) -> Result<()> {
    let Some(place) = container.planned_cgroup()? else {
        return Ok(());
    };
    match Cgroup::open(&Hierarchy::find()?, &place)? {
        Some(cgroup) if cgroup.pids()?.is_empty() => cgroup.remove(),
        _ => Ok(()),
    }
}

/// Kills all processes of the container, and removes its cgroup.
fn end(container: &Container, record: &Record) -> Result<()> {
    end::kill_all(container, record)?;
    if let Some(group) = &record.rdt {
        rdt::leave(group)?;
    }
    end::remove_cgroup(container, record)
}
