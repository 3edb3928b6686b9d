//! What the host remembers of containers: one directory per container below the root, mode 0700.
//!
//! | ROOT/ID/…    | what it is |
//! |--------------|---|
//! | `state.json` | the [`Record`], written to another name and renamed |
//! | `config.json`| as the container was made from it: the bundle's may change |
//! | `cgroup`     | a link to the name of the cgroup that was about to be made |
//! | `resources.json` | linux.resources as the last update has left them |
//! | `plan`       | the plan as text |
//! | `start.sock` | where the waiting init listens for `start` |
//! | `waiting`    | empty; locked by the init until it executes the user's program |
//!
//! Facts that can't change are written down; the [`Status`] is asked of the kernel each time, so that it
//! is right also after a reboot, or when rrunc or the init was killed. Commands that change a container
//! hold a lock (flock(2)) on its directory while they work; those that only look take none.
//!
//! Nothing of it is believed that isn't [`ours`](crate::ours): the root, a container's directory, each file. What
//! can't be looked at is an error, never "it isn't there".

mod alive;
mod dir;
mod id;
mod record;

use std::fs;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::cgroup::{Cgroup, Hierarchy};
use crate::error::{Doing, Error, Kind, Result};
use crate::sys::process::{Lock, flock};
use crate::sys::{Call, Errno, Fail, Named, files, fs as sys, unix};

use dir::Dir;

pub use crate::time::now;
pub use alive::boot_id;
pub use id::ContainerId;
pub use record::{Record, Report, SeccompListener, Status, VERSION};

const RECORD: &str = "state.json";
const CGROUP: &str = "cgroup";
const CONFIG: &str = "config.json";
const RESOURCES: &str = "resources.json";
const PLAN: &str = "plan";
const START: &str = "start.sock";
const WAITING: &str = "waiting";
const ELSEWHERE: &str = "an ordinary user's containers are remembered in $XDG_RUNTIME_DIR/rrunc: set that, as a login \
                         does, to a directory of your own such as /run/user/UID; or name another with --root";

/// All containers below one root directory.
pub struct Store {
    root: PathBuf,
    /// `None` if it isn't there yet.
    dir: Option<Arc<Dir>>,
}

impl Store {
    /// `root` need not exist: the first [`reserve`](Store::reserve) makes it, mode 0700. Kind `Untrusted` if it isn't ours.
    pub fn open(root: &Path) -> Result<Store> {
        let root = std::path::absolute(root)
            .call(Call::Getcwd)
            .doing(|| format!("find the root directory {root:?}"))?;
        if root.parent().is_none() {
            return Err(Error::new(Kind::Usage, "the root directory of the state must not be /"));
        }
        let mut store = Store { root, dir: None };
        store.dir = store.dir()?;
        Ok(store)
    }

    fn dir(&self) -> Result<Option<Arc<Dir>>> {
        match &self.dir {
            Some(root) => Ok(Some(root.clone())),
            None => Ok(Dir::open_root(&self.root).map_err(elsewhere)?.map(Arc::new)), // somebody may have made it
        }
    }

    fn make_root(&self) -> Result<Arc<Dir>> {
        if let Some(root) = &self.dir {
            return Ok(root.clone());
        }
        // Sticky, or what stays unused in XDG_RUNTIME_DIR might be pruned (XDG Base Directory Specification).
        let made = files::make_dir_all(&self.root, 0o1700);
        made.doing(|| format!("make {:?}", self.root)).map_err(elsewhere)?;
        let removed = || Error::new(Kind::Kernel, format!("{:?} was removed meanwhile", self.root));
        self.dir()?.ok_or_else(removed)
    }

    /// Takes the id. What is reserved is undone unless it is committed.
    pub fn reserve(&self, id: &ContainerId) -> Result<Reservation> {
        let root = self.make_root()?;
        let path = self.root.join(id.as_str());
        // Between mkdir and lock a `delete --force` may take it for a leftover and remove it: begin again.
        for _ in 0..16 {
            match root.make_dir(id.as_str()) {
                Err(Fail { errno: Errno::EEXIST, .. }) => return Err(exists(&root, id)),
                made => made.doing(|| format!("make {path:?}")).map_err(elsewhere)?,
            }
            let locked = load(&root, id).and_then(|mut container| container.lock().map(|()| container));
            match locked {
                Err(error) if error.kind == Kind::NotFound => {}
                Err(error) => {
                    let _ = root.remove_dir(id.as_str()); // ours and empty, or else somebody's who has the lock
                    return Err(error);
                }
                Ok(mut container) => {
                    container.reserved = true;
                    return Ok(Reservation(container));
                }
            }
        }
        Err(Error::new(Kind::Kernel, format!("{path:?} is removed again each time it is made")))
    }

