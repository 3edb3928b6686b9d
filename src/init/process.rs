//! Carrying out the steps that make the program's process: ids, capabilities, labels, streams, directory.

use std::ffi::{CStr, CString};
use std::os::fd::{AsFd, BorrowedFd};

use super::Done;
use crate::plan::step::{Limit, Step};
use crate::sys::fs::{self, resolve};
use crate::sys::ids::{self, CapSets};
use crate::sys::{Call, Errno, Fail, Gid, Pid, Uid};

pub fn become_root(drop_groups: bool) -> Done {
    if drop_groups {
        // Denied where an ordinary user made the namespace; then there is nothing to drop.
        match ids::setgroups(&[]) {
            Ok(()) | Err(Fail { errno: Errno::EPERM, .. }) => {}
            Err(fail) => return Err(fail),
        }
    }
    ids::setgid(Gid(0))?;
    ids::setuid(Uid(0))?;
    // The change of ids made us a stranger to the runtime's death signal (prctl(2), PR_SET_PDEATHSIG).
    ids::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL as u64, 0)?;
    ids::prctl(libc::PR_SET_DUMPABLE, 0, 0).map(drop)
}

/// Whoever has it may do all; others of the same user only find it, and by its name alone: else every container of that
/// user, all of root's for one, could list it by /proc/keys and link what it holds to its own (keyctl_setperm(3)).
pub fn session_keyring(name: &CStr, required: bool) -> Done {
    const POSSESSOR_ALL: u32 = 0x3f00_0000;
    const USER_SEARCH: u32 = 0x0008_0000;
    match ids::join_session_keyring(name) {
        Err(Fail { errno: Errno::ENOSYS, .. }) if !required => Ok(()),
        joined => ids::set_key_permissions(joined?, POSSESSOR_ALL | USER_SEARCH),
    }
}

/// One write to a file below the host's procfs. What the kernel takes only the beginning of, it has not taken.
pub fn write_host_proc(proc: BorrowedFd, path: &CStr, value: &[u8]) -> Done {
    let file = fs::open(proc, path, libc::O_WRONLY, 0, resolve::BENEATH | libc::RESOLVE_NO_XDEV)?;
    match fs::write(file.as_fd(), value)? {
        n if n == value.len() => Ok(()),
        _ => Err(Fail::new(Call::Write, Errno::EMSGSIZE)),
    }
}

/// Streams on the host's /dev/null are reopened in the container, others are given to its user, so that it
/// can open /dev/stdout. What can't change hands (a read-only file system, a foreign id) stays.
pub fn stdio(uid: Uid) -> Done {
    let mut null = None;
    for number in 0..3 {
        let Some(fd) = crate::sys::fs::borrow(number) else {
            continue;
        };
        let stat = match fs::stat(fd) {
            Ok(stat) => stat,
            Err(Fail { errno: Errno::EBADF, .. }) => continue,
            Err(fail) => return Err(fail),
        };
        if stat.is_char_device(1, 3) {
            if null.is_none() {
                null = container_null();
            }
            if let Some(null) = &null {
                fs::dup_onto(null.as_fd(), number, true)?;
            }
        } else if stat.uid != uid {
            match fs::chown(fd, Some(uid), None) {
                Ok(())
                | Err(Fail { errno: Errno::EINVAL | Errno::EPERM | Errno::EROFS | Errno::ENOSYS, .. }) => {}
                Err(fail) => return Err(fail),
            }
        }
    }
    Ok(())
}

/// The container's own /dev/null, if it has one that is one.
fn container_null() -> Option<std::os::fd::OwnedFd> {
    let flags = libc::O_RDWR | libc::O_NOFOLLOW | libc::O_NOCTTY | libc::O_NONBLOCK;
    let path = fs::open(fs::cwd(), c"/dev/null", libc::O_PATH | libc::O_NOFOLLOW, 0, resolve::HOST).ok()?;
    if !fs::stat(path.as_fd()).ok()?.is_char_device(1, 3) {
        return None;
    }
    let null = fs::open(fs::cwd(), c"/dev/null", flags, 0, resolve::HOST).ok()?;
    fs::stat(null.as_fd()).ok()?.is_char_device(1, 3).then_some(null)
}

