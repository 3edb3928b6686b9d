//! What there is on the command line: one row per command, from which parsing, help, man pages and
//! completions are made.

use std::ffi::OsString;
use std::path::PathBuf;
use std::str::FromStr;

use clap::builder::{PossibleValuesParser, TypedValueParser};
use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{Arg, ArgAction, ArgMatches, ValueHint, value_parser};

use super::{Asked, Command, Create, Global, ListFormat, Rootless, Run, go, pages};
use crate::error::{Error, Kind, Result};
use crate::log::{Format, Level};
use crate::sys::Signal;

type Definition = clap::Command;

struct Row {
    name: &'static str,
    about: &'static str,
    args: fn() -> Vec<Arg>,
    read: fn(&mut ArgMatches) -> Result<Asked>,
}

const COMMANDS: &[Row] = &[
    Row {
        name: "create",
        about: "Make a container from a bundle; its program waits for start",
        args: || [bundle_options(), vec![id()]].concat(),
        read: |m| ask(Command::Create(read_create(m))),
    },
    Row {
        name: "start",
        about: "Let the program of a created container run",
        args: || vec![id()],
        read: |m| ask(Command::Start { id: take(m, "id") }),
    },
    Row {
        name: "state",
        about: "Print a container's state as JSON",
        args: || vec![id()],
        read: |m| ask(Command::State { id: take(m, "id") }),
    },
    Row {
        name: "kill",
        about: "Send a signal to a container's first process",
        args: || {
            let signal = Arg::new("signal")
                .value_name("SIGNAL")
                .value_parser(Signal::from_str);
            vec![
                switch(
                    "all",
                    Some('a'),
                    "Take a container that has stopped for a success",
                )
                .hide(true),
                id(),
                signal.help("Name with or without SIG, or number (default: TERM)"),
            ]
        },
        read: |m| {
            ask(Command::Kill {
                id: take(m, "id"),
                signal: take(m, "signal"),
                all: take(m, "all"),
            })
        },
    },
    Row {
        name: "delete",
        about: "Remove what a container leaves: cgroup, state",
        args: || {
            vec![
                switch(
                    "force",
                    Some('f'),
                    "Kill it first if it runs; be content if there is no such container",
                ),
                id(),
            ]
        },
        read: |m| {
            ask(Command::Delete {
                id: take(m, "id"),
                force: take(m, "force"),
            })
        },
    },
    Row {
        name: "run",
        about: "Create, start, wait for and delete a container",
        args: || {
            let run = vec![
                switch(
                    "detach",
                    Some('d'),
                    "Return once the program runs, and don't delete the container",
                ),
                switch("keep", None, "Don't delete the container when it has stopped"),
                switch("no-subreaper", None, "Don't adopt the container's orphans"),
                id().help("The container's name, or the directory of a bundle"),
            ];
            [bundle_options(), run].concat()
        },
        read: |m| {
            ask(Command::Run(Run {
                create: read_create(m),
                detach: take(m, "detach"),
                keep: take(m, "keep"),
                no_subreaper: take(m, "no-subreaper"),
            }))
        },
    },
    Row {
        name: "list",
        about: "Show the containers below --root",
        args: || {
            vec![
                option(
                    "format",
                    Some('f'),
                    "FORMAT",
                    "How to print: table or json (default: table)",
                )
                .value_parser(one_of::<ListFormat>(&["table", "json"])),
                switch("quiet", Some('q'), "Print the ids alone"),
            ]
        },
        read: |m| {
            ask(Command::List {
                format: take(m, "format"),
                quiet: take(m, "quiet"),
            })
        },
    },
    Row {
        name: "spec",
        about: "Write a default config.json",
        args: || {
            vec![
                path(
                    "bundle",
                    Some('b'),
                    "DIR",
                    "Where to write it (default: the current directory)",
                ),
                switch("rootless", None, "For a container without root's privileges"),
            ]
        },
        read: |m| {
            ask(Command::Spec {
                bundle: m.remove_one("bundle"),
                rootless: take(m, "rootless"),
            })
        },
    },
    Row {
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
        read: |m| pages::completion(&take::<String>(m, "shell")).map(Asked::Text),
    },
    Row {
        name: "man",
        about: "Print a man page in roff",
        args: || {
            vec![
                Arg::new("command")
                    .value_name("COMMAND")
                    .help("The command's page (default: rrunc's own)"),
            ]
        },
        read: |m| pages::man(m.remove_one::<String>("command").as_deref()).map(Asked::Text),
    },
    Row {
        name: "help",
        about: "Explain a command",
        args: || {
            vec![
                Arg::new("command")
                    .value_name("COMMAND")
                    .help("The command to explain"),
            ]
        },
        read: |m| help(m.remove_one::<String>("command").as_deref()),
    },
    Row {
        name: "version",
        about: "Print the version",
        args: Vec::new,
        read: |_| Ok(Asked::Version),
    },
];

