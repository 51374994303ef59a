//! Turns samples of a TCP socket's cumulative counters into differences for an interval.

mod settle;

use std::mem;
use std::sync::Arc;
use std::time::Duration;

use hashbrown::HashMap;

pub use self::settle::{Inspect, MAX_INSPECTED};

use super::audit::ConnectionAudit;
use super::skel::{KEY_IPV6, RawKey6, RawRecord, RawTcp, TCP_READ};
use crate::model::flow::{Counters, Flow, FlowKey, Owner, Packets, SendLimit, SendTime, Tcp};
use crate::model::interval::Audit;

/// Number of sockets kept, 400 bytes each, or twice the number seen in the last interval if that is
/// more. An evicted socket is treated as new.
const SOCKETS: usize = 16_384;
/// Minimum length in clock ticks for which shares of the time are meaningful.
const MIN_JIFFIES: u32 = 4;

/// How connections are audited.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum AuditMode {
    /// Not at all: the kernel counts some processes only, and others may share a socket with them.
    #[default]
    Off,
    /// Calls under way at flowtop's start may not be counted, so a direction is compared from its
    /// first counted bytes on.
    FromFirstCall,
    /// Every call that returns after the start is counted.
    AtOnce,
}

/// The last readings of every socket.
#[derive(Default)]
pub struct TcpSamples {
    mode: AuditMode,
    /// Whether no probe sees some ways to receive, so that missing bytes are counted from the
    /// sockets.
    credits: bool,
    /// Time of the previous interval's readings.
    settled: Duration,
    /// Number of the interval; at one a second it wraps after a century.
    interval: u32,
    /// Boxed, so that the table's empty places take 16 bytes.
    sockets: HashMap<u64, Box<Socket>>,
    /// Result for the interval under way.
    audit: Audit,
    /// Whether bytes were counted in the overflow entries of a process.
    is_blind: bool,
    /// The last interval in which the kernel skipped runs of programs.
    missed_in: Option<u32>,
    /// Addresses of sockets that were read right before the flip.
    soon: Vec<u64>,
    /// Addresses of sockets with bytes that may be missing.
    doubtful: Vec<u64>,
    drifting: Vec<u64>,
    watched: Vec<u64>,
    /// Processes of connections whose bytes may be missing, after [`settle`](Self::settle).
    doubted: Vec<u32>,
    /// Those with threads that may not have counted the bytes of the previous reading yet.
    held: Vec<u32>,
}

struct Socket {
    /// Ends of the connection, without its owner: an address in the kernel is soon reused for
    /// another socket.
    ends: RawKey6,
    /// The flow of the interval that moved most, and its owner.
    key: FlowKey,
    owner: Arc<Owner>,
    audit: ConnectionAudit,
    is_watched: bool,
    /// Intervals in which bytes last moved, and in which its flows were last counted.
    moved_in: u32,
    interval: u32,
    /// Whether `now` is the first reading.
    is_first: bool,
    now: TcpSample,
    /// The flow of the interval that has the socket's packets and retransmits: the one that moved
    /// most.
    flow_index: u32,
    /// Bytes that the flow at `flow_index` moved.
    most: u64,
    /// Bytes and messages of all flows of the socket in the interval.
    moved: Counters,
}

/// Cumulative counters of one sample, as in [`RawTcp`].
#[derive(Clone, Copy)]
struct TcpSample {
    retransmits: u32,
    segs_in: u32,
    segs_out: u32,
    jiffies: u32,
    busy: u32,
    rwnd_limited: u32,
    sndbuf_limited: u32,
}

impl From<&RawTcp> for TcpSample {
    fn from(raw: &RawTcp) -> Self {
        Self {
            retransmits: raw.retransmits,
            segs_in: raw.segs_in,
            segs_out: raw.segs_out,
            jiffies: raw.jiffies,
            busy: raw.busy,
            rwnd_limited: raw.rwnd_limited,
            sndbuf_limited: raw.sndbuf_limited,
        }
    }
}

impl TcpSample {
    /// All zero: the previous sample of a connection that began in the interval.
    const NONE: Self = Self {
        retransmits: 0,
        segs_in: 0,
        segs_out: 0,
        jiffies: 0,
        busy: 0,
        rwnd_limited: 0,
        sndbuf_limited: 0,
    };

