//! What the machine that runs the tests can do, found by probes. [`crate::needs`] turns a "no" into a skip.

use std::fs;
use std::os::linux::fs::MetadataExt;
use std::path::Path;

use nix::sys::stat::{major, minor};

/// The mount point of cgroup2 as this thread sees it, the nearest to / first.
pub fn cgroup2() -> Option<String> {
    let mounts = fs::read_to_string("/proc/thread-self/mountinfo").ok()?;
    let at = |line: &str| {
        let (left, right) = line.split_once(" - ")?;
        right.starts_with("cgroup2 ").then(|| left.split(' ').nth(4).map(str::to_owned))?
    };
    mounts.lines().filter_map(at).min_by_key(String::len)
}

/// Whether cgroup v2 has this controller here (on a hybrid host v1 has most of them).
pub fn controller(name: &str) -> bool {
    let list = cgroup2().and_then(|at| fs::read_to_string(at + "/cgroup.controllers").ok());
    list.is_some_and(|l| l.split_whitespace().any(|c| c == name))
}

/// Whether systemd is to make all cgroups: `CGROUP_MANAGER=systemd`.
pub fn by_systemd() -> bool {
    match std::env::var("CGROUP_MANAGER").as_deref() {
        Ok("systemd") => true,
        Ok("cgroupfs") | Err(_) => false,
        Ok(other) => panic!("CGROUP_MANAGER={other:?}: say systemd or cgroupfs"),
    }
}

/// Whether systemd runs this machine, and its cgroups are those of version 2 alone (sd_booted(3)).
pub fn systemd() -> bool {
    fs::exists("/run/systemd/system").unwrap_or(false) && cgroup2().as_deref() == Some("/sys/fs/cgroup")
}

/// An ordinary user whose systemd runs, so that cgroups are delegated to it.
pub fn session_user() -> Option<u32> {
    let ids = fs::read_dir("/run/user").ok()?.flatten();
    let ids = ids.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    let running = |id: &u32| fs::exists(format!("/run/user/{id}/systemd/private")).unwrap_or(false);
    ids.filter(|id| *id >= 1000 && running(id)).min()
}

/// Whether a controller is delegated to that user.
pub fn delegates(controller: &str, id: u32) -> bool {
    let at = format!("/sys/fs/cgroup/user.slice/user-{id}.slice/user@{id}.service/cgroup.controllers");
    fs::read_to_string(at).is_ok_and(|list| list.split_whitespace().any(|c| c == controller))
}

/// Major and minor of the disk that a file is on, if that has limits: a partition has none, and tmpfs isn't on one.
pub fn disk(file: &Path) -> Option<(u64, u64)> {
    let device = fs::metadata(file).ok()?.st_dev();
    let device = (major(device), minor(device));
    let sys = format!("/sys/dev/block/{}:{}", device.0, device.1);
    (fs::exists(&sys).ok()? && !fs::exists(sys + "/partition").ok()?).then_some(device)
}

/// Whether AppArmor confines programs here.
pub fn apparmor() -> bool {
    fs::read_to_string("/sys/module/apparmor/parameters/enabled")
        .is_ok_and(|enabled| enabled.starts_with('Y'))
}

/// Whether SELinux does.
pub fn selinux() -> bool {
    fs::exists("/sys/fs/selinux/enforce").unwrap_or(false)
}

/// Whether we hold a capability in the effective set, by its number in linux/capability.h.
pub fn capability(number: u32) -> bool {
    let status = fs::read_to_string("/proc/thread-self/status").unwrap_or_default();
    let set = status.lines().find_map(|l| l.strip_prefix("CapEff:\t"));
    set.and_then(|s| u64::from_str_radix(s, 16).ok()).is_some_and(|s| s >> number & 1 == 1)
}

/// CAP_SYS_RESOURCE: raising hard rlimits, lowering oom_score_adj.
pub fn may_raise_limits() -> bool {
    capability(24)
}

pub fn is_root() -> bool {
    nix::unistd::geteuid().is_root()
}
