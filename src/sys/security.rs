//! seccomp(2).
use super::{Call, Fail, gate};

/// seccomp(2) with SECCOMP_SET_MODE_FILTER: `program` is an array of struct sock_filter.
pub fn seccomp_set_filter(flags: u32, program: &[u8]) -> Result<(), Fail> {
    let filter = libc::sock_fprog {
        len: (program.len() / 8) as u16,
        filter: program.as_ptr().cast_mut().cast(),
    };
    // SAFETY: filter points to len instructions of 8 bytes, which the kernel copies.
    gate(Call::Seccomp, unsafe {
        libc::syscall(
            libc::SYS_seccomp,
            libc::SECCOMP_SET_MODE_FILTER,
            flags,
            &raw const filter,
        )
    })
    .map(drop)
}
