//! Cgroups that systemd makes (--systemd-cgroup): what runtimes have in common there, since no specification says it.
//! `CGROUP_MANAGER=systemd` runs the other tests this way too.

use std::fs;
use std::path::Path;
use std::process::Command;

use serde_json::{Value, json};
use spec_tests::*;

fn sleeper(lab: &Lab) -> Bundle<'_> {
    needs(machine::systemd(), "systemd, and cgroup v2 alone");
    lab.bundle().phrases(["sleep"])
}

/// A container in the scope PREFIX-NAME.scope of this slice; PREFIX is the lab's.
struct Scoped<'a> {
    container: Container<'a>,
    unit: String,
}

impl<'a> Scoped<'a> {
    fn create(lab: &'a Lab, bundle: Bundle<'a>, slice: &str) -> Scoped<'a> {
        let name = lab.fresh("s");
        let bundle = bundle.set("/linux/cgroupsPath", format!("{slice}:{}:{name}", lab.tag()));
        let container = bundle.container();
        with_systemd(container.command("create", &[])).run().ok();
        Scoped { container, unit: format!("{}-{name}.scope", lab.tag()) }
    }

    fn property(&self, name: &str) -> String {
        systemctl(&["show", "--value", "--property", name, &self.unit])
    }

    fn file(&self, name: &str) -> String {
        let path = self.container.cgroup().join(name);
        fs::read_to_string(path).expect("a file of the cgroup").trim().into()
    }

    fn is_gone(&self) {
        assert_eq!(self.property("LoadState"), "not-found", "{} is left", self.unit);
    }
}

