//! Turns rankings into JSON Lines, schema 2: one interval record, then its flows. Raw counters and
//! the measured length go in; readers divide. Fields are added, never changed; the README is the
//! reference.

use std::io::Write;

use anyhow::{Context, Result};
use serde::Serialize;

use super::{Report, rfc3339};
use crate::flow::{Flow, Limit, Tcp};
use crate::names::Names;
use crate::rank::Ranking;

/// Number of the schema; raised when fields are added.
const SCHEMA: u32 = 2;

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
    #[serde(skip_serializing_if = "is_zero")]
    tid: u32,
    comm: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    thread: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    uid: Option<u32>,
    #[serde(skip_serializing_if = "is_zero")]
    netns: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    cgroup: Option<&'a str>,
    #[serde(skip_serializing_if = "is_false")]
    kernel: bool,
    rx_bytes: u64,
    tx_bytes: u64,
    rx_msgs: u64,
    tx_msgs: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    rx_packets: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tx_packets: Option<u64>,
    #[serde(flatten, skip_serializing_if = "Option::is_none")]
    tcp: Option<TcpFields>,
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

/// See [`crate::flow::Tcp`].
#[derive(Serialize)]
struct TcpFields {
    srtt_us: u32,
    cwnd: u32,
    unacked: u32,
    notsent: u32,
    snd_wnd: u32,
    rcv_wnd: u32,
    total_retransmits: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    retransmits: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    limit: Option<&'static str>,
}

impl From<Tcp> for TcpFields {
    fn from(tcp: Tcp) -> Self {
        Self {
            srtt_us: tcp.srtt_us,
            cwnd: tcp.cwnd,
            unacked: tcp.unacked,
            notsent: tcp.notsent,
            snd_wnd: tcp.snd_wnd,
            rcv_wnd: tcp.rcv_wnd,
            total_retransmits: tcp.total_retransmits,
            retransmits: tcp.retransmits,
            limit: tcp.limit.map(Limit::as_str),
        }
    }
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "what serde passes")]
const fn is_zero(number: &u32) -> bool {
    *number == 0
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "what serde passes")]
const fn is_false(flag: &bool) -> bool {
    !*flag
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
    let owner = &flow.owner;
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
        tid: flow.key.tid,
        comm: &owner.comm.to_string_lossy(),
        thread: &owner.thread.to_string_lossy(),
        uid: owner.uid,
        netns: flow.key.netns,
        cgroup: owner.cgroup.as_deref(),
        kernel: owner.kernel,
        rx_bytes: flow.counters.rx_bytes,
        tx_bytes: flow.counters.tx_bytes,
        rx_msgs: flow.counters.rx_msgs,
        tx_msgs: flow.counters.tx_msgs,
        rx_packets: flow.packets.map(|packets| packets.rx),
        tx_packets: flow.packets.map(|packets| packets.tx),
        tcp: flow.tcp.map(TcpFields::from),
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
