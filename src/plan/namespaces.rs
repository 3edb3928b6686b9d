//! Which namespaces are made with the clone, which are joined and by whom, and who writes the id maps.
//!
//! The order is the kernel's: whoever enters a user namespace loses its power over all others, so namespaces
//! that exist are joined first; what is new belongs to the user namespace that is new or joined with it.

use std::fmt;

use oci_spec::runtime::{Linux, LinuxIdMapping, LinuxNamespace, LinuxNamespaceType, LinuxNetDevice, Spec};

use super::step::Step;
use super::{Draft, Facts, NetDevice, Options, Rights, Slot, Want};
use crate::spec::annotations::{self, KEEP_ORIGINAL_GROUPS};
use crate::spec::{net_device_inside, sysctl_name, sysctl_owner};

/// A namespace type: its name in config.json and its CLONE_NEW* flag.
const KINDS: [(LinuxNamespaceType, &str, u64); 8] = [
    (LinuxNamespaceType::User, "user", libc::CLONE_NEWUSER as u64),
    (LinuxNamespaceType::Mount, "mount", libc::CLONE_NEWNS as u64),
    (LinuxNamespaceType::Pid, "pid", libc::CLONE_NEWPID as u64),
    (LinuxNamespaceType::Ipc, "ipc", libc::CLONE_NEWIPC as u64),
    (LinuxNamespaceType::Uts, "uts", libc::CLONE_NEWUTS as u64),
    (LinuxNamespaceType::Network, "network", libc::CLONE_NEWNET as u64),
    (LinuxNamespaceType::Cgroup, "cgroup", libc::CLONE_NEWCGROUP as u64),
    (LinuxNamespaceType::Time, "time", libc::CLONE_NEWTIME as u64),
];

pub const USER: u64 = libc::CLONE_NEWUSER as u64;
pub const MOUNT: u64 = libc::CLONE_NEWNS as u64;
pub const CGROUP: u64 = libc::CLONE_NEWCGROUP as u64;
pub const TIME: u64 = libc::CLONE_NEWTIME as u64;
pub const NETWORK: u64 = libc::CLONE_NEWNET as u64;
pub const PID: u64 = libc::CLONE_NEWPID as u64;

/// The lines of /proc/PID/uid_map and gid_map (user_namespaces(7)).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct IdMaps {
    pub uid: String,
    pub gid: String,
    pub uid_by: Writer,
    pub gid_by: Writer,
}

impl IdMaps {
    /// Whoever writes them.
    pub fn are_same(&self, other: &IdMaps) -> bool {
        (&self.uid, &self.gid) == (&other.uid, &other.gid)
    }
}

/// Who may write a map (user_namespaces(7), "Defining user and group ID mappings").
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Writer {
    /// We, with CAP_SETUID and CAP_SETGID.
    #[default]
    Root,
    /// We, since it holds our own id alone; for groups setgroups(2) must be denied before.
    Owner,
    /// newuidmap(1) or newgidmap(1), as far as /etc/subuid and /etc/subgid allow it.
    Helper,
}

impl Writer {
    /// `own`: our id on the host, if we are an ordinary user.
    fn of(mappings: &Option<Vec<LinuxIdMapping>>, own: Option<u32>) -> Writer {
        match (own, mappings.as_deref().unwrap_or_default()) {
            (None, _) => Writer::Root,
            (Some(own), [only]) if only.size() == 1 && only.host_id() == own => Writer::Owner,
            _ => Writer::Helper,
        }
    }
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Namespaces {
    /// CLONE_NEW* flags of all that are new, whoever makes them.
    pub new: u64,
    /// Joined before the container's process exists: slot, kind and name.
    pub join: Vec<(Slot, u64, &'static str)>,
    /// A user namespace to join, which a process between us and the container's must do.
    pub join_user: Option<Slot>,
    /// Only the host's root can enter a namespace and come back. For others a process in between enters those that the
    /// container's process is to be born in, first of all the user namespace, which gives the right to the rest.
    pub apart: bool,
    /// A mount namespace to join, which the container's process does itself.
    pub join_mount: Option<Slot>,
    /// A cgroup namespace to join, which it does itself too: from inside of one nobody can be born into a cgroup
    /// outside of it (cgroup-v2.rst, nsdelegate).
    pub join_cgroup: Option<Slot>,
    /// Those of a process that is there already, for `exec`.
    pub target: Option<Joined>,
    pub id_maps: Option<IdMaps>,
    /// The content of /proc/PID/timens_offsets (time_namespaces(7)).
    pub time_offsets: Option<String>,
}

/// A process, and which of its namespaces are joined through its pidfd (setns(2), Linux 5.8).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Joined {
    pub pidfd: Slot,
    /// CLONE_NEW* flags.
    pub kinds: u64,
    /// An ordinary user has a right to the others only in the user namespace; whoever has the right already keeps it
    /// until the user namespace is joined, also to those that belong to the host's.
    pub user_first: bool,
}

impl Namespaces {
    /// What clone3 is asked for. A cgroup namespace comes later ([`Step::NewCgroupNamespace`]), and a time
    /// namespace with offsets is made before, since no process may be in it when they are written.
    pub fn clone_flags(&self) -> u64 {
        let time = if self.time_offsets.is_some() { TIME } else { 0 };
        self.new & !(CGROUP | time)
    }