fn with_systemd(command: spec_tests::Command<'_>) -> spec_tests::Command<'_> {
    match machine::by_systemd() {
        true => command,
        false => command.global("--systemd-cgroup"),
    }
}

fn systemctl(args: &[&str]) -> String {
    let output = Command::new("systemctl").args(args).output().expect("systemctl");
    assert!(output.status.success(), "systemctl {args:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).trim().into()
}

#[test]
fn a_container_is_in_its_scope_and_slice() {
    obeys("systemd", |lab| {
        let s = Scoped::create(lab, sleeper(lab), "system.slice");
        let expected = lab.cgroups().join("system.slice").join(&s.unit);
        assert!(s.container.cgroup().starts_with(&expected), "{}", s.container.cgroup().display());
        assert_eq!(s.property("ActiveState"), "active");
        assert_eq!(s.property("Delegate"), "yes");
        s.container.delete(&["--force"]).ok();
        assert!(!expected.exists());
        s.is_gone();
    });
}

#[test]
fn slices_are_in_slices() {
    obeys("systemd", |lab| {
        let tag = lab.tag().replace('-', "_");
        let s = Scoped::create(lab, sleeper(lab), &format!("{tag}-b.slice"));
        let expected = lab.cgroups().join(format!("{tag}.slice/{tag}-b.slice")).join(&s.unit);
        assert!(s.container.cgroup().starts_with(expected));
        s.container.delete(&["--force"]).ok();
        systemctl(&["stop", &format!("{tag}.slice")]);
    });
}

#[test]
fn what_is_no_unit_is_refused() {
    obeys("systemd", |lab| {
        for path in ["system.slice:a", "system:a:b", "a--b.slice:a:b"] {
            let c = sleeper(lab).set("/linux/cgroupsPath", path).container();
            with_systemd(c.command("create", &[])).run().fails();
        }
    });
}

/// The properties and the files, and both again after systemd has read its configuration anew.
#[test]
fn limits_are_systemds_too() {
    obeys("systemd", |lab| {
        let resources = json!({
            "memory": { "limit": 67_108_864, "reservation": 33_554_432 },
            "cpu": { "quota": 50_000, "period": 100_000, "shares": 2048, "cpus": "0" },
            "pids": { "limit": 17 },
        });
        let s = Scoped::create(lab, sleeper(lab).set("/linux/resources", resources), "system.slice");
        let check = || {
            assert_eq!(s.property("MemoryMax"), "67108864");
            assert_eq!(s.property("MemoryLow"), "33554432");
            assert_eq!(s.property("CPUQuotaPerSecUSec"), "500ms");
            assert_eq!(s.property("TasksMax"), "17");
            assert_eq!(s.property("AllowedCPUs"), "0");
            assert_eq!(s.file("memory.max"), "67108864");
            assert_eq!(s.file("cpu.max"), "50000 100000");
            assert_eq!(s.file("pids.max"), "17");
            assert_eq!(s.file("cpuset.cpus"), "0");
            assert_eq!(s.property("CPUWeight"), s.file("cpu.weight"));
        };
        check();
        systemctl(&["daemon-reload"]);
        check();
    });
}

#[test]
fn a_limit_that_systemd_knows_nothing_of_is_set() {
    obeys("systemd", |lab| {
        needs(machine::controller("hugetlb"), "the hugetlb controller");
        let limit = |bytes: u64| json!([{ "pageSize": "2MB", "limit": bytes }]);
        let b = sleeper(lab).set("/linux/resources/hugepageLimits", limit(4 << 20));
        let s = Scoped::create(lab, b, "system.slice");
        assert_eq!(s.file("hugetlb.2MB.max"), "4194304");
        update(lab, &s, &json!({ "hugepageLimits": limit(2 << 20) }));
        assert_eq!(s.file("hugetlb.2MB.max"), "2097152");
    });
}

/// In a slice of its own, to which nothing has passed that controller on.
#[test]
fn an_update_limits_what_no_limit_was_for() {
    obeys("systemd", |lab| {
        needs(machine::controller("hugetlb"), "the hugetlb controller");
        let slice = format!("{}.slice", lab.tag().replace('-', "_"));
        let s = Scoped::create(lab, sleeper(lab), &slice);
        let limit = json!([{ "pageSize": "2MB", "limit": 2 << 20 }]);
        update(lab, &s, &json!({ "hugepageLimits": limit }));
        assert_eq!(s.file("hugetlb.2MB.max"), "2097152");
        s.container.delete(&["--force"]).ok();
        systemctl(&["stop", &slice]);
    });
}

fn update(lab: &Lab, s: &Scoped<'_>, resources: &Value) {
    let file = lab.dir().join("resources.json");
    fs::write(&file, resources.to_string()).unwrap();
    let file = file.to_str().unwrap();
    lab.run(["update", "--resources", file, &s.container.id]).ok();
}

#[test]
fn a_limit_of_one_process_leaves_room_for_the_first() {
    obeys("systemd", |lab| {
        let b = sleeper(lab).set("/linux/resources/pids/limit", 1);
        let s = Scoped::create(lab, b, "system.slice");
        assert_eq!(s.file("pids.max"), "1");
    });
}

/// A device that isn't allowed to all, and one that isn't allowed.
#[test]
fn device_rules_outlive_a_reload() {
    obeys("systemd", |lab| {
        let rules = json!([
            { "allow": false, "access": "rwm" },
            { "allow": true, "type": "c", "major": 10, "minor": 229, "access": "rw" },
        ]);
        let b = lab.bundle().phrases(["sleep"]).set("/linux/resources/devices", rules);
        needs(machine::systemd(), "systemd, and cgroup v2 alone");
        needs(Path::new("/sys/class/misc/fuse").exists(), "a device that anybody may open");
        let b = b.caps(&ALL_CAPS).set("/process/args", json!(["/bin/sh", "-c", SCRIPT]));
        let s = Scoped::create(lab, b, "system.slice");
        lab.run(["start", &s.container.id]).ok();
        let asked = |round: &str| {
            fs::write(s.container.bundle.path("/tmp").join(round), "").expect("a file");
            eventually("an answer", || {
                let text =
                    fs::read_to_string(s.container.bundle.path(&format!("/tmp/{round}.answer"))).ok()?;
                text.ends_with("end\n").then_some(text)
            })
        };
        let expected = "fuse yes\nkmsg no\nnull yes\nend\n";
        assert_eq!(asked("1"), expected);
        systemctl(&["daemon-reload"]);
        assert_eq!(asked("2"), expected);
    });
}

const SCRIPT: &str = "cd /dev; busybox mknod fuse c 10 229; busybox mknod kmsg c 1 11
for round in 1 2; do
  while [ ! -e /tmp/$round ]; do sleep 0.1; done
  for n in fuse kmsg null; do
    if (: < $n) 2>/dev/null; then echo $n yes; else echo $n no; fi
  done > /tmp/part; echo end >> /tmp/part; busybox mv /tmp/part /tmp/$round.answer
done; sleep 1000";

#[test]
fn annotations_are_properties() {
    obeys("systemd", |lab| {
        let b = sleeper(lab).set(
            "/annotations",
            json!({
                "org.systemd.property.TimeoutStopUSec": "uint64 123000000",
                "org.systemd.property.Documentation": "['man:a(1)']",
            }),
        );
        let s = Scoped::create(lab, b, "system.slice");
        assert_eq!(s.property("TimeoutStopUSec"), "2min 3s");
        assert!(s.property("Documentation").contains("man:a(1)"));
    });
}

/// As crun has it.
#[test]
fn an_annotation_names_a_cgroup_below_the_scope() {
    obeys("systemd", |lab| {
        let b = sleeper(lab).set("/annotations/run.oci.systemd.subgroup", "inner");
        let s = Scoped::create(lab, b, "system.slice");
        let expected = lab.cgroups().join("system.slice").join(&s.unit).join("inner");
        assert_eq!(s.container.cgroup(), expected);
        lab.run(["start", &s.container.id]).ok();
        let exec = ["exec", &s.container.id, "/bin/inside", "to /tmp/exec", "pid", "sleep"];
        let running = lab.command(exec).spawn();
        s.container.wait_for_answer("/tmp/exec", "pid");
        let members = fs::read_to_string(expected.join("cgroup.procs")).expect("the cgroup");
        assert_eq!(members.lines().count(), 2, "{members}");
        drop(running);
        s.container.delete(&["--force"]).ok();
        s.is_gone();
    });
}

#[test]
fn an_annotation_that_is_no_value_is_refused() {
    obeys("systemd", |lab| {
        let key = "org.systemd.property.TimeoutStopUSec";
        let b = sleeper(lab).set("/annotations", json!({ key: "uint64 soon" }));
        with_systemd(b.container().command("create", &[])).run().fails();
    });
}

#[test]
fn an_admin_stops_the_scope() {
    obeys("systemd", |lab| {
        // Pid 1 of a namespace ignores SIGTERM; SIGKILL comes when the time is over.
        let key = "org.systemd.property.TimeoutStopUSec";
        let b = sleeper(lab).set("/annotations", json!({ key: "uint64 1000000" }));
        let s = Scoped::create(lab, b, "system.slice");
        lab.run(["start", &s.container.id]).ok();
        systemctl(&["stop", &s.unit]);
        s.container.wait_for("stopped");
        s.container.delete(&[]).ok();
        s.is_gone();
    });
}

#[test]
fn two_containers_cannot_have_one_scope() {
    obeys("systemd", |lab| {
        let s = Scoped::create(lab, sleeper(lab), "system.slice");
        let path = s.container.bundle.config["linux"]["cgroupsPath"].clone();
        let second = sleeper(lab).set("/linux/cgroupsPath", path).container();
        with_systemd(second.command("create", &[])).run().fails();
        assert_eq!(s.property("ActiveState"), "active");
        assert_eq!(s.container.status(), "created");
    });
}

/// One that failed stays until somebody resets it.
#[test]
fn a_failed_scope_of_the_same_name_is_no_obstacle() {
    obeys("systemd", |lab| {
        needs(machine::systemd(), "systemd, and cgroup v2 alone");
        let name = lab.fresh("s");
        let unit = format!("{}-{name}.scope", lab.tag());
        let args = ["--scope", "--unit", &unit, "-p", "RuntimeMaxSec=1", "sleep", "1000"];
        let _ = Command::new("systemd-run").args(args).output().expect("systemd-run");
        eventually("a failed scope", || {
            (systemctl(&["show", "--value", "--property", "ActiveState", &unit]) == "failed").then_some(())
        });
        let b = sleeper(lab).set("/linux/cgroupsPath", format!("system.slice:{}:{name}", lab.tag()));
        let c = b.container();
        let created = with_systemd(c.command("create", &[])).run();
        let done = created.code();
        c.delete(&["--force"]);
        let _ = Command::new("systemctl").args(["reset-failed", &unit]).output();
        assert_eq!(done, 0, "{}", created.stderr());
    });
}

#[test]
fn an_update_is_systemds_too() {
    obeys("systemd", |lab| {
        let b = sleeper(lab).set("/linux/resources/memory/limit", 67_108_864);
        let s = Scoped::create(lab, b, "system.slice");
        lab.run(["start", &s.container.id]).ok();
        let update = ["update", "--memory", "134217728", "--pids-limit", "9", &s.container.id];
        with_systemd(lab.command(update)).run().ok();
        let check = || {
            assert_eq!((s.file("memory.max").as_str(), s.file("pids.max").as_str()), ("134217728", "9"));
            assert_eq!(
                (s.property("MemoryMax").as_str(), s.property("TasksMax").as_str()),
                ("134217728", "9")
            );
        };
        check();
        systemctl(&["daemon-reload"]);
        check();
    });
}

#[test]
fn later_commands_need_no_option() {
    obeys("systemd", |lab| {
        let s = Scoped::create(lab, sleeper(lab), "system.slice");
        lab.run(["start", &s.container.id]).ok();
        assert_eq!(s.container.status(), "running");
        let seen = lab.run(["exec", &s.container.id, "cat", "/proc/self/cgroup"]).ok().stdout();
        assert!(seen.ends_with("0::/\n"), "{seen}");
        lab.run(["delete", "--force", &s.container.id]).ok();
        s.is_gone();
        assert!(!Path::new("/run/systemd/transient").join(&s.unit).exists());
    });
}

#[test]
fn a_state_names_the_scope() {
    obeys("systemd", |lab| {
        let s = Scoped::create(lab, sleeper(lab), "system.slice");
        assert_eq!(s.container.state()["systemd-scope"], Value::from(s.unit.as_str()));
    });
}
