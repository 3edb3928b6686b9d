use std::process::{Child, Command, Stdio};

use super::*;
use crate::sys::Pid;

#[test]
fn places_stay_below_the_root() {
    for (given, cleaned) in [("/a/b", "a/b"), ("/../../x", "x"), ("/a/../../b/", "b"), ("/", "")] {
        assert_eq!(place(Some(Path::new(given)), "id").expect(given), cleaned);
    }
    for (own, given, expected) in [
        ("/", "id", "id"),
        ("/a.slice/b.scope", "id", "a.slice/id"),
        ("/a.slice/b.scope", "x/y", "a.slice/x/y"),
        ("/a.slice/b.scope", "../../../id", "a.slice/id"),
        ("/../../x/y", "id", "x/id"),
    ] {
        assert_eq!(beside(Path::new(own), Path::new(given)), expected);
    }
}

// From here on with a real cgroup2 mount, of any host: full, or hybrid where controllers are bound to v1.

/// A place of the test's own.
fn test_place(name: &str) -> String {
    format!("rrunc-test-{}-{name}", std::process::id())
}

fn new(name: &str) -> (Hierarchy, Cgroup) {
    let hierarchy = Hierarchy::find().expect("a cgroup2 mount");
    let cgroup = Cgroup::create(&hierarchy, &test_place(name)).expect("create");
    (hierarchy, cgroup)
}

fn resources(json: &str) -> LinuxResources {
    serde_json::from_str(json).expect(json)
}

/// `sh -c script`, in the cgroup at this path of the host.
fn inside(path: &Path, script: &str) -> Command {
    let mut command = Command::new("/bin/sh");
    let script = format!("echo $$ > {}/cgroup.procs && {script}", path.display());
    command.args(["-c", &script]).stdin(Stdio::null());
    command
}

/// A process that sleeps in the cgroup; it has arrived there.
fn sleeper(path: &Path) -> Child {
    let mut command = inside(path, "echo ready && exec sleep 1000");
    let mut child = command.stdout(Stdio::piped()).spawn().expect("spawn");
    let mut ready = [0; 6];
    std::io::Read::read_exact(child.stdout.as_mut().expect("stdout"), &mut ready).expect("ready");
    child
}

#[test]
#[ignore = "needs root"]
fn what_is_not_committed_goes_with_all_above_that_was_made() {
    let hierarchy = Hierarchy::find().expect("a cgroup2 mount");
    let outer = test_place("nested");
    let place = format!("{outer}/a/b");
    let cgroup = Cgroup::create(&hierarchy, &place).expect("create");
    let path = cgroup.host_path().to_path_buf();
    assert!(path.is_dir());
    let mut child = sleeper(&path);
    drop(cgroup);
    child.wait().expect("wait");
    assert!(!hierarchy.path.join(&outer).exists());

    let cgroup = Cgroup::create(&hierarchy, &place).expect("create again");
    cgroup.commit();
    let kept = Cgroup::open(&hierarchy, &outer).expect("open").expect("there");
    assert!(path.is_dir());
    kept.remove().expect("remove, with what is below");
    kept.remove().expect("and again");
    assert!(Cgroup::open(&hierarchy, &outer).expect("open").is_none());
    assert!(!kept.is_frozen().expect("of one that is gone"));
    kept.kill().expect("of one that is gone");
    assert_eq!(kept.pids().expect("of one that is gone"), []);
}

#[test]
#[ignore = "needs root"]
fn a_cgroup_that_is_in_use_is_refused() {
    let (hierarchy, cgroup) = new("used");
    let again = || Cgroup::create(&hierarchy, &cgroup.place);
    again().expect("an empty one can be taken over");
    assert!(cgroup.host_path().is_dir(), "and isn't ours to remove");

    let below = Cgroup::create(&hierarchy, &format!("{}/below", cgroup.place)).expect("below");
    let mut child = sleeper(below.host_path());
    let error = again().expect_err("in use");
    assert!(error.to_string().contains("container's cgroup is not empty: 1 process(es)"), "{error}");
    child.kill().expect("kill");
    child.wait().expect("wait");

    cgroup.freeze().expect("freeze");
    let error = Cgroup::create(&hierarchy, &format!("{}/new", cgroup.place)).expect_err("frozen");
    assert!(error.to_string().contains("container's cgroup unexpectedly frozen"), "{error}");
    assert!(!cgroup.host_path().join("new").exists());
}

