//! Cumulative sums of groups: few, steady, and adding up to everything, however many groups come
//! and go.
//!
//! - At most `limit` groups have a counter that is counted into. What all others move is counted into
//!   `other`. So over any time the increases of all counters and of `other` are what was counted.
//! - Who has one is decided by what was moved lately ([`MEMORY`]); one that does not have it takes it only
//!   from one that moved less than half.
//! - A group that is evicted is exposed unchanged for [`LINGER`], so that whoever scrapes twice in that time
//!   sees its last bytes; what it moves from then on is in `other`. No more than `limit` linger at once:
//!   then nobody makes way. So in every [`LINGER`] at most `limit` names are new.
//! - A group that comes back goes on where it was. No counter ever goes back, but that of a group that
//!   was forgotten among thousands: it begins at 0, as after a restart.
//! - A new counter is exposed with the value it began at (0) for two scrape intervals, then with what it
//!   counted. Prometheus takes no increase from the first value of a counter, so every reader needs one
//!   scrape of the beginning; two allow for one that fails.
//! - A snapshot changes nothing: what one reader gets never depends on what others read.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use crate::model::flow::Counters;
use crate::stats::ranking::{GroupTotals, ProcessLookup, RowId};
use crate::text::sanitize::visible;
use crate::view::Directions;

/// Largest number of series that an option can request.
pub const MAX_SERIES: usize = 1000;
/// Shortest time for which an evicted series is still exposed.
pub const LINGER: Duration = Duration::from_secs(300);
/// Time after which bytes count 1/e of new ones when series are assigned.
const MEMORY: Duration = Duration::from_secs(300);
/// Most groups without a series whose traffic is remembered.
const MAX_HIDDEN: usize = 4096;

/// Identity of a series: the values of its labels, already sanitized. No two series ever have the
/// same labels, because this text is compared.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct SeriesKey {
    /// The word of a grouping, `none` (known to be in no such group) or `unknown`.
    pub kind: &'static str,
    /// Name of the group.
    pub name: Arc<str>,
}

