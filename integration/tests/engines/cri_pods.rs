//! The lives of pods and their containers, as `kubectl get` and `describe` show them.

use integration::cri::messages::{
    CONTAINER_CREATED, CONTAINER_EXITED, CONTAINER_RUNNING, ContainerStatusRequest, ListPodSandboxRequest,
    PodSandboxFilter, PodSandboxStatusRequest, RemoveContainerRequest, RunPodSandboxRequest,
    SANDBOX_NOTREADY, SANDBOX_READY, StartContainerRequest,
};

use super::{Pod, cri, ended, exec, ok, pid, status, stop, until};
use crate::shell::{Shell, user};

fn remove(container: &str) {
    let request = RemoveContainerRequest { container_id: container.into() };
    cri().ask(&request).expect("a removal");
}

/// The pod's containers, with their states, by name.
fn list(pod: &Pod) -> Vec<(String, i32)> {
    let mut found: Vec<_> =
        pod.list().into_iter().map(|c| (c.metadata.unwrap_or_default().name, c.state)).collect();
    found.sort();
    found
}

fn sandbox_status(pod: &str) -> Result<i32, u32> {
    let request = PodSandboxStatusRequest { pod_sandbox_id: pod.into(), verbose: false };
    let answer = cri().ask(&request).map_err(|refused| refused.code)?;
    Ok(answer.status.unwrap_or_default().state)
}

/// Who reaps a process.
fn parent(sh: &Shell, pid: u32) -> String {
    sh.ok(&format!("ps -o ppid= -p {pid}")).trim().to_string()
}

#[test]
fn three_containers_in_one_shim() {
    user(|sh| {
        let pod = Pod::run(sh);
        let containers = ["a", "b", "c"].map(|name| pod.start(name, "sleep 1000"));
        let names = |state: i32| ["a", "b", "c"].map(|name| (name.to_string(), state));
        assert_eq!(list(&pod), names(CONTAINER_RUNNING));
        assert_eq!(sandbox_status(&pod.id), Ok(SANDBOX_READY));

        let shims = format!("pgrep -f '[c]ontainerd-shim.* -id {}'", pod.id);
        let shim = sh.ok(&shims);
        assert_eq!(shim.lines().count(), 1, "{shim}");
        for container in &containers {
            assert_eq!(parent(sh, pid(container)), shim, "{container}");
        }
        remove(&containers[0]); // and what runs is ended
        assert_eq!(list(&pod), names(CONTAINER_RUNNING)[1..]);
        assert_eq!(exec(&containers[1], "exit 4").2, 4);
        pod.stop();
        assert_eq!(sandbox_status(&pod.id), Ok(SANDBOX_NOTREADY));
        assert_eq!(list(&pod), names(CONTAINER_EXITED)[1..]);
        let id = pod.id.clone();
        pod.remove();
        assert_eq!(sandbox_status(&id), Err(5), "not found");
        sh.until(&format!("{shims} | wc -l"), "0");
    });
}

#[test]
fn the_exit_status_and_its_reason() {
    user(|sh| {
        let pod = Pod::run(sh);
        for (name, script, code, reason) in [
            ("good", "true", 0, "Completed"),
            ("bad", "exit 3", 3, "Error"),
            ("killed", "kill -KILL $$", 137, "Error"),
            ("missing", "/nosuch", 127, "Error"),
        ] {
            // The shell as a child: a first process has no default action for signals.
            let status = ended(&pod.start(name, &format!("sh -c '{script}'; exit $?")));
            assert_eq!((status.exit_code, status.reason.as_str()), (code, reason), "{name}");
            // By containerd's clock, which it may read after what it tells the time of.
            assert!(
                status.created_at <= status.started_at && status.created_at <= status.finished_at,
                "{status:?}"
            );
        }
        pod.remove();
    });
}

#[test]
fn a_program_that_is_not_there() {
    user(|sh| {
        let pod = Pod::run(sh);
        let create = |command: &str| {
            pod.create(command.trim_start_matches('/'), "", |config, _| {
                config.command = vec![command.into()];
            })
        };
        let id = create("nosuch").expect("a container");
        assert_eq!(status(&id).state, CONTAINER_CREATED);
        let request = StartContainerRequest { container_id: id.clone() };
        let refused = cri().ask(&request).expect_err("no program");
        assert!(refused.message.contains("executable file not found in $PATH"), "{refused:?}");
        let status = ended(&id);
        assert_eq!((status.exit_code, status.reason.as_str()), (128, "StartError"), "{status:?}");
        pod.remove();
    });
}

