//! Runs a command of a runtime under ptrace(2) and breaks one of its system calls.
//!
//! A thread of its own traces: when it ends, the kernel lets go of all that still runs. It sees the registers of
//! x86_64 alone.

use std::collections::HashMap;
use std::fs::{self, File};
use std::os::unix::fs::MetadataExt;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicI32, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};

use libseccomp::ScmpSyscall;
use nix::errno::Errno;
use nix::sys::ptrace::{self, Options};
use nix::sys::signal::{Signal, kill};
use nix::sys::uio::{RemoteIoVec, process_vm_readv};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;

/// Whose calls are counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// The process that was called.
    Parent,
    /// All below it, and an init that waits for its start, until they execute another program.
    Init,
}

impl Role {
    pub const ALL: [Role; 2] = [Role::Parent, Role::Init];

    pub fn name(self) -> &'static str {
        match self {
            Role::Parent => "parent",
            Role::Init => "init",
        }
    }
}

/// What happens to the call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// SIGKILL at its entry; it isn't carried out.
    Kill,
    /// It isn't carried out and gives this; a close is carried out, as in Linux.
    Errno(Errno),
}

/// The `number`th call of a role, counted from 1; number 0 is none, which counts all.
#[derive(Clone, Copy, Debug)]
pub struct Point {
    pub role: Role,
    pub number: usize,
    pub fault: Fault,
}

/// A command and its surroundings.
pub struct Order {
    /// The first is a path.
    pub words: Vec<String>,
    pub env: Vec<(String, String)>,
    /// The runtime is known by the size of its file, so that a clone or a copy of it still is the runtime.
    pub size: u64,
    pub stdin: Stdio,
    pub stdout: File,
    pub stderr: File,
    /// An init that waits.
    pub waiting: Option<i32>,
    /// After so long it hangs.
    pub limit: Duration,
}

/// The call that was broken.
#[derive(Clone, Debug)]
pub struct Hit {
    pub call: String,
    /// With its arguments, and the string that one of them is.
    pub text: String,
}

#[derive(Clone, Debug, Default)]
pub struct Traced {
    /// The exit status, or minus the signal that ended it.
    pub code: i32,
    pub hit: Option<Hit>,
    /// Calls of parent and init.
    pub counts: [usize; 2],
    /// What each process waited in when the limit was over.
    pub hung: Vec<String>,
}

/// Blocks until the command is over.
pub fn trace(order: Order, point: Point) -> Traced {
    let (done, over) = channel();
    let (root, late) = (AtomicI32::new(0), AtomicBool::new(false));
    let limit = order.limit;
    std::thread::scope(|scope| {
        let tracer = scope.spawn(|| {
            let traced = Tracer::new(order, point, &root, &late).run();
            let _ = done.send(()); // the watchdog may have given up
            traced
        });
        let hung = watch(&over, limit, &root, &late);
        let mut traced = tracer.join().expect("the tracer");
        traced.hung = hung;
        traced
    })
}

/// Ends what hangs.
fn watch(over: &Receiver<()>, limit: Duration, root: &AtomicI32, late: &AtomicBool) -> Vec<String> {
    if over.recv_timeout(limit) != Err(RecvTimeoutError::Timeout) {
        return vec![];
    }
    late.store(true, Ordering::SeqCst);
    let hung = waiting_in();
    let _ = kill(Pid::from_raw(root.load(Ordering::SeqCst)), Signal::SIGKILL);
    hung
}

/// Each process of the runtime and the call that it is in.
pub fn waiting_in() -> Vec<String> {
    let mut found = vec![];
    for entry in fs::read_dir("/proc").expect("/proc").flatten() {
        let Some(pid) = entry.file_name().to_str().and_then(|n| n.parse::<i32>().ok()) else { continue };
        let Ok(text) = fs::read_to_string(entry.path().join("syscall")) else { continue };
        let name = text.split(' ').next().and_then(|n| n.parse().ok()).map_or("running".into(), name);
        if pid > 1 && pid != std::process::id() as i32 {
            let command = fs::read(entry.path().join("comm")).unwrap_or_default();
            found.push(format!("{pid} {} in {name}", String::from_utf8_lossy(&command).trim()));
        }
    }
    found
}

/// The name of a system call.
pub fn name(number: i32) -> String {
    ScmpSyscall::from(number).get_name().unwrap_or_else(|_| number.to_string())
}

#[derive(Clone, Copy, PartialEq)]
enum Who {
    /// The process that was called, until it executes the runtime.
    Before,
    Counted(Role),
}

