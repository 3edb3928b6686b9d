//! What the container's process is given: fds, directory, ids, capabilities, terminal; and who may look into it.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::time::{Duration, Instant};

use integration::unharmed;
use serde_json::json;
use spec_tests::{Inside, Terminal, eventually};

/// CVE-2024-21626: a directory of the host by an fd that the runtime had open.
/// crun 1.8.1 enters what its caller leaked.
#[test]
fn a_directory_that_is_an_fd_is_refused() {
    unharmed("CVE-2024-21626", |lab| {
        for number in 3..20 {
            let fd = format!("/proc/self/fd/{number}");
            for cwd in [fd.clone(), format!("{fd}/."), format!("{fd}/..")] {
                let c = lab.bundle().set("/process/cwd", cwd).container();
                // The caller leaks what it can.
                let redirections: String = (3..10).map(|n| format!("{n}</ ")).collect();
                c.command("run", &[]).redirect(&redirections).run().fails();
            }
            let bundle = lab.bundle();
            symlink(&fd, bundle.path("/work")).expect("a symlink");
            bundle
                .set("/process/cwd", "/work")
                .container()
                .command("run", &["--preserve-fds", "7"])
                .redirect("3</ 4</ 5</ 6</ 7</ 8</ 9</")
                .run()
                .fails();
        }
    });
}

/// The same leak without a directory: nothing but what was asked for is open in the container or in its hooks.
/// runc 1.1.5 lets createContainer hooks have its own.
#[test]
fn fds_of_the_caller_stay_outside() {
    unharmed("CVE-2024-21626", |lab| {
        let numbers = |seen: &Inside| {
            let fds = seen["fds"].as_object().expect("fds").clone();
            let mut numbers: Vec<i32> = fds
                .iter()
                .filter(|(_, to)| !to.as_str().is_some_and(|to| to.starts_with("/proc/")))
                .map(|(n, _)| n.parse().expect("a number"))
                .collect();
            numbers.sort_unstable();
            numbers
        };
        let all = "3</ 4</etc/passwd 5</dev/null 8</ 9</";
        let c = lab.bundle().phrases(["fds"]).container();
        let run = |options: &[&str], redirections: &str| {
            numbers(&Inside::parse(&c.command("run", options).redirect(redirections).run().ok().stdout()))
        };
        assert_eq!(run(&[], all), [0, 1, 2]);
        assert_eq!(run(&["--preserve-fds", "2"], all), [0, 1, 2, 3, 4]);
        let answers = lab.dir().join("hook");
        for list in ["createRuntime", "createContainer", "startContainer", "poststop"] {
            let to = match list {
                "startContainer" => "to /answer".to_owned(),
                _ => format!("to {}", answers.display()),
            };
            let c = lab.bundle().hook(list, [to.as_str(), "fds"]).container();
            c.command("run", &["--preserve-fds", "1"]).redirect(all).run().ok();
            let path = if list == "startContainer" { c.bundle.path("/answer") } else { answers.clone() };
            let text = fs::read_to_string(&path).unwrap_or_else(|e| panic!("{list}: {e}"));
            // createContainer's file is seen by its hook through the host's root, which is still there.
            fs::remove_file(path).expect("remove");
            let seen = numbers(&Inside::parse(&text));
            assert_eq!(seen, [0, 1, 2, 3], "{list}: 3 is the file that the answer goes to");
        }
    });
}

/// CVE-2022-0811: a value that is more than one setting, and a key that is another file.
/// crun 1.8.1 and runc 1.1.5 set `net/../kernel/core_pattern`.
#[test]
fn a_sysctl_is_one_setting_of_the_containers() {
    unharmed("CVE-2022-0811", |lab| {
        // Of the machine: the attempt is to set what is set already, in case a runtime falls for it.
        let pattern = fs::read_to_string("/proc/sys/kernel/core_pattern").expect("readable");
        let pattern = pattern.trim_end();
        for (key, value) in [
            ("kernel.shm_rmid_forced", format!("1+kernel.core_pattern={pattern}")),
            ("kernel.shm_rmid_forced", format!("1\nkernel.core_pattern={pattern}")),
            ("kernel.core_pattern", pattern.into()),
            ("kernel/core_pattern", pattern.into()),
            ("net/../kernel/core_pattern", pattern.into()),
            ("net.../kernel/core_pattern", pattern.into()),
            ("fs.mqueue/../../kernel/core_pattern", pattern.into()),
            ("fs/mqueue/../../kernel/core_pattern", pattern.into()),
            ("", "1".into()),
            ("/", "1".into()),
            ("net", "1".into()),
        ] {
            let c = lab.bundle().set("/linux/sysctl", json!({ key: value })).container();
            assert_ne!(c.run(&[]).code(), 0, "{key} = {value:?} is taken");
        }
    });
}

