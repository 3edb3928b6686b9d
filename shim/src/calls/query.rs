//! Calls that only look, or wait: none of them ever waits for the runtime, but for `Pids`.

use prost::Message;

use crate::order::Order;
use crate::proto::Any;
use crate::proto::Empty;
use crate::proto::metrics;
use crate::proto::options::ProcessDetails;
use crate::proto::task::{
    ConnectResponse, IdRequest, PidsResponse, ProcessInfo, ShutdownRequest, StateRequest, StateResponse,
    StatsResponse, WaitRequest,
};
use crate::refusal::{Doing, Refusal};
use crate::serve::Shim;
use crate::serve::connection::ReplyTo;
use crate::serve::exits::wait_response;
use crate::serve::live::{Flight, Purpose};
use crate::serve::requests::{Answer, LATER, done};
use crate::stats;

impl Shim {
    pub fn state(&mut self, request: StateRequest) -> Answer {
        let (_, process) = self.table.find(&request.id, &request.exec_id)?;
        let container = self.table.container(&request.id)?;
        let status = self.table.status(process);
        let stdio = process.stdio.clone();
        done(&StateResponse {
            id: request.id,
            bundle: container.bundle.display().to_string(),
            pid: process.pid,
            status: status.into(),
            stdin: stdio.stdin,
            stdout: stdio.stdout,
            stderr: stdio.stderr,
            terminal: stdio.terminal,
            exit_status: process.end.map_or(0, |end| end.status),
            exited_at: process.end.map(|end| end.at),
            exec_id: request.exec_id,
        })
    }

    pub fn connect(&mut self, request: IdRequest) -> Answer {
        let process = self.table.find(&request.id, "");
        done(&ConnectResponse {
            shim_pid: std::process::id(),
            task_pid: process.map_or(0, |(_, process)| process.pid),
            version: env!("CARGO_PKG_VERSION").to_string(),
        })
    }

    pub fn wait(&mut self, request: WaitRequest, reply: ReplyTo) -> Answer {
        let (id, process) = self.table.find(&request.id, &request.exec_id)?;
        if self.is_over(id) {
            return done(&wait_response(process));
        }
        if let Some(live) = self.live.get_mut(&id) {
            live.waiters.push(reply);
        }
        LATER
    }

    pub fn pids(&mut self, request: IdRequest, reply: ReplyTo) -> Answer {
        let container = self.table.container(&request.id)?;
        let init = container.init;
        // A containerd that comes back asks for processes first, and throws away a container that has none, and its
        // exit status with it. So one whose end has not been told yet still has its init, as far as is known.
        let process = self.table.processes.get(&init);
        let ended = process.filter(|process| process.end.is_some());
        if let Some(process) = ended.filter(|_| self.publisher.is_untold(&request.id, "/tasks/exit")) {
            let processes = vec![ProcessInfo {
                pid: process.pid,
                info: None,
            }];
            return done(&PidsResponse { processes });
        }
        self.command(init, Purpose::List, Order::List, Some(reply))?;
        LATER
    }

    pub fn listed(&mut self, flight: &Flight, result: Result<Vec<u8>, Refusal>) {
        let pids = result.and_then(|printed| {
            let pids: Option<Vec<u32>> =
                serde_json::from_slice(&printed).doing(|| "the runtime's list of processes".into())?;
            Ok(pids.unwrap_or_default()) // Go's way to say: none
        });
        let response = pids.map(|pids| PidsResponse {
            processes: pids.into_iter().map(|pid| self.process_info(pid)).collect(),
        });
        self.reply(flight.reply, response.map(|response| response.encode_to_vec()));
    }

    fn process_info(&self, pid: u32) -> ProcessInfo {
        let exec = self
            .table
            .processes
            .values()
            .find(|process| process.pid == pid && process.end.is_none() && !process.exec.is_empty());
        let info = exec.map(|process| {
            let details = ProcessDetails {
                exec_id: process.exec.clone(),
            };
            Any::new("containerd.runc.v1.ProcessDetails", &details)
        });
        ProcessInfo { pid, info }
    }

    pub fn stats(&mut self, request: IdRequest) -> Answer {
        let container = self.table.container(&request.id)?;
        let cgroup = container.cgroup.as_deref();
        let cgroup = cgroup.ok_or_else(|| {
            Refusal::not_found(format!("container {}: its cgroup is not known", request.id))
        })?;
        let metrics = stats::read(cgroup).ok_or_else(|| {
            Refusal::not_found(format!(
                "container {}: cgroup {} is gone",
                request.id,
                cgroup.display()
            ))
        })?;
        done(&StatsResponse {
            stats: Some(Any::new(metrics::TYPE, &metrics)),
        })
    }

    pub fn shutdown(&mut self, _: ShutdownRequest) -> Answer {
        if self.table.containers.is_empty() {
            self.end();
        }
        done(&Empty {})
    }
}
