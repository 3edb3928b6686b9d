//! The kernel refuses one call after the other, as an old kernel, a security module or a container around rrunc
//! would: each refusal is named by call and errno, or does no harm, and nothing is left of the container.

use std::process::{Command, Stdio};

use integration::{rrunc, unharmed};
use libseccomp::{ScmpAction, ScmpArgCompare, ScmpCompareOp, ScmpFilterContext, ScmpSyscall};
use nix::errno::Errno;
use serde_json::json;
use spec_tests::{Bundle, Container, Lab, eventually};

/// What the container's process and, before it, the runtime calls on the way to a program that runs.
const CALLS: [&str; 25] = [
    "accept4",
    "bind",
    "capset",
    "close_range",
    "fchdir",
    "flock",
    "fsconfig",
    "fsmount",
    "fsopen",
    "keyctl",
    "mkdirat",
    "mknodat",
    "mount",
    "mount_setattr",
    "move_mount",
    "open_tree",
    "pivot_root",
    "seccomp",
    "setdomainname",
    "setgroups",
    "sethostname",
    "setresgid",
    "setresuid",
    "setsid",
    "symlinkat",
];

/// Refusals that rrunc lives with, and what it says then.
const HARMLESS: [(&str, Errno, &str); 1] = [
    // There are no keyrings to be kept apart: by the kernel, or by a filter around rrunc, which is the container's too.
    ("keyctl", Errno::ENOSYS, "no session keyring of the container's own"),
];

/// Uses as many different steps as fit into one container.
fn rich(lab: &Lab) -> Bundle<'_> {
    lab.bundle()
        .mount("/mnt", "tmpfs", "tmpfs", &["ro"])
        .mount("/tmp", "", "/tmp", &["bind", "ro"])
        .mount("/dev/pts", "devpts", "devpts", &["newinstance"])
        .set("/hostname", "fault")
        .set("/domainname", "fault")
        .set("/root/readonly", true)
        .set("/linux/maskedPaths", json!(["/proc/keys", "/etc"]))
        .set("/linux/readonlyPaths", json!(["/proc/sys"]))
        .set("/linux/seccomp", json!({ "defaultAction": "SCMP_ACT_ALLOW" }))
        .set("/process/user", json!({ "uid": 1000, "gid": 1000, "additionalGids": [10] }))
}

/// What `work` gives on a thread that is refused these calls, with all that it starts.
fn refused<T: Send>(calls: &[&str], errno: Errno, work: impl FnOnce() -> T + Send) -> T {
    refused_if(calls, &[], errno, work)
}

/// The same of calls whose arguments compare so.
fn refused_if<T: Send>(
    calls: &[&str],
    arguments: &[ScmpArgCompare],
    errno: Errno,
    work: impl FnOnce() -> T + Send,
) -> T {
    std::thread::scope(|scope| {
        let run = || {
            let mut filter = ScmpFilterContext::new(ScmpAction::Allow).expect("a filter");
            for call in calls {
                let number = ScmpSyscall::from_name(call).expect(call);
                let action = ScmpAction::Errno(errno as i32);
                filter.add_rule_conditional(action, number, arguments).expect("a rule");
            }
            filter.load().expect("load the filter");
            work()
        };
        scope.spawn(run).join().expect("the thread")
    })
}

#[test]
fn every_refused_call_is_named_and_leaves_nothing() {
    unharmed("faults", |lab| {
        let mut wrong = Vec::new();
        for errno in [Errno::EPERM, Errno::ENOSYS] {
            for call in CALLS {
                let c = rich(lab).container();
                c.bundle.write();
                let mut command = Command::new(rrunc());
                command
                    .arg("--root")
                    .arg(lab.root())
                    .args(["run", "--bundle"])
                    .arg(c.bundle.dir())
                    .arg(&c.id);
                let log = lab.dir().join("stderr");
                let file = std::fs::File::create(&log).expect("a file");
                command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(file);
                let succeeded = refused(&[call], errno, || command.status().expect("rrunc").success());
                let said = std::fs::read_to_string(&log).expect("what it said");
                let left = lab.root().join(&c.id).exists();
                match succeeded {
                    true if HARMLESS
                        .iter()
                        .any(|(c, e, text)| (*c, *e) == (call, errno) && said.contains(text)) => {}
                    true => wrong.push(format!("{call} {errno:?}: succeeded")),
                    false if left => wrong.push(format!("{call} {errno:?}: left its state: {said}")),
                    false if said.contains(&format!("{call}: ")) => {}
                    false => wrong.push(format!("{call} {errno:?}: not named: {said}")),
                }
                c.delete(&["--force"]);
            }
        }
        assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    });
}

