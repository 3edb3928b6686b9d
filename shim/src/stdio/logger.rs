//! A program that gets a process's output: fd 3 is its stdout, 4 its stderr, and by 5 it tells that it is ready.

use std::fs::File;
use std::io::Read;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::process::{Command, Stdio};

use nix::fcntl::{FcntlArg, OFlag, fcntl};
use rrunc::sys::process::{Signal, pidfd_open, pidfd_send_signal};
use rrunc::sys::types::Pid;

use super::uri;
use crate::refusal::{Doing, Refusal};
use crate::sys;

pub struct Logger {
    name: String,
    pub pid: u32,
    pub pidfd: OwnedFd,
    ready: Option<File>,
    says_ready: bool,
    is_ending: bool,
}

impl Logger {
    pub fn start(
        logger: uri::Logger,
        fds: [OwnedFd; 2],
        container: &str,
        namespace: &str,
    ) -> Result<Logger, Refusal> {
        let name = logger.program.display().to_string();
        let doing = || format!("start the logger {name}");
        let (ready, tell) = nix::unistd::pipe2(OFlag::O_CLOEXEC).doing(doing)?;
        fcntl(&ready, FcntlArg::F_SETFL(OFlag::O_NONBLOCK)).doing(doing)?;
        let mut command = Command::new(&logger.program);
        command
            .args(&logger.args)
            .env_clear()
            .env("CONTAINER_ID", container)
            .env("CONTAINER_NAMESPACE", namespace)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        let [out, err] = fds;
        sys::unblock_signals(&mut command);
        sys::pass_fds(&mut command, vec![out, err, tell]);
        let child = command.spawn().doing(doing)?;
        let pidfd = pidfd_open(Pid(child.id() as i32)).doing(doing)?;
        Ok(Logger {
            pid: child.id(),
            pidfd,
            ready: Some(File::from(ready)),
            says_ready: logger.says_ready,
            is_ending: false,
            name,
        })
    }

    /// Where it tells that it is ready, until it has.
    pub fn awaited(&self) -> Option<BorrowedFd<'_>> {
        self.ready.as_ref().map(File::as_fd)
    }

    /// What it has told, which it does once: true for ready, false for nothing yet.
    pub fn is_ready(&mut self) -> Result<bool, Refusal> {
        let Some(mut pipe) = self.ready.take() else {
            return Ok(true);
        };
        match pipe.read(&mut [0]) {
            Ok(0) if self.says_ready => Err(Refusal::unknown(format!(
                "logger {}: ended or closed fd 5 without a byte that says that it is ready",
                self.name
            ))),
            Ok(_) => Ok(true),
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {
                self.ready = Some(pipe);
                Ok(false)
            }
            Err(error) => Err(error).doing(|| format!("logger {}", self.name)),
        }
    }

    /// It is not waited for any longer, if it still was.
    pub fn give_up(&mut self) -> Option<Refusal> {
        self.ready.take()?;
        Some(Refusal::unknown(format!("logger {}: has not said on fd 5 that it is ready", self.name)))
    }

    /// Asks it to end.
    pub fn end(&mut self) {
        self.is_ending = true;
        self.signal(Signal(libc::SIGTERM));
    }

    pub fn is_ending(&self) -> bool {
        self.is_ending
    }

    pub fn signal(&self, signal: Signal) {
        let _ = pidfd_send_signal(self.pidfd.as_fd(), signal); // gone already
    }
}
