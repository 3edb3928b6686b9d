//! The one test binary of what isn't in the specification.

mod security; // hostile images and configurations, and what an attacker learned from other runtimes
