//! One test's own world: a temporary directory, a state directory, a namespaces, and the transcript.

use std::cell::{Cell, RefCell};
use std::fmt;
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Child;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};

use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sched::{CloneFlags, unshare};
use nix::sys::stat::{Mode, SFlag, makedev, mknod};
use serde_json::Value;

use crate::bundle::Bundle;
use crate::command::{Command, Ran};
use crate::expected::{Expected, LEFT_CGROUPS};
use crate::{machine, skip};

/// The runtime that is judged.
pub struct Runtime {
    pub path: PathBuf,
    /// The file's name, which is its section in expected.toml.
    pub name: String,
    /// From the first line of `--version`, which ends in it for all known runtimes.
    pub version: String,
}

static RUNTIME: OnceLock<Runtime> = OnceLock::new();

/// The one that `RUNTIME` names.
pub fn runtime() -> &'static Runtime {
    RUNTIME.get_or_init(|| {
        let path = std::env::var("RUNTIME");
        Runtime::at(&path.expect("RUNTIME says which runtime to test: runc, crun, or a path"))
    })
}

/// The one at `path` is judged unless `RUNTIME` names another: for a runtime's own tests on this harness.
pub fn default_runtime(path: &Path) {
    RUNTIME.get_or_init(|| {
        let named = std::env::var("RUNTIME");
        Runtime::at(&named.unwrap_or_else(|_| path.to_string_lossy().into_owned()))
    });
}

impl Runtime {
    fn at(path: &str) -> Runtime {
        let out = std::process::Command::new(path).arg("--version").output();
        let out = out.unwrap_or_else(|e| panic!("RUNTIME={path}: {e}"));
        let first = String::from_utf8_lossy(&out.stdout).lines().next().unwrap_or_default().to_owned();
        let name = Path::new(path).file_name().expect("a file").to_string_lossy().into_owned();
        Runtime { path: path.into(), name, version: first.rsplit(' ').next().unwrap_or_default().to_owned() }
    }
}

impl fmt::Display for Runtime {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        write!(f, "{} {}", self.path.display(), self.version)
    }
}

/// See the module. Everything that a test makes has the lab's [`Lab::tag`] in its name, so that it can be found.
pub struct Lab {
    tag: String,
    dir: PathBuf,
    cgroups: PathBuf,
    transcript: RefCell<String>,
    count: Cell<u32>,
    /// Who calls the runtime, as words before it: see `user`.
    caller: RefCell<Option<(Vec<String>, PathBuf)>>,
    user: Cell<Option<u32>>,
    by_systemd: Cell<bool>,
    kept: RefCell<Vec<Child>>,
}

impl Lab {
    /// Must be called on the test's own thread: the namespaces that it makes are this thread's and its children's.
    pub(crate) fn new() -> Lab {
        static LABS: AtomicU32 = AtomicU32::new(0);
        if !machine::is_root() {
            skip!("only root can run these tests");
        }
        // Of one width, since what is a lab's is found by the tag: none may begin another.
        let process = std::env::var("LAB").unwrap_or_else(|_| std::process::id().to_string());
        let tag = format!("spec-{process}-{:04}", LABS.fetch_add(1, Ordering::Relaxed));
        let dir = std::env::temp_dir().join(&tag);
        // Searchable by all, since the root of a user namespace must get through.
        fs::create_dir_all(dir.join("state")).expect("a temporary directory");
        own_namespaces(&dir);
        let cgroups = machine::cgroup2().unwrap_or_else(|| skip!("cgroup2 isn't mounted"));
        Lab {
            tag,
            dir,
            cgroups: cgroups.into(),
            transcript: RefCell::default(),
            count: Cell::new(0),
            caller: RefCell::default(),
            user: Cell::new(None),
            by_systemd: Cell::new(machine::by_systemd()),
            kept: RefCell::default(),
        }
    }

