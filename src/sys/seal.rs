//! What makes a file that nobody can write to, and how to tell one: for `crate::seal`.

use std::ffi::CStr;
use std::mem::zeroed;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};

use super::{Call, Errno, Fail, gate, gate_fd};

/// Seals that leave a memfd as it is for ever (fcntl(2), "File Sealing").
const FROZEN: i32 = libc::F_SEAL_SEAL | libc::F_SEAL_SHRINK | libc::F_SEAL_GROW | libc::F_SEAL_WRITE;

/// fstatfs(2): whether the mount behind `fd` is read-only.
pub fn is_on_read_only_mount(fd: BorrowedFd) -> Result<bool, Fail> {
    // SAFETY: statvfs is plain integers, for which all-zero is a value.
    let mut st: libc::statvfs = unsafe { zeroed() };
    // SAFETY: st is writable for the length of the call.
    gate(Call::Fstatfs, unsafe { libc::fstatvfs(fd.as_raw_fd(), &raw mut st) })?;
    Ok(st.f_flag & libc::ST_RDONLY != 0)
}

/// statx(2): whether `fd` is the root of its mount (Linux 5.8), and whether fs-verity guards it (5.5).
pub fn is_mount_root_or_verity(fd: BorrowedFd) -> Result<(bool, bool), Fail> {
    // SAFETY: statx is plain integers, for which all-zero is a value.
    let mut st: libc::statx = unsafe { zeroed() };
    // SAFETY: the path is a static empty string; st is writable for the length of the call.
    gate(Call::Stat, unsafe {
        libc::statx(fd.as_raw_fd(), c"".as_ptr(), libc::AT_EMPTY_PATH, 0, &raw mut st)
    })?;
    let has = |attribute: i32| st.stx_attributes & attribute as u64 != 0;
    Ok((has(libc::STATX_ATTR_MOUNT_ROOT), has(libc::STATX_ATTR_VERITY)))
}

/// fcntl(2) F_GET_SEALS: whether `fd` is a memfd that can't change any more.
pub fn is_frozen(fd: BorrowedFd) -> bool {
    // SAFETY: only integers go in. What is no memfd is refused with EINVAL.
    let seals = unsafe { libc::fcntl(fd.as_raw_fd(), libc::F_GET_SEALS) };
    seals >= 0 && seals & FROZEN == FROZEN
}

/// fcntl(2) F_ADD_SEALS.
pub fn freeze(memfd: BorrowedFd) -> Result<(), Fail> {
    // SAFETY: only integers go in.
    gate(Call::Fcntl, unsafe { libc::fcntl(memfd.as_raw_fd(), libc::F_ADD_SEALS, FROZEN) }).map(drop)
}

/// memfd_create(2) of a file to be executed, which can be sealed.
pub fn executable_memfd(name: &CStr) -> Result<OwnedFd, Fail> {
    let create = |flags| {
        // SAFETY: name is NUL-terminated and outlives the call.
        let fd = unsafe { libc::memfd_create(name.as_ptr(), flags) };
        gate_fd(Call::Memfd, i64::from(fd))
    };
    let flags = libc::MFD_CLOEXEC | libc::MFD_ALLOW_SEALING;
    match create(flags | libc::MFD_EXEC) {
        // Linux before 6.3 knows no MFD_EXEC, and no memfd that isn't executable.
        Err(Fail { errno: Errno::EINVAL, .. }) => create(flags),
        other => other,
    }
}

/// sendfile(2) of all of `from` to the end of `to`.
pub fn copy_all(from: BorrowedFd, to: BorrowedFd) -> Result<(), Fail> {
    const AT_ONCE: usize = 1 << 30;
    loop {
        // SAFETY: a null offset makes the kernel use and move that of `from`.
        let n = unsafe { libc::sendfile(to.as_raw_fd(), from.as_raw_fd(), std::ptr::null_mut(), AT_ONCE) };
        if gate(Call::Sendfile, n)? == 0 {
            return Ok(());
        }
    }
}
