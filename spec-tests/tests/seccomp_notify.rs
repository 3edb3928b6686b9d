//! config-linux.md#seccomp: SCMP_ACT_NOTIFY, and the agent that is notified.

use std::path::PathBuf;

use serde_json::{Value, json};
use spec_tests::*;

const SECTION: &str = "config-linux.md#the-container-process-state";

fn socket(lab: &Lab) -> PathBuf {
    lab.dir().join("agent.sock")
}

/// All is allowed but `names`, of which the agent is asked.
fn notifying<'a>(lab: &'a Lab, names: &[&str]) -> Bundle<'a> {
    let profile = json!({
        "defaultAction": "SCMP_ACT_ALLOW",
        "listenerPath": socket(lab),
        "listenerMetadata": "of the test",
        "syscalls": [{ "names": names, "action": "SCMP_ACT_NOTIFY" }],
    });
    lab.bundle().set("/linux/seccomp", profile)
}

const ASK: &str = "mkdir /tmp/new";

#[test]
fn the_agent_answers_in_the_kernels_place() {
    obeys(SECTION, |lab| {
        for no_new_privileges in [false, true] {
            let agent = Agent::listen(socket(lab), MKDIR, libc::EXDEV);
            let b = notifying(lab, &["mkdir", "mkdirat"]).set("/process/noNewPrivileges", no_new_privileges);
            assert_eq!(b.ask([ASK])[ASK], "EXDEV", "noNewPrivileges: {no_new_privileges}");
            assert_eq!(agent.told().1, 1);
            std::fs::remove_file(socket(lab)).unwrap();
        }
    });
}

#[test]
fn it_works_in_a_user_namespace() {
    obeys(SECTION, |lab| {
        let agent = Agent::listen(socket(lab), MKDIR, libc::EXDEV);
        let b = notifying(lab, &["mkdir", "mkdirat"]).user_namespace(300_000);
        assert_eq!(b.set("/process/user/uid", 7).ask([ASK])[ASK], "EXDEV");
        agent.told();
    });
}

#[test]
fn the_agent_is_told_of_the_container() {
    obeys(SECTION, |lab| {
        let agent = Agent::listen(socket(lab), &[], 0);
        let b = notifying(lab, &["mkdir", "mkdirat"]).set("/annotations/com.example.key", "value");
        let container = b.phrases(["sleep"]).start();
        let (pid, bundle) = (container.pid(), container.bundle.dir().to_str().unwrap().to_owned());
        container.kill(&["KILL"]).ok();
        container.wait_for("stopped");
        let (told, _) = agent.told();
        let expected = json!({ "fds": ["seccompFd"], "pid": pid, "metadata": "of the test", "state": {
            "id": container.id, "pid": pid, "bundle": bundle, "annotations": { "com.example.key": "value" },
        }});
        for (pointer, value) in [
            ("/fds", &expected["fds"]),
            ("/pid", &expected["pid"]),
            ("/metadata", &expected["metadata"]),
            ("/state/id", &expected["state"]["id"]),
            ("/state/pid", &expected["state"]["pid"]),
            ("/state/bundle", &expected["state"]["bundle"]),
        ] {
            assert_eq!(told.pointer(pointer), Some(value), "{pointer} in {told}");
        }
        assert!(told["ociVersion"].is_string() && told["state"]["ociVersion"].is_string(), "{told}");
        assert_eq!(told["state"]["annotations"]["com.example.key"], "value");
        let status = told["state"]["status"].as_str();
        assert!(matches!(status, Some("creating" | "created")), "{told}");
    });
}

#[test]
fn what_the_runtime_itself_calls_may_notify() {
    obeys(SECTION, |lab| {
        let agent = Agent::listen(socket(lab), MKDIR, libc::EXDEV);
        let names = [
            "mkdir",
            "mkdirat",
            "read",
            "close",
            "sendmsg",
            "recvmsg",
            "execve",
            "capset",
            "prctl",
            "exit_group",
        ];
        assert_eq!(notifying(lab, &names).ask([ASK])[ASK], "EXDEV");
        assert!(agent.told().1 > 3);
    });
}

#[test]
fn filter_flags_go_with_a_listener() {
    obeys("config-linux.md#seccomp", |lab| {
        check_flags(lab, &["SECCOMP_FILTER_FLAG_LOG"]);
        check_flags(lab, &["SECCOMP_FILTER_FLAG_SPEC_ALLOW"]);
    });
}

