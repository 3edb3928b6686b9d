//! From a [`Plan`] to a [`Prepared`]: everything of the host that the container's process will need is opened
//! here, where failing is cheap and a path can still be named.

mod stage;

use std::ffi::{CString, OsStr};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use crate::error::{Doing, Error, Kind, Result};
use crate::idmap;
use crate::plan::step::MappedBy;
use crate::plan::{NodeFrom, Plan, Slot, Want};
use crate::seal;
use crate::sys::mount::{self, MountAttr};
use crate::sys::{Call, Errno, Fail, Named, fs, net};

/// A plan with its fds, as the child borrows it. Nothing in it is freed there. Only who runs from a sealed file gets one,
/// for the child runs from the same.
#[derive(Debug)]
pub struct Prepared<'p> {
    pub plan: &'p Plan,
    fds: Vec<OwnedFd>,
    /// The host's own procfs: the container's might be anything.
    pub proc: OwnedFd,
    /// Locked until the program is executed: whoever finds the lock held knows that the container waits.
    pub waiting: Option<OwnedFd>,
    /// What the program keeps ([`Step::Inherit`](crate::plan::Step::Inherit)).
    pub inherited: Vec<OwnedFd>,
}

/// What `create` has made already and the plan asks for.
#[derive(Debug, Default)]
pub struct Given {
    pub console_socket: Option<OwnedFd>,
    /// The pidfd of the container's first process.
    pub container: Option<OwnedFd>,
    pub start_socket: Option<OwnedFd>,
    pub waiting: Option<OwnedFd>,
    pub inherited: Vec<OwnedFd>,
}

impl Prepared<'_> {
    pub fn fd(&self, slot: Slot) -> Result<BorrowedFd<'_>, Fail> {
        self.fds.get(slot.0).map(AsFd::as_fd).ok_or(Fail::new(Call::Fcntl, Errno::EBADF))
    }

    /// The numbers of all fds that the child is meant to have, besides those that its program inherits.
    pub fn numbers(&self) -> impl Iterator<Item = i32> + Clone {
        let others = self.waiting.iter().chain([&self.proc]).chain(&self.inherited);
        self.fds.iter().chain(others).map(AsRawFd::as_raw_fd)
    }
}

/// Opens what the plan wants. Errors name the field of config.json that asked for it.
pub fn prepare<'p>(plan: &'p Plan, mut given: Given) -> Result<Prepared<'p>> {
    seal::require()?;
    let proc = fs::open(fs::cwd(), c"/proc", libc::O_PATH | libc::O_DIRECTORY, 0, fs::resolve::HOST)
        .doing(|| "open /proc".into())?;
    if fs::fs_magic(proc.as_fd()).doing(|| "inspect /proc".into())? != libc::PROC_SUPER_MAGIC {
        return Err(Error::new(Kind::Unsupported, "/proc is not a procfs").hint("mount -t proc proc /proc"));
    }
    // Else a number would mean one process to a system call, and another in there.
    let mut number = [0; 16];
    let own = fs::readlink(proc.as_fd(), c"self", &mut number).doing(|| "inspect /proc/self".into())?;
    if own != std::process::id().to_string().as_bytes() {
        let text = "/proc is the procfs of another pid namespace";
        return Err(Error::new(Kind::Unsupported, text).hint("mount -t proc proc /proc"));
    }
    let missing =
        |what: &str| Error::new(Kind::Usage, format!("the plan needs a {what}, and none was given"));
    let mut fds = Vec::with_capacity(plan.wants.len());
    for want in &plan.wants {
        fds.push(match (want, open(want)) {
            (_, Some(opened)) => opened?,
            (Want::ConsoleSocket, _) => {
                given.console_socket.take().ok_or_else(|| missing("console socket"))?
            }
            (Want::Container, _) => {
                given.container.take().ok_or_else(|| missing("process of a container"))?
            }
            (Want::StartSocket, _) => given.start_socket.take().ok_or_else(|| missing("start socket"))?,
            (Want::UserNamespace { maps, field }, _) => idmap::user_namespace(maps, field)?,
            (Want::Output { path, field }, _) => output(path, field)?,
            (Want::Stage(label), _) => stage::make(label.as_ref())?,
            (Want::Cover { stage }, _) => stage::cover(stage::of(&fds, *stage)?)?,
            (Want::Device { path, field, mode, device, from: NodeFrom::Stage { stage, owner } }, _) => {
                let node = stage::node(stage::of(&fds, *stage)?, fds.len(), (*mode, *device), *owner);
                match node {
                    // By the device cgroup, or without CAP_MKNOD.
                    Err(Fail { call: Call::Mknod, errno: Errno::EPERM }) => {
                        host_device(path, field, (*mode, *device), NodeFrom::Host)?
                    }
                    made => made.doing(|| format!("{field}: make the device {}", path.display()))?,
                }
            }
            _ => fs::memfd(c"rrunc-state").doing(|| "make a file in memory".into())?,
        });
    }
    let prepared = Prepared { plan, fds, proc, waiting: given.waiting, inherited: given.inherited };
    for (bind, idmap) in idmap::mapped(plan) {
        if let MappedBy::Slot(user) = idmap.by {
            let fd = |slot| prepared.fd(slot).doing(|| format!("{}: map its ids", bind.field));
            idmap::map(fd(bind.slot)?, bind, idmap, fd(user)?)?;
        }
    }
    Ok(prepared)
}

