//! What a cgroup holds: its processes and the cgroups below it, which a container with a cgroup namespace may
//! have made as many and as deep as it liked. So they are walked by fd, one open at a time.

use std::ffi::CString;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

use super::{Cgroup, Unit, files};
use crate::error::{Doing, Error, Result};
use crate::log;
use crate::sys::fs::{self as sys, resolve};
use crate::sys::{Call, Errno, Fail, Pid, poll};

/// How long the kernel may take to let go of killed processes, or to freeze all.
const PATIENCE: Duration = Duration::from_secs(10);

impl Cgroup {
    /// Removed by somebody else.
    pub fn is_gone(&self) -> bool {
        files::value(self.fd(), "cgroup.events").is_err()
    }

    /// Whether a process lives in it or below; a zombie doesn't.
    pub fn is_populated(&self) -> Result<bool> {
        let events = files::value(self.fd(), "cgroup.events");
        let populated = events.map(|events| files::keyed(&events, "populated ") == Some(1));
        unless_gone(populated, false).doing(|| format!("read {}/cgroup.events", self.path.display()))
    }

    /// The processes in it and in all below it.
    pub fn pids(&self) -> Result<Vec<Pid>> {
        let mut found = Vec::new();
        let walked = walk(self.fd(), |dir| match files::read(dir, "cgroup.procs") {
            Ok(pids) => {
                found.extend(pids.lines().filter_map(|pid| pid.parse().ok()).map(Pid));
                Ok(())
            }
            // Threaded: then the processes are listed further up.
            Err(fail) if fail.errno == Errno::EOPNOTSUPP => Ok(()),
            Err(fail) => unless_gone(Err(fail), ()),
        });
        walked.doing(|| format!("read the processes of {}", self.path.display()))?;
        Ok(found)
    }

    /// Moves a process to `place`, which is this cgroup or one below it. As clone3(2) would, it refuses one more than
    /// pids.max there allows: a process that is moved isn't counted against it (cgroup-v2.rst, PID).
    pub fn take_in(&self, place: BorrowedFd, pid: Pid) -> Result<()> {
        let doing = || format!("move a process to {}", self.path.display());
        files::write(place, "cgroup.procs", &pid.to_string()).doing(doing)?;
        for dir in [place, self.fd()] {
            let number = |file| files::value(dir, file).ok()?.trim().parse::<u64>().ok();
            if let (Some(now), Some(most)) = (number("pids.current"), number("pids.max")) {
                if now > most {
                    return Err(Error::kernel(doing(), Fail::new(Call::Clone, Errno::EAGAIN))
                        .hint(format!("pids.max: {most} processes are there already")));
                }
            }
        }
        Ok(())
    }

    /// SIGKILL to every process in it and below, frozen ones too (cgroup.kill, Linux 5.14).
    pub fn kill(&self) -> Result<()> {
        let done = files::write(self.fd(), "cgroup.kill", "1");
        unless_gone(done, ()).doing(|| format!("kill all in {}", self.path.display()))
    }

    /// Stops every process in it and below. Returns when all stand still; if some don't, all run again.
    pub fn freeze(&self) -> Result<()> {
        let doing = || format!("freeze {}", self.path.display());
        files::write(self.fd(), "cgroup.freeze", "1").doing(doing)?;
        match self.wait_for("frozen ", 1, Instant::now() + PATIENCE).doing(doing)? {
            true => Ok(()),
            false => {
                self.thaw()?;
                let fail = Fail::new(Call::Poll, Errno::ETIMEDOUT);
                Err(Error::kernel(doing(), fail).hint("a process is stuck in the kernel; they run again"))
            }
        }
    }

    /// Lets them run again, as far as no cgroup above is frozen.
    pub fn thaw(&self) -> Result<()> {
        let done = files::write(self.fd(), "cgroup.freeze", "0");
        done.doing(|| format!("thaw {}", self.path.display()))
    }

    /// Whether it was asked to stand still; no if it is gone.
    pub fn is_frozen(&self) -> Result<bool> {
        let asked = files::value(self.fd(), "cgroup.freeze").map(|content| content.trim() == "1");
        unless_gone(asked, false).doing(|| format!("read {}/cgroup.freeze", self.path.display()))
    }

    /// Removes it with all below it, once the killed processes are gone. What isn't there is fine.
    ///
    /// systemd removes what it has made. Where it can't be asked any more, since the user's session is over, say, the
    /// directory is all that is left.
    pub fn remove(&self) -> Result<()> {
        match self.unit().map_or(Ok(()), Unit::stop) {
            Ok(()) => self.remove_directory(),
            Err(error) => {
                log::debug(|| error.to_string());
                self.remove_directory().map_err(|_| error)
            }
        }
    }

