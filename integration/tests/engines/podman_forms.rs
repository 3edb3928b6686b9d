//! The options of `podman run`, and what a program sees of them.

use super::needs_cgroup;
use crate::shell::{is_rootless, only_for, user};

/// `podman run --rm OPTIONS bb sh -c COMMAND` prints this.
macro_rules! forms {
    ($($name:ident: $options:literal $command:literal => $expected:expr;)*) => { $(
        #[test]
        fn $name() {
            user(|sh| {
                let line = format!("podman run --rm {} bb sh -c '{}'", $options, $command);
                sh.run(&line).ends_with(0).prints($expected);
            });
        }
    )* };
}

forms! {
    cap_drop_all: "--cap-drop all" "grep CapEff /proc/self/status" => "CapEff:\t0000000000000000";
    cap_drop_and_add: "--cap-drop all --cap-add net_raw" "grep CapEff /proc/self/status" => "CapEff:\t0000000000002000";
    cap_bounding: "--cap-drop all --cap-add chown --user 1000" "grep -E CapBnd /proc/self/status"
        => "CapBnd:\t0000000000000001";
    no_new_privileges: "--security-opt no-new-privileges" "grep NoNewPrivs /proc/self/status" => "NoNewPrivs:\t1";
    seccomp_default: "" "grep Seccomp: /proc/self/status" => "Seccomp:\t2";
    seccomp_unconfined: "--security-opt seccomp=unconfined" "grep Seccomp: /proc/self/status" => "Seccomp:\t0";
    mask: "--security-opt mask=/etc/group" "cat /etc/group" => "";
    masked: "" "stat -c %F /proc/keys" => "character special file";
    unmask: "--security-opt unmask=/proc/keys" "stat -c %F /proc/keys" => "regular empty file";
    device: "--device /dev/fuse:/dev/f:rw" "stat -c %t:%T /dev/f" => "a:e5";
    tmpfs: "--tmpfs /x:size=64k,mode=700,noexec" "stat -f -c %T /x; stat -c %a /x; df -k /x | tail -n 1 | tr -s \" \" | cut -d\" \" -f2"
        => "tmpfs\n700\n64";
    volume_read_only: "-v /etc:/x:ro" "touch /x/file 2>/dev/null || echo refused" => "refused";
    mount_bind: "--mount type=bind,src=/etc/hostname,dst=/x,ro" "test -f /x && grep -c \" /x \" /proc/mounts" => "1";
    mount_tmpfs: "--mount type=tmpfs,dst=/x" "grep -c \"tmpfs /x \" /proc/mounts" => "1";
    read_only_root: "--read-only" "touch /file 2>/dev/null || echo refused; touch /tmp/file && echo taken" => "refused\ntaken";
    ulimit: "--ulimit nofile=100:200" "ulimit -Sn; ulimit -Hn" => "100\n200";
    sysctl: "--sysctl net.ipv4.ip_forward=1 --sysctl kernel.msgmax=4096" "cat /proc/sys/net/ipv4/ip_forward /proc/sys/kernel/msgmax"
        => "1\n4096";
    user_by_number: "--user 1000:2000" "id -u; id -g" => "1000\n2000";
    user_by_name: "--user user" "id -u; id -G" => "1000\n1000 2000";
    group_add: "--user 1000 --group-add 3000" "id -G" => "1000 2000 3000";
    userns_auto: "--userns auto:size=1000" "id -u; cut -c1-40 /proc/self/uid_map | tr -s \" \" | cut -d\" \" -f2,4" => "0\n0 1000";
    userns_map: "--uidmap 0:5000:100 --gidmap 0:5000:100" "tr -s \" \" </proc/self/uid_map" => "0 5000 100";
    pid_host: "--pid host --env NS=$(readlink /proc/self/ns/pid)" "test $NS = $(readlink /proc/self/ns/pid) && echo same" => "same";
    pid_private: "" "echo $$" => "1";
    ipc_private: "--ipc private --env NS=$(readlink /proc/self/ns/ipc)" "test $NS != $(readlink /proc/self/ns/ipc) && echo own" => "own";
    ipc_host: "--ipc host --env NS=$(readlink /proc/self/ns/ipc)" "test $NS = $(readlink /proc/self/ns/ipc) && echo same" => "same";
    network_none: "--network none" "ls /sys/class/net" => "lo";
    network_bridge: "--network bridge" "ls /sys/class/net | tr \"\\n\" \" \"" => "eth0 lo";
    network_host: "--network host --env NET=$(readlink /proc/self/ns/net)"
        "test $NET = $(readlink /proc/self/ns/net) && echo same" => "same";
    cgroupns_private: "--cgroupns private" "cat /proc/self/cgroup | tail -n 1" => "0::/";
    hostname: "--hostname there" "hostname; cat /etc/hostname" => "there\nthere";
    workdir: "--workdir /tmp" "pwd" => "/tmp";
    environment: "--env A=1 --env B" "echo $A-$B-$PATH" => "1--/bin";
    entrypoint: "--entrypoint echo" "x" => "sh -c x";
    umask: "--umask 027" "umask" => "0027";
    shm_size: "--shm-size 128k" "df -k /dev/shm | tail -n 1 | tr -s \" \" | cut -d\" \" -f2" => "128";
    oom_score_adj: "--oom-score-adj 500" "cat /proc/self/oom_score_adj" => "500";
    init: "--init" "cat /proc/1/comm" => "podman-init";
    terminal_is_none: "" "test -t 0 || echo none" => "none";
    stdin_is_empty: "" "cat; echo end" => "end";
    add_host: "--add-host there:1.2.3.4" "grep there /etc/hosts | tr \"\\t\" \" \"" => "1.2.3.4 there";
    dns: "--dns 1.2.3.4" "grep -c 1.2.3.4 /etc/resolv.conf" => "1";
    timezone: "--tz UTC" "date +%Z" => "UTC";
    privileged: "--privileged" "grep Seccomp: /proc/self/status; test -e /dev/kmsg && echo devices" => "Seccomp:\t0\ndevices";
    rootfs_propagation: "-v /tmp:/x:rshared" "grep \" /x \" /proc/self/mountinfo | grep -c shared:" => "1";
    cap_ambient: "--cap-drop all --cap-add net_raw --user 1000" "grep CapAmb /proc/self/status" => "CapAmb:\t0000000000002000";
    unmask_all: "--security-opt unmask=all" "stat -c %F /proc/keys /proc/timer_list; grep -c \" /proc/sys \" /proc/mounts; true"
        => "regular empty file\nregular empty file\n0";
    proc_options: "--security-opt proc-opts=hidepid=2" "grep \" /proc proc \" /proc/mounts | grep -c hidepid" => "1";
    label_disabled: "--security-opt label=disable --security-opt apparmor=unconfined" "echo runs" => "runs";
    device_by_default_everything: "--device /dev/fuse" "test -r /dev/fuse && test -w /dev/fuse && stat -c %t:%T /dev/fuse" => "a:e5";
    volume_anonymous: "-v /x" "touch /x/file && grep -c \" /x \" /proc/mounts" => "1";
    volumes_of_a_device_file: "-v /dev/null:/x" "echo text > /x; cat /x; stat -c %F /x" => "character special file";
    mount_image: "--mount type=image,src=localhost/bb,dst=/x" "test -x /x/bin/busybox && echo there" => "there";
    tmpfs_mode_by_default: "--tmpfs /x" "stat -c %a /x; grep \" /x tmpfs \" /proc/mounts | grep -oE \"nosuid|nodev|noexec\"" => "1777\nnosuid\nnodev";
    read_only_with_a_volume: "--read-only -v /x" "touch /x/file && touch /run/file && touch /dev/shm/file && echo taken" => "taken";
    read_only_throughout: "--read-only --read-only-tmpfs=false" "touch /tmp/file 2>/dev/null || touch /run/file 2>/dev/null || echo refused"
        => "refused";
    ulimits: "--ulimit core=0:0 --ulimit stack=1048576:2097152" "ulimit -c; ulimit -s; ulimit -Hs" => "0\n1024\n2048";
    sysctl_of_ipc: "--sysctl kernel.shmmni=100 --sysctl fs.mqueue.queues_max=7" "cat /proc/sys/kernel/shmmni /proc/sys/fs/mqueue/queues_max" => "100\n7";
    user_by_names: "--user user:extra" "id -u; id -g" => "1000\n2000";
    user_of_the_passwd: "--user 4321 --workdir /tmp" "id -u; id -g; grep -c :4321: /etc/passwd" => "4321\n0\n1";
    userns_host: "--userns host --env NS=$(podman unshare readlink /proc/self/ns/user 2>/dev/null || readlink /proc/self/ns/user)"
        "id -u; test $NS = $(readlink /proc/self/ns/user) && echo same" => "0\nsame";
    pid_limit_of_a_private_one: "--pid private" "ls /proc | grep -xE \"[0-9]+\" | head -n 1" => "1";
    ipc_none: "--ipc none" "grep -c \" /dev/shm \" /proc/mounts; true" => "0";
    ipc_shareable: "--ipc shareable" "touch /dev/shm/file && echo taken" => "taken";
    uts_host: "--uts host --env NAME=$(hostname)" "test $NAME = $(hostname) && echo same" => "same";
    uts_private: "--uts private --hostname mine" "hostname" => "mine";
    network_none_has_no_neighbours: "--network none" "ip -o addr show lo | grep -c 127.0.0.1" => "1";
    no_hosts: "--no-hosts" "test -e /etc/hosts || echo none" => "none";
    cgroups_disabled: "--cgroups disabled --cgroupns host --env CGROUP=$(tail -n 1 /proc/self/cgroup)"
        "test $CGROUP = $(tail -n 1 /proc/self/cgroup) && echo same" => "same";
    env_host_and_file: "--env-file /dev/null --unsetenv PATH --env PATH=/bin:/x" "echo $PATH" => "/bin:/x";
    passwd_entry: "--user 4322 --passwd-entry guest:x:4322:0::/tmp:/bin/sh" "id -un; cd; pwd" => "guest\n/tmp";
    annotation: "--annotation some.where/key=value" "echo runs" => "runs";
    preserve_fds: "--preserve-fds 1 3</dev/null" "cat <&3 && echo open" => "open";
    stop_signal: "--stop-signal USR1 --stop-timeout 3" "echo runs" => "runs";
    groups_of_the_caller: "--group-add keep-groups" "echo runs" => "runs";
    personality: "--personality LINUX32" "uname -m" => "i686";
}

