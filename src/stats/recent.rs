//! The last minutes: a ring of points for the machine's chart, and rings of bars for the sparklines
//! of flows. Both are bounded. Short intervals are joined, so that fast refreshing does not shorten
//! the time that they cover.

use std::collections::VecDeque;
use std::time::{Duration, SystemTime};

use crate::model::flow::Counters;
use crate::model::interval::Losses;

/// Most points of the machine's chart: ten minutes at one a second.
pub const MAX_POINTS: usize = 600;
/// Most bars of a sparkline.
pub const MAX_BARS: usize = 60;
/// Time that a sparkline covers.
pub const SPARK_SPAN: Duration = Duration::from_secs(60);
/// Shorter intervals are joined into one point or bar: nearly a second, so that intervals of one
/// second stay single even if they end a little early.
const MIN_POINT: Duration = Duration::from_millis(900);
/// A smaller step of the wall clock is not taken for a sleep.
const MIN_GAP: Duration = Duration::from_secs(2);

/// One point of the machine's chart: an interval, or several short ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Point {
    /// Wall-clock time of its end.
    pub ended: SystemTime,
    /// Measured length; rates divide by this.
    pub elapsed: Duration,
    /// Everything counted except copies
    /// ([`Interval::copied_rx_bytes`](crate::model::interval::Interval::copied_rx_bytes)),
    /// untracked bytes included.
    pub total: Counters,
    /// What could not be counted or attributed.
    pub losses: Losses,
    /// Unmeasured time before the point: the machine slept, or a recording has a gap.
    pub gap_before: Duration,
}

/// The points of the machine's chart, oldest first.
#[derive(Clone, Debug, Default)]
pub(super) struct Points {
    ring: VecDeque<Point>,
    /// Number of all points so far, including those that have left the ring.
    number: u64,
}

impl Points {
    pub(super) fn add(&mut self, point: Point) {
        let gap_before = self
            .ring
            .back()
            .and_then(|last| point.ended.duration_since(last.ended).ok())
            .map(|passed| passed.saturating_sub(point.elapsed))
            .filter(|&gap| gap >= MIN_GAP)
            .unwrap_or_default();
        match self.ring.back_mut() {
            Some(last) if last.elapsed < MIN_POINT && gap_before.is_zero() => {
                last.ended = point.ended;
                last.elapsed += point.elapsed;
                last.total += point.total;
                last.losses.merge(&point.losses);
            }
            _ => {
                self.number += 1;
                if self.ring.len() == MAX_POINTS {
                    self.ring.pop_front();
                }
                self.ring.push_back(Point {
                    gap_before,
                    ..point
                });
            }
        }
    }

    pub(super) fn iter(&self) -> impl DoubleEndedIterator<Item = &Point> + ExactSizeIterator {
        self.ring.iter()
    }

    pub(super) const fn number(&self) -> u64 {
        self.number
    }
}

/// The common time line of all sparklines: lengths of the latest bars, oldest first.
#[derive(Clone, Debug, Default)]
pub(super) struct Bars {
    lengths: VecDeque<Duration>,
    /// Number of the first bar in `lengths`, counted from the start.
    first: u64,
}

impl Bars {
    /// Adds an interval; returns the number of its bar.
    pub(super) fn add(&mut self, elapsed: Duration) -> u64 {
        match self.lengths.back_mut() {
            Some(last) if *last < MIN_POINT => *last += elapsed,
            _ => {
                if self.lengths.len() == MAX_BARS {
                    self.drop_first();
                }
                self.lengths.push_back(elapsed);
            }
        }
        let mut span: Duration = self.lengths.iter().sum();
        // The oldest bar is dropped once the others cover the span.
        while let Some(&oldest) = self.lengths.front()
            && self.lengths.len() > 1
            && span - oldest >= SPARK_SPAN
        {
            span -= oldest;
            self.drop_first();
        }
        self.first + self.lengths.len() as u64 - 1
    }

    pub(super) fn len(&self) -> usize {
        self.lengths.len()
    }

    /// Returns the number of all bars so far.
    pub(super) fn number(&self) -> u64 {
        self.first + self.lengths.len() as u64
    }

    fn drop_first(&mut self) {
        if self.lengths.pop_front().is_some() {
            self.first += 1;
        }
    }

    /// Returns the number and length of each bar, oldest first.
    pub(super) fn iter(&self) -> impl Iterator<Item = (u64, Duration)> {
        (self.first..).zip(self.lengths.iter().copied())
    }
}

/// Bytes of one flow in each of the latest bars.
#[derive(Clone, Debug)]
pub(super) struct Ring {
    /// Received and sent bytes; a bar's index is its number modulo the length.
    bars: [[u64; 2]; MAX_BARS],
    /// Number of the first known bar.
    since: u64,
    /// Number of the last bar with bytes.
    last: u64,
}

impl Ring {
    pub(super) const fn new(since: u64) -> Self {
        Self {
            bars: [[0; 2]; MAX_BARS],
            since,
            last: since,
        }
    }

    const fn bar_index(number: u64) -> usize {
        (number % MAX_BARS as u64) as usize
    }

    /// Bars come in order.
    pub(super) fn add(&mut self, number: u64, moved: &Counters) {
        // The places of the bars since then still hold bars of an earlier round.
        for passed in (self.last + 1..=number).rev().take(MAX_BARS) {
            self.bars[Self::bar_index(passed)] = [0; 2];
        }
        self.last = number;
        let [rx_bytes, tx_bytes] = &mut self.bars[Self::bar_index(number)];
        *rx_bytes += moved.rx_bytes;
        *tx_bytes += moved.tx_bytes;
    }

    /// Returns the bytes of one of the latest [`MAX_BARS`] bars; `None` if they were not kept.
    pub(super) fn get(&self, number: u64) -> Option<Counters> {
        if number < self.since {
            return None;
        }
        let [rx_bytes, tx_bytes] = if number <= self.last {
            self.bars[Self::bar_index(number)]
        } else {
            [0; 2]
        };
        Some(Counters {
            rx_bytes,
            tx_bytes,
            ..Counters::default()
        })
    }
}
