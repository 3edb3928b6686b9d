//! The boundary: the one place where one process becomes two. The parent's half is here; the child's half is
//! `init`, and whatever it may touch is in [`Prepared`].

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

use crate::channel::{self, ChildEnd, FromBetween, ParentEnd, Report, ToChild, ToParent};
use crate::error::{Doing, Error, Kind, Result};
use crate::init;
use crate::plan::namespaces::{PID, TIME, USER};
use crate::prepare::Prepared;
use crate::sys::clone::{self, Who};
use crate::sys::process::{self, Exit, Signal, Watch};
use crate::sys::shared::Progress;
use crate::sys::{Call, Errno, Fail, Pid, fs, ids, sched};

/// How long a container may keep its process waiting in one of the steps that ask something of it.
pub const PATIENCE: Duration = Duration::from_secs(10);

/// The container's first process, as its parent holds it. Dropped, it is killed and reaped, unless released.
#[derive(Debug)]
pub struct Init {
    pub pid: Pid,
    pidfd: OwnedFd,
    released: bool,
    channel: ParentEnd,
    progress: Progress,
    /// The number of its last step (from 0), which executes the program.
    last: usize,
    /// Its first word, if somebody has waited for that alone.
    first: Option<Word>,
    /// [`Plan::asking`].
    asking: Vec<u16>,
}

/// What is heard of it: a halt, its end, or nothing more since it executes its program now.
type Word = std::result::Result<Option<Halt>, Ended>;

/// What a child comes to a halt for.
#[derive(Debug)]
pub enum Halt {
    /// It isn't in its cgroup yet ([`spawn_outside`]).
    Cgroup,
    IdMaps,
    NetDevices,
    HostHooks,
    Ready,
    /// The seccomp filter is in force; its notifications are received by this fd.
    SeccompListener(OwnedFd),
    /// None: it goes on, with `/` for HOME, since the container's /etc/passwd can't be read.
    NoHome(Fail),
}

/// How a child ended before it was ready.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// It said why.
    Reported(Report),
    /// It could not, at this step (from 0), or before it came to do anything.
    Silent { exit: Exit, step: Option<u16> },
    /// It hasn't, but the container keeps it waiting in this step (from 0).
    Stuck { step: u16 },
}

/// Has somebody else move a process into a cgroup.
pub type Mover<'m> = &'m dyn Fn(Pid) -> Result<()>;

/// How the container's process comes into its cgroup, if it has one.
#[derive(Clone, Copy)]
enum Way<'w> {
    Born(Option<BorrowedFd<'w>>),
    /// By way of a process in between that is there already.
    Moved(BorrowedFd<'w>, Mover<'w>),
    /// It halts for it.
    Outside,
}

/// Makes the container's process, into the cgroup behind `cgroup` from its birth on.
pub fn spawn(prepared: &Prepared, cgroup: Option<BorrowedFd>) -> Result<Init> {
    spawn_by(prepared, Way::Born(cgroup))
}

/// The same where we may not reach that cgroup from our own: a process in between is moved there first.
pub fn spawn_moved(prepared: &Prepared, cgroup: BorrowedFd, mover: Mover) -> Result<Init> {
    spawn_by(prepared, Way::Moved(cgroup, mover))
}

/// The same where nobody can be born there: before it does anything it halts to be moved ([`Halt::Cgroup`]).
pub fn spawn_outside(prepared: &Prepared) -> Result<Init> {
    spawn_by(prepared, Way::Outside)
}

