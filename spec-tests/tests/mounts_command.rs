//! The command `mounts`, which crun has too: into a container that runs, and out again.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use serde_json::{Value, json};
use spec_tests::*;

const SECTION: &str = "config.md#mounts";

/// A container that runs, and a directory of the host with a file.
fn running<'a>(lab: &'a Lab, b: Bundle<'a>) -> (Container<'a>, String) {
    let host = lab.dir().join("host");
    fs::create_dir_all(&host).unwrap();
    fs::write(host.join("file"), "of the host").unwrap();
    (b.phrases(["sleep"]).start(), host.to_str().unwrap().to_owned())
}

fn mounts(container: &Container, action: &str, list: &Value) -> Ran {
    let lab = container.bundle.lab();
    let file = lab.dir().join(lab.fresh("list"));
    fs::write(&file, list.to_string()).unwrap();
    lab.run(["mounts", action, &container.id, file.to_str().unwrap()])
}

/// The container's files, as the host gets at them.
fn inside(container: &Container, path: &str) -> std::path::PathBuf {
    Path::new(&format!("/proc/{}/root", container.pid())).join(path.trim_start_matches('/'))
}

/// Options of the mount at a path of the container, `None` if there is none.
fn options(container: &Container, path: &str) -> Option<String> {
    let text = fs::read_to_string(format!("/proc/{}/mountinfo", container.pid())).unwrap();
    let line = text.lines().rfind(|line| line.split(' ').nth(4) == Some(path))?;
    line.split(' ').nth(5).map(str::to_owned)
}

fn bind(source: &str, destination: &str, options: &[&str]) -> Value {
    json!({ "destination": destination, "type": "bind", "source": source, "options": options })
}

#[test]
fn a_bind_comes_and_goes() {
    obeys(SECTION, |lab| {
        let (container, host) = running(lab, lab.bundle());
        let list = json!([
            bind(&host, "/new/dir", &["bind", "ro"]),
            bind(&format!("{host}/file"), "/tmp/file", &["bind"])
        ]);
        mounts(&container, "add", &list).ok();
        assert_eq!(fs::read_to_string(inside(&container, "/new/dir/file")).unwrap(), "of the host");
        assert_eq!(fs::read_to_string(inside(&container, "/tmp/file")).unwrap(), "of the host");
        assert!(options(&container, "/new/dir").unwrap().starts_with("ro"));
        assert!(options(&container, "/tmp/file").unwrap().starts_with("rw"));
        mounts(&container, "remove", &list).ok();
        assert_eq!((options(&container, "/new/dir"), options(&container, "/tmp/file")), (None, None));
        mounts(&container, "remove", &list).fails();
    });
}

#[test]
fn a_new_file_system_comes_and_goes() {
    obeys(SECTION, |lab| {
        let (container, _) = running(lab, lab.bundle());
        let list = json!([{ "destination": "/tmp", "type": "tmpfs", "source": "tmpfs", "options": ["nosuid", "mode=700", "size=64k"] }]);
        mounts(&container, "add", &list).ok();
        assert!(options(&container, "/tmp").unwrap().contains("nosuid"));
        let tmp = fs::metadata(inside(&container, "/tmp")).unwrap();
        assert_eq!(std::os::unix::fs::PermissionsExt::mode(&tmp.permissions()) & 0o7777, 0o700);
        mounts(&container, "remove", &list).ok();
        assert_eq!(options(&container, "/tmp"), None);
    });
}

#[test]
fn a_new_procfs_shows_the_containers_processes() {
    obeys(SECTION, |lab| {
        let (container, _) = running(lab, lab.bundle());
        let list = json!([{ "destination": "/tmp", "type": "proc", "source": "proc" }]);
        mounts(&container, "add", &list).ok();
        let cmdline = fs::read_to_string(inside(&container, "/tmp/1/cmdline")).unwrap();
        assert!(cmdline.starts_with("/bin/inside"), "{cmdline:?}");
    });
}

