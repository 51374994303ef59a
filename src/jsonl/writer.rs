//! Turns rankings into records: one of the interval, then its flows or groups, then the sum of the
//! rows that are not shown. Records hold raw counters and the measured length; readers divide. A
//! [`RecordSink`] takes the records: as lines of JSON here, as rows of CSV elsewhere.

use std::borrow::Cow;
use std::collections::HashMap;
use std::net::Ipv4Addr;
use std::sync::Arc;

use anyhow::{Context, Result};
use serde::Serialize;
use serde_json::Serializer;

use super::escape::EscapingFormatter;
use super::schema::{
    Address, AuditFields, FlowRecord, GroupRecord, IdFields, InterfaceFields, IntervalRecord,
    LocationFields, OtherRecord, ProcessFields, RowHead, SCHEMA, ZoneFields,
};
use crate::model::dns::DnsNameOrigin;
use crate::model::flow::{Endpoint, Flow, Owner};
use crate::model::interval::{Losses, Machine, RecordingMetadata};
use crate::model::wire_estimate::Cost;
use crate::resolve::names::Names;
use crate::resolve::owners::Owners;
use crate::stats::ranking::{GroupTotals, Ranked, Ranking, Remainder, RowId};
use crate::text::time::rfc3339;
use crate::view::Group;

#[derive(Clone, Debug, Default)]
pub struct Json {
    /// The filter that decided which flows were counted; `None` for all flows.
    pub filter: Option<String>,
    /// Source of user names and of the meaning of cgroup paths.
    pub owners: Arc<Owners>,
    /// The machine that counted, as far as it is known.
    pub machine: Machine,
}

/// Takes the records of intervals in order.
pub(crate) trait RecordSink {
    /// Takes the record of an interval, which comes before those of its rows.
    ///
    /// # Errors
    /// When the record cannot be written.
    fn interval(&mut self, record: &IntervalRecord<'_>) -> Result<()>;

    /// Takes a record that belongs to the interval before it, without its [`RowHead`].
    ///
    /// # Errors
    /// When the record cannot be written.
    fn row(&mut self, kind: &'static str, record: &impl Serialize) -> Result<()>;
}

/// Writes each record as a line of JSON.
struct JsonLines<'a> {
    out: &'a mut Vec<u8>,
    /// Type of the rows whose first fields are in `head`.
    kind: &'static str,
    /// The first fields of all rows, without the closing brace: they are written once because rows
    /// are many.
    head: Vec<u8>,
    time: String,
    seconds: f64,
    host: String,
}

impl<'a> JsonLines<'a> {
    const fn new(out: &'a mut Vec<u8>) -> Self {
        Self {
            out,
            kind: "",
            head: Vec::new(),
            time: String::new(),
            seconds: 0.0,
            host: String::new(),
        }
    }
}

impl RecordSink for JsonLines<'_> {
    fn interval(&mut self, record: &IntervalRecord<'_>) -> Result<()> {
        self.kind = "";
        record.time.as_ref().clone_into(&mut self.time);
        self.seconds = record.seconds;
        record.host.as_ref().clone_into(&mut self.host);
        write(record, self.out)?;
        self.out.push(b'\n');
        Ok(())
    }

    fn row(&mut self, kind: &'static str, record: &impl Serialize) -> Result<()> {
        if self.kind != kind {
            self.head.clear();
            let head = RowHead {
                r#type: kind,
                time: &self.time,
                seconds: self.seconds,
                host: &self.host,
            };
            write(&head, &mut self.head)?;
            self.head.pop();
            self.kind = kind;
        }
        self.out.extend_from_slice(&self.head);
        let start = self.out.len();
        write(record, self.out)?;
        // No record is empty.
        self.out[start] = b',';
        self.out.push(b'\n');
        Ok(())
    }
}

