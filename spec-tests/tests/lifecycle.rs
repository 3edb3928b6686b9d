//! runtime.md: the life of a container, from create to delete, and what each command refuses.

use std::fs;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::json;
use spec_tests::*;

/// What runtimes say when an id isn't one of theirs.
const UNKNOWN: [&str; 2] = ["does not exist", "no such file"];

#[test]
fn create_makes_a_container_that_waits() {
    obeys("runtime.md#create", |lab| {
        let c = lab.bundle().phrases(["to /tmp/out", "pid", "sleep"]).create();
        assert_eq!(c.status(), "created");
        assert!(!c.bundle.path("/tmp/out").exists(), "the program must not run before start");
        c.start().ok();
        assert_eq!(c.wait_for_answer("/tmp/out", "pid")["pid"], 1);
        assert_eq!(c.status(), "running");
    });
}

#[test]
fn state_tells_what_the_specification_asks_for() {
    obeys("runtime.md#state", |lab| {
        let c = lab
            .bundle()
            .phrases(["sleep"])
            .set("/annotations", json!({ "org.example.key": "value" }))
            .create();
        let state = c.state();
        assert!(state["ociVersion"].as_str().is_some_and(|v| v.starts_with("1.")), "{state}");
        assert_eq!(state["id"], c.id);
        assert_eq!(state["status"], "created");
        assert_eq!(state["bundle"], json!(c.bundle.dir()));
        assert_eq!(state["annotations"]["org.example.key"], "value");
        let pid = state["pid"].as_i64().expect("a pid");
        assert!(fs::exists(format!("/proc/{pid}")).unwrap(), "pid {pid} is of the runtime's pid namespace");
    });
}

#[test]
fn a_container_whose_program_ended_is_stopped_until_deleted() {
    obeys("runtime.md#lifecycle", |lab| {
        let c = lab.bundle().args(["true"]).start();
        c.wait_for("stopped");
        assert_eq!(c.state()["pid"].as_i64().unwrap_or(0), 0, "a stopped container has no process");
        c.delete(&[]).ok();
        lab.run(["state", &c.id]).fails_saying(&UNKNOWN);
    });
}

#[test]
fn state_of_an_unknown_id_is_an_error() {
    obeys("runtime.md#query-state", |lab| {
        lab.run(["state", "nobody"]).fails_saying(&UNKNOWN);
    });
}

#[test]
fn every_command_needs_an_id_that_is_known() {
    obeys("runtime.md#operations", |lab| {
        for command in ["start", "kill", "delete"] {
            lab.run([command, "nobody"]).fails_saying(&UNKNOWN);
        }
    });
}

#[test]
fn an_id_is_unique() {
    obeys("runtime.md#create", |lab| {
        let c = lab.bundle().phrases(["sleep"]).create();
        let before = c.state();
        c.create(&[]).fails_saying(&["exist"]);
        assert_eq!(c.state(), before, "the first one is not touched");
        c.start().ok();
    });
}

#[test]
fn an_id_may_not_leave_the_state_directory() {
    obeys("runtime.md#create", |lab| {
        for id in ["../escaped", "a/b", "/a", "", ".", ".."] {
            let mut c = lab.bundle().container();
            let unused = std::mem::replace(&mut c.id, id.into());
            let ran = c.create(&[]);
            if ran.code() == 0 {
                c.delete(&["--force"]);
            }
            c.id = unused;
            ran.fails();
        }
        assert!(!lab.dir().join("escaped").exists());
    });
}

#[test]
fn a_bundle_without_a_config_is_refused() {
    obeys("bundle.md#container-format", |lab| {
        let c = lab.bundle().container();
        let dir = c.bundle.dir().to_str().unwrap();
        lab.run(["create", "--bundle", dir, &c.id]).fails_saying(&["config.json"]);
        lab.run(["create", "--bundle", "/nonexistent/bundle", &c.id]).fails_saying(&["no such file"]);
    });
}

#[test]
fn a_failed_create_leaves_nothing() {
    obeys("runtime.md#create", |lab| {
        let c = lab.bundle().mount("/mnt", "nosuchfs", "none", &[]).container();
        c.create(&[]).fails();
        lab.run(["state", &c.id]).fails_saying(&UNKNOWN);
    });
}

#[test]
fn a_change_of_config_json_after_create_has_no_effect() {
    obeys("runtime.md#create", |lab| {
        let mut c = lab.bundle().phrases(["to /tmp/out", "print first", "sleep"]).create();
        c.bundle.config["process"]["args"] = json!(["/bin/inside", "to /tmp/out", "print second", "sleep"]);
        c.bundle.write();
        c.start().ok();
        c.wait_for_answer("/tmp/out", "print first");
    });
}

