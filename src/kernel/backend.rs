//! Which hooks make a backend, and in which order backends are tried. Only tables and rules: what
//! exists is found out by loading and attaching, never from a version.

use std::fs;
use std::path::Path;

use super::kernel_types::KernelTypes;
use crate::options::BackendChoice;

/// One way to see socket calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Backend {
    /// Raw tracepoints `sock_send_length` and `sock_recv_length`.
    ///
    /// Each program has a mark per CPU that it runs there, and is skipped while that is set. A task that is
    /// preempted inside the program therefore hides the events of all others on its CPU. Tracepoints run with
    /// preemption off up to Linux 6.19; [`RunningKernel::tracepoints_preempt`] tells where they do not.
    RawTracepoint,
    /// Perf-attached tracepoints `sock:sock_send_length` and `sock:sock_recv_length`.
    Tracepoint,
    /// Trampolines on the socket functions.
    Fentry,
    /// Entry and return probes on the socket functions.
    Kprobe,
}

impl Backend {
    /// The name used on the command line and in every output.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::RawTracepoint => "raw_tracepoint",
            Self::Tracepoint => "tracepoint",
            Self::Fentry => "fentry",
            Self::Kprobe => "kprobe",
        }
    }

    /// Instructions of a TCP call over IPv4 in `benches/hotpath.sh`: raw tracepoint and tracepoint on 6.12,
    /// fentry on 6.1, kprobe on 7.2. Only their order counts, which was the same wherever two were measured.
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
            Self::RawTracepoint => !(preempts && kernel.tracepoints_preempt),
            Self::Fentry => !preempts,
            Self::Tracepoint | Self::Kprobe => true,
        }
    }
}

