//! The shim as it serves: one thread, one epoll, and everything that happens is an event of it. What is true is in
//! [`Table`]; what can't be written down is in [`Live`] and the maps beside it.

pub mod connection;
pub mod exits;
pub mod flights;
pub mod live;
mod log;
pub mod oom;
pub mod poller;
mod publisher;
pub mod requests;
mod streams;
pub mod timers;
mod unread;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::{ErrorKind, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixListener;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};

use crate::args::Args;
use crate::refusal::{Doing, Refusal};
use crate::socket;
use crate::start::READY;
use crate::stdio::logger::Logger;
use crate::table::{ProcessId, Table};
use connection::Connection;
use live::{Flight, Live, Running};
use log::Log;
use poller::{IN, Poller, Token};
use publisher::Publisher;
use timers::{Alarm, Timers};
use unread::Unread;

/// What a shim that ends gives containerd to take the last events.
const LAST_WORDS: Duration = Duration::from_secs(5);
/// What a logger gets to become ready, and one that was asked to end.
pub const LOGGER_LIMIT: Duration = Duration::from_secs(12);

/// What a shim without a container and without a client gets: containerd may have died between two calls, and nobody
/// else would end it. Longer than containerd tries to reach a shim.
const IDLE: Duration = Duration::from_secs(120);

/// After a client could not be let in.
const PAUSE: Duration = Duration::from_secs(1);

/// Nobody talks to most shims for most of the time.
const QUIET: Duration = Duration::from_secs(1);

/// By these somebody asks what there is: containerd's own shim says so to the first. None is to end the containers.
const ASKS: [Signal; 3] = [Signal::SIGUSR1, Signal::SIGHUP, Signal::SIGQUIT];

pub struct Shim {
    pub table: Table,
    pub namespace: String,
    pub poller: Poller,
    pub live: BTreeMap<ProcessId, Live>,
    pub flights: BTreeMap<u64, Flight>,
    pub streams: BTreeMap<u64, Running>,
    unread: BTreeMap<u64, Unread>,
    pub loggers: BTreeMap<ProcessId, Logger>,
    pub publisher: Publisher,
    pub timers: Timers,
    pub log: Log,
    connections: BTreeMap<u64, Connection>,
    /// Those that have got something to send.
    touched: BTreeSet<u64>,
    /// Until the shim ends.
    listener: Option<UnixListener>,
    signals: SignalFd,
    last_number: u64,
    /// Since when there is nothing more to do but to tell the rest.
    ending: Option<Instant>,
    socket: Option<PathBuf>,
    /// When nothing has happened for so long that memory is given back.
    quiet: Option<Instant>,
    /// Who has ended and waits to be looked at, and the last command that it may be of, see `sweep`.
    unswept: Option<(nix::unistd::Pid, u64)>,
}

/// Serves until the last container is gone. The socket is stdin, the bundle of the first container the working
/// directory.
pub fn run(args: &Args) -> Result<(), Refusal> {
    let listener = take_stdin()?;
    let log = Log::open();
    let mut shim = Shim::new(args, listener, log)?;
    say_ready()?;
    let result = shim.run();
    if let Some(path) = &shim.socket {
        let _ = fs::remove_file(path); // the next to listen there replaces it
    }
    result
}

fn take_stdin() -> Result<UnixListener, Refusal> {
    let doing = || "take over the socket on stdin".to_string();
    let listener: OwnedFd = std::io::stdin().as_fd().try_clone_to_owned().doing(doing)?;
    let null = fs::File::open("/dev/null").doing(doing)?;
    nix::unistd::dup2_stdin(null).doing(doing)?;
    let listener = UnixListener::from(listener);
    listener.set_nonblocking(true).doing(doing)?;
    Ok(listener)
}

/// To `start`, which waits for it; from then on there is nobody to read stderr.
fn say_ready() -> Result<(), Refusal> {
    let doing = || "say that the shim is ready".to_string();
    std::io::stderr().write_all(READY.as_bytes()).doing(doing)?;
    let null = fs::OpenOptions::new().write(true).open("/dev/null").doing(doing)?;
    nix::unistd::dup2_stderr(null).doing(doing)
}

