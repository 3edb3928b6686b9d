//! One file per command, each of which reads as a recipe.

mod birth;
mod bundle;
pub mod check;
pub mod checkpoint;
pub mod create;
mod criu;
pub mod delete;
mod each;
mod end;
pub mod events;
pub mod exec;
mod explain;
pub mod features;
mod filter;
pub mod info;
mod keyring;
pub mod kill;
pub mod list;
pub mod mounts;
pub mod pause;
pub mod plan;
pub mod ps;
pub mod restore;
pub mod run;
pub mod spec;
pub mod start;
pub mod state;
pub mod update;

use std::io::stdout;

use crate::cli::{Command, Request};
use crate::error::Result;

/// Carries out a request: what `rrunc` exits with. Errors say which command and container they are about.
pub fn run(request: &Request) -> Result<i32> {
    let global = &request.global;
    let root = &global.root;
    let (what, done) = match &request.command {
        Command::Create(args) => (format!("create {}", args.id), create::create(global, args).map(|()| 0)),
        Command::Start { id } => (format!("start {id}"), start::start(root, id).map(|()| 0)),
        Command::Run(args) => (format!("run {}", args.create.id), run::run(global, args)),
        // 255 tells it from a program that failed, as with runc.
        Command::Exec(args) => (
            format!("exec failed: exec {}", args.id),
            exec::exec(global, args).map_err(|error| error.exit_with(255)),
        ),
        Command::Checkpoint(args) => {
            (format!("checkpoint {}", args.id), checkpoint::checkpoint(root, args).map(|()| 0))
        }
        Command::Restore(args) => (format!("restore {}", args.id), restore::restore(global, args)),
        Command::Pause { id } => (format!("pause {id}"), pause::pause(root, id).map(|()| 0)),
        Command::Resume { id } => (format!("resume {id}"), pause::resume(root, id).map(|()| 0)),
        Command::Ps { id, format, options } => {
            (format!("ps {id}"), ps::ps(root, id, *format, options, &mut stdout()).map(|()| 0))
        }
        Command::Events { id, interval, stats } => {
            (format!("events {id}"), events::events(root, id, *interval, *stats, &mut stdout()).map(|()| 0))
        }
        Command::Update(args) => (format!("update {}", args.id), update::update(root, args).map(|()| 0)),
        Command::State { id } => (format!("state {id}"), state::state(root, id, &mut stdout()).map(|()| 0)),
        Command::Kill { id, signal, all, regex } => (
            format!("kill {id}"),
            each::named(root, id, *regex, |id| kill::kill(root, id, *signal, *all)).map(|()| 0),
        ),
        Command::Delete { id, force, regex } => (
            format!("delete {id}"),
            each::named(root, id, *regex, |id| delete::delete(root, id, *force)).map(|()| 0),
        ),
        Command::Mounts { action, id, file } => {
            (format!("mounts {} {id}", action.name()), mounts::mounts(root, *action, id, file).map(|()| 0))
        }
        Command::List { format, quiet } => {
            ("list".into(), list::list(root, *format, *quiet, &mut stdout()).map(|()| 0))
        }
        Command::Spec { bundle, file, rootless } => {
            ("spec".into(), spec::spec(bundle.as_deref(), file.as_deref(), *rootless).map(|()| 0))
        }
        Command::Check { bundle, format } => {
            ("check".into(), check::check(global.cgroup_manager, bundle.as_deref(), *format, &mut stdout()))
        }
        Command::Plan(args) => {
            ("plan".into(), plan::plan(global.cgroup_manager, args, &mut stdout()).map(|()| 0))
        }
        Command::Features => ("features".into(), features::features(&mut stdout()).map(|()| 0)),
        Command::Info { format } => ("info".into(), info::info(*format, &mut stdout()).map(|()| 0)),
    };
    done.map_err(|error| error.context(what))
}

#[cfg(test)]
mod tests;
