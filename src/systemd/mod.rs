//! systemd's manager over D-Bus (org.freedesktop.systemd1(5)): transient scopes are started, changed and stopped. What
//! they are for, and which properties they get, is not decided here.
//!
//! An own client of D-Bus, since all that is needed of it is to write a call, to read an answer and to wait for a signal.
//! It costs nothing where systemd isn't asked, has no thread, and waits no longer than it is told.

pub(crate) mod bus;
mod holder;
pub mod value;
pub(crate) mod wire;

use std::fmt;

pub use holder::Holder;
pub use value::Value;

use crate::error::{Error, Kind, Result};
use crate::sys::Pid;
use bus::{Answer, Bus};

/// Which systemd: the one that is pid 1, or that of the user.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Instance {
    #[default]
    System,
    User,
}

impl fmt::Display for Instance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Instance::System => "systemd",
            Instance::User => "the user's systemd",
        })
    }
}

/// Names and values, as systemd takes them: a list is added to by each that comes, and emptied by an empty one.
pub type Properties = Vec<(String, Value)>;

pub struct Manager {
    bus: Bus,
    instance: Instance,
}

const PATH: &str = "/org/freedesktop/systemd1";
const INTERFACE: &str = "org.freedesktop.systemd1.Manager";
const NO_SUCH_UNIT: &str = "org.freedesktop.systemd1.NoSuchUnit";
const EXISTS: &str = "org.freedesktop.systemd1.UnitExists";

impl Manager {
    /// Kind `Unsupported` if there is none.
    pub fn connect(instance: Instance) -> Result<Manager> {
        Ok(Manager { bus: Bus::connect(instance)?, instance })
    }

    /// Makes a scope around the process, and returns when that is in it. What a scope of this name has left behind when
    /// it failed is cleared away. Kind `Exists` if there is one that has processes.
    pub fn start_scope(&mut self, unit: &str, pid: Pid, properties: &Properties) -> Result<()> {
        let pids = Value::Array("u".into(), vec![Value::U32(pid.0.unsigned_abs())]);
        let mut all = vec![property("PIDs", pids)];
        all.extend(properties.iter().map(|(name, value)| property(name, value.clone())));
        let arguments = [
            Value::text(unit),
            Value::text("fail"),
            Value::Array("(sv)".into(), all),
            Value::Array("(sa(sv))".into(), vec![]),
        ];
        let doing = format!("have {} make {unit}", self.instance);
        let mut answer = self.call("StartTransientUnit", &arguments)?;
        if matches!(&answer, Answer::Error(name, _) if name == EXISTS) {
            self.reset_failed(unit)?;
            answer = self.call("StartTransientUnit", &arguments)?;
        }
        match answer {
            Answer::Values(values) => {
                let result = self.job(&values).map_err(|error| error.context(&*doing))?;
                match result.as_str() {
                    "done" => Ok(()),
                    result => Err(Error::new(Kind::Kernel, format!("the job ended as {result:?}"))
                        .context(doing)
                        .hint(format!("journalctl -u {unit} tells more"))),
                }
            }
            Answer::Error(name, text) if name == EXISTS => {
                Err(Error::new(Kind::Exists, text).context(doing).hint(format!(
                    "systemctl stop {unit}, if nobody needs it; or choose another linux.cgroupsPath"
                )))
            }
            Answer::Error(name, text) => Err(refused(&name, &text).context(doing)),
        }
    }

    /// Moves a process into the cgroup `below`, "/" or further down, of a scope that is there: also out of a cgroup from
    /// which we may not. Of users' systemds the system's does it, if the process and the scope are theirs.
    pub fn attach(&mut self, unit: &str, below: &str, pid: Pid) -> Result<()> {
        let pids = Value::Array("u".into(), vec![Value::U32(pid.0.unsigned_abs())]);
        let arguments = [Value::text(unit), Value::text(below), pids];
        match self.call("AttachProcessesToUnit", &arguments)? {
            Answer::Values(_) => Ok(()),
            Answer::Error(name, text) => {
                let doing = format!("have {} move a process into {unit}, {below}", self.instance);
                Err(refused(&name, &text).context(doing))
            }
        }
    }

