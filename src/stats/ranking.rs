//! Turns an interval into what is shown of it ([`Ranking`]), and a history into rows of flows or
//! groups in any order ([`Rows`]): the first N, and everything else summed, so that every view adds
//! up to the totals. Pure; knows neither where intervals come from nor how rankings are drawn.

use std::cmp::{Ordering, Reverse};
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

pub use super::groups::{GroupTotals, group_totals};
pub use super::order::steady_value;
pub use super::process_lookup::{ProcessLookup, ProcessRef};
pub use super::ranked::{Ranked, RowOrder};
pub use super::row::{Row, SharedFields};
pub use super::row_id::RowId;
pub use super::rows::{RowParties, RowQuery, Rows, Sum, group_of};
pub use super::tcp_stats::RowTcpStats;

use super::ranked::{Facts, sort_key};
use super::top;
use super::zone_totals::{ZoneTotals, zone_totals};
use crate::model::flow::{Counters, Direction, Flow};
use crate::model::interval::{InterfaceTraffic, Interval, Losses, Method};
use crate::view::Directions;

/// One interval, ranked: its flows, or groups of them.
#[derive(Clone, Debug)]
pub struct Ranking<T = Flow> {
    /// Wall-clock time of the interval's end.
    pub ended: SystemTime,
    /// Measured length of the interval; rates divide by this.
    pub elapsed: Duration,
    /// Everything counted: all flows and what was untracked.
    pub total: Counters,
    /// The part of `total` that was received twice: see [`Interval::copied_rx_bytes`].
    pub copied_rx_bytes: u64,
    /// Number of flows that moved bytes in either direction.
    pub flows: usize,
    /// What could not be counted or attributed.
    pub losses: Losses,
    /// Traffic of the machine's network cards; empty if it is unknown.
    pub interfaces: Vec<InterfaceTraffic>,
    /// What the user's zones moved.
    pub zones: Vec<ZoneTotals>,
    /// How it was counted.
    pub method: Arc<Method>,
    pub ingress: DirectionRanking<T>,
    pub egress: DirectionRanking<T>,
    /// The first rows of both directions together if they were ranked together; sections have no
    /// rows then.
    list: Vec<T>,
    /// Whether sections are in another order than by their bytes.
    is_sorted: bool,
    /// Sum of everything that is a row of neither section. With the rows and untracked bytes it
    /// adds up to `total`.
    pub unranked: Remainder<Counters>,
}

impl Ranking {
    /// Ranks an interval's flows; `top_n` is the most rows each way, `None` for all.
    pub fn new(interval: &Interval, top_n: Option<usize>) -> Self {
        Self::of(interval, &interval.flows, top_n)
    }

    /// Ranks an interval's flows in a given order.
    pub fn sorted(
        interval: &Interval,
        lookup: &dyn ProcessLookup,
        order: RowOrder,
        top_n: Option<usize>,
    ) -> Self {
        Self::ordered(interval, &interval.flows, lookup, order, top_n)
    }
}

impl<T: Ranked> Ranking<T> {
    /// Ranks rows that were made of an interval's flows.
    pub(super) fn of(interval: &Interval, all: &[T], top_n: Option<usize>) -> Self {
        let (rx, tx) = sums(all);
        let section = |direction, sum| {
            DirectionRanking::new(direction, all, sum, interval.losses.untracked, top_n)
        };
        let sections = (section(Direction::Rx, rx), section(Direction::Tx, tx));
        Self::with(interval, all, sections, Vec::new(), false)
    }

    /// Ranks rows that were made of an interval's flows, in a given order.
    pub(super) fn ordered(
        interval: &Interval,
        all: &[T],
        lookup: &dyn ProcessLookup,
        order: RowOrder,
        top_n: Option<usize>,
    ) -> Self {
        let facts = Facts {
            lookup,
            ended: interval.ended,
        };
        let key = |directions| {
            let facts = &facts;
            move |row: &T| sort_key(row, order.sort, directions, facts)
        };
        let (in_sections, list) = match order.is_list {
            true => {
                let rows = first(all.iter(), all.len(), top_n, key(Directions::Both));
                (Some(0), rows.into_iter().cloned().collect())
            }
            false => (top_n, Vec::new()),
        };
        let (rx, tx) = sums(all);
        let section = |direction: Direction, sum| {
            let untracked = interval.losses.untracked;
            let key = key(direction.into());
            DirectionRanking::by(direction, all, sum, untracked, in_sections, key)
        };
        let sections = (section(Direction::Rx, rx), section(Direction::Tx, tx));
        Self::with(interval, all, sections, list, true)
    }

