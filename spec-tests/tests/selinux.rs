//! config.md, process.selinuxLabel, and config-linux.md, linux.mountLabel, with Debian's policy in force: a program of type
//! container_t may write to files of type container_file_t that have its own categories, and to hardly any others.

use std::fs;
use std::path::Path;
use std::process::Command;

use serde_json::json;
use spec_tests::*;

const SECTION: &str = "config.md#linux-process";

const PROCESS: &str = "system_u:system_r:container_t:s0:c1,c2";
const FILE: &str = "system_u:object_r:container_file_t:s0:c1,c2";
/// Of another container.
const OTHER_PROCESS: &str = "system_u:system_r:container_t:s0:c3,c4";
const OTHER_FILE: &str = "system_u:object_r:container_file_t:s0:c3,c4";
/// Of all containers.
const SHARED_FILE: &str = "system_u:object_r:container_file_t:s0";
/// Of the machine's own.
const VAR_FILE: &str = "system_u:object_r:var_t:s0";

const LABEL: &str = "read /proc/self/attr/current";
/// To the container's own file, to another container's, and to the machine's.
const OWN: &str = "write /own x";
const OTHER: &str = "write /other x";
const VAR: &str = "write /var x";

fn label(path: &Path, label: &str) {
    let done = Command::new("chcon").args(["--recursive", label]).arg(path).status();
    assert!(done.expect("chcon(1)").success(), "{}", path.display());
}

/// Whether SELinux is not only there, but forbids what it doesn't allow.
fn needs_selinux() {
    let enforced = fs::read("/sys/fs/selinux/enforce").is_ok_and(|mode| mode == b"1");
    needs(machine::selinux() && enforced, "SELinux in force");
}

/// A root file system and a few files, with labels, and a program without one.
fn bundle(lab: &Lab) -> Bundle<'_> {
    needs_selinux();
    let files = ["/own", "/other", "/var", "/answers", "/more"];
    let b = files.iter().fold(lab.bundle(), |b, file| b.file(file, "").mode(file, 0o666));
    label(&b.rootfs(), SHARED_FILE);
    for (file, its) in files.iter().zip([FILE, OTHER_FILE, VAR_FILE, FILE, FILE]) {
        label(&b.path(file), its);
    }
    b
}

fn labelled(b: Bundle<'_>) -> Bundle<'_> {
    b.set("/process/selinuxLabel", PROCESS)
}

/// Runs the helper with these phrases. It may not write to what a test's output goes to.
fn ask<'p>(b: Bundle<'_>, phrases: impl IntoIterator<Item = &'p str>) -> Inside {
    let c = b.phrases(["to /answers"].into_iter().chain(phrases)).container();
    c.run(&[]).ok();
    c.answers("/answers")
}

/// What `exec` with these options sees.
fn exec(c: &Container, options: &[&str], file: &str, phrases: &[&str]) -> Inside {
    let to = format!("to {file}");
    let id = [c.id.as_str(), "/bin/inside", &to];
    c.lab().run(["exec"].iter().chain(options).chain(&id).chain(phrases).copied()).ok();
    c.answers(file)
}

#[track_caller]
fn sees(seen: &Inside, label: &str, files: [&str; 3]) {
    assert_eq!(seen[LABEL], format!("{label}\0"));
    assert_eq!([&seen[OWN], &seen[OTHER], &seen[VAR]], files.map(|file| json!(file)).each_ref());
}

#[test]
fn without_a_label_nothing_is_denied() {
    obeys(SECTION, |lab| {
        let seen = ask(bundle(lab), [LABEL, OWN, OTHER, VAR]);
        let own = fs::read_to_string("/proc/self/attr/current").unwrap();
        sees(&seen, own.trim_end_matches('\0'), ["ok"; 3]);
    });
}

