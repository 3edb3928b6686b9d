//! Rules of config-linux.md for single fields.

use std::collections::HashMap;

use oci_spec::runtime::{LinuxDeviceType, LinuxNamespaceType};

use super::{Rules, set, text};

/// config-linux.md, Devices; the kernel's dev_t has 12 bits for the major and 20 for the minor number.
pub fn devices(rules: &mut Rules) {
    let linux = rules.oci.linux().as_ref();
    let Some(devices) = linux.and_then(|linux| linux.devices().as_ref()) else {
        return;
    };
    let mut seen = HashMap::new();
    for (i, device) in devices.iter().enumerate() {
        let field = |name: &str| format!("linux.devices[{i}].{name}");
        let path = text(device.path());
        rules.no_nul(field("path"), path);
        let path = path.trim_end_matches('/'); // runc and crun take it so
        if !path.starts_with('/') {
            let path = device.path();
            rules.fault(field("path"), format!("{path:?} is not the absolute path of a file"));
        }
        if let Some(first) = seen.insert(path, i) {
            rules.fault(field("path"), format!("{path:?} is also that of linux.devices[{first}]"));
        }
        let (major, minor) = (device.major(), device.minor());
        match device.typ() {
            _ if !rules.is_intact(&field("type")) => {} // who knows whether it has numbers
            LinuxDeviceType::P => {}
            LinuxDeviceType::A => {
                rules.fault(field("type"), "\"a\" is not a device, expected \"c\", \"b\", \"u\" or \"p\"")
            }
            _ if (major, minor) == (0, 0) => {
                rules.fault(field("major"), "major and minor are missing, or both 0");
            }
            _ => {
                if !(0..1 << 12).contains(&major) {
                    rules.fault(field("major"), format!("{major} is not from 0 to 4095"));
                }
                if !(0..1 << 20).contains(&minor) {
                    rules.fault(field("minor"), format!("{minor} is not from 0 to 1048575"));
                }
            }
        }
        // Some engines write st_mode with its type bits.
        if let Some(mode) = device.file_mode().filter(|mode| *mode > 0o177_777) {
            rules.fault(field("fileMode"), format!("{mode} is not a file mode"));
        }
        for (name, id) in [("uid", device.uid()), ("gid", device.gid())] {
            if id == Some(u32::MAX) {
                rules.fault(field(name), "4294967295 stands for \"no id\" (-1)");
            }
        }
    }
}

/// config-linux.md, Masked Paths and Readonly Paths: absolute, and not on the host.
pub fn restricted_paths(rules: &mut Rules) {
    let Some(linux) = rules.oci.linux() else { return };
    for (field, paths) in
        [("linux.maskedPaths", linux.masked_paths()), ("linux.readonlyPaths", linux.readonly_paths())]
    {
        for (i, path) in paths.iter().flatten().enumerate() {
            if !path.starts_with('/') {
                rules.fault(format!("{field}[{i}]"), format!("{path:?} is not absolute"));
            }
        }
        rules.no_nuls(field, paths);
        if paths.iter().flatten().next().is_some() && !rules.has_namespace(LinuxNamespaceType::Mount) {
            rules.fault(
                field,
                "needs a \"mount\" namespace in linux.namespaces, or it would hide them from the host",
            );
        }
    }
}

/// config-linux.md, Rootfs Mount Propagation.
pub fn propagation(rules: &mut Rules) {
    let linux = rules.oci.linux().as_ref();
    let Some(propagation) = linux.and_then(|linux| set(linux.rootfs_propagation())) else {
        return;
    };
    // config-linux.md names four; all runtimes take those of mount(8) as well.
    let kind = propagation.strip_prefix('r').unwrap_or(propagation);
    if !matches!(kind, "shared" | "slave" | "private" | "unbindable") {
        rules.fault(
            "linux.rootfsPropagation",
            format!(
                "is {propagation:?}, expected \"shared\", \"slave\", \"private\" or \"unbindable\", or one of them \
                 after an \"r\""
            ),
        );
    }
}

/// config-linux.md, Mount Label: it becomes part of the mount options, in quotes.
pub fn mount_label(rules: &mut Rules) {
    let linux = rules.oci.linux().as_ref();
    let label = linux.and_then(|linux| set(linux.mount_label()));
    if label.is_some_and(|label| label.contains(['"', '\0', '\n'])) {
        rules.fault("linux.mountLabel", "holds a quote, a NUL character or a line break");
    }
}

