//! The directories that criu works on, and the file that we keep beside its own: which key means which mount of
//! config.json, and what the standard streams were.
//!
//! A checkpoint may have come from anywhere, and what is in it is not believed: no symlink in it is followed, and from
//! our file only mounts that config.json has anyway can follow.

use std::collections::BTreeMap;
use std::ffi::CStr;
use std::fs::{self, DirBuilder, File};
use std::io::{Read, Write};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::log;
use crate::cli::criu;
use crate::error::{Doing, Error, Kind, Result};
use crate::sys::fs::{self as sys, resolve};
use crate::sys::{Errno, Fail, Gid, Pid, Uid, c_path};

const FILE: &CStr = c"rrunc.json";
/// The newest layout of [`Table`].
const VERSION: u32 = 1;
/// Neither our file nor the part of a log that we quote is longer.
const LONGEST: u64 = 4 << 20;

/// The content of our file.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Table {
    /// Filled in when it is written.
    pub version: u32,
    /// By the keys that criu was told, the destination in config.json.
    pub mounts: BTreeMap<String, String>,
    /// Whether the host's /dev/null covers something.
    pub masked: bool,
    /// What the first process had as its standard streams (proc_pid_fd(5)): `pipe:[1234]`.
    pub streams: Vec<String>,
}

pub struct Images {
    pub images: Directory,
    pub work: Directory,
}

pub struct Directory {
    pub path: PathBuf,
    dir: OwnedFd,
}

impl Directory {
    fn open(path: PathBuf, option: &str) -> Result<Directory> {
        let doing = || format!("{option}: open {}", path.display());
        let flags = libc::O_RDONLY | libc::O_DIRECTORY;
        let name = c_path(&path).doing(doing)?;
        let dir = sys::open(sys::cwd(), &name, flags, 0, resolve::HOST).doing(doing)?;
        Ok(Directory { path, dir })
    }

    /// Made with all above it, for nobody but us, if it is missing.
    fn make(path: PathBuf, option: &str) -> Result<Directory> {
        let made = DirBuilder::new().mode(0o700).recursive(true).create(&path);
        made.doing(|| format!("{option}: make {}", path.display()))?;
        Directory::open(path, option)
    }

    /// Its number among our fds, by which criu finds it.
    pub fn number(&self) -> i32 {
        self.dir.as_raw_fd()
    }

    /// A plain file in it; `None` if there is none, or something else.
    fn open_file(&self, name: &CStr) -> Result<Option<OwnedFd>, Fail> {
        let flags = libc::O_RDONLY | libc::O_NONBLOCK | libc::O_NOFOLLOW;
        let file = match sys::open(self.dir.as_fd(), name, flags, 0, resolve::BENEATH_PLAIN) {
            Err(fail) if matches!(fail.errno, Errno::ENOENT | Errno::ELOOP | Errno::ENXIO) => {
                return Ok(None);
            }
            file => file?,
        };
        let is_file = sys::stat(file.as_fd())?.mode & libc::S_IFMT == libc::S_IFREG;
        Ok(is_file.then_some(file))
    }

    /// All of it, or the beginning if it is long.
    fn read(&self, name: &CStr) -> Result<Option<Vec<u8>>, Fail> {
        let Some(file) = self.open_file(name)? else {
            return Ok(None);
        };
        let mut bytes = Vec::new();
        let read = File::from(file).take(LONGEST).read_to_end(&mut bytes);
        read.map_err(|error| {
            let errno = error.raw_os_error().unwrap_or(libc::EIO);
            Fail::new(crate::sys::Call::Io, Errno::from_raw(errno))
        })?;
        Ok(Some(bytes))
    }

    /// The name is free: what is there, which may be a link to a file of the host, is removed.
    fn free(&self, name: &CStr) -> Result<()> {
        match sys::unlink(self.dir.as_fd(), name) {
            Err(fail) if fail.errno != Errno::ENOENT => {
                Err(fail).doing(|| format!("remove {}", self.path.join(&*name.to_string_lossy()).display()))
            }
            _ => Ok(()),
        }
    }
}

impl Images {
    /// For `checkpoint`: made where they are missing.
    pub fn make(given: &criu::Images) -> Result<Images> {
        let images = Directory::make(image_path(given), "--image-path")?;
        Images::with_work(images, given)
    }

    /// For `restore`.
    pub fn open(given: &criu::Images) -> Result<Images> {
        let images = Directory::open(image_path(given), "--image-path")
            .map_err(|error| error.hint("where checkpoint has saved the container"))?;
        Images::with_work(images, given)
    }

