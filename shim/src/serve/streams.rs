//! Streams under way: which of their ends is watched, and what their end means.

use super::Shim;
use super::live::{Running, Watched};
use super::poller::{IN, OUT, Token};
use super::timers::Alarm;
use crate::stdio::logger::Logger;
use crate::stdio::plumbing::Stream;
use crate::stdio::pump::Wants;
use crate::table::ProcessId;

impl Shim {
    pub fn begin_stream(&mut self, process: ProcessId, stream: Stream) {
        let number = self.number();
        if stream.is_output {
            if let Some(live) = self.live.get_mut(&process) {
                live.outputs += 1;
            }
        }
        let running = Running { process, stream, watched: Watched::Nothing };
        self.streams.insert(number, running);
        self.watch(number, Watched::Input);
    }

    pub(super) fn pump(&mut self, number: u64) {
        let Some(running) = self.streams.get_mut(&number) else {
            return;
        };
        match running.stream.pump.run() {
            Wants::Input | Wants::Turn => self.watch(number, Watched::Input),
            Wants::Room => self.watch(number, Watched::Room),
            Wants::Nothing => self.end_stream(number),
        }
    }

    /// One end at a time: an end that is watched for nothing would still report its hangup, over and over.
    fn watch(&mut self, number: u64, what: Watched) {
        let Some(running) = self.streams.get_mut(&number) else {
            return;
        };
        if running.watched == what {
            return;
        }
        let pump = &running.stream.pump;
        match running.watched {
            Watched::Nothing => {}
            Watched::Input => self.poller.remove(&pump.from),
            Watched::Room => self.poller.remove(&pump.to),
        }
        let watched = match what {
            Watched::Nothing => Ok(()),
            Watched::Input => self.poller.add(&pump.from, Token::PumpIn(number), IN),
            Watched::Room => self.poller.add(&pump.to, Token::PumpOut(number), OUT),
        };
        running.watched = what;
        if let Err(refusal) = watched {
            self.log.error(&refusal.text);
            self.end_stream(number);
        }
    }

    fn end_stream(&mut self, number: u64) {
        let Some(running) = self.streams.remove(&number) else {
            return;
        };
        let Running { process, stream, .. } = running;
        self.poller.remove(&stream.pump.from);
        self.poller.remove(&stream.pump.to);
        if let Some(reading) = stream.hold {
            self.end_fifo(process, stream.pump.to, reading);
        }
        if stream.is_output {
            self.output_ended(process);
        }
    }

    fn output_ended(&mut self, process: ProcessId) {
        if let Some(live) = self.live.get_mut(&process) {
            live.outputs -= 1;
            if live.outputs == 0 {
                self.drained(process);
            }
        }
    }

    fn streams_of(&self, process: ProcessId) -> Vec<(u64, bool)> {
        let of = self.streams.iter().filter(|(_, running)| running.process == process);
        of.map(|(number, running)| (*number, running.stream.is_output)).collect()
    }

    /// Nobody is there to read it any more.
    pub fn end_input(&mut self, process: ProcessId) {
        for (number, is_output) in self.streams_of(process) {
            if !is_output {
                self.end_stream(number);
            }
        }
        if let Some(live) = self.live.get_mut(&process) {
            live.stdin = None;
        }
    }

    /// Whatever is still to come is not waited for.
    pub fn end_streams(&mut self, process: ProcessId) {
        for (number, _) in self.streams_of(process) {
            self.end_stream(number);
        }
        self.forget_unread(process);
        if let Some(logger) = self.loggers.get_mut(&process) {
            logger.end();
            self.timers.set(super::LOGGER_LIMIT, Alarm::KillLogger(process));
        }
    }

    pub fn give_up_logger(&mut self, process: ProcessId) {
        if let Some(refusal) = self.loggers.get_mut(&process).and_then(Logger::give_up) {
            self.logger_is_ready(process, Err(refusal));
        }
    }

    /// A logger is ready, or has ended.
    pub(super) fn heard_of_logger(&mut self, process: ProcessId) {
        let Some(logger) = self.loggers.get_mut(&process) else {
            return;
        };
        let was_awaited = logger.awaited().is_some();
        let ready = logger.is_ready(); // the pipe closes when it is, which takes it out of the poller
        let ended = rrunc::sys::process::wait(rrunc::sys::process::Child::Pidfd(std::os::fd::AsFd::as_fd(
            &logger.pidfd,
        )));
        if !matches!(ended, Ok(None)) {
            if let Some(logger) = self.loggers.remove(&process) {
                self.poller.remove(&logger.pidfd);
            }
            self.output_ended(process);
        }
        if was_awaited && !matches!(ready, Ok(false)) {
            self.logger_is_ready(process, ready.map(drop));
        }
    }
}
