//! Containers with the same linux.cgroupsPath, one after the other: what is done to the one that has ended does nothing
//! to the one that runs. And a signal for all of many processes reaches each, however few files may be open.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use integration::unharmed;
use spec_tests::{Bundle, Container, Lab, eventually, needs};

/// Its pid namespace is its own or the host's.
fn sleeper<'a>(lab: &'a Lab, place: &str, own_pids: bool) -> Bundle<'a> {
    let bundle = lab.bundle().args(["sleep", "1000"]).set("/linux/cgroupsPath", place);
    if own_pids { bundle } else { bundle.without_namespace("pid") }
}

/// One that has ended and isn't deleted.
fn ended<'a>(lab: &'a Lab, place: &str, own_pids: bool) -> Container<'a> {
    let c = sleeper(lab, place, own_pids).start();
    c.kill(&[if own_pids { "KILL" } else { "TERM" }]).ok();
    c.wait_for("stopped");
    c
}

fn path(lab: &Lab, place: &str) -> PathBuf {
    lab.cgroups().join(place.trim_start_matches('/'))
}

fn processes(cgroup: &Path) -> usize {
    fs::read_to_string(cgroup.join("cgroup.procs")).unwrap_or_default().lines().count()
}

/// A process of nobody's that is in this cgroup.
fn stranger(cgroup: &Path) -> Child {
    let child = Command::new("sleep").arg("1000").stdin(Stdio::null()).spawn().expect("sleep");
    fs::write(cgroup.join("cgroup.procs"), child.id().to_string()).expect("move it");
    child
}

fn lives(child: &mut Child) -> bool {
    child.try_wait().expect("wait").is_none()
}

fn end(mut child: Child) {
    child.kill().and_then(|()| child.wait()).expect("its end");
}

fn by_path() {
    needs(!spec_tests::machine::by_systemd(), "cgroupsPath to be a path, and with systemd it is none");
}

#[test]
fn one_that_has_ended_takes_nobody_along() {
    by_path();
    unharmed("a shared cgroup", |lab| {
        for (first_own, second_own) in [(true, true), (true, false), (false, true), (false, false)] {
            let place = format!("/{}", lab.fresh("shared"));
            let first = ended(lab, &place, first_own);
            let (third, fourth) = (ended(lab, &place, first_own), ended(lab, &place, first_own));
            let second = sleeper(lab, &place, second_own).start();
            for signal in ["KILL", "TERM"] {
                lab.run(["kill", "--all", &first.id, signal]).ok();
            }
            lab.run(["kill", &third.id, "KILL"]).fails();
            first.delete(&[]).ok();
            third.delete(&["--force"]).ok();
            assert_eq!(second.status(), "running", "{first_own} {second_own}");
            assert_eq!(processes(&path(lab, &place)), 1);
            second.delete(&["--force"]).ok();
            assert!(!path(lab, &place).exists(), "the last one takes the cgroup along");
            fourth.delete(&[]).ok();
        }
    });
}

/// Its orphans are its own, also in a cgroup that an earlier container had made.
#[test]
fn what_outlives_its_init_goes_with_it() {
    by_path();
    unharmed("a shared cgroup", |lab| {
        let place = format!("/{}", lab.fresh("shared"));
        let first = ended(lab, &place, true);
        for command in ["kill", "delete"] {
            let script = "sleep 1000 & sleep 1000 & exit 0";
            let c = sleeper(lab, &place, false).args(["sh", "-c", script]).start();
            c.wait_for("stopped");
            assert_eq!(processes(&path(lab, &place)), 2);
            match command {
                "kill" => drop(lab.run(["kill", "--all", &c.id, "KILL"]).ok()),
                _ => drop(c.delete(&[]).ok()),
            }
            eventually("their end", || (processes(&path(lab, &place)) == 0).then_some(()));
            c.delete(&["--force"]);
        }
        first.delete(&[]).ok();
    });
}

