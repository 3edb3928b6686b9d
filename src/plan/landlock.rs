//! Landlock for the program, as the annotation asks for it and this kernel has it.

use oci_spec::runtime::Spec;

use super::step::{FileRule, Ruleset, Step};
use super::{Draft, Facts};
use crate::spec::{annotations, landlock};

/// What each ABI of Landlock (landlock(7), "VERSIONS") added, as bits of accesses to files.
const ABI_FILES: [(i32, u64); 4] = [(1, (1 << 13) - 1), (2, 1 << 13), (3, 1 << 14), (5, 1 << 15)];
const ABI_NET: i32 = 4;
const ABI_SCOPES: i32 = 6;

/// The rules, made while the container's paths can still be opened as root. Whether there are any.
pub fn compile(oci: &Spec, facts: &Facts, draft: &mut Draft) -> bool {
    let Some(text) = annotations::get(oci, landlock::KEY) else {
        return false;
    };
    let Ok(wanted) = landlock::parse(text) else {
        return false; // a fault that `spec` has found
    };
    let field = format!("annotations[{}]", landlock::KEY);
    let files =
        |below: i32| ABI_FILES.iter().filter(|(abi, _)| *abi <= below).fold(0, |all, (_, bits)| all | bits);
    let known = files(facts.landlock_abi);
    let mut lacking = Vec::new();
    if facts.landlock_abi < 1 {
        lacking.push("Landlock");
    }
    let asked = wanted.paths.iter().flatten().flat_map(|rule| &rule.access);
    // A word for several accesses takes what there is of them.
    let asked =
        asked.filter(|access| access.bits().count_ones() == 1).fold(0, |all, access| all | access.bits());
    if asked & !known != 0 {
        lacking.push("some of the accesses to files");
    }
    if wanted.ports.is_some() && facts.landlock_abi < ABI_NET {
        lacking.push("rules for ports");
    }
    if !wanted.scopes.is_empty() && facts.landlock_abi < ABI_SCOPES {
        lacking.push("scopes");
    }
    if !lacking.is_empty() {
        let text =
            format!("this kernel's Landlock (ABI {}) lacks {}", facts.landlock_abi, lacking.join(", "));
        if !wanted.best_effort {
            draft.fault(&field, text + " (\"bestEffort\": true applies the rest)");
            return false;
        }
        draft.warn(format!("{field}: {text}"));
        if facts.landlock_abi < 1 {
            return false;
        }
    }
    let has_net = facts.landlock_abi >= ABI_NET;
    let has_scopes = facts.landlock_abi >= ABI_SCOPES;
    let mut rules = Ruleset {
        files: if wanted.paths.is_some() { known } else { 0 },
        net: if wanted.ports.is_some() && has_net { 3 } else { 0 },
        scopes: wanted.scopes.iter().filter(|_| has_scopes).fold(0, |all, scope| all | scope.bits()),
        size: if has_scopes {
            24
        } else if has_net {
            16
        } else {
            8
        },
        paths: vec![],
        ports: vec![],
    };
    if rules.files | rules.net | rules.scopes == 0 {
        return false; // all that is asked for is lacking, and the kernel takes no ruleset that forbids nothing
    }
    for (i, rule) in wanted.paths.iter().flatten().enumerate() {
        let access = rule.access.iter().fold(0, |all, access| all | access.bits()) & known;
        for (j, path) in rule.paths.iter().enumerate() {
            let path = draft.cstring(&format!("{field}.paths[{i}].paths[{j}]"), path);
            rules.paths.push(FileRule { path, access, optional: rule.optional });
        }
    }
    for rule in wanted.ports.iter().flatten().filter(|_| has_net) {
        let access = rule.access.iter().fold(0, |all, access| all | access.bits());
        rules.ports.extend(rule.ports.iter().map(|port| (*port, access)));
    }
    draft.step(Step::LandlockRules(Box::new(rules)));
    true
}
