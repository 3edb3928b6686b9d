//! Podman: what goes on around a container. Much of it needs systemd and limits, as in integration/vm.

use super::needs_cgroup;
use crate::shell::{has_systemd, is_rootless, needs, needs_controllers, only_for, user};

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
fn limits() {
    user(|sh| {
        needs_cgroup();
        needs_controllers();
        let files = "cd /sys/fs/cgroup; cat memory.max pids.max cpu.max";
        for (options, files, expected) in [
            (
                "--memory 64m --pids-limit 50 --cpus 0.5",
                "memory.max pids.max cpu.max",
                "67108864\n50\n50000 100000",
            ),
            (
                "--memory 64m --memory-swap 96m --memory-reservation 32m",
                "memory.swap.max memory.low",
                "33554432\n33554432",
            ),
            ("--pids-limit -1", "pids.max", "max"),
            ("--cpu-period 50000 --cpu-quota 20000 --cpuset-cpus 0", "cpu.max cpuset.cpus", "20000 50000\n0"),
            ("--cgroup-conf memory.high=50331648", "memory.high", "50331648"),
        ] {
            sh.run(&format!("podman run --rm {options} bb sh -c 'cd /sys/fs/cgroup; cat {files}'"))
                .ends_with(0)
                .prints(expected);
        }
        sh.ok("podman run -d --name @ --memory 64m bb sleep 1000");
        sh.ok("podman update --memory 128m --pids-limit 60 --cpus 0.25 @");
        sh.run(&format!("podman exec @ sh -c '{files}'")).prints("134217728\n60\n25000 100000");
        sh.ok("podman rm -f -t 0 @");
    });
}

/// What it uses, by the engine's own reading of the cgroup.
#[test]
fn stats() {
    user(|sh| {
        needs_cgroup();
        needs_controllers();
        sh.ok("podman run -d --name @ --memory 64m bb sh -c 'sleep 1000 & sleep 1000; true'");
        sh.until("podman top @ pid | wc -l", "4");
        sh.run("podman stats --no-stream --no-reset --format '{{.Name}} {{.PIDs}} {{.MemUsage}}' @ | sed 's/ [0-9.]*[kM]B / SOME /'")
            .prints(&format!("{} 3 SOME / 67.11MB", sh.name));
        sh.ok("podman rm -f -t 0 @");
    });
}

/// The begin of a loop that counts, with a name that only this process has.
pub const COUNT_BY_NAME: &str = "read name </proc/sys/kernel/random/uuid; while :; do echo $name $((i+=1))";

/// A filter that prints `beyond` if the same process has counted further; one that was begun anew has another name.
pub fn beyond(last: &str) -> String {
    let (name, count) = last.split_once(' ').expect("a name and a number");
    format!("awk '$1 == \"{name}\" && $2 > {count} {{ found = 1 }} END {{ if (found) print \"beyond\" }}'")
}

#[test]
fn checkpoint_and_restore() {
    user(|sh| {
        needs_criu();
        // The lines have the numbers from 1 on, and there are more than there were.
        let wait_for_more = |name: &str| {
            let lines = sh.ok(&format!("podman logs {name} | wc -l"));
            let more = format!(
                "podman logs {name} | awk '$2 != NR {{ exit 1 }} END {{ if (NR > {lines} + 3) print \"more\" }}'"
            );
            sh.until(&more, "more");
        };
        sh.ok(&format!("podman run -d --name @ bb sh -c '{COUNT_BY_NAME}; sleep 0.1; done'"));
        wait_for_more("@");
        let saved = sh.run("podman container checkpoint @");
        if saved.err.contains("libcriu.so") {
            sh.ok("podman rm -f -t 0 @");
            only_for(false, "runtimes that need no libcriu.so.2, which crun loads");
        }
        saved.ends_with(0);
        sh.run("podman inspect -f '{{.State.Status}}' @").prints("exited");
        sh.ok("podman container restore @");
        wait_for_more("@");
        sh.run("podman exec @ echo yes").prints("yes");
        sh.ok("podman container checkpoint --leave-running --export /tmp/@.tar @");
        let last = sh.ok("podman logs --tail 1 @");
        sh.ok("podman rm -f -t 0 @");
        sh.ok("podman container restore --import /tmp/@.tar --name @-2");
        sh.until(&format!("podman logs @-2 | {}", beyond(&last)), "beyond");
        sh.ok("podman rm -f -t 0 @-2");
        sh.ok("rm /tmp/@.tar");
    });
}

pub fn needs_criu() {
    only_for(!is_rootless(), "root, without whom criu does not work");
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let effective = status.lines().find_map(|line| line.strip_prefix("CapEff:\t"));
    let effective = effective.and_then(|set| u64::from_str_radix(set, 16).ok()).unwrap_or(0);
    needs(effective >> 24 & 1 == 1, "CAP_SYS_RESOURCE, with which criu restores limits");
    let found = std::process::Command::new("criu").arg("--version").output().is_ok();
    needs(found, "criu");
}

