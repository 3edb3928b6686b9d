//! The filters, run by an interpreter of the kernel's classic BPF as far as libseccomp uses it, against what
//! the profile says.

use super::*;

const ALLOW: u32 = 0x7fff_0000;
const KILL_THREAD: u32 = 0;
const LOG: u32 = 0x7ffc_0000;
const X86: u32 = 0x4000_0003;

const fn errno(n: u32) -> u32 {
    RET_ERRNO | n
}

fn compiled(json: &str) -> Compiled {
    compile(&serde_json::from_str(json).expect(json)).expect(json)
}

/// What the kernel answers to a call (linux/filter.h; seccomp(2), struct seccomp_data).
fn run(filter: &Filter, arch: u32, number: u32, args: [u64; 6]) -> u32 {
    let mut data = Vec::new();
    data.extend(number.to_ne_bytes());
    data.extend(arch.to_ne_bytes());
    data.extend(0u64.to_ne_bytes());
    data.extend(args.iter().flat_map(|arg| arg.to_ne_bytes()));
    let program: Vec<_> = filter.program.chunks(INSTRUCTION).collect();
    let (mut at, mut a, mut memory) = (0usize, 0u32, [0u32; 16]);
    loop {
        let i = program[at];
        let code = u16::from_ne_bytes([i[0], i[1]]);
        let (jt, jf) = (usize::from(i[2]), usize::from(i[3]));
        let k = u32::from_ne_bytes([i[4], i[5], i[6], i[7]]);
        at += 1;
        let jump = |yes: bool| if yes { jt } else { jf };
        match code {
            LD_W_ABS => a = u32::from_ne_bytes(data[k as usize..k as usize + 4].try_into().expect("aligned")),
            0x54 => a &= k,
            0x02 => memory[k as usize] = a,
            0x60 => a = memory[k as usize],
            JEQ_K => at += jump(a == k),
            JGT_K => at += jump(a > k),
            JGE_K => at += jump(a >= k),
            0x45 => at += jump(a & k != 0),
            JA => at += k as usize,
            RET_K => return k,
            other => panic!("instruction {other:#x}"),
        }
    }
}

fn number(name: &str) -> u32 {
    ScmpSyscall::from_name_by_arch(name, ScmpArch::X8664)
        .expect(name)
        .as_raw_syscall() as u32
}

/// Each call on x86_64 with its first three arguments, and the answer.
fn check(json: &str, calls: &[(&str, [u64; 3], u32)]) {
    let filter = compiled(json).filter;
    for (name, [a, b, c], answer) in calls {
        let found = run(&filter, AUDIT_ARCH_X86_64, number(name), [*a, *b, *c, 0, 0, 0]);
        assert_eq!(found, *answer, "{json}: {name} {a} {b} {c}: {found:#x}");
    }
}

#[test]
fn actions_and_errnos() {
    let json = r#"{"defaultAction":"SCMP_ACT_ALLOW","syscalls":[
        {"names":["mkdir"],"action":"SCMP_ACT_ERRNO"},
        {"names":["rmdir"],"action":"SCMP_ACT_ERRNO","errnoRet":38},
        {"names":["chdir"],"action":"SCMP_ACT_KILL"},
        {"names":["getcwd"],"action":"SCMP_ACT_KILL_PROCESS"},
        {"names":["uname"],"action":"SCMP_ACT_TRAP"},
        {"names":["getpid"],"action":"SCMP_ACT_TRACE","errnoRet":7},
        {"names":["sync"],"action":"SCMP_ACT_LOG"},
        {"names":["read"],"action":"SCMP_ACT_ALLOW"}]}"#;
    let none = [0; 3];
    check(
        json,
        &[
            ("mkdir", none, errno(1)),
            ("rmdir", none, errno(38)),
            ("chdir", none, KILL_THREAD),
            ("getcwd", none, 0x8000_0000),
            ("uname", none, 0x0003_0000),
            ("getpid", none, 0x7ff0_0007),
            ("sync", none, LOG),
            ("read", none, ALLOW),
            ("write", none, ALLOW),
        ],
    );
}

#[test]
fn every_operator() {
    let rule = |op: &str, two: &str| {
        format!(
            r#"{{"defaultAction":"SCMP_ACT_ALLOW","syscalls":[{{"names":["mkdir"],"action":"SCMP_ACT_ERRNO",
            "args":[{{"index":1,"value":8589934600{two},"op":"{op}"}}]}}]}}"#
        )
    };
    let value = 8_589_934_600u64; // above 32 bits
    let verdicts = |op: &str, below: bool, same: bool, above: bool| {
        let answer = |hit: bool| if hit { errno(1) } else { ALLOW };
        let call = |arg: u64, hit: bool| ("mkdir", [0, arg, 0], answer(hit));
        check(
            &rule(op, ""),
            &[call(value - 1, below), call(value, same), call(value + 1, above)],
        );
    };
    verdicts("SCMP_CMP_NE", true, false, true);
    verdicts("SCMP_CMP_LT", true, false, false);
    verdicts("SCMP_CMP_LE", true, true, false);
    verdicts("SCMP_CMP_EQ", false, true, false);
    verdicts("SCMP_CMP_GE", false, true, true);
    verdicts("SCMP_CMP_GT", false, false, true);
    let masked = r#"{"defaultAction":"SCMP_ACT_ALLOW","syscalls":[{"names":["clone"],"action":"SCMP_ACT_ERRNO",
        "args":[{"index":0,"value":2114060288,"valueTwo":0,"op":"SCMP_CMP_MASKED_EQ"}]}]}"#;
    check(
        masked,
        &[
            ("clone", [17, 0, 0], errno(1)),
            ("clone", [0x1000_0000, 0, 0], ALLOW),
        ],
    );
}

