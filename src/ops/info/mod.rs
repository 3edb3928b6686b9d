//! `info`: what this kernel, these cgroups and this user may do; of what is missing why, and the cure. Looks only;
//! nothing is made to find out.

mod cgroups;
mod kernel;
mod user;

use std::fmt::Write as _;
use std::io::Write;

use serde::Serialize;

use crate::error::{Doing, Error, Kind, Result};
use crate::log::Format;
use crate::sys::{Call, Named};

/// Whether a thing is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
enum State {
    Yes,
    /// Some of it, or with less than there could be.
    Partly,
    No,
}

/// One thing that containers may need.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
struct Finding {
    area: &'static str,
    name: String,
    state: State,
    /// What was found, or why it is missing.
    detail: String,
    /// What to do about it.
    #[serde(skip_serializing_if = "Option::is_none")]
    cure: Option<String>,
}

impl Finding {
    fn new(area: &'static str, name: &str, state: State, detail: impl Into<String>) -> Finding {
        Finding { area, name: name.into(), state, detail: detail.into(), cure: None }
    }

    fn yes(area: &'static str, name: &str, detail: impl Into<String>) -> Finding {
        Finding::new(area, name, State::Yes, detail)
    }

    fn no(area: &'static str, name: &str, detail: impl Into<String>, cure: &str) -> Finding {
        Finding::new(area, name, State::No, detail).cure(cure)
    }

    fn partly(area: &'static str, name: &str, detail: impl Into<String>, cure: &str) -> Finding {
        Finding::new(area, name, State::Partly, detail).cure(cure)
    }

    fn cure(self, cure: &str) -> Finding {
        Finding { cure: Some(cure.into()).filter(|cure: &String| !cure.is_empty()), ..self }
    }
}

/// `rrunc info`.
pub fn info(format: Format, out: &mut dyn Write) -> Result<()> {
    let findings = [kernel::look(), cgroups::look(), user::look()].concat();
    let text = match format {
        Format::Text => text(&findings),
        Format::Json => serde_json::to_string_pretty(&findings)
            .map(|json| json + "\n")
            .map_err(|error| Error::new(Kind::Kernel, format!("what was found, as JSON: {error}")))?,
    };
    out.write_all(text.as_bytes()).call(Call::Write).doing(|| "write to standard output".into())
}

/// A line for each, and below it the cure; a heading where the area changes.
fn text(findings: &[Finding]) -> String {
    let mut text = String::new();
    let width = findings.iter().map(|f| f.name.chars().count()).max().unwrap_or(0);
    let mut area = "";
    for (i, finding) in findings.iter().enumerate() {
        if finding.area != area {
            area = finding.area;
            let _ = writeln!(text, "{area}"); // a String takes all
        }
        let state = match finding.state {
            State::Yes => "yes",
            State::Partly => "partly",
            State::No => "no",
        };
        let (name, detail) = (&finding.name, &finding.detail);
        let line = format!("  {state:6}  {name:width$}  {detail}");
        let _ = writeln!(text, "{}", line.trim_end());
        // One cure for several in a row is told once.
        let next = findings.get(i + 1).and_then(|next| next.cure.as_ref());
        if let Some(cure) = finding.cure.as_ref().filter(|cure| next != Some(cure)) {
            let _ = writeln!(text, "  {:6}  {:width$}  -> {cure}", "", "");
        }
    }
    text
}

/// The first line of a file, without blanks around it; empty if it can't be read.
fn first_line(path: &str) -> String {
    let content = std::fs::read_to_string(path).unwrap_or_default();
    content.lines().next().unwrap_or_default().trim().to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_and_cures() {
        let findings = [
            Finding::yes("kernel", "Linux", "6.1"),
            Finding::no("kernel", "seccomp", "not built in", "CONFIG_SECCOMP_FILTER"),
        ];
        let expected = "kernel\n  yes     Linux    6.1\n  no      seccomp  not built in\n                   -> CONFIG_SECCOMP_FILTER\n";
        assert_eq!(text(&findings), expected);
    }

    #[test]
    fn as_json() {
        let mut out = vec![];
        info(Format::Json, &mut out).unwrap();
        let all: serde_json::Value = serde_json::from_slice(&out).unwrap();
        let linux = &all[0];
        assert_eq!(linux["area"], "kernel");
        assert_eq!(linux["name"], "Linux");
        assert!(linux["detail"].as_str().unwrap().contains('.'), "{linux}");
    }

    /// What is missing has a reason, and nothing is told twice.
    #[test]
    fn whatever_this_machine_is() {
        let findings = [kernel::look(), cgroups::look(), user::look()].concat();
        for finding in &findings {
            assert!(finding.state == State::Yes || !finding.detail.is_empty(), "{finding:?}");
        }
        let mut names: Vec<_> = findings.iter().map(|f| (f.area, &f.name)).collect();
        names.sort();
        names.dedup();
        assert_eq!(names.len(), findings.len());
    }
}
