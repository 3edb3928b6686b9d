//! Create: the streams are opened, the root is mounted, and the runtime makes the container.

use std::fs;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};

use prost::Message;
use rrunc::sys::process::pidfd_open;
use rrunc::sys::types::Pid;

use crate::bundle::{self, Config};
use crate::options::Options;
use crate::order::Order;
use crate::proto::events::{TaskCreate, TaskIo};
use crate::proto::task::{CreateTaskRequest, CreateTaskResponse};
use crate::refusal::{Code, Doing, Refusal};
use crate::serve::connection::ReplyTo;
use crate::serve::flights::{Takeoff, kill_child};
use crate::serve::live::{Console, Flight, Live, Purpose, Terminal};
use crate::serve::poller::{IN, Token};
use crate::serve::requests::{Answer, LATER};
use crate::serve::timers::Alarm;
use crate::serve::{LOGGER_LIMIT, Shim};
use crate::stdio::logger::Logger;
use crate::stdio::plumbing::Plumbing;
use crate::table::life::{Event, Kind};
use crate::table::{Container, ProcessId, Stdio};
use crate::{cgroup, runtime};

impl Shim {
    pub fn create(&mut self, request: CreateTaskRequest, reply: ReplyTo) -> Answer {
        let id = &request.id;
        if !runtime::is_identifier(id) {
            return Err(Refusal::invalid(format!("container id {id:?}: may have A-Z a-z 0-9 _ . - only")));
        }
        if self.is_ending() {
            let text = format!("container {id}: the shim is ending");
            return Err(Refusal::precondition(text));
        }
        if self.table.containers.contains_key(id) {
            return Err(Refusal::new(Code::AlreadyExists, format!("container {id} exists")));
        }
        let bundle = PathBuf::from(&request.bundle);
        let config = Config::read(&bundle).map_err(|refusal| Refusal::invalid(refusal.text))?;
        let options = Options::parse(request.options.as_ref(), |path| fs::read(path))?;
        write_for_delete(&bundle, &options)?;
        let stdio = Stdio {
            stdin: request.stdin,
            stdout: request.stdout,
            stderr: request.stderr,
            terminal: request.terminal,
        };
        let process = self.table.add_container(id, stdio, |init| Container {
            bundle,
            options,
            checkpoint: request.checkpoint,
            mounts: request.rootfs,
            shares_pids: config.shares_pids(),
            cgroup: None,
            init,
            execs: Default::default(),
        });
        self.live.insert(process, Live { askers: vec![reply], ..Live::default() });
        self.open_streams(process);
        LATER
    }

    /// Opens what a process needs, and makes it as soon as all is ready.
    pub fn open_streams(&mut self, id: ProcessId) {
        match self.try_open_streams(id) {
            Ok(true) => self.make(id),
            Ok(false) => {} // a logger says when it is ready
            Err(refusal) => self.not_made(id, refusal),
        }
    }

    fn try_open_streams(&mut self, id: ProcessId) -> Result<bool, Refusal> {
        let Some(process) = self.table.processes.get(&id) else {
            return Ok(false);
        };
        let options = &self.table.container(&process.container)?.options;
        let mut plumbing = Plumbing::new(&process.stdio, (options.io_uid, options.io_gid))?;
        if process.stdin_closed {
            plumbing.stdin = None;
        }
        let logger = match plumbing.logger.take() {
            Some((logger, fds)) => Some(Logger::start(logger, fds, &process.container, &self.namespace)?),
            None => None,
        };
        let Some(live) = self.live.get_mut(&id) else {
            return Ok(false);
        };
        live.plumbing = Some(plumbing);
        let Some(logger) = logger else {
            return Ok(true);
        };
        live.outputs += 1;
        let watched = self.poller.add(&logger.pidfd, Token::Logger(id), IN);
        let awaited = logger.awaited().map(|ready| self.poller.add(ready, Token::Logger(id), IN));
        self.loggers.insert(id, logger);
        self.timers.set(LOGGER_LIMIT, Alarm::LoggerReady(id));
        watched.and(awaited.unwrap_or(Ok(())))?;
        Ok(false)
    }

    pub fn logger_is_ready(&mut self, id: ProcessId, ready: Result<(), Refusal>) {
        match ready {
            Ok(()) => self.make(id),
            Err(refusal) => self.not_made(id, refusal),
        }
    }

