//! The directories that criu works on, and the file that we keep beside its own: which key means which mount of
//! config.json, and what the standard streams were.
//!
//! A checkpoint may have come from anywhere, and what is in it is not believed: its directory is looked over before criu
//! sees it (`directory`), and our file says which of config.json's mounts it has, in names that we give, and no more.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::CStr;
use std::os::fd::{AsFd, BorrowedFd};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::directory::Directory;
use super::log;
use crate::cli::criu;
use crate::error::{Doing, Error, Kind, Result};
use crate::plan::criu::is_key;
use crate::sys::fs as sys;
use crate::sys::{Call, Gid, Named, Pid, Uid};

const FILE: &CStr = c"rrunc.json";
/// The newest layout of [`Table`].
const VERSION: u32 = 1;
/// The content of our file.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Table {
    /// Filled in when it is written.
    pub version: u32,
    /// By the keys that criu was told, the destination in config.json.
    pub mounts: BTreeMap<String, String>,
    /// Whether the host's /dev/null covers something.
    pub masked: bool,
    /// What the first process had as its standard streams (proc_pid_fd(5)): `pipe:[1234]`.
    pub streams: Vec<String>,
}

impl Table {
    /// What is wrong with it otherwise.
    pub fn parse(json: &[u8]) -> Result<Table, String> {
        let table: Table = serde_json::from_slice(json).map_err(|error| error.to_string())?;
        table.fault().map_or(Ok(table), Err)
    }

    /// What is wrong with it, if it is none that `checkpoint` writes.
    fn fault(&self) -> Option<String> {
        if self.version != VERSION {
            return Some(format!("is of version {}, this rrunc knows {VERSION}", self.version));
        }
        if let Some(key) = self.mounts.keys().find(|key| !is_key(key)) {
            return Some(format!("mounts: {key:?} is no name that checkpoint gives to a mount"));
        }
        let mut seen = BTreeSet::new();
        if let Some(twice) = self.mounts.values().find(|destination| !seen.insert(*destination)) {
            return Some(format!("mounts: {twice:?} is there twice"));
        }
        if self.streams.len() > 3 {
            return Some(format!("streams: there are {}, and not 3", self.streams.len()));
        }
        let forged = self.streams.iter().find(|stream| stream.starts_with("pipe:") && !is_pipe(stream));
        forged.map(|stream| format!("streams: {stream:?} is no pipe"))
    }
}

/// `pipe:[1234]`, as in proc_pid_fd(5).
fn is_pipe(stream: &str) -> bool {
    let number = stream.strip_prefix("pipe:[").and_then(|rest| rest.strip_suffix(']'));
    number.is_some_and(|number| number.parse().is_ok_and(|inode: u64| inode.to_string() == number))
}

pub struct Images {
    pub images: Directory,
    pub work: Directory,
}

impl Images {
    /// For `checkpoint`: made where they are missing.
    pub fn make(given: &criu::Images) -> Result<Images> {
        let images = Directory::make(image_path(given), "--image-path")?;
        images.check_owner(None)?;
        images.check_files()?;
        Images::with_work(images, given)
    }

    /// For `restore`; `root` is the host's id of the root of the container's user namespace, if it has a new one, to whom
    /// an earlier restore may have given the image.
    pub fn open(given: &criu::Images, root: Option<Uid>) -> Result<Images> {
        let images = Directory::open(image_path(given), "--image-path")
            .map_err(|error| error.hint("where checkpoint has saved the container"))?;
        images.check_chain(root)?;
        Images::with_work(images, given)
    }

    fn with_work(images: Directory, given: &criu::Images) -> Result<Images> {
        let work = match &given.work_path {
            Some(path) => Directory::make(path.clone(), "--work-path")?,
            None => Directory::open(images.path.clone(), "--image-path")?,
        };
        Ok(Images { images, work })
    }

