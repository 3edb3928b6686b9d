//! Signals as input: blocked, and read from a signalfd(2) instead of interrupting.

use std::os::fd::{AsFd, BorrowedFd};

use nix::sys::signal::{SigSet, SigmaskHow};
use nix::sys::signalfd::{SfdFlags, SignalFd};

use super::process::Signal;
use super::{Call, Errno, Fail, Named, gate};

/// All signals of this thread, blocked and readable until dropped, when the old mask comes back. A child
/// made meanwhile inherits the mask, see [`as_std_found_them`].
pub struct Signals {
    fd: SignalFd,
    old: SigSet,
}

impl Signals {
    /// Those that a fault in our own code causes stay deadly although blocked (sigprocmask(2), Notes).
    pub fn block() -> Result<Signals, Fail> {
        default_sigchld()?;
        let all = SigSet::all();
        let flags = SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK;
        let fd = SignalFd::with_flags(&all, flags).call(Call::Signalfd)?;
        let old = all.thread_swap_mask(SigmaskHow::SIG_BLOCK).call(Call::Sigprocmask)?;
        Ok(Signals { fd, old })
    }

    /// The next signal that has come, `None` if there is none now.
    pub fn next(&self) -> Result<Option<Signal>, Fail> {
        let info = self.fd.read_signal().call(Call::Read)?;
        Ok(info.map(|info| Signal(info.ssi_signo as i32)))
    }
}

impl AsFd for Signals {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

impl Drop for Signals {
    fn drop(&mut self) {
        let _ = self.old.thread_set_mask(); // can't fail: the set is one that the kernel gave
    }
}

/// For a child that executes another program: SIGPIPE, which the standard library ignores from its start on, is as it
/// was, and no signal is blocked. Nothing is allocated.
pub fn as_std_found_them() -> Result<(), Fail> {
    // SAFETY: SIG_DFL is no handler that could run.
    let old = unsafe { libc::signal(libc::SIGPIPE, libc::SIG_DFL) };
    gate(Call::Sigaction, if old == libc::SIG_ERR { -1 } else { 0 })?;
    SigSet::empty().thread_set_mask().call(Call::Sigprocmask)
}

/// As that does, for a test's program.
#[cfg(test)]
pub fn unblock_in_child(command: &mut std::process::Command) {
    use std::os::unix::process::CommandExt;
    let unblock = || Ok(SigSet::empty().thread_set_mask()?);
    // SAFETY: sigprocmask may be called between fork and exec (signal-safety(7)); nothing is allocated.
    unsafe { command.pre_exec(unblock) };
}

/// Undoes an ignored SIGCHLD, which survives execve: with it the kernel forgets the status of our children
/// (wait(2), Notes).
pub fn default_sigchld() -> Result<(), Fail> {
    // SAFETY: SIG_DFL is no handler that could run.
    let old = unsafe { libc::signal(libc::SIGCHLD, libc::SIG_DFL) };
    let ret = if old == libc::SIG_ERR { -1 } else { 0 };
    gate(Call::Sigaction, ret).map(drop)
}

/// Makes this process the parent of orphans below it (prctl(2), PR_SET_CHILD_SUBREAPER).
pub fn become_subreaper() -> Result<(), Fail> {
    // SAFETY: only integers go in.
    gate(Call::Prctl, unsafe { libc::prctl(libc::PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) }).map(drop)
}

/// The errno that means "not now" of a file that doesn't block.
pub fn would_block(fail: Fail) -> bool {
    matches!(fail.errno, Errno::EAGAIN | Errno::EINTR)
}

/// Every signal as at the start of a first program: not ignored, not blocked (execve(2) passes both on). For
/// the child of `spawn`: nothing is allocated.
pub fn reset_all() -> Result<(), Fail> {
    for signal in 1..=libc::SIGRTMAX() {
        // SAFETY: SIG_DFL is no handler that could run; SIGKILL, SIGSTOP and the C library's own two are refused,
        // and are never ignored.
        unsafe { libc::signal(signal, libc::SIG_DFL) };
    }
    SigSet::empty().thread_set_mask().call(Call::Sigprocmask)
}
