//! Chooses the columns of a table and their positions by its width, the configured columns and the
//! grouping, not by the traffic, so that columns do not come and go. The exception is a column
//! without a value so far, which is hidden. Widths only grow, and a column is shown whole or not at
//! all.

pub use super::column_table::DEFAULT;

use std::net::IpAddr;

use super::column_table::{DROP_ORDER, EndsRoom, PROTOCOL_HEADING};
use crate::stats::history::AvailableColumns;
use crate::text::units::Units;
use crate::view::{Column, Directions, Group};

/// Left margin in cells, for the mark of the selected row.
const MARGIN: u16 = 1;
/// Maximum width of an end of a flow, in cells: the longest address with its port.
const MAX_END: u16 = 47;
/// The longest IPv4 address with its port, in cells.
const IPV4_END: u16 = 21;
/// Minimum width of an address that is shortened in its middle, in cells.
const MIN_CUT_ADDRESS: u16 = 14;
/// Minimum room for a peer, in cells, beside most columns, beside those that only appear in wide
/// tables, and if it is a host name: a long IPv4 address or name with its port.
const MIN_PEER: u16 = 22;
const GOOD_PEER: u16 = 28;
const NAMED_PEER: u16 = 34;
/// Minimum width of a peer, in cells; below it no peer is shown.
const MIN_PEER_WIDTH: u16 = 8;
/// Width of the local end where only its port is shown, in cells: `http-alt`. A service with a
/// longer name is its number.
const MAX_PORT: u16 = 8;
/// Maximum growth, in cells, of the column that names the rows of a group.
const MAX_TITLE_GROWTH: u16 = 16;
/// Minimum width, in cells, of the column that names the rows of a group.
const MIN_TITLE: u16 = 8;
/// Maximum width of the sparkline, in cells.
const MAX_SPARK: u16 = 60;

/// Widths of the content to show, in columns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Widths {
    /// The socket's own end, and the port of it alone.
    pub local: usize,
    pub port: usize,
    /// The peer, with its tag.
    pub remote: usize,
    pub pid: usize,
    pub process: usize,
    pub protocol: usize,
}

impl Default for Widths {
    /// Widths of usual content, so that the first intervals do not widen every column.
    fn default() -> Self {
        Self {
            local: "192.168.100.200:443".len(),
            port: "65535".len(),
            remote: "255.255.255.255:65535".len(),
            pid: 5,
            process: 8,
            protocol: PROTOCOL_HEADING.len(),
        }
    }
}

impl Widths {
    /// Takes the larger of each width.
    pub fn widen(&mut self, other: &Self) {
        self.local = self.local.max(other.local);
        self.port = self.port.max(other.port);
        self.remote = self.remote.max(other.remote);
        self.pid = self.pid.max(other.pid);
        self.process = self.process.max(other.process);
        self.protocol = self.protocol.max(other.protocol);
    }
}

/// Position of one column, relative to the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ColumnSlot {
    pub column: Column,
    /// Columns from the left edge of the table.
    pub x: u16,
    pub width: u16,
    /// Whether the column of local ends shows ports only: for lack of room, or because all
    /// addresses are equal.
    pub is_port: bool,
}

/// Own addresses of the machine that rows had.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LocalAddresses {
    /// The first one of IPv4 and of IPv6.
    first: [Option<IpAddr>; 2],
    /// Whether there is more than one of either family, so that addresses distinguish rows.
    pub are_several: bool,
}

impl LocalAddresses {
    /// Takes an address in. Loopback and unspecified ones are on every machine.
    pub fn add(&mut self, addr: IpAddr) {
        if addr.is_loopback() || addr.is_unspecified() || addr.is_multicast() {
            return;
        }
        let first = &mut self.first[usize::from(addr.is_ipv6())];
        self.are_several |= *first.get_or_insert(addr) != addr;
    }
}

/// The inputs, besides the width, that determine the columns of a table.
#[derive(Clone, Copy, Debug)]
pub struct LayoutRequest<'a> {
    /// Columns that the user configured.
    pub columns: &'a [Column],
    /// Directions that the table shows.
    pub directions: Directions,
    /// Grouping of the rows.
    pub group: Group,
    /// The column that rows are sorted by: it gets room before others, for its mark.
    pub sorted: Column,
    /// Whether totals are shown instead of rates.
    pub totals: bool,
    /// Units, which decide the widths of numbers.
    pub units: Units,
    /// Whether host names, which can be long, are looked up.
    pub looks_up_hosts: bool,
    /// Whether the machine has several addresses, so that local addresses distinguish rows.
    pub has_local_addresses: bool,
    /// Whether any process is in a container or unit.
    pub containers: bool,
    /// Columns that ever had a value.
    pub seen: AvailableColumns,
    /// Widest content so far.
    pub widths: Widths,
}

