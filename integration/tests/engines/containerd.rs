//! containerd with its own runc shim and our binary in runc's place, or with our shim.

#[path = "containerd_shim.rs"]
mod shim; // what is the shim's part

use crate::podman::life::{COUNT_BY_NAME, beyond};
use crate::shell::{
    COUNT, MOUNTS, Shell, alone, has_controllers, has_systemd, is_ours, needs, needs_apparmor,
    needs_controllers, runtime, user,
};

/// `ctr run` with these options, as the test's own task.
fn run(sh: &Shell, options: &str, command: &str) -> crate::shell::Ran {
    sh.run(&format!("ctr run {} {options} docker.io/library/bb:latest @ {command}", binary("@")))
}

/// The runtime, and a cgroup for the task of this name: systemd's where that runs.
fn binary(name: &str) -> String {
    // Of a shim that isn't containerd's own, ctr knows no options but a file of them.
    let (runtime, systemd) = match runtime().as_str() {
        "shim" => {
            ("--runtime io.containerd.rrunc.v2".to_string(), "--runtime-config-path /tmp/systemd-cgroup.toml")
        }
        runtime => (format!("--runc-binary {runtime}"), "--runc-systemd-cgroup"),
    };
    let cgroup = match has_systemd() {
        true => format!("{systemd} --cgroup system.slice:ctr:{name}"),
        // Without shares and quota there is nothing that this machine's cgroup v2 could lack.
        false => "--cpu-shares 0".into(),
    };
    format!("{runtime} {cgroup}")
}

/// A task goes on with its own count, which is saved with it.
#[test]
fn checkpoint_and_restore() {
    user(|sh| {
        crate::podman::life::needs_criu();
        start(sh, &format!("sh -c '{COUNT_BY_NAME} >/count; sleep 0.1; done'"));
        let count = "ctr tasks exec --exec-id $$ @ cat /count";
        sh.until(&format!("{count} | awk '$2 > 2 {{ print \"counts\" }}'"), "counts");
        sh.ok("ctr containers checkpoint --rw --task @ @-saved");
        assert!(sh.ok("ctr tasks ls").contains("RUNNING"), "it goes on");
        let last = sh.ok(count);
        remove(sh);
        sh.ok("ctr containers restore --live @ @-saved >/tmp/@ 2>&1 </dev/null &");
        sh.until(&format!("{count} | {}", beyond(&last)), "beyond");
        remove(sh);
        sh.ok("ctr images rm @-saved; rm /tmp/@");
    });
}

fn start(sh: &Shell, command: &str) {
    run(sh, "--detach", command).ends_with(0);
}

/// The line that prints a task's status.
fn status(ctr: &str, task: &str) -> String {
    format!("{ctr} tasks ls | awk '$1 == \"{task}\" {{ print $3 }}'")
}

/// Writes what containerd tells to /tmp/@.events, beginning before this returns.
fn listen(sh: &Shell) {
    sh.ok("ctr events >/tmp/@.events 2>&1 & echo $! >/tmp/@.pid");
    sh.until(
        "ctr namespaces label default listener=@; grep -o /namespaces/update /tmp/@.events",
        "/namespaces/update",
    );
}

fn stop_listening(sh: &Shell) {
    sh.ok("kill $(cat /tmp/@.pid); rm /tmp/@.events /tmp/@.pid");
}

fn remove(sh: &Shell) {
    sh.run("ctr tasks kill -s KILL @");
    sh.until("ctr tasks rm -f @ >/dev/null 2>&1; ctr tasks ls -q | grep -cx @; true", "0");
    sh.ok("ctr containers rm @");
}

#[test]
fn the_runtime_is_the_one_that_was_told() {
    user(|sh| {
        start(sh, "sleep 1000");
        let shim = if is_ours() { "rrunc" } else { "runc" };
        sh.is_known(&format!("--root /run/containerd/{shim}/default"), &sh.name);
        remove(sh);
    });
}

#[test]
fn the_status_is_the_programs() {
    user(|sh| {
        run(sh, "--rm", "sh -c 'echo out; exit 3'").ends_with(3).prints("out");
        let ran = run(sh, "--rm", "nosuch");
        assert_ne!(ran.code, 0);
        ran.complains(&["executable file not found in $PATH"]);
    });
}

