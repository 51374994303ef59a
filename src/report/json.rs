//! Turns rankings into JSON Lines, schema 1: one interval record, then its flows. Raw counters and
//! the measured length go in; readers divide. Fields are added, never changed; the README is the
//! reference.

use std::io::Write;

use anyhow::{Context, Result};
use serde::Serialize;

use super::{Report, rfc3339};
use crate::flow::Flow;
use crate::names::Names;
use crate::rank::Ranking;

/// Number of the schema; changes when a field changes its meaning, which should never be.
const SCHEMA: u32 = 1;

/// JSON Lines.
#[derive(Clone, Copy, Debug)]
pub struct Json;

#[derive(Serialize)]
struct IntervalRecord<'a> {
    r#type: &'static str,
    schema: u32,
    time: &'a str,
    interval: f64,
    rx_bytes: u64,
    tx_bytes: u64,
    flows: usize,
    untracked_rx_bytes: u64,
    untracked_tx_bytes: u64,
    missed_events: u64,
    backend: &'a str,
    unseen: &'a [&'static str],
}

#[derive(Serialize)]
struct FlowRecord<'a> {
    r#type: &'static str,
    time: &'a str,
    interval: f64,
    proto: &'static str,
    local_addr: String,
    local_port: u16,
    remote_addr: String,
    remote_port: u16,
    pid: u32,
    comm: &'a str,
    rx_bytes: u64,
    tx_bytes: u64,
    rx_msgs: u64,
    tx_msgs: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    remote_name: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    local_service: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    remote_service: Option<&'a str>,
    /// Written where it is true: of flowtop's own flows.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    own: bool,
}

impl Report for Json {
    fn append(&mut self, ranking: &Ranking, names: &Names, out: &mut Vec<u8>) -> Result<()> {
        let time = rfc3339(ranking.ended);
        let interval = ranking.elapsed.as_secs_f64();
        let untracked = ranking.losses.untracked;
        let record = IntervalRecord {
            r#type: "interval",
            schema: SCHEMA,
            time: &time,
            interval,
            rx_bytes: ranking.total.rx_bytes,
            tx_bytes: ranking.total.tx_bytes,
            flows: ranking.flows,
            untracked_rx_bytes: untracked.rx_bytes,
            untracked_tx_bytes: untracked.tx_bytes,
            missed_events: ranking.losses.missed_events,
            backend: &ranking.method.backend,
            unseen: &ranking.method.unseen,
        };
        line(&record, out)?;
        for flow in ranking.rows() {
            append_flow(flow, &time, interval, names, out)?;
        }
        Ok(())
    }
}

fn append_flow(
    flow: &Flow,
    time: &str,
    interval: f64,
    names: &Names,
    out: &mut Vec<u8>,
) -> Result<()> {
    let (local, remote) = (flow.key.local, flow.key.remote);
    let name = names.get(remote.addr);
    let record = FlowRecord {
        r#type: "flow",
        time,
        interval,
        proto: flow.key.protocol.as_str(),
        local_addr: local.addr.to_string(),
        local_port: local.port,
        remote_addr: if remote.is_unknown() {
            "*".to_owned()
        } else {
            remote.addr.to_string()
        },
        remote_port: remote.port,
        pid: flow.key.tgid,
        comm: &flow.comm.to_string_lossy(),
        rx_bytes: flow.counters.rx_bytes,
        tx_bytes: flow.counters.tx_bytes,
        rx_msgs: flow.counters.rx_msgs,
        tx_msgs: flow.counters.tx_msgs,
        remote_name: name.as_deref(),
        local_service: names.service(flow.key.protocol, &local, Some(&remote)),
        remote_service: names.service(flow.key.protocol, &remote, Some(&local)),
        own: names.is_own(flow.key.tgid),
    };
    line(&record, out)
}

fn line(record: &impl Serialize, out: &mut Vec<u8>) -> Result<()> {
    serde_json::to_writer(&mut *out, record).context("write a record as JSON")?;
    out.write_all(b"\n").context("write a record as JSON")
}
