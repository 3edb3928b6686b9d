//! config.md#posix-platform-hooks: when each runs, in which namespaces, with which state, and what its failure does.

use std::fs;

use serde_json::{Value, json};
use spec_tests::*;

const ALL: [&str; 6] =
    ["prestart", "createRuntime", "createContainer", "startContainer", "poststart", "poststop"];

/// A bundle whose hooks write what `phrases` ask for into a file each; the container's own is at /tmp/startContainer.
/// They read the state, since some runtimes fail if they can't write it.
fn with_hooks<'a>(lab: &'a Lab, phrases: &[&str]) -> Bundle<'a> {
    ALL.iter().fold(lab.bundle(), |b, list| {
        let to = match *list {
            "startContainer" => "to /tmp/startContainer".to_owned(),
            list => format!("to {}", lab.dir().join(list).display()),
        };
        b.hook(list, [to.as_str(), "stdin"].into_iter().chain(phrases.iter().copied()))
    })
}

fn answers(c: &Container, list: &str) -> Inside {
    match list {
        "startContainer" => c.answers("/tmp/startContainer"),
        list => Inside::parse(&fs::read_to_string(c.bundle.lab().dir().join(list)).unwrap_or_default()),
    }
}

#[test]
fn each_hook_runs_at_its_time() {
    obeys("config.md#posix-platform-hooks", |lab| {
        let c = with_hooks(lab, &["pid"]).args(["true"]).container();
        let ran = || ALL.into_iter().filter(|list| answers(&c, list).has("pid")).collect::<Vec<_>>();
        c.create(&[]).ok();
        assert_eq!(ran(), ["prestart", "createRuntime", "createContainer"]);
        c.start().ok();
        c.wait_for("stopped");
        assert_eq!(ran(), ["prestart", "createRuntime", "createContainer", "startContainer", "poststart"]);
        c.delete(&[]).ok();
        assert_eq!(ran(), ALL);
    });
}

#[test]
fn hooks_of_a_list_run_in_order() {
    obeys("config.md#posix-platform-hooks", |lab| {
        let file = lab.dir().join("order");
        let to = format!("to {}", file.display());
        let lists = ["prestart", "createRuntime", "createContainer", "poststart", "poststop"];
        let b = lists.iter().fold(lab.bundle(), |b, list| {
            let (first, second) = (format!("print {list} 1"), format!("print {list} 2"));
            b.hook(list, ["stdin", to.as_str(), &first]).hook(list, ["stdin", to.as_str(), &second])
        });
        b.run().ok();
        let text = fs::read_to_string(file).unwrap();
        let order: Vec<Value> =
            text.lines().map(|l| serde_json::from_str::<Value>(l).unwrap()["answer"].take()).collect();
        let expected: Vec<String> = lists.iter().flat_map(|l| [format!("{l} 1"), format!("{l} 2")]).collect();
        assert_eq!(order, expected);
    });
}

#[test]
fn a_hook_reads_the_state_of_its_time() {
    obeys("runtime.md#state", |lab| {
        let c =
            with_hooks(lab, &["stdin"]).set("/annotations", json!({ "a": "b" })).args(["true"]).container();
        c.create(&[]).ok();
        let pid = c.pid();
        c.start().ok();
        c.wait_for("stopped");
        c.delete(&[]).ok();
        let expected: [(&str, &[&str]); 6] = [
            ("prestart", &["creating", "created"]),
            ("createRuntime", &["creating"]),
            ("createContainer", &["creating"]),
            ("startContainer", &["created"]),
            ("poststart", &["running"]),
            ("poststop", &["stopped"]),
        ];
        for (list, statuses) in expected {
            let text = answers(&c, list)["stdin"].as_str().unwrap().to_owned();
            let state: Value =
                serde_json::from_str(&text).unwrap_or_else(|e| panic!("{list}: {e}: {text:?}"));
            assert!(statuses.iter().any(|s| state["status"] == *s), "{list}: {state}");
            assert_eq!((&state["id"], &state["bundle"]), (&json!(c.id), &json!(c.bundle.dir())), "{list}");
            assert!(state["ociVersion"].is_string(), "{list}: {state}");
            assert_eq!(state["annotations"]["a"], "b", "{list}");
            match list {
                "poststop" => assert_eq!(state["pid"].as_i64().unwrap_or(0), 0, "{list}: no process is left"),
                // Which process it is depends on who looks: in the container's pid namespace it is 1.
                "createContainer" | "startContainer" => {
                    assert!([1, pid].map(|p| json!(p)).contains(&state["pid"]))
                }
                _ => assert_eq!(state["pid"], pid, "{list}"),
            }
        }
    });
}

