//! `--pid-file`: how engines learn the init's pid.

use std::ffi::OsString;
use std::fs;
use std::io::{ErrorKind, Write};
use std::path::Path;

use crate::error::{Doing, Error, Kind, Result};
use crate::sys::Pid;

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
        match fs::remove_file(&new) {
            Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
            _ => fs::File::create_new(&new)?.write_all(pid.to_string().as_bytes())?, // follows no link
        }
        fs::rename(&new, path)
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
