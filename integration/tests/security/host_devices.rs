//! Device nodes of the host, which a container may be given but not change: their mode, owner and times stay what they
//! are, whatever its capabilities. Each lab has a /dev of its own, so that the machine's is never at stake.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{FileTypeExt, MetadataExt};

use integration::unharmed;
use serde_json::{Value, json};
use spec_tests::{ALL_CAPS, Bundle, Container, Lab, eventually};

/// Does to each of the files whatever could change one of the host's.
const ATTACK: &str = "for file; do
    busybox mount -o remount,bind,rw $file
    busybox chmod 000 $file; busybox chown 7:7 $file; busybox touch -d '2001-01-01 00:00' $file
done 2>/dev/null; for file; do test -e $file || echo $file is missing; done; echo over";

/// By name: all that a container could change of them.
fn nodes() -> BTreeMap<String, String> {
    let mut found = BTreeMap::new();
    for entry in fs::read_dir("/dev").expect("/dev").flatten() {
        let stat = entry.metadata().expect("a node");
        if stat.file_type().is_char_device() {
            let times = (stat.mtime(), stat.mtime_nsec(), stat.ctime(), stat.ctime_nsec());
            let text = format!("{:o} {}:{} {times:?}", stat.mode(), stat.uid(), stat.gid());
            found.insert(entry.file_name().to_string_lossy().into_owned(), text);
        }
    }
    assert!(found.contains_key("null"));
    found
}

fn attack<'a>(bundle: Bundle<'a>, files: &[&str]) -> Bundle<'a> {
    bundle.args(["sh", "-c", ATTACK, "sh"].iter().chain(files).copied())
}

const DEVICES: [&str; 6] = ["/dev/null", "/dev/zero", "/dev/full", "/dev/random", "/dev/urandom", "/dev/tty"];

/// With the rights that a container may have in its user namespace, or without one all but those over mounts, with which
/// it could as well mount the host's /dev.
fn with_rights(bundle: Bundle) -> Bundle {
    let user = bundle.config["linux"]["namespaces"].to_string().contains("user");
    let caps: Vec<&str> = ALL_CAPS.into_iter().filter(|cap| user || *cap != "CAP_SYS_ADMIN").collect();
    bundle.caps(&caps)
}

#[track_caller]
fn changes_nothing(bundle: Bundle, files: &[&str]) {
    let before = nodes();
    let ran = attack(with_rights(bundle), files).run().ok();
    assert_eq!(ran.stdout().trim(), "over");
    assert_eq!(nodes(), before);
}

/// Whom the root of the container's user namespace is on the host; 0 is the host's root itself.
const ROOTS: [u32; 2] = [100_000, 0];

/// crun 1.8.1 and runc 1.1.5 cover files with the host's own /dev/null, in a mount that is writable.
#[test]
fn what_covers_a_masked_file_is_not_the_hosts() {
    unharmed("a masked file is chmodded", |lab| {
        let files = ["/proc/keys", "/proc/version", "/masked"];
        let masked = || lab.bundle().file("/masked", "secret").set("/linux/maskedPaths", json!(files));
        changes_nothing(masked(), &files);
        for root in ROOTS {
            changes_nothing(masked().user_namespace(root), &files);
        }
        // It still is a null device, and read-only.
        let seen = masked().ask(["stat /masked", "read /masked", "mounts"]);
        assert_eq!((&seen["stat /masked"]["major"], &seen["stat /masked"]["minor"]), (&json!(1), &json!(3)));
        assert_eq!(seen["read /masked"], "");
        for path in files {
            let mount = seen.mount(path).expect("a mask");
            assert!(["ro", "nosuid", "noexec"].iter().all(|option| mount.has(option)), "{path}");
        }
    });
}

/// In a user namespace runc 1.1.5 and crun 1.8.1 bind the host's nodes, which a root that is mapped to the host's may chmod.
#[test]
fn devices_in_a_user_namespace_are_not_the_hosts() {
    unharmed("a bound device is chmodded", |lab| {
        for root in ROOTS {
            changes_nothing(lab.bundle().user_namespace(root), &DEVICES);
            let dev = lab.bundle().mount("/dev", "tmpfs", "tmpfs", &["nosuid", "mode=755"]);
            changes_nothing(dev.user_namespace(root), &DEVICES);
        }
    });
}

