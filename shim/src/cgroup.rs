//! cgroup v2 by paths: where the hierarchy is, and where a process is in it.

use std::fs;
use std::path::{Path, PathBuf};

use crate::refusal::{Doing, Refusal};

/// Where cgroup2 is mounted: alone, or beside v1 hierarchies.
pub fn mount_point() -> Option<PathBuf> {
    let mounts = fs::read_to_string("/proc/self/mounts").ok()?;
    let mut mounts = mounts.lines().map(|line| line.split(' '));
    mounts.find_map(|mut fields| match (fields.nth(1), fields.next()) {
        (Some(path), Some("cgroup2")) => Some(PathBuf::from(path)),
        _ => None,
    })
}

/// Puts a process into the cgroup at `path` below the hierarchy's root, made if it isn't there.
pub fn put(pid: u32, path: &str) -> Result<(), Refusal> {
    let doing = || format!("put the shim into cgroup {path} (ShimCgroup)");
    let root = mount_point().ok_or("no cgroup2 is mounted").doing(doing)?;
    let directory = root.join(path.trim_start_matches('/'));
    fs::create_dir_all(&directory).doing(doing)?;
    fs::write(directory.join("cgroup.procs"), pid.to_string()).doing(doing)
}

/// The cgroup of a process, as a directory.
pub fn of(pid: u32) -> Option<PathBuf> {
    let text = fs::read_to_string(format!("/proc/{pid}/cgroup")).ok()?;
    let path = text.lines().find_map(|line| line.strip_prefix("0::"))?;
    // One that lies outside of our cgroup namespace can't be named from here.
    if path.starts_with("/..") {
        return None;
    }
    Some(mount_point()?.join(Path::new(path).strip_prefix("/").ok()?))
}
