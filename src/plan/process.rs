//! The container's program: who it is, what it may do, where and how it starts. And what the host does for it
//! from outside: resource limits and the OOM score.

use std::collections::BTreeMap;
use std::ffi::CString;
use std::str::FromStr;

use oci_spec::runtime::{Capabilities, LinuxPersonalityDomain, PosixRlimitType, Process, Spec};

use super::namespaces::{self, Namespaces};
use super::seccomp::Filter;
use super::step::{HookState, Limit, Step};
use super::{Draft, Facts, HostPart, Options, Slot, Want, hook_steps, in_root};
use super::{landlock, rootfs, scheduling};
use crate::spec::annotations::{self, KEEP_ORIGINAL_GROUPS};
use crate::sys::exec::CArray;
use crate::sys::ids::CapSets;
use crate::sys::{Gid, Uid};

/// What apparmor(7) calls a program without a profile.
const UNCONFINED: &str = "unconfined";
/// Room for HOME= and a path of PATH_MAX.
const HOME_CAPACITY: usize = 5 + 4096;

/// config-linux.md, Sysctl. Written through the host's procfs, where each process sees its own namespaces.
pub fn sysctls(oci: &Spec, draft: &mut Draft) {
    let sysctls = oci.linux().as_ref().and_then(|linux| linux.sysctl().as_ref());
    for (key, value) in sysctls.into_iter().flatten().collect::<BTreeMap<_, _>>() {
        let field = format!("linux.sysctl[{key}]");
        let path = draft.cstring(&field, &format!("sys/{}", crate::spec::sysctl_path(key)));
        let value = draft.cstring(&field, value);
        draft.step(Step::Sysctl { key: key.clone(), path, value });
    }
}

/// config.md, process.terminal and consoleSize. The container's own one is its /dev/console too.
pub fn terminal(oci: &Spec, as_console: bool, draft: &mut Draft) {
    let Some(process) = oci.process().as_ref().filter(|process| process.terminal().unwrap_or(false)) else {
        return;
    };
    let size = process.console_size().map(|size| (size.height() as u16, size.width() as u16));
    let size = size.filter(|(rows, columns)| *rows != 0 || *columns != 0);
    let socket = draft.want(Want::ConsoleSocket);
    draft.step(Step::Console { socket, size, uid: Uid(process.user().uid()), as_console });
}

/// config.md, process.cwd: made if it is missing, while the root can still be written.
pub fn working_directory(oci: &Spec, draft: &mut Draft) {
    if let Some(process) = oci.process() {
        let path = in_root("process.cwd", &process.cwd().to_string_lossy(), draft);
        if !path.is_root() {
            draft.step(Step::MakeDirectory(path));
        }
    }
}

