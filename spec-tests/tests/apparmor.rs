//! config.md, process.apparmorProfile: each test loads profiles of its own, says what they deny, and looks that they do.
//! They deny what the program could do without them.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use nix::sys::signal::Signal;
use serde_json::json;
use spec_tests::*;

const SECTION: &str = "config.md#linux-process";

/// All that AppArmor knows of, but a change of the profile.
const ALL: &str = "file, capability, network, mount, umount, pivot_root, ptrace, signal, unix, dbus,";
const LABEL: &str = "read /proc/self/attr/current";
/// Two files that anybody may write to, if no profile denies it.
const A: &str = "write /a x";
const B: &str = "write /b x";

/// A profile that is loaded until it is dropped.
struct Profile {
    name: String,
    file: PathBuf,
}

impl Profile {
    /// Allows all but what these rules deny.
    fn deny(lab: &Lab, rules: &str) -> Profile {
        Profile::load(lab, &format!("{ALL} {rules}"))
    }

    /// Allows what these rules do, and nothing else.
    fn load(lab: &Lab, rules: &str) -> Profile {
        needs(machine::apparmor(), "AppArmor");
        let name = lab.fresh("profile");
        let file = lab.dir().join(&name);
        // Of files in a namespace that the runtime has left, and of those that are deleted, too.
        let flags = "attach_disconnected,mediate_deleted";
        fs::write(&file, format!("profile {name} flags=({flags}) {{ {rules} }}\n")).expect("a file");
        let profile = Profile { name, file };
        let parsed = profile.parser("--replace");
        if parsed.as_ref().is_err_and(|e| e.kind() == std::io::ErrorKind::NotFound) {
            skip!("apparmor_parser is missing: apt-get install apparmor");
        }
        let parsed = parsed.expect("apparmor_parser");
        assert!(parsed.status.success(), "{}", String::from_utf8_lossy(&parsed.stderr));
        profile
    }

    fn parser(&self, action: &str) -> std::io::Result<std::process::Output> {
        Command::new("apparmor_parser").args([action, "--skip-cache"]).arg(&self.file).output()
    }

    /// What /proc says of a process under it.
    fn label(&self) -> String {
        format!("{} (enforce)\n", self.name)
    }
}

impl Drop for Profile {
    fn drop(&mut self) {
        let _ = self.parser("--remove"); // after a failure too
    }
}

/// With both files.
fn bundle(lab: &Lab) -> Bundle<'_> {
    needs(machine::apparmor(), "AppArmor");
    lab.bundle().file("/a", "").mode("/a", 0o666).file("/b", "").mode("/b", 0o666)
}

fn under<'a>(b: Bundle<'a>, profile: &Profile) -> Bundle<'a> {
    b.set("/process/apparmorProfile", profile.name.as_str())
}

/// What `exec` with these options sees.
fn exec(c: &Container, options: &[&str]) -> Inside {
    let id = [c.id.as_str(), "/bin/inside", LABEL, A, B];
    let line = ["exec"].iter().chain(options).chain(&id);
    Inside::parse(&c.lab().run(line.copied()).ok().stdout())
}

#[track_caller]
fn sees(seen: &Inside, label: &str, a: &str, b: &str) {
    let all = [&seen[LABEL], &seen[A], &seen[B]];
    assert_eq!(all, [&json!(label), &json!(a), &json!(b)]);
}

const UNCONFINED: &str = "unconfined\n";

#[test]
fn without_a_profile_nothing_is_denied() {
    obeys(SECTION, |lab| sees(&bundle(lab).ask([LABEL, A, B]), UNCONFINED, "ok", "ok"));
}

/// The profile denies to write to /a.
fn bites(lab: &Lab, how: impl Fn(Bundle<'_>) -> Bundle<'_>) {
    let profile = Profile::deny(lab, "deny /a w,");
    let seen = under(how(bundle(lab)), &profile).ask([LABEL, A, B]);
    sees(&seen, &profile.label(), "EACCES", "ok");
}

#[test]
fn what_the_profile_denies_is_denied() {
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
        needs(machine::apparmor(), "AppArmor");
        lab.become_user();
        bites(lab, |b| b);
    });
}

