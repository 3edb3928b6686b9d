//! Rules of config-linux.md, Control groups, as far as they are about form. Whether a number suits its
//! controller is for `cgroup` to say, which also gets it from `update`.

use std::collections::BTreeMap;

use oci_spec::runtime::{LinuxDeviceType, LinuxResources};

use super::Rules;

fn resources<'a>(rules: &Rules<'a>) -> Option<&'a LinuxResources> {
    rules.oci.linux().as_ref()?.resources().as_ref()
}

/// config-linux.md, Allowed Device list.
pub fn device_rules(rules: &mut Rules) {
    let Some(list) = resources(rules).and_then(|resources| resources.devices().as_ref()) else {
        return;
    };
    for (i, rule) in list.iter().enumerate() {
        let field = |name: &str| format!("linux.resources.devices[{i}].{name}");
        if let Some(kind @ (LinuxDeviceType::U | LinuxDeviceType::P)) = rule.typ() {
            rules.fault(field("type"), format!("is {:?}, expected \"a\", \"c\" or \"b\"", kind.as_str()));
        }
        let access = rule.access().as_deref().unwrap_or_default();
        if access.chars().any(|letter| !"rwm".contains(letter)) {
            rules.fault(field("access"), format!("is {access:?}, expected letters of \"rwm\""));
        }
        for (name, number) in [("major", rule.major()), ("minor", rule.minor())] {
            // -1 is what engines write for "all".
            if let Some(number) = number.filter(|n| !(-1..=i64::from(u32::MAX)).contains(n)) {
                rules.fault(field(name), format!("{number} is not from 0 to 4294967295"));
            }
        }
    }
}

/// config-linux.md, CPU, Huge page limits and Unified.
pub fn limits(rules: &mut Rules) {
    let Some(resources) = resources(rules) else { return };
    if let Some(cpu) = resources.cpu() {
        for (path, list) in
            [("linux.resources.cpu.cpus", cpu.cpus()), ("linux.resources.cpu.mems", cpu.mems())]
        {
            let list = list.as_deref().unwrap_or_default();
            if !list.chars().all(|c| c.is_ascii_digit() || ",- ".contains(c)) {
                rules.fault(path, format!("is {list:?}, expected numbers and ranges (\"0-3,7\")"));
            }
        }
    }
    for (i, limit) in resources.hugepage_limits().iter().flatten().enumerate() {
        if !is_page_size(limit.page_size()) {
            rules.fault(
                format!("linux.resources.hugepageLimits[{i}].pageSize"),
                format!(
                    "is {:?}, expected a number and its unit (\"64KB\", \"2MB\", \"1GB\")",
                    limit.page_size()
                ),
            );
        }
    }
    let unified = resources.unified().iter().flatten();
    for (key, value) in unified.collect::<BTreeMap<_, _>>() {
        let path = format!("linux.resources.unified[{key}]");
        if key.is_empty() || key.contains(['/', '\0']) || matches!(key.as_str(), "." | "..") {
            rules.fault(&path, "is not the name of a file in a cgroup");
        }
        rules.no_nul(path, value);
    }
}

/// What cgroup v2 has no file for (cgroup-v2.rst): the container runs without it, as with runc, but not unnoticed. What
/// asks for nothing is what engines write who leave nothing away.
pub fn without_a_file(rules: &mut Rules) {
    let Some(resources) = resources(rules) else { return };
    let memory = resources.memory().as_ref();
    let network = resources.network().as_ref();
    let block_io = resources.block_io().as_ref();
    let limits = |value: Option<i64>| value.is_some_and(|value| value > 0);
    let fields = [
        ("memory.kernel", limits(memory.and_then(|memory| memory.kernel()))),
        ("memory.kernelTCP", limits(memory.and_then(|memory| memory.kernel_tcp()))),
        ("memory.swappiness", memory.is_some_and(|memory| memory.swappiness().is_some())),
        ("memory.disableOOMKiller", memory.is_some_and(|memory| memory.disable_oom_killer() == Some(true))),
        (
            "blockIO.leafWeight",
            block_io.is_some_and(|block_io| block_io.leaf_weight().is_some_and(|weight| weight > 0)),
        ),
        ("network.classID", network.is_some_and(|network| network.class_id().is_some_and(|id| id > 0))),
        (
            "network.priorities",
            network.is_some_and(|network| network.priorities().iter().flatten().next().is_some()),
        ),
    ];
    for (field, asked) in fields {
        if asked {
            rules.warn(format!("linux.resources.{field}"), "cgroup v2 has nothing for it, it is left out");
        }
    }
}

