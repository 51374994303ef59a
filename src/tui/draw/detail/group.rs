//! The page of a process or a program: the limits of its connections' pace, its traffic, its
//! largest peers, and its owner.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::IpAddr;

use ratatui::style::Style;

use super::connection::moving;
use super::diagnosis::Pace;
use super::facts::{DetailList, DetailPage, time_ago};
use super::flow::messages;
use super::owner::owner;
use crate::model::flow::{Counters, Endpoint};
use crate::stats::history::{FlowStats, TrafficStats};
use crate::stats::ranking::{RowId, group_of};
use crate::text::units;
use crate::tui::draw::duration;
use crate::tui::draw::line::shorten;
use crate::tui::state::panes::Panes;
use crate::tui::state::shared::SharedState;
use crate::view::{Directions, Group};

/// Maximum number of peers listed.
const MAX_PEERS: usize = 5;
/// Cells of a fact's text from which on peers are listed as facts, with numbers of 40 cells before
/// them.
const MIN_NAMED: usize = 60;
/// Maximum number of processes of a program listed.
const MAX_PIDS: usize = 8;

/// The flows of a group with the state they are drawn from.
pub(super) struct GroupPage<'a> {
    shared: &'a SharedState,
    flows: Vec<&'a FlowStats>,
    traffic: TrafficStats,
}

/// Traffic between a group and a peer.
#[derive(Clone, Copy, Debug, Default)]
struct PeerTraffic {
    now: Counters,
    total: Counters,
    flows: usize,
}

impl<'a> GroupPage<'a> {
    /// Returns the page of the flows that are in all of these rows and match the filter of the
    /// tables; `None` if there are none any more.
    pub(super) fn of(
        shared: &'a SharedState,
        panes: &Panes,
        rows: &[(Group, RowId)],
    ) -> Option<Self> {
        let history = &shared.history;
        let is_in = |flow: &&FlowStats| {
            let mut rows = rows.iter();
            rows.all(|(group, id)| group_of(*group, flow, &shared.owners) == *id)
                && panes.matches(flow, shared)
        };
        let flows: Vec<&FlowStats> = history.flows().filter(is_in).collect();
        let mut traffic = TrafficStats::nothing(history.clock(), history.ended());
        for flow in &flows {
            traffic += &flow.traffic;
        }
        (!flows.is_empty()).then_some(Self {
            shared,
            flows,
            traffic,
        })
    }

    /// Returns the flow that moved bytes last; its owner is the latest known.
    fn latest(&self) -> Option<&'a FlowStats> {
        let flows = self.flows.iter().copied();
        flows.max_by_key(|flow| (flow.traffic.last_seen(), Reverse(flow.key)))
    }

    fn pids(&self) -> BTreeSet<u32> {
        self.flows.iter().map(|flow| flow.key.tgid).collect()
    }

    /// Adds the peers that move most, with their rates.
    fn peers(&self, list: &mut DetailList) {
        let mut peers: HashMap<IpAddr, PeerTraffic> = HashMap::new();
        for flow in self
            .flows
            .iter()
            .filter(|flow| !flow.key.remote.is_unknown())
        {
            let peer = peers.entry(flow.key.remote.addr).or_default();
            peer.now += flow.traffic.now;
            peer.total += flow.traffic.total;
            peer.flows += 1;
        }
        let mut peers: Vec<(IpAddr, PeerTraffic)> = peers.into_iter().collect();
        let size = |counters: &Counters| Directions::Both.bytes(counters);
        peers.sort_unstable_by_key(|(addr, peer)| {
            (Reverse((size(&peer.now), size(&peer.total))), *addr)
        });
        if peers.is_empty() {
            return;
        }
        // Beside the name of a fact there must be room to read a peer.
        let has_heading = list.has_headings() || list.room(false) < MIN_NAMED;
        if has_heading {
            list.heading_always("Largest peers");
        }
        let (display, clock) = (&self.shared.display, self.shared.history.clock());
        let rate = |bytes| display.rate_cell(crate::model::interval::rate(bytes, clock.elapsed));
        let more = peers.len().saturating_sub(MAX_PEERS);
        let peers = || peers.iter().take(MAX_PEERS);
        let flows = peers().map(|(_, peer)| match peer.flows {
            1 => String::new(),
            flows => units::count(flows as u64, "flow") + "  ",
        });
        let flows: Vec<String> = flows.collect();
        let wide = flows.iter().map(String::len).max().unwrap_or(0);
        for (n, ((addr, peer), flows)) in peers().zip(flows).enumerate() {
            let name = match (n, has_heading) {
                (0, false) => "largest peers",
                _ => "",
            };
            let mut text = format!(
                "{} in {} out  {flows:>wide$}",
                rate(peer.now.rx_bytes),
                rate(peer.now.tx_bytes),
            );
            let label = self.shared.label(&Endpoint::new(*addr, 0), None, None);
            let room = list.room(has_heading).saturating_sub(units::columns(&text));
            let room = u16::try_from(room).unwrap_or(u16::MAX);
            text += &shorten(&label, room, display.theme.glyphs.ellipsis);
            match has_heading {
                true => list.row(text, Style::new()),
                false => list.put(name, text, Style::new()),
            }
        }
        if more > 0 {
            let text = units::count(more as u64, "other peer");
            match has_heading {
                true => list.row(text, display.theme.dim()),
                false => list.put("", text, display.theme.dim()),
            }
        }
    }
}

