//! The home directory of a user, from passwd(5). The file is the image's: it is read by portions to a bound, however long
//! its lines are, and whatever it is.

use std::os::fd::{AsFd, BorrowedFd};

use super::Done;
use crate::sys::exec::CArray;
use crate::sys::fs::{self, resolve};
use crate::sys::{Call, Errno, Fail, Uid};

/// Half a million users; a file with holes can be of any size.
const LONGEST: usize = 64 << 20;
/// PATH_MAX: no program could change into a longer one.
const LONGEST_HOME: usize = 4096;

/// Fills the hole for HOME in the program's environment. Without a file or an entry HOME stays `/`, and after an error
/// too, which says why.
pub fn home(uid: Uid, envp: &CArray) -> Done {
    let flags = libc::O_RDONLY | libc::O_NOCTTY | libc::O_NONBLOCK;
    let file = match fs::open(fs::cwd(), c"/etc/passwd", flags, 0, resolve::IN_ROOT) {
        Err(Fail { errno: Errno::ENOENT | Errno::ENOTDIR, .. }) => return Ok(()),
        file => file?,
    };
    match fs::stat(file.as_fd())?.mode & libc::S_IFMT {
        libc::S_IFREG => {}
        libc::S_IFDIR => return Err(Fail::new(Call::Open, Errno::EISDIR)),
        _ => return Err(Fail::new(Call::Open, Errno::EINVAL)), // a fifo, a device: nothing is read of it
    }
    let mut entry = Entry::new(uid);
    if !find(file.as_fd(), &mut entry)? {
        return Ok(());
    }
    match entry.home().is_some_and(|home| envp.fill([b"HOME=", home])) {
        true => Ok(()),
        false => Err(Fail::new(Call::Read, Errno::ENAMETOOLONG)),
    }
}

/// Reads until the user's line has ended.
fn find(file: BorrowedFd, entry: &mut Entry) -> Result<bool, Fail> {
    let mut buffer = [0; 16384];
    let mut total = 0;
    loop {
        let n = fs::read(file, &mut buffer)?;
        if n == 0 {
            return Ok(entry.take(b'\n'));
        }
        total += n;
        if buffer.get(..n).unwrap_or(&[]).iter().any(|byte| entry.take(*byte)) {
            return Ok(true);
        }
        if total > LONGEST {
            return Err(Fail::new(Call::Read, Errno::EFBIG));
        }
    }
}

/// A line of the file, of which only what is asked for is kept: `name:password:UID:GID:comment:home:shell`.
pub(crate) struct Entry {
    wanted: u32,
    /// Of the byte that comes, from 0.
    field: u8,
    /// Of the uid so far; `None` before its first digit.
    uid: Option<u32>,
    /// The uid's field has something else than a number.
    is_broken: bool,
    home: [u8; LONGEST_HOME],
    /// Of the home so far, which may be longer than there is room for.
    length: usize,
}

impl Entry {
    pub fn new(uid: Uid) -> Entry {
        let home = [0; LONGEST_HOME];
        Entry { wanted: uid.0, field: 0, uid: None, is_broken: false, home, length: 0 }
    }

    /// Whether this byte ends the user's line. Then nothing more may be taken.
    pub fn take(&mut self, byte: u8) -> bool {
        match (self.field, byte) {
            (_, b'\n') => {
                if self.is_wanted() && self.field >= 5 && self.home.first() == Some(&b'/') && self.length > 0
                {
                    return true;
                }
                (self.field, self.uid, self.is_broken, self.length) = (0, None, false, 0);
            }
            (_, b':') => self.field = self.field.saturating_add(1),
            (2, b'0'..=b'9') => {
                let digit = u32::from(byte - b'0');
                self.uid = self.uid.unwrap_or(0).checked_mul(10).and_then(|uid| uid.checked_add(digit));
                self.is_broken |= self.uid.is_none();
            }
            (2, _) => self.is_broken = true,
            (5, 0) => self.is_broken = true, // it would cut the variable short
            (5, _) if self.is_wanted() => {
                if let Some(place) = self.home.get_mut(self.length) {
                    *place = byte;
                }
                self.length = self.length.saturating_add(1);
            }
            _ => {}
        }
        false
    }

    fn is_wanted(&self) -> bool {
        self.uid == Some(self.wanted) && !self.is_broken
    }

    pub fn home(&self) -> Option<&[u8]> {
        self.home.get(..self.length)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The home of `uid` in this file, or whether it is too long.
    fn search(file: &[u8], uid: u32) -> Option<Option<String>> {
        let mut entry = Entry::new(Uid(uid));
        let found = file.iter().chain(b"\n").any(|byte| entry.take(*byte));
        found.then(|| entry.home().map(|home| String::from_utf8_lossy(home).into_owned()))
    }

    #[test]
    fn home_is_the_sixth_field() {
        let check = |line: &str, uid, home: Option<&str>| {
            assert_eq!(search(line.as_bytes(), uid).map(Option::unwrap).as_deref(), home, "{line}");
        };
        check("root:x:0:0:root:/root:/bin/sh", 0, Some("/root"));
        check("root:x:0:0:root:/root", 0, Some("/root"));
        check("root:x:0:0:root:/root:/bin/sh", 1, None);
        check("1000:x:0:0::/evil:", 1000, None);
        check("short:x:0", 0, None);
        check("short:x:0:0:", 0, None);
        check("a:x:5:5::relative:", 5, None);
        check("a:x:5:5:::", 5, None);
        check("a:x::5::/a:", 0, None);
        check("a:x:5x:5::/a:", 5, None);
        check("a:x: 5:5::/a:", 5, None);
        check("a:x:4294967301:5::/a:", 5, None);
        check("a:x:4294967295:5::/a:", u32::MAX, Some("/a"));
        check("b:x:4:4::/b:\na:x:5:5::/a:\na:x:5:5::/second:", 5, Some("/a"));
        check("short:x:5\n\n:::::\na:x:5:5::/a:", 5, Some("/a"));
        check("a:x:5:5::relative:\na:x:5:5::/a:", 5, Some("/a"));
        check("a:x:5:5::/a\0b:", 5, None);
    }

    #[test]
    fn lines_are_of_any_length() {
        let long = "c".repeat(100_000);
        let file = format!("{long}\na:{long}:1:1:{long}:/a:{long}\nb:x:5:5:{long}:/b:/bin/sh\n");
        assert_eq!(search(file.as_bytes(), 1), Some(Some("/a".into())));
        assert_eq!(search(file.as_bytes(), 5), Some(Some("/b".into())));
        assert_eq!(search(format!("a:x:5:5::/{long}:").as_bytes(), 5), Some(None));
        let longest = "h".repeat(LONGEST_HOME - 1);
        assert_eq!(search(format!("a:x:5:5::/{longest}:").as_bytes(), 5), Some(Some(format!("/{longest}"))));
        assert_eq!(search(&[0; 100_000], 0), None);
        assert_eq!(search(&[b':'; 100_000], 0), None);
        assert_eq!(search(&b"0".repeat(100_000), 0), None);
    }
}
