//! The kernel's small values as types of their own, without any call: what `plan` may import.

use std::fmt;

pub use nix::errno::Errno;

macro_rules! id {
    ($(#[$doc:meta])* $name:ident($inner:ty)) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
        #[serde(transparent)]
        #[repr(transparent)]
        pub struct $name(pub $inner);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    };
}

id!(
    /// A process id as seen from the runtime's pid namespace.
    Pid(i32)
);
id!(
    /// A user id; which user namespace it belongs to is said where it is used.
    Uid(u32)
);
id!(
    /// A group id; which user namespace it belongs to is said where it is used.
    Gid(u32)
);

/// The calls that can fail, by the name that strace shows. A number of 16 bits, so that a child which may
/// not allocate can report one.
macro_rules! calls {
    ($($variant:ident = $name:literal,)*) => {
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        #[repr(u16)]
        pub enum Call { $($variant,)* }

        impl Call {
            const ALL: &[Call] = &[$(Call::$variant,)*];

            /// The call's name as its man page has it.
            pub const fn name(self) -> &'static str {
                match self { $(Call::$variant => $name,)* }
            }

            /// The call with this number in a report, if there is one.
            pub fn from_number(number: u16) -> Option<Call> {
                Self::ALL.get(usize::from(number)).copied()
            }
        }
    };
}

calls! {
    Accept = "accept4",
    Access = "faccessat2",
    Bind = "bind",
    Bpf = "bpf",
    Capget = "capget",
    Capset = "capset",
    Chdir = "chdir",
    Chmod = "fchmodat",
    Chown = "fchownat",
    Chroot = "chroot",
    Clone = "clone3",
    CloseRange = "close_range",
    Connect = "connect",
    Dup = "dup3",
    EpollCtl = "epoll_ctl",
    EpollWait = "epoll_wait",
    Exec = "execve",
    Landlock = "landlock",
    SetMempolicy = "set_mempolicy",
    Fchdir = "fchdir",
    Fcntl = "fcntl",
    Flock = "flock",
    Fsconfig = "fsconfig",
    Fsmount = "fsmount",
    Fsopen = "fsopen",
    Fsetxattr = "fsetxattr",
    Fstatfs = "fstatfs",
    Fsync = "fsync",
    Getcwd = "getcwd",
    Getdents = "getdents64",
    Getrandom = "getrandom",
    Ioctl = "ioctl",
    Ioprio = "ioprio_set",
    Keyctl = "keyctl",
    Kill = "kill",
    Link = "linkat",
    Listen = "listen",
    Lseek = "lseek",
    Memfd = "memfd_create",
    Mempolicy = "set_mempolicy",
    Mkdir = "mkdirat",
    Mknod = "mknodat",
    Mmap = "mmap",
    Mount = "mount",
    MountSetattr = "mount_setattr",
    MoveMount = "move_mount",
    Open = "openat2",
    Openat = "openat",
    OpenTree = "open_tree",
    Personality = "personality",
    PidfdGetfd = "pidfd_getfd",
    PidfdOpen = "pidfd_open",
    PidfdSendSignal = "pidfd_send_signal",
    Pipe = "pipe2",
    PivotRoot = "pivot_root",
    Poll = "poll",
    Prctl = "prctl",
    Prlimit = "prlimit64",
    Read = "read",
    Readlink = "readlinkat",
    Recvmsg = "recvmsg",
    Rename = "renameat2",
    Rmdir = "rmdir",
    RtmGetaddr = "RTM_GETADDR",
    RtmGetlink = "RTM_GETLINK",
    RtmNewaddr = "RTM_NEWADDR",
    RtmNewlink = "RTM_NEWLINK",
    SchedSetaffinity = "sched_setaffinity",
    SchedSetattr = "sched_setattr",
    Seccomp = "seccomp",
    Sendfile = "sendfile",
    Sendmsg = "sendmsg",
    Setdomainname = "setdomainname",
    Setgid = "setresgid",
    Setgroups = "setgroups",
    Sethostname = "sethostname",
    Setns = "setns",
    Setpgid = "setpgid",
    Setsid = "setsid",
    Setsockopt = "setsockopt",
    Setuid = "setresuid",
    Sigaction = "rt_sigaction",
    Signalfd = "signalfd4",
    Sigprocmask = "rt_sigprocmask",
    Socket = "socket",
    Socketpair = "socketpair",
    Stat = "statx",
    Symlink = "symlinkat",
    Tcgetattr = "tcgetattr",
    Tcsetattr = "tcsetattr",
    Umask = "umask",
    Umount = "umount2",
    Unlink = "unlinkat",
    Unshare = "unshare",
    Waitid = "waitid",
    Write = "write",
}

/// A call that failed, and with what: all that a child can say of a failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fail {
    pub call: Call,
    pub errno: Errno,
}

impl Fail {
    pub const fn new(call: Call, errno: Errno) -> Fail {
        Fail { call, errno }
    }

    /// How many bytes it takes between processes.
    pub const BYTES: usize = 6;

    /// For a child that can say no more.
    pub const fn to_bytes(self) -> [u8; Fail::BYTES] {
        let [a, b] = (self.call as u16).to_ne_bytes();
        let [c, d, e, f] = (self.errno as i32).to_ne_bytes();
        [a, b, c, d, e, f]
    }

    pub fn from_bytes([a, b, c, d, e, f]: [u8; Fail::BYTES]) -> Option<Fail> {
        let call = Call::from_number(u16::from_ne_bytes([a, b]))?;
        Some(Fail { call, errno: Errno::from_raw(i32::from_ne_bytes([c, d, e, f])) })
    }
}

impl fmt::Display for Fail {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.call.name(), Text(self.errno))
    }
}

/// What the C library says of an errno (strerror(3)), without its capital letter: in the words that users and
/// engines know, some of which match them.
pub struct Text(pub Errno);

impl fmt::Display for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = self.0.desc();
        let mut letters = text.chars();
        match letters.next() {
            Some(first) => write!(f, "{}{}", first.to_lowercase(), letters.as_str()),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calls_survive_the_wire() {
        for (number, call) in Call::ALL.iter().enumerate() {
            assert_eq!(Call::from_number(number as u16), Some(*call));
            let fail = Fail::new(*call, Errno::EPERM);
            assert_eq!(Fail::from_bytes(fail.to_bytes()), Some(fail));
        }
        assert_eq!(Call::from_number(u16::MAX), None);
    }

    #[test]
    fn a_fail_reads_like_strace() {
        let fail = Fail::new(Call::MoveMount, Errno::ENOENT);
        assert_eq!(fail.to_string(), "move_mount: no such file or directory");
    }
}
