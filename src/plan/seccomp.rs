//! From an OCI seccomp profile to a BPF filter, by libseccomp (config-linux.md, Seccomp; seccomp(2)). What is
//! decided here is what libseccomp leaves open: which rules there are, and what becomes of system calls that are
//! newer than the profile.

use std::os::fd::AsFd;
use std::str::FromStr;

use libseccomp::{ScmpAction, ScmpArch, ScmpArgCompare, ScmpCompareOp, ScmpFilterContext, ScmpSyscall};
use oci_spec::runtime::{
    Arch, LinuxSeccomp, LinuxSeccompAction, LinuxSeccompArg, LinuxSeccompFilterFlag, LinuxSeccompOperator,
};

use crate::error::{Doing, Error, Fault, Kind, Result};
use crate::sys::fs;

/// A filter as the kernel takes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Filter {
    /// An array of struct sock_filter, in the machine's byte order.
    pub program: Vec<u8>,
    /// SECCOMP_FILTER_FLAG_* of seccomp(2).
    pub flags: u32,
}

/// A filter and what the profile asked for in vain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Compiled {
    pub filter: Filter,
    pub warnings: Vec<String>,
}

/// sizeof(struct sock_filter): code 2, jt 1, jf 1, k 4.
const INSTRUCTION: usize = 8;
/// BPF_MAXINSNS of linux/bpf_common.h.
const MAX_INSTRUCTIONS: usize = 4096;

impl Filter {
    pub fn instructions(&self) -> usize {
        self.program.len() / INSTRUCTION
    }
}

/// Compiles `profile`. Faults are named by their path; unknown system calls are warnings, since a profile is
/// written for more than one kernel.
pub fn compile(profile: &LinuxSeccomp) -> Result<Compiled> {
    let mut compiler = Compiler::default();
    let default = compiler.action(
        "defaultAction",
        profile.default_action(),
        profile.default_errno_ret(),
    );
    let flags = compiler.flags(profile);
    for (field, given) in [
        ("listenerPath", profile.listener_path().is_some()),
        ("listenerMetadata", profile.listener_metadata().is_some()),
    ] {
        if given {
            compiler.fault(field, "is for SCMP_ACT_NOTIFY, which is not supported yet");
        }
    }
    let refused = |error| refused("make a filter", &error);
    let mut context = ScmpFilterContext::new(default).map_err(refused)?;
    context.set_ctl_nnp(false).map_err(refused)?; // the plan has a step of its own for that
    // A tree instead of a list: a call costs a dozen comparisons instead of hundreds.
    let _ = context.set_ctl_optimize(2); // since libseccomp 2.5
    let mut arches = vec![ScmpArch::native()];
    for (i, arch) in profile.architectures().iter().flatten().enumerate() {
        match scmp_arch(*arch) {
            Some(arch) if !arches.contains(&arch) => {
                context.add_arch(arch).map_err(refused)?;
                arches.push(arch);
            }
            Some(_) => {}
            None => compiler.fault(
                &format!("architectures[{i}]"),
                format!("{arch} is unknown to this libseccomp"),
            ),
        }
    }
    compiler.rules(profile, default, &mut context)?;
    if !compiler.faults.is_empty() {
        return Err(Error::invalid("config.json", compiler.faults));
    }
    let mut program = newer_calls_stub(profile, default, &arches);
    program.extend(export(&context)?);
    if program.len() / INSTRUCTION > MAX_INSTRUCTIONS {
        let text = format!(
            "linux.seccomp: the filter has {} instructions",
            program.len() / INSTRUCTION
        );
        return Err(Error::new(Kind::Unsupported, text).hint(format!("the kernel takes {MAX_INSTRUCTIONS}")));
    }
    Ok(Compiled {
        filter: Filter { program, flags },
        warnings: compiler.warnings,
    })
}

fn refused(doing: &str, error: &dyn std::fmt::Display) -> Error {
    Error::new(
        Kind::Kernel,
        format!("linux.seccomp: {doing}: libseccomp: {error}"),
    )
}

