//! Pseudo-terminals (pty(7), ioctl_tty(2)).

use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};

use super::{Call, Fail, gate, gate_fd};

/// TIOCSPTLCK: lets the slave side be opened.
pub fn unlock_pty(master: BorrowedFd) -> Result<(), Fail> {
    let unlocked: i32 = 0;
    // SAFETY: the argument is a readable int.
    gate(Call::Ioctl, unsafe { libc::ioctl(master.as_raw_fd(), libc::TIOCSPTLCK, &raw const unlocked) })
        .map(drop)
}

/// TIOCGPTPEER: the slave side of this very master, found by no path (Linux 4.13).
pub fn open_peer(master: BorrowedFd) -> Result<OwnedFd, Fail> {
    let flags = libc::O_RDWR | libc::O_NOCTTY | libc::O_CLOEXEC;
    // SAFETY: only integers go in.
    let ret = unsafe { libc::ioctl(master.as_raw_fd(), libc::TIOCGPTPEER, flags) };
    gate_fd(Call::Ioctl, i64::from(ret))
}

/// TIOCGPTN: the number N of the slave's /dev/pts/N.
pub fn pty_number(master: BorrowedFd) -> Result<u32, Fail> {
    let mut number: u32 = 0;
    // SAFETY: the argument is a writable unsigned int.
    gate(Call::Ioctl, unsafe { libc::ioctl(master.as_raw_fd(), libc::TIOCGPTN, &raw mut number) })?;
    Ok(number)
}

/// TIOCSWINSZ, in character cells.
pub fn set_window_size(tty: BorrowedFd, rows: u16, columns: u16) -> Result<(), Fail> {
    let size = libc::winsize { ws_row: rows, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 };
    // SAFETY: the argument is a readable winsize.
    gate(Call::Ioctl, unsafe { libc::ioctl(tty.as_raw_fd(), libc::TIOCSWINSZ, &raw const size) }).map(drop)
}
