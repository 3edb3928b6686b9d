//! The seccomp filter of a container, and whom it notifies.

use std::path::Path;

use oci_spec::runtime::Spec;

use crate::error::{Error, Kind, Result};
use crate::plan::seccomp::Filter;
use crate::spec::annotations::{self, SECCOMP_FAIL_UNKNOWN};
use crate::state::SeccompListener;
use crate::{log, seccomp_agent, seccomp_cache, spec};

/// Compiles linux.seccomp, if there is one, or takes the filter from the cache below `root`.
pub fn of(oci: &Spec, root: &Path) -> Result<Option<Filter>> {
    let Some(profile) = oci.linux().as_ref().and_then(|linux| linux.seccomp().as_ref()) else {
        return Ok(None);
    };
    let compiled = seccomp_cache::load_or_compile(&root.join(".cache/seccomp"), profile)?;
    compiled.warnings.iter().for_each(|warning| log::warning(warning));
    if !compiled.skipped.is_empty() {
        let skipped = compiled.skipped.join(" ");
        if annotations::is_set(oci, SECCOMP_FAIL_UNKNOWN) {
            let text = format!("linux.seccomp.syscalls: libseccomp doesn't know {skipped}");
            return Err(Error::new(Kind::Unsupported, text)
                .hint(format!("without the annotation {SECCOMP_FAIL_UNKNOWN} they are skipped")));
        }
        log::debug(|| format!("linux.seccomp: skipped, since libseccomp doesn't know them: {skipped}"));
    }
    Ok(Some(compiled.filter))
}

/// Whom the filter notifies: there must be a socket.
pub fn listener(oci: &Spec) -> Result<Option<SeccompListener>> {
    let Some(path) = spec::seccomp_listener(oci) else {
        return Ok(None);
    };
    seccomp_agent::check(path)?;
    let seccomp = oci.linux().as_ref().and_then(|linux| linux.seccomp().as_ref());
    Ok(Some(SeccompListener {
        path: path.to_string_lossy().into_owned(),
        metadata: seccomp.and_then(|seccomp| seccomp.listener_metadata().clone()),
    }))
}
