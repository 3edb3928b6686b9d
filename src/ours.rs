//! What nobody else could have put there. Remembered state decides what is executed and what is killed, and it is
//! believed by root: whoever could write it would be root.
//!
//! Ours is what belongs to the effective user or to root, and what nobody else may write to. In a user namespace
//! the owners that aren't mapped into it all look alike, so that what is theirs isn't ours.

use std::os::fd::BorrowedFd;
use std::path::Path;

use crate::error::{Doing, Error, Kind, Result};
use crate::sys::fs::{self as sys, Stat};
use crate::sys::{Uid, ids};

/// Who may make files beside ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Beside {
    Nobody,
    /// Whoever may: where the sticky bit is set (inode(7)) they can't rename or remove what is ours, and what is
    /// theirs is looked at by itself.
    IfSticky,
}

/// Refuses the file or directory `fd`, which was opened as `path`, unless it is ours. Kind `Untrusted`.
pub fn check(fd: BorrowedFd, path: &Path, beside: Beside) -> Result<()> {
    let found = sys::stat(fd).doing(|| format!("stat {path:?}"))?;
    check_found(&found, path, beside)
}

/// The same of what was found at `path`.
pub fn check_found(found: &Stat, path: &Path, beside: Beside) -> Result<()> {
    if is_ours(found, ids::euid(), beside) {
        return Ok(());
    }
    let (owner, mode, us) = (found.uid, found.mode & 0o7777, ids::euid());
    let text = format!(
        "{path:?} is of uid {owner} with mode {mode:o}: another user could have written what is there"
    );
    Err(Error::new(Kind::Untrusted, text).hint(format!(
        "it has to be of uid {us}{}, and nobody else may write to it: name another directory with --root, or, if you \
         trust what is in it, chown and chmod it",
        if us == Uid(0) { "" } else { " or 0" }
    )))
}

fn is_ours(found: &Stat, us: Uid, beside: Beside) -> bool {
    let is_sticky = found.is_dir() && found.mode & libc::S_ISVTX != 0;
    let others = found.mode & 0o022 != 0 && !found.is_symlink(); // the mode of a symlink says nothing
    (found.uid == us || found.uid == Uid(0)) && (!others || (is_sticky && beside == Beside::IfSticky))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::Gid;

    #[test]
    fn owner_and_mode() {
        let check = |mode, uid, expected: (bool, bool)| {
            let found = Stat { mode, uid: Uid(uid), gid: Gid(0), rdev: 0, dev: 0, ino: 0, links: 1 };
            let ours = |beside| is_ours(&found, Uid(1000), beside);
            assert_eq!((ours(Beside::Nobody), ours(Beside::IfSticky)), expected, "{mode:o} of {uid}");
        };
        let (dir, file) = (libc::S_IFDIR, libc::S_IFREG);
        check(dir | 0o755, 1000, (true, true));
        check(dir | 0o755, 0, (true, true));
        check(dir | 0o700, 1001, (false, false));
        check(dir | 0o775, 1000, (false, false));
        check(dir | 0o757, 0, (false, false));
        check(dir | 0o1777, 0, (false, true));
        check(dir | 0o1777, 65534, (false, false));
        check(file | 0o1666, 0, (false, false));
        check(file | 0o600, 1001, (false, false));
        check(file | 0o644, 1000, (true, true));
        check(libc::S_IFLNK | 0o777, 0, (true, true));
        check(libc::S_IFLNK | 0o777, 1001, (false, false));
    }
}
