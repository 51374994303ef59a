//! The addresses of this machine in flowtop's own network namespace, so that a peer on this machine
//! is not taken for a neighbour. Read once at the start, and learned from the local ends of flows
//! afterwards.

use std::fs::File;
use std::io::Read as _;
use std::net::{IpAddr, Ipv6Addr};

use hashbrown::HashSet;

use crate::model::flow::{Endpoint, Flow};
use crate::model::peer_class::PeerClass;
use crate::resolve::namespace;

/// Most addresses that are remembered.
const MAX_ADDRESSES: usize = 65_536;
/// Bytes of the routing table that are read: a router may have a million routes, and its own
/// addresses are learned from flows then.
const MAX_TABLE: u64 = 4 << 20;

/// The addresses of this machine.
#[derive(Debug, Default)]
pub struct OwnAddresses {
    netns: Option<u32>,
    known: HashSet<IpAddr>,
}

impl OwnAddresses {
    pub fn read() -> Self {
        let text = |path: &str| {
            let mut text = String::new();
            // A part that cannot be read leaves the other part valid.
            let _ = File::open(path).map(|file| file.take(MAX_TABLE).read_to_string(&mut text));
            text
        };
        let known = v4_in(&text("/proc/net/fib_trie"));
        let known = known.into_iter().chain(v6_in(&text("/proc/net/if_inet6")));
        Self {
            netns: namespace::own_net(),
            known: known.collect(),
        }
    }

    /// Marks flows whose peer is on this machine. Internal flows must be marked before.
    pub fn mark(&mut self, flows: &mut [Flow]) {
        let mut last = None;
        for flow in &*flows {
            let local = &flow.key.local;
            // Flows in a row often share it. Its class last: most addresses are known, and a class
            // may take a search of all ranges.
            if self.is_here(flow)
                && last.replace(local.addr) != Some(local.addr)
                && self.known.len() < MAX_ADDRESSES
                && !self.known.contains(&local.addr)
                && is_of_a_host(local)
            {
                self.known.insert(local.addr);
            }
        }
        for flow in flows {
            let is_own = || self.is_here(flow) && self.known.contains(&flow.key.remote.addr);
            let is_elsewhere = !matches!(flow.class, None | Some(PeerClass::Loopback));
            if is_elsewhere && (flow.internal || is_own()) {
                flow.class = Some(PeerClass::Machine);
            }
        }
    }

    /// Whether the flow belongs to flowtop's own network namespace.
    fn is_here(&self, flow: &Flow) -> bool {
        self.netns == Some(flow.key.netns)
    }
}

/// Whether an address, as a local end, belongs to this machine alone.
fn is_of_a_host(local: &Endpoint) -> bool {
    !matches!(
        PeerClass::of(local),
        None | Some(PeerClass::Multicast | PeerClass::Loopback)
    )
}

/// Parses the local addresses of `/proc/net/fib_trie`: the line after each has `/32 host LOCAL`.
fn v4_in(text: &str) -> Vec<IpAddr> {
    let mut last: Option<IpAddr> = None;
    let mut found = Vec::new();
    for line in text.lines() {
        let line = line.trim_start();
        if let Some(addr) = line.strip_prefix("|-- ") {
            last = addr.trim().parse().ok();
        } else if line.starts_with("/32 host LOCAL") {
            found.extend(last);
        }
    }
    found
}

/// Parses the addresses of `/proc/net/if_inet6`: 32 hexadecimal digits at the beginning of each
/// line.
fn v6_in(text: &str) -> Vec<IpAddr> {
    let digits = text
        .lines()
        .filter_map(|line| line.split_whitespace().next());
    let bits = digits.filter_map(|digits| u128::from_str_radix(digits, 16).ok());
    bits.map(|bits| Ipv6Addr::from_bits(bits).into()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::flow::{Counters, FlowKey, Owner, Protocol};

    fn flow(local: &str, remote: &str, netns: u32) -> Flow {
        let end = |text: &str| Endpoint::new(text.parse().unwrap(), 80);
        let key = FlowKey {
            netns,
            ..FlowKey::new(Protocol::Tcp, end(local), end(remote), 7)
        };
        Flow::new(key, Counters::default(), Owner::default().into())
    }

    #[test]
    fn the_kernels_files_name_addresses() {
        let trie = "Local:\n  +-- 0.0.0.0/0 3 0 5\n     |-- 10.0.0.5\n        /32 host LOCAL\n     \
                    |-- 10.0.0.255\n        /32 link BROADCAST\n";
        assert_eq!(v4_in(trie), ["10.0.0.5".parse::<IpAddr>().unwrap()]);
        let v6 = "fd000000000000000000000000000001 02 40 00 80     eth0\n";
        assert_eq!(v6_in(v6), ["fd00::1".parse::<IpAddr>().unwrap()]);
    }

    #[test]
    fn a_peer_with_an_address_of_this_machine_is_on_it() {
        let mut own = OwnAddresses {
            netns: Some(1),
            known: HashSet::from(["10.0.0.5".parse().unwrap()]),
        };
        let mut flows = vec![
            flow("10.0.0.5", "10.0.0.5", 1),
            flow("10.0.0.5", "10.0.0.6", 1),
            // The address is learned from the flow after this one.
            flow("0.0.0.0", "192.168.9.9", 1),
            flow("192.168.9.9", "1.1.1.1", 1),
            // Another network namespace may have the same address.
            flow("172.17.0.2", "10.0.0.5", 2),
            flow("127.0.0.1", "127.0.0.1", 1),
        ];
        own.mark(&mut flows);
        let classes: Vec<_> = flows
            .iter()
            .map(|flow| flow.class.unwrap().as_str())
            .collect();
        let expected = [
            "machine", "private", "machine", "internet", "private", "loopback",
        ];
        assert_eq!(classes, expected);
    }
}
