//! The container's cgroup: v2 only, by the fd of its directory (cgroups(7), the kernel's cgroup-v2.rst).
//!
//! Made before the container's process, which is born in it. What is written where is decided in
//! [`resources`] and [`devices`], which are pure; here it is done. `members` has what it holds: processes and
//! cgroups below.

pub mod devices;
mod files;
pub(crate) mod hierarchy;
mod members;
pub(crate) mod properties;
pub mod resources;
pub mod stats;
pub mod systemd;
mod unit;
mod update;
mod without;

use std::fs;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Component, Path, PathBuf};

use oci_spec::runtime::LinuxResources;

pub use hierarchy::{Hierarchy, v1_hierarchy};
pub use resources::needs_nothing;
pub use unit::Unit;
pub use without::create_if_allowed;

use crate::error::{Doing, Error, Fault, Kind, Result};
use crate::log;
use crate::sys::fs as sys;
use crate::sys::{Call, Errno, Fail, Pid, Uid, bpf, ids};
use crate::systemd::Holder;
use resources::Write;

const PIDS: &str = "pids.max";

/// A cgroup's directory. A new one is removed when this is dropped, with all that is in it, unless it was
/// [committed](Cgroup::commit).
#[derive(Debug)]
pub struct Cgroup {
    /// Relative to the root of the hierarchy, without a `/` at either end.
    place: String,
    /// The directory as a path of the host.
    path: PathBuf,
    dir: OwnedFd,
    made: Made,
    /// systemd's scope that it is, or is in.
    unit: Option<Unit>,
    /// What is in it while the container's process isn't yet.
    holder: Option<Holder>,
}

/// Where the container's cgroup goes, relative to the root of the hierarchy: linux.cgroupsPath if it is
/// absolute, else beside our own cgroup (which has processes, so that it can't have controllers for a child).
/// Where there is no path, its name is the container's id.
pub fn place(given: Option<&Path>, id: &str) -> Result<String> {
    let given = given.filter(|path| !path.as_os_str().is_empty()).unwrap_or(Path::new(id));
    if given.is_absolute() {
        return Ok(clean(given));
    }
    Ok(beside(Path::new(&own_place()?), given))
}

/// The cgroup that we are in ourselves, with a `/` before it.
fn own_place() -> Result<String> {
    let cgroups = files::own().doing(|| "read /proc/self/cgroup".into())?;
    let own = cgroups.lines().find_map(|line| line.strip_prefix("0::"));
    Ok(own.unwrap_or("/").to_string())
}

pub(crate) fn beside(own: &Path, given: &Path) -> String {
    let above = own.parent().map(clean).unwrap_or_default();
    match above.is_empty() {
        true => clean(given),
        false => format!("{above}/{}", clean(given)),
    }
}

/// The path without `.`, `..` and doubled slashes; `..` never leads above where it starts.
pub(crate) fn clean(path: &Path) -> String {
    let mut parts = Vec::new();
    for part in path.components() {
        match part {
            Component::Normal(part) => parts.push(part.to_string_lossy()),
            Component::ParentDir => drop(parts.pop()),
            _ => {}
        }
    }
    parts.join("/")
}

/// The cgroup that a process is in, which may be below its container's.
pub fn of_process(hierarchy: &Hierarchy, pid: Pid) -> Result<OwnedFd> {
    let file = format!("/proc/{pid}/cgroup");
    let cgroups = crate::sys::files::read_to_string(&file).doing(|| format!("read {file}"))?;
    let path = cgroups.lines().find_map(|line| line.strip_prefix("0::/"));
    let path = clean(Path::new(path.unwrap_or_default()));
    let path = if path.is_empty() { "." } else { &path };
    files::open_directory(hierarchy.fd(), path).doing(|| format!("open the cgroup {path}"))
}

impl Cgroup {
    /// Makes the cgroup at `place`, with every controller that there is from the root down to it. One that is
    /// there already must be empty, and no cgroup above may be frozen.
    pub fn create(hierarchy: &Hierarchy, place: &str) -> Result<Cgroup> {
        if place.is_empty() {
            let text = "config.json: linux.cgroupsPath: is the root of all cgroups";
            return Err(Error::new(Kind::InvalidSpec, text));
        }
        let path = hierarchy.path.join(place);
        let made = Made::make(hierarchy, place)?;
        let dir = files::open_directory(hierarchy.fd(), place)
            .doing(|| format!("linux.cgroupsPath: open {}", path.display()))?;
        let cgroup = Cgroup { place: place.into(), path, dir, made, unit: None, holder: None };
        if !cgroup.is_new() {
            let pids = cgroup.pids()?;
            if !pids.is_empty() {
                let (path, count) = (cgroup.path.display(), pids.len());
                let text = format!(
                    "linux.cgroupsPath: container's cgroup is not empty: {count} process(es) found in {path}"
                );
                return Err(Error::new(Kind::Exists, text)
                    .hint("another container uses it; a cgroup is for one alone"));
            }
        }
        if !cgroup.is_new() || place.contains('/') {
            cgroup.check_thawed()?; // the container's process would be born frozen, and we wait for it
        }
        hierarchy.pass_controllers_on(place, cgroup.fd());
        Ok(cgroup)
    }

