//! Control groups: which hierarchy, which controllers, and who else manages them.

use std::path::Path;

use super::Finding;
use crate::cgroup::{self, Hierarchy};

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
    let v1: Vec<_> = CONTROLLERS
        .iter()
        .filter_map(|(name, _)| cgroup::v1_hierarchy(name))
        .collect();
    let mut found = vec![match v1.is_empty() {
        true => Finding::yes(AREA, NAME, format!("at {at}")),
        false => Finding::partly(
            AREA,
            NAME,
            format!("at {at}, beside v1 hierarchies that hold some controllers"),
            "boot with systemd.unified_cgroup_hierarchy=1 or cgroup_no_v1=all",
        ),
    }];
    let controllers = hierarchy.controllers();
    found.extend(
        CONTROLLERS
            .iter()
            .map(|(name, fields)| controller(name, fields, &controllers)),
    );
    found.push(systemd());
    found
}

fn controller(name: &str, fields: &str, there: &[String]) -> Finding {
    let title = format!("{name} controller");
    if there.iter().any(|controller| controller == name) {
        return Finding::yes(AREA, &title, format!("linux.resources: {fields}"));
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

/// sd_booted(3).
fn systemd() -> Finding {
    const NAME: &str = "systemd";
    match Path::new("/run/systemd/system").is_dir() {
        true => Finding::yes(AREA, NAME, "it can make cgroups: --systemd-cgroup"),
        false => Finding::no(
            AREA,
            NAME,
            "this system wasn't booted with it, so --systemd-cgroup can't be used",
            "leave the flag away: rrunc makes the cgroups itself",
        ),
    }
}
