//! Containers that are saved, and restored.

use std::fs;
use std::path::Path;

use containerd_shim_rrunc::proto::options::CheckpointOptions;
use containerd_shim_rrunc::proto::task::*;
use containerd_shim_rrunc::proto::{Any, Empty};

use crate::client::{Client, Refused};
use crate::life::{delete, id, refused, signal, state, wait};
use crate::world::{World, done, start};

const UNKNOWN: i32 = 2;
const INVALID: i32 = 3;
const PRECONDITION: i32 = 9;

fn checkpoint(
    client: &mut Client,
    container: &str,
    path: &Path,
    options: &CheckpointOptions,
) -> Result<Empty, Refused> {
    let request = CheckpointTaskRequest {
        id: container.into(),
        path: path.display().to_string(),
        options: Some(Any::new("containerd.runc.v1.CheckpointOptions", options)),
    };
    client.call("Checkpoint", &request)
}

/// What the runtime was called with, from the command on.
fn given(world: &World, container: &str) -> String {
    let given = fs::read_to_string(world.dir.join(container).join("given")).unwrap();
    let (_, command) = given.trim().split_once("--log-format json ").unwrap();
    command.replace(world.dir.to_str().unwrap(), "")
}

fn files(world: &World, container: &str) -> Vec<String> {
    let names = fs::read_dir(world.dir.join(container)).unwrap();
    let names = names.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    names.filter(|name| name.starts_with("criu")).collect()
}

#[test]
fn one_that_goes_on() {
    let world = World::new("checkpoint");
    let images = world.dir.join("images");
    let mut client = world.created("i", "exec sleep 1000");
    let options = CheckpointOptions::default();
    refused(checkpoint(&mut client, "i", &images, &options), PRECONDITION, "has not been started");
    start(&mut client, "i", "").unwrap();
    refused(checkpoint(&mut client, "i", Path::new(""), &options), INVALID, "no path");
    // As clients do it, who want its files too.
    done(client.call("Pause", &id("i")));
    done(checkpoint(&mut client, "i", &images, &options));
    done(client.call("Resume", &id("i")));
    let words = given(&world, "i");
    assert!(
        words.starts_with("checkpoint --leave-running --image-path /images --work-path /i/criu-")
            && words.ends_with(" i"),
        "{words}"
    );
    assert_eq!(state(&mut client, "i", "").unwrap().status(), Status::Running);
    assert_eq!(files(&world, "i"), [""; 0]);
    world.containerd.expect(&[
        "/tasks/create",
        "/tasks/start",
        "/tasks/paused",
        "/tasks/checkpointed",
        "/tasks/resumed",
    ]);
}

#[test]
fn one_that_ends_and_comes_back() {
    let world = World::new("restore");
    let images = world.dir.join("images");
    let mut client = world.running("i", "exec sleep 1000");
    let options = CheckpointOptions {
        exit: true,
        work_path: world.dir.join("i").display().to_string(),
        ..CheckpointOptions::default()
    };
    done(checkpoint(&mut client, "i", &images, &options));
    assert_eq!(given(&world, "i"), "checkpoint --image-path /images --work-path /i i");
    assert_eq!(wait(&mut client, "i", "").unwrap().exit_status, 137);
    delete(&mut client, "i", "").unwrap();

    world.bundle("j", "echo restored; exit 4");
    let output = world.dir.join("output");
    let mut client = Client::new(&world.start("j"));
    let created = world.create(&mut client, "j", |request| {
        request.checkpoint = images.display().to_string();
        request.stdout = format!("file://{}", output.display());
    });
    assert_eq!(created.unwrap().pid, 0);
    assert_eq!(world.calls("j"), "", "nothing is made yet");
    assert_eq!(state(&mut client, "j", "").unwrap().status(), Status::Created);
    refused(signal(&mut client, "j", "", 9), PRECONDITION, "has not been started");
    let started = start(&mut client, "j", "").unwrap();
    assert_ne!(started.pid, 0);
    let words = given(&world, "j");
    assert!(
        words.starts_with("restore --detach --no-subreaper --image-path /images --work-path /j/criu-")
            && words.ends_with(" --bundle /j --pid-file /j/init.pid j"),
        "{words}"
    );
    assert_eq!(wait(&mut client, "j", "").unwrap().exit_status, 4);
    assert_eq!(delete(&mut client, "j", "").unwrap().pid, started.pid);
    assert_eq!(fs::read_to_string(output).unwrap(), "restored\n");
}

#[test]
fn one_that_is_never_started() {
    let world = World::new("stored");
    world.bundle("i", "");
    let mut client = Client::new(&world.start("i"));
    world.create(&mut client, "i", |request| request.checkpoint = "/images".into()).unwrap();
    delete(&mut client, "i", "").unwrap();
    world.containerd.expect(&["/tasks/create", "/tasks/delete"]);
}

#[test]
fn what_criu_says_is_kept() {
    let world = World::new("checkpoint-fails");
    let mut client = world.running("i", "exec sleep 1000");
    let images = world.dir.join("images");
    fs::write(world.dir.join("i/fail-checkpoint"), "the file does not exist").unwrap();
    let failed = checkpoint(&mut client, "i", &images, &CheckpointOptions::default());
    let kept = world.dir.join("i/criu-dump.log");
    refused(
        failed,
        UNKNOWN,
        &format!("OCI runtime checkpoint failed: the file does not exist (criu's log: {})", kept.display()),
    );
    assert_eq!(fs::read_to_string(&kept).unwrap(), "criu failed\n");
    assert_eq!(files(&world, "i"), ["criu-dump.log"]);
    assert_eq!(state(&mut client, "i", "").unwrap().status(), Status::Running);

    world.bundle("j", "");
    fs::write(world.dir.join("j/fail-restore"), "nothing there").unwrap();
    let mut client = Client::new(&world.start("j"));
    world.create(&mut client, "j", |request| request.checkpoint = "/images".into()).unwrap();
    let waiting =
        client.send(crate::client::V3, "Wait", &WaitRequest { id: "j".into(), exec_id: String::new() });
    refused(start(&mut client, "j", ""), UNKNOWN, "OCI runtime restore failed: nothing there (criu's log: ");
    assert_eq!(files(&world, "j"), ["criu-restore.log"]);
    client.answer::<WaitResponse>(waiting).unwrap();
    refused(start(&mut client, "j", ""), PRECONDITION, "has stopped");
    delete(&mut client, "j", "").unwrap();
    let of_j = ["/tasks/create", "/tasks/delete"];
    let of_i = ["/tasks/create", "/tasks/start"];
    world.containerd.expect(&[of_i, of_j].concat());
}