/// Raises a hard limit; one that is high enough stays for now.
pub fn raise_limit(limit: &Limit) -> Done {
    let (soft, hard) = ids::getrlimit(Pid(0), limit.resource)?;
    if limit.hard <= hard {
        return Ok(());
    }
    ids::setrlimit(limit.resource, soft, limit.hard)
}

/// Drops from the bounding set all that is not in `keep`; capabilities end where the kernel says EINVAL.
pub fn bound(keep: u64) -> Done {
    for capability in 0..64 {
        if keep & (1 << capability) != 0 {
            continue;
        }
        match ids::prctl(libc::PR_CAPBSET_DROP, capability, 0) {
            Ok(_) => {}
            Err(Fail { errno: Errno::EINVAL, .. }) => break,
            Err(fail) => return Err(fail),
        }
    }
    Ok(())
}

/// Groups, gid, uid in this order: the last one takes the right to the others. Permitted capabilities are kept
/// for the steps that follow.
pub fn set_ids(uid: Uid, gid: Gid, groups: Option<&[Gid]>) -> Done {
    ids::prctl(libc::PR_SET_KEEPCAPS, 1, 0)?;
    if let Some(groups) = groups {
        match ids::setgroups(groups) {
            // With setgroups denied in the user namespace no groups are none to set.
            Err(Fail { errno: Errno::EPERM, .. }) if groups.is_empty() => {}
            other => other?,
        }
    }
    ids::setgid(gid)?;
    ids::setuid(uid)?;
    ids::prctl(libc::PR_SET_KEEPCAPS, 0, 0)?;
    ids::prctl(libc::PR_SET_DUMPABLE, 0, 0)?;
    // Kept capabilities are not in force for a user other than root until they are asked for.
    let mut sets = ids::capget()?;
    sets.effective = sets.permitted;
    ids::capset(&sets)
}

/// capset(2), then the ambient set (capabilities(7)), which an earlier exec may have filled.
pub fn set_capabilities(sets: &CapSets, ambient: u64) -> Done {
    ids::capset(sets)?;
    ids::prctl(libc::PR_CAP_AMBIENT, libc::PR_CAP_AMBIENT_CLEAR_ALL as u64, 0)?;
    for capability in (0..64).filter(|capability| ambient & (1 << capability) != 0) {
        ids::prctl(libc::PR_CAP_AMBIENT, libc::PR_CAP_AMBIENT_RAISE as u64, capability)?;
    }
    Ok(())
}

/// Into process.cwd, through no magic link, and only if it can be reached from the container's root
/// (CVE-2024-21626).
pub fn change_directory(path: &CStr) -> Done {
    let flags = libc::O_PATH | libc::O_DIRECTORY;
    let directory = fs::open(fs::cwd(), path, flags, 0, libc::RESOLVE_NO_MAGICLINKS)?;
    fs::fchdir(directory.as_fd())?;
    let mut buffer = [0; 4096];
    match fs::getcwd(&mut buffer)?.first() {
        Some(b'/') => Ok(()),
        _ => Err(Fail::new(Call::Getcwd, Errno::ENOENT)),
    }
}

/// The first candidate that is a file we may execute. A name with a slash is one candidate, whose own fault
/// is reported; along PATH a directory or a file without the right only does not count.
pub fn find(candidates: &[CString]) -> Result<usize, Fail> {
    let mut worst = Fail::new(Call::Exec, Errno::ENOENT);
    for (index, path) in candidates.iter().enumerate() {
        match executable(path) {
            Ok(()) => return Ok(index),
            Err(fail) if candidates.len() == 1 => return Err(fail),
            Err(fail) if fail.errno == Errno::EACCES => worst = fail,
            Err(_) => {}
        }
    }
    Err(worst)
}

fn executable(path: &CStr) -> Done {
    let file = fs::open(fs::cwd(), path, libc::O_PATH, 0, resolve::HOST)?;
    if fs::stat(file.as_fd())?.is_dir() {
        return Err(Fail::new(Call::Exec, Errno::EISDIR));
    }
    fs::may_execute(path)
}

/// The program that [`find`] chose.
pub fn candidate(steps: &[Step], index: usize) -> Result<&CString, Fail> {
    let found = steps.iter().rev().find_map(|step| match step {
        Step::FindProgram { candidates, .. } => candidates.get(index),
        _ => None,
    });
    found.ok_or(Fail::new(Call::Exec, Errno::ENOENT))
}
