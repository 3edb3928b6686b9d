//! What there is of a test's own in the places that containers leave traces in, to be compared before and after.
//!
//! Everything of a test has its tag in a name (a path, an id, a cgroup), by which it is told from what others on
//! this machine do at the same time. Network namespaces are those of the processes found and of mounts.

use std::collections::BTreeSet;
use std::fmt::Write;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// One line per thing found, sorted; the line's first word says what kind it is.
#[derive(Debug, PartialEq, Eq)]
pub struct Census(BTreeSet<String>);

impl Census {
    /// `cgroups` is where cgroup2 is mounted, `root` a state directory of rrunc.
    pub fn take(tag: &str, cgroups: &Path, root: &Path) -> Census {
        let mut found = BTreeSet::new();
        processes(tag, &mut found);
        mounts(tag, &mut found);
        directories(cgroups, &mut |path| {
            if path.to_string_lossy().contains(tag) {
                found.insert(format!("cgroup {}", path.display()));
            }
        });
        for entry in fs::read_dir(root).into_iter().flatten().flatten() {
            let path = entry.path();
            // Compiled seccomp filters, for all containers.
            if !path.ends_with(".cache") {
                found.insert(format!("state {}", path.display()));
            }
        }
        for link in links("/proc/self/fd") {
            if link.contains(tag) {
                found.insert(format!("fd {link}"));
            }
        }
        Census(found)
    }

    /// With all files below these directories but for those in `except`, and their modes.
    pub fn and_files(mut self, directories: &[&Path], except: &[&Path]) -> Census {
        for top in directories {
            files(top, except, &mut self.0);
        }
        self
    }

    /// What is in one of them only, a line each.
    pub fn difference(&self, now: &Census) -> String {
        let mut text = String::new();
        for line in now.0.difference(&self.0) {
            let _ = writeln!(text, "  left: {line}"); // a String takes all
        }
        for line in self.0.difference(&now.0) {
            let _ = writeln!(text, "  gone: {line}");
        }
        text
    }

    /// Takes another census and holds it against this one. What ends by itself (a killed process that nobody
    /// has reaped yet) gets 5 s to do so.
    ///
    /// # Panics
    /// With the difference, if there is one.
    #[track_caller]
    pub fn assert_same(&self, tag: &str, cgroups: &Path, root: &Path) {
        let end = std::time::Instant::now() + std::time::Duration::from_secs(5);
        loop {
            let difference = self.difference(&Census::take(tag, cgroups, root));
            if difference.is_empty() {
                return;
            }
            assert!(std::time::Instant::now() < end, "something is left behind:\n{difference}");
            std::thread::sleep(std::time::Duration::from_millis(20));
        }
    }
}

/// Those that name the tag in their arguments, cgroup or root directory; a test's own threads aren't meant. All but the
/// test's own and the first, in a pid namespace whose first process is the test's program.
fn processes(tag: &str, found: &mut BTreeSet<String>) {
    let exe = |who: &str| fs::read_link(format!("/proc/{who}/exe")).ok();
    let alone = exe("1").is_some() && exe("1") == exe("self");
    for entry in fs::read_dir("/proc").expect("/proc").flatten() {
        let dir = entry.path();
        let Some(pid) = entry.file_name().to_str().and_then(|n| n.parse::<u32>().ok()) else {
            continue;
        };
        let read =
            |name: &str| fs::read(dir.join(name)).map(|b| String::from_utf8_lossy(&b).replace('\0', " "));
        let link = |name: &str| fs::read_link(dir.join(name)).map(|p| p.to_string_lossy().into_owned());
        let (arguments, cgroup) = (read("cmdline").unwrap_or_default(), read("cgroup").unwrap_or_default());
        let root = link("root").unwrap_or_default();
        let tagged = || [&arguments, &cgroup, &root].iter().any(|text| text.contains(tag));
        if pid != std::process::id() && pid != 1 && (alone || tagged()) {
            let netns = link("ns/net").unwrap_or_default();
            found.insert(format!("process {pid} ({}) in {netns}", arguments.trim()));
        }
    }
}

/// All of this thread's mount namespace if it is not the machine's own, else those with the tag.
fn mounts(tag: &str, found: &mut BTreeSet<String>) {
    let table = fs::read_to_string("/proc/thread-self/mountinfo").expect("mountinfo");
    let ns = |who: &str| fs::read_link(format!("/proc/{who}/ns/mnt"));
    let private = matches!((ns("thread-self"), ns("1")), (Ok(ours), Ok(first)) if ours != first);
    let ours = table.lines().filter(|line| private || line.contains(tag));
    found.extend(ours.map(|line| format!("mount {line}")));
    for line in fs::read_to_string("/proc/1/mountinfo").unwrap_or_default().lines() {
        if line.contains(tag) {
            found.insert(format!("mount of the machine {line}"));
        }
    }
}

fn links(dir: &str) -> Vec<String> {
    let entries = fs::read_dir(dir).into_iter().flatten().flatten();
    entries.filter_map(|e| Some(fs::read_link(e.path()).ok()?.to_string_lossy().into_owned())).collect()
}

fn directories(top: &Path, each: &mut impl FnMut(&PathBuf)) {
    let entries = fs::read_dir(top).into_iter().flatten().flatten();
    for path in entries.filter(|e| e.file_type().is_ok_and(|t| t.is_dir())).map(|e| e.path()) {
        each(&path);
        directories(&path, each);
    }
}

fn files(dir: &Path, except: &[&Path], found: &mut BTreeSet<String>) {
    for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
        let path = entry.path();
        let Ok(metadata) = fs::symlink_metadata(&path) else { continue }; // it went meanwhile
        if except.contains(&path.as_path()) {
            continue;
        }
        found.insert(format!("file {} {:o}", path.display(), metadata.mode()));
        if metadata.is_dir() {
            files(&path, except, found);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_difference_names_both_sides() {
        let census = |lines: &[&str]| Census(lines.iter().map(|l| (*l).to_owned()).collect());
        let (before, after) = (census(&["mount a", "fd x"]), census(&["mount a", "cgroup b"]));
        assert_eq!(before.difference(&after), "  left: cgroup b\n  gone: fd x\n");
        assert_eq!(before.difference(&before), "");
    }

    #[test]
    fn it_sees_processes_and_directories() {
        let tag = format!("census-{}", std::process::id());
        let root = std::env::temp_dir().join(&tag);
        let before = Census::take(&tag, &root, &root);
        fs::create_dir_all(root.join("c1")).expect("a directory");
        let mut child = std::process::Command::new("sleep").args(["60"]).arg0(&tag).spawn().expect("sleep");
        // The spawn returns when the new program's memory is there; its arguments may come a moment later.
        let cmdline = format!("/proc/{}/cmdline", child.id());
        let end = std::time::Instant::now() + std::time::Duration::from_secs(5);
        while fs::read(&cmdline).is_ok_and(|b| b.is_empty()) && std::time::Instant::now() < end {
            std::thread::yield_now();
        }
        let seen = before.difference(&Census::take(&tag, &root, &root));
        let ended = child.kill().and_then(|()| child.wait());
        fs::remove_dir_all(&root).expect("remove");
        ended.expect("end of sleep");
        for what in ["left: process", "left: cgroup", "left: state"] {
            assert!(seen.contains(what), "no {what:?} in\n{seen}");
        }
    }

    use std::os::unix::process::CommandExt;
}
