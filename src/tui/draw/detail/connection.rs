//! Describes the TCP connection of a flow: the limit of its pace, and the values that show it.

use ratatui::style::Style;

use super::diagnosis::{ConnectionFacts, Pace, lost};
use super::facts::DetailList;
use super::flow::FlowPage;
use crate::model::flow::{Protocol, Tcp};
use crate::stats::history::{Clock, FlowStats};
use crate::text::units;
use crate::tui::draw::duration;
use crate::view::Directions;

/// Returns the state of a flow's connection, if it moved bytes in the latest interval.
pub(super) fn moving(flow: &FlowStats, clock: &Clock) -> Option<ConnectionFacts> {
    let idle = flow.traffic.idle(Directions::Both, clock)?;
    let tcp = flow.tcp.filter(|_| idle.is_zero())?;
    Some(ConnectionFacts {
        tcp,
        packets: flow.packets,
        moved: flow.traffic.now,
    })
}

impl FlowPage<'_> {
    /// Returns a sentence about the limit of the pace, and whether it is a fault that can be fixed.
    pub(super) fn pace(&self) -> (String, bool) {
        let (flow, clock) = (self.flow, self.shared.history.clock());
        let idle = flow
            .traffic
            .idle(Directions::Both, &clock)
            .unwrap_or_default();
        if !idle.is_zero() {
            let idle = duration(idle.as_secs());
            return (format!("Idle: no bytes moved for {idle}."), false);
        }
        match moving(flow, &clock) {
            Some(facts) => {
                let display = &self.shared.display;
                let pace = Pace::of(&facts);
                let text = pace.sentence(&facts, display.units, display.theme.glyphs.ascii);
                (text, pace.is_trouble())
            }
            None if flow.key.protocol == Protocol::Tcp => {
                let text = "What sets the pace is not known: the kernel has no state of this \
                            connection (closed, or MPTCP).";
                (text.to_owned(), false)
            }
            None => {
                let text = format!(
                    "What sets the pace of {} is not measured.",
                    flow.key.protocol
                );
                (text, false)
            }
        }
    }

    /// Adds the state of the TCP connection; nothing for a flow without one.
    pub(super) fn connection(&self, list: &mut DetailList) {
        let flow = self.flow;
        let Some(tcp) = &flow.tcp else {
            return;
        };
        let now = moving(flow, &self.shared.history.clock());
        match now {
            Some(_) => list.heading("Connection"),
            None => list.heading_always("Connection, as of its last bytes"),
        }
        let plain = Style::new();
        let size = |bytes: u32| self.shared.display.units.amount(bytes.into());
        let ascii = self.shared.display.theme.glyphs.ascii;
        if let Some(time) = &tcp.time {
            let text = format!(
                "peer's window {} %, send buffer {} %, in flight {} %, idle {} %",
                time.receiver_window,
                time.send_buffer,
                time.in_flight,
                time.idle()
            );
            list.add("sender's time", &text, plain);
        }
        list.add("round trip", &round_trip(tcp, ascii), plain);
        let facts = ConnectionFacts {
            tcp: *tcp,
            packets: flow.packets,
            moved: flow.traffic.now,
        };
        let style = match tcp.retransmits.unwrap_or(0) {
            0 => plain,
            _ => self.shared.display.theme.bold(),
        };
        list.add("retransmitted", &retransmitted(&facts), style);
        let queued = format!(
            "{} in flight, {} to send, {} to read",
            size(tcp.unacked),
            size(tcp.notsent),
            size(tcp.unread)
        );
        list.add("waiting", &queued, plain);
        let windows = format!(
            "congestion {}, peer's {}, own {}",
            units::count(tcp.cwnd.into(), "segment"),
            size(tcp.snd_wnd),
            size(tcp.rcv_wnd)
        );
        list.add("windows", &windows, plain);
        if flow.audited_rx > 0 {
            let audited = self.shared.display.units.amount(flow.audited_rx);
            let text = format!(
                "{audited} received, by the kernel's counters: this kernel cannot report splice()"
            );
            list.add("audited", &text, plain);
        }
    }
}

fn round_trip(tcp: &Tcp, ascii: bool) -> String {
    match tcp.srtt_us {
        0 => "not measured yet".to_owned(),
        us => format!("{}, smoothed", units::short_time(us.into(), ascii)),
    }
}

fn retransmitted(facts: &ConnectionFacts) -> String {
    let all = facts.tcp.total_retransmits;
    match facts.tcp.retransmits {
        Some(_) => format!("{} now, {all} total", lost(facts)),
        None => format!("{} total", units::count(all.into(), "segment")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::flow::{Counters, Packets};

    #[test]
    fn numbers_come_with_what_they_are_of() {
        let mut facts = ConnectionFacts {
            tcp: Tcp {
                total_retransmits: 17,
                ..Tcp::default()
            },
            packets: None,
            moved: Counters::default(),
        };
        assert_eq!(round_trip(&facts.tcp, false), "not measured yet");
        assert_eq!(retransmitted(&facts), "17 segments total");
        (facts.tcp.srtt_us, facts.tcp.retransmits) = (12_345, Some(1));
        assert_eq!(round_trip(&facts.tcp, false), "12.3 ms, smoothed");
        assert_eq!(retransmitted(&facts), "1 segment now, 17 total");
        facts.packets = Some(Packets { rx: 0, tx: 200 });
        assert_eq!(
            retransmitted(&facts),
            "1 of 200 segments (0.50 %) now, 17 total"
        );
    }
}
