//! A bundle: a root file system with busybox and the helper, and a config.json that tests edit by JSON pointers.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use crate::command::Ran;
use crate::container::Container;
use crate::inside::{Inside, helper};
use crate::lab::Lab;
use crate::skip;
use crate::user::give;

/// By number, as linux/capability.h has them.
#[rustfmt::skip]
pub const ALL_CAPS: [&str; 41] = [
    "CAP_CHOWN",
    "CAP_DAC_OVERRIDE",
    "CAP_DAC_READ_SEARCH",
    "CAP_FOWNER",
    "CAP_FSETID",
    "CAP_KILL",
    "CAP_SETGID",
    "CAP_SETUID",
    "CAP_SETPCAP",
    "CAP_LINUX_IMMUTABLE",
    "CAP_NET_BIND_SERVICE",
    "CAP_NET_BROADCAST",
    "CAP_NET_ADMIN",
    "CAP_NET_RAW",
    "CAP_IPC_LOCK",
    "CAP_IPC_OWNER",
    "CAP_SYS_MODULE",
    "CAP_SYS_RAWIO",
    "CAP_SYS_CHROOT",
    "CAP_SYS_PTRACE",
    "CAP_SYS_PACCT",
    "CAP_SYS_ADMIN",
    "CAP_SYS_BOOT",
    "CAP_SYS_NICE",
    "CAP_SYS_RESOURCE",
    "CAP_SYS_TIME",
    "CAP_SYS_TTY_CONFIG",
    "CAP_MKNOD",
    "CAP_LEASE",
    "CAP_AUDIT_WRITE",
    "CAP_AUDIT_CONTROL",
    "CAP_SETFCAP",
    "CAP_MAC_OVERRIDE",
    "CAP_MAC_ADMIN",
    "CAP_SYSLOG",
    "CAP_WAKE_ALARM",
    "CAP_BLOCK_SUSPEND",
    "CAP_AUDIT_READ",
    "CAP_PERFMON",
    "CAP_BPF",
    "CAP_CHECKPOINT_RESTORE",
];

pub struct Bundle<'a> {
    lab: &'a Lab,
    dir: PathBuf,
    /// The config as it will be written; edit it freely.
    pub config: Value,
}

impl<'a> Bundle<'a> {
    pub(crate) fn new(lab: &'a Lab) -> Bundle<'a> {
        let dir = lab.dir().join(lab.fresh("bundle"));
        let bundle = Bundle { lab, dir, config: least_config() };
        let bundle = match lab.user() {
            Some(id) => bundle.single_user(id),
            None => bundle,
        };
        for sub in ["bin", "dev", "etc", "proc", "sys", "tmp"] {
            fs::create_dir_all(bundle.rootfs().join(sub)).expect("a root file system");
        }
        let busybox = ["/bin/busybox", "/usr/bin/busybox"].iter().find(|p| Path::new(p).exists());
        let busybox = busybox.unwrap_or_else(|| skip!("busybox is missing: apt-get install busybox-static"));
        copy_programs(&[Path::new(busybox), &helper()], &bundle.path("/bin"));
        for applet in ["sh", "cat", "true", "false", "sleep", "echo", "env", "id", "kill", "ls", "stty"] {
            fs::hard_link(bundle.path("/bin/busybox"), bundle.path("/bin").join(applet))
                .expect("link an applet");
        }
        bundle.file("/etc/passwd", "root:x:0:0:root:/root:/bin/sh\nuser:x:1000:1000::/home/user:/bin/sh\n")
    }

    pub fn lab(&self) -> &'a Lab {
        self.lab
    }

    pub fn dir(&self) -> &Path {
        &self.dir
    }

    pub fn rootfs(&self) -> PathBuf {
        self.dir.join("rootfs")
    }

    /// The host's path of a path in the root file system.
    pub fn path(&self, inside: &str) -> PathBuf {
        self.rootfs().join(inside.trim_start_matches('/'))
    }

    /// Puts a file (mode 0644) with its directories into the root file system.
    pub fn file(self, inside: &str, text: &str) -> Self {
        let path = self.path(inside);
        fs::create_dir_all(path.parent().expect("a parent")).expect("directories");
        fs::write(&path, text).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
        self
    }

    pub fn directory(self, inside: &str) -> Self {
        fs::create_dir_all(self.path(inside)).expect("a directory");
        self
    }

    pub fn mode(self, inside: &str, mode: u32) -> Self {
        fs::set_permissions(self.path(inside), fs::Permissions::from_mode(mode)).expect("chmod");
        self
    }

    /// Sets the value at a JSON pointer; missing objects on the way are made, "-" appends to a list.
    pub fn set(mut self, pointer: &str, value: impl Into<Value>) -> Self {
        let keys = pointer.split('/').skip(1).map(|k| k.replace("~1", "/").replace("~0", "~"));
        *keys.fold(&mut self.config, |at, key| slot(at, &key)) = value.into();
        self
    }

    /// Removes the member at a JSON pointer.
    pub fn without(mut self, pointer: &str) -> Self {
        let (parent, key) = pointer.rsplit_once('/').expect("a pointer");
        let parent = self.config.pointer_mut(parent).and_then(Value::as_object_mut);
        parent.and_then(|p| p.remove(key)).unwrap_or_else(|| panic!("config has no {pointer}"));
        self
    }

    pub fn args<S: Into<Value>>(self, args: impl IntoIterator<Item = S>) -> Self {
        let args: Vec<Value> = args.into_iter().map(Into::into).collect();
        self.set("/process/args", args)
    }

