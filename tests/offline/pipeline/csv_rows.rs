//! Rows of CSV: rates, order and untracked bytes.

use super::*;

/// The rows of CSV by the names of their columns.
fn csv_rows(interval: &Interval, top_n: Option<usize>) -> Vec<BTreeMap<String, String>> {
    let mut csv = Csv::new(Json {
        machine: Machine {
            host: "web-1".to_owned(),
            ..Machine::default()
        },
        ..Json::default()
    });
    let mut out = Vec::new();
    csv.append(&Ranking::new(interval, top_n), &Names::disabled(), &mut out)
        .unwrap();
    let mut reader = csv::Reader::from_reader(&out[..]);
    reader.deserialize().map(Result::unwrap).collect()
}

#[test]
fn csv_has_a_row_of_untracked_bytes_only_where_there_are_any() {
    let rows = csv_rows(&bad_interval(detailed_flows()), Some(1));
    let kinds: Vec<&str> = rows.iter().map(|row| &*row["type"]).collect();
    assert_eq!(kinds, ["flow", "other", "untracked"]);
    assert_eq!(rows[2]["rx_bytes"], "2500000");
    assert_eq!(rows[2]["tx_bytes"], "1500");
    for row in &rows {
        assert_eq!((&*row["host"], &*row["missed_events"]), ("web-1", "3"));
        assert_eq!(row["unseen"], "splice_read udp_recv_peer");
    }

    let rows = csv_rows(&interval(web_server()), None);
    assert_eq!(rows.len(), web_server().len());
    assert!(rows.iter().all(|row| row["type"] == "flow"));
    assert_eq!(csv_rows(&interval(Vec::new()), None), []);

    // A loss in an interval without flows needs a row.
    let mut lost = interval(Vec::new());
    lost.losses.missed_events = 7;
    let rows = csv_rows(&lost, None);
    assert_eq!(rows.len(), 1);
    assert_eq!(
        (&*rows[0]["type"], &*rows[0]["missed_events"]),
        ("untracked", "7")
    );
}

#[test]
fn csv_has_rates_and_none_for_an_interval_without_length() {
    let mut now = interval(web_server());
    now.elapsed = Duration::from_millis(500);
    let rows = csv_rows(&now, Some(1));
    assert_eq!(
        (&*rows[0]["rx_bytes"], &*rows[0]["rx_rate"]),
        ("9801234", "19602468.000")
    );
    now.elapsed = Duration::ZERO;
    let rows = csv_rows(&now, Some(1));
    assert_eq!(
        (&*rows[0]["rx_bytes"], &*rows[0]["rx_rate"]),
        ("9801234", "")
    );
}

#[test]
fn csv_has_the_first_rows_in_the_order_of_json() {
    let json = records(sorted(Output::Json, "tx", Group::Process, Some(3)));
    let json: Vec<String> = json
        .iter()
        .filter(|record| record["type"] == "group")
        .map(|record| record["tx_bytes"].to_string())
        .collect();
    assert_eq!(json.len(), 3);
    let csv = sorted(Output::Csv, "tx", Group::Process, Some(3));
    let mut reader = csv::Reader::from_reader(csv.as_bytes());
    let rows = reader.deserialize().map(Result::unwrap);
    let rows: Vec<BTreeMap<String, String>> = rows.collect();
    let csv: Vec<&String> = rows
        .iter()
        .filter(|row| row["type"] == "group")
        .map(|row| &row["tx_bytes"])
        .collect();
    assert_eq!(csv, json.iter().collect::<Vec<_>>());
}
