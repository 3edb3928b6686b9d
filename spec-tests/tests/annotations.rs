//! Annotations by which engines ask a runtime for what the specification has no field for.

use std::fs;

use serde_json::json;
use spec_tests::*;

const SECTION: &str = "config.md#annotations";

fn annotated<'a>(lab: &'a Lab, key: &str, value: &str) -> Bundle<'a> {
    lab.bundle().set(&format!("/annotations/{key}"), value)
}

#[test]
fn the_groups_of_the_caller_can_be_kept() {
    obeys(SECTION, |lab| {
        let groups = |value| {
            let b = annotated(lab, "run.oci.keep_original_groups", value)
                .set("/process/user/additionalGids", [7]);
            let container = b.phrases(["ids"]).container();
            let ran = container.command("run", &[]).through("setpriv --groups 5,6").run().ok();
            Inside::parse(&ran.stdout())["ids"]["groups"].clone()
        };
        assert_eq!(groups("1"), json!([5, 6]));
        assert_eq!(groups("0"), json!([7]));
    });
}

#[test]
fn what_hooks_print_goes_to_files() {
    obeys(SECTION, |lab| {
        let file = |name: &str| lab.dir().join(name).to_str().unwrap().to_owned();
        let (out, err) = (file("hooks.out"), file("hooks.err"));
        fs::write(&out, "before\n").unwrap();
        let b = annotated(lab, "run.oci.hooks.stdout", &out)
            .set("/annotations/run.oci.hooks.stderr", err.as_str());
        let lists =
            ["prestart", "createRuntime", "createContainer", "startContainer", "poststart", "poststop"];
        // They read the state first, which crun wants of a hook.
        let script =
            |list: &str| format!("while read -r _; do :; done; echo out of {list}; echo err of {list} >&2");
        let b = lists.iter().fold(b, |b, list| {
            let hook = json!({ "path": "/bin/sh", "args": ["sh", "-c", script(list)] });
            b.set(&format!("/hooks/{list}/-"), hook)
        });
        b.run().ok();
        for (file, stream, before) in [(out, "out", "before\n"), (err, "err", "")] {
            let expected: String = lists.iter().map(|list| format!("{stream} of {list}\n")).collect();
            assert_eq!(fs::read_to_string(file).unwrap(), format!("{before}{expected}"));
        }
    });
}

#[test]
fn the_pidfd_goes_to_its_receiver() {
    obeys(SECTION, |lab| {
        let socket = FdSocket::listen(lab.dir().join("pidfd.sock"));
        let container = annotated(lab, "run.oci.pidfd_receiver", socket.path()).phrases(["sleep"]).create();
        let (pidfd, _) = socket.receive();
        let info =
            fs::read_to_string(format!("/proc/self/fdinfo/{}", std::os::fd::AsRawFd::as_raw_fd(&pidfd)));
        let pid = format!("Pid:\t{}", container.pid());
        assert!(info.unwrap().lines().any(|line| line == pid));
    });
}

#[test]
fn the_seccomp_agent_can_be_named_by_an_annotation() {
    obeys(SECTION, |lab| {
        let path = lab.dir().join("agent.sock");
        let agent = Agent::listen(&path, &[libc::SYS_sync], libc::EXDEV);
        let b = annotated(lab, "run.oci.seccomp.receiver", path.to_str().unwrap());
        let profile = json!({ "defaultAction": "SCMP_ACT_ALLOW",
            "syscalls": [{ "names": ["sync"], "action": "SCMP_ACT_NOTIFY" }] });
        assert_eq!(b.set("/linux/seccomp", profile).ask(["syscall sync"])["syscall sync"], "EXDEV");
        agent.told();
    });
}

/// What another runtime does for these isn't left out in silence.
#[test]
fn what_cannot_be_done_is_refused() {
    obeys(SECTION, |lab| {
        for key in [
            "run.oci.delegate-cgroup",
            "run.oci.handler",
            "run.oci.seccomp.plugins",
            "run.oci.seccomp_bpf_data",
        ] {
            let container = annotated(lab, key, "some").container();
            container.create(&[]).fails();
        }
    });
}

#[test]
fn an_unknown_system_call_can_be_an_error() {
    obeys(SECTION, |lab| {
        let profile = json!({ "defaultAction": "SCMP_ACT_ALLOW",
            "syscalls": [{ "names": ["no_such_call"], "action": "SCMP_ACT_ERRNO" }] });
        let bundle = |value| {
            annotated(lab, "run.oci.seccomp_fail_unknown_syscall", value)
                .set("/linux/seccomp", profile.clone())
        };
        bundle("0").run().ok();
        bundle("1").container().create(&[]).fails_saying(&["no_such_call"]);
    });
}
