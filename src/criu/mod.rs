//! criu(8), which saves processes to files and restores them: its service protocol, what we tell it, and what we keep
//! beside its files. Who starts it and when is in `ops`.
//!
//! | | |
//! |---|---|
//! | `rpc` | the messages |
//! | `wire` | a request and what comes of it |
//! | `options` | from the command line to a request |
//! | `directory` | a directory of its files, which is looked over before |
//! | `images` | those of an image and of criu's work, and our own file there |
//! | `inside` | whether what was restored is in the container's namespaces |
//! | `mounts` | where in the container the host's mounts are now |
//! | `outside` | what is not the container's: mounts, namespaces, pipes, the cgroup |
//! | `log` | what went wrong |

pub mod directory;
pub mod images;
pub mod inside;
pub mod log;
pub mod mounts;
pub mod options;
pub mod outside;
pub mod rpc;
pub mod wire;
