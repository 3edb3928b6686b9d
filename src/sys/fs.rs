//! Files and directories by fd. Every path is resolved below a directory fd; the calls with short names
//! never follow a symlink out of it.

use std::ffi::CStr;
use std::mem::{size_of, zeroed};
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};

use super::{Call, Fail, Gid, Named, Uid, gate, gate_fd};

/// How openat2 may walk (openat2(2)).
pub mod resolve {
    /// Symlinks and `..` are taken as if the directory were `/`. Magic links are refused.
    pub const IN_ROOT: u64 = libc::RESOLVE_IN_ROOT | libc::RESOLVE_NO_MAGICLINKS;
    /// As [`IN_ROOT`], and no symlink at all.
    pub const IN_ROOT_PLAIN: u64 = IN_ROOT | libc::RESOLVE_NO_SYMLINKS;
    /// Never out of the directory, no symlink, no other mount.
    pub const BENEATH_PLAIN: u64 = libc::RESOLVE_BENEATH | libc::RESOLVE_NO_SYMLINKS | libc::RESOLVE_NO_XDEV;
    /// Never out of the directory; symlinks inside it are followed.
    pub const BENEATH: u64 = libc::RESOLVE_BENEATH | libc::RESOLVE_NO_MAGICLINKS;
    /// An ordinary walk over the host's own paths.
    pub const HOST: u64 = 0;
}

/// How often a walk is tried that must not leave its directory and met a rename somewhere on the machine (openat2(2),
/// EAGAIN). To a bound, since O_NONBLOCK gives the same errno for a file on which somebody has a lease (fcntl(2)), and the
/// container can have either for as long as it likes.
const TRIES: u32 = 128;

/// openat2(2), always close-on-exec. `mode` counts only with O_CREAT.
pub fn open(dir: BorrowedFd, path: &CStr, flags: i32, mode: u32, resolve: u64) -> Result<OwnedFd, Fail> {
    // SAFETY: open_how is plain integers, for which all-zero is a value.
    let mut how: libc::open_how = unsafe { zeroed() };
    how.flags = (flags | libc::O_CLOEXEC) as u64;
    how.mode = u64::from(mode);
    how.resolve = resolve;
    let mut tries = match resolve & (libc::RESOLVE_IN_ROOT | libc::RESOLVE_BENEATH) {
        0 => 1,
        _ => TRIES,
    };
    loop {
        // SAFETY: path is NUL-terminated and how is as large as we say; both outlive the call.
        let fd = unsafe {
            libc::syscall(
                libc::SYS_openat2,
                dir.as_raw_fd(),
                path.as_ptr(),
                &raw const how,
                size_of::<libc::open_how>(),
            )
        };
        tries -= 1;
        if fd < 0 && super::Errno::last() == super::Errno::EAGAIN && tries > 0 {
            continue;
        }
        return gate_fd(Call::Open, fd);
    }
}

/// The current directory, for calls that take a directory fd.
pub fn cwd() -> BorrowedFd<'static> {
    // SAFETY: AT_FDCWD is no fd that could be closed; the kernel takes it where a directory fd goes.
    unsafe { BorrowedFd::borrow_raw(libc::AT_FDCWD) }
}

/// What a child knows of an inode.
#[derive(Clone, Copy, Debug)]
pub struct Stat {
    pub mode: u32,
    pub uid: Uid,
    pub gid: Gid,
    pub rdev: u64,
    pub dev: u64,
    pub ino: u64,
    /// How many names it has.
    pub links: u64,
}

impl Stat {
    pub fn is_dir(&self) -> bool {
        self.mode & libc::S_IFMT == libc::S_IFDIR
    }
    pub fn is_symlink(&self) -> bool {
        self.mode & libc::S_IFMT == libc::S_IFLNK
    }
    pub fn is_device(&self) -> bool {
        matches!(self.mode & libc::S_IFMT, libc::S_IFCHR | libc::S_IFBLK)
    }
    /// Whether this is the character device `major:minor`.
    pub fn is_char_device(&self, major: u32, minor: u32) -> bool {
        self.mode & libc::S_IFMT == libc::S_IFCHR && self.rdev == libc::makedev(major, minor)
    }
}

