//! The commands that only look (`check`, `plan`, `info`, `features`): they tell what `create` then does, and do
//! nothing themselves.

use std::fs;

use integration::{rrunc, unharmed};
use serde_json::{Value, json};
use spec_tests::user::SUBORDINATE;
use spec_tests::{Bundle, Lab, default_runtime, obeys};

/// A bundle whose id, made of its directory's name, is the same for all commands.
fn id(bundle: &Bundle) -> String {
    bundle.dir().file_name().expect("a name").to_string_lossy().into_owned()
}

fn check(lab: &Lab, bundle: &Bundle) -> (Value, i32) {
    bundle.write();
    let ran = lab.run(["check", "--format", "json", &bundle.dir().to_string_lossy()]);
    let status = ran.code();
    (ran.json(), status)
}

#[test]
fn plan_prints_what_create_does() {
    unharmed("plan", |lab| {
        let bundle = lab
            .bundle()
            .phrases(["sleep"])
            .set("/process/noNewPrivileges", true)
            .set("/linux/seccomp", json!({"defaultAction": "SCMP_ACT_ALLOW"}));
        bundle.write();
        let dir = bundle.dir().to_string_lossy().into_owned();
        let planned = lab.run(["plan", &dir]).ok().stdout();
        let id = id(&bundle);
        lab.run(["create", "--bundle", &dir, &id]).ok();
        let done = fs::read_to_string(lab.root().join(&id).join("plan")).unwrap();
        lab.run(["delete", "--force", &id]).ok();
        assert!(done.lines().count() > 30, "{done}");
        assert!(planned.starts_with(&done), "planned\n{planned}\ndone\n{done}");
        let rest = &planned[done.len()..];
        assert!(rest.contains("host: cgroup "), "{rest}");
    });
}

#[test]
fn check_agrees_with_create() {
    unharmed("check", |lab| {
        let bind = json!({"destination": "/x", "type": "bind", "source": "/nowhere", "options": ["bind"]});
        for (path, value, field) in [
            ("/hostname", json!("fine"), None),
            ("/process/cwd", json!("relative"), Some("process.cwd")),
            ("/process/args", json!(["no-such-program"]), Some("process.args[0]")),
            ("/root/path", json!("nowhere"), Some("root.path")),
            ("/mounts/0", bind, Some("mounts[0].source")),
            (
                "/linux/seccomp",
                json!({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{"names": ["read"], "action": "SCMP_ACT_ERRNO",
                    "errnoRet": 5000}]}),
                Some("linux.seccomp.syscalls[0].errnoRet"),
            ),
        ] {
            let bundle = lab.bundle().args(["true"]).set(path, value);
            let (report, status) = check(lab, &bundle);
            let faults: Vec<_> = report["faults"].as_array().expect("a list").iter().collect();
            let ran = lab.run(["run", "--bundle", &bundle.dir().to_string_lossy(), &id(&bundle)]);
            match field {
                None => {
                    assert_eq!((faults.len(), status), (0, 0), "{report}");
                    ran.ok();
                }
                Some(field) => {
                    assert_eq!((faults.len(), status), (1, 1), "{report}");
                    assert_eq!(faults[0]["path"], field);
                    ran.fails();
                }
            }
        }
    });
}

#[test]
fn check_without_a_config_says_how_to_make_one() {
    unharmed("check", |lab| {
        let ran = lab.run(["check", "/proc"]).fails();
        assert!(ran.stderr().contains("rrunc spec"), "{}", ran.stderr());
    });
}

