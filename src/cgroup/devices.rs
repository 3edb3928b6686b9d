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
    fn is_for_all(&self) -> bool {
        self.kind.is_none() && self.major.is_none() && self.minor.is_none() && self.access == ALL
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
    Rule {
        allow: true,
        kind: Some(Kind::Char),
        major: Some(major),
        minor,
        access: ALL,
    }
}

const fn allow_nodes(kind: Kind) -> Rule {
    Rule {
        allow: true,
        kind: Some(kind),
        major: None,
        minor: None,
        access: MKNOD,
    }
}

/// What every container may use: any node may exist, and these be opened (config-linux.md, Default Devices).
const DEFAULT: [Rule; 10] = [
    allow_nodes(Kind::Char),
    allow_nodes(Kind::Block),
    allow_char(1, Some(3)), // null
    allow_char(1, Some(5)), // zero
    allow_char(1, Some(7)), // full
    allow_char(1, Some(8)), // random
    allow_char(1, Some(9)), // urandom
    allow_char(5, Some(0)), // tty
    allow_char(5, Some(2)), // ptmx
    allow_char(136, None),  // pts/*
];

/// linux.resources.devices in their order, then the default ones, which no rule takes away.
pub fn rules(given: &[LinuxDeviceCgroup]) -> Result<Vec<Rule>, Fault> {
    let given = given.iter().enumerate().map(|(i, rule)| self::rule(i, rule));
    given.chain(DEFAULT.into_iter().map(Ok)).collect()
}

