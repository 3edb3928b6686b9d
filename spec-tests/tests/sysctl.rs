//! config-linux.md#sysctl: settings of the container's own namespaces, and of nothing else.

use spec_tests::*;

#[test]
fn a_sysctl_of_each_namespace_is_set() {
    obeys("config-linux.md#sysctl", |lab| {
        let cases = [
            ("net.ipv4.ip_forward", "1", "/proc/sys/net/ipv4/ip_forward"),
            ("net/ipv4/ip_default_ttl", "77", "/proc/sys/net/ipv4/ip_default_ttl"),
            ("kernel.shmmni", "1234", "/proc/sys/kernel/shmmni"),
            ("kernel.msgmax", "4321", "/proc/sys/kernel/msgmax"),
            ("fs.mqueue.msg_max", "7", "/proc/sys/fs/mqueue/msg_max"),
            ("kernel.domainname", "spec.example", "/proc/sys/kernel/domainname"),
        ];
        let reads: Vec<String> = cases.iter().map(|(_, _, path)| format!("read {path}")).collect();
        let b = cases.iter().fold(lab.bundle(), |b, (key, value, _)| {
            b.set(&format!("/linux/sysctl/{}", key.replace('/', "~1")), *value)
        });
        let seen = b.ask(reads.iter().map(String::as_str));
        for ((key, value, _), read) in cases.iter().zip(&reads) {
            assert_eq!(seen[read.as_str()].as_str().map(str::trim), Some(*value), "{key}");
        }
    });
}

#[test]
fn a_slash_separated_name_may_have_a_dot() {
    obeys("config-linux.md#sysctl", |lab| {
        let read = "read /proc/sys/net/ipv4/conf/lo/forwarding";
        let b = lab.bundle().set("/linux/sysctl/net~1ipv4~1conf~1lo~1forwarding", "1");
        assert_eq!(b.ask([read])[read], "1\n");
    });
}

#[test]
fn a_sysctl_of_the_host_is_refused() {
    obeys("config-linux.md#sysctl", |lab| {
        let before = std::fs::read_to_string("/proc/sys/kernel/core_pattern").unwrap();
        for key in [
            "kernel.core_pattern",
            "vm.overcommit_memory",
            "fs.file-max",
            "kernel.shm.evil",
            "net..",
            "nosuch",
        ] {
            lab.bundle().set(&format!("/linux/sysctl/{key}"), before.trim()).run().fails();
        }
    });
}

#[test]
fn a_sysctl_needs_the_namespace_that_it_belongs_to() {
    obeys("config-linux.md#sysctl", |lab| {
        for (namespace, key) in [("network", "net.ipv4.ip_forward"), ("ipc", "kernel.shmmni")] {
            lab.bundle().without_namespace(namespace).set(&format!("/linux/sysctl/{key}"), "1").run().fails();
        }
    });
}

#[test]
fn a_value_that_the_kernel_refuses_fails_the_create() {
    obeys("config-linux.md#sysctl", |lab| {
        lab.bundle()
            .set("/linux/sysctl/net.ipv4.ip_default_ttl", "not a number")
            .container()
            .create(&[])
            .fails();
    });
}

#[test]
fn a_sysctl_cannot_be_led_elsewhere_by_the_root_file_system() {
    obeys("config-linux.md#sysctl", |lab| {
        // Without a proc of its own, the container's /proc is whatever the image has there.
        let b =
            lab.bundle().set("/mounts", serde_json::json!([])).file("/proc/sys/kernel/shmmni", "untouched");
        let b = b.set("/linux/sysctl/kernel.shmmni", "1234").args(["true"]);
        let file = b.path("/proc/sys/kernel/shmmni");
        b.run();
        assert_eq!(std::fs::read_to_string(file).unwrap(), "untouched");
    });
}

#[test]
fn a_sysctl_of_a_joined_namespace_is_refused_if_that_is_the_runtimes() {
    obeys("config-linux.md#sysctl", |lab| {
        refused_in_own(lab, "network", "/proc/self/ns/net", "net.ipv4.ip_default_ttl");
    });
}

#[test]
fn a_sysctl_of_another_joined_namespace_is_refused_too_if_that_is_the_runtimes() {
    obeys("config-linux.md#sysctl", |lab| {
        refused_in_own(lab, "ipc", "/proc/self/ns/ipc", "kernel.shmmni");
        refused_in_own(lab, "uts", "/proc/self/ns/uts", "kernel.domainname");
    });
}

/// The runtime's namespaces are the test's own, so nothing of the host is changed if it obeys.
fn refused_in_own(lab: &Lab, namespace: &str, path: &str, key: &str) {
    let file = format!("/proc/sys/{}", key.replace('.', "/"));
    let before = std::fs::read_to_string(&file).unwrap();
    let bundle = || lab.bundle().namespace(namespace, Some(path)).set(&format!("/linux/sysctl/{key}"), "77");
    bundle().run().fails_saying(&["sysctl"]);
    assert_eq!(std::fs::read_to_string(&file).unwrap(), before, "{key}");
    bundle().without("/linux/sysctl").run().ok();
}
