//! How messages are written, and from which level on.

use std::str::FromStr;

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
    fn from_str(text: &str) -> Result<Format, Self::Err> {
        let all = [Format::Text, Format::Json];
        all.into_iter()
            .find(|format| format.name() == text)
            .ok_or("text or json")
    }
}

impl FromStr for Level {
    type Err = &'static str;
    fn from_str(text: &str) -> Result<Level, Self::Err> {
        let all = [Level::Error, Level::Warning, Level::Info, Level::Debug];
        all.into_iter()
            .find(|level| level.name() == text)
            .ok_or("error, warning, info or debug")
    }
}
