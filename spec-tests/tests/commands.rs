//! The command line beyond runtime.md's operations: run, list, files and fds that are passed, the log.

use std::fs;

use nix::sys::signal::Signal;
use serde_json::json;
use spec_tests::*;

/// What runtimes say when an id isn't one of theirs.
const UNKNOWN: [&str; 2] = ["does not exist", "no such file"];

#[test]
fn the_bundle_is_the_current_directory_unless_told() {
    obeys("runtime.md#create", |lab| {
        let c = lab.bundle().args(["true"]).container();
        c.bundle.write();
        lab.command(["run", &c.id]).cwd(c.bundle.dir()).run().ok();
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
        let command = c.command("run", &[]).global("--log").global(log.to_str().unwrap());
        command.global("--log-format").global("json").run().fails();
        let text = fs::read_to_string(&log).unwrap();
        let last: serde_json::Value =
            text.lines().rev().find_map(|l| serde_json::from_str(l).ok()).expect("JSON");
        assert_eq!(last["level"], "error", "{text}");
        assert!(last["msg"].as_str().is_some_and(|m| m.contains("no-such-program")), "{text}");
        let time = last["time"].as_str().expect("a time").as_bytes();
        assert!(time[4] == b'-' && time[10] == b'T' && time.len() >= 20, "RFC 3339: {text}");
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
        assert_eq!(std::io::read_to_string(old).unwrap().len(), 40, "the file is replaced, not rewritten");
    });
}

#[test]
fn run_is_create_start_wait_and_delete() {
    obeys("runtime.md#lifecycle", |lab| {
        let c = lab.bundle().args(["sh", "-c", "echo out; echo err >&2; exit 7"]).container();
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
            lab.bundle().without_namespace("pid").phrases([&*format!("raise {signal}")]).run().exits(code);
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
        let c =
            lab.bundle().phrases(["block SIGTERM SIGUSR1", "await SIGTERM SIGUSR1", "exit 5"]).container();
        for signal in [Signal::SIGTERM, Signal::SIGUSR1] {
            let run = c.command("run", &[]).spawn();
            eventually("the program is ready", || run.stdout().contains("block").then_some(()));
            run.signal(signal);
            let ran = run.wait().exits(5);
            assert_eq!(Inside::parse(&ran.stdout())["await SIGTERM SIGUSR1"], signal.as_str());
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
            let row = list.as_array().unwrap().iter().find(|r| r["id"] == c.id).expect("a row");
            assert_eq!((&row["status"], &row["pid"]), (&json!(status), &json!(c.pid())));
            assert_eq!(row["bundle"], json!(c.bundle.dir()));
        }
        let table = lab.run(["list"]).ok().stdout();
        assert!(table.contains("PID") && table.contains("STATUS") && table.contains(&a.id), "{table}");
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
            seen["fds"].as_object().unwrap().keys().map(|k| k.parse::<i32>().unwrap()).collect::<Vec<_>>()
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
        let ran = c.command("run", &[]).redirect("3</etc/passwd").env("LISTEN_FDS", "1").run().ok();
        let seen = Inside::parse(&ran.stdout());
        assert_eq!(seen["env"]["LISTEN_FDS"], "1");
        assert_eq!(seen["env"]["LISTEN_PID"], "1");
    });
}

/// features.md: what a runtime says of itself.
#[test]
fn features_is_the_document_of_the_spec() {
    obeys("features.md", |lab| {
        let ran = lab.run(["features"]).ok();
        assert_eq!(ran.stderr(), "", "CRI-O reads both streams as one");
        let features = ran.json();
        for path in ["/ociVersionMin", "/ociVersionMax"] {
            let version = features.pointer(path).and_then(|v| v.as_str()).expect(path);
            assert!(version.starts_with("1."), "{path} {version}");
        }
        for (path, words) in [
            ("/hooks", &["createRuntime", "poststop"][..]),
            ("/mountOptions", &["ro", "rbind", "rro", "tmpcopyup"]),
            ("/linux/namespaces", &["mount", "network", "user", "cgroup"]),
            ("/linux/capabilities", &["CAP_CHOWN", "CAP_SYS_ADMIN"]),
            ("/linux/seccomp/actions", &["SCMP_ACT_ERRNO", "SCMP_ACT_LOG"]),
            ("/linux/seccomp/operators", &["SCMP_CMP_MASKED_EQ"]),
        ] {
            let list = features.pointer(path).and_then(|v| v.as_array()).expect(path);
            for word in words {
                assert!(list.contains(&json!(word)), "{path} has no {word}: {list:?}");
            }
        }
        assert_eq!(features.pointer("/linux/cgroup/v2"), Some(&json!(true)));
        assert_eq!(features.pointer("/linux/seccomp/enabled"), Some(&json!(true)));
    });
}

