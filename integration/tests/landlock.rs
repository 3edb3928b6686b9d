//! The annotation `org.rrunc.landlock`: what no rule allows is forbidden to the program, and to those of `exec`.

use integration::unharmed;
use serde_json::{Value, json};
use spec_tests::{Bundle, Inside, Lab};

fn bundle(lab: &Lab, rules: Value) -> Bundle<'_> {
    let text = rules.to_string();
    lab.bundle()
        .set("/annotations", json!({ "org.rrunc.landlock": text }))
        .directory("/data")
        .file("/etc/secret", "secret")
}

/// Programs and what they read may be executed and read; /data may be changed.
fn rules() -> Value {
    json!({"paths": [
        {"paths": ["/bin", "/proc"], "access": ["read", "execute"]},
        {"paths": ["/data"], "access": ["read", "write"]},
        {"paths": ["/dev/null"], "access": ["read", "write_file"], "optional": true},
        {"paths": ["/no/such"], "access": ["read"], "optional": true},
    ]})
}

const ASKS: [&str; 4] = ["create /data/new", "write /etc/secret x", "read /etc/secret", "ls /bin"];

#[track_caller]
fn restricted(seen: &Inside) {
    assert_eq!(seen[ASKS[0]], "ok");
    assert_eq!(seen[ASKS[1]], "EACCES");
    assert_eq!(seen[ASKS[2]], "EACCES");
    assert!(seen[ASKS[3]].is_array(), "{seen:?}");
}

#[test]
fn only_what_is_allowed_can_be_done() {
    unharmed("org.rrunc.landlock", |lab| {
        let filter = json!({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [
            {"names": ["landlock_restrict_self", "landlock_create_ruleset"], "action": "SCMP_ACT_ERRNO"}]});
        for no_new_privileges in [false, true] {
            let b = bundle(lab, rules()).set("/process/noNewPrivileges", no_new_privileges);
            restricted(&b.ask(ASKS));
            // A filter that forbids Landlock comes after it.
            let b = bundle(lab, rules()).set("/process/noNewPrivileges", no_new_privileges);
            restricted(&b.set("/linux/seccomp", filter.clone()).ask(ASKS));
        }
    });
}

#[test]
fn in_a_user_namespace_and_as_an_ordinary_user() {
    unharmed("org.rrunc.landlock", |lab| {
        restricted(&bundle(lab, rules()).user_namespace(100_000).ask(ASKS));
        let b = bundle(lab, rules()).mode("/data", 0o777);
        restricted(&b.set("/process/user", json!({"uid": 1000, "gid": 1000})).ask(ASKS));
    });
}

#[test]
fn exec_is_restricted_too() {
    unharmed("org.rrunc.landlock", |lab| {
        let c = bundle(lab, rules()).phrases(["sleep"]).start();
        let line = ["exec", c.id.as_str(), "/bin/inside"].into_iter().chain(ASKS);
        restricted(&Inside::parse(&lab.run(line).ok().stdout()));
    });
}

#[test]
fn ports() {
    unharmed("org.rrunc.landlock", |lab| {
        let b = bundle(lab, json!({"ports": [{"ports": [81], "access": ["connect_tcp"]}]}));
        let script = "for port in 80 81; do nc -w 1 127.0.0.1 $port 2>&1; done; nc -l -p 82 2>&1";
        let said = b.args(["sh", "-c", script]).run().stdout().to_lowercase();
        let lines: Vec<_> = said.lines().collect();
        assert_eq!(lines.len(), 3, "{said}");
        assert!(lines[0].contains("permission denied"), "{said}");
        // Allowed; there is no network and nobody there.
        assert!(lines[1].contains("refused") || lines[1].contains("unreachable"), "{said}");
        assert!(lines[2].contains("permission denied"), "{said}");
    });
}

#[test]
fn faults_name_their_place() {
    unharmed("org.rrunc.landlock", |lab| {
        for (rules, place) in [
            (json!({}), "annotations[org.rrunc.landlock]: restricts nothing"),
            (json!({"path": []}), "annotations[org.rrunc.landlock].path: unknown field"),
            (
                json!({"paths": [{"paths": ["/a"], "access": ["all"]}]}),
                "annotations[org.rrunc.landlock].paths[0].access[0]: unknown variant",
            ),
            (json!({"paths": [{"paths": ["/no/such"], "access": ["read"]}]}), "no such file or directory"),
        ] {
            bundle(lab, rules).args(["true"]).run().fails_saying(&[place]);
        }
    });
}
