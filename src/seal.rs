//! We run from a file that nobody can write to.
//!
//! Until it executes the user's program, the container's process is one of ours, and `/proc/PID/exe` leads to
//! our binary: an image whose entrypoint, interpreter or library leads there can open it, wait until it is no
//! longer executed, and overwrite rrunc on the host (CVE-2019-5736). So a command that puts a process into a
//! container executes itself anew, by an fd on a detached read-only clone of its binary's mount: no copy is
//! made, and whoever follows the link ends on a mount that is read-only and, its fd being closed with the execution,
//! in no mount namespace any more, where it could be remounted (mount_setattr(2) refuses it with EINVAL).
//!
//! Who may not clone mounts (no CAP_SYS_ADMIN) runs from a sealed copy in memory, which costs some milliseconds; where the
//! kernel executes none (vm.memfd_noexec), a child that is the root of a user namespace for a moment makes the clone.
//! Whoever may do neither can hardly have a container. Then nothing is spawned, unless the binary is out of our reach,
//! and so out of that of the container's root, who has no more rights over files than we have.
//!
//! Not in here: files that the program could reach otherwise, such as our binary in a bind mount.

use std::ffi::{CStr, CString, OsString};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStringExt;
use std::sync::OnceLock;

use crate::error::{Doing, Error, Kind, Result};
use crate::sys::clone::{self, Who};
use crate::sys::exec::{CArray, exec_fd};
use crate::sys::fs::{self, resolve};
use crate::sys::mount::{self, MountAttr};
use crate::sys::{Call, Errno, Fail, Uid, ids, net, process, seal as sys};

const READ_ONLY: MountAttr = MountAttr {
    set: 0x1, // MOUNT_ATTR_RDONLY
    clear: 0,
    propagation: 0,
    userns_fd: 0,
};

/// Of this process, once it is known: that it is sealed, or why it can't be.
static OUTCOME: OnceLock<Result<(), String>> = OnceLock::new();

/// Returns when we run from a sealed file already, or when we can't have one, which [`require`] tells those who need it.
/// Else executes us anew with the same arguments, environment and fds.
pub fn seal(args: impl Iterator<Item = OsString>) {
    let outcome = try_seal(args).map_err(|error| error.to_string());
    let _ = OUTCOME.set(outcome); // whoever is first says the same
}

/// That what we run from is safe from a container that gets to see a process of ours.
pub fn require() -> Result<()> {
    let text = match OUTCOME.get() {
        Some(Ok(())) => return Ok(()),
        Some(Err(text)) => text,
        None => "a process of rrunc for a container must run from a file that nobody can write to",
    };
    Err(Error::new(Kind::Kernel, text))
}

fn try_seal(args: impl Iterator<Item = OsString>) -> Result<()> {
    let exe = fs::open(fs::cwd(), c"/proc/self/exe", libc::O_RDONLY, 0, resolve::HOST)
        .doing(|| "open /proc/self/exe".into())?;
    if is_sealed(exe.as_fd()).doing(|| "inspect our own binary".into())? {
        // For ps and pgrep: before 6.14 the kernel names us by the number of the fd (execveat(2)).
        return ids::set_name(c"rrunc").doing(|| "take our name".into());
    }
    let argv: Vec<CString> = args.filter_map(|arg| CString::new(arg.into_vec()).ok()).collect();
    let argv = CArray::new(argv);
    let by_mount = execute(read_only_clone(exe.as_fd()), &argv);
    let by_memory = execute(sealed_copy(exe.as_fd()), &argv);
    let by_namespace = execute(clone_in_user_namespace(exe.as_fd()), &argv);
    if is_out_of_reach(exe.as_fd()).doing(|| "inspect our own binary".into())? {
        return Ok(());
    }
    let text = format!(
        "run from a file that nobody can write to: {by_mount}; {by_memory}; in a user namespace: {by_namespace}"
    );
    Err(Error::new(Kind::Kernel, text).hint(
        "else a hostile image could overwrite rrunc (CVE-2019-5736): allow user namespaces, or set vm.memfd_noexec to 0 \
         or 1, or have root own rrunc, with no right for others to write it",
    ))
}

/// Asked of the file that is to be executed, and of what is executed then, so that we never go in circles.
fn is_sealed(exe: BorrowedFd) -> Result<bool, Fail> {
    if sys::is_frozen(exe) {
        return Ok(true);
    }
    let (is_mount_root, has_verity) = sys::is_mount_root_or_verity(exe)?;
    Ok(has_verity || is_mount_root && sys::is_on_read_only_mount(exe)? && is_detached(exe)?)
}

