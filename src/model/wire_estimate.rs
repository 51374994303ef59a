//! What the payload of a flow is on the wire, in bytes of IP packets: an estimate, because neither
//! the options of each header nor each packet is counted. And what that costs.

use std::iter::Sum;
use std::net::IpAddr;
use std::ops::AddAssign;

use super::flow::{Counters, Flow, FlowKey, Packets, Protocol};
use super::peer_class::PeerClass;
use super::peer_zone::{PeerZone, ZonePrice};

/// MTU of Ethernet (IEEE 802.3): how much of a packet a full segment is.
const MTU: u64 = 1500;
/// Header of IPv4 without options (RFC 791), of IPv6 (RFC 8200).
const IPV4: u64 = 20;
const IPV6: u64 = 40;
/// Header of TCP (RFC 9293) with timestamps (RFC 7323), which Linux uses unless
/// `net.ipv4.tcp_timestamps` is off.
const TCP: u64 = 32;
/// Headers of UDP (RFC 768) and UDP-Lite (RFC 3828).
const UDP: u64 = 8;
/// Common header and header of a data chunk of SCTP (RFC 9260).
const SCTP: u64 = 28;
/// Header of DCCP with long sequence numbers (RFC 4340).
const DCCP: u64 = 16;

/// Estimated bytes on the wire, with the headers of IP and of the transport, without those of the
/// link.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct WireEstimate {
    pub rx: u64,
    pub tx: u64,
}

/// What is known of a flow in an interval.
#[derive(Clone, Copy, Debug)]
pub struct FlowOnWire<'a> {
    pub key: &'a FlowKey,
    pub counters: &'a Counters,
    pub packets: Option<Packets>,
    /// Segments that were sent again.
    pub retransmits: u64,
    /// Whether no packet of it leaves the machine.
    pub stays: bool,
}

impl<'a> From<&'a Flow> for FlowOnWire<'a> {
    fn from(flow: &'a Flow) -> Self {
        let retransmits = flow.tcp.and_then(|tcp| tcp.retransmits);
        Self {
            key: &flow.key,
            counters: &flow.counters,
            packets: flow.packets,
            retransmits: retransmits.unwrap_or(0).into(),
            stays: stays(flow.internal, flow.class),
        }
    }
}

/// Whether no packet of a flow leaves the machine.
pub const fn stays(internal: bool, class: Option<PeerClass>) -> bool {
    internal || matches!(class, Some(PeerClass::Loopback | PeerClass::Machine))
}

impl WireEstimate {
    /// Estimates what a flow moved in its interval: the payload, a header for each packet, and the
    /// payload of segments that were sent again. Packets that are not known are as many as full
    /// segments, or as messages. A flow that stays on this machine is on no wire.
    pub fn of(flow: FlowOnWire<'_>) -> Self {
        if flow.stays {
            return Self::default();
        }
        let (counters, ip) = (flow.counters, ip_header(flow.key));
        let packets = flow.packets.unwrap_or_else(|| packets(flow.key, counters));
        let (rx, tx) = headers(flow.key.protocol, ip);
        let repeated = flow.retransmits.saturating_mul(MTU - ip - TCP);
        // Copies of packets come from no wire of their own.
        let (received, received_packets) = match flow.key.receives_copies() {
            true => (0, 0),
            false => (counters.rx_bytes, packets.rx),
        };
        let sum = |payload: u64, packets: u64, header: u64| {
            payload.saturating_add(packets.saturating_mul(header))
        };
        Self {
            rx: sum(received, received_packets, rx),
            tx: sum(counters.tx_bytes, packets.tx, tx).saturating_add(repeated),
        }
    }

    /// Returns what these bytes cost.
    pub fn cost(self, price: ZonePrice) -> Cost {
        // Millionths for 10^9 bytes are 10^-15 for a byte.
        Cost {
            rx: u128::from(self.rx) * u128::from(price.rx),
            tx: u128::from(self.tx) * u128::from(price.tx),
        }
    }
}