    /// The same directories in the mount namespace of criu, a child of ours: it works in there, and could mount nothing in
    /// ours.
    pub fn seen_by(&self, criu: Pid) -> Result<Images> {
        let seen = |directory: &Directory, option: &'static str| {
            let doing = || format!("{option}: find {}", directory.path.display());
            let path = directory.path.canonicalize().call(Call::Readlink).doing(doing)?;
            let inside = Path::new("/proc").join(criu.to_string()).join("root");
            let inside = inside.join(path.strip_prefix("/").unwrap_or(&path));
            let found = Directory::open(inside, option)?;
            match found.is(directory).doing(doing)? {
                true => Ok(found),
                false => {
                    let text = format!("{option}: {} is another directory now", path.display());
                    Err(Error::new(Kind::Kernel, text))
                }
            }
        };
        Ok(Images { images: seen(&self.images, "--image-path")?, work: seen(&self.work, "--work-path")? })
    }

    /// --parent-path, seen from the image.
    pub fn check_parent(&self, parent: &Path) -> Result<()> {
        if parent.is_absolute() {
            let error = Error::new(Kind::Usage, "--parent-path must be relative");
            return Err(error.hint("to --image-path: criu keeps it as a link"));
        }
        self.images.open_parent(parent).map(drop).map_err(|error| error.context("invalid --parent-path"))
    }

    /// Lets the root of the container's user namespace read the image, which is its own memory: criu reads it in there,
    /// first with our ids, which have no rights in there but those of the group, then with those of that root.
    pub fn give_to(&self, uid: Uid) -> Result<()> {
        let dir = self.images.as_fd();
        let give = |file: BorrowedFd, mode| {
            sys::chown(file, Some(uid), Some(Gid(0))).and_then(|()| sys::chmod(file, mode))
        };
        let doing = || format!("give {} to uid {uid}", self.images.path.display());
        self.images
            .for_each(|name| match self.images.open_file(name)? {
                Some(file) => give(file.as_fd(), 0o640),
                None => Ok(()),
            })
            .doing(doing)?;
        give(dir, 0o750).doing(doing)
    }

    /// No log of that name is there, nor the other file that criu writes beside it, which may be links.
    pub fn begin_log(&self, name: &CStr, statistics: &CStr) -> Result<()> {
        self.work.free(name)?;
        self.work.free(statistics)
    }

    /// What criu's log says of a failure, with the log's path.
    pub fn explain(&self, name: &CStr) -> Error {
        let log = self.work.read(name).ok().flatten().unwrap_or_default();
        let errors = log::errors(&String::from_utf8_lossy(&log));
        let text = errors.unwrap_or_else(|| "it failed and doesn't say why".into());
        let path = self.work.path.join(&*name.to_string_lossy());
        let error = Error::new(Kind::Kernel, format!("criu: {text}"));
        error.hint(format!("criu's log is {}", path.display()))
    }

    pub fn write_table(&self, table: &Table) -> Result<()> {
        let doing = || format!("write {}", self.table_path().display());
        let table = Table { version: VERSION, ..table.clone() };
        let json = serde_json::to_vec(&table).unwrap_or_default(); // strings and maps of strings can't fail
        self.images.write(FILE, &json).doing(doing)
    }

    pub fn read_table(&self) -> Result<Table> {
        let path = self.table_path();
        let bytes = self.images.read(FILE).doing(|| format!("read {}", path.display()))?;
        let Some(bytes) = bytes else {
            let text = format!(
                "{} has no checkpoint of rrunc: {} is missing",
                self.images.path.display(),
                path.display()
            );
            return Err(Error::new(Kind::Usage, text)
                .hint("an image can be restored by the runtime that made it; a pre-dump can't be"));
        };
        let broken = |what: String| Error::new(Kind::Usage, format!("{}: {what}", path.display()));
        Table::parse(&bytes).map_err(broken)
    }

    fn table_path(&self) -> PathBuf {
        self.images.path.join(&*FILE.to_string_lossy())
    }
}