/// CVE-2026-61801 and its like: a passwd file of any size, or that isn't one, costs neither time nor memory.
/// crun 1.8.1 reads all of it, runc 1.1.5 fails.
#[test]
fn a_huge_passwd_is_read_to_a_bound() {
    unharmed("CVE-2026-61801", |lab| {
        let home = |prepare: &dyn Fn(&std::path::Path)| {
            let bundle = lab.bundle();
            let passwd = bundle.path("/etc/passwd");
            fs::remove_file(&passwd).expect("remove");
            prepare(&passwd);
            let begin = Instant::now();
            let seen = bundle.ask(["env"]);
            assert!(begin.elapsed() < Duration::from_secs(5), "took {:?}", begin.elapsed());
            seen["env"]["HOME"].clone()
        };
        let sparse = |path: &std::path::Path| {
            let file = fs::File::create(path).expect("a file");
            file.set_len(1 << 30).expect("1 GiB");
        };
        assert_eq!(home(&sparse), "/");
        let late = |path: &std::path::Path| {
            let lines = "x:x:5:5::/x:\n".repeat(1 << 20) + "root:x:0:0::/root:\n";
            fs::write(path, lines).expect("a file");
        };
        assert_eq!(home(&late), "/root");
        let one_line = |path: &std::path::Path| {
            fs::write(path, "x".repeat(1 << 24) + "\nroot:x:0:0::/root:\n").expect("a file")
        };
        assert_eq!(home(&one_line), "/root");
        let fifo = |path: &std::path::Path| {
            nix::unistd::mkfifo(path, nix::sys::stat::Mode::S_IRWXU).expect("a FIFO")
        };
        assert_eq!(home(&fifo), "/");
        let device = |path: &std::path::Path| symlink("/dev/zero", path).expect("a symlink");
        assert_eq!(home(&device), "/");
    });
}

/// CVE-2024-40635: an id that is none must not become root's: crun 1.8.1 takes it.
#[test]
fn ids_that_are_none_are_refused() {
    unharmed("CVE-2024-40635", |lab| {
        for field in ["/process/user/uid", "/process/user/gid"] {
            for id in [json!(4_294_967_295_u32), json!(4_294_967_296_u64), json!(-1), json!("0"), json!(1.5)]
            {
                lab.bundle().set(field, id).run().fails();
            }
        }
        let groups = json!([4_294_967_295_u32]);
        lab.bundle().set("/process/user/additionalGids", groups).run().fails();
    });
}

/// CVE-2022-24769 (Docker), CVE-2022-27650 (crun), CVE-2022-29162 (runc): nothing is inheritable unless the configuration says so.
#[test]
fn nothing_is_inheritable_by_default() {
    unharmed("CVE-2022-24769", |lab| {
        let sets =
            json!({ "bounding": ["CAP_CHOWN"], "effective": ["CAP_CHOWN"], "permitted": ["CAP_CHOWN"] });
        let seen = lab.bundle().set("/process/capabilities", sets).ask(["caps"]);
        assert!(seen.caps("CapInh").is_empty() && seen.caps("CapAmb").is_empty(), "{seen:?}");
        assert!(lab.bundle().ask(["caps"]).caps("CapInh").is_empty());
        lab.run(["spec", "--bundle", &lab.dir().to_string_lossy()]).ok();
        let text = fs::read_to_string(lab.dir().join("config.json")).expect("config.json");
        let default: serde_json::Value = serde_json::from_str(&text).expect("JSON");
        assert_eq!(
            default
                .pointer("/process/capabilities/inheritable")
                .and_then(|l| l.as_array())
                .map_or(0, Vec::len),
            0
        );
    });
}

