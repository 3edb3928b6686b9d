//! Between the user's terminal and the container's: keys one way, output the other way, neither ever
//! waiting for the other. What can't be passed on yet is kept in two bounded buffers; a full one stops the
//! reading on its side.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use crate::error::{Doing, Result};
use crate::sys::process::Watch;
use crate::sys::signals::would_block;
use crate::sys::terminal::{self, Modes};
use crate::sys::{fs, tty};

/// How much each direction may hold.
const LIMIT: usize = 65_536;
/// One read or write. A fifo that is ready takes this much at once (PIPE_BUF, pipe(7)), so that even one
/// which we couldn't make nonblocking doesn't block.
const CHUNK: usize = 4096;

/// The user's side.
#[derive(Clone, Copy)]
pub struct Stdio<'a> {
    pub stdin: BorrowedFd<'a>,
    pub stdout: BorrowedFd<'a>,
}

pub struct Relay<'a> {
    master: OwnedFd,
    /// A slave of our own. Without one the master would report a hangup, over and over, whenever the
    /// container has no slave open just now (an init system opens /dev/console for each message).
    slave: Option<OwnedFd>,
    stdin: Option<OwnedFd>,
    stdout: Option<OwnedFd>,
    to_master: Vec<u8>,
    to_stdout: Vec<u8>,
    /// The terminal whose size counts.
    screen: Option<BorrowedFd<'a>>,
    _raw: Option<Raw<'a>>,
}

