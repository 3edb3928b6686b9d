//! Reading and writing the small files of a cgroup, by the fd of a directory at or above it. No path leads out
//! of that directory or through another mount.

use std::ffi::CString;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use crate::sys::fs::{self as sys, resolve};
use crate::sys::{Call, Errno, Fail};

/// A path as the kernel takes it; one with a NUL in it is EINVAL.
pub fn name(path: &str) -> Result<CString, Fail> {
    CString::new(path).map_err(|_| Fail::new(Call::Open, Errno::EINVAL))
}

pub fn open(dir: BorrowedFd, path: &str, flags: i32) -> Result<OwnedFd, Fail> {
    sys::open(dir, &name(path)?, flags, 0, resolve::BENEATH_PLAIN)
}

pub fn open_directory(dir: BorrowedFd, path: &str) -> Result<OwnedFd, Fail> {
    open(dir, path, libc::O_RDONLY | libc::O_DIRECTORY)
}

/// A file that the kernel writes in one piece: all of it comes with one read(2).
pub fn value(dir: BorrowedFd, file: &str) -> Result<String, Fail> {
    value_of(open(dir, file, libc::O_RDONLY)?.as_fd())
}

/// As [`value`], of an open file, from where it stands.
pub fn value_of(file: BorrowedFd) -> Result<String, Fail> {
    let mut buffer = [0; 4096];
    let n = sys::read(file, &mut buffer)?;
    Ok(String::from_utf8_lossy(&buffer[..n]).into_owned())
}

/// A file of any length.
pub fn read(dir: BorrowedFd, file: &str) -> Result<String, Fail> {
    all(open(dir, file, libc::O_RDONLY)?)
}

/// In which cgroups we are ourselves: lines of ID:CONTROLLERS:PATH, of v2 `0::PATH` (cgroups(7)).
pub fn own() -> Result<String, Fail> {
    let file = c"/proc/self/cgroup";
    all(sys::open(sys::cwd(), file, libc::O_RDONLY, 0, resolve::HOST)?)
}

fn all(file: OwnedFd) -> Result<String, Fail> {
    let mut content = Vec::new();
    let mut buffer = [0; 4096];
    loop {
        match sys::read(file.as_fd(), &mut buffer)? {
            0 => return Ok(String::from_utf8_lossy(&content).into_owned()),
            n => content.extend_from_slice(&buffer[..n]),
        }
    }
}

pub fn write(dir: BorrowedFd, file: &str, value: &str) -> Result<(), Fail> {
    sys::write(open(dir, file, libc::O_WRONLY)?.as_fd(), value.as_bytes()).map(drop)
}

/// The number after `key` in a file of lines like `populated 1`.
pub fn keyed(content: &str, key: &str) -> Option<u64> {
    content.lines().find_map(|line| line.strip_prefix(key)?.trim().parse().ok())
}
