//! The socket of a group of containers: where it is, and who gets to listen on it.

use std::fmt::Write;
use std::fs::{self, DirBuilder, File, Metadata};
use std::io::ErrorKind;
use std::os::fd::AsFd;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};

use nix::sys::stat::{Mode, umask};
use rrunc::sys::process::{Lock, flock};
use sha2::{Digest, Sha256};

use crate::refusal::{Doing, Refusal};

/// Where containerd's shims of root have theirs.
const DIR: &str = "/run/containerd/s";
const SCHEME: &str = "unix://";

pub struct Place {
    dir: PathBuf,
    name: String,
}

/// Who serves a group.
pub enum Claim {
    /// Nobody did until now.
    Ours(UnixListener),
    /// A shim that is there already.
    Theirs,
}

impl Place {
    /// The same for every container of a group, in this and every other version.
    pub fn of(dir: Option<&str>, address: &str, namespace: &str, group: &str) -> Place {
        let hash = Sha256::digest(format!("{address}/{namespace}/{group}"));
        let mut name = String::with_capacity(64);
        for byte in hash {
            let _ = write!(name, "{byte:02x}"); // a String takes everything
        }
        Place { dir: dir.map_or_else(default_dir, PathBuf::from), name }
    }

    pub fn address(&self) -> String {
        format!("{SCHEME}{}", self.dir.join(&self.name).display())
    }

    /// Listens there, mode 0600, unless somebody else does. A socket that nobody listens on any more is replaced.
    pub fn claim(&self) -> Result<Claim, Refusal> {
        let path = self.dir.join(&self.name);
        let doing = || format!("listen on {}", path.display());
        DirBuilder::new().recursive(true).mode(0o700).create(&self.dir).doing(doing)?;
        // Two who start at once: between bind and listen the first would look dead to the second.
        let dir = File::open(&self.dir).doing(doing)?;
        self.check(&dir.metadata().doing(doing)?)?;
        flock(dir.as_fd(), Lock::Exclusive).doing(doing)?;
        match UnixStream::connect(&path) {
            Ok(theirs) if peer_is_us(&theirs) => return Ok(Claim::Theirs),
            Ok(_) => return Err("another user listens there").doing(doing),
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            Err(error) if error.kind() == ErrorKind::ConnectionRefused => {
                fs::remove_file(&path).doing(|| format!("remove the dead socket {}", path.display()))?;
            }
            Err(error) => return Err(error).doing(|| format!("connect to {}", path.display())), // it may live
        }
        let old = umask(Mode::from_bits_truncate(0o177));
        let listener = UnixListener::bind(&path);
        umask(old);
        Ok(Claim::Ours(listener.doing(doing)?))
    }

    /// In /tmp anybody may have been faster, to listen in a shim's place.
    fn check(&self, dir: &Metadata) -> Result<(), Refusal> {
        let us = nix::unistd::geteuid().as_raw();
        let (owner, mode) = (dir.uid(), dir.mode() & 0o7777);
        let others = mode & 0o022;
        if (owner == us || owner == 0) && others == 0 {
            return Ok(());
        }
        Err(Refusal::unknown(format!(
            "directory {} for sockets: is of uid {owner} with mode {mode:o}; it has to be of uid {us}, and nobody else \
             may write to it",
            self.dir.display()
        )))
    }
}

fn default_dir() -> PathBuf {
    let uid = nix::unistd::geteuid();
    match std::env::var_os("XDG_RUNTIME_DIR") {
        _ if uid.is_root() => DIR.into(),
        Some(dir) => Path::new(&dir).join("containerd/s"),
        None => format!("/tmp/containerd-s-{uid}").into(),
    }
}

/// The path in an address that a shim gave.
pub fn path(address: &str) -> Option<&Path> {
    address.trim().strip_prefix(SCHEME).map(Path::new)
}

/// Whether the other side is of the user that we are.
pub fn peer_is_us(socket: &UnixStream) -> bool {
    let peer = nix::sys::socket::getsockopt(socket, nix::sys::socket::sockopt::PeerCredentials);
    peer.is_ok_and(|peer| peer.uid() == nix::unistd::geteuid().as_raw())
}

/// Removes a socket that nobody listens on.
pub fn remove_dead(path: &Path) {
    if UnixStream::connect(path).is_err_and(|error| error.kind() == ErrorKind::ConnectionRefused) {
        let _ = fs::remove_file(path); // gone already, or the next to listen there says what is wrong
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_listens_and_the_dead_are_replaced() {
        let dir = std::env::temp_dir().join(format!("rrunc-shim-socket-{}", std::process::id()));
        let place = Place::of(dir.to_str(), "/a", "n", "g");
        let Ok(Claim::Ours(listener)) = place.claim() else {
            panic!("nobody is there");
        };
        assert!(matches!(place.claim(), Ok(Claim::Theirs)));
        let path = path(&place.address()).unwrap().to_path_buf();
        remove_dead(&path);
        assert!(path.exists());
        drop(listener);
        assert!(matches!(place.claim(), Ok(Claim::Ours(_))));
        remove_dead(&path);
        assert!(!path.exists());
        fs::remove_dir_all(&dir).unwrap();
    }

    #[test]
    fn a_directory_that_others_may_write_to() {
        use std::os::unix::fs::{PermissionsExt, chown};
        let dir = std::env::temp_dir().join(format!("rrunc-shim-theirs-{}", std::process::id()));
        fs::create_dir(&dir).unwrap();
        let place = Place::of(dir.to_str(), "/a", "n", "g");
        let refused = |mode| {
            fs::set_permissions(&dir, fs::Permissions::from_mode(mode)).unwrap();
            place.claim().err().map(|refusal| refusal.text)
        };
        assert!(refused(0o1777).unwrap().contains("with mode 1777"));
        assert!(refused(0o770).is_some());
        assert_eq!(refused(0o711), None);
        if nix::unistd::geteuid().is_root() {
            chown(&dir, Some(1000), None).unwrap();
            assert!(refused(0o700).unwrap().contains("is of uid 1000"));
        }
        fs::remove_dir_all(&dir).unwrap();
    }

    #[test]
    fn names() {
        let name = |group| Place::of(Some("/d"), "/run/c.sock", "n", group).address();
        assert_eq!(name("g"), name("g"));
        assert_ne!(name("g"), name("h"));
        assert_eq!(name("g").len(), "unix:///d/".len() + 64);
    }
}
