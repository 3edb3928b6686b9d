//! What a pod's containers share with each other and with the machine, and what their programs may do.

use integration::cri::messages::{
    Capability, IDMapping, LinuxContainerSecurityContext, Mount, NODE, NamespaceOption, POD, RUNTIME_DEFAULT,
    SecurityProfile, StatusRequest, TARGET, UNCONFINED, UserNamespace,
};

use super::{Pod, containerd_major, cri, ended, is_ours, namespaces, ok, pid, until};
use crate::shell::{MOUNTS, Shell, needs_apparmor, only_for, runtime, user};

/// What a namespace is, as seen from the machine.
fn namespace(pid: u32, kind: &str) -> String {
    let link = std::fs::read_link(format!("/proc/{pid}/ns/{kind}")).expect("a namespace");
    link.to_string_lossy().into_owned()
}

/// How many processes of this command line a container sees.
fn count(container: &str, line: &str) -> usize {
    let seen = ok(container, "ps -o args");
    seen.lines().filter(|seen| *seen == line).count()
}

#[test]
fn containers_share_the_pods_namespaces() {
    user(|sh| {
        let pod = Pod::run(sh);
        let (a, b) = (pod.start("a", "sleep 1000"), pod.start("b", "sleep 1000"));
        let same = |kind| namespace(pid(&a), kind) == namespace(pid(&b), kind);
        let shared: Vec<_> =
            ["net", "ipc", "uts", "pid", "mnt"].into_iter().filter(|kind| same(kind)).collect();
        assert_eq!(shared, ["net", "ipc", "uts"]);
        for kind in ["net", "ipc", "uts", "pid", "mnt"] {
            assert_ne!(namespace(pid(&a), kind), namespace(std::process::id(), kind), "{kind}");
        }
        ok(&a, "echo hello > /dev/shm/x");
        assert_eq!(ok(&b, "cat /dev/shm/x"), "hello");
        until("its own process, and no other's", || count(&a, "sleep 1000") == 1);
        pod.remove();
    });
}

#[test]
fn a_process_namespace_for_the_pod() {
    user(|sh| {
        let pod = Pod::run_with(sh, |_, context| {
            context.namespace_options = Some(NamespaceOption { pid: POD, ..namespaces() });
        });
        let a = pod.start("a", "sleep 1001");
        let b = pod.start("b", "sleep 1002");
        until("the other's process", || count(&b, "sleep 1001") == 1);
        assert_eq!(ok(&a, "cat /proc/1/comm"), "pause");
        // The shim ends what a container leaves in a namespace that isn't its own.
        until("its own process", || count(&b, "sleep 1002") == 1);
        ok(&b, "setsid sleep 1003 >/dev/null 2>&1 </dev/null &");
        until("a child", || count(&a, "sleep 1003") == 1);
        ok(&a, "kill $(ps -o pid,args | sed -n 's/ *\\([0-9]*\\) sleep 1002$/\\1/p')");
        ended(&b);
        until("the child's end", || count(&a, "sleep 1003") == 0);
        pod.remove();
    });
}

#[test]
fn the_machines_namespaces() {
    user(|sh| {
        let pod = Pod::run_with(sh, |config, context| {
            config.hostname.clear();
            context.namespace_options =
                Some(NamespaceOption { network: NODE, pid: NODE, ipc: NODE, ..NamespaceOption::default() });
        });
        let a = pod.start("a", "sleep 1000");
        for kind in ["net", "pid", "ipc"] {
            assert_eq!(namespace(pid(&a), kind), namespace(std::process::id(), kind), "{kind}");
        }
        pod.remove();
    });
}

#[test]
fn a_container_that_looks_at_another() {
    user(|sh| {
        let pod = Pod::run(sh);
        let a = pod.start("a", "sleep 1001");
        let b = pod.start_with("debug", "sleep 1002", |_, context| {
            context.namespace_options =
                Some(NamespaceOption { pid: TARGET, target_id: a.clone(), ..namespaces() });
        });
        until("the other's process", || count(&b, "sleep 1001") == 1);
        pod.remove();
    });
}

/// A hundred thousand ids from one million on.
fn mapping() -> Vec<IDMapping> {
    vec![IDMapping { host_id: 1_000_000, container_id: 0, length: 65536 }]
}

fn mapped() -> NamespaceOption {
    NamespaceOption {
        userns_options: Some(UserNamespace { mode: POD, uids: mapping(), gids: mapping() }),
        ..namespaces()
    }
}

/// containerd 2 speaks of user namespaces to its own shim only, or to one that is in its place.
fn mapped_pod(sh: &Shell) -> Pod<'_> {
    let handler = match is_ours() && containerd_major() >= 2 {
        true => "path",
        false => "test",
    };
    Pod::run_by(sh, handler, |_, context| {
        context.namespace_options = Some(mapped());
    })
}

