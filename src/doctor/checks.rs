//! The checks of the kernel, the privileges and the memory that read files only.

use std::fs;
use std::path::Path;

use super::{Check, CheckState};
use crate::kernel::map_memory::map_memory;
use crate::kernel::requirements::{self, MissingRequirement};
use crate::kernel::running_kernel::Preemption;
use crate::kernel::tracefs;
use crate::sandbox::capabilities::{self, CapabilitySet};
use crate::system::mounts;

/// Checks what the kernel has.
pub(super) fn kernel() -> Vec<Check> {
    let tracefs = tracefs::find_or_mount();
    let mut checks = vec![
        match Path::new(requirements::BTF).exists() {
            true => Check::new("btf", "BTF", CheckState::Ok, requirements::BTF),
            false => {
                Check::for_requirement("btf", "BTF", CheckState::Fail, &requirements::of_btf())
            }
        },
        lockdown(),
        match &tracefs {
            Ok(path) => {
                let (id, title) = ("tracefs", "tracefs");
                Check::new(id, title, CheckState::Ok, path.display().to_string())
            }
            Err(error) => match MissingRequirement::of(error) {
                Some(missing) => {
                    Check::for_requirement("tracefs", "tracefs", CheckState::Note, missing)
                }
                None => Check::new("tracefs", "tracefs", CheckState::Note, format!("{error:#}")),
            },
        },
    ];
    checks.push(match &tracefs {
        Ok(path) if tracefs::has_sock_tracepoints(path) => Check::new(
            "sock_tracepoints",
            "sock tracepoints",
            CheckState::Ok,
            "sock_send_length, sock_recv_length",
        ),
        Ok(_) => Check::new(
            "sock_tracepoints",
            "sock tracepoints",
            CheckState::Note,
            "none (Linux 6.3 and later have them); fentry and kprobes count as exactly",
        ),
        Err(_) => Check::new(
            "sock_tracepoints",
            "sock tracepoints",
            CheckState::Note,
            "unknown without tracefs",
        ),
    });
    checks.push(match requirements::has_kprobes() {
        true => Check::new("kprobes", "kprobes", CheckState::Ok, "yes"),
        false => Check::new(
            "kprobes",
            "kprobes",
            CheckState::Note,
            "none (CONFIG_KPROBE_EVENTS is off): splice() from TCP, TCP_ZEROCOPY_RECEIVE and some peers of UDP are not reported",
        ),
    });
    checks.push(match Preemption::of_this_kernel() {
        Preemption::Off => Check::new(
            "preemption",
            "preemption",
            CheckState::Ok,
            "off: every backend is exact",
        ),
        Preemption::Possible => Check::new(
            "preemption",
            "preemption",
            CheckState::Ok,
            "on: fentry may miss events, and from Linux 7.0 on raw_tracepoint; --backend auto avoids both",
        ),
    });
    checks.push(cgroups());
    checks.push(match requirements::of_jit() {
        None => Check::new("bpf_jit", "BPF JIT", CheckState::Ok, "on"),
        Some(missing) => Check::for_requirement("bpf_jit", "BPF JIT", CheckState::Fail, &missing),
    });
    checks
}

fn lockdown() -> Check {
    let (id, title) = ("lockdown", "lockdown");
    let Ok(modes) = fs::read_to_string(requirements::LOCKDOWN) else {
        let value = "unknown: the kernel has no lockdown, or securityfs is not mounted";
        return Check::new(id, title, CheckState::Ok, value);
    };
    if modes.contains("[confidentiality]") {
        return Check::for_requirement(id, title, CheckState::Fail, &requirements::of_lockdown());
    }
    let mode = modes
        .split_once('[')
        .and_then(|(_, rest)| rest.split_once(']'));
    Check::new(
        id,
        title,
        CheckState::Ok,
        mode.map_or("none", |(mode, _)| mode),
    )
}

/// Checks cgroups: they name containers and units, and without kprobes cgroup v2 reports the peers
/// of UDP.
fn cgroups() -> Check {
    let (id, title) = ("cgroup", "cgroups");
    if let Some(missing) =
        requirements::of_cgroup_namespace().filter(|_| !requirements::has_kprobes())
    {
        return Check::for_requirement(id, title, CheckState::Note, &missing);
    }
    let text = mounts::text();
    let has = |kind: &str| mounts::mounts(&text).any(|mount| mount.kind == kind);
    let (state, value) = match (has("cgroup2"), has("cgroup")) {
        (true, false) => (CheckState::Ok, "v2"),
        (true, true) => (CheckState::Ok, "v2 and v1"),
        (false, true) => (CheckState::Ok, "v1"),
        (false, false) => (
            CheckState::Note,
            "none is mounted: flowtop shows no containers and no units",
        ),
    };
    Check::new(id, title, state, value)
}

