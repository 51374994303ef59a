//! What flowtop needs to count, or to see a path, and how to provide it. Start-up errors and
//! `--doctor` use the same words.

use std::error::Error;
use std::fmt;
use std::fs;
use std::io::{self, ErrorKind};
use std::path::Path;

use rustix::process::{Resource, geteuid, getrlimit};

use super::attach::Cgroup2;
use crate::sandbox::capabilities::{self, CapabilitySet};

/// A requirement that this machine or process does not meet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MissingRequirement {
    /// The missing requirement, as part of a sentence.
    pub what: String,
    /// The command, option or boot parameter that provides it.
    pub fix: String,
}

impl fmt::Display for MissingRequirement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.what, self.fix)
    }
}

impl Error for MissingRequirement {}

impl MissingRequirement {
    fn new(what: impl Into<String>, fix: impl Into<String>) -> Self {
        Self {
            what: what.into(),
            fix: fix.into(),
        }
    }

    /// Returns the missing requirement at the root of `error`, if there is one.
    pub fn of(error: &anyhow::Error) -> Option<&Self> {
        error.downcast_ref::<Self>()
    }
}

/// `kernel.perf_event_paranoid`. From 3 on, which Debian and its derivatives have, only
/// CAP_SYS_ADMIN may open perf events, by which tracepoints and kprobes are attached.
pub fn perf_event_paranoid() -> Option<i32> {
    let text = fs::read_to_string("/proc/sys/kernel/perf_event_paranoid").ok()?;
    text.trim().parse().ok()
}

/// Whether only CAP_SYS_ADMIN may open perf events.
pub fn is_perf_for_admins() -> bool {
    perf_event_paranoid().is_some_and(|level| level > 2)
}

/// Whether maps are charged to the user's limit of locked memory and not to a cgroup: before 5.11.
/// Read from the version, because only messages and the advice for setcap depend on it.
pub fn is_memlock_charged() -> bool {
    let uname = rustix::system::uname();
    let release = uname.release().to_string_lossy();
    let mut numbers = release.split(|c: char| !c.is_ascii_digit());
    let mut next = || numbers.next()?.parse::<u32>().ok();
    matches!((next(), next()), (Some(major), Some(minor)) if (major, minor) < (5, 11))
}

/// Whether the kernel has kprobes, by files that everyone may read.
pub fn has_kprobes() -> bool {
    Path::new("/sys/bus/event_source/devices/kprobe").exists()
}

/// Limit of locked memory of this process, in bytes; `None` without a limit.
pub fn memlock_limit() -> Option<u64> {
    getrlimit(Resource::Memlock).current
}

/// Whether this process lacks a capability.
fn is_capability_missing(capability: CapabilitySet) -> bool {
    is_missing(capabilities::held(), capability)
}

/// Whether this process lacks a capability. CAP_SYS_ADMIN includes CAP_BPF, CAP_PERFMON and
/// CAP_NET_ADMIN for the purposes of BPF.
fn is_missing(held: CapabilitySet, capability: CapabilitySet) -> bool {
    let included = CapabilitySet::BPF | CapabilitySet::PERFMON | CapabilitySet::NET_ADMIN;
    let by_admin = held.contains(CapabilitySet::SYS_ADMIN) && included.contains(capability);
    !(held.contains(capability) || by_admin)
}

/// Returns the capabilities with which a user other than root sees everything here.
pub fn needed_capabilities() -> CapabilitySet {
    let mut needed = CapabilitySet::BPF | CapabilitySet::PERFMON | for_tracefs();
    if is_perf_for_admins() {
        needed |= CapabilitySet::SYS_ADMIN;
    }
    if is_memlock_charged() {
        needed |= CapabilitySet::SYS_RESOURCE;
    }
    // Without kprobes the peers of UDP come from cgroup hooks, which need CAP_NET_ADMIN.
    if !has_kprobes() {
        needed |= CapabilitySet::NET_ADMIN;
    }
    needed
}

/// Returns the capabilities with which a user other than root can use tracefs, whose files belong
/// to root: kprobes are created by writing there, and tracepoints are looked up there.
fn for_tracefs() -> CapabilitySet {
    match has_kprobes() {
        true => CapabilitySet::DAC_OVERRIDE,
        false => CapabilitySet::DAC_READ_SEARCH,
    }
}

pub fn of_capabilities(missing: CapabilitySet, purpose: &str) -> MissingRequirement {
    let names = capabilities::names(missing);
    let what = format!("{purpose} needs {names}");
    let fix = if geteuid().is_root() {
        let missing = missing.iter_names();
        let options = missing.map(|(name, _)| format!("--cap-add {name}"));
        let options = options.collect::<Vec<_>>().join(" ");
        format!("root does not have it here: start the container with {options}")
    } else {
        let set = capabilities::for_setcap(needed_capabilities() | missing);
        format!(
            "run sudo flowtop; or let a group run it, whose members then see the traffic of every user: \
             f=$(command -v flowtop); sudo chgrp adm $f; sudo chmod 750 $f; sudo setcap {set}=ep $f"
        )
    };
    MissingRequirement::new(what, fix)
}

