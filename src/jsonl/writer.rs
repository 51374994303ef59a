//! Turns rankings into JSON Lines, schema 2: one interval record, then its flows or groups, then the
//! sum of what is not shown. Raw counters and the measured length go in; readers divide.
//! Fields are added, never changed; docs/OUTPUT.md is the reference.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::net::Ipv4Addr;
use std::sync::Arc;

use anyhow::{Context, Result};
use serde::Serialize;
use serde_json::Serializer;

use super::escape::EscapingFormatter;
use super::schema::{
    AuditFields, FlowFields, FullFields, GroupRecord, IdFields, IntervalFields, MovedFields,
    OtherRecord, PlaceFields, ProcessFields, RecordHead, TcpFields,
};
use crate::model::flow::{Endpoint, Flow, Owner};
use crate::model::interval::{Machine, RecordingMetadata};
use crate::resolve::names::Names;
use crate::resolve::owners::Owners;
use crate::stats::ranking::{GroupTotals, Ranked, Ranking, RowId, UnrankedSum};
use crate::text::time::rfc3339;
use crate::view::Group;

/// Number of the schema; raised when fields are added.
const SCHEMA: u32 = 2;

/// JSON Lines.
#[derive(Clone, Debug, Default)]
pub struct Json {
    /// Which flows were counted, where not all.
    pub filter: Option<String>,
    /// Names of users; what cgroup paths say.
    pub owners: Arc<Owners>,
    /// Where it was counted, as far as that is known.
    pub machine: Machine,
}

/// The flows of one interval. What they share is written once and then copied: processes are few, and
/// what is said of them is long.
struct Flows<'a> {
    json: &'a Json,
    /// The record's beginning, without a brace at its end.
    head: Vec<u8>,
    processes: HashMap<*const Owner, Vec<u8>>,
}

impl<'a> Flows<'a> {
    fn of(json: &'a Json, ranking: &Ranking, time: &str) -> Result<Self> {
        let mut head = Vec::new();
        let record = RecordHead {
            r#type: "flow",
            time,
            interval: ranking.elapsed.as_secs_f64(),
        };
        write(&record, &mut head)?;
        head.pop();
        Ok(Self {
            json,
            head,
            processes: HashMap::new(),
        })
    }

    fn append(&mut self, flow: &Flow, names: &Names, out: &mut Vec<u8>) -> Result<()> {
        let (local, remote) = (flow.key.local, flow.key.remote);
        let owner = &flow.owner;
        let which = FlowFields {
            proto: flow.key.protocol.as_str(),
            local_addr: local.addr,
            local_port: local.port,
            remote_addr: &remote,
            remote_port: remote.port,
            pid: flow.key.tgid,
            tid: flow.key.tid,
            comm: &owner.comm.to_string_lossy(),
            thread: &owner.thread.to_string_lossy(),
            netns: flow.key.netns,
            ifindex: local.zone.ifindex,
            interface: names.interface(local.zone),
        };
        let name = names.get(remote.addr);
        let moved = MovedFields {
            rx_bytes: flow.counters.rx_bytes,
            tx_bytes: flow.counters.tx_bytes,
            rx_msgs: flow.counters.rx_msgs,
            tx_msgs: flow.counters.tx_msgs,
            rx_packets: flow.packets.map(|packets| packets.rx),
            tx_packets: flow.packets.map(|packets| packets.tx),
            audited_rx_bytes: flow.audited_rx,
            tcp: flow.tcp.map(TcpFields::from),
            remote_name: name.as_deref(),
            local_service: names.service(flow.key.protocol, &local, Some(&remote)),
            remote_service: names.service(flow.key.protocol, &remote, Some(&local)),
            own: names.is_own(flow.key.tgid),
            overflow: flow.key.overflow,
        };
        let process = match self.processes.entry(Arc::as_ptr(owner)) {
            Entry::Occupied(known) => known.into_mut(),
            Entry::Vacant(new) => {
                let mut text = Vec::new();
                append_fields(&self.json.process(owner), &mut text)?;
                new.insert(text)
            }
        };
        out.extend_from_slice(&self.head);
        append_fields(&which, out)?;
        out.extend_from_slice(process);
        append_fields(&moved, out)?;
        out.extend_from_slice(b"}\n");
        Ok(())
    }
}

/// Appends the fields of a record to those of another: each after a comma, without braces.
fn append_fields(record: &impl Serialize, out: &mut Vec<u8>) -> Result<()> {
    let start = out.len();
    write(record, out)?;
    if out.len() == start + 2 {
        // It has none.
        out.truncate(start);
    } else {
        out[start] = b',';
        out.pop();
    }
    Ok(())
}

