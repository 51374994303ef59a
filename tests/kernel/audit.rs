//! The audit of TCP connections on this machine's kernel: what is counted agrees with the sockets'
//! own counters, and what no probe sees is counted from them. Needs root.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on stops there")]

use std::fs::File;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::thread;

use crate::common::counting::{Flowtop, tcp_pair};
use rustix::pipe::{SpliceFlags, pipe, splice};
use serde_json::Value;

/// Only of this connection.
fn filter(stream: &TcpStream) -> String {
    format!("port {}", stream.local_addr().unwrap().port())
}

/// What the audits of all intervals add up to.
fn audited(records: &[Value], field: &str) -> i64 {
    let audits = records
        .iter()
        .filter_map(|record| record["audit"].as_object());
    audits.map(|audit| audit[field].as_i64().unwrap()).sum()
}

/// A field of the flows whose local end is `stream`'s.
fn sum(records: &[Value], stream: &TcpStream, field: &str) -> u64 {
    let port = stream.local_addr().unwrap().port();
    let flows = records.iter().filter(|record| record["type"] == "flow");
    let flows = flows.filter(|flow| flow["local_port"] == port);
    flows.filter_map(|flow| flow[field].as_u64()).sum()
}

#[test]
fn connections_under_load_agree_with_the_kernel() {
    let (client, server) = tcp_pair();
    let mut flowtop = Flowtop::start(&[&filter(&client)]);
    let mut records = Vec::new();
    thread::scope(|scope| {
        scope.spawn(|| {
            let mut buffer = vec![0; 70_001];
            while (&server).read(&mut buffer).unwrap() > 0 {}
        });
        for n in 0..200 {
            (&client)
                .write_all(&vec![7; 1 + n * 997 % 300_000])
                .unwrap();
            if n % 20 == 0 {
                records.extend(flowtop.await_intervals(1));
            }
        }
        client.shutdown(std::net::Shutdown::Write).unwrap();
    });
    records.extend(flowtop.await_intervals(3));
    records.extend(flowtop.stop());
    assert!(audited(&records, "connections") >= 10);
    assert_eq!(
        audited(&records, "connections"),
        audited(&records, "agreeing")
    );
    for field in ["drift_rx_bytes", "drift_tx_bytes"] {
        assert_eq!(audited(&records, field), 0, "{field}");
    }
}

/// By splice(), which nothing sees on kernels without kprobes.
#[test]
fn spliced_bytes_are_counted_to_the_byte_while_the_connection_lives() {
    let (client, server) = tcp_pair();
    let mut flowtop = Flowtop::every("100ms", &[&filter(&client)]);
    let mut records = Vec::new();
    // The connection is known by what moves on a path that is seen.
    (&client).write_all(&[7; 1000]).unwrap();
    (&server).read_exact(&mut [0; 1000]).unwrap();
    records.extend(flowtop.await_intervals(1));
    let (from_socket, to_pipe) = pipe().unwrap();
    let null = File::options().write(true).open("/dev/null").unwrap();
    for _ in 0..50 {
        (&client).write_all(&[7; 3000]).unwrap();
        let mut left = 3000;
        while left > 0 {
            let none = SpliceFlags::empty();
            let moved = splice(&server, None, &to_pipe, None, left, none).unwrap();
            splice(&from_socket, None, &null, None, moved, none).unwrap();
            left -= moved;
        }
    }
    records.extend(flowtop.await_intervals(3));
    records.extend(flowtop.stop());
    assert_eq!(sum(&records, &server, "rx_bytes"), 151_000);
    assert_eq!(sum(&records, &client, "tx_bytes"), 151_000);
    assert_eq!(audited(&records, "drift_rx_bytes"), 0);
    let unseen = records
        .iter()
        .find_map(|record| record["unseen"].as_array());
    let is_unseen = unseen.unwrap().iter().any(|path| path == "splice_read");
    let from_audit = sum(&records, &server, "audited_rx_bytes");
    assert_eq!(from_audit, if is_unseen { 150_000 } else { 0 });
}