#[test]
fn a_hook_need_not_read_the_state() {
    obeys("config.md#posix-platform-hooks", |lab| {
        // More than a pipe or a socket buffers, for certain.
        let b = lab.bundle().set("/annotations", json!({ "long": "x".repeat(1 << 20) })).args(["true"]);
        let lists = ["prestart", "createRuntime", "createContainer", "poststart", "poststop"];
        lists.iter().fold(b, |b, list| b.hook(list, ["exit 0"])).run().ok();
    });
}

#[test]
fn a_hook_is_in_the_namespaces_of_its_list() {
    obeys("config.md#posix-platform-hooks", |lab| {
        let c = with_hooks(lab, &["ns"]).phrases(["ns"]).container();
        let inside = Inside::parse(&c.run(&[]).ok().stdout());
        for list in ALL {
            let ns = &answers(&c, list)["ns"];
            let own = |kind: &str| json!(fs::read_link(format!("/proc/thread-self/ns/{kind}")).unwrap());
            for kind in ["mnt", "net", "uts", "ipc"] {
                let expected = match list {
                    "createContainer" | "startContainer" => inside["ns"][kind].clone(),
                    _ => own(kind),
                };
                assert_eq!(ns[kind], expected, "{list}: {kind}");
            }
        }
    });
}

#[test]
fn create_container_hooks_see_the_hosts_files_and_start_container_hooks_the_containers() {
    obeys("config.md#posix-platform-hooks", |lab| {
        let host = lab.dir().join("on-the-host");
        fs::write(&host, "").unwrap();
        let stat = format!("stat {}", host.display());
        let c = with_hooks(lab, &[&stat, "stat /bin/inside"]).args(["true"]).container();
        c.run(&[]).ok();
        for list in ALL {
            let seen = answers(&c, list);
            if list == "startContainer" {
                assert_eq!(seen[&*stat], "ENOENT", "{list}");
                assert_eq!(seen["stat /bin/inside"]["type"], "file", "{list}");
            } else {
                assert_eq!(seen[&*stat]["type"], "file", "{list}");
            }
        }
    });
}

#[test]
fn a_hook_gets_its_args_and_its_env_and_no_other() {
    obeys("config.md#posix-platform-hooks", |lab| {
        let b = with_hooks(lab, &["args", "environ"]);
        let b = ALL.iter().fold(b, |b, list| b.set(&format!("/hooks/{list}/0/env"), ["ONE=1", "TWO=2 2"]));
        let c = b.args(["true"]).container();
        c.command("run", &[]).env("RUNTIME_ONLY", "1").run().ok();
        for list in ALL {
            let seen = answers(&c, list);
            assert_eq!(seen["args"][0], "inside", "{list}");
            assert_eq!(seen["args"].as_array().unwrap()[2..], ["stdin", "args", "environ"], "{list}");
            assert_eq!(seen["environ"], json!(["ONE=1", "TWO=2 2"]), "{list}");
        }
    });
}

#[test]
fn a_hook_without_env_gets_none_of_the_runtimes() {
    obeys("config.md#posix-platform-hooks", |lab| {
        let c = with_hooks(lab, &["environ"]).args(["true"]).container();
        c.command("run", &[]).env("RUNTIME_ONLY", "1").run().ok();
        for list in ALL {
            let seen = answers(&c, list);
            let names = seen["environ"].as_array().unwrap();
            assert!(!names.contains(&json!("RUNTIME_ONLY=1")), "{list}: {names:?}");
        }
    });
}

#[test]
fn a_failing_hook_of_create_fails_the_create() {
    obeys("runtime.md#lifecycle", |lab| {
        for list in ["prestart", "createRuntime", "createContainer"] {
            let c = lab.bundle().hook(list, ["stdin", "exit 3"]).phrases(["sleep"]).container();
            c.create(&[]).fails();
            lab.run(["state", &c.id]).fails();
        }
    });
}

