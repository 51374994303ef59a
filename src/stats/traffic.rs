//! Totals, averages and peak of a flow, or of several together, over all intervals.

use std::ops::AddAssign;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::model::flow::Counters;
use crate::model::interval::rate;
use crate::view::Directions;

/// Time constants of the two exponentially weighted averages, in seconds.
pub(super) const TAU_S: [f64; 2] = [10.0, 60.0];

/// The clock of a history: measured time only, so that a machine's sleep does not count.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Clock {
    /// Measured time from the beginning of the first interval to the end of the latest one.
    pub at: Duration,
    /// Length of the latest interval.
    pub elapsed: Duration,
}

/// Sums and averages of one flow, or of several. Everything but the peak adds up: the figures of a
/// group are the sums of those of its flows.
///
/// # Averages
/// `avg10` and `avg60` are exponentially weighted means over the *observed* time: a byte moved `t`
/// seconds ago counts with the weight exp(-t/10) or exp(-t/60), and the weights of the time since
/// the first interval began sum to 1. Before a flow was first seen it moved nothing, and that
/// counts: a flow of one second has a tenth of its rate as its 10 s average, not all of it. Before
/// flowtop began nothing is known, and that counts for nothing: a steady flow that was there from
/// the beginning has its rate as its average from the first interval on. By this rule averages of
/// flows add up to the average of the machine, and an interval gives the same average as its halves
/// would.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct TrafficStats {
    /// Traffic of the latest interval.
    pub now: Counters,
    /// Traffic since the flow was first seen.
    pub total: Counters,
    /// Beginning of the interval in which it was first seen, by the clock of the history.
    first_at: Nanos,
    /// That beginning by the wall clock.
    first_seen: Nanos,
    /// End of the last interval in which bytes moved, by the wall clock.
    last_seen: Nanos,
    /// End of the last interval with bytes received and with bytes sent; meaningless before the
    /// first ones.
    last_at: [Nanos; 2],
    /// Averages in bytes a second: received and sent over 10 s, then over 60 s.
    pub(super) averages: [[f64; 2]; 2],
    /// Largest rates of an interval in bytes a second: received, sent, both together. `None` for
    /// several flows: their peaks were at different times.
    pub(super) peaks: Option<[f64; 3]>,
}

/// Time since the start in nanoseconds: half the size of a [`Duration`], because every flow has
/// several. Reaches 584 years.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Nanos(u64);

impl Nanos {
    fn of(at: Duration) -> Self {
        Self(u64::try_from(at.as_nanos()).unwrap_or(u64::MAX))
    }

    fn wall(time: SystemTime) -> Self {
        Self::of(time.duration_since(UNIX_EPOCH).unwrap_or_default())
    }

    const fn duration(self) -> Duration {
        Duration::from_nanos(self.0)
    }

    fn time(self) -> SystemTime {
        UNIX_EPOCH + self.duration()
    }
}

/// EWMA weights of one interval, for each of [`TAU_S`]: the share of the average that stays, and
/// the share of the interval's rate that is added.
#[derive(Clone, Copy, Debug)]
pub(super) struct Decay {
    keep: [f64; 2],
    gain: [f64; 2],
}

impl Decay {
    /// Returns the weights of an interval of `elapsed` that began at `begun` on the clock of the
    /// history.
    pub(super) fn over(begun: Duration, elapsed: Duration) -> Self {
        let mut decay = Self {
            keep: [1.0; 2],
            gain: [0.0; 2],
        };
        if elapsed.is_zero() {
            return decay;
        }
        for (i, tau) in TAU_S.into_iter().enumerate() {
            // 1 - exp(-t/tau), exact for small t too: the weight of all observed time.
            let weight = |time: Duration| -(-time.as_secs_f64() / tau).exp_m1();
            let after = weight(begun + elapsed);
            let alpha = weight(elapsed);
            decay.keep[i] = weight(begun) * (1.0 - alpha) / after;
            decay.gain[i] = alpha / after;
        }
        decay
    }
}

impl TrafficStats {
    /// Returns zeroed statistics for a flow first seen in the interval that began at `first_at`.
    pub(super) fn new(first_at: Duration, first_seen: SystemTime) -> Self {
        let (first_at, first_seen) = (Nanos::of(first_at), Nanos::wall(first_seen));
        Self {
            now: Counters::default(),
            total: Counters::default(),
            first_at,
            first_seen,
            last_seen: first_seen,
            last_at: [first_at; 2],
            averages: [[0.0; 2]; 2],
            peaks: Some([0.0; 3]),
        }
    }

    /// Returns the sum of no flows, to which flows can be added.
    pub fn nothing(clock: Clock, ended: SystemTime) -> Self {
        Self {
            last_seen: Nanos(0),
            ..Self::new(clock.at, ended)
        }
    }

    /// Applies an interval without bytes.
    pub(super) fn decay(&mut self, decay: &Decay) {
        self.now = Counters::default();
        for (averages, keep) in self.averages.iter_mut().zip(decay.keep) {
            averages[0] *= keep;
            averages[1] *= keep;
        }
    }

