//! A seccomp agent: takes the listener of one container's filter, and answers its notifications until it ends.

use std::os::fd::{AsFd, AsRawFd, OwnedFd, RawFd};
use std::path::Path;
use std::thread::JoinHandle;

use libc::{seccomp_notif, seccomp_notif_resp};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use serde_json::Value;

use crate::terminal::FdSocket;

/// SECCOMP_USER_NOTIF_FLAG_CONTINUE of linux/seccomp.h.
const CONTINUE: u32 = 1;

/// The numbers of the calls by which a directory is made.
pub const MKDIR: &[i64] = &[
    libc::SYS_mkdirat,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_mkdir,
];

pub struct Agent(JoinHandle<(Value, usize)>);

impl Agent {
    /// Listens at `path`. The calls with these numbers get this errno for an answer, all others are let through.
    pub fn listen(path: impl AsRef<Path>, refused: &[i64], errno: i32) -> Agent {
        let socket = FdSocket::listen(path);
        let refused = refused.to_vec();
        Agent(std::thread::spawn(move || {
            let (listener, state) = socket.receive();
            let state = serde_json::from_str(&state).expect("the container process state is JSON");
            (state, serve(&listener, &refused, errno))
        }))
    }

    /// What it was told beside the listener, and how many notifications it had, now that nobody is filtered any more.
    pub fn told(self) -> (Value, usize) {
        self.0.join().expect("the agent's thread")
    }
}

fn serve(listener: &OwnedFd, refused: &[i64], errno: i32) -> usize {
    for count in 0.. {
        let mut fds = [PollFd::new(listener.as_fd(), PollFlags::POLLIN)];
        let ready = poll(&mut fds, PollTimeout::from(30_000u16)).expect("poll");
        assert_eq!(ready, 1, "no notification and no end for 30 s");
        if !fds[0].revents().is_some_and(|r| r.contains(PollFlags::POLLIN)) {
            return count;
        }
        answer(listener.as_raw_fd(), refused, errno);
    }
    unreachable!("the range has no end")
}

nix::ioctl_readwrite!(notif_recv, b'!', 0, seccomp_notif);
nix::ioctl_readwrite!(notif_send, b'!', 1, seccomp_notif_resp);

#[allow(unsafe_code)] // ioctl(2) has no safe form
fn answer(listener: RawFd, refused: &[i64], errno: i32) {
    // SAFETY: both are plain integers, for which all-zero is a value, which the kernel asks for.
    let (mut call, mut response): (seccomp_notif, seccomp_notif_resp) = unsafe { std::mem::zeroed() };
    // SAFETY: the kernel writes one seccomp_notif to a live variable of that type.
    if unsafe { notif_recv(listener, &mut call) }.is_err() {
        return; // who called has died
    }
    response.id = call.id;
    if refused.contains(&i64::from(call.data.nr)) {
        response.error = -errno;
    } else {
        response.flags = CONTINUE;
    }
    // SAFETY: the kernel reads one seccomp_notif_resp from a live variable of that type.
    let _ = unsafe { notif_send(listener, &mut response) }; // as above
}
