//! What is mounted in a bundle goes.

use std::ffi::OsString;
use std::fs;
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};

use nix::mount::{MntFlags, umount2};

use super::LAYERS;
use crate::bundle::ROOTFS;

/// Unmounts whatever has been mounted in a bundle.
pub fn unmount_bundle(bundle: &Path) {
    unmount_root(&bundle.join(ROOTFS));
    unmount(&bundle.join(LAYERS)); // of one who was killed meanwhile
}

/// With what is mounted on the root goes what is mounted below. A root that is no mount may have some there too.
pub fn unmount_root(rootfs: &Path) {
    if unmount(rootfs) {
        return;
    }
    let below = || -> std::io::Result<Vec<PathBuf>> {
        let mountinfo = fs::read("/proc/self/mountinfo")?;
        Ok(mounted_below(&mountinfo, &fs::canonicalize(rootfs)?))
    };
    for path in below().unwrap_or_default().iter().rev() {
        unmount(path);
    }
}

/// Unmounts what is mounted there, one over the other: whether there was something. What is still in use goes when it
/// no longer is.
pub fn unmount(path: &Path) -> bool {
    // More than can be stacked by anybody who means it.
    let mut stacked = (0..64).map(|_| umount2(path, MntFlags::MNT_DETACH | MntFlags::UMOUNT_NOFOLLOW));
    stacked.position(|unmounted| unmounted.is_err()) != Some(0) // EINVAL: nothing is mounted there any more
}

/// The mount points below a directory, in the order of their mounts (proc_pid_mountinfo(5)).
pub(crate) fn mounted_below(mountinfo: &[u8], directory: &Path) -> Vec<PathBuf> {
    let lines = mountinfo.split(|byte| *byte == b'\n');
    let points = lines.filter_map(|line| line.split(|byte| *byte == b' ').nth(4));
    let points = points.map(|point| PathBuf::from(OsString::from_vec(unescaped(point))));
    points.filter(|point| point != directory && point.starts_with(directory)).collect()
}

/// Spaces and the like are written as a backslash and three octal digits.
fn unescaped(field: &[u8]) -> Vec<u8> {
    let mut bytes = vec![];
    let mut rest = field;
    while let Some((&byte, after)) = rest.split_first() {
        let digits = after.get(..3).filter(|_| byte == b'\\');
        let octal = digits.and_then(|digits| u8::from_str_radix(std::str::from_utf8(digits).ok()?, 8).ok());
        bytes.push(octal.unwrap_or(byte));
        rest = if octal.is_some() { &after[3..] } else { after };
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mount_points_below() {
        let mountinfo = b"1 2 0:3 / / rw - ext4 /dev/a rw\n\
            4 1 0:5 / /b/rootfs/x rw shared:1 - tmpfs none rw\n\
            6 4 0:5 / /b/rootfs/x/a\\040b\\134 rw - tmpfs none rw\n\
            7 1 0:5 / /b/rootfs2 rw - tmpfs none rw\n\
            8 1 0:5 / /b/rootfs rw - tmpfs none rw\n";
        let below = mounted_below(mountinfo, Path::new("/b/rootfs"));
        let expected = ["/b/rootfs/x", r"/b/rootfs/x/a b\"];
        assert_eq!(below, expected.map(PathBuf::from));
    }
}
