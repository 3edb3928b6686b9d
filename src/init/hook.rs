//! Hooks that run in the container's namespaces: a child of the container's process, from prepared arrays,
//! with the state on its standard input.

use std::os::fd::{AsFd, BorrowedFd};
use std::time::Duration;

use super::Done;
use crate::plan::step::Program;
use crate::sys::clone::{self, Who};
use crate::sys::process::{self, Exit};
use crate::sys::{Call, Errno, Fail, exec, fs};

/// Standard output and error are ours, where there is nothing else for them.
fn redirect(outputs: [Option<BorrowedFd>; 2]) -> Done {
    for (number, output) in [1, 2].into_iter().zip(outputs) {
        if let Some(output) = output {
            fs::dup_onto(output, number, true)?;
        }
    }
    Ok(())
}

/// Runs one hook to its end. Its failure as an errno: a hook that says no is ECANCELED,
/// one that is out of time ETIME, one that can't be executed what execve said.
pub fn run(program: &Program, state: BorrowedFd, outputs: [Option<BorrowedFd>; 2]) -> Done {
    let (refusal, ours) = crate::sys::net::seqpacket_pair()?;
    match clone::fork(0, None)? {
        Who::Child => {
            // Also what the container's program is to inherit is none of a hook's business.
            let ready = fs::rewind(state)
                .and_then(|()| fs::dup_onto(state, 0, true))
                .and_then(|()| redirect(outputs))
                .and_then(|()| fs::cloexec_from(3));
            let fail = match ready {
                Ok(()) => exec::exec(&program.path, &program.argv, &program.envp),
                Err(fail) => fail,
            };
            let _ = crate::sys::net::send(ours.as_fd(), &fail.to_bytes(), None);
            clone::exit(127)
        }
        Who::Parent(_, pidfd) => {
            drop(ours);
            let limit = program.timeout.map(|seconds| Duration::from_secs(seconds.unsigned_abs()));
            if !process::ended(pidfd.as_fd(), limit)? {
                process::kill_and_reap(pidfd.as_fd());
                return Err(Fail::new(Call::Waitid, Errno::ETIME));
            }
            let status = process::reap(pidfd.as_fd())?;
            let mut said = [0; Fail::BYTES];
            if let Ok((Fail::BYTES, _)) = crate::sys::net::receive(refusal.as_fd(), &mut said) {
                return Err(Fail::from_bytes(said).unwrap_or(Fail::new(Call::Recvmsg, Errno::EBADMSG)));
            }
            match status {
                Exit::Status(0) => Ok(()),
                _ => Err(Fail::new(Call::Waitid, Errno::ECANCELED)),
            }
        }
    }
}
