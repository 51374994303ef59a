//! Turns readings of a TCP socket's cumulative counters into what they say of an interval.

use std::collections::HashMap;
use std::mem;

use super::skel::RawTcp;
use crate::flow::{Counters, Endpoint, Flow, Limit, Packets, Tcp};

/// Sockets remembered, 105 bytes each, or twice as many as were seen in the last interval if that is
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
    /// Whether `now` is the first reading.
    is_first: bool,
    now: Reading,
    /// The flow of the interval that has the socket's packets and retransmits: the one that moved most.
    place: u32,
    /// Bytes that flow moved.
    most: u64,
    /// What all flows of the socket moved in the interval.
    moved: Counters,
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

impl Reading {
    /// Zero before, as of a connection that began in the interval.
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

    /// Appends a flow whose socket, at address `sk`, reads `raw`. Several flows of an interval may share a
    /// socket (threads, processes after fork(2)): its packets and retransmits go to the one that moved
    /// most, and the others have none, so that sums over flows are the socket's.
    pub fn append(&mut self, sk: u64, raw: &RawTcp, mut flow: Flow, flows: &mut Vec<Flow>) {
        let interval = self.interval;
        let now = Reading::from(raw);
        let place = u32::try_from(flows.len()).unwrap_or(u32::MAX);
        let moved = flow.counters;
        let bytes = moved.rx_bytes + moved.tx_bytes;
        flow.tcp = Some(state(raw));
        let known = self.sockets.get_mut(&sk);
        match known.filter(|known| (known.local, known.remote) == (flow.key.local, flow.key.remote))
        {
            Some(socket) if socket.interval == interval => {
                socket.moved += moved;
                socket.share(bytes, place, &mut flow, flows);
                if socket.is_first
                    && began_here(raw, &socket.moved)
                    && let Some(first) = flow_at(socket.place, &mut flow, flows)
                {
                    attribute(first, &socket.now, &Reading::NONE);
                }
            }
            Some(socket) => {
                let before = mem::replace(&mut socket.now, now);
                (socket.interval, socket.is_first) = (interval, false);
                (socket.place, socket.most, socket.moved) = (place, bytes, moved);
                attribute(&mut flow, &now, &before);
                if let Some(tcp) = &mut flow.tcp {
                    tcp.limit = limit(&before, &now);
                }
            }
            None => {
                if began_here(raw, &moved) {
                    attribute(&mut flow, &now, &Reading::NONE);
                }
                let socket = Socket {
                    local: flow.key.local,
                    remote: flow.key.remote,
                    interval,
                    is_first: true,
                    now,
                    place,
                    most: bytes,
                    moved,
                };
                self.sockets.insert(sk, socket);
            }
        }
        flows.push(flow);
    }
}

impl Socket {
    /// Settles between one more flow of the socket and the one that moved most so far.
    fn share(&mut self, bytes: u64, place: u32, flow: &mut Flow, flows: &mut [Flow]) {
        let Some(first) = flows.get_mut(self.place as usize) else {
            return;
        };
        let (Some(theirs), Some(mine)) = (&mut first.tcp, &mut flow.tcp) else {
            return;
        };
        mine.limit = theirs.limit;
        (mine.retransmits, flow.packets) = (Some(0), Some(Packets::default()));
        if bytes > self.most {
            (self.place, self.most) = (place, bytes);
            mem::swap(&mut mine.retransmits, &mut theirs.retransmits);
            mem::swap(&mut flow.packets, &mut first.packets);
        }
    }
}

/// The flow at a place, where the next place is that of `flow`.
fn flow_at<'a>(place: u32, flow: &'a mut Flow, flows: &'a mut [Flow]) -> Option<&'a mut Flow> {
    let place = place as usize;
    match place == flows.len() {
        true => Some(flow),
        false => flows.get_mut(place),
    }
}

/// Gives a flow what its socket did between two readings.
fn attribute(flow: &mut Flow, now: &Reading, before: &Reading) {
    flow.packets = Some(now.packets_since(before));
    if let Some(tcp) = &mut flow.tcp {
        tcp.retransmits = Some(now.retransmits_since(before));
    }
}

