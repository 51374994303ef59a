//! What the tests of user space share: made-up flows, a source that plays a script, and texts
//! compared with files. `FLOWTOP_BLESS=1` writes the files anew: look at the difference before
//! keeping it.
#![allow(dead_code, reason = "each test binary uses only part of this module")]
#![allow(clippy::unwrap_used, reason = "a test that cannot go on stops there")]

pub mod counting;
pub mod demo;
pub mod folder;
pub mod lan;
pub mod pty;
pub mod screen;

use std::collections::VecDeque;
use std::fs;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use anyhow::{Context, Result};
use flowtop::model::flow::{
    Counters, Endpoint, Flow, FlowKey, Owner, Packets, Protocol, SendLimit, SendTime, Tcp,
};
use flowtop::model::interval::{Interval, Losses, Method};
use flowtop::source::Source;
use serde_json::Value;

/// flowtop with neither the width nor the configuration of whoever runs the tests.
pub fn flowtop() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_flowtop"));
    command
        .env_remove("COLUMNS")
        .env("XDG_CONFIG_HOME", "/nonexistent")
        .env("XDG_STATE_HOME", "/dev/null")
        .env_remove("SUDO_UID")
        .stdin(Stdio::null());
    command
}

pub fn flowtop_with(args: &[&str]) -> Command {
    let mut command = flowtop();
    command.args(args);
    command
}

pub fn stdout(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

pub fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// The records of JSON Lines.
pub fn records(text: impl AsRef<[u8]>) -> Vec<Value> {
    let lines = text.as_ref().split(|&byte| byte == b'\n');
    lines
        .filter(|line| !line.is_empty())
        .map(|line| serde_json::from_slice(line).unwrap())
        .collect()
}

/// The sum of a field of all JSON records of a type, as `flow` or `interval`.
pub fn sum(records: &[Value], kind: &str, field: &str) -> u64 {
    let records = records.iter().filter(|record| record["type"] == kind);
    records.filter_map(|record| record[field].as_u64()).sum()
}

/// Returns the time `2026-11-22T15:00:00.123Z`.
pub fn afternoon() -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_millis(1_795_359_600_123)
}

pub fn end(addr: &str, port: u16) -> Endpoint {
    Endpoint::new(addr.parse().unwrap(), port)
}

pub fn flow(
    protocol: Protocol,
    local: Endpoint,
    remote: Endpoint,
    process: (u32, &[u8]),
    bytes: (u64, u64),
) -> Flow {
    let counters = Counters {
        rx_bytes: bytes.0,
        tx_bytes: bytes.1,
        rx_msgs: bytes.0.div_ceil(1000),
        tx_msgs: bytes.1.div_ceil(1000),
    };
    let key = FlowKey::new(protocol, local, remote, process.0);
    Flow::new(key, counters, Arc::new(Owner::named(process.1)))
}

/// A web server's afternoon: IPv4 and IPv6, TCP and UDP, an unknown peer, a hostile name, equals.
pub fn web_server() -> Vec<Flow> {
    use Protocol::{Tcp, Udp};
    let mut flows = vec![
        flow(
            Tcp,
            end("10.0.0.5", 443),
            end("203.0.113.7", 52110),
            (811, b"nginx"),
            (9_801_234, 147_200_000),
        ),
        flow(
            Tcp,
            end("10.0.0.5", 22),
            end("198.51.100.23", 40022),
            (4_194_304, b"sshd-session"),
            (1_210_000, 80),
        ),
        flow(
            Tcp,
            end("2001:db8:1234:5678:9abc:def0:1234:5678", 443),
            end("2001:db8::7:5", 65535),
            (811, b"nginx"),
            (240_000, 1_000_000),
        ),
        flow(
            Udp,
            end("0.0.0.0", 53),
            Endpoint::default(),
            (700, b"named"),
            (4096, 0),
        ),
        flow(
            Udp,
            end("::ffff:10.0.0.5", 123),
            end("::ffff:192.0.2.1", 123),
            (701, b"chronyd"),
            (48, 48),
        ),
        flow(
            Tcp,
            end("127.0.0.1", 6379),
            end("127.0.0.1", 50000),
            (702, b"\x1b[2J\xffevil"),
            (999, 0),
        ),
    ];
    for i in 0..20u16 {
        let peer = end(&format!("192.0.2.{}", 100 + i), 40000 + i);
        flows.push(flow(
            Tcp,
            end("10.0.0.5", 443),
            peer,
            (811, b"nginx"),
            (100, 5000),
        ));
    }
    flows
}

