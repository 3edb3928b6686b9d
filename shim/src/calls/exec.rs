//! Exec: another process for a container; `Start` makes it.

use super::part_of_config;
use crate::bundle;
use crate::proto::Empty;
use crate::proto::Timestamp;
use crate::proto::events::TaskExecAdded;
use crate::proto::task::ExecProcessRequest;
use crate::refusal::{Code, Doing, Refusal};
use crate::runtime::is_identifier;
use crate::serve::Shim;
use crate::serve::live::{Flight, Live, Purpose};
use crate::serve::requests::{Answer, done};
use crate::table::life::Event;
use crate::table::{End, ProcessId, Stdio};

/// What a process that could not be started is said to have ended with.
const NOT_STARTED: u32 = 255;

impl Shim {
    pub fn exec(&mut self, request: ExecProcessRequest) -> Answer {
        let (id, exec) = (&request.id, &request.exec_id);
        let container = self.table.container(id)?;
        if !is_identifier(exec) {
            return Err(Refusal::invalid(format!("exec id {exec:?}: may have A-Z a-z 0-9 _ . - only")));
        }
        if container.execs.contains_key(exec) {
            let text = format!("container {id}: process {exec} exists");
            return Err(Refusal::new(Code::AlreadyExists, text));
        }
        self.table.may(container.init, Event::Enter)?;
        let spec = part_of_config(request.spec.unwrap_or_default(), "Process")?;
        let spec = with_terminal(&spec, request.terminal)?;
        let stdio = Stdio {
            stdin: request.stdin,
            stdout: request.stdout,
            stderr: request.stderr,
            terminal: request.terminal,
        };
        let process = self.table.add_exec(id, exec, stdio, spec);
        self.live.insert(process, Live::default());
        let event = TaskExecAdded { container_id: id.clone(), exec_id: exec.clone() };
        self.publisher.publish("/tasks/exec-added", "TaskExecAdded", &event);
        done(&Empty {})
    }

    pub fn launch_exec(&mut self, id: ProcessId) -> Result<(), Refusal> {
        let mut takeoff = self.prepare(id, Purpose::Exec, None)?;
        let bundle = self.container_of(id)?.bundle.clone();
        let number = self.number();
        let Some(process) = self.table.processes.get(&id) else {
            return Err(Refusal::not_found("the process has been deleted"));
        };
        let (spec, container) = (process.spec.clone(), process.container.clone());
        let name = format!("exec-{number}.json");
        let file = bundle.join(&name);
        takeoff.flight.temporary.push(file.clone());
        bundle::write(&bundle, &name, &spec)?;
        let pid_file = bundle.join(format!("exec-{number}.pid"));
        takeoff.flight.temporary.push(pid_file.clone());
        takeoff.option("--process", &file);
        takeoff.option("--pid-file", &pid_file);
        takeoff.flight.pid_file = Some(pid_file);
        takeoff.command.arg("--detach");
        let stdio = self.give_streams(id, &mut takeoff)?;
        takeoff.stdio(stdio);
        takeoff.command.arg(container);
        self.launch(takeoff)
    }

    pub fn executed(&mut self, flight: &mut Flight, result: Result<Vec<u8>, Refusal>) {
        let id = flight.process;
        if let Err(refusal) = result.and_then(|_| self.adopt(flight)) {
            return self.not_started(id, refusal);
        }
        self.happened(id, Event::Started);
        let response = self.start_response(id);
        self.reply_to_askers(id, Ok(response));
    }

    /// It never was: nobody is told of an end, but who waits is not left waiting. The same of an init that could not
    /// be restored.
    pub fn not_started(&mut self, id: ProcessId, refusal: Refusal) {
        self.end_streams(id);
        self.happened(id, Event::StartFailed);
        let Some(process) = self.table.processes.get_mut(&id) else {
            return;
        };
        process.end = Some(End { status: NOT_STARTED, at: Timestamp::now() });
        let process = process.clone();
        self.release_waiters(id, &process);
        if let Some(live) = self.live.get_mut(&id) {
            live.plumbing = None;
        }
        self.reply_to_askers(id, Err(refusal));
        self.finish_init(&process.container);
    }
}

/// `process` of config.json, with the terminal as the request wants it.
fn with_terminal(spec: &[u8], terminal: bool) -> Result<Vec<u8>, Refusal> {
    let doing = || "the process's spec".to_string();
    let invalid = |refusal: Refusal| Refusal::invalid(refusal.text);
    let spec = serde_json::from_slice::<serde_json::Map<String, serde_json::Value>>(spec);
    let mut spec = spec.doing(doing).map_err(invalid)?;
    spec.insert("terminal".into(), terminal.into());
    serde_json::to_vec(&spec).doing(doing)
}
