//! Who a process is: ids, capabilities, session, keyring, personality. The raw calls, since the C library's
//! would try to act on all threads of a process that it does not know.

use std::ffi::CStr;
use std::os::fd::{AsRawFd, BorrowedFd};

use super::{Call, Errno, Fail, Gid, Pid, Uid, gate};

/// geteuid(2).
pub fn euid() -> Uid {
    Uid(nix::unistd::geteuid().as_raw())
}

/// getegid(2).
pub fn egid() -> Gid {
    Gid(nix::unistd::getegid().as_raw())
}

/// setgroups(2).
pub fn setgroups(groups: &[Gid]) -> Result<(), Fail> {
    // SAFETY: Gid is a transparent u32; the slice is readable for the length that we give.
    gate(Call::Setgroups, unsafe { libc::syscall(libc::SYS_setgroups, groups.len(), groups.as_ptr()) })
        .map(drop)
}

/// setresgid(2), all three the same.
pub fn setgid(gid: Gid) -> Result<(), Fail> {
    // SAFETY: only integers go in.
    gate(Call::Setgid, unsafe { libc::syscall(libc::SYS_setresgid, gid.0, gid.0, gid.0) }).map(drop)
}

/// setresuid(2), all three the same.
pub fn setuid(uid: Uid) -> Result<(), Fail> {
    // SAFETY: only integers go in.
    gate(Call::Setuid, unsafe { libc::syscall(libc::SYS_setresuid, uid.0, uid.0, uid.0) }).map(drop)
}

/// setpgid(2) of ourselves.
pub fn lead_process_group() -> Result<(), Fail> {
    // SAFETY: only integers go in.
    gate(Call::Setpgid, unsafe { libc::setpgid(0, 0) }).map(drop)
}

/// setsid(2).
pub fn setsid() -> Result<(), Fail> {
    // SAFETY: nothing goes in.
    gate(Call::Setsid, unsafe { libc::setsid() }).map(drop)
}

/// umask(2), which can't fail. Gives the one before.
pub fn umask(mask: u32) -> u32 {
    // SAFETY: only an integer goes in.
    unsafe { libc::umask(mask) }
}

/// prctl(2) with integers only.
pub fn prctl(option: i32, a: u64, b: u64) -> Result<i32, Fail> {
    // SAFETY: the options that callers pass take integers, not pointers.
    gate(Call::Prctl, unsafe { libc::prctl(option, a, b, 0u64, 0u64) })
}

/// prctl(2) PR_SET_NAME: what ps shows of this thread, 15 bytes of it.
pub fn set_name(name: &std::ffi::CStr) -> Result<(), Fail> {
    // SAFETY: name is NUL-terminated and outlives the call.
    gate(Call::Prctl, unsafe { libc::prctl(libc::PR_SET_NAME, name.as_ptr()) }).map(drop)
}

/// Whether the user namespace that we are in isn't the host's own: that has always the same number since Linux 3.8
/// (USER_NS_INIT_INO of linux/nsfs.h). Without a procfs nobody can tell, and it counts as the host's.
pub fn in_user_namespace() -> bool {
    let mut buffer = [0; 32];
    let link = super::fs::readlink(super::fs::cwd(), c"/proc/self/ns/user", &mut buffer);
    link.is_ok_and(|link| link != b"user:[4026531837]")
}

/// Capability sets as bit masks, bit n for capability n (capabilities(7)).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CapSets {
    pub effective: u64,
    pub permitted: u64,
    pub inheritable: u64,
}

#[repr(C)]
struct CapHeader {
    version: u32,
    pid: i32,
}

#[repr(C)]
#[derive(Clone, Copy, Default)]
struct CapData {
    effective: u32,
    permitted: u32,
    inheritable: u32,
}

/// _LINUX_CAPABILITY_VERSION_3 of linux/capability.h: two records of 32 bits each.
static CAP_HEADER: CapHeader = CapHeader { version: 0x2008_0522, pid: 0 };

/// capset(2) on ourselves.
pub fn capset(sets: &CapSets) -> Result<(), Fail> {
    let half = |shift: u32| CapData {
        effective: (sets.effective >> shift) as u32,
        permitted: (sets.permitted >> shift) as u32,
        inheritable: (sets.inheritable >> shift) as u32,
    };
    let data = [half(0), half(32)];
    // SAFETY: header and data are laid out as version 3 asks and outlive the call.
    gate(Call::Capset, unsafe { libc::syscall(libc::SYS_capset, &raw const CAP_HEADER, data.as_ptr()) })
        .map(drop)
}

/// capget(2) of ourselves.
pub fn capget() -> Result<CapSets, Fail> {
    let mut data = [CapData::default(); 2];
    // SAFETY: header and data are laid out as version 3 asks; data is writable for both records.
    gate(Call::Capget, unsafe { libc::syscall(libc::SYS_capget, &raw const CAP_HEADER, data.as_mut_ptr()) })?;
    let join = |low: u32, high: u32| u64::from(low) | u64::from(high) << 32;
    Ok(CapSets {
        effective: join(data[0].effective, data[1].effective),
        permitted: join(data[0].permitted, data[1].permitted),
        inheritable: join(data[0].inheritable, data[1].inheritable),
    })
}

