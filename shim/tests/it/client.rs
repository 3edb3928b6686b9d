//! A client of the task service, over one connection.

use std::collections::HashMap;
use std::io::{ErrorKind, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use containerd_shim_rrunc::frame::{self, Body, Reader};
use containerd_shim_rrunc::proto::ttrpc::{Request, Response, Status};
use prost::Message;

pub const V2: &str = "containerd.task.v2.Task";
pub const V3: &str = "containerd.task.v3.Task";

pub struct Client {
    socket: UnixStream,
    reader: Reader,
    stream: u32,
    early: HashMap<u32, Response>,
}

/// A code and a text.
pub type Refused = (i32, String);

impl Client {
    pub fn new(path: &Path) -> Client {
        let socket = UnixStream::connect(path).unwrap();
        socket.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        Client { socket, reader: Reader::default(), stream: 1, early: HashMap::new() }
    }

    pub fn write(&mut self, bytes: &[u8]) {
        self.socket.write_all(bytes).unwrap();
    }

    /// What comes next, or nothing if the connection is closed.
    pub fn read(&mut self) -> Vec<u8> {
        let mut buffer = [0; 65_536];
        loop {
            match self.socket.read(&mut buffer) {
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                bytes => return buffer[..bytes.unwrap()].to_vec(),
            }
        }
    }

    pub fn send(&mut self, service: &str, method: &str, message: &impl Message) -> u32 {
        let request = Request {
            service: service.into(),
            method: method.into(),
            payload: message.encode_to_vec(),
            ..Request::default()
        };
        let stream = self.stream;
        self.stream += 2;
        let mut bytes = vec![];
        frame::write(stream, frame::REQUEST, &request, &mut bytes);
        self.write(&bytes);
        stream
    }

    pub fn answer<M: Message + Default>(&mut self, stream: u32) -> Result<M, Refused> {
        loop {
            if let Some(response) = self.early.remove(&stream) {
                let Status { code, message, .. } = response.status.unwrap_or_default();
                return match code {
                    0 => Ok(M::decode(response.payload.as_slice()).unwrap()),
                    code => Err((code, message)),
                };
            }
            let bytes = self.read();
            assert!(!bytes.is_empty(), "the connection is closed");
            self.reader.push(&bytes);
            while let Some(frame) = self.reader.take_frame() {
                let Body::Message(message) = frame.body else {
                    panic!("too long an answer");
                };
                let response = Response::decode(message.as_slice()).unwrap();
                self.early.insert(frame.stream, response);
            }
        }
    }

    pub fn call<M: Message + Default>(&mut self, method: &str, message: &impl Message) -> Result<M, Refused> {
        let stream = self.send(V2, method, message);
        self.answer(stream)
    }
}
