//! What the documentation says is so: its examples are what rrunc prints, and what it lists is all there is.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use integration::{rrunc, unharmed};
use serde_json::{Value, json};

fn top() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn read(name: &str) -> String {
    fs::read_to_string(top().join(name)).unwrap_or_else(|e| panic!("{name}: {e}"))
}

#[test]
fn the_readme_is_for_reading() {
    let lines = read("README.md").lines().count();
    assert!(lines <= 250, "README.md has {lines} lines");
}

/// What README.md tells users to write is what the tests of the engines run with.
#[test]
fn the_readme_quotes_the_drop_ins() {
    let readme = read("README.md");
    for name in ["containers.conf", "daemon.json", "containerd.toml"] {
        let text = read(&format!("integration/engines/dropins/{name}"));
        let lines = text.split_inclusive('\n');
        let text: String = lines.skip_while(|line| line.starts_with('#')).collect();
        assert!(readme.contains(&format!("\n{text}```\n")), "README.md has another {name}");
    }
}

/// All Rust files below a directory, without their tests.
fn sources(dir: &str) -> String {
    fn collect(dir: &Path, text: &mut String) {
        for entry in fs::read_dir(dir).expect("a directory").flatten().map(|entry| entry.path()) {
            if entry.is_dir() {
                collect(&entry, text);
            } else if entry.extension().is_some_and(|e| e == "rs") && !entry.ends_with("tests.rs") {
                let file = fs::read_to_string(&entry).expect("UTF-8");
                *text += file.split("#[cfg(test)]").next().unwrap_or_default();
            }
        }
    }
    let mut text = String::new();
    collect(&top().join(dir), &mut text);
    text
}

/// The words in double quotes that follow one of `before`.
fn quoted<'a>(text: &'a str, before: &[&str]) -> BTreeSet<&'a str> {
    let found = before.iter().flat_map(|before| text.split(before).skip(1));
    found.filter_map(|rest| rest.split('"').next()).collect()
}

#[test]
fn every_annotation_and_variable_is_documented() {
    let all = rrunc::spec::annotations::POTENTIALLY_UNSAFE;
    let documented = read("src/README.md");
    let missing: Vec<_> = all.iter().filter(|key| !documented.contains(&format!("`{key}"))).collect();
    assert!(missing.is_empty(), "annotations that src/README.md leaves out: {missing:?}");

    let readers =
        ["env::var(\"", "env::var_os(\"", "number(\"", "bus(\"", "variable(\"", "VARIABLE: &str = \""];
    for dir in ["src", "shim/src"] {
        let text = sources(dir);
        let documented = read(&format!("{}/README.md", dir.trim_end_matches("/src")));
        let names = quoted(&text, &readers);
        let names = names.into_iter().filter(|name| name.chars().all(|c| c.is_ascii_uppercase() || c == '_'));
        let names: Vec<_> = names.collect();
        assert!(names.len() > 2, "only {names:?} were found in {dir}");
        let missing: Vec<_> = names.iter().filter(|n| !documented.contains(&format!("`{n}`"))).collect();
        assert!(missing.is_empty(), "variables that {dir} reads and its README leaves out: {missing:?}");
    }
}

/// The lines of README.md that begin so are what rrunc says of such a bundle.
#[test]
fn the_examples_of_errors_are_what_it_says() {
    unharmed("README.md", |lab| {
        let bundle = lab.dir().join("web");
        let program = bundle.join("rootfs/bin/sh");
        fs::create_dir_all(bundle.join("rootfs/bin")).expect("a directory");
        fs::copy(rrunc(), &program).expect("any program");
        let run = |args: &[&str]| {
            let ran =
                Command::new(rrunc()).arg("--root").arg(lab.root()).args(args).current_dir(&bundle).output();
            String::from_utf8(ran.expect("rrunc").stderr).expect("UTF-8")
        };
        assert_eq!(run(&["spec"]), "");
        let config = bundle.join("config.json");
        let default: Value = serde_json::from_slice(&fs::read(&config).expect("a file")).expect("JSON");
        let with = |change: &dyn Fn(&mut Value)| {
            let mut value = default.clone();
            value["process"]["terminal"] = json!(false);
            change(&mut value);
            value.to_string()
        };
        let bind = json!({"destination": "/x", "type": "bind", "source": "/srv/data", "options": ["bind"]});
        let mut said = Vec::new();
        for text in [
            "{\n  \"process\": }".to_owned(),
            with(&|c| {
                c["mounts"][1]["destination"] = json!(5);
                c["process"]["cwd"] = json!("app");
                c["hostname"] = json!("x");
                let namespaces = c["linux"]["namespaces"].as_array_mut().expect("a list");
                namespaces.retain(|namespace| namespace["type"] != "uts");
            }),
            with(&|c| c["mounts"].as_array_mut().expect("a list").push(bind.clone())),
            with(&|c| c["process"]["args"] = json!(["nope"])),
            with(&|c| c["linux"]["resources"]["memory"] = json!({"limit": 1_000_000})),
        ] {
            fs::write(&config, text).expect("a file");
            said.push(run(&["run", "web1"]));
        }
        said.push(run(&["create", "-bundel", ".", "web1"]));
        let readme = read("README.md");
        let examples: Vec<_> = readme.lines().filter(|line| line.starts_with("rrunc: ")).collect();
        assert_eq!(examples.len(), said.len());
        for (example, said) in examples.iter().zip(&said) {
            // Where that limit can be set it is, and is too low.
            let by_machine = example.contains("bound to v1") && !said.contains("bound to v1");
            assert!(
                by_machine || said.trim_end() == *example,
                "README.md says\n{example}\nand rrunc\n{said}"
            );
        }
    });
}

/// rrunc-security(7) names tests and targets by their files; each is there.
#[test]
fn the_threat_model_names_what_is_tested() {
    let page = read("src/cli/rrunc-security.7");
    let places = ["integration/", "spec-tests/", "shim/", "src/"];
    let named = page.lines().filter_map(|line| line.strip_prefix(".I "));
    let named: Vec<_> = named.filter(|rest| places.iter().any(|place| rest.starts_with(place))).collect();
    assert!(named.len() > 20, "{named:?}");
    for line in named {
        let mut words = line.split_whitespace();
        let file = words.next().unwrap_or_default();
        let text = read(file);
        let functions: Vec<_> = words.collect();
        assert!(!functions.is_empty(), "{file} without a test");
        for name in functions {
            assert!(text.contains(&format!("fn {name}(")), "{file} has no {name}");
        }
    }
    let printed = Command::new(rrunc()).args(["man", "security"]).output().expect("rrunc");
    assert_eq!(String::from_utf8_lossy(&printed.stdout), page);
    for what in
        ["config.json", "Annotations", "--root", "Volumes", "Checkpoints", "Other users", "delete --force"]
    {
        assert!(page.contains(what), "rrunc-security(7) says nothing of {what}");
    }
}
