//! Turns intervals into totals, averages, peaks and the last minute of each flow. Pure: time comes
//! from the intervals, so a recording gives the same result as the live machine.
//!
//! Memory is bounded. Flows that moved bytes in the last [`RECENT_FOR`] are *recent*, at most
//! [`MAX_RECENT`]; older ones are *past*, at most [`MAX_PAST`], and come back with all their
//! figures when they move again. When a store is full, of the half that was silent for longest the
//! smaller ones go: from recent to past, from past into the one sum *older*. Of the flows of one
//! interval that were not known before the largest are taken in, as many as there is room for and
//! at least a quarter of [`MAX_RECENT`]; the others are *older* at once. Recent, past, older and
//! untracked always add up to everything that was counted, to the byte. A flow takes about 370
//! bytes with its index, so full stores about 28 MB, sparklines half a MB.

mod base;
mod slots;
#[cfg(test)]
mod tests;

use std::cmp::Reverse;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

pub use super::available_columns::AvailableColumns;
pub use super::recent::{MAX_BARS, MAX_POINTS, Point, SPARK_SPAN};
pub use super::traffic::{Clock, TrafficStats};
pub use super::wire::WireStats;

use hashbrown::{DefaultHashBuilder, HashTable};

pub use self::base::HistoryBase;
use self::slots::Slot;
use super::moments::SummedFlows;
use super::recent::{Bars, Points, Ring};
use super::traffic::Decay;
use crate::model::dns::DnsName;
use crate::model::flow::{Counters, Flow, FlowKey, Owner, Packets, Tcp};
use crate::model::interval::{InterfaceTraffic, Interval, Losses, rate};
use crate::model::peer_class::PeerClass;
use crate::model::peer_zone::PeerZone;
use crate::model::wire_estimate::{Cost, FlowOnWire, add_cost, stays};
use crate::view::Directions;

/// A flow stays among the recent ones for this long after its last bytes.
pub const RECENT_FOR: Duration = Duration::from_secs(10);
pub const MAX_RECENT: usize = 65_536;
pub const MAX_PAST: usize = 16_384;
/// Most flows with a sparkline, a kilobyte each: those with the largest 60 s averages, more than a
/// screen shows.
pub const MAX_SPARKS: usize = 512;

/// A flow over all intervals.
#[derive(Clone, Debug)]
pub struct FlowStats {
    pub key: FlowKey,
    /// Owner in the last interval in which the flow moved bytes.
    pub owner: Arc<Owner>,
    /// Packets in the last interval in which it moved bytes.
    pub packets: Option<Packets>,
    /// State of the connection in that interval.
    pub tcp: Option<Tcp>,
    /// Received bytes that no probe saw: see [`Flow::audited_rx`].
    pub audited_rx: u64,
    /// Whether both ends are known to be on this machine: see [`Flow::internal`].
    pub internal: bool,
    /// Class of the peer in that interval: see [`Flow::class`].
    pub class: Option<PeerClass>,
    /// The user's zone of the peer, as of then: see [`Flow::zone`].
    pub zone: Option<Arc<PeerZone>>,
    /// Name that the peer was resolved from: see [`Flow::dns_name`].
    pub dns_name: Option<Arc<DnsName>>,
    pub traffic: TrafficStats,
    ring: Option<Box<Ring>>,
}

impl FlowStats {
    /// Estimated cost of the latest interval, if it moved bytes in it; `None` where its zone has no
    /// price.
    pub(super) fn cost(&self, moves: bool) -> Option<Cost> {
        let retransmits = self.tcp.and_then(|tcp| tcp.retransmits);
        let on_wire = FlowOnWire {
            key: &self.key,
            counters: &self.traffic.now,
            packets: self.packets,
            retransmits: retransmits.unwrap_or(0).into(),
            stays: stays(self.internal, self.class),
        };
        let cost = Cost::of(on_wire, self.zone.as_deref())?;
        Some(if moves { cost } else { Cost::default() })
    }
}

