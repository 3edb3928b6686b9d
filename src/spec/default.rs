//! The configuration that `spec` writes: a shell in a container with a terminal, to start from. Text and not a
//! value, since people read and compare it: its fields have the order of the spec's own types.

use crate::sys::{Gid, Uid};

/// Lines that start with a space are in both configurations, those with `-` in root's, those with `+` in that
/// of a user who isn't root, and whose only mapped id is their own.
const BOTH: &str = include_str!("default.diff");

/// A config.json for root, or for a container that the user with these ids makes.
pub fn default_config(user: Option<(Uid, Gid)>) -> String {
    let other = if user.is_some() { '-' } else { '+' };
    let lines = BOTH.lines().filter(|line| !line.starts_with(other));
    let text: Vec<_> = lines.filter_map(|line| line.get(1..)).collect();
    let text = text.join("\n");
    match user {
        Some((uid, gid)) => text.replace("{uid}", &uid.to_string()).replace("{gid}", &gid.to_string()),
        None => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(user: Option<(Uid, Gid)>, namespaces: usize, sys: &str) {
        let text = default_config(user);
        let spec = crate::spec::parse(text.as_bytes()).unwrap();
        assert!(spec.warnings.is_empty(), "{:?}", spec.warnings);
        let linux = spec.oci.linux().as_ref().unwrap();
        assert_eq!(linux.namespaces().as_ref().unwrap().len(), namespaces);
        let mounts = spec.oci.mounts().as_ref().unwrap();
        assert_eq!(mounts[5].typ().as_deref(), Some(sys));
        let ids = |m: &Option<Vec<oci_spec::runtime::LinuxIdMapping>>| m.as_ref().map(|m| m[0].host_id());
        assert_eq!(ids(linux.uid_mappings()), user.map(|(uid, _)| uid.0));
        assert_eq!(ids(linux.gid_mappings()), user.map(|(_, gid)| gid.0));
    }

    #[test]
    fn both_are_valid() {
        check(None, 6, "sysfs");
        check(Some((Uid(1000), Gid(100))), 6, "none");
    }
}
