//! What went wrong in the container's process, in words: a step, a call and an errno become a sentence with a
//! cure, and where engines know a text, in that text.

use crate::cgroup::Cgroup;
use crate::error::{Error, Kind};
use crate::log;
use crate::plan::{Plan, Step};
use crate::spawn::{Ended, PATIENCE};
use crate::sys::process::{Exit, Signal};
use crate::sys::{Call, Errno, Fail, Text};

/// A program without a home of its own: its files go to `/`, if anywhere.
pub fn no_home(fail: Fail) {
    let error = Error::kernel("HOME is /: read the container's /etc/passwd", fail);
    let error = match fail.errno {
        Errno::EAGAIN => error.hint("somebody in the container has a lease on it"),
        Errno::EFBIG => error.hint("it is larger than 64 MiB, and the user isn't in the beginning"),
        Errno::EINVAL => error.hint("it is no plain file"),
        Errno::ENAMETOOLONG => error.hint("the user's home is longer than a path"),
        _ => error,
    };
    log::warning(&error.to_string());
}

/// What went wrong in the container's process, in words.
pub fn ended(ended: Ended, plan: &Plan, cgroup: Option<&Cgroup>) -> Error {
    let total = plan.steps.len();
    match ended {
        Ended::Reported(report) => {
            let number = usize::from(report.step) + 1;
            let step = plan.steps.get(usize::from(report.step));
            let context =
                format!("{} (step {number} of {total})", plan.step_text(number).unwrap_or_default());
            let mut error = match step {
                Some(Step::FindProgram { name, .. }) => exec_error(name, report.fail),
                Some(Step::Exec { name, .. }) => execute_error(name, report.fail),
                _ => hinted(
                    step,
                    Error::new(Kind::Step, context.clone()).with_fail(report.fail),
                    report.fail.errno,
                ),
            };
            if error.kind == Kind::Exec {
                error = error.context(context);
            }
            error.at_step(number)
        }
        Ended::Stuck { step } => {
            let number = usize::from(step) + 1;
            let doing = plan.step_text(number).unwrap_or_default();
            let seconds = PATIENCE.as_secs();
            let text = format!(
                "{doing} (step {number} of {total}): the container hasn't let it end for {seconds} s"
            );
            let error = Error::new(Kind::Step, text).at_step(number);
            match plan.steps.get(usize::from(step)) {
                Some(Step::HomeFromPasswd(_)) => error.hint(
                    "its /etc/passwd may be on a file system in user space that doesn't answer; with a HOME in process.env, \
                     or by exec --env, it isn't asked",
                ),
                _ => error.hint("it may have a file system in user space there that doesn't answer"),
            }
        }
        Ended::Silent { exit, step } => {
            let during = step.map(|step| {
                let number = usize::from(step) + 1;
                format!("step {number} of {total} ({})", plan.step_text(number).unwrap_or_default())
            });
            died(Some(exit), during.as_deref(), cgroup)
        }
    }
}

/// The container's process ended, and not by itself, during this step, or before it came to do anything. Of one that isn't
/// our child it may not be known how.
pub fn died(exit: Option<Exit>, during: Option<&str>, cgroup: Option<&Cgroup>) -> Error {
    let how = match exit {
        Some(Exit::Status(status)) => format!("ended with status {status}"),
        Some(Exit::Signal(signal)) => format!("was killed by {signal}"),
        None => "ended".into(),
    };
    let when = during.map_or("before its first step".into(), |during| format!("during {during}"));
    let error = Error::new(Kind::Step, format!("the container's process {how} {when}"));
    let killed = cgroup.map_or(0, Cgroup::oom_kills);
    match exit {
        Some(Exit::Signal(Signal::KILL)) if killed > 0 => error.hint(format!(
            "memory.events: oom_kill {killed}: linux.resources.memory.limit is too low to start"
        )),
        // systemd removes an empty cgroup at once, and what it has counted.
        Some(Exit::Signal(Signal::KILL)) if cgroup.is_some_and(Cgroup::is_gone) => error.hint(
            "its cgroup is gone, so who killed it is not known: a linux.resources.memory.limit that is too low to \
             start does that",
        ),
        _ => error,
    }
}

