//! Writes what groups moved in periods of the calendar, as text, JSON Lines or CSV. The rows of a
//! period add up to its total.

use std::cmp::Reverse;
use std::io::{self, Write};
use std::time::Duration;

use serde::Serialize;

use super::csv::quoted;
use crate::model::flow::Counters;
use crate::options::Output;
use crate::stats::usage::{Usage, UsageSums};
use crate::text::units::{Units, count, percent, sanitize, span};
use crate::view::Directions;

/// How usage is written.
#[derive(Clone, Copy, Debug)]
pub struct UsageFormat {
    pub output: Output,
    pub units: Units,
    /// Most groups of a period; `None` means all.
    pub top_n: Option<usize>,
}

/// A row of a period. CSV has these fields as columns, in this order.
#[derive(Serialize)]
struct UsageRecord<'a> {
    r#type: &'static str,
    by: &'static str,
    period: &'a str,
    /// Measured length of the period's intervals.
    seconds: f64,
    grouped_by: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<&'a str>,
    /// Number of groups that the row is the sum of.
    #[serde(skip_serializing_if = "Option::is_none")]
    groups: Option<usize>,
    rx_bytes: u64,
    tx_bytes: u64,
    rx_msgs: u64,
    tx_msgs: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    missed_events: Option<u64>,
}

/// An hour in seconds, from which on lengths are in hours.
const HOUR: f64 = 3600.0;

const CSV_HEADER: &str =
    "type,by,period,seconds,grouped_by,name,groups,rx_bytes,tx_bytes,rx_msgs,tx_msgs,missed_events";

/// Groups of a period, the largest first, and what the others add up to.
struct PeriodRows<'a> {
    shown: Vec<(&'a str, Counters)>,
    others: usize,
    other: Counters,
}

impl<'a> PeriodRows<'a> {
    fn new(sums: &'a UsageSums, top_n: Option<usize>) -> Self {
        let groups = sums.groups.values().flatten();
        let mut shown: Vec<(&str, Counters)> = groups
            .map(|(name, counters)| (name.as_str(), *counters))
            .collect();
        shown.sort_by_key(|(name, counters)| (Reverse(Directions::Both.bytes(counters)), *name));
        let rest = shown.split_off(shown.len().min(top_n.unwrap_or(usize::MAX)));
        Self {
            shown,
            others: rest.len(),
            other: rest.into_iter().map(|(_, counters)| counters).sum(),
        }
    }
}

/// Writes usage, the earliest period first.
///
/// # Errors
/// When it cannot be written.
pub fn write_usage(usage: &Usage, format: UsageFormat, out: &mut impl Write) -> io::Result<()> {
    if format.output == Output::Csv {
        writeln!(out, "{CSV_HEADER}")?;
    }
    let grouped_by = usage.group.to_string();
    for (period, sums) in &usage.periods {
        let rows = PeriodRows::new(sums, format.top_n);
        if !matches!(format.output, Output::Json | Output::Csv) {
            write_text(usage, period, sums, &rows, format.units, out)?;
            continue;
        }
        let record = |r#type, name, groups, counters: Counters| UsageRecord {
            r#type,
            by: usage.by.as_str(),
            period,
            seconds: sums.elapsed.as_secs_f64(),
            grouped_by: &grouped_by,
            name,
            groups,
            rx_bytes: counters.rx_bytes,
            tx_bytes: counters.tx_bytes,
            rx_msgs: counters.rx_msgs,
            tx_msgs: counters.tx_msgs,
            missed_events: None,
        };
        let mut records = Vec::new();
        // Rows of CSV are added up: a total among them would count twice.
        if format.output == Output::Json {
            records.push(UsageRecord {
                missed_events: Some(sums.missed_events),
                ..record(
                    "total",
                    None,
                    Some(rows.shown.len() + rows.others),
                    sums.total,
                )
            });
        }
        let groups = rows.shown.iter();
        records
            .extend(groups.map(|(name, counters)| record("group", Some(*name), None, *counters)));
        if rows.others > 0 {
            records.push(record("other", None, Some(rows.others), rows.other));
        }
        if !sums.untracked.is_zero() {
            records.push(record("untracked", None, None, sums.untracked));
        }
        if format.output == Output::Csv
            && let Some(first) = records.first_mut()
        {
            first.missed_events = Some(sums.missed_events);
        }
        for record in &records {
            match format.output {
                Output::Json => write_json(record, out)?,
                _ => write_row(record, out)?,
            }
        }
    }
    Ok(())
}

fn write_json(record: &UsageRecord<'_>, out: &mut impl Write) -> io::Result<()> {
    let mut line = serde_json::to_vec(record).map_err(io::Error::other)?;
    line.push(b'\n');
    out.write_all(&line)
}

fn write_row(record: &UsageRecord<'_>, out: &mut impl Write) -> io::Result<()> {
    let mut row = String::new();
    for (n, text) in [record.r#type, record.by, record.period].iter().enumerate() {
        row.push_str(if n > 0 { "," } else { "" });
        quoted(&[text], &mut row);
    }
    row.push_str(&format!(",{},", record.seconds));
    quoted(&[record.grouped_by], &mut row);
    row.push(',');
    if let Some(name) = record.name {
        quoted(&[name], &mut row);
    }
    let groups = record.groups.map(|groups| groups.to_string());
    let missed = record.missed_events.map(|missed| missed.to_string());
    writeln!(
        out,
        "{row},{},{},{},{},{},{}",
        groups.unwrap_or_default(),
        record.rx_bytes,
        record.tx_bytes,
        record.rx_msgs,
        record.tx_msgs,
        missed.unwrap_or_default()
    )
}

fn write_text(
    usage: &Usage,
    period: &str,
    sums: &UsageSums,
    rows: &PeriodRows<'_>,
    units: Units,
    out: &mut impl Write,
) -> io::Result<()> {
    let total = Directions::Both.bytes(&sums.total);
    let [rx, tx] = [sums.total.rx_bytes, sums.total.tx_bytes].map(|bytes| units.amount(bytes));
    let recorded = match sums.elapsed.as_secs_f64() {
        seconds if seconds < HOUR => span(Duration::from_secs_f64(seconds.round())),
        seconds => format!("{:.1} h", seconds / HOUR),
    };
    let missed = match sums.missed_events {
        0 => String::new(),
        missed => format!(", {} missed", count(missed, "event")),
    };
    writeln!(
        out,
        "{period}: in {rx}, out {tx}, {recorded} recorded{missed}"
    )?;
    writeln!(
        out,
        "{:>10}  {:>10}  {:>5}  {}",
        "IN",
        "OUT",
        "SHARE",
        usage.group.rows(1).to_uppercase()
    )?;
    let mut row = |name: &str, counters: &Counters| {
        writeln!(
            out,
            "{:>10}  {:>10}  {:>3} %  {name}",
            units.amount(counters.rx_bytes),
            units.amount(counters.tx_bytes),
            percent(Directions::Both.bytes(counters), total),
        )
    };
    for (name, counters) in &rows.shown {
        row(&sanitize(name), counters)?;
    }
    if rows.others > 0 {
        let others = format!("{} other {}", rows.others, usage.group.rows(rows.others));
        row(&others, &rows.other)?;
    }
    if !sums.untracked.is_zero() {
        row("untracked", &sums.untracked)?;
    }
    writeln!(out)
}
