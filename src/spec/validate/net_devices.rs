//! Rules of config-linux.md, Network Devices.

use std::collections::BTreeMap;

use oci_spec::runtime::LinuxNamespaceType;

use super::Rules;
use crate::spec::net_device_inside;

/// A network namespace of the container's own to move devices to, and names that a device can have, no two the same.
pub fn net_devices(rules: &mut Rules) {
    let linux = rules.oci.linux().as_ref();
    let Some(devices) =
        linux.and_then(|linux| linux.net_devices().as_ref()).filter(|devices| !devices.is_empty())
    else {
        return;
    };
    if !rules.has_namespace(LinuxNamespaceType::Network) {
        rules.fault(
            "linux.netDevices",
            "unable to move network devices without a private NET namespace: add \"network\" to linux.namespaces",
        );
    }
    let mut taken: BTreeMap<&str, &str> = BTreeMap::new();
    for (name, device) in devices.iter().collect::<BTreeMap<_, _>>() {
        let field = format!("linux.netDevices[{name}]");
        if !is_valid(name) {
            rules.fault(&field, format!("invalid network device name {name:?}: {NAMES}"));
        }
        let inside = net_device_inside(name, device);
        if inside != name && !is_valid(inside) {
            rules.fault(format!("{field}.name"), format!("invalid network device name {inside:?}: {NAMES}"));
        } else if let Some(other) = taken.insert(inside, name) {
            rules.fault(
                format!("{field}.name"),
                format!("{inside:?} is the name of linux.netDevices[{other}] in the container already"),
            );
        }
    }
}

const NAMES: &str = "one has 1 to 15 bytes, no space, no / : or %, and is neither . nor ..";

/// What the kernel takes (dev_valid_name in net/core/dev.c), but for `%`, by which it would make a name up.
fn is_valid(name: &str) -> bool {
    let length = 1..libc::IFNAMSIZ;
    let bad = |byte: u8| byte.is_ascii_whitespace() || matches!(byte, 0 | 0x0b | b'/' | b':' | b'%');
    length.contains(&name.len()) && !matches!(name, "." | "..") && !name.bytes().any(bad)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::is_valid;
    use crate::spec::validate::tests::{bad, bad_all, base, good};

    #[test]
    fn names() {
        for name in ["a", "eth0", "eth0.100", "...", "fifteen-bytes-a", "ü"] {
            assert!(is_valid(name), "{name}");
        }
        for name in ["", ".", "..", "sixteen-bytes-ab", "a b", "a/b", "a:b", "eth%d", "a\tb", "a\0", "a\u{b}"]
        {
            assert!(!is_valid(name), "{name:?}");
        }
    }

    #[test]
    fn net_devices() {
        let place = "/linux/netDevices";
        good(place, json!({}));
        good(place, json!({"eth0": {}, "eth1": {"name": ""}, "eth2": {"name": "ct2"}}));
        let invalid = "invalid network device name";
        bad(place, json!({"a/b": {}}), "linux.netDevices[a/b]", invalid);
        bad(place, json!({"a": {"name": "eth%d"}}), "linux.netDevices[a].name", invalid);
        bad(
            place,
            json!({"a": {}, "b": {"name": "a"}}),
            "linux.netDevices[b].name",
            "is the name of linux.netDevices[a]",
        );
        let mut linux = base()["linux"].clone();
        linux["namespaces"].as_array_mut().unwrap().remove(4);
        linux["netDevices"] = json!({"a": {}});
        bad_all(
            &[("/linux", linux)],
            "linux.netDevices",
            "unable to move network devices without a private NET namespace",
        );
    }
}
