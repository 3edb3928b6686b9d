//! The annotation `org.rrunc.landlock`: rules of Landlock (landlock(7)) for the container's program, as JSON:
//!
//! ```json
//! {
//!   "paths": [
//!     { "paths": ["/usr", "/lib"], "access": ["read", "execute"] },
//!     { "paths": ["/var/lib/app"], "access": ["read", "write"], "optional": true }
//!   ],
//!   "ports": [{ "ports": [443], "access": ["connect_tcp"] }],
//!   "scopes": ["abstract_unix_socket", "signal"],
//!   "bestEffort": false
//! }
//! ```
//!
//! What no rule allows is forbidden: every access to files, if `paths` is there; to bind and connect TCP sockets, if
//! `ports` is. A path is the container's; what is below it is meant too. One that is missing is an error unless
//! `optional`. Accesses are the kernel's names, or `read`, `write` and `execute` for those that these words mean. A kernel
//! that lacks something of this is an error, unless `bestEffort`: then the rest is applied.

use serde::{Deserialize, Serialize};

/// The annotation's key.
pub const KEY: &str = "org.rrunc.landlock";

#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default, rename_all = "camelCase")]
pub struct Landlock {
    pub paths: Option<Vec<PathRule>>,
    pub ports: Option<Vec<PortRule>>,
    pub scopes: Vec<Scope>,
    pub best_effort: bool,
}

#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PathRule {
    pub paths: Vec<String>,
    pub access: Vec<FileAccess>,
    #[serde(default)]
    pub optional: bool,
}

#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PortRule {
    pub ports: Vec<u16>,
    pub access: Vec<NetAccess>,
}

/// LANDLOCK_ACCESS_FS_* of linux/landlock.h by their names in lower case, and three words for several of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum FileAccess {
    Read,
    Write,
    Execute,
    WriteFile,
    ReadFile,
    ReadDir,
    RemoveDir,
    RemoveFile,
    MakeChar,
    MakeDir,
    MakeReg,
    MakeSock,
    MakeFifo,
    MakeBlock,
    MakeSym,
    Refer,
    Truncate,
    IoctlDev,
}

/// LANDLOCK_ACCESS_NET_*.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum NetAccess {
    BindTcp,
    ConnectTcp,
}

/// LANDLOCK_SCOPE_*.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Scope {
    AbstractUnixSocket,
    Signal,
}

impl FileAccess {
    pub const ALL: [FileAccess; 18] = [
        FileAccess::Read,
        FileAccess::Write,
        FileAccess::Execute,
        FileAccess::WriteFile,
        FileAccess::ReadFile,
        FileAccess::ReadDir,
        FileAccess::RemoveDir,
        FileAccess::RemoveFile,
        FileAccess::MakeChar,
        FileAccess::MakeDir,
        FileAccess::MakeReg,
        FileAccess::MakeSock,
        FileAccess::MakeFifo,
        FileAccess::MakeBlock,
        FileAccess::MakeSym,
        FileAccess::Refer,
        FileAccess::Truncate,
        FileAccess::IoctlDev,
    ];

    pub const fn bits(self) -> u64 {
        match self {
            FileAccess::Read => FileAccess::ReadFile.bits() | FileAccess::ReadDir.bits(),
            // All that changes something, but for ioctls of devices.
            FileAccess::Write => 1 << 1 | 0x1ff0 | FileAccess::Refer.bits() | FileAccess::Truncate.bits(),
            FileAccess::Execute => 1,
            FileAccess::WriteFile => 1 << 1,
            FileAccess::ReadFile => 1 << 2,
            FileAccess::ReadDir => 1 << 3,
            FileAccess::RemoveDir => 1 << 4,
            FileAccess::RemoveFile => 1 << 5,
            FileAccess::MakeChar => 1 << 6,
            FileAccess::MakeDir => 1 << 7,
            FileAccess::MakeReg => 1 << 8,
            FileAccess::MakeSock => 1 << 9,
            FileAccess::MakeFifo => 1 << 10,
            FileAccess::MakeBlock => 1 << 11,
            FileAccess::MakeSym => 1 << 12,
            FileAccess::Refer => 1 << 13,
            FileAccess::Truncate => 1 << 14,
            FileAccess::IoctlDev => 1 << 15,
        }
    }
}

impl NetAccess {
    pub const ALL: [NetAccess; 2] = [NetAccess::BindTcp, NetAccess::ConnectTcp];

    pub const fn bits(self) -> u64 {
        match self {
            NetAccess::BindTcp => 1,
            NetAccess::ConnectTcp => 2,
        }
    }
}

