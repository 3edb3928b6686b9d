//! What a configuration, or the image that it is about, says of users, ids, devices and sizes.

use std::fs;
use std::os::unix::fs::{chown, symlink};
use std::time::{Duration, Instant};

use integration::{Host, unharmed, unharmed_as_user};
use serde_json::{Value, json};
use spec_tests::user::UID;
use spec_tests::{Bundle, Inside};

/// CVE-2016-3697, CVE-2026-46680 (containerd): an id is never looked up as a name, which the image's passwd could give to
/// root.
#[test]
fn a_numeric_user_is_no_name() {
    unharmed("CVE-2016-3697", |lab| {
        let names: String =
            ["1000", "2147483648", "4294967294"].map(|n| format!("{n}:x:0:0::/root:/bin/sh\n")).concat();
        for uid in [1000_u32, 2_147_483_648, 4_294_967_294] {
            let bundle = lab.bundle().file("/etc/passwd", &names).file("/etc/group", &names);
            let user = json!({ "uid": uid, "gid": uid });
            let c = bundle.set("/process/user", user).phrases(["to /dev/null", "sleep"]).start();
            let status = fs::read_to_string(format!("/proc/{}/status", c.pid())).expect("its status");
            let ids = format!("Uid:\t{uid}\t{uid}\t{uid}\t{uid}");
            assert!(status.contains(&ids), "{uid}: {status}");
            let user = format!("{uid}:{uid}");
            let seen = lab.run(["exec", "--user", &user, &c.id, "/bin/inside", "ids"]).ok();
            assert_eq!(Inside::parse(&seen.stdout())["ids"]["uid"], uid);
        }
    });
}

/// GHSA-g54h-m393-cpwq (2020): of the rules for devices the last that matches counts, and none is forgotten.
/// runc 1.1.5 passes.
#[test]
fn the_order_of_device_rules_is_kept() {
    unharmed("GHSA-g54h-m393-cpwq", |lab| {
        // Devices of no driver: what the rules allow fails with ENXIO, what they deny with EPERM.
        let (deny, allow) =
            (json!({ "allow": false, "access": "rwm" }), json!({ "allow": true, "access": "rwm" }));
        let one = |allow: bool, minor: u32, access: &str| json!({ "allow": allow, "type": "c", "major": 511, "minor": minor, "access": access });
        let check = |rules: Value, expected: [&str; 4]| {
            let phrases = ["open /bin/one r", "open /bin/one w", "open /bin/two r", "open /bin/two w"];
            let bundle = lab.bundle().caps(&["CAP_MKNOD"]).set("/linux/resources/devices", rules.clone());
            let device = |path: &str, minor: u64| {
                let mode = nix::sys::stat::Mode::S_IRWXU;
                let device = nix::sys::stat::makedev(511, minor);
                let made =
                    nix::sys::stat::mknod(&bundle.path(path), nix::sys::stat::SFlag::S_IFCHR, mode, device);
                made.expect("a device node");
            };
            device("/bin/one", 1);
            device("/bin/two", 2);
            let seen = bundle.ask(phrases);
            assert_eq!(phrases.map(|phrase| seen[phrase].as_str().unwrap_or_default()), expected, "{rules}");
        };
        check(json!([deny]), ["EPERM", "EPERM", "EPERM", "EPERM"]);
        check(json!([allow]), ["ENXIO", "ENXIO", "ENXIO", "ENXIO"]);
        check(json!([deny, one(true, 1, "rwm")]), ["ENXIO", "ENXIO", "EPERM", "EPERM"]);
        check(json!([deny, one(true, 1, "r")]), ["ENXIO", "EPERM", "EPERM", "EPERM"]);
        check(json!([one(true, 1, "rwm"), deny]), ["EPERM", "EPERM", "EPERM", "EPERM"]);
        check(json!([allow, one(false, 1, "w")]), ["ENXIO", "EPERM", "ENXIO", "ENXIO"]);
        check(json!([deny, allow, one(false, 2, "rwm")]), ["ENXIO", "ENXIO", "EPERM", "EPERM"]);
        check(json!([deny, one(true, 1, "rwm"), one(false, 1, "r")]), ["EPERM", "ENXIO", "EPERM", "EPERM"]);
    });
}