#[derive(Default)]
struct Compiler {
    faults: Vec<Fault>,
    warnings: Vec<String>,
}

impl Compiler {
    fn fault(&mut self, field: &str, text: impl Into<String>) {
        self.faults.push(Fault {
            path: format!("linux.seccomp.{field}"),
            text: text.into(),
        });
    }

    fn action(&mut self, field: &str, action: LinuxSeccompAction, errno: Option<u32>) -> ScmpAction {
        let errno = errno.unwrap_or(libc::EPERM as u32);
        let errno = u16::try_from(errno).unwrap_or_else(|_| {
            self.fault(field, format!("the errno {errno} is larger than 65535"));
            0
        });
        match action {
            LinuxSeccompAction::ScmpActKill | LinuxSeccompAction::ScmpActKillThread => ScmpAction::KillThread,
            LinuxSeccompAction::ScmpActKillProcess => ScmpAction::KillProcess,
            LinuxSeccompAction::ScmpActTrap => ScmpAction::Trap,
            LinuxSeccompAction::ScmpActErrno => ScmpAction::Errno(i32::from(errno)),
            LinuxSeccompAction::ScmpActTrace => ScmpAction::Trace(errno),
            LinuxSeccompAction::ScmpActLog => ScmpAction::Log,
            LinuxSeccompAction::ScmpActAllow => ScmpAction::Allow,
            LinuxSeccompAction::ScmpActNotify => {
                self.fault(field, "SCMP_ACT_NOTIFY is not supported yet");
                ScmpAction::KillThread
            }
        }
    }

    fn flags(&mut self, profile: &LinuxSeccomp) -> u32 {
        let mut flags = 0;
        for (i, flag) in profile.flags().iter().flatten().enumerate() {
            flags |= match flag {
                LinuxSeccompFilterFlag::SeccompFilterFlagTsync => libc::SECCOMP_FILTER_FLAG_TSYNC as u32,
                LinuxSeccompFilterFlag::SeccompFilterFlagLog => libc::SECCOMP_FILTER_FLAG_LOG as u32,
                LinuxSeccompFilterFlag::SeccompFilterFlagSpecAllow => {
                    libc::SECCOMP_FILTER_FLAG_SPEC_ALLOW as u32
                }
                LinuxSeccompFilterFlag::SeccompFilterFlagWaitKillableRecv => {
                    self.fault(
                        &format!("flags[{i}]"),
                        "is for SCMP_ACT_NOTIFY, which is not supported yet",
                    );
                    0
                }
            };
        }
        flags
    }

    fn rules(
        &mut self,
        profile: &LinuxSeccomp,
        default: ScmpAction,
        context: &mut ScmpFilterContext,
    ) -> Result<()> {
        for (i, rule) in profile.syscalls().iter().flatten().enumerate() {
            let field = format!("syscalls[{i}]");
            let action = self.action(&format!("{field}.action"), rule.action(), rule.errno_ret());
            if rule.names().is_empty() {
                self.fault(&format!("{field}.names"), "is empty");
            }
            if action == default {
                continue; // libseccomp refuses a rule that changes nothing
            }
            let Some(conditions) = self.conditions(&field, rule.args().as_deref().unwrap_or_default()) else {
                continue;
            };
            for name in rule.names() {
                let Ok(call) = ScmpSyscall::from_name(name) else {
                    self.warnings.push(format!(
                        "linux.seccomp.{field}: no system call {name:?} is known here"
                    ));
                    continue;
                };
                for condition in &conditions {
                    let added = match condition.is_empty() {
                        true => context.add_rule(action, call),
                        false => context.add_rule_conditional(action, call, condition),
                    };
                    added.map_err(|error| refused(&format!("{field}: add a rule for {name}"), &error))?;
                }
            }
        }
        Ok(())
    }

