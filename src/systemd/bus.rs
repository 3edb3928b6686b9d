//! A connection to systemd: to its own socket, or over a message bus. Where it is, who we are, calls and their answers.

use std::collections::VecDeque;
use std::env;
use std::io::{ErrorKind, Read, Write};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixStream};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use super::Instance;
use super::value::Value;
use super::wire::{self, Message, Target};
use crate::error::{Doing, Error, Kind, Result};
use crate::sys::{Call, Named, ids};

/// How long an answer, or the end of a job, may take: as long as runc waits.
const PATIENCE: Duration = Duration::from_secs(30);

pub struct Bus {
    socket: UnixStream,
    /// Nobody is between us and systemd.
    is_direct: bool,
    serial: u32,
    /// Signals that came while we waited for something else.
    signals: VecDeque<Message>,
}

/// What was answered to a call.
pub enum Answer {
    Values(Vec<Value>),
    /// The name of the error, and its text.
    Error(String, String),
}

/// Where a socket is.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Place {
    Path(PathBuf),
    Abstract(String),
}

/// Where systemd may be found, the first that is there being taken; with each, whether it is systemd itself.
///
/// Its own socket comes first, as for systemctl: no bus has to run, and a message goes one way instead of two.
fn places(instance: Instance, variable: impl Fn(&str) -> Option<String>, uid: u32) -> Vec<(Place, bool)> {
    let path = |path: String| Place::Path(path.into());
    let bus = |name: &str, usual: String| match variable(name).filter(|addresses| !addresses.is_empty()) {
        Some(addresses) => addresses.split(';').filter_map(address).map(|place| (place, false)).collect(),
        None => vec![(path(usual), false)],
    };
    match instance {
        Instance::System => {
            let mut places = vec![(path("/run/systemd/private".into()), true)];
            places.extend(bus("DBUS_SYSTEM_BUS_ADDRESS", "/run/dbus/system_bus_socket".into()));
            places
        }
        Instance::User => {
            let run = variable("XDG_RUNTIME_DIR").filter(|dir| !dir.is_empty());
            let run = run.unwrap_or_else(|| format!("/run/user/{uid}"));
            let mut places = vec![(path(format!("{run}/systemd/private")), true)];
            places.extend(bus("DBUS_SESSION_BUS_ADDRESS", format!("{run}/bus")));
            places
        }
    }
}

/// An address of the D-Bus specification, if it is a Unix socket.
pub(crate) fn address(address: &str) -> Option<Place> {
    let pairs = address.strip_prefix("unix:")?.split(',').filter_map(|pair| pair.split_once('='));
    pairs.into_iter().find_map(|(key, value)| match key {
        "path" => Some(Place::Path(unescape(value)?.into())),
        "abstract" => Some(Place::Abstract(unescape(value)?)),
        _ => None,
    })
}

/// `%2f` and the like ("Server Addresses").
fn unescape(value: &str) -> Option<String> {
    let mut parts = value.split('%');
    let mut bytes = parts.next()?.as_bytes().to_vec();
    for part in parts {
        bytes.push(u8::from_str_radix(part.get(..2)?, 16).ok()?);
        bytes.extend(&part.as_bytes()[2..]);
    }
    String::from_utf8(bytes).ok()
}

/// Our user id outside of our user namespace (user_namespaces(7)): what the directory of a session is named after.
fn outer_uid() -> u32 {
    let own = ids::euid().0;
    let maps = std::fs::read_to_string("/proc/self/uid_map").unwrap_or_default();
    let outside = maps.lines().find_map(|line| {
        let numbers: Vec<u32> = line.split_whitespace().filter_map(|n| n.parse().ok()).collect();
        let [inside, outside, count] = numbers[..] else {
            return None;
        };
        let offset = own.checked_sub(inside).filter(|offset| *offset < count)?;
        outside.checked_add(offset)
    });
    outside.unwrap_or(own)
}

