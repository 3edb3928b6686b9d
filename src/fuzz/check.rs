//! What holds for every plan, whatever configuration it was made of.

use oci_spec::runtime::{Hook, Spec};

use crate::plan::step::{HookState, InRoot, MappedBy};
use crate::plan::{Facts, IdMaps, Options, Plan, Rights, Slot, Step};
use crate::spec::landlock;
use crate::sys::{Gid, Uid};

/// Who may be asked for a plan: the host's root, the root of a user namespace, an ordinary user.
pub fn hosts() -> [(Options, Facts); 3] {
    let options = Options {
        id: "fuzz".into(),
        bundle: "/bundle".into(),
        root: "/bundle/rootfs".into(),
        cgroup: Some("/sys/fs/cgroup/fuzz".into()),
        notify: Some("/run/notify".into()),
        session_keyring: Some("_ses.fuzz.0123".into()),
        ..Options::default()
    };
    let all = (1 << 41) - 1;
    let facts = Facts {
        permitted: all,
        kcore: true,
        apparmor: true,
        selinux: true,
        landlock_abi: 7,
        ..Facts::default()
    };
    let user = Rights::User { uid: Uid(1000), gid: Gid(1000) };
    [
        (options.clone(), facts.clone()),
        (
            Options { no_pivot: true, cgroup: None, notify: None, ..options.clone() },
            Facts { rights: Rights::Namespace, no_setgroups: true, ..facts.clone() },
        ),
        (Options { session_keyring: None, ..options }, Facts { rights: user, permitted: 0, ..facts }),
    ]
}

/// Every path that is walked in the container stays in it, and every fd that a step asks for is wished for.
pub fn is_sound(plan: &Plan) {
    let text = plan.to_string();
    let told = crate::ops::start::steps_of(&text);
    assert_eq!(told.len(), plan.steps.len(), "{text}");
    for (index, step) in plan.steps.iter().enumerate() {
        paths(step).into_iter().for_each(stays_inside);
        names(step).into_iter().for_each(|name| is_a_name(name, step));
        for Slot(slot) in slots(step) {
            assert!(slot < plan.wants.len(), "{step} has fd {slot} of {}", plan.wants.len());
        }
        assert_eq!(plan.step_text(index + 1).as_ref(), told.get(&(index + 1)), "{text}");
    }
}

fn stays_inside(path: &InRoot) {
    let mut above = Vec::new();
    for (prefix, name) in path.walk() {
        let name = name.to_bytes();
        assert!(!matches!(name, b"" | b"." | b"..") && !name.contains(&b'/'), "{path}");
        above.push(name);
        assert_eq!(prefix.to_bytes(), above.join(&b'/'), "{path}");
    }
}

fn is_a_name(name: &[u8], step: &Step) {
    assert!(!matches!(name, b"" | b"." | b"..") && !name.contains(&b'/'), "{step}");
}

fn paths(step: &Step) -> Vec<&InRoot> {
    match step {
        Step::Mount(new) => vec![&new.target.path],
        Step::Bind(bind) => vec![&bind.target.path],
        Step::Mask { paths, .. } => paths.iter().collect(),
        Step::Device { directory: path, .. }
        | Step::Symlink { directory: path, .. }
        | Step::FindMount { path, .. }
        | Step::Unmount { path, .. }
        | Step::BindDevice { path, .. }
        | Step::ReadOnlyPath(path)
        | Step::ReadOnlyMount { path, .. }
        | Step::ChangeMount { path, .. }
        | Step::MakeDirectory(path) => vec![path],
        _ => vec![],
    }
}

/// Of one file in a directory that was walked to before, or the parts of a path below the host's procfs.
fn names(step: &Step) -> Vec<&[u8]> {
    fn parts(path: &std::ffi::CString) -> impl Iterator<Item = &[u8]> {
        path.to_bytes().split(|byte| *byte == b'/')
    }
    match step {
        Step::Device { name, .. } | Step::Symlink { name, .. } => vec![name.to_bytes()],
        Step::Sysctl { path, .. } | Step::Label { file: path, .. } => parts(path).collect(),
        _ => vec![],
    }
}

fn slots(step: &Step) -> Vec<Slot> {
    match step {
        Step::JoinNamespace { slot, .. }
        | Step::JoinProcess { pidfd: slot, .. }
        | Step::CloneTree { slot, .. }
        | Step::AttachRoot { slot, .. }
        | Step::Cover { slot, .. }
        | Step::UseRoot { slot, .. }
        | Step::BindDevice { slot, .. }
        | Step::Console { socket: slot, .. }
        | Step::ReadOnlyMount { mount: slot, .. }
        | Step::AwaitStart { socket: slot } => vec![*slot],
        Step::MakeFs(new) => vec![new.slot],
        Step::Mask { cover, .. } => cover.iter().copied().collect(),
        Step::Bind(bind) => {
            let mapped = bind.idmap.and_then(|idmap| match idmap.by {
                MappedBy::Slot(slot) => Some(slot),
                MappedBy::Container => None,
            });
            [Some(bind.slot), mapped].into_iter().flatten().collect()
        }
        Step::Hook { state, outputs, .. } => {
            let state = match state {
                HookState::Prepared(slot) => Some(*slot),
                HookState::FromStart => None,
            };
            state.into_iter().chain(outputs.iter().flatten().copied()).collect()
        }
        _ => vec![],
    }
}

