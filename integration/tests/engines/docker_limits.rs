//! Docker: limits, and what is told of them. Needs the controllers, as in integration/vm.

use crate::shell::{needs_controllers, user};

#[test]
fn limits() {
    user(|sh| {
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
            ("--cpu-period 50000 --cpu-quota 20000 --cpuset-cpus 0", "cpu.max cpuset.cpus", "20000 50000\n0"),
        ] {
            sh.run(&format!("docker run --rm {options} bb sh -c 'cd /sys/fs/cgroup; cat {files}'"))
                .ends_with(0)
                .prints(expected);
        }
        sh.ok("docker run -d --name @ --memory 64m bb sleep 1000");
        sh.ok("docker update --memory 128m --memory-swap 128m --pids-limit 60 --cpus 0.25 @");
        sh.run(&format!("docker exec @ sh -c '{files}'")).prints("134217728\n60\n25000 100000");
        sh.ok("docker rm -f @");
    });
}

#[test]
fn limits_are_kept() {
    user(|sh| {
        needs_controllers();
        sh.run("docker run --rm --memory 32m bb sh -c 'x=x; while :; do x=$x$x; done'").ends_with(137);
        // Where the first process goes on, so that containerd's shim has time to look: with it systemd takes the cgroup
        // away.
        sh.ok("docker run -d --name @ --memory 32m --memory-swap 32m bb sh -c '(x=x; while :; do x=$x$x; done); sleep 1000'");
        sh.until("docker inspect -f '{{.State.OOMKilled}} {{.State.Status}}' @", "true running");
        sh.ok("docker rm -f @");
        sh.run("docker run --rm --pids-limit 10 bb sh -c 'for i in $(seq 20); do sleep 100 & done'")
            .ends_with(2)
            .complains(&["can't fork"]);
    });
}

/// What it uses, by the engine's own reading of the cgroup.
#[test]
fn stats() {
    user(|sh| {
        needs_controllers();
        sh.ok("docker run -d --name @ --memory 64m bb sh -c 'sleep 1000 & sleep 1000; true'");
        sh.until("docker top @ | wc -l", "4");
        sh.run("docker stats --no-stream --format '{{.Name}} {{.PIDs}} {{.MemUsage}}' @ | sed 's/ [0-9.]*[KM]iB / SOME /'")
            .prints(&format!("{} 3 SOME / 64MiB", sh.name));
        sh.ok("docker rm -f @");
    });
}
