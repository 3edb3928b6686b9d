//! The container's view of files: its root, the mounts in it, what is masked or read-only, how it is entered.

use std::path::Path;

use oci_spec::runtime::{LinuxIdMapping, Mount, Spec};

use super::binds::{bind, copy, copy_by_host, mapped_by};
use super::namespaces::{CGROUP, MOUNT, Namespaces};
use super::running::fs_options;
use super::step::{After, Detached, IfThere, InRoot, MountLabel, NewFs, Step, Target};
use super::{Draft, Facts, Options, Rights, Slot, Want, from_bundle, in_root};
use crate::spec::annotations::{self, MOUNT_CONTEXT_TYPE};
use crate::spec::idmap;
use crate::spec::mount_options::{self, MountOptions, Reach};
use crate::sys::mount::MountAttr;
use crate::sys::{Gid, Uid};

/// MOUNT_ATTR_* of linux/mount.h for the MS_* flags that concern one mount, not its file system.
const ATTRIBUTES: [(u64, u64); 6] = [
    (libc::MS_RDONLY, 0x1),
    (libc::MS_NOSUID, 0x2),
    (libc::MS_NODEV, 0x4),
    (libc::MS_NOEXEC, 0x8),
    (libc::MS_NODIRATIME, 0x80),
    (mount_options::MS_NOSYMFOLLOW, 0x0020_0000),
];
const ATTR_ATIME: u64 = 0x70; // MOUNT_ATTR__ATIME, a field of its own: relatime 0, noatime, strictatime
const ATTR_NOATIME: u64 = 0x10;
const ATTR_STRICTATIME: u64 = 0x20;

/// Inside /proc only these may be covered: files that engines replace for the container's own view.
const COVERABLE_IN_PROC: [&str; 10] = [
    "/proc/cpuinfo",
    "/proc/diskstats",
    "/proc/loadavg",
    "/proc/meminfo",
    "/proc/slabinfo",
    "/proc/stat",
    "/proc/swaps",
    "/proc/sys/crypto/fips_enabled",
    "/proc/sys/kernel/ns_last_pid",
    "/proc/uptime",
];

/// Where the program finds the socket that `Options::notify` is the directory of.
pub const NOTIFY: &str = "/run/notify";

/// The steps for `mounts`, in their order, and the same again for what has to wait until all are there.
pub struct Mounts {
    pub steps: Vec<Step>,
    /// File systems that become read-only only after everything in them was made.
    pub late_read_only: Vec<Step>,
}

