//! One interval: what moved between two flips of the kernel's double buffer, with its measured
//! length. The unit that flows from every source to every presentation.

use std::hash::BuildHasher as _;
use std::ops::AddAssign;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use hashbrown::{DefaultHashBuilder, HashTable};

use crate::model::flow::{Comm, Counters, Flow, FlowKey};
use crate::model::wire_estimate::{Cost, add_cost};

/// How bytes were seen, and what this way cannot see. The same for all intervals until the
/// backend changes, so shared.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Method {
    /// `tracepoint`, `fentry` or `kprobe`.
    pub backend: String,
    /// Why this backend and not another, a sentence for people.
    pub reason: String,
    /// Data paths that this backend on this kernel cannot see, by their stable names (see
    /// [`UNSEEN_NAMES`]); empty is the normal case.
    pub unseen: Vec<&'static str>,
    /// The kernel preempts itself and does not count the runs of programs that it skips (before
    /// 6.7): events may be missed beyond [`Losses::missed_events`], and nobody knows how many.
    pub misses_unknown: bool,
}

impl Method {
    /// Events that were missed, in an interval or more of them; `None` where that is unknown.
    pub fn missed(&self, losses: &Losses) -> Option<u64> {
        let missed = losses.missed_events;
        (missed > 0 || !self.misses_unknown).then_some(missed)
    }
}

/// Every name that [`Method::unseen`] can hold, with what it means to a person.
pub const UNSEEN_NAMES: &[(&str, &str)] = &[
    (
        "splice_read",
        "splice() from TCP sockets is counted late, from the sockets' own counters, and only in part (no kprobes in this kernel)",
    ),
    (
        "zerocopy_receive",
        "TCP_ZEROCOPY_RECEIVE is counted late, from the sockets' own counters, and only in part (no kprobes in this kernel)",
    ),
    (
        "udp_send_peer",
        "UDP sent with sendto() on an unconnected socket is counted without its peer",
    ),
    (
        "udp_recv_peer",
        "UDP received without asking for the sender is counted without its peer, or under the one the socket is connected to",
    ),
    (
        "packet_sockets",
        "frames sent and received by AF_PACKET sockets are not counted (they are a module of this kernel)",
    ),
    (
        "probes_off",
        "nothing is counted while the kernel's probes are switched off (kernel.ftrace_enabled, debug/kprobes/enabled)",
    ),
    (
        "uring_zcrx",
        "zero-copy receive of io_uring, which few network cards can do, is not counted",
    ),
    (
        OTHER_UNSEEN,
        "a path that this version of flowtop has no word for was not counted; replay it with the version that recorded it",
    ),
];

/// Stands in [`Method::unseen`] for a name in a recording that is not among [`UNSEEN_NAMES`].
pub const OTHER_UNSEEN: &str = "other";

/// The machine that was looked at.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Machine {
    /// Its name; empty where unknown. Chosen by others: sanitized where it is written.
    pub host: String,
    /// Release of its kernel; empty where unknown.
    pub kernel: String,
    /// How long it was up when flowtop started; zero where unknown.
    pub uptime: Duration,
}

/// Metadata of a recording besides its intervals; a live machine is queried for it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RecordingMetadata {
    /// Where it was recorded.
    pub machine: Machine,
    /// Which flows were counted, where not all.
    pub filter: Option<String>,
    /// Names of users that are new since the last interval, or have changed.
    pub users: Vec<(u32, Arc<str>)>,
    /// The same of network namespaces, by inode number.
    pub namespaces: Vec<(u32, Arc<str>)>,
    /// Process ids of the flowtop that recorded it.
    pub own: Vec<u32>,
}

/// The process that holds most of a full flow table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SlotHolder {
    pub tgid: u32,
    pub comm: Comm,
    /// Flows of one family that it has slots for.
    pub flows: u32,
    /// Slots of the flow table for that family.
    pub slots: u32,
}

/// Processes that moved bytes, but of which the kernel side had no room to note all it knows. Of
/// intervals that are merged the sum.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Unknown {
    /// Without name, user and start; threads where these are counted apart.
    pub processes: u64,
    /// With all that, but without the cgroup that gives container, pod and unit.
    pub cgroups: u64,
    /// Answers of name servers that were not read: names of hosts may be missing.
    pub answers: u64,
}