/// Flows that are no longer kept separately.
#[derive(Clone, Copy, Debug)]
pub struct Older {
    /// Number of flows put in; a flow that came back and went again counts twice.
    pub flows: u64,
    /// Their sums. `now` is the traffic of flows evicted in the latest interval, in which they
    /// moved.
    pub traffic: TrafficStats,
}

impl Older {
    fn add(&mut self, stats: &FlowStats) {
        self.flows += 1;
        self.traffic += &stats.traffic;
    }
}

/// Sums over all intervals so far.
#[derive(Clone, Debug)]
pub struct History {
    clock: Clock,
    intervals: u64,
    ended: SystemTime,
    losses: Losses,
    losses_total: Losses,
    all: TrafficStats,
    /// The part of `all` that sockets received as copies of other traffic.
    copies: TrafficStats,
    wire: WireStats,
    /// The machine's network cards in the latest interval.
    interfaces: Vec<InterfaceTraffic>,
    /// Estimated cost of the latest interval; `None` where no zone of it has a price.
    cost: Option<Cost>,
    older: Older,
    recent: Vec<FlowStats>,
    past: Vec<FlowStats>,
    /// Index from key to slot. Keys are stored only in the slots, to save memory.
    index: HashTable<Slot>,
    hasher: DefaultHashBuilder,
    points: Points,
    bars: Bars,
    sparks: usize,
    available: AvailableColumns,
    limits: HistoryLimits,
}

#[derive(Clone, Copy, Debug)]
struct HistoryLimits {
    recent: usize,
    past: usize,
    sparks: usize,
}

impl Default for History {
    fn default() -> Self {
        Self::with_limits(HistoryLimits {
            recent: MAX_RECENT,
            past: MAX_PAST,
            sparks: MAX_SPARKS,
        })
    }
}

impl History {
    pub fn new() -> Self {
        Self::default()
    }

    fn with_limits(limits: HistoryLimits) -> Self {
        let nothing = TrafficStats::new(Duration::ZERO, SystemTime::UNIX_EPOCH);
        Self {
            clock: Clock::default(),
            intervals: 0,
            ended: SystemTime::UNIX_EPOCH,
            losses: Losses::default(),
            losses_total: Losses::default(),
            all: nothing,
            copies: nothing,
            wire: WireStats::new(Duration::ZERO, SystemTime::UNIX_EPOCH),
            interfaces: Vec::new(),
            cost: None,
            older: Older {
                flows: 0,
                traffic: nothing,
            },
            recent: Vec::new(),
            past: Vec::new(),
            index: HashTable::new(),
            hasher: DefaultHashBuilder::default(),
            points: Points::default(),
            bars: Bars::default(),
            sparks: 0,
            available: AvailableColumns::default(),
            limits,
        }
    }

    /// Adds the next interval.
    pub fn add(&mut self, interval: &Interval) {
        self.take(interval, &SummedFlows::default());
    }

