//! Plain data that every layer shares: a flow, and the counters of a flow. No parsing, no
//! formatting, no dependency on BPF or output.
//!
//! Turns nothing into anything; knows neither BPF nor presentation.

mod tcp;

use super::container::ContainerLabels;
use super::dns::DnsName;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::Duration;

pub use self::tcp::{SendLimit, SendTime, Tcp};
use super::peer_class::PeerClass;
use super::peer_zone::PeerZone;
use super::wire_estimate::Cost;

/// Protocol of a socket, in the order of `enum flowtop_protocol` in `bpf/flowtop.h`. MPTCP and kTLS
/// sockets count as TCP: the bytes are what the application read and wrote.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Protocol {
    /// TCP, RFC 9293 (and MPTCP, RFC 8684).
    Tcp,
    Udp,
    /// ICMP, RFC 792, by a raw socket or a ping socket. A raw socket receives the IP header too.
    Icmp,
    /// ICMPv6, RFC 4443, by a raw socket or a ping socket.
    Icmp6,
    /// An IP protocol without a word of its own, by a raw socket. IPv4 receives the IP header too.
    Raw,
    Sctp,
    UdpLite,
    Dccp,
    /// Frames of an AF_PACKET socket, with the link's header where the socket is `SOCK_RAW`.
    Packet,
}

impl Protocol {
    /// All protocols, in the order of their numbers in `bpf/flowtop.h`.
    pub const ALL: [Self; 9] = [
        Self::Tcp,
        Self::Udp,
        Self::Icmp,
        Self::Icmp6,
        Self::Raw,
        Self::Sctp,
        Self::UdpLite,
        Self::Dccp,
        Self::Packet,
    ];

    /// Lower-case name as used in every output, filter and recording.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Tcp => "tcp",
            Self::Udp => "udp",
            Self::Icmp => "icmp",
            Self::Icmp6 => "icmp6",
            Self::Raw => "raw",
            Self::Sctp => "sctp",
            Self::UdpLite => "udplite",
            Self::Dccp => "dccp",
            Self::Packet => "packet",
        }
    }

    /// Returns the protocol of this name.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|it| it.as_str() == name)
    }

    /// Whether the number of an end is a port, or an identifier that is used like one (ICMP). Of a
    /// raw socket it is the number of the IP protocol, of a packet socket the EtherType.
    pub const fn has_ports(self) -> bool {
        !matches!(self, Self::Raw | Self::Packet)
    }
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// Which way bytes move, as the process that owns the socket sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Direction {
    /// Ingress: bytes the process received through the socket.
    Rx,
    /// Egress: bytes the process sent through the socket.
    Tx,
}

/// The interface that an end of a flow belongs to: the one that the socket is bound to
/// (SO_BINDTODEVICE, a VRF, a packet socket), or the link of a link-local peer (RFC 4007).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Zone {
    /// Number of the interface; 0: none.
    pub ifindex: u32,
    /// Inode number of the network namespace that has the interface; 0 if unknown.
    pub netns: u32,
}

/// One end of a flow as the socket sees it. An IPv4-mapped IPv6 address is held as IPv4.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Endpoint {
    /// Address; unspecified if a socket is bound to any address, or if the peer is unknown.
    pub addr: IpAddr,
    /// Port in host byte order; 0 if unknown. For the meaning in protocols without ports see
    /// [`Protocol::has_ports`].
    pub port: u16,
    /// The interface. Only a peer whose address is ambiguous without an interface has one.
    pub zone: Zone,
}

impl Endpoint {
    /// Returns an endpoint; an IPv4-mapped IPv6 address becomes IPv4.
    pub const fn new(addr: IpAddr, port: u16) -> Self {
        Self {
            addr: addr.to_canonical(),
            port,
            zone: Zone {
                ifindex: 0,
                netns: 0,
            },
        }
    }

    /// Returns the local end of a socket that is bound to an interface.
    #[must_use]
    pub const fn bound_to(self, zone: Zone) -> Self {
        match zone.ifindex {
            0 => self,
            _ => Self { zone, ..self },
        }
    }

