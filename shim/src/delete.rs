//! `delete`: removes what a container leaves whose shim is gone. Runs in the bundle, as a child of containerd, which
//! gives it five seconds, reads DeleteResponse from stdout and takes stderr for warnings.

use std::fs;
use std::io::{self, Write};
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use prost::Message;
use rrunc::sys::process::{ended, pidfd_open};
use rrunc::sys::types::Pid;

use crate::args::Args;
use crate::bundle;
use crate::options::Options;
use crate::proto::Timestamp;
use crate::proto::task::DeleteResponse;
use crate::refusal::{Doing, Refusal};
use crate::serve::flights::{content, memory};
use crate::{mounts, runtime, socket};

/// What the runtime gets of containerd's five seconds: a process that can't be killed must not keep us from unmounting.
const LIMIT: Duration = Duration::from_secs(3);

/// 128 + SIGKILL: nobody saw how it really ended.
const KILLED: u32 = 137;

pub fn run(args: &Args) -> Result<(), Refusal> {
    let bundle = match args.bundle.as_os_str().is_empty() {
        true => PathBuf::from("."),
        false => args.bundle.clone(),
    };
    if bundle::has_container(&bundle) {
        delete(&bundle, args);
    }
    mounts::unmount_bundle(&bundle);
    if let Ok(address) = fs::read_to_string(bundle.join(bundle::ADDRESS)) {
        if let Some(path) = socket::path(&address) {
            socket::remove_dead(path);
        }
    }
    let response = DeleteResponse {
        pid: bundle::read_pid(&bundle.join(bundle::INIT_PID)).unwrap_or(0), // it may never have been made
        exit_status: KILLED,
        exited_at: Some(Timestamp::now()),
    };
    let answer = response.encode_to_vec();
    io::stdout().write_all(&answer).doing(|| "write to stdout".into())
}

/// Whatever goes wrong is told on stderr, and does not keep the rest from being removed.
fn delete(bundle: &Path, args: &Args) {
    let options = options(bundle);
    let log = bundle.join("log-delete.json");
    let mut command = runtime::command(&options, &args.namespace, &log);
    command.args(["delete", "--force", &args.id]);
    let result = carry_out(command, options.binary(), &log);
    let _ = fs::remove_file(&log); // goes with the bundle
    if let Err(refusal) = result {
        eprintln!("{refusal}");
    }
}

/// A runtime that has not done it in time ends with us.
fn carry_out(mut command: Command, binary: &str, log: &Path) -> Result<(), Refusal> {
    let mut complained = memory()?;
    let copy = complained.try_clone().doing(|| "copy an fd".into())?;
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(copy);
    let child = command.spawn();
    let mut child = child.map_err(|error| runtime::not_executable(binary, &error))?;
    let waiting = || "wait for the runtime".to_string();
    let pidfd = pidfd_open(Pid(child.id() as i32)).doing(waiting)?;
    if !ended(pidfd.as_fd(), Some(LIMIT)).doing(waiting)? {
        let text = format!("OCI runtime delete has not ended in {} seconds", LIMIT.as_secs());
        return Err(Refusal::unknown(text));
    }
    let status = child.wait().doing(waiting)?;
    match status.success() {
        true => Ok(()),
        false => {
            let complaint = content(Some(&mut complained));
            let said = runtime::last_error(log);
            Err(runtime::failure("delete", &status.to_string(), said, &complaint))
        }
    }
}

/// As `Create` wrote them; without them (it came to no creation, or another shim made the container) the usual ones.
fn options(bundle: &Path) -> Options {
    let json = fs::read(bundle.join(bundle::OPTIONS)).unwrap_or_default();
    let mut options: Options = serde_json::from_slice(&json).unwrap_or_default();
    if options.binary_name.is_empty() {
        options.binary_name = fs::read_to_string(bundle.join(bundle::RUNTIME)).unwrap_or_default();
    }
    options
}
