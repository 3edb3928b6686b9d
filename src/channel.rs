//! The wire between the runtime and the container's process: fixed-size records over SOCK_SEQPACKET, one type
//! per direction, so that a message sent the wrong way does not compile.
//!
//! ```text
//!  runtime                              container's process
//!     |   <- NeedCgroup                      | only if it couldn't be born in its cgroup
//!     |   moves it           Go ->           |
//!     |   <- NeedIdMaps                      | new user namespace only
//!     |   writes maps        Go ->           |
//!     |   <- NeedNetDevices                   | with netDevices only
//!     |   moves them         Go ->           |
//!     |   <- AtHostHooks                     | with hooks only
//!     |   runs hooks         Go ->           |
//!     |   <- Ready                           | waits on the start socket
//!  start                                     |
//!     |   connects        Start ->           |
//!     |   <- StillWaits                      | only if it couldn't take that
//!     |   <- Began                           | each step from here on
//!     |   <- Executing                       | the last that it says of its own: a filter may forbid more
//!     |   <- SeccompListener, with its fd    | a filter with SCMP_ACT_NOTIFY only
//!     |   gives it to the agent   Go ->      |
//!     |   <- closed by exec, or Failed       | executes the program
//! ```
//!
//! `NoHome` comes before `Ready`, and isn't waited for. `Failed` may come at any time, and is the last record. `exec` sees
//! the steps in memory that it shares with its child, and hears of none.
//!
//! Where a process in between makes the container's (see `spawn`), it has a wire of its own:
//!
//! ```text
//!  runtime                              process in between
//!     |   moves it           Go ->           | only if that can't be born in its cgroup
//!     |   <- Born, with a pidfd, or Refused  | enters namespaces, makes the container's process, ends
//! ```
//!
//! It has no number to tell: it may be in another pid namespace, where ours mean other processes.

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
    NeedCgroup,
    NeedIdMaps,
    NeedNetDevices,
    AtHostHooks,
    Ready,
    /// The start was not taken, and may come again.
    StillWaits(Fail),
    /// A step (from 0), after the start.
    Began(u16),
    /// Nothing is left to do but to put a filter in force and to execute the program.
    Executing,
    /// The seccomp filter is in force; the fd that comes with this receives its notifications.
    SeccompListener,
    /// HOME stays `/`, since the container's /etc/passwd can't be read; the child goes on.
    NoHome(Fail),
    Failed(Report),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ToChild {
    /// The halt is over.
    Go,
    /// Execute the program; the state for startContainer hooks comes as an fd.
    Start,
}

/// What the process in between tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FromBetween {
    /// The container's process is there: its pidfd comes with this.
    Born,
    Refused(Fail),
}

/// A record that crosses the wire as `[u8; 9]`: a tag, and for some a step, or call and errno.
pub trait Record: Copy {
    fn encode(self) -> [u8; 9];
    fn decode(bytes: [u8; 9]) -> Option<Self>;

    /// Whether an fd comes with it, as with no other.
    fn has_fd(self) -> bool {
        false
    }
}

fn with_report(tag: u8, Report { step, fail }: Report) -> [u8; 9] {
    let [s0, s1] = step.to_ne_bytes();
    let [c0, c1] = (fail.call as u16).to_ne_bytes();
    let [e0, e1, e2, e3] = (fail.errno as i32).to_ne_bytes();
    [tag, s0, s1, c0, c1, e0, e1, e2, e3]
}

fn report([_, s0, s1, c0, c1, e0, e1, e2, e3]: [u8; 9]) -> Option<Report> {
    let call = Call::from_number(u16::from_ne_bytes([c0, c1]))?;
    let errno = Errno::from_raw(i32::from_ne_bytes([e0, e1, e2, e3]));
    Some(Report { step: u16::from_ne_bytes([s0, s1]), fail: Fail { call, errno } })
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
            ToParent::Failed(report) => with_report(4, report),
            ToParent::SeccompListener => tagged(5),
            ToParent::NeedNetDevices => tagged(6),
            ToParent::NeedCgroup => tagged(7),
            ToParent::NoHome(fail) => with_report(8, Report { step: 0, fail }),
            ToParent::Executing => tagged(9),
            ToParent::StillWaits(fail) => with_report(10, Report { step: 0, fail }),
            ToParent::Began(step) => {
                let [s0, s1] = step.to_ne_bytes();
                [11, s0, s1, 0, 0, 0, 0, 0, 0]
            }
        }
    }

    fn decode(bytes: [u8; 9]) -> Option<ToParent> {
        match bytes {
            [1, ..] => Some(ToParent::NeedIdMaps),
            [2, ..] => Some(ToParent::AtHostHooks),
            [3, ..] => Some(ToParent::Ready),
            [4, ..] => report(bytes).map(ToParent::Failed),
            [5, ..] => Some(ToParent::SeccompListener),
            [6, ..] => Some(ToParent::NeedNetDevices),
            [7, ..] => Some(ToParent::NeedCgroup),
            [8, ..] => report(bytes).map(|report| ToParent::NoHome(report.fail)),
            [9, ..] => Some(ToParent::Executing),
            [10, ..] => report(bytes).map(|report| ToParent::StillWaits(report.fail)),
            [11, s0, s1, ..] => Some(ToParent::Began(u16::from_ne_bytes([s0, s1]))),
            _ => None,
        }
    }

    fn has_fd(self) -> bool {
        self == ToParent::SeccompListener
    }
}

