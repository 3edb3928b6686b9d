//! `expected.toml`: per runtime, the tests that are known to fail, each with its reason.
//!
//! Of TOML it uses comments, `[section]` and `"key" = "value"`, and refuses the rest. A section is a runtime's name, or name
//! and the beginning of a version: `[crun]`, `["runc 1.1"]`; a condition of the machine may
//! follow: `["crun 1.8, if limits cannot be raised"]`.

use crate::lab::{Runtime, runtime};
use crate::machine;

const FILE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/expected.toml");

/// Stands for a check at the end of each test: that no cgroup is left.
pub const LEFT_CGROUPS: &str = "leftovers::cgroups";

pub struct Expected(Vec<(String, String, String)>);

impl Expected {
    pub fn read() -> Expected {
        let text = std::fs::read_to_string(FILE).unwrap_or_else(|e| panic!("{FILE}: {e}"));
        Expected(parse(&text).unwrap_or_else(|line| panic!("{FILE}: cannot read line {line:?}")))
    }

    /// Why `test` is expected to fail with the runtime that is tested, if it is.
    pub fn reason(&self, test: &str) -> Option<String> {
        self.reason_for(runtime(), test)
    }

    fn reason_for(&self, runtime: &Runtime, test: &str) -> Option<String> {
        let applies = |section: &str| {
            let (section, condition) = section.split_once(", if ").unwrap_or((section, ""));
            let (name, version) = section.split_once(' ').unwrap_or((section, ""));
            let holds = match condition {
                "" => true,
                "limits cannot be raised" => !machine::may_raise_limits(),
                other => panic!("{FILE}: unknown condition {other:?}"),
            };
            holds && name == runtime.name && runtime.version.starts_with(version)
        };
        self.0.iter().find(|(s, t, _)| t == test && applies(s)).map(|(_, _, reason)| reason.clone())
    }

    /// All tests that are named, for the check that they exist.
    pub fn tests(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(|(_, test, _)| test.as_str()).filter(|t| *t != LEFT_CGROUPS)
    }
}

fn parse(text: &str) -> Result<Vec<(String, String, String)>, &str> {
    let mut section = None;
    let mut rows = Vec::new();
    for line in text.lines().map(str::trim).filter(|l| !l.is_empty() && !l.starts_with('#')) {
        if let Some(name) = line.strip_prefix('[').and_then(|l| l.strip_suffix(']')) {
            section = Some(name.trim_matches('"').to_owned());
        } else {
            let (key, value) = line.split_once(" = ").ok_or(line)?;
            let quoted = |t: &str| Some(t.strip_prefix('"')?.strip_suffix('"')?.to_owned());
            rows.push((section.clone().ok_or(line)?, quoted(key).ok_or(line)?, quoted(value).ok_or(line)?));
        }
    }
    Ok(rows)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sections_may_name_a_version() {
        let expected = Expected(
            parse("# why\n[crun]\n\"a::b\" = \"no c\"\n[\"runc 1.1\"]\n\"a::d\" = \"old\"").unwrap(),
        );
        let reason = |name: &str, version: &str, test| {
            expected
                .reason_for(&Runtime { path: "".into(), name: name.into(), version: version.into() }, test)
        };
        assert_eq!(reason("crun", "1.8", "a::b").as_deref(), Some("no c"));
        assert_eq!(reason("runc", "1.1.5", "a::d").as_deref(), Some("old"));
        assert_eq!(reason("runc", "1.3.0", "a::d"), None);
        assert_eq!(parse("\"x\" = \"outside of a section\""), Err("\"x\" = \"outside of a section\""));
        assert_eq!(parse("[a]\nx = 1"), Err("x = 1"));
    }
}