fn spawn_by(prepared: &Prepared, way: Way) -> Result<Init> {
    let wire = channel::pair().doing(|| "make the wire to the container".into())?;
    let (parent_end, child_end): (ParentEnd, ChildEnd) = wire;
    let progress = Progress::new().doing(|| "make the progress page".into())?;
    let namespaces = &prepared.plan.namespaces;
    let mut entered = Entered::default();
    let mut inside = Vec::new(); // what somebody has to enter before us, in its order
    let user = match namespaces.join_user {
        Some(slot) => Some((prepared.fd(slot).doing(|| "find the user namespace".into())?, USER)),
        None => None,
    };
    inside.extend(user.filter(|_| namespaces.apart));
    // A process in between is born in no other pid namespace than ours: it would be seen there.
    let is_between = user.is_some() || matches!(way, Way::Moved(..));
    for (slot, kind, name) in &namespaces.join {
        let fd = prepared.fd(*slot).doing(|| format!("find the {name} namespace"))?;
        match namespaces.apart || is_between && *kind == PID {
            true => inside.push((fd, *kind)),
            false => entered.join(fd, *kind, name, prepared)?,
        }
    }
    inside.extend(user.filter(|_| !namespaces.apart));
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
            match namespaces.apart || is_between {
                true => inside.push((pidfd, PID)),
                false => entered.join(pidfd, PID, "pid", prepared)?,
            }
        }
    }
    if let Some(cpus) = &prepared.plan.host.affinity {
        sched::set_affinity(cpus).doing(|| format!("process.execCPUAffinity.initial: run on CPUs {cpus}"))?;
    }
    let child = Child {
        prepared,
        end: &child_end,
        progress: &progress,
        flags: namespaces.clone_flags(),
        cgroup: match way {
            Way::Born(cgroup) => cgroup,
            Way::Moved(cgroup, _) => Some(cgroup),
            Way::Outside => None,
        },
        halts: matches!(way, Way::Outside),
    };
    let cloned = match (inside.as_slice(), offsets, way) {
        ([], None, Way::Born(_) | Way::Outside) => {
            child.split(0).map_err(|fail| clone_refused(fail, child.flags))
        }
        (namespaces, offsets, way) => {
            let mover = match way {
                Way::Moved(_, mover) => Some(mover),
                Way::Born(_) | Way::Outside => None,
            };
            child.split_between(namespaces, offsets, mover)
        }
    };
    entered.leave()?;
    let (pid, pidfd) = cloned?;
    let (last, asking) = (prepared.plan.steps.len().saturating_sub(1), prepared.plan.asking());
    Ok(Init { pid, pidfd, released: false, channel: parent_end, progress, last, first: None, asking })
}

/// The container's process that is to be.
struct Child<'c> {
    prepared: &'c Prepared<'c>,
    end: &'c ChildEnd,
    progress: &'c Progress,
    flags: u64,
    cgroup: Option<BorrowedFd<'c>>,
    halts: bool,
}

