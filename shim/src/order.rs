//! What a runtime is told about a container that is there, in two dialects: runc's command line, for any runtime, and
//! calls of rrunc's library, for rrunc. Both are carried out by a process of their own: the one is executed, the other
//! a copy of the shim (fork(2)), for a start waits for hooks, a delete for processes to go, and whoever waits in the
//! shim's own process would keep all other containers waiting.
//!
//! What makes processes (create, exec, restore) is executed always: rrunc protects its binary from containers.

use std::ffi::OsString;
use std::io::{Write, stderr, stdout};
use std::path::Path;

use rrunc::cli::{ListFormat, Update};
use rrunc::error::Error;
use rrunc::log::{Format, Level};
use rrunc::ops;
use rrunc::sys::process::Signal;

use crate::serve::live::Purpose;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order<'o> {
    Start,
    Delete {
        force: bool,
    },
    Kill {
        signal: u32,
        all: bool,
    },
    Pause,
    Resume,
    List,
    /// linux.resources of config.json.
    Update(&'o [u8]),
}

impl Order<'_> {
    /// The command line after the command, and what is to be read on stdin.
    pub fn words(&self, id: &str) -> (Vec<OsString>, Option<&[u8]>) {
        let mut words: Vec<OsString> = match self {
            Order::Delete { force: true } => vec!["--force".into()],
            Order::Kill { all: true, .. } => vec!["--all".into()],
            Order::List => vec!["--format".into(), "json".into()],
            Order::Update(_) => vec!["--resources".into(), "-".into()],
            _ => vec![],
        };
        words.push(id.into());
        match self {
            Order::Kill { signal, .. } => words.push(signal.to_string().into()),
            Order::Update(resources) => return (words, Some(resources)),
            _ => {}
        }
        (words, None)
    }

    /// Does it by the library, in a process that has nothing else to do: what is printed goes to stdout, what went
    /// wrong to the log and stderr. Returns what to exit with.
    pub fn carry_out(&self, purpose: Purpose, root: &Path, id: &str, log: &Path) -> i32 {
        let opened = rrunc::log::open(Some(log), Format::Json, Level::Warning);
        let done = opened.and_then(|()| self.call(root, id));
        let done = done.map_err(|error| error.context(format!("{} {id}", purpose.word())));
        match done {
            Ok(()) => 0,
            Err(error) => {
                rrunc::log::error(&error);
                let _ = writeln!(stderr(), "rrunc: {}", rrunc::log::escape(&error.to_string())); // nobody else to tell
                error.exit_code()
            }
        }
    }

    fn call(&self, root: &Path, id: &str) -> Result<(), Error> {
        match *self {
            Order::Start => ops::start::start(root, id),
            Order::Delete { force } => ops::delete::delete(root, id, force),
            Order::Kill { signal, all } => ops::kill::kill(root, id, Signal(signal as i32), all),
            Order::Pause => ops::pause::pause(root, id),
            Order::Resume => ops::pause::resume(root, id),
            Order::List => ops::ps::ps(root, id, ListFormat::Json, &[], &mut stdout()),
            // The resources are what it reads on stdin.
            Order::Update(_) => {
                let update = Update { id: id.to_string(), resources: Some("-".into()), ..Update::default() };
                ops::update::update(root, &update)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_runc_has_them() {
        let check = |order: Order, expected: &str, stdin: Option<&[u8]>| {
            let (words, input) = order.words("i");
            assert_eq!(words.join(" ".as_ref()), expected);
            assert_eq!(input, stdin);
        };
        check(Order::Start, "i", None);
        check(Order::Delete { force: false }, "i", None);
        check(Order::Delete { force: true }, "--force i", None);
        let kill = |all| Order::Kill { signal: 9, all };
        check(kill(false), "i 9", None);
        check(kill(true), "--all i 9", None);
        check(Order::List, "--format json i", None);
        check(Order::Update(b"{}"), "--resources - i", Some(b"{}"));
    }
}
