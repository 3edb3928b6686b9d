//! Processes by pidfd, and the small calls of the host side around them: signals, waiting, file locks.
//! A pidfd never means another process than the one it was opened for, whatever becomes of the number.

use std::marker::PhantomData;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

pub use super::Signal;
use super::{Call, Errno, Fail, Pid, fs, gate, gate_fd};

/// pidfd_open(2), Linux 5.3; close-on-exec always. ESRCH: no such process.
pub fn pidfd_open(pid: Pid) -> Result<OwnedFd, Fail> {
    // SAFETY: takes two numbers, touches no memory.
    let ret = unsafe { libc::syscall(libc::SYS_pidfd_open, pid.0, 0) };
    gate_fd(Call::PidfdOpen, ret).map_err(|fail| match fail.errno {
        // What older kernels (6.12 still) say of a process that was waited for while others are still in its session or
        // group: its number is kept, but no process has it.
        Errno::EINVAL if pid.0 > 0 => Fail { errno: Errno::ESRCH, ..fail },
        _ => fail,
    })
}

/// What proc_pid_stat(5) knows of a process, also of one that has ended and wasn't waited for yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stat {
    /// It is over.
    pub is_zombie: bool,
    /// Its first thread is on its way out; of a program the others may go on.
    pub exiting: bool,
    /// Not the program of the process that it was forked from any more: it called execve(2) since.
    pub executed: bool,
    /// In clock ticks since boot.
    pub start_time: u64,
    /// How it ended, if it did; who may not trace it sees status 0.
    pub exit: Exit,
}

/// `None` if there is no such process.
pub fn stat(pid: Pid) -> Result<Option<Stat>, Fail> {
    let gone = |fail: Fail| matches!(fail.errno, Errno::ENOENT | Errno::ESRCH);
    let path = super::c_path(format!("/proc/{pid}/stat").as_ref())?;
    let file = match fs::open(fs::cwd(), &path, libc::O_RDONLY, 0, fs::resolve::HOST) {
        Err(fail) if gone(fail) => return Ok(None),
        file => file?,
    };
    let mut line = [0; 2048]; // 52 numbers and a name of 64 bytes
    match fs::read(file.as_fd(), &mut line) {
        Err(fail) if gone(fail) => Ok(None),
        read => match parse_stat(line.get(..read?).unwrap_or_default()) {
            None => Err(Fail::new(Call::Read, Errno::EBADMSG)), // a broken /proc
            stat => Ok(stat),
        },
    }
}

/// Field 2 of proc_pid_stat(5) is the command in parentheses and may hold anything, also parentheses and bytes that are no
/// UTF-8, so counting starts behind the last one.
fn parse_stat(line: &[u8]) -> Option<Stat> {
    /// linux/sched.h.
    const PF_EXITING: u64 = 0x4;
    const PF_FORKNOEXEC: u64 = 0x40;
    let behind = line.iter().rposition(|&byte| byte == b')')? + 1;
    let mut fields = std::str::from_utf8(line.get(behind..)?).ok()?.split_ascii_whitespace();
    let state = fields.next()?; // field 3
    let flags: u64 = fields.nth(9 - 4)?.parse().ok()?;
    let start_time = fields.nth(22 - 10)?.parse().ok()?;
    let status = fields.nth(52 - 23).and_then(|status| status.parse().ok()).unwrap_or(0);
    Some(Stat {
        is_zombie: matches!(state, "Z" | "X"),
        exiting: flags & PF_EXITING != 0,
        executed: flags & PF_FORKNOEXEC == 0,
        start_time,
        exit: Exit::of(status),
    })
}

/// The number of the process behind `pidfd` in the pid namespace of the procfs `proc` (proc_pid_fdinfo(5)). ESRCH: it is
/// over, or not in there.
pub fn pid_of(pidfd: BorrowedFd<'_>, proc: BorrowedFd<'_>) -> Result<Pid, Fail> {
    let path = super::c_path(format!("self/fdinfo/{}", pidfd.as_raw_fd()).as_ref())?;
    let info = fs::open(proc, &path, libc::O_RDONLY, 0, fs::resolve::HOST)?;
    let mut text = [0; 1024];
    let length = fs::read(info.as_fd(), &mut text)?;
    let text = std::str::from_utf8(text.get(..length).unwrap_or_default()).unwrap_or_default();
    let pid = text.lines().find_map(|line| line.strip_prefix("Pid:")?.trim().parse().ok());
    pid.filter(|pid| *pid > 0).map(Pid).ok_or(Fail::new(Call::Read, Errno::ESRCH))
}

