//! State that another user has planted, or could have: rrunc, which is root, neither believes nor executes it. Before,
//! a poststop hook in it ran as root at `delete`.

use std::fs;
use std::os::unix::fs::{PermissionsExt, chown, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use integration::{rrunc, unharmed};
use spec_tests::Lab;

const THEM: u32 = 1000;

/// A root of its own with a container `web` that is over, and whose hook leaves a file.
struct Planted {
    root: PathBuf,
    executed: PathBuf,
}

impl Planted {
    fn new(lab: &Lab) -> Planted {
        let root = lab.dir().join(lab.fresh("planted"));
        let executed = lab.dir().join(lab.fresh("executed"));
        fs::create_dir_all(root.join("web")).expect("a directory");
        fs::set_permissions(root.join("web"), fs::Permissions::from_mode(0o700)).expect("chmod");
        let hook = serde_json::json!([{"path": "/bin/touch", "args": ["touch", executed]}]);
        let record = serde_json::json!({"version": 1, "id": "web", "bundle": "/", "poststop": hook});
        fs::write(root.join("web/state.json"), record.to_string()).expect("a file");
        Planted { root, executed }
    }

    fn path(&self, name: &str) -> PathBuf {
        if name.is_empty() { self.root.clone() } else { self.root.join(name) }
    }

    fn run(&self, args: &[&str]) -> Output {
        let mut command = Command::new(rrunc());
        command.arg("--root").arg(&self.root).args(args).stdin(Stdio::null());
        command.output().expect("rrunc")
    }

    fn refuses(&self, what: &str) {
        for args in [
            &["state", "web"][..],
            &["start", "web"],
            &["kill", "--all", "web", "KILL"],
            &["delete", "web"],
            &["delete", "--force", "web"],
            &["delete", "--force", "--regex", "w.*"],
            &["exec", "web", "true"],
            &["ps", "web"],
            &["pause", "web"],
            &["resume", "web"],
            &["events", "--stats", "web"],
            &["update", "--pids-limit", "5", "web"],
        ] {
            let output = self.run(args);
            let said = String::from_utf8_lossy(&output.stderr).into_owned();
            let code = if args[0] == "exec" { 255 } else { 1 };
            assert_eq!(output.status.code(), Some(code), "{what}: {args:?}: {said}");
            let names =
                said.contains("another user could have written") || said.contains("is no regular file");
            assert!(names, "{what}: {args:?}: {said}");
            assert!(!self.executed.exists(), "{what}: {args:?} executed it");
        }
        let output = self.run(&["list", "--quiet"]);
        assert_eq!(String::from_utf8_lossy(&output.stdout), "", "{what}: list believes it");
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(said.contains("another user") || said.contains("is no regular file"), "{what}: {said}");
        assert!(self.root.join("web").exists(), "{what}: removed");
    }
}

fn give(path: &Path) {
    chown(path, Some(THEM), Some(THEM)).expect("chown");
}

fn open_to(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).expect("chmod");
}

#[test]
fn what_another_user_could_have_written_is_not_believed() {
    unharmed("planted state", |lab| {
        let own = Planted::new(lab);
        let output = own.run(&["delete", "web"]);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        assert!(own.executed.exists(), "else the others would prove nothing");
        for name in ["", "web", "web/state.json"] {
            let theirs = Planted::new(lab);
            give(&theirs.path(name));
            theirs.refuses(&format!("{name:?} of another user"));
        }
        for (name, mode) in
            [("", 0o777), ("", 0o775), ("web", 0o770), ("web", 0o1777), ("web/state.json", 0o666)]
        {
            let open = Planted::new(lab);
            open_to(&open.path(name), mode);
            open.refuses(&format!("{name:?} with mode {mode:o}"));
        }
        let sticky = Planted::new(lab);
        open_to(&sticky.root, 0o1777);
        give(&sticky.path("web"));
        sticky.refuses("their container beside ours");
        let fifo = Planted::new(lab);
        fs::remove_file(fifo.path("web/state.json")).expect("unlink");
        nix::unistd::mkfifo(&fifo.path("web/state.json"), nix::sys::stat::Mode::S_IRWXU).expect("a FIFO");
        fifo.refuses("a FIFO");
        // Where a symlink leads may be root's own, and of their making all the same: a container's files, say.
        let mut linked = Planted::new(lab);
        let link = lab.dir().join("link");
        symlink(&linked.root, &link).expect("a link");
        std::os::unix::fs::lchown(&link, Some(THEM), None).expect("lchown");
        linked.root = link;
        linked.refuses("their symlink");
    });
}

#[test]
fn nothing_is_made_in_the_root_of_another_user() {
    unharmed("planted state", |lab| {
        let c = lab
            .bundle()
            .set("/linux/seccomp", serde_json::json!({"defaultAction": "SCMP_ACT_ALLOW"}))
            .container();
        c.bundle.write();
        let bundle = c.bundle.dir().to_string_lossy().into_owned();
        let create = |planted: &Planted, id: &str| planted.run(&["run", "--bundle", &bundle, id]);
        let theirs = Planted::new(lab);
        let victim = lab.dir().join("victim");
        fs::create_dir(&victim).expect("a directory");
        symlink(&victim, theirs.root.join(".cache")).expect("a link");
        give(&theirs.root);
        let output = create(&theirs, "new");
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(!output.status.success() && said.contains("another user could have written"), "{said}");
        assert_eq!(fs::read_dir(&victim).expect("readable").count(), 0, "written through their link");
        assert!(!theirs.root.join("new").exists());

        // Beside others in a sticky directory, as below /tmp, each has their own.
        let sticky = Planted::new(lab);
        open_to(&sticky.root, 0o1777);
        give(&sticky.path("web"));
        let output = create(&sticky, "new");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let output = create(&sticky, "web");
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(!output.status.success() && said.contains("another user could have written"), "{said}");
    });
}
