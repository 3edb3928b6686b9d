//! The runtime's command line, which is runc's, and what it says when it fails.

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::Command;

use serde::Deserialize;

use crate::options::Options;
use crate::refusal::{Code, Refusal};
use crate::sys;

/// `BINARY --root ROOT/NAMESPACE --log LOG --log-format json`, to be continued with a command.
pub fn command(options: &Options, namespace: &str, log: &Path) -> Command {
    let mut command = Command::new(options.binary());
    command.arg("--root").arg(options.state(namespace));
    command.arg("--log").arg(log).args(["--log-format", "json"]);
    if options.systemd_cgroup {
        command.arg("--systemd-cgroup");
    }
    command.env_remove("NOTIFY_SOCKET"); // containerd's, not the container's
    sys::bind_to_us(&mut command);
    command
}

/// Runs it, for one who has nothing else to do. Returns what to exit with.
pub fn execute(command: &mut Command, log: &Path) -> i32 {
    let name = command.get_program().to_string_lossy().into_owned();
    match command.status() {
        Ok(status) => status.code().unwrap_or(128 + status.signal().unwrap_or_default()),
        Err(error) => exit_status(Err(not_executable(&name, &error)), log),
    }
}

/// What one exits with who works in the runtime's place. What went wrong goes where the runtime would say it.
pub fn exit_status(result: Result<(), Refusal>, log: &Path) -> i32 {
    let Err(refusal) = result else {
        return 0;
    };
    let line = serde_json::json!({ "level": "error", "msg": refusal.text });
    let log = OpenOptions::new().append(true).create(true).open(log);
    let _ = log.and_then(|mut log| writeln!(log, "{line}")); // nobody else to tell
    1
}

/// What a program that can't even be executed means.
pub fn not_executable(binary: &str, error: &std::io::Error) -> Refusal {
    let code = match error.kind() {
        std::io::ErrorKind::NotFound => Code::NotFound,
        _ => Code::Unknown,
    };
    Refusal::new(code, format!("execute the runtime {binary:?}: {error}"))
}

/// A line of a runtime's log.
#[derive(Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct Line {
    level: String,
    msg: String,
    /// Of rrunc only: what an error is, for programs.
    kind: Option<String>,
}

/// The last error in a log that the runtime wrote.
pub fn last_error(log: &Path) -> Option<Line> {
    let text = fs::read(log).ok()?;
    let lines = text.split(|byte| *byte == b'\n');
    let errors = lines.filter_map(|line| serde_json::from_slice::<Line>(line).ok());
    let mut errors = errors.filter(|line| matches!(line.level.as_str(), "error" | "fatal" | "panic"));
    errors.next_back().filter(|line| !line.msg.is_empty())
}

/// Whether the container isn't there that something was to be done to.
pub fn knows_none(doing: &str, log: &Path) -> bool {
    failure(doing, "", last_error(log), b"").code == Code::NotFound
}

/// A refusal out of what the runtime said in its log, or else on stderr. `doing` is the command.
pub fn failure(doing: &str, status: &str, log: Option<Line>, stderr: &[u8]) -> Refusal {
    let Line { msg, kind, .. } = log.unwrap_or_else(|| Line {
        msg: String::from_utf8_lossy(stderr).trim().to_string(),
        ..Line::default()
    });
    let said = if msg.is_empty() { status } else { &msg };
    let gone = match (doing, kind.as_deref()) {
        // What these don't find is something else.
        ("create" | "exec" | "checkpoint" | "restore", _) => false,
        ("kill", Some("wrong_status")) => true, // it has stopped
        (_, Some(kind)) => kind == "not_found",
        // Others can only be taken at their words, where something depends on it.
        ("kill", None) => {
            let gone =
                ["process already finished", "container not running", "no such process", "does not exist"];
            gone.iter().any(|text| said.contains(text))
        }
        ("delete", None) => said.contains("does not exist"),
        (_, None) => false,
    };
    let code = if gone { Code::NotFound } else { Code::Unknown };
    Refusal::new(code, format!("OCI runtime {doing} failed: {said}"))
}

