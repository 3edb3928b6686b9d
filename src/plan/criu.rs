//! Plans around criu(8), which saves and restores a container's processes: which of its mounts are the host's, what has
//! to be there before a restore, and criu itself as a program to be executed.
//!
//! criu is told of each mount of the host by a key that is the number of its step in the plan of `create`: never by a
//! name that the container could choose (CVE-2026-115520 and its like).

use std::ffi::CString;
use std::path::PathBuf;

use super::namespaces::{MOUNT, Namespaces, PID};
use super::step::{After, Bind, CopyInside, InRoot, MappedBy, Step, Target};
use super::{Draft, Facts, HostPart, NodeFrom, Options, Plan, Slot, Want, devices, namespaces, root, rootfs};
use crate::error::{Error, Kind, Result};
use crate::spec::Spec;
use crate::sys::exec::CArray;
use crate::sys::mount::MountAttr;

pub use super::rootfs::NOTIFY;

/// The key of what covers masked files: a null device.
pub const NULL: &str = "null";

/// Whether a key may be one of [`externals`], but for [`NULL`].
pub fn is_key(key: &str) -> bool {
    let number = key.strip_prefix("mount-");
    number.is_some_and(|number| number.parse().is_ok_and(|index: u32| index.to_string() == number))
}

/// Where in its directory criu finds the container's root.
pub const ROOT: &str = "root";

/// Where criu is looked for besides PATH, which callers often leave empty.
const DIRECTORIES: [&str; 3] = ["/usr/local/sbin", "/usr/sbin", "/sbin"];

/// What criu is to leave alone: a mount of the host in the container.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct External {
    pub key: String,
    /// As config.json says it, cleaned; the container may have made it a symlink since.
    pub destination: InRoot,
    /// MOUNT_ATTR_* that it must still have.
    pub attributes: u64,
    /// Which entry of config.json it is.
    pub field: String,
}

/// The host's mounts in the container that `plan` makes.
pub fn externals(plan: &Plan) -> Vec<External> {
    let mut found = Vec::new();
    for (index, step) in plan.steps.iter().enumerate() {
        let key = format!("mount-{index}");
        match step {
            Step::Bind(bind) => found.push(External {
                key,
                destination: bind.target.path.clone(),
                attributes: bind.attr.set | bind.after.recursive.set,
                field: bind.field.clone(),
            }),
            Step::BindDevice { path, .. } => found.push(External {
                key,
                destination: path.clone(),
                attributes: 0,
                field: "linux.devices".into(),
            }),
            Step::Mask { paths, .. } => found.extend(paths.iter().map(|path| External {
                key: NULL.into(),
                destination: path.clone(),
                attributes: 0,
                field: "linux.maskedPaths".into(),
            })),
            _ => {}
        }
    }
    found
}

/// criu restores mounts into a new namespace, or none.
pub fn check_namespaces(namespaces: &Namespaces) -> Result<()> {
    if namespaces.has(MOUNT) {
        return Ok(());
    }
    let text = "config.json: linux.namespaces: there is no new mount namespace: its mounts are the host's, and can't be saved \
         or restored";
    Err(Error::new(Kind::Unsupported, text))
}

/// The plan of a process that makes every mount point in the root file system, as `create` does, in a mount namespace
/// that ends with it. criu makes none.
pub fn mount_points(spec: &Spec, options: &Options, facts: &Facts) -> Result<Plan> {
    let oci = &spec.oci;
    let mut draft = Draft::default();
    let mut namespaces = namespaces::compile(oci, facts, &mut draft);
    let mut mounts = rootfs::mounts(oci, &namespaces, options, facts, &mut draft);
    namespaces::enter(&namespaces, &mut draft);
    let stage = root::take(oci, &namespaces, options, facts, &mut mounts, &mut draft);
    namespaces::become_root(oci, &namespaces, options, facts, &mut draft);
    draft.steps(mounts.steps);
    devices::compile(oci, &namespaces, facts, stage, &mut draft);
    draft.step(Step::Done);
    // Nobody in a process namespace that is there is to see us; a new one is as good for a procfs.
    if namespaces.join.iter().any(|(_, kind, _)| *kind == PID) {
        namespaces.join.retain(|(_, kind, _)| *kind != PID);
        namespaces.new |= PID;
    }
    draft.finish(namespaces, HostPart::default(), None)
}

