//! Backends, the hooks of each, and the order in which they are tried. Availability is determined
//! by loading and attaching, never from a version.

use super::hooks::{
    BYPASS_HOOKS, DATAGRAMS, Hook, KPROBES, PERF_FORK, RAW_FORK, RAW_TRACEPOINTS, THREADS,
    TRACEPOINT_CGROUP, TRACEPOINTS, TRAMPOLINES, ZEROCOPY,
};
use super::running_kernel::{Preemption, RunningKernel};
pub use crate::options::Backend;

impl Backend {
    /// Instructions per TCP call over IPv4 in `benches/hotpath.sh`: raw tracepoint and tracepoint
    /// on 6.12, fentry on 6.1, kprobe on 7.2. Only their order is used, which was equal on all
    /// kernels with two of them.
    const fn cost(self) -> u32 {
        match self {
            Self::RawTracepoint => 430,
            Self::Fentry => 488,
            Self::Tracepoint => 583,
            Self::Kprobe => 1188,
        }
    }

    /// Whether no event can be skipped because a task was preempted inside a program.
    pub fn is_exact_on(self, kernel: &RunningKernel) -> bool {
        let preempts = kernel.preemption == Preemption::Possible;
        match self {
            // The kernel marks a program as running per CPU, and skips it while the mark is set. A
            // task that is preempted inside a program therefore hides the events of all other tasks
            // on its CPU. Tracepoints run with preemption off up to Linux 6.19.
            Self::RawTracepoint => !(preempts && kernel.tracepoints_preempt),
            Self::Fentry => !preempts,
            Self::Tracepoint | Self::Kprobe => true,
        }
    }

    /// Whether its programs sum in rows of their CPU. They do if they run with preemption off, so
    /// that nothing else runs on the CPU between a load and its store. A preemptible kernel may
    /// change its mode while flowtop runs. Programs of fentry are compiled without rows.
    pub fn has_rows(self, kernel: &RunningKernel) -> bool {
        match self {
            Self::RawTracepoint => !kernel.tracepoints_preempt || kernel.never_preempts,
            Self::Tracepoint | Self::Kprobe => true,
            Self::Fentry => false,
        }
    }
}

/// Returns the hook that follows processes, in addition to those of every backend. In a PID
/// namespace other than the initial one only the raw tracepoint can translate a PID; a fork that it
/// skips is a missed event.
pub fn fork_hook(kernel: &RunningKernel, in_pid_namespace: bool) -> &'static Hook {
    match Backend::RawTracepoint.is_exact_on(kernel) || in_pid_namespace {
        true => &RAW_FORK,
        false => &PERF_FORK,
    }
}

/// A backend, and whether this attempt may use kprobes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AttachPlan {
    pub backend: Backend,
    /// Whether kprobes may be used.
    pub kprobes: bool,
}

impl AttachPlan {
    /// The hooks of this plan, in the order in which they are attached.
    pub fn hooks(self) -> impl Iterator<Item = &'static Hook> {
        let beside: [&[Hook]; 3] = match self.kprobes {
            true => [DATAGRAMS, ZEROCOPY, BYPASS_HOOKS],
            false => [TRACEPOINT_CGROUP, &[], &[]],
        };
        let [first, second, third] = beside;
        let tables: [&[Hook]; 4] = match (self.backend, self.kprobes) {
            (Backend::RawTracepoint, _) => [first, second, third, RAW_TRACEPOINTS],
            (Backend::Tracepoint, _) => [first, second, third, TRACEPOINTS],
            (Backend::Fentry, true) => [TRAMPOLINES, ZEROCOPY, &[], &[]],
            (Backend::Fentry, false) => [TRAMPOLINES, &[], &[], &[]],
            (Backend::Kprobe, _) => [ZEROCOPY, BYPASS_HOOKS, KPROBES, DATAGRAMS],
        };
        THREADS.iter().chain(tables.into_iter().flatten())
    }

    /// Whether its hooks see how many datagrams a call moves on UDP.
    pub const fn sees_datagrams(self) -> bool {
        !matches!(self.backend, Backend::RawTracepoint | Backend::Tracepoint) || self.kprobes
    }

    /// Whether TCP can be received by a path that no hook of this plan sees, so that the bytes come
    /// from the sockets' own counters.
    pub fn cannot_see_some_receives(self) -> bool {
        let paths = ["splice_read", "zerocopy_receive"];
        paths.iter().any(|path| self.unseen().contains(path))
    }

    /// Paths that no hook of this plan sees, even if all hooks attach.
    pub fn unseen(self) -> &'static [&'static str] {
        match (self.backend, self.kprobes) {
            (Backend::RawTracepoint | Backend::Tracepoint, false) => {
                &["splice_read", "zerocopy_receive", "udp_recv_peer"]
            }
            (Backend::Fentry, false) => &["zerocopy_receive"],
            _ => &[],
        }
    }
}

