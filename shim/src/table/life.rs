//! The life of one process: states × events, complete and pure. What the loop does about an outcome stands in
//! `calls` and `exits`; whether something may happen at all is decided here alone.

use serde::{Deserialize, Serialize};

use crate::refusal::Code;

/// Which process of a container.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Kind {
    /// The one that `Create` makes and that the container lives with.
    Init,
    /// One that `Exec` adds.
    Exec,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum State {
    /// The runtime is making it.
    Creating,
    /// Init waits for its start; of an exec nothing is there yet.
    Created,
    /// Of an init that a checkpoint has saved nothing is there yet.
    Stored,
    /// The runtime is making it anew from what was saved.
    Restoring,
    /// The runtime is starting it.
    Starting,
    /// It has ended while the runtime was starting it: told after the start has been told.
    Ended,
    Running,
    /// The runtime is pausing it.
    Pausing,
    Paused,
    /// The runtime is resuming it.
    Resuming,
    /// Created, never started, and killed since it is to be deleted.
    Doomed,
    Stopped,
    /// What it leaves is being removed.
    Deleting,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    // What the runtime answers.
    Created,
    /// Nobody had to be asked: it is to be restored.
    Stored,
    Started,
    StartFailed,
    Paused,
    PauseFailed,
    Resumed,
    ResumeFailed,
    DeleteFailed,
    /// What the kernel tells: the process has ended.
    Exit,
    // What a client asks for.
    Start,
    Pause,
    Resume,
    Delete,
    Signal,
    /// Another process in the container whose init this is.
    Enter,
    Checkpoint,
}

/// What containerd and those who wait are told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum News {
    Nothing,
    Created,
    Started,
    Exited,
    StartedAndExited,
    Paused,
    Resumed,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    To(State, News),
    /// A client may not ask for that now.
    Refuse(Code, &'static str),
    /// Nobody can cause this; if it comes nevertheless, nothing changes.
    Never,
}

