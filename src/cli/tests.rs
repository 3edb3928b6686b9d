//! Command lines as engines and people write them.

use super::*;

fn words(line: &str) -> Vec<OsString> {
    line.split_whitespace().map(OsString::from).collect()
}

const ROOT: Caller = Caller { is_root: true, runtime_dir: None };

fn request(line: &str) -> Request {
    parse(words(line), &ROOT).unwrap_or_else(|error| panic!("{line}: {error}"))
}

fn global() -> Global {
    Global {
        root: "/run/rrunc".into(),
        log: None,
        log_format: Format::Text,
        log_level: Level::Warning,
        debug: false,
        cgroup_manager: CgroupManager::Cgroupfs,
        rootless: Rootless::Auto,
    }
}

/// The line gives this command with default globals, and its own argv gives it again.
#[track_caller]
fn check(line: &str, command: Command) {
    let request = request(line);
    assert_eq!(request, Request { global: global(), command }, "{line}");
    assert_eq!(parse(request.to_args(), &ROOT).unwrap(), request, "{line}");
}

#[track_caller]
fn refused(line: &str, text: &str) {
    match parse(words(line), &ROOT) {
        Ok(request) => panic!("{line} gave {request:?}"),
        Err(error) => assert!(error.to_string().contains(text), "{line}: {error}"),
    }
}

fn create(id: &str) -> Create {
    Create { id: id.into(), ..Create::default() }
}

#[test]
fn commands() {
    check("create a", Command::Create(create("a")));
    check("start a", Command::Start { id: "a".into() });
    let mounts = |action, id: &str| Command::Mounts { action, id: id.into(), file: "m.json".into() };
    check("mounts add a m.json", mounts(MountsAction::Add, "a"));
    check("mounts remove -- -a m.json", mounts(MountsAction::Remove, "-a"));
    refused("mounts change a m.json", "change");
    refused("mounts add a", "FILE");
    check("state a", Command::State { id: "a".into() });
    check("kill a", Command::Kill { id: "a".into(), signal: Signal::TERM, all: false, regex: false });
    check("kill --all a 9", Command::Kill { id: "a".into(), signal: Signal::KILL, all: true, regex: false });
    check(
        "kill -a a SIGKILL",
        Command::Kill { id: "a".into(), signal: Signal::KILL, all: true, regex: false },
    );
    check("delete a", Command::Delete { id: "a".into(), force: false, regex: false });
    check("delete --force a", Command::Delete { id: "a".into(), force: true, regex: false });
    check("delete a -f", Command::Delete { id: "a".into(), force: true, regex: false });
    check("list", Command::List { format: ListFormat::Table, quiet: false });
    check("list -q -f json", Command::List { format: ListFormat::Json, quiet: true });
    check("spec", Command::Spec { bundle: None, file: None, rootless: false });
    check("check /b --format json", Command::Check { bundle: Some("/b".into()), format: Format::Json });
    check(
        "plan -b /b --no-pivot",
        Command::Plan(Plan { bundle: Some("/b".into()), no_pivot: true, no_new_keyring: false }),
    );
    check(
        "create -f other.json a",
        Command::Create(Create { config: Some("other.json".into()), ..create("a") }),
    );
    check("features", Command::Features);
    check("info", Command::Info { format: Format::Text });
    check(
        "spec -b /b -f other.json --rootless",
        Command::Spec { bundle: Some("/b".into()), file: Some("other.json".into()), rootless: true },
    );
    check("run a", Command::Run(Run { create: create("a"), ..Run::default() }));
    check(
        "run -d --keep -no-subreaper -b /b a",
        Command::Run(Run {
            create: Create { bundle: Some("/b".into()), ..create("a") },
            detach: true,
            keep: true,
            no_subreaper: true,
        }),
    );
}

/// The create of conmon and of containerd's shim, all options.
#[test]
fn create_as_engines_call_it() {
    check(
        "create --bundle /b --pid-file /p --no-pivot --no-new-keyring --preserve-fds 2 --console-socket /s \
         --pidfd-socket /t a",
        Command::Create(Create {
            bundle: Some("/b".into()),
            console_socket: Some("/s".into()),
            pid_file: Some("/p".into()),
            pidfd_socket: Some("/t".into()),
            preserve_fds: 2,
            no_pivot: true,
            no_new_keyring: true,
            ..create("a")
        }),
    );
}