impl Unknown {
    /// Whether everything is known.
    pub const fn is_none(&self) -> bool {
        self.processes | self.cgroups | self.answers == 0
    }
}

impl AddAssign for Unknown {
    /// A recording may say anything.
    fn add_assign(&mut self, other: Self) {
        self.processes = self.processes.saturating_add(other.processes);
        self.cgroups = self.cgroups.saturating_add(other.cgroups);
        self.answers = self.answers.saturating_add(other.answers);
    }
}

/// Difference between the counted bytes and the kernel's own counters of TCP connections: positive,
/// bytes that moved and were not counted; negative, bytes that were counted and did not move.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Drift {
    pub rx: i64,
    pub tx: i64,
}

impl Drift {
    /// Whether there is none.
    pub const fn is_zero(&self) -> bool {
        self.rx | self.tx == 0
    }

    /// Bytes that are too few or too many, both ways.
    pub const fn size(&self) -> u64 {
        let (rx, tx) = (self.rx.unsigned_abs(), self.tx.unsigned_abs());
        rx.saturating_add(tx)
    }
}

impl std::ops::AddAssign for Drift {
    fn add_assign(&mut self, other: Self) {
        self.rx = self.rx.saturating_add(other.rx);
        self.tx = self.tx.saturating_add(other.tx);
    }
}

/// A connection of which bytes were not counted, or too many.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DriftingConnection {
    /// The connection's flow, of several that of the process that moved most of what was counted.
    pub key: FlowKey,
    /// Name of that process.
    pub comm: Comm,
    /// Since the connection was first read.
    pub drift: Drift,
}

/// What was counted of TCP connections, held against the kernel's own counters.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Audit {
    /// Connections that moved bytes in the interval and were compared, each once, however many
    /// processes share it.
    pub connections: u64,
    /// Those of them of which every byte was counted since they were first read.
    pub agreeing: u64,
    /// Connections that moved bytes and were not compared: read for the first time, closed before
    /// they were read, or with counters that are not those of calls (kTLS, sockmap, TCP_REPAIR,
    /// urgent data, MPTCP); all where flows were without a slot.
    pub exempt: u64,
    /// Drift found in the interval, less drift that was taken back: calls that lasted for more than
    /// an interval are counted when they return.
    pub drift: Drift,
    /// The connection that is off by most bytes.
    pub worst: Option<DriftingConnection>,
}

impl Audit {
    /// Whether nothing is known to be missing or too much.
    pub const fn is_well(&self) -> bool {
        self.connections == self.agreeing && self.drift.is_zero()
    }

    /// Notes a connection that is off.
    pub fn note(&mut self, one: DriftingConnection) {
        let size = self.worst.map_or(0, |worst| worst.drift.size());
        if one.drift.size() > size {
            self.worst = Some(one);
        }
    }

    /// Appends what was found later: numbers of connections are of the interval with most that do
    /// not agree, or else of the later one.
    fn merge(&mut self, later: &Self) {
        let off = |audit: &Self| audit.connections.saturating_sub(audit.agreeing);
        let mut sum = if off(self) > off(later) {
            *self
        } else {
            *later
        };
        sum.drift = self.drift;
        sum.drift += later.drift;
        sum.worst = self.worst;
        if let Some(worst) = later.worst {
            sum.note(worst);
        }
        *self = sum;
    }
}

/// What could not be counted, or not be attributed, in an interval. All zero when all is well.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Losses {
    /// Who holds most slots, where flows found none: their bytes are in the overflow rows of their
    /// processes (see [`FlowKey::overflow`](crate::model::flow::FlowKey::overflow)).
    pub full: Option<SlotHolder>,
    /// Bytes and messages that found no place even as an overflow row: counted, but not attributed.
    pub untracked: Counters,
    /// Events that a probe did not see, from the kernel's own counters of skipped programs and
    /// missed return probes.
    pub missed_events: u64,
    /// Owners that are only partly known.
    pub unknown: Unknown,
    /// What the audit found.
    pub audit: Audit,
}

