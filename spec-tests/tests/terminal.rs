//! config.md#process, `terminal` and `consoleSize`; `--console-socket`; a terminal in the foreground.

use nix::sys::signal::Signal;
use nix::sys::termios::{LocalFlags, tcgetattr};
use serde_json::{Value, json};
use spec_tests::*;

fn with_terminal(lab: &Lab) -> Bundle<'_> {
    let b = lab.bundle().set("/process/terminal", true).mount("/dev", "tmpfs", "tmpfs", &["mode=755"]);
    b.mount("/dev/pts", "devpts", "devpts", &["newinstance", "ptmxmode=0666", "mode=0620"])
}

/// The answer to the phrase on a terminal, which mixes it with echo.
fn answer(terminal: &mut Terminal, phrase: &str) -> Value {
    let text = terminal.read_until(&format!("\"ask\":\"{phrase}\"}}\n")).to_owned();
    Inside::parse(&text)[phrase].clone()
}

/// A shell's loop that waits up to 5 s for the terminal to have this size, and fails if it doesn't get it.
fn wait_for_size(size: &str) -> String {
    format!(
        "i=0; until [ \"$(stty size)\" = '{size}' ] || [ $((i+=1)) = 100 ]; do sleep 0.05; done; [ $i -lt 100 ]"
    )
}

#[test]
fn the_masters_fd_comes_over_the_console_socket() {
    obeys("runtime.md#create", |lab| {
        let socket = FdSocket::listen(lab.dir().join("console"));
        let c = with_terminal(lab).phrases(["tty", "sleep"]).container();
        c.create(&["--console-socket", socket.path()]).ok();
        let mut terminal = socket.receive_terminal();
        c.start().ok();
        let tty = answer(&mut terminal, "tty");
        assert_eq!(tty["terminals"], json!([true, true, true]));
        assert_eq!(tty["name"], "/dev/pts/0");
        assert_eq!(tty["controlling"], "ok");
        assert_eq!((&tty["session"], &tty["foreground"]), (&json!(1), &json!(1)));
    });
}

#[test]
fn the_program_reads_what_is_written_to_the_master() {
    obeys("config.md#process", |lab| {
        let socket = FdSocket::listen(lab.dir().join("console"));
        let c = with_terminal(lab).args(["sh", "-c", "read line; echo got $line"]).container();
        c.run(&["--detach", "--console-socket", socket.path()]).ok();
        let mut terminal = socket.receive_terminal();
        terminal.write("hello\n");
        terminal.read_until("got hello\n");
        c.wait_for("stopped");
    });
}

#[test]
fn the_console_has_its_size() {
    obeys("config.md#process", |lab| {
        let socket = FdSocket::listen(lab.dir().join("console"));
        let b = with_terminal(lab).set("/process/consoleSize", json!({ "height": 33, "width": 111 }));
        let c = b.phrases(["tty", "sleep"]).container();
        c.run(&["--detach", "--console-socket", socket.path()]).ok();
        assert_eq!(answer(&mut socket.receive_terminal(), "tty")["size"], json!([33, 111]));
    });
}

#[test]
fn dev_console_is_the_terminal() {
    obeys("config-linux.md#default-devices", |lab| {
        let socket = FdSocket::listen(lab.dir().join("console"));
        let c = with_terminal(lab).phrases(["stat /dev/console", "stat /dev/pts/0", "sleep"]).container();
        c.run(&["--detach", "--console-socket", socket.path()]).ok();
        let mut terminal = socket.receive_terminal();
        let console = answer(&mut terminal, "stat /dev/console");
        let slave = answer(&mut terminal, "stat /dev/pts/0");
        assert_eq!(
            (&console["type"], &console["major"], &console["minor"]),
            (&json!("c"), &slave["major"], &slave["minor"])
        );
    });
}

#[test]
fn the_terminal_belongs_to_the_user() {
    obeys("config.md#process", |lab| {
        let socket = FdSocket::listen(lab.dir().join("console"));
        let c = with_terminal(lab).set("/process/user", json!({ "uid": 1000, "gid": 1000 }));
        let c = c.phrases(["stat /dev/pts/0", "open /dev/pts/0 rw", "sleep"]).container();
        c.run(&["--detach", "--console-socket", socket.path()]).ok();
        let mut terminal = socket.receive_terminal();
        assert_eq!(answer(&mut terminal, "stat /dev/pts/0")["uid"], 1000);
        assert_eq!(answer(&mut terminal, "open /dev/pts/0 rw"), "ok");
    });
}

