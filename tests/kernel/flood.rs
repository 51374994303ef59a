//! One process with more flows than the flow table holds, beside others: it hides nobody. Each test
//! counts in a network namespace of its own. Needs root, as all of `make test` does.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on stops there")]

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{Ipv4Addr, TcpListener, TcpStream, UdpSocket};
use std::os::unix::fs::MetadataExt as _;
use std::panic::resume_unwind;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::{fs, thread};

use crate::common::counting::{Flowtop, traffic_program};
use rustix::process::{Pid, Signal, kill_process};
use rustix::thread::{UnshareFlags, unshare_unsafe};
use serde_json::Value;

/// Runs a test in a network namespace of its own, and hands it the filter that means this
/// namespace.
fn in_netns(test: impl FnOnce(&str) + Send + 'static) {
    let alone = thread::spawn(|| {
        // SAFETY: of the flags, only FILES is unsafe to unshare, and it is not among these.
        unsafe { unshare_unsafe(UnshareFlags::NEWNET) }.unwrap();
        let up = Command::new("ip")
            .args(["link", "set", "lo", "up"])
            .status();
        assert!(up.unwrap().success());
        let inode = fs::metadata("/proc/thread-self/ns/net").unwrap().ino();
        test(&format!("netns {inode}"));
    });
    if let Err(panic) = alone.join() {
        resume_unwind(panic);
    }
}

/// A process that sends 100 bytes to each of so many peers when it is told to.
struct Spray {
    child: Child,
    output: BufReader<ChildStdout>,
    sent: u64,
}

impl Spray {
    fn new(flows: u32) -> Self {
        let mut child = Command::new(traffic_program())
            .args(["flows-traffic", &flows.to_string()])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let output = BufReader::new(child.stdout.take().unwrap());
        Self {
            child,
            output,
            sent: 0,
        }
    }

    fn pid(&self) -> u64 {
        self.child.id().into()
    }

    /// Returns when all is sent.
    fn go(&mut self) {
        self.child.stdin.as_mut().unwrap().write_all(b"x").unwrap();
        let mut line = String::new();
        self.output.read_line(&mut line).unwrap();
        self.sent = line.trim().parse().unwrap();
    }
}

impl Drop for Spray {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A connection over loopback that stays.
struct Steady {
    client: TcpStream,
    server: TcpStream,
    moved: u64,
}

impl Steady {
    fn new() -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let server = listener.accept().unwrap().0;
        Self {
            client,
            server,
            moved: 0,
        }
    }

    fn port(&self) -> u64 {
        self.client.local_addr().unwrap().port().into()
    }

    fn go(&mut self) {
        self.client.write_all(&[7; 1000]).unwrap();
        self.server.read_exact(&mut [0; 1000]).unwrap();
        self.moved += 1000;
    }
}

fn of_type<'a>(records: &'a [Value], kind: &'a str) -> impl Iterator<Item = &'a Value> {
    records.iter().filter(move |record| record["type"] == kind)
}

fn sum<'a>(records: impl Iterator<Item = &'a Value>, field: &str) -> u64 {
    records.map(|record| record[field].as_u64().unwrap()).sum()
}

fn flows_of(records: &[Value], pid: u64) -> impl Iterator<Item = &Value> {
    of_type(records, "flow").filter(move |flow| flow["pid"] == pid)
}

