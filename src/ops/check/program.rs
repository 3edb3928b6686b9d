//! Whether process.args[0] is in the container's root.

use std::fs::Metadata;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use oci_spec::runtime::Spec;

use super::{Against, Report, host};
use crate::ops::explain;
use crate::plan::{Plan, Step};
use crate::sys::{Call, Errno, Fail};

/// A fault if it surely isn't there: nothing is mounted where it is looked for, and no hook could bring it.
pub fn examine(oci: &Spec, plan: &Plan, root: &Path, report: &mut Report) {
    let Some((name, candidates)) = plan.steps.iter().find_map(|step| match step {
        Step::FindProgram { name, candidates } => Some((name, candidates)),
        _ => None,
    }) else {
        return;
    };
    let cwd = oci.process().as_ref().map_or(Path::new("/"), |process| process.cwd());
    let mut refusal = Errno::ENOENT;
    for candidate in candidates {
        let path = cwd.join(candidate.to_string_lossy().as_ref());
        if may_change(oci, &path) {
            return;
        }
        match host::open_in(root, &path.to_string_lossy()).map(|file| file.metadata()) {
            Ok(Ok(found)) if is_executable(&found) => return,
            Ok(Ok(found)) if found.is_dir() => refusal = Errno::EISDIR,
            Ok(_) => refusal = Errno::EACCES,
            Err(_) => {}
        }
    }
    let error = explain::exec_error(name, Fail::new(Call::Exec, refusal));
    report.fault(Against::Host, "process.args[0]", &error.to_string());
}

/// Whether a mount or a hook may put something else there than the root has now.
fn may_change(oci: &Spec, path: &Path) -> bool {
    let mut mounts = oci.mounts().iter().flatten();
    let mounted = mounts.any(|mount| path.starts_with(mount.destination()));
    let hooks = oci.hooks().as_ref().is_some_and(|hooks| {
        #[allow(deprecated)] // prestart is deprecated by the spec since 1.0, and still to be run
        let lists =
            [hooks.prestart(), hooks.create_runtime(), hooks.create_container(), hooks.start_container()];
        lists.iter().any(|list| list.as_ref().is_some_and(|list| !list.is_empty()))
    });
    mounted || hooks
}

pub fn is_executable(found: &Metadata) -> bool {
    found.is_file() && found.permissions().mode() & 0o111 != 0
}
