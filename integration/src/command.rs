//! Where the binary under test is.

use std::path::PathBuf;

/// `RRUNC`, or what `cargo build` made.
///
/// # Panics
/// If it isn't there.
pub fn rrunc() -> PathBuf {
    let built = || {
        let target = std::env::var_os("CARGO_TARGET_DIR")
            .map_or_else(|| concat!(env!("CARGO_MANIFEST_DIR"), "/../target").into(), PathBuf::from);
        target.join("debug/rrunc")
    };
    let path = std::env::var_os("RRUNC").map_or_else(built, PathBuf::from);
    let path = path.canonicalize();
    path.unwrap_or_else(|e| panic!("rrunc ({e}): build it by `cargo build`, or name it by RRUNC=PATH"))
}
