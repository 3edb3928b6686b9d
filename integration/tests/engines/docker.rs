//! Docker, which calls the runtime through containerd's shim.

#[path = "docker_limits.rs"]
mod limits; // and what a container uses
#[path = "docker_many.rs"]
mod many; // Compose and Swarm

use crate::shell::{COUNT, MOUNTS, is_ours, needs_apparmor, runtime, user};

#[test]
fn the_runtime_is_the_one_that_was_told() {
    user(|sh| {
        // What Docker calls it, and where it has its state: so Docker calls that place for all of them.
        let (name, root) = match is_ours() {
            true => ("shim-rrunc".into(), "/run/containerd/rrunc/moby"),
            false => (runtime(), "/run/docker/runtime-runc/moby"),
        };
        for option in [String::new(), format!("--runtime {name}")] {
            sh.ok(&format!("docker run -d --name @ {option} bb sleep 1000"));
            sh.is_known(&format!("--root {root}"), &sh.ok("docker inspect -f '{{.Id}}' @"));
            sh.run("docker inspect -f '{{.HostConfig.Runtime}}' @").prints(&name);
            sh.ok("docker rm -f @");
        }
        sh.run("docker run --rm --runtime no-such bb true")
            .ends_with(125)
            .complains(&["unknown or invalid runtime name: no-such"]);
    });
}

#[test]
fn the_status_is_the_programs() {
    user(|sh| {
        sh.run("docker run --rm bb sh -c 'echo out; echo err >&2; exit 3'")
            .ends_with(3)
            .prints("out")
            .complains(&["err"]);
    });
}

#[test]
fn a_program_that_is_missing_is_127() {
    user(|sh| {
        sh.run("docker run --rm bb nosuch")
            .ends_with(127)
            .complains(&["executable file not found in $PATH", "not found in $path"]);
        sh.run("docker run --rm bb /no/such").ends_with(127).complains(&["no such file or directory"]);
    });
}

#[test]
fn a_program_that_cannot_be_executed_is_126() {
    user(|sh| {
        sh.run("docker run --rm bb /etc").ends_with(126);
        sh.run("docker run --rm bb /etc/passwd").ends_with(126).complains(&["permission denied"]);
    });
}

#[test]
fn what_docker_refuses_is_125() {
    user(|sh| {
        sh.run("docker run --rm --no-such-option bb true").ends_with(125);
        sh.run("docker run --rm --network no-such-network bb true")
            .ends_with(125)
            .complains(&["network no-such-network not found"]);
        // By the runtime.
        sh.run("docker run --rm --sysctl net.ipv4.ip_forward=none bb true")
            .ends_with(125)
            .complains(&["invalid argument"]);
    });
}

#[test]
fn apparmor_denies_what_dockers_profile_does() {
    user(|sh| {
        needs_apparmor();
        let with = |options: &str| {
            sh.run(&format!("docker run --rm --cap-add SYS_ADMIN {options} bb {MOUNTS}")).ends_with(0)
        };
        with("").prints("docker-default\ndenied");
        with("--security-opt apparmor=unconfined").prints("unconfined\nmay");
        let ran = sh.run("docker run --rm --security-opt apparmor=no-such-profile bb true");
        assert_ne!(ran.code, 0);
        ran.complains(&["no-such-profile", "apparmor"]);
        sh.ok("docker run -d --name @ --cap-add SYS_ADMIN --security-opt no-new-privileges bb sleep 1000");
        sh.run(&format!("docker exec @ {MOUNTS}")).prints("docker-default\ndenied");
        // Docker gives it all capabilities, and no other profile.
        sh.run(&format!("docker exec --privileged @ {MOUNTS}")).prints("docker-default\ndenied");
        sh.ok("docker rm -f @; docker run -d --name @ --privileged bb sleep 1000");
        sh.run(&format!("docker exec @ {MOUNTS}")).prints("unconfined\nmay");
        sh.ok("docker rm -f @");
    });
}

#[test]
fn isolation_is_dockers() {
    user(|sh| {
        sh.run("docker run --rm bb grep -E \"Seccomp:|NoNewPrivs|CapEff\" /proc/self/status")
            .ends_with(0)
            .prints("CapEff:\t00000000a80425fb\nNoNewPrivs:\t0\nSeccomp:\t2");
        sh.run("docker run --rm --cap-drop all --security-opt no-new-privileges bb grep -E 'CapEff|NoNew' /proc/self/status")
            .prints("CapEff:\t0000000000000000\nNoNewPrivs:\t1");
        sh.run("docker run --rm --privileged bb grep -E Seccomp: /proc/self/status").prints("Seccomp:\t0");
        sh.run("docker run --rm bb head -n 1 /proc/timer_list").ends_with(0).prints("");
        sh.run("docker run --rm bb sh -c 'echo 1 2>/dev/null >/proc/sys/kernel/sysrq || echo refused'")
            .prints("refused");
    });
}

