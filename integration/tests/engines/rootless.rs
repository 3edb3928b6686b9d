//! Podman as an ordinary user: what is different then. The rest is that of `podman`.

use crate::shell::user;

#[test]
fn the_user_is_root_in_there_and_others_are_subordinate_ids() {
    user(|sh| {
        sh.run("podman run --rm bb sh -c 'tr -s \" \" </proc/self/uid_map'")
            .prints("0 1000 1\n 1 100000 65536");
        sh.run("podman run --rm --user 5:6 bb sh -c 'id -u; id -g'").prints("5\n6");
    });
}

#[test]
fn userns_keep_id() {
    user(|sh| {
        sh.ok("mkdir @; chmod 700 @");
        sh.run(
            "podman run --rm --userns keep-id -v ./@:/x bb sh -c 'id -u; touch /x/file; stat -c %u /x/file'",
        )
        .prints("1000\n1000");
        sh.run("stat -c %u @/file").prints("1000");
        sh.ok("rm -r @");
    });
}

#[test]
fn a_bind_is_the_users_own() {
    user(|sh| {
        sh.ok("mkdir @");
        sh.ok("podman run --rm -v ./@:/x bb touch /x/mine");
        sh.ok("podman run --rm -v ./@:/x --user 5 bb sh -c '! touch /x/theirs 2>/dev/null'");
        sh.run("ls @; stat -c %u @/mine").prints("mine\n1000");
        sh.ok("podman unshare chown 5 @");
        sh.ok("podman run --rm -v ./@:/x --user 5 bb touch /x/theirs");
        sh.run("stat -c %u @/theirs").prints("100004");
        sh.ok("podman unshare rm -r @");
    });
}

#[test]
fn a_network_by_default() {
    user(|sh| {
        sh.run("podman run --rm bb sh -c 'ls /sys/class/net | grep -vc lo'").prints("1");
    });
}

#[test]
fn privileged_is_privileged_in_there_only() {
    user(|sh| {
        sh.run("podman run --rm --privileged bb sh -c 'mount -t tmpfs none /tmp && echo mounted'")
            .prints("mounted");
        sh.run("podman run --rm --privileged bb sh -c 'echo 1 > /proc/sys/kernel/panic || echo refused' 2>/dev/null")
            .prints("refused");
        sh.run("podman run --rm --privileged -v /:/host bb sh -c 'echo x >> /host/etc/passwd || echo refused' 2>/dev/null")
            .prints("refused");
    });
}
