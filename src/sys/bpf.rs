//! bpf(2), as far as a device program needs it: instructions, loading, attaching, replacing. Not for the child.

use std::mem::size_of;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use super::{Call, Fail, gate, gate_fd};

/// struct bpf_insn of linux/bpf.h.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Instruction {
    code: u8,
    registers: u8, // destination in the low half, source in the high half
    offset: i16,
    immediate: i32,
}

// Opcodes by the kernel's names (linux/bpf.h, linux/bpf_common.h), with what they are made of.
const LDX_MEM_W: u8 = 0x61; // BPF_LDX | BPF_MEM | BPF_W
const MOV32_X: u8 = 0xbc; // BPF_ALU | BPF_MOV | BPF_X
const MOV32_K: u8 = 0xb4; // BPF_ALU | BPF_MOV | BPF_K
const AND32_K: u8 = 0x54; // BPF_ALU | BPF_AND | BPF_K
const RSH32_K: u8 = 0x74; // BPF_ALU | BPF_RSH | BPF_K
const JA: u8 = 0x05; // BPF_JMP | BPF_JA
const JNE32_K: u8 = 0x56; // BPF_JMP32 | BPF_JNE | BPF_K
const JEQ32_K: u8 = 0x16; // BPF_JMP32 | BPF_JEQ | BPF_K
const JSET32_K: u8 = 0x46; // BPF_JMP32 | BPF_JSET | BPF_K
const EXIT: u8 = 0x95; // BPF_JMP | BPF_EXIT

impl Instruction {
    const fn new(code: u8, destination: u8, source: u8, offset: i16, immediate: i32) -> Instruction {
        Instruction { code, registers: destination | source << 4, offset, immediate }
    }
    pub const fn load32(to: u8, from: u8, offset: i16) -> Instruction {
        Instruction::new(LDX_MEM_W, to, from, offset, 0)
    }
    pub const fn copy32(to: u8, from: u8) -> Instruction {
        Instruction::new(MOV32_X, to, from, 0, 0)
    }
    pub const fn set32(to: u8, value: i32) -> Instruction {
        Instruction::new(MOV32_K, to, 0, 0, value)
    }
    pub const fn and32(to: u8, mask: i32) -> Instruction {
        Instruction::new(AND32_K, to, 0, 0, mask)
    }
    pub const fn shift_right32(to: u8, bits: i32) -> Instruction {
        Instruction::new(RSH32_K, to, 0, 0, bits)
    }
    // Jumps; how far is said by `jumping`.
    pub const fn jump() -> Instruction {
        Instruction::new(JA, 0, 0, 0, 0)
    }
    pub const fn jump_unless_equal(register: u8, value: i32) -> Instruction {
        Instruction::new(JNE32_K, register, 0, 0, value)
    }
    pub const fn jump_if_equal(register: u8, value: i32) -> Instruction {
        Instruction::new(JEQ32_K, register, 0, 0, value)
    }
    pub const fn jump_if_any(register: u8, mask: i32) -> Instruction {
        Instruction::new(JSET32_K, register, 0, 0, mask)
    }
    pub const fn exit() -> Instruction {
        Instruction::new(EXIT, 0, 0, 0, 0)
    }
    /// The same jump over so many instructions.
    pub fn jumping(self, over: i16) -> Instruction {
        Instruction { offset: over, ..self }
    }
}

// Commands and types of bpf(2).
const BPF_PROG_LOAD: i32 = 5;
const BPF_PROG_ATTACH: i32 = 8;
const BPF_PROG_DETACH: i32 = 9;
const BPF_PROG_GET_FD_BY_ID: i32 = 13;
const BPF_PROG_QUERY: i32 = 16;
const BPF_PROG_TYPE_CGROUP_DEVICE: u32 = 15;
const BPF_CGROUP_DEVICE: u32 = 6;
/// Programs of cgroups above stay in force too, and several may be attached to one cgroup.
const BPF_F_ALLOW_MULTI: u32 = 1 << 1;
/// Since Linux 5.6.
const BPF_F_REPLACE: u32 = 1 << 2;

/// The head of union bpf_attr for BPF_PROG_LOAD.
#[repr(C)]
struct LoadAttr {
    prog_type: u32,
    insn_cnt: u32,
    insns: u64,
    license: u64,
    log_level: u32,
    log_size: u32,
    log_buf: u64,
    kern_version: u32,
    prog_flags: u32,
}

/// The head of union bpf_attr for BPF_PROG_ATTACH and BPF_PROG_DETACH.
#[repr(C)]
struct AttachAttr {
    target_fd: u32,
    attach_bpf_fd: u32,
    attach_type: u32,
    attach_flags: u32,
    replace_bpf_fd: u32,
}

/// The head of union bpf_attr for BPF_PROG_QUERY.
#[repr(C)]
struct QueryAttr {
    target_fd: u32,
    attach_type: u32,
    query_flags: u32,
    attach_flags: u32,
    prog_ids: u64,
    prog_cnt: u32,
}

/// The head of union bpf_attr for BPF_PROG_GET_FD_BY_ID.
#[repr(C)]
struct GetFdAttr {
    prog_id: u32,
    next_id: u32,
    open_flags: u32,
}

