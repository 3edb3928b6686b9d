//! Device nodes and the links in /dev: those that every container has (config-linux.md, Default Devices),
//! and those that config.json adds.

use std::path::{Path, PathBuf};

use oci_spec::runtime::{LinuxDevice, LinuxDeviceType, Spec};

use super::namespaces::Namespaces;
use super::step::{CopyInside, IfThere, Step};
use super::{Draft, Facts, NodeFrom, Rights, Slot, Want, in_root, rootfs};
use crate::sys::{Gid, Uid};

/// Path, major and minor of the nodes that are always there; mode 0666, root's.
const DEFAULT: [(&str, u32, u32); 6] = [
    ("/dev/null", 1, 3),
    ("/dev/zero", 1, 5),
    ("/dev/full", 1, 7),
    ("/dev/random", 1, 8),
    ("/dev/urandom", 1, 9),
    ("/dev/tty", 5, 0),
];

const LINKS: [(&str, &str); 4] = [
    ("/dev/fd", "/proc/self/fd"),
    ("/dev/stdin", "/proc/self/fd/0"),
    ("/dev/stdout", "/proc/self/fd/1"),
    ("/dev/stderr", "/proc/self/fd/2"),
];

struct Node {
    field: String,
    path: String,
    mode: u32,
    device: u64,
    uid: Uid,
    gid: Gid,
}

/// On the stage nodes are made for a container that can't make its own.
pub fn compile(oci: &Spec, namespaces: &Namespaces, facts: &Facts, stage: Option<Slot>, draft: &mut Draft) {
    if rootfs::dev_is_bound(oci) {
        return; // the host's /dev, with all that is in it
    }
    let configured = oci.linux().as_ref().and_then(|linux| linux.devices().as_ref());
    let configured: Vec<_> =
        configured.into_iter().flatten().enumerate().map(|(i, d)| configured_node(i, d)).collect();
    let default = DEFAULT.iter().map(|(path, major, minor)| Node {
        field: format!("the default device {path}"),
        path: (*path).into(),
        mode: libc::S_IFCHR | 0o666,
        device: libc::makedev(*major, *minor),
        uid: Uid(0),
        gid: Gid(0),
    });
    let same = |a: &str, b: &str| Path::new(a).components().eq(Path::new(b).components());
    let default = default.filter(|node| !configured.iter().any(|other| same(&node.path, &other.path)));
    for node in default.collect::<Vec<_>>().into_iter().chain(configured) {
        node_step(node, oci, namespaces, facts, stage, draft);
    }
    for (path, target) in LINKS {
        link(path, target, IfThere::Keep, draft);
    }
    if facts.kcore {
        link("/dev/core", "/proc/kcore", IfThere::Keep, draft);
    }
    link("/dev/ptmx", "pts/ptmx", IfThere::Replace, draft);
}

fn configured_node(index: usize, device: &LinuxDevice) -> Node {
    let kind = match device.typ() {
        LinuxDeviceType::B => libc::S_IFBLK,
        LinuxDeviceType::P => libc::S_IFIFO,
        _ => libc::S_IFCHR,
    };
    // Ranges were checked with the spec; a pipe has no number.
    let (major, minor) = (device.major() as u32, device.minor() as u32);
    Node {
        field: format!("linux.devices[{index}]"),
        path: device.path().to_string_lossy().into_owned(),
        mode: kind | device.file_mode().unwrap_or(0o666) & 0o7777,
        device: if kind == libc::S_IFIFO { 0 } else { libc::makedev(major, minor) },
        uid: Uid(device.uid().unwrap_or(0)),
        gid: Gid(device.gid().unwrap_or(0)),
    }
}

fn node_step(
    node: Node,
    oci: &Spec,
    namespaces: &Namespaces,
    facts: &Facts,
    stage: Option<Slot>,
    draft: &mut Draft,
) {
    let path = in_root(&format!("{}.path", node.field), &node.path, draft);
    let Some((directory, name)) = path.split() else {
        return draft.fault(&format!("{}.path", node.field), format!("{:?} is the root itself", node.path));
    };
    if !may_make(namespaces, facts) && node.mode & libc::S_IFMT != libc::S_IFIFO {
        // mknod(2) is refused in a user namespace: a node is bound instead.
        let Node { mode, device, field, path: host, uid, gid } = node;
        let host: PathBuf = Path::new(&host).components().collect(); // without a slash at its end
        let (from, inside) = match (stage, facts.rights) {
            (Some(stage), Rights::Host) => {
                let owner = rootfs::on_host(oci, namespaces, (uid, gid));
                (NodeFrom::Stage { stage, owner }, None)
            }
            (None, Rights::Host) => (NodeFrom::Host, None),
            _ => {
                let path = draft.cstring(&field, &host.to_string_lossy());
                let inside = CopyInside { path, nofollow: true, recursive: false, private: false };
                (NodeFrom::HostInside, Some(inside))
            }
        };
        let slot = draft.want(Want::Device { path: host, field, mode, device, from });
        return draft.step(Step::BindDevice { slot, path, inside });
    }
    let Node { mode, device, uid, gid, .. } = node;
    draft.step(Step::Device { directory, name, mode, device, uid, gid });
}

/// Whether the container's process has a right to mknod(2).
pub fn may_make(namespaces: &Namespaces, facts: &Facts) -> bool {
    !namespaces.foreign_user() && facts.rights == Rights::Host
}

fn link(path: &str, target: &str, if_there: IfThere, draft: &mut Draft) {
    if let Some((directory, name)) = in_root(path, path, draft).split() {
        let target = draft.cstring(path, target);
        draft.step(Step::Symlink { directory, name, target, if_there });
    }
}
