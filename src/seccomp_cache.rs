//! Compiled seccomp filters, kept: compiling a long profile costs more than all the rest of a start.
//!
//! A file's name is a hash of what the filter was made from, but what decides is that the file holds all of that
//! again, byte for byte; so the hash need not resist anybody. Files are ours alone (0600 in a 0700 directory),
//! written under another name and renamed, and looked at again when read: they may be somebody else's, or a power
//! cut may have left half of one. A cache that can't be used costs time, nothing else.

use std::ffi::{CStr, CString};
use std::fs::File;
use std::hash::Hasher;
use std::io::Read;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use libseccomp::ScmpVersion;
use oci_spec::runtime::LinuxSeccomp;

use crate::error::{Doing, Error, Kind, Result};
use crate::plan::seccomp::{self, Compiled, Filter};
use crate::sys::fs::{self as sys, Stat, resolve};
use crate::sys::{Errno, Fail, c_path, files, ids};

/// Of the layout below and of what `compile` makes: to be raised when either changes.
const FORMAT: u32 = 2;
/// A filter has at most 32 KiB; the rest is the profile.
const MAX_FILE: usize = 1 << 20;
/// How many filters are kept; an engine has one or two profiles.
const MAX_FILES: usize = 64;

/// The filter of `profile`, from `directory` or compiled and put there. That a filter can't be kept is a warning.
pub fn load_or_compile(directory: &Path, profile: &LinuxSeccomp) -> Result<Compiled> {
    let Some(key) = key(profile) else {
        return seccomp::compile(profile);
    };
    let name = CString::new(format!("{:016x}", hash(&key))).unwrap_or_default(); // digits hold no NUL
    let cache = open(directory);
    if let Some(found) = cache.as_ref().ok().and_then(|cache| load(cache.as_fd(), &name, &key)) {
        return Ok(found);
    }
    let mut compiled = seccomp::compile(profile)?;
    if let Err(error) = cache.and_then(|cache| store(cache.as_fd(), &name, &key, &compiled)) {
        let text = "the compiled seccomp filter can't be kept, so each start takes longer";
        let directory = directory.display();
        compiled.warnings.push(format!("{directory}: {text}: {error}"));
    }
    Ok(compiled)
}

/// All that a filter depends on.
fn key(profile: &LinuxSeccomp) -> Option<Vec<u8>> {
    let version = ScmpVersion::current().ok()?;
    let mut key = format!(
        "rrunc seccomp filter {FORMAT}, rrunc {} {}, libseccomp {version}, {}\n",
        env!("CARGO_PKG_VERSION"),
        option_env!("RRUNC_COMMIT").unwrap_or_default(),
        std::env::consts::ARCH
    )
    .into_bytes();
    serde_json::to_writer(&mut key, profile).ok()?;
    Some(key)
}

/// SipHash with fixed keys: the same in every process, which is all that is asked of it.
fn hash(bytes: &[u8]) -> u64 {
    #[allow(deprecated)] // in favour of one whose result may change with the compiler
    let mut hasher = std::hash::SipHasher::new();
    hasher.write(bytes);
    hasher.finish()
}

// The file: the key, flags, warnings and skipped names (JSON), the program; a hash of all that. Flags and the
// lengths before the other parts are u32, the hash is u64, in the machine's byte order; the key names the machine.

fn load(cache: BorrowedFd, name: &CStr, key: &[u8]) -> Option<Compiled> {
    let flags = libc::O_RDONLY | libc::O_NOFOLLOW | libc::O_NONBLOCK;
    let file = sys::open(cache, name, flags, 0, resolve::HOST).ok()?;
    let found = sys::stat(file.as_fd()).ok()?;
    if found.mode & libc::S_IFMT != libc::S_IFREG || !ours_alone(&found) {
        return None;
    }
    let mut bytes = vec![];
    File::from(file).take(MAX_FILE as u64 + 1).read_to_end(&mut bytes).ok()?;
    let (mut rest, sum) = bytes.split_last_chunk::<8>()?;
    if take_sized(&mut rest)? != key || u64::from_ne_bytes(*sum) != hash(&bytes[..bytes.len() - 8]) {
        return None;
    }
    let flags = take_u32(&mut rest)?;
    let (warnings, skipped) = serde_json::from_slice(take_sized(&mut rest)?).ok()?;
    let program = take_sized(&mut rest)?.to_vec();
    rest.is_empty().then_some(Compiled { filter: Filter { program, flags }, warnings, skipped })
}

