//! All points, in shares: the processes that do the work, and the table of what they found.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::{BufRead, BufReader};
use std::process::{Child, Command, ExitCode, Stdio};
use std::time::Instant;

use integration::rrunc;
use nix::errno::Errno;
use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};
use nix::sys::wait::{WaitStatus, wait};
use serde_json::{Value, json};

use crate::judge::Judge;
use crate::trace::{Fault, Point, Role};
use crate::world::{COMMANDS, Kind, World};

const ERRNOS: [Errno; 9] = [
    Errno::EPERM,
    Errno::ENOMEM,
    Errno::EIO,
    Errno::EMFILE,
    Errno::ENOSPC,
    Errno::EINTR,
    Errno::EAGAIN,
    Errno::ENOSYS,
    Errno::EACCES,
];

/// What is asked for.
struct Plan {
    every: usize,
    only: Option<usize>,
    kinds: Vec<Kind>,
    commands: Vec<String>,
    modes: Vec<String>,
    roles: Vec<Role>,
    errnos: Vec<Errno>,
    /// This process's share: of so many.
    share: (usize, usize),
}

impl Plan {
    fn parse(args: &[String]) -> Plan {
        let value = |name: &str| args.iter().position(|a| a == name).map(|at| args[at + 1].as_str());
        let list = |name: &str, all: &[&str]| -> Vec<String> {
            let chosen: Vec<String> = value(name).map_or_else(
                || all.iter().map(|a| (*a).into()).collect(),
                |v| v.split(',').map(str::to_owned).collect(),
            );
            if name != "--errno" {
                assert!(chosen.iter().all(|c| all.contains(&c.as_str())), "{name}: one of {all:?}");
            }
            chosen
        };
        let number = |name: &str| {
            value(name).map(|n| n.parse::<usize>().unwrap_or_else(|_| panic!("{name}: a number")))
        };
        let errno = |name: &String| {
            ERRNOS
                .into_iter()
                .find(|e| format!("{e:?}") == *name)
                .unwrap_or_else(|| panic!("--errno {name}: one of {ERRNOS:?}"))
        };
        let kinds = list("--kind", &Kind::ALL.map(Kind::name));
        let roles = list("--role", &Role::ALL.map(Role::name));
        Plan {
            every: number("--every").unwrap_or(1).max(1),
            only: number("--only"),
            kinds: Kind::ALL.into_iter().filter(|k| kinds.iter().any(|n| n == k.name())).collect(),
            commands: list("--command", &COMMANDS),
            modes: list("--mode", &["kill", "error"]),
            roles: Role::ALL.into_iter().filter(|r| roles.iter().any(|n| n == r.name())).collect(),
            errnos: list("--errno", &ERRNOS.map(|e| format!("{e:?}")).each_ref().map(String::as_str))
                .iter()
                .map(errno)
                .collect(),
            share: (number("--share").unwrap_or(0), number("--of").unwrap_or(1)),
        }
    }

    /// The points of a command, of which the `share`th is ours.
    fn points(&self, mode: &str, role: Role, count: usize) -> Vec<Point> {
        let (share, of) = self.share;
        let numbers: Vec<usize> = match self.only {
            Some(number) => vec![number],
            // Not always the first call of each.
            None => (1..=count).skip(count % self.every.min(count.max(1))).step_by(self.every).collect(),
        };
        let faults = |number: usize| -> Vec<Fault> {
            match (mode, self.every) {
                ("kill", _) => vec![Fault::Kill],
                (_, 1) => self.errnos.iter().map(|e| Fault::Errno(*e)).collect(),
                _ => vec![Fault::Errno(self.errnos[number / self.every % self.errnos.len()])],
            }
        };
        let points = numbers
            .into_iter()
            .flat_map(|number| faults(number).into_iter().map(move |fault| Point { role, number, fault }));
        points.enumerate().filter(|(i, _)| i % of == share).map(|(_, point)| point).collect()
    }
}