impl Shim {
    fn new(args: &Args, listener: UnixListener, log: Log) -> Result<Shim, Refusal> {
        let _ = nix::sys::prctl::set_name(c"containerd-shim"); // for ps; by /proc/self/exe it would be "exe"
        rrunc::sys::signals::become_subreaper().doing(|| "become the parent of orphans".into())?;
        rrunc::sys::signals::default_sigchld().doing(|| "reset SIGCHLD".into())?;
        let mut mask = SigSet::empty();
        for signal in [Signal::SIGCHLD, Signal::SIGTERM, Signal::SIGINT].iter().chain(&ASKS) {
            mask.add(*signal);
        }
        mask.thread_block().doing(|| "block signals".into())?;
        let flags = SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK;
        let signals = SignalFd::with_flags(&mask, flags).doing(|| "make a signalfd".into())?;
        let poller = Poller::new()?;
        poller.add(&listener, Token::Listener, IN)?;
        poller.add(&signals, Token::Signals, IN)?;
        let socket = listener.local_addr().ok().and_then(|address| address.as_pathname().map(PathBuf::from));
        let root = fs::File::open("/").doing(|| "open /".into())?;
        rrunc::sys::fs::fchdir(root.as_fd()).doing(|| "go to /".into())?; // the bundle is to be removable
        Ok(Shim {
            table: Table::default(),
            namespace: args.namespace.clone(),
            poller,
            live: BTreeMap::new(),
            flights: BTreeMap::new(),
            streams: BTreeMap::new(),
            unread: BTreeMap::new(),
            loggers: BTreeMap::new(),
            publisher: Publisher::new(std::env::var("TTRPC_ADDRESS").ok(), &args.namespace),
            timers: Timers::default(),
            log,
            connections: BTreeMap::new(),
            touched: BTreeSet::new(),
            listener: Some(listener),
            signals,
            last_number: 0,
            ending: None,
            socket,
            quiet: None,
            unswept: None,
        })
    }

    fn run(&mut self) -> Result<(), Refusal> {
        self.timers.set(IDLE, Alarm::Idle);
        loop {
            let now = Instant::now();
            let limit = [self.timers.next(), self.publisher.due(), self.ending, self.quiet];
            let limit = limit.into_iter().flatten().min();
            let tokens = self.poller.wait(limit.map(|limit| limit.saturating_duration_since(now)))?;
            if !tokens.is_empty() {
                self.quiet = Some(Instant::now() + QUIET);
            }
            for token in tokens {
                self.ready(token);
            }
            while let Some(alarm) = self.timers.due(Instant::now()) {
                self.alarm(alarm);
            }
            if self.unswept.is_some() {
                self.sweep();
            }
            self.flush();
            self.publisher.go_on(&self.poller);
            if self.quiet.is_some_and(|quiet| quiet <= Instant::now()) {
                self.quiet = None;
                crate::sys::forget_code();
            }
            if let Some(limit) = self.ending {
                // A call may still be on its way: the kill after which the rest came so fast.
                let silent = self.flights.is_empty()
                    && !self.awaits_logger()
                    && self.publisher.is_idle()
                    && self.connections.values().all(|c| !c.wants().1);
                if silent || limit <= Instant::now() {
                    return Ok(());
                }
            }
        }
    }

    fn ready(&mut self, token: Token) {
        match token {
            Token::Listener => self.accept(),
            Token::Signals => self.signals(),
            Token::Publisher => self.publisher.ready(&self.poller),
            Token::Oom(process) => self.check_oom(process),
            Token::Connection(number) => self.hear(number),
            Token::Flight(number) => self.landed(number),
            Token::Process(process) => self.reap(process),
            Token::Logger(process) => self.heard_of_logger(process),
            Token::PumpIn(number) | Token::PumpOut(number) => self.pump(number),
            Token::Unread(number) => self.fifo_opened(number),
        }
    }

    fn alarm(&mut self, alarm: Alarm) {
        match alarm {
            Alarm::Idle if self.is_idle() => self.end(),
            Alarm::Idle => {}
            Alarm::Listen => self.listen(),
            Alarm::Drained(process) => self.give_up_draining(process),
            Alarm::LoggerReady(process) => self.give_up_logger(process),
            Alarm::KillLogger(process) => {
                if let Some(logger) = self.loggers.get(&process) {
                    logger.signal(rrunc::sys::process::Signal::KILL);
                }
            }
        }
    }

    fn is_idle(&self) -> bool {
        self.table.containers.is_empty() && self.connections.is_empty()
    }

