//! Adds up what groups moved over stretches of time: by several groupings at once, as a ledger
//! keeps them, and by periods of the calendar.

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime};

use super::ranking::{ProcessLookup, group_totals};
use crate::model::flow::Counters;
use crate::model::interval::Interval;
use crate::view::{CalendarPeriod, Group};

/// Maximum number of groups of a grouping; further ones are summed under [`FURTHER`].
pub const MAX_GROUPS: usize = 100_000;
/// Name of the sum of groups beyond [`MAX_GROUPS`].
const FURTHER: &str = "further groups";
/// Maximum number of periods: 11 years of hours.
const MAX_PERIODS: usize = 100_000;

/// What the groups of a grouping moved, by name. The sum is the total without what is untracked.
pub type GroupSums = BTreeMap<String, Counters>;

/// What moved in a stretch of time, which adds up in every grouping.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UsageSums {
    /// Wall-clock time of its end.
    pub ended: SystemTime,
    /// Measured length of all its intervals.
    pub elapsed: Duration,
    /// Everything that was counted, with what is untracked.
    pub total: Counters,
    /// The part of `total` that belongs to no process.
    pub untracked: Counters,
    pub missed_events: u64,
    pub groups: BTreeMap<Group, GroupSums>,
}

impl UsageSums {
    /// Nothing yet, by these groupings.
    pub fn new(groups: &[Group]) -> Self {
        Self {
            ended: SystemTime::UNIX_EPOCH,
            elapsed: Duration::ZERO,
            total: Counters::default(),
            untracked: Counters::default(),
            missed_events: 0,
            groups: groups
                .iter()
                .map(|&group| (group, GroupSums::new()))
                .collect(),
        }
    }

    /// Adds an interval, of which each group moved what its flows did.
    pub fn add(&mut self, interval: &Interval, lookup: &dyn ProcessLookup) {
        self.ended = interval.ended;
        self.elapsed += interval.elapsed;
        self.total += interval.total();
        self.untracked += interval.losses.untracked;
        self.missed_events += interval.losses.missed_events;
        for (&group, sums) in &mut self.groups {
            for totals in group_totals(interval, group, lookup) {
                add(sums, totals.name(lookup), totals.counters);
            }
        }
    }

    /// Drops the groups of a grouping whose names do not match, from the total too. Untracked bytes
    /// stay.
    ///
    /// Returns false, and leaves everything as it is, where names beyond [`MAX_GROUPS`] were
    /// summed.
    #[must_use]
    pub fn retain(&mut self, group: Group, is_kept: impl Fn(&str) -> bool) -> bool {
        let Some(sums) = self.groups.get_mut(&group) else {
            return true;
        };
        if sums.contains_key(FURTHER) {
            return false;
        }
        sums.retain(|name, _| is_kept(name));
        self.total = self.untracked;
        for counters in sums.values() {
            self.total += *counters;
        }
        true
    }

    /// Adds the sums of another stretch, of the groupings that are here.
    pub fn append(&mut self, other: &Self) {
        self.ended = self.ended.max(other.ended);
        self.elapsed = self.elapsed.saturating_add(other.elapsed);
        self.total += other.total;
        self.untracked += other.untracked;
        self.missed_events = self.missed_events.saturating_add(other.missed_events);
        for (group, sums) in &mut self.groups {
            for (name, counters) in other.groups.get(group).into_iter().flatten() {
                add(sums, name.clone(), *counters);
            }
        }
    }
}

fn add(sums: &mut GroupSums, name: String, counters: Counters) {
    let is_known = sums.len() < MAX_GROUPS || sums.contains_key(&name);
    let name = if is_known { name } else { FURTHER.to_owned() };
    *sums.entry(name).or_default() += counters;
}

/// Sums of one grouping by periods of the calendar.
#[derive(Clone, Debug)]
pub struct Usage {
    pub group: Group,
    pub by: CalendarPeriod,
    /// By the text of the period, which is in the order of time.
    pub periods: BTreeMap<String, UsageSums>,
}

