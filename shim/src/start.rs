//! `start`: finds the shim of a container's group or makes one, and says where it listens. Runs in the bundle,
//! as a child of containerd, which reads stdout and stderr until both are closed: the shim gets neither.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use nix::fcntl::OFlag;

use crate::args::Args;
use crate::bootstrap::{self, Question};
use crate::bundle::{self, Config};
use crate::options::Options;
use crate::refusal::{Doing, Refusal};
use crate::socket::{self, Claim, Place};
use crate::{cgroup, sys};

/// What the shim says on its stderr, once, when it serves.
pub const READY: &str = "ready";

/// The kernel's bounds for oom_score_adj.
const WORST: i32 = 1000;

pub fn run(args: &Args) -> Result<(), Refusal> {
    let mut stdin = vec![];
    let read = io::stdin().take(bootstrap::LONGEST + 1).read_to_end(&mut stdin);
    if read.doing(|| "read stdin".into())? as u64 > bootstrap::LONGEST {
        return Err(Refusal::invalid("more on stdin than options can be"));
    }
    let question = Question::parse(&stdin, &args.id, &args.namespace)?;
    let options = Options::parse(question.options.as_ref(), |path| fs::read(path))?;
    let here = Path::new(".");
    let config = Config::read(here)?;
    let group = config.group(&args.id);
    let place = Place::of(question.socket_dir.as_deref(), &args.address, &args.namespace, group);
    let address = place.address();
    let made = match place.claim()? {
        Claim::Ours(listener) => Some(serve(args, listener.into(), &options, &address)?),
        Claim::Theirs => None,
    };
    bundle::write(here, bundle::ADDRESS, address.as_bytes())?; // containerd 1.7 finds us again by this file
    let answer = bootstrap::answer(question.dialect, &address);
    io::stdout().write_all(&answer).doing(|| "write to stdout".into())?;
    if let Some(serving) = made {
        serving.keep();
    }
    Ok(())
}

/// A shim that we made and that nobody knows yet: dropped, it is ended and its socket removed.
struct Serving<'a> {
    child: Child,
    address: &'a str,
}

impl Serving<'_> {
    fn keep(self) {
        std::mem::forget(self);
    }
}

impl Drop for Serving<'_> {
    fn drop(&mut self) {
        // It is ours: what can't be killed or waited for has ended and been waited for.
        let _ = self.child.kill();
        let _ = self.child.wait();
        if let Some(path) = socket::path(self.address) {
            socket::remove_dead(path);
        }
    }
}

/// Makes the process that stays, with the socket as its stdin.
fn serve<'a>(
    args: &Args,
    listener: OwnedFd,
    options: &Options,
    address: &'a str,
) -> Result<Serving<'a>, Refusal> {
    if std::env::var_os("SCHED_CORE").is_some_and(|asked| asked == "1") {
        sys::new_core_scheduling_group().doing(|| "make a group for core scheduling".into())?;
    }
    let doing = || "start the shim".to_string();
    let (ours, theirs) = nix::unistd::pipe2(OFlag::O_CLOEXEC).doing(doing)?;
    // By this path it is the same file even if another has been installed meanwhile.
    let mut command = Command::new("/proc/self/exe");
    let child = command
        .arg0("containerd-shim-rrunc-v2")
        .args(args.to_serve())
        .process_group(0)
        .stdin(Stdio::from(listener))
        .stdout(Stdio::null())
        .stderr(theirs)
        .spawn()
        .doing(doing)?;
    drop(command); // and with it our copy of the pipe's end
    let serving = Serving { child, address };
    let pid = serving.child.id();
    if !options.shim_cgroup.is_empty() {
        cgroup::put(pid, &options.shim_cgroup)?;
    }
    make_likelier_victim(pid)?;
    // Whoever gets an address is to find somebody there; if not, only we can still say why.
    let mut said = String::new();
    File::from(ours).read_to_string(&mut said).doing(doing)?;
    match said.trim() {
        READY => Ok(serving),
        "" => Err("it ended without a word").doing(doing),
        why => Err(why).doing(doing),
    }
}

/// When memory runs out, the shim goes before containerd does.
fn make_likelier_victim(pid: u32) -> Result<(), Refusal> {
    let own = "/proc/self/oom_score_adj";
    let text = fs::read_to_string(own).doing(|| format!("read {own}"))?;
    let score: i32 = text.trim().parse().doing(|| format!("{own}: {text:?}"))?;
    let path = format!("/proc/{pid}/oom_score_adj");
    fs::write(&path, (score + 1).min(WORST).to_string()).doing(|| format!("write {path}"))
}
