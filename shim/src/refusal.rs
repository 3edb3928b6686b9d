//! Why a call of the task service was not done: a gRPC code, which containerd and its clients branch on, and
//! a sentence.

use std::fmt;

/// The codes of gRPC that a shim uses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(i32)]
pub enum Code {
    Unknown = 2,
    InvalidArgument = 3,
    NotFound = 5,
    AlreadyExists = 6,
    ResourceExhausted = 8,
    FailedPrecondition = 9,
    Unimplemented = 12,
    Internal = 13,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    pub code: Code,
    pub text: String,
}

impl Refusal {
    pub fn new(code: Code, text: impl Into<String>) -> Refusal {
        let text = text.into();
        Refusal { code, text }
    }

    pub fn unknown(text: impl Into<String>) -> Refusal {
        Refusal::new(Code::Unknown, text)
    }

    pub fn invalid(text: impl Into<String>) -> Refusal {
        Refusal::new(Code::InvalidArgument, text)
    }

    pub fn not_found(text: impl Into<String>) -> Refusal {
        Refusal::new(Code::NotFound, text)
    }

    pub fn precondition(text: impl Into<String>) -> Refusal {
        Refusal::new(Code::FailedPrecondition, text)
    }

    /// What was being done, before what went wrong.
    pub fn during(mut self, doing: impl fmt::Display) -> Refusal {
        self.text = format!("{doing}: {}", self.text);
        self
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl std::error::Error for Refusal {}

/// `fallible().doing(|| format!("open {path}"))`: a refusal that names the thing.
pub trait Doing<T> {
    fn doing(self, what: impl FnOnce() -> String) -> Result<T, Refusal>;
}

impl<T, E: fmt::Display> Doing<T> for Result<T, E> {
    fn doing(self, what: impl FnOnce() -> String) -> Result<T, Refusal> {
        self.map_err(|error| Refusal::unknown(format!("{}: {error}", what())))
    }
}
