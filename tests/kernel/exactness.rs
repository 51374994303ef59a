//! The real binary on this machine's own kernel: the exactness suite, the filters, and the mistakes
//! of earlier tools, each by name. Needs root, as all of `make test` does; it fails where it cannot
//! run.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on stops there")]

use std::io::{Read, Write};
use std::net::{TcpStream, UdpSocket};
use std::os::unix::fs::MetadataExt as _;
use std::process::{Command, Stdio};
use std::thread;

use crate::common::counting::{Flowtop, tcp_pair, traffic_program};
use rustix::thread::gettid;
use serde_json::Value;

/// This process's flow records: other processes may use the same ports elsewhere.
fn mine(records: &[Value]) -> impl Iterator<Item = &Value> {
    let me = u64::from(std::process::id());
    records
        .iter()
        .filter(move |record| record["type"] == "flow" && record["pid"] == me)
}

/// Sum of a field over this process's flow records, of those that `wanted` picks.
fn sum(records: &[Value], field: &str, wanted: impl Fn(&Value) -> bool) -> u64 {
    mine(records)
        .filter(|record| wanted(record))
        .map(|record| record[field].as_u64().unwrap())
        .sum()
}

/// Sum of a field over all interval records.
fn total(records: &[Value], field: &str) -> u64 {
    let intervals = records.iter().filter(|record| record["type"] == "interval");
    intervals
        .map(|record| record[field].as_u64().unwrap())
        .sum()
}

fn port(stream: &TcpStream) -> u64 {
    stream.local_addr().unwrap().port().into()
}

/// Sends `bytes` one way, in `calls` calls, and receives them all.
fn transfer(from: &mut TcpStream, to: &mut TcpStream, bytes: usize, calls: usize) {
    for _ in 0..calls {
        from.write_all(&vec![7; bytes / calls]).unwrap();
        to.read_exact(&mut vec![0; bytes / calls]).unwrap();
    }
}

fn traffic(args: &[&str]) {
    let program = traffic_program();
    let status = Command::new(&program)
        .args(args)
        .args(["--flowtop", env!("CARGO_BIN_EXE_flowtop")])
        .stdin(Stdio::null())
        .status()
        .unwrap_or_else(|err| {
            panic!(
                "{}: {err} (cargo build --example traffic)",
                program.display()
            )
        });
    assert!(status.success(), "traffic {args:?}: {status}");
}

#[test]
fn every_case_is_exact_on_this_kernel() {
    traffic(&["check"]);
}

/// A seed's mistake: every second interval read the wrong buffer, and one was never drained.
#[test]
fn egress_is_drained_from_both_buffers() {
    let mut flowtop = Flowtop::start(&[]);
    let (mut client, mut server) = tcp_pair();
    let local = port(&client);
    let mut records = Vec::new();
    for _ in 0..6 {
        transfer(&mut client, &mut server, 1000, 1);
        records.extend(flowtop.await_intervals(1));
    }
    records.extend(flowtop.stop());
    assert_eq!(
        sum(&records, "tx_bytes", |flow| flow["local_port"] == local),
        6000
    );
    let rows = mine(&records)
        .filter(|flow| flow["local_port"] == local && flow["tx_bytes"].as_u64() > Some(0));
    assert!(rows.count() >= 3, "the sends were in several intervals");
}

/// A seed's mistake: the two halves of bpf_get_current_pid_tgid() swapped.
#[test]
fn a_pid_filter_takes_processes_and_a_tid_filter_threads() {
    let me = std::process::id().to_string();
    // In a thread, whose id is not the process's.
    let tid = gettid().as_raw_nonzero().to_string();
    assert_ne!(me, tid, "tests run in threads");
    let moved = |args: &[&str]| {
        let flowtop = Flowtop::start(args);
        let (mut client, mut server) = tcp_pair();
        let local = port(&client);
        transfer(&mut client, &mut server, 4000, 4);
        sum(&flowtop.stop(), "tx_bytes", |flow| {
            flow["local_port"] == local
        })
    };
    assert_eq!(moved(&["--pid", &me]), 4000);
    assert_eq!(moved(&["--tid", &tid]), 4000);
    assert_eq!(moved(&["--pid", &tid]), 0, "a thread is no process");
    assert_eq!(
        moved(&["--tid", &me]),
        0,
        "the process's first thread moved nothing"
    );
    assert_eq!(
        moved(&["--pid", "1", "--tid", &tid]),
        4000,
        "either is enough"
    );
}

