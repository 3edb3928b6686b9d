use super::*;
use crate::sys::Pid;
use std::os::unix::fs::PermissionsExt;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

/// A root of its own for each test, removed at the end.
pub struct Root(pub PathBuf);

impl Root {
    pub fn new() -> Root {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let n = COUNT.fetch_add(1, Ordering::Relaxed);
        Root(std::env::temp_dir().join(format!("rrunc-state-{}-{n}", std::process::id())))
    }
    pub fn store(&self) -> Store {
        Store::open(&self.0).unwrap()
    }
}

impl Drop for Root {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// A process that ends when it is dropped.
pub struct Cat(Child);

impl Cat {
    pub fn new() -> Cat {
        let mut command = Command::new("cat");
        Cat(command.stdin(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap())
    }
    pub fn record(&self) -> Record {
        let mut record = Record { id: "a".into(), ..Record::default() };
        record.set_init(Pid(self.0.id() as i32)).unwrap();
        record
    }
}

impl Drop for Cat {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

pub fn id(id: &str) -> ContainerId {
    ContainerId::new(id).unwrap()
}

/// The processes that other tests start inherit our locks until they execute their program, so a lock that
/// we let go ends a moment later.
fn becomes(expected: Status, mut status: impl FnMut() -> Status) {
    let deadline = Instant::now() + Duration::from_secs(10);
    while status() != expected && Instant::now() < deadline {
        std::thread::yield_now();
    }
    assert_eq!(status(), expected);
}

pub fn fails<T>(result: Result<T>, kind: Kind, part: &str) {
    let error = result.err().expect("an error");
    assert_eq!(error.kind, kind);
    assert!(error.to_string().contains(part), "{error}");
}

#[test]
fn reserved_is_private_and_undone() {
    let root = Root::new();
    let store = root.store();
    let reservation = store.reserve(&id("a")).unwrap();
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o7777;
    assert_eq!(mode(&root.0), 0o1700);
    assert_eq!(mode(reservation.path()), 0o700);
    fails(store.reserve(&id("a")).map(drop), Kind::Exists, "container with given ID already exists: a");
    drop(reservation);
    fails(store.load(&id("a")).map(drop), Kind::NotFound, "container does not exist: a");
    assert_eq!(fs::read_dir(&root.0).unwrap().count(), 0);
}

#[test]
fn committed_stays() {
    let (root, cat) = (Root::new(), Cat::new());
    let store = root.store();
    let reservation = store.reserve(&id("a")).unwrap();
    reservation.write_plan(" 1 pivot\n").unwrap();
    drop(reservation.commit(&cat.record()).unwrap());
    let mut container = store.load(&id("a")).unwrap();
    assert_eq!(container.record().unwrap().pid, cat.record().pid);
    assert_eq!(container.plan().as_deref(), Some(" 1 pivot\n"));
    assert_eq!(container.status().unwrap(), Status::Running);
    let mode = fs::metadata(container.path().join(RECORD)).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    container.remove().unwrap();
    store.load(&id("a")).map(|container| container.remove()).unwrap_err();
}

#[test]
fn one_of_many_wins() {
    let root = Root::new();
    for round in 0..20 {
        let (id, store) = (id(&format!("a{round}")), &root.store());
        let won = std::thread::scope(|scope| {
            let thread = || store.reserve(&id).and_then(|r| r.commit(&Record::default())).is_ok();
            let threads: Vec<_> = (0..8).map(|_| scope.spawn(thread)).collect();
            threads.into_iter().filter_map(|thread| thread.join().ok()).filter(|&won| won).count()
        });
        assert_eq!(won, 1);
    }
}

#[test]
fn status_from_creating_to_stopped() {
    let (root, cat) = (Root::new(), Cat::new());
    let store = root.store();
    let status = || store.load(&id("a")).unwrap().status().unwrap();

    let mut reservation = store.reserve(&id("a")).unwrap();
    assert_eq!(status(), Status::Creating, "without a record");
    reservation.write_early(&Record::default()).unwrap();
    assert_eq!(status(), Status::Creating);
    let mut seen_before = store.load(&id("a")).unwrap();
    let waiting = reservation.waiting().unwrap();
    let container = reservation.commit(&cat.record()).unwrap();
    assert_eq!(status(), Status::Created, "whoever holds the lock of the directory");
    drop(container);
    assert_eq!(status(), Status::Created);
    assert_eq!(seen_before.status().unwrap(), Status::Created);
    drop(waiting);
    becomes(Status::Running, status);
    drop(cat);
    assert_eq!(status(), Status::Stopped);
}

#[test]
fn waiting_lock_ends_with_exec() {
    let root = Root::new();
    let reservation = root.store().reserve(&id("a")).unwrap();
    let waiting = reservation.waiting().unwrap();
    let cat = Cat::new(); // inherits the fd until it executes cat
    drop(waiting);
    let mut container = reservation.commit(&cat.record()).unwrap();
    becomes(Status::Running, || container.status().unwrap());
}

#[test]
fn leftover_of_a_killed_create() {
    let root = Root::new();
    let store = root.store();
    store.reserve(&id("a")).map(std::mem::forget).unwrap(); // its fd stays open and locked here
    assert_eq!(store.load(&id("a")).unwrap().status().unwrap(), Status::Creating);

    fs::create_dir(root.0.join("b")).unwrap(); // as after a kill: no lock
    let mut left = store.load(&id("b")).unwrap();
    assert_eq!(left.status().unwrap(), Status::Stopped);
    fails(left.record().map(drop), Kind::NotFound, "container does not exist: b");
    fails(store.reserve(&id("b")).map(drop), Kind::Exists, "rrunc delete --force b");
    left.lock().unwrap();
    assert_eq!(left.status().unwrap(), Status::Stopped, "our own lock is no creator's");
    left.remove().unwrap();
    store.reserve(&id("b")).unwrap();
}

#[test]
fn broken_records() {
    let root = Root::new();
    let store = root.store();
    let check = |json: &str, part: &str| {
        fs::create_dir_all(root.0.join("a")).unwrap();
        fs::write(root.0.join("a/state.json"), json).unwrap();
        let mut container = store.load(&id("a")).unwrap();
        fails(container.record().map(drop), Kind::Kernel, part);
        fails(container.status().map(drop), Kind::Kernel, "rrunc delete --force a");
        container.remove().unwrap();
    };
    check("", "EOF");
    check("{\"version\":1,\"id\":\"a", "EOF");
    check("{\"version\":1,\"pid\":\"x\"}", "invalid type");
    check("{\"version\":2}", "newer");
}

#[test]
fn deleted_while_waiting_for_the_lock() {
    let root = Root::new();
    let store = root.store();
    let holder = store.reserve(&id("a")).unwrap().commit(&Record::default()).unwrap();
    let mut late = store.load(&id("a")).unwrap();
    let late = std::thread::spawn(move || late.lock());
    holder.remove().unwrap();
    store.reserve(&id("a")).unwrap().commit(&Record::default()).unwrap(); // same id, another container
    fails(late.join().unwrap(), Kind::NotFound, "container does not exist: a");
}

#[test]
fn listed_in_order() {
    let root = Root::new();
    let store = root.store();
    assert_eq!(store.ids().unwrap().len(), 0, "no root yet");
    for name in ["b", "a", "c.1"] {
        store.reserve(&id(name)).unwrap().commit(&Record::default()).unwrap();
    }
    fs::create_dir(root.0.join(".seccomp")).unwrap();
    fs::write(root.0.join("file"), "").unwrap();
    let names: Vec<_> = store.ids().unwrap().iter().map(|id| id.to_string()).collect();
    assert_eq!(names, ["a", "b", "c.1"]);
    fails(Store::open(Path::new("/")).map(drop), Kind::Usage, "must not be /");
}

#[test]
fn knock_through_a_long_path() {
    let root = Root::new();
    let store = Store::open(&root.0.join("x".repeat(200))).unwrap();
    let reservation = store.reserve(&id(&"y".repeat(200))).unwrap();
    let listener = reservation.listen_start().unwrap();
    let container = reservation.commit(&Record::default()).unwrap();
    let ours = container.connect_start().unwrap();
    let theirs = crate::sys::net::accept(listener.as_fd()).unwrap();
    crate::sys::net::send(theirs.as_fd(), b"hello", None).unwrap();
    let mut bytes = [0; 8];
    assert_eq!(crate::sys::net::receive(ours.as_fd(), &mut bytes).unwrap().0, 5);
    drop((listener, theirs));
    assert!(container.connect_start().is_err());
}
