//! Moves known bytes over loopback and compares them with what flowtop counted.

use std::fmt;
use std::fs;
use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::os::unix::fs::MetadataExt;
use std::time::Duration;

use anyhow::{Context, Result};

use crate::model::flow::{Endpoint, Protocol};
use crate::model::interval::{Audit, Interval};
use crate::source::Source;
use crate::text::units;

/// Calls in each direction, alternating so that no buffer fills.
const CALLS: u64 = 20;
/// Bytes of a request; no header has this size.
const REQUEST_BYTES: usize = 701;
const REPLY_BYTES: usize = 97;
/// A datagram over loopback arrives at once or never.
const TIMEOUT: Duration = Duration::from_secs(5);

/// Connected sockets that have moved no bytes yet.
pub(super) struct SelfTestTraffic {
    pairs: Vec<Pair>,
    /// The ends of all pairs, looked up first: the sandbox forbids getsockname() and getpeername().
    ends: Vec<FlowEnd>,
    netns: Option<u32>,
}

enum Pair {
    Tcp(TcpStream, TcpStream),
    Udp(UdpSocket, UdpSocket),
}

/// The bytes that one end moved, and those that flowtop counted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct FlowEnd {
    pub(super) protocol: Protocol,
    pub(super) local: SocketAddr,
    remote: SocketAddr,
    /// Bytes received and sent, counted by this process.
    pub(super) moved: (u64, u64),
    /// Bytes received and sent, counted by flowtop.
    pub(super) counted: (u64, u64),
}

/// The comparison of all counts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct SelfTestOutcome {
    pub(super) ends: Vec<FlowEnd>,
    /// Events of any process that the probes missed, by the kernel's counters.
    pub(super) missed: u64,
    /// Whether the kernel does not count missed events.
    pub(super) misses_unknown: bool,
    /// The audit of all TCP connections, those of the test included.
    pub(super) audit: Audit,
}

impl SelfTestTraffic {
    /// Connects TCP and UDP over IPv4 and, where there is a loopback address of it, IPv6.
    ///
    /// # Errors
    /// When IPv4 cannot be connected.
    pub(super) fn prepare() -> Result<Self> {
        let mut pairs = Vec::new();
        let v4 = IpAddr::V4(Ipv4Addr::LOCALHOST);
        let context = "connect over loopback (if it is down: ip link set lo up)";
        pairs.push(tcp(v4).context(context)?);
        pairs.push(udp(v4).context(context)?);
        let v6 = IpAddr::V6(Ipv6Addr::LOCALHOST);
        pairs.extend(tcp(v6));
        pairs.extend(udp(v6));
        let mut ends = Vec::new();
        for pair in &pairs {
            ends.extend(pair.ends().context(context)?);
        }
        let netns = fs::metadata("/proc/self/ns/net").ok();
        let netns = netns.and_then(|file| u32::try_from(file.ino()).ok());
        Ok(Self { pairs, ends, netns })
    }

    /// Moves the bytes within one interval of `source`.
    ///
    /// # Errors
    /// When bytes do not arrive or `source` fails.
    pub(super) fn measure(mut self, source: &mut impl Source) -> Result<SelfTestOutcome> {
        source.end_interval()?;
        for pair in &mut self.pairs {
            pair.talk().context("move bytes over loopback")?;
        }
        let interval = source.end_interval()?;
        for end in &mut self.ends {
            end.count(&interval, self.netns);
        }
        Ok(SelfTestOutcome {
            ends: self.ends,
            missed: interval.losses.missed_events,
            misses_unknown: interval.method.misses_unknown,
            audit: interval.losses.audit,
        })
    }
}

fn tcp(addr: IpAddr) -> Result<Pair> {
    let listener = TcpListener::bind((addr, 0))?;
    let client = TcpStream::connect(listener.local_addr()?)?;
    let server = listener.accept()?.0;
    for stream in [&client, &server] {
        stream.set_read_timeout(Some(TIMEOUT))?;
    }
    Ok(Pair::Tcp(client, server))
}

fn udp(addr: IpAddr) -> Result<Pair> {
    let (client, server) = (UdpSocket::bind((addr, 0))?, UdpSocket::bind((addr, 0))?);
    client.connect(server.local_addr()?)?;
    server.connect(client.local_addr()?)?;
    for socket in [&client, &server] {
        socket.set_read_timeout(Some(TIMEOUT))?;
    }
    Ok(Pair::Udp(client, server))
}

impl Pair {
    fn talk(&mut self) -> Result<()> {
        let mut buffer = [0x55; REQUEST_BYTES];
        for _ in 0..CALLS {
            match self {
                Self::Tcp(client, server) => {
                    client.write_all(&buffer)?;
                    server.read_exact(&mut buffer)?;
                    server.write_all(&buffer[..REPLY_BYTES])?;
                    client.read_exact(&mut buffer[..REPLY_BYTES])?;
                }
                Self::Udp(client, server) => {
                    client.send(&buffer)?;
                    server.recv(&mut buffer)?;
                    server.send(&buffer[..REPLY_BYTES])?;
                    client.recv(&mut buffer[..REPLY_BYTES])?;
                }
            }
        }
        Ok(())
    }