    fn with_work(images: Directory, given: &criu::Images) -> Result<Images> {
        let work = match &given.work_path {
            Some(path) => Directory::make(path.clone(), "--work-path")?,
            None => Directory::open(images.path.clone(), "--image-path")?,
        };
        Ok(Images { images, work })
    }

    /// The same directories in the mount namespace of criu, a child of ours: it works in there, and could mount nothing in
    /// ours.
    pub fn seen_by(&self, criu: Pid) -> Result<Images> {
        let seen = |directory: &Directory, option: &str| {
            let doing = || format!("{option}: find {}", directory.path.display());
            let path = directory.path.canonicalize().doing(doing)?;
            let inside = Path::new("/proc").join(criu.to_string()).join("root");
            let inside = inside.join(path.strip_prefix("/").unwrap_or(&path));
            Directory::open(inside, option)
        };
        Ok(Images { images: seen(&self.images, "--image-path")?, work: seen(&self.work, "--work-path")? })
    }

    /// --parent-path, seen from the image.
    pub fn check_parent(&self, parent: &Path) -> Result<()> {
        if parent.is_absolute() {
            let error = Error::new(Kind::Usage, "--parent-path must be relative");
            return Err(error.hint("to --image-path: criu keeps it as a link"));
        }
        let path = self.images.path.join(parent);
        let found =
            fs::metadata(&path).doing(|| format!("invalid --parent-path: open {}", path.display()))?;
        match found.is_dir() {
            true => Ok(()),
            false => {
                let text = format!("invalid --parent-path: {} is not a directory", path.display());
                Err(Error::new(Kind::Usage, text))
            }
        }
    }

    /// Lets the root of the container's user namespace read the image, which is its own memory: criu reads it in there,
    /// first with our ids, which have no rights in there but those of the group, then with those of that root.
    pub fn give_to(&self, uid: Uid) -> Result<()> {
        let dir = self.images.dir.as_fd();
        let give = |file: BorrowedFd, mode| {
            sys::chown(file, Some(uid), Some(Gid(0))).and_then(|()| sys::chmod(file, mode))
        };
        let doing = || format!("give {} to uid {uid}", self.images.path.display());
        sys::for_each_entry(dir, |name| match self.images.open_file(name)? {
            Some(file) => give(file.as_fd(), 0o640),
            None => Ok(()),
        })
        .doing(doing)?;
        give(dir, 0o750).doing(doing)
    }

    /// No log of that name is there.
    pub fn begin_log(&self, name: &CStr) -> Result<()> {
        self.work.free(name)
    }

    /// What criu's log says of a failure, with the log's path.
    pub fn explain(&self, name: &CStr) -> Error {
        let log = self.work.read(name).ok().flatten().unwrap_or_default();
        let errors = log::errors(&String::from_utf8_lossy(&log));
        let text = errors.unwrap_or_else(|| "it failed and doesn't say why".into());
        let path = self.work.path.join(&*name.to_string_lossy());
        let error = Error::new(Kind::Kernel, format!("criu: {text}"));
        error.hint(format!("criu's log is {}", path.display()))
    }

    pub fn write_table(&self, table: &Table) -> Result<()> {
        let doing = || format!("write {}", self.table_path().display());
        let table = Table { version: VERSION, ..table.clone() };
        let json = serde_json::to_vec(&table).unwrap_or_default(); // strings and maps of strings can't fail
        self.images.free(FILE)?;
        let flags = libc::O_WRONLY | libc::O_CREAT | libc::O_EXCL;
        let file =
            sys::open(self.images.dir.as_fd(), FILE, flags, 0o600, resolve::BENEATH_PLAIN).doing(doing)?;
        File::from(file).write_all(&json).doing(doing)
    }

    pub fn read_table(&self) -> Result<Table> {
        let path = self.table_path();
        let bytes = self.images.read(FILE).doing(|| format!("read {}", path.display()))?;
        let Some(bytes) = bytes else {
            let text = format!(
                "{} has no checkpoint of rrunc: {} is missing",
                self.images.path.display(),
                path.display()
            );
            return Err(Error::new(Kind::Usage, text)
                .hint("an image can be restored by the runtime that made it; a pre-dump can't be"));
        };
        let broken = |what: String| Error::new(Kind::Usage, format!("{}: {what}", path.display()));
        let table: Table = serde_json::from_slice(&bytes).map_err(|error| broken(error.to_string()))?;
        match table.version {
            VERSION => Ok(table),
            other => Err(broken(format!("is of version {other}, this rrunc knows {VERSION}"))),
        }
    }

    fn table_path(&self) -> PathBuf {
        self.images.path.join(&*FILE.to_string_lossy())
    }
}

fn image_path(given: &criu::Images) -> PathBuf {
    given.image_path.clone().unwrap_or_else(|| "checkpoint".into())
}