    /// The alternatives of a rule, each a list of conditions that must all hold. Conditions on different
    /// arguments hold together; more than one on the same argument are alternatives, as runc reads them, since
    /// libseccomp takes one comparison for each argument.
    fn conditions(&mut self, field: &str, args: &[LinuxSeccompArg]) -> Option<Vec<Vec<ScmpArgCompare>>> {
        let mut comparisons = Vec::new();
        for (i, arg) in args.iter().enumerate() {
            if arg.index() > 5 {
                self.fault(
                    &format!("{field}.args[{i}].index"),
                    format!("{}: a call has arguments 0 to 5", arg.index()),
                );
                return None;
            }
            comparisons.push(comparison(arg));
        }
        let repeated = args
            .iter()
            .enumerate()
            .any(|(i, a)| args.iter().skip(i + 1).any(|b| a.index() == b.index()));
        Some(match repeated {
            true => comparisons.into_iter().map(|one| vec![one]).collect(),
            false => vec![comparisons],
        })
    }
}

fn comparison(arg: &LinuxSeccompArg) -> ScmpArgCompare {
    let second = arg.value_two().unwrap_or(0);
    let (op, value) = match arg.op() {
        LinuxSeccompOperator::ScmpCmpNe => (ScmpCompareOp::NotEqual, arg.value()),
        LinuxSeccompOperator::ScmpCmpLt => (ScmpCompareOp::Less, arg.value()),
        LinuxSeccompOperator::ScmpCmpLe => (ScmpCompareOp::LessOrEqual, arg.value()),
        LinuxSeccompOperator::ScmpCmpEq => (ScmpCompareOp::Equal, arg.value()),
        LinuxSeccompOperator::ScmpCmpGe => (ScmpCompareOp::GreaterEqual, arg.value()),
        LinuxSeccompOperator::ScmpCmpGt => (ScmpCompareOp::Greater, arg.value()),
        // `value` is the mask, `valueTwo` what must be left.
        LinuxSeccompOperator::ScmpCmpMaskedEq => (ScmpCompareOp::MaskedEqual(arg.value()), second),
    };
    ScmpArgCompare::new(arg.index() as u32, op, value)
}

fn scmp_arch(arch: Arch) -> Option<ScmpArch> {
    match arch {
        Arch::ScmpArchNative => Some(ScmpArch::native()),
        arch => ScmpArch::from_str(&arch.to_string()).ok(),
    }
}

fn export(context: &ScmpFilterContext) -> Result<Vec<u8>> {
    let doing = || "linux.seccomp: read the compiled filter".to_string();
    let file = fs::memfd(c"rrunc-seccomp").doing(doing)?;
    context
        .export_bpf(&file)
        .map_err(|error| refused("export the filter", &error))?;
    fs::rewind(file.as_fd()).doing(doing)?;
    let mut program = Vec::new();
    std::io::Read::read_to_end(&mut std::fs::File::from(file), &mut program).doing(doing)?;
    Ok(program)
}

// Offsets in struct seccomp_data, and classic BPF by the kernel's names (linux/seccomp.h, linux/filter.h).
const DATA_NR: u32 = 0;
const DATA_ARCH: u32 = 4;
const LD_W_ABS: u16 = 0x20;
const JEQ_K: u16 = 0x15;
const JGT_K: u16 = 0x25;
const JGE_K: u16 = 0x35;
const JA: u16 = 0x05;
const RET_K: u16 = 0x06;
const RET_ERRNO: u32 = 0x0005_0000; // SECCOMP_RET_ERRNO
const AUDIT_ARCH_X86_64: u32 = 0xc000_003e;
const X32_BIT: u32 = 0x4000_0000; // __X32_SYSCALL_BIT

