//! Rules of config-linux.md, Sysctl: most of /proc/sys belongs to the host, and only what is a namespace's own
//! may be set for a container.

use std::collections::BTreeMap;

use super::{Rules, set};
use crate::spec::sysctl;

pub fn sysctls(rules: &mut Rules) {
    let linux = rules.oci.linux().as_ref();
    let Some(sysctls) = linux.and_then(|linux| linux.sysctl().as_ref()) else {
        return;
    };
    let mut seen = BTreeMap::new();
    for (key, value) in sysctls.iter().collect::<BTreeMap<_, _>>() {
        let field = format!("linux.sysctl[{key}]");
        let name = sysctl::dotted(key);
        if let Some(first) = seen.insert(name.clone(), key) {
            rules.fault(&field, format!("is the same as {first:?}"));
        }
        match sysctl::owner(&name) {
            _ if !is_sound(&name) => rules.fault(&field, "is not the name of a sysctl"),
            None => rules.fault(
                &field,
                "is not in a namespace of its own: it would change the host, and is never allowed",
            ),
            Some((kind, kind_name)) => {
                if !rules.has_namespace(kind) {
                    rules.fault(
                        &field,
                        format!(
                            "needs a {kind_name:?} namespace in linux.namespaces, or it would change the host"
                        ),
                    );
                }
            }
        }
        for (other, own) in [("hostname", rules.oci.hostname()), ("domainname", rules.oci.domainname())] {
            if set(own).is_some() && name == format!("kernel.{other}") {
                rules.fault(&field, format!("contradicts the field {other:?}, which sets the same"));
            }
        }
        if value.contains(['\0', '\n']) {
            rules.fault(&field, "its value holds a NUL character or a line break");
        }
    }
}

/// Parts that are file names. A slash in a part stands for a dot.
fn is_sound(name: &str) -> bool {
    name.split('.').all(|part| !part.is_empty() && !part.contains('\0') && part.chars().any(|c| c != '/'))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use crate::spec::validate::tests::{bad, bad_all, good};

    #[test]
    fn sysctls() {
        let set = |key: &str, value: &str| json!({key: value});
        let place = "/linux/sysctl";
        for key in [
            "kernel.shmmax",
            "kernel/sem",
            "fs.mqueue.msg_max",
            "net.ipv4.ip_forward",
            "net/ipv4/conf/eth0.100/rp_filter",
            "user.max_user_namespaces",
            "kernel.hostname",
            "kernel.domainname",
        ] {
            good(place, set(key, "1 2"));
        }
        let path = |key: &str| format!("linux.sysctl[{key}]");
        for key in
            ["kernel.core_pattern", "kernel/sysrq", "vm.swappiness", "kernel.shm", "net", "fs/file-max"]
        {
            bad(place, set(key, "1"), &path(key), "is not in a namespace of its own");
        }
        for key in
            ["net..a", "net.", "net.ipv4.//.x", "net/../kernel/core_pattern", "net/./x", "", "net.a\u{0}"]
        {
            bad(place, set(key, "1"), &path(key), "is not the name of a sysctl");
        }
        for value in ["1\n2", "1\u{0}"] {
            bad(place, set("kernel.sem", value), &path("kernel.sem"), "its value holds");
        }
        bad(place, json!({"kernel.sem": "1", "kernel/sem": "2"}), &path("kernel/sem"), "is the same as");
        let hostname = ("/hostname", json!("a"));
        bad_all(&[hostname, (place, set("kernel.hostname", "b"))], &path("kernel.hostname"), "contradicts");
        for (key, namespace) in [
            ("kernel.msgmax", "ipc"),
            ("net.core.somaxconn", "network"),
            ("kernel.domainname", "uts"),
            ("user.max_net_namespaces", "user"),
        ] {
            let host = json!({"namespaces": [{"type": "mount"}], "sysctl": {key: "1"}});
            bad("/linux", host, &path(key), &format!("needs a {namespace:?} namespace"));
        }
    }
}
