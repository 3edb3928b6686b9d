//! From a [`Spec`] to a [`Plan`]: what will be done, as a value that can be printed and compared. Pure: no
//! call, no file; what must be known of the host comes in as [`Facts`].
//!
//! [`compile`] is the order of a container's life, top to bottom.

mod binds;
pub mod criu;
mod devices;
mod draft;
mod in_root;
mod landlock;
pub mod namespaces;
mod process;
mod root;
mod rootfs;
pub mod running;
mod scheduling;
pub mod seccomp;
mod show;
pub mod step;

use std::fmt;
use std::path::{Path, PathBuf};

use oci_spec::runtime::{Hook, PosixRlimitType};

pub use draft::Draft;
pub use namespaces::{IdMaps, Namespaces};
pub use step::{Slot, Step};

use crate::error::{Result, escape};
use crate::spec::Spec;
use crate::spec::annotations::{self, HOOKS_STDERR, HOOKS_STDOUT};
use crate::sys::sched::NumberList;
use crate::sys::{Gid, Uid};
use namespaces::MOUNT;
use seccomp::Filter;
use step::{EnterRoot, HookState, InRoot, Limit, MountLabel, Program};

/// What the command line adds to config.json.
#[derive(Clone, Debug, Default)]
pub struct Options {
    pub id: String,
    /// Absolute.
    pub bundle: PathBuf,
    /// The root file system: absolute, symlinks resolved.
    pub root: PathBuf,
    pub no_pivot: bool,
    /// What its session keyring is called; without one it has its caller's.
    pub session_keyring: Option<String>,
    /// The host has more to do for a process of `exec` than the plan knows of.
    pub await_host: bool,
    /// How many fds from 3 on the program inherits.
    pub preserve_fds: u32,
    /// How many of these are for socket activation (sd_listen_fds(3)).
    pub listen_fds: u32,
    /// The container's cgroup as a path of the host, if it has one.
    pub cgroup: Option<PathBuf>,
    /// The directory of the host with the socket on which the program says that it is ready (sd_notify(3)).
    pub notify: Option<PathBuf>,
}

/// What this host is like, as far as plans depend on it.
#[derive(Clone, Debug, Default)]
pub struct Facts {
    pub rights: Rights,
    /// Capabilities that we have and so can give.
    pub permitted: u64,
    /// /proc/kcore is there, so that /dev/core has a target.
    pub kcore: bool,
    pub apparmor: bool,
    pub selinux: bool,
    /// By source, what the symlinks say that mounts with the option copy-symlink make again.
    pub links: Vec<(PathBuf, String)>,
    /// 0 without Landlock.
    pub landlock_abi: i32,
    /// The user namespace that we are in forbids setgroups(2) (user_namespaces(7)).
    pub no_setgroups: bool,
    /// The kernel has keyrings (keyrings(7)), and no filter says that it hasn't.
    pub keyrings: bool,
}

/// Whose rights over the host's own namespaces we have (user_namespaces(7), capabilities(7)).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Rights {
    /// The host's root.
    #[default]
    Host,
    /// The root of a user namespace below the host's: mounts of our own, but no device nodes, and the mount namespace
    /// that we are in may still be another's.
    Namespace,
    /// No right to namespaces but by a user namespace of the container's own.
    User { uid: Uid, gid: Gid },
}

impl Rights {
    /// The only id that an ordinary user may map without help.
    fn uid(self) -> Option<u32> {
        match self {
            Rights::User { uid, .. } => Some(uid.0),
            _ => None,
        }
    }

    fn gid(self) -> Option<u32> {
        match self {
            Rights::User { gid, .. } => Some(gid.0),
            _ => None,
        }
    }
}