/// The profile denies to execute /bin/true and to read /b.
#[test]
fn what_may_be_executed_and_read_is_the_profiles_too() {
    obeys(SECTION, |lab| {
        let profile = Profile::deny(lab, "deny /bin/true x, deny /b r,");
        let asks = ["spawn /bin/true", "spawn /bin/false", "read /a", "read /b"];
        let seen = under(bundle(lab), &profile).ask(asks);
        let answers = asks.map(|ask| &seen[ask]);
        assert_eq!(answers, [&json!("EACCES"), &json!(1), &json!(""), &json!("EACCES")]);
    });
}

/// The profile denies all but to read and execute the program, and to write to /a: no mount, no capability.
#[test]
fn it_begins_with_the_program() {
    obeys(SECTION, |lab| {
        let profile = Profile::load(lab, "/bin/inside mrix, /a w, /proc/** r, signal,");
        let b = under(bundle(lab), &profile)
            .mount("/dev", "tmpfs", "tmpfs", &[])
            .set("/hostname", "there")
            .set("/root/readonly", false)
            .phrases(["to /a", LABEL, B, "sleep"]);
        let c = b.create();
        let label = || fs::read_to_string(format!("/proc/{}/attr/current", c.pid())).unwrap();
        assert_eq!(label(), UNCONFINED, "until the start");
        c.start().ok();
        assert_eq!(c.wait_for_answer("/a", B)[B], "EACCES");
        assert_eq!(label(), profile.label());
        c.kill(&["KILL"]).ok();
        c.wait_for("stopped");
    });
}

/// The profile denies to write to /b.
#[test]
fn a_hook_in_the_container_is_under_it_too() {
    obeys("config.md#startcontainer-hooks", |lab| {
        let profile = Profile::deny(lab, "deny /b w,");
        let b = under(bundle(lab), &profile).hook("startContainer", ["to /a", LABEL, B]).args(["/bin/true"]);
        let c = b.container();
        c.run(&[]).ok();
        let seen = c.answers("/a");
        assert_eq!((&seen[LABEL], &seen[B]), (&json!(profile.label()), &json!("EACCES")));
    });
}

/// The container's profile denies to write to /a, another one to /b.
#[test]
fn exec_is_under_the_containers_own_profile_or_that_which_is_asked_for() {
    obeys(SECTION, |lab| {
        let (own, other) = (Profile::deny(lab, "deny /a w,"), Profile::deny(lab, "deny /b w,"));
        let c = under(bundle(lab), &own).phrases(["sleep"]).start();
        sees(&exec(&c, &[]), &own.label(), "EACCES", "ok");
        sees(&exec(&c, &["--no-new-privs"]), &own.label(), "EACCES", "ok");
        sees(&exec(&c, &["--apparmor", &other.name]), &other.label(), "ok", "EACCES");
        sees(&exec(&c, &["--apparmor", "unconfined"]), UNCONFINED, "ok", "ok");
        let mut process = c.bundle.config["process"].clone();
        process["args"] = json!(["/bin/inside", LABEL, A, B]);
        process["apparmorProfile"] = json!(other.name);
        let file = lab.dir().join("process.json");
        fs::write(&file, process.to_string()).unwrap();
        let ran = lab.run(["exec", "--process", file.to_str().unwrap(), &c.id]).ok();
        sees(&Inside::parse(&ran.stdout()), &other.label(), "ok", "EACCES");
    });
}