/// How a program is attached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Attach {
    /// To `sock:<name>` by a perf event.
    Tracepoint(&'static str),
    /// To a tracepoint of this name, directly.
    RawTracepoint(&'static str),
    /// To a function by a trampoline; the object names the function too.
    Trampoline(&'static str),
    /// To a function's entry, by an event made in tracefs.
    Kprobe(&'static str),
    /// To a function's return, by an event made in tracefs.
    Kretprobe(&'static str),
    /// To the root cgroup.
    Cgroup,
}

/// What it means when a hook cannot be attached because the kernel has no such thing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnMissing {
    /// The backend does not work here.
    Fatal,
    /// Then nothing can come that way.
    Fine,
    /// Then nothing can come that way if the kernel has no IPv6; if it has, the backend does not work here.
    FineWithoutIpv6,
    /// Then this path is unseen, by its name in [`crate::model::interval::UNSEEN_NAMES`].
    Unseen(&'static str),
}

/// One program and where it goes.
#[derive(Clone, Copy, Debug)]
pub struct Hook {
    /// Name of the program in `bpf/flowtop.bpf.c`.
    pub program: &'static str,
    pub attach: Attach,
    /// What it means if it cannot.
    pub absent: OnMissing,
}

const fn hook(program: &'static str, attach: Attach, absent: OnMissing) -> Hook {
    Hook {
        program,
        attach,
        absent,
    }
}

use Attach::{Cgroup, Kprobe, Kretprobe, Trampoline};
use OnMissing::{Fatal, Fine, FineWithoutIpv6, Unseen};

const NO_SPLICE: OnMissing = Unseen("splice_read");
const NO_ZEROCOPY: OnMissing = Unseen("zerocopy_receive");
const NO_SEND_PEER: OnMissing = Unseen("udp_send_peer");
const NO_RECV_PEER: OnMissing = Unseen("udp_recv_peer");
/// Where AF_PACKET is a module, its functions are not in the kernel's BTF, nor there before it is loaded.
const NO_PACKET: OnMissing = Unseen("packet_sockets");

const TRACEPOINTS: &[Hook] = &[
    hook("tp_send", Attach::Tracepoint("sock_send_length"), Fatal),
    hook("tp_recv", Attach::Tracepoint("sock_recv_length"), Fatal),
];

const RAW_TRACEPOINTS: &[Hook] = &[
    hook("rt_send", Attach::RawTracepoint("sock_send_length"), Fatal),
    hook("rt_recv", Attach::RawTracepoint("sock_recv_length"), Fatal),
];

/// Datagrams, beside the tracepoints where kprobes exist, and for the kprobe backend: their peers, and
/// how many packets they are. The bytes are counted without.
const DATAGRAMS: &[Hook] = &[
    hook("kp_udp_rx", Kprobe("skb_consume_udp"), NO_RECV_PEER),
    hook("kp_udp_sendmsg", Kprobe("udp_sendmsg"), NO_SEND_PEER),
    hook("kp_udpv6_sendmsg", Kprobe("udpv6_sendmsg"), FineWithoutIpv6),
];

/// Beside the tracepoints where kprobes do not exist.
const TRACEPOINT_CGROUP: &[Hook] = &[
    hook("cg_sendmsg4", Cgroup, NO_SEND_PEER),
    hook("cg_sendmsg6", Cgroup, NO_SEND_PEER),
    hook("cg_recvmsg4", Cgroup, NO_RECV_PEER),
    hook("cg_recvmsg6", Cgroup, NO_RECV_PEER),
];

impl Hook {
    /// Whether it counts, so that a run that was skipped may be bytes that were missed.
    pub fn counts(&self) -> bool {
        THREADS
            .iter()
            .all(|threads| threads.program != self.program)
    }
}

/// Beside every backend: what is kept of a thread goes with it.
const THREADS: &[Hook] = &[hook(
    "end_thread",
    Attach::RawTracepoint("sched_process_exit"),
    Fine,
)];

/// Beside every backend where kprobes exist. Return probes before their entries: a call must not
/// be opened that nothing closes.
const ZEROCOPY: &[Hook] = &[
    hook(
        "kr_zerocopy",
        Kretprobe("tcp_zerocopy_receive"),
        NO_ZEROCOPY,
    ),
    hook("kp_zerocopy", Kprobe("tcp_zerocopy_receive"), NO_ZEROCOPY),
];

/// What passes neither the tracepoints nor `inet_sendmsg()` and `inet_recvmsg()`.
const BYPASSES: &[Hook] = &[
    hook("kr_splice", Kretprobe("skb_splice_bits"), NO_SPLICE),
    hook("kp_splice", Kprobe("skb_splice_bits"), NO_SPLICE),
    // Gone since v6.5, and with them the path.
    hook("kr_sendpage", Kretprobe("inet_sendpage"), Fine),
    hook("kp_sendpage", Kprobe("inet_sendpage"), Fine),
    hook("kr_udp_sendpage", Kretprobe("udp_sendpage"), Fine),
    hook("kp_udp_sendpage", Kprobe("udp_sendpage"), Fine),
];

/// The IPv6 twins are absent where the kernel has no IPv6.
const KPROBES: &[Hook] = &[
    hook("kr_send", Kretprobe("inet_sendmsg"), Fatal),
    hook("kr_send", Kretprobe("inet6_sendmsg"), FineWithoutIpv6),
    hook("kr_recv", Kretprobe("inet_recvmsg"), Fatal),
    hook("kr_recv", Kretprobe("inet6_recvmsg"), FineWithoutIpv6),
    hook("kr_recv", Kretprobe("sock_common_recvmsg"), Fatal),
    hook("kr_send", Kretprobe("packet_sendmsg"), NO_PACKET),
    hook("kr_send", Kretprobe("packet_sendmsg_spkt"), NO_PACKET),
    hook("kr_recv", Kretprobe("packet_recvmsg"), NO_PACKET),
    hook("kp_send", Kprobe("inet_sendmsg"), Fatal),
    hook("kp_send", Kprobe("inet6_sendmsg"), FineWithoutIpv6),
    hook("kp_recv", Kprobe("inet_recvmsg"), Fatal),
    hook("kp_recv", Kprobe("inet6_recvmsg"), FineWithoutIpv6),
    hook("kp_recv", Kprobe("sock_common_recvmsg"), Fatal),
    hook("kp_send", Kprobe("packet_sendmsg"), NO_PACKET),
    hook("kp_send", Kprobe("packet_sendmsg_spkt"), NO_PACKET),
    hook("kp_recv", Kprobe("packet_recvmsg"), NO_PACKET),
];

/// Programs that open a call come after those that close it.
const TRAMPOLINES: &[Hook] = &[
    hook("fx_send", Trampoline("inet_sendmsg"), Fatal),
    hook("fx_send6", Trampoline("inet6_sendmsg"), FineWithoutIpv6),
    hook("fx_recv", Trampoline("inet_recvmsg"), Fatal),
    hook("fx_recv6", Trampoline("inet6_recvmsg"), FineWithoutIpv6),
    hook("fx_recv_common", Trampoline("sock_common_recvmsg"), Fatal),
    hook("fx_packet_send", Trampoline("packet_sendmsg"), NO_PACKET),
    hook(
        "fx_packet_send_spkt",
        Trampoline("packet_sendmsg_spkt"),
        NO_PACKET,
    ),
    hook("fx_packet_recv", Trampoline("packet_recvmsg"), NO_PACKET),
    hook("fx_udp_send6", Trampoline("udpv6_sendmsg"), FineWithoutIpv6),
    hook("fx_udp_send", Trampoline("udp_sendmsg"), Fatal),
    hook("fe_udp_send6", Trampoline("udpv6_sendmsg"), FineWithoutIpv6),
    hook("fe_udp_send", Trampoline("udp_sendmsg"), Fatal),
    hook("fe_udp_rx", Trampoline("skb_consume_udp"), Fatal),
    hook("fx_splice", Trampoline("skb_splice_bits"), NO_SPLICE),
    hook("fx_sendpage", Trampoline("inet_sendpage"), Fine),
    hook("fx_udp_sendpage", Trampoline("udp_sendpage"), Fine),
    hook("fx_append", Trampoline("ip_append_page"), Fine),
];

/// Functions that move bytes past all hooks, whatever the backend, and the names of these paths.
pub const UNHOOKED: &[(&str, &str)] = &[("io_zcrx_recv_skb", "uring_zcrx")];

const TRACEPOINT_DOMAIN: &str = "tracepoint_srcu_srcu_data";
const FAST_READERS: &str = "srcu_ctr";
const RAW_SOCK_TRACEPOINTS: [&str; 2] =
    ["btf_trace_sock_send_length", "btf_trace_sock_recv_length"];

/// What of the kernel decides about plans and their hooks.
pub fn kernel_names() -> impl Iterator<Item = &'static str> {
    let trampolines = TRAMPOLINES.iter().filter_map(|hook| match hook.attach {
        Attach::Trampoline(function) => Some(function),
        _ => None,
    });
    let unhooked = UNHOOKED.iter().map(|(function, _)| *function);
    let signs = RAW_SOCK_TRACEPOINTS
        .into_iter()
        .chain([TRACEPOINT_DOMAIN, FAST_READERS]);
    trampolines.chain(unhooked).chain(signs)
}

/// Whether the running kernel has IPv6, built in or as a module that is loaded. Switched off by
/// `ipv6.disable=1` its functions are there.
pub fn has_ipv6() -> bool {
    let symbols = fs::read_to_string("/proc/kallsyms").unwrap_or_default();
    Path::new("/proc/net/if_inet6").exists() || has_symbol(&symbols, "inet6_sendmsg")
}

/// Whether a list as /proc/kallsyms, of which a line is `address type name [module]`, has a function.
fn has_symbol(symbols: &str, name: &str) -> bool {
    let mut lines = symbols.lines();
    lines.any(|line| line.split_whitespace().nth(2) == Some(name))
}

/// A backend with what this attempt at it may use.
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
            true => [DATAGRAMS, ZEROCOPY, BYPASSES],
            false => [TRACEPOINT_CGROUP, &[], &[]],
        };
        let [first, second, third] = beside;
        let tables: [&[Hook]; 4] = match (self.backend, self.kprobes) {
            (Backend::RawTracepoint, _) => [first, second, third, RAW_TRACEPOINTS],
            (Backend::Tracepoint, _) => [first, second, third, TRACEPOINTS],
            (Backend::Fentry, true) => [TRAMPOLINES, ZEROCOPY, &[], &[]],
            (Backend::Fentry, false) => [TRAMPOLINES, &[], &[], &[]],
            (Backend::Kprobe, _) => [ZEROCOPY, BYPASSES, KPROBES, DATAGRAMS],
        };
        THREADS.iter().chain(tables.into_iter().flatten())
    }

    /// Whether its hooks see how many datagrams a call moves on UDP.
    pub const fn sees_datagrams(self) -> bool {
        !matches!(self.backend, Backend::RawTracepoint | Backend::Tracepoint) || self.kprobes
    }

    /// Whether TCP is received in ways that no hook of this plan can see, so that the bytes come from the
    /// sockets' own counters.
    pub fn cannot_see_some_receives(self) -> bool {
        let paths = ["splice_read", "zerocopy_receive"];
        paths.iter().any(|path| self.unseen().contains(path))
    }

    /// Paths that no hook of this plan can see, whatever attaches.
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

/// Whether a task can be preempted inside a BPF trampoline, and so make it skip other tasks'
/// events.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Preemption {
    /// The kernel is built or configured not to preempt itself.
    Off,
    /// It does preempt itself, or nobody says that it does not.
    Possible,
}

