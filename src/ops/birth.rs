//! A process of a container comes into being in its cgroup, so that it never was in another: what it allocates is charged
//! to it from the first page on, and a cgroup namespace begins there.

use std::os::fd::BorrowedFd;

use crate::cgroup::Cgroup;
use crate::error::{Error, Result};
use crate::log;
use crate::prepare::Prepared;
use crate::spawn::{self, Init};
use crate::sys::{Call, Errno};

/// Makes it at `place`, which is the cgroup or one below it.
pub fn spawn(prepared: &Prepared, cgroup: &Cgroup, place: BorrowedFd) -> Result<Init> {
    let made = match spawn::spawn(prepared, Some(place)) {
        Err(error) if cgroup.unit().is_some() && is_out_of_reach(&error) => {
            log::debug(|| format!("systemd moves a process in between: {error}"));
            spawn::spawn_moved(prepared, place, &|pid| cgroup.attach(place, pid))
        }
        made => made,
    };
    made.map_err(|error| cgroup.explain_clone(error))
}

/// We may not move from our own cgroup to that one (clone(2), CLONE_INTO_CGROUP).
fn is_out_of_reach(error: &Error) -> bool {
    let fail = error.fail.map(|fail| (fail.call, fail.errno));
    fail == Some((Call::Clone, Errno::EACCES))
}
