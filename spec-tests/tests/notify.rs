//! sd_notify(3), as runc and crun have it: a service manager hears when the container's program is ready.

use std::collections::BTreeSet;
use std::io::ErrorKind;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::time::Duration;

use serde_json::json;
use spec_tests::*;

const SECTION: &str = "runtime.md#operations";

/// A service manager, and what it was told.
struct Manager {
    socket: UnixDatagram,
    /// Its NOTIFY_SOCKET.
    name: String,
}

impl Manager {
    fn new(lab: &Lab) -> Manager {
        let path = lab.dir().join("manager");
        let socket = UnixDatagram::bind(&path).expect("a socket");
        Manager::of(socket, path.to_string_lossy().into_owned())
    }

    fn of(socket: UnixDatagram, name: String) -> Manager {
        // A control that never says anything is waited for as long, several times.
        socket.set_read_timeout(Some(Duration::from_secs(20))).expect("a timeout");
        Manager { socket, name }
    }

    /// What it is told until this line. Fds that come along are closed.
    fn until(&self, last: &str) -> BTreeSet<String> {
        let mut lines = BTreeSet::new();
        while !lines.contains(last) {
            let mut message = [0; 4096];
            let length = match self.socket.recv(&mut message) {
                // With a time limit it may be told of what was no signal to us: signal(7), "Interruption … by stop signals".
                Err(e) if e.kind() == ErrorKind::Interrupted => continue,
                told => told.unwrap_or_else(|e| panic!("no {last}, only {lines:?}: {e}")),
            };
            let text = String::from_utf8_lossy(&message[..length]).into_owned();
            lines.extend(text.lines().map(str::to_string));
        }
        lines
    }

    fn assert_silent(&self) {
        self.socket.set_nonblocking(true).expect("nonblocking");
        let mut message = [0; 4096];
        let heard = self.socket.recv(&mut message);
        assert!(heard.is_err(), "told {:?}", String::from_utf8_lossy(&message));
    }
}

fn lines<const N: usize>(lines: [&str; N]) -> BTreeSet<String> {
    lines.map(str::to_string).into()
}

const READY: &str = "tell /run/notify/notify.sock READY=1";

/// A program that looks around, and is ready when it gets SIGUSR1.
fn slow<'a>(lab: &'a Lab) -> Bundle<'a> {
    lab.bundle().file("/out", "").mode("/out", 0o666).phrases([
        "to /out",
        "block SIGUSR1",
        "env",
        "mounts",
        "await SIGUSR1",
        READY,
        "sleep",
    ])
}

#[test]
fn start_waits_until_the_program_is_ready() {
    obeys(SECTION, |lab| {
        let manager = Manager::new(lab);
        let c = slow(lab).container();
        c.bundle.write();
        c.command("create", &[]).env("NOTIFY_SOCKET", &manager.name).run().ok();
        manager.assert_silent();
        let mut start = lab.command(["start", &c.id]).env("NOTIFY_SOCKET", &manager.name).spawn();
        let seen = c.wait_for_answer("/out", "mounts");
        assert_eq!(seen["env"]["NOTIFY_SOCKET"], "/run/notify/notify.sock");
        let mount = seen.mount("/run/notify").expect("its directory");
        for option in ["ro", "nosuid", "nodev", "noexec"] {
            assert!(mount.has(option), "{option}");
        }
        assert!(!start.is_over(), "the program isn't ready");
        manager.assert_silent();
        manager.socket.set_nonblocking(false).expect("blocking");
        c.kill(&["USR1"]).ok();
        let pid = format!("MAINPID={}", c.pid());
        assert_eq!(manager.until("BARRIER=1"), lines([&pid, "READY=1", "BARRIER=1"]));
        start.wait().ok();
    });
}

#[test]
fn run_detached_waits_too() {
    obeys(SECTION, |lab| {
        let manager = Manager::new(lab);
        let c = slow(lab).container();
        c.bundle.write();
        let mut run = c.command("run", &["--detach"]).env("NOTIFY_SOCKET", &manager.name).spawn();
        c.wait_for_answer("/out", "mounts");
        assert!(!run.is_over(), "the program isn't ready");
        c.kill(&["USR1"]).ok();
        let pid = format!("MAINPID={}", c.pid());
        assert_eq!(manager.until("BARRIER=1"), lines([&pid, "READY=1", "BARRIER=1"]));
        run.wait().ok();
        assert_eq!(c.status(), "running");
    });
}