    /// Returns the peer of a socket that is bound to an interface, or of one whose peer is on that
    /// link.
    #[must_use]
    pub fn on_link(self, zone: Zone) -> Self {
        let is_link_local = match self.addr {
            IpAddr::V4(addr) => addr.is_link_local(),
            IpAddr::V6(addr) => addr.is_unicast_link_local(),
        };
        if is_link_local {
            self.bound_to(zone)
        } else {
            self
        }
    }

    /// Whether this end is unknown: that of an unconnected UDP socket whose caller did not request
    /// the sender, on a kernel that offers no other way to see it. Shown as `*`.
    pub fn is_unknown(&self) -> bool {
        self.port == 0 && self.addr.is_unspecified()
    }
}

impl Default for Endpoint {
    fn default() -> Self {
        Self::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), 0)
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bound = self.zone.ifindex != 0;
        let any = self.is_unknown() || bound && self.addr.is_unspecified();
        let mut host = match any {
            true => "*".to_owned(),
            false => self.addr.to_string(),
        };
        if bound {
            host = format!("{host}%{}", self.zone.ifindex);
        }
        match (self.port, self.addr) {
            (0, _) => f.pad(&host),
            (port, IpAddr::V6(_)) if !any => f.pad(&format!("[{host}]:{port}")),
            (port, _) => f.pad(&format!("{host}:{port}")),
        }
    }
}

/// Identity of a flow. The order of the fields is the order of equals in a ranking.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct FlowKey {
    pub protocol: Protocol,
    /// The socket's own end.
    pub local: Endpoint,
    pub remote: Endpoint,
    /// Thread group id, what user space calls the pid, in the initial pid namespace.
    pub tgid: u32,
    /// Thread id, in the initial pid namespace, where threads are counted apart; else 0.
    pub tid: u32,
    /// Inode number of the socket's network namespace (`/proc/PID/ns/net`); 0 where unknown.
    pub netns: u32,
    /// Whether this is an overflow row and not a single flow: the sum of a process's flows of one
    /// protocol and family that found no slot in the flow table. Neither ends nor namespace are
    /// known.
    pub overflow: bool,
}

impl FlowKey {
    /// Returns the key of a process's flow, threads together, in an unknown network namespace.
    pub const fn new(protocol: Protocol, local: Endpoint, remote: Endpoint, tgid: u32) -> Self {
        Self {
            protocol,
            local,
            remote,
            tgid,
            tid: 0,
            netns: 0,
            overflow: false,
        }
    }

    /// Returns the ports of the local and the remote end in host byte order; 0 if unknown, and if
    /// the protocol has none.
    pub const fn ports(&self) -> (u16, u16) {
        if self.protocol.has_ports() {
            (self.local.port, self.remote.port)
        } else {
            (0, 0)
        }
    }

    /// Whether an end is a loopback address, which no packet that leaves the machine has.
    pub fn has_loopback_end(&self) -> bool {
        let is_loopback = |end: &Endpoint| end.addr.to_canonical().is_loopback();
        !self.receives_copies() && (is_loopback(&self.local) || is_loopback(&self.remote))
    }

    /// Whether the socket receives copies of other sockets' traffic: a packet socket, or a raw
    /// socket of a protocol that has sockets of its own (TCP, UDP, DCCP, SCTP, UDP-Lite).
    pub const fn receives_copies(&self) -> bool {
        match self.protocol {
            Protocol::Packet => true,
            Protocol::Raw => matches!(self.local.port, 6 | 17 | 33 | 132 | 136),
            _ => false,
        }
    }
}

/// Bytes and messages moved. Bytes are payload at the socket: what the system calls returned.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    pub rx_bytes: u64,
    pub tx_bytes: u64,
    /// Calls that received at least one byte.
    pub rx_msgs: u64,
    /// Calls that sent at least one byte.
    pub tx_msgs: u64,
}

impl Counters {
    /// Returns the bytes in this direction.
    pub const fn bytes(&self, direction: Direction) -> u64 {
        match direction {
            Direction::Rx => self.rx_bytes,
            Direction::Tx => self.tx_bytes,
        }
    }

    /// Returns the messages in this direction.
    pub const fn msgs(&self, direction: Direction) -> u64 {
        match direction {
            Direction::Rx => self.rx_msgs,
            Direction::Tx => self.tx_msgs,
        }
    }

    pub const fn is_zero(&self) -> bool {
        self.rx_bytes | self.tx_bytes | self.rx_msgs | self.tx_msgs == 0
    }

