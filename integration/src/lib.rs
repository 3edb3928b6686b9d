//! What the tests of rrunc itself share, on top of `spec-tests`, which gives bundles and containers.
//!
//! - [`unharmed`]: runs a test in its own world and holds the [`Census`] before against the one after.
//! - [`Host`]: files outside of every container, which must be what they were.
//! - [`Silent`]: a file that never opens.
//! - [`cri`]: what the kubelet says to containerd.
//! - [`rrunc`]: the binary under test.
//!
//! Environment: `RRUNC`, the binary, if it isn't where `cargo build` puts it. `RUNTIME=crun` judges another
//! runtime by the same tests, to learn which of them tell something; see also `spec-tests`.

mod census;
mod command;
pub mod cri;
mod host;
mod silent;

pub use census::Census;
pub use command::{copy_rrunc, rrunc};
pub use host::Host;
pub use silent::Silent;
use spec_tests::Lab;

/// Runs a test of what `why` (a CVE, a promise) is about, and panics if it fails or leaves anything behind.
pub fn unharmed(why: &str, test: impl Fn(&Lab) + Sync) {
    unharmed_after(why, |_| {}, test);
}

/// The same, and an ordinary user calls the runtime.
pub fn unharmed_as_user(why: &str, test: impl Fn(&Lab) + Sync) {
    unharmed_after(why, Lab::become_user, test);
}

fn unharmed_after(why: &str, first: impl Fn(&Lab) + Sync, test: impl Fn(&Lab) + Sync) {
    spec_tests::default_runtime(&rrunc());
    spec_tests::obeys(why, |lab| {
        first(lab);
        let before = Census::take(lab.tag(), lab.cgroups(), &lab.root());
        test(lab);
        before.assert_same(lab.tag(), lab.cgroups(), &lab.root());
    });
}
