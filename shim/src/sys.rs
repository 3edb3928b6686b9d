//! The system calls that neither the standard library nor `nix` offers as safe functions: the only unsafe code of the
//! shim, beside rrunc's `sys`.

use std::io;
use std::os::unix::process::CommandExt;
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

/// Makes a program start with no signal blocked.
pub fn unblock_signals(command: &mut Command) {
    let unblock = || Ok(SigSet::empty().thread_set_mask()?);
    // SAFETY: sigprocmask may be called between fork and exec (signal-safety(7)); nothing is allocated.
    unsafe { command.pre_exec(unblock) };
}

/// Gives a program further fds, numbered from 3 on.
pub fn pass_fds(command: &mut Command, fds: Vec<std::os::fd::OwnedFd>) {
    use std::os::fd::AsRawFd;
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
