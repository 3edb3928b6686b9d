//! Cgroups that the user's systemd makes (--systemd-cgroup) for a user who calls the runtime from a login session. Such a
//! session is a scope of the system's systemd and not below the user's, so no process goes from one to the other by the
//! user's own leave.

use std::fs;

use serde_json::json;
use spec_tests::user::give;
use spec_tests::*;

const CGROUPS: &str = "config-linux.md#control-groups";

fn set_up(lab: &Lab) {
    needs(machine::systemd(), "systemd, and cgroup v2 alone");
    lab.become_login_user();
    lab.let_systemd(true);
}

/// One with a limit of its own, below the user's systemd.
fn started(lab: &Lab) -> Container<'_> {
    let bundle = lab.bundle().args(["sleep", "600"]);
    let container = bundle.set("/linux/resources/pids/limit", 17).start();
    let user = lab.user().expect("the user");
    let place = container.cgroup();
    assert!(place.to_string_lossy().contains(&format!("/user@{user}.service/")), "{place:?}");
    container
}

fn file(c: &Container, name: &str) -> String {
    let text = fs::read_to_string(c.cgroup().join(name)).expect("a file of the cgroup");
    text.trim().into()
}

#[test]
fn a_container_is_born_in_its_scope() {
    obeys(CGROUPS, |lab| {
        set_up(lab);
        let args = ["cat", "/proc/self/cgroup"];
        let seen = lab.bundle().args(args).run().ok().stdout();
        assert_eq!(seen, "0::/\n", "a cgroup namespace begins where its first process is");
    });
}

#[test]
fn a_container_has_its_limits() {
    obeys(CGROUPS, |lab| {
        set_up(lab);
        let c = started(lab);
        assert_eq!(file(&c, "pids.max"), "17");
        assert_eq!(file(&c, "cgroup.procs"), c.pid().to_string(), "nobody else");
        let update = ["update", "--pids-limit", "9", &c.id];
        lab.run(update).ok();
        assert_eq!(file(&c, "pids.max"), "9");
        let place = c.cgroup();
        c.delete(&["--force"]).ok();
        assert!(!place.exists(), "{place:?} is left");
    });
}

#[test]
fn another_program_is_in_the_containers_cgroup() {
    obeys(CGROUPS, |lab| {
        set_up(lab);
        let c = started(lab);
        let exec = ["exec", &c.id, "cat", "/proc/self/cgroup"];
        assert_eq!(lab.run(exec).ok().stdout(), "0::/\n");
    });
}

/// Of the container's own making, and then those that hold no processes themselves.
#[test]
fn another_program_is_in_a_cgroup_below() {
    obeys("config-linux.md#cgroups-path", |lab| {
        set_up(lab);
        let c = started(lab);
        let place = c.cgroup();
        for name in ["first", "other"] {
            fs::create_dir(place.join(name)).expect("a cgroup");
            give(&place.join(name), lab.user().expect("the user"));
        }
        let seen = |options: &[&str]| {
            let words = ["exec"].iter().chain(options).copied();
            let words = words.chain([c.id.as_str(), "cat", "/proc/self/cgroup"]);
            lab.run(words).ok().stdout()
        };
        assert_eq!(seen(&["--cgroup", "other"]), "0::/other\n");
        fs::write(place.join("first/cgroup.procs"), c.pid().to_string()).expect("move");
        fs::write(place.join("cgroup.subtree_control"), "+pids").expect("pass a controller on");
        assert_eq!(seen(&[]), "0::/first\n", "where the first process is");
    });
}

#[test]
fn a_container_without_a_cgroup_namespace() {
    obeys(CGROUPS, |lab| {
        set_up(lab);
        let mut bundle = lab.bundle().args(["cat", "/proc/self/cgroup"]);
        let namespaces = bundle.config["linux"]["namespaces"].as_array_mut().expect("a list");
        namespaces.retain(|namespace| namespace["type"] != json!("cgroup"));
        let seen = bundle.run().ok().stdout();
        assert!(seen.contains("/user@") && seen.contains(".scope"), "{seen}");
    });
}
