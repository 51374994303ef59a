//! Turns rankings into JSON Lines, schema 2: one interval record, then its flows or groups, then the
//! sum of what is not shown. Raw counters and the measured length go in; readers divide. Fields are added, never changed; the README is the
//! reference.

mod harmless;

use std::io::Write;
use std::net::Ipv4Addr;
use std::sync::Arc;

use anyhow::{Context, Result};
use serde::Serialize;
use serde_json::Serializer;

use self::harmless::Harmless;
use super::{Report, rfc3339};
use crate::flow::{Counters, Endpoint, Flow, Limit, Owner, Tcp};
use crate::names::Names;
use crate::owner::{Owners, Place};
use crate::rank::{Ranked, Ranking, Rest, RowId, Tally};
use crate::table::Group;

/// Number of the schema; raised when fields are added.
const SCHEMA: u32 = 2;

/// JSON Lines.
#[derive(Clone, Debug, Default)]
pub struct Json {
    /// Which flows were counted, where not all.
    pub filter: Option<String>,
    /// Names of users; what cgroup paths say.
    pub owners: Arc<Owners>,
}

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
    #[serde(skip_serializing_if = "Option::is_none")]
    filter: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    group: Option<&'a str>,
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
    #[serde(skip_serializing_if = "is_zero")]
    netns: u32,
    #[serde(flatten)]
    process: ProcessFields<'a>,
    #[serde(flatten)]
    moved: Moved,
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

/// What the kernel said of a process, and what that means in names.
#[derive(Default, Serialize)]
struct ProcessFields<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    uid: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    user: Option<Arc<str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    cgroup: Option<&'a str>,
    #[serde(flatten)]
    place: PlaceFields,
    #[serde(skip_serializing_if = "is_false")]
    kernel: bool,
}

/// See [`Place`].
#[derive(Default, Serialize)]
struct PlaceFields {
    #[serde(skip_serializing_if = "Option::is_none")]
    container_runtime: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    container: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pod: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    unit: Option<Arc<str>>,
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
struct Moved {
    rx_bytes: u64,
    tx_bytes: u64,
    rx_msgs: u64,
    tx_msgs: u64,
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
struct GroupRecord<'a> {
    r#type: &'static str,
    time: &'a str,
    interval: f64,
    group: &'a str,
    /// What the row is called; the only field by which one of no container is told from one of
    /// which it is not known.
    name: &'a str,
    #[serde(flatten)]
    id: IdFields<'a>,
    flows: usize,
    #[serde(flatten)]
    moved: Moved,
    #[serde(skip_serializing_if = "Option::is_none")]
    rx_packets: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tx_packets: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    retransmits: Option<u64>,
    #[serde(skip_serializing_if = "is_false")]
    own: bool,
}

/// What tells a group from others of its kind: some of these.
#[derive(Default, Serialize)]
struct IdFields<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    pid: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tid: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    comm: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    thread: Option<String>,
    #[serde(flatten)]
    process: ProcessFields<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    remote_addr: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    remote_name: Option<Arc<str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    remote_net: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    proto: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    port: Option<u16>,
    #[serde(skip_serializing_if = "Option::is_none")]
    service: Option<&'a str>,
}

/// What is no record of its own, summed.
#[derive(Serialize)]
struct OtherRecord<'a> {
    r#type: &'static str,
    time: &'a str,
    interval: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    groups: Option<usize>,
    flows: usize,
    #[serde(flatten)]
    moved: Moved,
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
        self.append_interval(ranking, None, &time, out)?;
        for flow in ranking.rows() {
            self.append_flow(flow, (&time, ranking.elapsed.as_secs_f64()), names, out)?;
        }
        append_other(ranking, false, &time, out)
    }

    fn append_groups(
        &mut self,
        group: Group,
        ranking: &Ranking<Tally>,
        names: &Names,
        out: &mut Vec<u8>,
    ) -> Result<()> {
        let time = rfc3339(ranking.ended);
        let group = group.to_string();
        self.append_interval(ranking, Some(&group), &time, out)?;
        for tally in ranking.rows() {
            let (name, id) = self.id(tally, names);
            let process = tally.process.as_ref();
            let record = GroupRecord {
                r#type: "group",
                time: &time,
                interval: ranking.elapsed.as_secs_f64(),
                group: &group,
                name: &name,
                own: id.pid.is_some() && process.is_some_and(|(tgid, _)| names.is_own(*tgid)),
                id,
                flows: tally.flows,
                moved: tally.counters.into(),
                rx_packets: tally.packets.map(|packets| packets.rx),
                tx_packets: tally.packets.map(|packets| packets.tx),
                retransmits: tally.retransmits(),
            };
            line(&record, out)?;
        }
        append_other(ranking, true, &time, out)
    }
}

