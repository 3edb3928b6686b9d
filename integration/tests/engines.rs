//! Real engines with rrunc as their runtime: what a user does, and what a user sees. Runs within `engines/world`,
//! by `make engines`; `ENGINE_RUNTIME` is the runtime that the engine was told to use.

#[path = "engines/buildah.rs"]
mod buildah; // Buildah
#[path = "engines/containerd.rs"]
mod containerd; // containerd, by ctr
#[path = "engines/cri.rs"]
mod cri; // Kubernetes' pods, by containerd's CRI plugin
#[path = "engines/docker.rs"]
mod docker; // Docker, and Swarm on it
#[path = "engines/package.rs"]
mod package; // what `make deb` makes
#[path = "engines/podman.rs"]
mod podman; // Podman, as root and as an ordinary user
#[path = "engines/rootless.rs"]
mod rootless; // Podman, what is different for an ordinary user
#[path = "engines/shell.rs"]
mod shell; // command lines and what they print
