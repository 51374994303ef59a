//! The records of JSON Lines. One type serves for writing and reading intervals and flows, so each
//! field has its name and place once. Groups and other records are only written: a recording has
//! none. An alias is the name that schema 1 or 2 had for the field.

mod owner_fields;

use std::borrow::Cow;
use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

use serde::de::{self, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::model::flow::{Counters, SendLimit, SendTime, Tcp};
use crate::model::interval::{Audit, DriftingConnection, InterfaceTraffic};
use crate::model::peer_zone::{PeerZone, ZonePrice, is_zone_name};
use crate::model::wire_estimate::Cost;
use crate::stats::zone_totals::ZoneTotals;
use crate::text::sanitize::sanitize;

pub use self::owner_fields::{LocationFields, ProcessFields};

/// Number of the schema that is written, and the latest that is read.
pub const SCHEMA: u32 = 3;

/// An interval's own record.
#[derive(Serialize, Deserialize)]
pub struct IntervalRecord<'a> {
    #[serde(skip_deserializing)]
    pub r#type: &'static str,
    pub schema: u32,
    #[serde(borrow)]
    pub time: Cow<'a, str>,
    /// Measured length of the interval.
    #[serde(alias = "interval")]
    pub seconds: f64,
    /// Name of the machine; every record has it.
    #[serde(borrow, default, skip_serializing_if = "str::is_empty")]
    pub host: Cow<'a, str>,
    pub rx_bytes: u64,
    pub tx_bytes: u64,
    #[serde(default, skip_serializing_if = "is_zero")]
    pub copied_rx_bytes: u64,
    /// The machine's network cards; absent if they are unknown.
    #[serde(borrow, default, skip_serializing_if = "Vec::is_empty")]
    pub interfaces: Vec<InterfaceFields<'a>>,
    /// The user's zones that flows of the interval have.
    #[serde(borrow, default, skip_serializing_if = "Vec::is_empty")]
    pub zones: Vec<ZoneFields<'a>>,
    pub flows: u64,
    pub untracked_rx_bytes: u64,
    pub untracked_tx_bytes: u64,
    #[serde(default)]
    pub untracked_rx_msgs: u64,
    #[serde(default)]
    pub untracked_tx_msgs: u64,
    /// Absent if the known count is 0 and further events may have been missed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub missed_events: Option<u64>,
    #[serde(borrow, default, skip_serializing_if = "AuditFields::is_empty")]
    pub audit: AuditFields<'a>,
    /// This field and the next three: see [`crate::model::interval::SlotHolder`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub full_pid: Option<u32>,
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    pub full_process: Option<Cow<'a, str>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub full_flows: Option<u32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub full_slots: Option<u32>,
    #[serde(default, skip_serializing_if = "is_zero")]
    pub unknown_processes: u64,
    #[serde(default, skip_serializing_if = "is_zero")]
    pub unknown_cgroups: u64,
    #[serde(default, skip_serializing_if = "is_zero")]
    pub unknown_answers: u64,
    #[serde(borrow)]
    pub backend: Cow<'a, str>,
    #[serde(borrow, default)]
    pub unseen: Vec<Cow<'a, str>>,
    #[serde(borrow, default, skip_serializing_if = "str::is_empty")]
    pub reason: Cow<'a, str>,
    #[serde(
        borrow,
        default,
        alias = "kernel",
        skip_serializing_if = "str::is_empty"
    )]
    pub kernel_release: Cow<'a, str>,
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    pub filter: Option<Cow<'a, str>>,
    /// Kind of the rows of the interval if they are not flows.
    #[serde(
        borrow,
        default,
        alias = "group",
        skip_serializing_if = "Option::is_none"
    )]
    pub grouped_by: Option<Cow<'a, str>>,
}

