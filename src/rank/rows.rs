//! Rows over a history: flows, or sums of flows by process, user, peer, port or container, in the
//! order asked for, with what is not a row summed.

#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use super::condition::Condition;
use super::facts::{Facts, Who};
use super::id::RowId;
use super::order::Order;
use super::top::top_n;
use crate::flow::{Comm, Counters, Endpoint, Owner, Protocol};
use crate::history::{Clock, Figures, FlowStats, History, RECENT_FOR};
use crate::table::{Group, SortKey, Way};

/// What is asked of a history.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct View {
    /// Which bytes: a flow without any this way is no row.
    pub way: Way,
    /// What a row is.
    pub group: Group,
    /// The order of rows; equal ones by their id, so that they hold still.
    pub sort: SortKey,
    /// Most rows; `None` for all.
    pub top_n: Option<usize>,
    /// Whether flows that ended long ago are rows too, as in a view of totals.
    pub past: bool,
}

/// What all flows of a row have in common; `None` where they differ.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Common {
    /// Transport protocol.
    pub protocol: Option<Protocol>,
    /// The socket's own end.
    pub local: Option<Endpoint>,
    /// The peer.
    pub remote: Option<Endpoint>,
    /// Process id.
    pub tgid: Option<u32>,
    /// Process name.
    pub comm: Option<Comm>,
    /// What the kernel said of the process, where it is one: the latest.
    pub owner: Option<Arc<Owner>>,
}

/// One row.
#[derive(Clone, Debug)]
pub struct Row {
    /// Which.
    pub id: RowId,
    /// Number of flows in it.
    pub flows: usize,
    /// What its flows have in common.
    pub common: Common,
    /// What they moved.
    pub figures: Figures,
    /// How they are doing besides.
    pub condition: Condition,
}

/// Flows that are no rows, summed.
#[derive(Clone, Copy, Debug)]
pub struct Sum {
    /// Number of rows it would be; 0 where that is not known.
    pub rows: usize,
    /// Number of flows.
    pub flows: usize,
    /// What they moved.
    pub figures: Figures,
}

/// What a view shows. `rows`, `other`, `filtered`, `silent` and `untracked` add up to `all`.
#[derive(Clone, Debug)]
pub struct Rows {
    /// The clock that the figures are read by.
    pub clock: Clock,
    /// The first rows in order.
    pub rows: Vec<Row>,
    /// Other rows that passed the filter.
    pub other: Sum,
    /// Flows that did not pass the filter.
    pub filtered: Sum,
    /// Flows that ended, or moved nothing this way lately.
    pub silent: Sum,
    /// How many of those that are kept never moved anything this way.
    pub never: usize,
    /// In the latest interval, of flows that found the map full.
    pub untracked: Counters,
    /// The same since the beginning.
    pub untracked_total: Counters,
    /// The whole machine.
    pub all: Figures,
}

impl Rows {
    /// What `view` shows of a history; flows for which `filter` says no are summed apart.
    pub fn new(
        history: &History,
        view: &View,
        facts: &dyn Facts,
        filter: &dyn Fn(&FlowStats) -> bool,
    ) -> Self {
        let clock = history.clock();
        let nothing = Sum {
            rows: 0,
            flows: 0,
            figures: Figures::nothing(clock, history.ended()),
        };
        let (mut filtered, mut silent, mut never) = (nothing, nothing, 0);
        silent.flows += usize::try_from(history.older().flows).unwrap_or(usize::MAX);
        silent.figures += &history.older().figures;

        let mut kept: Vec<&FlowStats> = Vec::with_capacity(history.recent().len());
        for flow in history.recent().iter().chain(history.past()) {
            if !is_in(flow, view, &clock) {
                silent.add(flow);
                never += usize::from(flow.figures.idle(view.way, &clock).is_none());
            } else if !filter(flow) {
                filtered.add(flow);
            } else {
                kept.push(flow);
            }
        }
        let (rows, other) = if view.group == Group::Flow {
            let order = |flow: &&FlowStats| Order::new(view, &clock, facts, &Row::of(flow, &clock));
            pick(
                &kept,
                view,
                order,
                nothing,
                |flow| Row::of(flow, &clock),
                part_of_flow,
            )
        } else {
            let groups = groups(kept, view.group, facts, &clock);
            let order = |row: &Row| Order::new(view, &clock, facts, row);
            pick(&groups, view, order, nothing, Row::clone, part_of_group)
        };
        Self {
            clock,
            rows,
            other,
            filtered,
            silent,
            never,
            untracked: history.losses().untracked,
            untracked_total: history.losses_total().untracked,
            all: *history.all(),
        }
    }

    /// Rows in all, those in `other` included.
    pub fn len(&self) -> usize {
        self.rows.len() + self.other.rows
    }

    /// Whether there is no row.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Flows in all rows, those in `other` included.
    pub fn flows(&self) -> usize {
        self.rows.iter().map(|row| row.flows).sum::<usize>() + self.other.flows
    }
}

/// Whether a flow is in a view at all.
fn is_in(flow: &FlowStats, view: &View, clock: &Clock) -> bool {
    match flow.figures.idle(view.way, clock) {
        None => false,
        Some(idle) => view.past || idle <= RECENT_FOR,
    }
}

