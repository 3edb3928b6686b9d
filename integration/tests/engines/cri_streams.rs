//! What goes in and out of containers: `kubectl exec`, `attach`, `logs` and `port-forward`.

use integration::cri::messages::{
    AttachRequest, ExecRequest, ExecSyncRequest, PortForwardRequest, ReopenContainerLogRequest,
};
use integration::cri::{PortForward, Stream};

use super::{Pod, cri, ended, exec, ok, until};
use crate::shell::user;

fn stream(container: &str, script: &str, tty: bool) -> Stream {
    let request = ExecRequest {
        container_id: container.into(),
        cmd: vec!["sh".into(), "-c".into(), script.into()],
        tty,
        stdin: true,
        stdout: true,
        stderr: !tty,
    };
    Stream::open(&cri().ask(&request).expect("an exec").url)
}

fn forward(pod: &Pod, port: u16) -> PortForward {
    let request = PortForwardRequest { pod_sandbox_id: pod.id.clone(), port: vec![port.into()] };
    PortForward::open(&cri().ask(&request).expect("a port").url, port)
}

#[test]
fn exec_waits_for_the_program() {
    user(|sh| {
        let pod = Pod::run(sh);
        let a = pod.start("a", "sleep 1000");
        let (out, err, code) = exec(&a, "echo out; echo err >&2; exit 4");
        assert_eq!((out.as_str(), err.as_str(), code), ("out\n", "err\n", 4));
        let (out, _, code) = exec(&a, "head -c 1000000 /dev/zero; exit 5");
        assert_eq!((out.len(), code), (1_000_000, 5));

        let mut request = ExecSyncRequest { container_id: a.clone(), cmd: vec!["nosuch".into()], timeout: 0 };
        let refused = cri().ask(&request).expect_err("no program");
        assert!(refused.message.contains("executable file not found in $PATH"), "{refused:?}");
        request.cmd = vec!["sleep".into(), "1234".into()];
        request.timeout = 1;
        let refused = cri().ask(&request).expect_err("a time limit");
        assert_eq!(refused.code, 4, "{refused:?}"); // deadline exceeded
        assert!(refused.message.contains("timeout 1s exceeded"), "{refused:?}");
        assert_eq!(ok(&a, "ps -o args | grep -cx 'sleep 1234' || true"), "0");
        pod.remove();
    });
}

#[test]
fn exec_with_input() {
    user(|sh| {
        let pod = Pod::run(sh);
        let a = pod.start("a", "sleep 1000");
        let mut exec = stream(&a, "read x; echo got $x; read y; echo and $y >&2; exit 7", false);
        exec.input("one\n");
        assert_eq!(exec.until(1, "got one\n"), "got one\n");
        exec.input("two\n");
        let (out, err, code) = exec.end();
        assert_eq!((out.as_str(), err.as_str(), code), ("", "and two\n", 7));
        pod.remove();
    });
}

#[test]
fn exec_on_a_terminal() {
    user(|sh| {
        let pod = Pod::run(sh);
        let a = pod.start("a", "sleep 1000");
        let mut exec = stream(&a, "tty; until stty size | grep '41 97'; do :; done; exit 3", true);
        exec.until(1, "/dev/pts/");
        exec.resize(97, 41);
        exec.until(1, "41 97");
        assert_eq!(exec.end().2, 3);
        pod.remove();
    });
}