#[test]
fn apparmor_denies_what_containerds_profile_does() {
    user(|sh| {
        needs_apparmor();
        let (default, confined) =
            ("--apparmor-default-profile cri-containerd.apparmor.d", "cri-containerd.apparmor.d\ndenied");
        let with =
            |options: &str| run(sh, &format!("--rm --cap-add CAP_SYS_ADMIN {options}"), MOUNTS).ends_with(0);
        with(default).prints(confined);
        with("").prints("unconfined\nmay");
        with("--privileged").prints("unconfined\nmay");
        run(sh, &format!("--detach --cap-add CAP_SYS_ADMIN {default}"), "sleep 1000");
        sh.run(&format!("ctr tasks exec --exec-id e @ {MOUNTS}")).prints(confined);
        remove(sh);
        assert_ne!(run(sh, "--rm --apparmor-profile no-such-profile", "true").code, 0);
    });
}

#[test]
fn exec_kill_and_remove() {
    user(|sh| {
        start(sh, "sleep 1000");
        sh.run("ctr tasks exec --exec-id e @ sh -c 'echo in; exit 4'").ends_with(4).prints("in");
        sh.run("echo text | ctr tasks exec --exec-id f @ head -n 1").ends_with(0).prints("text");
        let ran = sh.run("script -qec 'ctr tasks exec -t --exec-id g @ tty' /dev/null").ends_with(0);
        assert!(ran.out.contains("/dev/pts/"), "{}", ran.out);
        sh.ok("ctr tasks kill -s TERM @; ctr tasks kill -s KILL @");
        sh.until(&status("ctr", "@"), "STOPPED");
        sh.ok("ctr tasks rm @; ctr containers rm @");
    });
}

#[test]
fn pause_and_resume() {
    user(|sh| {
        start(sh, COUNT);
        let pid = sh.ok("ctr tasks ls | awk '$1 == \"@\" { print $2 }'");
        sh.goes_on(&pid);
        sh.ok("ctr tasks pause @");
        sh.stands_still(&pid);
        sh.until(&status("ctr", "@"), "PAUSED");
        sh.ok("ctr tasks resume @");
        sh.until(&status("ctr", "@"), "RUNNING");
        sh.goes_on(&pid);
        sh.run("ctr tasks exec --exec-id e @ echo in").prints("in");
        remove(sh);
    });
}

#[test]
fn processes_and_metrics() {
    user(|sh| {
        start(sh, "sleep 1000");
        let ran = sh.run("ctr tasks ps @").ends_with(0);
        assert_eq!(ran.out.lines().count(), 2, "{}", ran.out);
        let metrics = sh.run("ctr tasks metrics @").ends_with(0);
        if has_controllers() {
            let number = |name: &str| {
                let mut words = metrics.out.split_whitespace().skip_while(|word| *word != name);
                words.nth(1).and_then(|word| word.parse::<u64>().ok()).unwrap_or(0)
            };
            assert_eq!(number("pids.current"), 1, "{}", metrics.out);
            assert!(number("memory.usage") > 0, "{}", metrics.out);
        }
        remove(sh);
    });
}

/// The scope that systemd has made, with the limits that both know.
#[test]
fn a_cgroup_of_systemds() {
    user(|sh| {
        needs(has_systemd(), "systemd");
        needs_controllers();
        run(sh, "--detach --memory-limit 67108864", "sleep 1000").ends_with(0);
        let pid = sh.ok("ctr tasks ls | grep ^@ | tr -s ' ' | cut -d' ' -f2");
        sh.run(&format!("cat /proc/{pid}/cgroup")).prints(&format!("0::/system.slice/ctr-{}.scope", sh.name));
        sh.run("cat /sys/fs/cgroup/system.slice/ctr-@.scope/memory.max").prints("67108864");
        sh.run("systemctl show --value -p MemoryMax -p ActiveState ctr-@.scope | sort")
            .prints("67108864\nactive");
        sh.run("ctr tasks exec --exec-id e @ cat /proc/self/cgroup")
            .prints(&format!("0::/system.slice/ctr-{}.scope", sh.name));
        remove(sh);
        sh.run("systemctl show --value -p LoadState ctr-@.scope").prints("not-found");
    });
}

/// Of a process of the container: with the first one systemd takes the cgroup away, often before containerd's own shim
/// has looked. Ours tells of that one too, before its exit.
#[test]
fn an_oom_kill_is_told() {
    user(|sh| {
        needs_controllers();
        listen(sh);
        let limit = "--detach --memory-limit 33554432";
        let greedy = "until test -e /go; do sleep 0.1; done; (x=x; while :; do x=$x$x; done)";
        run(sh, limit, &format!("sh -c '{greedy}; sleep 1000'")).ends_with(0);
        sh.until("grep '@' /tmp/@.events | grep -o /tasks/start", "/tasks/start");
        sh.run("grep -c '/tasks/oom.*@' /tmp/@.events").prints("0");
        sh.ok("ctr tasks exec --exec-id e @ touch /go");
        sh.until("grep '@' /tmp/@.events | grep -o /tasks/oom", "/tasks/oom");
        remove(sh);
        if is_ours() {
            run(sh, limit, "sh -c 'x=x; while :; do x=$x$x; done'").ends_with(0);
            sh.until(
                "grep -v '\"id\":\"e\"' /tmp/@.events | grep -oE '/tasks/(oom|exit).*@' | cut -d' ' -f1 | tail -n 4 | xargs",
                "/tasks/oom /tasks/exit /tasks/oom /tasks/exit",
            );
            sh.until(&status("ctr", "@"), "STOPPED");
            sh.run("ctr tasks rm @").complains(&["code 137"]);
            sh.ok("ctr containers rm @");
        }
        stop_listening(sh);
    });
}

