//! What feeds the targets of fuzzing: those in rrunc's `src/fuzz` and in the shim's `src/fuzz.rs`, each a function of
//! bytes that panics if something that must hold does not.
//!
//! `make unit` runs them on any toolchain (`tests/bounded.rs`): every seed, and for about a second each what
//! [`mutate`] makes of them, the same every time. `make fuzz` runs one under libFuzzer, which sees what is covered and
//! goes on from there, with [`mutate`] for half of its mutations. Both are built with debug assertions and overflow
//! checks.
//!
//! So much was run under libFuzzer (November 2026, 17,392,415 executions on one core). By then mutations without it had found
//! what the tests beside the code tell of: lines of a plan that a field could forge, files below a cgroup that an update could
//! name, types of D-Bus longer than a message can say, sums that overflowed. libFuzzer found the faults of maps that came in
//! another order each time.
//!
//! | target | executions |
//! |---|--:|
//! | `config` | 158,978 |
//! | `process` | 319,731 |
//! | `mounts` | 936,960 |
//! | `mount-options` | 84,739 |
//! | `resources` | 3,244,014 |
//! | `command-line` | 184,130 |
//! | `words` | 757,558 |
//! | `state` | 3,362,398 |
//! | `plan` | 450,706 |
//! | `checkpoint` | 447,410 |
//! | `criu` | 1,000,000 |
//! | `seccomp` | 25,123 |
//! | `dbus` | 943,753 |
//! | `dbus-value` | 654,650 |
//! | `netlink` | 1,000,000 |
//! | `mountinfo` | 236,070 |
//! | `passwd` | 215,844 |
//! | `cgroup` | 426,537 |
//! | `shim-frames` | 241,950 |
//! | `shim-calls` | 295,875 |
//! | `shim-messages` | 394,852 |
//! | `shim-bootstrap` | 1,000,000 |
//! | `shim-options` | 289,352 |
//! | `shim-words` | 314,751 |
//! | `shim-files` | 407,034 |

use rrunc::fuzz::Target;

pub mod mutate;
pub mod seeds;

/// By name; see there.
pub fn targets() -> impl Iterator<Item = Target> {
    rrunc::fuzz::TARGETS.iter().chain(containerd_shim_rrunc::fuzz::TARGETS).copied()
}
