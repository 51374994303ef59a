//! `flowtop diff`: what changed between two recordings.

use std::fs;

use crate::common::folder::Folder;
use crate::common::{flowtop, records, stderr, stdout};
use crate::engines::demo;
use serde_json::Value;

/// Exit code, standard output and standard error.
fn diff(args: &[&str]) -> (i32, String, String) {
    let output = flowtop().arg("diff").args(args).output().unwrap();
    let code = output.status.code().unwrap();
    (code, stdout(&output), stderr(&output))
}

/// A recording without the camera, with the backup by another name, and with twice the bytes of the
/// browser.
fn changed(recorded: &str) -> String {
    let lines = recorded.lines().filter(|line| {
        !line.contains("\"process\":\"demo-camera\"") || line.contains("\"type\":\"interval\"")
    });
    let mut sums = (0, 0, 0);
    let mut out: Vec<Value> = Vec::new();
    let mut interval = 0;
    // Sums of an interval are those of its flows.
    let end = |out: &mut Vec<Value>, interval: usize, sums: &mut (u64, u64, u64)| {
        if let Some(record) = out.get_mut(interval) {
            record["rx_bytes"] = sums.0.into();
            record["tx_bytes"] = sums.1.into();
            record["flows"] = sums.2.into();
        }
        *sums = (0, 0, 0);
    };
    for line in lines {
        let mut record: Value = serde_json::from_str(line).unwrap();
        if record["type"] == "interval" {
            end(&mut out, interval, &mut sums);
            interval = out.len();
        } else {
            if record["process"] == "demo-backup" {
                record["process"] = "nightly".into();
            }
            if record["process"] == "demo-browser" {
                record["rx_bytes"] = (2 * record["rx_bytes"].as_u64().unwrap()).into();
            }
            sums.0 += record["rx_bytes"].as_u64().unwrap();
            sums.1 += record["tx_bytes"].as_u64().unwrap();
            sums.2 += 1;
        }
        out.push(record);
    }
    end(&mut out, interval, &mut sums);
    let lines = out.iter().map(|record| record.to_string() + "\n");
    lines.collect()
}

#[test]
fn programs_that_changed_are_told_from_the_noise_of_the_rest() {
    let folder = Folder::new("diff");
    let recorded = demo("--json");
    fs::write(folder.join("a.jsonl"), &recorded).unwrap();
    fs::write(folder.join("b.jsonl"), changed(&recorded)).unwrap();
    let (a, b) = (folder.file("a.jsonl"), folder.file("b.jsonl"));

    let (code, text, errors) = diff(&[&a, &a]);
    assert_eq!((code, errors.as_str()), (0, ""), "{text}");
    assert!(text.contains("0 of 13 programs changed"), "{text}");

    let (code, json, errors) = diff(&[&a, &b, "--json"]);
    assert_eq!((code, errors.as_str()), (3, ""), "{json}");
    let found = records(&json);
    let changes: Vec<(&str, &str)> = found[1..]
        .iter()
        .map(|record| {
            (
                record["change"].as_str().unwrap(),
                record["name"].as_str().unwrap(),
            )
        })
        .collect();
    let expected = [
        ("gone", "demo-backup"),
        ("new", "nightly"),
        ("gone", "demo-camera"),
        ("grown", "demo-browser"),
    ];
    assert_eq!(changes, expected, "{json}");
    assert_eq!(found[0]["changed"], 4);
    assert_eq!(found[0]["before_intervals"], 39);
    // To the byte.
    let sum = |name: &str, field: &str| -> u64 {
        let flows = records(&recorded)
            .into_iter()
            .filter(|record| record["process"] == name);
        flows.map(|flow| flow[field].as_u64().unwrap()).sum()
    };
    assert_eq!(found[1]["before_tx_bytes"], sum("demo-backup", "tx_bytes"));
    assert_eq!(found[2]["after_tx_bytes"], sum("demo-backup", "tx_bytes"));
    assert_eq!(
        found[4]["after_rx_bytes"],
        2 * sum("demo-browser", "rx_bytes")
    );

    let (code, text, _) = diff(&[&a, &b, "-n", "1"]);
    assert_eq!(code, 3);
    assert!(text.contains("4 of 14 programs changed"), "{text}");
    assert!(
        text.contains("gone") && text.contains("demo-backup"),
        "{text}"
    );
    assert!(text.contains("3 smaller changes are not shown"), "{text}");
    let (code, text, _) = diff(&[&a, &b, "process demo-web"]);
    assert_eq!(code, 0, "{text}");
    // Of running flows the kernel decides this one.
    let (code, text, _) = diff(&[&a, &b, "port 1"]);
    assert!(code == 0 && text.contains("0 of 0 programs"), "{text}");
    let (code, text, _) = diff(&[&a, &b, "-g", "user"]);
    assert!(code == 0 && text.contains("0 of 1 user"), "{text}");
}

#[test]
fn windows_of_one_recording_are_compared() {
    let folder = Folder::new("diff-windows");
    let recorded = demo("--json");
    fs::write(folder.join("a.jsonl"), &recorded).unwrap();
    let a = folder.file("a.jsonl");
    let (first, second) = (format!("{a}@23:41..23:42"), format!("{a}@23:42..24:00"));
    let (code, json, errors) = diff(&[&first, &second, "--json"]);
    assert!(code == 0 || code == 3, "{errors}");
    let found = records(&json);
    let count = |range: &dyn Fn(&str) -> bool| {
        let all = records(&recorded).into_iter();
        let intervals = all.filter(|record| record["type"] == "interval");
        intervals
            .filter(|record| range(record["time"].as_str().unwrap()))
            .count()
    };
    let split = "2026-11-25T23:42:00.000Z";
    assert_eq!(found[0]["before_intervals"], count(&|time| time <= split));
    assert_eq!(found[0]["after_intervals"], count(&|time| time > split));
    let full = format!("{a}@2026-11-25T23:42Z..2026-11-26T00:00Z");
    let (_, again, errors) = diff(&[&first, &full, "--json"]);
    assert_eq!(errors, "");
    assert_eq!(records(&again)[1..], found[1..]);
}

#[test]
fn what_cannot_be_compared_is_refused_with_the_fix() {
    let folder = Folder::new("diff-wrong");
    let recorded = demo("--json");
    fs::write(folder.join("a.jsonl"), &recorded).unwrap();
    fs::write(folder.join("cut.jsonl"), &recorded[..recorded.len() - 20]).unwrap();
    let (a, cut) = (folder.file("a.jsonl"), folder.file("cut.jsonl"));
    let in_a = |window: &str| format!("{a}@{window}");
    for (args, expected, message) in [
        (&[a.as_str()][..], 2, "give two recordings"),
        (&[&a, "/nonexistent"], 2, "cannot be read"),
        (&[&a, "/tmp"], 2, "name a recording"),
        (&[&a, &a, "-g", "flow"], 2, "use -g program"),
        (
            &[&a, &in_a("11:00..10:00")],
            2,
            "give the earlier time first",
        ),
        (&[&a, &in_a("10..")], 2, "give the earlier time first"),
        (&[&a, &in_a("10:00..11:00")], 1, "has no interval"),
        (&[&a, &a, "--listen", "9435"], 2, "cannot be used with"),
        (&[&a, &cut], 1, "not all of what was to be compared"),
    ] {
        let (code, text, errors) = diff(args);
        assert_eq!((code, text.as_str()), (expected, ""), "{args:?}: {errors}");
        assert!(errors.contains(message), "{args:?}: {errors}");
    }
}
