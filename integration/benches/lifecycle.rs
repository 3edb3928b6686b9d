//! How long a container takes: rrunc beside crun, runc and the floor (floor.c), on one bundle, in one run.
//!
//! Rounds in which every runtime has its turn, each round beginning with another; medians, and medians of the
//! ratios within a round, so that a machine that is busy for a while spoils all alike. Everything happens in a
//! mount namespace of its own with cgroup2 on /sys/fs/cgroup and memory for files, as on most hosts.
//!
//! `ROUNDS` (60); `RRUNC`, `CRUN`, `RUNC`: other binaries, or empty for none.

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};
use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::wait::{WaitPidFlag, waitpid};
use nix::unistd::Pid;
use serde_json::{Value, json};

const WORK: &str = "/run/bench"; // on the memory file system that is mounted there

struct Runtime {
    name: String,
    program: PathBuf,
    root: PathBuf,
}

fn main() {
    // `cargo test --benches` asks for nothing that this does.
    if std::env::args().any(|arg| arg == "--test") {
        return;
    }
    let top = Path::new(env!("CARGO_MANIFEST_DIR")).join("..").canonicalize().expect("the repository");
    let runtimes = runtimes(&top);
    assert!(!runtimes.is_empty(), "no runtime to measure: run `make bench`, or set RRUNC");
    let rounds = std::env::var("ROUNDS").map_or(60, |n| n.parse().expect("ROUNDS is a number"));
    let floor = own_world(&top);
    let plain = bundle("plain", None);
    let seccomp = bundle("seccomp", Some(docker_profile(&top)));
    println!("{}\n", machine(&runtimes, rounds));

    let header: Vec<_> = runtimes.iter().map(|r| r.name.clone()).collect();
    println!("| median ms | {} | floor | rrunc : crun | rrunc : runc | rrunc : floor |", header.join(" | "));
    println!("|---|{}", "--:|".repeat(header.len() + 4));
    let mut faults = Vec::new();
    for (name, bundle, cold) in [
        ("", &plain, false),
        (", Docker's seccomp profile", &seccomp, false),
        (", the same, cold cache", &seccomp, true),
    ] {
        let mut runs = Table::new(&runtimes, Some("floor"));
        for round in 0..rounds {
            for at in turns(round, runtimes.len() + 1) {
                let time = match runtimes.get(at) {
                    Some(runtime) => {
                        if cold {
                            let _ = fs::remove_dir_all(runtime.root.join(".cache"));
                        }
                        runtime.time(&["run", "--bundle", path(bundle), "bench"])
                    }
                    None => {
                        timed(Command::new(&floor).arg(bundle.join("rootfs")).arg("/sys/fs/cgroup/floor"))
                    }
                };
                runs.add(at, time);
            }
        }
        runs.print(&format!("run{name}"));
        if cold {
            continue;
        }
        let mut steps: Vec<_> =
            ["create", "start", "state", "delete"].map(|s| (s, Table::new(&runtimes, None))).into();
        let mut sums = Table::new(&runtimes, None);
        for round in 0..rounds {
            for at in turns(round, runtimes.len()) {
                let times = runtimes[at].lifecycle(bundle);
                sums.add(at, times.iter().sum::<Duration>() - times[2]);
                for ((_, table), time) in steps.iter_mut().zip(times) {
                    table.add(at, time);
                }
            }
        }
        sums.print(&format!("create + start + delete{name}"));
        exec(&runtimes, bundle, rounds).print(&format!("exec{name}"));
        for (step, table) in &steps {
            if name.is_empty() || *step == "state" {
                table.print(&format!("{step}{name}"));
            }
        }
        if name.is_empty() {
            faults = runtimes.iter().map(|r| (r.name.clone(), r.cost(bundle))).collect();
        }
    }
    println!("\n| one run | page faults | user ms | system ms |\n|---|--:|--:|--:|");
    for (name, (faults, user, system)) in faults {
        println!("| {name} | {faults} | {user:.1} | {system:.1} |");
    }
}

