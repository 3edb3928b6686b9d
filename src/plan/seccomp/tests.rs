//! The filters are run by an interpreter of the kernel's classic BPF, and compared with two oracles: what the
//! profile says in its own words, and the program that libseccomp makes of the whole profile.

use std::collections::BTreeSet;

use super::verdicts::*;
use super::*;

const ALLOW: u32 = 0x7fff_0000;
const LOG: u32 = 0x7ffc_0000;
const ENOSYS: u32 = SECCOMP_RET_ERRNO | 38;
const X86_64: u32 = Arch::ScmpArchX86_64 as u32;
const X86: u32 = Arch::ScmpArchX86 as u32;

/// As Docker 28.5 writes it into config.json for default options on x86_64.
const DOCKER: &str = include_str!("testdata/docker.json");

const fn errno(n: u32) -> u32 {
    SECCOMP_RET_ERRNO | n
}

fn profile(json: &str) -> LinuxSeccomp {
    serde_json::from_str(json).expect(json)
}

fn compiled(json: &str) -> Compiled {
    compile(&profile(json)).expect(json)
}

/// A call as the kernel shows it to a filter: struct seccomp_data of seccomp(2).
#[derive(Clone, Copy, Debug)]
struct Call {
    token: u32,
    number: u32,
    args: [u64; 6],
}

/// What the kernel answers (linux/filter.h).
fn run(program: &[Instruction], call: Call) -> u32 {
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
            other => panic!("instruction {other:#x}"),
        }
    }
}

fn instructions(filter: &Filter) -> Vec<Instruction> {
    let (chunks, rest) = (
        filter.program.chunks_exact(INSTRUCTION),
        filter.program.len() % INSTRUCTION,
    );
    assert_eq!(rest, 0);
    chunks
        .map(|i| Instruction::read(i.try_into().expect("8 bytes")))
        .collect()
}

fn number_on(arch: ScmpArch, name: &str) -> Option<u32> {
    let call = ScmpSyscall::from_name_by_arch(name, arch).ok()?;
    u32::try_from(call.as_raw_syscall()).ok()
}

fn number(name: &str) -> u32 {
    number_on(ScmpArch::X8664, name).expect(name)
}

/// Each call on x86_64 with its first three arguments, and the answer.
fn check(json: &str, calls: &[(&str, [u64; 3], u32)]) {
    let program = instructions(&compiled(json).filter);
    for (name, [a, b, c], answer) in calls {
        let call = Call {
            token: X86_64,
            number: number(name),
            args: [*a, *b, *c, 0, 0, 0],
        };
        let found = run(&program, call);
        assert_eq!(found, *answer, "{json}: {name} {a} {b} {c}: {found:#x}");
    }
}

#[test]
fn actions_and_errnos() {
    let json = r#"{"defaultAction":"SCMP_ACT_ALLOW","syscalls":[
        {"names":["mkdir"],"action":"SCMP_ACT_ERRNO"},
        {"names":["rmdir"],"action":"SCMP_ACT_ERRNO","errnoRet":38},
        {"names":["chdir"],"action":"SCMP_ACT_KILL"},
        {"names":["chroot"],"action":"SCMP_ACT_KILL_THREAD"},
        {"names":["getcwd"],"action":"SCMP_ACT_KILL_PROCESS"},
        {"names":["uname"],"action":"SCMP_ACT_TRAP"},
        {"names":["getpid"],"action":"SCMP_ACT_TRACE","errnoRet":7},
        {"names":["getppid"],"action":"SCMP_ACT_TRACE"},
        {"names":["sync"],"action":"SCMP_ACT_LOG"},
        {"names":["read"],"action":"SCMP_ACT_ALLOW"}]}"#;
    let none = [0; 3];
    check(
        json,
        &[
            ("mkdir", none, errno(1)),
            ("rmdir", none, errno(38)),
            ("chdir", none, 0),
            ("chroot", none, 0),
            ("getcwd", none, 0x8000_0000),
            ("uname", none, 0x0003_0000),
            ("getpid", none, 0x7ff0_0007),
            ("getppid", none, 0x7ff0_0001),
            ("sync", none, LOG),
            ("read", none, ALLOW),
            ("write", none, ALLOW),
        ],
    );
}

