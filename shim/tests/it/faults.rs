//! What is wrong is named, and harms nobody else.

use std::fs;

use containerd_shim_rrunc::proto::options::RuncOptions;
use containerd_shim_rrunc::proto::task::{
    ConnectResponse, CreateTaskRequest, ExecProcessRequest, Mount, StateResponse, Status, UpdateTaskRequest,
};
use containerd_shim_rrunc::proto::{Any, Empty};

use crate::client::Client;
use crate::life::{delete, exec, exec_request, id, refused, state, wait};
use crate::world::{World, done, start};

const INVALID: i32 = 3;

#[test]
fn frames() {
    let world = World::new("frames");
    let client = &mut world.running("i", "exec sleep 1000");
    let socket = fs::read_to_string(world.dir.join("i/address")).unwrap();
    let path = std::path::Path::new(socket.strip_prefix("unix://").unwrap());
    let mut other = Client::new(path);
    let frame = |length: u32, kind: u8, bytes: &[u8]| {
        let mut frame = length.to_be_bytes().to_vec();
        frame.extend([0, 0, 0, 9, kind, 0]);
        frame.extend(bytes);
        frame
    };
    let code = |answer: &[u8]| {
        assert_eq!(&answer[4..10], &[0, 0, 0, 9, 2, 0]);
        answer[13]
    };
    other.write(&frame(3, 1, &[0xff, 0xff, 0xff]));
    assert_eq!(code(&other.read()), 3, "no message");
    other.write(&frame(2, 1, &[0x0a, 0x50]));
    assert_eq!(code(&other.read()), 3, "a truncated one");
    other.write(&frame(5 << 20, 1, &vec![0; 5 << 20]));
    assert_eq!(code(&other.read()), 8, "a huge one");
    other.write(&frame(1, 7, b"x"));
    other.write(&frame(0, 1, b""));
    assert_eq!(code(&other.read()), 12, "an empty one names no service");
    assert_eq!(state(&mut other, "i", "").unwrap().status(), Status::Running);
    // Half a frame, and gone.
    other.write(&[0, 0, 0]);
    drop(other);
    assert_eq!(state(client, "i", "").unwrap().status(), Status::Running);
}

