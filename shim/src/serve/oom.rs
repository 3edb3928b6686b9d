//! Who ran out of memory: `memory.events` of each container's cgroup, watched by one inotify(7).

use std::collections::BTreeMap;
use std::fs;
use std::os::fd::{AsFd, BorrowedFd};
use std::path::{Path, PathBuf};

use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify, WatchDescriptor};

use super::Shim;
use crate::proto::events::TaskId;
use crate::refusal::{Doing, Refusal};

pub struct Watch {
    inotify: Inotify,
    watched: BTreeMap<String, Watched>,
}

struct Watched {
    file: PathBuf,
    descriptor: WatchDescriptor,
    /// `oom_kill` as last read.
    kills: u64,
}

impl Watch {
    pub fn new() -> Result<Watch, Refusal> {
        let inotify = Inotify::init(InitFlags::IN_CLOEXEC | InitFlags::IN_NONBLOCK);
        Ok(Watch {
            inotify: inotify.doing(|| "make an inotify".into())?,
            watched: BTreeMap::new(),
        })
    }

    /// From now on. A cgroup without the memory controller has no such file, and nobody is killed for its limit.
    pub fn add(&mut self, container: &str, cgroup: &Path) {
        let file = cgroup.join("memory.events");
        let Ok(descriptor) = self.inotify.add_watch(&file, AddWatchFlags::IN_MODIFY) else {
            return;
        };
        let watched = Watched {
            kills: 0, // what was killed before the watch counts too
            file,
            descriptor,
        };
        self.watched.insert(container.to_string(), watched);
    }

    pub fn remove(&mut self, container: &str) {
        if let Some(watched) = self.watched.remove(container) {
            let _ = self.inotify.rm_watch(watched.descriptor); // gone with the cgroup
        }
    }

    /// Those in which processes have been killed since the last time.
    fn killed(&mut self) -> Vec<String> {
        while self.inotify.read_events().is_ok_and(|events| !events.is_empty()) {}
        let mut killed = vec![];
        for (container, watched) in &mut self.watched {
            let kills = fs::read_to_string(&watched.file).map_or(0, |text| kills(&text));
            if kills > watched.kills {
                watched.kills = kills;
                killed.push(container.clone());
            }
        }
        killed
    }
}

impl AsFd for Watch {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.inotify.as_fd()
    }
}

fn kills(text: &str) -> u64 {
    let value = text.lines().find_map(|line| line.strip_prefix("oom_kill "));
    value.and_then(|value| value.trim().parse().ok()).unwrap_or(0)
}

impl Shim {
    /// Tells of every container in which processes have been killed for want of memory.
    pub fn check_oom(&mut self) {
        for container_id in self.oom.killed() {
            self.publisher
                .publish("/tasks/oom", "TaskOOM", &TaskId { container_id });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_events() {
        let check = |text, expected| assert_eq!(kills(text), expected, "{text}");
        check("low 0\nhigh 0\nmax 4\noom 2\noom_kill 3\noom_group_kill 0\n", 3);
        check("", 0);
    }
}
