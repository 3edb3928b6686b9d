//! The container's cgroup: v2 only, by the fd of its directory (cgroups(7), the kernel's cgroup-v2.rst).
//!
//! Made before the container's process, which is born in it. What is written where is decided in
//! [`resources`] and [`devices`], which are pure; here it is done.

pub mod devices;
mod hierarchy;
pub mod resources;

use std::ffi::{CStr, CString};
use std::fs;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use oci_spec::runtime::LinuxResources;

pub use hierarchy::Hierarchy;

use crate::error::{Doing, Error, Fault, Kind, Result};
use crate::log;
use crate::sys::fs::{self as sys, resolve};
use crate::sys::{Call, Errno, Fail, Pid, Uid, bpf, ids, poll};
use resources::Write;

/// How long the kernel may take to let go of killed processes.
const PATIENCE: Duration = Duration::from_secs(10);

/// A cgroup's directory. A new one is removed when this is dropped, with all that is in it, unless it was
/// [committed](Cgroup::commit).
#[derive(Debug)]
pub struct Cgroup {
    path: PathBuf,
    dir: OwnedFd,
    /// Directories that we made and that nobody has a claim to yet, outermost first.
    made: Vec<PathBuf>,
}

/// Where the container's cgroup goes, relative to the root of the hierarchy: linux.cgroupsPath if it is
/// absolute, else beside our own cgroup (which has processes, so that it can't have controllers for a child).
/// `..` does not lead out.
pub fn place(given: Option<&Path>, id: &str) -> Result<String> {
    let given = given
        .filter(|path| !path.as_os_str().is_empty())
        .unwrap_or(Path::new(id));
    if given.is_absolute() {
        return Ok(clean(&[given]));
    }
    let file = "/proc/self/cgroup";
    let cgroups = fs::read_to_string(file).doing(|| format!("read {file}"))?;
    let own = cgroups
        .lines()
        .find_map(|line| line.strip_prefix("0::"))
        .unwrap_or("/");
    Ok(clean(&[Path::new(own).parent().unwrap_or(Path::new("/")), given]))
}

fn clean(paths: &[&Path]) -> String {
    let mut parts = Vec::new();
    for part in paths.iter().flat_map(|path| path.components()) {
        match part {
            std::path::Component::Normal(part) => parts.push(part.to_string_lossy().into_owned()),
            std::path::Component::ParentDir => drop(parts.pop()),
            _ => {}
        }
    }
    parts.join("/")
}

impl Cgroup {
    /// Makes the cgroup at `place`, with every controller that there is from the root down to it. One that is
    /// there already must be empty.
    pub fn create(hierarchy: &Hierarchy, place: &str) -> Result<Cgroup> {
        let path = hierarchy.path.join(place);
        if place.is_empty() {
            return Err(Error::new(
                Kind::InvalidSpec,
                "config.json: linux.cgroupsPath: is the root of all cgroups",
            ));
        }
        let made = make_directories(&hierarchy.path, place)?;
        let mut cgroup = match open(&path) {
            Ok(dir) => Cgroup { dir, made, path },
            Err(fail) => {
                remove_made(&made);
                return Err(Error::kernel(format!("open {}", path.display()), fail));
            }
        };
        if cgroup.made.last() != Some(&cgroup.path) {
            let pids = cgroup.pids()?;
            if !pids.is_empty() {
                cgroup.made.clear();
                let text = format!(
                    "linux.cgroupsPath: the cgroup {} has {} processes",
                    cgroup.path.display(),
                    pids.len()
                );
                return Err(Error::new(Kind::Exists, text)
                    .hint("another container uses it; a cgroup is for one alone"));
            }
        }
        hierarchy.enable_controllers(place);
        Ok(cgroup)
    }

    /// The cgroup at `place`, if there is one.
    pub fn open(hierarchy: &Hierarchy, place: &str) -> Result<Option<Cgroup>> {
        let path = hierarchy.path.join(place);
        match open(&path) {
            Ok(dir) => Ok(Some(Cgroup {
                dir,
                made: vec![],
                path,
            })),
            Err(Fail {
                errno: Errno::ENOENT, ..
            }) => Ok(None),
            Err(fail) => Err(Error::kernel(format!("open {}", path.display()), fail)),
        }
    }

