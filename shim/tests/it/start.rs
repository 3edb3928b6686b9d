//! Every version's way to start a shim, byte by byte.

use std::fs;
use std::path::Path;

use containerd_shim_rrunc::proto::Any;
use containerd_shim_rrunc::proto::options::RuncOptions;
use containerd_shim_rrunc::proto::task::{ConnectResponse, DeleteResponse, IdRequest};
use prost::Message;

use crate::client::{Client, V2, V3};
use crate::world::World;

/// A field of a message: its number, and a string or message.
fn field(number: u8, content: &[u8]) -> Vec<u8> {
    assert!(content.len() < 128);
    [&[number << 3 | 2, content.len() as u8], content].concat()
}

/// An Any with runc's Options {binary_name, root}.
fn any(world: &World) -> Vec<u8> {
    // Lengths above 127 take two bytes; a short link keeps below.
    let binary = world.dir.join("b");
    std::os::unix::fs::symlink(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it/runtime.sh"), &binary).unwrap();
    let options = field(6, binary.to_str().unwrap().as_bytes());
    [field(1, b"containerd.runc.v1.Options"), field(2, &options)].concat()
}

/// Both services answer on the socket, byte by byte.
fn serves(socket: &str) {
    let mut client = Client::new(Path::new(socket));
    for (stream, service) in [(1, V2), (3, V3)] {
        let request =
            [field(1, service.as_bytes()), field(2, b"Connect"), field(3, &field(1, b"i"))].concat();
        let header = [0, 0, 0, request.len() as u8, 0, 0, 0, stream, 1, 0];
        client.write(&[&header, request.as_slice()].concat());
        let answer = client.read();
        assert_eq!(&answer[4..10], &[0, 0, 0, stream, 2, 0]);
        assert_eq!(answer[3] as usize, answer.len() - 10);
        // status {} and payload {shim_pid, …}
        assert_eq!((&answer[10..12], answer[12], answer[14]), (&[10, 0][..], 18, 8));
    }
}

#[test]
fn containerd_1_7_and_2_0_to_2_2() {
    for with_options in [false, true] {
        let world = World::new(if with_options { "legacy-options" } else { "legacy" });
        world.bundle("i", "");
        let stdin = if with_options { any(&world) } else { vec![] };
        let output = world.run("i", &["start"], &stdin);
        assert_eq!(output.stderr, b"");
        let address = String::from_utf8(output.stdout).unwrap();
        let path = address.strip_prefix("unix://").unwrap();
        world.started(Path::new(path));
        assert!(!address.contains(char::is_whitespace), "2.0 takes it as it is");
        assert_eq!(fs::read_to_string(world.dir.join("i/address")).unwrap(), address, "1.7 reads it");
        serves(path);
    }
}

/// As containerd 2.3 does it, which says where sockets are to be (at most 42 bytes): the address, and what is printed.
pub fn start_in(world: &World, dir: &str) -> (String, Vec<u8>) {
    let stdin = [
        field(1, b"i"),
        field(2, b"namespace"),
        field(4, b"2.3.0"),
        field(8, &field(1, &field(1, b"unknown.Extension"))),
        field(9, dir.as_bytes()),
    ]
    .concat();
    let output = world.run("i", &["start"], &stdin);
    assert_eq!(output.stderr, b"");
    let address = fs::read_to_string(world.dir.join("i/address")).unwrap();
    world.started(Path::new(address.strip_prefix("unix://").unwrap()));
    (address, output.stdout)
}

#[test]
fn containerd_2_3() {
    let world = World::new("bootstrap");
    world.bundle("i", "");
    let dir = format!("/tmp/rrunc-shim-{}", std::process::id());
    let (address, printed) = start_in(&world, &dir);
    let path = address.strip_prefix("unix://").unwrap();
    assert!(path.starts_with(&dir), "{path}");
    let expected = [vec![8, 2], field(2, address.as_bytes()), field(3, b"ttrpc")].concat();
    assert_eq!(printed, expected);
    serves(path);
    drop(world);
    fs::remove_dir(dir).unwrap();
}

#[test]
fn a_group_has_one_shim() {
    let world = World::new("group");
    for id in ["a", "b"] {
        let bundle = world.bundle(id, "");
        let config = r#"{"annotations": {"io.kubernetes.cri.sandbox-id": "pod"}}"#;
        fs::write(bundle.join("config.json"), config).unwrap();
    }
    world.bundle("c", "");
    let (a, b, c) = (world.start("a"), world.start("b"), world.start("c"));
    assert_eq!(a, b);
    assert_ne!(a, c);
    let pid = |path| {
        let connect = Client::new(path).call::<ConnectResponse>("Connect", &IdRequest::default());
        connect.unwrap().shim_pid
    };
    assert_eq!(pid(&a), pid(&b));
    assert_ne!(pid(&a), pid(&c));
}

#[test]
fn two_starts_of_a_group_at_once() {
    let world = World::new("race");
    let ids: Vec<String> = (0..8).map(|i| format!("c{i}")).collect();
    for id in &ids {
        let bundle = world.bundle(id, "");
        let config = r#"{"annotations": {"io.containerd.runc.v2.group": "pod"}}"#;
        fs::write(bundle.join("config.json"), config).unwrap();
    }
    let world = &std::sync::Mutex::new(world);
    let outputs: Vec<_> = std::thread::scope(|scope| {
        let run = |id: &String| {
            let (dir, id) = (world.lock().unwrap().dir.clone(), id.clone());
            scope.spawn(move || {
                let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_containerd-shim-rrunc-v2"));
                command.args(["-namespace", "n", "-address", "/a", "-id", &id, "start"]);
                command.current_dir(dir.join(&id)).env("XDG_RUNTIME_DIR", &dir);
                command.stdin(std::process::Stdio::null()).output().unwrap()
            })
        };
        let threads: Vec<_> = ids.iter().map(run).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    let address = String::from_utf8(outputs[0].stdout.clone()).unwrap();
    let world = world.lock().unwrap();
    world.started(Path::new(address.strip_prefix("unix://").unwrap()));
    for output in outputs {
        assert_eq!(String::from_utf8(output.stdout).unwrap(), address);
    }
}

#[test]
fn what_cannot_start_says_why() {
    let world = World::new("cannot-start");
    fs::create_dir(world.dir.join("i")).unwrap();
    let check = |args: &[&str], stdin: &[u8], text: &str| {
        let output = world.run("i", args, stdin);
        assert!(!output.status.success());
        assert_eq!(output.stdout, b"");
        let complaint = String::from_utf8(output.stderr).unwrap();
        assert!(complaint.contains(text), "{complaint}");
    };
    check(&["start"], b"", "config.json: No such file");
    check(&["stop"], b"", "\"stop\"");
    world.bundle("i", "");
    check(&["start"], b"\xff\xff", "stdin");
    check(&["start"], &field(1, b"windows.Options"), "windows.Options");
    fs::write(world.dir.join("i/config.json"), "{").unwrap();
    check(&["start"], b"", "config.json: EOF");
}

/// Whoever is told an address finds somebody there, however few fds there are; else it is said what is wrong.
#[test]
fn a_shim_that_cannot_serve_says_why() {
    let world = World::new("cannot-serve");
    world.bundle("i", "");
    // Its reader makes the shim open it, so that the shim needs more fds than its start.
    let log = world.fifo("i/log");
    let _reader = fs::OpenOptions::new().read(true).write(true).open(log).unwrap();
    let (mut failed, mut served) = (0, 0);
    for limit in 4..16 {
        let output = std::process::Command::new("prlimit")
            .arg(format!("--nofile={limit}"))
            .arg(env!("CARGO_BIN_EXE_containerd-shim-rrunc-v2"))
            .args(["-namespace", "n", "-address", &format!("/{limit}"), "-id", "i", "start"])
            .current_dir(world.dir.join("i"))
            .env("XDG_RUNTIME_DIR", &world.dir)
            .stdin(std::process::Stdio::null())
            .output()
            .unwrap();
        if output.status.success() {
            let address = String::from_utf8(output.stdout).unwrap();
            let path = Path::new(address.strip_prefix("unix://").unwrap());
            world.started(path);
            let connect = Client::new(path).call::<ConnectResponse>("Connect", &IdRequest::default());
            assert_ne!(connect.unwrap().shim_pid, 0);
            served += 1;
        } else {
            assert_ne!(output.stderr, b"");
            failed += 1;
        }
    }
    assert!(failed > 0 && served > 0, "{failed} failed, {served} served");
}

#[test]
fn delete_of_what_was_never_made() {
    let world = World::new("delete-nothing");
    world.bundle("i", "");
    let output = world.run("i", &["delete"], b"");
    assert_eq!(output.stderr, b"");
    let response = DeleteResponse::decode(output.stdout.as_slice()).unwrap();
    assert_eq!((response.pid, response.exit_status), (0, 137));
}

#[test]
fn delete_after_the_shim_was_killed() {
    let world = World::new("delete-killed");
    let mut client = world.running("i", "exec sleep 1000");
    let connect: ConnectResponse = client.call("Connect", &IdRequest { id: "i".into() }).unwrap();
    let socket = fs::read_to_string(world.dir.join("i/address")).unwrap();
    crate::world::kill(connect.shim_pid, "KILL");
    assert_eq!(client.read(), b"", "the connection ends");
    // Of another version, as when an upgrade has killed it.
    let options = world.dir.join("i/options.json");
    let json = fs::read_to_string(&options).unwrap();
    let known = |name| serde_json::from_str::<serde_json::Value>(&json).unwrap()[name].clone();
    let json = serde_json::json!({
        "BinaryName": known("BinaryName"), "Root": known("Root"), "Unheard": [1],
    });
    fs::write(options, json.to_string()).unwrap();
    let output = world.run("i", &["delete"], b"");
    assert_eq!(output.stderr, b"");
    let response = DeleteResponse::decode(output.stdout.as_slice()).unwrap();
    assert_eq!((response.pid, response.exit_status), (connect.task_pid, 137));
    assert!(!world.dir.join("root/namespace/i").exists(), "the runtime has deleted it");
    assert!(!Path::new(socket.strip_prefix("unix://").unwrap()).exists());
    // Its socket would have kept a new one from listening.
    world.start("i");
}

#[test]
fn info() {
    use containerd_shim_rrunc::proto::bootstrap::RuntimeInfo;
    let world = World::new("info");
    world.bundle("i", "");
    let output = world.run("i", &["-info"], &world.options().encode_to_vec());
    assert_eq!(output.stderr, b"");
    let info = RuntimeInfo::decode(output.stdout.as_slice()).unwrap();
    assert_eq!(info.name, "io.containerd.rrunc.v2");
    assert_eq!(info.options, Some(world.options()));
    assert_eq!(info.features.unwrap().value, b"{\"ociVersionMin\":\"1.0.0\"}\n");
    for (runtime, complaint) in [("/nowhere/runtime", "No such file"), ("false", "features failed")] {
        let options = RuncOptions { binary_name: runtime.into(), ..RuncOptions::default() };
        let options = Any::new("containerd.runc.v1.Options", &options);
        let output = world.run("i", &["-info"], &options.encode_to_vec());
        assert!(output.status.success(), "one that says nothing of its features");
        assert!(String::from_utf8(output.stderr).unwrap().contains(complaint));
        let info = RuntimeInfo::decode(output.stdout.as_slice()).unwrap();
        assert_eq!((info.options, info.features), (Some(options), None));
    }
    let output = world.run("i", &["-v"], b"");
    assert!(String::from_utf8(output.stdout).unwrap().contains(env!("CARGO_PKG_VERSION")));
}

/// The disk is full, say: nobody learns the address, so nobody may listen there.
#[test]
fn a_start_that_fails_late_leaves_no_shim() {
    let world = World::new("late");
    let bundle = world.bundle("i", "");
    fs::create_dir_all(bundle.join("address/taken")).unwrap();
    let output = world.run("i", &["start"], &[]);
    assert!(!output.status.success());
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(said.contains("address"), "{said}");
    assert_eq!(output.stdout, b"");
    assert!(!bundle.join(".address").exists(), "a file that was begun is left");
    let sockets: Vec<_> = fs::read_dir(world.dir.join("containerd/s")).into_iter().flatten().collect();
    assert_eq!(sockets.len(), 0, "a shim or its socket is left: {sockets:?}");
    let ours = |pid: &std::ffi::OsStr| {
        let line = fs::read(Path::new("/proc").join(pid).join("cmdline")).unwrap_or_default();
        String::from_utf8_lossy(&line).contains(world.dir.to_str().unwrap())
    };
    let left = fs::read_dir("/proc").unwrap().flatten().find(|entry| ours(&entry.file_name()));
    assert!(left.is_none(), "{left:?} still runs");
}
