//! The boundary: the one place where one process becomes two. The parent's half is here; the child's half is
//! `init`, and whatever it may touch is in [`Prepared`].

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use crate::channel::{self, ChildEnd, ParentEnd, Report, ToChild, ToParent};
use crate::error::{Doing, Error, Kind, Result};
use crate::init;
use crate::plan::Plan;
use crate::plan::namespaces::{PID, TIME, USER};
use crate::prepare::Prepared;
use crate::sys::clone::{self, Who};
use crate::sys::process::{self, Exit};
use crate::sys::shared::Progress;
use crate::sys::{Call, Errno, Fail, Pid, fs, ids, net, sched};

/// The container's first process, as its parent holds it. Dropped, it is killed and reaped, unless released.
#[derive(Debug)]
pub struct Init {
    pub pid: Pid,
    pidfd: OwnedFd,
    released: bool,
    channel: ParentEnd,
    progress: Progress,
}

/// What a child comes to a halt for.
#[derive(Debug)]
pub enum Halt {
    IdMaps,
    NetDevices,
    HostHooks,
    Ready,
    /// The seccomp filter is in force; its notifications are received by this fd.
    SeccompListener(OwnedFd),
}

/// How a child ended before it was ready.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// It said why.
    Reported(Report),
    /// It could not, at this step (from 0).
    Silent { exit: Exit, step: u16 },
}

/// Has somebody else move a process into a cgroup.
pub type Mover<'m> = &'m dyn Fn(Pid) -> Result<()>;

/// Makes the container's process, into the cgroup behind `cgroup` from its birth on.
pub fn spawn(prepared: &Prepared, cgroup: Option<BorrowedFd>) -> Result<Init> {
    spawn_by(prepared, cgroup, None)
}

/// The same where we may not reach that cgroup from our own: a process in between is moved there first.
pub fn spawn_moved(prepared: &Prepared, cgroup: BorrowedFd, mover: Mover) -> Result<Init> {
    spawn_by(prepared, Some(cgroup), Some(mover))
}

fn spawn_by(prepared: &Prepared, cgroup: Option<BorrowedFd>, mover: Option<Mover>) -> Result<Init> {
    let (parent_end, child_end) = channel::pair().doing(|| "make the wire to the container".into())?;
    let progress = Progress::new().doing(|| "make the progress page".into())?;
    let namespaces = &prepared.plan.namespaces;
    let mut entered = Entered::default();
    let mut inside = Vec::new(); // what somebody has to enter before us, in its order
    if let Some(slot) = namespaces.join_user {
        let user = prepared.fd(slot).doing(|| "find the user namespace".into())?;
        inside.push((user, USER));
    }
    for (slot, kind, name) in &namespaces.join {
        let fd = prepared.fd(*slot).doing(|| format!("find the {name} namespace"))?;
        match namespaces.apart {
            true => inside.push((fd, *kind)),
            false => entered.join(fd, *kind, name, prepared)?,
        }
    }
    let mut offsets = namespaces.time_offsets.as_deref();
    if let (Some(offsets), false) = (offsets, namespaces.apart) {
        entered.remember(TIME, "time", prepared)?;
        new_time(offsets, prepared)
            .doing(|| format!("linux.timeOffsets: set {offsets:?} in a new time namespace"))?;
    }
    offsets = offsets.filter(|_| namespaces.apart);
    if let Some(target) = namespaces.target {
        let pidfd = prepared.fd(target.pidfd).doing(|| "find the container".into())?;
        if target.user_first {
            inside.push((pidfd, target.kinds & (USER | PID)));
        } else if target.kinds & PID != 0 {
            match namespaces.apart {
                true => inside.push((pidfd, PID)),
                false => entered.join(pidfd, PID, "pid", prepared)?,
            }
        }
    }
    if let Some(cpus) = &prepared.plan.host.affinity {
        sched::set_affinity(cpus).doing(|| format!("process.execCPUAffinity.initial: run on CPUs {cpus}"))?;
    }
    let flags = namespaces.clone_flags();
    let cloned = match (inside.as_slice(), offsets, mover) {
        ([], None, None) => {
            split(flags, cgroup, prepared, &child_end, &progress).map_err(|fail| clone_refused(fail, flags))
        }
        between => split_between(between, flags, cgroup, prepared, &child_end, &progress),
    };
    entered.leave()?;
    let (pid, pidfd) = cloned?;
    Ok(Init { pid, pidfd, released: false, channel: parent_end, progress })
}

fn split(
    flags: u64,
    cgroup: Option<BorrowedFd>,
    prepared: &Prepared,
    child_end: &ChildEnd,
    progress: &Progress,
) -> Result<(Pid, OwnedFd), Fail> {
    // The runtime never runs threads, and the child diverges into init, which lives on sys alone.
    match clone::fork(flags, cgroup)? {
        Who::Parent(pid, pidfd) => Ok((pid, pidfd)),
        Who::Child => init::run(prepared, child_end, progress),
    }
}

