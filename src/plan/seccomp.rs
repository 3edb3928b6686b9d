//! From an OCI seccomp profile to a BPF filter (config-linux.md, Seccomp; seccomp(2)).
//!
//! libseccomp decides what a profile means: it knows the system calls' numbers, how they differ between
//! architectures, how arguments are compared, and which of two rules that contradict each other wins. It is asked
//! for each architecture by itself; [`verdicts`] reads its answers off, [`layout`] makes one program of them. What
//! is decided here is what libseccomp leaves open: how the profile's words are taken, and what becomes of system
//! calls that are newer than the profile.

mod layout;
#[cfg(all(any(test, feature = "fuzz"), target_arch = "x86_64"))]
#[cfg_attr(not(test), allow(dead_code))] // the fuzzer asks one question of it
pub(crate) mod oracle;
#[cfg(all(test, target_arch = "x86_64"))]
mod tests;
mod verdicts;

use std::os::fd::AsFd;
use std::str::FromStr;

use libseccomp::error::{SeccompErrno, SeccompError};
use libseccomp::{ScmpAction, ScmpArch, ScmpArgCompare, ScmpCompareOp, ScmpFilterContext, ScmpSyscall};
use oci_spec::runtime::{
    Arch, LinuxSeccomp, LinuxSeccompAction, LinuxSeccompArg, LinuxSeccompFilterFlag, LinuxSeccompOperator,
    LinuxSyscall,
};

use crate::error::{Doing, Error, Fault, Kind, Result};
use crate::sys::{files, fs};
use layout::Section;
use verdicts::{INSTRUCTION, Instruction, Verdict};

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
    /// Names that libseccomp doesn't know. No reason to warn: a profile is written for all kernels and machines,
    /// and engines' own ones have some at each start.
    pub skipped: Vec<String>,
}

/// BPF_MAXINSNS of linux/bpf_common.h.
const MAX_INSTRUCTIONS: usize = 4096;
/// MAX_ERRNO of linux/err.h: the kernel returns no larger one.
const MAX_ERRNO: u16 = 4095;
const NEW_LISTENER: u32 = libc::SECCOMP_FILTER_FLAG_NEW_LISTENER as u32;
const SECCOMP_RET_KILL_THREAD: u32 = 0;
const SECCOMP_RET_ERRNO: u32 = 0x0005_0000;
/// __X32_SYSCALL_BIT: x32's calls come with x86_64's token and are told apart by this bit of their numbers.
const X32_BIT: u32 = 0x4000_0000;

#[cfg(target_arch = "x86_64")]
const NATIVE: Arch = Arch::ScmpArchX86_64;
#[cfg(target_arch = "aarch64")]
const NATIVE: Arch = Arch::ScmpArchAarch64;

impl Filter {
    /// How many instructions the program has.
    pub fn instructions(&self) -> usize {
        self.program.len() / INSTRUCTION
    }

    /// Whether somebody is to be notified of system calls (SCMP_ACT_NOTIFY).
    pub fn listens(&self) -> bool {
        self.flags & NEW_LISTENER != 0
    }
}

/// Compiles `profile`. Faults are named by their path, all of them. What is well-formed but not supported is [`Kind::Unsupported`].
pub fn compile(profile: &LinuxSeccomp) -> Result<Compiled> {
    let mut reader = Reader::default();
    let default = reader.action("defaultErrnoRet", profile.default_action(), profile.default_errno_ret());
    let flags = reader.flags(profile);
    let rules = reader.rules(profile, default);
    let targets = reader.targets(profile, default)?;
    if !reader.faults.is_empty() {
        let kind = match reader.invalid {
            true => Kind::InvalidSpec,
            false => Kind::Unsupported,
        };
        return Err(Error::new(kind, "config.json").with_faults(reader.faults));
    }
    let instructions = layout::layout(&sections(profile, targets, default, &rules)?, SECCOMP_RET_KILL_THREAD);
    check_length(instructions.len())?;
    let mut program = Vec::with_capacity(instructions.len() * INSTRUCTION);
    instructions.into_iter().for_each(|i| i.write(&mut program));
    Ok(Compiled { filter: Filter { program, flags }, warnings: reader.warnings, skipped: reader.skipped })
}

fn check_length(instructions: usize) -> Result<()> {
    if instructions <= MAX_INSTRUCTIONS {
        return Ok(());
    }
    let text = format!("linux.seccomp: the filter has {instructions} instructions");
    Err(Error::new(Kind::Unsupported, text)
        .hint(format!("the kernel takes {MAX_INSTRUCTIONS}: use fewer rules, above all on arguments")))
}