fn bpf<A>(command: i32, attr: &mut A) -> Result<i64, Fail> {
    // SAFETY: attr is one of the structs above, as large as we say and writable; what it points to is borrowed
    // by the callers for longer than the call.
    gate(Call::Bpf, unsafe {
        libc::syscall(libc::SYS_bpf, command, std::ptr::from_mut(attr), size_of::<A>())
    })
}

/// Loads a device program and attaches it to the cgroup behind `cgroup`, where it lives as long as that.
pub fn attach_device_program(cgroup: BorrowedFd, program: &[Instruction]) -> Result<(), Fail> {
    attach(cgroup, load(program)?.as_fd(), None)
}

/// As [`attach_device_program`], in place of those that are attached to this very cgroup. At no time is there
/// none of them.
pub fn replace_device_programs(cgroup: BorrowedFd, program: &[Instruction]) -> Result<(), Fail> {
    let program = load(program)?;
    let old = device_programs(cgroup)?;
    if let [only] = old.as_slice() {
        return attach(cgroup, program.as_fd(), Some(only.as_fd()));
    }
    attach(cgroup, program.as_fd(), None)?;
    old.iter().try_for_each(|old| detach(cgroup, old.as_fd()))
}

/// Detaches all device programs of this very cgroup.
pub fn detach_device_programs(cgroup: BorrowedFd) -> Result<(), Fail> {
    let old = device_programs(cgroup)?;
    old.iter().try_for_each(|old| detach(cgroup, old.as_fd()))
}

fn attach(cgroup: BorrowedFd, program: BorrowedFd, instead: Option<BorrowedFd>) -> Result<(), Fail> {
    let mut attr = AttachAttr {
        target_fd: cgroup.as_raw_fd() as u32,
        attach_bpf_fd: program.as_raw_fd() as u32,
        attach_type: BPF_CGROUP_DEVICE,
        attach_flags: BPF_F_ALLOW_MULTI | if instead.is_some() { BPF_F_REPLACE } else { 0 },
        replace_bpf_fd: instead.map_or(0, |old| old.as_raw_fd() as u32),
    };
    bpf(BPF_PROG_ATTACH, &mut attr).map(drop)
}

fn detach(cgroup: BorrowedFd, program: BorrowedFd) -> Result<(), Fail> {
    let mut attr = AttachAttr {
        target_fd: cgroup.as_raw_fd() as u32,
        attach_bpf_fd: program.as_raw_fd() as u32,
        attach_type: BPF_CGROUP_DEVICE,
        attach_flags: 0,
        replace_bpf_fd: 0,
    };
    bpf(BPF_PROG_DETACH, &mut attr).map(drop)
}

/// The device programs that are attached to this very cgroup: 64 at most (BPF_CGROUP_MAX_PROGS).
fn device_programs(cgroup: BorrowedFd) -> Result<Vec<OwnedFd>, Fail> {
    let mut ids = [0u32; 64];
    let mut attr = QueryAttr {
        target_fd: cgroup.as_raw_fd() as u32,
        attach_type: BPF_CGROUP_DEVICE,
        query_flags: 0,
        attach_flags: 0,
        prog_ids: ids.as_mut_ptr() as u64,
        prog_cnt: ids.len() as u32,
    };
    bpf(BPF_PROG_QUERY, &mut attr)?;
    let ids = ids.iter().take(attr.prog_cnt as usize);
    ids.map(|id| {
        let mut attr = GetFdAttr { prog_id: *id, next_id: 0, open_flags: 0 };
        let fd = bpf(BPF_PROG_GET_FD_BY_ID, &mut attr)?;
        gate_fd(Call::Bpf, fd)
    })
    .collect()
}

fn load(program: &[Instruction]) -> Result<OwnedFd, Fail> {
    let mut attr = LoadAttr {
        prog_type: BPF_PROG_TYPE_CGROUP_DEVICE,
        insn_cnt: program.len() as u32,
        insns: program.as_ptr() as u64,
        license: c"Apache-2.0".as_ptr() as u64,
        log_level: 0,
        log_size: 0,
        log_buf: 0,
        kern_version: 0,
        prog_flags: 0,
    };
    let fd = bpf(BPF_PROG_LOAD, &mut attr)?;
    gate_fd(Call::Bpf, fd)
}

/// What a program answers for a context of 32-bit words, for tests of those who write programs.
#[cfg(test)]
pub fn interpret(program: &[Instruction], context: &[u32]) -> Option<u32> {
    let mut registers = [0u32; 11];
    let mut at = 0usize;
    for _ in 0..10_000 {
        let i = *program.get(at)?;
        at += 1;
        let (to, from) = (usize::from(i.registers & 15), usize::from(i.registers >> 4));
        match i.code {
            LDX_MEM_W => registers[to] = *context.get(usize::try_from(i.offset).ok()? / 4)?,
            MOV32_X => registers[to] = registers[from],
            MOV32_K => registers[to] = i.immediate as u32,
            AND32_K => registers[to] &= i.immediate as u32,
            RSH32_K => registers[to] >>= i.immediate,
            JA | JNE32_K | JEQ32_K | JSET32_K => {
                let (value, immediate) = (registers[to], i.immediate as u32);
                let jumps = match i.code {
                    JNE32_K => value != immediate,
                    JEQ32_K => value == immediate,
                    JSET32_K => value & immediate != 0,
                    _ => true,
                };
                at += if jumps { usize::try_from(i.offset).ok()? } else { 0 };
            }
            EXIT => return Some(registers[0]),
            _ => return None,
        }
    }
    None
}
