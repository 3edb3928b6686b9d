//! Targets for fuzzing, only with the feature `fuzz`: each a function of bytes that panics if something that must hold
//! does not. They stand here since most of what they ask is private; who feeds them, and how much it was, is in
//! `integration/fuzz`.
//!
//! A target makes no system call that changes anything, and nothing random: the same bytes do the same again.

mod check;
mod command;
mod config;
mod host;
mod remembered;
#[cfg(target_arch = "x86_64")]
mod seccomp;

/// By name, with what is held against the bytes.
pub type Target = (&'static str, fn(&[u8]));

pub const TARGETS: &[Target] = &[
    ("config", config::config),
    ("process", config::process),
    ("mounts", config::mounts),
    ("mount-options", config::mount_options),
    ("resources", config::resources),
    ("command-line", command::line),
    ("words", command::words),
    ("state", remembered::state),
    ("plan", remembered::plan),
    ("checkpoint", remembered::checkpoint),
    ("criu", remembered::criu),
    #[cfg(target_arch = "x86_64")]
    ("seccomp", seccomp::profile),
    ("dbus", host::dbus),
    ("dbus-value", host::dbus_value),
    ("netlink", host::netlink),
    ("mountinfo", host::mountinfo),
    ("passwd", host::passwd),
    ("cgroup", host::cgroup),
];

/// What a list of words is made of: NULs end them, since none can hold one.
fn words(data: &[u8]) -> Vec<&[u8]> {
    data.split(|byte| *byte == 0).collect()
}