#[test]
fn options() {
    user(|sh| {
        for (options, command, expected) in [
            ("--user 1000:2000", "id -u; id -g", "1000\n2000"),
            ("--user user", "id -u; id -G", "1000\n1000 2000"),
            ("--hostname there", "hostname", "there"),
            ("--workdir /made/here", "pwd", "/made/here"),
            ("--env A=1", "echo $A", "1"),
            ("--read-only", "touch /file 2>/dev/null || echo refused", "refused"),
            ("--tmpfs /x:size=64k", "df -k /x | tail -n 1 | tr -s \" \" | cut -d\" \" -f2", "64"),
            ("-v /etc:/x:ro", "touch /x/file 2>/dev/null || echo refused", "refused"),
            ("--mount type=volume,dst=/x", "touch /x/file && echo taken", "taken"),
            ("--ulimit nofile=100:200", "ulimit -Sn; ulimit -Hn", "100\n200"),
            ("--sysctl net.ipv4.ip_forward=0", "cat /proc/sys/net/ipv4/ip_forward", "0"),
            ("--device /dev/fuse", "stat -c %t:%T /dev/fuse", "a:e5"),
            ("--network none", "ls /sys/class/net", "lo"),
            ("--network host", "ls /sys/class/net | grep -c docker0", "1"),
            (
                "--pid host --env NS=$(readlink /proc/self/ns/pid)",
                "test $NS = $(readlink /proc/self/ns/pid) && echo same",
                "same",
            ),
            (
                "--ipc host --env NS=$(readlink /proc/self/ns/ipc)",
                "test $NS = $(readlink /proc/self/ns/ipc) && echo same",
                "same",
            ),
            ("--uts host", "hostname", "world"),
            ("--cgroupns private", "tail -n 1 /proc/self/cgroup", "0::/"),
            ("--shm-size 128k", "df -k /dev/shm | tail -n 1 | tr -s \" \" | cut -d\" \" -f2", "128"),
            ("--init", "cat /proc/1/comm", "docker-init"),
            ("--oom-score-adj 500", "cat /proc/self/oom_score_adj", "500"),
            ("--group-add 3000", "id -G", "0 3000"),
            ("--entrypoint echo", "x", "sh -c x"),
        ] {
            sh.run(&format!("docker run --rm {options} bb sh -c '{command}'")).ends_with(0).prints(expected);
        }
    });
}

#[test]
fn detached_with_logs_and_wait() {
    user(|sh| {
        sh.ok("docker run -d --name @ bb sh -c 'echo one; echo two >&2; exit 5'");
        sh.run("docker wait @").prints("5");
        sh.run("docker logs @").prints("one").complains(&["two"]);
        sh.ok("docker rm @");
    });
}

#[test]
fn exec() {
    user(|sh| {
        sh.ok("docker run -d --name @ --env A=1 bb sleep 1000");
        sh.run("docker exec @ sh -c 'echo $A; exit 4'").ends_with(4).prints("1");
        sh.run("docker exec -e B=2 -w /tmp -u 1000:2000 @ sh -c 'echo $B; pwd; id -u; id -g'")
            .ends_with(0)
            .prints("2\n/tmp\n1000\n2000");
        sh.run("echo text | docker exec -i @ cat").ends_with(0).prints("text");
        sh.run("docker exec @ nosuch").complains_or_prints("executable file not found in $PATH");
        sh.run("docker exec @ /etc/passwd").ends_with(126);
        let ran = sh.run("script -qec 'docker exec -it @ tty' /dev/null").ends_with(0);
        assert!(ran.out.contains("/dev/pts/"), "{}", ran.out);
        sh.ok("docker exec -d @ sh -c 'echo done > /tmp/file'");
        sh.until("docker exec @ cat /tmp/file", "done");
        sh.ok("docker rm -f @");
    });
}

#[test]
fn a_terminal() {
    user(|sh| {
        let ran = sh.run("script -qec 'docker run --rm -it bb sh -c \"tty; exit 6\"' /dev/null").ends_with(6);
        assert!(ran.out.contains("/dev/pts/0") || ran.out.contains("/dev/console"), "{}", ran.out);
    });
}

#[test]
fn stop_kill_and_restart() {
    user(|sh| {
        let script =
            "trap \"exit 9\" TERM; trap \"echo usr1\" USR1; echo ready; while :; do sleep 0.05; done";
        sh.ok(&format!("docker run -d --name @ bb sh -c '{script}'"));
        sh.until("docker logs @", "ready");
        sh.ok("docker kill -s USR1 @");
        sh.until("docker logs @", "usr1");
        sh.ok("docker stop -t 20 @");
        sh.run("docker wait @").prints("9");
        sh.ok("docker restart -t 1 @");
        sh.run("docker inspect -f '{{.State.Status}}' @").prints("running");
        sh.ok("docker kill @");
        sh.run("docker wait @").prints("137");
        sh.ok("docker rm @");
    });
}

