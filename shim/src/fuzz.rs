//! Targets for fuzzing, only with the feature `fuzz`: what containerd, its clients and the kernel say, held against what
//! must hold. Who feeds them is in `integration/fuzz`; they are as those in rrunc's `src/fuzz`.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use prost::Message;
use rrunc::fuzz::Target;

use crate::args::Args;
use crate::bootstrap::{self, Dialect, Question};
use crate::bundle::Config;
use crate::calls::part_of_config;
use crate::frame::{self, Body, Frame, Reader};
use crate::mounts::unmount;
use crate::options::Options;
use crate::proto::options::{CheckpointOptions, RuncOptions, RuntimeOptions};
use crate::proto::task::*;
use crate::proto::{Any, ttrpc};
use crate::refusal::Refusal;
use crate::runtime::is_identifier;
use crate::stats;
use crate::stdio::uri;
use crate::table::life::Event;
use crate::table::{Container, Stdio, Table};

pub const TARGETS: &[Target] = &[
    ("shim-frames", frames),
    ("shim-calls", calls),
    ("shim-messages", messages),
    ("shim-bootstrap", bootstrap),
    ("shim-options", options),
    ("shim-words", words),
    ("shim-files", files),
];

fn read(bytes: &[u8], piece: usize) -> Vec<Frame> {
    let mut reader = Reader::default();
    let mut frames = vec![];
    for chunk in bytes.chunks(piece) {
        reader.push(chunk);
        while let Some(frame) = reader.take_frame() {
            frames.push(frame);
        }
    }
    frames
}

/// ttrpc: the same frames come out however the bytes are cut, and what is written is read.
fn frames(data: &[u8]) {
    let whole = read(data, data.len().max(1));
    for piece in [1, 7, 10, 64] {
        assert_eq!(read(data, piece), whole, "in pieces of {piece}");
    }
    for Frame { stream, kind, body } in &whole {
        let Body::Message(message) = body else { continue };
        assert!(message.len() <= data.len());
        if let Ok(request) = ttrpc::Request::decode(message.as_slice()) {
            let mut bytes = vec![];
            frame::write(*stream, *kind, &request, &mut bytes);
            let body = Body::Message(request.encode_to_vec());
            assert_eq!(read(&bytes, 3), [Frame { stream: *stream, kind: *kind, body }]);
        }
    }
}

/// A connection's frames as calls, up to the table: what it then knows can be written out and is consistent.
fn calls(data: &[u8]) {
    let mut table = Table::default();
    for frame in read(data, 4096) {
        let Body::Message(message) = frame.body else { continue };
        let Ok(request) = ttrpc::Request::decode(message.as_slice()) else { continue };
        let _ = call(&mut table, &request.method, &request.payload);
        is_consistent(&table);
    }
}

/// As `serve::requests` and `calls` do it, without what they do about it.
fn call(table: &mut Table, method: &str, payload: &[u8]) -> Result<(), Refusal> {
    fn parse<M: Message + Default>(payload: &[u8]) -> Result<M, Refusal> {
        M::decode(payload).map_err(|error| Refusal::invalid(error.to_string()))
    }
    let happen = |table: &mut Table, id: &str, exec: &str, event| {
        let process = table.find(id, exec)?.0;
        table.apply(process, event).map(|_| process)
    };
    match method {
        "Create" => {
            let request: CreateTaskRequest = parse(payload)?;
            let options = Options::parse(request.options.as_ref(), |_| Ok(vec![]))?;
            if !is_identifier(&request.id) || table.containers.contains_key(&request.id) {
                return Err(Refusal::invalid("the id"));
            }
            let stdio = Stdio {
                stdin: request.stdin,
                stdout: request.stdout,
                stderr: request.stderr,
                terminal: request.terminal,
            };
            let init = table.add_container(&request.id, stdio, |init| Container {
                bundle: request.bundle.into(),
                options,
                checkpoint: request.checkpoint,
                mounts: request.rootfs,
                shares_pids: false,
                cgroup: None,
                init,
                execs: Default::default(),
            });
            table.apply(init, Event::Created).map(drop)
        }
        "Exec" => {
            let request: ExecProcessRequest = parse(payload)?;
            let container = table.container(&request.id)?;
            if !is_identifier(&request.exec_id) || container.execs.contains_key(&request.exec_id) {
                return Err(Refusal::invalid("the id"));
            }
            table.may(container.init, Event::Enter)?;
            let spec = part_of_config(request.spec.clone().unwrap_or_default(), "Process")?;
            table.add_exec(&request.id, &request.exec_id, Stdio::default(), spec);
            Ok(())
        }
        "Start" => {
            let request: StartRequest = parse(payload)?;
            let process = happen(table, &request.id, &request.exec_id, Event::Start)?;
            table.apply(process, Event::Started).map(drop)
        }
        "Kill" => {
            let request: KillRequest = parse(payload)?;
            let process = happen(table, &request.id, &request.exec_id, Event::Signal)?;
            table.apply(process, Event::Exit).map(drop)
        }
        "Pause" | "Resume" => {
            let request: IdRequest = parse(payload)?;
            let (ask, done) = match method {
                "Pause" => (Event::Pause, Event::Paused),
                _ => (Event::Resume, Event::Resumed),
            };
            let process = happen(table, &request.id, "", ask)?;
            table.apply(process, done).map(drop)
        }
        "Delete" => {
            let request: DeleteRequest = parse(payload)?;
            let process = happen(table, &request.id, &request.exec_id, Event::Delete)?;
            table.remove(process);
            Ok(())
        }
        _ => Err(Refusal::invalid("the method")),
    }
}

