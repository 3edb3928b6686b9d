//! Id-mapped mounts, the host's part: a user namespace made for its maps, and the mounts that are mapped before the
//! container gets them (mount_setattr(2), MOUNT_ATTR_IDMAP).

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use crate::error::{Doing, Error, Result};
use crate::plan::step::{Bind, Idmap, MappedBy};
use crate::plan::{IdMaps, Plan, Step};
use crate::sys::clone::{self, Who};
use crate::sys::mount::{self, MountAttr};
use crate::sys::{Errno, Fail, Pid, files, fs, ids, net, process};

/// linux/mount.h.
const MOUNT_ATTR_IDMAP: u64 = 0x0010_0000;

/// A user namespace with these maps and nobody in it. `field` of config.json asks for it.
pub fn user_namespace(maps: &IdMaps, field: &str) -> Result<OwnedFd> {
    let doing = || format!("{field}: make a user namespace to map by");
    let (ours, theirs) = net::seqpacket_pair().doing(doing)?;
    match clone::fork(libc::CLONE_NEWUSER as u64, None).doing(doing)? {
        Who::Parent(pid, pidfd) => {
            let made = write_maps(pid, maps, field).and_then(|()| open(pid).doing(doing));
            drop(ours); // who is in there holds no other end, and has nothing to wait for any more
            process::kill_and_reap(pidfd.as_fd());
            made
        }
        Who::Child => {
            // Holds the namespace until it is open, and doesn't outlive us.
            let alive = ids::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL as u64, 0)
                .and_then(|_| fs::close_others(3, [theirs.as_raw_fd()].into_iter()));
            if alive.is_ok() {
                let _ = net::receive(theirs.as_fd(), &mut [0; 1]); // nothing is ever sent
            }
            clone::exit(0)
        }
    }
}

fn write_maps(pid: Pid, maps: &IdMaps, field: &str) -> Result<()> {
    for (file, map) in [("uid_map", &maps.uid), ("gid_map", &maps.gid)] {
        let path = format!("/proc/{pid}/{file}");
        files::write(&path, map).doing(|| format!("{field}: write {map:?} to {path}"))?;
    }
    Ok(())
}

/// The user namespace of a child of ours that is not reaped yet.
pub fn open(pid: Pid) -> Result<OwnedFd, Fail> {
    let path = crate::sys::c_path(format!("/proc/{pid}/ns/user").as_ref())?;
    fs::open(fs::cwd(), &path, libc::O_RDONLY, 0, fs::resolve::HOST)
}

/// The plan's mounts that are mapped, each with how.
pub fn mapped(plan: &Plan) -> impl Iterator<Item = (&Bind, Idmap)> {
    plan.steps.iter().filter_map(|step| match step {
        Step::Bind(bind) => Some((&**bind, bind.idmap?)),
        _ => None,
    })
}

/// Maps the mount behind `tree`, which nobody sees yet, by the maps of `user`.
pub fn map(tree: BorrowedFd, bind: &Bind, idmap: Idmap, user: BorrowedFd) -> Result<()> {
    let attr =
        MountAttr { set: MOUNT_ATTR_IDMAP, userns_fd: user.as_raw_fd() as u64, ..MountAttr::default() };
    mount::set_attr(tree, &attr, idmap.recursive).map_err(|fail| {
        let error = Error::kernel(format!("{}: id-map the mount of {}", bind.field, bind.source), fail);
        match fail.errno {
            Errno::EINVAL => error.hint("a file system there can't be id-mapped"),
            Errno::EPERM => error.hint("it is id-mapped already, or its file system isn't ours to map"),
            _ => error,
        }
    })
}

/// Maps those that take their maps from the container's new user namespace, now that it has some. `tree` gives the
/// copy of a mount that the container's process will attach.
pub fn map_by_container<'a>(
    plan: &Plan,
    pid: Pid,
    tree: impl Fn(&Bind) -> Result<BorrowedFd<'a>, Fail>,
) -> Result<()> {
    let mut user = None;
    for (bind, idmap) in mapped(plan).filter(|(_, idmap)| idmap.by == MappedBy::Container) {
        let doing = || format!("{}: open the container's user namespace", bind.field);
        let user = match &mut user {
            Some(user) => user,
            none => none.insert(open(pid).doing(doing)?),
        };
        map(tree(bind).doing(doing)?, bind, idmap, user.as_fd())?;
    }
    Ok(())
}
