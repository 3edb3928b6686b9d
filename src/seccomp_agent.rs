//! The seccomp agent: who gets the listener of a filter with SCMP_ACT_NOTIFY, on the socket that
//! linux.seccomp.listenerPath names (config-linux.md, The Container Process State).

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::FileTypeExt;
use std::path::Path;

use crate::console;
use crate::error::{Doing, Error, Kind, Result};
use crate::state::SeccompListener;
use crate::sys::net;

const FIELD: &str = "linux.seccomp.listenerPath";
const LISTEN: &str = "the seccomp agent must listen there before the container is created";

/// Whether there is a socket; who listens there is asked when there is something to say.
pub fn check(path: &Path) -> Result<()> {
    let found = std::fs::metadata(path)
        .doing(|| format!("{FIELD} {path:?}"))
        .map_err(|error| error.hint(LISTEN))?;
    match found.file_type().is_socket() {
        true => Ok(()),
        false => Err(Error::new(
            Kind::InvalidSpec,
            format!("{FIELD} {path:?} is not a socket"),
        )),
    }
}

/// A connection to the agent.
pub struct Agent(OwnedFd);

impl Agent {
    pub fn connect(listener: &SeccompListener) -> Result<Agent> {
        let connected = console::connect(FIELD, Path::new(&listener.path));
        connected.map(Agent).map_err(|error| error.hint(LISTEN))
    }

    /// Gives it the listener, in one message with what it needs to know (see
    /// [`Record::process_state`](crate::state::Record::process_state)).
    pub fn give(self, listener: BorrowedFd, process_state: &str) -> Result<()> {
        net::send(self.0.as_fd(), process_state.as_bytes(), Some(listener))
            .doing(|| format!("{FIELD}: send the listener"))
    }
}
