//! Recordings in DuckDB, by the queries that are shipped. DuckDB comes from PyPI into a folder of its own
//! below `target`; where that cannot be had, that is said, and nothing is tested.
#![allow(
    clippy::unwrap_used,
    clippy::print_stderr,
    reason = "a test that cannot go on stops there, and says why"
)]

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::{Value, json};

/// Versions of which the queries are known to be read.
const DUCKDB: &str = "duckdb>=1.2,<3";
/// Runs a script, and prints the answer of each named query as one JSON line.
const RUN: &str = "
import duckdb, json, re, sys
script, recordings = sys.argv[1:]
db = duckdb.connect()
db.execute('set variable recordings = ' + repr(recordings))
for statement in duckdb.extract_statements(open(script).read()):
    answer = db.execute(statement)
    if statement.type == duckdb.StatementType.SELECT:
        names = [column[0] for column in answer.description]
        print(json.dumps([dict(zip(names, row)) for row in answer.fetchall()]))
";

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn succeeds(command: &mut Command) -> bool {
    let command = command.stdin(Stdio::null()).stdout(Stdio::null());
    command.status().is_ok_and(|status| status.success())
}

/// A Python that has DuckDB.
fn python() -> Option<PathBuf> {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("duckdb");
    let python = folder.join("bin/python");
    let has_it = |python: &Path| {
        succeeds(
            Command::new(python)
                .args(["-c", "import duckdb"])
                .stderr(Stdio::null()),
        )
    };
    if has_it(Path::new("python3")) {
        return Some("python3".into());
    }
    let is_there = has_it(&python)
        || succeeds(Command::new("python3").args(["-m", "venv"]).arg(&folder))
            && succeeds(Command::new(&python).args([
                "-m",
                "pip",
                "install",
                "-q",
                "--timeout",
                "20",
                DUCKDB,
            ]));
    is_there.then_some(python)
}

#[test]
fn duckdb_finds_the_top_talkers_of_hosts_and_days() {
    let Some(python) = python() else {
        eprintln!(
            "\n!!! NOT TESTED: DuckDB cannot be installed from PyPI (python3 -m venv; pip install '{DUCKDB}')\n"
        );
        return;
    };
    // One recording as of two machines and two days, plain and compressed.
    let folder = std::env::temp_dir().join(format!("flowtop-duckdb-{}", std::process::id()));
    let sample = root().join("samples/demo.jsonl.zst");
    let recorded = Command::new(env!("CARGO_BIN_EXE_flowtop"))
        .args(["--json", "-n", "0", "--replay"])
        .arg(&sample)
        .env("XDG_CONFIG_HOME", "/nonexistent")
        .output()
        .unwrap();
    assert!(recorded.status.success());
    let recorded = String::from_utf8(recorded.stdout).unwrap();
    fs::create_dir_all(folder.join("demo")).unwrap();
    fs::create_dir_all(folder.join("web-1")).unwrap();
    let packed = zstd::encode_all(recorded.as_bytes(), 3).unwrap();
    fs::write(folder.join("demo/a.jsonl.zst"), packed).unwrap();
    let other = recorded
        .replace("\"host\":\"demo\"", "\"host\":\"web-1\"")
        .replace("demo-backup", "nightly")
        .replace("\"time\":\"2026-11-25T", "\"time\":\"2026-11-24T");
    assert!(other.contains("web-1") && other.contains("nightly") && other.contains("11-24T"));
    fs::write(folder.join("web-1/b.jsonl"), &other).unwrap();

    let mut truth: BTreeMap<(String, String, String), (u64, u64)> = BTreeMap::new();
    let mut counted: BTreeMap<&str, u64> = BTreeMap::new();
    for (host, text) in [("demo", &recorded), ("web-1", &other)] {
        for line in text.lines() {
            let record: Value = serde_json::from_str(line).unwrap();
            let [rx, tx] = ["rx_bytes", "tx_bytes"].map(|field| record[field].as_u64().unwrap());
            if record["type"] == "flow" {
                let word = |field: &str| record[field].as_str().unwrap().to_owned();
                let key = (
                    word("time")[..10].to_owned(),
                    host.to_owned(),
                    word("process"),
                );
                let sum = truth.entry(key).or_default();
                *sum = (sum.0 + rx, sum.1 + tx);
            } else if record["type"] == "interval" {
                *counted.entry(host).or_default() += rx + tx;
            }
        }
    }

    let output = Command::new(python)
        .args(["-c", RUN])
        .arg(root().join("contrib/fleet/duckdb.sql"))
        .arg(folder.join("*/*.jsonl*"))
        .output()
        .unwrap();
    let _ = fs::remove_dir_all(&folder);
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let answers = String::from_utf8(output.stdout).unwrap();
    let answers: Vec<Vec<Value>> = answers
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let [by_host, all, trusted] = answers.as_slice() else {
        panic!("three queries, and not {answers:?}")
    };

    let mut expected: Vec<_> = truth.iter().collect();
    expected.sort_by_key(|((day, host, process), (rx, tx))| {
        (day, host, std::cmp::Reverse(rx + tx), process)
    });
    let rows = |host: &str| -> Vec<Value> {
        let rows = expected
            .iter()
            .filter(|((_, of, _), _)| of == host)
            .take(10);
        rows.map(|((day, host, process), (rx, tx))| {
            json!({"day": day, "host": host, "process": process, "rx_bytes": rx, "tx_bytes": tx})
        })
        .collect()
    };
    assert_eq!(*by_host, [rows("web-1"), rows("demo")].concat());
    assert!(by_host.len() > 6, "{by_host:?}");

    let mut sums: BTreeMap<&str, (u64, u64)> = BTreeMap::new();
    for ((_, _, process), (rx, tx)) in &truth {
        let sum = sums.entry(process).or_default();
        *sum = (sum.0 + 1, sum.1 + rx + tx);
    }
    let mut sums: Vec<_> = sums.into_iter().collect();
    sums.sort_by_key(|(process, (_, bytes))| (std::cmp::Reverse(*bytes), *process));
    let sums = sums.into_iter().take(10);
    let sums: Vec<Value> = sums
        .map(
            |(process, (hosts, bytes))| json!({"process": process, "hosts": hosts, "bytes": bytes}),
        )
        .collect();
    assert_eq!(*all, sums);

    let hosts = counted.into_iter().map(|(host, counted)| {
        json!({"host": host, "counted": counted, "untracked": 0, "missed": 0, "lacking": 0})
    });
    assert_eq!(*trusted, hosts.collect::<Vec<_>>());
}

