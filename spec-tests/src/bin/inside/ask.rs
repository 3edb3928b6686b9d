//! What can be asked: one arm per verb. Facts come from the kernel as they are; attempts answer "ok" or an errno.

use std::fs::{self, File, OpenOptions};
use std::io::{self, IsTerminal, Read, Write};
use std::os::fd::AsRawFd;
use std::os::unix::fs::{FileTypeExt, MetadataExt};

use nix::errno::Errno;
use nix::sys::resource::{Resource, getrlimit};
use nix::sys::stat::{self, Mode, SFlag};
use nix::time::{ClockId, clock_gettime};
use nix::unistd;
use serde_json::{Map, Value, json};

use crate::sys;

/// The answer to `verb rest`, or None if there is no such verb.
pub fn answer(verb: &str, rest: &str) -> Option<Value> {
    let words: Vec<&str> = rest.split(' ').filter(|w| !w.is_empty()).collect();
    let (first, second) = rest.split_once(' ').unwrap_or((rest, ""));
    Some(match verb {
        "args" => json!(std::env::args().collect::<Vec<_>>()),
        "env" => std::env::vars().map(|(k, v)| (k, json!(v))).collect::<Map<_, _>>().into(),
        "environ" => lines(fs::read("/proc/self/environ"), 0),
        "cwd" => io(std::env::current_dir(), |d| json!(d)),
        "pid" => json!(std::process::id()),
        "ids" => ids(),
        "umask" => umask(),
        "caps" => status_fields(&["CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"]),
        "status" => status_fields(&[first]).get(first).cloned().unwrap_or(Value::Null),
        "rlimits" => rlimits(),
        "personality" => errno(nix::sys::personality::get(), |p| json!(p.bits())),
        "hostname" => errno(unistd::gethostname(), |h| json!(h.to_string_lossy())),
        "domainname" => errno(nix::sys::utsname::uname(), |u| json!(u.domainname().to_string_lossy())),
        "machine" => errno(nix::sys::utsname::uname(), |u| json!(u.machine().to_string_lossy())),
        "ns" => links("/proc/self/ns"),
        "fds" => links("/proc/self/fd"),
        "mounts" => io(fs::read_to_string("/proc/self/mountinfo"), |t| t.lines().map(mount).collect()),
        "cgroup" => lines(fs::read("/proc/self/cgroup"), b'\n'),
        "clock" => clock(),
        "tty" => tty(),
        "interfaces" => ls("/sys/class/net"),
        "stdin" => read(&mut io::stdin()),
        "read" => match File::open(rest) {
            Ok(mut file) => read(&mut file),
            Err(e) => refused(&e),
        },
        "ls" => ls(rest),
        "readlink" => io(fs::read_link(rest), |t| json!(t)),
        "stat" => io(fs::symlink_metadata(rest), |m| metadata(&m)),
        "print" => json!(rest),
        "open" => open(first, second),
        "write" => {
            done(OpenOptions::new().write(true).open(first).and_then(|mut f| f.write_all(second.as_bytes())))
        }
        "tell" => done(tell(first, &second.replace("\\n", "\n"))),
        "create" => done(File::create_new(rest)),
        "mkdir" => done(fs::create_dir(rest)),
        "remove" => done(fs::remove_file(rest)),
        "chmod" => done(fs::set_permissions(second, mode(first))),
        "make-mount-writable" => errno(sys::make_writable(rest.parse().ok()?, false), |_| json!("ok")),
        "clone-mount-writable" => errno(sys::make_writable(rest.parse().ok()?, true), |_| json!("ok")),
        "mknod" => mknod(&words)?,
        "overwrite-exe" => overwrite_exe(),
        "spawn" => spawn(&words)?,
        "background" => {
            io(std::process::Command::new("/proc/self/exe").arg("sleep").spawn(), |c| json!(c.id()))
        }
        "syscall" => errno(sys::syscall(words.first()?, &words[1..])?, |n| json!(n)),
        _ => return None,
    })
}

fn refused(e: &io::Error) -> Value {
    json!(e.raw_os_error().map_or(e.to_string(), |n| format!("{:?}", Errno::from_raw(n))))
}

fn io<T>(result: io::Result<T>, show: impl FnOnce(T) -> Value) -> Value {
    result.map(show).unwrap_or_else(|e| refused(&e))
}

fn errno<T>(result: nix::Result<T>, show: impl FnOnce(T) -> Value) -> Value {
    result.map(show).unwrap_or_else(|e| json!(format!("{e:?}")))
}

fn done<T>(result: io::Result<T>) -> Value {
    io(result, |_| json!("ok"))
}

fn read(from: &mut dyn Read) -> Value {
    let mut text = Vec::new();
    io(from.read_to_end(&mut text), |_| json!(String::from_utf8_lossy(&text)))
}

