//! criu as a process of ours, from its start to its end: what `checkpoint` and `restore` have in common.

use std::ffi::CString;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStringExt;
use std::path::Path;

use oci_spec::runtime::Spec;

use super::{birth, explain};
use crate::cgroup::Cgroup;
use crate::criu::rpc::{Features, Kind as Request, Request as Message, Response};
use crate::criu::wire::Wire;
use crate::error::{Doing, Error, Kind, Result};
use crate::log;
use crate::plan::criu::{self as plan, Scene};
use crate::prepare::{self, Given};
use crate::spawn::{self, Init};
use crate::spec::annotations::{self, CRIU_CONFIG};
use crate::sys::{Pid, net, process};

/// The oldest criu that notifies of lazy pages and takes labels: 3.16.
const OLDEST: (i32, i32) = (3, 16);

/// What criu reads besides the request, whichever is there first. The second is for those who come from runc.
const CONFIG_FILES: [&str; 2] = ["/etc/criu/rrunc.conf", "/etc/criu/runc.conf"];

/// criu, and the socket on which it serves us. Dropped, it is killed.
pub struct Criu {
    process: Init,
    pub wire: Wire,
}

impl Criu {
    /// Starts it, in `cgroup` if there is one, with what a restore shows to it. It gets the fds `inherited`, in their own
    /// numbers.
    pub fn start(
        scene: Option<&Scene>,
        cgroup: Option<&Cgroup>,
        mut inherited: Vec<OwnedFd>,
    ) -> Result<Criu> {
        let (ours, theirs) = net::seqpacket_pair().doing(|| "make a socket for criu".into())?;
        let number = theirs.as_raw_fd();
        inherited.push(theirs);
        let plan = plan::service(number, environment(), scene)?;
        plan.to_string().lines().for_each(|line| log::debug(|| format!("criu: {line}")));
        let given = Given { inherited, ..Given::default() };
        let prepared = prepare::prepare(&plan, given)?;
        let mut process = match cgroup {
            Some(cgroup) => birth::spawn(&prepared, cgroup, cgroup.fd(), &mut |_| Ok(()))?,
            None => spawn::spawn(&prepared, None)?,
        };
        match process.next_or_program()? {
            Ok(None) => {}
            Ok(Some(_)) => return Err(unexpected()),
            Err(ended) => {
                let error = explain::ended(ended, &plan, None);
                return Err(match error.kind {
                    Kind::Exec => error.hint("install criu"),
                    _ => error,
                });
            }
        }
        let criu = Criu { process, wire: Wire::new(ours) };
        criu.check_version()?;
        Ok(criu)
    }

    pub fn pid(&self) -> Pid {
        self.process.pid
    }

    fn check_version(&self) -> Result<()> {
        let found = self.ask_ahead(Request::Version, None)?.version.unwrap_or_default();
        let (major, minor) = OLDEST;
        match (found.major, found.minor) >= OLDEST {
            true => Ok(()),
            false => {
                let text = format!(
                    "criu is {}.{}, and {major}.{minor} or newer is needed",
                    found.major, found.minor
                );
                Err(Error::new(Kind::Unsupported, text).hint("install a newer criu"))
            }
        }
    }

    /// Whether criu and this kernel can do what is asked for.
    pub fn check_features(&self, mem_track: bool, lazy_pages: bool) -> Result<()> {
        if !(mem_track || lazy_pages) {
            return Ok(());
        }
        let asked = Features { mem_track: mem_track.then_some(true), lazy_pages: lazy_pages.then_some(true) };
        let found = self.ask_ahead(Request::FeatureCheck, Some(asked))?.features.unwrap_or_default();
        let missing = |what: &str, option: &str| {
            let text = format!("criu is missing features: {option} needs {what}");
            Err(Error::new(Kind::Unsupported, text)
                .hint("this kernel, or criu as it was built, lacks it: see criu check --all"))
        };
        if mem_track && !found.mem_track() {
            return missing("memory tracking", "--pre-dump");
        }
        if lazy_pages && !found.lazy_pages() {
            return missing("userfaultfd", "--lazy-pages");
        }
        Ok(())
    }

    /// A question after which criu takes another request.
    fn ask_ahead(&self, kind: Request, features: Option<Features>) -> Result<Response> {
        let message = Message { kind: kind as i32, keep_open: Some(true), features, ..Message::default() };
        let answer = self.wire.ask(&message, &mut |_, _| Ok(()))?;
        match answer.success && answer.kind() == kind {
            true => Ok(answer),
            false => Err(unexpected()),
        }
    }

    /// Waits for its end. What it did is known from its answer.
    pub fn end(self) -> Result<()> {
        let Criu { mut process, wire } = self;
        drop(wire); // after a pre-dump it would wait for another
        process::reap(process.pidfd()).doing(|| "wait for the end of criu".into())?;
        process.release();
        Ok(())
    }
}

fn unexpected() -> Error {
    Error::new(Kind::Kernel, "criu says what it wasn't asked")
}

fn environment() -> Vec<CString> {
    let variables = std::env::vars_os().map(|(name, value)| {
        let both = [name.into_vec(), value.into_vec()].join(&b'=');
        CString::new(both)
    });
    variables.flatten().collect() // none has a NUL
}

/// The file that criu reads besides: the annotation's, none if that is empty, or one for all containers.
pub fn config_file(oci: &Spec) -> Option<String> {
    let annotated = oci.annotations().as_ref().and_then(|all| all.get(CRIU_CONFIG));
    match annotated {
        Some(_) => annotations::get(oci, CRIU_CONFIG).map(str::to_string),
        None => {
            let found = CONFIG_FILES.iter().find(|path| Path::new(path).exists());
            found.map(|path| (*path).to_string())
        }
    }
}
