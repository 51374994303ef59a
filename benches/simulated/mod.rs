//! Intervals that no kernel counted, as many flows as are asked for, and what they take.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use anyhow::Result;
use flowtop::model::flow::{Counters, Endpoint, Flow, FlowKey, Owner, Packets, Protocol, Tcp};
use flowtop::model::interval::{Interval, Losses, Method};
use flowtop::options::{Config, Output};
use flowtop::source::Source;
use flowtop::source::signals::SignalHandler;
use flowtop::tui::RunContext;
use rustix::time::ClockId::ThreadCPUTime;

use crate::measure::processor_time;

/// Processes that the flows are of.
const PROCESSES: u32 = 200;

/// An interval of connections that all move bytes both ways, each to a peer of its own, with all
/// that the kernel tells of them.
pub fn interval(flows: u32, round: u64) -> Interval {
    let owners: Vec<Arc<Owner>> = (0..PROCESSES)
        .map(|n| {
            Arc::new(Owner {
                uid: Some(n % 7),
                start: Some(Duration::from_secs(n.into())),
                cgroup: Some(format!("/system.slice/server-{}.service", n % 20).into()),
                ..Owner::named(b"server")
            })
        })
        .collect();
    let flows = (0..flows).map(|n| {
        let mut random = u64::from(n).wrapping_mul(0x9e37_79b9_7f4a_7c15)
            ^ round.wrapping_mul(0xbf58_476d_1ce4_e5b9);
        random ^= random >> 29;
        let addr = IpAddr::V4(Ipv4Addr::from(0x0a00_0000 + n));
        let process = n % PROCESSES;
        let key = FlowKey::new(
            Protocol::Tcp,
            Endpoint::new(IpAddr::V4(Ipv4Addr::new(10, 9, 8, 7)), 443),
            Endpoint::new(addr, 40_000 + (n % 20_000) as u16),
            1000 + process,
        );
        let counters = Counters {
            rx_bytes: 1 + random % 100_000,
            tx_bytes: 1 + (random >> 20) % 10_000_000,
            rx_msgs: 3,
            tx_msgs: 5,
        };
        Flow {
            packets: Some(Packets { rx: 7, tx: 9 }),
            tcp: Some(Tcp {
                srtt_us: 100 + n % 50_000,
                cwnd: 10 + n % 90,
                retransmits: Some(0),
                ..Tcp::default()
            }),
            ..Flow::new(key, counters, Arc::clone(&owners[process as usize]))
        }
    });
    Interval {
        ended: SystemTime::UNIX_EPOCH + Duration::from_secs(round),
        elapsed: Duration::from_secs(1),
        flows: flows.collect(),
        losses: Losses::default(),
        interfaces: Vec::new(),
        method: Arc::new(Method::default()),
    }
}

/// A source that takes some of an interval to end one, the processor included.
pub struct Busy {
    pub flows: u32,
    pub length: Duration,
    round: u64,
}

impl Busy {
    pub const fn new(flows: u32, length: Duration) -> Self {
        Self {
            flows,
            length,
            round: 0,
        }
    }
}

impl Source for Busy {
    fn end_interval(&mut self) -> Result<Interval> {
        let begin = Instant::now();
        let next = interval(self.flows, self.round);
        self.round += 1;
        while begin.elapsed() < self.length {
            std::hint::spin_loop();
        }
        Ok(next)
    }
}

/// What a program in the pseudo-terminal is told to be.
pub fn config(output: Output) -> Config {
    Config {
        output,
        ..Config::default()
    }
}

/// Shows a source in the live table, until a signal or a key ends it.
pub fn show(config: &Config, source: impl Source + 'static) -> Result<()> {
    flowtop::tui::live(
        &config.table,
        source,
        RunContext::default(),
        Box::new(flowtop::tui::NoFiles),
        SignalHandler::install()?,
    )
}

/// Time on the processor, so that what else runs does not count.
pub fn timed<T>(times: &mut Vec<Duration>, work: impl FnOnce() -> T) -> T {
    let start = processor_time(ThreadCPUTime);
    let made = work();
    times.push(processor_time(ThreadCPUTime).saturating_sub(start));
    made
}
