//! The id of a container: it names a directory, a cgroup and a scope, so its letters are few.

use std::fmt;

use crate::error::{Error, Kind, Result};

/// A checked id: letters, digits and `_ + - .`, not beginning with a dot (so neither `.` nor `..`, and
/// never one of our temporary names), at most NAME_MAX bytes.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ContainerId(String);

impl ContainerId {
    /// Kind `Usage` if `id` can't be one; the text is the one that callers of runc know.
    pub fn new(id: &str) -> Result<ContainerId> {
        let letter = |c: char| c.is_ascii_alphanumeric() || "_+-.".contains(c);
        let wrong = if id.is_empty() {
            "it is empty"
        } else if id.len() > libc::NAME_MAX as usize {
            "it is longer than 255 bytes"
        } else if id.starts_with('.') {
            "it begins with a dot"
        } else if !id.chars().all(letter) {
            "only A-Z a-z 0-9 _ + - . are allowed"
        } else {
            return Ok(ContainerId(id.to_owned()));
        };
        Err(Error::new(Kind::Usage, format!("invalid container ID format {id:?}: {wrong}")))
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ContainerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn few_letters() {
        for good in ["a", "web1", "_x", "+", "-", "a.b-c+d_e", "0", &"x".repeat(255)] {
            assert_eq!(ContainerId::new(good).unwrap().as_str(), good);
        }
        for bad in ["", ".", "..", ".x", "a/b", "a b", "a\n", "ä", "a\0", &"x".repeat(256)] {
            let text = ContainerId::new(bad).unwrap_err().to_string();
            assert!(text.contains("invalid container ID format"), "{text}");
            assert!(text.contains(&format!("{bad:?}")), "{text}");
        }
    }
}