/// Returns the requirements of every backend that are not met, in the order in which to meet them.
pub fn of_requirements() -> Option<MissingRequirement> {
    let missing = [CapabilitySet::BPF, CapabilitySet::PERFMON];
    let missing = missing
        .into_iter()
        .filter(|&capability| is_capability_missing(capability));
    let missing: CapabilitySet = missing.collect();
    if !missing.is_empty() {
        return Some(of_capabilities(
            missing,
            "reading the kernel's socket calls",
        ));
    }
    if !Path::new(BTF).exists() {
        return Some(of_btf());
    }
    let lockdown = fs::read_to_string(LOCKDOWN).unwrap_or_default();
    lockdown.contains("[confidentiality]").then(of_lockdown)
}

/// The file in which the kernel describes its types.
pub const BTF: &str = "/sys/kernel/btf/vmlinux";
/// The file with the modes of lockdown, the current one in brackets.
pub const LOCKDOWN: &str = "/sys/kernel/security/lockdown";

/// The kernel has no BTF, or sysfs, which has its file, is not mounted.
pub fn of_btf() -> MissingRequirement {
    if !Path::new("/sys/kernel").exists() {
        return MissingRequirement::new(
            "sysfs is not mounted (there is no /sys/kernel)",
            "sudo mount -t sysfs sysfs /sys",
        );
    }
    MissingRequirement::new(
        format!("this kernel has no BTF ({BTF})"),
        "boot a kernel built with CONFIG_DEBUG_INFO_BTF=y, as in all large distributions",
    )
}

/// The switch of the BPF JIT; 0 is off. Only root can read it, and only in the initial network
/// namespace.
const JIT_SWITCH: &str = "/proc/sys/net/core/bpf_jit_enable";

/// The BPF JIT is off; kernel functions and trampolines need it.
pub fn of_jit() -> Option<MissingRequirement> {
    let switch = fs::read_to_string(JIT_SWITCH).ok()?;
    (switch.trim() == "0").then(|| {
        MissingRequirement::new(
            "the BPF JIT is switched off (net.core.bpf_jit_enable is 0)",
            "sudo sysctl net.core.bpf_jit_enable=1",
        )
    })
}

/// The maps do not fit into `limit` bytes, the limit that `whose` names.
pub fn of_memory(
    flows: u32,
    needed: u64,
    left: u64,
    whose: &str,
    fitting: Option<u32>,
) -> MissingRequirement {
    let (needed, left) = (needed / 1_000_000, left / 1_000_000);
    let fix = fitting.map_or_else(
        || "free or allow more memory".to_owned(),
        |flows| format!("use --max-flows {flows}, or free or allow more memory"),
    );
    MissingRequirement::new(
        format!(
            "{flows} flows need about {needed} MB of kernel memory, and {whose} leaves {left} MB"
        ),
        fix,
    )
}

/// Lockdown forbids BPF programs to read kernel memory.
pub fn of_lockdown() -> MissingRequirement {
    MissingRequirement::new(
        "kernel lockdown is in confidentiality mode, which forbids BPF programs to read kernel memory",
        "boot with lockdown=integrity or without lockdown",
    )
}

/// The kernel refused to load the programs for lack of a permission.
pub fn of_load() -> MissingRequirement {
    if is_memlock_charged()
        && memlock_limit().is_some()
        && is_capability_missing(CapabilitySet::SYS_RESOURCE)
    {
        let mut requirement = of_capabilities(
            CapabilitySet::SYS_RESOURCE,
            "locking memory for the maps, as before Linux 5.11,",
        );
        requirement
            .fix
            .push_str("; or lift the limit: ulimit -l unlimited");
        return requirement;
    }
    MissingRequirement::new(
        "the kernel refuses to load these BPF programs although flowtop has the capabilities",
        "in a container allow bpf(), as with docker run --security-opt seccomp=unconfined; elsewhere look for a \
         denial of the security module: journalctl -k -g denied",
    )
}

/// The kernel will refuse perf events, by which tracepoints and kprobes are attached.
pub fn before_perf() -> Option<MissingRequirement> {
    if !is_perf_for_admins() || !is_capability_missing(CapabilitySet::SYS_ADMIN) {
        return None;
    }
    let level = perf_event_paranoid().unwrap_or_default();
    let purpose = format!("attaching probes while kernel.perf_event_paranoid is {level}");
    let mut requirement = of_capabilities(CapabilitySet::SYS_ADMIN, &purpose);
    requirement
        .fix
        .push_str("; or lower it: sudo sysctl kernel.perf_event_paranoid=2");
    Some(requirement)
}

/// The kernel refused a perf event.
pub fn of_perf() -> MissingRequirement {
    before_perf().unwrap_or_else(|| {
        MissingRequirement::new(
            "the kernel refuses perf events although flowtop has the capabilities",
            "in a container allow perf_event_open(), as with docker run --security-opt seccomp=unconfined",
        )
    })
}

