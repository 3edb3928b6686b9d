//! The calls of the task service, and what the runtime's answers to them mean.

mod checkpoint;
mod create;
mod delete;
mod exec;
mod query;
mod signal;
mod start;
mod suspend;
mod update;

use crate::proto::Any;
use crate::refusal::Refusal;
use crate::serve::Shim;
use crate::serve::live::{Flight, Purpose};
use crate::table::{Container, ProcessId};

impl Shim {
    pub fn container_of(&self, process: ProcessId) -> Result<&Container, Refusal> {
        let process = self.table.processes.get(&process);
        let process = process.ok_or_else(|| Refusal::not_found("the process has been deleted"))?;
        self.table.container(&process.container)
    }

    /// The runtime has done what it was told to, or has not.
    pub fn arrived(&mut self, flight: &mut Flight, result: Result<Vec<u8>, Refusal>) {
        match flight.purpose {
            Purpose::Create => self.created(flight, result),
            Purpose::Exec => self.executed(flight, result),
            Purpose::Start => self.started(flight, result),
            Purpose::Checkpoint => self.checkpointed(flight, result),
            Purpose::Restore => self.restored(flight, result),
            Purpose::Delete => self.deleted(flight.process, result),
            Purpose::Clean => self.cleaned(flight.process, result.map(drop)),
            Purpose::Pause | Purpose::Resume => self.suspended(flight, result),
            Purpose::List => self.listed(flight, result),
            Purpose::Kill | Purpose::Update => {
                self.reply_empty(flight.reply, result.map(drop));
            }
            Purpose::KillRest => {
                if let Err(refusal) = result {
                    self.log.error(&refusal.text);
                }
            }
        }
    }
}

/// What a client wants of config.json: its JSON, if it is of this type or of none. What stands before the type's name
/// differs between clients.
pub(crate) fn part_of_config(part: Any, name: &str) -> Result<Vec<u8>, Refusal> {
    match part.name() == name || part.type_url.is_empty() {
        true => Ok(part.value),
        false => Err(Refusal::invalid(format!("type {}: only {name} is known here", part.type_url))),
    }
}
