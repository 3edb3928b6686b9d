//! Is the process that a record speaks of still there? A pid alone can't tell: it may belong to another
//! boot, or to another process since. Boot id and start time can.

use std::os::fd::{AsFd, OwnedFd};
use std::sync::OnceLock;
use std::time::Duration;

use super::Record;
use crate::error::{Doing, Error, Kind, Result};
use crate::sys::process::{Stat, ended, pidfd_open, stat};
use crate::sys::{Errno, Fail, Pid, files};

impl Record {
    /// Remembers `pid`, which must still be there (alive or unreaped), as the container's init.
    pub fn set_init(&mut self, pid: Pid) -> Result<()> {
        self.start_time =
            start_time(pid)?.ok_or_else(|| Error::new(Kind::Kernel, format!("process {pid} is gone")))?;
        self.boot_id = boot_id()?.into();
        self.pid = Some(pid);
        Ok(())
    }

    /// A pidfd of the init process if it lives; a zombie doesn't, nor one on its way out that has executed no program.
    pub fn init(&self) -> Result<Option<OwnedFd>> {
        let Some(pid) = self.pid else { return Ok(None) };
        if !self.is_of_this_boot()? {
            return Ok(None);
        }
        let doing = || format!("open the init process {pid}");
        let pidfd = match pidfd_open(pid) {
            Err(Fail { errno: Errno::ESRCH, .. }) => return Ok(None),
            pidfd => pidfd.doing(doing)?,
        };
        // This order decides: whatever lives after stat was read is what both the pidfd and stat meant.
        let same = self.stat()?.is_some_and(|stat| !stat.exiting || stat.executed);
        let lives = same && !ended(pidfd.as_fd(), Some(Duration::ZERO)).doing(doing)?;
        Ok(lives.then_some(pidfd))
    }

    /// What the kernel knows of the init: `None` once somebody has waited for its end.
    pub fn stat(&self) -> Result<Option<Stat>> {
        let Some(pid) = self.pid else { return Ok(None) };
        let found = stat(pid).doing(|| format!("read /proc/{pid}/stat"))?;
        Ok(found.filter(|stat| stat.start_time == self.start_time))
    }
}

impl Record {
    /// Whether what it says of processes and cgroups can still be true.
    pub fn is_of_this_boot(&self) -> Result<bool> {
        Ok(self.boot_id == boot_id()?)
    }
}

/// /proc/sys/kernel/random/boot_id, which is read once.
pub fn boot_id() -> Result<&'static str> {
    static ID: OnceLock<String> = OnceLock::new();
    if let Some(id) = ID.get() {
        return Ok(id);
    }
    let path = "/proc/sys/kernel/random/boot_id";
    let id = files::read_to_string(path).doing(|| format!("read {path}"))?;
    Ok(ID.get_or_init(|| id.trim_end().to_owned()))
}

/// When the process started, in clock ticks since boot; `None` if there is no such process.
fn start_time(pid: Pid) -> Result<Option<u64>> {
    let stat = stat(pid).doing(|| format!("read /proc/{pid}/stat"))?;
    Ok(stat.map(|stat| stat.start_time))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::{Command, Stdio};

    /// A process that waits until its standard input closes.
    fn cat() -> std::process::Child {
        Command::new("cat").stdin(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap()
    }

    #[test]
    fn alive_reused_rebooted_ended() {
        let mut child = cat();
        let mut record = Record::default();
        assert!(record.init().unwrap().is_none(), "no pid yet");
        record.set_init(Pid(child.id() as i32)).unwrap();
        assert!(record.init().unwrap().is_some());

        let reused = Record { start_time: record.start_time - 1, ..record.clone() };
        assert!(reused.init().unwrap().is_none(), "the pid belongs to another process");
        let rebooted = Record { boot_id: "00000000-0000-0000-0000-000000000000".into(), ..record.clone() };
        assert!(rebooted.init().unwrap().is_none(), "the pid is one of another boot");

        let pidfd = record.init().unwrap().unwrap();
        child.kill().unwrap();
        assert!(ended(pidfd.as_fd(), Some(Duration::from_secs(10))).unwrap());
        assert!(record.init().unwrap().is_none(), "a zombie");
        child.wait().unwrap();
        assert!(record.init().unwrap().is_none(), "reaped");
        assert!(Record::default().set_init(Pid(child.id() as i32)).is_err());
    }
}
