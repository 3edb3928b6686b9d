//! What of a config.json this host can't do or hasn't got. Each function looks at one thing; all of them are asked.

use std::fs;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};

use oci_spec::runtime::Spec;

use super::{Against, Report, program};
use crate::cgroup::{self, Hierarchy};
use crate::cli::{self, CgroupManager};
use crate::error::{Doing, Kind};
use crate::ops::bundle::Bundle;
use crate::ops::explain;
use crate::ops::plan::{self as planned, Place};
use crate::plan::{NetDevice, Plan};
use crate::sys::{Call, Named, Pid, fs as sys, ids};
use crate::{host, netdev, plan, prepare, rdt, seccomp_agent, spec, user_namespace};

/// Adds what is wrong here. Fields that are faulty by themselves are not judged again.
pub fn examine(bundle: &Bundle, manager: CgroupManager, report: &mut Report) {
    let oci = &bundle.spec.oci;
    let root = root(bundle, report);
    seccomp(oci, report);
    let place = cgroup(bundle, manager, report);
    hooks(oci, report);
    sysctls(oci, report);
    file_systems(oci, report);
    rlimits(oci, report);
    devices(oci, report);
    intel_rdt(oci, report);
    namespaces(oci, report);
    if let Some(plan) = compile(bundle, root.as_deref(), &place, report) {
        for warning in &plan.warnings {
            report.warn(Against::Host, warning);
        }
        sources(oci, &plan, report);
        for NetDevice { name, .. } in &plan.host.net_devices {
            if let Err(error) = netdev::find(name) {
                report.add(Against::Host, &format!("linux.netDevices[{name}]"), &error);
            }
        }
        for (field, error) in plan.namespaces.id_maps.iter().flat_map(user_namespace::check) {
            report.add(Against::Host, field, &error);
        }
        if let Some(Err(error)) = spec::seccomp_listener(oci).map(seccomp_agent::check) {
            report.add(Against::Host, "linux.seccomp.listenerPath", &error);
        }
        if let Some(root) = root {
            program::examine(oci, &plan, &root, report);
        }
    }
}

fn root(bundle: &Bundle, report: &mut Report) -> Option<PathBuf> {
    match bundle.root() {
        Ok(root) => Some(root),
        Err(error) => {
            report.add(Against::Host, "root.path", &error);
            None
        }
    }
}

/// What can't be compiled can't be told of in more detail.
fn compile(bundle: &Bundle, root: Option<&Path>, place: &Place, report: &mut Report) -> Option<Plan> {
    let root = root.unwrap_or(Path::new("/"));
    match planned::of(bundle, root, place, &cli::Plan::default()) {
        Ok(plan) => Some(plan),
        Err(error) if error.kind == Kind::InvalidSpec => {
            report.add(Against::Spec, "", &error);
            None
        }
        Err(error) => {
            report.add(Against::Host, "", &error);
            None
        }
    }
}

/// Namespaces to join, sources of mounts, devices to bind: opened as `create` does, and closed again.
fn sources(oci: &Spec, plan: &Plan, report: &mut Report) {
    let mounts = oci.mounts().iter().flatten().enumerate();
    // Without a cgroup namespace, a mount of type cgroup shows the container's cgroup, which `create` makes.
    let made: Vec<String> = mounts
        .filter(|(_, mount)| mount.typ().as_deref() == Some("cgroup"))
        .map(|(i, _)| format!("mounts[{i}].source"))
        .collect();
    for want in &plan.wants {
        let field = want.field().filter(|field| !made.iter().any(|made| made == field));
        if let (Some(field), Some(Err(error))) = (field, prepare::open(want)) {
            report.add(Against::Host, field, &error);
        }
    }
}

