//! The only unsafe code: one wrapper per call, each of which returns [`Fail`] and adds no policy but
//! close-on-exec and no-follow. Wrappers take borrowed fds and `&CStr`, so that none of them allocates: the
//! child of `spawn` lives on these alone.

pub mod bpf;
#[cfg(debug_assertions)]
pub mod child_alloc;
pub mod clone;
pub mod exec;
pub mod files;
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

/// The gate for the calls that `nix` or the standard library already wrap.
pub trait Named<T> {
    fn call(self, call: Call) -> Result<T, Fail>;
}
impl<T> Named<T> for nix::Result<T> {
    fn call(self, call: Call) -> Result<T, Fail> {
        self.map_err(|errno| Fail::new(call, errno))
    }
}

impl<T> Named<T> for std::io::Result<T> {
    fn call(self, call: Call) -> Result<T, Fail> {
        self.map_err(|error| Fail::new(call, errno_of(&error)))
    }
}

/// The library has errors of its own, for which the kernel has no number.
fn errno_of(error: &std::io::Error) -> Errno {
    use std::io::ErrorKind;
    match (error.raw_os_error(), error.kind()) {
        (Some(errno), _) => Errno::from_raw(errno),
        (None, ErrorKind::InvalidData) => Errno::EILSEQ,
        (None, ErrorKind::InvalidInput) => Errno::EINVAL,
        (None, ErrorKind::NotFound) => Errno::ENOENT,
        (None, ErrorKind::UnexpectedEof) => Errno::ENODATA,
        (None, _) => Errno::EIO,
    }
}

/// A path of the host as the kernel takes it; one with a NUL in it is EINVAL.
pub fn c_path(path: &std::path::Path) -> Result<std::ffi::CString, Fail> {
    use std::os::unix::ffi::OsStrExt;
    std::ffi::CString::new(path.as_os_str().as_bytes()).map_err(|_| Fail::new(Call::Open, Errno::EINVAL))
}
