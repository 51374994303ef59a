//! Turns readings of a TCP socket's cumulative counters into what they say of an interval.

use std::collections::HashMap;
use std::mem;

use super::skel::RawTcp;
use crate::flow::{Counters, Endpoint, FlowKey, Limit, Packets, Tcp};

/// Sockets remembered, 113 bytes each, or twice as many as were seen in the last interval if that is
/// more. One forgotten is as one seen for the first time.
const SOCKETS: usize = 16_384;
/// Clock ticks below which shares of the time say nothing.
const MIN_JIFFIES: u32 = 4;

/// The last readings of every socket.
#[derive(Default)]
pub struct Samples {
    /// Wraps after a century of seconds.
    interval: u32,
    sockets: HashMap<u64, Socket>,
}

struct Socket {
    /// An address in the kernel is soon another socket's.
    local: Endpoint,
    remote: Endpoint,
    interval: u32,
    now: Reading,
    /// Of the interval before, or `None` if this is the first. Processes that share a socket share
    /// both readings.
    before: Option<Reading>,
}

/// What differences are made of: as in [`RawTcp`].
#[derive(Clone, Copy)]
struct Reading {
    retransmits: u32,
    segs_in: u32,
    segs_out: u32,
    jiffies: u32,
    busy: u32,
    rwnd_limited: u32,
    sndbuf_limited: u32,
}

impl From<&RawTcp> for Reading {
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

impl Samples {
    /// To be called before an interval's first reading.
    pub fn next_interval(&mut self) {
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
        // The half that was silent for longest goes, so that this is rare.
        let half = seen.len() / 2;
        let (_, &mut oldest, _) = seen.select_nth_unstable(half);
        self.sockets.retain(|_, socket| socket.interval >= oldest);
    }

