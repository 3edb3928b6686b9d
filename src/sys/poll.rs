//! Waiting for a kernel file to change.

use std::os::fd::{AsRawFd, BorrowedFd};

use super::{Call, Fail, gate};

/// poll(2) until a kernel file such as cgroup.events says that it changed (POLLPRI), or so many milliseconds
/// have passed. Whether it did.
pub fn changed(fd: BorrowedFd, milliseconds: i64) -> Result<bool, Fail> {
    let timeout = i32::try_from(milliseconds.max(0)).unwrap_or(i32::MAX);
    let mut poll = libc::pollfd {
        fd: fd.as_raw_fd(),
        events: libc::POLLPRI,
        revents: 0,
    };
    // SAFETY: one pollfd is writable for the length of the call.
    gate(Call::Poll, unsafe { libc::poll(&raw mut poll, 1, timeout) }).map(|n| n > 0)
}