    pub fn fd(&self) -> BorrowedFd<'_> {
        self.dir.as_fd()
    }

    /// The directory as a path of the host.
    pub fn host_path(&self) -> &Path {
        &self.path
    }

    /// The container is there to stay, and its cgroup with it.
    pub fn commit(mut self) {
        self.made.clear();
    }

    /// Sets the limits, and which devices may be used. What this host cannot set is named, all of it at once.
    pub fn apply(&self, hierarchy: &Hierarchy, resources: Option<&LinuxResources>) -> Result<()> {
        if let Some(resources) = resources {
            let mut missing = Vec::new();
            for write in resources::writes(resources)? {
                match self.write(&write) {
                    Ok(()) => {}
                    Err(Fail {
                        call: Call::Open,
                        errno: Errno::ENOENT | Errno::EACCES,
                    }) if write.asks_nothing => {}
                    Err(Fail {
                        call: Call::Open,
                        errno: Errno::ENOENT,
                    }) => missing.push(hierarchy.missing(&self.path, &write)),
                    Err(fail) => return Err(self.refused(&write, fail)),
                }
            }
            if !missing.is_empty() {
                return Err(
                    Error::new(Kind::Unsupported, "this host cannot set every limit").with_faults(missing)
                );
            }
        }
        self.limit_devices(resources)
    }

    fn write(&self, write: &Write) -> Result<(), Fail> {
        let put = |file: &str, value: &str| {
            let file = CString::new(file).map_err(|_| Fail::new(Call::Open, Errno::EINVAL))?;
            self.put(&file, value)
        };
        match (put(&write.file, &write.value), &write.or) {
            (
                Err(Fail {
                    call: Call::Open,
                    errno: Errno::ENOENT,
                }),
                Some((file, value)),
            ) => put(file, value),
            (done, _) => done,
        }
    }

    fn refused(&self, write: &Write, fail: Fail) -> Error {
        let path = self.path.join(&write.file);
        let error = Error::kernel(
            format!("{}: write {:?} to {}", write.field, write.value, path.display()),
            fail,
        );
        match (write.file.as_str(), fail.errno) {
            ("memory.max", Errno::EBUSY) => error.hint("the processes use more than that"),
            (_, Errno::EINVAL | Errno::ERANGE) => error.hint("the kernel doesn't take this value"),
            (_, Errno::ENODEV) => error.hint("there is no such device"),
            _ => error,
        }
    }

    /// config-linux.md, Allowed Device list.
    fn limit_devices(&self, resources: Option<&LinuxResources>) -> Result<()> {
        let rules = resources
            .and_then(|resources| resources.devices().as_deref())
            .unwrap_or_default();
        let rules = devices::rules(rules).map_err(|fault| Error::invalid("config.json", vec![fault]))?;
        let program = devices::compile(&rules);
        match bpf::attach_device_program(self.fd(), &program) {
            Ok(()) => Ok(()),
            // Without the right to load programs nobody made device nodes either: the host's own rights count.
            Err(Fail {
                errno: Errno::EPERM, ..
            }) if ids::euid() != Uid(0) => {
                log::warning("linux.resources.devices: an ordinary user can't limit devices");
                Ok(())
            }
            Err(fail) => {
                let doing = format!(
                    "linux.resources.devices: attach the device program to {}",
                    self.path.display()
                );
                Err(Error::kernel(doing, fail).hint("needs CAP_BPF or CAP_SYS_ADMIN, and CONFIG_CGROUP_BPF"))
            }
        }
    }

    fn read(&self, file: &CStr) -> Result<String, Fail> {
        read_at(self.fd(), file)
    }

    /// The processes in it and in all below it.
    pub fn pids(&self) -> Result<Vec<Pid>> {
        let mut found = Vec::new();
        let mut directories = vec![self.path.clone()];
        while let Some(directory) = directories.pop() {
            match fs::read_to_string(directory.join("cgroup.procs")) {
                Ok(pids) => found.extend(pids.lines().filter_map(|pid| pid.parse().ok()).map(Pid)),
                // Gone meanwhile, or threaded: then the processes are listed further up.
                Err(error)
                    if matches!(
                        error.raw_os_error(),
                        Some(libc::ENOENT | libc::ENODEV | libc::EOPNOTSUPP)
                    ) => {}
                Err(error) => {
                    return Err(error).doing(|| format!("read the processes of {}", directory.display()));
                }
            }
            directories.extend(subdirectories(&directory));
        }
        Ok(found)
    }

    /// SIGKILL to every process in it and below, frozen ones too (cgroup.kill, Linux 5.14).
    pub fn kill(&self) -> Result<()> {
        match self.put(c"cgroup.kill", "1") {
            Err(Fail {
                errno: Errno::ENOENT | Errno::ENODEV,
                ..
            }) => Ok(()), // removed meanwhile
            other => other.doing(|| format!("kill all in {}", self.path.display())),
        }
    }

    fn put(&self, file: &CStr, value: &str) -> Result<(), Fail> {
        let file = sys::open(self.fd(), file, libc::O_WRONLY, 0, resolve::BENEATH_PLAIN)?;
        sys::write(file.as_fd(), value.as_bytes()).map(drop)
    }

    pub fn is_frozen(&self) -> Result<bool> {
        match self.read(c"cgroup.freeze") {
            Ok(content) => Ok(content.trim() == "1"),
            Err(Fail {
                errno: Errno::ENOENT | Errno::ENODEV,
                ..
            }) => Ok(false),
            Err(fail) => Err(Error::kernel(
                format!("read {}/cgroup.freeze", self.path.display()),
                fail,
            )),
        }
    }

    /// How many processes the kernel killed for want of memory; 0 where the controller is missing.
    pub fn oom_kills(&self) -> u64 {
        let events = self.read(c"memory.events").unwrap_or_default();
        events
            .lines()
            .find_map(|line| line.strip_prefix("oom_kill ")?.parse().ok())
            .unwrap_or(0)
    }

    /// config-linux.md, Cgroup ownership: what the kernel lists for delegation goes to the container's root.
    pub fn chown_to(&self, uid: Uid) -> Result<()> {
        let listed = fs::read_to_string("/sys/kernel/cgroup/delegate");
        let listed =
            listed.unwrap_or_else(|_| "cgroup.procs\ncgroup.subtree_control\ncgroup.threads\n".into());
        let doing = || format!("give {} to uid {uid}", self.path.display());
        sys::chown(self.fd(), Some(uid), None).doing(doing)?;
        for file in listed.lines().filter_map(|name| CString::new(name).ok()) {
            match sys::open(
                self.fd(),
                &file,
                libc::O_PATH | libc::O_NOFOLLOW,
                0,
                resolve::BENEATH_PLAIN,
            ) {
                Ok(file) => sys::chown(file.as_fd(), Some(uid), None).doing(doing)?,
                Err(Fail {
                    errno: Errno::ENOENT, ..
                }) => {}
                Err(fail) => return Err(Error::kernel(doing(), fail)),
            }
        }
        Ok(())
    }

    /// Removes it with all below it, once the killed processes are gone. What isn't there is fine.
    pub fn remove(&self) -> Result<()> {
        remove_tree(&self.path, Instant::now() + PATIENCE)
    }
}

