//! Control groups: which hierarchy, which controllers, and who else manages them.

use std::path::Path;

use super::Finding;
use crate::cgroup::{self, Hierarchy, systemd};
use crate::sys::ids;

const AREA: &str = "cgroups";

/// The controllers that linux.resources can ask for, and what of it.
const CONTROLLERS: [(&str, &str); 7] = [
    ("cpu", "cpu.shares, quota, period, burst, idle"),
    ("cpuset", "cpu.cpus, mems"),
    ("hugetlb", "hugepageLimits"),
    ("io", "blockIO"),
    ("memory", "memory.limit, reservation, swap"),
    ("pids", "pids.limit"),
    ("rdma", "rdma"),
];

pub fn look() -> Vec<Finding> {
    const NAME: &str = "cgroup v2";
    let hierarchy = match Hierarchy::find() {
        Ok(hierarchy) => hierarchy,
        Err(error) => {
            let cure = error.cure().unwrap_or_default().to_string();
            return vec![Finding::no(AREA, NAME, error.to_string(), &cure)];
        }
    };
    let at = hierarchy.path.display();
    let v1: Vec<_> = CONTROLLERS.iter().filter_map(|(name, _)| cgroup::v1_hierarchy(name)).collect();
    let mut found = vec![match v1.is_empty() {
        true => Finding::yes(AREA, NAME, format!("at {at}")),
        false => Finding::partly(
            AREA,
            NAME,
            format!("at {at}, beside v1 hierarchies that hold some controllers"),
            "boot with systemd.unified_cgroup_hierarchy=1 or cgroup_no_v1=all",
        ),
    }];
    let all = hierarchy.controllers();
    // Only root can have controllers passed on that stop further up.
    let delegated = (ids::euid().0 != 0).then(|| hierarchy.delegated_controllers());
    found.extend(
        CONTROLLERS.iter().map(|(name, fields)| controller(name, fields, &all, delegated.as_deref())),
    );
    found.push(systemd());
    found
}

/// `all`: in the hierarchy. `delegated`: to an ordinary user, if we are one.
fn controller(name: &str, fields: &str, all: &[String], delegated: Option<&[String]>) -> Finding {
    let title = format!("{name} controller");
    let has = |list: &[String]| list.iter().any(|controller| controller == name);
    match (has(all), delegated.is_none_or(has)) {
        (true, true) => return Finding::yes(AREA, &title, format!("linux.resources: {fields}")),
        (true, false) => {
            return Finding::no(
                AREA,
                &title,
                format!("not delegated to this user, so no linux.resources: {fields}"),
                "as root, Delegate=cpu cpuset io memory pids in a drop-in for user@.service",
            );
        }
        _ => {}
    }
    match cgroup::v1_hierarchy(name) {
        Some(mount) => Finding::no(
            AREA,
            &title,
            format!("bound to v1 ({mount}), so no linux.resources: {fields}"),
            "boot with systemd.unified_cgroup_hierarchy=1 or cgroup_no_v1=all",
        ),
        None => Finding::no(
            AREA,
            &title,
            format!("not in the hierarchy, so no linux.resources: {fields}"),
            "it is missing in the kernel, disabled at boot (cgroup_disable=), or not delegated to here",
        ),
    }
}

/// sd_booted(3); a user's own may still not be there.
fn systemd() -> Finding {
    const NAME: &str = "systemd";
    let booted = Path::new("/run/systemd/system").is_dir();
    match (booted, booted.then(systemd::check)) {
        (true, Some(Err(error))) => {
            Finding::no(AREA, NAME, format!("--systemd-cgroup can't be used: {error}"), "")
        }
        (true, _) => Finding::yes(AREA, NAME, "it can make cgroups: --systemd-cgroup"),
        (false, _) => Finding::no(
            AREA,
            NAME,
            "this system wasn't booted with it, so --systemd-cgroup can't be used",
            "leave the flag away: rrunc makes the cgroups itself",
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::super::State;
    use super::*;

    #[test]
    fn what_is_there_must_be_delegated_to_a_user() {
        let all = ["memory".to_string(), "pids".to_string()];
        let check = |name: &str, delegated: Option<&[String]>, state, text: &str| {
            let finding = controller(name, "limits", &all, delegated);
            assert_eq!(finding.state, state, "{finding:?}");
            assert!(finding.detail.contains(text), "{finding:?}");
        };
        check("memory", None, State::Yes, "linux.resources: limits");
        check("memory", Some(&all), State::Yes, "linux.resources: limits");
        check("memory", Some(&all[1..]), State::No, "not delegated to this user");
    }
}
