//! Mount options of config.json, sorted by what they act on: the new mount, the mounts below it, how mounts
//! spread from and to it, or the file system itself. One table; no judgement (that is `validate`) and no call.

use libc::{
    MS_DIRSYNC, MS_I_VERSION, MS_LAZYTIME, MS_MANDLOCK, MS_NOATIME, MS_NODEV, MS_NODIRATIME, MS_NOEXEC,
    MS_NOSUID, MS_NOSYMFOLLOW as NOSYMFOLLOW, MS_PRIVATE, MS_RDONLY, MS_REC, MS_RELATIME, MS_REMOUNT,
    MS_SHARED, MS_SILENT, MS_SLAVE, MS_STRICTATIME, MS_SYNCHRONOUS, MS_UNBINDABLE,
};

pub const MS_NOSYMFOLLOW: u64 = NOSYMFOLLOW;

/// linux/mount.h, the flags of mount_setattr(2) by their own names.
pub const MOUNT_ATTR_RDONLY: u64 = 0x1;
pub const MOUNT_ATTR_NOSUID: u64 = 0x2;
pub const MOUNT_ATTR_NODEV: u64 = 0x4;
pub const MOUNT_ATTR_NOEXEC: u64 = 0x8;
/// Not a flag but a field of three bits with one value in it.
pub const MOUNT_ATTR__ATIME: u64 = 0x70;
pub const MOUNT_ATTR_RELATIME: u64 = 0;
pub const MOUNT_ATTR_NOATIME: u64 = 0x10;
pub const MOUNT_ATTR_STRICTATIME: u64 = 0x20;
pub const MOUNT_ATTR_NODIRATIME: u64 = 0x80;
pub const MOUNT_ATTR_NOSYMFOLLOW: u64 = 0x0020_0000;

/// Of these mount(2) takes one; the last one given counts.
const ATIME_FLAGS: u64 = MS_NOATIME | MS_RELATIME | MS_STRICTATIME;

/// How far an option reaches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reach {
    /// One mount.
    Mount,
    /// The mount and all that is mounted below it.
    Tree,
}

/// What an option means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Meaning {
    /// Nothing: the default is spelled out.
    Default,
    Bind(Reach),
    /// Sets these MS_* flags.
    Set(u64),
    /// Clears these MS_* flags, on a bind mount also where the source has them.
    Clear(u64),
    /// One of MS_SHARED, MS_SLAVE, MS_PRIVATE, MS_UNBINDABLE, with MS_REC if it is for the tree.
    Propagation(u64),
    /// Sets these MOUNT_ATTR_* on the mount and all below it.
    SetTree(u64),
    /// Clears these MOUNT_ATTR_* on the mount and all below it.
    ClearTree(u64),
    /// Sets the access time field (MOUNT_ATTR__ATIME) on the mount and all below it.
    AtimeTree(u64),
    /// An id-mapped mount.
    Idmap(Reach),
    /// A tmpfs starts with what the directory below it holds.
    TmpCopyUp,
    /// A bind whose source is a symlink makes that link again (crun).
    CopySymlink,
    /// A bind of the symlink itself that the source is (crun).
    SourceNofollow,
    /// A mount on the symlink itself that the destination is (crun).
    DestinationNofollow,
}

use Meaning::*;

