//! Finds the flows whose both ends are on this machine.
//!
//! A flow is internal if an end is a loopback address, or if its peer is counted as well: another
//! flow of the same protocol has the same two ends the other way round, in any network namespace.
//! Both are seen, not inferred from routes or address ranges, so what is not known to be internal
//! is not: a connection through address translation, whose two sockets name different ends, or a
//! datagram to a socket that is bound to no address.

use std::net::IpAddr;

use hashbrown::{HashMap, HashSet};

use crate::model::flow::{Flow, FlowKey, Protocol};

/// Most pairs of ends that are remembered.
const MAX_PAIRS: usize = 65_536;
/// Intervals without bytes after which a pair is forgotten: another connection may have its ends by
/// then.
const REMEMBERED_FOR: u64 = 60;

/// Both ends of a flow as one socket sees them.
type FlowEnds = (Protocol, (IpAddr, u16), (IpAddr, u16));

/// Remembers which pairs of ends are on this machine. The two sides of a connection often move
/// bytes in different intervals: one sends at the end of an interval, the other receives in the
/// next.
#[derive(Debug, Default)]
pub struct InternalFlows {
    /// Known pairs, with the number of the interval in which they last moved bytes.
    known: HashMap<FlowEnds, u64>,
    intervals: u64,
}

impl InternalFlows {
    /// Marks the internal flows of an interval, which must have all its flows, before any filter.
    pub fn mark(&mut self, flows: &mut [Flow]) {
        self.intervals += 1;
        let locals = local_addresses(flows);
        // Most peers have addresses that no local end has, so most flows need no look-up of the
        // pair.
        let may_be = |flow: &Flow| !flow.internal && locals.contains(&flow.key.remote.addr);
        let candidates = flows.iter().filter(|flow| may_be(flow));
        let seen: HashSet<FlowEnds> = candidates.filter_map(|flow| pair(&flow.key)).collect();
        if seen.is_empty() && self.known.is_empty() {
            return;
        }
        for flow in flows {
            let Some(mine) = pair(&flow.key).filter(|_| !flow.internal) else {
                continue;
            };
            let (protocol, local, remote) = mine;
            if seen.contains(&mine) && seen.contains(&(protocol, remote, local)) {
                self.known.insert(mine, self.intervals);
                flow.internal = true;
            } else if let Some(last) = self.known.get_mut(&mine) {
                *last = self.intervals;
                flow.internal = true;
            }
        }
        let now = self.intervals;
        if self.known.len() > MAX_PAIRS {
            self.known.retain(|_, last| *last == now);
        } else if now.is_multiple_of(REMEMBERED_FOR) {
            self.known.retain(|_, last| now - *last < REMEMBERED_FOR);
        }
    }
}

/// Returns the local addresses of flows: few addresses, each shared by many flows in a row.
fn local_addresses(flows: &[Flow]) -> HashSet<IpAddr> {
    let mut found = HashSet::new();
    let mut last = None;
    for flow in flows {
        let local = flow.key.local.addr;
        if last.replace(local) != Some(local) {
            found.insert(local);
        }
    }
    found
}

/// Returns the ends of a flow; `None` if one of them is unknown.
fn pair(key: &FlowKey) -> Option<FlowEnds> {
    let ends = [key.local, key.remote];
    let known = ends
        .iter()
        .all(|end| end.port > 0 && !end.addr.is_unspecified());
    let [local, remote] = ends.map(|end| (end.addr, end.port));
    (known && !key.overflow && !key.receives_copies()).then_some((key.protocol, local, remote))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::flow::Endpoint;
    use crate::testing::flow;

    fn between(local: &str, remote: &str, netns: u32) -> Flow {
        let end = |text: &str| {
            let end: std::net::SocketAddr = text.parse().unwrap();
            Endpoint::new(end.ip(), end.port())
        };
        let mut flow = flow(1, 10, 20);
        flow.key.local = end(local);
        flow.key.remote = end(remote);
        flow.key.netns = netns;
        flow.internal = flow.key.has_loopback_end();
        flow
    }

    fn marked(internal: &mut InternalFlows, mut flows: Vec<Flow>) -> Vec<bool> {
        internal.mark(&mut flows);
        flows.iter().map(|flow| flow.internal).collect()
    }

    #[test]
    fn a_flow_is_internal_whose_peer_is_counted_in_any_namespace() {
        let flows = vec![
            between("172.17.0.2:40000", "172.17.0.3:80", 2),
            between("172.17.0.3:80", "172.17.0.2:40000", 3),
            // The peer of this one is another connection's socket.
            between("172.17.0.2:40001", "172.17.0.3:80", 2),
            between("172.17.0.2:50000", "192.0.2.1:443", 2),
            between("127.0.0.1:6379", "127.0.0.1:50000", 1),
            between("[::1]:6379", "[::1]:50000", 1),
        ];
        let found = marked(&mut InternalFlows::default(), flows);
        assert_eq!(found, [true, true, false, false, true, true]);
    }

    #[test]
    fn another_protocol_or_an_unknown_end_is_no_peer() {
        let mut other = between("10.0.0.2:80", "10.0.0.1:4000", 1);
        other.key.protocol = Protocol::Udp;
        let flows = vec![
            between("10.0.0.1:4000", "10.0.0.2:80", 1),
            other,
            between("10.0.0.1:4001", "10.0.0.2:53", 1),
            between("0.0.0.0:53", "10.0.0.1:4001", 1),
        ];
        let found = marked(&mut InternalFlows::default(), flows);
        assert_eq!(found, [false; 4]);
    }

    #[test]
    fn a_pair_is_remembered_while_one_side_moves_bytes() {
        let mut internal = InternalFlows::default();
        let client = || between("10.0.0.1:4000", "10.0.0.2:80", 1);
        let server = between("10.0.0.2:80", "10.0.0.1:4000", 2);
        assert_eq!(marked(&mut internal, vec![client()]), [false]);
        assert_eq!(marked(&mut internal, vec![client(), server]), [true, true]);
        assert_eq!(marked(&mut internal, vec![client()]), [true]);
        for _ in 0..2 * REMEMBERED_FOR {
            marked(&mut internal, Vec::new());
        }
        assert_eq!(marked(&mut internal, vec![client()]), [false]);
    }
}