/// One datagram to a socket.
fn tell(path: &str, message: &str) -> io::Result<()> {
    std::os::unix::net::UnixDatagram::unbound()?.send_to(message.as_bytes(), path).map(drop)
}

fn lines(bytes: io::Result<Vec<u8>>, end: u8) -> Value {
    io(bytes, |b| {
        let parts = b.split(|c| *c == end).filter(|l| !l.is_empty());
        parts.map(|l| json!(String::from_utf8_lossy(l))).collect()
    })
}

/// Names in a directory, sorted.
fn ls(dir: &str) -> Value {
    let names =
        fs::read_dir(dir).and_then(|d| d.map(|e| e.map(|e| e.file_name())).collect::<Result<Vec<_>, _>>());
    io(names, |mut names| {
        names.sort();
        names.iter().map(|n| json!(n.to_string_lossy())).collect()
    })
}

/// Symlinks of a directory: name → target. The fd that reads /proc/self/fd is gone again when it is looked up.
fn links(dir: &str) -> Value {
    let Value::Array(names) = ls(dir) else {
        return ls(dir);
    };
    let target = |n: &Value| {
        Some((n.as_str()?.to_owned(), json!(fs::read_link(format!("{dir}/{}", n.as_str()?)).ok()?)))
    };
    names.iter().filter_map(target).collect::<Map<_, _>>().into()
}

fn ids() -> Value {
    let (Ok(u), Ok(g)) = (unistd::getresuid(), unistd::getresgid()) else {
        return Value::Null;
    };
    let mut groups: Vec<u32> = unistd::getgroups().unwrap_or_default().iter().map(|g| g.as_raw()).collect();
    groups.sort_unstable();
    json!({
        "uid": u.real.as_raw(), "euid": u.effective.as_raw(), "suid": u.saved.as_raw(),
        "gid": g.real.as_raw(), "egid": g.effective.as_raw(), "sgid": g.saved.as_raw(), "groups": groups,
    })
}

fn umask() -> Value {
    let mask = stat::umask(Mode::empty());
    stat::umask(mask);
    json!(format!("{:04o}", mask.bits()))
}

fn status_fields(names: &[&str]) -> Value {
    io(fs::read_to_string("/proc/self/status"), |text| {
        let fields = text.lines().filter_map(|l| l.split_once(':')).filter(|(k, _)| names.contains(k));
        fields.map(|(k, v)| (k.to_owned(), json!(v.trim()))).collect::<Map<_, _>>().into()
    })
}

fn rlimits() -> Value {
    let all = [
        ("RLIMIT_AS", Resource::RLIMIT_AS),
        ("RLIMIT_CORE", Resource::RLIMIT_CORE),
        ("RLIMIT_CPU", Resource::RLIMIT_CPU),
        ("RLIMIT_DATA", Resource::RLIMIT_DATA),
        ("RLIMIT_FSIZE", Resource::RLIMIT_FSIZE),
        ("RLIMIT_LOCKS", Resource::RLIMIT_LOCKS),
        ("RLIMIT_MEMLOCK", Resource::RLIMIT_MEMLOCK),
        ("RLIMIT_MSGQUEUE", Resource::RLIMIT_MSGQUEUE),
        ("RLIMIT_NICE", Resource::RLIMIT_NICE),
        ("RLIMIT_NOFILE", Resource::RLIMIT_NOFILE),
        ("RLIMIT_NPROC", Resource::RLIMIT_NPROC),
        ("RLIMIT_RSS", Resource::RLIMIT_RSS),
        ("RLIMIT_RTPRIO", Resource::RLIMIT_RTPRIO),
        ("RLIMIT_RTTIME", Resource::RLIMIT_RTTIME),
        ("RLIMIT_SIGPENDING", Resource::RLIMIT_SIGPENDING),
        ("RLIMIT_STACK", Resource::RLIMIT_STACK),
    ];
    let value = |r| errno(getrlimit(r), |(soft, hard)| json!([soft, hard]));
    all.into_iter().map(|(name, r)| (name.to_owned(), value(r))).collect::<Map<_, _>>().into()
}

/// A line of /proc/self/mountinfo as proc(5) names its fields; octal escapes are left as they are.
fn mount(line: &str) -> Value {
    let (left, right) = line.split_once(" - ").unwrap_or((line, ""));
    let l: Vec<&str> = left.split(' ').collect();
    let r: Vec<&str> = right.split(' ').collect();
    let at = |v: &[&str], i: usize| v.get(i).copied().unwrap_or_default().to_owned();
    let list = |text: String| text.split(',').map(str::to_owned).collect::<Vec<_>>();
    json!({
        "id": at(&l, 0), "parent": at(&l, 1), "device": at(&l, 2), "root": at(&l, 3), "at": at(&l, 4),
        "options": list(at(&l, 5)), "propagation": l.get(6..).unwrap_or_default(),
        "type": at(&r, 0), "source": at(&r, 1), "super": list(at(&r, 2)),
    })
}

