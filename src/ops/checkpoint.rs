//! `checkpoint`: criu saves the container's processes to files; then the container is deleted, unless it goes on.

use std::ffi::CString;
use std::fs;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::path::Path;
use std::time::Duration;

use super::criu::{Criu, config_file};
use super::delete;
use crate::cli::Checkpoint;
use crate::criu::images::{Images, Table};
use crate::criu::mounts::{self, Found};
use crate::criu::options::{self, DUMP_LOG};
use crate::criu::outside;
use crate::criu::rpc::{Kind as Request, Notify, Options as Told, Request as Message};
use crate::error::{Doing, Error, Kind, Result};
use crate::plan::criu::{self as plan, External, NULL};
use crate::plan::{self as plans, Options};
use crate::spec::{self, Spec};
use crate::state::{Container, ContainerId, Record, Status, Store};
use crate::sys::{Call, Named, Pid, process};
use crate::{host, log, notify};

/// `rrunc checkpoint`.
pub fn checkpoint(root: &Path, args: &Checkpoint) -> Result<()> {
    let mut container = Store::open(root)?.load(&ContainerId::new(&args.id)?)?;
    container.lock()?;
    match container.status()? {
        Status::Running | Status::Paused => {}
        status => {
            let text = format!("Container cannot be checkpointed in {status} state");
            return Err(Error::new(Kind::WrongStatus, text).hint("only what runs or is paused can be"));
        }
    }
    save(&container, args)?;
    match args.leave_running || args.pre_dump {
        true => Ok(()),
        false => delete::destroy(container),
    }
}

fn save(container: &Container, args: &Checkpoint) -> Result<()> {
    let record = container.record()?;
    let gone = || Error::new(Kind::WrongStatus, "container not running");
    let init = record.init()?.ok_or_else(gone)?;
    let pid = record.pid.ok_or_else(gone)?;
    let mut status = args.status_fd.map(status_fd).transpose()?;
    let spec = spec::parse(&container.config()?)?;
    let images = Images::make(&args.images)?;
    if let Some(parent) = &args.parent_path {
        images.check_parent(parent)?;
    }
    let log_name = CString::new(DUMP_LOG).unwrap_or_default();
    images.begin_log(&log_name, c"stats-dump")?;

    let externals = externals(container, record, &spec)?;
    let found = mounts::find(pid, &externals)?;
    let mut told = Told {
        images_dir_fd: images.images.number(),
        work_dir_fd: Some(images.work.number()),
        pid: Some(pid.0),
        root: Some(record.rootfs.clone()),
        config_file: config_file(&spec.oci),
        ..options::dump(args)
    };
    if let Some(cgroup) = container.cgroup()? {
        told.freeze_cgroup = Some(cgroup.host_path().to_string_lossy().into_owned());
    }
    told.external = found.iter().map(Found::option).collect();
    told.external.extend(outside::joined(&spec, pid)?);
    let table = table(&found, pid)?;
    // All that was looked at by its pid was its own, since it still lives.
    if process::ended(init.as_fd(), Some(Duration::ZERO))
        .doing(|| "look at the container's process".into())?
    {
        return Err(gone());
    }

    if !args.pre_dump {
        images.write_table(&table)?; // now: with --lazy-pages it is restored before we are through
    }
    let criu = Criu::start(None, None, vec![])?;
    criu.check_features(args.pre_dump || args.parent_path.is_some(), args.images.lazy_pages)?;
    let kind = match args.pre_dump {
        true => Request::PreDump,
        false => Request::Dump,
    };
    let message = Message { kind: kind as i32, options: Some(told), ..Message::default() };
    let answer = criu.wire.ask(&message, &mut |heard: &Notify, _| {
        match heard.script() {
            // While no process of the container can change anything.
            "post-dump" => mounts::check(pid, &found),
            "status-ready" => status.take().map_or(Ok(()), tell),
            _ => Ok(()),
        }
    })?;
    let success = answer.success && answer.kind() == kind;
    criu.end()?;
    if !success {
        return Err(images.explain(&log_name));
    }
    Ok(())
}

/// The host's mounts, as the plan of `create` has made them.
fn externals(container: &Container, record: &Record, spec: &Spec) -> Result<Vec<External>> {
    let options = Options {
        id: record.id.clone(),
        bundle: record.bundle.clone().into(),
        root: record.rootfs.clone().into(),
        notify: notify::made_directory(container.path()),
        cgroup: container.cgroup()?.map(|cgroup| cgroup.host_path().to_path_buf()),
        ..Options::default()
    };
    let plan = plans::compile(spec, &options, &host::facts(&spec.oci, &options.bundle)?, None)?;
    plan::check_namespaces(&plan.namespaces)?;
    Ok(plan::externals(&plan))
}

fn table(found: &[Found], pid: Pid) -> Result<Table> {
    let mut table = Table::default();
    for Found { external, .. } in found {
        match external.key.as_str() {
            NULL => table.masked = true,
            key => drop(table.mounts.insert(key.into(), external.destination.to_string())),
        }
    }
    for number in 0..3 {
        let path = format!("/proc/{pid}/fd/{number}");
        let stream = match fs::read_link(&path) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => String::new(), // it has closed that
            link => {
                link.call(Call::Readlink).doing(|| format!("read {path}"))?.to_string_lossy().into_owned()
            }
        };
        table.streams.push(stream);
    }
    log::debug(|| format!("{table:?}"));
    Ok(table)
}

/// Whoever reads may wait for the end of the file too.
fn tell(status: BorrowedFd) -> Result<()> {
    crate::sys::fs::write(status, &[0]).doing(|| "--status-fd: write".into())?;
    nix::unistd::close(status.as_raw_fd())
        .map_err(|errno| Error::new(Kind::Kernel, format!("--status-fd: close: {}", errno.desc())))
}

/// --status-fd, if it can be written to.
fn status_fd(number: i32) -> Result<BorrowedFd<'static>> {
    use nix::fcntl::{FcntlArg, OFlag, fcntl};
    let refused =
        |why: &str| Error::new(Kind::Usage, format!("invalid --status-fd argument {number}: {why}"));
    let fd = crate::sys::fs::borrow(number).ok_or_else(|| refused("bad file descriptor"))?;
    let flags = fcntl(fd, FcntlArg::F_GETFL).map_err(|errno| refused(errno.desc()))?;
    match OFlag::from_bits_truncate(flags) & OFlag::O_ACCMODE {
        OFlag::O_RDONLY => Err(refused("not writable")),
        _ => Ok(fd),
    }
}
