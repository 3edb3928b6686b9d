//! Rules of config-linux.md, Namespaces, User namespace mappings and Offset for Time Namespace.

use std::collections::BTreeMap;

use oci_spec::runtime::{LinuxIdMapping, LinuxNamespaceType};

use super::{Rules, joined, text};

/// Lines of /proc/PID/uid_map since Linux 4.15 (user_namespaces(7)).
const MOST_MAPPINGS: usize = 340;

/// config-linux.md, Namespaces: no type twice, paths absolute.
pub fn namespaces(rules: &mut Rules) {
    let linux = rules.oci.linux().as_ref();
    let Some(namespaces) = linux.and_then(|linux| linux.namespaces().as_ref()) else {
        return;
    };
    for (i, namespace) in namespaces.iter().enumerate() {
        let field = format!("linux.namespaces[{i}]");
        let twin = namespaces[..i].iter().position(|other| other.typ() == namespace.typ());
        if let Some(first) = twin.filter(|first| rules.is_intact(&format!("linux.namespaces[{first}]"))) {
            let text = format!("is a duplicate: {} is in linux.namespaces[{first}] already", namespace.typ());
            rules.fault(format!("{field}.type"), text);
        }
        if let Some(path) = joined(namespace) {
            let path = text(path);
            if !path.starts_with('/') {
                rules.fault(format!("{field}.path"), format!("{path:?} is not absolute"));
            }
            rules.no_nul(format!("{field}.path"), path);
        }
    }
}

/// config-linux.md, User namespace mappings; user_namespaces(7): a new namespace needs both maps, a joined one
/// has them already, and without one they mean nothing.
pub fn id_mappings(rules: &mut Rules) {
    let Some(linux) = rules.oci.linux() else { return };
    let new = rules.namespace(LinuxNamespaceType::User).map(|namespace| joined(namespace).is_none());
    for (field, mappings) in
        [("linux.uidMappings", linux.uid_mappings()), ("linux.gidMappings", linux.gid_mappings())]
    {
        let mappings = mappings.as_deref().unwrap_or_default();
        match (new, mappings) {
            (None, [_, ..]) if rules.is_intact("linux.namespaces") => {
                rules.fault(field, "needs a \"user\" namespace in linux.namespaces");
            }
            (Some(true), []) => {
                rules.fault(field, "is missing: a new user namespace needs uidMappings and gidMappings")
            }
            (Some(true), mappings) if !mappings.iter().any(|mapping| mapping.container_id() == 0) => rules
                .fault(
                    field,
                    "no entry has containerID 0: somebody must be root while the container is made",
                ),
            _ => {}
        }
        ranges(rules, field, mappings);
    }
}

/// What the kernel takes as a map (user_namespaces(7)).
pub fn ranges(rules: &mut Rules, field: &str, mappings: &[LinuxIdMapping]) {
    if mappings.len() > MOST_MAPPINGS {
        let count = mappings.len();
        return rules.fault(field, format!("{count} entries, the kernel takes {MOST_MAPPINGS}"));
    }
    for (i, mapping) in mappings.iter().enumerate() {
        if mapping.size() == 0 {
            rules.fault(format!("{field}[{i}].size"), "is 0 or missing");
        }
        for (name, start) in [
            ("containerID", LinuxIdMapping::container_id as fn(&LinuxIdMapping) -> u32),
            ("hostID", LinuxIdMapping::host_id),
        ] {
            let range = |m: &LinuxIdMapping| u64::from(start(m))..u64::from(start(m)) + u64::from(m.size());
            let this = range(mapping);
            if this.end > u64::from(u32::MAX) {
                rules.fault(
                    format!("{field}[{i}].size"),
                    format!("with {name} {} it ends beyond the last id, 4294967294", start(mapping)),
                );
            }
            let overlaps = |other: &LinuxIdMapping| {
                let other = range(other);
                this.start < other.end && other.start < this.end
            };
            if let Some(other) = mappings[..i].iter().position(overlaps) {
                let text = format!("overlaps with the range of {field}[{other}]");
                rules.fault(format!("{field}[{i}].{name}"), text);
            }
        }
    }
}

