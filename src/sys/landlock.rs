//! Landlock: landlock_create_ruleset(2), landlock_add_rule(2), landlock_restrict_self(2). libc has their numbers, and
//! not their types.

use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};
use std::ptr::null;

use super::{Call, Fail, gate, gate_fd};

/// struct landlock_ruleset_attr of linux/landlock.h, as of ABI 6.
#[repr(C)]
struct RulesetAttr {
    handled_access_fs: u64,
    handled_access_net: u64,
    scoped: u64,
}

/// struct landlock_path_beneath_attr, which is packed.
#[repr(C, packed)]
struct PathBeneath {
    allowed_access: u64,
    parent_fd: i32,
}

/// struct landlock_net_port_attr.
#[repr(C)]
struct NetPort {
    allowed_access: u64,
    port: u64,
}

const CREATE_RULESET_VERSION: u32 = 1;
const RULE_PATH_BENEATH: i32 = 1;
const RULE_NET_PORT: i32 = 2;

/// The newest ABI that the kernel has; 0 if there is no Landlock.
pub fn abi() -> i32 {
    // SAFETY: with this flag the kernel wants no attributes.
    let version = unsafe {
        libc::syscall(libc::SYS_landlock_create_ruleset, null::<RulesetAttr>(), 0, CREATE_RULESET_VERSION)
    };
    version.max(0) as i32
}

/// A ruleset that forbids these accesses. `size` is how much of the attributes the kernel's ABI knows.
pub fn create_ruleset(files: u64, net: u64, scopes: u64, size: usize) -> Result<OwnedFd, Fail> {
    let attr = RulesetAttr { handled_access_fs: files, handled_access_net: net, scoped: scopes };
    // SAFETY: attr is readable for size bytes, which are at most its own.
    let fd = unsafe {
        libc::syscall(
            libc::SYS_landlock_create_ruleset,
            &raw const attr,
            size.min(size_of::<RulesetAttr>()),
            0,
        )
    };
    gate_fd(Call::Landlock, fd)
}

/// Allows `access` to the file or directory behind `path` and all below it.
pub fn allow_path(ruleset: BorrowedFd, path: BorrowedFd, access: u64) -> Result<(), Fail> {
    let attr = PathBeneath { allowed_access: access, parent_fd: path.as_raw_fd() };
    // SAFETY: attr is laid out as the kernel expects for this type, and outlives the call.
    gate(Call::Landlock, unsafe {
        libc::syscall(libc::SYS_landlock_add_rule, ruleset.as_raw_fd(), RULE_PATH_BENEATH, &raw const attr, 0)
    })
    .map(drop)
}

/// Allows `access` to a TCP port.
pub fn allow_port(ruleset: BorrowedFd, port: u16, access: u64) -> Result<(), Fail> {
    let attr = NetPort { allowed_access: access, port: u64::from(port) };
    // SAFETY: attr is laid out as the kernel expects for this type, and outlives the call.
    gate(Call::Landlock, unsafe {
        libc::syscall(libc::SYS_landlock_add_rule, ruleset.as_raw_fd(), RULE_NET_PORT, &raw const attr, 0)
    })
    .map(drop)
}

/// From here on the ruleset is in force. EPERM without no_new_privs or CAP_SYS_ADMIN.
pub fn restrict_self(ruleset: BorrowedFd) -> Result<(), Fail> {
    // SAFETY: only integers go in.
    gate(Call::Landlock, unsafe { libc::syscall(libc::SYS_landlock_restrict_self, ruleset.as_raw_fd(), 0) })
        .map(drop)
}
