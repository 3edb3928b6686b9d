//! The seccomp agent: who gets the listener of a filter with SCMP_ACT_NOTIFY, on the socket that
//! linux.seccomp.listenerPath names (config-linux.md, The Container Process State).

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::FileTypeExt;
use std::path::Path;

use crate::console;
use crate::error::{Doing, Error, Kind, Result};
use crate::state::{Record, SeccompListener, Status};
use crate::sys::{Call, Named, Pid, net};

const FIELD: &str = "linux.seccomp.listenerPath";
const LISTEN: &str = "the seccomp agent must listen there before the container is created";

/// Whether there is a socket; who listens there is asked when there is something to say.
pub fn check(path: &Path) -> Result<()> {
    let found = std::fs::metadata(path)
        .call(Call::Stat)
        .doing(|| format!("{FIELD} {path:?}"))
        .map_err(|error| error.hint(LISTEN))?;
    match found.file_type().is_socket() {
        true => Ok(()),
        false => Err(Error::new(Kind::InvalidSpec, format!("{FIELD} {path:?} is not a socket"))),
    }
}

/// A connection to the agent.
pub struct Agent<'a> {
    socket: OwnedFd,
    listener: &'a SeccompListener,
}

impl Agent<'_> {
    pub fn connect(listener: &SeccompListener) -> Result<Agent<'_>> {
        let socket = console::connect(FIELD, Path::new(&listener.path));
        let socket = socket.map_err(|error| error.hint(LISTEN))?;
        Ok(Agent { socket, listener })
    }

    /// Gives it the `fd` of the listener, in one message with what it needs to know: that the container of `record` is in
    /// this status, and that `pid` of the host is the process whose filter it is.
    pub fn give(self, fd: BorrowedFd, record: &Record, pid: Pid, status: Status) -> Result<()> {
        let process_state = record.process_state(pid, self.listener, status);
        net::send(self.socket.as_fd(), process_state.as_bytes(), Some(fd))
            .doing(|| format!("{FIELD}: send the listener"))
    }
}
