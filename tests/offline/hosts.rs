//! Host names that programs resolved, as rows: summed in every output, and the same in replay,
//! comparison and usage.

use std::collections::BTreeMap;
use std::fs;

use crate::common::folder::Folder;
use crate::common::{flowtop, records, stderr, stdout};
use serde_json::{Value, json};

/// Host names with their origin, the peer, and what was received from it and sent to it.
type NamedFlow = (Option<(&'static str, &'static str)>, &'static str, u64, u64);

const FLOWS: [NamedFlow; 6] = [
    (Some(("api.example", "process")), "192.0.2.10", 1000, 20),
    (Some(("api.example", "several")), "2001:db8::10", 3000, 40),
    // Two names of one address
    (Some(("www.example", "process")), "192.0.2.10", 50, 60),
    (Some(("cdn.example", "other")), "192.0.2.11", 7, 8),
    (None, "192.0.2.10", 9, 10),
    (None, "198.51.100.7", 11, 12),
];
const UNTRACKED: u64 = 5;

/// A recording of as many equal intervals, a second apart.
fn recording(intervals: usize) -> String {
    let rx: u64 = FLOWS.iter().map(|it| it.2).sum();
    let tx: u64 = FLOWS.iter().map(|it| it.3).sum();
    let mut text = String::new();
    for second in 0..intervals {
        let interval = json!({
            "type": "interval", "schema": 3, "time": format!("2026-11-30T12:00:{second:02}Z"), "seconds": 1.0,
            "backend": "tracepoint", "rx_bytes": rx + UNTRACKED, "tx_bytes": tx, "flows": FLOWS.len(),
            "untracked_rx_bytes": UNTRACKED, "untracked_tx_bytes": 0, "missed_events": 0,
        });
        text += &format!("{interval}\n");
        for (n, (name, addr, rx, tx)) in FLOWS.iter().enumerate() {
            let local = if addr.contains(':') {
                "2001:db8::1"
            } else {
                "10.1.1.1"
            };
            let mut flow = json!({
                "type": "flow", "proto": "tcp", "local_addr": local, "local_port": 40_000 + n, "remote_addr": addr,
                "remote_port": 443, "pid": n + 1, "process": "x", "rx_bytes": rx, "tx_bytes": tx, "rx_msgs": 1,
                "tx_msgs": 1,
            });
            if let Some((name, origin)) = name {
                flow["dns_name"] = Value::from(*name);
                flow["dns_name_origin"] = Value::from(*origin);
            }
            text += &format!("{flow}\n");
        }
    }
    text
}

fn replayed(args: &[&str]) -> String {
    let output = flowtop().args(args).output().unwrap();
    assert!(output.status.success(), "{args:?}: {}", stderr(&output));
    stdout(&output)
}

fn sums(rows: &[Value]) -> BTreeMap<String, (u64, u64)> {
    let number = |row: &Value, key: &str| row[key].as_u64().unwrap();
    let row = |row: &Value| {
        let name = row["name"].as_str().unwrap().to_owned();
        (name, (number(row, "rx_bytes"), number(row, "tx_bytes")))
    };
    rows.iter()
        .filter(|record| record["type"] == "group")
        .map(row)
        .collect()
}

fn expected(times: u64) -> BTreeMap<String, (u64, u64)> {
    let rows = [
        ("api.example", 4000, 60),
        ("www.example", 50, 60),
        ("cdn.example", 7, 8),
        ("unknown", 20, 22),
    ];
    rows.map(|(name, rx, tx)| (name.to_owned(), (rx * times, tx * times)))
        .into()
}

#[test]
fn flows_are_summed_by_the_host_names_that_programs_resolved() {
    let folder = Folder::new("hosts");
    let file = folder.file("a.jsonl");
    fs::write(&file, recording(1)).unwrap();
    let found = records(replayed(&[
        "--json", "-n", "0", "-g", "host", "--replay", &file,
    ]));
    assert_eq!(sums(&found), expected(1));
    let rx: u64 = sums(&found).values().map(|sum| sum.0).sum();
    assert_eq!(rx + UNTRACKED, found[0]["rx_bytes"]);
    let row = |name: &str| found.iter().find(|row| row["name"] == name).unwrap();
    let api = row("api.example");
    assert_eq!(
        (&api["grouped_by"], &api["dns_name"], &api["flows"]),
        (&"host".into(), &"api.example".into(), &2.into())
    );
    // The least certain of its flows'
    assert_eq!(api["dns_name_origin"], "several");
    assert_eq!(row("www.example")["dns_name_origin"], "process");
    assert!(row("unknown").get("dns_name").is_none());

    // The rows that are not shown are in the sum of others.
    let found = records(replayed(&[
        "--json", "-n", "1", "-g", "host", "--replay", &file,
    ]));
    let all: u64 = found[1..]
        .iter()
        .map(|row| row["rx_bytes"].as_u64().unwrap())
        .sum();
    assert_eq!(found.last().unwrap()["type"], "other");
    assert_eq!(all + UNTRACKED, found[0]["rx_bytes"]);

    let csv = replayed(&["--csv", "-n", "0", "-g", "host", "--replay", &file]);
    let api = csv
        .lines()
        .find(|line| line.contains("api.example"))
        .unwrap();
    assert!(
        api.contains(r#","host","#) && api.contains(r#""several""#),
        "{api}"
    );

    let text = replayed(&["--batch", "-n", "0", "-g", "host", "--replay", &file]);
    let lines: Vec<&str> = text.lines().map(str::trim_end).collect();
    let ends_with = |name: &str| lines.iter().any(|line| line.ends_with(name));
    assert!(lines.iter().any(|line| line.ends_with("HOST")), "{text}");
    for name in [
        "  ~api.example",
        "  www.example",
        "  ~cdn.example",
        "  unknown",
    ] {
        assert!(ends_with(name), "{name}: {text}");
    }
}

#[test]
fn usage_and_comparison_know_host_names() {
    let folder = Folder::new("hosts-usage");
    let (one, two) = (folder.file("a.jsonl"), folder.file("b.jsonl"));
    fs::write(&one, recording(3)).unwrap();
    fs::write(&two, recording(3).replace("cdn.example", "new.example")).unwrap();
    let args = [
        "usage", &one, "-g", "host", "--by", "all", "-n", "0", "--json",
    ];
    let found = records(replayed(&args));
    assert_eq!(sums(&found), expected(3));
    let compared = flowtop()
        .args(["diff", &one, &two, "-g", "host"])
        .output()
        .unwrap();
    assert_eq!(compared.status.code(), Some(3), "{}", stderr(&compared));
    let text = stdout(&compared);
    assert!(
        text.contains("new.example") && text.contains("cdn.example"),
        "{text}"
    );
}
