//! Rows over a history: flows, or sums of flows by process, user, peer, port or container, in the
//! requested order, with the sums of everything that is not a row.
//!
//! Rows are large, many, and hardly looked at: what is kept of them is which flows they are made
//! of. The row itself is made when it comes into sight.

mod opened;
#[cfg(test)]
mod tests;

use std::borrow::Cow;
use std::cell::RefCell;
use std::cmp::Reverse;
use std::ops::Range;
use std::slice;
use std::time::Duration;

use hashbrown::HashMap;

pub use self::opened::RowParties;

use super::order::{RowWith, SortKeyValue, TrafficAt};
use super::process_lookup::{ProcessLookup, ProcessRef};
use super::row::Row;
use super::row_id::{Groups, RowId};
use super::top::in_order;
use crate::model::flow::Counters;
use crate::stats::history::{Clock, FlowStats, History, RECENT_FOR, TrafficStats};
use crate::view::{Directions, Group, SortBy, SortKey};

/// Flows of a group on average, from which on all groups are summed at once.
const FLOWS_OF_A_SUM: usize = 16;
/// Flows of a row, from which on it is kept once it was made: it is drawn again with every key.
const FLOWS_OF_A_KEPT_ROW: usize = 64;

/// A query for rows of a history.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RowQuery {
    /// Directions of the query: a flow without bytes in them has no row.
    pub directions: Directions,
    /// Grouping of flows into rows.
    pub group: Group,
    /// The order of rows. Rows with equal values of a column that is no rate or total are ordered
    /// by the power of two of their 10 s average, and equal ones by id, so that they keep their
    /// places.
    pub sort: SortKey,
    /// Whether flows that ended long ago have rows too, as in a view of totals.
    pub past: bool,
}

/// Flows without rows, summed.
#[derive(Clone, Copy, Debug)]
pub struct Sum {
    pub flows: usize,
    pub traffic: TrafficStats,
}

/// The result of a query. All rows, `filtered`, `silent` and `untracked` add up to `all`. Methods
/// take the history that it was made of, unchanged; with another one they may panic.
#[derive(Clone, Debug)]
pub struct Rows {
    /// The clock by which the statistics are read.
    pub clock: Clock,
    /// Number of flows in all rows.
    pub flows: usize,
    /// Number of rows that moved bytes in the query's directions in the latest interval. They come
    /// first, unless the query includes past flows.
    pub moving: usize,
    /// Number of rows in the order of the query; the idle rows that follow have their own order.
    /// All rows if the query includes past flows.
    pub in_order: usize,
    /// Flows that do not match the filter.
    pub filtered: Sum,
    /// Flows that ended, or moved nothing in these directions lately.
    pub silent: Sum,
    /// Number of kept flows that never moved bytes in these directions.
    pub never_active: usize,
    /// Bytes of the latest interval of flows that found the flow table full.
    pub untracked: Counters,
    /// Such bytes since the start.
    pub untracked_total: Counters,
    pub all: TrafficStats,
    directions: Directions,
    parts: RowParts,
    /// The traffic of groups, by the position of their first flow; empty if groups have few flows.
    sums: HashMap<u32, TrafficStats>,
    made: RefCell<MadeRows>,
}

/// Rows of many flows that were in sight, by the position of their first flow.
#[derive(Clone, Debug, Default)]
struct MadeRows {
    rows: HashMap<u32, Row>,
    parties: HashMap<u32, RowParties>,
    /// Sums of all rows from an index on; empty after a change of their order.
    sums_from: HashMap<usize, Row>,
}

/// Groups in their order. Flows are identified by their numbers in the history.
#[derive(Clone, Debug)]
enum RowParts {
    Flows(Vec<u32>),
    /// A group, and the range of its flows in `members`.
    Groups {
        groups: Vec<(RowId, Range<u32>)>,
        members: Vec<u32>,
    },
}

impl Rows {
    /// Queries a history; flows that do not match `filter` are summed separately.
    pub fn new(
        history: &History,
        view: &RowQuery,
        lookup: &dyn ProcessLookup,
        filter: &dyn Fn(&FlowStats) -> bool,
    ) -> Self {
        let clock = history.clock();
        let nothing = Sum {
            flows: 0,
            traffic: TrafficStats::nothing(clock, history.ended()),
        };
        let (mut filtered, mut silent, mut never) = (nothing, nothing, 0);
        silent.flows += usize::try_from(history.older().flows).unwrap_or(usize::MAX);
        silent.traffic += &history.older().traffic;

        let mut kept: Vec<u32> = Vec::with_capacity(history.recent().len());
        for (number, flow) in (0..).zip(history.flows()) {
            if !is_in(flow, view, &clock) {
                silent.add(flow);
                never += usize::from(flow.traffic.idle(view.directions, &clock).is_none());
            } else if !filter(flow) {
                filtered.add(flow);
            } else {
                kept.push(number);
            }
        }
        let flows = kept.len();
        let parts = RowParts::of(history, kept, view.group, lookup);
        let mut rows = Self {
            clock,
            flows,
            moving: 0,
            in_order: 0,
            filtered,
            silent,
            never_active: never,
            untracked: history.losses().untracked,
            untracked_total: history.losses_total().untracked,
            all: *history.all(),
            directions: view.directions,
            parts,
            sums: HashMap::new(),
            made: RefCell::default(),
        };
        rows.sort(history, view, lookup);
        rows
    }