#[test]
fn flags_as_go_takes_them() {
    let bundle = |dir: &str| Command::Create(Create { bundle: Some(dir.into()), ..create("a") });
    check("create -bundle X a", bundle("X"));
    check("create -bundle=X a", bundle("X"));
    check("create --bundle=X a", bundle("X"));
    check("create --b X a", bundle("X"));
    check("create -b X -b Y a", bundle("Y"));
    check("create --bundle -x a", bundle("-x"));
    check("create --bundle=x=y a", bundle("x=y"));
    check("create a --bundle X", bundle("X"));
    check("delete --force=false a", Command::Delete { id: "a".into(), force: false, regex: false });
    check("delete -f=T a", Command::Delete { id: "a".into(), force: true, regex: false });
    check("delete -f -f=0 a", Command::Delete { id: "a".into(), force: false, regex: false });
    check("state -- -a", Command::State { id: "-a".into() });
}

#[test]
fn options_before_the_command() {
    let all = request(
        "--root /r --log /l --log-format json --log-level error --systemd-cgroup --rootless=false state a",
    );
    let expected = Global {
        root: "/r".into(),
        log: Some("/l".into()),
        log_format: Format::Json,
        log_level: Level::Error,
        debug: false,
        cgroup_manager: CgroupManager::Systemd,
        rootless: Rootless::No,
    };
    assert_eq!(all.global, expected);
    assert_eq!(parse(all.to_args(), &ROOT).unwrap(), all);
    let debug = request("--debug --rootless true state a");
    assert_eq!((debug.global.log_level, debug.global.rootless), (Level::Debug, Rootless::Yes));
    assert_eq!(parse(debug.to_args(), &ROOT).unwrap(), debug);
}

#[test]
fn who_manages_cgroups() {
    use CgroupManager::*;
    let check = |line: &str, expected| {
        let request = request(&format!("{line} state a"));
        assert_eq!(request.global.cgroup_manager, expected, "{line}");
        assert_eq!(parse(request.to_args(), &ROOT).unwrap(), request, "{line}");
    };
    check("", Cgroupfs);
    check("--systemd-cgroup", Systemd);
    check("--systemd-cgroup=false", Cgroupfs);
    check("--cgroup-manager systemd", Systemd);
    check("--cgroup-manager=disabled", Disabled);
    check("--systemd-cgroup --cgroup-manager cgroupfs", Cgroupfs);
    refused(
        "--cgroup-manager none state a",
        "invalid cgroup-manager: none: one of systemd, cgroupfs, disabled",
    );
}

#[test]
fn default_root() {
    let check = |is_root, dir: Option<&str>, root: &str| {
        let caller = Caller { is_root, runtime_dir: dir.map(PathBuf::from) };
        assert_eq!(parse(words("list"), &caller).unwrap().global.root, PathBuf::from(root));
    };
    check(true, None, "/run/rrunc");
    check(true, Some("/run/user/0"), "/run/rrunc");
    check(false, Some("/run/user/7"), "/run/user/7/rrunc");
    check(false, None, "/run/rrunc");
}

#[test]
fn refusals_name_what_is_wrong() {
    refused("--nope state a", "flag provided but not defined: --nope");
    refused("create -nope a", "flag provided but not defined: -nope");
    refused("delete -qf a", "flag provided but not defined: -qf");
    refused("create --root /r a", "flag provided but not defined: --root");
    refused("create --bundle", "flag needs an argument: --bundle");
    refused("--log", "flag needs an argument: --log");
    refused("create --bundle= a", "flag needs an argument: --bundle");
    refused("create", "\"create\" requires an argument: <ID>");
    refused("state a b", "\"state\" does not take the argument \"b\"");
    refused("--log-format xml state a", "invalid log-format: xml: one of text, json");
    refused("--log-level loud state a", "invalid log-level: loud");
    refused("--rootless maybe state a", "invalid rootless: maybe: true, false or auto");
    refused("list -f xml", "invalid format: xml");
    refused("kill a FOO", "invalid signal: FOO: a signal is a name");
    refused("create --preserve-fds x a", "invalid preserve-fds: x");
    refused("create --preserve-fds -1 a", "invalid preserve-fds: -1");
    refused("delete --force=maybe a", "invalid boolean value in --force=maybe");
    refused("nope a", "No help topic for 'nope'");
    for root in ["/", "//", "/.", "/run/..", "/../"] {
        refused(&format!("--root {root} list"), "--root /");
    }
}