/// Something of the host that the child will need as an fd; `prepare` opens it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Want {
    /// A detached copy of a mount. `propagation` is given to all of it (MS_*), 0 leaves it.
    Tree {
        path: PathBuf,
        field: String,
        /// The symlink that the path ends at is meant itself.
        nofollow: bool,
        recursive: bool,
        propagation: u64,
    },
    /// A file or directory to be bound; the mount is copied when its turn comes.
    Source { path: PathBuf, field: String, nofollow: bool },
    /// A device node with this mode and number, to be bound where the container's process can't make one.
    Device { path: PathBuf, field: String, mode: u32, device: u64, from: NodeFrom },
    /// A tmpfs of our own in which file systems and device nodes are made ([`Step::Stage`]).
    Stage(Option<MountLabel>),
    /// What covers masked files: a null device on this stage, or where that is refused an empty file.
    Cover { stage: Slot },
    /// The root directory as it is, when it can't be a mount of its own.
    Directory { path: PathBuf, field: String },
    /// A user namespace made for its maps alone.
    UserNamespace { maps: IdMaps, field: String },
    /// A namespace of this CLONE_NEW* kind. If the configuration has a sysctl of it, this one, it may not be ours.
    Namespace { path: PathBuf, field: String, kind: u64, sysctl: Option<String> },
    /// The container's first process, as a pidfd: for `exec`.
    Container,
    /// The connected socket that takes the terminal's master.
    ConsoleSocket,
    /// The listening socket on which the child waits for its start.
    StartSocket,
    /// An empty file in memory for the state that hooks read.
    HookState,
    /// A place for an fd that the child makes.
    Reserved,
    /// A file to append to, made if it is missing.
    Output { path: PathBuf, field: String },
}

/// Where a device node comes from. What the container gets it may be able to change: mode, owner and times of the
/// host's own must stay what they are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NodeFrom {
    /// Made on this stage, with this owner as the host has the ids. Where that is refused, as `Host`.
    Stage { stage: Slot, owner: (Uid, Gid) },
    /// The host's, copied by the host, read-only.
    Host,
    /// The host's; the container's process makes the read-only copy.
    HostInside,
}

/// What happens on the host's side of the clone.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HostPart {
    /// Hard limits that the container's process may not raise itself, in its user namespace.
    pub raise_limits: Vec<Limit>,
    pub oom_score_adj: Option<i32>,
    /// Network devices that the host moves into the container, in the order of their names.
    pub net_devices: Vec<NetDevice>,
    /// The CPUs to be on when the process is made (process.execCPUAffinity.initial).
    pub affinity: Option<NumberList>,
    /// Whose the cgroup becomes: the process's user's, who may then write there (config-linux.md, Cgroup ownership).
    pub cgroup_owner: Option<Uid>,
}

/// A network device by its name on the host and in the container.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NetDevice {
    pub name: String,
    pub inside: String,
}

#[derive(Debug, PartialEq)]
pub struct Plan {
    pub namespaces: Namespaces,
    pub host: HostPart,
    pub wants: Vec<Want>,
    pub steps: Vec<Step>,
    /// What was asked for and can't be given, where the spec wants a warning.
    pub warnings: Vec<String>,
    /// Where the state for createContainer hooks goes.
    pub hook_state: Option<Slot>,
}

/// The plan of `create`.
pub fn compile(spec: &Spec, options: &Options, facts: &Facts, filter: Option<Filter>) -> Result<Plan> {
    let oci = &spec.oci;
    let mut draft = Draft::default();
    let namespaces = namespaces::compile(oci, facts, &mut draft);
    let mut mounts = rootfs::mounts(oci, &namespaces, options, facts, &mut draft);

    namespaces::enter(&namespaces, &mut draft);
    let stage = root::take(oci, &namespaces, options, facts, &mut mounts, &mut draft);
    namespaces::become_root(oci, &namespaces, options, facts, &mut draft);
    let net_devices = namespaces::net_devices(oci, &namespaces, &mut draft);
    namespaces::name(oci, &mut draft);
    process::sysctls(oci, &mut draft);
    draft.steps(mounts.steps);
    devices::compile(oci, &namespaces, facts, stage, &mut draft);
    process::terminal(oci, true, &mut draft);
    let hook_state = container_hooks(oci, &mut draft);
    rootfs::restrict(oci, facts, stage, &mut draft);
    process::working_directory(oci, &mut draft);
    draft.steps(mounts.late_read_only);
    root::read_only(oci, &mut draft);
    draft.step(Step::EnterRoot(match (namespaces.has(MOUNT), options.no_pivot) {
        (true, false) => EnterRoot::Pivot,
        (true, true) => EnterRoot::MoveOver,
        (false, _) => EnterRoot::Chroot,
    }));
    root::propagation(oci, &namespaces, &mut draft);
    let start = draft.want(Want::StartSocket);
    let mut host = process::compile(oci, &namespaces, options, facts, filter, Some(start), &mut draft);
    host.net_devices = net_devices;
    host.cgroup_owner = rootfs::cgroup_owner(oci, &namespaces, facts);

    draft.finish(namespaces, host, hook_state)
}

