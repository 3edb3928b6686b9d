//! A container without a cgroup of its own: where this user may make none, one that asks for nothing of it does without,
//! and stays in the cgroup that rrunc is in. Whatever is asked for and can't be had is an error.

use oci_spec::runtime::LinuxResources;

use super::resources::{self, Write};
use super::{Cgroup, Hierarchy, own_place};
use crate::error::{Error, Fault, Kind, Result};
use crate::log;
use crate::sys::Errno;

const CURE: &str = "let your systemd make the cgroup: rrunc --systemd-cgroup ...; or run rrunc in a leaf of a cgroup that is delegated to you with its controllers (cpu, cpuset, io, memory, pids); \
                    or leave the limits away";

/// Makes the container's cgroup. `asked`: the configuration says which; then there must be one.
pub fn create_if_allowed(
    place: &str,
    asked: bool,
    resources: Option<&LinuxResources>,
) -> Result<Option<Cgroup>> {
    let refused = match Hierarchy::find().and_then(|hierarchy| Cgroup::create(&hierarchy, place)) {
        Err(error) if !asked && is_refusal(&error) => error,
        made => return made.map(Some),
    };
    let writes = resources.map_or(Ok(vec![]), resources::writes)?;
    let limits: Vec<_> = writes.iter().filter(|write| !write.asks_nothing).map(lost).collect();
    if limits.is_empty() {
        log::debug(|| format!("the container gets no cgroup of its own: {refused}"));
        return Ok(None);
    }
    let own = own_place().unwrap_or_default();
    let text = format!("rootless needs a delegated cgroup for limits, and here (in {own}) it can make none");
    let error = Error::new(Kind::Unsupported, text).with_faults(limits);
    Err(match refused.fail {
        Some(fail) => error.with_fail(fail),
        None => error,
    }
    .hint(CURE))
}

/// Nobody lets us make a cgroup, or there are none.
fn is_refusal(error: &Error) -> bool {
    let errno = error.fail.map(|fail| fail.errno);
    error.kind == Kind::Unsupported || matches!(errno, Some(Errno::EACCES | Errno::EPERM | Errno::EROFS))
}

fn lost(write: &Write) -> Fault {
    let controller = write.file.split('.').next().unwrap_or_default();
    Fault {
        path: format!("{} = {}", write.field, write.asked),
        text: format!("needs the {controller} controller"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::{Call, Fail};

    #[test]
    fn only_a_refusal_can_be_done_without() {
        let check = |errno, expected| {
            let error = Error::kernel("make", Fail::new(Call::Mkdir, errno));
            assert_eq!(is_refusal(&error), expected, "{errno:?}");
        };
        check(Errno::EACCES, true);
        check(Errno::EROFS, true);
        check(Errno::ENOSPC, false);
        check(Errno::EAGAIN, false);
        assert!(is_refusal(&Error::new(Kind::Unsupported, "no cgroup2")));
        assert!(!is_refusal(&Error::new(Kind::Exists, "not empty")));
    }
}
