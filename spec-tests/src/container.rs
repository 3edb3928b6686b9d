//! A container of a bundle: the runtime's commands on it, and its end whatever happens.

use std::fs;
use std::path::PathBuf;

use serde_json::Value;

use crate::bundle::Bundle;
use crate::command::{Command, Ran};
use crate::eventually;
use crate::inside::Inside;
use crate::lab::Lab;

pub struct Container<'a> {
    pub bundle: Bundle<'a>,
    pub id: String,
}

impl<'a> Container<'a> {
    pub(crate) fn new(bundle: Bundle<'a>) -> Container<'a> {
        let id = bundle.lab().fresh("c");
        Container { bundle, id }
    }

    pub fn lab(&self) -> &'a Lab {
        self.bundle.lab()
    }

    /// `COMMAND OPTION… ID` with the bundle written, for create and run.
    pub fn command(&self, name: &str, options: &[&str]) -> Command<'a> {
        self.bundle.write();
        let dir = self.bundle.dir().to_string_lossy().into_owned();
        let options = options.iter().map(|o| o.to_string());
        let args = [name.to_owned(), "--bundle".into(), dir].into_iter().chain(options);
        self.lab().command(args.chain([self.id.clone()]))
    }

    pub fn create(&self, options: &[&str]) -> Ran {
        self.command("create", options).run()
    }

    /// In the foreground unless an option says otherwise.
    pub fn run(&self, options: &[&str]) -> Ran {
        self.command("run", options).run()
    }

    pub fn start(&self) -> Ran {
        self.lab().run(["start", &self.id])
    }

    /// With the signal, or without one.
    pub fn kill(&self, signal: &[&str]) -> Ran {
        self.lab().run(["kill", &self.id].iter().chain(signal).copied())
    }

    pub fn delete(&self, options: &[&str]) -> Ran {
        self.lab().run(std::iter::once("delete").chain(options.iter().copied()).chain([self.id.as_str()]))
    }

    /// Panics if `state` fails.
    pub fn state(&self) -> Value {
        self.lab().state(&self.id)
    }

    /// Panics if `state` fails.
    pub fn status(&self) -> String {
        self.state()["status"].as_str().expect("a status").to_owned()
    }

    pub fn wait_for(&self, status: &str) {
        eventually(&format!("{} is {status}", self.id), || (self.status() == status).then_some(()));
    }

    pub fn pid(&self) -> i32 {
        self.state()["pid"].as_i64().expect("a pid") as i32
    }

    /// What the helper wrote so far to a file of the root file system (`to PATH`).
    pub fn answers(&self, inside: &str) -> Inside {
        Inside::parse(&fs::read_to_string(self.bundle.path(inside)).unwrap_or_default())
    }

    /// Waits until the helper has answered `phrase` in that file.
    pub fn wait_for_answer(&self, inside: &str, phrase: &str) -> Inside {
        eventually(&format!("an answer to {phrase:?}"), || {
            let answers = self.answers(inside);
            answers.has(phrase).then_some(answers)
        })
    }

    /// The host's directory of the cgroup that the container's process is in.
    pub fn cgroup(&self) -> PathBuf {
        let text = fs::read_to_string(format!("/proc/{}/cgroup", self.pid())).expect("the process's cgroup");
        let path = text.lines().find_map(|l| l.strip_prefix("0::/")).expect("a line for cgroup2");
        self.lab().cgroups().join(path)
    }
}

impl Drop for Container<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            // A runtime that keeps a plan keeps it in the container's state directory.
            if let Ok(plan) = fs::read_to_string(self.lab().root().join(&self.id).join("plan")) {
                self.lab().note(&format!("plan of {}:\n{plan}", self.id));
            }
        }
        self.delete(&["--force"]);
    }
}
