//! What runs in the container's process: a loop over the plan's steps, in the process that `spawn` has made.
//!
//! Nothing in here allocates, panics, logs or frees what the parent made; a failure is a step, a call and an
//! errno. The process is not dumpable until it executes the program, so nobody in the container can look into
//! it or at its fds on the way.
//!
//! Of the runtime's fds it closes at once what wasn't prepared for it: the lock of the container, which must end
//! with the runtime if that is killed, and the runtime's end of the wire, whose end tells us of that. While it
//! waits for the start it holds no more than it takes to hear it: not the host's procfs either, which no later step needs.

mod console;
mod copy;
mod hook;
mod landlock;
mod mask;
mod mount;
mod old_root;
pub(crate) mod passwd;
mod process;
mod seccomp;

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use crate::channel::{ChildEnd, Report, ToChild, ToParent};
use crate::plan::step::{HookState, Slot, Step};
use crate::prepare::Prepared;
use crate::sys::shared::Progress;
use crate::sys::{Call, Errno, Fail, Uid, clone, fs, ids, net};

type Done = Result<(), Fail>;

/// What the steps hand on to one another.
struct Container<'a> {
    prepared: &'a Prepared<'a>,
    parent: &'a ChildEnd,
    /// The container's root, from the step that takes it on.
    root: Option<BorrowedFd<'a>>,
    /// Where file systems are made before they are attached.
    stage: Option<BorrowedFd<'a>>,
    /// Which candidate of [`Step::FindProgram`] it is.
    program: usize,
    /// Whether the working directory was entered before the ids changed.
    in_directory: bool,
    /// Landlock's rules, until they are put in force.
    landlock: Option<OwnedFd>,
    /// The connection of `start`, and the state that it sent.
    start: Option<(ChildEnd, Option<OwnedFd>)>,
    /// `start` has been told that nothing is left but to execute the program.
    is_executing: bool,
}

/// Carries out the plan. Ends in the program, or in a report. Who `halts` isn't in its cgroup yet: whatever it did before
/// would be charged to the runtime's.
pub fn run(prepared: &Prepared, parent: &ChildEnd, progress: &Progress, halts: bool) -> ! {
    progress.set(0);
    let mut container = Container {
        prepared,
        parent,
        root: None,
        stage: None,
        program: 0,
        in_directory: false,
        landlock: None,
        start: None,
        is_executing: false,
    };
    let mut number = 0;
    let mut outcome = be_born(prepared.plan.namespaces.maps_by_user()).and_then(|()| {
        let kept = prepared.numbers().chain([parent.as_fd().as_raw_fd()]);
        fs::close_others(container.first_own_fd(), kept)
    });
    if halts {
        outcome = outcome.and_then(|()| container.halt(ToParent::NeedCgroup));
    }
    for step in &prepared.plan.steps {
        if outcome.is_err() {
            break;
        }
        progress.set(number);
        container.tell_start(number, step);
        outcome = container.carry_out(step);
        number += u16::from(outcome.is_ok());
    }
    if let Err(fail) = outcome {
        container.take_back(number);
        let report = ToParent::Failed(Report { step: number, fail });
        let listener = container.start.as_ref().map_or(parent, |(start, _)| start);
        let _ = listener.send(report); // nobody else to tell
    }
    clone::exit(1)
}

/// Dies with the runtime until the container is created; can't be traced or looked into; takes every signal
/// as a new program expects it, whatever the runtime has blocked or ignores. `visible` puts off the second: of a
/// process that can't be looked into, an ordinary user may not write the id maps either, nor newuidmap(1) for them.
/// Nobody but that user gains by it: in a new user namespace no other than its owner has a right to us.
fn be_born(visible: bool) -> Done {
    crate::sys::signals::reset_all()?;
    ids::umask(0o022);
    ids::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL as u64, 0)?;
    ids::prctl(libc::PR_SET_DUMPABLE, u64::from(visible), 0).map(drop)
}

