//! The latest intervals of a live machine, kept to show the table of a past moment while counting
//! goes on.
//!
//! Memory is bounded by [`MAX_MOMENTS`] intervals of [`MAX_MOMENT_FLOWS`] flows each, at most 8
//! MiB; the smaller flows of an interval are kept as one sum. What was counted before the oldest
//! interval is one sum too, so the table of any moment adds up to what the machine had moved by
//! then, to the byte.

use std::cmp::Reverse;
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::SystemTime;

use super::history::{History, HistoryBase};
use crate::model::flow::Counters;
use crate::model::interval::Interval;
use crate::model::wire_estimate::{Cost, add_cost};
use crate::view::Directions;

/// Most intervals that are kept: two minutes at one a second.
pub const MAX_MOMENTS: usize = 120;
/// Most flows of an interval that are kept separately: more than a screen shows.
pub const MAX_MOMENT_FLOWS: usize = 256;

/// The flows of an interval that are kept as one sum.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SummedFlows {
    pub flows: u64,
    pub counters: Counters,
    /// The part of `counters` that is copies ([`Interval::copied_rx_bytes`]).
    pub copied_rx_bytes: u64,
    /// The part of `counters` that moved between two ends on this machine.
    pub internal: Counters,
    /// Their estimated cost; `None` where no zone has a price.
    pub cost: Option<Cost>,
}

#[derive(Clone, Debug)]
struct Moment {
    /// The interval with its largest flows.
    interval: Interval,
    /// The sum of its other flows.
    summed: SummedFlows,
    /// Sums of everything counted before.
    base: HistoryBase,
}

/// The state of the table at a past moment.
#[derive(Debug)]
pub struct PastMoment {
    pub history: History,
    /// Number of flows that moved bytes in the interval that ended then.
    pub flows: usize,
    /// Beginning of the time that the totals and averages of rows cover; `None` if they cover
    /// everything.
    pub since: Option<SystemTime>,
    /// Most flows, in any interval since then, that are only part of a sum.
    pub summed_flows: u64,
}

/// The latest intervals, oldest first.
#[derive(Clone, Debug, Default)]
pub struct Moments {
    ring: VecDeque<Moment>,
}

impl Moments {
    /// Adds an interval that `before` does not contain yet.
    pub fn add(&mut self, before: &History, interval: &Interval) {
        if self.ring.len() == MAX_MOMENTS {
            self.ring.pop_front();
        }
        let (interval, summed) = largest(interval);
        self.ring.push_back(Moment {
            interval,
            summed,
            base: before.base(),
        });
    }

    pub fn clear(&mut self) {
        self.ring.clear();
    }

    /// Returns the number of moments that can be shown.
    pub fn len(&self) -> usize {
        self.ring.len()
    }

    /// Whether there is no moment.
    pub fn is_empty(&self) -> bool {
        self.ring.is_empty()
    }

    /// Returns how many intervals ago the first interval ended that ended at this time or later; 0
    /// is the latest.
    pub fn ago(&self, time: SystemTime) -> Option<usize> {
        let first = self
            .ring
            .iter()
            .position(|moment| moment.interval.ended >= time)?;
        Some(self.ring.len() - 1 - first)
    }

    /// Returns the latest interval, with its flows that are summed.
    pub fn latest(&self) -> Option<(&Interval, &SummedFlows)> {
        self.at(0)
    }

    /// Returns the interval that ended this many intervals ago, with its flows that are summed.
    pub fn at(&self, ago: usize) -> Option<(&Interval, &SummedFlows)> {
        let moment = self.ring.get(self.ring.len().checked_sub(1 + ago)?)?;
        Some((&moment.interval, &moment.summed))
    }

    /// Returns the table as it was this many intervals ago; `live` decides which columns it has.
    pub fn table(&self, ago: usize, live: &History) -> Option<PastMoment> {
        let last = self.ring.len().checked_sub(1 + ago)?;
        let first = self.ring.front()?;
        let moments = || self.ring.iter().take(last + 1);
        let summed_flows = moments().map(|moment| moment.summed.flows).max();
        let summed_flows = summed_flows.unwrap_or(0);
        let mut history = History::resume(&first.base, live.seen(), summed_flows == 0);
        for moment in moments() {
            history.take(&moment.interval, &moment.summed);
        }
        let shown = &self.ring[last];
        let began = first.interval.ended.checked_sub(first.interval.elapsed);
        Some(PastMoment {
            history,
            flows: shown.interval.flows.len() + usize::try_from(shown.summed.flows).unwrap_or(0),
            since: began.filter(|_| first.base.intervals() > 0),
            summed_flows,
        })
    }
}

