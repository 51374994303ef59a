//! The hooks of all backends: the program of each, where it is attached, and what it means if it
//! cannot be attached.

use super::running_kernel::{FAST_READERS, RAW_SOCK_TRACEPOINTS, TRACEPOINT_DOMAIN};

/// How a program is attached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Attach {
    /// To `sock:<name>` by a perf event.
    Tracepoint(&'static str),
    /// To `sched:<name>` by a perf event.
    SchedTracepoint(&'static str),
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

/// The consequence if the kernel has no such hook.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnMissing {
    /// The backend does not work here.
    Fatal,
    /// Nothing is missed: a kernel without the hook has no such path.
    Fine,
    /// Nothing is missed if the kernel has no IPv6; if it has IPv6, the backend does not work here.
    FineWithoutIpv6,
    /// The path of this name in [`crate::model::interval::UNSEEN_NAMES`] is unseen.
    Unseen(&'static str),
}

/// A program and its hook.
#[derive(Clone, Copy, Debug)]
pub struct Hook {
    /// Name of the program in `bpf/flowtop.bpf.c`.
    pub program: &'static str,
    pub attach: Attach,
    /// The consequence if the hook cannot be attached.
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
const SEND_PEER: &str = "udp_send_peer";
const RECV_PEER: &str = "udp_recv_peer";
const NO_SEND_PEER: OnMissing = Unseen(SEND_PEER);
const NO_RECV_PEER: OnMissing = Unseen(RECV_PEER);
/// If AF_PACKET is a module, its functions are missing from the kernel's BTF, and from the kernel
/// until the module is loaded.
const NO_PACKET: OnMissing = Unseen("packet_sockets");

pub(super) const TRACEPOINTS: &[Hook] = &[
    hook("tp_send", Attach::Tracepoint("sock_send_length"), Fatal),
    hook("tp_recv", Attach::Tracepoint("sock_recv_length"), Fatal),
];

pub(super) const RAW_TRACEPOINTS: &[Hook] = &[
    hook("rt_send", Attach::RawTracepoint("sock_send_length"), Fatal),
    hook("rt_recv", Attach::RawTracepoint("sock_recv_length"), Fatal),
];

/// Peers and packet counts of datagrams, beside the tracepoints if kprobes exist, and for the
/// kprobe backend. Their bytes are counted without these hooks.
pub(super) const DATAGRAMS: &[Hook] = &[
    hook("kp_udp_rx", Kprobe("skb_consume_udp"), NO_RECV_PEER),
    hook("kp_udp_sendmsg", Kprobe("udp_sendmsg"), NO_SEND_PEER),
    hook("kp_udpv6_sendmsg", Kprobe("udpv6_sendmsg"), FineWithoutIpv6),
];

/// Hooks beside the tracepoints if kprobes do not exist.
pub(super) const TRACEPOINT_CGROUP: &[Hook] = &[
    hook("cg_sendmsg4", Cgroup, NO_SEND_PEER),
    hook("cg_sendmsg6", Cgroup, NO_SEND_PEER),
    hook("cg_recvmsg4", Cgroup, NO_RECV_PEER),
    hook("cg_recvmsg6", Cgroup, NO_RECV_PEER),
];

impl Hook {
    /// Whether the program counts bytes, so that a skipped run may be missed bytes.
    pub fn counts(&self) -> bool {
        THREADS
            .iter()
            .all(|threads| threads.program != self.program)
    }

    /// The path whose peers are unknown where the program's runs are skipped: the program counts no
    /// bytes, but knows where a datagram came from or goes to.
    pub fn peers(&self) -> Option<&'static str> {
        match self.program {
            "fe_udp_rx" | "kp_udp_rx" | "cg_recvmsg4" | "cg_recvmsg6" => Some(RECV_PEER),
            "fe_udp_send" | "fe_udp_send6" | "kp_udp_sendmsg" | "kp_udpv6_sendmsg"
            | "cg_sendmsg4" | "cg_sendmsg6" => Some(SEND_PEER),
            _ => None,
        }
    }
}

/// Beside every backend: removes the state of a thread when the thread ends.
pub(super) const THREADS: &[Hook] = &[hook(
    "end_thread",
    Attach::RawTracepoint("sched_process_exit"),
    Fine,
)];

/// For filters that name descendants: sees every new process, by a raw tracepoint.
pub(super) const RAW_FORK: Hook = hook(
    "rt_fork",
    Attach::RawTracepoint("sched_process_fork"),
    Fatal,
);
/// For filters that name descendants: sees every new process, by a perf event.
pub(super) const PERF_FORK: Hook = hook(
    "tp_fork",
    Attach::SchedTracepoint("sched_process_fork"),
    Fatal,
);

/// Beside every backend if kprobes exist. Return probes come before their entry probes: no call may
/// be opened that nothing closes.
pub(super) const ZEROCOPY: &[Hook] = &[
    hook(
        "kr_zerocopy",
        Kretprobe("tcp_zerocopy_receive"),
        NO_ZEROCOPY,
    ),
    hook("kp_zerocopy", Kprobe("tcp_zerocopy_receive"), NO_ZEROCOPY),
];

/// Paths that neither reach the tracepoints nor `inet_sendmsg()` and `inet_recvmsg()`.
pub(super) const BYPASS_HOOKS: &[Hook] = &[
    hook("kr_splice", Kretprobe("skb_splice_bits"), NO_SPLICE),
    hook("kp_splice", Kprobe("skb_splice_bits"), NO_SPLICE),
    // Removed in v6.5, together with the path.
    hook("kr_sendpage", Kretprobe("inet_sendpage"), Fine),
    hook("kp_sendpage", Kprobe("inet_sendpage"), Fine),
    hook("kr_udp_sendpage", Kretprobe("udp_sendpage"), Fine),
    hook("kp_udp_sendpage", Kprobe("udp_sendpage"), Fine),
];

/// The IPv6 twins are absent if the kernel has no IPv6.
pub(super) const KPROBES: &[Hook] = &[
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
pub(super) const TRAMPOLINES: &[Hook] = &[
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

/// Functions that move bytes past the hooks of every backend, with the names of these paths.
pub const UNHOOKED: &[(&str, &str)] = &[("io_zcrx_recv_skb", "uring_zcrx")];

/// The properties of the kernel that decide about plans and their hooks.
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
