//! linux.intelRdt: which part of the cache and of the memory's bandwidth the container's processes may use
//! (config-linux.md, IntelRdt; the kernel's resctrl.rst).
//!
//! A group is a directory of resctrl: a process in its `tasks` is limited by its `schemata`, and so are the children
//! that it makes. A group for monitoring lies below it, in `mon_groups`.

pub mod stats;

use std::fs::{self, OpenOptions};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use oci_spec::runtime::LinuxIntelRdt;
use serde::{Deserialize, Serialize};

use crate::error::{Doing, Error, Kind, Result};
use crate::sys::{Call, Named, Pid, files};

/// Where a container's processes are in resctrl, and what of that is ours to remove.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Group {
    /// The class of service.
    pub path: PathBuf,
    /// We made its directory.
    pub made: bool,
    /// The container's own monitoring group.
    pub monitoring: Option<PathBuf>,
}

/// A group that no container is known to be in yet. Dropped, what of it is ours is removed.
#[derive(Debug)]
pub struct New {
    group: Group,
    kept: bool,
}

impl New {
    pub fn group(&self) -> &Group {
        &self.group
    }

    pub fn keep(mut self) {
        self.kept = true;
    }
}

impl Drop for New {
    fn drop(&mut self) {
        if !self.kept {
            let _ = leave(&self.group); // the reason for the failure is told, not this one
        }
    }
}

/// Finds or makes the group that is asked for, below `root`, and sets its limits.
pub fn make(wanted: &LinuxIntelRdt, id: &str, root: &Path) -> Result<New> {
    let lines = schemata(wanted);
    let named = wanted.clos_id().as_deref().filter(|id| !id.is_empty());
    let path = match named {
        Some("/") => root.to_path_buf(),
        named => root.join(named.unwrap_or(id)),
    };
    let mut new = New { group: Group { path, ..Group::default() }, kept: false };
    let group = &mut new.group;
    match fs::create_dir(&group.path) {
        Ok(()) => group.made = true,
        Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
        made => made
            .call(Call::Mkdir)
            .doing(|| format!("linux.intelRdt: make {}", group.path.display()))
            .map_err(|error| {
                error
                    .hint("every class of service of the CPU may be taken: see num_closids in resctrl's info")
            })?,
    }
    if let (Some(named), true, true) = (named, group.made, lines.is_empty()) {
        let text = format!("linux.intelRdt.closID: there is no class of service {named:?}");
        return Err(Error::new(Kind::InvalidSpec, text)
            .hint("without schemata it must be there already: make it, or say what it is"));
    }
    limit(group, &lines)?;
    if wanted.enable_monitoring().unwrap_or(false) {
        let path = group.path.join("mon_groups").join(id);
        fs::create_dir(&path)
            .call(Call::Mkdir)
            .doing(|| format!("linux.intelRdt.enableMonitoring: make {}", path.display()))?;
        group.monitoring = Some(path);
    }
    Ok(new)
}

/// The lines for `schemata`: the cache's, the memory's, and then those that are given as they are.
fn schemata(wanted: &LinuxIntelRdt) -> Vec<String> {
    let given = |schema: &Option<String>| schema.clone().filter(|schema| !schema.is_empty());
    let own = [given(wanted.l3_cache_schema()), given(wanted.mem_bw_schema())];
    let lines = wanted.schemata().iter().flatten().cloned();
    own.into_iter().flatten().chain(lines).collect()
}

/// Sets the group's limits. The kernel takes each line by itself.
pub fn limit(group: &Group, lines: &[String]) -> Result<()> {
    let file = group.path.join("schemata");
    for line in lines {
        write(&file, &format!("{line}\n")).map_err(|error| {
            error.context(format!("linux.intelRdt: {line:?}")).hint("resctrl's info/last_cmd_status says why")
        })?;
    }
    Ok(())
}

/// Puts a process in, and with it the children that it will have.
pub fn add(group: &Group, pid: Pid) -> Result<()> {
    for directory in [Some(&group.path), group.monitoring.as_ref()].into_iter().flatten() {
        write(&directory.join("tasks"), &pid.to_string())?;
    }
    Ok(())
}

/// Removes what is ours; it may be gone already.
pub fn leave(group: &Group) -> Result<()> {
    let made = group.made.then_some(&group.path);
    for directory in [group.monitoring.as_ref(), made].into_iter().flatten() {
        match fs::remove_dir(directory) {
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            removed => removed.call(Call::Rmdir).doing(|| format!("remove {}", directory.display()))?,
        }
    }
    Ok(())
}

fn write(file: &Path, text: &str) -> Result<()> {
    let doing = || format!("write {text:?} to {}", file.display());
    files::write_with(OpenOptions::new().write(true), file, text).doing(doing)
}

