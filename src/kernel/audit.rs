//! Compares the bytes counted of a TCP connection with the kernel's own sequence counters.
//!
//! A socket's *position* is the number of bytes that its processes have read, or written, since the
//! connection began. Bytes move before they are counted, so a position read after flip k is at
//! least the bytes counted up to flip k, and at most the bytes counted up to flip k+1. Both bounds
//! are sums since the first reading: a loss that one interval hides appears in the next reading.
//!
//! The *level* is position minus counted bytes, above its lowest possible value since the first
//! reading. Bytes counted after the reading make it positive; if it stays positive after flip k+1,
//! bytes were not counted. A call counts when it returns, so the level must stay up for [`MIN_AGE`]
//! and a second reading before it is *drift*. If a longer call returns later, or the lowest level
//! turns out to be lower, the drift is taken back.
//!
//! Between its bytes and their count a call does not sleep, but its thread may be preempted and
//! wait for a processor. So a level is no drift yet while a thread of the connection's process,
//! runnable after the reading that raised the level, has neither slept nor run until the next flip
//! ([`RunnableThreads`](super::runnable::RunnableThreads)). If all have, every call whose bytes that
//! reading includes has counted them, or sleeps within the call, and the rest was lost.
//!
//! For a connection that stays busy this shows only losses that exceed an interval's bytes: bytes
//! counted in the interval may have moved before or after the reading at its beginning. If the
//! kernel reports skipped runs of programs, a position is therefore also read right before the
//! flip. Bytes that had moved by then and are not counted at the flip are lost, or belong to calls
//! that are just returning. The number and the delay of such calls is unknown. So this reading
//! alone is no sign of drift: it only gives the size of a drift whose cause is known, and a level
//! below [`Ledger::returning`] is ignored.

use std::time::Duration;

use super::skel::{
    RawTcp, TCP_OTHER_PROTO, TCP_REPAIR, TCP_RX_TORN, TCP_TX_TORN, TCP_ULP, TCP_URGENT,
};
use crate::model::flow::Counters;
use crate::model::interval::Drift;

/// Minimum age of a level before it is drift, for threads that flowtop cannot look at: those of the
/// kernel, and of processes that `/proc` hides.
pub const MIN_AGE: Duration = Duration::from_millis(90);

/// Number of threads, per process and connection, assumed to wait for a processor between a call's
/// bytes and their count at two consecutive flips.
const RETURNING: i64 = 4;

/// Marks of sockets whose counters differ from the bytes that calls return: kTLS, sockmap,
/// TCP_REPAIR, urgent data.
const EXEMPT: u32 = TCP_ULP | TCP_OTHER_PROTO | TCP_REPAIR | TCP_URGENT;

/// States of enum tcp_state (include/net/tcp_states.h) in which this end's FIN was written, and in
/// which the peer's was received.
const FIN_WRITTEN: [u32; 4] = [4, 5, 9, 11];
/// Those of FIN_WRITTEN in which the FIN may have no sequence number yet: tcp_close() and
/// tcp_shutdown() set the state before tcp_send_fin() takes the number, and may wait for a
/// processor in between. The others follow from segments that the socket takes only after that
/// call.
const FIN_NOT_NUMBERED: [u32; 2] = [4, 9];
const FIN_RECEIVED: [u32; 4] = [6, 8, 9, 11];

/// Returns whether an inspected socket cannot be audited: its counters do not count what calls
/// return.
pub const fn is_exempt(raw: &RawTcp) -> bool {
    raw.marks & EXEMPT != 0
}

/// Position of a connection in one direction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StreamPosition {
    /// Bytes since the connection began. Sent bytes include one more if this end sent a SYN.
    pub bytes: u64,
    /// Difference of the byte counter and the sequence number: constant for the life of a
    /// connection.
    origin: u32,
    /// Whether, by the state, the last sequence number, which `bytes` leaves out, is a FIN.
    has_fin: bool,
    /// Whether that FIN may have no sequence number yet: `bytes` is right or one too low.
    is_unsure: bool,
}

