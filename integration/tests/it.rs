//! The one test binary of what isn't in the specification: each module says what belongs into it.

mod security; // hostile images and configurations, and what an attacker learned from other runtimes
mod tidy; // the shape of the source: imports, what is absent where, lengths