fn bundle_options() -> Vec<Arg> {
    vec![
        path(
            "bundle",
            Some('b'),
            "DIR",
            "The bundle's directory (default: the current one)",
        ),
        path(
            "console-socket",
            None,
            "SOCKET",
            "Unix socket that gets the terminal's master side",
        ),
        path(
            "pid-file",
            None,
            "FILE",
            "Where to write the pid of the container's first process",
        ),
        path(
            "pidfd-socket",
            None,
            "SOCKET",
            "Unix socket that gets a pidfd of that process",
        ),
        option(
            "preserve-fds",
            None,
            "N",
            "How many open files from 3 on to hand to the program (default: 0)",
        )
        .value_parser(value_parser!(u32).range(0..=65536)),
        switch(
            "no-pivot",
            None,
            "Enter the root by moving the mount: for a root on an initramfs; less safe",
        ),
        switch(
            "no-new-keyring",
            None,
            "Leave the caller's session keyring to the container",
        ),
    ]
}

fn read_create(m: &mut ArgMatches) -> Create {
    Create {
        id: take(m, "id"),
        bundle: m.remove_one("bundle"),
        console_socket: m.remove_one("console-socket"),
        pid_file: m.remove_one("pid-file"),
        pidfd_socket: m.remove_one("pidfd-socket"),
        preserve_fds: take(m, "preserve-fds"),
        no_pivot: take(m, "no-pivot"),
        no_new_keyring: take(m, "no-new-keyring"),
    }
}

/// rrunc and the options before the command.
pub fn global() -> Definition {
    Definition::new("rrunc")
        .about("Runs containers as the Open Container Initiative's runtime specification says")
        .disable_help_flag(true)
        .disable_help_subcommand(true)
        .args_override_self(true)
        .args([
            path(
                "root",
                None,
                "DIR",
                "Where containers are remembered (default: /run/rrunc, or rrunc in $XDG_RUNTIME_DIR)",
            ),
            path("log", None, "FILE", "Append messages to this file"),
            option(
                "log-format",
                None,
                "FORMAT",
                "How to write them: text or json (default: text)",
            )
            .value_parser(one_of::<Format>(&["text", "json"])),
            option(
                "log-level",
                None,
                "LEVEL",
                "Which to write: error, warning, info or debug (default: warning)",
            )
            .value_parser(one_of::<Level>(&["error", "warning", "info", "debug"])),
            switch("debug", None, "Write all of them, as --log-level debug"),
            switch(
                "systemd-cgroup",
                None,
                "Let systemd make the cgroup; cgroupsPath is slice:prefix:name",
            ),
            option(
                "rootless",
                None,
                "WHEN",
                "Overlook what only root may do: true, false or auto (default: auto)",
            )
            .value_parser(Rootless::from_str),
            switch("version", Some('v'), "Print the version"),
            switch("help", Some('h'), "Print this help"),
        ])
}

pub fn read_global(m: &mut ArgMatches, root: impl FnOnce() -> PathBuf) -> Global {
    let debug = take(m, "debug");
    Global {
        root: m.remove_one("root").unwrap_or_else(root),
        log: m.remove_one("log"),
        log_format: take(m, "log-format"),
        log_level: if debug { Level::Debug } else { take(m, "log-level") },
        debug,
        systemd_cgroup: take(m, "systemd-cgroup"),
        rootless: take(m, "rootless"),
    }
}

/// The command called `name`, with its arguments.
pub fn command(name: &str, args: impl IntoIterator<Item = OsString>) -> Result<Asked> {
    let row = find(name)?;
    let definition = build(row);
    let args = go::all(&definition, args)?;
    match definition.try_get_matches_from(args) {
        Ok(mut matches) => (row.read)(&mut matches),
        Err(asked) if asked.kind() == ErrorKind::DisplayHelp => Ok(Asked::Text(asked.to_string())),
        Err(error) => Err(fault(name, &error)),
    }
}

