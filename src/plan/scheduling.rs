//! On which CPUs, with which priority, and with memory of which nodes the program runs.

use oci_spec::runtime::{
    IOPriorityClass, LinuxSchedulerFlag, LinuxSchedulerPolicy, MemoryPolicyFlagType, MemoryPolicyModeType,
    Process, Spec,
};

use super::Draft;
use super::step::Step;
use crate::sys::sched::{NumberList, SchedAttr};

/// config.md, process.execCPUAffinity, which is for `exec` alone: once it is set, what it leaves out stays as the kernel
/// has it. Else every CPU is ours, whatever the caller is bound to.
pub fn affinity(process: &Process, is_init: bool, draft: &mut Draft) {
    let wanted = process.exec_cpu_affinity().as_ref().filter(|_| !is_init);
    let Some(wanted) = wanted else {
        return draft.step(Step::Affinity);
    };
    if let Some(cpus) = cpus("process.execCPUAffinity.final", wanted.cpu_affinity_final(), draft) {
        draft.step(Step::RunOn(Box::new(cpus)));
    }
}

/// The CPUs that a process of `exec` is born on.
pub fn initial_affinity(oci: &Spec, draft: &mut Draft) -> Option<NumberList> {
    let wanted = oci.process().as_ref()?.exec_cpu_affinity().as_ref()?;
    cpus("process.execCPUAffinity.initial", wanted.initial(), draft)
}

fn cpus(field: &str, list: &Option<String>, draft: &mut Draft) -> Option<NumberList> {
    let list = list.as_deref().filter(|list| !list.is_empty())?;
    let mask = NumberList::parse(list);
    if mask.is_none() {
        draft.fault(field, format!("{list:?} is no list of CPUs, such as \"0-3,7\""));
    }
    mask
}

/// config.md, process.scheduler and ioPriority: before the right to either is dropped.
pub fn compile(process: &Process, draft: &mut Draft) {
    if let Some(wanted) = process.scheduler() {
        let flag = |flag: &LinuxSchedulerFlag| match flag {
            LinuxSchedulerFlag::SchedResetOnFork => 0x01,
            LinuxSchedulerFlag::SchedFlagReclaim => 0x02,
            LinuxSchedulerFlag::SchedFlagDLOverrun => 0x04,
            LinuxSchedulerFlag::SchedFlagKeepPolicy => 0x08,
            LinuxSchedulerFlag::SchedFlagKeepParams => 0x10,
            LinuxSchedulerFlag::SchedFlagUtilClampMin => 0x20,
            LinuxSchedulerFlag::SchedFlagUtilClampMax => 0x40,
        };
        draft.step(Step::Scheduler(SchedAttr {
            size: size_of::<SchedAttr>() as u32,
            policy: match wanted.policy() {
                LinuxSchedulerPolicy::SchedOther => 0,
                LinuxSchedulerPolicy::SchedFifo => 1,
                LinuxSchedulerPolicy::SchedRr => 2,
                LinuxSchedulerPolicy::SchedBatch => 3,
                LinuxSchedulerPolicy::SchedIso => 4,
                LinuxSchedulerPolicy::SchedIdle => 5,
                LinuxSchedulerPolicy::SchedDeadline => 6,
            },
            flags: wanted.flags().iter().flatten().map(flag).fold(0, |all, flag| all | flag),
            nice: wanted.nice().unwrap_or(0),
            priority: wanted.priority().unwrap_or(0) as u32,
            runtime: wanted.runtime().unwrap_or(0),
            deadline: wanted.deadline().unwrap_or(0),
            period: wanted.period().unwrap_or(0),
        }));
    }
    if let Some(wanted) = process.io_priority() {
        let class = match wanted.class() {
            IOPriorityClass::IoprioClassRt => 1,
            IOPriorityClass::IoprioClassBe => 2,
            IOPriorityClass::IoprioClassIdle => 3,
        };
        draft.step(Step::IoPriority(class << 13 | wanted.priority() as i32));
    }
}

/// config-linux.md, Memory policy; the numbers are those of linux/mempolicy.h.
pub fn memory_policy(oci: &Spec, draft: &mut Draft) {
    let linux = oci.linux().as_ref();
    let Some(policy) = linux.and_then(|linux| linux.memory_policy().as_ref()) else {
        return;
    };
    let mode = match policy.mode() {
        MemoryPolicyModeType::MpolDefault => 0,
        MemoryPolicyModeType::MpolPreferred => 1,
        MemoryPolicyModeType::MpolBind => 2,
        MemoryPolicyModeType::MpolInterleave => 3,
        MemoryPolicyModeType::MpolLocal => 4,
        MemoryPolicyModeType::MpolPreferredMany => 5,
        MemoryPolicyModeType::MpolWeightedInterleave => 6,
    };
    let flag = |flag: &MemoryPolicyFlagType| match flag {
        MemoryPolicyFlagType::MpolFStaticNodes => 1 << 15,
        MemoryPolicyFlagType::MpolFRelativeNodes => 1 << 14,
        MemoryPolicyFlagType::MpolFNumaBalancing => 1 << 13,
    };
    let flags = policy.flags().iter().flatten().map(flag);
    let nodes = policy.nodes().as_deref().filter(|nodes| !nodes.is_empty());
    draft.step(Step::MemoryPolicy {
        mode: flags.fold(mode, |all, flag| all | flag),
        nodes: nodes.and_then(NumberList::parse).map(Box::new), // `spec` has seen to it
    });
}
