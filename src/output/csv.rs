//! Turns rankings into comma-separated values (RFC 4180), one row a flow or group, with the columns
//! always the same: for spreadsheets and all that reads tables. Rows are made of the JSON records, so that
//! nothing is said in two ways.

use std::fmt::Write as _;

use anyhow::{Context, Result, bail};
use serde_json::{Map, Value};

use super::Report;
use crate::jsonl::writer::Json;
use crate::model::interval::RecordingMetadata;
use crate::resolve::names::Names;
use crate::stats::ranking::{GroupTotals, Ranking};
use crate::text::sanitize::visible;
use crate::view::Group;

/// The columns, in their order. Only ever added to, at the end.
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
];

/// The row of an interval: what of it belongs to no flow. Every interval has one, so that sums of a
/// column are the total, and an interval in which nothing moved is a row too.
const UNTRACKED: &str = "untracked";

/// Comma-separated values.
#[derive(Clone, Debug, Default)]
pub struct Csv {
    json: Json,
    begun: bool,
    /// The records that rows are made of.
    records: Vec<u8>,
}

impl Csv {
    /// With what [`Json`] would say of the same.
    pub const fn new(json: Json) -> Self {
        Self {
            json,
            begun: false,
            records: Vec::new(),
        }
    }

    /// Makes rows of the records, after the names of the columns where these are the first.
    fn rows(&mut self, out: &mut Vec<u8>) -> Result<()> {
        // Of its own styles none quotes every text and leaves out what is not known.
        let mut writer = csv::WriterBuilder::new()
            .quote_style(csv::QuoteStyle::Never)
            .from_writer(out);
        if !std::mem::replace(&mut self.begun, true) {
            writer.write_record(COLUMNS).context("write the columns")?;
        }
        let mut cell = String::new();
        let lines = self.records.split(|&byte| byte == b'\n');
        for line in lines.filter(|line| !line.is_empty()) {
            let record = serde_json::from_slice(line).context("read a record again")?;
            let Value::Object(mut record) = record else {
                bail!("a record has no fields");
            };
            if record.get("type").is_some_and(|kind| kind == "interval") {
                untracked(&mut record);
            }
            for column in COLUMNS {
                cell.clear();
                if let Some(value) = record.get(*column) {
                    append(value, &mut cell);
                }
                writer.write_field(&cell).context("write a row")?;
            }
            writer.write_record(None::<&[u8]>).context("write a row")?;
        }
        writer.flush().context("write rows")
    }
}

impl Report for Csv {
    fn append(&mut self, ranking: &Ranking, names: &Names, out: &mut Vec<u8>) -> Result<()> {
        self.records.clear();
        self.json.append(ranking, names, &mut self.records)?;
        self.rows(out)
    }

    fn append_groups(
        &mut self,
        group: Group,
        ranking: &Ranking<GroupTotals>,
        names: &Names,
        out: &mut Vec<u8>,
    ) -> Result<()> {
        self.records.clear();
        self.json
            .append_groups(group, ranking, names, &mut self.records)?;
        self.rows(out)
    }

    fn learn(&mut self, metadata: &RecordingMetadata) {
        self.json.learn(metadata);
    }
}

/// Leaves of an interval's record what is of no flow.
fn untracked(record: &mut Map<String, Value>) {
    for field in ["rx_bytes", "tx_bytes", "rx_msgs", "tx_msgs"] {
        let value = record.remove(&format!("untracked_{field}"));
        record.insert(field.to_owned(), value.unwrap_or(Value::Null));
    }
    record.remove("flows");
    record.insert("type".to_owned(), UNTRACKED.into());
}

/// Separators that programs take for those of cells, if told to or by their locale.
const SEPARATORS: [char; 2] = [';', '|'];

/// What a spreadsheet takes for the beginning of a formula, also as wide as an ideograph.
const FORMULA: [char; 8] = [
    '=', '+', '-', '@', '\u{ff1d}', '\u{ff0b}', '\u{ff0d}', '\u{ff20}',
];

/// Appends a value as a cell. Text is quoted whatever it is, as not every reader takes the comma for
/// the separator; a value that is not known is an empty cell.
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

/// Appends texts as one cell with blanks between them. Text that others chose is made harmless for
/// terminals, and for spreadsheets: `'` stands before a formula, where a text begins and behind what
/// may be a separator, which no quotes change within a cell.
fn quoted(texts: &[&str], cell: &mut String) {
    cell.push('"');
    for (n, text) in texts.iter().enumerate() {
        cell.push_str(if n > 0 { " " } else { "" });
        let mut is_start = true;
        for c in visible(text).chars() {
            if is_start && FORMULA.contains(&c) {
                cell.push('\'');
            }
            // Blanks and quotes before a formula change nothing.
            is_start = SEPARATORS.contains(&c) || is_start && matches!(c, ' ' | '"');
            if c == '"' {
                cell.push(c);
            }
            cell.push(c);
        }
    }
    cell.push('"');
}
