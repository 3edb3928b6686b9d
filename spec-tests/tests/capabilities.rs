//! config.md#linux-process: the five sets of capabilities.

use std::collections::BTreeSet;

use serde_json::json;
use spec_tests::*;

const SETS: [(&str, &str); 5] = [
    ("bounding", "CapBnd"),
    ("effective", "CapEff"),
    ("inheritable", "CapInh"),
    ("permitted", "CapPrm"),
    ("ambient", "CapAmb"),
];

#[track_caller]
fn assert_caps(seen: &Inside, expected: &[(&str, &[&str])]) {
    for (set, names) in expected {
        assert_eq!(seen.caps(set), names.iter().copied().collect::<BTreeSet<_>>(), "{set}");
    }
}

#[test]
fn without_capabilities_there_are_none() {
    obeys("config.md#linux-process", |lab| {
        let seen = lab.bundle().ask(["caps"]);
        assert_caps(&seen, &SETS.map(|(_, set)| (set, &[][..])));
        let empty = json!({ "bounding": [], "effective": [], "permitted": [] });
        let seen = lab.bundle().set("/process/capabilities", empty).ask(["caps"]);
        assert_caps(&seen, &SETS.map(|(_, set)| (set, &[][..])));
    });
}

#[test]
fn each_set_is_its_own() {
    obeys("config.md#linux-process", |lab| {
        let caps = json!({
            "bounding": ["CAP_KILL", "CAP_CHOWN", "CAP_NET_RAW", "CAP_SYSLOG"],
            "permitted": ["CAP_KILL", "CAP_CHOWN", "CAP_NET_RAW"],
            "inheritable": ["CAP_KILL", "CAP_NET_RAW"],
            "effective": ["CAP_KILL", "CAP_CHOWN", "CAP_NET_RAW"],
            "ambient": ["CAP_KILL"],
        });
        // As a user: execve(2) of root would fill the sets up again.
        let b = lab.bundle().set("/process/capabilities", caps).set("/process/user/uid", 1000);
        let seen = b.ask(["caps"]);
        assert_caps(
            &seen,
            &[
                ("CapBnd", &["CAP_KILL", "CAP_CHOWN", "CAP_NET_RAW", "CAP_SYSLOG"]),
                ("CapInh", &["CAP_KILL", "CAP_NET_RAW"]),
                ("CapAmb", &["CAP_KILL"]),
                ("CapPrm", &["CAP_KILL"]),
                ("CapEff", &["CAP_KILL"]),
            ],
        );
    });
}

#[test]
fn root_has_what_is_in_the_bounding_set() {
    obeys("config.md#linux-process", |lab| {
        let names = ["CAP_CHOWN", "CAP_MKNOD"];
        let caps = json!({ "bounding": names, "permitted": names, "effective": names });
        let seen = lab.bundle().set("/process/capabilities", caps).ask(["caps"]);
        assert_caps(
            &seen,
            &[("CapBnd", &names), ("CapPrm", &names), ("CapEff", &names), ("CapInh", &[]), ("CapAmb", &[])],
        );
    });
}

#[test]
fn a_user_without_ambient_capabilities_has_none_after_exec() {
    obeys("config.md#linux-process", |lab| {
        let names = ["CAP_CHOWN", "CAP_MKNOD"];
        let caps = json!({ "bounding": names, "permitted": names, "effective": names, "inheritable": names });
        let b = lab.bundle().set("/process/capabilities", caps).set("/process/user/uid", 1000);
        assert_caps(&b.ask(["caps"]), &[("CapEff", &[]), ("CapPrm", &[]), ("CapInh", &names)]);
    });
}

#[test]
fn every_capability_that_the_kernel_has_is_known() {
    obeys("config.md#linux-process", |lab| {
        let have: Vec<&str> =
            (0..41).filter(|n| machine::capability(*n)).map(|n| ALL_CAPS[n as usize]).collect();
        let seen = lab.bundle().caps(&have).set("/process/user/uid", 1000).ask(["caps"]);
        assert_caps(&seen, &SETS.map(|(_, set)| (set, &have[..])));
    });
}

#[test]
fn an_unknown_capability_is_passed_over_with_a_warning() {
    obeys("config.md#linux-process", |lab| {
        let ran = lab.bundle().caps(&["CAP_KILL", "CAP_NO_SUCH"]).phrases(["caps"]).run().ok();
        assert!(ran.stderr().contains("CAP_NO_SUCH"), "no warning on stderr");
        assert_caps(&Inside::parse(&ran.stdout()), &[("CapBnd", &["CAP_KILL"])]);
    });
}

#[test]
fn an_ambient_capability_that_is_not_inheritable_gives_nothing() {
    obeys("config.md#linux-process", |lab| {
        let names = ["CAP_CHOWN"];
        let caps = json!({ "bounding": names, "permitted": names, "effective": names, "ambient": names });
        let b =
            lab.bundle().set("/process/capabilities", caps).set("/process/user/uid", 1000).phrases(["caps"]);
        let ran = b.run();
        if ran.code() == 0 {
            assert_caps(&Inside::parse(&ran.stdout()), &[("CapAmb", &[]), ("CapEff", &[])]);
        } else {
            ran.fails_saying(&["ambient"]);
        }
    });
}
