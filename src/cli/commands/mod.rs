//! What there is on the command line: one row per command, from which parsing, help, man pages and completions are
//! made.

mod criu;
mod events;
mod exec;
mod lifecycle;
mod look;
mod pages;
pub mod update;

use clap::{Arg, ArgMatches};

use super::Asked;
use crate::error::Result;

pub struct Row {
    pub name: &'static str,
    pub about: &'static str,
    pub args: fn() -> Vec<Arg>,
    /// Whether flags end at the first argument that is none: the rest is another program's.
    pub ends_flags: bool,
    /// Whether it puts a process into a container or a namespace of one, or executes criu, which does: then it runs from
    /// a file that nobody can write to. [`crate::prepare`] refuses a command that does so and doesn't say it.
    pub enters: bool,
    pub read: fn(&mut ArgMatches) -> Result<Asked>,
}

/// In the order of the help.
pub const COMMANDS: &[&Row] = &[
    &lifecycle::CREATE,
    &lifecycle::START,
    &look::STATE,
    &lifecycle::KILL,
    &lifecycle::DELETE,
    &lifecycle::RUN,
    &lifecycle::MOUNTS,
    &exec::EXEC,
    &lifecycle::PAUSE,
    &lifecycle::RESUME,
    &criu::CHECKPOINT,
    &criu::RESTORE,
    &look::LIST,
    &look::PS,
    &events::EVENTS,
    &update::UPDATE,
    &look::SPEC,
    &look::CHECK,
    &look::PLAN,
    &look::FEATURES,
    &look::INFO,
    &pages::COMPLETION,
    &pages::MAN,
    &pages::HELP,
    &pages::VERSION,
];
