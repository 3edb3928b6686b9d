//! The system calls that neither the standard library nor `nix` offers as safe functions: the only unsafe code of the
//! shim, beside rrunc's `sys`.

use std::io::{self, Write};
use std::os::fd::{AsRawFd, BorrowedFd};
use std::os::unix::process::CommandExt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::Command;

use nix::sys::signal::SigSet;

/// prctl(2), PR_SCHED_CORE_CREATE for this process's thread group: what it starts shares no core with others. Linux
/// 5.14.
pub fn new_core_scheduling_group() -> io::Result<()> {
    let scope = libc::PR_SCHED_CORE_SCOPE_THREAD_GROUP;
    // SAFETY: only integers go in.
    match unsafe { libc::prctl(libc::PR_SCHED_CORE, libc::PR_SCHED_CORE_CREATE, 0, scope, 0) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

/// Makes a program end with the shim, and start with no signal blocked (std lets it inherit the mask).
pub fn bind_to_us(command: &mut Command) {
    let prepare = || {
        SigSet::empty().thread_set_mask()?;
        // SAFETY: only integers go in.
        match unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL, 0, 0, 0) } {
            0 => Ok(()),
            _ => Err(io::Error::last_os_error()),
        }
    };
    // SAFETY: both calls may be made between fork and exec (signal-safety(7)); nothing is allocated.
    unsafe { command.pre_exec(prepare) };
}

/// loop(4), LOOP_CTL_GET_FREE: the number of a device without a file.
pub fn free_loop_device(control: BorrowedFd) -> io::Result<u32> {
    const LOOP_CTL_GET_FREE: libc::Ioctl = 0x4c82;
    // SAFETY: only integers go in.
    match unsafe { libc::ioctl(control.as_raw_fd(), LOOP_CTL_GET_FREE) } {
        number @ 0.. => Ok(number.unsigned_abs()),
        _ => Err(io::Error::last_os_error()),
    }
}

/// loop(4), LOOP_CONFIGURE: gives a device a file, until nobody has the device open any more. Linux 5.8.
pub fn configure_loop_device(device: BorrowedFd, file: BorrowedFd, read_only: bool) -> io::Result<()> {
    const LOOP_CONFIGURE: libc::Ioctl = 0x4c0a;
    const LO_FLAGS_READ_ONLY: u32 = 1;
    const LO_FLAGS_AUTOCLEAR: u32 = 4;
    /// struct loop_config with the struct loop_info64 in it: what we leave to the kernel is 0.
    #[repr(C)]
    struct LoopConfig {
        fd: u32,
        block_size: u32,
        device_to_encrypt_key_size: [u32; 13],
        flags: u32,
        names_to_init: [u64; 22],
        reserved: [u64; 8],
    }
    const _: () = assert!(size_of::<LoopConfig>() == 304);
    let config = LoopConfig {
        fd: file.as_raw_fd() as u32,
        block_size: 0,
        device_to_encrypt_key_size: [0; 13],
        flags: LO_FLAGS_AUTOCLEAR | if read_only { LO_FLAGS_READ_ONLY } else { 0 },
        names_to_init: [0; 22],
        reserved: [0; 8],
    };
    // SAFETY: the kernel reads a struct loop_config, which this is, and keeps nothing of it.
    match unsafe { libc::ioctl(device.as_raw_fd(), LOOP_CONFIGURE, &raw const config) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

/// madvise(2), MADV_DONTNEED for what of the program is only read: its pages are mapped again when they are needed,
/// and until then the kernel may have their memory. Linux maps many around each that is touched.
pub fn forget_code() {
    /// Of the first object, the program itself.
    unsafe extern "C" fn forget(
        info: *mut libc::dl_phdr_info,
        _: usize,
        _: *mut libc::c_void,
    ) -> libc::c_int {
        // SAFETY: dl_iterate_phdr(3) gives a valid info for as long as this runs, with so many headers.
        let (base, headers) = unsafe {
            let info = &*info;
            (info.dlpi_addr, std::slice::from_raw_parts(info.dlpi_phdr, info.dlpi_phnum.into()))
        };
        let unwritten =
            |header: &&libc::Elf64_Phdr| header.p_type == libc::PT_LOAD && header.p_flags & libc::PF_W == 0;
        for header in headers.iter().filter(unwritten) {
            let start = (base + header.p_vaddr) & !(PAGE - 1);
            let end = base + header.p_vaddr + header.p_memsz;
            // SAFETY: a mapping of the program's file that nobody can write to: what is forgotten comes back the same.
            unsafe {
                libc::madvise(start as *mut libc::c_void, (end - start) as usize, libc::MADV_DONTNEED);
            }
        }
        1 // no further object
    }
    const PAGE: u64 = 4096; // segments are aligned to more where pages are larger
    // SAFETY: `forget` has the type that is wanted, and gets no data.
    unsafe { libc::dl_iterate_phdr(Some(forget), std::ptr::null_mut()) };
}

/// fork(2): a copy of this process does `work` and ends with what it returns, and ends with us if we do. It has these
/// files for stdin, stdout and stderr, and no other: nobody waits for the end of a pipe since it has that too.
pub fn fork(stdio: [BorrowedFd; 3], work: impl FnOnce() -> i32) -> io::Result<u32> {
    let ours = std::process::id();
    // SAFETY: the shim has one thread, so that the copy has all of it: no lock is held by another that isn't there.
    match unsafe { libc::fork() } {
        -1 => return Err(io::Error::last_os_error()),
        0 => {}
        pid => return Ok(pid.unsigned_abs()),
    }
    let status = catch_unwind(AssertUnwindSafe(|| {
        let ready = SigSet::empty().thread_set_mask().is_ok() && take(stdio);
        // SAFETY: only integers go in.
        let bound = unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL, 0, 0, 0) } == 0;
        if !(ready && bound) || std::os::unix::process::parent_id() != ours {
            return NOT_READY;
        }
        let status = work();
        let _ = io::stdout().flush(); // what can't be printed is missed by who reads it
        status
    }));
    // SAFETY: ends this process; nothing of the shim is to be undone by its copy.
    unsafe { libc::_exit(status.unwrap_or(NOT_READY)) }
}

