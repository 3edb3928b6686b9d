//! What the tests of filters are held against: an interpreter of the kernel's classic BPF, as far as libseccomp
//! uses it; what a profile says in its own words; and the program that libseccomp makes of the whole profile.

use std::collections::BTreeSet;

use super::verdicts::*;
use super::*;

pub const ENOSYS: u32 = SECCOMP_RET_ERRNO | 38;
pub const X86_64: u32 = Arch::ScmpArchX86_64 as u32;
pub const X86: u32 = Arch::ScmpArchX86 as u32;
pub const AARCH64: u32 = Arch::ScmpArchAarch64 as u32;
pub const ARM: u32 = Arch::ScmpArchArm as u32;

pub fn profile(json: &str) -> LinuxSeccomp {
    serde_json::from_str(json).expect(json)
}

pub fn compiled(json: &str) -> Compiled {
    compile(&profile(json)).expect(json)
}

/// A call as the kernel shows it to a filter: struct seccomp_data of seccomp(2).
#[derive(Clone, Copy, Debug)]
pub struct Call {
    pub token: u32,
    pub number: u32,
    pub args: [u64; 6],
}

/// What the kernel answers (linux/filter.h).
pub fn run(program: &[Instruction], call: Call) -> u32 {
    let mut data = [0u32; 16];
    data[0] = call.number;
    data[1] = call.token;
    for (i, arg) in call.args.iter().enumerate() {
        let [a, b, c, d, e, f, g, h] = arg.to_ne_bytes();
        data[4 + 2 * i] = u32::from_ne_bytes([a, b, c, d]);
        data[5 + 2 * i] = u32::from_ne_bytes([e, f, g, h]);
    }
    let (mut at, mut a, mut memory) = (0, 0u32, [0; 16]);
    loop {
        let i = program[at];
        let jump = |holds: bool| usize::from(if holds { i.jt } else { i.jf });
        at += 1;
        match i.code {
            LD_W_ABS => a = data[i.k as usize / 4],
            0x54 => a &= i.k,
            0x02 => memory[i.k as usize] = a,
            0x60 => a = memory[i.k as usize],
            JEQ_K => at += jump(a == i.k),
            JGT_K => at += jump(a > i.k),
            JGE_K => at += jump(a >= i.k),
            JSET_K => at += jump(a & i.k != 0),
            JA => at += i.k as usize,
            RET_K => return i.k,
            other => unreachable!("instruction {other:#x}"),
        }
    }
}

pub fn instructions(filter: &Filter) -> Vec<Instruction> {
    let (chunks, rest) = (filter.program.chunks_exact(INSTRUCTION), filter.program.len() % INSTRUCTION);
    assert_eq!(rest, 0);
    chunks.map(|i| Instruction::read(i.try_into().expect("8 bytes"))).collect()
}

pub fn number_on(arch: ScmpArch, name: &str) -> Option<u32> {
    let call = ScmpSyscall::from_name_by_arch(name, arch).ok()?;
    u32::try_from(call.as_raw_syscall()).ok()
}

/// What the profile says, rule by rule; the first that fits answers.
fn told(profile: &LinuxSeccomp, name: &str, args: [u64; 6]) -> u32 {
    let word = |action: LinuxSeccompAction, errno: Option<u32>| action.as_u32(errno);
    for rule in profile.syscalls().iter().flatten() {
        let given = rule.args().as_deref().unwrap_or_default();
        let mut held = given.iter().map(|arg| {
            let (found, value) = (args[arg.index()], arg.value());
            match arg.op() {
                LinuxSeccompOperator::ScmpCmpNe => found != value,
                LinuxSeccompOperator::ScmpCmpLt => found < value,
                LinuxSeccompOperator::ScmpCmpLe => found <= value,
                LinuxSeccompOperator::ScmpCmpEq => found == value,
                LinuxSeccompOperator::ScmpCmpGe => found >= value,
                LinuxSeccompOperator::ScmpCmpGt => found > value,
                // Bits of valueTwo that the mask lacks say nothing.
                LinuxSeccompOperator::ScmpCmpMaskedEq => {
                    found & value == arg.value_two().unwrap_or(0) & value
                }
            }
        });
        let indices: BTreeSet<_> = given.iter().map(|arg| arg.index()).collect();
        let fits = match indices.len() == given.len() {
            true => held.all(|held| held),
            false => held.any(|held| held),
        };
        if fits && rule.names().iter().any(|known| known == name) {
            return word(rule.action(), rule.errno_ret());
        }
    }
    word(profile.default_action(), profile.default_errno_ret())
}