/// How the process behind `pidfd` ended that somebody else has waited for (PIDFD_GET_INFO, with PIDFD_INFO_EXIT, Linux
/// 6.15). `None`: it can't be told.
pub fn exit_of(pidfd: BorrowedFd<'_>) -> Option<Exit> {
    /// linux/pidfd.h.
    const PIDFD_GET_INFO: u32 = 0xc040_ff0b; // _IOWR(0xff, 11, the 64 bytes below)
    const PIDFD_INFO_EXIT: u64 = 1 << 3;
    #[repr(C)]
    struct Info {
        mask: u64,
        cgroup: u64,
        ids: [u32; 11],
        exit_code: i32,
    }
    let mut info = Info { mask: PIDFD_INFO_EXIT, cgroup: 0, ids: [0; 11], exit_code: 0 };
    // SAFETY: the request takes such a struct of 64 bytes, which lives; a kernel that doesn't know it refuses it.
    let ret = unsafe { libc::ioctl(pidfd.as_raw_fd(), PIDFD_GET_INFO as _, &raw mut info) };
    gate(Call::Ioctl, ret).ok().filter(|_| info.mask & PIDFD_INFO_EXIT != 0).map(|_| Exit::of(info.exit_code))
}

/// pidfd_send_signal(2), Linux 5.1. ESRCH: the process has ended and was waited for.
pub fn pidfd_send_signal(pidfd: BorrowedFd<'_>, signal: Signal) -> Result<(), Fail> {
    let (fd, none) = (pidfd.as_raw_fd(), std::ptr::null::<libc::siginfo_t>());
    // SAFETY: a null siginfo asks the kernel to fill in what kill(2) would.
    let ret = unsafe { libc::syscall(libc::SYS_pidfd_send_signal, fd, signal.0, none, 0) };
    gate(Call::PidfdSendSignal, ret).map(drop)
}

/// kill(2), for a member of a cgroup, of which only the number is known.
pub fn kill(pid: Pid, signal: Signal) -> Result<(), Fail> {
    // SAFETY: takes two numbers, touches no memory.
    gate(Call::Kill, unsafe { libc::kill(pid.0, signal.0) }).map(drop)
}

/// What to do about a lock (flock(2)). It belongs to the open file description, so a child that inherits
/// the fd holds it too, and it ends with the last copy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lock {
    /// Wait until nobody else holds it.
    Exclusive,
    /// Share it, or fail with EWOULDBLOCK if somebody holds it exclusively.
    TryShared,
    Release,
}

/// flock(2); a wait that a signal handler interrupts goes on.
pub fn flock(fd: BorrowedFd<'_>, lock: Lock) -> Result<(), Fail> {
    let operation = match lock {
        Lock::Exclusive => libc::LOCK_EX,
        Lock::TryShared => libc::LOCK_SH | libc::LOCK_NB,
        Lock::Release => libc::LOCK_UN,
    };
    loop {
        // SAFETY: takes two numbers, touches no memory.
        match gate(Call::Flock, unsafe { libc::flock(fd.as_raw_fd(), operation) }) {
            Err(Fail { errno: Errno::EINTR, .. }) => continue,
            done => return done.map(drop),
        }
    }
}

/// Waits until the process behind `pidfd` has ended (a zombie has ended), at most `limit`, for ever if
/// `None`. Says whether it has. Works for any process, not only for children (pidfd_open(2), "poll").
pub fn ended(pidfd: BorrowedFd<'_>, limit: Option<Duration>) -> Result<bool, Fail> {
    let deadline = limit.and_then(|limit| Instant::now().checked_add(limit));
    loop {
        let mut fds = [Watch::input(Some(pidfd))];
        let left = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
        if poll(&mut fds, left)? > 0 {
            return Ok(true);
        }
        if left.is_some_and(|left| left.is_zero()) {
            return Ok(false);
        }
    }
}