    /// Adds the next interval, some of whose flows are only a sum.
    pub(super) fn take(&mut self, interval: &Interval, summed: &SummedFlows) {
        let begun_at = self.clock.at;
        let ended = interval.ended;
        let begun = ended.checked_sub(interval.elapsed).unwrap_or(ended);
        if self.intervals == 0 {
            self.all = TrafficStats::new(begun_at, begun);
            self.copies = self.all;
            self.wire = WireStats::new(begun_at, begun);
            self.older.traffic = self.all;
        }
        self.intervals += 1;
        self.ended = ended;
        self.clock = Clock {
            at: begun_at + interval.elapsed,
            elapsed: interval.elapsed,
        };
        let clock = self.clock;
        let decay = Decay::over(begun_at, interval.elapsed);

        self.take_sums(interval, summed, &decay);
        let bar = self.bars.add(interval.elapsed);

        self.older.traffic.decay(&decay);
        if summed.flows > 0 {
            let older = &mut self.older;
            older.flows += summed.flows;
            let moved = &summed.counters;
            older.traffic.count(moved, &decay, &clock, ended);
        }
        for flow in self.recent.iter_mut().chain(&mut self.past) {
            flow.traffic.decay(&decay);
        }
        let count = |stats: &mut FlowStats, flow: &Flow| {
            stats.owner = Arc::clone(&flow.owner);
            stats.packets = flow.packets;
            stats.internal |= flow.internal;
            stats.class = flow.class;
            stats.zone.clone_from(&flow.zone);
            stats.dns_name.clone_from(&flow.dns_name);
            stats.tcp = flow.tcp.or(stats.tcp.filter(|_| flow.audited_rx > 0));
            stats.audited_rx = stats.audited_rx.saturating_add(flow.audited_rx);
            stats.traffic.count(&flow.counters, &decay, &clock, ended);
            if let Some(ring) = &mut stats.ring {
                ring.add(bar, &flow.counters);
            }
        };
        self.available.add(&interval.flows);
        let mut new_flows: Vec<&Flow> = Vec::new();
        for flow in &interval.flows {
            match self.find(&flow.key) {
                Some(slot) => {
                    let i = self.activate(slot);
                    count(&mut self.recent[i], flow);
                }
                None => new_flows.push(flow),
            }
        }
        // New flows that would be evicted at once, the smallest, are not inserted. The largest are,
        // however many flows are there already.
        let most = self.limits.recent;
        let room = (most + new_flows.len()).saturating_sub(interval.flows.len());
        let room = room.max(most / 4);
        if new_flows.len() > room {
            let size = |flow: &&Flow| (Reverse(Directions::Both.bytes(&flow.counters)), flow.key);
            new_flows.select_nth_unstable_by_key(room, size);
        }
        // Reserves the room at once: gradual growth leaves holes that stay resident.
        self.recent.reserve(new_flows.len().min(room));
        for (n, flow) in new_flows.into_iter().enumerate() {
            let mut stats = FlowStats {
                key: flow.key,
                owner: Arc::clone(&flow.owner),
                packets: None,
                tcp: None,
                audited_rx: 0,
                internal: false,
                class: flow.class,
                zone: flow.zone.clone(),
                dns_name: None,
                traffic: TrafficStats::new(begun_at, begun),
                ring: None,
            };
            count(&mut stats, flow);
            if n < room {
                self.recent.push(stats);
                self.index_insert(Slot::Recent(self.recent.len() as u32 - 1));
            } else {
                self.older.add(&stats);
            }
        }
        self.retire();
        self.spark(bar);
    }

    /// Adds the sums of an interval.
    fn take_sums(&mut self, interval: &Interval, summed: &SummedFlows, decay: &Decay) {
        let (clock, ended) = (self.clock, interval.ended);
        self.losses = interval.losses;
        self.losses_total.merge(&interval.losses);
        let mut total = interval.total();
        total += summed.counters;
        self.all.decay(decay);
        self.all.count(&total, decay, &clock, ended);
        let copied = Counters {
            rx_bytes: interval.copied_rx_bytes() + summed.copied_rx_bytes,
            ..Counters::default()
        };
        self.copies.decay(decay);
        self.copies.count(&copied, decay, &clock, ended);
        self.wire.take(interval, &summed.internal, decay, &clock);
        self.interfaces.clone_from(&interval.interfaces);
        self.cost = interval.cost();
        add_cost(&mut self.cost, summed.cost);
        self.points.add(Point {
            ended,
            elapsed: interval.elapsed,
            total: Counters {
                rx_bytes: total.rx_bytes - copied.rx_bytes,
                ..total
            },
            losses: interval.losses,
            gap_before: Duration::ZERO,
        });
    }

    /// Moves idle flows from `recent` to `past`, then evicts what exceeds either limit.
    fn retire(&mut self) {
        let clock = self.clock;
        let is_silent = |stats: &FlowStats| {
            let idle = stats.traffic.idle(Directions::Both, &clock);
            idle.is_none_or(|idle| idle > RECENT_FOR)
        };
        let mut leaving: Vec<usize> = Vec::new();
        leaving.extend((0..self.recent.len()).filter(|&i| is_silent(&self.recent[i])));
        self.leave(&leaving);
        while self.recent.len() > self.limits.recent {
            let leaving = dispensable(&self.recent, self.limits.recent);
            self.leave(&leaving);
        }
        while self.past.len() > self.limits.past {
            let leaving = dispensable(&self.past, self.limits.past);
            for &i in leaving.iter().rev() {
                let stats = self.take_past(i);
                self.older.add(&stats);
            }
        }
        // Room for twice as many is needed only if there are more than are kept.
        self.recent.shrink_to(self.limits.recent);
    }

