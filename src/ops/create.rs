//! `create`: load, reserve, cgroup, compile, prepare, spawn, converse, commit. Whatever fails on the way, the
//! guards undo in reverse order what was done.

use std::os::fd::{AsFd, OwnedFd};

use oci_spec::runtime::{Hook, Hooks, LinuxNamespaceType};

use super::bundle::Bundle;
use super::{birth, check, delete, end, explain, keyring};
use crate::cgroup::{self, Cgroup, Hierarchy};
use crate::cli::{CgroupManager, Create, Global, Rootless};
use crate::error::{Doing, Error, Kind, Result};
use crate::hooks::Place;
use crate::netdev::Loan;
use crate::plan::{self, Facts, Options, Plan, Rights};
use crate::prepare::{self, Given, Prepared};
use crate::spawn::{self, Halt, Init};
use crate::spec::annotations::{self, PIDFD_RECEIVER};
use crate::state::{Container, ContainerId, Record, Reservation, Status, Store};
use crate::sys::ids;
use crate::sys::{Pid, files};
use crate::{console, hooks, host, idmap, log, netdev, notify, pidfile, rdt, user_namespace};

/// What `create` leaves to a caller that stays.
pub struct Created {
    pub container: Container,
    pub init: Init,
}

/// `rrunc create`.
pub fn create(global: &Global, args: &Create) -> Result<()> {
    try_create(global, args).map_err(|error| check::with_all_faults(error, global.cgroup_manager, args))
}

fn try_create(global: &Global, args: &Create) -> Result<()> {
    let bundle = Bundle::open(args.bundle.as_deref(), args.config.as_deref())?;
    terminal_fits(&bundle, args, true)?;
    let socket = match &args.console_socket {
        Some(path) => Some(console::connect("--console-socket", path)?),
        None => None,
    };
    make(global, args, &bundle, socket).map(drop)
}

/// A terminal and a console socket go together: whoever does not stay needs somebody to hand the terminal to.
pub fn terminal_fits(bundle: &Bundle, args: &Create, detach: bool) -> Result<()> {
    let terminal =
        bundle.spec.oci.process().as_ref().is_some_and(|process| process.terminal().unwrap_or(false));
    match (terminal, detach, args.console_socket.is_some()) {
        (true, true, false) => {
            let text = "cannot allocate tty if rrunc will detach without setting console socket";
            Err(Error::new(Kind::Usage, text).hint("give --console-socket, or set process.terminal to false"))
        }
        (_, false, true) | (false, _, true) => {
            Err(Error::new(Kind::Usage, "cannot use console socket if rrunc will not detach or allocate tty")
                .hint("--console-socket goes with process.terminal and without a foreground"))
        }
        _ => Ok(()),
    }
}