/// config.md, Linux mount options, and three of crun's that Podman asks for: every option that has a meaning of its
/// own, by name. All others are the file system's.
pub const OPTIONS: [(&str, Meaning); 65] = [
    ("async", Clear(MS_SYNCHRONOUS)),
    ("atime", Clear(MS_NOATIME)),
    ("bind", Bind(Reach::Mount)),
    ("copy-symlink", CopySymlink),
    ("defaults", Default),
    ("dest-nofollow", DestinationNofollow),
    ("dev", Clear(MS_NODEV)),
    ("diratime", Clear(MS_NODIRATIME)),
    ("dirsync", Set(MS_DIRSYNC)),
    ("exec", Clear(MS_NOEXEC)),
    ("idmap", Idmap(Reach::Mount)),
    ("iversion", Set(MS_I_VERSION)),
    ("lazytime", Set(MS_LAZYTIME)),
    ("loud", Clear(MS_SILENT)),
    ("mand", Set(MS_MANDLOCK)), // taken and ignored by the kernel since 5.15
    ("noatime", Set(MS_NOATIME)),
    ("nodev", Set(MS_NODEV)),
    ("nodiratime", Set(MS_NODIRATIME)),
    ("noexec", Set(MS_NOEXEC)),
    ("noiversion", Clear(MS_I_VERSION)),
    ("nolazytime", Clear(MS_LAZYTIME)),
    ("nomand", Clear(MS_MANDLOCK)),
    ("norelatime", Clear(MS_RELATIME)),
    ("nostrictatime", Clear(MS_STRICTATIME)),
    ("nosuid", Set(MS_NOSUID)),
    ("nosymfollow", Set(MS_NOSYMFOLLOW)),
    ("private", Propagation(MS_PRIVATE)),
    ("ratime", AtimeTree(MOUNT_ATTR_RELATIME)),
    ("rbind", Bind(Reach::Tree)),
    ("rdev", ClearTree(MOUNT_ATTR_NODEV)),
    ("rdiratime", ClearTree(MOUNT_ATTR_NODIRATIME)),
    ("relatime", Set(MS_RELATIME)),
    ("remount", Set(MS_REMOUNT)),
    ("rexec", ClearTree(MOUNT_ATTR_NOEXEC)),
    ("ridmap", Idmap(Reach::Tree)),
    ("rnoatime", AtimeTree(MOUNT_ATTR_NOATIME)),
    ("rnodev", SetTree(MOUNT_ATTR_NODEV)),
    ("rnodiratime", SetTree(MOUNT_ATTR_NODIRATIME)),
    ("rnoexec", SetTree(MOUNT_ATTR_NOEXEC)),
    // The kernel knows relatime as the absence of the two others: there is no bit that could be cleared.
    ("rnorelatime", Default),
    ("rnostrictatime", AtimeTree(MOUNT_ATTR_RELATIME)),
    ("rnosuid", SetTree(MOUNT_ATTR_NOSUID)),
    ("rnosymfollow", SetTree(MOUNT_ATTR_NOSYMFOLLOW)),
    ("ro", Set(MS_RDONLY)),
    ("rprivate", Propagation(MS_PRIVATE | MS_REC)),
    ("rrelatime", AtimeTree(MOUNT_ATTR_RELATIME)),
    ("rro", SetTree(MOUNT_ATTR_RDONLY)),
    ("rrw", ClearTree(MOUNT_ATTR_RDONLY)),
    ("rshared", Propagation(MS_SHARED | MS_REC)),
    ("rslave", Propagation(MS_SLAVE | MS_REC)),
    ("rstrictatime", AtimeTree(MOUNT_ATTR_STRICTATIME)),
    ("rsuid", ClearTree(MOUNT_ATTR_NOSUID)),
    ("rsymfollow", ClearTree(MOUNT_ATTR_NOSYMFOLLOW)),
    ("runbindable", Propagation(MS_UNBINDABLE | MS_REC)),
    ("rw", Clear(MS_RDONLY)),
    ("shared", Propagation(MS_SHARED)),
    ("silent", Set(MS_SILENT)),
    ("slave", Propagation(MS_SLAVE)),
    ("src-nofollow", SourceNofollow),
    ("strictatime", Set(MS_STRICTATIME)),
    ("suid", Clear(MS_NOSUID)),
    ("symfollow", Clear(MS_NOSYMFOLLOW)),
    ("sync", Set(MS_SYNCHRONOUS)),
    ("tmpcopyup", TmpCopyUp),
    ("unbindable", Propagation(MS_UNBINDABLE)),
];

/// What `option` means; `None` if it is for the file system to know.
pub fn meaning(option: &str) -> Option<Meaning> {
    let index = OPTIONS.binary_search_by_key(&option, |(name, _)| name).ok()?;
    Some(OPTIONS[index].1)
}

