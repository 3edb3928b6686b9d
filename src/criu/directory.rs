//! A directory that criu works in. criu opens its files by name with our rights, follows links, and writes: so what is
//! there is looked at before criu is told of it. What stays as it is then is what nobody but its owner may change.

use std::ffi::CStr;
use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use crate::error::{Doing, Error, Kind, Result};
use crate::sys::fs::{self as sys, Stat, resolve};
use crate::sys::{Call, Errno, Fail, Named, Uid, c_path, files};

/// Neither our file nor the part of a log that we quote is longer.
const LONGEST: u64 = 4 << 20;

/// By this name criu finds the image that an incremental one goes back to (criu(8), --prev-images-dir).
const PARENT: &CStr = c"parent";
/// More images than anybody goes back.
const GENERATIONS: usize = 1000;

pub struct Directory {
    pub path: PathBuf,
    option: &'static str,
    dir: OwnedFd,
}

impl Directory {
    pub fn open(path: PathBuf, option: &'static str) -> Result<Directory> {
        let doing = || format!("{option}: open {}", path.display());
        let flags = libc::O_RDONLY | libc::O_DIRECTORY;
        let name = c_path(&path).doing(doing)?;
        let dir = sys::open(sys::cwd(), &name, flags, 0, resolve::HOST).doing(doing)?;
        Ok(Directory { path, option, dir })
    }

    /// Made with all above it, for nobody but us, if it is missing.
    pub fn make(path: PathBuf, option: &'static str) -> Result<Directory> {
        files::make_dir_all(&path, 0o700).doing(|| format!("{option}: make {}", path.display()))?;
        Directory::open(path, option)
    }

    /// Its number among our fds, by which criu finds it.
    pub fn number(&self) -> i32 {
        self.dir.as_raw_fd()
    }

    /// Whether both are one.
    pub fn is(&self, other: &Directory) -> Result<bool, Fail> {
        let identity = |stat: Stat| (stat.dev, stat.ino);
        Ok(identity(sys::stat(self.dir.as_fd())?) == identity(sys::stat(other.dir.as_fd())?))
    }

    /// Nobody can put other files into it: but root, us, and `trusted`.
    pub fn check_owner(&self, trusted: Option<Uid>) -> Result<()> {
        let stat = sys::stat(self.dir.as_fd()).doing(|| self.looking())?;
        let own = Uid(nix::unistd::geteuid().as_raw());
        let owner_is_trusted = [Some(Uid(0)), Some(own), trusted].contains(&Some(stat.uid));
        let by_group = stat.mode & 0o020 != 0 && stat.gid.0 != 0;
        match owner_is_trusted && !by_group && stat.mode & 0o002 == 0 {
            true => Ok(()),
            false => {
                let text = format!(
                    "belongs to {}:{} and has mode {:04o}: others could change what criu reads",
                    stat.uid,
                    stat.gid,
                    stat.mode & 0o7777
                );
                Err(self.refused(&text).hint("copy it into a directory that only root can write to"))
            }
        }
    }

    /// Calls `each` with every name in it, also if it was looked through before.
    pub fn for_each(&self, each: impl FnMut(&CStr) -> Result<(), Fail>) -> Result<(), Fail> {
        sys::rewind(self.dir.as_fd())?;
        sys::for_each_entry(self.dir.as_fd(), each)
    }

    /// What is in it is in it: plain files without another name, but for the link to the parent.
    pub fn check_files(&self) -> Result<()> {
        let mut fault = None;
        self.for_each(|name| {
            let flags = libc::O_PATH | libc::O_NOFOLLOW;
            let stat = sys::stat(sys::open(self.dir.as_fd(), name, flags, 0, resolve::HOST)?.as_fd())?;
            if let Some(text) = fault_of(name, &stat) {
                fault.get_or_insert((name.to_string_lossy().into_owned(), text));
            }
            Ok(())
        })
        .doing(|| self.looking())?;
        match fault {
            None => Ok(()),
            Some((name, text)) => {
                let text = format!("{name} {text}, and criu would follow it out of there");
                Err(self.refused(&text).hint("an image has plain files only: copy it with cp --dereference"))
            }
        }
    }

    /// Both, of this image and of all that it goes back to.
    pub fn check_chain(&self, trusted: Option<Uid>) -> Result<()> {
        self.check_owner(trusted)?;
        self.check_files()?;
        let mut next = self.parent()?;
        for _ in 0..GENERATIONS {
            let Some(parent) = next else { return Ok(()) };
            parent.check_owner(trusted)?;
            parent.check_files()?;
            next = parent.parent()?;
        }
        Err(self.refused("it goes back to too many images"))
    }