#[test]
fn a_failing_hook_of_create_runs_the_poststop_hooks() {
    obeys("runtime.md#lifecycle", |lab| {
        let to = format!("to {}", lab.dir().join("poststop").display());
        let c = lab
            .bundle()
            .hook("createRuntime", ["stdin", "exit 3"])
            .hook("poststop", [&*to, "stdin", "pid"])
            .container();
        c.create(&[]).fails();
        assert!(answers(&c, "poststop").has("pid"));
    });
}

#[test]
fn a_create_that_fails_after_its_hooks_runs_the_poststop_hooks() {
    obeys("runtime.md#lifecycle", |lab| {
        let to = format!("to {}", lab.dir().join("poststop").display());
        let c = lab
            .bundle()
            .hook("createRuntime", ["stdin"])
            .hook("poststop", [&*to, "stdin", "pid"])
            .container();
        c.create(&["--pid-file", "/no/such/directory/pid"]).fails();
        assert!(answers(&c, "poststop").has("pid"));
    });
}

#[test]
fn a_failing_start_container_hook_keeps_the_program_from_running() {
    obeys("runtime.md#lifecycle", |lab| {
        let c =
            lab.bundle().hook("startContainer", ["stdin", "exit 3"]).phrases(["to /tmp/out", "pid"]).create();
        c.start();
        eventually("its end", || {
            (lab.run(["state", &c.id]).code() != 0 || c.status() == "stopped").then_some(())
        });
        assert!(!c.answers("/tmp/out").has("pid"), "the program ran");
    });
}

#[test]
fn a_failing_start_container_hook_fails_the_start() {
    obeys("runtime.md#lifecycle", |lab| {
        let c = lab.bundle().hook("startContainer", ["stdin", "exit 3"]).phrases(["sleep"]).create();
        c.start().fails();
    });
}

#[test]
fn a_failing_poststart_hook_fails_the_start() {
    obeys("runtime.md#lifecycle", |lab| {
        let b = lab.bundle().set("/ociVersion", "1.3.0");
        let c = b.hook("poststart", ["stdin", "exit 3"]).phrases(["sleep"]).create();
        c.start().fails();
        c.wait_for("stopped");
    });
}

#[test]
fn a_failing_poststop_hook_does_not_stop_the_delete() {
    obeys("runtime.md#lifecycle", |lab| {
        let to = format!("to {}", lab.dir().join("poststop").display());
        let b = lab
            .bundle()
            .hook("poststop", ["stdin", "exit 3"])
            .hook("poststop", [&*to, "stdin", "pid"])
            .args(["true"]);
        let c = b.start();
        c.wait_for("stopped");
        c.delete(&[]).ok();
        assert!(answers(&c, "poststop").has("pid"), "the next hook runs");
    });
}

#[test]
fn a_hook_that_takes_longer_than_its_timeout_is_killed_and_fails() {
    obeys("config.md#posix-platform-hooks", |lab| {
        for list in ["prestart", "createRuntime", "createContainer"] {
            let b = lab.bundle().hook(list, ["sleep"]).set(&format!("/hooks/{list}/0/timeout"), 1);
            let before = std::time::Instant::now();
            b.container().create(&[]).fails();
            let took = before.elapsed().as_secs_f64();
            assert!((0.9..20.0).contains(&took), "{list}: {took} s");
        }
    });
}

#[test]
fn a_hook_that_is_missing_or_relative_fails_the_create() {
    obeys("config.md#posix-platform-hooks", |lab| {
        for path in ["/no/such/hook", "relative"] {
            let b = lab.bundle().set("/hooks/createRuntime", json!([{ "path": path }]));
            b.container().create(&[]).fails();
        }
    });
}

#[test]
fn a_timeout_that_is_not_positive_is_refused() {
    obeys("config.md#posix-platform-hooks", |lab| {
        for timeout in [0, -1] {
            let b =
                lab.bundle().hook("createRuntime", ["stdin"]).set("/hooks/createRuntime/0/timeout", timeout);
            b.container().create(&[]).fails();
        }
    });
}
