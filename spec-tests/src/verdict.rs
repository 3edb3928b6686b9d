//! How a test ends: passed, failed, skipped, or failed as expected. Prints the transcript of a failure.

use std::any::Any;
use std::io::Write;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::thread;

use crate::expected::Expected;
use crate::lab::{Lab, runtime};

/// The payload of a test that ended early.
struct Skip(String);

/// Runs a test of what the specification says in `section` (file and heading, as in its repository).
///
/// The test's name is that of the function it is called from, so a test calls it once, with a closure.
///
/// # Panics
/// If the test fails and isn't expected to, or passes although it is expected to fail.
pub fn obeys<F: Fn(&Lab) + Sync>(section: &str, test: F) {
    let name = name_of::<F>();
    let reason = Expected::read().reason(name);
    let (mut result, mut transcript) = attempt(name, &test);
    if reason.is_none()
        && runtime().name != "rrunc"
        && result.as_ref().is_err_and(|payload| !payload.is::<Skip>())
    {
        // A control is there to show that a test can be passed, which once does; what it loses now and then, under
        // load, is its own affair. rrunc has no second try.
        let why = result.err().and_then(text).unwrap_or_default();
        tell(&format!("{name} failed with {}, and is run again: {why}\n{transcript}", runtime()));
        (result, transcript) = attempt(name, &test);
    }
    record(name, section, &result);
    match result {
        Ok(()) => {
            // A race that the runtime loses only sometimes is nothing to insist on.
            if let Some(reason) = reason.filter(|r| !r.starts_with("sometimes ")) {
                panic!("{name} passes, but expected.toml says it fails ({reason}): remove it from there")
            }
        }
        Err(payload) => match (payload.downcast::<Skip>(), reason) {
            (Ok(skip), _) => tell(&format!("skipped {name}: {}", skip.0)),
            (Err(_), Some(reason)) => tell(&format!("expected {name} to fail, and it does: {reason}")),
            (Err(payload), None) => {
                println!("--- {name} (specification: {section}) failed with {}", runtime());
                println!("{transcript}");
                resume_unwind(payload)
            }
        },
    }
}

type Outcome = Result<(), Box<dyn Any + Send>>;

/// Runs the test in a world of its own, which is a thread's (see [`Lab::new`]); with the transcript of that.
fn attempt(name: &str, test: &(impl Fn(&Lab) + Sync)) -> (Outcome, String) {
    let run = || {
        let mut transcript = String::new();
        let outcome = catch_unwind(AssertUnwindSafe(|| {
            let lab = Lab::new();
            let tested = catch_unwind(AssertUnwindSafe(|| {
                test(&lab);
                lab.assert_nothing_left();
            }));
            transcript = lab.transcript();
            tested.unwrap_or_else(|payload| resume_unwind(payload));
        }));
        (outcome, transcript)
    };
    thread::scope(|scope| {
        let thread = thread::Builder::new().name(name.to_owned());
        let thread = thread.spawn_scoped(scope, run).expect("a thread");
        thread.join().unwrap_or_else(|payload| (Err(payload), String::new()))
    })
}

/// What a panic said.
fn text(payload: Box<dyn Any + Send>) -> Option<String> {
    match payload.downcast::<String>() {
        Ok(text) => Some(*text),
        Err(payload) => payload.downcast_ref::<&str>().map(|text| (*text).to_owned()),
    }
}

/// Skips the test, MUST or not, if this machine cannot do what it `needs`: `can` comes from a probe in [`crate::machine`].
pub fn needs(can: bool, what: &str) {
    if !can {
        resume_unwind(Box::new(Skip(format!("this machine lacks {what}"))));
    }
}

/// See [`crate::skip!`].
pub fn fail_or_skip(why: &str) -> ! {
    let must = std::env::var("MUST").is_ok_and(|v| v == "1");
    assert!(!must, "MUST=1 forbids to skip: {why}");
    resume_unwind(Box::new(Skip(why.to_owned())))
}

/// Adds a line to the file that `RESULTS` names, for the table of what each runtime can do (see `make matrix`).
fn record(name: &str, section: &str, result: &Outcome) {
    let Some(file) = std::env::var_os("RESULTS") else {
        return;
    };
    let outcome = match result {
        Ok(()) => "passed",
        Err(payload) if payload.is::<Skip>() => "skipped",
        Err(_) => "failed",
    };
    let line = format!("{name} {section} {outcome}\n");
    let file = std::fs::OpenOptions::new().append(true).create(true).open(file);
    // One write, since tests run side by side.
    file.and_then(|mut file| file.write_all(line.as_bytes()))
        .expect("RESULTS names a file that can be written");
}

/// `chapter::test` from the type name of a closure in it, `spec::chapter::test::{{closure}}`.
fn name_of<F>() -> &'static str {
    let path = std::any::type_name::<F>().trim_end_matches("::{{closure}}");
    path.split_once("::").map_or(path, |(_crate, rest)| rest)
}

/// Past the test's captured output: a skip that nobody sees is taken for a pass.
fn tell(line: &str) {
    let _ = writeln!(std::io::stderr(), "{line}");
}