impl Json {
    /// Appends one interval to `out`, one row per flow.
    ///
    /// # Errors
    /// When a record cannot be written as JSON, which does not happen.
    pub fn append(&mut self, ranking: &Ranking, names: &Names, out: &mut Vec<u8>) -> Result<()> {
        self.flows(ranking, names, &mut JsonLines::new(out))
    }

    /// Appends one interval to `out`, one row per group.
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
        self.groups(group, ranking, names, &mut JsonLines::new(out))
    }

    /// Takes the machine and the filter that a recording names.
    pub fn learn(&mut self, metadata: &RecordingMetadata) {
        self.machine = metadata.machine.clone();
        self.filter.clone_from(&metadata.filter);
    }
}

impl Json {
    /// Hands the records of one interval to the sink, one row per flow.
    ///
    /// # Errors
    /// When the sink fails.
    pub(crate) fn flows(
        &self,
        ranking: &Ranking,
        names: &Names,
        sink: &mut impl RecordSink,
    ) -> Result<()> {
        self.interval(ranking, None, sink)?;
        // Looks up each process once: processes are fewer than flows.
        let mut processes: HashMap<*const Owner, ProcessFields<'_>> = HashMap::new();
        for flow in ranking.rows() {
            let process = processes
                .entry(Arc::as_ptr(&flow.owner))
                .or_insert_with(|| self.process(&flow.owner));
            let name = names.get(flow.key.remote.addr);
            let netns = self.owners.netns_name(flow.key.netns);
            let record = record(flow, process, names, (name.as_deref(), netns.as_deref()));
            sink.row("flow", &record)?;
        }
        other(ranking, false, sink)
    }

    /// Hands the records of one interval to the sink, one row per group.
    ///
    /// # Errors
    /// When the sink fails.
    pub(crate) fn groups(
        &self,
        group: Group,
        ranking: &Ranking<GroupTotals>,
        names: &Names,
        sink: &mut impl RecordSink,
    ) -> Result<()> {
        let group = group.to_string();
        self.interval(ranking, Some(&group), sink)?;
        for totals in ranking.rows() {
            let (name, id) = self.id(totals, names);
            let process = totals.process.as_ref();
            let record = GroupRecord {
                grouped_by: &group,
                name: &name,
                own: id.pid.is_some() && process.is_some_and(|(tgid, _)| names.is_own(*tgid)),
                id,
                flows: totals.flows,
                processes: totals.processes,
                moved: totals.counters.into(),
                rx_packets: totals.packets.map(|packets| packets.rx),
                tx_packets: totals.packets.map(|packets| packets.tx),
                retransmits: totals.retransmits(),
                cost: totals.cost.into(),
            };
            sink.row("group", &record)?;
        }
        other(ranking, true, sink)
    }

    fn interval<T: Ranked>(
        &self,
        ranking: &Ranking<T>,
        grouped_by: Option<&str>,
        sink: &mut impl RecordSink,
    ) -> Result<()> {
        let Losses {
            untracked,
            full,
            unknown,
            audit,
            missed_events: _,
        } = &ranking.losses;
        let unseen = ranking.method.unseen.iter();
        let record = IntervalRecord {
            r#type: "interval",
            schema: SCHEMA,
            time: rfc3339(ranking.ended).into(),
            seconds: ranking.elapsed.as_secs_f64(),
            host: Cow::Borrowed(&self.machine.host),
            rx_bytes: ranking.total.rx_bytes,
            tx_bytes: ranking.total.tx_bytes,
            copied_rx_bytes: ranking.copied_rx_bytes,
            interfaces: ranking
                .interfaces
                .iter()
                .map(InterfaceFields::from)
                .collect(),
            zones: ranking.zones.iter().map(ZoneFields::from).collect(),
            flows: ranking.flows as u64,
            untracked_rx_bytes: untracked.rx_bytes,
            untracked_tx_bytes: untracked.tx_bytes,
            untracked_rx_msgs: untracked.rx_msgs,
            untracked_tx_msgs: untracked.tx_msgs,
            missed_events: ranking.method.missed(&ranking.losses),
            audit: AuditFields::from(audit),
            full_pid: full.as_ref().map(|holder| holder.tgid),
            full_process: full.as_ref().map(|holder| holder.comm.to_string_lossy()),
            full_flows: full.as_ref().map(|holder| holder.flows),
            full_slots: full.as_ref().map(|holder| holder.slots),
            unknown_processes: unknown.processes,
            unknown_cgroups: unknown.cgroups,
            unknown_answers: unknown.answers,
            backend: Cow::Borrowed(&ranking.method.backend),
            unseen: unseen.map(|&name| Cow::Borrowed(name)).collect(),
            reason: Cow::Borrowed(&ranking.method.reason),
            kernel_release: Cow::Borrowed(&self.machine.kernel),
            filter: self.filter.as_deref().map(Cow::Borrowed),
            grouped_by: grouped_by.map(Cow::Borrowed),
        };
        sink.interval(&record)
    }

