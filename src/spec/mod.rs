//! config.json as types: bytes in, types out, with every fault or none. No file and no host: what depends on
//! this machine is decided in `plan`.
//!
//! Reading is oci-spec's job. [`schema`] and [`shape`] see to what serde and Go read differently and to good
//! messages, [`validate`] to the rules between and within fields.

pub mod annotations;
pub mod default;
pub mod idmap;
pub mod landlock;
pub mod mount_options;
pub mod running;
mod schema;
mod shape;
mod syntax;
mod sysctl;
mod validate;

use oci_spec::runtime;
use serde_json::Value;

use crate::error::{Error, Result};
pub use sysctl::{dotted as sysctl_name, owner as sysctl_owner, path as sysctl_path};

const FILE: &str = "config.json";

/// A valid config.json.
#[derive(Debug)]
pub struct Spec {
    pub oci: runtime::Spec,
    /// What the spec wants to be told, but not refused, each with its path.
    pub warnings: Vec<String>,
}

/// Reads a config.json. The error has all faults: of JSON (with line and column), or of types and of rules
/// (with the path of each field).
pub fn parse(bytes: &[u8]) -> Result<Spec> {
    match examine(bytes)? {
        (spec, None) => Ok(spec),
        (_, Some(faults)) => Err(faults),
    }
}

/// The same, but with what could be read of a config.json that has faults. The error outside is of one that can't
/// be read at all.
pub fn examine(bytes: &[u8]) -> Result<(Spec, Option<Error>)> {
    let (oci, mut found) = match quick(bytes) {
        Ok(oci) => (oci, shape::Found::default()),
        Err(reason) => thorough(bytes, reason)?,
    };
    validate::check(&oci, &mut found);
    let spec = Spec { oci: as_meant(oci), warnings: std::mem::take(&mut found.warnings) };
    Ok((spec, (!found.faults.is_empty()).then(|| found.into_error(FILE))))
}

/// Reads a process alone, as `exec --process` has it. `file` is its name in faults.
pub fn parse_process(bytes: &[u8], file: &str) -> Result<runtime::Process> {
    let document = parse_json(bytes, file)?;
    let mut found = shape::Found::default();
    let fitting = shape::fit(document, &schema::PROCESS, &mut found);
    match fitting.filter(|_| found.faults.is_empty()) {
        Some(document) => serde_path_to_error::deserialize(document).map_err(|error| {
            found.fault(error.path().to_string(), error.inner().to_string());
            found.into_error(file)
        }),
        None => Err(found.into_error(file)),
    }
}

/// Reads linux.resources alone, as `update` has it, as the JSON of what is known and of the right type.
pub fn fit_resources(document: Value, file: &str) -> Result<Value> {
    let mut found = shape::Found::default();
    let fitting = shape::fit(document, &schema::RESOURCES, &mut found);
    match fitting.filter(|_| found.faults.is_empty()) {
        Some(document) => Ok(document),
        None => Err(found.into_error(file)),
    }
}

/// What [`fit_resources`] gave, as a type, by the rules of config.json.
pub fn resources(document: &Value) -> Result<runtime::LinuxResources> {
    let mut found = shape::Found::default();
    match serde_path_to_error::deserialize::<_, runtime::LinuxResources>(document) {
        Ok(resources) => {
            validate::resources(&resources, &mut found);
            match found.faults.is_empty() {
                true => Ok(resources),
                false => Err(found.into_error("resources")),
            }
        }
        Err(error) => {
            found.fault(error.path().to_string(), error.inner().to_string());
            Err(found.into_error("linux.resources"))
        }
    }
}

/// Any JSON; a fault has its line and column.
pub fn parse_json(bytes: &[u8], file: &str) -> Result<Value> {
    serde_json::from_slice(bytes).map_err(|error| syntax::explain(bytes, &error, file))
}

/// What the rules find in a configuration that was put together here, under `file` as its name.
pub fn check(oci: &runtime::Spec, file: &str) -> Result<()> {
    let mut found = shape::Found::default();
    validate::check(oci, &mut found);
    match found.faults.is_empty() {
        true => Ok(()),
        false => Err(found.into_error(file)),
    }
}

/// The words that the field at `path` takes (`linux.seccomp.defaultAction`), or the names of its own fields.
pub fn words(path: &str) -> Vec<&'static str> {
    schema::CONFIG.words(path)
}

/// Whether a valid ociVersion is older than 1.3, which gave another meaning to some things.
pub fn is_before_1_3(version: &str) -> bool {
    let mut parts = version.split('.').map_while(|part| part.parse::<u32>().ok());
    (parts.next(), parts.next()) < (Some(1), Some(3))
}

/// Whom the seccomp filter notifies: linux.seccomp.listenerPath, or the annotation in its place. `None` if it notifies
/// nobody.
pub fn seccomp_listener(oci: &runtime::Spec) -> Option<&std::path::Path> {
    use std::path::Path;
    let seccomp = oci.linux().as_ref()?.seccomp().as_ref()?;
    let notify = runtime::LinuxSeccompAction::ScmpActNotify;
    seccomp.syscalls().iter().flatten().find(|entry| entry.action() == notify)?;
    let path = seccomp.listener_path().as_deref();
    path.filter(|path| !path.as_os_str().is_empty())
        .or_else(|| annotations::get(oci, annotations::SECCOMP_RECEIVER).map(Path::new))
}

/// The name of a network device in the container: that on the host, unless it has another.
pub fn net_device_inside<'a>(name: &'a str, device: &'a runtime::LinuxNetDevice) -> &'a str {
    let inside = device.name().as_deref();
    inside.filter(|inside| !inside.is_empty()).unwrap_or(name)
}

/// What an older version of the spec meant by a value that 1.3 reads otherwise: until then a pids.limit of 0 was
/// none, and engines write it so.
fn as_meant(mut oci: runtime::Spec) -> runtime::Spec {
    let before_1_3 = is_before_1_3(oci.version());
    let resources = oci.linux_mut().as_mut().and_then(|linux| linux.resources_mut().as_mut());
    if let Some(pids) = resources.and_then(|resources| resources.pids_mut().as_mut()) {
        if before_1_3 && pids.limit() == 0 {
            pids.set_limit(-1);
        }
    }
    oci
}

/// What engines write passes here, without a detour. `None` as the reason is for what serde would misread.
fn quick(bytes: &[u8]) -> Result<runtime::Spec, Option<serde_json::Error>> {
    let oci = serde_json::from_slice(bytes).map_err(Some)?;
    if shape::is_plain(bytes, &schema::CONFIG) { Ok(oci) } else { Err(None) }
}

/// All that is right of a document that has faults, or is written in an unusual way.
fn thorough(bytes: &[u8], reason: Option<serde_json::Error>) -> Result<(runtime::Spec, shape::Found)> {
    let document: Value =
        serde_json::from_slice(bytes).map_err(|error| syntax::explain(bytes, &error, FILE))?;
    let mut found = shape::Found::default();
    if let Some(reason) = reason.filter(|reason| reason.to_string().starts_with("duplicate field")) {
        found.warn(format!("{reason}: the last one counts"));
    }
    let Some(document) = shape::fit(document, &schema::CONFIG, &mut found) else {
        return Err(found.into_error(FILE));
    };
    match serde_path_to_error::deserialize(document) {
        Ok(oci) => Ok((oci, found)),
        // Only if the table and oci-spec's types disagree.
        Err(error) => {
            found.fault(error.path().to_string(), error.inner().to_string());
            Err(found.into_error(FILE))
        }
    }
}

#[cfg(test)]
mod tests;