/// features-linux.md, and the keys by which engines know a runtime.
#[test]
fn features_names_what_else_is_supported() {
    obeys("features-linux.md", |lab| {
        let features = lab.run(["features"]).ok().json();
        let at = |path: &str| features.pointer(path).cloned().unwrap_or_else(|| panic!("no {path}"));
        for path in [
            "/linux/apparmor/enabled",
            "/linux/selinux/enabled",
            "/linux/intelRdt/enabled",
            "/linux/mountExtensions/idmap/enabled",
        ] {
            assert_eq!(at(path), true, "{path}");
        }
        for (path, words) in [
            ("/linux/seccomp/archs", &["SCMP_ARCH_X86_64", "SCMP_ARCH_AARCH64"][..]),
            (
                "/linux/seccomp/knownFlags",
                &["SECCOMP_FILTER_FLAG_LOG", "SECCOMP_FILTER_FLAG_SPEC_ALLOW", "SECCOMP_FILTER_FLAG_TSYNC"],
            ),
            ("/potentiallyUnsafeConfigAnnotations", &["org.criu.config", "org.systemd.property."]),
        ] {
            let list = at(path);
            for word in words {
                assert!(list.as_array().unwrap().contains(&json!(word)), "{path} has no {word}: {list}");
            }
        }
        // What is supported is known; that the kernel has the oldest flag is certain.
        let (known, supported) = (at("/linux/seccomp/knownFlags"), at("/linux/seccomp/supportedFlags"));
        let (known, supported) = (known.as_array().unwrap(), supported.as_array().unwrap());
        assert!(supported.contains(&json!("SECCOMP_FILTER_FLAG_TSYNC")), "{supported:?}");
        assert!(supported.iter().all(|flag| known.contains(flag)), "{supported:?}");
        let annotations = at("/annotations");
        let annotation =
            |key: &str| annotations[key].as_str().unwrap_or_else(|| panic!("no {key}")).to_owned();
        assert_eq!(annotation("org.opencontainers.runc.checkpoint.enabled"), "true");
        let version = annotation("io.github.seccomp.libseccomp.version");
        assert!(version.starts_with("2."), "{version}");
    });
}

#[test]
fn features_names_what_came_with_version_1_3() {
    obeys("features-linux.md", |lab| {
        let features = lab.run(["features"]).ok().json();
        assert_eq!(features.pointer("/linux/netDevices/enabled"), Some(&json!(true)));
        for (path, words) in [
            ("/linux/memoryPolicy/modes", ["MPOL_BIND", "MPOL_INTERLEAVE", "MPOL_LOCAL"]),
            (
                "/linux/memoryPolicy/flags",
                ["MPOL_F_NUMA_BALANCING", "MPOL_F_RELATIVE_NODES", "MPOL_F_STATIC_NODES"],
            ),
        ] {
            let list = features.pointer(path).and_then(|v| v.as_array()).expect(path);
            assert!(words.iter().all(|word| list.contains(&json!(word))), "{path}: {list:?}");
        }
    });
}

/// crun's; runc has only `--systemd-cgroup`.
#[test]
fn cgroup_manager_says_who_makes_the_cgroup() {
    obeys("config-linux.md#cgroups-path", |lab| {
        lab.let_systemd(false);
        let cgroup = |manager: &str| {
            let c = lab.bundle().phrases(["sleep"]).container();
            let command = c.command("create", &[]).global("--cgroup-manager");
            command.global(manager).run().ok();
            (c.cgroup(), c)
        };
        let own = std::fs::read_to_string("/proc/self/cgroup").unwrap();
        let own = own.lines().find_map(|l| l.strip_prefix("0::/")).unwrap();
        let (nobodys, c) = cgroup("disabled");
        assert_eq!(nobodys, lab.cgroups().join(own));
        c.delete(&["--force"]).ok();
        let (its_own, c) = cgroup("cgroupfs");
        assert!(its_own.ends_with(&c.id), "{}", its_own.display());
        let command = c.command("create", &[]).global("--cgroup-manager");
        command.global("nobody").run().fails();
    });
}

