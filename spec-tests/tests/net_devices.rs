//! config-linux.md#network-devices: what is moved into the container, and what can't be.

use serde_json::json;
use spec_tests::*;

const SECTION: &str = "config-linux.md#network-devices";

/// ip(8) in the lab's own network namespace, with these words.
fn ip(lab: &Lab, words: &str) -> String {
    let out = std::process::Command::new("ip").args(words.split(' ')).output();
    let out = out.unwrap_or_else(|_| skip!("ip is missing: apt-get install iproute2"));
    let text = String::from_utf8_lossy(&out.stdout).into_owned();
    lab.note(&format!("ip {words}: {} {text}{}", out.status, String::from_utf8_lossy(&out.stderr)));
    assert!(out.status.success(), "ip {words}");
    text
}

/// A pair of devices, of which the first is to be moved: up, with addresses.
fn pair(lab: &Lab) {
    ip(lab, "link add moved type veth peer name stays");
    for words in [
        "link set moved up",
        "link set stays up",
        "address add 10.1.2.3/24 dev moved",
        "address add 10.1.2.4/24 dev moved",
        "address add 192.0.2.1 peer 192.0.2.2 dev moved",
        "address add 169.254.7.7/16 scope link dev moved",
        "address add 10.9.9.9/32 valid_lft 100 preferred_lft 100 dev moved",
        "address add 2001:db8::3/64 nodad dev moved",
    ] {
        ip(lab, words);
    }
}

fn with_devices<'a>(lab: &'a Lab, devices: serde_json::Value) -> Bundle<'a> {
    lab.bundle().set("/linux/netDevices", devices)
}

/// What the container has: its devices and the addresses of one.
fn seen_inside(container: &Container) -> Vec<String> {
    let inside = format!("nsenter --net=/proc/{}/ns/net ip -oneline address show", container.pid());
    let out = std::process::Command::new("sh").args(["-c", &inside]).output().unwrap();
    assert!(out.status.success(), "{inside}");
    // 3: moved    inet 10.1.2.3/24 scope …
    let text = String::from_utf8_lossy(&out.stdout).into_owned();
    let mut seen: Vec<String> = text
        .lines()
        .map(|line| line.split_whitespace().skip(1).take(3).collect::<Vec<_>>().join(" "))
        .collect();
    seen.retain(|line| !line.contains("fe80:"));
    seen.sort();
    seen
}

const ADDRESSES: [&str; 4] =
    ["inet 10.1.2.3/24", "inet 10.1.2.4/24", "inet 192.0.2.1", "inet6 2001:db8::3/64"];

fn addresses_of(name: &str) -> Vec<String> {
    ADDRESSES.iter().map(|address| format!("{name} {address}")).collect()
}

#[test]
fn a_device_is_moved_with_its_addresses() {
    obeys(SECTION, |lab| {
        pair(lab);
        let container = with_devices(lab, json!({ "moved": {} })).phrases(["sleep"]).create();
        let mut seen = seen_inside(&container);
        seen.retain(|line| line.starts_with("moved"));
        assert_eq!(seen, addresses_of("moved"));
        assert!(!ip(lab, "-oneline link show").contains("moved"));
        container.start().ok();
        assert!(ip(lab, "-oneline link show stays").contains("LOWER_UP"), "both ends are up");
    });
}

#[test]
fn a_device_has_another_name_inside() {
    obeys(SECTION, |lab| {
        pair(lab);
        let b =
            with_devices(lab, json!({ "moved": { "name": "eth7" } })).mount("/sys", "sysfs", "sysfs", &[]);
        let seen = b.ask(["interfaces", "read /sys/class/net/eth7/flags"]);
        let names = seen["interfaces"].as_array().unwrap().clone();
        assert!(names.contains(&json!("eth7")) && !names.contains(&json!("moved")), "{names:?}");
        // The administrator's flag, not operstate, which follows up to a second later.
        let flags = seen["read /sys/class/net/eth7/flags"].as_str().unwrap();
        let flags = u32::from_str_radix(flags.trim().trim_start_matches("0x"), 16).unwrap();
        assert_eq!(flags & 1, 1, "IFF_UP: {flags:#x}");
    });
}

#[test]
fn a_sysctl_may_be_about_a_moved_device() {
    obeys(SECTION, |lab| {
        pair(lab);
        let b = with_devices(lab, json!({ "moved": { "name": "eth7" } }));
        let b = b.set("/linux/sysctl", json!({ "net.ipv4.conf.eth7.forwarding": "1" }));
        let ask = "read /proc/sys/net/ipv4/conf/eth7/forwarding";
        assert_eq!(b.ask([ask])[ask], "1\n");
    });
}

#[test]
fn a_device_goes_into_a_joined_namespace() {
    obeys(SECTION, |lab| {
        pair(lab);
        let first = lab.bundle().phrases(["sleep"]).start();
        let path = format!("/proc/{}/ns/net", first.pid());
        let b = with_devices(lab, json!({ "moved": {} })).namespace("network", Some(&path));
        let _second = b.phrases(["sleep"]).create();
        assert!(seen_inside(&first).contains(&"moved inet 10.1.2.3/24".to_owned()));
    });
}

#[test]
fn a_device_goes_into_a_user_namespace() {
    obeys(SECTION, |lab| {
        pair(lab);
        let b = with_devices(lab, json!({ "moved": {} })).user_namespace(300_000);
        let container = b.phrases(["sleep"]).create();
        assert!(seen_inside(&container).contains(&"moved inet6 2001:db8::3/64".to_owned()));
    });
}

#[test]
fn a_device_that_cannot_be_moved_is_an_error() {
    obeys(SECTION, |lab| {
        pair(lab);
        let check = |b: Bundle, text: &[&str]| {
            b.container().create(&[]).fails_saying(text);
        };
        check(with_devices(lab, json!({ "nothing": {} })), &["nothing"]);
        check(with_devices(lab, json!({ "lo": { "name": "eth0" } })), &["lo"]);
        check(with_devices(lab, json!({ "moved": { "name": "lo" } })), &["lo"]);
        check(with_devices(lab, json!({ "moved": { "name": "a/b" } })), &["a/b"]);
        check(
            with_devices(lab, json!({ "moved": {} })).without_namespace("network"),
            &["NET namespace", "network namespace"],
        );
    });
}

/// No word of the specification's, but programs expect themselves at localhost.
#[test]
fn lo_is_up_in_a_new_namespace() {
    obeys(SECTION, |lab| {
        let flags = |bundle: Bundle| {
            let seen = bundle.mount("/sys", "sysfs", "sysfs", &[]).ask(["read /sys/class/net/lo/flags"]);
            seen["read /sys/class/net/lo/flags"].clone()
        };
        assert_eq!(flags(lab.bundle()), "0x9\n");
        assert_eq!(flags(lab.bundle().user_namespace(300_000)), "0x9\n");
        // Another's namespace is left as it is: this test's own.
        assert_eq!(flags(lab.bundle().without_namespace("network")), "0x8\n");
    });
}
