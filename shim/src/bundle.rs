//! What a shim reads and writes in a container's bundle: the few things of config.json that concern it, and
//! small files for `delete`, which another process runs.

use std::collections::HashMap;
use std::fs::{self, File, OpenOptions};
use std::io::{ErrorKind, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use serde::Deserialize;

use crate::refusal::{Doing, Refusal};

pub const CONFIG: &str = "config.json";
pub const ROOTFS: &str = "rootfs";
/// Where the shim listens.
pub const ADDRESS: &str = "address";
/// [`crate::options::Options`] as JSON.
pub const OPTIONS: &str = "options.json";
/// The runtime's program.
pub const RUNTIME: &str = "runtime";
pub const INIT_PID: &str = "init.pid";

/// As much of config.json as a shim needs.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct Config {
    annotations: Option<HashMap<String, String>>,
    linux: Option<Linux>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Linux {
    namespaces: Option<Vec<Namespace>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Namespace {
    r#type: String,
    path: String,
}

impl Config {
    pub fn read(bundle: &Path) -> Result<Config, Refusal> {
        let path = bundle.join(CONFIG);
        let text = fs::read(&path).doing(|| format!("read {}", path.display()))?;
        serde_json::from_slice(&text).doing(|| format!("{}", path.display()))
    }

    /// Containers with the same one share a shim.
    pub fn group<'c>(&'c self, id: &'c str) -> &'c str {
        ["io.containerd.runc.v2.group", "io.kubernetes.cri.sandbox-id"]
            .iter()
            .find_map(|name| self.annotations.as_ref()?.get(*name))
            .filter(|group| !group.is_empty())
            .map_or(id, String::as_str)
    }

    /// Whether its processes outlive its init, since the pid namespace isn't its own.
    pub fn shares_pids(&self) -> bool {
        let own = |namespace: &&Namespace| namespace.r#type == "pid" && namespace.path.is_empty();
        let namespaces = self.linux.iter().filter_map(|linux| linux.namespaces.as_ref());
        !namespaces.flatten().any(|namespace| own(&namespace))
    }
}

/// Writes a small file so that whoever reads it reads all of it or the one before. Mode 0600.
pub fn write(bundle: &Path, name: &str, content: &[u8]) -> Result<(), Refusal> {
    let path = bundle.join(name);
    let temporary = bundle.join(format!(".{name}"));
    let write = || -> std::io::Result<()> {
        let mut options = OpenOptions::new();
        let mut file: File = options.write(true).create(true).truncate(true).mode(0o600).open(&temporary)?;
        file.write_all(content)?;
        fs::rename(&temporary, &path)
    };
    let written = write().inspect_err(|_| {
        let _ = fs::remove_file(&temporary); // the reason for the failure is told
    });
    written.doing(|| format!("write {}", path.display()))
}

/// Whether there may be a container that [`crate::delete`] has to remove: from before its creation to after its removal.
pub fn has_container(bundle: &Path) -> bool {
    let found = fs::symlink_metadata(bundle.join(RUNTIME));
    !found.is_err_and(|error| error.kind() == ErrorKind::NotFound) // what can't be looked at may be there
}

pub fn forget(bundle: &Path) {
    let _ = fs::remove_file(bundle.join(RUNTIME)); // at worst a container is removed that isn't there
}

/// The process id that a runtime wrote.
pub fn read_pid(path: &Path) -> Result<u32, Refusal> {
    let text = fs::read_to_string(path).doing(|| format!("read {}", path.display()))?;
    text.trim().parse().doing(|| format!("{}: {text:?} is no process id", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(text: &str) -> Config {
        serde_json::from_str(text).unwrap()
    }

    #[test]
    fn groups() {
        let check = |text, expected| assert_eq!(config(text).group("i"), expected, "{text}");
        check("{}", "i");
        check(r#"{"annotations": null, "linux": null}"#, "i");
        check(r#"{"annotations": {"io.kubernetes.cri.sandbox-id": "s"}}"#, "s");
        check(r#"{"annotations": {"io.containerd.runc.v2.group": ""}}"#, "i");
        check(
            r#"{"annotations": {"io.containerd.runc.v2.group": "g", "io.kubernetes.cri.sandbox-id": "s"}}"#,
            "g",
        );
    }

    #[test]
    fn pid_namespaces() {
        let check = |namespaces: &str, expected| {
            let text = format!(r#"{{"linux": {{"namespaces": [{namespaces}]}}}}"#);
            assert_eq!(config(&text).shares_pids(), expected, "{text}");
        };
        check("", true);
        check(r#"{"type": "mount"}"#, true);
        check(r#"{"type": "pid"}"#, false);
        check(r#"{"type": "pid", "path": "/proc/1/ns/pid"}"#, true);
    }
}
