//! A page that a parent and its child both see.

use std::ptr::{self, NonNull};
use std::sync::atomic::{AtomicU32, Ordering};

use super::{Call, Errno, Fail};

/// One number that a child writes and its parent can read after the child's death: the step (from 0) that it was at.
#[derive(Debug)]
pub struct Progress(NonNull<AtomicU32>);

const PAGE: usize = 4096;

impl Progress {
    /// mmap(2) of one shared anonymous page.
    pub fn new() -> Result<Progress, Fail> {
        let (protection, flags) =
            (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_SHARED | libc::MAP_ANONYMOUS);
        // SAFETY: a new anonymous mapping overlaps nothing.
        let page = unsafe { libc::mmap(ptr::null_mut(), PAGE, protection, flags, -1, 0) };
        if page == libc::MAP_FAILED {
            return Err(Fail::new(Call::Mmap, Errno::last()));
        }
        NonNull::new(page.cast()).map(Progress).ok_or(Fail::new(Call::Mmap, Errno::EFAULT))
    }

    pub fn set(&self, step: u16) {
        // SAFETY: the page is mapped, zero-initialised and aligned until drop.
        unsafe { self.0.as_ref() }.store(u32::from(step) + 1, Ordering::Relaxed);
    }

    /// `None`: the child never came to do anything.
    pub fn get(&self) -> Option<u16> {
        // SAFETY: as in `set`.
        let stored = unsafe { self.0.as_ref() }.load(Ordering::Relaxed);
        stored.checked_sub(1).and_then(|step| u16::try_from(step).ok())
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        // SAFETY: we made this mapping, and the borrow checker knows of no user of it any more.
        unsafe { libc::munmap(self.0.as_ptr().cast(), PAGE) };
    }
}
