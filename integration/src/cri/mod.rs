//! A client of the Kubernetes container runtime interface (CRI), as the kubelet is one: what it tells containerd to do
//! with pods. Each call has a connection of its own, so a restart of the server goes unnoticed between two.
//!
//! - [`Cri::ask`]: any call with one answer; the messages are in [`messages`].
//! - [`Stream`]: what goes over the streaming server: exec, attach and port-forward.

mod grpc;
pub mod messages;
mod stream;

use std::path::PathBuf;

pub use grpc::Refused;
use messages::Call;
pub use stream::{PortForward, Stream};

/// A server of the CRI.
pub struct Cri {
    socket: PathBuf,
}

impl Cri {
    /// The one that listens on this socket.
    pub fn new(socket: impl Into<PathBuf>) -> Cri {
        Cri { socket: socket.into() }
    }

    /// # Errors
    /// What the server refuses, or that there is none.
    pub fn ask<C: Call>(&self, request: &C) -> Result<C::Answer, Refused> {
        grpc::call(&self.socket, &format!("/runtime.v1.{}/{}", C::SERVICE, C::METHOD), request)
    }
}
