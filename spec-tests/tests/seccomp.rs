//! config-linux.md#seccomp: actions, operators, architectures, flags, errnos.

use serde_json::{Value, json};
use spec_tests::*;

/// What a small program, and a runtime between filter and execve, must be allowed where all else is denied.
const NEEDED: &str = "access arch_prctl brk capget capset chdir clock_getres clock_gettime clone clone3 close close_range dup dup2 \
    dup3 epoll_create1 epoll_ctl epoll_pwait execve execveat exit exit_group faccessat faccessat2 fchdir fchown fcntl \
    fstat fstatfs futex getcwd getdents64 getegid geteuid getgid getpgrp getpid getppid getrandom getrlimit gettid \
    getuid ioctl lseek madvise membarrier mmap mprotect mremap munmap nanosleep newfstatat open openat openat2 pipe \
    pipe2 poll ppoll prctl prlimit64 pread64 pwrite64 read readlink readlinkat readv recvfrom recvmsg \
    rseq rt_sigaction rt_sigprocmask rt_sigreturn sched_getaffinity sched_yield sendmsg sendto set_robust_list \
    set_tid_address setgid setgroups setresgid setresuid setuid sigaltstack socket stat statx tgkill uname unlinkat wait4 \
    waitid write writev";

const NATIVE: &str = if cfg!(target_arch = "x86_64") { "SCMP_ARCH_X86_64" } else { "SCMP_ARCH_AARCH64" };

fn profile<'a>(b: Bundle<'a>, default: &str, syscalls: Value) -> Bundle<'a> {
    b.set("/linux/seccomp", json!({ "defaultAction": default, "syscalls": syscalls }))
}

/// All is allowed but sched_yield, which has this action.
fn with_action<'a>(lab: &'a Lab, action: &str) -> Bundle<'a> {
    profile(lab.bundle(), "SCMP_ACT_ALLOW", json!([{ "names": ["sched_yield"], "action": action }]))
}

const YIELD: &str = "syscall sched_yield";

#[test]
fn a_filter_is_there_only_with_a_profile() {
    obeys("config-linux.md#seccomp", |lab| {
        let ask = "status Seccomp";
        assert_eq!(lab.bundle().ask([ask])[ask], "0");
        assert_eq!(with_action(lab, "SCMP_ACT_ERRNO").ask([ask])[ask], "2");
    });
}

#[test]
fn errno_is_eperm_unless_told() {
    obeys("config-linux.md#seccomp", |lab| {
        let seen = with_action(lab, "SCMP_ACT_ERRNO").ask([YIELD, "syscall getpid"]);
        assert_eq!((&seen[YIELD], &seen["syscall getpid"]), (&json!("EPERM"), &json!(1)));
        let b = with_action(lab, "SCMP_ACT_ERRNO").set("/linux/seccomp/syscalls/0/errnoRet", libc::EXDEV);
        assert_eq!(b.ask([YIELD])[YIELD], "EXDEV");
    });
}

#[test]
fn the_default_action_is_for_all_other_syscalls() {
    obeys("config-linux.md#seccomp", |lab| {
        let allowed: Vec<&str> = NEEDED.split_whitespace().collect();
        let rows = json!([{ "names": allowed, "action": "SCMP_ACT_ALLOW" }]);
        let b = || profile(lab.bundle(), "SCMP_ACT_ERRNO", rows.clone());
        let asks = ["syscall sync", YIELD];
        let seen = b().ask(asks);
        assert_eq!((&seen[asks[0]], &seen[asks[1]]), (&json!("EPERM"), &json!(0)));
        let seen = b().set("/linux/seccomp/defaultErrnoRet", libc::EXDEV).ask(asks);
        assert_eq!((&seen[asks[0]], &seen[asks[1]]), (&json!("EXDEV"), &json!(0)));
    });
}

#[test]
fn a_syscall_newer_than_the_profile_is_enosys() {
    obeys("config-linux.md#seccomp", |lab| {
        let allowed: Vec<&str> = NEEDED.split_whitespace().collect();
        let b = profile(
            lab.bundle(),
            "SCMP_ACT_ERRNO",
            json!([{ "names": allowed, "action": "SCMP_ACT_ALLOW" }]),
        );
        let b = b.set("/linux/seccomp/architectures", [NATIVE]);
        // A number that no kernel has given away yet: to a libc it must look like an old kernel, not like a refusal.
        let seen = b.ask(["syscall 1000", "syscall sync"]);
        assert_eq!((&seen["syscall 1000"], &seen["syscall sync"]), (&json!("ENOSYS"), &json!("EPERM")));
    });
}