fn find(name: &str) -> Result<&'static Row> {
    COMMANDS.iter().find(|row| row.name == name).ok_or_else(|| {
        Error::new(Kind::Usage, format!("No help topic for '{name}'")).hint("rrunc --help lists the commands")
    })
}

fn build(row: &Row) -> Definition {
    Definition::new(row.name)
        .bin_name(format!("rrunc {}", row.name))
        .about(row.about)
        .disable_help_flag(true)
        .args_override_self(true)
        .args((row.args)())
        .arg(
            Arg::new("help")
                .long("help")
                .short('h')
                .action(ArgAction::Help)
                .help("Print this help"),
        )
}

/// Everything there is, for the pages that show it all.
pub fn whole() -> Definition {
    global().subcommands(COMMANDS.iter().map(build))
}

/// A command's definition, or rrunc's own with everything.
pub fn page(command: Option<&str>) -> Result<Definition> {
    match command {
        Some(name) => Ok(build(find(name)?)),
        None => Ok(whole()),
    }
}

fn help(command: Option<&str>) -> Result<Asked> {
    Ok(Asked::Text(page(command)?.render_help().to_string()))
}

/// What clap finds wrong, in one line that names the flag or argument.
pub fn fault(command: &str, error: &clap::Error) -> Error {
    let context = |kind| match error.get(kind) {
        Some(ContextValue::String(text)) => text.clone(),
        Some(ContextValue::Strings(texts)) => texts.join(", "),
        _ => String::new(),
    };
    // clap shows `--preserve-fds <N>`, `[SIGNAL]`; the name alone is what was typed.
    let argument = context(ContextKind::InvalidArg);
    let name = argument
        .split(' ')
        .next()
        .unwrap_or_default()
        .trim_matches(['-', '<', '>', '[', ']', '.']);
    let value = context(ContextKind::InvalidValue);
    let text = match error.kind() {
        ErrorKind::MissingRequiredArgument => format!("\"{command}\" requires an argument: {argument}"),
        ErrorKind::UnknownArgument | ErrorKind::TooManyValues => {
            format!("\"{command}\" does not take the argument \"{argument}{value}\"")
        }
        ErrorKind::InvalidValue if value.is_empty() => format!("flag needs an argument: --{name}"),
        ErrorKind::InvalidValue => {
            format!(
                "invalid {}: {value}: one of {}",
                name.to_lowercase(),
                context(ContextKind::ValidValue)
            )
        }
        ErrorKind::ValueValidation => {
            let why = std::error::Error::source(error).map(ToString::to_string);
            format!(
                "invalid {}: {value}: {}",
                name.to_lowercase(),
                why.unwrap_or_default()
            )
        }
        ErrorKind::InvalidUtf8 => "an argument is not UTF-8".to_string(),
        _ => error.to_string().lines().next().unwrap_or_default().to_string(),
    };
    let program = if command == "rrunc" {
        "rrunc".to_string()
    } else {
        format!("rrunc {command}")
    };
    Error::new(Kind::Usage, text).hint(format!("see {program} --help"))
}

fn id() -> Arg {
    Arg::new("id")
        .value_name("ID")
        .required(true)
        .help("The container's name")
}

fn switch(name: &'static str, short: Option<char>, help: &'static str) -> Arg {
    Arg::new(name)
        .long(name)
        .short(short)
        .action(ArgAction::SetTrue)
        .help(help)
}

fn option(name: &'static str, short: Option<char>, value: &'static str, help: &'static str) -> Arg {
    Arg::new(name)
        .long(name)
        .short(short)
        .value_name(value)
        .help(help)
        .hide_possible_values(true)
}

fn path(name: &'static str, short: Option<char>, value: &'static str, help: &'static str) -> Arg {
    let hint = if value == "DIR" {
        ValueHint::DirPath
    } else {
        ValueHint::FilePath
    };
    option(name, short, value, help)
        .value_parser(value_parser!(PathBuf))
        .value_hint(hint)
}

/// A word out of a closed set.
fn one_of<T>(words: &'static [&'static str]) -> impl TypedValueParser<Value = T>
where
    T: FromStr<Err = &'static str> + Clone + Send + Sync + 'static,
{
    PossibleValuesParser::new(words).try_map(|word| word.parse())
}

/// An argument's value, or the default of its type: what the help says of each.
fn take<T: Default + Clone + Send + Sync + 'static>(m: &mut ArgMatches, name: &str) -> T {
    m.remove_one(name).unwrap_or_default()
}

fn ask(command: Command) -> Result<Asked> {
    Ok(Asked::Command(command))
}
