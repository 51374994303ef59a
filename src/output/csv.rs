//! Turns rankings into comma-separated values (RFC 4180), one row a flow or group, with the columns
//! always the same: for spreadsheets and all that reads tables. CsvRows are made of the records of
//! JSON Lines, so names and values are the same in both.

use std::fmt::Write as _;

use anyhow::{Context, Result, bail};
use serde::Serialize;
use serde_json::{Map, Value};

use super::Report;
use crate::jsonl::schema::IntervalRecord;
use crate::jsonl::writer::{Json, RecordSink};
use crate::model::interval::RecordingMetadata;
use crate::resolve::names::Names;
use crate::stats::ranking::{GroupTotals, Ranking};
use crate::text::sanitize::visible;
use crate::view::Group;

/// The columns in their order. New ones are only added at the end.
const COLUMNS: &[&str] = &[
    "time",
    "seconds",
    "type",
    "grouped_by",
    "name",
    "groups",
    "flows",
    "proto",
    "local_addr",
    "local_port",
    "remote_addr",
    "remote_port",
    "rx_bytes",
    "tx_bytes",
    "rx_msgs",
    "tx_msgs",
    "pid",
    "process",
    "tid",
    "thread",
    "uid",
    "user",
    "container_runtime",
    "container",
    "pod",
    "unit",
    "cgroup",
    "kernel_thread",
    "netns",
    "rx_packets",
    "tx_packets",
    "srtt_us",
    "cwnd",
    "unacked",
    "notsent",
    "snd_wnd",
    "rcv_wnd",
    "total_retransmits",
    "retransmits",
    "limit",
    "remote_net",
    "port",
    "service",
    "remote_name",
    "local_service",
    "remote_service",
    "own",
    "start_ns",
    "missed_events",
    "backend",
    "unseen",
    "host",
    "overflow",
    "full_pid",
    "full_process",
    "full_flows",
    "full_slots",
    "unknown_processes",
    "unknown_cgroups",
    "ifindex",
    "interface",
    "copied_rx_bytes",
    "rx_rate",
    "tx_rate",
    "processes",
    "internal",
    "user_unit",
    "manager_uid",
    "outer_container",
    "job",
    "unread",
    "receiver_window_percent",
    "send_buffer_percent",
    "in_flight_percent",
    "container_name",
    "image",
    "pod_name",
    "pod_namespace",
    "compose_project",
    "compose_service",
    "names_stale",
    "class",
    "zone",
    "rx_cost_estimate",
    "tx_cost_estimate",
    "job_step",
    "netns_name",
    "dns_name",
    "dns_name_origin",
    "unknown_answers",
];

/// Columns of the interval, which each of its rows repeats, so that a row is complete by itself.
const INTERVAL_COLUMNS: &[&str] = &[
    "time",
    "seconds",
    "grouped_by",
    "missed_events",
    "backend",
    "unseen",
    "host",
    "full_pid",
    "full_process",
    "full_flows",
    "full_slots",
    "unknown_processes",
    "unknown_cgroups",
    "copied_rx_bytes",
    "unknown_answers",
];

/// Columns of losses other than bytes.
const LOSSES: &[&str] = &[
    "missed_events",
    "full_pid",
    "unknown_processes",
    "unknown_cgroups",
    "unknown_answers",
];

/// Columns of a row's traffic.
const MOVED: [&str; 4] = ["rx_bytes", "tx_bytes", "rx_msgs", "tx_msgs"];

/// Name of the row for what belongs to no flow, so that the sum of a column is the total.
const UNTRACKED: &str = "untracked";

#[derive(Clone, Debug, Default)]
pub struct Csv {
    json: Json,
    begun: bool,
}

impl Csv {
    /// Returns CSV with the values that [`Json`] has.
    pub const fn new(json: Json) -> Self {
        Self { json, begun: false }
    }

    /// Writes the rows of the records that `write` hands over; the first ones come after the names
    /// of the columns.
    fn rows(
        &mut self,
        out: &mut Vec<u8>,
        write: impl FnOnce(&Json, &mut CsvRows<'_>) -> Result<()>,
    ) -> Result<()> {
        // None of the csv crate's own styles quotes every text and leaves unknown values out.
        let writer = csv::WriterBuilder::new()
            .quote_style(csv::QuoteStyle::Never)
            .from_writer(out);
        let mut rows = CsvRows {
            writer,
            interval: Map::new(),
            untracked: Map::new(),
            seconds: 0.0,
            cell: String::new(),
            count: 0,
        };
        if !std::mem::replace(&mut self.begun, true) {
            rows.writer
                .write_record(COLUMNS)
                .context("write the columns")?;
        }
        write(&self.json, &mut rows)?;
        rows.finish()
    }
}

impl Report for Csv {
    fn append(&mut self, ranking: &Ranking, names: &Names, out: &mut Vec<u8>) -> Result<()> {
        self.rows(out, |json, rows| json.flows(ranking, names, rows))
    }

    fn append_groups(
        &mut self,
        group: Group,
        ranking: &Ranking<GroupTotals>,
        names: &Names,
        out: &mut Vec<u8>,
    ) -> Result<()> {
        self.rows(out, |json, rows| json.groups(group, ranking, names, rows))
    }

