//! Many containers: one after the other, in batches, all alive at once, and mixed work of several callers for a while. All does
//! what it should, and nothing grows: no process, mount, cgroup or file of ours is left ([`unharmed`]), and the kernel holds
//! no more of those things that have no name.
//!
//! `SOAK=SECONDS` (`make soak`) is for long: 10,000 containers, 1,000 at once, and so many seconds of mixed work.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use integration::{rrunc, unharmed};
use spec_tests::{Lab, machine};

/// A hang is no slowness: no call takes longer, even when everything else runs too.
const LIMIT: Duration = Duration::from_secs(120);

/// The length of the long form; `None`: the short one.
fn soak() -> Option<Duration> {
    let seconds = std::env::var("SOAK").ok()?;
    Some(Duration::from_secs(seconds.parse().expect("SOAK is a number of seconds")))
}

fn count(short: usize, long: usize) -> usize {
    if soak().is_some() { long } else { short }
}

/// One caller, who notes nothing: the transcripts of a lab would grow themselves.
struct Caller {
    root: PathBuf,
    /// A directory of its own, in which only the output of its last call is.
    dir: PathBuf,
    /// Where programs may put what they don't clean up.
    tmp: PathBuf,
}

impl Caller {
    fn new(lab: &Lab, name: &str) -> Caller {
        let dir = lab.dir().join(name);
        let tmp = dir.join("tmp");
        fs::create_dir_all(&tmp).expect("a directory");
        Caller { root: lab.root(), dir, tmp }
    }

    fn spawn(&self, words: &[&str]) -> Child {
        let output = |name: &str| File::create(self.dir.join(name)).expect("a file");
        let mut command = Command::new(rrunc());
        command.arg("--root").arg(&self.root).args(words).env("TMPDIR", &self.tmp);
        command.stdin(Stdio::null()).stdout(output("out")).stderr(output("err")).spawn().expect("rrunc")
    }

    fn said(&self, name: &str) -> String {
        fs::read_to_string(self.dir.join(name)).unwrap_or_default()
    }

    /// Whether it succeeded.
    #[track_caller]
    fn tries(&self, words: &[&str]) -> bool {
        let mut child = self.spawn(words);
        let begun = Instant::now();
        loop {
            if let Some(status) = child.try_wait().expect("wait") {
                assert!(status.code().is_some(), "{words:?}: {status}");
                return status.success();
            }
            if begun.elapsed() > LIMIT {
                let _ = child.kill(); // it hangs
                panic!("{words:?} takes longer than {LIMIT:?}: {}", self.said("err"));
            }
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    #[track_caller]
    fn does(&self, words: &[&str]) {
        assert!(self.tries(words), "{words:?}: {}", self.said("err"));
    }

    /// It fails, and says why.
    #[track_caller]
    fn fails(&self, words: &[&str]) {
        assert!(!self.tries(words), "{words:?} succeeded: {}", self.said("out"));
        assert!(self.said("err").starts_with("rrunc: "), "{words:?}: {}", self.said("err"));
    }

    #[track_caller]
    fn status(&self, id: &str) -> String {
        self.does(&["state", id]);
        let state: serde_json::Value = serde_json::from_str(&self.said("out")).expect("JSON");
        state["status"].as_str().expect("a status").to_owned()
    }

    #[track_caller]
    fn wait_for(&self, id: &str, status: &str) {
        let begun = Instant::now();
        while self.status(id) != status {
            assert!(begun.elapsed() < LIMIT, "{id} never is {status}");
        }
    }
}

impl Drop for Caller {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            let left: Vec<_> = fs::read_dir(&self.tmp).expect("a directory").flatten().collect();
            assert!(left.is_empty(), "left in TMPDIR: {left:?}");
        }
    }
}

fn bundle(lab: &Lab, args: &[&str]) -> String {
    let bundle = lab.bundle().args(args.iter().copied());
    bundle.write();
    bundle.dir().to_string_lossy().into_owned()
}

