//! Which devices the container may use: the rules of config.json as a BPF program of type
//! BPF_PROG_TYPE_CGROUP_DEVICE. Pure; loading is in `sys::bpf`.
//!
//! The last rule that matches a device and an access decides, for each of read, write and mknod by itself; where
//! none does, the answer is no.

use oci_spec::runtime::{LinuxDeviceCgroup, LinuxDeviceType};

use crate::error::Fault;
use crate::sys::bpf::Instruction;

/// BPF_DEVCG_ACC_* and BPF_DEVCG_DEV_* of linux/bpf.h.
pub const MKNOD: u8 = 1;
pub const READ: u8 = 2;
pub const WRITE: u8 = 4;
const ALL: u8 = MKNOD | READ | WRITE;
const BLOCK: i32 = 1;
const CHAR: i32 = 2;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rule {
    pub allow: bool,
    /// `None`: block and character devices.
    pub kind: Option<Kind>,
    pub major: Option<u32>,
    pub minor: Option<u32>,
    /// Of MKNOD, READ and WRITE.
    pub access: u8,
}

impl Rule {
    /// It decides for every device and access: before it nothing can change the answer.
    pub fn is_for_all(&self) -> bool {
        self.kind.is_none() && self.major.is_none() && self.is_last_word()
    }

    /// It decides for every minor number and access.
    fn is_last_word(&self) -> bool {
        self.minor.is_none() && self.access == ALL
    }

    fn answer(&self) -> Label {
        if self.allow { YES } else { NO }
    }
}

/// Whether these rules forbid nothing, so that no program is needed.
pub fn allow_all(rules: &[Rule]) -> bool {
    let last = rules.iter().rposition(|rule| !rule.allow);
    let after = last.map_or(0, |last| last + 1);
    rules[after..].iter().any(Rule::is_for_all)
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Block,
    Char,
}

const fn allow_char(major: u32, minor: Option<u32>) -> Rule {
    Rule { allow: true, kind: Some(Kind::Char), major: Some(major), minor, access: ALL }
}

/// What every container may use: any node may exist, and these be opened (config-linux.md, Default Devices).
const DEFAULT: [Rule; 9] = [
    Rule { allow: true, kind: None, major: None, minor: None, access: MKNOD },
    allow_char(1, Some(3)), // null
    allow_char(1, Some(5)), // zero
    allow_char(1, Some(7)), // full
    allow_char(1, Some(8)), // random
    allow_char(1, Some(9)), // urandom
    allow_char(5, Some(0)), // tty
    allow_char(5, Some(2)), // ptmx
    allow_char(136, None),  // pts/*
];

/// So many that no jump in their program is too far.
const MOST: usize = 4000;

/// linux.resources.devices in their order, then the default ones, which no rule takes away.
pub fn rules(given: &[LinuxDeviceCgroup]) -> Result<Vec<Rule>, Fault> {
    if given.len() > MOST {
        return Err(Fault {
            path: "linux.resources.devices".into(),
            text: format!("{} rules are more than {MOST}", given.len()),
        });
    }
    let given = given.iter().enumerate().map(|(i, rule)| self::rule(i, rule));
    given.chain(DEFAULT.into_iter().map(Ok)).collect()
}

fn rule(index: usize, given: &LinuxDeviceCgroup) -> Result<Rule, Fault> {
    let fault =
        |field: &str, text: String| Fault { path: format!("linux.resources.devices[{index}].{field}"), text };
    let number = |field: &str, number: Option<i64>| match number {
        None | Some(-1) => Ok(None),
        Some(n) => u32::try_from(n).map(Some).map_err(|_| fault(field, format!("{n} is no device number"))),
    };
    let mut access = 0;
    for letter in given.access().as_deref().unwrap_or_default().chars() {
        access |= match letter {
            'r' => READ,
            'w' => WRITE,
            'm' => MKNOD,
            other => return Err(fault("access", format!("{other:?} is none of r, w and m"))),
        };
    }
    let kind = match given.typ() {
        None | Some(LinuxDeviceType::A) => None,
        Some(LinuxDeviceType::B) => Some(Kind::Block),
        Some(LinuxDeviceType::C | LinuxDeviceType::U) => Some(Kind::Char),
        Some(other) => return Err(fault("type", format!("{other:?} is none of a, b and c"))),
    };
    // A rule for all devices usually names no access, and means every one.
    if kind.is_none() && given.access().as_deref().unwrap_or_default().is_empty() {
        access = ALL;
    }
    let (major, minor) = (number("major", given.major())?, number("minor", given.minor())?);
    Ok(Rule { allow: given.allow(), kind, major, minor, access })
}

// Registers: r1 points to struct bpf_cgroup_dev_ctx { access_type, major, minor } (three u32).
const ANSWER: u8 = 0;
const CONTEXT: u8 = 1;
const TYPE: u8 = 2;
/// The accesses that are asked for and not yet granted.
const ASKED: u8 = 3;
const MAJOR: u8 = 4;
const MINOR: u8 = 5;

