//! Writes the traffic of a command as text, one JSON object or Markdown.

use std::borrow::Cow;
use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;

use serde::Serialize;

use crate::jsonl::escape;
use crate::model::dns::DnsName;
use crate::model::flow::Counters;
use crate::model::interval::Machine;
use crate::model::peer_class::PeerClass;
use crate::model::wire_estimate::Cost;
use crate::options::SummaryForm;
use crate::stats::run_totals::{PeerKey, PeerTotals, RunTotals};
use crate::text::losses;
use crate::text::sanitize::{name, padded, sanitize};
use crate::text::time::rfc3339;
use crate::text::units::{bytes, count, money, span};

/// A command that has ended, with its traffic.
#[derive(Debug)]
pub struct RunSummary<'a> {
    pub command: &'a [String],
    /// How it ended, as in `exited with 0`.
    pub end: String,
    pub exit_code: u8,
    pub totals: &'a RunTotals,
    pub machine: &'a Machine,
    /// Known host names of the peers.
    pub names: &'a HashMap<IpAddr, Arc<str>>,
    /// The file of the allow-list.
    pub allow: Option<&'a str>,
    /// Rows of each table; `None` means all.
    pub top_n: Option<usize>,
}

/// The texts of a row's cells, besides the numbers that [`Cells`] has.
type Cells = [String; 6];

/// Most characters of the command in the first line; JSON has all.
const MAX_COMMAND: usize = 80;

const HEADINGS: [&str; 6] = ["IN", "OUT", "CLASS", "REMOTE", "PID", "PROCESS"];

