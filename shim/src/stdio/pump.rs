//! Moves bytes from one fd to another as both allow, and never waits: for what it can't go on without, it says
//! so, and the loop calls again.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use nix::errno::Errno;
use nix::fcntl::{SpliceFFlags, splice};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::unistd::{read, write};

/// At one go, before others get theirs.
const TURN: usize = 1 << 20;
const PIECE: usize = 65_536;
/// What a terminal gives at once, and what a fifo that is ready takes as a whole (PIPE_BUF, pipe(7)).
const SMALL: usize = 4096;

pub struct Pump {
    pub from: OwnedFd,
    pub to: OwnedFd,
    via: Via,
}

enum Via {
    /// Between pipes, in the kernel.
    Splice,
    /// Through memory; `rest` has been read and could not be written yet.
    Copy { rest: Vec<u8> },
}

/// Why a pump stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wants {
    /// Nothing to read.
    Input,
    /// No room to write.
    Room,
    /// There is more to do, after the others.
    Turn,
    /// All is done: the end of the input has been passed on, or nobody takes it any more.
    Nothing,
}

impl Pump {
    /// Between two pipes (fifos are pipes).
    pub fn splice(from: OwnedFd, to: OwnedFd) -> Pump {
        let via = Via::Splice;
        Pump { from, to, via }
    }

    /// Where one side is a terminal or a file.
    pub fn copy(from: OwnedFd, to: OwnedFd) -> Pump {
        let via = Via::Copy { rest: vec![] };
        Pump { from, to, via }
    }

    pub fn run(&mut self) -> Wants {
        let mut moved = 0;
        while moved < TURN {
            let step = match &mut self.via {
                Via::Splice => splice_some(self.from.as_fd(), self.to.as_fd()),
                Via::Copy { rest } => copy_some(self.from.as_fd(), self.to.as_fd(), rest),
            };
            match step {
                Ok(Some(bytes)) => moved += bytes,
                Ok(None) | Err(Errno::EIO) => return Wants::Nothing, // EIO: the other side of a terminal is closed
                Err(Errno::EINTR) => continue,
                Err(Errno::EAGAIN) => {
                    return match has_room(self.to.as_fd()) {
                        true => Wants::Input,
                        false => Wants::Room,
                    };
                }
                Err(_) => return Wants::Nothing, // EPIPE: who should read has gone
            }
        }
        Wants::Turn
    }
}

/// How much has been moved; `None` at the end of the input.
fn splice_some(from: BorrowedFd, to: BorrowedFd) -> nix::Result<Option<usize>> {
    let flags = SpliceFFlags::SPLICE_F_NONBLOCK | SpliceFFlags::SPLICE_F_MOVE;
    match splice(from, None, to, None, PIECE, flags)? {
        0 => Ok(None),
        bytes => Ok(Some(bytes)),
    }
}

fn copy_some(from: BorrowedFd, to: BorrowedFd, rest: &mut Vec<u8>) -> nix::Result<Option<usize>> {
    if !rest.is_empty() {
        let written = write(to, rest)?;
        rest.drain(..written);
        if rest.is_empty() {
            rest.shrink_to_fit();
        }
        return Ok(Some(written));
    }
    if !has_room(to) {
        return Err(Errno::EAGAIN);
    }
    let mut buffer = [0; SMALL];
    let bytes = match read(from, &mut buffer)? {
        0 => return Ok(None),
        bytes => &buffer[..bytes],
    };
    let written = match write(to, bytes) {
        Ok(written) => written,
        Err(Errno::EAGAIN | Errno::EINTR) => 0,
        Err(errno) => return Err(errno),
    };
    rest.extend_from_slice(&bytes[written..]);
    Ok(Some(bytes.len()))
}

fn has_room(to: BorrowedFd) -> bool {
    let mut fds = [PollFd::new(to, PollFlags::POLLOUT)];
    // POLLERR (nobody reads) counts: writing will say so.
    poll(&mut fds, PollTimeout::ZERO).is_ok_and(|ready| ready > 0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stdio::sink::{Direction, pipe};

    fn ends() -> (OwnedFd, OwnedFd) {
        let pipe = pipe(Direction::FromProcess, (0, 0)).unwrap();
        let flags = nix::fcntl::FcntlArg::F_SETFL(nix::fcntl::OFlag::O_NONBLOCK);
        nix::fcntl::fcntl(&pipe.theirs, flags).unwrap();
        (pipe.ours, pipe.theirs)
    }

    fn fill(fd: &OwnedFd) -> usize {
        let mut filled = 0;
        while let Ok(written) = write(fd, &[b'x'; SMALL]) {
            filled += written;
        }
        filled
    }

    fn drain(fd: &OwnedFd) -> usize {
        let mut drained = 0;
        let mut buffer = [0; SMALL];
        while let Ok(bytes @ 1..) = read(fd, &mut buffer) {
            drained += bytes;
        }
        drained
    }

    fn check(make: fn(OwnedFd, OwnedFd) -> Pump) {
        let ((from, input), (output, to)) = (ends(), ends());
        let mut pump = make(from, to);
        assert_eq!(pump.run(), Wants::Input);
        let (mut sent, mut got) = (0, 0);
        // Twice as much as the pipe behind can hold.
        for _ in 0..2 {
            sent += fill(&input);
            while pump.run() == Wants::Turn {}
        }
        sent += fill(&input);
        assert_eq!(pump.run(), Wants::Room);
        drop(input);
        loop {
            got += drain(&output);
            if pump.run() == Wants::Nothing {
                break;
            }
        }
        drop(pump);
        got += drain(&output);
        assert_eq!(got, sent);
    }

    #[test]
    fn nothing_is_lost_when_the_reader_is_slow() {
        check(Pump::splice);
        check(Pump::copy);
    }

    #[test]
    fn a_reader_who_goes() {
        for make in [Pump::splice, Pump::copy] {
            let ((from, input), (output, to)) = (ends(), ends());
            let mut pump = make(from, to);
            drop(output);
            fill(&input);
            assert_eq!(pump.run(), Wants::Nothing);
        }
    }
}
