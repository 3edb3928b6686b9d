//! Kills the runtime, or its init, at each of its system calls, and lets each call fail: a kill loses nothing, and no
//! failure weakens isolation. What has to hold is in [`judge`].
//!
//! ```text
//! cargo test --package integration --test faults -- [--every K] [--kind root,userns,rootless] [--command create,run,...]
//!     [--mode kill,error] [--role parent,init] [--errno EIO,...] [--only N]
//! ```
//!
//! Without arguments each point: 3 kinds of containers × commands × parent and init × a kill and each of 9 errnos.
//! `--every K`: each K-th point, and of the errnos one, in turn. `--only N`: one point, with all that was said. `RUNTIME`
//! names another runtime. Works in as many processes as there are CPUs, each with a share of the points, in a pid and
//! mount namespace of its own. Needs root and x86_64.

#[cfg(target_arch = "x86_64")]
mod judge;
#[cfg(target_arch = "x86_64")]
mod sight;
#[cfg(target_arch = "x86_64")]
mod sweep;
#[cfg(target_arch = "x86_64")]
mod trace;
#[cfg(target_arch = "x86_64")]
mod world;

#[cfg(target_arch = "x86_64")]
fn main() -> std::process::ExitCode {
    sweep::main()
}

#[cfg(not(target_arch = "x86_64"))]
fn main() {
    eprintln!("skipped: the tracer knows the registers of x86_64");
}
