//! linux.intelRdt: what its names may be. Whether the CPU takes the schemata is for the kernel to say.

use super::{Rules, set};

/// config-linux.md, IntelRdt.
pub fn intel_rdt(rules: &mut Rules) {
    const FIELD: &str = "linux.intelRdt.closID";
    let Some(rdt) = rules.oci.linux().as_ref().and_then(|linux| linux.intel_rdt().as_ref()) else {
        return;
    };
    if let Some(id) = set(rdt.clos_id()) {
        rules.no_nul(FIELD, id);
        if id != "/" && (id.contains('/') || matches!(id, "." | "..")) {
            rules.fault(FIELD, format!("{id:?} must be the name of a directory, or \"/\""));
        }
    }
    let schemata = rdt.schemata().as_deref().unwrap_or_default();
    let alone = [
        ("l3CacheSchema", set(rdt.l3_cache_schema()), "L3"),
        ("memBwSchema", set(rdt.mem_bw_schema()), "MB:"),
    ];
    for (name, schema, begin) in alone {
        let field = format!("linux.intelRdt.{name}");
        let Some(schema) = schema else { continue };
        if !schema.starts_with(begin) || schema.contains('\n') {
            rules.fault(&field, format!("{schema:?} must be one line that begins with {begin}"));
        }
        if !schemata.is_empty() {
            rules.warn(&field, "should not be set together with schemata, which comes after it");
        }
    }
    for (i, line) in schemata.iter().enumerate() {
        if line.is_empty() || line.contains(['\n', '\0']) {
            rules.fault(format!("linux.intelRdt.schemata[{i}]"), format!("{line:?} must be one line"));
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use crate::spec::validate::tests::{bad, good};

    #[test]
    fn names_and_lines() {
        const PATH: &str = "/linux/intelRdt";
        good(PATH, json!({}));
        good(PATH, json!({"closID": "/"}));
        good(PATH, json!({"closID": "gold", "schemata": ["L3:0=f", "MB:0=20"], "enableMonitoring": true}));
        good(PATH, json!({"l3CacheSchema": "L3:0=f", "memBwSchema": "MB:0=20"}));
        for id in ["a/b", "..", ".", "/a"] {
            bad(PATH, json!({"closID": id}), "linux.intelRdt.closID", "name of a directory");
        }
        bad(PATH, json!({"l3CacheSchema": "MB:0=1"}), "linux.intelRdt.l3CacheSchema", "begins with L3");
        bad(PATH, json!({"memBwSchema": "MB:0=1\nL3:0=1"}), "linux.intelRdt.memBwSchema", "one line");
        bad(PATH, json!({"schemata": ["a\nb"]}), "linux.intelRdt.schemata[0]", "one line");
    }
}