/// The plan of `exec`: another process, `process` of `spec`, in a container that is there. `spec` is what the container
/// was made from, and `own_user` says that its user namespace is ours.
pub fn compile_exec(
    spec: &Spec,
    options: &Options,
    facts: &Facts,
    filter: Option<Filter>,
    own_user: bool,
) -> Result<Plan> {
    const CAP_SYS_ADMIN: u64 = 1 << 21;
    let oci = &spec.oci;
    let mut draft = Draft::default();
    let pidfd = draft.want(Want::Container);
    let user_first = facts.permitted & CAP_SYS_ADMIN == 0;
    let mut namespaces = namespaces::of_container(oci, pidfd, user_first, own_user);
    namespaces.apart = facts.rights != Rights::Host;
    if let Some(target) = namespaces.target {
        namespaces::enter_container(oci, target, options, facts, &mut draft);
        root::enter_container(oci, target, options, &mut draft);
    }
    process::terminal(oci, false, &mut draft);
    let before_limits = draft.position();
    let mut host = process::compile(oci, &namespaces, options, facts, filter, None, &mut draft);
    if options.await_host || host.oom_score_adj.is_some() || !host.raise_limits.is_empty() {
        draft.insert(before_limits, Step::AwaitLimits);
    }
    host.affinity = scheduling::initial_affinity(oci, &mut draft);
    draft.finish(namespaces, host, None)
}

/// Halts for the hooks that run around the finished, not yet entered root: on the host, then in here.
fn container_hooks(oci: &oci_spec::runtime::Spec, draft: &mut Draft) -> Option<Slot> {
    let hooks = oci.hooks().as_ref()?;
    let some = |list: &Option<Vec<Hook>>| list.as_ref().is_some_and(|list| !list.is_empty());
    #[allow(deprecated)] // prestart is deprecated by the spec since 1.0, and still to be run
    let prestart = some(hooks.prestart());
    let inside = some(hooks.create_container());
    if !(prestart || some(hooks.create_runtime()) || inside) {
        return None;
    }
    let state = inside.then(|| draft.want(Want::HookState));
    draft.step(Step::AwaitHostHooks);
    if let (Some(list), Some(slot)) = (hooks.create_container(), state) {
        hook_steps(oci, list, "createContainer", HookState::Prepared(slot), draft);
    }
    state
}

/// A list of hooks that the container's process runs.
fn hook_steps(
    oci: &oci_spec::runtime::Spec,
    hooks: &[Hook],
    list: &'static str,
    state: HookState,
    draft: &mut Draft,
) {
    let outputs = match hooks {
        [] => [None; 2],
        _ => [HOOKS_STDOUT, HOOKS_STDERR].map(|key| output(oci, key, draft)),
    };
    for (index, hook) in hooks.iter().enumerate() {
        let field = |what: &str| format!("hooks.{list}[{index}].{what}");
        let path = hook.path().to_string_lossy().into_owned();
        let path = draft.cstring(&field("path"), &path);
        let args = match hook.args() {
            Some(args) if !args.is_empty() => draft.cstrings(&field("args"), args),
            _ => vec![path.clone()],
        };
        let env = draft.cstrings(&field("env"), hook.env().as_deref().unwrap_or_default());
        let program = Program {
            path,
            argv: crate::sys::exec::CArray::new(args),
            envp: crate::sys::exec::CArray::new(env),
            timeout: hook.timeout(),
        };
        draft.step(Step::Hook { program, list, index, state, outputs });
    }
}

