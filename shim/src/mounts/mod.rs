//! A container's root, made of mounts that a snapshotter asks for.

mod loop_device;
pub(crate) mod unmount;

use std::ffi::OsStr;
use std::fs::{self, DirBuilder, File};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Component, Path, PathBuf};
use std::process::{Command, Stdio};

use nix::errno::Errno;
use nix::mount::{MsFlags, mount};

use crate::idmap::{self, How};
use crate::proto::task::Mount;
use crate::refusal::{Doing, Refusal};
use unmount::{unmount, unmount_root};

pub use unmount::unmount_bundle;

/// mount(2) takes no more for its data.
const PAGE: usize = 4096;

/// Where lower layers are while an overlay is mounted over them, beside the root.
const LAYERS: &str = "layers";

/// Mounts all of them in order below `rootfs`, which is made if it isn't there, or none.
pub fn mount_all(mounts: &[Mount], rootfs: &Path) -> Result<(), Refusal> {
    match DirBuilder::new().mode(0o711).create(rootfs) {
        Err(error) if error.kind() != std::io::ErrorKind::AlreadyExists => {
            return Err(error).doing(|| format!("make {}", rootfs.display()));
        }
        _ => {}
    }
    let mount_all = || mounts.iter().try_for_each(|mount| mount_one(mount, rootfs));
    mount_all().inspect_err(|_| unmount_root(rootfs))
}

fn mount_one(asked: &Mount, rootfs: &Path) -> Result<(), Refusal> {
    let target = below(rootfs, &asked.target)?;
    let doing = || format!("mount {} {} on {}", asked.r#type, asked.source, target.display());
    if let Some((helper, kind)) = helper(&asked.r#type) {
        return mount_by_helper(&helper, kind, asked, &target).map_err(|refusal| refusal.during(doing()));
    }
    let Parsed { flags, data, maps, on_loop } = parse(&asked.options);
    let device = match on_loop {
        true => Some(
            loop_device::attach(Path::new(&asked.source), flags.contains(MsFlags::MS_RDONLY)).doing(doing)?,
        ),
        false => None,
    };
    let source = device.as_ref().map_or(asked.source.as_str(), |device| &device.path);
    let kind = match asked.r#type.as_str() {
        "bind" | "rbind" => None,
        kind => Some(kind),
    };
    let bind = flags.contains(MsFlags::MS_BIND);
    let propagation = MsFlags::MS_SHARED | MsFlags::MS_PRIVATE | MsFlags::MS_SLAVE | MsFlags::MS_UNBINDABLE;
    let first = flags - propagation;
    if let Some((uid, gid)) = maps {
        let user = idmap::user_namespace(&uid, &gid)?;
        if kind == Some("overlay") {
            let beside = rootfs.with_file_name(LAYERS);
            mapped_overlay(source, &data, first, &target, &beside, user.as_fd()).doing(doing)?;
        } else if kind.is_none() {
            let how = How {
                recursive: flags.contains(MsFlags::MS_REC),
                read_only: flags.contains(MsFlags::MS_RDONLY),
            };
            idmap::bind(Path::new(source), how, user.as_fd(), &target).doing(doing)?;
        } else {
            return Err(Refusal::invalid("uidmap= and gidmap= are for overlay and bind").during(doing()));
        }
    } else if data.len() >= PAGE && kind == Some("overlay") {
        let (layers, data) = shorten(&data);
        overlay(source, &data, first, &target, &layers).doing(doing)?;
    } else {
        let data = Some(data.as_str()).filter(|data| !data.is_empty());
        mount(Some(source), &target, kind, first, data).doing(doing)?;
    }
    let none = None::<&str>;
    // A bind mount takes no other flags at once (mount(2)).
    if bind
        && first.intersects(MsFlags::MS_RDONLY | MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOEXEC)
    {
        mount(none, &target, none, first | MsFlags::MS_REMOUNT, none).doing(doing)?;
    }
    if flags.intersects(propagation) {
        let how = flags & (propagation | MsFlags::MS_REC);
        mount(none, &target, none, how, none).doing(doing)?;
    }
    Ok(())
}

/// The program that mounts a file system of this type, and what it calls the type: one that is a program itself,
/// as fuse-overlayfs.
fn helper(kind: &str) -> Option<(String, &str)> {
    let (helper, kind) = kind.split_once('.')?;
    matches!(helper, "fuse" | "fuse3").then(|| (format!("mount.{helper}"), kind))
}