    /// Sorts the groups in the order of the query. The rows without bytes in the latest interval
    /// stand behind all others, ordered by their last bytes, latest first, then by size. A view of
    /// totals keeps its order, in which idle rows count like the rest.
    fn sort(&mut self, history: &History, view: &RowQuery, lookup: &dyn ProcessLookup) {
        self.sums = self.group_sums(history);
        let all = 0..self.len() as u32;
        // Before they are sorted, while neighbours are neighbours in memory.
        let (moving, idle): (Vec<u32>, Vec<u32>) = all
            .clone()
            .partition(|&n| !self.is_idle(history, n as usize));
        self.moving = moving.len();
        let order = if view.past {
            self.in_order = self.len();
            self.ordered(history, view, lookup, all.collect())
        } else {
            self.in_order = self.moving;
            let mut order = self.ordered(history, view, lookup, moving);
            let mut idle = self.ordered(history, view, lookup, idle);
            idle.sort_by_cached_key(|&n| self.idle_key(history, n as usize));
            order.append(&mut idle);
            order
        };
        let order = order.into_iter().map(|n| n as usize);
        match &mut self.parts {
            RowParts::Flows(flows) => *flows = order.map(|n| flows[n]).collect(),
            RowParts::Groups { groups, .. } => {
                *groups = order.map(|n| std::mem::take(&mut groups[n])).collect();
            }
        }
    }

    /// Returns the indices of some groups in the order of the query's column.
    fn ordered(
        &self,
        history: &History,
        view: &RowQuery,
        lookup: &dyn ProcessLookup,
        which: Vec<u32>,
    ) -> Vec<u32> {
        let by_id = |a: u32, b: u32| match &self.parts {
            RowParts::Flows(flows) => {
                let key = |n: u32| &history.flow(flows[n as usize]).key;
                key(a).cmp(key(b))
            }
            RowParts::Groups { groups, .. } => groups[a as usize].0.cmp(&groups[b as usize].0),
        };
        match view.sort.column.spec().sort_by {
            // Sorting small numbers instead of the groups takes a third of the time.
            SortBy::Traffic(number) => {
                let number = |n: u32| {
                    let traffic = self.traffic_at(history, n as usize);
                    let number = number(&TrafficAt(&traffic, &self.clock), view.directions).order();
                    if view.sort.descending {
                        !number
                    } else {
                        number
                    }
                };
                let numbers: Vec<(u64, u32)> = which.into_iter().map(|n| (number(n), n)).collect();
                in_order(numbers.into_iter(), by_id)
            }
            SortBy::Row(value) => {
                let index = |n: u32| {
                    let row = self.row_at(history, n as usize);
                    let value = value(&RowWith(&row, lookup), view.directions);
                    let size = size_class(row.traffic.avg10(view.directions));
                    (SortKeyValue::new(view.sort, value), size)
                };
                in_order(which.into_iter().map(|n| (Reverse(index(n)), n)), by_id)
            }
        }
    }

    /// Returns the traffic of all groups by the positions of their first flows, if they are few of
    /// many flows: the flows are read in the order of memory. Otherwise nothing.
    fn group_sums(&self, history: &History) -> HashMap<u32, TrafficStats> {
        let RowParts::Groups { groups, members } = &self.parts else {
            return HashMap::new();
        };
        if groups.len() * FLOWS_OF_A_SUM > members.len() {
            return HashMap::new();
        }
        let mut group_of =
            vec![u32::MAX; members.iter().max().map_or(0, |&last| last as usize + 1)];
        for (n, (_, range)) in (0..).zip(groups) {
            for &flow in &members[range.start as usize..range.end as usize] {
                group_of[flow as usize] = n;
            }
        }
        let mut sums: Vec<Option<TrafficStats>> = vec![None; groups.len()];
        for (flow, &group) in (0..).zip(&group_of) {
            let Some(sum) = sums.get_mut(group as usize) else {
                continue;
            };
            let traffic = &history.flow(flow).traffic;
            match sum {
                Some(sum) => *sum += traffic,
                None => *sum = Some(*traffic),
            }
        }
        let sums = groups.iter().zip(sums);
        sums.filter_map(|((_, range), sum)| Some((range.start, sum?)))
            .collect()
    }