/// fstat(2).
pub fn stat(fd: BorrowedFd) -> Result<Stat, Fail> {
    // SAFETY: stat is plain integers, for which all-zero is a value.
    let mut st: libc::stat = unsafe { zeroed() };
    // SAFETY: st is writable for the length of the call.
    gate(Call::Stat, unsafe { libc::fstat(fd.as_raw_fd(), &raw mut st) })?;
    Ok(Stat {
        mode: st.st_mode,
        uid: Uid(st.st_uid),
        gid: Gid(st.st_gid),
        rdev: st.st_rdev,
        dev: st.st_dev,
        ino: st.st_ino,
        links: st.st_nlink as u64,
    })
}

/// statx(2) of what has this name, be it a symlink.
pub fn stat_at(dir: BorrowedFd, name: &CStr) -> Result<Stat, Fail> {
    let found = statx_at(dir, name)?;
    Ok(Stat {
        mode: u32::from(found.stx_mode),
        uid: Uid(found.stx_uid),
        gid: Gid(found.stx_gid),
        rdev: libc::makedev(found.stx_rdev_major, found.stx_rdev_minor),
        dev: libc::makedev(found.stx_dev_major, found.stx_dev_minor),
        ino: found.stx_ino,
        links: found.stx_nlink.into(),
    })
}

/// When the content of what has this name was last changed: seconds since 1970 and nanoseconds.
pub fn modified(dir: BorrowedFd, name: &CStr) -> Result<(i64, u32), Fail> {
    statx_at(dir, name).map(|found| (found.stx_mtime.tv_sec, found.stx_mtime.tv_nsec))
}

fn statx_at(dir: BorrowedFd, name: &CStr) -> Result<libc::statx, Fail> {
    // SAFETY: statx is plain integers, for which all-zero is a value.
    let mut found: libc::statx = unsafe { zeroed() };
    let (dir, flags) = (dir.as_raw_fd(), libc::AT_SYMLINK_NOFOLLOW);
    // SAFETY: name is NUL-terminated, and found is writable for the length of the call.
    let ret = unsafe { libc::statx(dir, name.as_ptr(), flags, libc::STATX_BASIC_STATS, &raw mut found) };
    gate(Call::Stat, ret).map(|_| found)
}

/// The magic number of the file system that `fd` is on (statfs(2)).
pub fn fs_magic(fd: BorrowedFd) -> Result<i64, Fail> {
    // SAFETY: statfs is plain integers, for which all-zero is a value.
    let mut st: libc::statfs = unsafe { zeroed() };
    // SAFETY: st is writable for the length of the call.
    gate(Call::Fstatfs, unsafe { libc::fstatfs(fd.as_raw_fd(), &raw mut st) })?;
    Ok(st.f_type as i64)
}

/// statx(2), STATX_ATTR_MOUNT_ROOT (5.8): whether `fd` is the root of a mount.
pub fn is_mount_root(fd: BorrowedFd) -> Result<bool, Fail> {
    mount_id(fd).map(|id| id.is_some())
}

/// statx(2), STATX_MNT_ID (5.8): the number of the mount whose root `fd` is, as in proc_pid_mountinfo(5); `None` if it is
/// none's.
pub fn mount_id(fd: BorrowedFd) -> Result<Option<u64>, Fail> {
    // SAFETY: statx is plain integers, for which all-zero is a value.
    let mut found: libc::statx = unsafe { zeroed() };
    // SAFETY: the path is a static empty string, and found is writable for the length of the call.
    gate(Call::Stat, unsafe {
        libc::statx(
            fd.as_raw_fd(),
            c"".as_ptr(),
            libc::AT_EMPTY_PATH,
            libc::STATX_BASIC_STATS | libc::STATX_MNT_ID,
            &raw mut found,
        )
    })?;
    let is_root = found.stx_attributes & libc::STATX_ATTR_MOUNT_ROOT as u64 != 0;
    Ok(is_root.then_some(found.stx_mnt_id))
}

/// mkdirat(2).
pub fn mkdir(dir: BorrowedFd, name: &CStr, mode: u32) -> Result<(), Fail> {
    // SAFETY: name is NUL-terminated and outlives the call.
    gate(Call::Mkdir, unsafe { libc::mkdirat(dir.as_raw_fd(), name.as_ptr(), mode) }).map(drop)
}

