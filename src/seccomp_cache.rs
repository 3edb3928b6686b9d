//! Compiled seccomp filters, kept: compiling a long profile costs more than all the rest of a start.
//!
//! A file's name is a hash of what the filter was made from, but what decides is that the file holds all of that
//! again, byte for byte; so the hash need not resist anybody. Files are ours alone (0600 in a 0700 directory),
//! written under another name and renamed, and looked at again when read. A cache that can't be used costs time,
//! nothing else.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::hash::Hasher;
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::Path;

use libseccomp::ScmpVersion;
use oci_spec::runtime::LinuxSeccomp;

use crate::error::Result;
use crate::plan::seccomp::{self, Compiled, Filter};
use crate::sys::ids;

/// Of the layout below.
const FORMAT: u32 = 1;
/// A filter has at most 32 KiB; the rest is the profile.
const MAX_FILE: u64 = 1 << 20;
/// How many filters are kept; an engine has one or two profiles.
const MAX_FILES: usize = 64;

/// The filter of `profile`, from `directory` or compiled and put there.
pub fn load_or_compile(directory: &Path, profile: &LinuxSeccomp) -> Result<Compiled> {
    let Some(key) = key(profile) else {
        return seccomp::compile(profile);
    };
    let path = directory.join(name(&key));
    if let Some(found) = load(&path, &key) {
        return Ok(found);
    }
    let compiled = seccomp::compile(profile)?;
    let _ = store(directory, &path, &key, &compiled); // see above: only slower next time
    Ok(compiled)
}

/// All that a filter depends on.
fn key(profile: &LinuxSeccomp) -> Option<Vec<u8>> {
    let version = ScmpVersion::current().ok()?;
    let mut key = format!(
        "rrunc seccomp filter {FORMAT}, rrunc {}, libseccomp {}.{}.{}, {}\n",
        env!("CARGO_PKG_VERSION"),
        version.major,
        version.minor,
        version.micro,
        std::env::consts::ARCH
    )
    .into_bytes();
    serde_json::to_writer(&mut key, profile).ok()?;
    Some(key)
}

fn name(key: &[u8]) -> String {
    #[allow(deprecated)]
    // SipHash with fixed keys: the same in every process, which is all that is asked of it
    let mut hasher = std::hash::SipHasher::new();
    hasher.write(key);
    format!("{:016x}", hasher.finish())
}

// The file: length of the key, key, flags, length of the warnings (JSON), warnings, program. Lengths and flags
// are u32 in the machine's byte order; the key names the machine.

fn load(path: &Path, key: &[u8]) -> Option<Compiled> {
    let mut file = OpenOptions::new()
        .read(true)
        .custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK)
        .open(path)
        .ok()?;
    let metadata = file.metadata().ok()?;
    let ours = metadata.uid() == ids::euid().0 && metadata.permissions().mode() & 0o077 == 0;
    if !metadata.is_file() || !ours || metadata.len() > MAX_FILE {
        return None;
    }
    let mut bytes = Vec::with_capacity(metadata.len() as usize + 1);
    file.read_to_end(&mut bytes).ok()?;
    let mut rest = bytes.as_slice();
    if take_sized(&mut rest)? != key {
        return None;
    }
    let flags = take_u32(&mut rest)?;
    let warnings = serde_json::from_slice(take_sized(&mut rest)?).ok()?;
    let program = take_sized(&mut rest)?.to_vec();
    let whole = rest.is_empty() && !program.is_empty() && program.len() % 8 == 0;
    whole.then_some(Compiled {
        filter: Filter { program, flags },
        warnings,
    })
}

fn take_u32(rest: &mut &[u8]) -> Option<u32> {
    let (head, tail) = rest.split_first_chunk::<4>()?;
    *rest = tail;
    Some(u32::from_ne_bytes(*head))
}

fn take_sized<'a>(rest: &mut &'a [u8]) -> Option<&'a [u8]> {
    let length = take_u32(rest)? as usize;
    let (head, tail) = rest.split_at_checked(length)?;
    *rest = tail;
    Some(head)
}

fn store(directory: &Path, path: &Path, key: &[u8], compiled: &Compiled) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(directory)?;
    make_room(directory)?;
    let mut bytes = Vec::new();
    let warnings = serde_json::to_vec(&compiled.warnings)?;
    put_sized(&mut bytes, key);
    bytes.extend_from_slice(&compiled.filter.flags.to_ne_bytes());
    put_sized(&mut bytes, &warnings);
    put_sized(&mut bytes, &compiled.filter.program);
    let new = path.with_extension(format!("new{}", std::process::id()));
    let _ = fs::remove_file(&new); // of a process with our id that was killed
    let written = File::options()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&new)
        .and_then(|mut file| {
            file.write_all(&bytes)?;
            fs::rename(&new, path)
        });
    if written.is_err() {
        let _ = fs::remove_file(&new);
    }
    written
}

