//! The answers of the helper that ran in a container, by the phrase that asked for them.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Index;
use std::path::PathBuf;

use serde_json::Value;

/// The helper on the host: `INSIDE`, or where `make inside` puts it.
///
/// # Panics
/// If it is missing, or older than its source.
pub fn helper() -> PathBuf {
    const HOW: &str = "build it by `make inside`, which links it statically for its empty root file system";
    let crate_dir = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    let target =
        std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| crate_dir.join("../target"), PathBuf::from);
    let triple = format!("{}-unknown-linux-gnu/release/inside", std::env::consts::ARCH);
    let path = std::env::var_os("INSIDE").map_or_else(|| target.join(triple), PathBuf::from);
    let made = |p: PathBuf| std::fs::metadata(p).and_then(|m| m.modified()).ok();
    let built = made(path.clone()).unwrap_or_else(|| panic!("{} is missing: {HOW}", path.display()));
    for source in ["main.rs", "ask.rs", "sys.rs"] {
        let changed = made(crate_dir.join("src/bin/inside").join(source));
        assert!(changed.is_none_or(|c| c <= built), "{} is older than {source}: {HOW}", path.display());
    }
    path
}

/// Answers by phrase; asking for one that wasn't answered panics.
#[derive(Debug)]
pub struct Inside(BTreeMap<String, Vec<Value>>);

impl Inside {
    /// From what the helper printed; other lines are passed over.
    pub fn parse(text: &str) -> Inside {
        let mut answers: BTreeMap<String, Vec<Value>> = BTreeMap::new();
        for row in text.lines().filter_map(|l| serde_json::from_str::<Value>(l).ok()) {
            if let Some(phrase) = row["ask"].as_str() {
                answers.entry(phrase.into()).or_default().push(row["answer"].clone());
            }
        }
        Inside(answers)
    }

    /// All answers to a phrase that was asked more than once.
    pub fn all(&self, phrase: &str) -> &[Value] {
        self.0.get(phrase).map_or(&[], Vec::as_slice)
    }

    pub fn has(&self, phrase: &str) -> bool {
        self.0.contains_key(phrase)
    }

    /// What is mounted last at `at`, after the phrase `mounts`.
    pub fn mount(&self, at: &str) -> Option<Mount> {
        let mounts = self["mounts"].as_array().expect("a list of mounts");
        mounts.iter().rev().find(|m| m["at"] == at).cloned().map(Mount)
    }

    /// Names of the capabilities in a set (`CapEff`, `CapBnd`, …), after the phrase `caps`.
    pub fn caps(&self, set: &str) -> BTreeSet<&'static str> {
        let bits = self["caps"][set].as_str().and_then(|s| u64::from_str_radix(s, 16).ok()).expect("hex");
        let names = crate::ALL_CAPS.iter().enumerate();
        names.filter(|(i, _)| bits >> i & 1 == 1).map(|(_, name)| *name).collect()
    }
}

impl Index<&str> for Inside {
    type Output = Value;

    fn index(&self, phrase: &str) -> &Value {
        let all = self.0.get(phrase).and_then(|a| a.first());
        all.unwrap_or_else(|| panic!("no answer to {phrase:?}; there are {:?}", self.0))
    }
}

/// A line of mountinfo.
#[derive(Debug, Clone)]
pub struct Mount(pub Value);

impl Mount {
    /// An option of the mount itself, or of its file system.
    pub fn has(&self, option: &str) -> bool {
        let has = |list: &Value| list.as_array().is_some_and(|l| l.iter().any(|o| o == option));
        has(&self.0["options"]) || has(&self.0["super"])
    }

    /// `shared`, `master` (it is a slave of a peer group), `unbindable`, or else it's private.
    pub fn propagation(&self) -> Vec<&str> {
        let fields = self.0["propagation"].as_array().into_iter().flatten();
        fields.filter_map(|f| f.as_str()).map(|f| f.split(':').next().unwrap_or(f)).collect()
    }
}
