//! The standard library's file functions that make more than one call, with the name of the one that fails; and, by
//! [`Named`](super::Named), those that make one. For the host's side: they allocate, and follow symlinks as the
//! library does.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{Read, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::DirBuilderExt;
use std::path::Path;

use super::fs::{self, for_each_entry, open, resolve, rmdir, unlink};
use super::{Call, Errno, Fail, Named};

/// The whole file.
pub fn read(path: impl AsRef<Path>) -> Result<Vec<u8>, Fail> {
    rest(File::open(path).call(Call::Openat)?)
}

/// What is left to be read of `file`.
pub fn rest(mut file: impl Read) -> Result<Vec<u8>, Fail> {
    let mut bytes = vec![];
    file.read_to_end(&mut bytes).call(Call::Read)?;
    Ok(bytes)
}

/// The whole file; EILSEQ if it isn't UTF-8.
pub fn read_to_string(path: impl AsRef<Path>) -> Result<String, Fail> {
    String::from_utf8(read(path)?).map_err(|_| Fail::new(Call::Read, Errno::EILSEQ))
}

/// Into a file of the kernel's, which is there.
pub fn write(path: impl AsRef<Path>, bytes: impl AsRef<[u8]>) -> Result<(), Fail> {
    write_with(OpenOptions::new().write(true).truncate(true), path, bytes)
}

/// Into a file that is opened like this.
pub fn write_with(
    options: &OpenOptions,
    path: impl AsRef<Path>,
    bytes: impl AsRef<[u8]>,
) -> Result<(), Fail> {
    options.open(path).call(Call::Openat)?.write_all(bytes.as_ref()).call(Call::Write)
}

/// With all above it that is missing, of the same mode. It may be there.
pub fn make_dir_all(path: &Path, mode: u32) -> Result<(), Fail> {
    let make = || match DirBuilder::new().mode(mode).create(path).call(Call::Mkdir) {
        Err(Fail { errno: Errno::EEXIST, .. }) => Ok(()), // who uses it will see whether it is a directory
        made => made,
    };
    match (make(), path.parent()) {
        (Err(Fail { errno: Errno::ENOENT, .. }), Some(above)) if !above.as_os_str().is_empty() => {
            make_dir_all(above, mode)?;
            make()
        }
        (made, _) => made,
    }
}

/// The directory with all that is in it; no symlink is followed.
pub fn remove_dir_all(path: &Path) -> Result<(), Fail> {
    let path = super::c_path(path)?;
    remove_tree(fs::cwd(), &path, resolve::HOST)
}

fn remove_tree(dir: BorrowedFd, name: &std::ffi::CStr, walk: u64) -> Result<(), Fail> {
    let flags = libc::O_RDONLY | libc::O_DIRECTORY | libc::O_NOFOLLOW;
    let this = open(dir, name, flags, 0, walk)?;
    for_each_entry(this.as_fd(), |entry| match unlink(this.as_fd(), entry) {
        Err(Fail { errno: Errno::EISDIR, .. }) => remove_tree(this.as_fd(), entry, resolve::BENEATH_PLAIN),
        removed => gone_is_fine(removed),
    })?;
    rmdir(dir, name)
}

/// Another may have been faster.
fn gone_is_fine(removed: Result<(), Fail>) -> Result<(), Fail> {
    match removed {
        Err(Fail { errno: Errno::ENOENT, .. }) => Ok(()),
        removed => removed,
    }
}

/// All of it, to standard output, at once.
pub fn print(text: &str) -> Result<(), Fail> {
    let mut out = std::io::stdout().lock();
    out.write_all(text.as_bytes()).and_then(|()| out.flush()).call(Call::Write)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    #[test]
    fn each_call_is_named() {
        let says = |result: Result<Vec<u8>, Fail>| result.unwrap_err().to_string();
        assert_eq!(says(read("/nowhere")), "openat: no such file or directory");
        assert_eq!(says(read("/proc")), "read: is a directory");
        let write = write("/dev/full", "x").unwrap_err().to_string();
        assert_eq!(write, "write: no space left on device");
        let made = make_dir_all(Path::new("/proc/nowhere"), 0o700).unwrap_err();
        assert_eq!(made.call, Call::Mkdir);
    }

    #[test]
    fn trees_come_and_go() {
        let top = std::env::temp_dir().join(format!("rrunc-files-{}", std::process::id()));
        let deep = top.join("a/b");
        make_dir_all(&deep, 0o700).unwrap();
        make_dir_all(&deep, 0o700).unwrap();
        std::fs::create_dir(top.join("kept")).unwrap();
        std::fs::write(top.join("kept/file"), "").unwrap();
        std::fs::write(deep.join("file"), "").unwrap();
        symlink(top.join("kept"), deep.join("link")).unwrap();
        symlink("/nowhere", deep.join("dangling")).unwrap();
        let many = |i: &u32| {
            std::fs::write(deep.join(format!("a name that is long, so that it takes a while: {i}")), "")
        };
        (0..1000).for_each(|i| many(&i).unwrap());
        remove_dir_all(&top.join("a")).unwrap();
        assert!(top.join("kept/file").exists() && !top.join("a").exists());
        assert_eq!(remove_dir_all(&top.join("a")), Err(Fail::new(Call::Open, Errno::ENOENT)));
        remove_dir_all(&top).unwrap();
    }
}
