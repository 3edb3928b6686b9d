//! The only unsafe code: one wrapper per call, each of which returns [`Fail`] and adds no policy but
//! close-on-exec and no-follow. Wrappers take borrowed fds and `&CStr`, so that none of them allocates: the
//! child of `spawn` lives on these alone.

pub mod bpf;
#[cfg(debug_assertions)]
pub mod child_alloc;
pub mod clone;
pub mod exec;
pub mod fs;
pub mod ids;
pub mod landlock;
pub mod mount;
pub mod net;
pub mod netlink;
pub mod poll;
pub mod process;
pub mod sched;
pub mod seal;
pub mod security;
pub mod shared;
pub mod signal;
pub mod signals;
pub mod terminal;
pub mod tty;
pub mod types;
pub mod unix;

use std::os::fd::{FromRawFd, OwnedFd};

pub use signal::Signal;
pub use types::*;

/// Anything that the kernel answers with a negative number when it refuses.
pub trait Ret: Copy {
    fn refused(self) -> bool;
}
impl Ret for i32 {
    fn refused(self) -> bool {
        self < 0
    }
}
impl Ret for i64 {
    fn refused(self) -> bool {
        self < 0
    }
}
impl Ret for isize {
    fn refused(self) -> bool {
        self < 0
    }
}

/// The one gate from a raw return value and errno to a [`Fail`].
pub fn gate<T: Ret>(call: Call, ret: T) -> Result<T, Fail> {
    if ret.refused() { Err(Fail::new(call, Errno::last())) } else { Ok(ret) }
}

/// The gate for calls that return a new fd.
pub fn gate_fd(call: Call, ret: i64) -> Result<OwnedFd, Fail> {
    let fd = gate(call, ret)?;
    // SAFETY: the kernel just returned this fd to us, nobody else can own it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd as i32) })
}

/// The gate for the calls that `nix` already wraps.
pub trait Named<T> {
    fn call(self, call: Call) -> Result<T, Fail>;
}
impl<T> Named<T> for nix::Result<T> {
    fn call(self, call: Call) -> Result<T, Fail> {
        self.map_err(|errno| Fail::new(call, errno))
    }
}

/// A path of the host as the kernel takes it; one with a NUL in it is EINVAL.
pub fn c_path(path: &std::path::Path) -> Result<std::ffi::CString, Fail> {
    use std::os::unix::ffi::OsStrExt;
    std::ffi::CString::new(path.as_os_str().as_bytes()).map_err(|_| Fail::new(Call::Open, Errno::EINVAL))
}
