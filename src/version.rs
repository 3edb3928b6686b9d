//! Who we are, for `--version` and whoever else must say it.

/// The newest version of the runtime specification that rrunc follows.
pub const SPEC: &str = "1.3.0";

/// What it was built from, if `make build` said so.
pub fn commit() -> Option<&'static str> {
    option_env!("RRUNC_COMMIT").filter(|commit| !commit.is_empty())
}

/// runc's lines. Engines show them, go-runc takes them apart by the words before the colon.
pub fn text() -> String {
    let mut text = format!("rrunc version {}\n", env!("CARGO_PKG_VERSION"));
    if let Some(commit) = commit() {
        text += &format!("commit: {commit}\n");
    }
    text += &format!("spec: {SPEC}\n");
    if let Ok(version) = libseccomp::ScmpVersion::current() {
        text += &format!("libseccomp: {version}\n");
    }
    text
}