/// The reach and the maps of an option `idmap=…` or `ridmap=…`.
pub fn id_maps(option: &str) -> Option<(Reach, &str)> {
    match option.split_once('=')? {
        ("idmap", maps) => Some((Reach::Mount, maps)),
        ("ridmap", maps) => Some((Reach::Tree, maps)),
        _ => None,
    }
}

/// The options of one mount. Where two contradict each other the later one counts, as in fstab(5).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MountOptions {
    /// MS_* flags to set, but for MS_BIND, MS_REC and the propagation ones. Not more than one of MS_NOATIME,
    /// MS_RELATIME and MS_STRICTATIME.
    pub flags: u64,
    /// MS_* flags that were asked to be off; none of them is in `flags`.
    pub cleared: u64,
    pub bind: Option<Reach>,
    pub idmap: Option<Reach>,
    /// What stands behind `idmap=`, as crun has it (see [`super::idmap`]).
    pub idmap_maps: Option<String>,
    /// Propagation flags, with MS_REC if recursive, in their order: each is a call of its own.
    pub propagation: Vec<u64>,
    /// MOUNT_ATTR_* for the mount and all below it, as mount_setattr(2) takes them: where the access time
    /// changes, `attr_clear` has all of MOUNT_ATTR__ATIME.
    pub attr_set: u64,
    pub attr_clear: u64,
    pub tmpcopyup: bool,
    pub copy_symlink: bool,
    pub source_nofollow: bool,
    pub destination_nofollow: bool,
    /// What the file system is to parse, joined by commas.
    pub data: String,
}

impl MountOptions {
    pub fn is_bind(&self) -> bool {
        self.bind.is_some()
    }

    pub fn is_recursive_bind(&self) -> bool {
        self.bind == Some(Reach::Tree)
    }

    fn apply(&mut self, meaning: Meaning) {
        match meaning {
            Default => {}
            Bind(reach) => self.bind = Some(reach),
            Idmap(reach) => {
                self.idmap = Some(reach);
                self.idmap_maps = None;
            }
            Set(flag) => {
                if flag & ATIME_FLAGS != 0 {
                    self.flags &= !ATIME_FLAGS;
                }
                self.flags |= flag;
                self.cleared &= !flag;
            }
            Clear(flag) => {
                self.flags &= !flag;
                self.cleared |= flag;
            }
            Propagation(flag) => self.propagation.push(flag),
            SetTree(attr) => {
                self.attr_set |= attr;
                self.attr_clear &= !attr;
            }
            ClearTree(attr) => {
                self.attr_set &= !attr;
                self.attr_clear |= attr;
            }
            AtimeTree(value) => {
                self.attr_set = self.attr_set & !MOUNT_ATTR__ATIME | value;
                self.attr_clear |= MOUNT_ATTR__ATIME;
            }
            TmpCopyUp => self.tmpcopyup = true,
            CopySymlink => self.copy_symlink = true,
            SourceNofollow => self.source_nofollow = true,
            DestinationNofollow => self.destination_nofollow = true,
        }
    }
}

/// config.md, Mounts: sorts `options`; nothing is refused here.
pub fn parse(options: &[String]) -> MountOptions {
    let mut parsed = MountOptions::default();
    for option in options {
        match (meaning(option), id_maps(option)) {
            (Some(meaning), _) => parsed.apply(meaning),
            (None, Some((reach, maps))) => {
                parsed.idmap = Some(reach);
                parsed.idmap_maps = Some(maps.into());
            }
            (None, None) if option.is_empty() => (), // says nothing
            (None, None) => {
                if !parsed.data.is_empty() {
                    parsed.data.push(',');
                }
                parsed.data.push_str(option);
            }
        }
    }
    parsed
}

#[cfg(test)]
mod tests {
    use super::*;
    use libc::MS_BIND;

    fn check(options: &[&str], expected: MountOptions) {
        let options: Vec<String> = options.iter().map(|o| (*o).to_string()).collect();
        assert_eq!(parse(&options), expected, "{options:?}");
    }

    fn none() -> MountOptions {
        MountOptions::default()
    }