fn seccomp(oci: &Spec, report: &mut Report) {
    let profile = oci.linux().as_ref().and_then(|linux| linux.seccomp().as_ref());
    match profile.map(plan::seccomp::compile) {
        Some(Ok(compiled)) => {
            for warning in &compiled.warnings {
                report.warn(Against::Host, warning);
            }
            if !compiled.skipped.is_empty() {
                let text = format!(
                    "linux.seccomp.syscalls: libseccomp doesn't know {}",
                    compiled.skipped.join(", ")
                );
                report.warn(Against::Host, &text);
            }
        }
        Some(Err(error)) => report.add(Against::Host, "linux.seccomp", &error),
        None => {}
    }
}

/// Whether who makes cgroups can make this one, with its limits: their controllers may not be in cgroup v2 here.
fn cgroup(bundle: &Bundle, manager: CgroupManager, report: &mut Report) -> Place {
    let place = planned::place(bundle, manager).unwrap_or_else(|error| {
        report.add(Against::Spec, "linux.cgroupsPath", &error);
        Place::Nowhere
    });
    if let Place::Scope(scope) = &place {
        if let Err(error) = scope.check() {
            report.add(Against::Host, "", &error);
        }
    }
    let linux = bundle.spec.oci.linux().as_ref();
    let resources = linux.and_then(|linux| linux.resources().as_ref());
    let asked = match (place.relative(), resources) {
        (Some(place), Some(resources)) => {
            Hierarchy::find().and_then(|hierarchy| cgroup::check(&hierarchy, place, resources))
        }
        (None, resources) if manager == CgroupManager::Disabled => cgroup::resources::check_none(resources),
        _ => Ok(()),
    };
    if let Err(error) = asked {
        report.add(Against::Host, "linux.resources", &error);
    }
    place
}

/// Programs that run on the host. Those of startContainer are the container's.
fn hooks(oci: &Spec, report: &mut Report) {
    let Some(hooks) = oci.hooks() else { return };
    #[allow(deprecated)] // prestart is deprecated by the spec since 1.0, and still to be run
    let lists = [
        ("prestart", hooks.prestart()),
        ("createRuntime", hooks.create_runtime()),
        ("createContainer", hooks.create_container()),
        ("poststart", hooks.poststart()),
        ("poststop", hooks.poststop()),
    ];
    for (name, list) in lists {
        for (i, hook) in list.iter().flatten().enumerate() {
            let field = format!("hooks.{name}[{i}].path");
            let path = hook.path();
            let text = match fs::metadata(path).call(Call::Stat).doing(|| format!("open {}", path.display()))
            {
                Err(error) => error.to_string(),
                Ok(found) if !program::is_executable(&found) => {
                    format!("{} is not an executable file", path.display())
                }
                Ok(_) => continue,
            };
            report.fault(Against::Host, &field, &text);
        }
    }
}

/// Not every kernel has each. Those of a new namespace have the same names as the host's.
fn sysctls(oci: &Spec, report: &mut Report) {
    let Some(sysctls) = oci.linux().as_ref().and_then(|linux| linux.sysctl().as_ref()) else {
        return;
    };
    let mut keys: Vec<_> = sysctls.keys().collect();
    keys.sort();
    for key in keys {
        let path = Path::new("/proc/sys").join(spec::sysctl_path(key));
        // What belongs to a device may come with the container's network.
        let of_device = key.matches(['.', '/']).count() > 3;
        if !path.exists() && !of_device {
            let text = format!("this kernel has no {}", path.display());
            report.fault(Against::Host, &format!("linux.sysctl[{key}]"), &text);
        }
    }
}

/// A type that isn't listed may still come with a module.
fn file_systems(oci: &Spec, report: &mut Report) {
    let known = fs::read_to_string("/proc/filesystems").unwrap_or_default();
    for (i, mount) in oci.mounts().iter().flatten().enumerate() {
        let options = spec::mount_options::parse(mount.options().as_deref().unwrap_or_default());
        let Some(kind) = mount.typ().as_deref() else {
            continue;
        };
        let ours = ["bind", "rbind", "none", "cgroup", ""].contains(&kind);
        let listed = known.lines().any(|line| line.rsplit('\t').next() == Some(kind));
        if !(ours || options.is_bind() || listed) {
            let text =
                format!("mounts[{i}].type: {kind:?} is not in /proc/filesystems: it would take a module");
            report.warn(Against::Host, &text);
        }
    }
}

