//! A shim that has no fds left, or little time, harms nobody, and leaves nothing.

use std::fs;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::Command;
use std::time::Instant;

use containerd_shim_rrunc::proto::Empty;
use containerd_shim_rrunc::proto::task::*;
use prost::Message;

use crate::client::{Client, V2};
use crate::life::{delete, exec_request, id, refused, signal, state, wait};
use crate::world::{World, done, has_ended, start, until};

fn shim(client: &mut Client) -> u32 {
    client.call::<ConnectResponse>("Connect", &id("i")).unwrap().shim_pid
}

fn socket(world: &World) -> PathBuf {
    let address = fs::read_to_string(world.dir.join("i/address")).unwrap();
    address.strip_prefix("unix://").unwrap().into()
}

/// How many fds a process may have, for as long as it says so.
fn limit_fds(pid: u32, limit: usize) {
    let mut command = Command::new("prlimit");
    command.args([format!("--pid={pid}"), format!("--nofile={limit}:")]);
    assert!(command.status().unwrap().success());
}

fn fds(pid: u32) -> usize {
    fs::read_dir(format!("/proc/{pid}/fd")).unwrap().count()
}

/// What the next one would be.
fn free_fd(pid: u32) -> usize {
    let is_free = |fd: &usize| fs::symlink_metadata(format!("/proc/{pid}/fd/{fd}")).is_err();
    (0..).find(is_free).unwrap()
}

fn children(pid: u32) -> Vec<u32> {
    let mut command = Command::new("ps");
    let output = command.args(["--ppid", &pid.to_string(), "-o", "pid="]).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    text.split_whitespace().map(|pid| pid.parse().unwrap()).collect()
}

fn is_asleep(pid: u32) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    stat.rsplit(") ").next().unwrap().starts_with('S')
}

/// At whichever fd it fails: no file is left, and no process.
#[test]
fn an_exec_without_fds() {
    let world = World::new("exec-fds");
    let mut client = world.running("i", "exec sleep 1000");
    world.containerd.events(2);
    let shim = shim(&mut client);
    let (before, mut failed, mut ran) = (fds(shim), 0, 0);
    let stdout = world.fifo("out");
    for limit in (free_fd(shim)..).take(24) {
        let name = format!("e{limit}");
        let mut request = exec_request("i", &name, "exec sleep 1000");
        request.stdout = stdout.display().to_string();
        done(client.call("Exec", &request));
        limit_fds(shim, limit);
        let started = start(&mut client, "i", &name);
        limit_fds(shim, 1024);
        match started {
            Ok(_) => {
                ran += 1;
                done(signal(&mut client, "i", &name, 9));
            }
            Err((_, why)) => {
                assert_ne!(why, "");
                failed += 1;
            }
        }
        wait(&mut client, "i", &name).unwrap();
        delete(&mut client, "i", &name).unwrap();
        until(|| children(shim).len() == 1);
        for entry in fs::read_dir(world.dir.join("i")).unwrap() {
            let left = entry.unwrap().file_name().into_string().unwrap();
            assert!(!left.starts_with("exec-") && !left.starts_with("log-"), "{limit}: {left}");
        }
        assert_eq!(fds(shim), before, "{limit}");
    }
    assert!(failed > 4 && ran > 4, "{failed} failed, {ran} ran");
}

/// Who can't be let in waits, and doesn't keep the shim awake.
#[test]
fn a_client_without_an_fd() {
    let world = World::new("client-fds");
    let mut client = world.running("i", "exec sleep 1000");
    world.containerd.events(2);
    let shim = shim(&mut client);
    limit_fds(shim, free_fd(shim));
    let mut other = Client::new(&socket(&world));
    let asked = other.send(V2, "Connect", &id("i"));
    state(&mut client, "i", "").unwrap(); // it has heard of both
    until(|| is_asleep(shim));
    limit_fds(shim, 1024);
    assert_eq!(other.answer::<ConnectResponse>(asked).unwrap().shim_pid, shim);
}

