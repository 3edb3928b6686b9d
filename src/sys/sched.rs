//! How the kernel schedules us: sched_setattr(2), ioprio_set(2).

use std::fmt;

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

/// CPUs (sched_setaffinity(2)) up to the largest CONFIG_NR_CPUS, or memory nodes (set_mempolicy(2)), of which there are
/// fewer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NumberList([u64; 128]);

impl NumberList {
    /// Those of a list such as `0-3,7` (cpuset(7), "List format"); `None` if it is no list, or has higher numbers.
    pub fn parse(list: &str) -> Option<NumberList> {
        let mut mask = NumberList([0; 128]);
        for part in list.trim().split(',').map(str::trim) {
            let (first, last) = part.split_once('-').unwrap_or((part, part));
            let (first, last) = (first.parse::<usize>().ok()?, last.parse::<usize>().ok()?);
            if first > last {
                return None;
            }
            for cpu in first..=last {
                *mask.0.get_mut(cpu / 64)? |= 1 << (cpu % 64);
            }
        }
        Some(mask)
    }
}

impl fmt::Display for NumberList {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let all = 0..self.0.len() * 64;
        let cpus = all.filter(|cpu| self.0[cpu / 64] & (1 << (cpu % 64)) != 0);
        let names: Vec<_> = cpus.map(|cpu| cpu.to_string()).collect();
        f.write_str(&names.join(","))
    }
}

/// sched_setaffinity(2) of ourselves. EINVAL: none of these CPUs is there, or the cpuset allows none.
pub fn set_affinity(cpus: &NumberList) -> Result<(), Fail> {
    // SAFETY: the mask is readable for the length that we give.
    gate(Call::SchedSetaffinity, unsafe {
        libc::syscall(libc::SYS_sched_setaffinity, 0, size_of_val(&cpus.0), cpus.0.as_ptr())
    })
    .map(drop)
}

/// set_mempolicy(2): `mode` is one of MPOL_* with MPOL_F_* flags. EINVAL: the mode and the nodes don't go together, or no
/// such node is there.
pub fn set_memory_policy(mode: i32, nodes: Option<&NumberList>) -> Result<(), Fail> {
    const MAX_NODES: usize = 1024; // CONFIG_NODES_SHIFT is at most 10
    let mask = nodes.map_or(std::ptr::null(), |nodes| nodes.0.as_ptr());
    // SAFETY: the mask is null, or readable for more bits than we say.
    gate(Call::SetMempolicy, unsafe {
        libc::syscall(libc::SYS_set_mempolicy, mode, mask, if mask.is_null() { 0 } else { MAX_NODES })
    })
    .map(drop)
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
    gate(Call::Ioprio, unsafe { libc::syscall(libc::SYS_ioprio_set, IOPRIO_WHO_PROCESS, 0, value) }).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_of_cpus() {
        let check = |list: &str, expected: Option<&str>| {
            assert_eq!(NumberList::parse(list).map(|mask| mask.to_string()).as_deref(), expected, "{list}");
        };
        check("0", Some("0"));
        check("0-3,7", Some("0,1,2,3,7"));
        check(" 1, 64 - 65", None);
        check("64-65", Some("64,65"));
        check("3-1", None);
        check("", None);
        check("a", None);
        check("8192", None);
    }
}