impl RunSummary<'_> {
    /// Returns the whole summary, with a line feed at its end.
    pub fn written(&self, form: SummaryForm) -> String {
        match form {
            SummaryForm::Text => self.text(),
            SummaryForm::Json => self.json(),
            SummaryForm::Markdown => self.markdown(),
        }
    }

    /// The first line: the command, its end, and the totals.
    fn head(&self) -> String {
        let seconds = self
            .totals
            .sum
            .as_ref()
            .map(|sum| sum.elapsed)
            .unwrap_or_default();
        let total = &self.totals.total;
        let cost = self.totals.cost.map_or_else(String::new, |cost| {
            format!(", cost ~{} (estimate)", money(cost.both()))
        });
        let trust = match &self.totals.sum {
            Some(sum) => losses::summary(&sum.losses, &sum.method),
            None => "exact".to_owned(),
        };
        format!(
            "{} {} after {}: in {}, out {}{cost}, {trust}",
            self.short_command(),
            self.end,
            span(seconds),
            bytes(total.rx_bytes),
            bytes(total.tx_bytes),
        )
    }

    /// The command in at most [`MAX_COMMAND`] characters.
    fn short_command(&self) -> String {
        let command = name(&self.command.join(" ")).into_owned();
        match command.char_indices().nth(MAX_COMMAND) {
            Some((end, _)) => format!("{}…", &command[..end]),
            None => command,
        }
    }

    /// Returns what was lost, one sentence each after `!!!`, and the limits of the kernel, which
    /// are no alarm.
    fn notes(&self) -> Vec<String> {
        let Some(sum) = &self.totals.sum else {
            return Vec::new();
        };
        let unseen = &sum.method.unseen;
        let limits = (!unseen.is_empty()).then(|| {
            let unseen = unseen.join(", ");
            format!("limits of this kernel, which flowtop --doctor explains: {unseen}")
        });
        losses::losses(&sum.losses)
            .into_iter()
            .map(|loss| format!("!!! {loss}"))
            .chain(limits)
            .collect()
    }

    fn unexpected_head(&self) -> Option<String> {
        let allow = self.allow.filter(|_| self.totals.has_unexpected())?;
        let rows = count(self.totals.unexpected.len() as u64, "peer");
        let untracked = self.totals.unexpected_untracked;
        let untracked = match untracked.is_zero() {
            true => String::new(),
            false => format!(
                ", and untracked bytes that no line can match: in {}, out {}",
                bytes(untracked.rx_bytes),
                bytes(untracked.tx_bytes)
            ),
        };
        Some(format!(
            "unexpected, because no line of {} matches: {rows}{untracked}",
            sanitize(allow)
        ))
    }

    /// The name by reverse DNS.
    fn host(&self, key: &PeerKey) -> Option<&Arc<str>> {
        self.names.get(&key.remote.addr)
    }

    /// The name that the process resolved.
    fn dns_name(&self, key: &PeerKey) -> Option<&DnsName> {
        let peer = (key.tgid, key.remote.addr);
        self.totals.dns_names.get(&peer).map(|dns| &**dns)
    }

    fn cells(&self, (key, sum): &(PeerKey, Counters)) -> Cells {
        let resolved = self.dns_name(key).map(DnsName::marked);
        let host = resolved.or_else(|| self.host(key).map(|host| Cow::Borrowed(&**host)));
        let remote = match (host, key.remote.port) {
            (Some(host), 0) => host.into_owned(),
            (Some(host), port) => format!("{host}:{port}"),
            (None, _) => key.remote.to_string(),
        };
        let remote = match key.protocol {
            Some(protocol) => format!("{protocol} {remote}"),
            None => remote,
        };
        [
            bytes(sum.rx_bytes),
            bytes(sum.tx_bytes),
            location_cell(key),
            name(&remote).into_owned(),
            key.tgid.to_string(),
            name(&key.comm.to_string_lossy()).into_owned(),
        ]
    }

    /// The rows of a table, and the sum of all others.
    fn table(&self, peers: &PeerTotals) -> (Vec<Cells>, Option<String>) {
        let (rows, rest, others) = peers.ranked(self.top_n);
        let rows = rows.iter().map(|row| self.cells(row)).collect();
        let rest = (!rest.is_zero()).then(|| {
            let sums = (bytes(rest.rx_bytes), bytes(rest.tx_bytes));
            format!(
                "{}: in {}, out {}",
                count(others as u64, "other row"),
                sums.0,
                sums.1
            )
        });
        (rows, rest)
    }

    fn text(&self) -> String {
        let mut text = format!("flowtop: {}\n", self.head());
        self.text_table(&self.totals.peers, &mut text);
        for note in self.notes() {
            text.push_str(&format!("flowtop: {note}\n"));
        }
        if let Some(head) = self.unexpected_head() {
            text.push_str(&format!("flowtop: {head}\n"));
            self.text_table(&self.totals.unexpected, &mut text);
        }
        text
    }

    fn text_table(&self, peers: &PeerTotals, text: &mut String) {
        let (rows, rest) = self.table(peers);
        if !rows.is_empty() {
            let all = || {
                rows.iter()
                    .map(|cells| cells.each_ref().map(String::as_str))
            };
            let all = || std::iter::once(HEADINGS).chain(all());
            let width = |column: usize| {
                all()
                    .map(|cells| crate::text::sanitize::columns(cells[column]))
                    .max()
            };
            let widths: [usize; 6] = std::array::from_fn(|column| width(column).unwrap_or(0));
            for cells in all() {
                let right = |column: usize| format!("{:>1$}", cells[column], widths[column]);
                let left = |column: usize| padded(cells[column], widths[column]);
                let (rx, tx, pid) = (right(0), right(1), right(4));
                let line = format!("{rx}  {tx}  {}  {}  {pid}  {}", left(2), left(3), cells[5]);
                text.push_str(line.trim_end());
                text.push('\n');
            }
        }
        if let Some(rest) = rest {
            text.push_str(&format!("{rest}\n"));
        }
    }

    fn markdown(&self) -> String {
        let mut text = format!("{}\n\n", escaped(&self.head()));
        self.markdown_table(&self.totals.peers, &mut text);
        for note in self.notes() {
            text.push_str(&format!("- {}\n", escaped(&note)));
        }
        if let Some(head) = self.unexpected_head() {
            text.push_str(&format!("\n**{}**\n\n", escaped(&head)));
            self.markdown_table(&self.totals.unexpected, &mut text);
        }
        text
    }

    fn markdown_table(&self, peers: &PeerTotals, text: &mut String) {
        let (rows, rest) = self.table(peers);
        if !rows.is_empty() {
            text.push_str(&format!(
                "| {} |\n| ---: | ---: | --- | --- | ---: | --- |\n",
                HEADINGS.join(" | ")
            ));
            for cells in rows {
                text.push_str(&format!(
                    "| {} |\n",
                    cells.map(|cell| escaped(&cell)).join(" | ")
                ));
            }
            text.push('\n');
        }
        if let Some(rest) = rest {
            text.push_str(&format!("{rest}\n\n"));
        }
    }

    fn json(&self) -> String {
        let totals = self.totals;
        let losses = totals.losses();
        let method = totals.sum.as_ref().map(|sum| &sum.method);
        let record = RunRecord {
            kind: "run",
            schema: crate::jsonl::SCHEMA,
            time: totals.sum.as_ref().map(|sum| rfc3339(sum.ended)),
            seconds: totals
                .sum
                .as_ref()
                .map_or(0.0, |sum| sum.elapsed.as_secs_f64()),
            host: &self.machine.host,
            command: self.command,
            exit_code: self.exit_code,
            rx_bytes: totals.total.rx_bytes,
            tx_bytes: totals.total.tx_bytes,
            rx_cost_estimate: totals.cost.map(Cost::rx),
            tx_cost_estimate: totals.cost.map(Cost::tx),
            untracked_rx_bytes: losses.untracked.rx_bytes,
            untracked_tx_bytes: losses.untracked.tx_bytes,
            missed_events: losses.missed_events,
            backend: method.map(|method| method.backend.as_str()),
            unseen: method
                .map(|method| method.unseen.as_slice())
                .unwrap_or_default(),
            peers: self.records(&totals.peers),
            other: self.rest(&totals.peers),
            allow: self.allow,
            unexpected: self.allow.map(|_| self.records(&totals.unexpected)),
            unexpected_other: self.allow.and_then(|_| self.rest(&totals.unexpected)),
        };
        escape::line(&record)
    }

    fn records(&self, peers: &PeerTotals) -> Vec<PeerRecord> {
        let (rows, _, _) = peers.ranked(self.top_n);
        let record = |(key, sum): &(PeerKey, Counters)| PeerRecord {
            pid: key.tgid,
            process: key.comm.to_string_lossy().into_owned(),
            start_ns: key
                .start
                .and_then(|start| u64::try_from(start.as_nanos()).ok()),
            class: key.class.map(|class| class.as_str()),
            zone: key.zone.as_ref().map(|zone| Arc::clone(&zone.name)),
            proto: key.protocol.map(|protocol| protocol.as_str()),
            remote_addr: match key.remote.is_unknown() && key.class.is_none() {
                true => "*".to_owned(),
                false => key.remote.addr.to_string(),
            },
            remote_port: key.protocol.map(|_| key.remote.port),
            remote_name: self.host(key).cloned(),
            dns_name: self.dns_name(key).map(|dns| Arc::clone(&dns.name)),
            dns_name_origin: self.dns_name(key).map(|dns| dns.origin.as_str()),
            rx_bytes: sum.rx_bytes,
            tx_bytes: sum.tx_bytes,
        };
        rows.iter().map(record).collect()
    }

    fn rest(&self, peers: &PeerTotals) -> Option<RestRecord> {
        let (_, rest, rows) = peers.ranked(self.top_n);
        (!rest.is_zero()).then_some(RestRecord {
            rows,
            rx_bytes: rest.rx_bytes,
            tx_bytes: rest.tx_bytes,
        })
    }
}