#[test]
fn limits_are_kept() {
    user(|sh| {
        needs_cgroup();
        needs_controllers();
        sh.run("podman run --rm --memory 32m bb sh -c 'x=x; while :; do x=$x$x; done'").ends_with(137);
        // conmon gives up watching when a limit is reached without an end (2.1, with runc as well), and looks once
        // more when the first process has ended: where another one keeps the cgroup, which systemd would remove.
        sh.ok("podman run -d --name @ --pid host --memory 32m --memory-swap 32m bb sh -c '(x=x; while :; do x=$x$x; done); sleep 1000 >/dev/null 2>&1 & exit 5'");
        sh.run("podman wait @").prints("5");
        sh.run("podman inspect -f '{{.State.OOMKilled}} {{.State.ExitCode}}' @").prints("true 5");
        sh.ok("podman rm @");
        sh.run("podman run --rm --pids-limit 10 bb sh -c 'for i in $(seq 20); do sleep 100 & done'")
            .ends_with(2)
            .complains(&["can't fork"]);
        let script =
            "timeout 2 sh -c \"while :; do :; done\"; grep -c \"nr_throttled [1-9]\" /sys/fs/cgroup/cpu.stat";
        sh.run(&format!("podman run --rm --cpus 0.3 bb sh -c '{script}'")).prints("1");
    });
}

/// systemd's timer asks for it.
#[test]
fn health_by_a_timer() {
    user(|sh| {
        needs(has_systemd(), "systemd");
        sh.ok("podman run -d --name @ --health-cmd 'test -e /tmp/well' --health-interval 2s --health-retries 1 bb sleep 1000");
        sh.until("podman inspect -f '{{.State.Health.Status}}' @", "unhealthy");
        sh.ok("podman exec @ touch /tmp/well");
        sh.until("podman inspect -f '{{.State.Health.Status}}' @", "healthy");
        sh.ok("podman rm -f -t 0 @");
    });
}

/// Where this user's units are, and who is told of them.
fn units() -> (&'static str, &'static str) {
    match is_rootless() {
        true => ("$HOME/.config/containers/systemd", "systemctl --user"),
        false => ("/etc/containers/systemd", "systemctl"),
    }
}

/// A unit of systemd's from a .container file, for root or for the user.
#[test]
fn quadlet() {
    user(|sh| {
        needs(has_systemd(), "systemd");
        let (dir, systemctl) = units();
        let unit = "[Container]\nImage=localhost/bb\nExec=sleep 1000\nContainerName=@\nPodmanArgs=--stop-timeout 0\n";
        sh.ok(&format!("mkdir -p {dir}; printf '{unit}' >{dir}/@.container; {systemctl} daemon-reload"));
        sh.ok(&format!("{systemctl} start @"));
        sh.run(&format!("{systemctl} is-active @")).prints("active");
        sh.run("podman exec @ cat /proc/1/comm").prints("sleep");
        sh.ok(&format!("{systemctl} stop @"));
        sh.run("podman inspect @").ends_with(125);
        sh.ok(&format!("rm {dir}/@.container; {systemctl} daemon-reload"));
    });
}

/// sd_notify(3): the unit is active once the program says that it is ready, and not before.
#[test]
fn quadlet_with_notify() {
    user(|sh| {
        needs(has_systemd(), "systemd");
        let (dir, systemctl) = units();
        // busybox has no program for it, but what goes to the system's log is a datagram of lines too.
        let script = "ln -s $NOTIFY_SOCKET /dev/log; touch /w/up; until test -e /w/go; do sleep 0.1; done\n\
            logger \"$(printf \"x\\nREADY=1\")\"; sleep 1000";
        let unit = "[Container]\nImage=localhost/bb\nContainerName=@\nNotify=true\nPodmanArgs=--stop-timeout 0\n\
            Volume=/tmp/@:/w\nExec=sh /w/script";
        sh.ok(&format!(
            "mkdir -p {dir} /tmp/@; cat >{dir}/@.container <<'END'\n{unit}\nEND\n\
             cat >/tmp/@/script <<'END'\n{script}\nEND\n{systemctl} daemon-reload; {systemctl} start --no-block @"
        ));
        sh.until("ls /tmp/@", "up");
        sh.run(&format!("{systemctl} is-active @")).prints("activating");
        sh.ok("touch /tmp/@/go");
        sh.until(&format!("{systemctl} is-active @"), "active");
        sh.ok(&format!("{systemctl} stop @; rm -r /tmp/@ {dir}/@.container; {systemctl} daemon-reload"));
    });
}