/// They stay until they are removed.
#[test]
fn named_volumes() {
    user(|sh| {
        for (options, command, expected) in [
            ("-v @:/x", "echo here > /x/file; cat /x/file", "here"),
            (
                "-v @:/x:nosuid,nodev,noexec",
                "grep -oE \"nosuid,nodev,noexec\" /proc/mounts | sort -u; touch /x/file && echo taken",
                "nosuid,nodev,noexec\ntaken",
            ),
            ("--user 1000:2000 -v @:/x:U", "touch /x/file; stat -c %u:%g /x /x/file", "1000:2000\n1000:2000"),
            ("--mount type=volume,src=@,dst=/x,ro", "touch /x/file 2>/dev/null || echo refused", "refused"),
        ] {
            sh.run(&format!("podman run --rm {options} bb sh -c '{command}'")).ends_with(0).prints(expected);
            sh.ok("podman volume rm @");
        }
    });
}

#[test]
fn cgroupns_host() {
    user(|sh| {
        needs_cgroup();
        sh.run("podman run --rm --cgroupns host bb sh -c 'tail -n 1 /proc/self/cgroup | grep -c libpod'")
            .prints("1");
    });
}

/// From a file of the user's own.
#[test]
fn seccomp_by_file() {
    user(|sh| {
        let profile = r#"{"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [
            {"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO", "errnoRet": 95}]}"#;
        sh.ok(&format!("echo '{profile}' >/tmp/@.json"));
        sh.run("podman run --rm --security-opt seccomp=/tmp/@.json bb mkdir /x")
            .ends_with(1)
            .complains(&["Operation not supported"]);
        sh.ok("rm /tmp/@.json");
    });
}