/// keyctl(2): whether there are keyrings at all (keyrings(7)): asks for the session's without making one.
pub fn has_keyrings() -> bool {
    const KEYCTL_GET_KEYRING_ID: i32 = 0;
    const SESSION: i32 = -3; // KEY_SPEC_SESSION_KEYRING
    // SAFETY: only integers go in.
    let id = unsafe { libc::syscall(libc::SYS_keyctl, KEYCTL_GET_KEYRING_ID, SESSION, 0) };
    id >= 0 || Errno::last() != Errno::ENOSYS
}

/// getrandom(2): what nobody can guess.
pub fn random() -> Result<u128, Fail> {
    let mut bytes = [0u8; 16];
    // SAFETY: bytes is writable for the length that we give. Up to 256 bytes come all at once.
    gate(Call::Getrandom, unsafe { libc::getrandom(bytes.as_mut_ptr().cast(), bytes.len(), 0) })?;
    Ok(u128::from_ne_bytes(bytes))
}

/// keyctl(2): joins the session keyring of this name, a new one if there is none; its serial number.
pub fn join_session_keyring(name: &CStr) -> Result<i64, Fail> {
    const KEYCTL_JOIN_SESSION_KEYRING: i32 = 1; // linux/keyctl.h
    // SAFETY: name is NUL-terminated and outlives the call.
    gate(Call::Keyctl, unsafe { libc::syscall(libc::SYS_keyctl, KEYCTL_JOIN_SESSION_KEYRING, name.as_ptr()) })
}

/// keyctl(2): what may be done with a key, as keyctl_setperm(3) has it.
pub fn set_key_permissions(key: i64, permissions: u32) -> Result<(), Fail> {
    const KEYCTL_SETPERM: i32 = 5;
    // SAFETY: only integers go in.
    gate(Call::Keyctl, unsafe { libc::syscall(libc::SYS_keyctl, KEYCTL_SETPERM, key, permissions) }).map(drop)
}

/// personality(2).
pub fn personality(persona: u64) -> Result<(), Fail> {
    // SAFETY: only an integer goes in.
    gate(Call::Personality, unsafe { libc::personality(persona) }).map(drop)
}

/// sethostname(2).
pub fn sethostname(name: &CStr) -> Result<(), Fail> {
    // SAFETY: name is readable for the length that we give.
    gate(Call::Sethostname, unsafe { libc::sethostname(name.as_ptr(), name.count_bytes()) }).map(drop)
}

/// setdomainname(2).
pub fn setdomainname(name: &CStr) -> Result<(), Fail> {
    // SAFETY: name is readable for the length that we give.
    gate(Call::Setdomainname, unsafe { libc::setdomainname(name.as_ptr(), name.count_bytes()) }).map(drop)
}

/// prlimit64(2) of ourselves: a new limit.
pub fn setrlimit(resource: u32, soft: u64, hard: u64) -> Result<(), Fail> {
    prlimit(Pid(0), resource, soft, hard)
}

/// prlimit64(2): a new limit for `pid`, 0 for ourselves.
pub fn prlimit(pid: Pid, resource: u32, soft: u64, hard: u64) -> Result<(), Fail> {
    let limit = libc::rlimit64 { rlim_cur: soft, rlim_max: hard };
    let none = std::ptr::null_mut::<libc::rlimit64>();
    // SAFETY: limit is read for its own size; no old limit is asked for.
    gate(Call::Prlimit, unsafe {
        libc::syscall(libc::SYS_prlimit64, pid.0, resource, &raw const limit, none)
    })
    .map(drop)
}

/// prlimit64(2): the soft and the hard limit of `pid`, 0 for ourselves.
pub fn getrlimit(pid: Pid, resource: u32) -> Result<(u64, u64), Fail> {
    let mut limit = libc::rlimit64 { rlim_cur: 0, rlim_max: 0 };
    let none = std::ptr::null::<libc::rlimit64>();
    // SAFETY: limit is writable for its own size; no new limit is given.
    gate(Call::Prlimit, unsafe {
        libc::syscall(libc::SYS_prlimit64, pid.0, resource, none, &raw mut limit)
    })?;
    Ok((limit.rlim_cur, limit.rlim_max))
}

/// sched_setaffinity(2) of ourselves to every CPU that the kernel and the cpuset allow.
pub fn reset_affinity() -> Result<(), Fail> {
    let all = [u64::MAX; 128]; // 8,192 CPUs, the largest CONFIG_NR_CPUS
    // SAFETY: the mask is readable for the length that we give.
    gate(Call::SchedSetaffinity, unsafe {
        libc::syscall(libc::SYS_sched_setaffinity, 0, size_of_val(&all), all.as_ptr())
    })
    .map(drop)
}

/// ioctl(2) TIOCSCTTY: this terminal becomes the one of our session.
pub fn set_controlling_terminal(tty: BorrowedFd) -> Result<(), Fail> {
    // SAFETY: only integers go in.
    gate(Call::Ioctl, unsafe { libc::ioctl(tty.as_raw_fd(), libc::TIOCSCTTY, 0) }).map(drop)
}
