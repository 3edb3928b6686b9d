//! Who ran out of memory: `memory.events` of each container's cgroup, whose changes epoll reports as EPOLLPRI.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;

use super::Shim;
use super::poller::{PRI, Token};
use crate::proto::events::TaskId;
use crate::table::ProcessId;

/// Of one container.
pub struct Watch {
    pub file: File,
    /// `oom_kill` as last read.
    kills: u64,
}

impl Watch {
    /// From now on; what was killed before counts, too.
    fn new(cgroup: &Path) -> io::Result<Watch> {
        let file = File::open(cgroup.join("memory.events"))?;
        Ok(Watch { file, kills: 0 })
    }

    /// Whether processes have been killed since the last time. Fails when the cgroup is gone.
    fn has_killed(&mut self) -> io::Result<bool> {
        let mut text = [0; 1024];
        let length = self.file.read_at(&mut text, 0)?; // which is what makes epoll wait for the next change
        let kills = kills(&String::from_utf8_lossy(&text[..length]));
        Ok(kills > std::mem::replace(&mut self.kills, kills))
    }
}

fn kills(text: &str) -> u64 {
    let value = text.lines().find_map(|line| line.strip_prefix("oom_kill "));
    value.and_then(|value| value.trim().parse().ok()).unwrap_or(0)
}

impl Shim {
    /// A cgroup without the memory controller has no such file, and nobody is killed for its limit.
    pub fn watch_oom(&mut self, init: ProcessId, cgroup: &Path) {
        let watch = match Watch::new(cgroup) {
            Ok(watch) => watch,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return,
            Err(error) => {
                let text = format!("watch {} for kills for memory: {error}", cgroup.display());
                return self.log.error(&text);
            }
        };
        if let Err(refusal) = self.poller.add(&watch.file, Token::Oom(init), PRI) {
            self.log.error(&refusal.text);
        }
        if let Some(live) = self.live.get_mut(&init) {
            live.oom = Some(watch);
        }
    }

    /// Tells if processes have been killed for want of memory.
    pub fn check_oom(&mut self, init: ProcessId) {
        let Some(live) = self.live.get_mut(&init) else {
            return;
        };
        match live.oom.as_mut().map(Watch::has_killed) {
            Some(Ok(true)) => {
                let process = self.table.processes.get(&init);
                let container_id = process.map(|process| process.container.clone());
                let event = TaskId { container_id: container_id.unwrap_or_default() };
                self.publisher.publish("/tasks/oom", "TaskOOM", &event);
            }
            Some(Err(_)) => self.forget_oom(init),
            _ => {}
        }
    }

    pub fn forget_oom(&mut self, init: ProcessId) {
        if let Some(watch) = self.live.get_mut(&init).and_then(|live| live.oom.take()) {
            self.poller.remove(&watch.file);
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

    #[test]
    fn each_kill_counts_once() {
        let dir = std::env::temp_dir().join(format!("rrunc-shim-oom-{}", std::process::id()));
        std::fs::create_dir_all(&dir).unwrap();
        let file = dir.join("memory.events");
        assert!(Watch::new(&dir).is_err());
        std::fs::write(&file, "oom_kill 1\n").unwrap();
        // Two containers may have one cgroup.
        let (mut one, mut other) = (Watch::new(&dir).unwrap(), Watch::new(&dir).unwrap());
        assert!(one.has_killed().unwrap());
        assert!(!one.has_killed().unwrap());
        drop(one);
        std::fs::write(&file, "oom_kill 2\n").unwrap();
        assert!(other.has_killed().unwrap());
        std::fs::remove_dir_all(&dir).unwrap();
    }
}
