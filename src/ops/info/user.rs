//! Who we are, and what that allows.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use super::{Finding, first_line};
use crate::sys::ids;

const AREA: &str = "user";

pub fn look() -> Vec<Finding> {
    let uid = ids::euid().0;
    let mut found = vec![identity(uid), capabilities()];
    if uid != 0 {
        found.push(user_namespaces());
        found.push(id_range("subordinate uids", "/etc/subuid", uid));
        found.push(id_range("subordinate gids", "/etc/subgid", uid));
        found.extend(["newuidmap", "newgidmap"].map(helper));
        found.push(runtime_dir(std::env::var_os("XDG_RUNTIME_DIR").map(PathBuf::from)));
    }
    found.push(criu());
    found
}

fn identity(uid: u32) -> Finding {
    let map = first_line("/proc/self/uid_map");
    let whole = map.split_whitespace().eq(["0", "0", "4294967295"]);
    let place = if whole { "the host's own" } else { "in a user namespace" };
    match (uid, whole) {
        (0, true) => Finding::yes(AREA, "root", "uid 0, the host's own"),
        (0, false) => Finding::partly(
            AREA,
            "root",
            "uid 0 in a user namespace: no device nodes, no limits that weren't delegated",
            "",
        ),
        _ => Finding::partly(
            AREA,
            "root",
            format!("uid {uid}, {place}: containers need a user namespace (rrunc spec --rootless)"),
            "",
        ),
    }
}

/// All that the kernel knows, held against what we may give.
fn capabilities() -> Finding {
    const NAME: &str = "capabilities";
    let last: u32 = first_line("/proc/sys/kernel/cap_last_cap").parse().unwrap_or(40);
    let ours = ids::capget().map_or(0, |sets| sets.permitted);
    let mut known: Vec<_> = caps::all().into_iter().filter(|cap| u32::from(cap.index()) <= last).collect();
    known.sort_by_key(caps::Capability::index);
    let (have, lack): (Vec<_>, Vec<_>) = known.into_iter().partition(|cap| ours & (1 << cap.index()) != 0);
    let names =
        |caps: &[caps::Capability]| caps.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ");
    match (have.is_empty(), lack.is_empty()) {
        (_, true) => Finding::yes(AREA, NAME, "all"),
        (true, _) => Finding::partly(AREA, NAME, "none outside a user namespace", ""),
        _ => Finding::partly(
            AREA,
            NAME,
            format!("all but {}: containers can't have them either", names(&lack)),
            "give them to rrunc's caller",
        ),
    }
}

/// Distributions that forbid them to ordinary users each have a switch of their own.
fn user_namespaces() -> Finding {
    const NAME: &str = "new user namespaces";
    for (file, forbids, cure) in [
        ("/proc/sys/kernel/unprivileged_userns_clone", "0", "sysctl kernel.unprivileged_userns_clone=1"),
        (
            "/proc/sys/kernel/apparmor_restrict_unprivileged_userns",
            "1",
            "an AppArmor profile for rrunc with userns, or sysctl kernel.apparmor_restrict_unprivileged_userns=0",
        ),
        ("/proc/sys/user/max_user_namespaces", "0", "sysctl user.max_user_namespaces=10000"),
    ] {
        if first_line(file) == forbids {
            return Finding::no(AREA, NAME, format!("{file} is {forbids}"), cure);
        }
    }
    Finding::yes(AREA, NAME, "may be made by ordinary users")
}

/// subuid(5): lines of NAME-OR-UID:FIRST:COUNT.
fn id_range(name: &str, file: &str, uid: u32) -> Finding {
    let content = std::fs::read_to_string(file).unwrap_or_default();
    let user = user_name(uid);
    let ranges: Vec<_> = content
        .lines()
        .filter_map(|line| line.split_once(':'))
        .filter(|(who, _)| *who == uid.to_string() || Some(*who) == user.as_deref())
        .map(|(_, range)| range.replace(':', " + "))
        .collect();
    match ranges.is_empty() {
        false => Finding::yes(AREA, name, ranges.join(", ")),
        true => Finding::no(
            AREA,
            name,
            format!("{file} has none for uid {uid}: only the user's own id can be mapped"),
            &format!(
                "usermod --add-subuids 100000-165535 --add-subgids 100000-165535 {}",
                user.unwrap_or_default()
            ),
        ),
    }
}

fn user_name(uid: u32) -> Option<String> {
    let content = std::fs::read_to_string("/etc/passwd").unwrap_or_default();
    let mut users = content.lines().map(|line| line.split(':'));
    users.find_map(|mut fields| {
        let name = fields.next()?;
        (fields.nth(1)? == uid.to_string()).then(|| name.to_string())
    })
}

/// A program that must be setuid or have a capability to be of use; which of the two isn't asked.
fn helper(name: &'static str) -> Finding {
    match in_path(name) {
        Some(path) => Finding::yes(AREA, name, path.display().to_string()),
        None => Finding::no(
            AREA,
            name,
            "not in $PATH: only the user's own id can be mapped",
            "apt install uidmap, or the distribution's package of the shadow tools",
        ),
    }
}

fn runtime_dir(dir: Option<PathBuf>) -> Finding {
    const NAME: &str = "XDG_RUNTIME_DIR";
    match dir {
        Some(dir) if dir.is_dir() => Finding::yes(AREA, NAME, dir.display().to_string()),
        _ => Finding::no(
            AREA,
            NAME,
            "not set to a directory: there is no place to remember containers",
            "log in through PAM (or loginctl enable-linger), or give --root a directory of your own",
        ),
    }
}

fn criu() -> Finding {
    const NAME: &str = "criu";
    match in_path(NAME) {
        Some(path) => Finding::yes(AREA, NAME, path.display().to_string()),
        None => Finding::no(AREA, NAME, "not in $PATH: no checkpoint and restore", "install criu"),
    }
}

fn in_path(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    let executable = |file: &Path| {
        file.metadata().is_ok_and(|found| found.is_file() && found.permissions().mode() & 0o111 != 0)
    };
    std::env::split_paths(&path).map(|dir| dir.join(name)).find(|file| executable(file))
}
