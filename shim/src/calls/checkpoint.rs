//! Checkpoint, and its reverse: a container that was created from what a checkpoint has saved comes into being at its
//! start. Both are criu's work, by the runtime; what criu wrote of a failure is kept in the bundle.

use std::fs::{self, DirBuilder};
use std::os::unix::fs::DirBuilderExt;
use std::path::PathBuf;

use prost::Message;

use crate::bundle;
use crate::proto::Any;
use crate::proto::events::TaskCheckpointed;
use crate::proto::options::CheckpointOptions;
use crate::proto::task::CheckpointTaskRequest;
use crate::refusal::{Doing, Refusal};
use crate::serve::Shim;
use crate::serve::connection::ReplyTo;
use crate::serve::live::{Flight, Purpose, Temporary};
use crate::serve::requests::{Answer, LATER};
use crate::table::ProcessId;
use crate::table::life::{Event, State};

impl Shim {
    pub fn checkpoint(&mut self, request: CheckpointTaskRequest, reply: ReplyTo) -> Answer {
        let (id, _) = self.table.find(&request.id, "")?;
        self.table.may(id, Event::Checkpoint)?;
        let options = options(request.options.as_ref())?;
        if request.path.is_empty() {
            return Err(Refusal::invalid(format!(
                "container {}: no path is given for the checkpoint",
                request.id
            )));
        }
        let mut takeoff = self.captured(id, Purpose::Checkpoint, Some(reply))?;
        let work = match options.work_path.as_str() {
            "" => self.work_of(id, &mut takeoff.flight.temporary)?,
            path => path.into(),
        };
        takeoff.command.args(arguments(&options));
        takeoff.option("--image-path", &request.path);
        takeoff.option("--work-path", &work);
        takeoff.command.arg(&request.id);
        takeoff.flight.work = Some(work);
        takeoff.flight.images = Some(request.path.into());
        self.launch(takeoff)?;
        LATER
    }

    /// For criu's own files, and gone with the command.
    fn work_of(&mut self, id: ProcessId, temporary: &mut Temporary) -> Result<PathBuf, Refusal> {
        let number = self.number();
        let work = self.container_of(id)?.bundle.join(format!("criu-{number}"));
        temporary.push(work.clone());
        let made = DirBuilder::new().mode(0o700).create(&work);
        made.doing(|| format!("make {}", work.display()))?;
        Ok(work)
    }

    pub fn checkpointed(&mut self, flight: &Flight, result: Result<Vec<u8>, Refusal>) {
        let result = result.map_err(|refusal| self.with_log(flight, "dump.log", refusal));
        let process = self.table.processes.get(&flight.process);
        if let (Ok(_), Some(process), Some(images)) = (&result, process, &flight.images) {
            let event = TaskCheckpointed {
                container_id: process.container.clone(),
                checkpoint: images.display().to_string(),
            };
            self.publisher.publish("/tasks/checkpointed", "TaskCheckpointed", &event);
        }
        self.reply_empty(flight.reply, result.map(drop));
    }

    /// Nothing is made yet of a container that was saved: `Start` does that.
    pub fn stored(&mut self, id: ProcessId) {
        self.tell_created(id);
        self.happened(id, Event::Stored);
        self.answer_created(id);
    }

    pub fn is_stored(&self, id: ProcessId) -> bool {
        let process = self.table.processes.get(&id);
        process.is_some_and(|process| process.state == State::Stored)
    }

    pub fn launch_restore(&mut self, id: ProcessId) -> Result<(), Refusal> {
        let mut takeoff = self.prepare(id, Purpose::Restore, None)?;
        let container = self.container_of(id)?.clone();
        let work = match container.options.criu_work_path.as_str() {
            "" => self.work_of(id, &mut takeoff.flight.temporary)?,
            path => path.into(),
        };
        let pid_file = container.bundle.join(bundle::INIT_PID);
        takeoff.command.args(["--detach", "--no-subreaper"]);
        // What these lack is in their parent's, to which they have a link (criu(8), --prev-images-dir): no runtime's
        // restore takes the request's parent_checkpoint.
        takeoff.option("--image-path", &container.checkpoint);
        takeoff.option("--work-path", &work);
        takeoff.option("--bundle", &container.bundle);
        takeoff.option("--pid-file", &pid_file);
        if container.options.no_pivot_root {
            takeoff.command.arg("--no-pivot");
        }
        takeoff.flight.work = Some(work);
        takeoff.flight.pid_file = Some(pid_file);
        let stdio = self.give_streams(id, &mut takeoff)?;
        takeoff.command.arg(self.table.processes.get(&id).map_or("", |process| &process.container));
        self.launch_in_root(takeoff, stdio)
    }

