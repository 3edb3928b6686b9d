//! Rules of config.md, Mounts.

use oci_spec::runtime::Mount;

use super::{Rules, set, text};
use crate::spec::mount_options::{self, MountOptions};

/// What mount(2) copies of its data: a page, less the NUL.
const LONGEST_DATA: usize = 4095;

/// Options that another runtime has made up. To ignore them could open what they close.
const ELSEWHERE: [&str; 3] = ["copy-symlink", "dest-nofollow", "src-nofollow"];

pub fn mounts(rules: &mut Rules) {
    for (i, mount) in rules.oci.mounts().iter().flatten().enumerate() {
        let field = format!("mounts[{i}]");
        let options = mount.options().as_deref().unwrap_or_default();
        let parsed = mount_options::parse(options);
        destination(rules, &field, mount);
        source_and_type(rules, &field, mount, &parsed);
        option_list(rules, &field, mount, options, &parsed);
        mappings(rules, &field, mount, options, &parsed);
    }
}

fn is_bind(mount: &Mount, parsed: &MountOptions) -> bool {
    parsed.is_bind() || mount.typ().as_deref() == Some("bind")
}

/// config.md, mounts.destination: a path; a relative one starts at the root.
fn destination(rules: &mut Rules, field: &str, mount: &Mount) {
    let destination = text(mount.destination());
    let path = format!("{field}.destination");
    if destination.is_empty() {
        rules.fault(&path, "is empty: where is it mounted?");
    } else if !destination.starts_with('/') {
        rules.warn(
            &path,
            &format!("{destination:?} is not absolute (deprecated), it is taken from \"/\""),
        );
    }
    rules.no_nul(path, destination);
}

/// config.md, mounts.source and type: a bind mount needs the one, any other the other.
fn source_and_type(rules: &mut Rules, field: &str, mount: &Mount, parsed: &MountOptions) {
    let source = mount.source().as_deref().map_or("", text);
    let kind = set(mount.typ());
    let remount = parsed.flags & libc::MS_REMOUNT != 0;
    if is_bind(mount, parsed) {
        if source.is_empty() && !remount {
            rules.fault(
                format!("{field}.source"),
                "is missing: a bind mount needs a file or directory of the host",
            );
        }
    } else if kind.is_none() && !remount {
        rules.fault(
            format!("{field}.type"),
            "is missing: which file system is it? (a directory of the host needs the option \"bind\")",
        );
    }
    rules.no_nul(format!("{field}.source"), source);
    rules.no_nul(format!("{field}.type"), kind.unwrap_or_default());
}

/// config.md, Linux mount options.
fn option_list(rules: &mut Rules, field: &str, mount: &Mount, options: &[String], parsed: &MountOptions) {
    let kind = mount.typ().as_deref().unwrap_or_default();
    for (i, option) in options.iter().enumerate() {
        let path = || format!("{field}.options[{i}]");
        let known = mount_options::meaning(option).is_some();
        rules.no_nul(path(), option);
        if ELSEWHERE.contains(&option.as_str())
            || option.starts_with("idmap=")
            || option.starts_with("ridmap=")
        {
            rules.fault(path(), format!("{option:?} is not an option of the spec"));
        } else if option.is_empty() {
            rules.fault(path(), "is empty");
        } else if !known
            && option
                .split(',')
                .next()
                .and_then(mount_options::meaning)
                .is_some()
        {
            rules.fault(
                path(),
                format!("{option:?} must be written as one string per option"),
            );
        } else if !known && is_bind(mount, parsed) {
            rules.warn(
                path(),
                &format!("{option:?} is not an option of a bind mount, and has no effect"),
            );
        }
    }
    if parsed.tmpcopyup && kind != "tmpfs" {
        rules.warn(
            format!("{field}.options"),
            "\"tmpcopyup\" has an effect on tmpfs only",
        );
    }
    if parsed.data.len() > LONGEST_DATA {
        rules.fault(
            format!("{field}.options"),
            format!(
                "{} bytes of file system options, the kernel takes {LONGEST_DATA}",
                parsed.data.len()
            ),
        );
    }
}

/// config.md, mounts.uidMappings and gidMappings: both or neither.
fn mappings(rules: &mut Rules, field: &str, mount: &Mount, options: &[String], parsed: &MountOptions) {
    let given = |list: &Option<Vec<_>>| list.as_ref().is_some_and(|list| !list.is_empty());
    let (uid, gid) = (given(mount.uid_mappings()), given(mount.gid_mappings()));
    if uid != gid {
        let missing = if uid { "gidMappings" } else { "uidMappings" };
        rules.fault(
            format!("{field}.{missing}"),
            "is missing: uidMappings and gidMappings go together",
        );
    }
    if parsed.idmap.is_some() || uid || gid {
        let option = options.iter().position(|o| o == "idmap" || o == "ridmap");
        let path = match option {
            Some(i) => format!("{field}.options[{i}]"),
            None if uid => format!("{field}.uidMappings"),
            None => format!("{field}.gidMappings"),
        };
        rules.fault(path, "id-mapped mounts are not supported yet");
    }
}