impl Usage {
    pub fn new(group: Group, by: CalendarPeriod) -> Self {
        Self {
            group,
            by,
            periods: BTreeMap::new(),
        }
    }

    /// The sums of the period that a stretch belongs to: the one just before its end. `None` where
    /// there are too many periods already.
    pub fn period(&mut self, ended: SystemTime) -> Option<&mut UsageSums> {
        // A stretch that ends at midnight is of the day before.
        let before = ended.checked_sub(Duration::from_nanos(1)).unwrap_or(ended);
        let period = self.by.of(before);
        if self.periods.len() >= MAX_PERIODS && !self.periods.contains_key(&period) {
            return None;
        }
        let sums = self.periods.entry(period);
        Some(sums.or_insert_with(|| UsageSums::new(&[self.group])))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::interval::Losses;
    use crate::resolve::owners::Owners;
    use crate::testing::sent;
    use std::sync::Arc;

    fn interval(seconds: u64, bytes: &[u64], untracked: u64) -> Interval {
        let flows = bytes.iter().zip(1..);
        Interval {
            ended: SystemTime::UNIX_EPOCH + Duration::from_secs(seconds),
            elapsed: Duration::from_secs(1),
            flows: flows.map(|(&bytes, id)| sent(id, bytes)).collect(),
            losses: Losses {
                untracked: Counters {
                    tx_bytes: untracked,
                    ..Counters::default()
                },
                ..Losses::default()
            },
            interfaces: Vec::new(),
            method: Arc::default(),
        }
    }

    #[test]
    fn every_grouping_and_untracked_add_up_to_the_total() {
        let groups = [Group::Program, Group::Class, Group::Unit];
        let mut sums = UsageSums::new(&groups);
        sums.add(&interval(1, &[10, 20], 3), &Owners::disabled());
        let mut both = UsageSums::new(&groups);
        both.append(&sums);
        sums.add(&interval(2, &[5], 0), &Owners::disabled());
        both.append(&sums);
        for (sums, expected) in [(&sums, 38), (&both, 71)] {
            assert_eq!(sums.total.tx_bytes, expected);
            for group in sums.groups.values() {
                let moved: u64 = group.values().map(|it| it.tx_bytes).sum();
                assert_eq!(moved + sums.untracked.tx_bytes, expected);
            }
        }
        assert_eq!(both.elapsed, Duration::from_secs(3));
    }

    #[test]
    fn groups_that_do_not_match_leave_the_total_and_untracked_stays() {
        let mut sums = UsageSums::new(&[Group::Class]);
        sums.add(&interval(1, &[10, 20], 3), &Owners::disabled());
        let whole = sums.clone();
        assert!(sums.retain(Group::Class, |_| true));
        assert_eq!(sums, whole);
        assert!(sums.retain(Group::Class, |_| false));
        assert_eq!(sums.total.tx_bytes, 3);
        let groups = sums.groups.get_mut(&Group::Class).expect("it is summed");
        groups.insert(FURTHER.to_owned(), Counters::default());
        assert!(!sums.retain(Group::Class, |_| false));
    }

    #[test]
    fn an_interval_that_ends_at_midnight_is_of_the_day_before() {
        let mut usage = Usage::new(Group::Program, CalendarPeriod::Day);
        for (seconds, bytes) in [(86_400, 1), (86_401, 2), (172_800, 4)] {
            let interval = interval(seconds, &[bytes], 0);
            let period = usage.period(interval.ended).expect("few periods");
            period.add(&interval, &Owners::disabled());
        }
        let periods = usage.periods.iter();
        let found: Vec<(&str, u64)> = periods
            .map(|(period, sums)| (period.as_str(), sums.total.tx_bytes))
            .collect();
        assert_eq!(found, [("1970-01-01", 1), ("1970-01-02", 6)]);
    }
}
