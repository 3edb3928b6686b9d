//! `plan`: what a `create` of this bundle would do, step by step. Nothing of it is done.

use std::io::Write;
use std::path::Path;

use super::bundle::{Bundle, id_of};
use crate::cgroup::{Hierarchy, resources};
use crate::cli;
use crate::error::{Doing, Result};
use crate::plan::{self, Options, Plan};
use crate::{host, log};

/// `rrunc plan`: the numbered steps of the container's process, then what the host does beside it. The id is made
/// from the bundle's name.
pub fn plan(args: &cli::Plan, out: &mut dyn Write) -> Result<()> {
    let bundle = Bundle::open(args.bundle.as_deref(), None)?;
    let plan = of(&bundle, &bundle.root()?, args)?;
    let warnings = bundle.spec.warnings.iter().chain(&plan.warnings);
    warnings.for_each(|warning| log::warning(warning));
    let text = plan.to_string() + &limits(&bundle)?;
    out.write_all(text.as_bytes())
        .doing(|| "write to standard output".into())
}

/// The plan of a bundle, with the root file system at `root`.
pub fn of(bundle: &Bundle, root: &Path, args: &cli::Plan) -> Result<Plan> {
    let oci = &bundle.spec.oci;
    let profile = oci.linux().as_ref().and_then(|linux| linux.seccomp().as_ref());
    let filter = match profile {
        Some(profile) => Some(plan::seccomp::compile(profile)?.filter),
        None => None,
    };
    let options = Options {
        id: id_of(&bundle.path),
        bundle: bundle.path.clone(),
        root: root.into(),
        no_pivot: args.no_pivot,
        no_new_keyring: args.no_new_keyring,
        cgroup: Some(Hierarchy::find()?.path.join(place(bundle)?)),
        ..Options::default()
    };
    plan::compile(&bundle.spec, &options, &host::facts(oci, &bundle.path)?, filter)
}

/// Where the bundle's cgroup would be, relative to the cgroup2 mount.
pub fn place(bundle: &Bundle) -> Result<String> {
    let linux = bundle.spec.oci.linux().as_ref();
    let given = linux.and_then(|linux| linux.cgroups_path().as_deref());
    crate::cgroup::place(given, &id_of(&bundle.path))
}

/// The cgroup and what is written there.
fn limits(bundle: &Bundle) -> Result<String> {
    let path = Hierarchy::find()?.path.join(place(bundle)?);
    let mut text = format!("   host: cgroup {}\n", path.display());
    let linux = bundle.spec.oci.linux().as_ref();
    if let Some(given) = linux.and_then(|linux| linux.resources().as_ref()) {
        for write in resources::writes(given)? {
            text += &format!("   host: {}: {} = {}\n", write.field, write.file, write.value);
        }
    }
    Ok(text)
}