/// Checks what this process may do.
pub(super) fn privileges() -> Vec<Check> {
    let held = capabilities::held();
    let uid = rustix::process::geteuid().as_raw();
    let value = format!("{} (user {uid})", capabilities::names(held));
    let mut checks = vec![match requirements::of_requirements() {
        Some(missing) if !has_all(held) => {
            let check = Check::new("capabilities", "capabilities", CheckState::Fail, value);
            check.fix(missing.fix)
        }
        _ => Check::new("capabilities", "capabilities", CheckState::Ok, value),
    }];
    checks.push(match requirements::perf_event_paranoid() {
        None => Check::new(
            "perf_event_paranoid",
            "perf_event_paranoid",
            CheckState::Note,
            "not readable",
        ),
        Some(level) => {
            let (id, title) = ("perf_event_paranoid", "perf_event_paranoid");
            match level > 2 && !held.contains(CapabilitySet::SYS_ADMIN) {
                false => Check::new(id, title, CheckState::Ok, level.to_string()),
                true => {
                    let value = format!("{level}: tracepoints and kprobes need CAP_SYS_ADMIN");
                    let check = Check::new(id, title, CheckState::Note, value);
                    check.fix(
                        "sudo sysctl kernel.perf_event_paranoid=2, or give flowtop CAP_SYS_ADMIN",
                    )
                }
            }
        }
    });
    checks.push(unprivileged_bpf());
    let (id, title) = ("memlock", "locked memory");
    checks.push(
        match (
            requirements::is_memlock_charged(),
            requirements::memlock_limit(),
        ) {
            (false, _) => Check::new(id, title, CheckState::Ok, "not limited by this kernel"),
            (true, None) => Check::new(id, title, CheckState::Ok, "unlimited"),
            (true, Some(limit)) if held.contains(CapabilitySet::SYS_RESOURCE) => {
                let value = format!("{} KiB, and CAP_SYS_RESOURCE lifts the limit", limit / 1024);
                Check::new(id, title, CheckState::Ok, value)
            }
            (true, Some(limit)) => {
                let value = format!("{} KiB, less than the maps need", limit / 1024);
                let check = Check::new(id, title, CheckState::Fail, value);
                check.fix("ulimit -l unlimited, or give flowtop CAP_SYS_RESOURCE")
            }
        },
    );
    checks
}

fn has_all(held: CapabilitySet) -> bool {
    let two = CapabilitySet::BPF | CapabilitySet::PERFMON;
    held.contains(two) || held.contains(CapabilitySet::SYS_ADMIN)
}

/// Informational: does not affect flowtop; a hardening hint for the machine.
fn unprivileged_bpf() -> Check {
    let (id, title) = ("unprivileged_bpf_disabled", "unprivileged BPF");
    let value = fs::read_to_string("/proc/sys/kernel/unprivileged_bpf_disabled");
    match value.as_deref().map(str::trim) {
        Ok("0") => {
            let value = "allowed for every user (unprivileged_bpf_disabled = 0), which flowtop does not need";
            let check = Check::new(id, title, CheckState::Note, value);
            check.fix("sudo sysctl kernel.unprivileged_bpf_disabled=2")
        }
        Ok(level) => {
            let value = format!("off (unprivileged_bpf_disabled = {level})");
            Check::new(id, title, CheckState::Ok, value)
        }
        Err(_) => Check::new(id, title, CheckState::Ok, "not supported by this kernel"),
    }
}

/// Checks whether the maps fit into memory.
pub(super) fn memory(max_flows: Option<u32>, by_thread: bool) -> Vec<Check> {
    let (id, title) = ("map_memory", "maps");
    let checked = map_memory(max_flows, by_thread);
    vec![match checked {
        Ok(memory) => {
            let value = format!(
                "{} flows of IPv4 and as many of IPv6 in {} MB",
                memory.flows,
                memory.bytes / 1_000_000
            );
            Check::new(id, title, CheckState::Ok, value)
        }
        Err(error) => match MissingRequirement::of(&error) {
            Some(missing) => Check::for_requirement(id, title, CheckState::Fail, missing),
            None => Check::new(id, title, CheckState::Fail, format!("{error:#}")),
        },
    }]
}
