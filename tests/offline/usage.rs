//! `flowtop usage`: what programs moved by hour, day, month and year.

use std::fs;

use crate::common::folder::Folder;
use crate::common::{flowtop, records, stderr, stdout, sum};
use crate::engines::demo;

const SAMPLE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/samples/demo.jsonl.zst");

/// Exit code, standard output and standard error.
fn usage(args: &[&str]) -> (i32, String, String) {
    let output = flowtop().arg("usage").args(args).output().unwrap();
    let code = output.status.code().unwrap();
    (code, stdout(&output), stderr(&output))
}

/// A period of a ledger that ends at a time, by program.
fn period(time: &str, programs: &[(&str, u64)]) -> String {
    let total: u64 = programs.iter().map(|(_, bytes)| bytes).sum();
    let mut text = format!(
        r#"{{"type":"sums","schema":3,"time":"{time}","seconds":3600.0,"host":"box","rx_bytes":{total},"tx_bytes":7,"rx_msgs":1,"tx_msgs":1,"untracked_rx_bytes":0,"untracked_tx_bytes":7,"untracked_rx_msgs":0,"untracked_tx_msgs":1,"missed_events":2,"backend":"kprobe","unseen":[],"grouped_by":["program"],"groups":{}}}"#,
        programs.len()
    );
    text.push('\n');
    for (name, bytes) in programs {
        text.push_str(&format!(
            r#"{{"type":"sum","time":"{time}","seconds":3600.0,"host":"box","grouped_by":"program","name":"{name}","rx_bytes":{bytes},"tx_bytes":0,"rx_msgs":1,"tx_msgs":0}}"#
        ));
        text.push('\n');
    }
    text
}

/// Bytes that such flows received.
fn moved_by(flows: &[serde_json::Value], is: impl Fn(&serde_json::Value) -> bool) -> u64 {
    let flows = flows
        .iter()
        .filter(|flow| flow["type"] == "flow" && is(flow));
    flows.map(|flow| flow["rx_bytes"].as_u64().unwrap()).sum()
}

/// Three hours over the end of a month.
fn ledger() -> String {
    [
        period("2026-11-30T23:00:00.000Z", &[("web", 100), ("backup", 900)]),
        period("2026-12-01T00:00:00.000Z", &[("web", 20)]),
        period("2026-12-01T01:00:00.000Z", &[("web", 3), ("=mail", 4)]),
    ]
    .concat()
}

#[test]
fn a_recording_adds_up_by_any_group() {
    let flows = records(demo("--json"));
    for group in ["program", "user", "remote", "class"] {
        let (code, json, errors) =
            usage(&[SAMPLE, "--by", "all", "-g", group, "-n", "3", "--json"]);
        assert_eq!((code, errors.as_str()), (0, ""), "{json}");
        let found = records(&json);
        for field in ["rx_bytes", "tx_bytes", "rx_msgs", "tx_msgs"] {
            let moved = sum(&flows, "flow", field);
            assert_eq!(sum(&found, "total", field), moved);
            let rows = ["group", "other", "untracked"].map(|kind| sum(&found, kind, field));
            assert_eq!(rows.iter().sum::<u64>(), moved, "{group} {field}");
        }
    }
    let (code, json, _) = usage(&[SAMPLE, "--json", "--", "process demo-web"]);
    assert_eq!(code, 0);
    assert_eq!(records(&json).len(), 2, "{json}");
    // What the kernel decides of running flows, and what it does not.
    let is_udp = |flow: &serde_json::Value| flow["proto"] == "udp";
    let by_web = |flow: &serde_json::Value| flow["process"] == "demo-web";
    for (filter, moved) in [
        ("udp", moved_by(&flows, is_udp)),
        ("not udp", moved_by(&flows, |flow| !is_udp(flow))),
        (
            "udp or process demo-web",
            moved_by(&flows, |flow| is_udp(flow) || by_web(flow)),
        ),
    ] {
        let (code, json, errors) = usage(&[SAMPLE, "--by", "all", "--json", "--", filter]);
        assert_eq!((code, errors.as_str()), (0, ""), "{filter}");
        assert!(moved > 0, "{filter}");
        assert_eq!(
            sum(&records(&json), "total", "rx_bytes"),
            moved,
            "{filter}: {json}"
        );
    }
    let (code, _, errors) = usage(&[SAMPLE, "--", "tree 1"]);
    assert_eq!(code, 2, "{errors}");
    assert!(
        errors.contains("tree needs the running machine"),
        "{errors}"
    );
}

