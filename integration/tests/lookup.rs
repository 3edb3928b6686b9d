//! The kernel fails to say whether something is there: that is an error, and never means "no". What can't be looked at
//! is neither gone, nor over, nor somebody else's.

use std::process::{Command, Stdio};

use integration::{rrunc, unharmed};
use libseccomp::{ScmpAction, ScmpArgCompare, ScmpCompareOp, ScmpFilterContext, ScmpSyscall};
use nix::errno::Errno;
use spec_tests::Lab;

/// By which rrunc asks: for files, directories, locks, and processes. The first two only where they ask for a name, not
/// for an open file.
const QUESTIONS: [&str; 8] = [
    "statx",
    "newfstatat",
    "openat2",
    "flock",
    "readlinkat",
    "getdents64",
    "pidfd_open",
    "pidfd_send_signal",
];

fn failures(question: &str) -> &'static [Errno] {
    match question {
        "statx" => &[Errno::EIO, Errno::ENOMEM, Errno::EACCES],
        _ => &[Errno::EIO],
    }
}

/// What rrunc says, and whether it succeeded, while it gets no answer to `question`.
fn unanswered(lab: &Lab, question: &str, errno: Errno, args: &[&str]) -> (bool, String) {
    let log = lab.dir().join("said");
    let file = std::fs::File::create(&log).expect("a file");
    let mut command = Command::new(rrunc());
    command.arg("--root").arg(lab.root()).args(args);
    command.stdin(Stdio::null()).stdout(file.try_clone().expect("a copy")).stderr(file);
    let run = || {
        let mut filter = ScmpFilterContext::new(ScmpAction::Allow).expect("a filter");
        let (number, refuse) =
            (ScmpSyscall::from_name(question).expect(question), ScmpAction::Errno(errno as i32));
        let flags = |argument| {
            let mask = ScmpCompareOp::MaskedEqual(libc::AT_EMPTY_PATH as u64);
            [ScmpArgCompare::new(argument, mask, 0)]
        };
        match question {
            "statx" => filter.add_rule_conditional(refuse, number, &flags(2)),
            "newfstatat" => filter.add_rule_conditional(refuse, number, &flags(3)),
            _ => filter.add_rule(refuse, number),
        }
        .expect("a rule");
        filter.load().expect("load the filter");
        command.status().expect("rrunc").success()
    };
    // On a thread of its own, which takes the filter along.
    let succeeded = std::thread::scope(|scope| scope.spawn(run).join().expect("the thread"));
    (succeeded, std::fs::read_to_string(&log).expect("what it said"))
}

fn lives(pid: i32) -> bool {
    std::fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|stat| !stat.contains(") Z "))
}

#[test]
fn a_running_container_is_neither_gone_nor_over() {
    unharmed("lookup", |lab| {
        let mut wrong = Vec::new();
        for question in QUESTIONS {
            for &errno in failures(question) {
                let c = lab.bundle().args(["sleep", "60"]).start();
                let pid = c.pid();
                for args in
                    [&["state", &c.id][..], &["kill", &c.id, "0"], &["pause", &c.id], &["resume", &c.id]]
                {
                    let (_, said) = unanswered(lab, question, errno, args);
                    if ["does not exist", "\"stopped\"", "not running"].iter().any(|lie| said.contains(lie)) {
                        wrong.push(format!("{question} {errno:?}: {args:?}: {said}"));
                    }
                }
                let (succeeded, said) = unanswered(lab, question, errno, &["delete", "--force", &c.id]);
                let (lives, known) = (lives(pid), lab.root().join(&c.id).exists());
                if succeeded && known || lives && !known || said.contains("does not exist") {
                    wrong.push(format!("{question} {errno:?}: delete: {succeeded} {lives} {known}: {said}"));
                }
                c.delete(&["--force"]).ok();
            }
        }
        assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    });
}

#[test]
fn a_new_container_is_not_there_already_and_one_that_waits_still_is() {
    unharmed("lookup", |lab| {
        let mut wrong = Vec::new();
        for question in QUESTIONS {
            for &errno in failures(question) {
                let c = lab.bundle().args(["true"]).container();
                c.bundle.write();
                let bundle = c.bundle.dir().to_string_lossy().into_owned();
                let create = ["create", "--bundle", &bundle, &c.id];
                let (created, said) = unanswered(lab, question, errno, &create);
                if said.contains("already exists") {
                    wrong.push(format!("{question} {errno:?}: create: {said}"));
                }
                // Without these nobody can take it away again.
                let tidies = !["openat2", "getdents64"].contains(&question);
                if !created && tidies && lab.root().join(&c.id).exists() {
                    wrong.push(format!("{question} {errno:?}: create left its directory: {said}"));
                }
                if !created {
                    c.delete(&["--force"]).ok();
                    c.create(&[]).ok();
                }
                let (_, said) = unanswered(lab, question, errno, &["start", &c.id]);
                if ["does not exist", "has stopped", "already running"].iter().any(|lie| said.contains(lie)) {
                    wrong.push(format!("{question} {errno:?}: start: {said}"));
                }
                c.delete(&["--force"]).ok();
            }
        }
        assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    });
}
