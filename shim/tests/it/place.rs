//! What the shim is to the machine that it runs on: a process in a cgroup, with a socket for one user, that an admin may
//! end.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;

use containerd_shim_rrunc::proto::task::{ConnectResponse, DeleteResponse};
use prost::Message;

use crate::client::Client;
use crate::life::{id, wait};
use crate::world::{World, has_ended, kill, start, until};

const NOBODY: u32 = 65_534;

fn pid(client: &mut Client) -> u32 {
    client.call::<ConnectResponse>("Connect", &id("i")).unwrap().shim_pid
}

/// By one than who has started it: of the two, containerd is to stay.
#[test]
fn it_is_a_likelier_victim_when_memory_runs_out() {
    let world = World::new("victim");
    world.bundle("i", "");
    let shim = pid(&mut Client::new(&world.start("i")));
    let score = |pid: &str| -> i32 {
        let text = fs::read_to_string(format!("/proc/{pid}/oom_score_adj")).unwrap();
        text.trim().parse().unwrap()
    };
    assert_eq!(score(&shim.to_string()), (score("self") + 1).min(1000));
}

#[test]
#[ignore = "needs root"]
fn it_goes_into_the_cgroup_that_is_asked_for() {
    let world = World::new("cgroup");
    world.bundle("i", "");
    let path = format!("/rrunc-shim-test-{}/below", std::process::id());
    let options = world.options_and(|options| options.shim_cgroup = path.clone());
    let mut client = Client::new(&world.start_with("i", &options));
    let shim = pid(&mut client);
    let cgroups = fs::read_to_string(format!("/proc/{shim}/cgroup")).unwrap();
    let mounts = fs::read_to_string("/proc/self/mounts").unwrap();
    let mut mounts = mounts.lines().map(|line| line.split(' ').collect::<Vec<_>>());
    let hierarchy = mounts.find(|mount| mount[2] == "cgroup2").unwrap()[1];
    let directory = Path::new(hierarchy).join(&path[1..]);
    kill(shim, "TERM");
    until(|| has_ended(shim));
    until(|| fs::remove_dir(&directory).is_ok()); // until its zombie is gone
    fs::remove_dir(directory.parent().unwrap()).unwrap();
    assert!(cgroups.lines().any(|line| line == format!("0::{path}")), "{cgroups}");
}

/// Of all its sockets that have one, as proc(5) has them in net/unix.
fn names_of_sockets(pid: u32) -> Vec<String> {
    let fds = fs::read_dir(format!("/proc/{pid}/fd")).unwrap();
    let links: Vec<_> = fds.filter_map(|fd| fs::read_link(fd.ok()?.path()).ok()).collect();
    let table = fs::read_to_string(format!("/proc/{pid}/net/unix")).unwrap();
    let fields = table.lines().skip(1).map(|line| line.split_whitespace().collect::<Vec<_>>());
    let own = fields.filter(|f| links.iter().any(|link| *link == Path::new(&format!("socket:[{}]", f[6]))));
    own.filter_map(|fields| fields.get(7).map(ToString::to_string)).collect()
}

/// Reads until the other side closes the connection (0), or for a second (142).
const CALLER: &str = r#"use Socket; alarm 1; $SIG{ALRM} = sub { exit 142 };
    socket(my $s, AF_UNIX, SOCK_STREAM, 0) or die; connect($s, sockaddr_un($ARGV[0])) or die "connect: $!";
    sysread($s, my $got, 1); exit 0"#;

/// CVE-2020-15257: a name without a file (unix(7), "abstract") is there for everybody in the network namespace.
#[test]
#[ignore = "needs root"]
fn its_socket_is_for_its_own_user() {
    let world = World::new("peer");
    world.bundle("i", "");
    let dir = format!("/tmp/rrunc-peer-{}", std::process::id());
    let (address, _) = crate::start::start_in(&world, &dir);
    let (socket, directory) = (Path::new(address.strip_prefix("unix://").unwrap()), Path::new(&dir));
    let mode = |path: &Path| fs::metadata(path).unwrap().mode() & 0o777;
    assert_eq!((mode(socket), mode(directory)), (0o600, 0o700));
    let call = |uid: u32| {
        let mut caller = Command::new("perl");
        caller.args(["-e", CALLER]).arg(socket).uid(uid).gid(uid);
        caller.output().unwrap()
    };
    let stranger = call(NOBODY);
    let complaint = String::from_utf8_lossy(&stranger.stderr).into_owned();
    assert!(complaint.contains("connect: Permission denied"), "{complaint}");

    // Even if it were there for all.
    fs::set_permissions(socket, fs::Permissions::from_mode(0o666)).unwrap();
    fs::set_permissions(directory, fs::Permissions::from_mode(0o711)).unwrap();
    let (stranger, own) = (call(NOBODY), call(0));
    assert_eq!(stranger.status.code(), Some(0), "{stranger:?}");
    assert_eq!(own.status.code(), Some(142), "{own:?}");
    let shim = pid(&mut Client::new(socket)); // it serves on
    let names = names_of_sockets(shim);
    assert!(names.iter().any(|name| Path::new(name) == socket), "{names:?}");
    assert!(!names.iter().any(|name| name.starts_with('@')), "{names:?}");
    drop(world);
    fs::remove_dir(dir).unwrap();
}

/// An admin ends all that is named so: containers run on, and containerd finds what is left by `delete`.
#[test]
fn its_end_is_not_that_of_its_containers() {
    let world = World::new("sigterm");
    let mut client = world.running("i", "exec sleep 1000");
    let connect: ConnectResponse = client.call("Connect", &id("i")).unwrap();
    kill(connect.shim_pid, "TERM");
    until(|| has_ended(connect.shim_pid));
    assert!(!has_ended(connect.task_pid));
    assert!(!world.calls("i").contains("kill"), "{}", world.calls("i"));
    let output = world.run("i", &["delete"], b"");
    assert_eq!(String::from_utf8_lossy(&output.stderr), "");
    let response = DeleteResponse::decode(output.stdout.as_slice()).unwrap();
    assert_eq!((response.pid, response.exit_status), (connect.task_pid, 137));
    until(|| has_ended(connect.task_pid));
}

#[test]
#[ignore = "needs root"]
fn streams_belong_to_whom_the_options_name() {
    let world = World::new("owner");
    let program = "(stat -L -c %u:%g /proc/$$/fd/0 /proc/$$/fd/1 /proc/$$/fd/2 >OWNERS)";
    let owners = world.dir.join("owners");
    let program = program.replace("OWNERS", owners.to_str().unwrap());
    world.bundle("i", &program);
    let [stdin, stdout, stderr] = ["in", "out", "err"].map(|name| world.fifo(name).display().to_string());
    let mut client = Client::new(&world.start("i"));
    let created = world.create(&mut client, "i", |request| {
        request.options = Some(world.options_and(|options| (options.io_uid, options.io_gid) = (NOBODY, 7)));
        (request.stdin, request.stdout, request.stderr) = (stdin, stdout, stderr);
    });
    created.unwrap();
    start(&mut client, "i", "").unwrap();
    assert_eq!(wait(&mut client, "i", "").unwrap().exit_status, 0);
    assert_eq!(fs::read_to_string(owners).unwrap(), "65534:7\n".repeat(3));
}
