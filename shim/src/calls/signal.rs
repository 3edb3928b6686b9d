//! Kill, and what else reaches a process from outside: the size of its terminal, the end of its stdin.

use std::os::fd::AsFd;

use rrunc::sys::process::{Signal, pidfd_send_signal};
use rrunc::sys::tty::set_window_size;

use crate::order::Order;
use crate::proto::Empty;
use crate::proto::task::{CloseIoRequest, KillRequest, ResizePtyRequest};
use crate::refusal::{Doing, Refusal};
use crate::serve::Shim;
use crate::serve::connection::ReplyTo;
use crate::serve::live::Purpose;
use crate::serve::requests::{Answer, LATER, done};
use crate::table::life::{Event, Kind};

impl Shim {
    pub fn kill(&mut self, request: KillRequest, reply: ReplyTo) -> Answer {
        let (id, process) = self.table.find(&request.id, &request.exec_id)?;
        self.table.may(id, Event::Signal)?;
        let finished = || Refusal::not_found(format!("{}: process already finished", process.name()));
        match process.kind {
            Kind::Init => {
                let KillRequest { signal, all, .. } = request;
                self.command(id, Purpose::Kill, Order::Kill { signal, all }, Some(reply))?;
                LATER
            }
            Kind::Exec => {
                let pidfd = self.live.get(&id).and_then(|live| live.pidfd.as_ref()).ok_or_else(finished)?;
                match pidfd_send_signal(pidfd.as_fd(), Signal(request.signal as i32)) {
                    Err(fail) if fail.errno == rrunc::sys::Errno::ESRCH => Err(finished()),
                    sent => {
                        sent.doing(|| format!("{}: signal {}", process.name(), request.signal))?;
                        done(&Empty {})
                    }
                }
            }
        }
    }

    pub fn resize_pty(&mut self, request: ResizePtyRequest) -> Answer {
        let (id, process) = self.table.find(&request.id, &request.exec_id)?;
        // Without a terminal there is nothing to do, and no harm.
        if let Some(terminal) = self.live.get(&id).and_then(|live| live.terminal.as_ref()) {
            let cells = |number: u32| number.min(u32::from(u16::MAX)) as u16;
            set_window_size(terminal.master.as_fd(), cells(request.height), cells(request.width))
                .doing(|| format!("{}: resize the terminal", process.name()))?;
        }
        done(&Empty {})
    }

    pub fn close_io(&mut self, request: CloseIoRequest) -> Answer {
        let (id, _) = self.table.find(&request.id, &request.exec_id)?;
        if !request.stdin {
            return done(&Empty {});
        }
        // An exec that has not been started has no streams yet.
        if let Some(process) = self.table.processes.get_mut(&id) {
            process.stdin_closed = true;
        }
        if let Some(live) = self.live.get_mut(&id) {
            // What clients have written is still passed on; the process sees the end when they have closed it too.
            live.stdin = None;
            if let Some(plumbing) = &mut live.plumbing {
                plumbing.stdin = None;
            }
        }
        done(&Empty {})
    }
}