    pub fn has(&self, kind: u64) -> bool {
        self.new & kind != 0
    }

    /// The user namespace isn't ours: what we may do on the host, the container's process may not.
    pub fn foreign_user(&self) -> bool {
        self.has(USER)
            || self.join_user.is_some()
            || self.target.is_some_and(|target| target.kinds & USER != 0)
    }

    /// The id maps are not written with root's rights.
    pub fn maps_by_user(&self) -> bool {
        let by_user = |maps: &IdMaps| [maps.uid_by, maps.gid_by].iter().any(|by| *by != Writer::Root);
        self.id_maps.as_ref().is_some_and(by_user)
    }

    /// The container sees its own part of the cgroup tree.
    pub fn cgroup_view(&self) -> bool {
        self.has(CGROUP) || self.join_cgroup.is_some()
    }
}

/// The names of CLONE_NEW* flags.
pub fn names(kinds: u64) -> String {
    let names = KINDS.iter().filter(|(_, _, flag)| kinds & flag != 0);
    names.map(|(_, name, _)| *name).collect::<Vec<_>>().join(" ")
}

impl fmt::Display for Namespaces {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(target) = self.target {
            return write!(f, "namespaces of the container: {}", names(target.kinds));
        }
        f.write_str("new namespaces:")?;
        for (_, name, flag) in KINDS {
            if self.has(flag) {
                write!(f, " {name}")?;
            }
        }
        if self.new == 0 {
            f.write_str(" none")?;
        }
        if !self.join.is_empty() || self.join_user.is_some() {
            f.write_str("; joined:")?;
            for (_, _, name) in &self.join {
                write!(f, " {name}")?;
            }
            if self.join_user.is_some() {
                f.write_str(" user")?;
            }
        }
        if let Some(maps) = &self.id_maps {
            write!(f, "; uid map {:?}, gid map {:?}", maps.uid, maps.gid)?;
        }
        if let Some(offsets) = &self.time_offsets {
            write!(f, "; time offsets {offsets:?}")?;
        }
        Ok(())
    }
}