    fn remove_directory(&self) -> Result<()> {
        let doing = || format!("remove the cgroup {}", self.path.display());
        let root = self.made.hierarchy.fd();
        let name = files::name(&self.place).doing(doing)?;
        let deadline = Instant::now() + PATIENCE;
        loop {
            match sys::rmdir(root, &name) {
                Err(fail) if fail.errno == Errno::EBUSY && Instant::now() < deadline => {}
                done => {
                    let busy =
                        "processes of the container are still there, or somebody made a cgroup below it";
                    return unless_gone(done, ()).doing(doing).map_err(|error| error.hint(busy));
                }
            }
            // In this order: while there are processes they might make cgroups.
            let empty = self.wait_for("populated ", 0, deadline);
            if unless_gone(empty, true).doing(doing)? {
                match remove_below(self.fd(), deadline) {
                    Err(fail) if fail.errno == Errno::EBUSY => {}
                    done => unless_gone(done, ()).doing(doing)?,
                }
            }
        }
    }

    /// Waits until cgroup.events says so, or until the deadline; whether it does.
    ///
    /// The kernel tells of a change at once or, if it told of another one just before, within some 10 ms
    /// (CGROUP_FILE_NOTIFY_MIN_INTV). So the first waits are shorter than that.
    fn wait_for(&self, key: &str, wanted: u64, deadline: Instant) -> Result<bool, Fail> {
        let file = files::open(self.fd(), "cgroup.events", libc::O_RDONLY)?;
        let mut wait = Duration::from_micros(500);
        loop {
            let events = files::value_of(file.as_fd())?;
            if files::keyed(&events, key) == Some(wanted) {
                return Ok(true);
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(false);
            }
            wait = (wait * 2).min(Duration::from_millis(100));
            poll::changed(file.as_fd(), wait.min(left).as_millis().max(1) as i64)?;
            sys::rewind(file.as_fd())?;
        }
    }
}

/// A cgroup that was removed meanwhile is ENOENT to open(2) and ENODEV to read(2) and write(2).
fn unless_gone<T>(done: Result<T, Fail>, gone: T) -> Result<T, Fail> {
    match done {
        Err(fail) if matches!(fail.errno, Errno::ENOENT | Errno::ENODEV) => Ok(gone),
        done => done,
    }
}

fn below(dir: BorrowedFd) -> Result<Vec<CString>, Fail> {
    let mut found = Vec::new();
    sys::rewind(dir)?; // it may have been listed before
    let listed = sys::for_each_typed_entry(dir, |name, kind| {
        if kind == libc::DT_DIR {
            found.push(name.to_owned());
        }
        Ok(())
    });
    unless_gone(listed, ())?;
    Ok(found)
}

fn enter(dir: BorrowedFd, name: &CString) -> Result<OwnedFd, Fail> {
    let flags = libc::O_RDONLY | libc::O_DIRECTORY | libc::O_NOFOLLOW;
    sys::open(dir, name, flags, 0, resolve::BENEATH_PLAIN)
}

/// Only from below the top, and cgroups are never renamed.
fn back(dir: BorrowedFd) -> Result<OwnedFd, Fail> {
    sys::open(dir, c"..", libc::O_RDONLY | libc::O_DIRECTORY, 0, resolve::HOST)
}

/// Visits `top` and every cgroup below it, a parent before its children.
fn walk(top: BorrowedFd, mut visit: impl FnMut(BorrowedFd) -> Result<(), Fail>) -> Result<(), Fail> {
    visit(top)?;
    let mut pending = vec![below(top)?];
    let mut here = None::<OwnedFd>;
    while let Some(names) = pending.last_mut() {
        let dir = here.as_ref().map_or(top, |dir| dir.as_fd());
        let next = match names.pop() {
            Some(name) => match enter(dir, &name) {
                Ok(child) => {
                    visit(child.as_fd())?;
                    pending.push(below(child.as_fd())?);
                    child
                }
                Err(fail) if fail.errno == Errno::ENOENT => continue,
                Err(fail) => return Err(fail),
            },
            None => {
                pending.pop();
                if pending.is_empty() {
                    return Ok(());
                }
                back(dir)?
            }
        };
        here = Some(next);
    }
    Ok(())
}

/// Removes every cgroup below `top`, deepest first, until the deadline. EBUSY if one has a process.
fn remove_below(top: BorrowedFd, deadline: Instant) -> Result<(), Fail> {
    let mut pending = vec![below(top)?];
    let mut here = None::<OwnedFd>;
    while let Some(names) = pending.last_mut() {
        let dir = here.as_ref().map_or(top, |dir| dir.as_fd());
        let next = match names.pop() {
            Some(name) => match unless_gone(sys::rmdir(dir, &name), ()) {
                Ok(()) => continue,
                Err(fail) if fail.errno == Errno::EBUSY && Instant::now() < deadline => {
                    let child = enter(dir, &name)?;
                    let children = below(child.as_fd())?;
                    if children.is_empty() {
                        return Err(fail);
                    }
                    names.push(name);
                    pending.push(children);
                    child
                }
                Err(fail) => return Err(fail),
            },
            None => {
                pending.pop();
                if pending.is_empty() {
                    return Ok(());
                }
                back(dir)?
            }
        };
        here = Some(next);
    }
    Ok(())
}