    fn with(
        interval: &Interval,
        all: &[T],
        (ingress, egress): (DirectionRanking<T>, DirectionRanking<T>),
        list: Vec<T>,
        is_sorted: bool,
    ) -> Self {
        let (total, copied_rx_bytes) = interval.total_and_copied();
        let mut ranking = Self {
            ended: interval.ended,
            elapsed: interval.elapsed,
            total,
            copied_rx_bytes,
            flows: interval.flows.len(),
            losses: interval.losses,
            interfaces: interval.interfaces.clone(),
            zones: zone_totals(interval),
            method: Arc::clone(&interval.method),
            ingress,
            egress,
            list,
            is_sorted,
            unranked: Remainder::default(),
        };
        let mut shown = Remainder::<Counters>::default();
        for row in ranking.rows() {
            shown.rows += 1;
            shown.flows += row.flows();
            shown.moved += *row.counters();
        }
        // All flows are in the rows.
        let counted = ranking.total.since(&interval.losses.untracked);
        ranking.unranked = Remainder {
            rows: all.len() - shown.rows,
            flows: interval.flows.len() - shown.flows,
            moved: counted.since(&shown.moved),
        };
        ranking
    }

    /// Returns every row once: of a list in its order; of sections ingress in its order, then the
    /// rest of egress in its order.
    pub fn rows(&self) -> impl Iterator<Item = &T> {
        let ingress = &self.ingress;
        // Rows are the first ones of a total order, so a row of the other section that is not
        // behind the last one is among them.
        let rank = |row: &T| (row.counters().rx_bytes, Reverse(row.key()));
        let last = ingress.rows.last().map(rank);
        // In another order the row may be anywhere.
        let sorted = ingress.rows.iter().filter(|_| self.is_sorted);
        let sorted: BTreeSet<T::Key> = sorted.map(Ranked::key).collect();
        let is_there = move |row: &T| {
            if self.is_sorted {
                return sorted.contains(&row.key());
            }
            let last = last.as_ref();
            last.is_some_and(|last| row.counters().rx_bytes > 0 && rank(row) >= *last)
        };
        let egress = self.egress.rows.iter();
        self.list
            .iter()
            .chain(&ingress.rows)
            .chain(egress.filter(move |row| !is_there(row)))
    }
}

/// One direction of a ranking. The bytes of `rows`, `other` and `untracked` add up to `total`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DirectionRanking<T = Flow> {
    pub direction: Direction,
    /// The largest rows, largest first, equal ones by key. All of them have bytes in this
    /// direction.
    pub rows: Vec<T>,
    /// Sum of all other rows with bytes in this direction.
    pub other: Remainder,
    /// Bytes of flows that found the flow table full.
    pub untracked: u64,
    /// All bytes in this direction.
    pub total: u64,
}

/// Sum of the rows that are not shown: in a section its bytes, in a ranking all counters.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Remainder<T = u64> {
    /// Number of rows without a line.
    pub rows: usize,
    /// Number of flows in them.
    pub flows: usize,
    /// Bytes, or all counters, of these flows.
    pub moved: T,
}

/// Orders rows with equal values: the row with the smaller key comes first. Keys have 100 bytes, so
/// they are compared only if they decide.
struct KeyDescending<'a, T>(&'a T);

impl<T: Ranked> Ord for KeyDescending<'_, T> {
    fn cmp(&self, other: &Self) -> Ordering {
        other.0.key().cmp(&self.0.key())
    }
}

impl<T: Ranked> PartialOrd for KeyDescending<'_, T> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl<T: Ranked> PartialEq for KeyDescending<'_, T> {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl<T: Ranked> Eq for KeyDescending<'_, T> {}

/// Returns the first `count` rows by a sort key, largest first, equal ones by their own key.
fn first<'a, T: Ranked, K: Ord>(
    rows: impl Iterator<Item = &'a T>,
    count: usize,
    top_n: Option<usize>,
    key: impl Fn(&T) -> K,
) -> Vec<&'a T> {
    match top_n {
        Some(n) if n < count => {
            let ranked = rows.map(|row| ((key(row), KeyDescending(row)), row));
            top::top_n(ranked, n)
        }
        _ => top::in_order(rows.map(|row| (Reverse(key(row)), row)), |a, b| {
            a.key().cmp(&b.key())
        }),
    }
}