#[test]
#[ignore = "needs root"]
fn limits_are_set_or_explained() {
    let (hierarchy, cgroup) = new("limits");
    let here = files::value(hierarchy.fd(), "cgroup.controllers").expect("controllers");
    for (json, file, value, field) in [
        (r#"{"memory":{"limit":268435456}}"#, "memory.max", "268435456\n", "memory.limit"),
        (r#"{"memory":{"limit":8192000,"swap":16384000}}"#, "memory.swap.max", "8192000\n", "memory.swap"),
        (r#"{"memory":{"reservation":4096}}"#, "memory.low", "4096\n", "memory.reservation"),
        (r#"{"pids":{"limit":20}}"#, "pids.max", "20\n", "pids.limit"),
        (r#"{"pids":{"limit":0}}"#, "pids.max", "1\n", "pids.limit"),
        (r#"{"cpu":{"shares":3333}}"#, "cpu.weight", "256\n", "cpu.shares"),
        (r#"{"cpu":{"quota":5000,"period":50000}}"#, "cpu.max", "5000 50000\n", "cpu.quota"),
        (r#"{"cpu":{"quota":6000}}"#, "cpu.max", "6000 50000\n", "cpu.quota"),
        (r#"{"cpu":{"quota":20000,"burst":15000}}"#, "cpu.max.burst", "15000\n", "cpu.quota"),
        (r#"{"cpu":{"quota":4000,"burst":3000}}"#, "cpu.max", "4000 50000\n", "cpu.quota"),
        (r#"{"cpu":{"idle":1,"shares":512}}"#, "cpu.idle", "1\n", "cpu.idle"),
        (r#"{"cpu":{"idle":0,"shares":2}}"#, "cpu.weight", "1\n", "cpu.shares"),
        (r#"{"cpu":{"cpus":"0","mems":"0"}}"#, "cpuset.cpus", "0\n", "cpu.cpus"),
        (
            r#"{"hugepageLimits":[{"pageSize":"2MB","limit":4194304}]}"#,
            "hugetlb.2MB.max",
            "4194304\n",
            "hugepageLimits[0].limit",
        ),
        (
            r#"{"hugepageLimits":[{"pageSize":"2MB","limit":2097152}]}"#,
            "hugetlb.2MB.rsvd.max",
            "2097152\n",
            "hugepageLimits[0].limit",
        ),
        (r#"{"unified":{"memory.high":"5242880"}}"#, "memory.high", "5242880\n", "unified[memory.high]"),
        (r#"{"unified":{"pids.max":"max"}}"#, "pids.max", "max\n", "unified[pids.max]"),
    ] {
        let controller = file.split('.').next().expect(file);
        let done = cgroup.apply(Some(&resources(json)));
        if here.split_whitespace().any(|name| name == controller) {
            done.expect(json);
            assert_eq!(files::value(cgroup.fd(), file).expect(file), value, "{json}");
        } else {
            let error = done.expect_err(json);
            assert_eq!(error.kind, Kind::Unsupported);
            let text = error.to_string();
            assert!(text.contains(&format!("linux.resources.{field} = ")), "{text}");
            assert!(text.contains(&format!("the {controller} controller")), "{text}");
        }
    }
    let nothing = r#"{"memory":{"limit":-1,"swap":-1},"pids":{"limit":-1},"cpu":{"shares":1024,"quota":-1}}"#;
    cgroup.apply(Some(&resources(nothing))).expect(nothing);
    let error = cgroup.apply(Some(&resources(r#"{"hugepageLimits":[{"pageSize":"3MB","limit":1}]}"#)));
    let text = error.expect_err("no such size").to_string();
    assert!(text.contains("has no file hugetlb.3MB.max"), "{text}");
}

#[test]
#[ignore = "needs root"]
fn a_cgroup_with_processes_passes_nothing_on() {
    let (hierarchy, above) = new("busy");
    let mut child = sleeper(above.host_path());
    let cgroup = Cgroup::create(&hierarchy, &format!("{}/below", above.place)).expect("create");
    let json = r#"{"hugepageLimits":[{"pageSize":"2MB","limit":4194304}]}"#;
    let text = cgroup.apply(Some(&resources(json))).expect_err(json).to_string();
    let path = above.host_path().display();
    let expected = format!("needs the hugetlb controller, which {path} doesn't pass on, having processes");
    assert!(text.contains(&expected), "{text}");
    let kind = files::value(cgroup.fd(), "cgroup.type").expect("type");
    assert_eq!(kind, "domain\n", "no single controller was enabled to get around it");
    above.kill().expect("kill");
    child.wait().expect("wait");
}

#[test]
#[ignore = "needs root"]
fn devices_are_limited_and_the_limits_replaced() {
    let (hierarchy, cgroup) = new("devices");
    /// On /dev, since other file systems may be mounted without devices.
    struct Node(String);
    impl Drop for Node {
        fn drop(&mut self) {
            let _ = fs::remove_file(&self.0);
        }
    }
    let node = Node(format!("/dev/{}", test_place("kmsg")));
    let node = &node.0;
    let may = |expected: [bool; 3]| {
        let scripts = [
            ": > /dev/null".to_string(),
            format!("rm -f {node}; mknod {node} c 1 11"),
            format!(": < {node}"),
        ];
        for (script, expected) in scripts.iter().zip(expected) {
            let mut command = inside(cgroup.host_path(), script);
            let done = command.stderr(Stdio::null()).status().expect(script);
            assert_eq!(done.success(), expected, "{script}");
        }
    };
    cgroup.apply(None).expect("defaults");
    may([true, true, false]);
    let again = Cgroup::open(&hierarchy, &cgroup.place).expect("open").expect("there");
    let read = r#"{"devices":[{"allow":false,"access":"rwm"},{"allow":true,"type":"c","major":1,"minor":11,"access":"r"}]}"#;
    again.apply(Some(&resources(read))).expect(read);
    may([true, true, true]);
    again.apply(None).expect("defaults again");
    may([true, true, false]);
    let all = r#"{"devices":[{"allow":true,"access":"rwm"}]}"#;
    again.apply(Some(&resources(all))).expect(all);
    may([true, true, true]);
    again.apply(None).expect("defaults after none");
    may([true, true, false]);
}

#[test]
#[ignore = "needs root"]
fn the_kernel_takes_every_program() {
    let (_, cgroup) = new("programs");
    for rules in devices::tests::random_rules().take(200) {
        let done = bpf::replace_device_programs(cgroup.fd(), &devices::compile(&rules));
        done.unwrap_or_else(|fail| panic!("{fail}: {rules:?}"));
    }
}

#[test]
#[ignore = "needs root"]
fn everything_below_is_listed_killed_and_removed() {
    let (hierarchy, cgroup) = new("tree");
    let mut place = cgroup.place.clone();
    let mut children = vec![sleeper(cgroup.host_path())];
    for depth in 0..20 {
        place = format!("{place}/{depth}");
        Cgroup::create(&hierarchy, &place).expect("create").commit();
        for side in 0..3 {
            let side = format!("{place}-{side}");
            Cgroup::create(&hierarchy, &side).expect("create").commit();
        }
    }
    children.push(sleeper(&hierarchy.path.join(&place)));
    let mut expected: Vec<_> = children.iter().map(|child| Pid(child.id() as i32)).collect();
    let mut pids = cgroup.pids().expect("pids");
    expected.sort();
    pids.sort();
    assert_eq!(pids, expected);
    cgroup.freeze().expect("freeze");
    cgroup.kill().expect("kill, though frozen");
    for mut child in children {
        assert!(!child.wait().expect("wait").success());
    }
    cgroup.remove().expect("remove");
    assert!(!cgroup.host_path().exists());
}

#[test]
#[ignore = "needs root"]
fn a_killed_one_is_removed_before_it_is_reaped() {
    let (_, cgroup) = new("killed");
    let mut child = sleeper(cgroup.host_path());
    cgroup.kill().expect("kill");
    cgroup.remove().expect("remove");
    assert!(!cgroup.host_path().exists());
    child.wait().expect("wait");
}

#[test]
#[ignore = "needs root"]
fn frozen_and_thawed() {
    let (_, cgroup) = new("frozen");
    let mut child = sleeper(cgroup.host_path());
    assert!(!cgroup.is_frozen().expect("is frozen"));
    cgroup.freeze().expect("freeze");
    assert!(cgroup.is_frozen().expect("is frozen"));
    let events = files::value(cgroup.fd(), "cgroup.events").expect("events");
    assert_eq!(files::keyed(&events, "frozen "), Some(1));
    cgroup.thaw().expect("thaw");
    assert!(!cgroup.is_frozen().expect("is frozen"));
    child.kill().expect("kill");
    child.wait().expect("wait");
}

#[test]
#[ignore = "needs root"]
fn delegated_to_a_user() {
    use std::os::unix::fs::MetadataExt;
    let (_, cgroup) = new("delegated");
    cgroup.chown_to(Uid(1234)).expect("chown");
    let uid = |file: &str| fs::metadata(cgroup.host_path().join(file)).expect(file).uid();
    let uids = ["", "cgroup.procs", "cgroup.subtree_control", "cgroup.threads", "cgroup.kill"].map(uid);
    assert_eq!(uids[..4], [1234; 4]);
    assert_eq!(uids[4], 0, "not what the kernel keeps for who delegates");
}
