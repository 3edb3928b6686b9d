//! Paths inside the container's root, as ready data for openat2(2) and mkdirat(2).

use std::ffi::CString;
use std::fmt;

/// A path inside the container's root, cleaned lexically, with every prefix of it ready: the child may have
/// to make them one by one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct InRoot {
    prefixes: Vec<CString>, // "a", "a/b", "a/b/c"
    names: Vec<CString>,    // "a", "b", "c"
}

impl InRoot {
    /// `path` from the container's `/`, whether it starts with one or not; `..` stops at the root.
    /// `None` if it holds a NUL.
    pub fn new(path: &str) -> Option<InRoot> {
        let mut parts: Vec<&str> = Vec::new();
        for part in path.split('/') {
            match part {
                "" | "." => {}
                ".." => drop(parts.pop()),
                part => parts.push(part),
            }
        }
        let prefixes =
            (1..=parts.len()).map(|n| CString::new(parts[..n].join("/"))).collect::<Result<_, _>>().ok()?;
        let names = parts.iter().map(|p| CString::new(*p)).collect::<Result<_, _>>().ok()?;
        Some(InRoot { prefixes, names })
    }

    /// Each prefix, with the name of its last part; the last prefix is the path itself, none is the root.
    pub fn walk(&self) -> impl Iterator<Item = (&CString, &CString)> {
        self.prefixes.iter().zip(&self.names)
    }

    pub fn is_root(&self) -> bool {
        self.names.is_empty()
    }

    /// The path without its last part, and that part.
    pub fn split(&self) -> Option<(InRoot, CString)> {
        let (name, above) = self.names.split_last()?;
        let prefixes = self.prefixes[..above.len()].to_vec();
        Some((InRoot { prefixes, names: above.to_vec() }, name.clone()))
    }
}

impl fmt::Display for InRoot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "/{}", self.prefixes.last().map_or("".into(), |p| p.to_string_lossy()))
    }
}