#[test]
fn it_is_all_or_nothing() {
    obeys(SECTION, |lab| {
        let (container, host) = running(lab, lab.bundle().file("/etc/file", ""));
        let before = fs::read_to_string(format!("/proc/{}/mountinfo", container.pid())).unwrap();
        let check = |bad: Value| {
            let list = json!([
                bind(&host, "/tmp", &["bind"]),
                { "destination": "/dev", "type": "tmpfs", "source": "tmpfs" },
                bind(&format!("{host}/file"), "/etc/passwd", &["bind"]),
                bad,
            ]);
            mounts(&container, "add", &list).fails();
            let now = fs::read_to_string(format!("/proc/{}/mountinfo", container.pid())).unwrap();
            assert_eq!(now, before, "{bad}");
        };
        check(bind("/no/such/source", "/new", &["bind"]));
        check(bind(&host, "/etc/file", &["bind"])); // a directory on a file
        check(json!({ "destination": "/new", "type": "tmpfs", "source": "tmpfs", "options": ["size=zz"] }));
        check(json!({ "destination": "/new", "type": "no-such-fs", "source": "x" }));
        check(json!({ "source": "/tmp" }));
    });
}

#[test]
fn a_symlink_of_the_container_leads_nowhere_else() {
    obeys(SECTION, |lab| {
        let b = lab.bundle();
        let outside = lab.dir().join("outside");
        fs::create_dir(&outside).unwrap();
        std::os::unix::fs::symlink(&outside, b.path("/link")).unwrap();
        let (container, host) = running(lab, b);
        // Inside the root or refused, but not on the host's directory.
        mounts(&container, "add", &json!([bind(&host, "/link", &["bind"])]));
        assert!(!outside.join("file").exists());
        let ours = fs::read_to_string("/proc/self/mountinfo").unwrap();
        assert!(!ours.contains(outside.to_str().unwrap()));
    });
}

#[test]
fn it_works_in_a_user_namespace() {
    obeys(SECTION, |lab| {
        let (container, host) = running(lab, lab.bundle().user_namespace(300_000));
        let list = json!([
            bind(&host, "/new", &["bind"]),
            { "destination": "/tmp", "type": "tmpfs", "source": "tmpfs" },
            bind(&host, "/mapped", &["bind", "idmap"]),
        ]);
        mounts(&container, "add", &list).ok();
        assert_eq!(fs::read_to_string(inside(&container, "/new/file")).unwrap(), "of the host");
        let owner = |path: &str| fs::metadata(inside(&container, path)).unwrap().uid();
        assert_eq!((owner("/new/file"), owner("/mapped/file")), (0, 300_000));
        mounts(&container, "remove", &list).ok();
        assert_eq!((options(&container, "/new"), options(&container, "/tmp")), (None, None));
    });
}

#[test]
fn a_created_container_can_be_added_to() {
    obeys(SECTION, |lab| {
        let file = lab.dir().join("file");
        fs::write(&file, "of the host").unwrap();
        let container = lab.bundle().phrases(["to /tmp/out", "read /new"]).create();
        mounts(&container, "add", &json!([bind(file.to_str().unwrap(), "/new", &["bind"])])).ok();
        container.start().ok();
        assert_eq!(container.wait_for_answer("/tmp/out", "read /new")["read /new"], "of the host");
    });
}

#[test]
fn what_cannot_be_is_refused() {
    obeys(SECTION, |lab| {
        let (container, host) = running(lab, lab.bundle());
        mounts(&container, "add", &json!({ "mounts": [] }))
            .fails_saying(&["mounts must be an array", "mounts: must be an array"]);
        mounts(&container, "remove", &json!([bind(&host, "/tmp", &["bind"])])).fails();
        container.kill(&["KILL"]).ok();
        container.wait_for("stopped");
        mounts(&container, "add", &json!([bind(&host, "/tmp", &["bind"])])).fails();
        lab.run(["mounts", "add", "no-such-container", "/dev/null"]).fails();
    });
}