impl Bus {
    pub fn connect(instance: Instance) -> Result<Bus> {
        let places = places(instance, |name| env::var(name).ok(), outer_uid());
        let mut tried = vec![];
        for (place, is_direct) in places {
            let socket = match &place {
                Place::Path(path) => UnixStream::connect(path),
                Place::Abstract(name) => SocketAddr::from_abstract_name(name)
                    .and_then(|address| UnixStream::connect_addr(&address)),
            };
            let socket = match socket {
                Ok(socket) => socket,
                Err(error) => {
                    let name = match &place {
                        Place::Path(path) => path.display().to_string(),
                        Place::Abstract(name) => format!("@{name}"),
                    };
                    tried.push(format!(
                        "{name}: {}",
                        crate::sys::Errno::from_raw(error.raw_os_error().unwrap_or(0)).desc()
                    ));
                    continue;
                }
            };
            let mut bus = Bus { socket, is_direct, serial: 0, signals: VecDeque::new() };
            bus.authenticate().map_err(|error| error.context(format!("connect to {instance}")))?;
            return Ok(bus);
        }
        let text = format!("no way to {instance} ({})", tried.join("; "));
        Err(Error::new(Kind::Unsupported, text).hint(match instance {
            Instance::System => "the systemd cgroup manager needs systemd as pid 1, and its /run/systemd or /run/dbus to be seen from here; --cgroup-manager cgroupfs does without",
            Instance::User => "log in, or as root: loginctl enable-linger USER; then set XDG_RUNTIME_DIR=/run/user/UID; --cgroup-manager cgroupfs does without",
        }))
    }

    /// EXTERNAL, and without saying who: the other end asks the kernel, which also knows who we are there if we are in a
    /// user namespace. All of it in one go, since there is nothing to choose.
    fn authenticate(&mut self) -> Result<()> {
        let doing = || "authenticate".to_string();
        self.send(b"\0AUTH EXTERNAL\r\nDATA\r\nBEGIN\r\n")?;
        let deadline = Instant::now() + PATIENCE;
        for expected in ["DATA", "OK "] {
            let mut line = vec![];
            while !line.ends_with(b"\r\n") {
                let mut byte = [0];
                self.receive(&mut byte, deadline)?;
                line.push(byte[0]);
                if line.len() > 1024 {
                    return Err(Error::new(Kind::Kernel, "what answers is no D-Bus").context(doing()));
                }
            }
            if !line.starts_with(expected.as_bytes()) {
                let line = String::from_utf8_lossy(&line);
                return Err(
                    Error::new(Kind::Kernel, format!("refused: {:?}", line.trim_end())).context(doing())
                );
            }
        }
        if self.is_direct {
            return Ok(());
        }
        // A bus wants to be greeted, and to know which signals we are to get.
        let rule = "type='signal',interface='org.freedesktop.systemd1.Manager',member='JobRemoved'";
        for (member, arguments) in [("Hello", vec![]), ("AddMatch", vec![Value::text(rule)])] {
            let target = Target {
                destination: Some("org.freedesktop.DBus"),
                path: "/org/freedesktop/DBus",
                interface: "org.freedesktop.DBus",
                member,
            };
            if let Answer::Error(name, text) = self.call_on(target, &arguments)? {
                return Err(Error::new(Kind::Kernel, format!("{member}: {text} ({name})")));
            }
        }
        Ok(())
    }

    /// A method of systemd's object at `path`.
    pub fn call(&mut self, path: &str, interface: &str, member: &str, arguments: &[Value]) -> Result<Answer> {
        let destination = (!self.is_direct).then_some("org.freedesktop.systemd1");
        self.call_on(Target { destination, path, interface, member }, arguments)
    }

    fn call_on(&mut self, target: Target, arguments: &[Value]) -> Result<Answer> {
        self.serial += 1;
        let serial = self.serial;
        self.send(&wire::call(serial, target, arguments))?;
        let deadline = Instant::now() + PATIENCE;
        loop {
            let message = self.next(deadline).map_err(|error| error.context(target.member))?;
            match message.kind {
                wire::RETURN if message.reply_to == serial => return Ok(Answer::Values(message.values())),
                wire::ERROR if message.reply_to == serial => {
                    let text = match message.values().into_iter().next() {
                        Some(Value::Text(text)) => text,
                        _ => String::new(),
                    };
                    return Ok(Answer::Error(message.error, text));
                }
                wire::SIGNAL => self.signals.push_back(message),
                _ => {}
            }
        }
    }