impl StreamPosition {
    /// Returns the position of the bytes that were read; `None` if segments arrived during the
    /// sample.
    pub fn read(raw: &RawTcp) -> Option<Self> {
        if raw.marks & TCP_RX_TORN != 0 {
            return None;
        }
        // The FIN is the last sequence number. A FIN that was received and is not unread was read.
        let fin = raw.unread == 0 && FIN_RECEIVED.contains(&raw.state);
        let bytes = raw.bytes_received.wrapping_sub(raw.unread.into());
        Some(Self {
            bytes: bytes.wrapping_sub(fin.into()),
            origin: low_half(raw.bytes_received).wrapping_sub(raw.rcv_nxt),
            has_fin: fin,
            is_unsure: false,
        })
    }

    /// Returns the position of the bytes that were written; `None` if acknowledgements arrived
    /// during the sample.
    pub fn written(raw: &RawTcp) -> Option<Self> {
        if raw.marks & TCP_TX_TORN != 0 {
            return None;
        }
        let fin = FIN_WRITTEN.contains(&raw.state);
        let ahead = raw.unacked.wrapping_add(raw.notsent);
        let bytes = raw.bytes_acked.wrapping_add(ahead.into());
        Some(Self {
            bytes: bytes.wrapping_sub(fin.into()),
            origin: low_half(raw.bytes_acked).wrapping_sub(raw.snd_una),
            has_fin: fin,
            is_unsure: FIN_NOT_NUMBERED.contains(&raw.state),
        })
    }
}

#[expect(clippy::cast_possible_truncation, reason = "sequence numbers wrap")]
const fn low_half(bytes: u64) -> u32 {
    bytes as u32
}

/// One direction of a connection.
#[derive(Debug, Default)]
pub struct Ledger {
    position: Option<StreamPosition>,
    /// Whether `position` is the first one, to which the level is relative.
    is_first: bool,
    level: i64,
    /// Bytes by which the last reading raised the level; the level before is that at the flip.
    raised: i64,
    /// Whether flowtop saw the connection begin: its level was 0 then, and cannot become lower.
    is_whole: bool,
    /// Whether every call that was under way when flowtop started has returned.
    is_armed: bool,
    /// Whether the last reading belongs to this interval; false if the sample was torn.
    is_read: bool,
    /// Bytes by which the last reading may be too low: 1 if its FIN may have no sequence number
    /// yet.
    slack: i64,
    /// Bytes that moved and were not counted; negative for bytes that were counted and did not
    /// move.
    drift: i64,
    /// Bytes treated as counted although no probe saw them.
    credited: i64,
    /// Time since which the level has been above the drift at every flip, and the lowest of these
    /// levels.
    pending: Option<(Duration, i64)>,
    /// Bytes from the position of the interval before to the one right before the flip; `None` if
    /// the latter was not read.
    ahead: Option<i64>,
    /// Bytes that may belong to calls that are just returning: [`RETURNING`] messages of each flow
    /// of the interval.
    returning: i64,
}

impl Ledger {
    /// Records the reading after an interval. Returns false if it belongs to another connection, or
    /// is the first.
    fn turn(&mut self, now: Option<StreamPosition>) -> bool {
        let Some(last) = self.position else {
            return false;
        };
        (self.raised, self.slack, self.is_read) = (0, 0, now.is_some());
        self.returning = 0;
        let Some(now) = now else {
            return true;
        };
        self.slack = i64::from(now.is_unsure);
        let moved = now.bytes.wrapping_sub(last.bytes).cast_signed();
        if now.origin != last.origin || moved < -1 {
            return false;
        }
        // A difference of -1: the FIN has no sequence number now, or an earlier reading caught the
        // FIN after a state without it.
        if moved == -1 && !now.is_unsure {
            self.level = self.level.wrapping_sub((!self.is_first).into());
            self.position = Some(now);
        }
        self.raised = moved.max(0);
        self.level = self.level.wrapping_add(self.raised);
        if moved > 0 {
            (self.position, self.is_first) = (Some(now), false);
        }
        true
    }

    /// Records a reading right before the flip. FINs are left to the reading after the flip.
    fn turn_soon(&mut self, now: Option<StreamPosition>) {
        let (last, now) = (self.position, now.filter(|now| !now.has_fin));
        let same = last
            .zip(now)
            .filter(|(last, now)| last.origin == now.origin);
        let moved = same.map(|(last, now)| now.bytes.wrapping_sub(last.bytes).cast_signed());
        self.ahead = moved.filter(|&moved| moved >= 0);
    }