/// CVE-2021-43784: no length overflows on its way to the container's process: more than 64 KiB of one thing is taken as it
/// is or refused, and never is what follows taken for something else.
#[test]
fn what_is_too_long_is_refused() {
    unharmed("CVE-2021-43784", |lab| {
        let maps: Vec<Value> =
            (0..6000).map(|n| json!({ "containerID": n, "hostID": 100_000 + n, "size": 1 })).collect();
        let mapped = lab.bundle().user_namespace(100_000).set("/linux/uidMappings", json!(maps));
        mapped.set("/linux/gidMappings", json!(maps)).run().fails_saying(&["linux.uidMappings", "uid_map"]);
        for length in [65_536, 65_540, 70_000, 1 << 20] {
            let path = format!("/proc/self/ns/{}net", "./".repeat(length / 2));
            lab.bundle().namespace("network", Some(&path)).run().fails();
            let long = "x".repeat(length);
            lab.bundle().set("/hostname", long.as_str()).run().fails();
            lab.bundle().set("/linux/sysctl", json!({ "kernel.shm_rmid_forced": long })).run().fails();
            lab.bundle().set("/process/cwd", format!("/{long}")).run().fails();
            lab.bundle().mount(&format!("/mnt/{long}"), "tmpfs", "tmpfs", &[]).run().fails();
        }
        // Many short ones come through as they are.
        let env: Vec<String> = (0..8000).map(|n| format!("VARIABLE_{n}={n}")).collect();
        let seen = lab.bundle().set("/process/env", json!(env)).ask(["env", "ids", "caps"]);
        assert_eq!(seen["env"]["VARIABLE_7999"], "7999");
        assert!(seen.caps("CapEff").is_empty());
    });
}

/// CVE-2023-25809: who has no cgroup namespace of its own writes to none of the host's cgroups.
/// With crun 1.8.1 and runc 1.1.5 an ordinary user's container makes cgroups there.
#[test]
fn cgroups_of_the_host_are_not_writable() {
    unharmed_as_user("CVE-2023-25809", |lab| {
        // What the user could write to, were it shown.
        let own = lab.cgroups().join(format!("{}-own", lab.tag()));
        fs::create_dir(&own).expect("a cgroup");
        for file in [own.clone(), own.join("cgroup.procs")] {
            chown(file, Some(UID), Some(UID)).expect("chown");
        }
        let at = format!("/sys/fs/cgroup/{}-own", lab.tag());
        let attempts = [format!("mkdir {at}/x"), format!("write {at}/cgroup.procs 1")];
        let seen = |bundle: Bundle| {
            let ran = bundle.phrases(attempts.iter().map(String::as_str)).run();
            // It may be refused as a whole.
            if ran.code() == 0 {
                let seen = Inside::parse(&ran.stdout());
                for attempt in &attempts {
                    assert_ne!(seen[attempt.as_str()], "ok", "{attempt}");
                }
            }
            ran.code()
        };
        let options = ["nosuid", "noexec", "nodev", "relatime"];
        let mut all =
            vec![options.to_vec(), [&options[..], &["rw"]].concat(), [&options[..], &["ro"]].concat()];
        let mut ran = 0;
        for options in all.drain(..) {
            ran += i32::from(seen(lab.bundle().mount("/sys/fs/cgroup", "cgroup", "cgroup", &options)) == 0);
            ran += i32::from(seen(lab.bundle().mount("/sys/fs/cgroup", "cgroup2", "cgroup", &options)) == 0);
        }
        let system =
            lab.bundle().mount("/sys", "none", "/sys", &["rbind", "nosuid", "noexec", "nodev", "rro"]);
        ran += i32::from(seen(system) == 0);
        fs::remove_dir(&own).expect("remove");
        assert!(ran > 0, "nothing was tried");
    });
}

/// CVE-2022-29162, CVE-2025-27612: a process of `exec` has the container's capabilities, and nothing inheritable.
#[test]
fn a_process_of_exec_gets_no_more_capabilities() {
    unharmed("CVE-2025-27612", |lab| {
        let only = json!({ "bounding": ["CAP_KILL"], "effective": ["CAP_KILL"], "permitted": ["CAP_KILL"] });
        for (sets, expected) in [(Some(only), "0000000000000020"), (None, "0000000000000000")] {
            let bundle = match sets {
                Some(sets) => lab.bundle().set("/process/capabilities", sets),
                None => lab.bundle(),
            };
            let c = bundle.phrases(["to /dev/null", "sleep"]).start();
            let process =
                json!({ "cwd": "/", "args": ["/bin/inside", "caps"], "user": { "uid": 0, "gid": 0 } });
            let file = lab.dir().join("process.json");
            fs::write(&file, process.to_string()).expect("a file");
            let file = file.to_string_lossy().into_owned();
            let by_line = lab.run(["exec", &c.id, "/bin/inside", "caps"]).ok();
            let by_file = lab.run(["exec", "--process", &file, &c.id]).ok();
            let added = lab.run(["exec", "--cap", "CAP_CHOWN", &c.id, "/bin/inside", "caps"]).ok();
            let caps = |ran: &spec_tests::Ran| Inside::parse(&ran.stdout())["caps"].clone();
            for set in ["CapPrm", "CapEff", "CapBnd"] {
                assert_eq!(caps(&by_line)[set], expected, "{set}");
                assert_eq!(caps(&by_file)[set], "0000000000000000", "{set}: the file has none");
                let one_more = format!("{:016x}", 1 | u64::from_str_radix(expected, 16).expect("hex"));
                assert_eq!(caps(&added)[set], one_more, "{set}");
            }
            for ran in [&by_line, &by_file, &added] {
                assert_eq!(caps(ran)["CapInh"], "0000000000000000");
            }
        }
    });
}

