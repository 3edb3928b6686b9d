//! `exec`: another process in a container. What it is like comes from the container's config.json, as it was when the
//! container was made, and from the command line; or, with `--process`, from a file.

use std::fs;
use std::io::{self, Read};
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;
use std::str::FromStr;
use std::time::Duration;

use oci_spec::runtime::{Capabilities, Capability, LinuxCapabilities, Process, User};

use super::{birth, create, explain, filter, keyring};
use crate::cgroup::{self, Hierarchy};
use crate::cli::{Exec, Global};
use crate::error::{Doing, Error, Kind, Result};
use crate::foreground::{self, Reap, Relay, Signals, Stdio};
use crate::plan::{self, Options, Plan};
use crate::prepare::{self, Given, Prepared};
use crate::seccomp_agent::Agent;
use crate::spawn::{self, Halt, Init};
use crate::spec::{self, Spec};
use crate::state::{Container, ContainerId, Record, Status, Store};
use crate::sys::process::ended;
use crate::sys::{Call, Errno, Named, files};
use crate::{console, host, log, pidfile, rdt};

/// A process as JSON that is larger is none.
const MAX_SIZE: u64 = 16 << 20;

/// `rrunc exec`: the exit status of the program, 0 when detached.
pub fn exec(global: &Global, args: &Exec) -> Result<i32> {
    let id = ContainerId::new(&args.id)?;
    let mut container = Store::open(&global.root)?.load(&id)?;
    match container.status()? {
        Status::Created | Status::Running => {}
        Status::Paused if args.ignore_paused => {}
        Status::Paused => {
            let text = "cannot exec in a paused container (use --ignore-paused to override)";
            return Err(Error::new(Kind::WrongStatus, text));
        }
        Status::Stopped => return Err(stopped()),
        Status::Creating => {
            let text = "the container is still being created";
            return Err(Error::new(Kind::WrongStatus, text));
        }
    }
    let mut spec = spec::parse(&container.config()?)?;
    let process = match &args.process {
        Some(file) => read_process(file)?,
        None => process(spec.oci.process().as_ref(), args)?,
    };
    let terminal = process.terminal().unwrap_or(false);
    spec.oci.set_process(Some(process));
    let file = args.process.as_ref().map_or("the command line".into(), |file| file.display().to_string());
    spec::check(&spec.oci, &file)?;
    terminal_fits(terminal, args)?;

    if args.detach {
        let socket = match &args.console_socket {
            Some(path) => Some(console::connect("--console-socket", path)?),
            None => None,
        };
        let mut init = start(global, args, &container, &spec, socket)?;
        init.release();
        return Ok(0);
    }
    let signals = Signals::block().doing(|| "take over signals".into())?;
    let (ours, theirs) = match terminal {
        true => prepare::console_pair().map(|(ours, theirs)| (Some(ours), Some(theirs)))?,
        false => (None, None),
    };
    let mut init = start(global, args, &container, &spec, theirs)?;
    init.release();
    stay(&init, ours, &signals)
}

fn stopped() -> Error {
    Error::new(Kind::WrongStatus, "cannot exec in a stopped container")
}

fn terminal_fits(terminal: bool, args: &Exec) -> Result<()> {
    match (terminal, args.detach, args.console_socket.is_some()) {
        (true, true, false) => {
            let text = "cannot allocate tty if rrunc will detach without setting console socket";
            Err(Error::new(Kind::Usage, text).hint("give --console-socket, or no terminal"))
        }
        (_, false, true) | (false, _, true) => {
            let text = "cannot use console socket if rrunc will not detach or allocate tty";
            Err(Error::new(Kind::Usage, text).hint("--console-socket goes with --detach and a terminal"))
        }
        _ => Ok(()),
    }
}