/// A process that enters a user namespace loses its power over what it left, so one in between does that and
/// has the container's process in there; by CLONE_PARENT it is our child and not the dead one's. It enters the others
/// too that we couldn't come back from, and is moved to the cgroup that we can't reach.
fn split_between(
    (namespaces, offsets, mover): (&[(BorrowedFd, u64)], Option<&str>, Option<Mover>),
    flags: u64,
    cgroup: Option<BorrowedFd>,
    prepared: &Prepared,
    child_end: &ChildEnd,
    progress: &Progress,
) -> Result<(Pid, OwnedFd)> {
    let refused = |fail| clone_refused(fail, flags);
    let (ours, theirs) = net::seqpacket_pair().map_err(refused)?;
    match clone::fork(0, None).map_err(refused)? {
        Who::Parent(pid, between) => {
            drop(theirs);
            if let Some(mover) = mover {
                let moved = mover(pid).and_then(|()| net::send(ours.as_fd(), b"go", None).map_err(refused));
                if let Err(error) = moved {
                    process::kill_and_reap(between.as_fd());
                    return Err(error);
                }
            }
            let mut answer = [0; 8];
            let received = net::receive(ours.as_fd(), &mut answer);
            process::reap(between.as_fd()).map_err(refused)?;
            let (n, pidfd) = received.map_err(refused)?;
            let [p0, p1, p2, p3, c0, c1, e0, e1] = answer;
            match (n, pidfd, Call::from_number(u16::from_ne_bytes([c0, c1]))) {
                (8, Some(pidfd), _) => Ok((Pid(i32::from_ne_bytes([p0, p1, p2, p3])), pidfd)),
                (8, None, Some(call)) => {
                    Err(refused(Fail::new(call, Errno::from_raw(i32::from(u16::from_ne_bytes([e0, e1]))))))
                }
                _ => Err(refused(Fail::new(Call::Clone, Errno::EPIPE))),
            }
        }
        Who::Child => {
            drop(ours); // or our own would never end, should our parent die
            if mover.is_some() && !matches!(net::receive(theirs.as_fd(), &mut [0; 2]), Ok((2, None))) {
                clone::exit(1);
            }
            // As in Entered::join: those in there see the child from its first instruction on.
            let undumpable = ids::prctl(libc::PR_SET_DUMPABLE, 0, 0).map(drop);
            let mut namespaces = namespaces.iter();
            let cloned = undumpable
                .and_then(|()| namespaces.try_for_each(|(fd, kinds)| clone::setns(*fd, *kinds)))
                .and_then(|()| offsets.map_or(Ok(()), |offsets| new_time(offsets, prepared)))
                .and_then(|()| clone::fork(flags | libc::CLONE_PARENT as u64, cgroup));
            let sent = match &cloned {
                Ok(Who::Child) => init::run(prepared, child_end, progress),
                Ok(Who::Parent(pid, pidfd)) => {
                    let [p0, p1, p2, p3] = pid.0.to_ne_bytes();
                    net::send(theirs.as_fd(), &[p0, p1, p2, p3, 0, 0, 0, 0], Some(pidfd.as_fd()))
                }
                Err(fail) => {
                    let [c0, c1] = (fail.call as u16).to_ne_bytes();
                    let [e0, e1] = (fail.errno as i32 as u16).to_ne_bytes();
                    net::send(theirs.as_fd(), &[0, 0, 0, 0, c0, c1, e0, e1], None)
                }
            };
            clone::exit(i32::from(sent.is_err()))
        }
    }
}

/// Namespaces that we enter for the sake of a child, and the way back.
#[derive(Default)]
struct Entered {
    back: Vec<(OwnedFd, u64, &'static str)>,
}

impl Entered {
    fn remember(&mut self, kind: u64, name: &'static str, prepared: &Prepared) -> Result<()> {
        let path = match kind {
            PID => c"self/ns/pid",
            TIME => c"self/ns/time",
            k if k == libc::CLONE_NEWNET as u64 => c"self/ns/net",
            k if k == libc::CLONE_NEWIPC as u64 => c"self/ns/ipc",
            _ => c"self/ns/uts",
        };
        let own = fs::open(prepared.proc.as_fd(), path, libc::O_RDONLY, 0, fs::resolve::HOST)
            .doing(|| format!("open our own {name} namespace"))?;
        self.back.push((own, kind, name));
        Ok(())
    }

