//! Does a runtime obey the OCI runtime specification? The harness of a black-box suite for any runtime.
//!
//! `RUNTIME=runc|crun|/path/to/rrunc cargo test -p spec-tests` (as root). A test is a few lines:
//!
//! ```text
//! #[test]
//! fn the_hostname_is_set() {
//!     obeys("config.md#hostname", |lab| {
//!         let seen = lab.bundle().set("/hostname", "spec").ask(["hostname"]);
//!         assert_eq!(seen["hostname"], "spec");
//!     });
//! }
//! ```
//!
//! - [`Lab`]: one test's own world: temporary directory, state directory, namespaces, /dev, transcript.
//! - [`Bundle`]: a root file system and a config.json, edited by JSON pointers.
//! - [`Container`]: what create/run made of a bundle; gone when dropped, also after a panic.
//! - [`Inside`]: the answers of the helper that runs in the container (`src/bin/inside`).
//! - [`obeys`]: runs the test, judges it by `expected.toml`, and prints the transcript if it failed.
//!
//! No test knows which runtime it judges: a known failure of one belongs into `expected.toml`, with its reason.
//!
//! Environment: `RUNTIME`; `CGROUP_VIEW` = `v2` (default: cgroup2 is mounted on /sys/fs/cgroup, in the test's own
//! mount namespace) or `host` (as the machine has it); `CGROUP_MANAGER` = `cgroupfs` (default) or `systemd`; `MUST=1` makes a skip a failure, unless this machine
//! cannot do what the test needs; `INSIDE`, the helper, if it isn't where `make inside` puts it; `RESULTS`, a file
//! to which each test adds its name, section and outcome; `LAB`, what is unlike all others in the names of labs, if the
//! process id isn't, in a pid namespace of its own.

mod agent;
mod bundle;
mod command;
mod container;
mod expected;
mod inside;
mod lab;
pub mod machine;
mod terminal;
pub mod user;
mod verdict;

pub use agent::{Agent, MKDIR};
pub use bundle::{ALL_CAPS, Bundle, copy_programs};
pub use command::{Command, Ran, Running};
pub use container::Container;
pub use expected::Expected;
pub use inside::{Inside, Mount, helper};
pub use lab::{Lab, default_runtime};
pub use terminal::{FdSocket, Terminal};
pub use verdict::{fail_or_skip, needs, obeys};

/// Ends the test: what it needs is missing here, though this machine could have it (a package, root).
/// With MUST=1 that is a failure. If the machine itself can't, say it with [`needs`].
#[macro_export]
macro_rules! skip {
    ($($why:tt)+) => { $crate::fail_or_skip(&format!($($why)+)) };
}

/// Asks `condition` again and again until it gives a value.
///
/// # Panics
/// After a minute, with `what` was waited for.
pub fn eventually<T>(what: &str, mut condition: impl FnMut() -> Option<T>) -> T {
    let end = std::time::Instant::now() + std::time::Duration::from_secs(60);
    loop {
        if let Some(value) = condition() {
            return value;
        }
        assert!(std::time::Instant::now() < end, "waited a minute in vain: {what}");
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
}
