//! A disk that is full, or too few open files: what fails says which call, and leaves nothing behind: no container, no
//! cgroup, no file that was begun.

use std::fs;
use std::io::{Read, Seek};
use std::path::Path;
use std::process::{Command, Stdio};

use integration::{rrunc, unharmed};
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use serde_json::json;
use spec_tests::{Container, Lab};

/// A file system of a few pages and files on `dir`, as long as this lives.
struct Disk<'a>(&'a Path);

impl Disk<'_> {
    fn new(dir: &Path, pages: u32, files: u32) -> Disk<'_> {
        fs::create_dir_all(dir).expect("a directory");
        let options = format!("size={},nr_inodes={files},mode=755", pages * 4096);
        mount(Some("full"), dir, Some("tmpfs"), MsFlags::empty(), Some(options.as_str())).expect("mount");
        Disk(dir)
    }

    fn names(&self) -> Vec<String> {
        let names = fs::read_dir(self.0).expect("readable").flatten();
        names.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect()
    }
}

impl Drop for Disk<'_> {
    fn drop(&mut self) {
        let _ = umount2(self.0, MntFlags::MNT_DETACH); // the lab unmounts what is left
    }
}

/// How large a disk may be: the last of each takes everything that is written.
const SIZES: [(u32, u32); 16] = [
    (1, 1),
    (1, 2),
    (1, 3),
    (1, 4),
    (1, 5),
    (1, 6),
    (1, 8),
    (1, 100),
    (2, 100),
    (3, 100),
    (4, 100),
    (5, 100),
    (6, 100),
    (7, 100),
    (8, 100),
    (100, 100),
];

/// Whether it succeeded, and what it said. By way of a file: a container keeps its streams open.
struct Ended {
    success: bool,
    said: String,
}

fn end_of(mut command: Command) -> Ended {
    let mut file = tempfile();
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(file.try_clone().expect("a copy"));
    let success = command.status().expect("a program").success();
    let mut said = String::new();
    file.rewind().and_then(|()| file.read_to_string(&mut said)).expect("what it said");
    Ended { success, said }
}

fn tempfile() -> fs::File {
    let fd = nix::sys::memfd::memfd_create("said", nix::sys::memfd::MFdFlags::MFD_CLOEXEC);
    fd.expect("memory").into()
}

fn call(root: &Path, args: &[&str]) -> Ended {
    let mut command = Command::new(rrunc());
    command.arg("--root").arg(root).args(args);
    end_of(command)
}

/// The error names a call of the kernel's: `openat2: no space left on device`.
fn names_a_call(said: &str) -> bool {
    let errnos = ["no space left on device: ", "too many open files: "].map(|text| &text[..text.len() - 2]);
    errnos.iter().filter_map(|errno| said.split_once(errno)).any(|(before, _)| {
        let call = before.trim_end_matches(": ").rsplit(": ").next().unwrap_or_default();
        !call.is_empty()
            && call.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || "_ ".contains(c))
    })
}

fn bundle<'a>(lab: &'a Lab) -> (Container<'a>, String) {
    let c =
        lab.bundle().args(["sleep", "60"]).set("/linux/seccomp", json!({"defaultAction": "SCMP_ACT_ALLOW"}));
    let c = c.container();
    c.bundle.write();
    let dir = c.bundle.dir().to_string_lossy().into_owned();
    (c, dir)
}

#[test]
fn a_full_disk_for_the_state() {
    unharmed("full disk", |lab| {
        let (c, bundle) = bundle(lab);
        let dir = lab.dir().join("full");
        let mut succeeded = 0;
        for (pages, files) in SIZES {
            let disk = Disk::new(&dir, pages, files);
            let output = call(&dir, &["create", "--bundle", &bundle, &c.id]);
            if output.success {
                succeeded += 1;
                let before: Vec<_> = files_of(&dir.join(&c.id));
                let update = call(&dir, &["update", "--pids-limit", "50", &c.id]);
                let after = files_of(&dir.join(&c.id));
                if !update.success {
                    assert_eq!(before, after, "{pages} {files}: {}", update.said);
                }
                let delete = call(&dir, &["delete", "--force", &c.id]);
                assert!(delete.success, "{pages} {files}: {}", delete.said);
            } else {
                assert!(names_a_call(&output.said), "{pages} {files}: {}", output.said);
            }
            // The cache of seccomp filters is no container's; of it nothing half-made may stay.
            assert!(disk.names().iter().all(|name| name == ".cache"), "{pages} {files}: {:?}", disk.names());
            for name in files_of(&dir.join(".cache/seccomp")) {
                assert!(!name.contains('.'), "{pages} {files}: {name} was begun");
            }
        }
        assert!((1..SIZES.len()).contains(&succeeded), "{succeeded}: else they told nothing");
    });
}