#[test]
fn device_rules() {
    user(|sh| {
        only_for(!is_rootless(), "root, who alone may make device nodes");
        let read = "mknod /f c 1 5; head -c 1 /f | wc -c"; // zero, which everybody has
        sh.run(&format!("podman run --rm --cap-add mknod bb sh -c '{read}'")).prints("1");
        let read = "mknod /f c 10 237 && head -c 1 /f 2>&1"; // loop-control
        sh.run(&format!("podman run --rm --cap-add mknod bb sh -c '{read}'"))
            .complains_or_prints("Operation not permitted");
        sh.run(&format!(
            "podman run --rm --cap-add mknod --device-cgroup-rule \"c 10:237 rwm\" bb sh -c '{read}'"
        ))
        .complains_or_prints("Input/output error");
        sh.run("podman run --rm --device /dev/fuse:/dev/f:r bb sh -c '(: </dev/f) && echo read; (: >/dev/f) || echo not written' 2>/dev/null")
            .prints("read\nnot written");
    });
}

/// An overlay over a directory of the user's, which stays as it was.
#[test]
fn volume_overlay() {
    user(|sh| {
        sh.ok("mkdir @; echo mine >@/file");
        sh.run("podman run --rm -v ./@:/x:O bb sh -c 'cat /x/file; echo theirs >/x/file; cat /x/file'")
            .ends_with(0)
            .prints("mine\ntheirs");
        sh.run("cat @/file").prints("mine");
        sh.ok("rm -r @");
    });
}

#[test]
fn namespaces_by_path() {
    user(|sh| {
        sh.ok("podman run -d --name @ --network none --hostname first bb sleep 1000");
        let pid = sh.ok("podman inspect -f '{{.State.Pid}}' @");
        let inside = |what: &str, line: &str| {
            sh.run(&format!("podman run --rm {} bb {line}", what.replace("PID", &pid)))
        };
        let same = |kind: &str| sh.ok(&format!("podman exec @ readlink /proc/self/ns/{kind}"));
        for (option, kind) in [
            ("--network ns:/proc/PID/ns/net", "net"),
            ("--ipc ns:/proc/PID/ns/ipc", "ipc"),
            ("--uts ns:/proc/PID/ns/uts", "uts"),
            ("--cgroupns ns:/proc/PID/ns/cgroup", "cgroup"),
            ("--network container:@", "net"),
            ("--uts container:@", "uts"),
        ] {
            inside(option, &format!("readlink /proc/self/ns/{kind}")).ends_with(0).prints(&same(kind));
        }
        sh.ok("podman rm -f -t 0 @");
    });
}