/// config-linux.md, Offset for Time Namespace; time_namespaces(7): only a new one takes offsets, of two clocks.
pub fn time_offsets(rules: &mut Rules) {
    let linux = rules.oci.linux().as_ref();
    let Some(offsets) =
        linux.and_then(|linux| linux.time_offsets().as_ref()).filter(|offsets| !offsets.is_empty())
    else {
        return;
    };
    match rules.namespace(LinuxNamespaceType::Time) {
        None if rules.is_intact("linux.namespaces") => {
            rules.fault("linux.timeOffsets", "needs a \"time\" namespace in linux.namespaces");
        }
        Some(namespace) if joined(namespace).is_some() => {
            rules.fault("linux.timeOffsets", "needs a new time namespace: one that is joined has its offsets")
        }
        _ => {}
    }
    for (clock, offset) in offsets.iter().collect::<BTreeMap<_, _>>() {
        let field = format!("linux.timeOffsets[{clock}]");
        if !matches!(clock.as_str(), "monotonic" | "boottime") {
            rules.fault(&field, "is not a clock, expected \"monotonic\" or \"boottime\"");
        }
        if let Some(nanosecs) = offset.nanosecs().filter(|n| *n >= 1_000_000_000) {
            rules.fault(
                format!("{field}.nanosecs"),
                format!("{nanosecs} is not less than a second, 1000000000"),
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use crate::spec::validate::tests::{bad, bad_all, base, good, read};

    #[test]
    fn namespaces() {
        good("/linux/namespaces/1", json!({"type": "pid", "path": "/proc/1/ns/pid"}));
        bad(
            "/linux/namespaces/1",
            json!({"type": "pid", "path": "proc/1"}),
            "linux.namespaces[1].path",
            "is not absolute",
        );
        bad(
            "/linux/namespaces/1",
            json!({"type": "pid", "path": "/\u{0}"}),
            "linux.namespaces[1].path",
            "NUL",
        );
        bad(
            "/linux/namespaces/1",
            json!({"type": "mount"}),
            "linux.namespaces[1].type",
            "linux.namespaces[0]",
        );
        bad("/linux/namespaces/1", json!({"type": ""}), "linux.namespaces[1].type", "is missing");
    }

    #[test]
    fn id_mappings() {
        let map = |c: u32, h: u32, size: u32| json!({"containerID": c, "hostID": h, "size": size});
        let place = "/linux/uidMappings";
        good(place, json!([map(0, 1000, 10), map(10, 0, 1000), map(1010, u32::MAX - 5, 5)]));
        bad(place, json!([]), "linux.uidMappings", "is missing");
        bad(place, json!(null), "linux.uidMappings", "is missing");
        bad(place, json!([map(0, 5, 9), map(9, 20, 0)]), "linux.uidMappings[1].size", "is 0");
        bad(place, json!([map(0, 5, 9), map(8, 20, 1)]), "linux.uidMappings[1].containerID", "overlaps");
        bad(place, json!([map(0, 5, 9), map(9, 4, 2)]), "linux.uidMappings[1].hostID", "overlaps");
        bad(place, json!([map(0, u32::MAX - 5, 6)]), "linux.uidMappings[0].size", "beyond the last id");
        let many: Vec<_> = (0..341).map(|n| map(n, n, 1)).collect();
        bad(place, json!(many), "linux.uidMappings", "341 entries");
        let shifted = &[(place, json!([map(1, 1, 9)])), ("/process/user/uid", json!(1))];
        bad_all(shifted, "linux.uidMappings", "no entry has containerID 0");
        let joined = ("/linux/namespaces/5", json!({"type": "user", "path": "/proc/1/ns/user"}));
        let none = [joined, (place, json!(null)), ("/linux/gidMappings", json!(null))];
        assert_eq!(read(&none), (vec![], vec![]));
        let (faults, _) = read(&[("/linux/namespaces", json!([{"type": "mount"}]))]);
        assert_eq!(faults.len(), 2, "{faults:?}");
        assert!(faults[0].to_string().contains("linux.uidMappings: needs a \"user\" namespace"));
    }

    #[test]
    fn time_offsets() {
        let place = "/linux/timeOffsets";
        good(place, json!({"monotonic": {"secs": -1}, "boottime": {"nanosecs": 999_999_999}}));
        bad(place, json!({"realtime": {"secs": 1}}), "linux.timeOffsets[realtime]", "is not a clock");
        bad(
            place,
            json!({"monotonic": {"nanosecs": 1_000_000_000}}),
            "linux.timeOffsets[monotonic].nanosecs",
            "is not less than a second",
        );
        let offsets = (place, json!({"monotonic": {"secs": 1}}));
        let joined = ("/linux/namespaces/6", json!({"type": "time", "path": "/proc/1/ns/time"}));
        bad_all(&[offsets.clone(), joined], "linux.timeOffsets", "needs a new time namespace");
        let mut linux = base()["linux"].clone();
        linux["namespaces"].as_array_mut().unwrap().remove(6);
        bad_all(&[("/linux", linux), offsets], "linux.timeOffsets", "needs a \"time\" namespace");
    }
}
