//! Own zones of peers: looked up by the longest prefix, recorded, replayed, summed in every output,
//! and with prices an estimate of money.

use std::fs;

use crate::common::folder::Folder;
use crate::common::{flowtop, records, stderr, stdout};
use serde_json::{Value, json};

/// Peers with what was received from them and sent to them, and packets each way.
const PEERS: [(&str, u64, u64); 5] = [
    ("10.1.2.3", 1_000_000, 2_000_000),
    ("10.9.9.9", 3_000_000, 4_000_000),
    ("198.51.100.7", 5_000_000, 6_000_000),
    ("127.0.0.1", 700, 700),
    ("2001:db8::7", 8_000, 9_000),
];
const PACKETS: u64 = 1000;

/// A recording of one interval of 2 s.
fn recording() -> String {
    let sum = |of: fn(&(&str, u64, u64)) -> u64| PEERS.iter().map(of).sum::<u64>();
    let interval = json!({
        "type": "interval", "schema": 3, "time": "2026-11-30T12:00:00Z", "seconds": 2.0, "backend": "tracepoint",
        "rx_bytes": sum(|it| it.1), "tx_bytes": sum(|it| it.2), "flows": PEERS.len(),
        "untracked_rx_bytes": 0, "untracked_tx_bytes": 0, "missed_events": 0,
    });
    let flow = |(addr, rx, tx): &(&str, u64, u64)| {
        let local = if addr.contains(':') {
            "2001:db8::1"
        } else {
            "10.1.1.1"
        };
        let local = if *addr == "127.0.0.1" {
            "127.0.0.1"
        } else {
            local
        };
        json!({
            "type": "flow", "proto": "udp", "local_addr": local, "local_port": 53, "remote_addr": addr,
            "remote_port": 4000, "pid": 7, "process": "x", "rx_bytes": rx, "tx_bytes": tx, "rx_msgs": 9, "tx_msgs": 9,
            "rx_packets": PACKETS, "tx_packets": PACKETS,
        })
    };
    let lines = std::iter::once(interval).chain(PEERS.iter().map(flow));
    lines.map(|line| line.to_string() + "\n").collect()
}

const ZONES: &str = "office 10.0.0.0/8 # no price\n\
                     lab 10.9.0.0/16 0.02 0.01\n\
                     internet 0.0.0.0/0 0.09\n";

fn replayed(args: &[&str]) -> String {
    let output = flowtop().args(args).output().unwrap();
    assert!(output.status.success(), "{args:?}: {}", stderr(&output));
    stdout(&output)
}

fn by_name(records: &[Value], name: &str) -> Value {
    let found = records.iter().find(|it| it["name"] == name);
    found
        .unwrap_or_else(|| panic!("no {name} in {records:?}"))
        .clone()
}

/// Estimated bytes of UDP over IPv4 on the wire.
fn wire(bytes: u64) -> f64 {
    (bytes + PACKETS * 28) as f64
}

fn assert_near(value: &Value, expected: f64) {
    let value = value.as_f64().unwrap();
    assert!((value - expected).abs() < 1e-12, "{value}, not {expected}");
}

#[test]
fn flows_are_summed_by_zone_with_an_estimate_of_their_cost() {
    let folder = Folder::new("zones");
    let (file, zones) = (folder.file("a.jsonl"), folder.file("zones"));
    fs::write(&file, recording()).unwrap();
    fs::write(&zones, ZONES).unwrap();
    let json = replayed(&[
        "--json", "-n", "0", "-g", "zone", "--zones", &zones, "--replay", &file,
    ]);
    let found = records(&json);
    let sums = |name: &str| {
        let group = by_name(&found[1..], name);
        (
            group["rx_bytes"].as_u64().unwrap(),
            group["tx_bytes"].as_u64().unwrap(),
        )
    };
    assert_eq!(sums("office"), (1_000_000, 2_000_000));
    assert_eq!(sums("lab"), (3_000_000, 4_000_000));
    assert_eq!(sums("internet"), (5_000_700, 6_000_700));
    assert_eq!(sums("no zone"), (8_000, 9_000));
    assert_eq!(found.len(), 5);
    let lab = by_name(&found[1..], "lab");
    assert_eq!(
        (&lab["grouped_by"], &lab["zone"]),
        (&"zone".into(), &"lab".into())
    );
    assert_near(&lab["tx_cost_estimate"], wire(4_000_000) * 0.02e-9);
    assert_near(&lab["rx_cost_estimate"], wire(3_000_000) * 0.01e-9);
    // Loopback is on no wire, whatever zone its address is in.
    let internet = by_name(&found[1..], "internet");
    assert_near(&internet["tx_cost_estimate"], wire(6_000_000) * 0.09e-9);
    assert_near(&internet["rx_cost_estimate"], 0.0);
    assert!(
        by_name(&found[1..], "office")
            .get("tx_cost_estimate")
            .is_none()
    );
    // The interval has the zones too.
    let zone = by_name(found[0]["zones"].as_array().unwrap(), "lab");
    assert_eq!(
        (&zone["tx_price"], &zone["rx_price"]),
        (&0.02.into(), &0.01.into())
    );
    assert_eq!(zone["tx_wire_bytes_estimate"], 4_000_000 + PACKETS * 28);
    assert_eq!(zone["tx_bytes"], 4_000_000);
    assert_near(&zone["tx_cost_estimate"], wire(4_000_000) * 0.02e-9);

    let text = replayed(&[
        "--batch", "-g", "zone", "--zones", &zones, "--replay", &file,
    ]);
    let cost = (wire(4_000_000) * 0.02 + wire(3_000_000) * 0.01 + wire(6_000_000) * 0.09) * 1e-9;
    let header = text.lines().next().unwrap();
    assert!(
        header.contains(&format!("cost ~{cost:.6} (~{:.2}/h)", cost * 1800.0)),
        "{header}"
    );
    let heading = text.lines().find(|line| line.contains("RATE")).unwrap();
    assert!(
        heading.contains("~COST/h") && heading.contains("ZONE"),
        "{text}"
    );
    let tx = wire(4_000_000) * 0.02e-9 * 1800.0;
    let lab = text
        .lines()
        .rev()
        .find(|line| line.contains("lab"))
        .unwrap();
    assert!(lab.contains(&format!("{tx:.3}")), "{lab}");
}

