//! The stage: a tmpfs of our own, on which the container's process makes file systems before it attaches them, and on
//! which the host makes device nodes for it. Being of the host's user namespace, it can have nodes; being nobody else's,
//! whatever a container does to mode, owner and times of such a node is not done to the host's.

use std::ffi::{CStr, CString};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use crate::error::{Doing, Error, Kind, Result};
use crate::plan::Slot;
use crate::plan::step::{MountLabel, STAGED};
use crate::sys::mount::{self, NOEXEC, NOSUID};
use crate::sys::{Call, Errno, Fail, Gid, Uid, fs, ids};

/// A stage that nobody sees yet. What is made on it is the container's, and so is its label.
pub fn make(label: Option<&MountLabel>) -> Result<OwnedFd> {
    let options = [(c"mode", Some(c"755"))].into_iter().chain(label.map(MountLabel::key_and_value));
    let doing = || "make a tmpfs as a stage for mounts and devices".into();
    let stage = mount::new_fs(c"tmpfs", options, NOSUID | NOEXEC).doing(doing)?;
    let mask = ids::umask(0);
    let made = fs::mkdir(stage.as_fd(), STAGED, 0o755);
    ids::umask(mask);
    made.doing(doing)?;
    Ok(stage)
}

/// The stage that an earlier wish has made.
pub fn of(fds: &[OwnedFd], slot: Slot) -> Result<BorrowedFd<'_>> {
    let missing = || Error::new(Kind::Usage, "the plan needs a stage, and none was made");
    fds.get(slot.0).map(AsFd::as_fd).ok_or_else(missing)
}

/// A device node on it, by a number that nobody else has. The mode holds the type too.
pub fn node(
    stage: BorrowedFd,
    number: usize,
    (mode, device): (u32, u64),
    owner: (Uid, Gid),
) -> Result<OwnedFd, Fail> {
    let name = CString::new(number.to_string()).map_err(|_| Fail::new(Call::Mknod, Errno::EINVAL))?;
    let node = make_node(stage, &name, mode, device)?;
    if owner != (Uid(0), Gid(0)) {
        fs::chown(node.as_fd(), Some(owner.0), Some(owner.1))?;
    }
    Ok(node)
}

/// What covers masked files.
pub fn cover(stage: BorrowedFd) -> Result<OwnedFd> {
    let null = make_node(stage, c"null", libc::S_IFCHR | 0o666, libc::makedev(1, 3));
    let cover = null.or_else(|fail| match fail {
        Fail { call: Call::Mknod, errno: Errno::EPERM } => {
            make_node(stage, c"empty", libc::S_IFREG | 0o444, 0)
        }
        _ => Err(fail),
    });
    cover.doing(|| "linux.maskedPaths: make what covers files".into())
}

fn make_node(stage: BorrowedFd, name: &CStr, mode: u32, device: u64) -> Result<OwnedFd, Fail> {
    let mask = ids::umask(0);
    let made = fs::mknod(stage, name, mode, device);
    ids::umask(mask);
    made?;
    fs::open(stage, name, libc::O_PATH | libc::O_NOFOLLOW, 0, fs::resolve::BENEATH_PLAIN)
}