/// The part of the host that a restore shows to criu.
pub struct Scene<'a> {
    /// The plan of `create`, whose mounts are meant.
    pub plan: &'a Plan,
    /// Keys of the mounts that the image has.
    pub keys: &'a [&'a str],
    /// An empty directory of ours, below which all is attached.
    pub directory: PathBuf,
    /// What it then covers, for criu alone: a directory that anybody can reach, for in a user namespace criu is not who
    /// may enter ours.
    pub stage: PathBuf,
    /// The root file system.
    pub root: PathBuf,
    pub oci: &'a oci_spec::runtime::Spec,
    pub facts: &'a Facts,
    /// Of the container: criu's own goes on in the processes that it makes.
    pub session_keyring: &'a str,
}

/// The plan of `criu swrk`, which talks to us by the socket with this number. It gets the fds that `prepare` was given for it.
pub fn service(socket: i32, environment: Vec<CString>, scene: Option<&Scene>) -> Result<Plan> {
    let mut draft = Draft::default();
    let mut namespaces = Namespaces::default();
    if let Some(scene) = scene {
        namespaces.new = MOUNT;
        draft.step(Step::PropagateNothing);
        attach(scene, &mut draft);
        namespaces::session_keyring(scene.oci, Some(scene.session_keyring), scene.facts, &mut draft);
    } else {
        draft.step(Step::Umask(0o077)); // what it writes is memory
    }
    draft.step(Step::Inherit);
    draft.step(Step::Outlive);
    let path = environment.iter().find_map(|variable| {
        let value = variable.to_bytes().strip_prefix(b"PATH=")?;
        Some(String::from_utf8_lossy(value).into_owned())
    });
    let path = path.unwrap_or_default();
    let listed = path.split(':').filter(|directory| directory.starts_with('/'));
    let candidates: Vec<_> = listed.chain(DIRECTORIES).map(|directory| format!("{directory}/criu")).collect();
    let candidates = draft.cstrings("PATH", &candidates);
    let name = "criu".to_string();
    draft.step(Step::FindProgram { candidates, name: name.clone() });
    let args = ["criu".to_string(), "swrk".into(), socket.to_string()];
    let argv = CArray::new(draft.cstrings("criu", &args));
    draft.step(Step::Exec { argv, envp: CArray::new(environment), name });
    draft.finish(namespaces, HostPart::default(), None)
}

