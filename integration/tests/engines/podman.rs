//! Podman, as root and as an ordinary user.

use crate::shell::{has_systemd, is_rootless, needs, needs_controllers, user};

/// Podman gives a user's container a cgroup only where systemd has delegated one to the user.
fn needs_cgroup() {
    needs(
        !is_rootless() || has_systemd(),
        "systemd, which delegates a cgroup to users",
    );
}

/// `podman run --rm OPTIONS bb sh -c COMMAND` prints this.
macro_rules! forms {
    ($($name:ident: $options:literal $command:literal => $expected:expr;)*) => { $(
        #[test]
        fn $name() {
            user(|sh| {
                let line = format!("podman run --rm {} bb sh -c '{}'", $options, $command);
                sh.run(&line).ends_with(0).prints($expected);
            });
        }
    )* };
}

forms! {
    cap_drop_all: "--cap-drop all" "grep CapEff /proc/self/status" => "CapEff:\t0000000000000000";
    cap_drop_and_add: "--cap-drop all --cap-add net_raw" "grep CapEff /proc/self/status" => "CapEff:\t0000000000002000";
    cap_bounding: "--cap-drop all --cap-add chown --user 1000" "grep -E CapBnd /proc/self/status"
        => "CapBnd:\t0000000000000001";
    no_new_privileges: "--security-opt no-new-privileges" "grep NoNewPrivs /proc/self/status" => "NoNewPrivs:\t1";
    seccomp_default: "" "grep Seccomp: /proc/self/status" => "Seccomp:\t2";
    seccomp_unconfined: "--security-opt seccomp=unconfined" "grep Seccomp: /proc/self/status" => "Seccomp:\t0";
    mask: "--security-opt mask=/etc/group" "cat /etc/group" => "";
    masked: "" "stat -c %F /proc/keys" => "character special file";
    unmask: "--security-opt unmask=/proc/keys" "stat -c %F /proc/keys" => "regular empty file";
    device: "--device /dev/fuse:/dev/f:rw" "stat -c %t:%T /dev/f" => "a:e5";
    tmpfs: "--tmpfs /x:size=64k,mode=700,noexec" "stat -f -c %T /x; stat -c %a /x; df -k /x | tail -n 1 | tr -s \" \" | cut -d\" \" -f2"
        => "tmpfs\n700\n64";
    volume_read_only: "-v /etc:/x:ro" "touch /x/file 2>/dev/null || echo refused" => "refused";
    volume_named: "-v forms-named:/x" "echo here > /x/file; cat /x/file" => "here";
    mount_bind: "--mount type=bind,src=/etc/hostname,dst=/x,ro" "test -f /x && grep -c \" /x \" /proc/mounts" => "1";
    mount_tmpfs: "--mount type=tmpfs,dst=/x" "grep -c \"tmpfs /x \" /proc/mounts" => "1";
    read_only_root: "--read-only" "touch /file 2>/dev/null || echo refused; touch /tmp/file && echo taken" => "refused\ntaken";
    ulimit: "--ulimit nofile=100:200" "ulimit -Sn; ulimit -Hn" => "100\n200";
    sysctl: "--sysctl net.ipv4.ip_forward=1 --sysctl kernel.msgmax=4096" "cat /proc/sys/net/ipv4/ip_forward /proc/sys/kernel/msgmax"
        => "1\n4096";
    user_by_number: "--user 1000:2000" "id -u; id -g" => "1000\n2000";
    user_by_name: "--user user" "id -u; id -G" => "1000\n1000 2000";
    group_add: "--user 1000 --group-add 3000" "id -G" => "1000 2000 3000";
    userns_auto: "--userns auto:size=1000" "id -u; cut -c1-40 /proc/self/uid_map | tr -s \" \" | cut -d\" \" -f2,4" => "0\n0 1000";
    userns_map: "--uidmap 0:5000:100 --gidmap 0:5000:100" "tr -s \" \" </proc/self/uid_map" => "0 5000 100";
    pid_host: "--pid host --env NS=$(readlink /proc/self/ns/pid)" "test $NS = $(readlink /proc/self/ns/pid) && echo same" => "same";
    pid_private: "" "echo $$" => "1";
    ipc_private: "--ipc private" "test -d /dev/shm && echo there" => "there";
    ipc_host: "--ipc host" "stat -f -c %T /dev/shm" => "tmpfs";
    network_none: "--network none" "ls /sys/class/net" => "lo";
    network_bridge: "--network bridge" "ls /sys/class/net | tr \"\\n\" \" \"" => "eth0 lo";
    network_host: "--network host --env NET=$(readlink /proc/self/ns/net)"
        "test $NET = $(readlink /proc/self/ns/net) && echo same" => "same";
    cgroupns_private: "--cgroupns private" "cat /proc/self/cgroup | tail -n 1" => "0::/";
    hostname: "--hostname there" "hostname; cat /etc/hostname" => "there\nthere";
    workdir: "--workdir /tmp" "pwd" => "/tmp";
    environment: "--env A=1 --env B" "echo $A-$B-$PATH" => "1--/bin";
    entrypoint: "--entrypoint echo" "x" => "sh -c x";
    umask: "--umask 027" "umask" => "0027";
    shm_size: "--shm-size 128k" "df -k /dev/shm | tail -n 1 | tr -s \" \" | cut -d\" \" -f2" => "128";
    oom_score_adj: "--oom-score-adj 500" "cat /proc/self/oom_score_adj" => "500";
    init: "--init" "cat /proc/1/comm" => "podman-init";
    terminal_is_none: "" "test -t 0 || echo none" => "none";
    stdin_is_empty: "" "cat; echo end" => "end";
    add_host: "--add-host there:1.2.3.4" "grep there /etc/hosts | tr \"\\t\" \" \"" => "1.2.3.4 there";
    dns: "--dns 1.2.3.4" "grep -c 1.2.3.4 /etc/resolv.conf" => "1";
    timezone: "--tz UTC" "date +%Z" => "UTC";
    privileged: "--privileged" "grep Seccomp: /proc/self/status; test -e /dev/kmsg && echo devices" => "Seccomp:\t0\ndevices";
    rootfs_propagation: "-v /tmp:/x:rshared" "grep \" /x \" /proc/self/mountinfo | grep -c shared:" => "1";
    personality: "--personality LINUX32" "uname -m" => "i686";
}