/// The traffic of one network card in the interval.
#[derive(Default, Serialize, Deserialize)]
#[serde(default)]
pub struct InterfaceFields<'a> {
    #[serde(borrow)]
    pub name: Cow<'a, str>,
    pub rx_bytes: u64,
    pub tx_bytes: u64,
    pub rx_packets: u64,
    pub tx_packets: u64,
    pub rx_errors: u64,
    pub tx_errors: u64,
    pub rx_drops: u64,
    pub tx_drops: u64,
}

impl<'a> From<&'a InterfaceTraffic> for InterfaceFields<'a> {
    fn from(card: &'a InterfaceTraffic) -> Self {
        Self {
            name: Cow::Borrowed(&card.name),
            rx_bytes: card.rx.bytes,
            tx_bytes: card.tx.bytes,
            rx_packets: card.rx.packets,
            tx_packets: card.tx.packets,
            rx_errors: card.rx.errors,
            tx_errors: card.tx.errors,
            rx_drops: card.rx.drops,
            tx_drops: card.tx.drops,
        }
    }
}

/// A zone of the user in the interval. What ends with `_estimate` is only written: it follows from
/// the flows.
#[derive(Default, Serialize, Deserialize)]
#[serde(default)]
pub struct ZoneFields<'a> {
    #[serde(borrow)]
    pub name: Cow<'a, str>,
    /// Price of 10^9 bytes that are received.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rx_price: Option<f64>,
    /// Price of 10^9 bytes that are sent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tx_price: Option<f64>,
    #[serde(skip_deserializing)]
    pub rx_bytes: u64,
    #[serde(skip_deserializing)]
    pub tx_bytes: u64,
    #[serde(skip_deserializing)]
    pub rx_wire_bytes_estimate: u64,
    #[serde(skip_deserializing)]
    pub tx_wire_bytes_estimate: u64,
    #[serde(skip_deserializing, skip_serializing_if = "Option::is_none")]
    pub rx_cost_estimate: Option<f64>,
    #[serde(skip_deserializing, skip_serializing_if = "Option::is_none")]
    pub tx_cost_estimate: Option<f64>,
}

impl<'a> From<&'a ZoneTotals> for ZoneFields<'a> {
    fn from(totals: &'a ZoneTotals) -> Self {
        let price = totals.zone.price;
        let cost = price.map(|price| totals.wire.cost(price));
        let units = |millionths: u64| millionths as f64 / 1e6;
        Self {
            name: Cow::Borrowed(&totals.zone.name),
            rx_price: price.map(|price| units(price.rx)),
            tx_price: price.map(|price| units(price.tx)),
            rx_bytes: totals.counters.rx_bytes,
            tx_bytes: totals.counters.tx_bytes,
            rx_wire_bytes_estimate: totals.wire.rx,
            tx_wire_bytes_estimate: totals.wire.tx,
            rx_cost_estimate: cost.map(Cost::rx),
            tx_cost_estimate: cost.map(Cost::tx),
        }
    }
}

impl ZoneFields<'_> {
    /// The zone, if a user can have defined it.
    pub fn zone(&self) -> Option<PeerZone> {
        let price = |price: Option<f64>| price.map_or(Some(0), ZonePrice::millionths);
        let is_priced = self.rx_price.is_some() || self.tx_price.is_some();
        let zone_price = ZonePrice {
            rx: price(self.rx_price)?,
            tx: price(self.tx_price)?,
        };
        is_zone_name(&self.name).then(|| PeerZone {
            name: Arc::from(&*self.name),
            price: is_priced.then_some(zone_price),
        })
    }
}

/// Estimated cost; without fields where no zone has a price.
#[derive(Default, Serialize)]
pub struct CostFields {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rx_cost_estimate: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tx_cost_estimate: Option<f64>,
}

impl From<Option<Cost>> for CostFields {
    fn from(cost: Option<Cost>) -> Self {
        Self {
            rx_cost_estimate: cost.map(Cost::rx),
            tx_cost_estimate: cost.map(Cost::tx),
        }
    }
}