/// What is filtered out is in no total, and threads of one process are one row.
#[test]
fn a_tid_filter_counts_one_thread_of_many() {
    let tid = gettid().as_raw_nonzero().to_string();
    let flowtop = Flowtop::start(&["--tid", &tid]);
    let (mut client, mut server) = tcp_pair();
    let local = port(&client);
    transfer(&mut client, &mut server, 1000, 1);
    let mut clone = client.try_clone().unwrap();
    thread::spawn(move || clone.write_all(&[7; 500]).unwrap())
        .join()
        .unwrap();
    server.read_exact(&mut [0; 500]).unwrap();
    let records = flowtop.stop();
    assert_eq!(
        sum(&records, "tx_bytes", |flow| flow["local_port"] == local),
        1000
    );
    assert_eq!(
        total(&records, "tx_bytes"),
        1000,
        "totals hold what was asked for"
    );
}

/// The same traffic, seen by two at once: one gives the kernel what it can take of the filter, the
/// other decides all of it itself.
#[test]
fn a_filter_counts_the_same_whether_the_kernel_decides_it_or_not() {
    let me = std::process::id();
    let (mut client, mut server) = tcp_pair();
    let (mut other_client, mut other_server) = tcp_pair();
    let (near, far) = (port(&client), port(&server));
    let comm = std::fs::read_to_string("/proc/self/comm").unwrap();
    let comm = comm.trim_end();
    let (tid, uid) = (
        gettid().as_raw_nonzero(),
        rustix::process::getuid().as_raw(),
    );
    let netns = std::fs::metadata("/proc/self/ns/net").unwrap().ino();
    // Sent and received, of the 3000 bytes there and the 500 back that both ends count.
    for (terms, expected) in [
        (format!("tcp port {near}"), (3500, 3500)),
        (format!("local port {near}"), (3000, 500)),
        (format!("remote port ({near} or 1)"), (500, 3000)),
        (
            format!("portrange {near}-{near} and {far} and ip"),
            (3500, 3500),
        ),
        (format!("port {near} and not udp and not ip6"), (3500, 3500)),
        (
            format!("port {near} and local net 127.0.0.0/8"),
            (3500, 3500),
        ),
        (format!("port {near} and remote host ::1"), (0, 0)),
        (
            format!("port {near} and not local port {near}"),
            (500, 3000),
        ),
        (format!("port {near} and not host 127.0.0.1"), (0, 0)),
        (format!("port {near} and comm \"{comm}\""), (3500, 3500)),
        (format!("port {near} and not comm \"{comm}\""), (0, 0)),
        (format!("port {near} and bytes < 1GB"), (3500, 3500)),
        (format!("port {near} and rx rate > 1TB"), (0, 0)),
        (format!("(port {near} or pid 1)"), (3500, 3500)),
        (format!("port {near} and user {uid}"), (3500, 3500)),
        (format!("port {near} and not user {uid}"), (0, 0)),
        (
            format!("port {near} and netns {netns} and not netns 1"),
            (3500, 3500),
        ),
        (format!("port {near} and tid {tid}"), (3500, 3500)),
        (format!("port {near} and not tid {tid}"), (0, 0)),
    ] {
        let filter = format!("pid {me} and {terms}");
        let (pushed, kept) = thread::scope(|scope| {
            let pushed = scope.spawn(|| Flowtop::start(&[&filter]));
            let kept = Flowtop::start(&["--no-pushdown", &filter]);
            (pushed.join().unwrap(), kept)
        });
        transfer(&mut client, &mut server, 3000, 3);
        transfer(&mut server, &mut client, 500, 1);
        transfer(&mut other_client, &mut other_server, 700, 1);
        for (records, which) in [(pushed.stop(), "pushed"), (kept.stop(), "kept")] {
            let counted = (total(&records, "tx_bytes"), total(&records, "rx_bytes"));
            assert_eq!(counted, expected, "{which}: {filter}");
            assert!(
                records
                    .iter()
                    .all(|record| { record["type"] != "interval" || record["filter"].is_string() })
            );
        }
    }
}

