//! Id-mapped mounts: by which maps (config.md, mounts.uidMappings and the options idmap and ridmap), also where they
//! stand in the option itself, as crun takes them: `idmap=uids=0-1000-1#1-2000-9;gids=@0-0-10`. A triple is the first
//! id in the file system, the first on the host and how many; with `@` the second is an id of the container.

use oci_spec::runtime::{Linux, LinuxIdMapping, LinuxIdMappingBuilder, LinuxNamespaceType, Mount};

use super::mount_options::{MountOptions, Reach};

/// What a mount's ids are mapped by.
#[derive(Clone, Debug, PartialEq)]
pub struct Idmap {
    pub reach: Reach,
    /// Maps of its own; without them those of the container's user namespace.
    pub maps: Option<Maps>,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Maps {
    pub uid: Vec<LinuxIdMapping>,
    pub gid: Vec<LinuxIdMapping>,
}

const FORM: &str = "expected uids=FIRST-HOST-COUNT#…;gids=FIRST-HOST-COUNT#… with maybe an @ before a triple";

/// How `mount` is to be mapped, if it is. The error is what is wrong with which of its fields (`.options`).
pub fn of(
    mount: &Mount,
    options: &MountOptions,
    linux: Option<&Linux>,
) -> Result<Option<Idmap>, (&'static str, String)> {
    let fields = Maps {
        uid: mount.uid_mappings().clone().unwrap_or_default(),
        gid: mount.gid_mappings().clone().unwrap_or_default(),
    };
    let (has_uid, has_gid) = (!fields.uid.is_empty(), !fields.gid.is_empty());
    if has_uid != has_gid {
        let missing = if has_uid { ".gidMappings" } else { ".uidMappings" };
        let text = "is missing: uidMappings and gidMappings go together";
        return Err((missing, text.into()));
    }
    let reach = match (options.idmap, has_uid) {
        (None, false) => return Ok(None),
        (reach, _) => reach.unwrap_or(Reach::Mount),
    };
    let maps = match (&options.idmap_maps, has_uid) {
        (Some(_), true) => {
            let text = "maps in the option and in uidMappings: which of them?";
            return Err((".options", text.into()));
        }
        (Some(text), false) => Some(parse(text, linux).map_err(|text| (".options", text))?),
        (None, true) => Some(fields),
        (None, false) => None,
    };
    let has_user = linux.is_some_and(|linux| {
        let mut namespaces = linux.namespaces().iter().flatten();
        namespaces.any(|namespace| namespace.typ() == LinuxNamespaceType::User)
    });
    if maps.is_none() && !has_user {
        let text = "an id-mapped mount needs uidMappings and gidMappings, or a \"user\" namespace in linux.namespaces";
        return Err((".options", text.into()));
    }
    Ok(Some(Idmap { reach, maps }))
}

fn parse(text: &str, linux: Option<&Linux>) -> Result<Maps, String> {
    let mut maps = Maps { uid: vec![], gid: vec![] };
    for part in text.split(';') {
        let (list, triples, containers) = match part.split_once('=') {
            Some(("uids", triples)) => (&mut maps.uid, triples, linux.map(Linux::uid_mappings)),
            Some(("gids", triples)) => (&mut maps.gid, triples, linux.map(Linux::gid_mappings)),
            _ => return Err(format!("{part:?}: {FORM}")),
        };
        let containers = containers.and_then(Option::as_deref).unwrap_or_default();
        for triple in triples.split('#') {
            list.push(read(triple, containers)?);
        }
    }
    match maps.uid.is_empty() || maps.gid.is_empty() {
        true => Err(format!("{text:?}: {FORM}")),
        false => Ok(maps),
    }
}

/// One triple; `containers` are the maps of the container's user namespace.
fn read(triple: &str, containers: &[LinuxIdMapping]) -> Result<LinuxIdMapping, String> {
    let plain = triple.strip_prefix('@').unwrap_or(triple);
    let numbers: Vec<Option<u32>> = plain.split('-').map(|number| number.parse().ok()).collect();
    let [Some(first), Some(mut host), Some(size)] = numbers[..] else {
        return Err(format!("{triple:?}: {FORM}"));
    };
    if plain != triple {
        let within = |map: &&LinuxIdMapping| {
            let start = u64::from(map.container_id());
            let (from, to) = (u64::from(host), u64::from(host) + u64::from(size));
            start <= from && to <= start + u64::from(map.size())
        };
        let Some(map) = containers.iter().find(within) else {
            return Err(format!(
                "{triple:?}: no one entry of the container's mappings holds {size} ids from {host} on"
            ));
        };
        host = host - map.container_id() + map.host_id();
    }
    let mapping = LinuxIdMappingBuilder::default().container_id(first).host_id(host).size(size);
    mapping.build().map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::spec::mount_options;

    fn asked(more: Value, options: &[&str], user: bool) -> Result<Option<Idmap>, (&'static str, String)> {
        let mut mount = json!({"destination": "/a", "source": "/b", "options": options});
        mount.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        let mount: Mount = serde_json::from_value(mount).unwrap();
        let namespaces = if user { json!([{"type": "user"}]) } else { json!([]) };
        let map = json!([{"containerID": 0, "hostID": 0, "size": 1}, {"containerID": 1, "hostID": 2, "size": 1000}]);
        let linux = json!({"namespaces": namespaces, "uidMappings": map, "gidMappings": map});
        let linux: Linux = serde_json::from_value(linux).unwrap();
        let parsed = mount_options::parse(mount.options().as_deref().unwrap_or_default());
        of(&mount, &parsed, Some(&linux))
    }

    fn list(maps: &[LinuxIdMapping]) -> Vec<(u32, u32, u32)> {
        maps.iter().map(|map| (map.container_id(), map.host_id(), map.size())).collect()
    }

    #[test]
    fn by_the_containers_namespace() {
        let container = |reach| Ok(Some(Idmap { reach, maps: None }));
        assert_eq!(asked(json!({}), &["bind"], true), Ok(None));
        assert_eq!(asked(json!({}), &["bind", "idmap"], true), container(Reach::Mount));
        assert_eq!(asked(json!({}), &["bind", "ridmap"], true), container(Reach::Tree));
        let (field, text) = asked(json!({}), &["bind", "idmap"], false).unwrap_err();
        assert!(field == ".options" && text.contains("needs uidMappings"), "{text}");
    }

    #[test]
    fn by_maps_of_its_own() {
        let map = json!([{"containerID": 5, "hostID": 6, "size": 7}]);
        let both = json!({"uidMappings": map, "gidMappings": map});
        for (options, reach) in
            [(vec![], Reach::Mount), (vec!["idmap"], Reach::Mount), (vec!["ridmap"], Reach::Tree)]
        {
            let found = asked(both.clone(), &options, false).unwrap().unwrap();
            assert_eq!(found.reach, reach);
            let maps = found.maps.unwrap();
            assert_eq!((list(&maps.uid), list(&maps.gid)), (vec![(5, 6, 7)], vec![(5, 6, 7)]));
        }
        let half = json!({"gidMappings": map});
        assert_eq!(asked(half, &["idmap"], true).unwrap_err().0, ".uidMappings");
        let twice = asked(both, &["idmap=uids=0-0-1;gids=0-0-1"], true);
        assert!(twice.unwrap_err().1.contains("which of them"));
    }

    #[test]
    fn by_maps_in_the_option() {
        let check = |text: &str, uid: &[(u32, u32, u32)], gid: &[(u32, u32, u32)]| {
            let maps = asked(json!({}), &[&format!("ridmap={text}")], true).expect(text);
            let maps = maps.expect(text).maps.expect(text);
            assert_eq!((list(&maps.uid), list(&maps.gid)), (uid.to_vec(), gid.to_vec()), "{text}");
        };
        check("uids=0-1-10#10-11-10;gids=0-100-10", &[(0, 1, 10), (10, 11, 10)], &[(0, 100, 10)]);
        check("gids=0-100-10;uids=@1-3-10", &[(1, 4, 10)], &[(0, 100, 10)]);
        check("uids=@0-0-1;gids=@7-1-1000", &[(0, 0, 1)], &[(7, 2, 1000)]);
        let wrong = |text: &str, part: &str| {
            let (field, said) = asked(json!({}), &[&format!("idmap={text}")], true).unwrap_err();
            assert!(field == ".options" && said.contains(part), "{text}: {said}");
        };
        for text in [
            "",
            "x",
            "uids=",
            "uids=0-0-1",
            "uids=0-0;gids=0-0-1",
            "uids=0-0-1;gids=0-0--1",
            "uids=0-0-1;gids=0-0-1-1",
            "uids=0-0-1;gids=0-0-4294967296",
            "uids=0-0-1;gids=0-0-1;",
            "uids=0-0-1;gids=0-0-1,ro",
        ] {
            wrong(text, FORM);
        }
        wrong("uids=@0-0-2;gids=0-0-1", "no one entry of the container's mappings holds 2 ids from 0 on");
        wrong("uids=@0-995-10;gids=0-0-1", "holds 10 ids from 995 on");
        wrong("uids=@0-4294967295-4294967295;gids=0-0-1", "no one entry");
    }
}
