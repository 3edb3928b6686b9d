//! Annotations that change what rrunc does: the one place that knows them all. Engines pass on what users wrote, so each
//! may be a way to more than the engine meant to give (features.md, Unsafe annotations in config.json).

use oci_spec::runtime::Spec;

/// The configuration file that criu reads in place of rrunc's.
pub const CRIU_CONFIG: &str = "org.criu.config";
/// Files that hooks' outputs are appended to.
pub const HOOKS_STDOUT: &str = "run.oci.hooks.stdout";
pub const HOOKS_STDERR: &str = "run.oci.hooks.stderr";
/// "1": the program keeps the supplementary groups of the runtime.
pub const KEEP_ORIGINAL_GROUPS: &str = "run.oci.keep_original_groups";
/// As which option of a mount linux.mountLabel is given (mount(8), context=).
pub const MOUNT_CONTEXT_TYPE: &str = "run.oci.mount_context_type";
/// As --pidfd-socket.
pub const PIDFD_RECEIVER: &str = "run.oci.pidfd_receiver";
/// "1": a system call that libseccomp doesn't know is an error.
pub const SECCOMP_FAIL_UNKNOWN: &str = "run.oci.seccomp_fail_unknown_syscall";
/// As linux.seccomp.listenerPath, which goes before it.
pub const SECCOMP_RECEIVER: &str = "run.oci.seccomp.receiver";
/// What comes after it is a property of the scope that systemd makes (systemd.unit(5), systemd.resource-control(5)).
pub const SYSTEMD_PROPERTY: &str = "org.systemd.property.";
/// A cgroup below that scope for the container's processes, so that the scope itself stays systemd's alone.
pub const SYSTEMD_SUBGROUP: &str = "run.oci.systemd.subgroup";

/// All that we act upon or refuse, for `features`. One that ends in a dot stands for all that begin so.
pub const POTENTIALLY_UNSAFE: [&str; 15] = [
    CRIU_CONFIG,
    super::landlock::KEY,
    SYSTEMD_PROPERTY,
    "run.oci.delegate-cgroup",
    "run.oci.handler",
    HOOKS_STDERR,
    HOOKS_STDOUT,
    KEEP_ORIGINAL_GROUPS,
    MOUNT_CONTEXT_TYPE,
    PIDFD_RECEIVER,
    "run.oci.seccomp.plugins",
    SECCOMP_RECEIVER,
    "run.oci.seccomp_bpf_data",
    SECCOMP_FAIL_UNKNOWN,
    SYSTEMD_SUBGROUP,
];

/// What another runtime does for these can't be left out without harm, and rrunc doesn't do it.
pub const REFUSED: [(&str, &str); 4] = [
    (
        "run.oci.delegate-cgroup",
        "is not supported: rrunc makes no cgroup below the one with the limits, which the program could then lift",
    ),
    (
        "run.oci.handler",
        "is not supported: rrunc has no handlers, and would run the program as an ordinary one",
    ),
    (
        "run.oci.seccomp.plugins",
        "is not supported: rrunc loads no plugins; an agent of its own at linux.seccomp.listenerPath can do the same",
    ),
    ("run.oci.seccomp_bpf_data", "is not supported: rrunc takes filters from linux.seccomp only"),
];

/// The options of mount(8) that take a label.
pub const CONTEXT_TYPES: [&str; 4] = ["context", "defcontext", "fscontext", "rootcontext"];

/// The value of an annotation, if it is set and not empty.
pub fn get<'a>(oci: &'a Spec, key: &str) -> Option<&'a str> {
    let value = oci.annotations().as_ref()?.get(key)?;
    Some(value.as_str()).filter(|value| !value.is_empty())
}

/// Whether an annotation that is "1" or "0" is "1".
pub fn is_set(oci: &Spec, key: &str) -> bool {
    get(oci, key) == Some("1")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_refused_is_known() {
        assert!(POTENTIALLY_UNSAFE.is_sorted());
        for (key, _) in REFUSED {
            assert!(POTENTIALLY_UNSAFE.contains(&key), "{key}");
        }
    }
}
