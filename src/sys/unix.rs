//! Unix sockets that have a name in the file system. sockaddr_un holds 108 bytes (unix(7)), a path may be
//! longer: so a socket is named by an fd of its directory and its name there, through /proc/self/fd.

use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};

use nix::sys::socket::{self, AddressFamily, SockFlag, SockType, UnixAddr};

use super::{Call, Fail, Named};

/// What a message is on the socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Bytes without boundaries.
    Stream,
    /// One send is one receive.
    SeqPacket,
    /// The same, without a connection.
    Datagram,
}

fn open(kind: Kind) -> Result<OwnedFd, Fail> {
    let kind = match kind {
        Kind::Stream => SockType::Stream,
        Kind::SeqPacket => SockType::SeqPacket,
        Kind::Datagram => SockType::Datagram,
    };
    socket::socket(AddressFamily::Unix, kind, SockFlag::SOCK_CLOEXEC, None).call(Call::Socket)
}

fn address(dir: BorrowedFd<'_>, name: &str, call: Call) -> Result<UnixAddr, Fail> {
    UnixAddr::new(format!("/proc/self/fd/{}/{name}", dir.as_raw_fd()).as_str()).call(call)
}

/// Makes the socket `name` in `dir` and listens on it. EADDRINUSE: the name is taken.
pub fn listen(kind: Kind, dir: BorrowedFd<'_>, name: &str) -> Result<OwnedFd, Fail> {
    let socket = open(kind)?;
    socket::bind(socket.as_raw_fd(), &address(dir, name, Call::Bind)?).call(Call::Bind)?;
    let backlog = socket::Backlog::new(1).call(Call::Listen)?;
    socket::listen(&socket, backlog).call(Call::Listen)?;
    Ok(socket)
}

/// Connects to the socket `name` in `dir`. ECONNREFUSED: nobody listens. EPROTOTYPE: it is of another kind.
pub fn connect(kind: Kind, dir: BorrowedFd<'_>, name: &str) -> Result<OwnedFd, Fail> {
    let socket = open(kind)?;
    socket::connect(socket.as_raw_fd(), &address(dir, name, Call::Connect)?).call(Call::Connect)?;
    Ok(socket)
}

/// Makes the socket `name` of datagrams in `dir`, in the place of one that is there.
pub fn bind_datagram(dir: BorrowedFd<'_>, name: &str) -> Result<OwnedFd, Fail> {
    let socket = open(Kind::Datagram)?;
    match nix::unistd::unlinkat(dir, name, nix::unistd::UnlinkatFlags::NoRemoveDir) {
        Ok(()) | Err(nix::errno::Errno::ENOENT) => {}
        Err(errno) => return Err(errno).call(Call::Unlink),
    }
    socket::bind(socket.as_raw_fd(), &address(dir, name, Call::Bind)?).call(Call::Bind)?;
    Ok(socket)
}

/// Sends datagrams to the socket of this name in the network namespace (unix(7), abstract).
pub fn connect_abstract(name: &[u8]) -> Result<OwnedFd, Fail> {
    let socket = open(Kind::Datagram)?;
    let address = UnixAddr::new_abstract(name).call(Call::Connect)?;
    socket::connect(socket.as_raw_fd(), &address).call(Call::Connect)?;
    Ok(socket)
}
