//! seccomp(2).

use std::os::fd::{FromRawFd, OwnedFd};
use std::ptr::null;

use super::{Call, Fail, gate};

/// seccomp(2) with SECCOMP_SET_MODE_FILTER: `program` is an array of struct sock_filter. The fd is the listener's,
/// if SECCOMP_FILTER_FLAG_NEW_LISTENER is among `flags` (5.0); it is close-on-exec.
pub fn seccomp_set_filter(flags: u32, program: &[u8]) -> Result<Option<OwnedFd>, Fail> {
    let filter =
        libc::sock_fprog { len: (program.len() / 8) as u16, filter: program.as_ptr().cast_mut().cast() };
    // SAFETY: filter points to len instructions of 8 bytes, which the kernel copies.
    let answer = gate(Call::Seccomp, unsafe {
        libc::syscall(libc::SYS_seccomp, libc::SECCOMP_SET_MODE_FILTER, flags, &raw const filter)
    })?;
    let listens = flags & libc::SECCOMP_FILTER_FLAG_NEW_LISTENER as u32 != 0;
    // SAFETY: with that flag the answer is a new fd, which nobody else can own.
    Ok(listens.then(|| unsafe { OwnedFd::from_raw_fd(answer as i32) }))
}

/// Whether the kernel takes these SECCOMP_FILTER_FLAG_*: it looks at them before the filter, of which there is none.
pub fn seccomp_knows(flags: u64) -> bool {
    // SAFETY: the null pointer is not followed: the kernel finds it invalid.
    let done = gate(Call::Seccomp, unsafe {
        libc::syscall(libc::SYS_seccomp, libc::SECCOMP_SET_MODE_FILTER, flags, null::<libc::sock_fprog>())
    });
    done.is_err_and(|fail| fail.errno == super::Errno::EFAULT)
}
