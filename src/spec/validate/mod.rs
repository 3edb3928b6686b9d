//! The rules of the spec that a type can't say: one function each, all of which are asked, so that a user
//! learns of every fault at once. What depends on the host is not here.

mod annotations;
mod hooks;
mod lengths;
mod linux;
mod memory;
mod mounts;
mod namespaces;
mod net_devices;
mod process;
mod rdt;
mod resources;
mod seccomp;
mod sysctls;

use std::path::Path;

use oci_spec::runtime::{Linux, LinuxNamespace, LinuxNamespaceType, LinuxResources, Spec};

use super::shape::Found;

/// Adds what the rules find in `oci` to what was found in its types.
pub fn check(oci: &Spec, found: &mut Found) {
    ask(&RULES, oci, found);
}

/// The same for the mounts alone.
pub fn mounts(oci: &Spec, found: &mut Found) {
    ask(&[mounts::mounts], oci, found);
}

/// The same for linux.resources alone, as `update` has it.
pub fn resources(given: &LinuxResources, found: &mut Found) {
    let mut oci = Spec::default();
    let mut linux = Linux::default();
    linux.set_resources(Some(given.clone()));
    oci.set_linux(Some(linux));
    ask(&[resources::device_rules, resources::limits], &oci, found);
}

fn ask(list: &[fn(&mut Rules)], oci: &Spec, found: &mut Found) {
    let mut rules =
        Rules { oci, broken: found.faults.iter().map(|fault| fault.path.clone()).collect(), found };
    if lengths::lengths(&mut rules) {
        list.iter().for_each(|rule| rule(&mut rules));
    }
}

const RULES: [fn(&mut Rules); 33] = [
    version,
    root,
    process::program,
    process::directory,
    process::environment,
    process::user,
    process::capabilities,
    process::rlimits,
    process::scores,
    process::scheduling,
    process::labels,
    process::console,
    host_names,
    mounts::mounts,
    hooks::hooks,
    annotations::annotations,
    namespaces::namespaces,
    namespaces::id_mappings,
    namespaces::time_offsets,
    net_devices::net_devices,
    linux::devices,
    linux::restricted_paths,
    linux::propagation,
    linux::mount_label,
    linux::personality,
    memory::policy,
    linux::cgroups_path,
    sysctls::sysctls,
    resources::device_rules,
    resources::limits,
    resources::without_a_file,
    seccomp::listener,
    rdt::intel_rdt,
];

/// The document under test, and what was found so far.
struct Rules<'a> {
    oci: &'a Spec,
    /// Paths whose value had a wrong type. What stands there now is ours, and no rule may complain of it.
    broken: Vec<String>,
    found: &'a mut Found,
}

impl Rules<'_> {
    fn fault(&mut self, path: impl Into<String>, text: impl Into<String>) {
        let (path, text) = (path.into(), text.into());
        if self.is_intact(&path) {
            self.found.fault(path, text);
        }
    }

    fn warn(&mut self, path: impl Into<String>, text: &str) {
        let path = path.into();
        if self.is_intact(&path) {
            self.found.warn(format!("{path}: {text}"));
        }
    }

    /// Whether the value at `path` is as it was written, in and around it.
    fn is_intact(&self, path: &str) -> bool {
        let below = |inner: &str, outer: &str| {
            inner.strip_prefix(outer).is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '[']))
        };
        !self.broken.iter().any(|broken| below(broken, path) || below(path, broken))
    }

    /// The kernel would read a string with a NUL in it as a shorter one.
    fn no_nul(&mut self, path: impl Into<String>, value: &str) {
        if value.contains('\0') {
            self.fault(path, "holds a NUL character");
        }
    }

    fn no_nuls(&mut self, path: &str, values: &Option<Vec<String>>) {
        for (i, value) in values.iter().flatten().enumerate() {
            if value.contains('\0') {
                self.fault(format!("{path}[{i}]"), "holds a NUL character");
            }
        }
    }

    fn namespace(&self, kind: LinuxNamespaceType) -> Option<&LinuxNamespace> {
        let namespaces = self.oci.linux().as_ref()?.namespaces().as_ref()?;
        namespaces.iter().find(|namespace| namespace.typ() == kind)
    }

    /// The container has a namespace of this kind that isn't the runtime's: a new one or one to join. If the
    /// list was faulty, nothing follows from what is not in it.
    fn has_namespace(&self, kind: LinuxNamespaceType) -> bool {
        self.namespace(kind).is_some() || !self.is_intact("linux.namespaces")
    }
}

