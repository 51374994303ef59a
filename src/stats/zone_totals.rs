//! What an interval moved by the user's zones, and what that is on the wire.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::model::flow::Counters;
use crate::model::interval::Interval;
use crate::model::peer_zone::PeerZone;
use crate::model::wire_estimate::WireEstimate;

/// A zone in an interval.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ZoneTotals {
    pub zone: Arc<PeerZone>,
    pub counters: Counters,
    pub wire: WireEstimate,
}

/// Returns the sums of all zones with flows, by name.
pub fn zone_totals(interval: &Interval) -> Vec<ZoneTotals> {
    let mut totals: BTreeMap<&PeerZone, ZoneTotals> = BTreeMap::new();
    for flow in &interval.flows {
        let Some(zone) = &flow.zone else {
            continue;
        };
        let sums = totals.entry(zone).or_insert_with(|| ZoneTotals {
            zone: Arc::clone(zone),
            counters: Counters::default(),
            wire: WireEstimate::default(),
        });
        sums.counters += flow.counters;
        sums.wire += WireEstimate::of(flow.into());
    }
    totals.into_values().collect()
}
