//! What is a shim's part: output, exits, events, and that it outlives containerd. All of it holds for containerd's own
//! shim too, which `make engines` runs as the control.

use super::{binary, listen, remove, start, status, stop_listening};
use crate::shell::{Shell, alone, is_ours, only_for, user};

/// The events of this test's containers that match `topics`, once there are as many.
fn events(sh: &Shell, topics: &str, count: usize) -> Vec<String> {
    let grep = format!("grep -oE '/tasks/({topics}) .*@.*' /tmp/@.events");
    sh.until(&format!("{grep} | wc -l"), &count.to_string());
    let lines = sh.ok(&grep);
    lines.lines().map(|line| line.split_whitespace().next().unwrap_or_default().to_string()).collect()
}

/// How often a test repeats what must always hold: a thousand times with LONG set.
fn rounds() -> usize {
    if std::env::var_os("LONG").is_some() { 1000 } else { 20 }
}

#[test]
fn output_to_a_slow_reader() {
    user(|sh| {
        let size = 100 << 20;
        let line =
            format!("ctr run --rm {} docker.io/library/bb:latest @ head -c {size} /dev/zero", binary("@"));
        sh.run(&format!("{line} | (sleep 2; wc -c)")).prints(&size.to_string());
        let line = format!("ctr run --rm {} docker.io/library/bb:latest @ seq 100000", binary("@"));
        sh.run(&format!("{line} | cksum")).prints(&sh.ok("seq 100000 | cksum"));
    });
}

#[test]
fn input_ends() {
    user(|sh| {
        start(sh, "sleep 1000");
        sh.run("printf 'a\\nb\\n' | ctr tasks exec --exec-id e @ wc -l").ends_with(0).prints("2");
        sh.run("head -c 5000000 /dev/zero | ctr tasks exec --exec-id f @ wc -c")
            .ends_with(0)
            .prints("5000000");
        remove(sh);
    });
}

#[test]
fn a_terminals_size() {
    user(|sh| {
        let line = format!(
            "stty rows 41 cols 97; ctr run --rm -t {} docker.io/library/bb:latest @ \
             sh -c \"until stty size | grep 41; do :; done\"",
            binary("@")
        );
        let ran = sh.run(&format!("script -qec '{line}' /dev/null")).ends_with(0);
        assert!(ran.out.contains("41 97"), "{}", ran.out);
    });
}

#[test]
fn exits_at_once() {
    user(|sh| {
        listen(sh);
        let rounds = rounds();
        for i in 0..rounds {
            let line = format!(
                "ctr run --rm {} docker.io/library/bb:latest @ sh -c \"exit {}\"",
                binary("@"),
                i % 100
            );
            sh.run(&line).ends_with(i as i32 % 100);
        }
        // containerd's own shim (2.1) may end before it has told of the deletion.
        let order = match is_ours() {
            true => &["/tasks/create", "/tasks/start", "/tasks/exit", "/tasks/delete"][..],
            false => &["/tasks/create", "/tasks/start", "/tasks/exit"],
        };
        let topics: Vec<&str> = order.iter().map(|topic| &topic["/tasks/".len()..]).collect();
        let seen = events(sh, &topics.join("|"), order.len() * rounds);
        for life in seen.chunks(order.len()) {
            assert_eq!(life, order);
        }
        stop_listening(sh);
    });
}

#[test]
fn execs_that_exit_at_once() {
    user(|sh| {
        start(sh, "sleep 1000");
        listen(sh);
        let rounds = rounds();
        for i in 0..rounds {
            sh.run(&format!("ctr tasks exec --exec-id e{i} @ sh -c \"exit {}\"", i % 100))
                .ends_with(i as i32 % 100);
        }
        let seen = events(sh, ".*", 3 * rounds);
        for life in seen.chunks(3) {
            assert_eq!(life, ["/tasks/exec-added", "/tasks/exec-started", "/tasks/exit"]);
        }
        stop_listening(sh);
        // No zombie stays; those of other tests go too.
        sh.until("ps -A -o stat=,comm= | grep -c ^Z; true", "0");
        remove(sh);
    });
}

