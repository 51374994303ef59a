//! How each column is drawn: heading, width, drop rank, its cell in a row and in a sum line.
//! `view/columns` has its name, description and sort key.

use std::sync::LazyLock;

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;

use super::cells::{Cell, SumLine, age, in_short, per_second};
use super::columns::{LayoutRequest, cap};
use super::line::put;
use super::row_text::{FoundText, RowText};
use crate::model::interval::rate;
use crate::text::units::per_hour;
use crate::view::{Column, Directions, Group};

/// Usual gap before a column, in cells. Numbers are right-aligned, so one cell is enough for most.
const GAP: u16 = 2;
/// Maximum widths of the process id and of the process name of a flow, in cells.
const MAX_PID: u16 = 7;
/// Width of the number of processes of a program, as in `24 procs`.
const PROCESS_COUNT: u16 = 8;
const MAX_PROCESS: u16 = 15;
/// Widest name of a protocol: `udplite`.
const MAX_PROTOCOL: u16 = 7;
pub(super) const PROTOCOL_HEADING: &str = "PROTO";
/// Width of the column that rows are named in.
const TITLE: u16 = 24;

/// How one column is drawn.
pub struct ColumnDrawing {
    /// Heading, unless rows are named in the column.
    heading: &'static str,
    pub gap: u16,
    /// Whether the column is in the default set.
    is_default: bool,
    /// When the column leaves as the table narrows; `None` for a column that stays.
    pub leaves: Option<Leaving>,
    /// Whether the words of a sum line may be in this column.
    pub takes_words: bool,
    /// Whether such a table always has the column.
    pub stays: fn(&LayoutRequest) -> bool,
    /// Whether such a table can have the column.
    pub may_come: fn(&LayoutRequest) -> bool,
    /// Width, in cells, for choosing the columns that fit.
    pub width: fn(&LayoutRequest) -> u16,
    /// Final width, in cells, if the content so far determines it.
    pub size: fn(&LayoutRequest) -> Option<u16>,
    /// Adds the texts by which words find a row in this column: everything that its cell can show.
    /// `None` for a cell of measured values.
    pub found_by: Option<fn(&RowText, &mut FoundText)>,
    /// Draws the cell of a row.
    pub cell: fn(&Cell, &mut Buffer),
    /// Draws the cell of a sum line.
    pub sum: fn(&SumLine, &mut Buffer, Rect),
}

/// When a column leaves as the table narrows.
pub struct Leaving {
    /// Smaller ranks leave earlier. Ranks are multiples of ten, so that a new column fits in
    /// between.
    pub(super) rank: u16,
    /// Minimum room that must remain for the peer of a flow.
    pub ends: EndsRoom,
}

/// Room that a column must leave for the peer of a flow.
#[derive(Clone, Copy)]
pub enum EndsRoom {
    /// The minimum, with long host names too.
    Least,
    /// The minimum, or what long host names need.
    Usual,
    /// Plenty, or what long host names need.
    Plenty,
}

/// Columns in the order in which they leave as the width shrinks. Columns not listed stay.
pub static DROP_ORDER: LazyLock<Vec<Column>> = LazyLock::new(|| {
    let rank = |column: &Column| column.drawing().leaves.as_ref().map(|leaves| leaves.rank);
    let all = Column::ALL.into_iter();
    let mut order: Vec<Column> = all.filter(|column| rank(column).is_some()).collect();
    order.sort_by_key(rank);
    order
});

/// Columns of the default set, in the order of a wide table.
pub static DEFAULT: LazyLock<Vec<Column>> = LazyLock::new(|| {
    let all = Column::ALL.into_iter();
    all.filter(|column| column.drawing().is_default).collect()
});

const NUMBER: ColumnDrawing = ColumnDrawing {
    heading: "",
    gap: GAP,
    is_default: false,
    leaves: None,
    takes_words: false,
    stays: |_| false,
    may_come: |_| true,
    width: |_| 0,
    size: |_| None,
    found_by: None,
    cell: |_, _| {},
    sum: |_, _, _| {},
};

const RATE: ColumnDrawing = ColumnDrawing {
    width: |table| table.units.rate_width() as u16,
    ..NUMBER
};

const TEXT: ColumnDrawing = ColumnDrawing {
    takes_words: true,
    ..NUMBER
};

const fn leaves(rank: u16, ends: EndsRoom) -> Option<Leaving> {
    Some(Leaving { rank, ends })
}