fn refused(doing: &str, error: &SeccompError) -> Error {
    let text = format!("linux.seccomp: {doing}: libseccomp: {error}");
    Error::new(Kind::Kernel, text)
}

/// An entry of `syscalls` whose action isn't the default one.
struct Rule<'p> {
    /// Its path in the profile.
    field: String,
    action: ScmpAction,
    calls: Vec<(&'p str, ScmpSyscall)>,
    /// Lists of comparisons; of one of the lists all must hold.
    alternatives: Vec<Vec<ScmpArgCompare>>,
}

/// An architecture, and libseccomp's filter for it alone, as yet without rules.
struct Target {
    arch: Arch,
    context: ScmpFilterContext,
}

/// Takes the profile's words, and collects what is wrong with them.
#[derive(Default)]
struct Reader {
    faults: Vec<Fault>,
    /// Whether a fault breaks a rule of the spec.
    invalid: bool,
    warnings: Vec<String>,
    skipped: Vec<String>,
}

impl Reader {
    fn unsupported(&mut self, field: &str, text: impl Into<String>) {
        self.faults.push(Fault { path: format!("linux.seccomp.{field}"), text: text.into() });
    }

    fn invalid(&mut self, field: &str, text: impl Into<String>) {
        self.invalid = true;
        self.unsupported(field, text);
    }

    fn action(&mut self, errno_field: &str, action: LinuxSeccompAction, errno: Option<u32>) -> ScmpAction {
        let mut number = |max: u16| {
            let number = errno.unwrap_or(libc::EPERM as u32);
            u16::try_from(number).ok().filter(|number| *number <= max).unwrap_or_else(|| {
                self.invalid(errno_field, format!("{number} is larger than {max}"));
                0
            })
        };
        let action = match action {
            LinuxSeccompAction::ScmpActErrno => return ScmpAction::Errno(i32::from(number(MAX_ERRNO))),
            LinuxSeccompAction::ScmpActTrace => return ScmpAction::Trace(number(u16::MAX)),
            LinuxSeccompAction::ScmpActKill | LinuxSeccompAction::ScmpActKillThread => ScmpAction::KillThread,
            LinuxSeccompAction::ScmpActKillProcess => ScmpAction::KillProcess,
            LinuxSeccompAction::ScmpActTrap => ScmpAction::Trap,
            LinuxSeccompAction::ScmpActLog => ScmpAction::Log,
            LinuxSeccompAction::ScmpActAllow => ScmpAction::Allow,
            LinuxSeccompAction::ScmpActNotify => ScmpAction::Notify,
        };
        if errno.is_some() {
            let text = "is for SCMP_ACT_ERRNO and SCMP_ACT_TRACE, not for this action";
            self.invalid(errno_field, text);
        }
        action
    }

    /// Without `flags`, SPEC_ALLOW as runc and crun do: mitigations are the program's own affair, and cost much.
    fn flags(&mut self, profile: &LinuxSeccomp) -> u32 {
        let notifies = profile.syscalls().iter().flatten().any(|entry| {
            // Of the default action validate says no.
            entry.action() == LinuxSeccompAction::ScmpActNotify
        });
        let mut flags = if notifies { NEW_LISTENER } else { 0 };
        let Some(given) = profile.flags() else {
            return flags | libc::SECCOMP_FILTER_FLAG_SPEC_ALLOW as u32;
        };
        for (i, flag) in given.iter().enumerate() {
            flags |= match flag {
                // There is but one thread that will execute the program, and the other must stay free (init/seccomp.rs).
                LinuxSeccompFilterFlag::SeccompFilterFlagTsync if notifies => 0,
                LinuxSeccompFilterFlag::SeccompFilterFlagTsync => libc::SECCOMP_FILTER_FLAG_TSYNC as u32,
                LinuxSeccompFilterFlag::SeccompFilterFlagLog => libc::SECCOMP_FILTER_FLAG_LOG as u32,
                LinuxSeccompFilterFlag::SeccompFilterFlagSpecAllow => {
                    libc::SECCOMP_FILTER_FLAG_SPEC_ALLOW as u32
                }
                LinuxSeccompFilterFlag::SeccompFilterFlagWaitKillableRecv if notifies => {
                    libc::SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV as u32
                }
                // The kernel refuses it (EINVAL) for a filter that notifies nobody.
                LinuxSeccompFilterFlag::SeccompFilterFlagWaitKillableRecv => {
                    let text =
                        format!("linux.seccomp.flags[{i}]: {flag} says nothing without SCMP_ACT_NOTIFY");
                    self.warnings.push(text);
                    0
                }
            };
        }
        flags
    }

