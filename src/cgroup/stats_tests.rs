//! The files of a cgroup and what comes of them.

use super::*;

#[test]
fn nothing_as_runc_prints_it() {
    let json = serde_json::to_string(&Stats::default()).unwrap();
    let expected = concat!(
        r#"{"cpu":{"usage":{"kernel":0,"user":0},"throttling":{}},"#,
        r#""cpuset":{"cpu_exclusive":0,"mem_hardwall":0,"mem_exclusive":0,"memory_migrate":0,"#,
        r#""memory_spread_page":0,"memory_spread_slab":0,"memory_pressure":0,"sched_load_balance":0,"#,
        r#""sched_relax_domain_level":0},"memory":{"usage":{"limit":0,"failcnt":0},"#,
        r#""swap":{"limit":0,"failcnt":0},"kernel":{"limit":0,"failcnt":0},"kernelTCP":{"limit":0,"failcnt":0}},"#,
        r#""pids":{},"blkio":{},"hugetlb":{},"intel_rdt":{},"network_interfaces":null}"#
    );
    assert_eq!(json, expected);
}

#[test]
fn pressure_and_io() {
    let psi = psi(
        "some avg10=1.50 avg60=0.00 avg300=2.00 total=77\nfull avg10=0.00 avg60=0.00 avg300=0.00 total=5\n",
    );
    assert_eq!(
        serde_json::to_string(&psi).unwrap(),
        r#"{"some":{"avg10":1.5,"avg60":0,"avg300":2,"total":77},"full":{"avg10":0,"avg60":0,"avg300":0,"total":5}}"#
    );
    let blkio = blkio("8:16 rbytes=1 wbytes=2 rios=3 wios=4 dbytes=5 dios=6\nnonsense\n", None);
    assert_eq!(
        serde_json::to_string(&blkio).unwrap(),
        concat!(
            r#"{"ioServiceBytesRecursive":[{"major":8,"minor":16,"op":"Read","value":1},"#,
            r#"{"major":8,"minor":16,"op":"Write","value":2},{"major":8,"minor":16,"op":"Discard","value":5}],"#,
            r#""ioServicedRecursive":[{"major":8,"minor":16,"op":"Read","value":3},"#,
            r#"{"major":8,"minor":16,"op":"Write","value":4},{"major":8,"minor":16,"op":"Discard","value":6}]}"#
        )
    );
}

#[test]
fn sizes_of_pages() {
    for (name, size) in [
        ("hugepages-2048kB", Some("2MB")),
        ("hugepages-1048576kB", Some("1GB")),
        ("hugepages-64kB", Some("64KB")),
        ("other", None),
    ] {
        assert_eq!(page_size(name).as_deref(), size);
    }
}

/// A cgroup with these files.
fn check(files: &[(&str, &str)], say: impl Fn(&Files) -> String, expected: &str) {
    let read = |file: &str| {
        let found = files.iter().find(|(name, _)| *name == file);
        found.map_or(String::new(), |(_, text)| text.to_string())
    };
    assert_eq!(say(&Files(&read)), expected);
}

fn json(of: &impl Serialize) -> String {
    serde_json::to_string(of).unwrap()
}

#[test]
fn cpu_time_is_in_nanoseconds() {
    let stat = "usage_usec 5\nuser_usec 3\nsystem_usec 2\nnice_usec 0\nnr_periods 8\nnr_throttled 4\nthrottled_usec 9\n";
    check(
        &[("cpu.stat", stat)],
        |files| json(&cpu(files)),
        r#"{"usage":{"total":5000,"kernel":2000,"user":3000},"throttling":{"periods":8,"throttledPeriods":4,"throttledTime":9000}}"#,
    );
}

/// The kernel counts no nanoseconds that don't fit; what is read is only text all the same.
#[test]
fn numbers_end_at_the_largest() {
    let most = u64::MAX;
    let stats = of(&|_| format!("usage_usec {most}\n{most}\nsome avg10=inf avg60=NaN avg300=1.00 total=5\n"));
    assert_eq!(stats.cpu.usage.total, most);
    let both = of(&|file| if file.ends_with(".current") { most.to_string() } else { String::new() });
    assert_eq!(both.memory.swap.usage, most);
    let pressure = psi("some avg10=inf avg60=NaN avg300=1.00 total=5\n").some;
    assert_eq!((pressure.avg10, pressure.avg60, pressure.avg300), (0.0, 0.0, 1.0));
}

#[test]
fn memory_and_swap_are_added() {
    let limited = [
        ("memory.stat", "anon 1\nfile 2\n"),
        ("memory.max", "100\n"),
        ("memory.current", "30\n"),
        ("memory.peak", "40\n"),
        ("memory.swap.max", "50\n"),
        ("memory.swap.current", "6\n"),
        ("memory.swap.peak", "7\n"),
    ];
    let none = r#""kernel":{"limit":0,"failcnt":0},"kernelTCP":{"limit":0,"failcnt":0}"#;
    check(
        &limited,
        |files| json(&memory(files)),
        &format!(
            r#"{{"cache":2,"usage":{{"limit":100,"usage":30,"max":40,"failcnt":0}},"swap":{{"limit":150,"usage":36,"failcnt":0}},{none},"raw":{{"anon":1,"file":2}}}}"#
        ),
    );
    let unlimited = [
        ("memory.max", "max\n"),
        ("memory.current", "1\n"),
        ("memory.swap.max", "max\n"),
        ("memory.swap.current", "0\n"),
    ];
    check(
        &unlimited,
        |files| json(&memory(files)),
        &format!(
            r#"{{"usage":{{"limit":{0},"usage":1,"failcnt":0}},"swap":{{"limit":{0},"usage":1,"failcnt":0}},{none}}}"#,
            u64::MAX
        ),
    );
}

#[test]
fn reserved_huge_pages_count_where_the_kernel_counts_them() {
    let sizes = || vec!["1GB".to_string(), "2MB".to_string(), "64KB".to_string()];
    let files = [
        ("hugetlb.2MB.current", "0\n"),
        ("hugetlb.2MB.rsvd.current", "4194304\n"),
        ("hugetlb.2MB.events", "max 3\n"),
        ("hugetlb.1GB.current", "1073741824\n"),
    ];
    check(
        &files,
        |files| json(&hugetlb(files, sizes())),
        r#"{"1GB":{"usage":1073741824,"failcnt":0},"2MB":{"usage":4194304,"failcnt":3}}"#,
    );
}
