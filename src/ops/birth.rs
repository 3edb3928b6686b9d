//! A process of a container comes into being in its cgroup, so that it never was in another: what it allocates is charged
//! to it from the first page on, and a cgroup namespace begins there.
//!
//! Two things stand in the way of that (clone(2), CLONE_INTO_CGROUP):
//!
//! - We may have no right to move from our own cgroup to that one, and systemd has: it moves a process in between.
//! - The kernel may kill who is born there. A cgroup counts how often cgroup.kill was written, in it or in one above it while
//!   it was there. A child that is born during such a write must not escape it, so the kernel compares the count from
//!   before and after the fork: but it takes the first from the cgroup of the *parent*, and the second from that of the
//!   child (seen on Linux 6.18; since 6.14, and in stable kernels since February 2025). So whenever these two differ, the
//!   child dies by SIGKILL before its first instruction. A cgroup where all were killed and others came, as with a
//!   service that is started again, has another count than one that is new; so has one that is used again. Who is forked
//!   within a cgroup has both from there: so the child is made in ours, halts before it does anything, and is moved.

use std::os::fd::BorrowedFd;

use super::explain;
use crate::cgroup::Cgroup;
use crate::error::{Error, Kind, Result};
use crate::log;
use crate::prepare::Prepared;
use crate::spawn::{self, Halt, Init};
use crate::sys::process::{Exit, Signal};
use crate::sys::{Call, Errno, Pid};

/// Makes it at `place`, which is the cgroup or one below it. `known` is told its pid once it is there, and told another one
/// if the first never came to live.
pub fn spawn(
    prepared: &Prepared,
    cgroup: &Cgroup,
    place: BorrowedFd,
    known: &mut dyn FnMut(Pid) -> Result<()>,
) -> Result<Init> {
    let mut init = born(prepared, cgroup, place)?;
    known(init.pid)?;
    if !init.is_stillborn()? {
        return Ok(init);
    }
    log::debug(|| format!("who is born in {} is killed: moved there instead", cgroup.host_path().display()));
    let mut init = spawn::spawn_outside(prepared)?;
    match init.next_halt()? {
        Ok(Halt::Cgroup) => match cgroup.take_in(place, init.pid) {
            // With all who were in it: it wasn't the birth, then, that the first was killed for.
            Err(_) if cgroup.is_gone() => {
                return Err(explain::died(Some(Exit::Signal(Signal::KILL)), None, Some(cgroup)));
            }
            taken => taken.map_err(|error| cgroup.explain_clone(error))?,
        },
        Ok(_) => return Err(Error::new(Kind::Kernel, "the container's process says what it wasn't asked")),
        Err(ended) => return Err(explain::ended(ended, prepared.plan, Some(cgroup))),
    }
    known(init.pid)?;
    init.go()?;
    Ok(init)
}

fn born(prepared: &Prepared, cgroup: &Cgroup, place: BorrowedFd) -> Result<Init> {
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
