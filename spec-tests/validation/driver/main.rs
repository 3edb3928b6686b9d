//! Runs the validation programs of the Open Container Initiative's runtime-tools on several runtimes, and compares.
//! The first runtime has to pass whatever another one passes. `spec-tests/validation/run` builds the programs, makes
//! the mount namespace and the cgroup that this needs, and starts it: start that instead.

mod job;
mod programs;
mod table;
mod tap;
mod verdict;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc;
use std::thread;

use job::Place;
use programs::Program;
use tap::Outcome;

/// All results of a runtime, in the order of the programs.
struct Run {
    /// Name and version, as the runtime says them.
    name: String,
    results: Vec<verdict::Result>,
}

fn main() -> ExitCode {
    match compare() {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(1),
        Err(message) => {
            eprintln!("validation: {message}");
            ExitCode::from(2)
        }
    }
}

/// Whether the first runtime passes all that the others pass.
fn compare() -> Result<bool, String> {
    let args: Vec<PathBuf> = std::env::args_os().skip(1).map(PathBuf::from).collect();
    let [here, built, output, _, ..] = &args[..] else {
        return Err("usage: validation HERE PROGRAMS RESULTS RUNTIME...".to_owned());
    };
    let runtimes = &args[3..];
    let cgroup = std::env::var_os("RRUNC_VALIDATION_CGROUP").ok_or("RRUNC_VALIDATION_CGROUP isn't set")?;
    let place = Place { sandbox: here.join("sandbox"), programs: built.clone(), cgroup: cgroup.into() };
    let programs = programs::read(&here.join("programs"), built)?;
    let names = names(runtimes)?;

    let runs = run_all(&place, &programs, runtimes, &names, output)?;
    for run in &runs {
        let file = output.join(file_name(&run.name) + ".tsv");
        fs::write(&file, listing(&programs, run)).map_err(|e| format!("{}: {e}", file.display()))?;
    }
    print!("{}", table::table(&programs, &runs));
    let comparison = table::compare(&programs, &runs);
    println!("\n{}", comparison.lacks);
    let good = comparison.failed == 0;
    // libtest's closing line, so that all suites add up. Ignored: what no runtime passes on this machine.
    let result = if good { "ok" } else { "FAILED" };
    let table::Comparison { passed, failed, idle, .. } = comparison;
    println!("test result: {result}. {passed} passed; {failed} failed; {idle} ignored");
    Ok(good)
}

/// Runs each program with each runtime, several at a time: they mostly wait.
fn run_all(
    place: &Place,
    programs: &[Program],
    runtimes: &[PathBuf],
    names: &[String],
    output: &Path,
) -> Result<Vec<Run>, String> {
    for name in names {
        let dir = output.join(file_name(name));
        fs::create_dir_all(&dir).map_err(|e| format!("{}: {e}", dir.display()))?;
    }
    let jobs = programs.len() * runtimes.len();
    let next = AtomicUsize::new(0);
    let (sender, receiver) = mpsc::channel();
    let workers = 2 * thread::available_parallelism().map_or(1, usize::from);
    let mut results = BTreeMap::new();
    thread::scope(|scope| {
        for _ in 0..workers {
            let (next, sender) = (&next, sender.clone());
            scope.spawn(move || {
                loop {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    if number >= jobs {
                        break;
                    }
                    let (program, runtime) = (number / runtimes.len(), number % runtimes.len());
                    let output = output.join(file_name(&names[runtime])).join(&programs[program].name);
                    let result = job::run(place, &programs[program], &runtimes[runtime], &output)
                        .map_err(|e| format!("{} with {}: {e}", programs[program].name, names[runtime]));
                    if sender.send(((runtime, program), result)).is_err() {
                        break; // a job failed, nobody waits for more
                    }
                }
            });
        }
        drop(sender);
        for (at, result) in receiver {
            results.insert(at, result?);
        }
        Ok::<(), String>(())
    })?;
    let mut results = results.into_values();
    let of =
        |name: &String| Run { name: name.clone(), results: results.by_ref().take(programs.len()).collect() };
    Ok(names.iter().map(of).collect())
}

/// What each runtime calls itself: "crun version 1.21" is "crun 1.21". Two of the same name get numbers.
fn names(runtimes: &[PathBuf]) -> Result<Vec<String>, String> {
    let mut names: Vec<String> = Vec::new();
    for runtime in runtimes {
        let said = Command::new(runtime).arg("--version").output();
        let said = said.map_err(|e| format!("{} --version: {e}", runtime.display()))?;
        let said = String::from_utf8_lossy(&said.stdout);
        let words: Vec<_> =
            said.lines().next().unwrap_or("").split(' ').filter(|w| *w != "version").collect();
        let name = match words[..] {
            [name, version, ..] => format!("{name} {version}"),
            _ => runtime.file_name().unwrap_or(runtime.as_os_str()).to_string_lossy().into_owned(),
        };
        let same = names.iter().filter(|n| **n == name || n.starts_with(&format!("{name} ("))).count();
        names.push(if same == 0 { name } else { format!("{name} ({})", same + 1) });
    }
    Ok(names)
}

fn file_name(name: &str) -> String {
    name.replace([' ', '/'], "-")
}

/// A line for each program as a whole and each of its checks: program, check, outcome.
fn listing(programs: &[Program], run: &Run) -> String {
    let mut text = String::new();
    for (program, result) in programs.iter().zip(&run.results) {
        let whole = result.failure(program).map_or("ok".to_owned(), |why| format!("not ok: {why}"));
        text += &format!("{}\t\t{whole}\n", program.name);
        for (check, outcome) in &result.report.checks {
            let outcome = match outcome {
                Outcome::Ok => "ok",
                Outcome::NotOk => "not ok",
                Outcome::Skip => "skip",
            };
            text += &format!("{}\t{} ({})\t{outcome}\n", program.name, check.name, check.nth);
        }
    }
    text
}
