//! Arguments as commands use them, and how their values are taken.

use std::path::PathBuf;
use std::str::FromStr;

use clap::builder::{PossibleValuesParser, TypedValueParser};
use clap::{Arg, ArgAction, ArgMatches, ValueHint, value_parser};

use super::{Asked, Command};
use crate::error::Result;
use crate::log::Format;

pub fn id() -> Arg {
    Arg::new("id").value_name("ID").required(true).help("The container's name")
}

pub fn switch(name: &'static str, short: Option<char>, help: &'static str) -> Arg {
    Arg::new(name).long(name).short(short).action(ArgAction::SetTrue).help(help)
}

pub fn option(name: &'static str, short: Option<char>, value: &'static str, help: &'static str) -> Arg {
    Arg::new(name).long(name).short(short).value_name(value).help(help).hide_possible_values(true)
}

pub fn path(name: &'static str, short: Option<char>, value: &'static str, help: &'static str) -> Arg {
    let hint = if value == "DIR" { ValueHint::DirPath } else { ValueHint::FilePath };
    option(name, short, value, help).value_parser(value_parser!(PathBuf)).value_hint(hint)
}

/// A word out of a closed set.
pub fn one_of<T>(words: &'static [&'static str]) -> impl TypedValueParser<Value = T>
where
    T: FromStr<Err = &'static str> + Clone + Send + Sync + 'static,
{
    PossibleValuesParser::new(words).try_map(|word| word.parse())
}

pub fn format() -> Arg {
    option("format", Some('f'), "FORMAT", "How to print: text or json (default: text)")
        .value_parser(one_of::<Format>(&["text", "json"]))
}

pub fn bundle() -> Arg {
    path("bundle", Some('b'), "DIR", "The bundle's directory (default: the current one)")
}

/// The same without the flag, for commands that take no container.
pub fn bundle_operand() -> Arg {
    Arg::new("directory")
        .value_name("BUNDLE")
        .value_parser(value_parser!(PathBuf))
        .value_hint(ValueHint::DirPath)
        .conflicts_with("bundle")
        .help("The bundle's directory, as with --bundle")
}

pub fn read_bundle(m: &mut ArgMatches) -> Option<PathBuf> {
    m.remove_one("bundle").or_else(|| m.remove_one("directory"))
}

pub fn no_pivot() -> Arg {
    switch("no-pivot", None, "Enter the root by moving the mount: for a root on an initramfs; less safe")
}

pub fn no_new_keyring() -> Arg {
    switch("no-new-keyring", None, "Leave the caller's session keyring to the container")
}

/// An argument's value, or the default of its type: what the help says of each.
pub fn take<T: Default + Clone + Send + Sync + 'static>(m: &mut ArgMatches, name: &str) -> T {
    m.remove_one(name).unwrap_or_default()
}

pub fn ask(command: Command) -> Result<Asked> {
    Ok(Asked::Command(command))
}
