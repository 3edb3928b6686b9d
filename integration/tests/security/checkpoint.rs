//! A checkpoint that somebody else has made: what it says of the host is not believed, and what is in it is in it. All of
//! this is refused before criu is asked; `checkpoint` of spec-tests does the same to images that criu has made.

use std::fs;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt, chown, symlink};
use std::path::PathBuf;

use integration::{Host, unharmed};
use serde_json::{Value, json};
use spec_tests::{Bundle, Lab, Ran};

/// A directory that looks like a checkpoint of rrunc.
fn image(lab: &Lab, table: &Value) -> PathBuf {
    let image = lab.dir().join(lab.fresh("image"));
    fs::DirBuilder::new().mode(0o700).create(&image).expect("a directory");
    fs::write(image.join("inventory.img"), "").expect("a file");
    fs::write(image.join("rrunc.json"), table.to_string()).expect("a file");
    image
}

fn table(mounts: &Value) -> Value {
    json!({ "version": 1, "mounts": mounts, "masked": false, "streams": ["", "", ""] })
}

/// Mounts a directory of the host on /data.
fn bundle<'a>(lab: &'a Lab, host: &Host) -> Bundle<'a> {
    lab.bundle().mount("/data", "bind", &host.path("share"), &["bind"])
}

fn restore(bundle: Bundle, image: &std::path::Path) -> Ran {
    let c = bundle.container();
    let ran = c.command("restore", &["--detach", "--image-path", &image.to_string_lossy()]).run();
    c.lab().run(["state", &c.id]).fails_saying(&["does not exist"]);
    ran
}

/// CVE-2026-115520 (crun), CVE-2026-119101 (runc), CVE-2026-119614 (criu): rrunc 0.1.0 handed the key to criu, which took what follows `]:` for the mount's source.
#[test]
fn a_key_of_a_checkpoint_names_no_directory() {
    unharmed("CVE-2026-115520", |lab| {
        let host = Host::new(lab.dir(), &["share/", "secret/key"]);
        for key in
            [format!("mount-1]:{}", host.path("secret")), "mount-1]:/".into(), "null".into(), "x".into()]
        {
            let image = image(lab, &table(&json!({ key: "/data" })));
            restore(bundle(lab, &host), &image)
                .fails_saying(&["is no name that checkpoint gives to a mount"]);
        }
        let image = image(lab, &table(&json!({ "mount-1": "/data", "mount-2": "/data" })));
        restore(bundle(lab, &host), &image).fails_saying(&["is there twice"]);
        host.assert_untouched();
    });
}

/// criu opens its files by name, with root's rights: as memory of the container, or to write.
#[test]
fn no_file_of_a_checkpoint_is_one_of_the_hosts() {
    unharmed("CVE-2026-115520", |lab| {
        let host = Host::new(lab.dir(), &["share/", "secret/key", "a/b/"]);
        let honest = table(&json!({}));
        for name in ["pages-1.img", "stats-restore", "rrunc.json", "core-1.img"] {
            let symbolic = image(lab, &honest);
            let _ = fs::remove_file(symbolic.join(name)); // most aren't there
            symlink(host.path("secret/key"), symbolic.join(name)).expect("a symlink");
            restore(bundle(lab, &host), &symbolic).fails_saying(&["is a symlink"]);
            let hard = image(lab, &honest);
            let _ = fs::remove_file(hard.join(name)); // as above
            fs::hard_link(host.path("secret/key"), hard.join(name)).expect("a link");
            restore(bundle(lab, &host), &hard).fails_saying(&["is a file with 2 names"]);
            fs::remove_file(hard.join(name)).expect("remove");
        }
        for target in [host.path("secret"), "../host/a/../../..".into(), "/".into()] {
            let image = image(lab, &honest);
            symlink(&target, image.join("parent")).expect("a symlink");
            restore(bundle(lab, &host), &image).fails_saying(&["the parent of an image is beside it"]);
        }
        // In a user namespace the image is given to its root: no file of the host is.
        let image = image(lab, &honest);
        fs::hard_link(host.path("secret/key"), image.join("pages-1.img")).expect("a link");
        restore(bundle(lab, &host).user_namespace(300_000), &image).fails_saying(&["is a file with 2 names"]);
        fs::remove_file(image.join("pages-1.img")).expect("remove");
        host.assert_untouched();
    });
}

/// Else they are exchanged between the look and criu's.
#[test]
fn a_checkpoint_that_others_can_change_is_refused() {
    unharmed("CVE-2026-115520", |lab| {
        let host = Host::new(lab.dir(), &["share/"]);
        for (owner, mode) in [(1000, 0o700), (0, 0o777), (0, 0o1777)] {
            let image = image(lab, &table(&json!({})));
            chown(&image, Some(owner), None).expect("chown");
            fs::set_permissions(&image, fs::Permissions::from_mode(mode)).expect("chmod");
            restore(bundle(lab, &host), &image).fails_saying(&["others could change what criu reads"]);
        }
    });
}

/// criu would write through them.
#[test]
fn a_checkpoint_is_not_saved_through_links() {
    unharmed("CVE-2026-115520", |lab| {
        let host = Host::new(lab.dir(), &["file"]);
        let c = lab.bundle().args(["sleep", "100"]).container();
        c.command("run", &["--detach"]).redirect("</dev/null >/dev/null 2>&1").run().ok();
        let image = image(lab, &table(&json!({})));
        symlink(host.path("file"), image.join("core-1.img")).expect("a symlink");
        let path = image.to_string_lossy();
        lab.run(["checkpoint", "--image-path", &path, &c.id]).fails_saying(&["core-1.img is a symlink"]);
        assert_eq!(c.status(), "running");
        host.assert_untouched();
    });
}
