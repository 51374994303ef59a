//! Packets of flows and state of their connections.

use crate::model::flow::{Packets, Tcp};
use crate::model::wire_estimate::{Cost, add_cost};
use crate::stats::history::{Clock, FlowStats};
use crate::view::Directions;

/// Packets and connections of the flows of a row. Idle flows count as nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RowTcpStats {
    /// Packets in the latest interval. A sum with an unknown part is unknown.
    packets: Option<Packets>,
    /// Segments retransmitted in the latest interval, by the connections for which they are known;
    /// `None` if they are known for none.
    pub retransmits: Option<u64>,
    /// Smoothed round-trip time of a single connection, in microseconds; `None` before the first
    /// measurement, and for several.
    pub srtt_us: Option<u32>,
    /// Congestion window of a single connection, in segments; `None` for several.
    pub cwnd: Option<u32>,
    /// Estimated cost of the latest interval, of the flows whose zone has a price; `None` if none
    /// has.
    pub cost: Option<Cost>,
}

impl RowTcpStats {
    pub fn of(flow: &FlowStats, clock: &Clock) -> Self {
        let moves = flow
            .traffic
            .idle(Directions::Both, clock)
            .is_some_and(|idle| idle.is_zero());
        let (packets, tcp) = (flow.packets, flow.tcp);
        let retransmits = tcp.and_then(|tcp: Tcp| tcp.retransmits);
        Self {
            packets: packets.map(|now| if moves { now } else { Packets::default() }),
            retransmits: retransmits.filter(|_| moves).map(u64::from),
            srtt_us: tcp.map(|tcp| tcp.srtt_us).filter(|&us| us > 0),
            cwnd: tcp.map(|tcp| tcp.cwnd),
            cost: flow.cost(moves),
        }
    }

    /// Adds the statistics of another flow.
    pub fn add(&mut self, other: &Self) {
        self.packets = self
            .packets
            .zip(other.packets)
            .map(|(mine, theirs)| Packets {
                rx: mine.rx.saturating_add(theirs.rx),
                tx: mine.tx.saturating_add(theirs.tx),
            });
        self.retransmits = match (self.retransmits, other.retransmits) {
            (Some(mine), Some(theirs)) => Some(mine.saturating_add(theirs)),
            (mine, theirs) => mine.or(theirs),
        };
        (self.srtt_us, self.cwnd) = (None, None);
        add_cost(&mut self.cost, other.cost);
    }

    /// Returns the packets of the latest interval in a direction.
    pub fn packets(&self, directions: Directions) -> Option<u64> {
        self.packets.map(|packets| directions.packets(&packets))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::flow::Flow;
    use crate::stats::history::History;
    use crate::stats::ranking::{RowQuery, Rows};
    use crate::testing::{Intervals, flow};
    use crate::view::{Column, Group, SortKey};

    #[test]
    fn packets_add_up_where_all_are_known_and_retransmits_where_any_is() {
        let tcp = |retransmits| {
            Some(Tcp {
                srtt_us: 1000,
                cwnd: 10,
                retransmits,
                ..Tcp::default()
            })
        };
        // Two flows of process 0, and one of process 1.
        let mut flows = vec![flow(0, 1, 1), flow(1, 1, 1), flow(2, 1, 1)];
        for (n, flow) in flows.iter_mut().enumerate() {
            flow.packets = Some(Packets { rx: 1 << n, tx: 3 });
            flow.tcp = tcp(Some(10 + n as u32));
        }
        flows[1].tcp = tcp(None);
        let condition = |flows: &[Flow], silent: usize, group| {
            let mut intervals = Intervals::default();
            let mut history = History::new();
            history.add(&intervals.next(1000, flows.to_vec()));
            for _ in 0..silent {
                history.add(&intervals.next(1000, Vec::new()));
            }
            let view = RowQuery {
                group,
                sort: SortKey::by(Column::Retransmits),
                ..RowQuery::default()
            };
            let rows = Rows::new(&history, &view, &(), &|_| true);
            rows.iter(&history)
                .map(|row| row.condition)
                .collect::<Vec<_>>()
        };
        let groups = condition(&flows, 0, Group::Process);
        let sums = |group: &RowTcpStats| (group.packets(Directions::Rx), group.retransmits);
        assert_eq!(sums(&groups[0]), (Some(4), Some(12)));
        assert_eq!(sums(&groups[1]), (Some(1 + 2), Some(10)));
        assert_eq!((groups[0].srtt_us, groups[0].cwnd), (Some(1000), Some(10)));
        assert_eq!((groups[1].srtt_us, groups[1].cwnd), (None, None));
        assert_eq!(groups[1].packets(Directions::Both), Some(1 + 2 + 3 + 3));
        // Of what is silent nothing is counted twice.
        let silent = condition(&flows, 1, Group::Process);
        assert_eq!(sums(&silent[0]), (Some(0), None));
        flows[0].packets = None;
        let unknown = condition(&flows, 0, Group::Process);
        assert_eq!(sums(&unknown[1]), (None, Some(10)));
        let single = condition(&flows, 0, Group::Flow);
        let retransmits = single.iter().map(|one| one.retransmits);
        assert_eq!(retransmits.collect::<Vec<_>>(), [Some(12), Some(10), None]);
    }
}
