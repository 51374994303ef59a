//! How connections are doing, on this machine's own kernel, over a slow and lossy path: against
//! what `ss` says of the same sockets. Needs root, as all of `make test` does.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on stops there")]

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use crate::common::counting::{Flowtop, time, traffic_program};
use crate::common::pty::PATIENCE;
use jiff::Timestamp;
use rustix::net::sockopt::{set_socket_recv_buffer_size, set_socket_send_buffer_size};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
use serde_json::Value;

/// `traffic path`, ended when dropped: what is sent to 10.9.0.2 comes back to 10.9.0.1.
struct Path {
    child: Child,
    stdin: ChildStdin,
    stdout: BufReader<ChildStdout>,
}

impl Path {
    /// Moves this thread, and what it starts from now on, to the path's network namespace.
    fn enter(delay_ms: u32, drop_every: u32) -> Self {
        let mut child = Command::new(traffic_program())
            .arg("path")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let stdin = child.stdin.take().unwrap();
        let stdout = BufReader::new(child.stdout.take().unwrap());
        let mut path = Self {
            child,
            stdin,
            stdout,
        };
        path.await_ok();
        let netns = File::open(format!("/proc/{}/ns/net", path.child.id())).unwrap();
        let netns = std::os::fd::AsFd::as_fd(&netns);
        move_into_link_name_space(netns, Some(LinkNameSpaceType::Network)).unwrap();
        path.weather(delay_ms, drop_every);
        path
    }

    /// Packets take so long each way; every so many-th segment with data is lost.
    fn weather(&mut self, delay_ms: u32, drop_every: u32) {
        self.stdin
            .write_all(format!("{delay_ms} {drop_every}\n").as_bytes())
            .unwrap();
        self.await_ok();
    }

    fn await_ok(&mut self) {
        let mut line = String::new();
        self.stdout.read_line(&mut line).unwrap();
        assert_eq!(line, "ok\n");
    }
}

impl Drop for Path {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Both ends of a connection over the path.
struct Pair {
    client: TcpStream,
    server: TcpStream,
}

impl Pair {
    fn new(buffers: impl FnOnce(&TcpListener)) -> Self {
        let listener = TcpListener::bind("10.9.0.1:0").unwrap();
        buffers(&listener);
        let port = listener.local_addr().unwrap().port();
        let client = TcpStream::connect(("10.9.0.2", port)).unwrap();
        let server = listener.accept().unwrap().0;
        Self { client, server }
    }

    fn ports(&self) -> [u16; 2] {
        [&self.client, &self.server].map(|end| end.local_addr().unwrap().port())
    }

    /// So many bytes there, and half of them back.
    fn exchange(&mut self, bytes: usize) {
        move_bytes(&mut self.client, &mut self.server, bytes);
        move_bytes(&mut self.server, &mut self.client, bytes.div_ceil(2));
    }

    /// Waits until everything is acknowledged; gives what `ss` says then.
    fn idle(&self) -> [Ss; 2] {
        let start = Instant::now();
        loop {
            let both = self.ports().map(Ss::of);
            if both
                .iter()
                .all(|ss| ss.number("unacked") == 0 && ss.number("notsent") == 0)
            {
                return both;
            }
            assert!(start.elapsed() < PATIENCE, "{both:?}");
            thread::sleep(Duration::from_millis(5));
        }
    }

    /// Moves a little, and gives what `ss` says, and all records up to those of that: of a moment
    /// when nothing changed, so that the last are of the same state.
    fn quiet(&mut self, flowtop: &mut Flowtop) -> ([Ss; 2], Vec<Value>) {
        let mut records = Vec::new();
        let start = Instant::now();
        while start.elapsed() < PATIENCE {
            self.exchange(2);
            let before = self.idle();
            let since = Timestamp::now();
            // The second brings the flows of the first.
            records.extend(flowtop.await_intervals(2));
            // Else an interval ended while it was moved.
            let whole = self.ports().into_iter().all(|port| {
                let last = of_port(&records, port);
                last.last().is_some_and(|flow| time(flow) > since)
            });
            if whole && self.idle() == before {
                return (before, records);
            }
        }
        panic!("it is never quiet");
    }
}

fn move_bytes(from: &mut TcpStream, to: &mut TcpStream, bytes: usize) {
    thread::scope(|scope| {
        scope.spawn(|| from.write_all(&vec![7; bytes]).unwrap());
        to.read_exact(&mut vec![0; bytes]).unwrap();
    });
}

/// What `ss` says of the socket with this local port.
#[derive(Debug, PartialEq)]
struct Ss(BTreeMap<String, String>);

impl Ss {
    fn of(port: u16) -> Self {
        let output = Command::new("ss")
            .args(["-tinOH", "state", "established"])
            .args(["sport", "=", &format!(":{port}")])
            .output()
            .unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        assert_eq!(text.lines().count(), 1, "{text}");
        let fields = text
            .split_whitespace()
            .filter_map(|word| word.split_once(':'));
        let clock = |name: &str| name.starts_with("last");
        Self(
            fields
                .filter(|(name, _)| !clock(name))
                .map(|(name, value)| (name.to_owned(), value.to_owned()))
                .collect(),
        )
    }

