//! Mounts, by fd: open_tree(2), move_mount(2), mount_setattr(2), and for new file systems either fsopen(2) or mount(2) on
//! the current directory, one call that takes every flag and options of any length, where the fsconfig interface has
//! neither.

use std::ffi::CStr;
use std::mem::size_of;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};
use std::ptr;

use super::{Call, Fail, gate, gate_fd};

/// open_tree(2) with OPEN_TREE_CLONE: a detached copy of the mount at `dir`/`path` (an empty path is `dir`
/// itself; a symlink too), with all below it if `recursive`.
pub fn clone_tree(dir: BorrowedFd, path: &CStr, recursive: bool) -> Result<OwnedFd, Fail> {
    open_tree(dir, path, recursive, libc::AT_SYMLINK_NOFOLLOW)
}

/// As [`clone_tree`], of what a symlink at `path` leads to.
pub fn clone_tree_follow(dir: BorrowedFd, path: &CStr, recursive: bool) -> Result<OwnedFd, Fail> {
    open_tree(dir, path, recursive, 0)
}

fn open_tree(dir: BorrowedFd, path: &CStr, recursive: bool, follow: i32) -> Result<OwnedFd, Fail> {
    let mut flags = libc::OPEN_TREE_CLONE | libc::OPEN_TREE_CLOEXEC;
    flags |= (libc::AT_EMPTY_PATH | follow | if recursive { libc::AT_RECURSIVE } else { 0 }) as u32;
    // SAFETY: path is NUL-terminated and outlives the call.
    gate_fd(Call::OpenTree, unsafe {
        libc::syscall(libc::SYS_open_tree, dir.as_raw_fd(), path.as_ptr(), flags)
    })
}

/// move_mount(2): attaches the tree behind `tree` on top of the very inode behind `target`.
pub fn attach(tree: BorrowedFd, target: BorrowedFd) -> Result<(), Fail> {
    attach_at(tree, target, c"", libc::MOVE_MOUNT_F_EMPTY_PATH | libc::MOVE_MOUNT_T_EMPTY_PATH)
}

/// move_mount(2) onto a path of the host, symlinks followed.
pub fn attach_to_host_path(tree: BorrowedFd, path: &CStr) -> Result<(), Fail> {
    attach_at(tree, super::fs::cwd(), path, libc::MOVE_MOUNT_F_EMPTY_PATH | libc::MOVE_MOUNT_T_SYMLINKS)
}

fn attach_at(tree: BorrowedFd, dir: BorrowedFd, path: &CStr, flags: u32) -> Result<(), Fail> {
    // SAFETY: both strings are NUL-terminated and outlive the call.
    gate(Call::MoveMount, unsafe {
        libc::syscall(
            libc::SYS_move_mount,
            tree.as_raw_fd(),
            c"".as_ptr(),
            dir.as_raw_fd(),
            path.as_ptr(),
            flags,
        )
    })
    .map(drop)
}

/// What mount_setattr(2) changes; the kernel's struct mount_attr.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MountAttr {
    pub set: u64,
    pub clear: u64,
    /// MS_SHARED, MS_SLAVE, MS_PRIVATE, MS_UNBINDABLE, or 0 to leave it.
    pub propagation: u64,
    pub userns_fd: u64,
}

/// The file or device that is mounted may be used, and nobody changes its mode, owner or times by this mount.
pub const SEALED: MountAttr =
    MountAttr { set: RDONLY | NOSUID | NOEXEC, clear: 0, propagation: 0, userns_fd: 0 };

/// linux/mount.h, MOUNT_ATTR_*.
pub const RDONLY: u64 = 0x1;
pub const NOSUID: u64 = 0x2;
pub const NODEV: u64 = 0x4;
pub const NOEXEC: u64 = 0x8;

/// mount_setattr(2) on the mount behind `fd`, and on all below it if `recursive`.
pub fn set_attr(fd: BorrowedFd, attr: &MountAttr, recursive: bool) -> Result<(), Fail> {
    let flags = libc::AT_EMPTY_PATH | if recursive { libc::AT_RECURSIVE } else { 0 };
    // SAFETY: the path is a static empty string; attr is as large as we say and outlives the call.
    gate(Call::MountSetattr, unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            fd.as_raw_fd(),
            c"".as_ptr(),
            flags,
            ptr::from_ref(attr),
            size_of::<MountAttr>(),
        )
    })
    .map(drop)
}

