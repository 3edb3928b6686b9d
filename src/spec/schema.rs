//! What config.json may hold: the fields of runtime-spec 1.3 by name, each with the type that its document
//! gives it. A table to check by ([`super::shape`]) and to read; rules between fields are in `validate`.

use super::shape::Need::{self, *};
use super::shape::Shape::{self, *};

/// A field of an object.
pub struct Field {
    pub name: &'static str,
    pub shape: &'static Shape,
    pub need: Need,
}

const fn may(name: &'static str, shape: &'static Shape) -> Field {
    Field { name, shape, need: Optional }
}

const fn must(name: &'static str, shape: &'static Shape) -> Field {
    Field { name, shape, need: Required }
}

const fn filled(name: &'static str, shape: &'static Shape) -> Field {
    Field { name, shape, need: Filled }
}

const U16: Shape = Number(0, u16::MAX as i128);
const U32: Shape = Number(0, u32::MAX as i128);
const U64: Shape = Number(0, u64::MAX as i128);
const I32: Shape = Number(i32::MIN as i128, i32::MAX as i128);
const I64: Shape = Number(i64::MIN as i128, i64::MAX as i128);
const TEXTS: Shape = List(&Text);

/// config.md, the whole document.
pub const CONFIG: Shape = Object(&[
    may("ociVersion", &Text),
    may("root", &ROOT),
    may("mounts", &List(&MOUNT)),
    may("process", &PROCESS),
    may("hostname", &Text),
    may("domainname", &Text),
    may("hooks", &HOOKS),
    may("annotations", &Map(&Text)),
    may("linux", &LINUX),
    // Other platforms' sections: a bundle may be made for several.
    may("freebsd", &Foreign),
    may("solaris", &Foreign),
    may("vm", &Foreign),
    may("windows", &Foreign),
    may("zos", &Foreign),
]);

const ROOT: Shape = Object(&[may("path", &Text), may("readonly", &Flag)]);

const MOUNT: Shape = Object(&[
    must("destination", &Text),
    may("type", &Text),
    may("source", &Text),
    may("options", &TEXTS),
    may("uidMappings", &ID_MAPPINGS),
    may("gidMappings", &ID_MAPPINGS),
]);

const ID_MAPPINGS: Shape = List(&Object(&[may("containerID", &U32), may("hostID", &U32), may("size", &U32)]));

pub const PROCESS: Shape = Object(&[
    may("terminal", &Flag),
    may("consoleSize", &Object(&[may("height", &U64), may("width", &U64)])),
    filled("user", &USER),
    may("args", &TEXTS),
    may("commandLine", &Foreign),
    may("env", &TEXTS),
    must("cwd", &Text),
    may("capabilities", &CAPABILITIES),
    may("rlimits", &List(&RLIMIT)),
    may("noNewPrivileges", &Flag),
    may("apparmorProfile", &Text),
    may("oomScoreAdj", &I32),
    may("selinuxLabel", &Text),
    may("ioPriority", &IO_PRIORITY),
    may("scheduler", &SCHEDULER),
    // oci-spec wants both fields to be written.
    may("execCPUAffinity", &Object(&[filled("initial", &Cpus), filled("final", &Cpus)])),
]);

const USER: Shape = Object(&[
    may("uid", &U32),
    may("gid", &U32),
    may("umask", &U32),
    may("additionalGids", &List(&U32)),
    may("username", &Foreign),
]);

const CAPABILITIES: Shape = Object(&[
    may("bounding", &List(&Capability)),
    may("effective", &List(&Capability)),
    may("inheritable", &List(&Capability)),
    may("permitted", &List(&Capability)),
    may("ambient", &List(&Capability)),
]);

const RLIMIT: Shape = Object(&[must("type", &Word(&RLIMITS)), may("hard", &U64), may("soft", &U64)]);

/// getrlimit(2).
const RLIMITS: [&str; 16] = [
    "RLIMIT_AS",
    "RLIMIT_CORE",
    "RLIMIT_CPU",
    "RLIMIT_DATA",
    "RLIMIT_FSIZE",
    "RLIMIT_LOCKS",
    "RLIMIT_MEMLOCK",
    "RLIMIT_MSGQUEUE",
    "RLIMIT_NICE",
    "RLIMIT_NOFILE",
    "RLIMIT_NPROC",
    "RLIMIT_RSS",
    "RLIMIT_RTPRIO",
    "RLIMIT_RTTIME",
    "RLIMIT_SIGPENDING",
    "RLIMIT_STACK",
];

const IO_PRIORITY: Shape = Object(&[
    may("class", &Word(&["IOPRIO_CLASS_RT", "IOPRIO_CLASS_BE", "IOPRIO_CLASS_IDLE"])),
    may("priority", &I64),
]);