/// All rows with bytes received, and all with bytes sent, summed. In one pass: a million flows are
/// 200 MB.
fn sums<T: Ranked>(all: &[T]) -> (Remainder, Remainder) {
    let (mut rx, mut tx) = <(Remainder, Remainder)>::default();
    for row in all {
        let (counters, flows) = (row.counters(), row.flows());
        for (sum, bytes) in [(&mut rx, counters.rx_bytes), (&mut tx, counters.tx_bytes)] {
            if bytes > 0 {
                sum.rows += 1;
                sum.flows += flows;
                sum.moved += bytes;
            }
        }
    }
    (rx, tx)
}

impl<T: Ranked> DirectionRanking<T> {
    fn new(
        direction: Direction,
        all: &[T],
        sum: Remainder,
        untracked: Counters,
        top_n: Option<usize>,
    ) -> Self {
        let bytes = |row: &T| row.counters().bytes(direction);
        Self::by(direction, all, sum, untracked, top_n, bytes)
    }

    /// A section in the order of a key, largest first. `sum` is that of all rows with bytes this
    /// way.
    fn by<K: Ord>(
        direction: Direction,
        all: &[T],
        sum: Remainder,
        untracked: Counters,
        top_n: Option<usize>,
        key: impl Fn(&T) -> K,
    ) -> Self {
        let bytes = |row: &T| row.counters().bytes(direction);
        let moving = all.iter().filter(|row| bytes(row) > 0);
        let first = first(moving, sum.rows, top_n, key);
        let rows: Vec<T> = first.into_iter().cloned().collect();
        let untracked = untracked.bytes(direction);
        Self {
            direction,
            other: Remainder {
                rows: sum.rows - rows.len(),
                flows: sum.flows - flows_of(&rows),
                moved: sum.moved - bytes_of(&rows, direction),
            },
            rows,
            untracked,
            total: sum.moved + untracked,
        }
    }

    /// Returns the section with at most `rows` rows, the others summed: for a small window.
    #[must_use]
    pub fn fold(&self, rows: usize) -> Self {
        let rows = rows.min(self.rows.len());
        let (kept, folded) = self.rows.split_at(rows);
        Self {
            direction: self.direction,
            rows: kept.to_vec(),
            other: Remainder {
                rows: self.other.rows + folded.len(),
                flows: self.other.flows + flows_of(folded),
                moved: self.other.moved + bytes_of(folded, self.direction),
            },
            untracked: self.untracked,
            total: self.total,
        }
    }

    /// Returns the number of rows, including those in `other`.
    pub fn len(&self) -> usize {
        self.rows.len() + self.other.rows
    }

    /// Returns the number of flows with bytes in this direction.
    pub fn flows(&self) -> usize {
        flows_of(&self.rows) + self.other.flows
    }

    /// Returns the bytes of the rows.
    pub fn shown(&self) -> u64 {
        bytes_of(&self.rows, self.direction)
    }

    /// Whether nothing moved in this direction.
    pub const fn is_empty(&self) -> bool {
        self.total == 0
    }
}

fn bytes_of<T: Ranked>(rows: &[T], direction: Direction) -> u64 {
    rows.iter().map(|row| row.counters().bytes(direction)).sum()
}