/// config-linux.md, hugepageLimits.pageSize: `<size><unit-prefix>B`.
fn is_page_size(text: &str) -> bool {
    let size = ["KB", "MB", "GB"].iter().find_map(|unit| text.strip_suffix(unit));
    size.is_some_and(|size| {
        !size.starts_with('0') && !size.is_empty() && size.bytes().all(|b| b.is_ascii_digit())
    })
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use crate::spec::validate::tests::{bad, good, warned};

    #[test]
    fn what_has_no_file_is_not_passed_over_in_silence() {
        let place = "/linux/resources";
        for (value, field) in [
            (json!({"memory": {"kernel": 1}}), "memory.kernel"),
            (json!({"memory": {"kernelTCP": 1}}), "memory.kernelTCP"),
            (json!({"memory": {"swappiness": 0}}), "memory.swappiness"),
            (json!({"memory": {"disableOOMKiller": true}}), "memory.disableOOMKiller"),
            (json!({"blockIO": {"leafWeight": 10}}), "blockIO.leafWeight"),
            (json!({"network": {"classID": 1}}), "network.classID"),
            (json!({"network": {"priorities": [{"name": "lo", "priority": 1}]}}), "network.priorities"),
        ] {
            warned(&[(place, value)], &format!("linux.resources.{field}: cgroup v2 has nothing for it"));
        }
        good(
            place,
            json!({"memory": {"kernel": -1, "kernelTCP": 0, "disableOOMKiller": false},
                "blockIO": {"leafWeight": 0}, "network": {"classID": 0, "priorities": []}}),
        );
    }

    #[test]
    fn resources() {
        let place = "/linux/resources";
        let rule = |rule: Value| json!({"devices": [{"allow": false, "access": "rwm"}, rule]});
        good(place, rule(json!({"allow": true, "type": "c", "major": -1, "minor": 5, "access": "rw"})));
        good(place, rule(json!({"allow": true, "type": ""})));
        bad(place, rule(json!({"access": "rx"})), "linux.resources.devices[1].access", "expected letters");
        bad(place, rule(json!({"type": "p"})), "linux.resources.devices[1].type", "expected");
        bad(place, rule(json!({"major": -2})), "linux.resources.devices[1].major", "is not from 0");
        good(place, json!({"cpu": {"cpus": "0-3,7", "mems": ""}}));
        bad(place, json!({"cpu": {"cpus": "0;1"}}), "linux.resources.cpu.cpus", "expected numbers");
        let pages = |size: &str| json!({"hugepageLimits": [{"pageSize": size, "limit": 1}]});
        good(place, pages("64KB"));
        for size in ["2M", "MB", "0MB", "-1GB", "2mb", ""] {
            bad(
                place,
                pages(size),
                "linux.resources.hugepageLimits[0].pageSize",
                "expected a number and its unit",
            );
        }
        good(place, json!({"unified": {"memory.high": "1\n2"}}));
        for key in ["../cgroup.procs", "", ".."] {
            bad(
                place,
                json!({"unified": {key: "1"}}),
                &format!("linux.resources.unified[{key}]"),
                "not the name",
            );
        }
        bad(place, json!({"unified": {"a": "\u{0}"}}), "linux.resources.unified[a]", "NUL");
    }
}
