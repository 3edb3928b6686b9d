//! rtnetlink(7) sockets. What goes over them is no business of this file.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use nix::sys::socket::{self, AddressFamily, MsgFlags, SockFlag, SockProtocol, SockType};

use super::{Call, Errno, Fail, Named, clone};

/// A socket to the network of our own network namespace, which it keeps alive.
pub fn open() -> Result<OwnedFd, Fail> {
    let (family, kind) = (AddressFamily::Netlink, SockType::Raw);
    socket::socket(family, kind, SockFlag::SOCK_CLOEXEC, SockProtocol::NetlinkRoute).call(Call::Socket)
}

/// One to the network of the process behind `pidfd`, by going there for a moment. `own` is our own network namespace.
pub fn open_in(pidfd: BorrowedFd, own: BorrowedFd) -> Result<OwnedFd, Fail> {
    clone::setns(pidfd, libc::CLONE_NEWNET as u64)?;
    let opened = open();
    clone::setns(own, libc::CLONE_NEWNET as u64)?;
    opened
}

/// One message to the kernel.
pub fn send(socket: &OwnedFd, message: &[u8]) -> Result<(), Fail> {
    loop {
        match socket::send(socket.as_fd().as_raw_fd(), message, MsgFlags::empty()) {
            Err(Errno::EINTR) => {}
            other => return other.call(Call::Sendmsg).map(drop),
        }
    }
}

/// One datagram of the kernel's into `buffer`, and its whole length, which may be larger.
pub fn receive(socket: &OwnedFd, buffer: &mut [u8]) -> Result<usize, Fail> {
    loop {
        match socket::recv(socket.as_fd().as_raw_fd(), buffer, MsgFlags::MSG_TRUNC) {
            Err(Errno::EINTR) => {}
            other => return other.call(Call::Recvmsg),
        }
    }
}