#[test]
fn a_pod_with_a_user_namespace() {
    user(|sh| {
        let pod = mapped_pod(sh);
        let (a, b) = (pod.start("a", "sleep 1000"), pod.start("b", "sleep 1000"));
        assert_eq!(namespace(pid(&a), "user"), namespace(pid(&b), "user"));
        assert_ne!(namespace(pid(&a), "user"), namespace(std::process::id(), "user"));
        let map = ok(&a, "cat /proc/self/uid_map /proc/self/gid_map");
        let map: Vec<_> = map.split_whitespace().collect();
        assert_eq!(map, ["0", "1000000", "65536", "0", "1000000", "65536"]);
        assert_eq!(sh.ok(&format!("stat -c %u /proc/{}", pid(&a))), "1000000");
        assert_eq!(ok(&a, "id -u; touch /root/x; stat -c %u:%g /root/x /bin/sh"), "0\n0:0\n0:0");
        // Root of the user namespace has its networks, and nothing else.
        assert_eq!(ok(&a, "mkdir /tmp/m; mount -t tmpfs none /tmp/m 2>/dev/null || echo no"), "no");
        assert_eq!(ok(&b, "hostname"), "pod");
        pod.remove();
    });
}

/// The drop-ins: containerd's names the runtime, Kubernetes' RuntimeClass the handler.
#[test]
fn the_drop_ins() {
    user(|sh| {
        only_for(runtime() != "runc", "rrunc, which they name");
        let class = include_str!("../../engines/dropins/runtimeclass.yaml");
        let handler = class.lines().find_map(|line| line.strip_prefix("handler: "));
        let pod = Pod::run_by(sh, handler.expect("a handler"), |_, _| ());
        let a = pod.start("a", "sleep 1000");
        sh.run(&format!("rrunc --root /run/containerd/runc/k8s.io state {a} | jq -r .status"))
            .prints("running");
        pod.remove();
    });
}

#[test]
fn the_runtime_is_the_one_that_was_told() {
    user(|sh| {
        let pod = Pod::run(sh);
        let a = pod.start("a", "sleep 1000");
        let shim = if is_ours() { "rrunc" } else { "runc" };
        sh.is_known(&format!("--root /run/containerd/{shim}/k8s.io"), &a);
        pod.remove();
    });
}

#[test]
fn the_shim_by_its_path() {
    user(|sh| {
        only_for(is_ours(), "our shim, whose path the handler has");
        let pod = Pod::run_by(sh, "path", |_, _| ());
        assert_eq!(ended(&pod.start("a", "exit 7")).exit_code, 7);
        let line = format!("pgrep -f '[c]ontainerd-shim-rrunc-v2 .* -id {}' | wc -l", pod.id);
        sh.run(&line).prints("1");
        pod.remove();
    });
}

#[test]
fn volumes_of_a_pod_with_a_user_namespace() {
    user(|sh| {
        only_for(containerd_major() >= 2, "containerd 2, which maps the ids of volumes");
        sh.ok("mkdir -p /tmp/@; echo text > /tmp/@/file; chmod 600 /tmp/@/file");
        let pod = mapped_pod(sh);
        let a = pod.start_with("a", "sleep 1000", |config, _| {
            config.mounts.push(Mount {
                container_path: "/volume".into(),
                host_path: format!("/tmp/{}", sh.name),
                uid_mappings: mapping(),
                gid_mappings: mapping(),
                ..Mount::default()
            });
        });
        assert_eq!(ok(&a, "stat -c %u:%g /volume/file; cat /volume/file; touch /volume/new"), "0:0\ntext");
        assert_eq!(sh.ok("stat -c %u:%g /tmp/@/new"), "0:0");
        pod.remove();
        sh.ok("rm -r /tmp/@");
    });
}