impl AddAssign for WireEstimate {
    /// A recording may say anything.
    fn add_assign(&mut self, other: Self) {
        self.rx = self.rx.saturating_add(other.rx);
        self.tx = self.tx.saturating_add(other.tx);
    }
}

impl Sum for WireEstimate {
    fn sum<I: Iterator<Item = Self>>(iter: I) -> Self {
        iter.fold(Self::default(), |mut sum, one| {
            sum += one;
            sum
        })
    }
}

/// Money, in 10^-15 of the user's unit: sums of integers are exact in any order.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Cost {
    rx: u128,
    tx: u128,
}

impl Cost {
    /// Returns the estimated cost of a flow in an interval; `None` where the zone of its peer has
    /// no price.
    pub fn of(flow: FlowOnWire<'_>, zone: Option<&PeerZone>) -> Option<Self> {
        let price = zone?.price?;
        Some(WireEstimate::of(flow).cost(price))
    }

    /// Of what was received, in units of money.
    pub fn rx(self) -> f64 {
        self.rx as f64 / 1e15
    }

    /// Of what was sent, in units of money.
    pub fn tx(self) -> f64 {
        self.tx as f64 / 1e15
    }

    /// Both ways, in units of money.
    pub fn both(self) -> f64 {
        self.rx.saturating_add(self.tx) as f64 / 1e15
    }
}

impl AddAssign for Cost {
    fn add_assign(&mut self, other: Self) {
        self.rx = self.rx.saturating_add(other.rx);
        self.tx = self.tx.saturating_add(other.tx);
    }
}

/// Adds what is known: a sum is known where any part is.
pub fn add_cost(sum: &mut Option<Cost>, cost: Option<Cost>) {
    if let Some(cost) = cost {
        *sum.get_or_insert_default() += cost;
    }
}

const fn ip_header(key: &FlowKey) -> u64 {
    match key.remote.addr {
        IpAddr::V4(_) => IPV4,
        IpAddr::V6(_) => IPV6,
    }
}

/// Bytes of headers in each packet that is received and sent, besides what counts as payload.
const fn headers(protocol: Protocol, ip: u64) -> (u64, u64) {
    match protocol {
        Protocol::Tcp => (ip + TCP, ip + TCP),
        Protocol::Udp | Protocol::UdpLite => (ip + UDP, ip + UDP),
        Protocol::Sctp => (ip + SCTP, ip + SCTP),
        Protocol::Dccp => (ip + DCCP, ip + DCCP),
        // Sockets of IPv4 receive its header as payload.
        Protocol::Icmp | Protocol::Raw if ip == IPV4 => (0, ip),
        Protocol::Icmp | Protocol::Icmp6 | Protocol::Raw => (ip, ip),
        // The frame is the payload.
        Protocol::Packet => (0, 0),
    }
}

