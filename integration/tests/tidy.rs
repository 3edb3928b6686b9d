//! The shape of the source, as a test: who may import whom, what is deliberately absent where. Reads text
//! and knows no Rust beyond `crate::NAME`, comments and test modules. Needs no root.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// What each module may import of the others. `ops` puts them together, so it may have all but the insides
/// of others; what isn't listed may import nothing of ours.
const MAY_IMPORT: &[(&str, &[&str])] = &[
    ("error", &["sys"]),
    ("channel", &["sys"]),
    ("spec", &["error", "sys"]),
    ("plan", &["error", "spec", "sys"]),
    ("host", &["error", "plan", "spec", "sys"]),
    ("idmap", &["error", "plan", "sys"]),
    ("netdev", &["error", "log", "plan", "sys"]),
    ("prepare", &["error", "channel", "idmap", "plan", "seal", "sys"]),
    ("init", &["channel", "plan", "prepare", "sys"]),
    ("spawn", &["error", "channel", "init", "plan", "prepare", "sys"]),
    ("cgroup", &["error", "log", "rdt", "spec", "sys", "systemd"]),
    ("systemd", &["error", "sys"]),
    ("ours", &["error", "sys"]),
    ("seccomp_cache", &["error", "plan", "sys"]),
    ("state", &["cgroup", "error", "ours", "rdt", "sys", "time"]),
    ("hooks", &["error", "spec", "state", "sys"]),
    ("console", &["error", "sys"]),
    ("criu", &["cli", "error", "plan", "spec", "sys"]),
    ("seccomp_agent", &["console", "error", "state", "sys"]),
    ("seal", &["error", "sys"]),
    ("user_namespace", &["error", "plan", "sys"]),
    ("notify", &["error", "log", "sys"]),
    ("pidfile", &["error", "sys"]),
    ("rdt", &["error", "sys"]),
    ("relay", &["error", "sys"]),
    ("foreground", &["error", "notify", "relay", "sys"]),
    ("log", &["error", "sys", "time"]),
    ("cli", &["error", "log", "sys"]),
    // Only with the feature of that name: it asks the parsers of all others.
    (
        "fuzz",
        &[
            "cgroup", "cli", "criu", "error", "init", "netdev", "notify", "ops", "plan", "rdt", "spec",
            "state", "sys", "systemd",
        ],
    ),
    (
        "ops",
        &[
            "cgroup",
            "channel",
            "cli",
            "console",
            "criu",
            "error",
            "foreground",
            "hooks",
            "host",
            "idmap",
            "log",
            "netdev",
            "notify",
            "pidfile",
            "plan",
            "prepare",
            "rdt",
            "seccomp_agent",
            "seccomp_cache",
            "spawn",
            "spec",
            "state",
            "sys",
            "time",
            "user_namespace",
            "version",
        ],
    ),
];

/// Words that must not stand in a part of the source, and why.
const ABSENT: &[(&str, &[&str], &str)] = &[
    (
        "init",
        &[
            "String",
            "Vec",
            "Box",
            "format!",
            "vec!",
            "to_string(",
            "to_owned(",
            "to_vec(",
            "collect(",
            "Error",
            "log::",
            "std::fs",
            "std::io",
            "println!",
        ],
        "the container's process allocates nothing: another may have held the heap's lock when it was made",
    ),
    ("spec", &["std::fs", "std::process", "std::env", "nix::", "sys::fs", "fs::"], "bytes in, types out"),
    (
        "plan",
        &["use std::fs", "File::open", "std::process", "std::env", "nix::"],
        "equal inputs give equal plans, on any machine",
    ),
    (
        "cgroup/resources",
        &["std::fs", "nix::", "sys::"],
        "which file gets which value is decided without looking",
    ),
    (
        "cgroup/properties",
        &["std::fs", "nix::", "sys::"],
        "which property gets which value is decided without looking",
    ),
    ("cli", &["std::fs", "std::process", "std::env::", "nix::", "println!"], "argv in, Request out"),
    ("", &["todo!", "unimplemented!", "dbg!", ".unwrap()", "panic!("], "input must not panic"),
    (
        "",
        &["std::thread", "thread::sleep", "thread::spawn", "async fn"],
        "one thread, and every wait is for something",
    ),
];

