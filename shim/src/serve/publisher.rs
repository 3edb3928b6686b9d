//! Events on their way to containerd: in order, one at a time, kept while nobody is there to take them.

use std::collections::VecDeque;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use nix::sys::socket::{self, AddressFamily, SockFlag, SockType, UnixAddr};
use prost::Message;

use super::connection::Connection;
use super::poller::{IN, OUT, Poller, Token};
use crate::frame::{self, Body};
use crate::proto::events::{Envelope, ForwardRequest, SERVICE};
use crate::proto::{Any, Timestamp, ttrpc};

/// Of a queue that nobody empties, the oldest go.
const LONGEST: usize = 2048;
/// An event that containerd is there for but refuses this often is given up.
const REFUSALS: u32 = 5;
const RETRY: Duration = Duration::from_secs(1);
const LIMIT: Duration = Duration::from_secs(5);

pub struct Publisher {
    /// Without one nobody is told.
    address: Option<String>,
    namespace: String,
    /// ForwardRequests, encoded.
    queue: VecDeque<Vec<u8>>,
    connection: Option<Connection>,
    /// The stream that the first of the queue went out on, and when an answer must be there.
    sent: Option<(u32, Instant)>,
    last_stream: u32,
    refused: u32,
    /// Not before then.
    retry: Option<Instant>,
}

impl Publisher {
    pub fn new(address: Option<String>, namespace: &str) -> Publisher {
        Publisher {
            address: address.filter(|address| !address.is_empty()),
            namespace: namespace.to_string(),
            queue: VecDeque::new(),
            connection: None,
            sent: None,
            last_stream: 0,
            refused: 0,
            retry: None,
        }
    }

    /// `event` is containerd.events.NAME.
    pub fn publish(&mut self, topic: &str, name: &str, event: &impl Message) {
        if self.address.is_none() {
            return;
        }
        let envelope = Envelope {
            timestamp: Some(Timestamp::now()),
            namespace: self.namespace.clone(),
            topic: topic.to_string(),
            event: Some(Any::new(&format!("containerd.events.{name}"), event)),
        };
        let request = ForwardRequest { envelope: Some(envelope) };
        if self.queue.len() >= LONGEST {
            // The first may be on its way.
            self.queue.remove(1);
        }
        self.queue.push_back(request.encode_to_vec());
    }

    pub fn is_idle(&self) -> bool {
        self.queue.is_empty()
    }

    /// When [`Publisher::go_on`] must be called although nothing happens.
    pub fn due(&self) -> Option<Instant> {
        match self.queue.is_empty() {
            true => None,
            false => self.sent.map(|(_, limit)| limit).or(self.retry),
        }
    }

    /// What containerd has sent.
    pub fn ready(&mut self, poller: &Poller) {
        let Some(connection) = &mut self.connection else {
            return;
        };
        let alive = connection.read();
        while let Some(frame) = connection.take_frame() {
            let ours = self.sent.is_some_and(|(stream, _)| stream == frame.stream);
            if frame.kind != frame::RESPONSE || !ours {
                continue;
            }
            let refused = match frame.body {
                Body::Message(message) => ttrpc::Response::decode(message.as_slice())
                    .map_or(true, |response| response.status.is_some_and(|status| status.code != 0)),
                Body::TooLong(_) => true,
            };
            self.sent = None;
            self.refused = if refused { self.refused + 1 } else { 0 };
            if refused && self.refused < REFUSALS {
                self.retry = Some(Instant::now() + RETRY * self.refused);
            } else {
                self.refused = 0;
                self.queue.pop_front();
            }
        }
        if !alive {
            self.disconnect(poller);
        }
        self.go_on(poller);
    }

    /// Sends the next if it is time to.
    pub fn go_on(&mut self, poller: &Poller) {
        let now = Instant::now();
        if self.sent.is_some_and(|(_, limit)| limit <= now) {
            self.disconnect(poller);
        }
        if self.retry.is_some_and(|retry| retry > now) {
            return;
        }
        self.retry = None;
        if self.sent.is_none() && !self.queue.is_empty() && !self.send(poller) {
            self.disconnect(poller);
            self.retry = Some(now + RETRY);
        }
        if let Some(connection) = &mut self.connection {
            if !connection.write() {
                self.disconnect(poller);
            } else {
                let wants = connection.wants();
                let flags = if wants.1 { IN | OUT } else { IN };
                if connection.watched != wants && poller.change(&*connection, Token::Publisher, flags).is_ok()
                {
                    connection.watched = wants;
                }
            }
        }
    }

    fn send(&mut self, poller: &Poller) -> bool {
        if self.connection.is_none() {
            let Some(socket) = self.address.as_ref().and_then(|address| connect(address).ok()) else {
                return false;
            };
            let connection = Connection::new(socket);
            if poller.add(&connection, Token::Publisher, IN).is_err() {
                return false;
            }
            self.connection = Some(connection);
            self.last_stream = 0;
        }
        let (Some(connection), Some(first)) = (&mut self.connection, self.queue.front()) else {
            return false;
        };
        let stream = if self.last_stream == 0 { 1 } else { self.last_stream + 2 }; // a client's are odd
        self.last_stream = stream;
        let request = ttrpc::Request {
            service: SERVICE.to_string(),
            method: "Forward".to_string(),
            payload: first.clone(),
            timeout_nano: LIMIT.as_nanos() as i64,
            metadata: vec![ttrpc::KeyValue {
                key: "containerd-namespace-ttrpc".to_string(),
                value: self.namespace.clone(),
            }],
        };
        let mut bytes = vec![];
        frame::write(stream, frame::REQUEST, &request, &mut bytes);
        connection.send(&bytes);
        self.sent = Some((stream, Instant::now() + LIMIT));
        true
    }

    fn disconnect(&mut self, poller: &Poller) {
        if let Some(connection) = self.connection.take() {
            poller.remove(&connection);
        }
        if self.sent.take().is_some() {
            self.retry = Some(Instant::now() + RETRY);
        }
    }
}

/// Without waiting: EAGAIN if too many others wait to be let in.
fn connect(path: &str) -> nix::Result<UnixStream> {
    let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
    let socket: OwnedFd = socket::socket(AddressFamily::Unix, SockType::Stream, flags, None)?;
    let path = path.strip_prefix("unix://").unwrap_or(path);
    socket::connect(socket.as_raw_fd(), &UnixAddr::new(path)?)?;
    Ok(UnixStream::from(socket))
}
