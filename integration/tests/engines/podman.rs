//! Podman, as root and as an ordinary user.

#[path = "podman_forms.rs"]
mod forms; // each option, and what a program sees of it
#[path = "podman_life.rs"]
pub mod life; // what goes on around a container: health, limits, checkpoints, units of systemd

use crate::shell::{COUNT, MOUNTS, has_systemd, is_rootless, needs, needs_apparmor, only_for, runtime, user};

/// Podman gives a user's container a cgroup only where systemd has delegated one to the user.
fn needs_cgroup() {
    needs(!is_rootless() || has_systemd(), "systemd, which delegates a cgroup to users");
}

#[test]
fn the_runtime_is_the_one_that_was_told() {
    user(|sh| {
        sh.ok("podman run -d --name @ bb sleep 1000");
        // By its own reckoning crun would look where root's session has its files.
        let root = match is_rootless() {
            true => String::new(),
            false => format!("--root /run/{}", runtime()),
        };
        sh.is_known(&root, &sh.ok("podman inspect -f '{{.Id}}' @"));
        sh.run("podman inspect -f '{{.OCIRuntime}}' @").prints(&runtime());
        sh.ok("podman rm -f -t 0 @");
        // For one command, by name and by path.
        for name in [runtime(), format!("$(command -v {})", runtime())] {
            sh.run(&format!("podman --runtime {name} run --rm bb echo runs")).ends_with(0).prints("runs");
        }
        sh.run("podman --runtime /bin/false run --rm bb true").ends_with(126);
    });
}

/// Podman's profile has its version in its name.
#[test]
fn apparmor_denies_what_podmans_profile_does() {
    user(|sh| {
        only_for(!is_rootless(), "root, who may load profiles");
        needs_apparmor();
        let confined = "containers-default\ndenied";
        let unversioned = "sed s/default-[0-9.]*/default/";
        let with = |options: &str| {
            let line = format!("podman run --rm --cap-add sys_admin {options} bb {MOUNTS} | {unversioned}");
            sh.run(&line).ends_with(0)
        };
        with("").prints(confined);
        with("--security-opt apparmor=unconfined").prints("unconfined\nmay");
        let ran = sh.run("podman run --rm --security-opt apparmor=no-such-profile bb true");
        assert_ne!(ran.code, 0);
        ran.complains(&["no-such-profile"]);
        sh.ok("podman run -d --name @ --cap-add sys_admin --security-opt no-new-privileges bb sleep 1000");
        sh.run(&format!("podman exec @ {MOUNTS} | {unversioned}")).prints(confined);
        sh.run(&format!("podman exec --privileged @ {MOUNTS} | {unversioned}")).prints(confined);
        sh.ok("podman rm -f -t 0 @; podman run -d --name @ --privileged bb sleep 1000");
        sh.run(&format!("podman exec @ {MOUNTS}")).prints("unconfined\nmay");
        sh.ok("podman rm -f -t 0 @");
    });
}

#[test]
fn the_status_is_the_programs() {
    user(|sh| {
        sh.run("podman run --rm bb sh -c 'echo out; echo err >&2; exit 3'")
            .ends_with(3)
            .prints("out")
            .complains(&["err"]);
        sh.run("podman run --rm --init bb sh -c 'kill -9 $$'").ends_with(137);
    });
}

#[test]
fn a_program_that_is_missing_is_127() {
    user(|sh| {
        sh.run("podman run --rm bb nosuch").ends_with(127).complains(&["executable file"]);
        sh.run("podman run --rm bb /no/such").ends_with(127).complains(&["no such file or directory"]);
    });
}

#[test]
fn a_program_that_cannot_be_executed_is_126() {
    user(|sh| {
        sh.run("podman run --rm bb /etc").ends_with(126);
        sh.run("podman run --rm bb /etc/passwd")
            .ends_with(126)
            .complains(&["permission denied", "not executable"]);
    });
}

