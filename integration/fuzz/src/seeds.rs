//! What each target begins with: configurations of engines and of the tests beside the code, and small samples of all
//! else, as it is really said.

use std::fs;
use std::path::{Path, PathBuf};

use containerd_shim_rrunc::frame;
use containerd_shim_rrunc::proto::bootstrap::{BootstrapParams, Extension};
use containerd_shim_rrunc::proto::options::{RuncOptions, RuntimeOptions};
use containerd_shim_rrunc::proto::task::*;
use containerd_shim_rrunc::proto::{Any, ttrpc};
use prost::Message;
use serde_json::{Value, json};

/// The seeds of a target, never none.
pub fn seeds(target: &str) -> Vec<Vec<u8>> {
    let mut found = match target {
        "config" => configs().iter().map(|config| config.to_string().into_bytes()).collect(),
        "process" => parts("/process"),
        "mounts" => [parts("/mounts"), texts(&MOUNTS)].concat(),
        "mount-options" => mount_options(),
        "resources" => [parts("/linux/resources"), texts(&RESOURCES)].concat(),
        "seccomp" => [parts("/linux/seccomp"), texts(&SECCOMP)].concat(),
        "command-line" => COMMAND_LINES.iter().map(|line| line.replace(' ', "\0").into_bytes()).collect(),
        "words" => texts(&WORDS),
        "state" => texts(&STATE),
        "plan" => files("src/plan/testdata", "plan"),
        "checkpoint" => texts(&CHECKPOINT),
        "criu" => texts(&CRIU),
        "dbus" => dbus(),
        "dbus-value" => texts(&VALUES),
        "netlink" => vec![netlink()],
        "mountinfo" | "passwd" | "cgroup" | "shim-files" => texts(&FILES),
        "shim-frames" | "shim-calls" => vec![connection(), frames(&calls()[..1])],
        "shim-messages" => calls().into_iter().map(|(_, payload)| payload).collect(),
        "shim-bootstrap" => bootstrap(),
        "shim-options" => options(),
        "shim-words" => SHIM_WORDS.iter().map(|line| line.replace(' ', "\0").into_bytes()).collect(),
        _ => vec![],
    };
    found.push(vec![]);
    found
}

/// As files, for libFuzzer.
pub fn write_seeds(seeds: &[Vec<u8>], directory: &Path) {
    fs::create_dir_all(directory).expect("the corpus's directory");
    for (i, seed) in seeds.iter().enumerate() {
        fs::write(directory.join(format!("seed-{i}")), seed).expect("a seed");
    }
}

fn texts(texts: &[&str]) -> Vec<Vec<u8>> {
    texts.iter().map(|text| text.as_bytes().to_vec()).collect()
}

fn files(directory: &str, extension: &str) -> Vec<Vec<u8>> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").join(directory);
    let mut paths: Vec<PathBuf> =
        fs::read_dir(&directory).expect("testdata").map(|entry| entry.expect("testdata").path()).collect();
    paths.retain(|path| path.extension().is_some_and(|found| found == extension));
    paths.sort();
    assert!(!paths.is_empty(), "{}", directory.display());
    paths.iter().map(|path| fs::read(path).expect("testdata")).collect()
}

fn configs() -> Vec<Value> {
    use rrunc::spec::default::default_config;
    use rrunc::sys::{Gid, Uid};
    let own = [default_config(None), default_config(Some((Uid(1000), Gid(1000))))];
    let all = own.into_iter().map(String::into_bytes);
    let all = all.chain(files("src/plan/testdata", "json")).chain(files("spec-tests/testdata", "json"));
    all.map(|bytes| serde_json::from_slice(&bytes).expect("JSON")).collect()
}

fn parts(pointer: &str) -> Vec<Vec<u8>> {
    let parts = configs().into_iter().filter_map(|config| config.pointer(pointer).map(Value::to_string));
    parts.map(String::into_bytes).collect()
}

fn mount_options() -> Vec<Vec<u8>> {
    let configs = configs();
    let mounts = configs.iter().filter_map(|config| config["mounts"].as_array()).flatten();
    let lists = mounts.filter_map(|mount| mount["options"].as_array());
    let mut found: Vec<_> = lists
        .map(|list| list.iter().filter_map(Value::as_str).collect::<Vec<_>>().join(",").into_bytes())
        .collect();
    let all = rrunc::spec::mount_options::OPTIONS.iter().map(|(name, _)| *name).collect::<Vec<_>>();
    found.push(all.join(",").into_bytes());
    found.push(b"rbind,idmap=uids=0-1000-10#10-2000-5;gids=@0-1-1,size=1m".to_vec());
    found
}

