//! What goes wrong where nobody asked, for containerd's log: lines into the bundle's fifo `log`, as far as there is
//! room.

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;

pub struct Log(Option<File>);

impl Log {
    /// In the working directory. Without a reader there is no log.
    pub fn open() -> Log {
        let file = OpenOptions::new().write(true).custom_flags(libc::O_NONBLOCK).open("log");
        Log(file.ok())
    }

    pub fn error(&mut self, text: &str) {
        self.line("error", text);
    }

    pub fn info(&mut self, text: &str) {
        self.line("info", text);
    }

    fn line(&mut self, level: &str, text: &str) {
        if let Some(file) = &mut self.0 {
            // As containerd's own shims write it. A full fifo, or one that nobody reads, loses the line.
            let _ = file.write_all(format!("level={level} msg={text:?}\n").as_bytes());
        }
    }
}
