//! Carrying out the steps that make the container's view of files. Every path is resolved inside the root by
//! openat2, and what was found is used by its fd from then on.

use std::ffi::CStr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use super::Done;
use crate::plan::step::{
    After, Bind, CopyInside, EnterRoot, IfThere, InRoot, MakeFs, MountLabel, NewFs, STAGED, Target,
};
use crate::sys::fs::{self, resolve};
use crate::sys::mount::{self as sys, MountAttr};
use crate::sys::{Call, Errno, Fail, Gid, Uid};

const READ_ONLY: MountAttr = MountAttr { set: sys::RDONLY, clear: 0, propagation: 0, userns_fd: 0 };

/// What stands at a mount point that has to be made.
#[derive(Clone, Copy, PartialEq)]
enum Point {
    Directory,
    File,
}

/// An O_PATH fd of `path` inside `root`, and whether it was there; else it is made with all above it that is missing.
/// `nofollow` is O_NOFOLLOW, or 0.
fn open_or_make(
    root: BorrowedFd,
    path: &InRoot,
    point: Point,
    resolve: u64,
    nofollow: i32,
) -> Result<(OwnedFd, bool), Fail> {
    if let Some(found) = open_existing(root, path, resolve, nofollow)? {
        return Ok((found, true));
    }
    // From the nearest that is there each is made in the one before: what was walked is not walked again.
    let (mut made, depth) = nearest(root, path, resolve)?;
    let mut names = path.walk().map(|(_, name)| name).skip(depth).peekable();
    while let Some(name) = names.next() {
        if names.peek().is_none() && point == Point::File {
            let create = libc::O_CREAT | libc::O_EXCL | libc::O_NOFOLLOW | libc::O_WRONLY;
            match fs::open(made.as_fd(), name, create, 0o644, resolve::BENEATH_PLAIN) {
                Err(Fail { errno: Errno::EEXIST, .. }) => {}
                created => return created.map(|file| (file, false)),
            }
        } else {
            match fs::mkdir(made.as_fd(), name, 0o755) {
                // Somebody was faster, which is as good; a dangling symlink is refused below.
                Ok(()) | Err(Fail { errno: Errno::EEXIST, .. }) => {}
                Err(fail) => return Err(fail),
            }
        }
        made = fs::open(made.as_fd(), name, libc::O_PATH, 0, resolve::BENEATH_PLAIN)?;
    }
    Ok((made, false))
}

/// The nearest above `path` that is there, and how many parts of the path lead to it.
fn nearest(root: BorrowedFd, path: &InRoot, resolve: u64) -> Result<(OwnedFd, usize), Fail> {
    let mut depth = path.walk().count().saturating_sub(1);
    loop {
        let prefix = match depth.checked_sub(1) {
            Some(last) => path.walk().nth(last).map_or(c".", |(prefix, _)| prefix.as_c_str()),
            None => c".",
        };
        match open_path(root, prefix, resolve, 0) {
            Err(Fail { errno: Errno::ENOENT | Errno::ENOTDIR, .. }) if depth > 0 => depth -= 1,
            found => return found.map(|found| (found, depth)),
        }
    }
}

fn open_path(root: BorrowedFd, path: &CStr, resolve: u64, nofollow: i32) -> Result<OwnedFd, Fail> {
    fs::open(root, path, libc::O_PATH | nofollow, 0, resolve)
}

/// As [`open_path`]; `None` if nothing is there.
pub fn open_existing(
    root: BorrowedFd,
    path: &InRoot,
    resolve: u64,
    nofollow: i32,
) -> Result<Option<OwnedFd>, Fail> {
    let path = path.walk().last().map_or(c".", |(prefix, _)| prefix.as_c_str());
    match open_path(root, path, resolve, nofollow) {
        Err(Fail { errno: Errno::ENOENT | Errno::ENOTDIR, .. }) => Ok(None),
        other => other.map(Some),
    }
}

