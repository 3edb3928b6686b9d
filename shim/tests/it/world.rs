//! A directory with bundles, who takes the events, and shims that are started in it; all of it gone at the end.

use std::fs;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use containerd_shim_rrunc::proto::options::RuncOptions;
use containerd_shim_rrunc::proto::task::{
    ConnectResponse, CreateTaskRequest, CreateTaskResponse, IdRequest, StartRequest, StartResponse,
};
use containerd_shim_rrunc::proto::{Any, Empty};
use prost::Message;

use crate::client::{Client, Refused};
use crate::containerd::Containerd;

pub struct World {
    pub dir: PathBuf,
    pub containerd: Containerd,
    sockets: std::cell::RefCell<Vec<PathBuf>>,
}

const NAMESPACE: &str = "namespace";

impl World {
    pub fn new(name: &str) -> World {
        let dir = std::env::temp_dir().join(format!("rrunc-shim-{name}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&dir);
        fs::create_dir_all(&dir).unwrap();
        let containerd = Containerd::new(&dir);
        World { dir, containerd, sockets: Default::default() }
    }

    /// A bundle whose container runs these lines of shell.
    pub fn bundle(&self, id: &str, program: &str) -> PathBuf {
        let bundle = self.dir.join(id);
        fs::create_dir_all(&bundle).unwrap();
        let config = r#"{"linux": {"namespaces": [{"type": "pid"}]}}"#;
        fs::write(bundle.join("config.json"), config).unwrap();
        fs::write(bundle.join("program"), program).unwrap();
        bundle
    }

    pub fn options(&self) -> Any {
        self.options_and(|_| {})
    }

    pub fn options_and(&self, with: impl FnOnce(&mut RuncOptions)) -> Any {
        let mut options = RuncOptions {
            binary_name: concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it/runtime.sh").into(),
            root: self.dir.join("root").display().to_string(),
            ..RuncOptions::default()
        };
        with(&mut options);
        Any::new("containerd.runc.v1.Options", &options)
    }

    /// The shim's binary with a command line, in a bundle.
    pub fn run(&self, id: &str, args: &[&str], stdin: &[u8]) -> Output {
        let mut child = Command::new(env!("CARGO_BIN_EXE_containerd-shim-rrunc-v2"))
            .args(["-namespace", NAMESPACE, "-id", id])
            .arg("-address")
            .arg(self.dir.join("containerd.sock"))
            .args(args)
            .current_dir(self.dir.join(id))
            .env("TTRPC_ADDRESS", &self.containerd.address)
            .env("XDG_RUNTIME_DIR", &self.dir)
            .env("PATH", format!("{}:{}", self.dir.display(), env!("PATH")))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        // One that has no use for it may have ended.
        let _ = child.stdin.take().unwrap().write_all(stdin);
        child.wait_with_output().unwrap()
    }

    /// `start`, as containerd 1.7 does it: what it prints is where the shim listens.
    pub fn start(&self, id: &str) -> PathBuf {
        self.start_with(id, &self.options())
    }

    pub fn start_with(&self, id: &str, options: &Any) -> PathBuf {
        let output = self.run(id, &["start"], &options.encode_to_vec());
        let printed = String::from_utf8(output.stdout).unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        assert_eq!(output.stderr, b"");
        let path = PathBuf::from(printed.strip_prefix("unix://").unwrap());
        self.started(&path);
        path
    }

    /// To be ended when the test ends.
    pub fn started(&self, socket: &Path) {
        self.sockets.borrow_mut().push(socket.to_path_buf());
    }

    /// A container with its shim, as far as its creation.
    pub fn created(&self, id: &str, program: &str) -> Client {
        self.bundle(id, program);
        let mut client = Client::new(&self.start(id));
        self.create(&mut client, id, |_| {}).unwrap();
        client
    }

    /// Another, in the same shim.
    pub fn running_in(&self, client: &mut Client, id: &str, program: &str) {
        self.bundle(id, program);
        self.create(client, id, |_| {}).unwrap();
        start(client, id, "").unwrap();
    }

    /// One that runs.
    pub fn running(&self, id: &str, program: &str) -> Client {
        let mut client = self.created(id, program);
        start(&mut client, id, "").unwrap();
        client
    }

    pub fn create(
        &self,
        client: &mut Client,
        id: &str,
        with: impl FnOnce(&mut CreateTaskRequest),
    ) -> Result<CreateTaskResponse, Refused> {
        let mut request = CreateTaskRequest {
            id: id.into(),
            bundle: self.dir.join(id).display().to_string(),
            options: Some(self.options()),
            ..CreateTaskRequest::default()
        };
        with(&mut request);
        client.call("Create", &request)
    }

    /// What the runtime has been told.
    pub fn calls(&self, id: &str) -> String {
        fs::read_to_string(self.dir.join(id).join("calls")).unwrap_or_default()
    }

    /// A fifo in the world.
    pub fn fifo(&self, name: &str) -> PathBuf {
        let path = self.dir.join(name);
        assert!(Command::new("mkfifo").arg(&path).status().unwrap().success());
        path
    }

    pub fn script(&self, name: &str, text: &str) -> PathBuf {
        let path = self.dir.join(name);
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        path
    }
}

impl Drop for World {
    /// Whatever still runs: shims by their sockets, then their containers.
    fn drop(&mut self) {
        for socket in self.sockets.borrow().iter() {
            if std::os::unix::net::UnixStream::connect(socket).is_err() {
                continue;
            }
            let connect = Client::new(socket).call::<ConnectResponse>("Connect", &IdRequest::default());
            let pid = connect.map_or(0, |response| response.shim_pid);
            kill(pid, "TERM");
            until(|| has_ended(pid));
        }
        for state in fs::read_dir(self.dir.join("root").join(NAMESPACE)).into_iter().flatten() {
            let pid = fs::read_to_string(state.unwrap().path().join("pid")).unwrap_or_default();
            kill(pid.trim().parse().unwrap_or(0), "KILL");
        }
        let _ = fs::remove_dir_all(&self.dir);
    }
}

pub fn start(client: &mut Client, id: &str, exec_id: &str) -> Result<StartResponse, Refused> {
    let (id, exec_id) = (id.into(), exec_id.into());
    client.call("Start", &StartRequest { id, exec_id })
}

pub fn done(result: Result<Empty, Refused>) {
    result.unwrap();
}

/// Also if nobody has waited for it.
pub fn has_ended(pid: u32) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit(") ").next().is_none_or(|state| state.is_empty() || state.starts_with('Z'))
}

pub fn kill(pid: u32, signal: &str) {
    if pid > 1 {
        let _ = Command::new("kill").args(["-s", signal, &pid.to_string()]).stderr(Stdio::null()).status();
    }
}

#[track_caller]
pub fn until(mut condition: impl FnMut() -> bool) {
    let limit = Instant::now() + Duration::from_secs(20);
    while !condition() {
        assert!(Instant::now() < limit, "it does not come to that");
        std::thread::sleep(Duration::from_millis(5));
    }
}
