//! What a command needs before it, what it is called with, and what it must have done after it.

use std::fs::{self, File};
use std::io::Write;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use integration::Census;
use nix::fcntl::OFlag;
use nix::sys::stat::{Mode, SFlag, makedev, mknod};
use serde_json::{Value, json};
use spec_tests::{Bundle, Lab};

use crate::sight::{END, Host, PHRASES};
use crate::trace::{Order, Point, Traced, trace};

/// Long enough for anything on a busy machine.
const LIMIT: Duration = Duration::from_secs(10);

/// Whose containers of which shape.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// As rich as an engine's, root's.
    Root,
    /// The same in a user namespace.
    UserNamespace,
    /// An ordinary user's.
    Rootless,
}

impl Kind {
    pub const ALL: [Kind; 3] = [Kind::Root, Kind::UserNamespace, Kind::Rootless];

    pub fn name(self) -> &'static str {
        match self {
            Kind::Root => "root",
            Kind::UserNamespace => "userns",
            Kind::Rootless => "rootless",
        }
    }
}

pub const COMMANDS: [&str; 13] = [
    "create", "start", "run", "run-d", "exec", "kill", "delete", "delete-f", "update", "pause", "resume",
    "state", "list",
];

/// A command that ran unharmed.
pub struct Ran {
    /// The exit status, minus a signal, or none if it had no end.
    pub code: Option<i32>,
    pub stdout: String,
    pub stderr: String,
}

impl Ran {
    pub fn succeeded(&self) -> bool {
        self.code == Some(0)
    }

    /// What it says if there is no container.
    pub fn says_none(&self) -> bool {
        self.code.is_some_and(|c| c > 0) && self.stderr.contains("does not exist")
    }

    pub fn told(&self) -> String {
        let code = self.code.map_or("no end".into(), |code| code.to_string());
        format!("exit {code}, {:?}", self.stderr.trim())
    }
}

pub struct World<'a> {
    lab: &'a Lab,
    pub kind: Kind,
    pub id: String,
    pub host: Host,
    /// Files that differ from run to run: outputs.
    out: PathBuf,
    /// Where hooks leave their names.
    hooks: PathBuf,
    cgroup: PathBuf,
    /// A controller that limits something here, with its file and two values.
    limit: Option<Limit>,
    size: u64,
    /// Each with the program's end: by itself, with its input, never.
    bundles: Vec<Bundle<'a>>,
    base: Option<Census>,
}

struct Limit {
    file: &'static str,
    first: u64,
    second: u64,
    resources: fn(u64) -> Value,
}

const ENDS: [&str; 3] = ["exit 0", "stdin", "sleep"];