impl Losses {
    /// Whether nothing was lost.
    pub const fn is_none(&self) -> bool {
        self.full.is_none()
            && self.untracked.is_zero()
            && self.missed_events == 0
            && self.unknown.is_none()
            && self.audit.is_well()
    }

    /// Appends what was lost later: sums kept, and of two holders the one of more flows.
    pub fn merge(&mut self, later: &Self) {
        self.full = match (self.full, later.full) {
            (Some(mine), Some(later)) if mine.flows > later.flows => Some(mine),
            (mine, later) => later.or(mine),
        };
        self.untracked += later.untracked;
        self.missed_events += later.missed_events;
        self.unknown += later.unknown;
        self.audit.merge(&later.audit);
    }
}

/// Counters of one direction of a network interface: frames with all headers, whoever sent them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LinkCounters {
    pub bytes: u64,
    pub packets: u64,
    pub errors: u64,
    pub drops: u64,
}

impl LinkCounters {
    /// The difference to an earlier reading; `None` where a counter went back.
    pub fn since(&self, earlier: &Self) -> Option<Self> {
        Some(Self {
            bytes: self.bytes.checked_sub(earlier.bytes)?,
            packets: self.packets.checked_sub(earlier.packets)?,
            errors: self.errors.checked_sub(earlier.errors)?,
            drops: self.drops.checked_sub(earlier.drops)?,
        })
    }
}

impl AddAssign for LinkCounters {
    /// A recording may say anything.
    fn add_assign(&mut self, other: Self) {
        self.bytes = self.bytes.saturating_add(other.bytes);
        self.packets = self.packets.saturating_add(other.packets);
        self.errors = self.errors.saturating_add(other.errors);
        self.drops = self.drops.saturating_add(other.drops);
    }
}

/// What a network card of the machine moved in an interval.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InterfaceTraffic {
    pub name: Arc<str>,
    pub rx: LinkCounters,
    pub tx: LinkCounters,
}

/// What moved between two flips.
#[derive(Clone, Debug)]
pub struct Interval {
    /// Wall-clock time of the interval's end.
    pub ended: SystemTime,
    /// Measured length by the monotonic clock, from flip to flip. Rates divide by this only.
    pub elapsed: Duration,
    /// Every flow that moved bytes, each key once, in no order.
    pub flows: Vec<Flow>,
    /// What could not be counted or attributed.
    pub losses: Losses,
    /// What the machine's network cards moved meanwhile; empty where that is not known.
    pub interfaces: Vec<InterfaceTraffic>,
    /// How it was counted.
    pub method: Arc<Method>,
}

impl Interval {
    /// Everything that was counted: all flows and what was untracked.
    pub fn total(&self) -> Counters {
        let mut total: Counters = self.flows.iter().map(|flow| flow.counters).sum();
        total += self.losses.untracked;
        total
    }

    /// Returns [`Interval::total`] and [`Interval::copied_rx_bytes`] by one pass over the flows.
    pub fn total_and_copied(&self) -> (Counters, u64) {
        let (mut total, mut copied) = (self.losses.untracked, 0);
        for flow in &self.flows {
            total += flow.counters;
            if flow.key.receives_copies() {
                copied += flow.counters.rx_bytes;
            }
        }
        (total, copied)
    }

    /// Bytes of [`Interval::total`] that were received twice: by a socket that hears what others
    /// move, and by them
    /// ([`FlowKey::receives_copies`](crate::model::flow::FlowKey::receives_copies)).
    pub fn copied_rx_bytes(&self) -> u64 {
        let copies = self.flows.iter().filter(|it| it.key.receives_copies());
        copies.map(|flow| flow.counters.rx_bytes).sum()
    }

    /// Returns the bytes of flows whose ends are both known to be on this machine: counted once at
    /// the end that sends, once at the end that receives.
    pub fn internal(&self) -> Counters {
        let flows = self.flows.iter().filter(|flow| flow.internal);
        flows.map(|flow| flow.counters).sum()
    }

