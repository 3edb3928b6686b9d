//! A container that keeps the runtime waiting: with a lease, a fifo or a file system that never answers where a plain file
//! belongs. Who asks is told after a bounded time, and nobody else waits.

use std::fs::{self, File, OpenOptions};
use std::os::fd::AsRawFd;
use std::os::unix::fs::symlink;
use std::time::{Duration, Instant};

use integration::{Silent, unharmed};
use nix::sys::stat::Mode;
use serde_json::Value;
use spec_tests::{Container, Lab, Ran, eventually};

/// A container that sleeps, whose /etc/passwd is `source` of the host; a program that is executed in it has no HOME.
fn sleeping<'a>(lab: &'a Lab, source: &str) -> Container<'a> {
    let bundle = lab.bundle().mount("/etc/passwd", "bind", source, &["bind"]);
    bundle.set("/process/env", ["PATH=/bin", "HOME=/root"]).args(["sleep", "1000"]).start()
}

const WITHOUT_HOME: [&str; 3] = ["exec", "--env", "HOME="];

fn exec(c: &Container) -> Ran {
    c.lab().run(WITHOUT_HOME.into_iter().chain([&*c.id, "sh", "-c", "echo home=$HOME"]))
}

/// The write lease of fcntl(2), which makes others wait for 45 s.
#[allow(unsafe_code)] // nix has no leases
fn lease(file: &File) {
    const F_SETSIG: i32 = 10; // of asm-generic/fcntl.h
    // SAFETY: integers only.
    let done = unsafe {
        // Who breaks the lease is told of by a signal that nobody minds.
        libc::fcntl(file.as_raw_fd(), F_SETSIG, libc::SIGURG);
        libc::fcntl(file.as_raw_fd(), libc::F_SETLEASE, libc::F_WRLCK)
    };
    assert_eq!(done, 0, "a lease: {}", std::io::Error::last_os_error());
}

fn cpu_seconds(pid: i32) -> f64 {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let fields: Vec<_> = stat.rsplit(") ").next().unwrap_or_default().split(' ').collect();
    let ticks = |n: usize| fields.get(n).and_then(|f| f.parse::<f64>().ok()).unwrap_or(0.0);
    (ticks(11) + ticks(12)) / 100.0
}

/// rrunc 0.1.0 tried again until the kernel took the lease away, and spent a CPU on it.
#[test]
fn a_lease_on_passwd_is_not_waited_for() {
    unharmed("issue: exec and a lease", |lab| {
        let path = lab.dir().join("passwd");
        fs::write(&path, "root:x:0:0:root:/home:/bin/sh\n").expect("a file");
        let c = sleeping(lab, &path.to_string_lossy());
        let file = OpenOptions::new().read(true).write(true).open(&path).expect("the file");
        lease(&file);
        let begun = Instant::now();
        let ran = exec(&c).ok();
        assert!(begun.elapsed() < Duration::from_secs(20), "it took {:?}", begun.elapsed());
        assert_eq!(ran.stdout(), "home=/\n");
        for part in ["warning", "/etc/passwd", "openat2: ", "lease"] {
            assert!(ran.stderr().contains(part), "{part}: {}", ran.stderr());
        }
        drop(file);
        assert_eq!(exec(&c).ok().stdout(), "home=/home\n");
    });
}

