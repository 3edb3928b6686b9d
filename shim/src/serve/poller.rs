//! epoll, with what an event is about as its token.

use std::os::fd::AsFd;
use std::time::Duration;

use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};

use crate::refusal::{Doing, Refusal};
use crate::table::ProcessId;

/// Whose fd is ready. Numbers are never given twice, so an event that comes too late finds nobody.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Token {
    Listener,
    Signals,
    Publisher,
    Oom(ProcessId),
    Connection(u64),
    Flight(u64),
    Process(ProcessId),
    Logger(ProcessId),
    PumpIn(u64),
    PumpOut(u64),
    Unread(u64),
}

const SHIFT: u32 = 56;

impl Token {
    fn to_u64(self) -> u64 {
        let (kind, number) = match self {
            Token::Listener => (0, 0),
            Token::Signals => (1, 0),
            Token::Publisher => (2, 0),
            Token::Oom(ProcessId(number)) => (3, number),
            Token::Connection(number) => (4, number),
            Token::Flight(number) => (5, number),
            Token::Process(ProcessId(number)) => (6, number),
            Token::Logger(ProcessId(number)) => (7, number),
            Token::PumpIn(number) => (8, number),
            Token::PumpOut(number) => (9, number),
            Token::Unread(number) => (10, number),
        };
        kind << SHIFT | number
    }

    fn from_u64(token: u64) -> Option<Token> {
        let number = token & ((1 << SHIFT) - 1);
        Some(match token >> SHIFT {
            0 => Token::Listener,
            1 => Token::Signals,
            2 => Token::Publisher,
            3 => Token::Oom(ProcessId(number)),
            4 => Token::Connection(number),
            5 => Token::Flight(number),
            6 => Token::Process(ProcessId(number)),
            7 => Token::Logger(ProcessId(number)),
            8 => Token::PumpIn(number),
            9 => Token::PumpOut(number),
            10 => Token::Unread(number),
            _ => return None,
        })
    }
}

pub struct Poller(Epoll);

pub const IN: EpollFlags = EpollFlags::EPOLLIN;
pub const OUT: EpollFlags = EpollFlags::EPOLLOUT;
/// A file of the kernel that has changed.
pub const PRI: EpollFlags = EpollFlags::EPOLLPRI;

impl Poller {
    pub fn new() -> Result<Poller, Refusal> {
        let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC);
        Ok(Poller(epoll.doing(|| "make an epoll".into())?))
    }

    pub fn add(&self, fd: impl AsFd, token: Token, flags: EpollFlags) -> Result<(), Refusal> {
        let event = EpollEvent::new(flags, token.to_u64());
        self.0.add(fd, event).doing(|| format!("watch {token:?}"))
    }

    pub fn change(&self, fd: impl AsFd, token: Token, flags: EpollFlags) -> Result<(), Refusal> {
        let mut event = EpollEvent::new(flags, token.to_u64());
        self.0.modify(fd, &mut event).doing(|| format!("watch {token:?}"))
    }

    /// One that isn't watched is fine.
    pub fn remove(&self, fd: impl AsFd) {
        let _ = self.0.delete(fd);
    }

    /// What is ready; nothing when the time is over.
    pub fn wait(&self, limit: Option<Duration>) -> Result<Vec<Token>, Refusal> {
        let mut events = [EpollEvent::empty(); 32];
        let limit = match limit {
            None => EpollTimeout::NONE,
            // Rounded up: else the last millisecond would be spent waking up.
            Some(limit) => {
                let milliseconds = limit.as_micros().div_ceil(1000).min(60_000) as u16;
                EpollTimeout::from(milliseconds)
            }
        };
        match self.0.wait(&mut events, limit) {
            Ok(ready) => {
                Ok(events[..ready].iter().filter_map(|event| Token::from_u64(event.data())).collect())
            }
            Err(nix::errno::Errno::EINTR) => Ok(vec![]),
            Err(errno) => Err(errno).doing(|| "epoll_wait".into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens() {
        let process = ProcessId(7);
        for token in [
            Token::Listener,
            Token::Signals,
            Token::Publisher,
            Token::Oom(process),
            Token::Connection(7),
            Token::Flight(7),
            Token::Process(process),
            Token::Logger(process),
            Token::PumpIn(7),
            Token::PumpOut(7),
            Token::Unread((1 << SHIFT) - 1),
        ] {
            assert_eq!(Token::from_u64(token.to_u64()), Some(token));
        }
        assert_eq!(Token::from_u64(u64::MAX), None);
    }
}
