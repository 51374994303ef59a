//! Writes rankings as plain text for people and pipes: per interval one header line, the largest
//! flows or groups each way, and the sum of the rest. Columns only grow, so they keep their places.

use std::fmt::Write as _;
use std::io::Write as _;
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;

use super::Report;
use crate::model::dns::DnsName;
use crate::model::flow::{Endpoint, Flow, Owner};
use crate::model::interval::{Method, RecordingMetadata, rate};
use crate::model::wire_estimate::add_cost;
use crate::resolve::names::Names;
use crate::resolve::owners::Owners;
use crate::stats::ranking::{DirectionRanking, GroupTotals, Ranked, Ranking, RowId};
use crate::text::losses;
use crate::text::sanitize::{columns, padded};
use crate::text::time::rfc3339;
use crate::text::units::{self, Units};
use crate::view::{Directions, Group};

// Width of `255.255.255.255:65535`.
const MIN_WIDTH: usize = 21;
/// Width of the longest address with its port; a longer host name shifts the rest of its own row
/// only.
const MAX_WIDTH: usize = 47;

/// Widths of the names of processes, users, containers and units that other columns follow.
const PROCESS_WIDTH: usize = 15;
const USER_WIDTH: usize = 8;
const LOCATION_WIDTH: usize = 20;
const COST_WIDTH: usize = 9;

/// Plain text. Remembers which notes were printed, and the widths of columns.
#[derive(Clone, Debug)]
pub struct Text {
    pub units: Units,
    /// Whether there is room for user, container or unit, round-trip time and retransmitted
    /// segments.
    pub wide: bool,
    /// The filter that decides which flows are counted; `None` for all.
    pub filter: Option<String>,
    /// Source of user names and of the meaning of cgroup paths.
    pub owners: Arc<Owners>,
    pub state: LayoutState,
}

// State that [`Text`] keeps between intervals.
#[derive(Clone, Debug)]
pub struct LayoutState {
    protocol_width: usize,
    local_width: usize,
    remote_width: usize,
    name_width: usize,
    /// Whether a zone had a price so far.
    has_cost: bool,
    notes: Vec<String>,
    method: Option<Arc<Method>>,
}

impl Default for Text {
    fn default() -> Self {
        Self {
            units: Units::default(),
            wide: false,
            filter: None,
            owners: Arc::default(),
            state: LayoutState {
                protocol_width: "PROTO".len(),
                local_width: MIN_WIDTH,
                remote_width: MIN_WIDTH,
                name_width: MIN_WIDTH,
                has_cost: false,
                notes: Vec::new(),
                method: None,
            },
        }
    }
}

/// One line of a table without its rate and cost.
struct TextRow {
    bytes: u64,
    /// Estimated, in units of money.
    cost: Option<f64>,
    cells: String,
}

/// One table: its heading and lines.
struct TextTable {
    heading: String,
    ingress: Vec<TextRow>,
    egress: Vec<TextRow>,
    group: Group,
}

impl Report for Text {
    fn append(&mut self, ranking: &Ranking, names: &Names, out: &mut Vec<u8>) -> Result<()> {
        let text = self.block(ranking, |text| text.flows(ranking, names));
        out.write_all(text.as_bytes())?;
        Ok(())
    }

    fn append_groups(
        &mut self,
        group: Group,
        ranking: &Ranking<GroupTotals>,
        names: &Names,
        out: &mut Vec<u8>,
    ) -> Result<()> {
        let text = self.block(ranking, |text| text.groups(group, ranking, names));
        out.write_all(text.as_bytes())?;
        Ok(())
    }

    fn learn(&mut self, metadata: &RecordingMetadata) {
        if self.filter != metadata.filter {
            self.filter.clone_from(&metadata.filter);
            self.state.method = None;
        }
    }

    fn take_notes(&mut self) -> Vec<String> {
        std::mem::take(&mut self.state.notes)
    }
}

impl Text {
    /// Returns the note on bytes that sockets received as copies: they are not in the sum, which
    /// would have them twice.
    fn copies(&self, bytes: u64, elapsed: Duration) -> String {
        match bytes {
            0 => String::new(),
            bytes => format!(" (and {} of copies)", self.per_second(bytes, elapsed)),
        }
    }

    /// What the interval costs, where zones have prices.
    fn cost<T: Ranked>(&mut self, ranking: &Ranking<T>) -> String {
        let mut sum = None;
        for zone in &ranking.zones {
            add_cost(&mut sum, zone.zone.price.map(|price| zone.wire.cost(price)));
        }
        self.state.has_cost |= sum.is_some();
        sum.map_or_else(String::new, |cost| {
            let hour = units::per_hour(cost.both(), ranking.elapsed);
            format!("  cost ~{} (~{hour}/h)", units::money(cost.both()))
        })
    }

