//! The one test binary of what isn't in the specification: each module says what belongs into it.

mod crash; // rrunc killed, twice at once, or after a reboot: what is left can be deleted
mod documentation; // its examples are what rrunc prints, what it lists is all there is
mod errors; // what a person reads when something is wrong
mod fault; // the kernel refuses one call after the other
mod fields; // fields whose failure comes late or costs the host something
mod first; // what a newcomer does first
mod landlock; // the annotation org.rrunc.landlock
mod look; // check, plan, info, features: what they tell is what create does
mod lookup; // the kernel fails to say whether something is there
mod security; // hostile images and configurations, and what an attacker learned from other runtimes
mod shared_cgroup; // containers that ended are deleted, and others in their cgroup live on
mod soak; // many containers, for minutes or hours: nothing grows
mod start; // from a created container to its program
mod starve; // full disks, and too few open files
mod tidy; // the shape of the source: imports, what is absent where, lengths