/// CPU 0 is offline, where the perf events of tracepoints and kprobes are opened for all CPUs.
pub fn of_first_cpu() -> Option<MissingRequirement> {
    let online = fs::read_to_string("/sys/devices/system/cpu/online").ok()?;
    (!begins_at_zero(&online)).then(|| {
        MissingRequirement::new(
            "CPU 0 is offline, where the kernel opens the events of tracepoints and kprobes",
            "run echo 1 | sudo tee /sys/devices/system/cpu/cpu0/online, or use --backend fentry",
        )
    })
}

/// Whether a list of CPUs, as in `0-3,5`, contains CPU 0.
fn begins_at_zero(list: &str) -> bool {
    list.split(['-', ',', '\n']).next() == Some("0")
}

/// A file of tracefs could not be opened.
pub fn of_tracefs(error: io::Error, path: &Path) -> anyhow::Error {
    if error.kind() != ErrorKind::PermissionDenied {
        return anyhow::Error::new(error).context(format!("open {}", path.display()));
    }
    if !is_capability_missing(CapabilitySet::DAC_OVERRIDE) {
        let what = format!(
            "{} cannot be opened although flowtop has the capabilities",
            path.display()
        );
        return MissingRequirement::new(
            what,
            "check kernel lockdown and security modules: journalctl -k -g denied",
        )
        .into();
    }
    of_capabilities(for_tracefs(), &format!("opening {}", path.display())).into()
}

/// tracefs is not mounted and could not be mounted.
pub fn of_mount(error: io::Error, mount_point: &str) -> anyhow::Error {
    let fix = format!("sudo mount -t tracefs tracefs {mount_point}");
    if is_capability_missing(CapabilitySet::SYS_ADMIN) {
        return MissingRequirement::new(
            "tracefs is not mounted, and mounting it needs CAP_SYS_ADMIN",
            fix,
        )
        .into();
    }
    MissingRequirement::new(
        format!("tracefs is not mounted, and mounting it failed ({error})"),
        fix,
    )
    .into()
}

/// The kernel will refuse the hooks that report the peers of UDP: it refuses to load their programs
/// (is_net_admin_prog_type(), v5.8).
pub fn before_cgroup() -> Option<MissingRequirement> {
    is_capability_missing(CapabilitySet::NET_ADMIN).then(of_cgroup)
}

/// The kernel refused the hooks that report the peers of UDP.
pub fn of_cgroup() -> MissingRequirement {
    of_capabilities(
        CapabilitySet::NET_ADMIN,
        "reporting the peers of UDP without kprobes",
    )
}

/// The hooks that report the peers of UDP see only the processes of one cgroup.
pub fn of_cgroup_namespace() -> Option<MissingRequirement> {
    let mount = Cgroup2::mounted().filter(|mount| !mount.is_whole)?;
    Some(MissingRequirement::new(
        format!(
            "{} has only a part of the cgroups, as in a cgroup namespace: without kprobes the peers of UDP of \
             processes outside that part are unknown",
            mount.path.display()
        ),
        "start the container with --cgroupns=host, or mount the host's /sys/fs/cgroup into it",
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_requirement_names_the_fix() {
        let requirement = of_capabilities(CapabilitySet::SYS_ADMIN, "attaching probes");
        assert_eq!(requirement.what, "attaching probes needs CAP_SYS_ADMIN");
        assert!(requirement.fix.contains("SYS_ADMIN") || requirement.fix.contains("sys_admin"));
        assert_eq!(
            requirement.to_string(),
            format!("{}: {}", requirement.what, requirement.fix)
        );
    }

    #[test]
    fn the_admin_is_let_in_where_others_need_their_own() {
        use CapabilitySet as Set;
        assert!(is_missing(Set::BPF, Set::PERFMON));
        assert!(!is_missing(Set::BPF | Set::PERFMON, Set::PERFMON));
        assert!(!is_missing(Set::SYS_ADMIN, Set::BPF));
        assert!(is_missing(Set::SYS_ADMIN, Set::DAC_OVERRIDE));
        assert!(is_missing(
            Set::all() - Set::SYS_RESOURCE,
            Set::SYS_RESOURCE
        ));
    }

    #[test]
    fn cpu_0_is_found_in_a_list_of_cpus() {
        for list in ["0\n", "0-7\n", "0,2-3\n"] {
            assert!(begins_at_zero(list), "{list:?}");
        }
        for list in ["1-7\n", "10\n", "2,4\n"] {
            assert!(!begins_at_zero(list), "{list:?}");
        }
    }

    #[test]
    fn it_is_found_below_what_was_being_done() {
        let error = anyhow::Error::new(of_btf()).context("open it");
        assert_eq!(MissingRequirement::of(&error), Some(&of_btf()));
        assert_eq!(MissingRequirement::of(&anyhow::anyhow!("else")), None);
    }

    #[test]
    fn other_errors_of_tracefs_stay_what_they_are() {
        let error = of_tracefs(ErrorKind::NotFound.into(), Path::new("/t"));
        assert!(MissingRequirement::of(&error).is_none());
        assert!(format!("{error:#}").starts_with("open /t: "));
    }
}
