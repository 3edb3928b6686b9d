//! From a frame to the call that it asks for, and back.

use prost::Message;

use super::Shim;
use super::connection::ReplyTo;
use crate::frame::{self, Body, Frame, LONGEST};
use crate::proto::{Empty, ttrpc};
use crate::refusal::{Code, Refusal};
use crate::table::ProcessId;

/// Both have the same messages.
const SERVICES: [&str; 2] = ["containerd.task.v2.Task", "containerd.task.v3.Task"];

/// What a call answers: at once, or later through [`Shim::reply`].
pub type Answer = Result<Option<Vec<u8>>, Refusal>;

pub fn done(message: &impl Message) -> Answer {
    Ok(Some(message.encode_to_vec()))
}

pub const LATER: Answer = Ok(None);

impl Shim {
    pub(super) fn request(&mut self, connection: u64, frame: Frame) {
        let stream = frame.stream;
        let reply = ReplyTo { connection, stream };
        // The services have no streams: what isn't a request is none of ours.
        if frame.kind != frame::REQUEST {
            return;
        }
        let answer = match frame.body {
            Body::Message(message) => self.call(&message, reply),
            Body::TooLong(length) => Err(Refusal::new(
                Code::ResourceExhausted,
                format!("a message of {length} bytes is longer than {LONGEST}"),
            )),
        };
        self.answer(reply, answer);
    }

    pub fn answer(&mut self, to: ReplyTo, answer: Answer) {
        if let Some(result) = answer.transpose() {
            self.reply(Some(to), result);
        }
    }

    fn call(&mut self, message: &[u8], reply: ReplyTo) -> Answer {
        let request = ttrpc::Request::decode(message)
            .map_err(|error| Refusal::invalid(format!("the request can't be read: {error}")))?;
        let ttrpc::Request { service, method, payload, .. } = request;
        if !SERVICES.contains(&service.as_str()) {
            let text = format!("service {service} is not known");
            return Err(Refusal::new(Code::Unimplemented, text));
        }
        match method.as_str() {
            "Create" => self.create(parse(&method, &payload)?, reply),
            "Start" => self.start(parse(&method, &payload)?, reply),
            "Exec" => self.exec(parse(&method, &payload)?),
            "Delete" => self.delete(parse(&method, &payload)?, reply),
            "State" => self.state(parse(&method, &payload)?),
            "Pids" => self.pids(parse(&method, &payload)?, reply),
            "Pause" => self.pause(parse(&method, &payload)?, reply),
            "Resume" => self.resume(parse(&method, &payload)?, reply),
            "Kill" => self.kill(parse(&method, &payload)?, reply),
            "ResizePty" => self.resize_pty(parse(&method, &payload)?),
            "CloseIO" => self.close_io(parse(&method, &payload)?),
            "Checkpoint" => self.checkpoint(parse(&method, &payload)?, reply),
            "Update" => self.update(parse(&method, &payload)?, reply),
            "Wait" => self.wait(parse(&method, &payload)?, reply),
            "Stats" => self.stats(parse(&method, &payload)?),
            "Connect" => self.connect(parse(&method, &payload)?),
            "Shutdown" => self.shutdown(parse(&method, &payload)?),
            _ => {
                let text = format!("method {method} of {service} is not implemented");
                Err(Refusal::new(Code::Unimplemented, text))
            }
        }
    }

    /// Answers who asked, if somebody did and is still there.
    pub fn reply(&mut self, to: Option<ReplyTo>, result: Result<Vec<u8>, Refusal>) {
        let Some(to) = to else {
            return;
        };
        if let Some(connection) = self.connections.get_mut(&to.connection) {
            connection.answer(to.stream, result);
            self.touched.insert(to.connection);
        }
    }

    /// Answers who asked for what has been done to a process.
    pub fn reply_to_askers(&mut self, id: ProcessId, result: Result<Vec<u8>, Refusal>) {
        let live = self.live.get_mut(&id);
        for asker in live.map_or(vec![], |live| std::mem::take(&mut live.askers)) {
            self.reply(Some(asker), result.clone());
        }
    }

    pub fn reply_empty(&mut self, to: Option<ReplyTo>, result: Result<(), Refusal>) {
        self.reply(to, result.map(|()| Empty {}.encode_to_vec()));
    }
}

fn parse<M: Message + Default>(method: &str, payload: &[u8]) -> Result<M, Refusal> {
    M::decode(payload)
        .map_err(|error| Refusal::invalid(format!("the request for {method} can't be read: {error}")))
}
