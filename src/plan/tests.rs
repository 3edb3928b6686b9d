//! Golden plans: what each configuration below testdata comes to, as a user would read it. A change of behaviour
//! shows as a change of these files; `UPDATE=1 cargo test golden` writes them anew.

use std::fs;
use std::path::{Path, PathBuf};

use super::*;
use crate::spec;

fn facts() -> Facts {
    let all_but_boot = !(1 << 22) & ((1 << 41) - 1);
    Facts {
        rights: Rights::Host,
        no_setgroups: false,
        keyrings: true,
        permitted: all_but_boot,
        kcore: true,
        apparmor: true,
        selinux: true,
        landlock_abi: 7,
        links: vec![("/etc/localtime".into(), "/usr/share/zoneinfo/UTC".into())],
    }
}

fn options() -> Options {
    Options {
        id: "golden".into(),
        bundle: "/bundle".into(),
        root: "/bundle/rootfs".into(),
        session_keyring: Some("_ses.golden.0123".into()),
        cgroup: Some("/sys/fs/cgroup/golden".into()),
        ..Options::default()
    }
}

/// As an ordinary user, who has no capability.
fn facts_of_a_user() -> Facts {
    let (uid, gid) = (Uid(1000), Gid(1000));
    Facts { rights: Rights::User { uid, gid }, permitted: 0, ..facts() }
}

fn plan_text(config: &str, facts: &Facts) -> String {
    let spec = spec::parse(config.as_bytes()).expect("a valid configuration");
    // What the filter is like depends on libseccomp, so only that there is one counts here.
    let seccomp = spec.oci.linux().as_ref().and_then(|linux| linux.seccomp().as_ref());
    let listens = spec::seccomp_listener(&spec.oci).is_some();
    let filter = seccomp.map(|_| Filter {
        program: vec![0; 8],
        flags: u32::from(listens) * libc::SECCOMP_FILTER_FLAG_NEW_LISTENER as u32,
    });
    let plan = compile(&spec, &options(), facts, filter).expect("a plan");
    let mut text = plan.to_string();
    for want in &plan.wants {
        text += &format!("   wants {want:?}\n");
    }
    for warning in &plan.warnings {
        text += &format!("   warning: {warning}\n");
    }
    text
}

/// Each configuration by the name of its plan.
fn configurations() -> Vec<(String, PathBuf)> {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let directories = [here.join("src/plan/testdata"), here.join("spec-tests/testdata")];
    let files = directories.iter().flat_map(|directory| fs::read_dir(directory).expect("testdata"));
    let files = files.map(|file| file.expect("testdata").path());
    let json = files.filter(|path| path.extension().is_some_and(|extension| extension == "json"));
    json.map(|path| (path.file_stem().expect("a name").to_string_lossy().into_owned(), path)).collect()
}

#[test]
fn golden_plans() {
    let rootless = spec::default::default_config(Some((Uid(1000), Gid(1000))));
    let mut seen = vec![
        ("default".to_string(), spec::default::default_config(None), facts()),
        ("rootless".to_string(), rootless, facts_of_a_user()),
    ];
    for (name, path) in configurations() {
        seen.push((name, fs::read_to_string(&path).expect("testdata"), facts()));
    }
    assert!(seen.len() > 6);
    for (name, config, facts) in seen {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("src/plan/testdata/{name}.plan"));
        let found = plan_text(&config, &facts);
        if std::env::var_os("UPDATE").is_some() {
            fs::write(&path, &found).expect("write the plan");
        }
        let golden = fs::read_to_string(&path).unwrap_or_default();
        assert_eq!(found, golden, "the plan of {name} has changed: is it meant to? Then UPDATE=1");
    }
}

#[test]
fn equal_inputs_give_equal_plans() {
    let config = include_str!("testdata/everything.json");
    let plan = || {
        compile(&spec::parse(config.as_bytes()).expect("valid"), &options(), &facts(), None).expect("a plan")
    };
    assert_eq!(plan(), plan());
}