/// mount(8) calls it the same way.
fn mount_by_helper(helper: &str, kind: &str, asked: &Mount, target: &Path) -> Result<(), Refusal> {
    let mut command = Command::new(helper);
    command.arg(&asked.source).arg(target);
    for option in &asked.options {
        command.arg("-o").arg(option);
    }
    command.arg("-t").arg(kind).stdin(Stdio::null()).stdout(Stdio::null());
    let output = command.output().doing(|| format!("execute {helper}, of FUSE"))?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        return Err(Refusal::unknown(format!("{helper}: {}: {}", output.status, said.trim())));
    }
    Ok(())
}

/// `target` is the client's and stays below the root by its words; the root's own content may hold links, so
/// only a directory that is really there is taken.
fn below(rootfs: &Path, target: &str) -> Result<PathBuf, Refusal> {
    let mut path = rootfs.to_path_buf();
    for part in Path::new(target).components() {
        match part {
            Component::Normal(part) => path.push(part),
            Component::RootDir | Component::CurDir => continue,
            Component::ParentDir | Component::Prefix(_) => {
                return Err(Refusal::invalid(format!("mount target {target} has .. in it")));
            }
        }
        let metadata = fs::symlink_metadata(&path).doing(|| format!("mount target {}", path.display()))?;
        if metadata.is_symlink() {
            return Err(Refusal::invalid(format!("mount target {} is a symbolic link", path.display())));
        }
    }
    Ok(path)
}

struct Parsed {
    flags: MsFlags,
    data: String,
    /// `uidmap=` and `gidmap=`, which containerd 2 gives with the root of a pod that has a user namespace.
    maps: Option<(String, String)>,
    /// The source is a file that a loop device is to be made of.
    on_loop: bool,
}

/// Options as fstab has them: those that are flags of mount(2), and the rest.
fn parse(options: &[String]) -> Parsed {
    let mut flags = MsFlags::empty();
    let (mut uid, mut gid, mut on_loop) = (None, None, false);
    let mut data = vec![];
    for option in options {
        if let Some(map) = option.strip_prefix("uidmap=") {
            uid = Some(map.to_string());
            continue;
        }
        if let Some(map) = option.strip_prefix("gidmap=") {
            gid = Some(map.to_string());
            continue;
        }
        let (flag, on) = match option.as_str() {
            "ro" => (MsFlags::MS_RDONLY, true),
            "rw" => (MsFlags::MS_RDONLY, false),
            "nosuid" => (MsFlags::MS_NOSUID, true),
            "suid" => (MsFlags::MS_NOSUID, false),
            "nodev" => (MsFlags::MS_NODEV, true),
            "dev" => (MsFlags::MS_NODEV, false),
            "noexec" => (MsFlags::MS_NOEXEC, true),
            "exec" => (MsFlags::MS_NOEXEC, false),
            "sync" => (MsFlags::MS_SYNCHRONOUS, true),
            "async" => (MsFlags::MS_SYNCHRONOUS, false),
            "dirsync" => (MsFlags::MS_DIRSYNC, true),
            "noatime" => (MsFlags::MS_NOATIME, true),
            "atime" => (MsFlags::MS_NOATIME, false),
            "nodiratime" => (MsFlags::MS_NODIRATIME, true),
            "diratime" => (MsFlags::MS_NODIRATIME, false),
            "relatime" => (MsFlags::MS_RELATIME, true),
            "norelatime" => (MsFlags::MS_RELATIME, false),
            "strictatime" => (MsFlags::MS_STRICTATIME, true),
            "nostrictatime" => (MsFlags::MS_STRICTATIME, false),
            "bind" => (MsFlags::MS_BIND, true),
            "rbind" => (MsFlags::MS_BIND | MsFlags::MS_REC, true),
            "remount" => (MsFlags::MS_REMOUNT, true),
            "private" => (MsFlags::MS_PRIVATE, true),
            "rprivate" => (MsFlags::MS_PRIVATE | MsFlags::MS_REC, true),
            "slave" => (MsFlags::MS_SLAVE, true),
            "rslave" => (MsFlags::MS_SLAVE | MsFlags::MS_REC, true),
            "shared" => (MsFlags::MS_SHARED, true),
            "rshared" => (MsFlags::MS_SHARED | MsFlags::MS_REC, true),
            "unbindable" => (MsFlags::MS_UNBINDABLE, true),
            "defaults" => continue,
            "loop" => {
                on_loop = true;
                continue;
            }
            other => {
                data.push(other);
                continue;
            }
        };
        flags.set(flag, on);
    }
    let data = data.join(",");
    let maps = uid.zip(gid);
    Parsed { flags, data, maps, on_loop }
}

/// An overlay whose lower layers are named from the directory `layers`, which makes their names a few bytes each. E2BIG:
/// there are too many even so.
fn overlay(source: &str, data: &str, flags: MsFlags, target: &Path, layers: &Path) -> nix::Result<()> {
    if data.len() >= PAGE {
        return Err(Errno::E2BIG);
    }
    let here = File::open(".").map_err(|error| Errno::from_raw(error.raw_os_error().unwrap_or_default()))?;
    nix::unistd::chdir(layers)?;
    let mounted = mount(Some(source), target, Some("overlay"), flags, Some(data));
    nix::unistd::fchdir(here)?;
    mounted
}

