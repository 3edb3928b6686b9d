//! A process that does nothing: systemd makes no scope without one, and forgets one that is empty. It is there from
//! before the scope until the container's process has been born in it; so that one needn't be moved, and what it
//! allocates is charged to its own cgroup from the first page on.

use std::os::fd::{AsFd, AsRawFd, OwnedFd};

use crate::error::{Doing, Result};
use crate::sys::clone::{self, Who};
use crate::sys::{Pid, fs, process};

/// Killed and reaped when it is dropped; it ends by itself when we do.
#[derive(Debug)]
pub struct Holder {
    pub pid: Pid,
    pidfd: OwnedFd,
}

impl Holder {
    pub fn new() -> Result<Holder> {
        let doing = || "make a process for the scope".to_string();
        let us = process::pidfd_open(Pid(std::process::id() as i32)).doing(doing)?;
        match clone::fork(0, None).doing(doing)? {
            Who::Parent(pid, pidfd) => Ok(Holder { pid, pidfd }),
            Who::Child => {
                // It keeps nobody's socket, lock or terminal open.
                let _ = fs::close_others(0, std::iter::once(us.as_raw_fd()));
                let _ = process::ended(us.as_fd(), None);
                clone::exit(0)
            }
        }
    }
}

impl Drop for Holder {
    fn drop(&mut self) {
        process::kill_and_reap(self.pidfd.as_fd());
    }
}