fn rule(index: usize, given: &LinuxDeviceCgroup) -> Result<Rule, Fault> {
    let fault = |field: &str, text: String| Fault {
        path: format!("linux.resources.devices[{index}].{field}"),
        text,
    };
    let number = |field: &str, number: Option<i64>| match number {
        None | Some(-1) => Ok(None),
        Some(n) => u32::try_from(n)
            .map(Some)
            .map_err(|_| fault(field, format!("{n} is no device number"))),
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
    Ok(Rule {
        allow: given.allow(),
        kind,
        major,
        minor,
        access,
    })
}

// Registers: r1 points to struct bpf_cgroup_dev_ctx { access_type, major, minor } (three u32).
const ANSWER: u8 = 0;
const CONTEXT: u8 = 1;
const TYPE: u8 = 2;
/// The accesses that are asked for and not yet granted.
const ASKED: u8 = 3;
const MAJOR: u8 = 4;
const MINOR: u8 = 5;
const SCRATCH: u8 = 6;

/// The program: rules from the last to the first. What a matching rule allows is taken off the accesses asked
/// for, none left is a yes; what it forbids of those left is a no.
pub fn compile(rules: &[Rule]) -> Vec<Instruction> {
    let mut program = vec![
        Instruction::load32(TYPE, CONTEXT, 0),
        Instruction::copy32(ASKED, TYPE),
        Instruction::and32(TYPE, 0xffff),
        Instruction::shift_right32(ASKED, 16),
        Instruction::load32(MAJOR, CONTEXT, 4),
        Instruction::load32(MINOR, CONTEXT, 8),
    ];
    let first = rules.iter().rposition(Rule::is_for_all).unwrap_or(0);
    for rule in rules[first..].iter().rev() {
        let block = block(rule);
        let after = |at: usize| (block.len() - at - 1) as i16;
        program.extend(
            block
                .iter()
                .enumerate()
                .map(|(at, instruction)| match instruction.is_jump_out() {
                    true => instruction.jumping(after(at)),
                    false => *instruction,
                }),
        );
    }
    program.extend([Instruction::set32(ANSWER, 0), Instruction::exit()]);
    program
}

/// One rule; its jumps out of the block are filled in by the caller.
fn block(rule: &Rule) -> Vec<Instruction> {
    let mut block = Vec::new();
    if let Some(kind) = rule.kind {
        let kind = if kind == Kind::Block { BLOCK } else { CHAR };
        block.push(Instruction::jump_out_unless_equal(TYPE, kind));
    }
    for (register, number) in [(MAJOR, rule.major), (MINOR, rule.minor)] {
        if let Some(number) = number {
            block.push(Instruction::jump_out_unless_equal(register, number as i32));
        }
    }
    if rule.allow {
        block.extend([
            Instruction::and32(ASKED, i32::from(ALL & !rule.access)),
            Instruction::jump_out_unless_equal(ASKED, 0),
            Instruction::set32(ANSWER, 1),
            Instruction::exit(),
        ]);
    } else {
        block.extend([
            Instruction::copy32(SCRATCH, ASKED),
            Instruction::and32(SCRATCH, i32::from(rule.access)),
            Instruction::jump_out_if_equal(SCRATCH, 0),
            Instruction::set32(ANSWER, 0),
            Instruction::exit(),
        ]);
    }
    block
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What the kernel would answer.
    fn run(program: &[Instruction], kind: i32, access: u8, major: u32, minor: u32) -> bool {
        let context = [kind as u32 | u32::from(access) << 16, major, minor];
        crate::sys::bpf::interpret(program, &context).expect("a program that ends") != 0
    }

    fn check(json: &str, asked: &[(i32, u8, u32, u32, bool)]) {
        let given: Vec<LinuxDeviceCgroup> = serde_json::from_str(json).expect(json);
        let program = compile(&rules(&given).expect(json));
        for (kind, access, major, minor, answer) in asked {
            assert_eq!(
                run(&program, *kind, *access, *major, *minor),
                *answer,
                "{json}: {kind} {access} {major}:{minor}"
            );
        }
    }

    #[test]
    fn default_devices_only() {
        for json in ["[]", r#"[{"allow":false,"access":"rwm"}]"#] {
            let all = [
                (CHAR, READ | WRITE, 1, 3, true),
                (CHAR, READ, 5, 2, true),
                (CHAR, WRITE, 136, 77, true),
                (CHAR, MKNOD, 200, 1, true),
                (BLOCK, MKNOD, 8, 0, true),
                (BLOCK, READ, 8, 0, false),
                (CHAR, READ, 10, 229, false),
                (CHAR, MKNOD | READ, 10, 229, false),
                (CHAR, READ, 1, 1, false),
            ];
            check(json, &all);
        }
    }

    #[test]
    fn the_last_rule_wins() {
        let deny_after = r#"[{"allow":true,"type":"c","major":10,"access":"rwm"},{"allow":false,"type":"c","major":10,"minor":229,"access":"w"}]"#;
        check(
            deny_after,
            &[
                (CHAR, READ, 10, 229, true),
                (CHAR, READ | WRITE, 10, 229, false),
                (CHAR, WRITE, 10, 1, true),
            ],
        );
        let allow_after = r#"[{"allow":false,"type":"c","major":10,"access":"rwm"},{"allow":true,"type":"c","major":10,"minor":229,"access":"rw"}]"#;
        check(
            allow_after,
            &[
                (CHAR, READ | WRITE, 10, 229, true),
                (CHAR, READ, 10, 1, false),
                (BLOCK, READ, 10, 229, false),
            ],
        );
        let all = r#"[{"allow":false,"type":"c","major":10,"access":"rwm"},{"allow":true,"type":"a"}]"#;
        check(all, &[(CHAR, READ, 10, 1, true), (BLOCK, WRITE, 8, 0, true)]);
        let nothing = r#"[{"allow":true,"type":"b","major":8,"minor":0,"access":"r"},{"allow":false,"type":"a","access":"rwm"}]"#;
        check(nothing, &[(BLOCK, READ, 8, 0, false), (CHAR, READ, 1, 3, true)]);
        let pieces = r#"[{"allow":true,"type":"b","major":8,"access":"r"},{"allow":true,"type":"b","minor":0,"major":8,"access":"w"}]"#;
        check(
            pieces,
            &[
                (BLOCK, READ | WRITE, 8, 0, true),
                (BLOCK, READ | WRITE, 8, 1, false),
            ],
        );
    }

    #[test]
    fn rules_for_both_types() {
        let one = r#"[{"allow":true,"major":10,"minor":229,"access":"r"}]"#;
        check(
            one,
            &[
                (CHAR, READ, 10, 229, true),
                (BLOCK, READ, 10, 229, true),
                (CHAR, WRITE, 10, 229, false),
                (CHAR, READ, 10, 228, false),
            ],
        );
        let read_only = r#"[{"allow":true,"type":"a"},{"allow":false,"type":"a","access":"wm"}]"#;
        check(
            read_only,
            &[
                (BLOCK, READ, 8, 0, true),
                (BLOCK, WRITE, 8, 0, false),
                (BLOCK, READ | WRITE, 8, 0, false),
                (CHAR, WRITE, 1, 3, true),
            ],
        );
        let wildcards = r#"[{"allow":true,"type":"c","major":-1,"minor":9,"access":"r"}]"#;
        check(
            wildcards,
            &[(CHAR, READ, 77, 9, true), (CHAR, READ, 77, 8, false)],
        );
        let highest = r#"[{"allow":true,"type":"b","major":4294967295,"minor":0,"access":"r"}]"#;
        check(
            highest,
            &[(BLOCK, READ, u32::MAX, 0, true), (BLOCK, READ, 0, 0, false)],
        );
    }

    #[test]
    fn when_no_program_is_needed() {
        let check = |json: &str, expected| {
            let given: Vec<LinuxDeviceCgroup> = serde_json::from_str(json).expect(json);
            assert_eq!(allow_all(&rules(&given).expect(json)), expected, "{json}");
        };
        check("[]", false);
        check(r#"[{"allow":true,"access":"rwm"}]"#, true);
        check(r#"[{"allow":true,"access":"rw"}]"#, false);
        check(r#"[{"allow":false},{"allow":true}]"#, true);
        check(
            r#"[{"allow":true},{"allow":false,"type":"c","access":"r"}]"#,
            false,
        );
    }

    #[test]
    fn wrong_rules_are_named() {
        let fault = |json: &str| {
            let given: Vec<LinuxDeviceCgroup> = serde_json::from_str(json).expect(json);
            rules(&given).expect_err(json).path
        };
        assert_eq!(
            fault(r#"[{"allow":true,"type":"c","access":"x"}]"#),
            "linux.resources.devices[0].access"
        );
        assert_eq!(
            fault(r#"[{"allow":true,"type":"c","major":-2,"access":"r"}]"#),
            "linux.resources.devices[0].major"
        );
    }
}
