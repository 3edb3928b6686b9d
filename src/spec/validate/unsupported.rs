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