    /// The helper with these phrases is the container's program.
    pub fn phrases<'p>(self, phrases: impl IntoIterator<Item = &'p str>) -> Self {
        self.args(std::iter::once("/bin/inside").chain(phrases))
    }

    /// All five sets of capabilities.
    pub fn caps(self, names: &[&str]) -> Self {
        let sets = ["bounding", "effective", "inheritable", "permitted", "ambient"];
        sets.iter().fold(self, |b, set| b.set(&format!("/process/capabilities/{set}"), names))
    }

    /// Adds a mount. Options may be empty.
    pub fn mount(self, destination: &str, kind: &str, source: &str, options: &[&str]) -> Self {
        let mut mount = json!({ "destination": destination, "source": source });
        if !kind.is_empty() {
            mount["type"] = kind.into();
        }
        if !options.is_empty() {
            mount["options"] = json!(options);
        }
        self.set("/mounts/-", mount)
    }

    /// Adds or replaces the namespace of a type; a path joins one.
    pub fn namespace(self, kind: &str, path: Option<&str>) -> Self {
        let bundle = self.without_namespace(kind);
        let namespace = path.map_or(json!({ "type": kind }), |p| json!({ "type": kind, "path": p }));
        bundle.set("/linux/namespaces/-", namespace)
    }

    pub fn without_namespace(mut self, kind: &str) -> Self {
        let list = self.config.pointer_mut("/linux/namespaces").and_then(Value::as_array_mut);
        list.expect("namespaces").retain(|n| n["type"] != kind);
        self
    }

    /// A new user namespace whose ids 0 to 999 are the host's from `host` on; the root file system belongs to its root.
    pub fn user_namespace(self, host: u32) -> Self {
        let map = json!([{ "containerID": 0, "hostID": host, "size": 65_536 }]);
        own(&self.rootfs(), host);
        self.namespace("user", None).set("/linux/uidMappings", map.clone()).set("/linux/gidMappings", map)
    }

    /// A new user namespace whose one id is the host's `id`.
    pub fn single_user(self, id: u32) -> Self {
        let map = json!([{ "containerID": 0, "hostID": id, "size": 1 }]);
        self.namespace("user", None).set("/linux/uidMappings", map.clone()).set("/linux/gidMappings", map)
    }

    /// Adds a hook: the helper on the host (for `startContainer`: in the container) with these phrases.
    pub fn hook<'p>(self, list: &str, phrases: impl IntoIterator<Item = &'p str>) -> Self {
        let path = if list == "startContainer" { "/bin/inside".into() } else { self.path("/bin/inside") };
        let args: Vec<&str> = std::iter::once("inside").chain(phrases).collect();
        self.set(&format!("/hooks/{list}/-"), json!({ "path": path, "args": args }))
    }

    pub fn write(&self) {
        let text = serde_json::to_string_pretty(&self.config).expect("JSON");
        fs::write(self.dir.join("config.json"), text).expect("write config.json");
        if let Some(id) = self.lab.user() {
            give(&self.dir, id);
        }
    }

    /// The bundle and an id: a container that isn't there yet, but cleaned up when dropped.
    pub fn container(self) -> Container<'a> {
        Container::new(self)
    }

    /// Creates the container. Panics if that fails.
    pub fn create(self) -> Container<'a> {
        let container = self.container();
        container.create(&[]).ok();
        container
    }

    /// Creates and starts it. Panics if one of them fails.
    pub fn start(self) -> Container<'a> {
        let container = self.create();
        container.start().ok();
        container
    }

    /// Runs it in the foreground, and deletes it.
    pub fn run(self) -> Ran {
        self.container().run(&[])
    }

    /// Runs the helper with these phrases in it, and gives its answers. Panics if the run fails.
    pub fn ask<'p>(self, phrases: impl IntoIterator<Item = &'p str>) -> Inside {
        Inside::parse(&self.phrases(phrases).run().ok().stdout())
    }
}

/// The least that gives a working container, so that a test sees the effect of what it adds.
fn least_config() -> Value {
    let namespaces = ["pid", "ipc", "uts", "mount", "network", "cgroup"].map(|t| json!({ "type": t }));
    json!({
        "ociVersion": "1.0.2",
        "process": { "user": { "uid": 0, "gid": 0 }, "cwd": "/", "env": ["PATH=/bin"], "args": ["true"] },
        "root": { "path": "rootfs" },
        "mounts": [{ "destination": "/proc", "type": "proc", "source": "proc" }],
        "linux": { "namespaces": namespaces },
    })
}

/// Copies programs into a directory, by cp(1): a file that this process itself had written could not be executed (ETXTBSY)
/// as long as a child of another test's thread has its inherited fd, between fork and exec.
pub fn copy_programs(programs: &[&Path], to: &Path) {
    let status = std::process::Command::new("cp").args(programs).arg(to).status();
    assert!(status.is_ok_and(|s| s.success()), "cp {programs:?} {}", to.display());
}

/// Directories only: files are the helper and busybox, which all may read.
fn own(dir: &Path, id: u32) {
    std::os::unix::fs::chown(dir, Some(id), Some(id)).expect("chown");
    for entry in fs::read_dir(dir).expect("a directory").flatten() {
        if entry.file_type().is_ok_and(|t| t.is_dir()) {
            own(&entry.path(), id);
        }
    }
}

/// The member or element of `at` that `key` names, made if it is missing.
fn slot<'v>(at: &'v mut Value, key: &str) -> &'v mut Value {
    if key == "-" {
        if at.is_null() {
            *at = json!([]);
        }
        let list = at.as_array_mut().expect("\"-\" is for lists");
        list.push(Value::Null);
        return list.last_mut().expect("just pushed");
    }
    match key.parse::<usize>() {
        Ok(index) if at.is_array() => &mut at[index],
        _ => &mut at[key],
    }
}