    fn make(&mut self, id: ProcessId) {
        let Some(process) = self.table.processes.get(&id) else {
            return;
        };
        let launched = match process.kind {
            Kind::Init if self.container_of(id).is_ok_and(|c| !c.checkpoint.is_empty()) => {
                return self.stored(id);
            }
            Kind::Init => self.launch_create(id),
            Kind::Exec => self.launch_exec(id),
        };
        if let Err(refusal) = launched {
            self.not_made(id, refusal);
        }
    }

    fn not_made(&mut self, id: ProcessId, refusal: Refusal) {
        match self.table.processes.get(&id).map(|process| process.kind) {
            Some(Kind::Init) => self.clean(id, refusal),
            Some(Kind::Exec) => self.not_started(id, refusal),
            None => {}
        }
    }

    fn launch_create(&mut self, id: ProcessId) -> Result<(), Refusal> {
        let mut takeoff = self.prepare(id, Purpose::Create, None)?;
        let container = self.container_of(id)?;
        takeoff.option("--bundle", &container.bundle);
        let pid_file = container.bundle.join(bundle::INIT_PID);
        takeoff.option("--pid-file", &pid_file);
        if container.options.no_pivot_root {
            takeoff.command.arg("--no-pivot");
        }
        if container.options.no_new_keyring {
            takeoff.command.arg("--no-new-keyring");
        }
        let name = self.table.processes.get(&id).map(|process| process.container.clone());
        takeoff.flight.pid_file = Some(pid_file);
        let stdio = self.give_streams(id, &mut takeoff)?;
        takeoff.command.arg(name.unwrap_or_default());
        self.launch_in_root(takeoff, stdio)
    }

    /// The process's ends of its streams, for the runtime to pass on, or a socket for its terminal.
    pub fn give_streams(&mut self, id: ProcessId, takeoff: &mut Takeoff) -> Result<[OwnedFd; 3], Refusal> {
        let number = self.number();
        let bundle = self.container_of(id)?.bundle.clone();
        let plumbing = self.live.get_mut(&id).and_then(|live| live.plumbing.as_mut());
        let plumbing = plumbing.ok_or_else(|| Refusal::unknown("the streams have not been opened"))?;
        let null = || Ok::<_, Refusal>([null()?, null()?, null()?]);
        let theirs = std::mem::replace(&mut plumbing.theirs, null()?);
        if plumbing.terminal.is_some() {
            let console = Console::new(&bundle, number, &mut takeoff.flight.temporary)?;
            takeoff.option("--console-socket", &console.path);
            takeoff.flight.console = Some(console);
        }
        Ok(theirs)
    }

    pub fn created(&mut self, flight: &mut Flight, result: Result<Vec<u8>, Refusal>) {
        let id = flight.process;
        let adopted = result.and_then(|_| self.adopt(flight));
        if let Err(refusal) = adopted {
            return self.clean(id, refusal);
        }
        self.tell_created(id);
        self.watch_cgroup(id);
        self.happened(id, Event::Created);
        self.answer_created(id);
    }

    /// From now on it is known where a container's init is.
    pub fn watch_cgroup(&mut self, id: ProcessId) {
        let Some(process) = self.table.processes.get(&id) else {
            return;
        };
        let (name, cgroup) = (process.container.clone(), cgroup::of(process.pid));
        if let Some(cgroup) = &cgroup {
            self.watch_oom(id, cgroup);
        }
        if let Some(container) = self.table.containers.get_mut(&name) {
            container.cgroup = cgroup;
        }
    }

    pub fn tell_created(&mut self, id: ProcessId) {
        let Some(process) = self.table.processes.get(&id) else {
            return;
        };
        if let Some(container) = self.table.containers.get(&process.container) {
            let event = TaskCreate {
                container_id: process.container.clone(),
                bundle: container.bundle.display().to_string(),
                rootfs: container.mounts.clone(),
                io: Some(TaskIo {
                    stdin: process.stdio.stdin.clone(),
                    stdout: process.stdio.stdout.clone(),
                    stderr: process.stdio.stderr.clone(),
                    terminal: process.stdio.terminal,
                }),
                checkpoint: container.checkpoint.clone(),
                pid: process.pid,
            };
            self.publisher.publish("/tasks/create", "TaskCreate", &event);
        }
    }

