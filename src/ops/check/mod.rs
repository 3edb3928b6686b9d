//! `check`: everything that is wrong with a bundle, told at once: against the spec, and against this host. Nothing
//! is run, made or changed; what the host's part asks is asked by the code that `create` uses.

mod host;
mod program;

use std::io::Write;
use std::path::Path;

use serde::Serialize;

use super::bundle::Bundle;
use crate::cli::{CgroupManager, Create};
use crate::error::{Doing, Error, Fault, Kind, Result, escape};
use crate::log::Format;
use crate::sys::{Call, Named};

/// What config.json is held against.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
enum Against {
    Spec,
    Host,
}

/// One thing to say.
#[derive(Debug, PartialEq, Eq, Serialize)]
struct Finding {
    against: Against,
    /// The field in config.json; empty where the whole document is meant.
    path: String,
    text: String,
}

/// All that was found. A container of a bundle without faults can be created here, as far as can be told without
/// doing it; warnings are about what it will lack, or can't be told.
#[derive(Debug, Default, PartialEq, Eq, Serialize)]
struct Report {
    faults: Vec<Finding>,
    warnings: Vec<Finding>,
}

/// `rrunc check`: exits with 1 if there is a fault.
pub fn check(
    manager: CgroupManager,
    bundle: Option<&Path>,
    format: Format,
    out: &mut dyn Write,
) -> Result<i32> {
    let report = examine(manager, bundle, None)?;
    let text = match format {
        Format::Text => report.to_string(),
        Format::Json => serde_json::to_string_pretty(&report)
            .map(|json| json + "\n")
            .map_err(|error| Error::new(Kind::Kernel, format!("the findings as JSON: {error}")))?,
    };
    out.write_all(text.as_bytes()).call(Call::Write).doing(|| "write to standard output".into())?;
    Ok(i32::from(!report.faults.is_empty()))
}

/// An error of a creation, with whatever else is wrong with the bundle: each is to be mended before it can succeed. If
/// the error itself is none of what can be found out by looking, it stays alone.
pub fn with_all_faults(error: Error, manager: CgroupManager, create: &Create) -> Error {
    if !matches!(error.kind, Kind::InvalidSpec | Kind::Unsupported | Kind::Kernel) {
        return error;
    }
    let Ok(report) = examine(manager, create.bundle.as_deref(), create.config.as_deref()) else {
        return error;
    };
    let text = error.to_string();
    let told = |finding: &Finding| text.contains(&finding.path);
    let (told, others): (Vec<_>, Vec<_>) = report.faults.into_iter().partition(told);
    match told.is_empty() {
        true => error,
        false => error.besides(others.into_iter().map(Fault::from).collect()),
    }
}

impl From<Finding> for Fault {
    fn from(Finding { path, text, .. }: Finding) -> Fault {
        Fault { path, text }
    }
}

fn examine(manager: CgroupManager, path: Option<&Path>, config: Option<&Path>) -> Result<Report> {
    let mut report = Report::default();
    let (bundle, faults) = match Bundle::examine(path, config) {
        // Not JSON: nothing else can be said.
        Err(error) if error.kind == Kind::InvalidSpec => {
            report.add(Against::Spec, "", &error);
            return Ok(report);
        }
        examined => examined?,
    };
    if let Some(faults) = &faults {
        report.add(Against::Spec, "", faults);
    }
    for warning in &bundle.spec.warnings {
        report.warn(Against::Spec, warning);
    }
    host::examine(&bundle, manager, &mut report);
    Ok(report)
}

impl Report {
    /// One finding for each fault of `error`, or one for all of it. What is said of `path` already, or of what is
    /// around it or in it, is not said again: it follows from the other.
    fn add(&mut self, against: Against, path: &str, error: &Error) {
        if error.faults.is_empty() {
            let text = error.to_string();
            self.fault(against, path, text.strip_prefix("config.json: ").unwrap_or(&text));
        }
        let cure = error.cure().map(|cure| format!(" ({cure})")).unwrap_or_default();
        for Fault { path, text } in &error.faults {
            // A limit is told with its value.
            match path.split_once(" = ") {
                Some((path, value)) => self.fault(against, path, &format!("{value} {text}{cure}")),
                None => self.fault(against, path, &format!("{text}{cure}")),
            }
        }
    }

    fn fault(&mut self, against: Against, path: &str, text: &str) {
        let known = |finding: &Finding| finding.against != against && overlaps(&finding.path, path);
        if self.faults.iter().any(known) {
            return;
        }
        let text = text.strip_prefix(path).map_or(text, |rest| rest.trim_start_matches(": "));
        self.faults.push(Finding { against, path: path.into(), text: text.into() });
    }

    /// Warnings name their field in front.
    fn warn(&mut self, against: Against, text: &str) {
        let (path, text) = match text.split_once(": ") {
            Some((path, rest)) if !path.contains(' ') => (path, rest),
            _ => ("", text),
        };
        self.warnings.push(Finding { against, path: path.into(), text: text.into() });
    }
}

/// Whether one of two fields is the other, or in it.
fn overlaps(one: &str, other: &str) -> bool {
    let below = |inner: &str, outer: &str| {
        inner
            .strip_prefix(outer)
            .is_some_and(|rest| rest.is_empty() || outer.is_empty() || rest.starts_with(['.', '[']))
    };
    below(one, other) || below(other, one)
}

impl std::fmt::Display for Report {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for (findings, prefix) in [(&self.faults, ""), (&self.warnings, "warning: ")] {
            for finding in findings {
                let colon = if finding.path.is_empty() { "" } else { ": " };
                writeln!(f, "{prefix}{}{colon}{}", escape(&finding.path), escape(&finding.text))?;
            }
        }
        if self.faults.is_empty() {
            writeln!(f, "ok: config.json has no fault")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