    /// Kind `NotFound` if there is no such container, `Untrusted` if it isn't ours. One whose state.json is lost or
    /// unreadable is found, so that it can be deleted; only [`Container::record`] complains.
    pub fn load(&self, id: &ContainerId) -> Result<Container> {
        load(&self.dir()?.ok_or_else(|| not_found(id))?, id)
    }

    /// The names of all containers, sorted; none if the root isn't there.
    pub fn ids(&self) -> Result<Vec<ContainerId>> {
        let Some(root) = self.dir()? else {
            return Ok(vec![]);
        };
        let mut ids = vec![];
        sys::rewind(root.fd()).doing(|| format!("list {:?}", self.root))?;
        let listed = sys::for_each_typed_entry(root.fd(), |name, kind| {
            let is_dir = matches!(kind, libc::DT_DIR | libc::DT_UNKNOWN);
            let id = name.to_str().ok().and_then(|name| ContainerId::new(name).ok());
            ids.extend(id.filter(|_| is_dir));
            Ok(())
        });
        listed.doing(|| format!("list {:?}", self.root))?;
        ids.sort();
        Ok(ids)
    }
}

fn load(root: &Arc<Dir>, id: &ContainerId) -> Result<Container> {
    let dir = root.open_dir(id.as_str()).map_err(elsewhere)?.ok_or_else(|| not_found(id))?;
    let (root, id) = (root.clone(), id.clone());
    let mut container = Container { id, root, dir, locked: false, reserved: false, record: Loaded::Missing };
    container.reload()?;
    Ok(container)
}

fn exists(root: &Arc<Dir>, id: &ContainerId) -> Error {
    let error = Error::new(Kind::Exists, format!("container with given ID already exists: {id}"));
    let leftover =
        load(root, id).and_then(|mut other| Ok(!other.has_init() && other.status()? == Status::Stopped));
    match leftover {
        Ok(true) => error
            .hint(format!("it is what a killed create left behind: rrunc delete --force {id} removes it")),
        Err(other) if other.kind == Kind::Untrusted => other,
        _ => error,
    }
}

fn not_found(id: &ContainerId) -> Error {
    Error::new(Kind::NotFound, format!("container does not exist: {id}"))
}

/// A container's directory, and what was in it.
pub struct Container {
    id: ContainerId,
    root: Arc<Dir>,
    dir: Dir,
    locked: bool,
    reserved: bool,
    record: Loaded,
}

enum Loaded {
    Record(Box<Record>),
    Missing,
    /// With what is wrong.
    Broken(String),
}

impl Container {
    pub fn id(&self) -> &ContainerId {
        &self.id
    }

    /// ROOT/ID.
    pub fn path(&self) -> &Path {
        &self.dir.path
    }