/// mount(2) of a new file system on the current directory.
pub fn mount_here(source: &CStr, fstype: &CStr, flags: u64, data: &CStr) -> Result<(), Fail> {
    mount(Some(source), c".", Some(fstype), flags, Some(data))
}

/// mount(2) as it is.
pub fn mount(
    source: Option<&CStr>,
    target: &CStr,
    fstype: Option<&CStr>,
    flags: u64,
    data: Option<&CStr>,
) -> Result<(), Fail> {
    let pointer = |s: Option<&CStr>| s.map_or(ptr::null(), CStr::as_ptr);
    // SAFETY: each pointer is null or a NUL-terminated string that outlives the call.
    gate(Call::Mount, unsafe {
        libc::mount(pointer(source), target.as_ptr(), pointer(fstype), flags, pointer(data).cast())
    })
    .map(drop)
}

/// fsopen(2), fsconfig(2) with flag-like or string options, fsmount(2): a detached new file system.
pub fn new_fs<'a>(
    fstype: &CStr,
    options: impl Iterator<Item = (&'a CStr, Option<&'a CStr>)>,
    attr: u64,
) -> Result<OwnedFd, Fail> {
    // SAFETY: fstype is NUL-terminated and outlives the call.
    let fs = gate_fd(Call::Fsopen, unsafe {
        libc::syscall(libc::SYS_fsopen, fstype.as_ptr(), libc::FSOPEN_CLOEXEC)
    })?;
    for (key, value) in options {
        let (command, value) = match value {
            Some(value) => (libc::FSCONFIG_SET_STRING, value.as_ptr()),
            None => (libc::FSCONFIG_SET_FLAG, ptr::null()),
        };
        // SAFETY: key and value are NUL-terminated (or null) and outlive the call.
        gate(Call::Fsconfig, unsafe {
            libc::syscall(libc::SYS_fsconfig, fs.as_raw_fd(), command, key.as_ptr(), value, 0)
        })?;
    }
    let none = ptr::null::<libc::c_char>();
    // SAFETY: FSCONFIG_CMD_CREATE takes no key and no value.
    gate(Call::Fsconfig, unsafe {
        libc::syscall(libc::SYS_fsconfig, fs.as_raw_fd(), libc::FSCONFIG_CMD_CREATE, none, none, 0)
    })?;
    // SAFETY: only integers go in.
    gate_fd(Call::Fsmount, unsafe {
        libc::syscall(libc::SYS_fsmount, fs.as_raw_fd(), libc::FSMOUNT_CLOEXEC, attr)
    })
}

/// umount2(2) of the current directory with MNT_DETACH.
pub fn detach_here() -> Result<(), Fail> {
    // SAFETY: the path is a static string.
    gate(Call::Umount, unsafe { libc::umount2(c".".as_ptr(), libc::MNT_DETACH) }).map(drop)
}

/// umount2(2) of a host path with MNT_DETACH, not following a symlink.
pub fn detach(path: &CStr) -> Result<(), Fail> {
    // SAFETY: path is NUL-terminated and outlives the call.
    gate(Call::Umount, unsafe { libc::umount2(path.as_ptr(), libc::MNT_DETACH | libc::UMOUNT_NOFOLLOW) })
        .map(drop)
}

/// umount2(2) with MNT_DETACH of the mount whose root `fd` is, by way of `proc`, a procfs. EINVAL: it is no mount's root,
/// or one of another mount namespace. Changes the current directory.
pub fn detach_fd(proc: BorrowedFd, fd: BorrowedFd) -> Result<(), Fail> {
    use std::io::Write;
    super::fs::fchdir(proc)?;
    let mut path = [0; 32];
    let text = write!(&mut path[..31], "self/fd/{}", fd.as_raw_fd());
    let path = CStr::from_bytes_until_nul(&path);
    let (Ok(()), Ok(path)) = (text, path) else {
        return Err(Fail::new(Call::Umount, super::Errno::ENAMETOOLONG));
    };
    // SAFETY: path is NUL-terminated and outlives the call.
    gate(Call::Umount, unsafe { libc::umount2(path.as_ptr(), libc::MNT_DETACH) }).map(drop)
}

/// pivot_root(".", "."): the current directory becomes the root, with the old root stacked on it
/// (pivot_root(2), NOTES).
pub fn pivot_here() -> Result<(), Fail> {
    // SAFETY: both paths are static strings.
    gate(Call::PivotRoot, unsafe { libc::syscall(libc::SYS_pivot_root, c".".as_ptr(), c".".as_ptr()) })
        .map(drop)
}
