//! What a container uses, out of its cgroup's files (the kernel's cgroup-v2.rst). A file that isn't there, since its
//! controller isn't, leaves its numbers at zero and its message away.

use std::fs;
use std::path::Path;

use crate::proto::metrics::{
    CpuStat, HugeTlbStat, IoEntry, IoStat, MemoryEvents, MemoryStat, Metrics, PidsStat, PsiData, PsiStats,
    RdmaEntry, RdmaStat,
};

/// `None` if there is no such cgroup.
pub fn read(cgroup: &Path) -> Option<Metrics> {
    let metrics = of(&|name| fs::read_to_string(cgroup.join(name)).ok())?;
    Some(Metrics { hugetlb: hugetlb(cgroup), ..metrics })
}

/// All that is in files of known names; `file` gives the text of one.
pub fn of(file: &dyn Fn(&str) -> Option<String>) -> Option<Metrics> {
    let cpu = file("cpu.stat")?; // there in every cgroup
    let number = |name: &str| file(name).map_or(0, |text| value(text.trim()));
    let mut cpu = cpu_stat(&cpu);
    cpu.psi = file("cpu.pressure").map(|text| psi(&text));
    Some(Metrics {
        pids: file("pids.current")
            .map(|current| PidsStat { current: value(current.trim()), limit: number("pids.max") }),
        cpu: Some(cpu),
        memory: file("memory.stat").map(|stat| MemoryStat {
            usage: number("memory.current"),
            usage_limit: number("memory.max"),
            swap_usage: number("memory.swap.current"),
            swap_limit: number("memory.swap.max"),
            max_usage: number("memory.peak"),
            swap_max_usage: number("memory.swap.peak"),
            psi: file("memory.pressure").map(|text| psi(&text)),
            ..memory_stat(&stat)
        }),
        rdma: file("rdma.current").map(|current| RdmaStat {
            current: rdma(&current),
            limit: file("rdma.max").map(|max| rdma(&max)).unwrap_or_default(),
        }),
        io: file("io.stat")
            .map(|stat| IoStat { usage: io(&stat), psi: file("io.pressure").map(|text| psi(&text)) }),
        memory_events: file("memory.events").map(|events| memory_events(&events)),
        ..Metrics::default()
    })
}

/// A number, or the largest for `max`.
fn value(text: &str) -> u64 {
    match text {
        "max" => u64::MAX,
        number => number.parse().unwrap_or(0),
    }
}

/// `key value` lines.
fn flat(text: &str) -> impl Fn(&str) -> u64 {
    move |key| {
        let line = text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(' '));
        line.map_or(0, |line| value(line.trim()))
    }
}

fn cpu_stat(text: &str) -> CpuStat {
    let of = flat(text);
    CpuStat {
        usage_usec: of("usage_usec"),
        user_usec: of("user_usec"),
        system_usec: of("system_usec"),
        nr_periods: of("nr_periods"),
        nr_throttled: of("nr_throttled"),
        throttled_usec: of("throttled_usec"),
        psi: None,
        nr_bursts: of("nr_bursts"),
        burst_usec: of("burst_usec"),
    }
}

fn memory_stat(text: &str) -> MemoryStat {
    let of = flat(text);
    let both = |key: &str| of(&format!("{key}_anon")).saturating_add(of(&format!("{key}_file")));
    MemoryStat {
        anon: of("anon"),
        file: of("file"),
        kernel_stack: of("kernel_stack"),
        slab: of("slab"),
        sock: of("sock"),
        shmem: of("shmem"),
        file_mapped: of("file_mapped"),
        file_dirty: of("file_dirty"),
        file_writeback: of("file_writeback"),
        anon_thp: of("anon_thp"),
        inactive_anon: of("inactive_anon"),
        active_anon: of("active_anon"),
        inactive_file: of("inactive_file"),
        active_file: of("active_file"),
        unevictable: of("unevictable"),
        slab_reclaimable: of("slab_reclaimable"),
        slab_unreclaimable: of("slab_unreclaimable"),
        pgfault: of("pgfault"),
        pgmajfault: of("pgmajfault"),
        // Counted apart since Linux 5.9.
        workingset_refault: both("workingset_refault"),
        workingset_activate: both("workingset_activate"),
        workingset_nodereclaim: of("workingset_nodereclaim"),
        pgrefill: of("pgrefill"),
        pgscan: of("pgscan"),
        pgsteal: of("pgsteal"),
        pgactivate: of("pgactivate"),
        pgdeactivate: of("pgdeactivate"),
        pglazyfree: of("pglazyfree"),
        pglazyfreed: of("pglazyfreed"),
        thp_fault_alloc: of("thp_fault_alloc"),
        thp_collapse_alloc: of("thp_collapse_alloc"),
        ..MemoryStat::default()
    }
}

fn memory_events(text: &str) -> MemoryEvents {
    let of = flat(text);
    MemoryEvents {
        low: of("low"),
        high: of("high"),
        max: of("max"),
        oom: of("oom"),
        oom_kill: of("oom_kill"),
        oom_group_kill: of("oom_group_kill"),
    }
}

/// `some avg10=0.00 avg60=0.00 avg300=0.00 total=0`, and the same for `full`.
fn psi(text: &str) -> PsiStats {
    let line = |kind: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(kind))?;
        let of =
            |key: &str| line.split_whitespace().find_map(|word| word.strip_prefix(key)?.strip_prefix('='));
        let share = |key| of(key).and_then(|number| number.parse().ok()).filter(|n: &f64| n.is_finite());
        let share = |key| share(key).unwrap_or(0.0);
        Some(PsiData {
            avg10: share("avg10"),
            avg60: share("avg60"),
            avg300: share("avg300"),
            total: of("total").map_or(0, value),
        })
    };
    PsiStats { some: line("some "), full: line("full ") }
}

