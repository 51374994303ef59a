//! The records, as serde writes them: the order of fields is that of the structs.

use std::borrow::Cow;
use std::net::IpAddr;
use std::sync::Arc;

use serde::{Serialize, Serializer};

use crate::model::flow::{Counters, Endpoint, SendLimit, Tcp};
use crate::model::interval::{Audit, Drifting, Holder};
use crate::resolve::owners::CgroupLocation;

#[derive(Serialize)]
pub struct IntervalFields<'a> {
    pub r#type: &'static str,
    pub schema: u32,
    pub time: &'a str,
    pub interval: f64,
    pub rx_bytes: u64,
    pub tx_bytes: u64,
    #[serde(skip_serializing_if = "is_zero")]
    pub copied_rx_bytes: u64,
    pub flows: usize,
    pub untracked_rx_bytes: u64,
    pub untracked_tx_bytes: u64,
    pub untracked_rx_msgs: u64,
    pub untracked_tx_msgs: u64,
    /// Not written where it is 0 as far as is known, and more may have been missed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub missed_events: Option<u64>,
    #[serde(skip_serializing_if = "AuditFields::is_empty")]
    pub audit: AuditFields<'a>,
    #[serde(flatten, skip_serializing_if = "Option::is_none")]
    pub full: Option<FullFields<'a>>,
    #[serde(skip_serializing_if = "is_zero")]
    pub unknown_processes: u64,
    #[serde(skip_serializing_if = "is_zero")]
    pub unknown_cgroups: u64,
    pub backend: &'a str,
    pub unseen: &'a [&'static str],
    #[serde(skip_serializing_if = "str::is_empty")]
    pub reason: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    pub host: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    pub kernel: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub filter: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub group: Option<&'a str>,
}

/// See [`crate::model::interval::Audit`].
#[derive(Serialize)]
pub struct AuditFields<'a> {
    pub connections: u64,
    pub agreeing: u64,
    pub exempt: u64,
    pub drift_rx_bytes: i64,
    pub drift_tx_bytes: i64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub worst: Option<WorstFields<'a>>,
}

impl AuditFields<'_> {
    /// Of an interval without TCP connections nothing is known.
    const fn is_empty(&self) -> bool {
        self.connections | self.exempt == 0 && self.worst.is_none()
    }
}

impl<'a> From<&'a Audit> for AuditFields<'a> {
    fn from(audit: &'a Audit) -> Self {
        Self {
            connections: audit.connections,
            agreeing: audit.agreeing,
            exempt: audit.exempt,
            drift_rx_bytes: audit.drift.rx,
            drift_tx_bytes: audit.drift.tx,
            worst: audit.worst.as_ref().map(WorstFields::from),
        }
    }
}

/// See [`crate::model::interval::Drifting`].
#[derive(Serialize)]
pub struct WorstFields<'a> {
    pub local_addr: IpAddr,
    pub local_port: u16,
    pub remote_addr: IpAddr,
    pub remote_port: u16,
    pub pid: u32,
    pub comm: Cow<'a, str>,
    pub drift_rx_bytes: i64,
    pub drift_tx_bytes: i64,
}

impl<'a> From<&'a Drifting> for WorstFields<'a> {
    fn from(worst: &'a Drifting) -> Self {
        let (local, remote) = (worst.key.local, worst.key.remote);
        Self {
            local_addr: local.addr,
            local_port: local.port,
            remote_addr: remote.addr,
            remote_port: remote.port,
            pid: worst.key.tgid,
            comm: worst.comm.to_string_lossy(),
            drift_rx_bytes: worst.drift.rx,
            drift_tx_bytes: worst.drift.tx,
        }
    }
}

/// See [`crate::model::interval::Holder`].
#[derive(Serialize)]
pub struct FullFields<'a> {
    pub full_pid: u32,
    pub full_process: Cow<'a, str>,
    pub full_flows: u32,
    pub full_slots: u32,
}

impl<'a> From<&'a Holder> for FullFields<'a> {
    fn from(holder: &'a Holder) -> Self {
        Self {
            full_pid: holder.tgid,
            full_process: holder.comm.to_string_lossy(),
            full_flows: holder.flows,
            full_slots: holder.slots,
        }
    }
}

/// What all records of an interval begin with.
#[derive(Serialize)]
pub struct RecordHead<'a> {
    pub r#type: &'static str,
    pub time: &'a str,
    pub interval: f64,
}

/// A flow: which, and whose by its own word.
#[derive(Serialize)]
pub struct FlowFields<'a> {
    pub proto: &'static str,
    pub local_addr: IpAddr,
    pub local_port: u16,
    #[serde(serialize_with = "remote_addr")]
    pub remote_addr: &'a Endpoint,
    pub remote_port: u16,
    pub pid: u32,
    #[serde(skip_serializing_if = "is_zero")]
    pub tid: u32,
    pub comm: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    pub thread: &'a str,
    #[serde(skip_serializing_if = "is_zero")]
    pub netns: u32,
    #[serde(skip_serializing_if = "is_zero")]
    pub ifindex: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub interface: Option<Arc<str>>,
}