/// The program: rules from the last to the first, what a run of them has in common being asked once. What a
/// matching rule allows is taken off the accesses asked for, none left is a yes; what it forbids of those left
/// is a no. It is kept short since the kernel takes some 3 µs to check an instruction.
pub fn compile(rules: &[Rule]) -> Vec<Instruction> {
    let start = vec![
        Instruction::load32(TYPE, CONTEXT, 0),
        Instruction::copy32(ASKED, TYPE),
        Instruction::and32(TYPE, 0xffff),
        Instruction::shift_right32(ASKED, 16),
        Instruction::load32(MAJOR, CONTEXT, 4),
        Instruction::load32(MINOR, CONTEXT, 8),
    ];
    let mut program = Assembler::new(start);
    // What a rule for all says is the answer where no later one has another.
    let all = rules.iter().rposition(Rule::is_for_all);
    let otherwise = all.is_some_and(|all| rules[all].allow);
    let later = &rules[all.map_or(0, |all| all + 1)..];
    let later: Vec<_> = later.iter().rev().filter(|rule| rule.access != 0).collect();
    for run in later.chunk_by(|a, b| a.kind == b.kind) {
        program.rules_of_kind(until(run, |rule| rule.major.is_none() && rule.is_last_word()));
    }
    program.end(otherwise)
}

/// The rules up to the first that leaves nothing to the others: after it they can't be reached, which the kernel
/// refuses in a program.
fn until<'a, 'r>(rules: &'a [&'r Rule], last: impl Fn(&Rule) -> bool) -> &'a [&'r Rule] {
    let end = rules.iter().position(|rule| last(rule));
    &rules[..end.map_or(rules.len(), |end| end + 1)]
}

/// A place in the program, by its number.
#[derive(Clone, Copy, PartialEq)]
struct Label(usize);
const YES: Label = Label(0);
const NO: Label = Label(1);

/// Instructions whose jumps lead to labels.
struct Assembler {
    code: Vec<Instruction>,
    jumps: Vec<(usize, Label)>,
    /// Where each label is; 0 if that isn't known yet.
    labels: Vec<usize>,
}

impl Assembler {
    fn new(code: Vec<Instruction>) -> Assembler {
        Assembler { code, jumps: vec![], labels: vec![0; 2] }
    }

    fn jump(&mut self, jump: Instruction, to: Label) {
        self.jumps.push((self.code.len(), to));
        self.code.push(jump);
    }

    fn label(&mut self) -> Label {
        self.labels.push(0);
        Label(self.labels.len() - 1)
    }

    fn here(&mut self, label: Label) {
        self.labels[label.0] = self.code.len();
    }

    /// What `then` adds is skipped unless the register has this value.
    fn only_for(&mut self, register: u8, value: Option<i32>, then: impl FnOnce(&mut Assembler)) {
        let Some(value) = value else { return then(self) };
        let after = self.label();
        self.jump(Instruction::jump_unless_equal(register, value), after);
        then(self);
        self.here(after);
    }

    fn rules_of_kind(&mut self, rules: &[&Rule]) {
        let kind = rules[0].kind.map(|kind| match kind {
            Kind::Block => BLOCK,
            Kind::Char => CHAR,
        });
        self.only_for(TYPE, kind, |program| {
            for run in rules.chunk_by(|a, b| a.major == b.major) {
                program.rules_of_major(until(run, Rule::is_last_word));
            }
        });
    }

    fn rules_of_major(&mut self, rules: &[&Rule]) {
        let number = |number: u32| number as i32;
        match (rules, rules[0].major) {
            ([only], Some(major)) if only.is_last_word() => {
                self.jump(Instruction::jump_if_equal(MAJOR, number(major)), only.answer());
            }
            (rules, major) => self.only_for(MAJOR, major.map(number), |program| {
                for rule in rules {
                    match (rule.minor, rule.access) {
                        (Some(minor), ALL) => {
                            program.jump(Instruction::jump_if_equal(MINOR, number(minor)), rule.answer());
                        }
                        (None, ALL) => program.jump(Instruction::jump(), rule.answer()),
                        (minor, _) => {
                            program.only_for(MINOR, minor.map(number), |program| program.part(rule))
                        }
                    }
                }
            }),
        }
    }

    /// A rule, known to match, for some accesses of three.
    fn part(&mut self, rule: &Rule) {
        if rule.allow {
            self.code.push(Instruction::and32(ASKED, i32::from(ALL & !rule.access)));
            self.jump(Instruction::jump_if_equal(ASKED, 0), YES);
        } else {
            self.jump(Instruction::jump_if_any(ASKED, i32::from(rule.access)), NO);
        }
    }

    /// The answers, that of no jump first, and all jumps filled in.
    fn end(mut self, otherwise: bool) -> Vec<Instruction> {
        let answers = if otherwise { [YES, NO] } else { [NO, YES] };
        for (i, answer) in answers.into_iter().enumerate() {
            if i == 0 || self.jumps.iter().any(|(_, to)| *to == answer) {
                self.here(answer);
                self.code.push(Instruction::set32(ANSWER, i32::from(answer == YES)));
                self.code.push(Instruction::exit());
            }
        }
        for (at, to) in self.jumps {
            self.code[at] = self.code[at].jumping((self.labels[to.0] - at - 1) as i16);
        }
        self.code
    }
}

#[cfg(test)]
#[path = "devices_tests.rs"]
pub(super) mod tests;