    fn ends(&self) -> Result<[FlowEnd; 2]> {
        let (protocol, client, server) = match self {
            Self::Tcp(a, b) => (Protocol::Tcp, a.local_addr()?, b.local_addr()?),
            Self::Udp(a, b) => (Protocol::Udp, a.local_addr()?, b.local_addr()?),
        };
        let (requested, replied) = (CALLS * REQUEST_BYTES as u64, CALLS * REPLY_BYTES as u64);
        let end = |local, remote, moved| FlowEnd {
            protocol,
            local,
            remote,
            moved,
            counted: (0, 0),
        };
        Ok([
            end(client, server, (replied, requested)),
            end(server, client, (requested, replied)),
        ])
    }
}

impl FlowEnd {
    /// Adds the interval's flows between the test's ends. Other network namespaces have a loopback
    /// with possibly equal ports. Flows are matched by their ends, not by process: in a PID
    /// namespace this process knows another PID than the flows have.
    fn count(&mut self, interval: &Interval, netns: Option<u32>) {
        let endpoint = |addr: SocketAddr| Endpoint::new(addr.ip(), addr.port());
        let (local, remote) = (endpoint(self.local), endpoint(self.remote));
        let flows = interval.flows.iter().filter(|flow| {
            let key = &flow.key;
            key.protocol == self.protocol
                && (key.local, key.remote) == (local, remote)
                && netns.is_none_or(|netns| key.netns == netns)
        });
        for flow in flows {
            self.counted.0 += flow.counters.rx_bytes;
            self.counted.1 += flow.counters.tx_bytes;
        }
    }

    /// Returns a name as in `tcp over IPv4`.
    pub(super) fn name(&self) -> String {
        let family = if self.local.is_ipv4() { "IPv4" } else { "IPv6" };
        format!("{} over {family}", self.protocol)
    }
}

impl SelfTestOutcome {
    pub(super) fn is_exact(&self) -> bool {
        self.missed == 0
            && self.audit.is_well()
            && self.ends.iter().all(|end| end.moved == end.counted)
    }
}

/// Prints `exact`, or the difference between moved and counted bytes.
impl fmt::Display for SelfTestOutcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let moved: u64 = self.ends.iter().map(|end| end.moved.0 + end.moved.1).sum();
        if self.is_exact() {
            let v6 = self.ends.iter().any(|end| end.local.is_ipv6());
            let families = if v6 { "IPv4 and IPv6" } else { "IPv4" };
            return write!(f, "exact: {moved} bytes by TCP and UDP over {families}");
        }
        let wrong = self.ends.iter().filter(|end| end.moved != end.counted);
        let wrong = wrong.map(|end| {
            let off = |moved: u64, counted: u64| i128::from(counted) - i128::from(moved);
            let (rx, tx) = (
                off(end.moved.0, end.counted.0),
                off(end.moved.1, end.counted.1),
            );
            format!("{} is off by {rx:+} received, {tx:+} sent", end.name())
        });
        let mut parts: Vec<String> = wrong.collect();
        if self.missed > 0 {
            parts.push(format!("{} missed", units::count(self.missed, "event")));
        }
        if !self.audit.is_well() {
            let drift = units::bytes(self.audit.drift.size());
            parts.push(format!("{drift} of drift from the kernel's own counters"));
        }
        write!(f, "not exact: {}", parts.join("; "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Intervals;

    struct CountsNothing;

    impl Source for CountsNothing {
        fn end_interval(&mut self) -> Result<Interval> {
            Ok(Intervals::default().next(1000, Vec::new()))
        }
    }

    #[test]
    fn a_source_that_counts_nothing_is_not_exact() {
        let outcome = SelfTestTraffic::prepare()
            .unwrap()
            .measure(&mut CountsNothing)
            .unwrap();
        assert!(!outcome.is_exact());
        let text = outcome.to_string();
        assert!(
            text.contains("tcp over IPv4 is off by -1940 received, -14020 sent"),
            "{text}"
        );
        assert!(text.contains("udp over IPv4 is off by -14020 received, -1940 sent"));
    }

    #[test]
    fn a_test_with_missed_events_is_not_exact() {
        let ends = Vec::new();
        let outcome = |missed| SelfTestOutcome {
            ends: ends.clone(),
            missed,
            misses_unknown: false,
            audit: Audit::default(),
        };
        assert!(outcome(0).is_exact());
        assert!(!outcome(2).is_exact());
        assert_eq!(outcome(2).to_string(), "not exact: 2 events missed");
    }
}