    /// Moves these recent flows, by ascending index, to the past ones.
    fn leave(&mut self, leaving: &[usize]) {
        for &i in leaving.iter().rev() {
            let stats = self.take_recent(i);
            self.past.push(stats);
            self.index_insert(Slot::Past(self.past.len() as u32 - 1));
        }
    }

    /// Gives sparklines to the flows with the largest 60 s averages.
    fn spark(&mut self, bar: u64) {
        let most = self.limits.sparks;
        if most == 0 {
            return;
        }
        let least_average = if self.recent.len() <= most {
            f64::NEG_INFINITY
        } else {
            let average = |stats: &FlowStats| stats.traffic.avg60(Directions::Both);
            let mut averages: Vec<f64> = self.recent.iter().map(average).collect();
            let (_, least, _) = averages.select_nth_unstable_by(most - 1, |a, b| b.total_cmp(a));
            *least
        };
        let clock = self.clock;
        let is_large_enough =
            |stats: &FlowStats| stats.traffic.avg60(Directions::Both) >= least_average;
        // The others equal the smallest of them, and may be more than there is room for.
        let is_above = |stats: &FlowStats| stats.traffic.avg60(Directions::Both) > least_average;
        if self.recent.len() > most {
            let mut lacking = 0;
            for stats in &mut self.recent {
                if stats.ring.is_some() && !is_large_enough(stats) {
                    stats.ring = None;
                    self.sparks -= 1;
                }
                lacking += usize::from(stats.ring.is_none() && is_above(stats));
            }
            let equals = |stats: &&mut FlowStats| stats.ring.is_some() && !is_above(stats);
            let excess = (self.sparks + lacking).saturating_sub(most);
            for stats in self.recent.iter_mut().filter(equals).take(excess) {
                stats.ring = None;
                self.sparks -= 1;
            }
        }
        for largest in [true, false] {
            for stats in &mut self.recent {
                if self.sparks >= most {
                    return;
                }
                if stats.ring.is_none() && is_large_enough(stats) && is_above(stats) == largest {
                    // A new flow moved nothing before; an evicted one's past is unknown.
                    let is_new = stats.traffic.age(&clock) <= clock.elapsed;
                    let mut ring = Box::new(Ring::new(if is_new { 0 } else { bar }));
                    ring.add(bar, &stats.traffic.now);
                    stats.ring = Some(ring);
                    self.sparks += 1;
                }
            }
        }
    }

    /// Returns the clock by which the statistics are read.
    pub const fn clock(&self) -> Clock {
        self.clock
    }

    /// Returns the number of intervals so far.
    pub const fn intervals(&self) -> u64 {
        self.intervals
    }

    /// Wall-clock end of the latest interval.
    pub const fn ended(&self) -> SystemTime {
        self.ended
    }

    /// Returns the losses of the latest interval.
    pub const fn losses(&self) -> Losses {
        self.losses
    }

    /// Returns the losses of all intervals.
    pub const fn losses_total(&self) -> Losses {
        self.losses_total
    }

    /// Estimated cost of the latest interval; `None` where no zone of it has a price.
    pub const fn cost(&self) -> Option<Cost> {
        self.cost
    }

    /// Returns the columns that ever had a value.
    pub const fn seen(&self) -> AvailableColumns {
        self.available
    }

    /// Returns the machine's bytes that sockets received as copies; [`Self::all`] has them twice
    /// ([`Interval::copied_rx_bytes`]).
    pub const fn copies(&self) -> &TrafficStats {
        &self.copies
    }

    /// Returns the sums of the whole machine: every flow, and untracked bytes.
    pub const fn all(&self) -> &TrafficStats {
        &self.all
    }

    /// Returns the flows that moved bytes in the last [`RECENT_FOR`], in no order.
    pub fn recent(&self) -> &[FlowStats] {
        &self.recent
    }

