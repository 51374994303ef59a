//! One row of a table over a history.

use std::sync::Arc;
use std::time::Duration;

use super::process_lookup::ProcessRef;
use super::row_id::RowId;
use super::tcp_stats::RowTcpStats;
use crate::model::dns::DnsName;
use crate::model::flow::{Comm, Endpoint, Owner, Protocol};
use crate::model::peer_zone::PeerZone;
use crate::stats::history::{Clock, FlowStats, TrafficStats};
use crate::view::Directions;

/// What all flows of a row share; `None` where they differ.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SharedFields {
    pub protocol: Option<Protocol>,
    /// The socket's own end.
    pub local: Option<Endpoint>,
    pub remote: Option<Endpoint>,
    pub tgid: Option<u32>,
    pub comm: Option<Comm>,
    /// The latest record by the kernel of the process, if all flows belong to one.
    pub owner: Option<Arc<Owner>>,
    /// Whether both ends of all flows are known to be on this machine.
    pub internal: bool,
    /// The user's zone of the peer.
    pub zone: Option<Arc<PeerZone>>,
    /// Name that the peers of all flows were resolved from, with the least certain of their
    /// origins.
    pub dns_name: Option<Arc<DnsName>>,
}

/// One row of a table: a flow, or the sum of several.
#[derive(Clone, Debug)]
pub struct Row {
    pub id: RowId,
    /// Number of flows in it.
    pub flows: usize,
    /// What its flows share.
    pub common: SharedFields,
    pub traffic: TrafficStats,
    /// State of its TCP connections, and its packets.
    pub condition: RowTcpStats,
}

impl Row {
    /// The row of one flow.
    pub fn of(flow: &FlowStats, clock: &Clock) -> Self {
        Self {
            id: RowId::Flow(flow.key),
            flows: 1,
            common: SharedFields::of(flow),
            traffic: flow.traffic,
            condition: RowTcpStats::of(flow, clock),
        }
    }

    pub(super) fn add(&mut self, flow: &FlowStats, clock: &Clock) {
        self.flows += 1;
        let is_later = flow.traffic.last_seen() > self.traffic.last_seen();
        self.common.narrow(flow, is_later);
        self.traffic += &flow.traffic;
        self.condition.add(&RowTcpStats::of(flow, clock));
    }

    /// Returns the owning process, if all flows of the row share one.
    pub fn process_ref(&self) -> Option<ProcessRef<'_>> {
        Some(ProcessRef {
            tgid: self.common.tgid?,
            owner: self.common.owner.as_deref()?,
            when: self.traffic.last_seen(),
        })
    }

    /// Returns how long ago the last bytes moved this way; `None` if some did in the latest
    /// interval or none ever.
    pub fn idle(&self, directions: Directions, clock: &Clock) -> Option<Duration> {
        self.traffic
            .idle(directions, clock)
            .filter(|idle| !idle.is_zero())
    }
}

impl SharedFields {
    fn of(flow: &FlowStats) -> Self {
        Self {
            protocol: Some(flow.key.protocol),
            local: Some(flow.key.local),
            remote: Some(flow.key.remote),
            tgid: Some(flow.key.tgid),
            comm: Some(flow.owner.comm),
            owner: Some(Arc::clone(&flow.owner)),
            internal: flow.internal,
            zone: flow.zone.clone(),
            dns_name: flow.dns_name.clone(),
        }
    }

    /// Drops what a flow does not share. Copies nothing: the rows of a group may be of all flows.
    fn narrow(&mut self, flow: &FlowStats, is_later: bool) {
        fn keep<T: PartialEq>(mine: &mut Option<T>, theirs: Option<&T>) {
            if mine.as_ref() != theirs {
                *mine = None;
            }
        }
        let key = &flow.key;
        keep(&mut self.protocol, Some(&key.protocol));
        keep(&mut self.local, Some(&key.local));
        keep(&mut self.remote, Some(&key.remote));
        keep(&mut self.tgid, Some(&key.tgid));
        keep(&mut self.comm, Some(&flow.owner.comm));
        self.dns_name = DnsName::shared(self.dns_name.take(), &flow.dns_name);
        self.internal &= flow.internal;
        keep(&mut self.zone, flow.zone.as_ref());
        if self.tgid.is_none() {
            self.owner = None;
        } else if is_later {
            self.owner = Some(Arc::clone(&flow.owner));
        }
    }
}