/// `8:0 rbytes=1 wbytes=2 rios=3 wios=4 …`, a line per device.
fn io(text: &str) -> Vec<IoEntry> {
    let entry = |line: &str| {
        let (device, numbers) = line.split_once(' ')?;
        let (major, minor) = device.split_once(':')?;
        let of = |key: &str| {
            let word = numbers.split_whitespace().find_map(|word| word.strip_prefix(key)?.strip_prefix('='));
            word.map_or(0, value)
        };
        Some(IoEntry {
            major: value(major),
            minor: value(minor),
            rbytes: of("rbytes"),
            wbytes: of("wbytes"),
            rios: of("rios"),
            wios: of("wios"),
        })
    };
    text.lines().filter_map(entry).collect()
}

/// `mlx4_0 hca_handle=2 hca_object=2000`, a line per device.
fn rdma(text: &str) -> Vec<RdmaEntry> {
    let entry = |line: &str| {
        let (device, numbers) = line.split_once(' ')?;
        let of = |key: &str| {
            let word = numbers.split_whitespace().find_map(|word| word.strip_prefix(key)?.strip_prefix('='));
            u32::try_from(word.map_or(0, value)).unwrap_or(u32::MAX)
        };
        Some(RdmaEntry {
            device: device.to_string(),
            hca_handles: of("hca_handle"),
            hca_objects: of("hca_object"),
        })
    };
    text.lines().filter_map(entry).collect()
}

/// hugetlb.SIZE.current and .max, for every size that there is.
fn hugetlb(cgroup: &Path) -> Vec<HugeTlbStat> {
    let mut sizes: Vec<String> = fs::read_dir(cgroup)
        .into_iter()
        .flatten()
        .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
        .filter_map(|name| Some(name.strip_prefix("hugetlb.")?.strip_suffix(".current")?.to_string()))
        .filter(|size| !size.contains('.')) // not hugetlb.SIZE.rsvd.current
        .collect();
    sizes.sort();
    let number = |name: String| fs::read_to_string(cgroup.join(name)).map_or(0, |text| value(text.trim()));
    let stat = |pagesize: String| HugeTlbStat {
        current: number(format!("hugetlb.{pagesize}.current")),
        max: number(format!("hugetlb.{pagesize}.max")),
        pagesize,
    };
    sizes.into_iter().map(stat).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_format() {
        let cpu = cpu_stat("usage_usec 5\nuser_usec 3\nsystem_usec 2\nnr_bursts 7\n");
        assert_eq!((cpu.usage_usec, cpu.user_usec, cpu.system_usec), (5, 3, 2));
        assert_eq!((cpu.nr_bursts, cpu.nr_periods), (7, 0));
        let memory = memory_stat("anon 1\nanon_thp 2\nfile 3\nworkingset_refault_file 9\n");
        assert_eq!((memory.anon, memory.anon_thp, memory.file), (1, 2, 3));
        let events = memory_events("max 1\noom 2\noom_kill 3\noom_group_kill 4\n");
        assert_eq!((events.oom, events.oom_kill, events.oom_group_kill), (2, 3, 4));
        let psi = psi(
            "some avg10=1.50 avg60=0.00 avg300=0.00 total=7\nfull avg10=0.00 avg60=0.25 avg300=0.00 total=3\n",
        );
        let (some, full) = (psi.some.unwrap(), psi.full.unwrap());
        assert_eq!((some.avg10, some.total, full.avg60, full.total), (1.5, 7, 0.25, 3));
        let io = io("8:16 rbytes=1 wbytes=2 rios=3 wios=4 dbytes=5 dios=6\n");
        assert_eq!((io[0].major, io[0].minor, io[0].wios), (8, 16, 4));
        let rdma = rdma("mlx4_0 hca_handle=2 hca_object=max\n");
        assert_eq!((rdma[0].hca_handles, rdma[0].hca_objects), (2, u32::MAX));
        assert_eq!((value("max"), value("12"), value("x")), (u64::MAX, 12, 0));
        // Nobody counts so far, but what is read is only text.
        let sum = format!("workingset_refault_anon {}\nworkingset_refault_file 9\n", u64::MAX);
        assert_eq!(memory_stat(&sum).workingset_refault, u64::MAX);
        let share = self::psi("some avg10=inf avg60=NaN avg300=0.00 total=0\n").some.unwrap();
        assert_eq!((share.avg10, share.avg60), (0.0, 0.0));
    }

    #[test]
    fn a_directory() {
        let dir = std::env::temp_dir().join(format!("rrunc-shim-stats-{}", std::process::id()));
        fs::create_dir_all(&dir).unwrap();
        assert_eq!(read(&dir), None);
        for (name, text) in [
            ("cpu.stat", "usage_usec 1\n"),
            ("pids.current", "3\n"),
            ("pids.max", "max\n"),
            ("hugetlb.2MB.current", "4096\n"),
            ("hugetlb.2MB.rsvd.current", "1\n"),
            ("hugetlb.2MB.max", "max\n"),
        ] {
            fs::write(dir.join(name), text).unwrap();
        }
        let metrics = read(&dir).unwrap();
        assert_eq!(metrics.pids, Some(PidsStat { current: 3, limit: u64::MAX }));
        assert_eq!(metrics.memory, None);
        assert_eq!((metrics.hugetlb.len(), metrics.hugetlb[0].current), (1, 4096));
        fs::remove_dir_all(&dir).unwrap();
    }
}
