//! `exec`.

use std::str::FromStr;

use clap::{Arg, ArgAction, value_parser};

use super::Row;
use super::lifecycle::{console_socket, pid_file, pidfd_socket, preserve_fds};
use crate::cli::arg::{ask, id, option, path, switch, take};
use crate::cli::{Command, Exec, User};

pub const EXEC: Row = Row {
    name: "exec",
    about: "Run another program in a container",
    args: || {
        vec![
            path(
                "process",
                Some('p'),
                "FILE",
                "Read the whole process from this file, as config.json has it",
            ),
            switch("tty", Some('t'), "Give it a terminal"),
            option("cwd", None, "DIR", "Where it starts, in the container"),
            option("user", Some('u'), "UID[:GID]", "Who it is in the container").value_parser(User::from_str),
            many("additional-gids", Some('g'), "GID", "One more group").value_parser(value_parser!(u32)),
            many("env", Some('e'), "NAME=VALUE", "One more variable of its environment"),
            many("cap", Some('c'), "CAPABILITY", "One more capability"),
            switch("detach", Some('d'), "Return once it runs"),
            pid_file(),
            console_socket(),
            pidfd_socket(),
            preserve_fds(),
            switch("no-new-privs", None, "It can gain no privileges by executing programs"),
            option("process-label", None, "LABEL", "Its SELinux label"),
            option("apparmor", None, "PROFILE", "Its AppArmor profile"),
            option("cgroup", None, "PATH", "A cgroup for it, below the container's own"),
            switch("ignore-paused", None, "Make it also in a paused container, where it waits"),
            id(),
            Arg::new("args").value_name("COMMAND").num_args(0..).help("The program, and its arguments"),
        ]
    },
    ends_flags: true,
    enters: true,
    read: |m| {
        let many = |m: &mut clap::ArgMatches, name: &str| m.remove_many(name).into_iter().flatten().collect();
        ask(Command::Exec(Box::new(Exec {
            id: take(m, "id"),
            args: many(m, "args"),
            process: m.remove_one("process"),
            tty: take(m, "tty"),
            cwd: m.remove_one("cwd"),
            user: m.remove_one("user"),
            additional_gids: m.remove_many("additional-gids").into_iter().flatten().collect(),
            env: many(m, "env"),
            caps: many(m, "cap"),
            detach: take(m, "detach"),
            pid_file: m.remove_one("pid-file"),
            console_socket: m.remove_one("console-socket"),
            pidfd_socket: m.remove_one("pidfd-socket"),
            preserve_fds: take(m, "preserve-fds"),
            no_new_privs: take(m, "no-new-privs"),
            process_label: m.remove_one("process-label"),
            apparmor: m.remove_one("apparmor"),
            cgroup: m.remove_one("cgroup"),
            ignore_paused: take(m, "ignore-paused"),
        })))
    },
};

/// An option that may be given several times.
fn many(name: &'static str, short: Option<char>, value: &'static str, help: &'static str) -> Arg {
    option(name, short, value, help).action(ArgAction::Append)
}
