//! Where a peer is, by its address alone: the registries of special addresses, which RFC 6890
//! established (IANA, IPv4 and IPv6 Special-Purpose Address Registries, as of 2026). The longest
//! matching prefix decides.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::flow::Endpoint;
use super::net::Net;

/// How far away a peer is. The order is from near to far.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum PeerClass {
    /// A loopback address (RFC 1122, RFC 4291).
    Loopback,
    /// Another address of this machine, or another network namespace on it.
    Machine,
    /// A link-local address or the limited broadcast: no router forwards it.
    Link,
    /// Not globally reachable: private use, unique local, documentation, benchmarks, reserved.
    Private,
    /// Between a carrier's address translation and its customers.
    Shared,
    /// A group of receivers.
    Multicast,
    /// Everything else, which is globally reachable.
    Internet,
}

impl PeerClass {
    pub const ALL: [Self; 7] = [
        Self::Loopback,
        Self::Machine,
        Self::Link,
        Self::Private,
        Self::Shared,
        Self::Multicast,
        Self::Internet,
    ];

    /// The word of every output and filter.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Loopback => "loopback",
            Self::Machine => "machine",
            Self::Link => "link",
            Self::Private => "private",
            Self::Shared => "shared",
            Self::Multicast => "multicast",
            Self::Internet => "internet",
        }
    }

    /// The class with this name.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|class| class.as_str() == name)
    }

    /// Returns the class of a peer by its address; `None` if the peer is unknown. The address alone
    /// does not show whether it is this machine's own.
    pub fn of(peer: &Endpoint) -> Option<Self> {
        (!peer.addr.is_unspecified()).then(|| Self::of_address(peer.addr))
    }

    fn of_address(addr: IpAddr) -> Self {
        let addr = embedded(addr.to_canonical());
        let by_first_octet = match addr {
            IpAddr::V4(_) => &V4_BY_FIRST_OCTET,
            IpAddr::V6(_) => &V6_BY_FIRST_OCTET,
        };
        // A search takes as long as the rest of making a flow from a record.
        by_first_octet[first_octet(addr)].unwrap_or_else(|| Self::by_search(addr))
    }

    fn by_search(addr: IpAddr) -> Self {
        let nets: &[(Net, Self)] = match addr {
            IpAddr::V4(_) => &V4,
            IpAddr::V6(_) => &V6,
        };
        let found = nets.iter().filter(|(net, _)| net.contains(addr));
        let longest = found.max_by_key(|(net, _)| net.prefix);
        longest.map_or(Self::Internet, |(_, class)| *class)
    }
}

