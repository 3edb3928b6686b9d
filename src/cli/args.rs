//! A [`Request`] as the argv that asks for it, without the program's name: how the shim calls rrunc. What
//! is at its default is left out, but for --root, whose default depends on the caller.

use std::ffi::{OsStr, OsString};

use super::criu::{CgroupsMode, Images, NetworkLock};
use super::{CgroupManager, Checkpoint, Command, Create, Exec, ListFormat, Request, Restore, Rootless};
use crate::log::{Format, Level};

impl Request {
    pub fn to_args(&self) -> Vec<OsString> {
        let mut args = Args(vec![]);
        let global = &self.global;
        args.option("--root", Some(&global.root));
        args.option("--log", global.log.as_ref());
        args.option(
            "--log-format",
            (global.log_format != Format::default()).then(|| global.log_format.name()),
        );
        if !global.debug {
            args.option(
                "--log-level",
                (global.log_level != Level::default()).then(|| global.log_level.name()),
            );
        }
        args.switch("--debug", global.debug);
        args.switch("--systemd-cgroup", global.cgroup_manager == CgroupManager::Systemd);
        args.option(
            "--cgroup-manager",
            (global.cgroup_manager == CgroupManager::Disabled).then_some("disabled"),
        );
        args.option(
            "--rootless",
            match global.rootless {
                Rootless::Auto => None,
                Rootless::Yes => Some("true"),
                Rootless::No => Some("false"),
            },
        );
        args.command(&self.command);
        args.0
    }
}

struct Args(Vec<OsString>);

impl Args {
    fn word(&mut self, word: impl AsRef<OsStr>) {
        self.0.push(word.as_ref().to_owned());
    }

    fn switch(&mut self, name: &str, on: bool) {
        if on {
            self.word(name);
        }
    }

    fn option(&mut self, name: &str, value: Option<impl AsRef<OsStr>>) {
        if let Some(value) = value {
            self.word(name);
            self.word(value);
        }
    }

    /// An argument that isn't a flag, even if it looks like one.
    fn operand(&mut self, operand: &str) {
        self.switch("--", operand.starts_with('-'));
        self.word(operand);
    }

    fn command(&mut self, command: &Command) {
        match command {
            Command::Create(create) => {
                self.word("create");
                self.bundle_options(create);
                self.operand(&create.id);
            }
            Command::Start { id } => {
                self.word("start");
                self.operand(id);
            }
            Command::State { id } => {
                self.word("state");
                self.operand(id);
            }
            Command::Kill { id, signal, all, regex } => {
                self.word("kill");
                self.switch("--all", *all);
                self.switch("--regex", *regex);
                self.operand(id);
                self.word(signal.0.to_string());
            }
            Command::Delete { id, force, regex } => {
                self.word("delete");
                self.switch("--force", *force);
                self.switch("--regex", *regex);
                self.operand(id);
            }
            Command::Run(run) => {
                self.word("run");
                self.bundle_options(&run.create);
                self.switch("--detach", run.detach);
                self.switch("--keep", run.keep);
                self.switch("--no-subreaper", run.no_subreaper);
                self.operand(&run.create.id);
            }
            Command::Mounts { action, id, file } => {
                self.word("mounts");
                self.word(action.name());
                // All that follows, for both may look like a flag.
                self.word("--");
                self.word(id);
                self.word(file);
            }
            Command::Exec(exec) => {
                self.word("exec");
                self.exec(exec);
            }
            Command::Checkpoint(checkpoint) => {
                self.word("checkpoint");
                self.checkpoint(checkpoint);
            }
            Command::Restore(restore) => {
                self.word("restore");
                self.restore(restore);
            }
            Command::Pause { id } => {
                self.word("pause");
                self.operand(id);
            }
            Command::Resume { id } => {
                self.word("resume");
                self.operand(id);
            }
            Command::Events { id, interval, stats } => {
                self.word("events");
                self.option("--interval", Some(format!("{}ms", interval.as_millis())));
                self.switch("--stats", *stats);
                self.operand(id);
            }
            Command::Update(update) => {
                self.word("update");
                self.option("--resources", update.resources.as_ref());
                for (flag, value) in super::commands::update::flags(&update.limits) {
                    self.option(&format!("--{flag}"), Some(value));
                }
                for line in &update.rdt {
                    let flag = super::commands::update::rdt_flag(line);
                    self.option(&format!("--{flag}"), Some(line));
                }
                for name in &update.ignored {
                    self.option(&format!("--{name}"), Some("0"));
                }
                self.operand(&update.id);
            }
            Command::Ps { id, format, options } => {
                self.word("ps");
                self.option("--format", (*format == ListFormat::Json).then_some("json"));
                self.operand(id);
                options.iter().for_each(|option| self.word(option));
            }
            Command::List { format, quiet } => {
                self.word("list");
                self.option("--format", (*format == ListFormat::Json).then_some("json"));
                self.switch("--quiet", *quiet);
            }
            Command::Spec { bundle, file, rootless } => {
                self.word("spec");
                self.option("--bundle", bundle.as_ref());
                self.option("--file", file.as_ref());
                self.switch("--rootless", *rootless);
            }
            Command::Check { bundle, format } => {
                self.word("check");
                self.format(*format);
                self.option("--bundle", bundle.as_ref());
            }
            Command::Plan(plan) => {
                self.word("plan");
                self.option("--bundle", plan.bundle.as_ref());
                self.switch("--no-pivot", plan.no_pivot);
                self.switch("--no-new-keyring", plan.no_new_keyring);
            }
            Command::Features => self.word("features"),
            Command::Info { format } => {
                self.word("info");
                self.format(*format);
            }
        }
    }

