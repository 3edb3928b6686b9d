//! Whether a program passed with a runtime, and what it takes for one runtime to be as good as another.

use crate::programs::Program;
use crate::tap::{Check, Outcome, Report};

/// How a program ended.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum End {
    Exit(i32),
    Signal(i32),
    TimedOut,
}

/// What a program said of a runtime.
#[derive(Debug)]
pub struct Result {
    pub report: Report,
    pub end: End,
}

impl Result {
    /// Why the program as a whole didn't pass; nothing if it did.
    pub fn failure(&self, program: &Program) -> Option<String> {
        let Report { checks, planned, error } = &self.report;
        let failed = self.report.count(Outcome::NotOk);
        match self.end {
            End::TimedOut => return Some("timed out".to_owned()),
            End::Signal(signal) => return Some(format!("killed by signal {signal}")),
            End::Exit(0) => {}
            End::Exit(status) => return Some(format!("exit status {status}")),
        }
        if failed > 0 {
            return Some(format!("{failed} of {} checks failed", checks.len()));
        }
        match (planned, error) {
            _ if program.silent => None,
            (None, _) => Some(format!("ended early, after {} checks", checks.len())),
            (Some(n), _) if *n != checks.len() => Some(format!("did {} of {n} checks", checks.len())),
            (Some(0), Some(error)) => Some(error.clone()),
            _ => None,
        }
    }

    /// What this result lacks that a control's has: the program as a whole, and checks.
    pub fn lacks(&self, control: &Result, program: &Program) -> (bool, Vec<Check>) {
        if program.luck {
            return (false, Vec::new());
        }
        let whole = control.failure(program).is_none()
            && self.failure(program).is_some()
            && program.faults.is_empty();
        let passed = |result: &Result| -> Vec<Check> {
            result.report.checks.iter().filter(|(_, o)| *o == Outcome::Ok).map(|(c, _)| c.clone()).collect()
        };
        let ours = passed(self);
        let lacking = |check: &Check| !ours.contains(check) && !program.faults.contains(&check.name);
        (whole, passed(control).into_iter().filter(lacking).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn result(output: &str, end: End) -> Result {
        Result { report: Report::read(output), end }
    }

    #[test]
    fn a_program_passes_if_it_ends_well_and_did_all_its_checks() {
        let loud = Program::default();
        let silent = Program { silent: true, ..Program::default() };
        let expect = |program, output, end, failure: Option<&str>| {
            assert_eq!(result(output, end).failure(program).as_deref(), failure, "{output:?} {end:?}");
        };
        expect(&loud, "ok 1 - a\n1..1\n", End::Exit(0), None);
        expect(&loud, "TAP version 13\n1..0\n", End::Exit(0), None);
        expect(&loud, "ok 1 - a\n  \"error\": \"as it should be\"\n1..1\n", End::Exit(0), None);
        expect(&loud, "ok 1 - a\n1..1\n", End::Exit(1), Some("exit status 1"));
        expect(&loud, "ok 1 - a\n1..1\n", End::Signal(9), Some("killed by signal 9"));
        expect(&loud, "ok 1 - a\n1..1\n", End::TimedOut, Some("timed out"));
        expect(&loud, "ok 1 - a\nnot ok 2 - b\n1..2\n", End::Exit(0), Some("1 of 2 checks failed"));
        expect(&loud, "ok 1 - a\n", End::Exit(0), Some("ended early, after 1 checks"));
        expect(&loud, "", End::Exit(0), Some("ended early, after 0 checks"));
        expect(&loud, "ok 1 - a\n1..2\n", End::Exit(0), Some("did 1 of 2 checks"));
        expect(&loud, "  \"error\": \"too late\"\n1..0\n", End::Exit(0), Some("too late"));
        expect(&silent, "", End::Exit(0), None);
        expect(&silent, "", End::Exit(1), Some("exit status 1"));
    }

    #[test]
    fn a_runtime_lacks_what_only_the_control_passes() {
        let plain = Program::default();
        let faulty = Program { faults: vec!["b".to_owned()], ..Program::default() };
        let luck = Program { luck: true, ..Program::default() };
        let control = result("ok 1 - a\nok 2 - b\nok 3 - b\n1..3\n", End::Exit(0));
        let expect = |program, ours: &str, whole: bool, checks: &[(&str, usize)]| {
            let checks: Vec<_> =
                checks.iter().map(|(name, nth)| Check { name: (*name).to_owned(), nth: *nth }).collect();
            assert_eq!(result(ours, End::Exit(0)).lacks(&control, program), (whole, checks), "{ours:?}");
        };
        expect(&plain, "ok 1 - a\nok 2 - b\nok 3 - b\n1..3\n", false, &[]);
        expect(&plain, "ok 1 - a\nok 2 - b\nok 3 - b\nok 4 - c\n1..4\n", false, &[]);
        expect(&plain, "ok 1 - a\nok 2 - b\nnot ok 3 - b\n1..3\n", true, &[("b", 2)]);
        expect(&plain, "ok 1 # SKIP a\n1..1\n", false, &[("a", 1), ("b", 1), ("b", 2)]);
        expect(&faulty, "ok 1 - a\nnot ok 2 - b\n1..2\n", false, &[]);
        expect(&faulty, "not ok 1 - a\nnot ok 2 - b\n1..2\n", false, &[("a", 1)]);
        expect(&luck, "", false, &[]);
    }
}
