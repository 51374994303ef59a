//! Zones that the user defines: names for networks of peers, with the price of a gigabyte where
//! there is one.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;

use super::flow::{Endpoint, Flow};
use super::net::Net;

/// Longest name of a zone, in bytes.
const MAX_NAME: usize = 64;

/// A zone of peers.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PeerZone {
    pub name: Arc<str>,
    /// `None` where no price is known.
    pub price: Option<ZonePrice>,
}

/// Price of 10^9 bytes on the wire, in millionths of the user's unit of money.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ZonePrice {
    /// Of what this machine sends.
    pub tx: u64,
    /// Of what this machine receives.
    pub rx: u64,
}

impl ZonePrice {
    /// Highest price, in units of money.
    pub const MAX: f64 = 1e6;

    /// Returns the price in millionths of a price in units of money; `None` where it is no price.
    pub fn millionths(price: f64) -> Option<u64> {
        (0.0..=Self::MAX)
            .contains(&price)
            .then(|| (price * 1e6).round() as u64)
    }
}

/// Whether a text can be the name of a zone: printable ASCII without spaces, within bounds.
pub fn is_zone_name(text: &str) -> bool {
    (1..=MAX_NAME).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_graphic())
}

/// Zones by network. The longest prefix decides.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ZoneTable {
    /// Networks by the length of their prefix, the longest first; one list for each family of
    /// addresses.
    v4: Vec<(u8, HashMap<IpAddr, Arc<PeerZone>>)>,
    v6: Vec<(u8, HashMap<IpAddr, Arc<PeerZone>>)>,
}

impl ZoneTable {
    /// Returns the table of these networks; of two zones of one network the last counts.
    pub fn new(nets: impl IntoIterator<Item = (Net, Arc<PeerZone>)>) -> Self {
        let mut table = Self::default();
        for (net, zone) in nets {
            let lists = match net.addr {
                IpAddr::V4(_) => &mut table.v4,
                IpAddr::V6(_) => &mut table.v6,
            };
            let found = lists.binary_search_by(|(prefix, _)| net.prefix.cmp(prefix));
            let at = found.unwrap_or_else(|at| {
                lists.insert(at, (net.prefix, HashMap::new()));
                at
            });
            lists[at].1.insert(net.addr, zone);
        }
        table
    }

    pub const fn is_empty(&self) -> bool {
        self.v4.is_empty() && self.v6.is_empty()
    }

    /// Returns the zone of a peer; `None` for one in no zone, and for one that is unknown.
    pub fn of(&self, peer: &Endpoint) -> Option<&Arc<PeerZone>> {
        if peer.addr.is_unspecified() {
            return None;
        }
        let addr = peer.addr.to_canonical();
        let lists = match addr {
            IpAddr::V4(_) => &self.v4,
            IpAddr::V6(_) => &self.v6,
        };
        lists
            .iter()
            .find_map(|(prefix, nets)| nets.get(&Net::of(addr, *prefix).addr))
    }

    /// Sets the zone of each flow by its peer.
    pub fn mark(&self, flows: &mut [Flow]) {
        for flow in flows {
            flow.zone = self.of(&flow.key.remote).map(Arc::clone);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(nets: &[(&str, u8, &str)]) -> ZoneTable {
        let nets = nets.iter().map(|&(addr, prefix, name)| {
            let zone = PeerZone {
                name: name.into(),
                price: None,
            };
            (Net::of(addr.parse().unwrap(), prefix), Arc::new(zone))
        });
        ZoneTable::new(nets)
    }

    #[test]
    fn the_longest_prefix_decides_in_any_order() {
        let mut nets = [
            ("0.0.0.0", 0, "world"),
            ("10.0.0.0", 8, "company"),
            ("10.1.0.0", 16, "site"),
            ("10.1.2.3", 32, "server"),
            ("2001:db8::", 32, "v6"),
            ("2001:db8:1::", 48, "v6-site"),
        ];
        for _ in 0..nets.len() {
            nets.rotate_left(1);
            let table = table(&nets);
            for (addr, zone) in [
                ("10.1.2.3", Some("server")),
                ("10.1.2.4", Some("site")),
                ("10.2.0.1", Some("company")),
                ("192.0.2.1", Some("world")),
                ("::ffff:10.1.2.3", Some("server")),
                ("2001:db8:1::9", Some("v6-site")),
                ("2001:db8:2::9", Some("v6")),
                ("2001:db9::9", None),
                ("0.0.0.0", None),
                ("::", None),
            ] {
                let peer = Endpoint::new(addr.parse().unwrap(), 443);
                let found = table.of(&peer).map(|zone| &*zone.name);
                assert_eq!(found, zone, "{addr}");
            }
        }
    }

    #[test]
    fn prices_are_kept_in_millionths() {
        assert_eq!(ZonePrice::millionths(0.09), Some(90_000));
        assert_eq!(ZonePrice::millionths(0.0), Some(0));
        assert_eq!(ZonePrice::millionths(-0.1), None);
        assert_eq!(ZonePrice::millionths(f64::NAN), None);
        assert_eq!(ZonePrice::millionths(f64::INFINITY), None);
    }
}
