//! What is wrong with a command line, in words.

use clap::error::{ContextKind, ContextValue, ErrorKind};

use crate::error::{Error, Kind};

/// What clap finds wrong, in one line that names the flag or argument.
pub fn fault(command: &str, error: &clap::Error) -> Error {
    let context = |kind| match error.get(kind) {
        Some(ContextValue::String(text)) => text.clone(),
        Some(ContextValue::Strings(texts)) => texts.join(", "),
        _ => String::new(),
    };
    // clap shows `--preserve-fds <N>`, `[SIGNAL]`; the name alone is what was typed.
    let argument = context(ContextKind::InvalidArg);
    let name = argument.split(' ').next().unwrap_or_default().trim_matches(['-', '<', '>', '[', ']', '.']);
    let value = context(ContextKind::InvalidValue);
    let text = match error.kind() {
        ErrorKind::MissingRequiredArgument => format!("\"{command}\" requires an argument: {argument}"),
        ErrorKind::UnknownArgument | ErrorKind::TooManyValues => {
            format!("\"{command}\" does not take the argument \"{argument}{value}\"")
        }
        ErrorKind::InvalidValue if value.is_empty() => format!("flag needs an argument: --{name}"),
        ErrorKind::InvalidValue => {
            format!("invalid {}: {value}: one of {}", name.to_lowercase(), context(ContextKind::ValidValue))
        }
        ErrorKind::ValueValidation => {
            let why = std::error::Error::source(error).map(ToString::to_string);
            format!("invalid {}: {value}: {}", name.to_lowercase(), why.unwrap_or_default())
        }
        ErrorKind::InvalidUtf8 => "an argument is not UTF-8".to_string(),
        _ => error.to_string().lines().next().unwrap_or_default().to_string(),
    };
    let program = if command == "rrunc" { "rrunc".to_string() } else { format!("rrunc {command}") };
    Error::new(Kind::Usage, text).hint(format!("see {program} --help"))
}
