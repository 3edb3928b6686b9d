//! `list`: all containers of a root, as runc's table or as JSON.

use std::fs;
use std::io::Write;
use std::path::Path;

use crate::cli::ListFormat;
use crate::error::{Doing, Error, Kind, Result};
use crate::log;
use crate::state::{Container, Record, Status, Store};
use crate::sys::{Call, Named, Uid};

/// `rrunc list`. A container that can't be read costs a warning, not the list.
pub fn list(root: &Path, format: ListFormat, quiet: bool, out: &mut dyn Write) -> Result<()> {
    let store = Store::open(root)?;
    let mut found = vec![];
    // One after the other: each holds open files, and there may be more of them than we may have.
    for id in store.ids()? {
        let looked = match store.load(&id) {
            Err(error) if error.kind == Kind::NotFound => continue, // deleted meanwhile
            container => container.and_then(look_at),
        };
        match looked {
            Ok(container) => found.push(container),
            Err(error) => log::warning(&format!("container {id}: {error}")),
        }
    }
    let found: Vec<_> = found.iter().map(|(record, status)| (record, *status)).collect();
    let text = match format {
        _ if quiet => found.iter().map(|(record, _)| format!("{}\n", record.id)).collect(),
        ListFormat::Table => table(&found),
        ListFormat::Json => json(&found)?,
    };
    out.write_all(text.as_bytes()).call(Call::Write).doing(|| "write to standard output".into())
}

fn look_at(mut container: Container) -> Result<(Record, Status)> {
    let status = container.status()?;
    Ok((container.record()?.clone(), status))
}

/// One line without blanks, of which callers compare parts; `null`, not `[]`, if there is none.
fn json(found: &[(&Record, Status)]) -> Result<String> {
    let owners: Vec<_> = found.iter().map(|(record, _)| owner(record)).collect();
    let reports: Vec<_> =
        found.iter().zip(&owners).map(|((record, status), owner)| record.report(*status, owner)).collect();
    let json = serde_json::to_string(&Some(reports).filter(|reports| !reports.is_empty()));
    json.map(|json| json + "\n").map_err(|error| Error::new(Kind::Kernel, format!("list as JSON: {error}")))
}

/// Columns as wide as their widest cell and three blanks more, but at least twelve; the last one ends with
/// its text.
fn table(found: &[(&Record, Status)]) -> String {
    let head = ["ID", "PID", "STATUS", "BUNDLE", "CREATED", "OWNER"].map(String::from);
    let row = |(record, status): &(&Record, Status)| {
        let pid = record.shown_pid(*status).to_string();
        let (id, bundle, created) = (record.id.clone(), record.bundle.clone(), record.created.clone());
        [id, pid, status.to_string(), bundle, created, owner(record)]
    };
    let rows: Vec<[String; 6]> = std::iter::once(head).chain(found.iter().map(row)).collect();
    let length = |text: &String| text.chars().count();
    let width = |column: usize| rows.iter().map(|row| length(&row[column]) + 3).max().unwrap_or(0).max(12);
    let widths: [usize; 5] = std::array::from_fn(width);
    let mut text = String::new();
    for row in &rows {
        for (cell, width) in row.iter().zip(widths) {
            text += &format!("{cell:width$}");
        }
        text += &row[5];
        text.push('\n');
    }
    text
}

/// The name of who called `create`, from /etc/passwd alone (a static binary asks no name service), or
/// `#uid`.
fn owner(record: &Record) -> String {
    let Some(Uid(uid)) = record.owner else {
        return String::new();
    };
    let users = fs::read_to_string("/etc/passwd").unwrap_or_default();
    name_of(uid, &users).map_or_else(|| format!("#{uid}"), String::from)
}

/// passwd(5): name, password, uid, …
pub(crate) fn name_of(uid: u32, users: &str) -> Option<&str> {
    users.lines().find_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next()?;
        (fields.nth(1)? == uid.to_string()).then_some(name)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::Pid;

    fn record(id: &str, bundle: &str) -> Record {
        Record {
            oci_version: "1.3.0".into(),
            id: id.into(),
            bundle: bundle.into(),
            created: "2026-11-23T08:22:46.464911731Z".into(),
            pid: Some(Pid(8827)),
            owner: Some(Uid(4_000_000_000)),
            ..Record::default()
        }
    }

    #[test]
    fn as_runc_prints_it() {
        assert_eq!(table(&[]), "ID          PID         STATUS      BUNDLE      CREATED     OWNER\n");
        let (one, other) = (record("state-p1", "/tmp/state-probe/b"), record("ü", "/b"));
        let expected = "\
ID          PID         STATUS      BUNDLE               CREATED                          OWNER
state-p1    8827        created     /tmp/state-probe/b   2026-11-23T08:22:46.464911731Z   #4000000000
ü           0           stopped     /b                   2026-11-23T08:22:46.464911731Z   #4000000000
";
        assert_eq!(table(&[(&one, Status::Created), (&other, Status::Stopped)]), expected);
    }

    #[test]
    fn json_in_one_line() {
        assert_eq!(json(&[]).unwrap(), "null\n");
        let expected = r##"[{"ociVersion":"1.3.0","id":"a","pid":8827,"status":"running","bundle":"/b","rootfs":"","created":"2026-11-23T08:22:46.464911731Z","owner":"#4000000000"}]"##;
        assert_eq!(json(&[(&record("a", "/b"), Status::Running)]).unwrap(), format!("{expected}\n"));
    }

    #[test]
    fn names() {
        let users = "root:x:0:0:root:/root:/bin/bash\nbroken\nweb:x:1000:1000::/:\nalso:x:1000:1::/:\n";
        let check = |uid, expected| assert_eq!(name_of(uid, users), expected);
        check(0, Some("root"));
        check(1000, Some("web"));
        check(1, None);
    }
}