#[test]
fn start_is_for_created_containers_only() {
    obeys("runtime.md#start", |lab| {
        let c = lab.bundle().phrases(["to /tmp/out", "block SIGTERM", "await SIGTERM"]).start();
        c.start().fails();
        c.wait_for_answer("/tmp/out", "block SIGTERM");
        assert_eq!(c.status(), "running", "a refused start has no effect");
        c.kill(&["KILL"]).ok();
        c.wait_for("stopped");
        c.start().fails();
        assert_eq!(c.status(), "stopped");
    });
}

#[test]
fn without_a_process_start_fails_at_the_latest() {
    obeys("config.md#process", |lab| {
        let c = lab.bundle().without("/process").container();
        let created = c.create(&[]);
        if created.code() == 0 {
            c.start().fails()
        } else {
            created.fails()
        };
    });
}

#[test]
fn delete_is_for_stopped_containers_only() {
    obeys("runtime.md#delete", |lab| {
        let c = lab.bundle().phrases(["sleep"]).start();
        c.delete(&[]).fails();
        assert_eq!(c.status(), "running", "a refused delete has no effect");
    });
}

#[test]
fn delete_removes_what_create_made() {
    obeys("runtime.md#delete", |lab| {
        let c = lab.bundle().phrases(["sleep"]).start();
        let (pid, cgroup) = (c.pid(), c.cgroup());
        assert!(cgroup.join("cgroup.procs").exists());
        c.kill(&["KILL"]).ok();
        c.wait_for("stopped");
        c.delete(&[]).ok();
        assert!(!cgroup.exists(), "{} is left", cgroup.display());
        assert!(!fs::exists(format!("/proc/{pid}/root")).unwrap());
        c.create(&[]).ok(); // the id is free again
    });
}

#[test]
fn delete_force_ends_a_running_container() {
    obeys("runtime.md#delete", |lab| {
        let c = lab.bundle().phrases(["to /tmp/out", "background", "sleep"]).start();
        c.wait_for_answer("/tmp/out", "background");
        let cgroup = c.cgroup();
        c.delete(&["--force"]).ok();
        assert!(!cgroup.exists());
        lab.run(["state", &c.id]).fails_saying(&UNKNOWN);
    });
}

#[test]
fn delete_force_of_an_unknown_id_succeeds() {
    obeys("runtime.md#delete", |lab| {
        lab.run(["delete", "--force", "nobody"]).ok();
    });
}

#[test]
fn delete_of_a_created_container_ends_its_waiting_process() {
    obeys("runtime.md#delete", |lab| {
        let c = lab.bundle().phrases(["sleep"]).create();
        let pid = c.pid();
        c.delete(&["--force"]).ok();
        eventually("the process is gone", || kill(Pid::from_raw(pid), None).err());
    });
}

#[test]
fn kill_sends_the_signal_by_name_or_number_and_term_by_default() {
    obeys("runtime.md#kill", |lab| {
        let cases =
            [(&[][..], "SIGTERM"), (&["USR1"], "SIGUSR1"), (&["SIGUSR2"], "SIGUSR2"), (&["1"], "SIGHUP")];
        let all = "SIGTERM SIGUSR1 SIGUSR2 SIGHUP";
        let (block, wait) = (format!("block {all}"), format!("await {all}"));
        let c = lab.bundle().phrases(["to /tmp/out", &block, &wait, &wait, &wait, &wait, "sleep"]).start();
        c.wait_for_answer("/tmp/out", &block);
        for (i, (option, name)) in cases.iter().enumerate() {
            c.kill(option).ok();
            let came = eventually(name, || c.answers("/tmp/out").all(&wait).get(i).cloned());
            assert_eq!(came, *name);
        }
    });
}

#[test]
fn kill_refuses_what_is_no_signal() {
    obeys("runtime.md#kill", |lab| {
        let c = lab.bundle().phrases(["sleep"]).start();
        for signal in ["NOSUCH", "999", "-1"] {
            c.kill(&["--", signal][usize::from(!signal.starts_with('-'))..]).fails();
        }
        assert_eq!(c.status(), "running");
    });
}