fn files_of(dir: &Path) -> Vec<String> {
    let mut names: Vec<_> = fs::read_dir(dir)
        .into_iter()
        .flatten()
        .flatten()
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .collect();
    names.sort();
    names
}

#[test]
fn a_full_disk_for_the_pid_file_and_the_log() {
    unharmed("full disk", |lab| {
        let (c, bundle) = bundle(lab);
        let dir = lab.dir().join("full");
        for what in ["--pid-file", "--log"] {
            for files in [1, 2, 100] {
                let disk = Disk::new(&dir, 1, files);
                if files == 100 {
                    // The only page is taken.
                    fs::write(dir.join("filler"), [0; 4096]).expect("a page");
                }
                let path = dir.join("out").to_string_lossy().into_owned();
                let output = match what {
                    "--log" => call(&lab.root(), &["--log", &path, "create", "--bundle", &bundle, &c.id]),
                    _ => call(&lab.root(), &["create", "--bundle", &bundle, "--pid-file", &path, &c.id]),
                };
                if what == "--pid-file" && files != 2 {
                    assert!(!output.success, "{files}");
                    assert!(names_a_call(&output.said), "{what} {files}: {}", output.said);
                    let left: Vec<_> = disk.names().into_iter().filter(|name| name != "filler").collect();
                    assert!(left.is_empty(), "{what} {files}: {left:?}");
                    assert!(!lab.root().join(&c.id).exists(), "{what} {files}: the container is left");
                }
                c.delete(&["--force"]).ok();
            }
        }
    });
}

/// rrunc with at most so many open files.
fn with_files(lab: &Lab, most: u32, args: &[&str]) -> Ended {
    let mut command = Command::new("sh");
    command.args(["-c", "ulimit -n $0; exec \"$@\"", &most.to_string()]).arg(rrunc());
    command.arg("--root").arg(lab.root()).args(args);
    end_of(command)
}

#[test]
fn too_few_open_files() {
    unharmed("open files", |lab| {
        let (c, bundle) = bundle(lab);
        let (mut failed, mut succeeded) = (0, 0);
        for most in (4..32).step_by(2) {
            let run = ["run", "--detach", "--bundle", &bundle, &c.id];
            let output = with_files(lab, most, &run);
            if !output.success {
                failed += 1;
                assert!(!lab.root().join(&c.id).exists(), "{most}: run left its directory: {}", output.said);
                assert!(!lab.cgroups().join(&c.id).exists(), "{most}: run left its cgroup: {}", output.said);
                // With still fewer not even the C library finds its files.
                assert!(most < 5 || names_a_call(&output.said), "{most}: {}", output.said);
                assert!(call(&lab.root(), &run).success, "{most}");
            } else {
                succeeded += 1;
            }
            for args in [&["exec", &c.id, "true"][..], &["update", "--pids-limit", "50", &c.id]] {
                with_files(lab, most, args);
                let names = files_of(&lab.root().join(&c.id));
                let begun = names.iter().find(|name| name.starts_with('.'));
                assert!(begun.is_none(), "{most}: {args:?} left {begun:?}");
                assert_eq!(c.status(), "running", "{most}: {args:?}");
            }
            let output = with_files(lab, most, &["delete", "--force", &c.id]);
            let known = lab.root().join(&c.id).exists();
            assert_eq!(output.success, !known, "{most}: {}", output.said);
            // What failed half-way can be repeated.
            c.delete(&["--force"]).ok();
            assert!(!lab.root().join(&c.id).exists());
        }
        assert!(failed > 0 && succeeded > 0, "{failed} {succeeded}");
    });
}
