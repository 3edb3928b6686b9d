//! The root file system itself: how the container's process takes it on, and what becomes of it once all is in it.

use std::path::Path;

use oci_spec::runtime::Spec;

use super::binds::root_propagation;
use super::namespaces::{self, Joined, MOUNT, Namespaces};
use super::rootfs::{self, Mounts};
use super::step::{CopyInside, EnterRoot, Step};
use super::{Draft, Facts, Options, Rights, Slot, Want, devices};

/// config.md, Root: a copy of the mount at the root's directory, in place of itself. Gives the stage below it, if something
/// will be made there.
pub fn take(
    oci: &Spec,
    namespaces: &Namespaces,
    options: &Options,
    facts: &Facts,
    mounts: &mut Mounts,
    draft: &mut Draft,
) -> Option<Slot> {
    let path = options.root.clone();
    let field = "root.path".to_string();
    if !namespaces.has(MOUNT) {
        let slot = draft.want(Want::Directory { path, field });
        let joined =
            namespaces.join_mount.map(|_| draft.cstring("root.path", &options.root.to_string_lossy()));
        draft.step(Step::UseRoot { slot, joined });
        return None;
    }
    let c_path = draft.cstring(&field, &path.to_string_lossy());
    let required = facts.rights != Rights::Host;
    let slot = draft.want(match required {
        true => Want::Directory { path, field },
        false => Want::Tree { path, field, nofollow: false, recursive: true, propagation: libc::MS_PRIVATE },
    });
    if required || namespaces.foreign_user() {
        let copy = CopyInside { path: c_path.clone(), nofollow: false, recursive: true, private: required };
        draft.step(Step::CloneTree { slot, copy, required });
    }
    let binds = mounts.steps.iter_mut().filter_map(|step| match step {
        // Of a mount that is mapped, only the host's copy is.
        Step::Bind(bind) if namespaces.foreign_user() && bind.idmap.is_none() => Some(bind),
        _ => None,
    });
    for bind in binds {
        // Now, since the container's root may not be let through to it.
        let copy = match (bind.inside.take(), draft.wanted(bind.slot)) {
            (Some(inside), _) => (inside, true),
            (None, Some(Want::Tree { path, nofollow, recursive, .. })) => {
                let (nofollow, recursive) = (*nofollow, *recursive);
                let path = path.to_string_lossy().into_owned();
                let path = draft.cstring("mounts", &path);
                (CopyInside { path, nofollow, recursive, private: false }, false)
            }
            _ => continue,
        };
        draft.step(Step::CloneTree { slot: bind.slot, copy: copy.0, required: copy.1 });
    }
    let is_masked = oci.linux().as_ref().is_some_and(|linux| linux.masked_paths().is_some());
    let by_host = facts.rights == Rights::Host;
    let makes = mounts.steps.iter().any(|step| matches!(step, Step::Mount(_)));
    let stage = (is_masked || makes || by_host && !devices::may_make(namespaces, facts)).then(|| {
        let label = rootfs::label(oci, facts, draft);
        let slot = draft.want(if by_host { Want::Stage(label.clone()) } else { Want::Reserved });
        draft.step(Step::Stage { slot, path: c_path.clone(), by_host, label });
        slot
    });
    draft.step(Step::AttachRoot { slot, path: c_path });
    stage
}

/// The root of a container that is there: that of its mount namespace, unless it was entered by chroot.
pub fn enter_container(oci: &Spec, target: Joined, options: &Options, draft: &mut Draft) {
    let pivoted = target.kinds & MOUNT != 0 && namespaces::is_new(oci, MOUNT);
    let path = if pivoted { Path::new("/") } else { &options.root };
    let slot = draft.want(Want::Directory { path: path.into(), field: "root.path".into() });
    let joined = target.kinds & MOUNT != 0;
    let joined = joined.then(|| draft.cstring("root.path", &path.to_string_lossy()));
    draft.step(Step::UseRoot { slot, joined });
    if !pivoted {
        draft.step(Step::EnterRoot(EnterRoot::Chroot));
    }
}

pub fn read_only(oci: &Spec, draft: &mut Draft) {
    if oci.root().as_ref().is_some_and(|root| root.readonly().unwrap_or(false)) {
        draft.step(Step::ReadOnlyRoot);
    }
}

/// config-linux.md, Rootfs Mount Propagation: for the entered root.
pub fn propagation(oci: &Spec, namespaces: &Namespaces, draft: &mut Draft) {
    if let (Some((flag, recursive)), true) = (root_propagation(oci), namespaces.has(MOUNT)) {
        draft.step(Step::RootPropagation(flag, recursive));
    }
}
