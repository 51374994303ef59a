//! Compares what groups moved in two stretches of time, and separates change from the noise between
//! intervals.
//!
//! The rate of a group in a stretch is its bytes by the length of the stretch. Rates of intervals
//! scatter around it; their variance, weighted by the lengths of the intervals, gives the standard
//! error of the rate. A difference of two rates is a change if it exceeds [`NOISE_ERRORS`] standard
//! errors of the difference, and [`MIN_SHARE`] of the larger rate. A group that moves in few
//! intervals scatters as much as it moves, so one that is there now and then is no change.

use std::collections::BTreeMap;
use std::collections::BTreeSet;
use std::time::Duration;

use super::ranking::{ProcessLookup, group_totals};
use crate::model::flow::Counters;
use crate::model::interval::Interval;
use crate::view::{Directions, Group};

/// Standard errors within which noise stays: of 1000 unchanged groups, 3 exceed them by chance.
pub const NOISE_ERRORS: f64 = 3.0;
/// Least change, as a share of the larger rate.
pub const MIN_SHARE: f64 = 0.1;
/// Most groups of a stretch; further ones are summed under [`FURTHER`].
const MAX_GROUPS: usize = 100_000;
/// Name of the sum of groups beyond [`MAX_GROUPS`].
const FURTHER: &str = "further groups";

/// The traffic of groups in a stretch of time.
#[derive(Clone, Debug, Default)]
pub struct TrafficStretch {
    pub intervals: u64,
    pub elapsed: Duration,
    groups: BTreeMap<String, GroupInStretch>,
}

#[derive(Clone, Copy, Debug, Default)]
struct GroupInStretch {
    counters: Counters,
    /// Sum over intervals of bytes² / seconds, from which the variance of the rate follows.
    squares: f64,
}

impl TrafficStretch {
    /// Adds an interval to the sums of its groups.
    pub fn add(&mut self, interval: &Interval, group: Group, lookup: &dyn ProcessLookup) {
        let totals = group_totals(interval, group, lookup);
        let moved = totals
            .iter()
            .map(|totals| (totals.name(lookup), totals.counters));
        self.add_groups(moved, interval.elapsed);
    }

    fn add_groups(
        &mut self,
        moved: impl IntoIterator<Item = (String, Counters)>,
        elapsed: Duration,
    ) {
        self.intervals += 1;
        self.elapsed += elapsed;
        // Groups with the same name are one group.
        let mut named: BTreeMap<String, Counters> = BTreeMap::new();
        for (name, counters) in moved {
            let is_known = self.groups.len() < MAX_GROUPS || self.groups.contains_key(&name);
            let name = if is_known { name } else { FURTHER.to_owned() };
            *named.entry(name).or_default() += counters;
        }
        for (name, counters) in named {
            let group = self.groups.entry(name).or_default();
            let bytes = Directions::Both.bytes(&counters) as f64;
            group.counters += counters;
            group.squares += bytes * bytes / elapsed.as_secs_f64().max(f64::MIN_POSITIVE);
        }
    }

    fn counters(&self, name: &str) -> Counters {
        let group = self.groups.get(name);
        group.map(|group| group.counters).unwrap_or_default()
    }

    fn seconds(&self) -> f64 {
        self.elapsed.as_secs_f64().max(f64::MIN_POSITIVE)
    }

    /// Rate of a group in bytes per second, both directions together.
    fn rate(&self, name: &str) -> f64 {
        Directions::Both.bytes(&self.counters(name)) as f64 / self.seconds()
    }

    /// Squared standard error of a group's rate; 0 for a stretch of one interval, which shows no
    /// variance.
    fn squared_error(&self, name: &str) -> f64 {
        let Some(group) = self.groups.get(name).filter(|_| self.intervals > 1) else {
            return 0.0;
        };
        let (n, rate) = (self.intervals as f64, self.rate(name));
        let variance = (group.squares / self.seconds() - rate * rate).max(0.0) * n / (n - 1.0);
        variance / n
    }
}

/// How the group changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChangeKind {
    New,
    Gone,
    Grown,
    Shrunk,
}

impl ChangeKind {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::New => "new",
            Self::Gone => "gone",
            Self::Grown => "grown",
            Self::Shrunk => "shrunk",
        }
    }
}

/// A group that changed.
#[derive(Clone, Debug, PartialEq)]
pub struct GroupChange {
    /// Name as recorded, not sanitized.
    pub name: String,
    pub kind: ChangeKind,
    pub before: Counters,
    pub after: Counters,
    /// Difference of the rates that noise explains, in bytes per second.
    pub noise: f64,
    /// Difference of the rates, in bytes per second.
    difference: f64,
}

/// The changes from one stretch to another.
#[derive(Clone, Debug)]
pub struct Comparison {
    /// The largest difference of rates comes first.
    pub changes: Vec<GroupChange>,
    /// Number of groups in either stretch.
    pub groups: usize,
}

impl Comparison {
    pub fn new(before: &TrafficStretch, after: &TrafficStretch) -> Self {
        let names: BTreeSet<&String> = before.groups.keys().chain(after.groups.keys()).collect();
        let groups = names.len();
        let changes = names
            .into_iter()
            .filter_map(|name| change(name, before, after));
        let mut changes: Vec<GroupChange> = changes.collect();
        changes.sort_by(|a, b| b.difference.abs().total_cmp(&a.difference.abs()));
        Self { changes, groups }
    }
}

