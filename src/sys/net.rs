//! Unix sockets that carry fixed-size records and fds between a parent, its child and later commands; and lo.

use std::ffi::CStr;
use std::io::{IoSlice, IoSliceMut};
use std::mem::{size_of, zeroed};
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::ptr;

use super::{Call, Errno, Fail, gate, gate_fd};

/// A connected SOCK_SEQPACKET pair, close-on-exec.
pub fn seqpacket_pair() -> Result<(OwnedFd, OwnedFd), Fail> {
    let mut fds = [-1; 2];
    let kind = libc::SOCK_SEQPACKET | libc::SOCK_CLOEXEC;
    // SAFETY: fds is writable for two integers.
    gate(Call::Socketpair, unsafe { libc::socketpair(libc::AF_UNIX, kind, 0, fds.as_mut_ptr()) })?;
    // SAFETY: the kernel just made both fds for us.
    Ok(unsafe { (OwnedFd::from_raw_fd(fds[0]), OwnedFd::from_raw_fd(fds[1])) })
}

/// accept4(2), close-on-exec, repeated when a signal interrupts it or the peer is gone already.
pub fn accept(listener: BorrowedFd) -> Result<OwnedFd, Fail> {
    loop {
        // SAFETY: no address is asked for.
        let fd = unsafe {
            libc::accept4(listener.as_raw_fd(), ptr::null_mut(), ptr::null_mut(), libc::SOCK_CLOEXEC)
        };
        if fd < 0 && matches!(Errno::last(), Errno::EINTR | Errno::ECONNABORTED) {
            continue;
        }
        return gate_fd(Call::Accept, i64::from(fd));
    }
}

/// Room for one fd as a control message; as large as CMSG_SPACE(sizeof(int)) and aligned as cmsghdr.
#[repr(C, align(8))]
struct FdMessage([u8; 24]);

/// sendmsg(2) of one record, with one fd if there is one. A peer that is gone is EPIPE, not a signal.
pub fn send(socket: BorrowedFd, bytes: &[u8], fd: Option<BorrowedFd>) -> Result<(), Fail> {
    let iov = IoSlice::new(bytes);
    let mut control = FdMessage([0; 24]);
    // SAFETY: msghdr is plain integers and pointers, for which all-zero is a value.
    let mut message: libc::msghdr = unsafe { zeroed() };
    message.msg_iov = ptr::from_ref(&iov).cast_mut().cast(); // IoSlice is ABI-compatible with iovec; sendmsg only reads
    message.msg_iovlen = 1;
    if let Some(fd) = fd {
        message.msg_control = control.0.as_mut_ptr().cast();
        message.msg_controllen = control.0.len() as _;
        // SAFETY: msg_control has room for a header and one int, and is aligned for them.
        unsafe {
            let header = libc::CMSG_FIRSTHDR(&raw const message);
            (*header).cmsg_level = libc::SOL_SOCKET;
            (*header).cmsg_type = libc::SCM_RIGHTS;
            (*header).cmsg_len = libc::CMSG_LEN(size_of::<i32>() as u32) as _;
            libc::CMSG_DATA(header).cast::<i32>().write_unaligned(fd.as_raw_fd());
        }
    }
    loop {
        // SAFETY: message points to iov and control, both alive here.
        let n = unsafe { libc::sendmsg(socket.as_raw_fd(), &raw const message, libc::MSG_NOSIGNAL) };
        if n < 0 && Errno::last() == Errno::EINTR {
            continue;
        }
        return gate(Call::Sendmsg, n).map(drop);
    }
}

/// recvmsg(2) of one record into `buffer`: its length (0: the peer has closed) and the fd that came with it.
pub fn receive(socket: BorrowedFd, buffer: &mut [u8]) -> Result<(usize, Option<OwnedFd>), Fail> {
    let mut iov = IoSliceMut::new(buffer);
    let mut control = FdMessage([0; 24]);
    // SAFETY: msghdr is plain integers and pointers, for which all-zero is a value.
    let mut message: libc::msghdr = unsafe { zeroed() };
    message.msg_iov = ptr::from_mut(&mut iov).cast(); // IoSliceMut is ABI-compatible with iovec
    message.msg_iovlen = 1;
    message.msg_control = control.0.as_mut_ptr().cast();
    message.msg_controllen = control.0.len() as _;
    let n = loop {
        // SAFETY: message points to iov and control, both alive and writable here.
        let n = unsafe { libc::recvmsg(socket.as_raw_fd(), &raw mut message, libc::MSG_CMSG_CLOEXEC) };
        if n < 0 && Errno::last() == Errno::EINTR {
            continue;
        }
        break gate(Call::Recvmsg, n)? as usize;
    };
    // SAFETY: the kernel filled msg_control; CMSG_FIRSTHDR checks that a whole header is there.
    let fd = unsafe {
        let header = libc::CMSG_FIRSTHDR(&raw const message);
        if header.is_null()
            || (*header).cmsg_type != libc::SCM_RIGHTS
            || (*header).cmsg_level != libc::SOL_SOCKET
        {
            None
        } else {
            Some(OwnedFd::from_raw_fd(libc::CMSG_DATA(header).cast::<i32>().read_unaligned()))
        }
    };
    Ok((n, fd))
}

/// netdevice(7), SIOCSIFFLAGS: brings up a network device of our network namespace.
pub fn bring_up(device: &CStr) -> Result<(), Fail> {
    // Any socket will do; this kind is in every kernel.
    // SAFETY: only integers go in.
    let socket = unsafe { libc::socket(libc::AF_UNIX, libc::SOCK_DGRAM | libc::SOCK_CLOEXEC, 0) };
    let socket = gate_fd(Call::Socket, i64::from(socket))?;
    // SAFETY: ifreq is integers, and pointers that are not followed, for which all-zero is a value.
    let mut request: libc::ifreq = unsafe { zeroed() };
    let name = device.to_bytes_with_nul().iter().take(libc::IFNAMSIZ);
    for (slot, byte) in request.ifr_name.iter_mut().zip(name) {
        *slot = *byte as libc::c_char;
    }
    // SAFETY: both calls get one ifreq, which lives.
    gate(Call::Ioctl, unsafe { libc::ioctl(socket.as_raw_fd(), libc::SIOCGIFFLAGS as _, &raw mut request) })?;
    // SAFETY: the kernel has just written the flags.
    unsafe { request.ifr_ifru.ifru_flags |= libc::IFF_UP as libc::c_short };
    // SAFETY: as above.
    gate(Call::Ioctl, unsafe { libc::ioctl(socket.as_raw_fd(), libc::SIOCSIFFLAGS as _, &raw const request) })
        .map(drop)
}
