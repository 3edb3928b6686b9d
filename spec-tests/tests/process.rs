//! config.md#process: the program, its arguments, environment, directory, ids, limits.

use serde_json::json;
use spec_tests::*;

#[test]
fn args_reach_the_program_as_they_are() {
    obeys("config.md#process", |lab| {
        let seen = lab.bundle().ask(["args", "print a  b", "print \"$HOME\" *", "print"]);
        assert_eq!(seen["args"], json!(["/bin/inside", "args", "print a  b", "print \"$HOME\" *", "print"]));
    });
}

#[test]
fn the_program_is_looked_up_in_the_containers_path() {
    obeys("config.md#process", |lab| {
        // A directory and a file that isn't executable are passed over.
        let b = lab.bundle().directory("/zeroth/tool").file("/first/tool", "");
        let b = b.directory("/second").set("/process/env", ["PATH=/zeroth:/first:/second:/bin"]);
        std::os::unix::fs::symlink("/bin/inside", b.path("/second/tool")).unwrap();
        let seen = Inside::parse(&b.args(["tool", "args"]).run().ok().stdout());
        assert_eq!(seen["args"], json!(["tool", "args"]));
    });
}

#[test]
fn a_relative_program_is_relative_to_the_working_directory() {
    obeys("config.md#process", |lab| {
        let b = lab.bundle().args(["./true"]).set("/process/cwd", "/bin");
        b.run().ok();
    });
}

#[test]
fn a_program_that_cannot_be_executed_is_named() {
    obeys("config.md#process", |lab| {
        let cases: [(&str, &[&str]); 4] = [
            ("missing", &["executable file not found", "executable file `missing` not found"]),
            ("/no/such/program", &["no such file or directory"]),
            ("/bin", &["is a directory", "not a regular file", "permission denied", "not permitted"]),
            ("/etc/passwd", &["permission denied", "not executable"]),
        ];
        for (program, says) in cases {
            lab.bundle().args([program]).run().fails_saying(says);
        }
    });
}

#[test]
fn empty_args_are_refused() {
    obeys("config.md#process", |lab| {
        lab.bundle().set("/process/args", json!([])).container().create(&[]).fails();
        lab.bundle().without("/process/args").container().create(&[]).fails();
    });
}

#[test]
fn the_environment_is_that_of_the_config() {
    obeys("config.md#process", |lab| {
        let b = lab.bundle().set("/process/env", ["A=1", "EMPTY=", "PATH=/bin", "B=x=y z", "HOME=/here"]);
        let c = b.phrases(["environ"]).container();
        let ran = c.command("run", &[]).env("RUNTIME_ONLY", "1").run().ok();
        let mut seen: Vec<String> =
            serde_json::from_value(Inside::parse(&ran.stdout())["environ"].clone()).unwrap();
        seen.sort();
        assert_eq!(seen, ["A=1", "B=x=y z", "EMPTY=", "HOME=/here", "PATH=/bin"]);
    });
}

#[test]
fn the_last_of_a_repeated_variable_counts() {
    obeys("config.md#process", |lab| {
        let b = lab.bundle().set("/process/env", ["A=1", "PATH=/bin", "A=2", "A=3"]);
        assert_eq!(b.ask(["env"])["env"]["A"], "3");
    });
}

#[test]
fn home_comes_from_the_containers_passwd() {
    obeys("config.md#process", |lab| {
        for (uid, home) in [(0, "/root"), (1000, "/home/user")] {
            let seen = lab.bundle().set("/process/user/uid", uid).ask(["env"]);
            assert_eq!(seen["env"]["HOME"], home, "uid {uid}");
        }
        let seen = lab.bundle().set("/process/env", ["PATH=/bin", "HOME=/elsewhere"]).ask(["env"]);
        assert_eq!(seen["env"]["HOME"], "/elsewhere");
    });
}

