//! `start`: knocks on the waiting init, and hears from it how far it is on the way to its program.

use std::collections::BTreeMap;
use std::os::fd::{AsFd, BorrowedFd};
use std::path::Path;
use std::time::Duration;

use super::{end, explain};
use crate::channel::{ParentEnd, ToChild, ToParent};
use crate::error::{Doing, Error, Kind, Result};
use crate::notify::Notify;
use crate::plan::step::NOTIFIES;
use crate::seccomp_agent::Agent;
use crate::state::{Container, ContainerId, Record, Status, Store};
use crate::sys::process::{ended, exit_of};
use crate::sys::{Call, Errno, Fail};
use crate::{hooks, log, spec};

/// How long a process may take to be gone that has closed its files, or said that it gives up.
const PATIENCE: Duration = Duration::from_secs(10);

/// `rrunc start`.
pub fn start(root: &Path, id: &str) -> Result<()> {
    let id = ContainerId::new(id)?;
    let mut container = Store::open(root)?.load(&id)?;
    container.lock()?;
    if let Some(notify) = start_locked(&mut container)? {
        wait_ready(&mut container, &notify)?;
    }
    Ok(())
}

/// Waits for the program to be ready, or over, while others may work on the container.
pub fn wait_ready(container: &mut Container, notify: &Notify) -> Result<()> {
    container.unlock();
    match container.record()?.pid {
        Some(pid) => notify.wait(pid),
        None => Ok(()),
    }
}

/// The container is locked by us. Whoever stays hears of its program by what is returned.
pub fn start_locked(container: &mut Container) -> Result<Option<Notify>> {
    let status = container.status()?;
    let record = container.record()?;
    match status {
        Status::Created => {}
        Status::Stopped => {
            return Err(Error::new(Kind::WrongStatus, "cannot start a container that has stopped")
                .hint("delete it and create it anew"));
        }
        Status::Creating => {
            return Err(Error::new(Kind::WrongStatus, "the container is still being created"));
        }
        Status::Running | Status::Paused => {
            return Err(Error::new(Kind::WrongStatus, "cannot start an already running container"));
        }
    }
    if !record.has_process {
        return Err(Error::new(
            Kind::InvalidSpec,
            "config.json: process: is missing: there is nothing to start",
        ));
    }
    let dead = || Error::new(Kind::WrongStatus, "container process is already dead");
    let init = record.init()?.ok_or_else(dead)?;
    // Before anything has begun: if nobody listens, the container can still be started.
    let mut agent = match &record.seccomp_listener {
        Some(listener) => Some(Agent::connect(listener)?),
        None => None,
    };
    let notify = Notify::listen(container.path())?;
    let wire = match container.connect_start() {
        Err(_) if is_over(init.as_fd(), Duration::ZERO)? => return Err(dead()),
        socket => ParentEnd::new(socket?),
    };
    let state = crate::sys::fs::memfd(c"rrunc-state").doing(|| "make a file for the hooks' state".into())?;
    crate::sys::fs::write(state.as_fd(), record.hook_state(Status::Created).as_bytes())
        .doing(|| "write the hooks' state".into())?;
    match wire.send_with(ToChild::Start, state.as_fd()) {
        Err(Fail { errno: Errno::EPIPE, .. }) => {} // it has said why, or is dead
        sent => sent.doing(|| "send the start to the container's process".into())?,
    }
    let heard = hear(&wire, container, record, init.as_fd(), &mut agent);
    drop(wire); // who waits for an answer of ours needn't any more
    match heard {
        Ok(()) => {}
        Err(Failure::StillWaits(error)) => return Err(error),
        Err(Failure::Ends(error)) => {
            // It ends by itself, unless it is we who couldn't hear it: then its program may run, and a start that fails
            // must leave none.
            if !is_over(init.as_fd(), Duration::ZERO)? {
                let stopped = end::kill_all(container, record);
                stopped.unwrap_or_else(|error| log::warning(&error.to_string()));
            }
            is_over(init.as_fd(), PATIENCE)?; // so that nobody finds the container created, or running
            return Err(error);
        }
    }
    poststart(container)?;
    Ok(notify)
}

fn is_over(init: BorrowedFd, limit: Duration) -> Result<bool> {
    ended(init, Some(limit)).doing(|| "wait for the container's process".into())
}

/// Why the program isn't executed, and what becomes of the container's process.
enum Failure {
    StillWaits(Error),
    Ends(Error),
}

impl From<Error> for Failure {
    fn from(error: Error) -> Failure {
        Failure::Ends(error)
    }
}

