//! rrunc is killed, or runs twice on one container, or the machine came up again: what is left can be deleted,
//! and then nothing is left.

use std::fs;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use integration::{rrunc, unharmed};
use serde_json::{Value, json};
use spec_tests::{Container, Lab, eventually};

/// rrunc on the lab's state directory, in a process group of its own.
fn spawn(lab: &Lab, args: &[&str]) -> Child {
    let mut command = Command::new(rrunc());
    command.arg("--root").arg(lab.root()).args(args).process_group(0);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command.spawn().expect("rrunc")
}

fn with_bundle(lab: &Lab, command: &str, c: &Container) -> Child {
    c.bundle.write();
    spawn(lab, &[command, "--bundle", &c.bundle.dir().to_string_lossy(), &c.id])
}

/// SIGKILL for rrunc alone: what it made lives on if it can.
fn kill(mut child: Child) {
    child.kill().expect("kill");
    child.wait().expect("wait");
}

/// A generator of delays: no two runs of a test need be equal, but each says what it did in its transcript.
struct Delays(u64);

impl Delays {
    fn new() -> Delays {
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
        Delays(now.expect("after 1970").as_nanos() as u64 | 1)
    }

    /// xorshift64.
    fn below(&mut self, limit: Duration) -> Duration {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        Duration::from_nanos(self.0 % limit.as_nanos() as u64)
    }
}

/// How long this takes here and now, the longest of 3.
fn duration(mut work: impl FnMut()) -> Duration {
    let one = |_| {
        let begin = Instant::now();
        work();
        begin.elapsed()
    };
    (0..3).map(one).max().expect("three of them")
}

/// As an administrator would; what there was is of no account.
fn delete(lab: &Lab, c: &Container) {
    lab.run(["delete", "--force", &c.id]).ok();
    assert!(!lab.root().join(&c.id).exists(), "delete --force left the state directory");
}

#[test]
fn a_killed_create_can_be_deleted() {
    unharmed("kill -9", |lab| {
        let c = lab
            .bundle()
            .mount("/tmp", "tmpfs", "tmpfs", &[])
            .set("/linux/maskedPaths", json!(["/proc/keys"]))
            .args(["sleep", "60"])
            .container();
        let usual = duration(|| {
            with_bundle(lab, "create", &c).wait().expect("wait");
            delete(lab, &c);
        });
        let mut delays = Delays::new();
        let mut left = 0;
        for _ in 0..100 {
            let child = with_bundle(lab, "create", &c);
            let delay = delays.below(usual);
            std::thread::sleep(delay);
            kill(child);
            lab.note(&format!("killed after {delay:?}"));
            left += i32::from(lab.root().join(&c.id).exists());
            // Any other command must at least come to an end.
            lab.run(["list"]);
            lab.run(["state", &c.id]);
            delete(lab, &c);
        }
        assert!(left > 10, "only {left} of 100 had begun");
    });
}

#[test]
fn a_killed_run_can_be_deleted() {
    unharmed("kill -9", |lab| {
        let c = lab.bundle().args(["sleep", "60"]).container();
        let mut delays = Delays::new();
        for _ in 0..50 {
            let child = with_bundle(lab, "run", &c);
            std::thread::sleep(delays.below(Duration::from_millis(40)));
            kill(child);
            delete(lab, &c);
        }
    });
}

/// A killed start or delete either did its work or can be done again.
#[test]
fn a_killed_start_or_delete_can_be_repeated() {
    unharmed("kill -9", |lab| {
        let c = lab.bundle().args(["sleep", "60"]).container();
        let mut delays = Delays::new();
        for round in 0..60 {
            c.create(&[]).ok();
            let args: &[&str] =
                if round % 2 == 0 { &["start", &c.id] } else { &["delete", "--force", &c.id] };
            let child = spawn(lab, args);
            std::thread::sleep(delays.below(Duration::from_millis(12)));
            kill(child);
            if lab.root().join(&c.id).exists() {
                let status = lab.run(["state", &c.id]);
                lab.note(&status.stdout());
            }
            delete(lab, &c);
        }
    });
}

/// At each halt, the moment is certain: a hook that lasts keeps rrunc there.
#[test]
fn a_create_killed_in_its_hooks_can_be_deleted() {
    unharmed("kill -9", |lab| {
        for list in ["prestart", "createRuntime", "createContainer", "startContainer", "poststart"] {
            let reached = lab.dir().join(list);
            let to = match list {
                "startContainer" => "create /reached".into(),
                _ => format!("create {}", reached.display()),
            };
            let c = lab.bundle().args(["sleep", "60"]).hook(list, [to.as_str(), "sleep"]).container();
            let inside = c.bundle.path("/reached");
            let child = with_bundle(lab, "run", &c);
            eventually("the hook", || (reached.exists() || inside.exists()).then_some(()));
            kill(child);
            delete(lab, &c);
            for line in processes_of(&c.id) {
                // A hook of the host is in no cgroup of the container: whoever kills rrunc has it left.
                assert!(line.contains("inside"), "{list}: {line}");
            }
            end_hooks(&reached.to_string_lossy());
        }
    });
}

/// Command lines that name `text`.
fn processes_of(text: &str) -> Vec<String> {
    let pids = fs::read_dir("/proc").expect("/proc").flatten();
    let lines = pids.filter_map(|e| fs::read(e.path().join("cmdline")).ok());
    lines.map(|l| String::from_utf8_lossy(&l).replace('\0', " ")).filter(|l| l.contains(text)).collect()
}