impl Scope {
    pub const ALL: [Scope; 2] = [Scope::AbstractUnixSocket, Scope::Signal];

    pub const fn bits(self) -> u64 {
        match self {
            Scope::AbstractUnixSocket => 1,
            Scope::Signal => 2,
        }
    }
}

/// Reads the annotation; what is wrong with it, with the place in it.
pub fn parse(text: &str) -> Result<Landlock, (String, String)> {
    let mut deserializer = serde_json::Deserializer::from_str(text);
    let place = |path: String| match path.trim_end_matches(['.', '?']) {
        "" => String::new(), // the whole, or nobody knows
        path => format!(".{path}"),
    };
    let read: Landlock = serde_path_to_error::deserialize(&mut deserializer)
        .map_err(|error| (place(error.path().to_string()), error.inner().to_string()))?;
    deserializer.end().map_err(|error| (String::new(), error.to_string()))?;
    for (i, rule) in read.paths.iter().flatten().enumerate() {
        for (j, path) in rule.paths.iter().enumerate() {
            if !path.starts_with('/') || path.contains('\0') {
                return Err((
                    format!(".paths[{i}].paths[{j}]"),
                    format!("{path:?} must be an absolute path"),
                ));
            }
        }
        if rule.access.is_empty() {
            return Err((format!(".paths[{i}].access"), "is empty".into()));
        }
    }
    for (i, rule) in read.ports.iter().flatten().enumerate() {
        if rule.access.is_empty() {
            return Err((format!(".ports[{i}].access"), "is empty".into()));
        }
    }
    match read.paths.is_none() && read.ports.is_none() && read.scopes.is_empty() {
        true => Err((String::new(), "restricts nothing: it has no paths, ports or scopes".into())),
        false => Ok(read),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fault(text: &str, place: &str, part: &str) {
        let (found, said) = parse(text).unwrap_err();
        assert_eq!(found, place, "{text}: {said}");
        assert!(said.contains(part), "{text}: {said}");
    }

    #[test]
    fn documents() {
        let read =
            parse(r#"{"paths": [{"paths": ["/a"], "access": ["read", "make_reg"]}], "scopes": ["signal"]}"#)
                .unwrap();
        assert_eq!(read.paths.unwrap()[0].access, [FileAccess::Read, FileAccess::MakeReg]);
        assert_eq!(read.scopes, [Scope::Signal]);
        assert!(parse(r#"{"ports": []}"#).is_ok(), "no port at all");
        fault("{", "", "EOF");
        fault("{}", "", "restricts nothing");
        fault(r#"{"path": []}"#, ".path", "unknown field");
        fault(r#"{"paths": [{"paths": ["a"], "access": ["read"]}]}"#, ".paths[0].paths[0]", "absolute");
        fault(
            r#"{"paths": [{"paths": ["/a"], "access": ["all"]}]}"#,
            ".paths[0].access[0]",
            "unknown variant",
        );
        fault(r#"{"paths": [{"paths": ["/a"], "access": []}]}"#, ".paths[0].access", "empty");
        fault(r#"{"ports": [{"ports": [70000], "access": ["bind_tcp"]}]}"#, ".ports[0].ports[0]", "u16");
    }

    /// Each variant has a bit of its own, so none is missing in the list of all.
    #[test]
    fn all_are_listed() {
        let single = FileAccess::ALL.iter().filter(|access| access.bits().count_ones() == 1);
        assert_eq!(single.fold(0, |all, access| all | access.bits()), (1 << 16) - 1);
        assert_eq!(NetAccess::ALL.iter().fold(0, |all, access| all | access.bits()), 3);
        assert_eq!(Scope::ALL.iter().fold(0, |all, scope| all | scope.bits()), 3);
    }

    /// What is documented is what is taken.
    #[test]
    fn the_documents_have_every_word() {
        let all = serde_json::json!([FileAccess::ALL, NetAccess::ALL, Scope::ALL]);
        let words = all.as_array().unwrap().iter().flat_map(|list| list.as_array().unwrap());
        for document in [include_str!("../README.md"), include_str!("../cli/pages.rs")] {
            for word in words.clone() {
                assert!(document.contains(word.as_str().unwrap()), "{word}");
            }
        }
    }

    #[test]
    fn writing_is_all_that_changes_something() {
        let all = (1u64 << 16) - 1;
        let not = FileAccess::Read.bits() | FileAccess::Execute.bits() | FileAccess::IoctlDev.bits();
        assert_eq!(FileAccess::Write.bits(), all & !not);
    }
}