impl Drop for Cgroup {
    fn drop(&mut self) {
        if self.made.last() == Some(&self.path) {
            let _ = self.kill(); // what can't be undone here stays visible to the user
            let _ = self.remove();
        }
        remove_made(&self.made);
    }
}

/// Directories that we made on the way, as far as nobody else uses them by now.
fn remove_made(made: &[PathBuf]) {
    for path in made.iter().rev() {
        let _ = fs::remove_dir(path);
    }
}

fn open(path: &Path) -> Result<OwnedFd, Fail> {
    let path = crate::sys::c_path(path)?;
    sys::open(
        sys::cwd(),
        &path,
        libc::O_RDONLY | libc::O_DIRECTORY,
        0,
        resolve::HOST,
    )
}

fn read_at(dir: BorrowedFd, file: &CStr) -> Result<String, Fail> {
    let file = sys::open(dir, file, libc::O_RDONLY, 0, resolve::BENEATH_PLAIN)?;
    let mut content = Vec::new();
    let mut buffer = [0; 4096];
    loop {
        match sys::read(file.as_fd(), &mut buffer)? {
            0 => return Ok(String::from_utf8_lossy(&content).into_owned()),
            n => content.extend_from_slice(&buffer[..n]),
        }
    }
}

/// Makes `place` below `root`; returns what was not there before. Usually that is the last part alone.
fn make_directories(root: &Path, place: &str) -> Result<Vec<PathBuf>> {
    let full = root.join(place);
    match fs::create_dir(&full) {
        Ok(()) => return Ok(vec![full]),
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => return Ok(vec![]),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
        Err(error) => {
            return Err(error)
                .doing(|| format!("make the cgroup {}", full.display()))
                .map_err(limit_hint);
        }
    }
    let mut made = Vec::new();
    let mut path = root.to_path_buf();
    for part in Path::new(place) {
        path.push(part);
        match fs::create_dir(&path) {
            Ok(()) => made.push(path.clone()),
            Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {}
            Err(error) => {
                remove_made(&made);
                return Err(error)
                    .doing(|| format!("make the cgroup {}", path.display()))
                    .map_err(limit_hint);
            }
        }
    }
    Ok(made)
}