/// A word that is part of a file's name: exec ids go into those.
pub fn is_identifier(word: &str) -> bool {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-');
    !word.is_empty() && word.len() <= 255 && word.chars().all(plain) && !word.starts_with(['.', '-'])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(msg: &str, kind: Option<&str>) -> Line {
        Line { level: "error".into(), msg: msg.into(), kind: kind.map(str::to_string) }
    }

    #[test]
    fn what_is_gone() {
        let check = |doing, msg, kind, expected| {
            let refusal = failure(doing, "", Some(said(msg, kind)), b"");
            assert_eq!(refusal.code == Code::NotFound, expected, "{doing} {msg} {kind:?}");
        };
        check("delete", "container does not exist", None, true);
        check("delete", "no such process", None, false);
        check("kill", "no such process", None, true);
        check("start", "hook: the bridge does not exist", None, false);
        check("delete", "the cgroup does not exist", Some("kernel"), false);
        check("delete", "gone", Some("not_found"), true);
        check("delete", "it is running", Some("wrong_status"), false);
        check("kill", "stopped", Some("wrong_status"), true);
        check("kill", "no such process", Some("kernel"), false);
        check("start", "gone", Some("not_found"), true);
        check("exec", "gone", Some("not_found"), false);
    }

    /// As rrunc writes it.
    #[test]
    fn the_kind_of_an_error() {
        use rrunc::error::{Error, Kind};
        let log = std::env::temp_dir().join(format!("rrunc-shim-kind-{}", std::process::id()));
        rrunc::log::open(Some(&log), rrunc::log::Format::Json, rrunc::log::Level::Warning).unwrap();
        for (kind, expected) in [(Kind::NotFound, "not_found"), (Kind::WrongStatus, "wrong_status")] {
            rrunc::log::error(&Error::new(kind, "it failed"));
            assert_eq!(last_error(&log), Some(said("it failed", Some(expected))));
        }
        fs::remove_file(&log).unwrap();
    }

    #[test]
    fn what_the_runtime_said() {
        let check = |doing, log: Option<&str>, stderr: &[u8], code, text: &str| {
            let log = log.map(|msg| said(msg, None));
            let refusal = failure(doing, "exit status 1", log, stderr);
            assert_eq!((refusal.code, refusal.text.as_str()), (code, text));
        };
        check("kill", Some("a"), b"b", Code::Unknown, "OCI runtime kill failed: a");
        check("kill", None, b"b\n", Code::Unknown, "OCI runtime kill failed: b");
        check("kill", None, b"", Code::Unknown, "OCI runtime kill failed: exit status 1");
        let gone = "container not running";
        check("kill", Some(gone), b"", Code::NotFound, "OCI runtime kill failed: container not running");
        check("create", Some(gone), b"", Code::Unknown, "OCI runtime create failed: container not running");
    }

    #[test]
    fn the_last_error_of_a_log() {
        let log = std::env::temp_dir().join(format!("rrunc-shim-log-{}", std::process::id()));
        let check = |text: &str, expected: Option<&str>| {
            fs::write(&log, text).unwrap();
            let expected = expected.map(|msg| said(msg, None));
            assert_eq!(last_error(&log), expected, "{text}");
        };
        check("", None);
        check("no json\n", None);
        check("{\"level\":\"warning\",\"msg\":\"w\"}\n", None);
        check(
            "{\"level\":\"error\",\"msg\":\"a\"}\n{\"level\":\"error\",\"msg\":\"b\"}\n{\"level\":\"info\",\"msg\":\"c\"}\n{\"lev",
            Some("b"),
        );
        fs::remove_file(&log).unwrap();
        assert_eq!(last_error(&log), None);
    }

    #[test]
    fn identifiers() {
        let check = |word: &str, expected| assert_eq!(is_identifier(word), expected, "{word:?}");
        check("a-b_c.9", true);
        check("", false);
        check("..", false);
        check("a/b", false);
        check("-x", false);
        check(&"x".repeat(256), false);
    }
}
