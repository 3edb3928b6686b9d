//! Waiting for a kernel file to change.

use std::os::fd::{AsRawFd, BorrowedFd};
use std::time::Duration;

use super::{Call, Fail, gate};

/// poll(2) until a kernel file such as cgroup.events says that it changed (POLLPRI), or so many milliseconds
/// have passed. Whether it did.
pub fn changed(fd: BorrowedFd, milliseconds: i64) -> Result<bool, Fail> {
    let timeout = i32::try_from(milliseconds.max(0)).unwrap_or(i32::MAX);
    let mut poll = libc::pollfd { fd: fd.as_raw_fd(), events: libc::POLLPRI, revents: 0 };
    // SAFETY: one pollfd is writable for the length of the call.
    gate(Call::Poll, unsafe { libc::poll(&raw mut poll, 1, timeout) }).map(|n| n > 0)
}

/// The same, for at most `limit`, or until the process behind `pidfd` has ended. Whether that has.
pub fn changed_or_ended(file: Option<BorrowedFd>, pidfd: BorrowedFd, limit: Duration) -> Result<bool, Fail> {
    let timeout = i32::try_from(limit.as_millis()).unwrap_or(i32::MAX);
    let poll = |fd: i32, events| libc::pollfd { fd, events, revents: 0 };
    let file = file.map_or(-1, |file| file.as_raw_fd()); // the kernel passes over a negative one
    let mut polls = [poll(pidfd.as_raw_fd(), libc::POLLIN), poll(file, libc::POLLPRI)];
    // SAFETY: two pollfds are writable for the length of the call.
    gate(Call::Poll, unsafe { libc::poll(polls.as_mut_ptr(), 2, timeout) })?;
    Ok(polls[0].revents & libc::POLLIN != 0)
}
