//! Opens what a client named for a process's streams, without ever waiting for the other side.

use std::fs::{DirBuilder, OpenOptions};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::Path;

use nix::fcntl::OFlag;
use nix::unistd::{Gid, Uid};

use super::uri::Target;
use crate::refusal::{Doing, Refusal};

/// Where output goes.
pub struct Sink {
    pub fd: OwnedFd,
    /// The reading end of a fifo, held so that writing never fails, whoever reads comes and goes.
    pub hold: Option<OwnedFd>,
    /// Else it is a file or a device, which never blocks.
    pub is_pipe: bool,
}

/// Where input comes from.
pub struct Source {
    pub fd: OwnedFd,
    /// The writing end, held until CloseIO, so that a client may come back.
    pub hold: OwnedFd,
}

fn nonblocking(path: &Path, write: bool) -> Result<OwnedFd, Refusal> {
    let mut options = OpenOptions::new();
    options.read(!write).write(write);
    let file = options.custom_flags(OFlag::O_NONBLOCK.bits()).open(path);
    Ok(file.doing(|| format!("open {}", path.display()))?.into())
}

/// `None` for no output at all.
pub fn open(target: &Target) -> Result<Option<Sink>, Refusal> {
    match target {
        Target::Null | Target::Logger(_) => Ok(None),
        Target::Fifo(path) => {
            // Reading first: a fifo without readers can't be opened for writing without waiting (fifo(7)).
            let reading = nonblocking(path, false)?;
            let fd = nonblocking(path, true)?;
            let stat = nix::sys::stat::fstat(&fd).doing(|| format!("stat {}", path.display()))?;
            let is_pipe = stat.st_mode & libc::S_IFMT == libc::S_IFIFO;
            if !is_pipe {
                // A file may have something in it, and get stdout and stderr.
                let flags = nix::fcntl::FcntlArg::F_SETFL(OFlag::O_APPEND | OFlag::O_NONBLOCK);
                nix::fcntl::fcntl(&fd, flags).doing(|| format!("append to {}", path.display()))?;
            }
            Ok(Some(Sink { fd, hold: is_pipe.then_some(reading), is_pipe }))
        }
        Target::File(path) => {
            let doing = || format!("open {}", path.display());
            if let Some(parent) = path.parent() {
                DirBuilder::new().recursive(true).mode(0o755).create(parent).doing(doing)?;
            }
            let file = OpenOptions::new().append(true).create(true).mode(0o644).open(path);
            Ok(Some(Sink { fd: file.doing(doing)?.into(), hold: None, is_pipe: false }))
        }
    }
}

/// `None` for no input at all.
pub fn source(target: &Target) -> Result<Option<Source>, Refusal> {
    match target {
        Target::Null => Ok(None),
        Target::Fifo(path) => {
            let fd = nonblocking(path, false)?;
            let hold = nonblocking(path, true)?;
            Ok(Some(Source { fd, hold }))
        }
        Target::File(path) => {
            Err(Refusal::invalid(format!("stdin file://{}: only a fifo can be stdin", path.display())))
        }
        Target::Logger(_) => Err(Refusal::invalid("stdin binary://: only a fifo can be stdin")),
    }
}

pub fn null() -> Result<OwnedFd, Refusal> {
    let file = OpenOptions::new().read(true).write(true).open("/dev/null");
    Ok(file.doing(|| "open /dev/null".into())?.into())
}

/// A pipe for a process: our end doesn't block, and the other belongs to who the process's root is.
pub struct Pipe {
    pub ours: OwnedFd,
    pub theirs: OwnedFd,
}

#[derive(Clone, Copy)]
pub enum Direction {
    ToProcess,
    FromProcess,
}

pub fn pipe(direction: Direction, owner: (u32, u32)) -> Result<Pipe, Refusal> {
    let doing = || "make a pipe".to_string();
    let (read, write) = nix::unistd::pipe2(OFlag::O_CLOEXEC).doing(doing)?;
    let (ours, theirs) = match direction {
        Direction::ToProcess => (write, read),
        Direction::FromProcess => (read, write),
    };
    nix::fcntl::fcntl(&ours, nix::fcntl::FcntlArg::F_SETFL(OFlag::O_NONBLOCK)).doing(doing)?;
    if owner != (0, 0) {
        let (uid, gid) = (Uid::from_raw(owner.0), Gid::from_raw(owner.1));
        nix::unistd::fchown(theirs.as_fd(), Some(uid), Some(gid))
            .doing(|| "give a pipe to IoUid, IoGid".into())?;
    }
    Ok(Pipe { ours, theirs })
}