/// The sprayer is named in every interval in which it sent something without a slot, and nobody
/// else is; nothing is without its process.
#[track_caller]
fn check(records: &[Value], spray: &Spray, others: u64, slots: u64) {
    for field in ["rx_bytes", "tx_bytes", "rx_msgs", "tx_msgs"] {
        let field = format!("untracked_{field}");
        assert_eq!(sum(of_type(records, "interval"), &field), 0, "{field}");
    }
    assert_eq!(sum(of_type(records, "interval"), "missed_events"), 0);
    assert_eq!(sum(flows_of(records, spray.pid()), "tx_bytes"), spray.sent);
    let me = std::process::id().into();
    assert_eq!(sum(flows_of(records, me), "tx_bytes"), others);
    let full: Vec<_> = of_type(records, "interval")
        .filter(|interval| !interval["full_pid"].is_null())
        .collect();
    assert!(!full.is_empty(), "the table was full");
    for interval in full {
        assert_eq!(interval["full_pid"], spray.pid(), "{interval}");
        assert_eq!(interval["full_process"], "traffic");
        assert_eq!(interval["full_slots"], slots);
        // Of what is left a process that comes later finds some.
        let flows = interval["full_flows"].as_u64().unwrap();
        assert!(flows > slots / 2 && flows <= slots * 3 / 4, "{interval}");
    }
    let beyond: Vec<_> = of_type(records, "flow")
        .filter(|flow| flow["overflow"] == true)
        .collect();
    assert!(!beyond.is_empty(), "some are beyond the table");
    for row in beyond {
        assert_eq!(
            row["pid"],
            spray.pid(),
            "only the sprayer lacks slots: {row}"
        );
        assert_eq!(
            (&row["proto"], &row["process"]),
            (&"udp".into(), &"traffic".into())
        );
        assert_eq!(
            (&row["remote_addr"], &row["remote_port"]),
            (&"*".into(), &0.into())
        );
    }
}

/// Beside the sprayer: a connection that stays, and new ones. Each of them has its own row whenever
/// it moves something, in many short intervals and in a single long one.
fn flood(netns: &str, rounds: usize, peers: u32, slots: u64) {
    let mut spray = Spray::new(peers);
    let mut steady = Steady::new();
    let max_flows = slots.to_string();
    let args = ["--max-flows", &max_flows, netns];
    let mut flowtop = if rounds > 1 {
        Flowtop::every("50ms", &args)
    } else {
        Flowtop::in_one_interval(&args)
    };
    let mut records = Vec::new();
    let mut others = 0;
    for _ in 0..rounds {
        spray.go();
        steady.go();
        let mut fresh = Steady::new();
        fresh.go();
        others += fresh.moved;
        if rounds > 1 {
            records.extend(flowtop.await_intervals(1));
        }
    }
    records.extend(flowtop.stop());
    check(&records, &spray, steady.moved + others, slots);
    let own = flows_of(&records, std::process::id().into());
    let port = steady.port();
    let own = own.filter(|flow| flow["local_port"] == port);
    assert_eq!(sum(own, "tx_bytes"), steady.moved, "in rows of its own");
}

#[test]
fn a_process_with_too_many_flows_takes_neither_owner_nor_row_from_others_in_short_intervals() {
    in_netns(|netns| flood(netns, 12, 500, 64));
}

#[test]
fn a_process_with_too_many_flows_takes_neither_owner_nor_row_from_others_in_a_long_interval() {
    in_netns(|netns| flood(netns, 1, 5000, 4096));
}

#[test]
fn a_process_with_more_flows_than_the_default_table_takes_no_owner_from_others() {
    in_netns(|netns| {
        let (mut spray, mut steady) = (Spray::new(70_000), Steady::new());
        let flowtop = Flowtop::in_one_interval(&["-g", "process", netns]);
        spray.go();
        steady.go();
        let records = flowtop.stop();
        let groups = |pid: u64| of_type(&records, "group").filter(move |group| group["pid"] == pid);
        let me = std::process::id().into();
        assert_eq!(sum(groups(spray.pid()), "tx_bytes"), spray.sent);
        assert_eq!(sum(groups(spray.pid()), "flows"), 65_536 * 3 / 4 + 1);
        assert_eq!(sum(groups(me), "tx_bytes"), steady.moved);
        let full =
            of_type(&records, "interval").filter_map(|interval| interval["full_pid"].as_u64());
        assert_eq!(full.collect::<Vec<_>>(), [spray.pid()]);
        assert_eq!(sum(of_type(&records, "interval"), "untracked_tx_bytes"), 0);
    });
}

