//! Rules of config.md, Process, POSIX process, Linux Process and User.

use std::collections::HashSet;

use oci_spec::runtime::{Capabilities, LinuxNamespaceType, LinuxSchedulerPolicy, Process};

use super::{Rules, joined, set, text};

/// (uid_t)-1, which calls take for "leave it as it is" (CVE-2024-40635: never let it become 0).
const NOBODY: u32 = u32::MAX;

fn process<'a>(rules: &Rules<'a>) -> Option<&'a Process> {
    rules.oci.process().as_ref()
}

/// config.md, process.args: at least one, the first of which names the program.
pub fn program(rules: &mut Rules) {
    let Some(process) = process(rules) else { return };
    match process.args().as_deref() {
        None | Some([]) => rules.fault("process.args", "args must not be empty: what is to be run?"),
        Some([program, ..]) if program.is_empty() => {
            rules.fault("process.args[0]", "executable path is empty");
        }
        Some(_) => {}
    }
    rules.no_nuls("process.args", process.args());
}

/// config.md, process.cwd: absolute.
pub fn directory(rules: &mut Rules) {
    let Some(process) = process(rules) else { return };
    let cwd = text(process.cwd());
    if !cwd.starts_with('/') {
        rules.fault("process.cwd", format!("{cwd:?} must be an absolute path"));
    }
    rules.no_nul("process.cwd", cwd);
}

/// config.md, process.env: environ of IEEE 1003.1, NAME=value. A value is never shown, it may be a secret.
pub fn environment(rules: &mut Rules) {
    let Some(process) = process(rules) else { return };
    for (i, entry) in process.env().iter().flatten().enumerate() {
        match entry.find('=') {
            Some(0) => rules.fault(format!("process.env[{i}]"), "has no name before its \"=\""),
            Some(_) => {}
            None => rules.fault(format!("process.env[{i}]"), "has no \"=\", expected \"NAME=value\""),
        }
    }
    rules.no_nuls("process.env", process.env());
}

/// config.md, POSIX-platform User; credentials(7). In a new user namespace only ids with a mapping exist.
pub fn user(rules: &mut Rules) {
    let Some(process) = process(rules) else { return };
    let user = process.user();
    let linux = rules.oci.linux().as_ref();
    let new_users =
        rules.namespace(LinuxNamespaceType::User).is_some_and(|namespace| joined(namespace).is_none());
    let uids = linux.and_then(|linux| linux.uid_mappings().as_deref());
    let gids = linux.and_then(|linux| linux.gid_mappings().as_deref());
    let groups = user.additional_gids().iter().flatten();
    let groups =
        groups.enumerate().map(|(i, gid)| (format!(".additionalGids[{i}]"), *gid, gids, "gidMappings"));
    let ids = [
        (".uid".to_string(), user.uid(), uids, "uidMappings"),
        (".gid".to_string(), user.gid(), gids, "gidMappings"),
    ];
    for (field, id, mappings, name) in ids.into_iter().chain(groups) {
        let mapped = |maps: &[oci_spec::runtime::LinuxIdMapping]| {
            maps.iter().any(|map| id.checked_sub(map.container_id()).is_some_and(|n| n < map.size()))
        };
        if id == NOBODY {
            rules.fault(format!("process.user{field}"), "4294967295 stands for \"no id\" (-1)");
        } else if new_users
            && mappings.is_some_and(|maps| !maps.is_empty() && !mapped(maps))
            && rules.is_intact(&format!("linux.{name}"))
        {
            rules.fault(format!("process.user{field}"), format!("{id} is not mapped by linux.{name}"));
        }
    }
    if let Some(umask) = user.umask().filter(|umask| *umask > 0o777) {
        rules.fault("process.user.umask", format!("{umask} is more than 511 (octal 777)"));
    }
}

/// config.md, process.consoleSize: the kernel's struct winsize has 16 bits for each (ioctl_tty(2)).
pub fn console(rules: &mut Rules) {
    let Some(process) = process(rules).filter(|process| process.terminal().unwrap_or(false)) else {
        return; // "MUST ignore consoleSize if terminal is false or unset"
    };
    let Some(size) = process.console_size() else {
        return;
    };
    for (field, value) in [("height", size.height()), ("width", size.width())] {
        if value > u64::from(u16::MAX) {
            rules.fault(format!("process.consoleSize.{field}"), format!("{value} is more than 65535"));
        }
    }
}

/// config.md, process.capabilities; capabilities(7): what is effective must be permitted, or capset(2) fails.
/// What is ambient but not permitted and inheritable can't be raised; that engines ask for it is old custom.
pub fn capabilities(rules: &mut Rules) {
    let Some(sets) = process(rules).and_then(|process| process.capabilities().as_ref()) else {
        return;
    };
    let missing = |wanted: &Option<Capabilities>, from: &Option<Capabilities>| {
        let mut names: Vec<_> = wanted
            .iter()
            .flatten()
            .filter(|capability| from.as_ref().is_none_or(|from| !from.contains(capability)))
            .map(|capability| format!("CAP_{capability}"))
            .collect();
        names.sort();
        names.join(", ")
    };
    let effective = missing(sets.effective(), sets.permitted());
    if !effective.is_empty() && rules.is_intact("process.capabilities.permitted") {
        rules.fault("process.capabilities.effective", format!("{effective} must also be in permitted"));
    }
    for (name, from) in [("permitted", sets.permitted()), ("inheritable", sets.inheritable())] {
        let ambient = missing(sets.ambient(), from);
        if !ambient.is_empty() {
            rules.warn(
                "process.capabilities.ambient",
                &format!("{ambient} can't be raised without being in {name}"),
            );
        }
    }
}

