//! Installing the seccomp filter, and for one with SCMP_ACT_NOTIFY getting its listener's fd out to the host.
//!
//! The filter holds for the thread that installs it, and may forbid or notify any call. So another thread, which it
//! does not hold for, sends the fd, hears that it has arrived, and ends at the latest with the exec:
//!
//! ```text
//!  filtered thread            other thread                host
//!     | seccomp                   | read                    |
//!     | write number of fd ->     |                         |
//!     | read                      | SeccompListener + fd -> | gives it to the agent
//!     |                           |                  <- Go  |
//!     |              <- write 0   |                         |
//!     | exec                      X                         |
//! ```
//!
//! Of the filtered thread this asks the calls that runc asks of it: `write`, which therefore must not notify, since
//! nobody could answer yet, and `read`, which may.

use std::ffi::{c_int, c_void};
use std::mem::ManuallyDrop;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};

use super::Done;
use crate::channel::{Record, ToChild, ToParent};
use crate::plan::seccomp::Filter;
use crate::sys::{Call, Errno, Fail, clone, fs, net, security};

/// `host` is the wire to whoever can reach the agent.
pub fn install(filter: &Filter, host: BorrowedFd) -> Done {
    if !filter.listens() {
        return security::seccomp_set_filter(filter.flags, &filter.program).map(drop);
    }
    // Closing an fd might notify too: the exec does that.
    let (ours, theirs) = net::seqpacket_pair()?;
    let (ours, theirs) = (ManuallyDrop::new(ours), ManuallyDrop::new(theirs));
    clone::thread(send_listener, pack(theirs.as_raw_fd(), host.as_raw_fd()))?;
    let listener = security::seccomp_set_filter(filter.flags, &filter.program)?;
    let listener = ManuallyDrop::new(listener.ok_or(Fail::new(Call::Seccomp, Errno::EBADF))?);
    fs::write(ours.as_fd(), &listener.as_raw_fd().to_ne_bytes())?;
    let mut errno = [0; 4];
    match (fs::read(ours.as_fd(), &mut errno)?, i32::from_ne_bytes(errno)) {
        (4, 0) => Ok(()),
        (4, errno) => Err(Fail::new(Call::Sendmsg, Errno::from_raw(errno))),
        _ => Err(Fail::new(Call::Read, Errno::EPIPE)),
    }
}

/// Two fds as the one argument of a thread.
fn pack(first: i32, second: i32) -> usize {
    (first as u32 as usize) << 32 | second as u32 as usize
}

extern "C" fn send_listener(fds: *mut c_void) -> c_int {
    let (wire, host) = ((fds as usize >> 32) as i32, fds as usize as i32);
    if let (Some(wire), Some(host)) = (fs::borrow(wire), fs::borrow(host)) {
        let mut number = [0; 4];
        if let Ok(4) = fs::read(wire, &mut number) {
            let errno = match hand_over(host, i32::from_ne_bytes(number)) {
                Ok(()) => 0,
                Err(fail) => fail.errno as i32,
            };
            let _ = fs::write(wire, &errno.to_ne_bytes()); // to ourselves, so to say
        }
    }
    0
}

fn hand_over(host: BorrowedFd, listener: i32) -> Done {
    let listener = fs::borrow(listener).ok_or(Fail::new(Call::Sendmsg, Errno::EBADF))?;
    net::send(host, &ToParent::SeccompListener.encode(), Some(listener))?;
    let mut answer = [0; 9];
    match net::receive(host, &mut answer)? {
        (9, _) if ToChild::decode(answer) == Some(ToChild::Go) => Ok(()),
        _ => Err(Fail::new(Call::Recvmsg, Errno::EPIPE)),
    }
}
