//! The end of a container's processes, and of nobody else's: its cgroup may have been there before it, and another
//! container may be in it by now.
//!
//! | its init  | pid namespace | what is killed |
//! |-----------|---------------|---|
//! | lives     | of its own    | the init; with it the kernel kills all others (pid_namespaces(7)) |
//! | lives     | shared        | all in the cgroup: no container is created in one that has processes |
//! | has ended | of its own    | nobody: whoever is in the cgroup isn't the container's |
//! | has ended | shared        | all in the cgroup, if it was made for the container and no later one is in it |
//!
//! What another container has below, in cgroups of its own, is spared. A cgroup that isn't empty then stays: it goes with
//! the other container, or the container stays too, since nobody knows whose the processes are.

use std::os::fd::AsFd;
use std::time::Duration;

use crate::cgroup::Cgroup;
use crate::error::{Doing, Error, Kind, Result};
use crate::log;
use crate::state::{Container, ContainerId, Record, Store};
use crate::sys::process::{ended, pidfd_send_signal};
use crate::sys::{Errno, Fail, Signal};

/// How long a killed init may take to be gone; it is longer than usual only in an uninterruptible wait.
const PATIENCE: Duration = Duration::from_secs(10);
/// How long after the end of the init the kernel may call its cgroup populated: in truth some milliseconds.
const GRACE: Duration = Duration::from_secs(1);

/// Whose the processes in a container's cgroup are.
#[derive(Debug, PartialEq, Eq)]
pub enum Members {
    /// The container's, without those in the cgroups with these inodes, which are other containers'.
    Own { but: Vec<u64> },
    /// Of a container that was made later.
    Of(ContainerId),
    /// Somebody's.
    Unknown,
}

/// Who is in the container's cgroup, in which there are processes. `lives`: its init does.
pub fn members(container: &Container, record: &Record, cgroup: &Cgroup, lives: bool) -> Result<Members> {
    if lives && !cgroup.has_cgroups_below()? {
        return Ok(Members::Own { but: vec![] });
    }
    if !lives && record.private_pid_namespace && record.pid.is_some() {
        return Ok(match others(container, record, cgroup)?.later {
            Some(id) => Members::Of(id),
            None => Members::Unknown,
        });
    }
    let others = others(container, record, cgroup)?;
    Ok(match others.later {
        _ if lives => Members::Own { but: others.below },
        Some(id) => Members::Of(id),
        None if record.cgroup_made => Members::Own { but: others.below },
        None => Members::Unknown,
    })
}

/// What other containers of the same root have in the cgroup.
struct Others {
    /// Made in the same cgroup, and later.
    later: Option<ContainerId>,
    /// The inodes of their cgroups below it.
    below: Vec<u64>,
}

/// Reads the records of all containers: only where something is in doubt.
fn others(container: &Container, record: &Record, cgroup: &Cgroup) -> Result<Others> {
    let mut found = Others { later: None, below: vec![] };
    let own = cgroup.place();
    each_other(&container.store(), container.id(), |other| {
        let known = other.record().ok();
        let place = match known {
            Some(known) => known.cgroup.clone(),
            None => other.planned_cgroup()?, // it is being made, or its record is broken
        };
        let place = place.unwrap_or_default();
        if place == own && known.is_none_or(|known| known.is_later_than(record)) {
            found.later = Some(other.id().clone());
        }
        if place.strip_prefix(own).is_some_and(|rest| rest.starts_with('/')) {
            found.below.extend(cgroup.inode_at(&place)?);
        }
        Ok(())
    })?;
    Ok(found)
}

fn each_other(store: &Store, id: &ContainerId, mut each: impl FnMut(&Container) -> Result<()>) -> Result<()> {
    for other in store.ids()?.iter().filter(|other| *other != id) {
        match store.load(other) {
            Ok(other) => each(&other)?,
            // Deleted meanwhile, or not ours: in a root that is shared each has their own.
            Err(error) if matches!(error.kind, Kind::NotFound | Kind::Untrusted) => {}
            Err(error) if error.fail.is_some_and(|fail| fail.errno == Errno::EACCES) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Whether the cgroup, which was there before the container `id`, had been made for another one.
pub fn was_made_for_another(store: &Store, id: &ContainerId, place: &str, inode: u64) -> Result<bool> {
    let mut found = false;
    each_other(store, id, |other| {
        found |= other.record().is_ok_and(|other| {
            other.cgroup_made && other.cgroup_inode == inode && other.cgroup.as_deref() == Some(place)
        });
        Ok(())
    })?;
    Ok(found)
}

/// Kills all processes of the container, frozen ones too, and waits for the end of the first.
pub fn kill_all(container: &Container, record: &Record) -> Result<()> {
    let init = record.init()?;
    // In a pid namespace of its own all the others end before the init has ended.
    if !record.private_pid_namespace || record.pid.is_none() {
        if let Some(cgroup) = container.cgroup()? {
            kill_members(container, record, &cgroup, init.is_some())?;
        }
    }
    let Some(init) = init else {
        return Ok(());
    };
    match pidfd_send_signal(init.as_fd(), Signal::KILL) {
        Err(Fail { errno: Errno::ESRCH, .. }) => {}
        sent => sent.doing(|| "kill the container's init".into())?,
    }
    if !ended(init.as_fd(), Some(PATIENCE)).doing(|| "wait for the container's init".into())? {
        let seconds = PATIENCE.as_secs();
        let text = format!("container init still running {seconds} s after it was killed");
        return Err(
            Error::new(Kind::WrongStatus, text).hint("it may be stuck in the kernel: try again later")
        );
    }
    Ok(())
}

/// SIGKILL for those in the cgroup that are the container's. Whether there were any.
pub fn kill_members(container: &Container, record: &Record, cgroup: &Cgroup, lives: bool) -> Result<bool> {
    if !cgroup.is_populated()? {
        return Ok(false);
    }
    match members(container, record, cgroup, lives)? {
        Members::Own { but } if but.is_empty() => cgroup.kill().map(|()| true),
        Members::Own { but } => cgroup.signal_all(&but, Signal::KILL).map(|()| true),
        Members::Of(_) => Ok(false),
        Members::Unknown => Err(strangers(cgroup)),
    }
}

/// Removes the cgroup of a container that has ended. One that a later container is in stays, and is that one's to remove.
pub fn remove_cgroup(container: &Container, record: &Record) -> Result<()> {
    let Some(cgroup) = container.cgroup()? else {
        return Ok(());
    };
    if cgroup.empties(GRACE)? {
        return cgroup.remove();
    }
    match members(container, record, &cgroup, false)? {
        Members::Own { but } if but.is_empty() => cgroup.remove(), // they were killed, and take long
        Members::Of(other) => {
            log::debug(|| format!("{} stays: container {other} is in it", cgroup.host_path().display()));
            Ok(())
        }
        _ => Err(strangers(&cgroup)),
    }
}

/// That nobody knows whether they may be killed.
pub fn strangers(cgroup: &Cgroup) -> Error {
    let pids = cgroup.pids().unwrap_or_default(); // they are told of, no more
    let some: Vec<_> = pids.iter().take(3).map(|pid| pid.to_string()).collect();
    let more = if pids.len() > some.len() { ", ..." } else { "" };
    let (path, count) = (cgroup.host_path().display(), pids.len());
    let text = format!(
        "the container's cgroup {path} has {count} process(es) that may be another's: {}{more}",
        some.join(", ")
    );
    Error::new(Kind::WrongStatus, text)
        .hint("another container or service uses linux.cgroupsPath too: end them or move them elsewhere, and do it again")
}