/// config.md, Mounts.
pub fn mounts(
    oci: &Spec,
    namespaces: &Namespaces,
    options: &Options,
    facts: &Facts,
    draft: &mut Draft,
) -> Mounts {
    let mut found = Mounts { steps: vec![], late_read_only: vec![] };
    let label =
        oci.linux().as_ref().and_then(|linux| linux.mount_label().clone()).filter(|label| !label.is_empty());
    let context = annotations::get(oci, MOUNT_CONTEXT_TYPE).unwrap_or("context");
    if label.is_some() && !facts.selinux {
        draft.warn("linux.mountLabel: this kernel runs without SELinux, mounts have no labels");
    }
    let label = label.filter(|_| facts.selinux);
    let copy_by_host = copy_by_host(oci);
    let copy = copy(oci, namespaces, facts);
    for (index, mount) in oci.mounts().iter().flatten().enumerate() {
        let field = |what: &str| format!("mounts[{index}]{what}");
        let empty = vec![];
        let parsed = mount_options::parse(mount.options().as_ref().unwrap_or(&empty));
        let path = in_root(&field(".destination"), &mount.destination().to_string_lossy(), draft);
        let fstype = mount.typ().as_deref().unwrap_or_default();
        let target = Target { nofollow: parsed.destination_nofollow, ..target(path, fstype) };
        let after = after(&parsed);
        let remount = parsed.flags & libc::MS_REMOUNT != 0;
        let is_cgroup = matches!(fstype, "cgroup" | "cgroup2");
        // A fault of it was reported by validate.
        let idmap = idmap::of(mount, &parsed, oci.linux().as_ref()).ok().flatten();
        let idmap = idmap.and_then(|asked| mapped_by(asked, namespaces, &field(""), draft));
        let copy = if idmap.is_some() { copy_by_host } else { copy };

        let source = mount.source().as_ref().filter(|source| !source.as_os_str().is_empty());
        if is_cgroup && !parsed.is_bind() && !namespaces.cgroup_view() {
            // Without a view of its own the container gets its own directory, and no say in it unless asked.
            let Some(directory) = options.cgroup.clone() else {
                found.steps.push(nothing(&field(""), target, namespaces));
                continue;
            };
            let mut parsed = parsed;
            if parsed.cleared & libc::MS_RDONLY == 0 {
                parsed.flags |= libc::MS_RDONLY;
            }
            parsed.bind = Some(Reach::Tree);
            let shown = directory.to_string_lossy().into_owned();
            found.steps.push(bind(directory, shown, &field(""), target, &parsed, copy, None, draft));
        } else if (parsed.is_bind() || fstype == "bind") && remount {
            let mount = mounted(&mut found.steps, &target.path, draft);
            found.steps.push(Step::ChangeMount {
                field: field(""),
                path: target.path,
                mount,
                attr: attributes(&parsed),
                after,
            });
        } else if parsed.is_bind() || fstype == "bind" {
            let Some(source) = source else {
                draft.fault(
                    &field(".source"),
                    "is missing: a bind mount needs a file or directory of the host",
                );
                continue;
            };
            let shown = source.to_string_lossy().into_owned();
            let source = from_bundle(options, source);
            let link = facts.links.iter().find(|(path, _)| *path == source);
            if let (true, Some((_, text))) = (parsed.copy_symlink, link) {
                found.steps.extend(link_again(text, &target.path, &field(""), draft));
                continue;
            }
            found.steps.push(bind(source, shown, &field(""), target, &parsed, copy, idmap, draft));
        } else if target.is_proc && fstype != "proc" {
            draft.fault(&field(".type"), format!("{fstype:?} on /proc: only a procfs may be mounted there"));
        } else {
            let mut parsed = parsed;
            if is_cgroup && options.cgroup.is_none() {
                parsed.flags |= libc::MS_RDONLY; // what it sees is the runtime's own cgroup
            }
            let late = fstype == "tmpfs" && parsed.flags & libc::MS_RDONLY != 0 && !remount;
            if late {
                parsed.flags &= !libc::MS_RDONLY;
            }
            let path = target.path.clone();
            let option = label.as_ref().map(|label| format!("{context}=\"{label}\""));
            let mut new = new_fs(mount, &parsed, target, after, option.as_deref(), &field(""), draft);
            if let (true, Some(label)) = (fstype == "mqueue" && !remount, label.as_deref()) {
                // Born with its IPC namespace, its root is of whoever called clone3(2): of nobody in a user namespace.
                match namespaces.foreign_user() {
                    true => draft.warn(format!("{}: has no label in a user namespace", field(".type"))),
                    false => new.label = Some(draft.cstring("linux.mountLabel", label)),
                }
            }
            if !namespaces.has(MOUNT) && !remount {
                let source = new.source.to_string_lossy().into_owned();
                let mut options = fs_options(&field(""), mount, &source, draft);
                if let Some(label) = label.as_deref().filter(|_| is_labelled(fstype)) {
                    options.push((draft.cstring(context, context), Some(draft.cstring(context, label))));
                }
                new.detached = Some(Detached { options, attr: attributes(&parsed) });
            }
            if late {
                let kept = draft.want(Want::Reserved);
                new.keep = Some(kept);
                found.late_read_only.push(Step::ReadOnlyMount { path, mount: kept });
            }
            found.steps.push(Step::Mount(Box::new(new)));
        }
    }
    if let Some(directory) = &options.notify {
        let options = ["bind", "ro", "nosuid", "nodev", "noexec"].map(String::from);
        let shown = directory.to_string_lossy().into_owned();
        let target = target(in_root("NOTIFY_SOCKET", NOTIFY, draft), "");
        let parsed = mount_options::parse(&options);
        let bind = bind(directory.clone(), shown, "NOTIFY_SOCKET", target, &parsed, copy, None, draft);
        found.steps.push(bind);
    }
    found
}

/// config-linux.md, Cgroup ownership: the host's id of process.user.uid, if the container has a cgroup namespace of its own
/// and its cgroup mounted writable.
pub fn cgroup_owner(oci: &Spec, namespaces: &Namespaces, facts: &Facts) -> Option<Uid> {
    let is_writable = |mount: &Mount| {
        let options = mount_options::parse(mount.options().as_deref().unwrap_or_default());
        matches!(mount.typ().as_deref(), Some("cgroup" | "cgroup2")) && options.flags & libc::MS_RDONLY == 0
    };
    let own = namespaces.has(CGROUP);
    // An ordinary user can't give files away; those of a delegated cgroup are the user's own already.
    let own = own && !matches!(facts.rights, Rights::User { .. });
    if !own || !oci.mounts().iter().flatten().any(is_writable) {
        return None;
    }
    let uid = oci.process().as_ref().map_or(0, |process| process.user().uid());
    if !namespaces.foreign_user() {
        return Some(Uid(uid)).filter(|uid| *uid != Uid(0)); // root's it is already
    }
    // Of one that is joined the maps may be there, too, or nobody knows whose it is.
    mapped(oci.linux().as_ref()?.uid_mappings(), uid).map(Uid)
}

