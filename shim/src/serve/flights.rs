//! Programs that run for us: the runtime's commands. Each is a child whose end is an event like any other, so that
//! none is ever waited for.

use std::ffi::OsStr;
use std::fs::File;
use std::io::{Read, Seek, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixListener;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use nix::sys::signal;
use rrunc::sys::process::{Child, Exit, pidfd_open, wait};
use rrunc::sys::types::Pid;

use super::Shim;
use super::connection::ReplyTo;
use super::live::{Console, Flight, Purpose, Temporary};
use super::poller::{IN, Token};
use crate::order::Order;
use crate::refusal::{Doing, Refusal};
use crate::table::ProcessId;
use crate::{bundle, mounts, runtime};

/// A command of the runtime that is about to be given.
pub struct Takeoff {
    pub command: Command,
    pub flight: FlightPlan,
}

/// What is known of a flight before it has begun.
pub struct FlightPlan {
    pub process: ProcessId,
    pub purpose: Purpose,
    pub reply: Option<ReplyTo>,
    pub log: PathBuf,
    pub printed: Option<File>,
    pub complained: Option<File>,
    pub temporary: Temporary,
    pub console: Option<Console>,
    pub pid_file: Option<PathBuf>,
    pub work: Option<PathBuf>,
    pub images: Option<PathBuf>,
}

impl Shim {
    /// A command for a container's runtime, to be continued with arguments. Its log is its own, so that no other's
    /// error is taken for its.
    pub fn prepare(
        &mut self,
        process: ProcessId,
        purpose: Purpose,
        reply: Option<ReplyTo>,
    ) -> Result<Takeoff, Refusal> {
        let number = self.number();
        let container = self.container_of(process)?;
        let log = match purpose {
            Purpose::Create => container.bundle.join("log.json"),
            _ => container.bundle.join(format!("log-{number}.json")),
        };
        let mut command = runtime::command(&container.options, &self.namespace, &log);
        command.arg(purpose.word()).stdin(Stdio::null());
        let mut temporary = Temporary::default();
        temporary.push(log.clone());
        Ok(Takeoff {
            command,
            flight: FlightPlan {
                process,
                purpose,
                reply,
                temporary,
                log,
                printed: None,
                complained: None,
                console: None,
                pid_file: None,
                work: None,
                images: None,
            },
        })
    }

    /// One that prints nothing into a container.
    pub fn captured(
        &mut self,
        process: ProcessId,
        purpose: Purpose,
        reply: Option<ReplyTo>,
    ) -> Result<Takeoff, Refusal> {
        let mut takeoff = self.prepare(process, purpose, reply)?;
        let (printed, complained) = (memory()?, memory()?);
        let copy = |file: &File| file.try_clone().doing(|| "copy an fd".into());
        takeoff.command.stdout(copy(&printed)?).stderr(copy(&complained)?);
        takeoff.flight.printed = Some(printed);
        takeoff.flight.complained = Some(complained);
        Ok(takeoff)
    }

    /// The same, given at once: it ends as an event with what it has printed.
    pub fn command(
        &mut self,
        process: ProcessId,
        purpose: Purpose,
        order: Order,
        reply: Option<ReplyTo>,
    ) -> Result<(), Refusal> {
        let id = self.table.processes.get(&process);
        let id = id.map(|process| process.container.clone()).unwrap_or_default();
        let mut takeoff = self.captured(process, purpose, reply)?;
        let (words, input) = order.words(&id);
        let input = input.map(filled).transpose()?;
        let container = self.container_of(process)?;
        let options = container.options.clone();
        let removes = matches!(purpose, Purpose::Delete | Purpose::Clean) && !container.mounts.is_empty();
        if options.is_rrunc() || removes {
            let bundle = removes.then(|| container.bundle.clone());
            let namespace = self.namespace.clone();
            return self.launch_copy(takeoff.flight, input, |purpose, log| {
                let status = match options.is_rrunc() {
                    true => order.carry_out(purpose, &options.state(&namespace), &id, log),
                    false => {
                        let mut command = runtime::command(&options, &namespace, log);
                        runtime::execute(command.arg(purpose.word()).args(words), log)
                    }
                };
                // Removing what a failed create has left goes on whatever the runtime says of it.
                let gone =
                    status == 0 || purpose == Purpose::Clean || runtime::knows_none(purpose.word(), log);
                if let Some(bundle) = bundle.filter(|_| gone) {
                    mounts::unmount_bundle(&bundle);
                }
                status
            });
        }
        takeoff.command.args(words);
        if let Some(input) = input {
            takeoff.command.stdin(input);
        }
        self.launch(takeoff)
    }

    /// A copy of us that does something that may take its time.
    fn launch_copy(
        &mut self,
        flight: FlightPlan,
        input: Option<File>,
        work: impl FnOnce(Purpose, &Path) -> i32,
    ) -> Result<(), Refusal> {
        let stdin = input.map_or_else(crate::stdio::sink::null, |file| Ok(file.into()))?;
        let (Some(printed), Some(complained)) = (&flight.printed, &flight.complained) else {
            return Err(Refusal::unknown("nowhere to print"));
        };
        let stdio = [stdin.as_fd(), printed.as_fd(), complained.as_fd()];
        let (purpose, log) = (flight.purpose, flight.log.clone());
        let pid =
            crate::sys::fork(stdio, || work(purpose, &log)).doing(|| "make a copy of the shim".into())?;
        self.take_off(pid, flight)
    }

    /// The runtime, which has these for stdin, stdout and stderr, for a container whose root is mounted before: by a
    /// copy of us that then becomes the runtime, for a file system may be long in coming.
    pub fn launch_in_root(&mut self, mut takeoff: Takeoff, stdio: [OwnedFd; 3]) -> Result<(), Refusal> {
        let container = self.container_of(takeoff.flight.process)?;
        if container.mounts.is_empty() {
            takeoff.stdio(stdio);
            return self.launch(takeoff);
        }
        let (mounts, rootfs) = (container.mounts.clone(), container.bundle.join(bundle::ROOTFS));
        let Takeoff { mut command, flight } = takeoff;
        command.stdin(Stdio::inherit());
        let name = command.get_program().to_string_lossy().into_owned();
        let work = || {
            let mounted = mounts::mount_all(&mounts, &rootfs);
            let executed = mounted.and_then(|()| Err(runtime::not_executable(&name, &command.exec())));
            runtime::exit_status(executed, &flight.log)
        };
        let pid = crate::sys::fork(stdio.each_ref().map(AsFd::as_fd), work);
        self.take_off(pid.doing(|| "make a copy of the shim".into())?, flight)
    }

    pub fn launch(&mut self, takeoff: Takeoff) -> Result<(), Refusal> {
        let Takeoff { mut command, flight } = takeoff;
        let name = command.get_program().to_owned();
        let child = command.spawn();
        let child = child.map_err(|error| runtime::not_executable(&name.to_string_lossy(), &error))?;
        drop(command); // and with it our copies of what the process has for stdio
        self.take_off(child.id(), flight)
    }

    fn take_off(&mut self, pid: u32, flight: FlightPlan) -> Result<(), Refusal> {
        let number = self.number();
        let pidfd = pidfd_open(Pid(pid as i32)).doing(|| "open a pidfd".into());
        let watched = pidfd.and_then(|pidfd| {
            self.poller.add(&pidfd, Token::Flight(number), IN)?;
            Ok(pidfd)
        });
        let pidfd = watched.inspect_err(|_| kill_child(pid))?; // nobody would hear of its end
        self.flights.insert(
            number,
            Flight {
                process: flight.process,
                purpose: flight.purpose,
                pid,
                pidfd,
                reply: flight.reply,
                log: flight.log,
                printed: flight.printed,
                complained: flight.complained,
                temporary: flight.temporary,
                console: flight.console,
                pid_file: flight.pid_file,
                work: flight.work,
                images: flight.images,
            },
        );
        Ok(())
    }

    pub(super) fn landed(&mut self, number: u64) {
        let Some(flight) = self.flights.get(&number) else {
            return;
        };
        let exit = match wait(Child::Pidfd(flight.pidfd.as_fd())) {
            Ok(None) => return,
            Ok(Some((_, exit))) => Ok(exit),
            Err(fail) => Err(fail),
        };
        let Some(mut flight) = self.flights.remove(&number) else {
            return;
        };
        self.poller.remove(&flight.pidfd);
        let status = match exit {
            Ok(Exit::Status(0)) => None,
            Ok(Exit::Status(status)) => Some(format!("exit status {status}")),
            Ok(Exit::Signal(signal)) => Some(format!("killed by signal {}", signal.0)),
            Err(fail) => Some(fail.to_string()),
        };
        let result = match status {
            None => Ok(content(flight.printed.as_mut())),
            Some(status) => {
                let complaint = content(flight.complained.as_mut());
                let said = runtime::last_error(&flight.log);
                Err(runtime::failure(flight.purpose.word(), &status, said, &complaint))
            }
        };
        self.arrived(&mut flight, result);
        self.go_on_removing(flight.process);
    }
}

/// One that nobody has reaped: it is what the number means.
pub fn kill_child(pid: u32) {
    let _ = signal::kill(nix::unistd::Pid::from_raw(pid as i32), signal::Signal::SIGKILL); // it may have ended
}

/// A file without a name that holds this.
fn filled(bytes: &[u8]) -> Result<File, Refusal> {
    let mut file = memory()?;
    let filled = file.write_all(bytes).and_then(|()| file.rewind());
    filled.doing(|| "write a memfd".into())?;
    Ok(file)
}

/// A file without a name.
pub fn memory() -> Result<File, Refusal> {
    let fd = rrunc::sys::fs::memfd(c"rrunc-shim");
    Ok(File::from(fd.doing(|| "make a memfd".into())?))
}

pub fn content(file: Option<&mut File>) -> Vec<u8> {
    let mut bytes = vec![];
    if let Some(file) = file {
        let _ = file.rewind().and_then(|()| file.read_to_end(&mut bytes)); // what can't be read hasn't been said
    }
    bytes
}

impl Console {
    pub fn new(bundle: &Path, number: u64, temporary: &mut Temporary) -> Result<Console, Refusal> {
        use std::os::fd::AsRawFd;
        let doing = || format!("make a socket for the terminal in {}", bundle.display());
        let dir = File::open(bundle).doing(doing)?;
        let name = format!("console-{number}.sock");
        let fd = dir.as_raw_fd();
        temporary.push(bundle.join(&name));
        let listener = UnixListener::bind(format!("/proc/self/fd/{fd}/{name}")).doing(doing)?;
        listener.set_nonblocking(true).doing(doing)?;
        Ok(Console { listener, path: format!("/proc/{}/fd/{fd}/{name}", std::process::id()).into(), dir })
    }

    /// The terminal, which has been sent by now if it was sent at all.
    pub fn receive(&self) -> Result<std::os::fd::OwnedFd, Refusal> {
        let doing = || "receive the terminal".to_string();
        let (socket, _) = self.listener.accept().doing(doing)?;
        socket.set_nonblocking(true).doing(doing)?;
        let (_, master) = rrunc::sys::net::receive(socket.as_fd(), &mut [0; 4096]).doing(doing)?;
        master.ok_or("none came").doing(doing)
    }
}

impl Takeoff {
    pub fn stdio(&mut self, [stdin, stdout, stderr]: [OwnedFd; 3]) {
        self.command.stdin(stdin).stdout(stdout).stderr(stderr);
    }

    pub fn option(&mut self, name: &str, value: impl AsRef<OsStr>) {
        self.command.arg(name).arg(value);
    }
}
