//! The command line: argv to [`Request`] and back ([`Request::to_args`]). Pure: no file and no system call.
//!
//! Flags are taken as engines write them for runc, which is Go's way: `-bundle X`, `--bundle X` and
//! `--bundle=X` are the same, a switch may be told `=false`, and the last one wins. [`go`] turns that into
//! the one form that clap reads; [`commands`] says once what there is, for parsing, help, man pages
//! ([`pages`]) and completions alike; [`define`] puts it to clap. Only the command that is called is built, since every call pays for it.

mod arg;
mod args;
mod commands;
pub mod criu;
mod define;
mod fault;
mod go;
pub mod pages;

use std::ffi::OsString;
use std::fmt;
use std::path::{Component, Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;

use crate::error::{Error, Kind, Result};
use crate::log::{Format, Level};
use crate::sys::Signal;

pub use criu::{Checkpoint, Restore};

/// All that one call of rrunc asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    pub global: Global,
    pub command: Command,
}

/// The options before the command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Global {
    /// Where containers are remembered.
    pub root: PathBuf,
    pub log: Option<PathBuf>,
    pub log_format: Format,
    /// With --debug, [`Level::Debug`].
    pub log_level: Level,
    pub debug: bool,
    pub cgroup_manager: CgroupManager,
    pub rootless: Rootless,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    Create(Create),
    Start {
        id: String,
    },
    State {
        id: String,
    },
    Kill {
        id: String,
        signal: Signal,
        all: bool,
        /// `id` is a regular expression.
        regex: bool,
    },
    Delete {
        id: String,
        force: bool,
        /// `id` is a regular expression.
        regex: bool,
    },
    Run(Run),
    Mounts {
        action: MountsAction,
        id: String,
        file: PathBuf,
    },
    Exec(Box<Exec>),
    Checkpoint(Box<Checkpoint>),
    Restore(Box<Restore>),
    Pause {
        id: String,
    },
    Resume {
        id: String,
    },
    Events {
        id: String,
        interval: Duration,
        /// Once, and no more.
        stats: bool,
    },
    Update(Box<Update>),
    Ps {
        id: String,
        format: ListFormat,
        /// Of ps(1).
        options: Vec<String>,
    },
    List {
        format: ListFormat,
        quiet: bool,
    },
    Spec {
        bundle: Option<PathBuf>,
        /// Another name than config.json.
        file: Option<PathBuf>,
        rootless: bool,
    },
    Check {
        bundle: Option<PathBuf>,
        format: Format,
    },
    Plan(Plan),
    Features,
    Info {
        format: Format,
    },
}

/// What of `create` decides what is done.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Plan {
    pub bundle: Option<PathBuf>,
    pub no_pivot: bool,
    pub no_new_keyring: bool,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Create {
    /// As typed: `state` checks it, and for `run` it may be a bundle's directory.
    pub id: String,
    pub bundle: Option<PathBuf>,
    /// Another file than the bundle's config.json.
    pub config: Option<PathBuf>,
    pub console_socket: Option<PathBuf>,
    pub pid_file: Option<PathBuf>,
    pub pidfd_socket: Option<PathBuf>,
    /// How many fds from 3 on the container's program gets, besides those of LISTEN_FDS.
    pub preserve_fds: u32,
    pub no_pivot: bool,
    pub no_new_keyring: bool,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Run {
    pub create: Create,
    pub detach: bool,
    pub keep: bool,
    pub no_subreaper: bool,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Exec {
    pub id: String,
    /// The program and its arguments; none with `process`.
    pub args: Vec<String>,
    /// A file with the whole process as JSON.
    pub process: Option<PathBuf>,
    pub tty: bool,
    pub cwd: Option<String>,
    pub user: Option<User>,
    pub additional_gids: Vec<u32>,
    pub env: Vec<String>,
    pub caps: Vec<String>,
    pub detach: bool,
    pub pid_file: Option<PathBuf>,
    pub console_socket: Option<PathBuf>,
    pub pidfd_socket: Option<PathBuf>,
    pub preserve_fds: u32,
    pub no_new_privs: bool,
    pub process_label: Option<String>,
    pub apparmor: Option<String>,
    /// A cgroup below the container's own.
    pub cgroup: Option<String>,
    pub ignore_paused: bool,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Update {
    pub id: String,
    /// A file with linux.resources as JSON, `-` for standard input; then the limits below don't count.
    pub resources: Option<PathBuf>,
    /// What the options say, as linux.resources has it.
    pub limits: serde_json::Map<String, serde_json::Value>,
    /// Lines for linux.intelRdt: of the cache, of the memory's bandwidth.
    pub rdt: Vec<String>,
    /// Options that mean nothing in cgroup v2.
    pub ignored: Vec<String>,
}

/// `UID` or `UID:GID`: numbers only, since names are the image's to define.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct User {
    pub uid: u32,
    pub gid: Option<u32>,
}

impl FromStr for User {
    type Err = &'static str;
    fn from_str(text: &str) -> std::result::Result<User, Self::Err> {
        const EXPECTED: &str = "a number, or two with a colon between them: UID or UID:GID";
        let number = |text: &str| {
            let plain = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
            // The last one means "no id" to the kernel.
            let number = text.parse().ok().filter(|_| plain);
            number.filter(|id| *id != u32::MAX).ok_or(EXPECTED)
        };
        let (uid, gid) = match text.split_once(':') {
            Some((uid, gid)) => (uid, Some(number(gid)?)),
            None => (text, None),
        };
        Ok(User { uid: number(uid)?, gid })
    }
}

impl fmt::Display for User {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.uid)?;
        self.gid.map_or(Ok(()), |gid| write!(f, ":{gid}"))
    }
}