/// Whatever was accepted of these parts of config.json has come to a step, or to something that the host does: nothing
/// is dropped without a word.
pub fn is_complete(oci: &Spec, options: &Options, plan: &Plan) {
    let count = |is: &dyn Fn(&Step) -> bool| plan.steps.iter().filter(|step| is(step)).count();
    let expect = |what: &str, found: usize, asked: usize| {
        assert_eq!(found, asked, "{what}: {found} steps for {asked} entries:\n{plan}");
    };
    let linux = oci.linux().as_ref();
    for index in 0..oci.mounts().iter().flatten().count() {
        let field = format!("mounts[{index}]");
        let found = count(&|step| match step {
            Step::Mount(new) => new.field == field,
            Step::Bind(bind) => bind.field == field,
            Step::ChangeMount { field: changed, .. } => *changed == field,
            _ => false,
        });
        expect(&field, found, 1);
    }
    let listed = |list: Option<&Option<Vec<String>>>| list.and_then(Option::as_ref).map_or(0, Vec::len);
    let masked =
        plan.steps.iter().map(|step| if let Step::Mask { paths, .. } = step { paths.len() } else { 0 });
    expect("maskedPaths", masked.sum(), listed(linux.map(|linux| linux.masked_paths())));
    let read_only = count(&|step| matches!(step, Step::ReadOnlyPath(_)));
    expect("readonlyPaths", read_only, listed(linux.map(|linux| linux.readonly_paths())));
    let is_read_only = oci.root().as_ref().and_then(|root| root.readonly()).unwrap_or(false);
    expect("root.readonly", count(&|step| matches!(step, Step::ReadOnlyRoot)), is_read_only.into());
    let sysctls = linux.and_then(|linux| linux.sysctl().as_ref()).map_or(0, |sysctls| sysctls.len());
    expect("sysctl", count(&|step| matches!(step, Step::Sysctl { .. })), sysctls);
    let net_devices = linux.and_then(|linux| linux.net_devices().as_ref()).map_or(0, |devices| devices.len());
    expect("netDevices", plan.host.net_devices.len(), net_devices);

    let hooks = |list: &str| count(&|step| matches!(step, Step::Hook { list: of, .. } if *of == list));
    let asked = |list: Option<&Option<Vec<Hook>>>| list.and_then(Option::as_ref).map_or(0, Vec::len);
    let given = oci.hooks().as_ref();
    expect("createContainer", hooks("createContainer"), asked(given.map(|hooks| hooks.create_container())));
    let Some(process) = oci.process() else { return };
    expect("startContainer", hooks("startContainer"), asked(given.map(|hooks| hooks.start_container())));

    let rlimits = process.rlimits().iter().flatten().count();
    expect("rlimits", count(&|step| matches!(step, Step::SetLimit { .. })), rlimits);
    let no_new_privileges = process.no_new_privileges().unwrap_or(false);
    let found = count(&|step| matches!(step, Step::NoNewPrivileges));
    expect("noNewPrivileges", found, no_new_privileges.into());
    let terminal = process.terminal().unwrap_or(false);
    expect("terminal", count(&|step| matches!(step, Step::Console { .. })), terminal.into());
    assert_eq!(plan.host.oom_score_adj, process.oom_score_adj());
    let labels = [process.selinux_label(), process.apparmor_profile()];
    let labels = labels.into_iter().flatten().filter(|label| !matches!(label.as_str(), "" | "unconfined"));
    let found = count(&|step| matches!(step, Step::Label { .. }));
    assert!(found >= labels.count(), "a label was dropped:\n{plan}");
    let rules = oci.annotations().as_ref().is_some_and(|all| all.contains_key(landlock::KEY));
    assert!(
        !rules
            || count(&|step| matches!(step, Step::LandlockRestrict)) == 1
            || plan.warnings.iter().any(|w| w.contains("Landlock")),
        "{plan}"
    );
    let last = plan.steps.last();
    assert!(matches!(last, Some(Step::Exec { .. })), "{plan}");
    for (one, name) in [
        (count(&|step| matches!(step, Step::SetIds { .. })), "ids"),
        (count(&|step| matches!(step, Step::SetCapabilities { .. })), "capabilities"),
        (count(&|step| matches!(step, Step::KeepBoundingSet(_))), "bounding set"),
        (count(&|step| matches!(step, Step::Umask(_))), "umask"),
        (count(&|step| matches!(step, Step::EnterRoot(_))), "root"),
        (count(&|step| matches!(step, Step::SessionKeyring { .. })), "keyring"),
    ] {
        expect(name, one, usize::from(name != "keyring" || options.session_keyring.is_some()));
    }
}

/// The lines of an id map are numbers, three a line.
pub fn are_maps(maps: Option<&IdMaps>) {
    for map in maps.into_iter().flat_map(|maps| [&maps.uid, &maps.gid]) {
        for line in map.lines() {
            let numbers = line.split(' ').map(str::parse::<u32>);
            assert_eq!(numbers.filter(Result::is_ok).count(), 3, "{map:?}");
        }
    }
}
