//! What this host and this process are like: probed once, and only what the configuration depends on.

use std::path::{Path, PathBuf};

use oci_spec::runtime::{self, LinuxNamespaceType};

use crate::error::{Doing, Error, Kind, Result};
use crate::plan::{Facts, Rights};
use crate::spec::{annotations, landlock};
use crate::sys::{fs, ids, landlock as sys_landlock};

/// capabilities(7).
const CAP_SYS_ADMIN: u64 = 1 << 21;

/// The facts that a plan for `oci`, the configuration of `bundle`, depends on.
pub fn facts(oci: &runtime::Spec, bundle: &Path) -> Result<Facts> {
    let process = oci.process().as_ref();
    let labelled =
        |label: Option<&Option<String>>| label.is_some_and(|l| l.as_ref().is_some_and(|l| !l.is_empty()));
    let apparmor = labelled(process.map(|p| p.apparmor_profile()));
    let selinux = labelled(process.map(|p| p.selinux_label()))
        || labelled(oci.linux().as_ref().map(|linux| linux.mount_label()));
    let permitted = ids::capget().doing(|| "read our own capabilities".into())?.permitted;
    let nested = ids::in_user_namespace();
    Ok(Facts {
        rights: match (permitted & CAP_SYS_ADMIN != 0, nested) {
            (true, false) => Rights::Host,
            (true, true) => Rights::Namespace,
            (false, _) => Rights::User { uid: ids::euid(), gid: ids::egid() },
        },
        no_setgroups: nested && std::fs::read("/proc/self/setgroups").is_ok_and(|text| text == b"deny\n"),
        permitted,
        keyrings: ids::has_keyrings(),
        kcore: Path::new("/proc/kcore").exists(),
        apparmor: apparmor && has_apparmor(),
        selinux: selinux && has_selinux(),
        links: links(oci, bundle),
        landlock_abi: annotations::get(oci, landlock::KEY).map_or(0, |_| sys_landlock::abi()),
    })
}

/// The symlinks that mounts have for a source and are to make again.
fn links(oci: &runtime::Spec, bundle: &Path) -> Vec<(PathBuf, String)> {
    let copied = |mount: &&runtime::Mount| mount.options().iter().flatten().any(|o| o == "copy-symlink");
    let mounts = oci.mounts().iter().flatten().filter(copied);
    let read = |mount: &runtime::Mount| {
        let path = bundle.join(mount.source().as_ref()?);
        let text = std::fs::read_link(&path).ok()?; // what is no link is bound
        Some((path, text.to_string_lossy().into_owned()))
    };
    mounts.filter_map(read).collect()
}

pub fn has_apparmor() -> bool {
    let enabled = std::fs::read("/sys/module/apparmor/parameters/enabled");
    enabled.is_ok_and(|content| content.first() == Some(&b'Y'))
}

pub fn has_selinux() -> bool {
    Path::new("/sys/fs/selinux/enforce").exists()
}

/// Of a type of namespace: its file in /proc/PID/ns, and its limit in /proc/sys/user (namespaces(7)).
pub fn namespace_files(kind: LinuxNamespaceType) -> (&'static str, &'static str) {
    match kind {
        LinuxNamespaceType::Mount => ("mnt", "max_mnt_namespaces"),
        LinuxNamespaceType::Pid => ("pid", "max_pid_namespaces"),
        LinuxNamespaceType::Ipc => ("ipc", "max_ipc_namespaces"),
        LinuxNamespaceType::Uts => ("uts", "max_uts_namespaces"),
        LinuxNamespaceType::Network => ("net", "max_net_namespaces"),
        LinuxNamespaceType::User => ("user", "max_user_namespaces"),
        LinuxNamespaceType::Cgroup => ("cgroup", "max_cgroup_namespaces"),
        LinuxNamespaceType::Time => ("time", "max_time_namespaces"),
    }
}

/// How many fds from 3 on the caller passes for socket activation (sd_listen_fds(3)). Where LISTEN_PID names
/// another process, they were meant for that, and only the variables came down to us.
pub fn listen_fds() -> u32 {
    let number = |name| std::env::var(name).ok().and_then(|value| value.parse::<u32>().ok());
    match number("LISTEN_PID") {
        Some(pid) if pid != std::process::id() => 0,
        _ => number("LISTEN_FDS").unwrap_or(0),
    }
}

/// `--preserve-fds` promises fds that the caller must have opened: otherwise their numbers would be taken by
/// our own, and go to the container.
pub fn check_preserved(count: u32) -> Result<()> {
    // Ends at the first that is closed, so a number without sense costs nothing.
    for fd in (0..count).map(|n| n.saturating_add(3)) {
        if i32::try_from(fd).ok().and_then(fs::borrow).is_none() {
            let text = format!("--preserve-fds {count}: fd {fd} is not open");
            return Err(Error::new(Kind::Usage, text).hint("LISTEN_FDS counts too"));
        }
    }
    Ok(())
}