fn bites(lab: &Lab, how: impl Fn(Bundle<'_>) -> Bundle<'_>) {
    let seen = ask(how(labelled(bundle(lab))), [LABEL, OWN, OTHER, VAR]);
    sees(&seen, PROCESS, ["ok", "EACCES", "EACCES"]);
}

#[test]
fn what_the_policy_denies_is_denied() {
    obeys(SECTION, |lab| bites(lab, |b| b));
}

#[test]
fn also_without_new_privileges() {
    obeys(SECTION, |lab| bites(lab, |b| b.set("/process/noNewPrivileges", true)));
}

#[test]
fn also_in_a_user_namespace() {
    obeys(SECTION, |lab| bites(lab, |b| b.user_namespace(300_000)));
}

#[test]
fn also_in_a_user_namespace_without_new_privileges() {
    obeys(SECTION, |lab| {
        bites(lab, |b| b.user_namespace(300_000).set("/process/noNewPrivileges", true));
    });
}

#[test]
fn also_to_another_user_behind_a_filter() {
    obeys(SECTION, |lab| {
        bites(lab, |b| {
            b.set("/process/user", json!({ "uid": 1000, "gid": 1000 }))
                .set("/linux/seccomp", json!({ "defaultAction": "SCMP_ACT_ALLOW" }))
        });
    });
}

/// Whose runtime executes a copy of itself in memory.
#[test]
fn also_for_an_ordinary_user() {
    obeys(SECTION, |lab| {
        needs_selinux();
        lab.become_user();
        bites(lab, |b| b);
    });
}

#[test]
fn it_begins_with_the_program() {
    obeys(SECTION, |lab| {
        let c = labelled(bundle(lab)).phrases(["to /answers", LABEL, "sleep"]).create();
        let label = || fs::read_to_string(format!("/proc/{}/attr/current", c.pid())).unwrap();
        assert_eq!(label(), fs::read_to_string("/proc/self/attr/current").unwrap(), "until the start");
        c.start().ok();
        c.wait_for_answer("/answers", LABEL);
        assert_eq!(label(), format!("{PROCESS}\0"));
    });
}

#[test]
fn a_hook_in_the_container_has_it_too() {
    obeys("config.md#startcontainer-hooks", |lab| {
        let b = labelled(bundle(lab)).hook("startContainer", ["to /more", LABEL, OWN, OTHER, VAR]);
        let c = b.args(["/bin/true"]).container();
        c.run(&[]).ok();
        sees(&c.answers("/more"), PROCESS, ["ok", "EACCES", "EACCES"]);
    });
}

#[test]
fn exec_has_the_containers_own_label_or_that_which_is_asked_for() {
    obeys(SECTION, |lab| {
        let c = labelled(bundle(lab)).phrases(["sleep"]).start();
        let phrases = [LABEL, OWN, OTHER, VAR];
        sees(&exec(&c, &[], "/more", &phrases), PROCESS, ["ok", "EACCES", "EACCES"]);
        let other = ["--no-new-privs", "--process-label", OTHER_PROCESS];
        label(&c.bundle.path("/answers"), OTHER_FILE);
        sees(&exec(&c, &other, "/answers", &phrases), OTHER_PROCESS, ["EACCES", "ok", "EACCES"]);
    });
}

#[test]
fn a_label_that_the_policy_does_not_know_is_an_error() {
    obeys(SECTION, |lab| {
        let b = bundle(lab).set("/process/selinuxLabel", "system_u:system_r:no_such_t:s0").phrases([OWN]);
        let c = b.container();
        c.create(&[]).fails_saying(&["no_such_t", "/attr/"]);
        assert!(!lab.root().join(&c.id).exists(), "what it has made");
        c.run(&[]).fails();
        assert_eq!(fs::read_to_string(c.bundle.path("/own")).unwrap(), "", "the program has run");
    });
}

/// The policy has no transition to this type by a file of a container.
#[test]
fn a_label_that_the_program_may_not_have_is_an_error() {
    obeys(SECTION, |lab| {
        let b = bundle(lab).set("/process/selinuxLabel", "system_u:system_r:getty_t:s0").phrases([OWN]);
        let c = b.container();
        c.run(&[]).fails_saying(&["permission denied"]);
        assert_eq!(fs::read_to_string(c.bundle.path("/own")).unwrap(), "", "the program has run");
    });
}

const IN_MOUNTS: [&str; 2] = ["create /dev/file", "create /tmp/file"];
const IN_MQUEUE: [&str; 2] = ["create /dev/mqueue/file", "ls /dev/mqueue"];
const MASKED: [&str; 2] = ["ls /etc", "read /masked"];

/// With new file systems, and a directory and a file that are masked.
fn mounts(b: Bundle<'_>) -> Bundle<'_> {
    let mounts = [("/dev", "tmpfs"), ("/dev/mqueue", "mqueue"), ("/dev/pts", "devpts"), ("/tmp", "tmpfs")];
    let b = mounts.iter().fold(b, |b, (at, kind)| b.mount(at, kind, kind, &[]));
    labelled(b).file("/masked", "masked").set("/linux/maskedPaths", json!(["/etc", "/masked"]))
}

#[test]
fn mounts_without_a_label_are_not_the_containers() {
    obeys("config-linux.md#mount-label", |lab| {
        let seen = ask(mounts(bundle(lab)), IN_MOUNTS.into_iter().chain(IN_MQUEUE));
        let answers = [&seen[IN_MOUNTS[0]], &seen[IN_MOUNTS[1]], &seen[IN_MQUEUE[0]]];
        assert_eq!(answers, ["EACCES"; 3]);
    });
}

#[test]
fn new_file_systems_have_the_mount_label() {
    obeys("config-linux.md#mount-label", |lab| {
        let b = mounts(bundle(lab)).set("/linux/mountLabel", FILE);
        let seen = ask(b, IN_MOUNTS.into_iter().chain(IN_MQUEUE).chain(MASKED));
        assert_eq!(IN_MOUNTS.map(|phrase| &seen[phrase]), ["ok", "ok"]);
        assert_eq!(IN_MQUEUE.map(|phrase| &seen[phrase]), [&json!("ok"), &json!(["file"])]);
        assert_eq!(MASKED.map(|phrase| &seen[phrase]), [&json!([]), &json!("")]);
    });
}

#[test]
fn they_have_it_in_a_user_namespace_too() {
    obeys("config-linux.md#mount-label", |lab| {
        let b = mounts(bundle(lab)).set("/linux/mountLabel", FILE).user_namespace(300_000);
        let seen = ask(b, IN_MOUNTS.into_iter().chain([MASKED[0]]));
        assert_eq!(IN_MOUNTS.map(|phrase| &seen[phrase]), ["ok", "ok"]);
        assert_eq!(seen[MASKED[0]], json!([]));
    });
}

/// Where the container's process can't make nodes.
#[test]
fn devices_in_a_user_namespace_have_it_too() {
    obeys("config-linux.md#mount-label", |lab| {
        let b = labelled(bundle(lab)).set("/linux/mountLabel", FILE).mount("/dev", "tmpfs", "tmpfs", &[]);
        let seen = ask(b.user_namespace(300_000), ["open /dev/null rw", "open /dev/zero r"]);
        assert_eq!([&seen["open /dev/null rw"], &seen["open /dev/zero r"]], ["ok", "ok"]);
    });
}

/// Their options, with those that are given: a label has a comma.
#[test]
fn other_options_of_the_mount_stay() {
    obeys("config-linux.md#mount-label", |lab| {
        let b = labelled(bundle(lab)).set("/linux/mountLabel", FILE);
        let b = b.mount("/tmp", "tmpfs", "tmpfs", &["size=64k", "mode=1700", "nosuid"]);
        let seen = ask(b, ["mounts", "create /tmp/file", "stat /tmp"]);
        let mount = seen.mount("/tmp").unwrap();
        assert!(mount.has("nosuid") && mount.has("size=64k"), "{mount:?}");
        assert_eq!(seen["create /tmp/file"], "ok");
        assert_eq!(seen["stat /tmp"]["mode"], "1700");
    });
}

/// KEYCTL_GET_SECURITY of the session keyring, by who has it: how long its label is, with a NUL.
const KEYRING: &str = "syscall keyctl 17 -3 0 0";

#[test]
fn the_session_keyring_has_the_label() {
    obeys(SECTION, |lab| {
        let length = |seen: &Inside| seen[KEYRING].as_u64().expect("a length") as usize - 1;
        let c = labelled(bundle(lab)).phrases(["to /answers", KEYRING, "sleep"]).start();
        assert_eq!(length(&c.wait_for_answer("/answers", KEYRING)), PROCESS.len());
        exec(&c, &["--process-label", OTHER_PROCESS], "/other", &["pid"]);
        assert_eq!(length(&exec(&c, &[], "/more", &[KEYRING])), PROCESS.len(), "it stays");
        let own = fs::read_to_string("/proc/self/attr/current").unwrap();
        let own = own.trim_end_matches('\0').len();
        assert_ne!(own, PROCESS.len(), "then this test can't tell them apart");
        assert_eq!(length(&ask(bundle(lab), [KEYRING])), own);
    });
}
