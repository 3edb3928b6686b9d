//! Rules for annotations: config.md's, and what those that we act upon may say.

use std::path::Path;

use super::Rules;
use crate::spec::annotations::{
    self as known, CONTEXT_TYPES, HOOKS_STDERR, HOOKS_STDOUT, KEEP_ORIGINAL_GROUPS, MOUNT_CONTEXT_TYPE,
    PIDFD_RECEIVER, REFUSED, SECCOMP_FAIL_UNKNOWN, SECCOMP_RECEIVER,
};
use crate::spec::landlock;

/// config.md, Annotations: keys are not empty.
pub fn annotations(rules: &mut Rules) {
    let Some(given) = rules.oci.annotations().as_ref() else {
        return;
    };
    if given.contains_key("") {
        rules.fault("annotations", "an empty key");
    }
    let field = |key: &str| format!("annotations[{key}]");
    for (key, text) in REFUSED {
        if known::get(rules.oci, key).is_some() {
            rules.fault(field(key), text);
        }
    }
    for key in [KEEP_ORIGINAL_GROUPS, SECCOMP_FAIL_UNKNOWN] {
        if let Some(value) = known::get(rules.oci, key).filter(|value| !matches!(*value, "0" | "1")) {
            rules.fault(field(key), format!("{value:?} must be \"0\" or \"1\""));
        }
    }
    for key in [HOOKS_STDERR, HOOKS_STDOUT, PIDFD_RECEIVER, SECCOMP_RECEIVER] {
        let Some(path) = known::get(rules.oci, key) else {
            continue;
        };
        rules.no_nul(field(key), path);
        if !Path::new(path).is_absolute() {
            rules.fault(field(key), format!("{path:?} must be an absolute path"));
        }
    }
    if let Some(Err((place, text))) = known::get(rules.oci, landlock::KEY).map(landlock::parse) {
        rules.fault(field(landlock::KEY) + &place, text);
    }
    let context = known::get(rules.oci, MOUNT_CONTEXT_TYPE);
    if let Some(value) = context.filter(|value| !CONTEXT_TYPES.contains(value)) {
        rules.fault(
            field(MOUNT_CONTEXT_TYPE),
            format!("{value:?} must be one of {}", CONTEXT_TYPES.join(", ")),
        );
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::spec::validate::tests::{bad, good};

    fn check_good(key: &str, value: &str) {
        good("/annotations", json!({key: value}));
    }

    fn check_bad(key: &str, value: &str, text: &str) {
        bad("/annotations", json!({key: value}), &format!("annotations[{key}]"), text);
    }

    #[test]
    fn what_we_act_upon() {
        for key in [KEEP_ORIGINAL_GROUPS, SECCOMP_FAIL_UNKNOWN] {
            ["", "0", "1"].into_iter().for_each(|value| check_good(key, value));
            check_bad(key, "true", "\"true\" must be \"0\" or \"1\"");
        }
        for key in [HOOKS_STDERR, HOOKS_STDOUT, PIDFD_RECEIVER, SECCOMP_RECEIVER] {
            check_good(key, "/a");
            check_bad(key, "a", "\"a\" must be an absolute path");
            check_bad(key, "/a\0", "NUL");
        }
        CONTEXT_TYPES.iter().for_each(|value| check_good(MOUNT_CONTEXT_TYPE, value));
        check_bad(MOUNT_CONTEXT_TYPE, "x", "\"x\" must be one of context, defcontext");
        for (key, text) in REFUSED {
            check_good(key, "");
            check_bad(key, "x", text);
        }
        check_good("com.example.any", "x");
        bad("/annotations", json!({"": "x"}), "annotations", "an empty key");
    }
}