#[test]
fn a_stop_with_a_grace_period() {
    user(|sh| {
        let pod = Pod::run(sh);
        let wait = "while :; do sleep 0.1; done";
        let obeys = pod.start("obeys", &format!("trap 'echo bye; exit 5' TERM; echo ready; {wait}"));
        let refuses = pod.start("refuses", &format!("trap 'echo no' TERM; echo ready; {wait}"));
        for name in ["obeys", "refuses"] {
            until("a trap", || pod.log(name).iter().any(|line| line.text == "ready"));
        }
        stop(&obeys, 300);
        assert_eq!(status(&obeys).exit_code, 5);
        stop(&refuses, 10); // in which it says so
        assert_eq!(status(&refuses).exit_code, 137);
        let last = |name| pod.log(name).pop().map(|line| line.text);
        assert_eq!(last("obeys").as_deref(), Some("bye"));
        assert_eq!(last("refuses").as_deref(), Some("no"));
        stop(&obeys, 0); // once more is no error
        pod.remove();
    });
}

#[test]
fn a_container_in_the_place_of_one_that_ended() {
    user(|sh| {
        let pod = Pod::run(sh);
        for attempt in 0..3 {
            let id = pod.start_with("again", "exit 6", |config, _| {
                config.metadata.get_or_insert_default().attempt = attempt;
            });
            assert_eq!(ended(&id).exit_code, 6);
            remove(&id);
            let request = ContainerStatusRequest { container_id: id, verbose: false };
            assert_eq!(cri().ask(&request).map_err(|refused| refused.code).err(), Some(5));
        }
        assert_eq!(list(&pod), []);
        pod.remove();
    });
}

#[test]
fn the_pods_name_and_address() {
    user(|sh| {
        let pod = Pod::run_with(sh, |config, _| {
            let dns = config.dns_config.get_or_insert_default();
            dns.servers.push("192.0.2.53".into());
            dns.searches.push("example.org".into());
            config.labels.insert("app".into(), sh.name.clone());
        });
        let a = pod.start("a", "sleep 1000");
        assert_eq!(ok(&a, "hostname"), "pod");
        assert_eq!(ok(&a, "cat /etc/resolv.conf"), "search example.org\nnameserver 192.0.2.53");
        let request = PodSandboxStatusRequest { pod_sandbox_id: pod.id.clone(), verbose: false };
        let status = cri().ask(&request).expect("a status").status.expect("a status");
        assert_eq!(status.runtime_handler, "test");
        let address = status.network.expect("a network").ip;
        let shown = ok(&a, "ip -o -4 address show eth0");
        assert!(shown.contains(&format!("inet {address}/")), "{shown}");

        let request = ListPodSandboxRequest {
            filter: Some(PodSandboxFilter {
                label_selector: [("app".to_string(), sh.name.clone())].into(),
                ..PodSandboxFilter::default()
            }),
        };
        let items = cri().ask(&request).expect("a list").items;
        let ids: Vec<_> = items.iter().map(|item| item.id.as_str()).collect();
        assert_eq!(ids, [pod.id.as_str()]);
        pod.remove();
    });
}

#[test]
fn a_handler_that_is_not_configured() {
    user(|sh| {
        let pod = Pod::run(sh);
        let mut config = pod.config.clone();
        config.metadata.get_or_insert_default().attempt = 1;
        let request = RunPodSandboxRequest { config: Some(config), runtime_handler: "nosuch".into() };
        let refused = cri().ask(&request).expect_err("no handler");
        assert!(refused.message.contains("no runtime for \"nosuch\" is configured"), "{refused:?}");
        pod.remove();
    });
}

#[test]
fn ten_pods_at_once() {
    user(|sh| {
        let name = sh.name.as_str();
        let life = |i: i32| {
            let sh = Shell::named(&format!("{name}-{i}"));
            let pod = Pod::run(&sh);
            let stays = pod.start("stays", "sleep 1000");
            let ends = pod.start("ends", &format!("echo {i}; exit {i}"));
            assert_eq!(ended(&ends).exit_code, i);
            assert_eq!(pod.log("ends").pop().map(|line| line.text), Some(i.to_string()));
            assert_eq!(exec(&stays, &format!("exit {}", 100 + i)).2, 100 + i);
            pod.remove();
        };
        std::thread::scope(|scope| {
            for i in 0..10 {
                scope.spawn(move || life(i));
            }
        });
    });
}
