//! The records of a ledger: what a period adds up to, then what each group of each grouping moved
//! in it. Written and read by the same types, within bounds as recordings are.

use std::borrow::Cow;
use std::path::PathBuf;

use anyhow::Result;
use serde::{Deserialize, Serialize};

use super::decode::{self, MAX_WORDS, RecordKind, json, no_longer};
use super::input::{Recording, Stop};
use super::lines::{LineState, Lines};
use super::reader::{MAX_NAMES, too_much, unreadable};
use super::schema::{CounterFields, SCHEMA};
use super::writer::{Json, write};
use super::{CorruptRecording, MAX_LINE, MAX_SUM};
use crate::model::flow::Counters;
use crate::model::interval::Method;
use crate::stats::usage::{GroupSums, MAX_GROUPS, UsageSums};
use crate::text::sanitize::sanitize;
use crate::text::time::rfc3339;
use crate::view::Group;

/// Most groupings of a ledger, those of later versions included.
const MAX_GROUPINGS: usize = 16;

/// What a period adds up to.
#[derive(Serialize, Deserialize)]
struct PeriodRecord<'a> {
    #[serde(skip_deserializing)]
    r#type: &'static str,
    schema: u32,
    /// End of the period.
    #[serde(borrow)]
    time: Cow<'a, str>,
    /// Measured length of its intervals.
    seconds: f64,
    #[serde(borrow, default, skip_serializing_if = "str::is_empty")]
    host: Cow<'a, str>,
    #[serde(flatten)]
    moved: CounterFields,
    untracked_rx_bytes: u64,
    untracked_tx_bytes: u64,
    untracked_rx_msgs: u64,
    untracked_tx_msgs: u64,
    missed_events: u64,
    #[serde(borrow)]
    backend: Cow<'a, str>,
    #[serde(borrow, default)]
    unseen: Vec<Cow<'a, str>>,
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    filter: Option<Cow<'a, str>>,
    #[serde(borrow)]
    grouped_by: Vec<Cow<'a, str>>,
    /// Number of records of groups that follow.
    groups: usize,
}

/// What a group moved in a period.
#[derive(Serialize, Deserialize)]
struct SumRecord<'a> {
    #[serde(skip_deserializing)]
    r#type: &'static str,
    #[serde(skip_deserializing)]
    time: &'a str,
    #[serde(skip_deserializing)]
    seconds: f64,
    #[serde(skip_deserializing, skip_serializing_if = "str::is_empty")]
    host: &'a str,
    #[serde(borrow)]
    grouped_by: Cow<'a, str>,
    #[serde(borrow)]
    name: Cow<'a, str>,
    #[serde(flatten)]
    moved: CounterFields,
}

/// Appends a period to `out`.
///
/// # Errors
/// When a record cannot be written as JSON, which does not happen.
pub fn append(sums: &UsageSums, method: &Method, json: &Json, out: &mut Vec<u8>) -> Result<()> {
    let (time, seconds) = (rfc3339(sums.ended), sums.elapsed.as_secs_f64());
    let groups = sums.groups.iter();
    let period = PeriodRecord {
        r#type: "sums",
        schema: SCHEMA,
        time: Cow::Borrowed(&time),
        seconds,
        host: Cow::Borrowed(&json.machine.host),
        moved: sums.total.into(),
        untracked_rx_bytes: sums.untracked.rx_bytes,
        untracked_tx_bytes: sums.untracked.tx_bytes,
        untracked_rx_msgs: sums.untracked.rx_msgs,
        untracked_tx_msgs: sums.untracked.tx_msgs,
        missed_events: sums.missed_events,
        backend: Cow::Borrowed(&method.backend),
        unseen: method.unseen.iter().map(|&it| it.into()).collect(),
        filter: json.filter.as_deref().map(Cow::Borrowed),
        grouped_by: groups.map(|(group, _)| group.to_string().into()).collect(),
        groups: sums.groups.values().map(GroupSums::len).sum(),
    };
    write(&period, out)?;
    out.push(b'\n');
    for (group, sums) in &sums.groups {
        let group = group.to_string();
        for (name, counters) in sums {
            let record = SumRecord {
                r#type: "sum",
                time: &time,
                seconds,
                host: &json.machine.host,
                grouped_by: Cow::Borrowed(&group),
                name: Cow::Borrowed(name),
                moved: (*counters).into(),
            };
            write(&record, out)?;
            out.push(b'\n');
        }
    }
    Ok(())
}

/// Reads a ledger, a period after the other.
pub struct LedgerReader {
    file: PathBuf,
    lines: Lines,
    line: Vec<u8>,
    at: u64,
    periods: u64,
    /// All bytes and messages so far.
    sum: u64,
    has_ended: bool,
}

impl std::fmt::Debug for LedgerReader {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut shown = f.debug_struct("LedgerReader");
        shown
            .field("file", &self.file)
            .field("line", &self.at)
            .finish_non_exhaustive()
    }
}

