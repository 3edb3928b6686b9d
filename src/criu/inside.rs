//! Whether what criu has restored is inside of what config.json says: in which namespaces a process is, an image says, and
//! one that says nothing of a kind has it in criu's own, the host's.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::MetadataExt;

use oci_spec::runtime::LinuxNamespaceType;

use crate::error::{Doing, Error, Kind, Result};
use crate::spec::Spec;
use crate::sys::{Call, Named, Pid};

/// That neither the first process nor any that comes of it is in a namespace of ours where the configuration has another.
/// To be asked before any of them runs.
pub fn check(spec: &Spec, init: Pid) -> Result<()> {
    let linux = spec.oci.linux().as_ref();
    let processes = family(init)?;
    for namespace in linux.and_then(|linux| linux.namespaces().as_ref()).into_iter().flatten() {
        let kind = file(namespace.typ());
        let own = inode(&format!("/proc/self/ns/{kind}"))?;
        let path = namespace.path().as_ref().filter(|path| !path.as_os_str().is_empty());
        if path.map(|path| inode(&path.to_string_lossy())).transpose()? == Some(own) {
            continue;
        }
        for pid in &processes {
            if inode(&format!("/proc/{pid}/ns/{kind}"))? == own {
                let text = format!(
                    "config.json: linux.namespaces: the checkpoint has a process in the host's {kind} namespace, and not in \
                     one of the container's"
                );
                return Err(
                    Error::new(Kind::InvalidSpec, text).hint("restore with the namespaces that it had")
                );
            }
        }
    }
    Ok(())
}

fn inode(path: &str) -> Result<u64> {
    Ok(fs::metadata(path).call(Call::Stat).doing(|| format!("open {path}"))?.ino())
}

/// The name in /proc/PID/ns.
fn file(typ: LinuxNamespaceType) -> &'static str {
    match typ {
        LinuxNamespaceType::Mount => "mnt",
        LinuxNamespaceType::Cgroup => "cgroup",
        LinuxNamespaceType::Uts => "uts",
        LinuxNamespaceType::Ipc => "ipc",
        LinuxNamespaceType::User => "user",
        LinuxNamespaceType::Pid => "pid",
        LinuxNamespaceType::Network => "net",
        LinuxNamespaceType::Time => "time",
    }
}

/// A process and all that descend from it.
fn family(first: Pid) -> Result<Vec<Pid>> {
    let mut children: BTreeMap<i32, Vec<i32>> = BTreeMap::new();
    for entry in fs::read_dir("/proc").call(Call::Open).doing(|| "read /proc".into())? {
        let name = entry.call(Call::Getdents).doing(|| "read /proc".into())?.file_name();
        let Some(pid) = name.to_str().and_then(|name| name.parse().ok()) else { continue };
        // Of the others some may end meanwhile; ours stand still.
        let stat = fs::read(format!("/proc/{pid}/stat")).unwrap_or_default();
        if let Some(parent) = parent(&String::from_utf8_lossy(&stat)) {
            children.entry(parent).or_default().push(pid);
        }
    }
    let mut found = vec![first];
    let mut next = 0;
    while let Some(pid) = found.get(next) {
        let of = children.remove(&pid.0).unwrap_or_default();
        found.extend(of.into_iter().map(Pid));
        next += 1;
    }
    Ok(found)
}

/// `7 (a name) S 1 …` (proc_pid_stat(5)); the name may be anything.
fn parent(stat: &str) -> Option<i32> {
    stat.rsplit_once(") ")?.1.split(' ').nth(1)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::spec;

    #[test]
    fn parents() {
        assert_eq!(parent("7 (a) S 1 ) R 3 4"), Some(3));
        assert_eq!(parent("7 (sh) S 12 7 7"), Some(12));
        assert_eq!(parent(""), None);
    }

    #[test]
    fn a_process_of_ours_is_not_inside() {
        let own = Pid(std::process::id() as i32);
        let mut child = std::process::Command::new("sleep").arg("60").spawn().unwrap();
        let found = family(own).unwrap();
        let ended = child.kill().and_then(|()| child.wait());
        assert!(found.contains(&Pid(child.id() as i32)), "{found:?}");
        ended.unwrap();

        let outcome = |namespaces: serde_json::Value| {
            let config = json!({
                "ociVersion": "1.3.0",
                "process": {"cwd": "/", "args": ["true"], "user": {"uid": 0, "gid": 0}},
                "root": {"path": "rootfs"},
                "linux": {"namespaces": namespaces},
            });
            let spec = spec::parse(config.to_string().as_bytes()).unwrap();
            check(&spec, own).map_err(|error| error.to_string())
        };
        outcome(json!([])).unwrap();
        outcome(json!([{"type": "ipc", "path": "/proc/self/ns/ipc"}])).unwrap();
        for (typ, kind) in [("uts", "uts"), ("network", "net"), ("mount", "mnt"), ("pid", "pid")] {
            let text = outcome(json!([{ "type": typ }])).unwrap_err();
            assert!(text.contains(&format!("in the host's {kind} namespace")), "{text}");
        }
    }
}
