//! containerd's shim for rrunc: the parent of a pod's containers for as long as they live. It runs the runtime for
//! whatever makes processes, keeps their streams going, notices how they end, and tells containerd.
//!
//! How to read this code: `serve` is the one loop; `calls` has what clients may ask for; `table` is what there is,
//! and `table::life` decides what may happen to a process. The command line's other actions are `start`, which
//! finds or makes the shim of a group of containers, `delete` and `info`.

pub mod args;
pub mod bootstrap;
pub mod bundle;
mod calls;
mod cgroup;
pub mod delete;
pub mod frame;
#[cfg(feature = "fuzz")]
pub mod fuzz;
mod idmap;
pub mod info;
mod mounts;
pub mod options;
pub mod order;
pub mod proto;
pub mod refusal;
mod runtime;
pub mod serve;
mod socket;
pub mod start;
mod stats;
pub mod stdio;
#[allow(unsafe_code)] // the system calls; each block says why it is sound
mod sys;
pub mod table;
