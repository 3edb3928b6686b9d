//! `pause`, `resume` and `ps`, as runc has them.

use serde_json::{Value, json};
use spec_tests::*;

const SECTION: &str = "runtime.md#operations";

#[test]
fn a_paused_container_stands_still() {
    obeys(SECTION, |lab| {
        let c = lab.bundle().args(["sh", "-c", "while :; do echo x >> /out; done"]).start();
        let length = || std::fs::metadata(c.bundle.path("/out")).map_or(0, |m| m.len());
        eventually("output", || (length() > 0).then_some(()));
        lab.run(["pause", &c.id]).ok();
        assert_eq!(c.status(), "paused");
        let before = length();
        std::thread::sleep(std::time::Duration::from_millis(50));
        assert_eq!(length(), before);
        lab.run(["exec", &c.id, "true"]).fails_saying(&["paused"]);
        lab.run(["resume", &c.id]).ok();
        assert_eq!(c.status(), "running");
        eventually("more output", || (length() > before).then_some(()));
    });
}

#[test]
fn only_what_runs_is_paused_and_what_is_paused_resumed() {
    obeys(SECTION, |lab| {
        let c = lab.bundle().phrases(["sleep"]).start();
        lab.run(["resume", &c.id]).fails_saying(&["not paused", "not frozen"]);
        lab.run(["pause", &c.id]).ok();
        lab.run(["resume", &c.id]).ok();
        c.kill(&["KILL"]).ok();
        c.wait_for("stopped");
        lab.run(["pause", &c.id]).fails_saying(&["not running"]);
        lab.run(["pause", "no-such"]).fails_saying(&["does not exist"]);
    });
}

#[test]
fn a_paused_container_can_be_killed_and_deleted() {
    obeys(SECTION, |lab| {
        let c = lab.bundle().phrases(["sleep"]).start();
        lab.run(["pause", &c.id]).ok();
        c.delete(&[]).fails();
        c.delete(&["--force"]).ok();
        let c = lab.bundle().phrases(["sleep"]).start();
        lab.run(["pause", &c.id]).ok();
        c.kill(&["KILL"]).ok();
        lab.run(["resume", &c.id]);
        c.wait_for("stopped");
    });
}

#[test]
fn exec_ignores_the_pause_if_told() {
    obeys(SECTION, |lab| {
        let c = lab.bundle().phrases(["sleep"]).start();
        lab.run(["pause", &c.id]).ok();
        let running = lab.command(["exec", "--ignore-paused", &c.id, "true"]).spawn();
        lab.run(["resume", &c.id]).ok();
        assert_eq!(running.wait().code(), 0);
    });
}

#[test]
fn ps_lists_the_containers_processes() {
    obeys(SECTION, |lab| {
        let c = lab.bundle().phrases(["sleep"]).start();
        lab.run(["exec", "--detach", &c.id, "/bin/inside", "sleep"]).ok();
        let pids = lab.run(["ps", "--format", "json", &c.id]).ok().json();
        let pids = pids.as_array().expect("a list").clone();
        assert_eq!(pids.len(), 2, "{pids:?}");
        assert!(pids.contains(&json!(c.pid())), "{pids:?}");
        let table = lab.run(["ps", &c.id]).ok().stdout();
        assert!(table.starts_with("UID"), "{table}");
        assert_eq!(table.lines().count(), 3, "{table}");
        let table = lab.run(["ps", &c.id, "-o", "pid,args", "-A"]).ok().stdout();
        assert!(table.contains(&format!("{} /bin/inside sleep", c.pid())), "{table}");
        lab.run(["ps", &c.id, "-o", "args", "-A"]).fails_saying(&["pid"]);
    });
}

#[test]
fn ps_of_what_has_stopped_is_empty() {
    obeys(SECTION, |lab| {
        let c = lab.bundle().phrases(["exit 0"]).start();
        c.wait_for("stopped");
        let pids = lab.run(["ps", "-f", "json", &c.id]).ok().json();
        assert!(pids == Value::Null || pids == json!([]), "{pids}");
        lab.run(["ps", "no-such"]).fails_saying(&["does not exist"]);
    });
}