    /// Treats the drift as counted and returns it, in bytes.
    const fn credit(&mut self) -> u64 {
        if self.drift <= 0 {
            return 0;
        }
        let credit = self.drift;
        self.drift = 0;
        self.level = self.level.wrapping_sub(credit);
        self.credited = self.credited.wrapping_add(credit);
        if let Some((_, least)) = &mut self.pending {
            *least = least.wrapping_sub(credit);
        }
        credit.unsigned_abs()
    }

    /// Takes back credited bytes that a long call has counted since. Returns how many of `counted`
    /// these are.
    fn give_back(&mut self, counted: u64) -> u64 {
        if !self.is_read || !self.is_armed {
            return 0;
        }
        let after = self.level.wrapping_sub(counted.cast_signed());
        let back = after.saturating_neg().min(self.credited);
        let back = back.clamp(0, counted.cast_signed().max(0));
        self.credited = self.credited.wrapping_sub(back);
        back.unsigned_abs()
    }

    /// Adds the bytes counted in the interval whose end was read, moved by `messages` messages.
    /// Returns the change of the drift.
    fn count(&mut self, counted: u64, messages: u64) -> i64 {
        let message = counted.div_ceil(messages.max(1)).cast_signed();
        self.returning = self
            .returning
            .saturating_add(message.saturating_mul(RETURNING));
        if !self.is_armed {
            self.is_armed = counted > 0;
            (self.level, self.raised) = (0, 0);
            return 0;
        }
        self.level = self.level.wrapping_sub(counted.cast_signed());
        if !self.is_read {
            return 0;
        }
        if !self.is_whole {
            self.level = self.level.max(0);
        }
        let before = self.drift;
        self.drift = before.min(self.level.wrapping_add(self.slack));
        self.drift.wrapping_sub(before)
    }

    /// Returns the level at the flip. A level above 0 moved before the reading of the previous
    /// interval or, except for calls that are just returning, before the reading right before the
    /// flip.
    fn at_flip(&self) -> i64 {
        let sure = self.level.wrapping_sub(self.raised);
        let ahead = self.ahead.filter(|_| self.is_armed);
        ahead.map_or(sure, |ahead| {
            let late = sure.wrapping_add(ahead).wrapping_sub(self.returning);
            late.max(sure)
        })
    }

    fn is_doubtful(&self) -> bool {
        self.at_flip() > self.drift
    }

    /// Turns a level that has been too high for long enough into drift. `since` is the time from
    /// which a new level counts. `is_held` says that calls may not have counted yet. Returns the
    /// change of the drift.
    fn confirm(&mut self, now: Duration, since: Duration, is_held: bool) -> i64 {
        let level = self.at_flip();
        if level <= self.drift {
            self.pending = None;
            return 0;
        }
        let (since, least) = self.pending.unwrap_or((since, level));
        let least = least.min(level);
        if is_held || now.saturating_sub(since) < MIN_AGE || least <= self.drift {
            self.pending = Some((since, least));
            return 0;
        }
        let change = least.wrapping_sub(self.drift);
        self.drift = least;
        self.pending = (level > least).then_some((now, level));
        change
    }
}

/// Both directions of a connection.
#[derive(Debug, Default)]
pub struct ConnectionAudit {
    rx: Ledger,
    tx: Ledger,
    /// Whether its counters differ from the bytes that calls return: see [`is_exempt`].
    pub is_exempt: bool,
}

impl ConnectionAudit {
    /// Returns the audit of a connection read for the first time, after an interval in which it
    /// moved `moved`. `arm`: whether calls under way at flowtop's start are counted.
    pub fn begin(raw: &RawTcp, moved: &Counters, arm: bool) -> Self {
        let read = StreamPosition::read(raw);
        let written = StreamPosition::written(raw).filter(|now| !now.is_unsure);
        let level = |now: Option<StreamPosition>, counted: u64| {
            now.map(|now| now.bytes.wrapping_sub(counted).cast_signed())
        };
        let levels = level(read, moved.rx_bytes).zip(level(written, moved.tx_bytes));
        // The connecting end's sent bytes include its SYN. If more bytes were counted than the
        // connection moved, another connection had the same ends earlier in the interval.
        let is_whole = levels.is_some_and(|(rx, tx)| rx == 0 && (0..=1).contains(&tx));
        let ledger = |now, counted| Ledger {
            position: now,
            is_first: true,
            is_whole,
            is_armed: arm || is_whole || counted > 0,
            is_read: now.is_some(),
            ..Ledger::default()
        };
        Self {
            rx: ledger(read, moved.rx_bytes),
            tx: ledger(written, moved.tx_bytes),
            is_exempt: false,
        }
    }

