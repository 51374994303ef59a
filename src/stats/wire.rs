//! Compares the traffic of the network cards with that of sockets.

use std::time::{Duration, SystemTime};

use super::traffic::{Clock, Decay, TrafficStats};
use crate::model::flow::Counters;
use crate::model::interval::Interval;
use crate::view::Directions;

/// Longest headers of a frame with a payload from a socket, in bytes: Ethernet with a VLAN tag
/// (18), IPv6 (40), TCP with all options (60).
const MAX_HEADERS: f64 = 118.0;

/// Traffic of network cards, and traffic of sockets that no card had to carry.
#[derive(Clone, Copy, Debug)]
pub struct WireStats {
    /// Bytes of all cards.
    bytes: TrafficStats,
    /// Packets of all cards, counted in the fields for bytes.
    packets: TrafficStats,
    /// Flows between two ends on this machine.
    internal: TrafficStats,
}

impl WireStats {
    pub(super) fn new(at: Duration, began: SystemTime) -> Self {
        let nothing = TrafficStats::new(at, began);
        Self {
            bytes: nothing,
            packets: nothing,
            internal: nothing,
        }
    }

    /// Adds an interval, with the traffic between its flows on this machine.
    pub(super) fn take(
        &mut self,
        interval: &Interval,
        summed: &Counters,
        decay: &Decay,
        clock: &Clock,
    ) {
        let (mut bytes, mut packets) = (Counters::default(), Counters::default());
        for card in &interval.interfaces {
            bytes.rx_bytes = bytes.rx_bytes.saturating_add(card.rx.bytes);
            bytes.tx_bytes = bytes.tx_bytes.saturating_add(card.tx.bytes);
            packets.rx_bytes = packets.rx_bytes.saturating_add(card.rx.packets);
            packets.tx_bytes = packets.tx_bytes.saturating_add(card.tx.packets);
        }
        let mut internal = interval.internal();
        internal += *summed;
        for (stats, moved) in [
            (&mut self.bytes, bytes),
            (&mut self.packets, packets),
            (&mut self.internal, internal),
        ] {
            stats.decay(decay);
            stats.count(&moved, decay, clock, interval.ended);
        }
    }

    /// Returns the traffic between two ends on this machine: each byte once at either end.
    pub const fn internal(&self) -> &TrafficStats {
        &self.internal
    }

    /// Bytes of all cards.
    pub const fn bytes(&self) -> &TrafficStats {
        &self.bytes
    }

    /// Bytes per second, at least, that cards moved and that no socket did: forwarded traffic, the
    /// kernel's own, and what is sent again. `all` is what sockets moved, `copies` what of it was
    /// counted twice.
    ///
    /// A bound, not an estimate: as many bytes as headers can have at most are taken off, and the
    /// smaller of two averages is used, because buffers of sockets shift bytes from one interval to
    /// a later one.
    pub fn not_from_sockets(
        &self,
        directions: Directions,
        all: &TrafficStats,
        copies: &TrafficStats,
    ) -> f64 {
        let bound = |average: fn(&TrafficStats, Directions) -> f64| {
            let of = |stats: &TrafficStats| average(stats, directions);
            let sockets = of(all) - of(copies) - of(&self.internal);
            of(&self.bytes) - sockets.max(0.0) - of(&self.packets) * MAX_HEADERS
        };
        let bounds = [TrafficStats::avg10, TrafficStats::avg60].map(bound);
        bounds[0].min(bounds[1]).max(0.0)
    }
}