impl<'a> World<'a> {
    pub fn new(lab: &'a Lab, kind: Kind) -> World<'a> {
        let out = lab.dir().join("out");
        fs::create_dir(&out).expect("a directory");
        for name in ["data", "ro"] {
            fs::create_dir(lab.dir().join(name)).expect("a directory");
            fs::set_permissions(lab.dir().join(name), fs::Permissions::from_mode(0o777)).expect("chmod");
        }
        fs::write(lab.dir().join("ro/file"), "x").expect("a file");
        let limit = match kind {
            Kind::Rootless => None,
            _ => limit(lab.cgroups()),
        };
        if kind == Kind::Rootless {
            lab.become_user();
        }
        if kind == Kind::UserNamespace {
            // Nodes are bound there.
            let mode = Mode::from_bits_truncate(0o666);
            mknod("/dev/forbidden", SFlag::S_IFCHR, mode, makedev(1, 11)).expect("a node in the lab's /dev");
            fs::set_permissions("/dev/forbidden", fs::Permissions::from_mode(0o666)).expect("chmod");
        }
        let hooks = lab.dir().join("data/hooks");
        let (_, runtime) = lab.caller();
        let mut world = World {
            lab,
            kind,
            id: format!("{}-c", lab.tag()),
            host: Host { namespaces: Host::namespaces(), keyring: Value::Null },
            out,
            hooks,
            cgroup: lab.cgroups().join(lab.tag()).join("c"),
            limit,
            size: fs::metadata(runtime).expect("the runtime").size(),
            bundles: vec![],
            base: None,
        };
        world.bundles = ENDS.iter().map(|end| world.bundle(end)).collect();
        for bundle in &world.bundles {
            bundle.write();
        }
        let mut process = with_end(&world.bundles[0].config["process"], ENDS[0]);
        if kind == Kind::Rootless {
            process["oomScoreAdj"] = Value::Null; // the process isn't a user's to write to by then
        }
        fs::write(world.process_json(), process.to_string()).expect("process.json");
        if let Some(limit) = &world.limit {
            for (name, value) in [("first", limit.first), ("second", limit.second)] {
                fs::write(world.resources_json(name), (limit.resources)(value).to_string())
                    .expect("resources");
            }
        }
        fs::set_permissions(&world.out, fs::Permissions::from_mode(0o777)).expect("chmod");
        world.forget_hooks();
        world.host.keyring = world.own_keyring();
        world
    }

    /// Has the world as it is without a container for what is to be found after each.
    pub fn begin(&mut self) {
        // Twice: a cache is filled, and directories for all containers are made.
        for _ in 0..2 {
            let ran = self.run_again();
            assert!(ran.succeeded(), "it can't be run: {}", ran.told());
        }
        self.base = Some(self.census());
    }

    pub fn census(&self) -> Census {
        let census = Census::take(self.lab.tag(), self.lab.cgroups(), &self.lab.root());
        let cache = self.lab.root().join(".cache");
        let except = [self.out.as_path(), &self.hooks, &cache];
        census.and_files(&[self.lab.dir(), Path::new("/dev/shm"), Path::new("/run")], &except)
    }

    /// What there is more or less than without any container, or than `before`, after a while for what ends by itself.
    pub fn left(&self, before: Option<&Census>, patience: Duration) -> String {
        let before = before.or(self.base.as_ref()).expect("begun");
        let end = Instant::now() + patience;
        loop {
            let difference = before.difference(&self.census());
            // A mount of the machine goes with its directory, whoever removes that.
            let ours =
                difference.lines().filter(|l| !l.contains("gone: mount ") || l.contains(self.lab.tag()));
            let ours: Vec<_> = ours.map(str::trim).collect();
            if ours.is_empty() || Instant::now() > end {
                return ours.join("; ");
            }
            std::thread::sleep(Duration::from_millis(3));
        }
    }

    // -- the bundles

    fn bundle(&self, end: &str) -> Bundle<'a> {
        let bundle = self.lab.bundle().directory("data").directory("ro").file("/etc/group", "root:x:0:\n");
        let source = |name: &str| self.lab.dir().join(name).to_string_lossy().into_owned();
        let profile: Value =
            serde_json::from_str(include_str!("../../../spec-tests/testdata/docker.json")).expect("JSON");
        let mut seccomp = profile["linux"]["seccomp"].clone();
        // To ask for the keyring.
        let keyctl = json!({ "names": ["keyctl"], "action": "SCMP_ACT_ALLOW" });
        seccomp["syscalls"].as_array_mut().expect("rules").push(keyctl);
        let hook = |list: &str| ["to HOOKS".to_owned(), format!("print {list}")];
        let mut bundle = bundle
            .mount("/dev", "tmpfs", "tmpfs", &["nosuid", "strictatime", "mode=755", "size=65536k"])
            .mount(
                "/dev/pts",
                "devpts",
                "devpts",
                &["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620"],
            )
            .mount("/dev/mqueue", "mqueue", "mqueue", &["nosuid", "noexec", "nodev"])
            .mount("/dev/shm", "tmpfs", "shm", &["nosuid", "noexec", "nodev", "mode=1777", "size=65536k"])
            .mount("/sys", "sysfs", "sysfs", &["nosuid", "noexec", "nodev", "ro"])
            .mount("/sys/fs/cgroup", "cgroup", "cgroup", &["ro", "nosuid", "noexec", "nodev"])
            .mount("/data", "bind", &source("data"), &["rbind", "rprivate"])
            .mount("/ro", "bind", &source("ro"), &["bind", "ro", "nosuid", "nodev", "rprivate"])
            .set("/root/readonly", true)
            .set("/hostname", "faulty")
            .set("/domainname", "example")
            .set("/process/cwd", "/data")
            .set("/process/noNewPrivileges", true)
            .set("/process/user/umask", 0o27)
            .set(
                "/process/rlimits",
                json!([
                    { "type": "RLIMIT_NOFILE", "soft": 512, "hard": 1000 },
                    { "type": "RLIMIT_CORE", "soft": 0, "hard": 0 },
                ]),
            )
            .set("/process/oomScoreAdj", 500)
            .set(
                "/linux/sysctl",
                json!({ "net.ipv4.ip_unprivileged_port_start": "80", "kernel.shm_rmid_forced": "1" }),
            )
            .set(
                "/linux/maskedPaths",
                json!(["/proc/kcore", "/proc/keys", "/proc/timer_list", "/proc/acpi", "/sys/firmware"]),
            )
            .set(
                "/linux/readonlyPaths",
                json!(["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"]),
            )
            .set("/linux/seccomp", seccomp)
            .caps(&["CAP_CHOWN", "CAP_KILL", "CAP_NET_BIND_SERVICE", "CAP_SETUID", "CAP_SYS_CHROOT"])
            .hook("createRuntime", hook("createRuntime").each_ref().map(String::as_str))
            .hook("startContainer", hook("startContainer").each_ref().map(String::as_str));
        for (list, path) in [
            ("createRuntime", self.hooks.to_string_lossy().into_owned()),
            ("startContainer", "/data/hooks".into()),
        ] {
            bundle.config["hooks"][list][0]["args"][1] = format!("to {path}").into();
        }
        if self.kind != Kind::Rootless {
            // Not for users: who may open it without a device program isn't them.
            let device =
                json!({ "path": "/dev/forbidden", "type": "c", "major": 1, "minor": 11, "fileMode": 0o666 });
            let allow = json!([{ "allow": false, "access": "rwm" }, { "allow": true, "type": "c", "major": 1, "minor": 5, "access": "rwm" }]);
            bundle = bundle
                .set("/linux/devices", json!([device]))
                .set("/linux/cgroupsPath", format!("/{}/c", self.lab.tag()))
                .set("/linux/resources/devices", allow)
                .set("/process/user/uid", 1000)
                .set("/process/user/gid", 1000)
                .set("/process/user/additionalGids", json!([10, 20]));
        }
        if let Some(limit) = &self.limit {
            for (key, value) in (limit.resources)(limit.first).as_object().expect("resources") {
                bundle = bundle.set(&format!("/linux/resources/{key}"), value.clone());
            }
        }
        if self.kind == Kind::UserNamespace {
            bundle = bundle.user_namespace(100_000);
        }
        bundle.config["process"] = with_end(&bundle.config["process"], end);
        bundle
    }

