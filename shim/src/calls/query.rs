//! Calls that only look, or wait: none of them ever waits for the runtime, but for `Pids`.

use prost::Message;

use crate::order::Order;
use crate::proto::Any;
use crate::proto::Empty;
use crate::proto::metrics;
use crate::proto::options::ProcessDetails;
use crate::proto::task::{
    ConnectResponse, IdRequest, PidsResponse, ProcessInfo, ShutdownRequest, StateRequest, StateResponse,
    StatsResponse, Status, WaitRequest,
};
use crate::refusal::{Doing, Refusal};
use crate::serve::Shim;
use crate::serve::connection::ReplyTo;
use crate::serve::exits::wait_response;
use crate::serve::live::{Flight, Purpose};
use crate::serve::requests::{Answer, LATER, done};
use crate::stats;
use crate::table::ProcessId;
use crate::table::life::State;

impl Shim {
    pub fn state(&mut self, request: StateRequest) -> Answer {
        let (_, process) = self.table.find(&request.id, &request.exec_id)?;
        let container = self.table.container(&request.id)?;
        let status = self.table.status(process);
        let stdio = process.stdio.clone();
        let end = process.end.filter(|_| status == Status::Stopped);
        done(&StateResponse {
            id: request.id,
            bundle: container.bundle.display().to_string(),
            pid: process.pid,
            status: status.into(),
            stdin: stdio.stdin,
            stdout: stdio.stdout,
            stderr: stdio.stderr,
            terminal: stdio.terminal,
            exit_status: end.map_or(0, |end| end.status),
            exited_at: end.map(|end| end.at),
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

    /// A containerd that comes back asks for processes first, and throws away a container that has none, and its exit
    /// status with it. So an init is named until it is deleted, and one that is being made is waited for.
    pub fn pids(&mut self, request: IdRequest, reply: ReplyTo) -> Answer {
        let init = self.table.container(&request.id)?.init;
        match self.table.processes.get(&init) {
            Some(process) if matches!(process.state, State::Creating | State::Restoring) => {
                if let Some(live) = self.live.get_mut(&init) {
                    live.listers.push(reply);
                }
                LATER
            }
            Some(process) if self.is_over(init) || process.state == State::Stored => {
                done(&self.pids_response([process.pid]))
            }
            _ => {
                self.command(init, Purpose::List, Order::List, Some(reply))?;
                LATER
            }
        }
    }

    /// Who asked for the processes of a container that was being made.
    pub fn answer_listers(&mut self, init: ProcessId) {
        let Some(process) = self.table.processes.get(&init) else {
            return;
        };
        let id = process.container.clone();
        let listers = self.live.get_mut(&init);
        for reply in listers.map_or(vec![], |live| std::mem::take(&mut live.listers)) {
            let answer = self.pids(IdRequest { id: id.clone() }, reply);
            self.answer(reply, answer);
        }
    }

    pub fn listed(&mut self, flight: &Flight, result: Result<Vec<u8>, Refusal>) {
        self.reap(flight.process); // of an end that the list may have come after we hear only now
        let init = self.table.processes.get(&flight.process);
        let (init, has_ended) = init.map_or((None, false), |init| (Some(init.pid), init.end.is_some()));
        let pids = result.and_then(|printed| {
            let pids: Option<Vec<u32>> =
                serde_json::from_slice(&printed).doing(|| "the runtime's list of processes".into())?;
            Ok(pids.unwrap_or_default()) // Go's way to say: none
        });
        let pids = match pids {
            Err(_) if has_ended => Ok(vec![]),
            pids => pids,
        };
        let response = pids.map(|mut pids| {
            pids.extend(init.filter(|init| !pids.contains(init)));
            self.pids_response(pids)
        });
        self.reply(flight.reply, response.map(|response| response.encode_to_vec()));
    }

    fn pids_response(&self, pids: impl IntoIterator<Item = u32>) -> PidsResponse {
        PidsResponse { processes: pids.into_iter().map(|pid| self.process_info(pid)).collect() }
    }

    fn process_info(&self, pid: u32) -> ProcessInfo {
        let exec = self
            .table
            .processes
            .values()
            .find(|process| process.pid == pid && process.end.is_none() && !process.exec.is_empty());
        let info = exec.map(|process| {
            let details = ProcessDetails { exec_id: process.exec.clone() };
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
            Refusal::not_found(format!("container {}: cgroup {} is gone", request.id, cgroup.display()))
        })?;
        done(&StatsResponse { stats: Some(Any::new(metrics::TYPE, &metrics)) })
    }

    pub fn shutdown(&mut self, _: ShutdownRequest) -> Answer {
        if self.table.containers.is_empty() {
            self.end();
        }
        done(&Empty {})
    }
}
