//! `kill`: a signal for the container's init, or for all of its processes.

use std::os::fd::AsFd;
use std::path::Path;

use super::end::{self, Members};
use crate::error::{Doing, Error, Kind, Result};
use crate::state::{Container, ContainerId, Store};
use crate::sys::process::pidfd_send_signal;
use crate::sys::{Errno, Fail, Signal};

/// `rrunc kill`. Processes that outlive their init, since it has no pid namespace of its own, get a SIGKILL
/// too, also if it has ended already. With `all` every process gets the signal, and it is no error if there is none.
pub fn kill(root: &Path, id: &str, signal: Signal, all: bool) -> Result<()> {
    let container = Store::open(root)?.load(&ContainerId::new(id)?)?;
    let is_shared = !container.record()?.private_pid_namespace;
    let has_signalled = match (signal == Signal::KILL, is_shared) {
        (true, true) => kill_members(&container)?,
        (true, false) => false, // the init's end is the end of all
        (false, _) => all && signal_members(&container, signal)?,
    };
    if has_signalled {
        return Ok(()); // the init with them, if it had not ended before
    }
    match signal_init(&container, signal) {
        Err(error) if all && error.kind == Kind::WrongStatus => Ok(()),
        sent => sent,
    }
}

fn signal_init(container: &Container, signal: Signal) -> Result<()> {
    let not_running = || Error::new(Kind::WrongStatus, "container not running");
    let init = container.record()?.init()?.ok_or_else(not_running)?;
    match pidfd_send_signal(init.as_fd(), signal) {
        Err(Fail { errno: Errno::ESRCH, .. }) => Err(not_running()),
        sent => sent.doing(|| format!("send {signal}")),
    }
}

/// Whether there were any.
fn kill_members(container: &Container) -> Result<bool> {
    let record = container.record()?;
    match container.cgroup()? {
        Some(cgroup) => end::kill_members(container, record, &cgroup, record.init()?.is_some()),
        None => Ok(false),
    }
}

/// The same for another signal.
fn signal_members(container: &Container, signal: Signal) -> Result<bool> {
    let record = container.record()?;
    let lives = record.init()?.is_some();
    let Some(cgroup) = container.cgroup()? else {
        return Ok(false);
    };
    if !cgroup.is_populated()? {
        return Ok(false);
    }
    match end::members(container, record, &cgroup, lives)? {
        Members::Own { but } => cgroup.signal_all(&but, signal).map(|()| true),
        Members::Of(_) => Ok(false),
        // In a pid namespace of its own there is nobody left.
        Members::Unknown if record.private_pid_namespace => Ok(false),
        Members::Unknown => Err(end::strangers(&cgroup)),
    }
}
