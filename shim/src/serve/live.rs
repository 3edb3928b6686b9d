//! What belongs to a process and can't be written down: fds, and who waits.

use std::fs::{self, File};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixListener;
use std::path::PathBuf;

use super::connection::ReplyTo;
use super::oom::Watch;
use crate::refusal::Refusal;
use crate::stdio::plumbing::{Plumbing, Stream};
use crate::table::ProcessId;

#[derive(Default)]
pub struct Live {
    pub pidfd: Option<OwnedFd>,
    /// Who asked for what is being done to it: its making, start or removal.
    pub askers: Vec<ReplyTo>,
    /// Who waits for its end.
    pub waiters: Vec<ReplyTo>,
    /// Who asks for its container's processes while it is being made.
    pub listers: Vec<ReplyTo>,
    /// Why its making has failed, until what that left is gone.
    pub failure: Option<Refusal>,
    /// Until it is made.
    pub plumbing: Option<Plumbing>,
    pub terminal: Option<Terminal>,
    /// The writing end of its stdin's fifo, until CloseIO.
    pub stdin: Option<OwnedFd>,
    /// Of an init: its container's kills for want of memory.
    pub oom: Option<Watch>,
    /// How many of its streams still have something to bring; a logger that still writes counts as one.
    pub outputs: usize,
}

/// A process's terminal.
pub struct Terminal {
    pub master: OwnedFd,
    /// A slave of our own until the process ends: without one the master would report a hangup whenever the
    /// container has none open just now, as when an init system opens /dev/console for each message.
    pub slave: Option<OwnedFd>,
}

/// A stream that is under way.
pub struct Running {
    pub process: ProcessId,
    pub stream: Stream,
    pub watched: Watched,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Watched {
    Nothing,
    Input,
    Room,
}

/// A program that runs for us and whose end is awaited.
pub struct Flight {
    pub process: ProcessId,
    pub purpose: Purpose,
    pub pid: u32,
    pub pidfd: OwnedFd,
    pub reply: Option<ReplyTo>,
    pub log: PathBuf,
    /// What it printed and complained, where its stdout and stderr aren't the container's.
    pub printed: Option<File>,
    pub complained: Option<File>,
    pub temporary: Temporary,
    pub console: Option<Console>,
    pub pid_file: Option<PathBuf>,
    /// Where criu works, and where it has saved a container.
    pub work: Option<PathBuf>,
    pub images: Option<PathBuf>,
}

/// Files of a command, gone with it.
#[derive(Default)]
pub struct Temporary(Vec<PathBuf>);

impl Temporary {
    /// One that is about to be made.
    pub fn push(&mut self, path: PathBuf) {
        self.0.push(path);
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        for path in &self.0 {
            // It may never have been made; criu's directory is one of ours too.
            let _ = fs::remove_file(path).or_else(|_| fs::remove_dir_all(path));
        }
    }
}

/// Where a terminal arrives: a socket in the bundle, which is named by an fd since its path may be longer than a
/// socket's address can be.
pub struct Console {
    pub listener: UnixListener,
    pub dir: File,
    pub path: PathBuf,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    Create,
    Start,
    Exec,
    Delete,
    Pause,
    Resume,
    Kill,
    /// What is left of a container whose init has ended.
    KillRest,
    List,
    Update,
    Checkpoint,
    Restore,
    /// What a create that failed may have left.
    Clean,
}

impl Purpose {
    /// As the runtime's command line and errors call it.
    pub fn word(self) -> &'static str {
        match self {
            Purpose::Create => "create",
            Purpose::Start => "start",
            Purpose::Exec => "exec",
            Purpose::Delete | Purpose::Clean => "delete",
            Purpose::Pause => "pause",
            Purpose::Resume => "resume",
            Purpose::Kill | Purpose::KillRest => "kill",
            Purpose::List => "ps",
            Purpose::Update => "update",
            Purpose::Checkpoint => "checkpoint",
            Purpose::Restore => "restore",
        }
    }
}