#[test]
fn the_handlers_features() {
    user(|_| {
        only_for(containerd_major() >= 2, "containerd 2, which asks the runtime for features");
        let status = cri().ask(&StatusRequest {}).expect("a status");
        let conditions = status.status.unwrap_or_default().conditions;
        assert!(
            ["RuntimeReady", "NetworkReady"]
                .iter()
                .all(|kind| conditions.iter().any(|c| c.r#type == *kind && c.status)),
            "{conditions:?}"
        );
        // It asks only those that it takes for its own shim.
        let name = if is_ours() { "path" } else { "test" };
        let ours = status.runtime_handlers.iter().find(|handler| handler.name == name);
        let features = ours.and_then(|handler| handler.features).unwrap_or_default();
        assert!(features.user_namespaces && features.recursive_read_only_mounts, "{ours:?}");
    });
}

#[test]
fn seccomp() {
    user(|sh| {
        let pod = Pod::run(sh);
        let try_it = |name: &str, profile_type| {
            let script = "grep ^Seccomp: /proc/self/status; unshare -U true && echo may";
            let text = pod.prints(name, script, |_, context| {
                context.seccomp = Some(SecurityProfile { profile_type, ..SecurityProfile::default() });
            });
            (text.contains("Seccomp:\t2"), text.contains("may"))
        };
        assert_eq!(try_it("default", RUNTIME_DEFAULT), (true, false));
        assert_eq!(try_it("unconfined", UNCONFINED), (false, true));
        pod.remove();
    });
}

#[test]
fn apparmor_denies_what_the_engines_profile_does() {
    user(|sh| {
        needs_apparmor();
        let pod = Pod::run(sh);
        let admin = |context: &mut LinuxContainerSecurityContext| {
            context.capabilities =
                Some(Capability { add_capabilities: vec!["SYS_ADMIN".into()], ..Capability::default() });
        };
        let confined = "cri-containerd.apparmor.d\ndenied";
        assert_eq!(pod.prints("a", MOUNTS, |_, context| admin(context)).trim(), confined);
        let no_new = pod.prints("b", MOUNTS, |_, context| {
            admin(context);
            context.no_new_privs = true;
        });
        assert_eq!(no_new.trim(), confined);
        let c = pod.start_with("c", "sleep 1000", |_, context| admin(context));
        assert_eq!(ok(&c, MOUNTS), confined);
        pod.remove();
        let pod = Pod::run_with(sh, |_, context| context.privileged = true);
        let c = pod.start_with("c", "sleep 1000", |_, context| context.privileged = true);
        assert_eq!(ok(&c, MOUNTS), "unconfined\nmay");
        pod.remove();
    });
}

#[test]
fn users_and_groups() {
    user(|sh| {
        let pod = Pod::run(sh);
        let id = pod.prints("numbers", "id -u; id -g; id -G", |_, context| {
            context.run_as_user = Some(1234.into());
            context.run_as_group = Some(5678.into());
            context.supplemental_groups = vec![11, 12];
        });
        assert_eq!(id, "1234\n5678\n5678 11 12\n");
        // A user of the image's is also in that's groups.
        let id = pod.prints("image", "id -u; id -g; id -G", |_, context| {
            context.run_as_username = "user".into();
        });
        assert_eq!(id, "1000\n1000\n1000 2000\n");
        let a = pod.start_with("exec", "sleep 1000", |_, context| {
            context.run_as_user = Some(1234.into());
            context.supplemental_groups = vec![11];
        });
        assert_eq!(ok(&a, "id -u; id -G"), "1234\n0 11");
        pod.remove();
    });
}

#[test]
fn rights() {
    user(|sh| {
        let pod = Pod::run(sh);
        let script = "grep -E '^(CapEff|NoNewPrivs)' /proc/self/status; chown 1:1 /tmp || true";
        let none = pod.prints("none", script, |_, context| {
            context.no_new_privs = true;
            context.capabilities = Some(Capability {
                drop_capabilities: vec!["ALL".into()],
                add_capabilities: vec!["NET_BIND_SERVICE".into()],
                ..Capability::default()
            });
        });
        assert!(none.contains("CapEff:\t0000000000000400\n"), "{none}");
        assert!(none.contains("NoNewPrivs:\t1\n"), "{none}");
        assert!(none.contains("Operation not permitted"), "{none}");
        let some = pod.prints("some", script, |_, _| ());
        assert!(some.contains("CapEff:\t00000000a80425fb\n"), "{some}");
        assert!(!some.contains("not permitted"), "{some}");
        pod.remove();
    });
}

#[test]
fn a_read_only_root() {
    user(|sh| {
        sh.ok("mkdir -p /tmp/@");
        let pod = Pod::run(sh);
        let a = pod.start_with("a", "sleep 1000", |config, context| {
            context.readonly_rootfs = true;
            context.masked_paths = vec!["/proc/timer_list".into()];
            context.readonly_paths = vec!["/proc/sys".into()];
            for (path, readonly) in [("/volume", false), ("/fixed", true)] {
                config.mounts.push(Mount {
                    container_path: path.into(),
                    host_path: format!("/tmp/{}", sh.name),
                    readonly,
                    ..Mount::default()
                });
            }
        });
        for (path, may) in [("/x", "no"), ("/volume/x", "yes"), ("/fixed/y", "no"), ("/dev/shm/x", "yes")] {
            let script = format!("touch {path} 2>/dev/null && echo yes || echo no");
            assert_eq!(ok(&a, &script), may, "{path}");
        }
        assert_eq!(ok(&a, "wc -c < /proc/timer_list"), "0");
        assert_eq!(ok(&a, "(echo x > /proc/sys/kernel/domainname) 2>/dev/null || echo no"), "no");
        pod.remove();
        sh.ok("rm -r /tmp/@");
    });
}

#[test]
fn kernel_parameters_of_a_pod() {
    user(|sh| {
        let pod = Pod::run_with(sh, |config, _| {
            let linux = config.linux.get_or_insert_default();
            linux.sysctls.insert("kernel.shm_rmid_forced".into(), "1".into());
            linux.sysctls.insert("net.ipv4.ip_unprivileged_port_start".into(), "81".into());
        });
        let a = pod.start("a", "sleep 1000");
        let script = "cat /proc/sys/kernel/shm_rmid_forced /proc/sys/net/ipv4/ip_unprivileged_port_start";
        assert_eq!(ok(&a, script), "1\n81");
        pod.remove();
    });
}
