//! `--pid-file`: how engines learn the init's pid.

use std::ffi::OsString;
use std::os::fd::AsFd;
use std::path::Path;

use crate::error::{Doing, Error, Kind, Result};
use crate::sys::fs::{self as sys, resolve};
use crate::sys::{Errno, Fail, Pid, c_path};

/// Writes `pid` in decimal, without a newline, under another name in the same directory and renames: a
/// reader finds the whole number or no file, and none is left that was begun.
pub fn write(path: &Path, pid: Pid) -> Result<()> {
    let Some(name) = path.file_name() else {
        return Err(Error::new(Kind::Usage, format!("--pid-file {path:?} names no file")));
    };
    let mut hidden = OsString::from(".");
    hidden.push(name);
    let new = path.with_file_name(hidden);
    let write = || -> Result<(), Fail> {
        let (here, new, path) = (sys::cwd(), c_path(&new)?, c_path(path)?);
        match sys::unlink(here, &new) {
            Err(Fail { errno: Errno::ENOENT, .. }) => {}
            unlinked => unlinked?,
        }
        let flags = libc::O_WRONLY | libc::O_CREAT | libc::O_EXCL | libc::O_NOFOLLOW;
        let file = sys::open(here, &new, flags, 0o666, resolve::HOST)?;
        let written = sys::write_all(file.as_fd(), pid.to_string().as_bytes())
            .and_then(|()| sys::rename(here, &new, &path));
        written.inspect_err(|_| {
            let _ = sys::unlink(here, &new); // the reason for the failure is told
        })
    };
    write().doing(|| format!("write --pid-file {path:?}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn whole_or_not_at_all() {
        let dir = std::env::temp_dir().join(format!("rrunc-state-pidfile-{}", std::process::id()));
        fs::create_dir(&dir).unwrap();
        let path = dir.join("pid");
        write(&path, Pid(7)).unwrap();
        std::os::unix::fs::symlink("/nowhere", dir.join(".pid")).unwrap();
        write(&path, Pid(42)).unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "42");
        assert_eq!(fs::read_dir(&dir).unwrap().count(), 1);
        fs::create_dir_all(dir.join("full/pid")).unwrap();
        assert!(
            write(&dir.join("full/pid"), Pid(7))
                .unwrap_err()
                .to_string()
                .contains("renameat2: is a directory")
        );
        assert_eq!(fs::read_dir(dir.join("full")).unwrap().count(), 1, "a file that was begun is left");
        fs::remove_dir_all(&dir).unwrap();
        assert!(write(&path, Pid(7)).unwrap_err().to_string().contains("--pid-file"));
        assert!(write(Path::new("/"), Pid(7)).is_err());
    }
}
