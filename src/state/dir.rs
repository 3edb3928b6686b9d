//! Directories of the state, by fd: whose they are is asked once, of the very inode that is used from then on.

use std::ffi::CString;
use std::fs::File;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use crate::error::{Doing, Error, Kind, Result};
use crate::ours::{self, Beside};
use crate::sys::fs::{self as sys, resolve};
use crate::sys::{Call, Errno, Fail, files};

/// A directory that is ours.
pub struct Dir {
    fd: OwnedFd,
    pub path: PathBuf,
}

fn c_name(name: &str) -> Result<CString, Fail> {
    CString::new(name).map_err(|_| Fail::new(Call::Open, Errno::EINVAL))
}

/// What isn't there is none; everything else that fails is an error, since it says nothing of what is there.
fn if_there<T>(done: Result<T, Fail>) -> Result<Option<T>, Fail> {
    match done {
        Err(Fail { errno: Errno::ENOENT, .. }) => Ok(None),
        done => done.map(Some),
    }
}

impl Dir {
    /// The directory of all containers, `None` if there is none. Others may make directories of their own in it if it
    /// is sticky.
    pub fn open_root(path: &Path) -> Result<Option<Dir>> {
        let doing = || format!("open {path:?}");
        let name = crate::sys::c_path(path).doing(doing)?;
        let open =
            |flag| sys::open(sys::cwd(), &name, libc::O_RDONLY | libc::O_DIRECTORY | flag, 0, resolve::HOST);
        let opened = match open(libc::O_NOFOLLOW) {
            Err(Fail { errno: Errno::ENOTDIR | Errno::ELOOP, .. }) => {
                // A symlink leads where its owner wants.
                let link = sys::stat_at(sys::cwd(), &name).doing(|| format!("stat {path:?}"))?;
                ours::check_found(&link, path, Beside::Nobody)?;
                open(0)
            }
            opened => opened,
        };
        let Some(fd) = if_there(opened).doing(doing)? else {
            return Ok(None);
        };
        ours::check(fd.as_fd(), path, Beside::IfSticky)?;
        Ok(Some(Dir { fd, path: path.into() }))
    }

    /// The directory of one container in it.
    pub fn open_dir(&self, name: &str) -> Result<Option<Dir>> {
        let path = self.path.join(name);
        let Some(fd) = self.open_any(name, libc::O_RDONLY | libc::O_DIRECTORY)? else {
            return Ok(None);
        };
        ours::check(fd.as_fd(), &path, Beside::Nobody)?;
        Ok(Some(Dir { fd, path }))
    }

    fn open_any(&self, name: &str, flags: i32) -> Result<Option<OwnedFd>> {
        let opened = c_name(name)
            .and_then(|name| sys::open(self.fd(), &name, flags | libc::O_NOFOLLOW, 0, resolve::HOST));
        if_there(opened).doing(|| format!("open {:?}", self.path.join(name)))
    }