    fn learn(&mut self, metadata: &RecordingMetadata) {
        self.json.learn(metadata);
    }
}

/// The rows of one interval.
struct CsvRows<'a> {
    writer: csv::Writer<&'a mut Vec<u8>>,
    // Values of [`INTERVAL_COLUMNS`].
    interval: Map<String, Value>,
    /// Traffic that was counted and not attributed.
    untracked: Map<String, Value>,
    seconds: f64,
    cell: String,
    count: usize,
}

impl RecordSink for CsvRows<'_> {
    fn interval(&mut self, record: &IntervalRecord<'_>) -> Result<()> {
        let mut record = fields(record)?;
        let untracked = MOVED.iter().map(|&column| {
            let value = record.remove(&format!("untracked_{column}"));
            (column.to_owned(), value.unwrap_or(Value::Null))
        });
        self.untracked = untracked.collect();
        record.retain(|column, _| INTERVAL_COLUMNS.contains(&&**column));
        self.seconds = record.get("seconds").and_then(Value::as_f64).unwrap_or(0.0);
        self.interval = record;
        Ok(())
    }

    fn row(&mut self, kind: &'static str, record: &impl Serialize) -> Result<()> {
        self.write(kind, &fields(record)?)
    }
}

impl CsvRows<'_> {
    fn write(&mut self, kind: &str, row: &Map<String, Value>) -> Result<()> {
        self.count += 1;
        for column in COLUMNS {
            self.cell.clear();
            match *column {
                "type" => quoted(&[kind], &mut self.cell),
                "rx_rate" => self.rate(row.get("rx_bytes")),
                "tx_rate" => self.rate(row.get("tx_bytes")),
                column => {
                    if let Some(value) = row.get(column).or_else(|| self.interval.get(column)) {
                        append(value, &mut self.cell);
                    }
                }
            }
            self.writer.write_field(&self.cell).context("write a row")?;
        }
        self.writer
            .write_record(None::<&[u8]>)
            .context("write a row")
    }

    /// Bytes per second; absent for an interval of no length.
    fn rate(&mut self, bytes: Option<&Value>) {
        if let Some(bytes) = bytes.and_then(Value::as_u64)
            && self.seconds > 0.0
        {
            // Writing to a string cannot fail.
            let _ = write!(self.cell, "{:.3}", bytes as f64 / self.seconds);
        }
    }

    /// Writes the row of unattributed traffic if there is any, or a loss that no other row could
    /// carry.
    fn finish(mut self) -> Result<()> {
        let is_any = |value: Option<&Value>| value.is_some_and(|value| value.as_u64() > Some(0));
        let is_untracked = self.untracked.values().any(|value| is_any(Some(value)));
        let is_lost = LOSSES.iter().any(|&loss| is_any(self.interval.get(loss)));
        if is_untracked || self.count == 0 && is_lost {
            let untracked = std::mem::take(&mut self.untracked);
            self.write(UNTRACKED, &untracked)?;
        }
        self.writer.flush().context("write rows")
    }
}

/// Returns the fields of a record by their names.
fn fields(record: &impl Serialize) -> Result<Map<String, Value>> {
    match serde_json::to_value(record).context("take a record apart")? {
        Value::Object(fields) => Ok(fields),
        _ => bail!("a record has no fields"),
    }
}

/// Characters that programs read as separators of cells, by option or by locale.
const SEPARATORS: [char; 2] = [';', '|'];

/// Characters that begin a formula in a spreadsheet, also in full width.
const FORMULA: [char; 8] = [
    '=', '+', '-', '@', '\u{ff1d}', '\u{ff0b}', '\u{ff0d}', '\u{ff20}',
];

/// Appends a value as a cell. Text is always quoted, because not every reader takes the comma for
/// the separator; an unknown value is an empty cell.
fn append(value: &Value, cell: &mut String) {
    match value {
        Value::String(text) => quoted(&[text], cell),
        Value::Array(values) => {
            let texts: Vec<&str> = values.iter().filter_map(Value::as_str).collect();
            quoted(&texts, cell);
        }
        Value::Null => {}
        // Writing to a string cannot fail.
        other => drop(write!(cell, "{other}")),
    }
}

/// Appends texts as one cell with blanks between them. Untrusted text is made harmless for
/// terminals, and for spreadsheets: `'` stands before a formula at the beginning of a text and
/// behind each possible separator, because quotes do not help within a cell.
pub(super) fn quoted(texts: &[&str], cell: &mut String) {
    cell.push('"');
    for (n, text) in texts.iter().enumerate() {
        cell.push_str(if n > 0 { " " } else { "" });
        let mut is_start = true;
        for c in visible(text).chars() {
            if is_start && FORMULA.contains(&c) {
                cell.push('\'');
            }
            // Blanks and quotes before a formula do not stop a spreadsheet from evaluating it.
            is_start = SEPARATORS.contains(&c) || is_start && matches!(c, ' ' | '"');
            if c == '"' {
                cell.push(c);
            }
            cell.push(c);
        }
    }
    cell.push('"');
}