    fn process_json(&self) -> String {
        self.out.join("process.json").to_string_lossy().into_owned()
    }

    fn resources_json(&self, which: &str) -> String {
        self.out.join(format!("{which}.json")).to_string_lossy().into_owned()
    }

    pub fn bundle_dir(&self, end: usize) -> String {
        self.bundles[end].dir().to_string_lossy().into_owned()
    }

    // -- calling the runtime

    fn words(&self, args: &[String]) -> Vec<String> {
        let (mut words, runtime) = self.lab.caller();
        words.push(runtime.to_string_lossy().into_owned());
        words.extend(["--root".into(), self.lab.root().to_string_lossy().into_owned()]);
        words.extend_from_slice(args);
        words
    }

    fn env(&self) -> Vec<(String, String)> {
        let run = self.lab.dir().join("run").to_string_lossy().into_owned();
        if self.lab.is_user() { vec![("XDG_RUNTIME_DIR".into(), run)] } else { vec![] }
    }

    pub fn call(&self, args: &[&str]) -> Ran {
        self.call_to("o", args)
    }

    /// Output goes to files: a container keeps what it inherits.
    fn call_to(&self, stdout: &str, args: &[&str]) -> Ran {
        let args: Vec<_> = args.iter().map(|a| (*a).to_owned()).collect();
        let words = self.words(&args);
        let mut command = Command::new(&words[0]);
        command.args(&words[1..]).envs(self.env());
        self.finish(command.stdin(Stdio::null()), stdout)
    }

    fn finish(&self, command: &mut Command, stdout: &str) -> Ran {
        let (o, e) = (self.out.join(stdout), self.out.join("e"));
        command.stdout(File::create(&o).expect("a file")).stderr(File::create(&e).expect("a file"));
        #[allow(clippy::zombie_processes)] // killed and waited for if it has no end
        let mut child = command.spawn().expect("the runtime");
        let end = Instant::now() + LIMIT * 2;
        let mut status = None;
        while status.is_none() && Instant::now() < end {
            status = child.try_wait().expect("wait");
            if status.is_none() {
                std::thread::sleep(Duration::from_micros(300));
            }
        }
        if status.is_none() {
            let _ = child.kill();
            let _ = child.wait();
        }
        use std::os::unix::process::ExitStatusExt;
        let code = status.map(|s| s.code().unwrap_or_else(|| -s.signal().unwrap_or(0)));
        Ran { code, stdout: text(&o), stderr: text(&e) }
    }

