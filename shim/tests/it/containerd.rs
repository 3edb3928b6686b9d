//! Who takes the events, in containerd's place.

use std::io::{Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use containerd_shim_rrunc::frame::{self, Body, Reader};
use containerd_shim_rrunc::proto::events::{Envelope, ForwardRequest};
use containerd_shim_rrunc::proto::ttrpc::Request;
use prost::Message;

#[derive(Default)]
struct Shared {
    events: Mutex<Vec<Envelope>>,
    more: Condvar,
    /// While it is off, connections are closed at once.
    off: Mutex<bool>,
    /// It goes off when it has taken so many events; the last of them is acknowledged.
    last: Mutex<Option<usize>>,
}

pub struct Containerd {
    pub address: PathBuf,
    shared: Arc<Shared>,
}

impl Containerd {
    pub fn new(dir: &Path) -> Containerd {
        let address = dir.join("containerd.sock.ttrpc");
        let listener = UnixListener::bind(&address).unwrap();
        let shared = Arc::new(Shared::default());
        let theirs = shared.clone();
        thread::spawn(move || {
            for socket in listener.incoming().flatten() {
                let shared = theirs.clone();
                thread::spawn(move || serve(socket, &shared));
            }
        });
        Containerd { address, shared }
    }

    pub fn is_off(&self, off: bool) {
        *self.shared.off.lock().unwrap() = off;
    }

    /// It dies when it has taken and acknowledged this many.
    pub fn dies_after(&self, events: usize) {
        *self.shared.last.lock().unwrap() = Some(events);
    }

    /// Waits until there are as many, and returns all: topics with what tells processes apart.
    pub fn events(&self, count: usize) -> Vec<Envelope> {
        let limit = Instant::now() + Duration::from_secs(20);
        let mut events = self.shared.events.lock().unwrap();
        while events.len() < count {
            let left = limit.saturating_duration_since(Instant::now());
            assert!(!left.is_zero(), "only {:?}", topics(&events));
            events = self.shared.more.wait_timeout(events, left).unwrap().0;
        }
        events.clone()
    }

    #[track_caller]
    pub fn expect(&self, expected: &[&str]) {
        assert_eq!(topics(&self.events(expected.len())), expected);
    }
}

pub fn topics(events: &[Envelope]) -> Vec<String> {
    events.iter().map(|event| event.topic.clone()).collect()
}

fn serve(mut socket: UnixStream, shared: &Shared) {
    let mut reader = Reader::default();
    let mut buffer = [0; 4096];
    while let Ok(bytes @ 1..) = socket.read(&mut buffer) {
        if *shared.off.lock().unwrap() {
            return;
        }
        reader.push(&buffer[..bytes]);
        while let Some(frame) = reader.take_frame() {
            let Body::Message(message) = frame.body else {
                panic!("too long a request");
            };
            let request = Request::decode(message.as_slice()).unwrap();
            assert_eq!(
                (request.service.as_str(), request.method.as_str()),
                ("containerd.services.events.ttrpc.v1.Events", "Forward")
            );
            let forward = ForwardRequest::decode(request.payload.as_slice()).unwrap();
            let mut events = shared.events.lock().unwrap();
            events.push(forward.envelope.unwrap());
            let is_last = *shared.last.lock().unwrap() == Some(events.len());
            drop(events);
            let mut answer = vec![];
            frame::answer(frame.stream, Ok(vec![]), &mut answer);
            let answered = socket.write_all(&answer).is_ok();
            if is_last {
                *shared.off.lock().unwrap() = true;
            }
            shared.more.notify_all();
            if !answered {
                return;
            }
        }
    }
}
