//! The contents of a row that is opened in place: rows of a finer grouping, the sum of those
//! without a line, and the owners of its flows.

use std::cell::RefCell;
use std::cmp::Reverse;
use std::net::IpAddr;

use hashbrown::{HashMap, HashSet};

use super::{Row, RowId, RowParts, RowQuery, Rows, Sum};
use crate::model::flow::{Counters, Endpoint, Protocol};
use crate::stats::history::{FlowStats, History, TrafficStats};
use crate::stats::process_lookup::ProcessLookup;
use crate::view::Group;

/// The processes and peers of a row's flows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RowParties {
    pub processes: usize,
    pub peers: usize,
    /// The peer that moved most in the latest interval; of equals the one that moved most since the
    /// start. Its port is 0 if its flows have several.
    pub top_peer: Endpoint,
    /// Local end of a flow with that peer.
    pub top_local: Endpoint,
    /// The protocol of its flows; `None` if they have several.
    pub protocol: Option<Protocol>,
}

impl Rows {
    /// The rows of an opened row by another grouping. Their sum is the row.
    pub fn part(
        &self,
        history: &History,
        n: usize,
        query: &RowQuery,
        lookup: &dyn ProcessLookup,
    ) -> Self {
        let nothing = Sum {
            flows: 0,
            traffic: TrafficStats::nothing(self.clock, history.ended()),
        };
        let flows = self.numbers(n).to_vec();
        let mut rows = Self {
            clock: self.clock,
            flows: flows.len(),
            moving: 0,
            in_order: 0,
            filtered: nothing,
            silent: nothing,
            never_active: 0,
            untracked: Counters::default(),
            untracked_total: Counters::default(),
            all: self.traffic_at(history, n).into_owned(),
            directions: query.directions,
            parts: RowParts::of(history, flows, query.group, lookup),
            sums: HashMap::new(),
            made: RefCell::default(),
        };
        rows.sort(history, query, lookup);
        rows
    }

    /// Returns the sum of all rows from an index on; `None` if there is none.
    pub fn sum_from(&self, history: &History, first: usize) -> Option<Row> {
        if let Some(sum) = self.made.borrow().sums_from.get(&first) {
            return Some(sum.clone());
        }
        let sum = self.make_sum_from(history, first)?;
        let mut made = self.made.borrow_mut();
        made.sums_from.insert(first, sum.clone());
        Some(sum)
    }

    fn make_sum_from(&self, history: &History, first: usize) -> Option<Row> {
        let mut flows = self.numbers_from(first).map(|number| history.flow(number));
        let mut sum = Row::of(flows.next()?, &self.clock);
        for flow in flows {
            sum.add(flow, &self.clock);
        }
        sum.id = RowId::Unknown;
        Some(sum)
    }

    /// Returns the owners of the flows of a row.
    pub fn parties(&self, history: &History, n: usize) -> Option<RowParties> {
        let Some(position) = self.kept_at(n) else {
            return self.make_parties(history, n);
        };
        if let Some(parties) = self.made.borrow().parties.get(&position) {
            return Some(*parties);
        }
        let parties = self.make_parties(history, n)?;
        self.made.borrow_mut().parties.insert(position, parties);
        Some(parties)
    }

    fn make_parties(&self, history: &History, n: usize) -> Option<RowParties> {
        let directions = self.directions;
        let moved = |flow: &FlowStats| {
            let traffic = &flow.traffic;
            [
                directions.bytes(&traffic.now),
                directions.bytes(&traffic.total),
            ]
        };
        let mut processes: HashSet<u32> = HashSet::new();
        // Addresses are small, so that many of them are hashed fast.
        let mut indices: HashMap<IpAddr, usize> = HashMap::new();
        let mut peers: Vec<([u64; 2], RowParties)> = Vec::new();
        for &number in self.numbers(n) {
            let flow = history.flow(number);
            processes.insert(flow.key.tgid);
            let [now, total] = moved(flow);
            let index = *indices.entry(flow.key.remote.addr).or_insert(peers.len());
            match peers.get_mut(index) {
                None => {
                    let of_flow = RowParties {
                        processes: 0,
                        peers: 0,
                        top_peer: flow.key.remote,
                        top_local: flow.key.local,
                        protocol: Some(flow.key.protocol),
                    };
                    peers.push(([now, total], of_flow));
                }
                Some((sum, peer)) => {
                    sum[0] = sum[0].saturating_add(now);
                    sum[1] = sum[1].saturating_add(total);
                    if peer.top_peer.port != flow.key.remote.port {
                        peer.top_peer.port = 0;
                    }
                    peer.protocol = peer.protocol.filter(|it| *it == flow.key.protocol);
                }
            }
        }
        let count = peers.len();
        let peers = peers.into_iter();
        let top = peers.max_by_key(|(sum, peer)| (*sum, Reverse(peer.top_peer)))?;
        Some(RowParties {
            processes: processes.len(),
            peers: count,
            ..top.1
        })
    }

    fn numbers_from(&self, first: usize) -> impl Iterator<Item = u32> {
        (first..self.len()).flat_map(|n| self.numbers(n).iter().copied())
    }
}

impl RowParts {
    /// Groups these flows into rows, in no order.
    pub(super) fn of(
        history: &History,
        flows: Vec<u32>,
        group: Group,
        lookup: &dyn ProcessLookup,
    ) -> Self {
        if group == Group::Flow {
            return Self::Flows(flows);
        }
        Self::grouped(&flows, group, lookup, |number| history.flow(number))
    }
}
