//! The kernel: its version, namespaces, security modules.

use std::path::Path;

use oci_spec::runtime::LinuxNamespaceType as Namespace;

use super::{Finding, first_line};
use crate::host;
use crate::plan::seccomp;
use crate::spec::landlock::KEY;
use crate::sys::landlock::abi as landlock_abi;
use crate::sys::security;

const AREA: &str = "kernel";

/// The oldest kernel that has all calls that a start takes.
const OLDEST: (u32, u32) = (5, 14);

pub fn look() -> Vec<Finding> {
    let mut found = vec![linux(&first_line("/proc/sys/kernel/osrelease"))];
    for (name, kind) in [
        ("mount namespaces", Namespace::Mount),
        ("pid namespaces", Namespace::Pid),
        ("ipc namespaces", Namespace::Ipc),
        ("uts namespaces", Namespace::Uts),
        ("network namespaces", Namespace::Network),
        ("user namespaces", Namespace::User),
        ("cgroup namespaces", Namespace::Cgroup),
        ("time namespaces", Namespace::Time),
    ] {
        found.push(namespaces(name, kind));
    }
    found.extend([seccomp(), notify(), apparmor(), selinux(), landlock(landlock_abi()), resctrl()]);
    found
}

fn linux(release: &str) -> Finding {
    let detail = format!("{release}, {}", std::env::consts::ARCH);
    let mut numbers = release.split(['.', '-']).map_while(|part| part.parse::<u32>().ok());
    match (numbers.next(), numbers.next()) {
        (Some(major), Some(minor)) if (major, minor) < OLDEST => {
            let (major, minor) = OLDEST;
            let detail =
                format!("{detail}: older than {major}.{minor}, so calls that a start takes are missing");
            Finding::no(AREA, "Linux", detail, "a newer kernel")
        }
        _ => Finding::yes(AREA, "Linux", detail),
    }
}

fn namespaces(name: &str, kind: Namespace) -> Finding {
    let (file, limit) = host::namespace_files(kind);
    let limit_file = format!("/proc/sys/user/{limit}");
    if !Path::new("/proc/self/ns").join(file).exists() {
        let detail = "not built into this kernel";
        return Finding::no(AREA, name, detail, "a kernel with all of CONFIG_NAMESPACES");
    }
    match first_line(&limit_file).as_str() {
        "0" => {
            let cure = format!("echo 10000 > {limit_file}");
            Finding::no(AREA, name, format!("{limit_file} is 0"), &cure)
        }
        limit => Finding::yes(AREA, name, format!("up to {limit}")),
    }
}

fn seccomp() -> Finding {
    const NAME: &str = "seccomp";
    let actions = first_line("/proc/sys/kernel/seccomp/actions_avail");
    match actions.is_empty() {
        true => Finding::no(AREA, NAME, "not built into this kernel", "a kernel with CONFIG_SECCOMP_FILTER"),
        false => Finding::yes(AREA, NAME, actions),
    }
}

fn notify() -> Finding {
    const NAME: &str = "seccomp listeners";
    let flag = "SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV";
    match seccomp::flag(flag).is_some_and(security::seccomp_knows) {
        true => Finding::yes(AREA, NAME, "SCMP_ACT_NOTIFY, with waits that a signal can't break"),
        false => Finding::partly(
            AREA,
            NAME,
            "SCMP_ACT_NOTIFY, but any signal breaks a wait for the listener",
            &format!("Linux 5.19 or newer, for {flag}"),
        ),
    }
}

fn apparmor() -> Finding {
    const NAME: &str = "AppArmor";
    match host::has_apparmor() {
        true => Finding::yes(AREA, NAME, "process.apparmorProfile is applied"),
        false => Finding::no(
            AREA,
            NAME,
            "not active: a container with process.apparmorProfile can't be made",
            "boot with apparmor=1 security=apparmor, where the kernel has it",
        ),
    }
}

fn selinux() -> Finding {
    const NAME: &str = "SELinux";
    match host::has_selinux() {
        true => Finding::yes(AREA, NAME, "process.selinuxLabel and linux.mountLabel are applied"),
        false => Finding::no(
            AREA,
            NAME,
            "not active: labels can't be applied",
            "boot with selinux=1 security=selinux, where the kernel and the distribution have it",
        ),
    }
}

/// landlock(7), "VERSIONS": rules for ports came with ABI 4, scopes with 6.
fn landlock(abi: i32) -> Finding {
    const NAME: &str = "Landlock";
    let partly = |lacks: &str| {
        let detail = format!("ABI {abi}: the annotation {KEY} is applied, but for {lacks}");
        Finding::partly(AREA, NAME, detail, "a newer kernel")
    };
    match abi {
        ..1 => Finding::no(
            AREA,
            NAME,
            format!("not active: a container with the annotation {KEY} can't be made"),
            "boot with landlock in the list lsm=, where the kernel has CONFIG_SECURITY_LANDLOCK",
        ),
        1..4 => partly("ports and scopes"),
        4..6 => partly("scopes"),
        _ => Finding::yes(AREA, NAME, format!("ABI {abi}: the annotation {KEY} is applied")),
    }
}

fn resctrl() -> Finding {
    const NAME: &str = "resctrl";
    let mounts = std::fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    if mounts.contains(" - resctrl ") {
        return Finding::yes(AREA, NAME, "linux.intelRdt is applied");
    }
    let known = std::fs::read_to_string("/proc/filesystems").unwrap_or_default();
    match known.lines().any(|line| line.ends_with("\tresctrl")) {
        true => Finding::no(
            AREA,
            NAME,
            "not mounted, so linux.intelRdt can't be applied",
            "mount -t resctrl resctrl /sys/fs/resctrl",
        ),
        false => {
            Finding::no(AREA, NAME, "this CPU or kernel has none, so linux.intelRdt can't be applied", "")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::State;
    use super::*;

    #[test]
    fn what_landlock_lacks() {
        for (abi, state, text) in [
            (0, State::No, "not active"),
            (3, State::Partly, "but for ports and scopes"),
            (5, State::Partly, "but for scopes"),
            (6, State::Yes, "ABI 6"),
        ] {
            let finding = landlock(abi);
            assert_eq!(finding.state, state, "{abi}");
            assert!(finding.detail.contains(text), "{finding:?}");
        }
    }

    #[test]
    fn old_kernels() {
        for (release, state) in [
            ("5.13.19-generic", State::No),
            ("4.19.0", State::No),
            ("5.14.0-427.el9.x86_64", State::Yes),
            ("6.1", State::Yes),
            ("strange", State::Yes),
        ] {
            assert_eq!(linux(release).state, state, "{release}");
        }
    }
}
