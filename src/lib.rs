//! rrunc