/// What a field holds makes no line of its own, which `start` would find in the saved plan, and commands no terminal.
#[test]
fn a_step_is_one_line() {
    let mut config: serde_json::Value =
        serde_json::from_str(include_str!("testdata/bare.json")).expect("JSON");
    let source = "/a\n 1 execute forged\u{1b}[2J";
    config["mounts"] = serde_json::json!([{"destination": "/b", "source": source, "options": ["bind"]}]);
    let spec = spec::parse(config.to_string().as_bytes()).expect("valid");
    let plan = compile(&spec, &options(), &facts(), None).expect("a plan");
    let text = plan.to_string();
    assert!(text.contains("bind /a\\n 1 execute forged\\u001b[2J on /b"), "{text}");
    assert!((1..=plan.steps.len()).all(|n| text.contains(&plan.step_text(n).expect("a step"))), "{text}");
}

#[test]
fn of_landlock_only_what_the_kernel_has() {
    let steps = |rules: &str, abi| {
        let rules = format!(r#"{{"bestEffort": true, {rules}}}"#);
        let annotations = serde_json::json!({ crate::spec::landlock::KEY: rules });
        let mut config: serde_json::Value =
            serde_json::from_str(include_str!("testdata/landlock.json")).expect("JSON");
        config["annotations"] = annotations;
        let facts = Facts { landlock_abi: abi, ..facts() };
        let text = plan_text(&config.to_string(), &facts);
        assert_eq!(text.contains("this kernel's Landlock (ABI"), abi < 6, "{text}");
        let steps = text.lines().filter(|line| !line.contains("warning:"));
        let ours = ["make rules for", "put the rules in force"];
        steps.filter(|line| ours.iter().any(|text| line.contains(text))).count()
    };
    assert_eq!(steps(r#""ports": []"#, 3), 0, "nothing of it is left");
    assert_eq!(steps(r#""scopes": ["signal"]"#, 5), 0, "nothing of it is left");
    assert_eq!(steps(r#""ports": [], "scopes": ["signal"]"#, 5), 2);
    assert_eq!(steps(r#""scopes": ["signal"]"#, 6), 2);
}

#[test]
fn mounts_of_a_running_container() {
    let list = r#"[
        {"destination": "/a", "source": "b", "options": ["rbind", "ro", "rslave"]},
        {"destination": "/t", "type": "tmpfs", "source": "tmpfs", "options": ["ro", "nosuid", "sync", "size=1m"]},
        {"destination": "/i", "source": "/s", "options": ["bind", "idmap"]}]"#;
    let ids = |first| {
        let map = format!(r#"[{{"containerID": 0, "hostID": {first}, "size": 9}}]"#);
        serde_json::from_str(&map).expect("a map")
    };
    let user = spec::running::UserNamespace { uid: ids(1000), gid: ids(2000) };
    let spec = spec::running::parse(list.as_bytes(), "list", Some(&user)).expect("a list");
    let inside = running::Inside { init: crate::sys::Pid(42), user: true };
    let add = running::add(&spec.oci, inside, &options()).expect("a plan");
    let expected = "   new namespaces: none; joined: pid network ipc user\n \
        1 join the cgroup namespace\n \
        2 join the mount namespace\n \
        3 start a new session\n \
        4 become root in the user namespace\n \
        5 use the root where it is\n \
        6 mounts[1]: make a tmpfs sync size=1m source=tmpfs\n \
        7 mounts[0]: bind b on /a (ro), rslave\n \
        8 mounts[1]: bind the new tmpfs on /t (ro,nosuid)\n \
        9 mounts[2]: bind /s on /i, id-mapped\n\
        10 say that all is done\n";
    assert_eq!(add.to_string(), expected);
    let remove = running::remove(&spec.oci, inside).expect("a plan").to_string();
    let steps: Vec<_> = remove.lines().skip(6).map(|line| &line[3..]).collect();
    let expected = [
        "mounts[0]: find the mount on /a",
        "mounts[1]: find the mount on /t",
        "mounts[2]: find the mount on /i",
        "mounts[2]: unmount /i",
        "mounts[1]: unmount /t",
        "mounts[0]: unmount /a",
        "say that all is done",
    ];
    assert_eq!(steps, expected);
}