const MOUNTS: [&str; 2] = [
    r#"[{"destination": "/a", "source": "/b", "options": ["rbind", "ro", "rslave"]},
        {"destination": "/t", "type": "tmpfs", "source": "tmpfs", "options": ["ro", "nosuid", "size=1m"]}]"#,
    r#"[{"destination": "/i/../j", "source": "/s", "options": ["bind", "ridmap=uids=@0-5-1;gids=@0-5-1"]},
        {"destination": "/p", "type": "proc"}, {"destination": "/c", "type": "cgroup", "options": ["remount"]}]"#,
];

const RESOURCES: [&str; 3] = [
    r#"{"memory": {"limit": 1000000, "swap": -1, "reservation": 5, "checkBeforeUpdate": true}, "pids": {"limit": 0},
        "cpu": {"shares": 1024, "quota": -1, "period": 100000, "burst": 5, "idle": 1, "cpus": "0-3,7", "mems": "0"}}"#,
    r#"{"blockIO": {"weight": 10, "weightDevice": [{"major": 8, "minor": 0, "weight": 500}],
        "throttleReadBpsDevice": [{"major": 8, "minor": 0, "rate": 600}]},
        "hugepageLimits": [{"pageSize": "2MB", "limit": 209715200}],
        "rdma": {"mlx5_1": {"hcaHandles": 3, "hcaObjects": 10000}}, "unified": {"memory.high": "max\n5"}}"#,
    r#"{"devices": [{"allow": false, "access": "rwm"}, {"allow": true, "type": "c", "major": 10, "minor": -1,
        "access": "r"}, {"allow": true, "type": "b", "access": "wm"}]}"#,
];

const SECCOMP: [&str; 4] = [
    r#"{"defaultAction": "SCMP_ACT_ERRNO", "defaultErrnoRet": 1, "architectures": ["SCMP_ARCH_X86_64", "SCMP_ARCH_X32"],
        "syscalls": [{"names": ["read", "write", "openat2"], "action": "SCMP_ACT_ALLOW"},
        {"names": ["clone"], "action": "SCMP_ACT_ALLOW",
         "args": [{"index": 0, "value": 2114060288, "valueTwo": 0, "op": "SCMP_CMP_MASKED_EQ"}]}]}"#,
    r#"{"defaultAction": "SCMP_ACT_ALLOW", "architectures": ["SCMP_ARCH_X86", "SCMP_ARCH_AARCH64", "SCMP_ARCH_ARM"],
        "syscalls": [{"names": ["socket", "bind"], "action": "SCMP_ACT_ERRNO", "errnoRet": 97,
         "args": [{"index": 0, "value": 16, "op": "SCMP_CMP_EQ"}, {"index": 2, "value": 9, "op": "SCMP_CMP_GT"}]},
        {"names": ["socket"], "action": "SCMP_ACT_KILL_PROCESS", "args": [{"index": 0, "value": 40, "op": "SCMP_CMP_NE"}]},
        {"names": ["mkdir"], "action": "SCMP_ACT_TRACE", "errnoRet": 7}]}"#,
    r#"{"defaultAction": "SCMP_ACT_KILL", "syscalls": [{"names": ["mkdir"], "action": "SCMP_ACT_NOTIFY"},
        {"names": ["personality"], "action": "SCMP_ACT_LOG", "args": [{"index": 0, "value": 8, "op": "SCMP_CMP_LE"},
        {"index": 0, "value": 131072, "op": "SCMP_CMP_GE"}, {"index": 1, "value": 4294967296, "op": "SCMP_CMP_LT"}]}],
        "flags": ["SECCOMP_FILTER_FLAG_LOG", "SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV"]}"#,
    r#"{"defaultAction": "SCMP_ACT_TRAP", "architectures": ["SCMP_ARCH_X86_64", "SCMP_ARCH_X86"],
        "syscalls": [{"names": ["ipc", "shmget", "accept4", "socketcall"], "action": "SCMP_ACT_ALLOW"}]}"#,
];