/// The mount point of a target, and whether it was there; refused when it lies in a procfs that it may not cover.
fn mount_point(root: BorrowedFd, target: &Target, point: Point) -> Result<(OwnedFd, bool), Fail> {
    let resolve = if target.plain { resolve::IN_ROOT_PLAIN } else { resolve::IN_ROOT };
    let nofollow = if target.nofollow { libc::O_NOFOLLOW } else { 0 };
    let (found, was_there) = open_or_make(root, &target.path, point, resolve, nofollow)?;
    if !target.in_proc && fs::fs_magic(found.as_fd())? == libc::PROC_SUPER_MAGIC {
        return Err(Fail::new(Call::Mount, Errno::EACCES));
    }
    Ok((found, was_there))
}

/// Mounts of the host stay what they are for the host.
pub fn propagate_nothing() -> Done {
    sys::mount(None, c"/", None, libc::MS_SLAVE | libc::MS_REC, None)
}

/// A mount cloned in this mount namespace takes the place of what the host has opened. That is a clone already
/// unless this one is `required`: it stays where we may not walk the path any more.
pub fn clone_inside(slot: BorrowedFd, copy: &CopyInside, required: bool) -> Done {
    use std::os::fd::AsRawFd;
    let tree = match required {
        true => copy_inside(slot, copy),
        false => clone_path(copy),
    };
    match tree {
        Ok(tree) => fs::dup_onto(tree.as_fd(), slot.as_raw_fd(), false),
        Err(fail) if required => Err(fail),
        Err(Fail { errno: Errno::EACCES | Errno::EPERM, .. }) => Ok(()),
        Err(fail) => Err(fail),
    }
}

/// The directory at `path` as the mount namespace has it that we have joined, in place of the host's.
pub fn reopen_directory(slot: BorrowedFd, path: &CStr) -> Done {
    use std::os::fd::AsRawFd;
    let directory =
        fs::open(fs::cwd(), path, libc::O_PATH | libc::O_DIRECTORY | libc::O_NOFOLLOW, 0, resolve::HOST)?;
    fs::dup_onto(directory.as_fd(), slot.as_raw_fd(), false)
}

/// The stage takes its place; where the host has no right to make it, it is one of the container's user namespace.
pub fn stage(slot: BorrowedFd, path: &CStr, by_host: bool, label: Option<&MountLabel>) -> Done {
    use std::os::fd::AsRawFd;
    if !by_host {
        let options = [(c"mode", Some(c"755")), (c"uid", Some(c"0")), (c"gid", Some(c"0"))];
        let options = options.into_iter().chain(label.map(MountLabel::key_and_value));
        let made = sys::new_fs(c"tmpfs", options, sys::NOSUID | sys::NOEXEC)?;
        fs::dup_onto(made.as_fd(), slot.as_raw_fd(), false)?;
    }
    sys::attach_to_host_path(slot, path)
}

/// A new file system is finished where nobody else gets at it, and then attached to a mount point that was walked to
/// once: whatever else its path may lead to meanwhile stays what it is (the class of CVE-2021-30465).
pub fn new_fs(root: BorrowedFd, stage: Option<BorrowedFd>, new: &NewFs, keep: Option<BorrowedFd>) -> Done {
    use std::os::fd::AsRawFd;
    let (below, was_there) = mount_point(root, &new.target, Point::Directory)?;
    if new.flags & libc::MS_REMOUNT != 0 {
        fs::fchdir(below.as_fd())?;
        sys::mount_here(&new.source, &new.fstype, new.flags, &new.data)?;
        return finish(below.as_fd(), &new.after.recursive, &new.after.propagation);
    }
    let covered = fs::stat(below.as_fd())?;
    if !covered.is_dir() {
        return Err(Fail::new(Call::Mount, Errno::ENOTDIR)); // as mount(2) would say
    }
    let made = match (&new.detached, stage) {
        (Some(detached), _) => {
            let options = detached.options.iter();
            let options = options.map(|(key, value)| (key.as_c_str(), value.as_deref()));
            let made = sys::new_fs(&new.fstype, options, 0)?;
            if detached.attr != MountAttr::default() {
                sys::set_attr(made.as_fd(), &detached.attr, false)?;
            }
            made
        }
        (None, Some(stage)) => on_stage(stage, new)?,
        (None, None) => return Err(Fail::new(Call::Mount, Errno::EBADF)),
    };
    let inherits = new.inherit_mode && was_there;
    if inherits || new.copy_up || new.label.is_some() {
        let flags = libc::O_RDONLY | libc::O_DIRECTORY;
        let top = fs::open(made.as_fd(), c".", flags, 0, resolve::BENEATH_PLAIN)?;
        if inherits {
            fs::chmod(top.as_fd(), covered.mode & 0o7777)?;
        }
        if let Some(label) = &new.label {
            fs::set_label(top.as_fd(), label)?;
        }
        if new.copy_up {
            let source = fs::open(below.as_fd(), c".", flags, 0, resolve::BENEATH_PLAIN)?;
            super::copy::directory(source.as_fd(), top.as_fd(), 0)?;
        }
    }
    sys::attach(made.as_fd(), below.as_fd())?;
    if let Some(keep) = keep {
        fs::dup_onto(made.as_fd(), keep.as_raw_fd(), false)?;
    }
    finish(made.as_fd(), &new.after.recursive, &new.after.propagation)
}

