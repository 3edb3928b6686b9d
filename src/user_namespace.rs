//! The id maps of a new user namespace, written from outside of it: by ourselves where the kernel lets us, and else by
//! newuidmap(1) and newgidmap(1), which are setuid root and ask /etc/subuid and /etc/subgid (user_namespaces(7)).
//!
//! The process that they are for is our child and not yet reaped, so its number can't have become another's.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::error::{Doing, Error, Kind, Result};
use crate::plan::IdMaps;
use crate::plan::namespaces::Writer;
use crate::sys::{Call, Named, Pid, files, ids};

/// One of the two maps.
struct Map<'a> {
    pid: Pid,
    by: Writer,
    /// Lines of "inside outside length".
    lines: &'a str,
    /// The field of config.json.
    field: &'static str,
    /// Below /proc/PID.
    file: &'static str,
    helper: &'static str,
    /// What the helper asks for its permission, and how to get it.
    list: &'static str,
    cure: &'static str,
}

/// Writes both maps for the process `pid`, which waits for them.
pub fn write(pid: Pid, maps: &IdMaps) -> Result<()> {
    both(pid, maps).iter().try_for_each(Map::write)
}

/// The fields whose program isn't there, each with its error; what one would say isn't asked.
pub fn check(maps: &IdMaps) -> Vec<(&'static str, Error)> {
    let maps = both(Pid(0), maps);
    let by_helper = maps.iter().filter(|map| map.by == Writer::Helper);
    by_helper.filter_map(|map| Some((map.field, map.program().err()?))).collect()
}

fn both(pid: Pid, maps: &IdMaps) -> [Map<'_>; 2] {
    [
        Map {
            pid,
            by: maps.uid_by,
            lines: &maps.uid,
            field: "linux.uidMappings",
            file: "uid_map",
            helper: "newuidmap",
            list: "/etc/subuid",
            cure: "usermod --add-subuids",
        },
        Map {
            pid,
            by: maps.gid_by,
            lines: &maps.gid,
            field: "linux.gidMappings",
            file: "gid_map",
            helper: "newgidmap",
            list: "/etc/subgid",
            cure: "usermod --add-subgids",
        },
    ]
}

impl Map<'_> {
    fn write(&self) -> Result<()> {
        match self.by {
            Writer::Helper => self.by_helper(),
            Writer::Owner if self.file == "gid_map" => {
                self.put("setgroups", "deny")?; // user_namespaces(7): else the map is refused
                self.put(self.file, self.lines)
            }
            Writer::Owner | Writer::Root => self.put(self.file, self.lines),
        }
    }

    fn put(&self, file: &str, content: &str) -> Result<()> {
        let path = format!("/proc/{}/{file}", self.pid);
        files::write(&path, content).doing(|| format!("{}: write {content:?} to {path}", self.field))
    }

    fn program(&self) -> Result<PathBuf> {
        let (field, helper) = (self.field, self.helper);
        let path = std::env::var_os("PATH").unwrap_or_default();
        find(helper, std::env::split_paths(&path)).ok_or_else(|| {
            let text = format!(
                "{field}: an ordinary user's map of more than the own id takes {helper}, which isn't in PATH"
            );
            Error::new(Kind::Unsupported, text)
                .hint(format!("install it (package uidmap or shadow-utils), or {}", self.single()))
        })
    }

    fn by_helper(&self) -> Result<()> {
        let field = self.field;
        let program = self.program()?;
        let mut command = Command::new(&program);
        command.arg(self.pid.to_string()).args(self.lines.split_whitespace());
        let output = command.stdin(Stdio::null()).stdout(Stdio::null()).output();
        let output = output.call(Call::Exec).doing(|| format!("{field}: run {}", program.display()))?;
        if output.status.success() {
            return Ok(());
        }
        let said = String::from_utf8_lossy(&output.stderr);
        let ranges: Vec<_> = self.lines.lines().collect();
        let text = format!(
            "{field}: {} refuses {:?} ({}): {}",
            program.display(),
            ranges.join(", "),
            output.status,
            said.trim()
        );
        Err(Error::new(Kind::Kernel, text).hint(format!(
            "it must be setuid root, and {} must have a line USER:START:COUNT for the range ({}); or {}",
            self.list,
            self.cure,
            self.single()
        )))
    }

    /// What needs no helper.
    fn single(&self) -> String {
        let own = match self.file {
            "uid_map" => ids::euid().0,
            _ => ids::egid().0,
        };
        format!("map one id alone: hostID {own}, size 1")
    }
}

/// The first of `directories` with such a program; relative ones don't count, for they would be the bundle's.
fn find(name: &str, directories: impl Iterator<Item = PathBuf>) -> Option<PathBuf> {
    let is_program = |path: &Path| {
        let found = std::fs::metadata(path);
        found.is_ok_and(|found| found.is_file() && found.permissions().mode() & 0o111 != 0)
    };
    directories
        .filter(|directory| directory.is_absolute())
        .map(|directory| directory.join(name))
        .find(|path| is_program(path))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn helpers_are_programs_in_absolute_directories() {
        let check = |name, directories: &[&str], expected: Option<&str>| {
            let found = find(name, directories.iter().map(PathBuf::from));
            assert_eq!(found, expected.map(PathBuf::from), "{name} in {directories:?}");
        };
        check("sh", &["/nowhere", "/bin"], Some("/bin/sh"));
        check("sh", &["bin", ".", ""], None);
        check("passwd", &["/etc"], None); // no program
        check("etc", &["/"], None); // no file
    }
}