#[derive(Default, Serialize, Deserialize)]
#[serde(default)]
pub struct AuditFields<'a> {
    pub connections: u64,
    pub agreeing: u64,
    pub exempt: u64,
    pub drift_rx_bytes: i64,
    pub drift_tx_bytes: i64,
    #[serde(borrow, skip_serializing_if = "Option::is_none")]
    pub worst: Option<WorstFields<'a>>,
}

impl AuditFields<'_> {
    /// Absent for an interval without TCP connections.
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

#[derive(Serialize, Deserialize)]
pub struct WorstFields<'a> {
    pub local_addr: IpAddr,
    pub local_port: u16,
    pub remote_addr: IpAddr,
    pub remote_port: u16,
    pub pid: u32,
    #[serde(borrow, default, alias = "comm")]
    pub process: Cow<'a, str>,
    pub drift_rx_bytes: i64,
    pub drift_tx_bytes: i64,
}

impl<'a> From<&'a DriftingConnection> for WorstFields<'a> {
    fn from(worst: &'a DriftingConnection) -> Self {
        let (local, remote) = (worst.key.local, worst.key.remote);
        Self {
            local_addr: local.addr,
            local_port: local.port,
            remote_addr: remote.addr,
            remote_port: remote.port,
            pid: worst.key.tgid,
            process: worst.comm.to_string_lossy(),
            drift_rx_bytes: worst.drift.rx,
            drift_tx_bytes: worst.drift.tx,
        }
    }
}

/// The fields of the interval that the records of flows, groups and others repeat. No reader needs
/// them: the record of the interval comes first and has them too.
#[derive(Serialize)]
pub struct RowHead<'a> {
    pub r#type: &'static str,
    pub time: &'a str,
    pub seconds: f64,
    #[serde(skip_serializing_if = "str::is_empty")]
    pub host: &'a str,
}