    /// The body of the first signal `member` that is `wanted`, come or to come.
    pub fn signal(&mut self, member: &str, wanted: impl Fn(&[Value]) -> bool) -> Result<Vec<Value>> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let message = match self.signals.pop_front() {
                Some(message) => message,
                None => self.next(deadline)?,
            };
            if message.kind == wire::SIGNAL && message.member == member {
                let values = message.values();
                if wanted(&values) {
                    return Ok(values);
                }
            }
        }
    }

    fn next(&mut self, deadline: Instant) -> Result<Message> {
        let broken = || Error::new(Kind::Kernel, "systemd sent what is no message of D-Bus");
        let mut fixed = [0; wire::FIXED];
        self.receive(&mut fixed, deadline)?;
        let length = wire::length(&fixed).ok_or_else(broken)?;
        let mut bytes = fixed.to_vec();
        bytes.resize(length, 0);
        self.receive(&mut bytes[wire::FIXED..], deadline)?;
        wire::parse(&bytes).ok_or_else(broken)
    }

    fn send(&mut self, bytes: &[u8]) -> Result<()> {
        let limit = self.socket.set_write_timeout(Some(PATIENCE));
        limit.and_then(|()| self.socket.write_all(bytes)).call(Call::Write).doing(|| "send to systemd".into())
    }

    fn receive(&mut self, mut buffer: &mut [u8], deadline: Instant) -> Result<()> {
        let late = || {
            let seconds = PATIENCE.as_secs();
            let error = Error::new(Kind::Kernel, format!("systemd doesn't answer within {seconds} s"));
            error.hint("systemctl status and journalctl -b tell what it is busy with")
        };
        while !buffer.is_empty() {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(late());
            }
            let read = self.socket.set_read_timeout(Some(left)).and_then(|()| self.socket.read(buffer));
            match read {
                Ok(0) => return Err(Error::new(Kind::Kernel, "systemd closed the connection")),
                Ok(n) => buffer = &mut buffer[n..],
                Err(error) if matches!(error.kind(), ErrorKind::Interrupted | ErrorKind::WouldBlock) => {}
                Err(error) => return Err(error).call(Call::Read).doing(|| "receive from systemd".into()),
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses() {
        let check = |text: &str, expected| assert_eq!(address(text), expected, "{text}");
        check("unix:path=/run/bus", Some(Place::Path("/run/bus".into())));
        check("unix:path=/a%20b,guid=12", Some(Place::Path("/a b".into())));
        check("unix:abstract=/tmp/x", Some(Place::Abstract("/tmp/x".into())));
        check("tcp:host=localhost", None);
        check("unix:path=/a%2", None);
        check("", None);
    }

    #[test]
    fn where_systemd_is() {
        let check = |instance, variables: &[(&str, &str)], expected: &[(&str, bool)]| {
            let variable = |name: &str| {
                let found = variables.iter().find(|(known, _)| *known == name);
                found.map(|(_, value)| value.to_string())
            };
            let expected: Vec<_> =
                expected.iter().map(|(path, direct)| (Place::Path(path.into()), *direct)).collect();
            assert_eq!(places(instance, variable, 7), expected);
        };
        let private = ("/run/systemd/private", true);
        check(Instance::System, &[], &[private, ("/run/dbus/system_bus_socket", false)]);
        let given = ("DBUS_SYSTEM_BUS_ADDRESS", "unix:path=/a;tcp:x;unix:path=/b");
        check(Instance::System, &[given], &[private, ("/a", false), ("/b", false)]);
        check(Instance::User, &[], &[("/run/user/7/systemd/private", true), ("/run/user/7/bus", false)]);
        check(
            Instance::User,
            &[("XDG_RUNTIME_DIR", "/x"), ("DBUS_SESSION_BUS_ADDRESS", "unix:path=/y")],
            &[("/x/systemd/private", true), ("/y", false)],
        );
    }
}
