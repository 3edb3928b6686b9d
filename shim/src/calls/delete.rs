//! Delete: what a process has left is removed, after its output has been passed on.

use std::os::fd::AsFd;
use std::time::Duration;

use prost::Message;
use rrunc::sys::process::{Signal, pidfd_send_signal};

use crate::bundle;
use crate::order::Order;
use crate::proto::events::TaskDelete;
use crate::proto::task::{DeleteRequest, DeleteResponse};
use crate::refusal::Refusal;
use crate::serve::Shim;
use crate::serve::connection::ReplyTo;
use crate::serve::live::Purpose;
use crate::serve::requests::{Answer, LATER};
use crate::serve::timers::Alarm;
use crate::table::life::{Event, Kind, State};
use crate::table::{Process, ProcessId};

/// How long output is waited for that somebody who outlives the process may still write, or nobody reads.
const DRAIN: Duration = Duration::from_secs(10);

impl Shim {
    pub fn delete(&mut self, request: DeleteRequest, reply: ReplyTo) -> Answer {
        let (id, process) = self.table.find(&request.id, &request.exec_id)?;
        // The first to ask may have been a containerd that is there no more; there is one answer for all.
        let again = matches!(process.state, State::Doomed | State::Deleting);
        self.table.apply(id, Event::Delete)?;
        let process = self.table.processes.get(&id);
        let doomed = process.is_some_and(|process| process.state == State::Doomed);
        let Some(live) = self.live.get_mut(&id) else {
            return LATER;
        };
        live.askers.push(reply);
        if doomed {
            if let Some(pidfd) = &live.pidfd {
                let _ = pidfd_send_signal(pidfd.as_fd(), Signal::KILL); // it has ended: that is told soon
            }
        } else if !again {
            self.drain(id);
        }
        LATER
    }

    /// One who was killed to be deleted has ended.
    pub fn go_on_deleting(&mut self, id: ProcessId) {
        let wanted = self.live.get(&id).is_some_and(|live| !live.askers.is_empty());
        let stopped = self.table.processes.get(&id).is_some_and(|process| process.state == State::Stopped);
        if wanted && stopped && self.table.apply(id, Event::Delete).is_ok() {
            self.drain(id);
        }
    }

    fn drain(&mut self, id: ProcessId) {
        match self.live.get(&id).map_or(0, |live| live.outputs) {
            0 => self.drained(id),
            _ => self.timers.set(DRAIN, Alarm::Drained(id)),
        }
    }

    /// The last of a process's output has been passed on.
    pub fn drained(&mut self, id: ProcessId) {
        let process = self.table.processes.get(&id);
        if process.is_some_and(|process| process.state == State::Deleting) && !self.is_under_way(id) {
            self.remove(id);
        }
    }

    /// A command that was under way for a process has ended.
    pub fn go_on_removing(&mut self, id: ProcessId) {
        if self.live.get(&id).is_some_and(|live| live.outputs == 0) {
            self.drained(id);
        }
    }

    pub fn give_up_draining(&mut self, id: ProcessId) {
        match self.is_under_way(id) {
            true => self.timers.set(DRAIN, Alarm::Drained(id)),
            false => self.drained(id),
        }
    }

    /// With the answer to Delete containerd closes the connection, over which others may still be expected: that to the
    /// Kill that ended the process, whose runtime is slower than the process's end.
    fn is_under_way(&self, id: ProcessId) -> bool {
        self.flights.values().any(|flight| flight.process == id)
    }

    fn remove(&mut self, id: ProcessId) {
        let Some(process) = self.table.processes.get(&id).cloned() else {
            return;
        };
        match process.kind {
            Kind::Exec => self.gone(id, &process),
            Kind::Init => {
                let launched = self.command(id, Purpose::Delete, Order::Delete { force: false }, None);
                // A runtime that isn't there says nothing of the container.
                if let Err(refusal) = launched {
                    self.deleted(id, Err(Refusal::unknown(refusal.text)));
                }
            }
        }
    }

    pub fn deleted(&mut self, id: ProcessId, result: Result<Vec<u8>, Refusal>) {
        let Some(process) = self.table.processes.get(&id).cloned() else {
            return;
        };
        match result {
            Err(refusal) if refusal.code != crate::refusal::Code::NotFound => {
                self.happened(id, Event::DeleteFailed);
                self.reply_to_askers(id, Err(refusal));
            }
            _ => {
                let mut execs = vec![];
                if let Ok(container) = self.table.container(&process.container) {
                    bundle::forget(&container.bundle);
                    execs.extend(container.execs.values().copied());
                }
                self.forget_oom(id);
                self.gone(id, &process);
                for exec in execs {
                    self.gone_with_container(exec, &process);
                }
                let end = process.end;
                let event = TaskDelete {
                    container_id: process.container.clone(),
                    pid: process.pid,
                    exit_status: end.map_or(0, |end| end.status),
                    exited_at: end.map(|end| end.at),
                    id: String::new(),
                };
                self.publisher.publish("/tasks/delete", "TaskDelete", &event);
            }
        }
    }

    /// An exec that nobody deleted before its container.
    fn gone_with_container(&mut self, id: ProcessId, init: &Process) {
        self.end_streams(id);
        let live = self.live.remove(&id).unwrap_or_default();
        for asker in live.waiters.into_iter().chain(live.askers) {
            let gone = Refusal::not_found(format!("{}: has been deleted", init.name()));
            self.reply(Some(asker), Err(gone));
        }
    }

    fn gone(&mut self, id: ProcessId, process: &Process) {
        self.table.remove(id);
        self.end_streams(id);
        let response = DeleteResponse {
            pid: process.pid,
            exit_status: process.end.map_or(0, |end| end.status),
            exited_at: process.end.map(|end| end.at),
        };
        if let Some(live) = self.live.remove(&id) {
            for waiter in live.waiters {
                let gone = Refusal::not_found(format!("{}: has been deleted", process.name()));
                self.reply(Some(waiter), Err(gone));
            }
            for asker in live.askers {
                self.reply(Some(asker), Ok(response.encode_to_vec()));
            }
        }
    }
}
