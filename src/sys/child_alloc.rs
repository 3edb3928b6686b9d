//! In debug builds: an allocator that ends the process if it is asked for memory in a child of `spawn`. That
//! the child allocates nothing is thereby shown by every test that a debug build runs.

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicBool, Ordering};

struct Guard;

static IN_CHILD: AtomicBool = AtomicBool::new(false);

#[global_allocator]
static GUARD: Guard = Guard;

/// From here on this process may not allocate. There is no way back.
pub fn forbid() {
    IN_CHILD.store(true, Ordering::Relaxed);
}

fn check() {
    if IN_CHILD.load(Ordering::Relaxed) {
        const MESSAGE: &[u8] = b"rrunc: bug: the container's process allocated memory\n";
        // SAFETY: the message is readable for its length; kill ends us at once.
        unsafe {
            libc::write(2, MESSAGE.as_ptr().cast(), MESSAGE.len());
            libc::abort();
        }
    }
}

// SAFETY: every call goes to the system's allocator unchanged, or ends the process.
unsafe impl GlobalAlloc for Guard {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        check();
        // SAFETY: the caller's promise is passed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        check();
        // SAFETY: the caller's promise is passed on.
        unsafe { System.dealloc(pointer, layout) }
    }
}