/// config-linux.md, Personality: no flags are defined.
pub fn personality(rules: &mut Rules) {
    let linux = rules.oci.linux().as_ref();
    let personality = linux.and_then(|linux| linux.personality().as_ref());
    let flags = personality.and_then(|personality| personality.flags().as_deref());
    if flags.is_some_and(|flags| !flags.is_empty()) {
        rules.fault("linux.personality.flags", "the spec defines no flags");
    }
}

/// config-linux.md, Cgroups Path: absolute or relative, and never out of where it starts.
pub fn cgroups_path(rules: &mut Rules) {
    let linux = rules.oci.linux().as_ref();
    let Some(path) = linux.and_then(|linux| linux.cgroups_path().as_deref()) else {
        return;
    };
    let path = text(path);
    rules.no_nul("linux.cgroupsPath", path);
    if path.split('/').any(|part| part == "..") {
        rules.fault("linux.cgroupsPath", format!("{path:?} must not have \"..\" in it"));
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use crate::spec::validate::tests::{bad, good};

    #[test]
    fn devices() {
        let place = "/linux/devices";
        let one = |device: Value| json!([{"path": "/dev/a", "type": "p"}, device]);
        good(
            place,
            one(
                json!({"path": "/dev/b", "type": "c", "major": 4095, "minor": 1_048_575, "fileMode": 0o20666}),
            ),
        );
        good(place, one(json!({"path": "/b", "type": "p", "uid": 0, "gid": 1})));
        let numbers =
            |major: i64, minor: i64| one(json!({"path": "/b", "type": "b", "major": major, "minor": minor}));
        bad(place, numbers(0, 0), "linux.devices[1].major", "are missing");
        bad(place, numbers(4096, 0), "linux.devices[1].major", "from 0 to 4095");
        bad(place, numbers(1, -1), "linux.devices[1].minor", "from 0 to 1048575");
        bad(place, one(json!({"path": "/b", "type": "a"})), "linux.devices[1].type", "is not a device");
        bad(place, one(json!({"path": "/b", "type": "x"})), "linux.devices[1].type", "expected one of");
        bad(place, one(json!({"path": "b", "type": "p"})), "linux.devices[1].path", "absolute");
        bad(place, one(json!({"path": "/", "type": "p"})), "linux.devices[1].path", "absolute");
        good(place, one(json!({"path": "/b/", "type": "p"})));
        bad(place, one(json!({"path": "/dev/a/", "type": "p"})), "linux.devices[1].path", "linux.devices[0]");
        bad(place, one(json!({"path": "/\u{0}", "type": "p"})), "linux.devices[1].path", "NUL");
        bad(place, one(json!({"path": "/dev/a", "type": "p"})), "linux.devices[1].path", "linux.devices[0]");
        bad(
            place,
            one(json!({"path": "/b", "type": "p", "fileMode": 0o200_000})),
            "linux.devices[1].fileMode",
            "mode",
        );
        bad(place, one(json!({"path": "/b", "type": "p", "uid": u32::MAX})), "linux.devices[1].uid", "no id");
    }

    #[test]
    fn restricted_paths() {
        for field in ["maskedPaths", "readonlyPaths"] {
            let (place, path) = (format!("/linux/{field}"), format!("linux.{field}"));
            good(&place, json!(["/proc/a", "/b"]));
            bad(&place, json!(["/a", "proc/a"]), &format!("{path}[1]"), "not absolute");
            bad(&place, json!(["/a\u{0}"]), &format!("{path}[0]"), "NUL");
            let host = json!({"namespaces": [{"type": "pid"}], field: ["/a"]});
            bad("/linux", host, &path, "needs a \"mount\" namespace");
        }
    }

    #[test]
    fn single_fields_of_linux() {
        for value in ["", "shared", "rslave", "private", "runbindable"] {
            good("/linux/rootfsPropagation", json!(value));
        }
        bad("/linux/rootfsPropagation", json!("rrslave"), "linux.rootfsPropagation", "expected");
        good("/linux/mountLabel", json!("a:b:c:s0"));
        bad("/linux/mountLabel", json!("a\",b"), "linux.mountLabel", "quote");
        good("/linux/personality", json!({"domain": "LINUX32", "flags": []}));
        bad(
            "/linux/personality",
            json!({"domain": "LINUX", "flags": ["a"]}),
            "linux.personality.flags",
            "no flags",
        );
        bad("/linux/personality", json!({}), "linux.personality.domain", "is missing");
        good("/linux/cgroupsPath", json!("a/..b/system.slice:x:y"));
        bad("/linux/cgroupsPath", json!("/a/../b"), "linux.cgroupsPath", "\"..\"");
        bad("/linux/cgroupsPath", json!("a\u{0}"), "linux.cgroupsPath", "NUL");
    }
}
