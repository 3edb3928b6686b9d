//! sd_notify(3): with NOTIFY_SOCKET in our environment a service manager wants to hear when the container is ready. Its
//! program gets a socket of its own for that, and what it says there we pass on, in words of ours.
//!
//! `create` mounts the directory ROOT/ID/notify, read-only, on /run/notify of the container; `start` and `run` make the
//! socket in it, for as long as they live: `start` and `run --detach` until the program is ready or over, and then they
//! name the container's process as the service's; `run` in the foreground stays the service itself.
//!
//! All that is taken from the program is that it is ready: whoever could say more would speak for the service on the host
//! (MAINPID=, FDSTORE=1, …). Its fds are closed unseen, so a barrier of its own is over at once.

use std::ffi::OsStr;
use std::fs::{self, DirBuilder, File, Permissions};
use std::io::ErrorKind;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::error::{Doing, Error, Kind, Result};
use crate::log;
use crate::sys::process::{self, Watch};
use crate::sys::{Call, Errno, Fail, Named, Pid, c_path, fs as sys, net, unix};

const VARIABLE: &str = "NOTIFY_SOCKET";
/// Of the container's directory.
const DIRECTORY: &str = "notify";
const SOCKET: &str = "notify.sock";
/// Longer than sd_notify(3)'s own messages. One that is longer still says nothing, as with systemd.
const LONGEST: usize = 4096;
/// How long the manager may take to read what it was told before we end.
const BARRIER: Duration = Duration::from_secs(30);

/// Where a service manager listens.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Manager {
    Path(PathBuf),
    /// unix(7), without the NUL.
    Abstract(Vec<u8>),
}

/// The service manager that our environment names. What isn't a Unix socket is passed over with a warning.
fn manager() -> Option<Manager> {
    let value = std::env::var_os(VARIABLE)?;
    let found = parse(&value);
    if found.is_none() && !value.is_empty() {
        log::warning(&format!(
            "{VARIABLE}={}: neither an absolute path nor @NAME: nobody is told when the container is ready",
            value.to_string_lossy()
        ));
    }
    found
}

pub(crate) fn parse(value: &OsStr) -> Option<Manager> {
    match value.as_bytes() {
        [b'@', name @ ..] if !name.is_empty() => Some(Manager::Abstract(name.to_vec())),
        [b'/', ..] => Some(Manager::Path(value.into())),
        _ => None,
    }
}

impl Manager {
    fn connect(&self) -> Result<OwnedFd, Fail> {
        match self {
            Manager::Abstract(name) => unix::connect_abstract(name),
            Manager::Path(path) => {
                let (Some(dir), Some(name)) = (path.parent(), path.file_name().and_then(OsStr::to_str))
                else {
                    return Err(Fail::new(crate::sys::Call::Connect, Errno::EINVAL));
                };
                let dir = c_path(dir)?;
                let dir =
                    sys::open(sys::cwd(), &dir, libc::O_PATH | libc::O_DIRECTORY, 0, sys::resolve::HOST)?;
                unix::connect(unix::Kind::Datagram, dir.as_fd(), name)
            }
        }
    }
}

/// The directory for the program's socket, made in the container's own, if a service manager wants to hear of it.
pub fn directory(container: &Path) -> Result<Option<PathBuf>> {
    match manager() {
        Some(_) => make_directory(container).map(Some),
        None => Ok(None),
    }
}

/// The directory that [`directory`] has made, if it has.
pub fn made_directory(container: &Path) -> Option<PathBuf> {
    Some(container.join(DIRECTORY)).filter(|path| path.is_dir())
}

/// As [`directory`], whoever may want to hear.
pub fn make_directory(container: &Path) -> Result<PathBuf> {
    let path = container.join(DIRECTORY);
    let made = DirBuilder::new().mode(0o700).create(&path).call(Call::Mkdir);
    // Everybody in there may go in; on the host nobody gets through the container's directory.
    made.and_then(|()| fs::set_permissions(&path, Permissions::from_mode(0o755)).call(Call::Chmod))
        .doing(|| format!("make {path:?}"))?;
    Ok(path)
}

