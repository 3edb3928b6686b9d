//! What is outside of a container and its processes use all the same: mounts of the host, namespaces that were joined,
//! pipes of the caller, the cgroup. How criu is told to leave it alone, and at a restore what to take for it.

use std::fs::{self, File};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use oci_spec::runtime::LinuxNamespaceType;

use super::images::Table;
use super::rpc::{CgroupRoot, InheritFd, JoinNamespace, Options as Told};
use crate::error::{Doing, Error, Kind, Result};
use crate::plan::criu::{External, NULL};
use crate::spec::Spec;
use crate::sys::{Call, Named, Pid, files};

/// The name by which a namespace that the container has joined is found again: criu's name of its kind, ours, and the
/// kind. Of the others criu saves what is in them.
const JOINED: [(&str, &str, LinuxNamespaceType); 2] =
    [("net", "joined-net", LinuxNamespaceType::Network), ("pid", "joined-pid", LinuxNamespaceType::Pid)];

/// What criu is to know by our name of it. The inode is the one that the first process is in.
pub fn joined(spec: &Spec, pid: Pid) -> Result<Vec<String>> {
    let mut told = vec![];
    for (kind, key, typ) in JOINED {
        if path_of(spec, typ).is_some() {
            let path = format!("/proc/{pid}/ns/{kind}");
            let inode = fs::metadata(&path).call(Call::Stat).doing(|| format!("open {path}"))?.ino();
            told.push(format!("{kind}[{inode}]:{key}"));
        }
    }
    Ok(told)
}

/// The path of a namespace that is joined.
fn path_of(spec: &Spec, typ: LinuxNamespaceType) -> Option<&Path> {
    let linux = spec.oci.linux().as_ref()?;
    let mut namespaces = linux.namespaces().iter().flatten();
    let namespace = namespaces.find(|namespace| namespace.typ() == typ)?;
    namespace.path().as_deref().filter(|path| !path.as_os_str().is_empty())
}

/// For each mount of the image its key there, and its key in the plan of this config.json: the entries are matched by
/// their destinations, for their numbers may have changed. The table says no more than which they are: its keys are such
/// as we give, and no two of them mean one entry ([`Table`] is read so).
pub fn sources<'a>(table: &'a Table, externals: &'a [External]) -> Result<Vec<(&'a str, &'a str)>> {
    let mut found = vec![];
    for (known, destination) in &table.mounts {
        let same =
            |external: &&External| external.key != NULL && external.destination.to_string() == *destination;
        let Some(external) = externals.iter().rev().find(same) else {
            let text = format!(
                "config.json: mounts: the checkpoint has a mount of the host on {destination}, and there is none here"
            );
            return Err(
                Error::new(Kind::InvalidSpec, text).hint("restore with the mounts that the container had")
            );
        };
        found.push((known.as_str(), external.key.as_str()));
    }
    if table.masked && !masks(externals) {
        let text = "config.json: linux.maskedPaths: the checkpoint has masked files, and there are none here";
        return Err(Error::new(Kind::InvalidSpec, text).hint("restore with what the container had masked"));
    }
    Ok(found)
}

/// Whether the host's /dev/null covers something.
pub fn masks(externals: &[External]) -> bool {
    externals.iter().any(|external| external.key == NULL)
}

/// Where criu finds them: in `directory`, by the keys of this plan.
pub fn told(directory: &Path, mounts: &[(&str, &str)], masked: bool) -> Vec<String> {
    let null = masked.then_some((NULL, NULL));
    let mounts = mounts.iter().copied().chain(null);
    mounts.map(|(known, key)| format!("mnt[{known}]:{}", directory.join(key).display())).collect()
}

/// Pipes that were the standard streams are replaced by ours.
pub fn streams(table: &Table) -> Vec<InheritFd> {
    let streams = table.streams.iter().zip(0..3);
    let pipes = streams.filter(|(stream, _)| stream.starts_with("pipe:["));
    pipes.map(|(stream, fd)| InheritFd { key: stream.clone(), fd }).collect()
}

