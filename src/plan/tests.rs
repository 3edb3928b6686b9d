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
        permitted: all_but_boot,
        kcore: true,
        apparmor: true,
        selinux: true,
    }
}

fn options() -> Options {
    Options {
        id: "golden".into(),
        bundle: "/bundle".into(),
        root: "/bundle/rootfs".into(),
        cgroup: Some("/sys/fs/cgroup/golden".into()),
        ..Options::default()
    }
}

fn plan_text(config: &str) -> String {
    let spec = spec::parse(config.as_bytes()).expect("a valid configuration");
    // What the filter is like depends on libseccomp, so only that there is one counts here.
    let seccomp = spec
        .oci
        .linux()
        .as_ref()
        .and_then(|linux| linux.seccomp().as_ref());
    let filter = seccomp.map(|_| Filter {
        program: vec![0; 8],
        flags: 0,
    });
    let plan = compile(&spec, &options(), &facts(), filter).expect("a plan");
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
    let files = directories
        .iter()
        .flat_map(|directory| fs::read_dir(directory).expect("testdata"));
    let files = files.map(|file| file.expect("testdata").path());
    let json = files.filter(|path| path.extension().is_some_and(|extension| extension == "json"));
    json.map(|path| {
        (
            path.file_stem().expect("a name").to_string_lossy().into_owned(),
            path,
        )
    })
    .collect()
}

#[test]
fn golden_plans() {
    let mut seen = vec![("default".to_string(), spec::default::default_config(None))];
    for (name, path) in configurations() {
        seen.push((name, fs::read_to_string(&path).expect("testdata")));
    }
    assert!(seen.len() > 6);
    for (name, config) in seen {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("src/plan/testdata/{name}.plan"));
        let found = plan_text(&config);
        if std::env::var_os("UPDATE").is_some() {
            fs::write(&path, &found).expect("write the plan");
        }
        let golden = fs::read_to_string(&path).unwrap_or_default();
        assert_eq!(
            found, golden,
            "the plan of {name} has changed: is it meant to? Then UPDATE=1"
        );
    }
}

#[test]
fn equal_inputs_give_equal_plans() {
    let config = include_str!("testdata/everything.json");
    let plan = || {
        compile(
            &spec::parse(config.as_bytes()).expect("valid"),
            &options(),
            &facts(),
            None,
        )
        .expect("a plan")
    };
    assert_eq!(plan(), plan());
}
