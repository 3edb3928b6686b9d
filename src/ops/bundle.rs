//! A bundle: the directory that has the config.json (bundle.md).

use std::fs::File;
use std::io::Read;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use crate::error::{Doing, Error, Kind, Result};
use crate::spec::{self, Spec};
use crate::sys::{Call, Named};

/// A config.json larger than this is no configuration (it would hold some 100,000 mounts).
const MAX_SIZE: u64 = 16 << 20;

#[derive(Debug)]
pub struct Bundle {
    /// Absolute, symlinks resolved.
    pub path: PathBuf,
    pub spec: Spec,
    /// The bytes that the spec was read from.
    pub config: Vec<u8>,
}

impl Bundle {
    /// Reads the bundle at `path`, or in the current directory. `config` is a file in place of its config.json,
    /// relative to the current directory.
    pub fn open(path: Option<&Path>, config: Option<&Path>) -> Result<Bundle> {
        match Bundle::examine(path, config)? {
            (bundle, None) => Ok(bundle),
            (_, Some(faults)) => Err(faults),
        }
    }

    /// The same, with what could be read of a config.json that has faults.
    pub fn examine(path: Option<&Path>, config: Option<&Path>) -> Result<(Bundle, Option<Error>)> {
        let given = path.unwrap_or(Path::new("."));
        let path = given
            .canonicalize()
            .call(Call::Readlink)
            .doing(|| format!("open the bundle {}", given.display()))?;
        let file = config.map_or_else(|| path.join("config.json"), Path::to_path_buf);
        let bytes = read(&file)?;
        let (spec, faults) = spec::examine(&bytes)?;
        let bundle = Bundle { path, spec, config: bytes };
        Ok((bundle, faults))
    }

    /// The root file system of the container on the host: absolute, and no symlink, since whoever can change
    /// the link later would choose another root.
    pub fn root(&self) -> Result<PathBuf> {
        let Some(root) = self.spec.oci.root() else {
            return Err(Error::new(Kind::InvalidSpec, "config.json: root: is missing"));
        };
        let path = self.path.join(root.path());
        let found =
            path.symlink_metadata().call(Call::Stat).doing(|| format!("root.path: open {}", path.display()));
        let found =
            found.map_err(|error| error.hint("the bundle's root file system, relative to the bundle"))?;
        if found.is_symlink() {
            let text = format!("root.path: invalid rootfs: {} is a symlink", path.display());
            return Err(Error::new(Kind::InvalidSpec, text).hint("name the directory itself"));
        }
        if !found.is_dir() {
            let text = format!("root.path: {} is not a directory", path.display());
            return Err(Error::new(Kind::InvalidSpec, text));
        }
        path.canonicalize().call(Call::Readlink).doing(|| format!("root.path: open {}", path.display()))
    }
}

fn read(path: &Path) -> Result<Vec<u8>> {
    let doing = || format!("open {}", path.display());
    let mut file = match File::open(path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            let error = Err(error)
                .call(Call::Openat)
                .doing(|| format!("JSON specification file config.json not found: {}", doing()));
            return error.map_err(|e| e.hint("make one with `rrunc spec`, or name the bundle with --bundle"));
        }
        file => file.call(Call::Openat).doing(doing)?,
    };
    let size = file.metadata().call(Call::Stat).doing(doing)?.len();
    let mut bytes = Vec::with_capacity(size.min(MAX_SIZE) as usize + 1);
    file.by_ref()
        .take(MAX_SIZE + 1)
        .read_to_end(&mut bytes)
        .call(Call::Read)
        .doing(|| format!("read {}", path.display()))?;
    if bytes.len() as u64 > MAX_SIZE {
        let text = format!("{} is larger than {} MiB", path.display(), MAX_SIZE >> 20);
        return Err(Error::new(Kind::InvalidSpec, text));
    }
    Ok(bytes)
}

/// An id made from the name of a bundle's directory, for `run BUNDLE_DIR`.
pub fn id_of(path: &Path) -> String {
    let path = path.canonicalize().unwrap_or_else(|_| path.to_path_buf());
    let name = path.file_name().map_or(&b"container"[..], OsStrExt::as_bytes);
    let allowed = |b: &u8| {
        if b.is_ascii_alphanumeric() || b"_+-.".contains(b) { char::from(*b) } else { '_' }
    };
    let id: String = name.iter().map(allowed).collect();
    match id.trim_start_matches('.') {
        "" => "container".into(),
        id => id.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_from_names() {
        for (path, id) in
            [("/x/web", "web"), ("/x/my app!", "my_app_"), ("/x/.hidden", "hidden"), ("/", "container")]
        {
            assert_eq!(id_of(Path::new(path)), id);
        }
    }
}
