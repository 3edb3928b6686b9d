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

/// recvmsg(2) of one record into `buffer`: its length (0: the peer has closed) and the fd that came with it. EPROTO: more
/// than one fd, or something else with it; EMSGSIZE: a record that is longer; EMFILE: an fd that we have no room for. What
/// came is closed then.
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
    let refused = |errno| Err(Fail::new(Call::Recvmsg, errno));
    let (mut fd, mut others) = (None, 0);
    // SAFETY: the kernel filled msg_control; CMSG_FIRSTHDR checks that a whole header is there, of which there is room for
    // one. The fds that its length tells of were made for us, and none is taken twice.
    unsafe {
        let header = libc::CMSG_FIRSTHDR(&raw const message);
        if !header.is_null() {
            match ((*header).cmsg_level, (*header).cmsg_type) {
                (libc::SOL_SOCKET, libc::SCM_RIGHTS) => {
                    // In the room for one, alignment has room for two (cmsg(3)): the kernel uses it.
                    let length = ((*header).cmsg_len as usize).saturating_sub(libc::CMSG_LEN(0) as usize);
                    for index in 0..length / size_of::<i32>() {
                        let number = libc::CMSG_DATA(header).cast::<i32>().add(index).read_unaligned();
                        others += usize::from(fd.replace(OwnedFd::from_raw_fd(number)).is_some());
                    }
                }
                _ => others += 1,
            }
        }
    }
    match (others, message.msg_flags) {
        (0, flags) if flags & libc::MSG_CTRUNC != 0 && fd.is_none() => refused(Errno::EMFILE),
        (0, flags) if flags & libc::MSG_CTRUNC == 0 => match flags & libc::MSG_TRUNC {
            0 => Ok((n, fd)),
            _ => refused(Errno::EMSGSIZE),
        },
        _ => refused(Errno::EPROTO),
    }
}

/// recv(2) of the bytes of one message: its true length, of which no more than there is room for is in `buffer`. What fds
/// come with it are closed unseen.
pub fn receive_bytes(socket: BorrowedFd, buffer: &mut [u8]) -> Result<usize, Fail> {
    let (data, length) = (buffer.as_mut_ptr().cast(), buffer.len());
    loop {
        // SAFETY: the buffer is ours with its true length.
        let n = unsafe { libc::recv(socket.as_raw_fd(), data, length, libc::MSG_TRUNC) };
        if n < 0 && Errno::last() == Errno::EINTR {
            continue;
        }
        return gate(Call::Recvmsg, n).map(|n| n as usize);
    }
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

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::fd::AsFd;

    /// sendmsg(2) with copies of `fd`.
    fn send_many(socket: BorrowedFd, bytes: &[u8], fd: BorrowedFd, count: usize) {
        use nix::sys::socket::{ControlMessage, MsgFlags, sendmsg};
        let fds = vec![fd.as_raw_fd(); count];
        let iov = [IoSlice::new(bytes)];
        let control = [ControlMessage::ScmRights(&fds)];
        sendmsg::<()>(socket.as_raw_fd(), &iov, &control, MsgFlags::empty(), None).expect("send");
    }

    #[test]
    fn one_fd_and_no_more() {
        let (ours, theirs) = seqpacket_pair().expect("a pair");
        // A pipe tells whether copies of its end are left.
        let (reads, writes) = nix::unistd::pipe().expect("a pipe");
        for (count, expected) in
            [(1, None), (2, Some(Errno::EPROTO)), (3, Some(Errno::EPROTO)), (9, Some(Errno::EPROTO))]
        {
            send_many(theirs.as_fd(), b"x", writes.as_fd(), count);
            let received = receive(ours.as_fd(), &mut [0; 4]);
            assert_eq!(received.as_ref().err().map(|fail| fail.errno), expected, "{count}");
            assert_eq!(received.is_ok_and(|(n, fd)| n == 1 && fd.is_some()), count == 1);
        }
        drop(writes);
        assert_eq!(super::super::fs::read(reads.as_fd(), &mut [0]), Ok(0), "none is left");
    }

    #[test]
    fn nothing_is_cut_off_unseen() {
        let (ours, theirs) = seqpacket_pair().expect("a pair");
        send(theirs.as_fd(), b"12345", None).expect("send");
        assert_eq!(
            receive(ours.as_fd(), &mut [0; 4]).map(drop),
            Err(Fail::new(Call::Recvmsg, Errno::EMSGSIZE))
        );
        send_many(theirs.as_fd(), b"12345", ours.as_fd(), 3);
        assert_eq!(receive_bytes(ours.as_fd(), &mut [0; 4]), Ok(5));
        drop(theirs);
        assert!(matches!(receive(ours.as_fd(), &mut [0; 4]), Ok((0, None))));
    }
}
