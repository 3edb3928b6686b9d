//! Mounts whose owners are mapped, as containerd asks for the root of a pod with a user namespace: each id of the file
//! system appears as the one that the pod's namespace has for it (mount_setattr(2), MOUNT_ATTR_IDMAP).

use std::ffi::CString;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use rrunc::plan::IdMaps;
use rrunc::sys::fs::cwd;
use rrunc::sys::mount::{MountAttr, attach_to_host_path, clone_tree, set_attr};

use crate::refusal::{Doing, Refusal};

/// A user namespace with these maps, each `INSIDE:OUTSIDE:COUNT`, several separated by commas.
pub fn user_namespace(uid: &str, gid: &str) -> Result<OwnedFd, Refusal> {
    let maps = IdMaps { uid: map("uidmap", uid)?, gid: map("gidmap", gid)?, ..IdMaps::default() };
    rrunc::idmap::user_namespace(&maps, "uidmap, gidmap").map_err(|error| Refusal::unknown(error.to_string()))
}

/// As user_namespaces(7) wants it in uid_map.
fn map(name: &str, text: &str) -> Result<String, Refusal> {
    let mut lines = String::new();
    for range in text.split(',') {
        let numbers: Result<Vec<u32>, _> = range.split(':').map(str::parse).collect();
        match numbers.as_deref() {
            Ok([inside, outside, count]) => lines += &format!("{inside} {outside} {count}\n"),
            _ => {
                return Err(Refusal::invalid(format!(
                    "{name}={text}: {range:?} is not INSIDE:OUTSIDE:COUNT"
                )));
            }
        }
    }
    Ok(lines)
}

#[derive(Clone, Copy)]
pub struct How {
    pub recursive: bool,
    pub read_only: bool,
}

/// What is at `source` (with all that is mounted below it, or without), once more at `target`, mapped by the maps of
/// `user`.
pub fn bind(source: &Path, how: How, user: BorrowedFd, target: &Path) -> Result<(), Refusal> {
    let doing = || format!("map the ids of {}", source.display());
    let c_path = |path: &Path| CString::new(path.as_os_str().as_bytes()).doing(doing);
    let tree = clone_tree(cwd(), &c_path(source)?, how.recursive).doing(doing)?;
    let attr = MountAttr {
        set: libc::MOUNT_ATTR_IDMAP | if how.read_only { libc::MOUNT_ATTR_RDONLY } else { 0 },
        userns_fd: user.as_raw_fd() as u64,
        ..MountAttr::default()
    };
    set_attr(tree.as_fd(), &attr, how.recursive).doing(doing)?;
    attach_to_host_path(tree.as_fd(), &c_path(target)?).doing(doing)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn maps() {
        let check = |text, expected: Option<&str>| {
            assert_eq!(map("uidmap", text).ok().as_deref(), expected, "{text}");
        };
        check("0:1000000:65536", Some("0 1000000 65536\n"));
        check("0:1000:1,1:5000:9", Some("0 1000 1\n1 5000 9\n"));
        for bad in ["", "0:1", "0:1:2:3", "0:-1:2", "0:1:2,", "0:1:4294967296"] {
            check(bad, None);
        }
    }
}