/// A system call that is newer than the newest that the profile names was not known to its author: it fails
/// with ENOSYS, so that the C library takes another way, where the default action would say EPERM (as runc).
/// A default that lets calls through needs none of that.
fn newer_calls_stub(profile: &LinuxSeccomp, default: ScmpAction, arches: &[ScmpArch]) -> Vec<u8> {
    let lets_through = matches!(
        default,
        ScmpAction::Allow | ScmpAction::Log | ScmpAction::Trace(_)
    );
    if lets_through || default == ScmpAction::Errno(libc::ENOSYS) {
        return vec![];
    }
    let newest = |arch: &ScmpArch| {
        let names = profile.syscalls().iter().flatten().flat_map(|rule| rule.names());
        let numbers = names.filter_map(|name| ScmpSyscall::from_name_by_arch(name, *arch).ok());
        numbers
            .map(ScmpSyscall::as_raw_syscall)
            .filter(|number| *number >= 0)
            .max()
            .map(|number| number as u32)
    };
    let x32 = arches
        .contains(&ScmpArch::X32)
        .then(|| newest(&ScmpArch::X32))
        .flatten();
    let mut blocks = Vec::new();
    for arch in arches.iter().filter(|arch| **arch != ScmpArch::X32) {
        let (Some(newest), Some(token)) = (newest(arch), audit_arch(*arch)) else {
            continue;
        };
        // Each block: is it this architecture? Then either ENOSYS, or on behind all blocks.
        let mut block = vec![(LD_W_ABS, 0, 0, DATA_NR)];
        if token == AUDIT_ARCH_X86_64 {
            match x32 {
                Some(newest) => block.extend([
                    (JGE_K, 0, 3, X32_BIT),
                    (JGT_K, 0, 1, newest),
                    (RET_K, 0, 0, RET_ERRNO | libc::ENOSYS as u32),
                    (JA, 0, 0, u32::MAX),
                ]),
                None => block.extend([(JGE_K, 0, 1, X32_BIT), (JA, 0, 0, u32::MAX)]),
            }
        }
        block.extend([
            (JGT_K, 0, 1, newest),
            (RET_K, 0, 0, RET_ERRNO | libc::ENOSYS as u32),
            (JA, 0, 0, u32::MAX),
        ]);
        block.insert(0, (JEQ_K, 0, block.len() as u8, token));
        blocks.extend(block);
    }
    if blocks.is_empty() {
        return vec![];
    }
    blocks.insert(0, (LD_W_ABS, 0, 0, DATA_ARCH));
    let total = blocks.len();
    let mut bytes = Vec::new();
    for (at, (code, jt, jf, k)) in blocks.into_iter().enumerate() {
        let k = if (code, k) == (JA, u32::MAX) {
            (total - at - 1) as u32
        } else {
            k
        };
        bytes.extend_from_slice(&code.to_ne_bytes());
        bytes.extend_from_slice(&[jt, jf]);
        bytes.extend_from_slice(&k.to_ne_bytes());
    }
    bytes
}

/// seccomp_data.arch for calls of this architecture: the number of its SCMP_ARCH_* constant, but for x32.
fn audit_arch(arch: ScmpArch) -> Option<u32> {
    let known = ALL_ARCHES.iter().find(|known| scmp_arch(**known) == Some(arch))?;
    Some(*known as u32)
}

const ALL_ARCHES: [Arch; 19] = [
    Arch::ScmpArchX86,
    Arch::ScmpArchX86_64,
    Arch::ScmpArchX32,
    Arch::ScmpArchArm,
    Arch::ScmpArchAarch64,
    Arch::ScmpArchMips,
    Arch::ScmpArchMips64,
    Arch::ScmpArchMips64n32,
    Arch::ScmpArchMipsel,
    Arch::ScmpArchMipsel64,
    Arch::ScmpArchMipsel64n32,
    Arch::ScmpArchPpc,
    Arch::ScmpArchPpc64,
    Arch::ScmpArchPpc64le,
    Arch::ScmpArchS390,
    Arch::ScmpArchS390x,
    Arch::ScmpArchParisc,
    Arch::ScmpArchParisc64,
    Arch::ScmpArchRiscv64,
];

#[cfg(test)]
#[path = "seccomp_tests.rs"]
mod tests;