    pub fn fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }

    /// Whether `name` is this very directory still; no if it is gone or another's.
    pub fn still_has(&self, name: &str, dir: &Dir) -> Result<bool> {
        let doing = || format!("stat {:?}", dir.path);
        let ours = sys::stat(dir.fd()).doing(doing)?;
        let now = if_there(c_name(name).and_then(|name| sys::stat_at(self.fd(), &name))).doing(doing)?;
        Ok(now.is_some_and(|now| (now.dev, now.ino) == (ours.dev, ours.ino)))
    }

    /// EEXIST: the name is taken.
    pub fn make_dir(&self, name: &str) -> Result<(), Fail> {
        sys::mkdir(self.fd(), &c_name(name)?, 0o700)
    }

    /// Only an empty one goes.
    pub fn remove_dir(&self, name: &str) -> Result<(), Fail> {
        if_there(c_name(name).and_then(|name| sys::rmdir(self.fd(), &name))).map(drop)
    }

    /// The file, open for reading, if it is there: a regular file and ours.
    pub fn open(&self, name: &str) -> Result<Option<File>> {
        let path = self.path.join(name);
        // A FIFO would be waited for.
        let Some(fd) = self.open_any(name, libc::O_RDONLY | libc::O_NONBLOCK)? else {
            return Ok(None);
        };
        ours::check(fd.as_fd(), &path, Beside::Nobody)?;
        let found = sys::stat(fd.as_fd()).doing(|| format!("stat {path:?}"))?;
        match found.mode & libc::S_IFMT == libc::S_IFREG {
            true => Ok(Some(File::from(fd))),
            false => Err(Error::new(Kind::Untrusted, format!("{path:?} is no regular file"))),
        }
    }

    pub fn read(&self, name: &str) -> Result<Option<Vec<u8>>> {
        let Some(file) = self.open(name)? else {
            return Ok(None);
        };
        files::rest(file).map(Some).doing(|| format!("read {:?}", self.path.join(name)))
    }

    /// The target of a symlink.
    pub fn read_link(&self, name: &str) -> Result<Option<String>> {
        let mut buffer = [0; libc::PATH_MAX as usize];
        let target =
            c_name(name).and_then(|name| sys::readlink(self.fd(), &name, &mut buffer).map(<[u8]>::to_vec));
        let target = if_there(target).doing(|| format!("read the link {:?}", self.path.join(name)))?;
        Ok(target.map(|target| String::from_utf8_lossy(&target).into_owned()))
    }

    pub fn make_link(&self, name: &str, target: &str) -> Result<()> {
        let made = c_name(target).and_then(|target| sys::symlink(&target, self.fd(), &c_name(name)?));
        made.doing(|| format!("make {:?}", self.path.join(name)))
    }

    /// A new file, open for writing, mode 0600.
    pub fn create(&self, name: &str) -> Result<OwnedFd> {
        let made = c_name(name).and_then(|name| create(self.fd(), &name, libc::O_EXCL));
        made.doing(|| format!("make {:?}", self.path.join(name)))
    }

    /// Under another name, which is then renamed: who reads finds what was there before or all of this. Nothing of it is
    /// left if it fails.
    pub fn write(&self, name: &str, content: &[u8]) -> Result<()> {
        let write = || -> Result<(), Fail> {
            let (new, name) = (c_name(&format!(".{name}"))?, c_name(name)?);
            let written = create(self.fd(), &new, libc::O_TRUNC)
                .and_then(|file| sys::write_all(file.as_fd(), content))
                .and_then(|()| sys::rename(self.fd(), &new, &name));
            written.inspect_err(|_| {
                let _ = sys::unlink(self.fd(), &new); // the reason for the failure is told
            })
        };
        write().doing(|| format!("write {:?}", self.path.join(name)))
    }

    /// Removes all that is in it, and `last` when nothing else is there any more: as long as it is, all can be repeated.
    pub fn clear(&self, last: &str) -> Result<()> {
        let mut names = vec![];
        sys::rewind(self.fd())
            .and_then(|()| {
                sys::for_each_entry(self.fd(), |name| {
                    names.push(name.to_owned());
                    Ok(())
                })
            })
            .doing(|| format!("list {:?}", self.path))?;
        names.sort_by_key(|name| name.as_bytes() == last.as_bytes());
        for name in names {
            let path = self.path.join(name.to_string_lossy().as_ref());
            match sys::unlink(self.fd(), &name) {
                Err(Fail { errno: Errno::EISDIR, .. }) => {
                    files::remove_dir_all(&path).doing(|| format!("remove {path:?}"))?;
                }
                removed => drop(if_there(removed).doing(|| format!("remove {path:?}"))?),
            }
        }
        Ok(())
    }
}

fn create(dir: BorrowedFd, name: &CString, flag: i32) -> Result<OwnedFd, Fail> {
    sys::open(dir, name, libc::O_WRONLY | libc::O_CREAT | libc::O_NOFOLLOW | flag, 0o600, resolve::HOST)
}