/// As directories of whole companies have them, and behind a line that is longer than any buffer of ours.
#[test]
fn home_of_the_last_of_many_users() {
    obeys("config.md#process", |lab| {
        let users =
            (1..=60_000).map(|n| format!("u{n}:x:{n}00000:{n}:a name that is long:/home/u{n}:/bin/bash\n"));
        let comment = "c".repeat(20_000);
        let long = format!("long:x:77:77:{comment}:/home/long:/bin/sh\n");
        let last = "ann:x:1000:1000::/h3:/bin/sh\n";
        for file in
            [users.chain([last.into()]).collect(), format!("{long}{last}"), format!("x:{comment}\n{last}")]
        {
            let b = lab.bundle().file("/etc/passwd", &file).set("/process/user/uid", 1000);
            assert_eq!(b.ask(["env"])["env"]["HOME"], "/h3");
        }
        let b = lab.bundle().file("/etc/passwd", &long).set("/process/user/uid", 77);
        assert_eq!(b.ask(["env"])["env"]["HOME"], "/home/long");
    });
}

#[test]
fn home_of_an_unknown_user_is_the_root() {
    obeys("config.md#process", |lab| {
        assert_eq!(lab.bundle().set("/process/user/uid", 4242).ask(["env"])["env"]["HOME"], "/");
    });
}

#[test]
fn the_working_directory_is_set_and_made() {
    obeys("config.md#process", |lab| {
        assert_eq!(lab.bundle().set("/process/cwd", "/etc").ask(["cwd"])["cwd"], "/etc");
        let b = lab.bundle().set("/process/cwd", "/new/dir");
        let seen = b.ask(["cwd", "stat /new/dir"]);
        assert_eq!((&seen["cwd"], &seen["stat /new/dir"]["mode"]), (&json!("/new/dir"), &json!("0755")));
    });
}

#[test]
fn the_working_directory_must_be_an_absolute_path_to_a_directory() {
    obeys("config.md#process", |lab| {
        for cwd in ["relative", "", "/bin/true"] {
            lab.bundle().set("/process/cwd", cwd).run().fails();
        }
    });
}

#[test]
fn the_working_directory_of_a_user_may_be_one_that_only_he_can_enter() {
    obeys("config.md#process", |lab| {
        let b = lab.bundle().directory("/mine").mode("/mine", 0o700);
        std::os::unix::fs::chown(b.path("/mine"), Some(1000), Some(1000)).unwrap();
        let b = b.set("/process/user", json!({ "uid": 1000, "gid": 1000 })).set("/process/cwd", "/mine");
        assert_eq!(b.ask(["cwd"])["cwd"], "/mine");
    });
}

#[test]
fn the_working_directory_may_not_be_outside_of_the_root() {
    obeys("config.md#process", |lab| {
        for fd in 3..12 {
            let cwd = format!("/proc/self/fd/{fd}");
            let ran = lab.bundle().set("/process/cwd", cwd).phrases(["cwd", "ls .."]).run();
            assert_ne!(ran.code(), 0, "/proc/self/fd/{fd} could be entered");
        }
    });
}

#[test]
fn ids_and_groups_are_set() {
    obeys("config.md#posix-platform-user", |lab| {
        let user = json!({ "uid": 1000, "gid": 1001, "additionalGids": [5, 44, 100_000] });
        let seen = lab.bundle().set("/process/user", user).ask(["ids"]);
        let ids = &seen["ids"];
        assert_eq!([&ids["uid"], &ids["euid"], &ids["suid"]], [1000, 1000, 1000]);
        assert_eq!([&ids["gid"], &ids["egid"], &ids["sgid"]], [1001, 1001, 1001]);
        let groups: Vec<_> = ids["groups"].as_array().unwrap().iter().filter(|g| **g != 1001).collect();
        assert_eq!(groups, [5, 44, 100_000]);
    });
}

#[test]
fn groups_of_the_caller_are_dropped() {
    obeys("config.md#posix-platform-user", |lab| {
        let c = lab.bundle().phrases(["ids"]).container();
        c.bundle.write();
        let seen = Inside::parse(&c.run(&[]).ok().stdout());
        assert_eq!(seen["ids"]["groups"].as_array().unwrap().iter().find(|g| **g != 0), None);
    });
}