    /// The cgroup at `place`, if there is one.
    pub fn open(hierarchy: &Hierarchy, place: &str) -> Result<Option<Cgroup>> {
        let path = hierarchy.path.join(place);
        match files::open_directory(hierarchy.fd(), place) {
            Ok(dir) => Ok(Some(Cgroup {
                place: place.into(),
                path,
                dir,
                made: Made::nothing(hierarchy),
                unit: None,
                holder: None,
            })),
            Err(Fail { errno: Errno::ENOENT, .. }) => Ok(None),
            Err(fail) => Err(Error::kernel(format!("open {}", path.display()), fail)),
        }
    }

    /// A cgroup that is there, below this one.
    pub fn below(&self, path: &str) -> Result<OwnedFd> {
        let bad = || Error::new(Kind::Usage, format!("bad sub cgroup path: {path}"));
        let parts = Path::new(path).components();
        if parts.clone().any(|part| part == Component::ParentDir) {
            return Err(bad().hint("it must be below the container's own cgroup, without \"..\""));
        }
        let path = clean(Path::new(path));
        let path = if path.is_empty() { "." } else { &path };
        files::open_directory(self.fd(), path)
            .doing(|| format!("open the sub cgroup {}", self.path.join(path).display()))
    }

    pub fn fd(&self) -> BorrowedFd<'_> {
        self.dir.as_fd()
    }

    /// The directory as a path of the host.
    pub fn host_path(&self) -> &Path {
        &self.path
    }

    /// Relative to the root of the hierarchy.
    pub fn place(&self) -> &str {
        &self.place
    }

    /// The container is there to stay, and its cgroup with it.
    pub fn commit(mut self) {
        self.made.places.clear();
    }

    /// It is another one than every other until the next boot, also if it has the name of one that is gone.
    pub fn inode(&self) -> Result<u64> {
        let found = sys::stat(self.fd()).doing(|| format!("stat {}", self.path.display()))?;
        Ok(found.ino)
    }

    /// The same of another one, `None` if it isn't there.
    pub fn inode_at(&self, place: &str) -> Result<Option<u64>> {
        Cgroup::open(&self.made.hierarchy, place)?.map(|other| other.inode()).transpose()
    }

    /// Whether it was made by this process, and isn't [committed](Cgroup::commit) yet.
    pub fn is_new(&self) -> bool {
        self.made.places.last() == Some(&self.place)
    }

    fn check_thawed(&self) -> Result<()> {
        let events = files::value(self.fd(), "cgroup.events");
        let events = events.doing(|| format!("read {}/cgroup.events", self.path.display()))?;
        if files::keyed(&events, "frozen ") != Some(1) {
            return Ok(());
        }
        let text =
            format!("linux.cgroupsPath: container's cgroup unexpectedly frozen: {}", self.path.display());
        let hint = "write 0 to its cgroup.freeze, or to that of a cgroup above";
        Err(Error::new(Kind::WrongStatus, text).hint(hint))
    }

    /// Sets the limits, and which devices may be used. What this host cannot set is named, all of it at once.
    pub fn apply(&self, resources: Option<&LinuxResources>) -> Result<()> {
        if let Some(resources) = resources {
            self.check_usage(resources)?;
            self.limit(resources)?;
        }
        self.limit_devices(resources)
    }

    /// Sets the limits alone, also of a container that runs.
    pub fn limit(&self, resources: &LinuxResources) -> Result<()> {
        let writes = resources::writes(resources)?;
        if let (Some(unit), false) = (&self.unit, self.is_new()) {
            unit.limit(&writes)?;
        }
        let mut missing = Vec::new();
        for write in &writes {
            let Err(fail) = self.write_or_pass_on(write) else {
                continue;
            };
            match (fail.call, fail.errno) {
                (Call::Open, Errno::ENOENT | Errno::EACCES | Errno::EROFS) if write.asks_nothing => {}
                (Call::Open, Errno::ENOENT) => {
                    let hierarchy = &self.made.hierarchy;
                    missing.push(hierarchy.explain_missing(&self.place, self.fd(), write));
                }
                (Call::Write, Errno::EINVAL) if write.again => {}
                _ => return Err(self.refused(write, fail)),
            }
        }
        all_can_be_set(missing)
    }

    /// A scope has the controllers that systemd was asked for: others (hugetlb, rdma, misc) are passed on for the first
    /// limit of theirs.
    fn write_or_pass_on(&self, write: &Write) -> Result<(), Fail> {
        match self.write(write) {
            Err(Fail { call: Call::Open, errno: Errno::ENOENT })
                if self.unit.is_some() && !write.asks_nothing =>
            {
                self.made.hierarchy.pass_controllers_on(&self.place, self.fd());
                self.write(write)
            }
            done => done,
        }
    }

    fn write(&self, write: &Write) -> Result<(), Fail> {
        let value = match &self.holder {
            Some(_) if write.file == PIDS => "max", // the holder counts, and the container's process must be born
            _ => &write.value,
        };
        match (files::write(self.fd(), &write.file, value), &write.or) {
            (Err(Fail { call: Call::Open, errno: Errno::ENOENT }), Some((file, value))) => {
                files::write(self.fd(), file, value)
            }
            (done, _) => done,
        }
    }

    fn refused(&self, write: &Write, fail: Fail) -> Error {
        let path = self.path.join(&write.file);
        let (field, asked, value) = (&write.field, &write.asked, &write.value);
        let doing = format!("{field} = {asked}: write {value:?} to {}", path.display());
        let error = Error::kernel(doing, fail);
        match (fail.call, fail.errno) {
            (Call::Open, Errno::EACCES | Errno::EPERM) => {
                error.hint("this cgroup's limits aren't delegated to this user")
            }
            (Call::Open, Errno::EROFS) => error.hint("the cgroup hierarchy is mounted read-only here"),
            (_, Errno::EINVAL | Errno::ERANGE) => error.hint("the kernel doesn't take this value"),
            (_, Errno::ENODEV) => {
                error.hint("name a device that is there; of disks a whole one, no partition")
            }
            _ => error,
        }
    }

    /// config-linux.md, Allowed Device list. What was allowed before is replaced.
    pub fn limit_devices(&self, resources: Option<&LinuxResources>) -> Result<()> {
        let given = resources.and_then(|resources| resources.devices().as_deref());
        let rules = devices::rules(given.unwrap_or_default())
            .map_err(|fault| Error::invalid("config.json", vec![fault]))?;
        if let (Some(unit), false) = (&self.unit, self.is_new()) {
            unit.limit_devices(&rules)?;
        }
        let done = match (devices::allow_all(&rules), self.is_new()) {
            (true, true) => Ok(()),
            (true, false) => bpf::detach_device_programs(self.fd()),
            (false, true) => bpf::attach_device_program(self.fd(), &devices::compile(&rules)),
            (false, false) => bpf::replace_device_programs(self.fd(), &devices::compile(&rules)),
        };
        match done {
            // Nobody can make device nodes there either: the host's own permissions stay in force.
            Err(Fail { errno: Errno::EPERM, .. }) if ids::euid() != Uid(0) || ids::in_user_namespace() => {
                log::debug(|| "linux.resources.devices: can't be limited without CAP_BPF on the host".into());
                Ok(())
            }
            done => done
                .doing(|| {
                    let path = self.path.display();
                    format!("linux.resources.devices: attach the device program to {path}")
                })
                .map_err(|error| error.hint("needs CAP_BPF and CAP_NET_ADMIN, and CONFIG_CGROUP_BPF")),
        }
    }

    /// What it means that no process could be made in this cgroup (clone(2), CLONE_INTO_CGROUP).
    pub fn explain_clone(&self, error: Error) -> Error {
        let Some(fail) = error.fail.filter(|fail| fail.call == Call::Clone) else {
            return error;
        };
        let path = self.path.display();
        match fail.errno {
            Errno::EBUSY => error.hint(format!(
                "{path} passes controllers on to cgroups below it, so it can't hold processes"
            )),
            Errno::EOPNOTSUPP => error.hint(format!(
                "{path} is for threads (see its cgroup.type): a cgroup above it has processes of its own, so \
                 choose another linux.cgroupsPath"
            )),
            Errno::ENODEV => error.hint(format!("{path} was removed meanwhile")),
            Errno::EACCES => error.hint(format!("{path} isn't delegated to this user")),
            _ => error,
        }
    }

    /// How many processes the kernel killed for want of memory; 0 where the controller is missing.
    pub fn oom_kills(&self) -> u64 {
        let events = files::value(self.fd(), "memory.events").unwrap_or_default();
        files::keyed(&events, "oom_kill ").unwrap_or(0)
    }

    /// memory.events, to be polled; `None` without the memory controller.
    pub fn oom_events(&self) -> Option<OwnedFd> {
        files::open(self.fd(), "memory.events", libc::O_RDONLY).ok()
    }

    /// As [`Cgroup::oom_kills`], by the fd of [`Cgroup::oom_events`].
    pub fn oom_kills_in(&self, events: BorrowedFd) -> u64 {
        let text = sys::rewind(events).and_then(|()| files::value_of(events));
        files::keyed(&text.unwrap_or_default(), "oom_kill ").unwrap_or(0)
    }

    /// config-linux.md, Cgroup ownership: what the kernel lists for delegation goes to the container's user.
    pub fn chown_to(&self, uid: Uid) -> Result<()> {
        let listed = fs::read_to_string("/sys/kernel/cgroup/delegate");
        let listed =
            listed.unwrap_or_else(|_| "cgroup.procs\ncgroup.subtree_control\ncgroup.threads\n".into());
        let doing = || format!("give {} to uid {uid}", self.path.display());
        sys::chown(self.fd(), Some(uid), None).doing(doing)?;
        for file in listed.lines() {
            match files::open(self.fd(), file, libc::O_PATH | libc::O_NOFOLLOW) {
                Ok(file) => sys::chown(file.as_fd(), Some(uid), None).doing(doing)?,
                Err(Fail { errno: Errno::ENOENT, .. }) => {} // its controller isn't here
                Err(fail) => return Err(Error::kernel(doing(), fail)),
            }
        }
        Ok(())
    }
}

