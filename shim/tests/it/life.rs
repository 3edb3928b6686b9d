//! Calls in every state, their answers and their codes.

use std::fs;

use containerd_shim_rrunc::proto::options::ProcessDetails;
use containerd_shim_rrunc::proto::task::*;
use containerd_shim_rrunc::proto::{Any, Empty};
use prost::Message;

use crate::client::{Client, Refused, V3};
use crate::world::{World, done, start};

const UNKNOWN: i32 = 2;
const NOT_FOUND: i32 = 5;
const EXISTS: i32 = 6;
const PRECONDITION: i32 = 9;

pub fn id(id: &str) -> IdRequest {
    IdRequest { id: id.into() }
}

pub fn state(client: &mut Client, id: &str, exec_id: &str) -> Result<StateResponse, Refused> {
    let (id, exec_id) = (id.into(), exec_id.into());
    client.call("State", &StateRequest { id, exec_id })
}

pub fn wait(client: &mut Client, id: &str, exec_id: &str) -> Result<WaitResponse, Refused> {
    let (id, exec_id) = (id.into(), exec_id.into());
    client.call("Wait", &WaitRequest { id, exec_id })
}

pub fn delete(client: &mut Client, id: &str, exec_id: &str) -> Result<DeleteResponse, Refused> {
    let (id, exec_id) = (id.into(), exec_id.into());
    client.call("Delete", &DeleteRequest { id, exec_id })
}

pub fn signal(client: &mut Client, id: &str, exec_id: &str, signal: u32) -> Result<Empty, Refused> {
    let (id, exec_id) = (id.into(), exec_id.into());
    client.call("Kill", &KillRequest { id, exec_id, signal, all: false })
}

pub fn exec(client: &mut Client, id: &str, exec_id: &str, line: &str) -> Result<Empty, Refused> {
    client.call("Exec", &exec_request(id, exec_id, line))
}