#[test]
fn several_arguments() {
    let json = |index: u32| {
        format!(
            r#"{{"defaultAction":"SCMP_ACT_ALLOW","syscalls":[{{"names":["mkdir"],"action":"SCMP_ACT_ERRNO","args":[
            {{"index":0,"value":1,"op":"SCMP_CMP_EQ"}},{{"index":{index},"value":2,"op":"SCMP_CMP_EQ"}}]}}]}}"#
        )
    };
    // On different arguments both must hold, on the same one either.
    check(
        &json(1),
        &[
            ("mkdir", [1, 2, 0], errno(1)),
            ("mkdir", [1, 0, 0], ALLOW),
            ("mkdir", [0, 2, 0], ALLOW),
        ],
    );
    check(
        &json(0),
        &[
            ("mkdir", [1, 0, 0], errno(1)),
            ("mkdir", [2, 0, 0], errno(1)),
            ("mkdir", [3, 0, 0], ALLOW),
        ],
    );
}

#[test]
fn newer_calls_are_enosys() {
    let json = r#"{"defaultAction":"SCMP_ACT_ERRNO","architectures":["SCMP_ARCH_X86_64","SCMP_ARCH_X86","SCMP_ARCH_X32"],
        "syscalls":[{"names":["read","openat2","close"],"action":"SCMP_ACT_ALLOW"}]}"#;
    let filter = compiled(json).filter;
    let answer = |arch, number| run(&filter, arch, number, [0; 6]);
    let newest = number("openat2");
    for native in [0, 3, newest] {
        assert_eq!(answer(AUDIT_ARCH_X86_64, native), ALLOW, "{native}");
        assert_eq!(answer(AUDIT_ARCH_X86_64, native | X32_BIT), ALLOW, "x32 {native}");
    }
    assert_eq!(answer(AUDIT_ARCH_X86_64, 1), errno(1));
    assert_eq!(answer(AUDIT_ARCH_X86_64, newest + 1), errno(38));
    assert_eq!(answer(AUDIT_ARCH_X86_64, X32_BIT - 1), errno(38));
    assert_eq!(answer(AUDIT_ARCH_X86_64, X32_BIT | 1), errno(1));
    assert_eq!(answer(AUDIT_ARCH_X86_64, X32_BIT | (newest + 1)), errno(38));
    assert_eq!(answer(X86, 3), ALLOW); // read
    assert_eq!(answer(X86, 4), errno(1)); // write
    assert_eq!(answer(X86, 437), ALLOW); // openat2
    assert_eq!(answer(X86, 438), errno(38));
    assert_eq!(
        answer(0xc000_00b7, 0),
        KILL_THREAD,
        "an architecture that isn't listed"
    );
}

#[test]
fn no_enosys_where_the_default_lets_through_or_says_so() {
    for default in [
        r#""defaultAction":"SCMP_ACT_ALLOW""#,
        r#""defaultAction":"SCMP_ACT_LOG""#,
        r#""defaultAction":"SCMP_ACT_ERRNO","defaultErrnoRet":38"#,
    ] {
        let json = format!(r#"{{{default},"syscalls":[{{"names":["read"],"action":"SCMP_ACT_KILL"}}]}}"#);
        let profile = serde_json::from_str(&json).expect("a profile");
        let default = Compiler::default().action(
            "",
            LinuxSeccomp::default_action(&profile),
            profile.default_errno_ret(),
        );
        assert!(
            newer_calls_stub(&profile, default, &[ScmpArch::native()]).is_empty(),
            "{json}"
        );
    }
}

#[test]
fn flags_and_warnings() {
    let json = r#"{"defaultAction":"SCMP_ACT_ALLOW","flags":["SECCOMP_FILTER_FLAG_LOG","SECCOMP_FILTER_FLAG_SPEC_ALLOW"],
        "syscalls":[{"names":["no_such_call","mkdir"],"action":"SCMP_ACT_ERRNO"}]}"#;
    let compiled = compiled(json);
    assert_eq!(compiled.filter.flags, 2 | 4);
    assert_eq!(compiled.warnings.len(), 1);
    assert!(compiled.warnings[0].contains("no_such_call"));
}

#[test]
fn what_cannot_be_is_named() {
    let refuse = |json: &str, path: &str| {
        let text = compile(&serde_json::from_str(json).expect(json))
            .expect_err(json)
            .to_string();
        assert!(text.contains(path), "{text}");
    };
    refuse(
        r#"{"defaultAction":"SCMP_ACT_NOTIFY"}"#,
        "linux.seccomp.defaultAction",
    );
    refuse(
        r#"{"defaultAction":"SCMP_ACT_ALLOW","listenerPath":"/x"}"#,
        "linux.seccomp.listenerPath",
    );
    let rule = |rest: &str| {
        format!(r#"{{"defaultAction":"SCMP_ACT_ALLOW","syscalls":[{{"names":["read"],{rest}}}]}}"#)
    };
    refuse(
        &rule(r#""action":"SCMP_ACT_NOTIFY""#),
        "linux.seccomp.syscalls[0].action",
    );
    refuse(
        &rule(r#""action":"SCMP_ACT_ERRNO","args":[{"index":6,"value":0,"op":"SCMP_CMP_EQ"}]"#),
        "linux.seccomp.syscalls[0].args[0].index",
    );
}

#[test]
fn every_architecture_has_a_name() {
    for arch in ALL_ARCHES {
        assert!(scmp_arch(arch).is_some(), "{arch}");
    }
}