    /// What the helper says on the host, called as the runtime is.
    fn own_keyring(&self) -> Value {
        let (words, _) = self.lab.caller();
        let helper = self.bundles[0].path("/bin/inside").to_string_lossy().into_owned();
        let words: Vec<_> = words.into_iter().chain([helper, "syscall keyctl 0 -3 0".into()]).collect();
        let ran = self.finish(Command::new(&words[0]).args(&words[1..]), "o");
        spec_tests::Inside::parse(&ran.stdout)["syscall keyctl 0 -3 0"].clone()
    }

    fn args(&self, command: &str) -> Vec<String> {
        let id = self.id.clone();
        let with = |words: &[&str]| words.iter().map(|w| (*w).to_owned()).chain([id.clone()]).collect();
        match command {
            "create" => with(&["create", "--bundle", &self.bundle_dir(2)]),
            "run-d" => with(&["run", "--detach", "--bundle", &self.bundle_dir(2)]),
            "run" => with(&["run", "--bundle", &self.bundle_dir(1)]),
            "exec" => with(&["exec", "--process", &self.process_json()]),
            "delete-f" => with(&["delete", "--force"]),
            "update" => with(&["update", "--resources", &self.resources_json("second")]),
            "kill" => vec!["kill".into(), id, "KILL".into()],
            "list" => ["list", "--format", "json"].map(String::from).into(),
            _ => with(&[command]),
        }
    }

    /// The command under the tracer, and what the host saw while its program ran, if that waits for its input.
    pub fn traced(
        &self,
        command: &str,
        point: Point,
        waiting: Option<i32>,
    ) -> (Traced, Ran, Option<Vec<String>>) {
        let (o, e) = (self.out.join("traced"), self.out.join("e"));
        let foreground = command == "run";
        // Else the container would hold it open.
        let (read, write) = nix::unistd::pipe2(OFlag::O_CLOEXEC).expect("a pipe");
        let order = Order {
            words: self.words(&self.args(command)),
            env: self.env(),
            size: self.size,
            stdin: if foreground { Stdio::from(read) } else { Stdio::null() },
            stdout: File::create(&o).expect("a file"),
            stderr: File::create(&e).expect("a file"),
            waiting,
            limit: LIMIT,
        };
        let mut seen = None;
        let traced = std::thread::scope(|scope| {
            let tracer = scope.spawn(|| trace(order, point));
            while foreground && !tracer.is_finished() {
                if text(&o).contains(END) {
                    seen = Some(self.host_side());
                    break;
                }
                std::thread::sleep(Duration::from_millis(1));
            }
            drop(write);
            tracer.join().expect("the tracer")
        });
        let ran = Ran { code: Some(traced.code), stdout: text(&o), stderr: text(&e) };
        (traced, ran, seen)
    }

    // -- states

    pub fn makes_a_container(command: &str) -> bool {
        ["create", "run", "run-d"].contains(&command)
    }

    /// The status, "none", or what is wrong with the answer.
    pub fn status(&self) -> Result<String, String> {
        let ran = self.call(&["state", &self.id]);
        if ran.says_none() {
            return Ok("none".into());
        }
        let state: Option<Value> = ran.succeeded().then(|| serde_json::from_str(&ran.stdout).ok()).flatten();
        let status = state.and_then(|s| s["status"].as_str().map(str::to_owned));
        status.ok_or_else(|| format!("{} {:?}", ran.told(), ran.stdout))
    }

    pub fn wait_status(&self, expected: &str) -> bool {
        let end = Instant::now() + Duration::from_secs(3);
        loop {
            match self.status() {
                Ok(status) if status == expected => return true,
                _ if Instant::now() > end => return false,
                _ => std::thread::sleep(Duration::from_millis(2)),
            }
        }
    }

    fn must(&self, stdout: &str, args: &[&str]) -> Ran {
        let ran = self.call_to(stdout, args);
        assert!(ran.succeeded(), "{args:?}: {}", ran.told());
        ran
    }

