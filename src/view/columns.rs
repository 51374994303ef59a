//! The columns of tables: one entry per column with its name, its description and its sort key. The
//! drawing half of a column is in `tui/draw/column_table`.

use std::sync::Arc;
use std::time::Duration;

use super::Directions;
use crate::model::flow::{Comm, Counters, Endpoint, Flow, Protocol};

/// The definition of a column, used on the command line, in rankings and on the screen.
#[derive(Clone, Copy, Debug)]
pub struct ColumnSpec {
    /// The name on the command line and in the configuration file.
    pub name: &'static str,
    /// What the column shows, in a few words for help and the chooser.
    pub about: &'static str,
    /// Whether it holds numbers: right-aligned, and largest first when first sorted by.
    pub is_number: bool,
    /// The sort key of rows in this column.
    pub sort_by: SortBy,
    /// Whether values vary from interval to interval, so that a row moves only for a larger change.
    pub jitters: bool,
    /// Whether a flow has a value in this column; `None` if every flow has one. A column without
    /// any value so far is hidden.
    pub is_known: Option<fn(&Flow) -> bool>,
}

/// The sort key of rows in a column.
#[derive(Clone, Copy, Debug)]
pub enum SortBy {
    /// By traffic: known for every row, and read without building the row.
    Traffic(fn(&dyn Traffic, Directions) -> Number),
    /// By any other value; a row without a value (`None`) comes last.
    Row(fn(&dyn RowValues, Directions) -> Option<SortValue>),
}

/// The traffic of a row, for sorting.
pub trait Traffic {
    /// Counters of the latest interval.
    fn now(&self) -> &Counters;

    /// Counters since first seen.
    fn total(&self) -> &Counters;

    /// Average over 10 s, in bytes a second.
    fn avg10(&self, directions: Directions) -> f64;

    /// Average over 60 s, in bytes a second.
    fn avg60(&self, directions: Directions) -> f64;

    /// Average since first seen, in bytes a second.
    fn average(&self, directions: Directions) -> f64;

    /// Time since first seen.
    fn age(&self) -> Duration;
}

/// The other values of a row, for sorting; `None` if unknown, or if the row's flows differ.
pub trait RowValues {
    /// Number of flows in the row.
    fn flows(&self) -> usize;

    /// Largest rate of an interval, in bytes a second.
    fn peak(&self, directions: Directions) -> Option<f64>;

    fn protocol(&self) -> Option<Protocol>;

    /// The socket's own end.
    fn local(&self) -> Option<Endpoint>;

    /// The peer: of a row by remote address or net, that address and port 0.
    fn remote(&self) -> Option<Endpoint>;

    fn pid(&self) -> Option<u32>;

    /// Name of the process.
    fn process(&self) -> Option<Comm>;

    /// Name of the user.
    fn user(&self) -> Option<Arc<str>>;

    /// Name of the container, pod or unit.
    fn container(&self) -> Option<Arc<str>>;

    /// Packets in the latest interval.
    fn packets(&self, directions: Directions) -> Option<u64>;

    /// Smoothed round-trip time in microseconds.
    fn srtt_us(&self) -> Option<u32>;

    /// Segments retransmitted in the latest interval.
    fn retransmits(&self) -> Option<u64>;

    /// Host name that the peer was resolved from.
    fn host(&self) -> Option<Arc<str>>;

    /// The user's zone of the peer.
    fn zone(&self) -> Option<Arc<str>>;

    /// Estimated cost of the latest interval, in units of money.
    fn cost(&self, directions: Directions) -> Option<f64>;

    /// Congestion window in segments.
    fn cwnd(&self) -> Option<u32>;
}

/// Number that rows are sorted by. All rows of one column have the same variant.
#[derive(Clone, Copy, Debug)]
pub enum Number {
    Int(u64),
    /// A quantity that is never negative: a value below zero is a rounding error and sorted as
    /// zero.
    Float(f64),
}

/// The sort value of a row. All rows of one column have the same variant.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum SortValue {
    /// Of a column of numbers.
    Number(Number),
    /// By address, then port.
    End(Endpoint),
    /// By the bytes of a process name.
    Name(Comm),
    /// By the bytes of a text.
    Text(Arc<str>),
    /// By the number of a protocol.
    Protocol(Protocol),
}

