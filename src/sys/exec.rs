//! From us to another program.

use std::cell::Cell;
use std::ffi::{CStr, CString, c_char};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::ptr;

use super::clone::{self, Who};
use super::{Call, Errno, Fail, Pid, fs, ids, process, signals};

/// A NULL-terminated array of C strings, as execve(2) wants it, with its strings.
#[derive(Debug)]
pub struct CArray {
    strings: Vec<CString>,
    hole: Option<Box<[Cell<u8>]>>,
    pointers: Vec<*const c_char>,
}

impl CArray {
    pub fn new(strings: Vec<CString>) -> CArray {
        let pointers = strings.iter().map(|s| s.as_ptr()).chain([ptr::null()]).collect();
        CArray { strings, hole: None, pointers }
    }

    /// With one more string at the end that is `initial` until the child writes another into its place
    /// ([`CArray::fill`]), of up to `capacity` bytes: a value that is known only in there.
    pub fn with_hole(strings: Vec<CString>, initial: &CStr, capacity: usize) -> CArray {
        let mut array = CArray::new(strings);
        let mut bytes = initial.to_bytes().to_vec();
        bytes.resize(capacity.max(bytes.len()) + 1, 0);
        let hole: Box<[Cell<u8>]> = bytes.into_iter().map(Cell::new).collect();
        array.pointers.insert(array.strings.len(), hole.as_ptr().cast());
        array.hole = Some(hole);
        array
    }

    /// Writes the string of the hole; one that doesn't fit, or holds a NUL, is not taken.
    pub fn fill(&self, parts: [&[u8]; 2]) -> bool {
        let Some(hole) = &self.hole else { return false };
        let bytes = || parts[0].iter().chain(parts[1]);
        if bytes().count() >= hole.len() || bytes().any(|b| *b == 0) {
            return false;
        }
        for (cell, byte) in hole.iter().zip(bytes().chain([&0])) {
            cell.set(*byte);
        }
        true
    }

    pub fn strings(&self) -> &[CString] {
        &self.strings
    }

    pub fn has_hole(&self) -> bool {
        self.hole.is_some()
    }
}

impl PartialEq for CArray {
    fn eq(&self, other: &CArray) -> bool {
        self.strings == other.strings && self.has_hole() == other.has_hole()
    }
}

/// execve(2): returns only what went wrong.
pub fn exec(path: &CStr, argv: &CArray, envp: &CArray) -> Fail {
    // SAFETY: path and every string are NUL-terminated (a hole is never filled to its last byte), both arrays
    // end in NULL, and all of them outlive the call.
    unsafe { libc::execve(path.as_ptr(), argv.pointers.as_ptr(), envp.pointers.as_ptr()) };
    Fail::new(Call::Exec, Errno::last())
}

unsafe extern "C" {
    /// environ(7), as we were started with it.
    static environ: *const *const c_char;
}

/// execveat(2) of the file behind `file`, with our own environment: returns only what went wrong.
pub fn exec_fd(file: BorrowedFd, argv: &CArray) -> Fail {
    // SAFETY: rrunc has one thread and changes no variable, so that environ is as the kernel has made it; argv
    // is as for execve above. The path is a static empty string.
    unsafe {
        libc::syscall(
            libc::SYS_execveat,
            file.as_raw_fd(),
            c"".as_ptr(),
            argv.pointers.as_ptr(),
            environ,
            libc::AT_EMPTY_PATH,
        );
    }
    Fail::new(Call::Exec, Errno::last())
}

/// A program for [`spawn`].
pub struct Program<'a> {
    pub path: &'a CStr,
    pub argv: &'a CArray,
    pub envp: &'a CArray,
    /// Its working directory.
    pub directory: &'a CStr,
    pub stdio: [BorrowedFd<'a>; 3],
}

/// A child that executes a program, as the leader of a process group, with no signal blocked. Unlike the standard
/// library's it tells which call has failed.
pub fn spawn(program: &Program) -> Result<(Pid, OwnedFd), Fail> {
    let (refusal, ours) = fs::pipe()?;
    match clone::fork(0, None)? {
        Who::Child => {
            let fail = execute(program);
            let _ = fs::write(ours.as_fd(), &fail.to_bytes()); // then our status says that something is wrong
            clone::exit(127)
        }
        Who::Parent(pid, pidfd) => {
            drop(ours);
            let mut said = [0; Fail::BYTES];
            let fail = match fs::read(refusal.as_fd(), &mut said) {
                Ok(0) => return Ok((pid, pidfd)), // closed by its execve
                Ok(_) => Fail::from_bytes(said).unwrap_or(Fail::new(Call::Read, Errno::EBADMSG)),
                Err(fail) => fail,
            };
            process::kill_and_reap(pidfd.as_fd());
            Err(fail)
        }
    }
}

fn execute(program: &Program) -> Fail {
    let ready = ids::lead_process_group()
        .and_then(|()| fs::chdir(program.directory))
        .and_then(|()| {
            let mut numbers = program.stdio.iter().zip(0..);
            numbers.try_for_each(|(fd, number)| fs::dup_onto(*fd, number, true))
        })
        .and_then(|()| signals::as_std_found_them());
    match ready {
        Ok(()) => exec(program.path, program.argv, program.envp),
        Err(fail) => fail,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hole_takes_what_fits() {
        let array = CArray::with_hole(vec![c"A=1".into()], c"HOME=/", 10);
        assert!(array.fill([b"HOME=", b"/root"]));
        assert!(!array.fill([b"HOME=", b"/a/longer/path"]));
        assert!(!array.fill([b"HOME=", b"/\0x"]));
        assert!(!CArray::new(vec![]).fill([b"", b""]));
    }
}