/// Opens what is there on the host; `None` for what a `create` makes.
pub fn open(want: &Want) -> Option<Result<OwnedFd>> {
    let open_as =
        |path: &Path, field: &str, flags| open_path(path, flags).map_err(|fail| refused(path, field, fail));
    match want {
        Want::Tree { path, field, nofollow, recursive, propagation } => {
            Some(tree(path, field, *nofollow, *recursive, *propagation))
        }
        Want::Source { path, field, nofollow } => {
            Some(open_as(path, field, if *nofollow { libc::O_NOFOLLOW } else { 0 }))
        }
        Want::Directory { path, field } => Some(open_as(path, field, libc::O_DIRECTORY)),
        Want::Device { from: NodeFrom::Stage { .. }, .. } => None,
        Want::Device { path, field, mode, device, from } => {
            Some(host_device(path, field, (*mode, *device), *from))
        }
        Want::Namespace { path, field, kind, sysctl } => {
            Some(namespace(path, field, *kind).and_then(|fd| match sysctl {
                Some(sysctl) => not_ours(fd, path, field, (*kind, sysctl)),
                None => Ok(fd),
            }))
        }
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

/// Writes the state that createContainer hooks will read.
pub fn write_hook_state(prepared: &Prepared, slot: Slot, json: &str) -> Result<()> {
    let fd = prepared.fd(slot).doing(|| "find the file for the hooks' state".into())?;
    fs::write(fd, json.as_bytes()).doing(|| "write the hooks' state".into()).map(drop)
}

/// A path of the host as the kernel takes it.
pub fn c_path(path: &Path) -> Result<CString> {
    let bytes = OsStr::as_bytes(path.as_os_str());
    CString::new(bytes)
        .map_err(|_| Error::new(Kind::InvalidSpec, format!("the path {} holds a NUL", path.display())))
}

fn open_path(path: &Path, flags: i32) -> Result<OwnedFd, Fail> {
    let path = CString::new(path.as_os_str().as_bytes()).map_err(|_| Fail::new(Call::Open, Errno::EINVAL))?;
    fs::open(fs::cwd(), &path, libc::O_PATH | flags, 0, fs::resolve::HOST)
}

/// A file to append to, made for us alone if it is missing.
pub fn output(path: &Path, field: &str) -> Result<OwnedFd> {
    let flags = libc::O_WRONLY | libc::O_APPEND | libc::O_CREAT;
    let c_path = c_path(path)?;
    fs::open(fs::cwd(), &c_path, flags, 0o600, fs::resolve::HOST)
        .doing(|| format!("{field}: open {}", path.display()))
}

fn refused(path: &Path, field: &str, fail: Fail) -> Error {
    let error = Error::kernel(format!("{field}: open {}", path.display()), fail);
    match fail.errno {
        Errno::ENOENT => error.hint("it must be there before the container is created"),
        _ => error,
    }
}

fn tree(path: &Path, field: &str, nofollow: bool, recursive: bool, propagation: u64) -> Result<OwnedFd> {
    let flags = match field {
        "root.path" => libc::O_DIRECTORY,
        _ if nofollow => libc::O_NOFOLLOW,
        _ => 0,
    };
    let source = open_path(path, flags).map_err(|fail| refused(path, field, fail))?;
    let tree = mount::clone_tree(source.as_fd(), c"", recursive)
        .map_err(|fail| Error::kernel(format!("{field}: clone the mount at {}", path.display()), fail))
        .map_err(|error| match error.fail.map(|fail| fail.errno) {
            Some(Errno::EINVAL) => error.hint("an unbindable mount, or one of another mount namespace"),
            Some(Errno::EPERM) => {
                error.hint("without CAP_SYS_ADMIN it takes a mount namespace of the container's own")
            }
            _ => error,
        })?;
    if propagation != 0 {
        let attr = MountAttr { propagation, ..MountAttr::default() };
        mount::set_attr(tree.as_fd(), &attr, true)
            .doing(|| format!("{field}: set the propagation of the copy"))?;
    }
    Ok(tree)
}

fn host_device(path: &Path, field: &str, (mode, device): (u32, u64), from: NodeFrom) -> Result<OwnedFd> {
    let node = open_path(path, libc::O_NOFOLLOW).map_err(|fail| refused(path, field, fail))?;
    let found = fs::stat(node.as_fd()).doing(|| format!("{field}: inspect {}", path.display()))?;
    if found.mode & libc::S_IFMT != mode & libc::S_IFMT || found.rdev != device {
        let (major, minor) = (libc::major(device), libc::minor(device));
        let text = format!("{field}: the host's {} is not the device {major}:{minor}", path.display());
        let hint = "in a user namespace devices can't be made, only the host's own can be bound";
        return Err(Error::new(Kind::Unsupported, text).hint(hint));
    }
    if from == NodeFrom::HostInside {
        return Ok(node);
    }
    let copy = mount::clone_tree(node.as_fd(), c"", false);
    let copy = copy.doing(|| format!("{field}: clone {}", path.display()))?;
    // As a peer of the host's mount it would pass on to the host what the container mounts on it.
    let slave = MountAttr { propagation: libc::MS_SLAVE, ..mount::SEALED };
    let set = mount::set_attr(copy.as_fd(), &slave, false);
    set.doing(|| format!("{field}: make the copy read-only and slave"))?;
    Ok(copy)
}

fn namespace(path: &Path, field: &str, kind: u64) -> Result<OwnedFd> {
    let c_path = c_path(path)?;
    let fd = fs::open(fs::cwd(), &c_path, libc::O_RDONLY, 0, fs::resolve::HOST)
        .map_err(|fail| refused(path, field, fail))?;
    let is_nsfs = fs::fs_magic(fd.as_fd()).doing(|| format!("{field}: inspect {}", path.display()))?
        == libc::NSFS_MAGIC;
    let found = if is_nsfs { crate::sys::clone::namespace_kind(fd.as_fd()).ok() } else { None };
    if found != Some(kind) {
        let what = if is_nsfs { "is a namespace of another type" } else { "is not a namespace" };
        let text = format!("{field}: {} {what}", path.display());
        return Err(Error::new(Kind::InvalidSpec, text)
            .hint("give a file like /proc/PID/ns/net, or a bind mount of one"));
    }
    Ok(fd)
}

/// What a sysctl of the container changes must be its own. Whose namespaces ours are doesn't matter: of what we are in,
/// others are, too.
fn not_ours(fd: OwnedFd, path: &Path, field: &str, (kind, sysctl): (u64, &str)) -> Result<OwnedFd> {
    let (file, name) = match kind as i32 {
        libc::CLONE_NEWNET => ("net", "network"),
        libc::CLONE_NEWIPC => ("ipc", "ipc"),
        libc::CLONE_NEWUTS => ("uts", "uts"),
        _ => return Ok(fd), // of others there are no sysctls, but for the user's, and nobody can join his own
    };
    let own = format!("/proc/self/ns/{file}");
    let ours = std::fs::metadata(&own).call(Call::Stat).doing(|| format!("inspect {own}"))?;
    let theirs = fs::stat(fd.as_fd()).doing(|| format!("{field}: inspect {}", path.display()))?;
    if (ours.dev(), ours.ino()) != (theirs.dev, theirs.ino) {
        return Ok(fd);
    }
    let text = format!(
        "{field}: {} is the {name} namespace that rrunc itself is in: linux.sysctl[{sysctl}] would change the host",
        path.display()
    );
    let hint = format!("leave that sysctl away, or give the container another {name} namespace");
    Err(Error::new(Kind::InvalidSpec, text).hint(hint))
}

/// A socket pair for tests and for `run`, which are their own console socket.
pub fn console_pair() -> Result<(OwnedFd, OwnedFd)> {
    net::seqpacket_pair().doing(|| "make a socket pair for the terminal".into())
}
