//! What programs answer, asked through an interpreter of the instructions they may use.

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
        &[(CHAR, READ, 10, 229, true), (CHAR, READ | WRITE, 10, 229, false), (CHAR, WRITE, 10, 1, true)],
    );
    let allow_after = r#"[{"allow":false,"type":"c","major":10,"access":"rwm"},{"allow":true,"type":"c","major":10,"minor":229,"access":"rw"}]"#;
    check(
        allow_after,
        &[(CHAR, READ | WRITE, 10, 229, true), (CHAR, READ, 10, 1, false), (BLOCK, READ, 10, 229, false)],
    );
    let all = r#"[{"allow":false,"type":"c","major":10,"access":"rwm"},{"allow":true,"type":"a"}]"#;
    check(all, &[(CHAR, READ, 10, 1, true), (BLOCK, WRITE, 8, 0, true)]);
    let nothing = r#"[{"allow":true,"type":"b","major":8,"minor":0,"access":"r"},{"allow":false,"type":"a","access":"rwm"}]"#;
    check(nothing, &[(BLOCK, READ, 8, 0, false), (CHAR, READ, 1, 3, true)]);
    let pieces = r#"[{"allow":true,"type":"b","major":8,"access":"r"},{"allow":true,"type":"b","minor":0,"major":8,"access":"w"}]"#;
    check(pieces, &[(BLOCK, READ | WRITE, 8, 0, true), (BLOCK, READ | WRITE, 8, 1, false)]);
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
    check(wildcards, &[(CHAR, READ, 77, 9, true), (CHAR, READ, 77, 8, false)]);
    let highest = r#"[{"allow":true,"type":"b","major":4294967295,"minor":0,"access":"r"}]"#;
    check(highest, &[(BLOCK, READ, u32::MAX, 0, true), (BLOCK, READ, 0, 0, false)]);
}

/// The rule that the program carries out, said plainly.
fn answer(rules: &[Rule], kind: Kind, access: u8, major: u32, minor: u32) -> bool {
    let matches = |rule: &Rule, access: u8| {
        rule.kind.is_none_or(|k| k == kind)
            && rule.major.is_none_or(|n| n == major)
            && rule.minor.is_none_or(|n| n == minor)
            && rule.access & access != 0
    };
    [MKNOD, READ, WRITE]
        .iter()
        .filter(|one| access & **one != 0)
        .all(|one| rules.iter().rev().find(|rule| matches(rule, *one)).is_some_and(|rule| rule.allow))
}

/// Lists of rules, the same in each run (a generator of Knuth's).
pub fn random_rules() -> impl Iterator<Item = Vec<Rule>> {
    let mut state = 1u64;
    let mut dice = move |sides: u64| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        ((state >> 33) % sides) as usize
    };
    std::iter::repeat_with(move || {
        (0..dice(8))
            .map(|_| Rule {
                allow: dice(2) == 0,
                kind: [None, Some(Kind::Block), Some(Kind::Char)][dice(3)],
                major: [None, Some(1), Some(2)][dice(3)],
                minor: [None, Some(1), Some(2)][dice(3)],
                access: [0, ALL, ALL, READ, WRITE, MKNOD, READ | WRITE][dice(7)],
            })
            .collect()
    })
}

#[test]
fn programs_of_many_rules_answer_as_the_rules_do() {
    for rules in random_rules().take(3000) {
        let program = compile(&rules);
        for (kind, number) in [(Kind::Block, BLOCK), (Kind::Char, CHAR)] {
            for asked in 0..63u8 {
                let (access, major, minor) = (1 + asked % 7, u32::from(asked / 7 % 3), u32::from(asked / 21));
                let expected = answer(&rules, kind, access, major, minor);
                let found = run(&program, number, access, major, minor);
                assert_eq!(found, expected, "{rules:?}: {kind:?} {access} {major}:{minor}");
            }
        }
    }
}

#[test]
fn the_default_program_is_short() {
    let given: Vec<LinuxDeviceCgroup> =
        serde_json::from_str(r#"[{"allow":false,"access":"rwm"}]"#).expect("json");
    assert!(compile(&rules(&given).expect("rules")).len() <= 23);
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
    check(r#"[{"allow":true},{"allow":false,"type":"c","access":"r"}]"#, false);
}

#[test]
fn wrong_rules_are_named() {
    let fault = |json: &str| {
        let given: Vec<LinuxDeviceCgroup> = serde_json::from_str(json).expect(json);
        rules(&given).expect_err(json).path
    };
    assert_eq!(fault(r#"[{"allow":true,"type":"c","access":"x"}]"#), "linux.resources.devices[0].access");
    assert_eq!(
        fault(r#"[{"allow":true,"type":"c","major":-2,"access":"r"}]"#),
        "linux.resources.devices[0].major"
    );
}