const SCHEDULER: Shape = Object(&[
    must(
        "policy",
        &Word(&[
            "SCHED_OTHER",
            "SCHED_FIFO",
            "SCHED_RR",
            "SCHED_BATCH",
            "SCHED_ISO",
            "SCHED_IDLE",
            "SCHED_DEADLINE",
        ]),
    ),
    may("nice", &I32),
    may("priority", &I32),
    may(
        "flags",
        &List(&Word(&[
            "SCHED_FLAG_RESET_ON_FORK",
            "SCHED_FLAG_RECLAIM",
            "SCHED_FLAG_DL_OVERRUN",
            "SCHED_FLAG_KEEP_POLICY",
            "SCHED_FLAG_KEEP_PARAMS",
            "SCHED_FLAG_UTIL_CLAMP_MIN",
            "SCHED_FLAG_UTIL_CLAMP_MAX",
        ])),
    ),
    may("runtime", &U64),
    may("deadline", &U64),
    may("period", &U64),
]);

const HOOK: Shape =
    Object(&[must("path", &Text), may("args", &TEXTS), may("env", &TEXTS), may("timeout", &I64)]);

const HOOKS: Shape = Object(&[
    may("prestart", &List(&HOOK)),
    may("createRuntime", &List(&HOOK)),
    may("createContainer", &List(&HOOK)),
    may("startContainer", &List(&HOOK)),
    may("poststart", &List(&HOOK)),
    may("poststop", &List(&HOOK)),
]);

/// config-linux.md.
const LINUX: Shape = Object(&[
    may("netDevices", &Map(&Object(&[may("name", &Text)]))),
    may("uidMappings", &ID_MAPPINGS),
    may("gidMappings", &ID_MAPPINGS),
    may("sysctl", &Map(&Text)),
    may("resources", &RESOURCES),
    may("cgroupsPath", &Text),
    may("namespaces", &List(&NAMESPACE)),
    may("devices", &List(&DEVICE)),
    may("seccomp", &SECCOMP),
    may("rootfsPropagation", &Text),
    may("maskedPaths", &TEXTS),
    may("readonlyPaths", &TEXTS),
    may("mountLabel", &Text),
    may("intelRdt", &INTEL_RDT),
    may("memoryPolicy", &MEMORY_POLICY),
    may("personality", &PERSONALITY),
    may("timeOffsets", &Map(&Object(&[may("secs", &I64), may("nanosecs", &U32)]))),
]);

const NAMESPACE: Shape = Object(&[
    must("type", &Word(&["pid", "network", "mount", "ipc", "uts", "user", "cgroup", "time"])),
    may("path", &Text),
]);

const DEVICE: Shape = Object(&[
    must("path", &Text),
    must("type", &Word(&["c", "b", "u", "p"])),
    may("major", &I64),
    may("minor", &I64),
    may("fileMode", &U32),
    may("uid", &U32),
    may("gid", &U32),
]);

pub const RESOURCES: Shape = Object(&[
    may("devices", &List(&DEVICE_RULE)),
    may("memory", &MEMORY),
    may("cpu", &CPU),
    // "No limit given" and "0" differ since 1.3, but oci-spec reads both as 0.
    may("pids", &Object(&[Field { name: "limit", shape: &I64, need: Whole }])),
    may("blockIO", &BLOCK_IO),
    may("hugepageLimits", &List(&Object(&[may("pageSize", &Text), may("limit", &Capped)]))),
    may("network", &NETWORK),
    may("rdma", &Map(&Object(&[may("hcaHandles", &U32), may("hcaObjects", &U32)]))),
    may("unified", &Map(&Text)),
]);

const DEVICE_RULE: Shape = Object(&[
    may("allow", &Flag),
    may("type", &Word(&["a", "b", "c"])),
    may("major", &I64),
    may("minor", &I64),
    may("access", &Text),
]);

const MEMORY: Shape = Object(&[
    may("limit", &I64),
    may("reservation", &I64),
    may("swap", &I64),
    may("kernel", &I64),
    may("kernelTCP", &I64),
    may("swappiness", &U64),
    may("disableOOMKiller", &Flag),
    may("useHierarchy", &Flag),
    may("checkBeforeUpdate", &Flag),
]);

const CPU: Shape = Object(&[
    may("shares", &U64),
    may("quota", &I64),
    may("burst", &U64),
    may("period", &U64),
    may("realtimeRuntime", &I64),
    may("realtimePeriod", &U64),
    may("cpus", &Text),
    may("mems", &Text),
    may("idle", &I64),
]);

const THROTTLE: Shape = List(&Object(&[may("major", &I64), may("minor", &I64), may("rate", &U64)]));

