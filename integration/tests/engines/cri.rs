//! Kubernetes' pods: what the kubelet asks of containerd's CRI plugin, of which our runtime, or our shim with it, is
//! the handler `test` (see `engines/suite`).

#[path = "cri_isolation.rs"]
mod isolation; // namespaces, users, rights
#[path = "cri_pods.rs"]
mod pods; // the lives of pods and containers
#[path = "cri_resources.rs"]
mod resources; // limits, and what is used
#[path = "cri_restart.rs"]
mod restart; // containerd ends below its pods
#[path = "cri_streams.rs"]
mod streams; // exec, attach, logs, ports

use std::time::{Duration, Instant};

use integration::cri::messages::{
    CONTAINER, CONTAINER_EXITED, CONTAINER_RUNNING, Container, ContainerConfig, ContainerFilter,
    ContainerMetadata, ContainerStatus, ContainerStatusRequest, CreateContainerRequest, ExecSyncRequest,
    ImageSpec, LinuxContainerConfig, LinuxContainerSecurityContext, LinuxPodSandboxConfig,
    LinuxSandboxSecurityContext, ListContainersRequest, NamespaceOption, PodSandboxConfig,
    PodSandboxMetadata, RemovePodSandboxRequest, RunPodSandboxRequest, StartContainerRequest,
    StopContainerRequest, StopPodSandboxRequest, VersionRequest,
};
use integration::cri::{Cri, Refused};

use crate::shell::{Shell, has_systemd, is_ours, runtime};

fn cri() -> Cri {
    Cri::new("/run/containerd/containerd.sock")
}

/// containerd's version, of which the first number says what it can do.
fn containerd_major() -> u32 {
    let version = cri().ask(&VersionRequest {}).expect("a version").runtime_version;
    let major = version.trim_start_matches('v').split('.').next();
    major.and_then(|n| n.parse().ok()).unwrap_or_else(|| panic!("{version}"))
}

