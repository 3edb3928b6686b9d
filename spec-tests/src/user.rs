//! Labs in which somebody else than root calls the runtime: a user with no capability, a directory for state, and a
//! range of subordinate ids. The user exists in the lab's mount namespace alone, so nothing of it stays behind.

use std::fs;
use std::os::unix::fs::{PermissionsExt, lchown};
use std::path::Path;
use std::process::Command;

use nix::mount::{MsFlags, mount};

use crate::lab::{Lab, runtime};
use crate::{eventually, machine, needs};

/// The user's id, and that of its only group.
pub const UID: u32 = 61_000;
/// The first of [`SUBORDINATES`] ids that /etc/subuid and /etc/subgid give to the user.
pub const SUBORDINATE: u32 = 700_000;
pub const SUBORDINATES: u32 = 65_536;

/// Where the runtime's binary is for a user who may not walk to it.
const BINARY: &str = "/dev/runtime";

const INTO_A_LEAF: &str = "leaf=/sys/fs/cgroup$(sed -n s/0:://p /proc/self/cgroup)/caller && mkdir $leaf && \
    echo $$ >$leaf/cgroup.procs && exec \"$0\" \"$@\"";

impl Lab {
    /// From now on the user calls the runtime, and owns what the lab makes.
    pub fn become_user(&self) {
        let dir = self.dir();
        let etc = dir.join("etc");
        fs::create_dir(&etc).expect("a directory");
        let (uid, subs) = (UID, format!("tester:{SUBORDINATE}:{SUBORDINATES}\n"));
        for (name, text) in [
            (
                "passwd",
                format!("root:x:0:0::/root:/bin/sh\ntester:x:{uid}:{uid}::{}:/bin/sh\n", dir.display()),
            ),
            ("group", format!("root:x:0:\ntester:x:{uid}:\n")),
            ("subuid", subs.clone()),
            ("subgid", subs),
        ] {
            let (file, covered) = (etc.join(name), format!("/etc/{name}"));
            fs::write(&file, text).expect("a file");
            bind(&file, Path::new(&covered));
        }
        fs::create_dir(dir.join("run")).expect("a directory");
        fs::set_permissions(dir.join("run"), fs::Permissions::from_mode(0o700)).expect("chmod");
        self.call_as(UID, &[]);
    }

    /// From now on a user of the machine calls the runtime, each time in a leaf of a scope that the user's systemd
    /// delegates: beside a cgroup with processes, a scope say, systemd takes controllers away that it has no use for.
    /// Skips the test if nobody has a systemd.
    pub fn become_session_user(&self) {
        let scope =
            "systemd-run --user --scope --quiet --collect --expand-environment=no --property Delegate=yes --";
        let mut through: Vec<_> = scope.split(' ').collect();
        through.extend(["sh", "-c", INTO_A_LEAF]);
        self.call_as_session_user(&through);
    }

    /// The same user, who stays in the cgroup that we are in: root's, as that of a session from ssh(1) or a console is.
    pub fn become_login_user(&self) {
        self.call_as_session_user(&[]);
    }

    fn call_as_session_user(&self, through: &[&str]) {
        let user = machine::session_user();
        needs(user.is_some(), "an ordinary user whose systemd runs (loginctl enable-linger)");
        let id = user.unwrap_or_default();
        let runtime_directory = format!("XDG_RUNTIME_DIR=/run/user/{id}");
        let bus = format!("DBUS_SESSION_BUS_ADDRESS=unix:path=/run/user/{id}/bus");
        let mut words = vec!["env", &runtime_directory, &bus];
        words.extend(through);
        self.call_as(id, &words);
    }

    /// The user has no capability and one group. `through` are the words of a program that executes the runtime.
    fn call_as(&self, id: u32, through: &[&str]) {
        fs::create_dir(BINARY).expect("a directory");
        let binary = Path::new(BINARY).join(&runtime().name);
        fs::write(&binary, "").expect("a mount point");
        bind(&found(&runtime().path), &binary);
        give(self.dir(), id);
        let setpriv = found(Path::new("setpriv")).to_string_lossy().into_owned();
        let ids = [format!("--reuid={id}"), format!("--regid={id}")];
        let others = ["--clear-groups", "--inh-caps=-all", "--"].map(String::from);
        let through = through.iter().map(|word| word.to_string());
        let words = std::iter::once(setpriv).chain(ids).chain(others).chain(through);
        self.call_by(words.collect(), &binary, Some(id));
    }

    /// After [`Lab::become_user`]: the user calls the runtime in this cgroup.
    pub fn enter_cgroup(&self, cgroup: &Path) {
        let script = format!("echo $$ >{}/cgroup.procs && exec \"$0\" \"$@\"", cgroup.display());
        let mut words = vec!["sh".into(), "-c".into(), script];
        let (caller, binary) = self.caller();
        words.extend(caller);
        self.call_by(words, &binary, Some(UID));
    }

    /// From now on the caller is the root of a user namespace below the one before, in the same mount namespace or, with
    /// `mounts`, in one of its own.
    pub fn enter_user_namespace(&self, mounts: bool) {
        let (mut caller, binary) = self.caller();
        let (new, enter) = if mounts { ("-Urm", "--mount") } else { ("-Ur", "--user") };
        let words = caller.iter().map(String::as_str).chain(["unshare", new, "sleep", "600"]);
        let words: Vec<_> = words.collect();
        let holder = Command::new(words[0]).args(&words[1..]).spawn().expect("unshare(1)");
        let pid = holder.id();
        eventually("the user namespace is there", || {
            let name = fs::read_to_string(format!("/proc/{pid}/comm")).ok()?;
            (name.trim() == "sleep").then_some(())
        });
        self.keep(holder);
        caller.extend(["nsenter", "--preserve-credentials", "--user", "-t"].map(String::from));
        caller.extend([pid.to_string(), enter.into(), "--".into()]);
        self.call_by(caller, &binary, self.user());
    }
}

fn bind(source: &Path, target: &Path) {
    let done = mount(Some(source), target, None::<&str>, MsFlags::MS_BIND, None::<&str>);
    done.unwrap_or_else(|e| panic!("bind {} on {}: {e}", source.display(), target.display()));
}

/// A program by its path, or by its name in PATH.
fn found(program: &Path) -> std::path::PathBuf {
    if program.components().count() > 1 {
        return program.into();
    }
    let path = std::env::var_os("PATH").unwrap_or_default();
    let candidates = std::env::split_paths(&path).map(|dir| dir.join(program));
    let mut there = candidates.filter(|path| path.is_file());
    there.next().unwrap_or_else(|| panic!("{} isn't in PATH", program.display()))
}

/// Makes all below `path` the user's.
pub fn give(path: &Path, id: u32) {
    lchown(path, Some(id), Some(id)).unwrap_or_else(|e| panic!("chown {}: {e}", path.display()));
    if path.is_dir() && !path.is_symlink() {
        for entry in fs::read_dir(path).expect("a directory").flatten() {
            give(&entry.path(), id);
        }
    }
}
