//! What there is: containers and their processes, as facts that can be written out and read back. Fds, and
//! who waits for what, are in `serve::Live`. Makes no system call.

pub mod life;

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::options::Options;
use crate::proto::task::Mount;
use crate::proto::{Timestamp, task};
use crate::refusal::Refusal;
use life::{Event, Kind, News, Outcome, State};

/// Never given twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct ProcessId(pub u64);

#[derive(Default, Serialize, Deserialize)]
pub struct Table {
    pub containers: BTreeMap<String, Container>,
    pub processes: BTreeMap<ProcessId, Process>,
    last: u64,
}

#[derive(Clone, Serialize, Deserialize)]
pub struct Container {
    pub bundle: PathBuf,
    pub options: Options,
    /// What its start is to restore it from; empty: nothing.
    pub checkpoint: String,
    /// Mounted by us, in this order.
    pub mounts: Vec<Mount>,
    /// Its processes don't end with its init: the pid namespace isn't its own.
    pub shares_pids: bool,
    /// Where its init was when it was made; the init may move on within.
    pub cgroup: Option<PathBuf>,
    pub init: ProcessId,
    /// By their ids.
    pub execs: BTreeMap<String, ProcessId>,
}

#[derive(Clone, Serialize, Deserialize)]
pub struct Process {
    pub kind: Kind,
    pub container: String,
    /// Empty for the init.
    pub exec: String,
    pub state: State,
    /// 0: there is none yet.
    pub pid: u32,
    pub stdio: Stdio,
    /// Clients have said that there is no more for its stdin than what is on its way.
    pub stdin_closed: bool,
    /// Of an exec: `process` of config.json, as it was given.
    pub spec: Vec<u8>,
    /// How it ended, as soon as that is known.
    pub end: Option<End>,
}

/// As a client gave them: paths or URIs, or nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stdio {
    pub stdin: String,
    pub stdout: String,
    pub stderr: String,
    pub terminal: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct End {
    /// As a shell reports it: 128 + the signal's number if one ended it.
    pub status: u32,
    pub at: Timestamp,
}

impl Table {
    fn id(&mut self) -> ProcessId {
        self.last += 1;
        ProcessId(self.last)
    }

    pub fn container(&self, id: &str) -> Result<&Container, Refusal> {
        self.containers.get(id).ok_or_else(|| Refusal::not_found(format!("container {id}: not created")))
    }

    /// A container and its init, which is to be made.
    pub fn add_container(
        &mut self,
        id: &str,
        stdio: Stdio,
        make: impl FnOnce(ProcessId) -> Container,
    ) -> ProcessId {
        let init = self.id();
        let process = Process::new(Kind::Init, id, "", stdio, State::Creating);
        self.processes.insert(init, process);
        self.containers.insert(id.to_string(), make(init));
        init
    }

    pub fn add_exec(&mut self, container: &str, exec: &str, stdio: Stdio, spec: Vec<u8>) -> ProcessId {
        let id = self.id();
        let mut process = Process::new(Kind::Exec, container, exec, stdio, State::Created);
        process.spec = spec;
        self.processes.insert(id, process);
        if let Some(container) = self.containers.get_mut(container) {
            container.execs.insert(exec.to_string(), id);
        }
        id
    }

    /// Forgets a process, and with an init its container.
    pub fn remove(&mut self, id: ProcessId) -> Option<Process> {
        let process = self.processes.remove(&id)?;
        match process.kind {
            Kind::Init => {
                if let Some(container) = self.containers.remove(&process.container) {
                    container.execs.values().for_each(|exec| {
                        self.processes.remove(exec);
                    });
                }
            }
            Kind::Exec => {
                if let Some(container) = self.containers.get_mut(&process.container) {
                    container.execs.remove(&process.exec);
                }
            }
        }
        Some(process)
    }

    /// The process that a request means: the init if `exec` is empty.
    pub fn find(&self, id: &str, exec: &str) -> Result<(ProcessId, &Process), Refusal> {
        let container = self.container(id)?;
        let process = match exec {
            "" => Some(container.init),
            exec => container.execs.get(exec).copied(),
        };
        process
            .and_then(|process| Some((process, self.processes.get(&process)?)))
            .ok_or_else(|| Refusal::not_found(format!("container {id}: process {exec} does not exist")))
    }

    /// Lets an event happen to a process, if it may.
    pub fn apply(&mut self, id: ProcessId, event: Event) -> Result<News, Refusal> {
        let Some(process) = self.processes.get_mut(&id) else {
            return Ok(News::Nothing);
        };
        match process.next(event) {
            Outcome::To(state, news) => {
                process.state = state;
                Ok(news)
            }
            Outcome::Refuse(code, why) => Err(Refusal::new(code, format!("{}: {why}", process.name()))),
            Outcome::Never => Ok(News::Nothing),
        }
    }