    /// Ends the scope and all that runs in it, and returns when it is gone; one that isn't there is fine.
    pub fn stop(&mut self, unit: &str) -> Result<()> {
        let doing = format!("have {} stop {unit}", self.instance);
        match self.call("StopUnit", &[Value::text(unit), Value::text("replace")])? {
            Answer::Values(values) => {
                self.job(&values).map_err(|error| error.context(doing))?;
                self.reset_failed(unit)
            }
            Answer::Error(name, _) if name == NO_SUCH_UNIT => Ok(()),
            Answer::Error(name, text) => Err(refused(&name, &text).context(doing)),
        }
    }

    /// Changes a scope that is there, until the next boot.
    pub fn set_properties(&mut self, unit: &str, properties: &Properties) -> Result<()> {
        let all = properties.iter().map(|(name, value)| property(name, value.clone()));
        let arguments = [Value::text(unit), Value::Bool(true), Value::Array("(sv)".into(), all.collect())];
        match self.call("SetUnitProperties", &arguments)? {
            Answer::Values(_) => Ok(()),
            Answer::Error(name, text) => {
                Err(refused(&name, &text).context(format!("have {} change {unit}", self.instance)))
            }
        }
    }

    /// systemd's version, the first number of it; 0 if it doesn't say.
    pub fn version(&mut self) -> Result<u32> {
        let interface = "org.freedesktop.DBus.Properties";
        let answer =
            self.bus.call(PATH, interface, "Get", &[Value::text(INTERFACE), Value::text("Version")])?;
        Ok(match answer {
            Answer::Values(values) => match values.first() {
                Some(Value::Text(version)) => number(version),
                _ => 0,
            },
            Answer::Error(..) => 0,
        })
    }

    /// What it remembers of a unit that failed; nothing is fine too.
    fn reset_failed(&mut self, unit: &str) -> Result<()> {
        self.call("ResetFailedUnit", &[Value::text(unit)]).map(drop)
    }

    fn call(&mut self, member: &str, arguments: &[Value]) -> Result<Answer> {
        self.bus.call(PATH, INTERFACE, member, arguments)
    }

    /// Waits for the end of the job that was the answer: how it ended.
    fn job(&mut self, answer: &[Value]) -> Result<String> {
        let Some(Value::Path(job)) = answer.first() else {
            return Err(Error::new(Kind::Kernel, "systemd named no job"));
        };
        // JobRemoved(id, job, unit, result)
        let ended = |values: &[Value]| matches!(values, [_, Value::Path(path), ..] if path == job);
        match &self.bus.signal("JobRemoved", ended)?[..] {
            [_, _, _, Value::Text(result)] => Ok(result.clone()),
            _ => Err(Error::new(Kind::Kernel, "systemd told no result of the job")),
        }
    }
}

fn property(name: &str, value: Value) -> Value {
    Value::Struct(vec![Value::text(name), Value::Variant(Box::new(value))])
}

fn refused(name: &str, text: &str) -> Error {
    let error = Error::new(Kind::Kernel, format!("{text} ({name})"));
    match name {
        "org.freedesktop.DBus.Error.AccessDenied"
        | "org.freedesktop.DBus.Error.InteractiveAuthorizationRequired" => {
            error.hint("only root may ask the system's systemd; a user has one of his own")
        }
        "org.freedesktop.DBus.Error.ServiceUnknown" | "org.freedesktop.DBus.Error.NameHasNoOwner" => {
            error.hint("the message bus runs, but no systemd is on it")
        }
        "org.freedesktop.DBus.Error.PropertyReadOnly" | "org.freedesktop.DBus.Error.InvalidSignature" => {
            error.hint("see the annotations org.systemd.property.*: systemctl show -p NAME tells if it has such a property")
        }
        _ => error,
    }
}

/// `257` of `257.9-1~deb13u1`, `255` of `v255`.
fn number(version: &str) -> u32 {
    let digits = version.trim_start_matches('v');
    let end = digits.find(|c: char| !c.is_ascii_digit()).unwrap_or(digits.len());
    digits[..end].parse().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions() {
        let check = |text, expected| assert_eq!(number(text), expected, "{text}");
        check("257.9-1~deb13u1", 257);
        check("v255", 255);
        check("244 (v244)", 244);
        check("", 0);
    }
}
