//! The steps of a plan: what the container's process does, one after the other, each as ready data. Where a
//! step is decided is said at the variant; how it is carried out is in `init`. The `Display` of a step is what
//! a user reads in a plan and in a failure.

use std::ffi::{CStr, CString};

pub use super::in_root::InRoot;
use super::seccomp::Filter;
use crate::sys::exec::CArray;
use crate::sys::ids::CapSets;
use crate::sys::mount::MountAttr;
use crate::sys::sched::{NumberList, SchedAttr};
use crate::sys::{Gid, Uid};

/// The number of an fd that `prepare` opens on the host for the child.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Slot(pub usize);

/// linux.mountLabel as an option of a new file system (mount(8), context).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MountLabel {
    pub option: CString,
    pub label: CString,
}

impl MountLabel {
    /// As fsconfig(2) takes it.
    pub fn key_and_value(&self) -> (&CStr, Option<&CStr>) {
        (&self.option, Some(&self.label))
    }
}

/// A new file system on a directory of the container.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewFs {
    /// Which entry of config.json it is: `mounts[3]`.
    pub field: String,
    pub target: Target,
    pub fstype: CString,
    pub source: CString,
    /// MS_* of mount(2).
    pub flags: u64,
    pub data: CString,
    /// What the directory holds is copied into the new file system (option tmpcopyup).
    pub copy_up: bool,
    /// Its root takes the mode of the directory that it covers, if that was there.
    pub inherit_mode: bool,
    /// The label of its root, for a file system that takes none as an option.
    pub label: Option<CString>,
    /// How it is made where there is no stage for mount(2).
    pub detached: Option<Detached>,
    /// Where its fd is kept for a later step: its path may lead elsewhere by then.
    pub keep: Option<Slot>,
    pub after: After,
}

/// A new file system as fsconfig(2) and mount_setattr(2) make it. The former takes no value of more than 255 bytes, and
/// mount(2) any.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Detached {
    pub options: Vec<(CString, Option<CString>)>,
    pub attr: MountAttr,
}

/// A file system that is made where nobody sees it, to be attached by a [`Bind`] of its slot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MakeFs {
    /// Which entry of the list it is: `mounts[3]`.
    pub field: String,
    pub slot: Slot,
    pub fstype: CString,
    /// Keys and values as fsconfig(2) takes them.
    pub options: Vec<(CString, Option<CString>)>,
    pub read_only: bool,
}

/// A mount of the host, attached at a path of the container.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bind {
    /// Which entry of config.json it is: `mounts[3]`.
    pub field: String,
    /// The mount to attach, or with `inside` the file or directory that it must be a mount of.
    pub slot: Slot,
    pub inside: Option<CopyInside>,
    /// What the user calls the source.
    pub source: String,
    pub target: Target,
    /// Attributes of the top mount alone.
    pub attr: MountAttr,
    /// How the host has mapped the ids of the mount in the slot.
    pub idmap: Option<Idmap>,
    pub after: After,
}

/// An id-mapped mount: MOUNT_ATTR_IDMAP of mount_setattr(2), which only who has power over the file system may set.
/// Since it is the host's copy that is attached, the kernel does not lock its flags in a user namespace: with
/// CAP_SYS_ADMIN there a container can take `ro` away again, as it can where `ro` comes from config.json.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Idmap {
    pub by: MappedBy,
    pub recursive: bool,
}

/// The user namespace whose maps are meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MappedBy {
    /// The container's new one, as soon as its maps are written.
    Container,
    /// One that is there before the container is: it is joined, or was made for its maps alone.
    Slot(Slot),
}

/// A mount to be copied by the container's process, when its turn comes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CopyInside {
    pub path: CString,
    /// The symlink that the path ends at is meant itself.
    pub nofollow: bool,
    pub recursive: bool,
    /// Nothing that is mounted on the original comes in.
    pub private: bool,
}

/// Where a mount goes, and what it may cover.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    pub path: InRoot,
    /// No part of the path may be a symlink: a proc or sysfs that lands elsewhere would be read by others
    /// as if it were the real one (CVE-2019-19921, CVE-2023-28642).
    pub plain: bool,
    /// The symlink that the path ends at is what is covered.
    pub nofollow: bool,
    /// It may lie inside the container's procfs: the few files that engines replace, and /proc itself.
    pub in_proc: bool,
    /// It is /proc, which only a procfs may stand for: labels and limits are written there (CVE-2019-16884).
    pub is_proc: bool,
}

/// What becomes of a file in the place of a symlink that is to be made. One with the same target always will do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IfThere {
    /// A symlink to elsewhere is refused; any other file stays: an image may have its own.
    Keep,
    Replace,
    Refuse,
}