/// Whose a process is that somebody has put there, nobody knows.
#[test]
fn strangers_are_told_of_and_left_alone() {
    by_path();
    unharmed("a shared cgroup", |lab| {
        for own_pids in [true, false] {
            let place = format!("/{}", lab.fresh("shared"));
            let cgroup = path(lab, &place);
            fs::create_dir(&cgroup).expect("a cgroup that is there before");
            let c = ended(lab, &place, own_pids);
            let mut other = stranger(&cgroup);
            for options in [&[][..], &["--force"]] {
                let said = c.delete(options).fails().stderr();
                let named = said.contains(&other.id().to_string()) && said.contains("may be another's");
                assert!(named, "{said}");
            }
            assert!(lives(&mut other));
            end(other);
            c.delete(&[]).ok();
            assert!(!cgroup.exists());
        }
    });
}

/// A name says nothing: here somebody has made another cgroup with it.
#[test]
fn a_cgroup_of_the_same_name_is_another() {
    by_path();
    unharmed("a shared cgroup", |lab| {
        for own_pids in [true, false] {
            let place = format!("/{}", lab.fresh("shared"));
            let cgroup = path(lab, &place);
            let c = ended(lab, &place, own_pids);
            eventually("its removal", || fs::remove_dir(&cgroup).ok());
            fs::create_dir(&cgroup).expect("another one");
            let (mut other, inode) = (stranger(&cgroup), fs::metadata(&cgroup).expect("a cgroup").ino());
            lab.run(["kill", "--all", &c.id, "KILL"]).ok();
            c.delete(&["--force"]).ok();
            assert!(lives(&mut other));
            assert_eq!(fs::metadata(&cgroup).expect("a cgroup").ino(), inode);
            end(other);
            eventually("its removal", || fs::remove_dir(&cgroup).ok());
        }
    });
}

#[test]
fn a_container_below_another_is_spared() {
    by_path();
    unharmed("a shared cgroup", |lab| {
        for own_pids in [true, false] {
            let place = format!("/{}", lab.fresh("shared"));
            let outer = sleeper(lab, &place, own_pids).start();
            let inner = sleeper(lab, &format!("{place}/inner"), true).start();
            lab.run(["kill", "--all", &outer.id, "KILL"]).ok();
            outer.wait_for("stopped");
            outer.delete(&["--force"]).fails_saying(&["may be another's"]);
            assert_eq!(inner.status(), "running", "{own_pids}");
            inner.delete(&["--force"]).ok();
            outer.delete(&[]).ok();
        }
    });
}

#[test]
fn a_signal_reaches_more_processes_than_files_may_be_open() {
    by_path();
    unharmed("many processes", |lab| {
        for own_pids in [true, false] {
            let place = format!("/{}", lab.fresh("many"));
            let script =
                "trap : USR1; for i in $(seq 100); do sleep 1000 & done; wait; while :; do sleep 1000; done";
            let c = sleeper(lab, &place, own_pids).args(["sh", "-c", script]).start();
            let cgroup = path(lab, &place);
            let members = || -> Vec<String> {
                let pids = fs::read_to_string(cgroup.join("cgroup.procs")).unwrap_or_default();
                pids.lines().map(String::from).collect()
            };
            // Before it executes sleep, a child of the shell has the shell's handler for the signal.
            let sleeps = |pid: &&String| {
                fs::read_to_string(format!("/proc/{pid}/comm")).is_ok_and(|name| name == "sleep\n")
            };
            let before = eventually("all of them", || {
                let pids = members();
                (pids.iter().filter(sleeps).count() == 100).then_some(pids)
            });
            let few = "ulimit -n 24; exec \"$@\"";
            let kill = |signal: &str| {
                let mut command = Command::new("sh");
                command.args(["-c", few, "sh"]).arg(integration::rrunc());
                command.arg("--root").arg(lab.root()).args(["kill", "--all", &c.id, signal]);
                let output = command.output().expect("sh");
                assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
            };
            kill("USR1");
            eventually("the end of each", || {
                let left = members().iter().filter(|pid| before.contains(pid)).count();
                (left == 1).then_some(()) // the shell, which handles it
            });
            kill("KILL");
            c.wait_for("stopped");
            eventually("the end of all", || (processes(&cgroup) == 0).then_some(()));
        }
    });
}
