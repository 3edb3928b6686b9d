//! Binds: who copies the host's mount, with which propagation, and whose maps its ids take.

use std::path::PathBuf;

use oci_spec::runtime::Spec;

use super::namespaces::{self, IdMaps, MOUNT, Namespaces};
use super::rootfs::{after, attributes};
use super::step::After;
use super::step::{self, Bind, CopyInside, MappedBy, Step, Target};
use super::{Draft, Facts, Rights, Want};
use crate::spec::idmap;
use crate::spec::mount_options::{MountOptions, Reach};
use crate::sys::mount::MountAttr;

/// The MS_* flag of linux.rootfsPropagation and whether it is recursive.
pub fn root_propagation(oci: &Spec) -> Option<(u64, bool)> {
    let name = oci.linux().as_ref()?.rootfs_propagation().as_deref()?;
    Some(match name {
        "shared" => (libc::MS_SHARED, false),
        "rshared" => (libc::MS_SHARED, true),
        "slave" => (libc::MS_SLAVE, false),
        "rslave" => (libc::MS_SLAVE, true),
        "private" => (libc::MS_PRIVATE, false),
        "rprivate" => (libc::MS_PRIVATE, true),
        "unbindable" => (libc::MS_UNBINDABLE, false),
        "runbindable" => (libc::MS_UNBINDABLE, true),
        _ => return None, // a fault that spec/validate has reported
    })
}

/// Who copies a mount of the host for a bind, and how the copy relates to its original.
#[derive(Clone, Copy, PartialEq)]
pub enum CopyBy {
    /// The container's process, from its own mount namespace: what is mounted on the original still comes in,
    /// or with `private` nothing does.
    Container { private: bool },
    /// The host, with this propagation (MS_*, or 0: what is mounted on the one shows on the other). Where the
    /// container's process may not walk the path, or its own namespace hears nothing of the host.
    Host(u64),
}

pub fn copy(oci: &Spec, namespaces: &Namespaces, facts: &Facts) -> CopyBy {
    let may_host = facts.rights == Rights::Host;
    match copy_by_host(oci) {
        CopyBy::Host(propagation)
            if namespaces.has(MOUNT) && (!may_host || propagation != 0 && !namespaces.foreign_user()) =>
        {
            CopyBy::Container { private: propagation == libc::MS_PRIVATE }
        }
        host => host,
    }
}

pub fn copy_by_host(oci: &Spec) -> CopyBy {
    CopyBy::Host(match root_propagation(oci) {
        Some((libc::MS_SHARED, _)) => 0,
        Some((libc::MS_PRIVATE | libc::MS_UNBINDABLE, _)) => libc::MS_PRIVATE,
        _ => libc::MS_SLAVE,
    })
}

/// Whose maps a mount takes. `None` where there is nobody's, which validate has refused.
pub fn mapped_by(
    asked: idmap::Idmap,
    namespaces: &Namespaces,
    field: &str,
    draft: &mut Draft,
) -> Option<step::Idmap> {
    let own = asked.maps.map(|maps| IdMaps {
        uid: namespaces::lines(&maps.uid),
        gid: namespaces::lines(&maps.gid),
        ..IdMaps::default()
    });
    let by = match (own, namespaces.join_user) {
        (Some(maps), _) if namespaces.id_maps.as_ref().is_none_or(|own| !own.are_same(&maps)) => {
            MappedBy::Slot(draft.want_user_namespace(maps, field))
        }
        (None, Some(joined)) => MappedBy::Slot(joined),
        _ if namespaces.id_maps.is_some() => MappedBy::Container,
        _ => return None,
    };
    Some(step::Idmap { by, recursive: asked.reach == Reach::Tree })
}

/// A bind of `path`, which the user calls `source`. Mounts are made in their order, the copies too: the kernel
/// lists them by age.
#[allow(clippy::too_many_arguments)] // the facts of one mount, each used once
pub fn bind(
    path: PathBuf,
    source: String,
    field: &str,
    target: Target,
    parsed: &MountOptions,
    copy: CopyBy,
    idmap: Option<step::Idmap>,
    draft: &mut Draft,
) -> Step {
    let recursive = parsed.is_recursive_bind();
    let nofollow = parsed.source_nofollow;
    let want_field = format!("{field}.source");
    let (slot, inside) = match copy {
        CopyBy::Container { private } => {
            let path_inside = draft.cstring(&want_field, &path.to_string_lossy());
            let inside = CopyInside { path: path_inside, nofollow, recursive, private };
            (draft.want(Want::Source { path, field: want_field, nofollow }), Some(inside))
        }
        CopyBy::Host(propagation) => {
            (draft.want(Want::Tree { path, field: want_field, nofollow, recursive, propagation }), None)
        }
    };
    let field = field.to_string();
    Step::Bind(Box::new(Bind {
        field,
        slot,
        inside,
        source,
        target,
        attr: attributes(parsed),
        idmap,
        after: after(parsed),
    }))
}

/// What a mount's options ask of it before and after it is attached.
pub fn attributes_and_after(parsed: &MountOptions) -> (MountAttr, After) {
    (attributes(parsed), after(parsed))
}