    fn parent(&self) -> Result<Option<Directory>> {
        let mut buffer = [0; libc::PATH_MAX as usize];
        match sys::readlink(self.dir.as_fd(), PARENT, &mut buffer) {
            Ok(target) => self.open_parent(Path::new(std::ffi::OsStr::from_bytes(target))).map(Some),
            // None, or no link.
            Err(Fail { errno: Errno::ENOENT | Errno::EINVAL, .. }) => Ok(None),
            Err(fail) => Err(fail).doing(|| self.looking()),
        }
    }

    /// The image at `path`, seen from this one: beside it or in it, so that a checkpoint from elsewhere can't name another
    /// container's memory as its own.
    pub fn open_parent(&self, path: &Path) -> Result<Directory> {
        let doing = || format!("open {}", self.path.join(path).display());
        let flags = libc::O_RDONLY | libc::O_DIRECTORY;
        let (above, below) = match path.strip_prefix("..") {
            Ok(rest) => {
                let above = sys::open(self.dir.as_fd(), c"..", libc::O_PATH, 0, resolve::HOST);
                (Some(above.doing(doing)?), rest)
            }
            Err(_) => (None, path),
        };
        let name = c_path(below).doing(doing)?;
        let start = above.as_ref().map_or(self.dir.as_fd(), AsFd::as_fd);
        let how = libc::RESOLVE_BENEATH | libc::RESOLVE_NO_SYMLINKS;
        let dir = sys::open(start, &name, flags, 0, how).doing(doing).map_err(|error| match error.fail {
            Some(Fail { errno: Errno::EXDEV | Errno::ELOOP, .. }) => {
                error.hint("the parent of an image is beside it, as in ../NAME")
            }
            Some(Fail { errno: Errno::ENOTDIR, .. }) => error.hint("it must be a directory"),
            _ => error,
        })?;
        Ok(Directory { path: self.path.join(path), option: self.option, dir })
    }

    /// A plain file in it, with no other name; `None` if there is none, or something else.
    pub fn open_file(&self, name: &CStr) -> Result<Option<OwnedFd>, Fail> {
        let flags = libc::O_RDONLY | libc::O_NONBLOCK | libc::O_NOFOLLOW;
        let file = match sys::open(self.dir.as_fd(), name, flags, 0, resolve::BENEATH_PLAIN) {
            Err(fail) if matches!(fail.errno, Errno::ENOENT | Errno::ELOOP | Errno::ENXIO) => {
                return Ok(None);
            }
            file => file?,
        };
        let stat = sys::stat(file.as_fd())?;
        Ok((stat.mode & libc::S_IFMT == libc::S_IFREG && stat.links == 1).then_some(file))
    }

    /// All of it, or the beginning if it is long.
    pub fn read(&self, name: &CStr) -> Result<Option<Vec<u8>>, Fail> {
        let Some(file) = self.open_file(name)? else {
            return Ok(None);
        };
        files::rest(File::from(file).take(LONGEST)).map(Some)
    }

    /// A new file with this content, in place of what has the name.
    pub fn write(&self, name: &CStr, bytes: &[u8]) -> Result<()> {
        self.free(name)?;
        let flags = libc::O_WRONLY | libc::O_CREAT | libc::O_EXCL;
        let file = sys::open(self.dir.as_fd(), name, flags, 0o600, resolve::BENEATH_PLAIN);
        let doing = || format!("make {}", self.path.join(&*name.to_string_lossy()).display());
        File::from(file.doing(doing)?).write_all(bytes).call(Call::Write).doing(doing)
    }

    /// The name is free: what is there, which may be a link to a file of the host, is removed.
    pub fn free(&self, name: &CStr) -> Result<()> {
        match sys::unlink(self.dir.as_fd(), name) {
            Err(fail) if fail.errno != Errno::ENOENT => {
                Err(fail).doing(|| format!("remove {}", self.path.join(&*name.to_string_lossy()).display()))
            }
            _ => Ok(()),
        }
    }

    fn looking(&self) -> String {
        format!("{}: look into {}", self.option, self.path.display())
    }

    fn refused(&self, text: &str) -> Error {
        Error::new(Kind::Usage, format!("{}: {}: {text}", self.option, self.path.display()))
    }
}

impl AsFd for Directory {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.dir.as_fd()
    }
}