#[test]
fn creations() {
    let world = World::new("creations");
    world.bundle("i", "exit 0");
    let mut client = Client::new(&world.start("i"));
    fs::create_dir(world.dir.join("empty")).unwrap();
    let create = |client: &mut Client, id: &str, with: &dyn Fn(&mut _)| {
        world.create(client, id, |request| with(request))
    };
    refused(create(&mut client, "empty", &|_| {}), INVALID, "config.json");
    refused(create(&mut client, "../i", &|_| {}), INVALID, "../i");
    refused(
        create(&mut client, "i", &|r: &mut containerd_shim_rrunc::proto::task::CreateTaskRequest| {
            r.options = Some(Any { type_url: "windows.Options".into(), value: vec![] });
        }),
        INVALID,
        "windows.Options",
    );
    type Request = containerd_shim_rrunc::proto::task::CreateTaskRequest;
    let stdout = |path: String| move |request: &mut Request| request.stdout = path.clone();
    refused(create(&mut client, "i", &stdout("/nowhere/fifo".into())), 2, "/nowhere/fifo");
    refused(create(&mut client, "i", &stdout("relative".into())), INVALID, "relative");
    refused(create(&mut client, "i", &stdout("ttrpc+unix:///s".into())), INVALID, "ttrpc+unix");
    let mount = |request: &mut Request| {
        request.rootfs = vec![Mount { r#type: "nosuchfs".into(), source: "none".into(), ..Mount::default() }];
    };
    refused(create(&mut client, "i", &mount), 2, "mount nosuchfs none on");
    let runtime = |request: &mut Request| {
        let options = containerd_shim_rrunc::proto::options::RuncOptions {
            binary_name: "/nowhere/runtime".into(),
            ..Default::default()
        };
        request.options = Some(Any::new("containerd.runc.v1.Options", &options));
    };
    refused(create(&mut client, "i", &runtime), 5, "\"/nowhere/runtime\": No such file");
    let fail = world.dir.join("i/fail-create");
    fs::write(&fail, "not today").unwrap();
    refused(create(&mut client, "i", &|_| {}), 2, "OCI runtime create failed: not today");
    // Nor can what it has left be removed: somebody else is to try again.
    let fail_delete = world.dir.join("i/fail-delete");
    fs::write(&fail_delete, "the cgroup is busy").unwrap();
    refused(
        create(&mut client, "i", &|_| {}),
        2,
        "not today; what that left is still there: OCI runtime delete failed: the cgroup is busy",
    );
    assert!(world.dir.join("i/runtime").exists());
    fs::remove_file(fail_delete).unwrap();
    fs::remove_file(fail).unwrap();
    // After all of that it works.
    create(&mut client, "i", &|_| {}).unwrap();
    start(&mut client, "i", "").unwrap();
    wait(&mut client, "i", "").unwrap();
    delete(&mut client, "i", "").unwrap();
}

/// A runtime would overlook what it doesn't know, and have done nothing.
#[test]
fn what_is_of_another_type() {
    let world = World::new("types");
    let mut client = world.running("i", "exec sleep 1000");
    let any = |type_url: &str| {
        let (type_url, value) = (type_url.into(), b"{\"args\":[\"exit 0\"]}".to_vec());
        Some(Any { type_url, value })
    };
    let update = |type_url| UpdateTaskRequest {
        id: "i".into(),
        resources: any(type_url),
        ..UpdateTaskRequest::default()
    };
    let exec = |type_url| ExecProcessRequest { spec: any(type_url), ..exec_request("i", "e", "") };
    let windows = "types.containerd.io/opencontainers/runtime-spec/1/WindowsResources";
    refused(client.call::<Empty>("Update", &update(windows)), INVALID, windows);
    assert_eq!(world.calls("i"), "create\nstart\n");
    done(client.call("Update", &update("github.com/opencontainers/runtime-spec/specs-go/LinuxResources")));
    done(client.call("Update", &update("")));
    refused(client.call::<Empty>("Exec", &exec(windows)), INVALID, windows);
    done(client.call("Exec", &exec("types.containerd.io/opencontainers/runtime-spec/1/Process")));
}

/// A later containerd may say more.
#[test]
fn fields_of_a_later_version() {
    #[derive(Clone, PartialEq, prost::Message)]
    struct Later {
        #[prost(string, tag = "1")]
        id: String,
        #[prost(bytes = "vec", tag = "77")]
        more: Vec<u8>,
    }
    let world = World::new("later");
    let mut client = world.created("i", "");
    let (id, more) = ("i".into(), vec![0xff; 9]);
    let state: StateResponse = client.call("State", &Later { id, more }).unwrap();
    assert_eq!(state.status(), Status::Created);
}

#[test]
fn a_runtime_that_crashes() {
    let world = World::new("crash");
    world.bundle("i", "");
    let crash = world.script("crash", "#!/bin/sh\nkill -s SEGV $$\n");
    let mut client = Client::new(&world.start("i"));
    let result = world.create(&mut client, "i", |request| {
        let options = containerd_shim_rrunc::proto::options::RuncOptions {
            binary_name: crash.display().to_string(),
            ..Default::default()
        };
        request.options = Some(Any::new("containerd.runc.v1.Options", &options));
    });
    refused(result, 2, "OCI runtime create failed: killed by signal 11");
    refused(state(&mut client, "i", ""), 5, "container i");
}

#[test]
fn execs() {
    let world = World::new("execs");
    let mut client = world.running("i", "exec sleep 1000");
    let mut broken = exec_request("i", "e", "");
    broken.spec = Some(Any { type_url: String::new(), value: b"{".to_vec() });
    refused(client.call::<Empty>("Exec", &broken), INVALID, "the process's spec");
    fs::write(world.dir.join("i/fail-exec"), "no such program").unwrap();
    done(exec(&mut client, "i", "e", "exit 0"));
    refused(start(&mut client, "i", "e"), 2, "OCI runtime exec failed: no such program");
    assert_eq!(wait(&mut client, "i", "e").unwrap().exit_status, 255, "nobody is left waiting");
    delete(&mut client, "i", "e").unwrap();
    fs::remove_file(world.dir.join("i/fail-exec")).unwrap();
    done(exec(&mut client, "i", "e", "exit 0"));
    start(&mut client, "i", "e").unwrap();
}

#[test]
fn deletions() {
    let world = World::new("deletions");
    let mut client = world.running("i", "exit 0");
    wait(&mut client, "i", "").unwrap();
    let fail = world.dir.join("i/fail-delete");
    fs::write(&fail, "the cgroup is busy").unwrap();
    refused(delete(&mut client, "i", ""), 2, "OCI runtime delete failed: the cgroup is busy");
    assert_eq!(state(&mut client, "i", "").unwrap().status(), Status::Stopped);
    // Only of rrunc it is known what is meant.
    let kind = r#"the cgroup does not exist","kind":"kernel"#;
    fs::write(&fail, kind).unwrap();
    refused(delete(&mut client, "i", ""), 2, "the cgroup does not exist");
    fs::remove_file(fail).unwrap();
    delete(&mut client, "i", "").unwrap();
    refused(client.call::<Empty>("Pause", &id("i")), 5, "container i");
}

/// It may be back when the next version of it has been installed.
#[test]
fn a_runtime_that_has_gone() {
    let world = World::new("no-runtime");
    let runtime = world.dir.join("runtime");
    let real = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it/runtime.sh");
    let install = || std::os::unix::fs::symlink(real, &runtime).unwrap();
    install();
    world.bundle("i", "exit 3");
    let mut client = Client::new(&world.start("i"));
    let create = |request: &mut CreateTaskRequest| {
        let options = RuncOptions {
            binary_name: runtime.display().to_string(),
            root: world.dir.join("root").display().to_string(),
            ..RuncOptions::default()
        };
        request.options = Some(Any::new("containerd.runc.v1.Options", &options));
    };
    world.create(&mut client, "i", create).unwrap();
    start(&mut client, "i", "").unwrap();
    wait(&mut client, "i", "").unwrap();
    fs::remove_file(&runtime).unwrap();
    refused(delete(&mut client, "i", ""), 2, "execute the runtime");
    install();
    assert_eq!(delete(&mut client, "i", "").unwrap().exit_status, 3);
}

/// A shim says what there is when it is asked, in whichever way, and its containers run on.
#[test]
fn signals() {
    use std::io::{BufRead, BufReader};
    let world = World::new("signals");
    let log = {
        world.bundle("i", "exec sleep 1000");
        let log = world.fifo("i/log");
        let log = fs::OpenOptions::new().read(true).write(true).open(log).unwrap();
        BufReader::new(log)
    };
    let mut lines = log.lines().map(Result::unwrap);
    let client = &mut world.running("i", "exec sleep 1000");
    let connect: ConnectResponse = client.call("Connect", &id("i")).unwrap();
    for signal in ["USR1", "HUP", "QUIT"] {
        crate::world::kill(connect.shim_pid, signal);
        assert_eq!(
            lines.next().unwrap(),
            "level=info msg=\"1 containers, 0 commands under way, 1 connections, 0 streams\""
        );
        let process = format!("container i: Running, pid {}", connect.task_pid);
        assert_eq!(lines.next().unwrap(), format!("level=info msg=\"{process}\""));
    }
    assert_eq!(state(client, "i", "").unwrap().status(), Status::Running);
}
