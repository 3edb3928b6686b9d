//! The cgroup that systemd makes: a transient scope with Delegate=yes, which is then the container's as any other.
//! Who makes, changes and removes it is all the difference.

use std::fs;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::path::Path;

use oci_spec::runtime::{LinuxResources, Spec};

use super::resources::Write;
use super::unit::{Asked, Unit};
use super::{Cgroup, Hierarchy, Made, PIDS, clean, devices, files, properties, resources, unit};
use crate::error::{Doing, Error, Kind, Result};
use crate::spec::annotations::{self, SYSTEMD_SUBGROUP as SUBGROUP};
use crate::sys::{Call, Errno, Fail, Named, Pid, Uid, ids};
use crate::systemd::{Holder, Instance, Manager, Properties, Value};

/// The systemd that we may ask: only the system's root may ask the system's.
fn instance() -> Instance {
    match ids::euid() == Uid(0) && !ids::in_user_namespace() {
        true => Instance::System,
        false => Instance::User,
    }
}

/// Makes the scope that linux.cgroupsPath asks for. A process of ours holds it until the container's is in it
/// ([`Cgroup::inhabited`]).
pub fn create(oci: &Spec, id: &str) -> Result<Cgroup> {
    let linux = oci.linux().as_ref();
    let given = linux.and_then(|linux| linux.cgroups_path().as_deref());
    let asked = unit::asked(given, id, instance())?;
    let subgroup = annotations::get(oci, SUBGROUP).map(subgroup).transpose()?;
    let own = properties::of_annotations(oci.annotations().iter().flatten())?;
    let resources = linux.and_then(|linux| linux.resources().as_ref());

    let hierarchy = Hierarchy::find()?;
    let mut manager = Manager::connect(asked.unit.instance)?;
    let mut all = scope(&asked, id);
    let writes = resources.map_or(Ok(vec![]), resources::writes)?;
    all.extend(of_writes(&writes, &mut manager)?);
    let rules = device_rules(resources)?;
    all.extend(properties::of_devices(&rules));
    all.extend(own);
    let holder = Holder::new()?;
    manager.start_scope(&asked.unit.name, holder.pid, &all)?;

    let mut undo = Undo(Some((manager, asked.unit.name.clone())));
    let scope = place_of(&holder, &asked)?;
    let mut made = Made::nothing(&hierarchy);
    made.places.push(scope.clone());
    let place = match subgroup {
        None => scope,
        Some(name) => {
            let place = format!("{scope}/{name}");
            made.add(&place)?;
            let procs = format!("{place}/cgroup.procs");
            files::write(hierarchy.fd(), &procs, &holder.pid.to_string())
                .doing(|| format!("annotations[{SUBGROUP}]: move a process to {place}"))?;
            hierarchy.pass_all_on(&scope);
            place
        }
    };
    let path = hierarchy.path.join(&place);
    let dir = files::open_directory(hierarchy.fd(), &place).doing(|| format!("open {}", path.display()))?;
    undo.0 = None;
    Ok(Cgroup { place, path, dir, made, unit: Some(asked.unit), holder: Some(holder) })
}

/// What [`create`] would ask for, with nobody asked.
pub struct Planned {
    pub instance: Instance,
    pub unit: String,
    pub properties: Properties,
    /// Where the cgroup would be, relative to the root of the hierarchy.
    pub place: String,
}

/// Whether there is a systemd that we may ask.
pub fn check() -> Result<()> {
    Manager::connect(instance()).map(drop)
}

impl Planned {
    /// Whether there is a systemd to be asked.
    pub fn check(&self) -> Result<()> {
        Manager::connect(self.instance).map(drop)
    }
}

/// As of a systemd that has all properties there are.
pub fn plan(oci: &Spec, id: &str) -> Result<Planned> {
    let linux = oci.linux().as_ref();
    let given = linux.and_then(|linux| linux.cgroups_path().as_deref());
    let asked = unit::asked(given, id, instance())?;
    let subgroup = annotations::get(oci, SUBGROUP).map(subgroup).transpose()?;
    let resources = linux.and_then(|linux| linux.resources().as_ref());
    let writes = resources.map_or(Ok(vec![]), resources::writes)?;
    let mut properties = scope(&asked, id);
    properties.extend(properties::of_writes(&writes, u32::MAX));
    properties.extend(properties::of_devices(&device_rules(resources)?));
    properties.extend(properties::of_annotations(oci.annotations().iter().flatten())?);
    let above = match asked.unit.instance {
        Instance::System => String::new(),
        Instance::User => {
            let uid = ids::euid();
            format!("user.slice/user-{uid}.slice/user@{uid}.service/")
        }
    };
    let below = subgroup.map(|name| format!("/{name}")).unwrap_or_default();
    Ok(Planned {
        instance: asked.unit.instance,
        place: format!("{above}{}{below}", asked.place()),
        unit: asked.unit.name,
        properties,
    })
}

/// Stops the scope unless this is emptied.
struct Undo(Option<(Manager, String)>);

impl Drop for Undo {
    fn drop(&mut self) {
        if let Some((manager, unit)) = &mut self.0 {
            let _ = manager.stop(unit); // the error on its way out says more
        }
    }
}

/// One part of a path.
fn subgroup(name: &str) -> Result<&str> {
    if !name.contains(['/', '\0']) && name != "." && name != ".." {
        return Ok(name);
    }
    let text = format!("config.json: annotations[{SUBGROUP}]: {name:?} is not the name of a directory");
    Err(Error::new(Kind::InvalidSpec, text))
}