/// The same for the shim, which is a package of its own.
const ABSENT_IN_SHIM: &[(&str, &[&str], &str)] = &[
    (
        "table",
        &["std::fs", "std::process", "nix::", "rrunc::", "OwnedFd", "Instant"],
        "what there is can be written out and read back",
    ),
    ("frame", &["std::io", "std::os", "nix::"], "bytes in, frames out"),
    ("args", &["std::fs", "std::env::", "nix::"], "argv in, Args out"),
    ("bootstrap", &["std::fs", "std::io", "nix::"], "bytes in, a question out"),
    ("options", &["std::fs", "nix::"], "a message in, options out"),
    ("stdio/uri", &["std::fs", "nix::"], "text in, a target out"),
    (
        "",
        &["ops::create", "ops::run", "ops::exec", "ops::restore", "ops::mounts", "ops::checkpoint"],
        "what puts a process into a container is executed: a copy of the shim runs from the shim's own file",
    ),
    (
        "calls",
        &["mounts::"],
        "a file system may be long in coming and going: only copies of the shim mount and unmount",
    ),
    ("", &["todo!", "unimplemented!", "dbg!", ".unwrap()", "panic!("], "input must not panic"),
    (
        "",
        &["std::thread", "thread::sleep", "async fn", "Mutex", "RefCell", "tokio"],
        "one thread, no lock, and every wait is the loop's",
    ),
];

/// Words that may stand in some modules only, and why.
const ONLY_IN: &[(&str, &[&str], &str)] = &[
    (
        "clone::fork",
        &["spawn", "init", "idmap", "seal", "sys", "systemd"],
        "a process of ours that a container sees is made of a Prepared, which only a sealed rrunc gets; those of others \
         stay outside, or are the container's own",
    ),
    (
        "clone::setns",
        &["spawn", "init", "sys"],
        "who enters a process namespace is seen in there; sys visits network namespaces alone",
    ),
];

/// Longer files are hard to hold in mind. One that must be longer stands here with its reason.
const LINES: usize = 500;
const LONGER: &[(&str, &str)] = &[];

struct Source {
    /// Below src/, without `.rs` and `/mod`: `plan/step`, `plan`.
    name: String,
    text: String,
    /// Without comments and tests.
    code: String,
}

impl Source {
    fn module(&self) -> &str {
        self.name.split('/').next().unwrap_or_default()
    }

    fn is_in(&self, part: &str) -> bool {
        part.is_empty() || self.name == part || self.name.starts_with(&format!("{part}/"))
    }
}

fn sources() -> Vec<Source> {
    read_sources("../src")
}

fn read_sources(root: &str) -> Vec<Source> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join(root);
    let mut files = vec![];
    walk(&root, &mut files);
    let read = |path: PathBuf| {
        let text = fs::read_to_string(&path).unwrap();
        let name = path.strip_prefix(&root).unwrap().with_extension("").to_string_lossy().into_owned();
        let name = name.strip_suffix("/mod").unwrap_or(&name).to_string();
        let (code, _tests) = text.split_once("#[cfg(test)]").unwrap_or((&text, ""));
        let code = code.lines().map(without_comment).collect::<Vec<_>>().join("\n");
        Source { name, text, code }
    };
    let sources: Vec<Source> = files.into_iter().map(read).collect();
    assert!(sources.len() > 30, "found only {} files below {}", sources.len(), root.display());
    sources
}

/// rrunc's and the shim's.
fn everything() -> Vec<Source> {
    let mut all = sources();
    all.extend(read_sources("../shim/src"));
    all
}

fn walk(directory: &Path, files: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        if path.is_dir() {
            walk(&path, files);
        } else if name.ends_with(".rs") && !name.ends_with("tests.rs") {
            files.push(path);
        }
    }
    files.sort();
}

fn without_comment(line: &str) -> &str {
    line.find("//").map_or(line, |at| &line[..at])
}

/// The modules named after `crate::`, also in braces: `crate::{a, b::c}`.
fn imports(code: &str) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for after in code.split("crate::").skip(1) {
        let list = match after.strip_prefix('{') {
            Some(list) => list,
            None => &after[..after.find(|c: char| !is_word(c)).unwrap_or(after.len())],
        };
        let (mut depth, mut start) = (0, true);
        let mut word = String::new();
        for c in list.chars().chain(['}']) {
            if is_word(c) && depth == 0 && start {
                word.push(c);
                continue;
            }
            found.extend((!word.is_empty()).then(|| std::mem::take(&mut word)));
            match c {
                '{' => depth += 1,
                '}' if depth == 0 => break,
                '}' => depth -= 1,
                _ => {}
            }
            start = depth == 0 && (start && c.is_whitespace() || c == ',');
        }
    }
    found
}