/// A flow in an interval, without its [`RowHead`]. A reader derives the fields that it does not
/// read from other fields, or looks the names up itself.
#[derive(Default, Serialize, Deserialize)]
pub struct FlowRecord<'a> {
    #[serde(borrow)]
    pub proto: Cow<'a, str>,
    #[serde(deserialize_with = "address")]
    pub local_addr: Address,
    pub local_port: u16,
    #[serde(deserialize_with = "address_or_star")]
    pub remote_addr: Address,
    pub remote_port: u16,
    pub pid: u32,
    #[serde(default, skip_serializing_if = "is_zero")]
    pub tid: u32,
    #[serde(borrow, default, alias = "comm")]
    pub process: Cow<'a, str>,
    #[serde(borrow, default, skip_serializing_if = "str::is_empty")]
    pub thread: Cow<'a, str>,
    #[serde(default, skip_serializing_if = "is_zero")]
    pub netns: u32,
    /// Name of the network namespace, by `/run/netns`.
    #[serde(
        borrow,
        default,
        deserialize_with = "borrowed",
        skip_serializing_if = "Option::is_none"
    )]
    pub netns_name: Option<Cow<'a, str>>,
    #[serde(default, skip_serializing_if = "is_zero")]
    pub ifindex: u32,
    #[serde(skip_deserializing, skip_serializing_if = "Option::is_none")]
    pub interface: Option<Arc<str>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub uid: Option<u32>,
    #[serde(
        borrow,
        default,
        deserialize_with = "borrowed",
        skip_serializing_if = "Option::is_none"
    )]
    pub user: Option<Cow<'a, str>>,
    #[serde(
        borrow,
        default,
        deserialize_with = "borrowed",
        skip_serializing_if = "Option::is_none"
    )]
    pub cgroup: Option<Cow<'a, str>>,
    #[serde(skip_deserializing, skip_serializing_if = "Option::is_none")]
    pub container_runtime: Option<&'static str>,
    #[serde(skip_deserializing, skip_serializing_if = "Option::is_none")]
    pub container: Option<&'a str>,
    #[serde(skip_deserializing, skip_serializing_if = "Option::is_none")]
    pub pod: Option<&'a str>,
    #[serde(skip_deserializing, skip_serializing_if = "Option::is_none")]
    pub unit: Option<&'a str>,
    #[serde(skip_deserializing, skip_serializing_if = "Option::is_none")]
    pub user_unit: Option<&'a str>,
    #[serde(skip_deserializing, skip_serializing_if = "Option::is_none")]
    pub manager_uid: Option<u32>,
    #[serde(skip_deserializing, skip_serializing_if = "Option::is_none")]
    pub outer_container: Option<&'a str>,
    #[serde(skip_deserializing, skip_serializing_if = "Option::is_none")]
    pub job: Option<&'a str>,
    #[serde(skip_deserializing, skip_serializing_if = "Option::is_none")]
    pub job_step: Option<&'a str>,
    #[serde(
        borrow,
        default,
        deserialize_with = "borrowed",
        skip_serializing_if = "Option::is_none"
    )]
    pub container_name: Option<Cow<'a, str>>,
    #[serde(
        borrow,
        default,
        deserialize_with = "borrowed",
        skip_serializing_if = "Option::is_none"
    )]
    pub image: Option<Cow<'a, str>>,
    #[serde(
        borrow,
        default,
        deserialize_with = "borrowed",
        skip_serializing_if = "Option::is_none"
    )]
    pub pod_name: Option<Cow<'a, str>>,
    #[serde(
        borrow,
        default,
        deserialize_with = "borrowed",
        skip_serializing_if = "Option::is_none"
    )]
    pub pod_namespace: Option<Cow<'a, str>>,
    #[serde(
        borrow,
        default,
        deserialize_with = "borrowed",
        skip_serializing_if = "Option::is_none"
    )]
    pub compose_project: Option<Cow<'a, str>>,
    #[serde(
        borrow,
        default,
        deserialize_with = "borrowed",
        skip_serializing_if = "Option::is_none"
    )]
    pub compose_service: Option<Cow<'a, str>>,
    /// Present and true if the engine no longer has the container.
    #[serde(default, skip_serializing_if = "is_false")]
    pub names_stale: bool,
    #[serde(default, alias = "kernel", skip_serializing_if = "is_false")]
    pub kernel_thread: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub start_ns: Option<u64>,
    pub rx_bytes: u64,
    pub tx_bytes: u64,
    #[serde(default)]
    pub rx_msgs: u64,
    #[serde(default)]
    pub tx_msgs: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rx_packets: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tx_packets: Option<u64>,
    #[serde(default, skip_serializing_if = "is_zero")]
    pub audited_rx_bytes: u64,
    /// This field and the following ones up to `in_flight_percent`: see [`Tcp`]. All of them are
    /// absent if this one is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub srtt_us: Option<u32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cwnd: Option<u32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unacked: Option<u32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub notsent: Option<u32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unread: Option<u32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub snd_wnd: Option<u32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rcv_wnd: Option<u32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub total_retransmits: Option<u32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retransmits: Option<u32>,
    #[serde(
        borrow,
        default,
        deserialize_with = "borrowed",
        skip_serializing_if = "Option::is_none"
    )]
    pub limit: Option<Cow<'a, str>>,
    /// This field and the next two: see [`SendTime`]. Either all of them are present or none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub receiver_window_percent: Option<u8>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub send_buffer_percent: Option<u8>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub in_flight_percent: Option<u8>,
    #[serde(skip_deserializing, skip_serializing_if = "Option::is_none")]
    pub remote_name: Option<&'a str>,
    /// Name that the peer was resolved from, and why it is taken for the flow's; both or none.
    #[serde(
        borrow,
        default,
        deserialize_with = "borrowed",
        skip_serializing_if = "Option::is_none"
    )]
    pub dns_name: Option<Cow<'a, str>>,
    #[serde(
        borrow,
        default,
        deserialize_with = "borrowed",
        skip_serializing_if = "Option::is_none"
    )]
    pub dns_name_origin: Option<Cow<'a, str>>,
    #[serde(skip_deserializing, skip_serializing_if = "Option::is_none")]
    pub local_service: Option<&'a str>,
    #[serde(skip_deserializing, skip_serializing_if = "Option::is_none")]
    pub remote_service: Option<&'a str>,
    /// Present and true for flowtop's own flows.
    #[serde(default, skip_serializing_if = "is_false")]
    pub own: bool,
    /// Present and true for the sum of a process's flows without a slot of their own.
    #[serde(default, skip_serializing_if = "is_false")]
    pub overflow: bool,
    /// Present and true if both ends are on this machine.
    #[serde(default, skip_serializing_if = "is_false")]
    pub internal: bool,
    /// Class of the peer; absent where the peer is unknown.
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    pub class: Option<Cow<'a, str>>,
    /// The user's zone of the peer; absent where it is in none.
    #[serde(
        borrow,
        default,
        deserialize_with = "borrowed",
        skip_serializing_if = "Option::is_none"
    )]
    pub zone: Option<Cow<'a, str>>,
    #[serde(skip_deserializing, skip_serializing_if = "Option::is_none")]
    pub rx_cost_estimate: Option<f64>,
    #[serde(skip_deserializing, skip_serializing_if = "Option::is_none")]
    pub tx_cost_estimate: Option<f64>,
}

