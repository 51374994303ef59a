//! Which columns a table has in a given width and where they stand. That depends on the width, on
//! what was chosen and on the kind of table, not on the traffic, so that none comes and goes (but one
//! that never had anything to show hides until it has); and widths only grow. A column is there whole or not at all.

use crate::stats::history::AvailableColumns;
use crate::text::units::Units;
use crate::view::{Column, Directions, Group};

/// Left margin, where the mark of the selected row stands.
const MARGIN: u16 = 1;
const GAP: u16 = 2;
/// Widest an end of a flow gets: the longest address with its port.
const MAX_END: u16 = 47;
/// Least room for both ends together before other columns make way, and before those do that only
/// come when there is plenty.
const MIN_ENDS: u16 = 32;
const GOOD_ENDS: u16 = 42;
/// The same for names.
const NAMED_ENDS: u16 = 60;
const MAX_PROCESS: u16 = 15;
const MAX_PID: u16 = 7;
const USER: u16 = 8;
const CONTAINER: u16 = 16;
const SPARK: (u16, u16) = (12, 60);

/// Columns in the order in which they leave as the width shrinks. The others stay.
const DROP_ORDER: &[Column] = &[
    Column::Age,
    Column::Average,
    Column::Spark,
    Column::User,
    Column::Cwnd,
    Column::Packets,
    Column::Msgs,
    Column::Container,
    Column::Total,
    Column::Peak,
    Column::Avg60,
    Column::Srtt,
    Column::Retransmits,
    Column::Pid,
    Column::Share,
    Column::Avg10,
    Column::Protocol,
];

/// What is shown without being asked for, where there is room.
pub const DEFAULT: &[Column] = &[
    Column::Rate,
    Column::Avg10,
    Column::Avg60,
    Column::Peak,
    Column::Total,
    Column::Share,
    Column::Spark,
    Column::Protocol,
    Column::Local,
    Column::Remote,
    Column::Pid,
    Column::Process,
    Column::User,
    Column::Container,
    Column::Srtt,
    Column::Retransmits,
];

/// Widths of what is to be shown, in columns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Widths {
    /// The socket's own end.
    pub local: usize,
    /// The peer.
    pub remote: usize,
    /// Process id.
    pub pid: usize,
    /// Process name.
    pub process: usize,
}

impl Default for Widths {
    /// What usually comes, so that the first intervals do not widen every column.
    fn default() -> Self {
        Self {
            local: "192.168.100.200:443".len(),
            remote: "255.255.255.255:65535".len(),
            pid: 5,
            process: 8,
        }
    }
}

impl Widths {
    /// Takes the larger of each.
    pub fn grow(&mut self, other: &Self) {
        self.local = self.local.max(other.local);
        self.remote = self.remote.max(other.remote);
        self.pid = self.pid.max(other.pid);
        self.process = self.process.max(other.process);
    }
}

/// Where one column stands, relative to the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ColumnSlot {
    /// Which one.
    pub column: Column,
    /// Columns from the left edge of the table.
    pub x: u16,
    /// In columns.
    pub width: u16,
}

/// What decides on columns besides the width.
#[derive(Clone, Copy, Debug)]
pub struct LayoutRequest<'a> {
    /// The ones that were chosen.
    pub chosen: &'a [Column],
    /// Which way the table is about.
    pub directions: Directions,
    /// What a row is.
    pub group: Group,
    /// Totals take the place of rates.
    pub totals: bool,
    /// For the widths of numbers.
    pub units: Units,
    /// Whether a share is drawn beside its number, because it cannot be behind the text.
    pub share_bar: bool,
    /// Whether ends are host names.
    pub names: bool,
    /// Whether any process is in a container or unit.
    pub containers: bool,
    /// What there ever was to show.
    pub seen: AvailableColumns,
    /// Widest content so far.
    pub widths: Widths,
}

