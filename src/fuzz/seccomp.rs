//! linux.seccomp: our filter answers what libseccomp's own does.

use crate::plan::seccomp::{compile, oracle};
use crate::spec;

/// A profile, as Docker's --security-opt seccomp= has it but in the words of config.json.
pub fn profile(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let config = format!(
        r#"{{"ociVersion":"1.3.0","root":{{"path":"r"}},"linux":{{"namespaces":[{{"type":"mount"}}],"seccomp":{text}}}}}"#
    );
    let Ok(spec) = spec::parse(config.as_bytes()) else { return };
    let Some(profile) = spec.oci.linux().as_ref().and_then(|linux| linux.seccomp().as_ref()) else {
        return;
    };
    let Ok(compiled) = compile(profile) else { return };
    assert_eq!(compile(profile).ok().as_ref(), Some(&compiled));
    oracle::check_quickly(profile, &compiled.filter);
}