impl Preemption {
    /// Asks the running kernel.
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

    /// `version` is uname's (names PREEMPT when built in), `sched` debugfs's list of modes with the
    /// current one in parentheses, `cmdline` the kernel's own.
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

impl Backend {
    /// Whether its programs run with preemption off, so that nothing runs on their CPU between a load and its
    /// store. The mode of a kernel that can preempt itself may change while flowtop runs.
    pub fn has_cpu_to_itself(self, kernel: &RunningKernel) -> bool {
        match self {
            Self::RawTracepoint => !kernel.tracepoints_preempt || kernel.never_preempts,
            Self::Tracepoint | Self::Kprobe => true,
            Self::Fentry => kernel.never_preempts,
        }
    }
}

/// What of the running kernel decides which backends are exact.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RunningKernel {
    /// Whether kprobes may be used.
    pub kprobes: bool,
    pub preemption: Preemption,
    /// Whether it is built so that it cannot preempt itself, whatever it is told.
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

/// Whether this kernel runs tracepoints under SRCU-fast, where a task can be preempted in them, and not with
/// preemption off (a46023d5616e, v7.0).
///
/// The sign is the per-CPU data of their SRCU domain (`tracepoint_srcu`) on a kernel whose SRCU has fast readers
/// (`struct srcu_ctr`, v6.15). A domain alone is not the sign: up to 6.12 it guarded tracepoints of idle CPUs.
/// Fast readers alone are not either: 6.15 to 6.19 have no domain of tracepoints. The two are in the BTF of every
/// such kernel, while the lock guard (`class_srcu_fast_notrace_t`) depends on the compiler, and a preemption count
/// can only be read by loading a program. A kernel that has the change without the sign shows missed events, which
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

/// The plans to try, best first, each with the reason why it would be taken. `auto` takes the cheapest of those
/// that are exact, with kprobes before without, and only then fentry where it can miss events.
pub fn plans(choice: BackendChoice, kernel: &RunningKernel) -> Vec<(AttachPlan, &'static str)> {
    let named = match choice {
        BackendChoice::RawTracepoint => Some(Backend::RawTracepoint),
        BackendChoice::Tracepoint => Some(Backend::Tracepoint),
        BackendChoice::Fentry => Some(Backend::Fentry),
        BackendChoice::Kprobe => Some(Backend::Kprobe),
        BackendChoice::Auto => None,
    };
    if let Some(backend) = named {
        let plans = plans_of(backend, kernel.kprobes).into_iter();
        return plans.map(|plan| (plan, "asked for by --backend")).collect();
    }
    let mut backends = [
        Backend::RawTracepoint,
        Backend::Tracepoint,
        Backend::Fentry,
        Backend::Kprobe,
    ];
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

/// The plans of one backend, the one that sees most first.
fn plans_of(backend: Backend, kprobes: bool) -> Vec<AttachPlan> {
    let plan = |kprobes| AttachPlan { backend, kprobes };
    match backend {
        Backend::RawTracepoint | Backend::Tracepoint if kprobes => vec![plan(true), plan(false)],
        Backend::RawTracepoint | Backend::Tracepoint => vec![plan(false)],
        Backend::Fentry => vec![plan(kprobes)],
        Backend::Kprobe => vec![plan(true)],
    }
}

/// Why `auto` would take a plan.
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

    const KERNEL: RunningKernel = RunningKernel {
        kprobes: true,
        preemption: Preemption::Possible,
        never_preempts: false,
        tracepoints_preempt: false,
    };

    fn auto(kernel: RunningKernel) -> Vec<Backend> {
        let plans = plans(BackendChoice::Auto, &kernel);
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
        for choice in [BackendChoice::Auto, BackendChoice::RawTracepoint] {
            let plans = plans(choice, &KERNEL);
            assert!(plans[0].0.kprobes && !plans[1].0.kprobes);
            assert_eq!(plans[0].0.backend, plans[1].0.backend);
        }
    }

    #[test]
    fn a_backend_asked_for_never_falls_back_to_another() {
        for (choice, backend) in [
            (BackendChoice::RawTracepoint, Backend::RawTracepoint),
            (BackendChoice::Tracepoint, Backend::Tracepoint),
            (BackendChoice::Fentry, Backend::Fentry),
            (BackendChoice::Kprobe, Backend::Kprobe),
        ] {
            let srcu = RunningKernel {
                tracepoints_preempt: true,
                ..KERNEL
            };
            let plans = plans(choice, &srcu);
            assert!(!plans.is_empty());
            assert!(plans.iter().all(|(plan, _)| plan.backend == backend));
        }
    }

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