    fn process<'a>(&self, owner: &'a Owner) -> ProcessFields<'a> {
        let located = owner.cgroup.as_ref();
        let located = located.map(|path| self.owners.located(path, owner.labels.as_ref()));
        let location = located
            .as_ref()
            .map(|located| LocationFields::from(&*located.whole));
        ProcessFields {
            uid: owner.uid,
            user: owner.uid.and_then(|uid| self.owners.user_name(uid)),
            cgroup: owner.cgroup.as_deref(),
            location: location.unwrap_or_default(),
            kernel_thread: owner.kernel,
            start_ns: owner
                .start
                .and_then(|start| u64::try_from(start.as_nanos()).ok()),
        }
    }

    /// Returns the title and the identity of a group.
    fn id<'a>(&self, totals: &'a GroupTotals, names: &'a Names) -> (String, IdFields<'a>) {
        let mut id = IdFields::default();
        let name = totals.name(&*self.owners);
        match &totals.id {
            RowId::Process(pid) | RowId::Thread(pid, _) => {
                id.pid = Some(*pid);
                if let Some((_, owner)) = &totals.process {
                    id.process = Some(owner.comm.to_string_lossy().into_owned());
                    id.facts = self.process(owner);
                    if let RowId::Thread(_, tid @ 1..) = totals.id {
                        id.tid = Some(tid);
                        id.thread = Some(name.clone());
                    }
                }
            }
            RowId::Program(comm, _) => {
                id.process = Some(comm.to_string_lossy().into_owned());
                if let Some((pid, owner)) = &totals.process {
                    id.pid = Some(*pid);
                    id.facts = self.process(owner);
                }
            }
            RowId::User(uid) => {
                id.facts.uid = Some(*uid);
                id.facts.user = self.owners.user_name(*uid);
            }
            RowId::Container(location) | RowId::Pod(location) => {
                id.facts.location = LocationFields::from(&**location);
            }
            RowId::Named(group, shown) => {
                id.facts.location = LocationFields::of_name(*group, shown)
            }
            RowId::Unit(unit) => id.facts.location.unit = Some(Arc::clone(unit)),
            RowId::Remote(addr) => {
                id.remote_addr = Some(name.clone());
                id.remote_name = names.get(*addr);
            }
            RowId::Zone(zone) => id.zone = Some(Arc::clone(zone)),
            RowId::Host(host) => {
                id.dns_name = Some(Arc::clone(host));
                id.dns_name_origin = totals.dns_origin.map(DnsNameOrigin::as_str);
            }
            RowId::Class(class) => id.class = Some(class.as_str()),
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

/// Returns the record of a flow with its known process and the names of its peer and its network
/// namespace.
fn record<'a>(
    flow: &'a Flow,
    process: &'a ProcessFields<'a>,
    names: &'a Names,
    (remote_name, netns_name): (Option<&'a str>, Option<&'a str>),
) -> FlowRecord<'a> {
    let (local, remote) = (flow.key.local, flow.key.remote);
    let location = &process.location;
    let cost = flow.cost();
    let dns_name = flow.dns_name.as_deref();
    let record = FlowRecord {
        proto: Cow::Borrowed(flow.key.protocol.as_str()),
        local_addr: Address(Some(local.addr)),
        local_port: local.port,
        remote_addr: Address((!remote.is_unknown()).then_some(remote.addr)),
        remote_port: remote.port,
        pid: flow.key.tgid,
        tid: flow.key.tid,
        process: flow.owner.comm.to_string_lossy(),
        thread: flow.owner.thread.to_string_lossy(),
        netns: flow.key.netns,
        netns_name: netns_name.map(Cow::Borrowed),
        ifindex: local.zone.ifindex,
        interface: names.interface(local.zone),
        uid: process.uid,
        user: process.user.as_deref().map(Cow::Borrowed),
        cgroup: process.cgroup.map(Cow::Borrowed),
        container_runtime: location.container_runtime,
        container: location.container.as_deref(),
        pod: location.pod.as_deref(),
        unit: location.unit.as_deref(),
        user_unit: location.user_unit.as_deref(),
        manager_uid: location.manager_uid,
        outer_container: location.outer_container.as_deref(),
        job: location.job.as_deref(),
        job_step: location.job_step.as_deref(),
        container_name: location.container_name.as_deref().map(Cow::Borrowed),
        image: location.image.as_deref().map(Cow::Borrowed),
        pod_name: location.pod_name.as_deref().map(Cow::Borrowed),
        pod_namespace: location.pod_namespace.as_deref().map(Cow::Borrowed),
        compose_project: location.compose_project.as_deref().map(Cow::Borrowed),
        compose_service: location.compose_service.as_deref().map(Cow::Borrowed),
        names_stale: location.names_stale,
        kernel_thread: process.kernel_thread,
        start_ns: process.start_ns,
        rx_bytes: flow.counters.rx_bytes,
        tx_bytes: flow.counters.tx_bytes,
        rx_msgs: flow.counters.rx_msgs,
        tx_msgs: flow.counters.tx_msgs,
        rx_packets: flow.packets.map(|packets| packets.rx),
        tx_packets: flow.packets.map(|packets| packets.tx),
        audited_rx_bytes: flow.audited_rx,
        remote_name,
        dns_name: dns_name.map(|dns| Cow::Borrowed(&*dns.name)),
        dns_name_origin: dns_name.map(|dns| Cow::Borrowed(dns.origin.as_str())),
        local_service: names.service(flow.key.protocol, &local, Some(&remote)),
        remote_service: names.service(flow.key.protocol, &remote, Some(&local)),
        own: names.is_own(flow.key.tgid),
        overflow: flow.key.overflow,
        internal: flow.internal,
        class: flow.class.map(|class| Cow::Borrowed(class.as_str())),
        zone: flow.zone.as_ref().map(|zone| Cow::Borrowed(&*zone.name)),
        rx_cost_estimate: cost.map(Cost::rx),
        tx_cost_estimate: cost.map(Cost::tx),
        ..FlowRecord::default()
    };
    match &flow.tcp {
        None => record,
        Some(tcp) => record.with_tcp(tcp),
    }
}

/// Returns the sum of the rows that are not shown; `None` if there are none.
fn other<T: Ranked>(ranking: &Ranking<T>, groups: bool, sink: &mut impl RecordSink) -> Result<()> {
    let Remainder { rows, flows, moved } = ranking.unranked;
    if flows == 0 {
        return Ok(());
    }
    let record = OtherRecord {
        groups: groups.then_some(rows),
        flows,
        moved: moved.into(),
    };
    sink.row("other", &record)
}

pub(super) fn write(record: &impl Serialize, out: &mut Vec<u8>) -> Result<()> {
    let mut serializer = Serializer::with_formatter(out, EscapingFormatter);
    record
        .serialize(&mut serializer)
        .context("write a record as JSON")
}