impl fmt::Display for PeerClass {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// The IPv4 address in one of 64:ff9b::/96 (RFC 6052), by which NAT64 is reached; else the address
/// itself.
fn embedded(addr: IpAddr) -> IpAddr {
    match addr {
        IpAddr::V6(v6) => match v6.segments() {
            [0x64, 0xff9b, 0, 0, 0, 0, high, low] => {
                Ipv4Addr::from_bits(u32::from(high) << 16 | u32::from(low)).into()
            }
            _ => addr,
        },
        IpAddr::V4(_) => addr,
    }
}

const fn v4(a: u8, b: u8, c: u8, d: u8, prefix: u8, class: PeerClass) -> (Net, PeerClass) {
    let addr = IpAddr::V4(Ipv4Addr::new(a, b, c, d));
    (Net { addr, prefix }, class)
}

/// `words` are the first four; no range here needs more, but for the two of one address.
const fn v6(words: [u16; 4], last: u16, prefix: u8, class: PeerClass) -> (Net, PeerClass) {
    let [a, b, c, d] = words;
    let addr = IpAddr::V6(Ipv6Addr::new(a, b, c, d, 0, 0, 0, last));
    (Net { addr, prefix }, class)
}

const fn first_octet(addr: IpAddr) -> usize {
    match addr {
        IpAddr::V4(addr) => addr.octets()[0] as usize,
        IpAddr::V6(addr) => addr.octets()[0] as usize,
    }
}

/// The class of all addresses that begin with an octet; `None` where a longer prefix distinguishes
/// them.
const fn by_first_octet(nets: &[(Net, PeerClass)]) -> [Option<PeerClass>; 256] {
    let mut classes = [Some(Internet); 256];
    let mut octet = 0;
    while octet < classes.len() {
        let (mut longest, mut i) = (0, 0);
        while i < nets.len() {
            let (net, class) = nets[i];
            let first = first_octet(net.addr);
            if net.prefix > 8 {
                if first == octet {
                    classes[octet] = None;
                    break;
                }
            } else if first >> (8 - net.prefix) == octet >> (8 - net.prefix)
                && net.prefix >= longest
            {
                classes[octet] = Some(class);
                longest = net.prefix;
            }
            i += 1;
        }
        octet += 1;
    }
    classes
}

static V4_BY_FIRST_OCTET: [Option<PeerClass>; 256] = by_first_octet(&V4);
static V6_BY_FIRST_OCTET: [Option<PeerClass>; 256] = by_first_octet(&V6);

use PeerClass::{Internet, Link, Loopback, Machine, Multicast, Private, Shared};

const V4: [(Net, PeerClass); 20] = [
    // RFC 791, section 3.2; RFC 1122, section 3.2.1.3: this host
    v4(0, 0, 0, 0, 8, Machine),
    // RFC 1918: private use
    v4(10, 0, 0, 0, 8, Private),
    v4(172, 16, 0, 0, 12, Private),
    v4(192, 168, 0, 0, 16, Private),
    // RFC 6598: shared address space
    v4(100, 64, 0, 0, 10, Shared),
    // RFC 1122, section 3.2.1.3: loopback
    v4(127, 0, 0, 0, 8, Loopback),
    // RFC 3927: link local
    v4(169, 254, 0, 0, 16, Link),
    // RFC 6890, section 2.1: IETF protocol assignments, DS-Lite (RFC 7335) among them
    v4(192, 0, 0, 0, 24, Private),
    // RFC 7723: Port Control Protocol anycast; RFC 8155: TURN anycast
    v4(192, 0, 0, 9, 32, Internet),
    v4(192, 0, 0, 10, 32, Internet),
    // RFC 5737: documentation
    v4(192, 0, 2, 0, 24, Private),
    v4(198, 51, 100, 0, 24, Private),
    v4(203, 0, 113, 0, 24, Private),
    // RFC 7535 and RFC 7534: AS112; RFC 7450: AMT
    v4(192, 31, 196, 0, 24, Internet),
    v4(192, 175, 48, 0, 24, Internet),
    v4(192, 52, 193, 0, 24, Internet),
    // RFC 2544: benchmarks
    v4(198, 18, 0, 0, 15, Private),
    // RFC 5771: multicast
    v4(224, 0, 0, 0, 4, Multicast),
    // RFC 1112, section 4: reserved
    v4(240, 0, 0, 0, 4, Private),
    // RFC 919, RFC 8190: limited broadcast
    v4(255, 255, 255, 255, 32, Link),
];

const V6: [(Net, PeerClass); 25] = [
    // RFC 4291, section 2.5.3: loopback
    v6([0; 4], 1, 128, Loopback),
    // RFC 8215: local-use IPv4/IPv6 translation
    v6([0x64, 0xff9b, 1, 0], 0, 48, Private),
    // RFC 6666: discard-only; RFC 9780: dummy prefix
    v6([0x100, 0, 0, 0], 0, 64, Private),
    v6([0x100, 0, 0, 1], 0, 64, Private),
    // RFC 2928: IETF protocol assignments
    v6([0x2001, 0, 0, 0], 0, 23, Private),
    // RFC 4380: Teredo
    v6([0x2001, 0, 0, 0], 0, 32, Internet),
    // RFC 7723: Port Control Protocol; RFC 8155: TURN; RFC 9665: DNS-SD registration, all anycast
    v6([0x2001, 1, 0, 0], 1, 128, Internet),
    v6([0x2001, 1, 0, 0], 2, 128, Internet),
    v6([0x2001, 1, 0, 0], 3, 128, Internet),
    // RFC 5180: benchmarks
    v6([0x2001, 2, 0, 0], 0, 48, Private),
    // RFC 7450: AMT
    v6([0x2001, 3, 0, 0], 0, 32, Internet),
    // RFC 7535: AS112
    v6([0x2001, 4, 0x112, 0], 0, 48, Internet),
    // RFC 4843: ORCHID, withdrawn
    v6([0x2001, 0x10, 0, 0], 0, 28, Private),
    // RFC 7343: ORCHIDv2; RFC 9374: drone remote ID
    v6([0x2001, 0x20, 0, 0], 0, 28, Internet),
    v6([0x2001, 0x30, 0, 0], 0, 28, Internet),
    // RFC 3849 and RFC 9637: documentation
    v6([0x2001, 0xdb8, 0, 0], 0, 32, Private),
    v6([0x3fff, 0, 0, 0], 0, 20, Private),
    // RFC 3056: 6to4
    v6([0x2002, 0, 0, 0], 0, 16, Internet),
    // RFC 7534: AS112
    v6([0x2620, 0x4f, 0x8000, 0], 0, 48, Internet),
    // RFC 9602: segment identifiers of SRv6
    v6([0x5f00, 0, 0, 0], 0, 16, Private),
    // RFC 4193: unique local
    v6([0xfc00, 0, 0, 0], 0, 7, Private),
    // RFC 4291, section 2.5.6: link local
    v6([0xfe80, 0, 0, 0], 0, 10, Link),
    // RFC 3879: site local, withdrawn
    v6([0xfec0, 0, 0, 0], 0, 10, Private),
    // RFC 4291, section 2.7: multicast
    v6([0xff00, 0, 0, 0], 0, 8, Multicast),
    // RFC 4291, section 2.5.5.1: IPv4-compatible, withdrawn
    v6([0; 4], 0, 96, Private),
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Random;

    #[test]
    fn the_longest_prefix_decides() {
        for (addr, class) in [
            ("127.0.0.1", Loopback),
            ("::1", Loopback),
            ("::ffff:127.9.9.9", Loopback),
            ("0.1.2.3", Machine),
            ("169.254.169.254", Link),
            ("255.255.255.255", Link),
            ("fe80::1", Link),
            ("febf:ffff::1", Link),
            ("10.0.0.1", Private),
            ("172.31.255.255", Private),
            ("172.32.0.0", Internet),
            ("192.168.1.1", Private),
            ("192.0.0.8", Private),
            ("192.0.0.9", Internet),
            ("198.19.255.255", Private),
            ("198.20.0.0", Internet),
            ("203.0.113.1", Private),
            ("250.0.0.1", Private),
            ("fd00::1", Private),
            ("2001:db8::1", Private),
            ("2001:2::1", Private),
            ("2001:1::4", Private),
            ("100.64.0.1", Shared),
            ("100.127.255.255", Shared),
            ("100.128.0.0", Internet),
            ("239.1.2.3", Multicast),
            ("ff02::fb", Multicast),
            ("1.1.1.1", Internet),
            ("2606:4700::1111", Internet),
            ("2001:1::1", Internet),
            ("2001:200::1", Internet),
            // NAT64: the peer is the IPv4 host.
            ("64:ff9b::10.0.0.1", Private),
            ("64:ff9b::1.1.1.1", Internet),
        ] {
            let peer = Endpoint::new(addr.parse().unwrap(), 1);
            assert_eq!(PeerClass::of(&peer), Some(class), "{addr}");
        }
        assert_eq!(PeerClass::of(&Endpoint::default()), None);
    }

    #[test]
    fn the_table_of_first_octets_agrees_with_the_search() {
        let mut random = Random(1);
        for octet in 0..=255_u8 {
            let tails = [0, u128::MAX].into_iter();
            let tails = tails.chain((0..50).map(|_| u128::from(random.next()) << 64));
            for tail in tails {
                let bits = u128::from(octet) << 120 | tail >> 8;
                let v4 = Ipv4Addr::from_bits((bits >> 96) as u32);
                for addr in [v4.into(), Ipv6Addr::from_bits(bits).into()] {
                    let found = PeerClass::by_search(embedded(addr));
                    assert_eq!(PeerClass::of_address(addr), found, "{addr}");
                }
            }
        }
        // Most of the Internet takes no search.
        assert_eq!(V4_BY_FIRST_OCTET[1], Some(Internet));
        assert_eq!(V4_BY_FIRST_OCTET[10], Some(Private));
        assert_eq!(V4_BY_FIRST_OCTET[192], None);
        assert_eq!(V6_BY_FIRST_OCTET[0x2a], Some(Internet));
    }

    #[test]
    fn no_range_has_bits_beyond_its_prefix() {
        for (net, _) in V4.iter().chain(&V6) {
            assert_eq!(Net::of(net.addr, net.prefix), *net, "{net}");
        }
    }

    #[test]
    fn each_class_has_its_own_word() {
        for class in PeerClass::ALL {
            assert_eq!(PeerClass::named(class.as_str()), Some(class));
        }
    }
}
