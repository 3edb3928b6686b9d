//! Where in a container that runs the host's mounts are now. Its paths are the container's to change: each is walked
//! once, inside its root, and from then on the mount that was found is meant, by its number.

use std::os::fd::{AsFd, OwnedFd};

use crate::error::{Doing, Error, Kind, Result};
use crate::plan::criu::{External, NULL};
use crate::sys::fs::{self as sys, resolve};
use crate::sys::{Errno, Pid, files};

/// MOUNT_ATTR_* and the words of proc_pid_mountinfo(5).
const ATTRIBUTES: [(u64, &str); 4] = [(0x1, "ro"), (0x2, "nosuid"), (0x4, "nodev"), (0x8, "noexec")];

/// A line of /proc/PID/mountinfo.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Mount {
    id: u64,
    pub point: String,
    pub options: String,
}

/// A mount of the host that is where config.json has put it.
pub struct Found<'e> {
    pub external: &'e External,
    id: u64,
    /// As the container's first process sees it.
    point: String,
}

impl Found<'_> {
    /// As criu is told to leave it alone (criu(8), --external).
    pub fn option(&self) -> String {
        format!("mnt[{}]:{}", self.point, self.external.key)
    }
}

/// Finds each in the mount namespace of the process. What the container has unmounted isn't there.
pub fn find(pid: Pid, externals: &[External]) -> Result<Vec<Found<'_>>> {
    let path = crate::sys::c_path(format!("/proc/{pid}/root").as_ref())
        .doing(|| format!("open the root of process {pid}"))?;
    let root = sys::open(sys::cwd(), &path, libc::O_PATH | libc::O_DIRECTORY, 0, resolve::HOST)
        .doing(|| format!("open the root of process {pid}"))?;
    let mounts = mounts(pid)?;
    let mut found: Vec<Found> = Vec::new();
    // The last one is on top.
    for external in externals.iter().rev() {
        let Some(id) = mount_at(&root, external)? else {
            continue;
        };
        let Some(mount) = mounts.iter().find(|mount| mount.id == id) else {
            continue;
        };
        if found.iter().any(|other| other.id == id) {
            continue;
        }
        // criu would take what follows for the key (CVE-2026-115520).
        if mount.point.contains("]:") {
            let text = format!(
                "{}: is mounted on {:?} now, and criu takes no path with \"]:\" in it",
                external.field, mount.point
            );
            return Err(Error::new(Kind::Unsupported, text));
        }
        found.push(Found { external, id, point: mount.point.clone() });
    }
    found.reverse();
    Ok(found)
}

/// Whether the mounts are what was found, and at least as restricted as config.json wants them: restored, they would be
/// what they are now. To be asked while all processes stand still.
pub fn check(pid: Pid, found: &[Found]) -> Result<()> {
    let mounts = mounts(pid)?;
    for Found { external, id, point } in found {
        let refused =
            |text: String| Err(Error::new(Kind::WrongStatus, format!("{}: {text}", external.field)));
        let Some(mount) = mounts.iter().find(|mount| mount.id == *id && mount.point == *point) else {
            return refused(format!("the mount on {point} was moved or unmounted meanwhile"));
        };
        if let Some(lacking) = lacking(external.attributes, &mount.options) {
            return refused(format!(
                "the mount on {point} is no longer {lacking}: the container has changed it"
            ));
        }
    }
    Ok(())
}

/// The first attribute that a mount's options don't have.
fn lacking(attributes: u64, options: &str) -> Option<&'static str> {
    let mut wanted = ATTRIBUTES.iter().filter(|(flag, _)| attributes & flag != 0);
    wanted.find(|(_, word)| !options.split(',').any(|option| option == *word)).map(|(_, word)| *word)
}