#[test]
fn attach() {
    user(|sh| {
        let pod = Pod::run(sh);
        let script = "while read x; do echo got $x; echo saw $x >&2; [ $x != end ] || exit 8; done";
        let a = pod.start_with("a", script, |config, _| config.stdin = true);
        let request =
            AttachRequest { container_id: a.clone(), stdin: true, tty: false, stdout: true, stderr: true };
        let attach = || Stream::open(&cri().ask(&request).expect("an attach").url);
        let mut first = attach();
        first.input("one\n");
        assert_eq!(first.until(1, "got one\n"), "got one\n");
        assert_eq!(first.until(2, "saw one\n"), "saw one\n");
        drop(first); // and the program goes on
        let mut second = attach();
        second.input("two\n");
        second.until(1, "got two\n");
        second.input("end\n");
        assert_eq!(ended(&a).exit_code, 8);
        let log = pod.log("a");
        let said = |stream| {
            log.iter().filter(|line| line.stream == stream).map(|line| line.text.as_str()).collect::<Vec<_>>()
        };
        assert_eq!(said("stdout"), ["got one", "got two", "got end"]);
        assert_eq!(said("stderr"), ["saw one", "saw two", "saw end"]);
        pod.remove();
    });
}

#[test]
fn logs() {
    user(|sh| {
        let pod = Pod::run(sh);
        let id =
            pod.start("a", "echo out; echo err >&2; head -c 40000 /dev/zero | tr '\\0' x; echo; printf last");
        ended(&id);
        let log = pod.log("a");
        let seen: Vec<_> = log.iter().map(|l| (l.stream.as_str(), l.tag.as_str(), l.text.len())).collect();
        assert!(seen.contains(&("stderr", "F", 3)), "{seen:?}");
        let out: Vec<_> = seen.into_iter().filter(|line| line.0 == "stdout").collect();
        // Lines are cut at 16 KiB, and what has no newline is a part of one.
        let expected = [("F", 3), ("P", 16384), ("P", 16384), ("F", 7232), ("P", 4)];
        assert_eq!(out, expected.map(|(tag, length)| ("stdout", tag, length)));
        pod.remove();
    });
}

#[test]
fn a_log_of_many_lines_is_complete() {
    user(|sh| {
        let pod = Pod::run(sh);
        ended(&pod.start("a", "seq 100000"));
        let log = pod.log("a");
        let complete = log
            .iter()
            .map(|line| line.text.as_str())
            .eq((1..=100_000).map(|n| n.to_string()).collect::<Vec<_>>());
        assert!(complete, "{} lines", log.len());
        pod.remove();
    });
}

#[test]
fn logs_are_rotated() {
    user(|sh| {
        let pod = Pod::run(sh);
        let id = pod.start("a", "i=0; while :; do i=$((i + 1)); echo $i; sleep 0.05; done");
        until("a line", || !pod.log("a").is_empty());
        let (path, old) =
            (format!("{}/a.log", pod.config.log_directory), format!("{}/a.log.1", pod.config.log_directory));
        std::fs::rename(&path, &old).expect("a rename");
        let request = ReopenContainerLogRequest { container_id: id };
        cri().ask(&request).expect("a new log");
        until("a line in the new log", || std::fs::metadata(&path).is_ok_and(|m| m.len() > 0));
        // Not one line is lost between them.
        let last = std::fs::read_to_string(&old).expect("the old log");
        let last = last.lines().last().and_then(|l| l.rsplit(' ').next()?.parse::<u32>().ok());
        let first = pod.log("a").first().and_then(|line| line.text.parse::<u32>().ok());
        assert_eq!(last.map(|n| n + 1), first);
        pod.remove();
    });
}

#[test]
fn port_forward() {
    user(|sh| {
        let pod = Pod::run(sh);
        let id = pod.start("a", "echo ready; nc -l -p 8080 -e cat");
        until("a server", || ok(&id, "netstat -ltn").contains(":8080 "));
        let mut port = forward(&pod, 8080);
        let sent: Vec<u8> = (0..200_000_u32).map(|n| (n % 251) as u8).collect();
        for chunk in sent.chunks(10_000) {
            port.send(chunk);
            assert_eq!(port.receive(chunk.len()), chunk);
        }
        drop(port);
        let said = forward(&pod, 81).error();
        assert!(said.contains("connection refused"), "{said}");
        pod.remove();
    });
}
