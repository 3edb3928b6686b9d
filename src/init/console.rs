//! The container's terminal: made in its own devpts, so that its names are right in there, and handed to
//! whoever asked for it.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use super::Done;
use crate::sys::fs::{self, resolve};
use crate::sys::{Call, Errno, Fail, Uid, ids, mount, net, tty};

/// DEVPTS_SUPER_MAGIC of linux/magic.h.
const DEVPTS_MAGIC: i64 = 0x1cd1;

pub fn open(
    root: BorrowedFd,
    socket: BorrowedFd,
    size: Option<(u16, u16)>,
    uid: Uid,
    as_console: bool,
) -> Done {
    // Opened only where nothing but terminals can be: else it may be a fifo, a device, or what never answers.
    let flags = libc::O_PATH | libc::O_DIRECTORY;
    let devpts = fs::open(root, c"dev/pts", flags, 0, resolve::IN_ROOT_PLAIN)?;
    if fs::fs_magic(devpts.as_fd())? != DEVPTS_MAGIC {
        return Err(Fail::new(Call::Open, Errno::ENOTTY));
    }
    let flags = libc::O_RDWR | libc::O_NOCTTY;
    let master = fs::open(devpts.as_fd(), c"ptmx", flags, 0, resolve::BENEATH_PLAIN)?;
    if !fs::stat(master.as_fd())?.is_char_device(5, 2) {
        return Err(Fail::new(Call::Open, Errno::ENOTTY));
    }
    tty::unlock_pty(master.as_fd())?;
    let terminal = tty::open_peer(master.as_fd())?;
    if let Some((rows, columns)) = size {
        tty::set_window_size(terminal.as_fd(), rows, columns)?;
    }
    match fs::chown(terminal.as_fd(), Some(uid), None) {
        Ok(()) | Err(Fail { errno: Errno::EINVAL | Errno::EPERM, .. }) => {}
        Err(fail) => return Err(fail),
    }
    if as_console {
        show_as_console(root, terminal.as_fd())?;
    }
    net::send(socket, b"/dev/ptmx", Some(master.as_fd()))?;
    for number in 0..3 {
        fs::dup_onto(terminal.as_fd(), number, true)?;
    }
    ids::set_controlling_terminal(terminal.as_fd())
}

/// A bind of the terminal's own inode on /dev/console, whatever an image has put there (CVE-2026-88264).
fn show_as_console(root: BorrowedFd, terminal: BorrowedFd) -> Done {
    let point = match point(root) {
        Err(Fail { errno: Errno::ENOENT, .. }) => {
            let create = libc::O_CREAT | libc::O_EXCL | libc::O_NOFOLLOW | libc::O_WRONLY;
            fs::open(root, c"dev/console", create, 0o600, resolve::IN_ROOT_PLAIN)?
        }
        other => other?,
    };
    let copy = mount::clone_tree(terminal, c"", false)?;
    mount::attach(copy.as_fd(), point.as_fd())
}

fn point(root: BorrowedFd) -> Result<OwnedFd, Fail> {
    fs::open(root, c"dev/console", libc::O_PATH | libc::O_NOFOLLOW, 0, resolve::IN_ROOT_PLAIN)
}