/// Makes the process and waits until its program runs.
fn start(
    global: &Global,
    args: &Exec,
    container: &Container,
    spec: &Spec,
    console: Option<OwnedFd>,
) -> Result<Init> {
    let record = container.record()?;
    let (Some(pidfd), Some(pid)) = (record.init()?, record.pid) else {
        return Err(stopped());
    };
    let listen_fds = host::listen_fds();
    let preserve_fds = args.preserve_fds.saturating_add(listen_fds);
    host::check_preserved(preserve_fds)?;
    let pidfd_socket = match &args.pidfd_socket {
        Some(path) => Some(console::connect("--pidfd-socket", path)?),
        None => None,
    };
    let own_user = is_same_user_namespace(pid.0)?;
    let plan = compile(global, record, spec, (preserve_fds, listen_fds), own_user)?;
    let given = Given { console_socket: console, container: Some(pidfd), ..Given::default() };
    let mut agent = match &record.seccomp_listener {
        Some(listener) => Some(Agent::connect(listener)?),
        None => None,
    };
    let prepared = prepare::prepare(&plan, given)?;
    let mut init = make(args, container, &prepared)?;
    converse(&mut init, &plan, container, &mut agent)?;
    if let Some(socket) = pidfd_socket {
        console::send_pidfd(socket.as_fd(), init.pidfd(), "standard")?;
    }
    if let Some(path) = &args.pid_file {
        pidfile::write(path, init.pid)?;
    }
    Ok(init)
}

fn compile(
    global: &Global,
    record: &Record,
    spec: &Spec,
    (preserve_fds, listen_fds): (u32, u32),
    own_user: bool,
) -> Result<Plan> {
    let options = Options {
        id: record.id.clone(),
        bundle: record.bundle.clone().into(),
        root: record.rootfs.clone().into(),
        session_keyring: keyring::of(record)?,
        await_host: record.rdt.is_some(),
        preserve_fds,
        listen_fds,
        ..Options::default()
    };
    let facts = host::facts(&spec.oci, &options.bundle)?;
    // From the cache, where `create` has left it.
    let filter = filter::of(&spec.oci, &global.root)?;
    let plan = plan::compile_exec(spec, &options, &facts, filter, own_user)?;
    plan.warnings.iter().for_each(|warning| log::warning(warning));
    log::debug(|| plan.to_string());
    Ok(plan)
}

/// Into the container's cgroup, or where that can't hold processes any more, since the container has made cgroups below
/// it, into that of its first process.
fn make(args: &Exec, container: &Container, prepared: &Prepared) -> Result<Init> {
    let Some(cgroup) = container.cgroup()? else {
        return spawn::spawn(prepared, None);
    };
    let sub = match &args.cgroup {
        Some(path) => Some(cgroup.below(path)?),
        None => None,
    };
    let place = sub.as_ref().map_or(cgroup.fd(), AsFd::as_fd);
    // Who kills all of the container's processes doesn't see one that comes after.
    let target = prepared.plan.namespaces.target;
    let first =
        target.map(|target| prepared.fd(target.pidfd).doing(|| "find the container".into())).transpose()?;
    let lives = &mut |_| match first {
        Some(first) if ended(first, Some(Duration::ZERO)).doing(|| "look at the container".into())? => {
            Err(stopped())
        }
        _ => Ok(()),
    };
    match birth::spawn(prepared, &cgroup, place, lives) {
        Err(error) if sub.is_none() && error.fail.is_some_and(|fail| fail.errno == Errno::EBUSY) => {
            let pid = container.record()?.pid.ok_or_else(stopped)?;
            let place = cgroup::of_process(&Hierarchy::find()?, pid)?;
            birth::spawn(prepared, &cgroup, place.as_fd(), lives)
        }
        made => made,
    }
}

/// Until the program runs.
fn converse(init: &mut Init, plan: &Plan, container: &Container, agent: &mut Option<Agent>) -> Result<()> {
    loop {
        match init.next_or_program()? {
            Ok(None) => return Ok(()),
            Ok(Some(Halt::NoHome(fail))) => {
                explain::no_home(fail);
                continue;
            }
            Ok(Some(Halt::SeccompListener(listener))) => {
                if let Some(agent) = agent.take() {
                    agent.give(listener.as_fd(), container.record()?, init.pid, Status::Running)?;
                }
            }
            Ok(Some(_)) => {
                create::set_limits(plan, init.pid)?;
                if let Some(group) = &container.record()?.rdt {
                    rdt::add(group, init.pid)?;
                }
            }
            Err(ended) => return Err(explain::ended(ended, plan, container.cgroup()?.as_ref())),
        }
        init.go()?;
    }
}

fn stay(init: &Init, console: Option<OwnedFd>, signals: &Signals) -> Result<i32> {
    let (stdin, stdout) = (io::stdin(), io::stdout());
    let stdio = Stdio { stdin: stdin.as_fd(), stdout: stdout.as_fd() };
    let relay = match &console {
        Some(socket) => Some(Relay::new(console::receive_master(socket.as_fd())?, stdio)?),
        None => None,
    };
    let init = foreground::Init { pid: init.pid, pidfd: init.pidfd() };
    foreground::supervise(init, (relay, None), signals, Reap::Init)
}

