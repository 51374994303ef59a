//! Rows of a ranking: their keys, their sums, and their order by any column that has values for a
//! single interval.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use super::order::SortKeyValue;
use super::process_lookup::{ProcessLookup, ProcessRef};
use crate::model::flow::{Comm, Counters, Endpoint, Flow, FlowKey, Owner, Protocol};
use crate::view::{Column, Directions, Number, RowValues, SortBy, SortKey, SortValue, Traffic};

/// A type that can be a row of a ranking.
pub trait Ranked: Clone {
    /// Returns the identity of the row, which orders equal rows.
    type Key: Ord;

    fn key(&self) -> Self::Key;

    fn counters(&self) -> &Counters;

    /// Returns the number of flows.
    fn flows(&self) -> usize;

    /// Returns a column's value of the row.
    #[expect(private_interfaces, reason = "only rankings sort rows")]
    fn sort_value(
        &self,
        value: RowValue,
        directions: Directions,
        facts: &Facts<'_>,
    ) -> Option<SortValue>;
}

impl Ranked for Flow {
    type Key = FlowKey;

    fn key(&self) -> FlowKey {
        self.key
    }

    fn counters(&self) -> &Counters {
        &self.counters
    }

    fn flows(&self) -> usize {
        1
    }

    #[expect(private_interfaces, reason = "only rankings sort rows")]
    fn sort_value(
        &self,
        value: RowValue,
        directions: Directions,
        facts: &Facts<'_>,
    ) -> Option<SortValue> {
        value(&FlowValues(self, facts), directions)
    }
}

/// The order by which the first N rows are chosen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RowOrder {
    /// A column with [`Column::is_of_one_interval`], and its direction.
    pub sort: SortKey,
    /// Whether all rows are one list, instead of a section per direction.
    pub is_list: bool,
}

/// The look-ups for facts that rows do not hold, and the time that they are for.
pub(super) struct Facts<'a> {
    pub(super) lookup: &'a dyn ProcessLookup,
    pub(super) ended: SystemTime,
}

impl Facts<'_> {
    pub(super) fn process<'a>(&self, tgid: u32, owner: &'a Owner) -> ProcessRef<'a> {
        ProcessRef {
            tgid,
            owner,
            when: self.ended,
        }
    }
}

/// Returns the sort key of a row in a table of these directions.
pub(super) fn sort_key(
    row: &impl Ranked,
    sort: SortKey,
    directions: Directions,
    facts: &Facts<'_>,
) -> SortKeyValue {
    let value = match (sort.column, sort.column.spec().sort_by) {
        // Sums over both directions, whichever section the row is in.
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

/// Traffic of one interval; there is no history.
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
struct FlowValues<'a>(pub &'a Flow, pub &'a Facts<'a>);

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
        self.1.lookup.short_location(&process)
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

    fn host(&self) -> Option<Arc<str>> {
        let dns_name = self.0.dns_name.as_ref();
        dns_name.map(|dns| Arc::clone(&dns.name))
    }

    fn zone(&self) -> Option<Arc<str>> {
        self.0.zone.as_ref().map(|zone| Arc::clone(&zone.name))
    }

    fn cost(&self, directions: Directions) -> Option<f64> {
        self.0.cost().map(|cost| directions.cost(cost))
    }

    fn cwnd(&self) -> Option<u32> {
        self.0.tcp.as_ref().map(|tcp| tcp.cwnd)
    }
}