const COMMAND_LINES: [&str; 22] = [
    "--root /r --log /l --log-format json --systemd-cgroup create --bundle /b --pid-file /p --no-pivot c1",
    "--debug --cgroup-manager disabled --rootless auto run -d --keep --preserve-fds 3 c1",
    "exec --user 5:6 --cap net_admin --cap CAP_SYS_ADMIN --env A=b --additional-gids 7 --cwd /x c1 sh -c :",
    "exec --tty --no-new-privs --apparmor p --process-label l --cgroup a/b --ignore-paused c1 true",
    "exec --process /p --detach --pid-file=/q --console-socket /s --pidfd-socket /t c1",
    "--log-level warn kill --all c1 9",
    "kill --regex ^c.* SIGRTMIN+3",
    "delete -force c1",
    "events --interval 5s --stats c1",
    "update --memory 512m --memory-swap -1 --cpu-shares 2 --pids-limit 5 --cpuset-cpus 0-1 --blkio-weight 10 c1",
    "update --resources - --kernel-memory 5 --l3-cache-schema L3:0=f --mem-bw-schema MB:0=20 c1",
    "update --cpu-period 5 --cpu-quota 6 --cpu-burst 7 --cpu-idle 1 --memory-reservation 1g c1",
    "ps --format json c1 -ef",
    "list --format table --quiet",
    "spec --bundle /b --rootless --file x.json",
    "check --format json --bundle /b",
    "plan --no-new-keyring --bundle /b",
    "mounts add c1 /m.json",
    "checkpoint --image-path /i --work-path /w --parent-path ../p --page-server [::1]:27 --manage-cgroups-mode full c1",
    "checkpoint --leave-running --tcp-established --network-lock nftables --empty-ns network --status-fd 3 c1",
    "restore --image-path /i --detach --lsm-profile selinux:l --lsm-mount-context c --bundle /b c1",
    "info --format text",
];

const WORDS: [&str; 9] = [
    "web_1.a+b-c",
    "1000:1000",
    "net.ipv4.conf.eth0/1.forwarding",
    "net/ipv4/conf/eth0.1/forwarding",
    "kernel.shmmax",
    "0-3,7,1023",
    "1.3.0-rc.1",
    "linux.seccomp.defaultAction",
    r#"{"paths": [{"paths": ["/usr"], "access": ["read", "execute"], "optional": true}], "ports": [], "bestEffort": true}"#,
];

const STATE: [&str; 2] = [
    r#"{"version":1,"ociVersion":"1.3.0","id":"web1","bundle":"/b","rootfs":"/b/r","created":"2026-11-23T08:22:46.5Z",
        "annotations":{"a":"b"},"owner":0,"pid":42,"startTime":777,"bootId":"x","cgroup":"a/b",
        "unit":{"name":"a-b.scope","instance":"system"},"privatePidNamespace":true,"terminal":false,
        "rdt":{"path":"/sys/fs/resctrl/c1","made":true,"monitoring":null},"noNewKeyring":false,"hasProcess":true,
        "seccompListener":{"path":"/s","metadata":"m"},"poststart":[{"path":"/bin/a","args":["a"],"timeout":5}],
        "poststop":[]}"#,
    "{}",
];

const CHECKPOINT: [&str; 3] = [
    r#"{"version":1,"mounts":{"mount-9":"/host"},"masked":true,"streams":["/dev/null","pipe:[12]","socket:[13]"]}"#,
    r#"{"version":1,"mounts":{"mount-1":"/etc/localtime","mount-2":"/cgroup"},"masked":false,"streams":[]}"#,
    r#"{"version":1,"mounts":{"x]:/":"/host"},"masked":false,"streams":["pipe:[1]:/","pipe:[2]","pipe:[3]","pipe:[4]"]}"#,
];

const CRIU: [&str; 5] = [
    "\x08\x02\x10\x01\x22\x02\x08\x2a",
    "\x08\x06\x10\x01\x2a\x0e\x0a\x08pre-dump\x10\x07",
    "\x08\x01\x10\x00\x38\x16\x4a\x03bad",
    "(00.000001) Version: 4.1\n(00.01) Error (criu/mount.c:12): mnt: a: b\n(00.02)  7: Error (x.c:3): second\n",
    "0::/a:b\n7:cpu,cpuacct:/x\n1:name=systemd:/\n",
];

const VALUES: [&str; 13] = [
    "5",
    "-1.5",
    "uint64 0x10",
    "@t 18446744073709551615",
    "true",
    r"'it\'s \\ \n'",
    "['a', \"b\"]",
    "[('a', 5), ('b', 6)]",
    "@a(sasb) [('a', ['x'], true)]",
    "<('v', <5>)>",
    "objectpath '/a'",
    "@g 'a(sv)'",
    "[byte 1, 2]",
];

