//! containerd ends and comes back: it asks every shim for processes, and throws away whatever has none.

use std::fs;
use std::path::{Path, PathBuf};

use containerd_shim_rrunc::proto::task::*;

use crate::client::{Client, Refused, V2};
use crate::life::{delete, id, refused, signal, state, wait};
use crate::world::{World, start, until};

fn socket(world: &World) -> PathBuf {
    let address = fs::read_to_string(world.dir.join("i/address")).unwrap();
    address.strip_prefix("unix://").unwrap().into()
}

fn pids(client: &mut Client, name: &str) -> Result<Vec<u32>, Refused> {
    let response = client.call::<PidsResponse>("Pids", &id(name))?;
    Ok(response.processes.iter().map(|process| process.pid).collect())
}

/// It dies when it has been told of half of the ends, and knows nothing any more.
#[test]
fn in_the_middle_of_many_exits() {
    let world = World::new("restart");
    let end = world.dir.join("end");
    let wait_for_end = format!("until [ -e {} ]; do sleep 0.01; done", end.display());
    let program = |status: u32| format!("{wait_for_end}; exit {status}");
    let mut client = world.running("i", &program(0));
    let ids: Vec<String> = (1..12).map(|n| format!("i{n}")).collect();
    for (id, status) in ids.iter().zip(1..) {
        world.running_in(&mut client, id, &program(status));
    }
    world.containerd.dies_after(2 * 12 + 6);
    fs::write(end, "").unwrap();
    wait(&mut client, "i", "").unwrap();
    for id in &ids {
        wait(&mut client, id, "").unwrap();
    }
    world.containerd.events(2 * 12 + 6);
    drop(client);

    let mut client = Client::new(Path::new(&socket(&world)));
    for (name, status) in ids.iter().zip(1..) {
        let connect: ConnectResponse = client.call("Connect", &id(name)).unwrap();
        assert_eq!(pids(&mut client, name).unwrap(), [connect.task_pid]);
        let state = state(&mut client, name, "").unwrap();
        assert_eq!((state.status(), state.exit_status), (Status::Stopped, status));
        assert_eq!(wait(&mut client, name, "").unwrap().exit_status, status);
    }
    for (name, status) in ids.iter().zip(1..) {
        assert_eq!(delete(&mut client, name, "").unwrap().exit_status, status);
        refused(pids(&mut client, name), 5, "not created");
    }
    world.containerd.is_off(false);
    world.containerd.events(3 * 12 + 11);
}

#[test]
fn an_exit_while_the_runtime_lists() {
    let world = World::new("restart-list");
    let mut client = world.running("i", "exec sleep 1000");
    let pid = state(&mut client, "i", "").unwrap().pid;
    let held = world.dir.join("i/wait-ps");
    fs::write(&held, "").unwrap();
    let listing = client.send(V2, "Pids", &id("i"));
    until(|| world.calls("i").contains("ps"));
    signal(&mut client, "i", "", 9).unwrap();
    wait(&mut client, "i", "").unwrap();
    fs::write(world.dir.join("i/fail-ps"), "container not running").unwrap();
    fs::remove_file(held).unwrap();
    let response: PidsResponse = client.answer(listing).unwrap();
    assert_eq!(response.processes[0].pid, pid);
}

/// A container that has no process yet gets one, or is gone.
#[test]
fn in_the_middle_of_a_create() {
    let world = World::new("restart-create");
    world.bundle("i", "exec sleep 1000");
    let (wait_create, fail_create) = (world.dir.join("i/wait-create"), world.dir.join("i/fail-create"));
    let path = world.start("i");
    let begin = || {
        let _ = fs::write(&wait_create, "");
        let mut client = Client::new(&path);
        let request = CreateTaskRequest {
            id: "i".into(),
            bundle: world.dir.join("i").display().to_string(),
            options: Some(world.options()),
            ..CreateTaskRequest::default()
        };
        client.send(V2, "Create", &request);
        state(&mut client, "i", "").unwrap(); // the Create has been taken up
        drop(client);
        let mut client = Client::new(&path);
        let listing = client.send(V2, "Pids", &id("i"));
        state(&mut client, "i", "").unwrap();
        fs::remove_file(&wait_create).unwrap();
        (client.answer::<PidsResponse>(listing), client)
    };
    fs::write(&fail_create, "not today").unwrap();
    refused(begin().0, 5, "could not be created");
    fs::remove_file(&fail_create).unwrap();
    let (listed, mut client) = begin();
    assert_eq!(listed.unwrap().processes.len(), 1);
    start(&mut client, "i", "").unwrap();
}

/// Whoever asks again gets the answer, too.
#[test]
fn in_the_middle_of_a_delete() {
    let world = World::new("restart-delete");
    let mut client = world.running("i", "exit 3");
    let pid = state(&mut client, "i", "").unwrap().pid;
    wait(&mut client, "i", "").unwrap();
    let held = world.dir.join("i/wait-delete");
    fs::write(&held, "").unwrap();
    let request = DeleteRequest { id: "i".into(), ..DeleteRequest::default() };
    client.send(V2, "Delete", &request);
    until(|| world.calls("i").contains("delete"));
    drop(client);
    let mut client = Client::new(&socket(&world));
    assert_eq!(pids(&mut client, "i").unwrap(), [pid]);
    let deleting = client.send(V2, "Delete", &request);
    state(&mut client, "i", "").unwrap(); // it has been taken up
    fs::remove_file(held).unwrap();
    assert_eq!(client.answer::<DeleteResponse>(deleting).unwrap().exit_status, 3);
    assert_eq!(world.calls("i"), "create\nstart\ndelete\n", "once");
}