impl LedgerReader {
    /// Opens a ledger; `None` where the file is something else.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn open(file: &Recording, stop: &Stop) -> std::io::Result<Option<Self>> {
        let mut reader = Self::of(file, stop)?;
        let is_ledger = matches!(reader.lines.next(&mut reader.line)?, LineState::Whole)
            && matches!(RecordKind::of(&reader.line), Ok(RecordKind::LedgerPeriod));
        match is_ledger {
            true => Self::of(file, stop).map(Some),
            false => Ok(None),
        }
    }

    fn of(file: &Recording, stop: &Stop) -> std::io::Result<Self> {
        Ok(Self {
            file: file.name.clone(),
            lines: Lines::new(file.input(stop)?)?,
            line: Vec::new(),
            at: 0,
            periods: 0,
            sum: 0,
            has_ended: false,
        })
    }

    /// The next line that is not blank, if there is one.
    fn take(&mut self) -> Result<bool, String> {
        loop {
            self.at += 1;
            let line = self.lines.next(&mut self.line);
            match line.map_err(|error| unreadable(&error))? {
                LineState::Whole if self.line.iter().all(u8::is_ascii_whitespace) => {}
                LineState::Whole => return Ok(true),
                LineState::End => return Ok(false),
                LineState::TooLong => {
                    return Err(format!("the line is longer than {MAX_LINE} bytes"));
                }
                LineState::Open => return Err("the last line is cut off".to_owned()),
            }
        }
    }

    fn period(&mut self) -> Result<Option<UsageSums>, String> {
        loop {
            if !self.take()? {
                return Ok(None);
            }
            match RecordKind::of(&self.line)? {
                RecordKind::LedgerPeriod => break,
                RecordKind::LedgerSum => return Err("this sum belongs to no period".to_owned()),
                RecordKind::Unknown => {}
                _ => return Err("a recording of flows begins here, in a ledger".to_owned()),
            }
        }
        let record: PeriodRecord<'_> = json(&self.line)?;
        if record.schema > SCHEMA {
            return Err(format!(
                "this has schema {}, and this flowtop knows {SCHEMA}: read it with a newer flowtop",
                record.schema
            ));
        }
        no_longer("host", &record.host, MAX_WORDS)?;
        if record.grouped_by.len() > MAX_GROUPINGS
            || record.groups > MAX_GROUPINGS * (MAX_GROUPS + 1)
        {
            return Err("these are more groups than a ledger can have".to_owned());
        }
        // Groupings of a later version are left out.
        let known = record.grouped_by.iter();
        let known: Vec<Group> = known.filter_map(|word| word.parse().ok()).collect();
        let mut sums = UsageSums::new(&known);
        sums.ended = decode::time(&record.time)?;
        sums.elapsed = decode::length(record.seconds)?;
        sums.total = record.moved.into();
        sums.untracked = Counters {
            rx_bytes: record.untracked_rx_bytes,
            tx_bytes: record.untracked_tx_bytes,
            rx_msgs: record.untracked_rx_msgs,
            tx_msgs: record.untracked_tx_msgs,
        };
        sums.missed_events = record.missed_events.min(MAX_SUM);
        let groups = record.groups;
        let missed = sums.missed_events;
        self.count(&sums.total, missed)?;
        self.groups(groups, &mut sums)?;
        Ok(Some(sums))
    }

    /// Sums of everything stay such that any sum of them can be reckoned with.
    fn count(&mut self, counters: &Counters, missed: u64) -> Result<(), String> {
        let Counters {
            rx_bytes,
            tx_bytes,
            rx_msgs,
            tx_msgs,
        } = *counters;
        for more in [rx_bytes, tx_bytes, rx_msgs, tx_msgs, missed] {
            let sum = self.sum.checked_add(more).filter(|&sum| sum <= MAX_SUM);
            self.sum = sum.ok_or_else(too_much)?;
        }
        Ok(())
    }

    fn groups(&mut self, count: usize, sums: &mut UsageSums) -> Result<(), String> {
        let mut names = 0;
        for read in 0..count {
            if !self.take()? {
                return Err(format!(
                    "the ledger is cut off: {read} of the last period's {count} groups are there"
                ));
            }
            if !matches!(RecordKind::of(&self.line)?, RecordKind::LedgerSum) {
                return Err(format!(
                    "only {read} of the last period's {count} groups are there"
                ));
            }
            let record: SumRecord<'_> = json(&self.line)?;
            names += record.name.len();
            if names > MAX_NAMES {
                return Err("the names of a period's groups take more than 16 MiB".to_owned());
            }
            let group: Option<Group> = record.grouped_by.parse().ok();
            let Some(group) = group.and_then(|group| sums.groups.get_mut(&group)) else {
                continue;
            };
            let counters: Counters = record.moved.into();
            let moved = [counters.rx_bytes, counters.tx_bytes];
            if moved.iter().any(|&bytes| bytes > MAX_SUM) {
                return Err(too_much());
            }
            // Names are written as they are.
            let known = group.insert(sanitize(&record.name).into_owned(), counters);
            if known.is_some() {
                return Err(format!("\"{}\" is there twice", sanitize(&record.name)));
            }
        }
        for (group, groups) in &sums.groups {
            let mut moved = sums.untracked;
            for counters in groups.values() {
                moved.rx_bytes = moved.rx_bytes.saturating_add(counters.rx_bytes);
                moved.tx_bytes = moved.tx_bytes.saturating_add(counters.tx_bytes);
            }
            let expected = (sums.total.rx_bytes, sums.total.tx_bytes);
            if (moved.rx_bytes, moved.tx_bytes) != expected {
                return Err(format!(
                    "sums by {group} add up to {} and {} bytes, but the period has {} and {}",
                    moved.rx_bytes, moved.tx_bytes, expected.0, expected.1
                ));
            }
        }
        Ok(())
    }
}

impl Iterator for LedgerReader {
    type Item = Result<UsageSums, CorruptRecording>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.has_ended {
            return None;
        }
        let next = self.period().transpose()?;
        self.has_ended = next.is_err();
        self.periods += u64::from(next.is_ok());
        Some(next.map_err(|what| CorruptRecording {
            file: self.file.clone(),
            line: self.at,
            what,
            intervals: self.periods,
        }))
    }
}
