//! One flow: its pace, traffic, connection, ends and owner.

use ratatui::style::Style;

use super::facts::{DetailList, DetailPage, time_ago};
use super::owner::owner;
use crate::model::flow::{Endpoint, Protocol};
use crate::model::interval::rate;
use crate::resolve::names::{HostNameSource, Names};
use crate::stats::history::{FlowStats, TrafficStats};
use crate::stats::ranking::RowTcpStats;
use crate::tui::draw::cells::per_second;
use crate::tui::state::shared::SharedState;
use crate::view::Directions;

/// A flow with the state it is drawn from.
pub(super) struct FlowPage<'a> {
    pub(super) shared: &'a SharedState,
    pub(super) flow: &'a FlowStats,
}

impl DetailPage for FlowPage<'_> {
    fn sentence(&self) -> Option<(String, bool)> {
        Some(self.pace())
    }

    fn health(&self, list: &mut DetailList) {
        self.connection(list);
    }

    fn facts(&self, list: &mut DetailList) {
        let flow = self.flow;
        messages(&flow.traffic, self.shared, list);
        self.packets(list);
        list.heading("Ends");
        let theme = &self.shared.display.theme;
        let plain = Style::new();
        let key = &flow.key;
        let local = self.end(&key.local, &key.remote, key.protocol);
        let remote = self.end(&key.remote, &key.local, key.protocol);
        list.add("local", &format!("{} {local}", key.protocol), theme.bold());
        list.add("peer", &remote, theme.bold());
        if let Some(dns) = &flow.dns_name {
            let text = format!("{}  {}", dns.name, dns.origin.explanation());
            list.add("host name", &text, plain);
        }
        if key.netns != 0 {
            list.add("netns", &self.shared.netns(key.netns), plain);
        }
        let clock = self.shared.history.clock();
        let traffic = &flow.traffic;
        let seen = time_ago(traffic.first_seen(), traffic.age(&clock));
        list.add("first seen", &seen, plain);
        list.heading("Owner");
        owner(flow, self.shared, list);
    }

    fn traffic(&self) -> &TrafficStats {
        &self.flow.traffic
    }

    fn flows(&self) -> Vec<&FlowStats> {
        vec![self.flow]
    }
}

impl FlowPage<'_> {
    fn packets(&self, list: &mut DetailList) {
        let clock = self.shared.history.clock();
        if self.flow.packets.is_some() {
            let condition = RowTcpStats::of(self.flow, &clock);
            let [rx, tx] = [Directions::Rx, Directions::Tx].map(|directions| {
                let packets = condition.packets(directions).unwrap_or(0);
                per_second(rate(packets, clock.elapsed))
            });
            let text = format!("in {rx}/s, out {tx}/s");
            list.put("packets", text, Style::new());
        }
    }

    /// Returns an end's address with its host and service name, if known.
    fn end(&self, end: &Endpoint, other: &Endpoint, protocol: Protocol) -> String {
        let plain = Names::disabled().label(end, None);
        let mut text = format!("{}{}", plain.host, plain.port);
        if !self.shared.display.names {
            return text;
        }
        if let Some(name) = self.shared.names.get(end.addr) {
            text = format!("{text}  {name}");
            if self.shared.names.hosts() == HostNameSource::Servers {
                text.push_str(" (reverse DNS)");
            }
        }
        if let Some(service) = self.shared.names.service(protocol, end, Some(other)) {
            text = format!("{text}  {service}");
        }
        text
    }
}

/// Adds how many messages there were, and how large they are.
pub(super) fn messages(traffic: &TrafficStats, shared: &SharedState, list: &mut DetailList) {
    let of = |word: &str, directions: Directions| {
        let messages = directions.msgs(&traffic.total);
        match directions.bytes(&traffic.total).checked_div(messages) {
            Some(size) => {
                let size = shared.display.units.amount(size);
                format!("{word} {messages}, mean {size}")
            }
            None => format!("{word} none"),
        }
    };
    let text = format!(
        "{}; {}",
        of("in", Directions::Rx),
        of("out", Directions::Tx)
    );
    list.add("messages", &text, Style::new());
}
