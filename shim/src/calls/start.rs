//! Start: of the container, or of a process that `Exec` has added.

use prost::Message;

use crate::order::Order;
use crate::proto::task::{StartRequest, StartResponse};
use crate::refusal::Refusal;
use crate::serve::Shim;
use crate::serve::connection::ReplyTo;
use crate::serve::live::{Flight, Purpose};
use crate::serve::requests::{Answer, LATER};
use crate::table::life::{Event, Kind};
use crate::table::{ProcessId, life};

impl Shim {
    pub fn start(&mut self, request: StartRequest, reply: ReplyTo) -> Answer {
        let (id, process) = self.table.find(&request.id, &request.exec_id)?;
        match process.kind {
            Kind::Init if self.is_stored(id) => {
                self.table.may(id, Event::Start)?;
                self.launch_restore(id)?;
                self.table.apply(id, Event::Start)?;
                if let Some(live) = self.live.get_mut(&id) {
                    live.askers.push(reply);
                }
            }
            Kind::Init => {
                self.table.may(id, Event::Start)?;
                self.command(id, Purpose::Start, Order::Start, Some(reply))?;
                self.table.apply(id, Event::Start)?;
            }
            Kind::Exec => {
                let init = self.table.container(&request.id)?.init;
                self.table.may(init, Event::Enter)?;
                self.table.apply(id, Event::Start)?;
                if let Some(live) = self.live.get_mut(&id) {
                    live.askers.push(reply);
                }
                self.open_streams(id);
            }
        }
        LATER
    }

    pub fn started(&mut self, flight: &Flight, result: Result<Vec<u8>, Refusal>) {
        let id = flight.process;
        match result {
            Ok(_) => {
                self.happened(id, Event::Started);
                self.reply(flight.reply, Ok(self.start_response(id)));
            }
            Err(refusal) => {
                self.happened(id, Event::StartFailed);
                self.reply(flight.reply, Err(refusal));
            }
        }
    }

    pub fn start_response(&self, id: ProcessId) -> Vec<u8> {
        let pid = self.table.processes.get(&id).map_or(0, |process| process.pid);
        StartResponse { pid }.encode_to_vec()
    }

    /// Whether an init's end is still to be told.
    pub fn is_over(&self, id: ProcessId) -> bool {
        let process = self.table.processes.get(&id);
        process.is_none_or(|process| matches!(process.state, life::State::Stopped | life::State::Deleting))
    }
}
