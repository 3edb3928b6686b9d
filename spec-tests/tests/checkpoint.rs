//! `checkpoint` and `restore` with criu(8), as runc has them.

use std::fs;
use std::io::{BufRead, BufReader};
use std::net::TcpListener;
use std::path::PathBuf;

use nix::sys::signal::Signal;
use serde_json::json;
use spec_tests::*;

const SECTION: &str = "runtime.md#operations";

/// Nothing of the test's: its output files are no files of the container.
const QUIET: &str = "</dev/null >/dev/null 2>&1";

fn needs_criu() {
    needs(machine::may_raise_limits(), "CAP_SYS_RESOURCE, with which criu restores limits");
    let answers = |program: &str, args: &[&str]| {
        let output = std::process::Command::new(program).args(args).output();
        output.is_ok_and(|output| output.status.success())
    };
    if !answers("criu", &["--version"]) {
        skip!("criu is missing: apt-get install criu");
    }
    // In the lab's own network namespace: criu tries a connection before its first work on a machine.
    assert!(answers("ip", &["link", "set", "lo", "up"]), "ip link set lo up");
}

/// Counts in memory, and writes each number to /log.
fn counter(lab: &Lab) -> Bundle<'_> {
    needs_criu();
    let script = "i=0; while :; do i=$((i+1)); echo $i >> /log; sleep 0.02; done";
    lab.bundle().args(["sh", "-c", script])
}

