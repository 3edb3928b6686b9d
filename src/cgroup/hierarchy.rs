//! Where cgroup v2 is on this host, which controllers it has and passes on, and why a limit finds no file.

use std::fs;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::files;
use super::resources::Write;
use crate::error::{Doing, Error, Fault, Kind, Result};
use crate::sys::fs::{self as sys, resolve};
use crate::sys::{Errno, Fail, ids};

/// CGROUP2_SUPER_MAGIC of linux/magic.h.
const CGROUP2_MAGIC: i64 = 0x6367_7270;

/// The cgroup2 mount, open.
#[derive(Clone, Debug)]
pub struct Hierarchy {
    pub path: PathBuf,
    dir: Arc<OwnedFd>,
}

impl Hierarchy {
    /// /sys/fs/cgroup, or /sys/fs/cgroup/unified on a hybrid host, or wherever /proc/self/mountinfo has one.
    pub fn find() -> Result<Hierarchy> {
        for path in ["/sys/fs/cgroup", "/sys/fs/cgroup/unified"] {
            if let Some(found) = Hierarchy::at(Path::new(path))? {
                return Ok(found);
            }
        }
        let file = "/proc/self/mountinfo";
        let mounts = crate::sys::files::read_to_string(file).doing(|| format!("read {file}"))?;
        for point in mounts.lines().filter_map(|line| mount_point(line, "cgroup2", None)) {
            if let Some(found) = Hierarchy::at(Path::new(point))? {
                return Ok(found);
            }
        }
        Err(Error::new(Kind::Unsupported, "no cgroup v2 hierarchy is mounted")
            .hint("mount -t cgroup2 none /sys/fs/cgroup, or boot without systemd.unified_cgroup_hierarchy=0"))
    }

    /// An error if nobody can tell: a container would be made without a cgroup where there is one.
    fn at(path: &Path) -> Result<Option<Hierarchy>> {
        let doing = || format!("open {}", path.display());
        let c_path = crate::sys::c_path(path).doing(doing)?;
        let flags = libc::O_RDONLY | libc::O_DIRECTORY;
        let dir = match sys::open(sys::cwd(), &c_path, flags, 0, resolve::HOST) {
            Err(Fail { errno: Errno::ENOENT | Errno::ENOTDIR | Errno::EACCES, .. }) => return Ok(None),
            dir => dir.doing(doing)?,
        };
        let is_cgroup2 = sys::fs_magic(dir.as_fd()).doing(doing)? == CGROUP2_MAGIC;
        Ok(is_cgroup2.then(|| Hierarchy { path: path.into(), dir: Arc::new(dir) }))
    }