impl Column {
    /// Returns how the column is drawn.
    pub(in crate::tui) fn drawing(self) -> &'static ColumnDrawing {
        match self {
            Self::Rate => &LATEST,
            Self::Rx => &RECEIVED,
            Self::Tx => &SENT,
            Self::Avg10 => &AVG10,
            Self::Avg60 => &AVG60,
            Self::Average => &AVERAGE,
            Self::Peak => &PEAK,
            Self::Total => &TOTAL,
            Self::Share => &SHARE,
            Self::Spark => &SPARK,
            Self::Flows => &FLOWS,
            Self::Protocol => &PROTOCOL,
            Self::Local => &LOCAL,
            Self::Remote => &REMOTE,
            Self::Pid => &PID,
            Self::Process => &PROCESS,
            Self::User => &USER,
            Self::Container => &CONTAINER,
            Self::Msgs => &MSGS,
            Self::Packets => &PACKETS,
            Self::Srtt => &SRTT,
            Self::Retransmits => &RETRANSMITS,
            Self::Cwnd => &CWND,
            Self::Host => &HOST,
            Self::Zone => &ZONE,
            Self::Cost => &COST,
            Self::Age => &AGE,
        }
    }

    /// Returns the heading in a table of such rows.
    pub(in crate::tui) fn heading(self, group: Group, directions: Directions) -> &'static str {
        match group.spec().title {
            Some((title, heading)) if title == self => heading,
            _ if self == Self::Rate => match directions {
                Directions::Rx => RECEIVED.heading,
                Directions::Tx => SENT.heading,
                Directions::Both => LATEST.heading,
            },
            _ => self.drawing().heading,
        }
    }
}

static LATEST: ColumnDrawing = ColumnDrawing {
    heading: "RATE",
    is_default: true,
    stays: |table| table.directions != Directions::Both && !table.totals,
    cell: |cell, buf| cell.rate_or_idle(buf, cell.table.directions),
    sum: |sum, buf, at| sum.rate(buf, at, rate(sum.bytes, sum.table.clock.elapsed)),
    ..RATE
};

static RECEIVED: ColumnDrawing = ColumnDrawing {
    heading: "IN",
    stays: |table| table.directions == Directions::Both && !table.totals,
    // The OUT column shows that a row is idle.
    cell: |cell, buf| {
        if cell.idle().is_none() {
            cell.rate_or_idle(buf, Directions::Rx);
        }
    },
    sum: |sum, buf, at| sum.rate(buf, at, rate(sum.now.rx_bytes, sum.table.clock.elapsed)),
    ..RATE
};

static SENT: ColumnDrawing = ColumnDrawing {
    heading: "OUT",
    gap: 1,
    stays: |table| table.directions == Directions::Both && !table.totals,
    cell: |cell, buf| cell.rate_or_idle(buf, Directions::Tx),
    sum: |sum, buf, at| sum.rate(buf, at, rate(sum.now.tx_bytes, sum.table.clock.elapsed)),
    ..RATE
};

static AVG10: ColumnDrawing = ColumnDrawing {
    heading: "10 s",
    gap: 1,
    is_default: true,
    leaves: leaves(170, EndsRoom::Least),
    cell: |cell, buf| cell.rate(buf, cell.row.traffic.avg10(cell.table.directions)),
    sum: |sum, buf, at| {
        if let Some([avg10, _]) = sum.averages {
            sum.rate(buf, at, avg10);
        }
    },
    ..RATE
};

static AVG60: ColumnDrawing = ColumnDrawing {
    heading: "60 s",
    gap: 1,
    is_default: true,
    leaves: leaves(110, EndsRoom::Usual),
    cell: |cell, buf| cell.rate(buf, cell.row.traffic.avg60(cell.table.directions)),
    sum: |sum, buf, at| {
        if let Some([_, avg60]) = sum.averages {
            sum.rate(buf, at, avg60);
        }
    },
    ..RATE
};

static AVERAGE: ColumnDrawing = ColumnDrawing {
    heading: "AVERAGE",
    gap: 1,
    leaves: leaves(20, EndsRoom::Usual),
    cell: |cell, buf| {
        let average = cell
            .row
            .traffic
            .average(cell.table.directions, &cell.table.clock);
        cell.rate(buf, average);
    },
    ..RATE
};

static PEAK: ColumnDrawing = ColumnDrawing {
    heading: "PEAK",
    gap: 1,
    is_default: true,
    leaves: leaves(100, EndsRoom::Usual),
    may_come: |table| table.group == Group::Flow,
    cell: |cell, buf| {
        if let Some(peak) = cell.row.traffic.peak(cell.table.directions) {
            cell.rate(buf, peak);
        }
    },
    ..RATE
};