/// All that comes once the root is entered. `start` is where the container's first process waits to be started; others
/// go straight on.
pub fn compile(
    oci: &Spec,
    namespaces: &Namespaces,
    options: &Options,
    facts: &Facts,
    filter: Option<Filter>,
    start: Option<Slot>,
    draft: &mut Draft,
) -> HostPart {
    let Some(process) = oci.process() else {
        // config.md: without a process the container can be created; start will refuse.
        draft.steps(start.map(|socket| Step::AwaitStart { socket }).into_iter().collect());
        return HostPart::default();
    };
    let uid = Uid(process.user().uid());
    let no_new_privileges = process.no_new_privileges().unwrap_or(false);
    let capabilities = capabilities(process, namespaces, facts, draft);
    let cwd = draft.cstring("process.cwd", &process.cwd().to_string_lossy());

    draft.step(Step::Stdio { uid });
    labels(process, facts, draft);
    scheduling::affinity(process, start.is_some(), draft);
    scheduling::compile(process, draft);
    scheduling::memory_policy(oci, draft);
    personality(oci, draft);
    let landlock = landlock::compile(oci, facts, draft);
    let program = program(process, options, draft);
    if program.envp.has_hole() {
        draft.step(Step::HomeFromPasswd(uid));
    }
    draft.step(Step::CloseFds { keep: options.preserve_fds });
    draft.step(Step::ChangeDirectory { path: cwd.clone(), early: true });
    let limits = limits(process, draft);
    if !namespaces.foreign_user() {
        for (index, limit) in limits.iter().copied().enumerate() {
            draft.step(Step::RaiseLimit { index, limit });
        }
    }
    let groups = groups(oci, process, facts, draft);
    draft.step(Step::KeepBoundingSet(capabilities.bounding));
    draft.step(Step::SetIds { uid, gid: Gid(process.user().gid()), groups });
    draft.step(Step::Umask(process.user().umask().unwrap_or(0o022)));
    let keep = Step::SetCapabilities { sets: capabilities.sets, ambient: capabilities.ambient };
    let execute = Step::Exec { argv: program.argv, envp: program.envp, name: program.name.clone() };
    let find = Step::FindProgram { candidates: program.candidates, name: program.name };
    let check_directory = Step::ChangeDirectory { path: cwd, early: false };

    // Without no_new_privs a filter and Landlock's rules can be installed only with CAP_SYS_ADMIN (seccomp(2)), so then
    // the capabilities go last; whatever else is done, is done before, so that a filter need allow little.
    let await_start = |draft: &mut Draft| {
        let Some(socket) = start else {
            draft.step(Step::Outlive);
            return;
        };
        draft.step(Step::AwaitStart { socket });
        if let Some(list) = oci.hooks().as_ref().and_then(|hooks| hooks.start_container().as_ref()) {
            hook_steps(oci, list, "startContainer", HookState::FromStart, draft);
        }
        draft.step(Step::CountAsRunning);
    };
    let set_limits = |draft: &mut Draft| {
        for (index, limit) in limits.iter().copied().enumerate() {
            draft.step(Step::SetLimit { index, limit });
        }
    };
    let restrict = |draft: &mut Draft, filter: Option<Filter>| {
        draft.steps(landlock.then_some(Step::LandlockRestrict).into_iter().collect());
        draft.steps(filter.map(Step::Seccomp).into_iter().collect());
    };
    if !no_new_privileges && (landlock || filter.is_some()) {
        draft.step(check_directory);
        draft.step(find);
        await_start(draft);
        set_limits(draft);
        restrict(draft, filter);
        draft.step(keep);
    } else {
        draft.step(keep);
        draft.step(check_directory);
        draft.step(find);
        if no_new_privileges {
            draft.step(Step::NoNewPrivileges);
        }
        await_start(draft);
        set_limits(draft);
        restrict(draft, filter);
    }
    draft.step(execute);
    HostPart {
        raise_limits: if namespaces.foreign_user() { limits } else { vec![] },
        oom_score_adj: process.oom_score_adj(),
        ..HostPart::default()
    }
}

/// config.md, User: process.user.additionalGids, or `None` where the user namespace forbids to set groups. One with a
/// single mapped gid has no others to set, but the one that we are in may know more.
fn groups(oci: &Spec, process: &Process, facts: &Facts, draft: &mut Draft) -> Option<Vec<Gid>> {
    let asked: Vec<_> = process.user().additional_gids().iter().flatten().copied().map(Gid).collect();
    if annotations::is_set(oci, KEEP_ORIGINAL_GROUPS) {
        return None;
    }
    if !namespaces::is_setgroups_denied(oci, facts) {
        return Some(asked);
    }
    if facts.no_setgroups && !asked.is_empty() {
        draft
            .warn("process.user.additionalGids: can't be set: the user namespace of this runtime forbids it");
    }
    None
}

struct Wanted {
    bounding: u64,
    sets: CapSets,
    ambient: u64,
}