/// Whether what a user can't do to cgroups is overlooked.
#[test]
fn rootless_says_whether_a_cgroup_is_needed() {
    obeys("config-linux.md#control-groups", |lab| {
        lab.let_systemd(false);
        lab.become_user();
        let run = |when: &str| {
            let c = lab.bundle().args(["true"]).container();
            c.command("run", &[]).global("--rootless").global(when).run()
        };
        run("auto").ok();
        run("true").ok();
        run("false").fails_saying(&["permission denied"]);
        run("perhaps").fails();
    });
}

/// crun's.
#[test]
fn log_level_says_what_is_logged() {
    obeys("runtime.md#warnings", |lab| {
        let log = lab.dir().join("log");
        let logged = |level: &str| {
            let _ = fs::remove_file(&log);
            let c = lab.bundle().caps(&["CAP_NO_SUCH"]).args(["true"]).container();
            let globals = ["--log", log.to_str().unwrap(), "--log-level", level];
            let command = c.command("run", &[]);
            globals.iter().fold(command, |c, word| c.global(word)).run().ok();
            fs::read_to_string(&log).unwrap_or_default()
        };
        assert!(!logged("error").contains("CAP_NO_SUCH"));
        assert!(logged("warning").contains("CAP_NO_SUCH"));
        assert!(logged("debug").len() > logged("warning").len());
        let c = lab.bundle().args(["true"]).container();
        c.command("run", &[]).global("--log-level=some").run().fails();
    });
}

/// Messages go to a daemon under a name; crun's.
#[test]
fn log_names_a_daemon() {
    obeys("runtime.md#errors", |lab| {
        lab.let_systemd(false);
        let run = lab.dir().join("covered");
        fs::create_dir_all(run.join("systemd/journal")).unwrap();
        let flags = nix::mount::MsFlags::MS_BIND;
        nix::mount::mount(Some(&run), "/run", None::<&str>, flags, None::<&str>).unwrap();
        for (daemon, socket, parts) in [
            ("journald", "/run/systemd/journal/socket", ["PRIORITY=3", "SYSLOG_IDENTIFIER=some-name"]),
            ("syslog", "/dev/log", ["<11>", "some-name"]),
        ] {
            let c = lab.bundle().args(["no-such-program"]).container();
            let to = format!("{daemon}:some-name");
            let daemon = std::os::unix::net::UnixDatagram::bind(socket).unwrap();
            daemon.set_nonblocking(true).unwrap();
            let command = c.command("run", &[]).cwd(lab.dir());
            command.global("--log").global(&to).run().fails();
            let mut messages = Vec::new();
            let mut bytes = [0; 4096];
            while let Ok(length) = daemon.recv(&mut bytes) {
                messages.push(String::from_utf8_lossy(&bytes[..length]).into_owned());
            }
            let told = |message: &String| {
                message.contains("no-such-program") && parts.iter().all(|part| message.contains(part))
            };
            assert!(messages.iter().any(told), "{parts:?}: {messages:?}");
        }
    });
}

/// An option of crun's; runc has none.
#[test]
fn spec_writes_to_another_file() {
    obeys("bundle.md#container-format", |lab| {
        for (number, option) in ["--file", "-f"].iter().enumerate() {
            let name = format!("other-{number}.json");
            lab.command(["spec", option, &name]).cwd(lab.dir()).run().ok();
            let text = fs::read_to_string(lab.dir().join(&name)).unwrap();
            let config: serde_json::Value = serde_json::from_str(&text).unwrap();
            assert_eq!(config["root"]["path"], "rootfs");
        }
        assert!(!lab.dir().join("config.json").exists());
    });
}

/// An option of crun's; runc has none.
#[test]
fn config_names_another_file_than_the_bundles() {
    obeys("bundle.md#container-format", |lab| {
        let c = lab.bundle().args(["true"]).container();
        c.bundle.write();
        let dir = c.bundle.dir();
        let other = dir.join("other.json").to_string_lossy().into_owned();
        fs::rename(dir.join("config.json"), &other).unwrap();
        c.command("run", &["--config", &other]).run().ok();
        c.command("run", &["-f", "missing.json"]).run().fails_saying(&["missing.json"]);
    });
}