/// mount(2) on a directory of the stage, which nobody else can walk to.
fn on_stage(stage: BorrowedFd, new: &NewFs) -> Result<OwnedFd, Fail> {
    let flags = libc::O_PATH | libc::O_DIRECTORY;
    let point = match fs::open(stage, STAGED, flags, 0, resolve::BENEATH_PLAIN) {
        Err(Fail { errno: Errno::ENOENT, .. }) => {
            fs::mkdir(stage, STAGED, 0o755)?;
            fs::open(stage, STAGED, flags, 0, resolve::BENEATH_PLAIN)?
        }
        point => point?,
    };
    fs::fchdir(point.as_fd())?;
    sys::mount_here(&new.source, &new.fstype, new.flags, &new.data)?;
    fs::open(stage, STAGED, flags, 0, resolve::BENEATH)
}

pub fn bind(root: BorrowedFd, slot: BorrowedFd, bind: &Bind) -> Done {
    use std::os::fd::AsRawFd;
    let copied = bind.inside.as_ref().map(|inside| copy_inside(slot, inside)).transpose()?;
    let tree = copied.as_ref().map_or(slot, AsFd::as_fd);
    let stat = fs::stat(tree)?;
    let point = if stat.is_dir() { Point::Directory } else { Point::File };
    // A device can be read and written all the same, but its mode, owner and times are the host's.
    let is_device = stat.is_device();
    let kept = |attr: MountAttr| match is_device {
        true => MountAttr { set: attr.set | READ_ONLY.set, clear: attr.clear & !READ_ONLY.set, ..attr },
        false => attr,
    };
    let attr = kept(bind.attr);
    if attr != MountAttr::default() {
        sys::set_attr(tree, &attr, false)?;
    }
    if bind.target.is_proc && fs::fs_magic(tree)? != libc::PROC_SUPER_MAGIC {
        return Err(Fail::new(Call::Mount, Errno::EACCES));
    }
    let (target, _) = mount_point(root, &bind.target, point)?;
    sys::attach(tree, target.as_fd())?;
    if copied.is_some() {
        // For a later step that changes it.
        fs::dup_onto(tree, slot.as_raw_fd(), false)?;
    }
    let is_changed = bind.after.recursive != MountAttr::default();
    let recursive = if is_changed { kept(bind.after.recursive) } else { MountAttr::default() };
    finish(tree, &recursive, &bind.after.propagation)
}

/// A new file system that nobody sees takes the reserved place `slot`.
pub fn make_fs(make: &MakeFs, slot: BorrowedFd) -> Done {
    use std::os::fd::AsRawFd;
    let options = make.options.iter();
    let options = options.map(|(key, value)| (key.as_c_str(), value.as_deref()));
    let attr = if make.read_only { READ_ONLY.set } else { 0 };
    let made = sys::new_fs(&make.fstype, options, attr)?;
    fs::dup_onto(made.as_fd(), slot.as_raw_fd(), false)
}