    /// The architectures, each once, the machine's own first and always.
    fn targets(&mut self, profile: &LinuxSeccomp, default: ScmpAction) -> Result<Vec<Target>> {
        let context = ScmpFilterContext::new(default).map_err(|error| refused("make a filter", &error))?;
        let mut targets = vec![Target { arch: NATIVE, context }];
        for (i, arch) in profile.architectures().iter().flatten().enumerate() {
            let native = *arch == Arch::ScmpArchNative;
            if native || targets.iter().any(|target| target.arch == *arch) {
                continue;
            }
            match foreign(*arch, default) {
                Ok(context) => targets.push(Target { arch: *arch, context }),
                Err(error) => self.unsupported(
                    &format!("architectures[{i}]"),
                    format!("libseccomp makes no filters for {arch} here: {error}"),
                ),
            }
        }
        Ok(targets)
    }

    fn rules<'p>(&mut self, profile: &'p LinuxSeccomp, default: ScmpAction) -> Vec<Rule<'p>> {
        let mut rules = Vec::new();
        for (i, entry) in profile.syscalls().iter().flatten().enumerate() {
            let field = format!("syscalls[{i}]");
            let action = self.action(&format!("{field}.errnoRet"), entry.action(), entry.errno_ret());
            if entry.names().is_empty() {
                self.invalid(&format!("{field}.names"), "is empty");
            }
            let alternatives = self.alternatives(&field, entry);
            if action == default {
                continue; // libseccomp refuses a rule that changes nothing
            }
            let mut calls = Vec::new();
            for name in entry.names() {
                match ScmpSyscall::from_name(name) {
                    Ok(call) => calls.push((name.as_str(), call)),
                    Err(_) => self.skipped.push(name.clone()),
                }
            }
            rules.push(Rule { field, action, calls, alternatives });
        }
        rules
    }

    /// Comparisons of different arguments must all hold. As soon as there are two of one argument, each is an
    /// alternative, as runc and crun read it: libseccomp takes one comparison of an argument in a rule.
    fn alternatives(&mut self, field: &str, entry: &LinuxSyscall) -> Vec<Vec<ScmpArgCompare>> {
        let args = entry.args().as_deref().unwrap_or_default();
        let mut seen = [0; 6];
        for (i, arg) in args.iter().enumerate() {
            match seen.get_mut(arg.index()) {
                Some(count) => *count += 1,
                None => self.invalid(
                    &format!("{field}.args[{i}].index"),
                    format!("{}: a system call has arguments 0 to 5", arg.index()),
                ),
            }
        }
        let comparisons = args.iter().map(comparison);
        match seen.iter().any(|count| *count > 1) {
            true => comparisons.map(|one| vec![one]).collect(),
            false => vec![comparisons.collect()],
        }
    }
}

/// Whether libseccomp makes filters for the architecture called so (`SCMP_ARCH_ARM`).
pub fn knows_architecture(name: &str) -> bool {
    ScmpArch::from_str(name).is_ok()
}

/// What a word of linux.seccomp.flags is to seccomp(2).
pub fn flag(name: &str) -> Option<u64> {
    match name {
        "SECCOMP_FILTER_FLAG_TSYNC" => Some(libc::SECCOMP_FILTER_FLAG_TSYNC),
        "SECCOMP_FILTER_FLAG_LOG" => Some(libc::SECCOMP_FILTER_FLAG_LOG),
        "SECCOMP_FILTER_FLAG_SPEC_ALLOW" => Some(libc::SECCOMP_FILTER_FLAG_SPEC_ALLOW),
        // The kernel takes it only with a listener.
        "SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV" => {
            Some(libc::SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV | libc::SECCOMP_FILTER_FLAG_NEW_LISTENER)
        }
        _ => None,
    }
}

fn comparison(arg: &LinuxSeccompArg) -> ScmpArgCompare {
    let (op, value) = match arg.op() {
        LinuxSeccompOperator::ScmpCmpNe => (ScmpCompareOp::NotEqual, arg.value()),
        LinuxSeccompOperator::ScmpCmpLt => (ScmpCompareOp::Less, arg.value()),
        LinuxSeccompOperator::ScmpCmpLe => (ScmpCompareOp::LessOrEqual, arg.value()),
        LinuxSeccompOperator::ScmpCmpEq => (ScmpCompareOp::Equal, arg.value()),
        LinuxSeccompOperator::ScmpCmpGe => (ScmpCompareOp::GreaterEqual, arg.value()),
        LinuxSeccompOperator::ScmpCmpGt => (ScmpCompareOp::Greater, arg.value()),
        // `value` is the mask, `valueTwo` what must be left.
        LinuxSeccompOperator::ScmpCmpMaskedEq => {
            (ScmpCompareOp::MaskedEqual(arg.value()), arg.value_two().unwrap_or(0))
        }
    };
    ScmpArgCompare::new(arg.index() as u32, op, value)
}