#[test]
fn a_ledger_answers_by_hour_day_and_month() {
    let folder = Folder::new("usage");
    fs::write(folder.join("ledger.jsonl"), ledger()).unwrap();
    let file = folder.file("ledger.jsonl");
    for (by, expected) in [
        (
            "hour",
            vec![
                ("2026-11-30T22", 1000),
                ("2026-11-30T23", 20),
                ("2026-12-01T00", 7),
            ],
        ),
        ("day", vec![("2026-11-30", 1020), ("2026-12-01", 7)]),
        ("month", vec![("2026-11", 1020), ("2026-12", 7)]),
        ("year", vec![("2026", 1027)]),
    ] {
        let (code, json, errors) = usage(&[&file, "--by", by, "--json"]);
        assert_eq!((code, errors.as_str()), (0, ""), "{json}");
        let found = records(&json);
        let totals: Vec<(&str, u64)> = found
            .iter()
            .filter(|record| record["type"] == "total")
            .map(|it| {
                (
                    it["period"].as_str().unwrap(),
                    it["rx_bytes"].as_u64().unwrap(),
                )
            })
            .collect();
        assert_eq!(totals, expected);
        assert_eq!(sum(&found, "untracked", "tx_bytes"), 21);
        assert_eq!(sum(&found, "total", "missed_events"), 6);
    }
    let (_, text, _) = usage(&[&file, "--by", "month", "-n", "1"]);
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(
        lines[..5],
        [
            "2026-11: in 1.02 kB, out 14 B, 2.0 h recorded, 4 events missed",
            "        IN         OUT  SHARE  PROGRAM",
            "     900 B         0 B   87 %  backup",
            "     120 B         0 B   12 %  1 other program",
            "       0 B        14 B    1 %  untracked",
        ],
        "{text}"
    );
    let (_, csv, _) = usage(&[&file, "--by", "day", "--csv"]);
    assert!(
        csv.contains(r#""group","day","2026-12-01",3600,"program","'=mail",,4,0,1,0,2"#),
        "{csv}"
    );
}

#[test]
fn a_ledger_takes_a_filter_of_what_it_is_summed_by() {
    let folder = Folder::new("usage-filter");
    fs::write(folder.join("ledger.jsonl"), ledger()).unwrap();
    let file = folder.file("ledger.jsonl");
    for (filter, moved) in [
        ("process web", [120, 3]),
        ("not process web", [900, 4]),
        ("process web or process b*", [1020, 3]),
        ("process web and process backup", [0, 0]),
    ] {
        let (code, json, errors) = usage(&[&file, "--by", "month", "--json", "--", filter]);
        assert_eq!((code, errors.as_str()), (0, ""), "{filter}: {json}");
        let found = records(&json);
        let of = |kind: &str| -> Vec<u64> {
            let found = found.iter().filter(|record| record["type"] == kind);
            found.map(|it| it["rx_bytes"].as_u64().unwrap()).collect()
        };
        assert_eq!(of("total"), moved, "{filter}");
        let groups: u64 = of("group").iter().sum();
        assert_eq!(groups, moved.iter().sum::<u64>(), "{filter}");
        // Bytes of nobody may be of anybody.
        assert_eq!(sum(&found, "untracked", "tx_bytes"), 21, "{filter}");
    }
    for filter in ["port 443", "process web and port 443", "user root"] {
        let (code, _, errors) = usage(&[&file, "--", filter]);
        assert_eq!(code, 1, "{errors}");
        assert!(
            errors.contains("a filter of it names what is summed, as in process nginx"),
            "{errors}"
        );
    }
}

#[test]
fn a_damaged_ledger_is_read_up_to_the_damage() {
    let folder = Folder::new("usage-damaged");
    let file = folder.file("ledger.jsonl");
    let whole = ledger();
    let cut = &whole[..whole.len() - 10];
    let (first, rest) = whole.split_at(whole.find("\"web\"").unwrap());
    for (text, reason) in [
        (cut.to_owned(), "cut off"),
        (
            whole.replacen(
                "\"rx_bytes\":20,\"tx_bytes\":0",
                "\"rx_bytes\":21,\"tx_bytes\":0",
                1,
            ),
            "add up to 21",
        ),
        (
            whole.replacen("\"name\":\"=mail\"", "\"name\":\"web\"", 1),
            "\"web\" is there twice",
        ),
        (
            whole.replacen("\"schema\":3", "\"schema\":4", 1),
            "newer flowtop",
        ),
        (
            format!(
                "{first}{}",
                rest.replacen("\"groups\":1", "\"groups\":2", 1)
            ),
            "only 1 of the last",
        ),
    ] {
        fs::write(&file, text).unwrap();
        let (code, _, errors) = usage(&[&file]);
        assert_eq!(code, 1, "{errors}");
        assert!(errors.contains(reason), "{reason}: {errors}");
    }
}

#[test]
fn what_a_ledger_does_not_hold_is_refused() {
    let folder = Folder::new("usage-wrong");
    fs::write(folder.join("ledger.jsonl"), ledger()).unwrap();
    let file = folder.file("ledger.jsonl");
    for (args, expected, reason) in [
        (vec![&*file, "-g", "remote"], 1, "use -g program"),
        (
            vec![&*file, "--", "port 443"],
            1,
            "a recording takes any filter",
        ),
        (vec![&*file, "-g", "flow"], 2, "new ports each time"),
        (
            vec![&*file, "--by", "week"],
            2,
            "use hour, day, month, year or all",
        ),
        (vec!["nothing.jsonl"], 2, "cannot be read"),
        (vec![], 2, "give recordings or ledgers"),
    ] {
        let (code, _, errors) = usage(&args);
        assert_eq!(code, expected, "{args:?}: {errors}");
        assert!(errors.contains(reason), "{args:?}: {errors}");
    }
    let replayed = flowtop()
        .args(["--json", "--replay", &file])
        .output()
        .unwrap();
    assert!(
        stderr(&replayed).contains("flowtop usage reads it"),
        "{}",
        stderr(&replayed)
    );
}
