//! `restore`: a container from a bundle and what `checkpoint` has saved of its processes. All around them is made as by
//! `create`; criu makes the processes, of which the first is our child.

use std::cell::RefCell;
use std::ffi::CString;
use std::fs;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::DirBuilderExt;
use std::path::Path;

use super::bundle::Bundle;
use super::criu::{Criu, config_file};
use super::{create, delete, explain, filter, keyring};
use crate::cli::{Create, Global, Restore};
use crate::criu::images::Images;
use crate::criu::inside;
use crate::criu::options::{self, RESTORE_LOG};
use crate::criu::outside;
use crate::criu::rpc::{Kind as Request, Notify, Options as Told, Request as Message};
use crate::error::{Doing, Error, Kind, Result};
use crate::foreground::{self, Reap, Relay, Signals, Stdio};
use crate::hooks::Place;
use crate::netdev::Loan;
use crate::plan::criu::{self as plan, NOTIFY, NULL, ROOT, Scene};
use crate::plan::{self as plans, Facts, Options, Plan};
use crate::prepare::{self, Given};
use crate::spawn::{self, Halt};
use crate::spec::Spec;
use crate::state::{Container, ContainerId, Record, Status, Store};
use crate::sys::{Call, Named, Pid, Uid, files, net, process};
use crate::{console, hooks, host, idmap, log, netdev, notify, pidfile, rdt, user_namespace};

/// In the container's state directory, what criu alone sees of the host.
const SCENE: &str = "criu";

/// What `restore` leaves to a caller that stays.
struct Restored {
    container: Container,
    pid: Pid,
    pidfd: OwnedFd,
    /// The master of the container's terminal, unless it went to the console socket.
    master: Option<OwnedFd>,
}

/// `rrunc restore`: the exit status of the container's first process, 0 when detached.
pub fn restore(global: &Global, args: &Restore) -> Result<i32> {
    let bundle = Bundle::open(args.bundle.as_deref(), None)?;
    let as_create = Create { console_socket: args.console_socket.clone(), ..Create::default() };
    create::terminal_fits(&bundle, &as_create, args.detach)?;
    if args.detach {
        let socket = match &args.console_socket {
            Some(path) => Some(console::connect("--console-socket", path)?),
            None => None,
        };
        return make(global, args, &bundle, socket.as_ref()).map(|_| 0);
    }
    let signals = Signals::block().doing(|| "take over signals".into())?;
    let reap = if args.no_subreaper { Reap::Init } else { Reap::All };
    if reap == Reap::All {
        foreground::become_subreaper().doing(|| "become a subreaper".into())?;
    }
    let restored = make(global, args, &bundle, None)?;
    let Restored { mut container, pid, pidfd, master } = restored;
    container.unlock();
    let outcome = stay((pid, &pidfd), master, &signals, reap);
    delete::destroy(container)?;
    outcome
}

fn stay(
    (pid, pidfd): (Pid, &OwnedFd),
    master: Option<OwnedFd>,
    signals: &Signals,
    reap: Reap,
) -> Result<i32> {
    let (stdin, stdout) = (io::stdin(), io::stdout());
    let stdio = Stdio { stdin: stdin.as_fd(), stdout: stdout.as_fd() };
    let relay = match master {
        Some(master) => Some(Relay::new(master, stdio)?),
        None => None,
    };
    let init = foreground::Init { pid, pidfd: pidfd.as_fd() };
    foreground::supervise(init, (relay, None), signals, reap)
}

