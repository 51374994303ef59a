//! The traffic of one command by process and peer, from its first interval to its last.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use crate::model::dns::DnsName;
use crate::model::flow::{Comm, Counters, Endpoint, Flow, Protocol};
use crate::model::interval::{Interval, Losses};
use crate::model::peer_class::PeerClass;
use crate::model::peer_zone::PeerZone;
use crate::model::wire_estimate::{Cost, add_cost};

/// Most rows of each table. The bytes of further ones are summed.
const MAX_ROWS: usize = 65_536;

/// A process and its peer. The order of the fields is the order of rows with equal bytes.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PeerKey {
    pub tgid: u32,
    /// Start of the process since boot.
    pub start: Option<Duration>,
    /// Name of the process; one that executes another program gets another row.
    pub comm: Comm,
    pub class: Option<PeerClass>,
    /// The user's zone of the peer.
    pub zone: Option<Arc<PeerZone>>,
    /// The peer; without a port if all ports of an address share a row.
    pub remote: Endpoint,
    /// `None` if all protocols share a row.
    pub protocol: Option<Protocol>,
}

impl PeerKey {
    fn of(flow: &Flow) -> Self {
        Self {
            tgid: flow.key.tgid,
            start: flow.owner.start,
            comm: flow.owner.comm,
            class: flow.class,
            zone: flow.zone.clone(),
            remote: flow.key.remote,
            protocol: Some(flow.key.protocol),
        }
    }

    /// Returns the key for all ports and protocols of the address.
    fn of_address(mut self) -> Self {
        self.remote.port = 0;
        self.protocol = None;
        self
    }
}

/// Sums by row, in bounded memory.
#[derive(Clone, Debug, Default)]
pub struct PeerTotals {
    rows: HashMap<PeerKey, Counters>,
    /// Traffic that found no row.
    rest: Counters,
}

impl PeerTotals {
    fn add(&mut self, key: PeerKey, counters: Counters) {
        if self.rows.len() < MAX_ROWS || self.rows.contains_key(&key) {
            *self.rows.entry(key).or_default() += counters;
        } else {
            self.rest += counters;
        }
    }

    pub fn is_empty(&self) -> bool {
        self.rows.is_empty() && self.rest.is_zero()
    }

    pub fn len(&self) -> usize {
        self.rows.len()
    }

    /// Returns the rows with most bytes, at most `top_n`, and the number and sum of all others.
    pub fn ranked(&self, top_n: Option<usize>) -> (Vec<(PeerKey, Counters)>, Counters, usize) {
        let mut rows: Vec<_> = self
            .rows
            .iter()
            .map(|(key, sum)| (key.clone(), *sum))
            .collect();
        let bytes = |sum: &Counters| u128::from(sum.rx_bytes) + u128::from(sum.tx_bytes);
        rows.sort_by(|a, b| bytes(&b.1).cmp(&bytes(&a.1)).then(a.0.cmp(&b.0)));
        let others = rows.split_off(rows.len().min(top_n.unwrap_or(usize::MAX)));
        let mut rest: Counters = others.iter().map(|(_, sum)| *sum).sum();
        rest += self.rest;
        (rows, rest, others.len())
    }
}

/// The traffic of a command.
#[derive(Clone, Debug, Default)]
pub struct RunTotals {
    /// Sums by process and address.
    pub peers: PeerTotals,
    /// Traffic outside the allow-list, by process, protocol, address and port.
    pub unexpected: PeerTotals,
    /// Bytes that belong to no flow, so that no allow-list can match them.
    pub unexpected_untracked: Counters,
    /// All bytes and messages, untracked ones included.
    pub total: Counters,
    /// Estimated cost; `None` where no zone has a price.
    pub cost: Option<Cost>,
    /// Names that processes resolved to the addresses of their peers, the last where there were
    /// several.
    pub dns_names: HashMap<(u32, IpAddr), Arc<DnsName>>,
    /// All intervals merged, without their flows.
    pub sum: Option<Interval>,
}

impl RunTotals {
    /// Adds an interval; `is_expected` is whether the allow-list matches a flow, if there is one.
    pub fn add(&mut self, interval: &Interval, mut is_expected: Option<impl FnMut(&Flow) -> bool>) {
        self.total += interval.total();
        add_cost(&mut self.cost, interval.cost());
        for flow in &interval.flows {
            let key = PeerKey::of(flow);
            self.peers.add(key.clone().of_address(), flow.counters);
            if let Some(name) = &flow.dns_name
                && self.dns_names.len() < MAX_ROWS
            {
                let peer = (flow.key.tgid, flow.key.remote.addr);
                self.dns_names.insert(peer, Arc::clone(name));
            }
            if is_expected
                .as_mut()
                .is_some_and(|is_expected| !is_expected(flow))
            {
                self.unexpected.add(key, flow.counters);
            }
        }
        if is_expected.is_some() {
            self.unexpected_untracked += interval.losses.untracked;
        }
        let without_flows = Interval {
            flows: Vec::new(),
            ended: interval.ended,
            elapsed: interval.elapsed,
            losses: interval.losses,
            interfaces: Vec::new(),
            method: Arc::clone(&interval.method),
        };
        match &mut self.sum {
            Some(sum) => sum.merge(without_flows),
            None => self.sum = Some(without_flows),
        }
    }

    /// Whether anything moved outside the allow-list.
    pub fn has_unexpected(&self) -> bool {
        !self.unexpected.is_empty() || !self.unexpected_untracked.is_zero()
    }

    pub fn losses(&self) -> Losses {
        self.sum.as_ref().map(|sum| sum.losses).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Intervals, flow};

    #[test]
    fn rows_others_and_untracked_are_the_total() {
        let mut totals = RunTotals::default();
        let mut intervals = Intervals::default();
        for round in 1..4 {
            let flows = (0..9).map(|id| flow(id, round, u64::from(id))).collect();
            let mut interval = intervals.next(500, flows);
            interval.losses.untracked.rx_bytes = 5;
            totals.add(
                &interval,
                Some(|flow: &Flow| flow.key.tgid.is_multiple_of(2)),
            );
        }
        let (rows, mut sum, others) = totals.peers.ranked(Some(4));
        assert_eq!(rows.len(), 4);
        assert_eq!(others, totals.peers.len() - 4);
        rows.iter().for_each(|(_, row)| sum += *row);
        let untracked = totals.losses().untracked;
        assert_eq!(untracked.rx_bytes, 15);
        assert_eq!(sum.rx_bytes + untracked.rx_bytes, totals.total.rx_bytes);
        assert_eq!(sum.tx_bytes, totals.total.tx_bytes);
        assert!(totals.has_unexpected());
        assert!(rows.is_sorted_by_key(|(_, row)| std::cmp::Reverse(row.rx_bytes + row.tx_bytes)));
        let unexpected = totals.unexpected.ranked(None).0;
        assert!(unexpected.iter().all(|(key, _)| key.tgid % 2 == 1));
        assert_eq!(totals.sum.unwrap().elapsed, Duration::from_millis(1500));
    }
}
