//! The sums from which a history resumes, without its flows.

use super::{AvailableColumns, Clock, History, HistoryLimits, TrafficStats, WireStats};
use crate::model::interval::Losses;

/// Sums of a history.
#[derive(Clone, Copy, Debug)]
pub struct HistoryBase {
    clock: Clock,
    intervals: u64,
    all: TrafficStats,
    copies: TrafficStats,
    wire: WireStats,
    losses_total: Losses,
}

impl HistoryBase {
    /// Number of intervals in the sums.
    pub const fn intervals(&self) -> u64 {
        self.intervals
    }
}

impl History {
    /// Returns the sums of this history.
    pub const fn base(&self) -> HistoryBase {
        HistoryBase {
            clock: self.clock,
            intervals: self.intervals,
            all: self.all,
            copies: self.copies,
            wire: self.wire,
            losses_total: self.losses_total,
        }
    }

    /// Returns an empty history with the chart of another.
    pub fn restarted(old: &Self) -> Self {
        Self {
            points: old.points.clone(),
            available: old.available,
            ..Self::with_limits(old.limits)
        }
    }

    /// Returns a history that continues from these sums. Earlier traffic belongs to no flow: it is
    /// in [`Self::older`], so that flows, older and untracked still add up. Without `has_sparks` no
    /// flow has a sparkline.
    pub fn resume(base: &HistoryBase, available: AvailableColumns, has_sparks: bool) -> Self {
        let mut history = Self::default();
        if !has_sparks {
            history.limits = HistoryLimits {
                sparks: 0,
                ..history.limits
            };
        }
        history.available = available;
        if base.intervals == 0 {
            return history;
        }
        history.clock = base.clock;
        history.intervals = base.intervals;
        history.all = base.all;
        history.copies = base.copies;
        history.wire = base.wire;
        history.losses_total = base.losses_total;
        history.older.traffic = base.all;
        let (total, untracked) = (
            &mut history.older.traffic.total,
            &base.losses_total.untracked,
        );
        *total = total.since(untracked);
        history
    }
}
