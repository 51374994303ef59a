//! `--replay` of files that mean no good: how much memory they can take, how long they can take,
//! and what is said of them.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on stops there")]

use std::fmt::Write as _;
use std::fs;
use std::io::Write as _;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use rustix::fs::{CWD, FileType, Mode, mknodat};
use rustix::process::{Pid, Signal, kill_process};

/// What a recording may take above the flows that it really holds.
const MAX_ABOVE_FLOWS: u64 = 64 << 20;

/// A file, gone at the end.
struct Temporary(PathBuf);

impl Temporary {
    fn new(name: &str, content: impl AsRef<[u8]>) -> Self {
        // Tests of one process run beside each other.
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!("flowtop-hostile-{}-{count}-{name}", std::process::id());
        let path = std::env::temp_dir().join(name);
        fs::write(&path, content).unwrap();
        Self(path)
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}

fn interval(flows: usize) -> String {
    format!(
        r#"{{"type":"interval","schema":2,"time":"2026-01-01T00:00:00Z","interval":1,"rx_bytes":0,"tx_bytes":0,"flows":{flows},"untracked_rx_bytes":0,"untracked_tx_bytes":0,"missed_events":0,"backend":"x"}}"#
    ) + "\n"
}

/// The record of a flow with some more fields.
fn flow(n: usize, fields: &str) -> String {
    let (a, b, c) = (n >> 16 & 255, n >> 8 & 255, n & 255);
    let pid = n + 1;
    format!(
        r#"{{"type":"flow","proto":"tcp","local_addr":"10.{a}.{b}.{c}","local_port":1,"remote_addr":"10.0.0.1","remote_port":1,"pid":{pid},"rx_bytes":0,"tx_bytes":0{fields}}}"#
    ) + "\n"
}

fn recording(intervals: usize, flows: usize, fields: impl Fn(usize) -> String) -> String {
    let mut text = String::new();
    for at in 0..intervals {
        text += &interval(flows);
        for n in 0..flows {
            text += &flow(n, &fields(at * flows + n));
        }
    }
    text
}

/// Peak of the resident memory in bytes, exit code, and what was said.
fn replay(file: &Temporary, args: &[&str]) -> (u64, Option<i32>, String) {
    let measured = Temporary::new("peak", "");
    // bash's own `time` tells no memory; what the shell waited for does (getrusage(2)).
    let script = "import os, resource, subprocess, sys\n\
                  code = subprocess.call(sys.argv[2:], stdout=subprocess.DEVNULL)\n\
                  peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss\n\
                  open(sys.argv[1], 'w').write(str(peak))\n\
                  sys.exit(code)";
    let output = Command::new("python3")
        .args(["-c", script])
        .arg(&measured.0)
        .arg(env!("CARGO_BIN_EXE_flowtop"))
        .args(["--batch", "-n", "3", "--replay"])
        .arg(&file.0)
        .args(args)
        .output()
        .unwrap();
    let peak: u64 = fs::read_to_string(&measured.0).unwrap().parse().unwrap();
    let message = String::from_utf8_lossy(&output.stderr).into_owned();
    (peak * 1024, output.status.code(), message)
}

/// A frame of zstd (RFC 8878) that asks for a window of 2^`log` bytes and holds a few as they are.
fn frame(log: u8, content: &[u8]) -> Vec<u8> {
    let mut frame = vec![0x28, 0xb5, 0x2f, 0xfd, 0, (log - 10) << 3];
    let header = (content.len() as u32) << 3 | 1;
    frame.extend(&header.to_le_bytes()[..3]);
    frame.extend(content);
    frame
}

#[test]
fn a_hostile_recording_takes_little_more_than_its_flows() {
    let name = |n: usize, length: usize| format!("{n:0length$}");
    let none = |_| String::new();
    let cgroup = |length| move |n| format!(r#","cgroup":"/{}""#, name(n, length));
    let user = |length| move |n| format!(r#","uid":1,"user":"{}""#, name(n, length));
    let deep = "[".repeat(60_000);
    let corpus: [(&str, Vec<u8>, &[&str], usize); 11] = [
        (
            "long cgroups",
            recording(1, 2000, cgroup(60_000)).into(),
            &[],
            2000,
        ),
        (
            "many cgroups",
            recording(1, 10_000, cgroup(4000)).into(),
            &[],
            10_000,
        ),
        (
            "cgroups of many intervals",
            recording(5, 3000, cgroup(4000)).into(),
            &[],
            3000,
        ),
        (
            "joined intervals",
            recording(5, 3000, cgroup(4000)).into(),
            &["-i", "1h"],
            15_000,
        ),
        (
            "long users",
            recording(1, 2000, user(60_000)).into(),
            &[],
            2000,
        ),
        (
            "a user of many names",
            recording(3, 20_000, user(250)).into(),
            &[],
            20_000,
        ),
        (
            "more flows announced than given",
            interval(4_000_000).into(),
            &[],
            0,
        ),
        ("an endless line", vec![b'a'; 50 << 20], &[], 0),
        ("zeros", vec![0; 50 << 20], &[], 0),
        ("deep nesting", (interval(1) + &deep).into(), &[], 0),
        (
            "a window of 2 GiB",
            frame(31, interval(0).as_bytes()),
            &[],
            0,
        ),
    ];
    for (what, content, args, flows) in corpus {
        let file = Temporary::new("corpus", content);
        let honest = Temporary::new("honest", recording(1, flows, none));
        let (allowed, code, message) = replay(&honest, &[]);
        assert_eq!(code, Some(0), "{message}");
        let (peak, code, message) = replay(&file, args);
        assert!(
            peak <= allowed + MAX_ABOVE_FLOWS,
            "{what}: {peak} bytes, {allowed} of honest flows"
        );
        assert!(matches!(code, Some(0 | 1)), "{what}: {code:?}, {message}");
    }
}

#[test]
fn what_is_wrong_is_said_with_file_line_and_reason() {
    let first_flow = |fields: &str| interval(1) + &flow(1, fields);
    let long = "x".repeat(5000);
    let corpus: [(Vec<u8>, &str, &str); 7] = [
        (
            first_flow(&format!(r#","cgroup":"/{long}""#)).into(),
            "line 2",
            "cgroup is longer than 4096 bytes",
        ),
        (
            first_flow(&format!(r#","user":"{long}""#)).into(),
            "line 2",
            "user is longer than 256 bytes",
        ),
        (
            interval(0)
                .replace("\"x\"", &format!("\"x\",\"host\":\"{long}\""))
                .into(),
            "line 1",
            "host is longer",
        ),
        (
            interval(0).replace("2026-", "0000-").into(),
            "line 1",
            "between the years 1970 and 9999",
        ),
        (
            interval(0).replace("2026-", "-001-").into(),
            "line 1",
            "between the years 1970 and 9999",
        ),
        (frame(31, interval(0).as_bytes()), "line 1", "--long"),
        (
            b"\x28\xb5\x2f\xfd\x08\x58\x01\x00\x00more".to_vec(),
            "line 1",
            "damaged",
        ),
    ];
    for (content, line, reason) in corpus {
        let file = Temporary::new("wrong", content);
        let (_, code, message) = replay(&file, &[]);
        assert_eq!(code, Some(1), "{message}");
        for part in [file.0.to_str().unwrap(), line, reason] {
            assert!(message.contains(part), "no {part:?} in {message}");
        }
        assert!(!message.contains("stripped"), "{message}");
    }
    let last = Temporary::new(
        "last",
        interval(0).replace("2026-01-01T00:00:00Z", "9999-12-31T23:59:59.9Z"),
    );
    let (_, code, message) = replay(&last, &[]);
    assert_eq!(code, Some(0), "{message}");
}

/// Writes to a replay without end, until it does not read any more.
fn feed(child: &mut Child, piece: &[u8]) {
    let mut input = child.stdin.take().unwrap();
    let many = piece.repeat((64 << 10) / piece.len());
    thread::spawn(move || while input.write_all(&many).is_ok() {});
}

fn replay_of(file: &str) -> Child {
    let mut command = Command::new(env!("CARGO_BIN_EXE_flowtop"));
    command.args(["-v", "--batch", "--replay", file]);
    command
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped());
    command.spawn().unwrap()
}

/// Whether it ends with 0 within a moment of SIGTERM. It reads when it has said that it is
/// confined.
#[track_caller]
fn assert_ends(mut child: Child, what: &str) {
    let mut stderr = std::io::BufReader::new(child.stderr.take().unwrap());
    let mut line = String::new();
    std::io::BufRead::read_line(&mut stderr, &mut line).unwrap();
    assert!(line.contains("confined"), "{what}: {line}");
    kill_process(Pid::from_child(&child), Signal::TERM).unwrap();
    let start = Instant::now();
    loop {
        if let Some(status) = child.try_wait().unwrap() {
            assert_eq!(status.code(), Some(0), "{what}");
            return;
        }
        if start.elapsed() > Duration::from_secs(10) {
            child.kill().unwrap();
            panic!("SIGTERM does not end a replay of {what}");
        }
        thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn sigterm_ends_a_replay_that_yields_no_interval() {
    // A skippable frame of 8 bytes (RFC 8878, 3.1.2).
    let skippable = b"\x50\x2a\x4d\x18\x08\x00\x00\x00........";
    let junk = b"{\"type\":\"of a later version\"}\n";
    for (what, piece) in [
        ("endless newlines", &b"\n"[..]),
        ("endless records of no meaning", junk),
        ("endless empty frames", skippable),
    ] {
        let mut child = replay_of("-");
        feed(&mut child, piece);
        assert_ends(child, what);
    }
    assert_ends(replay_of("-"), "an input that says nothing");
    let mut fifo = String::new();
    write!(
        fifo,
        "{}/flowtop-fifo-{}",
        std::env::temp_dir().display(),
        std::process::id()
    )
    .unwrap();
    mknodat(CWD, &fifo, FileType::Fifo, Mode::from_raw_mode(0o600), 0).unwrap();
    let child = replay_of(&fifo);
    assert_ends(child, "a FIFO without a writer");
    fs::remove_file(fifo).unwrap();
}

#[test]
fn more_recordings_than_open_files_are_allowed_are_replayed() {
    let file = Temporary::new("many", interval(0));
    let script = r#"ulimit -Sn 64; set --; i=0
        while [ $i -lt 200 ]; do set -- "$@" "$file"; i=$((i + 1)); done
        exec "$flowtop" --json --replay "$@""#;
    let output = Command::new("sh")
        .args(["-c", script])
        .env("file", &file.0)
        .env("flowtop", env!("CARGO_BIN_EXE_flowtop"))
        .output()
        .unwrap();
    let message = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{message}");
    let text = String::from_utf8_lossy(&output.stdout);
    assert_eq!(
        text.matches(r#""type":"interval""#).count(),
        200,
        "{message}"
    );
}
