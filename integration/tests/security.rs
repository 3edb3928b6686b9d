//! One test per known way out of a container, for `create` and `run`. Each says which CVE it is about; where crun or
//! runc of this machine fall to it, a comment says so.

mod checkpoint; // what somebody else has saved, at `restore`
mod config; // users, ids, sizes and rules that a configuration or an image gives
mod host_devices; // device nodes that a container is given, and must not change
mod keyring; // keys of the container, of its caller, of its neighbours
mod known; // the list of known weaknesses, and the test of each
mod mounts; // where mounts, devices and masks land in a hostile root file system
mod own_binary; // rrunc itself, which a container must not overwrite
mod planted; // state that another user has written, or could have
mod process; // what the program gets of the runtime, and who may look into it
mod race; // the same while somebody swaps directories for symlinks
mod race_fuzz; // the same with random mounts
mod waiting; // the container keeps who asks it waiting
