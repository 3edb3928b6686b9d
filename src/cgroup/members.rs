//! What a cgroup holds: its processes and the cgroups below it, which a container with a cgroup namespace may
//! have made as many and as deep as it liked. So they are walked by fd, one open at a time.

use std::collections::BTreeSet;
use std::ffi::CString;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

use super::{Cgroup, Unit, files};
use crate::error::{Doing, Error, Kind, Result};
use crate::log;
use crate::sys::fs::{self as sys, resolve};
use crate::sys::process::{pidfd_open, pidfd_send_signal};
use crate::sys::{Call, Errno, Fail, Pid, Signal, poll};

/// How long the kernel may take to let go of killed processes, or to freeze all.
const PATIENCE: Duration = Duration::from_secs(10);
/// How many processes are signalled at a time: each of them is an open file, and afterwards all members are listed again.
const BATCH: usize = 256;
/// How often new ones are looked for: who forks before the signal comes is mostly found in the second round.
const ROUNDS: u32 = 5;

impl Cgroup {
    /// Removed by somebody else, as far as can be told.
    pub fn is_gone(&self) -> bool {
        let events = files::value(self.fd(), "cgroup.events").map(|_| false);
        unless_gone(events, true).unwrap_or(false)
    }

    /// Whether there are cgroups below it.
    pub fn has_cgroups_below(&self) -> Result<bool> {
        let found = below(self.fd()).doing(|| format!("list {}", self.path.display()))?;
        Ok(!found.is_empty())
    }

    /// Whether a process lives in it or below; a zombie doesn't.
    pub fn is_populated(&self) -> Result<bool> {
        let events = files::value(self.fd(), "cgroup.events");
        let populated = events.map(|events| files::keyed(&events, "populated ") == Some(1));
        unless_gone(populated, false).doing(|| format!("read {}/cgroup.events", self.path.display()))
    }

    /// The processes in it and in all below it.
    pub fn pids(&self) -> Result<Vec<Pid>> {
        self.pids_but(&[])
    }

    /// The same without those in the cgroups with these inodes.
    fn pids_but(&self, but: &[u64]) -> Result<Vec<Pid>> {
        let mut found = Vec::new();
        let walked = walk(self.fd(), but, |dir| match files::read(dir, "cgroup.procs") {
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
        match files::write(self.fd(), "cgroup.kill", "1") {
            Err(fail) if fail.errno == Errno::ENOENT && !self.is_gone() => self.signal_all(&[], Signal::KILL),
            done => unless_gone(done, ()).doing(|| format!("kill all in {}", self.path.display())),
        }
    }

    /// A signal for every process in it and below, but not in the cgroups with these inodes: also for those that are
    /// made meanwhile by one that did not have it yet. After SIGKILL nobody is left, or it is an error; what is made in
    /// spite of another signal, to replace whom it ended, is not pursued for long.
    pub fn signal_all(&self, but: &[u64], signal: Signal) -> Result<()> {
        let deadline = Instant::now() + PATIENCE;
        let mut done = BTreeSet::new();
        for round in 1.. {
            let mut pids = self.pids_but(but)?;
            // 0 is one that can't be seen from our pid namespace.
            pids.retain(|pid| pid.0 != 0 && !done.contains(pid));
            if pids.is_empty() || (signal != Signal::KILL && round > ROUNDS) {
                break;
            }
            if Instant::now() >= deadline {
                let (path, seconds) = (self.path.display(), PATIENCE.as_secs());
                let text =
                    format!("kill all in {path}: for {seconds} s new processes were made all the time");
                return Err(Error::new(Kind::WrongStatus, text).hint("pause the container first"));
            }
            self.signal_each(&pids, but, signal)?;
            done.extend(pids);
        }
        Ok(())
    }

    /// By pidfd, and to those only that are members still after it was opened: a pid that was listed may belong to a
    /// stranger by now. In batches, of as many as we may have open.
    fn signal_each(&self, pids: &[Pid], but: &[u64], signal: Signal) -> Result<()> {
        let (mut rest, mut size) = (pids, BATCH);
        while !rest.is_empty() {
            let (batch, after) = rest.split_at(size.min(rest.len()));
            match self.signal_batch(batch, but, signal) {
                Err(error) if size > 1 && is_out_of_files(&error) => size /= 2,
                done => {
                    done?;
                    rest = after;
                }
            }
        }
        Ok(())
    }

    fn signal_batch(&self, pids: &[Pid], but: &[u64], signal: Signal) -> Result<()> {
        let mut opened = vec![];
        for pid in pids {
            match pidfd_open(*pid) {
                Err(fail) if fail.errno == Errno::ESRCH => {} // it has ended
                pidfd => opened.push((*pid, pidfd.doing(|| format!("open process {pid}"))?)),
            }
        }
        let members: BTreeSet<_> = self.pids_but(but)?.into_iter().collect();
        for (pid, pidfd) in opened.iter().filter(|(pid, _)| members.contains(pid)) {
            match pidfd_send_signal(pidfd.as_fd(), signal) {
                Err(fail) if fail.errno == Errno::ESRCH => {}
                sent => sent.doing(|| format!("send {signal} to {pid}"))?,
            }
        }
        Ok(())
    }

    /// Waits until no process lives in it, at most `limit`; whether that is so.
    pub fn empties(&self, limit: Duration) -> Result<bool> {
        let empty = self.wait_for("populated ", 0, Instant::now() + limit);
        unless_gone(empty, true).doing(|| format!("read {}/cgroup.events", self.path.display()))
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

fn is_out_of_files(error: &Error) -> bool {
    error.fail.is_some_and(|fail| matches!(fail.errno, Errno::EMFILE | Errno::ENFILE))
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

/// Visits `top` and every cgroup below it, a parent before its children, but not those with the inodes `but`.
fn walk(
    top: BorrowedFd,
    but: &[u64],
    mut visit: impl FnMut(BorrowedFd) -> Result<(), Fail>,
) -> Result<(), Fail> {
    visit(top)?;
    let mut pending = vec![below(top)?];
    let mut here = None::<OwnedFd>;
    while let Some(names) = pending.last_mut() {
        let dir = here.as_ref().map_or(top, |dir| dir.as_fd());
        let next = match names.pop() {
            Some(name) => match enter(dir, &name) {
                Ok(child) if !but.is_empty() && but.contains(&sys::stat(child.as_fd())?.ino) => continue,
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
