//! What the runs come to, for people: a table in Markdown, and what the first runtime lacks.

use std::fmt::Write;

use crate::Run;
use crate::programs::Program;
use crate::tap::{Check, Outcome};
use crate::verdict::Result;

/// At most so many missing checks of a program are named.
const NAMED: usize = 5;

/// A row for each program, a column for each runtime; the first runtime, the one in question, is the last column.
pub fn table(programs: &[Program], runs: &[Run]) -> String {
    let columns: Vec<&Run> = runs[1..].iter().chain(&runs[..1]).collect();
    let row = |head: &str, cell: &dyn Fn(&Run) -> String| {
        let cells: Vec<_> = columns.iter().map(|run| cell(run)).collect();
        format!("| {head} | {} |\n", cells.join(" | "))
    };
    let mut text = row("program", &|run| run.name.clone()) + &row("---", &|_| "---".to_owned());
    for (i, program) in programs.iter().enumerate() {
        text += &row(&program.name, &|run| cell(&run.results[i], program));
    }
    let passed = |run: &Run| run.results.iter().zip(programs).filter(|(r, p)| r.failure(p).is_none()).count();
    let count = |run: &Run, outcome| run.results.iter().map(|r| r.report.count(outcome)).sum::<usize>();
    text += &row("**programs passed**", &|run| format!("**{} of {}**", passed(run), programs.len()));
    text += &row("**checks passed**", &|run| {
        let ok = count(run, Outcome::Ok);
        format!("**{ok} of {}**", ok + count(run, Outcome::NotOk))
    });
    text
}

/// A program that passes shows its number of checks, another one how many of them passed.
fn cell(result: &Result, program: &Program) -> String {
    let (ok, failed) = (result.report.count(Outcome::Ok), result.report.count(Outcome::NotOk));
    match (result.failure(program), ok + failed) {
        (None, 0) => "✓".to_owned(),
        (None, _) => format!("✓ {ok}"),
        (Some(_), 0) => "–".to_owned(),
        (Some(_), all) => format!("– {ok}/{all}"),
    }
}

/// How the first runtime did in comparison.
#[derive(Default)]
pub struct Comparison {
    /// What it lacks and another one has, in words; empty if it lacks nothing.
    pub lacks: String,
    pub passed: usize,
    pub failed: usize,
    /// Programs that neither it nor another one passes here: they say nothing.
    pub idle: usize,
}

pub fn compare(programs: &[Program], runs: &[Run]) -> Comparison {
    let (ours, controls) = runs.split_first().expect("there is a runtime");
    let mut comparison = Comparison::default();
    for (i, program) in programs.iter().enumerate() {
        let result = &ours.results[i];
        let mut lacks = String::new();
        for control in controls {
            let (whole, checks) = result.lacks(&control.results[i], program);
            if !whole && checks.is_empty() {
                continue;
            }
            let why = result.failure(program).unwrap_or_else(|| "passes, with fewer checks".to_owned());
            let passes = if whole { "passes it" } else { "passes more of it" };
            let _ = writeln!(lacks, "{}: {}: {why}; {} {passes}", program.name, ours.name, control.name);
            for Check { name, nth } in checks.iter().take(NAMED) {
                let _ = writeln!(lacks, "    lacks: {name} ({nth})");
            }
            if checks.len() > NAMED {
                let _ = writeln!(lacks, "    and {} more", checks.len() - NAMED);
            }
        }
        if !lacks.is_empty() {
            comparison.failed += 1;
        } else if result.failure(program).is_none() {
            comparison.passed += 1;
        } else {
            comparison.idle += 1;
        }
        comparison.lacks += &lacks;
    }
    comparison
}
