//! The process that a test's container runs: it tells what it sees, and judges nothing.
//!
//! Each argument is a phrase, a verb and its operands with a space between; they are carried out
//! in order. A phrase that asks something prints one line `{"ask": PHRASE, "answer": …}`; an attempt that
//! the kernel refuses has the errno's name ("EPERM") as its answer. So `inside ids "mkdir /x" "exit 3"` is
//! a test's view of a container in one line, and a test asks for nothing that it doesn't use.
//!
//! It is linked statically, since its root file system has no libraries (see `make inside`).

mod ask;
mod sys;

use std::fs::OpenOptions;
use std::io::Write;
use std::os::unix::process::CommandExt;

use nix::sys::signal::{SigSet, Signal, raise};
use serde_json::{Value, json};

/// Where answers go: stdout, or after `to PATH` the end of that file.
struct Output(Box<dyn Write>);

impl Output {
    fn tell(&mut self, phrase: &str, answer: Value) {
        let line = format!("{}\n", json!({ "ask": phrase, "answer": answer }));
        if self.0.write_all(line.as_bytes()).and_then(|()| self.0.flush()).is_err() {
            std::process::exit(99);
        }
    }
}

fn main() {
    let mut out = Output(Box::new(std::io::stdout()));
    let mut arguments = std::env::args_os().skip(1).map(|a| a.to_string_lossy().into_owned());
    while let Some(phrase) = arguments.next() {
        let (verb, rest) = phrase.split_once(' ').unwrap_or((&phrase, ""));
        match verb {
            "to" => match OpenOptions::new().append(true).create(true).open(rest) {
                Ok(file) => out = Output(Box::new(file)),
                Err(e) => fail(&format!("{phrase}: {e}")),
            },
            "exit" => std::process::exit(rest.parse().unwrap_or_else(|_| fail(&phrase))),
            "sleep" => pause(),
            "exec" => {
                let program = arguments.next().unwrap_or_else(|| fail(&phrase));
                fail(&format!("{program}: {}", std::process::Command::new(&program).args(arguments).exec()));
            }
            "raise" => drop(raise(signal(rest))),
            "block" => {
                let done = signals(rest).thread_block().map(|()| json!("ok"));
                out.tell(&phrase, done.unwrap_or_else(|e| json!(format!("{e:?}"))));
            }
            "await" => {
                let came = signals(rest).wait().map(|s| json!(s.as_str()));
                out.tell(&phrase, came.unwrap_or_else(|e| json!(format!("{e:?}"))));
            }
            _ => match ask::answer(verb, rest) {
                Some(answer) => out.tell(&phrase, answer),
                None => fail(&format!("unknown phrase {phrase:?}")),
            },
        }
    }
}

/// Sleeps until killed. A day bounds it, for a test run that was killed itself.
fn pause() -> ! {
    std::thread::sleep(std::time::Duration::from_secs(86_400));
    std::process::exit(98)
}

fn signals(names: &str) -> SigSet {
    names.split(' ').map(signal).collect()
}

fn signal(name: &str) -> Signal {
    name.parse().unwrap_or_else(|_| fail(&format!("unknown signal {name:?}: say SIGTERM")))
}

fn fail(why: &str) -> ! {
    eprintln!("inside: {why}");
    std::process::exit(97)
}
