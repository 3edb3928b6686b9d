//! What resctrl knows of a group: its part of the caches and of the memory's bandwidth, what there is of them, and what
//! was used of it, where the CPU counts that. Named and ordered as `runc events` prints it; what the CPU lacks is
//! left out.

use std::fs;
use std::path::{Path, PathBuf};

use serde::Serialize;

use super::Group;

#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct IntelRdt {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub l3_cache_info: Option<L3CacheInfo>,
    /// The lines of `schemata`: the whole machine's, and the group's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub l3_cache_schema_root: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub l3_cache_schema: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mem_bw_info: Option<MemBwInfo>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mem_bw_schema_root: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mem_bw_schema: Option<String>,
    /// One for each L3 cache.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mbm_stats: Option<Vec<Mbm>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cmt_stats: Option<Vec<Cmt>>,
}

/// info/L3.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct L3CacheInfo {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cbm_mask: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub min_cbm_bits: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub num_closids: Option<u64>,
}

/// info/MB. Percent, and whether the delay is linear to it.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct MemBwInfo {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bandwidth_gran: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub delay_linear: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub min_bandwidth: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub num_closids: Option<u64>,
}

/// Bytes between the cache and memory so far.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Mbm {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mbm_total_bytes: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mbm_local_bytes: Option<u64>,
}

/// Bytes in the cache now.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Cmt {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub llc_occupancy: Option<u64>,
}

/// Of a group of the resctrl that is mounted at `root`.
pub fn stats(group: &Group, root: &Path) -> IntelRdt {
    let (cache, memory) = (root.join("info/L3"), root.join("info/MB"));
    let line = |directory: &Path, begin: &str| schema(&text(&directory.join("schemata"))?, begin);
    let mut found = IntelRdt::default();
    if cache.is_dir() {
        found.l3_cache_info = Some(L3CacheInfo {
            cbm_mask: text(&cache.join("cbm_mask")),
            min_cbm_bits: number(&cache.join("min_cbm_bits")),
            num_closids: number(&cache.join("num_closids")),
        });
        found.l3_cache_schema_root = line(root, "L3:");
        found.l3_cache_schema = line(&group.path, "L3:");
    }
    if memory.is_dir() {
        found.mem_bw_info = Some(MemBwInfo {
            bandwidth_gran: number(&memory.join("bandwidth_gran")),
            delay_linear: number(&memory.join("delay_linear")),
            min_bandwidth: number(&memory.join("min_bandwidth")),
            num_closids: number(&memory.join("num_closids")),
        });
        found.mem_bw_schema_root = line(root, "MB:");
        found.mem_bw_schema = line(&group.path, "MB:");
    }
    let features = text(&root.join("info/L3_MON/mon_features")).unwrap_or_default();
    let data = group.monitoring.as_ref().unwrap_or(&group.path).join("mon_data");
    if features.contains("mbm_") {
        let of = |cache: &Path| Mbm {
            mbm_total_bytes: number(&cache.join("mbm_total_bytes")),
            mbm_local_bytes: number(&cache.join("mbm_local_bytes")),
        };
        found.mbm_stats = Some(each_cache(&data, of));
    }
    if features.contains("llc_occupancy") {
        let of = |cache: &Path| Cmt { llc_occupancy: number(&cache.join("llc_occupancy")) };
        found.cmt_stats = Some(each_cache(&data, of));
    }
    found
}

/// Directories such as mon_L3_00, in this order.
fn each_cache<T>(data: &Path, of: impl Fn(&Path) -> T) -> Vec<T> {
    let entries = fs::read_dir(data).into_iter().flatten().flatten();
    let mut caches: Vec<_> = entries.map(|entry| entry.path()).collect();
    caches.sort();
    let is_cache = |path: &&PathBuf| {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        name.starts_with("mon_L3_")
    };
    caches.iter().filter(is_cache).map(|cache| of(cache)).collect()
}

/// The first line of this kind, without the blanks that align it.
fn schema(schemata: &str, begin: &str) -> Option<String> {
    let mut lines = schemata.lines().map(str::trim);
    lines.find(|line| line.starts_with(begin)).map(str::to_string)
}

fn text(file: &Path) -> Option<String> {
    Some(fs::read_to_string(file).ok()?.trim().to_string())
}

/// `None` for what isn't counted now ("Unavailable", the kernel's resctrl.rst), and for 0, which runc leaves out.
fn number(file: &Path) -> Option<u64> {
    text(file)?.parse().ok().filter(|number| *number != 0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::state::tests::Root;

    #[test]
    fn as_runc_prints_it() {
        let root = Root::new();
        let files = [
            ("info/L3/cbm_mask", "fffff\n"),
            ("info/L3/min_cbm_bits", "1\n"),
            ("info/L3/num_closids", "16\n"),
            ("info/MB/bandwidth_gran", "10\n"),
            ("info/MB/delay_linear", "1\n"),
            ("info/MB/min_bandwidth", "10\n"),
            ("info/MB/num_closids", "8\n"),
            ("info/L3_MON/mon_features", "llc_occupancy\nmbm_total_bytes\nmbm_local_bytes\n"),
            ("schemata", "    MB:0=100;1=100\n    L3:0=fffff;1=fffff\n"),
            ("a/schemata", "    MB:0=20;1=70\n    L3:0=f;1=1f\n"),
            ("a/mon_data/mon_L3_01/llc_occupancy", "Unavailable\n"),
            ("a/mon_data/mon_L3_00/llc_occupancy", "123\n"),
            ("a/mon_data/mon_L3_00/mbm_total_bytes", "9\n"),
            ("a/mon_data/mon_L3_01/mbm_total_bytes", "0\n"),
            ("a/mon_data/mon_L3_00/mbm_local_bytes", "7\n"),
        ];
        for (file, text) in files {
            let path = root.0.join(file);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        let group = Group { path: root.0.join("a"), ..Group::default() };
        let json = serde_json::to_string(&stats(&group, &root.0)).unwrap();
        let expected = concat!(
            r#"{"l3_cache_info":{"cbm_mask":"fffff","min_cbm_bits":1,"num_closids":16},"#,
            r#""l3_cache_schema_root":"L3:0=fffff;1=fffff","l3_cache_schema":"L3:0=f;1=1f","#,
            r#""mem_bw_info":{"bandwidth_gran":10,"delay_linear":1,"min_bandwidth":10,"num_closids":8},"#,
            r#""mem_bw_schema_root":"MB:0=100;1=100","mem_bw_schema":"MB:0=20;1=70","#,
            r#""mbm_stats":[{"mbm_total_bytes":9,"mbm_local_bytes":7},{}],"#,
            r#""cmt_stats":[{"llc_occupancy":123},{}]}"#
        );
        assert_eq!(json, expected);
        let nothing = stats(&group, Path::new("/nonexistent"));
        assert_eq!(nothing, IntelRdt::default());
    }
}