/// The file that hooks' standard output or error is appended to by this annotation. Opened once.
fn output(oci: &oci_spec::runtime::Spec, annotation: &str, draft: &mut Draft) -> Option<Slot> {
    let path = annotations::get(oci, annotation)?;
    Some(draft.want_once(Want::Output { path: path.into(), field: format!("annotations[{annotation}]") }))
}

/// `path` from the bundle, if it is relative.
fn from_bundle(options: &Options, path: &Path) -> PathBuf {
    options.bundle.join(path)
}

/// A path of the container, or a fault of `field`.
fn in_root(field: &str, path: &str, draft: &mut Draft) -> InRoot {
    InRoot::new(path).unwrap_or_else(|| {
        draft.fault(field, format!("{path:?} holds a NUL"));
        InRoot::new("/").expect("no NUL in here")
    })
}

/// The kernel's name and number of a resource limit (getrlimit(2)).
pub fn resource(typ: PosixRlimitType) -> Option<(&'static str, u32)> {
    let row = process::RESOURCES.iter().find(|(known, _, _)| *known == typ)?;
    Some((row.2, row.1))
}

impl Want {
    /// The field of config.json that asks for it; `None` for what is made by `create`.
    pub fn field(&self) -> Option<&str> {
        match self {
            Want::Tree { field, .. }
            | Want::Source { field, .. }
            | Want::Device { field, .. }
            | Want::Directory { field, .. }
            | Want::Namespace { field, .. } => Some(field),
            Want::Container
            | Want::ConsoleSocket
            | Want::StartSocket
            | Want::HookState
            | Want::Reserved
            | Want::Stage(_)
            | Want::Cover { .. }
            | Want::Output { .. }
            | Want::UserNamespace { .. } => None,
        }
    }
}

impl Plan {
    /// The steps, from 0, that look at files which a running container can keep from answering (a file system in user space),
    /// and of which every honest one has the answer at hand. Not those that look for the program: that may come from a slow
    /// network.
    pub fn asking(&self) -> Vec<u16> {
        // `mounts` holds the container's lock meanwhile.
        let into_running =
            self.namespaces.join_mount.is_some() && matches!(self.steps.last(), Some(Step::Done));
        let asks = |step: &Step| match step {
            Step::Stdio { .. } | Step::Console { .. } | Step::HomeFromPasswd(_) => true,
            Step::Bind(_) | Step::FindMount { .. } | Step::Unmount { .. } => into_running,
            _ => false,
        };
        (0..).zip(&self.steps).filter(|(_, step)| asks(step)).map(|(number, _)| number).collect()
    }

    /// The text of step `number` (from 1), as in the printed plan: one line, whatever a field holds.
    pub fn step_text(&self, number: usize) -> Option<String> {
        self.steps.get(number.checked_sub(1)?).map(|step| escape(&step.to_string()))
    }
}

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "   {}", self.namespaces)?;
        for (i, step) in self.steps.iter().enumerate() {
            writeln!(f, "{:2} {}", i + 1, escape(&step.to_string()))?;
        }
        for NetDevice { name, inside } in &self.host.net_devices {
            writeln!(f, "   host: move the network device {name} into the container as {inside}")?;
        }
        for limit in &self.host.raise_limits {
            writeln!(f, "   host: raise resource limit {} to {}", limit.resource, limit.hard)?;
        }
        if let Some(uid) = self.host.cgroup_owner {
            writeln!(f, "   host: the cgroup belongs to uid {uid}")?;
        }
        if let Some(cpus) = &self.host.affinity {
            writeln!(f, "   host: be born on CPUs {cpus}")?;
        }
        if let Some(adj) = self.host.oom_score_adj {
            writeln!(f, "   host: oom_score_adj {adj}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
