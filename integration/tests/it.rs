//! The one test binary of this crate: each module says what belongs into it.

/// The shape of the source: imports, what is absent where, lengths. Needs nothing.
mod tidy;