fn rlimits(oci: &Spec, report: &mut Report) {
    const CAP_SYS_RESOURCE: u64 = 1 << 24;
    let may_raise = ids::capget().is_ok_and(|sets| sets.effective & CAP_SYS_RESOURCE != 0);
    let limits = oci.process().as_ref().and_then(|process| process.rlimits().as_ref());
    for (i, limit) in limits.into_iter().flatten().enumerate() {
        let Some((name, number)) = plan::resource(limit.typ()) else {
            continue; // a fault already
        };
        let Ok((_, hard)) = ids::getrlimit(Pid(0), number) else {
            continue;
        };
        if limit.hard() > hard && !may_raise {
            let text = format!(
                "{} is above our own limit of {name}, {hard}; {}",
                limit.hard(),
                explain::RAISING_LIMITS
            );
            report.fault(Against::Host, &format!("process.rlimits[{i}].hard"), &text);
        }
    }
}

/// Making nodes is for the host's own root.
fn devices(oci: &Spec, report: &mut Report) {
    const CAP_MKNOD: u64 = 1 << 27;
    let Some(linux) = oci.linux() else { return };
    let namespaces = linux.namespaces().iter().flatten();
    let in_user_namespace = namespaces
        .into_iter()
        .any(|namespace| namespace.typ() == oci_spec::runtime::LinuxNamespaceType::User);
    let may_make = ids::capget().is_ok_and(|sets| sets.effective & CAP_MKNOD != 0);
    if in_user_namespace || may_make || ids::euid().0 != 0 {
        return; // there they are bound, and the plan has looked for them
    }
    for (i, device) in linux.devices().iter().flatten().enumerate() {
        let text = format!("making {} needs CAP_MKNOD", device.path().display());
        report.fault(Against::Host, &format!("linux.devices[{i}]"), &text);
    }
}

fn intel_rdt(oci: &Spec, report: &mut Report) {
    let linux = oci.linux().as_ref();
    if let Some(Err(error)) = linux.and_then(|linux| linux.intel_rdt().as_ref()).map(|_| rdt::root()) {
        report.add(Against::Host, "linux.intelRdt", &error);
    }
}

/// namespaces(7): what the kernel was built without has no file in /proc, and a limit of 0 forbids new ones.
fn namespaces(oci: &Spec, report: &mut Report) {
    let Some(linux) = oci.linux() else { return };
    for (i, namespace) in linux.namespaces().iter().flatten().enumerate() {
        let field = format!("linux.namespaces[{i}]");
        let kind = namespace.typ().to_string();
        let (file, limit) = host::namespace_files(namespace.typ());
        if !Path::new("/proc/self/ns").join(file).exists() {
            report.fault(Against::Host, &field, &format!("this kernel has no {kind} namespaces"));
            continue;
        }
        let path = format!("/proc/sys/user/{limit}");
        let none = fs::read_to_string(&path).is_ok_and(|text| text.trim() == "0");
        if namespace.path().is_none() && none {
            let text =
                format!("no new {kind} namespace may be made: {path} is 0 (write a larger number there)");
            report.fault(Against::Host, &field, &text);
        }
    }
}

/// Opens a path of the container, for `program`.
pub fn open_in(root: &Path, path: &str) -> Result<fs::File, crate::sys::Fail> {
    let directory = sys::open(
        sys::cwd(),
        &crate::sys::c_path(root)?,
        libc::O_PATH | libc::O_DIRECTORY,
        0,
        sys::resolve::HOST,
    )?;
    let path = crate::sys::c_path(Path::new(path))?;
    sys::open(directory.as_fd(), &path, libc::O_PATH, 0, sys::resolve::IN_ROOT).map(fs::File::from)
}
