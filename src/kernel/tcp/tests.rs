use std::sync::Arc;

use super::*;
use crate::model::flow::{FlowKey, Owner};
use crate::testing::key;

fn reading(retransmits: u32, segs: u32) -> RawTcp {
    RawTcp {
        bytes_acked: 1000,
        bytes_received: 500,
        retransmits,
        segs_in: segs,
        segs_out: segs * 2,
        marks: TCP_READ,
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
    samples: &mut TcpSamples,
    flows: &mut Vec<Flow>,
    sk: u64,
    key: FlowKey,
    moved: &Counters,
    raw: &RawTcp,
) {
    let flow = Flow::new(key, *moved, Arc::new(Owner::default()));
    let mut record = RawRecord {
        sk,
        tcp: *raw,
        ..RawRecord::default()
    };
    record.key.id.local_port = key.local.port;
    record.key.id.remote_port = key.remote.port;
    samples.append(&record, flow, flows);
}

/// What an interval's only flow has.
fn take(
    samples: &mut TcpSamples,
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
    let mut samples = TcpSamples::default();
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
    let mut samples = TcpSamples::default();
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
    let mut samples = TcpSamples::default();
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
    let mut samples = TcpSamples::default();
    samples.next_interval();
    let (tcp, packets) = take(&mut samples, 1, &key(1), &LITTLE, &reading(3, 10));
    assert_eq!((tcp.retransmits, packets), (None, None));
    let (tcp, packets) = take(&mut samples, 2, &key(1), &MOVED, &reading(3, 10));
    assert_eq!(tcp.retransmits, Some(3));
    assert_eq!(packets, Some(Packets { rx: 10, tx: 20 }));
}

#[test]
fn sockets_that_are_silent_for_longest_are_forgotten() {
    let mut samples = TcpSamples::default();
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
    // Sockets of the last interval stay, however many.
    samples.next_interval();
    for sk in 0..100_000 {
        take(&mut samples, sk, &key(1), &LITTLE, &reading(3, 10));
    }
    samples.next_interval();
    assert_eq!(samples.sockets.len(), 100_000);
}

#[test]
fn an_address_used_again_is_another_socket() {
    let mut samples = TcpSamples::default();
    samples.next_interval();
    take(&mut samples, 1, &key(1), &MOVED, &reading(3, 10));
    samples.next_interval();
    let (tcp, _) = take(&mut samples, 1, &key(9), &MOVED, &reading(4, 10));
    assert_eq!(tcp.retransmits, Some(4));
}

#[test]
fn what_held_a_sender_back_is_told_by_the_kernels_clocks() {
    let before = TcpSample::from(&RawTcp::default());
    let tcp = |busy, rwnd_limited, sndbuf_limited, retransmits| TcpSample {
        jiffies: 100,
        busy,
        rwnd_limited,
        sndbuf_limited,
        retransmits,
        ..before
    };
    assert_eq!(
        limit(&before, &tcp(90, 50, 0, 9)),
        Some(SendLimit::ReceiverWindow)
    );
    assert_eq!(
        limit(&before, &tcp(90, 0, 50, 0)),
        Some(SendLimit::SendBuffer)
    );
    assert_eq!(limit(&before, &tcp(90, 49, 0, 1)), Some(SendLimit::Loss));
    assert_eq!(
        limit(&before, &tcp(49, 0, 0, 0)),
        Some(SendLimit::Application)
    );
    assert_eq!(limit(&before, &tcp(90, 0, 0, 0)), None);
    let shares = |busy, window, buffer| {
        let time = time(&before, &tcp(busy, window, buffer, 0)).unwrap();
        [
            time.receiver_window,
            time.send_buffer,
            time.in_flight,
            time.idle(),
        ]
    };
    assert_eq!(shares(90, 50, 10), [50, 10, 30, 10]);
    assert_eq!(shares(0, 0, 0), [0, 0, 0, 100]);
    assert_eq!(time(&tcp(0, 0, 0, 0), &tcp(90, 90, 0, 0)), None, "no time");
    assert_eq!(limit(&before, &tcp(0, 0, 0, 0)), None, "it sent nothing");
    assert_eq!(limit(&tcp(0, 0, 0, 0), &tcp(90, 90, 0, 0)), None, "no time");
}