/// The host's id of one in the container, if it has any.
fn mapped(maps: &Option<Vec<LinuxIdMapping>>, id: u32) -> Option<u32> {
    let on_host = |map: &LinuxIdMapping| {
        let offset = id.checked_sub(map.container_id()).filter(|n| *n < map.size())?;
        map.host_id().checked_add(offset)
    };
    maps.iter().flatten().find_map(on_host)
}

/// The host's ids for an owner in the container; the host's root in the place of one that isn't mapped.
pub fn on_host(oci: &Spec, namespaces: &Namespaces, (uid, gid): (Uid, Gid)) -> (Uid, Gid) {
    if !namespaces.foreign_user() {
        return (uid, gid);
    }
    let Some(linux) = oci.linux() else { return (Uid(0), Gid(0)) };
    let uid = mapped(linux.uid_mappings(), uid.0).unwrap_or_default();
    let gid = mapped(linux.gid_mappings(), gid.0).unwrap_or_default();
    (Uid(uid), Gid(gid))
}

pub fn target(path: InRoot, fstype: &str) -> Target {
    let shown = path.to_string();
    Target {
        plain: matches!(fstype, "proc" | "sysfs"),
        nofollow: false,
        is_proc: shown == "/proc",
        in_proc: shown == "/proc" || COVERABLE_IN_PROC.contains(&shown.as_str()),
        path,
    }
}

/// The mount that an earlier step has put at this very path, kept for the one that changes it.
fn mounted(steps: &mut [Step], path: &InRoot, draft: &mut Draft) -> Option<Slot> {
    steps.iter_mut().rev().find_map(|step| match step {
        Step::Bind(bind) if bind.target.path == *path => Some(bind.slot),
        Step::Mount(new) if new.target.path == *path && new.flags & libc::MS_REMOUNT == 0 => {
            Some(*new.keep.get_or_insert_with(|| draft.want(Want::Reserved)))
        }
        _ => None,
    })
}

/// proc and sysfs have labels of their own, and mqueue takes one for its root alone (selinux(8), context mounts).
fn is_labelled(fstype: &str) -> bool {
    !matches!(fstype, "proc" | "sysfs" | "mqueue" | "cgroup" | "cgroup2")
}

/// `label` is an option in whole, such as `context="..."`.
fn new_fs(
    mount: &Mount,
    parsed: &MountOptions,
    target: Target,
    after: After,
    label: Option<&str>,
    field: &str,
    draft: &mut Draft,
) -> NewFs {
    let fstype = match mount.typ().as_deref().unwrap_or_default() {
        "cgroup" => "cgroup2",
        fstype => fstype,
    };
    let mut data = parsed.data.clone();
    if let (Some(label), true) = (label, is_labelled(fstype)) {
        data = format!("{data}{}{label}", if data.is_empty() { "" } else { "," });
    }
    let source =
        mount.source().as_ref().map_or(fstype.into(), |source| source.to_string_lossy().into_owned());
    NewFs {
        field: field.to_string(),
        inherit_mode: fstype == "tmpfs"
            && parsed.flags & libc::MS_REMOUNT == 0
            && !data.split(',').any(|option| option.starts_with("mode=")),
        fstype: draft.cstring(&format!("{field}.type"), fstype),
        source: draft.cstring(&format!("{field}.source"), &source),
        flags: parsed.flags,
        data: draft.cstring(&format!("{field}.options"), &data),
        copy_up: parsed.tmpcopyup && fstype == "tmpfs",
        label: None,
        detached: None,
        keep: None,
        target,
        after,
    }
}

/// What mount_setattr(2) is to change on a bind mount: only what was asked for, the rest stays as the source
/// has it.
pub fn attributes(parsed: &MountOptions) -> MountAttr {
    let mut attr = MountAttr::default();
    for (flag, attribute) in ATTRIBUTES {
        if parsed.flags & flag != 0 {
            attr.set |= attribute;
        } else if parsed.cleared & flag != 0 {
            attr.clear |= attribute;
        }
    }
    let atime = libc::MS_NOATIME | libc::MS_STRICTATIME | libc::MS_RELATIME;
    if (parsed.flags | parsed.cleared) & atime != 0 {
        attr.clear |= ATTR_ATIME;
        attr.set |= match parsed.flags {
            flags if flags & libc::MS_NOATIME != 0 => ATTR_NOATIME,
            flags if flags & libc::MS_STRICTATIME != 0 => ATTR_STRICTATIME,
            _ => 0,
        };
    }
    attr
}

pub fn after(parsed: &MountOptions) -> After {
    let recursive = MountAttr { set: parsed.attr_set, clear: parsed.attr_clear, ..MountAttr::default() };
    let propagation =
        parsed.propagation.iter().map(|flag| (flag & !libc::MS_REC, flag & libc::MS_REC != 0)).collect();
    After { recursive, propagation }
}

