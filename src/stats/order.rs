//! The order of rows by any column.

use std::cmp::Reverse;
use std::sync::Arc;

use super::process_lookup::ProcessLookup;
use super::row_id::RowId;
use super::rows::{Row, RowQuery};
use crate::model::flow::{Comm, Endpoint, Protocol};
use crate::stats::history::{Clock, TrafficStats};
use crate::view::Column;

/// A place in the order of rows: more is nearer to the top. Unknown values come last either way. Equal
/// ones are in the order of their ids.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum SortKeyValue {
    Unknown,
    Up(Reverse<CellValue>),
    Down(CellValue),
}

/// What a row is sorted by.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum CellValue {
    Int(u64),
    Float(Real),
    End(Endpoint),
    Name(Comm),
    Text(Arc<str>),
    Protocol(Protocol),
}

/// A number that can be put in order.
pub(super) struct Real(f64);

impl Ord for Real {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.0.total_cmp(&other.0)
    }
}

impl PartialOrd for Real {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Real {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Real {}

impl SortKeyValue {
    /// Where a column is of no figures.
    pub(super) fn new(view: &RowQuery, lookup: &dyn ProcessLookup, row: &Row) -> Self {
        match value(row, view, lookup) {
            None => Self::Unknown,
            Some(value) if view.sort.descending => Self::Down(value),
            Some(value) => Self::Up(Reverse(value)),
        }
    }
}

/// What rows are sorted by where their figures tell, as a number of the same order: they are many, and
/// small numbers are sorted in a third of the time. `None` for other columns.
pub(super) fn number(view: &RowQuery, clock: &Clock, traffic: &TrafficStats) -> Option<u64> {
    let directions = view.directions;
    Some(match view.sort.column {
        // All over the same time, so bytes give the same order and are exact.
        Column::Rate | Column::Share | Column::Spark => directions.bytes(&traffic.now),
        Column::Rx => traffic.now.rx_bytes,
        Column::Tx => traffic.now.tx_bytes,
        Column::Msgs => directions.msgs(&traffic.now),
        Column::Total => directions.bytes(&traffic.total),
        // Bits of numbers that are not negative are in their order.
        Column::Avg10 => traffic.avg10(directions).max(0.0).to_bits(),
        Column::Avg60 => traffic.avg60(directions).max(0.0).to_bits(),
        Column::Average => traffic.average(directions, clock).max(0.0).to_bits(),
        Column::Age => traffic.age(clock).as_nanos() as u64,
        _ => return None,
    })
}

/// What a row is sorted by where they do not.
fn value(row: &Row, view: &RowQuery, lookup: &dyn ProcessLookup) -> Option<CellValue> {
    let (condition, process_ref) = (&row.condition, row.process_ref());
    match view.sort.column {
        Column::Peak => Some(CellValue::Float(Real(row.traffic.peak(view.directions)?))),
        Column::Flows => Some(CellValue::Int(row.flows as u64)),
        Column::Protocol => row.common.protocol.map(CellValue::Protocol),
        Column::Local => row.common.local.map(CellValue::End),
        Column::Remote => match (&row.id, row.common.remote) {
            (RowId::Remote(addr) | RowId::Net(addr, _), _) => {
                Some(CellValue::End(Endpoint::new(*addr, 0)))
            }
            (_, remote) => remote.map(CellValue::End),
        },
        Column::Pid => row.common.tgid.map(|tgid| CellValue::Int(tgid.into())),
        Column::Process => row.common.comm.map(CellValue::Name),
        Column::User => match &row.id {
            RowId::User(uid) => lookup.user_name(*uid),
            _ => lookup.user(&process_ref?),
        }
        .map(CellValue::Text),
        Column::Container => match &row.id {
            RowId::Container(place) => Some(CellValue::Text(place.to_string().into())),
            RowId::Unit(name) => Some(CellValue::Text(Arc::clone(name))),
            RowId::Without(_) => None,
            _ => lookup.place(&process_ref?).map(CellValue::Text),
        },
        Column::Packets => condition.packets(view.directions).map(CellValue::Int),
        Column::Srtt => condition.srtt_us.map(|us| CellValue::Int(us.into())),
        Column::Retransmits => condition.retransmits.map(CellValue::Int),
        Column::Cwnd => condition.cwnd.map(|cwnd| CellValue::Int(cwnd.into())),
        // All others are numbers.
        _ => None,
    }
}
