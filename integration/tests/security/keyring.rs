//! The session keyring: what the container keeps in it is its own, and what its caller has stays outside.

use std::fs::File;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use integration::{unharmed, unharmed_as_user};
use serde_json::{Value, json};
use spec_tests::{Bundle, Inside, Lab, eventually};

/// Which keyring it is (KEYCTL_GET_KEYRING_ID), a new key in it, and a search for that key (KEYCTL_SEARCH).
const WHICH: &str = "syscall keyctl 0 -3 0";
const ADD: &str = "syscall add_key user ours secret 6 -3";
const FIND: &str = "syscall keyctl 10 -3 user ours 0";
const FIND_PLANTED: &str = "syscall keyctl 10 -3 user planted 0";

/// Somebody else on the machine, who stays; ended if dropped.
struct Other(Child);

impl Other {
    /// The helper, as another user, once it has answered all of these phrases.
    fn new(lab: &Lab, phrases: &[&str]) -> Other {
        let helper = lab.dir().join("helper");
        std::fs::copy(spec_tests::helper(), &helper).expect("copy the helper");
        let said = lab.dir().join("said");
        let mut command = Command::new("setpriv");
        command
            .args(["--reuid=65534", "--regid=65534", "--clear-groups"])
            .arg(helper)
            .args(phrases)
            .arg("sleep");
        command.stdin(Stdio::null()).stdout(File::create(&said).expect("a file"));
        let other = Other(command.spawn().expect("setpriv"));
        let last = phrases.last().expect("a phrase");
        let answers = eventually("the other user's keyring", || answered(&said, last));
        assert!(answers[phrases[0]].is_i64(), "{answers:?}");
        other
    }
}

impl Drop for Other {
    fn drop(&mut self) {
        let _ = self.0.kill(); // it may have ended
        let _ = self.0.wait();
    }
}

fn answered(file: &Path, phrase: &str) -> Option<Inside> {
    let answers = Inside::parse(&std::fs::read_to_string(file).ok()?);
    answers.has(phrase).then_some(answers)
}

/// Another user has made a keyring by the name that others would take, and lets everybody find it.
/// runc 1.1.5 joins `_ses.ID`, crun 1.8.1 `ID`, and their containers store their keys there.
#[test]
fn a_keyring_that_waits_for_the_container_is_not_joined() {
    unharmed("the session keyring", |lab| {
        let c = lab.bundle().phrases([WHICH, FIND_PLANTED]).container();
        for name in [format!("_ses.{}", c.id), c.id.clone(), "_ses".into()] {
            let join = format!("syscall keyctl 1 {name}");
            let (open, plant) = ("syscall keyctl 5 -3 0x3f3f3f3f", "syscall add_key user planted bait 4 -3");
            let _other = Other::new(lab, &[&join, open, plant]);
            let seen = Inside::parse(&c.run(&[]).ok().stdout());
            assert!(seen[WHICH].is_i64(), "{seen:?}");
            assert_eq!(seen[FIND_PLANTED], "ENOKEY", "{name}: {seen:?}");
        }
    });
}

fn shared_with_exec<'a>(lab: &'a Lab, bundle: Bundle<'a>) {
    let c = bundle.phrases(["to /answer", WHICH, ADD, "sleep"]).mode("/", 0o777).start();
    let own = c.wait_for_answer("/answer", ADD);
    assert!(own[ADD].is_i64(), "{own:?}");
    for user in ["0", "1"] {
        let ran = lab.run(["exec", "--user", user, &c.id, "/bin/inside", WHICH, FIND]).ok();
        let seen = Inside::parse(&ran.stdout());
        assert_eq!((&seen[WHICH], &seen[FIND]), (&own[WHICH], &own[ADD]), "as {user}: {seen:?}");
    }
}

/// A process of `exec` finds what the container has stored. With crun 1.8.1 and runc 1.1.5 it has another keyring.
#[test]
fn a_process_of_exec_has_the_containers_keyring() {
    unharmed("the session keyring", |lab| {
        shared_with_exec(lab, lab.bundle());
        shared_with_exec(lab, lab.bundle().user_namespace(100_000));
        shared_with_exec(lab, lab.bundle().set("/process/user", json!({ "uid": 7, "gid": 7 })));
    });
}

#[test]
fn so_it_is_without_root() {
    unharmed_as_user("the session keyring", |lab| {
        let c = lab.bundle().phrases(["to /answer", WHICH, ADD, "sleep"]).start();
        let own = c.wait_for_answer("/answer", ADD);
        let seen = Inside::parse(&lab.run(["exec", &c.id, "/bin/inside", WHICH, FIND]).ok().stdout());
        assert_eq!((&seen[WHICH], &seen[FIND]), (&own[WHICH], &own[ADD]), "{seen:?}");
    });
}

/// Two containers of root without user namespaces are the same user to the kernel.
/// With crun 1.8.1 and runc 1.1.5 the one may link the other's keyring to its own.
#[test]
fn containers_of_one_user_do_not_get_at_each_others_keyrings() {
    unharmed("the session keyring", |lab| {
        let c = lab.bundle().phrases(["to /answer", WHICH, ADD, "sleep"]).start();
        let own = c.wait_for_answer("/answer", ADD);
        let (ring, key) = (&own[WHICH], &own[ADD]);
        let attempts: Vec<String> = [ring, key]
            .iter()
            .flat_map(|id| {
                let describe = format!("syscall keyctl 6 {id} 0 0");
                let link = format!("syscall keyctl 8 {id} -3");
                let read = format!("syscall keyctl 11 {id} 0 0");
                let open = format!("syscall keyctl 5 {id} 0x3f3f3f3f");
                [link, read, describe, open]
            })
            .collect();
        let mut phrases = vec!["read /proc/keys", FIND];
        phrases.extend(attempts.iter().map(String::as_str));
        let seen = lab.bundle().phrases(phrases).run().ok();
        let seen = Inside::parse(&seen.stdout());
        assert_eq!(seen[FIND], "ENOKEY");
        // A user's own keys may be described by the user: of what the container stores the kernel shows the names.
        for attempt in attempts.iter().take(3).chain(attempts.iter().skip(4).take(2)) {
            assert_eq!(seen[attempt.as_str()], "EACCES", "{attempt}: {seen:?}");
        }
        let keys = seen["read /proc/keys"].as_str().expect("/proc/keys");
        assert!(!keys.contains(&c.id), "{keys}");
    });
}

/// What its caller has in a keyring.
#[test]
fn the_callers_keys_stay_outside() {
    unharmed("the session keyring", |lab| {
        let helper = spec_tests::helper().to_string_lossy().into_owned();
        let found = |option: &[&str]| -> Value {
            let c = lab.bundle().phrases([FIND]).container();
            // A caller with a keyring of its own and a key in it.
            let mut command = c.command("run", option);
            command = command.through(&format!("{helper} 'syscall keyctl 1 caller' '{ADD}' exec"));
            Inside::parse(&command.run().ok().stdout())[FIND].clone()
        };
        assert_eq!(found(&[]), "ENOKEY");
        assert!(found(&["--no-new-keyring"]).is_i64());
    });
}