    fn join(&mut self, fd: BorrowedFd, kind: u64, name: &'static str, prepared: &Prepared) -> Result<()> {
        self.remember(kind, name, prepared)?;
        if kind == PID {
            // From its first instruction on the child is seen by those in there; what we are it inherits.
            ids::prctl(libc::PR_SET_DUMPABLE, 0, 0).doing(|| "become undumpable".into())?;
        }
        clone::setns(fd, kind).doing(|| format!("join the {name} namespace"))
    }

    fn leave(self) -> Result<()> {
        for (own, kind, name) in self.back.into_iter().rev() {
            clone::setns(own.as_fd(), kind).doing(|| format!("return to our own {name} namespace"))?;
        }
        Ok(())
    }
}

/// The children's time namespace (time_namespaces(7)): its clocks are set before anybody is in it.
fn new_time(offsets: &str, prepared: &Prepared) -> Result<(), Fail> {
    clone::unshare(TIME)?;
    let (file, flags) = (c"self/timens_offsets", libc::O_WRONLY);
    let file = fs::open(prepared.proc.as_fd(), file, flags, 0, fs::resolve::BENEATH)?;
    fs::write(file.as_fd(), offsets.as_bytes()).map(drop)
}

fn clone_refused(fail: Fail, flags: u64) -> Error {
    let error = Error::kernel("make the container's process", fail);
    match fail.errno {
        Errno::ENOSPC => error.hint("a limit in /proc/sys/user/ on namespaces is reached"),
        Errno::EPERM if fail.call == Call::Setns => {
            error.hint("a namespace can be joined together with the user namespace that it belongs to")
        }
        Errno::EPERM if fail.call == Call::Unshare => error.hint(
            "linux.timeOffsets: who has no CAP_SYS_ADMIN yet can't set the clocks of a new time namespace",
        ),
        Errno::EPERM if flags & crate::plan::namespaces::USER != 0 => {
            error.hint("user namespaces may be forbidden here: see /proc/sys/user/max_user_namespaces")
        }
        Errno::EPERM => error.hint("new namespaces need CAP_SYS_ADMIN, or a user namespace"),
        Errno::EAGAIN => {
            error.hint("a limit on processes is reached: pids.max of the cgroup, or RLIMIT_NPROC")
        }
        _ => error,
    }
}

impl Init {
    /// The next halt, or how the child ended instead.
    pub fn next(&self) -> Result<std::result::Result<Halt, Ended>> {
        match self.next_unless(|| false)? {
            Some(next) => Ok(next),
            None => Err(Error::new(Kind::Kernel, "the wire to the container is closed")), // not without the condition
        }
    }

    /// The next halt, or how the child ended, unless the end of the wire means something else.
    fn next_unless(
        &self,
        end_is_no_end: impl FnOnce() -> bool,
    ) -> Result<Option<std::result::Result<Halt, Ended>>> {
        let received = self.channel.receive().doing(|| "listen to the container's process".into())?;
        Ok(Some(match received {
            Some((ToParent::NeedIdMaps, _)) => Ok(Halt::IdMaps),
            Some((ToParent::NeedNetDevices, _)) => Ok(Halt::NetDevices),
            Some((ToParent::AtHostHooks, _)) => Ok(Halt::HostHooks),
            Some((ToParent::Ready, _)) => Ok(Halt::Ready),
            Some((ToParent::SeccompListener, Some(fd))) => Ok(Halt::SeccompListener(fd)),
            Some((ToParent::SeccompListener, None)) => {
                let fail = Fail::new(Call::Recvmsg, Errno::EPROTO);
                return Err(fail).doing(|| "take the seccomp listener".into());
            }
            Some((ToParent::Failed(report), _)) => Err(Ended::Reported(report)),
            None if end_is_no_end() => return Ok(None),
            None => {
                let exit = process::reap(self.pidfd()).doing(|| "wait for the container's process".into())?;
                Err(Ended::Silent { exit, step: self.progress.get() as u16 })
            }
        }))
    }

    /// The same of a child that goes straight on to its program: `None` once that runs, since its execution closes the
    /// wire.
    pub fn next_or_program(&self, plan: &Plan) -> Result<std::result::Result<Option<Halt>, Ended>> {
        let last = plan.steps.len().saturating_sub(1);
        Ok(match self.next_unless(|| self.progress.get() as usize == last)? {
            Some(next) => next.map(Some),
            None => Ok(None),
        })
    }

    /// Lets a child that has come to a halt go on.
    pub fn go(&self) -> Result<()> {
        self.channel.send(ToChild::Go).doing(|| "let the container's process go on".into())
    }

    pub fn pidfd(&self) -> BorrowedFd<'_> {
        self.pidfd.as_fd()
    }

    /// The container lives on without us.
    pub fn release(&mut self) {
        self.released = true;
    }
}

impl Drop for Init {
    fn drop(&mut self) {
        if !self.released {
            process::kill_and_reap(self.pidfd());
        }
    }
}