static TOTAL: ColumnDrawing = ColumnDrawing {
    heading: "TOTAL",
    is_default: true,
    leaves: leaves(90, EndsRoom::Usual),
    stays: |table| table.totals,
    width: |table| (table.units.amount_width() as u16).max(7),
    cell: |cell, buf| cell.total(buf),
    sum: |sum, buf, at| {
        if sum.table.totals {
            sum.right(buf, at, &sum.display.amount_cell(sum.bytes));
        }
    },
    ..NUMBER
};

static SHARE: ColumnDrawing = ColumnDrawing {
    heading: "SHARE",
    gap: 1,
    is_default: true,
    leaves: leaves(140, EndsRoom::Usual),
    width: |_| 5,
    cell: |cell, buf| cell.share(buf),
    sum: |sum, buf, at| sum.share(buf, at),
    ..NUMBER
};

/// `Section::draw_sparks` draws the cells of this column.
static SPARK: ColumnDrawing = ColumnDrawing {
    heading: "LAST MINUTE",
    is_default: true,
    leaves: leaves(85, EndsRoom::Plenty),
    width: |_| 12,
    ..NUMBER
};

static FLOWS: ColumnDrawing = ColumnDrawing {
    heading: "FLOWS",
    gap: 1,
    leaves: leaves(135, EndsRoom::Usual),
    // Rows of processes rarely have many flows, and name their peers.
    stays: |table| !table.group.is_named_in(Column::Process) && table.group != Group::Flow,
    may_come: |table| table.group != Group::Flow,
    width: |_| 5,
    cell: |cell, buf| cell.right(buf, &cell.row.flows.to_string()),
    ..NUMBER
};

static PROTOCOL: ColumnDrawing = ColumnDrawing {
    heading: PROTOCOL_HEADING,
    is_default: true,
    leaves: leaves(150, EndsRoom::Least),
    may_come: |table| table.group == Group::Flow,
    // A longer name takes room from the ends, so that no column comes or goes for it.
    width: |_| PROTOCOL_HEADING.len() as u16,
    size: |table| Some(cap(table.widths.protocol, MAX_PROTOCOL)),
    found_by: Some(|text, found| text.find_protocol(found)),
    cell: |cell, buf| {
        if let Some(protocol) = cell.text().protocol() {
            put(buf, cell.at, 0, protocol, cell.plain);
        }
    },
    ..NUMBER
};

static LOCAL: ColumnDrawing = ColumnDrawing {
    heading: "LOCAL",
    gap: 1,
    is_default: true,
    leaves: leaves(160, EndsRoom::Usual),
    stays: |table| table.group.is_named_in(Column::Local),
    may_come: |table| table.group == Group::Flow,
    found_by: Some(|text, found| text.find_local(found)),
    cell: |cell, buf| cell.local(buf),
    ..TEXT
};

static REMOTE: ColumnDrawing = ColumnDrawing {
    heading: "PEER",
    is_default: true,
    stays: |table| table.names_rows(Column::Remote) || table.shows_peers(),
    found_by: Some(|text, found| text.find_remote(found)),
    cell: |cell, buf| cell.peer(buf),
    ..TEXT
};

static PID: ColumnDrawing = ColumnDrawing {
    heading: "PID",
    gap: 1,
    is_default: true,
    leaves: leaves(180, EndsRoom::Least),
    may_come: |table| table.group.spec().is_of_process || table.group == Group::Program,
    found_by: Some(|text, found| text.find_pid(found)),
    width: |table| match table.group {
        Group::Program => PROCESS_COUNT,
        _ => MAX_PID,
    },
    size: |table| match table.group {
        Group::Program => None,
        _ => Some(cap(table.widths.pid, MAX_PID)),
    },
    cell: |cell, buf| cell.pid(buf),
    ..NUMBER
};

static PROCESS: ColumnDrawing = ColumnDrawing {
    heading: "PROCESS",
    is_default: true,
    stays: |table| table.names_rows(Column::Process),
    width: |table| match table.group {
        Group::Process | Group::Thread => TITLE,
        _ => MAX_PROCESS,
    },
    size: |table| {
        let is_capped = table.group == Group::Flow;
        is_capped.then(|| cap(table.widths.process, MAX_PROCESS))
    },
    found_by: Some(|text, found| text.find_process(found)),
    cell: |cell, buf| cell.process(buf),
    ..TEXT
};

static USER: ColumnDrawing = ColumnDrawing {
    heading: "USER",
    is_default: true,
    leaves: leaves(40, EndsRoom::Plenty),
    stays: |table| table.group.is_named_in(Column::User),
    may_come: |table| table.group.spec().is_of_process,
    width: |table| {
        if table.group.is_named_in(Column::User) {
            16
        } else {
            8
        }
    },
    found_by: Some(|text, found| text.find_user(found)),
    cell: |cell, buf| cell.user(buf),
    ..TEXT
};