#[test]
fn default_actions() {
    for (default, answer) in [
        (r#""SCMP_ACT_ERRNO""#, errno(1)),
        (r#""SCMP_ACT_ERRNO","defaultErrnoRet":13"#, errno(13)),
        (r#""SCMP_ACT_TRACE","defaultErrnoRet":13"#, 0x7ff0_000d),
        (r#""SCMP_ACT_KILL_PROCESS""#, 0x8000_0000),
        (r#""SCMP_ACT_TRAP""#, 0x0003_0000),
        (r#""SCMP_ACT_LOG""#, LOG),
    ] {
        let json = format!(
            r#"{{"defaultAction":{default},"syscalls":[{{"names":["openat2"],"action":"SCMP_ACT_ALLOW"}}]}}"#
        );
        check(&json, &[("openat2", [0; 3], ALLOW), ("read", [0; 3], answer)]);
    }
    check(
        r#"{"defaultAction":"SCMP_ACT_ALLOW"}"#,
        &[("read", [0; 3], ALLOW)],
    );
    check(
        r#"{"defaultAction":"SCMP_ACT_ERRNO"}"#,
        &[("read", [0; 3], errno(1))],
    );
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
    let args = profile
        .syscalls()
        .iter()
        .flatten()
        .flat_map(|rule| rule.args().iter().flatten());
    for value in args
        .flat_map(|arg| [Some(arg.value()), arg.value_two()])
        .flatten()
    {
        edges.extend([value.wrapping_sub(1), value, value.wrapping_add(1), !value]);
        edges.extend([value ^ 1 << 32, value & 0xffff_ffff, value | 0xffff_ffff << 32]);
    }
    edges.into_iter().collect()
}

/// Every number that there is and some that aren't, on x86_64 and x32 and x86.
fn every_number() -> impl Iterator<Item = (u32, u32)> {
    let edges = [1 << 20, X32_BIT - 1, X32_BIT | 1 << 20, u32::MAX - 1, u32::MAX];
    let numbers = move || (0..640).chain((0..640).map(|n| n | X32_BIT)).chain(edges);
    [X86_64, X86, Arch::ScmpArchAarch64 as u32]
        .into_iter()
        .flat_map(move |token| numbers().map(move |number| (token, number)))
}

/// Compares with libseccomp's own program for the whole profile, under the rule for newer calls.
fn check_against_libseccomp(json: &str) {
    let profile = profile(json);
    let mut reader = Reader::default();
    let default = reader.action(("", ""), profile.default_action(), profile.default_errno_ret());
    let mut whole = ScmpFilterContext::new(default).expect("a context");
    let mut newest = vec![(X86_64, 0, newest(&profile, NATIVE))];
    for arch in profile
        .architectures()
        .iter()
        .flatten()
        .filter(|arch| **arch != NATIVE)
    {
        whole
            .add_arch(ScmpArch::from_str(&arch.to_string()).expect("known"))
            .expect("added");
        match arch {
            Arch::ScmpArchX32 => newest.push((X86_64, X32_BIT, super::newest(&profile, *arch))),
            arch => newest.push((*arch as u32, 0, super::newest(&profile, *arch))),
        }
    }
    add(&mut whole, &reader.rules(&profile, default)).expect("rules");
    let libseccomps = export(&whole).expect("exported");
    let ours = instructions(&compile(&profile).expect(json).filter);
    let edges = edges(&profile);
    for (token, number) in every_number() {
        let newest = newest
            .iter()
            .rfind(|(t, first, _)| *t == token && *first <= number);
        let newest = newest.and_then(|(.., newest)| *newest).unwrap_or(u32::MAX);
        for (i, edge) in edges.iter().enumerate() {
            let other = edges[(i * 7 + 3) % edges.len()];
            for args in [[*edge; 6], [*edge, other, *edge, other, *edge, other]] {
                let call = Call { token, number, args };
                let expected = match wants_enosys(&profile, default) && number > newest {
                    true => ENOSYS,
                    false => run(&libseccomps, call),
                };
                let found = run(&ours, call);
                assert_eq!(
                    found, expected,
                    "{json}: {call:x?}: {found:#x} instead of {expected:#x}"
                );
            }
        }
    }
}

/// Compares with what the profile says, call by call on x86_64.
fn check_against_profile(json: &str) {
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
            let (found, expected) = (
                run(
                    &ours,
                    Call {
                        token: X86_64,
                        number,
                        args,
                    },
                ),
                told(&profile, name, args),
            );
            assert_eq!(
                found, expected,
                "{json}: {name} {a:#x} {b:#x}: {found:#x} instead of {expected:#x}"
            );
        }
    }
}

#[test]
fn dockers_profile() {
    check_against_libseccomp(DOCKER);
    check_against_profile(DOCKER);
    let filter = compiled(DOCKER).filter;
    assert!(filter.instructions() < 800, "{}", filter.instructions());
}

fn with_rules(default: &str, rules: &str) -> String {
    format!(
        r#"{{"defaultAction":"{default}","syscalls":[{rules}],
           "architectures":["SCMP_ARCH_X86","SCMP_ARCH_X86_64","SCMP_ARCH_X32"]}}"#
    )
}

#[test]
fn every_operator() {
    for op in ["NE", "LT", "LE", "EQ", "GE", "GT", "MASKED_EQ"] {
        for value in [0, 1, 40, 0xffff_ffff, 0x1_0000_0000, 0x2_0000_0008, u64::MAX] {
            for two in ["", r#","valueTwo":8"#] {
                let arg = format!(r#"{{"index":1,"value":{value}{two},"op":"SCMP_CMP_{op}"}}"#);
                let rule =
                    format!(r#"{{"names":["mkdir","openat2"],"action":"SCMP_ACT_ERRNO","args":[{arg}]}}"#);
                check_against_profile(&with_rules("SCMP_ACT_ALLOW", &rule));
            }
        }
    }
}

#[test]
fn several_arguments() {
    let rule = |args: &[(usize, u64, &str)]| {
        let args: Vec<_> = args
            .iter()
            .map(|(index, value, op)| format!(r#"{{"index":{index},"value":{value},"op":"SCMP_CMP_{op}"}}"#))
            .collect();
        let rule = r#"{"names":["mkdir","openat2"],"action":"SCMP_ACT_KILL","args":"#;
        format!("{rule}[{}]}}", args.join(","))
    };
    let both = rule(&[(0, 1, "EQ"), (1, 2, "GT")]);
    let either = rule(&[(0, 1, "EQ"), (0, 7, "EQ"), (1, 2, "EQ")]);
    let wide = rule(&[(5, 1 << 40, "LE"), (2, 7, "NE"), (0, 9, "GE")]);
    for rules in [
        both.clone(),
        either.clone(),
        wide.clone(),
        format!("{both},{either},{wide}"),
    ] {
        for default in ["SCMP_ACT_ALLOW", "SCMP_ACT_ERRNO"] {
            check_against_profile(&with_rules(default, &rules));
            check_against_libseccomp(&with_rules(default, &rules));
        }
    }
}

#[test]
fn rules_again_and_against_each_other() {
    let rule = |action: &str| format!(r#"{{"names":["mkdir","mkdir"],"action":"SCMP_ACT_{action}"}}"#);
    let (log, errno, allow) = (rule("LOG"), rule("ERRNO"), rule("ALLOW"));
    check_against_profile(&with_rules("SCMP_ACT_ALLOW", &format!("{errno},{errno}")));
    check_against_profile(&with_rules("SCMP_ACT_ALLOW", &format!("{log},{errno}")));
    // A rule that says what the default says is none, so it doesn't stand in the way of the next.
    let json = with_rules("SCMP_ACT_ALLOW", &format!("{allow},{errno}"));
    check(&json, &[("mkdir", [0; 3], super::tests::errno(1))]);
}

/// x86's one number for sixteen calls on sockets.
#[test]
fn multiplexed_calls() {
    let rules = r#"{"names":["bind","shmget"],"action":"SCMP_ACT_ALLOW"},
        {"names":["socket"],"action":"SCMP_ACT_LOG","args":[{"index":0,"value":40,"op":"SCMP_CMP_NE"}]},
        {"names":["accept4"],"action":"SCMP_ACT_ERRNO","errnoRet":22}"#;
    check_against_libseccomp(&with_rules("SCMP_ACT_KILL", rules));
}

#[test]
fn newer_calls_are_enosys() {
    let json = with_rules(
        "SCMP_ACT_ERRNO",
        r#"{"names":["read","openat2"],"action":"SCMP_ACT_ALLOW"}"#,
    );
    let program = instructions(&compiled(&json).filter);
    let newest = number("openat2");
    for (token, number, answer) in [
        (X86_64, 0, ALLOW),
        (X86_64, 1, errno(1)),
        (X86_64, newest, ALLOW),
        (X86_64, newest + 1, ENOSYS),
        (X86_64, X32_BIT - 1, ENOSYS),
        (X86_64, X32_BIT, ALLOW),
        (X86_64, X32_BIT | 1, errno(1)),
        (X86_64, X32_BIT | newest, ALLOW),
        (X86_64, X32_BIT | (newest + 1), ENOSYS),
        (X86_64, u32::MAX, ENOSYS),
        (X86, 3, ALLOW),    // read
        (X86, 4, errno(1)), // write
        (X86, 437, ALLOW),  // openat2
        (X86, 438, ENOSYS),
        (Arch::ScmpArchAarch64 as u32, 63, SECCOMP_RET_KILL_THREAD), // not listed
    ] {
        let found = run(
            &program,
            Call {
                token,
                number,
                args: [0; 6],
            },
        );
        assert_eq!(found, answer, "{token:#x} {number:#x}: {found:#x}");
    }
    // What x32 isn't listed for is newer, too.
    let json = json.replace(r#","SCMP_ARCH_X32""#, "");
    let program = instructions(&compiled(&json).filter);
    let x32 = Call {
        token: X86_64,
        number: X32_BIT,
        args: [0; 6],
    };
    assert_eq!(run(&program, x32), ENOSYS);
}

#[test]
fn no_enosys_where_the_default_lets_through_or_says_so() {
    for (default, answer) in [
        (r#""SCMP_ACT_ALLOW""#, ALLOW),
        (r#""SCMP_ACT_LOG""#, LOG),
        (r#""SCMP_ACT_TRACE""#, 0x7ff0_0001),
        (r#""SCMP_ACT_ERRNO","defaultErrnoRet":38"#, ENOSYS),
        (r#""SCMP_ACT_KILL""#, ENOSYS),
        (r#""SCMP_ACT_TRAP""#, ENOSYS),
    ] {
        let rule = r#"{"names":["read"],"action":"SCMP_ACT_KILL_PROCESS"}"#;
        let json = format!(r#"{{"defaultAction":{default},"syscalls":[{rule}]}}"#);
        check(&json, &[("write", [0; 3], answer)]);
    }
}

#[test]
fn flags() {
    let check = |flags: &str, expected: u32, warnings: usize| {
        let compiled = compiled(&format!(r#"{{"defaultAction":"SCMP_ACT_ALLOW"{flags}}}"#));
        assert_eq!(
            (compiled.filter.flags, compiled.warnings.len()),
            (expected, warnings),
            "{flags}"
        );
    };
    check("", 4, 0);
    check(r#","flags":[]"#, 0, 0);
    check(r#","flags":["SECCOMP_FILTER_FLAG_LOG"]"#, 2, 0);
    check(
        r#","flags":["SECCOMP_FILTER_FLAG_TSYNC","SECCOMP_FILTER_FLAG_SPEC_ALLOW"]"#,
        1 | 4,
        0,
    );
    check(r#","flags":["SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV"]"#, 0, 1);
    check(r#","listenerPath":"/run/agent""#, 4, 1);
}

#[test]
fn unknown_calls_are_warnings() {
    let rule = r#"{"names":["no_such_call","mkdir"],"action":"SCMP_ACT_ERRNO"}"#;
    let compiled = compiled(&with_rules("SCMP_ACT_ALLOW", rule));
    assert_eq!(
        compiled.warnings,
        [r#"linux.seccomp.syscalls[0].names: "no_such_call" is no system call that libseccomp knows"#]
    );
}

#[test]
fn what_cannot_be_is_named() {
    let refuse = |json: &str, kind: Kind, path: &str| {
        let error = compile(&profile(json)).expect_err(json);
        assert_eq!(error.kind, kind, "{error}");
        assert!(
            error.to_string().contains(&format!("linux.seccomp.{path}: ")),
            "{error}"
        );
    };
    let rule = |rest: &str| with_rules("SCMP_ACT_ALLOW", &format!(r#"{{"names":["read"],{rest}}}"#));
    let (invalid, unsupported) = (Kind::InvalidSpec, Kind::Unsupported);
    let notify = r#"{"defaultAction":"SCMP_ACT_NOTIFY"}"#;
    refuse(notify, unsupported, "defaultAction");
    refuse(
        &rule(r#""action":"SCMP_ACT_NOTIFY""#),
        unsupported,
        "syscalls[0].action",
    );
    let metadata = r#"{"defaultAction":"SCMP_ACT_ALLOW","listenerMetadata":"x"}"#;
    refuse(metadata, invalid, "listenerMetadata");
    let big_endian =
        r#"{"defaultAction":"SCMP_ACT_ALLOW","architectures":["SCMP_ARCH_X86","SCMP_ARCH_MIPS"]}"#;
    refuse(big_endian, unsupported, "architectures[1]");
    let errno = r#"{"defaultAction":"SCMP_ACT_KILL","defaultErrnoRet":1}"#;
    refuse(errno, invalid, "defaultErrnoRet");
    refuse(
        &rule(r#""action":"SCMP_ACT_LOG","errnoRet":1"#),
        invalid,
        "syscalls[0].errnoRet",
    );
    refuse(
        &rule(r#""action":"SCMP_ACT_ERRNO","errnoRet":4096"#),
        invalid,
        "syscalls[0].errnoRet",
    );
    refuse(
        &rule(r#""action":"SCMP_ACT_TRACE","errnoRet":65536"#),
        invalid,
        "syscalls[0].errnoRet",
    );
    let index = r#""action":"SCMP_ACT_ERRNO","args":[{"index":6,"value":0,"op":"SCMP_CMP_EQ"}]"#;
    refuse(&rule(index), invalid, "syscalls[0].args[0].index");
    let twice = |action: &str| {
        let arg = r#"{"index":0,"value":40,"op":"SCMP_CMP_EQ"}"#;
        format!(r#"{{"names":["socket"],"action":"SCMP_ACT_{action}","args":[{arg}]}}"#)
    };
    let contrary = with_rules("SCMP_ACT_ALLOW", &format!("{},{}", twice("LOG"), twice("ERRNO")));
    refuse(&contrary, invalid, "syscalls[1]");
    let nameless = with_rules("SCMP_ACT_ALLOW", r#"{"names":[],"action":"SCMP_ACT_ERRNO"}"#);
    refuse(&nameless, invalid, "syscalls[0].names");
}

#[test]
fn more_than_the_kernel_takes() {
    let rules = |count: u64| {
        let arg = |value: u64| format!(r#"{{"index":0,"value":{value},"op":"SCMP_CMP_EQ"}}"#);
        let args: Vec<_> = (0..count).map(|n| arg(n << 20 | n << 40)).collect();
        let rule = r#"{"names":["mkdir"],"action":"SCMP_ACT_ERRNO","args":"#;
        format!(
            r#"{{"defaultAction":"SCMP_ACT_ALLOW","syscalls":[{rule}[{}]}}]}}"#,
            args.join(",")
        )
    };
    check_against_profile(&rules(30));
    let error = compile(&profile(&rules(3000))).expect_err("too long");
    assert_eq!(error.kind, Kind::Unsupported);
    assert!(error.to_string().contains("instructions"), "{error}");
}