    pub(super) fn fd(&self) -> BorrowedFd<'_> {
        self.dir.as_fd()
    }

    /// Lets every cgroup above `place` pass on the controllers that it has, since engines read their statistics
    /// also where nothing is limited. One that can't is no failure: only a limit that then finds no file is.
    ///
    /// Usually all of it has been done by an earlier container, and two reads tell so.
    pub(super) fn pass_controllers_on(&self, place: &str, leaf: BorrowedFd) {
        let Ok(all) = files::value(self.fd(), "cgroup.controllers") else {
            return;
        };
        if files::value(leaf, "cgroup.controllers").is_ok_and(|passed| passed == all) {
            return;
        }
        let mut available: Vec<String> = words(&all);
        for above in above(place) {
            let file = format!("{above}cgroup.subtree_control");
            let mut passed = words(&files::value(self.fd(), &file).unwrap_or_default());
            available.retain(|name| !passed.contains(name));
            passed.extend(self.add(&file, available));
            available = passed;
        }
    }

    /// Lets the cgroup at `place` alone pass on all that it has.
    pub(super) fn pass_all_on(&self, place: &str) {
        let has = files::value(self.fd(), &format!("{place}/cgroup.controllers")).unwrap_or_default();
        self.add(&format!("{place}/cgroup.subtree_control"), words(&has));
    }

    /// Those of `missing` that could be added to the subtree_control in `file`.
    fn add(&self, file: &str, mut missing: Vec<String>) -> Vec<String> {
        if missing.is_empty() {
            return missing;
        }
        let added: Vec<_> = missing.iter().map(|name| format!("+{name}")).collect();
        match files::write(self.fd(), file, &added.join(" ")) {
            Ok(()) => missing,
            // It has processes of its own. The kernel would still let it pass on single threaded controllers, and
            // turn all below it into threads' cgroups, in which no container can live (cgroup-v2.rst, Threads).
            Err(Fail { errno: Errno::EBUSY, .. }) => vec![],
            Err(_) => {
                missing.retain(|name| files::write(self.fd(), file, &format!("+{name}")).is_ok());
                missing
            }
        }
    }

    /// Why the file for a limit of the cgroup `leaf` at `place` isn't there, and what to do about it.
    pub(super) fn explain_missing(
        &self,
        place: &str,
        leaf: BorrowedFd,
        write: &Write,
    ) -> (Fault, &'static str) {
        let controller = write.file.split('.').next().unwrap_or_default();
        let has = |dir: BorrowedFd, file: &str| {
            files::value(dir, file).is_ok_and(|listed| words(&listed).iter().any(|name| name == controller))
        };
        let (text, cure) = if controller == "cgroup" || has(leaf, "cgroup.controllers") {
            self.explain_missing_file(controller, &write.file)
        } else if has(self.fd(), "cgroup.controllers") {
            self.explain_withheld(controller, place, |subtree| has(self.fd(), subtree))
        } else if let Some(mount) = v1_hierarchy(controller) {
            (
                format!(
                    "needs the {controller} controller in cgroup v2, and here it is bound to v1 ({mount})"
                ),
                "boot with systemd.unified_cgroup_hierarchy=1 or cgroup_no_v1=all, or leave the limits away",
            )
        } else {
            (
                format!("needs the {controller} controller, which {} doesn't have", self.path.display()),
                "it is missing in the kernel, disabled at boot (cgroup_disable=), or not delegated to here",
            )
        };
        let path = format!("{} = {}", write.field, write.asked);
        (Fault { path, text }, cure)
    }

    /// The same, if the hierarchy as a whole lacks the controller.
    pub(super) fn explain_lacking(&self, place: &str, write: &Write) -> Option<(Fault, &'static str)> {
        let controller = write.file.split('.').next().unwrap_or_default();
        let controllers = self.controllers();
        let has = controller == "cgroup" || controllers.iter().any(|name| name == controller);
        (!has).then(|| self.explain_missing(place, self.fd(), write))
    }

    /// The controllers at the top of it, as seen from here.
    pub fn controllers(&self) -> Vec<String> {
        words(&files::value(self.fd(), "cgroup.controllers").unwrap_or_default())
    }

    /// Those that an ordinary user's cgroups can have: in the cgroup that we are in, if it is the user's, and in that of the
    /// user's systemd.
    pub fn delegated_controllers(&self) -> Vec<String> {
        let uid = ids::euid();
        let own = super::own_place().unwrap_or_default();
        let of_systemd = format!("user.slice/user-{uid}.slice/user@{uid}.service");
        let mut found = vec![];
        for place in [own.trim_start_matches('/'), &of_systemd] {
            let is_ours = fs::metadata(self.path.join(place)).is_ok_and(|found| found.uid() == uid.0);
            if is_ours {
                let file = self.path.join(place).join("cgroup.controllers");
                found.extend(words(&fs::read_to_string(file).unwrap_or_default()));
            }
        }
        found
    }

    /// A cgroup above `place` has the controller and doesn't pass it on.
    fn explain_withheld(
        &self,
        controller: &str,
        place: &str,
        passed_on: impl Fn(&str) -> bool,
    ) -> (String, &'static str) {
        let stops = above(place)
            .into_iter()
            .find(|above| !passed_on(&format!("{above}cgroup.subtree_control")))
            .unwrap_or_default();
        let busy = files::read(self.fd(), &format!("{stops}cgroup.procs"));
        let path = self.path.join(stops.trim_end_matches('/'));
        let text = format!("needs the {controller} controller, which {} doesn't pass on", path.display());
        match busy.is_ok_and(|pids| !pids.is_empty() && !stops.is_empty()) {
            true => (
                text + ", having processes of its own",
                "choose another linux.cgroupsPath, or move those processes to a cgroup below",
            ),
            false => (text, "add it to that cgroup's cgroup.subtree_control, or have it delegated to you"),
        }
    }

    fn explain_missing_file(&self, controller: &str, file: &str) -> (String, &'static str) {
        let cure = match (controller, file) {
            ("hugetlb", _) => "the sizes of huge pages are those in /sys/kernel/mm/hugepages",
            ("memory", file) if file.starts_with("memory.swap") => {
                "it accounts for swap with CONFIG_SWAP and without swapaccount=0 at boot"
            }
            ("io", "io.weight" | "io.bfq.weight") => {
                "weights take the bfq scheduler or CONFIG_BLK_CGROUP_IOCOST"
            }
            _ => "the kernel may be too old, or built without it",
        };
        (format!("this kernel's {controller} controller has no file {file}"), cure)
    }
}

