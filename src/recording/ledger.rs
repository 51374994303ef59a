//! Turns intervals into the sums of a ledger: those of a period are written when an interval of a
//! later one comes, and at the end.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use anyhow::Result;

use super::recorder::{LostIntervals, PendingRecords};
use crate::jsonl::sums;
use crate::jsonl::writer::Json;
use crate::model::interval::{Interval, Method};
use crate::stats::usage::UsageSums;
use crate::view::Group;

/// What a ledger can be read by. Each is stable and few: a year of hours with 40 rows each is
/// 350,000 rows.
const GROUPS: [Group; 5] = [
    Group::Program,
    Group::User,
    Group::Container,
    Group::Unit,
    Group::Class,
];

/// The sums of the period under way, until they are records.
pub(super) struct LedgerWriter {
    length: Duration,
    /// Which period since 1970 `sums` are of.
    period: u128,
    sums: UsageSums,
    intervals: u64,
    method: Arc<Method>,
}

impl LedgerWriter {
    pub(super) fn new(length: Duration) -> Self {
        Self {
            length,
            period: 0,
            sums: UsageSums::new(&GROUPS),
            intervals: 0,
            method: Arc::default(),
        }
    }

    /// Adds an interval to the period that it ends in. Returns the records of the period before, if
    /// it is over.
    pub(super) fn put(
        &mut self,
        interval: &Interval,
        json: &Json,
    ) -> Result<Option<PendingRecords>> {
        let since = interval.ended.duration_since(SystemTime::UNIX_EPOCH);
        // An interval that ends with the period is of it.
        let nanos = since.unwrap_or_default().as_nanos().saturating_sub(1);
        let period = nanos / self.length.as_nanos().max(1);
        let is_other = period != self.period || *self.method != *interval.method;
        let done = match is_other {
            true => self.end(json)?,
            false => None,
        };
        self.period = period;
        self.method = Arc::clone(&interval.method);
        self.sums.add(interval, &*json.owners);
        self.intervals += 1;
        Ok(done)
    }

    /// Returns the records of the period under way, if there is anything in it.
    pub(super) fn end(&mut self, json: &Json) -> Result<Option<PendingRecords>> {
        if self.intervals == 0 {
            return Ok(None);
        }
        let mut text = Vec::new();
        sums::append(&self.sums, &self.method, json, &mut text)?;
        let records = PendingRecords {
            text,
            length: self.sums.elapsed,
            lost: LostIntervals::new(self.intervals, self.sums.total),
        };
        self.sums = UsageSums::new(&GROUPS);
        self.intervals = 0;
        Ok(Some(records))
    }
}
