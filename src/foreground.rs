//! `run` without `--detach`: stays with the container's init until it ends, passes on signals and the
//! terminal, and reaps orphans.
//!
//! The order of calls: [`become_subreaper`] before the init is made; then [`Signals::block`] (whoever is
//! made later inherits the mask) and [`Relay::new`] (which sets size and modes of the container's terminal);
//! then the user's program is started, then [`supervise`].

use std::os::fd::{AsFd, BorrowedFd};

use crate::error::{Doing, Result};
use crate::notify::Notify;
use crate::sys::process::{self, Child, Exit, Signal, Watch};
use crate::sys::{Errno, Fail, Pid};

pub use crate::relay::{Relay, Stdio};
pub use crate::sys::signals::{Signals, become_subreaper};

/// The container's init, a child of ours.
#[derive(Clone, Copy)]
pub struct Init<'a> {
    pub pid: Pid,
    pub pidfd: BorrowedFd<'a>,
}

/// Who are our children?
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reap {
    /// Only the init is waited for.
    Init,
    /// We are the [subreaper](become_subreaper): whoever ends is waited for.
    All,
}

/// Returns the status of the container's init, 128 + n if signal n killed it, once it has ended and all it
/// wrote to its terminal has been passed on. Every signal that comes through `signals` goes on to the init,
/// but for SIGCHLD, SIGURG, SIGPIPE (ours alone) and SIGWINCH (the terminal's size is passed on instead).
/// A service manager that waits for the program to be ready is told of us: we are the service.
pub fn supervise(
    init: Init<'_>,
    (mut relay, mut notify): (Option<Relay<'_>>, Option<Notify>),
    signals: &Signals,
    reap: Reap,
) -> Result<i32> {
    let doing = || "wait for the container".to_owned();
    let mut watched = Some(init.pidfd);
    let exit = loop {
        let (signalled, ended, told) = step(&mut relay, signals, watched, notify.as_ref())?;
        if let Some(ready) = notify.take_if(|_| told) {
            match ready.is_ready()? {
                true => ready.tell(Pid(std::process::id() as i32), None),
                false => notify = Some(ready),
            }
        }
        if signalled {
            while let Some(signal) = signals.next().doing(doing)? {
                pass_on(signal, init, relay.as_ref())?;
            }
        }
        if signalled || ended {
            if let Some(exit) = reap_children(init, reap).doing(doing)? {
                break exit;
            }
            if ended {
                watched = None; // who is traced ends twice: for us only once the tracer has seen it (SIGCHLD)
            }
        }
    };
    while relay.as_mut().is_some_and(Relay::finish) {
        // Nobody is left to pass a signal on to: it now means us, should the reader of our output be stuck.
        if step(&mut relay, signals, None, None)?.0 && signals.next().doing(doing)?.is_some_and(means_us) {
            break;
        }
    }
    Ok(exit.code())
}

/// Waits until something happens, lets the relay do its part, and says whether a signal has come, whether the init has
/// ended, and whether its program has told something.
fn step(
    relay: &mut Option<Relay<'_>>,
    signals: &Signals,
    init: Option<BorrowedFd<'_>>,
    notify: Option<&Notify>,
) -> Result<(bool, bool, bool)> {
    let nothing = || Watch::new(None, false, false);
    let [keys, master, room] =
        relay.as_ref().map_or_else(|| [nothing(), nothing(), nothing()], Relay::watches);
    let mut watches = [
        Watch::input(Some(signals.as_fd())),
        Watch::input(init),
        Watch::input(notify.map(Notify::as_fd)),
        keys,
        master,
        room,
    ];
    process::poll(&mut watches, None).doing(|| "wait for the container".into())?;
    let [signalled, ended, told, keys, master, room] = watches.map(|watch| watch.ready());
    if let Some(relay) = relay {
        relay.pass_on([keys, master, room]);
    }
    Ok((signalled, ended, told))
}

fn pass_on(signal: Signal, init: Init<'_>, relay: Option<&Relay<'_>>) -> Result<()> {
    match signal.0 {
        libc::SIGWINCH => relay.into_iter().for_each(Relay::resize),
        libc::SIGCHLD | libc::SIGURG | libc::SIGPIPE => {}
        _ => match process::pidfd_send_signal(init.pidfd, signal) {
            Err(Fail { errno: Errno::ESRCH, .. }) => {} // it has ended: the next thing we hear of
            sent => sent.doing(|| format!("pass on {signal} to {}", init.pid))?,
        },
    }
    Ok(())
}

fn means_us(signal: Signal) -> bool {
    matches!(signal.0, libc::SIGTERM | libc::SIGINT | libc::SIGHUP | libc::SIGQUIT)
}

/// How the init ended, if it has; other children are forgotten. ECHILD: somebody else has waited for it.
fn reap_children(init: Init<'_>, reap: Reap) -> std::result::Result<Option<Exit>, Fail> {
    let which = match reap {
        Reap::Init => Child::Pidfd(init.pidfd),
        Reap::All => Child::Any,
    };
    let mut exit = None;
    loop {
        match process::wait(which) {
            Ok(Some((pid, ended))) if pid == init.pid => exit = Some(ended),
            Ok(Some(_)) => {}
            Ok(None) => return Ok(exit),
            Err(Fail { errno: Errno::ECHILD, .. }) if exit.is_some() => return Ok(exit),
            Err(fail) => return Err(fail),
        }
    }
}

#[cfg(test)]
#[path = "foreground_tests.rs"]
mod tests;
