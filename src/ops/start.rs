//! `start`: knocks on the waiting init and hears from it only if the program can't be executed.

use std::os::fd::AsFd;
use std::path::Path;

use super::{end, explain};
use crate::channel::{ParentEnd, ToChild, ToParent};
use crate::error::{Doing, Error, Kind, Result};
use crate::notify::Notify;
use crate::plan::step::NOTIFIES;
use crate::seccomp_agent::Agent;
use crate::state::{Container, ContainerId, Status, Store};
use crate::sys::{Call, Fail};
use crate::{hooks, log, spec};

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
    // Before anything has begun: if nobody listens, the container can still be started.
    let mut agent = match &record.seccomp_listener {
        Some(listener) => Some(Agent::connect(listener)?),
        None => None,
    };
    let notify = Notify::listen(container.path())?;
    let wire = ParentEnd::new(container.connect_start()?);
    let state = crate::sys::fs::memfd(c"rrunc-state").doing(|| "make a file for the hooks' state".into())?;
    crate::sys::fs::write(state.as_fd(), record.hook_state(Status::Created).as_bytes())
        .doing(|| "write the hooks' state".into())?;
    wire.send_with(ToChild::Start, state.as_fd())
        .doing(|| "send the start to the container's process".into())?;
    // Closed by the exec itself: then the program runs. A failure means that it does not.
    loop {
        let received = wire.receive();
        match received.doing(|| "wait for the program to be executed".into())? {
            Some((ToParent::Failed(report), _)) => return Err(failed(container, report.step, report.fail)),
            Some((ToParent::SeccompListener, Some(fd))) => {
                if let (Some(agent), Some(pid)) = (agent.take(), record.pid) {
                    agent.give(fd.as_fd(), record, pid, Status::Created)?;
                }
                wire.send(ToChild::Go).doing(|| "let the container's process go on".into())?;
            }
            Some(_) => {}
            None if agent.is_some() => {
                let text =
                    "the seccomp filter ended the container's process before its listener was handed over";
                return Err(Error::new(Kind::Step, text).hint(explain::LISTENER_CALLS));
            }
            None => break,
        }
    }
    poststart(container)?;
    Ok(notify)
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

/// The failing step by its text in the saved plan, even if this binary would number them otherwise.
fn failed(container: &Container, step: u16, fail: Fail) -> Error {
    let number = usize::from(step) + 1;
    let plan = container.plan().unwrap_or_default();
    let steps: Vec<_> = plan.lines().filter_map(|line| line.trim_start().split_once(' ')).collect();
    let total = steps.iter().filter(|(n, _)| n.parse::<usize>().is_ok()).count();
    let text = steps.iter().find(|(n, _)| *n == number.to_string()).map_or("", |(_, text)| text);
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
