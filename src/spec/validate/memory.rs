//! linux.memoryPolicy: which modes, nodes and flags go together (set_mempolicy(2)).

use oci_spec::runtime::MemoryPolicyFlagType::{
    MpolFNumaBalancing as Balancing, MpolFRelativeNodes as Relative, MpolFStaticNodes as Static,
};
use oci_spec::runtime::MemoryPolicyModeType as Mode;

use super::{Rules, set};
use crate::sys::sched::NumberList;

/// config-linux.md, Memory policy.
pub fn policy(rules: &mut Rules) {
    const NODES: &str = "linux.memoryPolicy.nodes";
    const FLAGS: &str = "linux.memoryPolicy.flags";
    let linux = rules.oci.linux().as_ref();
    let Some(policy) = linux.and_then(|linux| linux.memory_policy().as_ref()) else {
        return;
    };
    let (mode, nodes) = (policy.mode(), set(policy.nodes()));
    if let Some(nodes) = nodes {
        if NumberList::parse(nodes).is_none() {
            rules.fault(NODES, format!("{nodes:?} is no list of memory nodes, such as \"0-1,3\""));
        }
    }
    match (mode, nodes) {
        (Mode::MpolDefault | Mode::MpolLocal, Some(nodes)) => {
            rules.fault(NODES, format!("{nodes:?}: {mode} takes no nodes"));
        }
        (
            Mode::MpolBind | Mode::MpolInterleave | Mode::MpolWeightedInterleave | Mode::MpolPreferredMany,
            None,
        ) => rules.fault(NODES, format!("is missing: on which nodes is {mode}?")),
        _ => {}
    }
    let flags = policy.flags().as_deref().unwrap_or_default();
    if flags.contains(&Static) && flags.contains(&Relative) {
        rules.fault(FLAGS, "MPOL_F_STATIC_NODES and MPOL_F_RELATIVE_NODES contradict each other");
    }
    if flags.contains(&Balancing) && !matches!(mode, Mode::MpolBind | Mode::MpolPreferredMany) {
        rules.fault(FLAGS, format!("MPOL_F_NUMA_BALANCING goes with MPOL_BIND, not with {mode}"));
    }
    if nodes.is_none() && (flags.contains(&Static) || flags.contains(&Relative)) {
        rules.fault(FLAGS, "are about nodes, and there are none");
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use crate::spec::validate::tests::{bad, good};

    #[test]
    fn modes_nodes_and_flags() {
        const PATH: &str = "/linux/memoryPolicy";
        let nodes = "linux.memoryPolicy.nodes";
        let flags = "linux.memoryPolicy.flags";
        good(PATH, json!({"mode": "MPOL_LOCAL"}));
        good(PATH, json!({"mode": "MPOL_DEFAULT", "nodes": ""}));
        good(PATH, json!({"mode": "MPOL_PREFERRED"}));
        good(
            PATH,
            json!({"mode": "MPOL_BIND", "nodes": "0-1", "flags": ["MPOL_F_STATIC_NODES", "MPOL_F_NUMA_BALANCING"]}),
        );
        bad(PATH, json!({"mode": "MPOL_BIND"}), nodes, "is missing");
        bad(PATH, json!({"mode": "MPOL_BIND", "nodes": "x"}), nodes, "no list");
        bad(PATH, json!({"mode": "MPOL_LOCAL", "nodes": "0"}), nodes, "takes no nodes");
        let both = json!(["MPOL_F_STATIC_NODES", "MPOL_F_RELATIVE_NODES"]);
        bad(PATH, json!({"mode": "MPOL_BIND", "nodes": "0", "flags": both}), flags, "contradict");
        let balancing = json!(["MPOL_F_NUMA_BALANCING"]);
        bad(PATH, json!({"mode": "MPOL_INTERLEAVE", "nodes": "0", "flags": balancing}), flags, "goes with");
        bad(PATH, json!({"mode": "MPOL_SOME"}), "linux.memoryPolicy.mode", "MPOL_SOME");
    }
}
