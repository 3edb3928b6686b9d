//! The calls that have no safe wrapper: any syscall at all, the flags of a mount, and the size of a terminal.
#![allow(unsafe_code)] // the only file of this crate's binary that may

use std::ffi::CString;

use nix::errno::Errno;

nix::ioctl_read_bad!(tiocgwinsz, libc::TIOCGWINSZ, libc::winsize);

/// Rows and columns of the terminal at `fd`.
pub fn window_size(fd: i32) -> Result<(u16, u16), Errno> {
    let mut size = libc::winsize { ws_row: 0, ws_col: 0, ws_xpixel: 0, ws_ypixel: 0 };
    // SAFETY: the kernel writes one winsize to a live variable of that type.
    unsafe { tiocgwinsz(fd, &mut size) }?;
    Ok((size.ws_row, size.ws_col))
}

macro_rules! numbers {
    ($name:expr, $($call:ident: $number:ident),* $(,)?) => {
        match $name { $(stringify!($call) => Some(libc::$number),)* other => other.parse().ok() }
    };
}

/// The number of a syscall by name, or the number itself if the name is one.
fn number(name: &str) -> Option<libc::c_long> {
    numbers!(
        name, add_key: SYS_add_key, bpf: SYS_bpf, chroot: SYS_chroot, clone3: SYS_clone3, fchmodat: SYS_fchmodat,
        fchownat: SYS_fchownat, getcwd: SYS_getcwd, getpid: SYS_getpid, getpriority: SYS_getpriority,
        gettid: SYS_gettid, ioprio_get: SYS_ioprio_get, keyctl: SYS_keyctl, kill: SYS_kill, mkdirat: SYS_mkdirat,
        mount: SYS_mount, personality: SYS_personality, pivot_root: SYS_pivot_root, prctl: SYS_prctl,
        ptrace: SYS_ptrace, reboot: SYS_reboot, sched_getscheduler: SYS_sched_getscheduler,
        sched_yield: SYS_sched_yield, setdomainname: SYS_setdomainname, setgroups: SYS_setgroups,
        sethostname: SYS_sethostname, setpriority: SYS_setpriority, setuid: SYS_setuid, socket: SYS_socket,
        sync: SYS_sync, umount2: SYS_umount2, unshare: SYS_unshare,
    )
}

/// Makes the call. A word that isn't a number is passed as a pointer to a C string; missing operands are 0.
///
/// Only for calls that read what they point at: one that writes would write into the operand's own bytes.
pub fn syscall(name: &str, operands: &[&str]) -> Option<Result<i64, Errno>> {
    let number = number(name)?;
    let texts: Vec<CString> = operands.iter().map(|o| CString::new(*o).unwrap_or_default()).collect();
    let mut a = [0 as libc::c_long; 6];
    for ((slot, word), text) in a.iter_mut().zip(operands).zip(&texts) {
        *slot = parse(word).unwrap_or(text.as_ptr() as libc::c_long);
    }
    // SAFETY: operands are plain numbers or pointers to C strings that live until the call is over; what a
    // call does to this process (which has no other work) is what the test asked for.
    let got = unsafe { libc::syscall(number, a[0], a[1], a[2], a[3], a[4], a[5]) };
    Some(Errno::result(got))
}

fn parse(word: &str) -> Option<libc::c_long> {
    match word.strip_prefix("0x") {
        Some(hex) => u64::from_str_radix(hex, 16).ok().map(|n| n as libc::c_long),
        None => word.parse().ok(),
    }
}

/// Takes read-only off the mount of the file at `fd`, or of a clone of it, whose fd is returned then.
pub fn make_writable(fd: i32, clone: bool) -> Result<i32, Errno> {
    let fd = if clone {
        let flags = libc::OPEN_TREE_CLONE | libc::AT_EMPTY_PATH as u32;
        // SAFETY: the path is a static C string.
        let got = unsafe { libc::syscall(libc::SYS_open_tree, fd, c"".as_ptr(), flags) };
        Errno::result(got)? as i32
    } else {
        fd
    };
    // attr_set, attr_clr, propagation, userns_fd
    let attr: [u64; 4] = [0, libc::MOUNT_ATTR_RDONLY, 0, 0];
    // SAFETY: the path is a static C string; attr lives, and is as large as is said.
    let got = unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            fd,
            c"".as_ptr(),
            libc::AT_EMPTY_PATH,
            attr.as_ptr(),
            size_of_val(&attr),
        )
    };
    Errno::result(got).map(|_| fd)
}
