//! What unit tests of several modules make flows and intervals with.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use crate::model::flow::{Counters, Endpoint, Flow, FlowKey, Owner, Protocol};
use crate::model::interval::{Interval, Losses};

/// The number of random rounds of a test: `all` where CI is set in the environment, as .ci/run
/// does, and a tenth elsewhere, so that unit tests stay quick while one edits.
pub fn rounds(all: u32) -> u32 {
    if std::env::var_os("CI").is_some() {
        all
    } else {
        all / 10
    }
}

/// Small, fast, repeatable: splitmix64.
pub struct Random(pub u64);

impl Random {
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below `n`.
    pub fn below(&mut self, n: u64) -> u64 {
        self.next() % n
    }

    pub fn shuffle<T>(&mut self, items: &mut [T]) {
        for i in (1..items.len()).rev() {
            items.swap(i, self.below(i as u64 + 1) as usize);
        }
    }
}

/// A flow of process `id`, one of few ports and addresses.
pub fn key(id: u32) -> FlowKey {
    let end = |host: u32, port: u32| {
        let addr = IpAddr::V4(Ipv4Addr::from_bits(0x0a00_0000 + host));
        Endpoint::new(addr, port as u16)
    };
    let protocol = if id % 5 == 4 {
        Protocol::Udp
    } else {
        Protocol::Tcp
    };
    FlowKey::new(protocol, end(1, id % 7), end(id % 3 + 2, id % 11), id / 2)
}

/// What [`key`]'s flow moved.
pub fn flow(id: u32, rx_bytes: u64, tx_bytes: u64) -> Flow {
    let counters = Counters {
        rx_bytes,
        tx_bytes,
        rx_msgs: rx_bytes.min(1),
        tx_msgs: tx_bytes.min(1),
    };
    Flow::new(key(id), counters, owner(&format!("p{}", id / 4)))
}

/// Of the flows of [`flow`] every seventh as an overflow row, of which each process has one at
/// most.
pub fn some_overflow(id: u32, mut flow: Flow) -> Flow {
    if id % 7 == 6 {
        let end = Endpoint::default();
        flow.key = FlowKey {
            overflow: true,
            ..FlowKey::new(flow.key.protocol, end, end, flow.key.tgid)
        };
    }
    flow
}

/// What process `tgid` sent, on a flow of nothing else.
pub fn sent(tgid: u32, tx_bytes: u64) -> Flow {
    let end = Endpoint::default();
    let counters = Counters {
        tx_bytes,
        tx_msgs: 1,
        ..Counters::default()
    };
    Flow::new(
        FlowKey::new(Protocol::Tcp, end, end, tgid),
        counters,
        owner("x"),
    )
}

fn owner(comm: &str) -> Arc<Owner> {
    Arc::new(Owner::named(comm.as_bytes()))
}

/// Intervals one after the other, as a collector would give them.
pub struct Intervals {
    ended: SystemTime,
}

impl Default for Intervals {
    fn default() -> Self {
        let ended = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000);
        Self { ended }
    }
}

impl Intervals {
    /// The next, of so many milliseconds.
    pub fn next(&mut self, millis: u64, flows: Vec<Flow>) -> Interval {
        let elapsed = Duration::from_millis(millis);
        self.ended += elapsed;
        Interval {
            ended: self.ended,
            elapsed,
            flows,
            losses: Losses::default(),
            interfaces: Vec::new(),
            method: Arc::default(),
        }
    }

    pub fn sleep(&mut self, seconds: u64) {
        self.ended += Duration::from_secs(seconds);
    }
}
