//! The host side of a container's terminal: the socket on which the init hands over the pty's master.

use std::ffi::OsStr;
use std::fs::File;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::FileTypeExt;
use std::path::Path;

use crate::error::{Doing, Error, Kind, Result};
use crate::sys::{Call, Named, net, unix};

/// Connects to the socket at `path`, which `option` (`--console-socket`, `--pidfd-socket`) gave.
pub fn connect(option: &str, path: &Path) -> Result<OwnedFd> {
    let doing = || format!("{option} {path:?}");
    if !std::fs::metadata(path).call(Call::Stat).doing(doing)?.file_type().is_socket() {
        return Err(Error::new(Kind::Usage, format!("{option} {path:?} is not a socket")));
    }
    let (Some(dir), Some(name)) = (path.parent(), path.file_name().and_then(OsStr::to_str)) else {
        return Err(Error::new(Kind::Usage, format!("{option} {path:?} is not the path of a socket")));
    };
    // By its directory: the path may be longer than a socket's address can be.
    let dir = if dir.as_os_str().is_empty() { Path::new(".") } else { dir };
    let dir = File::open(dir).call(Call::Openat).doing(doing)?;
    unix::connect(unix::Kind::Stream, dir.as_fd(), name).doing(doing)
}

/// The master that the init sends, with the terminal's name as payload, on the socket whose other end it
/// got.
pub fn receive_master(socket: BorrowedFd) -> Result<OwnedFd> {
    let mut name = [0; 4096];
    match net::receive(socket, &mut name).doing(|| "receive the container's terminal".into())? {
        (_, Some(master)) => Ok(master),
        (_, None) => Err(Error::new(Kind::Kernel, "the container's init sent no terminal")),
    }
}

/// Sends the init's pidfd to `--pidfd-socket`. The payload says which process it is; runc's word for a
/// container's init is `standard`, for one that `exec` makes `setns`.
pub fn send_pidfd(socket: BorrowedFd, pidfd: BorrowedFd, which: &str) -> Result<()> {
    net::send(socket, which.as_bytes(), Some(pidfd)).doing(|| "send the pidfd to --pidfd-socket".into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::net::UnixListener;

    #[test]
    fn only_sockets() {
        let dir = std::env::temp_dir().join(format!("rrunc-state-console-{}", std::process::id()));
        let deep = dir.join("x".repeat(120));
        std::fs::create_dir_all(&deep).unwrap();
        std::fs::write(dir.join("file"), "").unwrap();
        let fails = |path: &Path, part: &str| {
            let text = connect("--console-socket", path).unwrap_err().to_string();
            assert!(text.contains("--console-socket") && text.contains(part), "{text}");
        };
        fails(&dir.join("nothing"), "no such file or directory");
        fails(&dir.join("file"), "is not a socket");

        let link = dir.join("s");
        std::os::unix::fs::symlink(&deep, &link).unwrap();
        let listener = UnixListener::bind(link.join("socket")).unwrap();
        let ours = connect("--console-socket", &deep.join("socket")).unwrap();
        let (theirs, _) = listener.accept().unwrap();
        send_pidfd(ours.as_fd(), theirs.as_fd(), "standard").unwrap();
        receive_master(theirs.as_fd()).unwrap();
        drop(ours);
        assert!(receive_master(theirs.as_fd()).is_err());
        std::fs::remove_dir_all(&dir).unwrap();
    }
}