/// Kills our hooks that were orphaned, by their pids.
fn end_hooks(text: &str) {
    for entry in fs::read_dir("/proc").expect("/proc").flatten() {
        let line = fs::read(entry.path().join("cmdline")).unwrap_or_default();
        let pid = entry.file_name().to_str().and_then(|n| n.parse().ok());
        if let (Some(pid), true) = (pid, String::from_utf8_lossy(&line).contains(text)) {
            if pid != std::process::id() as i32 {
                let _ = nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), nix::sys::signal::SIGKILL); // gone is fine
            }
        }
    }
}

/// Two commands at once: exactly one succeeds at what only one can do, and the state can be read all the time.
#[test]
fn two_commands_at_once_do_not_corrupt() {
    unharmed("concurrency", |lab| {
        let c = lab.bundle().args(["sleep", "60"]).container();
        let succeeded = |children: Vec<Child>| {
            let codes = children.into_iter().map(|mut child| child.wait().expect("wait").code());
            codes.filter(|code| *code == Some(0)).count()
        };
        for round in 0..20 {
            assert_eq!(
                succeeded((0..3).map(|_| with_bundle(lab, "create", &c)).collect()),
                1,
                "create, round {round}"
            );
            assert_eq!(c.status(), "created");
            assert_eq!(
                succeeded((0..3).map(|_| spawn(lab, &["start", &c.id])).collect()),
                1,
                "start, round {round}"
            );
            assert_eq!(c.status(), "running");
            let mut watcher = spawn(lab, &["state", &c.id]);
            let ends = [
                ["kill", c.id.as_str(), "KILL"],
                ["delete", "--force", c.id.as_str()],
                ["delete", "--force", c.id.as_str()],
            ];
            assert!(succeeded(ends.iter().map(|args| spawn(lab, args)).collect()) >= 2, "end, round {round}");
            watcher.wait().expect("wait");
            assert!(!lab.root().join(&c.id).exists(), "round {round}");
        }
    });
}

/// Whoever asks for the state while others create and delete gets a state or "does not exist", never less.
#[test]
fn a_state_is_whole_or_not_there() {
    unharmed("concurrency", |lab| {
        let c = lab.bundle().args(["sleep", "60"]).container();
        let (over, root, id) = (AtomicBool::new(false), lab.root(), c.id.clone());
        let over = &over;
        std::thread::scope(|scope| {
            let watcher = scope.spawn(move || {
                let mut seen = std::collections::BTreeSet::new();
                while !over.load(Ordering::Relaxed) {
                    let out = Command::new(rrunc())
                        .arg("--root")
                        .arg(&root)
                        .args(["state", &id])
                        .output()
                        .expect("rrunc");
                    let told = String::from_utf8_lossy(&out.stderr).into_owned();
                    if out.status.success() {
                        let state: Value = serde_json::from_slice(&out.stdout).expect("JSON");
                        seen.insert(state["status"].as_str().expect("a status").to_owned());
                    } else {
                        assert!(told.contains("does not exist"), "{told}");
                    }
                }
                seen
            });
            for _ in 0..30 {
                c.create(&[]).ok();
                c.start().ok();
                delete(lab, &c);
            }
            over.store(true, Ordering::Relaxed);
            let seen = watcher.join().expect("the watcher");
            assert!(seen.len() > 1, "it saw only {seen:?}");
        });
    });
}

/// What state.json says of a process is believed only if it is still that process: not after the pid was given
/// to another, and not after a reboot, which changes every start time.
#[test]
fn another_process_with_the_pid_is_not_the_container() {
    unharmed("pid reuse", |lab| {
        for change in ["pid", "start time", "boot"] {
            let c = lab.bundle().args(["sleep", "60"]).start();
            let (file, cgroup) = (lab.root().join(&c.id).join("state.json"), c.cgroup());
            c.kill(&["KILL"]).ok();
            c.wait_for("stopped");
            std::thread::sleep(Duration::from_millis(20)); // start times are counted in ticks of 10 ms
            let mut stranger = Command::new("sleep").arg("60").spawn().expect("sleep");
            let text = fs::read_to_string(&file).expect("state.json");
            let mut record: Value = serde_json::from_str(&text).expect("JSON");
            record["pid"] = json!(stranger.id());
            let stat = fs::read_to_string(format!("/proc/{}/stat", stranger.id())).expect("its stat");
            let start_time: u64 = stat.split(' ').nth(21).expect("field 22").parse().expect("a number");
            match change {
                "pid" => {}
                "boot" => {
                    record["startTime"] = json!(start_time);
                    record["bootId"] = json!("0f7f9e3e-8f4b-4a48-8f2a-000000000000");
                }
                _ => record["startTime"] = json!(start_time + 1),
            }
            fs::write(&file, record.to_string()).expect("state.json");
            assert_eq!(c.status(), "stopped", "{change}");
            c.kill(&["KILL"]).fails();
            c.start().fails();
            delete(lab, &c);
            assert!(stranger.try_wait().expect("wait").is_none(), "the stranger was killed ({change})");
            kill(stranger);
            if change == "boot" {
                // One of that name was made since then, by somebody else.
                fs::remove_dir(&cgroup).expect("it stays");
            }
            assert!(!cgroup.exists(), "{change}");
        }
    });
}