#[test]
fn a_terminal() {
    user(|sh| {
        let line =
            format!("ctr run --rm -t {} docker.io/library/bb:latest @ sh -c \"tty; exit 6\"", binary("@"));
        let ran = sh.run(&format!("script -qec '{line}' /dev/null")).ends_with(6);
        assert!(ran.out.contains("/dev/pts/0"), "{}", ran.out);
    });
}

#[test]
fn fifty_at_once() {
    alone(|sh| {
        let line =
            format!("ctr run --rm {} docker.io/library/bb:latest @-$i sh -c \"exit 9\"", binary("@-$i"));
        sh.ok(&format!("for i in $(seq 50); do ( {line}; echo $? >> /tmp/@ ) >/dev/null 2>&1 & done"));
        sh.until("cat /tmp/@ | wc -l", "50");
        sh.run("sort /tmp/@ | uniq -c | tr -s ' '").prints("50 9");
        sh.ok("rm /tmp/@");
    });
}

/// A containerd of the test's own, so that it may die: `ctr` for it.
fn own_containerd(sh: &Shell) -> String {
    sh.ok("mkdir -p /tmp/@");
    let ctr = "ctr --address /tmp/@/sock".replace('@', &sh.name);
    let start = "containerd --root /tmp/@/root --state /tmp/@/state --address /tmp/@/sock >>/tmp/@/log 2>&1 & echo $! >/tmp/@/pid";
    sh.ok(start);
    sh.until(&format!("{ctr} version >/dev/null 2>&1 && echo up"), "up");
    ctr
}

#[test]
fn containers_outlive_containerd() {
    user(|sh| {
        let ctr = own_containerd(sh);
        sh.ok(&format!(
            "{ctr} images import --all-platforms /tmp/docker.tar && {ctr} images tag localhost/bb:latest bb >/dev/null"
        ));
        for (name, command) in
            [("lives", "sleep 1000"), ("ends", "sh -c 'until test -e /end; do sleep 0.1; done; exit 7'")]
        {
            sh.ok(&format!("{ctr} run {} --detach bb {name} {command}", binary(name)));
        }
        sh.ok("kill -9 $(cat /tmp/@/pid)");
        own_containerd(sh); // which takes what has ended in the meantime for a leak: so it ends now
        sh.ok("touch /tmp/@/state/io.containerd.runtime.v2.task/default/ends/rootfs/end");
        sh.until(&status(&ctr, "ends"), "STOPPED");
        sh.run(&format!("{ctr} tasks rm ends")).complains(&["code 7"]);
        sh.until(&status(&ctr, "lives"), "RUNNING");
        sh.run(&format!("{ctr} tasks exec --exec-id e lives sh -c 'echo in; exit 4'"))
            .ends_with(4)
            .prints("in");
        sh.ok(&format!("{ctr} tasks kill -s KILL lives"));
        sh.until(&status(&ctr, "lives"), "STOPPED");
        sh.run(&format!("{ctr} tasks rm lives")).complains(&["code 137"]);
        sh.ok(&format!("{ctr} containers rm lives ends"));
        sh.ok("kill $(cat /tmp/@/pid)");
        sh.until("kill -0 $(cat /tmp/@/pid) 2>/dev/null || echo gone", "gone");
        sh.ok("rm -r /tmp/@");
    });
}

#[test]
fn the_drop_in_is_taken() {
    user(|sh| {
        let dropin = concat!(env!("CARGO_MANIFEST_DIR"), "/engines/dropins/containerd.toml");
        let told = sh.ok(&format!("containerd --config {dropin} config dump"));
        let section = told.split("runtimes.rrunc").nth(1).unwrap_or_default();
        assert!(section.contains("io.containerd.runc.v2"), "{told}");
        let options = told.split("runtimes.rrunc.options").nth(1).unwrap_or_default();
        assert!(
            options.contains("BinaryName = \"rrunc\"") || options.contains("BinaryName = 'rrunc'"),
            "{told}"
        );
    });
}