/// Each mount by its key in the directory, prepared as for `create`.
fn attach(scene: &Scene, draft: &mut Draft) {
    let path = scene.directory.clone();
    let c_directory = draft.cstring("--root", &path.to_string_lossy());
    let label = scene.plan.steps.iter().find_map(|step| match step {
        Step::Stage { label, .. } => label.clone(),
        _ => None,
    });
    let stage = draft.want(Want::Stage(label.clone()));
    draft.step(Step::Stage { slot: stage, path: c_directory.clone(), by_host: true, label });
    let joined = Some(c_directory.clone());
    let field = "the container's state".to_string();
    let directory = draft.want(Want::Directory { path, field });
    draft.step(Step::UseRoot { slot: directory, joined });

    let field = "root.path".to_string();
    let slot = draft.want(Want::Tree {
        path: scene.root.clone(),
        field: field.clone(),
        nofollow: false,
        recursive: true,
        propagation: libc::MS_SLAVE, // for criu to copy, if the container had it so
    });
    draft.step(Step::Bind(Box::new(Bind {
        field,
        slot,
        inside: None,
        source: scene.root.to_string_lossy().into_owned(),
        target: target(ROOT),
        attr: MountAttr::default(),
        idmap: None,
        after: After::default(),
    })));
    let again = |slot: Slot, draft: &mut Draft| {
        let mut want = scene.plan.wants.get(slot.0).cloned().unwrap_or(Want::Reserved);
        if let Want::Device { from: NodeFrom::Stage { stage: theirs, .. }, .. } = &mut want {
            *theirs = stage;
        }
        draft.want(want)
    };
    for (index, step) in scene.plan.steps.iter().enumerate() {
        let key = format!("mount-{index}");
        if !scene.keys.contains(&key.as_str()) {
            continue;
        }
        match step {
            Step::Bind(bind) => {
                let mut bind = bind.clone();
                bind.slot = again(bind.slot, draft);
                if let Some(idmap) = &mut bind.idmap {
                    idmap.by = match (idmap.by, &scene.plan.namespaces.id_maps) {
                        (MappedBy::Slot(slot), _) => MappedBy::Slot(again(slot, draft)),
                        // The container's user namespace isn't there yet: another with its maps is as good.
                        (MappedBy::Container, Some(maps)) => {
                            MappedBy::Slot(draft.want_user_namespace(maps.clone(), &bind.field))
                        }
                        (MappedBy::Container, None) => MappedBy::Container,
                    };
                }
                bind.target = target(&key);
                draft.step(Step::Bind(bind));
            }
            Step::BindDevice { slot, inside, .. } => {
                let slot = again(*slot, draft);
                let path = target(&key).path;
                let inside = inside.clone();
                draft.step(Step::BindDevice { slot, path, inside });
            }
            _ => {}
        }
    }
    if scene.keys.contains(&NULL) {
        let slot = draft.want(Want::Cover { stage });
        let path = target(NULL).path;
        draft.step(Step::BindDevice { slot, path, inside: None });
    }
    let copy = CopyInside { path: c_directory, nofollow: false, recursive: true, private: false };
    let required = true;
    draft.step(Step::CloneTree { slot: directory, copy, required });
    let path = draft.cstring("--root", &scene.stage.to_string_lossy());
    draft.step(Step::Cover { slot: directory, path });
}

