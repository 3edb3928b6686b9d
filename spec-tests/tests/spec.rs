//! The one test binary: a chapter of the specification per module.

mod annotations; // what engines ask for beside the fields
mod apparmor; // profiles, and what they deny
mod binds; // the host's files and directories, recursive options, propagation
mod capabilities; // the five sets, as the program has them after execve
mod cgroup; // where the container is, what limits it, and what it sees of that
mod checkpoint; // with criu: save, delete, restore
mod commands; // run, list, files and fds that are passed, the log
mod config; // the document: version, unknown fields, broken text; the command that writes one
mod devices; // default and configured nodes, and the rules of the device cgroup
mod distribution; // a whole Debian, and what runs in it
mod effects; // what the limits of a cgroup do, by both drivers, for root and for a user
mod engines; // whole configurations as Docker and Podman write them
mod exec; // another process in a container, and how it differs from the first
mod hooks; // when each of the six runs, where, with which state, and what its failure does
mod idmap; // id-mapped mounts
mod lifecycle; // create, start, state, kill, delete: what they do, and what they refuse
mod limits; // what update has set, by its effect
mod login; // cgroups of the user's systemd, asked for in a login session
mod mounts; // file systems, and every option of a mount
mod mounts_command; // into a container that runs, and out again
mod namespaces; // new, inherited, joined by path; id mappings, time offsets, host and domain name
mod net_devices; // what is moved into the network namespace
mod notify; // what is passed on to a service manager
mod pause; // pause, resume, ps
mod process; // arguments, environment, directory, ids, limits
mod regex; // kill and delete of all whose id matches
mod rootfs; // readonly, propagation, masked and readonly paths

mod rootless; // for an ordinary user, and for the root of a user namespace
mod seccomp; // actions, operators, architectures, flags, errnos
mod seccomp_notify; // SCMP_ACT_NOTIFY, and the agent that is notified
mod selinux; // labels of processes and mounts, with Debian's policy
mod sysctl;
mod systemd; // settings of the container's namespaces, and of nothing else
mod terminal; // the console socket, and a terminal in the foreground
mod update; // update and events

use spec_tests::Expected;

#[test]
fn every_expected_failure_names_a_test() {
    let this = std::env::current_exe().expect("the test binary");
    let list = std::process::Command::new(this).arg("--list").output().expect("a list of tests");
    let list = String::from_utf8_lossy(&list.stdout);
    for name in Expected::read().tests() {
        assert!(list.lines().any(|l| l == format!("{name}: test")), "expected.toml: there is no test {name}");
    }
}
