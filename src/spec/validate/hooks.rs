//! Rules of config.md, POSIX-platform Hooks.

use super::{Rules, text};

/// config.md, Hooks: an absolute path, and if there is a timeout, a positive one.
pub fn hooks(rules: &mut Rules) {
    let Some(hooks) = rules.oci.hooks() else { return };
    #[allow(deprecated)] // prestart is deprecated by the spec since 1.0, and still to be run
    let lists = [
        ("prestart", hooks.prestart()),
        ("createRuntime", hooks.create_runtime()),
        ("createContainer", hooks.create_container()),
        ("startContainer", hooks.start_container()),
        ("poststart", hooks.poststart()),
        ("poststop", hooks.poststop()),
    ];
    for (name, list) in lists {
        for (i, hook) in list.iter().flatten().enumerate() {
            let field = format!("hooks.{name}[{i}]");
            let path = text(hook.path());
            if !path.starts_with('/') {
                rules.fault(format!("{field}.path"), format!("{path:?} is not absolute"));
            }
            rules.no_nul(format!("{field}.path"), path);
            rules.no_nuls(&format!("{field}.args"), hook.args());
            rules.no_nuls(&format!("{field}.env"), hook.env());
            if let Some(timeout) = hook.timeout().filter(|timeout| *timeout <= 0) {
                rules.fault(
                    format!("{field}.timeout"),
                    format!("{timeout} must be greater than zero (seconds)"),
                );
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use crate::spec::validate::tests::{bad, good};

    #[test]
    fn hooks() {
        let one = |hook: Value| json!({"poststop": [{"path": "/a"}, hook]});
        good("/hooks", one(json!({"path": "/b", "timeout": 1, "args": [], "env": []})));
        bad("/hooks", one(json!({"path": "b"})), "hooks.poststop[1].path", "\"b\" is not absolute");
        bad("/hooks", one(json!({"path": ""})), "hooks.poststop[1].path", "not absolute");
        bad("/hooks", one(json!({})), "hooks.poststop[1].path", "is missing");
        bad(
            "/hooks",
            one(json!({"path": "/b", "timeout": 0})),
            "hooks.poststop[1].timeout",
            "greater than zero",
        );
        bad("/hooks", one(json!({"path": "/b", "args": ["\u{0}"]})), "hooks.poststop[1].args[0]", "NUL");
        bad("/hooks", one(json!({"path": "/b", "env": ["\u{0}"]})), "hooks.poststop[1].env[0]", "NUL");
    }
}