#[test]
fn run_in_the_foreground_is_the_service_itself() {
    obeys(SECTION, |lab| {
        let manager = Manager::new(lab);
        let c = slow(lab).container();
        c.bundle.write();
        let run = c.command("run", &[]).env("NOTIFY_SOCKET", &manager.name).spawn();
        c.wait_for_answer("/out", "mounts");
        c.kill(&["USR1"]).ok();
        let heard = manager.until("READY=1");
        drop(manager);
        let pid = format!("MAINPID={}", run.pid());
        assert!(heard == lines([&pid, "READY=1"]) || heard == lines(["READY=1"]), "{heard:?}");
        c.kill(&["KILL"]).ok();
        run.wait().exits(137);
    });
}

#[test]
fn a_program_that_ends_was_never_ready() {
    obeys(SECTION, |lab| {
        let manager = Manager::new(lab);
        let c = lab.bundle().phrases(["exit 3"]).container();
        c.bundle.write();
        c.command("create", &[]).env("NOTIFY_SOCKET", &manager.name).run().ok();
        lab.command(["start", &c.id]).env("NOTIFY_SOCKET", &manager.name).run().ok();
        manager.assert_silent();
        c.wait_for("stopped");
    });
}

#[test]
fn a_user_of_a_user_namespace_is_heard() {
    obeys(SECTION, |lab| {
        let manager = Manager::new(lab);
        let c = slow(lab)
            .user_namespace(300_000)
            .set("/process/user", json!({ "uid": 1000, "gid": 1000 }))
            .container();
        c.bundle.write();
        let run = c.command("run", &["--detach"]).env("NOTIFY_SOCKET", &manager.name).spawn();
        c.wait_for_answer("/out", "mounts");
        c.kill(&["USR1"]).ok();
        manager.until("READY=1");
        manager.until("BARRIER=1");
        run.wait().ok();
    });
}

#[test]
fn a_manager_may_have_an_abstract_name() {
    obeys(SECTION, |lab| {
        let name = lab.fresh("manager");
        let address = SocketAddr::from_abstract_name(&name).expect("an address");
        let socket = UnixDatagram::bind_addr(&address).expect("a socket");
        let manager = Manager::of(socket, format!("@{name}"));
        let c = lab.bundle().phrases([READY, "sleep"]).container();
        c.bundle.write();
        let run = c.command("run", &["--detach"]).env("NOTIFY_SOCKET", &manager.name).spawn();
        manager.until("BARRIER=1");
        run.wait().ok();
    });
}

/// Whoever could say more than that would speak for the service on the host.
#[test]
fn a_program_says_no_more_than_that_it_is_ready() {
    obeys(SECTION, |lab| {
        let manager = Manager::new(lab);
        let tell = |message: &str| format!("tell /run/notify/notify.sock {message}");
        let long = tell(&"x".repeat(10_000));
        let phrases = [
            tell("MAINPID=1"),
            tell("READY=0\\nXREADY=1"),
            tell("FDSTORE=1\\nFDNAME=x"),
            tell("BARRIER=1"),
            long,
            tell("MAINPID=1\\nREADY=1\\nFDSTORE=1"),
            "sleep".into(),
        ];
        let c = lab.bundle().phrases(phrases.iter().map(String::as_str)).container();
        c.bundle.write();
        let run = c.command("run", &["--detach"]).env("NOTIFY_SOCKET", &manager.name).spawn();
        let heard = manager.until("BARRIER=1");
        let pid = format!("MAINPID={}", c.pid());
        assert_eq!(heard, lines([&pid, "READY=1", "BARRIER=1"]));
        run.wait().ok();
    });
}

#[test]
fn the_directory_is_not_the_programs_to_change() {
    obeys(SECTION, |lab| {
        let manager = Manager::new(lab);
        let c = lab
            .bundle()
            .caps(&["CAP_DAC_OVERRIDE"])
            .phrases(["create /run/notify/other", "remove /run/notify/notify.sock", READY, "exit 0"])
            .container();
        c.bundle.write();
        let ran = c.command("run", &[]).env("NOTIFY_SOCKET", &manager.name).run().ok();
        let seen = Inside::parse(&ran.stdout());
        assert_eq!(seen["create /run/notify/other"], "EROFS");
        assert_eq!(seen["remove /run/notify/notify.sock"], "EROFS");
        assert_eq!(seen[READY], "ok");
    });
}

#[test]
fn without_a_manager_there_is_no_socket() {
    obeys(SECTION, |lab| {
        let seen = lab
            .bundle()
            .set("/process/env", json!(["NOTIFY_SOCKET=/own/socket", "PATH=/bin"]))
            .ask(["env", "mounts"]);
        assert_eq!(seen["env"]["NOTIFY_SOCKET"], "/own/socket");
        assert!(seen.mount("/run/notify").is_none());
    });
}
