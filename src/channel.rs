//! The wire between the runtime and the container's process: fixed-size records over SOCK_SEQPACKET, one type
//! per direction, so that a message sent the wrong way does not compile.
//!
//! ```text
//!  runtime                              container's process
//!     |   <- NeedIdMaps                      | new user namespace only
//!     |   writes maps        Go ->           |
//!     |   <- NeedNetDevices                   | with netDevices only
//!     |   moves them         Go ->           |
//!     |   <- AtHostHooks                     | with hooks only
//!     |   runs hooks         Go ->           |
//!     |   <- Ready                           | waits on the start socket
//!  start                                     |
//!     |   connects        Start ->           |
//!     |   <- SeccompListener, with its fd    | a filter with SCMP_ACT_NOTIFY only
//!     |   gives it to the agent   Go ->      |
//!     |   <- closed by exec, or Failed       | executes the program
//! ```
//!
//! `Failed` may come at any time, and is the last record.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use crate::sys::{Call, Errno, Fail, net};

/// Why the child gave up: the step (from 0) and the call that failed in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Report {
    pub step: u16,
    pub fail: Fail,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ToParent {
    NeedIdMaps,
    NeedNetDevices,
    AtHostHooks,
    Ready,
    /// The seccomp filter is in force; the fd that comes with this receives its notifications.
    SeccompListener,
    Failed(Report),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ToChild {
    /// The halt is over.
    Go,
    /// Execute the program; the state for startContainer hooks comes as an fd.
    Start,
}

/// A record that crosses the wire as `[u8; 9]`: a tag, and for `Failed` step, call and errno.
pub trait Record: Sized {
    fn encode(self) -> [u8; 9];
    fn decode(bytes: [u8; 9]) -> Option<Self>;
}

const fn tagged(tag: u8) -> [u8; 9] {
    [tag, 0, 0, 0, 0, 0, 0, 0, 0]
}

impl Record for ToParent {
    fn encode(self) -> [u8; 9] {
        match self {
            ToParent::NeedIdMaps => tagged(1),
            ToParent::AtHostHooks => tagged(2),
            ToParent::Ready => tagged(3),
            ToParent::SeccompListener => tagged(5),
            ToParent::NeedNetDevices => tagged(6),
            ToParent::Failed(Report { step, fail }) => {
                let [s0, s1] = step.to_ne_bytes();
                let [c0, c1] = (fail.call as u16).to_ne_bytes();
                let [e0, e1, e2, e3] = (fail.errno as i32).to_ne_bytes();
                [4, s0, s1, c0, c1, e0, e1, e2, e3]
            }
        }
    }

    fn decode(bytes: [u8; 9]) -> Option<ToParent> {
        match bytes {
            [1, ..] => Some(ToParent::NeedIdMaps),
            [2, ..] => Some(ToParent::AtHostHooks),
            [3, ..] => Some(ToParent::Ready),
            [5, ..] => Some(ToParent::SeccompListener),
            [6, ..] => Some(ToParent::NeedNetDevices),
            [4, s0, s1, c0, c1, e0, e1, e2, e3] => {
                let call = Call::from_number(u16::from_ne_bytes([c0, c1]))?;
                let errno = Errno::from_raw(i32::from_ne_bytes([e0, e1, e2, e3]));
                Some(ToParent::Failed(Report {
                    step: u16::from_ne_bytes([s0, s1]),
                    fail: Fail { call, errno },
                }))
            }
            _ => None,
        }
    }
}

impl Record for ToChild {
    fn encode(self) -> [u8; 9] {
        match self {
            ToChild::Go => tagged(1),
            ToChild::Start => tagged(2),
        }
    }

    fn decode(bytes: [u8; 9]) -> Option<ToChild> {
        match bytes {
            [1, ..] => Some(ToChild::Go),
            [2, ..] => Some(ToChild::Start),
            _ => None,
        }
    }
}

/// One end of the wire: what it sends and what it receives.
#[derive(Debug)]
pub struct End<Out, In> {
    socket: OwnedFd,
    types: std::marker::PhantomData<(Out, In)>,
}

pub type ParentEnd = End<ToChild, ToParent>;
pub type ChildEnd = End<ToParent, ToChild>;

/// The two ends of a new wire.
pub fn pair() -> Result<(ParentEnd, ChildEnd), Fail> {
    let (parent, child) = net::seqpacket_pair()?;
    Ok((End::new(parent), End::new(child)))
}

impl<Out: Record, In: Record> End<Out, In> {
    pub fn new(socket: OwnedFd) -> End<Out, In> {
        End { socket, types: std::marker::PhantomData }
    }

    pub fn send(&self, record: Out) -> Result<(), Fail> {
        net::send(self.socket.as_fd(), &record.encode(), None)
    }

    pub fn send_with(&self, record: Out, fd: BorrowedFd) -> Result<(), Fail> {
        net::send(self.socket.as_fd(), &record.encode(), Some(fd))
    }

    /// The next record and the fd that came with it; `None` once the peer has closed its end.
    /// A record of another size or tag is EPROTO.
    pub fn receive(&self) -> Result<Option<(In, Option<OwnedFd>)>, Fail> {
        let mut bytes = [0; 9];
        let (n, fd) = match net::receive(self.socket.as_fd(), &mut bytes) {
            // A peer that died with our record unread.
            Err(Fail { errno: Errno::ECONNRESET, .. }) => return Ok(None),
            other => other?,
        };
        match (n, In::decode(bytes)) {
            (0, _) => Ok(None),
            (9, Some(record)) => Ok(Some((record, fd))),
            _ => Err(Fail::new(Call::Recvmsg, Errno::EPROTO)),
        }
    }
}

impl<Out, In> AsFd for End<Out, In> {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_cross_the_wire() {
        let (parent, child) = pair().expect("socketpair");
        let report = Report { step: 300, fail: Fail::new(Call::MoveMount, Errno::ENOENT) };
        for record in [
            ToParent::NeedIdMaps,
            ToParent::NeedNetDevices,
            ToParent::AtHostHooks,
            ToParent::Ready,
            ToParent::SeccompListener,
            ToParent::Failed(report),
        ] {
            child.send(record).expect("send");
            assert_eq!(parent.receive().expect("receive").map(|(r, _)| r), Some(record));
        }
        parent.send_with(ToChild::Start, child.as_fd()).expect("send");
        let (record, fd) = child.receive().expect("receive").expect("not closed");
        assert_eq!((record, fd.is_some()), (ToChild::Start, true));
        drop(parent);
        assert!(child.receive().expect("receive").is_none());
    }

    #[test]
    fn a_foreign_record_is_refused() {
        let (parent, child) = pair().expect("socketpair");
        net::send(child.as_fd(), b"hello", None).expect("send");
        assert_eq!(parent.receive().map(|_| ()), Err(Fail::new(Call::Recvmsg, Errno::EPROTO)));
    }
}