impl Record for FromBetween {
    fn encode(self) -> [u8; 9] {
        match self {
            FromBetween::Born => tagged(1),
            FromBetween::Refused(fail) => with_report(2, Report { step: 0, fail }),
        }
    }

    fn decode(bytes: [u8; 9]) -> Option<FromBetween> {
        match bytes {
            [1, ..] => Some(FromBetween::Born),
            [2, ..] => report(bytes).map(|report| FromBetween::Refused(report.fail)),
            _ => None,
        }
    }

    fn has_fd(self) -> bool {
        self == FromBetween::Born
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

    fn has_fd(self) -> bool {
        self == ToChild::Start
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

/// The parent's end and the child's.
pub type Wire<Down, Up> = (End<Down, Up>, End<Up, Down>);

pub fn pair<Down: Record, Up: Record>() -> Result<Wire<Down, Up>, Fail> {
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
    /// EPROTO: a record of another size or tag, or one without the fd that it must have, or with one that it mustn't.
    pub fn receive(&self) -> Result<Option<(In, Option<OwnedFd>)>, Fail> {
        let mut bytes = [0; 9];
        let (n, fd) = match net::receive(self.socket.as_fd(), &mut bytes) {
            // Said once of a peer that is gone with a record of ours unread: what it had to say comes after that.
            Err(Fail { errno: Errno::ECONNRESET, .. }) => net::receive(self.socket.as_fd(), &mut bytes)?,
            other => other?,
        };
        match (n, In::decode(bytes)) {
            (0, _) => Ok(None),
            (9, Some(record)) if record.has_fd() == fd.is_some() => Ok(Some((record, fd))),
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

    fn wire() -> (ParentEnd, ChildEnd) {
        pair().expect("socketpair")
    }

    #[test]
    fn records_cross_the_wire() {
        let (parent, child) = wire();
        let report = Report { step: 300, fail: Fail::new(Call::MoveMount, Errno::ENOENT) };
        for record in [
            ToParent::NeedCgroup,
            ToParent::NeedIdMaps,
            ToParent::NeedNetDevices,
            ToParent::AtHostHooks,
            ToParent::Ready,
            ToParent::NoHome(report.fail),
            ToParent::StillWaits(report.fail),
            ToParent::Began(300),
            ToParent::Executing,
            ToParent::Failed(report),
        ] {
            child.send(record).expect("send");
            assert_eq!(parent.receive().expect("receive").map(|(r, _)| r), Some(record));
        }
        child.send_with(ToParent::SeccompListener, parent.as_fd()).expect("send");
        assert!(matches!(parent.receive(), Ok(Some((ToParent::SeccompListener, Some(_))))));
        parent.send_with(ToChild::Start, child.as_fd()).expect("send");
        let (record, fd) = child.receive().expect("receive").expect("not closed");
        assert_eq!((record, fd.is_some()), (ToChild::Start, true));
        drop(parent);
        assert!(child.receive().expect("receive").is_none());

        let (parent, between) = pair::<ToChild, FromBetween>().expect("socketpair");
        between.send(FromBetween::Refused(report.fail)).expect("send");
        assert!(
            matches!(parent.receive(), Ok(Some((FromBetween::Refused(fail), None))) if fail == report.fail)
        );
        between.send_with(FromBetween::Born, parent.as_fd()).expect("send");
        assert!(matches!(parent.receive(), Ok(Some((FromBetween::Born, Some(_))))));
    }

    #[test]
    fn a_last_word_is_heard() {
        let (parent, child) = wire();
        parent.send(ToChild::Go).expect("send");
        child.send(ToParent::Ready).expect("send");
        drop(child); // with Go unread
        assert!(matches!(parent.receive(), Ok(Some((ToParent::Ready, None)))));
        assert!(matches!(parent.receive(), Ok(None)));
    }

    #[test]
    fn a_foreign_record_is_refused() {
        let (parent, child) = wire();
        let refused = || assert_eq!(parent.receive().map(drop), Err(Fail::new(Call::Recvmsg, Errno::EPROTO)));
        net::send(child.as_fd(), b"hello", None).expect("send");
        refused();
        child.send(ToParent::SeccompListener).expect("send"); // without its fd
        refused();
        child.send_with(ToParent::Ready, parent.as_fd()).expect("send"); // with one too many
        refused();
    }
}