impl Number {
    /// Returns an integer of the same order. The bits of non-negative floats have the order of the
    /// floats.
    pub fn order(self) -> u64 {
        match self {
            Self::Int(number) => number,
            Self::Float(number) => number.max(0.0).to_bits(),
        }
    }

    /// Returns the number as a float, to compare it with others of its column.
    pub fn value(self) -> f64 {
        match self {
            Self::Int(number) => number as f64,
            Self::Float(number) => number,
        }
    }
}

impl Ord for Number {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.order().cmp(&other.order())
    }
}

impl PartialOrd for Number {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Number {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Number {}

impl SortValue {
    fn int(number: impl Into<u64>) -> Self {
        Self::Number(Number::Int(number.into()))
    }
}

impl ColumnSpec {
    const fn number(name: &'static str, about: &'static str, sort_by: SortBy) -> Self {
        Self {
            name,
            about,
            is_number: true,
            sort_by,
            jitters: false,
            is_known: None,
        }
    }

    const fn text(
        name: &'static str,
        about: &'static str,
        sort_by: fn(&dyn RowValues, Directions) -> Option<SortValue>,
    ) -> Self {
        Self {
            is_number: false,
            ..Self::number(name, about, Row(sort_by))
        }
    }

    const fn jitters(self) -> Self {
        Self {
            jitters: true,
            ..self
        }
    }

