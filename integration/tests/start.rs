//! The way from a created container to its program: whatever ends it there is told, and nobody takes its end for the
//! execution of the program.

use std::fs;
use std::os::fd::AsRawFd;
use std::os::unix::fs::MetadataExt;

use integration::unharmed;
use nix::sys::signal::{Signal, kill};
use nix::sys::socket::{self, AddressFamily, MsgFlags, SockFlag, SockType, UnixAddr};
use nix::unistd::Pid;
use serde_json::json;
use spec_tests::{Bundle, Container, Lab, eventually};

/// A container whose startContainer hook lasts.
fn hooked(lab: &Lab) -> Bundle<'_> {
    lab.bundle().hook("startContainer", ["create /reached", "sleep"]).args(["sleep", "600"])
}

fn wait_for_hook(c: &Container) {
    eventually("the hook", || c.bundle.path("/reached").exists().then_some(()));
}

fn killed(c: &Container) {
    kill(Pid::from_raw(c.pid()), Signal::SIGKILL).expect("kill the container's process");
}

const IN_HOOK: &str = "was killed by SIGKILL during step ";

#[test]
fn a_process_that_is_killed_in_a_hook_is_not_started() {
    unharmed("start", |lab| {
        let c = hooked(lab).create();
        let start = lab.command(["start", &c.id]).spawn();
        wait_for_hook(&c);
        killed(&c);
        let ran = start.wait().fails_saying(&[IN_HOOK]).exits(1);
        assert!(ran.stderr().contains("startContainer[0]"), "{}", ran.stderr());
        assert_eq!(c.status(), "stopped");
    });
}

#[test]
fn nor_is_it_run() {
    unharmed("run", |lab| {
        for options in [&["--detach"][..], &[]] {
            let c = hooked(lab).container();
            let run = c.command("run", options).spawn();
            wait_for_hook(&c);
            killed(&c);
            let ran = run.wait().fails_saying(&[IN_HOOK]).exits(1);
            assert!(ran.stderr().contains("startContainer[0]"), "{options:?}: {}", ran.stderr());
            assert!(!lab.root().join(&c.id).exists(), "{options:?}: its state is left");
        }
    });
}

#[test]
fn a_process_that_is_killed_while_it_waits_is_not_started() {
    unharmed("start", |lab| {
        let c = lab.bundle().args(["sleep", "600"]).create();
        let init = Pid::from_raw(c.pid());
        kill(init, Signal::SIGSTOP).expect("stop it"); // so that it can't take the start
        let start = lab.command(["start", &c.id]).spawn();
        let receives = format!("{} ", libc::SYS_recvmsg);
        eventually("start waits for an answer", || {
            let call = fs::read_to_string(format!("/proc/{}/syscall", start.pid())).ok()?;
            call.starts_with(&receives).then_some(())
        });
        kill(init, Signal::SIGKILL).expect("kill it");
        start.wait().fails_saying(&["was killed by SIGKILL during its wait for the start"]).exits(1);
        assert_eq!(c.status(), "stopped");
    });
}

/// The last moment: its own filter kills it in execve(2), where it can't tell anybody.
#[test]
fn a_process_that_its_filter_kills_is_not_started() {
    unharmed("start", |lab| {
        let rule = json!([{ "names": ["execve"], "action": "SCMP_ACT_KILL_PROCESS" }]);
        let seccomp = json!({ "defaultAction": "SCMP_ACT_ALLOW", "syscalls": rule });
        for no_new_privileges in [true, false] {
            let b = lab.bundle().set("/linux/seccomp", seccomp.clone());
            let c = b.set("/process/noNewPrivileges", no_new_privileges).container();
            c.run(&[]).fails_saying(&["was killed by SIGSYS during step "]);
            let b = lab.bundle().set("/linux/seccomp", seccomp.clone());
            let c = b.set("/process/noNewPrivileges", no_new_privileges).create();
            // Unless whoever has waited for it was quicker than we: then what it said counts.
            let ran = c.start();
            assert!(ran.code() == 0 || ran.stderr().contains("SIGSYS"), "{}", ran.stderr());
        }
    });
}

#[test]
fn a_container_whose_start_failed_is_stopped_at_once() {
    unharmed("start", |lab| {
        for _ in 0..5 {
            // It takes a while to be gone: the kernel ends all others in its pid namespace first.
            let crowd = "i=0; while [ $i -lt 300 ]; do sleep 600 & i=$((i+1)); done; exit 1";
            let hook = json!([{ "path": "/bin/sh", "args": ["sh", "-c", crowd], "env": ["PATH=/bin"] }]);
            let c = lab.bundle().set("/hooks/startContainer", hook).create();
            c.start().fails_saying(&["startContainer[0]"]);
            assert_eq!(c.status(), "stopped");
        }
        for _ in 0..10 {
            // Found, and not to be executed: the last step of all.
            let c = lab.bundle().file("/bin/broken", "#!/no/such/program\n").mode("/bin/broken", 0o755);
            let c = c.args(["/bin/broken"]).create();
            c.start().fails_saying(&["/bin/broken"]);
            assert_eq!(c.status(), "stopped");
        }
    });
}

/// Who connects and speaks another language is told so, and takes nobody's place.
#[test]
fn a_foreign_word_is_no_start() {
    unharmed("start", |lab| {
        let c = lab.bundle().args(["sleep", "600"]).create();
        let flags = SockFlag::SOCK_CLOEXEC;
        let socket = socket::socket(AddressFamily::Unix, SockType::SeqPacket, flags, None).expect("a socket");
        let directory = fs::File::open(lab.root().join(&c.id)).expect("the container's directory");
        let path = format!("/proc/self/fd/{}/start.sock", directory.as_raw_fd());
        socket::connect(socket.as_raw_fd(), &UnixAddr::new(path.as_str()).expect("an address"))
            .expect("connect");
        socket::send(socket.as_raw_fd(), b"hello", MsgFlags::empty()).expect("send");
        let mut answer = [0; 64];
        let length = socket::recv(socket.as_raw_fd(), &mut answer, MsgFlags::empty()).expect("an answer");
        assert!(length > 0, "it says why");
        drop(socket);
        assert_eq!(c.status(), "created");
        c.start().ok();
        assert_eq!(c.status(), "running");
    });
}

#[test]
fn who_waits_for_the_start_holds_nothing_of_the_hosts_procfs() {
    unharmed("start", |lab| {
        let c = lab.bundle().mount("/tmp", "tmpfs", "tmpfs", &[]).args(["sleep", "600"]).create();
        let host = fs::metadata("/proc").expect("/proc").dev();
        let fds = format!("/proc/{}/fd", c.pid());
        for entry in fs::read_dir(fds).expect("its fds").flatten() {
            let Ok(file) = fs::metadata(entry.path()) else { continue };
            assert_ne!(file.dev(), host, "{:?}", fs::read_link(entry.path()));
        }
    });
}