    /// Returns the audit of a connection that cannot be audited.
    pub fn exempt() -> Self {
        Self {
            is_exempt: true,
            ..Self::default()
        }
    }

    /// Whether all bytes that the connection ever moved were counted.
    pub const fn is_whole(&self) -> bool {
        self.rx.is_whole
    }

    /// Records the reading after an interval, before its counted bytes. Returns false if it belongs
    /// to another connection, or is the first.
    pub fn turn(&mut self, raw: &RawTcp) -> bool {
        let rx = self.rx.turn(StreamPosition::read(raw));
        self.tx.turn(StreamPosition::written(raw)) && rx
    }

    /// Records a reading right before the flip, of a socket that no call holds.
    pub fn turn_soon(&mut self, raw: &RawTcp) {
        self.rx.turn_soon(StreamPosition::read(raw));
        self.tx.turn_soon(StreamPosition::written(raw));
    }

    /// Forgets the reading right before the flip, at the end of its interval.
    pub const fn forget_soon(&mut self) {
        (self.rx.ahead, self.tx.ahead) = (None, None);
    }

    /// Adds the bytes counted for one of the connection's flows. Returns the change of the drift:
    /// the part taken back.
    pub fn count(&mut self, moved: &Counters) -> Drift {
        Drift {
            rx: self.rx.count(moved.rx_bytes, moved.rx_msgs),
            tx: self.tx.count(moved.tx_bytes, moved.tx_msgs),
        }
    }

    /// Whether more bytes moved than were counted, perhaps only so far.
    pub fn is_doubtful(&self) -> bool {
        !self.is_exempt && (self.rx.is_doubtful() || self.tx.is_doubtful())
    }

    /// Clears levels kept from earlier intervals if no byte is missing.
    pub const fn calm(&mut self) {
        (self.rx.pending, self.tx.pending) = (None, None);
    }

    /// Whether a level is too high and may become drift at the next reading.
    pub const fn is_pending(&self) -> bool {
        self.rx.pending.is_some() || self.tx.pending.is_some()
    }

    /// Confirms drift, once an interval, and returns its change. A send under way causes no doubt.
    /// `is_held` says that calls may not have counted the bytes of the previous reading yet.
    ///
    /// `credited_since` is the time of the previous reading, where no probe sees some ways to
    /// receive. A credit can be taken back, so it needs no second interval.
    pub fn confirm(
        &mut self,
        now: Duration,
        is_busy: bool,
        is_held: bool,
        credited_since: Option<Duration>,
    ) -> Drift {
        if is_busy {
            self.tx.pending = None;
        }
        let tx = if is_busy {
            0
        } else {
            self.tx.confirm(now, now, is_held)
        };
        let is_held = is_held && credited_since.is_none();
        let since = credited_since.unwrap_or(now);
        Drift {
            rx: self.rx.confirm(now, since, is_held),
            tx,
        }
    }

    /// Treats missing received bytes as counted. Returns how many.
    pub const fn credit(&mut self) -> u64 {
        self.rx.credit()
    }

    /// Returns how many of a flow's received bytes were credited before a long call counted them.
    /// Call it before [`count`](Self::count).
    pub fn give_back(&mut self, moved: &Counters) -> u64 {
        self.rx.give_back(moved.rx_bytes)
    }

    /// Returns the drift found so far.
    pub const fn drift(&self) -> Drift {
        Drift {
            rx: self.rx.drift,
            tx: self.tx.drift,
        }
    }

    /// Whether bytes moved at the last reading.
    pub const fn has_moved(&self) -> bool {
        self.rx.raised | self.tx.raised != 0
    }
}
