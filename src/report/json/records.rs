//! The records, field by field, in the order in which they are written.

use std::sync::Arc;

use serde::Serialize;

use crate::flow::{Counters, Limit, Tcp};
use crate::owner::Place;

#[derive(Serialize)]
pub(super) struct IntervalRecord<'a> {
    pub(super) r#type: &'static str,
    pub(super) schema: u32,
    pub(super) time: &'a str,
    pub(super) interval: f64,
    pub(super) rx_bytes: u64,
    pub(super) tx_bytes: u64,
    pub(super) flows: usize,
    pub(super) untracked_rx_bytes: u64,
    pub(super) untracked_tx_bytes: u64,
    pub(super) untracked_rx_msgs: u64,
    pub(super) untracked_tx_msgs: u64,
    pub(super) missed_events: u64,
    pub(super) backend: &'a str,
    pub(super) unseen: &'a [&'static str],
    #[serde(skip_serializing_if = "str::is_empty")]
    pub(super) reason: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    pub(super) host: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    pub(super) kernel: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) filter: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) group: Option<&'a str>,
}

#[derive(Serialize)]
pub(super) struct FlowRecord<'a> {
    pub(super) r#type: &'static str,
    pub(super) time: &'a str,
    pub(super) interval: f64,
    pub(super) proto: &'static str,
    pub(super) local_addr: String,
    pub(super) local_port: u16,
    pub(super) remote_addr: String,
    pub(super) remote_port: u16,
    pub(super) pid: u32,
    #[serde(skip_serializing_if = "is_zero")]
    pub(super) tid: u32,
    pub(super) comm: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    pub(super) thread: &'a str,
    #[serde(skip_serializing_if = "is_zero")]
    pub(super) netns: u32,
    #[serde(flatten)]
    pub(super) process: ProcessFields<'a>,
    #[serde(flatten)]
    pub(super) moved: Moved,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) rx_packets: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) tx_packets: Option<u64>,
    #[serde(flatten, skip_serializing_if = "Option::is_none")]
    pub(super) tcp: Option<TcpFields>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) remote_name: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) local_service: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) remote_service: Option<&'a str>,
    /// Written where it is true: of flowtop's own flows.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub(super) own: bool,
}

/// What the kernel said of a process, and what that means in names.
#[derive(Default, Serialize)]
pub(super) struct ProcessFields<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) uid: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) user: Option<Arc<str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) cgroup: Option<&'a str>,
    #[serde(flatten)]
    pub(super) place: PlaceFields,
    #[serde(skip_serializing_if = "is_false")]
    pub(super) kernel: bool,
    /// Nanoseconds after boot.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) start_ns: Option<u64>,
}

/// See [`Place`].
#[derive(Default, Serialize)]
pub(super) struct PlaceFields {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) container_runtime: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) container: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) pod: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) unit: Option<Arc<str>>,
}

impl From<&Place> for PlaceFields {
    fn from(place: &Place) -> Self {
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
pub(super) struct Moved {
    pub(super) rx_bytes: u64,
    pub(super) tx_bytes: u64,
    pub(super) rx_msgs: u64,
    pub(super) tx_msgs: u64,
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
pub(super) struct GroupRecord<'a> {
    pub(super) r#type: &'static str,
    pub(super) time: &'a str,
    pub(super) interval: f64,
    pub(super) group: &'a str,
    /// What the row is called; the only field by which one of no container is told from one of
    /// which it is not known.
    pub(super) name: &'a str,
    #[serde(flatten)]
    pub(super) id: IdFields<'a>,
    pub(super) flows: usize,
    #[serde(flatten)]
    pub(super) moved: Moved,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) rx_packets: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) tx_packets: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) retransmits: Option<u64>,
    #[serde(skip_serializing_if = "is_false")]
    pub(super) own: bool,
}

/// What tells a group from others of its kind: some of these.
#[derive(Default, Serialize)]
pub(super) struct IdFields<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) pid: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) tid: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) comm: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) thread: Option<String>,
    #[serde(flatten)]
    pub(super) process: ProcessFields<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) remote_addr: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) remote_name: Option<Arc<str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) remote_net: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) proto: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) port: Option<u16>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) service: Option<&'a str>,
}

/// What is no record of its own, summed.
#[derive(Serialize)]
pub(super) struct OtherRecord<'a> {
    pub(super) r#type: &'static str,
    pub(super) time: &'a str,
    pub(super) interval: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) groups: Option<usize>,
    pub(super) flows: usize,
    #[serde(flatten)]
    pub(super) moved: Moved,
}

/// See [`crate::flow::Tcp`].
#[derive(Serialize)]
pub(super) struct TcpFields {
    pub(super) srtt_us: u32,
    pub(super) cwnd: u32,
    pub(super) unacked: u32,
    pub(super) notsent: u32,
    pub(super) snd_wnd: u32,
    pub(super) rcv_wnd: u32,
    pub(super) total_retransmits: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) retransmits: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) limit: Option<&'static str>,
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