    pub fn answer_created(&mut self, id: ProcessId) {
        let pid = self.table.processes.get(&id).map_or(0, |process| process.pid);
        self.reply_to_askers(id, Ok(CreateTaskResponse { pid }.encode_to_vec()));
        self.answer_listers(id);
    }

    /// Takes over a process that the runtime has made: its pidfd, its terminal, its streams.
    pub fn adopt(&mut self, flight: &Flight) -> Result<(), Refusal> {
        let pid_file = flight.pid_file.as_deref().unwrap_or(Path::new(""));
        let pid = bundle::read_pid(pid_file)?;
        // Ours since its maker has ended. One that we can't watch must not run on.
        self.take_over(flight, pid).inspect_err(|_| kill_child(pid))
    }

    fn take_over(&mut self, flight: &Flight, pid: u32) -> Result<(), Refusal> {
        let id = flight.process;
        let pidfd = pidfd_open(Pid(pid as i32)).doing(|| format!("open process {pid}"))?;
        let master = flight.console.as_ref().map(Console::receive).transpose();
        let Some(live) = self.live.get_mut(&id) else {
            return Err(Refusal::unknown("the process has been deleted"));
        };
        let Some(mut plumbing) = live.plumbing.take() else {
            return Err(Refusal::unknown("the streams have not been opened"));
        };
        let mut streams = std::mem::take(&mut plumbing.streams);
        live.stdin = plumbing.stdin.take();
        if let (Some(master), Some(terminal)) = (master?, plumbing.terminal.take()) {
            let (master, slave) = open_terminal(master)?;
            streams.extend(terminal.streams(&master)?);
            live.terminal = Some(Terminal { master, slave });
        }
        self.poller.add(&pidfd, Token::Process(id), IN)?;
        live.pidfd = Some(pidfd);
        if let Some(process) = self.table.processes.get_mut(&id) {
            process.pid = pid;
        }
        for stream in streams {
            self.begin_stream(id, stream);
        }
        Ok(())
    }

    /// Removes what a container that could not be made has left, and then says why it could not.
    fn clean(&mut self, id: ProcessId, refusal: Refusal) {
        if let Some(live) = self.live.get_mut(&id) {
            live.failure = Some(refusal);
            live.plumbing = None;
        }
        let order = Order::Delete { force: true };
        if let Err(refusal) = self.command(id, Purpose::Clean, order, None) {
            self.cleaned(id, Err(refusal));
        }
    }

    pub fn cleaned(&mut self, id: ProcessId, result: Result<(), Refusal>) {
        let failed = result.err().filter(|refusal| refusal.code != Code::NotFound);
        if let Ok(container) = self.container_of(id) {
            if failed.is_none() {
                bundle::forget(&container.bundle); // else `delete` is to try again
            }
        }
        if let Some(failed) = &failed {
            self.log.error(&failed.text);
        }
        self.table.remove(id);
        self.end_streams(id);
        if let Some(live) = self.live.remove(&id) {
            let mut why = live.failure.unwrap_or_else(|| Refusal::unknown("it could not be created"));
            if let Some(failed) = failed {
                why.text += &format!("; what that left is still there: {failed}");
            }
            for lister in live.listers {
                let gone = Refusal::not_found("the container could not be created");
                self.reply(Some(lister), Err(gone));
            }
            for asker in live.askers {
                self.reply(Some(asker), Err(why.clone()));
            }
        }
    }
}

fn null() -> Result<OwnedFd, Refusal> {
    crate::stdio::sink::null()
}

/// The master so that it doesn't block, and a slave of our own.
fn open_terminal(master: OwnedFd) -> Result<(OwnedFd, Option<OwnedFd>), Refusal> {
    rrunc::sys::terminal::set_nonblocking(master.as_fd()).doing(|| "make the terminal nonblocking".into())?;
    let slave = rrunc::sys::tty::open_peer(master.as_fd()).doing(|| "open the terminal".into())?;
    Ok((master, Some(slave)))
}

/// What `delete`, another process, has to know.
fn write_for_delete(bundle: &Path, options: &Options) -> Result<(), Refusal> {
    let json = serde_json::to_vec(options).doing(|| "the options as JSON".into())?;
    bundle::write(bundle, bundle::OPTIONS, &json)?;
    bundle::write(bundle, bundle::RUNTIME, options.binary().as_bytes())
}
