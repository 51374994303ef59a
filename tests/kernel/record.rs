//! Recording and replaying with the real binary: real traffic, a disk that is full, a process that is
//! killed, files that are damaged, a user without rights, the live table on a terminal. Needs root, as
//! all of `make test` does.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on stops there")]

use std::collections::BTreeMap;
use std::fs;
use std::io::Read as _;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use crate::common;
use crate::common::demo::Demo;
use crate::common::folder::{Folder, copy_flowtop};
use crate::common::pty::{PATIENCE, Pty, Watched};
use crate::common::{stderr, sum};
use rustix::mount::{MountFlags, UnmountFlags, mount, unmount};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

fn flowtop(args: &[&str]) -> Command {
    let mut command = common::flowtop();
    command.args(args);
    command
}

#[track_caller]
fn run(args: &[&str], code: i32) -> Output {
    let output = flowtop(args).output().unwrap();
    let message = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(code), "{args:?}: {message}");
    output
}

fn records(text: &[u8]) -> Vec<Value> {
    let lines = text
        .split(|&byte| byte == b'\n')
        .filter(|line| !line.is_empty());
    lines
        .map(|line| serde_json::from_slice(line).unwrap())
        .collect()
}

/// The recording that ships with flowtop.
fn sample() -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("samples/demo.jsonl.zst");
    path.to_str().unwrap().to_owned()
}

fn unpacked(file: &str) -> Vec<u8> {
    let mut text = Vec::new();
    let mut decoder = zstd::stream::read::Decoder::new(fs::File::open(file).unwrap()).unwrap();
    // What comes before the end that may be missing.
    let _ = decoder.read_to_end(&mut text);
    text
}

/// Live, recorded and replayed are the same records, under load, plain and compressed.
#[test]
fn live_recorded_and_replayed_are_the_same_bytes() {
    let folder = Folder::new("same");
    let _traffic = Demo::start();
    for name in ["x.jsonl", "x.jsonl.zst"] {
        let file = folder.file(name);
        let live = run(
            &["--json", "-n0", "-i", "0.2", "-c", "10", "--record", &file],
            0,
        );
        let recorded = match name.ends_with(".zst") {
            true => unpacked(&file),
            false => fs::read(&file).unwrap(),
        };
        let (shown, kept) = (records(&live.stdout), records(&recorded));
        for field in ["rx_bytes", "tx_bytes", "rx_msgs", "tx_msgs"] {
            let moved = sum(&kept, "flow", field);
            assert!(moved > 0);
            assert_eq!(sum(&shown, "flow", field), moved, "{field}");
        }
        assert_eq!(
            sum(&kept, "flow", "tx_bytes"),
            sum(&kept, "interval", "tx_bytes")
        );
        let replayed = run(&["--replay", &file, "--json", "-n", "0"], 0).stdout;
        assert!(replayed == recorded, "{name}: not the same bytes");
        // Whatever else is shown, everything is kept.
        let other = folder.file(&format!("other-{name}"));
        run(
            &[
                "--csv",
                "-n1",
                "-g",
                "user",
                "-i",
                "0.2",
                "--duration",
                "0.9",
                "--record",
                &other,
            ],
            0,
        );
        let replayed = run(&["--json", "-n0", "--replay", &other], 0).stdout;
        let all = records(&replayed);
        assert!(sum(&all, "flow", "tx_bytes") > 0);
        assert_eq!(
            sum(&all, "flow", "tx_bytes"),
            sum(&all, "interval", "tx_bytes")
        );
        let length: f64 = all
            .iter()
            .filter_map(|record| match record["type"] == "interval" {
                true => record["seconds"].as_f64(),
                false => None,
            })
            .sum();
        assert!((0.9..5.0).contains(&length), "{length}");
    }
}

/// A line of schema 2 as schema 3 has it.
fn rewritten(line: &str, host: &str) -> String {
    let mut record: Value = serde_json::from_str(line).unwrap();
    let kind = record["type"].as_str().unwrap().to_owned();
    let fields = record.as_object_mut().unwrap();
    let kernel = match &*kind {
        "interval" => "kernel_release",
        _ => "kernel_thread",
    };
    for (old, new) in [
        ("interval", "seconds"),
        ("kernel", kernel),
        ("comm", "process"),
    ] {
        if let Some(value) = fields.remove(old) {
            fields.insert(new.to_owned(), value);
        }
    }
    fields.insert("host".to_owned(), host.into());
    if kind == "interval" {
        fields.insert("schema".to_owned(), 3.into());
    }
    let worst = fields
        .get_mut("audit")
        .and_then(|audit| audit.get_mut("worst"));
    if let Some(worst) = worst.and_then(Value::as_object_mut)
        && let Some(comm) = worst.remove("comm")
    {
        worst.insert("process".to_owned(), comm);
    }
    record.to_string() + "\n"
}