impl DetailPage for GroupPage<'_> {
    fn sentence(&self) -> Option<(String, bool)> {
        let clock = self.shared.history.clock();
        let idle = self.traffic.idle(Directions::Both, &clock)?;
        if !idle.is_zero() {
            let idle = duration(idle.as_secs());
            return Some((format!("Idle: no bytes moved for {idle}."), false));
        }
        let mut paces: BTreeMap<Pace, u64> = BTreeMap::new();
        let connections = self.flows.iter().filter_map(|flow| moving(flow, &clock));
        for facts in connections {
            *paces.entry(Pace::of(&facts)).or_default() += 1;
        }
        let all: u64 = paces.values().sum();
        let is_trouble = paces.keys().any(|pace| pace.is_trouble());
        let mut paces: Vec<(Pace, u64)> = paces.into_iter().collect();
        paces.sort_by_key(|&(_, count)| Reverse(count));
        let text = match &*paces {
            [] => return None,
            [(Pace::Unmeasured, _)] => {
                "What sets the pace takes one more interval to measure.".to_owned()
            }
            [(pace, 1)] => format!("The pace of its connection is set {}.", pace.short()),
            [(pace, all)] => format!("The pace of all {all} connections is set {}.", pace.short()),
            paces => {
                let parts = paces
                    .iter()
                    .map(|(pace, count)| format!("{count} {}", pace.short()));
                let parts: Vec<String> = parts.collect();
                format!(
                    "The pace of {all} connections is set: {}.",
                    parts.join(", ")
                )
            }
        };
        Some((text, is_trouble))
    }

    fn health(&self, list: &mut DetailList) {
        let clock = self.shared.history.clock();
        let known: Vec<&&FlowStats> = self.flows.iter().filter(|it| it.tcp.is_some()).collect();
        if known.is_empty() {
            return;
        }
        list.heading("Connections");
        let now = known
            .iter()
            .filter_map(|flow| moving(flow, &clock))
            .collect::<Vec<_>>();
        let retransmits = now.iter().filter_map(|facts| facts.tcp.retransmits);
        let again: u64 = retransmits.map(u64::from).sum();
        let text = format!(
            "{} known, {} moved bytes; {again} segments retransmitted",
            known.len(),
            now.len()
        );
        let style = match again {
            0 => Style::new(),
            _ => self.shared.display.theme.bold(),
        };
        list.add("connections", &text, style);
        let rtt = |flow: &&&&FlowStats| flow.tcp.map_or(0, |tcp| tcp.srtt_us);
        if let Some(slowest) = known.iter().max_by_key(rtt)
            && let us @ 1.. = rtt(&slowest)
        {
            let remote = self
                .shared
                .label(&slowest.key.remote, None, Some(slowest.key.protocol));
            let text = format!(
                "{} at most, to {}{}",
                self.shared.display.short_time(us.into()),
                units::visible(&remote.host),
                remote.port
            );
            list.put("round trip", text, Style::new());
        }
    }

    fn facts(&self, list: &mut DetailList) {
        messages(&self.traffic, self.shared, list);
        self.peers(list);
        let clock = self.shared.history.clock();
        let seen = time_ago(self.traffic.first_seen(), self.traffic.age(&clock));
        let pids = self.pids();
        list.heading("Owner");
        if pids.len() > 1 {
            let shown = pids.iter().rev().take(MAX_PIDS).map(u32::to_string);
            let shown: Vec<String> = shown.collect();
            let more = if pids.len() > MAX_PIDS { ", …" } else { "" };
            let more = match self.shared.display.theme.glyphs.ascii {
                true => more.replace('…', "..."),
                false => more.to_owned(),
            };
            let text = format!("{}: {}{more}", pids.len(), shown.join(", "));
            list.add("processes", &text, Style::new());
        }
        if let Some(latest) = self.latest() {
            owner(latest, self.shared, list);
        }
        list.add("first seen", &seen, Style::new());
    }

    fn traffic(&self) -> &TrafficStats {
        &self.traffic
    }

    fn flows(&self) -> Vec<&FlowStats> {
        self.flows.clone()
    }
}