impl FlowRecord<'_> {
    /// Returns the record with the state of a connection.
    pub fn with_tcp(self, tcp: &Tcp) -> Self {
        Self {
            srtt_us: Some(tcp.srtt_us),
            cwnd: Some(tcp.cwnd),
            unacked: Some(tcp.unacked),
            notsent: Some(tcp.notsent),
            unread: Some(tcp.unread),
            snd_wnd: Some(tcp.snd_wnd),
            rcv_wnd: Some(tcp.rcv_wnd),
            total_retransmits: Some(tcp.total_retransmits),
            retransmits: tcp.retransmits,
            limit: tcp.limit.map(|limit| Cow::Borrowed(limit.as_str())),
            receiver_window_percent: tcp.time.map(|time| time.receiver_window),
            send_buffer_percent: tcp.time.map(|time| time.send_buffer),
            in_flight_percent: tcp.time.map(|time| time.in_flight),
            ..self
        }
    }

    /// Returns the state of the flow's connection if the record has one.
    pub fn tcp(&self) -> Option<Tcp> {
        Some(Tcp {
            srtt_us: self.srtt_us?,
            cwnd: self.cwnd.unwrap_or(0),
            unacked: self.unacked.unwrap_or(0),
            notsent: self.notsent.unwrap_or(0),
            unread: self.unread.unwrap_or(0),
            snd_wnd: self.snd_wnd.unwrap_or(0),
            rcv_wnd: self.rcv_wnd.unwrap_or(0),
            total_retransmits: self.total_retransmits.unwrap_or(0),
            retransmits: self.retransmits,
            limit: self.limit.as_deref().and_then(SendLimit::named),
            time: self.send_time(),
        })
    }

    /// Returns how the sender spent the interval; `None` for shares that no sender can have.
    fn send_time(&self) -> Option<SendTime> {
        let time = SendTime {
            receiver_window: self.receiver_window_percent?,
            send_buffer: self.send_buffer_percent?,
            in_flight: self.in_flight_percent?,
        };
        let shares = [time.receiver_window, time.send_buffer, time.in_flight];
        let sum: u32 = shares.into_iter().map(u32::from).sum();
        (sum <= 100).then_some(time)
    }
}

