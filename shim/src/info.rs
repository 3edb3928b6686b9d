//! `-info`: what this shim and the runtime behind it can do, for containerd 2.0 and later; and `-v`.

use std::fs;
use std::io::{self, Read, Write};
use std::process::{Command, Stdio};

use prost::Message;

use crate::bootstrap::LONGEST;
use crate::options::Options;
use crate::proto::Any;
use crate::proto::bootstrap::{RuntimeInfo, RuntimeVersion};
use crate::refusal::{Doing, Refusal};
use crate::runtime;

const NAME: &str = "io.containerd.rrunc.v2";
const FEATURES: &str = "types.containerd.io/opencontainers/runtime-spec/1/features/Features";

pub fn run() -> Result<(), Refusal> {
    let mut stdin = vec![];
    let read = io::stdin().take(LONGEST).read_to_end(&mut stdin);
    read.doing(|| "read stdin".into())?;
    let any = match stdin.is_empty() {
        true => None,
        false => {
            Some(Any::decode(stdin.as_slice()).doing(|| "stdin is no message that containerd sends".into())?)
        }
    };
    let options = Options::parse(any.as_ref(), |path| fs::read(path))?;
    // containerd asks a shim that could not answer again before each container; not every runtime has `features`.
    let features = features(&options).inspect_err(|refusal| eprintln!("containerd-shim-rrunc-v2: {refusal}"));
    let info = RuntimeInfo {
        name: NAME.to_string(),
        version: Some(RuntimeVersion {
            version: env!("CARGO_PKG_VERSION").to_string(),
            revision: rrunc::version::commit().unwrap_or_default().to_string(),
        }),
        options: any,
        features: features.ok().map(|value| Any { type_url: FEATURES.to_string(), value }),
        annotations: Default::default(),
    };
    let answer = info.encode_to_vec();
    io::stdout().write_all(&answer).doing(|| "write to stdout".into())
}

/// What the runtime's `features` prints.
fn features(options: &Options) -> Result<Vec<u8>, Refusal> {
    let output = Command::new(options.binary())
        .arg("features")
        .stdin(Stdio::null())
        .output()
        .map_err(|error| runtime::not_executable(options.binary(), &error))?;
    match output.status.success() {
        true => Ok(output.stdout),
        false => Err(runtime::failure("features", &output.status.to_string(), None, &output.stderr)),
    }
}

pub fn version() {
    println!("containerd-shim-rrunc-v2:");
    println!("  Version:  {}", env!("CARGO_PKG_VERSION"));
    println!("  Revision: {}", rrunc::version::commit().unwrap_or_default());
}
