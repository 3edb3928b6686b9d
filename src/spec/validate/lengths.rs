//! How long the lists may be that become steps of the plan: asked before anything else, since whatever is done, is done
//! for each entry.

use super::Rules;

/// More than anybody has. A mount namespace holds 100,000 mounts (fs.mount-max of proc_sys_fs(5)) with those that are there
/// already, and the steps of a plan have numbers of 16 bits.
const MOST: usize = 1 << 15;

/// Whether all of them are short enough to be looked at.
pub fn lengths(rules: &mut Rules) -> bool {
    let oci = rules.oci;
    let linux = oci.linux().as_ref();
    let devices = linux.and_then(|linux| linux.devices().as_ref()).map(Vec::len);
    let masked = linux.and_then(|linux| linux.masked_paths().as_ref()).map(Vec::len);
    let read_only = linux.and_then(|linux| linux.readonly_paths().as_ref()).map(Vec::len);
    let lists = [
        ("mounts", oci.mounts().as_ref().map(Vec::len)),
        ("linux.devices", devices),
        ("linux.maskedPaths", masked),
        ("linux.readonlyPaths", read_only),
    ];
    let mut all = true;
    for (path, length) in lists {
        if let Some(length) = length.filter(|length| *length > MOST) {
            rules.fault(path, format!("has {length} entries, {MOST} are the most"));
            all = false;
        }
    }
    all
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::MOST;
    use crate::spec::validate::tests::{bad, read};

    #[test]
    fn lengths() {
        let mount = json!({"destination": "/a", "type": "tmpfs"});
        let mounts = |n| Value::Array(vec![mount.clone(); n]);
        assert_eq!(read(&[("/mounts", mounts(MOST))]).0, []);
        bad("/mounts", mounts(MOST + 1), "mounts", "has 32769 entries, 32768 are the most");
        let device = json!({"path": "relative", "type": "c", "major": 1, "minor": 3});
        for (place, field, entry) in [
            ("/linux/devices", "linux.devices", device),
            ("/linux/maskedPaths", "linux.maskedPaths", json!("relative")),
            ("/linux/readonlyPaths", "linux.readonlyPaths", json!("relative")),
        ] {
            // And of each entry nothing is said.
            let faults = read(&[(place, Value::Array(vec![entry; MOST + 1]))]).0;
            assert_eq!(faults.iter().map(|fault| fault.path.as_str()).collect::<Vec<_>>(), [field]);
        }
    }
}