impl LayoutRequest<'_> {
    /// What cannot leave, in a table of this kind: what was chosen of it, and what rows are named by.
    fn stays(&self, column: Column) -> bool {
        let chosen = |column| self.chosen.is_empty() || self.chosen.contains(&column);
        let names_a_flow = matches!(column, Column::Local | Column::Remote | Column::Process);
        if self.group == Group::Flow && names_a_flow && !chosen(column) {
            return false;
        }
        use Column::{Container, Flows, Local, Process, Rate, Remote, Rx, Total, Tx, User};
        match column {
            Rate => self.directions != Directions::Both && !self.totals,
            Rx | Tx => self.directions == Directions::Both && !self.totals,
            Total => self.totals,
            Flows => self.group != Group::Flow,
            // In the place of what the rows are grouped by.
            Local => matches!(self.group, Group::Flow | Group::Port),
            Remote => matches!(self.group, Group::Flow | Group::Remote | Group::Net(_)),
            Process => matches!(self.group, Group::Flow | Group::Process | Group::Thread),
            User => self.group == Group::User,
            Container => matches!(self.group, Group::Container | Group::Unit),
            _ => false,
        }
    }

    /// What comes if there is room.
    fn may_come(&self, column: Column) -> bool {
        use Column::{Container, Peak, Pid, Protocol, User};
        let of_process = matches!(self.group, Group::Flow | Group::Process | Group::Thread);
        self.chosen.contains(&column)
            && self.seen.has(column)
            && match column {
                Protocol | Peak => self.group == Group::Flow,
                Pid | User => of_process,
                Container => of_process && self.containers,
                _ => true,
            }
    }

    /// Room a column takes when columns are chosen: the most it ever gets.
    fn most(&self, column: Column) -> u16 {
        let number = |width: usize| u16::try_from(width).unwrap_or(u16::MAX);
        match column {
            Column::Rate | Column::Rx | Column::Tx => number(self.units.rate_width()),
            Column::Avg10 | Column::Avg60 | Column::Average | Column::Peak => {
                number(self.units.rate_width())
            }
            Column::Total => number(self.units.amount_width()).max(7),
            Column::Share if self.share_bar => 10,
            Column::Share | Column::Flows | Column::Protocol | Column::Age => 5,
            Column::Spark => SPARK.0,
            Column::Pid => MAX_PID,
            Column::Process if matches!(self.group, Group::Process | Group::Thread) => 24,
            Column::Process => MAX_PROCESS,
            Column::User if self.group == Group::User => 16,
            Column::Container if matches!(self.group, Group::Container | Group::Unit) => 24,
            Column::User => USER,
            Column::Container => CONTAINER,
            Column::Msgs | Column::Packets => 7,
            Column::Srtt => 7,
            Column::Retransmits | Column::Cwnd => 6,
            Column::Local | Column::Remote => 0,
        }
    }

    /// Room before a column; numbers keep to the right of theirs, so one is enough for them.
    fn gap(column: Column) -> u16 {
        match column {
            Column::Avg10 | Column::Avg60 | Column::Average | Column::Peak | Column::Share => 1,
            Column::Local | Column::Pid | Column::Flows | Column::Tx => 1,
            _ => GAP,
        }
    }
}

/// Which columns are there, and where, in a table so wide.
pub fn fit(width: u16, request: &LayoutRequest) -> Vec<ColumnSlot> {
    let mut there: Vec<Column> = Column::ALL
        .into_iter()
        .filter(|&column| request.stays(column))
        .collect();
    let ends = there
        .iter()
        .filter(|column| matches!(column, Column::Local | Column::Remote))
        .count() as u16;
    let used = |there: &[Column]| -> u16 {
        let widths = there
            .iter()
            .map(|&column| request.most(column) + LayoutRequest::gap(column));
        // The first has the margin before it.
        MARGIN + widths.sum::<u16>()
            - there
                .iter()
                .map(|&c| LayoutRequest::gap(c))
                .max()
                .unwrap_or(0)
    };
    for &column in DROP_ORDER.iter().rev() {
        if there.contains(&column) || !request.may_come(column) {
            continue;
        }
        let plenty = matches!(
            column,
            Column::Spark | Column::User | Column::Container | Column::Msgs | Column::Age
        );
        let least = match column {
            Column::Protocol | Column::Avg10 => MIN_ENDS,
            _ if request.names => NAMED_ENDS,
            _ if plenty => GOOD_ENDS,
            _ => MIN_ENDS,
        } * ends
            / 2;
        let mut with = there.clone();
        with.push(column);
        if used(&with) + least > width {
            // Those that leave earlier do not come in its place: there is one order.
            break;
        }
        there = with;
    }
    place(width, request, there)
}