/// While it waits for containerd to take the last events, it takes no new container.
#[test]
fn a_shim_that_is_ending() {
    let world = World::new("ending");
    let mut client = world.running("i", "exit 0");
    wait(&mut client, "i", "").unwrap();
    world.containerd.events(3);
    world.containerd.is_off(true);
    delete(&mut client, "i", "").unwrap();
    let (socket, alias) = (socket(&world), world.dir.join("alias"));
    fs::hard_link(&socket, &alias).unwrap();
    done(client.call("Shutdown", &ShutdownRequest::default()));
    refused(world.create(&mut client, "i", |_| {}), 9, "the shim is ending");
    assert!(!socket.exists());
    assert!(UnixStream::connect(alias).is_err(), "nobody is kept waiting");
}

/// A logger that doesn't end when it is asked to is killed, whatever the shim has still to do.
#[test]
fn a_shim_that_ends_before_its_logger() {
    let world = World::new("ending-logger");
    let pid = world.dir.join("pid");
    let text = format!(
        "#!/bin/sh\ntrap '' TERM\necho $$ >{}\nprintf x >&5\nexec 5>&-\nexec sleep 1000\n",
        pid.display()
    );
    let logger = world.script("logger", &text);
    world.bundle("i", "");
    fs::write(world.dir.join("i/fail-create"), "not today").unwrap();
    let mut client = Client::new(&world.start("i"));
    let created = world.create(&mut client, "i", |request| {
        request.stdout = format!("binary://{}", logger.display());
    });
    refused(created, 2, "not today");
    let begun = Instant::now();
    done(client.call::<Empty>("Shutdown", &ShutdownRequest::default()));
    assert_eq!(client.read(), b"", "the shim ends");
    let took = begun.elapsed();
    assert!((10..17).contains(&took.as_secs()), "{took:?}");
    let pid = fs::read_to_string(pid).unwrap().trim().parse().unwrap();
    until(|| has_ended(pid));
}

/// Whatever a container leaves is reaped, also if there always is something being made.
#[test]
fn orphans_while_containers_are_made() {
    let world = World::new("orphans");
    let go = world.dir.join("go");
    let program =
        format!("until [ -e {} ]; do sleep 0.01; done; (sh -c 'exit 0' &); exec sleep 1000", go.display());
    let mut client = world.running("i", &program);
    let shim = shim(&mut client);
    let create = |client: &mut Client, id: &str| {
        let bundle = world.bundle(id, "exec sleep 1000");
        fs::write(bundle.join("wait-create"), "").unwrap();
        let request = CreateTaskRequest {
            id: id.into(),
            bundle: bundle.display().to_string(),
            options: Some(world.options()),
            ..CreateTaskRequest::default()
        };
        let creating = client.send(V2, "Create", &request);
        state(client, id, "").unwrap();
        creating
    };
    let first = create(&mut client, "first");
    fs::write(go, "").unwrap();
    let zombies = || children(shim).into_iter().filter(|pid| has_ended(*pid)).count();
    until(|| zombies() == 1);
    let second = create(&mut client, "second");
    fs::remove_file(world.dir.join("first/wait-create")).unwrap();
    client.answer::<CreateTaskResponse>(first).unwrap();
    until(|| zombies() == 0);
    fs::remove_file(world.dir.join("second/wait-create")).unwrap();
    client.answer::<CreateTaskResponse>(second).unwrap();
}

/// containerd gives `delete` five seconds, which a runtime that waits must not take.
#[test]
fn a_delete_that_takes_too_long() {
    let world = World::new("delete-slow");
    let mut client = world.running("i", "exec sleep 1000");
    let task = state(&mut client, "i", "").unwrap().pid;
    crate::world::kill(shim(&mut client), "KILL");
    assert_eq!(client.read(), b"", "the connection ends");
    fs::write(world.dir.join("i/wait-delete"), "").unwrap();
    let begun = Instant::now();
    let output = world.run("i", &["delete"], b"");
    assert!(begun.elapsed().as_secs() < 5, "{:?}", begun.elapsed());
    let complaint = String::from_utf8(output.stderr).unwrap();
    assert!(complaint.contains("delete has not ended in 3 seconds"), "{complaint}");
    let response = DeleteResponse::decode(output.stdout.as_slice()).unwrap();
    assert_eq!((response.pid, response.exit_status), (task, 137));
}