    /// Adds the traffic of the interval that ended at `clock` and `ended`. Call [`Self::decay`]
    /// before.
    pub(super) fn count(
        &mut self,
        moved: &Counters,
        decay: &Decay,
        clock: &Clock,
        ended: SystemTime,
    ) {
        self.now += *moved;
        self.total += *moved;
        let bytes = [moved.rx_bytes, moved.tx_bytes];
        let rates = bytes.map(|bytes| rate(bytes, clock.elapsed));
        for (averages, gain) in self.averages.iter_mut().zip(decay.gain) {
            averages[0] += gain * rates[0];
            averages[1] += gain * rates[1];
        }
        if let Some(peaks) = &mut self.peaks {
            let both = rates[0] + rates[1];
            for (peak, rate) in peaks.iter_mut().zip([rates[0], rates[1], both]) {
                *peak = peak.max(rate);
            }
        }
        for (at, bytes) in self.last_at.iter_mut().zip(bytes) {
            if bytes > 0 {
                *at = Nanos::of(clock.at);
            }
        }
        self.last_seen = Nanos::wall(ended);
    }

    /// Returns the bytes a second of the latest interval.
    pub fn rate(&self, directions: Directions, clock: &Clock) -> f64 {
        rate(directions.bytes(&self.now), clock.elapsed)
    }

    /// Returns the messages a second of the latest interval.
    pub fn msg_rate(&self, directions: Directions, clock: &Clock) -> f64 {
        rate(directions.msgs(&self.now), clock.elapsed)
    }

    /// Returns the average over 10 s in bytes a second; see [`TrafficStats`].
    pub fn avg10(&self, directions: Directions) -> f64 {
        of(directions, self.averages[0])
    }

    /// Returns the average over 60 s in bytes a second; see [`TrafficStats`].
    pub fn avg60(&self, directions: Directions) -> f64 {
        of(directions, self.averages[1])
    }

    /// Returns the average since the flow was first seen: its total by that time, idle time
    /// included.
    pub fn average(&self, directions: Directions, clock: &Clock) -> f64 {
        rate(directions.bytes(&self.total), self.age(clock))
    }

    /// Returns the bytes a second of the fastest interval; `None` for several flows.
    pub fn peak(&self, directions: Directions) -> Option<f64> {
        let peaks = self.peaks?;
        Some(match directions {
            Directions::Rx => peaks[0],
            Directions::Tx => peaks[1],
            Directions::Both => peaks[2],
        })
    }

    /// Returns the time since the beginning of the interval in which it was first seen.
    pub fn age(&self, clock: &Clock) -> Duration {
        clock.at.saturating_sub(self.first_at.duration())
    }

    /// Returns the wall-clock beginning of the interval in which it was first seen.
    pub fn first_seen(&self) -> SystemTime {
        self.first_seen.time()
    }

    /// Returns the wall-clock end of the last interval with bytes.
    pub fn last_seen(&self) -> SystemTime {
        self.last_seen.time()
    }

    /// Returns the time since the end of the last interval with bytes in a direction: zero if that
    /// is the latest one, `None` without any.
    pub fn idle(&self, directions: Directions, clock: &Clock) -> Option<Duration> {
        let last = match directions {
            Directions::Rx => (self.total.rx_bytes > 0).then(|| self.last_at[0].duration()),
            Directions::Tx => (self.total.tx_bytes > 0).then(|| self.last_at[1].duration()),
            Directions::Both => self.last_bytes_at(),
        };
        last.map(|last| clock.at.saturating_sub(last))
    }

    /// Returns when bytes last moved, by the clock of the history.
    pub(super) fn last_bytes_at(&self) -> Option<Duration> {
        let rx = (self.total.rx_bytes > 0).then_some(self.last_at[0]);
        let tx = (self.total.tx_bytes > 0).then_some(self.last_at[1]);
        rx.max(tx).map(Nanos::duration)
    }
}

fn of(directions: Directions, values: [f64; 2]) -> f64 {
    match directions {
        Directions::Rx => values[0],
        Directions::Tx => values[1],
        Directions::Both => values[0] + values[1],
    }
}

impl AddAssign<&Self> for TrafficStats {
    fn add_assign(&mut self, other: &Self) {
        let merge = |mine: bool, theirs: bool, a: Nanos, b: Nanos| match (mine, theirs) {
            (true, true) => a.max(b),
            (false, true) => b,
            _ => a,
        };
        self.last_at = [
            merge(
                self.total.rx_bytes > 0,
                other.total.rx_bytes > 0,
                self.last_at[0],
                other.last_at[0],
            ),
            merge(
                self.total.tx_bytes > 0,
                other.total.tx_bytes > 0,
                self.last_at[1],
                other.last_at[1],
            ),
        ];
        self.now += other.now;
        self.total += other.total;
        self.first_at = self.first_at.min(other.first_at);
        self.first_seen = self.first_seen.min(other.first_seen);
        self.last_seen = self.last_seen.max(other.last_seen);
        for (mine, theirs) in self.averages.iter_mut().zip(other.averages) {
            mine[0] += theirs[0];
            mine[1] += theirs[1];
        }
        self.peaks = None;
    }
}
