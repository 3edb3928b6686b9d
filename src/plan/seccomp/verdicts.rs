//! What a program of classic BPF answers to each system call number, as far as numbers alone decide. The kernel
//! asks the same of a filter when it is installed (seccomp_is_const_allow in kernel/seccomp.c).

// struct seccomp_data, and instructions by their parts' names in linux/bpf_common.h.
pub const DATA_NUMBER: u32 = 0;
pub const DATA_ARCH: u32 = 4;
pub const LD_W_ABS: u16 = 0x20;
pub const JA: u16 = 0x05;
pub const JEQ_K: u16 = 0x15;
pub const JGT_K: u16 = 0x25;
pub const JGE_K: u16 = 0x35;
pub const JSET_K: u16 = 0x45;
pub const RET_K: u16 = 0x06;

/// struct sock_filter of linux/filter.h. Jumps go forward, counted from the next instruction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Instruction {
    pub code: u16,
    /// How far a comparison that holds jumps.
    pub jt: u8,
    /// How far one that doesn't hold jumps.
    pub jf: u8,
    pub k: u32,
}

/// sizeof(struct sock_filter).
pub const INSTRUCTION: usize = 8;

impl Instruction {
    pub fn read(bytes: &[u8; INSTRUCTION]) -> Instruction {
        let [c0, c1, jt, jf, k @ ..] = *bytes;
        Instruction { code: u16::from_ne_bytes([c0, c1]), jt, jf, k: u32::from_ne_bytes(k) }
    }

    pub fn write(self, program: &mut Vec<u8>) {
        program.extend(self.code.to_ne_bytes());
        program.extend([self.jt, self.jf]);
        program.extend(self.k.to_ne_bytes());
    }
}

/// The answer to a number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// One of SECCOMP_RET_*, whatever the arguments.
    Return(u32),
    /// What the rest of the program says, from this instruction on, which needs nothing of those before.
    Continue(usize),
}

/// All numbers in order: the verdict holds from its number up to the next one's.
pub type Verdicts = Vec<(u32, Verdict)>;

/// The verdicts of `program` for calls of the architecture with this AUDIT_ARCH_* token.
pub fn verdicts(program: &[Instruction], arch: u32) -> Verdicts {
    // Only comparisons tell numbers apart, so an answer can change only at a compared number or behind it.
    let compared = program
        .iter()
        .filter(|i| matches!(i.code, JEQ_K | JGT_K | JGE_K))
        .flat_map(|i| [Some(i.k), i.k.checked_add(1)]);
    let mut starts: Vec<u32> = compared.flatten().chain([0]).collect();
    starts.sort_unstable();
    starts.dedup();
    let mut verdicts: Verdicts =
        starts.into_iter().map(|number| (number, verdict(program, arch, number))).collect();
    verdicts.dedup_by_key(|(_, verdict)| *verdict);
    verdicts
}

fn verdict(program: &[Instruction], arch: u32, number: u32) -> Verdict {
    let (mut at, mut accumulator) = (0, 0);
    while let Some(i) = program.get(at) {
        let jump = |holds: bool| usize::from(if holds { i.jt } else { i.jf });
        let skip = match i.code {
            LD_W_ABS if i.k == DATA_NUMBER => {
                accumulator = number;
                0
            }
            LD_W_ABS if i.k == DATA_ARCH => {
                accumulator = arch;
                0
            }
            LD_W_ABS => return Verdict::Continue(at), // an argument; what was loaded before is forgotten
            JA => i.k as usize,
            JEQ_K => jump(accumulator == i.k),
            JGT_K => jump(accumulator > i.k),
            JGE_K => jump(accumulator >= i.k),
            RET_K => return Verdict::Return(i.k),
            _ => break,
        };
        at += 1 + skip;
    }
    Verdict::Continue(0) // not understood here: the whole program must be asked
}

/// Lets `verdict` hold from `first` on.
pub fn from(verdicts: &mut Verdicts, first: u32, verdict: Verdict) {
    verdicts.retain(|(number, _)| *number < first);
    if verdicts.last().is_none_or(|(_, last)| *last != verdict) {
        verdicts.push((first, verdict));
    }
}

/// The part of `verdicts` that begins at `first`.
pub fn since(mut verdicts: Verdicts, first: u32) -> Verdicts {
    let before = verdicts.iter().rposition(|(number, _)| *number <= first);
    verdicts.drain(..before.unwrap_or(0));
    if let Some((number, _)) = verdicts.first_mut() {
        *number = first;
    }
    verdicts
}