/// What a flow moved, and how it is doing. The fields of its process come before.
#[derive(Serialize)]
pub struct MovedFields<'a> {
    pub rx_bytes: u64,
    pub tx_bytes: u64,
    pub rx_msgs: u64,
    pub tx_msgs: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rx_packets: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tx_packets: Option<u64>,
    /// Written where there are any.
    #[serde(skip_serializing_if = "is_zero_bytes")]
    pub audited_rx_bytes: u64,
    #[serde(flatten, skip_serializing_if = "Option::is_none")]
    pub tcp: Option<TcpFields>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub remote_name: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub local_service: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub remote_service: Option<&'a str>,
    /// Written where it is true: of flowtop's own flows.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub own: bool,
    /// Written where it is true: of a process's flows without a slot of their own.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub overflow: bool,
}

/// What the kernel said of a process, and what that means in names.
#[derive(Default, Serialize)]
pub struct ProcessFields<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub uid: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user: Option<Arc<str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cgroup: Option<&'a str>,
    #[serde(flatten)]
    pub place: PlaceFields,
    #[serde(skip_serializing_if = "is_false")]
    pub kernel: bool,
    /// Nanoseconds after boot.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub start_ns: Option<u64>,
}

/// See [`CgroupLocation`].
#[derive(Default, Serialize)]
pub struct PlaceFields {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub container_runtime: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub container: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pod: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unit: Option<Arc<str>>,
}

impl From<&CgroupLocation> for PlaceFields {
    fn from(place: &CgroupLocation) -> Self {
        let container = place.container.as_ref();
        Self {
            container_runtime: container.map(|container| container.runtime.as_str()),
            container: container.map(|container| container.id.clone()),
            pod: place.pod.clone(),
            unit: place.unit.as_deref().map(Arc::from),
        }
    }
}

/// See [`Counters`].
#[derive(Serialize)]
pub struct Moved {
    pub rx_bytes: u64,
    pub tx_bytes: u64,
    pub rx_msgs: u64,
    pub tx_msgs: u64,
}

impl From<Counters> for Moved {
    fn from(counters: Counters) -> Self {
        Self {
            rx_bytes: counters.rx_bytes,
            tx_bytes: counters.tx_bytes,
            rx_msgs: counters.rx_msgs,
            tx_msgs: counters.tx_msgs,
        }
    }
}

/// The flows of a group, summed.
#[derive(Serialize)]
pub struct GroupRecord<'a> {
    pub r#type: &'static str,
    pub time: &'a str,
    pub interval: f64,
    pub group: &'a str,
    /// What the row is called; the only field by which one of no container is told from one of
    /// which it is not known.
    pub name: &'a str,
    #[serde(flatten)]
    pub id: IdFields<'a>,
    pub flows: usize,
    #[serde(flatten)]
    pub moved: Moved,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rx_packets: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tx_packets: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retransmits: Option<u64>,
    #[serde(skip_serializing_if = "is_false")]
    pub own: bool,
}

/// What tells a group from others of its kind: some of these.
#[derive(Default, Serialize)]
pub struct IdFields<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pid: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tid: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub comm: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub thread: Option<String>,
    #[serde(flatten)]
    pub process: ProcessFields<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub remote_addr: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub remote_name: Option<Arc<str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub remote_net: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub proto: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub port: Option<u16>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub service: Option<&'a str>,
}

/// What is no record of its own, summed.
#[derive(Serialize)]
pub struct OtherRecord<'a> {
    pub r#type: &'static str,
    pub time: &'a str,
    pub interval: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub groups: Option<usize>,
    pub flows: usize,
    #[serde(flatten)]
    pub moved: Moved,
}

/// See [`crate::model::flow::Tcp`].
#[derive(Serialize)]
pub struct TcpFields {
    pub srtt_us: u32,
    pub cwnd: u32,
    pub unacked: u32,
    pub notsent: u32,
    pub snd_wnd: u32,
    pub rcv_wnd: u32,
    pub total_retransmits: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retransmits: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub limit: Option<&'static str>,
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
            limit: tcp.limit.map(SendLimit::as_str),
        }
    }
}

fn is_zero<T: Default + PartialEq>(number: &T) -> bool {
    *number == T::default()
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "what serde passes")]
const fn is_zero_bytes(bytes: &u64) -> bool {
    *bytes == 0
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "what serde passes")]
const fn is_false(flag: &bool) -> bool {
    !*flag
}

fn remote_addr<S: Serializer>(remote: &Endpoint, to: S) -> Result<S::Ok, S::Error> {
    if remote.is_unknown() {
        to.serialize_str("*")
    } else {
        remote.addr.serialize(to)
    }
}