    /// A new bundle: busybox, the helper, and the least config.json that makes a container.
    pub fn bundle(&self) -> Bundle<'_> {
        Bundle::new(self)
    }

    /// An invocation of the runtime on this lab's state directory.
    pub fn command<S: Into<String>>(&self, args: impl IntoIterator<Item = S>) -> Command<'_> {
        Command::new(self, args)
    }

    /// The same, carried out.
    pub fn run<S: Into<String>>(&self, args: impl IntoIterator<Item = S>) -> Ran {
        self.command(args).run()
    }

    /// Parsed output of `state ID`. Panics if that fails.
    pub fn state(&self, id: &str) -> Value {
        self.run(["state", id]).ok().json()
    }

    /// The prefix of all names that this test may leave in places that are shared.
    pub fn tag(&self) -> &str {
        &self.tag
    }

    /// A directory of this test's own, removed at its end.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// The runtime's `--root`.
    pub fn root(&self) -> PathBuf {
        self.dir.join("state")
    }

    /// Where cgroup2 is mounted.
    pub fn cgroups(&self) -> &Path {
        &self.cgroups
    }

    /// A name that nothing else has.
    pub fn fresh(&self, what: &str) -> String {
        self.count.set(self.count.get() + 1);
        format!("{}-{what}{}", self.tag, self.count.get())
    }

    pub(crate) fn call_by(&self, caller: Vec<String>, runtime: &Path, user: Option<u32>) {
        *self.caller.borrow_mut() = Some((caller, runtime.into()));
        self.user.set(user);
    }

    /// A process that lives as long as the lab.
    pub(crate) fn keep(&self, child: Child) {
        self.kept.borrow_mut().push(child);
    }

    /// The words before the runtime, and the runtime.
    pub fn caller(&self) -> (Vec<String>, PathBuf) {
        let caller = self.caller.borrow().clone();
        caller.unwrap_or_else(|| (vec![], runtime().path.clone()))
    }

    /// Who calls the runtime, if it isn't root.
    pub fn user(&self) -> Option<u32> {
        self.user.get()
    }

    pub fn is_user(&self) -> bool {
        self.user().is_some()
    }

    /// From now on systemd makes the cgroups, or doesn't, whatever `CGROUP_MANAGER` says.
    pub fn let_systemd(&self, make: bool) {
        self.by_systemd.set(make);
    }

    pub(crate) fn by_systemd(&self) -> bool {
        self.by_systemd.get()
    }

    pub fn note(&self, text: &str) {
        let mut transcript = self.transcript.borrow_mut();
        transcript.push_str(text);
        transcript.push('\n');
    }

    pub(crate) fn transcript(&self) -> String {
        self.transcript.borrow().clone()
    }

    /// At the end of a test that passed, whose containers are deleted by now, there's no trace of them.
    pub(crate) fn assert_nothing_left(&self) {
        let names = fs::read_dir(self.root()).expect("state").flatten().map(|e| e.file_name());
        // A container's id has no leading dot; a runtime may keep something else there, such as a cache.
        let left: Vec<_> = names.filter(|n| !n.to_string_lossy().starts_with('.')).collect();
        assert!(left.is_empty(), "left in the state directory: {left:?}");
        if Expected::read().reason(LEFT_CGROUPS).is_none() {
            assert_eq!(self.own_cgroups(), <Vec<PathBuf>>::new(), "cgroups left");
        }
        let left = self.own_mounts();
        assert_eq!(left, <Vec<String>>::new(), "mounts left");
    }

    /// Mount points in this lab's directory, the last mounted first.
    fn own_mounts(&self) -> Vec<String> {
        let mounts = fs::read_to_string("/proc/thread-self/mountinfo").expect("mountinfo");
        let at = mounts.lines().rev().filter_map(|l| l.split(' ').nth(4));
        at.filter(|at| Path::new(at).starts_with(&self.dir)).map(str::to_owned).collect()
    }

    /// This lab's cgroups, children before parents.
    fn own_cgroups(&self) -> Vec<PathBuf> {
        let mut found = Vec::new();
        collect_cgroups(&self.cgroups, &self.tag, 0, &mut found);
        found
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        for mut child in self.kept.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
        for cgroup in self.own_cgroups() {
            let _ = fs::write(cgroup.join("cgroup.kill"), "1");
            for _ in 0..100 {
                if fs::remove_dir(&cgroup).is_ok() || !cgroup.exists() {
                    break;
                }
                std::thread::sleep(std::time::Duration::from_millis(10));
            }
        }
        for mount in self.own_mounts() {
            let _ = umount2(mount.as_str(), MntFlags::MNT_DETACH);
        }
        if let Err(e) = fs::remove_dir_all(&self.dir) {
            eprintln!("{} is left: {e}", self.dir.display());
        }
    }
}