#[test]
fn a_recording_of_schema_2_and_its_rewrite_replay_to_the_same_bytes() {
    let folder = Folder::new("schemas");
    let recorded = String::from_utf8(unpacked(&sample())).unwrap();
    assert!(recorded.contains("\"schema\":2,") && recorded.contains("\"comm\":"));
    // What the sample lacks: a thread of the kernel, and a connection that is off.
    let worst = r#","audit":{"connections":2,"agreeing":1,"exempt":0,"drift_rx_bytes":5,"drift_tx_bytes":0,"worst":{"local_addr":"::1","local_port":1,"remote_addr":"::1","remote_port":2,"pid":7,"comm":"kworker/0:1","drift_rx_bytes":5,"drift_tx_bytes":0}},"backend""#;
    let recorded = recorded
        .lines()
        .map(|line| {
            let line = match line.split_once(",\"audit\":") {
                Some((before, audit)) => {
                    let (_, after) = audit.split_once("},\"backend\"").unwrap();
                    format!("{before},\"backend\"{after}")
                }
                None => line.to_owned(),
            };
            line.replacen(",\"backend\"", worst, 1)
                .replace("\"start_ns\"", "\"kernel\":true,\"start_ns\"")
                + "\n"
        })
        .collect::<String>();
    let new: String = recorded
        .lines()
        .map(|line| rewritten(line, "demo"))
        .collect();
    let (old_file, new_file) = (folder.file("2.jsonl"), folder.file("3.jsonl"));
    fs::write(&old_file, &recorded).unwrap();
    fs::write(&new_file, &new).unwrap();
    for args in [
        &["--json", "-n0"][..],
        &["--json", "-n0", "-i", "7"],
        &["--json", "-n5", "-g", "process"],
        &["--csv", "-n0"],
        &["--batch", "--wide"],
    ] {
        let replayed = |file: &str| run(&[args, &["--replay", file]].concat(), 0).stdout;
        let (old, new) = (replayed(&old_file), replayed(&new_file));
        assert!(old == new, "{args:?}: not the same bytes");
        assert!(old.len() > 1000);
    }
    let first = run(&["--json", "-n0", "--replay", &old_file], 0).stdout;
    let again = folder.file("again.jsonl");
    fs::write(&again, &first).unwrap();
    assert!(run(&["--json", "-n0", "--replay", &again], 0).stdout == first);
    for (mine, written) in records(new.as_bytes()).iter().zip(&records(&first)) {
        for (key, value) in mine.as_object().unwrap() {
            assert_eq!(&written[key], value, "{key} of {written}");
        }
    }
}

#[test]
fn groups_filters_and_top_n_work_on_a_recording_as_on_a_machine() {
    let all = records(&run(&["--replay", &sample(), "--json", "-n0"], 0).stdout);
    let total = sum(&all, "interval", "rx_bytes");
    assert!(total > 1_000_000);
    for group in [
        "process",
        "user",
        "container",
        "unit",
        "remote",
        "net/24",
        "port",
    ] {
        let groups =
            records(&run(&["--replay", &sample(), "--json", "-n2", "-g", group], 0).stdout);
        let rows = sum(&groups, "group", "rx_bytes") + sum(&groups, "other", "rx_bytes");
        assert_eq!(rows, total, "{group}");
    }
    let filter = "tcp and comm demo-store";
    let some = records(&run(&["--json", "-n0", filter, "--replay", &sample()], 0).stdout);
    let wanted = all
        .iter()
        .filter(|record| record["process"] == "demo-store");
    let wanted: u64 = wanted
        .map(|record| record["rx_bytes"].as_u64().unwrap())
        .sum();
    assert_eq!(sum(&some, "interval", "rx_bytes"), wanted);
    assert!(
        some[0]["filter"]
            .as_str()
            .unwrap()
            .ends_with("and (tcp and process demo-store)")
    );
    let minutes = records(&run(&["--json", "-n0", "-i", "10", "--replay", &sample()], 0).stdout);
    assert_eq!(sum(&minutes, "interval", "rx_bytes"), total);
    let intervals = |records: &[Value]| records.iter().filter(|r| r["type"] == "interval").count();
    assert_eq!(intervals(&minutes), intervals(&all).div_ceil(10));
    for (args, count) in [
        (&["--once"][..], 1),
        (&["-c", "3"][..], 3),
        (&["--duration", "5"][..], 5),
    ] {
        let some = run(&[args, &["--replay", &sample(), "--json"]].concat(), 0);
        assert!(intervals(&records(&some.stdout)).abs_diff(count) <= usize::from(count == 5));
    }
    let text = run(&["--replay", &sample(), "--batch", "-c1"], 0);
    assert!(text.stdout.starts_with(b"2026-11-25T23:41:39.887Z  "));
    let notes = stderr(&text);
    assert!(
        notes.starts_with("flowtop: filter: comm demo-*\n"),
        "{notes}"
    );
    assert!(notes.contains("flowtop: tracepoint backend: "), "{notes}");
    assert!(notes.contains("flowtop: !!! UNSEEN: "), "{notes}");
}