fn image_path(given: &criu::Images) -> PathBuf {
    given.image_path.clone().unwrap_or_else(|| "checkpoint".into())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::criu::outside;
    use crate::plan::criu::{External, NULL};
    use crate::plan::step::InRoot;

    fn external(key: &str, path: &str) -> External {
        External {
            key: key.into(),
            destination: InRoot::new(path).unwrap(),
            attributes: 0,
            field: "mounts[0]".into(),
        }
    }

    /// What criu is told of a file with this content, for a configuration with two mounts of the host and a mask.
    fn told(content: &[u8]) -> Result<Vec<String>> {
        let path = std::env::temp_dir().join(format!("images-{}-{:p}", std::process::id(), content));
        let given = criu::Images { image_path: Some(path.clone()), ..criu::Images::default() };
        let images = Images::make(&given)?;
        images.images.write(FILE, content)?;
        let table = images.read_table();
        std::fs::remove_dir_all(&path).unwrap();
        let externals = [external("mount-5", "/a"), external(NULL, "/b"), external("mount-7", "/c")];
        let (table, stage) = (table?, Path::new("/run/rrunc"));
        let mounts = outside::sources(&table, &externals)?;
        let streams =
            outside::streams(&table).into_iter().map(|stream| format!("{}={}", stream.key, stream.fd));
        let external = outside::told(stage, &mounts, outside::masks(&externals));
        Ok(external.into_iter().chain(streams).collect())
    }

    fn file(mounts: &serde_json::Value) -> serde_json::Value {
        json!({ "version": 1, "mounts": mounts, "masked": false, "streams": [] })
    }

    #[test]
    fn an_honest_file_is_believed() {
        let mut file = file(&json!({ "mount-9": "/a", "mount-0": "/c" }));
        file["streams"] = json!(["pipe:[12]", "/dev/null", "socket:[3]"]);
        let told = told(file.to_string().as_bytes()).unwrap();
        let expected = [
            "mnt[mount-0]:/run/rrunc/mount-7",
            "mnt[mount-9]:/run/rrunc/mount-5",
            "mnt[null]:/run/rrunc/null",
            "pipe:[12]=0",
        ];
        assert_eq!(told, expected);
    }

    /// CVE-2026-115520 and its like: criu takes what follows the first `]:` for the source.
    #[test]
    fn no_file_names_a_directory_of_the_host() {
        let keys = [
            "mount-9]:/etc",
            "mount-9]:/run/rrunc/root/evil",
            "]:/etc",
            "",
            "mount-",
            "mount-+1",
            "mount-01",
            "mount-1 ",
            "mount--1",
            "mount-1/..",
            "mount-9\u{0}",
            "mount-99999999999",
            "null",
            "joined-net",
            "root",
            "../mount-1",
        ];
        for key in keys {
            let text = told(file(&json!({ key: "/a" })).to_string().as_bytes()).unwrap_err().to_string();
            assert!(text.contains("rrunc.json: mounts: ") && text.contains("is no name"), "{key:?}: {text}");
        }
        let texts = [
            (file(&json!({ "mount-1": "/etc" })), "a mount of the host on /etc"),
            (file(&json!({ "mount-1": "/b" })), "a mount of the host on /b"), // a mask is no mount
            (file(&json!({ "mount-1": "/a", "mount-2": "/a" })), "\"/a\" is there twice"),
            (file(&json!(["mount-1"])), "expected a map"),
            (file(&json!({ "mount-1": 1 })), "expected a string"),
            (json!({ "version": 2, "mounts": {}, "masked": false, "streams": [] }), "is of version 2"),
            (json!({}), "missing field"),
            (json!({ "version": 1, "mounts": {}, "masked": false, "streams": ["pipe:[1]x"] }), "is no pipe"),
            (
                json!({ "version": 1, "mounts": {}, "masked": false, "streams": ["pipe:[1]:[2]"] }),
                "is no pipe",
            ),
            (
                json!({ "version": 1, "mounts": {}, "masked": false, "streams": ["", "", "", ""] }),
                "and not 3",
            ),
        ];
        for (content, says) in texts {
            let text = told(content.to_string().as_bytes()).unwrap_err().to_string();
            assert!(text.contains(says), "{content}: {text}");
        }
        for content in [&b""[..], b"{", b"\xff", b"null", &[b'['; 100_000]] {
            told(content).unwrap_err();
        }
    }

    /// Whatever a file says, criu hears only of our names below our directory, and of pipes.
    #[test]
    fn names_of_a_thousand_files_are_ours() {
        let pieces = ["mount-", "7", "]:", "/", "a", "[", "mnt", "null", "pipe:[", "]", "..", "\n", "0"];
        let mut seed = 1u64;
        let mut next = |below: usize| {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (seed >> 33) as usize % below
        };
        let mut taken = 0;
        for _ in 0..1000 {
            let has_stream = next(2) == 0;
            let mut word = |longest: usize| -> String {
                let length = next(longest) + 1;
                (0..length).map(|_| pieces[next(pieces.len())]).collect()
            };
            let (key, stream) = (format!("mount-{}", word(2)), format!("pipe:[{}", word(2)));
            let streams: Vec<_> = has_stream.then_some(stream).into_iter().collect();
            let content =
                json!({ "version": 1, "mounts": { key: "/a" }, "masked": false, "streams": streams });
            let Ok(told) = told(content.to_string().as_bytes()) else { continue };
            taken += 1;
            let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
            let ours = |told: &str| {
                let mount = told
                    .strip_prefix("mnt[mount-")
                    .and_then(|rest| rest.strip_suffix("]:/run/rrunc/mount-5"));
                let pipe = told.strip_prefix("pipe:[").and_then(|rest| rest.strip_suffix("]=0"));
                told == "mnt[null]:/run/rrunc/null" || mount.or(pipe).is_some_and(digits)
            };
            assert!(told.iter().all(|told| ours(told)), "{content}: {told:?}");
        }
        assert!(taken > 0, "none was taken, so nothing was shown");
    }
}
