//! What the kernel, systemd and the container's image say.

use std::os::unix::ffi::OsStrExt;

use crate::cgroup::{self, stats};
use crate::criu::mounts;
use crate::init::passwd::Entry;
use crate::netdev::{message, network};
use crate::sys::Uid;
use crate::systemd::{Value, bus, wire};
use crate::{notify, ops, rdt};

/// Messages from systemd.
pub fn dbus(data: &[u8]) {
    if let Some(fixed) = data.first_chunk() {
        let _ = wire::length(fixed);
    }
    if let Some(message) = wire::parse(data) {
        assert!(message.values().len() <= 255);
    }
    let _ = bus::address(&String::from_utf8_lossy(data));
}

/// Annotations org.systemd.property.*, as a person writes values.
pub fn dbus_value(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    if let Ok(value) = Value::parse(&text) {
        is_well_formed(&value);
        assert_eq!(Value::parse(&text).as_ref().map(Value::signature), Ok(value.signature()));
    }
}

/// A call with it is a message that can be read again.
pub fn is_well_formed(value: &Value) {
    let target = wire::Target { destination: None, path: "/a", interface: "b.c", member: "D" };
    let bytes = wire::call(7, target, std::slice::from_ref(value));
    let fixed = bytes.first_chunk().expect("a header");
    assert_eq!(wire::length(fixed), Some(bytes.len()));
    let message = wire::parse(&bytes).expect("a message");
    assert_eq!(message.member, "D");
    assert!(value.signature().len() <= 255, "the length of a signature is one byte");
    let is_basic = !matches!(value, Value::Array(..) | Value::Struct(_) | Value::Variant(_));
    if is_basic {
        assert_eq!(format!("{:?}", message.values()), format!("{:?}", [value]));
    }
}

/// Datagrams of rtnetlink(7).
pub fn netlink(data: &[u8]) {
    let mut length = 0;
    for received in message::messages(data) {
        length += received.body.len();
        for (_, value) in message::attributes(received.body, 8) {
            assert!(value.len() <= received.body.len());
        }
        for index in [1, 2] {
            let _ = network::address(received.body, index);
        }
    }
    assert!(length <= data.len());
}

/// proc_pid_mountinfo(5): a path of any bytes is found again as it is, and the rest of a line is anybody's.
pub fn mountinfo(data: &[u8]) {
    for line in data.split(|byte| *byte == b'\n') {
        let _ = mounts::mount(line);
    }
    let text = String::from_utf8_lossy(data);
    for line in text.lines() {
        let _ = cgroup::hierarchy::mount_point(line, "cgroup", Some("cpu"));
        let _ = cgroup::hierarchy::mount_point(line, "cgroup2", None);
    }
    let _ = rdt::find(&text);
    let Ok(point) = std::str::from_utf8(data) else { return };
    if point.is_empty() || point.contains('\0') {
        return;
    }
    let mut escaped = String::new();
    for c in point.chars() {
        match c {
            ' ' | '\t' | '\n' | '\\' => escaped += &format!("\\{:03o}", c as u32),
            c => escaped.push(c),
        }
    }
    let line = format!("36 35 98:0 / {escaped} rw,nosuid shared:1 - tmpfs tmpfs rw");
    let found = mounts::mount(line.as_bytes()).expect("a line as the kernel writes it");
    assert_eq!((found.point.as_str(), found.options.as_str()), (point, "rw,nosuid"));
}

/// The image's /etc/passwd, the host's, and what a service manager and its services say.
pub fn passwd(data: &[u8]) {
    for uid in [0, 5, 1000, u32::MAX] {
        let mut entry = Entry::new(Uid(uid));
        let is_found = data.iter().chain(b"\n").any(|byte| entry.take(*byte));
        if let Some(home) = entry.home().filter(|_| is_found) {
            assert!(home.starts_with(b"/") && !home.contains(&b':') && !home.contains(&0));
        }
    }
    let text = String::from_utf8_lossy(data);
    let _ = ops::list::name_of(1000, &text);
    let _ = text.lines().filter_map(ops::mounts::mapping).count();
    let _ = notify::parse(std::ffi::OsStr::from_bytes(data));
    let _ = notify::says_ready(data);
}

/// The files of a cgroup, whatever is in which.
pub fn cgroup(data: &[u8]) {
    let text = String::from_utf8_lossy(data).into_owned();
    let stats = stats::of(&|_| text.clone());
    let json = serde_json::to_string(&stats).expect("statistics are JSON");
    assert_eq!(
        json.matches(":null,").count() + json.matches(":null}").count(),
        1,
        "only network_interfaces has none: {json}"
    );
    for line in text.lines() {
        let place = cgroup::clean(line.as_ref());
        let is_below = place.split('/').all(|part| !matches!(part, "." | ".."));
        assert!(is_below && !place.starts_with('/') && !place.ends_with('/'), "{line:?} is {place:?}");
        let beside = cgroup::beside("/a/b".as_ref(), line.as_ref());
        assert!(beside == "a" || beside.starts_with("a/"), "{line:?} is {beside:?}");
    }
}