fn flows_of<T: Ranked>(rows: &[T]) -> usize {
    rows.iter().map(Ranked::flows).sum()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::flow::{Endpoint, FlowKey, Protocol};
    use crate::testing::Random;
    use std::net::{IpAddr, Ipv4Addr};

    fn flow(id: u32, rx_bytes: u64, tx_bytes: u64) -> Flow {
        let end = |port| Endpoint::new(IpAddr::V4(Ipv4Addr::LOCALHOST), port);
        let counters = Counters {
            rx_bytes,
            tx_bytes,
            rx_msgs: 1,
            tx_msgs: 1,
        };
        let (local, remote) = (end((id % 7) as u16), end((id % 11) as u16));
        let key = FlowKey::new(Protocol::Tcp, local, remote, id);
        Flow::new(key, counters, Arc::default())
    }

    fn interval(flows: Vec<Flow>, untracked: Counters) -> Interval {
        Interval {
            ended: SystemTime::UNIX_EPOCH,
            elapsed: Duration::from_secs(1),
            flows,
            losses: Losses {
                untracked,
                ..Losses::default()
            },
            interfaces: Vec::new(),
            method: Arc::default(),
        }
    }

    /// Few different byte counts, so that equals are the rule.
    fn random_flows(random: &mut Random) -> Vec<Flow> {
        let count = random.below(60) as u32;
        (0..count)
            .map(|id| flow(id, random.below(6), random.below(3) * random.below(1 << 40)))
            .collect()
    }

    fn by_sorting(flows: &[Flow], direction: Direction, n: usize) -> Vec<Flow> {
        let mut flows: Vec<Flow> = flows
            .iter()
            .filter(|flow| flow.counters.bytes(direction) > 0)
            .cloned()
            .collect();
        flows.sort_by_key(|flow| (Reverse(flow.counters.bytes(direction)), flow.key));
        flows.truncate(n);
        flows
    }

    #[test]
    fn the_heap_finds_what_sorting_finds() {
        let mut random = Random(1);
        for _ in 0..2000 {
            let flows = random_flows(&mut random);
            let n = random.below(70) as usize;
            let ranking = Ranking::new(&interval(flows.clone(), Counters::default()), Some(n));
            assert_eq!(ranking.ingress.rows, by_sorting(&flows, Direction::Rx, n));
            assert_eq!(ranking.egress.rows, by_sorting(&flows, Direction::Tx, n));
            let all = Ranking::new(&interval(flows.clone(), Counters::default()), None);
            assert_eq!(
                all.egress.rows,
                by_sorting(&flows, Direction::Tx, usize::MAX)
            );
        }
    }

    #[test]
    fn every_view_adds_up_to_the_totals() {
        let mut random = Random(2);
        for _ in 0..2000 {
            let flows = random_flows(&mut random);
            let untracked = Counters {
                rx_bytes: random.below(100),
                tx_bytes: random.below(100),
                ..Counters::default()
            };
            let interval = interval(flows, untracked);
            let ranking = Ranking::new(&interval, Some(random.below(20) as usize));
            let folded = random.below(20) as usize;
            for section in [
                ranking.ingress.clone(),
                ranking.egress.clone(),
                ranking.ingress.fold(folded),
                ranking.egress.fold(folded),
            ] {
                let sum = section.shown() + section.other.moved + section.untracked;
                assert_eq!(sum, section.total);
                assert_eq!(section.total, interval.total().bytes(section.direction));
                let moving = interval.flows.iter();
                let moving = moving.filter(|flow| flow.counters.bytes(section.direction) > 0);
                assert_eq!(section.flows(), moving.count());
            }
        }
    }

    #[test]
    fn the_order_of_the_input_does_not_matter() {
        let mut random = Random(3);
        for _ in 0..500 {
            let mut flows = random_flows(&mut random);
            let first = Ranking::new(&interval(flows.clone(), Counters::default()), Some(5));
            random.shuffle(&mut flows);
            let second = Ranking::new(&interval(flows, Counters::default()), Some(5));
            assert_eq!(first.ingress, second.ingress);
            assert_eq!(first.egress, second.egress);
        }
    }

    #[test]
    fn egress_is_ranked_by_what_was_sent() {
        let flows = vec![flow(1, 100, 1), flow(2, 1, 100), flow(3, 0, 50)];
        let ranking = Ranking::new(&interval(flows, Counters::default()), Some(2));
        let tgids = |section: &DirectionRanking| -> Vec<u32> {
            section.rows.iter().map(|flow| flow.key.tgid).collect()
        };
        assert_eq!(tgids(&ranking.ingress), [1, 2]);
        assert_eq!(tgids(&ranking.egress), [2, 3]);
        let rows: Vec<u32> = ranking.rows().map(|flow| flow.key.tgid).collect();
        assert_eq!(rows, [1, 2, 3], "a flow in both sections comes once");
    }

    #[test]
    fn a_flow_without_bytes_this_way_is_no_row() {
        let ranking = Ranking::new(&interval(vec![flow(1, 0, 9)], Counters::default()), None);
        assert!(ranking.ingress.rows.is_empty() && ranking.ingress.is_empty());
        assert_eq!(ranking.egress.rows.len(), 1);
    }
}