fn limit_hint(error: Error) -> Error {
    match error.fail.map(|fail| fail.errno) {
        Some(Errno::EAGAIN) => {
            error.hint("cgroup.max.descendants or cgroup.max.depth of a cgroup above is reached")
        }
        Some(Errno::EROFS) => error.hint("the cgroup hierarchy is mounted read-only here"),
        Some(Errno::EACCES | Errno::EPERM) => error.hint("the cgroup above isn't delegated to this user"),
        _ => error,
    }
}

fn subdirectories(path: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(path).into_iter().flatten().flatten();
    entries
        .filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()))
        .map(|entry| entry.path())
        .collect()
}

fn remove_tree(path: &Path, deadline: Instant) -> Result<()> {
    loop {
        match fs::remove_dir(path) {
            Ok(()) => return Ok(()),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
            Err(error) if error.raw_os_error() == Some(libc::EBUSY) && Instant::now() < deadline => {
                for below in subdirectories(path) {
                    remove_tree(&below, deadline)?;
                }
                wait_unpopulated(path, deadline);
            }
            Err(error) => {
                return Err(error)
                    .doing(|| format!("remove the cgroup {}", path.display()))
                    .map_err(|error| {
                        error.hint(
                            "processes of the container are still there, or somebody has a cgroup below it",
                        )
                    });
            }
        }
    }
}

/// cgroup.events tells when the last process has gone (cgroup-v2.rst, populated). A killed one may take a
/// moment more to leave the cgroup behind, which nothing tells: hence the bound of each wait.
fn wait_unpopulated(path: &Path, deadline: Instant) {
    let Ok(file) = fs::File::open(path.join("cgroup.events")) else {
        return;
    };
    let mut content = String::new();
    let _ = std::io::Read::read_to_string(&mut &file, &mut content);
    let populated = content.contains("populated 1");
    let left = deadline.saturating_duration_since(Instant::now()).as_millis() as i64;
    let _ = poll::changed(file.as_fd(), if populated { left } else { left.min(5) });
}

/// A limit that this host cannot set.
fn fault(field: &str, text: String) -> Fault {
    Fault {
        path: field.into(),
        text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_stay_below_the_root() {
        for (given, cleaned) in [
            ("/a/b", "a/b"),
            ("/../../x", "x"),
            ("/a/../../b/", "b"),
            ("/", ""),
        ] {
            assert_eq!(place(Some(Path::new(given)), "id").expect(given), cleaned);
        }
        assert_eq!(clean(&[Path::new("/user.slice"), Path::new("../../../id")]), "id");
    }
}
