//! `plan`: what a `create` of this bundle would do, step by step. Nothing of it is done.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use super::bundle::{Bundle, id_of};
use crate::cgroup::resources::{self, Write};
use crate::cgroup::systemd::{self, Planned};
use crate::cgroup::{self, Hierarchy};
use crate::cli::{self, CgroupManager};
use crate::error::{Doing, Result, escape};
use crate::plan::{self, Options, Plan};
use crate::sys::{Call, Named};
use crate::{host, log};

/// `rrunc plan`: the numbered steps of the container's process, then what the host does beside it. The id is made
/// from the bundle's name.
pub fn plan(manager: CgroupManager, args: &cli::Plan, out: &mut dyn io::Write) -> Result<()> {
    let bundle = Bundle::open(args.bundle.as_deref(), None)?;
    let place = place(&bundle, manager)?;
    let plan = of(&bundle, &bundle.root()?, &place, args)?;
    let warnings = bundle.spec.warnings.iter().chain(&plan.warnings);
    warnings.for_each(|warning| log::warning(warning));
    let text = plan.to_string() + &place.to_string() + &limits(&bundle, &place)?;
    out.write_all(text.as_bytes()).call(Call::Write).doing(|| "write to standard output".into())
}

/// The plan of a bundle, with the root file system at `root`.
pub fn of(bundle: &Bundle, root: &Path, place: &Place, args: &cli::Plan) -> Result<Plan> {
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
        // Its name is made up by `create`; what follows the last dot isn't shown.
        session_keyring: (!args.no_new_keyring).then(|| format!("_ses.{}.", id_of(&bundle.path))),
        cgroup: match place.relative() {
            Some(place) => Some(Hierarchy::find()?.path.join(place)),
            None => None,
        },
        ..Options::default()
    };
    plan::compile(&bundle.spec, &options, &host::facts(oci, &bundle.path)?, filter)
}

/// Where a container's cgroup would be, by who would make it.
pub enum Place {
    Directory(PathBuf, String),
    Scope(Planned),
    Nowhere,
}

pub fn place(bundle: &Bundle, manager: CgroupManager) -> Result<Place> {
    let (oci, id) = (&bundle.spec.oci, id_of(&bundle.path));
    Ok(match manager {
        CgroupManager::Systemd => Place::Scope(systemd::plan(oci, &id)?),
        CgroupManager::Disabled => Place::Nowhere,
        CgroupManager::Cgroupfs => {
            let linux = oci.linux().as_ref();
            let place = cgroup::place(linux.and_then(|linux| linux.cgroups_path().as_deref()), &id)?;
            Place::Directory(Hierarchy::find()?.path.join(&place), place)
        }
    })
}

impl Place {
    /// From the root of the hierarchy.
    pub fn relative(&self) -> Option<&str> {
        match self {
            Place::Directory(_, place) => Some(place),
            Place::Scope(scope) => Some(&scope.place),
            Place::Nowhere => None,
        }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Place::Directory(path, _) => {
                writeln!(f, "   host: cgroup {}", escape(&path.display().to_string()))
            }
            Place::Nowhere => writeln!(f, "   host: no cgroup of the container's own"),
            Place::Scope(scope) => {
                let place = escape(&scope.place);
                writeln!(f, "   host: {} makes {}, cgroup {place}", scope.instance, scope.unit)?;
                for (name, value) in &scope.properties {
                    writeln!(f, "   host: {}: {name} = {}", scope.unit, escape(&value.to_string()))?;
                }
                Ok(())
            }
        }
    }
}

/// What is written to the cgroup's files.
fn limits(bundle: &Bundle, place: &Place) -> Result<String> {
    let linux = bundle.spec.oci.linux().as_ref();
    let resources = linux.and_then(|linux| linux.resources().as_ref());
    if let Place::Nowhere = place {
        return resources::check_none(resources).map(|()| String::new());
    }
    let writes = resources.map_or(Ok(vec![]), resources::writes)?;
    let line = |write: &Write| {
        let text = format!("   host: {}: {} = {}", write.field, write.file, write.value);
        escape(&text) + "\n"
    };
    Ok(writes.iter().map(line).collect())
}