    /// Returns the sort key of an idle row: how long ago the last of its flows moved bytes in these
    /// directions, and its 10 s average, whose bits have the order of the numbers.
    fn idle_key(&self, history: &History, n: usize) -> (Option<Duration>, Reverse<u64>) {
        let flows = || {
            self.numbers(n)
                .iter()
                .map(|&flow| &history.flow(flow).traffic)
        };
        let average: f64 = flows().map(|traffic| traffic.avg10(self.directions)).sum();
        let idle = flows()
            .filter_map(|traffic| traffic.idle(self.directions, &self.clock))
            .min();
        (idle, Reverse(average.max(0.0).to_bits()))
    }

    /// Returns the directions of the query.
    pub const fn directions(&self) -> Directions {
        self.directions
    }

    /// Returns the number of rows.
    pub const fn len(&self) -> usize {
        match &self.parts {
            RowParts::Flows(flows) => flows.len(),
            RowParts::Groups { groups, .. } => groups.len(),
        }
    }

    /// Whether there is none.
    pub const fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Returns the row at an index.
    pub fn row(&self, history: &History, n: usize) -> Option<Row> {
        (n < self.len()).then(|| self.row_at(history, n))
    }

    /// Returns all rows in their order.
    pub fn iter(&self, history: &History) -> impl Iterator<Item = Row> {
        (0..self.len()).map(|n| self.row_at(history, n))
    }

    /// Returns the flows of a row, each as a row of its own.
    pub fn members<'a>(&'a self, history: &'a History, n: usize) -> impl Iterator<Item = Row> + 'a {
        let members = if n < self.len() { self.numbers(n) } else { &[] };
        let flows = members.iter().map(|&flow| history.flow(flow));
        flows.map(|flow| Row::of(flow, &self.clock))
    }

    /// Returns the processes of the flows of a row, one for each flow.
    pub fn processes<'a>(
        &'a self,
        history: &'a History,
        n: usize,
    ) -> impl Iterator<Item = ProcessRef<'a>> + 'a {
        let flows = self.numbers(n).iter();
        flows.map(|&flow| ProcessRef::of(history.flow(flow)))
    }

    /// Returns the id of the row at an index.
    pub fn id(&self, history: &History, n: usize) -> Option<RowId> {
        match &self.parts {
            RowParts::Flows(flows) => Some(RowId::Flow(history.flow(*flows.get(n)?).key)),
            RowParts::Groups { groups, .. } => Some(groups.get(n)?.0.clone()),
        }
    }

    /// Returns the index of a row.
    pub fn find(&self, history: &History, id: &RowId) -> Option<usize> {
        match (&self.parts, id) {
            (RowParts::Flows(flows), RowId::Flow(key)) => {
                let number = history.number(key)?;
                flows.iter().position(|&flow| flow == number)
            }
            (RowParts::Flows(_), _) => None,
            (RowParts::Groups { groups, .. }, id) => groups.iter().position(|group| group.0 == *id),
        }
    }

    /// Whether a row moved no bytes in these directions in the latest interval.
    pub fn is_idle(&self, history: &History, n: usize) -> bool {
        let mut flows = self.numbers(n).iter().map(|&flow| history.flow(flow));
        flows.all(|flow| self.directions.bytes(&flow.traffic.now) == 0)
    }

    /// Moves the rows at these indices before all others, which keep their order.
    pub fn bring_forward(&mut self, first: &[usize]) {
        self.made.get_mut().sums_from.clear();
        fn reorder<T: Default>(all: &mut Vec<T>, first: &[usize]) {
            let mut old = std::mem::take(all)
                .into_iter()
                .map(Some)
                .collect::<Vec<_>>();
            let head = first.iter().filter_map(|&n| old[n].take());
            let mut new: Vec<T> = head.collect();
            new.extend(old.into_iter().flatten());
            *all = new;
        }
        match &mut self.parts {
            RowParts::Flows(flows) => reorder(flows, first),
            RowParts::Groups { groups, .. } => reorder(groups, first),
        }
    }

    /// Returns the sparkline of a row; see [`History::sparkline`].
    pub fn sparkline(&self, history: &History, n: usize) -> Vec<Option<f64>> {
        let all = self.numbers(n).iter();
        // Past flows have no sparkline, and moved nothing within its span.
        let recent = all.filter(|&&flow| (flow as usize) < history.recent().len());
        history.sparkline(recent.map(|&flow| history.flow(flow)), self.directions)
    }

    fn row_at(&self, history: &History, n: usize) -> Row {
        let Some(position) = self.kept_at(n) else {
            return self.make_row(history, n);
        };
        if let Some(row) = self.made.borrow().rows.get(&position) {
            return row.clone();
        }
        let row = self.make_row(history, n);
        self.made.borrow_mut().rows.insert(position, row.clone());
        row
    }

    /// Returns the position of the first flow of a row of many flows; `None` if it has few.
    fn kept_at(&self, n: usize) -> Option<u32> {
        match &self.parts {
            RowParts::Flows(_) => None,
            RowParts::Groups { groups, .. } => {
                let range = &groups[n].1;
                (range.len() >= FLOWS_OF_A_KEPT_ROW).then_some(range.start)
            }
        }
    }

    fn make_row(&self, history: &History, n: usize) -> Row {
        let (first, others) = match self.numbers(n) {
            [first, others @ ..] => (history.flow(*first), others),
            [] => unreachable!("a row is of one flow at least"),
        };
        let mut row = Row::of(first, &self.clock);
        for &flow in others {
            row.add(history.flow(flow), &self.clock);
        }
        if let RowParts::Groups { groups, .. } = &self.parts {
            row.id = groups[n].0.clone();
        }
        row
    }

    /// Returns the traffic of a row, without its other columns.
    pub(super) fn traffic_at<'a>(
        &'a self,
        history: &'a History,
        n: usize,
    ) -> Cow<'a, TrafficStats> {
        if let RowParts::Groups { groups, .. } = &self.parts
            && let Some(sum) = self.sums.get(&groups[n].1.start)
        {
            return Cow::Borrowed(sum);
        }
        let (first, others) = match self.numbers(n) {
            [first, others @ ..] => (history.flow(*first), others),
            [] => unreachable!("a row is of one flow at least"),
        };
        let mut traffic = Cow::Borrowed(&first.traffic);
        for &flow in others {
            *traffic.to_mut() += &history.flow(flow).traffic;
        }
        traffic
    }

    /// Returns the flows of a row.
    fn numbers(&self, n: usize) -> &[u32] {
        match &self.parts {
            RowParts::Flows(flows) => slice::from_ref(&flows[n]),
            RowParts::Groups { groups, members } => {
                let range = &groups[n].1;
                &members[range.start as usize..range.end as usize]
            }
        }
    }
}