    pub fn dir(&self) -> BorrowedFd<'_> {
        self.dir.fd()
    }

    /// What is known of the container. Kind `NotFound` if nothing is (yet), `Kernel` if it can't be read.
    pub fn record(&self) -> Result<&Record> {
        let error = match &self.record {
            Loaded::Record(record) => return Ok(record),
            Loaded::Missing => not_found(&self.id).context("no state.json is there"),
            Loaded::Broken(text) => {
                Error::new(Kind::Kernel, format!("{:?}: {text}", self.path().join(RECORD)))
            }
        };
        Err(error.hint(format!("rrunc delete --force {} removes what is left of it", self.id)))
    }

    fn has_init(&self) -> bool {
        self.record().is_ok_and(|record| record.pid.is_some())
    }

    fn reload(&mut self) -> Result<()> {
        self.record = match self.dir.read(RECORD)? {
            None => Loaded::Missing,
            Some(bytes) => match serde_json::from_slice::<Record>(&bytes) {
                Err(error) => Loaded::Broken(error.to_string()),
                Ok(record) if record.version > VERSION => Loaded::Broken(format!(
                    "written by a newer rrunc in version {}, this one knows {VERSION}",
                    record.version
                )),
                Ok(record) => Loaded::Record(Box::new(record)),
            },
        };
        Ok(())
    }

    /// Waits until no other command works on the container, and keeps others out until the container is
    /// dropped or [unlocked](Container::unlock). The record is read anew. Kind `NotFound` if it was deleted
    /// meanwhile.
    pub fn lock(&mut self) -> Result<()> {
        if self.locked {
            return Ok(());
        }
        flock(self.dir(), Lock::Exclusive).doing(|| format!("lock {:?}", self.path()))?;
        self.locked = true;
        match self.root.still_has(self.id.as_str(), &self.dir)? {
            true => self.reload(),
            false => Err(not_found(&self.id)),
        }
    }

    /// Lets other commands in again, while we go on looking at the container.
    pub fn unlock(&mut self) {
        if self.locked {
            // Explicitly: a child that inherited the fd and has not closed it yet would keep the lock.
            let _ = flock(self.dir(), Lock::Release); // can't fail on an open fd
            self.locked = false;
        }
    }

    /// What the kernel says. An error only if the record is broken or the kernel can't be asked.
    pub fn status(&mut self) -> Result<Status> {
        if !self.has_init() && !self.locked {
            if is_locked(self.dir()).doing(|| format!("ask for the lock of {:?}", self.path()))? {
                return Ok(Status::Creating);
            }
            self.reload()?; // a create may have ended after we read
        }
        let record = match self.record {
            Loaded::Missing => return Ok(Status::Stopped),
            _ => self.record()?,
        };
        if record.init()?.is_none() {
            Ok(Status::Stopped)
        } else if self.waits()? {
            Ok(Status::Created)
        } else if self.is_frozen()? {
            Ok(Status::Paused)
        } else {
            Ok(Status::Running)
        }
    }

    /// Whether the init still waits for `start`.
    fn waits(&self) -> Result<bool> {
        match self.dir.open(WAITING)? {
            Some(file) => is_locked(file.as_fd())
                .doing(|| format!("ask for the lock of {:?}", self.path().join(WAITING))),
            None => Ok(false),
        }
    }

    /// The container's cgroup, if it has one that is still there: not one that others made later with its name. There may
    /// be processes of others in it.
    pub fn cgroup(&self) -> Result<Option<Cgroup>> {
        let record = self.record()?;
        let Some(place) = &record.cgroup else {
            return Ok(None);
        };
        let Some(cgroup) = Cgroup::open(&Hierarchy::find()?, place)? else {
            return Ok(None);
        };
        let is_same = match record.cgroup_inode {
            0 => true,
            inode => record.is_of_this_boot()? && cgroup.inode()? == inode,
        };
        Ok(is_same.then(|| cgroup.of_unit(record.unit.clone())))
    }

    /// Where it and others are.
    pub fn store(&self) -> Store {
        Store { root: self.root.path.clone(), dir: Some(self.root.clone()) }
    }

    fn is_frozen(&self) -> Result<bool> {
        self.cgroup()?.map_or(Ok(false), |cgroup| cgroup.is_frozen())
    }

    /// Connects to the init that waits for `start`: a socket of packets. Fails with ECONNREFUSED or ENOENT
    /// if none waits.
    pub fn connect_start(&self) -> Result<OwnedFd> {
        unix::connect(unix::Kind::SeqPacket, self.dir(), START)
            .doing(|| format!("knock on {START} of {}", self.id))
    }

    /// linux.resources as the last update has left them; `None` if there was none.
    pub fn resources(&self) -> Result<Option<Vec<u8>>> {
        self.dir.read(RESOURCES)
    }

    pub fn write_resources(&self, json: &[u8]) -> Result<()> {
        self.dir.write(RESOURCES, json)
    }

    /// The cgroup that `create` was about to make, relative to the cgroup2 mount: whether it did isn't known.
    pub fn planned_cgroup(&self) -> Result<Option<String>> {
        self.dir.read_link(CGROUP)
    }

    /// The config.json that the container was made from.
    pub fn config(&self) -> Result<Vec<u8>> {
        let missing = || Error::new(Kind::Kernel, format!("{:?} is missing", self.path().join(CONFIG)));
        self.dir.read(CONFIG)?.ok_or_else(missing)
    }

    /// The plan as `create` wrote it, `None` if it can't be read.
    pub fn plan(&self) -> Option<String> {
        let plan = self.dir.read(PLAN).ok().flatten()?; // only words of an error are made of it
        String::from_utf8(plan).ok()
    }

    /// Removes the directory with all that is in it; it may be gone already. state.json goes last: what fails on the way
    /// can be repeated.
    pub fn remove(self) -> Result<()> {
        self.remove_all()
    }

    fn remove_all(&self) -> Result<()> {
        self.dir.clear(RECORD)?;
        self.root.remove_dir(self.id.as_str()).doing(|| format!("remove {:?}", self.path()))
    }

    pub fn write_record(&mut self, record: &Record) -> Result<()> {
        let record = Record { version: VERSION, ..record.clone() };
        let json = serde_json::to_vec(&record)
            .map_err(|error| Error::new(Kind::Kernel, format!("state of {}: {error}", self.id)))?;
        self.dir.write(RECORD, &json)?;
        self.record = Loaded::Record(Box::new(record));
        Ok(())
    }
}