/// Its bytes pass all hooks, and it takes a network card to have any.
#[test]
fn zero_copy_receive_of_io_uring_is_unseen_where_the_kernel_has_it() {
    let symbols = std::fs::read_to_string("/proc/kallsyms").unwrap();
    let has_it = symbols
        .lines()
        .any(|line| line.ends_with(" io_zcrx_recv_skb"));
    let records = Flowtop::start(&[]).stop();
    // Flows of the first interval may come before the record of the second.
    let mut intervals = records.iter().filter_map(|one| one["unseen"].as_array());
    let unseen = intervals.next().unwrap();
    assert_eq!(unseen.contains(&Value::from("uring_zcrx")), has_it);
}

/// A seed's mistake: the size of the caller's buffer taken for what was received.
#[test]
fn receive_counts_what_arrived_and_not_the_buffer() {
    let flowtop = Flowtop::start(&[]);
    let (mut client, mut server) = tcp_pair();
    let local = port(&server);
    let mut buffer = vec![0; 1 << 20];
    for _ in 0..10 {
        client.write_all(&[7; 10]).unwrap();
        assert_eq!(server.read(&mut buffer).unwrap(), 10);
    }
    let records = flowtop.stop();
    assert_eq!(
        sum(&records, "rx_bytes", |flow| flow["local_port"] == local),
        100
    );
    assert_eq!(
        sum(&records, "rx_msgs", |flow| flow["local_port"] == local),
        10
    );
}

/// A seed's mistake: skc_num, which is in host order, swapped once more.
#[test]
fn ports_are_in_host_order() {
    let flowtop = Flowtop::start(&[]);
    let (mut client, mut server) = tcp_pair();
    let (near, far) = (port(&client), port(&server));
    transfer(&mut client, &mut server, 100, 1);
    let records = flowtop.stop();
    let ends = |flow: &Value| flow["local_port"] == near && flow["remote_port"] == far;
    assert_eq!(sum(&records, "tx_bytes", ends), 100);
    let ends = |flow: &Value| flow["local_port"] == far && flow["remote_port"] == near;
    assert_eq!(sum(&records, "rx_bytes", ends), 100);
}

/// A seed's mistake: inserts into a full map failed, and nobody heard of it.
#[test]
fn a_full_map_is_counted_and_said_and_totals_stay_exact() {
    // Only this thread's, so that the total is known.
    let tid = gettid().as_raw_nonzero().to_string();
    let flowtop = Flowtop::in_one_interval(&["--max-flows", "16", "--tid", &tid]);
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    let peers: Vec<UdpSocket> = (0..100)
        .map(|_| UdpSocket::bind("127.0.0.1:0").unwrap())
        .collect();
    for peer in &peers {
        socket
            .send_to(&[7; 50], peer.local_addr().unwrap())
            .unwrap();
    }
    let records = flowtop.stop();
    assert_eq!(total(&records, "tx_bytes"), 5000);
    // A quarter of the slots is left to other processes.
    let is_beyond = |flow: &Value| flow["overflow"] == true;
    let own = mine(&records).filter(|flow| !is_beyond(flow));
    assert_eq!((own.count(), mine(&records).count()), (12, 13));
    assert_eq!(total(&records, "flows"), 13);
    assert_eq!(sum(&records, "tx_bytes", |_| true), 5000);
    assert_eq!(sum(&records, "tx_bytes", is_beyond), 88 * 50);
    assert_eq!(sum(&records, "tx_msgs", is_beyond), 88);
    assert_eq!(total(&records, "untracked_tx_bytes"), 0);
    assert_eq!(total(&records, "missed_events"), 0);
}

/// A name is the process's, also when a renamed thread moves the bytes.
#[test]
fn the_name_is_the_process_and_not_the_thread() {
    let flowtop = Flowtop::start(&[]);
    let (mut client, mut server) = tcp_pair();
    let local = port(&client);
    thread::Builder::new()
        .name("another-name".to_owned())
        .spawn(move || transfer(&mut client, &mut server, 100, 1))
        .unwrap()
        .join()
        .unwrap();
    let records = flowtop.stop();
    let flow = mine(&records)
        .find(|flow| flow["local_port"] == local)
        .unwrap();
    let comm = std::fs::read_to_string("/proc/self/comm").unwrap();
    assert_eq!(flow["process"], comm.trim_end());
}

