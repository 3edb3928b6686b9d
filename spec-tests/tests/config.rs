//! config.md as a document: its version, unknown fields, broken text; personality; the command that writes one.

use std::fs;

use serde_json::{Value, json};
use spec_tests::*;

#[test]
fn unknown_fields_are_ignored() {
    obeys("config.md#extensibility", |lab| {
        let b = lab
            .bundle()
            .set("/nosuch", json!({ "a": [1] }))
            .set("/process/nosuch", 1)
            .set("/linux/nosuch", "x");
        b.args(["true"]).run().ok();
    });
}

#[test]
fn sections_of_other_platforms_are_ignored() {
    obeys("config.md#platform-specific-configuration", |lab| {
        let b = lab
            .bundle()
            .set(
                "/windows",
                json!({ "layerFolders": ["x"], "network": { "allowUnqualifiedDNSQuery": true } }),
            )
            .set("/solaris", json!({ "milestone": "svc:/milestone/container:default", "anet": [{}] }))
            .set(
                "/freebsd",
                json!({ "devices": [{ "path": "pty", "mode": 438 }], "jail": { "parent": "p" } }),
            )
            .set("/zos", json!({ "namespaces": [{ "type": "pid" }] }))
            .set(
                "/vm",
                json!({
                    "hypervisor": { "path": "/no/such", "parameters": ["x"] },
                    "kernel": { "path": "/no/such" },
                    "hwConfig": { "vcpus": 2, "memory": 512 },
                }),
            );
        b.args(["true"]).run().ok();
    });
}

#[test]
fn a_version_that_cannot_be_supported_is_refused() {
    obeys("config.md#specification-version", |lab| {
        for version in ["99.0.0", "nonsense", ""] {
            lab.bundle()
                .set("/ociVersion", version)
                .container()
                .create(&[])
                .fails_saying(&["ociVersion", "version"]);
        }
        lab.bundle().without("/ociVersion").container().create(&[]).fails();
    });
}

#[test]
fn every_version_1_is_taken() {
    obeys("config.md#specification-version", |lab| {
        for version in ["1.0.0", "1.0.2-dev", "1.1.0", "1.2.1", "1.3.0"] {
            lab.bundle().set("/ociVersion", version).args(["true"]).run().ok();
        }
    });
}

#[test]
fn broken_json_is_refused() {
    obeys("config.md", |lab| {
        let c = lab.bundle().container();
        let dir = c.bundle.dir().to_str().unwrap().to_owned();
        for text in ["", "{", "[]", "{\"ociVersion\": }", "null"] {
            fs::write(c.bundle.dir().join("config.json"), text).unwrap();
            lab.run(["create", "--bundle", &dir, &c.id]).fails();
        }
    });
}

#[test]
fn a_field_of_the_wrong_type_is_refused() {
    obeys("config.md", |lab| {
        let cases = [
            ("/process/args", json!("true")),
            ("/process/user/uid", json!("root")),
            ("/mounts", json!({})),
            ("/linux/namespaces", json!("pid")),
            ("/annotations", json!({ "a": 1 })),
        ];
        for (pointer, value) in cases {
            lab.bundle().set(pointer, value).container().create(&[]).fails();
        }
    });
}

#[test]
fn a_missing_root_section_is_refused() {
    obeys("config.md#root", |lab| {
        lab.bundle().without("/root").container().create(&[]).fails();
    });
}

#[test]
fn the_personality_is_set() {
    obeys("config-linux.md#personality", |lab| {
        needs(std::env::consts::ARCH == "x86_64", "a 32-bit personality with another name");
        let seen = lab.bundle().set("/linux/personality", json!({ "domain": "LINUX32" })).ask(["machine"]);
        assert_eq!(seen["machine"], "i686");
        let seen = lab.bundle().set("/linux/personality", json!({ "domain": "LINUX" })).ask(["machine"]);
        assert_eq!(seen["machine"], "x86_64");
        lab.bundle().set("/linux/personality", json!({ "domain": "NOSUCH" })).container().create(&[]).fails();
    });
}

#[test]
fn a_security_label_without_its_module_is_an_error() {
    obeys("runtime.md#errors", |lab| {
        if !fs::exists("/sys/module/apparmor").unwrap() {
            lab.bundle().set("/process/apparmorProfile", "some-profile").run().fails_saying(&["apparmor"]);
        }
        if !fs::exists("/sys/fs/selinux").unwrap() {
            lab.bundle()
                .set("/process/selinuxLabel", "system_u:system_r:x_t:s0")
                .run()
                .fails_saying(&["selinux", "/attr/"]);
        }
    });
}

#[test]
fn intel_rdt_without_resctrl_is_an_error() {
    obeys("config-linux.md#intelrdt", |lab| {
        if !fs::exists("/sys/fs/resctrl/schemata").unwrap() {
            lab.bundle()
                .set("/linux/intelRdt", json!({ "closID": "x" }))
                .run()
                .fails_saying(&["rdt", "resctrl"]);
        }
    });
}

#[test]
fn spec_writes_a_config_that_runs() {
    obeys("config.md", |lab| {
        let c = lab.bundle().container();
        let dir = c.bundle.dir().to_owned();
        lab.command(["spec"]).cwd(&dir).run().ok();
        let mut config: Value = serde_json::from_slice(&fs::read(dir.join("config.json")).unwrap()).unwrap();
        assert_eq!(config["process"]["args"], json!(["sh"]));
        assert_eq!(
            (&config["process"]["terminal"], &config["root"]["path"]),
            (&json!(true), &json!("rootfs"))
        );
        config["process"]["terminal"] = json!(false);
        config["process"]["args"] = json!(["/bin/inside", "hostname", "caps", "mounts", "status NoNewPrivs"]);
        fs::write(dir.join("config.json"), config.to_string()).unwrap();
        let ran = lab.run(["run", "--bundle", dir.to_str().unwrap(), &c.id]).ok();
        let seen = Inside::parse(&ran.stdout());
        assert_eq!((&seen["hostname"], &seen["status NoNewPrivs"]), (&config["hostname"], &json!("1")));
        let caps: Vec<&str> = seen.caps("CapEff").into_iter().collect();
        assert_eq!(caps, ["CAP_AUDIT_WRITE", "CAP_KILL", "CAP_NET_BIND_SERVICE"]);
        for at in ["/proc", "/dev", "/dev/pts", "/dev/shm", "/dev/mqueue", "/sys"] {
            assert!(seen.mount(at).is_some(), "{at}");
        }
    });
}

#[test]
fn spec_refuses_to_overwrite() {
    obeys("config.md", |lab| {
        let file = lab.dir().join("config.json");
        fs::write(&file, "mine").unwrap();
        lab.command(["spec"]).cwd(lab.dir()).run().fails_saying(&["exist"]);
        assert_eq!(fs::read_to_string(file).unwrap(), "mine");
    });
}

#[test]
fn spec_rootless_has_a_user_namespace() {
    obeys("config.md", |lab| {
        lab.command(["spec", "--rootless"]).cwd(lab.dir()).run().ok();
        let config: Value =
            serde_json::from_slice(&fs::read(lab.dir().join("config.json")).unwrap()).unwrap();
        let types: Vec<&Value> =
            config["linux"]["namespaces"].as_array().unwrap().iter().map(|n| &n["type"]).collect();
        assert!(types.contains(&&json!("user")), "{types:?}");
        assert_eq!(config["linux"]["uidMappings"][0]["containerID"], 0);
        assert!(config["linux"].get("resources").is_none(), "an ordinary user has no cgroup to set them in");
    });
}