    fn packets_since(&self, before: &Self) -> Packets {
        Packets {
            rx: self.segs_in.wrapping_sub(before.segs_in).into(),
            tx: self.segs_out.wrapping_sub(before.segs_out).into(),
        }
    }

    const fn retransmits_since(&self, before: &Self) -> u32 {
        self.retransmits.wrapping_sub(before.retransmits)
    }
}

impl TcpSamples {
    /// Returns samples without any socket.
    pub fn new(mode: AuditMode, credits: bool) -> Self {
        Self {
            mode,
            credits,
            ..Self::default()
        }
    }

    /// Starts an interval; call it before the interval's first record.
    pub fn next_interval(&mut self) {
        self.audit = Audit::default();
        self.is_blind = false;
        self.doubtful.clear();
        let last = self.interval;
        self.interval = last.wrapping_add(1);
        if self.sockets.len() <= SOCKETS {
            return;
        }
        let mut seen: Vec<u32> = self.sockets.values().map(|it| it.interval).collect();
        let active = seen.iter().filter(|&&interval| interval == last).count();
        if seen.len() <= active * 2 {
            return;
        }
        // Evicts the half that was idle for longest, so that evictions are rare.
        let half = seen.len() / 2;
        let (_, &mut oldest, _) = seen.select_nth_unstable(half);
        self.sockets.retain(|_, socket| socket.interval >= oldest);
    }

    /// Notes that a flow found no slot: its bytes belong to an unknown connection.
    pub const fn note_overflow(&mut self) {
        self.is_blind = true;
    }

    /// Appends a TCP flow. The record has a sample of its socket if the socket still exists.
    /// Several flows of an interval may share a socket (threads, processes after fork(2)): the
    /// socket's packets and retransmitted segments go to the flow that moved most, and the others
    /// have none, so that sums over flows equal the socket's.
    pub fn append(&mut self, record: &RawRecord, mut flow: Flow, flows: &mut Vec<Flow>) {
        let sk = record.sk;
        let ends = ends(&record.key);
        let known = self.sockets.get_mut(&sk);
        let known = known.filter(|known| is_same(&known.ends, &ends));
        if record.tcp.marks & TCP_READ == 0 {
            // The socket is gone, or cannot be read (MPTCP).
            if known.is_some() {
                self.sockets.remove(&sk);
            }
            self.audit.exempt += 1;
            flows.push(flow);
            return;
        }
        flow.tcp = Some(state(&record.tcp));
        let arm = self.mode == AuditMode::AtOnce;
        let may_watch = self.watched.len() < MAX_INSPECTED;
        let drift_before = self.audit.drift;
        let (is_doubtful, watch) = match known {
            Some(socket) => {
                if socket.interval == self.interval {
                    socket.give_back(&mut flow);
                    socket.join(&record.tcp, &mut flow, flows);
                    socket.audit_join(&record.tcp, &flow.counters, arm, &mut self.audit);
                } else {
                    socket.turn(self.interval, &record.tcp, &mut flow, flows.len());
                    socket.audit_turn(&record.tcp, arm, &mut flow, &mut self.audit);
                }
                let is_doubtful = socket.audit.is_doubtful();
                if !is_doubtful {
                    socket.audit.calm();
                }
                let watch = may_watch && !socket.is_watched;
                socket.is_watched |= watch;
                (is_doubtful, watch)
            }
            None => {
                let mut socket = Socket::new(self.interval, record, &mut flow, flows.len(), arm);
                socket.is_watched = may_watch;
                match socket.audit.is_whole() {
                    true => self.audit.connections += 1,
                    false => self.audit.exempt += 1,
                }
                self.sockets.insert(sk, Box::new(socket));
                (false, may_watch)
            }
        };
        if watch {
            self.watched.push(sk);
        }
        if is_doubtful {
            self.doubtful.push(sk);
        }
        if drift_before != self.audit.drift {
            self.drifting.push(sk);
        }
        flows.push(flow);
    }
}

