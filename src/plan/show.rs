//! Steps in words: what a user reads in a plan and in a failure.

use std::ffi::CString;
use std::fmt;

use super::namespaces::names;
use super::step::{After, EnterRoot, Idmap, InRoot, NOTIFIES, Step};
use crate::spec::mount_options::{Meaning, OPTIONS};
use crate::sys::Gid;
use crate::sys::mount::MountAttr;

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = |c: &CString| c.to_string_lossy().into_owned();
        match self {
            Step::JoinNamespace { name, .. } => write!(f, "join the {name} namespace"),
            Step::JoinProcess { kinds, .. } => {
                write!(f, "join namespaces of the container: {}", names(*kinds))
            }
            Step::AwaitIdMaps => write!(f, "wait for the id maps of the new user namespace"),
            Step::LoopbackUp => write!(f, "bring up the network device lo"),
            Step::AwaitNetDevices => write!(f, "wait for the host's network devices"),
            Step::BecomeRoot { .. } => write!(f, "become root in the user namespace"),
            Step::CloneTree { copy, .. } => write!(f, "clone the mount at {} from inside", text(&copy.path)),
            Step::NewSession => write!(f, "start a new session"),
            // What follows the last dot is nobody's business.
            Step::SessionKeyring { name, .. } => {
                let name = text(name);
                let shown = name.rsplit_once('.').map_or(&*name, |(shown, _)| shown);
                write!(f, "join the new session keyring {shown}")
            }
            Step::NewCgroupNamespace => write!(f, "new namespace: cgroup"),
            Step::Hostname(name) => write!(f, "set the hostname to {}", text(name)),
            Step::Domainname(name) => write!(f, "set the domainname to {}", text(name)),
            Step::Sysctl { key, value, .. } => write!(f, "set linux.sysctl[{key}] to {}", text(value)),
            Step::PropagateNothing => write!(f, "make all mounts slave"),
            Step::Stage { path, .. } => write!(f, "prepare a stage below {}", text(path)),
            Step::AttachRoot { path, .. } => write!(f, "bind the root {} on itself", text(path)),
            Step::Cover { path, .. } => write!(f, "cover {}", text(path)),
            Step::UseRoot { .. } => write!(f, "use the root where it is"),
            Step::Mount(m) => {
                write!(f, "{}: mount {} on {}", m.field, text(&m.fstype), m.target.path)?;
                if m.source != m.fstype {
                    write!(f, " from {}", text(&m.source))?;
                }
                let mut options = flag_names(m.flags);
                options.extend(m.copy_up.then(|| "tmpcopyup".to_string()));
                options.extend(Some(text(&m.data)).filter(|data| !data.is_empty()));
                if !options.is_empty() {
                    write!(f, " ({})", options.join(","))?;
                }
                m.after.fmt(f)
            }
            Step::MakeFs(m) => {
                write!(f, "{}: make a {}", m.field, text(&m.fstype))?;
                for (key, value) in &m.options {
                    write!(f, " {}", text(key))?;
                    if let Some(value) = value {
                        write!(f, "={}", text(value))?;
                    }
                }
                Ok(())
            }
            Step::FindMount { field, path } => write!(f, "{field}: find the mount on {path}"),
            Step::Unmount { field, path } => write!(f, "{field}: unmount {path}"),
            Step::Done => write!(f, "say that all is done"),
            Step::Bind(b) => {
                write!(f, "{}: bind {} on {}", b.field, b.source, b.target.path)?;
                if b.target.nofollow {
                    write!(f, " itself")?;
                }
                if b.attr != MountAttr::default() {
                    write!(f, " ({})", attribute_names(&b.attr, "").join(","))?;
                }
                match b.idmap {
                    Some(Idmap { recursive: true, .. }) => write!(f, ", all of it id-mapped")?,
                    Some(_) => write!(f, ", id-mapped")?,
                    None => {}
                }
                b.after.fmt(f)
            }
            Step::Device { directory, name, mode, device, uid, gid } => {
                let (major, minor) = (libc::major(*device), libc::minor(*device));
                let directory = directory.to_string();
                let slash = if directory == "/" { "" } else { "/" };
                {
                    let kind = match mode & libc::S_IFMT {
                        libc::S_IFBLK => format!("block device {major}:{minor}"),
                        libc::S_IFIFO => "fifo".into(),
                        _ => format!("character device {major}:{minor}"),
                    };
                    let mode = mode & 0o7777;
                    write!(
                        f,
                        "make {directory}{slash}{}, a {kind} (mode {mode:04o}, owner {uid}:{gid})",
                        text(name)
                    )
                }
            }
            Step::BindDevice { path, .. } => write!(f, "bind a device node on {path}"),
            Step::Symlink { directory, name, target, .. } => {
                write!(f, "link {directory}/{} to {}", text(name), text(target))
            }
            Step::Console { .. } => write!(f, "open a terminal and hand its master to the console socket"),
            Step::Inherit => write!(f, "leave the program what was opened for it"),
            Step::AwaitHostHooks => write!(f, "wait for the host's prestart and createRuntime hooks"),
            Step::Hook { program, list, index, .. } => {
                write!(f, "run hooks.{list}[{index}] {}", text(&program.path))
            }
            Step::Mask { paths, .. } => {
                let paths: Vec<_> = paths.iter().map(InRoot::to_string).collect();
                write!(f, "mask {}", paths.join(" "))
            }
            Step::ReadOnlyPath(path) => write!(f, "make {path} read-only"),
            Step::ReadOnlyMount { path, .. } => write!(f, "make the mount at {path} read-only"),
            Step::ChangeMount { field, path, attr, after, .. } => {
                let names = attribute_names(attr, "").join(",");
                write!(f, "{field}: change the mount at {path} ({names}){after}")
            }
            Step::ReadOnlyRoot => write!(f, "make the root read-only"),
            Step::EnterRoot(EnterRoot::Pivot) => write!(f, "pivot into the root, detach the old one"),
            Step::EnterRoot(EnterRoot::MoveOver) => write!(f, "move the root over / and enter it"),
            Step::EnterRoot(EnterRoot::Chroot) => write!(f, "enter the root by chroot"),
            Step::RootPropagation(flag, recursive) => {
                write!(f, "make the root {}{}", if *recursive { "r" } else { "" }, propagation_name(*flag))
            }
            Step::MakeDirectory(path) => write!(f, "make the directory {path} if it is missing"),
            Step::Stdio { .. } => write!(f, "hand the standard streams to the container"),
            Step::Label { field, file, value } => {
                write!(f, "label: {field}: {} to {}", text(value), text(file))
            }
            Step::Affinity => write!(f, "run on every CPU of the cpuset"),
            Step::RunOn(cpus) => write!(f, "run on CPUs {cpus}"),
            Step::Scheduler(attr) => write!(
                f,
                "schedule by policy {}, nice {}, priority {}",
                attr.policy, attr.nice, attr.priority
            ),
            Step::MemoryPolicy { mode, nodes } => {
                write!(f, "set memory policy {mode:#x}")?;
                nodes.as_ref().map_or(Ok(()), |nodes| write!(f, " on nodes {nodes}"))
            }
            Step::IoPriority(value) => {
                write!(f, "set I/O class {}, priority {}", value >> 13, value & 0x1fff)
            }
            Step::RaiseLimit { index, limit } => {
                write!(
                    f,
                    "raise process.rlimits[{index}], {}, to {} if it is lower",
                    resource_name(limit.resource),
                    limit.hard
                )
            }
            Step::SetLimit { index, limit } => {
                let name = resource_name(limit.resource);
                write!(
                    f,
                    "set process.rlimits[{index}], {name}, to soft {} and hard {}",
                    limit.soft, limit.hard
                )
            }
            Step::Umask(mask) => write!(f, "set umask {mask:04o}"),
            Step::Personality(persona) => write!(f, "set personality {persona:#x}"),
            Step::KeepBoundingSet(set) => write!(f, "bound capabilities to {}", CapNames(*set)),
            Step::SetIds { uid, gid, groups } => {
                write!(f, "set uid {uid}, gid {gid}")?;
                match groups {
                    Some(groups) => {
                        let groups: Vec<_> = groups.iter().map(Gid::to_string).collect();
                        write!(f, ", groups [{}]", groups.join(" "))
                    }
                    None => write!(f, ", keep our groups"),
                }
            }
            Step::SetCapabilities { sets, ambient } => write!(
                f,
                "keep capabilities: effective {}, permitted {}, inheritable {}, ambient {}",
                CapNames(sets.effective),
                CapNames(sets.permitted),
                CapNames(sets.inheritable),
                CapNames(*ambient)
            ),
            Step::ChangeDirectory { path, early: true } => {
                write!(f, "try to change to {} while still root", text(path))
            }
            Step::ChangeDirectory { path, .. } => write!(f, "change to process.cwd {}", text(path)),
            Step::NoNewPrivileges => write!(f, "no new privileges"),
            Step::FindProgram { name, candidates } => {
                let n = candidates.len();
                let s = if n == 1 { "" } else { "s" };
                write!(f, "find process.args[0] {name:?} ({n} candidate{s})")
            }
            Step::HomeFromPasswd(uid) => write!(f, "set HOME from /etc/passwd for uid {uid}"),
            Step::CloseFds { keep: 0 } => write!(f, "close every fd but 0-2 at exec"),
            Step::CloseFds { keep } => write!(f, "close every fd but 0-{} at exec", 2 + keep),
            Step::LandlockRules(rules) => {
                let paths: Vec<_> = rules.paths.iter().map(|rule| text(&rule.path)).collect();
                let ports: Vec<_> = rules.ports.iter().map(|(port, _)| port.to_string()).collect();
                write!(
                    f,
                    "{}: make rules for paths [{}], ports [{}]",
                    crate::spec::landlock::KEY,
                    paths.join(" "),
                    ports.join(" ")
                )
            }
            Step::LandlockRestrict => write!(f, "{}: put the rules in force", crate::spec::landlock::KEY),
            Step::AwaitLimits => write!(f, "wait for limits that the host sets"),
            Step::Outlive => write!(f, "stay if the runtime ends"),
            Step::AwaitStart { .. } => write!(f, "wait for start"),
            Step::CountAsRunning => write!(f, "count as running"),
            Step::Seccomp(filter) => {
                write!(f, "install the seccomp filter ({} instructions)", filter.instructions())?;
                match filter.listens() {
                    true => write!(f, " and {NOTIFIES}"),
                    false => Ok(()),
                }
            }
            Step::Exec { name, .. } => write!(f, "execute {name}"),
        }
    }
}