impl SeriesKey {
    /// Returns the key of a group. Processes and threads are identified by name: ids would never
    /// stop being new.
    pub(super) fn of(totals: &GroupTotals, lookup: &dyn ProcessLookup) -> Self {
        let kind = match totals.id {
            RowId::Flow(_) => "flow",
            RowId::Program(..) => "program",
            RowId::Process(_) => "process",
            RowId::Thread(..) => "thread",
            RowId::User(_) => "user",
            RowId::Remote(_) => "remote",
            RowId::Net(..) => "net",
            RowId::Port(..) => "port",
            RowId::Class(_) => "class",
            RowId::Zone(_) => "zone",
            RowId::Host(_) => "host",
            RowId::Container(_) => "container",
            RowId::Unit(_) => "unit",
            RowId::Pod(_) => "pod",
            RowId::Named(group, _) => group.rows(1),
            RowId::Without(_) => "none",
            RowId::Unknown => "unknown",
        };
        let name = totals.name(lookup);
        if name.is_empty() {
            return Self {
                kind: "unknown",
                name: RowId::Unknown.to_string().into(),
            };
        }
        Self {
            kind,
            name: visible(&name).into(),
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Membership {
    Counted,
    /// Until when it is exposed, without counting.
    Lingers(Duration),
    Hidden,
}

#[derive(Clone, Debug)]
struct SeriesEntry {
    counters: Counters,
    weight: f64,
    membership: Membership,
    /// Time from which it has counted from 0.
    created: SystemTime,
    /// Value at the beginning of the series, and until when this value is exposed.
    beginning: Option<(Counters, Duration)>,
}

#[derive(Clone, Debug)]
pub(crate) struct Series {
    limit: usize,
    /// Longest time between two scrapes of one reader.
    scrape_interval: Duration,
    now: Duration,
    groups: HashMap<SeriesKey, SeriesEntry>,
    other: Counters,
}

/// All series at the end of an interval.
#[derive(Clone, Debug, Default)]
pub(crate) struct SeriesSnapshot {
    /// Series by kind and name.
    pub series: Vec<SeriesSample>,
    pub other: Counters,
}

/// A series as it is exposed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct SeriesSample {
    pub key: SeriesKey,
    pub counters: Counters,
    /// Time from which it has counted from 0.
    pub created: SystemTime,
}

impl Series {
    /// Creates at most `limit` series, and never more than [`MAX_SERIES`], for readers that scrape
    /// at least once in every `scrape_interval`.
    pub(super) fn new(limit: usize, scrape_interval: Duration) -> Self {
        Self {
            limit: limit.min(MAX_SERIES),
            scrape_interval,
            now: Duration::ZERO,
            groups: HashMap::new(),
            other: Counters::default(),
        }
    }

    /// Adds the traffic of groups in an interval that ended at a time. A group may occur more than
    /// once.
    pub(super) fn add(
        &mut self,
        moved: Vec<(SeriesKey, Counters)>,
        elapsed: Duration,
        ended: SystemTime,
    ) {
        self.now += elapsed;
        let created = ended.checked_sub(elapsed).unwrap_or(ended);
        let decay = (-elapsed.as_secs_f64() / MEMORY.as_secs_f64()).exp();
        for entry in self.groups.values_mut() {
            entry.weight *= decay;
            if matches!(entry.membership, Membership::Lingers(until) if until <= self.now) {
                entry.membership = Membership::Hidden;
            }
        }
        for (key, counters) in &moved {
            let bytes = Directions::Both.bytes(counters) as f64;
            match self.groups.get_mut(key) {
                Some(entry) => entry.weight += bytes,
                None => {
                    let entry = SeriesEntry {
                        counters: Counters::default(),
                        weight: bytes,
                        membership: Membership::Hidden,
                        created,
                        beginning: None,
                    };
                    self.groups.insert(key.clone(), entry);
                }
            }
        }
        self.choose();
        for (key, counters) in moved {
            match self.groups.get_mut(&key) {
                Some(entry) if entry.membership == Membership::Counted => {
                    entry.counters += counters
                }
                _ => self.other += counters,
            }
        }
        self.forget();
    }

    /// Decides which groups have series.
    fn choose(&mut self) {
        let is_counted = |entry: &SeriesEntry| entry.membership == Membership::Counted;
        let lingers = |entry: &SeriesEntry| matches!(entry.membership, Membership::Lingers(_));
        let mut have = self.ranked(is_counted, usize::MAX);
        let want = self.ranked(|entry| !is_counted(entry), self.limit);
        let mut lingering = self.groups.values().filter(|entry| lingers(entry)).count();
        for (weight, key) in want {
            let returning = usize::from(self.groups.get(&key).is_some_and(lingers));
            if have.len() == self.limit {
                let is_heavier = |(least, _): &mut (f64, SeriesKey)| weight > 2.0 * *least;
                if lingering - returning == self.limit {
                    continue;
                }
                let Some((_, least)) = have.pop_if(is_heavier) else {
                    break;
                };
                self.put(&least, Membership::Lingers(self.now + self.linger()));
                lingering += 1;
            }
            self.put(&key, Membership::Counted);
            lingering -= returning;
            have.insert(0, (weight, key));
        }
    }

    /// Returns how long an evicted series is still exposed: long enough for two scrapes of its
    /// beginning and two of its end.
    fn linger(&self) -> Duration {
        LINGER.max(4 * self.scrape_interval)
    }

    fn put(&mut self, key: &SeriesKey, membership: Membership) {
        if let Some(entry) = self.groups.get_mut(key) {
            // A hidden series has lingered for longer than its last beginning was exposed.
            if entry.membership == Membership::Hidden {
                let until = self.now + 2 * self.scrape_interval;
                entry.beginning = Some((entry.counters, until));
            }
            entry.membership = membership;
        }
    }

    /// Returns the heaviest, heaviest first, equals by name.
    fn ranked(
        &self,
        is_meant: impl Fn(&SeriesEntry) -> bool,
        most: usize,
    ) -> Vec<(f64, SeriesKey)> {
        let groups = self.groups.iter().filter(|(_, entry)| is_meant(entry));
        let mut ranked: Vec<(f64, &SeriesKey)> =
            groups.map(|(key, entry)| (entry.weight, key)).collect();
        let heavier =
            |a: &(f64, &SeriesKey), b: &(f64, &SeriesKey)| b.0.total_cmp(&a.0).then(a.1.cmp(b.1));
        if ranked.len() > most {
            ranked.select_nth_unstable_by(most, heavier);
            ranked.truncate(most);
        }
        ranked.sort_unstable_by(heavier);
        ranked
            .into_iter()
            .map(|(weight, key)| (weight, key.clone()))
            .collect()
    }

    /// Drops the lightest groups without a series if there are too many.
    fn forget(&mut self) {
        let is_hidden = |entry: &SeriesEntry| entry.membership == Membership::Hidden;
        if self
            .groups
            .values()
            .filter(|entry| is_hidden(entry))
            .count()
            > MAX_HIDDEN
        {
            let kept = self.ranked(is_hidden, MAX_HIDDEN / 2);
            let kept: HashSet<SeriesKey> = kept.into_iter().map(|(_, key)| key).collect();
            self.groups
                .retain(|key, entry| !is_hidden(entry) || kept.contains(key));
        }
    }

    /// Returns all exposed series.
    pub(super) fn snapshot(&self) -> SeriesSnapshot {
        let exposed = self
            .groups
            .iter()
            .filter(|(_, entry)| entry.membership != Membership::Hidden);
        let mut series: Vec<SeriesSample> = exposed
            .map(|(key, entry)| SeriesSample {
                key: key.clone(),
                counters: match entry.beginning {
                    Some((began, until)) if self.now < until => began,
                    _ => entry.counters,
                },
                created: entry.created,
            })
            .collect();
        series.sort_unstable_by(|a, b| a.key.cmp(&b.key));
        SeriesSnapshot {
            series,
            other: self.other,
        }
    }
}

#[cfg(test)]
mod tests;