const FILES: [&str; 9] = [
    "32 25 0:29 / /sys/fs/cgroup/cpu rw,nosuid shared:9 - cgroup cgroup rw,cpu,cpuacct\n\
     33 25 0:30 / /sys/fs/cgroup ro - cgroup2 none rw\n34 25 0:33 / /sys/fs/resctrl rw - resctrl resctrl rw\n",
    "1 2 0:3 / / rw - ext4 /dev/a rw\n4 1 0:5 / /b/rootfs/x\\040y\\134 rw shared:1 - tmpfs none rw\n\
     8 1 0:5 / /b/rootfs rw - tmpfs none rw\n",
    "root:x:0:0:root:/root:/bin/sh\nbroken\n5:x:1000:5::/home/five:/bin/sh\na:x:5:5::relative:\n",
    "usage_usec 5\nuser_usec 18446744073709551615\nsystem_usec 2\nnr_periods 3\nnr_throttled 1\nthrottled_usec 9\n",
    "anon 1\nfile 3\nworkingset_refault_anon 18446744073709551615\nworkingset_refault_file 9\nmax\n",
    "some avg10=1.50 avg60=0.00 avg300=inf total=7\nfull avg10=0.00 avg60=0.25 avg300=NaN total=3\n",
    "8:16 rbytes=1 wbytes=2 rios=3 wios=4 dbytes=5 dios=6\nmlx4_0 hca_handle=2 hca_object=max\n",
    "0 100000 65536\n0::/user.slice/../a//b/\nREADY=1\nmax\n18446744073709551615\n",
    r#"{"annotations": {"io.kubernetes.cri.sandbox-id": "s"}, "linux": {"namespaces": [{"type": "pid", "path": "/x"}]}}"#,
];

const SHIM_WORDS: [&str; 7] = [
    "-namespace default -address /run/c.sock -publish-binary /c -id c1 -bundle /b -debug start",
    "--namespace=n --id=i delete",
    "-info",
    "/run/a?b",
    "fifo:///run/a",
    "file:///var/log/a%20b",
    "binary-v2:///bin/log?a=x%3Dy+z&b",
];

/// A call of systemd's, its answer, an error of it, and a signal.
fn dbus() -> Vec<Vec<u8>> {
    let message = |kind: u8, fields: &[u8], body: &[u8]| {
        let mut bytes = vec![b'l', kind, 0, 1];
        bytes.extend((body.len() as u32).to_le_bytes());
        bytes.extend(9u32.to_le_bytes());
        bytes.extend((fields.len() as u32).to_le_bytes());
        bytes.extend(fields);
        bytes.resize(bytes.len().next_multiple_of(8), 0);
        bytes.extend(body);
        bytes
    };
    let reply = b"\x05\x01u\0\x07\0\0\0\x08\x01g\0\x01o\0";
    let error = b"\x04\x01s\0\x05\0\0\0a.b.c\0\0\0\0\0\0\0\x05\x01u\0\x07\0\0\0\x08\x01g\0\x01s\0";
    let signal = b"\x03\x01s\0\x0a\0\0\0JobRemoved\0\0\0\0\0\0\x08\x01g\0\x04uoss\0";
    vec![
        message(2, reply, b"\x02\0\0\0/a\0"),
        message(3, error, b"\x02\0\0\0no\0"),
        message(4, signal, b"\x07\0\0\0\x02\0\0\0/a\0\0\x01\0\0\0u\0\0\0\x04\0\0\0done\0"),
        b"unix:path=/a%20b,guid=12".to_vec(),
    ]
}

/// A link and an address of it, in one datagram.
fn netlink() -> Vec<u8> {
    let message = |kind: u16, body: &[u8]| {
        let mut bytes = (16 + body.len() as u32).to_ne_bytes().to_vec();
        bytes.extend(kind.to_ne_bytes());
        bytes.extend([2, 0, 1, 0, 0, 0, 0, 0, 0, 0]);
        bytes.extend(body);
        bytes
    };
    let link = b"\0\0\x01\0\x01\0\0\0\x01\0\0\0\0\0\0\0\x08\0\x03\0eth\0";
    let address =
        b"\x02\x18\x80\0\x01\0\0\0\x08\0\x01\0\x0a\0\0\x05\x08\0\x02\0\x0a\0\0\x05\x08\0\x08\0\x80\0\0\0";
    [message(16, link), message(20, address), message(3, b"\0\0\0\0")].concat()
}

