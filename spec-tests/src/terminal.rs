//! Terminals: the socket that receives a container's, and a pair of our own to run the runtime on.

use std::fs::File;
use std::io::{ErrorKind, IoSliceMut, Read, Write};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::pty::{Winsize, openpty};
use nix::sys::socket::{ControlMessageOwned, MsgFlags, recvmsg};

use crate::eventually;

/// The master side of a terminal.
pub struct Terminal {
    master: File,
    seen: String,
}

impl Terminal {
    /// A new pair with this size; the second is the slave, for [`crate::Command::stdio`].
    pub fn pair(rows: u16, columns: u16) -> (Terminal, OwnedFd) {
        let size = Winsize { ws_row: rows, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 };
        let pair = openpty(&size, None).expect("a terminal");
        (Terminal::of(pair.master), pair.slave)
    }

    fn of(master: OwnedFd) -> Terminal {
        fcntl(&master, FcntlArg::F_SETFL(OFlag::O_NONBLOCK)).expect("O_NONBLOCK");
        Terminal { master: master.into(), seen: String::new() }
    }

    /// Changes the size, as a terminal emulator does when its window changes.
    pub fn resize(&self, rows: u16, columns: u16) {
        let size = Winsize { ws_row: rows, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 };
        set_window_size(self.master.as_raw_fd(), &size);
    }

    pub fn write(&mut self, text: &str) {
        self.master.write_all(text.as_bytes()).expect("write to the terminal");
    }

    /// Reads until `text` was seen; gives all that was read since the terminal was opened, with `\n` as line end.
    pub fn read_until(&mut self, text: &str) -> &str {
        eventually(&format!("{text:?} on the terminal"), || {
            let mut bytes = [0; 4096];
            match self.master.read(&mut bytes) {
                Ok(n) => self.seen.push_str(&String::from_utf8_lossy(&bytes[..n]).replace('\r', "")),
                Err(e) if e.kind() == ErrorKind::WouldBlock => {}
                // EIO: nobody has the other side open (yet).
                Err(e) => assert_eq!(e.raw_os_error(), Some(libc::EIO), "{e}"),
            }
            self.seen.contains(text).then_some(())
        });
        &self.seen
    }
}

impl AsRawFd for Terminal {
    fn as_raw_fd(&self) -> RawFd {
        self.master.as_raw_fd()
    }
}

/// A socket for `--console-socket` and its like.
pub struct FdSocket {
    listener: UnixListener,
    path: PathBuf,
}

impl FdSocket {
    pub fn listen(path: impl AsRef<Path>) -> FdSocket {
        let path = path.as_ref().to_owned();
        FdSocket { listener: UnixListener::bind(&path).expect("bind a socket"), path }
    }

    pub fn path(&self) -> &str {
        self.path.to_str().expect("UTF-8")
    }

    /// The fd that is sent by the first who connects, and the text beside it.
    pub fn receive(&self) -> (OwnedFd, String) {
        self.listener.set_nonblocking(true).expect("nonblocking");
        let stream = eventually("a connection", || self.listener.accept().ok()).0;
        stream.set_nonblocking(false).expect("blocking");
        stream.set_read_timeout(Some(Duration::from_secs(120))).expect("a time limit");
        receive_fd(&stream)
    }

    /// The same for a terminal's master.
    pub fn receive_terminal(&self) -> Terminal {
        Terminal::of(self.receive().0)
    }
}

nix::ioctl_write_ptr_bad!(tiocswinsz, libc::TIOCSWINSZ, Winsize);

#[allow(unsafe_code)] // ioctl(2) has no safe form
fn set_window_size(fd: RawFd, size: &Winsize) {
    // SAFETY: the kernel reads one winsize from a live variable of that type.
    unsafe { tiocswinsz(fd, size) }.expect("TIOCSWINSZ");
}

#[allow(unsafe_code)] // safe code cannot know who owns an fd that came by SCM_RIGHTS
fn receive_fd(stream: &UnixStream) -> (OwnedFd, String) {
    let mut bytes = [0; 4096];
    let mut parts = [IoSliceMut::new(&mut bytes)];
    let mut space = nix::cmsg_space!([RawFd; 4]);
    let flags = MsgFlags::MSG_CMSG_CLOEXEC;
    let message = loop {
        match recvmsg::<()>(stream.as_raw_fd(), &mut parts, Some(&mut space), flags) {
            Err(nix::errno::Errno::EINTR) => {}
            message => break message.expect("a message"),
        }
    };
    let length = message.bytes;
    let fds = message.cmsgs().expect("control messages").find_map(|m| match m {
        ControlMessageOwned::ScmRights(fds) => Some(fds),
        _ => None,
    });
    let fds = fds.expect("no fd in the message");
    assert_eq!(fds.len(), 1, "one fd is sent");
    // SAFETY: the kernel has just made this fd for us, and nobody else knows its number.
    let fd = unsafe { OwnedFd::from_raw_fd(fds[0]) };
    (fd, String::from_utf8_lossy(&bytes[..length]).into_owned())
}