/// Who may not clone mounts runs from a copy in memory; who may not have that either runs nothing in a container, and
/// whatever else needs none of it works on.
#[test]
fn a_seal_that_is_refused_has_a_substitute_or_nothing_runs() {
    unharmed("CVE-2019-5736", |lab| {
        // Not a command that needs the seal, but one that is taken for it, and that waits at its log.
        let fifo = lab.dir().join("fifo");
        nix::unistd::mkfifo(&fifo, nix::sys::stat::Mode::S_IRWXU).expect("a FIFO");
        let root = lab.root();
        let command = || {
            let mut command = Command::new(rrunc());
            command.arg("--root").arg(&root).stderr(Stdio::piped());
            command
        };
        let log = format!("--log={}", fifo.display());
        let start = || command().args([&log, "state", "run"]).spawn().expect("rrunc");
        let mut child = refused(&["open_tree"], Errno::EPERM, start);
        let exe = format!("/proc/{}/exe", child.id());
        eventually("a copy in memory", || {
            let exe = std::fs::read_link(&exe).ok()?;
            exe.to_string_lossy().starts_with("/memfd:rrunc").then_some(())
        });
        child.kill().and_then(|()| child.wait()).expect("its end");

        let running = lab.bundle().args(["sleep", "60"]).start();
        let other = lab.bundle().container();
        other.bundle.write();
        let bundle = other.bundle.dir().to_string_lossy().into_owned();
        let unsealed = |args: &[&str]| {
            let run = || command().args(args).stdout(Stdio::null()).output().expect("rrunc");
            let ran = refused(&["open_tree", "memfd_create"], Errno::EPERM, run);
            (ran.status.code().expect("an end"), String::from_utf8_lossy(&ran.stderr).into_owned())
        };
        let list = lab.dir().join("list");
        std::fs::write(&list, r#"[{ "destination": "/mnt", "type": "tmpfs", "source": "x" }]"#)
            .expect("a file");
        let list = list.to_string_lossy().into_owned();
        for (code, args) in [
            (1, ["run", "--bundle", &bundle, &other.id]),
            (1, ["create", "--bundle", &bundle, &other.id]),
            (1, ["mounts", "add", &running.id, &list]),
            (255, ["exec", &running.id, "touch", "/touched"]),
        ] {
            let (exited, said) = unsealed(&args);
            assert_eq!(exited, code, "{args:?}: {said}");
            for text in ["open_tree: ", "memfd_create: ", "in a user namespace: ", "overwrite rrunc", args[0]]
            {
                assert!(said.contains(text), "{args:?}: {said}");
            }
            assert!(!root.join(&other.id).exists(), "{args:?} leaves its state");
        }
        assert!(!running.bundle.path("/touched").exists());
        let (exited, said) = unsealed(&["state", "run"]);
        assert!(exited == 1 && said.contains("does not exist") && !said.contains("overwrite"), "{said}");
        assert_eq!(unsealed(&["state", &running.id]), (0, String::new()));
    });
}

/// rrunc with these arguments, refused these calls: whether it succeeded, and what it said.
fn run_refused(c: &Container, calls: &[&str], arguments: &[ScmpArgCompare]) -> (bool, String) {
    c.bundle.write();
    let mut command = Command::new(rrunc());
    command.arg("--root").arg(c.lab().root()).args(["run", "--bundle"]).arg(c.bundle.dir()).arg(&c.id);
    // Files: who makes a process with pipes needs calls of which it might be refused one itself.
    let log = c.lab().dir().join("refused");
    let stdin = std::fs::File::open(c.bundle.dir().join("config.json")).expect("a file");
    command.stdin(stdin).stdout(Stdio::null()).stderr(std::fs::File::create(&log).expect("a file"));
    let succeeded =
        refused_if(calls, arguments, Errno::ENOMEM, || command.status().expect("rrunc").success());
    (succeeded, std::fs::read_to_string(&log).expect("what it said"))
}

/// The container's process waits on, but the one that wanted to start it knows, and doesn't wait for ever.
#[test]
fn a_start_that_cannot_be_taken_fails() {
    unharmed("faults", |lab| {
        let c = lab.bundle().args(["sleep", "600"]).container();
        // The lowest number is free only in the container's process: it is that of the connection of its start.
        let connection = ScmpArgCompare::new(0, ScmpCompareOp::Equal, 3);
        let (succeeded, said) = run_refused(&c, &["recvmsg"], &[connection]);
        assert!(!succeeded && said.contains("take the start: recvmsg: "), "{said}");
        assert!(!lab.root().join(&c.id).exists(), "its state is left");
    });
}

/// What comes before the execution of a hook isn't the execution.
#[test]
fn a_hook_that_gets_no_streams_says_so() {
    unharmed("faults", |lab| {
        for list in ["prestart", "createRuntime", "createContainer", "startContainer"] {
            let c = lab.bundle().hook(list, ["create /tmp/reached"]).container();
            // Of the hook's streams alone: the program keeps its own as it is, which is no null device.
            let stdin = ScmpArgCompare::new(1, ScmpCompareOp::Equal, 0);
            let (succeeded, said) = run_refused(&c, &["dup3"], &[stdin]);
            let expected = format!("hooks.{list}[0]");
            assert!(!succeeded && said.contains(&expected) && said.contains("dup3: "), "{list}: {said}");
        }
        let c = lab.bundle().hook("createRuntime", ["pid"]).container();
        let (succeeded, said) = run_refused(&c, &["pipe2"], &[]);
        assert!(!succeeded && said.contains("hook") && said.contains("pipe2: "), "{said}");
    });
}

/// Without a session keyring of its own the container would have its caller's: so it isn't made, and nothing enters it.
#[test]
fn a_session_keyring_that_cannot_be_had_is_an_error() {
    unharmed("the session keyring", |lab| {
        let running = lab.bundle().args(["sleep", "60"]).start();
        let c = lab.bundle().args(["true"]).container();
        c.bundle.write();
        let root = lab.root();
        let call = |errno, args: &[&str]| {
            let run = || Command::new(rrunc()).arg("--root").arg(&root).args(args).output().expect("rrunc");
            let ran = refused(&["keyctl"], errno, run);
            (ran.status.code(), String::from_utf8_lossy(&ran.stderr).into_owned())
        };
        let bundle = c.bundle.dir().to_string_lossy().into_owned();
        let run = ["run", "--bundle", &bundle, &c.id];
        let exec = ["exec", &running.id, "true"];
        for errno in [Errno::EDQUOT, Errno::EPERM, Errno::EACCES, Errno::ENOMEM] {
            for (args, code) in [(&run[..], 1), (&exec, 255)] {
                let (exited, said) = call(errno, args);
                assert_eq!(exited, Some(code), "{errno:?} {args:?}: {said}");
                assert!(said.contains("keyctl: ") && said.contains("--no-new-keyring"), "{errno:?}: {said}");
            }
            let (exited, said) = call(errno, &["run", "--no-new-keyring", "--bundle", &bundle, &c.id]);
            assert_eq!((exited, said.as_str()), (Some(0), ""), "{errno:?}");
        }
        for args in [&run[..], &exec] {
            let (exited, said) = call(Errno::ENOSYS, args);
            assert!(exited == Some(0) && said.contains("no session keyring"), "{args:?}: {said}");
        }
    });
}
