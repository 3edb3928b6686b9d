//! What is typed: the command line, and the small words in it.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;

use crate::cli::{self, Caller, Command, Request};
use crate::state::ContainerId;
use crate::{ops, spec};

/// Arguments, each ended by a NUL: what is understood can be said again and means the same. What `exec` makes of its
/// flags is a process by the rules of config.json.
pub fn line(data: &[u8]) {
    let args = || super::words(data).into_iter().map(|word| OsStr::from_bytes(word).to_os_string());
    let Ok(request) = parse(args()) else { return };
    if request.command != Command::Features {
        let again = parse(request.to_args());
        assert_eq!(again.as_ref().ok(), Some(&request), "{:?}", request.to_args());
    }
    if let Command::Exec(exec) = &request.command {
        let own = super::config::container().oci;
        if let Ok(process) = ops::exec::process(own.process().as_ref(), exec) {
            super::config::exec(process);
        }
    }
    if let Command::Update(update) = &request.command {
        let document = serde_json::Value::Object(update.limits.clone());
        if let Ok(fitting) = spec::fit_resources(document, "the command line") {
            super::config::resources(fitting.to_string().as_bytes());
        }
    }
}

fn parse(args: impl IntoIterator<Item = OsString>) -> crate::error::Result<Request> {
    let caller = Caller { is_root: true, runtime_dir: None };
    cli::parse(args, &caller)
}

/// One word, as each of those that are checked by themselves.
pub fn words(data: &[u8]) {
    let Ok(word) = std::str::from_utf8(data) else { return };
    if let Ok(id) = ContainerId::new(word) {
        assert_eq!(id.as_str(), word);
        assert!(!word.contains(['/', '\0', '\n']) && !matches!(word, "" | "." | "..") && word.len() <= 255);
    }
    if let Ok(user) = word.parse::<cli::User>() {
        assert!(user.uid != u32::MAX && user.gid != Some(u32::MAX), "-1 is no id");
        assert_eq!(user.to_string().parse(), Ok(user));
    }
    let name = spec::sysctl_name(word);
    assert_eq!(spec::sysctl_name(&name), name);
    let _ = spec::sysctl_owner(&name);
    let _ = spec::is_before_1_3(word);
    let _ = spec::words(word);
    let _ = spec::landlock::parse(word);
    let _ = crate::plan::seccomp::knows_architecture(word);
    if let Some(numbers) = crate::sys::sched::NumberList::parse(word) {
        assert_eq!(crate::sys::sched::NumberList::parse(&numbers.to_string()), Some(numbers), "{word:?}");
    }
}