/// Makes the container; its process waits for the start. `console` takes the terminal's master.
pub fn make(global: &Global, args: &Create, bundle: &Bundle, console: Option<OwnedFd>) -> Result<Created> {
    let id = ContainerId::new(&args.id)?;
    let oci = &bundle.spec.oci;
    bundle.spec.warnings.iter().for_each(|warning| log::warning(warning));
    let root = bundle.root()?;
    let listen_fds = host::listen_fds();
    let preserve_fds = args.preserve_fds.saturating_add(listen_fds);
    host::check_preserved(preserve_fds)?;
    let pidfd_socket = pidfd_socket(args, oci)?;
    let facts = host::facts(oci, &bundle.path)?;
    let store = Store::open(&global.root)?;
    let filter = super::filter::of(oci, &global.root)?;
    let seccomp_listener = super::filter::listener(oci)?;

    let mut reservation = store.reserve(&id)?;
    let resources = oci.linux().as_ref().and_then(|linux| linux.resources().as_ref());
    let mut cgroup = make_cgroup(global, (oci, &args.id), &facts, &reservation)?;
    let rdt = make_rdt(oci, &args.id)?;
    let session_keyring = match args.no_new_keyring {
        true => None,
        false => Some(keyring::name(&args.id)?),
    };
    let mut record = Record {
        no_new_keyring: args.no_new_keyring,
        session_keyring: session_keyring.clone(),
        seccomp_listener,
        rdt: rdt.as_ref().map(|new| new.group().clone()),
        ..record(&store, bundle, &id, &root, cgroup.as_ref())?
    };
    reservation.write_early(&record)?;
    if let Some(cgroup) = &cgroup {
        cgroup.apply(resources)?;
    }

    let notify = match has_own_mounts(oci) {
        true => notify::directory(reservation.path())?,
        false => None, // a mount on the host's /run is nobody's wish
    };
    let options = Options {
        id: args.id.clone(),
        bundle: bundle.path.clone(),
        root: root.clone(),
        no_pivot: args.no_pivot,
        session_keyring,
        await_host: false,
        preserve_fds,
        listen_fds,
        cgroup: cgroup.as_ref().map(|cgroup| cgroup.host_path().to_path_buf()),
        notify,
    };
    let plan = plan::compile(&bundle.spec, &options, &facts, filter)?;
    plan.warnings.iter().for_each(|warning| log::warning(warning));
    let text = plan.to_string();
    text.lines().for_each(|line| log::debug(|| line.to_string()));
    reservation.write_plan(&text)?;
    reservation.write_config(&bundle.config)?;
    let given = Given {
        console_socket: console,
        container: None,
        start_socket: Some(reservation.listen_start()?),
        waiting: Some(reservation.waiting()?),
        ..Given::default()
    };
    let prepared = prepare::prepare(&plan, given)?;
    let mut init = match &cgroup {
        Some(cgroup) => birth::spawn(&prepared, cgroup, cgroup.fd(), &mut |pid| record.set_init(pid))?,
        None => {
            let init = spawn::spawn(&prepared, None)?;
            record.set_init(init.pid)?;
            init
        }
    };
    if let Some(cgroup) = &mut cgroup {
        cgroup.inhabited(resources)?;
        // Not before: who enters a user namespace to be born there has no right to what isn't root's here.
        if let Some(uid) = plan.host.cgroup_owner {
            cgroup.chown_to(uid)?;
        }
    }
    let mut loan = None;
    let made = converse(&mut init, &prepared, &record, bundle, cgroup.as_ref(), &mut loan)
        .and_then(|()| finish(args, &plan, &init, &record, pidfd_socket));
    let committed = match made {
        Ok(()) => reservation.commit(&record).inspect_err(|_| {
            let path = args.pid_file.iter();
            path.for_each(|path| drop(std::fs::remove_file(path))); // nobody may take it for a container's
        }),
        Err(error) => Err(error),
    };
    let container = match committed {
        Ok(container) => container,
        Err(error) => {
            drop(loan); // before the death of init takes the devices' network namespace along
            drop(init);
            // runtime.md, Lifecycle: a container that fails to be created is destroyed, with its poststop hooks.
            delete::poststop(&record);
            return Err(error);
        }
    };
    if let Some(rdt) = rdt {
        rdt.keep();
    }
    if let Some(cgroup) = cgroup {
        cgroup.commit();
    }
    if let Some(loan) = loan {
        loan.commit();
    }
    init.release();
    Ok(Created { container, init })
}

fn has_own_mounts(oci: &oci_spec::runtime::Spec) -> bool {
    let linux = oci.linux().iter();
    let mut namespaces = linux.flat_map(|linux| linux.namespaces().iter().flatten());
    namespaces.any(|ns| ns.typ() == LinuxNamespaceType::Mount && ns.path().is_none())
}

/// Who gets the init's pidfd.
fn pidfd_socket(args: &Create, oci: &oci_spec::runtime::Spec) -> Result<Option<OwnedFd>> {
    if let Some(path) = &args.pidfd_socket {
        return console::connect("--pidfd-socket", path).map(Some);
    }
    let receiver = annotations::get(oci, PIDFD_RECEIVER);
    receiver
        .map(|path| console::connect(&format!("annotations[{PIDFD_RECEIVER}]"), path.as_ref()))
        .transpose()
}

