//! `kill`: a signal for the container's init, or for all of its processes.

use std::os::fd::AsFd;
use std::path::Path;

use crate::cgroup::Cgroup;
use crate::error::{Doing, Error, Kind, Result};
use crate::state::{Container, ContainerId, Store};
use crate::sys::process::{pidfd_open, pidfd_send_signal};
use crate::sys::{Errno, Fail, Signal};

/// `rrunc kill`. Processes that outlive their init, since it has no pid namespace of its own, get a SIGKILL
/// too, also if it has ended already. With `all` every process gets the signal, and it is no error if there is none.
pub fn kill(root: &Path, id: &str, signal: Signal, all: bool) -> Result<()> {
    let container = Store::open(root)?.load(&ContainerId::new(id)?)?;
    let shared = !container.record()?.private_pid_namespace;
    match container.cgroup()? {
        Some(cgroup) if signal == Signal::KILL && (all || shared) => {
            let has_members = cgroup.is_populated()?;
            cgroup.kill()?;
            if has_members {
                return Ok(()); // the init with them, if it had not ended before
            }
        }
        Some(cgroup) if all => return signal_members(&cgroup, signal),
        _ => {}
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

fn signal_members(cgroup: &Cgroup, signal: Signal) -> Result<()> {
    // By pidfd, and to those only that are members still after it was opened: a pid that was listed may
    // belong to a stranger by now.
    let listed = cgroup.pids()?.into_iter();
    let opened: Vec<_> = listed.filter_map(|pid| Some((pid, pidfd_open(pid).ok()?))).collect();
    let members = cgroup.pids()?;
    for (pid, pidfd) in opened.iter().filter(|(pid, _)| members.contains(pid)) {
        match pidfd_send_signal(pidfd.as_fd(), signal) {
            Err(Fail { errno: Errno::ESRCH, .. }) => {}
            sent => sent.doing(|| format!("send {signal} to {pid}"))?,
        }
    }
    Ok(())
}
