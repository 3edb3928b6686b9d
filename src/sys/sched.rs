//! How the kernel schedules us: sched_setattr(2), ioprio_set(2).

use super::{Call, Fail, gate};

/// struct sched_attr of linux/sched/types.h, as of Linux 3.14.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SchedAttr {
    pub size: u32,
    pub policy: u32,
    pub flags: u64,
    pub nice: i32,
    pub priority: u32,
    /// Nanoseconds, like the two after it.
    pub runtime: u64,
    pub deadline: u64,
    pub period: u64,
}

/// sched_setattr(2) on ourselves.
pub fn set_scheduler(attr: &SchedAttr) -> Result<(), Fail> {
    // SAFETY: attr is as large as its own field says and outlives the call.
    gate(Call::SchedSetattr, unsafe {
        libc::syscall(libc::SYS_sched_setattr, 0, std::ptr::from_ref(attr), 0)
    })
    .map(drop)
}

/// ioprio_set(2) on ourselves: class and priority in one number (ioprio_set(2), IOPRIO_PRIO_VALUE).
pub fn set_io_priority(value: i32) -> Result<(), Fail> {
    const IOPRIO_WHO_PROCESS: i32 = 1; // linux/ioprio.h
    // SAFETY: only integers go in.
    gate(Call::Ioprio, unsafe {
        libc::syscall(libc::SYS_ioprio_set, IOPRIO_WHO_PROCESS, 0, value)
    })
    .map(drop)
}
