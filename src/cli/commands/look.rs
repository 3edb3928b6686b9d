//! The commands that look and tell: at containers, at bundles, at this host.

use clap::Arg;

use super::Row;
use crate::cli::arg::{
    ask, bundle, bundle_operand, format, id, no_new_keyring, no_pivot, one_of, option, path, read_bundle,
    switch, take,
};
use crate::cli::{Command, ListFormat, Plan};

pub const STATE: Row = Row {
    name: "state",
    about: "Print a container's state as JSON",
    args: || vec![id()],
    ends_flags: false,
    enters: false,
    read: |m| ask(Command::State { id: take(m, "id") }),
};

pub const LIST: Row = Row {
    name: "list",
    about: "Show the containers below --root",
    args: || vec![list_format(), switch("quiet", Some('q'), "Print the ids alone")],
    ends_flags: false,
    enters: false,
    read: |m| ask(Command::List { format: take(m, "format"), quiet: take(m, "quiet") }),
};

pub const PS: Row = Row {
    name: "ps",
    about: "Show the processes of a container",
    args: || {
        vec![
            list_format(),
            id(),
            Arg::new("options")
                .value_name("PS OPTION")
                .num_args(0..)
                .help("Options of ps(1) for the table (default: -ef)"),
        ]
    },
    ends_flags: true,
    enters: false,
    read: |m| {
        ask(Command::Ps {
            id: take(m, "id"),
            format: take(m, "format"),
            options: m.remove_many("options").into_iter().flatten().collect(),
        })
    },
};

fn list_format() -> Arg {
    option("format", Some('f'), "FORMAT", "How to print: table or json (default: table)")
        .value_parser(one_of::<ListFormat>(&["table", "json"]))
}

pub const SPEC: Row = Row {
    name: "spec",
    about: "Write a default config.json",
    args: || {
        vec![
            path("bundle", Some('b'), "DIR", "Where to write it (default: the current directory)"),
            path("file", Some('f'), "FILE", "What to call it (default: config.json)"),
            switch("rootless", None, "For a container without root's privileges"),
        ]
    },
    ends_flags: false,
    enters: false,
    read: |m| {
        ask(Command::Spec {
            bundle: m.remove_one("bundle"),
            file: m.remove_one("file"),
            rootless: take(m, "rootless"),
        })
    },
};

pub const CHECK: Row = Row {
    name: "check",
    about: "Tell every fault of a bundle, against the spec and this host; runs nothing",
    args: || vec![format(), bundle(), bundle_operand()],
    ends_flags: false,
    enters: false,
    read: |m| ask(Command::Check { bundle: read_bundle(m), format: take(m, "format") }),
};

pub const PLAN: Row = Row {
    name: "plan",
    about: "Print the steps that create would take; runs nothing",
    args: || vec![bundle(), no_pivot(), no_new_keyring(), bundle_operand()],
    ends_flags: false,
    enters: false,
    read: |m| {
        ask(Command::Plan(Plan {
            bundle: read_bundle(m),
            no_pivot: take(m, "no-pivot"),
            no_new_keyring: take(m, "no-new-keyring"),
        }))
    },
};

pub const FEATURES: Row = Row {
    name: "features",
    about: "Print what this runtime supports, as JSON",
    args: Vec::new,
    ends_flags: false,
    enters: false,
    read: |_| ask(Command::Features),
};

pub const INFO: Row = Row {
    name: "info",
    about: "Tell what this kernel, these cgroups and this user may do, and what is missing",
    args: || vec![format()],
    ends_flags: false,
    enters: false,
    read: |m| ask(Command::Info { format: take(m, "format") }),
};
