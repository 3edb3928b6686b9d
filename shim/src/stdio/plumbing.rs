//! Everything that a process's streams need before there is the process: what it gets, what we keep.

use std::os::fd::OwnedFd;

use super::pump::Pump;
use super::sink::{Direction, Sink, Source, null, open, pipe, source};
use super::uri::{Logger, Target};
use crate::refusal::{Doing, Refusal};
use crate::table::Stdio;

/// A stream that is under way as soon as the process is there.
pub struct Stream {
    pub pump: Pump,
    /// Of the process, that is: not its stdin.
    pub is_output: bool,
    /// The other end of a fifo, as long as the stream lasts.
    pub hold: Option<OwnedFd>,
}

pub struct Plumbing {
    /// stdin, stdout and stderr for the process; with a terminal they come from there.
    pub theirs: [OwnedFd; 3],
    pub streams: Vec<Stream>,
    /// The writing end of stdin's fifo.
    pub stdin: Option<OwnedFd>,
    pub terminal: Option<Terminal>,
    pub logger: Option<(Logger, [OwnedFd; 2])>,
}

/// The client's ends, until the terminal is there to be put between them.
pub struct Terminal {
    input: Option<OwnedFd>,
    output: Option<Sink>,
}

impl Plumbing {
    /// `owner` is who the process's root is on the host.
    pub fn new(stdio: &Stdio, owner: (u32, u32)) -> Result<Plumbing, Refusal> {
        let input = source(&Target::parse(&stdio.stdin)?)?;
        let out = Target::parse(&stdio.stdout)?;
        let err = match stdio.terminal {
            true => Target::Null,
            false => Target::parse(&stdio.stderr)?,
        };
        let mut plumbing = Plumbing {
            theirs: [null()?, null()?, null()?],
            streams: vec![],
            stdin: None,
            terminal: None,
            logger: None,
        };
        let logged = plumbing.logger(&out, &err)?;
        match stdio.terminal {
            true => plumbing.with_terminal(input, &out, logged),
            false => plumbing.with_pipes(input, [&out, &err], logged, owner),
        }?;
        Ok(plumbing)
    }

    /// The writing ends of a logger's pipes, for those streams that it is to get.
    fn logger(&mut self, out: &Target, err: &Target) -> Result<[Option<OwnedFd>; 2], Refusal> {
        let logger = match (out, err) {
            (Target::Logger(out), Target::Logger(err)) if out != err => {
                return Err(Refusal::invalid("stdout and stderr have different loggers"));
            }
            (Target::Logger(logger), _) | (_, Target::Logger(logger)) => logger.clone(),
            _ => return Ok([None, None]),
        };
        let doing = || "make a pipe for the logger".to_string();
        let mut reading = [null()?, null()?];
        let mut writing = [None, None];
        for (i, target) in [out, err].into_iter().enumerate() {
            if matches!(target, Target::Logger(_)) {
                let (read, write) = nix::unistd::pipe2(nix::fcntl::OFlag::O_CLOEXEC).doing(doing)?;
                reading[i] = read;
                writing[i] = Some(write);
            }
        }
        self.logger = Some((logger, reading));
        Ok(writing)
    }

    fn with_pipes(
        &mut self,
        input: Option<Source>,
        outputs: [&Target; 2],
        logged: [Option<OwnedFd>; 2],
        owner: (u32, u32),
    ) -> Result<(), Refusal> {
        if let Some(input) = input {
            let pipe = pipe(Direction::ToProcess, owner)?;
            self.theirs[0] = pipe.theirs;
            self.stdin = Some(input.hold);
            self.streams.push(Stream {
                pump: Pump::splice(input.fd, pipe.ours),
                is_output: false,
                hold: None,
            });
        }
        for (i, (target, logged)) in outputs.into_iter().zip(logged).enumerate() {
            if let Some(logged) = logged {
                self.theirs[i + 1] = logged;
            } else if let Some(sink) = open(target)? {
                let pipe = pipe(Direction::FromProcess, owner)?;
                self.theirs[i + 1] = pipe.theirs;
                self.streams.push(output(pipe.ours, sink));
            }
        }
        Ok(())
    }

    fn with_terminal(
        &mut self,
        input: Option<Source>,
        out: &Target,
        logged: [Option<OwnedFd>; 2],
    ) -> Result<(), Refusal> {
        let (input, stdin) = input.map_or((None, None), |input| (Some(input.fd), Some(input.hold)));
        self.stdin = stdin;
        let [logged, _] = logged;
        let output = match logged {
            Some(fd) => {
                let flags = nix::fcntl::FcntlArg::F_SETFL(nix::fcntl::OFlag::O_NONBLOCK);
                nix::fcntl::fcntl(&fd, flags).doing(|| "make a pipe nonblocking".into())?;
                Some(Sink { fd, hold: None, is_pipe: true })
            }
            None => open(out)?,
        };
        self.terminal = Some(Terminal { input, output });
        Ok(())
    }
}

fn output(from: OwnedFd, sink: Sink) -> Stream {
    let pump = match sink.is_pipe {
        true => Pump::splice(from, sink.fd),
        false => Pump::copy(from, sink.fd), // a file that is appended to can't be spliced to (splice(2))
    };
    Stream { pump, is_output: true, hold: sink.hold }
}

impl Terminal {
    /// The streams between the client and the terminal, whose master this is.
    pub fn streams(self, master: &OwnedFd) -> Result<Vec<Stream>, Refusal> {
        let copy = || master.try_clone().doing(|| "copy the terminal's fd".into());
        let mut streams = vec![];
        if let Some(input) = self.input {
            streams.push(Stream { pump: Pump::copy(input, copy()?), is_output: false, hold: None });
        }
        let sink = match self.output {
            Some(sink) => sink,
            // Read all the same: a terminal that nobody reads stops who writes to it.
            None => Sink { fd: null()?, hold: None, is_pipe: false },
        };
        streams.push(Stream { pump: Pump::copy(copy()?, sink.fd), is_output: true, hold: sink.hold });
        Ok(streams)
    }
}
