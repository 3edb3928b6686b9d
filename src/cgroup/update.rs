//! Other limits for a container that runs: what is asked before, and how they are taken back.

use oci_spec::runtime::LinuxResources;

use super::resources::{self, Write};
use super::{Cgroup, files};
use crate::error::{Error, Kind, Result};
use crate::log;

impl Cgroup {
    /// memory.checkBeforeUpdate: a limit that is reached already would mean an OOM kill.
    pub fn check_usage(&self, resources: &LinuxResources) -> Result<()> {
        let memory = resources.memory().as_ref();
        let Some(memory) = memory.filter(|memory| memory.check_before_update() == Some(true)) else {
            return Ok(());
        };
        let Some(usage) =
            files::value(self.fd(), "memory.current").ok().and_then(|usage| usage.trim().parse().ok())
        else {
            return Ok(()); // not limited so far, and not counted
        };
        let faults = resources::exceeded(memory, usage);
        match faults.is_empty() {
            true => Ok(()),
            false => {
                let text = format!("{} uses more than its new limits", self.path.display());
                Err(Error::new(Kind::WrongStatus, text).with_faults(faults))
            }
        }
    }

    /// What the files hold that these limits would change, as writes that bring it back.
    pub fn held(&self, resources: &LinuxResources) -> Result<Vec<Write>> {
        let writes = resources::writes(resources)?;
        Ok(resources::undoing(&writes, |file| files::read(self.fd(), file).ok()))
    }

    /// Brings back what was [held](Cgroup::held), as far as the kernel takes it.
    pub fn bring_back(&self, held: &[Write]) {
        if let Some(Err(error)) = self.unit.as_ref().map(|unit| unit.limit(held)) {
            log::warning(&format!("the limits before are not brought back: {error}"));
        }
        for write in held {
            if let Err(fail) = self.write(write) {
                log::debug(|| self.refused(write, fail).to_string());
            }
        }
    }
}