/// Who makes the container's cgroup.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum CgroupManager {
    #[default]
    Cgroupfs,
    Systemd,
    /// Nobody: it has none.
    Disabled,
}

impl CgroupManager {
    const NAMES: [&str; 3] = ["systemd", "cgroupfs", "disabled"];
}

impl FromStr for CgroupManager {
    type Err = &'static str;
    fn from_str(text: &str) -> std::result::Result<CgroupManager, Self::Err> {
        match text {
            "systemd" => Ok(CgroupManager::Systemd),
            "cgroupfs" => Ok(CgroupManager::Cgroupfs),
            "disabled" => Ok(CgroupManager::Disabled),
            _ => Err("systemd, cgroupfs or disabled"),
        }
    }
}

/// Whether permission errors on cgroups are to be overlooked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Rootless {
    #[default]
    Auto,
    Yes,
    No,
}

impl FromStr for Rootless {
    type Err = &'static str;
    fn from_str(text: &str) -> std::result::Result<Rootless, Self::Err> {
        match (text, go::truth(text.as_bytes())) {
            ("auto", _) => Ok(Rootless::Auto),
            (_, Some(true)) => Ok(Rootless::Yes),
            (_, Some(false)) => Ok(Rootless::No),
            _ => Err("true, false or auto"),
        }
    }
}

/// What `mounts` does with the mounts of its file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MountsAction {
    Add,
    Remove,
}

impl MountsAction {
    pub fn name(self) -> &'static str {
        match self {
            MountsAction::Add => "add",
            MountsAction::Remove => "remove",
        }
    }
}

impl FromStr for MountsAction {
    type Err = &'static str;
    fn from_str(text: &str) -> std::result::Result<MountsAction, Self::Err> {
        match text {
            "add" => Ok(MountsAction::Add),
            "remove" => Ok(MountsAction::Remove),
            _ => Err("add or remove"),
        }
    }
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ListFormat {
    #[default]
    Table,
    Json,
}

impl FromStr for ListFormat {
    type Err = &'static str;
    fn from_str(text: &str) -> std::result::Result<ListFormat, Self::Err> {
        match text {
            "table" => Ok(ListFormat::Table),
            "json" => Ok(ListFormat::Json),
            _ => Err("table or json"),
        }
    }
}

/// What the caller's surroundings say, so that this module needn't look.
pub struct Caller {
    /// Effective user id 0, of the host or as good as that.
    pub is_root: bool,
    /// XDG_RUNTIME_DIR.
    pub runtime_dir: Option<PathBuf>,
}

impl Caller {
    /// Where containers are remembered unless --root says so.
    fn default_root(&self) -> PathBuf {
        match &self.runtime_dir {
            // One that isn't absolute is invalid (XDG Base Directory Specification).
            Some(dir) if !self.is_root && dir.is_absolute() => dir.join("rrunc"),
            _ => PathBuf::from("/run/rrunc"),
        }
    }
}

/// What a command line comes to.
#[derive(Debug, PartialEq, Eq)]
pub enum Asked {
    Command(Command),
    /// A text to be shown: help, a man page, a completion script.
    Text(String),
    Version,
}

/// A command line of which the options before the command are read: enough to open the log, so that what
/// is wrong with the rest can be told there too.
pub struct Line {
    pub global: Global,
    rest: Vec<OsString>, // the command and its arguments
}

impl Line {
    /// `args` without the program's name.
    pub fn parse(args: impl IntoIterator<Item = OsString>, caller: &Caller) -> Result<Line> {
        let definition = define::global();
        let (flags, mut rest) = go::split(&definition, args)?;
        let mut matches =
            definition.try_get_matches_from(flags).map_err(|error| fault::fault("rrunc", &error))?;
        for flag in ["version", "help"] {
            if matches.remove_one(flag) == Some(true) {
                rest = vec![flag.into()];
            }
        }
        let global = define::read_global(&mut matches, || caller.default_root());
        if is_host_root(&global.root) {
            return Err(Error::new(Kind::Usage, "--root / would make the whole host rrunc's own directory")
                .hint("name a directory for rrunc alone, such as /run/rrunc"));
        }
        Ok(Line { global, rest })
    }

    /// The command after the options.
    pub fn command(self) -> Result<Asked> {
        let mut rest = self.rest.into_iter();
        let name = rest.next().unwrap_or_else(|| "help".into()); // as runc does
        define::command(&name.to_string_lossy(), rest)
    }
}

/// The whole line at once.
pub fn parse(args: impl IntoIterator<Item = OsString>, caller: &Caller) -> Result<Request> {
    let line = Line::parse(args, caller)?;
    let global = line.global.clone();
    match line.command()? {
        Asked::Command(command) => Ok(Request { global, command }),
        _ => Err(Error::new(Kind::Usage, "this asks for a text, not for a command")),
    }
}

/// Whether the command line may be one of a command that puts a process into a container. It is asked before the command
/// line is parsed, for speed: of a container that is called `run` it says so too.
pub fn may_enter(mut args: impl Iterator<Item = OsString>) -> bool {
    let entering = || commands::COMMANDS.iter().filter(|row| row.enters);
    args.any(|arg| entering().any(|row| arg == row.name))
}

/// Whether the path is `/` by its letters: `//`, `/.`, `/run/..`.
fn is_host_root(path: &Path) -> bool {
    let mut depth = 0usize;
    for component in path.components() {
        match component {
            Component::Normal(_) => depth += 1,
            Component::ParentDir => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    path.is_absolute() && depth == 0
}

#[cfg(test)]
mod tests;