    pub fn restored(&mut self, flight: &Flight, result: Result<Vec<u8>, Refusal>) {
        let id = flight.process;
        let result = result.map_err(|refusal| self.with_log(flight, "restore.log", refusal));
        match result.and_then(|_| self.adopt(flight)) {
            Ok(()) => {
                self.watch_cgroup(id);
                self.happened(id, Event::Started);
                let response = self.start_response(id);
                self.reply_to_askers(id, Ok(response));
            }
            Err(refusal) => self.not_started(id, refusal),
        }
        self.answer_listers(id);
    }

    /// The refusal with what criu says, which it says in a file: kept in the bundle, since its directory goes.
    fn with_log(&self, flight: &Flight, name: &str, mut refusal: Refusal) -> Refusal {
        let log = flight.work.as_ref().map(|work| work.join(name));
        let kept =
            self.container_of(flight.process).map(|container| container.bundle.join(format!("criu-{name}")));
        if let (Some(log), Ok(kept)) = (log, kept) {
            if fs::copy(log, &kept).is_ok() {
                refusal.text += &format!(" (criu's log: {})", kept.display());
            }
        }
        refusal
    }
}

fn options(any: Option<&Any>) -> Result<CheckpointOptions, Refusal> {
    let invalid = |refusal: Refusal| Refusal::invalid(refusal.text);
    match any.map(|any| (any.name(), any)) {
        None | Some(("", _)) => Ok(CheckpointOptions::default()),
        Some((name @ "containerd.runc.v1.CheckpointOptions", any)) => {
            let options = CheckpointOptions::decode(any.value.as_slice());
            options.doing(|| format!("options of type {name}")).map_err(invalid)
        }
        Some((other, _)) => Err(Refusal::invalid(format!(
            "options of type {other}: only containerd.runc.v1.CheckpointOptions is known"
        ))),
    }
}

/// As the runtime's command line has them.
fn arguments(options: &CheckpointOptions) -> Vec<String> {
    let flags = [
        (!options.exit, "--leave-running"),
        (options.open_tcp, "--tcp-established"),
        (options.external_unix_sockets, "--ext-unix-sk"),
        (options.terminal, "--shell-job"),
        (options.file_locks, "--file-locks"),
    ];
    let flags = flags.iter().filter(|(wanted, _)| *wanted);
    let mut arguments: Vec<String> = flags.map(|(_, flag)| (*flag).to_string()).collect();
    for namespace in &options.empty_namespaces {
        arguments.extend(["--empty-ns".to_string(), namespace.clone()]);
    }
    for (option, value) in
        [("--manage-cgroups-mode", &options.cgroups_mode), ("--parent-path", &options.parent_path)]
    {
        if !value.is_empty() {
            arguments.extend([option.to_string(), value.clone()]);
        }
    }
    arguments
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_option() {
        let check = |options: CheckpointOptions, expected: &str| {
            let any = Any::new("containerd.runc.v1.CheckpointOptions", &options);
            let read = super::options(Some(&any)).unwrap();
            assert_eq!(arguments(&read).join(" "), expected);
        };
        check(CheckpointOptions::default(), "--leave-running");
        let all = CheckpointOptions {
            exit: true,
            open_tcp: true,
            external_unix_sockets: true,
            terminal: true,
            file_locks: true,
            empty_namespaces: vec!["network".into()],
            cgroups_mode: "soft".into(),
            image_path: "unused".into(),
            work_path: "unused".into(),
            parent_path: "../one".into(),
        };
        check(
            all,
            "--tcp-established --ext-unix-sk --shell-job --file-locks --empty-ns network \
             --manage-cgroups-mode soft --parent-path ../one",
        );
        assert_eq!(options(None).unwrap(), CheckpointOptions::default());
        let mut other = Any::new("runtimeoptions.v1.Options", &CheckpointOptions::default());
        assert!(options(Some(&other)).unwrap_err().text.contains("runtimeoptions"));
        other.type_url = "containerd.runc.v1.CheckpointOptions".into();
        other.value = vec![0xff];
        assert!(options(Some(&other)).is_err());
    }
}