/// An overlay over layers whose owners are mapped: over those of a mapped mount of the directory that they are in. The
/// overlay keeps a copy of that mount, so it is at `beside` for a moment only. Linux 5.19.
fn mapped_overlay(
    source: &str,
    data: &str,
    flags: MsFlags,
    target: &Path,
    beside: &Path,
    user: BorrowedFd,
) -> Result<(), Refusal> {
    let (layers, data) = shorten(data);
    let made = DirBuilder::new().mode(0o700).create(beside);
    made.doing(|| format!("make {}", beside.display()))?;
    // Should this process be killed just then, whoever removes the bundle removes no layer.
    let how = How { recursive: false, read_only: true };
    let mounted = idmap::bind(&layers, how, user, beside).and_then(|()| {
        let mounted = overlay(source, &data, flags, target, beside);
        unmount(beside);
        mounted.doing(|| format!("layers of {}", layers.display()))
    });
    let removed = fs::remove_dir(beside).doing(|| format!("remove {}", beside.display()));
    mounted.and(removed)
}

/// The directory that all lower layers are in, and the options with them relative to it.
fn shorten(data: &str) -> (PathBuf, String) {
    let lower = data.split(',').find_map(|option| option.strip_prefix("lowerdir="));
    let layers: Vec<&Path> = lower.map(|lower| lower.split(':').map(Path::new).collect()).unwrap_or_default();
    let mut prefix = layers.first().and_then(|layer| layer.parent()).unwrap_or(Path::new("/"));
    while !layers.iter().all(|layer| layer.starts_with(prefix)) {
        prefix = prefix.parent().unwrap_or(Path::new("/"));
    }
    let relative = |layer: &&Path| layer.strip_prefix(prefix).unwrap_or(layer).as_os_str().to_owned();
    let layers: Vec<_> = layers.iter().map(relative).collect();
    let layers = layers.join(OsStr::new(":")).to_string_lossy().into_owned();
    let options = data.split(',').map(|option| match option.starts_with("lowerdir=") {
        true => format!("lowerdir={layers}"),
        false => option.to_string(),
    });
    (prefix.to_path_buf(), options.collect::<Vec<_>>().join(","))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options() {
        let check = |options: &[&str], flags, data| {
            let options: Vec<_> = options.iter().map(|o| o.to_string()).collect();
            let parsed = parse(&options);
            assert_eq!((parsed.flags, parsed.data.as_str(), parsed.maps), (flags, data, None));
        };
        check(&[], MsFlags::empty(), "");
        check(&["rw"], MsFlags::empty(), "");
        check(&["ro", "rbind"], MsFlags::MS_RDONLY | MsFlags::MS_BIND | MsFlags::MS_REC, "");
        check(&["index=off", "ro", "lowerdir=/a:/b"], MsFlags::MS_RDONLY, "index=off,lowerdir=/a:/b");
    }

    #[test]
    fn a_loop_is_no_data() {
        let parsed = parse(&["ro", "loop", "norecovery"].map(String::from));
        assert_eq!((parsed.data.as_str(), parsed.on_loop), ("norecovery", true));
    }

    #[test]
    fn helpers() {
        let check = |kind: &str, expected: Option<(&str, &str)>| {
            let expected = expected.map(|(helper, kind)| (helper.to_string(), kind));
            assert_eq!(helper(kind), expected, "{kind}");
        };
        check("overlay", None);
        check("fuse", None);
        check("fuseblk.x", None);
        check("fuse.sshfs", Some(("mount.fuse", "sshfs")));
        check("fuse3.fuse-overlayfs", Some(("mount.fuse3", "fuse-overlayfs")));
    }

    #[test]
    fn maps_are_no_data() {
        let options = ["uidmap=0:1000:2", "userxattr", "gidmap=0:3000:4,4:5000:6"];
        let parsed = parse(&options.map(String::from));
        assert_eq!(parsed.data, "userxattr");
        assert_eq!(parsed.maps, Some(("0:1000:2".into(), "0:3000:4,4:5000:6".into())));
        assert_eq!(parse(&options[..2].iter().map(|o| o.to_string()).collect::<Vec<_>>()).maps, None);
    }

    /// In a mount namespace of the test's own thread, with a tmpfs.
    fn scratch(name: &str) -> PathBuf {
        use nix::sched::{CloneFlags, unshare};
        unshare(CloneFlags::CLONE_NEWNS).unwrap();
        let none = None::<&str>;
        mount(none, "/", none, MsFlags::MS_REC | MsFlags::MS_PRIVATE, none).unwrap();
        let dir = std::env::temp_dir().join(format!("rrunc-shim-{name}-{}", std::process::id()));
        fs::create_dir_all(&dir).unwrap();
        mount(Some("none"), &dir, Some("tmpfs"), MsFlags::empty(), none).unwrap();
        dir
    }

    #[test]
    #[ignore = "needs root"]
    fn the_owners_of_a_root_are_mapped() {
        use std::os::unix::fs::MetadataExt;
        let dir = scratch("mapped");
        for part in ["1/fs", "2/fs", "3/fs", "3/work"] {
            fs::create_dir_all(dir.join(part)).unwrap();
        }
        fs::write(dir.join("1/fs/file"), "").unwrap();
        let rootfs = dir.join("rootfs");
        let path = |part: &str| dir.join(part).display().to_string();
        let maps = ["uidmap=0:1000000:65536".to_string(), "gidmap=0:2000000:65536".to_string()];
        let overlay = format!(
            "lowerdir={}:{},upperdir={},workdir={}",
            path("2/fs"),
            path("1/fs"),
            path("3/fs"),
            path("3/work")
        );
        for (kind, source, option) in
            [("overlay", "overlay".into(), overlay), ("bind", path("1/fs"), "rbind".into())]
        {
            let mut options = maps.to_vec();
            options.push(option);
            let asked = Mount { r#type: kind.into(), source, target: String::new(), options };
            mount_all(&[asked], &rootfs).unwrap();
            let file = fs::metadata(rootfs.join("file")).unwrap();
            assert_eq!((file.uid(), file.gid()), (1_000_000, 2_000_000), "{kind}");
            unmount_root(&rootfs);
            assert!(!rootfs.join("file").exists() && !dir.join(LAYERS).exists());
        }
        unmount(&dir);
        fs::remove_dir(&dir).unwrap();
    }

    #[test]
    #[ignore = "needs root"]
    fn more_layers_than_fit_into_a_page() {
        let dir = scratch("overlay");
        let below = dir.join("x".repeat(100));
        let layers: Vec<_> = (0..60).map(|i| below.join(i.to_string()).join("fs")).collect();
        for (i, layer) in layers.iter().enumerate() {
            fs::create_dir_all(layer).unwrap();
            fs::write(layer.join(format!("from-{i}")), "").unwrap();
        }
        let layers: Vec<_> = layers.iter().map(|layer| layer.display().to_string()).collect();
        let overlay = |source: &str, target: &str| Mount {
            r#type: "overlay".into(),
            source: source.into(),
            target: target.into(),
            options: vec![format!("lowerdir={}", layers.join(":"))],
        };
        assert!(overlay("", "").options[0].len() > PAGE);
        let rootfs = dir.join("rootfs");
        let before = std::env::current_dir().unwrap();
        mount_all(&[overlay("overlay", "")], &rootfs).unwrap();
        assert_eq!(std::env::current_dir().unwrap(), before);
        assert!(rootfs.join("from-0").exists() && rootfs.join("from-59").exists());
        unmount(&rootfs);
        assert!(!rootfs.join("from-0").exists());
        // One that fails takes those before it with it.
        mount_all(&[overlay("overlay", ""), overlay("overlay", "nowhere")], &rootfs).unwrap_err();
        assert!(!rootfs.join("from-0").exists());
        unmount(&dir);
        fs::remove_dir(&dir).unwrap();
    }

    #[test]
    fn layers_become_shorter() {
        let check = |data, prefix: &str, expected: &str| {
            assert_eq!(shorten(data), (PathBuf::from(prefix), expected.to_string()), "{data}");
        };
        check(
            "index=off,upperdir=/s/9/fs,lowerdir=/s/1/fs:/s/22/fs",
            "/s",
            "index=off,upperdir=/s/9/fs,lowerdir=1/fs:22/fs",
        );
        check("lowerdir=/a/b:/c", "/", "lowerdir=a/b:c");
        check("lowerdir=/a/b", "/a", "lowerdir=b");
    }

    #[test]
    fn targets_stay_below() {
        let dir = std::env::temp_dir().join(format!("rrunc-shim-mounts-{}", std::process::id()));
        fs::create_dir_all(dir.join("a/b")).unwrap();
        std::os::unix::fs::symlink("/etc", dir.join("link")).unwrap();
        let check = |target, expected: Option<&str>| {
            assert_eq!(below(&dir, target).ok(), expected.map(|e| dir.join(e)), "{target}");
        };
        check("", Some(""));
        check("/a/./b", Some("a/b"));
        check("../x", None);
        check("link", None);
        check("nope", None);
        fs::remove_dir_all(&dir).unwrap();
    }
}
