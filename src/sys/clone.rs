//! One process becomes two, and how the second one ends.

use std::ffi::{c_int, c_void};
use std::mem::size_of;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::ptr;

use super::{Call, Errno, Fail, Pid, gate};

/// CLONE_INTO_CGROUP of linux/sched.h (5.7); libc's constant is too narrow for it.
const INTO_CGROUP: u64 = 1 << 33;

/// Who we are after [`clone`].
pub enum Who {
    Parent(Pid, OwnedFd),
    Child,
}

/// clone3(2) as fork(2) with `flags` more, into the cgroup behind `cgroup` if there is one. The child has a
/// copy of our memory and stack.
///
/// # Safety
/// The caller has one thread, and the child calls nothing but what `sys` offers, allocates nothing, and
/// ends in [`exit`] or an exec: locks and buffers of the C library are as the parent left them.
pub unsafe fn clone(flags: u64, cgroup: Option<BorrowedFd>) -> Result<Who, Fail> {
    let mut pidfd: i32 = -1;
    let with_parent = flags & libc::CLONE_PARENT as u64 != 0;
    let mut args = libc::clone_args {
        flags: flags | libc::CLONE_PIDFD as u64 | if cgroup.is_some() { INTO_CGROUP } else { 0 },
        pidfd: &raw mut pidfd as u64,
        child_tid: 0,
        parent_tid: 0,
        // The new process takes over our own exit signal with CLONE_PARENT, and must then name none (clone(2)).
        exit_signal: if with_parent { 0 } else { libc::SIGCHLD as u64 },
        stack: 0,
        stack_size: 0,
        tls: 0,
        set_tid: 0,
        set_tid_size: 0,
        cgroup: cgroup.map_or(0, |fd| fd.as_raw_fd() as u64),
    };
    // SAFETY: args is as large as we say; without CLONE_VM the child goes on on its own copy of this stack.
    // The rest is the caller's promise above.
    let pid = gate(Call::Clone, unsafe {
        libc::syscall(libc::SYS_clone3, &raw mut args, size_of::<libc::clone_args>())
    })?;
    if pid == 0 {
        return Ok(Who::Child);
    }
    // SAFETY: CLONE_PIDFD made this fd for us.
    Ok(Who::Parent(Pid(pid as i32), unsafe { OwnedFd::from_raw_fd(pidfd) }))
}

/// Room for a thread's frames; those of debug builds are large.
const STACK: usize = 256 * 1024;

/// clone(2) of a thread of this process that runs `run` with `argument` and ends. It shares all that we have but what
/// the kernel keeps for each thread: ids, capabilities, the seccomp filter. Its stack stays mapped until we execute a
/// program, which is also the end of a thread that hasn't ended.
///
/// For the container's process alone: the C library knows nothing of this thread, and errno is the same for both. So
/// while one makes calls, the other waits.
pub fn thread(run: extern "C" fn(*mut c_void) -> c_int, argument: usize) -> Result<(), Fail> {
    let (protection, flags) =
        (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_STACK);
    // SAFETY: a new anonymous mapping overlaps nothing.
    let stack = unsafe { libc::mmap(ptr::null_mut(), STACK, protection, flags, -1, 0) };
    if stack == libc::MAP_FAILED {
        return Err(Fail::new(Call::Mmap, Errno::last()));
    }
    let shared =
        libc::CLONE_VM | libc::CLONE_FS | libc::CLONE_FILES | libc::CLONE_SIGHAND | libc::CLONE_SYSVSEM;
    // SAFETY: the stack is ours, is as large as we say, grows down from its aligned end, and is never unmapped. `run`
    // takes an integer in the shape of a pointer, which nobody follows.
    gate(Call::Clone, unsafe {
        libc::clone(run, stack.byte_add(STACK), shared | libc::CLONE_THREAD, argument as *mut c_void)
    })
    .map(drop)
}

/// _exit(2): no atexit handler, no flush of buffers that are the parent's too.
pub fn exit(status: i32) -> ! {
    // SAFETY: exit_group takes an integer and does not return.
    unsafe {
        libc::syscall(libc::SYS_exit_group, status);
        libc::_exit(status)
    }
}

/// unshare(2).
pub fn unshare(flags: u64) -> Result<(), Fail> {
    // SAFETY: only an integer goes in.
    gate(Call::Unshare, unsafe { libc::unshare(flags as i32) }).map(drop)
}

/// setns(2): `kind` is the CLONE_NEW* flag that the fd must be of.
pub fn setns(fd: BorrowedFd, kind: u64) -> Result<(), Fail> {
    // SAFETY: only integers go in.
    gate(Call::Setns, unsafe { libc::setns(fd.as_raw_fd(), kind as i32) }).map(drop)
}

/// ioctl_ns(2) NS_GET_NSTYPE: the CLONE_NEW* flag of the namespace behind `fd`.
pub fn namespace_kind(fd: BorrowedFd) -> Result<u64, Fail> {
    const NS_GET_NSTYPE: libc::c_ulong = 0xb703; // _IO(0xb7, 3), linux/nsfs.h
    // SAFETY: the request takes no argument.
    gate(Call::Ioctl, unsafe { libc::ioctl(fd.as_raw_fd(), NS_GET_NSTYPE as _) }).map(|kind| kind as u64)
}

/// [`clone`] for the runtime, which has one thread by design and whose children go straight into code that
/// lives on `sys` alone (checked in debug builds by the allocator of `sys::child_alloc`).
pub fn fork(flags: u64, cgroup: Option<BorrowedFd>) -> Result<Who, Fail> {
    // SAFETY: rrunc starts no thread, and its callers (`spawn`, `seal`, `idmap`, systemd's holder, the hooks of `init`, `exec::spawn`)
    // keep the rule for the child.
    let who = unsafe { clone(flags, cgroup) }?;
    #[cfg(debug_assertions)]
    if matches!(who, Who::Child) {
        super::child_alloc::forbid();
    }
    Ok(who)
}