const BLOCK_IO: Shape = Object(&[
    may("weight", &U16),
    may("leafWeight", &U16),
    may(
        "weightDevice",
        &List(&Object(&[
            may("major", &I64),
            may("minor", &I64),
            may("weight", &U16),
            may("leafWeight", &U16),
        ])),
    ),
    may("throttleReadBpsDevice", &THROTTLE),
    may("throttleWriteBpsDevice", &THROTTLE),
    may("throttleReadIOPSDevice", &THROTTLE),
    may("throttleWriteIOPSDevice", &THROTTLE),
]);

const NETWORK: Shape = Object(&[
    may("classID", &U32),
    may("priorities", &List(&Object(&[may("name", &Text), may("priority", &U32)]))),
]);

const SECCOMP: Shape = Object(&[
    must("defaultAction", &Word(&ACTIONS)),
    may("defaultErrnoRet", &U32),
    may("architectures", &List(&Word(&ARCHITECTURES))),
    may(
        "flags",
        &List(&Word(&[
            "SECCOMP_FILTER_FLAG_TSYNC",
            "SECCOMP_FILTER_FLAG_LOG",
            "SECCOMP_FILTER_FLAG_SPEC_ALLOW",
            "SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV",
        ])),
    ),
    may("listenerPath", &Text),
    may("listenerMetadata", &Text),
    may("syscalls", &List(&SYSCALL)),
]);

const ACTIONS: [&str; 9] = [
    "SCMP_ACT_ALLOW",
    "SCMP_ACT_ERRNO",
    "SCMP_ACT_KILL",
    "SCMP_ACT_KILL_PROCESS",
    "SCMP_ACT_KILL_THREAD",
    "SCMP_ACT_LOG",
    "SCMP_ACT_NOTIFY",
    "SCMP_ACT_TRACE",
    "SCMP_ACT_TRAP",
];

const ARCHITECTURES: [&str; 24] = [
    "SCMP_ARCH_NATIVE", // not of the spec, but oci-spec and libseccomp know it
    "SCMP_ARCH_X86",
    "SCMP_ARCH_X86_64",
    "SCMP_ARCH_X32",
    "SCMP_ARCH_ARM",
    "SCMP_ARCH_AARCH64",
    "SCMP_ARCH_MIPS",
    "SCMP_ARCH_MIPS64",
    "SCMP_ARCH_MIPS64N32",
    "SCMP_ARCH_MIPSEL",
    "SCMP_ARCH_MIPSEL64",
    "SCMP_ARCH_MIPSEL64N32",
    "SCMP_ARCH_PPC",
    "SCMP_ARCH_PPC64",
    "SCMP_ARCH_PPC64LE",
    "SCMP_ARCH_S390",
    "SCMP_ARCH_S390X",
    "SCMP_ARCH_PARISC",
    "SCMP_ARCH_PARISC64",
    "SCMP_ARCH_RISCV64",
    "SCMP_ARCH_LOONGARCH64",
    "SCMP_ARCH_M68K",
    "SCMP_ARCH_SH",
    "SCMP_ARCH_SHEB",
];

const SYSCALL: Shape = Object(&[
    must("names", &TEXTS),
    must("action", &Word(&ACTIONS)),
    may("errnoRet", &U32),
    may("args", &List(&SYSCALL_ARG)),
]);

const SYSCALL_ARG: Shape = Object(&[
    must("index", &U64),
    must("value", &U64),
    may("valueTwo", &U64),
    must(
        "op",
        &Word(&[
            "SCMP_CMP_EQ",
            "SCMP_CMP_NE",
            "SCMP_CMP_LT",
            "SCMP_CMP_LE",
            "SCMP_CMP_GE",
            "SCMP_CMP_GT",
            "SCMP_CMP_MASKED_EQ",
        ]),
    ),
]);

const INTEL_RDT: Shape = Object(&[
    may("closID", &Text),
    may("schemata", &TEXTS),
    may("l3CacheSchema", &Text),
    may("memBwSchema", &Text),
    may("enableCMT", &Flag),
    may("enableMBM", &Flag),
    may("enableMonitoring", &Flag),
]);

const MEMORY_POLICY: Shape = Object(&[
    must(
        "mode",
        &Word(&[
            "MPOL_DEFAULT",
            "MPOL_BIND",
            "MPOL_INTERLEAVE",
            "MPOL_WEIGHTED_INTERLEAVE",
            "MPOL_PREFERRED",
            "MPOL_PREFERRED_MANY",
            "MPOL_LOCAL",
        ]),
    ),
    may("nodes", &Text),
    may("flags", &List(&Word(&["MPOL_F_NUMA_BALANCING", "MPOL_F_RELATIVE_NODES", "MPOL_F_STATIC_NODES"]))),
]);

const PERSONALITY: Shape = Object(&[must("domain", &Word(&["LINUX", "LINUX32"])), may("flags", &TEXTS)]);