    /// 0 where it says nothing, as it does of zeros.
    fn number(&self, field: &str) -> u64 {
        self.0.get(field).map_or(0, |text| text.parse().unwrap())
    }

    fn srtt_us(&self) -> u64 {
        let millis: f64 = self.0["rtt"].split('/').next().unwrap().parse().unwrap();
        (millis * 1000.0).round() as u64
    }

    fn total_retransmits(&self) -> u64 {
        let total = self
            .0
            .get("retrans")
            .map(|text| text.split_once('/').unwrap().1);
        total.map_or(0, |total| total.parse().unwrap())
    }
}

/// Flow records of this process with this local port.
fn of_port(records: &[Value], port: u16) -> Vec<&Value> {
    let me = std::process::id();
    let mine =
        |flow: &&Value| flow["type"] == "flow" && flow["pid"] == me && flow["local_port"] == port;
    records.iter().filter(mine).collect()
}

fn sum(flows: &[&Value], field: &str) -> u64 {
    flows
        .iter()
        .map(|flow| {
            flow[field]
                .as_u64()
                .unwrap_or_else(|| panic!("no {field} in {flow}"))
        })
        .sum()
}

/// The state of the last record is what `ss` said.
#[track_caller]
fn assert_same_state(flow: &Value, ss: &Ss) {
    assert_eq!(flow["srtt_us"], ss.srtt_us(), "{flow} {ss:?}");
    assert_eq!(flow["cwnd"], ss.number("cwnd"), "{flow} {ss:?}");
    assert_eq!(
        flow["total_retransmits"],
        ss.total_retransmits(),
        "{flow} {ss:?}"
    );
    assert_eq!(
        (&flow["unacked"], &flow["notsent"]),
        (&0.into(), &0.into()),
        "{flow}"
    );
}

#[test]
fn a_connection_is_as_ss_says_from_its_start() {
    let mut flowtop = Flowtop::every("400ms", &[]);
    let mut path = Path::enter(10, 0);
    let mut pair = Pair::new(|_| {});
    // Were much of it moved while its first interval ends, it could be an older one.
    let (_, mut records) = pair.quiet(&mut flowtop);
    path.weather(10, 12);
    pair.exchange(200_000);
    path.weather(10, 0);
    let (ss, more) = pair.quiet(&mut flowtop);
    records.extend(more);
    assert!(ss[0].total_retransmits() >= 10, "nothing was lost: {ss:?}");
    assert!(ss[0].srtt_us() >= 20_000, "{ss:?}");
    for (port, ss) in pair.ports().into_iter().zip(&ss) {
        let flows = of_port(&records, port);
        assert_same_state(flows.last().unwrap(), ss);
        assert_eq!(sum(&flows, "retransmits"), ss.total_retransmits());
        assert_eq!(sum(&flows, "rx_packets"), ss.number("segs_in"));
        assert_eq!(sum(&flows, "tx_packets"), ss.number("segs_out"));
    }
}

#[test]
fn what_an_older_connection_lost_before_is_no_interval_s() {
    let mut path = Path::enter(5, 12);
    let mut pair = Pair::new(|_| {});
    pair.exchange(100_000);
    pair.idle();
    path.weather(5, 0);
    let mut flowtop = Flowtop::every("400ms", &[]);
    let (first, mut records) = pair.quiet(&mut flowtop);
    let flows = of_port(&records, pair.ports()[0]);
    let (seen, last) = (flows[0], flows.last().unwrap());
    let lost = first[0].total_retransmits();
    assert!(lost > 0, "nothing was lost: {first:?}");
    assert_eq!(last["total_retransmits"], lost);
    for unknown in ["retransmits", "rx_packets", "tx_packets", "limit"] {
        assert!(seen[unknown].is_null(), "{unknown} in {seen}");
    }
    path.weather(5, 12);
    pair.exchange(100_000);
    path.weather(5, 0);
    let (last, more) = pair.quiet(&mut flowtop);
    records.extend(more);
    for ((port, first), last) in pair.ports().into_iter().zip(&first).zip(&last) {
        let flows = of_port(&records, port);
        assert_same_state(flows.last().unwrap(), last);
        let since = |field| last.number(field) - first.number(field);
        let lost = last.total_retransmits() - first.total_retransmits();
        assert!(lost > 0, "nothing was lost: {last:?}");
        // Of the records before, those after the first have zeros or what quiet() moved.
        let known: Vec<_> = flows.into_iter().skip(1).collect();
        assert_eq!(sum(&known, "retransmits"), lost);
        assert!(sum(&known, "tx_packets") >= since("segs_out"));
    }
}

/// Intervals in a row that must name the limit, and how many there may be until then: on a busy
/// machine, one now and then is limited by the processor that an end did not get.
const IN_A_ROW: usize = 4;
const MAX_INTERVALS: usize = 40;

/// Bytes move from client to server, for `IN_A_ROW` intervals limited by `limit`. Writer and reader
/// end when the connection does.
fn limited_by(
    limit: &str,
    pair: Pair,
    write: impl FnMut(&mut TcpStream) -> std::io::Result<()> + Send,
    read: impl FnMut(&mut TcpStream) -> std::io::Result<()> + Send,
) {
    fn until_the_end(
        mut end: TcpStream,
        mut work: impl FnMut(&mut TcpStream) -> std::io::Result<()>,
    ) {
        while work(&mut end).is_ok() {}
    }
    let mut flowtop = Flowtop::every("500ms", &[]);
    let [port, _] = pair.ports();
    let ends = [&pair.client, &pair.server].map(|end| end.try_clone().unwrap());
    let in_a_row = vec![Value::from(limit); IN_A_ROW];
    let mut limits = Vec::new();
    let ss = thread::scope(|scope| {
        scope.spawn(|| until_the_end(pair.client, write));
        scope.spawn(|| until_the_end(pair.server, read));
        while limits.len() < MAX_INTERVALS && !limits.ends_with(&in_a_row) {
            let records = flowtop.await_intervals(1);
            let flows = of_port(&records, port).into_iter();
            limits.extend(flows.map(|flow| flow["limit"].clone()));
        }
        let ss = Ss::of(port);
        for end in ends {
            let _ = end.shutdown(std::net::Shutdown::Both);
        }
        ss
    });
    if limit == "send buffer" && !ss.0.contains_key("sndbuf_limited") {
        // Where the kernel does not say so, neither do we.
        assert!(!limits.contains(&in_a_row[0]), "{limits:?} {ss:?}");
        return;
    }
    assert!(limits.ends_with(&in_a_row), "{limits:?} {ss:?}");
}

fn write_much(end: &mut TcpStream) -> std::io::Result<()> {
    end.write_all(&[7; 65_536])
}

/// A call that waits for room counts when it returns: in every interval some do.
fn write_little(end: &mut TcpStream) -> std::io::Result<()> {
    end.write_all(&[7; 1000])
}

fn read_much(end: &mut TcpStream) -> std::io::Result<()> {
    end.read_exact(&mut [0; 1024])
}

#[test]
fn a_reader_that_is_slow_is_the_receiver_window() {
    let _path = Path::enter(1, 0);
    let pair = Pair::new(|listener| set_socket_recv_buffer_size(listener, 8192).unwrap());
    limited_by("receiver window", pair, write_little, |end| {
        thread::sleep(Duration::from_millis(4));
        read_much(end)
    });
}

#[test]
fn a_small_buffer_over_a_long_path_is_the_send_buffer() {
    let _path = Path::enter(20, 0);
    let pair = Pair::new(|_| {});
    set_socket_send_buffer_size(&pair.client, 4096).unwrap();
    // What Nagle's algorithm holds back is not for want of a buffer.
    pair.client.set_nodelay(true).unwrap();
    // More than the buffer at once: the kernel knows by writers that it left waiting.
    let write = |end: &mut TcpStream| end.write_all(&[7; 10_000]);
    limited_by("send buffer", pair, write, read_much);
}

#[test]
fn a_writer_that_is_slow_is_the_application() {
    let _path = Path::enter(5, 0);
    let write = |end: &mut TcpStream| {
        thread::sleep(Duration::from_millis(100));
        end.write_all(&[7; 100])
    };
    let read = |end: &mut TcpStream| end.read_exact(&mut [0; 100]);
    limited_by("application", Pair::new(|_| {}), write, read);
}

#[test]
fn a_path_that_loses_is_loss() {
    let _path = Path::enter(5, 15);
    limited_by("loss", Pair::new(|_| {}), write_much, read_much);
}
