//! What flowtop's own audit of TCP connections says, interval by interval.

use std::collections::BTreeMap;

use anyhow::{Context, Result, ensure};
use jiff::Timestamp;
use serde_json::Value;

use crate::subject::{number, text};

/// The end of an interval, and what was found in it.
pub struct AuditedInterval {
    pub end: Timestamp,
    /// Calls that the kernel says were missed.
    pub missed: u64,
    /// Ports of the connection that is off by most, if one is off.
    pub named: Option<[u64; 2]>,
}

impl AuditedInterval {
    pub fn parse(line: &Value) -> Result<Self> {
        let worst = &line["audit"]["worst"];
        Ok(Self {
            end: text(line, "time")?.parse().context("time")?,
            // Absent where the kernel does not count them.
            missed: line["missed_events"].as_u64().unwrap_or(0),
            named: match worst.is_null() {
                true => None,
                false => Some([number(worst, "local_port")?, number(worst, "remote_port")?]),
            },
        })
    }
}

/// Sums over all intervals.
#[derive(Debug, Default)]
pub struct Audited {
    /// Connections compared, each once an interval.
    pub connections: u64,
    /// Connections that could not be compared.
    pub exempt: u64,
    pub drift_rx: i64,
    pub drift_tx: i64,
    /// Intervals in which a connection drifted: opposite drifts of two intervals sum up to 0.
    pub drifting: u64,
    /// Connections that were named, and what was found of each.
    pub named: BTreeMap<String, (i64, i64)>,
}

impl Audited {
    pub fn take(&mut self, audit: &Value) -> Result<()> {
        let signed = |of: &Value, key: &str| {
            of[key]
                .as_i64()
                .with_context(|| format!("no {key} in {audit}"))
        };
        let (connections, agreeing) = (number(audit, "connections")?, number(audit, "agreeing")?);
        ensure!(
            agreeing <= connections,
            "more agree than there are: {audit}"
        );
        self.connections += connections;
        self.exempt += number(audit, "exempt")?;
        self.drifting += u64::from(agreeing < connections);
        self.drift_rx += signed(audit, "drift_rx_bytes")?;
        self.drift_tx += signed(audit, "drift_tx_bytes")?;
        ensure!(
            agreeing == connections || !audit["worst"].is_null(),
            "nobody is named: {audit}"
        );
        if let Some(worst) = audit["worst"].as_object() {
            let word = |key: &str| worst.get(key).map(Value::to_string).unwrap_or_default();
            let keys = [
                "pid",
                "local_addr",
                "local_port",
                "remote_addr",
                "remote_port",
            ];
            let drift = (
                signed(&audit["worst"], "drift_rx_bytes")?,
                signed(&audit["worst"], "drift_tx_bytes")?,
            );
            self.named.insert(keys.map(word).join(" "), drift);
        }
        Ok(())
    }

    /// What is off: where no probe sees some ways to receive, their bytes are counted from the
    /// sockets.
    pub fn complaints(&self) -> Option<String> {
        let is_off = (self.drift_rx, self.drift_tx) != (0, 0) || self.drifting > 0;
        is_off.then(|| format!("the audit found drift: {self:?}"))
    }
}