fn is_word(c: char) -> bool {
    c.is_ascii_lowercase() || c == '_'
}

/// The words of `absent` that stand in the code on their own: `Error` isn't in `ErrorKind` or `LastError`.
fn has(code: &str, word: &str) -> bool {
    let boundary = |c: Option<char>| !c.is_some_and(|c| c.is_alphanumeric() || c == '_');
    code.match_indices(word).any(|(at, _)| {
        let ends_open = !word.ends_with(|c: char| c.is_alphanumeric());
        let begins_open = !word.starts_with(|c: char| c.is_alphanumeric());
        (begins_open || boundary(code[..at].chars().next_back()))
            && (ends_open || boundary(code[at + word.len()..].chars().next()))
    })
}

/// Panics with all complaints, so that one run shows everything.
#[track_caller]
fn none(complaints: Vec<String>) {
    assert!(complaints.is_empty(), "\n{}\n", complaints.join("\n"));
}

#[test]
fn modules_import_what_they_may() {
    let table: BTreeMap<_, _> = MAY_IMPORT.iter().copied().collect();
    let mut complaints = vec![];
    for source in sources().iter().filter(|s| !["lib", "main"].contains(&s.name.as_str())) {
        let may = table.get(source.module()).copied().unwrap_or_default();
        for import in imports(&source.code) {
            if import != source.module() && !may.contains(&import.as_str()) {
                complaints.push(format!(
                    "src/{}.rs imports {import}, which {} may not",
                    source.name,
                    source.module()
                ));
            }
        }
    }
    none(complaints);
}

#[test]
fn what_is_absent_stays_so() {
    let mut complaints = vec![];
    for (root, absent) in [("src", ABSENT), ("shim/src", ABSENT_IN_SHIM)] {
        for source in &read_sources(&format!("../{root}")) {
            for (part, words, why) in absent.iter().filter(|(part, ..)| source.is_in(part)) {
                for word in words.iter().filter(|word| has(&source.code, word)) {
                    complaints.push(format!("{root}/{} has {word}; {part}: {why}", source.name));
                }
            }
        }
    }
    none(complaints);
}

#[test]
fn what_only_some_may_do_others_do_not() {
    let mut complaints = vec![];
    for (word, modules, why) in ONLY_IN {
        let who = sources().into_iter().filter(|s| has(&s.code, word));
        let (in_them, elsewhere): (Vec<_>, Vec<_>) = who.partition(|s| modules.contains(&s.module()));
        complaints.extend(elsewhere.iter().map(|s| format!("src/{} has {word}: {why}", s.name)));
        let idle = modules.iter().filter(|module| !in_them.iter().any(|s| s.module() == **module));
        complaints.extend(idle.map(|module| format!("{module} may have {word}, and has not")));
    }
    none(complaints);
}

#[test]
fn unsafe_code_has_an_address() {
    let unsafe_code = |s: &&Source| s.module() != "sys" && has(&s.code.replace("unsafe_code", ""), "unsafe");
    none(everything().iter().filter(unsafe_code).map(|s| format!("{} has unsafe code", s.name)).collect());
}

#[test]
fn files_are_short_and_say_what_they_are() {
    let mut complaints = vec![];
    for Source { name, text, .. } in &everything() {
        if !text.starts_with("//!") {
            complaints.push(format!("src/{name} does not begin with what it is"));
        }
        let lines = text.lines().count();
        if lines > LINES && !LONGER.iter().any(|(longer, _)| longer == name) {
            complaints.push(format!("src/{name} has {lines} lines"));
        }
    }
    none(complaints);
}

/// The checks above would pass on anything if this didn't hold.
#[test]
fn the_reader_reads() {
    let check = |code: &str, expected: &[&str]| {
        assert_eq!(imports(code), expected.iter().map(|e| e.to_string()).collect(), "{code}");
    };
    check("use crate::sys::fs;", &["sys"]);
    check(
        "use crate::{error::{Error, Kind}, sys, log::open};\nfn a(){ crate::time::now() }",
        &["error", "log", "sys", "time"],
    );
    check("pub(crate) fn x() {}", &[]);
    assert!(has("a: Vec<u8>", "Vec") && !has("VecDeque", "Vec") && !has("MyVec", "Vec"));
    assert!(has("x.unwrap();", ".unwrap()") && !has("x.unwrap_or(1)", ".unwrap()"));
    assert_eq!(without_comment("a // unsafe"), "a ");
}
