//! Pause and Resume.

use crate::order::Order;
use crate::proto::task::IdRequest;
use crate::refusal::Refusal;
use crate::serve::Shim;
use crate::serve::connection::ReplyTo;
use crate::serve::live::{Flight, Purpose};
use crate::serve::requests::{Answer, LATER};
use crate::table::life::Event;

impl Shim {
    pub fn pause(&mut self, request: IdRequest, reply: ReplyTo) -> Answer {
        self.suspend(&request.id, Event::Pause, (Purpose::Pause, Order::Pause), reply)
    }

    pub fn resume(&mut self, request: IdRequest, reply: ReplyTo) -> Answer {
        self.suspend(&request.id, Event::Resume, (Purpose::Resume, Order::Resume), reply)
    }

    fn suspend(
        &mut self,
        container: &str,
        event: Event,
        (purpose, order): (Purpose, Order),
        reply: ReplyTo,
    ) -> Answer {
        let (id, _) = self.table.find(container, "")?;
        self.table.may(id, event)?;
        self.command(id, purpose, order, Some(reply))?;
        self.table.apply(id, event)?;
        LATER
    }

    pub fn suspended(&mut self, flight: &Flight, result: Result<Vec<u8>, Refusal>) {
        let event = match (flight.purpose, &result) {
            (Purpose::Pause, Ok(_)) => Event::Paused,
            (Purpose::Pause, Err(_)) => Event::PauseFailed,
            (_, Ok(_)) => Event::Resumed,
            (_, Err(_)) => Event::ResumeFailed,
        };
        self.happened(flight.process, event);
        self.reply_empty(flight.reply, result.map(drop));
    }
}
