//! What is mounted for a container, and unmounted after it.

use std::fs;
use std::path::Path;

use containerd_shim_rrunc::proto::task::{CreateTaskRequest, Mount};

use crate::client::Client;
use crate::life::{delete, refused, wait};
use crate::world::{World, start};

fn tmpfs(target: &str) -> Mount {
    Mount {
        r#type: "tmpfs".into(),
        source: "none".into(),
        target: target.into(),
        options: vec![],
    }
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
    for (targets, expected) in [
        (["", ""], ["/rootfs", "/rootfs"]),
        (["/below", "below"], ["/rootfs/below", "/rootfs/below"]),
    ] {
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
