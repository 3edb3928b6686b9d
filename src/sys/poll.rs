//! Waiting for an fd.

use std::os::fd::{AsRawFd, BorrowedFd};

use super::{Call, Errno, Fail, gate};

/// poll(2) until `fd` is readable (a pidfd: until its process has ended) or so many milliseconds have passed;
/// `None` waits for ever. Whether it is. A signal starts the wait anew.
pub fn readable(fd: BorrowedFd, milliseconds: Option<i64>) -> Result<bool, Fail> {
    let timeout = milliseconds.map_or(-1, |ms| i32::try_from(ms.max(0)).unwrap_or(i32::MAX));
    loop {
        let mut poll = libc::pollfd {
            fd: fd.as_raw_fd(),
            events: libc::POLLIN,
            revents: 0,
        };
        // SAFETY: one pollfd is writable for the length of the call.
        let n = unsafe { libc::poll(&raw mut poll, 1, timeout) };
        if n < 0 && Errno::last() == Errno::EINTR {
            continue;
        }
        return gate(Call::Poll, n).map(|n| n > 0);
    }
}

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