/// What comes once a mount is in its place.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct After {
    /// For the mount and all below it.
    pub recursive: MountAttr,
    /// Propagation types in the order in which they were asked for, each with whether it is recursive.
    pub propagation: Vec<(u64, bool)>,
}

/// A program to run from prepared arrays.
#[derive(Debug, PartialEq)]
pub struct Program {
    pub path: CString,
    pub argv: CArray,
    pub envp: CArray,
    /// Seconds after which it is killed.
    pub timeout: Option<i64>,
}

/// A resource limit (setrlimit(2)).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limit {
    pub resource: u32,
    pub soft: u64,
    pub hard: u64,
}

/// How the root is entered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EnterRoot {
    /// pivot_root(2), and the old root is detached.
    Pivot,
    /// The root is moved over `/` and entered by chroot(2), for hosts whose root can't be pivoted.
    MoveOver,
    /// chroot(2) alone: the mount namespace isn't ours.
    Chroot,
}

#[derive(Debug, PartialEq)]
pub enum Step {
    /// Namespaces that exist already (plan/namespaces.rs, init/mod.rs).
    JoinNamespace {
        slot: Slot,
        kind: u64,
        name: &'static str,
    },
    /// Those of a process that is there already, through its pidfd (plan/namespaces.rs, init/mod.rs).
    JoinProcess {
        pidfd: Slot,
        kinds: u64,
    },
    /// A new user namespace stays without ids until the host has written its maps.
    AwaitIdMaps,
    /// Take the ids of the container's root: in a new or joined user namespace we are nobody at first.
    BecomeRoot {
        drop_groups: bool,
    },
    /// Clone a mount from inside the new mount namespace, where the kernel keeps its locked flags
    /// (mount_namespaces(7)), in place of the one that the host has opened. Where the host had no right to clone one
    /// and opened the file or directory alone, it is `required`; else, if we may not walk the path, the host's stays.
    CloneTree {
        slot: Slot,
        copy: CopyInside,
        required: bool,
    },
    LoopbackUp,
    /// The host moves network devices in meanwhile (netdev/mod.rs).
    AwaitNetDevices,
    NewSession,
    /// Join the session keyring of this name, a new one if there is none. Unless it is `required`, a kernel that has no
    /// keyrings for us has none for the container.
    SessionKeyring {
        name: CString,
        required: bool,
    },
    /// Only now: the root of a new cgroup namespace is the cgroup that we are in (cgroup_namespaces(7)).
    NewCgroupNamespace,
    Hostname(CString),
    Domainname(CString),
    Sysctl {
        key: String,
        path: CString,
        value: CString,
    },
    /// Nothing that is mounted from here on reaches the host.
    PropagateNothing,
    /// A tmpfs of our own on the root's directory, where the root then covers it: nobody can walk there, so what is made
    /// in it is found again. With `by_host` the host has made it, and device nodes in it.
    Stage {
        slot: Slot,
        path: CString,
        by_host: bool,
        label: Option<MountLabel>,
    },
    AttachRoot {
        slot: Slot,
        path: CString,
    },
    /// A mount on a directory of the host, as our mount namespace has it.
    Cover {
        slot: Slot,
        path: CString,
    },
    /// Without a mount namespace of our own; in one that we joined the path is looked up there.
    UseRoot {
        slot: Slot,
        joined: Option<CString>,
    },
    Mount(Box<NewFs>),
    /// Decided in plan/running.rs.
    MakeFs(Box<MakeFs>),
    /// Something must be mounted at this path of the container.
    FindMount {
        field: String,
        path: InRoot,
    },
    Unmount {
        field: String,
        path: InRoot,
    },
    /// Tell the host that all is done, and end. If a step before fails, what was attached is taken back.
    Done,
    Bind(Box<Bind>),
    Device {
        directory: InRoot,
        name: CString,
        mode: u32,
        device: u64,
        uid: Uid,
        gid: Gid,
    },
    /// With `inside` the host's node is copied here, read-only; else the slot has one on the stage, or the host's copy.
    BindDevice {
        slot: Slot,
        path: InRoot,
        inside: Option<CopyInside>,
    },
    Symlink {
        directory: InRoot,
        name: CString,
        target: CString,
        if_there: IfThere,
    },
    /// /dev/ptmx and our terminal, whose master goes to the console socket.
    Console {
        socket: Slot,
        size: Option<(u16, u16)>,
        uid: Uid,
        /// Also as /dev/console: the container's own one.
        as_console: bool,
    },
    /// The host runs its prestart and createRuntime hooks meanwhile.
    AwaitHostHooks,
    Hook {
        program: Program,
        list: &'static str,
        index: usize,
        state: HookState,
        /// Files for its standard output and error, in place of our own.
        outputs: [Option<Slot>; 2],
    },
    /// Files are covered by what is in the slot ([`super::Want::Cover`]).
    Mask {
        paths: Vec<InRoot>,
        cover: Option<Slot>,
        label: Option<MountLabel>,
    },
    ReadOnlyPath(InRoot),
    /// The mount in the slot, which an earlier step has put at this path, now that everything in it was made.
    ReadOnlyMount {
        path: InRoot,
        mount: Slot,
    },
    /// Options of the mount at `path` alone, not of the file system (mount(2), MS_REMOUNT with MS_BIND): of the one in the
    /// slot, if an earlier step has put one there.
    ChangeMount {
        field: String,
        path: InRoot,
        mount: Option<Slot>,
        attr: MountAttr,
        after: After,
    },
    ReadOnlyRoot,
    EnterRoot(EnterRoot),
    RootPropagation(u64, bool),
    MakeDirectory(InRoot),
    /// Standard streams that are the host's /dev/null become the container's; others change their owner.
    Stdio {
        uid: Uid,
    },
    /// A label for the program, or for its keys (apparmor(7), selinux(8)), to a file of the host's own procfs.
    Label {
        field: &'static str,
        file: CString,
        value: CString,
    },
    Affinity,
    /// process.execCPUAffinity.final: a mask of CPUs.
    RunOn(Box<NumberList>),
    Scheduler(SchedAttr),
    /// linux.memoryPolicy: MPOL_* with its flags, and the nodes.
    MemoryPolicy {
        mode: i32,
        nodes: Option<Box<NumberList>>,
    },
    IoPriority(i32),
    /// A hard limit above our own, while we have the right to it (process.rlimits).
    RaiseLimit {
        index: usize,
        limit: Limit,
    },
    /// Last, since any of them might be in our own way.
    SetLimit {
        index: usize,
        limit: Limit,
    },
    Umask(u32),
    Personality(u64),
    KeepBoundingSet(u64),
    SetIds {
        uid: Uid,
        gid: Gid,
        groups: Option<Vec<Gid>>,
    },
    SetCapabilities {
        sets: CapSets,
        ambient: u64,
    },
    ChangeDirectory {
        path: CString,
        early: bool,
    },
    NoNewPrivileges,
    /// args[0] by the container's PATH.
    FindProgram {
        candidates: Vec<CString>,
        name: String,
    },
    HomeFromPasswd(Uid),
    CloseFds {
        keep: u32,
    },
    AwaitStart {
        socket: Slot,
    },
    /// The host sets what only it can set from outside: resource limits, the OOM score.
    AwaitLimits,
    /// Rules for paths and ports, kept until [`Step::LandlockRestrict`].
    LandlockRules(Box<Ruleset>),
    /// Before a filter that might forbid it, and with the right to it: no_new_privs or CAP_SYS_ADMIN.
    LandlockRestrict,
    /// The program keeps the fds that were made for it, in their own numbers.
    Inherit,
    /// The runtime's end isn't ours any more.
    Outlive,
    /// From here on the container counts as running: before a filter that might forbid to say so.
    CountAsRunning,
    Seccomp(Filter),
    Exec {
        argv: CArray,
        envp: CArray,
        name: String,
    },
}