/// So many clients of one server.
pub fn many_flows(count: u32) -> Vec<Flow> {
    let flows = (0..count).map(|n| {
        let addr = std::net::Ipv4Addr::from(0x0a01_0000 + n);
        let peer = Endpoint::new(addr.into(), 40_000 + (n % 20_000) as u16);
        let bytes = (
            u64::from(n) * 7919 % 100_003,
            u64::from(n) * 104_729 % 9_999_991,
        );
        let process = (1000 + n % 200, &b"server"[..]);
        flow(Protocol::Tcp, end("10.0.0.5", 443), peer, process, bytes)
    });
    flows.collect()
}

/// The same, of which the kernel tells all it can: packets, connections, users, cgroups. The last
/// is a thread of the kernel's own.
pub fn detailed_flows() -> Vec<Flow> {
    let mut flows = web_server();
    for (n, flow) in flows.iter_mut().enumerate() {
        let n = n as u32;
        let unit = String::from_utf8_lossy(flow.owner.comm.as_bytes()).into_owned();
        flow.owner = Arc::new(Owner {
            uid: Some(if unit == "nginx" { 33 } else { n }),
            start: Some(Duration::from_millis(72_345)),
            cgroup: Some(Arc::from(format!("/system.slice/{unit}.service"))),
            ..Owner::clone(&flow.owner)
        });
        flow.packets = Some(Packets {
            rx: flow.counters.rx_bytes.div_ceil(1448),
            tx: flow.counters.tx_bytes.div_ceil(1448),
        });
        if flow.key.protocol == Protocol::Tcp {
            flow.tcp = Some(Tcp {
                srtt_us: 12_345 >> (n % 8),
                cwnd: 10 + n,
                unacked: 14_480,
                notsent: 1_234_567,
                unread: 0,
                snd_wnd: 65_536,
                rcv_wnd: 131_072,
                total_retransmits: 40 + n,
                retransmits: (n != 1).then_some(n % 4),
                limit: [Some(SendLimit::ReceiverWindow), None, Some(SendLimit::Loss)]
                    [n as usize % 3],
                time: [
                    SendTime::of(250, 155, 0, 75),
                    None,
                    SendTime::of(250, 10, 0, 190),
                ][n as usize % 3],
            });
        }
    }
    flows[0].key.netns = 4_026_531_840;
    if let Some(flow) = flows.last_mut() {
        flow.key.tgid = 77;
        flow.owner = Arc::new(Owner {
            comm: flowtop::model::flow::Comm::new(b"kworker/0:1"),
            uid: Some(0),
            kernel: true,
            cgroup: Some(Arc::from("/")),
            ..Owner::default()
        });
        flow.counters.tx_bytes = 77_777;
    }
    flows
}

pub fn method() -> Arc<Method> {
    Arc::new(Method {
        backend: "tracepoint".into(),
        reason: "sees everything here and misses nothing".into(),
        unseen: Vec::new(),
        misses_unknown: false,
    })
}

pub fn interval(flows: Vec<Flow>) -> Interval {
    Interval {
        ended: afternoon(),
        elapsed: Duration::from_nanos(1_000_123_456),
        flows,
        losses: Losses::default(),
        interfaces: Vec::new(),
        method: method(),
    }
}

/// Trouble of every kind at once.
pub fn bad_interval(flows: Vec<Flow>) -> Interval {
    let untracked = Counters {
        rx_bytes: 2_500_000,
        tx_bytes: 1_500,
        rx_msgs: 9,
        tx_msgs: 2,
    };
    let method = Method {
        unseen: vec!["splice_read", "udp_recv_peer"],
        ..(*method()).clone()
    };
    Interval {
        losses: Losses {
            untracked,
            missed_events: 3,
            ..Losses::default()
        },
        interfaces: Vec::new(),
        method: Arc::new(method),
        ..interval(flows)
    }
}

/// Plays intervals from a list, then fails.
pub struct Script(pub VecDeque<Interval>);

impl Script {
    pub fn new(intervals: impl IntoIterator<Item = Interval>) -> Self {
        Self(intervals.into_iter().collect())
    }
}

impl Source for Script {
    fn end_interval(&mut self) -> Result<Interval> {
        self.0
            .pop_front()
            .context("read past the end of the script")
    }
}

/// Fails unless `actual` is what the file below `tests/` holds.
#[track_caller]
pub fn assert_matches_file(file: &str, actual: &str) {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("tests")
        .join(file);
    if std::env::var_os("FLOWTOP_BLESS").is_some() {
        fs::write(&path, actual).unwrap();
    }
    let expected = fs::read_to_string(&path).unwrap_or_default();
    assert!(
        expected == actual,
        "tests/{file} says:\n{expected}\nbut this came:\n{actual}"
    );
}