#[test]
fn cgroupns_host() {
    user(|sh| {
        needs_cgroup();
        sh.run("podman run --rm --cgroupns host bb sh -c 'tail -n 1 /proc/self/cgroup | grep -c libpod'")
            .prints("1");
    });
}

#[test]
fn the_status_is_the_programs() {
    user(|sh| {
        sh.run("podman run --rm bb sh -c 'echo out; echo err >&2; exit 3'")
            .ends_with(3)
            .prints("out")
            .complains(&["err"]);
        sh.run("podman run --rm --init bb sh -c 'kill -9 $$'")
            .ends_with(137);
    });
}

#[test]
fn a_program_that_is_missing_is_127() {
    user(|sh| {
        sh.run("podman run --rm bb nosuch")
            .ends_with(127)
            .complains(&["executable file"]);
        sh.run("podman run --rm bb /no/such")
            .ends_with(127)
            .complains(&["no such file or directory"]);
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

#[test]
fn an_option_that_podman_refuses_is_125() {
    user(|sh| {
        sh.run("podman run --rm --no-such-option bb true").ends_with(125);
        sh.run("podman run --rm --network no-such-network bb true")
            .ends_with(125);
    });
}

#[test]
fn detached_with_logs_and_wait() {
    user(|sh| {
        sh.ok("podman run -d --name @ bb sh -c 'echo one; echo two >&2; exit 5'");
        sh.run("podman wait @").prints("5");
        sh.run("podman logs @").prints("one").complains(&["two"]);
        sh.run("podman inspect -f '{{.State.Status}} {{.State.ExitCode}}' @")
            .prints("exited 5");
        sh.ok("podman rm @");
        sh.run("podman inspect @").ends_with(125);
    });
}

#[test]
fn exec() {
    user(|sh| {
        sh.ok("podman run -d --name @ --env A=1 bb sleep 1000");
        sh.run("podman exec @ sh -c 'echo $A-$B; pwd; id -u; exit 4'")
            .ends_with(4)
            .prints("1-\n/\n0");
        sh.run("podman exec -e B=2 -w /tmp -u 1000:2000 @ sh -c 'echo $A-$B; pwd; id -u; id -g'")
            .ends_with(0)
            .prints("1-2\n/tmp\n1000\n2000");
        sh.run("podman exec @ sh -c 'kill -9 $$'").ends_with(137);
        sh.run("podman exec @ nosuch")
            .ends_with(127)
            .complains(&["executable file"]);
        // 126 or 255: Podman goes by words of crun's that runc and rrunc don't use.
        sh.run("podman exec @ /etc")
            .complains(&["is a directory", "not a regular file"]);
        sh.run("echo text | podman exec -i @ cat")
            .ends_with(0)
            .prints("text");
        sh.run("podman exec --privileged @ grep CapEff /proc/self/status")
            .ends_with(0);
        sh.run("podman exec @ grep Seccomp: /proc/self/status")
            .ends_with(0)
            .prints("Seccomp:\t2");
        sh.ok("podman rm -f -t 0 @");
        sh.run("podman exec @ true").ends_with(125);
    });
}

#[test]
fn exec_with_a_terminal() {
    user(|sh| {
        sh.ok("podman run -d --name @ bb sleep 1000");
        sh.run(
            "script -qec 'podman exec -t @ sh -c \"tty; test -t 1 && echo terminal; stty size\"' /dev/null",
        )
        .ends_with(0)
        .complains(&[""]);
        let ran = sh
            .run("script -qec 'podman exec -it @ tty' /dev/null")
            .ends_with(0);
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
        assert!(
            ran.out.contains("/dev/pts/0") || ran.out.contains("/dev/console"),
            "{}",
            ran.out
        );
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
        sh.run("podman inspect -f '{{.State.Status}}' @")
            .prints("running");
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
        sh.ok("podman run -d --name @ bb sh -c 'while :; do date +%s%N > /tmp/now; done'");
        sh.ok("podman pause @");
        sh.run("podman inspect -f '{{.State.Status}}' @").prints("paused");
        sh.run("podman exec @ true")
            .ends_with(255)
            .complains(&["paused", "improper"]);
        sh.ok("podman unpause @");
        sh.run("podman inspect -f '{{.State.Status}}' @")
            .prints("running");
        sh.ok("podman exec @ true");
        sh.ok("podman rm -f -t 0 @");
    });
}

#[test]
fn top() {
    user(|sh| {
        sh.ok("podman run -d --name @ bb sleep 1234");
        sh.run("podman top @ pid args")
            .prints("PID         COMMAND\n1           sleep 1234");
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
fn health() {
    user(|sh| {
        sh.ok(
            "podman run -d --name @ --health-cmd 'test -e /tmp/well' --health-interval disable bb sleep 1000",
        );
        sh.run("podman healthcheck run @").ends_with(1);
        sh.ok("podman exec @ touch /tmp/well");
        sh.run("podman healthcheck run @").ends_with(0);
        sh.ok("podman rm -f -t 0 @");
    });
}

#[test]
fn namespaces_of_another_container() {
    user(|sh| {
        sh.ok("podman run -d --name @ --network bridge --ipc shareable --hostname first bb sleep 1234");
        sh.run("podman run --rm --pid container:@ bb cat /proc/1/cmdline | tr '\\0' ' '")
            .prints("sleep 1234");
        let ip = sh.ok("podman exec @ ip -o -4 addr show eth0");
        sh.run("podman run --rm --network container:@ bb ip -o -4 addr show eth0")
            .prints(&ip);
        sh.ok("podman exec @ touch /dev/shm/shared");
        sh.run("podman run --rm --ipc container:@ bb ls /dev/shm")
            .prints("shared");
        sh.ok("podman rm -f -t 0 @");
    });
}

#[test]
fn a_port_is_published() {
    user(|sh| {
        sh.ok("podman run -d --name @ -p 18080:80 bb sh -c 'echo hello | nc -l -p 80'");
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
        sh.ok("podman run -d --pod @ --name @-1 bb sh -c 'echo hello | nc -l -p 8000'");
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
        sh.ok(&format!(
            "cat > /tmp/@.yaml <<'END'\n{yaml}END\npodman kube play /tmp/@.yaml"
        ));
        sh.until("podman exec @-two cat /data/file", "me");
        sh.ok("podman kube down /tmp/@.yaml; rm /tmp/@.yaml");
    });
}

#[test]
fn limits() {
    user(|sh| {
        needs_cgroup();
        needs_controllers();
        let files = "cd /sys/fs/cgroup; cat memory.max pids.max cpu.max";
        sh.run(&format!(
            "podman run --rm --memory 64m --pids-limit 50 --cpus 0.5 bb sh -c '{files}'"
        ))
        .ends_with(0)
        .prints("67108864\n50\n50000 100000");
        sh.ok("podman run -d --name @ --memory 64m bb sleep 1000");
        sh.ok("podman update --memory 128m @");
        sh.run("podman exec @ cat /sys/fs/cgroup/memory.max")
            .prints("134217728");
        sh.run("podman stats --no-stream --format '{{.Name}}' @")
            .prints(&sh.name);
        sh.ok("podman rm -f -t 0 @");
    });
}

#[test]
fn checkpoint_and_restore() {
    user(|sh| {
        needs_criu();
        let count = "i=0; while :; do i=$((i+1)); echo $i; sleep 0.1; done";
        // The lines are the numbers from 1 on, and there are more than there were.
        let wait_for_more = |name: &str| {
            let lines = sh.ok(&format!("podman logs {name} | wc -l"));
            let more = format!(
                "podman logs {name} | awk '$1 != NR {{ exit 1 }} END {{ if (NR > {lines} + 3) print \"more\" }}'"
            );
            sh.until(&more, "more");
        };
        sh.ok(&format!("podman run -d --name @ bb sh -c '{count}'"));
        wait_for_more("@");
        let saved = sh.run("podman container checkpoint @");
        if saved.err.contains("libcriu.so") {
            sh.ok("podman rm -f -t 0 @");
            needs(false, "libcriu.so.2, which crun loads");
        }
        saved.ends_with(0);
        sh.run("podman inspect -f '{{.State.Status}}' @").prints("exited");
        sh.ok("podman container restore @");
        wait_for_more("@");
        sh.run("podman exec @ echo yes").prints("yes");
        sh.ok("podman container checkpoint --leave-running --export /tmp/@.tar @");
        sh.ok("podman rm -f -t 0 @");
        sh.ok("podman container restore --import /tmp/@.tar --name @-2");
        sh.until(
            "podman logs @-2 | wc -l | awk '$1 > 3 { print \"more\" }'",
            "more",
        );
        sh.ok("podman rm -f -t 0 @-2");
        sh.ok("rm /tmp/@.tar");
    });
}

pub fn needs_criu() {
    needs(!is_rootless(), "root, without whom criu does not work");
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let effective = status.lines().find_map(|line| line.strip_prefix("CapEff:\t"));
    let effective = effective
        .and_then(|set| u64::from_str_radix(set, 16).ok())
        .unwrap_or(0);
    needs(
        effective >> 24 & 1 == 1,
        "CAP_SYS_RESOURCE, with which criu restores limits",
    );
    let found = std::process::Command::new("criu")
        .arg("--version")
        .output()
        .is_ok();
    needs(found, "criu");
}

#[test]
fn limits_are_kept() {
    user(|sh| {
        needs_cgroup();
        needs_controllers();
        sh.run("podman run --rm --memory 32m bb sh -c 'x=x; while :; do x=$x$x; done'")
            .ends_with(137);
        sh.run("podman run --rm --pids-limit 10 bb sh -c 'for i in $(seq 20); do sleep 100 & done'")
            .ends_with(2)
            .complains(&["can't fork"]);
        let script =
            "timeout 2 sh -c \"while :; do :; done\"; grep -c \"nr_throttled [1-9]\" /sys/fs/cgroup/cpu.stat";
        sh.run(&format!("podman run --rm --cpus 0.3 bb sh -c '{script}'"))
            .prints("1");
    });
}

/// A unit of systemd's from a .container file, for root or for the user.
#[test]
fn quadlet() {
    user(|sh| {
        needs(has_systemd(), "systemd");
        let (dir, systemctl) = match is_rootless() {
            true => ("$HOME/.config/containers/systemd", "systemctl --user"),
            false => ("/etc/containers/systemd", "systemctl"),
        };
        let unit = "[Container]\nImage=localhost/bb\nExec=sleep 1000\nContainerName=@\nPodmanArgs=--stop-timeout 0\n";
        sh.ok(&format!(
            "mkdir -p {dir}; printf '{unit}' >{dir}/@.container; {systemctl} daemon-reload"
        ));
        sh.ok(&format!("{systemctl} start @"));
        sh.run(&format!("{systemctl} is-active @")).prints("active");
        sh.run("podman exec @ cat /proc/1/comm").prints("sleep");
        sh.ok(&format!("{systemctl} stop @"));
        sh.run("podman inspect @").ends_with(125);
        sh.ok(&format!("rm {dir}/@.container; {systemctl} daemon-reload"));
    });
}