/// Paths of a config.json are text: it comes from JSON.
fn text(path: &Path) -> &str {
    path.to_str().unwrap_or_default()
}

/// What isn't empty; engines write "" for what they don't set.
fn set(value: &Option<String>) -> Option<&str> {
    value.as_deref().filter(|value| !value.is_empty())
}

/// Whether a namespace is one to join.
fn joined(namespace: &LinuxNamespace) -> Option<&Path> {
    namespace.path().as_deref().filter(|path| !path.as_os_str().is_empty())
}

/// config.md, Specification version: SemVer 2.0.0, and one that we support.
fn version(rules: &mut Rules) {
    let version = rules.oci.version();
    let Some((major, minor)) = semver(version) else {
        let text = match version.as_str() {
            "" => "is missing, expected the version of the spec (\"1.3.0\")".into(),
            version => format!("{version:?} is not a version (MAJOR.MINOR.PATCH, as in \"1.3.0\")"),
        };
        return rules.fault("ociVersion", text);
    };
    match (major, minor) {
        (1, 0..=3) => {}
        (1, _) => rules.warn("ociVersion", "is newer than 1.3: what it adds to the spec is ignored"),
        _ => rules.fault("ociVersion", format!("{version:?} is not supported: versions 1.x are")),
    }
}

/// Major and minor of a semantic version.
fn semver(version: &str) -> Option<(u64, u64)> {
    let number = |n: &str| {
        let plain = n == "0" || !n.starts_with('0');
        (plain && n.bytes().all(|b| b.is_ascii_digit())).then(|| n.parse().ok()).flatten()
    };
    let identifiers = |text: &str| {
        let valid = |b: u8| b.is_ascii_alphanumeric() || b == b'-';
        text.split('.').all(|part| !part.is_empty() && part.bytes().all(valid))
    };
    let (version, build) = version.split_once('+').map_or((version, None), |(v, b)| (v, Some(b)));
    let (version, pre_release) = version.split_once('-').map_or((version, None), |(v, p)| (v, Some(p)));
    let mut parts = version.split('.');
    let (major, minor) = (number(parts.next()?)?, number(parts.next()?)?);
    let _patch: u64 = number(parts.next()?)?;
    let valid =
        parts.next().is_none() && build.is_none_or(identifiers) && pre_release.is_none_or(identifiers);
    valid.then_some((major, minor))
}

/// config.md, Root: required, with a path.
fn root(rules: &mut Rules) {
    let Some(root) = rules.oci.root() else {
        return rules.fault("root", "is missing: which directory is the container's root?");
    };
    if root.path().as_os_str().is_empty() {
        rules.fault("root.path", "is missing: which directory is the container's root?");
    }
    rules.no_nul("root.path", text(root.path()));
}

/// config.md, Hostname and Domainname: of a UTS namespace of the container's own. The kernel takes 64 bytes
/// (uname(2)).
fn host_names(rules: &mut Rules) {
    for (path, name) in [("hostname", rules.oci.hostname()), ("domainname", rules.oci.domainname())] {
        let Some(name) = set(name) else { continue };
        rules.no_nul(path, name);
        if name.len() > 64 {
            rules.fault(path, format!("has {} bytes, 64 are allowed", name.len()));
        }
        if !rules.has_namespace(LinuxNamespaceType::Uts) {
            rules.fault(
                path,
                format!(
                    "{name:?} needs a \"uts\" namespace in linux.namespaces, or it would rename the host"
                ),
            );
        }
    }
}

#[cfg(test)]
mod tests;