#[test]
fn a_pod_has_one_shim() {
    user(|sh| {
        let annotation = "--annotation io.kubernetes.cri.sandbox-id=@";
        for i in 0..3 {
            sh.ok(&format!(
                "ctr run --detach {annotation} {} docker.io/library/bb:latest @-{i} sleep 1000",
                binary(&format!("@-{i}"))
            ));
        }
        let shims = "ps -A -o args= | grep -c '[c]ontainerd-shim.* -id @'";
        sh.run(shims).prints("1");
        sh.ok("ctr tasks kill -s KILL @-0");
        sh.until(&status("ctr", "@-0"), "STOPPED");
        sh.ok("ctr tasks rm @-0; ctr containers rm @-0");
        sh.run("ctr tasks exec --exec-id e @-2 echo in").prints("in");
        sh.ok("ctr tasks kill -s KILL @-1; ctr tasks kill -s KILL @-2");
        sh.until("ctr tasks ls | grep ^@ | grep -c STOPPED; true", "2");
        sh.ok("ctr tasks rm @-1 @-2; ctr containers rm @-1 @-2");
        sh.until(&format!("{shims}; true"), "0");
    });
}

fn stop_containerd(sh: &Shell) {
    sh.ok("kill -s KILL $(pgrep -x containerd); while pgrep -x containerd; do sleep 0.05; done");
}

fn start_containerd(sh: &Shell) {
    sh.ok(
        "setsid containerd >/tmp/containerd.log 2>&1 & until ctr version >/dev/null 2>&1; do sleep 0.1; done",
    );
}

/// Containers run on without containerd, and end, and it learns how: what containerd's own shim doesn't manage, since
/// containerd throws away at once what has no process any more.
#[test]
fn containerd_is_killed() {
    alone(|sh| {
        only_for(is_ours(), "our shim: containerd's own loses what ends meanwhile");
        for i in 1..=50 {
            let ends = format!("sh -c \"until [ -e /go ]; do sleep 0.1; done; exit {i}\"");
            sh.ok(&format!(
                "ctr run --detach {} docker.io/library/bb:latest @-{i} {ends}",
                binary(&format!("@-{i}"))
            ));
        }
        let pids = sh.ok("ctr tasks ls | sed -n 's/^@-[0-9]* *\\([0-9]*\\).*/\\1/p'");
        stop_containerd(sh);
        for pid in pids.lines() {
            sh.ok(&format!("touch /proc/{pid}/root/go"));
        }
        sh.until("ps -A -o args= | grep -c '[u]ntil \\[ -e /go'; true", "0");
        start_containerd(sh);
        for i in 1..=50 {
            sh.until(&status("ctr", &format!("@-{i}")), "STOPPED");
            sh.run(&format!("ctr tasks rm @-{i}")).complains(&[&format!("exit with non-zero exit code {i}")]);
            sh.ok(&format!("ctr containers rm @-{i}"));
        }
    });
}

/// In the middle of creations; whatever became of them can be removed.
#[test]
fn containerd_is_killed_in_mid_create() {
    alone(|sh| {
        only_for(is_ours(), "our shim: containerd's own leaves cgroups of creates that were cut off");
        sh.ok(&format!(
            "for i in $(seq 20); do ctr run --detach {} docker.io/library/bb:latest @-$i sleep 1000 >/dev/null 2>&1 & done; sleep 0.3; true",
            binary("@-$i")
        ));
        stop_containerd(sh);
        start_containerd(sh);
        // Clients that were on their way go on, or give up.
        sh.until("pgrep -c -f '[c]tr run .*@-'; true", "0");
        sh.ok("for c in $(ctr containers ls -q | grep ^@); do ctr tasks kill -s KILL $c; ctr tasks rm -f $c; ctr containers rm $c; done 2>/dev/null; true");
        sh.until("ctr containers ls -q | grep -c ^@; true", "0");
        sh.until("ps -A -o args= | grep -c '[c]ontainerd-shim.* -id @'; true", "0");
    });
}

#[test]
fn the_shim_is_killed() {
    user(|sh| {
        start(sh, "sleep 1000");
        sh.ok("kill -s KILL $(pgrep -f '[c]ontainerd-shim.* -id @ ')");
        sh.until("ctr tasks ls | grep -c '^@ .*RUNNING'; true", "0");
        sh.run("ctr tasks rm -f @");
        sh.ok("ctr containers rm @");
        sh.until("ps -A -o args= | grep -c '[c]ontainerd-shim.* -id @ '; true", "0");
    });
}