fn run(b: Bundle<'_>) -> Container<'_> {
    let c = b.container();
    c.command("run", &["--detach"]).redirect(QUIET).run().ok();
    c
}

/// How far it has counted; it has left out no number, and said none twice.
fn count(c: &Container) -> usize {
    let log = fs::read_to_string(c.bundle.path("/log")).unwrap_or_default();
    let whole = log.rsplit_once('\n').map_or("", |(whole, _)| whole);
    let numbers: Vec<_> = whole.lines().map(|line| line.parse::<usize>().expect(line)).collect();
    assert_eq!(numbers, (1..=numbers.len()).collect::<Vec<_>>());
    numbers.len()
}

fn wait_for_more(c: &Container) {
    let before = count(c);
    eventually("it counts on", || (count(c) > before + 2).then_some(()));
}

/// All mounts propagate, as systemd has it: within the lab, whose mounts nobody else sees.
fn share_mounts() {
    use nix::mount::{MsFlags, mount};
    let flags = MsFlags::MS_REC | MsFlags::MS_SHARED;
    mount(None::<&str>, "/", None::<&str>, flags, None::<&str>).expect("share all mounts");
}

fn image(lab: &Lab, name: &str) -> String {
    lab.dir().join(name).to_string_lossy().into_owned()
}

fn checkpoint(c: &Container, options: &[&str]) -> Ran {
    let words = ["checkpoint"].into_iter().chain(options.iter().copied());
    c.lab().run(words.chain([c.id.as_str()]))
}

fn restore(c: &Container, options: &[&str]) -> Ran {
    let options = [&["--detach"], options].concat();
    c.command("restore", &options).run()
}

#[test]
fn a_counter_counts_on_and_does_so_again() {
    obeys(SECTION, |lab| {
        let c = run(counter(lab));
        for round in ["first", "second"] {
            wait_for_more(&c);
            let path = image(lab, round);
            checkpoint(&c, &["--image-path", &path]).ok();
            lab.run(["state", &c.id]).fails_saying(&["does not exist"]);
            let stopped_at = count(&c);
            let pid_file = lab.dir().join("pid");
            restore(&c, &["--image-path", &path, "--pid-file", pid_file.to_str().unwrap()]).ok();
            assert_eq!(c.status(), "running");
            assert_eq!(fs::read_to_string(&pid_file).unwrap(), c.pid().to_string());
            eventually("it counts on", || (count(&c) > stopped_at).then_some(()));
        }
        lab.run(["exec", &c.id, "true"]).ok();
        lab.run(["pause", &c.id]).ok();
        lab.run(["resume", &c.id]).ok();
    });
}

/// Its session keyring is its own, and that of `exec`: not that of whoever called `restore` (session-keyring(7)).
#[test]
fn it_is_restored_with_a_session_keyring_of_its_own() {
    obeys(SECTION, |lab| {
        needs_criu();
        let (find, which) = ("syscall keyctl 10 -3 user ours 0", "syscall keyctl 0 -3 0");
        let phrases = ["to /answer", "block SIGUSR1", "await SIGUSR1", find, which, "sleep"];
        let c = run(lab.bundle().phrases(phrases));
        c.wait_for_answer("/answer", "block SIGUSR1");
        let path = image(lab, "image");
        checkpoint(&c, &["--image-path", &path]).ok();
        let caller = format!(
            "{} 'syscall keyctl 1 caller' 'syscall add_key user ours secret 6 -3' exec",
            helper().display()
        );
        c.command("restore", &["--detach", "--image-path", &path]).through(&caller).run().ok();
        c.kill(&["USR1"]).ok();
        let seen = c.wait_for_answer("/answer", which);
        assert_eq!(seen[find], "ENOKEY", "{seen:?}");
        let exec = Inside::parse(&lab.run(["exec", &c.id, "/bin/inside", which]).ok().stdout());
        assert_eq!(exec[which], seen[which]);
    });
}

#[test]
fn it_goes_on_after_a_checkpoint_if_told() {
    obeys(SECTION, |lab| {
        let c = run(counter(lab));
        wait_for_more(&c);
        let path = image(lab, "image");
        checkpoint(&c, &["--leave-running", "--image-path", &path]).ok();
        assert_eq!(c.status(), "running");
        let mode = std::os::unix::fs::PermissionsExt::mode(&fs::metadata(&path).unwrap().permissions());
        assert_eq!(mode & 0o077, 0, "others may look into {path}");
        wait_for_more(&c);
    });
}

#[test]
fn a_paused_one_is_saved_too() {
    obeys(SECTION, |lab| {
        let c = run(counter(lab));
        wait_for_more(&c);
        lab.run(["pause", &c.id]).ok();
        let path = image(lab, "image");
        checkpoint(&c, &["--image-path", &path]).ok();
        restore(&c, &["--image-path", &path]).ok();
        wait_for_more(&c);
    });
}

#[test]
fn memory_is_saved_ahead() {
    obeys(SECTION, |lab| {
        let c = run(counter(lab));
        wait_for_more(&c);
        let (first, second) = (image(lab, "first"), image(lab, "second"));
        checkpoint(&c, &["--pre-dump", "--image-path", &first]).ok();
        assert_eq!(c.status(), "running");
        wait_for_more(&c);
        let with_parent = ["--parent-path", "../first", "--image-path", &second];
        checkpoint(&c, &with_parent).ok();
        restore(&c, &["--image-path", &second]).ok();
        wait_for_more(&c);
    });
}

#[test]
fn logs_go_to_the_work_path() {
    obeys(SECTION, |lab| {
        let c = run(counter(lab));
        let (path, work) = (image(lab, "image"), image(lab, "work"));
        let paths = ["--image-path", &path, "--work-path", &work];
        checkpoint(&c, &paths).ok();
        restore(&c, &paths).ok();
        for (name, is_there) in [("dump.log", true), ("restore.log", true), ("inventory.img", false)] {
            assert_eq!(fs::exists(PathBuf::from(&work).join(name)).unwrap(), is_there, "{name}");
        }
        assert!(!fs::exists(PathBuf::from(&path).join("dump.log")).unwrap());
    });
}

#[test]
fn the_image_is_in_the_current_directory_unless_told() {
    obeys(SECTION, |lab| {
        let c = run(counter(lab));
        let here = lab.dir().join("here");
        fs::create_dir(&here).unwrap();
        lab.command(["checkpoint", &c.id]).cwd(&here).run().ok();
        assert!(fs::exists(here.join("checkpoint/inventory.img")).unwrap());
        c.command("restore", &["--detach"]).cwd(&here).run().ok();
        wait_for_more(&c);
    });
}

#[test]
fn in_the_foreground_its_end_is_the_restores() {
    obeys(SECTION, |lab| {
        needs_criu();
        let script = "trap 'exit 7' TERM; while :; do echo x >> /log; sleep 0.02; done";
        let c = run(lab.bundle().args(["sh", "-c", script]));
        let path = image(lab, "image");
        checkpoint(&c, &["--image-path", &path]).ok();
        let length = || fs::metadata(c.bundle.path("/log")).map_or(0, |found| found.len());
        let before = length();
        let running = c.command("restore", &["--image-path", &path]).redirect(QUIET).spawn();
        eventually("it goes on", || (length() > before).then_some(()));
        running.signal(Signal::SIGTERM);
        running.wait().exits(7);
        lab.run(["state", &c.id]).fails_saying(&["does not exist"]);
    });
}

#[test]
fn pipes_are_replaced_by_the_callers() {
    obeys(SECTION, |lab| {
        needs_criu();
        let script = "read a; echo 1 $a; read b; echo 2 $b";
        let c = lab.bundle().args(["sh", "-c", script]).container();
        let fifo = |name: &str| {
            let path = lab.dir().join(name);
            nix::unistd::mkfifo(&path, nix::sys::stat::Mode::from_bits_truncate(0o600)).unwrap();
            path.to_string_lossy().into_owned()
        };
        let through = |name: &str, options: &[&str], keys: &str, output: &str| {
            let pipes = format!("sh -c 'cat {keys} | \"$0\" \"$@\" 2>/dev/null | cat > {output}'");
            c.command(name, options).through(&pipes).spawn()
        };
        let (keys, output) = (fifo("keys"), image(lab, "output"));
        let running = through("run", &[], &keys, &output);
        let mut first = fs::OpenOptions::new().write(true).open(&keys).unwrap();
        std::io::Write::write_all(&mut first, b"one\n").unwrap();
        eventually("the first answer", || {
            (fs::read_to_string(&output).unwrap_or_default() == "1 one\n").then_some(())
        });
        let path = image(lab, "image");
        checkpoint(&c, &["--image-path", &path]).ok();
        drop(first);
        running.wait();
        let (keys, output) = (fifo("keys2"), image(lab, "output2"));
        let running = through("restore", &["--image-path", &path], &keys, &output);
        let mut second = fs::OpenOptions::new().write(true).open(&keys).unwrap();
        std::io::Write::write_all(&mut second, b"two\n").unwrap();
        drop(second);
        running.wait().ok();
        assert_eq!(fs::read_to_string(&output).unwrap(), "2 two\n");
    });
}

#[test]
fn a_terminal_is_handed_over_anew() {
    obeys(SECTION, |lab| {
        needs_criu();
        let b = lab
            .bundle()
            .set("/process/terminal", true)
            .mount("/dev", "tmpfs", "tmpfs", &["mode=755"])
            .mount("/dev/pts", "devpts", "devpts", &["newinstance", "ptmxmode=0666", "mode=0620"])
            .args(["sh", "-c", "stty -echo; while read line; do echo got $line; done"]);
        let c = b.container();
        let socket = FdSocket::listen(lab.dir().join("console"));
        c.command("run", &["--detach", "--console-socket", socket.path()]).redirect(QUIET).run().ok();
        let mut terminal = socket.receive_terminal();
        terminal.write("one\n");
        terminal.read_until("got one\n");
        let path = image(lab, "image");
        checkpoint(&c, &["--image-path", &path]).ok();
        let socket = FdSocket::listen(lab.dir().join("another"));
        restore(&c, &["--image-path", &path, "--console-socket", socket.path()]).ok();
        let mut terminal = socket.receive_terminal();
        terminal.write("two\n");
        terminal.read_until("got two\n");
        lab.run(["kill", &c.id, "KILL"]).ok();
        c.wait_for("stopped");
    });
}

#[test]
fn a_connection_goes_on() {
    obeys(SECTION, |lab| {
        needs_criu();
        let own = format!("/proc/{}/task/{}/ns/net", std::process::id(), nix::unistd::gettid());
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let script =
            format!("(i=0; while :; do i=$((i+1)); echo $i; sleep 0.02; done) | busybox nc 127.0.0.1 {port}");
        let c = run(lab.bundle().namespace("network", Some(&own)).args(["sh", "-c", &script]));
        let (stream, _) = listener.accept().unwrap();
        stream.set_read_timeout(Some(std::time::Duration::from_secs(20))).unwrap();
        let mut numbers = BufReader::new(stream).lines().map(|line| line.unwrap().parse::<u32>().unwrap());
        assert_eq!(numbers.by_ref().take(5).collect::<Vec<_>>(), [1, 2, 3, 4, 5]);
        let path = image(lab, "image");
        let options = ["--tcp-established", "--image-path", &path];
        checkpoint(&c, &["--image-path", &path]).fails(); // not without being told
        assert_eq!(c.status(), "running");
        checkpoint(&c, &options).ok();
        restore(&c, &options).ok();
        let inode = |path: &str| fs::read_link(path).unwrap();
        assert_eq!(inode(&format!("/proc/{}/ns/net", c.pid())), inode(&own));
        // More than can have been on its way.
        let after: Vec<_> = numbers.take(300).collect();
        assert_eq!(after, (6..306).collect::<Vec<_>>());
    });
}

#[test]
fn mounts_are_what_they_were() {
    obeys(SECTION, |lab| {
        share_mounts();
        let data = lab.dir().join("data");
        fs::create_dir(&data).unwrap();
        fs::write(data.join("file"), "of the host").unwrap();
        let (data, file) =
            (data.to_string_lossy().into_owned(), data.join("file").to_string_lossy().into_owned());
        let b = counter(lab)
            .mount("/data", "bind", &data, &["bind", "ro", "nosuid"])
            .mount("/etc/one", "bind", &file, &["bind"])
            .mount("/tmp", "tmpfs", "tmpfs", &["size=1m"])
            .mount("/tmp/two", "bind", &file, &["bind", "ro"])
            .set("/linux/maskedPaths", json!(["/proc/kcore", "/proc/fs"]))
            .set("/linux/readonlyPaths", json!(["/proc/sys"]));
        let c = run(b);
        lab.run(["exec", &c.id, "sh", "-c", "echo kept > /tmp/kept"]).ok();
        let ask = || {
            let words = [
                "exec",
                &c.id,
                "/bin/inside",
                "mounts",
                "read /tmp/kept",
                "read /data/file",
                "read /tmp/two",
            ];
            let phrases = [
                "create /data/x",
                "open /etc/one rw",
                "open /proc/sys/kernel/hostname w",
                "read /proc/kcore",
            ];
            Inside::parse(&lab.run(words.into_iter().chain(phrases)).ok().stdout())
        };
        let shown = |inside: &Inside| {
            let mounts = inside["mounts"].as_array().unwrap().clone();
            let line = |m: &serde_json::Value| format!("{} {} {}", m["at"], m["type"], m["options"]);
            // Of which file system the host's /dev/null is, is the host's to say.
            let others = mounts.iter().filter(|m| m["at"] != "/proc/kcore");
            let mut lines: Vec<_> = others.map(line).collect();
            lines.sort();
            lines
        };
        let before = ask();
        let path = image(lab, "image");
        checkpoint(&c, &["--image-path", &path]).ok();
        restore(&c, &["--image-path", &path]).ok();
        let after = ask();
        assert_eq!(shown(&after), shown(&before));
        let rest =
            ["read /tmp/kept", "read /data/file", "read /tmp/two", "create /data/x", "open /etc/one rw"];
        for phrase in rest.into_iter().chain(["open /proc/sys/kernel/hostname w", "read /proc/kcore"]) {
            assert_eq!(after[phrase], before[phrase], "{phrase}");
        }
        assert_eq!(after["create /data/x"], "EROFS");
    });
}

#[test]
fn another_root_gets_its_mount_points() {
    obeys(SECTION, |lab| {
        let data = lab.dir().join("data");
        fs::create_dir(&data).unwrap();
        let data = data.to_string_lossy().into_owned();
        let bundle = || {
            counter(lab).mount("/dev", "tmpfs", "tmpfs", &["mode=755"]).mount(
                "/a/b/c",
                "bind",
                &data,
                &["bind"],
            )
        };
        let c = run(bundle());
        let path = image(lab, "image");
        wait_for_more(&c);
        checkpoint(&c, &["--image-path", &path]).ok();
        let fresh = bundle().container();
        fs::copy(c.bundle.path("/log"), fresh.bundle.path("/log")).unwrap();
        restore(&fresh, &["--image-path", &path]).ok();
        wait_for_more(&fresh);
    });
}

#[test]
fn limits_and_hooks_are_those_of_the_configuration() {
    obeys(SECTION, |lab| {
        needs(machine::controller("pids"), "the pids controller");
        let b = counter(lab)
            .set("/linux/resources", json!({ "pids": { "limit": 33 } }))
            .hook("createRuntime", ["to /created", "pid"])
            .hook("poststop", ["to /stopped", "pid"]);
        let c = run(b);
        let limit = || fs::read_to_string(c.cgroup().join("pids.max")).unwrap();
        assert_eq!(limit(), "33\n");
        let path = image(lab, "image");
        checkpoint(&c, &["--image-path", &path]).ok();
        restore(&c, &["--image-path", &path]).ok();
        assert_eq!(limit(), "33\n");
        wait_for_more(&c);
        assert!(c.cgroup().to_string_lossy().contains(lab.tag()), "{:?}", c.cgroup());
    });
}

#[test]
fn a_user_namespace() {
    obeys(SECTION, |lab| {
        share_mounts();
        let c = run(counter(lab).user_namespace(300_000));
        wait_for_more(&c);
        let path = image(lab, "image");
        checkpoint(&c, &["--image-path", &path]).ok();
        restore(&c, &["--image-path", &path]).ok();
        wait_for_more(&c);
        let map = fs::read_to_string(format!("/proc/{}/uid_map", c.pid())).unwrap();
        assert_eq!(map.split_whitespace().collect::<Vec<_>>(), ["0", "300000", "65536"]);
    });
}

#[test]
fn what_does_not_run_is_not_saved() {
    obeys(SECTION, |lab| {
        needs_criu();
        let c = lab.bundle().create();
        checkpoint(&c, &["--image-path", &image(lab, "i")])
            .fails_saying(&["cannot be checkpointed in created state"]);
        c.start().ok();
        c.wait_for("stopped");
        checkpoint(&c, &["--image-path", &image(lab, "i")])
            .fails_saying(&["cannot be checkpointed in stopped state"]);
        lab.run(["checkpoint", "no-such"]).fails_saying(&["does not exist"]);
    });
}

#[test]
fn wrong_values_are_refused() {
    obeys(SECTION, |lab| {
        let c = run(counter(lab));
        let path = image(lab, "image");
        let file = lab.dir().join("file");
        fs::write(&file, "").unwrap();
        let file = file.to_string_lossy().into_owned();
        for (options, says) in [
            (&["--manage-cgroups-mode", "x"][..], "mode"),
            (&["--empty-ns", "pid"], "pid"),
            (&["--page-server", "here"], "address:port"),
            (&["--parent-path", "/tmp"], "--parent-path must be relative"),
            (&["--parent-path", "../no-such"], "invalid --parent-path"),
            (&["--parent-path", "../file"], "invalid --parent-path"),
            (&["--lazy-pages", "--status-fd", "77"], "invalid --status-fd argument 77"),
            (&["--lazy-pages", "--status-fd", "0"], "not writable"),
            (&["--image-path", &file], "file"),
            (&["--work-path", &file], "file"),
        ] {
            let options = [&["--image-path", &path], options].concat();
            checkpoint(&c, &options).fails_saying(&[says]);
        }
        wait_for_more(&c);
        checkpoint(&c, &["--image-path", &path]).ok();
        let no_such = image(lab, "no-such");
        for (options, says) in [
            (&["--manage-cgroups-mode", "x"][..], "mode"),
            (&["--empty-ns", "pid"], "pid"),
            (&["--image-path", &no_such], "no such file"),
            (&["--work-path", &file], "file"),
            (&["--console-socket", &file], "console"),
            (&["--pid-file", "/no/such/file"], "no such file"),
        ] {
            let options = [&["--detach", "--image-path", &path], options].concat();
            c.command("restore", &options).run().fails_saying(&[says]);
            lab.run(["state", &c.id]).fails_saying(&["does not exist"]);
        }
        // What is there can't be made again.
        restore(&c, &["--image-path", &path]).ok();
        c.command("restore", &["--detach", "--image-path", &path])
            .run()
            .fails_saying(&["already exists", "already running"]);
        wait_for_more(&c);
    });
}

#[test]
fn an_image_that_is_broken_leaves_nothing() {
    obeys(SECTION, |lab| {
        let c = run(counter(lab));
        let path = image(lab, "image");
        checkpoint(&c, &["--image-path", &path]).ok();
        fs::write(PathBuf::from(&path).join("pstree.img"), "x").unwrap();
        c.command("restore", &["--detach", "--image-path", &path]).run().fails_saying(&["criu"]);
        lab.run(["state", &c.id]).fails_saying(&["does not exist"]);
    });
}

#[test]
fn a_mount_is_not_writable_because_the_container_made_it_so() {
    obeys(SECTION, |lab| {
        let data = lab.dir().join("data");
        fs::create_dir(&data).unwrap();
        let b = counter(lab).caps(&["CAP_SYS_ADMIN"]);
        let c = run(b.mount("/data", "bind", data.to_str().unwrap(), &["bind", "ro"]));
        let remount = ["exec", &c.id, "busybox", "mount", "-o", "remount,rw,bind", "/data"];
        lab.run(remount).ok();
        let path = image(lab, "image");
        checkpoint(&c, &["--image-path", &path]).fails_saying(&["no longer ro"]);
        assert_eq!(c.status(), "running");
        wait_for_more(&c);
    });
}

/// CVE-2026-115520 and its like.
#[test]
fn a_path_cannot_say_which_mount_is_meant() {
    obeys(SECTION, |lab| {
        let data = lab.dir().join("data");
        fs::create_dir(&data).unwrap();
        let c = run(counter(lab).mount("/a/b", "bind", data.to_str().unwrap(), &["bind"]));
        let rename = "busybox mv /a '/x]:mount-1' && busybox ln -s 'x]:mount-1' /a";
        lab.run(["exec", &c.id, "sh", "-c", rename]).ok();
        let path = image(lab, "image");
        checkpoint(&c, &["--image-path", &path]).fails_saying(&["]:"]);
        assert_eq!(c.status(), "running");
        wait_for_more(&c);
    });
}

/// The same for who hands over an image: what it says is not believed, and an honest one is still restored.
#[test]
fn an_image_cannot_name_a_directory_of_the_host() {
    obeys(SECTION, |lab| {
        let (data, secret) = (lab.dir().join("data"), lab.dir().join("secret"));
        for dir in [&data, &secret] {
            fs::create_dir(dir).unwrap();
        }
        fs::write(secret.join("key"), "of the host").unwrap();
        let c = run(counter(lab).mount("/data", "bind", data.to_str().unwrap(), &["bind"]));
        wait_for_more(&c);
        let path = image(lab, "image");
        checkpoint(&c, &["--image-path", &path]).ok();
        let file = PathBuf::from(&path).join("rrunc.json");
        let honest =
            fs::read_to_string(&file).unwrap_or_else(|_| skip!("only rrunc keeps a file of its own"));
        let refused = |says: &str| {
            c.command("restore", &["--detach", "--image-path", &path]).run().fails_saying(&[says]);
            lab.run(["state", &c.id]).fails_saying(&["does not exist"]);
        };
        let table: serde_json::Value = serde_json::from_str(&honest).unwrap();
        let (key, destination) = table["mounts"].as_object().unwrap().iter().next().unwrap();
        assert_eq!(destination, "/data");
        let mut hostile = table.clone();
        hostile["mounts"] = json!({ format!("{key}]:{}", secret.display()): "/data" });
        fs::write(&file, hostile.to_string()).unwrap();
        refused("is no name that checkpoint gives");
        hostile["mounts"] = json!({ key: secret.to_str().unwrap() });
        fs::write(&file, hostile.to_string()).unwrap();
        refused("a mount of the host on");
        fs::write(&file, &honest).unwrap();
        for (link, says) in [(true, "is a symlink"), (false, "is a file with 2 names")] {
            let (planted, target) = (PathBuf::from(&path).join("pages-9.img"), secret.join("key"));
            match link {
                true => std::os::unix::fs::symlink(&target, &planted),
                false => fs::hard_link(&target, &planted),
            }
            .unwrap();
            refused(says);
            fs::remove_file(&planted).unwrap();
        }
        restore(&c, &["--image-path", &path]).ok();
        wait_for_more(&c);
    });
}

/// What an image says nothing of is the host's, whatever config.json wants.
#[test]
fn an_image_is_not_restored_outside_of_the_containers_namespaces() {
    obeys(SECTION, |lab| {
        for kind in ["uts", "ipc"] {
            let c = run(counter(lab).without_namespace(kind));
            wait_for_more(&c);
            let path = image(lab, kind);
            checkpoint(&c, &["--image-path", &path]).ok();
            let stopped_at = count(&c);
            let wanting = counter(lab).container();
            let restored = wanting.command("restore", &["--detach", "--image-path", &path]).run();
            restored.fails_saying(&[&format!("in the host's {kind} namespace")]);
            lab.run(["state", &wanting.id]).fails_saying(&["does not exist"]);
            assert_eq!((count(&c), count(&wanting)), (stopped_at, 0), "it has run");
            restore(&c, &["--image-path", &path]).ok();
            wait_for_more(&c);
        }
    });
}

#[test]
fn memory_comes_when_it_is_used() {
    obeys(SECTION, |lab| {
        let c = run(counter(lab));
        wait_for_more(&c);
        let (path, work) = (image(lab, "image"), image(lab, "work"));
        let status = lab.dir().join("status");
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let server = format!("127.0.0.1:{port}");
        let options = ["--lazy-pages", "--page-server", &server, "--status-fd", "3", "--image-path", &path];
        let words = ["checkpoint"].into_iter().chain(options).chain([c.id.as_str()]);
        let mut saving = lab.command(words).redirect(&format!("3>{}", status.display())).spawn();
        eventually("pages can be asked for", || {
            assert!(!saving.is_over(), "the checkpoint is over before its pages were asked for");
            (fs::read(&status).unwrap_or_default() == [0]).then_some(())
        });
        let stopped_at = count(&c);
        fs::create_dir(&work).unwrap();
        let mut pages = std::process::Command::new("criu")
            .args(["lazy-pages", "--page-server", "--address", "127.0.0.1", "--port", &port.to_string()])
            .args(["--images-dir", &path, "--work-dir", &work])
            .spawn()
            .unwrap();
        eventually("the server of pages", || {
            fs::exists(PathBuf::from(&work).join("lazy-pages.socket")).unwrap().then_some(())
        });
        // Under another name, since the first is only deleted once all of its memory has gone over.
        let other = lab.fresh("lazy");
        let bundle = c.bundle.dir().to_string_lossy().into_owned();
        let words = ["restore", "--detach", "--lazy-pages", "--image-path", &path, "--work-path", &work];
        lab.run(words.into_iter().chain(["--bundle", &bundle, &other])).ok();
        eventually("it counts on", || (count(&c) > stopped_at).then_some(()));
        saving.wait().ok();
        assert!(pages.wait().unwrap().success(), "criu lazy-pages");
        lab.run(["state", &c.id]).fails_saying(&["does not exist"]);
        lab.run(["delete", "--force", &other]).ok();
    });
}

#[test]
fn a_service_managers_socket_is_no_obstacle() {
    obeys(SECTION, |lab| {
        let manager = lab.dir().join("manager");
        let _socket = std::os::unix::net::UnixDatagram::bind(&manager).unwrap();
        let c = counter(lab).container();
        let create = c.command("create", &[]).env("NOTIFY_SOCKET", manager.to_str().unwrap());
        create.redirect(QUIET).run().ok();
        c.start().ok();
        wait_for_more(&c);
        let path = image(lab, "image");
        checkpoint(&c, &["--image-path", &path]).ok();
        restore(&c, &["--image-path", &path]).ok();
        wait_for_more(&c);
    });
}