fn is_consistent(table: &Table) {
    for (name, container) in &table.containers {
        assert!(is_identifier(name));
        let init = &table.processes[&container.init];
        assert_eq!((init.container.as_str(), init.exec.as_str()), (name.as_str(), ""));
        for (exec, id) in &container.execs {
            let process = &table.processes[id];
            assert_eq!((&process.container, &process.exec), (name, exec));
        }
    }
    let known = table.containers.values().map(|container| 1 + container.execs.len()).sum::<usize>();
    assert_eq!(table.processes.len(), known, "a process that no container knows");
    for process in table.processes.values() {
        let _ = table.status(process);
    }
    let json = serde_json::to_value(table).expect("a table is JSON");
    let again: Table = serde_json::from_value(json.clone()).expect("which is a table");
    assert_eq!(serde_json::to_value(again).ok(), Some(json));
}

/// Every message that comes in: what was decoded is the same when it is written and read again.
fn messages(data: &[u8]) {
    fn again<M: Message + Default + PartialEq>(data: &[u8]) {
        if let Ok(message) = M::decode(data) {
            let bytes = message.encode_to_vec();
            assert_eq!(bytes.len(), message.encoded_len());
            assert!(M::decode(bytes.as_slice()).is_ok_and(|again| again == message));
        }
    }
    let all: [fn(&[u8]); 18] = [
        again::<ttrpc::Request>,
        again::<ttrpc::Response>,
        again::<Any>,
        again::<CreateTaskRequest>,
        again::<DeleteRequest>,
        again::<ExecProcessRequest>,
        again::<ResizePtyRequest>,
        again::<StateRequest>,
        again::<KillRequest>,
        again::<CloseIoRequest>,
        again::<IdRequest>,
        again::<CheckpointTaskRequest>,
        again::<UpdateTaskRequest>,
        again::<StartRequest>,
        again::<WaitRequest>,
        again::<ShutdownRequest>,
        again::<CheckpointOptions>,
        again::<crate::proto::bootstrap::BootstrapParams>,
    ];
    all.iter().for_each(|again| again(data));
}

/// What `start` reads on stdin, in each dialect.
fn bootstrap(data: &[u8]) {
    for (id, namespace) in [("c1", "default"), ("", "")] {
        let Ok(question) = Question::parse(data, id, namespace) else { continue };
        if let Some(dir) = &question.socket_dir {
            assert!(!dir.is_empty() && question.dialect == Dialect::Bootstrap);
            // With the name of a socket it still is an address (unix(7)).
            assert!(dir.len() + 65 <= 107, "{dir}");
        }
        let _ = Options::parse(question.options.as_ref(), |_| Ok(data.to_vec()));
        assert!(!bootstrap::answer(question.dialect, "unix:///s").is_empty());
    }
}

/// Each dialect of options: they can be kept in the bundle and read by `delete`.
fn options(data: &[u8]) {
    let any = Any::decode(data).unwrap_or_default();
    let typed = |name: &str| Any { type_url: name.to_string(), value: data.to_vec() };
    let toml = RuntimeOptions { config_body: data.to_vec(), ..RuntimeOptions::default() };
    for any in [
        any,
        typed("containerd.runc.v1.Options"),
        typed("runtimeoptions.v1.Options"),
        Any::new("types.containerd.io/runtimeoptions.v1.Options", &toml),
    ] {
        let Ok(options) = Options::parse(Some(&any), |_| Ok(data.to_vec())) else { continue };
        let json = serde_json::to_vec(&options).expect("options are JSON");
        assert_eq!(serde_json::from_slice::<Options>(&json).ok(), Some(options.clone()));
        assert!(!options.binary().is_empty() && !options.root().is_empty());
        assert!(options.state("n").ends_with("n"));
    }
    let _ = RuncOptions::decode(data);
}

/// Words of the command line, and where streams go.
fn words(data: &[u8]) {
    let args = data.split(|byte| *byte == 0).map(|word| OsStr::from_bytes(word).to_os_string());
    if let Ok(args) = Args::parse(args) {
        let again =
            Args::parse(args.to_serve().into_iter().map(OsString::from)).expect("what we tell ourselves");
        assert_eq!((&again.id, &again.namespace), (&args.id, &args.namespace));
    }
    let text = String::from_utf8_lossy(data);
    match uri::Target::parse(&text) {
        Ok(uri::Target::Null) => assert!(text.is_empty()),
        Ok(uri::Target::Fifo(path) | uri::Target::File(path)) => assert!(path.is_absolute()),
        Ok(uri::Target::Logger(logger)) => assert!(logger.program.is_absolute()),
        Err(refusal) => assert!(!refusal.text.is_empty()),
    }
    assert!(!is_identifier(&text) || !text.contains(['/', '\0']) && !text.starts_with('.'));
}

/// Files that the shim reads: config.json, a cgroup's, mountinfo.
fn files(data: &[u8]) {
    if let Ok(config) = serde_json::from_slice::<Config>(data) {
        assert!(!config.group("c1").is_empty());
        let _ = config.shares_pids();
    }
    let text = String::from_utf8_lossy(data);
    let metrics = stats::of(&|_| Some(text.to_string())).expect("a cgroup");
    assert_eq!(metrics, Message::decode(metrics.encode_to_vec().as_slice()).expect("a message"));
    let directory = Path::new("/b/rootfs");
    for path in unmount::mounted_below(data, directory) {
        assert!(path.starts_with(directory) && path != directory, "{path:?}");
    }
}