/// What execve(2) said of a program that was found: what is missing then is another file.
pub fn execute_error(name: &str, fail: Fail) -> Error {
    match fail.errno {
        Errno::ENOENT => Error::new(Kind::Exec, format!("exec {name}: {}", Text(fail.errno))).hint(
            "the file is there, and what it needs to run is not: the program of its #! line, or the loader of an ELF file",
        ),
        _ => exec_error(name, fail),
    }
}

/// Texts that engines know (reference: Go's os/exec, which runc uses).
pub fn exec_error(name: &str, fail: Fail) -> Error {
    let text = match fail.errno {
        Errno::ENOENT if !name.contains('/') => format!("exec: {name:?}: executable file not found in $PATH"),
        Errno::ENOENT => format!("exec: {name:?}: stat {name}: no such file or directory"),
        Errno::EACCES => format!("exec: {name:?}: permission denied"),
        Errno::EISDIR => format!("exec: {name:?}: is a directory"),
        errno if fail.call == Call::Exec => format!("exec {name}: {}", Text(errno)),
        _ => format!("exec {name}: {fail}"),
    };
    let error = Error::new(Kind::Exec, text);
    match fail.errno {
        Errno::ENOEXEC => error.hint("not a program for this machine, or a script without a #! line"),
        _ => error,
    }
}

pub const RAISING_LIMITS: &str = "raising a hard limit needs CAP_SYS_RESOURCE";

pub const LISTENER_CALLS: &str = "with SCMP_ACT_NOTIFY, linux.seccomp must allow write and read";

/// Whether options of a file system have a user's or group's id.
fn names_an_id(options: &[u8]) -> bool {
    let mut options = options.split(|byte| *byte == b',');
    options.any(|option| option.starts_with(b"gid=") || option.starts_with(b"uid="))
}

/// Why a user namespace may not mount this (user_namespaces(7), "Effect of capabilities within a user namespace").
fn hint_of_refused(fstype: &[u8], error: Error) -> Error {
    error.hint(match fstype {
        b"sysfs" => "sysfs needs a network namespace of the container's own user namespace; bind /sys instead",
        b"proc" => {
            "procfs needs a pid namespace of the container's own user namespace, and a /proc on the host that has \
             nothing mounted on its files (as it has in many containers)"
        }
        b"mqueue" => "mqueue needs an ipc namespace of the container's own user namespace",
        b"cgroup2" => "cgroup2 needs a cgroup namespace of the container's own user namespace",
        _ => "it takes CAP_SYS_ADMIN, and in a user namespace a file system that may be mounted there",
    })
}

