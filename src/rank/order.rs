//! The order of rows by any column.

use std::cmp::Reverse;
use std::sync::Arc;
use std::time::Duration;

use super::facts::Facts;
use super::id::RowId;
use super::rows::{Row, View};
use crate::flow::{Comm, Endpoint, Protocol};
use crate::history::Clock;
use crate::table::Column;

/// A place in the order of rows: more is nearer to the top. Unknown values come last either way.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Order(Place, Reverse<RowId>);

#[derive(PartialEq, Eq, PartialOrd, Ord)]
enum Place {
    Unknown,
    Up(Reverse<Value>),
    Down(Value),
}

#[derive(PartialEq, Eq, PartialOrd, Ord)]
enum Value {
    Whole(u64),
    Real(Real),
    Span(Duration),
    End(Endpoint),
    Name(Comm),
    Text(Arc<str>),
    Protocol(Protocol),
}

/// A number that can be put in order.
struct Real(f64);

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

impl Order {
    pub(super) fn new(view: &View, clock: &Clock, facts: &dyn Facts, row: &Row) -> Self {
        let place = match value(row, view, clock, facts) {
            None => Place::Unknown,
            Some(value) if view.sort.descending => Place::Down(value),
            Some(value) => Place::Up(Reverse(value)),
        };
        Self(place, Reverse(row.id.clone()))
    }
}

/// What a row is sorted by.
fn value(row: &Row, view: &View, clock: &Clock, facts: &dyn Facts) -> Option<Value> {
    let figures = &row.figures;
    let way = view.way;
    let real = |value| Some(Value::Real(Real(value)));
    let (condition, who) = (&row.condition, row.who());
    match view.sort.column {
        // All over the same time, so bytes give the same order and are exact.
        Column::Rate | Column::Share | Column::Spark => Some(Value::Whole(way.bytes(&figures.now))),
        Column::Rx => Some(Value::Whole(figures.now.rx_bytes)),
        Column::Tx => Some(Value::Whole(figures.now.tx_bytes)),
        Column::Msgs => Some(Value::Whole(way.msgs(&figures.now))),
        Column::Total => Some(Value::Whole(way.bytes(&figures.total))),
        Column::Avg10 => real(figures.avg10(way)),
        Column::Avg60 => real(figures.avg60(way)),
        Column::Average => real(figures.average(way, clock)),
        Column::Peak => real(figures.peak(way)?),
        Column::Flows => Some(Value::Whole(row.flows as u64)),
        Column::Age => Some(Value::Span(figures.age(clock))),
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
        Column::Packets => condition.packets(way).map(Value::Whole),
        Column::Srtt => condition.srtt_us.map(|us| Value::Whole(us.into())),
        Column::Retransmits => condition.retransmits.map(Value::Whole),
        Column::Cwnd => condition.cwnd.map(|cwnd| Value::Whole(cwnd.into())),
    }
}
