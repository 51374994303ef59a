//! The order of rows: sort keys by the table of columns.

use std::cmp::Reverse;
use std::sync::Arc;
use std::time::Duration;

use super::process_lookup::ProcessLookup;
use super::row::Row;
use super::row_id::RowId;
use super::rows::Rows;
use crate::model::flow::{Comm, Counters, Endpoint, Protocol};
use crate::model::net::Net;
use crate::stats::history::{Clock, History, TrafficStats};
use crate::view::{Column, Directions, RowValues, SortBy, SortKey, SortValue, Traffic};

/// Sort key of a row: a larger one is nearer to the top. Unknown values come last in either order;
/// equal keys are ordered by row id.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum SortKeyValue {
    Unknown,
    Up(Reverse<SortValue>),
    Down(SortValue),
}

impl SortKeyValue {
    /// Returns the sort key of a row with this value.
    pub(super) fn new(sort: SortKey, value: Option<SortValue>) -> Self {
        match value {
            None => Self::Unknown,
            Some(value) if sort.descending => Self::Down(value),
            Some(value) => Self::Up(Reverse(value)),
        }
    }
}

/// Value of the row at an index for keeping it still: columns that jitter from interval to interval
/// are sorted again only past a threshold. `None` = sorted exactly.
pub fn steady_value(
    rows: &Rows,
    history: &History,
    n: usize,
    column: Column,
    lookup: &dyn ProcessLookup,
) -> Option<f64> {
    let directions = rows.directions();
    let spec = column.spec();
    if !spec.jitters {
        return None;
    }
    match spec.sort_by {
        SortBy::Traffic(number) => {
            let traffic = rows.traffic_at(history, n);
            Some(number(&TrafficAt(&traffic, &rows.clock), directions).value())
        }
        SortBy::Row(value) => {
            let row = rows.row(history, n)?;
            match value(&RowWith(&row, lookup), directions)? {
                SortValue::Number(number) => Some(number.value()),
                _ => None,
            }
        }
    }
}

/// A row's traffic, read by a clock.
pub(super) struct TrafficAt<'a>(pub &'a TrafficStats, pub &'a Clock);

impl Traffic for TrafficAt<'_> {
    fn now(&self) -> &Counters {
        &self.0.now
    }

    fn total(&self) -> &Counters {
        &self.0.total
    }

    fn avg10(&self, directions: Directions) -> f64 {
        self.0.avg10(directions)
    }

    fn avg60(&self, directions: Directions) -> f64 {
        self.0.avg60(directions)
    }

    fn average(&self, directions: Directions) -> f64 {
        self.0.average(directions, self.1)
    }

    fn age(&self) -> Duration {
        self.0.age(self.1)
    }
}

/// A row, and the look-ups for facts that it does not hold.
pub(super) struct RowWith<'a>(pub &'a Row, pub &'a dyn ProcessLookup);

impl RowValues for RowWith<'_> {
    fn flows(&self) -> usize {
        self.0.flows
    }

    fn peak(&self, directions: Directions) -> Option<f64> {
        self.0.traffic.peak(directions)
    }

    fn protocol(&self) -> Option<Protocol> {
        self.0.common.protocol
    }

    fn local(&self) -> Option<Endpoint> {
        self.0.common.local
    }

    fn remote(&self) -> Option<Endpoint> {
        match self.0.id {
            RowId::Remote(addr) | RowId::Net(Net { addr, .. }) => Some(Endpoint::new(addr, 0)),
            _ => self.0.common.remote,
        }
    }

    fn pid(&self) -> Option<u32> {
        self.0.common.tgid
    }

    fn process(&self) -> Option<Comm> {
        self.0.common.comm
    }

    fn user(&self) -> Option<Arc<str>> {
        match self.0.id {
            RowId::User(uid) => self.1.user_name(uid),
            _ => self.1.user(&self.0.process_ref()?),
        }
    }

    fn container(&self) -> Option<Arc<str>> {
        match &self.0.id {
            RowId::Container(location) | RowId::Pod(location) => Some(location.to_string().into()),
            RowId::Unit(name) | RowId::Named(_, name) => Some(Arc::clone(name)),
            RowId::Without(_) => None,
            _ => self.1.short_location(&self.0.process_ref()?),
        }
    }

    fn packets(&self, directions: Directions) -> Option<u64> {
        self.0.condition.packets(directions)
    }

    fn srtt_us(&self) -> Option<u32> {
        self.0.condition.srtt_us
    }

    fn retransmits(&self) -> Option<u64> {
        self.0.condition.retransmits
    }

    fn host(&self) -> Option<Arc<str>> {
        match &self.0.id {
            RowId::Host(name) => Some(Arc::clone(name)),
            _ => {
                let dns_name = self.0.common.dns_name.as_ref();
                dns_name.map(|dns| Arc::clone(&dns.name))
            }
        }
    }

    fn zone(&self) -> Option<Arc<str>> {
        match &self.0.id {
            RowId::Zone(name) => Some(Arc::clone(name)),
            _ => self
                .0
                .common
                .zone
                .as_ref()
                .map(|zone| Arc::clone(&zone.name)),
        }
    }

    fn cost(&self, directions: Directions) -> Option<f64> {
        self.0.condition.cost.map(|cost| directions.cost(cost))
    }

    fn cwnd(&self) -> Option<u32> {
        self.0.condition.cwnd
    }
}