impl fmt::Display for After {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.recursive != MountAttr::default() {
            write!(f, " ({})", attribute_names(&self.recursive, "r").join(","))?;
        }
        for (flag, recursive) in &self.propagation {
            write!(f, ", {}{}", if *recursive { "r" } else { "" }, propagation_name(*flag))?;
        }
        Ok(())
    }
}

fn propagation_name(flag: u64) -> &'static str {
    match flag {
        libc::MS_SHARED => "shared",
        libc::MS_SLAVE => "slave",
        libc::MS_PRIVATE => "private",
        libc::MS_UNBINDABLE => "unbindable",
        _ => "?",
    }
}

/// A capability mask by names, `none`, or `all` that we know.
struct CapNames(u64);

impl fmt::Display for CapNames {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut known: Vec<_> = caps::all().into_iter().collect();
        known.sort_by_key(caps::Capability::index);
        let names: Vec<_> = known
            .iter()
            .filter(|cap| self.0 & (1 << cap.index()) != 0)
            .map(|cap| cap.to_string().trim_start_matches("CAP_").to_lowercase())
            .collect();
        match names.len() {
            0 => f.write_str("none"),
            n if n == known.len() => f.write_str("all"),
            _ => f.write_str(&names.join(" ")),
        }
    }
}

/// MS_* flags by the options that set them.
fn flag_names(flags: u64) -> Vec<String> {
    let names =
        OPTIONS.iter().filter(|(_, meaning)| matches!(meaning, Meaning::Set(flag) if flags & flag != 0));
    names.map(|(name, _)| (*name).to_string()).collect()
}

