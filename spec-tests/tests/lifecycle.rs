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
        assert!(
            !c.bundle.path("/tmp/out").exists(),
            "the program must not run before start"
        );
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
        assert!(
            state["ociVersion"].as_str().is_some_and(|v| v.starts_with("1.")),
            "{state}"
        );
        assert_eq!(state["id"], c.id);
        assert_eq!(state["status"], "created");
        assert_eq!(state["bundle"], json!(c.bundle.dir()));
        assert_eq!(state["annotations"]["org.example.key"], "value");
        let pid = state["pid"].as_i64().expect("a pid");
        assert!(
            fs::exists(format!("/proc/{pid}")).unwrap(),
            "pid {pid} is of the runtime's pid namespace"
        );
    });
}

#[test]
fn a_container_whose_program_ended_is_stopped_until_deleted() {
    obeys("runtime.md#lifecycle", |lab| {
        let c = lab.bundle().args(["true"]).start();
        c.wait_for("stopped");
        assert_eq!(
            c.state()["pid"].as_i64().unwrap_or(0),
            0,
            "a stopped container has no process"
        );
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
        lab.run(["create", "--bundle", dir, &c.id])
            .fails_saying(&["config.json"]);
        lab.run(["create", "--bundle", "/nonexistent/bundle", &c.id])
            .fails_saying(&["no such file"]);
    });
}

#[test]
fn the_bundle_is_the_current_directory_unless_told() {
    obeys("runtime.md#create", |lab| {
        let c = lab.bundle().args(["true"]).container();
        c.bundle.write();
        lab.command(["run", &c.id]).cwd(c.bundle.dir()).run().ok();
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
        let mut c = lab
            .bundle()
            .phrases(["to /tmp/out", "print first", "sleep"])
            .create();
        c.bundle.config["process"]["args"] = json!(["/bin/inside", "to /tmp/out", "print second", "sleep"]);
        c.bundle.write();
        c.start().ok();
        c.wait_for_answer("/tmp/out", "print first");
    });
}

#[test]
fn start_is_for_created_containers_only() {
    obeys("runtime.md#start", |lab| {
        let c = lab
            .bundle()
            .phrases(["to /tmp/out", "block SIGTERM", "await SIGTERM"])
            .start();
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
        let c = lab
            .bundle()
            .phrases(["to /tmp/out", "background", "sleep"])
            .start();
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
        let cases = [
            (&[][..], "SIGTERM"),
            (&["USR1"], "SIGUSR1"),
            (&["SIGUSR2"], "SIGUSR2"),
            (&["1"], "SIGHUP"),
        ];
        let all = "SIGTERM SIGUSR1 SIGUSR2 SIGHUP";
        let (block, wait) = (format!("block {all}"), format!("await {all}"));
        let c = lab
            .bundle()
            .phrases(["to /tmp/out", &block, &wait, &wait, &wait, &wait, "sleep"])
            .start();
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
            c.kill(&["--", signal][usize::from(!signal.starts_with('-'))..])
                .fails();
        }
        assert_eq!(c.status(), "running");
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
        c.kill(&["TERM"])
            .fails_saying(&["not running", "no such process"]);
    });
}

#[test]
fn a_killed_container_ends_with_all_its_processes() {
    obeys("runtime.md#kill", |lab| {
        let c = lab
            .bundle()
            .phrases(["to /tmp/out", "background", "sleep"])
            .start();
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
        let second = c.wait_for_answer("/tmp/out", "background")["background"]
            .as_i64()
            .unwrap();
        c.delete(&["--force"]).ok();
        eventually("the second process is gone", || {
            kill(Pid::from_raw(second as i32), None).err()
        });
    });
}