    /// Whether it may, without letting it.
    pub fn may(&self, id: ProcessId, event: Event) -> Result<(), Refusal> {
        let Some(process) = self.processes.get(&id) else {
            return Err(Refusal::not_found("the process has been deleted"));
        };
        match process.next(event) {
            Outcome::Refuse(code, why) => Err(Refusal::new(code, format!("{}: {why}", process.name()))),
            Outcome::To(..) | Outcome::Never => Ok(()),
        }
    }

    /// The execs of a container that have a process or are about to get one.
    pub fn running_execs<'t>(
        &'t self,
        container: &'t Container,
    ) -> impl Iterator<Item = (ProcessId, &'t Process)> {
        let lives = |process: &Process| match process.state {
            State::Starting => true,
            State::Running => process.end.is_none(),
            _ => false,
        };
        container
            .execs
            .values()
            .filter_map(|id| Some((*id, self.processes.get(id)?)))
            .filter(move |(_, process)| lives(process))
    }

    /// What State reports. An exec is as paused as its container.
    pub fn status(&self, process: &Process) -> task::Status {
        let init = self.containers.get(&process.container).and_then(|c| self.processes.get(&c.init));
        let of = |state| match state {
            State::Creating => task::Status::Unknown,
            State::Created | State::Stored | State::Doomed => task::Status::Created,
            State::Starting | State::Restoring => task::Status::Created,
            State::Running | State::Ended => task::Status::Running,
            State::Pausing => task::Status::Pausing,
            State::Paused | State::Resuming => task::Status::Paused,
            State::Stopped | State::Deleting => task::Status::Stopped,
        };
        let own = of(process.state);
        match (own, init.map(|init| of(init.state))) {
            (task::Status::Running, Some(paused @ (task::Status::Paused | task::Status::Pausing))) => paused,
            _ => own,
        }
    }
}

impl Process {
    fn new(kind: Kind, container: &str, exec: &str, stdio: Stdio, state: State) -> Process {
        Process {
            kind,
            container: container.to_string(),
            exec: exec.to_string(),
            state,
            pid: 0,
            stdio,
            stdin_closed: false,
            spec: vec![],
            end: None,
        }
    }

    /// What an event would do to it. An init whose end isn't told yet, since others of its container still run, is
    /// over for whoever wants something of it but its deletion.
    fn next(&self, event: Event) -> Outcome {
        use Event::{Checkpoint, Enter, Pause, Resume, Signal, Start};
        let asks = matches!(event, Start | Pause | Resume | Signal | Enter | Checkpoint);
        let state = match self.end {
            Some(_) if asks => State::Stopped,
            _ => self.state,
        };
        life::next(self.kind, state, event)
    }

    /// For messages.
    pub fn name(&self) -> String {
        match self.kind {
            Kind::Init => format!("container {}", self.container),
            Kind::Exec => format!("container {}: process {}", self.container, self.exec),
        }
    }

    /// For who looks for what is wrong; without what may be a secret.
    pub fn description(&self) -> String {
        let end = self.end.map(|end| format!(", exit status {}", end.status));
        format!("{}: {:?}, pid {}{}", self.name(), self.state, self.pid, end.unwrap_or_default())
    }

    /// As events name it: an init by its container's id.
    pub fn event_id(&self) -> &str {
        match self.kind {
            Kind::Init => &self.container,
            Kind::Exec => &self.exec,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// For a shim that takes over from another: whatever there is goes through JSON and back.
    #[test]
    fn it_can_be_written_out_and_read_back() {
        let mut table = Table::default();
        let stdio =
            || Stdio { stdout: "binary:///bin/logger?a=b".into(), terminal: true, ..Stdio::default() };
        let container = |init| Container {
            bundle: "/run/bundle".into(),
            options: Options::default(),
            checkpoint: "/images".into(),
            mounts: vec![Mount {
                r#type: "overlay".into(),
                options: vec!["lowerdir=/a:/b".into()],
                ..Mount::default()
            }],
            shares_pids: true,
            cgroup: Some("/sys/fs/cgroup/pod/c".into()),
            init,
            execs: BTreeMap::new(),
        };
        let init = table.add_container("c", stdio(), container);
        table.add_container("sandbox", Stdio::default(), container);
        let exec = table.add_exec("c", "e", stdio(), br#"{"args":["a"]}"#.to_vec());
        table.apply(init, Event::Created).unwrap();
        table.apply(init, Event::Start).unwrap();
        table.apply(init, Event::Started).unwrap();
        let at = Timestamp::now();
        if let Some(process) = table.processes.get_mut(&exec) {
            process.pid = 5;
            process.end = Some(End { status: 137, at });
        }

        let written = serde_json::to_string(&table).unwrap();
        let mut read: Table = serde_json::from_str(&written).unwrap();
        assert_eq!(serde_json::to_string(&read).unwrap(), written);
        let (found, process) = read.find("c", "e").unwrap();
        assert_eq!((found, process.end), (exec, Some(End { status: 137, at })));
        assert_eq!(read.status(&read.processes[&init]), task::Status::Running);
        let next = read.add_exec("c", "f", stdio(), vec![]);
        assert!(!table.processes.contains_key(&next), "no id is given twice");
    }
}