/// What the kernel holds and nobody can be asked for by name: objects (slabinfo(5)), cgroups that are gone but in use, and
/// memory in KiB. The machine's, so others have their part in it.
struct Held(BTreeMap<&'static str, u64>);

/// Of each container there is at least one of these.
const OBJECTS: [&str; 6] =
    ["mnt_cache", "net_namespace", "uts_namespace", "pid_namespace", "user_namespace", "inotify_inode_mark"];

impl Held {
    fn take(cgroups: &Path) -> Held {
        let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
        let number = |text: &str, key: &str| {
            let line = text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix([' ', ':']))?;
            line.split_whitespace().next()?.parse::<u64>().ok()
        };
        let slabs = read("/proc/slabinfo");
        let memory = read("/proc/meminfo");
        let stat = read(&cgroups.join("cgroup.stat").to_string_lossy());
        // Not every kernel has a cache for each.
        let mut held: BTreeMap<_, _> =
            OBJECTS.into_iter().filter_map(|name| Some((name, number(&slabs, name)?))).collect();
        held.insert("dying cgroups", number(&stat, "nr_dying_descendants").expect("cgroup.stat"));
        let kernel = ["SUnreclaim", "Percpu", "KernelStack", "PageTables"].map(|key| number(&memory, key));
        held.insert("KiB of the kernel", kernel.into_iter().flatten().sum());
        Held(held)
    }

    /// That nothing has grown with the containers; what others on this machine do is not so much. Namespaces go a while
    /// after their last process.
    #[track_caller]
    fn assert_no_growth(&self, cgroups: &Path, containers: usize) {
        let begun = Instant::now();
        loop {
            let now = Held::take(cgroups);
            let growth: BTreeMap<_, _> =
                now.0.iter().map(|(name, n)| (*name, *n as i64 - self.0[name] as i64)).collect();
            let allowed = |name: &str| match name {
                "KiB of the kernel" => (128 << 10) + containers as i64 * 4,
                _ => 200 + containers as i64 / 4,
            };
            let grown: Vec<_> = growth.iter().filter(|(name, n)| **n > allowed(name)).collect();
            if grown.is_empty() {
                println!("{containers} containers; growth: {growth:?}");
                return;
            }
            assert!(begun.elapsed() < LIMIT, "{containers} containers left {grown:?}");
            std::thread::sleep(Duration::from_millis(100));
        }
    }
}

/// A test after which nothing has grown; it says how many containers there were.
fn ungrown(why: &str, test: impl Fn(&Lab) -> usize + Sync) {
    unharmed(why, |lab| {
        let held = Held::take(lab.cgroups());
        let begun = Instant::now();
        let containers = test(lab);
        println!("{containers} containers in {:?}", begun.elapsed());
        held.assert_no_growth(lab.cgroups(), containers);
    });
}

#[test]
fn one_after_the_other() {
    ungrown("runtime.md#lifecycle", |lab| {
        let (bundle, caller) = (bundle(lab, &["true"]), Caller::new(lab, "caller"));
        let containers = count(400, 10_000);
        for n in 0..containers {
            let id = format!("{}-{n}", lab.tag());
            caller.does(&["create", "--bundle", &bundle, &id]);
            caller.does(&["start", &id]);
            caller.wait_for(&id, "stopped");
            caller.does(&["delete", &id]);
        }
        containers
    });
}

#[test]
fn in_batches_of_twenty() {
    ungrown("runtime.md#lifecycle", |lab| {
        let bundle = bundle(lab, &["true"]);
        let batches = count(20, 200);
        let callers: Vec<_> = (0..20).map(|n| Caller::new(lab, &format!("caller-{n}"))).collect();
        for batch in 0..batches {
            let start = |(n, caller): (usize, &Caller)| {
                caller.spawn(&["run", "--bundle", &bundle, &format!("{}-{batch}-{n}", lab.tag())])
            };
            let children: Vec<_> = callers.iter().enumerate().map(start).collect();
            for (mut child, caller) in children.into_iter().zip(&callers) {
                let status = child.wait().expect("wait");
                assert!(status.success(), "{status}: {}", caller.said("err"));
            }
        }
        batches * callers.len()
    });
}

#[test]
fn all_alive_at_once() {
    ungrown("runtime.md#lifecycle", |lab| {
        let (bundle, caller) = (bundle(lab, &["sleep", "10000"]), Caller::new(lab, "caller"));
        let containers = count(100, 1000);
        let ids: Vec<_> = (0..containers).map(|n| format!("{}-{n}", lab.tag())).collect();
        for id in &ids {
            caller.does(&["run", "--detach", "--bundle", &bundle, id]);
        }
        caller.does(&["list", "--quiet"]);
        let mut listed: Vec<_> = caller.said("out").lines().map(str::to_owned).collect();
        let mut sorted = ids.clone();
        listed.sort();
        sorted.sort();
        assert_eq!(listed, sorted);
        for id in &ids {
            assert_eq!(caller.status(id), "running");
            caller.does(&["exec", id, "true"]);
        }
        for id in &ids {
            caller.does(&["delete", "--force", id]);
        }
        containers
    });
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Is {
    Created,
    Running,
    Paused,
}

/// What a caller does at random, and what it must come to.
struct Worker<'a> {
    caller: Caller,
    tag: String,
    bundles: &'a Bundles,
    alive: Vec<(String, Is)>,
    seed: u64,
    made: usize,
}

struct Bundles {
    sleeps: String,
    ends: String,
    /// Each fails at another time.
    bad: Vec<String>,
}

impl Bundles {
    fn new(lab: &Lab) -> Bundles {
        let written = |bundle: spec_tests::Bundle| {
            bundle.write();
            bundle.dir().to_string_lossy().into_owned()
        };
        let missing = lab.dir().join("missing");
        let bad = [
            lab.bundle().args(["/no/such"]),
            lab.bundle().mount("/data", "bind", &missing.to_string_lossy(), &["bind"]),
            lab.bundle().mount("/data", "no-such-type", "none", &[]),
            lab.bundle().hook("createRuntime", ["exit 3"]),
            lab.bundle().hook("createContainer", ["exit 3"]),
            lab.bundle().set("/hostname", 5),
            lab.bundle().set("/process/cwd", "/bin/sh"),
        ];
        Bundles {
            sleeps: bundle(lab, &["sleep", "10000"]),
            ends: bundle(lab, &["true"]),
            bad: bad.into_iter().map(written).collect(),
        }
    }
}

