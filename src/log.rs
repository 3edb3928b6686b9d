//! Messages for the people and engines that ask for a log: one record per line, in the forms that
//! containerd and Podman read (logrus's). With main, the only printer; never used in the child.
//!
//! Without `--log`, messages go to stderr as `rrunc: warning: ...`: there they are for a person, and most
//! callers of a successful rrunc never look. The error that ends rrunc is always on stderr, by main.

mod target;

use std::fmt::Write as _;
use std::io::{self, Write as _};
use std::path::Path;
use std::str::FromStr;
use std::sync::OnceLock;

use serde::Serialize;

pub use crate::error::escape;
use crate::error::{Error, Kind, Result};
use crate::time;
use target::Target;

/// Set once by [`open`]; until then, and for users of the library, there is no log.
static LOG: OnceLock<Log> = OnceLock::new();

struct Log {
    target: Option<Target>,
    format: Format,
    level: Level,
}

/// Takes messages from now on: brings them to where `--log` says (see [`Target::open`]), or shows them on stderr.
pub fn open(target: Option<&Path>, format: Format, level: Level) -> Result<()> {
    let target = target.map(Target::open).transpose()?;
    LOG.get_or_init(|| Log { target, format, level });
    Ok(())
}

/// Something that was asked for and isn't done, where the spec wants a warning and no error.
pub fn warning(text: &str) {
    write(Level::Warning, || Record::new(Level::Warning, text.to_string()));
}

/// What rrunc does and decides, for whoever asks with `--debug`. `text` is made only then.
pub fn debug(text: impl FnOnce() -> String) {
    write(Level::Debug, || Record::new(Level::Debug, text()));
}

/// The error that ends rrunc, into the log's file; main shows it on stderr too.
pub fn error(error: &Error) {
    let Some(Log { target: Some(_), .. }) = LOG.get() else {
        return;
    };
    write(Level::Error, || Record {
        kind: Some(error.kind),
        step: error.step,
        call: error.fail.map(|fail| fail.call.name()),
        errno: error.fail.map(|fail| format!("{:?}", fail.errno)),
        ..Record::new(Level::Error, error.to_string())
    });
}

fn write(level: Level, record: impl FnOnce() -> Record) {
    let Some(log) = LOG.get().filter(|log| level <= log.level) else {
        return;
    };
    let record = record();
    let line = match (&log.target, log.format) {
        (Some(_), Format::Json) => record.json(),
        (Some(_), Format::Text) => record.text(),
        (None, _) => format!("rrunc: {}: {}\n", level.name(), escape(&record.msg)),
    };
    match &log.target {
        Some(target) => target.write(level, &record, &line),
        None => drop(io::stderr().write_all(line.as_bytes())), // nobody else to tell
    }
}

/// One message. logrus's keys first, then ours for errors.
#[derive(Serialize)]
struct Record {
    level: &'static str,
    msg: String,
    time: String, // RFC 3339; a record with any other is discarded by containerd
    #[serde(skip_serializing_if = "Option::is_none")]
    kind: Option<Kind>,
    #[serde(skip_serializing_if = "Option::is_none")]
    step: Option<u16>,
    #[serde(skip_serializing_if = "Option::is_none")]
    call: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    errno: Option<String>, // by name: ENOENT
}

impl Record {
    fn new(level: Level, msg: String) -> Record {
        Record {
            level: level.name(),
            msg,
            time: time::now(),
            kind: None,
            step: None,
            call: None,
            errno: None,
        }
    }

    fn json(&self) -> String {
        serde_json::to_string(self).unwrap_or_default() + "\n" // strings and numbers always serialize
    }

    fn text(&self) -> String {
        let mut line = format!("time=\"{}\" level={} msg=\"{}\"", self.time, self.level, quoted(&self.msg));
        let kind = self.kind.map(|kind| serde_json::to_string(&kind).unwrap_or_default().replace('"', ""));
        let step = self.step.map(|step| step.to_string());
        let extras = [
            ("kind", kind.as_deref()),
            ("step", step.as_deref()),
            ("call", self.call),
            ("errno", self.errno.as_deref()),
        ];
        for (key, value) in extras {
            if let Some(value) = value {
                let _ = write!(line, " {key}={value}"); // a String takes everything
            }
        }
        line + "\n"
    }
}

/// The inside of a Go string literal.
fn quoted(text: &str) -> String {
    escape(&text.replace('\\', "\\\\").replace('"', "\\\""))
}

/// `--log-format`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Format {
    #[default]
    Text,
    Json,
}

/// `--log-level`; each includes those before it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    Error,
    #[default]
    Warning,
    Info,
    Debug,
}

impl Format {
    pub const fn name(self) -> &'static str {
        match self {
            Format::Text => "text",
            Format::Json => "json",
        }
    }
}

impl Level {
    /// The word that logrus, and so containerd and Podman, have for it.
    pub const fn name(self) -> &'static str {
        match self {
            Level::Error => "error",
            Level::Warning => "warning",
            Level::Info => "info",
            Level::Debug => "debug",
        }
    }
}

impl FromStr for Format {
    type Err = &'static str;
    fn from_str(text: &str) -> std::result::Result<Format, Self::Err> {
        let all = [Format::Text, Format::Json];
        all.into_iter().find(|format| format.name() == text).ok_or("text or json")
    }
}

impl FromStr for Level {
    type Err = &'static str;
    fn from_str(text: &str) -> std::result::Result<Level, Self::Err> {
        let all = [Level::Error, Level::Warning, Level::Info, Level::Debug];
        all.into_iter().find(|level| level.name() == text).ok_or("error, warning, info or debug")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record() -> Record {
        Record {
            time: "2026-11-23T08:41:23Z".into(),
            ..Record::new(Level::Error, "create a\"b: \u{1b}[2J\n\\".into())
        }
    }

    #[test]
    fn records_as_logrus_writes_them() {
        assert_eq!(
            record().json(),
            "{\"level\":\"error\",\"msg\":\"create a\\\"b: \\u001b[2J\\n\\\\\",\"time\":\"2026-11-23T08:41:23Z\"}\n"
        );
        assert_eq!(
            record().text(),
            "time=\"2026-11-23T08:41:23Z\" level=error msg=\"create a\\\"b: \\u001b[2J\\n\\\\\"\n"
        );
    }

    #[test]
    fn errors_keep_their_parts() {
        let record = Record {
            kind: Some(Kind::InvalidSpec),
            step: Some(14),
            call: Some("move_mount"),
            errno: Some("ENOENT".into()),
            ..record()
        };
        let json: serde_json::Value = serde_json::from_str(&record.json()).unwrap();
        assert_eq!(json["kind"], "invalid_spec");
        assert_eq!(json["step"], 14);
        assert!(record.text().ends_with(" kind=invalid_spec step=14 call=move_mount errno=ENOENT\n"));
    }

    #[test]
    fn terminals_are_not_obeyed() {
        assert_eq!(escape("a\u{1b}]0;x\u{7}\n\u{9b}b é"), "a\\u001b]0;x\\u0007\\n\\u009bb é");
    }
}