impl Socket {
    /// Returns a socket that is read for the first time.
    fn new(
        interval: u32,
        record: &RawRecord,
        flow: &mut Flow,
        flow_index: usize,
        arm: bool,
    ) -> Self {
        let moved = flow.counters;
        let now = TcpSample::from(&record.tcp);
        if began_here(&record.tcp, &moved) {
            attribute(flow, &now, &TcpSample::NONE);
        }
        Self {
            ends: ends(&record.key),
            key: flow.key,
            owner: Arc::clone(&flow.owner),
            audit: ConnectionAudit::begin(&record.tcp, &moved, arm),
            is_watched: false,
            moved_in: interval,
            interval,
            is_first: true,
            now,
            flow_index: at(flow_index),
            most: size(&moved),
            moved,
        }
    }

    /// Records the sample after a further interval, with the first of the socket's flows.
    fn turn(&mut self, interval: u32, raw: &RawTcp, flow: &mut Flow, flow_index: usize) {
        let before = mem::replace(&mut self.now, raw.into());
        (self.interval, self.moved_in, self.is_first) = (interval, interval, false);
        self.moved = flow.counters;
        self.belong_to(flow, at(flow_index));
        attribute(flow, &self.now, &before);
        if let Some(tcp) = &mut flow.tcp {
            tcp.limit = limit(&before, &self.now);
            tcp.time = time(&before, &self.now);
        }
    }

    fn audit_turn(&mut self, raw: &RawTcp, arm: bool, flow: &mut Flow, audit: &mut Audit) {
        if self.audit.is_exempt {
            audit.exempt += 1;
        } else if self.audit.turn(raw) {
            audit.connections += 1;
            self.moved.rx_bytes -= self.give_back(flow);
            audit.drift += self.audit.count(&self.moved);
        } else {
            audit.exempt += 1;
            self.audit = ConnectionAudit::begin(raw, &self.moved, arm);
        }
    }

    /// Subtracts bytes from a flow that were credited before. Returns how many.
    fn give_back(&mut self, flow: &mut Flow) -> u64 {
        let back = self.audit.give_back(&flow.counters);
        flow.counters.rx_bytes -= back;
        back
    }

    /// Audits a further flow of the socket in the same interval.
    fn audit_join(&mut self, raw: &RawTcp, moved: &Counters, arm: bool, audit: &mut Audit) {
        if !self.is_first || self.audit.is_whole() {
            audit.drift += self.audit.count(moved);
            return;
        }
        self.audit = ConnectionAudit::begin(raw, &self.moved, arm);
        if self.audit.is_whole() {
            (audit.connections, audit.exempt) = (audit.connections + 1, audit.exempt - 1);
        }
    }

    /// Adds a further flow of the socket in the same interval.
    fn join(&mut self, raw: &RawTcp, flow: &mut Flow, flows: &mut [Flow]) {
        self.moved += flow.counters;
        self.share(flow, flows);
        if self.is_first
            && began_here(raw, &self.moved)
            && let Some(first) = flow_at(self.flow_index, flow, flows)
        {
            attribute(first, &self.now, &TcpSample::NONE);
        }
    }

    /// Gives the socket's packets to a further flow if it moved more than the flow that has them.
    fn share(&mut self, flow: &mut Flow, flows: &mut [Flow]) {
        let flow_index = at(flows.len());
        let Some(first) = flows.get_mut(self.flow_index as usize) else {
            return;
        };
        let (Some(theirs), Some(mine)) = (&mut first.tcp, &mut flow.tcp) else {
            return;
        };
        (mine.limit, mine.time) = (theirs.limit, theirs.time);
        (mine.retransmits, flow.packets) = (Some(0), Some(Packets::default()));
        if size(&flow.counters) > self.most {
            mem::swap(&mut mine.retransmits, &mut theirs.retransmits);
            mem::swap(&mut flow.packets, &mut first.packets);
            self.belong_to(flow, flow_index);
        }
    }

    /// Notes the flow that moved most so far.
    fn belong_to(&mut self, flow: &Flow, flow_index: u32) {
        (self.key, self.flow_index, self.most) = (flow.key, flow_index, size(&flow.counters));
        if !Arc::ptr_eq(&self.owner, &flow.owner) {
            self.owner = Arc::clone(&flow.owner);
        }
    }
}

fn at(flow_index: usize) -> u32 {
    u32::try_from(flow_index).unwrap_or(u32::MAX)
}

const fn size(moved: &Counters) -> u64 {
    moved.rx_bytes.wrapping_add(moved.tx_bytes)
}

