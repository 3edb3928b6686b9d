//! The kernel refuses one call after the other, as an old kernel, a security module or a container around rrunc
//! would: each refusal is named by call and errno, or does no harm, and nothing is left of the container.

use std::process::{Command, Stdio};

use integration::{rrunc, unharmed};
use libseccomp::{ScmpAction, ScmpFilterContext, ScmpSyscall};
use nix::errno::Errno;
use serde_json::json;
use spec_tests::{Bundle, Lab, eventually};

/// What the container's process and, before it, the runtime calls on the way to a program that runs.
/// Not `accept4`: a process that fails to wait for its start has nobody to tell why.
const CALLS: [&str; 24] = [
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

/// Refusals that rrunc lives with, and why.
const HARMLESS: [(&str, Errno); 2] = [
    ("keyctl", Errno::ENOSYS), // a kernel without keyrings has none to keep apart
    ("keyctl", Errno::EPERM),  // a filter around rrunc is around the container too
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
    std::thread::scope(|scope| {
        let run = || {
            let mut filter = ScmpFilterContext::new(ScmpAction::Allow).expect("a filter");
            for call in calls {
                let number = ScmpSyscall::from_name(call).expect(call);
                filter.add_rule(ScmpAction::Errno(errno as i32), number).expect("a rule");
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
                    true if HARMLESS.contains(&(call, errno)) => {}
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