/// The cgroups above `place`, from the root on, as prefixes for the name of a file in them.
fn above(place: &str) -> Vec<String> {
    let ends = place.match_indices('/').map(|(at, _)| &place[..=at]);
    std::iter::once("").chain(ends).map(str::to_string).collect()
}

fn words(text: &str) -> Vec<String> {
    text.split_whitespace().map(str::to_string).collect()
}

/// Where the controller's v1 hierarchy is mounted, or that it is one that isn't seen from here.
pub fn v1_hierarchy(controller: &str) -> Option<String> {
    let controller = if controller == "io" { "blkio" } else { controller };
    let listed = |list: &str| list.split(',').any(|name| name == controller);
    // This doesn't depend on what is mounted.
    let own = files::own().ok()?;
    own.lines().find(|line| line.split(':').nth(1).is_some_and(listed))?;
    let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    let seen = mounts.lines().find_map(|line| mount_point(line, "cgroup", Some(controller)));
    Some(seen.unwrap_or("which isn't mounted here").to_string())
}

/// The mount point of a line of proc_pid_mountinfo(5), if it is of this type and with this super option: the
/// mount point is field 5, the type comes after " - ", and the super options are the third from there.
pub(crate) fn mount_point<'l>(line: &'l str, fstype: &str, option: Option<&str>) -> Option<&'l str> {
    let (mount, file_system) = line.split_once(" - ")?;
    let mut fields = file_system.split(' ');
    let options = (fields.next() == Some(fstype)).then(|| fields.nth(1))??;
    let fits = option.is_none_or(|option| options.split(',').any(|o| o == option));
    fits.then(|| mount.split(' ').nth(4))?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mount_points() {
        let line = "32 25 0:29 / /sys/fs/cgroup/cpu rw,nosuid shared:9 - cgroup cgroup rw,cpu,cpuacct";
        let check = |fstype, option, expected| assert_eq!(mount_point(line, fstype, option), expected);
        check("cgroup", Some("cpuacct"), Some("/sys/fs/cgroup/cpu"));
        check("cgroup", None, Some("/sys/fs/cgroup/cpu"));
        check("cgroup", Some("memory"), None);
        check("cgroup2", None, None);
    }

    #[test]
    fn all_cgroups_above() {
        assert_eq!(above("a"), [""]);
        assert_eq!(above("a/b/c"), ["", "a/", "a/b/"]);
    }
}