#[test]
fn a_recording_has_its_zones_and_a_replay_may_have_others() {
    let folder = Folder::new("zones-replay");
    let (plain, zones, other) = (
        folder.file("a.jsonl"),
        folder.file("zones"),
        folder.file("other"),
    );
    let recorded = folder.file("b.jsonl");
    fs::write(&plain, recording()).unwrap();
    fs::write(&zones, ZONES).unwrap();
    fs::write(&other, "all ::/0\nall 0.0.0.0/0\n").unwrap();
    let all = ["--json", "-n", "0"];
    let json = replayed(&[&all[..], &["--zones", &zones, "--replay", &plain]].concat());
    fs::write(&recorded, &json).unwrap();
    // By the recorded names and prices, byte for byte.
    assert_eq!(
        replayed(&[&all[..], &["--replay", &recorded]].concat()),
        json
    );
    let filtered = [&all[..], &["zone", "la*", "--replay", &recorded]].concat();
    let found = records(replayed(&filtered));
    assert_eq!((found.len(), &found[1]["zone"]), (2, &"lab".into()));
    let json = replayed(&[&all[..], &["--zones", &other, "--replay", &recorded]].concat());
    let found = records(&json);
    assert!(
        found[1..].iter().all(|flow| flow["zone"] == "all"),
        "{json}"
    );
    let compared = flowtop()
        .args(["diff", &plain, &recorded, "-g", "zone"])
        .output()
        .unwrap();
    assert_eq!(compared.status.code(), Some(3), "{}", stderr(&compared));
    let text = stdout(&compared);
    assert!(text.contains("lab") && text.contains("internet"), "{text}");
}

#[test]
fn a_wrong_file_of_zones_is_refused_with_its_line() {
    let folder = Folder::new("zones-wrong");
    let zones = folder.file("zones");
    fs::write(&zones, "office 10.0.0.0/8\n\nlab 10.9.0.1/16\n").unwrap();
    let refused = |args: &[&str]| {
        let output = flowtop().args(args).output().unwrap();
        assert_eq!(output.status.code(), Some(2), "{args:?}");
        stderr(&output)
    };
    let message = refused(&["--batch", "--zones", &zones]);
    let expected = "line 3: \"10.9.0.1/16\" has bits set beyond its prefix: write 10.9.0.0/16";
    assert!(
        message.contains(expected) && message.contains(&zones),
        "{message}"
    );
    let missing = folder.file("missing");
    assert!(refused(&["--batch", "--zones", &missing]).contains(&missing));
    for args in [
        &["--batch", "-g", "zone"][..],
        &["--batch", "zone", "office"],
    ] {
        assert!(refused(args).contains("needs --zones FILE"), "{args:?}");
    }
    // The configuration file names zones of this machine, by its own folder.
    let config = folder.file("config.toml");
    fs::write(&config, "zones = \"zones\"\n").unwrap();
    let message = refused(&["--batch", "--config", &config, "-g", "zone"]);
    assert!(message.contains(expected), "{message}");
}

#[test]
fn the_live_table_has_zone_and_cost() {
    use std::sync::Arc;

    use crate::common::screen::{app, draw, text};
    use crate::common::{interval, web_server};
    use flowtop::model::peer_zone::{PeerZone, ZonePrice};
    use flowtop::options::TableOptions;
    use flowtop::tui::Action;
    use flowtop::view::{Column, Group};

    let zone = |price| {
        let name = "far-away".into();
        Some(Arc::new(PeerZone { name, price }))
    };
    let screen = |group, price| {
        let options = TableOptions {
            columns: Some(vec![
                Column::Rate,
                Column::Zone,
                Column::Cost,
                Column::Remote,
            ]),
            group,
            ..TableOptions::default()
        };
        let mut app = app(&options, 160, 40);
        let mut flows = web_server();
        flows.iter_mut().for_each(|flow| flow.zone = zone(price));
        app.update(Action::IntervalEnded(interval(flows)));
        text(&draw(&app, 160, 40))
    };
    let price = Some(ZonePrice { tx: 90_000, rx: 0 });
    let flows = screen(Group::Flow, price);
    for text in ["ZONE", "~COST/h", "far-away", "cost ~"] {
        assert!(flows.contains(text), "{text}: {flows}");
    }
    assert!(screen(Group::Zone, price).contains("PEER ZONE"));
    // Without a price there is no cost.
    let free = screen(Group::Flow, None);
    assert!(
        free.contains("far-away") && !free.contains("COST"),
        "{free}"
    );
    assert!(!free.contains("cost ~"), "{free}");
}