/// config.md, process.capabilities: what can't be granted is warned about, not an error.
fn capabilities(process: &Process, namespaces: &Namespaces, facts: &Facts, draft: &mut Draft) -> Wanted {
    let mut missing = 0;
    // user_namespaces(7): whoever is born in one, or joins it, has all of them there.
    let permitted = match namespaces.foreign_user() {
        true => caps::all().iter().fold(0, |mask, cap| mask | 1 << cap.index()),
        false => facts.permitted,
    };
    let mut mask = |set: &Option<Capabilities>| {
        let asked =
            set.iter().flatten().filter_map(|cap| caps::Capability::from_str(&format!("CAP_{cap}")).ok());
        let asked = asked.fold(0u64, |mask, cap| mask | 1 << cap.index());
        missing |= asked & !permitted;
        asked & permitted
    };
    let mut wanted = Wanted { bounding: 0, sets: CapSets::default(), ambient: 0 };
    if let Some(sets) = process.capabilities() {
        wanted.bounding = mask(sets.bounding());
        wanted.sets.effective = mask(sets.effective());
        wanted.sets.permitted = mask(sets.permitted());
        wanted.sets.inheritable = mask(sets.inheritable());
        wanted.ambient = mask(sets.ambient());
    }
    // capabilities(7): ambient ones must be permitted and inheritable; spec has warned of others.
    wanted.ambient &= wanted.sets.permitted & wanted.sets.inheritable;
    let mut known: Vec<_> = caps::all().into_iter().collect();
    known.sort_by_key(caps::Capability::index);
    for cap in known {
        if missing & (1 << cap.index()) != 0 {
            draft.warn(format!(
                "process.capabilities: {cap} can't be granted, since this runtime doesn't have it"
            ));
        }
    }
    wanted
}

/// config.md, apparmorProfile and selinuxLabel. The kernel has a file for AppArmor's alone since 5.8, so no other security
/// module ever takes a profile for its own label.
fn labels(process: &Process, facts: &Facts, draft: &mut Draft) {
    let given = |label: &Option<String>| label.clone().filter(|label| !label.is_empty());
    // A kernel without AppArmor confines nobody. With it, who isn't to be confined must leave the profile of an engine
    // or of ours.
    let needless = |profile: &String| profile == UNCONFINED && !facts.apparmor;
    if let Some(profile) = given(process.apparmor_profile()).filter(|profile| !needless(profile)) {
        if !facts.apparmor {
            draft.fault(
                "process.apparmorProfile",
                format!("{profile:?} can't be applied: this kernel runs without AppArmor"),
            );
        }
        let field = "process.apparmorProfile";
        let value = draft.cstring(field, &format!("exec {profile}"));
        draft.step(Step::Label { field, file: c"self/attr/apparmor/exec".into(), value });
    }
    if let Some(label) = given(process.selinux_label()) {
        if !facts.selinux {
            draft.fault(
                "process.selinuxLabel",
                format!("{label:?} can't be applied: this kernel runs without SELinux"),
            );
        }
        let field = "process.selinuxLabel";
        let value = draft.cstring(field, &label);
        draft.step(Step::Label { field, file: c"self/attr/exec".into(), value });
    }
}

/// linux/personality.h.
const PER_LINUX: u64 = 0;
const PER_LINUX32: u64 = 0x8;

/// config-linux.md, Personality.
fn personality(oci: &Spec, draft: &mut Draft) {
    if let Some(personality) = oci.linux().as_ref().and_then(|linux| linux.personality().as_ref()) {
        draft.step(Step::Personality(match personality.domain() {
            LinuxPersonalityDomain::PerLinux => PER_LINUX,
            LinuxPersonalityDomain::PerLinux32 => PER_LINUX32,
        }));
    }
}

struct Program {
    name: String,
    candidates: Vec<CString>,
    argv: CArray,
    envp: CArray,
}

/// config.md, process.args and env. A later variable of the same name wins, and HOME is the user's own when
/// the configuration has none.
fn program(process: &Process, options: &Options, draft: &mut Draft) -> Program {
    let args = process.args().clone().unwrap_or_default();
    let name = args.first().cloned().unwrap_or_default();
    let mut env: Vec<String> = Vec::new();
    let given = process.env().iter().flatten().cloned();
    for variable in given.chain(activation(options)) {
        let key = |v: &str| v.split('=').next().unwrap_or_default().to_string();
        env.retain(|other| key(other) != key(&variable));
        env.push(variable);
    }
    let value =
        |name: &str| env.iter().find_map(|v| v.strip_prefix(name)?.strip_prefix('=')).map(str::to_string);
    let candidates = if name.contains('/') {
        vec![name.clone()]
    } else {
        // An empty element of PATH is the current directory.
        let path = value("PATH").unwrap_or_default();
        let directories = path.split(':').filter(|_| !path.is_empty());
        directories.map(|dir| format!("{}/{name}", if dir.is_empty() { "." } else { dir })).collect()
    };
    let candidates = draft.cstrings("process.args", &candidates);
    let argv = CArray::new(draft.cstrings("process.args", &args));
    let has_home = value("HOME").is_some_and(|home| !home.is_empty());
    if !has_home {
        env.retain(|v| !v.starts_with("HOME="));
    }
    let env = draft.cstrings("process.env", &env);
    let envp = if has_home { CArray::new(env) } else { CArray::with_hole(env, c"HOME=/", HOME_CAPACITY) };
    Program { name, candidates, argv, envp }
}