/// config.md, process.rlimits: no type twice; getrlimit(2): soft up to hard.
pub fn rlimits(rules: &mut Rules) {
    let Some(process) = process(rules) else { return };
    let mut seen = HashSet::new();
    for (i, limit) in process.rlimits().iter().flatten().enumerate() {
        if !seen.insert(limit.typ().to_string()) {
            rules.fault(format!("process.rlimits[{i}].type"), format!("\"{}\" is there twice", limit.typ()));
        }
        if limit.soft() > limit.hard() {
            rules.fault(
                format!("process.rlimits[{i}].soft"),
                format!("{} is more than hard, {}", limit.soft(), limit.hard()),
            );
        }
    }
}

/// config.md, process.oomScoreAdj; proc_pid_oom_score_adj(5).
pub fn scores(rules: &mut Rules) {
    let score = process(rules).and_then(|process| process.oom_score_adj());
    if let Some(score) = score.filter(|score| !(-1000..=1000).contains(score)) {
        rules.fault("process.oomScoreAdj", format!("{score} is not from -1000 to 1000"));
    }
}

/// config.md, process.scheduler and ioPriority; sched(7), ioprio_set(2).
pub fn scheduling(rules: &mut Rules) {
    use LinuxSchedulerPolicy::{SchedDeadline, SchedFifo, SchedRr};
    let Some(process) = process(rules) else { return };
    let path = "process.ioPriority.priority";
    let io = process.io_priority().as_ref().map(|io| io.priority());
    if let Some(priority) = io.filter(|priority| !(0..=7).contains(priority)) {
        rules.fault(path, format!("{priority} is not from 0 to 7"));
    }
    let Some(scheduler) = process.scheduler().as_ref() else {
        return;
    };
    if !rules.is_intact("process.scheduler.policy") {
        return; // the rest depends on it
    }
    if let Some(nice) = scheduler.nice().filter(|nice| !(-20..=19).contains(nice)) {
        rules.fault("process.scheduler.nice", format!("{nice} is not from -20 to 19"));
    }
    let priority = scheduler.priority().unwrap_or(0);
    let (allowed, text) = match scheduler.policy() {
        SchedFifo | SchedRr => (1..=99, "is not from 1 to 99"),
        _ => (0..=0, "is for SCHED_FIFO and SCHED_RR only"),
    };
    if !allowed.contains(&priority) {
        rules.fault("process.scheduler.priority", format!("{priority} {text}"));
    }
    for (name, nanoseconds) in
        [("runtime", scheduler.runtime()), ("deadline", scheduler.deadline()), ("period", scheduler.period())]
    {
        if nanoseconds.unwrap_or(0) != 0 && *scheduler.policy() != SchedDeadline {
            rules.fault(format!("process.scheduler.{name}"), "is for SCHED_DEADLINE only");
        }
    }
}

