//! The properties of the running kernel that decide which backends work and which of them are
//! exact.

use std::fs;
use std::path::Path;

use super::kernel_types::KernelTypes;

pub(super) const TRACEPOINT_DOMAIN: &str = "tracepoint_srcu_srcu_data";
pub(super) const FAST_READERS: &str = "srcu_ctr";
pub(super) const RAW_SOCK_TRACEPOINTS: [&str; 2] =
    ["btf_trace_sock_send_length", "btf_trace_sock_recv_length"];

/// Whether a task can be preempted inside a BPF trampoline; other tasks' events are skipped then.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Preemption {
    /// The kernel is built or configured not to preempt itself.
    Off,
    /// The kernel preempts itself, or may do so for all that is known.
    Possible,
}

impl Preemption {
    /// Reads the mode of the running kernel.
    pub fn of_this_kernel() -> Self {
        let version = rustix::system::uname();
        Self::read(
            &version.version().to_string_lossy(),
            fs::read_to_string("/sys/kernel/debug/sched/preempt")
                .ok()
                .as_deref(),
            fs::read_to_string("/proc/cmdline").ok().as_deref(),
        )
    }

    /// Returns the mode. `version` is uname's version (names PREEMPT if it is built in), `sched`
    /// debugfs's list of modes with the current one in parentheses, `cmdline` the kernel's command
    /// line.
    fn read(version: &str, sched: Option<&str>, cmdline: Option<&str>) -> Self {
        if !version.contains("PREEMPT") {
            return Self::Off;
        }
        if !version.contains("PREEMPT_DYNAMIC") {
            return Self::Possible;
        }
        let mode = sched
            .and_then(|modes| modes.split_once('(')?.1.split_once(')'))
            .map(|(mode, _)| mode)
            .or_else(|| {
                let words = cmdline?.split_whitespace();
                words
                    .filter_map(|word| word.strip_prefix("preempt="))
                    .next_back()
            });
        match mode {
            Some("none" | "voluntary") => Self::Off,
            _ => Self::Possible,
        }
    }
}

/// The properties of the running kernel that decide which backends are exact.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RunningKernel {
    /// Whether kprobes may be used.
    pub kprobes: bool,
    pub preemption: Preemption,
    /// Whether the kernel is built so that it cannot preempt itself, whatever its command line
    /// says.
    pub never_preempts: bool,
    /// Whether tasks can be preempted inside of tracepoints: see [`tracepoints_preempt`].
    pub tracepoints_preempt: bool,
}

impl RunningKernel {
    pub fn of_this_machine(kprobes: bool, types: &KernelTypes) -> Self {
        Self {
            kprobes,
            preemption: Preemption::of_this_kernel(),
            never_preempts: !rustix::system::uname()
                .version()
                .to_string_lossy()
                .contains("PREEMPT"),
            tracepoints_preempt: tracepoints_preempt(types),
        }
    }
}

/// Whether this kernel runs tracepoints under SRCU-fast, where a task can be preempted in them, and
/// not with preemption off (a46023d5616e, v7.0).
///
/// The sign is the per-CPU data of their SRCU domain (`tracepoint_srcu`) on a kernel whose SRCU has
/// fast readers (`struct srcu_ctr`, v6.15). A domain alone is not the sign: up to 6.12 it guarded
/// tracepoints of idle CPUs. Fast readers alone are not either: 6.15 to 6.19 have no domain of
/// tracepoints. The two are in the BTF of every such kernel, while the lock guard
/// (`class_srcu_fast_notrace_t`) depends on the compiler, and a preemption count can only be read
/// by loading a program. A kernel that has the change without the sign shows missed events, which
/// the storm of the tests looks for, and on which `auto` moves to perf-attached tracepoints.
fn tracepoints_preempt(types: &KernelTypes) -> bool {
    types.has_variable(TRACEPOINT_DOMAIN) && types.has_struct(FAST_READERS)
}

/// Whether the kernel has the raw tracepoints of sockets, by the types of their arguments.
pub fn has_raw_sock_tracepoints(types: &KernelTypes) -> bool {
    RAW_SOCK_TRACEPOINTS
        .iter()
        .all(|name| types.has_typedef(name))
}

/// Whether the running kernel has IPv6, built in or as a loaded module. With `ipv6.disable=1` its
/// functions are present too.
pub fn has_ipv6() -> bool {
    let symbols = fs::read_to_string("/proc/kallsyms").unwrap_or_default();
    Path::new("/proc/net/if_inet6").exists() || has_symbol(&symbols, "inet6_sendmsg")
}

/// Whether a list in the form of /proc/kallsyms, with lines `address type name [module]`, has a
/// function.
fn has_symbol(symbols: &str, name: &str) -> bool {
    let mut lines = symbols.lines();
    lines.any(|line| line.split_whitespace().nth(2) == Some(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn preemption_is_off_only_when_the_kernel_says_so() {
        let debian_5_10 = "#1 SMP Debian 5.10.223-1 (2024-08-10)";
        let dynamic = "#1 SMP PREEMPT_DYNAMIC Debian 6.1.112-1 (2024-09-30)";
        assert_eq!(Preemption::read(debian_5_10, None, None), Preemption::Off);
        assert_eq!(Preemption::read(dynamic, None, None), Preemption::Possible);
        assert_eq!(
            Preemption::read(dynamic, Some("none (voluntary) full \n"), None),
            Preemption::Off
        );
        assert_eq!(
            Preemption::read(dynamic, Some("none voluntary (full)"), None),
            Preemption::Possible
        );
        assert_eq!(
            Preemption::read(dynamic, Some("full (lazy)"), None),
            Preemption::Possible
        );
        assert_eq!(
            Preemption::read(dynamic, None, Some("quiet preempt=none")),
            Preemption::Off
        );
        assert_eq!(
            Preemption::read("#1 SMP PREEMPT x", None, None),
            Preemption::Possible
        );
        assert_eq!(
            Preemption::read("#1 SMP PREEMPT_RT x", None, None),
            Preemption::Possible
        );
    }

    #[test]
    fn a_function_of_a_module_is_one_of_the_kernel() {
        let list =
            "0000000000000000 T inet6_sendmsg_old\n0000000000000000 t inet6_sendmsg\t[ipv6]\n";
        assert!(has_symbol(list, "inet6_sendmsg"));
        assert!(!has_symbol(list, "inet6_recvmsg"));
    }
}