/// Where resctrl is mounted.
pub fn root() -> Result<PathBuf> {
    let file = "/proc/self/mountinfo";
    let mounts = files::read_to_string(file).doing(|| format!("read {file}"))?;
    find(&mounts).map(PathBuf::from).ok_or_else(|| {
        let text = "linux.intelRdt: no resctrl is mounted here";
        Error::new(Kind::Unsupported, text)
            .hint("mount -t resctrl resctrl /sys/fs/resctrl, on a CPU and a kernel that have it")
    })
}

/// The mount point, field 5, of the first line of mountinfo (proc_pid_mountinfo(5)) of type resctrl.
pub(crate) fn find(mounts: &str) -> Option<&str> {
    let line = mounts.lines().find(|line| line.contains(" - resctrl "))?;
    line.split(' ').nth(4)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    /// A directory that stands for resctrl: its files are there, as the kernel makes them with each directory.
    struct Fake(PathBuf);

    impl Fake {
        fn new(name: &str) -> Fake {
            let path = std::env::temp_dir().join(format!("rrunc-rdt-{name}-{}", std::process::id()));
            let fake = Fake(path);
            fake.group("");
            fake
        }

        fn group(&self, name: &str) -> PathBuf {
            let path = self.0.join(name);
            fs::create_dir_all(path.join("mon_groups")).unwrap();
            fs::write(path.join("schemata"), "").unwrap();
            fs::write(path.join("tasks"), "").unwrap();
            path
        }

        fn join(&self, wanted: Value) -> Result<Group> {
            let wanted: LinuxIntelRdt = serde_json::from_value(wanted).unwrap();
            let new = make(&wanted, "c1", &self.0)?;
            add(new.group(), Pid(42))?;
            let group = new.group().clone();
            new.keep();
            Ok(group)
        }
    }

    impl Drop for Fake {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0); // a leftover in /tmp is seen
        }
    }

    fn read(path: &Path, file: &str) -> String {
        fs::read_to_string(path.join(file)).unwrap()
    }

    #[test]
    fn a_class_that_is_there_is_joined_and_stays() {
        let fake = Fake::new("there");
        let path = fake.group("gold");
        let group = fake.join(json!({"closID": "gold", "l3CacheSchema": "L3:0=f"})).unwrap();
        assert_eq!((group.made, &group.monitoring), (false, &None));
        assert_eq!(read(&path, "tasks"), "42");
        assert_eq!(read(&path, "schemata"), "L3:0=f\n");
        leave(&group).unwrap();
        assert!(path.exists());
    }

    #[test]
    fn the_default_class_has_a_name() {
        let fake = Fake::new("default");
        let group = fake.join(json!({"closID": "/"})).unwrap();
        assert_eq!((&group.path, group.made), (&fake.0.join(""), false));
        assert_eq!(read(&fake.0, "tasks"), "42");
    }

    #[test]
    fn a_class_that_is_only_named_must_be_there() {
        let fake = Fake::new("named");
        let error = fake.join(json!({"closID": "none"})).unwrap_err().to_string();
        assert!(error.contains("there is no class of service \"none\""), "{error}");
        assert!(!fake.0.join("none").exists());
    }

    /// The kernel would have made the files of a new directory; here they are missing, and nothing is left.
    #[test]
    fn what_fails_is_undone() {
        let fake = Fake::new("fails");
        let error = fake.join(json!({"l3CacheSchema": "L3:0=f"})).unwrap_err().to_string();
        assert!(error.contains("L3:0=f") && error.contains("c1/schemata"), "{error}");
        assert!(!fake.0.join("c1").exists());
    }

    #[test]
    fn lines_come_in_order() {
        let wanted =
            json!({"l3CacheSchema": "L3:0=1", "memBwSchema": "MB:0=20", "schemata": ["L2:0=3", "MB:0=30"]});
        let wanted: LinuxIntelRdt = serde_json::from_value(wanted).unwrap();
        assert_eq!(schemata(&wanted), ["L3:0=1", "MB:0=20", "L2:0=3", "MB:0=30"]);
    }

    #[test]
    fn monitoring_has_a_group_of_its_own() {
        let fake = Fake::new("monitoring");
        let path = fake.group("gold");
        // The kernel would make the file with the directory.
        let error = fake.join(json!({"closID": "gold", "enableMonitoring": true})).unwrap_err();
        assert!(error.to_string().contains("mon_groups/c1/tasks"), "{error}");
        assert!(!path.join("mon_groups/c1").exists());
    }

    #[test]
    fn mounts() {
        let line = "40 25 0:33 / /sys/fs/resctrl rw,relatime - resctrl resctrl rw\n";
        assert_eq!(find(line), Some("/sys/fs/resctrl"));
        assert_eq!(find("40 25 0:33 / /x rw - tmpfs none rw\n"), None);
    }
}