impl Child<'_> {
    fn split(&self, more_flags: u64) -> Result<(Pid, OwnedFd), Fail> {
        // The runtime never runs threads, and the child diverges into init, which lives on sys alone.
        match clone::fork(self.flags | more_flags, self.cgroup)? {
            Who::Parent(pid, pidfd) => Ok((pid, pidfd)),
            Who::Child => init::run(self.prepared, self.end, self.progress, self.halts),
        }
    }

    /// A process that enters a user namespace loses its power over what it left, so one in between does that and
    /// has the container's process in there; by CLONE_PARENT it is our child and not the dead one's. It enters the others
    /// too that we couldn't come back from, and is moved to the cgroup that we can't reach.
    fn split_between(
        &self,
        namespaces: &[(BorrowedFd, u64)],
        offsets: Option<&str>,
        mover: Option<Mover>,
    ) -> Result<(Pid, OwnedFd)> {
        let refused = |fail| clone_refused(fail, self.flags);
        let (ours, theirs) = channel::pair::<ToChild, FromBetween>().map_err(refused)?;
        match clone::fork(0, None).map_err(refused)? {
            Who::Parent(pid, between) => {
                drop(theirs);
                if let Some(mover) = mover {
                    let moved = mover(pid).and_then(|()| ours.send(ToChild::Go).map_err(refused));
                    if let Err(error) = moved {
                        process::kill_and_reap(between.as_fd());
                        return Err(error);
                    }
                }
                let received = ours.receive();
                process::reap(between.as_fd()).map_err(refused)?;
                match received.map_err(refused)? {
                    Some((FromBetween::Born, Some(pidfd))) => {
                        let pid = process::pid_of(pidfd.as_fd(), self.prepared.proc.as_fd());
                        let pid = pid.inspect_err(|_| process::kill_and_reap(pidfd.as_fd()));
                        Ok((pid.doing(|| "ask for the pid of the container's process".into())?, pidfd))
                    }
                    Some((FromBetween::Refused(fail), _)) => Err(refused(fail)),
                    _ => Err(refused(Fail::new(Call::Clone, Errno::EPIPE))),
                }
            }
            Who::Child => {
                drop(ours); // or our own would never end, should our parent die
                if mover.is_some() && !matches!(theirs.receive(), Ok(Some((ToChild::Go, _)))) {
                    clone::exit(1);
                }
                // As in Entered::join: those in there see the child from its first instruction on.
                let undumpable = ids::prctl(libc::PR_SET_DUMPABLE, 0, 0).map(drop);
                let mut namespaces = namespaces.iter();
                let cloned = undumpable
                    .and_then(|()| namespaces.try_for_each(|(fd, kinds)| clone::setns(*fd, *kinds)))
                    .and_then(|()| offsets.map_or(Ok(()), |offsets| new_time(offsets, self.prepared)))
                    .and_then(|()| self.split(libc::CLONE_PARENT as u64));
                let sent = match &cloned {
                    Ok((_, pidfd)) => theirs.send_with(FromBetween::Born, pidfd.as_fd()),
                    Err(fail) => theirs.send(FromBetween::Refused(*fail)),
                };
                clone::exit(i32::from(sent.is_err()))
            }
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
    pub fn next_halt(&mut self) -> Result<std::result::Result<Halt, Ended>> {
        match self.next_or_program()? {
            Ok(Some(halt)) => Ok(Ok(halt)),
            Ok(None) => Err(Error::new(Kind::Kernel, "the container's process executes a program too early")),
            Err(ended) => Ok(Err(ended)),
        }
    }

    /// Waits until it has something to say, unless the container keeps it from that: then in which step.
    fn stuck(&self) -> Result<Option<u16>, Fail> {
        if self.asking.is_empty() {
            return Ok(None);
        }
        let (mut step, mut since) = (self.progress.get(), Instant::now());
        loop {
            let mut wire = [Watch::input(Some(self.channel.as_fd()))];
            if process::poll(&mut wire, Some(PATIENCE / 10))? > 0 {
                return Ok(None);
            }
            let now = self.progress.get();
            if now != step {
                (step, since) = (now, Instant::now());
            } else if since.elapsed() >= PATIENCE && step.is_some_and(|step| self.asking.contains(&step)) {
                return Ok(step);
            }
        }
    }

    /// The same of a child that goes straight on to its program: `None` once that runs, since its execution closes the
    /// wire.
    pub fn next_or_program(&mut self) -> Result<std::result::Result<Option<Halt>, Ended>> {
        match self.first.take() {
            Some(word) => Ok(word),
            None => self.hear(),
        }
    }

    /// Waits for its first word, which is still to be had: whether it was killed before it came to do anything.
    pub fn is_stillborn(&mut self) -> Result<bool> {
        let word = self.hear()?;
        let stillborn = matches!(&word, Err(Ended::Silent { exit: Exit::Signal(Signal::KILL), step: None }));
        self.first = Some(word);
        Ok(stillborn)
    }

    fn hear(&self) -> Result<Word> {
        let listening = || "listen to the container's process".into();
        if let Some(step) = self.stuck().doing(listening)? {
            return Ok(Err(Ended::Stuck { step }));
        }
        let received = self.channel.receive().doing(listening)?;
        Ok(match received {
            Some((ToParent::NoHome(fail), _)) => Ok(Some(Halt::NoHome(fail))),
            Some((ToParent::NeedCgroup, _)) => Ok(Some(Halt::Cgroup)),
            Some((ToParent::NeedIdMaps, _)) => Ok(Some(Halt::IdMaps)),
            Some((ToParent::NeedNetDevices, _)) => Ok(Some(Halt::NetDevices)),
            Some((ToParent::AtHostHooks, _)) => Ok(Some(Halt::HostHooks)),
            Some((ToParent::Ready, _)) => Ok(Some(Halt::Ready)),
            Some((ToParent::SeccompListener, Some(fd))) => Ok(Some(Halt::SeccompListener(fd))),
            Some((ToParent::Failed(report), _)) => Err(Ended::Reported(report)),
            // Said to `start` alone.
            Some((
                ToParent::SeccompListener
                | ToParent::StillWaits(_)
                | ToParent::Began(_)
                | ToParent::Executing,
                _,
            )) => {
                let fail = Fail::new(Call::Recvmsg, Errno::EPROTO);
                return Err(fail).doing(|| "listen to the container's process".into());
            }
            None if self.has_executed()? => Ok(None),
            None => {
                let exit = process::reap(self.pidfd()).doing(|| "wait for the container's process".into())?;
                Err(Ended::Silent { exit, step: self.progress.get() })
            }
        })
    }

    /// The end of the wire is that of the process, or its execve: the kernel knows which of its calls was that.
    fn has_executed(&self) -> Result<bool> {
        let stat = process::stat(self.pid).doing(|| "look at the container's process".into())?;
        // Gone already: only if our caller ignores SIGCHLD, for it is a child of ours.
        Ok(stat.map_or_else(|| self.progress.get().map(usize::from) == Some(self.last), |stat| stat.executed))
    }

    /// Lets a child that has come to a halt go on.
    pub fn go(&self) -> Result<()> {
        match self.channel.send(ToChild::Go) {
            // It has failed meanwhile: its report, or its end, is heard next.
            Err(Fail { errno: Errno::EPIPE, .. }) => Ok(()),
            sent => sent.doing(|| "let the container's process go on".into()),
        }
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
