//! What engines and users write: config.json, its parts, and what goes with them.

use oci_spec::runtime::LinuxIdMapping;

use super::check::{are_maps, hosts, is_complete, is_sound};
use crate::cgroup::{self, resources as limits};
use crate::error::Result;
use crate::plan::seccomp::Filter;
use crate::plan::{self, Plan};
use crate::spec::running::UserNamespace;
use crate::spec::{self, Spec, mount_options as options};
use crate::sys::Pid;

/// Equal bytes give equal plans, whose paths stay in the root and that leave nothing out.
pub fn config(data: &[u8]) {
    let (spec, faults) = match spec::examine(data) {
        Ok((spec, None)) => (spec, None),
        Ok((spec, Some(faults))) => (spec, Some(faults)),
        Err(error) => return assert!(!error.to_string().is_empty()),
    };
    if let Some(faults) = faults {
        let again = spec::parse(data).expect_err("it has faults");
        return assert_eq!(faults.to_string(), again.to_string());
    }
    let again = spec::parse(data).expect("what is valid is so twice");
    assert_eq!(spec.oci, again.oci);
    for (options, facts) in hosts() {
        let compile = |spec: &Spec| plan::compile(spec, &options, &facts, filter(spec));
        if let Some(plan) = same(compile(&spec), compile(&again)) {
            is_sound(&plan);
            is_complete(&spec.oci, &options, &plan);
            are_maps(plan.namespaces.id_maps.as_ref());
            if plan::criu::check_namespaces(&plan.namespaces).is_ok() {
                let points =
                    plan::criu::mount_points(&spec, &options, &facts).expect("as the plan of create");
                is_sound(&points);
            }
        }
    }
    place(&spec);
    if let Some(resources) = spec.oci.linux().as_ref().and_then(|linux| linux.resources().as_ref()) {
        of_resources(resources);
    }
}

/// Where the container's cgroup is to be: below the hierarchy's root, also with systemd.
fn place(spec: &Spec) {
    let given = spec.oci.linux().as_ref().and_then(|linux| linux.cgroups_path().as_deref());
    let Some(given) = given else { return };
    if given.is_absolute() {
        let place = cgroup::place(Some(given), "fuzz").expect("asks nobody");
        assert!(is_below(&place) || place.is_empty(), "{given:?} is {place:?}");
    }
    if let Ok(planned) = cgroup::systemd::plan(&spec.oci, "fuzz") {
        assert!(is_below(&planned.place), "{given:?} is {:?}", planned.place);
    }
}

fn is_below(place: &str) -> bool {
    place.split('/').all(|part| !matches!(part, "" | "." | ".."))
}

/// Only that there is a filter counts here.
fn filter(spec: &Spec) -> Option<Filter> {
    spec.oci.linux().as_ref()?.seccomp().as_ref()?;
    Some(Filter { program: vec![0; 8], flags: 0 })
}

fn same(one: Result<Plan>, other: Result<Plan>) -> Option<Plan> {
    match (one, other) {
        (Ok(one), Ok(other)) => {
            assert_eq!(one, other);
            Some(one)
        }
        (one, other) => {
            let text = |result: Result<Plan>| result.err().map(|error| error.to_string());
            assert_eq!(text(one), text(other));
            None
        }
    }
}

/// exec --process FILE, in a container of the default configuration.
pub fn process(data: &[u8]) {
    let Ok(process) = spec::parse_process(data, "process.json") else {
        return;
    };
    assert_eq!(Some(&process), spec::parse_process(data, "process.json").ok().as_ref());
    exec(process);
}

/// The plan of `exec`, if the rules of config.json let the process pass.
pub fn exec(process: oci_spec::runtime::Process) {
    let mut spec = container();
    spec.oci.set_process(Some(process));
    if spec::check(&spec.oci, "process.json").is_err() {
        return;
    }
    for (options, facts) in hosts() {
        let compile = || plan::compile_exec(&spec, &options, &facts, None, false);
        if let Some(plan) = same(compile(), compile()) {
            is_sound(&plan);
        }
    }
}

pub fn container() -> Spec {
    let config = spec::default::default_config(None);
    spec::parse(config.as_bytes()).expect("the default is valid")
}

/// The list of `mounts add` and `remove`.
pub fn mounts(data: &[u8]) {
    let ids = || {
        let map: LinuxIdMapping =
            serde_json::from_str(r#"{"containerID": 0, "hostID": 1000, "size": 9}"#).expect("a map");
        vec![map]
    };
    let user = UserNamespace { uid: ids(), gid: ids() };
    for user in [None, Some(&user)] {
        let Ok(spec) = spec::running::parse(data, "mounts.json", user) else {
            continue;
        };
        let inside = plan::running::Inside { init: Pid(42), user: user.is_some() };
        let [(options, _), ..] = hosts();
        let add = || plan::running::add(&spec.oci, inside, &options);
        if let Some(plan) = same(add(), add()) {
            is_sound(&plan);
        }
        let remove = || plan::running::remove(&spec.oci, inside);
        if let Some(plan) = same(remove(), remove()) {
            is_sound(&plan);
        }
    }
}

/// A word is either known, or left to the file system just as it is.
pub fn mount_options(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let words: Vec<String> = text.split(',').map(str::to_string).collect();
    let parsed = options::parse(&words);
    let unknown = |word: &&String| options::meaning(word).is_none() && options::id_maps(word).is_none();
    let left: Vec<_> = words.iter().filter(unknown).filter(|word| !word.is_empty()).cloned().collect();
    let data: Vec<_> = parsed.data.split(',').filter(|word| !word.is_empty()).collect();
    assert_eq!(data, left);
    assert_eq!(parsed.flags & parsed.cleared, 0, "set and cleared at once");
    assert_eq!(parsed, options::parse(&words));
}

/// `update --resources`, and what was remembered of the last one.
pub fn resources(data: &[u8]) {
    let Ok(document) = spec::parse_json(data, "resources.json") else {
        return;
    };
    let Ok(fitting) = spec::fit_resources(document, "resources.json") else {
        return;
    };
    // What was let pass can be kept, and read again.
    assert_eq!(spec::fit_resources(fitting.clone(), "again").ok(), Some(fitting.clone()));
    if let Ok(resources) = spec::resources(&fitting) {
        of_resources(&resources);
    }
}

/// Every file that is written is one of the cgroup's own, and one value is one line.
fn of_resources(resources: &oci_spec::runtime::LinuxResources) {
    if let Ok(writes) = limits::writes(resources) {
        assert_eq!(Some(&writes), limits::writes(resources).ok().as_ref());
        for write in &writes {
            let files = [Some(&write.file), write.or.as_ref().map(|(file, _)| file)];
            for file in files.into_iter().flatten() {
                let is_name = !file.contains(['/', '\0']) && !matches!(file.as_str(), "" | "." | "..");
                assert!(is_name, "{write:?}");
            }
            assert!(!write.value.contains('\n') || !write.field.starts_with("linux.resources.unified"));
        }
        let properties = cgroup::properties::of_writes(&writes, u32::MAX);
        properties.iter().for_each(|(_, value)| super::host::is_well_formed(value));
        let _ = limits::undoing(&writes, |_| Some("max".into()));
    }
    if let Ok(rules) = cgroup::devices::rules(resources.devices().as_deref().unwrap_or_default()) {
        assert!(rules.len() >= 9, "the default devices can't be taken away");
        assert!(!cgroup::devices::compile(&rules).is_empty());
    }
    let _ = cgroup::needs_nothing(resources);
}