/// config-linux.md, Namespaces, User namespace mappings, Offset for Time Namespace.
pub fn compile(oci: &Spec, facts: &Facts, draft: &mut Draft) -> Namespaces {
    let mut found = Namespaces::default();
    let namespaces = oci.linux().iter().flat_map(|linux| linux.namespaces().iter().flatten());
    if let (Rights::User { uid, .. }, false) = (facts.rights, namespaces.into_iter().any(is_user)) {
        let text = format!(
            "rootless container requires user namespaces: add one of type \"user\", with mappings, for uid {uid} has no \
             right to the others without it (rrunc spec --rootless writes such a configuration)"
        );
        draft.fault("linux.namespaces", text);
    }
    let Some(linux) = oci.linux() else { return found };
    for (index, namespace) in linux.namespaces().iter().flatten().enumerate() {
        let Some((_, name, flag)) = KINDS.into_iter().find(|(typ, _, _)| *typ == namespace.typ()) else {
            continue;
        };
        let Some(path) = namespace.path().as_ref().filter(|path| !path.as_os_str().is_empty()) else {
            found.new |= flag;
            continue;
        };
        let field = format!("linux.namespaces[{index}].path");
        let slot = draft.want(Want::Namespace {
            path: path.clone(),
            field,
            kind: flag,
            sysctl: sysctl_of(linux, namespace.typ()),
        });
        match flag {
            USER => found.join_user = Some(slot),
            MOUNT => found.join_mount = Some(slot),
            CGROUP => found.join_cgroup = Some(slot),
            _ => found.join.push((slot, flag, name)),
        }
    }
    found.apart = facts.rights != Rights::Host;
    if found.has(USER) {
        found.id_maps = Some(IdMaps {
            uid: lines(linux.uid_mappings().as_deref().unwrap_or_default()),
            gid: lines(linux.gid_mappings().as_deref().unwrap_or_default()),
            uid_by: Writer::of(linux.uid_mappings(), facts.rights.uid()),
            gid_by: Writer::of(linux.gid_mappings(), facts.rights.gid()),
        });
    }
    if found.has(TIME) {
        found.time_offsets =
            linux.time_offsets().as_ref().filter(|offsets| !offsets.is_empty()).map(|offsets| {
                let mut lines: Vec<_> = offsets
                    .iter()
                    .map(|(clock, o)| {
                        format!("{clock} {} {}\n", o.secs().unwrap_or(0), o.nanosecs().unwrap_or(0))
                    })
                    .collect();
                lines.sort();
                lines.concat()
            });
    }
    found
}

/// The first sysctl of the configuration that is such a namespace's.
fn sysctl_of(linux: &Linux, kind: LinuxNamespaceType) -> Option<String> {
    let keys = linux.sysctl().iter().flat_map(|sysctls| sysctls.keys());
    keys.filter(|key| sysctl_owner(&sysctl_name(key)).is_some_and(|(owner, _)| owner == kind)).min().cloned()
}

/// Those that the container has, new or joined, of the process behind `pidfd`. `own_user`: the user namespace of that
/// is ours too, and can't be joined again.
pub fn of_container(oci: &Spec, pidfd: Slot, user_first: bool, own_user: bool) -> Namespaces {
    let listed = oci.linux().iter().flat_map(|linux| linux.namespaces().iter().flatten());
    let flags = listed.filter_map(|namespace| KINDS.iter().find(|(typ, _, _)| *typ == namespace.typ()));
    let kinds = flags.fold(0, |all, (_, _, flag)| all | flag);
    let kinds = if own_user { kinds & !USER } else { kinds };
    Namespaces {
        target: Some(Joined { pidfd, kinds, user_first: user_first && kinds & USER != 0 }),
        ..Namespaces::default()
    }
}

/// Whether the configuration asks for a new namespace of this kind.
pub fn is_new(oci: &Spec, kind: u64) -> bool {
    let mut listed = oci.linux().iter().flat_map(|linux| linux.namespaces().iter().flatten());
    let named = |typ| KINDS.iter().any(|(known, _, flag)| *known == typ && *flag == kind);
    listed.any(|namespace| {
        let path = namespace.path().as_ref();
        named(namespace.typ()) && path.is_none_or(|path| path.as_os_str().is_empty())
    })
}

/// Into the namespaces of the container, and who we are there. The process namespace is entered by being born.
pub fn enter_container(oci: &Spec, target: Joined, options: &Options, facts: &Facts, draft: &mut Draft) {
    let mut join = |kinds: u64| {
        if kinds != 0 {
            draft.step(Step::JoinProcess { pidfd: target.pidfd, kinds });
        }
    };
    join(target.kinds & !(USER | PID));
    if !target.user_first {
        join(target.kinds & USER);
    }
    draft.step(Step::NewSession);
    if target.kinds & USER != 0 {
        draft.step(Step::BecomeRoot { drop_groups: !annotations::is_set(oci, KEEP_ORIGINAL_GROUPS) });
    }
    session_keyring(oci, options.session_keyring.as_deref(), facts, draft);
}

/// user_namespaces(7): where an ordinary user has written the map of groups, setgroups(2) is denied for ever, also in all
/// namespaces below.
pub fn is_setgroups_denied(oci: &Spec, facts: &Facts) -> bool {
    let mappings = oci.linux().as_ref().map(|linux| linux.gid_mappings());
    let by_owner = mappings.is_some_and(|mappings| Writer::of(mappings, facts.rights.gid()) == Writer::Owner);
    facts.no_setgroups || by_owner
}