/// Root's containers aren't this user's.
fn elsewhere(error: Error) -> Error {
    match error.fail.map(|fail| fail.errno) {
        Some(Errno::EACCES) => error.hint(ELSEWHERE),
        _ => error,
    }
}

impl Drop for Container {
    fn drop(&mut self) {
        if self.reserved {
            let _ = self.remove_all(); // what can't be removed is reported as a leftover later
        }
        self.unlock();
    }
}

/// An id that is taken, with its directory locked. Dropped, it removes the directory; committed, it becomes
/// the [`Container`].
pub struct Reservation(Container);

impl Reservation {
    /// ROOT/ID.
    pub fn path(&self) -> &Path {
        self.0.path()
    }

    pub fn dir(&self) -> BorrowedFd<'_> {
        self.0.dir()
    }

    /// Remembers a cgroup that may not be ours yet, for whoever cleans up after us. A link is one call.
    pub fn plan_cgroup(&self, place: &str) -> Result<()> {
        self.0.dir.make_link(CGROUP, place)
    }

    /// Writes what is known before there is a process, so that `delete --force` finds the cgroup if we are
    /// killed from here on.
    pub fn write_early(&mut self, record: &Record) -> Result<()> {
        self.0.write_record(record)
    }

    pub fn write_config(&self, config: &[u8]) -> Result<()> {
        self.0.dir.write(CONFIG, config)
    }

    pub fn write_plan(&self, plan: &str) -> Result<()> {
        self.0.dir.write(PLAN, plan.as_bytes())
    }

    /// The socket of packets that the init accepts `start` on.
    pub fn listen_start(&self) -> Result<OwnedFd> {
        let path = self.path().join(START);
        let socket =
            unix::listen(unix::Kind::SeqPacket, self.dir(), START).doing(|| format!("make {path:?}"))?;
        // Its mode was the umask's to say; nobody else gets through the directory.
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600))
            .call(Call::Chmod)
            .doing(|| format!("set the mode of {path:?}"))?;
        Ok(socket)
    }

    /// An fd that holds the lock of `waiting`. The init inherits it (it is close-on-exec), everybody else
    /// closes it: then the lock is held exactly until the user's program is executed.
    pub fn waiting(&self) -> Result<OwnedFd> {
        let file = self.0.dir.create(WAITING)?;
        flock(file.as_fd(), Lock::Exclusive).doing(|| format!("lock {:?}", self.path().join(WAITING)))?;
        Ok(file)
    }

    /// The container is there to stay. It stays locked until it is dropped or unlocked.
    pub fn commit(mut self, record: &Record) -> Result<Container> {
        self.0.write_record(record)?;
        self.0.reserved = false;
        Ok(self.0)
    }
}

/// Whether somebody holds `file` exclusively. Asking takes the lock for a moment, but shared: it makes no
/// second asker believe in a holder, and whoever wants it exclusively only waits for that moment.
fn is_locked(file: BorrowedFd<'_>) -> std::result::Result<bool, Fail> {
    match flock(file, Lock::TryShared) {
        Ok(()) => flock(file, Lock::Release).map(|()| false),
        Err(Fail { errno: Errno::EWOULDBLOCK, .. }) => Ok(true),
        Err(fail) => Err(fail),
    }
}

#[cfg(test)]
pub(crate) mod tests; // its fixtures serve the tests of ops too