/// Another program in a container that sleeps, one for each runtime.
fn exec(runtimes: &[Runtime], bundle: &Path, rounds: usize) -> Table {
    let file = bundle.join("config.json");
    let text = fs::read_to_string(&file).expect("config.json");
    fs::write(&file, text.replace(r#"["/bin/true"]"#, r#"["/bin/sleep","10000"]"#)).expect("config.json");
    for runtime in runtimes {
        runtime.time(&["run", "--detach", "--bundle", path(bundle), &runtime.sleeping()]);
    }
    let mut table = Table::new(runtimes, None);
    for round in 0..rounds {
        for at in turns(round, runtimes.len()) {
            let id = runtimes[at].sleeping();
            table.add(at, runtimes[at].time(&["exec", &id, "/bin/true"]));
        }
    }
    for runtime in runtimes {
        runtime.time(&["delete", "--force", &runtime.sleeping()]);
    }
    fs::write(&file, text).expect("config.json");
    table
}

/// The order of a round: each begins with another.
fn turns(round: usize, count: usize) -> impl Iterator<Item = usize> {
    (0..count).map(move |i| (round + i) % count)
}

fn runtimes(top: &Path) -> Vec<Runtime> {
    let controls =
        Command::new(top.join("spec-tests/validation/controls")).arg("forky").output().expect("run controls");
    let controls = PathBuf::from(String::from_utf8_lossy(&controls.stdout).trim());
    let mut found = Vec::new();
    for (name, variable, default) in [
        ("rrunc", "RRUNC", top.join("build/rrunc")),
        ("crun", "CRUN", controls.join("crun")),
        ("runc", "RUNC", controls.join("runc")),
    ] {
        let program = std::env::var_os(variable).map_or(default, PathBuf::from);
        match program.exists() {
            true => found.push(Runtime { name: name.into(), program, root: PathBuf::from(WORK).join(name) }),
            false => eprintln!("{name}: {} is missing, left out", program.display()),
        }
    }
    found
}

/// Namespaces of our own with what the runtimes insist on; builds the floor.
fn own_world(top: &Path) -> PathBuf {
    unshare(CloneFlags::CLONE_NEWNS).expect("a mount namespace: are you root?");
    let none = None::<&str>;
    mount(none, "/", none, MsFlags::MS_REC | MsFlags::MS_PRIVATE, none)
        .expect("keep our mounts to ourselves");
    mount(Some("none"), "/sys/fs/cgroup", Some("cgroup2"), MsFlags::empty(), none).expect("mount cgroup2");
    mount(Some("none"), "/run", Some("tmpfs"), MsFlags::empty(), none).expect("mount tmpfs");
    fs::create_dir(WORK).expect("a directory");
    nix::sys::prctl::set_child_subreaper(true).expect("reap containers");
    let floor = Path::new(WORK).join("floor");
    let source = top.join("integration/benches/floor.c");
    let built = Command::new("cc").args(["-O2", "-static", "-o"]).arg(&floor).arg(source).status();
    assert!(built.expect("cc").success(), "floor.c");
    floor
}

/// A busybox with the default configuration, that all of them take.
fn bundle(name: &str, profile: Option<Value>) -> PathBuf {
    let dir = Path::new(WORK).join(name);
    for sub in ["bin", "dev", "proc", "sys", "etc"] {
        fs::create_dir_all(dir.join("rootfs").join(sub)).expect("a root file system");
    }
    for name in ["true", "sleep"] {
        let program = dir.join("rootfs/bin").join(name);
        fs::copy("/bin/busybox", program).expect("apt-get install busybox-static");
    }
    let mut config: Value = serde_json::from_str(&rrunc::spec::default::default_config(None)).expect("JSON");
    config["ociVersion"] = json!("1.0.2");
    config["process"]["terminal"] = json!(false);
    config["process"]["args"] = json!(["/bin/true"]);
    if let Some(profile) = profile {
        config["linux"]["seccomp"] = profile;
    }
    fs::write(dir.join("config.json"), config.to_string()).expect("config.json");
    dir
}

fn docker_profile(top: &Path) -> Value {
    let text = fs::read_to_string(top.join("spec-tests/testdata/docker.json")).expect("testdata");
    serde_json::from_str::<Value>(&text).expect("JSON")["linux"]["seccomp"].take()
}

/// From spawn to exit.
fn timed(command: &mut Command) -> Duration {
    let before = Instant::now();
    let status = command.stdin(Stdio::null()).stdout(Stdio::null()).status();
    let time = before.elapsed();
    assert!(status.is_ok_and(|status| status.success()), "{command:?} failed");
    time
}

fn path(path: &Path) -> &str {
    path.to_str().expect("UTF-8")
}

impl Runtime {
    fn time<S: AsRef<OsStr>>(&self, args: &[S]) -> Duration {
        timed(Command::new(&self.program).arg("--root").arg(&self.root).args(args))
    }

    /// An id of its own, since the cgroups are named after it.
    fn sleeping(&self) -> String {
        format!("sleeping-{}", self.name)
    }

    /// create, start, state of the stopped container, delete; what the program itself takes isn't counted.
    fn lifecycle(&self, bundle: &Path) -> [Duration; 4] {
        let pid_file = Path::new(WORK).join("pid");
        let create = self.time(&["create", "--bundle", path(bundle), "--pid-file", path(&pid_file), "bench"]);
        let pid: i32 = fs::read_to_string(&pid_file).expect("a pid file").parse().expect("a pid");
        let start = self.time(&["start", "bench"]);
        waitpid(Pid::from_raw(pid), Some(WaitPidFlag::empty())).expect("the container is our child by now");
        [create, start, self.time(&["state", "bench"]), self.time(&["delete", "bench"])]
    }

    /// Page faults, and milliseconds of processor time, of one run with all that it starts and waits for.
    fn cost(&self, bundle: &Path) -> (i64, f64, f64) {
        let usage = || getrusage(UsageWho::RUSAGE_CHILDREN).expect("getrusage");
        const RUNS: i64 = 20;
        let before = usage();
        for _ in 0..RUNS {
            self.time(&["run", "--bundle", path(bundle), "bench"]);
        }
        let after = usage();
        let ms = |time: nix::sys::time::TimeVal| time.tv_sec() as f64 * 1e3 + time.tv_usec() as f64 / 1e3;
        (
            (after.minor_page_faults() - before.minor_page_faults()) / RUNS,
            (ms(after.user_time()) - ms(before.user_time())) / RUNS as f64,
            (ms(after.system_time()) - ms(before.system_time())) / RUNS as f64,
        )
    }
}

/// Times by contestant and round.
struct Table {
    names: Vec<String>,
    times: Vec<Vec<f64>>,
}

impl Table {
    fn new(runtimes: &[Runtime], one_more: Option<&str>) -> Table {
        let names: Vec<_> =
            runtimes.iter().map(|r| r.name.clone()).chain(one_more.map(str::to_string)).collect();
        Table { times: vec![vec![]; names.len()], names }
    }

    fn add(&mut self, at: usize, time: Duration) {
        self.times[at].push(time.as_secs_f64() * 1e3);
    }

    fn of(&self, name: &str) -> Option<&Vec<f64>> {
        self.names.iter().position(|n| n == name).map(|at| &self.times[at])
    }

    fn print(&self, what: &str) {
        let cell =
            |name: &str| self.of(name).map_or("".into(), |times| format!("{:.2}", median(times.clone())));
        let ratio = |other: &str| match (self.of("rrunc"), self.of(other)) {
            (Some(ours), Some(theirs)) => {
                format!("{:.2}", median(ours.iter().zip(theirs).map(|(a, b)| a / b).collect()))
            }
            _ => String::new(),
        };
        let runtimes = self.names.iter().filter(|name| *name != "floor");
        let cells: Vec<_> = runtimes.map(|name| cell(name)).collect();
        let ratios = ["crun", "runc", "floor"].map(ratio).join(" | ");
        println!("| {what} | {} | {} | {ratios} |", cells.join(" | "), cell("floor"));
    }
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}

fn machine(runtimes: &[Runtime], rounds: usize) -> String {
    let system = nix::sys::utsname::uname().expect("uname");
    let cpus = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = cpus.lines().find_map(|line| line.strip_prefix("model name")).unwrap_or(": unknown");
    let count = cpus.lines().filter(|line| line.starts_with("processor")).count();
    let load = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    let versions = runtimes.iter().map(|runtime| {
        let out = Command::new(&runtime.program).arg("--version").output().expect("--version");
        String::from_utf8_lossy(&out.stdout).lines().next().unwrap_or_default().to_string()
    });
    format!(
        "{}; Linux {}; {count} CPUs ({}); load {}; {rounds} rounds",
        versions.collect::<Vec<_>>().join(", "),
        system.release().to_string_lossy(),
        model.trim_start_matches([' ', '\t', ':']),
        load.split(' ').next().unwrap_or_default(),
    )
}
