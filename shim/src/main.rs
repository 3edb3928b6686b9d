//! Parse, dispatch, print one error, exit. No logic lives here.

use std::env;

use containerd_shim_rrunc::args::{Action, Args};
use containerd_shim_rrunc::refusal::Refusal;
use containerd_shim_rrunc::{delete, info, serve, start};

fn main() {
    if let Err(refusal) = run() {
        eprintln!("containerd-shim-rrunc-v2: {refusal}");
        std::process::exit(1);
    }
}

fn run() -> Result<(), Refusal> {
    let args = Args::parse(env::args_os().skip(1)).map_err(Refusal::invalid)?;
    match args.action {
        Action::Start => start::run(&args),
        Action::Delete => delete::run(&args),
        Action::Serve => serve::run(&args),
        Action::Info => info::run(),
        Action::Version => {
            info::version();
            Ok(())
        }
    }
}