/// What a copy that could not begin exits with.
const NOT_READY: i32 = 125;

/// Only in a copy of the shim: every fd but these is closed behind the backs of those who own it.
fn take(stdio: [BorrowedFd; 3]) -> bool {
    for (number, fd) in (0..).zip(stdio) {
        // SAFETY: takes numbers only; the shim's own stdin, stdout and stderr are nobody's in this process.
        if unsafe { libc::dup2(fd.as_raw_fd(), number) } < 0 {
            return false;
        }
    }
    // SAFETY: takes numbers only. Whoever owns one of the fds is never used nor dropped in this process.
    unsafe { libc::syscall(libc::SYS_close_range, 3, u32::MAX, 0) == 0 }
}

/// Makes a program start with no signal blocked.
pub fn unblock_signals(command: &mut Command) {
    let unblock = || Ok(SigSet::empty().thread_set_mask()?);
    // SAFETY: sigprocmask may be called between fork and exec (signal-safety(7)); nothing is allocated.
    unsafe { command.pre_exec(unblock) };
}

/// Gives a program further fds, numbered from 3 on.
pub fn pass_fds(command: &mut Command, fds: Vec<std::os::fd::OwnedFd>) {
    let pass = move || {
        // Out of the way first: one of them may have a number that another is to get.
        let mut raised = [-1; 8];
        for (raised, fd) in raised.iter_mut().zip(&fds) {
            // SAFETY: takes numbers only; the fd is open, for we own it.
            *raised = unsafe { libc::fcntl(fd.as_raw_fd(), libc::F_DUPFD_CLOEXEC, 3 + 8) };
            if *raised < 0 {
                return Err(io::Error::last_os_error());
            }
        }
        for (target, fd) in (3..).zip(raised.iter().take_while(|fd| **fd >= 0)) {
            // SAFETY: takes numbers only; whatever has the target's number is not needed in this process any more.
            if unsafe { libc::dup2(*fd, target) } < 0 {
                return Err(io::Error::last_os_error());
            }
        }
        Ok(())
    };
    // SAFETY: fcntl and dup2 may be called between fork and exec (signal-safety(7)); nothing is allocated.
    unsafe { command.pre_exec(pass) };
}