#[test]
fn a_container_that_was_killed_from_outside_is_stopped() {
    obeys("runtime.md#state", |lab| {
        for c in [
            lab.bundle().phrases(["sleep"]).create(),
            lab.bundle().phrases(["sleep"]).start(),
        ] {
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
        lab.command(["create", "--bundle", name, &c.id])
            .cwd(lab.dir())
            .run()
            .ok();
        assert_eq!(c.state()["bundle"], json!(c.bundle.dir()));
    });
}

#[test]
fn list_of_no_containers_has_none() {
    obeys("runtime.md#operations", |lab| {
        assert_eq!(lab.run(["list", "--quiet"]).ok().stdout().trim(), "");
        let list = lab.run(["list", "--format", "json"]).ok().json();
        assert!(list.is_null() || list == json!([]), "{list}");
    });
}

#[test]
fn an_error_is_in_the_log_as_engines_read_it() {
    obeys("runtime.md#errors", |lab| {
        let log = lab.dir().join("log.json");
        let c = lab.bundle().args(["no-such-program"]).container();
        let command = c
            .command("run", &[])
            .global("--log")
            .global(log.to_str().unwrap());
        command.global("--log-format").global("json").run().fails();
        let text = fs::read_to_string(&log).unwrap();
        let last: serde_json::Value = text
            .lines()
            .rev()
            .find_map(|l| serde_json::from_str(l).ok())
            .expect("JSON");
        assert_eq!(last["level"], "error", "{text}");
        assert!(
            last["msg"]
                .as_str()
                .is_some_and(|m| m.contains("no-such-program")),
            "{text}"
        );
        let time = last["time"].as_str().expect("a time").as_bytes();
        assert!(
            time[4] == b'-' && time[10] == b'T' && time.len() >= 20,
            "RFC 3339: {text}"
        );
    });
}

#[test]
fn options_that_engines_give_are_taken() {
    obeys("runtime.md#operations", |lab| {
        for option in ["--no-subreaper", "-no-subreaper", "--no-new-keyring"] {
            lab.bundle().args(["true"]).container().run(&[option]).ok();
        }
        let c = lab.bundle().args(["true"]).container();
        c.command("run", &[]).global("--debug").run().ok();
    });
}

#[test]
fn the_pidfd_comes_over_its_socket() {
    obeys("runtime.md#create", |lab| {
        let socket = FdSocket::listen(lab.dir().join("pidfd"));
        let c = lab.bundle().phrases(["sleep"]).container();
        c.create(&["--pidfd-socket", socket.path()]).ok();
        let pidfd = socket.receive().0;
        let info = format!("/proc/self/fdinfo/{}", std::os::fd::AsRawFd::as_raw_fd(&pidfd));
        let info = fs::read_to_string(info).unwrap();
        assert!(info.lines().any(|l| l == format!("Pid:\t{}", c.pid())), "{info}");
    });
}

#[test]
fn the_pid_file_has_the_pid_and_nothing_else() {
    obeys("runtime.md#create", |lab| {
        let c = lab.bundle().phrases(["sleep"]).container();
        let file = lab.dir().join("pid");
        fs::write(&file, "a much longer text that was there before").unwrap();
        let old = fs::File::open(&file).unwrap();
        c.create(&["--pid-file", file.to_str().unwrap()]).ok();
        assert_eq!(fs::read_to_string(&file).unwrap(), c.pid().to_string());
        assert_eq!(
            std::io::read_to_string(old).unwrap().len(),
            40,
            "the file is replaced, not rewritten"
        );
    });
}

#[test]
fn run_is_create_start_wait_and_delete() {
    obeys("runtime.md#lifecycle", |lab| {
        let c = lab
            .bundle()
            .args(["sh", "-c", "echo out; echo err >&2; exit 7"])
            .container();
        let ran = c.run(&[]).exits(7);
        assert_eq!((ran.stdout().as_str(), ran.stderr().as_str()), ("out\n", "err\n"));
        lab.run(["state", &c.id]).fails_saying(&UNKNOWN);
    });
}

#[test]
fn run_ends_with_128_and_the_signal_that_ended_the_program() {
    obeys("runtime.md#lifecycle", |lab| {
        // Without a pid namespace of its own, since a first process is immune against its own signals.
        for (signal, code) in [("SIGKILL", 137), ("SIGTERM", 143), ("SIGUSR1", 138)] {
            lab.bundle()
                .without_namespace("pid")
                .phrases([&*format!("raise {signal}")])
                .run()
                .exits(code);
        }
    });
}

#[test]
fn run_passes_stdin_on() {
    obeys("runtime.md#lifecycle", |lab| {
        let c = lab.bundle().phrases(["stdin"]).container();
        fs::write(lab.dir().join("in"), "hello").unwrap();
        let input = format!("<{}", lab.dir().join("in").display());
        let ran = c.command("run", &[]).redirect(&input).run().ok();
        assert_eq!(Inside::parse(&ran.stdout())["stdin"], "hello");
    });
}

#[test]
fn run_relays_signals() {
    obeys("runtime.md#lifecycle", |lab| {
        let c = lab
            .bundle()
            .phrases(["block SIGTERM SIGUSR1", "await SIGTERM SIGUSR1", "exit 5"])
            .container();
        for signal in [Signal::SIGTERM, Signal::SIGUSR1] {
            let run = c.command("run", &[]).spawn();
            eventually("the program is ready", || {
                run.stdout().contains("block").then_some(())
            });
            run.signal(signal);
            let ran = run.wait().exits(5);
            assert_eq!(
                Inside::parse(&ran.stdout())["await SIGTERM SIGUSR1"],
                signal.as_str()
            );
        }
    });
}

#[test]
fn run_detached_leaves_it_running() {
    obeys("runtime.md#lifecycle", |lab| {
        let c = lab.bundle().phrases(["sleep"]).container();
        c.run(&["--detach"]).ok();
        assert_eq!(c.status(), "running");
    });
}

#[test]
fn run_keep_leaves_it_stopped() {
    obeys("runtime.md#lifecycle", |lab| {
        let c = lab.bundle().args(["false"]).container();
        c.run(&["--keep"]).exits(1);
        assert_eq!(c.status(), "stopped");
    });
}

#[test]
fn run_of_a_missing_program_fails_and_leaves_nothing() {
    obeys("runtime.md#lifecycle", |lab| {
        let c = lab.bundle().args(["no-such-program"]).container();
        c.run(&[]).fails_saying(&[
            "executable file not found in $PATH",
            "executable file `no-such-program` not found",
        ]);
        lab.run(["state", &c.id]).fails_saying(&UNKNOWN);
    });
}

#[test]
fn list_shows_all_containers() {
    obeys("runtime.md#operations", |lab| {
        let a = lab.bundle().phrases(["sleep"]).create();
        let b = lab.bundle().phrases(["sleep"]).start();
        let quiet = lab.run(["list", "--quiet"]).ok().stdout();
        let mut ids: Vec<&str> = quiet.lines().collect();
        ids.sort();
        assert_eq!(ids, [a.id.as_str(), b.id.as_str()]);
        let list = lab.run(["list", "--format", "json"]).ok().json();
        for (c, status) in [(&a, "created"), (&b, "running")] {
            let row = list
                .as_array()
                .unwrap()
                .iter()
                .find(|r| r["id"] == c.id)
                .expect("a row");
            assert_eq!((&row["status"], &row["pid"]), (&json!(status), &json!(c.pid())));
            assert_eq!(row["bundle"], json!(c.bundle.dir()));
        }
        let table = lab.run(["list"]).ok().stdout();
        assert!(
            table.contains("PID") && table.contains("STATUS") && table.contains(&a.id),
            "{table}"
        );
    });
}

#[test]
fn fds_of_the_caller_are_passed_on_only_when_asked() {
    obeys("runtime.md#create", |lab| {
        let c = lab.bundle().phrases(["fds"]).container();
        let fds = |options: &[&str], env: &[(&str, &str)]| {
            let command = c.command("run", options).redirect("3</etc/passwd 4</etc/passwd");
            let command = env.iter().fold(command, |c, (k, v)| c.env(k, v));
            let seen = Inside::parse(&command.run().ok().stdout());
            seen["fds"]
                .as_object()
                .unwrap()
                .keys()
                .map(|k| k.parse::<i32>().unwrap())
                .collect::<Vec<_>>()
        };
        assert_eq!(fds(&[], &[]), [0, 1, 2]);
        assert_eq!(fds(&["--preserve-fds", "1"], &[]), [0, 1, 2, 3]);
        assert_eq!(fds(&["--preserve-fds", "2"], &[]), [0, 1, 2, 3, 4]);
        assert_eq!(fds(&[], &[("LISTEN_FDS", "1")]), [0, 1, 2, 3]);
    });
}

#[test]
fn listen_fds_tells_the_program_what_it_got() {
    obeys("runtime.md#create", |lab| {
        let c = lab.bundle().phrases(["env"]).container();
        let ran = c
            .command("run", &[])
            .redirect("3</etc/passwd")
            .env("LISTEN_FDS", "1")
            .run()
            .ok();
        let seen = Inside::parse(&ran.stdout());
        assert_eq!(seen["env"]["LISTEN_FDS"], "1");
        assert_eq!(seen["env"]["LISTEN_PID"], "1");
    });
}
