//! The commands that make, drive and end a container.

use std::path::PathBuf;
use std::str::FromStr;

use clap::{Arg, ArgMatches, ValueHint, value_parser};

use super::Row;
use crate::cli::arg::{ask, bundle, id, no_new_keyring, no_pivot, one_of, option, path, switch, take};
use crate::cli::{Command, Create, MountsAction, Run};
use crate::sys::Signal;

pub const CREATE: Row = Row {
    name: "create",
    about: "Make a container from a bundle; its program waits for start",
    args: || [bundle_options(), vec![id()]].concat(),
    ends_flags: false,
    enters: true,
    read: |m| ask(Command::Create(read_create(m))),
};

pub const START: Row = Row {
    name: "start",
    about: "Let the program of a created container run",
    args: || vec![id()],
    ends_flags: false,
    enters: false,
    read: |m| ask(Command::Start { id: take(m, "id") }),
};

pub const KILL: Row = Row {
    name: "kill",
    about: "Send a signal to a container's first process",
    args: || {
        let signal = Arg::new("signal").value_name("SIGNAL").value_parser(Signal::from_str);
        vec![
            switch("all", Some('a'), "Take a container that has stopped for a success").hide(true),
            regex(),
            id(),
            signal.help("Name with or without SIG, or number (default: TERM)"),
        ]
    },
    ends_flags: false,
    enters: false,
    read: |m| {
        ask(Command::Kill {
            id: take(m, "id"),
            signal: take(m, "signal"),
            all: take(m, "all"),
            regex: take(m, "regex"),
        })
    },
};

pub const DELETE: Row = Row {
    name: "delete",
    about: "Remove what a container leaves: cgroup, state",
    args: || {
        vec![
            switch("force", Some('f'), "Kill it first if it runs; be content if there is no such container"),
            regex(),
            id(),
        ]
    },
    ends_flags: false,
    enters: false,
    read: |m| ask(Command::Delete { id: take(m, "id"), force: take(m, "force"), regex: take(m, "regex") }),
};

/// As crun has it.
fn regex() -> Arg {
    switch("regex", Some('r'), "ID is a regular expression: every container whose name has a match of it")
}

pub const RUN: Row = Row {
    name: "run",
    about: "Create, start, wait for and delete a container",
    args: || {
        let run = vec![
            switch("detach", Some('d'), "Return once the program runs, and don't delete the container"),
            switch("keep", None, "Don't delete the container when it has stopped"),
            switch("no-subreaper", None, "Don't adopt the container's orphans"),
            id().help("The container's name, or the directory of a bundle"),
        ];
        [bundle_options(), run].concat()
    },
    ends_flags: false,
    enters: true,
    read: |m| {
        ask(Command::Run(Run {
            create: read_create(m),
            detach: take(m, "detach"),
            keep: take(m, "keep"),
            no_subreaper: take(m, "no-subreaper"),
        }))
    },
};

pub const MOUNTS: Row = Row {
    name: "mounts",
    about: "Mount into a running container, or unmount again: all of a list, or none",
    ends_flags: false,
    enters: true,
    args: || {
        vec![
            Arg::new("action")
                .value_name("ACTION")
                .required(true)
                .value_parser(one_of::<MountsAction>(&["add", "remove"]))
                .hide_possible_values(true)
                .help("add or remove"),
            id(),
            Arg::new("file")
                .value_name("FILE")
                .required(true)
                .value_parser(value_parser!(PathBuf))
                .value_hint(ValueHint::FilePath)
                .help("A JSON list of mounts, as in config.json"),
        ]
    },
    read: |m| {
        let (action, file) = (m.remove_one("action"), m.remove_one("file"));
        ask(Command::Mounts {
            action: action.unwrap_or(MountsAction::Add), // clap has seen to both
            id: take(m, "id"),
            file: file.unwrap_or_default(),
        })
    },
};

pub const PAUSE: Row = Row {
    name: "pause",
    about: "Stop all processes of a container for a while",
    args: || vec![id()],
    ends_flags: false,
    enters: false,
    read: |m| ask(Command::Pause { id: take(m, "id") }),
};

pub const RESUME: Row = Row {
    name: "resume",
    about: "Let a paused container go on",
    args: || vec![id()],
    ends_flags: false,
    enters: false,
    read: |m| ask(Command::Resume { id: take(m, "id") }),
};

pub fn console_socket() -> Arg {
    path("console-socket", None, "SOCKET", "Unix socket that gets the terminal's master side")
}

pub fn pid_file() -> Arg {
    path("pid-file", None, "FILE", "Where to write the pid of the new process")
}

pub fn pidfd_socket() -> Arg {
    path("pidfd-socket", None, "SOCKET", "Unix socket that gets a pidfd of that process")
}

pub fn preserve_fds() -> Arg {
    option("preserve-fds", None, "N", "How many open files from 3 on to hand to the program (default: 0)")
        .value_parser(value_parser!(u32).range(0..=65536))
}

fn bundle_options() -> Vec<Arg> {
    vec![
        bundle(),
        path("config", Some('f'), "FILE", "Read this file in place of the bundle's config.json"),
        console_socket(),
        pid_file(),
        pidfd_socket(),
        preserve_fds(),
        no_pivot(),
        no_new_keyring(),
    ]
}

fn read_create(m: &mut ArgMatches) -> Create {
    Create {
        id: take(m, "id"),
        bundle: m.remove_one("bundle"),
        config: m.remove_one("config"),
        console_socket: m.remove_one("console-socket"),
        pid_file: m.remove_one("pid-file"),
        pidfd_socket: m.remove_one("pidfd-socket"),
        preserve_fds: take(m, "preserve-fds"),
        no_pivot: take(m, "no-pivot"),
        no_new_keyring: take(m, "no-new-keyring"),
    }
}
