//! `features`: what this runtime supports, as features.md and features-linux.md of the spec ask. Read off the tables
//! that the code itself works by, so that it can't say what isn't so.

use std::io::Write;

use serde_json::{Value, json};

use crate::error::{Doing, Error, Kind, Result};
use crate::spec::landlock::{self, FileAccess, NetAccess, Scope};
use crate::spec::mount_options::OPTIONS;
use crate::sys::{self, Call, Named, security};
use crate::{spec, version};

/// `rrunc features`. CRI-O and Docker read stdout and stderr as one: nothing else may be printed.
pub fn features(out: &mut dyn Write) -> Result<()> {
    let text = serde_json::to_string_pretty(&document())
        .map_err(|error| Error::new(Kind::Kernel, format!("the features as JSON: {error}")))?;
    writeln!(out, "{text}").call(Call::Write).doing(|| "write to standard output".into())
}

fn document() -> Value {
    json!({
        "ociVersionMin": "1.0.0",
        "ociVersionMax": version::SPEC,
        "hooks": spec::words("hooks"),
        "mountOptions": OPTIONS.iter().map(|(name, _)| *name).collect::<Vec<_>>(),
        "linux": {
            "namespaces": spec::words("linux.namespaces.type"),
            "capabilities": capabilities(),
            "cgroup": { "v1": false, "v2": true, "systemd": true, "systemdUser": true, "rdma": true },
            "seccomp": {
                "enabled": true,
                "actions": spec::words("linux.seccomp.defaultAction"),
                "operators": spec::words("linux.seccomp.syscalls.args.op"),
                "archs": architectures(),
                "knownFlags": spec::words("linux.seccomp.flags"),
                "supportedFlags": supported_flags(),
            },
            "apparmor": { "enabled": true },
            "selinux": { "enabled": true },
            "intelRdt": { "enabled": true, "schemata": true, "monitoring": true },
            "memoryPolicy": {
                "modes": spec::words("linux.memoryPolicy.mode"),
                "flags": spec::words("linux.memoryPolicy.flags"),
            },
            "mountExtensions": { "idmap": { "enabled": true } },
            "netDevices": { "enabled": true },
        },
        "annotations": annotations(),
        "potentiallyUnsafeConfigAnnotations": spec::annotations::POTENTIALLY_UNSAFE,
    })
}

/// In the order of their numbers.
fn capabilities() -> Vec<String> {
    let mut known: Vec<_> = caps::all().into_iter().collect();
    known.sort_by_key(caps::Capability::index);
    known.iter().map(ToString::to_string).collect()
}

/// Those for which libseccomp, as it is linked here, makes filters.
fn architectures() -> Vec<&'static str> {
    let mut known = spec::words("linux.seccomp.architectures");
    known.retain(|name| *name != "SCMP_ARCH_NATIVE" && crate::plan::seccomp::knows_architecture(name));
    known
}

/// Those of the known flags that this kernel takes.
fn supported_flags() -> Vec<&'static str> {
    let mut known = spec::words("linux.seccomp.flags");
    known.retain(|name| crate::plan::seccomp::flag(name).is_some_and(security::seccomp_knows));
    known
}

/// What the annotation takes, each word where it may stand there; what of it this kernel has is its ABI's to say
/// (landlock(7), 0 if there is none).
fn landlock() -> Value {
    json!({
        "abi": sys::landlock::abi(),
        "paths": FileAccess::ALL,
        "ports": NetAccess::ALL,
        "scopes": Scope::ALL,
    })
}

fn annotations() -> Value {
    let mut all = json!({
        "org.rrunc.version": env!("CARGO_PKG_VERSION"),
        // Podman and others ask it of every runtime by runc's name.
        "org.opencontainers.runc.checkpoint.enabled": "true",
        landlock::KEY: landlock().to_string(),
    });
    if let Some(commit) = version::commit() {
        all["org.rrunc.commit"] = commit.into();
    }
    if let Ok(version) = libseccomp::ScmpVersion::current() {
        all["io.github.seccomp.libseccomp.version"] = version.to_string().into();
    }
    all
}

#[cfg(test)]
mod tests {
    use oci_spec::runtime::Features;

    use super::*;

    #[test]
    fn it_is_the_document_of_the_spec() {
        let features: Features = serde_json::from_value(document()).unwrap();
        let again = serde_json::to_value(&features).unwrap();
        for (path, value) in [
            ("/ociVersionMax", json!("1.3.0")),
            ("/hooks/0", json!("prestart")),
            ("/linux/cgroup/v2", json!(true)),
            ("/linux/capabilities/21", json!("CAP_SYS_ADMIN")),
            ("/potentiallyUnsafeConfigAnnotations/4", json!("run.oci.handler")),
        ] {
            assert_eq!(again.pointer(path), Some(&value), "{path}");
        }
        let landlock = again.pointer("/annotations/org.rrunc.landlock");
        let landlock: Value = serde_json::from_str(landlock.unwrap().as_str().unwrap()).unwrap();
        assert!(landlock["abi"].is_i64());
        assert_eq!(landlock["paths"][4], "read_file");
        assert_eq!(landlock["ports"], json!(["bind_tcp", "connect_tcp"]));
        assert_eq!(landlock["scopes"], json!(["abstract_unix_socket", "signal"]));
        let length = |path: &str| again.pointer(path).and_then(Value::as_array).map(Vec::len);
        assert_eq!(length("/hooks"), Some(6));
        assert_eq!(length("/linux/namespaces"), Some(8));
        assert_eq!(length("/linux/seccomp/operators"), Some(7));
    }
}
