//! linux.cgroupsPath as systemd's driver reads it, `SLICE:PREFIX:NAME`: the scope PREFIX-NAME.scope in SLICE. Pure.

use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::error::{Error, Fault, Result};
use crate::systemd::Instance;

/// The scope that a container has, and whose it is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Unit {
    pub name: String,
    pub instance: Instance,
}

/// Where a container's scope is to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Asked {
    pub slice: String,
    pub unit: Unit,
}

impl Asked {
    /// The scope's cgroup below systemd's own: systemd.slice(5), each dash in a slice's name is a slice around it.
    pub fn place(&self) -> String {
        let name = self.slice.strip_suffix(".slice").unwrap_or(&self.slice);
        let ends = name.match_indices('-').map(|(dash, _)| dash).chain([name.len()]);
        let slices = ends.filter(|_| name != "-").map(|end| format!("{}.slice/", &name[..end]));
        slices.collect::<String>() + &self.unit.name
    }
}

/// unit.name(7): longer names are none.
const LONGEST: usize = 255;

/// What `given` asks for, or without it the scope rrunc-ID.
pub fn asked(given: Option<&Path>, id: &str, instance: Instance) -> Result<Asked> {
    let fault = |text: String| {
        let path = "linux.cgroupsPath".into();
        Error::invalid("config.json", vec![Fault { path, text }])
    };
    let given = given.map(Path::to_string_lossy).filter(|given| !given.is_empty());
    let own = format!("::{}", escaped(id));
    let own_prefix = if given.is_none() { "rrunc" } else { "" };
    let text = given.as_deref().unwrap_or(&own);
    let parts: Vec<&str> = text.split(':').collect();
    let [slice, prefix, name] = parts[..] else {
        return Err(fault(format!(
            "expected cgroupsPath to be of format \"slice:prefix:name\" for systemd cgroups, got {text:?} instead"
        ))
        .hint("\"system.slice:rrunc:web1\" is /system.slice/rrunc-web1.scope; for a path, leave --systemd-cgroup away"));
    };
    let slice = match (slice, instance) {
        ("", Instance::System) => "system.slice",
        ("", Instance::User) => "user.slice",
        (slice, _) => slice,
    };
    check_slice(slice).map_err(|text| fault(format!("the slice {slice:?} {text}")))?;
    if name.ends_with(".slice") {
        return Err(fault(format!("{name:?} is a slice, and a container's processes are in a scope")));
    }
    let prefix = if prefix.is_empty() { own_prefix } else { prefix };
    let unit = match (prefix, name) {
        (_, "") => return Err(fault(format!("{text:?} has no name after the second colon"))),
        ("", name) => format!("{name}.scope"),
        (prefix, name) => format!("{prefix}-{name}.scope"),
    };
    if let Some(bad) = unit.chars().find(|c| !is_allowed(*c)) {
        return Err(fault(format!("{unit:?} holds {bad:?}, which no unit's name may"))
            .hint("letters, digits and \\:-_.@; systemd-escape(1) makes others into these"));
    }
    if unit.len() > LONGEST {
        return Err(fault(format!(
            "{unit:?} is longer than the {LONGEST} letters that a unit's name may have"
        )));
    }
    let unit = Unit { name: unit, instance };
    Ok(Asked { slice: slice.into(), unit })
}

/// systemd.slice(5): the dashes in the name lead from slice to slice, so none is at an end or beside another.
fn check_slice(slice: &str) -> Result<(), &'static str> {
    let Some(name) = slice.strip_suffix(".slice") else {
        return Err("doesn't end in \".slice\"");
    };
    if name.is_empty() || slice.len() > LONGEST || !name.chars().all(is_allowed) {
        return Err("is no name of a unit");
    }
    if name != "-" && name.split('-').any(str::is_empty) {
        return Err("has a dash at an end or beside another; user-1000.slice is below user.slice");
    }
    Ok(())
}

/// unit.name(7).
fn is_allowed(c: char) -> bool {
    c.is_ascii_alphanumeric() || ":-_.\\@".contains(c)
}

/// As systemd-escape(1) has it, but with dashes as they are. Of a container's id only `+` needs it.
fn escaped(id: &str) -> String {
    let mut name = String::new();
    for byte in id.bytes() {
        match char::from(byte) {
            c if is_allowed(c) && c != '\\' && c != ':' => name.push(c),
            _ => name += &format!("\\x{byte:02x}"),
        }
    }
    name
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places() {
        let check = |given: &str, place: &str| {
            let asked = asked(Some(Path::new(given)), "web", Instance::System).unwrap();
            assert_eq!(asked.place(), place, "{given}");
        };
        check(":a:b", "system.slice/a-b.scope");
        check("-.slice::b", "b.scope");
        check("user-1000-x.slice:a:b", "user.slice/user-1000.slice/user-1000-x.slice/a-b.scope");
    }

    #[test]
    fn scopes() {
        let check = |given: &str, instance, slice: &str, name: &str| {
            let asked = asked(Some(Path::new(given)), "web+1", instance).unwrap();
            assert_eq!((asked.slice.as_str(), asked.unit.name.as_str()), (slice, name), "{given}");
            assert_eq!(asked.unit.instance, instance);
        };
        check("system.slice:docker:abc", Instance::System, "system.slice", "docker-abc.scope");
        check("a-b-c.slice::abc", Instance::System, "a-b-c.slice", "abc.scope");
        check("::abc", Instance::System, "system.slice", "abc.scope");
        check(":p:abc", Instance::User, "user.slice", "p-abc.scope");
        check("-.slice:p:a@b", Instance::System, "-.slice", "p-a@b.scope");
        check("", Instance::System, "system.slice", "rrunc-web\\x2b1.scope");
    }

    #[test]
    fn no_scopes() {
        let check = |given: &str, said: &str| {
            let error = asked(Some(Path::new(given)), "a", Instance::System).expect_err(given).to_string();
            assert!(error.contains("linux.cgroupsPath: ") && error.contains(said), "{given}: {error}");
        };
        check("/a/b", "slice:prefix:name");
        check("system.slice:a", "slice:prefix:name");
        check("system.slice:a:b:c", "slice:prefix:name");
        check("system:a:b", "doesn't end in");
        check(".slice:a:b", "no name of a unit");
        check("a--b.slice:a:b", "a dash");
        check("-a.slice:a:b", "a dash");
        check("a/b.slice:a:b", "no name of a unit");
        check("system.slice:a:", "no name after");
        check("system.slice:a/..:b", "holds '/'");
        check("system.slice:a:b c", "holds ' '");
        check("system.slice:a:b.slice", "is a slice");
        check(&format!("::{}", "x".repeat(250)), "longer than");
    }
}