/// Instead of a bind the symlink that its source is (crun's option copy-symlink).
fn link_again(text: &str, path: &InRoot, field: &str, draft: &mut Draft) -> Option<Step> {
    let Some((directory, name)) = path.split() else {
        draft.fault(&format!("{field}.destination"), "is the root: a symlink can't be there");
        return None;
    };
    Some(Step::Symlink {
        directory,
        name,
        target: draft.cstring(&format!("{field}.source"), text),
        if_there: IfThere::Refuse,
    })
}

/// In the place of a cgroup that the container doesn't have: an empty directory, for what is mounted below might show
/// those of the host, writable (CVE-2023-25809).
fn nothing(field: &str, target: Target, namespaces: &Namespaces) -> Step {
    let flags = libc::MS_RDONLY | libc::MS_NOSUID | libc::MS_NODEV | libc::MS_NOEXEC;
    let options = [(c"size", c"0"), (c"nr_inodes", c"2"), (c"mode", c"755")];
    let options = options.map(|(key, value)| (key.into(), Some(value.into()))).to_vec();
    // The first flags have the same numbers as attributes.
    let attr = MountAttr { set: flags, ..MountAttr::default() };
    Step::Mount(Box::new(NewFs {
        field: field.into(),
        target,
        fstype: c"tmpfs".into(),
        source: c"tmpfs".into(),
        flags,
        data: c"size=0,nr_inodes=2,mode=755".into(),
        copy_up: false,
        inherit_mode: false,
        label: None,
        detached: (!namespaces.has(MOUNT)).then_some(Detached { options, attr }),
        keep: None,
        after: After::default(),
    }))
}

/// config-linux.md, Mount Label, for file systems that no entry of config.json asks for.
pub fn label(oci: &Spec, facts: &Facts, draft: &mut Draft) -> Option<MountLabel> {
    let label = oci.linux().as_ref()?.mount_label().as_ref()?;
    let option = annotations::get(oci, MOUNT_CONTEXT_TYPE).unwrap_or("context");
    (facts.selinux && !label.is_empty()).then(|| MountLabel {
        option: draft.cstring(MOUNT_CONTEXT_TYPE, option),
        label: draft.cstring("linux.mountLabel", label),
    })
}

/// config-linux.md, Masked Paths and Readonly Paths.
pub fn restrict(oci: &Spec, facts: &Facts, stage: Option<Slot>, draft: &mut Draft) {
    let Some(linux) = oci.linux() else { return };
    for (i, path) in linux.readonly_paths().iter().flatten().enumerate() {
        let path = in_root(&format!("linux.readonlyPaths[{i}]"), path, draft);
        draft.step(Step::ReadOnlyPath(path));
    }
    let masked = linux.masked_paths().iter().flatten().enumerate();
    let masked: Vec<_> =
        masked.map(|(i, path)| in_root(&format!("linux.maskedPaths[{i}]"), path, draft)).collect();
    if !masked.is_empty() {
        let stage = stage.filter(|_| facts.rights == Rights::Host);
        let cover = stage.map(|stage| draft.want(Want::Cover { stage }));
        let label = label(oci, facts, draft);
        draft.step(Step::Mask { paths: masked, cover, label });
    }
}

/// Whether a mount of the host stands in for /dev, whose nodes are then not ours to make.
pub fn dev_is_bound(oci: &Spec) -> bool {
    oci.mounts().iter().flatten().any(|mount| {
        let options = mount.options().iter().flatten();
        let bind = mount.typ().as_deref() == Some("bind")
            || options.into_iter().any(|o| o == "bind" || o == "rbind");
        bind && Path::new(mount.destination()).components().eq(Path::new("/dev").components())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(options: &[&str], set: u64, clear: u64) {
        let options: Vec<String> = options.iter().map(|o| (*o).to_string()).collect();
        let attr = attributes(&mount_options::parse(&options));
        assert_eq!((attr.set, attr.clear), (set, clear), "{options:?}");
    }

    #[test]
    fn bind_options_become_attributes() {
        check(&["bind"], 0, 0);
        check(&["bind", "ro"], 0x1, 0);
        check(&["rbind", "rw", "nosuid", "nodev"], 0x6, 0x1);
        check(&["bind", "noatime"], ATTR_NOATIME, ATTR_ATIME);
        check(&["bind", "strictatime"], ATTR_STRICTATIME, ATTR_ATIME);
        check(&["bind", "atime"], 0, ATTR_ATIME);
    }

    #[test]
    fn only_some_files_of_proc_may_be_covered() {
        let covers = |path: &str| target(InRoot::new(path).expect(path), "bind").in_proc;
        assert!(covers("/proc") && covers("/proc/./stat") && covers("/proc/sys/../uptime"));
        assert!(!covers("/proc/self/attr") && !covers("/proc/sys"));
    }
}
