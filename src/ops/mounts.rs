//! `mounts`: file systems and files of the host into a container that runs, and out again.

use std::fs;
use std::os::fd::AsFd;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::Duration;

use oci_spec::runtime::{LinuxIdMapping, LinuxIdMappingBuilder};

use super::explain;
use crate::cli::MountsAction;
use crate::error::{Doing, Error, Kind, Result};
use crate::plan::running::{self, Inside};
use crate::plan::{Options, Plan};
use crate::prepare::{self, Given};
use crate::spawn::{self, Halt};
use crate::spec::running::{self as file, UserNamespace};
use crate::state::{ContainerId, Record, Store};
use crate::sys::{Call, Named, Pid, files, process};
use crate::{log, spec};

/// `rrunc mounts`. All of the file's mounts are added or removed, or none.
pub fn mounts(root: &Path, action: MountsAction, id: &str, path: &Path) -> Result<()> {
    let mut container = Store::open(root)?.load(&ContainerId::new(id)?)?;
    container.lock()?;
    let record = container.record()?;
    let not_running = || Error::new(Kind::WrongStatus, "container not running");
    let init = record.init()?.ok_or_else(not_running)?;
    let pid = record.pid.ok_or_else(not_running)?;

    let bytes = files::read(path).doing(|| format!("read {}", path.display()))?;
    let shares = |kind: &str| shares_namespace(pid, kind);
    if shares("mnt")? {
        let text = "the container has no mount namespace of its own: its mounts are the host's";
        return Err(Error::new(Kind::Unsupported, text));
    }
    let user = match shares("user")? {
        true => None,
        false => Some(ids_of(pid)?),
    };
    let inside = Inside { init: pid, user: user.is_some() };
    let spec = file::parse(&bytes, &path.display().to_string(), user.as_ref())?;
    spec.warnings.iter().for_each(|warning| log::warning(warning));
    let plan = plan(&spec, action, inside, record)?;
    plan.to_string().lines().for_each(|line| log::debug(|| line.to_string()));
    let prepared = prepare::prepare(&plan, Given::default())?;
    // All that was opened by its pid was its own, since it still lives.
    if process::ended(init.as_fd(), Some(Duration::ZERO))
        .doing(|| "look at the container's process".into())?
    {
        return Err(not_running());
    }
    match spawn::spawn(&prepared, None)?.next_halt()? {
        Ok(Halt::Ready) => Ok(()),
        Ok(_) => Err(Error::new(Kind::Kernel, "the process in the container says what it wasn't asked")),
        Err(ended) => Err(explain::ended(ended, &plan, None)),
    }
}

fn plan(spec: &spec::Spec, action: MountsAction, inside: Inside, record: &Record) -> Result<Plan> {
    match action {
        MountsAction::Add => {
            let options = Options { bundle: record.bundle.clone().into(), ..Options::default() };
            running::add(&spec.oci, inside, &options)
        }
        MountsAction::Remove => running::remove(&spec.oci, inside),
    }
}

fn shares_namespace(pid: Pid, kind: &str) -> Result<bool> {
    let of = |process: &str| {
        let path = format!("/proc/{process}/ns/{kind}");
        fs::metadata(&path).call(Call::Stat).doing(|| format!("open {path}"))
    };
    Ok(of(&pid.to_string())?.ino() == of("self")?.ino())
}

/// The maps of a process's user namespace (user_namespaces(7)), as we see them.
fn ids_of(pid: Pid) -> Result<UserNamespace> {
    let read = |file: &str| -> Result<Vec<LinuxIdMapping>> {
        let path = format!("/proc/{pid}/{file}");
        let text = files::read_to_string(&path).doing(|| format!("read {path}"))?;
        Ok(text.lines().filter_map(mapping).collect())
    };
    Ok(UserNamespace { uid: read("uid_map")?, gid: read("gid_map")? })
}

pub(crate) fn mapping(line: &str) -> Option<LinuxIdMapping> {
    let mut numbers = line.split_whitespace().map(str::parse::<u32>);
    let builder = LinuxIdMappingBuilder::default();
    let builder = builder.container_id(numbers.next()?.ok()?).host_id(numbers.next()?.ok()?);
    builder.size(numbers.next()?.ok()?).build().ok()
}
