//! From the rows of [`super::commands`] to clap's definitions: parsing, help, pages.

use std::ffi::OsString;
use std::path::PathBuf;
use std::str::FromStr;

use clap::error::ErrorKind;
use clap::{Arg, ArgAction, ArgMatches};

use super::arg::{one_of, option, path, switch, take};
use super::commands::{COMMANDS, Row};
use super::fault::fault;
use super::{Asked, CgroupManager, Global, Rootless, go};
use crate::error::{Error, Kind, Result};
use crate::log::{Format, Level};

type Definition = clap::Command;

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
            path(
                "log",
                None,
                "FILE",
                "Append messages to this file, or send them to journald:NAME or syslog:NAME",
            ),
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
                "As --cgroup-manager systemd",
            ),
            option(
                "cgroup-manager",
                None,
                "MANAGER",
                "Who makes the cgroup: cgroupfs, systemd (cgroupsPath is slice:prefix:name) or disabled (default: cgroupfs)",
            )
            .value_parser(one_of::<CgroupManager>(&CgroupManager::NAMES)),
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
    let systemd: bool = take(m, "systemd-cgroup");
    let manager: Option<CgroupManager> = m.remove_one("cgroup-manager"); // says more than the switch
    Global {
        root: m.remove_one("root").unwrap_or_else(root),
        log: m.remove_one("log"),
        log_format: take(m, "log-format"),
        log_level: if debug { Level::Debug } else { take(m, "log-level") },
        debug,
        cgroup_manager: manager.unwrap_or(if systemd {
            CgroupManager::Systemd
        } else {
            CgroupManager::Cgroupfs
        }),
        rootless: take(m, "rootless"),
    }
}

/// The command called `name`, with its arguments.
pub fn command(name: &str, args: impl IntoIterator<Item = OsString>) -> Result<Asked> {
    let row = find(name)?;
    let definition = build(row);
    let args = match row.ends_flags {
        true => go::first(&definition, args)?,
        false => go::all(&definition, args)?,
    };
    match definition.try_get_matches_from(args) {
        Ok(mut matches) => (row.read)(&mut matches),
        Err(asked) if asked.kind() == ErrorKind::DisplayHelp => Ok(Asked::Text(asked.to_string())),
        Err(error) => Err(fault(name, &error)),
    }
}

fn find(name: &str) -> Result<&'static Row> {
    COMMANDS.iter().copied().find(|row| row.name == name).ok_or_else(|| {
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
        .arg(Arg::new("help").long("help").short('h').action(ArgAction::Help).help("Print this help"))
}

/// Everything there is, for the pages that show it all.
pub fn whole() -> Definition {
    global().subcommands(COMMANDS.iter().copied().map(build))
}

/// A command's definition, or rrunc's own with everything.
pub fn page(command: Option<&str>) -> Result<Definition> {
    match command {
        Some(name) => Ok(build(find(name)?)),
        None => Ok(whole()),
    }
}

pub fn help(command: Option<&str>) -> Result<Asked> {
    Ok(Asked::Text(page(command)?.render_help().to_string()))
}