#[test]
fn actions_that_kill_do() {
    obeys("config-linux.md#seccomp", |lab| {
        for action in ["SCMP_ACT_KILL", "SCMP_ACT_KILL_PROCESS", "SCMP_ACT_KILL_THREAD", "SCMP_ACT_TRAP"] {
            let ran =
                with_action(lab, action).phrases([YIELD, "print alive"]).run().exits(128 + libc::SIGSYS);
            assert!(!ran.stdout().contains("alive"), "{action}");
        }
    });
}

#[test]
fn log_lets_it_pass_and_trace_without_a_tracer_is_enosys() {
    obeys("config-linux.md#seccomp", |lab| {
        assert_eq!(with_action(lab, "SCMP_ACT_LOG").ask([YIELD])[YIELD], 0);
        assert_eq!(with_action(lab, "SCMP_ACT_TRACE").ask([YIELD])[YIELD], "ENOSYS");
    });
}

#[test]
fn arguments_are_compared() {
    obeys("config-linux.md#seccomp", |lab| {
        // Of sched_getscheduler(pid): no process has these pids, so it's ESRCH where the filter lets it pass.
        let check = |op: &str, value: u64, second: u64, hits: &[u64], passes: &[u64]| {
            let args = json!([{ "index": 0, "value": value, "valueTwo": second, "op": op }]);
            let row = json!({ "names": ["sched_getscheduler"], "action": "SCMP_ACT_ERRNO", "errnoRet": libc::EXDEV, "args": args });
            let ask = |n: &u64| format!("syscall sched_getscheduler {n}");
            let asks: Vec<String> = hits.iter().chain(passes).map(ask).collect();
            let b = profile(lab.bundle(), "SCMP_ACT_ALLOW", json!([row]));
            let seen = b.ask(asks.iter().map(String::as_str));
            for n in hits {
                assert_eq!(seen[ask(n).as_str()], "EXDEV", "{op} {value} must hit {n}");
            }
            for n in passes {
                assert_eq!(seen[ask(n).as_str()], "ESRCH", "{op} {value} must not hit {n}");
            }
        };
        check("SCMP_CMP_NE", 500_000, 0, &[499_999, 500_001], &[500_000]);
        check("SCMP_CMP_LT", 500_000, 0, &[499_999], &[500_000, 500_001]);
        check("SCMP_CMP_LE", 500_000, 0, &[499_999, 500_000], &[500_001]);
        check("SCMP_CMP_EQ", 500_000, 0, &[500_000], &[499_999, 500_001]);
        check("SCMP_CMP_GE", 500_000, 0, &[500_000, 500_001], &[499_999]);
        check("SCMP_CMP_GT", 500_000, 0, &[500_001], &[500_000, 499_999]);
        check("SCMP_CMP_MASKED_EQ", 0xffff_0000, 0x50_0000, &[0x50_0000, 0x50_ffff], &[0x51_0000, 0x4f_ffff]);
    });
}

#[test]
fn all_64_bits_of_an_argument_are_compared() {
    obeys("config-linux.md#seccomp", |lab| {
        let value = 0x1_0007_a120_u64; // its lower half is 500000
        let args = json!([{ "index": 0, "value": value, "op": "SCMP_CMP_EQ" }]);
        let row = json!({ "names": ["sched_getscheduler"], "action": "SCMP_ACT_ERRNO", "args": args });
        let asks = ["syscall sched_getscheduler 500000", "syscall sched_getscheduler 0x10007a120"];
        let seen = profile(lab.bundle(), "SCMP_ACT_ALLOW", json!([row])).ask(asks);
        assert_eq!((&seen[asks[0]], &seen[asks[1]]), (&json!("ESRCH"), &json!("EPERM")));
    });
}

#[test]
fn all_arguments_of_a_rule_must_match_and_any_of_several_rules() {
    obeys("config-linux.md#seccomp", |lab| {
        let arg = |index: u32, value: u64| json!({ "index": index, "value": value, "op": "SCMP_CMP_EQ" });
        let row = |args: Value| json!({ "names": ["getpriority"], "action": "SCMP_ACT_ERRNO", "args": args });
        let rows = json!([row(json!([arg(0, 0), arg(1, 500_000)])), row(json!([arg(0, 1)]))]);
        let asks =
            ["syscall getpriority 0 500000", "syscall getpriority 0 500001", "syscall getpriority 1 500001"];
        let seen = profile(lab.bundle(), "SCMP_ACT_ALLOW", rows).ask(asks);
        assert_eq!(asks.map(|a| seen[a].clone()), ["EPERM", "ESRCH", "EPERM"]);
    });
}

