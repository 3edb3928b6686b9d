//! What goes into a process and comes out of it.

pub mod logger;
pub mod plumbing;
pub mod pump;
pub mod sink;
pub mod uri;