/// A mount of a file that is attached somewhere has a path; a detached one is its own root.
fn is_detached(file: BorrowedFd) -> Result<bool, Fail> {
    let link = CString::new(format!("/proc/self/fd/{}", file.as_raw_fd())).unwrap_or_default();
    let mut path = [0; 2];
    Ok(fs::readlink(fs::cwd(), &link, &mut path)? == b"/")
}

fn read_only_clone(exe: BorrowedFd) -> Result<OwnedFd, Fail> {
    let clone = mount::clone_tree(exe, c"", false)?;
    mount::set_attr(clone.as_fd(), &READ_ONLY, false)?;
    Ok(clone)
}

fn sealed_copy(exe: BorrowedFd) -> Result<OwnedFd, Fail> {
    let copy = sys::executable_memfd(c"rrunc")?;
    sys::copy_all(exe, copy.as_fd())?;
    sys::freeze(copy.as_fd())?;
    Ok(copy)
}

/// For who may clone no mounts: somebody who may, and ends, since the root of a new user namespace may in a new mount
/// namespace. There the binary has to be found by its path, and be the same file.
fn clone_in_user_namespace(exe: BorrowedFd) -> Result<OwnedFd, Fail> {
    let mut path = [0; libc::PATH_MAX as usize];
    let path = fs::readlink(fs::cwd(), c"/proc/self/exe", &mut path)?;
    let path = CString::new(path).unwrap_or_default(); // a path has no NUL
    let (ours, theirs) = net::seqpacket_pair()?;
    match clone::fork((libc::CLONE_NEWUSER | libc::CLONE_NEWNS) as u64, None)? {
        Who::Parent(_, pidfd) => {
            drop(theirs);
            let mut refusal = [0; Fail::BYTES];
            let received = net::receive(ours.as_fd(), &mut refusal);
            process::reap(pidfd.as_fd())?;
            match (received?, Fail::from_bytes(refusal)) {
                ((_, Some(clone)), _) => Ok(clone),
                ((Fail::BYTES, None), Some(fail)) => Err(fail),
                _ => Err(Fail::new(Call::Clone, Errno::EPIPE)),
            }
        }
        Who::Child => {
            let sent = match same_file(&path, exe).and_then(|exe| read_only_clone(exe.as_fd())) {
                Ok(clone) => net::send(theirs.as_fd(), &[0; Fail::BYTES], Some(clone.as_fd())),
                Err(fail) => net::send(theirs.as_fd(), &fail.to_bytes(), None),
            };
            clone::exit(i32::from(sent.is_err()))
        }
    }
}

fn same_file(path: &CStr, other: BorrowedFd) -> Result<OwnedFd, Fail> {
    let file = fs::open(fs::cwd(), path, libc::O_PATH, 0, resolve::HOST)?;
    let (this, other) = (fs::stat(file.as_fd())?, fs::stat(other)?);
    match (this.dev, this.ino) == (other.dev, other.ino) {
        true => Ok(file),
        false => Err(Fail::new(Call::Open, Errno::ESTALE)),
    }
}

/// Whether root's alone, and we are an ordinary user: then no container of ours has a right to it, for the root of a user
/// namespace has none over what isn't mapped there, and nobody may map the host's root for us.
fn is_out_of_reach(exe: BorrowedFd) -> Result<bool, Fail> {
    const OTHERS_WRITE: u32 = 0o022; // with an access control list that of the group is its mask (acl(5))
    let stat = fs::stat(exe)?;
    let roots = stat.uid == Uid(0) && stat.mode & OTHERS_WRITE == 0;
    Ok(roots && ids::euid() != Uid(0) && ids::capget()?.permitted == 0)
}

/// Returns only what went wrong.
fn execute(file: Result<OwnedFd, Fail>, argv: &CArray) -> Fail {
    match file.and_then(|file| is_sealed(file.as_fd()).map(|sealed| (file, sealed))) {
        Ok((file, true)) => exec_fd(file.as_fd(), argv),
        Ok((_, false)) => Fail::new(Call::Exec, crate::sys::Errno::EPERM),
        Err(fail) => fail,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_never_asked_for_it_spawns_nothing() {
        assert!(require().is_err());
    }

    #[test]
    fn what_can_be_written_is_not_sealed() {
        let exe = fs::open(fs::cwd(), c"/proc/self/exe", libc::O_RDONLY, 0, resolve::HOST).unwrap();
        assert_eq!(is_sealed(exe.as_fd()), Ok(false));
        let copy = sys::executable_memfd(c"copy").unwrap();
        sys::copy_all(exe.as_fd(), copy.as_fd()).unwrap();
        assert_eq!(is_sealed(copy.as_fd()), Ok(false));
        sys::freeze(copy.as_fd()).unwrap();
        assert_eq!(is_sealed(copy.as_fd()), Ok(true));
        assert!(fs::write(copy.as_fd(), b"x").is_err());
    }
}
