//! Random mounts below a volume that somebody swaps meanwhile. Where each lands is the swapper's to choose; but content,
//! mode, owner and options of all *other* mounts, and of the host's files, stay what they are, and each mount has the
//! options that were asked for it.
//!
//! 12 seconds; with `LONG=1` ten minutes. `SEED` repeats what a failure has named, as far as a race can be repeated.

use std::fs;
use std::os::unix::fs::{PermissionsExt, chown, symlink};
use std::path::Path;
use std::time::{Duration, Instant};

use integration::{Host, unharmed};
use nix::sys::stat::{Mode, SFlag, makedev, mknod};
use serde_json::json;
use spec_tests::{Bundle, Lab};

use super::race::while_swapping;

/// xorshift64*, for rounds that can be had again.
struct Random(u64);

impl Random {
    fn below(&mut self, n: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) as usize % n
    }

    fn of<'t>(&mut self, all: &[&'t str]) -> &'t str {
        all[self.below(all.len())]
    }
}

/// What the swapped directory and those that it is exchanged for have, so that a mount point needn't be made.
fn furnish(dir: &Path, mode: u32) {
    for name in ["dir", "dir2", "dir3", "frozen"] {
        fs::create_dir_all(dir.join(name)).expect("a directory");
        fs::set_permissions(dir.join(name), fs::Permissions::from_mode(mode)).expect("chmod");
    }
    fs::write(dir.join("file"), "host").expect("a file");
    mknod(&dir.join("null"), SFlag::S_IFCHR, Mode::from_bits_truncate(0o600), makedev(1, 3)).expect("a node");
}

/// One mount that a round asks for, by a text that finds it in mountinfo.
struct Asked {
    mark: String,
    read_only: bool,
}

struct Round<'l> {
    bundle: Bundle<'l>,
    asked: Vec<Asked>,
    masked: Vec<String>,
    read_only: Vec<String>,
    devices: Vec<serde_json::Value>,
}

impl Round<'_> {
    fn add(mut self, host: &Host, random: &mut Random) -> Self {
        let n = self.asked.len();
        let at = |name: &str| format!("/shared/volume/{name}");
        let directory = at(random.of(&["dir", "dir2", "dir3"]));
        match random.below(8) {
            0..=3 => {
                let read_only = random.below(2) == 0;
                let mut options = vec!["nosuid"];
                options.extend(read_only.then_some("ro"));
                options.extend((random.below(2) == 0).then_some("tmpcopyup"));
                options.extend((random.below(3) == 0).then_some("mode=711"));
                let mark = format!("fuzz{n}");
                self.bundle = self.bundle.mount(&directory, "tmpfs", &mark, &options);
                self.asked.push(Asked { mark: format!(" - tmpfs {mark} "), read_only });
            }
            4 => {
                let name = format!("source{n}");
                fs::create_dir_all(Path::new(&host.path("sources")).join(&name)).expect("a directory");
                let source = format!("{}/{name}", host.path("sources"));
                let read_only = random.below(2) == 0;
                self.bundle = self.bundle.mount(&directory, "", &source, &["bind"]);
                if read_only {
                    self.bundle = self.bundle.mount(&directory, "", &source, &["bind", "remount", "ro"]);
                }
                self.asked.push(Asked { mark: format!("/sources/{name} "), read_only });
            }
            5 => self.masked.push(at(random.of(&["dir", "dir2", "file"]))),
            6 => self.read_only.push(at(random.of(&["frozen", "file"]))),
            _ => self.devices.push(json!({
                "path": at("null"), "type": "c", "major": 1, "minor": 3, "fileMode": 0o666, "uid": 7
            })),
        }
        self
    }
}

fn round<'l>(lab: &'l Lab, share: &Path, host: &Host, random: &mut Random) -> Round<'l> {
    let bundle = lab
        .bundle()
        .mount("/shared", "", &share.to_string_lossy(), &["bind"])
        .mount("/other", "", &host.path("precious"), &["bind", "nodev"])
        .mount("/frozen", "", &host.path("frozen"), &["bind", "ro"])
        .mount("/own", "tmpfs", "own", &["mode=700"]);
    let mut round = Round { bundle, asked: vec![], masked: vec![], read_only: vec![], devices: vec![] };
    for _ in 0..=random.below(4) {
        round = round.add(host, random);
    }
    round.devices.truncate(1); // one path, one device
    let (masked, read_only, devices) = (json!(round.masked), json!(round.read_only), json!(round.devices));
    round.bundle = round
        .bundle
        .set("/linux/maskedPaths", masked)
        .set("/linux/readonlyPaths", read_only)
        .set("/linux/devices", devices);
    round
}

