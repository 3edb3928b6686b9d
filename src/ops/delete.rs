//! `delete`: removes what is left of a container.
use crate::cgroup::*;
use crate::error::*;
use crate::state::*;
pub fn destroy(container: Container) -> Result<()> {
    let record = container.record()?.clone();
    if let Some(p) = &record.cgroup {
        if let Some(c) = Cgroup::open(&Hierarchy::find()?, p)? {
            let _ = c.kill();
            c.remove()?;
        }
    }
    container.remove()
}
