//! Fields whose failure comes late, or costs the host something: what is said, and that nothing is left behind.

use integration::unharmed;
use serde_json::json;
use spec_tests::{Agent, Bundle};

#[test]
fn a_filter_that_lets_nothing_out_is_told_of() {
    unharmed("SCMP_ACT_NOTIFY", |lab| {
        let path = lab.dir().join("agent.sock");
        let check = |silenced: &[&str], text: &str| {
            let _agent = Agent::listen(&path, &[], 0);
            let profile = json!({ "defaultAction": "SCMP_ACT_ALLOW", "listenerPath": path, "syscalls": [
                { "names": ["mkdir"], "action": "SCMP_ACT_NOTIFY" },
                { "names": silenced, "action": "SCMP_ACT_ERRNO" },
            ]});
            let container = lab
                .bundle()
                .set("/linux/seccomp", profile)
                .phrases(["print ran"])
                .container();
            let ran = container
                .run(&[])
                .fails_saying(&["with SCMP_ACT_NOTIFY, linux.seccomp must allow write and read"]);
            assert!(ran.stderr().contains(text), "{silenced:?}: {}", ran.stderr());
            assert!(!ran.stdout().contains("ran"), "{silenced:?}");
            std::fs::remove_file(&path).unwrap();
        };
        check(&["write"], "hand over its listener (step ");
        check(&["write"], "write: operation not permitted");
        check(&["read"], "read: operation not permitted");
        check(&["write", "sendmsg"], "before its listener was handed over");
    });
}

#[test]
fn a_file_system_that_cannot_be_id_mapped_is_named() {
    unharmed("id-mapped mounts", |lab| {
        let map = json!([{ "containerID": 0, "hostID": 1000, "size": 10 }]);
        let check = |b: Bundle, maps: &serde_json::Value| {
            let mount = json!({ "destination": "/new", "source": "/proc/self", "options": ["bind", "idmap"],
                "uidMappings": maps, "gidMappings": maps });
            let ran = b.set("/mounts/-", mount).container().create(&[]);
            ran.fails_saying(&[
                "mounts[1]: id-map the mount of /proc/self: mount_setattr: invalid argument \
                                (a file system there can't be id-mapped)",
            ]);
        };
        check(lab.bundle(), &map);
        check(lab.bundle().user_namespace(300_000), &map);
        check(lab.bundle().user_namespace(300_000), &json!([]));
    });
}
