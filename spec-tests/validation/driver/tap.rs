//! Reads what a program reports in the Test Anything Protocol: its checks, its plan, and errors that it only mentions.
//! Nothing but that: whether all this is good is for `verdict`.

use std::collections::HashMap;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    Ok,
    NotOk,
    Skip,
}

/// Programs give several checks the same name: `nth` tells them apart, from 1.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Check {
    pub name: String,
    pub nth: usize,
}

#[derive(Debug, Default)]
pub struct Report {
    pub checks: Vec<(Check, Outcome)>,
    /// How many checks the program says there are (`1..n`).
    pub planned: Option<usize>,
    /// The first `"error": "…"` of a diagnostic: some programs report a failure in no other way.
    pub error: Option<String>,
}

impl Report {
    pub fn read(output: &str) -> Report {
        let mut report = Report::default();
        let mut seen = HashMap::new();
        for line in output.lines() {
            // Indented lines are diagnostics, where the output of the program in the container is quoted.
            if let Some((name, outcome)) = check(line) {
                let nth = seen.entry(name.clone()).or_insert(0);
                *nth += 1;
                report.checks.push((Check { name, nth: *nth }, outcome));
            } else if let Some(planned) = line.strip_prefix("1..") {
                report.planned = planned.trim().parse().ok();
            } else if let Some(error) = line.trim_start().strip_prefix("\"error\": ") {
                report.error.get_or_insert_with(|| error.trim_matches([',', '"']).to_owned());
            }
        }
        report
    }

    pub fn count(&self, outcome: Outcome) -> usize {
        self.checks.iter().filter(|(_, o)| *o == outcome).count()
    }
}

/// A line `[not ]ok [number] [- name] [# directive]`. What is still to be done (`# TODO`) is as good as skipped.
fn check(line: &str) -> Option<(String, Outcome)> {
    let (rest, outcome) = match line.strip_prefix("not ok") {
        Some(rest) => (rest, Outcome::NotOk),
        None => (line.strip_prefix("ok")?, Outcome::Ok),
    };
    if !rest.is_empty() && !rest.starts_with(' ') {
        return None;
    }
    let rest = rest.trim_start().trim_start_matches(|c: char| c.is_ascii_digit()).trim_start();
    let name = rest.strip_prefix('-').unwrap_or(rest).trim();
    match name.split_once("# ") {
        Some((name, directive)) if directive.starts_with("SKIP") || directive.starts_with("TODO") => {
            let reason = directive[4..].trim();
            Some((if name.is_empty() { reason } else { name.trim() }.to_owned(), Outcome::Skip))
        }
        _ => Some((name.to_owned(), outcome)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_a_check_with_name_and_outcome() {
        let expect = |line: &str, expected: Option<(&str, Outcome)>| {
            assert_eq!(check(line), expected.map(|(name, outcome)| (name.to_owned(), outcome)), "{line}");
        };
        expect("ok 1 - has expected hostname", Some(("has expected hostname", Outcome::Ok)));
        expect("not ok 12 - 1 of 2 # of them", Some(("1 of 2 # of them", Outcome::NotOk)));
        expect("ok 2 # SKIP linux.devices is not set", Some(("linux.devices is not set", Outcome::Skip)));
        expect("not ok 3 - a bind mount # TODO", Some(("a bind mount", Outcome::Skip)));
        expect("ok 1 - ", Some(("", Outcome::Ok)));
        expect("ok", Some(("", Outcome::Ok)));
        expect("okay", None);
        expect("  ok 1 - quoted", None);
        expect("1..3", None);
        expect("# not ok", None);
    }

    #[test]
    fn a_report_has_checks_plan_and_error() {
        let report = Report::read(concat!(
            "TAP version 13\nok 1 - same\nnot ok 2 - same\n  ---\n  {\n",
            "    \"error\": \"exit status 1\",\n    \"stdout\": \"ok 1 - quoted\\n\"\n  }\n  ...\n1..2\n"
        ));
        let same = |nth| Check { name: "same".to_owned(), nth };
        assert_eq!(report.checks, [(same(1), Outcome::Ok), (same(2), Outcome::NotOk)]);
        assert_eq!(report.planned, Some(2));
        assert_eq!(report.error.as_deref(), Some("exit status 1"));
        assert_eq!(report.count(Outcome::Skip), 0);
    }
}
