//! Where the binary under test is.

use std::path::{Path, PathBuf};
use std::process::Command;

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

/// Copies it to `path`, to be executed from there. By another process: a fork of another test's thread may hold our fd
/// open for writing, and then nobody can execute the copy (ETXTBSY).
///
/// # Panics
/// If that fails.
pub fn copy_rrunc(path: &Path) {
    let copied = Command::new("cp").arg(rrunc()).arg(path).status();
    assert!(copied.is_ok_and(|status| status.success()), "copy rrunc to {}", path.display());
}
