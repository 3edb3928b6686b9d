//! Plans of `mounts add` and `mounts remove`: mounts of a container that runs already. What it runs is hostile now, so no
//! path is walked twice: each mount is made first and attached by its fd, and by that taken back if a later one fails.

use std::ffi::CString;
use std::path::PathBuf;

use oci_spec::runtime::{Mount, Spec};

use super::binds::{attributes_and_after, bind, copy_by_host, mapped_by};
use super::namespaces::{self, CGROUP, MOUNT, Namespaces, PID, USER};
use super::rootfs::target;
use super::step::{Bind, InRoot, MakeFs, Step, Target};
use super::{Draft, HostPart, Options, Plan, Want, from_bundle, in_root};
use crate::error::Result;
use crate::spec::idmap;
use crate::spec::mount_options::{self, Meaning, MountOptions};
use crate::sys::Pid;

/// The container's process, whose root and namespaces are meant.
#[derive(Clone, Copy, Debug)]
pub struct Inside {
    pub init: Pid,
    /// Its user namespace isn't ours.
    pub user: bool,
}

/// Makes all of `oci`'s mounts, then attaches them in their order, or none.
pub fn add(oci: &Spec, inside: Inside, options: &Options) -> Result<Plan> {
    let mut draft = Draft::default();
    let namespaces = enter(inside, &mut draft);
    let mut attach = Vec::new();
    for (index, mount) in oci.mounts().iter().flatten().enumerate() {
        let field = format!("mounts[{index}]");
        let parsed = mount_options::parse(mount.options().as_deref().unwrap_or_default());
        let path = destination(&field, mount, &mut draft);
        let fstype = mount.typ().as_deref().unwrap_or_default();
        let target = Target { nofollow: parsed.destination_nofollow, ..target(path, fstype) };
        if !(parsed.is_bind() || fstype == "bind") {
            let (make, source) = new_fs(&field, mount, &parsed, &mut draft);
            let (attr, after) = attributes_and_after(&parsed);
            let slot = make.slot;
            draft.step(Step::MakeFs(Box::new(make)));
            attach.push(Step::Bind(Box::new(Bind {
                field,
                slot,
                inside: None,
                source,
                target,
                attr,
                idmap: None,
                after,
            })));
            continue;
        }
        let source = mount.source().clone().unwrap_or_default();
        let asked = idmap::of(mount, &parsed, oci.linux().as_ref()).ok().flatten();
        let idmap = asked.and_then(|asked| mapped_by(asked, &namespaces, &field, &mut draft));
        let shown = source.to_string_lossy().into_owned();
        let path = from_bundle(options, &source);
        attach.push(bind(path, shown, &field, target, &parsed, copy_by_host(oci), idmap, &mut draft));
    }
    draft.steps(attach);
    draft.step(Step::Done);
    draft.finish(namespaces, HostPart::default(), None)
}

/// Unmounts all of `oci`'s mounts, the last one first, or none if one isn't there.
pub fn remove(oci: &Spec, inside: Inside) -> Result<Plan> {
    let mut draft = Draft::default();
    let namespaces = enter(inside, &mut draft);
    let mut unmount = Vec::new();
    for (index, mount) in oci.mounts().iter().flatten().enumerate() {
        let field = format!("mounts[{index}]");
        let path = destination(&field, mount, &mut draft);
        draft.step(Step::FindMount { field: field.clone(), path: path.clone() });
        unmount.push(Step::Unmount { field, path });
    }
    draft.steps(unmount.into_iter().rev().collect());
    draft.step(Step::Done);
    draft.finish(namespaces, HostPart::default(), None)
}

fn destination(field: &str, mount: &Mount, draft: &mut Draft) -> InRoot {
    in_root(&format!("{field}.destination"), &mount.destination().to_string_lossy(), draft)
}

/// Into all namespaces on which what a file system shows depends, and the container's root.
fn enter(inside: Inside, draft: &mut Draft) -> Namespaces {
    let path = |file: &str| PathBuf::from(format!("/proc/{}/{file}", inside.init));
    let field = "the container's process".to_string();
    let mut namespace = |file: &str, kind| {
        draft.want(Want::Namespace { path: path(file), field: field.clone(), kind, sysctl: None })
    };
    let namespaces = Namespaces {
        join: vec![
            (namespace("ns/pid", PID), PID, "pid"),
            (namespace("ns/net", libc::CLONE_NEWNET as u64), libc::CLONE_NEWNET as u64, "network"),
            (namespace("ns/ipc", libc::CLONE_NEWIPC as u64), libc::CLONE_NEWIPC as u64, "ipc"),
        ],
        join_user: inside.user.then(|| namespace("ns/user", USER)),
        join_mount: Some(namespace("ns/mnt", MOUNT)),
        join_cgroup: Some(namespace("ns/cgroup", CGROUP)),
        ..Namespaces::default()
    };
    let slot = draft.want(Want::Directory { path: path("root"), field });
    namespaces::enter(&namespaces, draft);
    if inside.user {
        draft.step(Step::BecomeRoot { drop_groups: false });
    }
    draft.step(Step::UseRoot { slot, joined: None });
    namespaces
}

/// A new file system, and what the user calls it.
fn new_fs(field: &str, mount: &Mount, parsed: &MountOptions, draft: &mut Draft) -> (MakeFs, String) {
    let fstype = match mount.typ().as_deref().unwrap_or_default() {
        "cgroup" => "cgroup2",
        fstype => fstype,
    };
    let source = mount.source().as_ref().map(|source| source.to_string_lossy());
    let source = source.map_or(fstype.to_string(), |source| source.into_owned());
    let options = fs_options(field, mount, &source, draft);
    let make = MakeFs {
        field: field.to_string(),
        slot: draft.want(Want::Reserved),
        fstype: draft.cstring(&format!("{field}.type"), fstype),
        options,
        read_only: parsed.flags & libc::MS_RDONLY != 0,
    };
    let shown = match source == fstype {
        true => format!("the new {fstype}"),
        false => format!("the new {fstype} of {source}"),
    };
    (make, shown)
}

/// What a new file system is told by fsconfig(2).
pub fn fs_options(
    field: &str,
    mount: &Mount,
    source: &str,
    draft: &mut Draft,
) -> Vec<(CString, Option<CString>)> {
    let mut options = Vec::new();
    let name = |name: &str, draft: &mut Draft| draft.cstring(&format!("{field}.options"), name);
    for option in mount.options().iter().flatten() {
        match mount_options::meaning(option) {
            // Flags of the file system, not of the mount, go by their own names too.
            Some(Meaning::Set(flag)) if flag & OF_THE_FILE_SYSTEM != 0 => {
                options.push((name(option, draft), None))
            }
            Some(_) => {}
            None => match option.split_once('=') {
                Some((key, value)) => options.push((name(key, draft), Some(name(value, draft)))),
                None => options.push((name(option, draft), None)),
            },
        }
    }
    options.push((c"source".into(), Some(draft.cstring(&format!("{field}.source"), source))));
    options
}

const OF_THE_FILE_SYSTEM: u64 =
    libc::MS_SYNCHRONOUS | libc::MS_DIRSYNC | libc::MS_LAZYTIME | libc::MS_MANDLOCK;