/// What is mounted at a path of the container; EINVAL if nothing is.
pub fn find(root: BorrowedFd, path: &InRoot) -> Result<OwnedFd, Fail> {
    let found = existing(root, path)?;
    match fs::is_mount_root(found.as_fd())? {
        true => Ok(found),
        false => Err(Fail::new(Call::Umount, Errno::EINVAL)),
    }
}

pub fn unmount(root: BorrowedFd, proc: BorrowedFd, path: &InRoot) -> Done {
    sys::detach_fd(proc, find(root, path)?.as_fd())
}

fn clone_path(copy: &CopyInside) -> Result<OwnedFd, Fail> {
    let clone = match copy.nofollow {
        true => sys::clone_tree,
        false => sys::clone_tree_follow,
    };
    clone(fs::cwd(), &copy.path, copy.recursive)
}

/// The mount at a path of the host, if that still is what `source` was opened as.
fn copy_inside(source: BorrowedFd, inside: &CopyInside) -> Result<OwnedFd, Fail> {
    let tree = clone_path(inside)?;
    let (found, wanted) = (fs::stat(tree.as_fd())?, fs::stat(source)?);
    if (found.dev, found.ino) != (wanted.dev, wanted.ino) {
        return Err(Fail::new(Call::OpenTree, Errno::ESTALE));
    }
    if inside.private {
        let attr = MountAttr { propagation: libc::MS_PRIVATE, ..MountAttr::default() };
        sys::set_attr(tree.as_fd(), &attr, true)?;
    }
    Ok(tree)
}

/// What comes once a mount is in its place ([`After`]).
fn finish(mount: BorrowedFd, recursive: &MountAttr, propagation: &[(u64, bool)]) -> Done {
    if *recursive != MountAttr::default() {
        sys::set_attr(mount, recursive, true)?;
    }
    for (propagation, recursive) in propagation {
        let attr = MountAttr { propagation: *propagation, ..MountAttr::default() };
        sys::set_attr(mount, &attr, *recursive)?;
    }
    Ok(())
}

/// The directory of a node or link; made if it is missing.
fn directory(root: BorrowedFd, path: &InRoot) -> Result<OwnedFd, Fail> {
    open_or_make(root, path, Point::Directory, resolve::IN_ROOT, 0).map(|(directory, _)| directory)
}

pub fn device(
    root: BorrowedFd,
    path: &InRoot,
    name: &CStr,
    mode: u32,
    device: u64,
    owner: (Uid, Gid),
) -> Done {
    let directory = directory(root, path)?;
    crate::sys::ids::umask(0);
    let made = fs::mknod(directory.as_fd(), name, mode, device);
    crate::sys::ids::umask(0o022);
    let is_new = made.is_ok();
    match made {
        Ok(()) | Err(Fail { errno: Errno::EEXIST, .. }) => {}
        Err(fail) => return Err(fail),
    }
    let node = fs::open(directory.as_fd(), name, libc::O_PATH | libc::O_NOFOLLOW, 0, resolve::BENEATH_PLAIN)?;
    let found = fs::stat(node.as_fd())?;
    if found.mode & libc::S_IFMT != mode & libc::S_IFMT || found.rdev != device {
        // config-linux.md, Devices: another file at the path is an error.
        return Err(Fail::new(Call::Mknod, Errno::EEXIST));
    }
    if is_new && (found.uid, found.gid) != owner {
        fs::chown(node.as_fd(), Some(owner.0), Some(owner.1))?;
    }
    Ok(())
}

pub fn bind_device(root: BorrowedFd, node: BorrowedFd, path: &InRoot, inside: Option<&CopyInside>) -> Done {
    let copied = match inside {
        Some(inside) => {
            let copy = copy_inside(node, inside)?;
            sys::set_attr(copy.as_fd(), &sys::SEALED, false)?;
            Some(copy)
        }
        // The host's, which was copied there.
        None if fs::is_mount_root(node)? => None,
        None => Some(sys::clone_tree(node, c"", false)?),
    };
    let node = copied.as_ref().map_or(node, AsFd::as_fd);
    let (point, _) = open_or_make(root, path, Point::File, resolve::IN_ROOT, 0)?;
    sys::attach(node, point.as_fd())
}