fn change(name: &str, before: &TrafficStretch, after: &TrafficStretch) -> Option<GroupChange> {
    let (from, to) = (before.rate(name), after.rate(name));
    let squared_error = before.squared_error(name) + after.squared_error(name);
    let (noise, difference) = (NOISE_ERRORS * squared_error.sqrt(), to - from);
    if difference.abs() <= noise || difference.abs() < MIN_SHARE * from.max(to) {
        return None;
    }
    let kind = match (from > 0.0, to > 0.0) {
        (false, false) => return None,
        (false, true) => ChangeKind::New,
        (true, false) => ChangeKind::Gone,
        (true, true) if difference > 0.0 => ChangeKind::Grown,
        (true, true) => ChangeKind::Shrunk,
    };
    Some(GroupChange {
        name: name.to_owned(),
        kind,
        before: before.counters(name),
        after: after.counters(name),
        noise,
        difference,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Random, rounds};

    const SECOND: Duration = Duration::from_secs(1);

    fn rx(bytes: u64) -> Counters {
        Counters {
            rx_bytes: bytes,
            ..Counters::default()
        }
    }

    /// A stretch of intervals of one second, from the bytes of each group in each.
    fn stretch(groups: &[(&str, &[u64])]) -> TrafficStretch {
        let mut stretch = TrafficStretch::default();
        let length = groups.iter().map(|(_, bytes)| bytes.len()).max();
        for n in 0..length.unwrap_or_default() {
            let moved = groups.iter().filter(|(_, bytes)| bytes[n] > 0);
            let moved = moved.map(|(name, bytes)| ((*name).to_owned(), rx(bytes[n])));
            stretch.add_groups(moved, SECOND);
        }
        stretch
    }

    fn kinds(before: &TrafficStretch, after: &TrafficStretch) -> Vec<(String, &'static str)> {
        let changes = Comparison::new(before, after).changes.into_iter();
        changes
            .map(|change| (change.name, change.kind.as_str()))
            .collect()
    }

    #[test]
    fn changes_are_told_from_noise() {
        let before = stretch(&[
            ("steady", &[100, 100, 100, 100]),
            ("gone", &[50, 60, 50, 60]),
            ("noisy", &[0, 400, 20, 90]),
            ("doubled", &[100, 110, 90, 100]),
            ("halved", &[90, 110, 100, 100]),
            ("slightly more", &[100, 100, 100, 100]),
        ]);
        let after = stretch(&[
            ("steady", &[100, 100, 100, 100]),
            ("new", &[70, 70, 70, 70]),
            ("noisy", &[300, 0, 100, 250]),
            ("once", &[0, 0, 400, 0]),
            ("doubled", &[200, 210, 190, 200]),
            ("halved", &[50, 52, 48, 50]),
            ("slightly more", &[105, 105, 105, 105]),
        ]);
        let expected = [
            ("doubled", "grown"),
            ("new", "new"),
            ("gone", "gone"),
            ("halved", "shrunk"),
        ];
        let expected = expected.map(|(name, kind)| (name.to_owned(), kind));
        assert_eq!(kinds(&before, &after), expected);
        assert_eq!(Comparison::new(&before, &after).groups, 8);
        assert!(kinds(&before, &before).is_empty());
        let back = kinds(&after, &before);
        assert_eq!(back.len(), expected.len());
        assert!(back.contains(&("new".to_owned(), "gone")), "{back:?}");
    }

    #[test]
    fn one_interval_has_no_noise_to_tell_change_from() {
        let (before, after) = (stretch(&[("a", &[100])]), stretch(&[("a", &[300])]));
        assert_eq!(kinds(&before, &after), [("a".to_owned(), "grown")]);
    }

    /// Groups that do not change, with bytes of any spread: few exceed the noise.
    #[test]
    fn groups_that_do_not_change_are_noise() {
        let mut random = Random(7);
        let (mut changed, mut all) = (0, 0);
        for _ in 0..rounds(100) {
            let mut made = || {
                let mut stretch = TrafficStretch::default();
                for _ in 0..40 {
                    let moved = (0..20).map(|n: u64| {
                        let bytes = 1000 + random.below(1 + n * 500);
                        (n.to_string(), rx(bytes))
                    });
                    let moved: Vec<_> = moved.collect();
                    stretch.add_groups(moved, SECOND);
                }
                stretch
            };
            let (before, after) = (made(), made());
            let comparison = Comparison::new(&before, &after);
            changed += comparison.changes.len();
            all += comparison.groups;
        }
        assert!(changed * 100 <= all, "{changed} of {all}");
    }

    #[test]
    fn longer_intervals_weigh_more() {
        let mut joined = TrafficStretch::default();
        joined.add_groups([("a".to_owned(), rx(300))], 3 * SECOND);
        joined.add_groups([("a".to_owned(), rx(100))], SECOND);
        assert!((joined.rate("a") - 100.0).abs() < 1e-9);
        assert!(joined.squared_error("a") < 1e-9);
    }
}
