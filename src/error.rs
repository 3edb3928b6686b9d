//! What went wrong, for a person and for a program: a [`Kind`] to branch on, a sentence, what was being
//! done around it, the call and errno, and what to do about it. Nothing is printed here.

use std::fmt;

use crate::sys::Fail;

pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What a caller can branch on. One table maps it to an exit code ([`Error::exit_code`]).
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// The command line is wrong.
    Usage,
    /// No container with this id.
    NotFound,
    /// A container with this id is there already.
    Exists,
    /// The container is there, but not in a status that allows this.
    WrongStatus,
    /// What is remembered isn't believed, since another user could have written it.
    Untrusted,
    /// config.json breaks a rule of the spec; every fault is named by its path.
    InvalidSpec,
    /// Well-formed, but this kernel, host or version of rrunc can't do it.
    Unsupported,
    /// A call on the host side failed.
    Kernel,
    /// A step of the plan failed in the container's process.
    Step,
    /// A hook failed or ran out of time.
    Hook,
    /// The container's program can't be executed.
    Exec,
}

/// One broken rule in config.json.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// The field in dotted form with indices: `linux.namespaces[2].path`.
    pub path: String,
    /// What is wrong with which value, and what would be right.
    pub text: String,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.path, self.text)
    }
}

/// An error on its way out. `Display` gives the whole line, outermost context first.
#[derive(Debug)]
pub struct Error {
    pub kind: Kind,
    context: Vec<String>, // innermost first: contexts are added while the error travels out
    message: Box<str>,    // boxed, as the next two: every Result carries an Error's size
    pub fail: Option<Fail>,
    /// Number of the failing step of the plan, from 1.
    pub step: Option<u16>,
    pub faults: Vec<Fault>,
    hint: Option<Box<str>>,
    /// What else is wrong, though it is not what failed.
    others: Box<[Fault]>,
    exit_code: i32,
}

impl Error {
    pub fn new(kind: Kind, message: impl Into<String>) -> Error {
        Error {
            kind,
            context: vec![],
            message: message.into().into(),
            fail: None,
            step: None,
            faults: vec![],
            hint: None,
            others: Box::default(),
            exit_code: 1,
        }
    }

    /// A call on the host that failed; `doing` is what it was for, with the path or value.
    pub fn kernel(doing: impl Into<String>, fail: Fail) -> Error {
        Error { fail: Some(fail), ..Error::new(Kind::Kernel, doing) }
    }

    /// Faults in the file called `file`, all of them.
    pub fn invalid(file: impl Into<String>, faults: Vec<Fault>) -> Error {
        Error { faults, ..Error::new(Kind::InvalidSpec, file) }
    }

    pub fn with_faults(mut self, faults: Vec<Fault>) -> Error {
        self.faults = faults;
        self
    }

    pub fn with_fail(mut self, fail: Fail) -> Error {
        self.fail = Some(fail);
        self
    }

    /// What the user can do about it.
    pub fn hint(mut self, hint: impl Into<String>) -> Error {
        self.hint = Some(hint.into().into());
        self
    }

    /// Faults that would be met next, were this one mended.
    pub fn besides(mut self, others: Vec<Fault>) -> Error {
        self.others = others.into();
        self
    }

    /// The failing step of the plan, counted from 1.
    pub fn at_step(mut self, number: usize) -> Error {
        self.step = u16::try_from(number).ok();
        self
    }

    /// What the user can do about it, if that is known.
    pub fn cure(&self) -> Option<&str> {
        self.hint.as_deref()
    }

    pub fn context(mut self, context: impl Into<String>) -> Error {
        self.context.push(context.into());
        self
    }

    pub fn exit_with(mut self, code: i32) -> Error {
        self.exit_code = code;
        self
    }

    /// What `rrunc` exits with: 1 unless told otherwise, as runc does.
    pub fn exit_code(&self) -> i32 {
        self.exit_code
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for context in self.context.iter().rev() {
            write!(f, "{context}: ")?;
        }
        f.write_str(&self.message)?;
        for (i, fault) in self.faults.iter().enumerate() {
            write!(f, "{}{fault}", if i == 0 { ": " } else { "; " })?;
        }
        if let Some(fail) = self.fail {
            write!(f, ": {fail}")?;
        }
        if let Some(hint) = &self.hint {
            write!(f, " ({hint})")?;
        }
        for (i, fault) in self.others.iter().enumerate() {
            write!(f, "; {}{fault}", if i == 0 { "besides, " } else { "" })?;
        }
        Ok(())
    }
}

/// The text on one line and without control characters: a name in config.json may hold what a terminal
/// would obey.
pub fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '\n' => out.push_str("\\n"),
            '\t' => out.push_str("\\t"),
            c if c.is_control() => out += &format!("\\u{:04x}", u32::from(c)),
            c => out.push(c),
        }
    }
    out
}

impl std::error::Error for Error {}

/// `fallible().doing(|| format!("open {path}"))`: from a bare [`Fail`] to an error with its object.
pub trait Doing<T> {
    fn doing(self, what: impl FnOnce() -> String) -> Result<T>;
}

impl<T> Doing<T> for std::result::Result<T, Fail> {
    fn doing(self, what: impl FnOnce() -> String) -> Result<T> {
        self.map_err(|fail| Error::kernel(what(), fail))
    }
}

impl<T> Doing<T> for Result<T> {
    fn doing(self, what: impl FnOnce() -> String) -> Result<T> {
        self.map_err(|error| error.context(what()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::{Call, Errno};

    #[test]
    fn one_line_outermost_context_first() {
        let error = Error::kernel("open /x", Fail::new(Call::Open, Errno::ENOENT))
            .context("read the configuration")
            .context("create web1")
            .hint("make the bundle with `rrunc spec`");
        assert_eq!(
            error.to_string(),
            "create web1: read the configuration: open /x: openat2: no such file or directory \
             (make the bundle with `rrunc spec`)"
        );
    }

    #[test]
    fn what_comes_next_is_told_last() {
        let fault = |path: &str| Fault { path: path.into(), text: "is missing".into() };
        let error = Error::kernel("open /x", Fail::new(Call::Open, Errno::ENOENT)).hint("make it");
        assert_eq!(
            error.besides(vec![fault("a"), fault("b")]).to_string(),
            "open /x: openat2: no such file or directory (make it); besides, a: is missing; b: is missing"
        );
    }

    #[test]
    fn all_faults_in_one_line() {
        let fault = |path: &str, text: &str| Fault { path: path.into(), text: text.into() };
        let error = Error::invalid(
            "config.json",
            vec![fault("process.cwd", "\"x\" is not absolute"), fault("root", "is missing")],
        );
        assert_eq!(error.to_string(), "config.json: process.cwd: \"x\" is not absolute; root: is missing");
    }
}
