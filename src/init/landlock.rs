//! Making the ruleset of [`Step::LandlockRules`](crate::plan::step::Step::LandlockRules).

use std::os::fd::{AsFd, OwnedFd};

use crate::plan::step::Ruleset;
use crate::sys::fs;
use crate::sys::{Errno, Fail, landlock};

/// Accesses that a rule for a file may name: execute, write, read, truncate, ioctl.
const OF_FILES: u64 = 1 | 1 << 1 | 1 << 2 | 1 << 14 | 1 << 15;

/// The paths are the container's, as it sees them now.
pub fn rules(wanted: &Ruleset) -> Result<OwnedFd, Fail> {
    let ruleset = landlock::create_ruleset(wanted.files, wanted.net, wanted.scopes, wanted.size)?;
    for rule in &wanted.paths {
        let path = match fs::open(fs::cwd(), &rule.path, libc::O_PATH, 0, libc::RESOLVE_NO_MAGICLINKS) {
            Err(Fail { errno: Errno::ENOENT | Errno::ENOTDIR, .. }) if rule.optional => continue,
            path => path?,
        };
        let access = match fs::stat(path.as_fd())?.is_dir() {
            true => rule.access,
            false => rule.access & OF_FILES,
        };
        if access != 0 {
            landlock::allow_path(ruleset.as_fd(), path.as_fd(), access)?;
        }
    }
    for (port, access) in &wanted.ports {
        landlock::allow_port(ruleset.as_fd(), *port, *access)?;
    }
    Ok(ruleset)
}