    /// The container as the command needs it; for `start` with the process that waits.
    pub fn before(&self, command: &str) -> Option<i32> {
        self.forget_hooks();
        if Self::makes_a_container(command) {
            return None;
        }
        let needed = match command {
            "start" => "created",
            "delete" => "stopped",
            "resume" => "paused",
            _ => "running",
        };
        let now = self.status().unwrap_or_default();
        match (now.as_str(), needed) {
            (now, needed) if now == needed => {}
            ("running", "paused") => drop(self.must("o", &["pause", &self.id])),
            ("paused", "running") => drop(self.must("o", &["resume", &self.id])),
            (now, _) => {
                if now != "none" {
                    self.clean();
                }
                self.must("first", &["create", "--bundle", &self.bundle_dir(2), &self.id]);
                if needed != "created" {
                    self.must("o", &["start", &self.id]);
                    assert!(
                        self.wait_for_end("first"),
                        "the program says {:?}",
                        text(&self.out.join("first"))
                    );
                }
                match needed {
                    "paused" => drop(self.must("o", &["pause", &self.id])),
                    "stopped" => {
                        self.must("o", &["kill", &self.id, "KILL"]);
                        assert!(self.wait_status("stopped"), "it doesn't stop");
                    }
                    _ => {}
                }
            }
        }
        if command == "update" {
            self.must("o", &["update", "--resources", &self.resources_json("first"), &self.id]);
        }
        let pid = || {
            let state: Value =
                serde_json::from_str(&self.must("o", &["state", &self.id]).stdout).expect("JSON");
            state["pid"].as_i64().expect("a pid") as i32
        };
        (command == "start").then(pid)
    }

    pub fn can(&self, command: &str) -> bool {
        match command {
            "update" => self.limit.is_some(),
            // A user has no cgroup here to freeze.
            "pause" | "resume" => self.kind != Kind::Rootless,
            _ => true,
        }
    }