/// The known traps.
fn hinted(step: Option<&Step>, error: Error, errno: Errno) -> Error {
    match (step, errno) {
        (Some(Step::Mount(m)), Errno::ELOOP | Errno::ENOTDIR) if m.target.plain => error.hint(
            "it must be mounted on an ordinary directory: the root file system has a symlink or file there",
        ),
        (Some(Step::ChangeMount { .. }), Errno::EINVAL) => {
            error.hint("\"remount\" changes what an entry before it has mounted at this path")
        }
        (Some(Step::Mount(_) | Step::Bind(_)), Errno::EACCES) => error.hint(
            "inside /proc only a few files may be covered by a mount, and /proc itself only by a procfs",
        ),
        (Some(Step::Mount(_)), Errno::ENODEV) => {
            error.hint("the kernel has no such file system: see /proc/filesystems")
        }
        (Some(Step::Mount(m)), Errno::EINVAL) if names_an_id(m.data.to_bytes()) => error.hint(
            "it refuses one of the options, or an id in them isn't mapped in the user namespace: see linux.gidMappings",
        ),
        (Some(Step::Mount(_)), Errno::EINVAL) => error.hint("the file system refuses one of the options"),
        (Some(Step::Mount(m)), Errno::EPERM) => hint_of_refused(m.fstype.to_bytes(), error),
        (
            Some(Step::Bind(_) | Step::ChangeMount { .. } | Step::ReadOnlyMount { .. } | Step::ReadOnlyRoot),
            Errno::EPERM,
        ) => error.hint(
            "in a user namespace a mount keeps the options that it has on the host (mount_namespaces(7)): ro, nosuid, \
             nodev, noexec and the times of access can't be taken away",
        ),
        (Some(Step::CloneTree { .. } | Step::Bind(_)), Errno::EINVAL)
            if error.fail.is_some_and(|fail| fail.call == Call::OpenTree) => error.hint(
            "an unbindable mount; or, in a user namespace, one with others on it that a bind would uncover: then use rbind",
        ),
        (Some(Step::CloneTree { .. }), Errno::ESTALE) => {
            error.hint("the source was replaced while the container was being created")
        }
        (Some(Step::CloneTree { .. }), Errno::EACCES) => error.hint("this user may not go there"),
        (Some(Step::MakeFs(_)), Errno::ENODEV) => {
            error.hint("the kernel has no such file system: see /proc/filesystems")
        }
        (Some(Step::MakeFs(_)), Errno::EINVAL) => error.hint("the file system refuses one of the options"),
        (Some(Step::FindMount { .. } | Step::Unmount { .. }), Errno::EINVAL) => {
            error.hint("nothing is mounted there")
        }
        (Some(Step::Bind(_)), Errno::ENOTDIR | Errno::EINVAL)
            if error.fail.is_some_and(|fail| fail.call == Call::MoveMount) =>
        {
            error.hint("a file can't be mounted on a directory, nor a directory on a file")
        }
        (Some(Step::Mount(_) | Step::Bind(_) | Step::Device { .. }), Errno::EROFS) => {
            error.hint("the mount point is missing and can't be made on a read-only file system")
        }
        (Some(Step::EnterRoot(_)), Errno::EINVAL) => {
            error.hint("a root on initramfs can't be pivoted: try --no-pivot")
        }
        (Some(Step::Hook { .. }), Errno::ETIME) => error.hint("the hook's timeout is over"),
        (Some(Step::Hook { .. }), Errno::ECANCELED) => {
            error.hint("the hook ended with a status other than 0")
        }
        (Some(Step::Device { .. }), Errno::EEXIST) => error.hint("another file is there already"),
        (Some(Step::Console { .. }), Errno::ENOENT) => {
            error.hint("a terminal needs a devpts mount on /dev/pts")
        }
        (Some(Step::SetIds { .. } | Step::BecomeRoot { .. }), Errno::EINVAL) => {
            error.hint("the id isn't mapped in the user namespace: see linux.uidMappings and gidMappings")
        }
        (Some(Step::Label { field, .. }), errno) => match (*field, errno) {
            ("process.apparmorProfile", Errno::ENOENT) => {
                error.hint("no such profile is loaded: see apparmor_parser(8)")
            }
            ("process.apparmorProfile", Errno::EACCES | Errno::EPERM) => {
                error.hint("the profile that rrunc itself runs under needs a rule: change_profile")
            }
            ("process.selinuxLabel", Errno::EINVAL) => {
                error.hint("the policy that is loaded has no such label: see seinfo(1)")
            }
            ("process.selinuxLabel", Errno::EACCES | Errno::EPERM) => {
                error.hint("the policy doesn't let rrunc's own domain set it")
            }
            _ => error,
        },
        (Some(Step::SessionKeyring { .. }), Errno::EDQUOT) => error.hint(
            "the user has too many keys: raise /proc/sys/kernel/keys/maxkeys, or create the container with --no-new-keyring: \
             it then has its caller's session keyring, with all that is in it",
        ),
        (Some(Step::SessionKeyring { .. }), _) => error.hint(
            "create the container with --no-new-keyring: it then has its caller's session keyring, with all that is in it",
        ),
        (Some(Step::RaiseLimit { .. }), Errno::EPERM) => error.hint(RAISING_LIMITS),
        (Some(Step::Bind(_)), Errno::ESTALE) => {
            error.hint("the source was replaced while the container was being created")
        }
        (Some(Step::Seccomp(filter)), _)
            if filter.listens()
                && error
                    .fail
                    .is_some_and(|fail| matches!(fail.call, Call::Read | Call::Write)) =>
        {
            error.hint(LISTENER_CALLS)
        }
        (Some(Step::Seccomp(_)), Errno::EINVAL) => {
            error.hint("this kernel may not know one of linux.seccomp.flags: see rrunc features")
        }
        (Some(Step::ChangeDirectory { .. }), Errno::ELOOP) => {
            error.hint("process.cwd leads through a magic link")
        }
        _ => error,
    }
}