#[test]
fn wait_killable_recv_goes_with_a_listener() {
    obeys("config-linux.md#seccomp", |lab| {
        check_flags(lab, &["SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV"]);
    });
}

#[test]
fn tsync_goes_with_a_listener() {
    obeys("config-linux.md#seccomp", |lab| check_flags(lab, &["SECCOMP_FILTER_FLAG_TSYNC"]));
}

fn check_flags(lab: &Lab, flags: &[&str]) {
    let agent = Agent::listen(socket(lab), MKDIR, libc::EXDEV);
    let b = notifying(lab, &["mkdir", "mkdirat"]).set("/linux/seccomp/flags", flags);
    assert_eq!(b.ask([ASK])[ASK], "EXDEV", "{flags:?}");
    agent.told();
    std::fs::remove_file(socket(lab)).unwrap();
}

#[test]
fn the_listener_needs_no_call_but_read_and_write() {
    obeys("config-linux.md#seccomp", |lab| {
        let forbidden = ["sendmsg", "sendto", "recvmsg", "pidfd_getfd", "wait4", "waitid", "fcntl", "clone3"];
        let rule = json!({ "names": forbidden, "action": "SCMP_ACT_ERRNO" });
        let b = || notifying(lab, &["mkdir", "mkdirat"]).set("/process/noNewPrivileges", true);
        let agent = Agent::listen(socket(lab), MKDIR, libc::EXDEV);
        assert_eq!(b().set("/linux/seccomp/syscalls/-", rule).ask([ASK])[ASK], "EXDEV");
        agent.told();
    });
}

#[test]
fn a_filter_without_notifications_needs_no_agent() {
    obeys("config-linux.md#seccomp", |lab| {
        let b =
            notifying(lab, &["mkdir", "mkdirat"]).set("/linux/seccomp/syscalls/0/action", "SCMP_ACT_ERRNO");
        assert_eq!(b.ask([ASK])[ASK], "EPERM");
    });
}

#[test]
fn a_listener_that_cannot_be_is_refused() {
    obeys("config-linux.md#seccomp", |lab| {
        let check = |b: Bundle, text: &[&str]| {
            b.container().create(&[]).fails_saying(text);
        };
        let bundle = |names: &[&str]| notifying(lab, names);
        check(bundle(&["mkdir"]), &["agent.sock"]); // nobody there
        check(
            bundle(&["mkdir"])
                .without("/linux/seccomp/listenerPath")
                .without("/linux/seccomp/listenerMetadata"),
            &["listenerPath"],
        );
        check(bundle(&["sync", "write"]), &["SCMP_ACT_NOTIFY cannot be used for the write syscall"]);
        let default: Value = json!("SCMP_ACT_NOTIFY");
        check(
            bundle(&["mkdir"]).set("/linux/seccomp/defaultAction", default),
            &["SCMP_ACT_NOTIFY cannot be used as default action"],
        );
    });
}

#[test]
fn an_agent_that_went_away_is_an_error() {
    obeys("config-linux.md#seccomp", |lab| {
        let socket = FdSocket::listen(socket(lab));
        let container = notifying(lab, &["mkdir"]).phrases(["print ran"]).container();
        drop(socket); // the file stays
        let ran = container.run(&[]).fails_saying(&["agent.sock"]);
        assert!(!ran.stdout().contains("ran"));
    });
}

#[test]
fn a_process_of_exec_has_a_listener_of_its_own() {
    obeys(SECTION, |lab| {
        let first = Agent::listen(socket(lab), &[], 0);
        let container = notifying(lab, &["mkdir", "mkdirat"]).phrases(["sleep"]).start();
        std::fs::remove_file(socket(lab)).unwrap();
        let second = Agent::listen(socket(lab), MKDIR, libc::EXDEV);
        let ran = lab.run(["exec", &container.id, "/bin/inside", "pid", ASK]).ok();
        assert_eq!(Inside::parse(&ran.stdout())[ASK], "EXDEV");
        let (told, count) = second.told();
        assert_eq!((&told["state"]["status"], count), (&json!("running"), 1));
        assert_eq!(told["state"]["pid"], container.pid());
        assert!(
            told["pid"].as_i64().is_some_and(|pid| pid > 1 && pid != i64::from(container.pid())),
            "{told}"
        );
        container.kill(&["KILL"]).ok();
        first.told();
    });
}
