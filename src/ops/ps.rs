//! `ps`: the container's processes, as the host sees them.

use std::io::Write;
use std::path::Path;
use std::process::Command;

use crate::cli::ListFormat;
use crate::error::{Doing, Error, Kind, Result};
use crate::ops::pause;
use crate::state::{ContainerId, Store};
use crate::sys::{Call, Named, Pid};

/// `rrunc ps`: as JSON their pids alone, else what the host's ps(1) says of them, called with `options` (`-ef` if there
/// are none).
pub fn ps(root: &Path, id: &str, format: ListFormat, options: &[String], out: &mut dyn Write) -> Result<()> {
    let container = Store::open(root)?.load(&ContainerId::new(id)?)?;
    let pids = match container.cgroup()? {
        Some(cgroup) => cgroup.pids()?,
        None if container.record()?.cgroup.is_none() => return pause::cgroup(&container).map(drop),
        None => vec![], // it ended with the container
    };
    let text = match format {
        ListFormat::Json => {
            let pids: Vec<_> = pids.iter().map(Pid::to_string).collect();
            format!("[{}]\n", pids.join(","))
        }
        ListFormat::Table => table(&run(options)?, &pids)?,
    };
    out.write_all(text.as_bytes()).call(Call::Write).doing(|| "write to standard output".into())
}

fn run(options: &[String]) -> Result<String> {
    let mut command = Command::new("ps");
    match options.is_empty() {
        true => command.arg("-ef"),
        false => command.args(options),
    };
    let output =
        command.output().call(Call::Exec).doing(|| "run ps".into()).map_err(|error| {
            error.hint("the table is made by ps(1): install procps, or use --format json")
        })?;
    if !output.status.success() {
        let text = format!("ps {}: {}", options.join(" "), String::from_utf8_lossy(&output.stderr).trim());
        return Err(Error::new(Kind::Usage, text));
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// The heading, and the lines of `pids`.
fn table(listed: &str, pids: &[Pid]) -> Result<String> {
    let heading = listed.lines().next().unwrap_or_default();
    let Some(column) = heading.split_whitespace().position(|title| title == "PID") else {
        let text = "couldn't find PID field in ps output";
        return Err(
            Error::new(Kind::Usage, text).hint("choose options of ps that show it, such as -o pid,args")
        );
    };
    let mut lines = listed.lines();
    let mut text = lines.next().unwrap_or_default().to_string() + "\n";
    for line in lines {
        let pid = line.split_whitespace().nth(column).and_then(|pid| pid.parse().ok());
        if pid.is_some_and(|pid| pids.contains(&Pid(pid))) {
            text += line;
            text.push('\n');
        }
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_containers_lines() {
        let listed = "UID PID PPID CMD\nroot 1 0 init 12\nroot 12 1 sleep 5\nroot 120 1 x\n";
        assert_eq!(table(listed, &[Pid(12)]).unwrap(), "UID PID PPID CMD\nroot 12 1 sleep 5\n");
        assert_eq!(table(listed, &[]).unwrap(), "UID PID PPID CMD\n");
        assert!(table("CMD\nx\n", &[]).is_err());
    }
}