/// The state of a connection, without what takes two readings.
const fn state(raw: &RawTcp) -> Tcp {
    Tcp {
        srtt_us: raw.srtt_us,
        cwnd: raw.cwnd,
        unacked: raw.unacked,
        notsent: raw.notsent,
        snd_wnd: raw.snd_wnd,
        rcv_wnd: raw.rcv_wnd,
        total_retransmits: raw.retransmits,
        retransmits: None,
        limit: None,
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
    use std::sync::Arc;

    use super::*;
    use crate::flow::{FlowKey, Owner};
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

    /// Appends a flow to those of the interval.
    fn append(
        samples: &mut Samples,
        flows: &mut Vec<Flow>,
        sk: u64,
        key: FlowKey,
        moved: &Counters,
        raw: &RawTcp,
    ) {
        let flow = Flow::new(key, *moved, Arc::new(Owner::default()));
        samples.append(sk, raw, flow, flows);
    }

    /// What an interval's only flow has.
    fn take(
        samples: &mut Samples,
        sk: u64,
        key: &FlowKey,
        moved: &Counters,
        raw: &RawTcp,
    ) -> (Tcp, Option<Packets>) {
        let mut flows = Vec::new();
        append(samples, &mut flows, sk, *key, moved, raw);
        (flows[0].tcp.unwrap(), flows[0].packets)
    }

    /// Packets and retransmits of each flow.
    fn shares(flows: &[Flow]) -> Vec<(Option<u64>, Option<u32>)> {
        let share = |flow: &Flow| (flow.packets.map(|it| it.rx), flow.tcp.unwrap().retransmits);
        flows.iter().map(share).collect()
    }

    #[test]
    fn an_interval_has_what_came_since_the_last() {
        let mut samples = Samples::default();
        samples.next_interval();
        take(&mut samples, 1, &key(1), &LITTLE, &reading(3, 10));
        samples.next_interval();
        samples.next_interval();
        let (tcp, packets) = take(&mut samples, 1, &key(1), &LITTLE, &reading(5, 14));
        assert_eq!((tcp.retransmits, tcp.total_retransmits), (Some(2), 5));
        assert_eq!(packets, Some(Packets { rx: 4, tx: 8 }));
    }

    #[test]
    fn flows_that_share_a_socket_add_up_to_its_counters() {
        let sizes = [7, 900, 30];
        let moved = sizes.map(|tx_bytes| Counters { tx_bytes, ..LITTLE });
        let flow_of = |n: usize| FlowKey {
            tgid: n as u32 + 10,
            ..key(2)
        };
        let mut samples = Samples::default();
        let mut interval = |retransmits, segs| {
            samples.next_interval();
            let mut flows = Vec::new();
            for (n, moved) in moved.iter().enumerate() {
                let raw = reading(retransmits, segs);
                append(&mut samples, &mut flows, 1, flow_of(n), moved, &raw);
            }
            shares(&flows)
        };
        let none = (Some(0), Some(0));
        assert_eq!(interval(3, 10), [none, (None, None), none]);
        // The flow that moved most has all of it, whichever is read first.
        assert_eq!(interval(5, 14), [none, (Some(4), Some(2)), none]);
    }

    #[test]
    fn a_connection_that_several_flows_began_together_began_in_the_interval() {
        let mut samples = Samples::default();
        samples.next_interval();
        let mut flows = Vec::new();
        let half = |rx_bytes, tx_bytes| Counters {
            rx_bytes,
            tx_bytes,
            ..MOVED
        };
        for (n, moved) in [half(500, 400), half(0, 599)].iter().enumerate() {
            let key = FlowKey {
                tid: n as u32,
                ..key(2)
            };
            append(&mut samples, &mut flows, 1, key, moved, &reading(3, 10));
        }
        assert_eq!(shares(&flows), [(Some(10), Some(3)), (Some(0), Some(0))]);
    }

    #[test]
    fn what_an_older_connection_did_before_is_nobodys() {
        let mut samples = Samples::default();
        samples.next_interval();
        let (tcp, packets) = take(&mut samples, 1, &key(1), &LITTLE, &reading(3, 10));
        assert_eq!((tcp.retransmits, packets), (None, None));
        let (tcp, packets) = take(&mut samples, 2, &key(1), &MOVED, &reading(3, 10));
        assert_eq!(tcp.retransmits, Some(3));
        assert_eq!(packets, Some(Packets { rx: 10, tx: 20 }));
    }

    #[test]
    fn sockets_that_are_silent_for_longest_are_forgotten() {
        let mut samples = Samples::default();
        for interval in 0..100 {
            samples.next_interval();
            for n in 0..1000 {
                take(
                    &mut samples,
                    interval * 1000 + n,
                    &key(1),
                    &LITTLE,
                    &reading(3, 10),
                );
            }
            assert!(samples.sockets.len() <= SOCKETS + 1000);
        }
        assert!(samples.sockets.len() > SOCKETS / 2);
        assert!(samples.sockets.contains_key(&99_000) && !samples.sockets.contains_key(&0));
        // Those of the last interval stay, however many.
        samples.next_interval();
        for sk in 0..100_000 {
            take(&mut samples, sk, &key(1), &LITTLE, &reading(3, 10));
        }
        samples.next_interval();
        assert_eq!(samples.sockets.len(), 100_000);
    }

    #[test]
    fn an_address_used_again_is_another_socket() {
        let mut samples = Samples::default();
        samples.next_interval();
        take(&mut samples, 1, &key(1), &MOVED, &reading(3, 10));
        samples.next_interval();
        let (tcp, _) = take(&mut samples, 1, &key(9), &MOVED, &reading(4, 10));
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
