//! The commands that explain rrunc itself.

use clap::Arg;
use clap::builder::PossibleValuesParser;

use super::Row;
use crate::cli::arg::take;
use crate::cli::{Asked, define, pages};

pub const COMPLETION: Row = Row {
    name: "completion",
    about: "Print a shell's completion script",
    args: || {
        vec![
            Arg::new("shell")
                .value_name("SHELL")
                .required(true)
                .value_parser(PossibleValuesParser::new(pages::SHELLS))
                .help("bash, zsh or fish"),
        ]
    },
    ends_flags: false,
    enters: false,
    read: |m| pages::completion(&take::<String>(m, "shell")).map(Asked::Text),
};

pub const MAN: Row = Row {
    name: "man",
    about: "Print a man page in roff",
    args: || {
        vec![
            Arg::new("command")
                .value_name("COMMAND")
                .help("The command's page, or security: rrunc-security(7) (default: rrunc's own)"),
        ]
    },
    ends_flags: false,
    enters: false,
    read: |m| pages::man(m.remove_one::<String>("command").as_deref()).map(Asked::Text),
};

pub const HELP: Row = Row {
    name: "help",
    about: "Explain a command",
    args: || vec![Arg::new("command").value_name("COMMAND").help("The command to explain")],
    ends_flags: false,
    enters: false,
    read: |m| define::help(m.remove_one::<String>("command").as_deref()),
};

pub const VERSION: Row = Row {
    name: "version",
    about: "Print the version",
    args: Vec::new,
    ends_flags: false,
    enters: false,
    read: |_| Ok(Asked::Version),
};