impl Sum {
    fn add(&mut self, flow: &FlowStats) {
        self.flows += 1;
        self.figures += &flow.figures;
    }
}

impl Row {
    fn of(flow: &FlowStats, clock: &Clock) -> Self {
        Self {
            id: RowId::Flow(flow.key),
            flows: 1,
            common: Common::of(flow),
            figures: flow.figures,
            condition: Condition::of(flow, clock),
        }
    }

    fn add(&mut self, flow: &FlowStats, clock: &Clock) {
        self.flows += 1;
        let is_later = flow.figures.last_seen > self.figures.last_seen;
        self.common.narrow(&Common::of(flow), is_later);
        self.figures += &flow.figures;
        self.condition.add(&Condition::of(flow, clock));
    }

    /// Whose its flows are, where they are one process's.
    pub fn who(&self) -> Option<Who<'_>> {
        Some(Who {
            tgid: self.common.tgid?,
            owner: self.common.owner.as_deref()?,
            when: self.figures.last_seen,
        })
    }

    /// Whether no bytes moved this way in the latest interval, and how long ago the last did.
    pub fn idle(&self, way: Way, clock: &Clock) -> Option<Duration> {
        self.figures.idle(way, clock).filter(|idle| !idle.is_zero())
    }
}

impl Common {
    fn of(flow: &FlowStats) -> Self {
        Self {
            protocol: Some(flow.key.protocol),
            local: Some(flow.key.local),
            remote: Some(flow.key.remote),
            tgid: Some(flow.key.tgid),
            comm: Some(flow.owner.comm),
            owner: Some(Arc::clone(&flow.owner)),
        }
    }

    fn narrow(&mut self, other: &Self, is_later: bool) {
        fn keep<T: PartialEq>(mine: &mut Option<T>, theirs: &Option<T>) {
            if mine != theirs {
                *mine = None;
            }
        }
        keep(&mut self.protocol, &other.protocol);
        keep(&mut self.local, &other.local);
        keep(&mut self.remote, &other.remote);
        keep(&mut self.tgid, &other.tgid);
        keep(&mut self.comm, &other.comm);
        if self.tgid.is_none() {
            self.owner = None;
        } else if is_later {
            self.owner.clone_from(&other.owner);
        }
    }
}

/// The row that a flow belongs to.
pub fn group_of(group: Group, flow: &FlowStats, facts: &dyn Facts) -> RowId {
    RowId::of(group, &flow.key, &Who::of(flow), facts)
}

/// Sums flows by the rows they belong to.
fn groups(flows: Vec<&FlowStats>, group: Group, facts: &dyn Facts, clock: &Clock) -> Vec<Row> {
    let mut rows: Vec<Row> = Vec::new();
    let mut places: HashMap<RowId, usize> = HashMap::new();
    for flow in flows {
        let id = group_of(group, flow, facts);
        if let Some(&place) = places.get(&id) {
            rows[place].add(flow, clock);
        } else {
            places.insert(id.clone(), rows.len());
            rows.push(Row {
                id,
                ..Row::of(flow, clock)
            });
        }
    }
    rows
}

/// The first of many by their order, and the rest summed. Only the first are made into rows: many
/// rows are megabytes.
fn pick<T>(
    all: &[T],
    view: &View,
    order: impl Fn(&T) -> Order,
    mut other: Sum,
    row: impl Fn(&T) -> Row,
    part: impl Fn(&T) -> (usize, &Figures),
) -> (Vec<Row>, Sum) {
    let n = view.top_n.unwrap_or(all.len());
    let first = top_n(all.iter().map(&order).zip(0_usize..), n);
    let mut is_row = vec![false; all.len()];
    for &place in &first {
        is_row[place] = true;
    }
    let rest = all.iter().zip(is_row).filter(|(_, is_row)| !is_row);
    for (flows, figures) in rest.map(|(item, _)| part(item)) {
        other.rows += 1;
        other.flows += flows;
        other.figures += figures;
    }
    (
        first.into_iter().map(|place| row(&all[place])).collect(),
        other,
    )
}

fn part_of_flow<'a>(flow: &'a &FlowStats) -> (usize, &'a Figures) {
    (1, &flow.figures)
}

const fn part_of_group(row: &Row) -> (usize, &Figures) {
    (row.flows, &row.figures)
}

/// The sparklines of some rows of a view; see [`History::sparkline`]. One walk over all flows, so
/// ask for all that are shown at once.
pub fn sparklines(
    history: &History,
    view: &View,
    facts: &dyn Facts,
    rows: &[RowId],
) -> Vec<Vec<Option<f64>>> {
    let clock = history.clock();
    let mut members: Vec<Vec<&FlowStats>> = vec![Vec::new(); rows.len()];
    if view.group == Group::Flow {
        for (row, members) in rows.iter().zip(&mut members) {
            if let RowId::Flow(key) = row {
                members.extend(history.get(key));
            }
        }
    } else {
        let places: HashMap<&RowId, usize> = rows.iter().zip(0..).collect();
        for flow in history.recent() {
            if is_in(flow, view, &clock)
                && let Some(&place) = places.get(&group_of(view.group, flow, facts))
            {
                members[place].push(flow);
            }
        }
    }
    members
        .into_iter()
        .map(|members| history.sparkline(members, view.way))
        .collect()
}
