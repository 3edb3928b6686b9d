//! Rules of config-linux.md, Seccomp, that concern SCMP_ACT_NOTIFY and whom it notifies. What a filter can be made
//! of, and what not, is known to `plan`.

use std::path::Path;

use oci_spec::runtime::LinuxSeccompAction::ScmpActNotify;

use super::{Rules, set, text};
use crate::spec::annotations::{self, SECCOMP_RECEIVER};

/// A notification needs a listener, and so does a text for it; and one call can't be had to get the listener out of
/// the container.
pub fn listener(rules: &mut Rules) {
    let Some(seccomp) = rules.oci.linux().as_ref().and_then(|linux| linux.seccomp().as_ref()) else {
        return;
    };
    let path = seccomp.listener_path().as_deref().map_or("", text);
    let receiver = annotations::get(rules.oci, SECCOMP_RECEIVER).is_some();
    let metadata = set(seccomp.listener_metadata()).is_some();
    let field = "linux.seccomp.listenerPath";
    let mut notifies = false;
    if seccomp.default_action() == ScmpActNotify {
        notifies = true;
        rules.fault(
            "linux.seccomp.defaultAction",
            "SCMP_ACT_NOTIFY cannot be used as default action: it would be for write too",
        );
    }
    for (i, entry) in seccomp.syscalls().iter().flatten().enumerate() {
        if entry.action() != ScmpActNotify {
            continue;
        }
        notifies = true;
        if let Some(n) = entry.names().iter().position(|name| name == "write") {
            rules.fault(
                format!("linux.seccomp.syscalls[{i}].names[{n}]"),
                "SCMP_ACT_NOTIFY cannot be used for the write syscall: it is by that that the listener is handed over",
            );
        }
    }
    rules.no_nul(field, path);
    match (notifies, path) {
        (true, "") if !receiver => {
            rules.fault(field, "seccomp listenerPath is not set: whom does SCMP_ACT_NOTIFY notify?")
        }
        (_, "") if metadata && !receiver => {
            rules.fault("linux.seccomp.listenerMetadata", "is set without listenerPath")
        }
        (_, "") => {}
        (_, path) if !Path::new(path).is_absolute() => {
            rules.fault(field, format!("{path:?} must be an absolute path"));
        }
        (true, _) => {}
        (false, path) => rules.warn(field, &format!("nothing goes to {path} without SCMP_ACT_NOTIFY")),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use crate::spec::validate::tests::{bad, good, read, warned};

    const PLACE: &str = "/linux/seccomp";

    /// A profile with this action for one call, and what else `more` says.
    fn profile(name: &str, action: &str, more: Value) -> Value {
        let mut profile = json!({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{"names": ["sync", name], "action": action}]});
        profile.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        profile
    }

    #[test]
    fn an_annotation_names_the_listener_too() {
        let annotation = json!({"run.oci.seccomp.receiver": "/run/agent"});
        let notify = profile("mkdir", "SCMP_ACT_NOTIFY", json!({"listenerMetadata": "m"}));
        assert_eq!(read(&[(PLACE, notify), ("/annotations", annotation)]), (vec![], vec![]));
    }

    #[test]
    fn a_listener() {
        let (notify, errno, path) = ("SCMP_ACT_NOTIFY", "SCMP_ACT_ERRNO", "linux.seccomp.listenerPath");
        let listener = json!({"listenerPath": "/run/agent", "listenerMetadata": "m"});
        good(PLACE, profile("mkdir", notify, listener.clone()));
        good(PLACE, profile("read", notify, listener.clone()));
        good(PLACE, profile("mkdir", errno, json!({"listenerPath": "", "listenerMetadata": ""})));
        warned(&[(PLACE, profile("mkdir", errno, listener.clone()))], "nothing goes to /run/agent");
        for none in [json!({}), json!({"listenerPath": ""}), json!({"listenerMetadata": "m"})] {
            bad(PLACE, profile("mkdir", notify, none), path, "seccomp listenerPath is not set");
        }
        bad(PLACE, profile("mkdir", notify, json!({"listenerPath": "a"})), path, "must be an absolute path");
        bad(PLACE, profile("mkdir", notify, json!({"listenerPath": "/a\u{0}"})), path, "NUL");
        bad(
            PLACE,
            profile("mkdir", errno, json!({"listenerMetadata": "m"})),
            "linux.seccomp.listenerMetadata",
            "is set without listenerPath",
        );
        bad(
            PLACE,
            profile("write", notify, listener.clone()),
            "linux.seccomp.syscalls[0].names[1]",
            "SCMP_ACT_NOTIFY cannot be used for the write syscall",
        );
        let default = json!({"defaultAction": notify, "listenerPath": "/a"});
        bad(
            PLACE,
            profile("sync", errno, default.clone()),
            "linux.seccomp.defaultAction",
            "SCMP_ACT_NOTIFY cannot be used as default action",
        );
        let (faults, _) = read(&[(PLACE, json!({"defaultAction": notify}))]);
        assert_eq!(faults.len(), 2, "{faults:?}");
    }
}
