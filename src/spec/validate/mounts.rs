//! Rules of config.md, Mounts.

use oci_spec::runtime::Mount;

use super::namespaces::ranges;
use super::{Rules, set, text};
use crate::spec::idmap;
use crate::spec::mount_options::{self, MountOptions};

/// What mount(2) copies of its data: a page, less the NUL.
const LONGEST_DATA: usize = 4095;

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
        rules.warn(&path, &format!("{destination:?} is not absolute (deprecated), it is taken from \"/\""));
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
        if mount_options::id_maps(option).is_some() {
            continue; // mappings() looks at it
        }
        if option.is_empty() {
            continue; // Buildah's, for a volume without options
        }
        if !known && option.split(',').next().and_then(mount_options::meaning).is_some() {
            rules.fault(path(), format!("{option:?} must be written as one string per option"));
        } else if !known && is_bind(mount, parsed) {
            rules.warn(path(), &format!("{option:?} is not an option of a bind mount, and has no effect"));
        }
    }
    if parsed.tmpcopyup && kind != "tmpfs" {
        rules.warn(format!("{field}.options"), "\"tmpcopyup\" has an effect on tmpfs only");
    }
    for (used, option) in [(parsed.copy_symlink, "copy-symlink"), (parsed.source_nofollow, "src-nofollow")] {
        if used && !is_bind(mount, parsed) {
            let text = format!("{option:?} has an effect on bind mounts only");
            rules.warn(format!("{field}.options"), &text);
        }
    }
    if parsed.data.len() > LONGEST_DATA {
        rules.fault(
            format!("{field}.options"),
            format!("{} bytes of file system options, the kernel takes {LONGEST_DATA}", parsed.data.len()),
        );
    }
}