    /// Whatever it takes.
    pub fn clean(&self) {
        self.call(&["delete", "--force", &self.id]);
        if self.left(None, Duration::from_millis(300)).is_empty() {
            return;
        }
        for entry in fs::read_dir("/proc").expect("/proc").flatten() {
            let pid = entry.file_name().to_str().and_then(|n| n.parse::<i32>().ok());
            if let Some(pid) = pid.filter(|pid| *pid > 1 && *pid != std::process::id() as i32) {
                let _ = nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), nix::sys::signal::SIGKILL);
            }
        }
        self.call(&["delete", "--force", &self.id]);
        let _ = fs::remove_dir_all(self.lab.root().join(&self.id));
        for _ in 0..100 {
            if !self.cgroup.exists() || fs::remove_dir(&self.cgroup).is_ok() {
                break;
            }
            std::thread::sleep(Duration::from_millis(2));
        }
        let left = self.left(None, Duration::from_secs(3));
        if !left.is_empty() {
            eprintln!("what can't be cleaned is taken for given: {left}");
        }
    }

    /// The last: nothing is left of all points.
    pub fn end(&self) {
        self.clean();
        let _ = fs::remove_dir(self.lab.cgroups().join(self.lab.tag())); // not there if no container had a cgroup
    }

    /// A container of this id that is created, run to its end and deleted.
    pub fn run_again(&self) -> Ran {
        self.forget_hooks();
        self.call_to("traced", &["run", "--bundle", &self.bundle_dir(0), &self.id])
    }

    fn forget_hooks(&self) {
        let mut file = File::create(&self.hooks).expect("a file");
        file.flush().expect("written");
        fs::set_permissions(&self.hooks, fs::Permissions::from_mode(0o666)).expect("chmod");
    }

    // -- looking

    /// Whether the program of whoever writes there said all that it was asked.
    fn wait_for_end(&self, name: &str) -> bool {
        let end = Instant::now() + Duration::from_secs(5);
        while !text(&self.out.join(name)).contains(END) {
            if Instant::now() > end {
                return false;
            }
            std::thread::sleep(Duration::from_millis(1));
        }
        true
    }

    /// What holds a running container as the host sees it: its cgroup's members and limit; and which hooks have run.
    pub fn host_side(&self) -> Vec<String> {
        let mut facts = vec![];
        if self.kind != Kind::Rootless {
            let members = fs::read_to_string(self.cgroup.join("cgroup.procs"));
            facts.push(format!("members of the cgroup: {:?}", members.map(|m| m.lines().count()).ok()));
            let limit = self.limit.as_ref().map(|l| fs::read_to_string(self.cgroup.join(l.file)).ok());
            facts.push(format!("limit: {limit:?}"));
        }
        facts.extend(text(&self.hooks).lines().map(|line| format!("hook: {line}")));
        facts
    }

    /// What a successful command says that it did: the facts of the container that it made, none if it made none, or
    /// why it did not do it.
    pub fn outcome(
        &self,
        command: &str,
        ran: &Ran,
        seen: Option<Vec<String>>,
    ) -> Result<Vec<String>, String> {
        let json =
            || serde_json::from_str::<Value>(&ran.stdout).map_err(|_| format!("says {:?}", ran.stdout));
        let is = |expected: &str| match self.status() {
            Ok(status) if status == expected => Ok(vec![]),
            other => Err(format!("it is {other:?}, not {expected}")),
        };
        match command {
            "create" => {
                is("created")?;
                let started = self.call(&["start", &self.id]);
                if !started.succeeded() {
                    return Err(format!("start then: {}", started.told()));
                }
                self.facts_of_living("traced")
            }
            "run-d" => self.facts_of_living("traced"),
            "start" => self.facts_of_living("first"),
            "run" => {
                let mut facts = self.facts(&ran.stdout)?;
                facts.extend(seen.unwrap_or_default());
                Ok(facts)
            }
            "exec" => self.facts(&ran.stdout),
            "kill" => match self.wait_status("stopped") {
                true => Ok(vec![]),
                false => is("stopped"),
            },
            "pause" | "resume" => {
                let events = text(&self.cgroup.join("cgroup.events"));
                match events.contains("frozen 1") == (command == "pause") {
                    true => Ok(vec![]),
                    false => Err(format!("the cgroup says {events:?}")),
                }
            }
            "update" => {
                let limit = self.limit.as_ref().expect("a limit");
                let now = text(&self.cgroup.join(limit.file));
                match now.trim() == limit.second.to_string() {
                    true => Ok(vec![]),
                    false => Err(format!("the limit is {now:?}")),
                }
            }
            "state" => match json()?["status"].as_str() {
                Some("running") => Ok(vec![]),
                other => Err(format!("says {other:?}")),
            },
            "list" => {
                let list = json()?;
                let ours = |c: &Value| c["id"] == self.id.as_str() && c["status"] == "running";
                // One that can't be looked at is told of.
                match list.as_array().is_some_and(|l| l.iter().any(ours)) || !ran.stderr.trim().is_empty() {
                    true => Ok(vec![]),
                    false => Err(format!("says {list}")),
                }
            }
            _ => Ok(vec![]),
        }
    }

    fn facts_of_living(&self, name: &str) -> Result<Vec<String>, String> {
        self.wait_for_end(name);
        let mut facts = self.facts(&text(&self.out.join(name)))?;
        facts.extend(self.host_side());
        Ok(facts)
    }

    pub fn facts(&self, text: &str) -> Result<Vec<String>, String> {
        let facts = self.host.facts(text);
        facts.ok_or_else(|| format!("the program said only {:?}", &text[text.len().saturating_sub(100)..]))
    }
}

fn with_end(process: &Value, end: &str) -> Value {
    let mut process = process.clone();
    let phrases = PHRASES.iter().copied().chain([END, end]);
    process["args"] = std::iter::once("/bin/inside").chain(phrases).collect();
    process
}

fn text(path: &Path) -> String {
    fs::read(path).map(|b| String::from_utf8_lossy(&b).into_owned()).unwrap_or_default()
}

/// Whatever controller is there.
fn limit(cgroups: &Path) -> Option<Limit> {
    let known = [
        (
            "pids",
            Limit {
                file: "pids.max",
                first: 512,
                second: 1024,
                resources: |n| json!({ "pids": { "limit": n } }),
            },
        ),
        (
            "hugetlb",
            Limit {
                file: "hugetlb.2MB.max",
                first: 4 << 20,
                second: 8 << 20,
                resources: |n| json!({ "hugepageLimits": [{ "pageSize": "2MB", "limit": n }] }),
            },
        ),
    ];
    let there = text(&cgroups.join("cgroup.controllers"));
    known.into_iter().find(|(name, _)| there.split_whitespace().any(|c| c == *name)).map(|(_, limit)| limit)
}
