//! What a recording holds and a replay writes: the same as the live output, as JSON Lines and as
//! CSV.

use std::fs;
use std::os::unix::process::CommandExt as _;
use std::process::{Command, Stdio};

use super::{run, sample, unpacked};
use crate::common::demo::Demo;
use crate::common::folder::{Folder, copy_flowtop};
use crate::common::{records, stderr, sum};
use serde_json::Value;

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

/// What is shown live is what a ledger adds up to, in every group it has.
#[test]
fn a_ledger_adds_up_to_what_was_counted() {
    let folder = Folder::new("ledger");
    let _traffic = Demo::start();
    let file = folder.file("ledger.jsonl.zst");
    let ledger = ["--record", &file, "--record-sums", "1s"];
    let counting = ["--json", "-n0", "-i", "0.2", "-c", "10"];
    let live = run(&[counting.as_slice(), &ledger].concat(), 0);
    let shown = records(&live.stdout);
    for group in ["program", "user", "container", "unit", "class"] {
        let read = run(
            &[
                "usage", &file, "--json", "-n", "0", "--by", "all", "-g", group,
            ],
            0,
        );
        let read = records(&read.stdout);
        for field in ["rx_bytes", "tx_bytes", "rx_msgs", "tx_msgs"] {
            let moved = sum(&shown, "flow", field);
            assert!(moved > 0);
            assert_eq!(sum(&read, "total", field), moved, "{group} {field}");
            assert_eq!(sum(&read, "group", field), moved, "{group} {field}");
        }
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
    assert!(notes.contains("flowtop: limits: "), "{notes}");
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
            [": !!! ", ": limits: ", " backend: ", ": filter: "]
                .iter()
                .any(|note| line.contains(note))
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
