//! Writes what changed between two recordings, as text or as JSON Lines.

use std::io::{self, Write};
use std::time::Duration;

use serde::Serialize;

use crate::model::flow::Counters;
use crate::stats::comparison::{Comparison, GroupChange, TrafficStretch};
use crate::text::units::{Units, count, sanitize, span};
use crate::view::{Directions, Group};

/// A stretch of time with the name of its recording and window.
#[derive(Debug)]
pub struct NamedStretch {
    /// As typed, with its window of time.
    pub name: String,
    pub stretch: TrafficStretch,
}

/// How a comparison is written.
#[derive(Clone, Copy, Debug)]
pub struct DiffFormat {
    pub is_json: bool,
    pub group: Group,
    pub units: Units,
    /// Most changes; `None` means all.
    pub top_n: Option<usize>,
}

#[derive(Serialize)]
struct ComparisonRecord<'a> {
    r#type: &'static str,
    before: &'a str,
    after: &'a str,
    before_seconds: f64,
    after_seconds: f64,
    before_intervals: u64,
    after_intervals: u64,
    grouped_by: &'a str,
    groups: usize,
    changed: usize,
}

#[derive(Serialize)]
struct ChangeRecord<'a> {
    r#type: &'static str,
    change: &'static str,
    name: &'a str,
    before_rx_bytes: u64,
    before_tx_bytes: u64,
    after_rx_bytes: u64,
    after_tx_bytes: u64,
    /// In bytes per second, as [`GroupChange::noise`].
    noise_rate: f64,
}

/// Writes a comparison.
///
/// # Errors
/// When it cannot be written.
pub fn write_diff(
    before: &NamedStretch,
    after: &NamedStretch,
    comparison: &Comparison,
    format: DiffFormat,
    out: &mut impl Write,
) -> io::Result<()> {
    let changes = &comparison.changes;
    let shown = &changes[..changes.len().min(format.top_n.unwrap_or(usize::MAX))];
    if format.is_json {
        return write_json(before, after, comparison, shown, format, out);
    }
    for (word, side) in [("before", before), ("after", after)] {
        let elapsed = Duration::from_secs_f64(side.stretch.elapsed.as_secs_f64().round());
        let (name, length) = (sanitize(&side.name), span(elapsed));
        let intervals = count(side.stretch.intervals, "interval");
        writeln!(out, "{word:7}{name}: {intervals}, {length}")?;
    }
    let groups = format.group.rows(comparison.groups);
    writeln!(
        out,
        "{} of {} {groups} changed",
        changes.len(),
        comparison.groups
    )?;
    if before.stretch.intervals.min(after.stretch.intervals) < 2 {
        writeln!(
            out,
            "one interval has no noise: every difference counts as a change"
        )?;
    }
    if shown.is_empty() {
        return Ok(());
    }
    writeln!(
        out,
        "{:6}  {:>12}  {:>12}  {:>12}  {}",
        "CHANGE",
        "BEFORE",
        "AFTER",
        "NOISE",
        format.group.rows(1).to_uppercase()
    )?;
    for change in shown {
        let rate = |counters: &Counters, side: &NamedStretch| match *counters {
            counters if counters == Counters::default() => "·".to_owned(),
            counters => {
                let bytes = Directions::Both.bytes(&counters) as f64;
                format
                    .units
                    .rate(bytes / side.stretch.elapsed.as_secs_f64())
            }
        };
        writeln!(
            out,
            "{:6}  {:>12}  {:>12}  {:>12}  {}",
            change.kind.as_str(),
            rate(&change.before, before),
            rate(&change.after, after),
            format.units.rate(change.noise),
            sanitize(&change.name)
        )?;
    }
    match changes.len() - shown.len() {
        0 => Ok(()),
        left => writeln!(out, "{left} smaller changes are not shown: -n 0 shows all"),
    }
}

fn write_json(
    before: &NamedStretch,
    after: &NamedStretch,
    comparison: &Comparison,
    shown: &[GroupChange],
    format: DiffFormat,
    out: &mut impl Write,
) -> io::Result<()> {
    let record = ComparisonRecord {
        r#type: "comparison",
        before: &sanitize(&before.name),
        after: &sanitize(&after.name),
        before_seconds: before.stretch.elapsed.as_secs_f64(),
        after_seconds: after.stretch.elapsed.as_secs_f64(),
        before_intervals: before.stretch.intervals,
        after_intervals: after.stretch.intervals,
        grouped_by: &format.group.to_string(),
        groups: comparison.groups,
        changed: comparison.changes.len(),
    };
    write_line(&record, out)?;
    for change in shown {
        let record = ChangeRecord {
            r#type: "change",
            change: change.kind.as_str(),
            name: &sanitize(&change.name),
            before_rx_bytes: change.before.rx_bytes,
            before_tx_bytes: change.before.tx_bytes,
            after_rx_bytes: change.after.rx_bytes,
            after_tx_bytes: change.after.tx_bytes,
            noise_rate: change.noise,
        };
        write_line(&record, out)?;
    }
    Ok(())
}

fn write_line(record: &impl Serialize, out: &mut impl Write) -> io::Result<()> {
    let mut line = serde_json::to_vec(record).map_err(io::Error::other)?;
    line.push(b'\n');
    out.write_all(&line)
}