/// `--all` is of runc before 1.2, and of crun.
#[test]
fn kill_all_reaches_every_process() {
    obeys("runtime.md#kill", |lab| {
        let waiting = |name| format!("/bin/inside 'to /tmp/{name}' 'block SIGUSR1' 'await SIGUSR1' sleep");
        let script = format!("{} & exec {}", waiting("child"), waiting("first"));
        let start = || {
            let c = lab.bundle().args(["sh", "-c", &script]).start();
            for name in ["/tmp/first", "/tmp/child"] {
                c.wait_for_answer(name, "block SIGUSR1");
            }
            c
        };
        let (c, other) = (start(), start());
        lab.run(["kill", "--all", &c.id, "USR1"]).ok();
        for name in ["/tmp/first", "/tmp/child"] {
            let came = c.wait_for_answer(name, "await SIGUSR1");
            assert_eq!(came["await SIGUSR1"], "SIGUSR1", "{name}");
        }
        assert_eq!(c.status(), "running");
        assert!(!other.answers("/tmp/child").has("await SIGUSR1"));
        lab.run(["kill", "--all", &c.id, "KILL"]).ok();
        c.wait_for("stopped");
        lab.run(["kill", "--all", &c.id, "KILL"]).ok(); // as engines do to be sure
    });
}

#[test]
fn kill_reaches_a_created_container() {
    obeys("runtime.md#kill", |lab| {
        let c = lab.bundle().phrases(["sleep"]).create();
        c.kill(&["KILL"]).ok();
        c.wait_for("stopped");
        c.delete(&[]).ok();
    });
}

#[test]
fn kill_of_a_stopped_container_fails() {
    obeys("runtime.md#kill", |lab| {
        let c = lab.bundle().args(["true"]).start();
        c.wait_for("stopped");
        c.kill(&["TERM"]).fails_saying(&["not running", "no such process"]);
    });
}

#[test]
fn a_killed_container_ends_with_all_its_processes() {
    obeys("runtime.md#kill", |lab| {
        let c = lab.bundle().phrases(["to /tmp/out", "background", "sleep"]).start();
        c.wait_for_answer("/tmp/out", "background");
        let procs = fs::read_to_string(c.cgroup().join("cgroup.procs")).unwrap();
        assert_eq!(procs.lines().count(), 2, "{procs:?}");
        c.kill(&["KILL"]).ok();
        c.wait_for("stopped");
        for pid in procs.lines().map(|p| Pid::from_raw(p.parse().unwrap())) {
            eventually("all processes are gone", || kill(pid, None).err());
        }
    });
}

#[test]
fn a_container_without_a_pid_namespace_ends_with_all_its_processes_too() {
    obeys("runtime.md#delete", |lab| {
        let b = lab.bundle().without_namespace("pid");
        let c = b.phrases(["to /tmp/out", "background", "sleep"]).start();
        let second = c.wait_for_answer("/tmp/out", "background")["background"].as_i64().unwrap();
        c.delete(&["--force"]).ok();
        eventually("the second process is gone", || kill(Pid::from_raw(second as i32), None).err());
    });
}

#[test]
fn without_a_pid_namespace_kill_reaches_those_that_outlive_the_first() {
    obeys("runtime.md#kill", |lab| {
        let b = lab.bundle().without_namespace("pid");
        let c = b.phrases(["to /tmp/out", "background", "exit 0"]).start();
        let second = c.wait_for_answer("/tmp/out", "background")["background"].as_i64().unwrap();
        c.wait_for("stopped");
        c.kill(&["KILL"]).ok();
        eventually("the second process is gone", || kill(Pid::from_raw(second as i32), None).err());
        c.delete(&[]).ok();
    });
}

#[test]
fn a_container_that_was_killed_from_outside_is_stopped() {
    obeys("runtime.md#state", |lab| {
        for c in [lab.bundle().phrases(["sleep"]).create(), lab.bundle().phrases(["sleep"]).start()] {
            kill(Pid::from_raw(c.pid()), Signal::SIGKILL).unwrap();
            c.wait_for("stopped");
            c.start().fails();
            c.delete(&[]).ok();
        }
    });
}

#[test]
fn the_bundle_in_the_state_is_an_absolute_path() {
    obeys("runtime.md#state", |lab| {
        let c = lab.bundle().phrases(["sleep"]).container();
        c.bundle.write();
        let name = c.bundle.dir().file_name().unwrap().to_str().unwrap();
        lab.command(["create", "--bundle", name, &c.id]).cwd(lab.dir()).run().ok();
        assert_eq!(c.state()["bundle"], json!(c.bundle.dir()));
    });
}