/// Returns the plans to try, best first, each with the reason for taking it. `auto` takes the
/// cheapest exact plan, with kprobes before without, and fentry only then if it can miss events.
pub fn plans(named: Option<Backend>, kernel: &RunningKernel) -> Vec<(AttachPlan, &'static str)> {
    if let Some(backend) = named {
        let plans = plans_of(backend, kernel.kprobes).into_iter();
        return plans.map(|plan| (plan, "selected by --backend")).collect();
    }
    let mut backends = Backend::ALL;
    backends.sort_by_key(|backend| (!backend.is_exact_on(kernel), backend.cost()));
    let tried = backends.into_iter().filter(|backend| match backend {
        Backend::RawTracepoint => backend.is_exact_on(kernel),
        Backend::Kprobe => kernel.kprobes,
        Backend::Tracepoint | Backend::Fentry => true,
    });
    let plans = tried.flat_map(|backend| plans_of(backend, kernel.kprobes));
    plans
        .map(|plan| (plan, reason_of_auto(plan, kernel)))
        .collect()
}

/// Returns the plans of one backend, the one that sees most first.
fn plans_of(backend: Backend, kprobes: bool) -> Vec<AttachPlan> {
    let plan = |kprobes| AttachPlan { backend, kprobes };
    match backend {
        Backend::RawTracepoint | Backend::Tracepoint if kprobes => vec![plan(true), plan(false)],
        Backend::RawTracepoint | Backend::Tracepoint => vec![plan(false)],
        Backend::Fentry => vec![plan(kprobes)],
        Backend::Kprobe => vec![plan(true)],
    }
}

/// Returns the reason for which `auto` takes a plan.
fn reason_of_auto(plan: AttachPlan, kernel: &RunningKernel) -> &'static str {
    match (plan.backend, plan.kprobes, kernel.kprobes) {
        (Backend::RawTracepoint, true, _) => {
            "the cheapest that is exact here; kprobes add the peers of UDP"
        }
        (Backend::RawTracepoint, false, true) => "the cheapest that is exact here; without kprobes",
        (Backend::RawTracepoint, false, false) => {
            "the cheapest that is exact here; no kprobes in this kernel"
        }
        (Backend::Tracepoint, true, _) => {
            "exact in every preemption mode; kprobes add the peers of UDP"
        }
        (Backend::Tracepoint, false, true) => "exact in every preemption mode; without kprobes",
        (Backend::Tracepoint, false, false) => {
            "exact in every preemption mode; no kprobes in this kernel"
        }
        (Backend::Fentry, ..) if Backend::Fentry.is_exact_on(kernel) => {
            "no sock tracepoints; the kernel does not preempt itself"
        }
        (Backend::Fentry, ..) => "nothing else works here; may miss events, which are shown",
        (Backend::Kprobe, ..) => {
            "no sock tracepoints; a kernel that preempts itself can skip fentry programs"
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernel::hooks::Attach::{Kprobe, Kretprobe};

    const KERNEL: RunningKernel = RunningKernel {
        kprobes: true,
        preemption: Preemption::Possible,
        never_preempts: false,
        tracepoints_preempt: false,
    };

    fn auto(kernel: RunningKernel) -> Vec<Backend> {
        let plans = plans(None, &kernel);
        let mut backends: Vec<_> = plans.into_iter().map(|(plan, _)| plan.backend).collect();
        backends.dedup();
        backends
    }

    #[test]
    fn auto_takes_the_cheapest_backend_that_cannot_miss_events() {
        use Backend::{Fentry, Kprobe, RawTracepoint, Tracepoint};
        let off = RunningKernel {
            preemption: Preemption::Off,
            ..KERNEL
        };
        assert_eq!(auto(off), [RawTracepoint, Fentry, Tracepoint, Kprobe]);
        assert_eq!(auto(KERNEL), [RawTracepoint, Tracepoint, Kprobe, Fentry]);
        let srcu = RunningKernel {
            tracepoints_preempt: true,
            ..KERNEL
        };
        assert_eq!(auto(srcu), [Tracepoint, Kprobe, Fentry]);
        let without_kprobes = RunningKernel {
            kprobes: false,
            ..srcu
        };
        assert_eq!(auto(without_kprobes), [Tracepoint, Fentry]);
    }

    #[test]
    fn a_tracepoint_backend_is_tried_with_kprobes_first() {
        for named in [None, Some(Backend::RawTracepoint)] {
            let plans = plans(named, &KERNEL);
            assert!(plans[0].0.kprobes && !plans[1].0.kprobes);
            assert_eq!(plans[0].0.backend, plans[1].0.backend);
        }
    }

    #[test]
    fn a_backend_asked_for_never_falls_back_to_another() {
        for backend in Backend::ALL {
            let srcu = RunningKernel {
                tracepoints_preempt: true,
                ..KERNEL
            };
            let plans = plans(Some(backend), &srcu);
            assert!(!plans.is_empty());
            assert!(plans.iter().all(|(plan, _)| plan.backend == backend));
        }
    }

    #[test]
    fn return_probes_come_before_their_entries() {
        let plan = AttachPlan {
            backend: Backend::Kprobe,
            kprobes: true,
        };
        let hooks: Vec<_> = plan.hooks().collect();
        for (i, hook) in hooks.iter().enumerate() {
            if let Kprobe(symbol) = hook.attach {
                assert!(
                    !hooks[i..]
                        .iter()
                        .any(|later| later.attach == Kretprobe(symbol)),
                    "{symbol}"
                );
            }
        }
    }
}