fn put_sized(bytes: &mut Vec<u8>, part: &[u8]) {
    bytes.extend_from_slice(&(part.len() as u32).to_ne_bytes());
    bytes.extend_from_slice(part);
}

/// Keeps the number of files bounded: the oldest go.
fn make_room(directory: &Path) -> io::Result<()> {
    let mut files = Vec::new();
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        files.push((entry.metadata()?.modified()?, entry.path()));
    }
    files.sort();
    let excess = (files.len() + 1).saturating_sub(MAX_FILES);
    files
        .iter()
        .take(excess)
        .try_for_each(|(_, path)| fs::remove_file(path))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::PathBuf;

    struct Directory(PathBuf);

    impl Directory {
        fn new(name: &str) -> Directory {
            let path = std::env::temp_dir().join(format!("rrunc-seccomp-{name}-{}", std::process::id()));
            let _ = fs::remove_dir_all(&path);
            Directory(path)
        }
    }

    impl Drop for Directory {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    fn profile(call: &str) -> LinuxSeccomp {
        let json = format!(
            r#"{{"defaultAction":"SCMP_ACT_ALLOW","syscalls":[{{"names":["{call}","nonsense"],"action":"SCMP_ACT_ERRNO"}}]}}"#
        );
        serde_json::from_str(&json).expect("a profile")
    }

    fn only_file(directory: &Directory) -> PathBuf {
        let files: Vec<_> = fs::read_dir(&directory.0)
            .expect("cache")
            .map(|e| e.expect("entry").path())
            .collect();
        assert_eq!(files.len(), 1, "{files:?}");
        files[0].clone()
    }

    #[test]
    fn what_was_compiled_is_found_again() {
        let directory = Directory::new("hit");
        let (mkdir, rmdir) = (profile("mkdir"), profile("rmdir"));
        let first = load_or_compile(&directory.0, &mkdir).expect("compiled");
        let path = only_file(&directory);
        assert_eq!(
            fs::metadata(&path).expect("file").permissions().mode() & 0o777,
            0o600
        );
        assert_eq!(load(&path, &key(&mkdir).expect("key")), Some(first.clone()));
        assert_eq!(
            load(&path, &key(&rmdir).expect("key")),
            None,
            "another profile of the same hash"
        );
        assert_eq!(load_or_compile(&directory.0, &mkdir).expect("hit"), first);
        assert_eq!(first.warnings.len(), 1);
        assert_ne!(
            load_or_compile(&directory.0, &rmdir).expect("compiled").filter,
            first.filter
        );
    }

    #[test]
    fn what_others_can_write_or_nobody_finished_is_not_believed() {
        let directory = Directory::new("trust");
        let profile = profile("mkdir");
        let key = key(&profile).expect("key");
        let good = load_or_compile(&directory.0, &profile).expect("compiled");
        let path = only_file(&directory);
        let whole = fs::read(&path).expect("file");
        for length in [0, 3, whole.len() / 2, whole.len() - 1] {
            fs::write(&path, &whole[..length]).expect("truncate");
            assert_eq!(load(&path, &key), None, "{length} of {} bytes", whole.len());
        }
        assert_eq!(
            load_or_compile(&directory.0, &profile).expect("compiled anew"),
            good
        );
        fs::set_permissions(&path, fs::Permissions::from_mode(0o660)).expect("chmod");
        assert_eq!(load(&path, &key), None, "writable for the group");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).expect("chmod");
        let moved = directory.0.join("moved");
        fs::rename(&path, &moved).expect("rename");
        std::os::unix::fs::symlink(&moved, &path).expect("symlink");
        assert_eq!(load(&path, &key), None, "a symlink");
    }

    #[test]
    fn a_cache_that_cannot_be_is_none() {
        let nowhere = Path::new("/proc/nowhere");
        assert!(load_or_compile(nowhere, &profile("mkdir")).is_ok());
    }

    #[test]
    fn old_filters_give_way() {
        let directory = Directory::new("room");
        fs::create_dir_all(&directory.0).expect("mkdir");
        for n in 0..MAX_FILES + 5 {
            fs::write(directory.0.join(format!("{n}")), "").expect("write");
        }
        load_or_compile(&directory.0, &profile("mkdir")).expect("compiled");
        assert_eq!(fs::read_dir(&directory.0).expect("cache").count(), MAX_FILES);
    }
}
