//! Rules of config-linux.md, Sysctl: most of /proc/sys belongs to the host, and only what is a namespace's own
//! may be set for a container.

use std::collections::BTreeMap;

use oci_spec::runtime::LinuxNamespaceType;

use super::{Rules, set};
use crate::spec::sysctl;

/// ipc_namespaces(7).
const OF_IPC: [&str; 8] = [
    "kernel.msgmax",
    "kernel.msgmnb",
    "kernel.msgmni",
    "kernel.sem",
    "kernel.shm_rmid_forced",
    "kernel.shmall",
    "kernel.shmmax",
    "kernel.shmmni",
];

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
        match owner(&name) {
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
        for (other, own) in [
            ("hostname", rules.oci.hostname()),
            ("domainname", rules.oci.domainname()),
        ] {
            if set(own).is_some() && name == format!("kernel.{other}") {
                rules.fault(
                    &field,
                    format!("contradicts the field {other:?}, which sets the same"),
                );
            }
        }
        if value.contains(['\0', '\n']) {
            rules.fault(&field, "its value holds a NUL character or a line break");
        }
    }
}

/// The namespace that has this sysctl.
fn owner(name: &str) -> Option<(LinuxNamespaceType, &'static str)> {
    use LinuxNamespaceType::{Ipc, Network, User, Uts};
    match name {
        "kernel.hostname" | "kernel.domainname" => Some((Uts, "uts")),
        name if OF_IPC.contains(&name) || name.starts_with("fs.mqueue.") => Some((Ipc, "ipc")),
        name if name.starts_with("net.") => Some((Network, "network")),
        name if name.starts_with("user.") => Some((User, "user")),
        _ => None,
    }
}

/// Parts that are file names. A slash in a part stands for a dot.
fn is_sound(name: &str) -> bool {
    name.split('.')
        .all(|part| !part.is_empty() && !part.contains('\0') && part.chars().any(|c| c != '/'))
}
