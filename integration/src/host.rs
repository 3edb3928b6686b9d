//! Files of the host that a hostile image aims at, and the proof that nothing reached them.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// A directory beside all bundles. Ask [`Host::assert_untouched`] at the end.
pub struct Host {
    dir: PathBuf,
    before: BTreeMap<PathBuf, String>,
}

impl Host {
    /// With these files, each of which holds `host`; a name with a `/` at its end is a directory.
    pub fn new(dir: &Path, names: &[&str]) -> Host {
        let dir = dir.join("host");
        fs::create_dir(&dir).expect("a directory");
        for name in names {
            let path = dir.join(name);
            if name.ends_with('/') {
                fs::create_dir_all(path).expect("a directory");
            } else {
                fs::create_dir_all(path.parent().expect("a parent")).expect("a directory");
                fs::write(path, "host").expect("a file");
            }
        }
        let before = inventory(&dir);
        Host { dir, before }
    }

    /// What is there now is what must stay.
    pub fn remember(&mut self) {
        self.before = inventory(&self.dir);
    }

    pub fn dir(&self) -> &Path {
        &self.dir
    }

    pub fn path(&self, name: &str) -> String {
        self.dir.join(name).to_string_lossy().into_owned()
    }

    /// # Panics
    /// If a file came, went or changed its content, mode, owner or identity, or if something is mounted there.
    #[track_caller]
    pub fn assert_untouched(&self) {
        assert_eq!(inventory(&self.dir), self.before, "files of the host have changed");
        let mounts = fs::read_to_string("/proc/thread-self/mountinfo").expect("mountinfo");
        let here = self.dir.to_string_lossy().into_owned();
        let mounted: Vec<_> =
            mounts.lines().filter(|l| l.split(' ').nth(4).is_some_and(|at| at.starts_with(&here))).collect();
        assert_eq!(mounted, <Vec<&str>>::new(), "mounted on files of the host");
    }
}

fn inventory(dir: &Path) -> BTreeMap<PathBuf, String> {
    let mut found = BTreeMap::new();
    let mut todo = vec![dir.to_path_buf()];
    while let Some(path) = todo.pop() {
        let m = fs::symlink_metadata(&path).expect("a file of ours");
        let content = if m.is_file() { fs::read_to_string(&path).expect("readable") } else { String::new() };
        if m.is_dir() {
            todo.extend(fs::read_dir(&path).expect("readable").map(|e| e.expect("an entry").path()));
        }
        let text = format!(
            "inode {} mode {:o} owner {}:{} rdev {} {content:?}",
            m.ino(),
            m.mode(),
            m.uid(),
            m.gid(),
            m.rdev()
        );
        found.insert(path, text);
    }
    found
}