    fn block<T: Ranked>(
        &mut self,
        ranking: &Ranking<T>,
        table: impl FnOnce(&mut Self) -> TextTable,
    ) -> String {
        let mut text = String::new();
        self.introduce(&ranking.method);
        let time = rfc3339(ranking.ended);
        let cost = self.cost(ranking);
        // Writing to a string cannot fail.
        let _ = writeln!(
            text,
            "{time}  {:.3} s  in {}{}  out {}  {}{cost}  {}",
            ranking.elapsed.as_secs_f64(),
            self.per_second(
                ranking.total.rx_bytes - ranking.copied_rx_bytes,
                ranking.elapsed
            ),
            self.copies(ranking.copied_rx_bytes, ranking.elapsed),
            self.per_second(ranking.total.tx_bytes, ranking.elapsed),
            units::count(ranking.flows as u64, "flow"),
            losses::summary(&ranking.losses, &ranking.method),
        );
        for line in losses::losses(&ranking.losses) {
            self.state.notes.push(format!("{time}: !!! {line}"));
        }
        if ranking.ingress.is_empty() && ranking.egress.is_empty() {
            text.push('\n');
            return text;
        }
        let table = table(self);
        for (title, section, lines) in [
            ("Ingress", &ranking.ingress, &table.ingress),
            ("Egress", &ranking.egress, &table.egress),
        ] {
            self.section(title, section, &table, lines, ranking.elapsed, &mut text);
        }
        text.push('\n');
        text
    }

    /// Adds the notes on the filter and on paths that cannot be seen, at the start and whenever
    /// they change.
    fn introduce(&mut self, method: &Arc<Method>) {
        if self.state.method.as_ref() == Some(method) {
            return;
        }
        self.state.method = Some(Arc::clone(method));
        let notes = &mut self.state.notes;
        if let Some(filter) = &self.filter {
            notes.push(format!("filter: {}", units::sanitize(filter)));
        }
        let mut limits: Vec<String> = losses::unseen(method)
            .map(|meaning| format!("limits: {meaning}"))
            .collect();
        limits.extend(losses::unknown(method).map(|unknown| format!("limits: {unknown}")));
        // The backend matters only if it cannot see everything.
        if !limits.is_empty() {
            let reason = match &*method.reason {
                "" => String::new(),
                reason => format!(": {reason}"),
            };
            notes.push(format!("{} backend{reason}", method.backend));
        }
        notes.extend(limits);
    }

    fn section<T: Ranked>(
        &self,
        title: &str,
        section: &DirectionRanking<T>,
        table: &TextTable,
        lines: &[TextRow],
        elapsed: Duration,
        text: &mut String,
    ) {
        let rate = self.units.rate_width();
        let count = section.len();
        let _ = writeln!(
            text,
            "{title}: {}, {count} {}, {} shown with {} %",
            self.per_second(section.total, elapsed),
            table.group.rows(count),
            lines.len(),
            units::percent(section.shown(), section.total),
        );
        let cost = |text: &str| match self.state.has_cost {
            true => format!("  {text:>COST_WIDTH$}"),
            false => String::new(),
        };
        let heading = cost("~COST/h");
        let _ = writeln!(text, "{:>rate$}{heading}  {}", "RATE", table.heading);
        for line in lines {
            let bytes = self.per_second(line.bytes, elapsed);
            let hour = line.cost.map(|cost| units::per_hour(cost, elapsed));
            let cost = cost(hour.as_deref().unwrap_or_default());
            let _ = writeln!(text, "{bytes:>rate$}{cost}  {}", line.cells.trim_end());
        }
        let other = section.other;
        let others = match table.group {
            Group::Flow => units::count(other.flows as u64, "other flow"),
            group => format!("{} other {}", other.rows, group.rows(other.rows)),
        };
        for (bytes, what) in [
            (other.moved, others),
            (
                section.untracked,
                "untracked: the flow table was full".to_owned(),
            ),
        ] {
            if bytes > 0 {
                let _ = writeln!(text, "{:>rate$}  {what}", self.per_second(bytes, elapsed));
            }
        }
    }

