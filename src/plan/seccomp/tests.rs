//! Profiles, and what their filters answer: see [`oracle`].

use super::oracle::*;
use super::verdicts::{LD_W_ABS, RET_K};
use super::*;

const ALLOW: u32 = 0x7fff_0000;
const LOG: u32 = 0x7ffc_0000;

/// As Docker 28.5 writes it into config.json for default options on x86_64.
const DOCKER: &str = include_str!("testdata/docker.json");

const fn errno(n: u32) -> u32 {
    SECCOMP_RET_ERRNO | n
}

fn number(name: &str) -> u32 {
    number_on(ScmpArch::X8664, name).expect(name)
}

/// Each call on x86_64 with its first three arguments, and the answer.
fn check(json: &str, calls: &[(&str, [u64; 3], u32)]) {
    let program = instructions(&compiled(json).filter);
    for (name, [a, b, c], answer) in calls {
        let call = Call { token: X86_64, number: number(name), args: [*a, *b, *c, 0, 0, 0] };
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
    check(r#"{"defaultAction":"SCMP_ACT_ALLOW"}"#, &[("read", [0; 3], ALLOW)]);
    check(r#"{"defaultAction":"SCMP_ACT_ERRNO"}"#, &[("read", [0; 3], errno(1))]);
}

#[test]
fn dockers_profile() {
    check_against_libseccomp(DOCKER);
    check_against_profile(DOCKER);
    let filter = compiled(DOCKER).filter;
    assert!(filter.instructions() < 800, "{}", filter.instructions());
}

/// More ranges than a comparison can jump over, with calls that look at arguments among them.
#[test]
fn far_jumps() {
    let mut rules = Vec::new();
    let docker = profile(DOCKER);
    for (i, name) in docker.syscalls().iter().flatten().flat_map(|rule| rule.names()).enumerate() {
        let action = ["ALLOW", "LOG", "KILL_PROCESS", "TRAP", "TRACE"][i % 5];
        let arg = format!(r#"{{"index":{},"value":{},"op":"SCMP_CMP_EQ"}}"#, i % 6, i % 3);
        let args = if i % 7 == 0 { format!(r#","args":[{arg}]"#) } else { String::new() };
        rules.push(format!(r#"{{"names":["{name}"],"action":"SCMP_ACT_{action}"{args}}}"#));
    }
    let json = with_rules("SCMP_ACT_ERRNO", &rules.join(","));
    assert!(compiled(&json).filter.instructions() > 1000);
    check_against_libseccomp(&json);
}

/// Trees of every size, so that jumps of every distance come about: each number has an answer of its own or
/// shares one, and some (or all) answers are instructions to be copied.
#[test]
fn trees_of_every_size() {
    let instruction = |code, k| Instruction { code, jt: 0, jf: 0, k };
    let program: Vec<_> =
        (0..700).flat_map(|n| [instruction(LD_W_ABS, 16), instruction(RET_K, LOG + n)]).collect();
    for (kinds, every) in [(1, 5), (3, 5), (700, 5), (700, 1)] {
        for size in (1..300).chain([511, 512, 513, 700]) {
            let copied = |n: u32| n % every == every - 1;
            let verdict = |n: u32| match copied(n) {
                true => Verdict::Continue(2 * n as usize),
                false => Verdict::Return(errno(n % kinds)),
            };
            let section = |token, size: u32| Section {
                token,
                parts: vec![(program.clone(), (0..size).map(|n| (n, verdict(n))).collect())],
            };
            let laid_out =
                layout::layout(&[section(AARCH64, 1), section(X86_64, size), section(X86, 600)], ALLOW);
            let answer = |token, number| run(&laid_out, Call { token, number, args: [0; 6] });
            for n in 0..size {
                let expected = |n: u32| if copied(n) { LOG + n } else { errno(n % kinds) };
                assert_eq!(answer(X86_64, n), expected(n), "{n} of {size}, {kinds} kinds");
                assert_eq!(answer(X86, n), expected(n.min(599)), "{n} beside {size}, {kinds} kinds");
                assert_eq!(answer(AARCH64, n), expected(0), "{n} beside {size}, {kinds} kinds");
            }
            assert_eq!(answer(ARM, 0), ALLOW);
        }
    }
}

#[test]
fn no_rules() {
    for default in ["ALLOW", "ERRNO", "KILL"] {
        check_against_libseccomp(&with_rules(&format!("SCMP_ACT_{default}"), ""));
    }
}

#[test]
fn other_machines() {
    let arm = r#""SCMP_ARCH_AARCH64","SCMP_ARCH_ARM""#;
    let json = DOCKER.replace(r#""SCMP_ARCH_X86", "SCMP_ARCH_X32""#, arm);
    assert_ne!(json, DOCKER);
    check_against_libseccomp(&json);
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
    for rules in [both.clone(), either.clone(), wide.clone(), format!("{both},{either},{wide}")] {
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
    let json = with_rules("SCMP_ACT_ERRNO", r#"{"names":["read","openat2"],"action":"SCMP_ACT_ALLOW"}"#);
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
        (AARCH64, 63, SECCOMP_RET_KILL_THREAD), // not listed
    ] {
        let found = run(&program, Call { token, number, args: [0; 6] });
        assert_eq!(found, answer, "{token:#x} {number:#x}: {found:#x}");
    }
    // What x32 isn't listed for is newer, too.
    let json = json.replace(r#","SCMP_ARCH_X32""#, "");
    let program = instructions(&compiled(&json).filter);
    let x32 = Call { token: X86_64, number: X32_BIT, args: [0; 6] };
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
        assert_eq!((compiled.filter.flags, compiled.warnings.len()), (expected, warnings), "{flags}");
    };
    check("", 4, 0);
    check(r#","flags":[]"#, 0, 0);
    check(r#","flags":["SECCOMP_FILTER_FLAG_LOG"]"#, 2, 0);
    check(r#","flags":["SECCOMP_FILTER_FLAG_TSYNC","SECCOMP_FILTER_FLAG_SPEC_ALLOW"]"#, 1 | 4, 0);
    check(r#","flags":["SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV"]"#, 0, 1);
    // With a listener.
    const NOTIFY: &str = r#","syscalls":[{"names":["mkdir"],"action":"SCMP_ACT_NOTIFY"}]"#;
    check(NOTIFY, 8 | 4, 0);
    check(&format!(r#"{NOTIFY},"flags":["SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV"]"#), 8 | 32, 0);
    check(&format!(r#"{NOTIFY},"flags":["SECCOMP_FILTER_FLAG_TSYNC","SECCOMP_FILTER_FLAG_LOG"]"#), 8 | 2, 0);
}

#[test]
fn notifications() {
    const NOTIFY: u32 = 0x7fc0_0000;
    let rule = |name: &str, args: &str| format!(r#"{{"names":["{name}"],"action":"SCMP_ACT_NOTIFY"{args}}}"#);
    let some = r#","args":[{"index":0,"value":7,"op":"SCMP_CMP_EQ"}]"#;
    let rules = [rule("mkdir", ""), rule("socket", some), rule("openat2", "")].join(",");
    for default in ["SCMP_ACT_ALLOW", "SCMP_ACT_ERRNO", "SCMP_ACT_KILL_PROCESS"] {
        let json = with_rules(default, &rules);
        check_against_libseccomp(&json);
        check_against_profile(&json);
    }
    check(
        &with_rules("SCMP_ACT_ALLOW", &rules),
        &[
            ("mkdir", [0; 3], NOTIFY),
            ("socket", [7, 0, 0], NOTIFY),
            ("socket", [6, 0, 0], ALLOW),
            ("openat2", [0; 3], NOTIFY),
            ("write", [0; 3], ALLOW),
        ],
    );
    let docker = DOCKER.replacen("SCMP_ACT_ALLOW", "SCMP_ACT_NOTIFY", 1);
    assert_ne!(docker, DOCKER);
    check_against_libseccomp(&docker);
}

#[test]
fn unknown_calls_are_skipped() {
    let rule = r#"{"names":["no_such_call","mkdir"],"action":"SCMP_ACT_ERRNO"}"#;
    let json = with_rules("SCMP_ACT_ALLOW", rule);
    assert_eq!(compiled(&json).skipped, ["no_such_call"]);
    check(&json, &[("mkdir", [0; 3], errno(1))]);
}

#[test]
fn what_cannot_be_is_named() {
    let refuse = |json: &str, kind: Kind, path: &str| {
        let error = compile(&profile(json)).expect_err(json);
        assert_eq!(error.kind, kind, "{error}");
        assert!(error.to_string().contains(&format!("linux.seccomp.{path}: ")), "{error}");
    };
    let rule = |rest: &str| with_rules("SCMP_ACT_ALLOW", &format!(r#"{{"names":["read"],{rest}}}"#));
    let (invalid, unsupported) = (Kind::InvalidSpec, Kind::Unsupported);
    let big_endian =
        r#"{"defaultAction":"SCMP_ACT_ALLOW","architectures":["SCMP_ARCH_X86","SCMP_ARCH_MIPS"]}"#;
    refuse(big_endian, unsupported, "architectures[1]");
    let errno = r#"{"defaultAction":"SCMP_ACT_KILL","defaultErrnoRet":1}"#;
    refuse(errno, invalid, "defaultErrnoRet");
    refuse(&rule(r#""action":"SCMP_ACT_LOG","errnoRet":1"#), invalid, "syscalls[0].errnoRet");
    refuse(&rule(r#""action":"SCMP_ACT_ERRNO","errnoRet":4096"#), invalid, "syscalls[0].errnoRet");
    refuse(&rule(r#""action":"SCMP_ACT_TRACE","errnoRet":65536"#), invalid, "syscalls[0].errnoRet");
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
        format!(r#"{{"defaultAction":"SCMP_ACT_ALLOW","syscalls":[{rule}[{}]}}]}}"#, args.join(","))
    };
    check_against_profile(&rules(30));
    let error = compile(&profile(&rules(3000))).expect_err("too long");
    assert_eq!(error.kind, Kind::Unsupported);
    assert!(error.to_string().contains("instructions"), "{error}");
}