/// The options of all mounts whose line of mountinfo has this text.
fn options<'t>(mountinfo: &'t str, mark: &str) -> Vec<Vec<&'t str>> {
    let lines = mountinfo.lines().filter(|line| line.contains(mark));
    lines.map(|line| line.split(' ').nth(5).expect("options").split(',').collect()).collect()
}

fn check(mountinfo: &str, asked: &[Asked], pid: i32) {
    for Asked { mark, read_only } in asked {
        let found = options(mountinfo, mark);
        assert_eq!(found.len(), 1, "{mark}: {mountinfo}");
        assert_eq!(found[0].contains(&"ro"), *read_only, "{mark}: {found:?}");
    }
    let others =
        [("/precious /other ", false, true), ("/frozen /frozen ", true, false), (" / /own ", false, false)];
    for (mark, read_only, nodev) in others {
        let found = options(mountinfo, mark);
        assert_eq!(found.len(), 1, "{mark}: {mountinfo}");
        assert_eq!((found[0].contains(&"ro"), found[0].contains(&"nodev")), (read_only, nodev), "{mark}");
    }
    let own = Path::new(&format!("/proc/{pid}/root/own")).metadata().expect("the other tmpfs");
    assert_eq!(own.permissions().mode() & 0o7777, 0o700);
}

#[test]
fn random_mounts_below_a_swapped_volume_change_nothing_else() {
    let long = std::env::var_os("LONG").is_some();
    let (count, time) =
        if long { (100_000, Duration::from_secs(600)) } else { (400, Duration::from_secs(12)) };
    let seed = std::env::var("SEED").ok().and_then(|seed| seed.parse().ok());
    let seed = seed.unwrap_or_else(|| u64::from(std::process::id()) << 20 | 1);
    println!("SEED={seed}");
    unharmed("CVE-2021-30465", |lab| {
        let mut host = Host::new(lab.dir(), &["precious/", "frozen/", "sources/"]);
        for name in ["precious", "frozen"] {
            furnish(Path::new(&host.path(name)), 0o700);
        }
        for n in 0..8 {
            fs::create_dir(format!("{}/source{n}", host.path("sources"))).expect("a directory");
        }
        host.remember();
        let share = lab.dir().join("share");
        let (volume, evil) = (share.join("volume"), share.join("evil"));
        furnish(&volume, 0o777);
        for name in ["dir", "dir2", "dir3"] {
            let program = volume.join(name).join("program");
            fs::write(&program, "evil").expect("a file");
            chown(&program, Some(1), Some(1)).expect("chown");
            fs::set_permissions(&program, fs::Permissions::from_mode(0o4755)).expect("chmod");
        }
        let (mut random, begun) = (Random(seed), Instant::now());
        let (mut rounds, mut made, mut swaps) = (0, 0, 0);
        while rounds < count && begun.elapsed() < time {
            rounds += 1;
            let up = format!("{}{}", "../".repeat(16), &host.path("precious")[1..]);
            symlink(random.of(&["/other", "../other", "/frozen", "/own", &up]), &evil).expect("a symlink");
            let round = round(lab, &share, &host, &mut random);
            let asked = round.asked;
            let c = round.bundle.container();
            swaps += while_swapping(&volume, &evil, || {
                for _ in 0..8 {
                    if c.create(&[]).code() == 0 {
                        let pid = c.pid();
                        let mountinfo =
                            fs::read_to_string(format!("/proc/{pid}/mountinfo")).expect("mountinfo");
                        check(&mountinfo, &asked, pid);
                        made += 1;
                    }
                    host.assert_untouched();
                    c.delete(&["--force"]);
                }
            });
            // Whichever of the two is the symlink now.
            if fs::remove_file(&evil).is_err() {
                fs::remove_file(&volume).expect("the symlink");
                fs::rename(&evil, &volume).expect("rename");
            }
        }
        println!("{rounds} rounds, {made} containers, {swaps} exchanges");
        assert!(made > rounds / 10 && swaps > 1000, "{rounds} rounds, {made} containers, {swaps} exchanges");
    });
}