static CONTAINER: ColumnDrawing = ColumnDrawing {
    heading: "CONTAINER",
    is_default: true,
    leaves: leaves(80, EndsRoom::Plenty),
    stays: |table| table.group.is_named_in(Column::Container),
    may_come: |table| table.group.spec().is_of_process && table.containers,
    width: |table| match table.group.is_named_in(Column::Container) {
        true => TITLE,
        false => 16,
    },
    found_by: Some(|text, found| text.find_location(found)),
    cell: |cell, buf| cell.container(buf),
    ..TEXT
};

static MSGS: ColumnDrawing = ColumnDrawing {
    heading: "MSGS/s",
    leaves: leaves(70, EndsRoom::Plenty),
    width: |_| 7,
    cell: |cell, buf| {
        let messages = cell
            .row
            .traffic
            .msg_rate(cell.table.directions, &cell.table.clock);
        cell.right(buf, &per_second(messages));
    },
    ..NUMBER
};

static PACKETS: ColumnDrawing = ColumnDrawing {
    heading: "PKTS/s",
    leaves: leaves(60, EndsRoom::Usual),
    width: |_| 7,
    cell: |cell, buf| {
        let packets = cell.row.condition.packets(cell.table.directions);
        if let Some(packets) = packets.filter(|_| cell.idle().is_none()) {
            cell.right(buf, &per_second(rate(packets, cell.table.clock.elapsed)));
        }
    },
    ..NUMBER
};

static SRTT: ColumnDrawing = ColumnDrawing {
    heading: "RTT",
    is_default: true,
    leaves: leaves(130, EndsRoom::Usual),
    width: |_| 7,
    cell: |cell, buf| {
        if let Some(us) = cell.row.condition.srtt_us {
            cell.right(buf, &cell.shared.display.short_time(us.into()));
        }
    },
    ..NUMBER
};

static RETRANSMITS: ColumnDrawing = ColumnDrawing {
    heading: "RETR",
    is_default: true,
    leaves: leaves(120, EndsRoom::Usual),
    width: |_| 6,
    cell: |cell, buf| {
        if let Some(retransmits) = cell.row.condition.retransmits {
            cell.right(buf, &in_short(retransmits));
        }
    },
    ..NUMBER
};

static CWND: ColumnDrawing = ColumnDrawing {
    heading: "CWND",
    leaves: leaves(50, EndsRoom::Usual),
    width: |_| 6,
    cell: |cell, buf| {
        if let Some(cwnd) = cell.row.condition.cwnd {
            cell.right(buf, &in_short(cwnd.into()));
        }
    },
    ..NUMBER
};

/// Peers have their names in their own column: this one is for those who want no ports, or both.
static HOST: ColumnDrawing = ColumnDrawing {
    heading: "HOST NAME",
    leaves: leaves(55, EndsRoom::Usual),
    stays: |table| table.group.is_named_in(Column::Host),
    may_come: |table| table.group != Group::Host,
    width: |_| TITLE,
    found_by: Some(|text, found| text.find_host(found)),
    cell: |cell, buf| cell.host(buf),
    ..TEXT
};

static ZONE: ColumnDrawing = ColumnDrawing {
    heading: "ZONE",
    is_default: true,
    leaves: leaves(83, EndsRoom::Plenty),
    may_come: |table| matches!(table.group, Group::Flow | Group::Remote),
    width: |_| 10,
    found_by: Some(|text, found| text.find_zone(found)),
    cell: |cell, buf| cell.zone(buf),
    ..TEXT
};

static COST: ColumnDrawing = ColumnDrawing {
    heading: "~COST/h",
    is_default: true,
    leaves: leaves(125, EndsRoom::Usual),
    width: |_| 9,
    cell: |cell, buf| {
        let cost = cell.row.condition.cost;
        if let Some(cost) = cost.filter(|_| cell.idle().is_none()) {
            let cost = cell.table.directions.cost(cost);
            cell.right(buf, &per_hour(cost, cell.table.clock.elapsed));
        }
    },
    ..NUMBER
};

static AGE: ColumnDrawing = ColumnDrawing {
    heading: "AGE",
    leaves: leaves(10, EndsRoom::Plenty),
    width: |_| 6,
    cell: |cell, buf| cell.right(buf, &age(cell.row.traffic.age(&cell.table.clock))),
    ..NUMBER
};
