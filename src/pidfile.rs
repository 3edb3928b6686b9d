//! `--pid-file`: how engines learn the init's pid.

use std::ffi::OsString;
use std::fs::{self, OpenOptions};

use std::path::Path;

use crate::error::{Doing, Error, Kind, Result};
use crate::sys::{Call, Errno, Named, Pid, files};

/// Writes `pid` in decimal, without a newline, under another name in the same directory and renames: a
/// reader finds the whole number or no file.
pub fn write(path: &Path, pid: Pid) -> Result<()> {
    let Some(name) = path.file_name() else {
        return Err(Error::new(Kind::Usage, format!("--pid-file {path:?} names no file")));
    };
    let mut hidden = OsString::from(".");
    hidden.push(name);
    let new = path.with_file_name(hidden);
    let write = || {
        match fs::remove_file(&new).call(Call::Unlink) {
            Err(fail) if fail.errno != Errno::ENOENT => return Err(fail),
            _ => {}
        }
        // Follows no link.
        files::write_with(OpenOptions::new().write(true).create_new(true), &new, pid.to_string())?;
        fs::rename(&new, path).call(Call::Rename)
    };
    write().doing(|| format!("write --pid-file {path:?}"))
}

#[cfg(test)]
mod tests {
    use super::*;

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
        fs::remove_dir_all(&dir).unwrap();
        assert!(write(&path, Pid(7)).unwrap_err().to_string().contains("--pid-file"));
        assert!(write(Path::new("/"), Pid(7)).is_err());
    }
}
