//! containerd ends and comes back, and the pods are what they were.

use integration::cri::messages::{
    CONTAINER_EXITED, CONTAINER_RUNNING, PodSandboxStatusRequest, SANDBOX_READY, VersionRequest,
};

use super::{Pod, cri, ended, exec, is_ours, ok, pid, status, until};
use crate::shell::{Shell, alone, has_systemd, only_for};

fn kill_containerd(sh: &Shell) {
    sh.ok("kill -s KILL $(pgrep -x containerd)");
    if has_systemd() {
        sh.ok("systemctl stop containerd"); // which would start it anew
    } else {
        sh.until("pgrep -x containerd || echo gone", "gone");
    }
}

fn start_containerd(sh: &Shell) {
    if has_systemd() {
        sh.ok("systemctl start containerd");
    } else {
        sh.ok("setsid containerd >>/tmp/containerd.log 2>&1 &");
    }
    until("containerd's return", || cri().ask(&VersionRequest {}).is_ok());
}

/// Waits for a file, beside which the container has nothing to do.
fn wait(code: i32) -> String {
    format!("until [ -e /go ]; do sleep 0.1; done; echo went; exit {code}")
}

#[test]
fn a_pod_outlives_containerd() {
    alone(|sh| {
        let pod = Pod::run(sh);
        let (a, b) = (pod.start("a", &wait(7)), pod.start("b", "sleep 1000"));
        let pids = (pid(&a), pid(&b));
        kill_containerd(sh);
        start_containerd(sh);
        let request = PodSandboxStatusRequest { pod_sandbox_id: pod.id.clone(), verbose: false };
        let sandbox = cri().ask(&request).expect("the pod").status.unwrap_or_default();
        assert_eq!(sandbox.state, SANDBOX_READY);
        assert_eq!(status(&a).state, CONTAINER_RUNNING);
        assert_eq!((pid(&a), pid(&b)), pids);
        assert_eq!(exec(&b, "exit 4").2, 4);
        ok(&a, "touch /go");
        assert_eq!(ended(&a).exit_code, 7);
        assert_eq!(pod.log("a").pop().map(|line| line.text).as_deref(), Some("went"));
        let c = pod.start("c", "exit 9");
        assert_eq!(ended(&c).exit_code, 9);
        pod.remove();
    });
}

#[test]
fn containers_end_while_containerd_is_away() {
    alone(|sh| {
        only_for(is_ours(), "our shim: containerd's own loses what ends meanwhile");
        let pod = Pod::run(sh);
        let ends: Vec<_> = (1..6).map(|i| pod.start(&format!("c{i}"), &wait(i))).collect();
        let stays = pod.start("stays", "sleep 1000");
        let pids: Vec<_> = ends.iter().map(|id| pid(id)).collect();
        kill_containerd(sh);
        for pid in &pids {
            sh.ok(&format!("touch /proc/{pid}/root/go"));
        }
        sh.until("ps -A -o args= | grep -c '[u]ntil \\[ -e /go'; true", "0");
        start_containerd(sh);
        for (i, id) in (1..).zip(&ends) {
            let status = ended(id);
            assert_eq!((status.state, status.exit_code), (CONTAINER_EXITED, i));
        }
        assert_eq!(exec(&stays, "exit 4").2, 4);
        pod.remove();
    });
}
