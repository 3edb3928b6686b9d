//! Output that nobody has read when it ended, since who reads, containerd, is just being started anew. A fifo holds it
//! as long as somebody has the fifo open, and who opens one to read waits for a writer (fifo(7)): so it stays open for
//! writing until a reader is there, who then finds what is left and its end, or until the process is deleted.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify};

use super::Shim;
use super::poller::{IN, Token};
use crate::refusal::{Doing, Refusal};
use crate::table::ProcessId;

pub struct Unread {
    process: ProcessId,
    writing: OwnedFd,
    /// Tells when the fifo is opened.
    opened: Inotify,
}

impl Shim {
    /// The end of an output by the two ends of its fifo.
    pub(super) fn end_fifo(&mut self, process: ProcessId, writing: OwnedFd, reading: OwnedFd) {
        let is_empty = !is(PollFlags::POLLIN, reading.as_fd());
        drop(reading);
        if is_empty || has_reader(&writing) || !self.table.processes.contains_key(&process) {
            return;
        }
        if let Err(refusal) = self.keep(process, writing) {
            self.log.error(&refusal.text);
        }
    }

    fn keep(&mut self, process: ProcessId, writing: OwnedFd) -> Result<(), Refusal> {
        let doing = || "wait for a reader of a fifo".to_string();
        let opened = Inotify::init(InitFlags::IN_CLOEXEC | InitFlags::IN_NONBLOCK).doing(doing)?;
        let path = format!("/proc/self/fd/{}", writing.as_raw_fd());
        opened.add_watch(path.as_str(), AddWatchFlags::IN_OPEN).doing(doing)?;
        // Who came before the watch.
        if has_reader(&writing) {
            return Ok(());
        }
        let number = self.number();
        self.poller.add(&opened, Token::Unread(number), IN)?;
        let unread = Unread { process, writing, opened };
        self.unread.insert(number, unread);
        Ok(())
    }

    /// Somebody has opened it, to read or for its path only (O_PATH).
    pub(super) fn fifo_opened(&mut self, number: u64) {
        let Some(unread) = self.unread.get(&number) else {
            return;
        };
        while unread.opened.read_events().is_ok_and(|events| !events.is_empty()) {}
        if has_reader(&unread.writing) {
            self.unread.remove(&number);
        }
    }

    pub(super) fn forget_unread(&mut self, process: ProcessId) {
        self.unread.retain(|_, unread| unread.process != process);
    }
}

/// Whether anybody has a fifo open for reading, of which this is the writing end.
fn has_reader(writing: &OwnedFd) -> bool {
    !is(PollFlags::POLLERR, writing.as_fd())
}

fn is(state: PollFlags, fd: BorrowedFd) -> bool {
    let mut fds = [PollFd::new(fd, state)];
    let polled = poll(&mut fds, PollTimeout::ZERO);
    polled.is_ok() && fds[0].revents().is_some_and(|is| is.contains(state))
}