/// It denies to write to /b.
#[test]
fn exec_is_under_a_profile_where_the_container_has_none() {
    obeys(SECTION, |lab| {
        let profile = Profile::deny(lab, "deny /b w,");
        let c = bundle(lab).user_namespace(300_000).phrases(["sleep"]).start();
        sees(&exec(&c, &[]), UNCONFINED, "ok", "ok");
        sees(&exec(&c, &["--apparmor", &profile.name]), &profile.label(), "ok", "EACCES");
    });
}

/// One denies to write to /a, the other to /b.
#[test]
fn two_profiles_bite_together() {
    obeys(SECTION, |lab| {
        let (one, two) = (Profile::deny(lab, "deny /a w,"), Profile::deny(lab, "deny /b w,"));
        let both = format!("{}//&{}", one.name, two.name);
        let seen = bundle(lab).set("/process/apparmorProfile", both.as_str()).ask([LABEL, A, B]);
        sees(&seen, &format!("{both} (enforce)\n"), "EACCES", "EACCES");
    });
}

#[test]
fn a_profile_that_is_not_loaded_is_an_error() {
    obeys(SECTION, |lab| {
        let b = bundle(lab).set("/process/apparmorProfile", "no-such-profile").phrases([A]);
        let c = b.container();
        c.create(&[]).fails_saying(&["no-such-profile"]);
        assert!(!lab.root().join(&c.id).exists(), "what it has made");
        c.run(&[]).fails_saying(&["no-such-profile"]);
        assert_eq!(fs::read_to_string(c.bundle.path("/a")).unwrap(), "", "the program has run");
    });
}

#[test]
fn exec_under_a_profile_that_is_not_loaded_is_an_error() {
    obeys(SECTION, |lab| {
        let c = bundle(lab).phrases(["sleep"]).start();
        let line = ["exec", "--apparmor", "no-such-profile", &c.id, "/bin/inside", A];
        lab.run(line).fails_saying(&["no-such-profile"]);
        assert_eq!(fs::read_to_string(c.bundle.path("/a")).unwrap(), "", "the program has run");
        c.kill(&[Signal::SIGKILL.as_str()]).ok();
        c.wait_for("stopped");
    });
}

/// Runs a bundle, whose program writes to /a, under a profile of the runtime's own.
fn run_by(c: &Container, profile: &Profile) -> Ran {
    c.command("run", &[]).through(&format!("aa-exec -p {} --", profile.name)).run()
}

/// What the runtime itself is under denies to change the profile, to write the file that asks for it, and to open it.
#[test]
fn a_profile_that_cannot_be_taken_on_is_an_error() {
    obeys(SECTION, |lab| {
        let profile = Profile::deny(lab, "deny /a r,");
        for rules in ["", "deny /proc/**/attr/** w, change_profile,", "deny /proc/** w, change_profile,"] {
            let runtime = Profile::deny(lab, rules);
            let c = under(bundle(lab), &profile).phrases([A]).container();
            run_by(&c, &runtime).fails_saying(&["apparmor"]);
            assert_eq!(fs::read_to_string(c.bundle.path("/a")).unwrap(), "", "{rules}: the program has run");
        }
    });
}

/// The runtime's own profile denies to write to /b.
#[test]
fn a_runtime_with_a_profile_takes_another_on() {
    obeys(SECTION, |lab| {
        let runtime = Profile::deny(lab, "change_profile, deny /b w,");
        let profile = Profile::deny(lab, "deny /a w,");
        let c = under(bundle(lab), &profile).phrases([LABEL, A, B]).container();
        sees(&Inside::parse(&run_by(&c, &runtime).ok().stdout()), &profile.label(), "EACCES", "ok");
        let c = bundle(lab).phrases([LABEL, A, B]).container();
        sees(&Inside::parse(&run_by(&c, &runtime).ok().stdout()), &runtime.label(), "ok", "EACCES");
        let b = bundle(lab).set("/process/apparmorProfile", "unconfined");
        let c = b.phrases([LABEL, A, B]).container();
        sees(&Inside::parse(&run_by(&c, &runtime).ok().stdout()), UNCONFINED, "ok", "ok");
    });
}