/// What only shows when the container is made: the runtime says the one, Podman the others.
#[test]
fn a_container_that_cannot_be_made_is_126() {
    user(|sh| {
        sh.run("podman run --rm --sysctl kernel.msgmax=none bb true")
            .ends_with(126)
            .complains(&["invalid argument"]);
        sh.run("podman run --rm --workdir /etc/passwd bb true")
            .ends_with(126)
            .complains(&["not a directory"]);
        sh.run("podman run --rm --user nobody-knows bb true")
            .ends_with(126)
            .complains(&["no matching entries in passwd file"]);
    });
}

#[test]
fn an_option_that_podman_refuses_is_125() {
    user(|sh| {
        sh.run("podman run --rm --no-such-option bb true").ends_with(125);
        sh.run("podman run --rm --network no-such-network bb true")
            .ends_with(125)
            .complains(&["no-such-network"]);
        sh.run("podman run --rm -v /no/such:/x bb true")
            .ends_with(125)
            .complains(&["/no/such: no such file or directory"]);
        sh.run("podman run --rm --device /dev/nosuch bb true")
            .ends_with(125)
            .complains(&["/dev/nosuch: no such file or directory"]);
        sh.run("podman run --rm localhost/no-such-image true").ends_with(125);
    });
}

#[test]
fn detached_with_logs_and_wait() {
    user(|sh| {
        sh.ok("podman run -d --name @ bb sh -c 'echo one; echo two >&2; exit 5'");
        sh.run("podman wait @").prints("5");
        // By way of systemd's journal they come when they come.
        sh.until("podman logs @ 2>/dev/null", "one");
        sh.until("podman logs @ 2>&1 >/dev/null", "two");
        sh.run("podman inspect -f '{{.State.Status}} {{.State.ExitCode}}' @").prints("exited 5");
        sh.ok("podman rm @");
        sh.run("podman inspect @").ends_with(125);
    });
}

#[test]
fn exec() {
    user(|sh| {
        sh.ok("podman run -d --name @ --env A=1 bb sleep 1000");
        sh.run("podman exec @ sh -c 'echo $A-$B; pwd; id -u; exit 4'").ends_with(4).prints("1-\n/\n0");
        sh.run("podman exec -e B=2 -w /tmp -u 1000:2000 @ sh -c 'echo $A-$B; pwd; id -u; id -g'")
            .ends_with(0)
            .prints("1-2\n/tmp\n1000\n2000");
        sh.run("podman exec @ sh -c 'kill -9 $$'").ends_with(137);
        sh.run("podman exec @ nosuch").ends_with(127).complains(&["executable file"]);
        // 126 or 255: Podman goes by words of crun's that runc and rrunc don't use.
        sh.run("podman exec @ /etc").complains(&["is a directory", "not a regular file"]);
        sh.run("echo text | podman exec -i @ cat").ends_with(0).prints("text");
        sh.run("podman exec --privileged @ grep CapEff /proc/self/status").ends_with(0);
        sh.run("podman exec @ grep Seccomp: /proc/self/status").ends_with(0).prints("Seccomp:\t2");
        sh.ok("podman rm -f -t 0 @");
        sh.run("podman exec @ true").ends_with(125);
    });
}

#[test]
fn exec_with_a_terminal() {
    user(|sh| {
        sh.ok("podman run -d --name @ bb sleep 1000");
        let line = "script -qec 'podman exec -t @ sh -c \"test -t 0 && test -t 1 && test -t 2 && echo terminal; exit 5\"' /dev/null";
        sh.run(line).ends_with(5).prints("terminal");
        sh.run("podman exec @ sh -c 'test -t 1 || echo none'").prints("none");
        let ran = sh.run("script -qec 'podman exec -it @ tty' /dev/null").ends_with(0);
        assert!(ran.out.contains("/dev/pts/"), "{}", ran.out);
        sh.ok("podman rm -f -t 0 @");
    });
}

#[test]
fn exec_detached() {
    user(|sh| {
        sh.ok("podman run -d --name @ bb sleep 1000");
        sh.ok("podman exec -d @ sh -c 'echo done > /tmp/file'");
        sh.until("podman exec @ cat /tmp/file", "done");
        sh.ok("podman rm -f -t 0 @");
    });
}

