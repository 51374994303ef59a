//! The order of rows by any column.

use std::cmp::Reverse;
use std::sync::Arc;

use super::process_lookup::ProcessLookup;
use super::row_id::RowId;
use super::rows::{Row, View};
use crate::model::flow::{Comm, Endpoint, Protocol};
use crate::stats::history::{Clock, TrafficStats};
use crate::view::Column;

/// A place in the order of rows: more is nearer to the top. Unknown values come last either way. Equal
/// ones are in the order of their ids.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Place {
    Unknown,
    Up(Reverse<Value>),
    Down(Value),
}

/// What a row is sorted by.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Value {
    Whole(u64),
    Real(Real),
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

impl Place {
    /// Where a column is of no figures.
    pub(super) fn new(view: &View, facts: &dyn ProcessLookup, row: &Row) -> Self {
        match value(row, view, facts) {
            None => Self::Unknown,
            Some(value) if view.sort.descending => Self::Down(value),
            Some(value) => Self::Up(Reverse(value)),
        }
    }
}

/// What rows are sorted by where their figures tell, as a number of the same order: they are many, and
/// small numbers are sorted in a third of the time. `None` for other columns.
pub(super) fn number(view: &View, clock: &Clock, figures: &TrafficStats) -> Option<u64> {
    let way = view.way;
    Some(match view.sort.column {
        // All over the same time, so bytes give the same order and are exact.
        Column::Rate | Column::Share | Column::Spark => way.bytes(&figures.now),
        Column::Rx => figures.now.rx_bytes,
        Column::Tx => figures.now.tx_bytes,
        Column::Msgs => way.msgs(&figures.now),
        Column::Total => way.bytes(&figures.total),
        // Bits of numbers that are not negative are in their order.
        Column::Avg10 => figures.avg10(way).max(0.0).to_bits(),
        Column::Avg60 => figures.avg60(way).max(0.0).to_bits(),
        Column::Average => figures.average(way, clock).max(0.0).to_bits(),
        Column::Age => figures.age(clock).as_nanos() as u64,
        _ => return None,
    })
}

/// What a row is sorted by where they do not.
fn value(row: &Row, view: &View, facts: &dyn ProcessLookup) -> Option<Value> {
    let (condition, who) = (&row.condition, row.who());
    match view.sort.column {
        Column::Peak => Some(Value::Real(Real(row.figures.peak(view.way)?))),
        Column::Flows => Some(Value::Whole(row.flows as u64)),
        Column::Protocol => row.common.protocol.map(Value::Protocol),
        Column::Local => row.common.local.map(Value::End),
        Column::Remote => match (&row.id, row.common.remote) {
            (RowId::Remote(addr) | RowId::Net(addr, _), _) => {
                Some(Value::End(Endpoint::new(*addr, 0)))
            }
            (_, remote) => remote.map(Value::End),
        },
        Column::Pid => row.common.tgid.map(|tgid| Value::Whole(tgid.into())),
        Column::Process => row.common.comm.map(Value::Name),
        Column::User => match &row.id {
            RowId::User(uid) => facts.user_name(*uid),
            _ => facts.user(&who?),
        }
        .map(Value::Text),
        Column::Container => match &row.id {
            RowId::Container(place) => Some(Value::Text(place.to_string().into())),
            RowId::Unit(name) => Some(Value::Text(Arc::clone(name))),
            RowId::Without(_) => None,
            _ => facts.place(&who?).map(Value::Text),
        },
        Column::Packets => condition.packets(view.way).map(Value::Whole),
        Column::Srtt => condition.srtt_us.map(|us| Value::Whole(us.into())),
        Column::Retransmits => condition.retransmits.map(Value::Whole),
        Column::Cwnd => condition.cwnd.map(|cwnd| Value::Whole(cwnd.into())),
        // All others are numbers.
        _ => None,
    }
}