#[test]
fn dev_null_of_the_caller_does_not_become_the_users() {
    obeys("runtime.md#create", |lab| {
        use std::os::unix::fs::MetadataExt;
        let user = json!({ "uid": 1000, "gid": 1000 });
        lab.bundle().set("/process/user", user.clone()).args(["true"]).run().ok();
        lab.bundle().user_namespace(300_000).set("/process/user", user).args(["true"]).run().ok();
        let null = std::fs::metadata("/dev/null").unwrap();
        assert_eq!((null.uid(), null.gid()), (0, 0), "the container's stdin was /dev/null");
    });
}

#[test]
fn an_id_beyond_32_bits_is_refused() {
    obeys("config.md#posix-platform-user", |lab| {
        for id in [json!(4_294_967_296_u64), json!(-1)] {
            lab.bundle().set("/process/user/uid", id.clone()).run().fails();
            lab.bundle().set("/process/user/gid", id).run().fails();
        }
    });
}

#[test]
fn umask_is_0022_unless_told() {
    obeys("config.md#posix-platform-user", |lab| {
        assert_eq!(lab.bundle().ask(["umask"])["umask"], "0022");
        assert_eq!(lab.bundle().set("/process/user/umask", 0o27).ask(["umask"])["umask"], "0027");
    });
}

#[test]
fn rlimits_are_set() {
    obeys("config.md#posix-process", |lab| {
        let limits = json!([
            { "type": "RLIMIT_NOFILE", "soft": 64, "hard": 128 },
            { "type": "RLIMIT_CORE", "soft": 0, "hard": 0 },
            { "type": "RLIMIT_STACK", "soft": 1_048_576, "hard": 2_097_152 },
            { "type": "RLIMIT_CPU", "soft": 100, "hard": 200 },
            { "type": "RLIMIT_FSIZE", "soft": 1_000_000, "hard": 1_000_000 },
        ]);
        let seen = lab.bundle().set("/process/rlimits", limits.clone()).ask(["rlimits"]);
        for limit in limits.as_array().unwrap() {
            let name = limit["type"].as_str().unwrap();
            assert_eq!(seen["rlimits"][name], json!([limit["soft"], limit["hard"]]), "{name}");
        }
    });
}

#[test]
fn every_kind_of_rlimit_is_known() {
    obeys("config.md#posix-process", |lab| {
        let own = lab.bundle().ask(["rlimits"])["rlimits"].clone();
        let same = own.as_object().unwrap().iter();
        let same: Vec<_> = same.map(|(k, v)| json!({ "type": k, "soft": v[0], "hard": v[1] })).collect();
        assert_eq!(same.len(), 16);
        assert_eq!(lab.bundle().set("/process/rlimits", same).ask(["rlimits"])["rlimits"], own);
    });
}

#[test]
fn a_repeated_rlimit_is_refused() {
    obeys("config.md#posix-process", |lab| {
        let nofile = json!({ "type": "RLIMIT_NOFILE", "soft": 64, "hard": 64 });
        lab.bundle().set("/process/rlimits", json!([nofile, nofile])).run().fails_saying(&["rlimit"]);
    });
}

#[test]
fn an_unknown_rlimit_is_refused() {
    obeys("config.md#posix-process", |lab| {
        let unknown = json!({ "type": "RLIMIT_NOSUCH", "soft": 1, "hard": 1 });
        lab.bundle().set("/process/rlimits", json!([unknown])).run().fails_saying(&["rlimit"]);
    });
}

#[test]
fn a_soft_rlimit_above_the_hard_one_is_refused() {
    obeys("config.md#posix-process", |lab| {
        let turned = json!({ "type": "RLIMIT_NOFILE", "soft": 65, "hard": 64 });
        lab.bundle().set("/process/rlimits", json!([turned])).run().fails_saying(&["rlimit"]);
    });
}

#[test]
fn oom_score_adj_is_set_and_else_inherited() {
    obeys("config.md#linux-process", |lab| {
        let read = "read /proc/self/oom_score_adj";
        let own = std::fs::read_to_string("/proc/self/oom_score_adj").unwrap();
        assert_eq!(lab.bundle().ask([read])[read], own);
        assert_eq!(lab.bundle().set("/process/oomScoreAdj", 500).ask([read])[read], "500\n");
    });
}