/// mknodat(2); `mode` holds the type too, and the umask applies.
pub fn mknod(dir: BorrowedFd, name: &CStr, mode: u32, device: u64) -> Result<(), Fail> {
    // SAFETY: name is NUL-terminated and outlives the call.
    gate(Call::Mknod, unsafe { libc::mknodat(dir.as_raw_fd(), name.as_ptr(), mode, device) }).map(drop)
}

/// symlinkat(2).
pub fn symlink(target: &CStr, dir: BorrowedFd, name: &CStr) -> Result<(), Fail> {
    // SAFETY: both strings are NUL-terminated and outlive the call.
    gate(Call::Symlink, unsafe { libc::symlinkat(target.as_ptr(), dir.as_raw_fd(), name.as_ptr()) }).map(drop)
}

/// unlinkat(2) of something that is not a directory.
pub fn unlink(dir: BorrowedFd, name: &CStr) -> Result<(), Fail> {
    // SAFETY: name is NUL-terminated and outlives the call.
    gate(Call::Unlink, unsafe { libc::unlinkat(dir.as_raw_fd(), name.as_ptr(), 0) }).map(drop)
}

/// renameat2(2) within a directory, in the place of what has the name `to`.
pub fn rename(dir: BorrowedFd, from: &CStr, to: &CStr) -> Result<(), Fail> {
    let dir = dir.as_raw_fd();
    // SAFETY: both names are NUL-terminated and outlive the call.
    let ret = unsafe { libc::syscall(libc::SYS_renameat2, dir, from.as_ptr(), dir, to.as_ptr(), 0) };
    gate(Call::Rename, ret).map(drop)
}

/// unlinkat(2) of an empty directory.
pub fn rmdir(dir: BorrowedFd, name: &CStr) -> Result<(), Fail> {
    // SAFETY: name is NUL-terminated and outlives the call.
    gate(Call::Rmdir, unsafe { libc::unlinkat(dir.as_raw_fd(), name.as_ptr(), libc::AT_REMOVEDIR) }).map(drop)
}

/// readlinkat(2): the part of `buffer` that the target fills.
pub fn readlink<'b>(dir: BorrowedFd, name: &CStr, buffer: &'b mut [u8]) -> Result<&'b [u8], Fail> {
    // SAFETY: name is NUL-terminated; buffer is writable for the length that we give.
    let n = gate(Call::Readlink, unsafe {
        libc::readlinkat(dir.as_raw_fd(), name.as_ptr(), buffer.as_mut_ptr().cast(), buffer.len())
    })?;
    Ok(buffer.get(..n as usize).unwrap_or(&[]))
}

/// fchownat(2) of the very inode behind `fd` (an O_PATH fd will do). `None` leaves an id as it is.
pub fn chown(fd: BorrowedFd, uid: Option<Uid>, gid: Option<Gid>) -> Result<(), Fail> {
    let (uid, gid) = (uid.map_or(u32::MAX, |u| u.0), gid.map_or(u32::MAX, |g| g.0));
    // SAFETY: the path is a static empty string, AT_EMPTY_PATH makes the call act on fd itself.
    gate(Call::Chown, unsafe { libc::fchownat(fd.as_raw_fd(), c"".as_ptr(), uid, gid, libc::AT_EMPTY_PATH) })
        .map(drop)
}

/// fsetxattr(2) of the label that selinux(8) goes by; not for O_PATH fds.
pub fn set_label(fd: BorrowedFd, label: &CStr) -> Result<(), Fail> {
    let name = c"security.selinux";
    let size = label.to_bytes_with_nul().len();
    // SAFETY: name is NUL-terminated, and label readable for its size.
    gate(Call::Fsetxattr, unsafe {
        libc::fsetxattr(fd.as_raw_fd(), name.as_ptr(), label.as_ptr().cast(), size, 0)
    })
    .map(drop)
}

/// fchmod(2); not for O_PATH fds.
pub fn chmod(fd: BorrowedFd, mode: u32) -> Result<(), Fail> {
    // SAFETY: only integers go in.
    gate(Call::Chmod, unsafe { libc::fchmod(fd.as_raw_fd(), mode) }).map(drop)
}

