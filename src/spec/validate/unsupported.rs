//! What the spec has and rrunc doesn't yet. It is refused by name: a container that silently lacks what was
//! asked for is worse than none. `process.execCPUAffinity` is not here: it is for `exec`, which reads it.

use oci_spec::runtime::LinuxSeccompAction::ScmpActNotify;

use super::Rules;

const YET: &str = "is not supported yet";

pub fn unsupported(rules: &mut Rules) {
    let Some(linux) = rules.oci.linux() else { return };
    let net_devices = linux.net_devices().as_ref();
    for (path, given) in [
        (
            "linux.netDevices",
            net_devices.is_some_and(|devices| !devices.is_empty()),
        ),
        ("linux.memoryPolicy", linux.memory_policy().is_some()),
        ("linux.intelRdt", linux.intel_rdt().is_some()),
    ] {
        if given {
            rules.fault(path, YET);
        }
    }
    let Some(seccomp) = linux.seccomp() else { return };
    let listener = seccomp.listener_path().as_ref();
    if listener.is_some_and(|path| !path.as_os_str().is_empty()) {
        rules.fault("linux.seccomp.listenerPath", YET);
    }
    if seccomp.default_action() == ScmpActNotify {
        rules.fault("linux.seccomp.defaultAction", format!("SCMP_ACT_NOTIFY {YET}"));
    }
    for (i, syscall) in seccomp.syscalls().iter().flatten().enumerate() {
        if syscall.action() == ScmpActNotify {
            rules.fault(
                format!("linux.seccomp.syscalls[{i}].action"),
                format!("SCMP_ACT_NOTIFY {YET}"),
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use crate::spec::validate::tests::{bad, good};

    #[test]
    fn not_supported_yet() {
        let yet = "not supported yet";
        good("/process/execCPUAffinity", json!({"initial": "0", "final": "1"})); // for exec
        bad("/linux/netDevices", json!({"eth0": {}}), "linux.netDevices", yet);
        good("/linux/netDevices", json!({}));
        bad(
            "/linux/memoryPolicy",
            json!({"mode": "MPOL_LOCAL"}),
            "linux.memoryPolicy",
            yet,
        );
        bad("/linux/intelRdt", json!({}), "linux.intelRdt", yet);
        let seccomp = |default: &str, action: &str, path: &str| json!({"defaultAction": default, "listenerPath": path, "syscalls": [{"names": ["a"], "action": action}]});
        let (allow, notify) = ("SCMP_ACT_ALLOW", "SCMP_ACT_NOTIFY");
        good("/linux/seccomp", seccomp(allow, allow, ""));
        bad(
            "/linux/seccomp",
            seccomp(notify, allow, ""),
            "linux.seccomp.defaultAction",
            yet,
        );
        bad(
            "/linux/seccomp",
            seccomp(allow, notify, ""),
            "linux.seccomp.syscalls[0].action",
            yet,
        );
        bad(
            "/linux/seccomp",
            seccomp(allow, allow, "/a"),
            "linux.seccomp.listenerPath",
            yet,
        );
    }
}