/// Returns the fields of a key that identify a socket: all except the owner.
const fn ends(key: &RawKey6) -> RawKey6 {
    let mut ends = *key;
    ends.id.owner_kind &= KEY_IPV6;
    ends
}

fn is_same(one: &RawKey6, other: &RawKey6) -> bool {
    let parts = |key: &RawKey6| {
        let id = &key.id;
        let ports = (id.local_port, id.remote_port);
        (
            id.net,
            id.owner_kind,
            ports,
            key.local_addr,
            key.remote_addr,
        )
    };
    parts(one) == parts(other)
}

/// Returns the flow at an index; the index after the last flow is that of `flow`.
fn flow_at<'a>(flow_index: u32, flow: &'a mut Flow, flows: &'a mut [Flow]) -> Option<&'a mut Flow> {
    let flow_index = flow_index as usize;
    match flow_index == flows.len() {
        true => Some(flow),
        false => flows.get_mut(flow_index),
    }
}

/// Sets a flow's TCP fields from two samples of its socket.
fn attribute(flow: &mut Flow, now: &TcpSample, before: &TcpSample) {
    flow.packets = Some(now.packets_since(before));
    if let Some(tcp) = &mut flow.tcp {
        tcp.retransmits = Some(now.retransmits_since(before));
    }
}

/// Returns the fields of a connection that need one sample only.
const fn state(raw: &RawTcp) -> Tcp {
    Tcp {
        srtt_us: raw.srtt_us,
        cwnd: raw.cwnd,
        unacked: raw.unacked,
        notsent: raw.notsent,
        unread: raw.unread,
        snd_wnd: raw.snd_wnd,
        rcv_wnd: raw.rcv_wnd,
        total_retransmits: raw.retransmits,
        retransmits: None,
        limit: None,
        time: None,
    }
}

/// Whether a connection seen for the first time began in the interval: it moved the flow's bytes in
/// all, apart from the sequence numbers of SYN and FIN. A connection that moved more existed before
/// flowtop saw it, and the interval's part of its counters is unknown. The socket is read a moment
/// after the interval's end, so one that receives at that moment is treated as an older one too:
/// its first interval has no values instead of wrong ones.
fn began_here(now: &RawTcp, moved: &Counters) -> bool {
    let read = now.bytes_received.saturating_sub(now.unread.into());
    now.bytes_acked <= moved.tx_bytes.saturating_add(2) && read <= moved.rx_bytes.saturating_add(2)
}

/// Returns how the sender spent the time between two samples. `busy` includes the other two
/// counters.
fn time(before: &TcpSample, now: &TcpSample) -> Option<SendTime> {
    let since = |field: fn(&TcpSample) -> u32| field(now).wrapping_sub(field(before));
    let elapsed = since(|tcp| tcp.jiffies);
    let (window, buffer) = (
        since(|tcp| tcp.rwnd_limited),
        since(|tcp| tcp.sndbuf_limited),
    );
    let in_flight = since(|tcp| tcp.busy).checked_sub(window.checked_add(buffer)?)?;
    (elapsed >= MIN_JIFFIES).then(|| SendTime::of(elapsed, window, buffer, in_flight))?
}

/// Returns what limited the sender between two samples: see [`SendLimit`].
fn limit(before: &TcpSample, now: &TcpSample) -> Option<SendLimit> {
    let since = |field: fn(&TcpSample) -> u32| field(now).wrapping_sub(field(before));
    let elapsed = since(|tcp| tcp.jiffies);
    let half = |ticks: u32| u64::from(ticks) * 2 >= u64::from(elapsed);
    if elapsed < MIN_JIFFIES {
        None
    } else if half(since(|tcp| tcp.rwnd_limited)) {
        Some(SendLimit::ReceiverWindow)
    } else if half(since(|tcp| tcp.sndbuf_limited)) {
        Some(SendLimit::SendBuffer)
    } else if since(|tcp| tcp.retransmits) > 0 {
        Some(SendLimit::Loss)
    } else if !half(since(|tcp| tcp.busy)) && since(|tcp| tcp.busy) > 0 {
        Some(SendLimit::Application)
    } else {
        None
    }
}

#[cfg(test)]
mod tests;