/// faccessat2(2) with the effective ids.
pub fn may_execute(path: &CStr) -> Result<(), Fail> {
    // SAFETY: path is NUL-terminated and outlives the call.
    gate(Call::Access, unsafe {
        libc::syscall(libc::SYS_faccessat2, libc::AT_FDCWD, path.as_ptr(), libc::X_OK, libc::AT_EACCESS)
    })
    .map(drop)
}

/// fchdir(2).
pub fn fchdir(dir: BorrowedFd) -> Result<(), Fail> {
    // SAFETY: only an fd goes in.
    gate(Call::Fchdir, unsafe { libc::fchdir(dir.as_raw_fd()) }).map(drop)
}

/// The getcwd system call itself: the library's would hide that a directory is out of reach, which the
/// kernel says by a path that does not start with `/` (getcwd(2)).
pub fn getcwd(buffer: &mut [u8]) -> Result<&[u8], Fail> {
    // SAFETY: buffer is writable for the length that we give.
    let n =
        gate(Call::Getcwd, unsafe { libc::syscall(libc::SYS_getcwd, buffer.as_mut_ptr(), buffer.len()) })?;
    Ok(buffer.get(..n as usize).unwrap_or(&[]))
}

/// chdir(2), by a path of the host.
pub fn chdir(path: &CStr) -> Result<(), Fail> {
    // SAFETY: path is NUL-terminated and outlives the call.
    gate(Call::Chdir, unsafe { libc::chdir(path.as_ptr()) }).map(drop)
}

/// pipe2(2): the end to read from, and that to write to.
pub fn pipe() -> Result<(OwnedFd, OwnedFd), Fail> {
    nix::unistd::pipe2(nix::fcntl::OFlag::O_CLOEXEC).call(Call::Pipe)
}

/// chroot(2) to the current directory.
pub fn chroot_here() -> Result<(), Fail> {
    // SAFETY: the path is a static string.
    gate(Call::Chroot, unsafe { libc::chroot(c".".as_ptr()) }).map(drop)
}

/// read(2), repeated when a signal interrupts it.
pub fn read(fd: BorrowedFd, buffer: &mut [u8]) -> Result<usize, Fail> {
    loop {
        // SAFETY: buffer is writable for the length that we give.
        let n = unsafe { libc::read(fd.as_raw_fd(), buffer.as_mut_ptr().cast(), buffer.len()) };
        if n < 0 && super::Errno::last() == super::Errno::EINTR {
            continue;
        }
        return gate(Call::Read, n).map(|n| n as usize);
    }
}

/// One write(2) of all of `bytes`: kernel files take a value in one call or not at all.
pub fn write(fd: BorrowedFd, bytes: &[u8]) -> Result<usize, Fail> {
    // SAFETY: bytes is readable for the length that we give.
    gate(Call::Write, unsafe { libc::write(fd.as_raw_fd(), bytes.as_ptr().cast(), bytes.len()) })
        .map(|n| n as usize)
}

/// write(2) until all of `bytes` is written; repeated when a signal interrupts it.
pub fn write_all(fd: BorrowedFd, mut bytes: &[u8]) -> Result<(), Fail> {
    while !bytes.is_empty() {
        match write(fd, bytes) {
            Err(Fail { errno: super::Errno::EINTR, .. }) => {}
            written => bytes = bytes.get(written?..).unwrap_or_default(),
        }
    }
    Ok(())
}

/// lseek(2) to the start.
pub fn rewind(fd: BorrowedFd) -> Result<(), Fail> {
    // SAFETY: only integers go in.
    gate(Call::Lseek, unsafe { libc::lseek(fd.as_raw_fd(), 0, libc::SEEK_SET) }).map(drop)
}

/// getdents64(2): calls `each` with every name but `.` and `..`, until it fails.
pub fn for_each_entry(dir: BorrowedFd, mut each: impl FnMut(&CStr) -> Result<(), Fail>) -> Result<(), Fail> {
    for_each_typed_entry(dir, |name, _| each(name))
}