/// What a service manager tells its services: sd_listen_fds(3), where the program is process 1 of its container, and
/// sd_notify(3).
fn activation(options: &Options) -> Vec<String> {
    let mut variables = match options.listen_fds {
        0 => vec![],
        n => vec![format!("LISTEN_FDS={n}"), "LISTEN_PID=1".into()],
    };
    let notify = options.notify.iter();
    variables.extend(notify.map(|_| format!("NOTIFY_SOCKET={}/notify.sock", rootfs::NOTIFY)));
    variables
}

/// config.md, process.rlimits: what must be raised early, what is set last, and what only the host can raise.
fn limits(process: &Process, draft: &mut Draft) -> Vec<Limit> {
    let mut limits = Vec::new();
    for (i, limit) in process.rlimits().iter().flatten().enumerate() {
        match RESOURCES.iter().find(|(typ, _, _)| *typ == limit.typ()) {
            Some((_, resource, _)) => {
                limits.push(Limit { resource: *resource, soft: limit.soft(), hard: limit.hard() })
            }
            None => {
                let text = format!("{:?} is no resource limit of Linux", limit.typ());
                draft.fault(&format!("process.rlimits[{i}].type"), text);
            }
        }
    }
    limits
}

/// The kernel's numbers and names of the types (getrlimit(2)).
pub const RESOURCES: [(PosixRlimitType, u32, &str); 16] = [
    (PosixRlimitType::RlimitAs, libc::RLIMIT_AS, "RLIMIT_AS"),
    (PosixRlimitType::RlimitCore, libc::RLIMIT_CORE, "RLIMIT_CORE"),
    (PosixRlimitType::RlimitCpu, libc::RLIMIT_CPU, "RLIMIT_CPU"),
    (PosixRlimitType::RlimitData, libc::RLIMIT_DATA, "RLIMIT_DATA"),
    (PosixRlimitType::RlimitFsize, libc::RLIMIT_FSIZE, "RLIMIT_FSIZE"),
    (PosixRlimitType::RlimitLocks, libc::RLIMIT_LOCKS, "RLIMIT_LOCKS"),
    (PosixRlimitType::RlimitMemlock, libc::RLIMIT_MEMLOCK, "RLIMIT_MEMLOCK"),
    (PosixRlimitType::RlimitMsgqueue, libc::RLIMIT_MSGQUEUE, "RLIMIT_MSGQUEUE"),
    (PosixRlimitType::RlimitNice, libc::RLIMIT_NICE, "RLIMIT_NICE"),
    (PosixRlimitType::RlimitNofile, libc::RLIMIT_NOFILE, "RLIMIT_NOFILE"),
    (PosixRlimitType::RlimitNproc, libc::RLIMIT_NPROC, "RLIMIT_NPROC"),
    (PosixRlimitType::RlimitRss, libc::RLIMIT_RSS, "RLIMIT_RSS"),
    (PosixRlimitType::RlimitRtprio, libc::RLIMIT_RTPRIO, "RLIMIT_RTPRIO"),
    (PosixRlimitType::RlimitRttime, libc::RLIMIT_RTTIME, "RLIMIT_RTTIME"),
    (PosixRlimitType::RlimitSigpending, libc::RLIMIT_SIGPENDING, "RLIMIT_SIGPENDING"),
    (PosixRlimitType::RlimitStack, libc::RLIMIT_STACK, "RLIMIT_STACK"),
];
