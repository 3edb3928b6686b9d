//! Every target with its seeds and what is made of them, for about a second each: `make unit`. The same inputs come each
//! time, as many as there is time for. With names, `cargo test --package fuzz --test bounded -- [RUNS] NAME…`, only those,
//! and with a number before them so many inputs, however long it takes.
//!
//! An input is kept in a file while it is tried, so that it is there if the process dies of it; a failure names it.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::panic::catch_unwind;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use fuzz::mutate::{Random, mutate};
use fuzz::seeds::seeds;

const EACH: Duration = Duration::from_millis(700);
/// What reads more than a few words.
const LONGER: [(&str, u32); 4] = [("config", 6), ("seccomp", 4), ("mounts", 2), ("shim-calls", 2)];
/// One that takes longer is a failure, too: nobody may make us wait. Other tests run beside us.
const SLOWEST: Duration = Duration::from_secs(10);
const LONGEST: usize = 1 << 14;

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).filter(|arg| !arg.starts_with('-')).collect();
    let runs = args.iter().find_map(|arg| arg.parse().ok());
    let names: Vec<&String> = args.iter().filter(|arg| arg.parse::<u64>().is_err()).collect();
    let chosen: Vec<_> = fuzz::targets()
        .filter(|(name, _)| names.is_empty() || names.iter().any(|wanted| wanted == name))
        .collect();
    println!("\nrunning {} tests", chosen.len());
    let count = chosen.len();
    let failed = chosen.into_iter().filter(|(name, target)| !is_passed(name, *target, runs)).count();
    let verdict = if failed == 0 { "ok" } else { "FAILED" };
    println!("\ntest result: {verdict}. {} passed; {failed} failed; 0 ignored", count - failed);
    ExitCode::from(u8::from(failed > 0))
}

fn is_passed(name: &str, target: fn(&[u8]), runs: Option<u64>) -> bool {
    let begun = Instant::now();
    let times = LONGER.iter().find(|(longer, _)| *longer == name).map_or(1, |(_, times)| *times);
    let kept = Kept::new(name);
    let seeds = seeds(name);
    let mut random = Random::new(1);
    let mut count = 0;
    loop {
        let input = match seeds.get(count as usize) {
            Some(seed) => seed.clone(),
            None => {
                let mut input = seeds[random.below(seeds.len())].clone();
                mutate(&mut input, &seeds[random.below(seeds.len())], &mut random, LONGEST);
                input
            }
        };
        kept.put(&input);
        // A hang ends us, and the file stays.
        nix::unistd::alarm::set(120);
        let tried = Instant::now();
        let passed = catch_unwind(|| target(&input)).is_ok();
        if !passed || tried.elapsed() > SLOWEST {
            let why = if passed { "takes too long" } else { "fails" };
            println!(
                "test {name} ... {why} of input {count}, {}\ntest {name} ... FAILED",
                kept.path.display()
            );
            return false;
        }
        count += 1;
        let is_over = runs.map_or(begun.elapsed() > times * EACH, |runs| count >= runs);
        if is_over && count as usize >= seeds.len() {
            break;
        }
    }
    nix::unistd::alarm::cancel();
    drop(std::fs::remove_file(&kept.path));
    println!("test {name} ... ok ({count} inputs)");
    true
}

/// The file with the input that is being tried.
struct Kept {
    path: PathBuf,
    file: File,
}

impl Kept {
    fn new(name: &str) -> Kept {
        let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("fuzz-{name}"));
        let file = File::create(&path).expect("a file for the input");
        Kept { path, file }
    }

    fn put(&self, input: &[u8]) {
        self.file
            .write_all_at(input, 0)
            .and_then(|()| self.file.set_len(input.len() as u64))
            .expect("keep the input");
    }
}