/// What is left to do for a container's process that has done its part. The pid file comes last, since a reader takes
/// it for a sign that the container is there.
fn finish(
    args: &Create,
    plan: &Plan,
    init: &Init,
    record: &Record,
    pidfd_socket: Option<OwnedFd>,
) -> Result<()> {
    set_limits(plan, init.pid)?;
    if let Some(group) = &record.rdt {
        rdt::add(group, init.pid)?;
    }
    if let Some(socket) = pidfd_socket {
        console::send_pidfd(socket.as_fd(), init.pidfd(), "standard")?;
    }
    match &args.pid_file {
        Some(path) => pidfile::write(path, init.pid),
        None => Ok(()),
    }
}

/// linux.intelRdt, if there is one.
pub(super) fn make_rdt(oci: &oci_spec::runtime::Spec, id: &str) -> Result<Option<rdt::New>> {
    match oci.linux().as_ref().and_then(|linux| linux.intel_rdt().as_ref()) {
        Some(wanted) => rdt::make(wanted, id, &rdt::root()?).map(Some),
        None => Ok(None),
    }
}

/// By whom the command line says.
pub(super) fn make_cgroup(
    global: &Global,
    (oci, id): (&oci_spec::runtime::Spec, &str),
    facts: &Facts,
    reservation: &Reservation,
) -> Result<Option<Cgroup>> {
    let linux = oci.linux().as_ref();
    let resources = linux.and_then(|linux| linux.resources().as_ref());
    match global.cgroup_manager {
        CgroupManager::Systemd => return cgroup::systemd::create(oci, id).map(Some),
        CgroupManager::Disabled => return cgroup::resources::check_none(resources).map(|()| None),
        CgroupManager::Cgroupfs => {}
    }
    let place = cgroup::place(linux.and_then(|linux| linux.cgroups_path().as_deref()), id)?;
    // Recorded as ours only once it is: a delete after our death would else kill whoever has it.
    reservation.plan_cgroup(&place)?;
    match is_rootless(global.rootless, facts) {
        true => cgroup::create_if_allowed(&place, is_cgroup_asked(oci), resources),
        false => Cgroup::create(&Hierarchy::find()?, &place).map(Some),
    }
}

/// Whether what only the host's root may do is overlooked: `--rootless`, and what we are if that doesn't say.
fn is_rootless(given: Rootless, facts: &Facts) -> bool {
    match given {
        Rootless::Yes => true,
        Rootless::No => false,
        Rootless::Auto => facts.rights != Rights::Host,
    }
}

fn is_cgroup_asked(oci: &oci_spec::runtime::Spec) -> bool {
    let path = oci.linux().as_ref().and_then(|linux| linux.cgroups_path().as_ref());
    path.is_some_and(|path| !path.as_os_str().is_empty())
}

pub(super) fn record(
    store: &Store,
    bundle: &Bundle,
    id: &ContainerId,
    root: &std::path::Path,
    cgroup: Option<&Cgroup>,
) -> Result<Record> {
    let oci = &bundle.spec.oci;
    let namespaces = oci.linux().iter().flat_map(|linux| linux.namespaces().iter().flatten());
    let list = |list: fn(&Hooks) -> &Option<Vec<Hook>>| -> Vec<Hook> {
        oci.hooks().as_ref().and_then(|hooks| list(hooks).clone()).unwrap_or_default()
    };
    let cgroup_inode = cgroup.map_or(Ok(0), Cgroup::inode)?;
    let cgroup_made = match cgroup {
        Some(cgroup) if !cgroup.is_new() => {
            end::was_made_for_another(store, id, cgroup.place(), cgroup_inode)?
        }
        cgroup => cgroup.is_some(),
    };
    Ok(Record {
        version: crate::state::VERSION,
        oci_version: oci.version().clone(),
        id: id.as_str().into(),
        bundle: bundle.path.to_string_lossy().into_owned(),
        rootfs: root.to_string_lossy().into_owned(),
        created: crate::state::now(),
        annotations: oci.annotations().iter().flatten().map(|(k, v)| (k.clone(), v.clone())).collect(),
        owner: Some(crate::sys::Uid(nix::unistd::geteuid().as_raw())),
        boot_id: crate::state::boot_id()?.into(),
        cgroup: cgroup.map(|cgroup| cgroup.place().into()),
        cgroup_inode,
        cgroup_made,
        unit: cgroup.and_then(Cgroup::unit).cloned(),
        private_pid_namespace: namespaces
            .into_iter()
            .any(|ns| ns.typ() == LinuxNamespaceType::Pid && ns.path().is_none()),
        terminal: oci.process().as_ref().is_some_and(|process| process.terminal().unwrap_or(false)),
        has_process: oci.process().is_some(),
        poststart: list(Hooks::poststart),
        poststop: list(Hooks::poststop),
        ..Record::default()
    })
}