    /// Returns the flows that last moved bytes before that, in no order.
    pub fn past(&self) -> &[FlowStats] {
        &self.past
    }

    /// Returns all kept flows: recent, then past. Their numbers count from 0 and hold until the
    /// next interval is added.
    pub fn flows(&self) -> impl Iterator<Item = &FlowStats> {
        self.recent.iter().chain(&self.past)
    }

    /// Returns the flow with a number.
    ///
    /// # Panics
    /// If there is none.
    pub fn flow(&self, number: u32) -> &FlowStats {
        let number = number as usize;
        match self.recent.get(number) {
            Some(flow) => flow,
            None => &self.past[number - self.recent.len()],
        }
    }

    /// Returns the number of a flow.
    pub fn number(&self, key: &FlowKey) -> Option<u32> {
        Some(match self.find(key)? {
            Slot::Recent(i) => i,
            Slot::Past(i) => self.recent.len() as u32 + i,
        })
    }

    /// Returns the sum of flows that are no longer kept separately.
    pub const fn older(&self) -> &Older {
        &self.older
    }

    /// Returns a flow, recent or past.
    pub fn get(&self, key: &FlowKey) -> Option<&FlowStats> {
        self.number(key).map(|number| self.flow(number))
    }

    /// Returns the machine's chart, oldest point first.
    pub fn points(&self) -> impl DoubleEndedIterator<Item = &Point> + ExactSizeIterator {
        self.points.iter()
    }

    /// Returns the traffic of network cards, and that between two ends on this machine.
    pub const fn wire(&self) -> &WireStats {
        &self.wire
    }

    /// Returns the machine's network cards in the latest interval; empty if they are unknown.
    pub fn interfaces(&self) -> &[InterfaceTraffic] {
        &self.interfaces
    }

    /// Returns the number of all points so far, including those that are no longer kept.
    pub const fn points_number(&self) -> u64 {
        self.points.number()
    }

    /// Returns the number of all bars of sparklines so far.
    pub fn bars_number(&self) -> u64 {
        self.bars.number()
    }

    /// Returns the joint sparkline of some flows: bytes per second in each bar of the last
    /// [`SPARK_SPAN`], oldest first, with the same number of bars for every flow. `None` stands for
    /// a bar that is unknown for one of them.
    pub fn sparkline<'a>(
        &self,
        flows: impl IntoIterator<Item = &'a FlowStats>,
        directions: Directions,
    ) -> Vec<Option<f64>> {
        let mut sums = vec![Some(0u64); self.bars.len()];
        for flow in flows {
            // Its past is unknown, and so that of the sum.
            if flow.ring.is_none() {
                return vec![None; self.bars.len()];
            }
            for ((number, _), sum) in self.bars.iter().zip(&mut sums) {
                let bytes = flow.ring.as_ref().and_then(|ring| ring.get(number));
                *sum = match (*sum, bytes) {
                    (Some(sum), Some(bytes)) => Some(sum + directions.bytes(&bytes)),
                    _ => None,
                };
            }
        }
        let rates = sums.into_iter().zip(self.bars.iter());
        rates
            .map(|(bytes, (_, length))| bytes.map(|bytes| rate(bytes, length)))
            .collect()
    }
}

/// Returns the indices, ascending, of the flows to evict so that at most `most` are left: of the
/// half that has been idle for longest the smaller flows, at most a quarter of all per call. Never
/// more than is too many: flows that move come back with the next interval.
fn dispensable(flows: &[FlowStats], most: usize) -> Vec<usize> {
    let mut indices: Vec<usize> = (0..flows.len()).collect();
    let half = flows.len() / 2;
    let silence = |i: &usize| (flows[*i].traffic.last_bytes_at(), flows[*i].key);
    indices.select_nth_unstable_by_key(half, silence);
    indices.truncate(half.max(1));
    let bytes = |counters: &Counters| Directions::Both.bytes(counters);
    let count = (flows.len() - most).min(indices.len() / 2);
    indices.select_nth_unstable_by_key(count, |&i| (bytes(&flows[i].traffic.total), flows[i].key));
    indices.truncate(count.max(1));
    indices.sort_unstable();
    indices
}