/// user_namespaces(7): nobody can join the one that it is in.
fn is_same_user_namespace(pid: i32) -> Result<bool> {
    let link = |who: &str| {
        let path = format!("/proc/{who}/ns/user");
        let read = fs::read_link(&path).call(Call::Readlink).doing(|| format!("read {path}"));
        read.map_err(|error| match error.fail.map(|fail| fail.errno) {
            Some(Errno::EACCES) => {
                error.hint("only root has a right to a container's process before its start")
            }
            _ => error,
        })
    };
    Ok(link("self")? == link(&pid.to_string())?)
}

fn read_process(path: &Path) -> Result<Process> {
    let doing = || format!("read the process {}", path.display());
    let file = fs::File::open(path).call(Call::Openat).doing(doing)?;
    let bytes = files::rest(file.take(MAX_SIZE + 1)).doing(doing)?;
    if bytes.len() as u64 > MAX_SIZE {
        let text = format!("{} is larger than {} MiB", path.display(), MAX_SIZE >> 20);
        return Err(Error::new(Kind::Usage, text));
    }
    spec::parse_process(&bytes, &path.display().to_string())
}

/// The container's own process, with what the command line says otherwise.
pub(crate) fn process(own: Option<&Process>, args: &Exec) -> Result<Process> {
    if args.args.is_empty() {
        let text = "process args cannot be empty";
        return Err(Error::new(Kind::Usage, text).hint("exec ID COMMAND, or --process FILE"));
    }
    let mut process = own.cloned().unwrap_or_else(|| {
        let mut process = Process::default();
        process.set_capabilities(None); // the library's own default has some
        process
    });
    process.set_args(Some(args.args.clone())).set_terminal(Some(args.tty));
    if let Some(cwd) = &args.cwd {
        process.set_cwd(cwd.into());
    }
    if let Some(user) = args.user {
        let mut new = process.user().clone();
        new.set_uid(user.uid);
        if let Some(gid) = user.gid {
            new.set_gid(gid); // else the container's stays: an ordinary user of it is not to get root's group
        }
        process.set_user(new);
    }
    if !args.additional_gids.is_empty() {
        let mut user: User = process.user().clone();
        let mut gids = user.additional_gids().clone().unwrap_or_default();
        gids.extend(&args.additional_gids);
        user.set_additional_gids(Some(gids));
        process.set_user(user);
    }
    if !args.env.is_empty() {
        let mut env = process.env().clone().unwrap_or_default();
        env.extend(args.env.iter().cloned());
        process.set_env(Some(env));
    }
    if args.no_new_privs {
        process.set_no_new_privileges(Some(true));
    }
    if args.process_label.is_some() {
        process.set_selinux_label(args.process_label.clone());
    }
    if args.apparmor.is_some() {
        process.set_apparmor_profile(args.apparmor.clone());
    }
    if !args.caps.is_empty() {
        let sets = process.capabilities().clone().unwrap_or_else(no_capabilities);
        process.set_capabilities(Some(with_capabilities(sets, &args.caps)?));
    }
    Ok(process)
}

/// The library's own default has some, in all sets.
fn no_capabilities() -> LinuxCapabilities {
    let mut none = LinuxCapabilities::default();
    none.set_bounding(None).set_effective(None).set_permitted(None).set_inheritable(None).set_ambient(None);
    none
}

/// One more capability is one more in every set but the inheritable one (CVE-2022-29162).
fn with_capabilities(mut sets: LinuxCapabilities, names: &[String]) -> Result<LinuxCapabilities> {
    for name in names {
        let bare = name.to_uppercase();
        let bare = bare.strip_prefix("CAP_").unwrap_or(&bare);
        let Ok(capability) = Capability::from_str(bare) else {
            let text = format!("--cap {name}: is no capability");
            return Err(Error::new(Kind::Usage, text).hint("they are in capabilities(7): CAP_NET_ADMIN"));
        };
        let with = |set: &Option<Capabilities>| {
            let mut set = set.clone().unwrap_or_default();
            set.insert(capability);
            Some(set)
        };
        let (bounding, effective) = (with(sets.bounding()), with(sets.effective()));
        let (permitted, ambient) = (with(sets.permitted()), with(sets.ambient()));
        sets.set_bounding(bounding).set_effective(effective).set_permitted(permitted).set_ambient(ambient);
    }
    Ok(sets)
}