#[test]
fn a_terminal() {
    user(|sh| {
        let ran = sh.run("script -qec 'podman run --rm -it bb sh -c \"tty; exit 6\"' /dev/null");
        let ran = ran.ends_with(6);
        assert!(ran.out.contains("/dev/pts/0") || ran.out.contains("/dev/console"), "{}", ran.out);
    });
}

#[test]
fn start_attached() {
    user(|sh| {
        sh.ok("podman create --name @ bb sh -c 'echo out; exit 7'");
        sh.run("podman start -a @").ends_with(7).prints("out");
        sh.run("podman start -a @").ends_with(7).prints("out");
        sh.ok("podman rm @");
    });
}

#[test]
fn attach_to_one_that_runs() {
    user(|sh| {
        sh.ok("podman run -d -i --name @ bb sh -c 'read line; echo got $line'");
        sh.run("echo text | podman attach @").prints("got text");
        sh.run("podman wait @").prints("0");
        sh.ok("podman rm @");
    });
}

#[test]
fn attach_by_a_terminal() {
    user(|sh| {
        sh.ok("podman run -d -it --name @ bb sh -c 'read line; test -t 1 && echo got $line; exit 8'");
        let ran = sh.run("(sleep 1; echo text; sleep 2) | script -qec 'podman attach @' /dev/null");
        assert!(ran.out.contains("got text"), "{}", ran.out);
        sh.run("podman wait @").prints("8");
        sh.ok("podman rm @");
    });
}

#[test]
fn logs_are_followed() {
    user(|sh| {
        sh.ok("podman run -d --name @ bb sh -c 'for i in 1 2 3; do echo $i; sleep 0.5; done'");
        sh.run("podman logs -f @").ends_with(0).prints("1\n2\n3");
        sh.run("podman logs --tail 1 @").prints("3");
        sh.run("podman wait @").prints("0");
        sh.ok("podman rm @");
    });
}

#[test]
fn stop_kill_and_restart() {
    user(|sh| {
        let script =
            "trap \"exit 9\" TERM; trap \"echo usr1\" USR1; echo ready; while :; do sleep 0.05; done";
        sh.ok(&format!("podman run -d --name @ bb sh -c '{script}'"));
        sh.until("podman logs @", "ready");
        sh.ok("podman kill -s USR1 @");
        sh.until("podman logs @", "usr1");
        sh.ok("podman stop -t 20 @");
        sh.run("podman wait @").prints("9");
        sh.ok("podman restart -t 1 @");
        sh.run("podman inspect -f '{{.State.Status}}' @").prints("running");
        sh.ok("podman kill @");
        sh.run("podman wait @").prints("137");
        sh.ok("podman rm @");
    });
}

#[test]
fn remove_by_force() {
    user(|sh| {
        sh.ok("podman run -d --name @ bb sleep 1000");
        sh.run("podman rm @").ends_with(2);
        sh.ok("podman rm -f -t 0 @");
        sh.run("podman rm @").ends_with(1);
    });
}

#[test]
fn pause_and_unpause() {
    user(|sh| {
        needs_cgroup();
        sh.ok(&format!("podman run -d --name @ bb {COUNT}"));
        let pid = sh.ok("podman inspect -f '{{.State.Pid}}' @");
        sh.goes_on(&pid);
        sh.ok("podman pause @");
        sh.stands_still(&pid);
        sh.run("podman inspect -f '{{.State.Status}}' @").prints("paused");
        sh.run("podman exec @ true").ends_with(255).complains(&["paused", "improper"]);
        sh.ok("podman unpause @");
        sh.run("podman inspect -f '{{.State.Status}}' @").prints("running");
        sh.goes_on(&pid);
        sh.ok("podman exec @ true");
        sh.ok("podman rm -f -t 0 @");
    });
}

#[test]
fn top() {
    user(|sh| {
        sh.ok("podman run -d --name @ bb sleep 1234");
        sh.run("podman top @ pid args").prints("PID         COMMAND\n1           sleep 1234");
        sh.ok("podman rm -f -t 0 @");
    });
}