/// CVE-2024-25621: whatever umask the caller has, nobody else may look into the state directory.
#[test]
fn state_is_for_its_owner_alone() {
    unharmed("CVE-2024-25621", |lab| {
        for umask in ["0", "022", "077"] {
            let root = lab.dir().join(format!("state-{umask}"));
            let c = lab.bundle().container();
            c.bundle.write();
            let script = "umask $0; exec \"$@\"";
            let run = |args: &[&str]| {
                let ran = std::process::Command::new("/bin/sh")
                    .args(["-c", script, umask])
                    .arg(integration::rrunc())
                    .arg("--root")
                    .arg(&root)
                    .args(args)
                    .stdout(std::process::Stdio::null())
                    .status();
                assert!(ran.expect("sh").success(), "umask {umask}: {args:?}");
            };
            run(&["create", "--bundle", &c.bundle.dir().to_string_lossy(), &c.id]);
            let mut wrong = Vec::new();
            let mut todo = vec![root.clone()];
            while let Some(path) = todo.pop() {
                let m = fs::symlink_metadata(&path).expect("a file");
                if m.is_symlink() {
                    continue; // it has no mode that would count
                }
                let expected = if m.is_dir() { 0o700 } else { 0o600 };
                if m.permissions().mode() & 0o777 != expected {
                    wrong.push(format!("{} has {:o}", path.display(), m.permissions().mode()));
                }
                if m.is_dir() {
                    todo.extend(fs::read_dir(&path).expect("readable").map(|e| e.expect("an entry").path()));
                }
            }
            run(&["delete", "--force", &c.id]);
            assert_eq!(wrong, <Vec<String>>::new(), "umask {umask}");
        }
    });
}

/// A container that has the caller's terminal as its stdio, but no terminal of its own, can't type on it
/// (TIOCSTI needs a controlling terminal); one with its own never sees the caller's.
#[test]
fn the_callers_terminal_is_not_controlled_from_inside() {
    unharmed("TIOCSTI", |lab| {
        let ask = |bundle: spec_tests::Bundle| {
            let (mut terminal, slave) = Terminal::pair(24, 80);
            let c = bundle.phrases(["tty"]).container();
            c.command("run", &[]).stdio(slave).run().ok();
            Inside::parse(terminal.read_until("\"ask\":\"tty\"}\n"))["tty"].clone()
        };
        let host = fs::read_dir("/dev/pts").expect("/dev/pts").count();
        assert!(host > 0);
        assert_ne!(ask(lab.bundle())["controlling"], "ok");
        let own = lab
            .bundle()
            .mount("/dev/pts", "devpts", "devpts", &["newinstance", "ptmxmode=0666"])
            .set("/process/terminal", true);
        let seen = ask(own);
        assert_eq!((&seen["name"], &seen["controlling"]), (&json!("/dev/pts/0"), &json!("ok")));
    });
}

/// CVE-2016-9962: a process that enters a container isn't looked into from there, before it is the container's own.
#[test]
fn a_waiting_process_is_closed_to_its_neighbours() {
    unharmed("CVE-2016-9962", |lab| {
        let look = "until [ -e /go ]; do sleep 0.01; done; cd /proc
            for pid in [0-9]*; do
                [ $pid = 1 ] || [ $pid = $$ ] || [ -e $pid/task/$$ ] && continue
                echo pid $pid
                for file in exe cwd root fd/0 fd/3; do busybox readlink $pid/$file && echo open $pid/$file; done
                for file in exe environ maps mem auxv fd/0; do cat $pid/$file > /dev/null && echo open $pid/$file; done
            done > /seen 2> /errors; echo done >> /seen; sleep 60";
        let neighbour = lab.bundle().caps(&["CAP_DAC_OVERRIDE", "CAP_KILL"]).args(["sh", "-c", look]).start();
        let pid = neighbour.pid();
        let waiting = lab.bundle().namespace("pid", Some(&format!("/proc/{pid}/ns/pid"))).create();
        fs::write(neighbour.bundle.path("/go"), "").expect("a file");
        let seen = eventually("the neighbour's look", || {
            let text = fs::read_to_string(neighbour.bundle.path("/seen")).ok()?;
            text.ends_with("done\n").then_some(text)
        });
        assert!(seen.contains("pid "), "it saw nobody");
        assert!(!seen.contains("open "), "{seen}");
        waiting.delete(&["--force"]).ok();
        neighbour.delete(&["--force"]).ok();
    });
}