/// A link that is there already with the same target will do.
pub fn symlink(root: BorrowedFd, path: &InRoot, name: &CStr, target: &CStr, if_there: IfThere) -> Done {
    let directory = directory(root, path)?;
    match fs::symlink(target, directory.as_fd(), name) {
        Err(Fail { errno: Errno::EEXIST, call }) => {
            let mut buffer = [0; libc::PATH_MAX as usize];
            match fs::readlink(directory.as_fd(), name, &mut buffer) {
                Ok(found) if found == target.to_bytes() => Ok(()),
                _ if if_there == IfThere::Replace => {
                    fs::unlink(directory.as_fd(), name)?;
                    fs::symlink(target, directory.as_fd(), name)
                }
                // Not a link.
                Err(Fail { errno: Errno::EINVAL, .. }) if if_there == IfThere::Keep => Ok(()),
                _ => Err(Fail::new(call, Errno::EEXIST)),
            }
        }
        other => other,
    }
}

pub fn read_only_path(root: BorrowedFd, path: &InRoot) -> Done {
    let Some(found) = open_existing(root, path, resolve::IN_ROOT, 0)? else {
        return Ok(());
    };
    let copy = sys::clone_tree(found.as_fd(), c"", true)?;
    sys::set_attr(copy.as_fd(), &READ_ONLY, true)?;
    sys::attach(copy.as_fd(), found.as_fd())
}

/// EINVAL if there is no mount to be changed. `mount` is that of an earlier step; else the path is walked.
pub fn change(
    root: BorrowedFd,
    path: &InRoot,
    mount: Option<BorrowedFd>,
    attr: &MountAttr,
    after: &After,
) -> Done {
    let found = if mount.is_some() { None } else { Some(existing(root, path)?) };
    let mount = mount.or(found.as_ref().map(AsFd::as_fd)).ok_or(Fail::new(Call::Open, Errno::ENOENT))?;
    if *attr != MountAttr::default() {
        sys::set_attr(mount, attr, false)?;
    }
    finish(mount, &after.recursive, &after.propagation)
}

fn existing(root: BorrowedFd, path: &InRoot) -> Result<OwnedFd, Fail> {
    open_existing(root, path, resolve::IN_ROOT, 0)?.ok_or(Fail::new(Call::Open, Errno::ENOENT))
}

pub fn read_only(mount: BorrowedFd) -> Done {
    sys::set_attr(mount, &READ_ONLY, false)
}

pub fn make_directory(root: BorrowedFd, path: &InRoot) -> Done {
    open_or_make(root, path, Point::Directory, resolve::IN_ROOT, 0).map(drop)
}

/// `path` is that of the root, as far as it was attached to one.
pub fn enter(root: BorrowedFd, how: EnterRoot, proc: BorrowedFd, path: Option<&CStr>) -> Done {
    fs::fchdir(root)?;
    match how {
        EnterRoot::Pivot => {
            // The old root lies on the new one, below the current directory, until it is detached.
            sys::pivot_here()?;
            sys::detach_here()?;
        }
        EnterRoot::MoveOver => {
            let path = path.ok_or(Fail::new(Call::Mount, Errno::EBADF))?;
            super::old_root::hide_kernel_files(proc, path)?;
            sys::mount(Some(c"."), c"/", None, libc::MS_MOVE, None)?;
            fs::chroot_here()?;
        }
        EnterRoot::Chroot => fs::chroot_here()?,
    }
    let slash = fs::open(fs::cwd(), c"/", libc::O_PATH | libc::O_DIRECTORY, 0, resolve::HOST)?;
    fs::fchdir(slash.as_fd())
}

pub fn root_propagation(flag: u64, recursive: bool) -> Done {
    sys::mount(None, c"/", None, flag | if recursive { libc::MS_REC } else { 0 }, None)
}
