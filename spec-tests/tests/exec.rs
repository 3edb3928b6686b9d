//! `exec`: another process in a container. The specification has no such operation; runc's command line is what
//! engines call, so it is runc's that is asked for.

use std::fs;

use nix::sys::signal::Signal;
use serde_json::{Value, json};
use spec_tests::*;

const SECTION: &str = "runtime.md#operations";

/// A container whose program sleeps.
fn sleeping(bundle: Bundle<'_>) -> Container<'_> {
    bundle.phrases(["sleep"]).start()
}

/// Runs the helper by exec, with these options.
fn exec(c: &Container, options: &[&str], phrases: &[&str]) -> Ran {
    let id = [c.id.as_str(), "/bin/inside"];
    let line = ["exec"].iter().chain(options).chain(&id).chain(phrases);
    c.lab().run(line.copied())
}

fn ask(c: &Container, options: &[&str], phrases: &[&str]) -> Inside {
    Inside::parse(&exec(c, options, phrases).ok().stdout())
}

/// Runs a process that is described in a file.
fn exec_file(c: &Container, process: &Value) -> Ran {
    let file = c.lab().dir().join("process.json");
    fs::write(&file, process.to_string()).unwrap();
    c.lab().run(["exec", "--process", file.to_str().unwrap(), &c.id])
}

#[test]
fn the_status_is_the_programs() {
    obeys(SECTION, |lab| {
        let c = sleeping(lab.bundle());
        assert_eq!(exec(&c, &[], &["exit 7"]).code(), 7);
        assert_eq!(exec(&c, &[], &["raise SIGKILL"]).code(), 128 + 9);
        assert_eq!(c.status(), "running");
    });
}

#[test]
fn it_is_in_all_namespaces_and_the_cgroup_of_the_container() {
    obeys(SECTION, |lab| {
        let c = sleeping(lab.bundle().namespace("time", None).set("/hostname", "there"));
        let seen = ask(&c, &[], &["ns", "cgroup", "hostname", "pid"]);
        let pid = c.pid();
        for kind in ["mnt", "pid", "ipc", "uts", "net", "cgroup", "time", "user"] {
            let of_init = fs::read_link(format!("/proc/{pid}/ns/{kind}")).unwrap();
            assert_eq!(seen["ns"][kind], of_init.to_string_lossy().as_ref(), "{kind}");
        }
        assert_eq!(seen["hostname"], "there");
        assert_ne!(seen["pid"], 1);
        let cgroup = seen["cgroup"].as_array().unwrap();
        assert!(cgroup.contains(&json!("0::/")), "{cgroup:?}");
    });
}

#[test]
fn it_is_like_the_containers_process() {
    obeys(SECTION, |lab| {
        let b = lab
            .bundle()
            .set("/process/user", json!({"uid": 5, "gid": 6, "additionalGids": [7], "umask": 0o27}))
            .set("/process/env", json!(["PATH=/bin", "A=1"]))
            .set("/process/cwd", "/tmp")
            .set("/process/noNewPrivileges", true)
            .set("/process/rlimits", json!([{"type": "RLIMIT_NOFILE", "soft": 64, "hard": 128}]))
            .directory("/tmp");
        let seen = ask(&sleeping(b), &[], &["ids", "env", "cwd", "umask", "status NoNewPrivs", "rlimits"]);
        assert_eq!(seen["ids"]["uid"], json!(5));
        assert_eq!(seen["ids"]["gid"], json!(6));
        assert_eq!(seen["ids"]["groups"], json!([7]));
        assert_eq!(seen["env"]["A"], "1");
        assert_eq!(seen["cwd"], "/tmp");
        assert_eq!(seen["status NoNewPrivs"], "1");
        assert_eq!(seen["rlimits"]["RLIMIT_NOFILE"], json!([64, 128]));
    });
}

#[test]
fn options_say_otherwise() {
    obeys(SECTION, |lab| {
        let c = sleeping(
            lab.bundle()
                .directory("/tmp")
                .set("/process/env", json!(["PATH=/bin", "A=1"]))
                .set("/process/user/gid", 13),
        );
        let options =
            ["--user", "8:9", "-g", "10", "-g", "11", "--cwd", "/tmp", "--env", "A=2", "--env", "B=3"];
        let seen = ask(&c, &options, &["ids", "env", "cwd"]);
        assert_eq!(seen["ids"]["uid"], json!(8));
        assert_eq!(seen["ids"]["gid"], json!(9));
        assert_eq!(seen["ids"]["groups"], json!([10, 11]));
        assert_eq!((&seen["env"]["A"], &seen["env"]["B"]), (&json!("2"), &json!("3")));
        assert_eq!(seen["cwd"], "/tmp");
        let seen = ask(&c, &["-u", "12", "--no-new-privs"], &["ids", "status NoNewPrivs"]);
        assert_eq!(seen["ids"]["uid"], json!(12));
        assert_eq!(seen["ids"]["gid"], json!(13));
        assert_eq!(seen["status NoNewPrivs"], "1");
    });
}

#[test]
fn capabilities_are_the_containers_and_those_added() {
    obeys(SECTION, |lab| {
        let sets = json!({"bounding": ["CAP_KILL"], "effective": ["CAP_KILL"], "permitted": ["CAP_KILL"]});
        let c = sleeping(lab.bundle().set("/process/capabilities", sets));
        let seen = ask(&c, &[], &["caps"]);
        for set in ["CapPrm", "CapEff", "CapBnd"] {
            assert_eq!(seen["caps"][set], "0000000000000020", "{set}");
        }
        let seen = ask(&c, &["--cap", "CAP_NET_RAW"], &["caps"]);
        for set in ["CapPrm", "CapEff", "CapBnd"] {
            assert_eq!(seen["caps"][set], "0000000000002020", "{set}");
        }
        // CVE-2022-29162
        assert_eq!(seen["caps"]["CapInh"], "0000000000000000");
    });
}

#[test]
fn nothing_is_granted_where_the_container_has_nothing() {
    obeys(SECTION, |lab| {
        let c = sleeping(lab.bundle());
        let seen = ask(&c, &[], &["caps"]);
        for set in ["CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"] {
            assert_eq!(seen["caps"][set], "0000000000000000", "{set}");
        }
    });
}

/// CVE-2026-30892: what isn't a number is no user.
#[test]
fn a_user_is_a_number() {
    obeys(SECTION, |lab| {
        let c = sleeping(lab.bundle());
        for user in ["1000x", "-1", "1000:", ":", "0x0", "4294967296", "root", "1:2:3", " 1"] {
            exec(&c, &["--user", user], &["ids"]).fails();
        }
    });
}

#[test]
fn a_process_comes_from_a_file() {
    obeys(SECTION, |lab| {
        let c = sleeping(lab.bundle().directory("/tmp"));
        let process = json!({
            "user": {"uid": 3, "gid": 4, "additionalGids": [5]}, "cwd": "/tmp", "env": ["PATH=/bin", "X=y"],
            "args": ["/bin/inside", "ids", "cwd", "env", "caps", "args"],
            "capabilities": {"bounding": ["CAP_CHOWN"]},
        });
        let seen = Inside::parse(&exec_file(&c, &process).ok().stdout());
        assert_eq!(seen["ids"]["uid"], json!(3));
        assert_eq!(seen["cwd"], "/tmp");
        assert_eq!(seen["env"]["X"], "y");
        assert_eq!(seen["caps"]["CapBnd"], "0000000000000001");
    });
}

#[test]
fn a_file_with_faults_is_refused() {
    obeys(SECTION, |lab| {
        let c = sleeping(lab.bundle());
        let good = json!({"user": {"uid": 0, "gid": 0}, "cwd": "/", "env": ["PATH=/bin"], "args": ["true"]});
        exec_file(&c, &good).ok();
        for (path, value) in [
            ("/cwd", json!("relative")),
            ("/args", json!([])),
            ("/user", json!("root")),
            ("/env", json!("A=1")),
        ] {
            let mut bad = good.clone();
            *bad.pointer_mut(path).unwrap() = value;
            exec_file(&c, &bad).fails();
        }
        let file = lab.dir().join("broken.json");
        fs::write(&file, "{").unwrap();
        lab.run(["exec", "-p", file.to_str().unwrap(), &c.id]).fails();
        lab.run(["exec", "-p", "/no/such/file", &c.id]).fails();
    });
}

#[test]
fn what_cannot_be_executed_is_255() {
    obeys(SECTION, |lab| {
        let c = sleeping(lab.bundle().file("/plain", "text").directory("/directory"));
        for (program, texts) in [
            ("nope", ["executable file not found in $path", "executable file `nope` not found in $path"]),
            ("/no/such", ["no such file or directory"; 2]),
            ("/plain", ["permission denied", "not executable"]),
            ("/directory", ["is a directory", "not a regular file"]),
        ] {
            let ran = lab.run(["exec", &c.id, program]).fails_saying(&texts);
            assert_eq!(ran.code(), 255, "{program}");
        }
        assert_eq!(lab.run(["exec", &c.id]).fails().code(), 255);
    });
}

#[test]
fn there_must_be_a_container_that_runs() {
    obeys(SECTION, |lab| {
        let c = sleeping(lab.bundle());
        c.kill(&["KILL"]).ok();
        c.wait_for("stopped");
        lab.run(["exec", &c.id, "true"]).fails_saying(&["stopped", "not running"]);
        lab.run(["exec", "no-such", "true"]).fails_saying(&["does not exist"]);
    });
}

#[test]
fn flags_after_the_program_are_its_own() {
    obeys(SECTION, |lab| {
        let c = sleeping(lab.bundle());
        let ran = lab.run(["exec", &c.id, "sh", "-c", "echo $0 $@", "--tty", "-d", "--", "x"]).ok();
        assert_eq!(ran.stdout(), "--tty -d -- x\n");
    });
}

#[test]
fn detached_it_goes_on_and_its_pid_is_written() {
    obeys(SECTION, |lab| {
        let c = sleeping(lab.bundle());
        let file = lab.dir().join("pid");
        exec(&c, &["--detach", "--pid-file", file.to_str().unwrap()], &["to /answer", "pid", "sleep"]).ok();
        let pid = fs::read_to_string(&file).unwrap();
        let pid: i32 = pid.parse().expect("a number, and nothing else");
        let seen = c.wait_for_answer("/answer", "pid");
        let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
        let inner = status.lines().find_map(|l| l.strip_prefix("NSpid:")).unwrap();
        assert_eq!(inner.split_whitespace().last(), Some(seen["pid"].to_string().as_str()));
        c.delete(&["--force"]).ok();
        eventually("the end of it, with the container", || {
            (!std::path::Path::new(&format!("/proc/{pid}")).exists()).then_some(())
        });
    });
}

#[test]
fn only_the_streams_are_inherited() {
    obeys(SECTION, |lab| {
        let c = sleeping(lab.bundle());
        let seen = ask(&c, &[], &["fds"]);
        let mut fds: Vec<_> = seen["fds"].as_object().unwrap().keys().map(String::as_str).collect();
        fds.sort_unstable();
        // One is the directory that is being read.
        assert!(fds.len() <= 4 && fds[..3] == ["0", "1", "2"], "{seen:?}");
    });
}

/// CVE-2024-21626
#[test]
fn the_directory_cannot_be_one_of_the_hosts() {
    obeys(SECTION, |lab| {
        let c = sleeping(lab.bundle());
        for fd in 3..20 {
            exec(&c, &["--cwd", &format!("/proc/self/fd/{fd}")], &["cwd"]).fails();
        }
    });
}

#[test]
fn standard_input_is_passed_on() {
    obeys(SECTION, |lab| {
        let c = sleeping(lab.bundle());
        let file = lab.dir().join("input");
        fs::write(&file, "some text").unwrap();
        let command = lab.command(["exec", &c.id, "cat"]);
        let ran = command.redirect(&format!("<{}", file.display())).run().ok();
        assert_eq!(ran.stdout(), "some text");
    });
}

#[test]
fn with_a_terminal() {
    obeys(SECTION, |lab| {
        let b = lab.bundle().mount("/dev", "tmpfs", "tmpfs", &["mode=755"]);
        let b = b.mount("/dev/pts", "devpts", "devpts", &["newinstance", "ptmxmode=0666", "mode=0620"]);
        let c = sleeping(b);
        let socket = FdSocket::listen(lab.dir().join("console"));
        let options = ["--tty", "--detach", "--console-socket", socket.path()];
        exec(&c, &options, &["tty", "sleep"]).ok();
        let mut terminal = socket.receive_terminal();
        let text = terminal.read_until("\"ask\":\"tty\"}\n").to_owned();
        let tty = &Inside::parse(&text)["tty"];
        assert_eq!(tty["terminals"], json!([true, true, true]));
        assert_eq!(tty["name"], "/dev/pts/0");
        assert_eq!(tty["controlling"], "ok");
        let detached = exec(&c, &["--tty", "--detach"], &["tty"]);
        detached.fails_saying(&["cannot allocate tty if", "console-socket"]);
    });
}

#[test]
fn seccomp_is_the_containers() {
    obeys("config-linux.md#seccomp", |lab| {
        let rules = json!([{"names": ["getpriority"], "action": "SCMP_ACT_ERRNO", "errnoRet": 99}]);
        for no_new_privileges in [false, true] {
            let b = lab
                .bundle()
                .set("/process/noNewPrivileges", no_new_privileges)
                .set("/linux/seccomp", json!({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": rules}));
            let seen = ask(&sleeping(b), &[], &["syscall getpriority 0 0", "status Seccomp"]);
            assert_eq!(seen["syscall getpriority 0 0"], "EADDRNOTAVAIL");
            assert_eq!(seen["status Seccomp"], "2");
        }
    });
}

#[test]
fn in_a_user_namespace() {
    obeys("config-linux.md#user-namespace-mappings", |lab| {
        let c = sleeping(lab.bundle().user_namespace(100_000));
        let seen = ask(&c, &["--user", "7:8"], &["ids", "ns"]);
        assert_eq!(seen["ids"]["uid"], json!(7));
        let of_init = fs::read_link(format!("/proc/{}/ns/user", c.pid())).unwrap();
        assert_eq!(seen["ns"]["user"], of_init.to_string_lossy().as_ref());
    });
}

#[test]
fn without_a_mount_namespace() {
    obeys(SECTION, |lab| {
        let b = lab.bundle().without_namespace("mount").set("/mounts", json!([]));
        let c = sleeping(b);
        let seen = ask(&c, &[], &["ls /"]);
        assert!(seen["ls /"].as_array().unwrap().contains(&json!("bin")), "{seen:?}");
        assert!(!seen["ls /"].as_array().unwrap().contains(&json!("boot")), "{seen:?}");
    });
}

#[test]
fn in_a_container_that_waits_for_its_start() {
    obeys(SECTION, |lab| {
        let c = lab.bundle().phrases(["sleep"]).create();
        assert_eq!(exec(&c, &[], &["exit 3"]).code(), 3);
        assert_eq!(c.status(), "created");
    });
}

#[test]
fn signals_are_passed_on() {
    obeys(SECTION, |lab| {
        let c = sleeping(lab.bundle());
        let line = [
            "exec",
            &c.id,
            "/bin/inside",
            "block SIGTERM",
            "to /answer",
            "print ready",
            "await SIGTERM",
            "exit 5",
        ];
        let running = lab.command(line).spawn();
        c.wait_for_answer("/answer", "print ready");
        running.signal(Signal::SIGTERM);
        assert_eq!(running.wait().code(), 5);
    });
}

#[test]
fn a_cgroup_below_the_containers() {
    obeys("config-linux.md#cgroups-path", |lab| {
        let c = sleeping(lab.bundle());
        let sub = c.cgroup().join("sub");
        fs::create_dir(&sub).unwrap();
        let seen = ask(&c, &["--cgroup", "sub"], &["cgroup"]);
        assert!(seen["cgroup"].as_array().unwrap().contains(&json!("0::/sub")), "{seen:?}");
        for path in ["..", "../x", "sub/../../x"] {
            exec(&c, &["--cgroup", path], &["cgroup"]).fails();
        }
        exec(&c, &["--cgroup", "missing"], &["cgroup"]).fails();
    });
}

/// config.md, process.execCPUAffinity: of the process before it is in the container's cgroup, and of its program.
#[test]
fn it_runs_on_the_cpus_that_are_asked_for() {
    obeys("config.md#linux-process", |lab| {
        let online = fs::read_to_string("/sys/devices/system/cpu/online").unwrap();
        needs(online.trim() != "0", "two CPUs");
        let ask = "status Cpus_allowed_list";
        let c = sleeping(lab.bundle().set("/process/execCPUAffinity", json!({"initial": "0", "final": "1"})));
        let init = fs::read_to_string(format!("/proc/{}/status", c.pid())).unwrap();
        let all = init.lines().find_map(|l| l.strip_prefix("Cpus_allowed_list:\t"));
        assert_eq!(all, Some(online.trim()), "it is not for the container's first process");
        assert_eq!(self::ask(&c, &[], &[ask])[ask], "1");

        let asked = |affinity: Value| {
            exec_file(
                &c,
                &json!({"user": {"uid": 0, "gid": 0}, "cwd": "/", "env": ["PATH=/bin"],
                    "args": ["/bin/inside", ask], "execCPUAffinity": affinity}),
            )
        };
        for (last, seen) in [("0", "0"), ("0-1", "0-1"), ("0,1", "0-1")] {
            let ran = asked(json!({"initial": "1", "final": last})).ok();
            assert_eq!(Inside::parse(&ran.stdout())[ask], seen, "{last}");
        }
        let ran = asked(json!({"final": "1"})).ok();
        assert_eq!(Inside::parse(&ran.stdout())[ask], "1");
        for wrong in ["x", "1-", "0-4096000"] {
            asked(json!({"final": wrong})).fails();
            asked(json!({"initial": wrong})).fails();
        }
    });
}

#[test]
fn the_pidfd_comes_over_its_socket() {
    obeys(SECTION, |lab| {
        let c = sleeping(lab.bundle());
        let socket = FdSocket::listen(lab.dir().join("pidfd.sock"));
        let file = lab.dir().join("pid");
        let file = file.to_str().unwrap();
        let options = ["--detach", "--pid-file", file, "--pidfd-socket", socket.path()];
        exec(&c, &options, &["sleep"]).ok();
        let (pidfd, _) = socket.receive();
        let info = format!("/proc/self/fdinfo/{}", std::os::fd::AsRawFd::as_raw_fd(&pidfd));
        let info = fs::read_to_string(info).unwrap();
        let pid = format!("Pid:\t{}", fs::read_to_string(file).unwrap());
        assert!(info.lines().any(|line| line == pid), "{pid}: {info}");
        let nobody = lab.dir().join("nobody.sock");
        exec(&c, &["--pidfd-socket", nobody.to_str().unwrap()], &["pid"]).fails();
    });
}

/// What would confine the program is never left away.
#[test]
fn a_profile_needs_apparmor() {
    obeys("config.md#linux-process", |lab| {
        needs(!machine::apparmor(), "a kernel without AppArmor");
        let c = sleeping(lab.bundle());
        exec(&c, &["--apparmor", "some-profile"], &["pid"]).fails_saying(&["apparmor"]);
    });
}

#[test]
fn a_label_needs_selinux() {
    obeys("config.md#linux-process", |lab| {
        needs(!machine::selinux(), "a kernel without SELinux");
        let c = sleeping(lab.bundle());
        let label = "system_u:system_r:container_t:s0";
        exec(&c, &["--process-label", label], &["pid"]).fails_saying(&["selinux", "attr/exec"]);
    });
}

#[test]
fn the_bundles_config_is_not_read_again() {
    obeys(SECTION, |lab| {
        let c = sleeping(lab.bundle().set("/process/env", json!(["PATH=/bin", "A=1"])));
        fs::write(c.bundle.dir().join("config.json"), "{}").unwrap();
        assert_eq!(ask(&c, &[], &["env"])["env"]["A"], "1");
    });
}

#[test]
fn fds_are_preserved() {
    obeys(SECTION, |lab| {
        let c = sleeping(lab.bundle());
        let line = ["exec", "--preserve-fds", "2", &c.id, "/bin/inside", "fds"];
        let ran = lab.command(line).redirect("3</dev/zero 4</dev/full 5</dev/zero").run().ok();
        let seen = Inside::parse(&ran.stdout());
        assert_eq!((&seen["fds"]["3"], &seen["fds"]["4"]), (&json!("/dev/zero"), &json!("/dev/full")));
        assert_ne!(seen["fds"]["5"], "/dev/zero");
    });
}

#[test]
fn many_leave_nothing_behind() {
    obeys(SECTION, |lab| {
        let c = sleeping(lab.bundle());
        for _ in 0..50 {
            exec(&c, &[], &["exit 0"]).ok();
        }
        let procs = fs::read_to_string(c.cgroup().join("cgroup.procs")).unwrap();
        assert_eq!(procs.lines().count(), 1, "{procs}");
    });
}
