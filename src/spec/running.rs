//! The file of `mounts add` and `mounts remove`: a list as config.json's `mounts`, by the same rules and some more.

use oci_spec::runtime::{self, LinuxIdMapping};
use serde_json::{Value, json};

use super::shape::{self, Found};
use super::{Spec, mount_options, schema, syntax, validate};
use crate::error::{Error, Fault, Kind, Result};

/// The ids of a container's user namespace, for maps that are relative to them.
pub struct UserNamespace {
    pub uid: Vec<LinuxIdMapping>,
    pub gid: Vec<LinuxIdMapping>,
}

/// Reads the list that `file` holds. The error has all faults, by their paths as in config.json.
pub fn parse(bytes: &[u8], file: &str, user: Option<&UserNamespace>) -> Result<Spec> {
    let mounts: Value =
        serde_json::from_slice(bytes).map_err(|error| syntax::explain(bytes, &error, file))?;
    if !mounts.is_array() {
        let path = "mounts".to_string();
        let text = "must be an array: [{\"destination\": …}, …]".to_string();
        return Err(Error::invalid(file, vec![Fault { path, text }]));
    }
    let namespaces: Vec<Value> =
        ["mount"].into_iter().chain(user.map(|_| "user")).map(|kind| json!({ "type": kind })).collect();
    let document = json!({
        "ociVersion": "1.3.0",
        "mounts": mounts,
        "linux": {
            "namespaces": namespaces,
            "uidMappings": user.map(|user| &user.uid),
            "gidMappings": user.map(|user| &user.gid),
        },
    });
    let mut found = Found::default();
    let document = shape::fit(document, &schema::CONFIG, &mut found).unwrap_or_default();
    let oci: runtime::Spec = serde_path_to_error::deserialize(document).map_err(|error| {
        let text = format!("{file}: {}: {}", error.path(), error.inner());
        Error::new(Kind::InvalidSpec, text)
    })?;
    validate::mounts(&oci, &mut found);
    for (i, mount) in oci.mounts().iter().flatten().enumerate() {
        let parsed = mount_options::parse(mount.options().as_deref().unwrap_or_default());
        let destination = mount.destination().to_string_lossy();
        if !destination.is_empty() && destination.split('/').all(|part| matches!(part, "" | "." | "..")) {
            found.fault(format!("mounts[{i}].destination"), "is the container's root, which stays".into());
        }
        for (used, option) in [
            (parsed.flags & libc::MS_REMOUNT != 0, "remount"),
            (parsed.tmpcopyup, "tmpcopyup"),
            (parsed.copy_symlink, "copy-symlink"),
        ] {
            if used {
                let text = format!("{option:?} is for config.json only: the container runs already");
                found.fault(format!("mounts[{i}].options"), text);
            }
        }
    }
    if !found.faults.is_empty() {
        return Err(found.into_error(file));
    }
    Ok(Spec { oci, warnings: found.warnings })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(list: Value, expected: &str) {
        let error = parse(list.to_string().as_bytes(), "m.json", None).expect_err(&list.to_string());
        assert_eq!(error.to_string(), format!("m.json: {expected}"));
    }

    #[test]
    fn the_rules_of_config_json_and_more() {
        let good = json!([
            {"destination": "/a", "type": "bind", "source": "/b", "options": ["ro"]},
            {"destination": "/c", "type": "tmpfs", "source": "tmpfs", "options": ["size=1m"]},
        ]);
        let spec = parse(good.to_string().as_bytes(), "m.json", None).unwrap();
        assert_eq!(spec.oci.mounts().as_ref().unwrap().len(), 2);
        refused(json!({"mounts": []}), "mounts: must be an array: [{\"destination\": …}, …]");
        refused(
            json!([{"destination": 5, "type": "tmpfs"}]),
            "mounts[0].destination: is 5, expected a string",
        );
        let root = |path: &str| json!([{"destination": path, "type": "tmpfs"}]);
        for path in ["/", "//.", "/.."] {
            refused(root(path), "mounts[0].destination: is the container's root, which stays");
        }
        refused(
            json!([{"destination": "/a", "options": ["remount"]}, {"destination": "/b"}]),
            "mounts[1].type: is missing: which file system is it? (a directory of the host needs the option \"bind\"); \
             mounts[0].options: \"remount\" is for config.json only: the container runs already",
        );
        let error = parse(b"[{]", "m.json", None).unwrap_err().to_string();
        assert!(error.starts_with("m.json: line 1, column 3: "), "{error}");
    }

    #[test]
    fn ids_of_the_container() {
        let list = json!([{"destination": "/a", "source": "/b", "options": ["bind", "idmap=uids=@0-0-1;gids=@0-0-1"]}]);
        let maps = || serde_json::from_value(json!([{"containerID": 0, "hostID": 5, "size": 9}])).unwrap();
        let user = UserNamespace { uid: maps(), gid: maps() };
        assert!(parse(list.to_string().as_bytes(), "m.json", Some(&user)).is_ok());
        assert!(parse(list.to_string().as_bytes(), "m.json", None).is_err());
    }
}
