//! `rrunc spec`: writes a config.json to start from.

use std::fs::OpenOptions;
use std::io::{ErrorKind, Write};
use std::path::Path;

use crate::error::{Doing, Error, Kind, Result};
use crate::spec::default::default_config;
use crate::sys::{Call, Named, ids};

/// Into `bundle`, or the current directory, and `file` there. One that is there stays, and is an error.
pub fn spec(bundle: Option<&Path>, file: Option<&Path>, rootless: bool) -> Result<()> {
    let name = file.unwrap_or(Path::new("config.json"));
    let path = bundle.unwrap_or(Path::new("")).join(name);
    let user = rootless.then(|| (ids::euid(), ids::egid()));
    let file = OpenOptions::new().write(true).create_new(true).open(&path);
    let mut file = match file {
        Err(error) if error.kind() == ErrorKind::AlreadyExists => {
            // runc's words, which scripts look for.
            let text = format!("File {} exists. Remove it first", name.display());
            return Err(Error::new(Kind::Exists, text));
        }
        file => file.call(Call::Openat).doing(|| format!("make {}", path.display()))?,
    };
    file.write_all(default_config(user).as_bytes())
        .call(Call::Write)
        .doing(|| format!("write {}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_overwritten() {
        let dir = std::env::temp_dir().join(format!("rrunc-spec-{}", std::process::id()));
        std::fs::create_dir(&dir).unwrap();
        let first = spec(Some(&dir), None, false);
        let written = std::fs::read_to_string(dir.join("config.json"));
        let second = spec(Some(&dir), None, true);
        let kept = std::fs::read_to_string(dir.join("config.json"));
        let nowhere = spec(Some(&dir.join("nowhere")), None, false);
        std::fs::remove_dir_all(&dir).unwrap();

        first.unwrap();
        assert_eq!(written.unwrap(), default_config(None));
        let second = second.unwrap_err();
        assert_eq!(second.to_string(), "File config.json exists. Remove it first");
        assert_eq!(kept.unwrap(), default_config(None));
        assert!(nowhere.unwrap_err().to_string().contains("nowhere/config.json"));
    }
}
