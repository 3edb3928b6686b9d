//! The shim as containerd sees it, without containerd and without containers: `runtime.sh` stands for the runtime.
//! Needs no root.

#[path = "it/checkpoint.rs"]
mod checkpoint; // containers that are saved, and restored
#[path = "it/client.rs"]
mod client; // a client of the task service
#[path = "it/containerd.rs"]
mod containerd; // who takes the events
#[path = "it/events.rs"]
mod events; // their order, and that none is lost
#[path = "it/faults.rs"]
mod faults; // what is wrong is named, and harms nobody else
#[path = "it/life.rs"]
mod life; // calls in every state
#[path = "it/limits.rs"]
mod limits; // no fds are left, or no time
#[path = "it/place.rs"]
mod place; // what the shim is to the machine: its cgroup, who may call it, and its end
#[path = "it/restart.rs"]
mod restart; // what a containerd that comes back finds
#[path = "it/roots.rs"]
mod roots; // what is mounted for a container
#[path = "it/start.rs"]
mod start; // every version's way to start a shim, byte by byte
#[path = "it/stdio.rs"]
mod stdio; // what goes in and comes out
#[path = "it/world.rs"]
mod world; // a bundle, a shim, and their end