/// Packets of a flow whose packets are not known: full segments and an acknowledgement for every
/// second one (RFC 9293, section 3.8.6.3) of TCP, a packet a message of others.
fn packets(key: &FlowKey, counters: &Counters) -> Packets {
    if key.protocol != Protocol::Tcp {
        return Packets {
            rx: counters.rx_msgs,
            tx: counters.tx_msgs,
        };
    }
    let segments = |bytes: u64| bytes.div_ceil(MTU - ip_header(key) - TCP);
    let (rx, tx) = (segments(counters.rx_bytes), segments(counters.tx_bytes));
    Packets {
        rx: rx + tx / 2,
        tx: tx + rx / 2,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::flow::{Endpoint, Owner, Tcp};

    fn flow(protocol: Protocol, remote: &str, counters: Counters) -> Flow {
        let end = |addr: &str| Endpoint::new(addr.parse().unwrap(), 443);
        let local = if remote.contains(':') {
            "2001:db8::1"
        } else {
            "192.0.2.1"
        };
        let key = FlowKey::new(protocol, end(local), end(remote), 7);
        Flow::new(key, counters, Owner::default().into())
    }

    fn moved(rx_bytes: u64, tx_bytes: u64) -> Counters {
        Counters {
            rx_bytes,
            tx_bytes,
            rx_msgs: 3,
            tx_msgs: 2,
        }
    }

    #[test]
    fn each_packet_adds_its_headers() {
        let packets = Some(Packets { rx: 10, tx: 6 });
        for (protocol, remote, rx, tx) in [
            (Protocol::Tcp, "198.51.100.9", 10 * 52, 6 * 52),
            (Protocol::Tcp, "2001:db8:9::9", 10 * 72, 6 * 72),
            (Protocol::Udp, "198.51.100.9", 10 * 28, 6 * 28),
            (Protocol::Udp, "2001:db8:9::9", 10 * 48, 6 * 48),
            (Protocol::Icmp, "198.51.100.9", 0, 6 * 20),
            (Protocol::Icmp6, "2001:db8:9::9", 10 * 40, 6 * 40),
        ] {
            let mut flow = flow(protocol, remote, moved(5000, 1000));
            flow.packets = packets;
            let wire = WireEstimate::of((&flow).into());
            assert_eq!(
                (wire.rx, wire.tx),
                (5000 + rx, 1000 + tx),
                "{protocol} {remote}"
            );
        }
    }

    #[test]
    fn packets_that_are_not_known_are_full_segments_or_messages() {
        let tcp = flow(Protocol::Tcp, "198.51.100.9", moved(14_480, 100));
        // Ten full segments, one of the answer, and an acknowledgement for every second.
        let wire = WireEstimate::of((&tcp).into());
        assert_eq!((wire.rx, wire.tx), (14_480 + 10 * 52, 100 + 6 * 52));
        let udp = flow(Protocol::Udp, "198.51.100.9", moved(300, 200));
        let wire = WireEstimate::of((&udp).into());
        assert_eq!((wire.rx, wire.tx), (300 + 3 * 28, 200 + 2 * 28));
    }

    #[test]
    fn segments_that_were_sent_again_are_on_the_wire_twice() {
        let mut flow = flow(Protocol::Tcp, "198.51.100.9", moved(0, 1448));
        flow.packets = Some(Packets { rx: 1, tx: 2 });
        flow.tcp = Some(Tcp {
            retransmits: Some(1),
            ..Tcp::default()
        });
        assert_eq!(WireEstimate::of((&flow).into()).tx, 3000);
    }

    #[test]
    fn what_stays_on_the_machine_is_on_no_wire() {
        let mut local = flow(Protocol::Tcp, "127.0.0.1", moved(1000, 1000));
        assert_eq!(WireEstimate::of((&local).into()), WireEstimate::default());
        local = flow(Protocol::Tcp, "198.51.100.9", moved(1000, 1000));
        assert_ne!(WireEstimate::of((&local).into()), WireEstimate::default());
        local.class = Some(PeerClass::Machine);
        assert_eq!(WireEstimate::of((&local).into()), WireEstimate::default());
        let copies = flow(Protocol::Packet, "198.51.100.9", moved(1000, 0));
        assert_eq!(WireEstimate::of((&copies).into()), WireEstimate::default());
    }

    #[test]
    fn a_price_is_of_a_gigabyte_each_way() {
        let mut flow = flow(Protocol::Udp, "198.51.100.9", Counters::default());
        flow.counters = Counters {
            rx_bytes: 2_000_000_000,
            tx_bytes: 1_000_000_000,
            ..Counters::default()
        };
        flow.packets = Some(Packets::default());
        let zone = |price| PeerZone {
            name: "internet".into(),
            price,
        };
        let cost = |zone: Option<&PeerZone>| Cost::of((&flow).into(), zone);
        assert_eq!(cost(None), None);
        assert_eq!(cost(Some(&zone(None))), None);
        let price = ZonePrice {
            tx: 90_000,
            rx: 10_000,
        };
        let cost = cost(Some(&zone(Some(price))));
        let parts = cost.map(|cost| (cost.rx(), cost.tx(), cost.both()));
        assert_eq!(parts, Some((0.02, 0.09, 0.11)));
        let mut sum = None;
        add_cost(&mut sum, None);
        assert_eq!(sum, None);
        add_cost(&mut sum, cost);
        add_cost(&mut sum, cost);
        assert_eq!(sum.unwrap().both(), 0.22);
    }
}