/// What a test or a runtime mounts, names, or sets from now on is seen by nobody else, and is gone with the thread.
fn own_namespaces(dir: &Path) {
    let flags = CloneFlags::CLONE_NEWNS
        | CloneFlags::CLONE_NEWUTS
        | CloneFlags::CLONE_NEWIPC
        | CloneFlags::CLONE_NEWNET;
    unshare(flags).expect("unshare namespaces");
    mount_at("/", None, None, MsFlags::MS_REC | MsFlags::MS_PRIVATE);
    own_devices(dir);
    match std::env::var("CGROUP_VIEW").as_deref() {
        Ok("host") => {}
        Ok("v2") | Err(_) => {
            // A hybrid host has a tmpfs with v1 hierarchies there. Covering it in this namespace changes nothing for others.
            if machine::cgroup2().as_deref() != Some("/sys/fs/cgroup") {
                mount_at("/sys/fs/cgroup", Some("none"), Some("cgroup2"), MsFlags::empty());
            }
        }
        Ok(other) => panic!("CGROUP_VIEW={other:?}: say host or v2"),
    }
}

/// Covers /dev, since a runtime may change what it finds there: some give /dev/null, as the container's stdin, to its user.
fn own_devices(dir: &Path) {
    let dev = dir.join("dev");
    let path = |name: &str| dev.join(name);
    let at = |name: &str| path(name).to_string_lossy().into_owned();
    fs::create_dir(&dev).expect("a directory");
    mount_at(&at(""), Some("dev"), Some("tmpfs"), MsFlags::empty());
    for (name, major, minor) in
        [("null", 1, 3), ("zero", 1, 5), ("full", 1, 7), ("random", 1, 8), ("urandom", 1, 9), ("tty", 5, 0)]
    {
        mknod(&path(name), SFlag::S_IFCHR, Mode::empty(), makedev(major, minor)).expect("a device");
        fs::set_permissions(path(name), fs::Permissions::from_mode(0o666)).expect("chmod");
    }
    for name in ["pts", "shm", "mqueue"] {
        fs::create_dir(path(name)).expect("a directory");
    }
    for (name, target) in [("ptmx", "pts/ptmx"), ("fd", "/proc/self/fd")] {
        symlink(target, path(name)).expect("a symlink");
    }
    mount_at(&at("pts"), Some("/dev/pts"), None, MsFlags::MS_BIND);
    mount_at("/dev", Some(&at("")), None, MsFlags::MS_MOVE);
}

fn mount_at(target: &str, source: Option<&str>, kind: Option<&str>, flags: MsFlags) {
    mount(source, target, kind, flags, None::<&str>).unwrap_or_else(|e| panic!("mount on {target}: {e}"));
}

/// Directories whose name or parent's name holds the tag, after a prefix if systemd made them; a tree deeper than 8 isn't ours.
fn collect_cgroups(dir: &Path, tag: &str, depth: u32, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
        let path = entry.path();
        if depth < 8 && entry.file_type().is_ok_and(|t| t.is_dir()) {
            collect_cgroups(&path, tag, depth + 1, found);
            if path.components().any(|c| c.as_os_str().to_string_lossy().contains(tag)) {
                found.push(path);
            }
        }
    }
}