#[test]
fn csv_adds_up_and_has_what_json_has() {
    let file = sample();
    for args in [
        &["-n0"][..],
        &["-n", "3"],
        &["-n2", "-g", "process"],
        &["-n1", "-g", "net/16"],
    ] {
        let json = run(&[&["--replay", &file, "--json"], args].concat(), 0).stdout;
        let json = records(&json);
        let text = run(&[&["--replay", &file, "--csv"], args].concat(), 0).stdout;
        let mut reader = csv::Reader::from_reader(&text[..]);
        let columns = reader.headers().unwrap().clone();
        let place = |name: &str| columns.iter().position(|column| column == name).unwrap();
        let rows: Vec<csv::StringRecord> = reader.records().map(Result::unwrap).collect();
        let (intervals, records): (Vec<&Value>, Vec<&Value>) =
            json.iter().partition(|record| record["type"] == "interval");
        assert_eq!(rows.len(), records.len(), "nothing is untracked");
        for field in ["rx_bytes", "tx_bytes"] {
            let cells = rows
                .iter()
                .map(|row| row[place(field)].parse::<u64>().unwrap());
            assert_eq!(
                cells.sum::<u64>(),
                sum(&json, "interval", field),
                "{args:?}"
            );
        }
        let plain = |value: &Value| match value {
            Value::String(text) => text.clone(),
            Value::Array(texts) => {
                let texts: Vec<_> = texts.iter().map(|text| text.as_str().unwrap()).collect();
                texts.join(" ")
            }
            value => value.to_string(),
        };
        for (row, record) in rows.iter().zip(&records) {
            for (name, value) in record.as_object().unwrap() {
                assert_eq!(row[place(name)], plain(value), "{name}");
            }
            let interval = intervals.iter().find(|it| it["time"] == record["time"]);
            for name in ["host", "backend", "unseen", "missed_events"] {
                assert_eq!(row[place(name)], plain(&interval.unwrap()[name]), "{name}");
            }
            let seconds = record["seconds"].as_f64().unwrap();
            for (rate, bytes) in [("rx_rate", "rx_bytes"), ("tx_rate", "tx_bytes")] {
                let expected = record[bytes].as_f64().unwrap() / seconds;
                let rate: f64 = row[place(rate)].parse().unwrap();
                assert!((rate - expected).abs() < 0.001, "{rate}, not {expected}");
            }
        }
    }
}

#[test]
fn what_a_process_calls_itself_is_one_harmless_cell() {
    let folder = Folder::new("cells");
    let file = folder.file("hostile.jsonl");
    let text = String::from_utf8(unpacked(&sample())).unwrap();
    let text = text.replace(
        "\"comm\":\"demo-store\"",
        r#""comm":"=1+\"a\",\n\u001b[2J""#,
    );
    fs::write(&file, text).unwrap();
    let out = run(&["--replay", &file, "--csv", "-c2"], 0).stdout;
    assert!(
        out.iter().all(|&byte| byte == b'\n' || byte >= b' '),
        "no control character"
    );
    let mut reader = csv::Reader::from_reader(&out[..]);
    let cells: Vec<String> = reader
        .records()
        .flat_map(|row| row.unwrap().iter().map(str::to_owned).collect::<Vec<_>>())
        .collect();
    assert!(cells.iter().any(|cell| cell == "'=1+\"a\",\\n\\x1b[2J"));
    for args in [
        &["--batch"][..],
        &["--batch", "--wide"],
        &["--batch", "-g", "process"],
    ] {
        let out = run(&[args, &["--replay", &file]].concat(), 0).stdout;
        assert!(
            out.iter().all(|&byte| byte == b'\n' || byte >= b' '),
            "{args:?}"
        );
    }
}