fn clock() -> Value {
    let seconds = |c| errno(clock_gettime(c), |t| json!(t.tv_sec()));
    json!({ "monotonic": seconds(ClockId::CLOCK_MONOTONIC), "boottime": seconds(ClockId::CLOCK_BOOTTIME) })
}

fn tty() -> Value {
    let terminals = [io::stdin().is_terminal(), io::stdout().is_terminal(), io::stderr().is_terminal()];
    json!({
        "terminals": terminals,
        "name": fs::read_link("/proc/self/fd/0").ok(),
        "session": errno(unistd::getsid(None), |p| json!(p.as_raw())),
        "foreground": errno(unistd::tcgetpgrp(io::stdin()), |p| json!(p.as_raw())),
        "controlling": done(File::open("/dev/tty")),
        "size": errno(sys::window_size(0), |(rows, columns)| json!([rows, columns])),
    })
}

fn metadata(m: &fs::Metadata) -> Value {
    let t = m.file_type();
    let kind = [
        (t.is_file(), "file"),
        (t.is_dir(), "directory"),
        (t.is_symlink(), "symlink"),
        (t.is_char_device(), "c"),
        (t.is_block_device(), "b"),
        (t.is_fifo(), "p"),
        (t.is_socket(), "socket"),
    ];
    json!({
        "type": kind.iter().find(|(is, _)| *is).map(|(_, name)| name),
        "mode": format!("{:04o}", m.mode() & 0o7777), "uid": m.uid(), "gid": m.gid(), "size": m.size(),
        "major": stat::major(m.rdev()), "minor": stat::minor(m.rdev()), "inode": m.ino(), "device": m.dev(),
    })
}

fn mode(octal: &str) -> fs::Permissions {
    use std::os::unix::fs::PermissionsExt;
    fs::Permissions::from_mode(u32::from_str_radix(octal, 8).unwrap_or(0))
}

/// `open PATH r|w|rw`: opening alone, with nothing read or written.
fn open(path: &str, how: &str) -> Value {
    done(OpenOptions::new().read(how.contains('r')).write(how.contains('w')).open(path))
}

/// Opens the executable of the first process that comes by with one that isn't of the container's /bin, tries to make its mount writable, and to write to it
/// once nobody executes it any more.
fn overwrite_exe() -> Value {
    let foreign = |name: std::ffi::OsString| {
        let path = format!("/proc/{}/exe", name.to_str()?.parse::<u32>().ok()?);
        let own = fs::read_link(&path).ok()?.starts_with("/bin");
        File::open(path).ok().filter(|_| !own)
    };
    let names = || fs::read_dir("/proc").into_iter().flatten().flatten().map(|entry| entry.file_name());
    let open = || names().find_map(foreign);
    let exe = std::iter::repeat_with(open).flatten().next();
    let fd = exe.as_ref().map_or(-1, AsRawFd::as_raw_fd);
    let path = format!("/proc/self/fd/{fd}");
    let link = fs::read_link(&path).unwrap_or_default();
    let mounts = [false, true].map(|clone| errno(sys::make_writable(fd, clone), |_| json!("ok")));
    let open = || OpenOptions::new().append(true).open(&path);
    let busy = |e: &io::Error| e.raw_os_error() == Some(libc::ETXTBSY);
    let mut opened = std::iter::repeat_with(open).take(1_000_000).skip_while(|r| r.as_ref().is_err_and(busy));
    let written =
        opened.next().map(|opened| done(opened.and_then(|mut file| file.write_all(b"overwritten"))));
    json!({ "link": link, "mounts": mounts, "write": written.unwrap_or_else(|| json!("ETXTBSY")) })
}

/// `mknod PATH c|b|p MAJOR MINOR`
fn mknod(words: &[&str]) -> Option<Value> {
    let [path, kind, numbers @ ..] = words else {
        return None;
    };
    let kind = match *kind {
        "c" => SFlag::S_IFCHR,
        "b" => SFlag::S_IFBLK,
        "p" => SFlag::S_IFIFO,
        _ => return None,
    };
    let number = |i: usize| numbers.get(i).and_then(|n| n.parse().ok()).unwrap_or(0);
    let device = stat::makedev(number(0), number(1));
    Some(errno(stat::mknod(*path, kind, Mode::from_bits_truncate(0o600), device), |()| json!("ok")))
}

/// `spawn PROGRAM ARG…`: its exit code, or why it couldn't be executed.
fn spawn(words: &[&str]) -> Option<Value> {
    let (program, args) = words.split_first()?;
    Some(io(std::process::Command::new(program).args(args).status(), |s| json!(s.code())))
}