#[test]
fn oom_score_adj_can_be_lowered() {
    obeys("config.md#linux-process", |lab| {
        needs(machine::may_raise_limits(), "CAP_SYS_RESOURCE, to lower oom_score_adj");
        let read = "read /proc/self/oom_score_adj";
        assert_eq!(lab.bundle().set("/process/oomScoreAdj", -500).ask([read])[read], "-500\n");
    });
}

#[test]
fn no_new_privileges_is_set_only_when_asked() {
    obeys("config.md#linux-process", |lab| {
        let ask = "status NoNewPrivs";
        assert_eq!(lab.bundle().ask([ask])[ask], "0");
        assert_eq!(lab.bundle().set("/process/noNewPrivileges", false).ask([ask])[ask], "0");
        assert_eq!(lab.bundle().set("/process/noNewPrivileges", true).ask([ask])[ask], "1");
    });
}

#[test]
fn the_program_starts_with_default_signals() {
    obeys("runtime.md#start", |lab| {
        let seen = lab.bundle().ask(["status SigBlk", "status SigIgn"]);
        let bits = |ask| u64::from_str_radix(seen[ask].as_str().unwrap(), 16).unwrap();
        assert_eq!(bits("status SigBlk"), 0, "blocked signals");
        // The helper's own start-up ignores SIGPIPE; from 32 on they are the caller's and the libc's business.
        assert_eq!(bits("status SigIgn") & 0x7fff_ffff & !(1 << 12), 0, "ignored signals");
    });
}

#[test]
fn the_program_is_the_first_of_its_namespace_and_session() {
    obeys("runtime.md#start", |lab| {
        let seen = lab.bundle().ask(["status PPid", "pid", "tty"]);
        assert_eq!((&seen["status PPid"], &seen["pid"]), (&json!("0"), &json!(1)));
        assert_eq!(seen["tty"]["session"], 1, "a session of its own");
    });
}

#[test]
fn the_session_keyring_is_new_unless_told() {
    obeys("runtime.md#create", |lab| {
        // KEYCTL_GET_KEYRING_ID of the session keyring, without creating one
        let ask = "syscall keyctl 0 -3 0";
        let keyring = |options: &[&str]| {
            let ran = lab.bundle().phrases([ask]).container().run(options).ok();
            Inside::parse(&ran.stdout())[ask].clone()
        };
        let fresh = [keyring(&[]), keyring(&[])];
        assert!(fresh.iter().all(|k| k.is_i64()), "{fresh:?}");
        assert_ne!(fresh[0], fresh[1]);
        assert_eq!(keyring(&["--no-new-keyring"]), keyring(&["--no-new-keyring"]));
    });
}

#[test]
fn the_session_keyring_is_named_and_can_be_searched() {
    obeys("runtime.md#create", |lab| {
        let container = lab.bundle().phrases(["read /proc/keys"]).container();
        let ran = container.run(&[]).ok();
        let name = format!("_ses.{}", container.id);
        // id, flags, usage, expiry, permissions, uid, gid, type, description
        let keys = Inside::parse(&ran.stdout())["read /proc/keys"].as_str().unwrap().to_owned();
        let key: Vec<&str> = keys
            .lines()
            .map(|line| line.split_whitespace().collect::<Vec<_>>())
            .find(|key| key.get(8).is_some_and(|description| description.starts_with(&name)))
            .unwrap_or_else(|| panic!("no {name} in {keys}"));
        // All to who has it; its user can find it, by which processes of `exec` get it.
        let permissions = u32::from_str_radix(key[4], 16).unwrap();
        assert_eq!((permissions & 0x3f08_0000, key[7]), (0x3f08_0000, "keyring"));
    });
}

#[test]
fn a_scheduling_policy_is_set() {
    obeys("config.md#linux-process", |lab| {
        let (policy, nice) = ("syscall sched_getscheduler 0", "syscall getpriority 0 0");
        let scheduler = json!({ "policy": "SCHED_BATCH", "nice": 7 });
        let seen = lab.bundle().set("/process/scheduler", scheduler).ask([policy, nice]);
        assert_eq!((&seen[policy], &seen[nice]), (&json!(libc::SCHED_BATCH), &json!(20 - 7)));
    });
}