/// Namespaces that criu finds by our name of them, as fds.
pub fn join(spec: &Spec, inherited: &mut Vec<OwnedFd>, told: &mut Told) -> Result<()> {
    for (_, key, typ) in JOINED {
        if let Some(path) = path_of(spec, typ) {
            let doing = || format!("linux.namespaces: open {}", path.display());
            let fd = OwnedFd::from(File::open(path).call(Call::Openat).doing(doing)?);
            let (key, number) = (key.to_string(), fd.as_raw_fd());
            told.inherit_fd.push(InheritFd { key, fd: number });
            inherited.push(fd);
        }
    }
    Ok(())
}

/// The others, which criu opens itself.
pub fn joined_by_path(spec: &Spec) -> Vec<JoinNamespace> {
    use oci_spec::runtime::LinuxNamespaceType::{Ipc, Time, User, Uts};
    let kinds = [("ipc", Ipc), ("uts", Uts), ("user", User), ("time", Time)];
    let joined = kinds.into_iter().filter_map(|(kind, typ)| {
        Some(JoinNamespace { kind: kind.into(), file: path_of(spec, typ)?.to_string_lossy().into_owned() })
    });
    joined.collect()
}

/// Where criu is itself, as the container's cgroup in each hierarchy (cgroups(7), /proc/PID/cgroup).
pub fn cgroup_roots(criu: Pid) -> Result<Vec<CgroupRoot>> {
    let path = format!("/proc/{criu}/cgroup");
    let text = files::read_to_string(&path).doing(|| format!("read {path}"))?;
    Ok(text.lines().flat_map(roots).collect())
}

pub(crate) fn roots(line: &str) -> Vec<CgroupRoot> {
    let mut parts = line.splitn(3, ':').skip(1);
    let (Some(controllers), Some(path)) = (parts.next(), parts.next()) else {
        return vec![];
    };
    let root = |controller: &str| CgroupRoot { controller: Some(controller.into()), path: path.into() };
    controllers.split(',').map(root).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::step::InRoot;

    #[test]
    fn mounts_are_matched_by_destination() {
        let external = |key: &str, path: &str| External {
            key: key.into(),
            destination: InRoot::new(path).unwrap(),
            attributes: 0,
            field: "mounts[0]".into(),
        };
        let externals = [external("mount-5", "/a"), external(NULL, "/b"), external("mount-7", "/c")];
        let table = |mounts: &[(&str, &str)]| Table {
            mounts: mounts.iter().map(|(k, d)| (k.to_string(), d.to_string())).collect(),
            ..Table::default()
        };
        let known = table(&[("mount-1", "/c"), ("mount-2", "/a")]);
        let found = sources(&known, &externals).unwrap();
        assert_eq!(found, [("mount-1", "mount-7"), ("mount-2", "mount-5")]);
        for missing in ["/b", "/x"] {
            let error = sources(&table(&[("mount-1", missing)]), &externals).unwrap_err().to_string();
            assert!(error.contains(&format!("a mount of the host on {missing}")), "{error}");
        }
    }

    #[test]
    fn what_was_masked_is_masked() {
        let external = External {
            key: NULL.into(),
            destination: InRoot::new("/proc/keys").unwrap(),
            attributes: 0,
            field: "linux.maskedPaths".into(),
        };
        let table = Table { masked: true, ..Table::default() };
        assert!(sources(&table, &[]).unwrap_err().to_string().contains("linux.maskedPaths"));
        assert_eq!(sources(&table, std::slice::from_ref(&external)).unwrap(), []);
        assert_eq!(told(Path::new("/run/rrunc"), &[], masks(&[external])), ["mnt[null]:/run/rrunc/null"]);
    }

    #[test]
    fn only_pipes_are_replaced() {
        let table = Table {
            streams: ["/dev/null", "pipe:[12]", "socket:[13]"].map(String::from).into(),
            ..Table::default()
        };
        let expected = InheritFd { key: "pipe:[12]".into(), fd: 1 };
        assert_eq!(streams(&table), [expected]);
    }

    #[test]
    fn a_root_per_controller() {
        let check = |line: &str, expected: &[(&str, &str)]| {
            let found = roots(line);
            let shown: Vec<_> = found.iter().map(|r| (r.controller(), r.path.as_str())).collect();
            assert_eq!(shown, expected, "{line}");
        };
        check("0::/a:b", &[("", "/a:b")]);
        check("7:cpu,cpuacct:/x", &[("cpu", "/x"), ("cpuacct", "/x")]);
        check("1:name=systemd:/", &[("name=systemd", "/")]);
        check("", &[]);
    }
}