/// As config.json wants them, which needn't be as the host has them.
#[test]
fn devices_in_a_user_namespace_have_the_mode_and_owner_that_were_asked_for() {
    unharmed("devices in a user namespace", |lab| {
        let devices = json!([
            { "path": "/dev/one/", "type": "c", "major": 1, "minor": 3, "fileMode": 0o640, "uid": 7, "gid": 8 },
            { "path": "/dev/two", "type": "c", "major": 1, "minor": 5, "uid": 4_000_000_000u32 },
        ]);
        for root in ROOTS {
            let asked = lab.bundle().user_namespace(root).set("/linux/devices", devices.clone());
            let seen = asked.ask(["stat /dev/one", "stat /dev/two", "stat /dev/null", "open /dev/null rw"]);
            let shown = |ask: &str| {
                let s = &seen[ask];
                json!([s["type"], s["major"], s["minor"], s["mode"], s["uid"], s["gid"]])
            };
            assert_eq!(shown("stat /dev/one"), json!(["c", 1, 3, "0640", 7, 8]));
            assert_eq!(shown("stat /dev/null"), json!(["c", 1, 3, "0666", 0, 0]));
            assert_eq!(
                shown("stat /dev/two").as_array().expect("a list")[..4],
                json!(["c", 1, 5, "0666"]).as_array().expect("a list")[..]
            );
            assert_eq!(seen["open /dev/null rw"], "ok");
        }
    });
}

/// A bind of a device is what its user wants, and its use; not that its mode becomes another on the host.
#[test]
fn a_device_that_is_bound_can_be_used_and_not_changed() {
    unharmed("a bound device is chmodded", |lab| {
        let bind = || lab.bundle().mount("/null", "bind", "/dev/null", &["rbind", "rw"]);
        changes_nothing(bind(), &["/null"]);
        let seen = bind().ask(["open /null rw", "stat /null"]);
        assert_eq!((&seen["open /null rw"], &seen["stat /null"]["type"]), (&json!("ok"), &json!("c")));
    });
}

/// The same for a container that runs, by `mounts add`, which crun has too.
#[test]
fn a_device_that_is_added_can_be_used_and_not_changed() {
    unharmed("an added device is chmodded", |lab| {
        for root in [None, Some(100_000)] {
            let bundle = root.map_or(lab.bundle(), |root| lab.bundle().user_namespace(root));
            let script =
                format!("while ! test -c /null; do sleep 0.01; done; set -- /null; {ATTACK}; sleep 100");
            let container = with_rights(bundle).args(["sh", "-c", &script]).container();
            let before = nodes();
            let out = lab.dir().join(lab.fresh("out"));
            container.command("create", &[]).redirect(&format!(">{}", out.display())).run().ok();
            container.start().ok();
            add(
                lab,
                &container,
                &json!([
                    { "destination": "/null", "type": "bind", "source": "/dev/null", "options": ["bind"] }
                ]),
            );
            let text = || fs::read_to_string(&out).ok().filter(|text| text.contains("over"));
            assert_eq!(eventually("the attack", text).trim(), "over");
            assert_eq!(nodes(), before);
        }
    });
}

fn add(lab: &Lab, container: &Container, list: &Value) {
    let file = lab.dir().join(lab.fresh("list"));
    fs::write(&file, list.to_string()).expect("a file");
    lab.run(["mounts", "add", &container.id, &file.to_string_lossy()]).ok();
}

/// For a runtime that is itself in a user namespace, the host is what it sees: no node can be made, and whoever is mapped
/// to the owner of one is kept off by the mount being read-only.
#[test]
fn nested_in_a_user_namespace_nothing_of_the_host_is_changed() {
    unharmed("a device of a nested runtime is chmodded", |lab| {
        let bundle = || {
            let bundle = lab.bundle().without_namespace("cgroup").without_namespace("network");
            bundle.file("/masked", "secret").set("/linux/maskedPaths", json!(["/masked"]))
        };
        let files: Vec<&str> = DEVICES.into_iter().chain(["/masked"]).collect();
        let before = nodes();
        let container = attack(with_rights(bundle()), &files).container();
        let ran = container
            .command("run", &[])
            .through("unshare -Urmpf --mount-proc --propagation slave")
            .run()
            .ok();
        assert_eq!(ran.stdout().trim(), "over");
        assert_eq!(nodes(), before);
    });
}
