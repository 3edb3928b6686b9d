//! Flags as Go's flag package takes them, rewritten to the one form that the definitions know: `--long`
//! and `--long=value`.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};

use clap::{Arg, Command};

use crate::error::{Error, Kind, Result};

/// Flags up to the first argument that isn't one, and everything from there on.
pub fn split(
    definition: &Command,
    args: impl IntoIterator<Item = OsString>,
) -> Result<(Vec<OsString>, Vec<OsString>)> {
    let mut args = args.into_iter();
    let mut flags = Flags::new(definition);
    while let Some(arg) = args.next() {
        if !flags.take(&arg, &mut args)? {
            // `--` ends the flags and is itself nothing.
            let first = (arg != "--").then_some(arg);
            return Ok((flags.out, first.into_iter().chain(args).collect()));
        }
    }
    Ok((flags.out, vec![]))
}

/// Flags before, between and after the other arguments, up to `--`.
pub fn all(definition: &Command, args: impl IntoIterator<Item = OsString>) -> Result<Vec<OsString>> {
    let mut args = args.into_iter();
    let mut flags = Flags::new(definition);
    while let Some(arg) = args.next() {
        if flags.take(&arg, &mut args)? {
            continue;
        }
        let end = arg == "--";
        flags.out.push(arg);
        if end {
            flags.out.extend(args.by_ref());
        }
    }
    Ok(flags.out)
}

/// Flags up to the first other argument; what comes from there on isn't looked at.
pub fn first(definition: &Command, args: impl IntoIterator<Item = OsString>) -> Result<Vec<OsString>> {
    let (mut flags, rest) = split(definition, args)?;
    flags.push("--".into());
    flags.extend(rest);
    Ok(flags)
}

struct Flags<'a> {
    definition: &'a Command,
    out: Vec<OsString>,
}

impl<'a> Flags<'a> {
    fn new(definition: &'a Command) -> Flags<'a> {
        let name = OsString::from(definition.get_name()); // clap expects argv[0]
        Flags { definition, out: vec![name] }
    }

    /// Takes `arg` if it is a flag, with its value from the arguments after it; false if it isn't one.
    fn take(&mut self, arg: &OsStr, after: &mut impl Iterator<Item = OsString>) -> Result<bool> {
        let bytes = arg.as_bytes();
        let body = match bytes {
            b"-" | b"--" => return Ok(false),
            [b'-', b'-', body @ ..] | [b'-', body @ ..] => body,
            _ => return Ok(false),
        };
        let (name, value) = match body.iter().position(|byte| *byte == b'=') {
            Some(at) => (&body[..at], Some(&body[at + 1..])),
            None => (body, None),
        };
        let (long, takes_value) = self
            .known(name)
            .ok_or_else(|| self.error(format!("flag provided but not defined: {}", arg.to_string_lossy())))?;
        let mut flag = format!("--{long}").into_bytes();
        if takes_value {
            let value = match value {
                Some(value) => OsString::from_vec(value.to_vec()),
                None => {
                    after.next().ok_or_else(|| self.error(format!("flag needs an argument: --{long}")))?
                }
            };
            flag.push(b'=');
            flag.extend(value.as_bytes());
            self.out.push(OsString::from_vec(flag));
            return Ok(true);
        }
        let flag = OsString::from_vec(flag);
        self.out.retain(|earlier| *earlier != flag); // the last one wins
        if truth(value.unwrap_or(b"true")).ok_or_else(|| {
            self.error(format!("invalid boolean value in {}: true or false", arg.to_string_lossy()))
        })? {
            self.out.push(flag);
        }
        Ok(true)
    }

    /// The flag's long name, and whether it takes a value.
    fn known(&self, name: &[u8]) -> Option<(String, bool)> {
        let is = |arg: &&Arg| match (arg.get_long(), arg.get_short()) {
            (Some(long), _) if long.as_bytes() == name => true,
            (_, Some(short)) => [short as u8] == *name,
            _ => false,
        };
        let arg = self.definition.get_arguments().find(is)?;
        Some((arg.get_long()?.to_string(), arg.get_action().takes_values()))
    }

    fn error(&self, text: String) -> Error {
        let command = self.definition.get_bin_name().unwrap_or("rrunc");
        Error::new(Kind::Usage, text).hint(format!("see {command} --help"))
    }
}

/// The spellings of Go's strconv.ParseBool.
pub fn truth(text: &[u8]) -> Option<bool> {
    match text {
        b"1" | b"t" | b"T" | b"true" | b"True" | b"TRUE" => Some(true),
        b"0" | b"f" | b"F" | b"false" | b"False" | b"FALSE" => Some(false),
        _ => None,
    }
}
