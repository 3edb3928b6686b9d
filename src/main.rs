//! Parse, dispatch, print one error, exit. No logic lives here.

use std::env;
use std::io::{self, Write};

use rrunc::cli::{self, Asked, Caller, Line, Request};
use rrunc::error::{Doing, Result};
use rrunc::sys::Named;
use rrunc::{log, ops, seal, sys, version};

fn main() {
    let status = run().unwrap_or_else(|error| {
        log::error(&error);
        let _ = writeln!(io::stderr(), "rrunc: {}", log::escape(&error.to_string())); // nobody else to tell
        error.exit_code()
    });
    std::process::exit(status);
}

/// What to exit with.
fn run() -> Result<i32> {
    // First of all: if it executes us anew, all that was done until then was in vain.
    if cli::may_enter(env::args_os()) {
        seal::seal(env::args_os());
    }
    let runtime_dir = env::var_os("XDG_RUNTIME_DIR").map(Into::into);
    let caller = Caller {
        is_root: sys::ids::euid().0 == 0 && !(runtime_dir.is_some() && is_root_of_user()),
        runtime_dir,
    };
    let line = Line::parse(env::args_os().skip(1), &caller)?;
    let global = line.global.clone();
    log::open(global.log.as_deref(), global.log_format, global.log_level)?;
    match line.command()? {
        Asked::Command(command) => ops::run(&Request { global, command }),
        Asked::Text(text) => print(&text),
        Asked::Version => print(&version::text()),
    }
}

/// In a user namespace whoever made it is root, but has the host's directories of root only where USER says so.
fn is_root_of_user() -> bool {
    env::var_os("USER").is_none_or(|user| user != "root") && sys::ids::in_user_namespace()
}

fn print(text: &str) -> Result<i32> {
    io::stdout().write_all(text.as_bytes()).call(sys::Call::Write).doing(|| "write to stdout".to_string())?;
    Ok(0)
}
