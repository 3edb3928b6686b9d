//! CVE-2019-5736: nobody in a container gets hold of a writable rrunc.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use integration::{rrunc, unharmed};
use nix::sys::stat::Mode;
use nix::unistd::mkfifo;
use spec_tests::{Bundle, Lab, eventually};

/// A copy of rrunc that a test may lose, on a writable mount, and that of it which must not change.
struct Victim {
    path: PathBuf,
    before: Vec<u8>,
}

impl Victim {
    fn new(lab: &Lab) -> Victim {
        let path = lab.dir().join("rrunc");
        fs::copy(rrunc(), &path).expect("copy rrunc");
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