/// The directory on the stage on which file systems are mounted, to be moved away.
pub const STAGED: &CStr = c"new";

/// What the text of [`Step::Seccomp`] says of a filter with a listener.
pub const NOTIFIES: &str = "hand over its listener";

/// Rules of Landlock: what is forbidden (LANDLOCK_ACCESS_FS_*, LANDLOCK_ACCESS_NET_*, LANDLOCK_SCOPE_*), and what of it is
/// allowed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ruleset {
    pub files: u64,
    pub net: u64,
    pub scopes: u64,
    /// Of the attributes that this kernel's ABI knows, in bytes.
    pub size: usize,
    pub paths: Vec<FileRule>,
    pub ports: Vec<(u16, u64)>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileRule {
    pub path: CString,
    pub access: u64,
    /// One that is missing is no failure.
    pub optional: bool,
}

/// Where a hook in the container's process has its state from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HookState {
    /// Written by the host before it lets us go on.
    Prepared(Slot),
    /// Sent with the start.
    FromStart,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_in_the_root_are_clean() {
        for (path, shown) in
            [("/a/b", "/a/b"), ("a//./b/", "/a/b"), ("/../../x", "/x"), ("/a/../b", "/b"), ("/", "/")]
        {
            assert_eq!(InRoot::new(path).expect(path).to_string(), shown);
        }
        assert_eq!(InRoot::new("/a\0b"), None);
    }
}