/// config.md, mounts.uidMappings and gidMappings, and the options idmap and ridmap.
fn mappings(rules: &mut Rules, field: &str, mount: &Mount, options: &[String], parsed: &MountOptions) {
    let option =
        options.iter().position(|o| o == "idmap" || o == "ridmap" || mount_options::id_maps(o).is_some());
    let path_of = |part: &str| match (part, option) {
        (".options", Some(i)) => format!("{field}.options[{i}]"),
        (part, _) => format!("{field}{part}"),
    };
    let idmap = match idmap::of(mount, parsed, rules.oci.linux().as_ref()) {
        Err((part, text)) => return rules.fault(path_of(part), text),
        Ok(None) => return,
        Ok(Some(idmap)) => idmap,
    };
    let part = if option.is_some() { ".options" } else { ".uidMappings" };
    if !is_bind(mount, parsed) || parsed.flags & libc::MS_REMOUNT != 0 {
        rules.fault(path_of(part), "id-mapped mounts are supported for bind mounts only");
    }
    if let Some(maps) = idmap.maps {
        let paths = match parsed.idmap_maps {
            Some(_) => ["uids", "gids"].map(|list| format!("{}.{list}", path_of(".options"))),
            None => [".uidMappings", ".gidMappings"].map(path_of),
        };
        ranges(rules, &paths[0], &maps.uid);
        ranges(rules, &paths[1], &maps.gid);
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use crate::spec::validate::tests::{bad, bad_all, base, good, warned};

    #[test]
    fn mounts() {
        let place = "/mounts";
        let one = |mount: Value| json!([{"destination": "/a", "type": "tmpfs"}, mount]);
        let options = |kind: &str, options: &[&str]| {
            one(json!({"destination": "/b", "type": kind, "source": "/s", "options": options}))
        };
        good(place, options("tmpfs", &["ro", "mode=755", "tmpcopyup", "rslave"]));
        good(place, options("none", &["rbind", "rro", "private"]));
        good(place, one(json!({"destination": "/b", "options": ["remount", "ro"]})));
        bad(place, one(json!({"destination": "", "type": "proc"})), "mounts[1].destination", "is empty");
        bad(place, one(json!({"destination": "/\u{0}", "type": "proc"})), "mounts[1].destination", "NUL");
        warned(&[(place, one(json!({"destination": "b", "type": "proc"})))], "is not absolute");
        bad(place, one(json!({"destination": "/b"})), "mounts[1].type", "is missing");
        bad(place, one(json!({"destination": "/b", "type": "\u{0}"})), "mounts[1].type", "NUL");
        bad(place, one(json!({"destination": "/b", "options": ["bind"]})), "mounts[1].source", "is missing");
        bad(place, one(json!({"destination": "/b", "type": "bind"})), "mounts[1].source", "is missing");
        bad(
            place,
            one(json!({"destination": "/b", "type": "bind", "source": "\u{0}"})),
            "mounts[1].source",
            "NUL",
        );
        good(place, options("none", &["", "rbind"]));
        bad(place, options("tmpfs", &["a=\u{0}"]), "mounts[1].options[0]", "NUL");
        bad(place, options("tmpfs", &["nosuid,mode=1"]), "mounts[1].options[0]", "one string per option");
        good(place, options("overlay", &["lowerdir=/a:/b,c"]));
        good(place, options("none", &["bind", "src-nofollow", "dest-nofollow"]));
        bad(place, options("tmpfs", &[&"x".repeat(4096)]), "mounts[1].options", "the kernel takes 4095");
        warned(
            &[(place, options("none", &["bind", "nosiud"]))],
            "mounts[1].options[1]: \"nosiud\" is not an option",
        );
        warned(&[(place, options("proc", &["tmpcopyup"]))], "tmpfs only");
        warned(&[(place, options("tmpfs", &["copy-symlink"]))], "bind mounts only");
    }

    #[test]
    fn id_mapped_mounts() {
        let place = "/mounts";
        let check = |kind: &str, options: &[&str], maps: Value, expected: Option<(&str, &str)>| {
            let mut mount = json!({"destination": "/b", "type": kind, "source": "/s", "options": options});
            mount.as_object_mut().unwrap().extend(maps.as_object().unwrap().clone());
            match expected {
                None => good(place, json!([mount])),
                Some((path, text)) => bad(place, json!([mount]), path, text),
            }
        };
        let map = json!([{"containerID": 0, "hostID": 0, "size": 1}]);
        let both = json!({"uidMappings": map, "gidMappings": map});
        let none = json!({});
        check("none", &["bind", "ridmap"], none.clone(), None);
        check("none", &["rbind", "idmap"], both.clone(), None);
        check("bind", &[], both.clone(), None);
        check("none", &["bind", "idmap=uids=0-0-1;gids=@0-0-9"], none.clone(), None);
        let only = "for bind mounts only";
        check("tmpfs", &["idmap"], none.clone(), Some(("mounts[0].options[0]", only)));
        check("tmpfs", &[], both.clone(), Some(("mounts[0].uidMappings", only)));
        check("", &["remount", "bind", "idmap"], none.clone(), Some(("mounts[0].options[2]", only)));
        check("bind", &["ro", "idmap=x"], none.clone(), Some(("mounts[0].options[1]", "expected uids=")));
        check(
            "bind",
            &["idmap=uids=0-0-0;gids=0-0-1"],
            none.clone(),
            Some(("mounts[0].options[0].uids[0].size", "is 0")),
        );
        check(
            "bind",
            &["idmap"],
            json!({"uidMappings": map}),
            Some(("mounts[0].gidMappings", "go together")),
        );
        let empty = json!([{"containerID": 0, "hostID": 0, "size": 0}]);
        check(
            "bind",
            &[],
            json!({"uidMappings": map, "gidMappings": empty}),
            Some(("mounts[0].gidMappings[0].size", "is 0")),
        );
        let mount = json!({"destination": "/b", "source": "/s", "options": ["bind", "idmap"]});
        let mut linux = base()["linux"].clone();
        linux["namespaces"].as_array_mut().unwrap().remove(5);
        linux.as_object_mut().unwrap().remove("uidMappings");
        linux.as_object_mut().unwrap().remove("gidMappings");
        bad_all(
            &[(place, json!([mount])), ("/linux", linux)],
            "mounts[0].options[1]",
            "needs uidMappings and gidMappings, or a \"user\" namespace",
        );
    }
}