/// config.md, process.apparmorProfile and selinuxLabel: they are written to a file.
pub fn labels(rules: &mut Rules) {
    let Some(process) = process(rules) else { return };
    for (path, label) in [
        ("process.apparmorProfile", process.apparmor_profile()),
        ("process.selinuxLabel", process.selinux_label()),
    ] {
        let Some(label) = set(label) else { continue };
        if label.contains(['\0', '\n']) {
            rules.fault(path, "holds a NUL character or a line break");
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use crate::spec::validate::tests::{bad, bad_all, good, read, warned};

    #[test]
    fn program() {
        good("/process", json!(null)); // create is allowed, start fails
        bad("/process/args", json!(null), "process.args", "args must not be empty");
        bad("/process/args", json!([]), "process.args", "args must not be empty");
        bad("/process/args", json!(["", "a"]), "process.args[0]", "executable path is empty");
        good("/process/args", json!(["sh", ""]));
        bad("/process/args", json!(["sh", "a\u{0}"]), "process.args[1]", "NUL");
    }

    #[test]
    fn directory() {
        bad("/process/cwd", json!("tmp"), "process.cwd", "\"tmp\" must be an absolute path");
        bad("/process/cwd", json!(""), "process.cwd", "absolute");
        bad("/process/cwd", json!("/a\u{0}"), "process.cwd", "NUL");
    }

    #[test]
    fn environment() {
        good("/process/env", json!(["A=", "B=x=y", "lower.case-1= "]));
        bad("/process/env", json!(["A=1", "secret"]), "process.env[1]", "has no \"=\"");
        bad("/process/env", json!(["=1"]), "process.env[0]", "has no name");
        bad("/process/env", json!(["A=\u{0}"]), "process.env[0]", "NUL");
        let (faults, _) = read(&[("/process/env", json!(["secret"]))]);
        assert!(!faults[0].text.contains("secret"), "values are not shown");
    }

    #[test]
    fn user() {
        good("/process/user", json!({"uid": 1000, "gid": 1999, "umask": 0o777, "additionalGids": [1, 2]}));
        let no_id = json!(4_294_967_295_u32);
        bad("/process/user/uid", no_id.clone(), "process.user.uid", "no id");
        bad("/process/user/gid", no_id.clone(), "process.user.gid", "no id");
        bad("/process/user/additionalGids", json!([1, no_id]), "process.user.additionalGids[1]", "no id");
        bad("/process/user/umask", json!(0o1000), "process.user.umask", "more than 511");
        bad("/process/user/uid", json!(2000), "process.user.uid", "is not mapped by linux.uidMappings");
        bad("/process/user/additionalGids", json!([9999]), "process.user.additionalGids[0]", "is not mapped");
        let joined = json!({"type": "user", "path": "/proc/1/ns/user"});
        assert_eq!(
            read(&[("/process/user/uid", json!(2000)), ("/linux/namespaces/5", joined)]),
            (vec![], vec![])
        );
    }

    #[test]
    fn capabilities() {
        good("/process/capabilities", json!({"effective": ["CAP_KILL"], "permitted": ["CAP_KILL"]}));
        bad(
            "/process/capabilities",
            json!({"effective": ["CAP_SYS_ADMIN", "CAP_KILL", "CAP_CHOWN"], "permitted": ["CAP_KILL"]}),
            "process.capabilities.effective",
            "CAP_CHOWN, CAP_SYS_ADMIN must also be in permitted",
        );
        let ambient = |inheritable: &[&str]| json!({"ambient": ["CAP_KILL"], "permitted": ["CAP_KILL"], "inheritable": inheritable});
        good("/process/capabilities", ambient(&["CAP_KILL"]));
        warned(
            &[("/process/capabilities", ambient(&[]))],
            "CAP_KILL can't be raised without being in inheritable",
        );
    }

    #[test]
    fn rlimits() {
        let limit = |kind: &str, soft: u64, hard: u64| json!({"type": kind, "soft": soft, "hard": hard});
        good("/process/rlimits", json!([limit("RLIMIT_CPU", 1, 1), limit("RLIMIT_AS", 0, u64::MAX)]));
        bad(
            "/process/rlimits",
            json!([limit("RLIMIT_CPU", 1, 1), limit("RLIMIT_CPU", 1, 1)]),
            "process.rlimits[1].type",
            "\"RLIMIT_CPU\" is there twice",
        );
        bad(
            "/process/rlimits",
            json!([limit("RLIMIT_CPU", 2, 1)]),
            "process.rlimits[0].soft",
            "2 is more than hard, 1",
        );
        bad("/process/rlimits", json!([limit("CPU", 1, 1)]), "process.rlimits[0].type", "expected one of");
    }

    #[test]
    fn scheduling() {
        good("/process/ioPriority", json!({"class": "IOPRIO_CLASS_RT", "priority": 7}));
        bad("/process/ioPriority", json!({"priority": 8}), "process.ioPriority.priority", "from 0 to 7");
        let place = "/process/scheduler";
        good(place, json!({"policy": "SCHED_OTHER", "nice": -20}));
        good(place, json!({"policy": "SCHED_RR", "priority": 99}));
        good(place, json!({"policy": "SCHED_DEADLINE", "runtime": 1, "deadline": 2, "period": 3}));
        let path = "process.scheduler.nice";
        bad(place, json!({"policy": "SCHED_BATCH", "nice": 20}), path, "from -20 to 19");
        let path = "process.scheduler.priority";
        bad(place, json!({"policy": "SCHED_FIFO"}), path, "0 is not from 1 to 99");
        bad(place, json!({"policy": "SCHED_FIFO", "priority": -1}), path, "from 1 to 99");
        bad(place, json!({"policy": "SCHED_IDLE", "priority": 1}), path, "SCHED_FIFO and SCHED_RR only");
        let path = "process.scheduler.period";
        bad(place, json!({"policy": "SCHED_OTHER", "period": 1}), path, "SCHED_DEADLINE only");
        let path = "process.scheduler.policy";
        bad(place, json!({"policy": "fifo", "priority": 1}), path, "expected one of");
    }

    #[test]
    fn scores_labels_console() {
        good("/process/oomScoreAdj", json!(-1000));
        bad("/process/oomScoreAdj", json!(1001), "process.oomScoreAdj", "from -1000 to 1000");
        good("/process/apparmorProfile", json!(""));
        bad("/process/apparmorProfile", json!("a\nb"), "process.apparmorProfile", "line break");
        bad("/process/selinuxLabel", json!("a\u{0}b"), "process.selinuxLabel", "NUL");
        let size = json!({"height": 65536, "width": 80});
        good("/process/consoleSize", size.clone());
        bad_all(
            &[("/process/consoleSize", size), ("/process/terminal", json!(true))],
            "process.consoleSize.height",
            "more than 65535",
        );
    }
}
