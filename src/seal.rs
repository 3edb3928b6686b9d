//! We run from a file that nobody can write to.
//!
//! Until it executes the user's program, the container's process is one of ours, and `/proc/PID/exe` leads to
//! our binary: an image whose entrypoint, interpreter or library leads there can open it, wait until it is no
//! longer executed, and overwrite rrunc on the host (CVE-2019-5736). So a command that puts a process into a
//! container executes itself anew, by an fd on a detached read-only clone of its binary's mount: no copy is
//! made, and whoever follows the link ends on a mount that is read-only and, its fd being closed with the execution,
//! in no mount namespace any more, where it could be remounted (mount_setattr(2) refuses it with EINVAL). Where mounts
//! can't be cloned (no CAP_SYS_ADMIN) a sealed copy in memory serves, which costs some milliseconds.
//!
//! Not in here: files that the program could reach otherwise, such as our binary in a bind mount.

use std::ffi::{CString, OsString};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStringExt;

use crate::error::{Doing, Error, Kind, Result};
use crate::sys::exec::{CArray, exec_fd};
use crate::sys::fs::{self, resolve};
use crate::sys::mount::{self, MountAttr};
use crate::sys::{Call, Fail, ids, seal as sys};

/// The commands that put a process into a container.
const ENTERING: [&str; 4] = ["create", "run", "exec", "restore"];
const READ_ONLY: MountAttr = MountAttr {
    set: 0x1, // MOUNT_ATTR_RDONLY
    clear: 0,
    propagation: 0,
    userns_fd: 0,
};

/// Whether the command line may be one of a command that needs the seal. It is asked before the command line
/// is parsed, for speed; a container that is called `run` costs a needless seal.
pub fn is_needed(mut args: impl Iterator<Item = OsString>) -> bool {
    args.any(|arg| ENTERING.iter().any(|command| arg == *command))
}

/// Returns when we run from a sealed file already, or, with an error, when we can't have one. Else executes us
/// anew with the same arguments, environment and fds.
pub fn seal(args: impl Iterator<Item = OsString>) -> Result<()> {
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
    let text = format!("run from a file that nobody can write to: {by_mount}; {by_memory}");
    Err(Error::new(Kind::Kernel, text).hint("a hostile image could overwrite rrunc (CVE-2019-5736)"))
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
    fn only_some_commands_need_it() {
        let check = |line: &str, expected| {
            let args = line.split(' ').map(OsString::from);
            assert_eq!(is_needed(args), expected, "{line}");
        };
        check("rrunc --root /x run -d c1", true);
        check("rrunc create c1", true);
        check("rrunc state c1", false);
        check("rrunc kill c1 KILL", false);
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
