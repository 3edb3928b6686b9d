//! One client's connection: bytes in until there are frames, bytes out as the client takes them.

use std::io::{ErrorKind, Read, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;

use crate::frame::{Frame, Reader, answer};
use crate::refusal::Refusal;

/// Somebody who asks without reading the answers is not listened to any longer until they do.
const UNREAD: usize = 1 << 20;

/// What is read of one client in a turn: others have requests, too.
const TURN: usize = 64 << 10;

/// Who waits for an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReplyTo {
    pub connection: u64,
    pub stream: u32,
}

pub struct Connection {
    socket: UnixStream,
    reader: Reader,
    unsent: Vec<u8>,
    /// As it is watched now: for input, for room.
    pub watched: (bool, bool),
}

impl Connection {
    /// `socket` doesn't block.
    pub fn new(socket: UnixStream) -> Connection {
        Connection { socket, reader: Reader::default(), unsent: vec![], watched: (true, false) }
    }

    /// What has come, or as much of it as is taken at once: the rest is an event again. False when the client is gone.
    pub fn read(&mut self) -> bool {
        let mut buffer = [0; 4096];
        let mut left = TURN;
        while left > 0 {
            match self.socket.read(&mut buffer) {
                Ok(0) => return false,
                Ok(bytes) => {
                    self.reader.push(&buffer[..bytes]);
                    left = left.saturating_sub(bytes);
                    if bytes < buffer.len() {
                        return true;
                    }
                }
                Err(error) => match error.kind() {
                    ErrorKind::WouldBlock => return true,
                    ErrorKind::Interrupted => continue,
                    _ => return false,
                },
            }
        }
        true
    }

    pub fn take_frame(&mut self) -> Option<Frame> {
        self.reader.take_frame()
    }

    pub fn answer(&mut self, stream: u32, result: Result<Vec<u8>, Refusal>) {
        answer(stream, result, &mut self.unsent);
    }

    pub fn send(&mut self, bytes: &[u8]) {
        self.unsent.extend_from_slice(bytes);
    }

    /// Writes what can be written; false when the client is gone.
    pub fn write(&mut self) -> bool {
        while !self.unsent.is_empty() {
            match self.socket.write(&self.unsent) {
                Ok(written) => {
                    self.unsent.drain(..written);
                }
                Err(error) => match error.kind() {
                    ErrorKind::WouldBlock => return true,
                    ErrorKind::Interrupted => continue,
                    _ => return false,
                },
            }
        }
        self.unsent = vec![];
        true
    }

    /// What to watch for: input, room.
    pub fn wants(&self) -> (bool, bool) {
        (self.unsent.len() < UNREAD, !self.unsent.is_empty())
    }
}

impl AsFd for Connection {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// However much there is to be read.
    #[test]
    fn a_turn_has_an_end() {
        let (socket, mut client) = UnixStream::pair().unwrap();
        let mut frame = vec![0, 0, 0, 100, 0, 0, 0, 1, crate::frame::REQUEST, 0];
        frame.extend([0; 100]);
        let count = TURN / frame.len() + 300;
        client.write_all(&frame.repeat(count)).unwrap();
        let mut connection = Connection::new(socket);
        let mut turns = vec![];
        while turns.iter().sum::<usize>() < count {
            assert!(connection.read());
            turns.push(std::iter::from_fn(|| connection.take_frame()).count());
        }
        assert_eq!(turns, [TURN / frame.len(), count - TURN / frame.len()]);
        drop(client);
        assert!(!connection.read());
    }
}