impl LayoutRequest<'_> {
    /// Whether this column names the rows: for flows the ends and the process, unless the columns
    /// are configured.
    pub fn names_rows(&self, column: Column) -> bool {
        match self.group {
            Group::Flow => self.columns.is_empty() || self.columns.contains(&column),
            group => group.is_named_in(column),
        }
    }

    /// Whether a grouped table names the peers of its rows.
    pub fn shows_peers(&self) -> bool {
        self.group != Group::Flow && self.columns.contains(&Column::Remote)
    }

    fn stays(&self, column: Column) -> bool {
        (column.drawing().stays)(self)
    }

    /// Whether a column appears if there is room.
    fn may_come(&self, column: Column) -> bool {
        let is_needed = self.columns.contains(&column) && self.seen.has(column);
        is_needed && (column.drawing().may_come)(self)
    }

    /// Width of a column, in cells, by which the set of columns is decided.
    fn most(&self, column: Column) -> u16 {
        (column.drawing().width)(self)
    }

    /// Final width of a column, in cells; not for the ends and the bars.
    fn size(&self, column: Column) -> u16 {
        (column.drawing().size)(self).unwrap_or_else(|| self.most(column))
    }

    /// Cells that must remain for the peer if a column is to appear.
    fn peer(&self, room: EndsRoom) -> u16 {
        match room {
            EndsRoom::Least => MIN_PEER,
            _ if self.looks_up_hosts => NAMED_PEER,
            EndsRoom::Plenty => GOOD_PEER,
            EndsRoom::Usual => MIN_PEER,
        }
    }
}

/// A width of at most `most`.
pub(super) fn cap(needed: usize, most: u16) -> u16 {
    u16::try_from(needed).unwrap_or(most).min(most)
}

/// Decides which columns a table of this width has, and places them.
pub fn fit(width: u16, request: &LayoutRequest) -> Vec<ColumnSlot> {
    let mut there: Vec<Column> = Column::ALL
        .into_iter()
        .filter(|&column| request.stays(column))
        .collect();
    stand_for_both_ways(width, request, &mut there);
    let ends = |there: &[Column], peer: u16| {
        let of = |column, room| if there.contains(&column) { room } else { 0 };
        of(Column::Local, MAX_PORT) + of(Column::Remote, peer)
    };
    let used = |there: &[Column]| -> u16 {
        let gap = |column: &Column| column.drawing().gap;
        let widths = there
            .iter()
            .map(|column| request.most(*column) + gap(column));
        // The first has the margin before it.
        MARGIN + widths.sum::<u16>() - there.iter().map(gap).max().unwrap_or(0)
    };
    // A peer in fewer cells is not readable.
    let is_named = request.group.is_named_in(Column::Remote);
    if !is_named && used(&there) + MIN_PEER_WIDTH > width {
        there.retain(|column| *column != Column::Remote);
    }
    let sorted = request.sorted;
    let can_come = sorted.drawing().leaves.is_some() && (sorted.drawing().may_come)(request);
    if can_come && request.seen.has(sorted) && !there.contains(&sorted) {
        let mut with = there.clone();
        with.push(sorted);
        if used(&with) + ends(&with, MIN_CUT_ADDRESS) <= width {
            there = with;
        }
    }
    let is_tight = request.stays(Column::Remote) && !there.contains(&Column::Remote);
    let leaving = if is_tight { &[] } else { DROP_ORDER.as_slice() };
    for &column in leaving.iter().rev() {
        let Some(leaves) = &column.drawing().leaves else {
            continue;
        };
        if there.contains(&column) || !request.may_come(column) {
            continue;
        }
        let mut with = there.clone();
        with.push(column);
        if used(&with) + ends(&with, request.peer(leaves.ends)) > width {
            // Columns that leave earlier do not take its place: there is one order.
            break;
        }
        there = with;
    }
    lay_out(width, request, there)
}

