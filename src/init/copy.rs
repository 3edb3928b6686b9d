//! tmpcopyup: what a directory holds, copied into the new file system that covers it.

use std::ffi::CStr;
use std::os::fd::{AsFd, BorrowedFd};

use super::Done;
use crate::sys::fs::{self, Stat, resolve};
use crate::sys::{Call, Errno, Fail};

/// Directories within directories: each costs a stack frame with a buffer, and the tree is the image's.
const MAX_DEPTH: usize = 64;

/// Copies all that is below `from` into `to`, with modes and owners; both are directories. `to` itself stays as the
/// mount's options have it.
pub fn directory(from: BorrowedFd, to: BorrowedFd, depth: usize) -> Done {
    if depth > MAX_DEPTH {
        return Err(Fail::new(Call::Open, Errno::ELOOP));
    }
    fs::for_each_entry(from, |name| entry(from, to, name, depth))
}

fn entry(from: BorrowedFd, to: BorrowedFd, name: &CStr, depth: usize) -> Done {
    let found = fs::open(from, name, libc::O_PATH | libc::O_NOFOLLOW, 0, resolve::BENEATH)?;
    let stat = fs::stat(found.as_fd())?;
    match stat.mode & libc::S_IFMT {
        libc::S_IFDIR => {
            fs::mkdir(to, name, 0o700)?;
            let flags = libc::O_RDONLY | libc::O_DIRECTORY | libc::O_NOFOLLOW;
            let below = fs::open(from, name, flags, 0, resolve::BENEATH)?;
            let made = fs::open(to, name, flags, 0, resolve::BENEATH)?;
            keep_owner(made.as_fd(), &stat)?;
            directory(below.as_fd(), made.as_fd(), depth + 1)
        }
        libc::S_IFREG => {
            let source = fs::open(from, name, libc::O_RDONLY | libc::O_NOFOLLOW, 0, resolve::BENEATH)?;
            let create = libc::O_WRONLY | libc::O_CREAT | libc::O_EXCL | libc::O_NOFOLLOW;
            let made = fs::open(to, name, create, 0o600, resolve::BENEATH)?;
            content(source.as_fd(), made.as_fd())?;
            keep_owner(made.as_fd(), &stat)
        }
        libc::S_IFLNK => {
            let mut buffer = [0; 4096];
            let length = fs::readlink(from, name, &mut buffer)?.len();
            let target = buffer.get(..=length).and_then(|bytes| CStr::from_bytes_with_nul(bytes).ok());
            fs::symlink(target.ok_or(Fail::new(Call::Readlink, Errno::ENAMETOOLONG))?, to, name)
        }
        _ => fs::mknod(to, name, stat.mode, stat.rdev),
    }
}

fn content(from: BorrowedFd, to: BorrowedFd) -> Done {
    let mut buffer = [0; 16384];
    loop {
        let n = fs::read(from, &mut buffer)?;
        let mut rest = buffer.get(..n).unwrap_or(&[]);
        if rest.is_empty() {
            return Ok(());
        }
        while !rest.is_empty() {
            let written = fs::write(to, rest)?;
            rest = rest.get(written..).unwrap_or(&[]);
        }
    }
}

/// Owner first: a change of owner takes setuid bits away.
fn keep_owner(fd: BorrowedFd, stat: &Stat) -> Done {
    fs::chown(fd, Some(stat.uid), Some(stat.gid))?;
    fs::chmod(fd, stat.mode & 0o7777)
}
