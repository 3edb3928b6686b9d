//! One file per command, each of which reads as a recipe.

mod bundle;
pub mod create;
pub mod delete;
pub mod run;
pub mod start;

use crate::cli::{Command, Request};
use crate::error::{Error, Kind, Result};

/// Carries out a request: what `rrunc` exits with. Errors say which command and container they are about.
pub fn run(request: &Request) -> Result<i32> {
    let global = &request.global;
    if global.systemd_cgroup {
        return Err(Error::new(
            Kind::Unsupported,
            "--systemd-cgroup: cgroups made by systemd are not supported yet",
        )
        .hint("leave the flag away: then rrunc makes the cgroup itself"));
    }
    let (what, done) = match &request.command {
        Command::Create(args) => (
            format!("create {}", args.id),
            create::create(global, args).map(|()| 0),
        ),
        Command::Start { id } => (format!("start {id}"), start::start(&global.root, id).map(|()| 0)),
        Command::Run(args) => (format!("run {}", args.create.id), run::run(global, args)),
        other => {
            return Err(Error::new(Kind::Unsupported, format!("{other:?}: not yet")));
        }
    };
    done.map_err(|error| error.context(what))
}