#[test]
fn a_name_is_no_formula_whatever_a_spreadsheet_takes_for_the_separator() {
    let folder = Folder::new("formulas");
    let file = folder.file("hostile.jsonl");
    let sample = String::from_utf8(unpacked(&sample())).unwrap();
    for (comm, cell) in [
        ("a;=1+1", r#""a;'=1+1""#),
        ("a\\\";=1+1", r#""a"";'=1+1""#),
        ("a;\\\" -1+1", r#""a;"" '-1+1""#),
        ("a|@SUM(1)", r#""a|'@SUM(1)""#),
        ("+1", r#""'+1""#),
        ("\u{ff1d}1+1", "\"'\u{ff1d}1+1\""),
        ("\\t=1", r#""\t=1""#),
        ("a-b=c", r#""a-b=c""#),
        ("5", r#""5""#),
    ] {
        let text = sample.replace("\"comm\":\"demo-store\"", &format!("\"comm\":\"{comm}\""));
        fs::write(&file, text).unwrap();
        for group in [&[][..], &["-g", "process"]] {
            let args = [&["--replay", &file, "--csv", "-c2"], group].concat();
            let out = String::from_utf8(run(&args, 0).stdout).unwrap();
            assert!(out.contains(&format!(",{cell},")), "{cell}: {out}");
            for piece in out.split([';', '|', '\t', '\n']) {
                let begin = piece.trim_start_matches(['"', ' ']).chars().next();
                let is_formula = begin.is_some_and(|c| "=+-@\u{ff1d}".contains(c));
                assert!(!is_formula, "{piece:?}");
            }
        }
    }
}

#[test]
fn a_condition_ends_with_its_own_code_live_and_replayed() {
    let _traffic = Demo::start();
    for output in ["--json", "--csv", "--batch"] {
        let met = run(
            &[
                output,
                "-i0.1",
                "--exit-when",
                "rate > 1kB",
                "--duration",
                "60",
            ],
            3,
        );
        assert!(
            stderr(&met).contains("ended by --exit-when 'rate > 1kB'"),
            "{}",
            stderr(&met)
        );
        let met = run(
            &[
                output,
                "--replay",
                &sample(),
                "--exit-when",
                "tx rate > 1kB",
            ],
            3,
        );
        assert!(stderr(&met).contains("--exit-when"));
        let not = run(
            &[
                output,
                "--replay",
                &sample(),
                "--exit-when",
                "bytes > 1TB or rx bytes > 1TB",
            ],
            0,
        );
        let is_note = |line: &str| {
            line.contains(": !!! ") || line.contains(" backend: ") || line.contains(": filter: ")
        };
        let others = stderr(&not).lines().filter(|line| !is_note(line)).count();
        assert_eq!(others, 0, "{}", stderr(&not));
        assert!(output == "--batch" || stderr(&not).is_empty());
    }
    let met = records(
        &run(
            &[
                "--json",
                "-n0",
                "--replay",
                &sample(),
                "--exit-when",
                "rate > 1kB",
            ],
            3,
        )
        .stdout,
    );
    let mut intervals = met.iter().filter(|record| record["type"] == "interval");
    let last = intervals.next_back().unwrap();
    assert!(
        last["rx_bytes"].as_u64().unwrap() > 500,
        "the interval that met it is the last"
    );
}

#[test]
fn conflicting_record_options_are_rejected() {
    let folder = Folder::new("refused");
    let there = folder.file("there.jsonl");
    fs::write(&there, "precious").unwrap();
    let (sample, missing) = (sample(), folder.file("missing"));
    let dir = folder.path().to_str().unwrap();
    for (args, fix) in [
        (
            vec!["--replay", &sample, "--backend", "kprobe"],
            "cannot be used with",
        ),
        (
            vec!["--replay", &sample, "--record", &missing],
            "cannot be used with",
        ),
        (
            vec!["--replay", &sample, "--max-flows", "100"],
            "cannot be used with",
        ),
        (
            vec!["--replay", &sample, "--no-pushdown"],
            "cannot be used with",
        ),
        (vec!["--replay", &missing], "No such file"),
        (
            vec!["--replay", &sample, "tcp"],
            "put a filter before --replay",
        ),
        (vec!["--replay", dir], "is a directory"),
        (vec!["--replay", "-", "-"], "can be replayed once"),
        (vec!["--replay"], "--replay needs a value: give a recording"),
        (
            vec!["--record", &there],
            "already exists and flowtop never overwrites",
        ),
        (vec!["--record", dir], "is a directory"),
        (vec!["--record", "-"], "--json -n 0"),
        (vec!["--record-size", "1GB"], "--record is missing"),
        (
            vec!["--record", &missing, "--record-files", "3"],
            "--record-size or --record-time",
        ),
        (
            vec!["--record", &missing, "--record-size", "1Mb"],
            "write 1Mbit or 1MB",
        ),
        (
            vec!["--record", &missing, "--record-size", "1B"],
            "give at least 10.0 kB",
        ),
        (
            vec!["--record", &missing, "--record-time", "0"],
            "as in 90, 30s, 5m, 1h30m or 1d",
        ),
        (
            vec!["--record", &missing, "--record-files", "0"],
            "give a number from 1 up",
        ),
        (vec!["--once", "-c", "2"], "cannot be used with"),
        (vec!["--csv", "--json"], "cannot be used with"),
        (vec!["--csv", "--sort", "peak"], "only the live table"),
        (vec!["--duration", "soon"], "as in 90, 30s"),
        (vec!["--exit-when", "tcp"], "use only rate and bytes"),
        (
            vec!["--exit-when", "rate > 1GB and port 80"],
            "use only rate and bytes",
        ),
        (vec!["--exit-when", "rate"], "needs a comparison"),
    ] {
        let output = run(&args, 2);
        assert!(output.stdout.is_empty(), "{args:?}");
        assert!(
            stderr(&output).contains(fix),
            "{args:?}: {}",
            stderr(&output)
        );
    }
    assert_eq!(fs::read(&there).unwrap(), b"precious");
    assert!(!Path::new(&missing).exists());
}

/// Cut off anywhere, and changed: read up to there, said, exit code 1.
#[test]
fn a_damaged_file_is_read_up_to_the_damage() {
    let folder = Folder::new("damaged");
    let packed = fs::read(sample()).unwrap();
    let text = unpacked(&sample());
    let half = text.len() / 2;
    // A digit of a counter: still a record, but not what was counted.
    let field = b"\"rx_bytes\":";
    let digit = text[half..]
        .windows(field.len())
        .position(|window| window == field);
    let digit = half + digit.unwrap() + field.len();
    let mut changed = text.clone();
    changed[digit] = if changed[digit] == b'9' {
        b'8'
    } else {
        changed[digit] + 1
    };
    let mut garbled = packed.clone();
    let middle = garbled.len() / 2;
    garbled[middle..middle + 64].fill(0x55);
    let lines = |text: &[u8]| {
        records(text)
            .iter()
            .filter(|r| r["type"] == "interval")
            .count()
    };
    let whole = lines(&run(&["--replay", &sample(), "--json"], 0).stdout);
    for (name, bytes, printed) in [
        ("cut.jsonl", &text[..half], "cut off"),
        ("cut.jsonl.zst", &packed[..packed.len() / 2], "cut off"),
        ("changed.jsonl", &changed, "changed.jsonl: line "),
        ("garbled.jsonl.zst", &garbled, "garbled.jsonl.zst: line "),
    ] {
        let file = folder.file(name);
        fs::write(&file, bytes).unwrap();
        let output = run(&["--replay", &file, "--json"], 1);
        let read = lines(&output.stdout);
        assert!(
            (1..whole).contains(&read) || name.starts_with("garbled"),
            "{name}: {read}"
        );
        assert!(
            stderr(&output).contains(printed),
            "{name}: {}",
            stderr(&output)
        );
        // The next file is read all the same.
        let both = run(&["--json", "--replay", &file, &sample()], 1);
        assert_eq!(lines(&both.stdout), read + whole, "{name}");
    }
    let newer = folder.file("newer.jsonl");
    fs::write(
        &newer,
        String::from_utf8(text)
            .unwrap()
            .replace("\"schema\":2", "\"schema\":9"),
    )
    .unwrap();
    let output = run(&["--replay", &newer, "--batch"], 1);
    assert!(
        stderr(&output).contains("replay it with a newer flowtop"),
        "{}",
        stderr(&output)
    );
    assert!(output.stdout.is_empty());
}

/// Intervals by their ends, with the bytes received and sent until then, of an output that may be cut
/// off: so without the last.
fn intervals_of(output: &[u8]) -> BTreeMap<String, (Vec<Value>, [u64; 2])> {
    let end = output.iter().rposition(|&byte| byte == b'\n');
    let all = records(&output[..end.map_or(0, |end| end + 1)]);
    let mut intervals: Vec<_> = all
        .chunk_by(|_, next| next["type"] != "interval")
        .map(<[Value]>::to_vec)
        .collect();
    intervals.pop();
    let mut sums = [0; 2];
    let ended = intervals.into_iter().map(|interval| {
        for (sum, field) in sums.iter_mut().zip(["rx_bytes", "tx_bytes"]) {
            *sum += interval[0][field].as_u64().unwrap();
        }
        let time = interval[0]["time"].as_str().unwrap().to_owned();
        (time, (interval, sums))
    });
    ended.collect()
}

/// Killed in the middle of it: every interval that had ended is there.
#[test]
fn after_kill_9_at_most_the_last_interval_is_lost() {
    let folder = Folder::new("killed");
    let _traffic = Demo::start();
    for name in ["x.jsonl", "x.jsonl.zst"] {
        let file = folder.file(name);
        let mut command = flowtop(&["--json", "-n0", "-i", "0.2", "--record", &file]);
        let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
        let mut stdout = child.stdout.take().unwrap();
        let mut live = Vec::new();
        let mut chunk = [0; 4096];
        let intervals = |text: &[u8]| {
            let head = br#"{"type":"interval","#;
            text.windows(head.len()).filter(|w| w == head).count()
        };
        while intervals(&live) < 20 {
            let n = stdout.read(&mut chunk).unwrap();
            assert!(n > 0, "ended");
            live.extend(&chunk[..n]);
        }
        child.kill().unwrap();
        child.wait().unwrap();
        stdout.read_to_end(&mut live).unwrap();
        let output = flowtop(&["--json", "-n0", "--replay", &file])
            .output()
            .unwrap();
        let replayed = output.stdout.clone();
        assert!(intervals(&replayed) >= 18);
        assert!(
            intervals(&replayed) + 2 >= intervals(&live),
            "{}",
            stderr(&output)
        );
        // What was seen is what is there. Where its writer was late, what is shown is joined, and its
        // sums are those of the file all the same.
        let (shown, kept) = (intervals_of(&live), intervals_of(&replayed));
        let last = kept.last_key_value().unwrap().0.clone();
        assert!(shown.range(..=last.clone()).count() > 1);
        for (time, (seen, sums)) in shown.range(..=last) {
            let (there, until) = &kept[time];
            let length = |interval: &[Value]| interval[0]["seconds"].as_f64();
            assert_eq!(sums, until, "{time}");
            assert!(seen == there || length(seen) > length(there), "{time}");
        }
        if name.ends_with(".zst") {
            assert_eq!(output.status.code(), Some(1));
            assert!(stderr(&output).contains("cut off"), "{}", stderr(&output));
        }
    }
}

/// A file system of so many bytes, unmounted when dropped.
struct Tiny(PathBuf);

impl Tiny {
    fn mount(path: PathBuf, kib: u32) -> Self {
        fs::create_dir_all(&path).unwrap();
        let options = std::ffi::CString::new(format!("size={kib}k")).unwrap();
        mount(
            "tmpfs",
            &path,
            "tmpfs",
            MountFlags::empty(),
            Some(options.as_c_str()),
        )
        .unwrap();
        Self(path)
    }
}

impl Drop for Tiny {
    fn drop(&mut self) {
        let _ = unmount(&self.0, UnmountFlags::DETACH);
    }
}

/// The display goes on, it is said, what waits is written when there is room again, and sums are whole.
#[test]
fn a_full_disk_holds_up_nothing_and_loses_nothing_if_room_comes_in_time() {
    let folder = Folder::new("full");
    // It is soon full, and then there is room for whatever has waited on a busy machine.
    let disk = Tiny::mount(folder.join("disk"), 8192);
    let _traffic = Demo::start();
    let (file, ballast) = (disk.0.join("x.jsonl"), disk.0.join("ballast"));
    fs::write(&ballast, vec![7; (8192 - 156) << 10]).unwrap();
    let mut command = flowtop(&[
        "--json",
        "-n0",
        "-i",
        "0.1",
        "--record",
        file.to_str().unwrap(),
    ]);
    let mut child = command
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdout = child.stdout.take().unwrap();
    let live = thread::spawn(move || {
        let mut live = Vec::new();
        stdout.read_to_end(&mut live).unwrap();
        live
    });
    let printed = Arc::new(Watched::new(String::new()));
    let (mut log, filling) = (child.stderr.take().unwrap(), Arc::clone(&printed));
    let reader = thread::spawn(move || {
        let mut bytes = [0; 1024];
        while let Ok(n @ 1..) = log.read(&mut bytes) {
            filling.change(|printed| printed.push_str(&String::from_utf8_lossy(&bytes[..n])));
        }
    });
    // The disk is small, but whoever else uses the machine may slow all of this down.
    let says = |what: &str| (0..3).any(|_| printed.wait_until(|printed| printed.contains(what)));
    let is_full = says("No space left on device");
    assert!(is_full, "{}", printed.with(|printed| printed.clone()));
    // Whole intervals are what is there now.
    let now = run(&["--json", "--replay", file.to_str().unwrap()], 0);
    assert!(!now.stdout.is_empty());
    fs::remove_file(&ballast).unwrap();
    let goes_on = says("it goes on, nothing is lost");
    assert!(goes_on, "{}", printed.with(|printed| printed.clone()));
    kill_process(Pid::from_child(&child), Signal::INT).unwrap();
    let (code, live) = (child.wait().unwrap().code(), live.join().unwrap());
    reader.join().unwrap();
    let printed = printed.with(|printed| printed.clone());
    let replayed = run(&["--json", "-n0", "--replay", file.to_str().unwrap()], 0).stdout;
    let (live, replayed) = (records(&live), records(&replayed));
    for field in ["rx_bytes", "tx_bytes"] {
        let (shown, kept) = (
            sum(&live, "interval", field),
            sum(&replayed, "interval", field),
        );
        match code {
            Some(0) => assert_eq!(kept, shown, "{field}"),
            // The rest of the disk was not enough for all that had waited.
            _ => assert!(
                kept < shown && printed.contains("are not in it"),
                "{field}: {printed}"
            ),
        }
    }
}

#[test]
fn a_disk_that_stays_full_is_an_error_in_the_end() {
    let _traffic = Demo::start();
    let output = run(
        &["--json", "-i", "0.1", "-c", "10", "--record", "/dev/full"],
        1,
    );
    let shown = records(&output.stdout);
    assert!(
        shown.iter().filter(|r| r["type"] == "interval").count() > 1,
        "it went on"
    );
    let printed = stderr(&output);
    assert!(
        printed.contains("No space left on device") && printed.contains("are not in it"),
        "{printed}"
    );
}

#[test]
fn files_rotate_under_real_traffic_and_are_one_recording() {
    let folder = Folder::new("rotate");
    let _traffic = Demo::start();
    let file = folder.file("web.jsonl.zst");
    let live = run(
        &[
            "--json",
            "-n0",
            "-i",
            "0.1",
            "--duration",
            "6",
            "--record",
            &file,
            "--record-time",
            "0.5",
        ],
        0,
    );
    let mut files: Vec<PathBuf> = fs::read_dir(folder.path())
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    files.sort();
    assert!(files.len() >= 3, "{files:?}");
    let mut args = vec!["--json", "-n0", "--replay"];
    args.extend(files.iter().map(|file| file.to_str().unwrap()));
    let replayed = run(&args, 0).stdout;
    let (live, replayed) = (records(&live.stdout), records(&replayed));
    assert_eq!(
        sum(&replayed, "flow", "tx_bytes"),
        sum(&live, "flow", "tx_bytes")
    );
}

/// No privilege, no /proc that could be asked, no kernel side.
#[test]
fn anyone_can_replay() {
    let folder = Folder::new("nobody");
    let (program, file) = (folder.join("flowtop"), folder.join("demo.jsonl.zst"));
    copy_flowtop(&program);
    fs::copy(sample(), &file).unwrap();
    let mut command = Command::new(&program);
    command
        .args(["--json", "-n0", "--replay"])
        .arg(&file)
        .stdin(Stdio::null());
    let output = command.uid(65534).gid(65534).output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    // The sample is of schema 2, so it is compared with what its owner gets.
    let owners = run(&["--json", "-n0", "--replay", &sample()], 0);
    assert!(!output.stdout.is_empty() && output.stdout == owners.stdout);
    // By a pipe as well.
    let mut command = Command::new(&program);
    command
        .args(["--json", "-n0", "--replay", "-"])
        .stdin(fs::File::open(&file).unwrap());
    assert!(command.uid(65534).gid(65534).output().unwrap().stdout == output.stdout);
}

/// flowtop on a terminal of its own.
struct Table {
    child: Child,
    terminal: Pty,
    screen: Arc<Watched<vt100::Parser>>,
}

impl Table {
    fn start(args: &[&str]) -> Self {
        let terminal = Pty::open(120, 30);
        let child = terminal
            .command(env!("CARGO_BIN_EXE_flowtop"))
            .args(args)
            .env("LC_ALL", "C.UTF-8")
            .env("XDG_CONFIG_HOME", "/nonexistent")
            .env("XDG_STATE_HOME", "/dev/null")
            .spawn()
            .unwrap();
        let screen = Arc::new(Watched::new(vt100::Parser::new(30, 120, 0)));
        let drawing = Arc::clone(&screen);
        terminal.read(move |bytes| drawing.change(|screen| screen.process(bytes)));
        Self {
            child,
            terminal,
            screen,
        }
    }

    #[track_caller]
    fn see(&self, what: &str) -> String {
        self.see_all(&[what])
    }

    /// All of it in one picture, which is given.
    #[track_caller]
    fn see_all(&self, what: &[&str]) -> String {
        let mut text = String::new();
        let found = self.screen.wait_until(|screen| {
            text = screen.screen().contents();
            what.iter().all(|what| text.contains(what))
        });
        assert!(found, "not all of {what:?} in\n{text}");
        text
    }

    fn press(&mut self, keys: &str) {
        std::io::Write::write_all(&mut self.terminal.keyboard, keys.as_bytes()).unwrap();
    }

    #[track_caller]
    fn ends_with(mut self, code: i32) {
        let start = Instant::now();
        while start.elapsed() < PATIENCE {
            if let Some(status) = self.child.try_wait().unwrap() {
                assert_eq!(
                    status.code(),
                    Some(code),
                    "{}",
                    self.screen.with(|s| s.screen().contents())
                );
                return;
            }
            thread::sleep(Duration::from_millis(5));
        }
        self.child.kill().unwrap();
        panic!("still running");
    }
}

/// The recorded time of the interval with this number, as the header has it.
fn time_of(records: &[Value], number: usize) -> String {
    let interval = records
        .iter()
        .filter(|r| r["type"] == "interval")
        .nth(number)
        .unwrap();
    let time = interval["time"].as_str().unwrap();
    format!("{} {} UTC", &time[..10], &time[11..19])
}

#[test]
fn a_recording_is_played_stepped_and_sought_in_the_live_table() {
    let all = records(&run(&["--replay", &sample(), "--json", "-n0"], 0).stdout);
    let last = all.iter().filter(|r| r["type"] == "interval").count() - 1;
    let mut table = Table::start(&["--replay", &sample()]);
    table.see("PLAY");
    table.press(" ");
    table.see("PAUSED");
    // To the beginning, then step by step: what is shown is what was recorded then.
    table.press(&"{".repeat(20));
    let first = time_of(&all, 0);
    table.see(&first);
    for number in 1..4 {
        table.press(".");
        table.see(&time_of(&all, number));
    }
    table.press(",,");
    table.see(&time_of(&all, 1));
    table.press("]");
    table.see("x2");
    table.press("[[");
    table.see("x0.5");
    // A click near the end of the bar, which 120 columns have from the 53rd on.
    // How long the whole is, and so how much of it this is, may be known a little later.
    let line = table.see(" %").lines().next().unwrap().to_owned();
    let percent = line.chars().position(|c| c == '%').unwrap();
    table.press(&format!("\x1b[<0;{};1M", percent - 4));
    table.see(&time_of(&all, last - 1)[..16]);
    table.press(&"}".repeat(20));
    table.see_all(&["100 %", "END", &time_of(&all, last)]);
    let total = sum(&all, "interval", "rx_bytes");
    table.press("t");
    let total = flowtop::text::units::bytes(total);
    table.see(&format!("{total} total"));
    table.press(" ");
    table.see(&first[..16]);
    table.press("q");
    table.ends_with(0);
}

#[test]
fn the_live_table_says_what_is_damaged_and_what_it_records() {
    let folder = Folder::new("table");
    let (cut, kept) = (folder.file("cut.jsonl"), folder.file("kept.jsonl.zst"));
    let text = unpacked(&sample());
    fs::write(&cut, &text[..text.len() / 8]).unwrap();
    let mut table = Table::start(&["--replay", &cut]);
    table.see("PLAY");
    table.press(&"}".repeat(20));
    table.see("recording damaged");
    table.press("?");
    table.see("cut off");
    table.press("qq");
    table.see("not all of what was to be replayed could be read");
    table.ends_with(1);

    let mut table = Table::start(&["--record", &kept, "-i", "0.1"]);
    table.see("REC ");
    table.press("?");
    table.see("recording to");
    table.press("qq");
    table.ends_with(0);
    let replayed = run(&["--replay", &kept, "--json"], 0).stdout;
    assert!(!replayed.is_empty());

    let table = Table::start(&["--record", "/dev/full", "-i", "0.1"]);
    table.see("recording stalled");
    kill_process(Pid::from_child(&table.child), Signal::TERM).unwrap();
    table.see("are not in it");
    table.ends_with(1);

    let table = Table::start(&["--replay", &sample(), "--exit-when", "rate > 1kB"]);
    table.see("ended by --exit-when");
    table.ends_with(3);
    Table::start(&["--replay", &sample(), "--once"]).ends_with(0);
    Table::start(&["--duration", "0.2"]).ends_with(0);
}