/// Class and zone of a peer, as in `private, office`.
fn location_cell(key: &PeerKey) -> String {
    let class = key.class.map_or("unknown", PeerClass::as_str);
    match &key.zone {
        Some(zone) => format!("{class}, {}", name(&zone.name)),
        None => class.to_owned(),
    }
}

/// Escapes the characters that Markdown would take for formatting in a cell.
fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        if matches!(
            c,
            '\\' | '`'
                | '*'
                | '_'
                | '{'
                | '}'
                | '['
                | ']'
                | '<'
                | '>'
                | '#'
                | '|'
                | '!'
                | '&'
                | '~'
        ) {
            escaped.push('\\');
        }
        escaped.push(c);
    }
    escaped
}

#[derive(Serialize)]
struct RunRecord<'a> {
    #[serde(rename = "type")]
    kind: &'static str,
    schema: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    time: Option<String>,
    seconds: f64,
    #[serde(skip_serializing_if = "str::is_empty")]
    host: &'a str,
    command: &'a [String],
    exit_code: u8,
    rx_bytes: u64,
    tx_bytes: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    rx_cost_estimate: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tx_cost_estimate: Option<f64>,
    untracked_rx_bytes: u64,
    untracked_tx_bytes: u64,
    missed_events: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    backend: Option<&'a str>,
    unseen: &'a [&'static str],
    peers: Vec<PeerRecord>,
    #[serde(skip_serializing_if = "Option::is_none")]
    other: Option<RestRecord>,
    #[serde(skip_serializing_if = "Option::is_none")]
    allow: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    unexpected: Option<Vec<PeerRecord>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    unexpected_other: Option<RestRecord>,
}

#[derive(Serialize)]
struct PeerRecord {
    pid: u32,
    process: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    start_ns: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    class: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    zone: Option<Arc<str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    proto: Option<&'static str>,
    remote_addr: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    remote_port: Option<u16>,
    #[serde(skip_serializing_if = "Option::is_none")]
    remote_name: Option<Arc<str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    dns_name: Option<Arc<str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    dns_name_origin: Option<&'static str>,
    rx_bytes: u64,
    tx_bytes: u64,
}

#[derive(Serialize)]
struct RestRecord {
    rows: usize,
    rx_bytes: u64,
    tx_bytes: u64,
}