fn target(name: &str) -> Target {
    Target {
        path: InRoot::new(name).unwrap_or_default(), // keys hold no NUL
        plain: true,
        nofollow: false,
        in_proc: false,
        is_proc: false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spec;

    fn compiled(config: &serde_json::Value) -> (Spec, Options, Facts, Plan) {
        let spec = spec::parse(config.to_string().as_bytes()).expect("a valid configuration");
        let options = Options { root: "/b/rootfs".into(), bundle: "/b".into(), ..Options::default() };
        let facts = Facts::default();
        let plan = super::super::compile(&spec, &options, &facts, None).expect("a plan");
        (spec, options, facts, plan)
    }

    fn config() -> serde_json::Value {
        serde_json::json!({
            "ociVersion": "1.3.0",
            "process": {"cwd": "/", "args": ["true"], "user": {"uid": 0, "gid": 0}},
            "root": {"path": "rootfs"},
            "mounts": [
                {"destination": "/proc", "type": "proc", "source": "proc"},
                {"destination": "/data/../d", "type": "bind", "source": "/srv", "options": ["bind", "ro", "nodev"]},
                {"destination": "/tmp", "type": "tmpfs", "source": "tmpfs"},
            ],
            "linux": {
                "namespaces": [{"type": "mount"}, {"type": "pid", "path": "/proc/1/ns/pid"}],
                "maskedPaths": ["/proc/kcore", "/proc/keys"],
            },
        })
    }

    #[test]
    fn the_hosts_mounts_by_their_numbers() {
        let (.., plan) = compiled(&config());
        let found = externals(&plan);
        let shown: Vec<_> = found
            .iter()
            .map(|e| (e.key.as_str(), e.destination.to_string(), e.attributes, e.field.as_str()))
            .collect();
        let number = plan.steps.iter().position(|step| matches!(step, Step::Bind(_))).unwrap();
        assert_eq!(
            shown,
            [
                (format!("mount-{number}").as_str(), "/d".to_string(), 0x5, "mounts[1]"),
                (NULL, "/proc/kcore".to_string(), 0, "linux.maskedPaths"),
                (NULL, "/proc/keys".to_string(), 0, "linux.maskedPaths"),
            ]
        );
    }

    #[test]
    fn mount_points_are_made_and_nothing_is_started() {
        let (spec, options, facts, _) = compiled(&config());
        let plan = mount_points(&spec, &options, &facts).unwrap();
        let text = plan.to_string();
        for made in ["mount proc on /proc", "bind /srv on /d", "mount tmpfs on /tmp", "say that all is done"]
        {
            assert!(text.contains(made), "{text}");
        }
        for absent in ["pivot", "execute", "wait for start", "joined"] {
            assert!(!text.contains(absent), "{text}");
        }
    }

    #[test]
    fn criu_sees_the_mounts_of_the_image_by_their_keys() {
        let (spec, _, facts, plan) = compiled(&config());
        let facts = Facts { keyrings: true, ..facts };
        let key = externals(&plan)[0].key.clone();
        let shown = |keys: &[&str]| {
            let scene = Scene {
                plan: &plan,
                keys,
                directory: "/run/c/criu".into(),
                stage: "/run".into(),
                root: "/b/rootfs".into(),
                oci: &spec.oci,
                facts: &facts,
                session_keyring: "_ses.c.0",
            };
            let environment = vec![c"A=1".into(), c"PATH=/bin:rel".into()];
            service(7, environment, Some(&scene)).unwrap().to_string()
        };
        let text = shown(&[&key, NULL]);
        assert!(text.contains("bind /b/rootfs on /root"), "{text}");
        assert!(text.contains(&format!("bind /srv on /{key} (")), "{text}");
        assert!(text.contains("bind a device node on /null"), "{text}");
        assert!(text.contains("join the new session keyring _ses.c"), "{text}");
        assert!(!shown(&[]).contains("/srv"));
        let plain = service(7, vec![], None).unwrap();
        assert_eq!(plain.namespaces, Namespaces::default());
        assert!(plain.wants.is_empty());
        let Some(Step::FindProgram { candidates, .. }) =
            plain.steps.iter().find(|s| matches!(s, Step::FindProgram { .. }))
        else {
            unreachable!()
        };
        assert_eq!(candidates.len(), DIRECTORIES.len());
    }

    /// What criu attaches for a device or a mask is no node of the host's either.
    #[test]
    fn nodes_are_made_again_for_criu() {
        let mut config = config();
        config["linux"]["namespaces"].as_array_mut().unwrap().push(serde_json::json!({"type": "user"}));
        let map = serde_json::json!([{"containerID": 0, "hostID": 1000, "size": 10}]);
        config["linux"]["uidMappings"] = map.clone();
        config["linux"]["gidMappings"] = map;
        let (spec, _, facts, plan) = compiled(&config);
        let externals = externals(&plan);
        let keys: Vec<&str> = externals.iter().map(|external| external.key.as_str()).collect();
        let (directory, stage, root) = ("/run/c/criu".into(), "/run".into(), "/b/rootfs".into());
        let (plan, keys, oci, facts, session_keyring) = (&plan, &keys[..], &spec.oci, &facts, "_ses.c.0");
        let scene = Scene { plan, keys, directory, stage, root, oci, facts, session_keyring };
        let plan = service(7, vec![], Some(&scene)).unwrap();
        let Some(Step::Stage { slot: stage, by_host: true, .. }) =
            plan.steps.iter().find(|step| matches!(step, Step::Stage { .. }))
        else {
            unreachable!("no stage: {plan}")
        };
        assert_eq!(plan.wants.get(stage.0), Some(&Want::Stage(None)));
        let wanted = plan.steps.iter().filter_map(|step| match step {
            Step::BindDevice { slot, .. } => plan.wants.get(slot.0),
            _ => None,
        });
        let mut covers = 0;
        let mut nodes = 0;
        for want in wanted {
            match want {
                Want::Cover { stage: on } if on == stage => covers += 1,
                Want::Device { from: NodeFrom::Stage { stage: on, owner }, .. } if on == stage => {
                    assert_eq!(*owner, (crate::sys::Uid(1000), crate::sys::Gid(1000)));
                    nodes += 1;
                }
                other => unreachable!("{other:?}"),
            }
        }
        assert_eq!((covers, nodes), (1, 6));
    }
}
