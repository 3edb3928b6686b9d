//! Names of sysctls, which are written with dots or with slashes (sysctl.d(5)), and whose they are.

use oci_spec::runtime::LinuxNamespaceType;

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

/// The name with dots between its parts; a dot within a part (of a network device) is then a slash. Whichever
/// comes first in the name is what separates its parts.
pub fn dotted(key: &str) -> String {
    match key.find(['.', '/']) {
        Some(first) if key.as_bytes()[first] == b'/' => swapped(key),
        _ => key.into(),
    }
}

/// The file of the sysctl, below /proc/sys.
pub fn path(key: &str) -> String {
    swapped(&dotted(key))
}

/// The namespace that has this sysctl, by its dotted name.
pub fn owner(name: &str) -> Option<(LinuxNamespaceType, &'static str)> {
    use LinuxNamespaceType::{Ipc, Network, User, Uts};
    match name {
        "kernel.hostname" | "kernel.domainname" => Some((Uts, "uts")),
        name if OF_IPC.contains(&name) || name.starts_with("fs.mqueue.") => Some((Ipc, "ipc")),
        name if name.starts_with("net.") => Some((Network, "network")),
        name if name.starts_with("user.") => Some((User, "user")),
        _ => None,
    }
}

fn swapped(key: &str) -> String {
    let swap = |c| match c {
        '.' => '/',
        '/' => '.',
        c => c,
    };
    key.chars().map(swap).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(key: &str, expected_name: &str, expected_path: &str) {
        assert_eq!(dotted(key), expected_name, "{key}");
        assert_eq!(path(key), expected_path, "{key}");
    }

    #[test]
    fn the_first_separator_decides() {
        check("kernel.sem", "kernel.sem", "kernel/sem");
        check("kernel/sem", "kernel.sem", "kernel/sem");
        check(
            "net.ipv4.conf.eno2/100.rp_filter",
            "net.ipv4.conf.eno2/100.rp_filter",
            "net/ipv4/conf/eno2.100/rp_filter",
        );
        check(
            "net/ipv4/conf/eno2.100/rp_filter",
            "net.ipv4.conf.eno2/100.rp_filter",
            "net/ipv4/conf/eno2.100/rp_filter",
        );
        check("", "", "");
    }
}