/// Waits for what comes by itself.
#[track_caller]
fn until(what: &str, mut is: impl FnMut() -> bool) {
    let end = Instant::now() + Duration::from_secs(300);
    while !is() {
        assert!(Instant::now() < end, "not for five minutes: {what}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// A pod of a test's own, as the kubelet would make it: with a cgroup and a directory for logs.
struct Pod<'a> {
    sh: &'a Shell,
    config: PodSandboxConfig,
    id: String,
    cgroup: Cgroup,
}

/// What the kubelet makes for a pod.
struct Cgroup {
    name: String,
}

impl Cgroup {
    fn new(sh: &Shell, pod: &str) -> Cgroup {
        if has_systemd() {
            let name = format!("kubepods-{}.slice", pod.replace('-', "_"));
            return Cgroup { name };
        }
        sh.ok(&format!("mkdir /sys/fs/cgroup/{pod}"));
        Cgroup { name: pod.into() }
    }

    fn path(&self) -> String {
        let parent = if has_systemd() { "/kubepods.slice" } else { "" };
        format!("{parent}/{}", self.name)
    }

    fn remove(&self, sh: &Shell) {
        if has_systemd() {
            sh.ok(&format!("systemctl stop {}", self.name));
        } else if runtime() == "runc" {
            // Which may leave a container's, as the kubelet is prepared for.
            sh.ok(&format!("find /sys/fs/cgroup/{} -depth -type d -exec rmdir {{}} +", self.name));
        } else {
            sh.ok(&format!("rmdir /sys/fs/cgroup/{}", self.name));
        }
    }
}

/// A process namespace for each container, all others for the pod: what the kubelet asks for unless told.
fn namespaces() -> NamespaceOption {
    NamespaceOption { pid: CONTAINER, ..NamespaceOption::default() }
}

/// containerd 2.1 at times loses the process whose network namespace it is about to keep, and leaves the file to keep it
/// by; the kubelet would try again. Anything else is a failure.
fn sweep_namespace(refused: &Refused) {
    let at = refused
        .message
        .split_once("failed to bind mount ns src: ")
        .and_then(|(_, rest)| rest.split_once(" at "))
        .and_then(|(_, rest)| rest.split_once(": no such file"));
    match at {
        Some((path, _)) => std::fs::remove_file(path).expect("a file that was left"),
        None => panic!("a pod: {refused:?}"),
    }
}

impl Pod<'_> {
    fn run(sh: &Shell) -> Pod<'_> {
        Pod::run_with(sh, |_, _| ())
    }

    /// With another configuration or security context.
    fn run_with(
        sh: &Shell,
        change: impl FnOnce(&mut PodSandboxConfig, &mut LinuxSandboxSecurityContext),
    ) -> Pod<'_> {
        Pod::run_by(sh, "test", change)
    }

    /// With another handler.
    fn run_by<'a>(
        sh: &'a Shell,
        handler: &str,
        change: impl FnOnce(&mut PodSandboxConfig, &mut LinuxSandboxSecurityContext),
    ) -> Pod<'a> {
        let name = sh.name.as_str();
        let cgroup = Cgroup::new(sh, name);
        sh.ok(&format!("mkdir -p /tmp/pods/{name}"));
        let mut config = PodSandboxConfig {
            metadata: Some(PodSandboxMetadata {
                name: name.into(),
                uid: name.into(),
                namespace: "default".into(),
                attempt: 0,
            }),
            hostname: "pod".into(),
            log_directory: format!("/tmp/pods/{name}"),
            ..PodSandboxConfig::default()
        };
        let mut context = LinuxSandboxSecurityContext {
            namespace_options: Some(namespaces()),
            ..LinuxSandboxSecurityContext::default()
        };
        change(&mut config, &mut context);
        config.linux = Some(LinuxPodSandboxConfig {
            cgroup_parent: cgroup.path(),
            security_context: Some(context),
            ..config.linux.take().unwrap_or_default()
        });
        let request = RunPodSandboxRequest { config: Some(config.clone()), runtime_handler: handler.into() };
        let id = cri().ask(&request).or_else(|refused| {
            sweep_namespace(&refused);
            cri().ask(&request)
        });
        let id = id.expect("a pod").pod_sandbox_id;
        Pod { sh, config, id, cgroup }
    }

    /// A container that runs a script of the shell's; its id.
    fn start(&self, name: &str, script: &str) -> String {
        self.start_with(name, script, |_, _| ())
    }

    fn start_with(
        &self,
        name: &str,
        script: &str,
        change: impl FnOnce(&mut ContainerConfig, &mut LinuxContainerSecurityContext),
    ) -> String {
        let id = self.create(name, script, change).expect("a container");
        let request = StartContainerRequest { container_id: id.clone() };
        cri().ask(&request).expect("a start");
        id
    }

    fn create(
        &self,
        name: &str,
        script: &str,
        change: impl FnOnce(&mut ContainerConfig, &mut LinuxContainerSecurityContext),
    ) -> Result<String, Refused> {
        let mut config = ContainerConfig {
            metadata: Some(ContainerMetadata { name: name.into(), attempt: 0 }),
            image: Some(ImageSpec { image: "docker.io/library/bb:latest".into() }),
            command: vec!["sh".into(), "-c".into(), script.into()],
            log_path: format!("{name}.log"),
            ..ContainerConfig::default()
        };
        let sandbox = self.config.linux.as_ref();
        let sandbox = sandbox.and_then(|linux| linux.security_context.as_ref());
        let mut context = LinuxContainerSecurityContext {
            namespace_options: sandbox.and_then(|sandbox| sandbox.namespace_options.clone()),
            ..LinuxContainerSecurityContext::default()
        };
        change(&mut config, &mut context);
        config.linux = Some(LinuxContainerConfig {
            security_context: Some(context),
            ..config.linux.take().unwrap_or_default()
        });
        let request = CreateContainerRequest {
            pod_sandbox_id: self.id.clone(),
            config: Some(config),
            sandbox_config: Some(self.config.clone()),
        };
        Ok(cri().ask(&request)?.container_id)
    }

    /// Runs a container to its end: what it printed.
    fn prints(
        &self,
        name: &str,
        script: &str,
        change: impl FnOnce(&mut ContainerConfig, &mut LinuxContainerSecurityContext),
    ) -> String {
        let id = self.start_with(name, script, change);
        ended(&id);
        let log = self.log(name);
        log.into_iter().map(|line| line.text + "\n").collect()
    }

    /// What a container has printed so far.
    fn log(&self, name: &str) -> Vec<Line> {
        let path = format!("{}/{name}.log", self.config.log_directory);
        let text = std::fs::read_to_string(path).expect("a log");
        text.lines().map(Line::parse).collect()
    }

    fn stop(&self) {
        let request = StopPodSandboxRequest { pod_sandbox_id: self.id.clone() };
        cri().ask(&request).expect("the pod's stop");
    }

    /// The pod's containers.
    fn list(&self) -> Vec<Container> {
        let request = ListContainersRequest {
            filter: Some(ContainerFilter { pod_sandbox_id: self.id.clone(), ..ContainerFilter::default() }),
        };
        cri().ask(&request).expect("a list").containers
    }

    /// With whatever runs in it, and its logs.
    fn remove(self) {
        self.stop();
        // containerd may notice it later than it answers, and then removes nothing; the kubelet waits too.
        until("the containers' end", || self.list().iter().all(|c| c.state != CONTAINER_RUNNING));
        let request = RemovePodSandboxRequest { pod_sandbox_id: self.id.clone() };
        cri().ask(&request).expect("the pod's removal");
        self.sh.ok(&format!("rm -r {}", self.config.log_directory));
        self.cgroup.remove(self.sh);
    }
}