/// Does the host's part at each halt of the container's process, until it is ready.
fn converse<'p>(
    init: &mut Init,
    prepared: &Prepared<'p>,
    record: &Record,
    bundle: &Bundle,
    cgroup: Option<&Cgroup>,
    loan: &mut Option<Loan<'p>>,
) -> Result<()> {
    loop {
        match init.next_halt()? {
            Ok(Halt::IdMaps) => {
                let plan = prepared.plan;
                if plan.namespaces.maps_by_user() {
                    set_oom_score(plan, init.pid)?; // an ordinary user can do it only now: see init's be_born
                }
                if let Some(maps) = &plan.namespaces.id_maps {
                    user_namespace::write(init.pid, maps)?;
                }
                idmap::map_by_container(prepared.plan, init.pid, |bind| prepared.fd(bind.slot))?;
            }
            Ok(Halt::NetDevices) => {
                let devices = &prepared.plan.host.net_devices;
                *loan = Some(netdev::lend(devices, init.pid, init.pidfd())?);
            }
            Ok(Halt::HostHooks) => {
                let state = record.hook_state(Status::Creating);
                if let Some(slot) = prepared.plan.hook_state {
                    prepare::write_hook_state(prepared, slot, &state)?;
                }
                if let Some(lists) = bundle.spec.oci.hooks() {
                    #[allow(deprecated)] // prestart is deprecated by the spec since 1.0, and still to be run
                    let prestart = lists.prestart().as_deref().unwrap_or_default();
                    // runtime.md, State: created is "after step 2", and prestart is step 3.
                    let place = Place::of(record);
                    hooks::run("prestart", prestart, &record.hook_state(Status::Created), &place)?;
                    let create_runtime = lists.create_runtime().as_deref().unwrap_or_default();
                    hooks::run("createRuntime", create_runtime, &state, &place)?;
                }
            }
            Ok(Halt::NoHome(fail)) => {
                explain::no_home(fail);
                continue;
            }
            Ok(Halt::Ready) => return Ok(()),
            // Its filter goes in after the start, and `start` is who takes the listener.
            Ok(Halt::Cgroup | Halt::SeccompListener(_)) => {
                let text = "the container's process says what it wasn't asked";
                return Err(Error::new(Kind::Kernel, text));
            }
            Err(ended) => return Err(explain::ended(ended, prepared.plan, cgroup)),
        }
        init.go()?;
    }
}

/// From outside, since in its user namespace the container's process has no right to it.
pub fn set_limits(plan: &Plan, pid: Pid) -> Result<()> {
    for (index, limit) in plan.host.raise_limits.iter().enumerate() {
        let doing = || format!("process.rlimits[{index}]: raise the hard limit to {}", limit.hard);
        let (soft, hard) = ids::getrlimit(pid, limit.resource).doing(doing)?;
        if limit.hard > hard {
            ids::prlimit(pid, limit.resource, soft, limit.hard)
                .doing(doing)
                .map_err(|error| error.hint(explain::RAISING_LIMITS))?;
        }
    }
    match plan.namespaces.maps_by_user() {
        true => Ok(()), // done already
        false => set_oom_score(plan, pid),
    }
}

fn set_oom_score(plan: &Plan, pid: Pid) -> Result<()> {
    let Some(adj) = plan.host.oom_score_adj else {
        return Ok(());
    };
    let path = format!("/proc/{pid}/oom_score_adj");
    let written = files::write(&path, adj.to_string());
    written
        .doing(|| format!("process.oomScoreAdj: write {adj} to {path}"))
        .map_err(|error| error.hint("lowering it needs CAP_SYS_RESOURCE"))
}
