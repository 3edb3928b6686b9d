//! Ends of processes: noticed by pidfd, told in the order that clients rely on.

use std::os::fd::AsFd;

use nix::errno::Errno;
use nix::sys::wait::{Id, WaitPidFlag, WaitStatus, waitid, waitpid};
use prost::Message;
use rrunc::sys::process::{Child, wait};

use super::Shim;
use super::live::Purpose;
use crate::order::Order;
use crate::proto::Timestamp;
use crate::proto::events::{TaskExecStarted, TaskExit, TaskId, TaskStart};
use crate::proto::task::WaitResponse;
use crate::table::life::{Event, Kind, News, State};
use crate::table::{End, Process, ProcessId};

const SIGKILL: u32 = 9;

/// What is reported of a process whose status nobody could get.
const UNKNOWN: u32 = 255;

impl Shim {
    pub fn reap(&mut self, id: ProcessId) {
        let Some(live) = self.live.get_mut(&id) else {
            return;
        };
        let Some(pidfd) = &live.pidfd else {
            return;
        };
        let status = match wait(Child::Pidfd(pidfd.as_fd())) {
            Ok(None) => return,
            Ok(Some((_, exit))) => exit.code() as u32,
            Err(fail) => {
                self.log.error(&format!("wait for a process of a container: {fail}"));
                UNKNOWN
            }
        };
        self.poller.remove(pidfd);
        live.pidfd = None;
        if let Some(terminal) = &mut live.terminal {
            terminal.slave = None;
        }
        self.end_input(id);
        self.ended(id, status);
    }

    fn ended(&mut self, id: ProcessId, status: u32) {
        let Some(process) = self.table.processes.get_mut(&id) else {
            return;
        };
        let at = Timestamp::now();
        process.end = Some(End { status, at });
        let container = process.container.clone();
        match process.kind {
            Kind::Exec => {
                self.happened(id, Event::Exit);
                self.finish_init(&container);
            }
            Kind::Init => {
                // What it may have died of is told before that it has.
                self.check_oom(id);
                if self.table.containers.get(&container).is_some_and(|c| c.shares_pids) {
                    let rest =
                        self.command(id, Purpose::KillRest, Order::Kill { signal: SIGKILL, all: true }, None);
                    if let Err(refusal) = rest {
                        self.log.error(&refusal.text);
                    }
                }
                // An exec that still waits for its logger won't be made, and must not keep this end from being told.
                let execs = self.table.containers.get(&container).map(|c| c.execs.clone());
                for exec in execs.unwrap_or_default().into_values() {
                    self.give_up_logger(exec);
                }
                self.finish_init(&container);
            }
        }
    }

    /// An init's end counts when all of its container's processes have ended.
    pub fn finish_init(&mut self, id: &str) {
        let Some(container) = self.table.containers.get(id) else {
            return;
        };
        let init = container.init;
        let ended = self.table.processes.get(&init).is_some_and(|init| {
            init.end.is_some() && !matches!(init.state, State::Stopped | State::Deleting | State::Ended)
        });
        if ended && self.table.running_execs(container).next().is_none() {
            self.happened(init, Event::Exit);
        }
    }

    /// Something that nobody may refuse: the table is told, and then everybody else.
    pub fn happened(&mut self, id: ProcessId, event: Event) {
        let Ok(news) = self.table.apply(id, event) else {
            return; // only requests are refused
        };
        let Some(process) = self.table.processes.get(&id).cloned() else {
            return;
        };
        match news {
            News::Nothing | News::Created => {} // what is told of a creation, `create` knows
            News::Started => self.tell_start(&process),
            News::Exited => self.tell_exit(id, &process),
            News::StartedAndExited => {
                self.tell_start(&process);
                self.tell_exit(id, &process);
            }
            News::Paused | News::Resumed => {
                let container_id = process.container.clone();
                let (topic, name) = match news {
                    News::Paused => ("/tasks/paused", "TaskPaused"),
                    _ => ("/tasks/resumed", "TaskResumed"),
                };
                self.publisher.publish(topic, name, &TaskId { container_id });
            }
        }
    }

    fn tell_start(&mut self, process: &Process) {
        let container_id = process.container.clone();
        let pid = process.pid;
        match process.kind {
            Kind::Init => {
                let event = TaskStart { container_id, pid };
                self.publisher.publish("/tasks/start", "TaskStart", &event);
            }
            Kind::Exec => {
                let event = TaskExecStarted { container_id, exec_id: process.exec.clone(), pid };
                self.publisher.publish("/tasks/exec-started", "TaskExecStarted", &event);
            }
        }
    }

    fn tell_exit(&mut self, id: ProcessId, process: &Process) {
        let event = TaskExit {
            container_id: process.container.clone(),
            id: process.event_id().to_string(),
            pid: process.pid,
            exit_status: process.end.map_or(UNKNOWN, |end| end.status),
            exited_at: process.end.map(|end| end.at),
        };
        self.publisher.publish("/tasks/exit", "TaskExit", &event);
        self.release_waiters(id, process);
        self.go_on_deleting(id);
    }

    pub fn release_waiters(&mut self, id: ProcessId, process: &Process) {
        let waiters = match self.live.get_mut(&id) {
            Some(live) => std::mem::take(&mut live.waiters),
            None => return,
        };
        for waiter in waiters {
            let response = wait_response(process);
            self.reply(Some(waiter), Ok(response.encode_to_vec()));
        }
    }

    /// Reaps orphans: what a process of a container left behind where the host's pid namespace is shared. Nothing
    /// is reaped that may yet turn out to be somebody's: the children of a runtime at work are unknown until it says
    /// who they are, and whoever is known is reaped by pidfd.
    pub(super) fn sweep(&mut self) {
        let making = |purpose| matches!(purpose, Purpose::Create | Purpose::Exec | Purpose::Restore);
        loop {
            let flags = WaitPidFlag::WEXITED | WaitPidFlag::WNOHANG | WaitPidFlag::WNOWAIT;
            let pid = match waitid(Id::All, flags) {
                Ok(WaitStatus::Exited(pid, _) | WaitStatus::Signaled(pid, _, _)) => pid,
                Err(Errno::EINTR) => continue,
                _ => {
                    self.unswept = None;
                    return;
                }
            };
            // Commands that were given after it had been seen as ended have not made it.
            let last = match self.unswept {
                Some((seen, last)) if seen == pid => last,
                _ => self.last_number,
            };
            let mut flights = self.flights.range(..=last);
            if flights.any(|(_, flight)| making(flight.purpose)) || self.knows(pid.as_raw() as u32) {
                self.unswept = Some((pid, last)); // its own event is on its way
                return;
            }
            let _ = waitpid(pid, Some(WaitPidFlag::WNOHANG)); // nobody asks how an orphan ended
        }
    }

    fn knows(&self, pid: u32) -> bool {
        let process = |process: &Process| process.pid == pid && process.end.is_none();
        self.table.processes.values().any(process)
            || self.flights.values().any(|flight| flight.pid == pid)
            || self.loggers.values().any(|logger| logger.pid == pid)
    }
}

pub fn wait_response(process: &Process) -> WaitResponse {
    WaitResponse {
        exit_status: process.end.map_or(UNKNOWN, |end| end.status),
        exited_at: process.end.map(|end| end.at),
    }
}