struct Tracer<'a> {
    size: u64,
    point: Point,
    late: &'a AtomicBool,
    root: Pid,
    waiting: Option<Pid>,
    tasks: HashMap<Pid, Who>,
    /// Whose call's answer is to be replaced.
    injecting: Option<Pid>,
    traced: Traced,
}

fn options() -> Options {
    Options::PTRACE_O_TRACESYSGOOD
        | Options::PTRACE_O_TRACECLONE
        | Options::PTRACE_O_TRACEFORK
        | Options::PTRACE_O_TRACEVFORK
        | Options::PTRACE_O_TRACEEXEC
}

/// Children and tracees of this thread alone: others wait for theirs.
fn flags() -> WaitPidFlag {
    WaitPidFlag::__WALL | WaitPidFlag::__WNOTHREAD
}

impl<'a> Tracer<'a> {
    fn new(order: Order, point: Point, place: &AtomicI32, late: &'a AtomicBool) -> Tracer<'a> {
        // A shell that stops itself: it can be seized before it executes anything.
        let mut command = Command::new("/bin/sh");
        command.args(["-c", "kill -STOP $$; exec \"$@\"", "sh"]).args(&order.words).envs(order.env);
        #[allow(clippy::zombie_processes)] // reaped with all that are traced
        let child =
            command.stdin(order.stdin).stdout(order.stdout).stderr(order.stderr).spawn().expect("a shell");
        let root = Pid::from_raw(child.id() as i32);
        waitpid(root, Some(WaitPidFlag::WUNTRACED)).expect("its stop");
        ptrace::seize(root, options()).expect("seize");
        let mut tasks = HashMap::from([(root, Who::Before)]);
        let waiting = order.waiting.map(Pid::from_raw);
        if let Some(init) = waiting {
            ptrace::seize(init, options()).expect("seize the init");
            ptrace::interrupt(init).expect("interrupt the init");
            waitpid(init, Some(flags())).expect("its stop");
            ptrace::syscall(init, None).expect("continue the init");
            tasks.insert(init, Who::Counted(Role::Init));
        }
        kill(root, Signal::SIGCONT).expect("continue");
        place.store(child.id() as i32, Ordering::SeqCst);
        let traced = Traced::default();
        Tracer { size: order.size, point, late, root, waiting, tasks, injecting: None, traced }
    }

    fn run(mut self) -> Traced {
        let mut ended: Option<Instant> = None;
        loop {
            // After the end of the root an init that waited is looked at for a while more.
            let patient = ended.map_or(flags(), |_| flags() | WaitPidFlag::WNOHANG);
            let status = match waitpid(None, Some(patient)) {
                Err(Errno::EINTR) => continue,
                Err(_) => return self.traced, // nobody is left
                Ok(status) => status,
            };
            if let (WaitStatus::StillAlive, Some(end)) = (status, ended) {
                if end.elapsed() > Duration::from_secs(1) || self.late.load(Ordering::SeqCst) {
                    return self.traced;
                }
                std::thread::sleep(Duration::from_millis(1));
            }
            if let WaitStatus::Exited(pid, _) | WaitStatus::Signaled(pid, ..) = status {
                self.forget(pid);
            }
            match status {
                WaitStatus::Exited(pid, code) if pid == self.root => self.traced.code = code,
                WaitStatus::Signaled(pid, signal, _) if pid == self.root => {
                    self.traced.code = -(signal as i32)
                }
                WaitStatus::PtraceSyscall(pid) => self.at_call(pid),
                WaitStatus::PtraceEvent(pid, signal, event) => self.at_event(pid, signal, event),
                WaitStatus::Stopped(pid, signal) => self.go_on(pid, Some(signal)),
                _ => {}
            }
            if !self.tasks.contains_key(&self.root) {
                ended.get_or_insert_with(Instant::now);
                if self.waiting.is_none() || self.traced.hit.is_some() {
                    return self.traced;
                }
            }
        }
    }

    fn forget(&mut self, pid: Pid) {
        self.tasks.remove(&pid);
        if self.waiting == Some(pid) {
            self.waiting = None;
        }
    }

    /// A stop may be over before we get here: who is killed doesn't wait.
    fn go_on(&mut self, pid: Pid, signal: Option<Signal>) {
        self.who(pid);
        let done = self.traced.hit.is_some() && self.injecting != Some(pid);
        let _ = if done { ptrace::cont(pid, signal) } else { ptrace::syscall(pid, signal) };
    }

    fn who(&mut self, pid: Pid) -> Who {
        let root = self.root;
        *self.tasks.entry(pid).or_insert_with(|| {
            let thread = fs::exists(format!("/proc/{root}/task/{pid}")).unwrap_or(false);
            Who::Counted(if thread { Role::Parent } else { Role::Init })
        })
    }

    fn at_event(&mut self, pid: Pid, signal: Signal, event: i32) {
        if event == libc::PTRACE_EVENT_EXEC {
            let size = fs::metadata(format!("/proc/{pid}/exe")).map_or(0, |m| m.size());
            match (size == self.size, pid == self.root) {
                (true, true) => drop(self.tasks.insert(pid, Who::Counted(Role::Parent))),
                (true, false) | (false, true) => {}
                (false, false) => {
                    self.forget(pid);
                    let _ = ptrace::detach(pid, None); // unless it was killed
                    return;
                }
            }
        }
        let stopped = [Signal::SIGSTOP, Signal::SIGTSTP, Signal::SIGTTIN, Signal::SIGTTOU].contains(&signal);
        let _ = stopped; // nobody stops a runtime but the shell above itself, and that goes on
        self.go_on(pid, None);
    }

    fn at_call(&mut self, pid: Pid) {
        let (Ok(info), Ok(registers)) = (ptrace::syscall_info(pid), ptrace::getregs(pid)) else { return };
        match info.op {
            libc::PTRACE_SYSCALL_INFO_ENTRY => self.at_entry(pid, registers),
            libc::PTRACE_SYSCALL_INFO_EXIT => {
                if let (true, Fault::Errno(errno)) = (self.injecting == Some(pid), self.point.fault) {
                    self.injecting = None;
                    let answer = -i64::from(errno as i32) as u64;
                    let _ = ptrace::setregs(pid, libc::user_regs_struct { rax: answer, ..registers });
                }
            }
            _ => {}
        }
        self.go_on(pid, None);
    }

    fn at_entry(&mut self, pid: Pid, registers: libc::user_regs_struct) {
        let Who::Counted(role) = self.who(pid) else { return };
        let count = &mut self.traced.counts[role as usize];
        *count += 1;
        if self.traced.hit.is_some() || role != self.point.role || *count != self.point.number {
            return;
        }
        let call = name(registers.orig_rax as i32);
        let text = format!("{call}({})", arguments(pid, &call, &registers));
        match (self.point.fault, call.as_str()) {
            (Fault::Kill, _) => drop(kill(pid, Signal::SIGKILL)),
            // Its failure is the old break.
            (_, "brk") => drop(ptrace::setregs(pid, libc::user_regs_struct { rdi: 0, ..registers })),
            (_, "close") => self.injecting = Some(pid),
            _ => {
                self.injecting = Some(pid);
                let _ = ptrace::setregs(pid, libc::user_regs_struct { orig_rax: u64::MAX, ..registers });
            }
        }
        self.traced.hit = Some(Hit { call, text });
    }
}

/// The first four, one of which may be a string.
fn arguments(pid: Pid, call: &str, r: &libc::user_regs_struct) -> String {
    let all = [r.rdi, r.rsi, r.rdx, r.r10];
    let string = match call {
        "open" | "readlink" | "mkdir" | "rename" | "unlink" | "rmdir" | "stat" | "lstat" | "access"
        | "umount2" | "pivot_root" | "chdir" | "execve" | "statfs" | "chmod" | "chown" | "fsopen" => Some(0),
        "openat" | "openat2" | "newfstatat" | "statx" | "unlinkat" | "mkdirat" | "mknodat" | "readlinkat"
        | "open_tree" | "mount" | "execveat" | "faccessat2" | "fchmodat" | "fchownat" | "renameat2"
        | "linkat" | "mount_setattr" | "write" => Some(1),
        "symlinkat" | "fsconfig" => Some(2),
        "move_mount" => Some(3),
        _ => None,
    };
    let show = |(i, value): (usize, &u64)| match string {
        Some(at) if at == i => format!("{value:#x} {:?}", text_at(pid, *value as usize)),
        _ => format!("{value:#x}"),
    };
    all.iter().enumerate().map(show).collect::<Vec<_>>().join(", ")
}

/// Up to a NUL, 100 bytes or the end of the page.
fn text_at(pid: Pid, base: usize) -> String {
    let len = (4096 - base % 4096).min(100);
    let mut bytes = vec![0; len];
    let local = std::io::IoSliceMut::new(&mut bytes);
    let read = process_vm_readv(pid, &mut [local], &[RemoteIoVec { base, len }]).unwrap_or(0);
    bytes.truncate(read);
    let end = bytes.iter().position(|b| *b == 0).unwrap_or(read);
    String::from_utf8_lossy(&bytes[..end]).into_owned()
}
