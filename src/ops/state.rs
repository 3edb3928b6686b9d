//! `state`: what is known of one container, as JSON.

use std::io::Write;
use std::path::Path;

use crate::error::{Doing, Result};
use crate::state::{ContainerId, Store};
use crate::sys::{Call, Named};

/// `rrunc state`. Takes no lock, so it answers also while another command works on the container.
pub fn state(root: &Path, id: &str, out: &mut dyn Write) -> Result<()> {
    let mut container = Store::open(root)?.load(&ContainerId::new(id)?)?;
    let status = container.status()?;
    let json = container.record()?.state_json(status);
    writeln!(out, "{json}").call(Call::Write).doing(|| "write to standard output".into())
}
