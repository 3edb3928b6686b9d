//! What goes into processes and comes out of them.

use std::fs::{self, File, OpenOptions};
use std::io::{Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::time::{Duration, Instant};

use containerd_shim_rrunc::proto::task::{
    CloseIoRequest, ConnectResponse, CreateTaskRequest, DeleteRequest, DeleteResponse, StartRequest,
    StartResponse,
};

use crate::client::{Client, V2};
use crate::life::{delete, exec_request, wait};
use crate::world::{World, done, start, until};

fn nonblocking(path: &Path, write: bool) -> File {
    let mut options = OpenOptions::new();
    options.read(!write).write(write).custom_flags(libc::O_NONBLOCK);
    options.open(path).unwrap()
}

fn created(world: &World, program: &str, with: impl FnOnce(&mut CreateTaskRequest)) -> Client {
    world.bundle("i", program);
    let mut client = Client::new(&world.start("i"));
    world.create(&mut client, "i", with).unwrap();
    client
}

fn text(path: &Path) -> String {
    path.display().to_string()
}

#[test]
fn fifos() {
    let world = World::new("fifos");
    let [stdin, stdout, stderr] = ["in", "out", "err"].map(|name| world.fifo(name));
    let mut out = nonblocking(&stdout, false);
    let mut err = nonblocking(&stderr, false);
    let mut client = created(&world, "cat; echo bad >&2; exit 3", |request| {
        request.stdin = text(&stdin);
        request.stdout = text(&stdout);
        request.stderr = text(&stderr);
    });
    start(&mut client, "i", "").unwrap();
    let mut input = OpenOptions::new().write(true).open(&stdin).unwrap();
    input.write_all(b"hello\n").unwrap();
    let mut got = [0; 64];
    until(|| out.read(&mut got).is_ok_and(|bytes| &got[..bytes] == b"hello\n"));
    drop(input);
    // A client may come back until it says that there is no more.
    let mut input = OpenOptions::new().write(true).open(&stdin).unwrap();
    input.write_all(b"again\n").unwrap();
    drop(input);
    until(|| out.read(&mut got).is_ok_and(|bytes| &got[..bytes] == b"again\n"));
    done(client.call("CloseIO", &CloseIoRequest { id: "i".into(), exec_id: String::new(), stdin: true }));
    assert_eq!(wait(&mut client, "i", "").unwrap().exit_status, 3);
    delete(&mut client, "i", "").unwrap();
    assert_eq!(err.read(&mut got).unwrap(), 4);
    assert_eq!(&got[..4], b"bad\n");
    assert_eq!(out.read(&mut got).unwrap(), 0, "both ends are closed");
}

#[test]
fn a_stdin_that_is_closed_before_the_start() {
    let world = World::new("closed");
    let mut client = world.running("i", "exec sleep 1000");
    let mut request = exec_request("i", "e", "cat");
    request.stdin = text(&world.fifo("in"));
    done(client.call("Exec", &request));
    let close = CloseIoRequest { id: "i".into(), exec_id: "e".into(), stdin: true };
    done(client.call("CloseIO", &close));
    start(&mut client, "i", "e").unwrap();
    assert_eq!(wait(&mut client, "i", "e").unwrap().exit_status, 0);
}

/// As for a containerd that was away, and reads what it finds to its end before it deletes.
#[test]
fn nothing_is_lost_while_nobody_reads() {
    let world = World::new("unread");
    let [stdout, stderr] = ["out", "err"].map(|name| world.fifo(name));
    let mut client = created(&world, "echo late; echo bad >&2", |request| {
        request.stdout = text(&stdout);
        request.stderr = text(&stderr);
    });
    start(&mut client, "i", "").unwrap();
    wait(&mut client, "i", "").unwrap();
    let connect = client.call::<ConnectResponse>("Connect", &crate::life::id("i"));
    let fds = Path::new("/proc").join(connect.unwrap().shim_pid.to_string()).join("fd");
    let open = |path: &Path| {
        let fds = fs::read_dir(&fds).unwrap().flatten();
        fds.filter(|fd| fs::read_link(fd.path()).is_ok_and(|target| target == path)).count()
    };
    // Its pipe has ended, and what was in it is in the fifo.
    until(|| open(&stdout) == 1 && open(&stderr) == 1);
    let (tell, told) = std::sync::mpsc::channel();
    std::thread::spawn({
        let stdout = stdout.clone();
        move || tell.send(fs::read_to_string(stdout).unwrap())
    });
    let read = told.recv_timeout(Duration::from_secs(20));
    assert_eq!(read.unwrap(), "late\n");
    assert_eq!((open(&stdout), open(&stderr)), (0, 1));
    delete(&mut client, "i", "").unwrap();
    assert_eq!(open(&stderr), 0);
}

#[test]
fn nothing_is_lost_on_the_way_to_a_slow_reader() {
    let world = World::new("slow");
    let stdout = world.fifo("out");
    let mut out = nonblocking(&stdout, false);
    let size: usize = if std::env::var_os("LONG").is_some() { 100 << 20 } else { 8 << 20 };
    let program = format!("exec head -c {size} /dev/zero");
    let mut client = created(&world, &program, |request| request.stdout = text(&stdout));
    start(&mut client, "i", "").unwrap();
    let (mut got, mut buffer) = (0, vec![0; 50_000]);
    // The process ends, and is deleted, while its last output is still on the way.
    let mut deleting = None;
    let limit = Instant::now() + Duration::from_secs(60);
    while Instant::now() < limit {
        match out.read(&mut buffer) {
            Ok(0) => break,
            Ok(bytes) => got += bytes,
            Err(_) => std::thread::sleep(Duration::from_micros(200)),
        }
        if deleting.is_none() && got * 2 > size {
            let state = crate::life::state(&mut client, "i", "").unwrap();
            if state.status() == containerd_shim_rrunc::proto::task::Status::Stopped {
                let request = DeleteRequest { id: "i".into(), exec_id: String::new() };
                deleting = Some(client.send(V2, "Delete", &request));
            }
        }
    }
    assert_eq!(got, size);
    if let Some(stream) = deleting {
        client.answer::<DeleteResponse>(stream).unwrap();
    }
}

/// A fifo that nobody reads stops one container, and neither its shim nor its deletion.
#[test]
fn a_stuck_reader() {
    let world = World::new("stuck");
    let stdout = world.fifo("out");
    let mut client = created(&world, "head -c 1000000 /dev/zero & exec true", |request| {
        request.stdout = text(&stdout);
    });
    start(&mut client, "i", "").unwrap();
    wait(&mut client, "i", "").unwrap();
    world.bundle("j", "exit 5");
    world.create(&mut client, "j", |_| {}).unwrap();
    start(&mut client, "j", "").unwrap();
    assert_eq!(wait(&mut client, "j", "").unwrap().exit_status, 5);
    let begun = Instant::now();
    delete(&mut client, "i", "").unwrap();
    let took = begun.elapsed();
    assert!((9..15).contains(&took.as_secs()), "{took:?}");
}

#[test]
fn a_file_gets_both() {
    let world = World::new("file");
    let there = world.dir.join("there");
    fs::write(&there, "before\n").unwrap();
    let made = world.dir.join("logs/all");
    for (target, log, expected) in [
        (format!("file://{}", made.display()), &made, &["err", "out"][..]),
        (text(&there), &there, &["before", "err", "out"]),
    ] {
        let mut client = created(&world, "echo out; echo err >&2", |request| {
            request.stdout = target.clone();
            request.stderr = target;
        });
        start(&mut client, "i", "").unwrap();
        wait(&mut client, "i", "").unwrap();
        delete(&mut client, "i", "").unwrap();
        let logged = fs::read_to_string(log).unwrap();
        let mut lines: Vec<_> = logged.lines().collect();
        lines.sort();
        assert_eq!(lines, expected);
    }
}

#[test]
fn a_logger() {
    let world = World::new("logger");
    let log = world.dir.join("log");
    let script = world.script(
        "logger",
        "#!/bin/sh\nexec >>\"$2\"\necho \"$CONTAINER_ID $CONTAINER_NAMESPACE $1\"\nprintf x >&5\nexec 5>&-\ncat <&3\ncat <&4\n",
    );
    for scheme in ["binary", "binary-v2"] {
        let _ = fs::remove_file(&log);
        let id = scheme;
        world.bundle(id, "echo out; echo err >&2");
        let mut client = Client::new(&world.start(id));
        let target = format!("{scheme}://{}?to={}", script.display(), log.display());
        world
            .create(&mut client, id, |request| {
                request.stdout = target.clone();
                request.stderr = target;
            })
            .unwrap();
        start(&mut client, id, "").unwrap();
        wait(&mut client, id, "").unwrap();
        delete(&mut client, id, "").unwrap();
        let logged = fs::read_to_string(&log).unwrap();
        assert_eq!(logged, format!("{id} namespace to\nout\nerr\n"));
    }
}

/// Neither a container nor a process in one waits for ever for a logger that says nothing.
#[test]
fn a_logger_that_never_says_that_it_is_ready() {
    let world = World::new("logger-silent");
    let silent = world.script("silent", "#!/bin/sh\nexec sleep 1000\n");
    let target = format!("binary://{}", silent.display());
    let mut client = world.running("i", "exec sleep 1000");
    let mut request = crate::life::exec_request("i", "e", "exit 0");
    request.stdout = target.clone();
    done(client.call("Exec", &request));
    let starting = StartRequest { id: "i".into(), exec_id: "e".into() };
    let starting = client.send(V2, "Start", &starting);
    done(crate::life::signal(&mut client, "i", "", 9));
    let begun = Instant::now();
    assert_eq!(wait(&mut client, "i", "").unwrap().exit_status, 137);
    assert!(begun.elapsed().as_secs() < 5, "the end of the init is the exec's");
    let started = client.answer::<StartResponse>(starting);
    assert!(started.unwrap_err().1.contains("has not said"));

    world.bundle("j", "");
    let begun = Instant::now();
    let created = world.create(&mut client, "j", |request| request.stdout = target);
    let took = begun.elapsed();
    assert!(created.unwrap_err().1.contains("has not said"));
    assert!((11..17).contains(&took.as_secs()), "{took:?}");
}

#[test]
fn a_logger_that_is_not_ready() {
    let world = World::new("logger-fails");
    let ends = world.script("ends", "#!/bin/sh\nexit 1\n");
    world.bundle("i", "");
    let mut client = Client::new(&world.start("i"));
    let refused = |client: &mut Client, target: String| {
        let result = world.create(client, "i", |request| request.stdout = target);
        result.unwrap_err().1
    };
    let said = refused(&mut client, format!("binary-v2://{}", ends.display()));
    assert!(said.contains("without a byte"), "{said}");
    let said = refused(&mut client, "binary:///nowhere/logger".into());
    assert!(said.contains("/nowhere/logger"), "{said}");
    assert_eq!(world.calls("i"), "delete\ndelete\n", "no container has been made");
}
