//! Masked paths: files are covered by a null device, directories by an empty tmpfs that they all share. Neither is one of
//! the host's that the container can change: it may have rights over the mode, owner and times of what covers a file
//! (CVE-2025-31133 is about which file that is). What isn't there needs no mask.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use super::Done;
use super::mount::open_existing;
use crate::plan::step::{InRoot, MountLabel};
use crate::sys::fs::{self, resolve};
use crate::sys::mount::{self, NODEV, NOEXEC, NOSUID, RDONLY};
use crate::sys::{Call, Errno, Fail};

/// `cover` is what the host has made on the stage for files.
pub fn all(
    root: BorrowedFd,
    paths: &[InRoot],
    cover: Option<BorrowedFd>,
    stage: Option<BorrowedFd>,
    label: Option<&MountLabel>,
) -> Done {
    let mut file: Option<OwnedFd> = None;
    let mut directory: Option<OwnedFd> = None;
    for path in paths {
        let Some(found) = open_existing(root, path, resolve::IN_ROOT, 0)? else {
            continue;
        };
        let is_dir = fs::stat(found.as_fd())?.is_dir();
        let made = if is_dir { &mut directory } else { &mut file };
        let next = match made {
            // Attached by now: of what is not, kernels before 6.15 make no copy.
            Some(first) => mount::clone_tree(first.as_fd(), c"", false)?,
            None if is_dir => empty_directory(label)?,
            None => sealed_file(cover, stage)?,
        };
        mount::attach(next.as_fd(), found.as_fd())?;
        made.get_or_insert(next);
    }
    Ok(())
}

fn empty_directory(label: Option<&MountLabel>) -> Result<OwnedFd, Fail> {
    let options = [(c"size", Some(c"0")), (c"nr_inodes", Some(c"2")), (c"mode", Some(c"755"))];
    let options = options.into_iter().chain(label.map(MountLabel::key_and_value));
    mount::new_fs(c"tmpfs", options, RDONLY | NOSUID | NODEV | NOEXEC)
}

fn sealed_file(cover: Option<BorrowedFd>, stage: Option<BorrowedFd>) -> Result<OwnedFd, Fail> {
    let copy = match (cover, stage) {
        (Some(cover), _) => mount::clone_tree(cover, c"", false)?,
        (None, Some(stage)) => substitute(stage)?,
        (None, None) => host_null()?,
    };
    mount::set_attr(copy.as_fd(), &mount::SEALED, false)?;
    Ok(copy)
}

/// Where no device can be made. The host's does if its mode, owner and times are out of the container's reach: who neither
/// owns a file nor has CAP_FOWNER over it may not read it without an access time either (open(2), O_NOATIME), and no
/// process of the container has more rights than we have here. Else it is an empty file.
fn substitute(stage: BorrowedFd) -> Result<OwnedFd, Fail> {
    let flags = libc::O_RDONLY | libc::O_NOATIME | libc::O_NOFOLLOW | libc::O_NONBLOCK;
    match fs::open(fs::cwd(), c"/dev/null", flags, 0, resolve::HOST) {
        Err(Fail { errno: Errno::EPERM, .. }) => host_null(),
        _ => mount::clone_tree(empty_file(stage)?.as_fd(), c"", false),
    }
}

fn empty_file(stage: BorrowedFd) -> Result<OwnedFd, Fail> {
    let create = libc::O_CREAT | libc::O_EXCL | libc::O_NOFOLLOW | libc::O_RDONLY;
    fs::open(stage, c"empty", create, 0o444, resolve::BENEATH_PLAIN)
}

/// A clone of the mount of the host's /dev/null, if that is what it says.
fn host_null() -> Result<OwnedFd, Fail> {
    let null = fs::open(fs::cwd(), c"/dev/null", libc::O_PATH | libc::O_NOFOLLOW, 0, resolve::HOST)?;
    if !fs::stat(null.as_fd())?.is_char_device(1, 3) {
        return Err(Fail::new(Call::Open, Errno::ENODEV));
    }
    mount::clone_tree(null.as_fd(), c"", false)
}