    #[test]
    fn the_table_can_be_searched() {
        assert!(OPTIONS.is_sorted_by_key(|(name, _)| *name));
    }

    /// config.md 1.3, Linux mount options: what a runtime must support.
    #[test]
    fn every_option_of_the_spec_and_of_crun_is_known() {
        let spec = "async atime bind defaults dev diratime dirsync exec idmap iversion lazytime loud mand noatime \
            nodev nodiratime noexec noiversion nolazytime nomand norelatime nostrictatime nosuid nosymfollow \
            private ratime rbind rdev rdiratime relatime remount rexec ridmap rnoatime rnodev rnodiratime rnoexec \
            rnorelatime rnostrictatime rnosuid rnosymfollow ro rprivate rrelatime rro rrw rshared rslave \
            rstrictatime rsuid rsymfollow runbindable rw shared silent slave strictatime suid symfollow sync \
            tmpcopyup unbindable copy-symlink src-nofollow dest-nofollow";
        for option in spec.split_whitespace() {
            assert!(meaning(option).is_some(), "{option}");
        }
        assert_eq!(OPTIONS.len(), spec.split_whitespace().count());
    }

    #[test]
    fn flags_are_set_and_cleared_and_the_last_one_counts() {
        check(&[], none());
        check(&["defaults"], none());
        check(&["ro", "nosuid"], MountOptions { flags: MS_RDONLY | MS_NOSUID, ..none() });
        check(&["rw"], MountOptions { cleared: MS_RDONLY, ..none() });
        check(&["ro", "rw"], MountOptions { cleared: MS_RDONLY, ..none() });
        check(&["rw", "ro"], MountOptions { flags: MS_RDONLY, ..none() });
        check(&["noatime", "strictatime"], MountOptions { flags: MS_STRICTATIME, ..none() });
        check(&["nosymfollow", "lazytime"], MountOptions { flags: MS_NOSYMFOLLOW | MS_LAZYTIME, ..none() });
    }

    #[test]
    fn bind_is_no_flag() {
        check(&["bind"], MountOptions { bind: Some(Reach::Mount), ..none() });
        check(&["rbind", "ro"], MountOptions { bind: Some(Reach::Tree), flags: MS_RDONLY, ..none() });
        check(
            &["bind", "ridmap"],
            MountOptions { bind: Some(Reach::Mount), idmap: Some(Reach::Tree), ..none() },
        );
        assert!(OPTIONS.iter().all(|(_, m)| !matches!(m, Set(f) | Clear(f) if f & (MS_BIND | MS_REC) != 0)));
    }

    #[test]
    fn propagation_keeps_its_order() {
        let propagation = vec![MS_SLAVE | MS_REC, MS_SHARED];
        check(&["rslave", "shared"], MountOptions { propagation, ..none() });
    }

    #[test]
    fn recursive_attributes() {
        check(&["rro"], MountOptions { attr_set: MOUNT_ATTR_RDONLY, ..none() });
        check(&["rro", "rrw"], MountOptions { attr_clear: MOUNT_ATTR_RDONLY, ..none() });
        check(
            &["rnosuid", "rnosymfollow"],
            MountOptions { attr_set: MOUNT_ATTR_NOSUID | MOUNT_ATTR_NOSYMFOLLOW, ..none() },
        );
        let atime = |attr_set| MountOptions { attr_set, attr_clear: MOUNT_ATTR__ATIME, ..none() };
        check(&["rnoatime"], atime(MOUNT_ATTR_NOATIME));
        check(&["rnoatime", "rstrictatime"], atime(MOUNT_ATTR_STRICTATIME));
        check(&["rstrictatime", "ratime"], atime(MOUNT_ATTR_RELATIME));
        check(&["rnorelatime"], none());
    }

    #[test]
    fn the_rest_is_the_file_systems() {
        check(
            &["mode=755", "nosuid", "", "size=65536k"],
            MountOptions { flags: MS_NOSUID, data: "mode=755,size=65536k".into(), ..none() },
        );
        check(&["tmpcopyup", "RO"], MountOptions { tmpcopyup: true, data: "RO".into(), ..none() });
    }
}
