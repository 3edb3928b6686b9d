//! config.md#mounts: id-mapped mounts, by the container's user namespace and by maps of their own.

use std::fs;
use std::os::unix::fs::{MetadataExt, chown};
use std::path::PathBuf;

use nix::mount::{MsFlags, mount};
use serde_json::{Value, json};
use spec_tests::*;

const SECTION: &str = "config.md#mounts";

/// A directory of the host's root, with a file.
fn host_directory(lab: &Lab) -> PathBuf {
    let dir = lab.dir().join("tree");
    fs::create_dir_all(dir.join("sub")).unwrap();
    fs::write(dir.join("file"), "").unwrap();
    chown(dir.join("file"), Some(3), Some(4)).unwrap();
    dir
}

/// The same with a tmpfs in it that has another file.
fn host_tree(lab: &Lab) -> PathBuf {
    let dir = host_directory(lab);
    let bind = MsFlags::MS_BIND;
    mount(Some(&dir), &dir, None::<&str>, bind, None::<&str>).unwrap();
    mount(Some("sub"), &dir.join("sub"), Some("tmpfs"), MsFlags::empty(), None::<&str>).unwrap();
    fs::write(dir.join("sub/deep"), "").unwrap();
    dir
}

fn mapped<'a>(b: Bundle<'a>, from: &str, options: &[&str], maps: Option<(u32, u32, u32)>) -> Bundle<'a> {
    let mut mount = json!({ "destination": "/new", "type": "bind", "source": from, "options": options });
    if let Some((inside, outside, size)) = maps {
        let map = json!([{ "containerID": inside, "hostID": outside, "size": size }]);
        mount["uidMappings"] = map.clone();
        mount["gidMappings"] = map;
    }
    b.set("/mounts/-", mount)
}

/// uid and gid of a file, as seen in the container.
fn owners(b: Bundle, files: &[&str]) -> Vec<Value> {
    let asks: Vec<String> = files.iter().map(|file| format!("stat {file}")).collect();
    let seen = b.ask(asks.iter().map(String::as_str));
    asks.iter().map(|ask| json!([seen[ask.as_str()]["uid"], seen[ask.as_str()]["gid"]])).collect()
}

fn unmount(dir: &std::path::Path) {
    nix::mount::umount2(dir, nix::mount::MntFlags::MNT_DETACH).unwrap();
}

#[test]
fn ids_are_those_of_the_user_namespace() {
    obeys(SECTION, |lab| {
        let tree = host_directory(lab);
        let from = tree.to_str().unwrap();
        let file = ["/new/file"];
        let bundle = || lab.bundle().user_namespace(300_000);
        assert_eq!(owners(mapped(bundle(), from, &["bind"], None), &file), [json!([65534, 65534])]);
        assert_eq!(owners(mapped(bundle(), from, &["bind", "idmap"], None), &file), [json!([3, 4])]);
        let same = Some((0, 300_000, 65_536));
        assert_eq!(owners(mapped(bundle(), from, &["bind", "idmap"], same), &file), [json!([3, 4])]);
    });
}

#[test]
fn what_the_containers_root_makes_is_roots() {
    obeys(SECTION, |lab| {
        let tree = host_directory(lab);
        let b =
            mapped(lab.bundle().user_namespace(300_000), tree.to_str().unwrap(), &["bind", "idmap"], None);
        let ask = "create /new/made";
        assert_eq!(b.ask([ask])[ask], "ok");
        assert_eq!(fs::metadata(tree.join("made")).unwrap().uid(), 0);
    });
}

#[test]
fn a_mount_has_maps_of_its_own() {
    obeys(SECTION, |lab| {
        let tree = host_directory(lab);
        let from = tree.to_str().unwrap();
        let file = ["/new/file"];
        let maps = Some((0, 300_100, 100));
        let b = lab.bundle().user_namespace(300_000);
        assert_eq!(owners(mapped(b, from, &["bind", "idmap"], maps), &file), [json!([103, 104])]);
    });
}

#[test]
fn maps_of_its_own_need_no_user_namespace() {
    obeys(SECTION, |lab| {
        let tree = host_directory(lab);
        let from = tree.to_str().unwrap();
        let maps = Some((0, 1000, 100));
        let b = mapped(lab.bundle(), from, &["bind", "ro", "idmap"], maps);
        assert_eq!(owners(b, &["/new/file"]), [json!([1003, 1004])]);
    });
}

#[test]
fn ridmap_is_for_all_below() {
    obeys(SECTION, |lab| {
        let tree = host_tree(lab);
        let from = tree.to_str().unwrap();
        let files = ["/new/file", "/new/sub/deep"];
        let maps = Some((0, 1000, 100));
        let seen = |option: &str| owners(mapped(lab.bundle(), from, &["rbind", option], maps), &files);
        assert_eq!(seen("idmap"), [json!([1003, 1004]), json!([0, 0])]);
        assert_eq!(seen("ridmap"), [json!([1003, 1004]), json!([1000, 1000])]);
        unmount(&tree);
    });
}

#[test]
fn two_mounts_have_different_maps() {
    obeys(SECTION, |lab| {
        let tree = host_directory(lab);
        let from = tree.to_str().unwrap();
        let options = |start: u32| format!("idmap=uids=0-{start}-10;gids=0-{start}-5#5-50-5");
        let b = lab.bundle();
        let b = b.mount("/a", "bind", from, &["bind", &options(20)]);
        let b = b.mount("/b", "bind", from, &["bind", &options(30)]);
        assert_eq!(owners(b, &["/a/file", "/b/file"]), [json!([23, 24]), json!([33, 34])]);
    });
}

#[test]
fn maps_are_relative_to_the_user_namespace() {
    obeys(SECTION, |lab| {
        let tree = host_directory(lab);
        let from = tree.to_str().unwrap();
        let b = lab.bundle().user_namespace(300_000);
        let b = b.mount("/new", "bind", from, &["bind", "idmap=uids=@0-500-10;gids=@0-600-10"]);
        assert_eq!(owners(b, &["/new/file"]), [json!([503, 604])]);
    });
}

#[test]
fn a_joined_user_namespace_maps_too() {
    obeys(SECTION, |lab| {
        let tree = host_directory(lab);
        let first = lab.bundle().user_namespace(300_000).phrases(["sleep"]).start();
        let path = format!("/proc/{}/ns/user", first.pid());
        let b = lab.bundle().user_namespace(300_000).namespace("user", Some(&path));
        let b = mapped(b, tree.to_str().unwrap(), &["bind", "idmap"], None);
        assert_eq!(owners(b, &["/new/file"]), [json!([3, 4])]);
    });
}

#[test]
fn what_cannot_be_mapped_is_refused() {
    obeys(SECTION, |lab| {
        let maps = Some((0, 1000, 100));
        let check = |b: Bundle, text: &[&str]| {
            b.container().create(&[]).fails_saying(text);
        };
        // A procfs has no files of anybody's.
        check(mapped(lab.bundle(), "/proc/self", &["bind", "idmap"], maps), &["/proc/self", "/new"]);
        check(mapped(lab.bundle(), "/tmp", &["bind", "idmap"], None), &["apping", "mount_setattr"]);
        let tmpfs =
            json!({ "destination": "/new", "type": "tmpfs", "source": "tmpfs", "options": ["idmap"] });
        check(lab.bundle().user_namespace(300_000).set("/mounts/-", tmpfs), &["bind"]);
    });
}