    fn exec(&mut self, exec: &Exec) {
        self.option("--process", exec.process.as_ref());
        self.switch("--tty", exec.tty);
        self.option("--cwd", exec.cwd.as_ref());
        self.option("--user", exec.user.map(|user| user.to_string()));
        for gid in &exec.additional_gids {
            self.option("--additional-gids", Some(gid.to_string()));
        }
        for (name, values) in [("--env", &exec.env), ("--cap", &exec.caps)] {
            values.iter().for_each(|value| self.option(name, Some(value)));
        }
        self.switch("--detach", exec.detach);
        self.option("--pid-file", exec.pid_file.as_ref());
        self.option("--console-socket", exec.console_socket.as_ref());
        self.option("--pidfd-socket", exec.pidfd_socket.as_ref());
        self.option("--preserve-fds", (exec.preserve_fds > 0).then(|| exec.preserve_fds.to_string()));
        self.switch("--no-new-privs", exec.no_new_privs);
        self.option("--process-label", exec.process_label.as_ref());
        self.option("--apparmor", exec.apparmor.as_ref());
        self.option("--cgroup", exec.cgroup.as_ref());
        self.switch("--ignore-paused", exec.ignore_paused);
        self.operand(&exec.id);
        exec.args.iter().for_each(|arg| self.word(arg));
    }

    fn checkpoint(&mut self, args: &Checkpoint) {
        self.images(&args.images);
        self.option("--parent-path", args.parent_path.as_ref());
        self.switch("--leave-running", args.leave_running);
        self.switch("--pre-dump", args.pre_dump);
        self.switch("--tcp-skip-in-flight", args.tcp_skip_in_flight);
        self.switch("--link-remap", args.link_remap);
        self.option("--status-fd", args.status_fd.map(|fd| fd.to_string()));
        self.option("--page-server", args.page_server.as_ref().map(ToString::to_string));
        self.operand(&args.id);
    }

    fn restore(&mut self, args: &Restore) {
        self.images(&args.images);
        self.option("--bundle", args.bundle.as_ref());
        self.option("--console-socket", args.console_socket.as_ref());
        self.option("--pid-file", args.pid_file.as_ref());
        self.switch("--detach", args.detach);
        self.switch("--no-subreaper", args.no_subreaper);
        self.switch("--no-pivot", args.no_pivot);
        self.switch("--tcp-close", args.tcp_close);
        self.option("--lsm-profile", args.lsm_profile.as_ref());
        self.option("--lsm-mount-context", args.lsm_mount_context.as_ref());
        self.operand(&args.id);
    }

    fn images(&mut self, images: &Images) {
        self.option("--image-path", images.image_path.as_ref());
        self.option("--work-path", images.work_path.as_ref());
        self.switch("--tcp-established", images.tcp_established);
        self.switch("--ext-unix-sk", images.ext_unix_sk);
        self.switch("--shell-job", images.shell_job);
        self.switch("--file-locks", images.file_locks);
        self.switch("--lazy-pages", images.lazy_pages);
        self.switch("--auto-dedup", images.auto_dedup);
        let mode = images.manage_cgroups_mode;
        self.option("--manage-cgroups-mode", (mode != CgroupsMode::default()).then(|| mode.name()));
        self.option("--empty-ns", images.empty_ns.then_some("network"));
        self.option("--network-lock", images.network_lock.map(NetworkLock::name));
    }

    fn format(&mut self, format: Format) {
        self.option("--format", (format != Format::default()).then(|| format.name()));
    }

    fn bundle_options(&mut self, create: &Create) {
        self.option("--bundle", create.bundle.as_ref());
        self.option("--config", create.config.as_ref());
        self.option("--console-socket", create.console_socket.as_ref());
        self.option("--pid-file", create.pid_file.as_ref());
        self.option("--pidfd-socket", create.pidfd_socket.as_ref());
        self.option("--preserve-fds", (create.preserve_fds > 0).then(|| create.preserve_fds.to_string()));
        self.switch("--no-pivot", create.no_pivot);
        self.switch("--no-new-keyring", create.no_new_keyring);
    }
}