fn calls() -> Vec<(&'static str, Vec<u8>)> {
    let (id, exec_id) = (|| "c1".to_string(), || "e1".to_string());
    let stdio = || "/run/f".to_string();
    let mount = Mount {
        r#type: "overlay".into(),
        source: "overlay".into(),
        target: String::new(),
        options: vec!["lowerdir=/a:/b".into(), "ro".into()],
    };
    let create = CreateTaskRequest {
        id: id(),
        bundle: "/b".into(),
        rootfs: vec![mount],
        stdin: stdio(),
        stdout: "binary:///log?a=b".into(),
        options: Some(any_options()),
        ..CreateTaskRequest::default()
    };
    let spec = Any {
        type_url: "types.containerd.io/opencontainers/runtime-spec/1/Process".into(),
        value: process(),
    };
    let exec = ExecProcessRequest {
        id: id(),
        exec_id: exec_id(),
        spec: Some(spec),
        ..ExecProcessRequest::default()
    };
    let of_exec = StartRequest { id: id(), exec_id: exec_id() };
    let kill = KillRequest { id: id(), signal: 9, all: true, ..KillRequest::default() };
    vec![
        ("Create", create.encode_to_vec()),
        ("Start", StartRequest { id: id(), ..StartRequest::default() }.encode_to_vec()),
        ("Exec", exec.encode_to_vec()),
        ("Start", of_exec.encode_to_vec()),
        ("Pause", IdRequest { id: id() }.encode_to_vec()),
        ("Resume", IdRequest { id: id() }.encode_to_vec()),
        ("Kill", KillRequest { exec_id: exec_id(), ..kill.clone() }.encode_to_vec()),
        ("Delete", DeleteRequest { id: id(), exec_id: exec_id() }.encode_to_vec()),
        ("Kill", kill.encode_to_vec()),
        ("Delete", DeleteRequest { id: id(), ..DeleteRequest::default() }.encode_to_vec()),
    ]
}

fn process() -> Vec<u8> {
    json!({"args": ["sh"], "cwd": "/", "user": {"uid": 0, "gid": 0}}).to_string().into_bytes()
}

fn frames(calls: &[(&str, Vec<u8>)]) -> Vec<u8> {
    let mut bytes = vec![];
    for (stream, (method, payload)) in calls.iter().enumerate() {
        let request = ttrpc::Request {
            service: "containerd.task.v3.Task".into(),
            method: method.to_string(),
            payload: payload.clone(),
            timeout_nano: 5,
            metadata: vec![],
        };
        frame::write(2 * stream as u32 + 1, frame::REQUEST, &request, &mut bytes);
    }
    bytes
}

fn connection() -> Vec<u8> {
    frames(&calls())
}

fn any_options() -> Any {
    let options =
        RuncOptions { systemd_cgroup: true, root: "/r".into(), io_uid: 5, ..RuncOptions::default() };
    Any::new("containerd.runc.v1.Options", &options)
}

fn bootstrap() -> Vec<Vec<u8>> {
    let params = BootstrapParams {
        instance_id: "c1".into(),
        namespace: "default".into(),
        containerd_version: "2.3.0".into(),
        extensions: vec![Extension { value: Some(any_options()) }],
        socket_dir: Some("/run/containerd/s".into()),
        ..BootstrapParams::default()
    };
    vec![any_options().encode_to_vec(), params.encode_to_vec()]
}

fn options() -> Vec<Vec<u8>> {
    let toml = "SystemdCgroup = true\nBinaryName = \"rrunc\"\nRoot = \"/r\"\nIoUid = 5\n";
    let body = RuntimeOptions { config_body: toml.into(), ..RuntimeOptions::default() };
    let path = RuntimeOptions { config_path: "/c.toml".into(), ..RuntimeOptions::default() };
    vec![
        any_options().encode_to_vec(),
        any_options().value,
        toml.into(),
        Any::new("runtimeoptions.v1.Options", &body).encode_to_vec(),
        Any::new("runtimeoptions.v1.Options", &path).encode_to_vec(),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_target_has_seeds() {
        for (name, _) in crate::targets() {
            assert!(seeds(name).len() > 1, "{name}");
        }
    }
}