#[test]
fn texts() {
    let text = |line: &str| match Line::parse(words(line), &ROOT).unwrap().command() {
        Ok(Asked::Text(text)) => text,
        other => panic!("{line}: {other:?}"),
    };
    for line in ["", "--help", "-h", "help", "--root /r --help state"] {
        assert!(text(line).contains("create  "), "{line}: {}", text(line));
    }
    for line in ["create --help", "create -h", "help create"] {
        assert!(text(line).contains("Usage: rrunc create [OPTIONS] <ID>"), "{line}: {}", text(line));
    }
    assert!(text("man run").contains("rrunc\\-run"), "{}", text("man run"));
    for shell in pages::SHELLS {
        assert!(text(&format!("completion {shell}")).contains("pid-file"));
    }
    for line in ["--version", "-v", "version"] {
        assert_eq!(Line::parse(words(line), &ROOT).unwrap().command().unwrap(), Asked::Version);
    }
}

/// clap's own consistency check of the definitions.
#[test]
fn definitions_are_sound() {
    define::whole().debug_assert();
}

#[test]
fn exec_and_ps_leave_flags_after_the_id_alone() {
    check(
        "exec -t --user 1:2 -e A=1 -e B=2 -g 3 --cap CAP_KILL a sh -c x --tty",
        Command::Exec(Box::new(Exec {
            id: "a".into(),
            args: ["sh", "-c", "x", "--tty"].map(String::from).into(),
            tty: true,
            user: Some(User { uid: 1, gid: Some(2) }),
            env: ["A=1", "B=2"].map(String::from).into(),
            additional_gids: vec![3],
            caps: vec!["CAP_KILL".into()],
            ..Exec::default()
        })),
    );
    check(
        "exec -p f --process-label l --apparmor q --pidfd-socket /s a",
        Command::Exec(Box::new(Exec {
            id: "a".into(),
            process: Some("f".into()),
            process_label: Some("l".into()),
            apparmor: Some("q".into()),
            pidfd_socket: Some("/s".into()),
            ..Exec::default()
        })),
    );
    check(
        "ps -f json a -o pid",
        Command::Ps {
            id: "a".into(),
            format: ListFormat::Json,
            options: ["-o", "pid"].map(String::from).into(),
        },
    );
    refused("exec --user 1x a b", "invalid user: 1x");
    check("pause a", Command::Pause { id: "a".into() });
    check("resume a", Command::Resume { id: "a".into() });
}

#[test]
fn limits_of_update_are_resources() {
    let limits =
        serde_json::json!({"memory": {"limit": 64 << 20, "swap": -1}, "cpu": {"cpus": "0-1", "quota": -1}});
    check(
        "update --memory 64m --memory-swap -1 --cpuset-cpus 0-1 --cpu-quota=-1 a",
        Command::Update(Box::new(Update {
            id: "a".into(),
            limits: limits.as_object().cloned().unwrap(),
            ..Update::default()
        })),
    );
    check(
        "update -r - a",
        Command::Update(Box::new(Update {
            id: "a".into(),
            resources: Some("-".into()),
            ..Update::default()
        })),
    );
    refused("update --memory 1x a", "invalid memory: 1x");
    refused("update --mem-bw-schema L3:0=f a", "begins with MB:");
    refused("update --l3-cache-schema MB:0=5 a", "begins with L3");
    refused("update --cpu-quota abc a", "invalid cpu-quota: abc");
    check(
        "events --stats --interval 500ms a",
        Command::Events { id: "a".into(), interval: Duration::from_millis(500), stats: true },
    );
}

