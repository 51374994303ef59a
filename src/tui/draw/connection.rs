//! Describes the TCP connection of a flow: round trip, retransmits, bytes in flight, windows and limit.

use ratatui::style::Style;

use super::detail::{DetailList, FlowPage};
use crate::model::flow::{SendLimit, Tcp};
use crate::text::units;
use crate::view::Directions;

impl FlowPage<'_> {
    /// Adds the state of the TCP connection; nothing for a flow without one.
    pub(super) fn connection(&self, list: &mut DetailList) {
        let flow = self.flow;
        let Some(tcp) = &flow.tcp else {
            return;
        };
        let idle = flow
            .traffic
            .idle(Directions::Both, &self.shared.history.clock());
        let is_now = idle.is_some_and(|idle| idle.is_zero());
        list.heading(if is_now {
            "Connection"
        } else {
            "Connection, as of its last bytes"
        });
        let plain = Style::new();
        let size = |bytes: u32| self.shared.display.units.amount(bytes.into());
        let ascii = self.shared.display.theme.glyphs.ascii;
        list.add("round trip", &round_trip(tcp, ascii), plain);
        let retransmits = tcp.retransmits.unwrap_or(0) > 0;
        let style = if retransmits {
            self.shared.display.theme.bold()
        } else {
            plain
        };
        list.add("retransmitted", &retransmitted(tcp), style);
        let queued = format!(
            "{} unacknowledged, {} not yet sent",
            size(tcp.unacked),
            size(tcp.notsent)
        );
        list.add("in flight", &queued, plain);
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
        if let Some(limit) = tcp.limit {
            let text = format!("{}: {}", limit.as_str(), explained(limit));
            let style = match limit {
                SendLimit::Application => plain,
                _ => self.shared.display.theme.bold(),
            };
            list.add("limited by", &text, style);
        }
    }
}

fn round_trip(tcp: &Tcp, ascii: bool) -> String {
    match tcp.srtt_us {
        0 => "not measured yet".to_owned(),
        us => format!("{}, smoothed", units::short_time(us.into(), ascii)),
    }
}

fn retransmitted(tcp: &Tcp) -> String {
    let all = tcp.total_retransmits;
    match tcp.retransmits {
        Some(now) => format!("{} now, {all} total", units::count(now.into(), "segment")),
        None => format!("{} total", units::count(all.into(), "segment")),
    }
}

/// Explains what holds the sender back.
const fn explained(limit: SendLimit) -> &'static str {
    match limit {
        SendLimit::ReceiverWindow => "the peer's program reads too slowly",
        SendLimit::SendBuffer => "this socket's send buffer is too small for the path",
        SendLimit::Loss => "segments were lost and retransmitted",
        SendLimit::Application => "nothing to send most of the time",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_come_with_what_they_are_of() {
        let mut tcp = Tcp {
            total_retransmits: 17,
            ..Tcp::default()
        };
        assert_eq!(round_trip(&tcp, false), "not measured yet");
        assert_eq!(retransmitted(&tcp), "17 segments total");
        (tcp.srtt_us, tcp.retransmits) = (12_345, Some(1));
        assert_eq!(round_trip(&tcp, false), "12.3 ms, smoothed");
        assert_eq!(retransmitted(&tcp), "1 segment now, 17 total");
    }
}