#[test]
fn pause_and_unpause() {
    user(|sh| {
        sh.ok(&format!("docker run -d --name @ bb {COUNT}"));
        let pid = sh.ok("docker inspect -f '{{.State.Pid}}' @");
        sh.goes_on(&pid);
        sh.ok("docker pause @");
        sh.stands_still(&pid);
        sh.run("docker inspect -f '{{.State.Status}}' @").prints("paused");
        sh.ok("docker unpause @");
        sh.goes_on(&pid);
        sh.ok("docker exec @ true");
        sh.ok("docker rm -f @");
    });
}

#[test]
fn top_and_copies() {
    user(|sh| {
        sh.ok("docker run -d --name @ bb sleep 1234");
        let ran = sh.run("docker top @ -o pid,args").ends_with(0);
        assert!(ran.out.contains("sleep 1234"), "{}", ran.out);
        sh.ok(
            "echo text > /tmp/@; docker cp /tmp/@ @:/tmp/in; docker cp @:/tmp/in /tmp/@.out; cat /tmp/@.out",
        );
        sh.run("cat /tmp/@.out").prints("text");
        sh.ok("docker rm -f @; rm /tmp/@ /tmp/@.out");
    });
}

#[test]
fn a_policy_restarts_what_fails() {
    user(|sh| {
        sh.ok("docker run -d --name @ --restart on-failure:2 bb sh -c 'exit 1'");
        sh.until("docker inspect -f '{{.RestartCount}} {{.State.Status}}' @", "2 exited");
        sh.ok("docker rm @");
    });
}

#[test]
fn a_policy_restarts_what_ends() {
    user(|sh| {
        for policy in ["always", "unless-stopped"] {
            sh.ok(&format!(
                "docker run -d --name @ --restart {policy} bb sh -c 'echo up; until test -e /end; do sleep 0.1; done; rm /end'"
            ));
            sh.until("docker logs @ | grep -c up; true", "1");
            sh.ok("docker exec @ touch /end");
            sh.until("docker logs @ | grep -c up; true", "2");
            sh.until("docker inspect -f '{{.RestartCount}} {{.State.Status}}' @", "1 running");
            let pid = sh.ok("docker inspect -f '{{.State.Pid}}' @");
            sh.ok(&format!("kill -9 {pid}"));
            sh.until("docker logs @ | grep -c up; true", "3");
            sh.ok("docker stop -t 0 @");
            sh.run("docker inspect -f '{{.RestartCount}} {{.State.Status}}' @").prints("2 exited");
            sh.ok("docker rm @");
        }
    });
}

#[test]
fn health() {
    user(|sh| {
        sh.ok("docker run -d --name @ --health-cmd 'test -e /tmp/well' --health-interval 1s --health-retries 1 bb sleep 1000");
        sh.until("docker inspect -f '{{.State.Health.Status}}' @", "unhealthy");
        sh.ok("docker exec @ touch /tmp/well");
        sh.until("docker inspect -f '{{.State.Health.Status}}' @", "healthy");
        sh.ok("docker rm -f @");
    });
}

#[test]
fn a_port_is_published() {
    user(|sh| {
        sh.ok("docker run -d --name @ -p 18080:80 bb sh -c 'while :; do echo hello | nc -l -p 80; done'");
        sh.until("busybox nc -w 1 127.0.0.1 18080", "hello");
        let ip = sh.ok("docker inspect -f '{{.NetworkSettings.IPAddress}}' @");
        sh.until(&format!("busybox nc -w 1 {ip} 80"), "hello");
        sh.ok("docker rm -f @");
    });
}

#[test]
fn a_network_of_containers() {
    user(|sh| {
        sh.ok("docker network create @");
        sh.ok("docker run -d --name @ --network @ bb sh -c 'while :; do echo hello | nc -l -p 80; done'");
        sh.until("docker run --rm --network @ bb nc -w 1 @ 80", "hello");
        sh.ok("docker rm -f @");
        sh.ok("docker network rm @");
    });
}

#[test]
fn a_build_runs_commands() {
    user(|sh| {
        sh.ok("mkdir /tmp/@; printf 'FROM bb\\nRUN echo built > /file && id -u >> /file\\nUSER 1000\\nCMD cat /file\\n' > /tmp/@/Dockerfile");
        sh.ok("DOCKER_BUILDKIT=0 docker build -q -t @ /tmp/@");
        sh.run("docker run --rm @").ends_with(0).prints("built\n0");
        sh.ok("docker rmi @; rm -r /tmp/@");
    });
}