/// One entry for [`poll`]: an fd, and what to wait for on it.
#[repr(transparent)]
pub struct Watch<'a>(libc::pollfd, PhantomData<BorrowedFd<'a>>);

impl<'a> Watch<'a> {
    /// Waits for what is asked for; with no fd, or nothing asked for, it is never ready, not even when the
    /// other side hangs up.
    pub fn new(fd: Option<BorrowedFd<'a>>, input: bool, output: bool) -> Watch<'a> {
        let events = if input { libc::POLLIN } else { 0 } | if output { libc::POLLOUT } else { 0 };
        let fd = fd.filter(|_| events != 0).map_or(-1, |fd| fd.as_raw_fd());
        Watch(libc::pollfd { fd, events, revents: 0 }, PhantomData)
    }
    pub fn input(fd: Option<BorrowedFd<'a>>) -> Watch<'a> {
        Watch::new(fd, true, false)
    }
    /// Something can be done with it, or it is broken (which the next call on it tells).
    pub fn ready(&self) -> bool {
        self.0.revents != 0
    }
}

/// ppoll(2): waits until one of `fds` is ready or `limit` (for ever if `None`) has passed; an interrupt by
/// a signal handler counts as "none is ready". Returns how many are.
pub fn poll(fds: &mut [Watch<'_>], limit: Option<Duration>) -> Result<usize, Fail> {
    let limit = limit.map(|limit| libc::timespec {
        tv_sec: i64::try_from(limit.as_secs()).unwrap_or(i64::MAX),
        tv_nsec: i64::from(limit.subsec_nanos()),
    });
    let limit = limit.as_ref().map_or(std::ptr::null(), std::ptr::from_ref);
    // SAFETY: a Watch is a pollfd; the array is ours with its true length, the time lives as long.
    let ret =
        unsafe { libc::ppoll(fds.as_mut_ptr().cast(), fds.len() as libc::nfds_t, limit, std::ptr::null()) };
    match gate(Call::Poll, ret) {
        Err(Fail { errno: Errno::EINTR, .. }) => {
            fds.iter_mut().for_each(|fd| fd.0.revents = 0);
            Ok(0)
        }
        ready => ready.map(|ready| ready as usize),
    }
}

/// How a process ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    Status(i32),
    Signal(Signal),
}

impl Exit {
    /// Of a status as wait(2) gives it.
    fn of(status: i32) -> Exit {
        match status & 0x7f {
            0 => Exit::Status(status >> 8 & 0xff),
            signal => Exit::Signal(Signal(signal)),
        }
    }

    /// The status that a shell reports: the process's own, or 128 + the signal's number.
    pub fn code(self) -> i32 {
        match self {
            Exit::Status(status) => status,
            Exit::Signal(signal) => 128 + signal.0,
        }
    }
}

/// Which child [`wait`] is about.
#[derive(Clone, Copy, Debug)]
pub enum Child<'a> {
    /// Whichever has ended.
    Any,
    Pidfd(BorrowedFd<'a>),
}

/// waitid(2) with WEXITED|WNOHANG: reaps the child if it has ended, `None` if not yet. P_PIDFD needs Linux
/// 5.4. ECHILD: not (or no longer) a child of ours.
pub fn wait(child: Child<'_>) -> Result<Option<(Pid, Exit)>, Fail> {
    let (which, id) = match child {
        Child::Any => (libc::P_ALL, 0),
        Child::Pidfd(fd) => (libc::P_PIDFD, fd.as_raw_fd() as libc::id_t),
    };
    // SAFETY: siginfo_t is plain data, for which zero is valid; the kernel fills it (si_pid stays 0 if none ended).
    let (ret, info) = unsafe {
        let mut info: libc::siginfo_t = std::mem::zeroed();
        (libc::waitid(which, id, &mut info, libc::WEXITED | libc::WNOHANG), info)
    };
    gate(Call::Waitid, ret)?;
    // SAFETY: after waitid the fields of SIGCHLD are those in use.
    let (pid, status) = unsafe { (info.si_pid(), info.si_status()) };
    let exit = match info.si_code {
        libc::CLD_EXITED => Exit::Status(status),
        _ => Exit::Signal(Signal(status)),
    };
    Ok((pid != 0).then_some((Pid(pid), exit)))
}

/// Waits for the end of our child behind `pidfd`, and reaps it.
pub fn reap(pidfd: BorrowedFd<'_>) -> Result<Exit, Fail> {
    loop {
        ended(pidfd, None)?;
        if let Some((_, exit)) = wait(Child::Pidfd(pidfd))? {
            return Ok(exit);
        }
    }
}

/// SIGKILL to our child behind `pidfd`, and its reaping; one that is gone already is fine. One that is stuck in the kernel,
/// as on a file system in user space that doesn't answer, is left to who adopts it.
pub fn kill_and_reap(pidfd: BorrowedFd<'_>) {
    const PATIENCE: Duration = Duration::from_secs(2);
    let _ = pidfd_send_signal(pidfd, Signal::KILL);
    if ended(pidfd, Some(PATIENCE)).unwrap_or(true) {
        let _ = reap(pidfd);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_of_stat() {
        let check = |line: &[u8], expected| assert_eq!(parse_stat(line), expected);
        let stat = |executed, start_time, exit| {
            Some(Stat { is_zombie: false, exiting: false, executed, start_time, exit })
        };
        let line = |flags: u32, name: &str, more: &str| {
            format!("1 ({name}) S 4 5 6 7 8 {flags} 10 11 12 13 14 15 16 17 18 19 20 21 777{more}\n")
                .into_bytes()
        };
        check(&line(0, "sh", ""), stat(true, 777, Exit::Status(0)));
        check(&line(0x40_0040, "a) b (c", " 23"), stat(false, 777, Exit::Status(0)));
        let rest: String = (23..52).map(|field| format!(" {field}")).collect();
        check(&line(0, "x", &format!("{rest} 9")), stat(true, 777, Exit::Signal(Signal::KILL)));
        check(&line(0, "x", &format!("{rest} 768")), stat(true, 777, Exit::Status(3)));
        check(
            b"1 (a) b\xff (c) S 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20 21 7 23",
            stat(true, 7, Exit::Status(0)),
        );
        check(b"1 (sh) S 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20 21", None);
        check(b"1 sh S 4", None);
        check(b"", None);
    }

    #[test]
    fn a_child_has_executed_only_once_it_has() {
        use super::super::clone::{self, Who};
        let (ours, theirs) = super::super::net::seqpacket_pair().expect("a pair");
        // SAFETY: the child makes but these calls.
        match unsafe { clone::clone(0, None) }.expect("a child") {
            Who::Child => {
                let _ = fs::read(theirs.as_fd(), &mut [0]);
                clone::exit(7)
            }
            Who::Parent(pid, pidfd) => {
                let before = stat(pid).expect("stat").expect("there");
                assert!(!before.executed && !before.is_zombie);
                let proc = fs::open(fs::cwd(), c"/proc", libc::O_PATH, 0, fs::resolve::HOST).expect("/proc");
                assert_eq!(pid_of(pidfd.as_fd(), proc.as_fd()), Ok(pid));
                super::super::net::send(ours.as_fd(), b"x", None).expect("send");
                ended(pidfd.as_fd(), None).expect("wait");
                let after = stat(pid).expect("stat").expect("not reaped");
                assert!(
                    after.is_zombie && after.exiting && !after.executed && after.exit == Exit::Status(7),
                    "{after:?}"
                );
                assert_eq!(reap(pidfd.as_fd()), Ok(Exit::Status(7)));
                assert_eq!(stat(pid), Ok(None));
                assert!(matches!(exit_of(pidfd.as_fd()), None | Some(Exit::Status(7))));
                assert_eq!(pid_of(pidfd.as_fd(), proc.as_fd()), Err(Fail::new(Call::Read, Errno::ESRCH)));
            }
        }
        let own = stat(Pid(std::process::id() as i32)).expect("stat").expect("us");
        assert!(own.executed);
    }
}