/// MOUNT_ATTR_* by the options that set and clear them.
fn attribute_names(attr: &MountAttr, prefix: &str) -> Vec<String> {
    const NAMES: [(u64, &str, &str); 6] = [
        (0x1, "ro", "rw"),
        (0x2, "nosuid", "suid"),
        (0x4, "nodev", "dev"),
        (0x8, "noexec", "exec"),
        (0x80, "nodiratime", "diratime"),
        (0x20_0000, "nosymfollow", "symfollow"),
    ];
    let named =
        NAMES.iter().filter_map(|(bit, set, clear)| match (attr.set & bit != 0, attr.clear & bit != 0) {
            (true, _) => Some(*set),
            (_, true) => Some(*clear),
            _ => None,
        });
    // The access time is a field of its own, cleared before it is set.
    let atime = (attr.clear & 0x70 != 0).then_some(match attr.set & 0x70 {
        0x10 => "noatime",
        0x20 => "strictatime",
        _ => "relatime",
    });
    named.chain(atime).map(|name| format!("{prefix}{name}")).collect()
}

/// RLIMIT_* by number.
fn resource_name(resource: u32) -> String {
    let names = crate::plan::process::RESOURCES;
    let name = names.iter().find(|(_, number, _)| *number == resource).map(|(_, _, name)| *name);
    name.map_or_else(|| resource.to_string(), str::to_string)
}
