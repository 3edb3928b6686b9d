//! `events`: what a container has used, once or again and again, and when the kernel killed in it for want of memory.

use std::io::Write;
use std::os::fd::AsFd;
use std::path::Path;
use std::time::{Duration, Instant};

use serde::Serialize;

use crate::cgroup::{Cgroup, stats::Stats};
use crate::error::{Doing, Error, Kind, Result};
use crate::ops::pause;
use crate::rdt;
use crate::state::{ContainerId, Record, Store};
use crate::sys::{Call, Named, poll};

/// One line, with runc's keys in runc's order.
#[derive(Serialize)]
struct Event<'a> {
    #[serde(rename = "type")]
    kind: &'static str,
    id: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    data: Option<Stats>,
}

/// `rrunc events`. Without `once`, statistics every `interval` and OOM kills as they happen, until the container ends.
pub fn events(root: &Path, id: &str, interval: Duration, once: bool, out: &mut dyn Write) -> Result<()> {
    if interval.is_zero() {
        let text = "duration interval must be greater than 0";
        return Err(Error::new(Kind::Usage, text));
    }
    let container = Store::open(root)?.load(&ContainerId::new(id)?)?;
    let Some(init) = container.record()?.init()? else {
        let text = format!("container with id {id} is not running");
        return Err(Error::new(Kind::WrongStatus, text));
    };
    let cgroup = pause::cgroup(&container)?;
    let tell_stats = |out: &mut dyn Write| {
        let data = Some(stats(&cgroup, container.record()?));
        tell(out, &Event { kind: "stats", id, data })
    };
    if once {
        return tell_stats(out);
    }
    let oom = cgroup.oom_events();
    let mut kills = cgroup.oom_kills();
    let mut next = Instant::now() + interval;
    loop {
        let rest = next.saturating_duration_since(Instant::now());
        let ended = poll::changed_or_ended(oom.as_ref().map(AsFd::as_fd), init.as_fd(), rest)
            .doing(|| "wait for the container".into())?;
        let now = oom_kills(&cgroup, oom.as_ref().map(AsFd::as_fd));
        if now > kills {
            kills = now;
            tell(out, &Event { kind: "oom", id, data: None })?;
        }
        if ended {
            return Ok(());
        }
        if Instant::now() >= next {
            tell_stats(out)?;
            next = Instant::now() + interval;
        }
    }
}

fn stats(cgroup: &Cgroup, record: &Record) -> Stats {
    let mut stats = cgroup.stats();
    if let (Some(group), Ok(root)) = (&record.rdt, rdt::root()) {
        stats.intel_rdt = rdt::stats::stats(group, &root);
    }
    stats
}

/// Read by the fd that is polled: the kernel tells of changes since that was read last.
fn oom_kills(cgroup: &Cgroup, events: Option<std::os::fd::BorrowedFd>) -> u64 {
    events.map_or(0, |events| cgroup.oom_kills_in(events))
}

fn tell(out: &mut dyn Write, event: &Event) -> Result<()> {
    let text = serde_json::to_string(event)
        .map_err(|error| Error::new(Kind::Kernel, format!("an event as JSON: {error}")))?;
    writeln!(out, "{text}")
        .and_then(|()| out.flush())
        .call(Call::Write)
        .doing(|| "write to standard output".into())
}