/// A fifo has no end, a device does things when it is opened, a file with holes may be of any size.
#[test]
fn what_is_no_passwd_is_told_of() {
    unharmed("CVE-2026-47262", |lab| {
        let run = |make: &dyn Fn(&std::path::Path)| {
            let bundle =
                lab.bundle().args(["sh", "-c", "echo home=$HOME"]).set("/process/env", ["PATH=/bin"]);
            let path = bundle.path("/etc/passwd");
            fs::remove_file(&path).expect("a file");
            make(&path);
            let ran = bundle.run().ok();
            assert_eq!(ran.stdout(), "home=/\n");
            ran.stderr()
        };
        let warns = |make: &dyn Fn(&std::path::Path), says: &str| {
            let stderr = run(make);
            assert!(stderr.contains("warning: HOME is /") && stderr.contains(says), "{says}: {stderr}");
        };
        warns(&|path| fs::create_dir(path).expect("a directory"), "/etc/passwd: openat2: is a directory");
        warns(&|path| nix::unistd::mkfifo(path, Mode::S_IRWXU).expect("a fifo"), "it is no plain file");
        warns(&|path| symlink("passwd", path).expect("a symlink"), "too many symbolic links");
        warns(&|path| symlink("/dev/zero", path).expect("a symlink"), "it is no plain file");
        let sparse =
            |path: &std::path::Path| File::create(path).and_then(|f| f.set_len(1 << 40)).expect("a file");
        warns(&sparse, "read: file too large");
        let long = format!("root:x:0:0:root:/{}:/bin/sh\n", "h".repeat(5000));
        warns(&|path| fs::write(path, &long).expect("a file"), "name too long");
        // None at all is what small images have.
        assert_eq!(run(&|_| {}), "");
        assert_eq!(run(&|path| symlink("/no/such", path).expect("a symlink")), "");
    });
}

/// The process that waits in the kernel can't even be killed: it is left there, and everybody else goes on.
#[test]
fn a_file_system_that_never_answers_keeps_nobody_else() {
    unharmed("issue: exec and FUSE", |lab| {
        let path = lab.dir().join("passwd");
        fs::write(&path, "").expect("a file");
        let silent = Silent::mount(&path);
        let c = sleeping(lab, &path.to_string_lossy());
        let begun = Instant::now();
        let words = WITHOUT_HOME.into_iter().chain([&*c.id, "true"]);
        let mut running = lab.command(words).spawn();
        let child = eventually("its child waits", || {
            let tasks = fs::read_to_string(c.cgroup().join("cgroup.procs")).unwrap_or_default();
            tasks.lines().find(|pid| **pid != c.pid().to_string()).map(str::to_owned)
        });
        // Meanwhile.
        assert_eq!(c.status(), "running");
        let listed: Value = lab.run(["list", "--format", "json"]).ok().json();
        assert_eq!(listed[0]["status"], "running", "{listed}");
        lab.run(["exec", &c.id, "true"]).ok(); // has a HOME, and doesn't ask
        lab.run(["kill", &c.id, "0"]).ok();
        assert!(!running.is_over(), "nobody was kept waiting");
        let ran = running.wait().fails();
        assert!(begun.elapsed() < Duration::from_secs(40), "it took {:?}", begun.elapsed());
        for part in ["/etc/passwd", "hasn't let it end for 10 s", "exec --env"] {
            assert!(ran.stderr().contains(part), "{part}: {}", ran.stderr());
        }
        let spent = cpu_seconds(child.parse().expect("a pid"));
        assert!(spent < 2.0, "its child has spent {spent} s of CPU");
        drop(silent);
        c.delete(&["--force"]).ok();
    });
}

/// The same at `create`, where a volume of another container may be it.
#[test]
fn a_create_that_gets_no_answer_fails_in_time() {
    unharmed("issue: create and FUSE", |lab| {
        let path = lab.dir().join("passwd");
        fs::write(&path, "").expect("a file");
        let silent = Silent::mount(&path);
        let bundle = lab.bundle().mount("/etc/passwd", "bind", &path.to_string_lossy(), &["bind"]);
        let c = bundle.set("/process/env", ["PATH=/bin"]).args(["true"]).container();
        let begun = Instant::now();
        let ran = c.create(&[]).fails();
        assert!(begun.elapsed() < Duration::from_secs(60), "it took {:?}", begun.elapsed());
        assert!(ran.stderr().contains("hasn't let it end for 10 s"), "{}", ran.stderr());
        // The process is stuck in there.
        assert!(ran.stderr().contains("left behind: ") && ran.stderr().contains(&*c.id), "{}", ran.stderr());
        drop(silent);
        let left = lab.cgroups().join(&c.id);
        eventually("its end", || (!left.exists() || fs::remove_dir(&left).is_ok()).then_some(()));
        c.delete(&["--force"]).ok();
    });
}
