//! rrunc: from a bundle to a running, isolated, limited process.
//!
//! How to read this code: `ops` has a recipe per command. For `create`, config.json is **load**ed into a
//! [`spec`], **compile**d into a [`plan`] (a list of steps that can be printed), **prepare**d (all fds opened
//! on the host), and **run** by a child that [`spawn`] makes with one clone3 and that `init` carries out.
//!
//! This list is the audit list: unsafe code lives in `sys` alone.

pub mod cgroup;
pub mod channel;
pub mod cli;
pub mod console;
mod criu;
pub mod error;
pub mod foreground;
#[cfg(feature = "fuzz")]
pub mod fuzz;
pub mod hooks;
pub mod host;
pub mod idmap;
mod init;
pub mod log;
mod netdev;
mod notify;
pub mod ops;
mod ours;
pub mod pidfile;
pub mod plan;
pub mod prepare;
pub mod rdt;
mod relay;
pub mod seal;
mod seccomp_agent;
mod seccomp_cache;
pub mod spawn;
pub mod spec;
pub mod state;
#[allow(unsafe_code)] // the system calls; each block says why it is sound
pub mod sys;
pub mod systemd;
pub mod time;
mod user_namespace;
pub mod version;