/// Whether a cgroup at `place` would have the controllers for all limits; none is made for it. A file that a
/// controller lacks (a disk's weights, a size of huge pages) isn't found out so.
pub fn check(hierarchy: &Hierarchy, place: &str, resources: &LinuxResources) -> Result<()> {
    let writes = resources::writes(resources)?;
    let lacking = writes.iter().filter(|write| !write.asks_nothing);
    all_can_be_set(lacking.filter_map(|write| hierarchy.explain_lacking(place, write)).collect())
}

fn all_can_be_set(missing: Vec<(Fault, &'static str)>) -> Result<()> {
    if missing.is_empty() {
        return Ok(());
    }
    let (faults, mut cures): (Vec<_>, Vec<_>) = missing.into_iter().unzip();
    cures.dedup();
    let error = Error::new(Kind::Unsupported, "this host cannot set every limit");
    Err(error.with_faults(faults).hint(cures.join("; ")))
}

impl Drop for Cgroup {
    fn drop(&mut self) {
        if self.is_new() {
            // Such as one with a process that is stuck in the kernel.
            if let Err(error) = self.kill().and_then(|()| self.remove()) {
                log::warning(&format!("left behind: {error}"));
            }
            self.made.places.pop();
        }
    }
}

/// Directories that we made and that nobody has a claim to yet, outermost first: removed on drop, as far as
/// nobody else uses them by now.
#[derive(Debug)]
struct Made {
    hierarchy: Hierarchy,
    places: Vec<String>,
}

impl Made {
    fn nothing(hierarchy: &Hierarchy) -> Made {
        Made { hierarchy: hierarchy.clone(), places: vec![] }
    }

    /// Makes `place` and what is missing above it; mostly that is the last part alone.
    fn make(hierarchy: &Hierarchy, place: &str) -> Result<Made> {
        let mut made = Made::nothing(hierarchy);
        if made.add(place)? {
            return Ok(made);
        }
        for (end, _) in place.match_indices('/') {
            made.add(&place[..end])?;
        }
        if !made.add(place)? {
            let text = format!("make the cgroup {}", hierarchy.path.join(place).display());
            let fail = Fail::new(Call::Mkdir, Errno::ENOENT);
            return Err(Error::kernel(text, fail).hint("somebody removed one above it meanwhile"));
        }
        Ok(made)
    }

    /// Whether `place` is there now; not if one above it is missing.
    fn add(&mut self, place: &str) -> Result<bool> {
        let done = files::name(place).and_then(|name| sys::mkdir(self.hierarchy.fd(), &name, 0o755));
        match done {
            Ok(()) => self.places.push(place.into()),
            Err(fail) if fail.errno == Errno::EEXIST => {}
            Err(fail) if fail.errno == Errno::ENOENT => return Ok(false),
            Err(fail) => return Err(self.refused(place, fail)),
        }
        Ok(true)
    }

    fn refused(&self, place: &str, fail: Fail) -> Error {
        let path = self.hierarchy.path.join(place);
        let error = Error::kernel(format!("linux.cgroupsPath: make the cgroup {}", path.display()), fail);
        match fail.errno {
            Errno::EAGAIN => {
                error.hint("cgroup.max.descendants or cgroup.max.depth of a cgroup above is reached")
            }
            Errno::EROFS => error.hint("the cgroup hierarchy is mounted read-only here"),
            Errno::EACCES | Errno::EPERM => error.hint("the cgroup above isn't delegated to this user"),
            _ => error,
        }
    }
}

impl Drop for Made {
    fn drop(&mut self) {
        for place in self.places.iter().rev() {
            if let Ok(name) = files::name(place) {
                let _ = sys::rmdir(self.hierarchy.fd(), &name);
            }
        }
    }
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;