/// Every value that a profile compares with, and what lies around it in 64 and in 32 bits.
fn edges(profile: &LinuxSeccomp) -> Vec<u64> {
    let mut edges = BTreeSet::from([0, 1, u64::MAX]);
    let args = profile.syscalls().iter().flatten().flat_map(|rule| rule.args().iter().flatten());
    for value in args.flat_map(|arg| [Some(arg.value()), arg.value_two()]).flatten() {
        edges.extend([value.wrapping_sub(1), value, value.wrapping_add(1), !value]);
        edges.extend([value ^ 1 << 32, value & 0xffff_ffff, value | 0xffff_ffff << 32]);
    }
    edges.into_iter().collect()
}

/// Every number that there is and some that aren't, on x86_64, x32, x86, aarch64 and arm.
fn every_number() -> impl Iterator<Item = (u32, u32)> {
    let edges = [1 << 20, X32_BIT - 1, X32_BIT | 1 << 20, u32::MAX - 1, u32::MAX];
    let numbers = move || (0..640).chain((0..640).map(|n| n | X32_BIT)).chain(edges);
    [X86_64, X86, AARCH64, ARM]
        .into_iter()
        .flat_map(move |token| numbers().map(move |number| (token, number)))
}

/// Compares with libseccomp's own program for the whole profile, under the rule for newer calls: every number, with every
/// value that the profile compares with.
pub fn check_against_libseccomp(json: &str) {
    let profile = profile(json);
    compare(&profile, &compile(&profile).expect(json).filter, |_| true);
}

/// The same, but with more than two of the values only for those numbers that the profile names and the next.
pub fn check_quickly(profile: &LinuxSeccomp, filter: &Filter) {
    let names = profile.syscalls().iter().flatten().flat_map(|rule| rule.names());
    let numbers = names.flat_map(|name| {
        let on = [ScmpArch::X8664, ScmpArch::X32, ScmpArch::X86, ScmpArch::Aarch64, ScmpArch::Arm];
        on.into_iter().filter_map(|arch| number_on(arch, name))
    });
    let numbers: BTreeSet<u32> = numbers.flat_map(|number| [number, number.wrapping_add(1)]).collect();
    compare(profile, filter, |number| numbers.contains(&number));
}

fn compare(profile: &LinuxSeccomp, filter: &Filter, wants_all: impl Fn(u32) -> bool) {
    let mut reader = Reader::default();
    let default = reader.action("", profile.default_action(), profile.default_errno_ret());
    let mut whole = ScmpFilterContext::new(default).expect("a context");
    let mut newest = vec![(X86_64, 0, super::newest(profile, NATIVE))];
    for arch in profile.architectures().iter().flatten() {
        let known = ScmpArch::from_str(&arch.to_string()).expect("known");
        if matches!(arch, Arch::ScmpArchNative) || whole.is_arch_present(known).expect("asked") {
            continue;
        }
        whole.add_arch(known).expect("added");
        match arch {
            Arch::ScmpArchX32 => newest.push((X86_64, X32_BIT, super::newest(profile, *arch))),
            arch => newest.push((*arch as u32, 0, super::newest(profile, *arch))),
        }
    }
    add(&mut whole, &reader.rules(profile, default)).expect("rules");
    let libseccomps = export(&whole).expect("exported");
    let ours = instructions(filter);
    let edges = edges(profile);
    for (token, number) in every_number() {
        let newest = newest.iter().rfind(|(t, first, _)| *t == token && *first <= number);
        let newest = newest.and_then(|(.., newest)| *newest).unwrap_or(u32::MAX);
        let most = if wants_all(number) { edges.len() } else { 2 };
        for (i, edge) in edges.iter().enumerate().take(most) {
            let other = edges[(i * 7 + 3) % edges.len()];
            for args in [[*edge; 6], [*edge, other, *edge, other, *edge, other]] {
                let call = Call { token, number, args };
                let expected = match wants_enosys(profile, default) && number > newest {
                    true => ENOSYS,
                    false => run(&libseccomps, call),
                };
                let found = run(&ours, call);
                assert_eq!(found, expected, "{call:x?}: {found:#x} instead of {expected:#x}");
            }
        }
    }
}

/// Compares with what the profile says, call by call on x86_64.
pub fn check_against_profile(json: &str) {
    let profile = profile(json);
    let ours = instructions(&compiled(json).filter);
    let edges = edges(&profile);
    let rules = profile.syscalls().iter().flatten();
    let others = ["read", "clone", "ptrace", "mkdir"].map(String::from);
    for name in rules.flat_map(|rule| rule.names()).chain(&others) {
        let Some(number) = number_on(ScmpArch::X8664, name) else {
            continue;
        };
        for (a, b) in edges.iter().flat_map(|a| edges.iter().map(move |b| (*a, *b))) {
            let args = [a, b, a, b, a, b];
            let (found, expected) =
                (run(&ours, Call { token: X86_64, number, args }), told(&profile, name, args));
            assert_eq!(found, expected, "{json}: {name} {a:#x} {b:#x}: {found:#x} instead of {expected:#x}");
        }
    }
}
