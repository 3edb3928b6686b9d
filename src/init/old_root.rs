//! Where the root can't be pivoted (`--no-pivot`), the old one stays in the mount namespace, below the container's: with
//! CAP_SYS_ADMIN it can be got at, and each full procfs or sysfs in it is a reason for the kernel to let a user namespace
//! mount another (user_namespaces(7)). So none may stay there, wherever it is mounted.

use std::ffi::CStr;
use std::os::fd::{AsFd, BorrowedFd};

use super::Done;
use crate::sys::fs::{self, resolve};
use crate::sys::{Call, Errno, Fail, mount};

/// Detaches them, by the host's `proc`; what is locked (mount_namespaces(7)) is covered instead. `root` is the path of
/// the container's root, whose own mounts stay.
pub fn hide_kernel_files(proc: BorrowedFd, root: &CStr) -> Done {
    loop {
        let mut any = false;
        for_each_kernel_mount(proc, root, |path| {
            // Another may be on it, and be detached in its place: then there is a next time.
            match mount::detach(path) {
                Ok(()) => any = true,
                Err(Fail {
                    errno: Errno::EINVAL | Errno::ENOENT | Errno::ENOTDIR | Errno::EPERM, ..
                }) => {}
                Err(fail) => return Err(fail),
            }
            Ok(())
        })?;
        if !any {
            break;
        }
    }
    for_each_kernel_mount(proc, root, |path| {
        match mount::mount(Some(c"tmpfs"), path, Some(c"tmpfs"), libc::MS_RDONLY, None) {
            // Covered together with what it is mounted on.
            Err(Fail { errno: Errno::ENOENT, .. }) => Ok(()),
            done => done,
        }
    })
}

/// Calls `each` with the mount points in proc_pid_mountinfo(5) of file systems of these types.
fn for_each_kernel_mount(proc: BorrowedFd, root: &CStr, mut each: impl FnMut(&CStr) -> Done) -> Done {
    let file = fs::open(proc, c"self/mountinfo", libc::O_RDONLY, 0, resolve::HOST)?;
    let mut buffer = [0; 16384];
    let mut filled = 0;
    loop {
        let rest = buffer.get_mut(filled..).unwrap_or_default();
        if rest.is_empty() {
            return Err(Fail::new(Call::Read, Errno::E2BIG)); // no line is as long
        }
        let n = fs::read(file.as_fd(), rest)?;
        if n == 0 {
            return Ok(());
        }
        filled += n;
        let text = buffer.get(..filled).unwrap_or_default();
        let complete = text.iter().rposition(|byte| *byte == b'\n').map_or(0, |end| end + 1);
        for line in text.get(..complete).unwrap_or_default().split(|byte| *byte == b'\n') {
            let mut path = [0; libc::PATH_MAX as usize + 1];
            match kernel_mount(line, &mut path) {
                Some(path) if !is_below(path, root) => each(path)?,
                _ => {}
            }
        }
        buffer.copy_within(complete..filled, 0);
        filled -= complete;
    }
}

/// `36 35 98:0 /mnt1 /mnt2 rw,noatime master:1 - proc proc rw`: the fifth field, if the type is one of these.
fn kernel_mount<'b>(line: &[u8], path: &'b mut [u8]) -> Option<&'b CStr> {
    let mut fields = line.split(|byte| *byte == b' ');
    let point = fields.nth(4)?;
    let kind = fields.skip_while(|field| *field != b"-").nth(1)?;
    if !matches!(kind, b"proc" | b"sysfs") {
        return None;
    }
    let mut to = path.iter_mut();
    let mut rest = point;
    while let [first, after @ ..] = rest {
        // Blanks, tabs, newlines and backslashes are written as three octal digits.
        let (byte, after) = match (first, after) {
            (b'\\', [a @ b'0'..=b'3', b @ b'0'..=b'7', c @ b'0'..=b'7', after @ ..]) => {
                ((a - b'0') << 6 | (b - b'0') << 3 | (c - b'0'), after)
            }
            (byte, after) => (*byte, after),
        };
        *to.next()? = byte;
        rest = after;
    }
    *to.next()? = 0;
    CStr::from_bytes_until_nul(path).ok()
}

fn is_below(path: &CStr, root: &CStr) -> bool {
    let below = path.to_bytes().strip_prefix(root.to_bytes());
    below.is_some_and(|rest| rest.is_empty() || rest.starts_with(b"/"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_mountinfo() {
        let check = |line: &str, expected: Option<&CStr>| {
            assert_eq!(kernel_mount(line.as_bytes(), &mut [0; 16]), expected, "{line}");
        };
        check("36 35 0:5 / /proc rw,nosuid shared:1 - proc proc rw", Some(c"/proc"));
        check("36 35 0:5 /sys /a\\040b\\134 rw - sysfs - rw", Some(c"/a b\\"));
        check("36 35 0:5 / /proc rw - tmpfs proc rw", None);
        check("36 35 0:5 / /a/path/too/long rw - proc proc rw", None);
        check("36 35", None);
        check("", None);
    }

    #[test]
    fn the_containers_own_are_left() {
        assert!(is_below(c"/b/root/proc", c"/b/root") && is_below(c"/b/root", c"/b/root"));
        assert!(!is_below(c"/b/root2/proc", c"/b/root") && !is_below(c"/proc", c"/b/root"));
    }

    #[test]
    fn ours_are_found() {
        let proc = std::fs::File::open("/proc").unwrap();
        let mut found = 0;
        let each = |path: &CStr| {
            found += i32::from(path == c"/proc");
            Ok(())
        };
        for_each_kernel_mount(proc.as_fd(), c"/nowhere", each).unwrap();
        assert!(found > 0);
    }
}