impl RowParts {
    /// Sorts flows by the rows they belong to.
    fn grouped<'a>(
        flows: &[u32],
        group: Group,
        lookup: &dyn ProcessLookup,
        flow: impl Fn(u32) -> &'a FlowStats,
    ) -> Self {
        let mut found = Groups::new(group, lookup);
        let indices: Vec<u32> = flows
            .iter()
            .map(|&number| {
                let flow = flow(number);
                found.index(flow.into(), &ProcessRef::of(flow)) as u32
            })
            .collect();
        let ids = found.into_ids();
        // Holds the start of each group, then the position of its next flow.
        let mut next = vec![0; ids.len() + 1];
        for &index in &indices {
            next[index as usize + 1] += 1;
        }
        for n in 1..next.len() {
            next[n] += next[n - 1];
        }
        let ranges = next.windows(2).map(|ends| ends[0]..ends[1]);
        let groups = ids.into_iter().zip(ranges).collect();
        let mut members = vec![0; flows.len()];
        for (&flow, &index) in flows.iter().zip(&indices) {
            members[next[index as usize] as usize] = flow;
            next[index as usize] += 1;
        }
        Self::Groups { groups, members }
    }
}

/// Returns the power of two of a rate, for an order that does not change with every interval.
fn size_class(rate: f64) -> u64 {
    const MANTISSA_BITS: u32 = f64::MANTISSA_DIGITS - 1;
    rate.max(0.0).to_bits() >> MANTISSA_BITS
}

/// Whether the query has a row for a flow.
fn is_in(flow: &FlowStats, view: &RowQuery, clock: &Clock) -> bool {
    match flow.traffic.idle(view.directions, clock) {
        None => false,
        Some(idle) => view.past || idle <= RECENT_FOR,
    }
}

impl Sum {
    fn add(&mut self, flow: &FlowStats) {
        self.flows += 1;
        self.traffic += &flow.traffic;
    }
}

/// Returns the row that a flow belongs to.
pub fn group_of(group: Group, flow: &FlowStats, lookup: &dyn ProcessLookup) -> RowId {
    RowId::of(group, flow.into(), &ProcessRef::of(flow), lookup)
}