    const fn known_if(self, is_known: fn(&Flow) -> bool) -> Self {
        Self {
            is_known: Some(is_known),
            ..self
        }
    }
}

/// Makes the enum, the list and the table of columns from one entry each.
macro_rules! columns {
    ($($(#[$doc:meta])* $column:ident => $spec:expr,)*) => {
        /// A column that a table can have.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Column {
            $($(#[$doc])* $column,)*
        }

        impl Column {
            /// Every column, in the order in which a wide table shows them.
            pub const ALL: [Self; [$(stringify!($column)),*].len()] = [$(Self::$column),*];

            /// Returns its entry in the table.
            pub const fn spec(self) -> &'static ColumnSpec {
                match self {
                    $(Self::$column => const { &$spec },)*
                }
            }
        }
    };
}

use Number::{Float, Int};
use SortBy::{Row, Traffic as Moved};

columns! {
    Process => ColumnSpec::text(
        "process",
        "process name",
        |row, _| row.process().map(SortValue::Name),
    ),
    Pid => ColumnSpec::number(
        "pid",
        "process id",
        Row(|row, _| row.pid().map(SortValue::int)),
    ),
    /// Bytes a second over the latest interval, in the directions of the table.
    Rate => ColumnSpec::number(
        "rate",
        "rate over the latest interval",
        // All rows have the same interval, so bytes have the order of rates and are exact.
        Moved(|row, directions| Int(directions.bytes(row.now()))),
    )
    .jitters(),
    /// Bytes a second received, for a combined table.
    Rx => ColumnSpec::number(
        "rx",
        "rate in",
        Moved(|row, _| Int(row.now().rx_bytes)),
    )
    .jitters(),
    /// Bytes a second sent, for a combined table.
    Tx => ColumnSpec::number(
        "tx",
        "rate out",
        Moved(|row, _| Int(row.now().tx_bytes)),
    )
    .jitters(),
    /// Mean rate, weighted exponentially over 10 s.
    Avg10 => ColumnSpec::number(
        "10s",
        "average over 10 s",
        Moved(|row, directions| Float(row.avg10(directions))),
    )
    .jitters(),
    /// Mean rate, weighted exponentially over 60 s.
    Avg60 => ColumnSpec::number(
        "60s",
        "average over 60 s",
        Moved(|row, directions| Float(row.avg60(directions))),
    )
    .jitters(),
    Average => ColumnSpec::number(
        "average",
        "average since first seen",
        Moved(|row, directions| Float(row.average(directions))),
    ),
    Peak => ColumnSpec::number(
        "peak",
        "rate of the fastest interval",
        Row(|row, directions| row.peak(directions).map(|peak| SortValue::Number(Float(peak)))),
    ),
    Total => ColumnSpec::number(
        "total",
        "bytes since first seen",
        Moved(|row, directions| Int(directions.bytes(row.total()))),
    ),
    Share => ColumnSpec::number(
        "share",
        "share of the table's rate",
        Moved(|row, directions| Int(directions.bytes(row.now()))),
    )
    .jitters(),
    Spark => ColumnSpec::number(
        "spark",
        "the last minute as bars",
        Moved(|row, directions| Int(directions.bytes(row.now()))),
    )
    .jitters(),
    Flows => ColumnSpec::number(
        "flows",
        "flows in the row",
        Row(|row, _| Some(SortValue::int(row.flows() as u64))),
    ),
    Protocol => ColumnSpec::text(
        "proto",
        "transport protocol",
        |row, _| row.protocol().map(SortValue::Protocol),
    ),
    Remote => ColumnSpec::text(
        "remote",
        "remote address and port",
        |row, _| row.remote().map(SortValue::End),
    ),
    Local => ColumnSpec::text(
        "local",
        "local address and port",
        |row, _| row.local().map(SortValue::End),
    ),
    User => ColumnSpec::text(
        "user",
        "user of the process",
        |row, _| row.user().map(SortValue::Text),
    ),
    Container => ColumnSpec::text(
        "container",
        "container, pod or systemd unit",
        |row, _| row.container().map(SortValue::Text),
    ),
    Srtt => ColumnSpec::number(
        "srtt",
        "smoothed round-trip time of TCP",
        Row(|row, _| row.srtt_us().map(SortValue::int)),
    )
    .known_if(|flow| flow.tcp.is_some()),
    Retransmits => ColumnSpec::number(
        "retransmits",
        "TCP segments retransmitted in the interval",
        Row(|row, _| row.retransmits().map(SortValue::int)),
    )
    .known_if(|flow| flow.tcp.is_some_and(|tcp| tcp.retransmits.is_some())),
    Cwnd => ColumnSpec::number(
        "cwnd",
        "congestion window of TCP",
        Row(|row, _| row.cwnd().map(SortValue::int)),
    )
    .known_if(|flow| flow.tcp.is_some()),
    /// Messages a second: calls that moved bytes.
    Msgs => ColumnSpec::number(
        "msgs",
        "messages a second",
        Moved(|row, directions| Int(directions.msgs(row.now()))),
    )
    .jitters(),
    Packets => ColumnSpec::number(
        "packets",
        "packets a second",
        Row(|row, directions| row.packets(directions).map(SortValue::int)),
    )
    .jitters()
    .known_if(|flow| flow.packets.is_some()),
    /// Without the port, and nothing where no program resolved a name.
    Host => ColumnSpec::text(
        "host",
        "host name that a program resolved",
        |row, _| row.host().map(SortValue::Text),
    )
    .known_if(|flow| flow.dns_name.is_some()),
    Zone => ColumnSpec::text(
        "zone",
        "zone of the peer (--zones)",
        |row, _| row.zone().map(SortValue::Text),
    )
    .known_if(|flow| flow.zone.is_some()),
    /// Money an hour at the rate of the latest interval.
    Cost => ColumnSpec::number(
        "cost",
        "estimated cost an hour (--zones)",
        Row(|row, directions| row.cost(directions).map(|cost| SortValue::Number(Float(cost)))),
    )
    .jitters()
    .known_if(|flow| flow.zone.as_ref().is_some_and(|zone| zone.price.is_some())),
    Age => ColumnSpec::number(
        "age",
        "time since first seen",
        Moved(|row, _| Int(row.age().as_nanos() as u64)),
    ),
}

impl Column {
    /// Whether a single interval has values for it: text, JSON and CSV have no history.
    pub const fn is_of_one_interval(self) -> bool {
        !matches!(
            self,
            Self::Avg10
                | Self::Avg60
                | Self::Average
                | Self::Peak
                | Self::Share
                | Self::Spark
                | Self::Age
        )
    }

    /// The name on the command line and in the configuration file.
    pub const fn as_str(self) -> &'static str {
        self.spec().name
    }

    /// Returns the description, in a few words for help and the chooser.
    pub const fn about(self) -> &'static str {
        self.spec().about
    }

    /// Whether it holds numbers: right-aligned, and largest first when first sorted by.
    pub const fn is_number(self) -> bool {
        self.spec().is_number
    }
}