    /// What the reading of the socket at address `sk` says, whose flow moved `moved` in the interval.
    pub fn take(
        &mut self,
        sk: u64,
        key: &FlowKey,
        moved: &Counters,
        raw: &RawTcp,
    ) -> (Tcp, Option<Packets>) {
        let interval = self.interval;
        let now = Reading::from(raw);
        let before = match self.sockets.get_mut(&sk) {
            Some(socket) if (socket.local, socket.remote) == (key.local, key.remote) => {
                if socket.interval != interval {
                    socket.interval = interval;
                    socket.before = Some(mem::replace(&mut socket.now, now));
                }
                socket.before
            }
            _ => {
                let socket = Socket {
                    local: key.local,
                    remote: key.remote,
                    interval,
                    now,
                    before: None,
                };
                self.sockets.insert(sk, socket);
                None
            }
        };
        let began = before.is_none() && began_here(raw, moved);
        let since = |field: fn(&Reading) -> u32| match &before {
            Some(before) => Some(field(&now).wrapping_sub(field(before))),
            None => began.then(|| field(&now)),
        };
        let retransmits = since(|tcp| tcp.retransmits);
        let packets = since(|tcp| tcp.segs_in).zip(since(|tcp| tcp.segs_out));
        let tcp = Tcp {
            srtt_us: raw.srtt_us,
            cwnd: raw.cwnd,
            unacked: raw.unacked,
            notsent: raw.notsent,
            snd_wnd: raw.snd_wnd,
            rcv_wnd: raw.rcv_wnd,
            total_retransmits: raw.retransmits,
            retransmits,
            limit: before.and_then(|before| limit(&before, &now)),
        };
        let packets = packets.map(|(rx, tx)| Packets {
            rx: rx.into(),
            tx: tx.into(),
        });
        (tcp, packets)
    }
}

/// Whether a connection seen for the first time began in the interval: all it ever moved is what the
/// flow moved now, but for the sequence numbers of SYN and FIN. One that did more before was there
/// before flowtop looked, and how much of its counts belongs to the interval is not known.
/// The socket is read a moment after the interval's end: one that receives at that moment is taken for
/// an older one too, which leaves its first interval without numbers rather than with wrong ones.
fn began_here(now: &RawTcp, moved: &Counters) -> bool {
    let read = now.bytes_received.saturating_sub(now.unread.into());
    now.bytes_acked <= moved.tx_bytes.saturating_add(2) && read <= moved.rx_bytes.saturating_add(2)
}

/// What held the sender back between two readings: see [`Limit`].
fn limit(before: &Reading, now: &Reading) -> Option<Limit> {
    let since = |field: fn(&Reading) -> u32| field(now).wrapping_sub(field(before));
    let elapsed = since(|tcp| tcp.jiffies);
    let half = |ticks: u32| u64::from(ticks) * 2 >= u64::from(elapsed);
    if elapsed < MIN_JIFFIES {
        None
    } else if half(since(|tcp| tcp.rwnd_limited)) {
        Some(Limit::ReceiverWindow)
    } else if half(since(|tcp| tcp.sndbuf_limited)) {
        Some(Limit::SendBuffer)
    } else if since(|tcp| tcp.retransmits) > 0 {
        Some(Limit::Loss)
    } else if !half(since(|tcp| tcp.busy)) && since(|tcp| tcp.busy) > 0 {
        Some(Limit::Application)
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::key;

    fn reading(retransmits: u32, segs: u32) -> RawTcp {
        RawTcp {
            bytes_acked: 1000,
            bytes_received: 500,
            retransmits,
            segs_in: segs,
            segs_out: segs * 2,
            ..RawTcp::default()
        }
    }

    const MOVED: Counters = Counters {
        rx_bytes: 500,
        tx_bytes: 999,
        rx_msgs: 1,
        tx_msgs: 1,
    };
    const LITTLE: Counters = Counters {
        tx_bytes: 10,
        ..MOVED
    };

    #[test]
    fn an_interval_has_what_came_since_the_last() {
        let mut samples = Samples::default();
        samples.next_interval();
        samples.take(1, &key(1), &LITTLE, &reading(3, 10));
        samples.next_interval();
        samples.next_interval();
        let (tcp, packets) = samples.take(1, &key(1), &LITTLE, &reading(5, 14));
        assert_eq!((tcp.retransmits, tcp.total_retransmits), (Some(2), 5));
        assert_eq!(packets, Some(Packets { rx: 4, tx: 8 }));
    }

    #[test]
    fn processes_that_share_a_socket_see_the_same() {
        let mut samples = Samples::default();
        for total in [3, 5] {
            samples.next_interval();
            samples.take(1, &key(2), &LITTLE, &reading(total, 10));
        }
        let again = samples.take(1, &key(2), &LITTLE, &reading(5, 10)).0;
        assert_eq!(again.retransmits, Some(2));
    }

    #[test]
    fn what_an_older_connection_did_before_is_nobodys() {
        let mut samples = Samples::default();
        samples.next_interval();
        let (tcp, packets) = samples.take(1, &key(1), &LITTLE, &reading(3, 10));
        assert_eq!((tcp.retransmits, packets), (None, None));
        let (tcp, packets) = samples.take(2, &key(1), &MOVED, &reading(3, 10));
        assert_eq!(tcp.retransmits, Some(3));
        assert_eq!(packets, Some(Packets { rx: 10, tx: 20 }));
    }

    #[test]
    fn sockets_that_are_silent_for_longest_are_forgotten() {
        let mut samples = Samples::default();
        for interval in 0..100 {
            samples.next_interval();
            for n in 0..1000 {
                samples.take(interval * 1000 + n, &key(1), &LITTLE, &reading(3, 10));
            }
            assert!(samples.sockets.len() <= SOCKETS + 1000);
        }
        assert!(samples.sockets.len() > SOCKETS / 2);
        assert!(samples.sockets.contains_key(&99_000) && !samples.sockets.contains_key(&0));
        // Those of the last interval stay, however many.
        samples.next_interval();
        for sk in 0..100_000 {
            samples.take(sk, &key(1), &LITTLE, &reading(3, 10));
        }
        samples.next_interval();
        assert_eq!(samples.sockets.len(), 100_000);
    }

    #[test]
    fn an_address_used_again_is_another_socket() {
        let mut samples = Samples::default();
        samples.next_interval();
        samples.take(1, &key(1), &MOVED, &reading(3, 10));
        samples.next_interval();
        let (tcp, _) = samples.take(1, &key(9), &MOVED, &reading(4, 10));
        assert_eq!(tcp.retransmits, Some(4));
    }

    #[test]
    fn what_held_a_sender_back_is_told_by_the_kernels_clocks() {
        let before = Reading::from(&RawTcp::default());
        let tcp = |busy, rwnd_limited, sndbuf_limited, retransmits| Reading {
            jiffies: 100,
            busy,
            rwnd_limited,
            sndbuf_limited,
            retransmits,
            ..before
        };
        assert_eq!(
            limit(&before, &tcp(90, 50, 0, 9)),
            Some(Limit::ReceiverWindow)
        );
        assert_eq!(limit(&before, &tcp(90, 0, 50, 0)), Some(Limit::SendBuffer));
        assert_eq!(limit(&before, &tcp(90, 49, 0, 1)), Some(Limit::Loss));
        assert_eq!(limit(&before, &tcp(49, 0, 0, 0)), Some(Limit::Application));
        assert_eq!(limit(&before, &tcp(90, 0, 0, 0)), None);
        assert_eq!(limit(&before, &tcp(0, 0, 0, 0)), None, "it sent nothing");
        assert_eq!(limit(&tcp(0, 0, 0, 0), &tcp(90, 90, 0, 0)), None, "no time");
    }
}