#[test]
fn info_names_the_kernel_and_every_controller() {
    unharmed("info", |lab| {
        let all = lab.run(["info", "--format", "json"]).ok().json();
        let all = all.as_array().expect("a list");
        let find = |name: &str| all.iter().find(|finding| finding["name"] == name);
        let release = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap();
        let linux = find("Linux").expect("the kernel");
        assert!(linux["detail"].as_str().unwrap().starts_with(release.trim()), "{linux}");
        let there = fs::read_to_string(lab.cgroups().join("cgroup.controllers")).unwrap();
        for name in ["cpu", "cpuset", "hugetlb", "io", "memory", "pids", "rdma"] {
            let finding = find(&format!("{name} controller")).expect(name);
            let expected = if there.split_whitespace().any(|c| c == name) { "yes" } else { "no" };
            assert_eq!(finding["state"], expected, "{finding}");
        }
    });
}

/// As bash calls what it has read for a word that the user wants completed.
#[test]
fn completion_completes_in_bash() {
    unharmed("completion", |lab| {
        let script = lab.dir().join("rrunc.bash");
        fs::write(&script, lab.run(["completion", "bash"]).ok().stdout()).unwrap();
        let complete = |words: &[&str]| {
            let call = "source \"$0\"; COMP_WORDS=(\"$@\"); COMP_CWORD=$(($# - 1)); \
                _rrunc rrunc \"${@: -1}\" \"${@: -2:1}\"; printf '%s\\n' \"${COMPREPLY[@]}\"";
            let output = std::process::Command::new("bash")
                .args(["-c", call])
                .arg(&script)
                .args(words)
                .output()
                .expect("bash");
            let text = String::from_utf8_lossy(&output.stdout).into_owned();
            text.lines().map(str::to_owned).collect::<Vec<_>>()
        };
        assert_eq!(complete(&["rrunc", "feat"]), ["features"]);
        assert_eq!(complete(&["rrunc", "create", "--pidf"]), ["--pidfd-socket"]);
        assert_eq!(complete(&["rrunc", "exec", "--app"]), ["--apparmor"]);
    });
}

#[test]
fn info_tells_a_user_what_is_delegated() {
    default_runtime(&rrunc());
    obeys("info", |lab| {
        let there = fs::read_to_string(lab.cgroups().join("cgroup.controllers")).unwrap();
        lab.become_user();
        let all = lab.run(["info", "--format", "json"]).ok().json();
        for name in there.split_whitespace() {
            let title = format!("{name} controller");
            let mut findings = all.as_array().expect("a list").iter();
            // The user of a lab has no cgroup.
            if let Some(finding) = findings.find(|finding| finding["name"] == title.as_str()) {
                assert_eq!(finding["state"], "no", "{finding}");
                assert!(finding["cure"].as_str().unwrap().contains("Delegate="), "{finding}");
            }
        }
    });
}

#[test]
fn check_tells_a_user_that_newuidmap_is_missing() {
    default_runtime(&rrunc());
    obeys("check", |lab| {
        lab.become_user();
        let ids = |host: u32| json!([{ "containerID": 0, "hostID": host, "size": 10 }]);
        let bundle = lab
            .bundle()
            .set("/linux/uidMappings", ids(SUBORDINATE))
            .set("/linux/gidMappings", ids(SUBORDINATE));
        let faults = |bundle: &Bundle| check(lab, bundle).0["faults"].to_string();
        assert!(!faults(&bundle).contains("newuidmap"));
        // Of this test's mount namespace alone.
        let covered =
            std::process::Command::new("mount").args(["--bind", "/dev/null", "/usr/bin/newuidmap"]).status();
        assert!(covered.expect("mount").success());
        let said = faults(&bundle);
        assert!(
            said.contains("\"path\":\"linux.uidMappings\"")
                && said.contains("takes newuidmap, which isn't in PATH"),
            "{said}"
        );
    });
}

#[test]
fn features_prints_nothing_but_its_document() {
    unharmed("features", |lab| {
        let ran = lab.run(["features"]).ok();
        assert_eq!(ran.stderr(), "");
        let features = ran.json();
        assert_eq!(features["ociVersionMax"], "1.3.0");
        assert!(features["mountOptions"].as_array().unwrap().contains(&json!("rro")));
    });
}