/// Makes the container; its processes run.
fn make(global: &Global, args: &Restore, bundle: &Bundle, socket: Option<&OwnedFd>) -> Result<Restored> {
    let id = ContainerId::new(&args.id)?;
    let oci = &bundle.spec.oci;
    let warnings = bundle.spec.warnings.iter();
    warnings.for_each(|warning| log::warning(warning));
    let root = bundle.root()?;
    let facts = host::facts(oci, &bundle.path)?;
    let images = Images::open(&args.images, root_of(&bundle.spec))?;
    let table = images.read_table()?;
    let log_name = CString::new(RESTORE_LOG).unwrap_or_default();
    images.begin_log(&log_name, c"stats-restore")?;

    let store = Store::open(&global.root)?;
    let mut reservation = store.reserve(&id)?;
    let resources = oci.linux().as_ref().and_then(|linux| linux.resources().as_ref());
    let mut cgroup = create::make_cgroup(global, (oci, &args.id), &facts, &reservation)?;
    let rdt = create::make_rdt(oci, &args.id)?;
    let session_keyring = keyring::name(&args.id)?;
    let record = Record {
        session_keyring: Some(session_keyring.clone()),
        seccomp_listener: filter::listener(oci)?,
        rdt: rdt.as_ref().map(|new| new.group().clone()),
        ..create::record(&store, bundle, &id, &root, cgroup.as_ref())?
    };
    reservation.write_early(&record)?;
    if let Some(cgroup) = &cgroup {
        cgroup.apply(resources)?;
    }
    let had_socket = table.mounts.values().any(|destination| destination == NOTIFY);
    let notify = had_socket.then(|| notify::make_directory(reservation.path()));
    let options = Options {
        notify: notify.transpose()?,
        id: args.id.clone(),
        bundle: bundle.path.clone(),
        root: root.clone(),
        no_pivot: args.no_pivot,
        cgroup: cgroup.as_ref().map(|cgroup| cgroup.host_path().to_path_buf()),
        ..Options::default()
    };
    let plan = plans::compile(&bundle.spec, &options, &facts, None)?;
    plan::check_namespaces(&plan.namespaces)?;
    let externals = plan::externals(&plan);
    let mounts = outside::sources(&table, &externals)?;
    reservation.write_plan(&make_mount_points(&bundle.spec, &options, &facts)?)?;
    reservation.write_config(&bundle.config)?;

    if plan.namespaces.id_maps.is_some() {
        root_of(&bundle.spec).map_or(Ok(()), |uid| images.give_to(uid))?;
    }

    let directory = reservation.path().join(SCENE);
    let stage = reservation.path().join("..").canonicalize();
    let stage = stage.call(Call::Readlink).doing(|| format!("find {}", global.root.display()))?;
    let made = fs::DirBuilder::new().mode(0o711).create(&directory);
    made.call(Call::Mkdir).doing(|| format!("make {}", directory.display()))?;
    let mut keys: Vec<&str> = mounts.iter().map(|(_, key)| *key).collect();
    let masked = outside::masks(&externals);
    keys.extend(masked.then_some(NULL));
    let scene = Scene {
        plan: &plan,
        keys: &keys,
        directory: directory.clone(),
        stage: stage.clone(),
        root,
        oci,
        facts: &facts,
        session_keyring: &session_keyring,
    };
    let mut inherited = vec![];
    let mut told = Told {
        root: Some(stage.join(ROOT).to_string_lossy().into_owned()),
        config_file: config_file(oci),
        external: outside::told(&stage, &mounts, masked),
        inherit_fd: outside::streams(&table),
        join_ns: outside::joined_by_path(&bundle.spec),
        ..options::restore(args)
    };
    outside::join(&bundle.spec, &mut inherited, &mut told)?;

    let criu = Criu::start(Some(&scene), cgroup.as_ref(), inherited)?;
    criu.check_features(false, args.images.lazy_pages)?;
    if let Some(cgroup) = &mut cgroup {
        cgroup.inhabited(resources)?;
    }
    let seen = images.seen_by(criu.pid())?;
    told.images_dir_fd = seen.images.number();
    told.work_dir_fd = Some(seen.work.number());
    told.cgroup_roots = outside::cgroup_roots(criu.pid())?;
    let progress = RefCell::new(Progress { record, master: None, loan: None, hooked: false });
    let message = Message { kind: Request::Restore as i32, options: Some(told), ..Message::default() };
    let answer = criu.wire.ask(&message, &mut |heard, fd| {
        let given = (socket, args.pid_file.as_deref());
        progress.borrow_mut().hear(heard, fd, bundle, &plan, given)
    });
    let answer = answer.and_then(|answer| {
        criu.end()?;
        match (answer.success, answer.restore) {
            (true, Some(restored)) => Ok(Pid(restored.pid)),
            _ => Err(images.explain(&log_name)),
        }
    });
    let Progress { mut record, master, loan, hooked } = progress.into_inner();
    let mut child = Child(None);
    let made = answer.and_then(|pid| {
        let pidfd = process::pidfd_open(pid).doing(|| format!("open the process {pid}"))?;
        child = Child(Some(pidfd));
        record.set_init(pid)?;
        // Its mounts went with criu.
        files::remove_dir_all(&directory).doing(|| format!("remove {}", directory.display()))?;
        if let Some(group) = &record.rdt {
            rdt::add(group, pid)?;
        }
        Ok(pid)
    });
    let committed = match made {
        Ok(pid) => reservation.commit(&record).map(|container| (container, pid)),
        Err(error) => Err(error),
    };
    let (container, pid) = match committed {
        Ok(committed) => committed,
        Err(error) => {
            // As after a create that fails.
            drop(loan);
            drop(child);
            let path = args.pid_file.iter();
            path.for_each(|path| drop(fs::remove_file(path))); // nobody may take it for a container's
            if hooked {
                delete::poststop(&record);
            }
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
    Ok(Restored { container, pid, pidfd: child.keep()?, master })
}

/// The first process while something may still fail: then it is killed.
struct Child(Option<OwnedFd>);

impl Child {
    fn keep(mut self) -> Result<OwnedFd> {
        let gone = || Error::new(Kind::Kernel, "the container's process is gone");
        self.0.take().ok_or_else(gone)
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        if let Some(pidfd) = &self.0 {
            process::kill_and_reap(pidfd.as_fd());
        }
    }
}

/// What has come of the restore so far.
struct Progress<'p> {
    record: Record,
    master: Option<OwnedFd>,
    loan: Option<Loan<'p>>,
    /// Hooks have run.
    hooked: bool,
}

impl<'p> Progress<'p> {
    /// criu has come to one of its points (criu(8), --action-script) and waits for us.
    fn hear(
        &mut self,
        notify: &Notify,
        fd: Option<OwnedFd>,
        bundle: &Bundle,
        plan: &'p Plan,
        (socket, pid_file): (Option<&OwnedFd>, Option<&Path>),
    ) -> Result<()> {
        match (notify.script(), fd) {
            // Nothing of the container has run yet.
            ("post-restore", _) => {
                inside::check(&bundle.spec, Pid(notify.pid()))?;
                pid_file.map_or(Ok(()), |path| pidfile::write(path, Pid(notify.pid())))
            }
            ("setup-namespaces", _) => self.namespaces_are_there(Pid(notify.pid()), bundle, plan),
            ("orphan-pts-master", Some(master)) => match socket {
                Some(socket) => net::send(socket.as_fd(), b"/dev/ptmx", Some(master.as_fd()))
                    .doing(|| "send the terminal to --console-socket".into()),
                None => {
                    self.master = Some(master);
                    Ok(())
                }
            },
            _ => Ok(()),
        }
    }

    /// The first process is in its namespaces, and nothing is restored in them yet.
    fn namespaces_are_there(&mut self, pid: Pid, bundle: &Bundle, plan: &'p Plan) -> Result<()> {
        self.record.set_init(pid)?;
        let devices = &plan.host.net_devices;
        if !devices.is_empty() {
            let pidfd = process::pidfd_open(pid).doing(|| format!("open the process {pid}"))?;
            self.loan = Some(netdev::lend(devices, pid, pidfd.as_fd())?);
        }
        if let Some(lists) = bundle.spec.oci.hooks() {
            self.hooked = true;
            let place = Place::of(&self.record);
            #[allow(deprecated)] // prestart is deprecated by the spec since 1.0, and still to be run
            let prestart = lists.prestart().as_deref().unwrap_or_default();
            hooks::run("prestart", prestart, &self.record.hook_state(Status::Created), &place)?;
            let create_runtime = lists.create_runtime().as_deref().unwrap_or_default();
            hooks::run("createRuntime", create_runtime, &self.record.hook_state(Status::Creating), &place)?;
        }
        Ok(())
    }
}

/// The host's id of the root of the container's user namespace.
fn root_of(spec: &Spec) -> Option<Uid> {
    let maps = spec.oci.linux().as_ref()?.uid_mappings().as_ref()?;
    let root = maps.iter().find(|map| map.container_id() == 0)?;
    Some(Uid(root.host_id()))
}

/// Makes the mount points in the root file system; gives the plan of that.
fn make_mount_points(spec: &Spec, options: &Options, facts: &Facts) -> Result<String> {
    let plan = plan::mount_points(spec, options, facts)?;
    let text = plan.to_string();
    text.lines().for_each(|line| log::debug(|| line.to_string()));
    let prepared = prepare::prepare(&plan, Given::default())?;
    let mut child = spawn::spawn(&prepared, None)?;
    loop {
        match child.next_halt()? {
            Ok(Halt::Ready) => return Ok(text),
            Ok(Halt::IdMaps) => {
                if let Some(maps) = &plan.namespaces.id_maps {
                    user_namespace::write(child.pid, maps)?;
                }
                idmap::map_by_container(&plan, child.pid, |bind| prepared.fd(bind.slot))?;
            }
            Ok(_) => {
                let text = "the process that makes mount points says what it wasn't asked";
                return Err(Error::new(Kind::Kernel, text));
            }
            Err(ended) => return Err(explain::ended(ended, &plan, None)),
        }
        child.go()?;
    }
}
