//! From what the tests recorded for each runtime (`RESULTS`, see the crate's page) to a table in Markdown:
//! `matrix [--tests] NAME=FILE...`. A row for each chapter of tests with how many of them pass; with `--tests`, one
//! for each test that not all runtimes pass.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;

/// Outcomes by chapter and test; a test that was run in several ways passed if all of them did.
type Results = BTreeMap<(String, String), Test>;

struct Test {
    section: String,
    outcome: String,
}

fn main() {
    let mut args: Vec<String> = std::env::args().skip(1).collect();
    let each = args.first().is_some_and(|arg| arg == "--tests");
    args.drain(..usize::from(each));
    let runtimes: Vec<(String, Results)> = args
        .iter()
        .map(|arg| {
            let (name, file) = arg.split_once('=').unwrap_or_else(|| panic!("{arg}: not NAME=FILE"));
            let text = fs::read_to_string(file).unwrap_or_else(|e| panic!("{file}: {e}"));
            (name.to_string(), read(&text))
        })
        .collect();
    assert!(!runtimes.is_empty(), "matrix [--tests] NAME=FILE...");
    print!("{}", if each { tests(&runtimes) } else { chapters(&runtimes) });
}

fn read(text: &str) -> Results {
    let mut results = Results::new();
    for line in text.lines() {
        // Other documents than the specification's have names with spaces.
        // The section's name may have spaces.
        let parts = line.split_once(' ').and_then(|(name, rest)| Some((name, rest.rsplit_once(' ')?)));
        let Some((name, (section, outcome))) = parts else {
            panic!("{line}: not a line of RESULTS");
        };
        let (chapter, test) = name.split_once("::").unwrap_or(("", name));
        let entry = results.entry((chapter.into(), test.into()));
        let test = entry.or_insert(Test { section: section.into(), outcome: outcome.into() });
        if outcome != "passed" && test.outcome != "failed" {
            test.outcome = outcome.into();
        }
    }
    results
}

fn head(first: &[&str], runtimes: &[(String, Results)]) -> String {
    let names = runtimes.iter().map(|(name, _)| name.as_str());
    let titles: Vec<&str> = first.iter().copied().chain(names).collect();
    format!("| {} |\n|{}\n", titles.join(" | "), "---|".repeat(titles.len()))
}

/// How many pass of those that this machine could run.
fn chapters(runtimes: &[(String, Results)]) -> String {
    let names: BTreeSet<&String> =
        runtimes.iter().flat_map(|(_, results)| results.keys().map(|(chapter, _)| chapter)).collect();
    let count = |results: &Results, chapter: Option<&String>| {
        let tests = results.iter().filter(|((of, _), _)| chapter.is_none_or(|chapter| chapter == of));
        let outcomes: Vec<_> = tests.map(|(_, test)| test.outcome.as_str()).collect();
        let number = |outcome: &str| outcomes.iter().filter(|o| **o == outcome).count();
        let (passed, skipped) = (number("passed"), number("skipped"));
        format!("{passed}/{}", outcomes.len() - skipped)
    };
    let mut text = head(&["tests"], runtimes);
    for chapter in names {
        let cells: Vec<_> = runtimes.iter().map(|(_, results)| count(results, Some(chapter))).collect();
        text += &format!("| {chapter} | {} |\n", cells.join(" | "));
    }
    let cells: Vec<_> = runtimes.iter().map(|(_, results)| format!("**{}**", count(results, None))).collect();
    text + &format!("| all | {} |\n", cells.join(" | "))
}

/// The tests that tell runtimes apart.
fn tests(runtimes: &[(String, Results)]) -> String {
    let mut all: BTreeMap<&(String, String), &str> = BTreeMap::new();
    for (_, results) in runtimes {
        all.extend(results.iter().map(|(name, test)| (name, test.section.as_str())));
    }
    let mut text = head(&["test", "specification"], runtimes);
    for (name, section) in all {
        let cell = |results: &Results| match results.get(name).map_or("", |test| test.outcome.as_str()) {
            "passed" => "yes",
            "failed" => "no",
            _ => "",
        };
        let cells: Vec<_> = runtimes.iter().map(|(_, results)| cell(results)).collect();
        if cells.contains(&"no") {
            let title = format!("{}: {}", name.0, name.1.replace('_', " "));
            text += &format!("| {title} | {section} | {} |\n", cells.join(" | "));
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables() {
        let ours = read("a::one crun(1), x passed\na::two config.md passed\nb::three runtime.md skipped\n");
        let theirs = read("a::one crun(1), x passed\na::one crun(1), x failed\nb::three runtime.md passed\n");
        let runtimes = [("rrunc".to_string(), ours), ("x 1.0".to_string(), theirs)];
        assert_eq!(
            chapters(&runtimes),
            "| tests | rrunc | x 1.0 |\n|---|---|---|\n| a | 2/2 | 0/1 |\n| b | 0/0 | 1/1 |\n| all | **2/2** | **1/2** |\n"
        );
        assert_eq!(
            super::tests(&runtimes),
            "| test | specification | rrunc | x 1.0 |\n|---|---|---|---|\n| a: one | crun(1), x | yes | no |\n"
        );
    }
}
