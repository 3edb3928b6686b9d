//! `delete`: removes what a container leaves whose shim is gone. Runs in the bundle, as a child of containerd, which
//! gives it five seconds, reads DeleteResponse from stdout and takes stderr for warnings.

use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use prost::Message;

use crate::args::Args;
use crate::bundle;
use crate::options::Options;
use crate::proto::Timestamp;
use crate::proto::task::DeleteResponse;
use crate::refusal::{Doing, Refusal};
use crate::{mounts, runtime, socket};

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
    let output = command.args(["delete", "--force", &args.id]).output();
    let said = runtime::last_error(&log);
    let _ = fs::remove_file(&log); // goes with the bundle
    match output {
        Err(error) => eprintln!("{}", runtime::not_executable(options.binary(), &error)),
        Ok(output) if !output.status.success() => {
            let status = output.status.to_string();
            eprintln!("{}", runtime::failure("delete", &status, said, &output.stderr));
        }
        Ok(_) => {}
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
