//! What is mounted for a container, and unmounted after it.

use std::fs;
use std::path::Path;
use std::process::Command;

use containerd_shim_rrunc::proto::task::{CreateTaskRequest, CreateTaskResponse, Mount, Status};

use crate::client::{Client, V2};
use crate::life::{delete, refused, state, wait};
use crate::world::{World, start, until};

fn tmpfs(target: &str) -> Mount {
    Mount { r#type: "tmpfs".into(), source: "none".into(), target: target.into(), options: vec![] }
}

/// Where something is mounted below.
fn mounted(path: &Path) -> Vec<String> {
    let mountinfo = fs::read_to_string("/proc/self/mountinfo").unwrap();
    let points = mountinfo.lines().filter_map(|line| line.split(' ').nth(4));
    let below = points.filter_map(|point| point.strip_prefix(path.to_str().unwrap()));
    below.map(str::to_string).collect()
}

#[test]
#[ignore = "needs root"]
fn a_root_lasts_as_long_as_its_container() {
    let world = World::new("root");
    let bundle = world.bundle("i", "exit 3");
    fs::create_dir_all(bundle.join("rootfs/below")).unwrap();
    let mut client = Client::new(&world.start("i"));
    for (targets, expected) in
        [(["", ""], ["/rootfs", "/rootfs"]), (["/below", "below"], ["/rootfs/below", "/rootfs/below"])]
    {
        let mounts = |request: &mut CreateTaskRequest| request.rootfs = targets.map(tmpfs).to_vec();
        let fail = |command: &str| fs::write(bundle.join(format!("fail-{command}")), "not today").unwrap();
        let succeed = |command: &str| fs::remove_file(bundle.join(format!("fail-{command}"))).unwrap();
        fail("create");
        refused(world.create(&mut client, "i", mounts), 2, "not today");
        assert_eq!(mounted(&bundle), [""; 0], "of a creation that failed");
        succeed("create");
        world.create(&mut client, "i", mounts).unwrap();
        assert_eq!(mounted(&bundle), expected);
        start(&mut client, "i", "").unwrap();
        wait(&mut client, "i", "").unwrap();
        fail("delete");
        refused(delete(&mut client, "i", ""), 2, "not today");
        assert_eq!(mounted(&bundle), expected, "it may be in use still");
        succeed("delete");
        delete(&mut client, "i", "").unwrap();
        assert_eq!(mounted(&bundle), [""; 0]);
    }
}

/// A runtime that doesn't know the container has nothing to remove; what we have mounted for it is to go.
#[test]
#[ignore = "needs root"]
fn a_root_whose_container_the_runtime_has_lost() {
    let world = World::new("root-lost");
    let bundle = world.bundle("i", "exit 3");
    let mut client = Client::new(&world.start("i"));
    let mount = |request: &mut CreateTaskRequest| request.rootfs = vec![tmpfs("")];
    world.create(&mut client, "i", mount).unwrap();
    start(&mut client, "i", "").unwrap();
    wait(&mut client, "i", "").unwrap();
    fs::remove_dir_all(world.dir.join("root")).unwrap();
    delete(&mut client, "i", "").unwrap();
    assert_eq!(mounted(&bundle), [""; 0]);
}

/// The shim's `delete` doesn't know what was mounted.
#[test]
#[ignore = "needs root"]
fn a_root_whose_shim_was_killed() {
    let world = World::new("root-killed");
    let bundle = world.bundle("i", "exec sleep 1000");
    fs::create_dir_all(bundle.join("rootfs/a b")).unwrap();
    let mut client = Client::new(&world.start("i"));
    let mount = |request: &mut CreateTaskRequest| request.rootfs = vec![tmpfs("a b")];
    world.create(&mut client, "i", mount).unwrap();
    let connect = client.call("Connect", &crate::life::id("i"));
    let connect: containerd_shim_rrunc::proto::task::ConnectResponse = connect.unwrap();
    crate::world::kill(connect.shim_pid, "KILL");
    assert_eq!(client.read(), b"", "the connection ends");
    assert_eq!(mounted(&bundle), [r"/rootfs/a\040b"]);
    assert_eq!(world.run("i", &["delete"], b"").stderr, b"");
    assert_eq!(mounted(&bundle), [""; 0]);
}

/// A mount that takes its time keeps nobody waiting but its own container.
#[test]
fn a_root_that_a_program_mounts() {
    let world = World::new("root-helper");
    let held = world.dir.join("held");
    fs::write(&held, "").unwrap();
    world.script(
        "mount.fuse3",
        "#!/bin/sh\necho \"$@\" >\"${0%/*}/given\"\nwhile [ -e \"${0%/*}/held\" ]; do sleep 0.01; done\n\
         [ \"$1\" != bad ] || { echo no such layer >&2; exit 3; }\n",
    );
    let bundle = world.bundle("i", "exit 3");
    let mut client = Client::new(&world.start("i"));
    let request = |kind: &str, source: &str| CreateTaskRequest {
        id: "i".into(),
        bundle: bundle.display().to_string(),
        options: Some(world.options()),
        rootfs: vec![Mount {
            r#type: kind.into(),
            source: source.into(),
            target: String::new(),
            options: vec!["lowerdir=/a:/b".into(), "ro".into()],
        }],
        ..CreateTaskRequest::default()
    };
    let creating = client.send(V2, "Create", &request("fuse3.layers", "good"));
    until(|| world.dir.join("given").exists());
    assert_eq!(state(&mut client, "i", "").unwrap().status(), Status::Unknown);
    assert_eq!(world.calls("i"), "");
    fs::remove_file(held).unwrap();
    client.answer::<CreateTaskResponse>(creating).unwrap();
    let given = fs::read_to_string(world.dir.join("given")).unwrap();
    let expected = format!("good {}/rootfs -o lowerdir=/a:/b -o ro -t layers\n", bundle.display());
    assert_eq!(given, expected);
    start(&mut client, "i", "").unwrap();
    wait(&mut client, "i", "").unwrap();
    delete(&mut client, "i", "").unwrap();
    for (kind, source, text) in [
        ("fuse3.layers", "bad", "mount.fuse3: exit status: 3: no such layer"),
        ("fuse.layers", "good", "execute mount.fuse, of FUSE: No such file"),
    ] {
        let created = client.call::<CreateTaskResponse>("Create", &request(kind, source));
        refused(created, 2, text);
    }
}

#[test]
#[ignore = "needs root"]
fn a_root_that_is_an_image() {
    let world = World::new("root-image");
    let bundle = world.bundle("i", "exit 3");
    let image = world.dir.join("image");
    fs::File::create(&image).unwrap().set_len(1 << 20).unwrap();
    let made = Command::new("/sbin/mke2fs").arg("-q").arg(&image).status();
    assert!(made.unwrap().success());
    let attached = || {
        let devices = fs::read_dir("/sys/block").unwrap().flatten();
        let mut files = devices.map(|device| fs::read_to_string(device.path().join("loop/backing_file")));
        files.any(|file| file.is_ok_and(|file| Path::new(file.trim_end()) == image))
    };
    let mut client = Client::new(&world.start("i"));
    let mount = |request: &mut CreateTaskRequest| {
        request.rootfs = vec![Mount {
            r#type: "ext2".into(),
            source: image.display().to_string(),
            target: String::new(),
            options: vec!["ro".into(), "loop".into()],
        }];
    };
    world.create(&mut client, "i", mount).unwrap();
    assert!(bundle.join("rootfs/lost+found").exists() && attached());
    start(&mut client, "i", "").unwrap();
    wait(&mut client, "i", "").unwrap();
    delete(&mut client, "i", "").unwrap();
    until(|| !attached());
}