/// The directory, made if it isn't there. All that is done in it is done by this fd.
fn open(directory: &Path) -> Result<OwnedFd> {
    let doing = || format!("open {directory:?}");
    let path = c_path(directory).doing(doing)?;
    let flags = libc::O_RDONLY | libc::O_DIRECTORY | libc::O_NOFOLLOW;
    let open = || sys::open(sys::cwd(), &path, flags, 0, resolve::HOST);
    let cache = match open() {
        Err(Fail { errno: Errno::ENOENT, .. }) => {
            let made = files::make_dir_all(directory, 0o700);
            made.doing(|| format!("make {directory:?}"))?;
            open().doing(doing)?
        }
        Err(Fail { errno: Errno::ENOTDIR | Errno::ELOOP, .. }) => return Err(not_ours()),
        opened => opened.doing(doing)?,
    };
    match ours_alone(&sys::stat(cache.as_fd()).doing(doing)?) {
        true => Ok(cache),
        false => Err(not_ours()),
    }
}

fn not_ours() -> Error {
    Error::new(Kind::Untrusted, "not a directory of ours alone")
}

fn ours_alone(found: &Stat) -> bool {
    found.uid == ids::euid() && found.mode & 0o077 == 0
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

fn store(cache: BorrowedFd, name: &CStr, key: &[u8], compiled: &Compiled) -> Result<()> {
    let mut bytes = Vec::new();
    put_sized(&mut bytes, key);
    bytes.extend(compiled.filter.flags.to_ne_bytes());
    let words = serde_json::to_vec(&(&compiled.warnings, &compiled.skipped));
    put_sized(&mut bytes, &words.map_err(|error| Error::new(Kind::Kernel, error.to_string()))?);
    put_sized(&mut bytes, &compiled.filter.program);
    bytes.extend(hash(&bytes).to_ne_bytes());
    if bytes.len() > MAX_FILE {
        return Err(Error::new(Kind::Unsupported, format!("{} bytes are too much", bytes.len())));
    }
    make_room(cache).doing(|| "make room".into())?;
    // Of a process with our id that was killed, half of one may be there.
    let new = [name.to_bytes(), b".", std::process::id().to_string().as_bytes()].concat();
    let new = CString::new(new).unwrap_or_default(); // none of the parts holds a NUL
    let flags = libc::O_WRONLY | libc::O_CREAT | libc::O_TRUNC | libc::O_NOFOLLOW;
    let written = sys::open(cache, &new, flags, 0o600, resolve::HOST)
        .and_then(|file| sys::write_all(file.as_fd(), &bytes))
        .and_then(|()| sys::rename(cache, &new, name));
    written.doing(|| "write it".into()).inspect_err(|_| {
        let _ = sys::unlink(cache, &new); // the reason for the failure is told
    })
}

fn put_sized(bytes: &mut Vec<u8>, part: &[u8]) {
    bytes.extend((part.len() as u32).to_ne_bytes());
    bytes.extend(part);
}

/// Keeps the number of files bounded: the oldest go. Others that do the same at the same time are no fault.
fn make_room(cache: BorrowedFd) -> Result<(), Fail> {
    let mut files = vec![];
    sys::for_each_entry(cache, |name| {
        files.extend(sys::modified(cache, name).ok().map(|time| (time, name.to_owned())));
        Ok(())
    })?;
    files.sort();
    let excess = (files.len() + 1).saturating_sub(MAX_FILES);
    for (_, name) in files.iter().take(excess) {
        let _ = sys::unlink(cache, name);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::PermissionsExt;
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

    /// As [`super::load`] does from the file at `path`.
    fn load(path: &Path, key: &[u8]) -> Option<Compiled> {
        let name = CString::new(path.file_name()?.as_encoded_bytes()).ok()?;
        super::load(open(path.parent()?).ok()?.as_fd(), &name, key)
    }

    fn profile(call: &str) -> LinuxSeccomp {
        let json = format!(
            r#"{{"defaultAction":"SCMP_ACT_ALLOW","syscalls":[{{"names":["{call}","nonsense"],"action":"SCMP_ACT_ERRNO"}}]}}"#
        );
        serde_json::from_str(&json).expect("a profile")
    }

    fn only_file(directory: &Directory) -> PathBuf {
        let files: Vec<_> =
            fs::read_dir(&directory.0).expect("cache").map(|e| e.expect("entry").path()).collect();
        assert_eq!(files.len(), 1, "{files:?}");
        files[0].clone()
    }

    #[test]
    fn what_was_compiled_is_found_again() {
        let directory = Directory::new("hit");
        let (mkdir, rmdir) = (profile("mkdir"), profile("rmdir"));
        let first = load_or_compile(&directory.0, &mkdir).expect("compiled");
        let path = only_file(&directory);
        assert_eq!(fs::metadata(&path).expect("file").permissions().mode() & 0o777, 0o600);
        assert_eq!(load(&path, &key(&mkdir).expect("key")), Some(first.clone()));
        assert_eq!(load(&path, &key(&rmdir).expect("key")), None, "another profile of the same hash");
        assert_eq!(load_or_compile(&directory.0, &mkdir).expect("hit"), first);
        assert_eq!(first.skipped, ["nonsense"]);
        assert_ne!(load_or_compile(&directory.0, &rmdir).expect("compiled").filter, first.filter);
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
        for at in [0, key.len() / 2, key.len() + 4, whole.len() - 9, whole.len() - 1] {
            let mut flipped = whole.clone();
            flipped[at] ^= 0x10;
            fs::write(&path, flipped).expect("flip");
            assert_eq!(load(&path, &key), None, "byte {at} of {}", whole.len());
        }
        assert_eq!(load_or_compile(&directory.0, &profile).expect("compiled anew"), good);
        fs::set_permissions(&path, fs::Permissions::from_mode(0o660)).expect("chmod");
        assert_eq!(load(&path, &key), None, "writable for the group");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).expect("chmod");
        let moved = directory.0.join("moved");
        fs::rename(&path, &moved).expect("rename");
        std::os::unix::fs::symlink(&moved, &path).expect("symlink");
        assert_eq!(load(&path, &key), None, "a symlink");
    }

    #[test]
    fn a_cache_that_cannot_be_is_a_warning() {
        let check = |directory: &Path, text: &str| {
            let compiled = load_or_compile(directory, &profile("mkdir")).expect("compiled");
            assert_eq!(compiled.warnings.len(), 1, "{directory:?}");
            assert!(compiled.warnings[0].contains(text), "{:?}", compiled.warnings);
            assert!(compiled.filter.instructions() > 0);
        };
        check(Path::new("/proc/nowhere"), "/proc/nowhere: the compiled");
        let (open, link) = (Directory::new("open"), Directory::new("link"));
        fs::create_dir(&open.0).expect("mkdir");
        fs::set_permissions(&open.0, fs::Permissions::from_mode(0o770)).expect("chmod");
        check(&open.0, "not a directory of ours alone");
        fs::set_permissions(&open.0, fs::Permissions::from_mode(0o700)).expect("chmod");
        std::os::unix::fs::symlink(&open.0, &link.0).expect("symlink");
        check(&link.0, "not a directory of ours alone");
        assert_eq!(fs::read_dir(&open.0).expect("empty").count(), 0);
        fs::remove_file(&link.0).expect("unlink");
    }

    #[test]
    fn old_filters_give_way() {
        let directory = Directory::new("room");
        fs::create_dir(&directory.0).expect("mkdir");
        fs::set_permissions(&directory.0, fs::Permissions::from_mode(0o700)).expect("chmod");
        for n in 0..MAX_FILES + 5 {
            fs::write(directory.0.join(format!("{n}")), "").expect("write");
        }
        load_or_compile(&directory.0, &profile("mkdir")).expect("compiled");
        assert_eq!(fs::read_dir(&directory.0).expect("cache").count(), MAX_FILES);
    }
}
