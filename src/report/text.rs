//! Turns rankings into plain text for people and pipes: per interval one header line, the largest
//! flows each way, the rest summed. Columns only ever grow, so they hold still.

use std::fmt::Write as _;
use std::io::Write as _;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;

use super::{Report, rfc3339};
use crate::audit;
use crate::flow::{Direction, Flow};
use crate::interval::{Method, rate};
use crate::names::Names;
use crate::rank::{Ranking, Section};
use crate::units::{self, Units};

/// `255.255.255.255:65535`.
const LEAST_WIDTH: usize = 21;
/// The longest address with its port; a longer host name moves the rest of its own row only.
const MOST_WIDTH: usize = 47;

/// Plain text. Remembers what was said once and how wide columns have become.
#[derive(Clone, Debug)]
pub struct Text {
    units: Units,
    local_width: usize,
    remote_width: usize,
    traffic_seen: bool,
    method: Option<Arc<Method>>,
}

impl Default for Text {
    fn default() -> Self {
        Self {
            units: Units::default(),
            local_width: LEAST_WIDTH,
            remote_width: LEAST_WIDTH,
            traffic_seen: false,
            method: None,
        }
    }
}

struct Row {
    rate: String,
    protocol: &'static str,
    local: String,
    remote: String,
    pid: u32,
    process: String,
}

impl Report for Text {
    fn append(&mut self, ranking: &Ranking, names: &Names, out: &mut Vec<u8>) -> Result<()> {
        out.write_all(self.block(ranking, names).as_bytes())?;
        Ok(())
    }
}

impl Text {
    /// In these units.
    pub fn new(units: Units) -> Self {
        Self {
            units,
            ..Self::default()
        }
    }

    fn block(&mut self, ranking: &Ranking, names: &Names) -> String {
        let mut text = String::new();
        self.introduce(&ranking.method, &mut text);
        // Writing to a string cannot fail.
        let _ = writeln!(
            text,
            "{}  {:.3} s  in {}  out {}  {}  {}",
            rfc3339(ranking.ended),
            ranking.elapsed.as_secs_f64(),
            self.per_second(ranking.total.rx_bytes, ranking.elapsed),
            self.per_second(ranking.total.tx_bytes, ranking.elapsed),
            units::count(ranking.flows as u64, "flow"),
            audit::word(&ranking.losses, &ranking.method),
        );
        for line in audit::losses(&ranking.losses) {
            let _ = writeln!(text, "!!! {line}");
        }
        if ranking.ingress.is_empty() && ranking.egress.is_empty() {
            text.push_str(if self.traffic_seen {
                "no traffic in this interval\n\n"
            } else {
                "no traffic seen yet\n\n"
            });
            return text;
        }
        self.traffic_seen = true;

        let rows = |section: &Section| -> Vec<Row> {
            let rows = section.rows.iter();
            rows.map(|flow| self.row(flow, section.direction, ranking.elapsed, names))
                .collect()
        };
        let (ingress, egress) = (rows(&ranking.ingress), rows(&ranking.egress));
        for row in ingress.iter().chain(&egress) {
            let grown = |width: usize, text: &str| width.max(text.chars().count().min(MOST_WIDTH));
            self.local_width = grown(self.local_width, &row.local);
            self.remote_width = grown(self.remote_width, &row.remote);
        }
        self.section(
            "Ingress",
            &ranking.ingress,
            &ingress,
            ranking.elapsed,
            &mut text,
        );
        self.section(
            "Egress",
            &ranking.egress,
            &egress,
            ranking.elapsed,
            &mut text,
        );
        text.push('\n');
        text
    }

    /// Says how bytes are seen, at the start and whenever that changes.
    fn introduce(&mut self, method: &Arc<Method>, text: &mut String) {
        if self.method.as_ref() == Some(method) {
            return;
        }
        self.method = Some(Arc::clone(method));
        let _ = write!(text, "flowtop: {} backend", method.backend);
        if !method.reason.is_empty() {
            let _ = write!(text, ": {}", method.reason);
        }
        text.push('\n');
        for meaning in audit::unseen(method) {
            let _ = writeln!(text, "!!! UNSEEN: {meaning}");
        }
        text.push('\n');
    }

    fn section(
        &self,
        title: &str,
        section: &Section,
        rows: &[Row],
        elapsed: Duration,
        text: &mut String,
    ) {
        let (local, remote) = (self.local_width, self.remote_width);
        let rate = self.units.rate_width();
        let _ = writeln!(
            text,
            "{title}: {}, {}, {} shown with {} %",
            self.per_second(section.total, elapsed),
            units::count(section.flows() as u64, "flow"),
            rows.len(),
            units::percent(section.shown(), section.total),
        );
        let _ = writeln!(
            text,
            "{:>rate$}  PROTO  {:<local$}  {:<remote$}  {:>7}  PROCESS",
            "RATE", "LOCAL", "REMOTE", "PID"
        );
        for row in rows {
            let _ = writeln!(
                text,
                "{:>rate$}  {:<5}  {:<local$}  {:<remote$}  {:>7}  {}",
                row.rate, row.protocol, row.local, row.remote, row.pid, row.process
            );
        }
        for (bytes, flows) in [
            (
                section.other.bytes,
                units::count(section.other.flows as u64, "other flow"),
            ),
            (
                section.untracked,
                "untracked: the flow table was full".to_owned(),
            ),
        ] {
            if bytes > 0 {
                let _ = writeln!(text, "{:>rate$}  {flows}", self.per_second(bytes, elapsed));
            }
        }
    }

    fn row(&self, flow: &Flow, direction: Direction, elapsed: Duration, names: &Names) -> Row {
        let key = &flow.key;
        let end = |end, other| {
            let label = names.label(end, names.service(key.protocol, end, Some(other)));
            units::sanitize(&label.host).into_owned() + &label.port
        };
        let comm = flow.owner.comm.to_string_lossy();
        let mut process = units::sanitize(&comm).into_owned();
        if names.is_own(key.tgid) {
            process.push_str(" (own look-ups)");
        }
        Row {
            rate: self.per_second(flow.counters.bytes(direction), elapsed),
            protocol: key.protocol.as_str(),
            local: end(&key.local, &key.remote),
            remote: end(&key.remote, &key.local),
            pid: key.tgid,
            process,
        }
    }

    fn per_second(&self, bytes: u64, elapsed: Duration) -> String {
        self.units.rate(rate(bytes, elapsed))
    }
}
