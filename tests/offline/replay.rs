//! What is read of a recording is what was written, and what was not written so is read up to
//! there.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on stops there")]

use std::io::{Cursor, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use crate::common::{afternoon, end};
use flowtop::filter::{NameTables, parse};
use flowtop::jsonl::input::{Stop, open};
use flowtop::jsonl::reader::{RecordedInterval, RecordingReader};
use flowtop::jsonl::writer::Json;
use flowtop::jsonl::{CorruptRecording, MAX_LINE, MAX_SUM};
use flowtop::model::flow::{
    Comm, Counters, Endpoint, Flow, FlowKey, Owner, Packets, Protocol, SendLimit, SendTime, Tcp,
};
use flowtop::model::interval::{
    Audit, Drift, DriftingConnection, Interval, Losses, Method, SlotHolder, Unknown,
};
use flowtop::recording::replay::{Replay, measure};
use flowtop::resolve::names::Names;
use flowtop::resolve::owners::Owners;
use flowtop::stats::ranking::Ranking;

/// A flow of process `id`.
fn flow(id: u32, rx_bytes: u64, tx_bytes: u64) -> Flow {
    let counters = Counters {
        rx_bytes,
        tx_bytes,
        rx_msgs: rx_bytes.min(1),
        tx_msgs: tx_bytes.min(1),
    };
    let protocol = if id.is_multiple_of(5) {
        Protocol::Udp
    } else {
        Protocol::Tcp
    };
    let peer = end(&format!("192.0.2.{}", id % 3), id as u16);
    let key = FlowKey::new(protocol, end("10.0.0.1", 443), peer, id);
    Flow::new(key, counters, Arc::new(Owner::named(b"server")))
}

/// Intervals one after the other.
struct Intervals(SystemTime);

impl Default for Intervals {
    fn default() -> Self {
        Self(afternoon())
    }
}

impl Intervals {
    fn next(&mut self, millis: u64, flows: Vec<Flow>) -> Interval {
        let elapsed = Duration::from_millis(millis);
        self.0 += elapsed;
        Interval {
            ended: self.0,
            elapsed,
            flows,
            losses: Losses::default(),
            interfaces: Vec::new(),
            method: Arc::default(),
        }
    }
}

fn read(text: &[u8]) -> (Vec<RecordedInterval>, Option<CorruptRecording>) {
    let input: Box<dyn Read + Send> = Box::new(Cursor::new(text.to_vec()));
    let mut frames = Vec::new();
    for frame in RecordingReader::new(Path::new("x"), input).unwrap() {
        match frame {
            Ok(frame) => frames.push(frame),
            Err(damage) => return (frames, Some(damage)),
        }
    }
    (frames, None)
}

/// As a recorder writes it.
fn written(intervals: &[Interval]) -> Vec<u8> {
    let mut out = Vec::new();
    let mut json = Json::default();
    for interval in intervals {
        let ranking = Ranking::new(interval, None);
        json.append(&ranking, &Names::disabled(), &mut out).unwrap();
    }
    out
}

/// All that can be known of a flow, with names that nobody should have.
fn everything() -> Vec<Interval> {
    let mut intervals = Intervals::default();
    let mut first = intervals.next(
        1001,
        (0..20).map(|id| flow(id, 7, 9 * u64::from(id))).collect(),
    );
    first.elapsed += Duration::from_nanos(123_457);
    first.method = Arc::new(Method {
        backend: "tracepoint".to_owned(),
        reason: "it is there".to_owned(),
        unseen: vec!["splice_read", "udp_recv_peer"],
        misses_unknown: false,
    });
    first.losses = Losses {
        untracked: Counters {
            rx_bytes: 3,
            tx_bytes: 4,
            rx_msgs: 1,
            tx_msgs: 2,
        },
        missed_events: 5,
        full: Some(SlotHolder {
            tgid: 7,
            comm: Comm::new(b"\x1b[2J\xff"),
            flows: 12,
            slots: 16,
        }),
        unknown: Unknown {
            processes: 6,
            cgroups: 7,
            answers: 8,
        },
        audit: Audit {
            connections: 9,
            agreeing: 8,
            exempt: 4,
            drift: Drift { rx: 17, tx: -3 },
            worst: Some(DriftingConnection {
                key: flow(3, 0, 0).key,
                comm: Comm::new(b"\x1b[2J\xff"),
                drift: Drift { rx: 20, tx: -3 },
            }),
        },
    };
    for (n, flow) in first.flows.iter_mut().enumerate() {
        let n = n as u32;
        flow.key.tid = n % 3;
        flow.key.netns = n;
        flow.owner = Arc::new(Owner {
            comm: Comm::new(b"\x1b[2J\xff\xfe\"\\\n12345"),
            thread: Comm::new(b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff"),
            uid: Some(n),
            start: Some(Duration::from_nanos(u64::from(n) * 987_654_321_987)),
            cgroup: Some(Arc::from("/system.slice/nginx.service")),
            labels: None,
            kernel: n == 4,
            trees: Vec::new(),
        });
        flow.packets = Some(Packets { rx: 1, tx: 2 });
        flow.tcp = n.is_multiple_of(2).then_some(Tcp {
            srtt_us: 100,
            retransmits: Some(n),
            limit: Some(SendLimit::SendBuffer),
            unread: 5,
            time: SendTime::of(250, 20, 180, 50),
            ..Tcp::default()
        });
    }
    let end = Endpoint::default();
    first.flows[19].key = FlowKey {
        overflow: true,
        ..FlowKey::new(Protocol::Udp, end, end, 7)
    };
    first.flows[19].class = None;
    let quiet = intervals.next(999, Vec::new());
    let last = intervals.next(10, vec![flow(3, 1, 0)]);
    vec![first, quiet, last]
}

#[test]
fn recording_round_trips() {
    let intervals = everything();
    let text = written(&intervals);
    let (frames, damage) = read(&text);
    assert_eq!(damage, None);
    let read: Vec<Interval> = frames.into_iter().map(|frame| frame.interval).collect();
    for (read, was) in read.iter().zip(&intervals) {
        assert_eq!((read.elapsed, read.losses), (was.elapsed, was.losses));
        assert_eq!(read.method, was.method);
        let sorted = |interval: &Interval| {
            let mut flows = interval.flows.clone();
            flows.sort_by_key(|flow| flow.key);
            flows.into_iter().map(|flow| {
                (
                    flow.key,
                    flow.counters,
                    flow.packets,
                    flow.tcp,
                    flow.owner.start,
                )
            })
        };
        assert!(sorted(read).eq(sorted(was)));
    }
    assert_eq!(
        String::from_utf8_lossy(&written(&read)),
        String::from_utf8_lossy(&text),
        "byte for byte"
    );
}

#[test]
fn a_file_is_read_up_to_where_it_is_cut_off() {
    let intervals = everything();
    let text = written(&intervals);
    let whole: Vec<usize> = (1..=intervals.len())
        .map(|n| written(&intervals[..n]).len())
        .collect();
    let is_near = |end: usize| whole.iter().any(|&length| length.abs_diff(end) < 4);
    for end in (0..text.len()).filter(|&end| end.is_multiple_of(37) || is_near(end)) {
        let (frames, damage) = read(&text[..end]);
        // Only the last line's end is missing.
        let there = whole.iter().filter(|&&length| length <= end + 1).count();
        assert_eq!(frames.len(), there, "{end}");
        assert_eq!(
            damage.is_none(),
            end == 0 || whole.contains(&end) || whole.contains(&(end + 1)),
            "{end}"
        );
    }
}

#[test]
fn compressed_it_is_the_same_and_cut_off_it_is_read_up_to_the_last_flush() {
    let intervals = everything();
    let mut encoder = zstd::stream::write::Encoder::new(Vec::new(), 3).unwrap();
    let mut flushed = Vec::new();
    for interval in &intervals {
        std::io::Write::write_all(&mut encoder, &written(std::slice::from_ref(interval))).unwrap();
        std::io::Write::flush(&mut encoder).unwrap();
        flushed.push(encoder.get_ref().len());
    }
    let packed = encoder.finish().unwrap();
    let (frames, damage) = read(&packed);
    assert_eq!((frames.len(), damage), (3, None));
    // Twice one after the other, as `cat` does it.
    assert_eq!(read(&packed.repeat(2)).0.len(), 6);
    for end in 4..packed.len() {
        let (frames, damage) = read(&packed[..end]);
        assert!(
            frames.len() >= flushed.iter().filter(|&&length| length <= end).count(),
            "{end}"
        );
        assert!(damage.unwrap().what.contains("cut off"), "{end}");
    }
}

#[test]
fn a_change_anywhere_is_no_panic_and_sums_that_do_not_add_up_are_damage() {
    let text = written(&everything());
    for at in (0..text.len()).step_by(29) {
        for byte in [b'9', b'"', 0, 0xff] {
            let mut text = text.clone();
            text[at] = byte;
            let (frames, _) = read(&text);
            assert!(frames.len() <= 3);
        }
    }
    let text = String::from_utf8(text).unwrap();
    let wrong = text.replacen("\"rx_bytes\":7,", "\"rx_bytes\":8,", 1);
    let (frames, damage) = read(wrong.as_bytes());
    assert_eq!(frames.len(), 0);
    let damage = damage.unwrap().to_string();
    assert!(
        damage.contains("x: line ") && damage.contains("add up to"),
        "{damage}"
    );
}

#[test]
fn missed_events_are_never_a_zero_where_the_kernel_does_not_count_them() {
    for (unknown, missed_events, shown) in [
        (true, 0, None),
        (true, 2, Some(2)),
        (false, 0, Some(0)),
        (false, 2, Some(2)),
    ] {
        let mut interval = Intervals::default().next(1000, Vec::new());
        let mut method = Method::clone(&interval.method);
        method.misses_unknown = unknown;
        interval.method = Arc::new(method);
        interval.losses.missed_events = missed_events;
        let text = written(&[interval]);
        let record: serde_json::Value = serde_json::from_slice(&text).unwrap();
        assert_eq!(record["missed_events"].as_u64(), shown, "{record}");
        let (frames, _) = read(&text);
        let (losses, method) = (frames[0].interval.losses, &frames[0].interval.method);
        assert_eq!(method.missed(&losses), shown);
    }
}

fn damage(text: &str) -> String {
    read(text.as_bytes())
        .1
        .map_or_else(String::new, |damage| damage.to_string())
}

const HEAD: &str = r#"{"type":"interval","schema":2,"time":"2026-11-22T15:00:00.123Z","interval":1.0,"rx_bytes":0,"tx_bytes":0,"flows":0,"untracked_rx_bytes":0,"untracked_tx_bytes":0,"missed_events":0,"backend":"kprobe","unseen":["new_path"]}"#;
const FLOW: &str = r#"{"type":"flow","proto":"tcp","local_addr":"::","local_port":1,"remote_addr":"*","remote_port":0,"pid":7,"rx_bytes":0,"tx_bytes":0}"#;

#[test]
fn what_is_no_recording_is_refused_with_what_to_do() {
    for (text, what) in [
        (
            HEAD.replace("\"schema\":2", "\"schema\":4"),
            "newer flowtop",
        ),
        (HEAD.replace('}', ",\"group\":\"port\"}"), "--json -n 0"),
        (format!("{HEAD}\n{{\"type\":\"other\"}}"), "--json -n 0"),
        (FLOW.to_owned(), "belongs to no interval"),
        ("GET / HTTP/1.1".to_owned(), "no record"),
        (HEAD.replace("1.0", "-1"), "no length of time"),
        (HEAD.replace("1.0", "1e300"), "no length of time"),
        (HEAD.replace("2026", "20x6"), "RFC 3339"),
        (HEAD.replace("\"flows\":0", "\"flows\":9999999"), "at most"),
        (format!("{HEAD}{}", " ".repeat(MAX_LINE)), "longer than"),
        ("x".repeat(10 * MAX_LINE), "longer than"),
        (
            HEAD.replace(
                "\"untracked_rx_bytes\":0",
                &format!("\"untracked_rx_bytes\":{}", u64::MAX),
            ),
            "more bytes than can be counted",
        ),
    ] {
        let message = damage(&text);
        assert!(message.contains(what), "{text}: {message}");
        assert!(!message.chars().any(char::is_control), "{message}");
    }
}

#[test]
fn schemas_1_2_and_3_are_read_alike() {
    let old = HEAD
        .replace("\"flows\":0", "\"flows\":1")
        .replace('}', ",\"kernel\":\"6.18\",\"host\":\"web-1\"}")
        + "\n"
        + &FLOW.replace(
            "\"pid\":7",
            "\"pid\":7,\"comm\":\"kworker\",\"kernel\":true",
        )
        + "\n";
    let new = old
        .replace("\"schema\":2", "\"schema\":3")
        .replace("\"interval\":1.0", "\"seconds\":1.0")
        .replace("\"kernel\":\"", "\"kernel_release\":\"")
        .replace("\"kernel\":true", "\"kernel_thread\":true")
        .replace("\"comm\"", "\"process\"");
    for text in [old.replace("\"schema\":2", "\"schema\":1"), old, new] {
        let (frames, damage) = read(text.as_bytes());
        assert_eq!(damage, None, "{text}");
        let RecordedInterval {
            interval, metadata, ..
        } = &frames[0];
        let machine = (&*metadata.machine.host, &*metadata.machine.kernel);
        assert_eq!(machine, ("web-1", "6.18"), "{text}");
        assert_eq!(interval.elapsed, Duration::from_secs(1), "{text}");
        let owner = &interval.flows[0].owner;
        assert_eq!((owner.comm, owner.kernel), (Comm::new(b"kworker"), true));
    }
    for group in ["group", "grouped_by"] {
        let text = HEAD.replace('}', &format!(",\"{group}\":\"port\"}}"));
        assert!(damage(&text).contains("--json -n 0"), "{text}");
    }
}

#[test]
fn what_a_later_version_adds_is_left_alone() {
    let text = HEAD.replace("\"flows\":0", "\"flows\":1,\"colour\":{\"a\":[1]}");
    let flow = FLOW.replace("\"pid\":7", "\"pid\":7,\"mood\":\"good\"");
    let (frames, damage) = read(format!("{{\"type\":\"hello\"}}\n{text}\n\n{flow}\n").as_bytes());
    assert_eq!(damage, None);
    let interval = &frames[0].interval;
    // But that something is not seen is said, whatever it is called.
    assert_eq!(interval.method.unseen, ["other"]);
    assert!(interval.flows[0].key.remote.is_unknown());
    assert!(interval.flows[0].key.remote.addr.is_ipv6());
}

#[test]
fn sums_over_all_of_a_recording_are_bounded_too() {
    let half = MAX_SUM / 2 + 1;
    let head = HEAD
        .replace("\"rx_bytes\":0", &format!("\"rx_bytes\":{half}"))
        .replace(
            "\"untracked_rx_bytes\":0",
            &format!("\"untracked_rx_bytes\":{half}"),
        );
    let (frames, damage) = read(format!("{head}\n{head}\n").as_bytes());
    assert_eq!(frames.len(), 1);
    assert!(damage.unwrap().what.contains("more bytes"));
    let flows = HEAD.replace("\"flows\":0", "\"flows\":2");
    let flow = FLOW
        .replace("\"rx_msgs\":0", "")
        .replace("\"rx_bytes\":0", &format!("\"rx_bytes\":{}", u64::MAX));
    assert!(self::damage(&format!("{flows}\n{flow}\n{flow}\n")).contains("more bytes"));
}

/// A file of the sample, cut off or not.
fn temporary(name: &str, text: &[u8]) -> PathBuf {
    let path = std::env::temp_dir().join(format!("flowtop-{name}-{}", std::process::id()));
    std::fs::write(&path, text).unwrap();
    path
}

#[test]
fn files_follow_each_other_and_damage_ends_only_its_own() {
    let text = written(&everything());
    let files = [
        temporary("whole", &text),
        temporary("cut", &text[..text.len() - 30]),
        PathBuf::from("/nonexistent/flowtop"),
        temporary("last", &text),
    ];
    let read: Vec<bool> = Replay::new(&open(&files), None, None, &Stop::default())
        .map(|frame| frame.is_ok())
        .collect();
    assert_eq!(
        read,
        [true, true, true, true, true, false, false, true, true, true]
    );
    let extent = measure(&open(&files), &Stop::default());
    assert_eq!(extent.intervals, 9, "the one that is cut off has begun");
    for file in files {
        let _ = std::fs::remove_file(file);
    }
}

#[test]
fn short_intervals_are_joined_and_a_filter_sees_what_is_joined() {
    let mut intervals = Intervals::default();
    let all: Vec<Interval> = (0..10)
        .map(|_| intervals.next(100, vec![flow(1, 10, 0), flow(2, 1, 0)]))
        .collect();
    let file = temporary("joined", &written(&all));
    let files = [file.clone()];
    let joined = |filter: Option<&str>| -> Vec<RecordedInterval> {
        let filter = filter.map(|text| parse(text, &NameTables::default()).unwrap());
        let interval = Some(Duration::from_millis(400));
        let replay = Replay::new(&open(&files), interval, filter.as_ref(), &Stop::default());
        replay.map(Result::unwrap).collect()
    };
    let frames = joined(None);
    let lengths: Vec<u128> = frames
        .iter()
        .map(|frame| frame.interval.elapsed.as_millis())
        .collect();
    assert_eq!(lengths, [400, 400, 200]);
    let bytes: u64 = frames
        .iter()
        .map(|frame| frame.interval.total().rx_bytes)
        .sum();
    assert_eq!(bytes, 110);
    let frames = joined(Some("rx bytes >= 40"));
    let bytes: Vec<u64> = frames
        .iter()
        .map(|frame| frame.interval.total().rx_bytes)
        .collect();
    assert_eq!(bytes, [40, 40, 0]);
    assert_eq!(
        frames[0].metadata.filter.as_deref(),
        Some("rx bytes >= 40B")
    );
    std::fs::remove_file(file).unwrap();
}

#[test]
fn users_are_those_of_the_recording() {
    let mut interval = Intervals::default().next(1000, vec![flow(1, 10, 0)]);
    interval.flows[0].owner = Arc::new(Owner {
        uid: Some(0),
        ..Owner::default()
    });
    let owners = Owners::disabled();
    owners.learn_user(0, Arc::from("toor\u{1b}"));
    let mut json = Json {
        owners: Arc::new(owners),
        ..Json::default()
    };
    let mut out = Vec::new();
    json.append(&Ranking::new(&interval, None), &Names::disabled(), &mut out)
        .unwrap();
    let (frames, _) = read(&out.repeat(2));
    assert_eq!(frames[0].metadata.users, [(0, Arc::from("toor\\x1b"))]);
    assert_eq!(frames[1].metadata.users, [], "it is written once");
}