impl<'a> Relay<'a> {
    /// Begins: the user's terminal, if there is one, is raw until the relay is dropped.
    pub fn new(master: OwnedFd, stdio: Stdio<'a>) -> Result<Relay<'a>> {
        terminal::set_nonblocking(master.as_fd())
            .doing(|| "make the container's terminal nonblocking".into())?;
        let slave = tty::open_peer(master.as_fd()).doing(|| "open the container's terminal".into())?;
        let modes = |fd: BorrowedFd<'_>| terminal::modes(fd).ok();
        let (keyboard, screen) = (modes(stdio.stdin), modes(stdio.stdout));
        // Who turns a newline into the two characters that a screen wants? The container's terminal, if
        // its output goes to a screen; else the user's, so that a pipe or file gets plain newlines.
        if screen.is_none() {
            let modes = terminal::modes(slave.as_fd())
                .doing(|| "ask for the modes of the container's terminal".into())?;
            let set = terminal::set_modes(slave.as_fd(), &modes.without_carriage_return());
            set.doing(|| "set the modes of the container's terminal".into())?;
        }
        let raw = match &keyboard {
            Some(before) => {
                let raw = before.raw();
                Some(Raw::set(
                    stdio.stdin,
                    before,
                    if screen.is_some() { raw } else { raw.output_as(before) },
                )?)
            }
            None => None,
        };
        let relay = Relay {
            master,
            slave: Some(slave),
            stdin: own(stdio.stdin, false),
            stdout: own(stdio.stdout, true),
            to_master: vec![],
            to_stdout: vec![],
            screen: keyboard.map(|_| stdio.stdin).or(screen.map(|_| stdio.stdout)),
            _raw: raw,
        };
        relay.resize();
        Ok(relay)
    }

    /// Gives the container's terminal the size of the user's.
    pub fn resize(&self) {
        if let Some(screen) = self.screen {
            let _ = terminal::copy_window_size(screen, self.master.as_fd()); // a wrong size is no reason to end
        }
    }

    /// What to wait for: keys, output (or room for keys), room for output.
    pub fn watches(&self) -> [Watch<'_>; 3] {
        let master_in = self.slave.is_some() && self.to_stdout.len() < LIMIT; // else it is hung up, see finish()
        [
            Watch::new(self.stdin.as_ref().map(AsFd::as_fd), self.to_master.len() < LIMIT, false),
            Watch::new(Some(self.master.as_fd()), master_in, !self.to_master.is_empty()),
            Watch::new(self.stdout.as_ref().map(AsFd::as_fd), false, !self.to_stdout.is_empty()),
        ]
    }

    /// Passes on what [`watches`](Relay::watches) found ready.
    pub fn pass_on(&mut self, [keys, master, room]: [bool; 3]) {
        if keys {
            match self.stdin.as_ref().map(|stdin| read(stdin, &mut self.to_master)) {
                Some(Read::Some | Read::Later) => {}
                Some(Read::End) | None => self.stdin = None, // the container isn't told, as its terminal stays
            }
        }
        if master {
            if self.to_stdout.len() < LIMIT {
                read(&self.master, &mut self.to_stdout);
            }
            if !self.to_master.is_empty() && !write(&self.master, &mut self.to_master) {
                self.to_master.clear();
            }
        }
        if room && !self.stdout.as_ref().is_some_and(|stdout| write(stdout, &mut self.to_stdout)) {
            self.stdout = None;
        }
        if self.stdout.is_none() {
            self.to_stdout.clear(); // nobody reads it any more, but the container must be able to go on
        }
    }

    /// The container's init has ended: reads what is left in its terminal, as much as the buffer takes.
    /// False once there is nothing left to pass on.
    pub fn finish(&mut self) -> bool {
        self.slave = None;
        self.stdin = None;
        self.to_master.clear();
        while self.stdout.is_some() && self.to_stdout.len() < LIMIT {
            match read(&self.master, &mut self.to_stdout) {
                Read::Some => {}
                Read::Later | Read::End => break,
            }
        }
        self.stdout.is_some() && !self.to_stdout.is_empty()
    }
}

/// A copy of the user's fd that we may use without blocking. What is neither terminal nor fifo is used as
/// it is. `None` if the fd is closed.
fn own(fd: BorrowedFd<'_>, write: bool) -> Option<OwnedFd> {
    let is_fifo = || fs::stat(fd).is_ok_and(|stat| stat.mode & libc::S_IFMT == libc::S_IFIFO);
    if terminal::modes(fd).is_ok() || is_fifo() {
        if let Ok(own) = terminal::reopen_nonblocking(fd, write) {
            return Some(own);
        }
    }
    fd.try_clone_to_owned().ok()
}

enum Read {
    Some,
    Later,
    End,
}

fn read(from: &OwnedFd, buffer: &mut Vec<u8>) -> Read {
    let mut chunk = [0; CHUNK];
    match fs::read(from.as_fd(), &mut chunk) {
        Ok(0) => Read::End,
        Ok(n) => {
            buffer.extend_from_slice(&chunk[..n]);
            Read::Some
        }
        Err(fail) if would_block(fail) => Read::Later,
        Err(_) => Read::End, // EIO: the terminal is gone
    }
}

/// Writes what can be written now; false if nothing ever can be again.
fn write(to: &OwnedFd, buffer: &mut Vec<u8>) -> bool {
    match fs::write(to.as_fd(), &buffer[..buffer.len().min(CHUNK)]) {
        Ok(n) => {
            buffer.drain(..n);
            true
        }
        Err(fail) => would_block(fail), // else EPIPE or EIO: the reader or the terminal is gone
    }
}

/// A terminal in raw mode, until dropped.
struct Raw<'a> {
    tty: BorrowedFd<'a>,
    before: Modes,
}

impl<'a> Raw<'a> {
    fn set(tty: BorrowedFd<'a>, before: &Modes, raw: Modes) -> Result<Raw<'a>> {
        terminal::set_modes(tty, &raw).doing(|| "set the terminal to raw mode".into())?;
        Ok(Raw { tty, before: before.clone() })
    }
}

impl Drop for Raw<'_> {
    fn drop(&mut self) {
        let _ = terminal::set_modes(self.tty, &self.before); // if it is gone there is nothing to restore
    }
}