impl Json {
    fn append_interval<T: Ranked>(
        &self,
        ranking: &Ranking<T>,
        group: Option<&str>,
        time: &str,
        out: &mut Vec<u8>,
    ) -> Result<()> {
        let untracked = ranking.losses.untracked;
        let record = IntervalRecord {
            r#type: "interval",
            schema: SCHEMA,
            time,
            interval: ranking.elapsed.as_secs_f64(),
            rx_bytes: ranking.total.rx_bytes,
            tx_bytes: ranking.total.tx_bytes,
            flows: ranking.flows,
            untracked_rx_bytes: untracked.rx_bytes,
            untracked_tx_bytes: untracked.tx_bytes,
            missed_events: ranking.losses.missed_events,
            backend: &ranking.method.backend,
            unseen: &ranking.method.unseen,
            filter: self.filter.as_deref(),
            group,
        };
        line(&record, out)
    }

    fn append_flow(
        &self,
        flow: &Flow,
        (time, interval): (&str, f64),
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
            netns: flow.key.netns,
            process: self.process(owner),
            moved: flow.counters.into(),
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

    fn process<'a>(&self, owner: &'a Owner) -> ProcessFields<'a> {
        let located = owner.cgroup.as_ref().map(|path| self.owners.located(path));
        let place = located.as_ref().map(|located| PlaceFields {
            unit: located.unit.clone(),
            ..located
                .container
                .as_deref()
                .map(PlaceFields::from)
                .unwrap_or_default()
        });
        ProcessFields {
            uid: owner.uid,
            user: owner.uid.and_then(|uid| self.owners.user_name(uid)),
            cgroup: owner.cgroup.as_deref(),
            place: place.unwrap_or_default(),
            kernel: owner.kernel,
        }
    }

    /// What a group is called, and what tells it from others.
    fn id<'a>(&self, tally: &'a Tally, names: &'a Names) -> (String, IdFields<'a>) {
        let mut id = IdFields::default();
        let mut name = tally.id.to_string();
        match &tally.id {
            RowId::Process(pid) | RowId::Thread(pid, _) => {
                id.pid = Some(*pid);
                if let Some((_, owner)) = &tally.process {
                    id.comm = Some(owner.comm.to_string_lossy().into_owned());
                    id.process = self.process(owner);
                    name = owner.name();
                    if let RowId::Thread(_, tid @ 1..) = tally.id {
                        let thread = owner.thread.to_string_lossy();
                        id.tid = Some(tid);
                        id.thread = Some(thread.to_string());
                        name = thread.into_owned();
                    }
                }
            }
            RowId::User(uid) => {
                id.process.uid = Some(*uid);
                id.process.user = self.owners.user_name(*uid);
                if let Some(user) = &id.process.user {
                    name = user.to_string();
                }
            }
            RowId::Container(place) => id.process.place = PlaceFields::from(&**place),
            RowId::Unit(unit) => id.process.place.unit = Some(Arc::clone(unit)),
            RowId::Remote(addr) => {
                id.remote_addr = Some(name.clone());
                id.remote_name = names.get(*addr);
            }
            RowId::Net(..) => id.remote_net = Some(name.clone()),
            RowId::Port(protocol, port) => {
                let end = Endpoint::new(Ipv4Addr::UNSPECIFIED.into(), *port);
                id.proto = Some(protocol.as_str());
                id.port = Some(*port);
                id.service = names.service(*protocol, &end, None);
            }
            RowId::Flow(_) | RowId::Without(_) | RowId::Unknown => {}
        }
        (name, id)
    }
}

/// What is not shown, where there is anything.
fn append_other<T: Ranked>(
    ranking: &Ranking<T>,
    groups: bool,
    time: &str,
    out: &mut Vec<u8>,
) -> Result<()> {
    let Rest {
        rows,
        flows,
        counters,
    } = ranking.rest;
    if flows == 0 {
        return Ok(());
    }
    let record = OtherRecord {
        r#type: "other",
        time,
        interval: ranking.elapsed.as_secs_f64(),
        groups: groups.then_some(rows),
        flows,
        moved: counters.into(),
    };
    line(&record, out)
}

fn line(record: &impl Serialize, out: &mut Vec<u8>) -> Result<()> {
    let mut serializer = Serializer::with_formatter(&mut *out, Harmless);
    record
        .serialize(&mut serializer)
        .context("write a record as JSON")?;
    out.write_all(b"\n").context("write a record as JSON")
}
