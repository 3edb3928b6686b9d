//! What pods and containers use, and how much they may: `kubectl top`, limits, and running out of memory.

use integration::cri::messages::{
    ContainerStats, ContainerStatsFilter, ContainerStatsRequest, LinuxContainerResources,
    ListContainerStatsRequest, PodSandboxStatsRequest, UpdateContainerResourcesRequest,
};

use super::{Pod, containerd_major, cri, ended, is_ours, ok, status, until};
use crate::shell::{has_controllers, needs_controllers, user};

fn cpu_and_memory(stats: &ContainerStats) -> (u64, u64) {
    let cpu = stats.cpu.and_then(|cpu| cpu.usage_core_nano_seconds);
    let memory = stats.memory.and_then(|memory| memory.working_set_bytes);
    (cpu.unwrap_or_default().value, memory.unwrap_or_default().value)
}

/// containerd's own shim tells nothing where the controllers aren't all there.
#[test]
fn what_a_container_uses() {
    user(|sh| {
        let pod = Pod::run(sh);
        let busy = pod.start("busy", "x=$(head -c 3000000 /dev/zero | tr '\\0' x); while :; do :; done");
        pod.start("idle", "sleep 1000");
        let request = ContainerStatsRequest { container_id: busy.clone() };
        let stats = || cri().ask(&request).expect("stats").stats.expect("stats");
        if has_controllers() || is_ours() {
            until("some CPU time", || cpu_and_memory(&stats()).0 > 100_000_000);
        }
        let attributes = stats().attributes.unwrap_or_default();
        assert_eq!(attributes.id, busy);
        if has_controllers() {
            until("some memory", || cpu_and_memory(&stats()).1 > 3_000_000);
        }
        let filter =
            ContainerStatsFilter { pod_sandbox_id: pod.id.clone(), ..ContainerStatsFilter::default() };
        let all = cri().ask(&ListContainerStatsRequest { filter: Some(filter) }).expect("stats").stats;
        let mut names: Vec<_> = all
            .iter()
            .filter_map(|stats| Some(stats.attributes.as_ref()?.metadata.as_ref()?.name.as_str()))
            .collect();
        names.sort_unstable();
        assert_eq!(names, ["busy", "idle"]);
        pod.remove();
    });
}

#[test]
fn what_a_pod_uses() {
    user(|sh| {
        let pod = Pod::run(sh);
        pod.start("busy", "while :; do :; done");
        pod.start("idle", "sleep 1000");
        let request = PodSandboxStatsRequest { pod_sandbox_id: pod.id.clone() };
        let stats = || {
            let answer = cri().ask(&request).expect("stats");
            answer.stats.and_then(|stats| stats.linux).expect("stats")
        };
        let is_busy = |stats: &ContainerStats| cpu_and_memory(stats).0 > 100_000_000;
        if has_controllers() || is_ours() {
            until("some CPU time", || stats().containers.iter().any(is_busy));
        }
        let stats = stats();
        assert_eq!(stats.containers.len(), 2);
        let interface = stats.network.and_then(|network| network.default_interface);
        assert_eq!(interface.unwrap_or_default().name, "eth0");
        let processes = stats.process.and_then(|process| process.process_count);
        let processes = processes.unwrap_or_default().value;
        // containerd 2 asks the pod's cgroup, and so counts the sandbox's own too.
        if has_controllers() || containerd_major() < 2 {
            assert!(processes >= 2, "{processes} processes");
        }
        pod.remove();
    });
}

fn limits() -> LinuxContainerResources {
    LinuxContainerResources {
        cpu_period: 100_000,
        cpu_quota: 50_000,
        cpu_shares: 512,
        memory_limit_in_bytes: 64 << 20,
        ..LinuxContainerResources::default()
    }
}

#[test]
fn limits_can_be_changed() {
    user(|sh| {
        needs_controllers();
        let pod = Pod::run(sh);
        let a = pod.start_with("a", "sleep 1000", |config, _| {
            config.linux.get_or_insert_default().resources = Some(limits());
        });
        let shown = || ok(&a, "cd /sys/fs/cgroup; cat memory.max cpu.max");
        assert_eq!(shown(), format!("{}\n50000 100000", 64 << 20));
        // Half the usual share: 20 as older runtimes count, 59 as newer ones do.
        let weight = ok(&a, "cat /sys/fs/cgroup/cpu.weight");
        assert!(["20", "59"].contains(&weight.as_str()), "{weight}");
        let request = UpdateContainerResourcesRequest {
            container_id: a.clone(),
            linux: Some(LinuxContainerResources {
                cpu_quota: 20_000,
                memory_limit_in_bytes: 80 << 20,
                ..limits()
            }),
        };
        cri().ask(&request).expect("an update");
        assert_eq!(shown(), format!("{}\n20000 100000", 80 << 20));
        pod.remove();
    });
}

#[test]
fn out_of_memory() {
    user(|sh| {
        needs_controllers();
        let pod = Pod::run(sh);
        let a = pod.start_with("a", "x=$(tr '\\0' x < /dev/zero)", |config, _| {
            config.linux.get_or_insert_default().resources = Some(limits());
        });
        assert_eq!(ended(&a).exit_code, 137);
        // containerd hears of both, in either order.
        until("the reason", || status(&a).reason == "OOMKilled");
        pod.remove();
    });
}