/// Where the rates of both ways have no room beside the shortest name, the one that rows are sorted
/// by stands for both: usually the sum.
fn stand_for_both_ways(width: u16, request: &LayoutRequest, there: &mut Vec<Column>) {
    let ways = [Column::Rx, Column::Tx];
    if !ways.iter().all(|way| there.contains(way)) {
        return;
    }
    let rates = ways.map(|way| way.drawing().gap + request.most(way));
    if MARGIN + MIN_TITLE + rates.iter().sum::<u16>() <= width {
        return;
    }
    let shown = match request.sorted {
        sorted @ (Column::Rx | Column::Tx) => sorted,
        _ => Column::Rate,
    };
    let is_named = request.group.is_named_in(Column::Remote);
    there.retain(|column| !ways.contains(column) && (is_named || *column != Column::Remote));
    there.push(shown);
}

fn lay_out(width: u16, request: &LayoutRequest, mut there: Vec<Column>) -> Vec<ColumnSlot> {
    // Totals take the positions of rates. Otherwise the order is the configured one, and each other
    // column comes after the one that it follows by default.
    let rank = |column: &Column| {
        let columns = request.columns.iter().position(|other| other == column);
        let before = request.columns.iter().enumerate();
        let before = before.filter(|(_, other)| *other < column);
        let after = before.map(|(position, _)| position).max();
        match columns {
            Some(position) => (position + 1, 0),
            None => (after.map_or(0, |position| position + 1), 1),
        }
    };
    // Without peers the process gets all remaining room.
    let has_peer = there.contains(&Column::Remote);
    let is_title = |column: Column| match request.group {
        Group::Flow => column == Column::Process && !has_peer,
        group => group.is_named_in(column),
    };
    // Names come before their numbers.
    there.sort_by_cached_key(|&column| {
        let position = match column {
            Column::Total if request.totals => Column::Rate,
            column => column,
        };
        (!is_title(column), rank(&position), position)
    });
    let fixed: u16 = there
        .iter()
        .map(|&column| {
            request.size(column)
                + if column == there[0] {
                    0
                } else {
                    column.drawing().gap
                }
        })
        .sum();
    let mut spare = width.saturating_sub(MARGIN + fixed);
    // On a narrow screen names are shortened before numbers are cut.
    let excess = (MARGIN + fixed).saturating_sub(width);
    let needed_by = |column, needed| {
        if there.contains(&column) {
            cap(needed, MAX_END)
        } else {
            0
        }
    };
    let peer = needed_by(Column::Remote, request.widths.remote);
    let whole = needed_by(Column::Local, request.widths.local);
    let is_port = request.group == Group::Flow
        && (!request.has_local_addresses || whole + peer > spare)
        && there.contains(&Column::Remote);
    let own = match is_port {
        true => whole.min(cap(request.widths.port, MAX_PORT)),
        false => whole,
    };
    let (local, remote) = share(spare, own, peer);
    spare -= local + remote;
    let has_spark = there.contains(&Column::Spark);
    let spark = if has_spark {
        spare.min(MAX_SPARK - request.size(Column::Spark))
    } else {
        0
    };
    spare -= spark;

    // Remaining room goes to text that can use it, but keeps names near their numbers.
    let last = there.last().copied();
    let title = spare.min(MAX_TITLE_GROWTH);
    let mut x = MARGIN;
    let mut slots = Vec::with_capacity(there.len());
    for &column in &there {
        let wide = match column {
            Column::Local => local,
            Column::Remote => remote,
            Column::Spark => request.size(column) + spark,
            column if is_title(column) => {
                let size = request.size(column);
                size - excess.min(size.saturating_sub(MIN_TITLE)) + title
            }
            column if Some(column) == last && !column.is_number() => request.size(column) + spare,
            column => request.size(column),
        };
        if !slots.is_empty() {
            x += column.drawing().gap;
        }
        let left = width.saturating_sub(x);
        slots.push(ColumnSlot {
            column,
            x: x.min(width),
            width: wide.min(left),
            is_port: is_port && column == Column::Local,
        });
        x = x.saturating_add(wide);
    }
    slots
}

/// Divides room between the two ends. If they do not both fit, an end that needs less than half
/// gets what it needs. The peer identifies a row, so an IPv4 peer with its port stays whole as long
/// as the local end is readable.
fn share(room: u16, local: u16, remote: u16) -> (u16, u16) {
    let half = room / 2;
    if local + remote <= room {
        (local, remote)
    } else if local <= half {
        (local, room - local)
    } else if remote <= half {
        (room - remote, remote)
    } else {
        let peer = remote
            .min(IPV4_END)
            .min(room.saturating_sub(MIN_CUT_ADDRESS))
            .max(half);
        (room - peer, peer)
    }
}

#[cfg(test)]
mod tests;
