//! Where the log goes: a file, the journal, or syslog.

use std::ffi::OsStr;
use std::fs::{File, OpenOptions};
use std::io::Write;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::net::UnixDatagram;
use std::path::Path;

use super::{Level, Record, escape};
use crate::error::{Doing, Result};
use crate::sys::{Call, Named};

/// systemd-journald.service(8): its native protocol.
const JOURNAL: &str = "/run/systemd/journal/socket";
/// syslog(3).
const SYSLOG: &str = "/dev/log";
/// LOG_USER of syslog(3).
const FACILITY: u8 = 1 << 3;

pub enum Target {
    File(File),
    Journal(UnixDatagram, String),
    Syslog(UnixDatagram, String),
}

impl Target {
    /// `--log`: `journald:NAME` or `syslog:NAME`, by which the messages are found (`journalctl -t NAME`), or a file
    /// to append to, made with mode 0600; `file:` in front is for one with such a name.
    pub fn open(text: &Path) -> Result<Target> {
        let bytes = text.as_os_str().as_bytes();
        let name = |prefix: &str| {
            let name = bytes.strip_prefix(prefix.as_bytes())?;
            Some(escape(&String::from_utf8_lossy(name)))
        };
        if let Some(name) = name("journald:") {
            return Ok(Target::Journal(connect(JOURNAL, "journald")?, name));
        }
        if let Some(name) = name("syslog:") {
            return Ok(Target::Syslog(connect(SYSLOG, "syslog")?, name));
        }
        let path = Path::new(OsStr::from_bytes(bytes.strip_prefix(b"file:").unwrap_or(bytes)));
        let file = OpenOptions::new().append(true).create(true).mode(0o600).open(path);
        file.call(Call::Openat).doing(|| format!("open the log {}", path.display())).map(Target::File)
    }

    /// One write per record, so that those of several processes don't mix. A log that can't be written is no reason
    /// to fail, and there is nobody to tell.
    pub fn write(&self, level: Level, record: &Record, line: &str) {
        let _ = match self {
            Target::File(file) => (&*file).write_all(line.as_bytes()),
            Target::Journal(socket, name) => {
                socket.send(journal_record(level, name, record).as_bytes()).map(drop)
            }
            Target::Syslog(socket, name) => {
                socket.send(syslog_record(level, name, record).as_bytes()).map(drop)
            }
        };
    }
}

fn connect(path: &str, daemon: &str) -> Result<UnixDatagram> {
    let socket = UnixDatagram::unbound()
        .call(Call::Socket)
        .and_then(|socket| socket.connect(path).call(Call::Connect).map(|()| socket));
    socket
        .doing(|| format!("--log {daemon}: connect to {path}"))
        .map_err(|error| error.hint("it doesn't run here: give --log a file"))
}

/// Fields in lines of their own (systemd.journal-fields(7)).
fn journal_record(level: Level, name: &str, record: &Record) -> String {
    let (priority, message) = (priority(level), escape(&record.msg));
    format!("PRIORITY={priority}\nSYSLOG_IDENTIFIER={name}\nMESSAGE={message}\n")
}

/// RFC 3164, as syslog(3) writes it, without the time: the daemon has a clock too.
fn syslog_record(level: Level, name: &str, record: &Record) -> String {
    let priority = FACILITY | priority(level);
    format!("<{priority}>{name}[{}]: {}", std::process::id(), escape(&record.msg))
}

/// LOG_ERR and so on of syslog(3).
fn priority(level: Level) -> u8 {
    match level {
        Level::Error => 3,
        Level::Warning => 4,
        Level::Info => 6,
        Level::Debug => 7,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record() -> Record {
        Record::new(Level::Warning, "a\nb".into())
    }

    #[test]
    fn records_of_the_daemons() {
        assert_eq!(
            journal_record(Level::Warning, "web", &record()),
            "PRIORITY=4\nSYSLOG_IDENTIFIER=web\nMESSAGE=a\\nb\n"
        );
        let pid = std::process::id();
        assert_eq!(syslog_record(Level::Error, "web", &record()), format!("<11>web[{pid}]: a\\nb"));
    }

    #[test]
    fn a_file_with_and_without_its_prefix() {
        let path = std::env::temp_dir().join(format!("rrunc-log-{}", std::process::id()));
        let plain = Target::open(&path);
        let prefixed = Target::open(Path::new(&format!("file:{}", path.display())));
        for target in [plain, prefixed] {
            target.unwrap().write(Level::Warning, &record(), "line\n");
        }
        let text = std::fs::read_to_string(&path);
        std::fs::remove_file(&path).unwrap();
        assert_eq!(text.unwrap(), "line\nline\n");
    }
}
