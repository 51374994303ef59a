//! The zones of a recording, or those that replace them.

use std::collections::HashMap;
use std::sync::Arc;

use super::schema::ZoneFields;
use crate::model::flow::Endpoint;
use crate::model::peer_zone::{PeerZone, ZoneTable, is_zone_name};

/// Most zones that are held; the recording may be anyone's.
const MAX_ZONES: usize = 4096;

#[derive(Debug, Default)]
pub(super) struct RecordedZones {
    /// Zones of the replaying user, which replace the recorded ones.
    pub(super) table: Option<Arc<ZoneTable>>,
    known: HashMap<Box<str>, Arc<PeerZone>>,
}

impl RecordedZones {
    /// Takes the zones of an interval's record, with their prices.
    pub(super) fn learn(&mut self, zones: &[ZoneFields<'_>]) {
        for zone in zones.iter().filter_map(ZoneFields::zone) {
            self.hold(zone);
        }
    }

    /// Returns the zone of a flow's peer, whose record has this name of one.
    pub(super) fn of(&mut self, peer: &Endpoint, recorded: Option<&str>) -> Option<Arc<PeerZone>> {
        if let Some(table) = &self.table {
            return table.of(peer).map(Arc::clone);
        }
        let name = recorded.filter(|name| is_zone_name(name))?;
        if let Some(zone) = self.known.get(name) {
            return Some(Arc::clone(zone));
        }
        Some(self.hold(PeerZone {
            name: name.into(),
            price: None,
        }))
    }

    fn hold(&mut self, zone: PeerZone) -> Arc<PeerZone> {
        if let Some(known) = self.known.get(&*zone.name).filter(|known| ***known == zone) {
            return Arc::clone(known);
        }
        if self.known.len() >= MAX_ZONES {
            self.known.clear();
        }
        let zone = Arc::new(zone);
        self.known.insert((&*zone.name).into(), Arc::clone(&zone));
        zone
    }
}
