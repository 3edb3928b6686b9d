//! The user's terminal: its modes (termios(3)), its size, and reading and writing it without blocking.

use std::mem::zeroed;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};

use super::{Call, Fail, gate, gate_fd};

/// The modes of a terminal, exactly as the kernel gave them.
#[derive(Clone)]
pub struct Modes(libc::termios);

impl Modes {
    /// Every key goes through, nothing is echoed, nothing is translated: cfmakeraw(3).
    pub fn raw(&self) -> Modes {
        let mut modes = self.clone();
        // SAFETY: only the fields of the structure are changed.
        unsafe { libc::cfmakeraw(&raw mut modes.0) };
        modes
    }

    /// With what happens to output (OPOST and its kin) as in `other`.
    pub fn output_as(&self, other: &Modes) -> Modes {
        let mut modes = self.clone();
        modes.0.c_oflag = other.0.c_oflag;
        modes
    }

    /// Newlines in the output stay newlines.
    pub fn without_carriage_return(&self) -> Modes {
        let mut modes = self.clone();
        modes.0.c_oflag &= !libc::ONLCR;
        modes
    }
}

/// tcgetattr(3). ENOTTY: no terminal.
pub fn modes(tty: BorrowedFd) -> Result<Modes, Fail> {
    // SAFETY: termios is plain integers, for which zero is valid; the call fills it.
    let (ret, modes) = unsafe {
        let mut modes = zeroed();
        (libc::tcgetattr(tty.as_raw_fd(), &raw mut modes), modes)
    };
    gate(Call::Tcgetattr, ret)?;
    Ok(Modes(modes))
}

/// tcsetattr(3), at once.
pub fn set_modes(tty: BorrowedFd, modes: &Modes) -> Result<(), Fail> {
    // SAFETY: the structure is only read.
    let ret = unsafe { libc::tcsetattr(tty.as_raw_fd(), libc::TCSANOW, &raw const modes.0) };
    gate(Call::Tcsetattr, ret).map(drop)
}

/// Gives `to` the window size of `from`, in cells and pixels (TIOCGWINSZ, TIOCSWINSZ).
pub fn copy_window_size(from: BorrowedFd, to: BorrowedFd) -> Result<(), Fail> {
    // SAFETY: winsize is plain integers, for which zero is valid; the first call fills it, the second reads it.
    unsafe {
        let mut size: libc::winsize = zeroed();
        gate(Call::Ioctl, libc::ioctl(from.as_raw_fd(), libc::TIOCGWINSZ, &raw mut size))?;
        gate(Call::Ioctl, libc::ioctl(to.as_raw_fd(), libc::TIOCSWINSZ, &raw const size)).map(drop)
    }
}

/// O_NONBLOCK for `fd` and all that share its open file description.
pub fn set_nonblocking(fd: BorrowedFd) -> Result<(), Fail> {
    // SAFETY: only integers go in.
    let flags = gate(Call::Fcntl, unsafe { libc::fcntl(fd.as_raw_fd(), libc::F_GETFL) })?;
    let flags = flags | libc::O_NONBLOCK;
    // SAFETY: as above.
    gate(Call::Fcntl, unsafe { libc::fcntl(fd.as_raw_fd(), libc::F_SETFL, flags) }).map(drop)
}

/// The file behind `fd` opened a second time, nonblocking: the description that others share stays as it
/// is. For terminals and fifos; a regular file would get a second position.
pub fn reopen_nonblocking(fd: BorrowedFd, write: bool) -> Result<OwnedFd, Fail> {
    let access = if write { libc::O_WRONLY } else { libc::O_RDONLY };
    let flags = access | libc::O_NONBLOCK | libc::O_NOCTTY | libc::O_CLOEXEC;
    let path = std::ffi::CString::new(format!("/proc/self/fd/{}", fd.as_raw_fd())).unwrap_or_default();
    // SAFETY: the path is NUL-terminated and outlives the call.
    gate_fd(Call::Open, i64::from(unsafe { libc::open(path.as_ptr(), flags) }))
}