impl Worker<'_> {
    /// Below `below`, the same ones in each run.
    fn random(&mut self, below: usize) -> usize {
        self.seed = self.seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.seed >> 33) as usize % below
    }

    fn new_id(&mut self) -> String {
        self.made += 1;
        format!("{}-{}", self.tag, self.made)
    }

    fn step(&mut self) {
        const MOST: usize = 12;
        let work = self.random(14);
        match (work, self.alive.len()) {
            (0..=2, 0..MOST) | (_, 0) => {
                let id = self.new_id();
                self.caller.does(&["create", "--bundle", &self.bundles.sleeps, &id]);
                self.alive.push((id, Is::Created));
            }
            (3, _) => {
                let id = self.new_id();
                self.caller.does(&["run", "--bundle", &self.bundles.ends, &id]);
            }
            (4, _) => {
                let (id, bad) = (self.new_id(), self.random(self.bundles.bad.len()));
                self.caller.fails(&["create", "--bundle", &self.bundles.bad[bad], &id]);
                self.caller.fails(&["state", &id]);
            }
            (5, _) => {
                self.caller.does(&["list", "--quiet"]);
                let listed = self.caller.said("out");
                let prefix = format!("{}-", self.tag);
                let mut own: Vec<_> = listed.lines().filter(|id| id.starts_with(&prefix)).collect();
                let mut alive: Vec<_> = self.alive.iter().map(|(id, _)| id.as_str()).collect();
                own.sort_unstable();
                alive.sort_unstable();
                assert_eq!(own, alive);
            }
            (work, _) => self.with_one(work),
        }
    }

    fn with_one(&mut self, work: usize) {
        let chosen = self.random(self.alive.len());
        let (id, is) = self.alive[chosen].clone();
        let caller = &self.caller;
        let expect = |success: bool, words: &[&str]| match success {
            true => caller.does(words),
            false => caller.fails(words),
        };
        match work {
            0..=6 => {
                expect(is == Is::Created, &["start", &id]);
                if is == Is::Created {
                    self.alive[chosen].1 = Is::Running;
                }
            }
            7 | 8 => expect(is != Is::Paused, &["exec", &id, "true"]),
            9 => match is {
                Is::Paused => {
                    caller.does(&["resume", &id]);
                    self.alive[chosen].1 = Is::Running;
                }
                Is::Running => {
                    caller.does(&["pause", &id]);
                    self.alive[chosen].1 = Is::Paused;
                }
                Is::Created => caller.fails(&["resume", &id]),
            },
            10 => {
                let status = match is {
                    Is::Created => "created",
                    Is::Running => "running",
                    Is::Paused => "paused",
                };
                assert_eq!(caller.status(&id), status, "{id}");
                caller.does(&["ps", &id]);
            }
            11 => expect(machine::controller("pids"), &["update", "--pids-limit", "100", &id]),
            12 => {
                expect(is == Is::Created, &["delete", &id]);
                if is == Is::Created {
                    self.alive.swap_remove(chosen);
                }
            }
            _ => {
                caller.does(&["kill", &id, "KILL"]);
                match is {
                    Is::Paused => {} // it may be dead only once it goes on
                    _ => caller.wait_for(&id, "stopped"),
                }
                caller.does(&["delete", "--force", &id]);
                self.alive.swap_remove(chosen);
            }
        }
    }

    fn end(mut self) -> usize {
        for (id, _) in std::mem::take(&mut self.alive) {
            self.caller.does(&["delete", "--force", &id]);
        }
        self.made
    }
}

#[test]
fn mixed_work_of_several_callers() {
    ungrown("runtime.md#lifecycle", |lab| {
        let bundles = Bundles::new(lab);
        let until = Instant::now() + soak().unwrap_or(Duration::from_secs(10));
        let work = |seed: u64| {
            let caller = Caller::new(lab, &format!("caller-{seed}"));
            let tag = format!("{}-w{seed}", lab.tag());
            Worker { caller, tag, bundles: &bundles, alive: vec![], seed, made: 0 }
        };
        let workers: Vec<_> = (1..=4).map(work).collect();
        std::thread::scope(|scope| {
            let run = |mut worker: Worker| {
                let mut steps = 0;
                while Instant::now() < until {
                    worker.step();
                    steps += 1;
                }
                (steps, worker.end())
            };
            // Threads of this one are in the lab's namespaces, as it is.
            let threads: Vec<_> =
                workers.into_iter().map(|worker| scope.spawn(move || run(worker))).collect();
            let done = threads.into_iter().map(|thread| thread.join().expect("a worker"));
            let (steps, made) = done.fold((0, 0), |(steps, made), (s, m)| (steps + s, made + m));
            println!("{steps} pieces of work");
            made
        })
    });
}