/// Splits an interval into its largest flows and the sum of the others.
fn largest(interval: &Interval) -> (Interval, SummedFlows) {
    let flows = &interval.flows;
    let mut kept: Vec<usize> = (0..flows.len()).collect();
    let mut summed = SummedFlows::default();
    if kept.len() > MAX_MOMENT_FLOWS {
        let size = |&n: &usize| {
            let flow = &flows[n];
            (Reverse(Directions::Both.bytes(&flow.counters)), flow.key)
        };
        kept.select_nth_unstable_by_key(MAX_MOMENT_FLOWS, size);
        for &n in &kept[MAX_MOMENT_FLOWS..] {
            let flow = &flows[n];
            summed.flows += 1;
            summed.counters += flow.counters;
            add_cost(&mut summed.cost, flow.cost());
            if flow.key.receives_copies() {
                summed.copied_rx_bytes += flow.counters.rx_bytes;
            }
            if flow.internal {
                summed.internal += flow.counters;
            }
        }
        kept.truncate(MAX_MOMENT_FLOWS);
    }
    let interval = Interval {
        ended: interval.ended,
        elapsed: interval.elapsed,
        flows: kept.into_iter().map(|n| flows[n].clone()).collect(),
        losses: interval.losses,
        interfaces: interval.interfaces.clone(),
        method: Arc::clone(&interval.method),
    };
    (interval, summed)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::flow::Flow;
    use crate::resolve::owners::Owners;
    use crate::stats::ranking::{RowQuery, Rows};
    use crate::testing::{Intervals, Random, flow};

    const BUDGET: usize = 8 << 20;

    #[test]
    fn the_memory_of_moments_stays_within_its_budget() {
        let most = MAX_MOMENTS * (MAX_MOMENT_FLOWS * size_of::<Flow>() + size_of::<Moment>());
        assert!(most <= BUDGET, "{most}");
    }

    /// Rows, and what is no row, of a history add up to its total.
    fn assert_adds_up(history: &History) {
        for (directions, past) in [
            (Directions::Rx, false),
            (Directions::Tx, true),
            (Directions::Both, false),
        ] {
            let query = RowQuery {
                directions,
                past,
                ..RowQuery::default()
            };
            let rows = Rows::new(history, &query, &Owners::disabled(), &|_| true);
            let of = |counters: &Counters| directions.bytes(counters);
            let (mut now, mut total) = (0, 0);
            for row in rows.iter(history) {
                now += of(&row.traffic.now);
                total += of(&row.traffic.total);
            }
            for sum in [&rows.filtered, &rows.silent] {
                now += of(&sum.traffic.now);
                total += of(&sum.traffic.total);
            }
            now += of(&rows.untracked);
            total += of(&rows.untracked_total);
            assert_eq!(now, of(&rows.all.now));
            assert_eq!(total, of(&rows.all.total));
        }
    }

    #[test]
    fn the_table_of_every_moment_adds_up_and_has_that_moments_bytes() {
        for few in [true, false] {
            let mut rng = Random(7);
            let (mut intervals, mut live) = (Intervals::default(), History::new());
            let mut moments = Moments::default();
            let mut snapshots = Vec::new();
            for n in 0..MAX_MOMENTS as u64 + 40 {
                let most = if few { 60 } else { 700 };
                let mut flows: Vec<Flow> = (0..1 + rng.below(most) as u32)
                    .map(|id| flow(id, rng.below(5000), rng.below(900)))
                    .collect();
                rng.shuffle(&mut flows);
                let mut interval = intervals.next(1000, flows);
                interval.losses.untracked.rx_bytes = n % 3;
                moments.add(&live, &interval);
                live.add(&interval);
                snapshots.push((live.clock(), *live.all(), interval));
            }
            assert_eq!(moments.len(), MAX_MOMENTS);
            assert!(moments.table(MAX_MOMENTS, &live).is_none());
            for ago in [0, 1, 17, MAX_MOMENTS - 1] {
                let (clock, all, interval) = &snapshots[snapshots.len() - 1 - ago];
                let past = moments.table(ago, &live).unwrap();
                assert_eq!(past.history.clock(), *clock);
                assert_eq!(past.history.all(), all);
                assert_eq!(past.flows, interval.flows.len());
                assert_eq!(past.summed_flows == 0, few);
                assert!(past.since.is_some());
                assert_adds_up(&past.history);
                let largest = interval
                    .flows
                    .iter()
                    .max_by_key(|flow| (Directions::Both.bytes(&flow.counters), Reverse(flow.key)));
                let largest = largest.unwrap();
                let shown = past.history.get(&largest.key).unwrap();
                assert_eq!(shown.traffic.now, largest.counters);
            }
        }
    }

    #[test]
    fn a_moment_of_which_all_is_kept_is_the_history_of_then() {
        let (mut intervals, mut live) = (Intervals::default(), History::new());
        let mut moments = Moments::default();
        let mut then = None;
        for n in 0..30 {
            let interval = intervals.next(1000, vec![flow(1, 10 * n, 5), flow(n as u32 + 2, 1, 1)]);
            moments.add(&live, &interval);
            live.add(&interval);
            if n == 19 {
                then = Some(live.clone());
            }
        }
        let (then, past) = (then.unwrap(), moments.table(10, &live).unwrap());
        assert_eq!(past.since, None);
        assert_eq!(past.history.ended(), then.ended());
        assert_eq!(moments.ago(then.ended()), Some(10));
        for flow in then.flows() {
            let shown = past.history.get(&flow.key).unwrap();
            assert_eq!(shown.traffic, flow.traffic);
            assert_eq!(
                past.history.sparkline([shown], Directions::Rx),
                then.sparkline([flow], Directions::Rx)
            );
        }
    }
}
