use super::*;
use crate::sys::signals::unblock_in_child;
use crate::sys::tty;
use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio as Io};
use std::thread;
use std::time::Duration;

/// A new pty: master and slave.
fn pty() -> (OwnedFd, OwnedFd) {
    let master = File::options().read(true).write(true).open("/dev/ptmx").unwrap();
    tty::unlock_pty(master.as_fd()).unwrap();
    let slave = tty::open_peer(master.as_fd()).unwrap();
    (master.into(), slave)
}

/// Supervises `sh -c script`, on a terminal if there is one; `blocked` runs once signals are blocked.
#[expect(clippy::zombie_processes, reason = "supervise waits for it")]
fn run(script: &str, terminal: Option<(OwnedFd, OwnedFd, Stdio<'_>)>, blocked: impl FnOnce()) -> i32 {
    let signals = Signals::block().unwrap();
    let mut command = Command::new("/bin/sh");
    command.args(["-c", script]).stdin(Io::null());
    let relay = terminal.map(|(master, slave, stdio)| {
        let slave = || slave.try_clone().unwrap();
        command.stdin(slave()).stdout(slave()).stderr(slave());
        Relay::new(master, stdio).unwrap()
    });
    unblock_in_child(&mut command);
    let child = command.process_group(0).spawn().unwrap();
    drop(command); // with its copies of the slave
    let pid = Pid(child.id() as i32);
    let pidfd = process::pidfd_open(pid).unwrap();
    blocked();
    let pidfd = pidfd.as_fd();
    supervise(Init { pid, pidfd }, (relay, None), &signals, Reap::Init).unwrap()
}

/// The same with a pty for the container and `user` as the user's terminal.
fn run_on(script: &str, user: Stdio<'_>) -> i32 {
    let (master, slave) = pty();
    run(script, Some((master, slave, user)), || {})
}

/// Types `keys` once `script` has shown something; returns its status and what it has shown.
fn typed(keys: &[u8], script: &str) -> (i32, Vec<u8>) {
    let (user, screen) = pty();
    let before = stty(&screen);
    let (mut keyboard, mut shown) = (File::from(user.try_clone().unwrap()), File::from(user));
    let (begun, begin) = std::sync::mpsc::channel();
    thread::scope(|scope| {
        let reader = scope.spawn(move || {
            let (mut all, mut chunk) = (vec![], [0; 4096]);
            // EIO comes once the last slave is closed.
            while let Ok(n @ 1..) = shown.read(&mut chunk) {
                all.extend_from_slice(&chunk[..n]);
                let _ = begun.send(());
            }
            all
        });
        let writer = scope.spawn(move || begin.recv().is_err() || keyboard.write_all(keys).is_ok());
        let status = run_on(script, Stdio { stdin: screen.as_fd(), stdout: screen.as_fd() });
        assert_eq!(stty(&screen), before, "the terminal is as it was");
        drop(screen);
        let shown = reader.join().unwrap();
        assert!(writer.join().unwrap());
        (status, shown)
    })
}

/// What `stty` tells of a terminal.
fn stty(tty: &OwnedFd) -> String {
    let output = Command::new("stty").arg("-a").stdin(tty.try_clone().unwrap()).output().unwrap();
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn the_status_of_the_init() {
    let check = |script, expected| assert_eq!(run(script, None, || {}), expected);
    check("exit 0", 0);
    check("exit 7", 7);
    check("kill -KILL $$", 137);
    check("sleep 0.3; exit 3", 3);
}

#[test]
fn signals_go_on() {
    let send = |signal: i32| move || nix::sys::signal::raise(signal.try_into().unwrap()).unwrap();
    assert_eq!(run("exec sleep 1000", None, send(libc::SIGTERM)), 143);
    assert_eq!(run("exec sleep 1000", None, send(libc::SIGUSR1)), 138); // HUP may come to us ignored
    // Not these: the program would not end by itself.
    for signal in [libc::SIGURG, libc::SIGWINCH, libc::SIGPIPE, libc::SIGCHLD] {
        assert_eq!(run("trap 'exit 9' URG WINCH PIPE; sleep 0.2; exit 4", None, send(signal)), 4);
    }
}

#[test]
fn keys_and_output() {
    let (status, shown) = typed(b"hello\r", "echo ready; read line; echo \"got $line\"; exit 5");
    let text = String::from_utf8_lossy(&shown);
    assert_eq!(status, 5, "{text}");
    assert!(text.contains("ready\r\n") && text.contains("got hello\r\n"), "{text:?}");
}

#[test]
fn all_of_the_output_after_the_end() {
    let (status, shown) = typed(b"", "stty -opost; head -c 1000000 /dev/zero; echo END");
    assert_eq!(status, 0);
    assert_eq!(shown.len(), 1_000_004);
    assert!(shown.ends_with(b"END\n"));
}

#[test]
fn a_large_paste_while_much_is_shown() {
    let keys = vec![b'x'; 300_000];
    let script = "stty raw -echo; echo begin; head -c 500000 /dev/zero & head -c 300000 | wc -c; wait";
    let (status, shown) = typed(&keys, script);
    assert_eq!(status, 0);
    let zeros = shown.iter().filter(|&&byte| byte == 0).count();
    let text: String = shown.iter().filter(|byte| byte.is_ascii_digit()).map(|&byte| byte as char).collect();
    assert_eq!(zeros, 500_000);
    assert!(text.contains("300000"), "{text}");
}

#[test]
fn size_of_the_window() {
    let (user, screen) = pty();
    tty::set_window_size(screen.as_fd(), 33, 77).unwrap();
    let (master, slave) = pty();
    let peer = slave.try_clone().unwrap();
    let stdio = Stdio { stdin: screen.as_fd(), stdout: screen.as_fd() };
    let resized = || {
        tty::set_window_size(screen.as_fd(), 44, 88).unwrap();
        nix::sys::signal::raise(nix::sys::signal::Signal::SIGWINCH).unwrap();
    };
    let script = "for i in $(seq 100); do [ \"$(stty size)\" = '44 88' ] && exit 8; sleep 0.05; done";
    assert_eq!(run(script, Some((master, slave, stdio)), resized), 8);
    drop((user, peer));
}

fn pipe() -> (File, OwnedFd) {
    let (read, write) = nix::unistd::pipe().unwrap();
    (read.into(), write)
}

#[test]
fn pipes_get_plain_newlines_and_may_close() {
    let null = File::open("/dev/null").unwrap();
    let (mut out, pipe) = pipe();
    let stdio = Stdio { stdin: null.as_fd(), stdout: pipe.as_fd() };
    assert_eq!(run_on("echo a; echo b", stdio), 0);
    let mut shown = [0; 16];
    assert_eq!(out.read(&mut shown).unwrap(), 4);
    assert_eq!(&shown[..4], b"a\nb\n");
    let flags = nix::fcntl::fcntl(&pipe, nix::fcntl::FcntlArg::F_GETFL).unwrap();
    assert_eq!(flags & libc::O_NONBLOCK, 0, "what we share with others stays as it was");
    drop(out);
    assert_eq!(run_on("head -c 300000 /dev/zero; exit 3", stdio), 3, "nobody reads");
}

fn cpu_time() -> Duration {
    use nix::sys::resource::{UsageWho, getrusage};
    let used = getrusage(UsageWho::RUSAGE_THREAD).unwrap();
    let both = [used.user_time(), used.system_time()];
    both.iter().map(|time| Duration::from_micros((time.tv_sec() * 1_000_000 + time.tv_usec()) as u64)).sum()
}

#[test]
fn idle_without_working() {
    let null = File::open("/dev/null").unwrap();
    let (out, pipe) = pipe();
    // Standard input at its end, and a container that has closed its terminal for a while.
    let script = "exec </dev/null >/dev/null 2>/dev/null; sleep 0.7; exit 2";
    let stdio = Stdio { stdin: null.as_fd(), stdout: pipe.as_fd() };
    let before = cpu_time();
    assert_eq!(run_on(script, stdio), 2);
    assert!(cpu_time() - before < Duration::from_millis(200), "{:?}", cpu_time() - before);
    drop(out);
}