impl Json {
    /// Appends one interval to `out`, a row a flow.
    ///
    /// # Errors
    /// When a record cannot be written as JSON, which does not happen.
    pub fn append(&mut self, ranking: &Ranking, names: &Names, out: &mut Vec<u8>) -> Result<()> {
        let time = rfc3339(ranking.ended);
        self.append_interval(ranking, None, &time, out)?;
        let mut flows = Flows::of(self, ranking, &time)?;
        for flow in ranking.rows() {
            flows.append(flow, names, out)?;
        }
        append_other(ranking, false, &time, out)
    }

    /// Appends one interval to `out`, a row a group.
    ///
    /// # Errors
    /// When a record cannot be written as JSON, which does not happen.
    pub fn append_groups(
        &mut self,
        group: Group,
        ranking: &Ranking<GroupTotals>,
        names: &Names,
        out: &mut Vec<u8>,
    ) -> Result<()> {
        let time = rfc3339(ranking.ended);
        let group = group.to_string();
        self.append_interval(ranking, Some(&group), &time, out)?;
        for totals in ranking.rows() {
            let (name, id) = self.id(totals, names);
            let process = totals.process.as_ref();
            let record = GroupRecord {
                r#type: "group",
                time: &time,
                interval: ranking.elapsed.as_secs_f64(),
                group: &group,
                name: &name,
                own: id.pid.is_some() && process.is_some_and(|(tgid, _)| names.is_own(*tgid)),
                id,
                flows: totals.flows,
                moved: totals.counters.into(),
                rx_packets: totals.packets.map(|packets| packets.rx),
                tx_packets: totals.packets.map(|packets| packets.tx),
                retransmits: totals.retransmits(),
            };
            line(&record, out)?;
        }
        append_other(ranking, true, &time, out)
    }

    /// Takes the machine and the filter that a recording names.
    pub fn learn(&mut self, metadata: &RecordingMetadata) {
        self.machine = metadata.machine.clone();
        self.filter.clone_from(&metadata.filter);
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
        let record = IntervalFields {
            r#type: "interval",
            schema: SCHEMA,
            time,
            interval: ranking.elapsed.as_secs_f64(),
            rx_bytes: ranking.total.rx_bytes,
            tx_bytes: ranking.total.tx_bytes,
            copied_rx_bytes: ranking.copied_rx_bytes,
            flows: ranking.flows,
            untracked_rx_bytes: untracked.rx_bytes,
            untracked_tx_bytes: untracked.tx_bytes,
            untracked_rx_msgs: untracked.rx_msgs,
            untracked_tx_msgs: untracked.tx_msgs,
            missed_events: ranking.method.missed(&ranking.losses),
            audit: AuditFields::from(&ranking.losses.audit),
            full: ranking.losses.full.as_ref().map(FullFields::from),
            unknown_processes: ranking.losses.unknown.processes,
            unknown_cgroups: ranking.losses.unknown.cgroups,
            backend: &ranking.method.backend,
            unseen: &ranking.method.unseen,
            reason: &ranking.method.reason,
            host: &self.machine.host,
            kernel: &self.machine.kernel,
            filter: self.filter.as_deref(),
            group,
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
            start_ns: owner
                .start
                .and_then(|start| u64::try_from(start.as_nanos()).ok()),
        }
    }

    /// What a group is called, and what tells it from others.
    fn id<'a>(&self, totals: &'a GroupTotals, names: &'a Names) -> (String, IdFields<'a>) {
        let mut id = IdFields::default();
        let name = totals.name(&*self.owners);
        match &totals.id {
            RowId::Process(pid) | RowId::Thread(pid, _) => {
                id.pid = Some(*pid);
                if let Some((_, owner)) = &totals.process {
                    id.comm = Some(owner.comm.to_string_lossy().into_owned());
                    id.process = self.process(owner);
                    if let RowId::Thread(_, tid @ 1..) = totals.id {
                        id.tid = Some(tid);
                        id.thread = Some(name.clone());
                    }
                }
            }
            RowId::User(uid) => {
                id.process.uid = Some(*uid);
                id.process.user = self.owners.user_name(*uid);
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
    let UnrankedSum {
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

/// One object a line.
fn line(record: &impl Serialize, out: &mut Vec<u8>) -> Result<()> {
    write(record, out)?;
    out.push(b'\n');
    Ok(())
}

fn write(record: &impl Serialize, out: &mut Vec<u8>) -> Result<()> {
    let mut serializer = Serializer::with_formatter(out, EscapingFormatter);
    record
        .serialize(&mut serializer)
        .context("write a record as JSON")
}
