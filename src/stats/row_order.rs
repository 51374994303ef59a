//! The order of an interval's flows or groups by any column that one interval has values for.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use super::groups::GroupTotals;
use super::order::SortKeyValue;
use super::process_lookup::{ProcessLookup, ProcessRef};
use super::ranking::Ranked;
use super::row_id::RowId;
use crate::model::flow::{Comm, Counters, Endpoint, Flow, Protocol};
use crate::model::net::Net;
use crate::view::{Column, Directions, Number, RowValues, SortBy, SortKey, SortValue, Traffic};

/// The order of rows, and what the first N of them are chosen from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RowOrder {
    /// A column with [`Column::is_of_one_interval`], and its direction.
    pub sort: SortKey,
    /// Whether rows are one list, and not a section for each direction.
    pub is_list: bool,
}

/// Where to ask for what rows do not hold, and at what time.
pub(super) struct Facts<'a> {
    pub(super) lookup: &'a dyn ProcessLookup,
    pub(super) ended: SystemTime,
}

impl Facts<'_> {
    fn process<'a>(&self, tgid: u32, owner: &'a crate::model::flow::Owner) -> ProcessRef<'a> {
        ProcessRef {
            tgid,
            owner,
            when: self.ended,
        }
    }
}

/// Returns what a row is sorted by in a table of these directions.
pub(super) fn sort_key(
    row: &impl Ranked,
    sort: SortKey,
    directions: Directions,
    facts: &Facts<'_>,
) -> SortKeyValue {
    let value = match (sort.column, sort.column.spec().sort_by) {
        // All that an interval moved, whichever section the row is in.
        (Column::Total, _) => {
            let bytes = Directions::Both.bytes(row.counters());
            Some(SortValue::Number(Number::Int(bytes)))
        }
        (_, SortBy::Traffic(number)) => {
            let number = number(&OneInterval(row.counters()), directions);
            Some(SortValue::Number(number))
        }
        (_, SortBy::Row(value)) => row.sort_value(value, directions, facts),
    };
    SortKeyValue::new(sort, value)
}

/// Reads a column's value of a row.
pub(super) type RowValue = fn(&dyn RowValues, Directions) -> Option<SortValue>;

/// What moved in one interval; there is no history.
struct OneInterval<'a>(&'a Counters);

impl Traffic for OneInterval<'_> {
    fn now(&self) -> &Counters {
        self.0
    }

    fn total(&self) -> &Counters {
        self.0
    }

    fn avg10(&self, _: Directions) -> f64 {
        0.0
    }

    fn avg60(&self, _: Directions) -> f64 {
        0.0
    }

    fn average(&self, _: Directions) -> f64 {
        0.0
    }

    fn age(&self) -> Duration {
        Duration::ZERO
    }
}

/// The values of a flow.
pub(super) struct FlowValues<'a>(pub &'a Flow, pub &'a Facts<'a>);

impl RowValues for FlowValues<'_> {
    fn flows(&self) -> usize {
        1
    }

    fn peak(&self, _: Directions) -> Option<f64> {
        None
    }

    fn protocol(&self) -> Option<Protocol> {
        Some(self.0.key.protocol)
    }

    fn local(&self) -> Option<Endpoint> {
        Some(self.0.key.local)
    }

    fn remote(&self) -> Option<Endpoint> {
        Some(self.0.key.remote)
    }

    fn pid(&self) -> Option<u32> {
        Some(self.0.key.tgid)
    }

    fn process(&self) -> Option<Comm> {
        Some(self.0.owner.comm)
    }

    fn user(&self) -> Option<Arc<str>> {
        let process = self.1.process(self.0.key.tgid, &self.0.owner);
        self.1.lookup.user(&process)
    }

    fn container(&self) -> Option<Arc<str>> {
        let process = self.1.process(self.0.key.tgid, &self.0.owner);
        self.1.lookup.place(&process)
    }

    fn packets(&self, directions: Directions) -> Option<u64> {
        self.0.packets.map(|packets| directions.packets(&packets))
    }

    fn srtt_us(&self) -> Option<u32> {
        let tcp = self.0.tcp.as_ref();
        tcp.map(|tcp| tcp.srtt_us).filter(|&us| us > 0)
    }

    fn retransmits(&self) -> Option<u64> {
        self.0.tcp.as_ref()?.retransmits.map(u64::from)
    }

    fn cwnd(&self) -> Option<u32> {
        self.0.tcp.as_ref().map(|tcp| tcp.cwnd)
    }
}

/// The values of a group; those of connections are not sums, so a group has none.
pub(super) struct GroupValues<'a>(pub &'a GroupTotals, pub &'a Facts<'a>);

impl GroupValues<'_> {
    fn process_ref(&self) -> Option<ProcessRef<'_>> {
        let (tgid, owner) = self.0.process.as_ref()?;
        Some(self.1.process(*tgid, owner))
    }
}

impl RowValues for GroupValues<'_> {
    fn flows(&self) -> usize {
        self.0.flows
    }

    fn peak(&self, _: Directions) -> Option<f64> {
        None
    }

    fn protocol(&self) -> Option<Protocol> {
        match self.0.id {
            RowId::Port(protocol, _) => Some(protocol),
            _ => None,
        }
    }

    fn local(&self) -> Option<Endpoint> {
        None
    }

    fn remote(&self) -> Option<Endpoint> {
        match self.0.id {
            RowId::Remote(addr) | RowId::Net(Net { addr, .. }) => Some(Endpoint::new(addr, 0)),
            _ => None,
        }
    }

    fn pid(&self) -> Option<u32> {
        self.0.process.as_ref().map(|(tgid, _)| *tgid)
    }

    fn process(&self) -> Option<Comm> {
        match self.0.id {
            RowId::Program(comm, _) => Some(comm),
            _ => self.0.process.as_ref().map(|(_, owner)| owner.comm),
        }
    }

    fn user(&self) -> Option<Arc<str>> {
        match self.0.id {
            RowId::User(uid) => self.1.lookup.user_name(uid),
            _ => self.1.lookup.user(&self.process_ref()?),
        }
    }

    fn container(&self) -> Option<Arc<str>> {
        match &self.0.id {
            RowId::Container(place) => Some(place.to_string().into()),
            RowId::Unit(name) => Some(Arc::clone(name)),
            RowId::Without(_) => None,
            _ => self.1.lookup.place(&self.process_ref()?),
        }
    }

    fn packets(&self, directions: Directions) -> Option<u64> {
        self.0.packets.map(|packets| directions.packets(&packets))
    }

    fn srtt_us(&self) -> Option<u32> {
        None
    }

    fn retransmits(&self) -> Option<u64> {
        self.0.retransmits()
    }

    fn cwnd(&self) -> Option<u32> {
        None
    }
}
