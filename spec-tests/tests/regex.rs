//! `kill --regex` and `delete --regex`, as crun has them.

use spec_tests::*;

const SECTION: &str = "runtime.md#operations";

#[test]
fn all_that_match_are_killed_and_deleted() {
    obeys(SECTION, |lab| {
        let (a, b) = (lab.bundle().phrases(["sleep"]).start(), lab.bundle().phrases(["sleep"]).start());
        let other = lab.bundle().phrases(["sleep"]).start();
        let pattern = format!("^({}|{})$", a.id, b.id);
        lab.run(["kill", "--regex", &pattern, "KILL"]).ok();
        for c in [&a, &b] {
            c.wait_for("stopped");
        }
        assert_eq!(other.status(), "running");
        lab.run(["delete", "-r", &pattern]).ok();
        let left = lab.run(["list", "--quiet"]).ok().stdout();
        assert_eq!(left.trim(), other.id);
        lab.run(["delete", "--force", "--regex", "."]).ok();
        assert_eq!(lab.run(["list", "--quiet"]).ok().stdout(), "");
    });
}

#[test]
fn none_may_match() {
    obeys(SECTION, |lab| {
        let c = lab.bundle().phrases(["sleep"]).start();
        lab.run(["kill", "--regex", "^no-such$", "KILL"]).ok();
        lab.run(["delete", "--force", "--regex", "^no-such$"]).ok();
        assert_eq!(c.status(), "running");
    });
}

#[test]
fn one_that_fails_keeps_none_of_the_others() {
    obeys(SECTION, |lab| {
        let (running, ended) =
            (lab.bundle().phrases(["sleep"]).start(), lab.bundle().phrases(["exit 0"]).start());
        ended.wait_for("stopped");
        lab.run(["delete", "--regex", "."])
            .fails_saying(&[&format!("cannot delete container {}", running.id)]);
        let left = lab.run(["list", "--quiet"]).ok().stdout();
        assert_eq!(left.trim(), running.id);
    });
}

#[test]
fn what_is_no_regular_expression_is_refused() {
    obeys(SECTION, |lab| {
        for command in ["kill", "delete"] {
            lab.run([command, "--regex", "("]).fails_saying(&["regular expression"]);
        }
    });
}