/// The number of the mount whose root is at the external's destination.
fn mount_at(root: &OwnedFd, external: &External) -> Result<Option<u64>> {
    let doing = || format!("{}: look at {} in the container", external.field, external.destination);
    let path = external.destination.walk().last();
    let Some((path, _)) = path else { return Ok(None) };
    let fd = match sys::open(root.as_fd(), path, libc::O_PATH, 0, resolve::IN_ROOT) {
        // The container has it no more.
        Err(fail) if matches!(fail.errno, Errno::ENOENT | Errno::ENOTDIR | Errno::ELOOP) => return Ok(None),
        fd => fd.doing(doing)?,
    };
    // Directories are covered by file systems that criu saves.
    if external.key == NULL && sys::stat(fd.as_fd()).doing(doing)?.is_dir() {
        return Ok(None);
    }
    sys::mount_id(fd.as_fd()).doing(doing)
}

fn mounts(pid: Pid) -> Result<Vec<Mount>> {
    let path = format!("/proc/{pid}/mountinfo");
    let text = files::read(&path).doing(|| format!("read {path}"))?;
    Ok(text.split(|byte| *byte == b'\n').filter_map(mount).collect())
}

/// `36 35 98:0 /mnt1 /mnt2 rw,noatime master:1 - ext3 /dev/root rw`; one whose path isn't UTF-8 is left out.
pub(crate) fn mount(line: &[u8]) -> Option<Mount> {
    let mut fields = line.split(|byte| *byte == b' ');
    let mut text = |skip| std::str::from_utf8(fields.nth(skip)?).ok();
    let id = text(0)?.parse().ok()?;
    let point = unescape(text(3)?.as_bytes());
    let options = text(0)?.to_string();
    Some(Mount { id, point: String::from_utf8(point).ok()?, options })
}

/// Blanks, tabs, newlines and backslashes are written as three octal digits there.
fn unescape(text: &[u8]) -> Vec<u8> {
    let mut plain = Vec::with_capacity(text.len());
    let mut rest = text;
    while let [first, after @ ..] = rest {
        let digits = after.get(..3).and_then(|digits| std::str::from_utf8(digits).ok());
        let octal = digits.and_then(|digits| u8::from_str_radix(digits, 8).ok());
        match octal.filter(|_| *first == b'\\') {
            Some(byte) => {
                plain.push(byte);
                rest = &after[3..];
            }
            None => {
                plain.push(*first);
                rest = after;
            }
        }
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_mountinfo() {
        let check = |line: &str, point: &str, options: &str| {
            let expected = Mount { id: 36, point: point.into(), options: options.into() };
            assert_eq!(mount(line.as_bytes()), Some(expected));
        };
        check("36 35 98:0 /mnt1 /mnt2 rw,noatime master:1 - ext3 /dev/root rw", "/mnt2", "rw,noatime");
        check("36 35 98:0 / /a\\040b\\134x]: ro - tmpfs tmpfs rw", "/a b\\x]:", "ro");
        check("36 35 98:0 / /a\\9 ro - tmpfs tmpfs rw", "/a\\9", "ro");
        assert_eq!(mount(b""), None);
        assert_eq!(mount(b"36 35 98:0 / /\xff ro"), None);
    }

    #[test]
    fn what_a_mount_must_be() {
        assert_eq!(lacking(0x1, "rw,nosuid"), Some("ro"));
        assert_eq!(lacking(0x5, "ro,nosuid"), Some("nodev"));
        assert_eq!(lacking(0x5, "ro,nodev,relatime"), None);
        assert_eq!(lacking(0x70, "rw"), None);
    }

    #[test]
    fn only_what_is_mounted_is_found() {
        let at = |path: &str| External {
            key: "mount-1".into(),
            destination: crate::plan::step::InRoot::new(path).unwrap(),
            attributes: 0,
            field: "mounts[0]".into(),
        };
        let externals = [at("/proc"), at("/no/such"), at("/proc/self"), at("/proc/../proc")];
        let own = Pid(std::process::id() as i32);
        let found = find(own, &externals).unwrap();
        let options: Vec<_> = found.iter().map(Found::option).collect();
        assert_eq!(options, ["mnt[/proc]:mount-1"]);
        check(own, &found).unwrap();
    }
}