#[test]
fn a_user_namespace_has_a_terminal_too() {
    obeys("config.md#process", |lab| {
        let socket = FdSocket::listen(lab.dir().join("console"));
        let c = with_terminal(lab)
            .user_namespace(300_000)
            .phrases(["tty", "stat /dev/pts/0", "sleep"])
            .container();
        c.run(&["--detach", "--console-socket", socket.path()]).ok();
        let mut terminal = socket.receive_terminal();
        assert_eq!(answer(&mut terminal, "tty")["controlling"], "ok");
        assert_eq!(answer(&mut terminal, "stat /dev/pts/0")["uid"], 0);
    });
}

#[test]
fn a_terminal_needs_a_console_socket_if_nobody_stays() {
    obeys("runtime.md#create", |lab| {
        with_terminal(lab).container().create(&[]).fails_saying(&["console"]);
        with_terminal(lab).container().run(&["--detach"]).fails_saying(&["console"]);
    });
}

#[test]
fn a_console_socket_needs_a_terminal() {
    obeys("runtime.md#create", |lab| {
        let socket = FdSocket::listen(lab.dir().join("console"));
        lab.bundle()
            .container()
            .create(&["--console-socket", socket.path()])
            .fails_saying(&["tty", "terminal"]);
    });
}

#[test]
fn a_console_socket_that_is_none_fails_the_create() {
    obeys("runtime.md#create", |lab| {
        let c = with_terminal(lab).container();
        c.create(&["--console-socket", "/no/such/socket"]).fails_saying(&["/no/such/socket", "console"]);
        lab.run(["state", &c.id]).fails();
    });
}

#[test]
fn without_a_terminal_there_is_none() {
    obeys("config.md#process", |lab| {
        let tty = lab.bundle().ask(["tty"])["tty"].clone();
        assert_eq!(
            (&tty["terminals"], &tty["controlling"]),
            (&json!([false, false, false]), &json!("ENXIO"))
        );
    });
}

#[test]
fn run_connects_the_terminal_that_it_was_started_on() {
    obeys("runtime.md#lifecycle", |lab| {
        let (mut terminal, slave) = Terminal::pair(44, 132);
        // Some runtimes pass the size on only after they started the program.
        let wait = wait_for_size("44 132");
        let script = format!("read line; echo got $line; {wait} && exit 6");
        let c = with_terminal(lab).args(["sh", "-c", &script]).container();
        let run = c.command("run", &[]).stdio(slave.try_clone().unwrap()).spawn();
        terminal.write("hello\n");
        terminal.read_until("got hello\n");
        run.wait().exits(6);
    });
}

#[test]
fn run_puts_its_terminal_into_raw_mode_and_back() {
    obeys("runtime.md#lifecycle", |lab| {
        let (mut terminal, slave) = Terminal::pair(24, 80);
        let canonical = || tcgetattr(&slave).unwrap().local_flags.contains(LocalFlags::ICANON);
        let c = with_terminal(lab).args(["sh", "-c", "echo ready; read line; exit 0"]).container();
        let run = c.command("run", &[]).stdio(slave.try_clone().unwrap()).spawn();
        terminal.read_until("ready");
        assert!(!canonical(), "raw while it runs");
        terminal.write("\n");
        run.wait().ok();
        assert!(canonical(), "as it was, afterwards");
    });
}

#[test]
fn an_interrupt_key_reaches_the_program() {
    obeys("runtime.md#lifecycle", |lab| {
        let (mut terminal, slave) = Terminal::pair(24, 80);
        let c = with_terminal(lab).phrases(["block SIGINT", "await SIGINT", "exit 9"]).container();
        let run = c.command("run", &[]).stdio(slave).spawn();
        terminal.read_until("\"ask\":\"block SIGINT\"");
        terminal.write("\u{3}");
        run.wait().exits(9);
    });
}

#[test]
fn run_passes_a_new_window_size_on() {
    obeys("runtime.md#lifecycle", |lab| {
        let (mut terminal, slave) = Terminal::pair(24, 80);
        let wait = wait_for_size("50 160");
        let c = with_terminal(lab).args(["sh", "-c", &format!("echo ready; {wait} && exit 8")]).container();
        let run = c.command("run", &[]).stdio(slave).spawn();
        terminal.read_until("ready");
        terminal.resize(50, 160);
        run.signal(Signal::SIGWINCH);
        run.wait().exits(8);
    });
}
