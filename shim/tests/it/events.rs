//! The order of events, and that none is lost.

use std::fs;

use containerd_shim_rrunc::proto::events::{TaskCreate, TaskExit};
use containerd_shim_rrunc::proto::task::{StartRequest, StartResponse, Status};
use prost::Message;

use crate::client::V2;
use crate::life::{delete, exec, signal, wait};
use crate::world::{World, done, start};

#[test]
fn of_a_life_with_an_exec() {
    let world = World::new("events");
    let mut client = world.running("i", "exec sleep 1000");
    done(exec(&mut client, "i", "e", "exit 4"));
    start(&mut client, "i", "e").unwrap();
    wait(&mut client, "i", "e").unwrap();
    delete(&mut client, "i", "e").unwrap();
    done(signal(&mut client, "i", "", 9));
    wait(&mut client, "i", "").unwrap();
    delete(&mut client, "i", "").unwrap();
    world.containerd.expect(&[
        "/tasks/create",
        "/tasks/start",
        "/tasks/exec-added",
        "/tasks/exec-started",
        "/tasks/exit",
        "/tasks/exit",
        "/tasks/delete",
    ]);
    let events = world.containerd.events(7);
    assert!(events.iter().all(|event| event.namespace == "namespace" && event.timestamp.is_some()));
    let any = |i: usize| events[i].event.clone().unwrap();
    assert_eq!(any(0).type_url, "containerd.events.TaskCreate");
    let created = TaskCreate::decode(any(0).value.as_slice()).unwrap();
    assert_eq!((created.container_id.as_str(), created.io.is_some()), ("i", true));
    let exit = |i| TaskExit::decode(any(i).value.as_slice()).unwrap();
    assert_eq!((exit(4).id.as_str(), exit(4).exit_status), ("e", 4));
    assert_eq!((exit(5).id.as_str(), exit(5).exit_status), ("i", 137));
    assert_eq!(exit(5).pid, created.pid);
}

/// It has ended before the runtime says that it has started it.
#[test]
fn a_start_is_told_before_an_exit() {
    let world = World::new("early-exit");
    let mut client = world.created("i", "exit 7");
    // A runtime that is slow to say so: the start itself goes through the fifo.
    let bundle = world.dir.join("i");
    fs::write(bundle.join("wait-start"), "").unwrap();
    let starting = client.send(V2, "Start", &StartRequest { id: "i".into(), exec_id: String::new() });
    fs::write(world.dir.join("root/namespace/i/start"), "go\n").unwrap();
    let pid: u32 = fs::read_to_string(bundle.join("init.pid")).unwrap().trim().parse().unwrap();
    crate::world::until(|| crate::world::has_ended(pid));
    // There is no reader any more: let the runtime write into a file.
    let fifo = world.dir.join("root/namespace/i/start");
    fs::remove_file(&fifo).unwrap();
    fs::remove_file(bundle.join("wait-start")).unwrap();
    let started: StartResponse = client.answer(starting).unwrap();
    assert_eq!(started.pid, pid);
    assert_eq!(wait(&mut client, "i", "").unwrap().exit_status, 7);
    world.containerd.expect(&["/tasks/create", "/tasks/start", "/tasks/exit"]);
}

#[test]
fn an_exec_that_outlives_the_init() {
    let world = World::new("outlives");
    let mut client = world.running("i", "exec sleep 1000");
    done(exec(&mut client, "i", "e", "exec sleep 1000"));
    start(&mut client, "i", "e").unwrap();
    done(signal(&mut client, "i", "", 9));
    // In a container the kernel kills it; here we do, when the init has long ended.
    let pid = crate::life::state(&mut client, "i", "").unwrap().pid;
    crate::world::until(|| {
        let signalled = signal(&mut client, "i", "", 0);
        crate::world::has_ended(pid) && signalled.is_err()
    });
    let running = crate::life::state(&mut client, "i", "").unwrap();
    assert_eq!((running.status(), running.exit_status), (Status::Running, 0));
    for refused in [exec(&mut client, "i", "f", "exit 0"), client.call("Pause", &crate::life::id("i"))] {
        crate::life::refused(refused, 9, "has stopped");
    }
    done(signal(&mut client, "i", "e", 9));
    wait(&mut client, "i", "").unwrap();
    let events = world.containerd.events(6);
    let exit = |i: usize| TaskExit::decode(events[i].event.clone().unwrap().value.as_slice()).unwrap();
    assert_eq!((exit(4).id.as_str(), exit(5).id.as_str()), ("e", "i"));
}

#[test]
fn none_is_lost_while_containerd_is_away() {
    let world = World::new("away");
    let mut client = world.created("i", "exit 3");
    world.containerd.expect(&["/tasks/create"]);
    world.containerd.is_off(true);
    start(&mut client, "i", "").unwrap();
    wait(&mut client, "i", "").unwrap();
    delete(&mut client, "i", "").unwrap();
    world.containerd.is_off(false);
    world.containerd.expect(&["/tasks/create", "/tasks/start", "/tasks/exit", "/tasks/delete"]);
}

#[test]
fn a_thousand_that_end_at_once() {
    let world = World::new("thousand");
    let mut client = world.running("i", "exec sleep 1000");
    let fds = |pid: u32| fs::read_dir(format!("/proc/{pid}/fd")).unwrap().count();
    let shim = std::process::Command::new("true").status().map(|_| {
        let request = crate::life::id("i");
        let connect: containerd_shim_rrunc::proto::task::ConnectResponse =
            client.call("Connect", &request).unwrap();
        connect.shim_pid
    });
    let shim = shim.unwrap();
    let before = fds(shim);
    let count = if std::env::var_os("LONG").is_some() { 1000 } else { 50 };
    for n in 0..count {
        let e = format!("e{n}");
        done(exec(&mut client, "i", &e, &format!("exit {}", n % 100)));
        start(&mut client, "i", &e).unwrap();
        assert_eq!(wait(&mut client, "i", &e).unwrap().exit_status, n % 100);
        delete(&mut client, "i", &e).unwrap();
    }
    assert_eq!(fds(shim), before);
    let children = fs::read_to_string(format!("/proc/{shim}/task/{shim}/children"));
    if let Ok(children) = children {
        assert_eq!(children.split_whitespace().count(), 1, "only the init: {children}");
    }
    let events = world.containerd.events(2 + 3 * count as usize);
    for three in crate::containerd::topics(&events)[2..].chunks(3) {
        assert_eq!(three, ["/tasks/exec-added", "/tasks/exec-started", "/tasks/exit"]);
    }
}
