//! A request to `criu swrk`, and what it says until the answer comes: one message per packet of a socket.

use std::os::fd::{AsFd, OwnedFd};

use prost::Message;

use super::rpc::{Kind, Notify, Request, Response};
use crate::error::{self, Doing, Error, Result};
use crate::sys::net;

/// Longer than any answer: their strings are names and messages.
const LONGEST: usize = 64 << 10;

pub struct Wire(OwnedFd);

impl Wire {
    pub fn new(socket: OwnedFd) -> Wire {
        Wire(socket)
    }

    /// Sends the request, and waits for the answer. Each notification on the way (criu.org, RPC), with the fd that may
    /// come with it, goes to `notified`: if that fails, criu is told so and undoes what it has done, and the error is
    /// ours. An answer that there was no success is none of ours.
    pub fn ask(
        &self,
        request: &Request,
        notified: &mut dyn FnMut(&Notify, Option<OwnedFd>) -> Result<()>,
    ) -> Result<Response> {
        self.send(request)?;
        let mut failed = None;
        loop {
            let mut bytes = vec![0; LONGEST];
            let (length, fd) = net::receive(self.0.as_fd(), &mut bytes).doing(|| "listen to criu".into())?;
            if length == 0 {
                return Err(failed.unwrap_or_else(|| protocol("it ended without an answer")));
            }
            let response =
                Response::decode(&bytes[..length]).map_err(|error| protocol(&error.to_string()))?;
            let Some(notify) = response.notify.as_ref().filter(|_| response.kind() == Kind::Notify) else {
                return failed.map_or(Ok(response), Err);
            };
            let done = match &failed {
                None => notified(notify, fd),
                Some(_) => Ok(()),
            };
            let success = done.is_ok();
            failed = failed.or(done.err());
            self.send(&Request {
                kind: Kind::Notify as i32,
                notify_success: Some(success),
                ..Request::default()
            })?;
        }
    }

    fn send(&self, request: &Request) -> Result<()> {
        let bytes = request.encode_to_vec();
        net::send(self.0.as_fd(), &bytes, None).doing(|| "speak to criu".into())
    }
}

fn protocol(text: &str) -> Error {
    Error::new(error::Kind::Kernel, format!("criu: {text}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn notification(script: &str) -> Response {
        Response {
            kind: Kind::Notify as i32,
            success: true,
            notify: Some(Notify { script: Some(script.into()), pid: Some(7) }),
            ..Response::default()
        }
    }

    fn answer(success: bool) -> Response {
        Response { kind: Kind::Dump as i32, success, ..Response::default() }
    }

    /// criu says these, whatever it is told; what it was told.
    fn talk(
        says: &[Response],
        mut notified: impl FnMut(&str) -> Result<()>,
    ) -> (Result<Response>, Vec<Option<bool>>) {
        let (ours, theirs) = net::seqpacket_pair().unwrap();
        for response in says {
            net::send(theirs.as_fd(), &response.encode_to_vec(), None).unwrap();
        }
        let request = Request { kind: Kind::Dump as i32, ..Request::default() };
        // Sends before it reads, so that all of this fits into one thread.
        let theirs_reads = theirs.try_clone().unwrap();
        if says.last().is_none_or(|last| last.kind() == Kind::Notify) {
            use std::os::fd::AsRawFd;
            nix::sys::socket::shutdown(theirs.as_raw_fd(), nix::sys::socket::Shutdown::Write).unwrap();
        }
        let asked = Wire::new(ours).ask(&request, &mut |notify, _| notified(notify.script()));
        drop(theirs);
        let mut told = vec![];
        loop {
            let mut bytes = [0; 256];
            match net::receive(theirs_reads.as_fd(), &mut bytes).unwrap() {
                (0, _) => break (asked, told),
                (n, _) => told.push(Request::decode(&bytes[..n]).unwrap().notify_success),
            }
        }
    }

    #[test]
    fn notifications_are_answered_until_the_answer_comes() {
        let mut heard = vec![];
        let says = [notification("pre-dump"), notification("x"), answer(true)];
        let (asked, told) = talk(&says, |script| {
            heard.push(script.to_string());
            Ok(())
        });
        assert!(asked.unwrap().success);
        assert_eq!(heard, ["pre-dump", "x"]);
        assert_eq!(told, [None, Some(true), Some(true)]);
    }

    #[test]
    fn what_fails_here_fails_there() {
        let refuse = |_: &str| Err(Error::new(error::Kind::Kernel, "no"));
        let says = [notification("a"), notification("b"), answer(false)];
        let (asked, told) = talk(&says, refuse);
        assert_eq!(asked.unwrap_err().to_string(), "no");
        assert_eq!(told, [None, Some(false), Some(true)]);
        let (asked, _) = talk(&[answer(false)], refuse);
        assert!(!asked.unwrap().success);
    }

    #[test]
    fn an_end_without_an_answer() {
        let (asked, _) = talk(&[notification("a")], |_| Ok(()));
        assert_eq!(asked.unwrap_err().to_string(), "criu: it ended without an answer");
    }
}