pub fn exec_request(id: &str, exec_id: &str, line: &str) -> ExecProcessRequest {
    ExecProcessRequest {
        id: id.into(),
        exec_id: exec_id.into(),
        spec: Some(Any {
            type_url: "types.containerd.io/opencontainers/runtime-spec/1/Process".into(),
            value: format!(r#"{{"args":["{line}"]}}"#).into(),
        }),
        ..ExecProcessRequest::default()
    }
}

#[track_caller]
pub fn refused<T: std::fmt::Debug>(result: Result<T, Refused>, code: i32, text: &str) {
    let (is, said) = result.unwrap_err();
    assert_eq!(is, code, "{said}");
    assert!(said.contains(text), "{said}");
}

/// containerd closes the connection with the answer to a Delete, so all others come before.
#[test]
fn a_delete_that_is_faster_than_the_kill() {
    let world = World::new("overtaken");
    let end = world.dir.join("i/end");
    let program = format!("until [ -e {} ]; do sleep 0.01; done; exit 3", end.display());
    let mut client = world.running("i", &program);
    let held = world.dir.join("i/wait-kill");
    fs::write(&held, "").unwrap();
    let kill = KillRequest { id: "i".into(), signal: 9, ..KillRequest::default() };
    let kill = client.send(V3, "Kill", &kill);
    crate::world::until(|| world.calls("i").contains("kill"));
    fs::write(end, "").unwrap();
    assert_eq!(wait(&mut client, "i", "").unwrap().exit_status, 3);
    let request = DeleteRequest { id: "i".into(), ..DeleteRequest::default() };
    let delete = client.send(V3, "Delete", &request);
    state(&mut client, "i", "").unwrap(); // the Delete has been taken up
    assert!(!world.calls("i").contains("delete"));
    fs::remove_file(held).unwrap();
    for stream in [kill, delete] {
        assert_eq!(client.read()[4..8], stream.to_be_bytes());
    }
}

#[test]
fn a_whole_life() {
    let world = World::new("life");
    let mut client = world.created("i", "exit 3");
    let created = state(&mut client, "i", "").unwrap();
    assert_eq!(created.status(), Status::Created);
    assert_eq!(created.bundle, world.dir.join("i").display().to_string());
    let waiting = client.send(V3, "Wait", &WaitRequest { id: "i".into(), exec_id: String::new() });
    let started = start(&mut client, "i", "").unwrap();
    assert_eq!(started.pid, created.pid);
    let waited: WaitResponse = client.answer(waiting).unwrap();
    assert_eq!(waited.exit_status, 3);
    let stopped = state(&mut client, "i", "").unwrap();
    assert_eq!((stopped.status(), stopped.exit_status), (Status::Stopped, 3));
    assert_eq!(wait(&mut client, "i", "").unwrap(), waited, "again");
    let deleted = delete(&mut client, "i", "").unwrap();
    assert_eq!((deleted.pid, deleted.exit_status, deleted.exited_at), (created.pid, 3, waited.exited_at));
    refused(state(&mut client, "i", ""), NOT_FOUND, "container i");
    assert_eq!(world.calls("i"), "create\nstart\ndelete\n");
    let shutdown = ShutdownRequest { id: "i".into(), now: false };
    done(client.call("Shutdown", &shutdown));
    assert_eq!(client.read(), b"", "the shim ends");
}

#[test]
fn what_is_not_there() {
    let world = World::new("not-there");
    let mut client = world.running("i", "exec sleep 1000");
    refused(state(&mut client, "j", ""), NOT_FOUND, "container j");
    refused(state(&mut client, "i", "e"), NOT_FOUND, "process e");
    refused(start(&mut client, "j", ""), NOT_FOUND, "container j");
    refused(wait(&mut client, "i", "e"), NOT_FOUND, "process e");
    refused(delete(&mut client, "i", "e"), NOT_FOUND, "process e");
    refused(signal(&mut client, "i", "e", 9), NOT_FOUND, "process e");
    let connect: ConnectResponse = client.call("Connect", &id("j")).unwrap();
    assert_eq!(connect.task_pid, 0, "Connect never fails");
    refused(client.call::<Empty>("Nonsense", &id("i")), 12, "method Nonsense");
    let stream = client.send("containerd.task.v4.Task", "State", &id("i"));
    refused(client.answer::<Empty>(stream), 12, "containerd.task.v4.Task");
}

#[test]
fn not_in_this_state() {
    let world = World::new("states");
    let mut client = world.created("i", "exec sleep 1000");
    refused(world.create(&mut client, "i", |_| {}), EXISTS, "container i");
    refused(client.call::<Empty>("Pause", &id("i")), PRECONDITION, "started");
    start(&mut client, "i", "").unwrap();
    refused(start(&mut client, "i", ""), PRECONDITION, "already");
    refused(delete(&mut client, "i", ""), PRECONDITION, "running");
    refused(client.call::<Empty>("Resume", &id("i")), PRECONDITION, "not paused");
    done(exec(&mut client, "i", "e", "exit 0"));
    refused(exec(&mut client, "i", "e", "exit 0"), EXISTS, "process e");
    refused(exec(&mut client, "i", "../e", ""), 3, "../e");
    refused(signal(&mut client, "i", "e", 9), PRECONDITION, "not been started");
    done(client.call("Pause", &id("i")));
    assert_eq!(state(&mut client, "i", "").unwrap().status(), Status::Paused);
    refused(exec(&mut client, "i", "f", "exit 0"), PRECONDITION, "paused");
    refused(start(&mut client, "i", "e"), PRECONDITION, "paused");
    refused(delete(&mut client, "i", ""), PRECONDITION, "paused");
    done(client.call("Resume", &id("i")));
    done(signal(&mut client, "i", "", 9));
    assert_eq!(wait(&mut client, "i", "").unwrap().exit_status, 137);
    refused(signal(&mut client, "i", "", 9), NOT_FOUND, "already finished");
    refused(start(&mut client, "i", "e"), PRECONDITION, "stopped");
    refused(exec(&mut client, "i", "f", "exit 0"), PRECONDITION, "stopped");
    delete(&mut client, "i", "e").unwrap();
    delete(&mut client, "i", "").unwrap();
}

#[test]
fn an_exec() {
    let world = World::new("exec");
    let mut client = world.running("i", "exec sleep 1000");
    done(exec(&mut client, "i", "e", "exit 4"));
    let added = state(&mut client, "i", "e").unwrap();
    assert_eq!((added.status(), added.pid, added.exec_id.as_str()), (Status::Created, 0, "e"));
    let started = start(&mut client, "i", "e").unwrap();
    assert_ne!(started.pid, 0);
    assert_eq!(wait(&mut client, "i", "e").unwrap().exit_status, 4);
    assert_eq!(delete(&mut client, "i", "e").unwrap().pid, started.pid);
    refused(delete(&mut client, "i", "e"), NOT_FOUND, "process e");
    let left = fs::read_dir(world.dir.join("i")).unwrap();
    let left: Vec<_> = left.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    assert!(!left.iter().any(|name| name.starts_with("exec-") || name.starts_with("log-")), "{left:?}");
}

#[test]
fn a_signal_for_an_exec() {
    let world = World::new("exec-kill");
    let mut client = world.running("i", "exec sleep 1000");
    done(exec(&mut client, "i", "e", "exec sleep 1000"));
    start(&mut client, "i", "e").unwrap();
    refused(delete(&mut client, "i", "e"), PRECONDITION, "running");
    done(signal(&mut client, "i", "e", 15));
    assert_eq!(wait(&mut client, "i", "e").unwrap().exit_status, 143);
    refused(signal(&mut client, "i", "e", 15), NOT_FOUND, "already finished");
    assert_eq!(state(&mut client, "i", "").unwrap().status(), Status::Running);
}

#[test]
fn deleted_before_its_start() {
    let world = World::new("never-started");
    let mut client = world.created("i", "");
    let deleted = delete(&mut client, "i", "").unwrap();
    assert_eq!(deleted.exit_status, 137);
    world.containerd.expect(&["/tasks/create", "/tasks/exit", "/tasks/delete"]);
}

#[test]
fn processes_and_limits() {
    let world = World::new("pids");
    let mut client = world.running("i", "exec sleep 1000");
    let response: PidsResponse = client.call("Pids", &id("i")).unwrap();
    let pid = state(&mut client, "i", "").unwrap().pid;
    assert_eq!(response.processes.len(), 1);
    assert_eq!((response.processes[0].pid, &response.processes[0].info), (pid, &None));
    let details = ProcessDetails { exec_id: "e".into() };
    assert_eq!(details.encode_to_vec(), b"\n\x01e");
    let update = UpdateTaskRequest {
        id: "i".into(),
        resources: Some(Any {
            type_url: "types.containerd.io/opencontainers/runtime-spec/1/LinuxResources".into(),
            value: b"{\"pids\":{\"limit\":5}}".to_vec(),
        }),
        ..UpdateTaskRequest::default()
    };
    done(client.call("Update", &update));
    assert_eq!(fs::read(world.dir.join("i/update")).unwrap(), b"{\"pids\":{\"limit\":5}}");
    let nothing = UpdateTaskRequest { id: "i".into(), ..UpdateTaskRequest::default() };
    refused(client.call::<Empty>("Update", &nothing), 3, "no resources");
}

/// State answers while the runtime is at work, for this and for other containers.
#[test]
fn nobody_waits_for_the_runtime() {
    let world = World::new("no-wait");
    let bundle = world.bundle("i", "exec sleep 1000");
    fs::write(bundle.join("wait-create"), "").unwrap();
    let mut client = Client::new(&world.start("i"));
    let request = CreateTaskRequest {
        id: "i".into(),
        bundle: bundle.display().to_string(),
        options: Some(world.options()),
        ..CreateTaskRequest::default()
    };
    let creating = client.send(V3, "Create", &request);
    assert_eq!(state(&mut client, "i", "").unwrap().status(), Status::Unknown);
    refused(start(&mut client, "i", ""), PRECONDITION, "being created");
    world.bundle("j", "exit 5");
    world.create(&mut client, "j", |_| {}).unwrap();
    start(&mut client, "j", "").unwrap();
    assert_eq!(wait(&mut client, "j", "").unwrap().exit_status, 5);
    delete(&mut client, "j", "").unwrap();
    fs::remove_file(bundle.join("wait-create")).unwrap();
    let created: CreateTaskResponse = client.answer(creating).unwrap();
    assert_ne!(created.pid, 0);
    fs::write(bundle.join("fail-start"), "no way").unwrap();
    refused(start(&mut client, "i", ""), UNKNOWN, "OCI runtime start failed: no way");
    assert_eq!(state(&mut client, "i", "").unwrap().status(), Status::Created);
}
