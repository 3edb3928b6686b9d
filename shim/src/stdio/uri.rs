//! Where a stream goes, as a client says it: nothing, a path, or a URI. Pure.

use std::path::PathBuf;

use crate::refusal::Refusal;

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// Nowhere.
    Null,
    Fifo(PathBuf),
    /// Appended to.
    File(PathBuf),
    /// A program that gets the streams.
    Logger(Logger),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Logger {
    pub program: PathBuf,
    pub args: Vec<String>,
    /// `binary-v2`: it says that it is ready by a byte, not just by closing.
    pub says_ready: bool,
}

impl Target {
    pub fn parse(text: &str) -> Result<Target, Refusal> {
        if text.is_empty() {
            return Ok(Target::Null);
        }
        let (scheme, rest) = text.split_once("://").unwrap_or(("fifo", text));
        let (path, query) = rest.split_once('?').unwrap_or((rest, ""));
        let path = match scheme {
            "fifo" => PathBuf::from(rest), // not taken apart: it may be any path
            _ => PathBuf::from(decode(path)?),
        };
        if !path.is_absolute() {
            return Err(Refusal::invalid(format!("stdio {text:?}: the path is not absolute")));
        }
        match scheme {
            "fifo" => Ok(Target::Fifo(path)),
            "file" => Ok(Target::File(path)),
            "binary" | "binary-v2" => Ok(Target::Logger(Logger {
                program: path,
                args: arguments(query)?,
                says_ready: scheme == "binary-v2",
            })),
            _ => Err(Refusal::invalid(format!(
                "stdio {text:?}: {scheme} is none of fifo, file, binary, binary-v2"
            ))),
        }
    }
}

/// A query as arguments: each key, and its value if it has one.
fn arguments(query: &str) -> Result<Vec<String>, Refusal> {
    let mut arguments = vec![];
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
        arguments.push(decode(&key.replace('+', " "))?);
        arguments.extend(Some(decode(&value.replace('+', " "))?).filter(|value| !value.is_empty()));
    }
    Ok(arguments)
}

/// %XX as the bytes that they stand for.
fn decode(text: &str) -> Result<String, Refusal> {
    let invalid = || Refusal::invalid(format!("stdio: {text:?} is not percent-encoded"));
    let mut bytes = vec![];
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        if byte != b'%' {
            bytes.push(byte);
            continue;
        }
        let digit = |byte: Option<u8>| byte.and_then(|byte| char::from(byte).to_digit(16));
        let (Some(high), Some(low)) = (digit(rest.next()), digit(rest.next())) else {
            return Err(invalid());
        };
        bytes.push((high << 4 | low) as u8);
    }
    String::from_utf8(bytes).map_err(|_| invalid())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn targets() {
        let check = |text, expected| assert_eq!(Target::parse(text), Ok(expected), "{text}");
        check("", Target::Null);
        check("/run/a?b", Target::Fifo("/run/a?b".into()));
        check("fifo:///run/a", Target::Fifo("/run/a".into()));
        check("file:///var/log/a%20b", Target::File("/var/log/a b".into()));
        let logger = |args: &[&str], says_ready| {
            Target::Logger(Logger {
                program: "/bin/log".into(),
                args: args.iter().map(|arg| arg.to_string()).collect(),
                says_ready,
            })
        };
        check("binary:///bin/log", logger(&[], false));
        check("binary-v2:///bin/log?a=1&b", logger(&["a", "1", "b"], true));
        check("binary:///bin/log?a=x%3Dy+z", logger(&["a", "x=y z"], false));
    }

    #[test]
    fn faults() {
        let check = |text: &str, why: &str| {
            let refusal = Target::parse(text).unwrap_err();
            assert!(refusal.text.contains(why), "{refusal}");
        };
        check("relative", "not absolute");
        check("ttrpc+unix:///s", "ttrpc+unix is none of");
        check("file:///a%2", "percent");
        check("binary:///a?x=%ff", "percent");
    }
}
