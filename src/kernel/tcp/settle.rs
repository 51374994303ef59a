//! The end of an interval's audit: selects the sockets to read again, and determines the drift.

use std::sync::Arc;
use std::time::Duration;

use super::super::audit::{self, ConnectionAudit};
use super::super::skel::{RawKey6, RawTcp, TCP_BUSY, TCP_READ};
use super::{AuditMode, Socket, TcpSamples};
use crate::model::flow::{Counters, Flow};
use crate::model::interval::{Audit, DriftingConnection};

/// Maximum number of sockets that are read again in an interval: those with bytes that may be
/// missing, and those with idle flows.
pub const MAX_INSPECTED: usize = 1024;
/// Number of intervals after its last bytes in which a socket is read again.
const WATCHED_FOR: u32 = 10;
/// Number of flips before which connections are read after an interval with missed calls: two
/// readings that agree establish the drift, and a third is for a connection that a call held at one
/// of them.
const READ_SOON_FOR: u32 = 3;

/// Maximum number of processes whose threads are looked at in an interval.
const MAX_DOUBTED: usize = 64;

/// A socket to be read, by its address and ends.
#[derive(Clone, Copy)]
pub struct Inspect {
    pub sk: u64,
    pub ends: RawKey6,
}

impl TcpSamples {
    /// Notes whether calls were missed in the interval that has ended.
    pub const fn note_missed(&mut self, has_missed: bool) {
        if has_missed {
            self.missed_in = Some(self.interval);
        }
    }

    /// Returns the sockets to read right before the flip, for [`note_soon`](Self::note_soon): those
    /// that moved bytes recently, if calls were missed a short time ago.
    pub fn sockets_before_flip(&self) -> Vec<Inspect> {
        let age = self.missed_in.map(|it| self.interval.wrapping_sub(it));
        if age.is_none_or(|age| age >= READ_SOON_FOR) || self.mode == AuditMode::Off {
            return Vec::new();
        }
        let to_inspect = self.watched.iter().filter_map(|&sk| {
            let socket = self.sockets.get(&sk).filter(|it| !it.audit.is_exempt)?;
            let ends = socket.ends;
            Some(Inspect { sk, ends })
        });
        to_inspect.take(MAX_INSPECTED).collect()
    }

    /// Records the samples read right before the flip. Returns the sockets that a call holds, which
    /// may be read again.
    pub fn note_soon(&mut self, read: &[(u64, RawTcp)]) -> Vec<u64> {
        let mut in_call = Vec::new();
        for (sk, raw) in read {
            let Some(socket) = self.sockets.get_mut(sk) else {
                continue;
            };
            if raw.marks & TCP_READ == 0 {
                continue;
            }
            if raw.marks & TCP_BUSY == 0 {
                socket.audit.turn_soon(raw);
                self.soon.push(*sk);
            } else {
                in_call.push(*sk);
            }
        }
        in_call
    }

    /// Returns the processes of connections whose bytes may be missing. Their calls that are under
    /// way now must have ended before the next flip, or be reported by [`hold`](Self::hold).
    pub fn doubted_processes(&self) -> &[u32] {
        &self.doubted
    }

    /// Notes, right before the flip, the processes that may have such a call under way still.
    pub fn hold(&mut self, held: impl Iterator<Item = u32>) {
        self.held.clear();
        self.held.extend(held);
    }

    /// Drops the samples read right before the flip.
    fn forget_soon(&mut self) {
        for sk in self.soon.drain(..) {
            if let Some(socket) = self.sockets.get_mut(&sk) {
                socket.audit.forget_soon();
            }
        }
    }

    /// Returns the sockets to read again before [`settle`](Self::settle), after all flows were
    /// appended.
    pub fn sockets_to_inspect(&mut self) -> Vec<Inspect> {
        if self.is_blind || self.mode == AuditMode::Off {
            self.forget_audits();
            return Vec::new();
        }
        self.doubtful.sort_unstable();
        self.doubtful.dedup();
        // A reused address is watched for both sockets; if it were read twice, the second sample
        // would be taken for that of another interval.
        self.watched.sort_unstable();
        self.watched.dedup();
        let (interval, sockets) = (self.interval, &mut self.sockets);
        let mut silent = Vec::new();
        self.watched.retain(|sk| {
            let Some(socket) = sockets.get_mut(sk) else {
                return false;
            };
            socket.is_watched = interval.wrapping_sub(socket.moved_in) <= WATCHED_FOR;
            if socket.is_watched && socket.interval != interval {
                silent.push(*sk);
            }
            socket.is_watched
        });
        let to_inspect = self.doubtful.iter().chain(&silent);
        let to_inspect = to_inspect.filter_map(|&sk| {
            let ends = sockets.get(&sk)?.ends;
            Some(Inspect { sk, ends })
        });
        to_inspect.take(MAX_INSPECTED).collect()
    }