/// Until the program runs.
fn hear(
    wire: &ParentEnd,
    container: &Container,
    record: &Record,
    init: BorrowedFd,
    agent: &mut Option<Agent>,
) -> std::result::Result<(), Failure> {
    let (mut step, mut is_executing) = (None, false);
    loop {
        let received = wire.receive();
        match received.doing(|| "wait for the program to be executed".into())? {
            Some((ToParent::Began(number), _)) => step = Some(number),
            Some((ToParent::Executing, _)) => is_executing = true,
            Some((ToParent::StillWaits(fail), _)) => {
                let error = Error::kernel("have the container's process take the start", fail);
                return Err(Failure::StillWaits(error.hint("it still waits: start it again")));
            }
            Some((ToParent::Failed(report), _)) => Err(failed(container, report.step, report.fail))?,
            Some((ToParent::SeccompListener, Some(fd))) => {
                if let (Some(agent), Some(pid)) = (agent.take(), record.pid) {
                    agent.give(fd.as_fd(), record, pid, Status::Created)?;
                }
                wire.send(ToChild::Go).doing(|| "let the container's process go on".into())?;
            }
            Some(_) => {
                let fail = Fail::new(Call::Recvmsg, Errno::EPROTO);
                Err(fail).doing(|| "wait for the program to be executed".into())?;
            }
            None if agent.is_some() && is_executing => {
                let text =
                    "the seccomp filter ended the container's process before its listener was handed over";
                Err(Error::new(Kind::Step, text).hint(explain::LISTENER_CALLS))?;
            }
            None => break,
        }
    }
    // The wire is closed by the exec, or by the end of the process. Which of them it was the kernel knows, but of one that
    // its parent has waited for already: then what it has said counts.
    match record.stat()? {
        Some(stat) if stat.executed => return Ok(()),
        None if is_executing => return Ok(()),
        _ => {}
    }
    if !is_over(init, PATIENCE)? {
        let text = "the container's process hears no start, and executes nothing";
        Err(Error::new(Kind::Kernel, text).hint("rrunc delete --force removes the container"))?;
    }
    let exit = record.stat()?.filter(|stat| stat.is_zombie).map(|stat| stat.exit).or_else(|| exit_of(init));
    let (steps, total) = steps(container);
    let during = match step {
        Some(step) if !is_executing => {
            let number = usize::from(step) + 1;
            let text = steps.get(&number).cloned().unwrap_or_default();
            format!("step {number} of {total} ({text})")
        }
        Some(_) => format!("step {total} of {total} ({})", steps.get(&total).cloned().unwrap_or_default()),
        None => "its wait for the start".into(),
    };
    Err(explain::died(exit, Some(&during), container.cgroup()?.as_ref()))?
}

/// runtime.md, Lifecycle: since 1.3 a failing poststart hook is an error, and the container is stopped; before, it
/// is a warning, and the hooks after it run all the same.
fn poststart(container: &Container) -> Result<()> {
    let record = container.record()?;
    let (state, place) = (record.hook_state(Status::Running), hooks::Place::of(record));
    if spec::is_before_1_3(&record.oci_version) {
        let failed = hooks::run_all("poststart", &record.poststart, &state, &place);
        failed.iter().for_each(|error| log::warning(&error.to_string()));
        return Ok(());
    }
    hooks::run("poststart", &record.poststart, &state, &place).inspect_err(|_| {
        let stopped = end::kill_all(container, record);
        stopped.unwrap_or_else(|error| log::warning(&error.to_string()));
    })
}

/// The steps by their text in the saved plan, from 1, even if this binary would number them otherwise; and how many.
fn steps(container: &Container) -> (BTreeMap<usize, String>, usize) {
    let steps = steps_of(&container.plan().unwrap_or_default());
    let total = steps.len();
    (steps, total)
}

pub(crate) fn steps_of(plan: &str) -> BTreeMap<usize, String> {
    let lines = plan.lines().filter_map(|line| line.trim_start().split_once(' '));
    lines.filter_map(|(number, text)| Some((number.parse().ok()?, text.to_string()))).collect()
}

/// The failing step, as a sentence.
pub(super) fn failed(container: &Container, step: u16, fail: Fail) -> Error {
    let number = usize::from(step) + 1;
    let (steps, total) = steps(container);
    let text = steps.get(&number).map_or("", String::as_str);
    let context = format!("{text} (step {number} of {total})");
    let error = match text.strip_prefix("execute ") {
        Some(name) => explain::execute_error(name, fail).context(context),
        None if matches!(fail.call, Call::Read | Call::Write) && text.contains(NOTIFIES) => {
            Error::new(Kind::Step, context).with_fail(fail).hint(explain::LISTENER_CALLS)
        }
        None => Error::new(Kind::Step, context).with_fail(fail),
    };
    error.at_step(number)
}