#[test]
fn comparisons_of_the_same_argument_are_alternatives() {
    obeys("config-linux.md#seccomp", |lab| {
        let arg = |value: u64| json!({ "index": 0, "value": value, "op": "SCMP_CMP_EQ" });
        let args = [arg(500_000), arg(500_001)];
        let rows = json!([{ "names": ["sched_getscheduler"], "action": "SCMP_ACT_ERRNO", "args": args }]);
        let asks = [500_000, 500_001, 500_002].map(|n| format!("syscall sched_getscheduler {n}"));
        let seen = profile(lab.bundle(), "SCMP_ACT_ALLOW", rows).ask(asks.iter().map(String::as_str));
        assert_eq!(asks.each_ref().map(|a| seen[a.as_str()].clone()), ["EPERM", "EPERM", "ESRCH"]);
    });
}

#[test]
fn a_syscall_that_is_unknown_is_passed_over() {
    obeys("config-linux.md#seccomp", |lab| {
        let rows = json!([{ "names": ["no_such_syscall", "sched_yield"], "action": "SCMP_ACT_ERRNO" }]);
        assert_eq!(profile(lab.bundle(), "SCMP_ACT_ALLOW", rows).ask([YIELD])[YIELD], "EPERM");
    });
}

#[test]
fn words_that_are_unknown_are_refused() {
    obeys("config-linux.md#seccomp", |lab| {
        let b = || with_action(lab, "SCMP_ACT_ERRNO");
        b().set("/linux/seccomp/defaultAction", "SCMP_ACT_NOSUCH").container().create(&[]).fails();
        b().set("/linux/seccomp/syscalls/0/action", "SCMP_ACT_NOSUCH").container().create(&[]).fails();
        b().set("/linux/seccomp/architectures", ["SCMP_ARCH_NOSUCH"]).container().create(&[]).fails();
        b().set("/linux/seccomp/flags", ["SECCOMP_FILTER_FLAG_NOSUCH"]).container().create(&[]).fails();
        let args = json!([{ "index": 0, "value": 1, "op": "SCMP_CMP_NOSUCH" }]);
        b().set("/linux/seccomp/syscalls/0/args", args).container().create(&[]).fails();
    });
}

#[test]
fn other_architectures_come_on_top_of_the_native_one() {
    obeys("config-linux.md#seccomp", |lab| {
        let architectures = match std::env::consts::ARCH {
            "x86_64" => [NATIVE, "SCMP_ARCH_X86", "SCMP_ARCH_X32"],
            _ => [NATIVE, "SCMP_ARCH_ARM", "SCMP_ARCH_ARM"],
        };
        for count in 1..=3 {
            let b = with_action(lab, "SCMP_ACT_ERRNO")
                .set("/linux/seccomp/architectures", &architectures[..count]);
            assert_eq!(b.ask([YIELD])[YIELD], "EPERM", "{:?}", &architectures[..count]);
        }
    });
}

#[test]
fn flags_are_taken() {
    obeys("config-linux.md#seccomp", |lab| {
        let all = ["SECCOMP_FILTER_FLAG_TSYNC", "SECCOMP_FILTER_FLAG_LOG", "SECCOMP_FILTER_FLAG_SPEC_ALLOW"];
        for flags in [&all[..1], &all[1..2], &all[2..], &all[..], &[]] {
            let b = with_action(lab, "SCMP_ACT_ERRNO").set("/linux/seccomp/flags", flags);
            assert_eq!(b.ask([YIELD])[YIELD], "EPERM", "{flags:?}");
        }
    });
}

#[test]
fn a_filter_is_loaded_with_and_without_no_new_privileges() {
    obeys("config-linux.md#seccomp", |lab| {
        for nnp in [true, false] {
            let b = with_action(lab, "SCMP_ACT_ERRNO").set("/process/noNewPrivileges", nnp);
            let b = b.set("/process/user", json!({ "uid": 1000, "gid": 1000 }));
            let seen = b.ask([YIELD, "status Seccomp", "caps"]);
            assert_eq!((&seen[YIELD], &seen["status Seccomp"]), (&json!("EPERM"), &json!("2")), "{nnp}");
            assert!(seen.caps("CapEff").is_empty());
        }
    });
}

#[test]
fn a_profile_may_deny_what_the_runtime_needed_before() {
    obeys("config-linux.md#seccomp", |lab| {
        let names =
            ["mount", "pivot_root", "umount2", "sethostname", "setns", "unshare", "chroot", "mknodat"];
        let rows = json!([{ "names": names, "action": "SCMP_ACT_ERRNO", "errnoRet": libc::EXDEV }]);
        let b = profile(lab.bundle(), "SCMP_ACT_ALLOW", rows).set("/hostname", "spec-host");
        let seen = b.set("/process/noNewPrivileges", true).ask(["hostname", "syscall sethostname x 1"]);
        assert_eq!(
            (&seen["hostname"], &seen["syscall sethostname x 1"]),
            (&json!("spec-host"), &json!("EXDEV"))
        );
    });
}
