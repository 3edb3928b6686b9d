//! CVE-2019-5736: nobody in a container gets hold of a writable rrunc.

use std::fs;
use std::os::unix::fs::{PermissionsExt, chown, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use integration::{copy_rrunc, rrunc, unharmed, unharmed_as_user};
use nix::sys::stat::Mode;
use nix::unistd::mkfifo;
use serde_json::json;
use spec_tests::user::UID;
use spec_tests::{Bundle, Inside, Lab, eventually};

/// A copy of rrunc that a test may lose, on a writable mount, and that of it which must not change.
struct Victim {
    path: PathBuf,
    before: Vec<u8>,
}

impl Victim {
    fn new(lab: &Lab) -> Victim {
        let path = lab.dir().join("rrunc");
        copy_rrunc(&path);
        let before = fs::read(&path).expect("readable");
        Victim { path, before }
    }

    #[track_caller]
    fn assert_untouched(&self) {
        assert!(fs::read(&self.path).expect("readable") == self.before, "rrunc was overwritten");
    }
}

/// Opens whatever it is given, tries to make its mount writable, opens it for writing, once it is no longer executed,
/// and says what came of it.
const OVERWRITE: &str = "exec 9< $1 || exit 1
    /bin/inside 'make-mount-writable 9' 'clone-mount-writable 9' >> /mounts
    touch /opened
    n=0; while [ $n -lt 100 ]; do
        (echo overwritten > /proc/self/fd/9) 2>> /errors && echo written >> /errors
        sleep 0.01; n=$((n + 1))
    done";

/// What an attacker in the container does to the process with the pid in /pid.
const WAIT: &str =
    "until [ -e /pid ]; do sleep 0.01; done; sh /overwrite /proc/$(cat /pid)/exe; touch /over; sleep 60";

/// A neighbour with every capability, in the same pid namespace, opens the executable of the container's
/// process, before or after the start, and overwrites it once it is not executed any more.
fn overwrite(lab: &Lab, started: bool, bundle: Bundle) {
    let victim = Victim::new(lab);
    let neighbour = lab.bundle().caps(&spec_tests::ALL_CAPS).file("/overwrite", OVERWRITE);
    let neighbour = neighbour.args(["sh", "-c", WAIT]).start();
    let ns = format!("/proc/{}/ns/pid", neighbour.pid());
    let c = bundle.namespace("pid", Some(&ns)).container();
    c.bundle.write();
    let run = |args: &[&str]| {
        let mut command = Command::new(&victim.path);
        command.arg("--root").arg(lab.root()).args(args).stdin(Stdio::null());
        assert!(command.status().expect("rrunc").success(), "{args:?}");
    };
    run(&["create", "--bundle", &c.bundle.dir().to_string_lossy(), &c.id]);
    let status = fs::read_to_string(format!("/proc/{}/status", c.pid())).expect("status");
    let inner = status.lines().find_map(|l| l.strip_prefix("NSpid:"));
    let inner = inner.and_then(|pids| pids.split_whitespace().last()).expect("its pid in there");
    let rootfs = |name: &str| neighbour.bundle.path(name);
    if started {
        run(&["start", &c.id]);
        let exe = format!("/proc/{}/exe", c.pid());
        let ours = || fs::read(&exe).is_ok_and(|bytes| bytes == victim.before);
        eventually("the entrypoint is rrunc", || ours().then_some(()));
    }
    fs::write(rootfs("/new"), inner).expect("a file");
    fs::rename(rootfs("/new"), rootfs("/pid")).expect("rename");
    eventually("the neighbour has our binary open", || rootfs("/opened").exists().then_some(()));
    run(&["delete", "--force", &c.id]); // now nobody executes rrunc by that file any more
    eventually("the neighbour gave up", || rootfs("/over").exists().then_some(()));
    let errors = fs::read_to_string(rootfs("/errors")).expect("errors");
    assert!(errors.to_lowercase().contains("read-only file system"), "{errors}");
    assert!(!errors.contains("written\n"), "{errors}");
    let mounts = fs::read_to_string(rootfs("/mounts")).expect("answers");
    assert!(!mounts.contains("ok"), "{mounts}");
    assert_eq!(mounts.lines().count(), 2, "{mounts}");
    victim.assert_untouched();
}

#[test]
fn the_executable_of_a_waiting_init_is_read_only() {
    unharmed("CVE-2019-5736", |lab| overwrite(lab, false, lab.bundle()));
}

/// The entrypoint is rrunc itself, as program or as interpreter.
#[test]
fn an_entrypoint_that_is_our_binary_gives_no_hold_on_it() {
    unharmed("CVE-2019-5736", |lab| {
        // A log that nobody reads keeps rrunc waiting, so that there is time to find it.
        let log = "--log=/fifo";
        let bundle = || {
            let bundle =
                with_libraries(lab.bundle()).file("/bin/script", &format!("#!/proc/self/exe {log}\n"));
            mkfifo(&bundle.path("/fifo"), Mode::S_IRWXU).expect("a FIFO");
            symlink("/proc/self/exe", bundle.path("/bin/link")).expect("a symlink");
            bundle.mode("/bin/script", 0o755)
        };
        for program in ["/proc/self/exe", "/bin/link", "/bin/script"] {
            overwrite(lab, true, bundle().args([program, log, "state", "x"]));
        }
    });
}

/// Whoever comes into a container from outside meets one there that may look into every process, opens its executable,
/// and overwrites that once it is executed no more: all commands that put a process into a namespace of the container.
#[test]
fn who_comes_into_a_container_gives_no_hold_on_our_binary() {
    unharmed("CVE-2019-5736", |lab| {
        let list = lab.dir().join("mounts.json");
        fs::write(&list, r#"[{ "destination": "/mnt", "type": "tmpfs", "source": "tmpfs" }]"#)
            .expect("a file");
        let list = list.to_string_lossy().into_owned();
        let mounts = |action: &'static str| ["mounts", action, "ID", &list].map(String::from).to_vec();
        let exec = || ["exec", "ID", "/bin/inside", "pid"].map(String::from).to_vec();
        for (calls, runs) in [(vec![mounts("add"), mounts("remove")], 50), (vec![exec()], 50)] {
            let victim = Victim::new(lab);
            let watcher = lab
                .bundle()
                .caps(&["CAP_SYS_PTRACE", "CAP_SYS_ADMIN", "CAP_DAC_OVERRIDE"])
                .phrases(["to /answer", "overwrite-exe", "sleep"]);
            let watcher = watcher.directory("/mnt").start();
            for call in calls.iter().cycle().take(runs) {
                let call = call.iter().map(|word| if word == "ID" { &watcher.id } else { word });
                let mut command = Command::new(&victim.path);
                command.arg("--root").arg(lab.root()).args(call).stdin(Stdio::null()).stdout(Stdio::null());
                assert!(command.status().expect("rrunc").success(), "{calls:?}");
            }
            let met = watcher.wait_for_answer("/answer", "overwrite-exe")["overwrite-exe"].clone();
            assert_eq!(met["link"], "/", "{met}: a detached mount");
            assert_eq!(met["write"], "EROFS", "{met}");
            assert!(met["mounts"].as_array().is_some_and(|all| !all.contains(&json!("ok"))), "{met}");
            victim.assert_untouched();
        }
    });
}

/// What rrunc is linked with, unless it is static.
fn with_libraries(bundle: Bundle) -> Bundle {
    let listed = Command::new("ldd").arg(rrunc()).output().expect("ldd").stdout;
    for library in String::from_utf8_lossy(&listed).split_whitespace().filter(|word| word.starts_with('/')) {
        let path = bundle.path(library);
        fs::create_dir_all(path.parent().expect("a parent")).expect("a directory");
        fs::copy(library, path).expect("copy a library");
    }
    bundle
}

/// By its name in ps, its arguments and its fds a sealed rrunc is what was called.
#[test]
fn a_sealed_rrunc_looks_as_it_was_called() {
    unharmed("CVE-2019-5736", |lab| {
        let c = lab.bundle().args(["sleep", "60"]).container();
        let mut running = c.command("run", &[]).spawn();
        eventually("it runs", || lab.run(["state", &c.id]).stdout().contains("running").then_some(()));
        let proc = |name: &str| PathBuf::from(format!("/proc/{}/{name}", running.pid()));
        assert_eq!(fs::read_to_string(proc("comm")).expect("comm"), "rrunc\n");
        let arguments = fs::read_to_string(proc("cmdline")).expect("cmdline");
        assert!(
            arguments.starts_with(&*rrunc().to_string_lossy()) && arguments.contains("\0run\0"),
            "{arguments:?}"
        );
        assert_eq!(fs::read_link(proc("exe")).expect("exe"), PathBuf::from("/"));
        assert!(!running.is_over());
        c.kill(&["KILL"]).ok();
        running.wait().exits(137);
    });
}

/// No process of this pid namespace may have executable memory that isn't a file's (sysctl vm.memfd_noexec, Linux 6.3).
const NO_MEMORY: &str = "unshare --pid --fork --mount-proc --kill-child sh -c \
    'echo 2 > /proc/sys/vm/memfd_noexec && exec \"$0\" \"$@\"'";

/// Who may neither clone mounts nor have such memory has the root of a user namespace clone one.
#[test]
fn an_ordinary_user_without_executable_memory_runs_from_a_read_only_clone() {
    unharmed_as_user("CVE-2019-5736", |lab| {
        let ran = lab.bundle().phrases(["pid"]).container().command("run", &[]).through(NO_MEMORY).run().ok();
        assert_eq!(Inside::parse(&ran.stdout())["pid"], 1);
        // Not a command that needs it, but one that is taken for it, and that waits at its log.
        let fifo = lab.dir().join("fifo");
        mkfifo(&fifo, Mode::S_IRWXU).expect("a FIFO");
        chown(&fifo, Some(UID), None).expect("chown");
        let log = format!("--log={}", fifo.display());
        let waiting = lab.command(["state", "run"]).global(&log).through(NO_MEMORY).spawn();
        let exe = eventually("a sealed process", || {
            let children = format!("/proc/{0}/task/{0}/children", waiting.pid());
            let exe = format!("/proc/{}/exe", fs::read_to_string(children).ok()?.trim());
            (fs::read_link(&exe).ok()? == Path::new("/")).then_some(exe)
        });
        let flags = nix::sys::statvfs::statvfs(exe.as_str()).expect("its mount").flags();
        assert!(flags.contains(nix::sys::statvfs::FsFlags::ST_RDONLY), "{flags:?}");
        fs::read(&fifo).expect("its log");
        waiting.wait().fails_saying(&["does not exist"]);
    });
}

/// A binary that can't be found to be cloned (it is deleted) is no danger if root alone may write to it; of the user's own
/// no container is made.
#[test]
fn without_a_seal_an_ordinary_user_runs_only_what_is_out_of_reach() {
    unharmed_as_user("CVE-2019-5736", |lab| {
        for (owner, mode, expected) in [(0, 0o755, 0), (0, 0o775, 1), (UID, 0o755, 1)] {
            let c = lab.bundle().args(["true"]).container();
            c.bundle.write();
            let gone = lab.dir().join("gone");
            copy_rrunc(&gone);
            chown(&gone, Some(owner), Some(owner)).expect("chown");
            fs::set_permissions(&gone, fs::Permissions::from_mode(mode)).expect("chmod");
            let user = format!("setpriv --reuid={UID} --regid={UID} --clear-groups --inh-caps=-all");
            let call = format!(
                "exec 9< {0}; rm {0}; exec {NO_MEMORY} {user} /proc/self/fd/9 \"$@\"",
                gone.display()
            );
            let mut command = Command::new("/bin/sh");
            command.args(["-c", &call, "sh", "--root"]).arg(lab.root()).args(["run", "--bundle"]);
            let ran = command.arg(c.bundle.dir()).arg(&c.id).stdin(Stdio::null()).output().expect("sh");
            let said = String::from_utf8_lossy(&ran.stderr);
            assert_eq!(ran.status.code(), Some(expected), "owner {owner}, mode {mode:o}: {said}");
            assert_eq!(said.contains("memfd_create: permission denied"), expected != 0, "{said}");
            assert!(!lab.root().join(&c.id).exists(), "its state is left");
        }
    });
}