/// The others need a right, which the program itself doesn't get.
#[test]
fn every_scheduling_policy_is_known() {
    obeys("config.md#linux-process", |lab| {
        needs(machine::capability(23), "CAP_SYS_NICE");
        let (policy, sched) = ("syscall sched_getscheduler 0", "read /proc/self/sched");
        let reset_on_fork = 0x4000_0000; // sched_getscheduler(2)
        // What proc shows is the kernel's own priority: 99 less that of a real-time policy, or 120 and the nice value.
        for (scheduler, number, prio) in [
            (json!({"policy": "SCHED_OTHER", "nice": 3}), libc::SCHED_OTHER, 123),
            (json!({"policy": "SCHED_IDLE"}), libc::SCHED_IDLE, 120),
            (json!({"policy": "SCHED_FIFO", "priority": 7}), libc::SCHED_FIFO, 92),
            (json!({"policy": "SCHED_RR", "priority": 99}), libc::SCHED_RR, 0),
            (
                json!({"policy": "SCHED_RR", "priority": 1, "flags": ["SCHED_FLAG_RESET_ON_FORK"]}),
                libc::SCHED_RR | reset_on_fork,
                98,
            ),
            (
                json!({"policy": "SCHED_DEADLINE", "runtime": 2_000_000, "deadline": 40_000_000, "period": 60_000_000}),
                libc::SCHED_DEADLINE,
                -1,
            ),
        ] {
            let b = lab.bundle().set("/process/scheduler", scheduler.clone());
            let seen = b.ask([policy, sched]);
            assert_eq!(seen[policy], number, "{scheduler}");
            let text = seen[sched].as_str().unwrap();
            let fields = text.lines().filter_map(|line| line.split_once(':'));
            let mut fields = fields.map(|(name, value)| (name.trim(), value.trim()));
            let seen = fields.find_map(|(name, value)| (name == "prio").then_some(value));
            assert_eq!(seen, Some(prio.to_string().as_str()), "{scheduler}");
        }
    });
}

#[test]
fn an_io_priority_is_set() {
    obeys("config.md#linux-process", |lab| {
        let ask = "syscall ioprio_get 1 0";
        for (class, priority, number) in [
            ("IOPRIO_CLASS_BE", 6, 2 << 13 | 6),
            ("IOPRIO_CLASS_RT", 2, 1 << 13 | 2),
            ("IOPRIO_CLASS_IDLE", 0, 3 << 13),
        ] {
            let wanted = json!({ "class": class, "priority": priority });
            let seen = lab.bundle().set("/process/ioPriority", wanted).ask([ask]);
            assert_eq!(seen[ask], number, "{class}");
        }
    });
}

#[test]
fn memory_comes_from_the_nodes_that_are_asked_for() {
    obeys("config-linux.md#memory-policy", |lab| {
        for (policy, expected) in [
            (json!({"mode": "MPOL_BIND", "nodes": "0"}), "bind:0"),
            (
                json!({"mode": "MPOL_PREFERRED", "nodes": "0", "flags": ["MPOL_F_STATIC_NODES"]}),
                "prefer=static:0",
            ),
            (json!({"mode": "MPOL_INTERLEAVE", "nodes": "0-0"}), "interleave:0"),
            (json!({"mode": "MPOL_LOCAL"}), "local"),
        ] {
            let b = lab.bundle().set("/ociVersion", "1.3.0").set("/linux/memoryPolicy", policy.clone());
            let seen = b.ask(["read /proc/self/numa_maps"]);
            let maps = seen["read /proc/self/numa_maps"].as_str().expect("text").to_owned();
            assert!(maps.contains(&format!(" {expected} ")), "{policy}: {maps}");
        }
        let b = lab.bundle().set("/linux/memoryPolicy", json!({"mode": "MPOL_BIND", "nodes": "1000"}));
        b.run().fails();
    });
}