/// Several that have too many leave room to those that come later.
#[test]
fn three_processes_with_too_many_flows_take_neither_owner_nor_row_from_others() {
    in_netns(|netns| {
        let mut sprays = [(); 3].map(|()| Spray::new(500));
        let mut steady = Steady::new();
        let mut flowtop = Flowtop::every("50ms", &["--max-flows", "128", netns]);
        let mut records = Vec::new();
        for _ in 0..6 {
            sprays.iter_mut().for_each(Spray::go);
            steady.go();
            records.extend(flowtop.await_intervals(1));
        }
        records.extend(flowtop.stop());
        for spray in &sprays {
            assert_eq!(sum(flows_of(&records, spray.pid()), "tx_bytes"), spray.sent);
        }
        let port = steady.port();
        let own = of_type(&records, "flow").filter(|flow| flow["local_port"] == port);
        assert_eq!(sum(own, "tx_bytes"), steady.moved);
    });
}

/// The share is the process's where threads are told apart too.
#[test]
fn the_threads_of_a_process_share_what_it_may_hold() {
    in_netns(|netns| {
        let mut other = Spray::new(10);
        let flowtop = Flowtop::in_one_interval(&["-g", "thread", "--max-flows", "64", netns]);
        let peers = |thread: u8| (1..=4).map(move |host| Ipv4Addr::new(127, 1, thread, host));
        thread::scope(|scope| {
            for thread in 0..100 {
                scope.spawn(move || {
                    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
                    for peer in peers(thread) {
                        socket.send_to(&[7; 10], (peer, 9)).unwrap();
                    }
                });
            }
        });
        other.go();
        let records = flowtop.stop();
        let me = u64::from(std::process::id());
        let groups = |pid| of_type(&records, "group").filter(move |group| group["pid"] == pid);
        assert_eq!(sum(groups(other.pid()), "flows"), 10, "each has its row");
        assert!(groups(other.pid()).all(|group| group["process"] == "traffic"));
        assert_eq!(sum(groups(me), "tx_bytes"), 4 * 100 * 10);
        let full: Vec<_> = of_type(&records, "interval")
            .filter_map(|interval| interval["full_pid"].as_u64())
            .collect();
        assert_eq!(full, [me]);
        assert_eq!(sum(of_type(&records, "interval"), "untracked_tx_bytes"), 0);
    });
}

#[test]
fn text_and_groups_name_the_process_that_fills_the_table() {
    in_netns(|netns| {
        let mut spray = Spray::new(500);
        let pid = spray.pid();
        let mut output = |args: &[&str]| {
            // Losses are notes on standard error: both are read, in their order.
            let (output, both) = std::io::pipe().unwrap();
            let mut child = Command::new(env!("CARGO_BIN_EXE_flowtop"))
                .args(["--batch", "-i", "100ms", "--max-flows", "64"])
                .args(args)
                .arg(netns)
                .stdin(Stdio::null())
                .stdout(both.try_clone().unwrap())
                .stderr(both)
                .spawn()
                .unwrap();
            let mut output = BufReader::new(output);
            let mut text = String::new();
            let mut until = |part: &str, text: &mut String| {
                while !text.contains(part) {
                    assert!(output.read_line(text).unwrap() > 0, "flowtop ended: {text}");
                }
            };
            until("  0 flows  ", &mut text);
            spray.go();
            until("flow table full", &mut text);
            let flowtop = Pid::from_raw(child.id().cast_signed()).unwrap();
            kill_process(flowtop, Signal::INT).unwrap();
            output.read_to_string(&mut text).unwrap();
            assert!(child.wait().unwrap().success());
            text
        };
        let text = output(&[]);
        for part in [
            "flow table full (traffic)".to_owned(),
            format!("!!! FLOW TABLE FULL: traffic (pid {pid}) holds 48 of 64 flows"),
            format!("'not pid {pid}'"),
        ] {
            assert!(text.contains(&part), "no {part:?} in {text}");
        }
        for group in ["remote", "net/24", "port"] {
            let text = output(&["-g", group]);
            assert!(text.contains("  unknown\n"), "{group}: {text}");
        }
        let text = output(&["-g", "process"]);
        let row = format!("    49  {pid:>7}  traffic");
        assert!(text.contains(&row), "no {row:?} in {text}");
        assert!(!text.contains("UNTRACKED"), "{text}");
    });
}