    /// Returns the increase since an earlier reading of the same cumulative counters.
    #[must_use]
    pub const fn since(&self, earlier: &Self) -> Self {
        Self {
            rx_bytes: self.rx_bytes.wrapping_sub(earlier.rx_bytes),
            tx_bytes: self.tx_bytes.wrapping_sub(earlier.tx_bytes),
            rx_msgs: self.rx_msgs.wrapping_sub(earlier.rx_msgs),
            tx_msgs: self.tx_msgs.wrapping_sub(earlier.tx_msgs),
        }
    }
}

impl std::ops::AddAssign for Counters {
    fn add_assign(&mut self, other: Self) {
        self.rx_bytes += other.rx_bytes;
        self.tx_bytes += other.tx_bytes;
        self.rx_msgs += other.rx_msgs;
        self.tx_msgs += other.tx_msgs;
    }
}

impl std::iter::Sum for Counters {
    fn sum<I: Iterator<Item = Self>>(iter: I) -> Self {
        iter.fold(Self::default(), |mut sum, counters| {
            sum += counters;
            sum
        })
    }
}

/// Name of a process (its group leader's `comm`) as the kernel keeps it: at most 15 bytes, any
/// bytes but NUL, chosen by the process itself, so never printed without sanitizing.
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Comm([u8; 16]);

impl Comm {
    /// Takes the bytes up to the first NUL.
    pub fn new(bytes: &[u8]) -> Self {
        let mut comm = [0; 16];
        let len = bytes.iter().position(|&b| b == 0).unwrap_or(bytes.len());
        let len = len.min(comm.len() - 1);
        comm[..len].copy_from_slice(&bytes[..len]);
        Self(comm)
    }

    /// Returns the raw bytes without the padding.
    pub fn as_bytes(&self) -> &[u8] {
        let len = self.0.iter().position(|&b| b == 0).unwrap_or(self.0.len());
        &self.0[..len]
    }

    /// Whether the name is unknown.
    pub const fn is_empty(&self) -> bool {
        self.0[0] == 0
    }

    /// Returns the name with invalid UTF-8 replaced. It may contain control characters.
    pub fn to_string_lossy(&self) -> std::borrow::Cow<'_, str> {
        String::from_utf8_lossy(self.as_bytes())
    }
}

impl fmt::Debug for Comm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.to_string_lossy())
    }
}

/// The process that moves bytes, or its thread if threads are counted apart. The kernel side
/// records it in the context of the first call of an interval, so it is neither guessed nor too
/// late. Fields that the kernel side had no room for are `None` or empty.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Owner {
    /// Name of the process: its group leader's, whatever its threads call themselves.
    pub comm: Comm,
    /// Name of the thread if threads are counted apart; else empty.
    pub thread: Comm,
    /// Real user id, in the initial user namespace.
    pub uid: Option<u32>,
    /// Start of the process since boot (`task_struct.start_boottime`, CLOCK_BOOTTIME): identifies a
    /// process together with the PID.
    pub start: Option<Duration>,
    /// Path of its cgroup below the root of the hierarchy, as `/proc/PID/cgroup` has it: that of
    /// cgroup v2, or of the pids controller where that is a hierarchy of its own and the process is
    /// not in its root.
    pub cgroup: Option<Arc<str>>,
    /// Names of the process's container, as far as files have them.
    pub labels: Option<Arc<ContainerLabels>>,
    /// Whether it is a thread of the kernel (PF_KTHREAD), without a process.
    pub kernel: bool,
    /// Processes of the filter's `tree` that it is, or descends from; in the pid namespace of
    /// flowtop.
    pub trees: Vec<u32>,
}

impl Owner {
    /// Returns a process of which only the name is known.
    pub fn named(comm: &[u8]) -> Self {
        Self {
            comm: Comm::new(comm),
            ..Self::default()
        }
    }

    /// Returns the name as `ps` shows it: that of a kernel thread in brackets. Not sanitized.
    pub fn name(&self) -> String {
        let comm = self.comm.to_string_lossy();
        if self.kernel {
            format!("[{comm}]")
        } else {
            comm.into_owned()
        }
    }
}