    /// Estimated cost of all flows whose zones have prices; `None` if none has.
    pub fn cost(&self) -> Option<Cost> {
        let mut sum = None;
        for flow in self.flows.iter().filter(|flow| flow.zone.is_some()) {
            add_cost(&mut sum, flow.cost());
        }
        sum
    }

    /// What is in overflow rows: attributed to processes, not to flows.
    pub fn overflow(&self) -> Counters {
        let rows = self.flows.iter().filter(|flow| flow.key.overflow);
        rows.map(|flow| flow.counters).sum()
    }

    /// Appends a later interval: sums kept, lengths added. For a reader too slow to take each.
    pub fn merge(&mut self, later: Self) {
        // Places only: a million keys held twice are 100 MB.
        let hasher = DefaultHashBuilder::default();
        let mut index: HashTable<usize> = HashTable::with_capacity(self.flows.len());
        let flows = &mut self.flows;
        for (i, flow) in flows.iter().enumerate() {
            let hash = |&i: &usize| hasher.hash_one(flows[i].key);
            index.insert_unique(hasher.hash_one(flow.key), i, hash);
        }
        for flow in later.flows {
            let hash = hasher.hash_one(flow.key);
            match index.find(hash, |&i| flows[i].key == flow.key) {
                Some(&i) => flows[i].merge(flow),
                None => {
                    flows.push(flow);
                    let hash_of = |&i: &usize| hasher.hash_one(flows[i].key);
                    index.insert_unique(hash, flows.len() - 1, hash_of);
                }
            }
        }
        self.elapsed += later.elapsed;
        self.ended = later.ended;
        self.losses.merge(&later.losses);
        for later in later.interfaces {
            match self.interfaces.iter_mut().find(|it| it.name == later.name) {
                Some(mine) => {
                    mine.rx += later.rx;
                    mine.tx += later.tx;
                }
                None => self.interfaces.push(later),
            }
        }
        self.method = later.method;
    }
}

/// Bytes per second over a measured length; 0 for a length of 0.
pub fn rate(bytes: u64, elapsed: Duration) -> f64 {
    let seconds = elapsed.as_secs_f64();
    if seconds > 0.0 {
        bytes as f64 / seconds
    } else {
        0.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::sent;

    fn interval(flows: Vec<Flow>, millis: u64) -> Interval {
        Interval {
            ended: SystemTime::UNIX_EPOCH,
            elapsed: Duration::from_millis(millis),
            flows,
            losses: Losses {
                missed_events: 1,
                unknown: Unknown {
                    processes: 2,
                    cgroups: 3,
                    answers: 4,
                },
                ..Losses::default()
            },
            interfaces: Vec::new(),
            method: Arc::default(),
        }
    }

    #[test]
    fn merging_keeps_sums_and_adds_lengths() {
        let mut first = interval(vec![sent(1, 10), sent(2, 20)], 1000);
        first.merge(interval(vec![sent(2, 5), sent(3, 7)], 500));
        assert_eq!(first.flows.len(), 3);
        assert_eq!(first.total().tx_bytes, 42);
        assert_eq!(first.elapsed, Duration::from_millis(1500));
        assert_eq!(first.losses.missed_events, 2);
        let unknown = Unknown {
            processes: 4,
            cgroups: 6,
            answers: 8,
        };
        assert_eq!(first.losses.unknown, unknown);
    }

    #[test]
    fn the_holder_of_most_flows_stays_named_when_intervals_are_joined() {
        let holder = |tgid, flows| SlotHolder {
            tgid,
            comm: Comm::default(),
            flows,
            slots: 64,
        };
        let full = |holder| Losses {
            full: holder,
            ..Losses::default()
        };
        let (none, few, many) = (None, Some(holder(1, 40)), Some(holder(2, 48)));
        for (mine, later, joined) in [
            (none, few, few),
            (few, none, few),
            (few, many, many),
            (many, few, many),
        ] {
            let mut losses = full(mine);
            losses.merge(&full(later));
            assert_eq!(losses, full(joined));
        }
    }

    #[test]
    fn rates_divide_by_the_measured_length() {
        assert_eq!(rate(300, Duration::from_millis(1500)), 200.0);
        assert_eq!(rate(300, Duration::ZERO), 0.0);
    }
}
