//! What the spec has and rrunc doesn't yet. It is refused by name: a container that silently lacks what was
//! asked for is worse than none. `process.execCPUAffinity` is not here: it is for `exec`, which reads it.

use super::Rules;

const YET: &str = "is not supported yet";

pub fn unsupported(rules: &mut Rules) {
    let Some(linux) = rules.oci.linux() else { return };
    for (path, given) in [("linux.intelRdt", linux.intel_rdt().is_some())] {
        if given {
            rules.fault(path, YET);
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use crate::spec::validate::tests::{bad, good};

    #[test]
    fn not_supported_yet() {
        let yet = "not supported yet";
        good("/process/execCPUAffinity", json!({"initial": "0", "final": "1"})); // for exec
        bad("/linux/intelRdt", json!({}), "linux.intelRdt", yet);
    }
}