/// CVE-2026-30892: crun took what isn't a number for one, up to root's.
/// crun 1.8.1 takes -1, and runc 1.1.5 nothing at all for root.
#[test]
fn what_is_no_number_is_no_user() {
    unharmed("CVE-2026-30892", |lab| {
        let c = lab.bundle().phrases(["to /dev/null", "sleep"]).start();
        for user in [
            "1000x",
            "-1",
            "1000:",
            ":",
            ":0",
            "",
            "0x0",
            "4294967295",
            "4294967296",
            "root",
            "1:2:3",
            " 1",
            "+0",
        ] {
            lab.run(["exec", "--user", user, &c.id, "/bin/inside", "ids"]).fails();
        }
    });
}

/// CVE-2026-47262 (moby/sys/user), CVE-2026-61801: databases of users that never end cost `exec` neither time nor memory.
/// crun 1.8.1 runs out of memory, and runc 1.1.5 fails.
#[test]
fn exec_reads_huge_databases_to_a_bound() {
    unharmed("CVE-2026-47262", |lab| {
        let c = lab.bundle().phrases(["to /dev/null", "sleep"]).start();
        for name in ["passwd", "group"] {
            let path = c.bundle.path(&format!("/etc/{name}"));
            let _ = fs::remove_file(&path); // there may be none
            fs::File::create(&path).and_then(|file| file.set_len(1 << 40)).expect("1 TiB");
        }
        // As much as the debug build of a runtime may need, and no more than a part of what the files have.
        let begin = Instant::now();
        let limited = lab.command(["exec", "--user", "5:5", &c.id, "/bin/inside", "env"]);
        let seen = limited.through("prlimit --data=268435456").run().ok();
        assert_eq!(Inside::parse(&seen.stdout())["env"]["HOME"], "/");
        assert!(begin.elapsed() < Duration::from_secs(5), "took {:?}", begin.elapsed());
    });
}

/// CVE-2025-52881, CVE-2025-62596: without a procfs of the container's own, what its image has at /proc gets no setting and
/// no label, and the kernel gets them all the same.
#[test]
fn settings_and_labels_pass_by_the_images_proc() {
    unharmed("CVE-2025-52881", |lab| {
        let host = Host::new(lab.dir(), &["victim"]);
        let files =
            ["sys/kernel/shm_rmid_forced", "self/attr/exec", "self/attr/current", "self/attr/apparmor/exec"];
        let bundle = lab.bundle().set("/mounts", json!([]));
        for file in files.iter().chain(&["self/oom_score_adj", "thread-self/attr/exec"]) {
            let at = bundle.path(&format!("/proc/{file}"));
            fs::create_dir_all(at.parent().expect("a parent")).expect("a directory");
            symlink(host.path("victim"), at).expect("a symlink");
        }
        let bundle = bundle.set("/linux/sysctl", json!({ "kernel.shm_rmid_forced": "1" }));
        let c = bundle.set("/process/oomScoreAdj", 500).phrases(["to /dev/null", "sleep"]).start();
        host.assert_untouched();
        let score = fs::read_to_string(format!("/proc/{}/oom_score_adj", c.pid())).expect("its score");
        assert_eq!(score.trim(), "500");
        let ipc = format!("--ipc=/proc/{}/ns/ipc", c.pid());
        let mut read = std::process::Command::new("nsenter");
        read.args([&ipc, "cat", "/proc/sys/kernel/shm_rmid_forced"]);
        assert_eq!(read.output().expect("nsenter").stdout, b"1\n");
        lab.run(["exec", &c.id, "/bin/inside", "pid"]).ok();
        host.assert_untouched();
    });
}

/// CVE-2025-24965: crun with libkrun wrote a file into the image, by whatever was there. Nothing is written into it.
#[test]
fn nothing_is_written_into_the_image() {
    unharmed("CVE-2025-24965", |lab| {
        let host = Host::new(lab.dir(), &["victim"]);
        let bundle = lab.bundle();
        for name in
            [".krun_config.json", "config.json", "state.json", "plan", ".dockerenv", "run/.containerenv"]
        {
            let at = bundle.path(&format!("/{name}"));
            fs::create_dir_all(at.parent().expect("a parent")).expect("a directory");
            symlink(host.path("victim"), at).expect("a symlink");
        }
        bundle.set("/annotations", json!({ "run.oci.handler": "krun" })).run();
        host.assert_untouched();
    });
}