/// The table.
pub fn next(kind: Kind, state: State, event: Event) -> Outcome {
    use Event as E;
    use State as S;
    let to = |state| Outcome::To(state, News::Nothing);
    let refuse = |text| Outcome::Refuse(Code::FailedPrecondition, text);
    match (state, event) {
        (S::Creating, E::Created) => Outcome::To(S::Created, News::Created),
        (S::Creating, E::Stored) => Outcome::To(S::Stored, News::Created),
        (S::Creating, E::Start | E::Pause | E::Resume | E::Delete | E::Signal | E::Enter | E::Checkpoint) => {
            refuse("is still being created")
        }

        (S::Stored, E::Start) => to(S::Restoring),
        (S::Stored, E::Delete) => to(S::Deleting),
        (S::Stored, E::Pause | E::Resume | E::Signal | E::Enter | E::Checkpoint) => {
            refuse("has not been started")
        }

        (S::Restoring, E::Started) => Outcome::To(S::Running, News::Started),
        (S::Restoring, E::StartFailed) => to(S::Stopped),
        (S::Restoring, E::Start) => refuse("is being started already"),
        (S::Restoring, E::Delete | E::Pause | E::Resume | E::Signal | E::Enter | E::Checkpoint) => {
            refuse("is still being started")
        }

        (S::Created, E::Start) => to(S::Starting),
        (S::Created, E::Exit) if kind == Kind::Init => Outcome::To(S::Stopped, News::Exited),
        (S::Created, E::Delete) if kind == Kind::Init => to(S::Doomed),
        (S::Created, E::Delete) => to(S::Deleting),
        (S::Created, E::Signal) if kind == Kind::Exec => refuse("has not been started"),
        (S::Created, E::Signal | E::Enter) => to(S::Created),
        (S::Created, E::Pause | E::Resume | E::Checkpoint) => refuse("has not been started"),

        (S::Starting, E::Started) => Outcome::To(S::Running, News::Started),
        // The init is still there, waiting, or its end is about to be seen.
        (S::Starting, E::StartFailed) if kind == Kind::Init => to(S::Created),
        (S::Starting, E::StartFailed) => to(S::Stopped),
        (S::Starting, E::Exit) => to(S::Ended),
        (S::Starting, E::Signal) if kind == Kind::Init => to(S::Starting),
        (S::Starting, E::Signal) => refuse("is still being started"),
        (S::Starting, E::Enter) => to(S::Starting),
        (S::Starting | S::Ended, E::Start) => refuse("is being started already"),
        (S::Starting | S::Ended, E::Delete | E::Pause | E::Resume | E::Checkpoint) => {
            refuse("is still being started")
        }

        (S::Ended, E::Started) => Outcome::To(S::Stopped, News::StartedAndExited),
        (S::Ended, E::StartFailed) => Outcome::To(S::Stopped, News::Exited),
        (S::Ended, E::Signal) => Outcome::Refuse(Code::NotFound, "process already finished"),
        (S::Ended, E::Enter) => refuse("has stopped"),

        (S::Running, E::Exit) => Outcome::To(S::Stopped, News::Exited),
        (S::Running, E::Pause) => to(S::Pausing),
        (S::Running, E::Signal | E::Enter) => to(S::Running),
        // Clients pause a container to checkpoint it, since they save its files too.
        (S::Running | S::Paused, E::Checkpoint) => to(state),
        (S::Running, E::Start) => refuse("has been started already"),
        (S::Running, E::Resume) => refuse("is not paused"),
        (S::Running, E::Delete) => refuse("cannot be deleted: it is running"),

        (S::Pausing, E::Paused) => Outcome::To(S::Paused, News::Paused),
        (S::Pausing, E::PauseFailed) => to(S::Running),
        (S::Pausing | S::Paused | S::Resuming, E::Exit) => Outcome::To(S::Stopped, News::Exited),
        (S::Pausing | S::Paused | S::Resuming, E::Signal) => to(state),
        (S::Pausing, E::Pause | E::Resume | E::Enter | E::Checkpoint) => refuse("is being paused"),
        (S::Paused, E::Resume) => to(S::Resuming),
        (S::Paused, E::Pause) => refuse("is paused already"),
        (S::Paused, E::Enter) => refuse("is paused"),
        (S::Resuming, E::Resumed) => Outcome::To(S::Running, News::Resumed),
        (S::Resuming, E::ResumeFailed) => to(S::Paused),
        (S::Resuming, E::Pause | E::Resume | E::Enter | E::Checkpoint) => refuse("is being resumed"),
        (S::Pausing | S::Paused | S::Resuming, E::Start) => refuse("has been started already"),
        (S::Pausing | S::Paused | S::Resuming, E::Delete) => refuse("cannot be deleted: it is paused"),

        (S::Doomed, E::Exit) => Outcome::To(S::Stopped, News::Exited),
        (S::Doomed | S::Deleting, E::Delete) => to(state),
        (S::Doomed | S::Deleting, E::Start | E::Pause | E::Resume | E::Enter | E::Checkpoint) => {
            refuse("is being deleted")
        }
        (S::Doomed | S::Deleting, E::Signal) => Outcome::Refuse(Code::NotFound, "process already finished"),

        // A pause or start that was under way when the process ended.
        (S::Stopped, E::Paused | E::PauseFailed | E::Resumed | E::ResumeFailed) => to(S::Stopped),
        (S::Stopped, E::Delete) => to(S::Deleting),
        (S::Stopped, E::Signal) => Outcome::Refuse(Code::NotFound, "process already finished"),
        (S::Stopped, E::Start | E::Pause | E::Resume | E::Enter | E::Checkpoint) => refuse("has stopped"),

        (S::Deleting, E::DeleteFailed) => to(S::Stopped),
        // The runtime's last answer to a container that was being paused when it ended.
        (S::Deleting, E::Paused | E::PauseFailed | E::Resumed | E::ResumeFailed) => to(S::Deleting),

        (_, E::Created | E::Stored | E::Started | E::StartFailed) => Outcome::Never,
        (_, E::Paused | E::PauseFailed) => Outcome::Never,
        (_, E::Resumed | E::ResumeFailed | E::DeleteFailed | E::Exit) => Outcome::Never,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fmt::Write;

    const STATES: [State; 13] = [
        State::Creating,
        State::Created,
        State::Stored,
        State::Restoring,
        State::Starting,
        State::Ended,
        State::Running,
        State::Pausing,
        State::Paused,
        State::Resuming,
        State::Doomed,
        State::Stopped,
        State::Deleting,
    ];
    const EVENTS: [Event; 17] = [
        Event::Created,
        Event::Stored,
        Event::Started,
        Event::StartFailed,
        Event::Paused,
        Event::PauseFailed,
        Event::Resumed,
        Event::ResumeFailed,
        Event::DeleteFailed,
        Event::Exit,
        Event::Start,
        Event::Pause,
        Event::Resume,
        Event::Delete,
        Event::Signal,
        Event::Enter,
        Event::Checkpoint,
    ];

    /// The whole table as text, so that a change of it is read as one. `UPDATE=1` writes it anew.
    #[test]
    fn the_whole_table() {
        let mut text = String::new();
        for kind in [Kind::Init, Kind::Exec] {
            for state in STATES {
                for event in EVENTS {
                    let outcome = match next(kind, state, event) {
                        Outcome::To(state, News::Nothing) => format!("-> {state:?}"),
                        Outcome::To(state, news) => format!("-> {state:?}, tells {news:?}"),
                        Outcome::Refuse(code, why) => format!("{code:?}: {why}"),
                        Outcome::Never => continue,
                    };
                    writeln!(text, "{kind:?} {state:?} {event:?}: {outcome}").unwrap();
                }
            }
        }
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/src/table/life.txt");
        if std::env::var_os("UPDATE").is_some() {
            std::fs::write(path, &text).unwrap();
        }
        assert_eq!(text, std::fs::read_to_string(path).unwrap());
    }

    /// Whatever happens in whatever order: a start is told at most once, an exit exactly once and after it, and
    /// nobody comes back from the dead.
    #[test]
    fn every_path_of_eight_events() {
        fn walk(kind: Kind, state: State, started: bool, exited: bool, left: u32) {
            for event in EVENTS {
                let Outcome::To(state, news) = next(kind, state, event) else {
                    continue;
                };
                let (mut started, mut exited) = (started, exited);
                if matches!(news, News::Started | News::StartedAndExited) {
                    assert!(!started && !exited, "{kind:?} {state:?} {event:?}");
                    started = true;
                }
                if matches!(news, News::Exited | News::StartedAndExited) {
                    assert!(!exited, "{kind:?} {state:?} {event:?}");
                    exited = true;
                }
                let over = matches!(state, State::Stopped | State::Deleting);
                assert!(!exited || over, "{kind:?} {state:?} {event:?}");
                if left > 0 {
                    walk(kind, state, started, exited, left - 1);
                }
            }
        }
        walk(Kind::Init, State::Creating, false, false, 7);
        walk(Kind::Exec, State::Created, false, false, 7);
    }
}