/// Hears of the program and tells the service manager.
#[derive(Debug)]
pub struct Notify {
    socket: OwnedFd,
    manager: Manager,
}

impl Notify {
    /// `None` if there is no service manager, or if `create` knew of none.
    pub fn listen(container: &Path) -> Result<Option<Notify>> {
        let Some(manager) = manager() else {
            return Ok(None);
        };
        let path = container.join(DIRECTORY);
        let dir = match File::open(&path) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            dir => dir.call(Call::Openat).doing(|| format!("open {path:?}"))?,
        };
        let path = path.join(SOCKET);
        let socket = unix::bind_datagram(dir.as_fd(), SOCKET).doing(|| format!("make {path:?}"))?;
        fs::set_permissions(&path, Permissions::from_mode(0o777))
            .call(Call::Chmod)
            .doing(|| format!("set the mode of {path:?}"))?;
        Ok(Some(Notify { socket, manager }))
    }

    pub fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }

    /// Takes one message, which must be there: whether it says that the program is ready.
    pub fn is_ready(&self) -> Result<bool> {
        let mut message = [0; LONGEST];
        let length = net::receive_bytes(self.as_fd(), &mut message);
        let length = length.doing(|| format!("read from {SOCKET}"))?;
        Ok(message.get(..length).is_some_and(says_ready))
    }

    /// Waits until the program is ready, and tells the service manager; or until it is over, with nothing to tell.
    pub fn wait(&self, pid: Pid) -> Result<()> {
        let pidfd = match process::pidfd_open(pid) {
            Err(fail) if fail.errno == Errno::ESRCH => return Ok(()),
            pidfd => pidfd.doing(|| format!("open the process {pid}"))?,
        };
        loop {
            let mut watches = [Watch::input(Some(self.as_fd())), Watch::input(Some(pidfd.as_fd()))];
            process::poll(&mut watches, None).doing(|| "wait for the program to be ready".into())?;
            let [told, ended] = watches.map(|watch| watch.ready());
            if told && self.is_ready()? {
                self.tell(pid, Some(BARRIER));
                return Ok(());
            }
            if ended && !told {
                return Ok(());
            }
        }
    }

    /// Tells the service manager, and waits for it to have read that, if `barrier` says how long. The container runs,
    /// whatever comes of it: so a failure is a warning.
    pub fn tell(&self, main: Pid, barrier: Option<Duration>) {
        let tell = || {
            let manager = self.manager.connect()?;
            // As one message, so that nobody sees the one without the other.
            net::send(manager.as_fd(), format!("MAINPID={main}\nREADY=1").as_bytes(), None)?;
            let Some(limit) = barrier else { return Ok(()) };
            let (ours, theirs) = net::seqpacket_pair()?;
            net::send(manager.as_fd(), b"BARRIER=1", Some(theirs.as_fd()))?;
            drop(theirs);
            process::poll(&mut [Watch::input(Some(ours.as_fd()))], Some(limit)).map(drop)
        };
        let told: Result<(), Fail> = tell();
        if let Err(fail) = told {
            let error = Error::new(Kind::Kernel, "tell the service manager that the container is ready")
                .with_fail(fail);
            log::warning(&error.hint(format!("it is the one in {VARIABLE}")).to_string());
        }
    }
}

pub(crate) fn says_ready(message: &[u8]) -> bool {
    message.split(|byte| *byte == b'\n').any(|line| line == b"READY=1")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn managers() {
        let check = |value: &str, expected| assert_eq!(parse(value.as_ref()), expected, "{value}");
        check("/run/systemd/notify", Some(Manager::Path("/run/systemd/notify".into())));
        check("@name", Some(Manager::Abstract(b"name".to_vec())));
        check("@", None);
        check("", None);
        check("run/notify", None);
        check("vsock:2:1234", None);
    }

    #[test]
    fn ready_is_a_line_of_its_own() {
        let check =
            |message: &str, expected| assert_eq!(says_ready(message.as_bytes()), expected, "{message:?}");
        check("READY=1", true);
        check("STATUS=x\nREADY=1\nMAINPID=7", true);
        check("READY=0", false);
        check("XREADY=1\nREADY=12", false);
        check("", false);
    }
}