fn foreign(arch: Arch, default: ScmpAction) -> std::result::Result<ScmpFilterContext, SeccompError> {
    let arch = ScmpArch::from_str(&arch.to_string())?;
    let mut context = ScmpFilterContext::new(default)?;
    context.add_arch(arch)?;
    context.remove_arch(ScmpArch::native())?;
    Ok(context)
}

/// What to say to the calls of each token.
fn sections(
    profile: &LinuxSeccomp,
    targets: Vec<Target>,
    default: ScmpAction,
    rules: &[Rule],
) -> Result<Vec<Section>> {
    let enosys = wants_enosys(profile, default);
    let mut sections: Vec<Section> = Vec::new();
    for Target { arch, mut context } in targets {
        add(&mut context, rules)?;
        let program = export(&context)?;
        let x32 = arch == Arch::ScmpArchX32;
        let token = if x32 { Arch::ScmpArchX86_64 } else { arch } as u32;
        let mut verdicts = verdicts::verdicts(&program, token);
        if let Some(newest) = newest(profile, arch).filter(|_| enosys) {
            let verdict = Verdict::Return(SECCOMP_RET_ERRNO | libc::ENOSYS as u32);
            verdicts::from(&mut verdicts, newest + 1, verdict);
        }
        let first = if x32 { X32_BIT } else { 0 };
        match sections.iter_mut().find(|section| section.token == token) {
            None => sections.push(Section { token, parts: vec![(program, verdicts)] }),
            Some(section) => section.share(first, program, verdicts),
        }
    }
    Ok(sections)
}

fn add(context: &mut ScmpFilterContext, rules: &[Rule]) -> Result<()> {
    for rule in rules {
        for (name, call) in &rule.calls {
            for comparisons in &rule.alternatives {
                context
                    .add_rule_conditional(rule.action, *call, comparisons)
                    .map_err(|error| not_added(rule, name, &error))?;
            }
        }
    }
    Ok(())
}

fn not_added(rule: &Rule, name: &str, error: &SeccompError) -> Error {
    if error.errno() == Some(SeccompErrno::EEXIST) {
        let path = format!("linux.seccomp.{}", rule.field);
        let text = format!("contradicts an earlier entry for {name}");
        return Error::invalid("config.json", vec![Fault { path, text }]);
    }
    refused(&format!("{}: add a rule for {name}", rule.field), error)
}

/// libseccomp writes to an fd alone (before its 2.6).
fn export(context: &ScmpFilterContext) -> Result<Vec<Instruction>> {
    let doing = || "linux.seccomp: read the compiled filter".to_string();
    let file = fs::memfd(c"rrunc-seccomp").doing(doing)?;
    context.export_bpf(&file).map_err(|error| refused("export the filter", &error))?;
    fs::rewind(file.as_fd()).doing(doing)?;
    let bytes = files::rest(std::fs::File::from(file)).doing(doing)?;
    let program: Vec<_> = bytes
        .chunks_exact(INSTRUCTION)
        .filter_map(|bytes| bytes.try_into().ok().map(Instruction::read))
        .collect();
    check_length(program.len())?;
    Ok(program)
}

/// A system call that is newer than the newest that the profile names was not known to its author: it fails with
/// ENOSYS, so that the C library takes another way, where the default action would say EPERM or kill. As runc has
/// it: not where the default lets calls through (a tracer answers for itself), nor where ENOSYS is asked for.
fn wants_enosys(profile: &LinuxSeccomp, default: ScmpAction) -> bool {
    let lets_through = matches!(default, ScmpAction::Allow | ScmpAction::Log | ScmpAction::Trace(_));
    !lets_through && profile.default_errno_ret() != Some(libc::ENOSYS as u32)
}

/// The largest number that a name in `profile` has on `arch`, if there is one.
fn newest(profile: &LinuxSeccomp, arch: Arch) -> Option<u32> {
    let arch = ScmpArch::from_str(&arch.to_string()).ok()?;
    let names = profile.syscalls().iter().flatten().flat_map(LinuxSyscall::names);
    let numbers = names.filter_map(|name| ScmpSyscall::from_name_by_arch(name, arch).ok());
    // Negative ones are libseccomp's own, for calls that this architecture lacks.
    let numbers = numbers.filter_map(|call| u32::try_from(call.as_raw_syscall()).ok());
    numbers.max()
}
