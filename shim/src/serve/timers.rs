//! What happens at a time.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use crate::table::ProcessId;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Alarm {
    /// The output of a process that is to be deleted has had its time.
    Drained(ProcessId),
    /// Clients could not be let in.
    Listen,
    /// A shim that has no container has had its time to get one.
    Idle,
    /// A logger has had its time to become ready.
    LoggerReady(ProcessId),
    /// A logger that was asked to end has had its time.
    KillLogger(ProcessId),
}

#[derive(Default)]
pub struct Timers {
    alarms: BTreeMap<(Instant, u64), Alarm>,
    last: u64,
}

impl Timers {
    pub fn set(&mut self, after: Duration, alarm: Alarm) {
        self.last += 1;
        self.alarms.insert((Instant::now() + after, self.last), alarm);
    }

    pub fn next(&self) -> Option<Instant> {
        self.alarms.keys().next().map(|(at, _)| *at)
    }

    /// One whose time has come.
    pub fn due(&mut self, now: Instant) -> Option<Alarm> {
        let first = self.alarms.first_entry().filter(|first| first.key().0 <= now)?;
        Some(first.remove())
    }
}