/// Packets moved, as segments: what GSO and GRO carry in one piece counts as its parts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Packets {
    /// Received packets. For TCP every segment, also those without payload (`tcp_sock.segs_in`).
    pub rx: u64,
    /// Sent packets. For TCP every segment, also retransmitted ones and those without payload
    /// (`tcp_sock.segs_out`).
    pub tx: u64,
}

/// A flow, with what it moved in one interval.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Flow {
    pub key: FlowKey,
    pub counters: Counters,
    /// Process whose calls moved the bytes; shared by all its flows of the interval.
    pub owner: Arc<Owner>,
    /// Packets moved, if they can be known.
    pub packets: Option<Packets>,
    /// State of the connection; `None` for UDP, MPTCP, and sockets that are gone.
    pub tcp: Option<Tcp>,
    /// Received bytes that no probe saw: the difference between the counted bytes and the kernel's
    /// own counters. Their calls are not counted.
    pub audited_rx: u64,
    /// Whether both ends are known to be on this machine.
    pub internal: bool,
    /// Class of the peer; `None` if the peer is unknown.
    pub class: Option<PeerClass>,
    /// The user's zone of the peer; `None` where the peer is in none, or not known.
    pub zone: Option<Arc<PeerZone>>,
    /// Name that the peer was resolved from before the flow began; `None` where no answer was seen.
    pub dns_name: Option<Arc<DnsName>>,
}

impl Flow {
    /// Returns a flow of which only bytes and messages are known.
    pub fn new(key: FlowKey, counters: Counters, owner: Arc<Owner>) -> Self {
        Self {
            key,
            counters,
            owner,
            packets: None,
            tcp: None,
            audited_rx: 0,
            internal: key.has_loopback_end(),
            class: PeerClass::of(&key.remote),
            zone: None,
            dns_name: None,
        }
    }

    /// Estimated cost of what it moved; `None` where its zone has no price.
    pub fn cost(&self) -> Option<Cost> {
        Cost::of(self.into(), self.zone.as_deref())
    }

    /// Adds a later interval of the same flow: sums add up, states are those of the later one. A
    /// sum with an unknown part is unknown.
    pub fn merge(&mut self, later: Self) {
        self.counters += later.counters;
        self.internal |= later.internal;
        self.class = later.class;
        self.zone = later.zone;
        self.dns_name = later.dns_name.or(self.dns_name.take());
        self.audited_rx = self.audited_rx.saturating_add(later.audited_rx);
        self.owner = later.owner;
        self.packets = match (self.packets, later.packets) {
            (Some(mine), Some(theirs)) => Some(Packets {
                rx: mine.rx + theirs.rx,
                tx: mine.tx + theirs.tx,
            }),
            _ => None,
        };
        let earlier = self.tcp.and_then(|tcp| tcp.retransmits);
        self.tcp = later.tcp.map(|tcp| Tcp {
            retransmits: earlier
                .zip(tcp.retransmits)
                .map(|(mine, theirs)| mine.saturating_add(theirs)),
            // Shares of one interval do not apply to the sum of several.
            time: None,
            ..tcp
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_ipv4_mapped_address_is_the_ipv4_address() {
        let end = Endpoint::new("::ffff:192.0.2.7".parse().unwrap(), 443);
        assert_eq!(end.to_string(), "192.0.2.7:443");
    }

    #[test]
    fn an_unknown_end_is_a_star_and_an_unbound_one_is_not() {
        assert_eq!(Endpoint::default().to_string(), "*");
        let any: IpAddr = "::".parse().unwrap();
        assert_eq!(Endpoint::new(any, 53).to_string(), "[::]:53");
    }

    #[test]
    fn a_comm_ends_at_its_nul_and_survives_invalid_utf8() {
        let comm = Comm::new(b"ab\xff\0junk");
        assert_eq!(comm.as_bytes(), b"ab\xff");
        assert_eq!(comm.to_string_lossy(), "ab\u{fffd}");
        assert!(Comm::new(b"").is_empty());
    }

    #[test]
    fn differences_of_cumulative_counters_survive_a_wrap() {
        let earlier = Counters {
            rx_bytes: u64::MAX,
            ..Counters::default()
        };
        let now = Counters {
            rx_bytes: 4,
            ..Counters::default()
        };
        assert_eq!(now.since(&earlier).rx_bytes, 5);
    }
}