fn place(width: u16, request: &LayoutRequest, mut there: Vec<Column>) -> Vec<ColumnSlot> {
    // Totals stand where rates stood; otherwise the order is the one that was chosen, and what was
    // not chosen comes after what it always follows.
    let all = |column: &Column| Column::ALL.iter().position(|other| other == column);
    let rank = |column: &Column| {
        let chosen = request.chosen.iter().position(|other| other == column);
        let before = request.chosen.iter().enumerate();
        let before = before.filter(|(_, other)| all(other) < all(column));
        let after = before.map(|(place, _)| place).max();
        match chosen {
            Some(place) => (place + 1, 0),
            None => (after.map_or(0, |place| place + 1), 1),
        }
    };
    let first = |column: &Column| !(request.totals && *column == Column::Total);
    there.sort_by_key(|column| (first(column), rank(column), all(column)));
    let cap = |wanted: usize, most: u16| u16::try_from(wanted).unwrap_or(most).min(most);
    let size = |column: Column| match column {
        Column::Pid => cap(request.widths.pid, MAX_PID),
        Column::Process if request.group == Group::Flow => cap(request.widths.process, MAX_PROCESS),
        _ => request.most(column),
    };
    let fixed: u16 = there
        .iter()
        .map(|&column| {
            size(column)
                + if column == there[0] {
                    0
                } else {
                    LayoutRequest::gap(column)
                }
        })
        .sum();
    let mut spare = width.saturating_sub(MARGIN + fixed);
    let wants = |column, wanted| {
        if there.contains(&column) {
            cap(wanted, MAX_END)
        } else {
            0
        }
    };
    let (local, remote) = share(
        spare,
        wants(Column::Local, request.widths.local),
        wants(Column::Remote, request.widths.remote),
    );
    spare -= local + remote;
    let has_spark = there.contains(&Column::Spark);
    let spark = if has_spark {
        spare.min(SPARK.1 - SPARK.0)
    } else {
        0
    };
    spare -= spark;

    // What is left over is for the text that can use it.
    let last = match request.group {
        Group::Process | Group::Thread => Some(Column::Process),
        _ => there.last().copied(),
    };
    let mut x = MARGIN;
    let mut places = Vec::with_capacity(there.len());
    for &column in &there {
        let wide = match column {
            Column::Local => local,
            Column::Remote => remote,
            Column::Spark => size(column) + spark,
            column if Some(column) == last && !column.is_number() => size(column) + spare,
            column => size(column),
        };
        if !places.is_empty() {
            x += LayoutRequest::gap(column);
        }
        let left = width.saturating_sub(x);
        places.push(ColumnSlot {
            column,
            x: x.min(width),
            width: wide.min(left),
        });
        x = x.saturating_add(wide);
    }
    places
}

/// Shares room between two columns: each gets what it wants where that is possible, and the one
/// that wants less never pays for the other.
fn share(room: u16, local: u16, remote: u16) -> (u16, u16) {
    let half = room / 2;
    if local + remote <= room {
        (local, remote)
    } else if local <= half {
        (local, room - local)
    } else if remote <= half {
        (room - remote, remote)
    } else {
        (half, room - half)
    }
}

/// What is written above a column.
pub fn heading(column: Column, group: Group) -> &'static str {
    match column {
        Column::Rate => "RATE",
        Column::Rx => "IN",
        Column::Tx => "OUT",
        Column::Avg10 => "10s",
        Column::Avg60 => "60s",
        Column::Average => "AVERAGE",
        Column::Peak => "PEAK",
        Column::Total => "TOTAL",
        Column::Share => "SHARE",
        Column::Spark => "LAST MINUTE",
        Column::Protocol => "PROTO",
        Column::Local if group == Group::Port => "SERVICE PORT",
        Column::Remote if matches!(group, Group::Net(_)) => "REMOTE NET",
        Column::Process if group == Group::Thread => "THREAD",
        Column::Container if group == Group::Unit => "UNIT",
        Column::Local => "LOCAL",
        Column::Remote => "REMOTE",
        Column::Pid => "PID",
        Column::Process => "PROCESS",
        Column::User => "USER",
        Column::Msgs => "MSGS/s",
        Column::Packets => "PKTS/s",
        Column::Srtt => "RTT",
        Column::Retransmits => "RETR",
        Column::Cwnd => "CWND",
        Column::Container => "CONTAINER",
        Column::Flows => "FLOWS",
        Column::Age => "AGE",
    }
}

#[cfg(test)]
mod tests;