    fn flows(&mut self, ranking: &Ranking, names: &Names) -> TextTable {
        let ends = |flow: &Flow| {
            let (local, remote) = (flow.key.local, flow.key.remote);
            let end = |end, other, dns_name: Option<&DnsName>| {
                let service = names.service(flow.key.protocol, end, Some(other));
                let label = names.resolved_label(end, dns_name, service);
                units::visible(&label.host).into_owned() + &label.port
            };
            let dns_name = flow.dns_name.as_deref();
            (end(&local, &remote, None), end(&remote, &local, dns_name))
        };
        // Looks names up once, for widths and lines: a name found in between would not fit its
        // column.
        let ends = |section: &DirectionRanking| section.rows.iter().map(ends).collect::<Vec<_>>();
        let (ingress, egress) = (ends(&ranking.ingress), ends(&ranking.egress));
        let state = &mut self.state;
        for (local, remote) in ingress.iter().chain(&egress) {
            grow(&mut state.local_width, local);
            grow(&mut state.remote_width, remote);
        }
        for flow in ranking.rows() {
            grow(&mut state.protocol_width, flow.key.protocol.as_str());
        }
        let protocol_width = state.protocol_width;
        let (local_width, remote_width) = (state.local_width, state.remote_width);
        let mut heading = format!(
            "{:<protocol_width$}  {:<local_width$}  {:<remote_width$}  {:>7}  PROCESS",
            "PROTO", "LOCAL", "REMOTE", "PID"
        );
        if self.wide {
            let pad = PROCESS_WIDTH - "PROCESS".len();
            let _ = write!(
                heading,
                "{:pad$}  {:<USER_WIDTH$}  {:<LOCATION_WIDTH$}  {:>7}  {:>6}",
                "", "USER", "CONTAINER", "RTT", "RETR"
            );
        }
        let lines = |section: &DirectionRanking, ends: &[(String, String)]| {
            let rows = section.rows.iter().zip(ends);
            let lines = rows.map(|(flow, (local, remote))| {
                let key = &flow.key;
                let mut process = units::name(&flow.owner.comm.to_string_lossy()).into_owned();
                if names.is_own(key.tgid) {
                    process.push_str(" (own look-ups)");
                }
                let mut cells = format!(
                    "{:<protocol_width$}  {}  {}  {:>7}  {process}",
                    key.protocol.as_str(),
                    padded(local, local_width),
                    padded(remote, remote_width),
                    key.tgid
                );
                if self.wide {
                    let pad = PROCESS_WIDTH.saturating_sub(columns(&process));
                    let tcp = flow.tcp.as_ref();
                    let srtt = tcp.map(|tcp| tcp.srtt_us).filter(|&us| us > 0);
                    let srtt = srtt.map(|us| units::short_time(us.into(), false));
                    let retransmits = tcp.and_then(|tcp| tcp.retransmits);
                    let _ = write!(
                        cells,
                        "{:pad$}  {}  {:>7}  {:>6}",
                        "",
                        self.owner(&flow.owner),
                        srtt.unwrap_or_default(),
                        retransmits.map_or_else(String::new, |count| count.to_string()),
                    );
                }
                TextRow {
                    bytes: flow.counters.bytes(section.direction),
                    cost: flow
                        .cost()
                        .map(|cost| Directions::from(section.direction).cost(cost)),
                    cells,
                }
            });
            lines.collect()
        };
        TextTable {
            heading,
            ingress: lines(&ranking.ingress, &ingress),
            egress: lines(&ranking.egress, &egress),
            group: Group::Flow,
        }
    }