impl<'a> Container<'a> {
    fn carry_out(&mut self, step: &'a Step) -> Done {
        match step {
            Step::JoinNamespace { slot, kind, .. } => clone::setns(self.prepared.fd(*slot)?, *kind),
            Step::LoopbackUp => net::bring_up(c"lo"),
            Step::AwaitNetDevices => self.halt(ToParent::NeedNetDevices),
            Step::JoinProcess { pidfd, kinds } => clone::setns(self.prepared.fd(*pidfd)?, *kinds),
            Step::AwaitIdMaps => {
                self.halt(ToParent::NeedIdMaps)?;
                ids::prctl(libc::PR_SET_DUMPABLE, 0, 0).map(drop)
            }
            Step::BecomeRoot { drop_groups } => process::become_root(*drop_groups),
            Step::CloneTree { slot, copy, required } => {
                mount::clone_inside(self.prepared.fd(*slot)?, copy, *required)
            }
            Step::NewSession => ids::setsid(),
            Step::SessionKeyring { name, required } => process::session_keyring(name, *required),
            Step::NewCgroupNamespace => clone::unshare(libc::CLONE_NEWCGROUP as u64),
            Step::Hostname(name) => ids::sethostname(name),
            Step::Domainname(name) => ids::setdomainname(name),
            Step::Sysctl { path, value, .. } => process::write_host_proc(self.proc(), path, value.to_bytes()),
            Step::PropagateNothing => mount::propagate_nothing(),
            Step::Stage { slot, path, by_host, label } => {
                let stage = self.prepared.fd(*slot)?;
                self.stage = Some(stage);
                mount::stage(stage, path, *by_host, label.as_ref())
            }
            Step::AttachRoot { slot, path } => {
                let tree = self.prepared.fd(*slot)?;
                self.root = Some(tree);
                crate::sys::mount::attach_to_host_path(tree, path)
            }
            Step::Cover { slot, path } => {
                crate::sys::mount::attach_to_host_path(self.prepared.fd(*slot)?, path)
            }
            Step::UseRoot { slot, joined } => {
                let root = self.prepared.fd(*slot)?;
                self.root = Some(root);
                joined.as_ref().map_or(Ok(()), |path| mount::reopen_directory(root, path))
            }
            Step::Mount(new) => {
                let keep = new.keep.map(|slot| self.prepared.fd(slot)).transpose()?;
                mount::new_fs(self.root()?, self.stage, new, keep)
            }
            Step::MakeFs(make) => mount::make_fs(make, self.prepared.fd(make.slot)?),
            Step::FindMount { path, .. } => mount::find(self.root()?, path).map(drop),
            Step::Unmount { path, .. } => mount::unmount(self.root()?, self.proc(), path),
            Step::Done => {
                self.parent.send(ToParent::Ready)?;
                clone::exit(0)
            }
            Step::Bind(bind) => mount::bind(self.root()?, self.prepared.fd(bind.slot)?, bind),
            Step::Device { directory, name, mode, device, uid, gid } => {
                mount::device(self.root()?, directory, name, *mode, *device, (*uid, *gid))
            }
            Step::BindDevice { slot, path, inside } => {
                mount::bind_device(self.root()?, self.prepared.fd(*slot)?, path, inside.as_ref())
            }
            Step::Symlink { directory, name, target, if_there } => {
                mount::symlink(self.root()?, directory, name, target, *if_there)
            }
            Step::Console { socket, size, uid, as_console } => {
                console::open(self.root()?, self.prepared.fd(*socket)?, *size, *uid, *as_console)
            }
            Step::AwaitHostHooks => self.halt(ToParent::AtHostHooks),
            Step::Hook { program, state, outputs, .. } => {
                hook::run(program, self.hook_state(*state)?, self.outputs(*outputs)?)
            }
            Step::Mask { paths, cover, label } => {
                let cover = cover.map(|slot| self.prepared.fd(slot)).transpose()?;
                mask::all(self.root()?, paths, cover, self.stage, label.as_ref())
            }
            Step::ReadOnlyPath(path) => mount::read_only_path(self.root()?, path),
            Step::ReadOnlyMount { mount, .. } => mount::read_only(self.prepared.fd(*mount)?),
            Step::ChangeMount { path, mount, attr, after, .. } => {
                let mount = mount.map(|slot| self.prepared.fd(slot)).transpose()?;
                mount::change(self.root()?, path, mount, attr, after)
            }
            Step::ReadOnlyRoot => mount::read_only(self.root()?),
            Step::EnterRoot(how) => {
                let path = self.prepared.plan.steps.iter().find_map(|step| match step {
                    Step::AttachRoot { path, .. } => Some(path.as_c_str()),
                    _ => None,
                });
                mount::enter(self.root()?, *how, self.proc(), path)
            }
            Step::RootPropagation(flag, recursive) => mount::root_propagation(*flag, *recursive),
            Step::MakeDirectory(path) => mount::make_directory(self.root()?, path),
            Step::Stdio { uid } => process::stdio(*uid),
            Step::Label { file, value, .. } => process::write_host_proc(self.proc(), file, value.to_bytes()),
            Step::Affinity => ids::reset_affinity(),
            Step::RunOn(cpus) => crate::sys::sched::set_affinity(cpus),
            Step::Scheduler(attr) => crate::sys::sched::set_scheduler(attr),
            Step::MemoryPolicy { mode, nodes } => {
                crate::sys::sched::set_memory_policy(*mode, nodes.as_deref())
            }
            Step::IoPriority(value) => crate::sys::sched::set_io_priority(*value),
            Step::RaiseLimit { limit, .. } => process::raise_limit(limit),
            Step::SetLimit { limit, .. } => ids::setrlimit(limit.resource, limit.soft, limit.hard),
            Step::Umask(mask) => {
                ids::umask(*mask);
                Ok(())
            }
            Step::Personality(persona) => ids::personality(*persona),
            Step::KeepBoundingSet(set) => process::bound(*set),
            Step::SetIds { uid, gid, groups } => process::set_ids(*uid, *gid, groups.as_deref()),
            Step::SetCapabilities { sets, ambient } => process::set_capabilities(sets, *ambient),
            Step::ChangeDirectory { path, early } => self.change_directory(path, *early),
            Step::NoNewPrivileges => ids::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0).map(drop),
            Step::FindProgram { candidates, .. } => {
                self.program = process::find(candidates)?;
                Ok(())
            }
            Step::HomeFromPasswd(uid) => self.find_home(*uid),
            Step::CloseFds { keep } => fs::cloexec_from(3 + keep),
            Step::LandlockRules(wanted) => {
                self.landlock = Some(landlock::rules(wanted)?);
                Ok(())
            }
            Step::LandlockRestrict => match &self.landlock {
                Some(rules) => crate::sys::landlock::restrict_self(rules.as_fd()),
                None => Err(Fail::new(Call::Landlock, Errno::EBADF)),
            },
            Step::AwaitLimits => self.halt(ToParent::Ready),
            Step::Inherit => {
                let mut given = self.prepared.inherited.iter();
                given.try_for_each(|fd| fs::dup_onto(fd.as_fd(), fd.as_raw_fd(), true))
            }
            Step::Outlive => ids::prctl(libc::PR_SET_PDEATHSIG, 0, 0).map(drop),
            Step::AwaitStart { socket } => self.await_start(self.prepared.fd(*socket)?),
            Step::CountAsRunning => match &self.prepared.waiting {
                // The exec would close it too, but some time after the wire on which `start` waits for the exec.
                Some(waiting) => {
                    crate::sys::process::flock(waiting.as_fd(), crate::sys::process::Lock::Release)
                }
                None => Ok(()),
            },
            Step::Seccomp(filter) => {
                let host = self.start.as_ref().map_or(self.parent, |(start, _)| start);
                seccomp::install(filter, host.as_fd())
            }
            Step::Exec { argv, envp, .. } => {
                let path = process::candidate(&self.prepared.plan.steps, self.program)?;
                Err(crate::sys::exec::exec(path, argv, envp))
            }
        }
    }

    /// So that `start` knows what the end of its wire means. If it is gone itself, the container goes on all the same.
    fn tell_start(&mut self, number: u16, step: &Step) {
        let Some((start, _)) = self.start.as_ref().filter(|_| !self.is_executing) else {
            return;
        };
        self.is_executing = matches!(step, Step::Seccomp(_) | Step::Exec { .. });
        let _ = start.send(match self.is_executing {
            true => ToParent::Executing,
            false => ToParent::Began(number),
        });
    }

    /// Detaches what the steps up to the failed one have attached to a container that goes on without us.
    fn take_back(&self, failed: u16) {
        let steps = &self.prepared.plan.steps;
        if !matches!(steps.last(), Some(Step::Done)) {
            return;
        }
        for step in steps.iter().take(usize::from(failed) + 1).rev() {
            if let Step::Bind(bind) = step {
                // One that isn't attached is refused, which is as good.
                let _ = self
                    .prepared
                    .fd(bind.slot)
                    .and_then(|tree| crate::sys::mount::detach_fd(self.proc(), tree));
            }
        }
    }

    fn root(&self) -> Result<BorrowedFd<'a>, Fail> {
        self.root.ok_or(Fail::new(Call::Open, Errno::EBADF))
    }

    fn proc(&self) -> BorrowedFd<'a> {
        self.prepared.proc.as_fd()
    }

    /// Waits until the host has done its part. The runtime's death is the end of us.
    fn halt(&self, what: ToParent) -> Done {
        self.parent.send(what)?;
        match self.parent.receive()? {
            Some((ToChild::Go, _)) => Ok(()),
            _ => Err(Fail::new(Call::Recvmsg, Errno::EPIPE)),
        }
    }

    /// The first fd that the program doesn't inherit.
    fn first_own_fd(&self) -> i32 {
        let keep = self.prepared.plan.steps.iter().find_map(|step| match step {
            Step::CloseFds { keep } => Some(*keep),
            _ => None,
        });
        3 + keep.unwrap_or(0) as i32
    }

    /// Created: from here on we outlive the runtime, until somebody sends the start.
    fn await_start(&mut self, listener: BorrowedFd) -> Done {
        let waiting = self.prepared.waiting.as_ref().map(AsRawFd::as_raw_fd);
        let kept = [listener, self.parent.as_fd()].map(|fd| fd.as_raw_fd());
        let outputs = self.prepared.plan.steps.iter().flat_map(|step| match step {
            Step::Hook { outputs, .. } => *outputs,
            _ => [None; 2],
        });
        let outputs = outputs.flatten().flat_map(|slot| self.prepared.fd(slot));
        let rules = self.landlock.as_ref().map(AsRawFd::as_raw_fd);
        let kept = kept.into_iter().chain(waiting).chain(rules);
        let kept = kept.chain(outputs.map(|fd| fd.as_raw_fd()));
        fs::close_others(self.first_own_fd(), kept)?;
        ids::prctl(libc::PR_SET_PDEATHSIG, 0, 0)?;
        self.parent.send(ToParent::Ready)?;
        loop {
            let start = ChildEnd::new(crate::sys::net::accept(listener)?);
            match start.receive() {
                Ok(Some((ToChild::Start, state))) => {
                    self.start = Some((start, state));
                    return Ok(());
                }
                Err(fail) => drop(start.send(ToParent::StillWaits(fail))),
                // Somebody who connects and says nothing, or dies, was not the start.
                Ok(_) => {}
            }
        }
    }

    /// A file that can't be read is no reason not to run, but one to be told of.
    fn find_home(&self, uid: Uid) -> Done {
        let Some(Step::Exec { envp, .. }) = self.prepared.plan.steps.last() else {
            return Ok(());
        };
        passwd::home(uid, envp).or_else(|fail| self.parent.send(ToParent::NoHome(fail)))
    }

    fn hook_state(&self, state: HookState) -> Result<BorrowedFd<'_>, Fail> {
        match (state, &self.start) {
            (HookState::Prepared(slot), _) => self.prepared.fd(slot),
            (HookState::FromStart, Some((_, Some(fd)))) => Ok(fd.as_fd()),
            (HookState::FromStart, _) => Err(Fail::new(Call::Recvmsg, Errno::EBADF)),
        }
    }

    fn outputs(&self, slots: [Option<Slot>; 2]) -> Result<[Option<BorrowedFd<'a>>; 2], Fail> {
        let [stdout, stderr] = slots.map(|slot| slot.map(|slot| self.prepared.fd(slot)).transpose());
        Ok([stdout?, stderr?])
    }

    /// Tried first with the runtime's rights, for a directory that only root may enter, and then with the
    /// program's (as runc does); an early failure is no failure yet.
    fn change_directory(&mut self, path: &std::ffi::CStr, early: bool) -> Done {
        if self.in_directory {
            return Ok(());
        }
        match process::change_directory(path) {
            Err(_) if early => Ok(()),
            done => {
                self.in_directory = done.is_ok();
                done
            }
        }
    }
}