/// Reads an optional text without a copy unless it has escapes. serde's own `Option<Cow<str>>`
/// always copies.
fn borrowed<'de: 'a, 'a, D: Deserializer<'de>>(from: D) -> Result<Option<Cow<'a, str>>, D::Error> {
    #[derive(Deserialize)]
    struct BorrowedText<'a>(#[serde(borrow)] Cow<'a, str>);
    let text: Option<BorrowedText<'a>> = Option::deserialize(from)?;
    Ok(text.map(|text| text.0))
}

/// An address; `*` stands for an unknown one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Address(pub Option<IpAddr>);

impl Serialize for Address {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        match self.0 {
            Some(addr) => addr.serialize(to),
            None => to.serialize_str("*"),
        }
    }
}

fn address<'de, D: Deserializer<'de>>(from: D) -> Result<Address, D::Error> {
    from.deserialize_str(AddressVisitor { has_star: false })
}

fn address_or_star<'de, D: Deserializer<'de>>(from: D) -> Result<Address, D::Error> {
    from.deserialize_str(AddressVisitor { has_star: true })
}

/// Reads an address from text.
struct AddressVisitor {
    /// Whether `*` is accepted.
    has_star: bool,
}

impl Visitor<'_> for AddressVisitor {
    type Value = Address;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an IP address")
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Address, E> {
        if self.has_star && text == "*" {
            return Ok(Address(None));
        }
        let addr = text.parse();
        let addr = addr.map_err(|_| E::custom(format!("\"{}\" is no address", sanitize(text))))?;
        Ok(Address(Some(addr)))
    }
}

#[derive(Clone, Copy, Serialize, Deserialize)]
pub struct CounterFields {
    pub rx_bytes: u64,
    pub tx_bytes: u64,
    pub rx_msgs: u64,
    pub tx_msgs: u64,
}

impl From<Counters> for CounterFields {
    fn from(counters: Counters) -> Self {
        Self {
            rx_bytes: counters.rx_bytes,
            tx_bytes: counters.tx_bytes,
            rx_msgs: counters.rx_msgs,
            tx_msgs: counters.tx_msgs,
        }
    }
}

impl From<CounterFields> for Counters {
    fn from(fields: CounterFields) -> Self {
        Self {
            rx_bytes: fields.rx_bytes,
            tx_bytes: fields.tx_bytes,
            rx_msgs: fields.rx_msgs,
            tx_msgs: fields.tx_msgs,
        }
    }
}

/// The flows of a group, summed.
#[derive(Serialize)]
pub struct GroupRecord<'a> {
    pub grouped_by: &'a str,
    /// Title of the row; the only field that distinguishes "no container" from "unknown container".
    pub name: &'a str,
    #[serde(flatten)]
    pub id: IdFields<'a>,
    pub flows: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub processes: Option<usize>,
    #[serde(flatten)]
    pub moved: CounterFields,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rx_packets: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tx_packets: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retransmits: Option<u64>,
    #[serde(flatten)]
    pub cost: CostFields,
    #[serde(skip_serializing_if = "is_false")]
    pub own: bool,
}

/// The identity of a group: one or more of these fields.
#[derive(Default, Serialize)]
pub struct IdFields<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pid: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tid: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub process: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub thread: Option<String>,
    #[serde(flatten)]
    pub facts: ProcessFields<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub remote_addr: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub remote_name: Option<Arc<str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub class: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub zone: Option<Arc<str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dns_name: Option<Arc<str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dns_name_origin: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub remote_net: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub proto: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub port: Option<u16>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub service: Option<&'a str>,
}

/// The sum of the rows without a record of their own.
#[derive(Serialize)]
pub struct OtherRecord {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub groups: Option<usize>,
    pub flows: usize,
    #[serde(flatten)]
    pub moved: CounterFields,
}

fn is_zero<T: Default + PartialEq>(number: &T) -> bool {
    *number == T::default()
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "what serde passes")]
const fn is_false(flag: &bool) -> bool {
    !*flag
}