/// A line of a container's log: `TIME STREAM TAG TEXT`, the tag being F for a full line, P for a part of one.
struct Line {
    stream: String,
    tag: String,
    text: String,
}

impl Line {
    fn parse(line: &str) -> Line {
        let parts: Vec<_> = line.splitn(4, ' ').map(str::to_string).collect();
        let [time, stream, tag, text] = <[String; 4]>::try_from(parts).expect("four parts");
        let (date, rest) = time.split_once('T').expect("RFC 3339");
        assert!(
            date.len() == 10 && rest.contains('.') && (rest.ends_with('Z') || rest.contains(['+', '-'])),
            "{line}"
        );
        Line { stream, tag, text }
    }
}

/// A program's output, and how it ended.
fn exec(container: &str, script: &str) -> (String, String, i32) {
    let request = ExecSyncRequest {
        container_id: container.into(),
        cmd: vec!["sh".into(), "-c".into(), script.into()],
        timeout: 0,
    };
    let answer = cri().ask(&request).expect("an exec");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (text(&answer.stdout), text(&answer.stderr), answer.exit_code)
}

/// What a program prints that succeeds, without the newline at its end.
#[track_caller]
fn ok(container: &str, script: &str) -> String {
    let (out, err, code) = exec(container, script);
    assert_eq!((code, err.as_str()), (0, ""), "{script}: {out}");
    out.trim_end().to_string()
}

fn status(container: &str) -> ContainerStatus {
    let request = ContainerStatusRequest { container_id: container.into(), verbose: false };
    cri().ask(&request).expect("a status").status.expect("a status")
}

/// The pid of a container's first process.
fn pid(container: &str) -> u32 {
    let request = ContainerStatusRequest { container_id: container.into(), verbose: true };
    let info = cri().ask(&request).expect("a status").info;
    let info: serde_json::Value =
        serde_json::from_str(info.get("info").map_or("", String::as_str)).expect("JSON");
    let pid = info["pid"].as_u64().and_then(|pid| u32::try_from(pid).ok());
    pid.expect("a pid")
}

/// Waits for a container's end.
fn ended(container: &str) -> ContainerStatus {
    until("the container's end", || status(container).state == CONTAINER_EXITED);
    status(container)
}

fn stop(container: &str, timeout: i64) {
    let request = StopContainerRequest { container_id: container.into(), timeout };
    cri().ask(&request).expect("a stop");
}
