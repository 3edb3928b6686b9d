//! What feeds the targets of fuzzing: those in rrunc's `src/fuzz` and in the shim's `src/fuzz.rs`, each a function of
//! bytes that panics if something that must hold does not.
//!
//! `make unit` runs them on any toolchain (`tests/bounded.rs`): every seed, and for about a second each what
//! [`mutate`] makes of them, the same every time. `make fuzz` runs one under libFuzzer, which sees what is covered and
//! goes on from there, with [`mutate`] for half of its mutations. Both are built with debug assertions and overflow
//! checks.

use rrunc::fuzz::Target;

pub mod mutate;
pub mod seeds;

/// By name; see there.
pub fn targets() -> impl Iterator<Item = Target> {
    rrunc::fuzz::TARGETS.iter().chain(containerd_shim_rrunc::fuzz::TARGETS).copied()
}
