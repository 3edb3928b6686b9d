//! One container by its id, or each whose id matches: `kill --regex` and `delete --regex`, as crun has them.

use std::path::Path;

use regex::Regex;

use crate::error::{Error, Fault, Kind, Result};
use crate::state::Store;

/// Does it for the container `id` or, with `regex`, for all that match: for the others too if it fails for one, and it
/// is no error if there is none.
pub fn named(root: &Path, id: &str, regex: bool, mut act: impl FnMut(&str) -> Result<()>) -> Result<()> {
    if !regex {
        return act(id);
    }
    let pattern = Regex::new(id).map_err(|error| {
        let text = error.to_string();
        let why = text.lines().last().unwrap_or_default(); // those before show the place
        Error::new(
            Kind::Usage,
            format!("{id:?} is no regular expression: {}", why.trim_start_matches("error: ")),
        )
    })?;
    let mut failed: Vec<(Kind, Fault)> = vec![];
    for id in Store::open(root)?.ids()? {
        let id = id.as_str();
        if !pattern.is_match(id) {
            continue;
        }
        match act(id) {
            Err(error) if error.kind == Kind::NotFound => {} // deleted meanwhile
            Err(error) => failed.push((error.kind, Fault { path: id.to_string(), text: error.to_string() })),
            Ok(()) => {}
        }
    }
    let Some((kind, _)) = failed.first() else {
        return Ok(());
    };
    let error = Error::new(*kind, "not all that match");
    Err(error.with_faults(failed.into_iter().map(|(_, fault)| fault).collect()))
}