    fn groups(&mut self, group: Group, ranking: &Ranking<GroupTotals>, names: &Names) -> TextTable {
        let of_process = matches!(group, Group::Process | Group::Thread);
        // Looks names up once, for widths and lines, as for flows.
        let called = |section: &DirectionRanking<GroupTotals>| {
            let rows = section.rows.iter();
            rows.map(|totals| self.name(totals, names))
                .collect::<Vec<_>>()
        };
        let (ingress, egress) = (called(&ranking.ingress), called(&ranking.egress));
        for name in ingress.iter().chain(&egress) {
            grow(&mut self.state.name_width, name);
        }
        let width = self.state.name_width;
        let title = group.rows(1).to_uppercase();
        let mut heading = format!("{:>6}  ", "FLOWS");
        if of_process || group == Group::Program {
            let _ = write!(heading, "{:>width$}  ", "PID", width = pid_width(group));
        }
        if group == Group::Thread {
            let _ = write!(heading, "{:>7}  ", "TID");
        }
        let _ = write!(heading, "{title:<width$}");
        if self.wide && of_process {
            let _ = write!(
                heading,
                "  {:<USER_WIDTH$}  {:<LOCATION_WIDTH$}",
                "USER", "CONTAINER"
            );
        }
        if self.wide {
            let _ = write!(heading, "  {:>6}", "RETR");
        }
        let heading = heading.trim_end().to_owned();
        let lines = |section: &DirectionRanking<GroupTotals>, called: &[String]| {
            let rows = section.rows.iter().zip(called);
            let lines = rows.map(|(totals, name)| {
                let mut cells = format!("{:>6}  ", totals.flows);
                match totals.id {
                    RowId::Thread(pid, tid) => {
                        let _ = write!(cells, "{pid:>7}  {tid:>7}  ");
                    }
                    RowId::Process(pid) => {
                        let _ = write!(cells, "{pid:>7}  ");
                    }
                    _ if group == Group::Program => {
                        let pid = match (&totals.process, totals.processes) {
                            (Some((pid, _)), _) => pid.to_string(),
                            (None, count) => format!("{} procs", count.unwrap_or(0)),
                        };
                        let _ = write!(cells, "{pid:>width$}  ", width = pid_width(group));
                    }
                    _ => {}
                }
                cells.push_str(&padded(name, width));
                if self.wide
                    && of_process
                    && let Some((_, owner)) = &totals.process
                {
                    let _ = write!(cells, "  {}", self.owner(owner));
                }
                if self.wide
                    && let Some(retransmits) = totals.retransmits()
                {
                    let _ = write!(cells, "  {retransmits:>6}");
                }
                TextRow {
                    bytes: totals.counters.bytes(section.direction),
                    cost: totals
                        .cost
                        .map(|cost| Directions::from(section.direction).cost(cost)),
                    cells,
                }
            });
            lines.collect()
        };
        TextTable {
            heading,
            ingress: lines(&ranking.ingress, &ingress),
            egress: lines(&ranking.egress, &egress),
            group,
        }
    }

    /// Returns the title of a group.
    fn name(&self, totals: &GroupTotals, names: &Names) -> String {
        let owner = totals.process.as_ref().map(|(_, owner)| owner);
        let name = match &totals.id {
            RowId::Program(_, kernel) => Some(units::process_name(&totals.id.to_string(), *kernel)),
            RowId::Process(_) | RowId::Thread(_, 0) => {
                owner.map(|owner| units::process_name(&owner.name(), owner.kernel))
            }
            RowId::Thread(..) => owner.map(|owner| match owner.thread.to_string_lossy() {
                thread if owner.thread == owner.comm => units::name(&thread).into_owned(),
                thread => {
                    let thread = units::visible(&thread);
                    format!(
                        "{thread} of {}",
                        units::process_name(&owner.name(), owner.kernel)
                    )
                }
            }),
            RowId::User(uid) => {
                let name = self.owners.user_name(*uid);
                name.map(|name| units::name(&name).into_owned())
            }
            RowId::Host(_) => Some(units::visible(&totals.marked_name(&*self.owners)).into_owned()),
            RowId::Remote(addr) => names.get(*addr).map(|name| units::name(&name).into_owned()),
            RowId::Port(protocol, port) => {
                let end = Endpoint::new(Ipv4Addr::UNSPECIFIED.into(), *port);
                let service = names.service(*protocol, &end, None);
                service.map(|service| format!("{} ({service})", totals.id))
            }
            _ => None,
        };
        let mut name = name.unwrap_or_else(|| units::visible(&totals.id.to_string()).into_owned());
        if let RowId::Process(tgid) | RowId::Thread(tgid, _) = totals.id
            && names.is_own(tgid)
        {
            name.push_str(" (own look-ups)");
        }
        name
    }

    /// Returns user, and container or unit, of a process, padded to their columns.
    fn owner(&self, owner: &Owner) -> String {
        let user = owner.uid.map(|uid| {
            let name = self.owners.user_name(uid);
            units::user_name(name.as_deref(), uid)
        });
        let location = self.owners.location_name(owner);
        let user = user.unwrap_or_default();
        let location = units::name(location.as_deref().unwrap_or_default());
        let (user, location) = (padded(&user, USER_WIDTH), padded(&location, LOCATION_WIDTH));
        format!("{user}  {location}")
    }

    fn per_second(&self, bytes: u64, elapsed: Duration) -> String {
        self.units.rate(rate(bytes, elapsed))
    }
}

/// Widens a column for a text, up to a bound.
fn grow(width: &mut usize, text: &str) {
    *width = (*width).max(columns(text).min(MAX_WIDTH));
}

/// Width of the column of process ids; a program with several processes shows their number there.
const fn pid_width(group: Group) -> usize {
    match group {
        Group::Program => 9,
        _ => 7,
    }
}