/// What every container's scope is like. One that failed (its processes were killed for want of memory, say) is not
/// kept for an admin to look at, since its name may come again.
fn scope(asked: &Asked, id: &str) -> Properties {
    let yes = || Value::Bool(true);
    let properties = [
        ("Description", Value::text(format!("rrunc container {id}"))),
        ("Slice", Value::text(asked.slice.as_str())),
        ("Delegate", yes()),
        ("DefaultDependencies", Value::Bool(false)),
        ("CollectMode", Value::text("inactive-or-failed")),
        ("MemoryAccounting", yes()),
        ("CPUAccounting", yes()),
        ("IOAccounting", yes()),
        ("TasksAccounting", yes()),
    ];
    properties.map(|(name, value)| (name.to_string(), value)).into()
}

fn of_writes(writes: &[Write], manager: &mut Manager) -> Result<Properties> {
    let asks_idle = writes.iter().any(|write| write.file == "cpu.idle" && !write.asks_nothing);
    let version = if asks_idle { manager.version()? } else { 0 };
    Ok(properties::of_writes(writes, version))
}

fn device_rules(resources: Option<&LinuxResources>) -> Result<Vec<devices::Rule>> {
    let given = resources.and_then(|resources| resources.devices().as_deref());
    devices::rules(given.unwrap_or_default()).map_err(|fault| Error::invalid("config.json", vec![fault]))
}

/// Where systemd has put the scope: where our process is now.
fn place_of(holder: &Holder, asked: &Asked) -> Result<String> {
    let file = format!("/proc/{}/cgroup", holder.pid);
    let cgroups = crate::sys::files::read_to_string(&file).doing(|| format!("read {file}"))?;
    let line = cgroups.lines().find_map(|line| line.strip_prefix("0::")).unwrap_or_default();
    let place = clean(Path::new(line));
    match line.ends_with(&format!("/{}", asked.unit.name)) && !line.starts_with("/..") {
        true => Ok(place),
        false => {
            let text = format!(
                "{} made {}, but its cgroup isn't seen here: {line}",
                asked.unit.instance, asked.unit.name
            );
            Err(Error::new(Kind::Unsupported, text)
                .hint("rrunc must be in systemd's own cgroup namespace; --cgroup-manager cgroupfs does without systemd"))
        }
    }
}

impl Cgroup {
    /// systemd's scope that it belongs to.
    pub fn unit(&self) -> Option<&Unit> {
        self.unit.as_ref()
    }

    /// The same, of a cgroup that was [opened](Cgroup::open): from now on systemd is told of changes.
    pub fn of_unit(self, unit: Option<Unit>) -> Cgroup {
        let mut cgroup = self;
        cgroup.unit = unit;
        cgroup
    }

    /// Has systemd move a process to `place`, which is this cgroup or one below it. For who is in a cgroup of somebody
    /// else's: a process goes to another cgroup by the leave of the one above both (cgroups(7)), and of a user's session,
    /// which isn't below the user's systemd, that is root's.
    pub fn attach(&self, place: BorrowedFd, pid: Pid) -> Result<()> {
        let Some(unit) = &self.unit else {
            let text = format!("{} isn't systemd's", self.path.display());
            return Err(Error::new(Kind::Unsupported, text));
        };
        // The kernel would say so to systemd, which says something else.
        let passed_on = files::value(place, "cgroup.subtree_control").unwrap_or_default();
        if !passed_on.trim().is_empty() {
            let fail = Fail::new(Call::Write, Errno::EBUSY);
            return Err(Error::kernel(format!("move a process to {}", self.path.display()), fail));
        }
        let link = format!("/proc/self/fd/{}", place.as_raw_fd());
        let path = fs::read_link(&link).call(Call::Readlink).doing(|| format!("read {link}"))?;
        let mut parts = path.components();
        parts.find(|part| part.as_os_str() == unit.name.as_str()); // the first: below it names are the container's
        let below = Path::new("/").join(parts.as_path());
        Manager::connect(unit.instance)?.attach(&unit.name, &below.to_string_lossy(), pid)
    }

    /// The container's process is in it: nothing else has to be any more.
    pub fn inhabited(&mut self, resources: Option<&LinuxResources>) -> Result<()> {
        if self.holder.take().is_none() {
            return Ok(());
        }
        let writes = resources.map_or(Ok(vec![]), resources::writes)?;
        let mut late = writes.iter().filter(|write| write.file == PIDS);
        late.try_for_each(|write| self.write(write).map_err(|fail| self.refused(write, fail)))
    }
}

impl Unit {
    /// Ends the scope; one that isn't there is fine.
    pub(super) fn stop(&self) -> Result<()> {
        Manager::connect(self.instance)?.stop(&self.name)
    }

    /// Tells systemd of new limits, of a container that runs.
    pub(super) fn limit(&self, writes: &[Write]) -> Result<()> {
        let mut manager = Manager::connect(self.instance)?;
        let properties = of_writes(writes, &mut manager)?;
        match properties.is_empty() {
            true => Ok(()),
            false => manager.set_properties(&self.name, &properties),
        }
    }

    /// The same for devices.
    pub(super) fn limit_devices(&self, rules: &[devices::Rule]) -> Result<()> {
        let properties = properties::of_devices(rules);
        Manager::connect(self.instance)?.set_properties(&self.name, &properties)
    }
}