    fn signals(&mut self) {
        while let Ok(Some(info)) = self.signals.read_signal() {
            match info.ssi_signo {
                signal if signal == Signal::SIGCHLD as u32 => {}
                signal if ASKS.iter().any(|asks| signal == *asks as u32) => self.describe(),
                _ => self.end(),
            }
        }
        self.sweep();
    }

    /// Into the log: what there is.
    fn describe(&mut self) {
        let text = format!(
            "{} containers, {} commands under way, {} connections, {} streams",
            self.table.containers.len(),
            self.flights.len(),
            self.connections.len(),
            self.streams.len()
        );
        self.log.info(&text);
        for process in self.table.processes.values() {
            self.log.info(&process.description());
        }
    }

    /// No more new work; the loop ends when what is to be said has been said.
    pub fn end(&mut self) {
        if self.ending.is_none() {
            let limit = if self.awaits_logger() { LOGGER_LIMIT } else { LAST_WORDS };
            self.ending = Some(Instant::now() + limit);
            if let Some(path) = self.socket.take() {
                let _ = fs::remove_file(path); // a container of the group that comes now gets a new shim
            }
            if let Some(listener) = self.listener.take() {
                self.poller.remove(&listener);
            }
        }
    }

    pub fn is_ending(&self) -> bool {
        self.ending.is_some()
    }

    /// Whether one that was asked to end may still have to be killed.
    fn awaits_logger(&self) -> bool {
        self.loggers.values().any(Logger::is_ending)
    }

    /// Never given twice.
    pub fn number(&mut self) -> u64 {
        self.last_number += 1;
        self.last_number
    }

    fn accept(&mut self) {
        // One at a time: if there are more, the listener is still ready.
        let socket = match self.listener.as_ref().map(UnixListener::accept) {
            Some(Ok((socket, _))) => socket,
            Some(Err(error)) if error.kind() == ErrorKind::WouldBlock => return,
            Some(Err(error)) => {
                // As long as there is no fd left, say, whoever waits would be reported over and over.
                self.log.error(&format!("let a client in: {error}"));
                return self.listen_later();
            }
            None => return,
        };
        match socket::peer_is_us(&socket) && socket.set_nonblocking(true).is_ok() {
            true => {
                let number = self.number();
                let connection = Connection::new(socket);
                if self.poller.add(&connection, Token::Connection(number), IN).is_ok() {
                    self.connections.insert(number, connection);
                }
            }
            false => self.log.error("a client of another user was turned away"),
        }
    }

    fn listen_later(&mut self) {
        if let Some(listener) = &self.listener {
            self.poller.remove(listener);
            self.timers.set(PAUSE, Alarm::Listen);
        }
    }

    fn listen(&mut self) {
        let watched = self.listener.as_ref().map(|listener| self.poller.add(listener, Token::Listener, IN));
        if let Some(Err(refusal)) = watched {
            self.log.error(&refusal.text);
            self.listen_later();
        }
    }

    fn hear(&mut self, number: u64) {
        let Some(connection) = self.connections.get_mut(&number) else {
            return;
        };
        let mut alive = true;
        if connection.wants().0 {
            alive = connection.read();
        }
        let mut frames = vec![];
        while let Some(frame) = connection.take_frame() {
            frames.push(frame);
        }
        self.touched.insert(number);
        for frame in frames {
            self.request(number, frame);
        }
        if !alive {
            self.hang_up(number);
        }
    }

    fn hang_up(&mut self, number: u64) {
        if let Some(connection) = self.connections.remove(&number) {
            self.poller.remove(&connection);
        }
        for live in self.live.values_mut() {
            live.waiters.retain(|waiter| waiter.connection != number);
        }
        if self.is_idle() {
            self.timers.set(IDLE, Alarm::Idle);
        }
    }

    fn flush(&mut self) {
        for number in std::mem::take(&mut self.touched) {
            let Some(connection) = self.connections.get_mut(&number) else {
                continue;
            };
            if !connection.write() {
                self.hang_up(number);
                continue;
            }
            let wants = connection.wants();
            if wants == connection.watched {
                continue;
            }
            connection.watched = wants;
            let flags = match wants {
                (true, true) => IN | poller::OUT,
                (true, false) => IN,
                (false, _) => poller::OUT,
            };
            let changed = self.poller.change(&*connection, Token::Connection(number), flags);
            if changed.is_err() {
                self.hang_up(number);
            }
        }
    }
}
