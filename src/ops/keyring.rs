//! The container's session keyring (session-keyring(7)): how `create` calls it, and by which name `exec` gets into it.
//!
//! Joining by name is the one way into a keyring that exists, and whoever makes one of that name first, and lets others
//! find it, has them in his own. So the name can't be guessed, and is remembered where only we read.

use crate::error::{Doing, Result};
use crate::state::Record;
use crate::sys::ids;

/// A name that nobody else knows.
pub fn name(id: &str) -> Result<String> {
    let random = ids::random().doing(|| "make a name for the session keyring".into())?;
    Ok(format!("_ses.{id}.{random:032x}"))
}

/// The name for another process of a container: a keyring of its own, if the container is of an rrunc that didn't
/// remember it; none, if the container has its caller's.
pub fn of(record: &Record) -> Result<Option<String>> {
    match (record.no_new_keyring, &record.session_keyring) {
        (true, _) => Ok(None),
        (false, Some(name)) => Ok(Some(name.clone())),
        (false, None) => name(&record.id).map(Some),
    }
}
