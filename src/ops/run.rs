//! `run`: create, start, and unless detached: wait and delete.

use std::io;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};

use super::bundle::{self, Bundle};
use super::create::{self, Created};
use super::{check, delete, start};
use crate::cli::{Create, Global, Run};
use crate::error::{Doing, Result};
use crate::foreground::{self, Init, Reap, Relay, Signals, Stdio};
use crate::notify::Notify;
use crate::spawn::Ended;
use crate::state::Container;
use crate::{console, log, prepare};

/// `rrunc run`: the exit status of the container's program, 0 when detached.
pub fn run(global: &Global, args: &Run) -> Result<i32> {
    let args = with_bundle_argument(args);
    try_run(global, &args).map_err(|error| check::with_all_faults(error, global.cgroup_manager, &args.create))
}

fn try_run(global: &Global, args: &Run) -> Result<i32> {
    let bundle = Bundle::open(args.create.bundle.as_deref(), args.create.config.as_deref())?;
    create::terminal_fits(&bundle, &args.create, args.detach)?;
    if args.detach {
        return detached(global, args, &bundle);
    }
    let terminal =
        bundle.spec.oci.process().as_ref().is_some_and(|process| process.terminal().unwrap_or(false));
    let signals = Signals::block().doing(|| "take over signals".into())?;
    let reap = if args.no_subreaper { Reap::Init } else { Reap::All };
    if reap == Reap::All {
        foreground::become_subreaper().doing(|| "become a subreaper".into())?;
    }
    let (ours, theirs) = match terminal {
        true => prepare::console_pair().map(|(ours, theirs)| (Some(ours), Some(theirs)))?,
        false => (None, None),
    };
    let mut created = create::make(global, &args.create, &bundle, theirs)?;
    let outcome = stay(&mut created, ours, &signals, reap);
    if !args.keep || outcome.is_err() {
        clean_up(created.container);
    }
    outcome
}

/// What it leaves behind if that fails is told, and takes nobody's place: how the program ended, or what failed first.
fn clean_up(container: Container) {
    delete::destroy(container).unwrap_or_else(|error| log::warning(&error.context("clean up").to_string()));
}

fn stay(
    created: &mut Created,
    console: Option<std::os::fd::OwnedFd>,
    signals: &Signals,
    reap: Reap,
) -> Result<i32> {
    let (stdin, stdout) = (io::stdin(), io::stdout());
    let stdio = Stdio { stdin: stdin.as_fd(), stdout: stdout.as_fd() };
    let relay = match &console {
        Some(socket) => Some(Relay::new(console::receive_master(socket.as_fd())?, stdio)?),
        None => None,
    };
    let notify = start(created)?;
    created.container.unlock();
    foreground::supervise(
        Init { pid: created.init.pid, pidfd: created.init.pidfd() },
        (relay, notify),
        signals,
        reap,
    )
}

/// If it fails, what the init has said on the wire that `create` had to it tells more.
fn start(created: &mut Created) -> Result<Option<Notify>> {
    start::start_locked(&mut created.container).map_err(|error| {
        match created.container.record().and_then(|record| record.init()) {
            Ok(None) => {}
            _ => return error, // it lives, and says nothing more
        }
        match created.init.next_halt() {
            Ok(Err(Ended::Reported(report))) => start::failed(&created.container, report.step, report.fail),
            _ => error,
        }
    })
}

fn detached(global: &Global, args: &Run, bundle: &Bundle) -> Result<i32> {
    let socket = match &args.create.console_socket {
        Some(path) => Some(console::connect("--console-socket", path)?),
        None => None,
    };
    let mut created = create::make(global, &args.create, bundle, socket)?;
    match start(&mut created) {
        Err(error) => {
            clean_up(created.container);
            return Err(error);
        }
        Ok(Some(notify)) => start::wait_ready(&mut created.container, &notify)?,
        Ok(None) => {}
    }
    Ok(0)
}

/// `rrunc run DIR`: where no bundle is named, the current directory is none, and the argument is one.
fn with_bundle_argument(args: &Run) -> Run {
    let is_bundle = |path: &Path| path.join("config.json").is_file();
    let argument = PathBuf::from(&args.create.id);
    if args.create.bundle.is_some() || is_bundle(Path::new(".")) || !is_bundle(&argument) {
        return args.clone();
    }
    let create = Create { id: bundle::id_of(&argument), bundle: Some(argument), ..args.create.clone() };
    Run { create, ..args.clone() }
}