#[test]
fn copies() {
    user(|sh| {
        sh.ok("podman run -d --name @ bb sleep 1000");
        sh.ok("echo text > /tmp/@; podman cp /tmp/@ @:/tmp/in; podman cp @:/tmp/in /tmp/@.out");
        sh.run("cat /tmp/@.out").prints("text");
        sh.ok("podman rm -f -t 0 @; rm /tmp/@ /tmp/@.out");
    });
}

#[test]
fn commit() {
    user(|sh| {
        sh.ok("podman run --name @ bb sh -c 'echo text > /file'");
        sh.ok("podman commit -q @ @-image; podman rm @");
        sh.run("podman run --rm @-image cat /file").prints("text");
        sh.ok("podman rmi @-image");
    });
}

#[test]
fn namespaces_of_another_container() {
    user(|sh| {
        sh.ok("podman run -d --name @ --network bridge --ipc shareable --hostname first bb sleep 1234");
        sh.run("podman run --rm --pid container:@ bb cat /proc/1/cmdline | tr '\\0' ' '")
            .prints("sleep 1234");
        let ip = sh.ok("podman exec @ ip -o -4 addr show eth0");
        sh.run("podman run --rm --network container:@ bb ip -o -4 addr show eth0").prints(&ip);
        sh.ok("podman exec @ touch /dev/shm/shared");
        sh.run("podman run --rm --ipc container:@ bb ls /dev/shm").prints("shared");
        sh.ok("podman rm -f -t 0 @");
    });
}

#[test]
fn a_port_is_published() {
    user(|sh| {
        sh.ok("podman run -d --name @ -p 18080:80 bb sh -c 'while :; do echo hello | nc -l -p 80; done'");
        sh.until("busybox nc -w 1 127.0.0.1 18080", "hello");
        sh.ok("podman rm -f -t 0 @");
    });
}

#[test]
fn hooks_of_the_machine() {
    user(|sh| {
        let hook = r#"{"version": "1.0.0", "hook": {"path": "/bin/sh", "args": ["sh", "-c", "cat > /tmp/hooked"]},
            "when": {"annotations": {"^hooked$": "^yes$"}}, "stages": ["createRuntime", "poststop"]}"#;
        sh.ok(&format!("mkdir /tmp/@; echo '{hook}' > /tmp/@/hook.json"));
        sh.ok("podman --hooks-dir /tmp/@ run --rm --annotation hooked=yes bb true");
        sh.run("grep -c '\"status\":\"stopped\"' /tmp/hooked").prints("1");
        sh.ok("rm -r /tmp/@ /tmp/hooked");
    });
}

#[test]
fn a_pod_shares_its_network() {
    user(|sh| {
        sh.ok("podman pod create --name @ --hostname pod");
        sh.ok("podman run -d --pod @ --name @-1 bb sh -c 'while :; do echo hello | nc -l -p 8000; done'");
        sh.until("podman run --rm --pod @ bb nc -w 1 127.0.0.1 8000", "hello");
        sh.run("podman run --rm --pod @ bb hostname").prints("pod");
        sh.ok("podman pod stop -t 0 @");
        sh.ok("podman pod rm -f -t 0 @");
    });
}

#[test]
fn play_kube() {
    user(|sh| {
        let yaml = "apiVersion: v1\nkind: Pod\nmetadata:\n  name: @\nspec:\n  restartPolicy: Never\n  containers:\n\
            \x20 - name: one\n    image: localhost/bb\n    command: [sh, -c, \"echo $WHO > /shared/file; sleep 1000\"]\n\
            \x20   env: [{name: WHO, value: me}]\n    volumeMounts: [{name: v, mountPath: /shared}]\n\
            \x20 - name: two\n    image: localhost/bb\n    command: [sleep, \"1000\"]\n\
            \x20   volumeMounts: [{name: v, mountPath: /data}]\n  volumes: [{name: v, emptyDir: {}}]\n";
        sh.ok(&format!("cat > /tmp/@.yaml <<'END'\n{yaml}END\npodman kube play /tmp/@.yaml"));
        sh.until("podman exec @-two cat /data/file", "me");
        sh.ok("podman kube down /tmp/@.yaml; rm /tmp/@.yaml");
    });
}