/// As [`for_each_entry`], with the entry's type (DT_DIR and its like), which not every file system tells.
pub fn for_each_typed_entry(
    dir: BorrowedFd,
    mut each: impl FnMut(&CStr, u8) -> Result<(), Fail>,
) -> Result<(), Fail> {
    #[repr(align(8))]
    struct Buffer([u8; 4096]);
    let mut buffer = Buffer([0; 4096]);
    loop {
        // SAFETY: the buffer is writable for its own length.
        let n = gate(Call::Getdents, unsafe {
            libc::syscall(libc::SYS_getdents64, dir.as_raw_fd(), buffer.0.as_mut_ptr(), buffer.0.len())
        })? as usize;
        if n == 0 {
            return Ok(());
        }
        let mut rest = buffer.0.get(..n).unwrap_or(&[]);
        // struct linux_dirent64: ino 8, off 8, reclen 2, type 1, then the name up to a NUL (getdents64(2)).
        while let (Some(len), Some(kind), Some(name)) = (rest.get(16..18), rest.get(18), rest.get(19..)) {
            let len = usize::from(u16::from_ne_bytes([len[0], len[1]]));
            if let Ok(name) = CStr::from_bytes_until_nul(name) {
                if name != c"." && name != c".." {
                    each(name, *kind)?;
                }
            }
            rest = rest.get(len.max(1)..).unwrap_or(&[]);
        }
    }
}

/// dup3(2) onto the number `to`: close-on-exec, or meant to survive exec.
pub fn dup_onto(fd: BorrowedFd, to: i32, survive_exec: bool) -> Result<(), Fail> {
    if fd.as_raw_fd() == to {
        let flags = if survive_exec { 0 } else { libc::FD_CLOEXEC };
        // SAFETY: only integers go in.
        return gate(Call::Fcntl, unsafe { libc::fcntl(to, libc::F_SETFD, flags) }).map(drop);
    }
    let flags = if survive_exec { 0 } else { libc::O_CLOEXEC };
    // SAFETY: only integers go in; what stood at `to` is closed by the kernel, the callers own it.
    gate(Call::Dup, unsafe { libc::dup3(fd.as_raw_fd(), to, flags) }).map(drop)
}

/// close_range(2): every fd from `first` on becomes close-on-exec.
pub fn cloexec_from(first: u32) -> Result<(), Fail> {
    // SAFETY: only integers go in, and no fd is closed now.
    gate(Call::CloseRange, unsafe {
        libc::syscall(libc::SYS_close_range, first, u32::MAX, libc::CLOSE_RANGE_CLOEXEC)
    })
    .map(drop)
}

/// close_range(2) of every fd from `first` on but those in `kept`, whoever believes to own them: for a child
/// that frees nothing.
pub fn close_others(first: i32, kept: impl Iterator<Item = i32> + Clone) -> Result<(), Fail> {
    let mut from = first;
    loop {
        let next = kept.clone().filter(|fd| *fd >= from).min();
        let last = next.map_or(i32::MAX, |next| next - 1);
        if from <= last {
            // SAFETY: only integers go in; the caller's promise is that nobody uses those fds any more.
            gate(Call::CloseRange, unsafe { libc::syscall(libc::SYS_close_range, from, last, 0) })?;
        }
        match next {
            Some(next) => from = next + 1,
            None => return Ok(()),
        }
    }
}

/// memfd_create(2), readable and writable, close-on-exec.
pub fn memfd(name: &CStr) -> Result<OwnedFd, Fail> {
    // SAFETY: name is NUL-terminated and outlives the call.
    let ret = unsafe { libc::memfd_create(name.as_ptr(), libc::MFD_CLOEXEC) };
    gate_fd(Call::Memfd, i64::from(ret))
}

/// The fd with this number, which somebody else has opened: a standard stream. `None` if it isn't open.
pub fn borrow(number: i32) -> Option<BorrowedFd<'static>> {
    // SAFETY: F_GETFD only asks whether the number is in use.
    if unsafe { libc::fcntl(number, libc::F_GETFD) } < 0 {
        return None;
    }
    // SAFETY: it is open, and nobody in this process closes the standard streams or the preserved fds.
    Some(unsafe { BorrowedFd::borrow_raw(number) })
}