pub fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    match args.iter().find_map(|a| a.strip_prefix("--as=")) {
        None => conduct(&args),
        Some("first") => be_first(&args),
        Some(_) => work(&Plan::parse(&args)),
    }
}

/// This program again.
fn again(role: &str, args: &[String]) -> Command {
    let mut command = Command::new("/proc/self/exe");
    let args = args.iter().filter(|a| !a.starts_with("--as="));
    command.arg(format!("--as={role}")).args(args);
    command
}

/// Starts the workers and adds up what they say.
fn conduct(args: &[String]) -> ExitCode {
    let begun = Instant::now();
    let cpus = std::thread::available_parallelism().map_or(1, usize::from);
    let plan = Plan::parse(args);
    let workers = if plan.only.is_some() { 1 } else { cpus };
    // Its children are the first of their pid namespaces.
    let start = |share: usize| -> Child {
        let mut command = Command::new("unshare");
        let options = ["--pid", "--fork", "--kill-child", "--mount", "--propagation", "private", "--"];
        command.args(options).arg(std::env::current_exe().expect("this program"));
        command.args(["--as=first", "--share", &share.to_string(), "--of", &workers.to_string()]).args(args);
        command.env("LAB", format!("{}x{share}", std::process::id()));
        command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().expect("unshare(1)")
    };
    let mut children: Vec<Child> = (0..workers).map(start).collect();
    let outputs = children.iter_mut().map(|c| c.stdout.take().expect("a pipe"));
    let rows: Vec<Value> = std::thread::scope(|scope| {
        let read = |out| {
            BufReader::new(out)
                .lines()
                .map_while(Result::ok)
                .filter_map(|line| serde_json::from_str(&line).ok())
                .collect::<Vec<Value>>()
        };
        let readers: Vec<_> = outputs.map(|out| scope.spawn(move || read(out))).collect();
        readers.into_iter().flat_map(|r| r.join().expect("a reader")).collect()
    });
    let failed = children.iter_mut().filter_map(|c| c.wait().ok()).any(|status| !status.success());
    let wrong = report(&rows);
    let points = rows.iter().filter(|r| r["hit"].is_string()).count();
    println!("{} of {points} points hold, in {} s", points - wrong, begun.elapsed().as_secs());
    if failed || wrong > 0 || points == 0 { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}

/// The first process of a pid namespace: orphans come here.
fn be_first(args: &[String]) -> ExitCode {
    let at = |target: &str, kind: &str| {
        mount(Some(kind), target, Some(kind), MsFlags::empty(), None::<&str>)
            .unwrap_or_else(|e| panic!("mount {target}: {e}"))
    };
    at("/proc", "proc");
    at("/run", "tmpfs");
    // Labs are made in memory.
    // Reaped below, with all others.
    #[allow(clippy::zombie_processes)]
    let worker = again("worker", args).env("TMPDIR", "/run").spawn().expect("this program");
    loop {
        match wait() {
            Ok(WaitStatus::Exited(pid, code)) if pid.as_raw() == worker.id() as i32 => {
                return ExitCode::from(code as u8);
            }
            Ok(WaitStatus::Signaled(pid, ..)) if pid.as_raw() == worker.id() as i32 => {
                return ExitCode::FAILURE;
            }
            Err(Errno::ECHILD) => return ExitCode::FAILURE,
            _ => {}
        }
    }
}

/// A share of the points, a line of JSON for each.
fn work(plan: &Plan) -> ExitCode {
    // Those of the machine's network are none of ours; the lab makes its own of all others.
    unshare(CloneFlags::CLONE_NEWNET).expect("unshare");
    spec_tests::default_runtime(&rrunc());
    for kind in &plan.kinds {
        spec_tests::obeys("no failure weakens isolation", |lab| {
            let mut judge = Judge::new(World::new(lab, *kind));
            for command in &plan.commands {
                sweep(plan, *kind, command, &mut judge);
            }
            judge.world().end();
        });
    }
    ExitCode::SUCCESS
}

fn sweep(plan: &Plan, kind: Kind, command: &str, judge: &mut Judge) {
    if !judge.world().can(command) {
        println!("{}", json!({ "kind": kind.name(), "command": command, "skipped": "this machine can't" }));
        return;
    }
    for role in &plan.roles {
        let count = match judge.count(command, *role) {
            Ok(count) => count,
            Err(why) => {
                println!(
                    "{}",
                    json!({ "kind": kind.name(), "command": command, "role": role.name(), "hit": "nothing", "n": 0, "fault": "none", "wrong": [why] })
                );
                continue;
            }
        };
        for mode in &plan.modes {
            for point in plan.points(mode, *role, count) {
                let Some(verdict) = judge.at(command, point) else { continue };
                let fault = match point.fault {
                    Fault::Kill => "kill".to_owned(),
                    Fault::Errno(errno) => format!("{errno:?}"),
                };
                println!(
                    "{}",
                    json!({
                        "kind": kind.name(), "command": command, "role": role.name(), "mode": mode, "n": point.number,
                        "fault": fault, "hit": verdict.hit, "outcome": verdict.outcome, "said": verdict.said, "wrong": verdict.wrong,
                    })
                );
            }
        }
    }
    judge.world().clean();
}

/// Prints a line for each command, and what is wrong, alike things once. How many points are wrong.
fn report(rows: &[Value]) -> usize {
    let text = |row: &Value, key: &str| row[key].as_str().unwrap_or_default().to_owned();
    let is_wrong = |row: &Value| row["wrong"].as_array().is_some_and(|w| !w.is_empty());
    let mut table: BTreeMap<[String; 4], (usize, usize, BTreeMap<String, usize>)> = BTreeMap::new();
    let mut wrong: BTreeMap<String, Vec<&Value>> = BTreeMap::new();
    for row in rows {
        if let Some(why) = row["skipped"].as_str() {
            println!("skipped {} {}: {why}", text(row, "kind"), text(row, "command"));
            continue;
        }
        let (good, all, outcomes) =
            table.entry(["kind", "command", "mode", "role"].map(|key| text(row, key))).or_default();
        *all += 1;
        *good += usize::from(!is_wrong(row));
        *outcomes.entry(text(row, "outcome")).or_default() += 1;
        if let Some(what) = row["wrong"].get(0).and_then(Value::as_str) {
            let call = text(row, "hit").split('(').next().unwrap_or_default().to_owned();
            let kind: String = what.chars().filter(|c| !c.is_ascii_digit()).take(60).collect();
            wrong
                .entry(format!("{} {} {call} {kind}", text(row, "command"), text(row, "role")))
                .or_default()
                .push(row);
        }
    }
    for ([kind, command, mode, role], (good, all, outcomes)) in &table {
        let mut ends = String::new();
        for (outcome, n) in outcomes {
            let _ = write!(ends, ", {outcome}: {n}"); // a String takes all
        }
        println!("{kind:8} {command:8} {mode:5} {role:6} {good:5} of {all}{ends}");
    }
    for rows in wrong.values() {
        let row = rows[0];
        let faults: std::collections::BTreeSet<_> = rows.iter().map(|r| text(r, "fault")).collect();
        println!(
            "\n{} ×: --kind {} --command {} --role {} --only {} ({})\n  at {}\n  said {}",
            rows.len(),
            text(row, "kind"),
            text(row, "command"),
            text(row, "role"),
            row["n"],
            faults.into_iter().collect::<Vec<_>>().join(" "),
            text(row, "hit"),
            text(row, "said")
        );
        for what in row["wrong"].as_array().into_iter().flatten().filter_map(Value::as_str) {
            println!("  {what}");
        }
    }
    rows.iter().filter(|row| is_wrong(row)).count()
}