/// Why criu must not open what has this name.
fn fault_of(name: &CStr, stat: &Stat) -> Option<String> {
    match stat.mode & libc::S_IFMT {
        libc::S_IFREG if stat.links == 1 => None,
        libc::S_IFREG => Some(format!("is a file with {} names", stat.links)),
        // criu opens neither as an image; with --lazy-pages it has a socket there.
        libc::S_IFDIR | libc::S_IFSOCK => None,
        libc::S_IFLNK if name == PARENT => None,
        libc::S_IFLNK => Some("is a symlink".into()),
        _ => Some("is no plain file".into()),
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::{PermissionsExt, symlink};

    use super::*;

    /// A directory of the test's own, with an image in it.
    fn with_image(name: &str, test: impl Fn(&Path, &Path)) {
        let top = std::env::temp_dir().join(format!("directory-{}-{name}", std::process::id()));
        let image = top.join("image");
        files::make_dir_all(&image, 0o700).unwrap();
        fs::write(image.join("inventory.img"), "").unwrap();
        let tested = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| test(&top, &image)));
        fs::remove_dir_all(&top).unwrap();
        tested.unwrap();
    }

    fn checked(image: &Path) -> Result<()> {
        Directory::open(image.into(), "--image-path").unwrap().check_chain(None)
    }

    #[track_caller]
    fn refused(image: &Path, says: &str) {
        let text = checked(image).unwrap_err().to_string();
        assert!(text.starts_with("--image-path: ") && text.contains(says), "{text}");
    }

    #[test]
    fn plain_files_are_taken() {
        with_image("plain", |_, image| {
            fs::create_dir(image.join("directory")).unwrap();
            let _socket = std::os::unix::net::UnixListener::bind(image.join("lazy-pages.socket")).unwrap();
            checked(image).unwrap();
        });
    }

    #[test]
    fn it_is_looked_through_each_time() {
        with_image("again", |_, image| {
            let directory = Directory::open(image.into(), "--image-path").unwrap();
            directory.check_chain(None).unwrap();
            symlink("inventory.img", image.join("pages-1.img")).unwrap();
            directory.check_chain(None).unwrap_err();
            directory.check_chain(None).unwrap_err();
        });
    }

    #[test]
    fn links_and_pipes_are_refused() {
        with_image("links", |top, image| {
            let (secret, planted) = (top.join("secret"), image.join("pages-1.img"));
            fs::write(&secret, "").unwrap();
            fs::hard_link(&secret, &planted).unwrap();
            refused(image, "pages-1.img is a file with 2 names");
            for target in ["../secret", "inventory.img", "nowhere"] {
                fs::remove_file(&planted).unwrap();
                symlink(target, &planted).unwrap();
                refused(image, "pages-1.img is a symlink");
            }
            fs::remove_file(&planted).unwrap();
            nix::unistd::mkfifo(&planted, nix::sys::stat::Mode::S_IRWXU).unwrap();
            refused(image, "pages-1.img is no plain file");
        });
    }

    #[test]
    fn a_parent_is_beside_its_child() {
        with_image("parent", |top, image| {
            let (first, elsewhere) = (top.join("first"), top.join("a/b"));
            for made in [&first, &elsewhere] {
                files::make_dir_all(made, 0o700).unwrap();
            }
            let link = |target: &str| {
                let _ = fs::remove_file(image.join("parent")); // of the round before
                symlink(target, image.join("parent")).unwrap();
            };
            link("../first");
            checked(image).unwrap();
            for target in ["/etc", "../../etc", "../first/../../..", "../image/parent"] {
                link(target);
                let text = checked(image).unwrap_err().to_string();
                assert!(text.contains("openat2"), "{target}: {text}");
            }
            // What the parent has is read as well.
            link("../a/b");
            checked(image).unwrap();
            symlink("/etc/shadow", elsewhere.join("pages-1.img")).unwrap();
            let text = checked(image).unwrap_err().to_string();
            assert!(text.contains("pages-1.img is a symlink"), "{text}");
            link("../image");
            refused(image, "too many images");
        });
    }

    #[test]
    #[ignore = "needs root"]
    fn others_cannot_change_it_afterwards() {
        with_image("owner", |_, image| {
            let own = |uid, gid, mode| {
                std::os::unix::fs::chown(image, Some(uid), Some(gid)).unwrap();
                fs::set_permissions(image, fs::Permissions::from_mode(mode)).unwrap();
            };
            for (uid, gid, mode) in [(0, 0, 0o775), (0, 5, 0o755)] {
                own(uid, gid, mode);
                checked(image).unwrap();
            }
            for (uid, gid, mode) in [(0, 0, 0o1777), (0, 5, 0o775), (1000, 0, 0o700)] {
                own(uid, gid, mode);
                refused(image, "others could change");
            }
            let image = Directory::open(image.into(), "--image-path").unwrap();
            image.check_chain(Some(Uid(1000))).unwrap();
        });
    }
}