/// Reads CSV and prints the number of rows, the columns that a row lacks or has too many, and the sums
/// of the bytes by host and process.
const READ_CSV: &str = "
import csv, json, sys
rows, sums, odd = 0, {}, 0
for row in csv.DictReader(sys.stdin):
    rows += 1
    odd += None in row or None in row.values()
    key = row['host'] + ' ' + row['process']
    sums[key] = sums.get(key, 0) + int(row['rx_bytes']) + int(row['tx_bytes'])
print(json.dumps({'rows': rows, 'odd': odd, 'sums': sums}))
";

#[test]
fn python_reads_the_rows_of_csv() {
    let replay = |output: &str| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_flowtop"));
        command.args([output, "-n", "0", "--replay"]);
        command.arg(root().join("samples/demo.jsonl.zst"));
        command.env("XDG_CONFIG_HOME", "/nonexistent");
        command
    };
    let recorded = replay("--json").output().unwrap();
    let (mut rows, mut sums) = (0, BTreeMap::new());
    for line in String::from_utf8(recorded.stdout).unwrap().lines() {
        let record: Value = serde_json::from_str(line).unwrap();
        if record["type"] == "flow" {
            rows += 1;
            let bytes = |field: &str| record[field].as_u64().unwrap();
            let key = format!("demo {}", record["process"].as_str().unwrap());
            *sums.entry(key).or_default() += bytes("rx_bytes") + bytes("tx_bytes");
        }
    }
    let sums: BTreeMap<String, u64> = sums;
    assert!(rows > 1000 && sums.len() > 3);

    let mut csv = replay("--csv").stdout(Stdio::piped()).spawn().unwrap();
    let read = Command::new("python3")
        .args(["-c", READ_CSV])
        .stdin(csv.stdout.take().unwrap())
        .output()
        .unwrap();
    assert!(csv.wait().unwrap().success());
    let read: Value = serde_json::from_slice(&read.stdout).unwrap();
    assert_eq!(read, json!({"rows": rows, "odd": 0, "sums": sums}));
}