#[test]
fn checkpoint_and_restore() {
    use super::criu::*;
    let images = |image_path: &str, work_path: &str| Images {
        image_path: Some(image_path.into()),
        work_path: Some(work_path.into()),
        ..Images::default()
    };
    // As containerd calls them.
    check(
        "checkpoint --image-path /i --work-path /w --tcp-established --ext-unix-sk --shell-job --file-locks --empty-ns \
         network --leave-running --status-fd 3 a",
        Command::Checkpoint(Box::new(Checkpoint {
            id: "a".into(),
            images: Images {
                tcp_established: true,
                ext_unix_sk: true,
                shell_job: true,
                file_locks: true,
                empty_ns: true,
                ..images("/i", "/w")
            },
            leave_running: true,
            status_fd: Some(3),
            ..Checkpoint::default()
        })),
    );
    check(
        "restore --image-path /i --work-path /w --detach --pid-file /p --no-pivot -no-subreaper --bundle /b a",
        Command::Restore(Box::new(Restore {
            id: "a".into(),
            images: images("/i", "/w"),
            bundle: Some("/b".into()),
            pid_file: Some("/p".into()),
            detach: true,
            no_subreaper: true,
            no_pivot: true,
            ..Restore::default()
        })),
    );
    // The rest of what there is.
    check(
        "checkpoint --pre-dump --parent-path ../p --lazy-pages --page-server [::1]:27 --auto-dedup --link-remap \
         --tcp-skip-in-flight --manage-cgroups-mode strict --network-lock nftables a",
        Command::Checkpoint(Box::new(Checkpoint {
            id: "a".into(),
            images: Images {
                lazy_pages: true,
                auto_dedup: true,
                manage_cgroups_mode: CgroupsMode::Strict,
                network_lock: Some(NetworkLock::Nftables),
                ..Images::default()
            },
            parent_path: Some("../p".into()),
            pre_dump: true,
            tcp_skip_in_flight: true,
            link_remap: true,
            page_server: "[::1]:27".parse().ok(),
            ..Checkpoint::default()
        })),
    );
    check(
        "restore --console-socket /s --tcp-close --lsm-profile selinux:l --lsm-mount-context c a",
        Command::Restore(Box::new(Restore {
            id: "a".into(),
            console_socket: Some("/s".into()),
            tcp_close: true,
            lsm_profile: Some("selinux:l".into()),
            lsm_mount_context: Some("c".into()),
            ..Restore::default()
        })),
    );
    for (line, text) in [
        ("checkpoint", "requires an argument"),
        (
            "checkpoint --manage-cgroups-mode x a",
            "invalid manage-cgroups-mode: x: one of soft, full, strict, ignore",
        ),
        ("checkpoint --empty-ns pid a", "invalid empty-ns: pid: one of network"),
        ("checkpoint --network-lock x a", "invalid network-lock: x"),
        ("checkpoint --status-fd x a", "invalid status-fd: x"),
        ("checkpoint --page-server 10.0.0.1 a", "use ADDRESS:PORT"),
        ("checkpoint --page-server :27 a", "use ADDRESS:PORT"),
        ("checkpoint --page-server ::1:27 a", "use ADDRESS:PORT"),
        ("checkpoint --page-server x:99999 a", "use ADDRESS:PORT"),
        ("checkpoint --bundle /b a", "flag provided but not defined: --bundle"),
        // Podman asks so whether a pod can be restored.
        ("restore --lsm-mount-context", "flag needs an argument"),
        ("restore --leave-running a", "flag provided but not defined: --leave-running"),
    ] {
        refused(line, text);
    }
}

#[test]
fn who_puts_a_process_into_a_container() {
    let check = |line: &str, expected| {
        let args = line.split(' ').map(OsString::from);
        assert_eq!(may_enter(args), expected, "{line}");
    };
    check("rrunc --root /x run -d c1", true);
    for command in ["create", "exec", "restore", "mounts", "checkpoint"] {
        check(&format!("rrunc {command} c1"), true);
    }
    for command in ["start", "state", "kill", "delete", "ps", "events", "update", "pause", "list"] {
        check(&format!("rrunc {command} c1"), false);
    }
}