/// What grouping adds up is what the flows were: by process, and by thread with its own id and
/// name.
#[test]
fn a_group_is_the_sum_of_its_flows() {
    let started = [
        Flowtop::start(&[]),
        Flowtop::start(&["-g", "process"]),
        Flowtop::start(&["-g", "thread"]),
    ];
    let pairs: Vec<_> = (0..3).map(|_| tcp_pair()).collect();
    let ports: Vec<u64> = pairs.iter().map(|(client, _)| port(client)).collect();
    let mut sender = 0;
    thread::scope(|scope| {
        let worker = thread::Builder::new().name("sender".to_owned());
        let worker = worker.spawn_scoped(scope, || {
            for (n, (mut client, mut server)) in pairs.into_iter().enumerate() {
                transfer(&mut client, &mut server, 1000 << n, 4);
            }
            gettid().as_raw_nonzero().get()
        });
        sender = worker.unwrap().join().unwrap();
    });
    let [flows, processes, threads] = started.map(Flowtop::stop);
    let of_flows = |field| {
        sum(&flows, field, |flow| {
            ports.iter().any(|port| flow["local_port"] == *port)
        })
    };
    assert_eq!(of_flows("tx_bytes"), 7000);
    // By other tests of this process too.
    let me = u64::from(std::process::id());
    let group = |records: &[Value], field: &str, id: (&str, u64)| -> u64 {
        let groups = records.iter().filter(|record| record["type"] == "group");
        let mine = groups.filter(|record| record[id.0] == id.1);
        mine.map(|record| record[field].as_u64().unwrap()).sum()
    };
    let tid = u64::try_from(sender).unwrap();
    for field in ["tx_bytes", "rx_bytes"] {
        assert!(group(&processes, field, ("pid", me)) >= 7000, "{field}");
        assert_eq!(group(&threads, field, ("tid", tid)), 7000, "{field}");
    }
    let sender = threads.iter().find(|record| record["tid"] == tid).unwrap();
    assert_eq!(sender["thread"], "sender");
    assert_eq!(sender["pid"], me);
    // With all groups shown, groups and untracked are the total of every interval. What moved
    // before all was attached has lost its interval: that was read to know when it was.
    for records in [processes, threads] {
        let begun = records
            .iter()
            .position(|record| record["type"] == "interval");
        let records = &records[begun.unwrap()..];
        for field in ["rx_bytes", "tx_bytes"] {
            let groups = records.iter().filter(|record| record["type"] == "group");
            let groups: u64 = groups.map(|group| group[field].as_u64().unwrap()).sum();
            let untracked = total(records, &format!("untracked_{field}"));
            assert_eq!(groups + untracked, total(records, field), "{field}");
        }
    }
}

/// Two at once do not disturb each other.
#[test]
fn two_flowtops_count_the_same() {
    let (first, second) = (Flowtop::start(&[]), Flowtop::start(&[]));
    let (mut client, mut server) = tcp_pair();
    let local = port(&client);
    transfer(&mut client, &mut server, 100_000, 10);
    for flowtop in [first, second] {
        assert_eq!(
            sum(&flowtop.stop(), "tx_bytes", |flow| flow["local_port"]
                == local),
            100_000
        );
    }
}

#[test]
fn a_backend_that_is_not_there_is_refused_and_none_is_taken_instead() {
    let output = Command::new(env!("CARGO_BIN_EXE_flowtop"))
        .args(["--json", "-c", "1", "-i", "50ms", "--backend", "kprobe"])
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stderr);
    if std::path::Path::new("/sys/bus/event_source/devices/kprobe").exists() {
        assert!(output.status.success(), "{text}");
        assert!(String::from_utf8_lossy(&output.stdout).contains(r#""backend":"kprobe""#));
    } else {
        assert_eq!(output.status.code(), Some(1), "{text}");
        assert!(output.stdout.is_empty());
        assert!(text.contains("kprobe: the kernel has no kprobes"), "{text}");
    }
}
