//! Where cgroup v2 is on this host, and which controllers it has.

use std::fs;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};

use super::resources::Write;
use super::{fault, read_at};
use crate::error::{Doing, Error, Fault, Kind, Result};
use crate::sys::fs::{self as sys, resolve};

/// CGROUP2_SUPER_MAGIC of linux/magic.h.
const CGROUP2_MAGIC: i64 = 0x6367_7270;

/// Those that a container's limits and statistics come from.
const CONTROLLERS: [&str; 8] = ["cpu", "cpuset", "hugetlb", "io", "memory", "misc", "pids", "rdma"];

#[derive(Debug)]
pub struct Hierarchy {
    pub path: PathBuf,
    dir: OwnedFd,
}

impl Hierarchy {
    /// The cgroup2 mount: /sys/fs/cgroup, or /sys/fs/cgroup/unified on a hybrid host, or wherever
    /// /proc/self/mountinfo has one.
    pub fn find() -> Result<Hierarchy> {
        for path in ["/sys/fs/cgroup", "/sys/fs/cgroup/unified"] {
            if let Some(found) = Hierarchy::at(Path::new(path)) {
                return Ok(found);
            }
        }
        let file = "/proc/self/mountinfo";
        let mounts = fs::read_to_string(file).doing(|| format!("read {file}"))?;
        // proc_pid_mountinfo(5): the mount point is field 5, the type comes after " - ".
        let points = mounts.lines().filter_map(|line| {
            let (mount, rest) = line.split_once(" - ")?;
            rest.starts_with("cgroup2 ").then(|| mount.split(' ').nth(4))?
        });
        points.map(Path::new).find_map(Hierarchy::at).ok_or_else(|| {
            Error::new(Kind::Unsupported, "no cgroup v2 hierarchy is mounted").hint(
                "mount -t cgroup2 none /sys/fs/cgroup, or boot without systemd.unified_cgroup_hierarchy=0",
            )
        })
    }

    fn at(path: &Path) -> Option<Hierarchy> {
        let c_path = crate::sys::c_path(path).ok()?;
        let dir = sys::open(
            sys::cwd(),
            &c_path,
            libc::O_RDONLY | libc::O_DIRECTORY,
            0,
            resolve::HOST,
        )
        .ok()?;
        (sys::fs_magic(dir.as_fd()).ok()? == CGROUP2_MAGIC).then(|| Hierarchy {
            path: path.into(),
            dir,
        })
    }

    fn controllers(&self) -> Vec<String> {
        let listed = read_at(self.dir.as_fd(), c"cgroup.controllers").unwrap_or_default();
        listed
            .split_whitespace()
            .filter(|name| CONTROLLERS.contains(name))
            .map(str::to_string)
            .collect()
    }

    /// Lets every cgroup on the way to `place` pass its controllers on. One that can't is no failure yet: only
    /// a limit that then finds no file is.
    pub fn enable_controllers(&self, place: &str) {
        let wanted = self.controllers();
        let mut path = self.path.clone();
        for part in Path::new(place) {
            let file = path.join("cgroup.subtree_control");
            let Ok(enabled) = fs::read_to_string(&file) else {
                return;
            };
            let enabled: Vec<_> = enabled.split_whitespace().collect();
            let missing: Vec<_> = wanted
                .iter()
                .filter(|name| !enabled.contains(&name.as_str()))
                .collect();
            if !missing.is_empty() {
                let all: Vec<_> = missing.iter().map(|name| format!("+{name}")).collect();
                if fs::write(&file, all.join(" ")).is_err() {
                    for one in all {
                        let _ = fs::write(&file, one); // some may be refused, others not
                    }
                }
            }
            path.push(part);
        }
    }

    /// Why the file for a limit isn't there, and what to do about it.
    pub fn missing(&self, cgroup: &Path, write: &Write) -> Fault {
        let controller = write.file.split('.').next().unwrap_or_default();
        let here = self.controllers().iter().any(|name| name == controller);
        let above = cgroup.parent().unwrap_or(cgroup);
        let enabled = fs::read_to_string(above.join("cgroup.subtree_control")).unwrap_or_default();
        let text = if !here {
            match v1_hierarchy(controller) {
                Some(mount) => format!(
                    "needs the {controller} controller in cgroup v2, and here it is bound to v1 ({mount}); boot with \
                     cgroup_no_v1={controller} or with systemd.unified_cgroup_hierarchy=1, or leave the limit away"
                ),
                None => format!(
                    "needs the {controller} controller, which {} doesn't have: it is missing in the kernel, \
                     or not delegated to here",
                    self.path.display()
                ),
            }
        } else if !enabled.split_whitespace().any(|name| name == controller) {
            format!(
                "needs the {controller} controller, which {} doesn't pass on; write +{controller} to its \
                 cgroup.subtree_control, or choose a cgroup above which no processes are",
                above.display()
            )
        } else {
            format!("this kernel's {controller} controller has no file {}", write.file)
        };
        fault(&format!("{} = {}", write.field, write.asked), text)
    }
}

/// The mount of the v1 hierarchy that has this controller.
fn v1_hierarchy(controller: &str) -> Option<String> {
    let controller = if controller == "io" { "blkio" } else { controller };
    let mounts = fs::read_to_string("/proc/self/mountinfo").ok()?;
    mounts.lines().find_map(|line| {
        let (mount, rest) = line.split_once(" - ")?;
        let options = rest.strip_prefix("cgroup ")?.split(' ').nth(1)?;
        options
            .split(',')
            .any(|option| option == controller)
            .then(|| mount.split(' ').nth(4).map(str::to_string))?
    })
}