fn is_user(namespace: &LinuxNamespace) -> bool {
    namespace.typ() == LinuxNamespaceType::User
}

/// Of uid_map or gid_map (user_namespaces(7)).
pub fn lines(mappings: &[LinuxIdMapping]) -> String {
    let line = |m: &LinuxIdMapping| format!("{} {} {}\n", m.container_id(), m.host_id(), m.size());
    mappings.iter().map(line).collect()
}

/// The first steps of the container's process: into its namespaces, and who it is there.
pub fn enter(namespaces: &Namespaces, draft: &mut Draft) {
    let own = [(namespaces.join_cgroup, CGROUP, "cgroup"), (namespaces.join_mount, MOUNT, "mount")];
    for (slot, kind, name) in own {
        if let Some(slot) = slot {
            draft.step(Step::JoinNamespace { slot, kind, name });
        }
    }
    if namespaces.id_maps.is_some() {
        draft.step(Step::AwaitIdMaps);
    }
    draft.step(Step::NewSession);
    if namespaces.has(MOUNT) {
        draft.step(Step::PropagateNothing);
    }
}

/// Once all mounts of the host that we need are at hand: from nobody to the user namespace's root.
pub fn become_root(oci: &Spec, namespaces: &Namespaces, options: &Options, facts: &Facts, draft: &mut Draft) {
    if namespaces.foreign_user() {
        // A map of one id was written with setgroups denied; there is nothing to drop then.
        let mapped_by_root = namespaces.id_maps.is_some();
        let keep = annotations::is_set(oci, KEEP_ORIGINAL_GROUPS);
        draft.step(Step::BecomeRoot { drop_groups: mapped_by_root && !keep });
    }
    session_keyring(oci, options.session_keyring.as_deref(), facts, draft);
    if namespaces.has(CGROUP) {
        draft.step(Step::NewCgroupNamespace);
    }
}

/// A session keyring of the container's own (session-keyring(7)), which processes of `exec` join by its name. Where there
/// are no keyrings there are none of its caller's to be kept from it.
pub fn session_keyring(oci: &Spec, name: Option<&str>, facts: &Facts, draft: &mut Draft) {
    let Some(name) = name else {
        return;
    };
    if !facts.keyrings {
        let text = "no session keyring of the container's own: keyctl: function not implemented, by the kernel or by a filter \
                    that is the container's too";
        draft.warn(text);
    }
    let process = oci.process().as_ref();
    let label = process.and_then(|process| process.selinux_label().as_deref());
    if let Some(label) = label.filter(|label| !label.is_empty() && facts.selinux) {
        let field = "process.selinuxLabel";
        let value = draft.cstring(field, label);
        // Until the program is executed, which takes it away.
        draft.step(Step::Label { field, file: c"self/attr/keycreate".into(), value });
    }
    let name = draft.cstring("the container's id", name);
    draft.step(Step::SessionKeyring { name, required: facts.keyrings });
}

/// A new network namespace has but lo, and that is down: programs expect themselves at localhost, as with runc.
/// config-linux.md, Network Devices: there before the container's sysctls and hooks, which may be about them.
pub fn net_devices(oci: &Spec, namespaces: &Namespaces, draft: &mut Draft) -> Vec<NetDevice> {
    if namespaces.has(NETWORK) {
        draft.step(Step::LoopbackUp);
    }
    let given = oci.linux().as_ref().and_then(|linux| linux.net_devices().as_ref());
    let device = |(name, device): (&String, &LinuxNetDevice)| NetDevice {
        name: name.clone(),
        inside: net_device_inside(name, device).into(),
    };
    let mut devices: Vec<NetDevice> = given.into_iter().flatten().map(device).collect();
    devices.sort_by(|a, b| a.name.cmp(&b.name));
    if !devices.is_empty() {
        draft.step(Step::AwaitNetDevices);
    }
    devices
}

/// Host name, domain name and sysctls: all that belongs to namespaces other than mount.
pub fn name(oci: &Spec, draft: &mut Draft) {
    if let Some(name) = oci.hostname().as_ref().filter(|name| !name.is_empty()) {
        let name = draft.cstring("hostname", name);
        draft.step(Step::Hostname(name));
    }
    if let Some(name) = oci.domainname().as_ref().filter(|name| !name.is_empty()) {
        let name = draft.cstring("domainname", name);
        draft.step(Step::Domainname(name));
    }
}