    /// Ends the interval with the samples of the sockets that were read again. Bytes that no probe
    /// sees are added to the connection's flow.
    pub fn settle(
        &mut self,
        now: Duration,
        inspected: &[(u64, RawTcp)],
        flows: &mut Vec<Flow>,
    ) -> Audit {
        let credited_since = self.credits.then_some(self.settled);
        self.settled = now;
        let arm = self.mode == AuditMode::AtOnce;
        let mut silent_and_off = 0;
        self.doubted.clear();
        for (sk, raw) in inspected {
            if raw.marks & TCP_READ == 0 {
                self.sockets.remove(sk);
                continue;
            }
            let Some(socket) = self.sockets.get_mut(sk) else {
                continue;
            };
            let before = self.audit.drift;
            let is_silent = socket.interval != self.interval;
            if audit::is_exempt(raw) {
                socket.audit = ConnectionAudit::exempt();
                if !is_silent {
                    self.audit.connections = self.audit.connections.saturating_sub(1);
                    self.audit.exempt += 1;
                }
                continue;
            }
            if is_silent {
                socket.read_again(self.interval, raw, arm, &mut self.audit);
            }
            let is_busy = raw.marks & TCP_BUSY != 0;
            let is_held = self.held.contains(&socket.key.tgid);
            if is_held {
                // Watched until the threads have run, although no byte moves.
                socket.moved_in = self.interval;
            }
            let mut change = (socket.audit).confirm(now, is_busy, is_held, credited_since);
            if socket.audit.is_pending()
                && self.doubted.len() < MAX_DOUBTED
                && !self.doubted.contains(&socket.key.tgid)
            {
                self.doubted.push(socket.key.tgid);
            }
            if self.credits {
                let credit = socket.audit.credit();
                change.rx -= credit.cast_signed();
                socket.add(credit, is_silent, flows);
                self.audit.connections += u64::from(is_silent && credit > 0);
            }
            self.audit.drift += change;
            if before != self.audit.drift {
                self.drifting.push(*sk);
                // A connection without a row is counted if it has drift.
                self.audit.connections += u64::from(is_silent);
                let is_off = !socket.audit.drift().is_zero();
                silent_and_off += u64::from(is_silent && is_off);
            }
        }
        self.forget_soon();
        let off = silent_and_off + self.note_drifting();
        self.audit.agreeing = self.audit.connections.saturating_sub(off);
        self.audit
    }

    /// Finds the largest drift. Returns the number of connections of rows that have drift.
    fn note_drifting(&mut self) -> u64 {
        self.drifting.sort_unstable();
        self.drifting.dedup();
        let (interval, sockets, found) = (self.interval, &self.sockets, &mut self.audit);
        let mut off = 0;
        let is_news = !found.drift.is_zero();
        self.drifting.retain(|sk| {
            let socket = sockets.get(sk).filter(|it| !it.audit.drift().is_zero());
            let Some(socket) = socket else {
                return false;
            };
            let is_here = socket.interval == interval;
            off += u64::from(is_here);
            if is_here || is_news {
                found.note(DriftingConnection {
                    key: socket.key,
                    comm: socket.owner.comm,
                    drift: socket.audit.drift(),
                });
            }
            true
        });
        off
    }

    /// Resets the audit: the interval's counts cannot be compared.
    fn forget_audits(&mut self) {
        for socket in self.sockets.values_mut() {
            socket.audit = ConnectionAudit::default();
        }
        self.doubtful.clear();
        self.drifting.clear();
        let exempt = self.audit.exempt + self.audit.connections;
        self.audit = Audit {
            exempt,
            ..Audit::default()
        };
    }
}

impl Socket {
    /// Adds bytes that no probe saw to the socket's flow, or to a new flow if it has none in the
    /// interval.
    fn add(&self, credit: u64, is_silent: bool, flows: &mut Vec<Flow>) {
        if credit == 0 {
            return;
        }
        let flow_index = self.flow_index as usize;
        match flows.get_mut(flow_index).filter(|_| !is_silent) {
            Some(flow) => {
                flow.counters.rx_bytes += credit;
                flow.audited_rx += credit;
            }
            None => {
                let moved = Counters {
                    rx_bytes: credit,
                    ..Counters::default()
                };
                let mut flow = Flow::new(self.key, moved, Arc::clone(&self.owner));
                flow.audited_rx = credit;
                flows.push(flow);
            }
        }
    }

    /// Records the sample of a socket without counted bytes in the interval.
    fn read_again(&mut self, interval: u32, raw: &RawTcp, arm: bool, audit: &mut Audit) {
        if self.audit.turn(raw) {
            audit.drift += self.audit.count(&Counters::default());
        } else {
            self.audit = ConnectionAudit::begin(raw, &Counters::default(), arm);
        }
        if self.audit.has_moved() {
            self.moved_in = interval;
        }
    }
}

#[cfg(test)]
mod tests;
