//! What rrunc and criu have written, or somebody who would be taken for them.

use std::collections::BTreeSet;
use std::path::Path;

use prost::Message;

use crate::criu::images::Table;
use crate::criu::{log, outside, rpc};
use crate::ops;
use crate::plan::{self, criu::External};
use crate::state::{Record, Status};

/// state.json: read, told and written again, it is the same.
pub fn state(data: &[u8]) {
    let Ok(record) = serde_json::from_slice::<Record>(data) else {
        return;
    };
    let json = serde_json::to_vec(&record).expect("a record is JSON");
    assert_eq!(serde_json::from_slice::<Record>(&json).ok(), Some(record.clone()));
    for status in [Status::Creating, Status::Created, Status::Running, Status::Paused, Status::Stopped] {
        for told in [record.state_json(status), record.hook_state(status)] {
            let told: serde_json::Value = serde_json::from_str(&told).expect("JSON");
            assert_eq!(told["id"], record.id.as_str());
            assert!(status != Status::Stopped || told["pid"] == 0 || told["pid"].is_null());
        }
    }
}

/// The saved plan, which `start` asks for the words of a step.
pub fn plan(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    for (_, step) in ops::start::steps_of(&text) {
        assert!(text.contains(&step) && !step.contains('\n'));
    }
}

/// rrunc.json of a checkpoint: whatever it says, criu is told of mounts that config.json has, by names of ours, each at
/// most once.
pub fn checkpoint(data: &[u8]) {
    let Ok(table) = Table::parse(data) else { return };
    let json = serde_json::to_vec(&table).expect("a table is JSON");
    assert_eq!(Table::parse(&json).as_ref(), Ok(&table));
    let externals = externals();
    let directory = Path::new("/run/rrunc/c/criu");
    let Ok(sources) = outside::sources(&table, &externals) else { return };
    let told = outside::told(directory, &sources, table.masked);
    let mut seen = BTreeSet::new();
    for option in &told {
        // As criu reads it: the key ends at the first "]:", and what follows is the mount's source.
        let parts = option.strip_prefix("mnt[").and_then(|rest| rest.split_once("]:"));
        let (_, source) = parts.expect("mnt[KEY]:SOURCE");
        let key = Path::new(source).strip_prefix(directory).expect("below our directory");
        assert!(externals.iter().any(|external| Path::new(&external.key) == key), "{option}");
        assert!(seen.insert(key.to_path_buf()), "{option} twice");
    }
    for stream in outside::streams(&table) {
        let number = stream.key.strip_prefix("pipe:[").and_then(|rest| rest.strip_suffix(']'));
        assert!(number.is_some_and(|number| number.parse::<u64>().is_ok()) && (0..3).contains(&stream.fd));
    }
}

/// The mounts of the host in a container that has several.
fn externals() -> Vec<External> {
    let config = include_bytes!("../plan/testdata/everything.json");
    let spec = crate::spec::parse(config).expect("a valid configuration");
    let [(options, facts), ..] = super::check::hosts();
    let plan = plan::compile(&spec, &options, &facts, None).expect("a plan");
    plan::criu::externals(&plan)
}

/// criu's answers and its log.
pub fn criu(data: &[u8]) {
    if let Ok(response) = rpc::Response::decode(data) {
        let bytes = response.encode_to_vec();
        assert_eq!(rpc::Response::decode(bytes.as_slice()).ok(), Some(response));
    }
    let text = String::from_utf8_lossy(data);
    let _ = log::errors(&text);
    for line in text.lines() {
        let roots = outside::roots(line);
        assert!(roots.iter().all(|root| line.ends_with(&root.path)));
    }
}
